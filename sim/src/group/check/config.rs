//! CFG: at most one change of the membership is not committed, and any two memberships that follow each other in a log
//! have no majorities that do not meet (Ongaro 2014, sections 4.1 to 4.3). Who takes part is said by the newest entry
//! of a log, committed or not; a leader begins no change before an entry of its own term is committed, nor lets somebody
//! vote who has not what is committed; and nobody leads who has no vote.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::id::NodeId;
use dps_core::raft::Raft;
use dps_core::raft::entry::Payload;
use dps_core::raft::membership::Membership;

use super::super::exercise::Rows;
use super::committed::Committed;
use super::quorum::has_majority;
use crate::check::Findings;

/// Memberships that were seen.
#[derive(Debug)]
pub(crate) struct Config {
    founders: Membership,
    /// Of all logs, by index and term.
    seen: BTreeMap<(u64, u64), Membership>,
}

/// Whether a majority of one and a majority of the other might decide without each other.
pub(crate) fn can_part(one: &Membership, other: &Membership) -> bool {
    let voters = |membership: &Membership| -> BTreeSet<NodeId> {
        membership.voters().union(membership.outgoing()).copied().collect()
    };
    let all: Vec<NodeId> = voters(one).union(&voters(other)).copied().collect();
    (0..1_u32 << all.len()).any(|subset| {
        let is_in = |node: &NodeId| all.iter().position(|known| known == node).is_some_and(|at| subset >> at & 1 == 1);
        has_majority(one, is_in) && has_majority(other, |node| !is_in(node))
    })
}

impl Config {
    pub(crate) const fn new(founders: Membership) -> Self {
        Self { founders, seen: BTreeMap::new() }
    }

    /// All memberships that were ever in a log, and that of the founders.
    pub(super) fn known(&self) -> impl Iterator<Item = &Membership> {
        self.seen.values().chain([&self.founders])
    }

    /// The membership that the newest entry of a log puts in force.
    fn in_force(&self, raft: &Raft, committed: &Committed) -> Membership {
        let newest = (raft.base().index + 1..=raft.last().index).rev().find_map(|index| {
            match raft.entry(index).map(|entry| &entry.payload) {
                Some(Payload::Membership(membership)) => Some((**membership).clone()),
                Some(Payload::Empty | Payload::Command(_)) | None => None,
            }
        });
        newest.unwrap_or_else(|| self.committed_by(raft.base().index, committed))
    }

    /// The newest membership that is committed up to an index.
    fn committed_by(&self, index: u64, committed: &Committed) -> Membership {
        let is_committed = |(at, term): &(u64, u64)| *at <= index && committed.position(*at).term == *term;
        let known = self.seen.iter().rfind(|(at, _)| is_committed(at)).map(|(_, known)| known.clone());
        known.unwrap_or_else(|| self.founders.clone())
    }

    /// The log or the membership of a member has changed: the newest entry decides who takes part.
    pub(super) fn judge_in_force(
        &self,
        at: u64,
        host: u32,
        raft: &Raft,
        committed: &Committed,
        findings: &mut Findings,
    ) {
        let expected = self.in_force(raft, committed);
        if raft.base().index <= committed.last() && *raft.membership() != expected {
            let found = raft.membership();
            let text = format!("host {host} takes {found:?} for in force, and by its log that is {expected:?}");
            findings.correctness("CFG", at, text);
        }
    }

    /// Somebody begins to lead: it must have a vote by something in its log.
    pub(super) fn judge_leader(&self, at: u64, host: u32, raft: &Raft, committed: &Committed, findings: &mut Findings) {
        let id = raft.id();
        let is_known = |index: u64| match raft.entry(index).map(|entry| &entry.payload) {
            Some(Payload::Membership(membership)) => membership.is_voter(&id),
            Some(Payload::Empty | Payload::Command(_)) | None => false,
        };
        let votes = self.committed_by(raft.base().index, committed).is_voter(&id)
            || raft.membership().is_voter(&id)
            || (raft.base().index + 1..=raft.last().index).any(is_known);
        if !votes {
            findings.correctness("CFG", at, format!("host {host} leads and has no vote"));
        }
    }

    /// A leader has appended a change of its own: only after an entry of its term was committed, and voters come in
    /// only with everything that is.
    fn judge_change(
        at: u64,
        host: u32,
        raft: &Raft,
        before: &Membership,
        membership: &Membership,
        told: &dyn Fn(NodeId) -> u64,
        findings: &mut Findings,
    ) {
        let commit = raft.commit();
        let term = if commit == raft.base().index {
            raft.base().term
        } else {
            raft.entry(commit).map_or(0, |entry| entry.position.term)
        };
        // There is no other leader where nobody else takes part.
        if term != raft.term() && !before.is_of_one(&raft.id()) {
            // Two leaders could each change one voter of the same set (Ongaro, raft-dev, 2015-07-10).
            let text = format!("host {host} changes the membership before an entry of its term is committed");
            findings.correctness("CFG", at, text);
        }
        let blank = |node: &&NodeId| !before.is_voter(node) && told(**node) < commit;
        if let Some(node) = membership.voters().iter().find(blank) {
            let text = format!("host {host} lets {node} vote, which has not said that it has what is committed");
            findings.correctness("CFG", at, text);
        }
    }

    /// A log has changed. True if it got a membership that was in none before.
    pub(crate) fn look(
        &mut self,
        at: u64,
        host: u32,
        raft: &Raft,
        (committed, told): (&Committed, &dyn Fn(NodeId) -> u64),
        rows: &mut Rows,
        findings: &mut Findings,
    ) -> bool {
        let from = raft.base().index.max(committed.last()) + 1;
        let open: Vec<_> = (from..=raft.last().index)
            .filter_map(|index| raft.entry(index))
            .filter_map(|entry| match &entry.payload {
                Payload::Membership(membership) => Some((entry.position, membership)),
                Payload::Empty | Payload::Command(_) => None,
            })
            .collect();
        if open.len() > 1 {
            let text = format!("the log of host {host} has {} changes of the membership that are open", open.len());
            findings.correctness("CFG", at, text);
        }
        let known = self.seen.len();
        for (position, membership) in open {
            if self.seen.contains_key(&(position.index, position.term)) {
                continue;
            }
            rows.add(if membership.is_joint() { "joint memberships" } else { "memberships" });
            // The newest one before it in this log.
            let before = (raft.base().index + 1..position.index).rev().find_map(|index| {
                match raft.entry(index).map(|entry| &entry.payload) {
                    Some(Payload::Membership(membership)) => Some((**membership).clone()),
                    Some(Payload::Empty | Payload::Command(_)) | None => None,
                }
            });
            let is_committed = |(index, term): &(u64, u64)| committed.position(*index).term == *term;
            let last = self.seen.iter().rfind(|(at, _)| is_committed(at)).map(|(_, known)| known.clone());
            let before = before.or(last).unwrap_or_else(|| self.founders.clone());
            if can_part(&before, membership) {
                let text =
                    format!("host {host} goes from {before:?} to {membership:?}, whose majorities need not meet");
                findings.correctness("CFG", at, text);
            }
            if raft.is_leader() && position.term == raft.term() {
                Self::judge_change(at, host, raft, &before, membership, told, findings);
            }
            self.seen.insert((position.index, position.term), (**membership).clone());
        }
        self.seen.len() > known
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::setup::node_id;
    use super::*;

    fn of(voters: &[u32]) -> Membership {
        Membership::new(voters.iter().map(|host| node_id(*host))).unwrap()
    }

    #[test]
    fn majorities_that_need_not_meet_are_found() {
        assert!(!can_part(&of(&[0, 1, 2]), &of(&[0, 1, 2, 3])));
        assert!(can_part(&of(&[0, 1, 2]), &of(&[0, 1, 2, 3, 4])));
        assert!(can_part(&of(&[0]), &of(&[1])));
        assert!(!can_part(&of(&[0, 1, 2]), &of(&[1, 2])));
    }
}
