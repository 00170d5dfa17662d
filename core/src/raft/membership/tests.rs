//! Memberships that are put together from their parts.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; KEY_LEN])
}

fn nodes(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<NodeId> {
    numbers.into_iter().map(node).collect()
}

/// The four parts, each as the first and the last of its nodes' numbers.
fn from_parts(parts: [core::ops::Range<u8>; 4]) -> Result<Membership, ChangeError> {
    let [voters, outgoing, learners, demoted] = parts.map(nodes);
    Membership::from_parts(voters, outgoing, learners, demoted)
}

#[test]
fn parts_that_exclude_each_other_are_refused() {
    for (parts, expected) in [
        ([0..0, 0..0, 0..0, 0..0], ChangeError::NoVoter),
        ([0..0, 1..3, 4..5, 1..2], ChangeError::NoVoter),
        ([1..4, 0..0, 3..5, 0..0], ChangeError::Contradiction(node(3))),
        ([1..4, 5..8, 7..9, 0..0], ChangeError::Contradiction(node(7))),
        ([1..4, 0..0, 0..0, 1..2], ChangeError::Contradiction(node(1))),
        ([1..4, 3..6, 0..0, 3..4], ChangeError::Contradiction(node(3))),
        ([1..4, 0..0, 9..10, 9..10], ChangeError::Contradiction(node(9))),
    ] {
        assert_eq!(from_parts(parts.clone()), Err(expected), "{parts:?}");
    }
    let whole = from_parts([1..4, 3..6, 20..22, 4..6]).unwrap();
    whole.check();
    assert_eq!((whole.voters(), whole.outgoing()), (&nodes(1..4), &nodes(3..6)));
    assert_eq!((whole.learners(), whole.demoted()), (&nodes(20..22), &nodes(4..6)));
}

#[test]
fn no_part_is_larger_than_its_bound() {
    let most = u8::try_from(VOTERS_MAX).unwrap();
    let learning = u8::try_from(LEARNERS_MAX).unwrap();
    let whole = |more| {
        [
            from_parts([0..most + more, 0..0, 0..0, 0..0]),
            from_parts([0..1, 1..1 + most + more, 0..0, 0..0]),
            from_parts([0..1, 0..0, 100..100 + learning + more, 0..0]),
            from_parts([0..1, 1..3, 100..98 + learning + more, 1..3]),
        ]
    };
    assert!(whole(0).iter().all(Result::is_ok));
    assert!(whole(1).iter().all(|found| *found == Err(ChangeError::TooMany)));
}

proptest! {
    /// Whatever a group comes to by changes is what its parts make.
    #[test]
    fn every_membership_that_a_change_makes_is_made_of_its_parts(
        voters in prop::collection::btree_set(0_u8..12, 1..=5),
        wishes in prop::collection::vec((0_u8..12, 0_u8..4), 1..6),
    ) {
        let membership = Membership::new(voters.into_iter().map(node)).unwrap();
        let wish = |(number, kind): (u8, u8)| match kind {
            0 => Change::AddLearner(node(number)),
            1 => Change::Promote(node(number)),
            2 => Change::Demote(node(number)),
            _ => Change::Remove(node(number)),
        };
        let changes: Vec<Change> = wishes.into_iter().map(wish).collect();
        for whole in membership.change(&changes).iter().chain([&membership]) {
            let Membership { voters, outgoing, learners, demoted } = whole.clone();
            prop_assert_eq!(&Membership::from_parts(voters, outgoing, learners, demoted), &Ok(whole.clone()));
        }
    }

    /// Any parts are judged without panic, and what is accepted holds.
    #[test]
    fn any_parts_are_judged(parts in prop::array::uniform4(prop::collection::btree_set(0_u8..16, 0..10))) {
        let [voters, outgoing, learners, demoted] = parts.map(nodes);
        if let Ok(membership) = Membership::from_parts(voters, outgoing, learners, demoted) {
            membership.check();
            if membership.is_joint() {
                membership.leave().check();
            }
        }
    }
}
