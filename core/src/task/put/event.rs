//! What a put hears and wants.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::id::{ChunkId, VerifiedChunk};
use crate::keystore::ingest::FileDigest;
use crate::keystore::manifest::Manifest;
use crate::keystore::{ChunkFault, StoreError, StoredChunk};
use crate::ledger::file::{Expect, FileStat};
use crate::ledger::name::Name;
use crate::node::{Reply, RequestError};
use crate::note::Note;

/// What a put hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline passed, or the put is stepped for the first time.
    Wake,
    /// The client sent its next chunk.
    Chunk(VerifiedChunk),
    /// The client sent all chunks, and this is what they make.
    Commit(FileDigest),
    /// The client gave up.
    Cancel,
    /// The oldest [`Effect::Ask`] was granted.
    Granted {
        /// As many as were asked for.
        bytes: u64,
    },
    /// Too little space is left: the oldest [`Effect::Ask`] is refused, or the put as a whole if it asked for nothing yet.
    Refused,
    /// The bytes of a chunk have left memory; they need not be durable yet. May be left out before `Stored`.
    Written {
        /// The store.
        ticket: u64,
    },
    /// A chunk is durable, or never will be. Comes once for each store.
    Stored {
        /// The store.
        ticket: u64,
        /// Where the chunk is.
        result: Result<StoredChunk, StoreError>,
    },
    /// A manifest chunk was read and proven, or could not be. Comes once for each load.
    Loaded {
        /// The load.
        ticket: u64,
        /// The chunk that was asked for.
        result: Result<VerifiedChunk, ChunkFault>,
    },
    /// The ledger refused the proposal because a sweep has begun since the put did.
    Stale {
        /// The epoch of that sweep, under which every chunk must be touched again.
        epoch: u64,
    },
    /// The ledger decided.
    Committed {
        /// What the name means now.
        result: Result<FileStat, RequestError>,
    },
}

/// What a put wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Grant credit for one more block, as a whole. Void once the put has given its last reply.
    Ask {
        /// Bytes of the block.
        bytes: u64,
    },
    /// Take back credit that was granted.
    Release {
        /// Bytes.
        bytes: u64,
    },
    /// Make a chunk durable.
    Store {
        /// To be echoed; dense from 1.
        ticket: u64,
        /// The chunk.
        chunk: VerifiedChunk,
    },
    /// Make sure that a chunk which was stored before is still there, under the put's lease of now. Answered like a store.
    Touch {
        /// To be echoed; dense with those of stores.
        ticket: u64,
        /// The chunk.
        chunk: ChunkId,
    },
    /// Read a manifest chunk.
    Load {
        /// To be echoed; dense with those of stores.
        ticket: u64,
        /// The chunk.
        chunk: ChunkId,
    },
    /// Ask the ledger to give the name this content. Every chunk of it is durable.
    Propose(Box<Proposal>),
    /// Answer the client.
    Reply {
        /// The answer.
        reply: Result<Reply, RequestError>,
        /// Whether it is the last one.
        last: bool,
    },
    /// Something worth knowing.
    Note(Note),
}

/// What a put asks of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The name.
    pub name: Name,
    /// What it must mean until then.
    pub expect: Expect,
    /// The content.
    pub manifest: Manifest,
    /// For every volume that holds a chunk of this put, in ascending order: its number and the largest position of such
    /// a chunk. The ledger's record makes them known durable (protocols J6). At most
    /// [`crate::limits::PUT_VOLUMES_MAX`].
    pub volumes: Vec<(u64, u64)>,
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::DiskFull,
            StoreError::Failed { file, error } => Self::WriteFailed { file, error },
            StoreError::Busy => Self::Busy,
            StoreError::Missing => Self::Swept,
            StoreError::Closing => Self::Closing,
        }
    }
}
