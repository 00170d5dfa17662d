//! One contract, every disk; and that the contract refuses a disk that keeps only most of it.

mod broken;
mod disks;

use std::collections::BTreeSet;

use broken::{MISTAKES, Mistake, Mistaken, SPACE_MISTAKES};
use disks::{Real, Simulated};
use dps_tests::disk_contract::{broken_rules, check_all, titles};
use sim::disk::Survive;

/// Seeds of the simulated disk for each way in which it loses power.
const SEEDS: u64 = 8;

fn mistakes() -> impl Iterator<Item = &'static Mistake> {
    MISTAKES.iter().chain(SPACE_MISTAKES)
}

#[test]
fn the_real_disk_keeps_the_contract() {
    check_all(Real::new);
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    for survive in [Survive::None, Survive::All, Survive::Random, Survive::Prefix] {
        for seed in 0..SEEDS {
            check_all(|| Simulated::new(seed, survive));
        }
    }
}

#[test]
fn the_contract_refuses_every_broken_disk_for_what_it_breaks() {
    for mistake in mistakes() {
        let broken = broken_rules(|| Mistaken::new(mistake));
        assert!(broken.contains(&mistake.breaks), "{}: breaks {broken:?}, not {:?}", mistake.title, mistake.breaks);
    }
}

#[test]
fn every_rule_of_the_contract_has_a_disk_that_breaks_it() {
    let broken: BTreeSet<&str> = mistakes().map(|mistake| mistake.breaks).collect();
    assert_eq!(broken, titles().into_iter().collect::<BTreeSet<_>>());
}

#[test]
fn a_disk_without_a_mistake_breaks_nothing() {
    assert_eq!(broken_rules(|| Mistaken::new(&broken::SOUND)), [""; 0]);
}
