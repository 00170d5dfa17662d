//! What a member of a group hears, and what it wants.

use alloc::boxed::Box;
use alloc::vec::Vec;

pub use crate::disk::halt::HaltReason;
use crate::disk::{DiskError, DiskRequest, DiskResult, File};
use crate::id::{NodeId, OpId};
use crate::ledger::command::{Command, Outcome};
use crate::ledger::file::FileStat;
use crate::limits::EFFECT_SIZE_MAX;
use crate::note::Note;
use crate::raft;
use crate::raft::entry::Position;
use crate::raft::membership::Change;

pub use super::letter::{Answer, Body, Letter, Message, Piece};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline passed, or the member is stepped for the first time.
    Wake,
    /// A disk request ended.
    DiskDone {
        /// Which.
        op: OpId,
        /// How.
        result: DiskResult,
    },
    /// A message came. Its sender is authenticated.
    Received(Box<Message>),
    /// A command to be committed.
    Propose {
        /// Chosen by the caller, and answered exactly once, unless the member stops before. What becomes of a command
        /// or change that was appended here is only known when something is committed in its place, so a member that
        /// hears of the group no more, as it was removed, never answers.
        ticket: u64,
        /// By volume, the largest position that the command relies on (rule J6).
        volumes: Vec<(u64, u64)>,
        /// The command.
        command: Command,
    },
    /// A change of who takes part.
    Change {
        /// As in [`Event::Propose`].
        ticket: u64,
        /// What is to change.
        changes: Vec<Change>,
    },
    /// Somebody wants to read what was committed when this came.
    Read {
        /// As in [`Event::Propose`].
        ticket: u64,
    },
    /// A command is to be proposed by another member, if that leads.
    Pass {
        /// Which.
        to: NodeId,
        /// Chosen by the caller. Answered at most once, by [`Effect::Passed`].
        ticket: u64,
        /// The command.
        command: Command,
    },
    /// Another voter shall lead.
    Transfer {
        /// Which.
        to: NodeId,
    },
    /// Whether others need the space that is left: then no snapshot is made here.
    Tight(bool),
    /// No further commands; close the journal in good order.
    Close,
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
    /// Send this. It may be lost.
    Send(Box<Message>),
    /// What came of a proposal: it is applied here.
    Decided {
        /// Whose.
        ticket: u64,
        /// Where it was committed and what it came to, or why it was not.
        result: Box<Result<Decision, Refusal>>,
    },
    /// What another member says of a command that was passed to it in this start.
    Passed {
        /// Whose.
        ticket: u64,
        /// What came of it.
        answer: Answer,
    },
    /// What came of a change.
    Changed {
        /// Whose.
        ticket: u64,
        /// Where it was committed, or why it was not.
        result: Result<Position, Refusal>,
    },
    /// What came of a read. The ledger, as it is now, has everything that was committed when the read came.
    Readable {
        /// Whose.
        ticket: u64,
        /// The index up to which the ledger had to be applied.
        result: Result<u64, Refusal>,
    },
    /// The journal is closed, after [`Event::Close`]. What was not decided never will be by this start.
    Closed,
    /// Something worth knowing; never an instruction.
    Note(Note),
    /// Stop: nothing may be called any more.
    Halt(HaltReason),
}

const _: () = assert!(size_of::<Effect>() <= EFFECT_SIZE_MAX);

/// A command that was committed and applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Where.
    pub position: Position,
    /// What it came to.
    pub outcome: Outcome,
    /// What the name that a put or an undelete has given a meaning was right after it.
    pub stat: Option<Box<FileStat>>,
}

/// Why something was not done, or not known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The group says so.
    #[error(transparent)]
    Group(#[from] raft::Refusal),
    /// The disk has not been read yet. Nothing was done.
    #[error("the member is starting")]
    Starting,
    /// The journal could not be written earlier in this start. Nothing was done.
    #[error("{file} could not be written: {error}")]
    Stopped {
        /// The file that failed.
        file: File,
        /// What the disk said.
        error: DiskError,
    },
    /// The journal failed with this on its way. Only the group can tell what came of it.
    #[error("the journal could not be written ({0}), and whether the command was committed is not known here")]
    Unknown(DiskError),
    /// The member is closing. Nothing was done.
    #[error("the member is closing")]
    Closing,
    /// Every snapshot of this member is lost, and it fetches one of another member. Nothing was done.
    #[error("the member has lost its snapshots and fetches one from another member")]
    NoLedger,
}
