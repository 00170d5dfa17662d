//! VOTE: a member votes once in a term, in all its starts together, and says so only once that is durable (Ongaro 2014,
//! section 3.8). And ES: whoever leads was voted for by a majority of each set of the membership that it had.

use std::collections::BTreeMap;

use dps_core::id::NodeId;
use dps_core::raft::Vote;
use dps_core::raft::membership::Membership;

use super::super::setup::{host_of, node_id};
use super::quorum::has_majority;
use crate::check::Findings;

/// Votes by host and term.
#[derive(Debug, Default)]
pub(crate) struct Votes(BTreeMap<(u32, u64), NodeId>);

impl Votes {
    /// A member is about to tell of its vote in a term; `durable` tells what its disk has of that.
    pub(crate) fn given(
        &mut self,
        at: u64,
        (host, term): (u32, u64),
        candidate: NodeId,
        durable: &dyn Fn() -> Vote,
        findings: &mut Findings,
    ) {
        let before = self.0.insert((host, term), candidate);
        if before.is_some_and(|before| before != candidate) {
            let text = format!("host {host} votes for {candidate} in term {term}, and has voted for {before:?}");
            findings.correctness("VOTE", at, text);
        }
        if before.is_none() {
            let durable = durable();
            let is_durable = durable.term > term || (durable.term, durable.candidate) == (term, Some(candidate));
            if !is_durable {
                let text = format!("host {host} votes for {candidate} in term {term}, and {durable:?} is durable");
                findings.correctness("VOTE", at, text);
            }
        }
    }

    /// A member begins to lead a term, in a step before which it had this membership.
    pub(super) fn elected(&self, at: u64, (host, term): (u32, u64), membership: &Membership, findings: &mut Findings) {
        let leader = node_id(host);
        let voted = |node: &NodeId| {
            *node == leader || host_of(*node).is_some_and(|voter| self.0.get(&(voter, term)) == Some(&leader))
        };
        if !has_majority(membership, voted) {
            let text = format!("host {host} leads term {term}, and no majority of {membership:?} has voted for it");
            findings.correctness("ES", at, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(votes: &mut Votes, candidate: u32, durable: Option<u32>) -> Vec<&'static str> {
        let mut findings = Findings::default();
        let durable = || Vote { term: 3, candidate: durable.map(node_id) };
        votes.given(0, (0, 3), node_id(candidate), &durable, &mut findings);
        findings.into_violations().iter().map(|violation| violation.checker).collect()
    }

    #[test]
    fn a_vote_that_is_not_durable_or_the_second_of_a_term_is_found() {
        let mut votes = Votes::default();
        assert_eq!(verdict(&mut votes, 1, Some(1)), [""; 0]);
        assert_eq!(verdict(&mut votes, 1, Some(1)), [""; 0]);
        assert_eq!(verdict(&mut votes, 2, Some(1)), ["VOTE"]);
        assert_eq!(verdict(&mut Votes::default(), 1, None), ["VOTE"]);
        assert_eq!(verdict(&mut Votes::default(), 1, Some(2)), ["VOTE"]);
    }
}
