//! What may be excused where durable bytes were destroyed (plans of the class `Damage`).
//!
//! A member whose disk was harmed may have lost what it said; it must know that, tell of it, and neither vote nor count
//! before that does not matter any more (rule R2). So damage on less than half of the voters must lose nothing that was
//! acknowledged: all checkers demand what they always do, but that ROUND, MT and CQ take a harmed disk for one that had
//! what it has lost, and that nobody demands of a harmed member that it takes part again. Damage on more may take what
//! was acknowledged, and may stop the group; then only those checkers are believed that demand what is independent of
//! what is lost: one leader in a term, one vote, logs that match, no panic.

use dps_core::id::NodeId;
use dps_core::raft::membership::Membership;

use super::check::quorum::has_majority;
use super::member::Member;
use super::setup::host_of;
use super::world::World;
use crate::check::Violation;

/// Checkers that are believed however much was destroyed.
const ALWAYS: [&str; 7] = ["ES", "VOTE", "LM", "AO", "P0", "W1", "W2"];

impl<M: Member> World<M> {
    /// Whether something durable of a host was destroyed.
    pub(super) fn is_harmed(&self, host: u32) -> bool {
        self.hosts[host as usize].disk.stamp() > 0
    }

    fn is_whole(&self, node: &NodeId) -> bool {
        host_of(*node).is_none_or(|host| host as usize >= self.hosts.len() || !self.is_harmed(host))
    }

    /// Whether so much was destroyed that what a majority has acknowledged may be lost.
    pub(super) fn is_beyond(&self) -> bool {
        let lacks = |membership: &Membership| !has_majority(membership, |node| self.is_whole(node));
        self.oracle.memberships().any(lacks)
    }

    /// Whether a member may stay away: what it has lost it has lost.
    pub(super) fn may_stay_away(&self, host: u32) -> bool {
        let there = &self.hosts[host as usize];
        let stopped = there.member.as_ref().and_then(Member::look).is_none_or(|look| look.stopped);
        self.is_harmed(host) && (stopped || self.has_lost_its_snapshot(host))
    }

    /// A member whose only snapshot was destroyed halts at every start.
    pub(super) fn has_lost_its_snapshot(&self, host: u32) -> bool {
        self.hosts[host as usize].lost_snapshot
    }

    /// Drops what is no fault where too much was destroyed.
    pub(super) fn excuse(&mut self) {
        if self.is_beyond() {
            self.findings.retain(|violation: &Violation| ALWAYS.contains(&violation.checker));
            self.rows.add("runs that lost too much");
        }
    }
}
