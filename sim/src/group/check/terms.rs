//! MT: term, commit index and applied index of a member never fall within a start, and no start knows a smaller term
//! than one that was told before. No term begins but by a majority of pre-votes or a hand-over, and nobody listens to
//! an earlier start of somebody of whom it has heard a later one.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::id::NodeId;
use dps_core::raft::membership::Membership;
use dps_core::raft::message::{Body, Message};

use super::super::member::Look;
use super::quorum::has_majority;
use crate::check::Findings;

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    term: u64,
    commit: u64,
    applied: u64,
    /// The largest term of a message that was sent, in any start.
    told: u64,
}

/// What each member was last seen with.
#[derive(Debug)]
pub(crate) struct Terms {
    seen: Vec<Seen>,
    /// Who would vote for whom in which term.
    pre_votes: BTreeMap<(NodeId, u64), BTreeSet<NodeId>>,
    /// The newest start of each other member that a start has heard of.
    starts: BTreeMap<(u32, NodeId), u64>,
}

impl Terms {
    pub(crate) fn new(hosts: usize) -> Self {
        Self { seen: vec![Seen::default(); hosts], pre_votes: BTreeMap::new(), starts: BTreeMap::new() }
    }

    pub(crate) fn started(&mut self, host: u32) {
        self.starts.retain(|(hearer, _), _| *hearer != host);
        let seen = &mut self.seen[host as usize];
        *seen = Seen { term: seen.told, told: seen.told, ..Seen::default() };
    }

    /// What a start has told may be lost with a disk that was harmed (rule R2).
    pub(crate) fn forgive(&mut self, host: u32) {
        let seen = &mut self.seen[host as usize];
        (seen.term, seen.told) = (0, 0);
    }

    /// A member hears a message. True if that is of an earlier start than it has heard of.
    pub(crate) fn hears_old_start(&mut self, host: u32, message: &Message) -> bool {
        let known = self.starts.entry((host, message.from)).or_default();
        let is_old = message.incarnation < *known;
        *known = message.incarnation.max(*known);
        is_old
    }

    /// A candidate asks for votes in a term: most voters of one of the memberships said that they would vote for it.
    pub(crate) fn stands<'a>(
        &self,
        at: u64,
        message: &Message,
        mut memberships: impl Iterator<Item = &'a Membership>,
        findings: &mut Findings,
    ) {
        let none = BTreeSet::new();
        let granted = self.pre_votes.get(&(message.from, message.term)).unwrap_or(&none);
        let is_in = |node: &NodeId| *node == message.from || granted.contains(node);
        if !memberships.any(|membership| has_majority(membership, is_in)) {
            let text = format!("{} begins term {}, and only {granted:?} would vote for it", message.from, message.term);
            findings.correctness("MT", at, text);
        }
    }

    /// A message says a term that must be durable by now.
    pub(crate) fn sent(&mut self, host: u32, message: &Message) {
        if let Body::PreVoteReply { granted: true } = message.body {
            self.pre_votes.entry((message.to, message.term)).or_default().insert(message.from);
        }
        if !matches!(message.body, Body::PreVote { .. } | Body::PreVoteReply { .. }) {
            let seen = &mut self.seen[host as usize];
            seen.told = seen.told.max(message.term);
        }
    }

    pub(crate) fn look(&mut self, at: u64, host: u32, look: &Look<'_>, findings: &mut Findings) {
        let seen = &mut self.seen[host as usize];
        let (term, commit, applied) = (look.raft.term(), look.raft.commit(), look.applied);
        for (what, before, after) in
            [("term", seen.term, term), ("commit index", seen.commit, commit), ("applied index", seen.applied, applied)]
        {
            if after < before {
                findings.correctness("MT", at, format!("the {what} of host {host} falls from {before} to {after}"));
            }
        }
        (seen.term, seen.commit, seen.applied) = (term, commit, applied);
    }
}
