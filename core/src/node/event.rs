//! What a node hears and what it wants done.

pub use crate::disk::halt::{FileOrList, HaltReason};
use crate::disk::{DiskRequest, DiskResult};
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
