//! The clock (rule L3): what a large step stops, and what goes on.

use alloc::boxed::Box;

use super::*;

const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;

fn at(nanos: u64) -> WallTime {
    WallTime::from_nanos(nanos)
}

fn rule(nanos: u64, on: bool) -> Command {
    Command::SetClockRule { time: at(nanos), on }
}

fn touch(nanos: u64) -> Command {
    Command::Delete { time: at(nanos), name: name("nothing"), expect: Expect::Any }
}

/// What takes something away by time.
fn waiting(nanos: u64) -> [Command; 3] {
    let (time, epoch, filter_hash) = (at(nanos), 0, [0; HASH_LEN]);
    [
        Command::Reap { time, before: time, limit: 1 },
        Command::SweepStart { time },
        Command::SweepComplete { time, epoch, filter_hash, by_person: true },
    ]
}

/// Applies one more command and checks.
fn next(state: &mut State, command: &Command) -> Outcome {
    let outcome = state.apply(state.applied() + 1, command);
    state.check();
    outcome
}

/// Whether nothing goes by time now.
fn waits(state: &State) -> bool {
    let now = state.time().as_nanos();
    let refused = waiting(now).map(|command| next(&mut state.clone(), &command) == Outcome::ClockDoubtful);
    assert_eq!(refused, [refused[0]; 3]);
    assert_eq!(state.doubtful_since().is_some(), refused[0]);
    refused[0]
}

#[test]
fn without_the_rule_no_step_is_too_large() {
    let mut state = after(&[touch(1)]);
    next(&mut state, &touch(1_000 * DAY));
    assert!(!waits(&state));
    assert_eq!(state.root(), after(&[touch(1_000 * DAY)]).root(), "and nothing is kept of it");
}

#[test]
fn a_step_over_a_day_is_taken_and_then_nothing_goes_by_time() {
    for (step, expected) in [(DAY, false), (DAY + 1, true)] {
        let mut state = after(&[rule(7, true)]);
        assert_eq!(next(&mut state, &touch(7 + step)), Outcome::NotFound);
        assert_eq!((state.time(), waits(&state)), (at(7 + step), expected), "after {step} ns");
    }
    for command in waiting(8 + DAY) {
        let mut state = after(&[rule(7, true)]);
        assert_eq!(next(&mut state, &command), Outcome::ClockDoubtful, "its own step counts");
        assert_eq!((state.time(), state.epoch()), (at(8 + DAY), 0));
    }
    let mut state = after(&[rule(7, true), touch(8 + DAY)]);
    assert_eq!(next(&mut state, &put("a", b"")), Outcome::Stored { version: 3 }, "everything else goes on");
    assert_eq!(
        next(&mut state, &Command::Expire { time: at(0), limit: 1 }),
        Outcome::Expired { count: 0, more: false }
    );
}

#[test]
fn a_doubt_ends_by_a_word_or_after_a_day_of_small_steps() {
    let doubtful = after(&[rule(7, true), touch(2 * DAY)]);
    let mut confirmed = doubtful.clone();
    assert_eq!(next(&mut confirmed, &Command::ConfirmClock { time: at(0) }), Outcome::ClockSet);
    assert!(!waits(&confirmed));
    let mut waited = doubtful.clone();
    next(&mut waited, &touch(3 * DAY - 1));
    assert!(waits(&waited));
    next(&mut waited, &touch(3 * DAY));
    assert!(!waits(&waited));
    assert_eq!(waited.root(), after(&[touch(3 * DAY), rule(0, true)]).root(), "nothing is left of it");
    let mut again = doubtful.clone();
    next(&mut again, &touch(3 * DAY - 1));
    next(&mut again, &touch(4 * DAY));
    assert_eq!(again.doubtful_since(), Some(at(4 * DAY)), "a second large step begins the day anew");
    next(&mut again, &touch(5 * DAY - 1));
    assert!(waits(&again));
    let mut off = doubtful;
    assert_eq!(next(&mut off, &rule(0, false)), Outcome::ClockSet);
    assert!(!waits(&off));
    assert_eq!(off.root(), after(&[touch(2 * DAY)]).root());
}

#[test]
fn only_a_reset_goes_backwards_and_it_ends_a_doubt() {
    let mut state = after(&[rule(7, true), put("a", b"1"), touch(2 * DAY), put("a", b"2")]);
    assert!(waits(&state));
    assert_eq!(next(&mut state, &touch(9)), Outcome::NotFound);
    assert_eq!(state.time(), at(2 * DAY));
    assert_eq!(next(&mut state, &Command::ResetClock { time: at(9) }), Outcome::ClockSet);
    assert_eq!((state.time(), waits(&state)), (at(9), false));
    assert_eq!(next(&mut state, &delete("a")), Outcome::Deleted, "names of the future can be deleted");
    assert_eq!(state.tombstone(&name("a"), 4).unwrap().went_at, at(9));
    assert_eq!(next(&mut state, &Command::ResetClock { time: at(90 * DAY) }), Outcome::ClockSet);
    assert!(!waits(&state), "a person's word is not doubted");
}

/// A tombstone of the future keeps those behind it: later than could be, never earlier.
#[test]
fn a_reap_after_a_reset_takes_nothing_too_early() {
    let mut state =
        after(&[put("a", b"1"), touch(90), delete("a"), Command::ResetClock { time: at(5) }, put("b", b"2")]);
    next(&mut state, &delete("b"));
    let reap = |before| Command::Reap { time: at(0), before: at(before), limit: 9 };
    assert_eq!(next(&mut state, &reap(90)), Outcome::Reaped { count: 0, more: false });
    assert_eq!(next(&mut state, &reap(91)), Outcome::Reaped { count: 2, more: false });
}

#[test]
fn a_session_is_not_over_while_the_clock_is_doubtful() {
    let in_session = |serial, nanos| {
        let command = Box::new(touch(nanos));
        Command::InSession { session: 2, serial, command }
    };
    let mut state = after(&[rule(7, true), Command::RegisterSession { time: at(7) }]);
    assert_eq!(next(&mut state, &in_session(1, 2 * DAY)), Outcome::NotFound, "its own step makes the clock doubtful");
    next(&mut state, &touch(3 * DAY - 1));
    assert_eq!(next(&mut state, &in_session(1, 0)), Outcome::NotFound);
    assert_eq!(state.session_count(), 1);
    assert_eq!(
        next(&mut state, &in_session(1, 4 * DAY - 2)),
        Outcome::SessionUnknown,
        "and with the doubt the wait ends"
    );
}

#[test]
fn a_clean_of_everything_keeps_the_clock() {
    let mut state = after(&[rule(7, true), touch(2 * DAY)]);
    next(&mut state, &Command::DeepClean { time: at(0) });
    assert!(waits(&state));
}

/// Golden: replicas of different versions must agree on what a ledger hashes to.
#[test]
fn the_root_of_a_clock_never_changes() {
    let mut state = State::new();
    let roots = [rule(7, true), touch(2 * DAY), Command::ResetClock { time: at(9) }].map(|command| {
        next(&mut state, &command);
        HEXLOWER.encode(&state.root())
    });
    let expected = [
        "d48eceeb9defe4eece2a5e9b978741d0479633f65d2cae90fa5223af64fb6201",
        "0dd5bd5dd34a0123e25f7e31139956fea3c6e8ffc85a6dcff453a5a5393c0a1a",
        "3bdc4d35c534c0984e193be35ae875fbb78038c3342bfc5ae1ea9f8de6c83a53",
    ];
    assert_eq!(roots, expected);
}
