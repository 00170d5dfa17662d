//! Sessions (rule L2): a test for each thing that goes wrong when a command is proposed again.

use alloc::boxed::Box;

use super::*;

/// The command `serial` of a session.
fn in_session(session: u64, serial: u64, command: Command) -> Command {
    Command::InSession { session, serial, command: Box::new(command) }
}

fn put_at(nanos: u64, text: &str) -> Command {
    let time = WallTime::from_nanos(nanos);
    Command::Put { time, lease: 0, name: name(text), expect: Expect::Any, manifest: inline(text.as_bytes()) }
}

/// Applies one more command and checks.
fn next(state: &mut State, command: &Command) -> Outcome {
    let outcome = state.apply(state.applied() + 1, command);
    state.check();
    outcome
}

/// A state with one session, whose identifier is 1.
fn with_session() -> State {
    let mut state = State::new();
    let begin = Command::RegisterSession { time: WallTime::from_nanos(1) };
    assert_eq!(next(&mut state, &begin), Outcome::SessionRegistered { session: 1 });
    state
}

#[test]
fn a_command_that_is_repeated_is_answered_and_not_applied() {
    let mut state = with_session();
    let first = in_session(1, 7, put_if("a", Expect::Absent, &inline(b"first")));
    assert_eq!(next(&mut state, &first), Outcome::Stored { version: 2 });
    assert_eq!(next(&mut state, &first), Outcome::Stored { version: 2 }, "and not a conflict");
    let other = in_session(1, 7, delete("a"));
    assert_eq!(next(&mut state, &other), Outcome::Stored { version: 2 }, "the serial counts, not the command");
    assert_eq!(meaning(&state, "a"), Some((file(b"first"), 1)));
    assert_eq!(next(&mut state, &in_session(1, 3, delete("a"))), Outcome::Deleted, "serials come in any order");
    assert_eq!(next(&mut state, &first), Outcome::Stored { version: 2 }, "although it is gone");
    assert_eq!(next(&mut state, &put("a", b"by nobody")), Outcome::Stored { version: 7 }, "no session, no memory");
    assert_eq!(next(&mut state, &put("a", b"by nobody")), Outcome::Stored { version: 8 });
}

#[test]
fn what_a_command_failed_with_is_remembered_too() {
    let mut state = with_session();
    let delete = in_session(1, 1, delete("a"));
    assert_eq!(next(&mut state, &delete), Outcome::NotFound);
    next(&mut state, &put("a", b"since then"));
    assert_eq!(next(&mut state, &delete), Outcome::NotFound);
    assert!(state.name(&name("a")).is_some(), "the repetition deletes nothing");
}

#[test]
fn a_serial_that_is_forgotten_is_refused_and_never_applied_again() {
    let mut state = with_session();
    for serial in [0, SESSION_SERIALS_MAX - 1] {
        next(&mut state, &in_session(1, serial, put("a", b"x")));
    }
    assert_eq!(next(&mut state, &in_session(1, 0, put("a", b"x"))), Outcome::Stored { version: 2 }, "just kept");
    next(&mut state, &in_session(1, SESSION_SERIALS_MAX, put("a", b"x")));
    let root = state.root();
    assert_eq!(next(&mut state, &in_session(1, 0, put("a", b"x"))), Outcome::SerialTooOld);
    assert_eq!(state.root(), root, "nothing was applied");
    assert_eq!(
        next(&mut state, &in_session(1, 1, put("a", b"y"))),
        Outcome::Stored { version: 7 },
        "never used, and free"
    );
    next(&mut state, &in_session(1, u64::MAX, put("a", b"x")));
    assert_eq!(next(&mut state, &in_session(1, SESSION_SERIALS_MAX, put("a", b"x"))), Outcome::SerialTooOld);
    assert_eq!(next(&mut state, &in_session(1, u64::MAX, put("a", b"x"))), Outcome::Stored { version: 8 });
}

/// The put is proposed again under a newer lease, and with the serial that it had.
#[test]
fn a_stale_put_is_no_outcome() {
    let mut state = with_session();
    next(&mut state, &Command::SweepStart { time: WallTime::from_nanos(1) });
    let before = (state.root(), state.sessions_root(), state.time());
    let stale = in_session(1, 5, put_at(90, "a"));
    assert_eq!(next(&mut state, &stale), Outcome::StaleLease { epoch: 1 });
    assert_eq!((state.root(), state.sessions_root(), state.time()), before, "nothing is recorded");
    let time = WallTime::from_nanos(1);
    let fresh = Command::Put { time, lease: 1, name: name("a"), expect: Expect::Any, manifest: inline(b"") };
    assert_eq!(next(&mut state, &in_session(1, 5, fresh)), Outcome::Stored { version: 4 });
    next(&mut state, &Command::SweepStart { time });
    assert_eq!(next(&mut state, &stale), Outcome::Stored { version: 4 }, "once recorded, no lease is asked for");
}

#[test]
fn an_unknown_session_is_refused_and_nothing_is_applied() {
    let mut state = with_session();
    let (root, sessions_root) = (state.root(), state.sessions_root());
    for session in [0, 2, u64::MAX] {
        assert_eq!(next(&mut state, &in_session(session, 1, put("a", b""))), Outcome::SessionUnknown);
    }
    assert_eq!((state.root(), state.sessions_root()), (root, sessions_root));
    next(&mut state, &in_session(2, 1, put_at(90, "a")));
    assert_eq!((state.time(), state.name_count()), (WallTime::from_nanos(90), 0), "only time goes on");
}

#[test]
fn a_session_is_over_when_it_was_not_used_for_long_in_ledger_time() {
    let idle = u64::try_from(SESSION_IDLE.as_nanos()).unwrap();
    let mut state = with_session();
    next(&mut state, &in_session(1, 1, put_at(10, "a")));
    next(&mut state, &in_session(1, 2, put_at(9 + idle, "b")));
    assert_eq!(state.name_count(), 2, "a moment before");
    assert_eq!(next(&mut state, &in_session(1, 1, put_at(1, "a"))), Outcome::Stored { version: 2 }, "a use like any");
    next(&mut state, &put_at(9 + 2 * idle, "c"));
    assert_eq!(state.session_count(), 1, "it goes with the next command of a session");
    let late = in_session(1, 1, put_at(1, "a"));
    assert_eq!(next(&mut state, &late), Outcome::SessionUnknown, "by ledger time, whatever the command's own");
    assert_eq!((state.session_count(), state.name_count()), (0, 3));
    assert_eq!(state.sessions_root(), State::new().sessions_root(), "it took everything along");
}

/// The command itself may bring the time at which its session is over.
#[test]
fn a_command_that_comes_too_late_finds_its_session_over() {
    let idle = u64::try_from(SESSION_IDLE.as_nanos()).unwrap();
    let mut state = with_session();
    assert_eq!(next(&mut state, &in_session(1, 1, put_at(1 + idle, "a"))), Outcome::SessionUnknown);
    assert_eq!((state.name_count(), state.time()), (0, WallTime::from_nanos(1 + idle)));
}

#[test]
fn one_session_too_many_costs_the_one_that_was_not_used_for_longest() {
    let bounds = &Bounds { sessions: 2, ..BOUNDS };
    let begin = Command::RegisterSession { time: WallTime::from_nanos(1) };
    let use_first = in_session(1, 1, put("a", b""));
    let mut state = State::new();
    for (index, command) in (1..).zip([&begin, &begin, &use_first, &begin]) {
        state.apply_within(index, command, bounds);
        state.check_within(bounds);
    }
    assert_eq!(state.session_count(), 2);
    for (index, (session, expected)) in (5..).zip([
        (1, Outcome::Stored { version: 3 }),
        (2, Outcome::SessionUnknown),
        (4, Outcome::Stored { version: 7 }),
    ]) {
        let outcome = state.apply_within(index, &in_session(session, 1, put("a", b"")), bounds);
        assert_eq!(outcome, expected, "session {session}");
    }
}

#[test]
fn sessions_are_frozen_with_the_state_and_no_part_of_its_root() {
    let mut state = with_session();
    assert_eq!(state.root(), after(&[delete("a")]).root(), "the root knows no session");
    let (frozen, root) = (state.clone(), state.sessions_root());
    next(&mut state, &in_session(1, 1, put("a", b"")));
    assert_ne!(state.sessions_root(), root);
    frozen.check();
    assert_eq!(frozen.sessions_root(), root);
    next(&mut state, &Command::DeepClean { time: WallTime::from_nanos(1) });
    assert_eq!(
        next(&mut state, &in_session(1, 1, put("a", b""))),
        Outcome::Stored { version: 2 },
        "a clean forgets no session"
    );
}

#[test]
#[should_panic(expected = "such a command is neither written nor read")]
fn a_session_within_a_session_is_a_bug() {
    let mut state = with_session();
    state.apply(2, &in_session(1, 1, in_session(1, 2, put("a", b""))));
}

/// Golden: replicas of different versions must agree on what sessions hash to.
#[test]
fn the_root_of_sessions_never_changes() {
    let mut state = with_session();
    next(&mut state, &in_session(1, 3, put("a", b"")));
    next(&mut state, &in_session(1, 2, put_if("a", Expect::Absent, &inline(b""))));
    let roots = [State::new().sessions_root(), state.sessions_root()].map(|root| HEXLOWER.encode(&root));
    let expected = [
        "8c3d08c035377d4030de87295f5a874d8512908b6181895e513a9c5633001f32",
        "0ef4bb6a6e01c234d619b7df62ce5762a0de7441180c26c4022239d9c2003a16",
    ];
    assert_eq!(roots, expected);
}
