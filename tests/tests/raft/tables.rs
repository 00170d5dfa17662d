//! Pure rules against a second implementation that is too simple to be wrong: it tries every subset.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::id::NodeId;
use dps_core::raft::membership::{Change, ChangeError, Membership};
use dps_core::raft::quorum::{Outcome, has_majority, outcome, reached};
use proptest::prelude::*;

use crate::group::node;

type Nodes = BTreeSet<NodeId>;

fn nodes(numbers: impl IntoIterator<Item = u8>) -> Nodes {
    numbers.into_iter().map(node).collect()
}

/// Every subset of a set.
fn subsets(set: &Nodes) -> Vec<Nodes> {
    let members: Vec<NodeId> = set.iter().copied().collect();
    let chosen = |mask: u32| members.iter().enumerate().filter(move |(at, _)| mask >> at & 1 == 1).map(|(_, id)| *id);
    (0..1_u32 << members.len()).map(|mask| chosen(mask).collect()).collect()
}

/// Whether more than half of a set is in another one; an empty set has no say.
fn most(of: &Nodes, among: &Nodes) -> bool {
    of.is_empty() || of.intersection(among).count() * 2 > of.len()
}

fn decides(membership: &Membership, among: &Nodes) -> bool {
    most(membership.voters(), among) && most(membership.outgoing(), among)
}

/// A membership of some of eight nodes, joint or not.
fn any_membership() -> impl Strategy<Value = Membership> {
    let set = || proptest::collection::btree_set(1..=8_u8, 1..=5);
    (set(), set(), any::<bool>()).prop_map(|(from, to, joint)| {
        let (from, to) = (nodes(from), nodes(to));
        let all: Vec<NodeId> = from.union(&to).copied().collect();
        let mut membership = Membership::new(from.clone()).expect("there is a voter");
        if !joint {
            return membership;
        }
        for id in to.difference(&from) {
            membership = membership.change(&[Change::AddLearner(*id)]).expect("it is new");
        }
        let wish = |id: &NodeId| match (from.contains(id), to.contains(id)) {
            (false, true) => Some(Change::Promote(*id)),
            (true, false) => Some(Change::Remove(*id)),
            (true, true) | (false, false) => None,
        };
        let changes: Vec<Change> = all.iter().filter_map(wish).collect();
        if changes.is_empty() { membership } else { membership.change(&changes).expect("it makes sense") }
    })
}

proptest! {
    #[test]
    fn what_is_reached_is_what_some_majority_has(
        membership in any_membership(),
        values in proptest::collection::vec(0..6_u64, 8),
    ) {
        let of = |id: &NodeId| values[usize::from(id.as_bytes()[0]) - 1];
        let voters: Nodes = membership.voters().union(membership.outgoing()).copied().collect();
        let deciding = subsets(&voters).into_iter().filter(|among| decides(&membership, among));
        let best = deciding.map(|among| among.iter().map(of).min().unwrap_or(0)).max();
        prop_assert_eq!(Some(reached(&membership, of)), best);
    }

    #[test]
    fn a_vote_is_won_or_lost_when_nothing_can_change_that(
        membership in any_membership(),
        said in proptest::collection::vec(proptest::option::of(any::<bool>()), 8),
    ) {
        let of = |id: &NodeId| said[usize::from(id.as_bytes()[0]) - 1];
        let all: Nodes = membership.voters().union(membership.outgoing()).copied().collect();
        let yes: Nodes = all.iter().copied().filter(|id| of(id) == Some(true)).collect();
        let open: Nodes = all.iter().copied().filter(|id| of(id).is_none()).collect();
        // However those who have not said anything decide.
        let ends: BTreeSet<bool> =
            subsets(&open).iter().map(|more| decides(&membership, &yes.union(more).copied().collect())).collect();
        let won = decides(&membership, &yes);
        let expected = match (won, ends.contains(&true)) {
            (true, _) => Outcome::Won,
            (false, true) => Outcome::Pending,
            (false, false) => Outcome::Lost,
        };
        prop_assert_eq!(outcome(&membership, of), expected);
        prop_assert_eq!(has_majority(&membership, |id| yes.contains(id)), won);
    }

    /// What decides in a joint membership shares a node with what decides in each of the two that it lies between, and any
    /// two deciding sets of one membership share one.
    #[test]
    fn deciding_sets_of_neighbours_meet(membership in any_membership()) {
        let mut steps = vec![membership.clone()];
        if membership.is_joint() {
            steps.push(membership.leave());
            steps.push(Membership::new(membership.outgoing().iter().copied()).expect("there is a voter"));
        }
        for neighbour in &steps {
            let all = |of: &Membership| of.voters().union(of.outgoing()).copied().collect::<Nodes>();
            let deciding = |of: &Membership| -> Vec<Nodes> {
                subsets(&all(of)).into_iter().filter(|among| decides(of, among)).collect()
            };
            for a in deciding(&membership) {
                for b in deciding(neighbour) {
                    prop_assert!(!a.is_disjoint(&b), "{:?} and {:?}", a, b);
                }
            }
        }
    }

    #[test]
    fn changes_come_to_what_they_say(
        wishes in proptest::collection::vec((0..4_u8, 1..=8_u8), 0..6),
        voters in proptest::collection::btree_set(1..=8_u8, 1..=5),
        learners in proptest::collection::btree_set(1..=8_u8, 0..=4),
    ) {
        let mut membership = Membership::new(voters.iter().copied().map(node)).expect("there is a voter");
        // Who is what: true for a voter.
        let mut roles: BTreeMap<u8, bool> = voters.iter().map(|id| (*id, true)).collect();
        for id in learners.difference(&voters) {
            membership = membership.change(&[Change::AddLearner(node(*id))]).expect("it is new");
            roles.insert(*id, false);
        }
        let before = roles.clone();
        let mut sensible = !wishes.is_empty();
        let mut named = BTreeSet::new();
        let mut changes = vec![];
        for (kind, id) in &wishes {
            sensible &= named.insert(*id);
            let role = roles.get(id).copied();
            let (change, right, next) = match kind {
                0 => (Change::AddLearner(node(*id)), role.is_none(), Some(false)),
                1 => (Change::Promote(node(*id)), role == Some(false), Some(true)),
                2 => (Change::Demote(node(*id)), role == Some(true), Some(false)),
                _ => (Change::Remove(node(*id)), role.is_some(), None),
            };
            sensible &= right;
            changes.push(change);
            match next {
                Some(next) => roles.insert(*id, next),
                None => roles.remove(id),
            };
        }
        let of = |roles: &BTreeMap<u8, bool>, role: bool| -> Nodes {
            roles.iter().filter(|(_, is)| **is == role).map(|(id, _)| node(*id)).collect()
        };
        let (old, new) = (of(&before, true), of(&roles, true));
        sensible &= !new.is_empty() && new.len() <= 7;
        let next = membership.change(&changes);
        prop_assert_eq!(next.is_ok(), sensible, "{:?}: {:?}", changes, next);
        let Ok(next) = next else { return Ok(()) };
        next.check();
        let differing = old.symmetric_difference(&new).count();
        prop_assert_eq!(next.is_joint(), differing > 1);
        let last = if next.is_joint() {
            prop_assert_eq!(next.outgoing(), &old);
            prop_assert_eq!(next.change(&changes), Err(ChangeError::Joint));
            next.leave()
        } else {
            next
        };
        prop_assert_eq!(last.voters(), &new);
        prop_assert_eq!(last.learners(), &of(&roles, false));
    }
}
