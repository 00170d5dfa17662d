//! What a node has under way, for whoever wants to know that nothing is left behind.

use super::{Raft, Role};
use crate::id::NodeId;

/// What is under way. All of it is 0 at a node that nobody wants anything of and that has heard from all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Bytes of entries that a leader has not committed, as it counts them.
    pub uncommitted_bytes: u64,
    /// Messages with entries that a leader counts as on their way.
    pub in_flight: usize,
    /// Messages that wait for a write.
    pub withheld: usize,
    /// Proposals and reads that are not answered.
    pub waiting: usize,
}

impl Raft {
    /// What a leader takes a follower to have that is the leader's and durable there, by index; `None` of a stranger,
    /// and at a node that does not lead.
    #[must_use]
    pub fn matched(&self, follower: &NodeId) -> Option<u64> {
        match &self.role {
            Role::Leader(leader) => leader.progress.get(follower).map(|progress| progress.matched),
            Role::Follower { .. } | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    /// Whether it lets another node take over.
    #[must_use]
    pub const fn hands_over(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.transfer.is_some())
    }

    /// What is under way. Of messages to followers only those count of whom `of` is true.
    #[must_use]
    pub fn backlog(&self, of: impl Fn(&NodeId) -> bool) -> Backlog {
        let mut backlog = Backlog {
            withheld: self.outbox.withheld(),
            waiting: self.tickets.len() + self.forwarded.len(),
            ..Backlog::default()
        };
        if let Role::Leader(leader) = &self.role {
            backlog.uncommitted_bytes = leader.uncommitted_bytes;
            let followers = leader.progress.iter().filter(|(node, _)| of(node));
            backlog.in_flight = followers.map(|(_, progress)| progress.in_flight()).sum();
            backlog.waiting += leader.reads.len();
        }
        backlog
    }
}
