//! How space comes back: a test for each rule of tombstones (L4), leases (L5, C1) and cleans (L6).

use alloc::vec;

use super::*;
use crate::crypto::hash::sha256;
use crate::ledger::file::TombstoneStat;
use crate::limits::{OVERWRITTEN_MAX, REAP_SLICE_MAX};

const NOW: WallTime = WallTime::from_nanos(1);

fn undelete_if(text: &str, version: u64, expect: Expect) -> Command {
    Command::Undelete { time: NOW, name: name(text), version, expect }
}

fn undelete(text: &str) -> Command {
    undelete_if(text, 0, Expect::Any)
}

fn reap(before: u64, limit: u32) -> Command {
    Command::Reap { time: NOW, before: WallTime::from_nanos(before), limit }
}

fn purge(text: &str) -> Command {
    Command::Purge { time: NOW, name: name(text), expect: Expect::Any }
}

fn complete(epoch: u64) -> Command {
    Command::SweepComplete { time: NOW, epoch, filter_hash: sha256(b"filter"), by_person: false }
}

fn leased(text: &str, lease: u64) -> Command {
    Command::Put { time: NOW, lease, name: name(text), expect: Expect::Any, manifest: inline(b"leased") }
}

const SWEEP: Command = Command::SweepStart { time: NOW };
const CLEAN: Command = Command::Clean { time: NOW };
const DEEP_CLEAN: Command = Command::DeepClean { time: NOW };

/// The same command, proposed at another time.
fn at(nanos: u64, mut command: Command) -> Command {
    match &mut command {
        Command::Put { time, .. }
        | Command::PutUntil { time, .. }
        | Command::Expire { time, .. }
        | Command::SetClockRule { time, .. }
        | Command::ConfirmClock { time }
        | Command::ResetClock { time }
        | Command::Delete { time, .. }
        | Command::SweepStart { time }
        | Command::SweepComplete { time, .. }
        | Command::Undelete { time, .. }
        | Command::Reap { time, .. }
        | Command::Purge { time, .. }
        | Command::Clean { time }
        | Command::DeepClean { time }
        | Command::Rename { time, .. }
        | Command::RegisterSession { time } => *time = WallTime::from_nanos(nanos),
        Command::InSession { .. } => unreachable!("sessions have tests of their own"),
    }
    command
}

/// Applies one more command and checks.
fn next(state: &mut State, command: &Command) -> Outcome {
    let outcome = state.apply(state.applied() + 1, command);
    state.check();
    outcome
}

/// The versions that tombstones of a name keep, each with whether it was overwritten.
fn kept(state: &State, text: &str) -> Vec<(u64, bool)> {
    let stats = state.tombstones(text, None).filter(|stat| stat.name == name(text));
    stats.map(|stat| (stat.version, stat.reason == Reason::Overwritten)).collect()
}

fn held(state: &State) -> Vec<FileId> {
    state.held(None).map(|(file, _)| file).collect()
}

#[test]
fn a_delete_leaves_a_tombstone_that_knows_what_was_there() {
    let mut state = after(&[at(10, put("a", b"abc"))]);
    assert_eq!(next(&mut state, &at(20, delete("a"))), Outcome::Deleted);
    let expected = TombstoneStat {
        name: name("a"),
        version: 1,
        stored_at: WallTime::from_nanos(10),
        went_at: WallTime::from_nanos(20),
        reason: Reason::Deleted,
        file: file(b"abc"),
        size: 3,
        missing: false,
    };
    assert_eq!(state.tombstone(&name("a"), 1), Some(expected.clone()));
    assert_eq!(state.tombstone(&name("a"), 0), Some(expected));
    assert_eq!(state.tombstone(&name("a"), 2), None);
    assert_eq!(state.tombstone(&name("b"), 0), None);
    assert_eq!((state.tombstone_count(), state.live_bytes(), state.tombstone_bytes()), (1, 0, 3));
}

#[test]
fn an_overwrite_leaves_a_tombstone_and_a_refused_one_does_not() {
    let mut state = after(&[put("a", b"old"), put("a", b"newer")]);
    assert_eq!(kept(&state, "a"), [(1, true)]);
    assert_eq!((state.live_bytes(), state.tombstone_bytes()), (5, 3));
    next(&mut state, &put_if("a", Expect::Version(1), &inline(b"x")));
    next(&mut state, &delete_if("a", Expect::Version(1)));
    assert_eq!(kept(&state, "a"), [(1, true)]);
}

/// Undelete works as long as a tombstone is there, and so a sweep keeps what it needs.
#[test]
fn what_a_tombstone_keeps_is_for_sweeps_and_not_for_readers() {
    let mut state = after(&[put("a", b"abc"), delete("a")]);
    assert_eq!(state.stat(&Target::Content(file(b"abc"))), None);
    assert_eq!((state.content(&file(b"abc")), state.contents(None).count(), state.content_count()), (None, 0, 0));
    assert_eq!(held(&state), [file(b"abc")]);
    assert_eq!(next(&mut state, &reap(2, 1)), Outcome::Reaped { count: 1, more: false });
    assert_eq!(held(&state), []);
}

#[test]
fn an_undelete_gives_the_newest_or_the_named_version_back() {
    let mut state = after(&[put("a", b"1"), put("a", b"2"), at(30, delete("a"))]);
    assert_eq!(kept(&state, "a"), [(1, true), (2, false)]);
    assert_eq!(next(&mut state, &at(40, undelete("a"))), Outcome::Stored { version: 4 });
    assert_eq!(meaning(&state, "a"), Some((file(b"2"), 1)));
    assert_eq!(state.name(&name("a")).unwrap().stored_at, WallTime::from_nanos(40), "a new version");
    assert_eq!(kept(&state, "a"), [(1, true)]);
    assert_eq!(next(&mut state, &undelete_if("a", 1, Expect::Version(4))), Outcome::Stored { version: 5 });
    assert_eq!(meaning(&state, "a"), Some((file(b"1"), 1)));
    assert_eq!(kept(&state, "a"), [(4, true)], "what it meant before is kept instead");
}

#[test]
fn an_undelete_needs_its_tombstone_and_what_it_expects() {
    let mut state = after(&[put("a", b"1"), delete("a"), put("b", b"2")]);
    assert_eq!(next(&mut state, &undelete("b")), Outcome::NotFound, "it was never replaced");
    assert_eq!(next(&mut state, &undelete("c")), Outcome::NotFound);
    assert_eq!(next(&mut state, &undelete_if("a", 2, Expect::Any)), Outcome::NotFound, "another version");
    assert_eq!(next(&mut state, &undelete_if("a", 0, Expect::Version(1))), Outcome::Conflict { current: None });
    assert_eq!(next(&mut state, &undelete_if("b", 0, Expect::Absent)), Outcome::Conflict { current: Some(3) });
    next(&mut state, &reap(2, 1));
    assert_eq!(next(&mut state, &undelete_if("a", 1, Expect::Any)), Outcome::NotFound, "it was reaped");
    assert_eq!(state.name_count(), 1);
}

#[test]
fn what_was_deleted_is_an_overwritten_version_once_the_name_is_stored_again() {
    let mut state = after(&[put("a", b"1"), delete("a")]);
    assert_eq!(kept(&state, "a"), [(1, false)]);
    next(&mut state, &put("a", b"2"));
    assert_eq!(kept(&state, "a"), [(1, true)]);
    next(&mut state, &delete("a"));
    assert_eq!(kept(&state, "a"), [(1, true), (3, false)]);
    next(&mut state, &undelete_if("a", 1, Expect::Absent));
    assert_eq!(kept(&state, "a"), [(3, true)]);
}

#[test]
fn of_one_name_the_oldest_overwritten_version_goes_when_there_are_too_many() {
    let mut state = after(&[put("b", b"0"), put("b", b"0")]);
    let (first, last) = (3, 3 + OVERWRITTEN_MAX as u64);
    for version in first..=last {
        assert_eq!(next(&mut state, &put("a", &[version as u8])), Outcome::Stored { version });
    }
    let all: Vec<_> = (first..last).map(|version| (version, true)).collect();
    assert_eq!(kept(&state, "a"), all, "as many as are kept");
    next(&mut state, &put("a", b"one more"));
    assert_eq!(kept(&state, "a"), [&all[1..], &[(last, true)]].concat());
    assert_eq!(kept(&state, "b"), [(1, true)], "another name keeps what it has");
    assert!(!held(&state).contains(&file(&[first as u8])), "its content went with it");
    next(&mut state, &delete("a"));
    assert_eq!(state.tombstones("a", None).count(), OVERWRITTEN_MAX + 1, "what was deleted last is not counted");
    next(&mut state, &put("a", b"again"));
    assert_eq!(state.tombstones("a", None).count(), OVERWRITTEN_MAX, "but when it is overwritten");
}

#[test]
fn too_many_tombstones_cost_the_oldest_overwritten_version_of_any_name_and_only_then_a_deleted_one() {
    let (mut state, max) = (State::new(), &Bounds { tombstones: 2, ..BOUNDS });
    let commands = [
        put("gone", b"1"),
        delete("gone"),
        put("a", b"2"),
        put("a", b"3"),
        put("b", b"4"),
        // Of the three that there are now, that of `gone` is the oldest, but it was deleted.
        put("b", b"5"),
    ];
    for (index, command) in (1..).zip(&commands) {
        state.apply_within(index, command, max);
        state.check();
    }
    assert_eq!(
        (kept(&state, "gone"), kept(&state, "a"), kept(&state, "b")),
        (vec![(1, false)], vec![], vec![(5, true)])
    );
    for (index, (text, left)) in (7..).zip([("a", ["gone", "a"]), ("b", ["a", "b"])]) {
        state.apply_within(index, &delete(text), max);
        state.check();
        let names: Vec<_> = state.tombstones("", None).map(|stat| stat.name).collect();
        let mut left = left.map(name);
        left.sort();
        assert_eq!(names, left, "after {text} was deleted");
    }
}

#[test]
fn a_reap_takes_only_what_went_before_and_the_oldest_first() {
    let commands = [
        at(10, put("a", b"1")),
        at(10, put("b", b"2")),
        at(20, delete("b")),
        at(30, put("a", b"3")),
        at(40, put("c", b"4")),
        at(50, delete("c")),
    ];
    let mut state = after(&commands);
    let names = |state: &State| state.tombstones("", None).map(|stat| stat.name).collect::<Vec<_>>();
    assert_eq!(next(&mut state, &reap(20, 9)), Outcome::Reaped { count: 0, more: false }, "at that time is not before");
    assert_eq!(next(&mut state, &reap(60, 0)), Outcome::Reaped { count: 0, more: true });
    assert_eq!(next(&mut state, &reap(50, 1)), Outcome::Reaped { count: 1, more: true });
    assert_eq!(names(&state), [name("a"), name("c")], "whatever the reason, the oldest goes first");
    assert_eq!(next(&mut state, &reap(50, 9)), Outcome::Reaped { count: 1, more: false });
    assert_eq!(names(&state), [name("c")]);
    assert_eq!(next(&mut state, &reap(51, 9)), Outcome::Reaped { count: 1, more: false });
    assert_eq!((names(&state), held(&state)), (vec![], vec![file(b"3")]));
}

#[test]
fn a_reap_is_a_bounded_slice_whatever_it_asks_for() {
    let many = REAP_SLICE_MAX + 1;
    let mut state = State::new();
    for number in 0..many {
        let text = alloc::format!("{number}");
        state.apply(state.applied() + 1, &put(&text, b""));
        state.apply(state.applied() + 1, &delete(&text));
    }
    assert_eq!(next(&mut state, &reap(2, u32::MAX)), Outcome::Reaped { count: REAP_SLICE_MAX, more: true });
    assert_eq!(next(&mut state, &reap(2, u32::MAX)), Outcome::Reaped { count: 1, more: false });
}

#[test]
fn a_purge_leaves_nothing_of_a_name_and_everything_of_others() {
    let mut state =
        after(&[put("a", b"1"), put("a", b"2"), put("ab", b"1"), put("ab", b"2"), put("c", b"3"), delete("c")]);
    let conflict = Command::Purge { time: NOW, name: name("a"), expect: Expect::Version(1) };
    assert_eq!(next(&mut state, &conflict), Outcome::Conflict { current: Some(2) });
    assert_eq!(next(&mut state, &purge("a")), Outcome::Purged { tombstones: 1 });
    assert_eq!((meaning(&state, "a"), kept(&state, "a")), (None, vec![]));
    assert_eq!((meaning(&state, "ab"), kept(&state, "ab")), (Some((file(b"2"), 1)), vec![(3, true)]));
    assert_eq!(next(&mut state, &purge("a")), Outcome::NotFound);
    assert_eq!(next(&mut state, &purge("c")), Outcome::Purged { tombstones: 1 }, "tombstones alone can be purged");
    assert!(!held(&state).contains(&file(b"3")));
    assert_eq!(next(&mut state, &purge("ab")), Outcome::Purged { tombstones: 1 });
    let nothing = (state.name_count(), state.tombstone_count(), state.live_bytes(), state.tombstone_bytes());
    assert_eq!((nothing, held(&state)), ((0, 0, 0, 0), vec![]));
}

#[test]
fn a_put_under_an_older_lease_than_the_newest_sweep_changes_nothing() {
    let mut state = after(&[leased("a", 0), SWEEP, at(5, SWEEP)]);
    assert_eq!(state.epoch(), 2);
    let root = state.root();
    for lease in [0, 1] {
        for expect in [Expect::Any, Expect::Version(7)] {
            let command =
                Command::Put { time: WallTime::from_nanos(90), lease, name: name("a"), expect, manifest: inline(b"x") };
            assert_eq!(next(&mut state, &command), Outcome::StaleLease { epoch: 2 }, "before {expect:?} is judged");
        }
    }
    assert_eq!((state.root(), state.time()), (root, WallTime::from_nanos(5)), "time too is as it was");
    assert_eq!(next(&mut state, &leased("a", 2)), Outcome::Stored { version: 8 });
    next(&mut state, &complete(2));
    assert_eq!(next(&mut state, &leased("a", 1)), Outcome::StaleLease { epoch: 2 }, "also after the sweep");
    assert_eq!(next(&mut state, &delete("a")), Outcome::Deleted, "only puts need a lease");
    assert_eq!(next(&mut state, &undelete("a")), Outcome::Stored { version: 12 });
}

#[test]
fn a_sweep_is_completed_once_and_only_if_it_is_the_newest() {
    let mut state = State::new();
    assert_eq!((state.epoch(), state.open_sweep(), state.completed_sweep()), (0, None, None));
    assert_eq!(next(&mut state, &complete(0)), Outcome::Superseded);
    assert_eq!(next(&mut state, &at(10, SWEEP)), Outcome::SweepStarted { epoch: 1 });
    assert_eq!(state.open_sweep(), Some(Sweep { epoch: 1, started_at: WallTime::from_nanos(10) }));
    assert_eq!(next(&mut state, &at(20, SWEEP)), Outcome::SweepStarted { epoch: 2 });
    assert_eq!(next(&mut state, &complete(1)), Outcome::Superseded);
    assert_eq!(next(&mut state, &complete(3)), Outcome::Superseded);
    assert_eq!(state.open_sweep(), Some(Sweep { epoch: 2, started_at: WallTime::from_nanos(20) }));
    assert_eq!(next(&mut state, &at(30, complete(2))), Outcome::SweepCompleted);
    let completed_at = WallTime::from_nanos(30);
    let first = CompletedSweep { epoch: 2, completed_at, filter_hash: sha256(b"filter"), by_person: false };
    assert_eq!((state.open_sweep(), state.completed_sweep()), (None, Some(first)));
    assert_eq!(next(&mut state, &complete(2)), Outcome::Superseded);
    assert_eq!(next(&mut state, &SWEEP), Outcome::SweepStarted { epoch: 3 });
    assert_eq!(state.completed_sweep(), Some(first), "until the next one is");
    let by_person = Command::SweepComplete { time: NOW, epoch: 3, filter_hash: [3; HASH_LEN], by_person: true };
    assert_eq!(next(&mut state, &by_person), Outcome::SweepCompleted);
    let second = CompletedSweep { epoch: 3, completed_at, filter_hash: [3; HASH_LEN], by_person: true };
    assert_eq!(state.completed_sweep(), Some(second));
}

/// A content that is deleted, undeleted or kept by a tombstone is missing all the same; only a put proves its chunks.
#[test]
fn a_clean_makes_every_content_missing_until_it_is_put_again() {
    let mut state = after(&[put("a", b"abc"), put("b", b"abc"), put("c", b"c"), delete("c"), put("d", b"d")]);
    assert_eq!(next(&mut state, &CLEAN), Outcome::Cleaned);
    let missing = |state: &State, text: &str| state.stat(&Target::Name(name(text))).unwrap().0.missing;
    assert_eq!((state.name_count(), state.content_count(), state.tombstone_count()), (3, 2, 1), "names stay");
    assert!(missing(&state, "a") && missing(&state, "b") && missing(&state, "d"));
    assert!(state.is_missing(state.content(&file(b"abc")).unwrap()));
    assert!(state.tombstone(&name("c"), 0).unwrap().missing);
    assert_eq!((held(&state), state.live_bytes(), state.tombstone_bytes()), (vec![], 0, 0));
    next(&mut state, &put("a", b"abc"));
    assert!(!missing(&state, "a") && !missing(&state, "b"), "a put heals all its names");
    assert!(missing(&state, "d"), "and no other content");
    assert_eq!((held(&state), state.live_bytes()), (vec![file(b"abc")], 3));
    next(&mut state, &undelete("c"));
    assert!(missing(&state, "c"), "an undelete proves no chunks");
    next(&mut state, &CLEAN);
    assert!(missing(&state, "a"), "a second clean takes what was put since the first");
    next(&mut state, &put("e", b"new"));
    assert!(!missing(&state, "e"), "what comes after a clean is there");
}

#[test]
fn a_walk_in_slices_sees_what_is_missing_too() {
    let state = after(&[put("a", b"1"), put("b", b"2"), CLEAN, put("b", b"2")]);
    let mut walk = state.held(None);
    let mut steps: Vec<_> = core::iter::from_fn(|| walk.advance()).collect();
    steps.sort_by_key(|(_, manifest)| manifest.is_some());
    assert_eq!(steps, [(file(b"1"), None), (file(b"2"), Some(&inline(b"2")))]);
}

#[test]
fn a_deep_clean_leaves_an_empty_ledger_in_which_epoch_index_and_time_go_on() {
    let mut state = after(&[at(50, put("a", b"1")), put("a", b"2"), put("b", b"3"), delete("b"), SWEEP, CLEAN]);
    let frozen = state.clone();
    assert_eq!(next(&mut state, &DEEP_CLEAN), Outcome::Cleaned);
    let counts = (state.name_count(), state.content_count(), state.tombstone_count());
    assert_eq!((counts, state.live_bytes(), state.tombstone_bytes(), held(&state)), ((0, 0, 0), 0, 0, vec![]));
    assert_eq!((state.epoch(), state.open_sweep().is_some(), state.applied()), (1, true, 7));
    assert_eq!(state.time(), WallTime::from_nanos(50));
    assert_eq!(next(&mut state, &leased("a", 0)), Outcome::StaleLease { epoch: 1 });
    assert_eq!(next(&mut state, &leased("a", 1)), Outcome::Stored { version: 9 });
    assert!(!state.stat(&Target::Name(name("a"))).unwrap().0.missing, "what is put then is there");
    frozen.check();
    assert_eq!((frozen.name_count(), frozen.tombstone_count()), (1, 2), "a frozen state is as it was");
    let mut unswept = after(&[put("a", b"1"), put("a", b"2"), CLEAN]);
    next(&mut unswept, &DEEP_CLEAN);
    assert_eq!(unswept.root(), after(&[delete("a")]).root(), "nothing is left of it");
}

/// Local and by a person's word: neither waits for a sweep nor asks for a lease (rule L6).
#[test]
fn cleans_are_exempt_from_the_rules_of_sweeps() {
    for clean in [CLEAN, DEEP_CLEAN] {
        let mut state = after(&[leased("a", 0), SWEEP]);
        let open = state.open_sweep();
        assert_eq!(next(&mut state, &clean), Outcome::Cleaned);
        assert_eq!((state.epoch(), state.open_sweep()), (1, open));
        assert_eq!(next(&mut state, &complete(1)), Outcome::SweepCompleted);
    }
}

#[test]
fn a_prefix_with_a_nul_lists_no_tombstone() {
    let state = after(&[put("a", b"1"), delete("a")]);
    assert_eq!(state.tombstones("a", None).count(), 1);
    assert_eq!(state.tombstones("a\0", None).count(), 0);
    assert_eq!(state.tombstones("a\0\0", None).count(), 0);
    assert_eq!(state.tombstones("b", None).count(), 0);
}

/// Sizes are what clients say they are: the sum of some files is more than a number of 8 bytes.
#[test]
fn bytes_are_counted_beyond_the_largest_size() {
    let huge = |salt| tree(salt, u64::from(u32::MAX) << 22, 4 << 20, 1_024);
    let mut state = State::new();
    for salt in 0..=200_u8 {
        for text in 0..6 {
            let manifest = Manifest { file: FileId::from_bytes(sha256(&[salt, text])), ..huge(salt) };
            let text = alloc::format!("{salt}/{text}");
            state.apply(state.applied() + 1, &put_if(&text, Expect::Absent, &manifest));
        }
    }
    state.check();
    assert_eq!(state.live_bytes(), u64::MAX);
    assert_eq!(next(&mut state, &CLEAN), Outcome::Cleaned);
    assert_eq!(state.live_bytes(), 0);
}

/// Golden: replicas of different versions must agree on what a ledger hashes to.
#[test]
fn the_root_of_a_ledger_with_tombstones_sweeps_and_cleans_never_changes() {
    let mut state = after(&[put("a", b"abc"), put("a", b"d"), put("b", b"abc"), delete("b")]);
    let roots: Vec<_> = [SWEEP, complete(1), SWEEP, CLEAN, leased("c", 2), undelete("b")]
        .iter()
        .map(|command| {
            next(&mut state, command);
            HEXLOWER.encode(&state.root())
        })
        .collect();
    let expected = [
        "655d35e0f174319ce79292f379113cf03919310fc88eca8e9d36ccdc0585dcdc",
        "fecba615e8ca6210b51dbc41b26909f625a355adbaf36cb2a4aa9a85bfd55dad",
        "8aa2e098e758d5a2d6cddc04dbdc219344a6b14cc5cb2868106654eff96fb9e9",
        "bb5d85ed3b3d1895406bead5dad40d48c5f82c2a8266ce50a1a2a3e572b1e604",
        "1f9dbc6e90fc6b3bfdc5ac6d2578b42a22e0eb2ed08dbca92b835a448e9d29f9",
        "ececf8e6ac62c5854e68ca2512932b8ff261ee086780a00d9be8798654b872e1",
    ];
    assert_eq!(roots, expected);
}
