//! What a member of a group hears, and what it wants.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::hash::HASH_LEN;
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
}

/// What members tell each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Raft's own.
    Raft(raft::message::Message),
    /// Give me what follows of a snapshot.
    Ask(Piece),
    /// Here it is.
    Part {
        /// Of which snapshot, from where on.
        piece: Piece,
        /// The bytes, at most [`STEP_BYTES_MAX`](crate::limits::STEP_BYTES_MAX).
        bytes: Bytes,
    },
    /// Propose this, if you lead.
    Propose {
        /// Who asks.
        from: NodeId,
        /// Whom.
        to: NodeId,
        /// Chosen by whoever asks, and echoed.
        ticket: u64,
        /// What is to be done.
        command: Command,
    },
    /// Answers that.
    Proposed {
        /// Who was asked.
        from: NodeId,
        /// Who asked.
        to: NodeId,
        /// Echoed.
        ticket: u64,
        /// What came of it.
        answer: Answer,
    },
}

/// What came of a proposal that another member was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It was committed and applied.
    Decided(Outcome),
    /// Whoever was asked does not lead. Nothing was done.
    NotLeader(Option<NodeId>),
    /// Nothing was done, and it may be asked for again.
    Busy,
    /// Whether it was committed is not known there.
    Unknown,
}

impl From<&Result<Decision, Refusal>> for Answer {
    fn from(result: &Result<Decision, Refusal>) -> Self {
        match result {
            Ok(Decision { outcome, .. }) => Self::Decided(*outcome),
            Err(Refusal::Group(raft::Refusal::NotLeader { leader })) => Self::NotLeader(*leader),
            Err(Refusal::Group(raft::Refusal::Superseded) | Refusal::Starting | Refusal::Closing) => {
                Self::NotLeader(None)
            }
            Err(Refusal::Stopped { .. } | Refusal::Group(raft::Refusal::Transferring)) => Self::NotLeader(None),
            Err(Refusal::Group(raft::Refusal::Overtaken | raft::Refusal::Unconfirmed) | Refusal::Unknown(_)) => {
                Self::Unknown
            }
            Err(Refusal::Group(
                raft::Refusal::Busy
                | raft::Refusal::TooLarge
                | raft::Refusal::Change(_)
                | raft::Refusal::ChangePending
                | raft::Refusal::NotCaughtUp,
            )) => Self::Busy,
        }
    }
}

/// A part of a snapshot that one member asks another for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piece {
    /// Who sends this.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// The last entry in the snapshot.
    pub index: u64,
    /// What the snapshot hashes to, so that parts of two are never mixed.
    pub digest: [u8; HASH_LEN],
    /// Bytes of it before this part.
    pub offset: u64,
}

impl Message {
    /// Who sent it.
    #[must_use]
    pub const fn from(&self) -> NodeId {
        match self {
            Self::Raft(message) => message.from,
            Self::Ask(piece) | Self::Part { piece, .. } => piece.from,
            Self::Propose { from, .. } | Self::Proposed { from, .. } => *from,
        }
    }

    /// To whom.
    #[must_use]
    pub const fn to(&self) -> NodeId {
        match self {
            Self::Raft(message) => message.to,
            Self::Ask(piece) | Self::Part { piece, .. } => piece.to,
            Self::Propose { to, .. } | Self::Proposed { to, .. } => *to,
        }
    }
}
