//! Chunks on one node: how files are cut, what describes them, and the volumes that hold them.

pub mod block;
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
    /// Whether it was not in the store before.
    pub fresh: bool,
}

/// Why a chunk could not be stored. Older chunks can still be read.
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
    /// Too many chunks wait already.
    #[error("too many chunks wait for the disk")]
    Busy,
    /// The store is being closed.
    #[error("the store is closing")]
    Closing,
}
