//! What is worth knowing of a node of a group.

use core::fmt;

use super::doubt::Settlement;
use super::entry::Position;
use crate::id::NodeId;

/// Something worth knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// The node follows, perhaps nobody yet.
    Follows {
        /// Its term.
        term: u64,
        /// Whom.
        leader: Option<NodeId>,
    },
    /// The node asks whether it could win an election.
    AsksForPreVotes {
        /// The term that it would begin.
        term: u64,
    },
    /// The node asks for votes.
    AsksForVotes {
        /// The term that it began.
        term: u64,
    },
    /// The node leads.
    Leads {
        /// Its term.
        term: u64,
    },
    /// The node led and heard of no majority for too long.
    LostQuorum {
        /// Its term.
        term: u64,
    },
    /// Entries that were never committed were replaced by those of a leader.
    Truncated {
        /// The last entry that stays.
        after: Position,
    },
    /// Entries that a snapshot has are in the log no more.
    Compacted {
        /// The last of them.
        through: Position,
    },
    /// The node goes on from another node's snapshot.
    Restored {
        /// The last entry in it.
        last: Position,
    },
    /// The start does not know whether more was acknowledged or voted for than it has. It votes for nobody yet.
    Doubtful {
        /// The last entry that it has.
        last: Position,
    },
    /// That does not matter any more.
    Settled {
        /// Why.
        how: Settlement,
    },
    /// An operator named an index that is not the last one of this node, or nothing is in doubt. Nothing was done.
    NotSettled {
        /// What was named.
        index: u64,
        /// The last entry.
        last: Position,
    },
    /// A message makes no sense. Nothing was done.
    Rejected {
        /// Whose.
        from: NodeId,
        /// Why.
        reason: Reason,
    },
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is for another node, or came back to whoever sent it.
    NotForUs,
    /// The sender has started again since.
    OldIncarnation,
    /// So many nodes never were in one group.
    TooManyPeers,
    /// No group gets that far.
    AbsurdTerm,
    /// No log gets that far.
    AbsurdIndex,
    /// Two nodes lead in one term.
    SecondLeader,
    /// Entries do not follow each other.
    MalformedEntries,
    /// A snapshot is of nothing, or of a term or index to come.
    MalformedSnapshot,
    /// It would replace what is committed.
    AgainstCommitted,
    /// It answers what was never asked, or too long ago; or who should lead can't, or by the word of whoever does not.
    Unasked,
    /// The node is to stand for election, and may not.
    InDoubt,
    /// The node is to stand for election, and has lost its state.
    NoState,
    /// The sender has no vote, or takes no part.
    NoVoter,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Follows { term, leader: Some(leader) } => write!(f, "follows {leader} in term {term}"),
            Self::Follows { term, leader: None } => write!(f, "follows nobody yet in term {term}"),
            Self::AsksForPreVotes { term } => write!(f, "asks whether it could win term {term}"),
            Self::AsksForVotes { term } => write!(f, "asks for votes in term {term}"),
            Self::Leads { term } => write!(f, "leads term {term}"),
            Self::LostQuorum { term } => write!(f, "heard of no majority and leads term {term} no more"),
            Self::Truncated { after } => write!(f, "replaces what follows entry {after}"),
            Self::Compacted { through } => write!(f, "forgets entries up to {through}, which a snapshot has"),
            Self::Restored { last } => write!(f, "goes on from a snapshot that ends with {last}"),
            Self::Doubtful { last } => write!(f, "does not know what it has lost behind entry {last}, and asks"),
            Self::Settled { how } => write!(f, "knows enough of what it has lost: {how}"),
            Self::NotSettled { index, last } => {
                write!(f, "is not settled by the word that its log ends with index {index}: it ends with entry {last}")
            }
            Self::Rejected { from, reason } => write!(f, "a message of {from} is rejected: {reason}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotForUs => "it is for another node",
            Self::OldIncarnation => "its sender has started again since",
            Self::TooManyPeers => "no group has so many nodes",
            Self::AbsurdTerm => "no group gets to such a term",
            Self::AbsurdIndex => "no log gets to such an index",
            Self::SecondLeader => "another node leads this term",
            Self::MalformedEntries => "its entries do not follow each other",
            Self::MalformedSnapshot => "its snapshot can't be",
            Self::AgainstCommitted => "it would replace what is committed",
            Self::Unasked => "it answers what was not asked, or asks what can't be",
            Self::NoState => "this node has lost its state and fetches it",
            Self::NoVoter => "its sender has no vote, or takes no part",
            Self::InDoubt => "what this node has lost is not settled",
        })
    }
}
