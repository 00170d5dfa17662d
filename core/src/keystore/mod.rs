//! Chunks on one node: how files are cut, what describes them, and the volumes that hold them.

pub mod block;
pub mod ingest;
pub mod manifest;
pub mod manifest_builder;
pub mod manifest_node;
pub mod manifest_walk;

use alloc::vec::Vec;

use crate::disk::DiskError;

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
}
