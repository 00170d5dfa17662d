//! Conversations with a client, all under one [`RequestId`](crate::id::RequestId).
//!
//! * **Put**: [`Request::PutOpen`], then as many [`Request::PutChunk`] as [`Reply::Credit`] allows (in bytes), then
//!   [`Request::PutCommit`], answered by [`Reply::Stored`] once everything is durable.
//! * **Get**: [`Request::GetOpen`], answered by [`Reply::Opened`]; then [`Reply::Data`] for as many bytes as
//!   [`Request::GetMore`] asks for, and [`Reply::Complete`] at the end.
//! * **Verify**: [`Request::VerifyOpen`], then [`Reply::Finding`] for as many as [`Request::VerifyMore`] asks for, and
//!   [`Reply::Verified`] at the end.
//! * **Collection**: [`Request::Gc`], answered by [`Reply::Collected`] when space is given back.
//! * One-shot: [`Request::Delete`], [`Request::Purge`], [`Request::Undelete`], [`Request::Clean`], [`Request::List`],
//!   [`Request::Tombstones`], [`Request::Stat`], [`Request::Usage`], [`Request::Close`].
//!
//! [`Request::Cancel`] ends any of them: nothing more is answered but [`Reply::Cancelled`]. A put that is cancelled
//! before its commit was sent is never listed; after that, the ledger's answer comes first and decides.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::disk::damage::Damage;
use crate::disk::stray::Stray;
use crate::disk::{DiskError, File};
use crate::id::{ChunkId, FileId, VerifiedChunk};
use crate::keystore::index::VolumeUse;
use crate::keystore::ingest::FileDigest;
use crate::keystore::{ChunkFault, Collected, Compacted};
use crate::ledger::file::{Expect, FileStat, Target, TombstoneStat};
use crate::ledger::name::Name;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Starts storing a file.
    PutOpen {
        /// The name it will have.
        name: Name,
        /// What the name must mean when the put commits.
        expect: Expect,
        /// Bytes of the file where they are known; a pipe has `None`.
        size: Option<u64>,
    },
    /// The next chunk of the file, in order, against credit.
    PutChunk(VerifiedChunk),
    /// All chunks are sent, and this is what they make.
    PutCommit(FileDigest),
    /// Starts reading a file.
    GetOpen {
        /// Which.
        target: Target,
        /// Which part of it; `None` for all.
        range: Option<ByteRange>,
    },
    /// Grants the node so many more bytes of [`Reply::Data`].
    GetMore {
        /// Bytes on top of what was granted before.
        bytes: u64,
    },
    /// Starts reading and hashing every chunk of the scope. Changes nothing.
    VerifyOpen(VerifyScope),
    /// Grants the node so many more findings.
    VerifyMore {
        /// Findings on top of what was granted before.
        findings: u32,
    },
    /// Ends the conversation.
    Cancel,
    /// Drops what nothing refers to any more, and gives its space back. One at a time.
    Gc,
    /// Removes a name and everything that could bring it back.
    Purge {
        /// Which.
        name: Name,
        /// What it must mean.
        expect: Expect,
    },
    /// Gives a name back what it meant before it was deleted or overwritten.
    Undelete {
        /// Which.
        name: Name,
        /// The version to bring back; 0 for the newest that is kept.
        version: u64,
        /// What the name must mean now.
        expect: Expect,
    },
    /// Gives every content up: names stay, and what they mean is missing until it is stored again. With `deep`, names
    /// and what could be undeleted go too. The space comes back with the next collection.
    Clean {
        /// Whether nothing stays.
        deep: bool,
    },
    /// One page of what can be undeleted, by name and version.
    Tombstones {
        /// Only names that begin like this; empty for all.
        prefix: String,
        /// Only what comes after this name and version.
        after: Option<(Name, u64)>,
        /// At most so many, and at most [`crate::limits::LIST_PAGE_MAX`].
        limit: u32,
    },
    /// How much is stored, and how much of it is needed.
    Usage,
    /// Removes a name. It can be undeleted for a while.
    Delete {
        /// Which.
        name: Name,
        /// What it must mean.
        expect: Expect,
    },
    /// One page of names in byte order.
    List {
        /// Only names that begin like this; empty for all.
        prefix: String,
        /// Only names after this one.
        after: Option<Name>,
        /// At most so many, and at most [`crate::limits::LIST_PAGE_MAX`].
        limit: u32,
    },
    /// What is known of a file.
    Stat(Target),
    /// Finishes what is running, refuses what comes, closes all files in good order.
    Close,
}

/// Part of a file. Positions are bytes from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteRange {
    /// From `first` to the end.
    From {
        /// The first byte.
        first: u64,
    },
    /// From `first` to `last`, both included; an end past the file's is cut.
    FromTo {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// The last `bytes` bytes, or all where there are fewer.
    Last {
        /// How many.
        bytes: u64,
    },
}

/// What a verification covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum VerifyScope {
    /// Every file.
    All,
    /// One file.
    One(Target),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// So many more bytes of chunks may be sent.
    Credit {
        /// Bytes on top of what was granted before.
        bytes: u64,
    },
    /// The put is durable.
    Stored(Box<StoredFile>),
    /// The file exists; data follows.
    Opened {
        /// What is known of it.
        stat: Box<FileStat>,
        /// The first byte that will come.
        first: u64,
        /// Bytes that will come.
        bytes: u64,
    },
    /// The next bytes of the file, proven.
    Data(Bytes),
    /// All bytes were sent.
    Complete,
    /// What a collection has come to.
    Collected(GcSummary),
    /// The name means again what it meant before.
    Restored(Box<FileStat>),
    /// Every content is given up.
    Cleaned,
    /// A page of what can be undeleted.
    Tombstones {
        /// By name, and for one name from the oldest version to the newest.
        entries: Vec<TombstoneStat>,
        /// Whether there are further ones.
        more: bool,
    },
    /// How much is stored.
    Usage(Box<Usage>),
    /// The name is gone.
    Deleted,
    /// A page of names.
    Page {
        /// The names, in byte order.
        entries: Vec<FileStat>,
        /// Whether there are further ones.
        more: bool,
    },
    /// What is known of a file.
    Stat(Box<FileStat>),
    /// Something is wrong with the store.
    Finding(Box<Finding>),
    /// The verification is complete.
    Verified(VerifySummary),
    /// The conversation ended as the client asked.
    Cancelled,
    /// Every file is closed; the node does nothing more.
    Closed,
}

/// A put that is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredFile {
    /// What the name means now.
    pub stat: FileStat,
    /// Bytes that were not in the store before.
    pub new_bytes: u64,
}

/// What a collection has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GcSummary {
    /// Tombstones that were old enough to go.
    pub tombstones: u64,
    /// What nothing refers to.
    pub collected: Collected,
    /// What was given back to the disk.
    pub compacted: Compacted,
}

/// How much is stored, and how much of it is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Names.
    pub names: u64,
    /// Contents that names mean.
    pub contents: u64,
    /// Bytes of these, each once.
    pub content_bytes: u64,
    /// What can be undeleted.
    pub tombstones: u64,
    /// Bytes of contents that only tombstones keep.
    pub tombstone_bytes: u64,
    /// Chunks and bytes of all volumes.
    pub volumes: VolumeUse,
    /// How many volumes there are.
    pub volume_count: u64,
    /// Chunks that were found bad since the start and not stored anew; what nobody has read yet is not among them.
    pub damaged_chunks: u64,
    /// Sweeps that were started.
    pub epoch: u64,
    /// Bytes that are set aside, so that a full disk can still be emptied.
    pub reserve_bytes: u64,
    /// Bytes that can still be written beside those; `None` if the disk does not say.
    pub available_bytes: Option<u64>,
}

/// Something a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// A chunk of a file is bad.
    Chunk {
        /// A name of the file.
        name: Option<Name>,
        /// The file.
        file: FileId,
        /// The chunk's number in the file, from 0; `None` for a chunk of the manifest.
        index: Option<u32>,
        /// The chunk.
        chunk: ChunkId,
        /// What is wrong.
        fault: ChunkFault,
    },
    /// Records of a journal segment or volume are lost.
    Damage(Damage),
    /// A file is under a name that is not its own. Nothing is lost by that, but what it holds may be missed elsewhere.
    Stray(Stray),
}

/// What a verification covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VerifySummary {
    /// Names visited.
    pub names: u64,
    /// Chunks read and hashed.
    pub chunks: u64,
    /// Bytes read and hashed.
    pub bytes: u64,
    /// Findings sent.
    pub findings: u64,
}

/// Why a request failed. Everything acknowledged before is untouched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such name or content.
    #[error("no such file")]
    NotFound,
    /// The name does not mean what was expected.
    #[error("the name has another version than expected")]
    Conflict {
        /// The version it has; `None` if it does not exist.
        current: Option<u64>,
    },
    /// The content was given up by a clean and is missing until it is stored again.
    #[error("the content was cleaned away")]
    Missing,
    /// A collection is under way already.
    #[error("a collection is under way")]
    GcRunning,
    /// A later collection has begun, whose sweep knows better. Nothing was dropped by this one.
    #[error("a later collection has begun")]
    GcSuperseded,
    /// A manifest can't be read, so that it is not known what its file needs: nothing was dropped.
    #[error("the manifest of {file} can't be read")]
    SweepStopped {
        /// The file.
        file: Box<FileId>,
        /// The manifest chunk; `None` if the ledger's own part of the manifest contradicts itself.
        chunk: Option<Box<ChunkId>>,
        /// What is wrong with it.
        fault: Box<ChunkFault>,
    },
    /// The put was open for so long that a collection did not wait for it, and has taken chunks of it.
    #[error("a collection has taken chunks of the put, which was open for too long")]
    Swept,
    /// The range begins at or past the end.
    #[error("the range begins past the end of the file, which has {size} bytes")]
    RangeOutside {
        /// Bytes of the file.
        size: u64,
    },
    /// A chunk that is needed is bad.
    #[error("chunk {index:?} of the file is damaged or missing")]
    BadChunk {
        /// The chunk's number in the file, from 0; `None` for a chunk of the manifest.
        index: Option<u32>,
        /// The chunk.
        chunk: Box<ChunkId>,
        /// What is wrong.
        fault: Box<ChunkFault>,
    },
    /// Records of the journal are lost, so names can't be trusted. Contents can still be read by hash.
    #[error("{0}")]
    LedgerDamaged(Box<Damage>),
    /// The disk is full. Nothing of the request was kept; older data can be read.
    #[error("the disk is full")]
    DiskFull,
    /// The disk failed before anything was committed; writes stay refused until the next start.
    #[error("{file} can't be written: {error}")]
    WriteFailed {
        /// The file.
        file: File,
        /// What the disk said.
        error: DiskError,
    },
    /// The disk failed while the change was being committed: after the next start it is there as a whole or not at all.
    #[error("the disk failed during the commit: {0}")]
    OutcomeUnknown(DiskError),
    /// Too much is going on; the same request may succeed later.
    #[error("the node is busy")]
    Busy,
    /// The node has not read its disk yet.
    #[error("the node is starting")]
    Starting,
    /// The node is being closed.
    #[error("the node is closing")]
    Closing,
    /// The file has more chunks than a manifest can hold.
    #[error("the file is too large")]
    TooLarge,
    /// The client broke the rules of the conversation.
    #[error("the conversation went wrong: {0}")]
    Misuse(&'static str),
}

impl RequestError {
    /// A name for programs that never changes.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "E_NOT_FOUND",
            Self::Conflict { .. } => "E_CONFLICT",
            Self::Missing => "E_MISSING",
            Self::GcRunning => "E_GC_RUNNING",
            Self::GcSuperseded => "E_GC_SUPERSEDED",
            Self::SweepStopped { .. } => "E_SWEEP_STOPPED",
            Self::Swept => "E_SWEPT",
            Self::RangeOutside { .. } => "E_RANGE",
            Self::BadChunk { .. } => "E_BAD_CHUNK",
            Self::LedgerDamaged(_) => "E_LEDGER_DAMAGED",
            Self::DiskFull => "E_DISK_FULL",
            Self::WriteFailed { .. } => "E_WRITE_FAILED",
            Self::OutcomeUnknown(_) => "E_OUTCOME_UNKNOWN",
            Self::Busy => "E_BUSY",
            Self::Starting => "E_STARTING",
            Self::Closing => "E_CLOSING",
            Self::TooLarge => "E_TOO_LARGE",
            Self::Misuse(_) => "E_MISUSE",
        }
    }
}
