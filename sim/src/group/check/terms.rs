//! MT: term, commit index and applied index of a member never fall within a start, and no start knows a smaller term
//! than one that was told before.

use dps_core::raft::message::{Body, Message};

use super::super::member::Look;
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
pub(crate) struct Terms(Vec<Seen>);

impl Terms {
    pub(crate) fn new(hosts: usize) -> Self {
        Self(vec![Seen::default(); hosts])
    }

    pub(crate) fn started(&mut self, host: u32) {
        let seen = &mut self.0[host as usize];
        *seen = Seen { term: seen.told, told: seen.told, ..Seen::default() };
    }

    /// A message says a term that must be durable by now.
    pub(crate) fn sent(&mut self, host: u32, message: &Message) {
        if !matches!(message.body, Body::PreVote { .. } | Body::PreVoteReply { .. }) {
            let seen = &mut self.0[host as usize];
            seen.told = seen.told.max(message.term);
        }
    }

    pub(crate) fn look(&mut self, at: u64, host: u32, look: &Look<'_>, findings: &mut Findings) {
        let seen = &mut self.0[host as usize];
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
