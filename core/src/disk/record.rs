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
//! The body follows. All of it is covered, but for a chunk's: its first 32 bytes, the chunk's identifier, are covered,
//! and the rest is covered by being what that identifier names.
//!
//! The salt is derived from a secret of the store ([`FileKey`]). Recovery searches damaged files for records, and a
//! stored chunk may hold bytes that look like a record of the very file it lies in: someone keeps a copy of a volume in
//! the store, or means harm. Without the secret nobody can make bytes that pass.

use alloc::vec::Vec;

use crate::crypto::hash::Sha256;
use crate::disk::File;
use crate::id::ChunkId;
use crate::limits::{CHUNK_BYTES_MAX, RECORD_BODY_BYTES_MAX};

/// The version of the record format that this program writes, and the newest that it reads.
pub const VERSION: u8 = 1;

/// Bytes of a record before its body.
pub const HEADER_LEN: usize = 64;

/// Bytes of a chunk's body that the checksum covers: its identifier.
pub const CHUNK_PREFIX_LEN: usize = 32;

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
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Head => 1,
            Self::Footer => 2,
            Self::Empty => 3,
            Self::Chunk => 4,
            Self::Entry => 5,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Head),
            2 => Some(Self::Footer),
            3 => Some(Self::Empty),
            4 => Some(Self::Chunk),
            5 => Some(Self::Entry),
            _ => None,
        }
    }

    const fn body_bytes_max(self) -> u32 {
        match self {
            Self::Head => HEAD_BODY_LEN as u32,
            Self::Footer | Self::Empty => 0,
            Self::Chunk => CHUNK_PREFIX_LEN as u32 + CHUNK_BYTES_MAX,
            Self::Entry => RECORD_BODY_BYTES_MAX,
        }
    }

    /// Bytes of a body of `body_len` bytes that the checksum covers.
    #[must_use]
    pub const fn covered(self, body_len: u32) -> usize {
        match self {
            Self::Chunk => CHUNK_PREFIX_LEN,
            Self::Head | Self::Footer | Self::Empty | Self::Entry => body_len as usize,
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
    /// Its place in the order of all chunk records of the store; 0 for others.
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
    let prefixed = kind != Kind::Chunk || header.body_len as usize >= CHUNK_PREFIX_LEN;
    let plausible = bytes[4] == VERSION
        && bytes[6..8] == [0, 0]
        && number(8) == stamp.number
        && number(48) == stamp.salt
        && header.position > header.durable_through
        && header.body_len <= kind.body_bytes_max()
        && prefixed;
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
    crc.update(&bytes[HEADER_LEN..needed]);
    if crc.finalize() == short(CRC_OFFSET) { Parsed::Record(header) } else { Parsed::Broken }
}

/// The chunk that a chunk record holds, from the covered part of its body.
#[must_use]
pub fn chunk_id(covered: &[u8]) -> Option<ChunkId> {
    covered.first_chunk::<CHUNK_PREFIX_LEN>().map(|bytes| ChunkId::from_bytes(*bytes))
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
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    fn stamp() -> Stamp {
        Stamp::new(&FileKey([3; 16]), FileKind::Journal, 7)
    }

    fn entry(body: &[u8]) -> (Header, Vec<u8>) {
        let body_len = u32::try_from(body.len()).unwrap();
        let header = Header { kind: Kind::Entry, boot: 2, position: 5, sequence: 0, durable_through: 4, body_len };
        let mut bytes = Vec::new();
        header.encode(&stamp(), 640, body, &mut bytes);
        (header, bytes)
    }

    /// Golden: stores written today must be readable for ever.
    #[test]
    fn the_layout_is_fixed_for_ever() {
        let (_, bytes) = entry(b"body");
        let expected = concat!(
            "6470734a01050000",
            "0700000000000000",
            "0200000000000000",
            "0500000000000000",
            "0000000000000000",
            "0400000000000000",
            "66894a926174da7f",
            "04000000aadd8183",
            "626f6479"
        );
        assert_eq!(HEXLOWER.encode(&bytes), expected);
    }

    #[test]
    fn a_record_comes_back_and_asks_for_what_it_needs() {
        let (header, bytes) = entry(b"body");
        assert_eq!(parse(&stamp(), 640, &bytes), Parsed::Record(header));
        assert_eq!(parse(&stamp(), 640, &bytes[..66]), Parsed::Need(68));
        assert_eq!(parse(&stamp(), 640, &bytes[..63]), Parsed::Need(64));
        assert_eq!(parse(&stamp(), 640, b""), Parsed::Need(64));
        assert_eq!(parse(&stamp(), 640, b"dqs"), Parsed::Broken);
    }

    #[test]
    fn any_flipped_bit_breaks_a_record() {
        let (_, bytes) = entry(b"some body");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(parse(&stamp(), 640, &flipped), Parsed::Record(_)), "bit {bit}");
        }
    }

    #[test]
    fn a_record_of_another_place_file_store_or_kind_is_broken() {
        let (_, bytes) = entry(b"body");
        assert_eq!(parse(&stamp(), 641, &bytes), Parsed::Broken);
        let key = FileKey([3; 16]);
        assert_eq!(parse(&Stamp::new(&key, FileKind::Journal, 8), 640, &bytes), Parsed::Broken);
        assert_eq!(parse(&Stamp::new(&key, FileKind::Volume, 7), 640, &bytes), Parsed::Broken);
        assert_eq!(parse(&Stamp::new(&FileKey([4; 16]), FileKind::Journal, 7), 640, &bytes), Parsed::Broken);
    }

    #[test]
    fn a_chunk_record_covers_its_identifier_and_not_its_bytes() {
        let id = ChunkId::of(b"chunk");
        let stamp = Stamp::new(&FileKey([3; 16]), FileKind::Volume, 1);
        let header =
            Header { kind: Kind::Chunk, boot: 1, position: 2, sequence: 9, durable_through: 0, body_len: 32 + 5 };
        let mut bytes = Vec::new();
        header.encode(&stamp, 0, id.as_bytes(), &mut bytes);
        assert_eq!(bytes.len(), HEADER_LEN + CHUNK_PREFIX_LEN);
        assert_eq!(parse(&stamp, 0, &bytes), Parsed::Record(header));
        assert_eq!(chunk_id(&bytes[HEADER_LEN..]), Some(id));
        assert_eq!(header.record_len(), 101);
    }

    #[test]
    fn a_head_comes_back() {
        let predecessor = Predecessor { number: 6, position: 40, offset: 4_000 };
        let head = Head { predecessor, store: [1; 16], boot_random: [2; 16] };
        assert_eq!(Head::decode(&head.encode()), Some(head));
        assert_eq!(Head::decode(&head.encode()[..55]), None);
    }

    proptest! {
        #[test]
        fn parsing_is_total(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
            if magic && bytes.len() >= 6 {
                bytes[..6].copy_from_slice(b"dpsJ\x01\x05");
            }
            let parsed = parse(&stamp(), 640, &bytes);
            prop_assert!(!matches!(parsed, Parsed::Record(_)));
        }
    }
}
