//! The laws of machines, over every machine there is, and over toys that break each of them.
//!
//! A new machine gets a habitat in a module of its own here and one line in [`every_machine_keeps_the_laws`].

mod courier;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use courier::{Courier, Mistake, Round};
use dps_tests::laws::{Law, all};
use proptest::prelude::*;

/// Turns of one life.
const TURNS: usize = 60;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_machine_keeps_the_laws(seed: u64) {
        all(|| Round::new(Mistake::None), seed, TURNS).map_err(|broken| TestCaseError::fail(broken.to_string()))?;
    }
}

/// The laws that a courier with this mistake breaks in the first fifty lives.
fn broken_by(make: impl Fn() -> Round) -> Vec<Law> {
    let mut laws: Vec<Law> =
        (0..50).filter_map(|seed| all(&make, seed, TURNS).err()).map(|broken| broken.law).collect();
    laws.sort_by_key(|law| *law as u8);
    laws.dedup();
    laws
}

#[test]
fn each_law_catches_what_breaks_it() {
    for (mistake, law) in [
        (Mistake::EmitsWhenWokenEarly, Law::EarlyWake),
        (Mistake::RemembersEarlyWakes, Law::EarlyWake),
        (Mistake::PutsOffWhenWokenEarly, Law::EarlyWake),
        (Mistake::StaysDue, Law::DueWake),
        (Mistake::IsDueForEver, Law::DueWake),
        (Mistake::FlushesTwice, Law::SecondFlush),
        (Mistake::Floods, Law::Bounds),
        (Mistake::Swells, Law::Bounds),
    ] {
        assert_eq!(broken_by(|| Round::new(mistake)), [law], "{mistake:?}");
    }
}

#[test]
fn a_machine_that_depends_on_anything_but_its_calls_is_caught() {
    let lives = Rc::new(Cell::new(0));
    let make = || {
        lives.set(lives.get() + 1);
        let mut courier = Courier::new(Mistake::None);
        courier.stamp = lives.get();
        Round::of(courier)
    };
    assert_eq!(broken_by(make), [Law::Replay]);
}

#[test]
fn invariants_are_checked_after_each_turn() {
    let life = || all(|| Round::new(Mistake::LosesCount), 1, TURNS);
    let panic = catch_unwind(AssertUnwindSafe(life)).expect_err("the invariant does not hold");
    let text = panic.downcast_ref::<String>().map_or("", |text| text.as_str());
    assert!(text.contains("every parcel is counted"), "{text}");
}
