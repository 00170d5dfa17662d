//! Chunks on one node: how files are cut, what describes them, and the volumes that hold them.

pub mod block;
pub mod filter;
pub mod index;
pub mod ingest;
pub mod manifest;
pub mod manifest_builder;
pub mod manifest_codec;
pub mod manifest_node;
pub mod manifest_walk;
pub mod recover;
pub mod store;

use alloc::vec::Vec;

use crate::disk::{DiskError, File};

/// Where a chunk's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The volume.
    pub volume: u64,
    /// Where the record starts, in bytes.
    pub offset: u64,
    /// The record's position in the volume, from 1.
    pub position: u64,
}

/// What is wrong with a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChunkFault {
    /// No volume holds it. Named are the volumes that have lost records and so may have held it.
    Missing {
        /// In ascending order.
        lost_volumes: Vec<u64>,
    },
    /// The bytes are not what they were.
    Mismatch(Place),
    /// The disk does not give the bytes.
    Unreadable(Place, DiskError),
    /// The bytes are what they were, but not what the manifest says belongs there: the file was described wrongly when
    /// it was stored.
    Malformed,
}

/// A chunk that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoredChunk {
    /// Where it is.
    pub place: Place,
    /// Where the record of its mark is, if the answer waited for one.
    pub marked_at: Option<Place>,
    /// Whether it was not in the store before.
    pub fresh: bool,
}

/// What a collect has dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Collected {
    /// Chunks.
    pub chunks: u64,
    /// Bytes of their records, which nothing needs any more.
    pub bytes: u64,
}

/// What a compaction has given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Compacted {
    /// Volumes that are gone.
    pub volumes: u64,
    /// Bytes of their files. What was still needed of them is in other volumes now.
    pub bytes: u64,
}

/// Why a chunk could not be stored, or a collect or compaction not be carried out. Older chunks can still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoreError {
    /// No space is left.
    #[error("the disk is full")]
    Full,
    /// A volume can't be written; no chunk is stored until the next start.
    #[error("{file} can't be written: {error}")]
    Failed {
        /// The volume.
        file: File,
        /// What the disk said.
        error: DiskError,
    },
    /// Too many chunks wait already, or a collect is under way.
    #[error("too much waits for the disk")]
    Busy,
    /// A chunk that was touched is not here, or is not what it should be.
    #[error("the chunk is not here")]
    Missing,
    /// The store is being closed.
    #[error("the store is closing")]
    Closing,
}
