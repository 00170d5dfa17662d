//! Who takes part, and how that changes (Ongaro 2014, chapter 4).
//!
//! A change of one voter goes to the new set at once (section 4.2); a larger one through a joint set, in which both the
//! outgoing and the incoming voters must agree (section 4.3). So a single-server change is the simple case of the same
//! thing.

use alloc::collections::BTreeSet;

use crate::id::{KEY_LEN, NodeId};
use crate::limits::{LEARNERS_MAX, VOTERS_MAX};

/// The nodes of a group.
///
/// Invariant: there is a voter; no node is both a voter and a learner; who is demoted is an outgoing voter and no
/// incoming one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Membership {
    /// Those whose majority decides; while it is joint, the incoming ones.
    voters: BTreeSet<NodeId>,
    /// While it is joint, those whose majority must agree as well; else nobody.
    outgoing: BTreeSet<NodeId>,
    /// Those who get the log and have no vote.
    learners: BTreeSet<NodeId>,
    /// Outgoing voters that become learners when it is left.
    demoted: BTreeSet<NodeId>,
}

/// One wish of a change. Several make one change, which takes effect as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new node gets the log, without a vote.
    AddLearner(NodeId),
    /// A learner becomes a voter.
    Promote(NodeId),
    /// A voter becomes a learner.
    Demote(NodeId),
    /// A voter or a learner goes.
    Remove(NodeId),
}

/// Why a change makes no sense. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ChangeError {
    /// There is a change under way.
    #[error("the group is between two sets of voters")]
    Joint,
    /// It names nothing, or one node twice.
    #[error("a change names each node once, and at least one")]
    Malformed,
    /// A node that is to be added is there.
    #[error("node {0} takes part already")]
    Present(NodeId),
    /// A node is not what the change takes it for.
    #[error("node {0} is no such member")]
    Absent(NodeId),
    /// Nobody would be left to vote.
    #[error("a group needs a voter")]
    NoVoter,
    /// A node is given parts that exclude each other.
    #[error("node {0} can't take part in two ways")]
    Contradiction(NodeId),
    /// More than the bounds in `limits.rs`.
    #[error("a group has at most {VOTERS_MAX} voters and {LEARNERS_MAX} learners")]
    TooMany,
}

impl Membership {
    /// A group of these voters.
    ///
    /// # Errors
    /// There are none, or more than [`VOTERS_MAX`].
    pub fn new(voters: impl IntoIterator<Item = NodeId>) -> Result<Self, ChangeError> {
        Self { voters: voters.into_iter().collect(), ..Self::default() }.checked()
    }

    /// The membership that has these nodes in these parts, from wherever it was written down.
    ///
    /// # Errors
    /// No group ever has it: there is no voter, a part is larger than the bounds in `limits.rs`, or a node is in two
    /// parts that exclude each other.
    pub fn from_parts(
        voters: BTreeSet<NodeId>,
        outgoing: BTreeSet<NodeId>,
        learners: BTreeSet<NodeId>,
        demoted: BTreeSet<NodeId>,
    ) -> Result<Self, ChangeError> {
        let learning_voter = voters.iter().chain(&outgoing).find(|node| learners.contains(node));
        let leaves = |node: &NodeId| outgoing.contains(node) && !voters.contains(node);
        let contradiction = learning_voter.or_else(|| demoted.iter().find(|node| !leaves(node)));
        if let Some(node) = contradiction {
            return Err(ChangeError::Contradiction(*node));
        }
        Self { voters, outgoing, learners, demoted }.checked()
    }

    /// Those whose majority decides; while it is joint, the incoming ones.
    #[must_use]
    pub const fn voters(&self) -> &BTreeSet<NodeId> {
        &self.voters
    }

    /// While it is joint, those whose majority must agree as well; else nobody.
    #[must_use]
    pub const fn outgoing(&self) -> &BTreeSet<NodeId> {
        &self.outgoing
    }

    /// Those who get the log and have no vote, those not included who become such when a joint membership is left.
    #[must_use]
    pub const fn learners(&self) -> &BTreeSet<NodeId> {
        &self.learners
    }

    /// Outgoing voters that become learners when a joint membership is left.
    #[must_use]
    pub const fn demoted(&self) -> &BTreeSet<NodeId> {
        &self.demoted
    }

    /// Whether it is between two sets of voters.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether a node has a vote, in either set.
    #[must_use]
    pub fn is_voter(&self, node: &NodeId) -> bool {
        self.voters.contains(node) || self.outgoing.contains(node)
    }

    /// Whether a node gets the log.
    #[must_use]
    pub fn is_member(&self, node: &NodeId) -> bool {
        self.is_voter(node) || self.learners.contains(node)
    }

    /// Whether `node` votes and nobody else gets the log.
    #[must_use]
    pub fn is_of_one(&self, node: &NodeId) -> bool {
        let is_alone = self.voters.len() == 1 && self.outgoing.is_empty() && self.learners.is_empty();
        is_alone && self.voters.contains(node)
    }

    /// Everybody who gets the log, each once, in ascending order.
    #[must_use]
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }

    /// What comes of it by `changes`: a joint membership if more than one voter is another, else the new one at once.
    ///
    /// # Errors
    /// The change makes no sense.
    pub fn change(&self, changes: &[Change]) -> Result<Self, ChangeError> {
        if self.is_joint() {
            return Err(ChangeError::Joint);
        }
        let named: BTreeSet<NodeId> = changes.iter().map(Change::node).collect();
        if named.is_empty() || named.len() != changes.len() {
            return Err(ChangeError::Malformed);
        }
        let mut next = self.clone();
        for change in changes {
            next.apply(change)?;
        }
        let differing = self.voters.symmetric_difference(&next.voters).count();
        if differing > 1 {
            next.outgoing.clone_from(&self.voters);
            // Until it is left they vote, and who votes is no learner.
            next.demoted = next.learners.intersection(&self.voters).copied().collect();
            next.learners = next.learners.difference(&self.voters).copied().collect();
        }
        next.checked()
    }

    /// The membership with the incoming voters alone.
    ///
    /// # Panics
    /// When it is not joint.
    #[must_use]
    pub fn leave(&self) -> Self {
        assert!(self.is_joint(), "only a joint membership is left");
        let learners = self.learners.union(&self.demoted).copied().collect();
        Self { voters: self.voters.clone(), outgoing: BTreeSet::new(), learners, demoted: BTreeSet::new() }
    }

    fn apply(&mut self, change: &Change) -> Result<(), ChangeError> {
        let node = change.node();
        let done = match change {
            Change::AddLearner(_) if self.is_member(&node) => return Err(ChangeError::Present(node)),
            Change::AddLearner(_) => self.learners.insert(node),
            Change::Promote(_) => self.learners.remove(&node) && self.voters.insert(node),
            Change::Demote(_) => self.voters.remove(&node) && self.learners.insert(node),
            Change::Remove(_) => self.voters.remove(&node) || self.learners.remove(&node),
        };
        if done { Ok(()) } else { Err(ChangeError::Absent(node)) }
    }

    fn checked(self) -> Result<Self, ChangeError> {
        if self.voters.is_empty() {
            return Err(ChangeError::NoVoter);
        }
        let votes_max = self.voters.len().max(self.outgoing.len());
        if votes_max > VOTERS_MAX || self.learners.len() + self.demoted.len() > LEARNERS_MAX {
            return Err(ChangeError::TooMany);
        }
        self.check();
        Ok(self)
    }

    /// Bytes of its encoding.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let nodes = self.voters.len() + self.outgoing.len() + self.learners.len() + self.demoted.len();
        8 + KEY_LEN * nodes
    }

    /// Asserts the invariant.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn check(&self) {
        assert!(!self.voters.is_empty(), "a group has a voter");
        let learns = |node: &NodeId| self.learners.contains(node);
        assert!(!self.voters.iter().chain(&self.outgoing).any(learns), "no voter is a learner");
        let leaves = |node: &NodeId| self.outgoing.contains(node) && !self.voters.contains(node);
        assert!(self.demoted.iter().all(leaves), "who is demoted is an outgoing voter");
    }
}

impl Change {
    /// The node that it is about.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        match self {
            Self::AddLearner(node) | Self::Promote(node) | Self::Demote(node) | Self::Remove(node) => *node,
        }
    }
}

#[cfg(test)]
mod tests;
