//! Records, the one format of journals and volumes (version 1). Numbers are little-endian.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | magic: `dpsJ` in journals, `dpsV` in volumes |
//! | 1 | version |
//! | 1 | kind |
//! | 2 | zero |
//! | 8 | number of the file |
//! | 8 | boot counter of the writer |
//! | 8 | position in the file, dense from 1 |
//! | 8 | sequence: orders the records of one chunk over all volumes; 0 where it means nothing |
//! | 8 | `durable_through`: the largest position of this file known synced when this record was written |
//! | 8 | salt of the file |
//! | 4 | length of the body |
//! | 4 | CRC-32 (IEEE) of the sixty bytes above, of the record's own offset in its file (8 bytes), and of the covered part of the body |
//!
//! The offset is in no field: it is where the record is. So a write that the disk put into another place breaks.
//!
//! The body follows. All of it is covered, but for a chunk's: the chunk's identifier and its mark, if it has one, are
//! covered, and the rest is covered by being what that identifier names.
//!
//! The salt is derived from a secret of the store ([`FileKey`]). Recovery searches damaged files for records, and a
//! stored chunk may hold bytes that look like a record of the very file it lies in: someone keeps a copy of a volume in
//! the store, or means harm. Without the secret nobody can make bytes that pass.

pub mod volume;

use alloc::vec::Vec;

use volume::{DropRecord, MarkRecord};

use crate::crypto::hash::Sha256;
use crate::disk::File;
use crate::id::ChunkId;
use crate::limits::{CHUNK_BYTES_MAX, DROP_IDS_MAX, RECORD_BODY_BYTES_MAX};
use crate::raft::journal::codec;

/// The version of the record format that this program writes, and the newest that it reads.
pub const VERSION: u8 = 1;

/// Bytes of a record before its body.
pub const HEADER_LEN: usize = 64;

/// Bytes of a chunk's body that the checksum covers: its identifier.
pub const CHUNK_PREFIX_LEN: usize = 32;

/// Bytes of a marked chunk's body that the checksum covers: its identifier and its mark.
pub const MARKED_PREFIX_LEN: usize = CHUNK_PREFIX_LEN + 8;

/// Bytes of the body of a [`Kind::Mark`].
pub const MARK_BODY_LEN: usize = CHUNK_PREFIX_LEN + 8;

/// Bytes of the body of a [`Kind::Drop`] before its identifiers.
pub const DROP_PREFIX_LEN: usize = 32;

/// Bytes of the body of a [`Kind::Head`].
pub const HEAD_BODY_LEN: usize = 56;

/// The longest part of a record that must be at hand to check it.
pub const COVERED_MAX: usize = HEADER_LEN + RECORD_BODY_BYTES_MAX as usize;

const CRC_OFFSET: usize = 60;

/// The two kinds of files made of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// Ledger entries.
    Journal,
    /// Chunks.
    Volume,
}

impl FileKind {
    /// The file of this kind with this number.
    #[must_use]
    pub const fn file(self, number: u64) -> File {
        match self {
            Self::Journal => File::Journal(number),
            Self::Volume => File::Volume(number),
        }
    }

    /// The first four bytes of every record.
    #[must_use]
    pub const fn magic(self) -> [u8; 4] {
        match self {
            Self::Journal => *b"dpsJ",
            Self::Volume => *b"dpsV",
        }
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The first record of every file: who wrote it, and where its predecessor ends.
    Head,
    /// The last record of a file that was closed in good order. Written only when all before it is durable.
    Footer,
    /// Nothing but its header, whose `durable_through` is the point.
    Empty,
    /// A chunk: identifier and bytes.
    Chunk,
    /// A ledger entry.
    Entry,
    /// A chunk with a mark: identifier, mark and bytes. Format 2.
    MarkedChunk,
    /// A larger mark of a chunk: see [`MarkRecord`]. Format 2.
    Mark,
    /// Chunks that are gone: see [`DropRecord`]. Format 2.
    Drop,
    /// A term and a vote. This kind and those after it are records of Raft's journal, see [`crate::raft::journal::codec`].
    Vote,
    /// The end of the log goes.
    Cut,
    /// An entry of the log.
    Log,
    /// Where the log begins.
    Base,
    /// Positions in volumes that entries rely on.
    Rely,
    /// What all records before it come to, but for entries.
    State,
}

impl Kind {
    /// The byte that stands for it.
    pub(in crate::disk) const fn code(self) -> u8 {
        match self {
            Self::Head => 1,
            Self::Footer => 2,
            Self::Empty => 3,
            Self::Chunk => 4,
            Self::Entry => 5,
            Self::MarkedChunk => 6,
            Self::Mark => 7,
            Self::Drop => 8,
            Self::Vote => 9,
            Self::Cut => 10,
            Self::Log => 11,
            Self::Base => 12,
            Self::Rely => 13,
            Self::State => 14,
        }
    }

    /// What a byte stands for.
    pub(in crate::disk) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Head),
            2 => Some(Self::Footer),
            3 => Some(Self::Empty),
            4 => Some(Self::Chunk),
            5 => Some(Self::Entry),
            6 => Some(Self::MarkedChunk),
            7 => Some(Self::Mark),
            8 => Some(Self::Drop),
            9 => Some(Self::Vote),
            10 => Some(Self::Cut),
            11 => Some(Self::Log),
            12 => Some(Self::Base),
            13 => Some(Self::Rely),
            14 => Some(Self::State),
            _ => None,
        }
    }

    /// No body of this kind is longer.
    pub(in crate::disk) const fn body_bytes_max(self) -> u32 {
        match self {
            Self::Head => HEAD_BODY_LEN as u32,
            Self::Footer | Self::Empty => 0,
            Self::Chunk => CHUNK_PREFIX_LEN as u32 + CHUNK_BYTES_MAX,
            Self::Entry => RECORD_BODY_BYTES_MAX,
            Self::MarkedChunk => MARKED_PREFIX_LEN as u32 + CHUNK_BYTES_MAX,
            Self::Mark => MARK_BODY_LEN as u32,
            Self::Drop => (DROP_PREFIX_LEN + DROP_IDS_MAX * CHUNK_PREFIX_LEN) as u32,
            Self::Vote => codec::VOTE_LEN as u32,
            Self::Cut => codec::CUT_LEN as u32,
            Self::Log => RECORD_BODY_BYTES_MAX,
            Self::Base => codec::BASE_LEN_MAX as u32,
            Self::Rely => codec::RELY_LEN_MAX as u32,
            Self::State => codec::STATE_LEN_MAX as u32,
        }
    }

    /// No body of this kind is shorter.
    pub(in crate::disk) const fn body_bytes_min(self) -> u32 {
        match self {
            Self::Head | Self::Footer | Self::Empty | Self::Entry => 0,
            Self::Chunk => CHUNK_PREFIX_LEN as u32,
            Self::MarkedChunk => MARKED_PREFIX_LEN as u32,
            Self::Mark => MARK_BODY_LEN as u32,
            Self::Drop => (DROP_PREFIX_LEN + CHUNK_PREFIX_LEN) as u32,
            Self::Vote => codec::VOTE_LEN as u32,
            Self::Cut => codec::CUT_LEN as u32,
            Self::Log => codec::LOG_LEN_MIN as u32,
            Self::Base => codec::BASE_LEN_MIN as u32,
            Self::Rely => codec::RELY_LEN_MIN as u32,
            Self::State => codec::STATE_LEN_MIN as u32,
        }
    }

    /// Whether files of this kind may have such records. Those of formats 1 and 2 were never told apart, and whoever reads a
    /// file looks at them.
    pub(in crate::disk) const fn may_be_in(self, kind: FileKind) -> bool {
        match self {
            Self::Head
            | Self::Footer
            | Self::Empty
            | Self::Chunk
            | Self::Entry
            | Self::MarkedChunk
            | Self::Mark
            | Self::Drop => true,
            Self::Vote | Self::Cut | Self::Log | Self::Base | Self::Rely | Self::State => {
                matches!(kind, FileKind::Journal)
            }
        }
    }

    /// Whether the covered part of a body says something. That of a head, and that of a journal's record, is looked at by
    /// whoever needs it.
    pub(in crate::disk) fn accepts(self, covered: &[u8]) -> bool {
        match self {
            Self::Head | Self::Footer | Self::Empty | Self::Entry | Self::Chunk => true,
            Self::Vote | Self::Cut | Self::Log | Self::Base | Self::Rely | Self::State => true,
            Self::MarkedChunk | Self::Mark => MarkRecord::decode(covered).is_some(),
            Self::Drop => DropRecord::is_valid(covered),
        }
    }

    /// Bytes of a body of `body_len` bytes that the checksum covers.
    #[must_use]
    pub const fn covered(self, body_len: u32) -> usize {
        match self {
            Self::Chunk => CHUNK_PREFIX_LEN,
            Self::MarkedChunk => MARKED_PREFIX_LEN,
            Self::Head | Self::Footer | Self::Empty | Self::Entry | Self::Mark | Self::Drop => body_len as usize,
            Self::Vote | Self::Cut | Self::Log | Self::Base | Self::Rely | Self::State => body_len as usize,
        }
    }
}

/// The secret of a store from which the salts of its files come: 16 random bytes from its first boot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileKey(pub [u8; 16]);

impl core::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FileKey(..)")
    }
}

/// What all records of one file have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    kind: FileKind,
    number: u64,
    salt: u64,
}

impl Stamp {
    /// The stamp of a file: its salt is the first eight bytes of SHA-256 over a domain string, the key, kind and number.
    #[must_use]
    pub fn new(key: &FileKey, kind: FileKind, number: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"dps file salt v1");
        hash.update(&key.0);
        hash.update(&kind.magic());
        hash.update(&number.to_le_bytes());
        let digest = hash.finish();
        let salt = u64::from_le_bytes(digest[..8].try_into().expect("eight of 32 bytes"));
        Self { kind, number, salt }
    }

    /// The stamp that the first bytes of a file bear: those of a whole head. `None` if they are none. Whether it is a stamp
    /// of this store is not looked at.
    #[must_use]
    pub fn claimed(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_LEN] = bytes.first_chunk()?;
        let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes of a header"));
        let kind = [FileKind::Journal, FileKind::Volume].into_iter().find(|kind| header[..4] == kind.magic())?;
        let claimed = Self { kind, number: number(8), salt: number(48) };
        match parse(&claimed, 0, bytes) {
            Parsed::Record(header) if header.kind == Kind::Head && header.position == 1 => Some(claimed),
            Parsed::Record(_) | Parsed::Need(_) | Parsed::Broken => None,
        }
    }

    /// Journal or volume.
    #[must_use]
    pub const fn kind(&self) -> FileKind {
        self.kind
    }

    /// The file's number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The file.
    #[must_use]
    pub const fn file(&self) -> File {
        self.kind.file(self.number)
    }
}

/// What a record says of itself, besides what its file's [`Stamp`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// The boot that wrote it.
    pub boot: u64,
    /// Its place in the file's order, from 1.
    pub position: u64,
    /// Its place in the order of all records of chunks, marks and drops of the store; 0 for others.
    pub sequence: u64,
    /// The largest position of the file known synced when it was written.
    pub durable_through: u64,
    /// Bytes after the header.
    pub body_len: u32,
}

impl Header {
    /// Bytes of the whole record.
    #[must_use]
    pub const fn record_len(&self) -> u64 {
        HEADER_LEN as u64 + self.body_len as u64
    }

    /// Bytes of header and covered body.
    #[must_use]
    pub const fn covered_len(&self) -> usize {
        HEADER_LEN + self.kind.covered(self.body_len)
    }

    /// Appends the encoded header of a record at `offset`, and the covered part of its body, which is given.
    ///
    /// # Panics
    /// When `covered` has another length than the kind asks for, or the body is too long.
    pub fn encode(&self, stamp: &Stamp, offset: u64, covered: &[u8], out: &mut Vec<u8>) {
        assert!(self.body_len <= self.kind.body_bytes_max(), "a record's body is bounded by its kind");
        assert_eq!(covered.len(), self.kind.covered(self.body_len), "exactly the covered part is needed");
        assert!(self.durable_through < self.position, "a record can't know itself durable");
        assert!(self.kind.may_be_in(stamp.kind), "each kind of file has its records");
        let start = out.len();
        out.extend_from_slice(&stamp.kind.magic());
        out.extend_from_slice(&[VERSION, self.kind.code(), 0, 0]);
        for number in [stamp.number, self.boot, self.position, self.sequence, self.durable_through, stamp.salt] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.body_len.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&out[start..]);
        crc.update(&offset.to_le_bytes());
        crc.update(covered);
        out.extend_from_slice(&crc.finalize().to_le_bytes());
        out.extend_from_slice(covered);
    }
}

/// What bytes at the start of a record turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A record whose covered part is whole.
    Record(Header),
    /// It may be one: so many bytes are needed to tell.
    Need(usize),
    /// No record of this file.
    Broken,
}

/// Looks at the bytes at `offset`, where a record of the file with this stamp should start. Total.
#[must_use]
pub fn parse(stamp: &Stamp, offset: u64, bytes: &[u8]) -> Parsed {
    let known = bytes.len().min(4);
    if bytes[..known] != stamp.kind.magic()[..known] {
        return Parsed::Broken;
    }
    if bytes.len() < HEADER_LEN {
        return Parsed::Need(HEADER_LEN);
    }
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes of a whole header"));
    let short = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes of a whole header"));
    let Some(kind) = Kind::from_code(bytes[5]) else { return Parsed::Broken };
    let header = Header {
        kind,
        boot: number(16),
        position: number(24),
        sequence: number(32),
        durable_through: number(40),
        body_len: short(56),
    };
    let plausible = bytes[4] == VERSION
        && bytes[6..8] == [0, 0]
        && number(8) == stamp.number
        && number(48) == stamp.salt
        && header.position > header.durable_through
        && kind.may_be_in(stamp.kind)
        && (kind.body_bytes_min()..=kind.body_bytes_max()).contains(&header.body_len);
    if !plausible {
        return Parsed::Broken;
    }
    let needed = header.covered_len();
    if bytes.len() < needed {
        return Parsed::Need(needed);
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..CRC_OFFSET]);
    crc.update(&offset.to_le_bytes());
    let covered = &bytes[HEADER_LEN..needed];
    crc.update(covered);
    let whole = crc.finalize() == short(CRC_OFFSET) && kind.accepts(covered);
    if whole { Parsed::Record(header) } else { Parsed::Broken }
}

/// The chunk that the record of a chunk or a mark is about, from the covered part of its body.
#[must_use]
pub fn chunk_id(covered: &[u8]) -> Option<ChunkId> {
    covered.first_chunk::<CHUNK_PREFIX_LEN>().map(|bytes| ChunkId::from_bytes(*bytes))
}

/// Bytes before those of a chunk in the body of its record.
#[must_use]
pub const fn chunk_prefix_len(marked: bool) -> usize {
    if marked { MARKED_PREFIX_LEN } else { CHUNK_PREFIX_LEN }
}

/// Where an older file ends, as its successor knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Predecessor {
    /// The file's number, 0 if there is none.
    pub number: u64,
    /// The last position that counts.
    pub position: u64,
    /// The byte after that record.
    pub offset: u64,
}

/// The body of a [`Kind::Head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// Where the file before this one ends.
    pub predecessor: Predecessor,
    /// The store that the file belongs to.
    pub store: [u8; 16],
    /// The random bytes of the boot that wrote it.
    pub boot_random: [u8; 16],
}

impl Head {
    /// The fixed layout: predecessor's number, position and offset, the store, the boot's random bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEAD_BODY_LEN] {
        let mut body = [0; HEAD_BODY_LEN];
        let Predecessor { number, position, offset } = self.predecessor;
        for (at, value) in [number, position, offset].into_iter().enumerate() {
            body[8 * at..8 * at + 8].copy_from_slice(&value.to_le_bytes());
        }
        body[24..40].copy_from_slice(&self.store);
        body[40..56].copy_from_slice(&self.boot_random);
        body
    }

    /// Reads the layout of [`Head::encode`]; `None` for a wrong length.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: &[u8; HEAD_BODY_LEN] = body.try_into().ok()?;
        let number = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("eight of 56 bytes"));
        Some(Self {
            predecessor: Predecessor { number: number(0), position: number(8), offset: number(16) },
            store: body[24..40].try_into().expect("sixteen of 56 bytes"),
            boot_random: body[40..56].try_into().expect("sixteen of 56 bytes"),
        })
    }
}

#[cfg(test)]
mod tests;
