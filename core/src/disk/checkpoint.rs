//! A checkpoint of a volume: what a scan of it finds, so that a start need not scan it (format version 1). Numbers are
//! little-endian.
//!
//! It is a cache and nothing more. Only a volume that has its footer and of which nothing is lost gets one, and it counts
//! only as a whole and only for exactly that volume; else the volume is scanned. It is never appended to: a staged file
//! is written block by block and published.
//!
//! A file is blocks of items and, last, one block that says what the checkpoint is of. Each block has
//!
//! | bytes | field |
//! |---|---|
//! | 4 | magic `dpsK` |
//! | 1 | version |
//! | 1 | kind: 1 items, 2 the end |
//! | 2 | zero |
//! | 8 | salt: from the store's secret and the number of the volume |
//! | 4 | number of items, 0 in the end |
//! | 4 | length of the body |
//! | 4 | CRC-32 (IEEE) of the bytes above, of the block's own offset in the file (8 bytes), and of the body |
//!
//! An item stands for a record of a chunk, a mark or a drop: kind (1, as in [`record`](super::record)), position (8),
//! sequence (8), offset (8), length of the record's body (4), and the part of that body which the record's checksum covers.
//! So an item is as long as its kind says: 61 bytes for a chunk, 69 for one with a mark and for a mark. The body of
//! the end: store (16), number of the volume (8), its length in bytes (8), the last position that counts in it (8), the
//! byte after that record (8), number of items (8).
//!
//! What it is of stands at its end, since whoever writes it has counted the items only then. A reader begins there: it knows
//! how long the file is, and a torn one has no end.

mod read;

use alloc::vec::Vec;

use bytes::Bytes;

pub use read::{Demand, Reader, Reading};

use super::record::{FileKey, Kind};
use super::scan::Record;
use crate::crypto::hash::Sha256;
use crate::limits::{CHECKPOINT_BLOCK_BYTES_MAX, CHECKPOINT_BLOCK_ITEMS_MAX};

const MAGIC: [u8; 4] = *b"dpsK";
const VERSION: u8 = 1;
const ITEMS: u8 = 1;
const END: u8 = 2;
/// Bytes of a block before its body.
const FRAME_LEN: usize = 28;
const CRC_OFFSET: usize = 24;
/// Bytes of an item before the covered part of its record's body.
const ITEM_PREFIX_LEN: usize = 29;
const END_BODY_LEN: usize = 56;
/// Bytes of the last block.
const END_LEN: usize = FRAME_LEN + END_BODY_LEN;
/// A block this long takes no further item: one more may be a long drop.
const BLOCK_BYTES_FULL: usize = 60 << 10;

const _: () = assert!(
    FRAME_LEN + BLOCK_BYTES_FULL + ITEM_PREFIX_LEN + Kind::Drop.body_bytes_max() as usize <= CHECKPOINT_BLOCK_BYTES_MAX
);

/// The staged file in which a checkpoint is made: those of boot records and catalogs are 0 and 1, those of fresh files
/// from 4 on.
pub const CHECKPOINT_STAGE: u64 = 2;

/// The salt of a checkpoint: the first eight bytes of SHA-256 over a domain string, the key, and the volume's number. So
/// neither a file of another store passes, nor that of another volume, nor bytes that a client made.
fn salt(key: &FileKey, volume: u64) -> u64 {
    let mut hash = Sha256::new();
    hash.update(b"dps checkpoint salt v1");
    hash.update(&key.0);
    hash.update(&volume.to_le_bytes());
    u64::from_le_bytes(hash.finish()[..8].try_into().expect("eight of 32 bytes"))
}

/// What a checkpoint is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The store.
    pub store: [u8; 16],
    /// The volume.
    pub volume: u64,
    /// Bytes of the volume's file.
    pub volume_bytes: u64,
    /// The last position that counts in the volume.
    pub position: u64,
    /// The byte after that record.
    pub offset: u64,
}

impl Subject {
    fn encode(&self, items: u64) -> [u8; END_BODY_LEN] {
        let mut body = [0; END_BODY_LEN];
        body[..16].copy_from_slice(&self.store);
        let numbers = [self.volume, self.volume_bytes, self.position, self.offset, items];
        for (field, number) in body[16..].chunks_exact_mut(8).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        body
    }

    fn decode(body: &[u8]) -> Option<(Self, u64)> {
        let body: &[u8; END_BODY_LEN] = body.try_into().ok()?;
        let number = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("eight of 56 bytes"));
        let store = *body.first_chunk().expect("sixteen of 56 bytes");
        let subject =
            Self { store, volume: number(16), volume_bytes: number(24), position: number(32), offset: number(40) };
        Some((subject, number(48)))
    }
}

/// Makes the bytes of a checkpoint, one block after the other.
#[derive(Debug)]
pub struct Maker {
    salt: u64,
    /// Where the block that is being made starts in the file.
    offset: u64,
    /// Its items.
    body: Vec<u8>,
    /// How many it has.
    count: u32,
    /// How many all blocks have.
    items: u64,
}

impl Maker {
    /// The beginning of a checkpoint of this volume.
    #[must_use]
    pub fn new(key: &FileKey, volume: u64) -> Self {
        Self { salt: salt(key, volume), offset: 0, body: Vec::new(), count: 0, items: 0 }
    }

    /// Lists a record, if it says something of chunks.
    ///
    /// # Panics
    /// When the block is full.
    pub fn push(&mut self, record: &Record) {
        assert!(!self.is_full(), "a block is bounded");
        let header = record.header;
        if !is_listed(header.kind) {
            return;
        }
        self.body.push(header.kind.code());
        for number in [header.position, header.sequence, record.offset] {
            self.body.extend_from_slice(&number.to_le_bytes());
        }
        self.body.extend_from_slice(&header.body_len.to_le_bytes());
        self.body.extend_from_slice(&record.covered);
        self.count += 1;
        self.items += 1;
    }

    /// Whether the block takes no further item.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.body.len() >= BLOCK_BYTES_FULL || self.count as usize >= CHECKPOINT_BLOCK_ITEMS_MAX
    }

    /// The bytes of the block so far and where they go in the file; the next block begins. `None` if it has no items.
    pub fn block(&mut self) -> Option<(u64, Bytes)> {
        if self.count == 0 {
            return None;
        }
        let body = core::mem::take(&mut self.body);
        let count = core::mem::take(&mut self.count);
        Some(self.frame(ITEMS, count, &body))
    }

    /// What is left of the items, and the end: blocks, and where they go.
    #[must_use]
    pub fn into_last_blocks(mut self, subject: &Subject) -> Vec<(u64, Bytes)> {
        let rest = self.block();
        let end = self.frame(END, 0, &subject.encode(self.items));
        rest.into_iter().chain([end]).collect()
    }

    fn frame(&mut self, kind: u8, count: u32, body: &[u8]) -> (u64, Bytes) {
        let mut bytes = Vec::with_capacity(FRAME_LEN + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, kind, 0, 0]);
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(body.len()).expect("a block is bounded").to_le_bytes());
        let crc = checksum(&bytes, self.offset, body);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(body);
        let at = self.offset;
        self.offset += bytes.len() as u64;
        (at, bytes.into())
    }
}

/// Whether a record of this kind says something of chunks.
const fn is_listed(kind: Kind) -> bool {
    match kind {
        Kind::Chunk | Kind::MarkedChunk | Kind::Mark | Kind::Drop => true,
        Kind::Head | Kind::Footer | Kind::Empty | Kind::Entry => false,
        Kind::Vote | Kind::Cut | Kind::Log | Kind::Base | Kind::Rely | Kind::State => false,
    }
}

fn checksum(frame: &[u8], offset: u64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(frame);
    crc.update(&offset.to_le_bytes());
    crc.update(body);
    crc.finalize()
}

#[cfg(test)]
pub(in crate::disk) mod tests;
