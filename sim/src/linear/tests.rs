//! The checker against one that tries everything.

mod brute;
mod scripts;

use dps_core::rng::{Rng, Seed};

use super::*;
use brute::Brute;
use scripts::{Flaw, Script};

fn rng(label: &str, number: u64) -> Rng {
    Seed::new([31; 32]).split(label, number).rng()
}

/// More than any short history needs.
const BUDGET: u64 = 100_000;

fn put(value: u64) -> Operation {
    Operation::Put { value, expect: Expect::Any }
}

fn put_if(value: u64, expect: Expect) -> Operation {
    Operation::Put { value, expect }
}

fn delete_if(expect: Expect) -> Operation {
    Operation::Delete { expect }
}

const DELETE: Operation = Operation::Delete { expect: Expect::Any };

const fn stored(version: u64) -> Outcome {
    Outcome::Stored { version }
}

const fn found(value: u64, version: u64) -> Outcome {
    Outcome::Found { value, version }
}

const fn conflict(current: u64) -> Outcome {
    Outcome::Conflict { current: Some(current) }
}

/// Operations of key 0, one after the other.
fn serial(operations: &[(Operation, Outcome)]) -> History {
    let mut history = History::default();
    for (operation, outcome) in operations {
        let id = history.invoke(0, 0, *operation, 0);
        history.respond(id, *outcome, 0);
    }
    history
}

/// The window and the culprit of a verdict.
fn refuted(verdict: Verdict) -> Option<(u64, Vec<u32>, u32)> {
    match verdict {
        Verdict::NotLinearizable { key, window, refuted_by } => {
            Some((key, window.into_iter().map(|id| id.0).collect(), refuted_by.0))
        }
        Verdict::Linearizable | Verdict::OutOfBudget { .. } => None,
    }
}

/// Demands that the checker says what the one that tries everything says, of the whole and of the smallest prefix.
/// Returns whether there is an order.
fn agree(script: &Script) -> bool {
    let history = script.history();
    let verdict = history.check(BUDGET);
    let brute = Brute::of(script);
    let order = brute.has_order(usize::MAX);
    let expected = if order {
        Verdict::Linearizable
    } else {
        let (key, window, refuted_by) = brute.refute();
        let window = window.into_iter().map(OpId).collect();
        Verdict::NotLinearizable { key, window, refuted_by: OpId(refuted_by) }
    };
    assert_eq!(verdict, expected, "{script:#?}");
    order
}

#[test]
fn each_outcome_alone_says_what_it_demands() {
    use Expect::{Absent, Version};
    let one = (put(1), stored(5));
    let good = [
        vec![one, (Operation::Get, found(1, 5))],
        vec![(Operation::Get, Outcome::NotFound), (DELETE, Outcome::NotFound), one],
        vec![one, (put_if(2, Version(5)), stored(6)), (put_if(2, Version(5)), conflict(6))],
        vec![one, (put_if(2, Absent), conflict(5)), (DELETE, Outcome::Deleted), (put_if(2, Absent), stored(6))],
        vec![one, (delete_if(Version(4)), conflict(5)), (delete_if(Version(5)), Outcome::Deleted)],
        vec![(put_if(2, Version(5)), Outcome::Conflict { current: None }), (delete_if(Absent), Outcome::NotFound)],
        vec![(delete_if(Version(5)), Outcome::Conflict { current: None })],
        vec![one, (delete_if(Absent), conflict(5)), (Operation::Get, found(1, 5))],
    ];
    for operations in good {
        assert_eq!(serial(&operations).check(BUDGET), Verdict::Linearizable, "{operations:?}");
    }
    // Each goes wrong at its last operation.
    let bad = [
        vec![one, (Operation::Get, Outcome::NotFound)],
        vec![one, (Operation::Get, found(2, 5))],
        vec![one, (Operation::Get, found(1, 4))],
        vec![one, (DELETE, Outcome::NotFound)],
        vec![one, (put(2), stored(5))],
        vec![one, (DELETE, Outcome::Deleted), (put(2), stored(5))],
        vec![one, (DELETE, Outcome::Deleted), (Operation::Get, found(1, 5))],
        vec![one, (DELETE, Outcome::Deleted), (DELETE, Outcome::Deleted)],
        vec![one, (put_if(2, Absent), stored(6))],
        vec![one, (put_if(2, Version(4)), stored(6))],
        vec![one, (put_if(2, Version(5)), conflict(5))],
        vec![one, (put_if(2, Version(4)), conflict(6))],
        vec![one, (put_if(2, Version(4)), Outcome::Conflict { current: None })],
        vec![one, (put(2), conflict(5))],
        vec![one, (delete_if(Version(4)), Outcome::Deleted)],
        vec![one, (delete_if(Absent), Outcome::NotFound)],
        vec![(put(2), stored(0))],
        vec![(put(2), Outcome::Conflict { current: None })],
        vec![(put_if(2, Absent), Outcome::Conflict { current: None })],
        vec![(delete_if(Version(1)), Outcome::NotFound)],
        vec![(delete_if(Absent), Outcome::Deleted)],
    ];
    for operations in bad {
        let last = u32::try_from(operations.len() - 1).unwrap();
        let expected = Some((0, (0..=last).collect(), last));
        assert_eq!(refuted(serial(&operations).check(BUDGET)), expected, "{operations:?}");
    }
}

#[test]
fn what_overlaps_may_be_in_any_order_and_what_does_not_may_not() {
    for overlap in [true, false] {
        let mut history = History::default();
        let first = history.invoke(0, 0, put(1), 10);
        if !overlap {
            history.respond(first, stored(1), 20);
        }
        let second = history.invoke(1, 0, Operation::Get, 20);
        if overlap {
            history.respond(first, stored(1), 20);
        }
        history.respond(second, Outcome::NotFound, 20);
        assert_eq!(history.check(BUDGET) == Verdict::Linearizable, overlap);
    }
}

#[test]
fn what_nobody_answered_may_happen_late_or_never_but_not_before_it_was_asked() {
    let mut history = History::default();
    let early = history.invoke(1, 0, Operation::Get, 0);
    history.respond(early, Outcome::NotFound, 0);
    history.invoke(0, 0, put(7), 1);
    for version in [None, Some(3)] {
        let get = history.invoke(1, 0, Operation::Get, 2);
        history.respond(get, version.map_or(Outcome::NotFound, |version| found(7, version)), 2);
    }
    assert_eq!(history.check(BUDGET), Verdict::Linearizable);
    // It happens once: not again after a delete.
    let mut twice = history.clone();
    for (operation, outcome) in [(DELETE, Outcome::Deleted), (Operation::Get, found(7, 9))] {
        let id = twice.invoke(1, 0, operation, 3);
        twice.respond(id, outcome, 3);
    }
    assert_eq!(refuted(twice.check(BUDGET)).unwrap().2, 5);
    let mut before = History::default();
    let get = before.invoke(1, 0, Operation::Get, 0);
    before.respond(get, found(7, 3), 0);
    before.invoke(0, 0, put(7), 1);
    assert_eq!(refuted(before.check(BUDGET)), Some((0, vec![0], 0)));
}

#[test]
fn what_was_used_up_is_not_forgotten() {
    // Both deletes need a put that nobody answered. The same two deletes leave the same state whichever they used, but the
    // reading needs one that is left.
    let mut history = History::default();
    for value in [1, 1, 2] {
        history.invoke(0, 0, put(value), 0);
    }
    for (operation, outcome) in [(DELETE, Outcome::Deleted), (DELETE, Outcome::Deleted), (Operation::Get, found(1, 9))]
    {
        let id = history.invoke(1, 0, operation, 0);
        history.respond(id, outcome, 0);
    }
    assert_eq!(history.check(BUDGET), Verdict::Linearizable);
}

#[test]
fn versions_leave_room_for_every_put_between_them() {
    // Two puts without an answer lie between version 4 and the one that is read.
    for (version, order) in [(5, false), (6, true), (9, true)] {
        let mut history = serial(&[(put(1), stored(4))]);
        history.invoke(1, 0, put_if(2, Expect::Version(4)), 0);
        history.invoke(2, 0, delete_if(Expect::Version(5)), 0);
        history.invoke(3, 0, put_if(3, Expect::Absent), 0);
        let get = history.invoke(4, 0, Operation::Get, 0);
        history.respond(get, found(3, version), 0);
        assert_eq!(history.check(BUDGET) == Verdict::Linearizable, order, "version {version}");
    }
}

#[test]
fn the_window_ends_where_it_goes_wrong_and_names_the_smallest_key() {
    let mut history = History::default();
    let open = history.invoke(0, 2, put(1), 0);
    for key in [2, 1] {
        for (operation, outcome) in [(Operation::Get, found(1, 1)), (Operation::Get, Outcome::NotFound)] {
            let id = history.invoke(1, key, operation, 1);
            history.respond(id, outcome, 1);
        }
    }
    history.respond(open, stored(1), 2);
    assert_eq!(refuted(history.check(BUDGET)), Some((1, vec![3], 3)));
    assert_eq!(history.line(OpId(3)), "client 1, key 1: Get at 1 ns, Found { value: 1, version: 1 } at 1 ns");
    assert!(history.line(open).starts_with("client 0, key 2: Put { value: 1"));
    let mut only = History::default();
    let open = only.invoke(0, 2, put(1), 0);
    for outcome in [found(1, 1), Outcome::NotFound, Outcome::NotFound] {
        let id = only.invoke(1, 2, Operation::Get, 1);
        only.respond(id, outcome, 1);
    }
    only.respond(open, stored(1), 2);
    assert_eq!(refuted(only.check(BUDGET)), Some((2, vec![0, 1, 2], 2)));
}

#[test]
fn a_budget_that_is_too_small_is_told_and_a_violation_elsewhere_goes_first() {
    let mut history = serial(&[(put(1), stored(1)), (put(2), stored(2)), (Operation::Get, found(2, 2))]);
    assert_eq!(history.check(1), Verdict::OutOfBudget { key: 0 });
    assert_eq!(history.check(2), Verdict::Linearizable);
    let get = history.invoke(0, 9, Operation::Get, 0);
    history.respond(get, found(1, 1), 0);
    assert_eq!(refuted(history.check(1)), Some((9, vec![3], 3)));
}

#[test]
#[should_panic(expected = "is no outcome of")]
fn an_outcome_of_another_operation_is_a_bug_of_the_caller() {
    serial(&[(Operation::Get, stored(1))]);
}

#[test]
fn what_a_right_register_does_is_always_linearizable() {
    for number in 0..3_000 {
        let script = Script::draw(&mut rng("right", number), None);
        assert!(agree(&script), "{script:#?}");
    }
}

#[test]
fn what_flawed_registers_do_is_judged_as_by_trying_everything() {
    for flaw in Flaw::ALL {
        let orders = (0..1_200).filter(|number| agree(&Script::draw(&mut rng("flawed", *number), Some(flaw)))).count();
        assert!((100..1_170).contains(&orders), "{flaw:?}: {orders} of 1200 have an order");
    }
}

#[test]
fn any_answers_are_judged_as_by_trying_everything() {
    let orders = (0..4_000).filter(|number| agree(&Script::scramble(&mut rng("scramble", *number)))).count();
    assert!((200..3_800).contains(&orders), "{orders} of 4000 have an order");
}

/// Stated for 2,000 operations of one key by 5 clients, of which one of 20 is never answered; and for 400 of them where
/// there is no order, since then everything has to be tried.
const LONG_BUDGET: u64 = 10_000;

#[test]
fn a_long_history_is_judged_within_its_budget() {
    for number in 0..8 {
        let script = Script::long(&mut rng("long", number), 2_000, 5);
        assert_eq!(script.history().check(LONG_BUDGET), Verdict::Linearizable, "history {number}");
    }
}

#[test]
fn a_stale_read_late_in_a_history_is_found_within_the_budget() {
    for number in 0..8 {
        let mut script = Script::long(&mut rng("long", number), 400, 5);
        let late = script.make_stale();
        let (_, window, by) = refuted(script.history().check(LONG_BUDGET)).unwrap();
        assert_eq!(by, late, "history {number}");
        assert!(window.len() > 350 && window.contains(&late));
    }
}
