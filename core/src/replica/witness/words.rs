//! What starts of members say to get to know each other.

use core::fmt;

use crate::id::NodeId;
use crate::raft::entry::Position;

/// Bytes that are drawn once: of a start, or to be echoed.
pub type Drawn = [u8; 16];

/// A start, as it tells others of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Start {
    /// The random bytes of its boot record.
    pub random: Drawn,
    /// The end of its log as it was found: the accepted term, and the last index (rule R1).
    pub end: Position,
    /// The largest term that it had seen.
    pub term: u64,
    /// Whether it knows of everything that it may have lost: else its end says nothing of what was acknowledged.
    pub whole: bool,
}

/// What is said. Which start of the sender says it is said around that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Words {
    /// This is who I am in this start.
    Introduction {
        /// It.
        start: Start,
        /// What the receiver has given to be echoed, if it has.
        nonce: Option<Drawn>,
    },
    /// I don't know this start of yours: introduce yourself with this.
    Challenge {
        /// Which start is meant.
        start: u64,
        /// To be echoed.
        nonce: Drawn,
    },
    /// I know this start of yours, and will after my next start.
    Known {
        /// Its random bytes.
        random: Drawn,
    },
    /// You said more in an earlier start than you know now.
    RolledBack {
        /// The random bytes of the start that is meant.
        random: Drawn,
        /// How that is known.
        because: Because,
    },
}

/// How it is known that the disk of a member is an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Because {
    /// This start, which had the same number or a later one, is known already.
    EarlierStart {
        /// Its number.
        known: u64,
    },
    /// It has acknowledged more of the log.
    ShorterLog {
        /// Up to here.
        acknowledged: Position,
    },
    /// It has spoken of a later term, and may have voted in it.
    EarlierTerm {
        /// Which.
        told: u64,
    },
}

/// What another member has found of this one: it must not go on, and neither must any later start from its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Who knows that.
    pub by: NodeId,
    /// How.
    pub because: Because,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EarlierStart { known } => write!(f, "start {known} of it is known already"),
            Self::ShorterLog { acknowledged } => {
                write!(f, "it had acknowledged entries up to {acknowledged}, and its log ends before that")
            }
            Self::EarlierTerm { told } => write!(f, "it had spoken in term {told}, and does not know of that term"),
        }
    }
}
