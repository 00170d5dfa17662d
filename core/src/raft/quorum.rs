//! Majorities, of one set of voters or of both sets of a joint membership (Ongaro 2014, sections 3.3 and 4.3).

use alloc::collections::BTreeSet;

use super::membership::Membership;
use crate::id::NodeId;
use crate::limits::VOTERS_MAX;

/// How a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Enough said yes.
    Won,
    /// So many said no that there can't be enough yes.
    Lost,
    /// Neither yet.
    Pending,
}

/// The smallest number of `voters` nodes that any two such numbers share a node of.
#[must_use]
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The largest value that a majority of each set has reached, of which `of` tells each voter's.
#[must_use]
pub fn reached(membership: &Membership, of: impl Fn(&NodeId) -> u64) -> u64 {
    let incoming = reached_by(membership.voters(), &of).expect("a group has a voter");
    // Nobody is outgoing unless it is joint.
    reached_by(membership.outgoing(), &of).map_or(incoming, |outgoing| incoming.min(outgoing))
}

/// How a vote stands, of which `of` tells what each voter said, if anything yet.
#[must_use]
pub fn outcome(membership: &Membership, of: impl Fn(&NodeId) -> Option<bool>) -> Outcome {
    let sets = [membership.voters(), membership.outgoing()];
    let outcomes = sets.map(|set| outcome_in(set, &of));
    if outcomes.contains(&Outcome::Lost) {
        Outcome::Lost
    } else if outcomes.contains(&Outcome::Pending) {
        Outcome::Pending
    } else {
        Outcome::Won
    }
}

/// Whether a majority of each set is among those whom `is_in` tells.
#[must_use]
pub fn has_majority(membership: &Membership, is_in: impl Fn(&NodeId) -> bool) -> bool {
    outcome(membership, |voter| is_in(voter).then_some(true)) == Outcome::Won
}

fn reached_by(voters: &BTreeSet<NodeId>, of: impl Fn(&NodeId) -> u64) -> Option<u64> {
    let mut values = [0; VOTERS_MAX];
    let values = &mut values[..voters.len()];
    voters.iter().zip(&mut *values).for_each(|(voter, value)| *value = of(voter));
    values.sort_unstable();
    // So many have at least this value.
    values.len().checked_sub(majority(values.len())).map(|index| values[index])
}

/// An empty set has no say.
fn outcome_in(voters: &BTreeSet<NodeId>, of: impl Fn(&NodeId) -> Option<bool>) -> Outcome {
    let said = |answer| voters.iter().filter(|voter| of(voter) == Some(answer)).count();
    let needed = if voters.is_empty() { 0 } else { majority(voters.len()) };
    if said(true) >= needed {
        Outcome::Won
    } else if voters.len() - said(false) < needed {
        Outcome::Lost
    } else {
        Outcome::Pending
    }
}
