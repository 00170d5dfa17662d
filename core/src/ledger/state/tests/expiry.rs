//! Names with a time to live (rules L3, L4).

use alloc::vec;

use proptest::prelude::*;

use super::histories::{any_history, any_plain_command};
use super::*;
use crate::limits::EXPIRE_SLICE_MAX;

fn until(nanos: u64, text: &str, ttl: u64, expect: Expect) -> Command {
    let (time, manifest) = (WallTime::from_nanos(nanos), inline(text.as_bytes()));
    Command::PutUntil { time, lease: 0, ttl, name: name(text), expect, manifest }
}

fn expire(nanos: u64, limit: u32) -> Command {
    Command::Expire { time: WallTime::from_nanos(nanos), limit }
}

/// Applies one more command and checks.
fn next(state: &mut State, command: &Command) -> Outcome {
    let outcome = state.apply(state.applied() + 1, command);
    state.check();
    outcome
}

fn graves(state: &State) -> Vec<(Name, u64, Reason)> {
    state.tombstones("", None).map(|stat| (stat.name, stat.version, stat.reason)).collect()
}

#[test]
fn a_name_is_absent_from_its_expiry_on_and_stays_until_it_is_taken_away() {
    let mut state = after(&[until(10, "a", 5, Expect::Any), put("b", b"stays")]);
    let at = |state: &State, nanos| state.name_at(&name("a"), WallTime::from_nanos(nanos)).is_some();
    assert!(at(&state, 14) && !at(&state, 15));
    assert_eq!(next(&mut state, &expire(14, 9)), Outcome::Expired { count: 0, more: false });
    next(&mut state, &Command::Delete { time: WallTime::from_nanos(15), name: name("b"), expect: Expect::Version(9) });
    assert!(state.name(&name("a")).is_some() && !at(&state, 15), "it is still there, for nobody");
    assert_eq!(next(&mut state, &expire(15, 9)), Outcome::Expired { count: 1, more: false });
    assert_eq!(graves(&state), [(name("a"), 1, Reason::Expired)]);
    assert_eq!((state.name(&name("a")), state.tombstone_bytes()), (None, 1));
    let undelete = Command::Undelete { time: WallTime::default(), name: name("a"), version: 0, expect: Expect::Absent };
    assert_eq!(next(&mut state, &undelete), Outcome::Stored { version: 6 });
    assert_eq!(state.name(&name("a")).unwrap().expires_at, None, "it is brought back to stay");
}

#[test]
fn no_time_to_live_is_for_ever_and_the_longest_does_not_overflow() {
    let mut state = after(&[until(10, "a", 0, Expect::Any), until(10, "b", u64::MAX, Expect::Any)]);
    assert_eq!(state.name(&name("a")).unwrap().expires_at, None);
    assert_eq!(state.name(&name("b")).unwrap().expires_at, Some(WallTime::from_nanos(u64::MAX)));
    assert_eq!(next(&mut state, &expire(u64::MAX, 9)), Outcome::Expired { count: 1, more: false });
}

#[test]
fn a_put_without_time_to_live_is_a_put() {
    let of_kind = |ttl| after(&[until(1, "a", ttl, Expect::Any)]).root();
    assert_eq!(of_kind(0), after(&[put("a", b"a")]).root());
    assert_ne!(of_kind(1), of_kind(0));
}

#[test]
fn the_earliest_expiry_goes_first_and_a_slice_is_bounded() {
    let mut state =
        after(&[until(1, "c", 9, Expect::Any), until(1, "a", 8, Expect::Any), until(1, "b", 7, Expect::Any)]);
    assert_eq!(next(&mut state, &expire(20, 0)), Outcome::Expired { count: 0, more: true });
    for (text, more) in [("b", true), ("a", true), ("c", false)] {
        assert_eq!(next(&mut state, &expire(20, 1)), Outcome::Expired { count: 1, more });
        assert_eq!(state.name(&name(text)), None);
    }
    for number in 0..=EXPIRE_SLICE_MAX {
        state.apply(state.applied() + 1, &until(20, &alloc::format!("{number}"), 1, Expect::Any));
    }
    assert_eq!(next(&mut state, &expire(21, u32::MAX)), Outcome::Expired { count: EXPIRE_SLICE_MAX, more: true });
    assert_eq!(next(&mut state, &expire(21, u32::MAX)), Outcome::Expired { count: 1, more: false });
    let reap = Command::Reap { time: WallTime::default(), before: WallTime::from_nanos(22), limit: 2 };
    assert_eq!(next(&mut state, &reap), Outcome::Reaped { count: 2, more: true });
    assert_eq!(graves(&state)[0].0, name("0"), "of one command the lowest version goes first");
}

#[test]
fn a_name_that_is_stored_again_has_the_newest_expiry() {
    let mut state = after(&[until(1, "a", 9, Expect::Any), until(5, "a", 9, Expect::Version(1))]);
    assert_eq!(next(&mut state, &expire(13, 9)), Outcome::Expired { count: 0, more: false });
    next(&mut state, &put("a", b"for ever"));
    assert_eq!(next(&mut state, &expire(99, 9)), Outcome::Expired { count: 0, more: false });
    assert_eq!(graves(&state), [(name("a"), 1, Reason::Overwritten), (name("a"), 2, Reason::Overwritten)]);
}

#[test]
fn what_has_expired_is_absent_for_a_put_and_leaves_its_tombstone() {
    let expired = after(&[until(1, "a", 9, Expect::Any)]);
    let mut state = expired.clone();
    let conflict = Outcome::Conflict { current: None };
    assert_eq!(next(&mut state, &until(20, "a", 0, Expect::Version(1))), conflict);
    assert_eq!(graves(&state), [], "a conflict changes nothing");
    assert_eq!(next(&mut state, &until(20, "a", 0, Expect::Absent)), Outcome::Stored { version: 3 });
    assert_eq!(graves(&state), [(name("a"), 1, Reason::Overwritten)]);
    let reap = Command::Reap { time: WallTime::default(), before: WallTime::from_nanos(21), limit: 9 };
    assert_eq!(next(&mut state, &reap), Outcome::Reaped { count: 1, more: false });
}

#[test]
fn a_rename_takes_the_expiry_along_and_replaces_what_has_expired() {
    let mut state = after(&[until(1, "a", 30, Expect::Any), until(1, "b", 9, Expect::Any)]);
    let time = WallTime::from_nanos(20);
    let rename = |from: &str, to: &str| {
        let (from, to) = (name(from), name(to));
        Command::Rename { time, from, to, expect_from: Expect::Any, expect_to: Expect::Absent }
    };
    assert_eq!(next(&mut state, &rename("b", "c")), Outcome::NotFound, "it has expired");
    assert_eq!(next(&mut state, &rename("a", "b")), Outcome::Renamed { version: 4 });
    assert_eq!(state.name(&name("b")).unwrap().expires_at, Some(WallTime::from_nanos(31)));
    assert_eq!(graves(&state), [(name("b"), 2, Reason::Overwritten)]);
    assert_eq!(next(&mut state, &expire(31, 9)), Outcome::Expired { count: 1, more: false });
    assert_eq!(state.name_count(), 0);
}

#[test]
fn expiries_beyond_the_bound_of_tombstones_push_the_oldest_out() {
    let bounds = &Bounds { tombstones: 2, ..BOUNDS };
    let mut state = State::new();
    let put = |text: &str| until(1, text, 9, Expect::Any);
    for (index, command) in (1..).zip([put("a"), put("b"), put("c"), put("d"), expire(10, 9)]) {
        state.apply_within(index, &command, bounds);
        state.check_within(bounds);
    }
    assert_eq!(graves(&state), [(name("c"), 3, Reason::Expired), (name("d"), 4, Reason::Expired)]);
}

/// Golden: replicas of different versions must agree on what a ledger hashes to.
#[test]
fn the_root_of_names_that_expire_never_changes() {
    let mut state = after(&[until(1, "a", 9, Expect::Any), until(1, "b", 9, Expect::Any)]);
    let roots = [expire(10, 1), until(10, "a", 3, Expect::Absent)].map(|command| {
        next(&mut state, &command);
        HEXLOWER.encode(&state.root())
    });
    let expected = [
        "9703a9a5408c52dceeaa189e08e3059486da9822f64941fc95654911c696c25b",
        "e040a1b843d40c91f81ff0b735926ee5d671fc928bee9fcaa7a2ade9a8e93685",
    ];
    assert_eq!(roots, expected);
}

proptest! {
    /// What a command comes to does not depend on whether the expired names have been taken away before it.
    #[test]
    fn an_expired_name_is_as_if_it_were_gone(history in any_history(40), command in any_plain_command()) {
        let (mut late, mut index) = (State::new(), 0);
        for (command, step, _) in history {
            index += step;
            late.apply(index, &command);
        }
        let mut early = late.clone();
        let time = command.time();
        // Both see the same time before, and the same index after.
        let touch = Command::ConfirmClock { time };
        late.apply(index + 1, &touch);
        early.apply(index + 1, &touch);
        early.apply(index + 2, &expire(0, EXPIRE_SLICE_MAX));
        if matches!(command, Command::Expire { .. } | Command::Reap { .. } | Command::ResetClock { .. }) {
            return Ok(());
        }
        prop_assert_eq!(late.apply(index + 3, &command), early.apply(index + 3, &command), "{:?}", command);
        let now = late.time();
        let alive: Vec<_> = late.names("", None).filter(|(_, entry)| !entry.has_expired(now)).collect();
        let others: Vec<_> = early.names("", None).filter(|(_, entry)| !entry.has_expired(now)).collect();
        prop_assert_eq!(alive, others);
        late.apply(index + 4, &expire(0, EXPIRE_SLICE_MAX));
        let versions = |state: &State| graves(state).into_iter().collect::<Vec<_>>();
        prop_assert_eq!(versions(&late), versions(&early), "and in the end the same tombstones are left");
    }
}

#[test]
fn nothing_of_an_expiry_is_left_when_its_name_is_gone() {
    let time = WallTime::from_nanos(1);
    let purge = Command::Purge { time, name: name("a"), expect: Expect::Any };
    for commands in [vec![purge.clone()], vec![delete("a"), purge.clone()], vec![expire(20, 9), purge]] {
        let mut state = after(&[until(1, "a", 9, Expect::Any)]);
        for command in &commands {
            next(&mut state, command);
        }
        let mut never = after(&[delete("a")]);
        next(&mut never, &Command::ConfirmClock { time: state.time() });
        assert_eq!(state.root(), never.root(), "{commands:?}");
    }
}
