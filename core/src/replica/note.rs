//! What is worth knowing of a member of a group, besides what Raft says.

use core::fmt;

use super::witness::Because;
use crate::disk::{DiskError, File};
use crate::id::NodeId;

/// Something worth knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// A message makes no sense, or is of a start that is not known. Nothing was done.
    Rejected {
        /// Whose.
        from: NodeId,
        /// Why.
        reason: Reason,
    },
    /// A start of another member is durably known: its messages are taken from now on.
    Met {
        /// Whose.
        node: NodeId,
        /// Its number.
        start: u64,
    },
    /// A start of another member has an old disk. It was told so, and its messages are not taken.
    RolledBack {
        /// Whose.
        node: NodeId,
        /// Its number.
        start: u64,
        /// How that is known.
        because: Because,
    },
    /// What was remembered of other members is damaged in one of both slots.
    MemoryDamaged(File),
    /// What is to be remembered of other members can't be written: new starts of them are not known.
    NotRemembered(DiskError),
    /// The start has no ledger, since no snapshot can be read. It takes one from another member.
    LedgerLost {
        /// The last entry before the journal.
        index: u64,
    },
    /// The ledger is there again.
    LedgerFound {
        /// The last entry in it.
        index: u64,
    },
    /// Another member says that a snapshot of this one is damaged, and it is. It is made anew.
    SnapshotLost {
        /// The last entry in it.
        index: u64,
    },
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is for another node, or came back to whoever sent it.
    NotForUs,
    /// Its sender has started again since.
    OlderStart,
    /// Its sender has not introduced itself in this start.
    UnknownStart,
    /// No member is started so often, or never was.
    AbsurdStart,
    /// It answers another start of this member.
    OtherStart,
    /// Its sender takes no part.
    NoMember,
    /// It brings what was not asked for: another snapshot, or another part of it.
    Unasked,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected { from, reason } => write!(f, "a message of {from} is rejected: {reason}"),
            Self::Met { node, start } => write!(f, "knows start {start} of {node}"),
            Self::RolledBack { node, start, because } => {
                write!(f, "start {start} of {node} has an old disk and takes no part: {because}")
            }
            Self::MemoryDamaged(file) => write!(f, "{file} is damaged; the other one serves, if there is one"),
            Self::NotRemembered(error) => write!(f, "what is known of other members can't be written: {error}"),
            Self::LedgerLost { index } => {
                write!(
                    f,
                    "no snapshot of the ledger can be read, and the journal begins after entry {index}: asks others for one"
                )
            }
            Self::LedgerFound { index } => write!(f, "has a ledger again, up to entry {index}"),
            Self::SnapshotLost { index } => write!(f, "{} is damaged, and is made anew", File::Snapshot(*index)),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotForUs => "it is for another node",
            Self::OlderStart => "its sender has started again since",
            Self::UnknownStart => "its sender has not introduced itself since it was started",
            Self::AbsurdStart => "no member was ever started so often",
            Self::OtherStart => "it answers another start of this member",
            Self::NoMember => "its sender takes no part",
            Self::Unasked => "it brings what was not asked for",
        })
    }
}
