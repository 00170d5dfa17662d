//! What members tell each other: messages of Raft, and letters with all else.

use bytes::Bytes;

use super::event::{Decision, Refusal};
use super::witness::Words;
use crate::crypto::hash::HASH_LEN;
use crate::id::NodeId;
use crate::ledger::command::{Command, Outcome};
use crate::raft;
use crate::raft::snapshot::Snapshot;

/// What members tell each other. Who sends it, in which start, and to whom is said once, around what is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Raft's own.
    Raft(raft::message::Message),
    /// All else.
    Member(Letter),
}

/// What members tell each other besides Raft's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Who sent it.
    pub from: NodeId,
    /// Which start of the sender that was: its boot counter.
    pub incarnation: u64,
    /// To whom.
    pub to: NodeId,
    /// What it says.
    pub body: Body,
}

/// What a letter says. Answers name the start that they answer, since a later one numbers its questions anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Give me what follows of a snapshot.
    Ask(Piece),
    /// Here it is.
    Part {
        /// Which start of the receiver has asked.
        asker: u64,
        /// Of which snapshot, from where on.
        piece: Piece,
        /// The bytes, at most [`STEP_BYTES_MAX`](crate::limits::STEP_BYTES_MAX).
        bytes: Bytes,
    },
    /// What came of this snapshot can't be right, as was seen after so many bytes.
    Unfit(Piece),
    /// Which snapshot do you have? Asked by a member that has lost its own.
    Wanted {
        /// One whose last entry is before this index is of no use.
        from: u64,
    },
    /// Answers that.
    Offered {
        /// Which start of the receiver has asked.
        asker: u64,
        /// The newest.
        snapshot: Snapshot,
    },
    /// Propose this, if you lead.
    Propose {
        /// Chosen by whoever asks, and echoed.
        ticket: u64,
        /// What is to be done.
        command: Command,
    },
    /// Answers that.
    Proposed {
        /// Which start of the receiver has asked.
        asker: u64,
        /// Echoed.
        ticket: u64,
        /// What came of it.
        answer: Answer,
    },
    /// Starts get to know each other (rule R4).
    Meet(Words),
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
    /// The command is longer than any entry may be. Nothing was done.
    TooLarge,
}

impl From<&Result<Decision, Refusal>> for Answer {
    fn from(result: &Result<Decision, Refusal>) -> Self {
        match result {
            Ok(Decision { outcome, .. }) => Self::Decided(*outcome),
            Err(Refusal::Group(raft::Refusal::NotLeader { leader })) => Self::NotLeader(*leader),
            Err(Refusal::Group(raft::Refusal::Superseded) | Refusal::Starting | Refusal::Closing) => {
                Self::NotLeader(None)
            }
            Err(Refusal::Stopped { .. } | Refusal::NoLedger | Refusal::Group(raft::Refusal::Transferring)) => {
                Self::NotLeader(None)
            }
            Err(Refusal::Group(raft::Refusal::Overtaken | raft::Refusal::Unconfirmed) | Refusal::Unknown(_)) => {
                Self::Unknown
            }
            Err(Refusal::Group(raft::Refusal::TooLarge)) => Self::TooLarge,
            Err(Refusal::Group(
                raft::Refusal::Busy
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
            Self::Member(letter) => letter.from,
        }
    }

    /// Which start of the sender that was.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        match self {
            Self::Raft(message) => message.incarnation,
            Self::Member(letter) => letter.incarnation,
        }
    }

    /// To whom.
    #[must_use]
    pub const fn to(&self) -> NodeId {
        match self {
            Self::Raft(message) => message.to,
            Self::Member(letter) => letter.to,
        }
    }
}
