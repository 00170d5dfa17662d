//! CLOCK: ledger time is what the clocks of voters say, and not what one of them does (rule L3). Whoever leads takes the
//! median of those that it has heard of, which are a majority; so as many clocks as the larger half of a majority has were
//! never as late as ledger time only if something else was taken.

use dps_core::id::NodeId;
use dps_core::raft::membership::Membership;
use dps_core::time::WallTime;

use super::super::member::Member;
use super::super::setup::host_of;
use super::super::world::World;
use crate::check::Findings;

impl<M: Member> World<M> {
    /// A member's ledger says that it is `time`.
    pub(in crate::group) fn judge_time(&mut self, host: u32, time: WallTime) {
        let judged = &mut self.hosts[host as usize].judged_time;
        if std::mem::replace(judged, time) == time {
            return;
        }
        let (at, hosts) = (self.at, &self.hosts);
        let host_of = |node| host_of(node).and_then(|host| hosts.get(host as usize));
        let latest = |node: &NodeId| host_of(*node).map_or(WallTime::default(), |there| there.latest_wall(at));
        check(at, (host, time), self.oracle.memberships(), latest, &mut self.findings);
    }
}

/// How many clocks of so many voters are at least as late as the median of any majority of them.
const fn least(voters: usize) -> usize {
    let majority = voters / 2 + 1;
    majority / 2 + 1
}

/// Judges the time of a member's ledger by the latest that each clock ever said, or would say now had nobody set it back.
pub(crate) fn check<'a>(
    at: u64,
    (host, time): (u32, WallTime),
    mut memberships: impl Iterator<Item = &'a Membership>,
    latest: impl Fn(&NodeId) -> WallTime,
    findings: &mut Findings,
) {
    let fits = |membership: &Membership| {
        let [voters, outgoing] = [membership.voters(), membership.outgoing()];
        // The median of a joint one is that of both sets together, of each of which a majority was heard of.
        let late = voters.union(outgoing).filter(|node| latest(node) >= time).count();
        late >= least(voters.len()).max(if outgoing.is_empty() { 0 } else { least(outgoing.len()) })
    };
    if !memberships.any(fits) {
        let text =
            format!("the ledger of host {host} says that it is {time:?}, and too few clocks were ever that late");
        findings.correctness("CLOCK", at, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::setup::node_id;

    fn is_told(clocks: &[u64], time: u64) -> bool {
        let voters = (0..u32::try_from(clocks.len()).unwrap()).map(node_id);
        let membership = Membership::new(voters).unwrap();
        let latest = |node: &NodeId| WallTime::from_nanos(clocks[usize::from(node.as_bytes()[0]) - 1]);
        let mut findings = Findings::default();
        check(1, (0, WallTime::from_nanos(time)), [&membership].into_iter(), latest, &mut findings);
        !findings.is_empty()
    }

    #[test]
    fn one_clock_alone_moves_nothing() {
        assert!(!is_told(&[7], 7) && is_told(&[7], 8));
        assert!(!is_told(&[7, 7, 9], 7) && is_told(&[7, 7, 9], 8));
        assert!(!is_told(&[7, 9, 9], 9), "two may be all that were heard of");
        assert!(!is_told(&[7, 7, 7, 9, 9], 9) && is_told(&[7, 7, 7, 8, 9], 9));
        assert!(!is_told(&[7, 7, 7, 7, 9, 9, 9], 9) && is_told(&[7, 7, 7, 7, 7, 9, 9], 9));
    }

    #[test]
    fn of_a_majority_more_than_half_are_as_late() {
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(least), [1, 2, 2, 2, 2, 3, 3]);
    }
}
