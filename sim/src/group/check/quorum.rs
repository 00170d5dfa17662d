//! CQ: what a leader takes for committed is durable on a majority of the membership that was in force, of both sets
//! while it is joint. Read from the disks as a loss of power would leave them; one that was harmed counts for what it
//! had.

use dps_core::id::NodeId;
use dps_core::raft::entry::Position;
use dps_core::raft::membership::Membership;

use super::super::exercise::Rows;
use super::super::image::Disks;
use crate::check::Findings;

/// Whether more than half of each set are among those whom `is_in` tells. Written anew: what is judged is no judge.
pub(crate) fn has_majority(membership: &Membership, is_in: impl Fn(&NodeId) -> bool) -> bool {
    [membership.voters(), membership.outgoing()].into_iter().all(|set| {
        let count = set.iter().filter(|node| is_in(node)).count();
        set.is_empty() || 2 * count > set.len()
    })
}

/// Reading disks is dear: one of so many commits is judged when it happens, and the newest at every loss of power.
const SAMPLED: u64 = 7;

/// What was committed last, and by whose majority.
#[derive(Debug)]
pub(crate) struct Quorum {
    /// The membership of each host before the step that is looked at.
    memberships: Vec<Membership>,
    newest: Option<(Position, Membership)>,
    moves: u64,
}

impl Quorum {
    pub(crate) fn new(hosts: usize, founders: Membership) -> Self {
        Self { memberships: vec![founders; hosts], newest: None, moves: 0 }
    }

    /// The membership of a member before the step that is looked at.
    pub(crate) fn membership(&self, host: u32) -> &Membership {
        &self.memberships[host as usize]
    }

    /// The membership of a member after a step.
    pub(crate) fn remember(&mut self, host: u32, membership: &Membership) {
        let known = &mut self.memberships[host as usize];
        if known != membership {
            known.clone_from(membership);
        }
    }

    /// A leader takes everything up to `committed` for committed, in a step before which it had the remembered
    /// membership.
    pub(crate) fn moved(
        &mut self,
        at: u64,
        host: u32,
        committed: Position,
        disks: &Disks<'_, '_>,
        rows: &mut Rows,
        findings: &mut Findings,
    ) {
        rows.add("commits");
        self.moves += 1;
        let newest = self.newest.as_ref().map_or(0, |(position, _)| position.index);
        if committed.index > newest {
            self.newest = Some((committed, self.memberships[host as usize].clone()));
            if self.moves.is_multiple_of(SAMPLED) {
                self.judge(at, disks, findings);
            }
        }
    }

    /// Judges the newest.
    pub(crate) fn judge(&self, at: u64, disks: &Disks<'_, '_>, findings: &mut Findings) {
        let Some((position, membership)) = &self.newest else { return };
        // What a disk has lost that was harmed was on it.
        let has =
            |node: &NodeId| disks.is_harmed(*node) || disks.image(*node).is_some_and(|image| image.has(*position));
        if !has_majority(membership, has) {
            let holders: Vec<&NodeId> = membership.voters().iter().filter(|node| has(node)).collect();
            let text = format!("{position} was committed by {membership:?}, and is durable on {holders:?} alone");
            findings.correctness("CQ", at, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::setup::node_id;
    use super::*;

    #[test]
    fn a_majority_is_more_than_half_of_each_set() {
        let four = Membership::new((0..4).map(node_id)).unwrap();
        let up_to = |count: u32| move |node: &NodeId| (0..count).any(|host| node_id(host) == *node);
        assert!(!has_majority(&four, up_to(2)) && has_majority(&four, up_to(3)));
        let parts = |hosts: std::ops::Range<u32>| hosts.map(node_id).collect();
        let joint = Membership::from_parts(parts(0..1), parts(0..4), parts(0..0), parts(0..0)).unwrap();
        assert!(!has_majority(&joint, up_to(1)) && has_majority(&joint, up_to(3)));
    }
}
