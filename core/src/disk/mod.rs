//! The disk as data: requests, results, and logical files. Formats, checksums and recovery are built on top, in core.
//!
//! What the driver owes: every request gets exactly one result. Appends, syncs, publishes and removals of one file run in
//! issue order; reads run at once and in parallel, and see every write acknowledged before they were issued. `Ok` on a
//! sync means durable. After a crash **any subset** of the unacknowledged sectors may be present, and any unsynced
//! creation, rename or removal may or may not have happened.

pub mod boot;
pub mod catalog;
pub mod checkpoint;
pub mod damage;
pub mod fresh;
pub mod halt;
pub(crate) mod ops;
pub mod record;
pub mod recover;
pub mod reserve;
pub mod scan;
pub mod scrub;
pub mod stray;
#[cfg(test)]
pub(crate) mod testing;
pub mod writer;

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::id::{ChunkId, VerifiedChunk};

/// A small file that is replaced as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The boot record of even boots.
    BootEven,
    /// The boot record of odd boots. Two of them, so that rot of one never loses the store's identity.
    BootOdd,
    /// The catalog of volumes with an even number.
    CatalogEven,
    /// The catalog of volumes with an odd number.
    CatalogOdd,
    /// The catalog of journal segments with an even number.
    JournalEven,
    /// The catalog of journal segments with an odd number.
    JournalOdd,
    /// How far the scrub of the chunks is. Losing it costs time.
    Scrub,
    /// What a member of a group remembers of the others, with an even number.
    WitnessEven,
    /// The same with an odd number.
    WitnessOdd,
}

/// A file of the data directory, by what it is rather than by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// A small record, only ever written by [`DiskRequest::Publish`].
    Slot(Slot),
    /// A segment of the ledger's journal.
    Journal(u64),
    /// A volume of chunks.
    Volume(u64),
    /// A checkpoint of the volume with this number: what a start would find by reading it. Losing it costs time.
    Checkpoint(u64),
    /// A snapshot of the ledger, by the index of the last entry in it.
    Snapshot(u64),
    /// Space set aside, so that a full disk can still be emptied (rule J11).
    Reserve,
    /// A file in the making, invisible until it is published. Left-overs of a crash are removed at boot.
    Stage(u64),
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(Slot::BootEven) => f.write_str("boot record (even)"),
            Self::Slot(Slot::BootOdd) => f.write_str("boot record (odd)"),
            Self::Slot(Slot::CatalogEven) => f.write_str("catalog of volumes (even)"),
            Self::Slot(Slot::CatalogOdd) => f.write_str("catalog of volumes (odd)"),
            Self::Slot(Slot::JournalEven) => f.write_str("catalog of journal segments (even)"),
            Self::Slot(Slot::JournalOdd) => f.write_str("catalog of journal segments (odd)"),
            Self::Slot(Slot::Scrub) => f.write_str("position of the scrub"),
            Self::Slot(Slot::WitnessEven) => f.write_str("memory of other members (even)"),
            Self::Slot(Slot::WitnessOdd) => f.write_str("memory of other members (odd)"),
            Self::Journal(segment) => write!(f, "journal segment {segment}"),
            Self::Volume(number) => write!(f, "volume {number}"),
            Self::Checkpoint(number) => write!(f, "checkpoint of volume {number}"),
            Self::Snapshot(index) => write!(f, "snapshot {index} of the ledger"),
            Self::Reserve => f.write_str("reserve"),
            Self::Stage(number) => write!(f, "staged file {number}"),
        }
    }
}

/// What a read must check before it answers, so that bulk hashing is never on the control thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Nothing: the bytes go through a checksum in core.
    None,
    /// The bytes must be this chunk.
    Chunk(ChunkId),
}

/// Something to do with a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskRequest {
    /// Every file of the store with its length. Answered by [`DiskReply::Listed`].
    List,
    /// Up to `len` bytes from `offset`; fewer only at the end of the file. Answered by [`DiskReply::Read`] when nothing
    /// is to be verified, else by [`DiskReply::Verified`] or [`DiskReply::Mismatch`].
    Read {
        /// The file.
        file: File,
        /// Bytes from its start.
        offset: u64,
        /// Bytes wanted, at most [`crate::limits::CHUNK_BYTES_MAX`].
        len: u32,
        /// What the bytes must be.
        verify: Verify,
    },
    /// Writes `parts`, one after the other, at `offset`, which is the file's end. Offset 0 creates the file, which must
    /// not exist. Not durable before a sync.
    Append {
        /// The file.
        file: File,
        /// Bytes already in it.
        offset: u64,
        /// What to write.
        parts: Vec<Bytes>,
    },
    /// Makes every write to `file` acknowledged or issued before this one durable; with `directory`, the file's creation
    /// too.
    Sync {
        /// The file.
        file: File,
        /// Whether the directory that names it is synced as well: needed once, at the first sync of a new file.
        directory: bool,
    },
    /// Syncs the staged file, renames it to `to` (replacing what was there), and syncs the directory.
    Publish {
        /// The number of the staged file.
        stage: u64,
        /// Its final name.
        to: File,
    },
    /// Removes a file; one that does not exist is no error. Not durable by itself.
    Remove {
        /// The file.
        file: File,
    },
    /// Makes `file`, which is made of nothing but space, `bytes` long with every byte really set aside, and syncs it and
    /// its directory. It is created where it does not exist, and grows where it is shorter; a longer one stays as it
    /// is. Answered by [`DiskError::Full`] when there is not enough space, and then the file is gone.
    Allocate {
        /// The file.
        file: File,
        /// Its length.
        bytes: u64,
    },
    /// How much space there is. Answered by [`DiskReply::Space`].
    Space,
}

/// The good end of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskReply {
    /// The store's files with their lengths in bytes, in the order of [`File`].
    Listed(Vec<(File, u64)>),
    /// The bytes of a read that verified nothing.
    Read(Bytes),
    /// The bytes of a read, proven to be the chunk asked for.
    Verified(VerifiedChunk),
    /// The bytes are not the chunk asked for, or there are too few of them.
    Mismatch,
    /// An append, sync, publish, remove or allocation is done.
    Done,
    /// Space of the file system that holds the store, as far as this store may use it.
    Space {
        /// Bytes in all.
        total: u64,
        /// Bytes that can still be written.
        available: u64,
    },
}

/// The bad end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DiskError {
    /// The file does not exist.
    #[error("the file does not exist")]
    NotFound,
    /// A file that was to be created exists.
    #[error("the file exists already")]
    Exists,
    /// No space is left, or a quota is used up.
    #[error("the disk is full")]
    Full,
    /// The file system can't be written.
    #[error("the disk is read-only")]
    ReadOnly,
    /// Permission was refused.
    #[error("permission denied")]
    Denied,
    /// Anything else: the operating system's error number where there is one, else 0.
    #[error("input/output error {0}")]
    Io(i32),
}

/// How a request ended.
pub type DiskResult = Result<DiskReply, DiskError>;
