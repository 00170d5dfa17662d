//! What a node hears and what it wants done.

use crate::disk::{DiskRequest, DiskResult, File};
use crate::id::{OpId, RequestId};
use crate::limits::EFFECT_SIZE_MAX;
use crate::node::request::{Reply, Request, RequestError};
use crate::note::Note;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline passed, or the node is stepped for the first time.
    Wake,
    /// A disk request ended.
    DiskDone {
        /// Which.
        op: OpId,
        /// How.
        result: DiskResult,
    },
    /// A client opened a conversation or went on with one.
    Requested {
        /// Which conversation.
        id: RequestId,
        /// What the client wants.
        request: Request,
    },
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Perform a disk request and answer with [`Event::DiskDone`].
    Disk {
        /// Name of the operation, to be echoed.
        op: OpId,
        /// What to do.
        request: DiskRequest,
    },
    /// Answer a client.
    Reply {
        /// Which conversation.
        id: RequestId,
        /// The answer. An error is always the last one.
        reply: Result<Reply, RequestError>,
        /// Whether the conversation is over.
        last: bool,
    },
    /// Something worth knowing; never an instruction.
    Note(Note),
    /// Stop: nothing may be called any more.
    Halt(HaltReason),
}

const _: () = assert!(size_of::<Effect>() <= EFFECT_SIZE_MAX);

/// Why a node can't go on at all. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HaltReason {
    /// The store was written by a newer version.
    #[error("the store has format {found}, this program reads formats up to {supported}")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format this program reads.
        supported: u32,
    },
    /// There are data files but no readable boot record to tell which store they belong to.
    #[error("both boot records are missing or damaged, but there are data files")]
    BootRecordLost,
    /// A file that is needed to start could not be read.
    #[error("{file} can't be read: {error}")]
    Unreadable {
        /// The file; `None` for the listing of the data directory.
        file: FileOrList,
        /// What the disk said.
        error: crate::disk::DiskError,
    },
}

/// What a start was reading when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileOrList {
    /// The list of files.
    List,
    /// A file.
    File(File),
}

impl core::fmt::Display for FileOrList {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::List => f.write_str("the list of files"),
            Self::File(file) => file.fmt(f),
        }
    }
}
