//! What a node shows of itself.

use alloc::sync::Arc;

use super::entry::{Entry, Position};
use super::membership::Membership;
use super::snapshot::Snapshot;
use super::{Raft, Role};
use crate::id::NodeId;

impl Raft {
    /// This node.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The largest term that it has seen.
    #[must_use]
    pub const fn term(&self) -> u64 {
        self.vote.term
    }

    /// The index up to which it knows the log committed.
    #[must_use]
    pub const fn commit(&self) -> u64 {
        self.commit
    }

    /// The last entry that is not in its log any more; a snapshot has it.
    #[must_use]
    pub const fn base(&self) -> Position {
        self.log.base()
    }

    /// The last entry of its log.
    #[must_use]
    pub fn last(&self) -> Position {
        self.log.last()
    }

    /// Whether it leads its term. Whoever is alone leads none before it has something to write.
    #[must_use]
    pub const fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Who leads, as far as it knows: whoever is alone, itself.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower { leader: None } if self.is_alone() => Some(self.id),
            Role::Follower { leader } => *leader,
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.id),
        }
    }

    /// Who takes part, by the newest word in its log.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        self.log.membership().1
    }

    /// The same, to be kept.
    #[must_use]
    pub fn shared_membership(&self) -> &Arc<Membership> {
        self.log.membership().1
    }

    /// Whether its state is lost: it applies nothing and does not lead until a snapshot is installed.
    #[must_use]
    pub const fn lacks_state(&self) -> bool {
        self.lacks_state
    }

    /// The newest snapshot that is durable.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The term of the entry with this index, or of the last one before its log.
    #[must_use]
    pub fn term_of(&self, index: u64) -> Option<u64> {
        self.log.term(index)
    }

    /// The entry with this index, unless it is not in the log any more or yet.
    #[must_use]
    pub fn entry(&self, index: u64) -> Option<&Entry> {
        self.log.get(index)
    }
}
