//! What the clocks of voters say, as whoever leads knows it (rule L3).

use alloc::vec::Vec;
use core::time::Duration;

use super::peers::Peers;
use super::{Raft, quorum};
use crate::id::NodeId;
use crate::time::{Instant, Now, WallTime};

/// What others said in the present term, with when that was. Only members that answer are in it.
#[derive(Debug, Default)]
pub(super) struct Clocks(Peers<(WallTime, Instant)>);

impl Clocks {
    /// A node says what its clock says; 0 if nothing.
    pub(super) fn hear(&mut self, now: Now, node: NodeId, clock: u64) {
        if clock > 0 {
            self.0.insert(node, (WallTime::from_nanos(clock), now.mono));
        }
    }

    /// A new term begins: what was said before may be of long ago.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Raft {
    /// What the wall clocks of the voters say now, this node's own among them, as far as they were heard of in this term;
    /// each goes on from what it said last by this node's monotonic clock. `None` unless a majority was heard of, which
    /// every leader has: votes tell it as well.
    #[must_use]
    pub fn voters_clocks(&self, now: Now) -> Option<Vec<WallTime>> {
        let gone_on = |(clock, at): &(WallTime, Instant)| {
            let since: Duration = now.mono.since(*at);
            clock.saturating_add(since)
        };
        let clock_of =
            |node: &NodeId| if *node == self.id { Some(now.wall) } else { self.clocks.0.get(node).map(gone_on) };
        let membership = self.membership();
        if !quorum::has_majority(membership, |voter| clock_of(voter).is_some()) {
            return None;
        }
        let voters = membership.members().into_iter().filter(|node| membership.is_voter(node));
        Some(voters.filter_map(|voter| clock_of(&voter)).collect())
    }
}
