//! The mistakes that a store of names must not make; in `model`, the state against a dumb model.

mod clock;
mod expiry;
pub(crate) mod histories;
mod model;
mod reached;
mod reclaim;
mod roots;
mod session;

use alloc::vec::Vec;

use data_encoding::HEXLOWER;

use super::*;
use crate::id::ChunkId;
use crate::keystore::manifest_codec::tests::{entries, inline, tree};

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn put_if(text: &str, expect: Expect, manifest: &Manifest) -> Command {
    Command::Put { time: WallTime::from_nanos(1), lease: 0, name: name(text), expect, manifest: manifest.clone() }
}

fn put(text: &str, content: &[u8]) -> Command {
    put_if(text, Expect::Any, &inline(content))
}

fn delete_if(text: &str, expect: Expect) -> Command {
    Command::Delete { time: WallTime::from_nanos(1), name: name(text), expect }
}

fn delete(text: &str) -> Command {
    delete_if(text, Expect::Any)
}

/// Applies the commands from index 1 on, checking after each.
fn after(commands: &[Command]) -> State {
    let mut state = State::new();
    for (index, command) in (1..).zip(commands) {
        state.apply(index, command);
        state.check();
    }
    state
}

/// What a name means and how many names mean it.
fn meaning(state: &State, text: &str) -> Option<(FileId, u64)> {
    let (stat, manifest) = state.stat(&Target::Name(name(text)))?;
    assert_eq!(stat.file, manifest.file);
    Some((stat.file, stat.names))
}

fn file(content: &[u8]) -> FileId {
    inline(content).file
}

#[test]
fn two_names_may_share_one_content() {
    let state = after(&[put("a", b"same"), put("b", b"same")]);
    assert_eq!(meaning(&state, "a"), Some((file(b"same"), 2)));
    assert_eq!(meaning(&state, "b"), Some((file(b"same"), 2)));
    assert_eq!((state.name_count(), state.content_count()), (2, 1));
}

#[test]
fn a_name_stored_again_means_the_newest() {
    let state = after(&[put("a", b"old"), put("a", b"new")]);
    assert_eq!(meaning(&state, "a"), Some((file(b"new"), 1)));
    assert_eq!(state.name(&name("a")).unwrap().version, 2);
    assert_eq!(state.content(&file(b"old")), None, "nothing means it any more");
    assert_eq!((state.name_count(), state.content_count()), (1, 1));
}

#[test]
fn deleting_one_name_never_touches_the_other() {
    let state = after(&[put("a", b"same"), put("b", b"same"), delete("a")]);
    assert_eq!(meaning(&state, "a"), None);
    assert_eq!(meaning(&state, "b"), Some((file(b"same"), 1)));
    let state = after(&[put("a", b"same"), put("b", b"same"), delete("b")]);
    assert_eq!(meaning(&state, "a"), Some((file(b"same"), 1)));
    let state = after(&[put("a", b"same"), put("b", b"same"), delete("b"), delete("a")]);
    assert_eq!(state.content(&file(b"same")), None, "a content goes with its last name");
}

#[test]
fn an_empty_file_can_be_deleted_and_stored_again() {
    let mut state = after(&[put("empty", b"")]);
    assert_eq!(meaning(&state, "empty"), Some((file(b""), 1)));
    assert_eq!(state.apply(2, &delete("empty")), Outcome::Deleted);
    assert_eq!((meaning(&state, "empty"), state.content(&file(b""))), (None, None));
    assert_eq!(state.apply(3, &put_if("empty", Expect::Absent, &inline(b""))), Outcome::Stored { version: 3 });
    assert_eq!(meaning(&state, "empty"), Some((file(b""), 1)));
    state.check();
}

#[test]
fn deleting_the_older_content_keeps_the_newer() {
    let state = after(&[put("a", b"old"), put("b", b"old"), put("a", b"new"), delete("b")]);
    assert_eq!(state.content(&file(b"old")), None);
    assert_eq!(meaning(&state, "a"), Some((file(b"new"), 1)));
    assert_eq!(state.names("", None).count(), 1);
}

#[test]
fn storing_what_a_name_means_already_counts_it_once_and_takes_the_manifest() {
    let content = FileId::from_bytes([7; HASH_LEN]);
    let (few, many) = (entries(1, 100, 10), tree(2, 100, 1, 16));
    let [few, many] = [few, many].map(|manifest| Manifest { file: content, ..manifest });
    let mut state = after(&[put_if("a", Expect::Any, &few), put_if("a", Expect::Version(1), &many)]);
    assert_eq!(state.content(&content), Some(&Content { manifest: many.clone(), names: 1, tombstones: 1, floor: 0 }));
    assert_eq!(state.name(&name("a")).unwrap().version, 2, "it was stored again");
    state.apply(3, &put_if("b", Expect::Any, &few));
    assert_eq!(state.content(&content), Some(&Content { manifest: few.clone(), names: 2, tombstones: 1, floor: 0 }));
    assert_eq!(state.apply(4, &put_if("b", Expect::Absent, &many)), Outcome::Conflict { current: Some(3) });
    assert_eq!(state.content(&content).unwrap().manifest, few, "a conflict changes nothing");
    state.check();
}

fn rename_if(from: &str, to: &str, expect_from: Expect, expect_to: Expect) -> Command {
    Command::Rename { time: WallTime::from_nanos(1), from: name(from), to: name(to), expect_from, expect_to }
}

fn rename(from: &str, to: &str) -> Command {
    rename_if(from, to, Expect::Any, Expect::Any)
}

#[test]
fn a_rename_moves_the_meaning_and_only_what_it_replaces_leaves_a_tombstone() {
    let mut state = after(&[put("a", b"moved"), put("b", b"replaced")]);
    assert_eq!(state.apply(3, &rename("a", "b")), Outcome::Renamed { version: 3 });
    state.check();
    assert_eq!((meaning(&state, "a"), meaning(&state, "b")), (None, Some((file(b"moved"), 1))));
    let graves: Vec<_> = state.tombstones("", None).map(|stat| (stat.name, stat.version, stat.reason)).collect();
    assert_eq!(graves, [(name("b"), 2, Reason::Overwritten)]);
    assert_eq!(state.apply(4, &rename("b", "c")), Outcome::Renamed { version: 4 });
    assert_eq!((state.name_count(), state.tombstone_count(), state.live_bytes()), (1, 1, 5));
    assert_eq!(state.apply(5, &put("a", b"new")), Outcome::Stored { version: 5 }, "the old name is free");
    state.check();
}

#[test]
fn a_rename_to_itself_changes_nothing_and_is_in_its_own_way_never() {
    let mut state = after(&[put("a", b"abc")]);
    let root = state.root();
    for (expect_from, expect_to, outcome) in [
        (Expect::Any, Expect::Any, Outcome::Renamed { version: 1 }),
        (Expect::Version(1), Expect::Absent, Outcome::Renamed { version: 1 }),
        (Expect::Any, Expect::Version(7), Outcome::Renamed { version: 1 }),
        (Expect::Version(2), Expect::Any, Outcome::Conflict { current: Some(1) }),
    ] {
        assert_eq!(state.apply(state.applied() + 1, &rename_if("a", "a", expect_from, expect_to)), outcome);
        assert_eq!(state.root(), root);
    }
    assert_eq!(state.apply(9, &rename("b", "b")), Outcome::NotFound);
}

#[test]
fn a_rename_asks_for_both_names_before_it_moves_anything() {
    let state = after(&[put("a", b"1"), put("b", b"2")]);
    for (command, outcome) in [
        (rename_if("a", "b", Expect::Version(2), Expect::Absent), Outcome::Conflict { current: Some(1) }),
        (rename_if("a", "b", Expect::Any, Expect::Absent), Outcome::TargetConflict { current: Some(2) }),
        (rename_if("a", "c", Expect::Any, Expect::Version(2)), Outcome::TargetConflict { current: None }),
        (rename_if("c", "b", Expect::Any, Expect::Absent), Outcome::TargetConflict { current: Some(2) }),
        (rename("c", "b"), Outcome::NotFound),
        (rename_if("a", "b", Expect::Version(1), Expect::Version(2)), Outcome::Renamed { version: 3 }),
    ] {
        let mut other = state.clone();
        assert_eq!(other.apply(3, &command), outcome, "{command:?}");
        assert_eq!(other.root() == state.root(), !matches!(outcome, Outcome::Renamed { .. }));
        other.check();
    }
}

/// No chunk was proven durable by a rename.
#[test]
fn what_is_missing_can_be_renamed_and_stays_missing() {
    let clean = Command::Clean { time: WallTime::from_nanos(1) };
    let state = after(&[put("a", b"abc"), clean, rename("a", "b")]);
    assert!(state.stat(&Target::Name(name("b"))).unwrap().0.missing);
    assert_eq!(state.live_bytes(), 0);
}

#[test]
fn an_expectation_is_checked_before_anything_else() {
    let conflict = |current| Outcome::Conflict { current };
    let content = inline(b"x");
    for (exists, command, outcome) in [
        (false, put_if("a", Expect::Any, &content), Outcome::Stored { version: 2 }),
        (false, put_if("a", Expect::Absent, &content), Outcome::Stored { version: 2 }),
        (false, put_if("a", Expect::Version(1), &content), conflict(None)),
        (true, put_if("a", Expect::Any, &content), Outcome::Stored { version: 2 }),
        (true, put_if("a", Expect::Absent, &content), conflict(Some(1))),
        (true, put_if("a", Expect::Version(1), &content), Outcome::Stored { version: 2 }),
        (true, put_if("a", Expect::Version(2), &content), conflict(Some(1))),
        (false, delete("a"), Outcome::NotFound),
        (false, delete_if("a", Expect::Absent), Outcome::NotFound),
        (false, delete_if("a", Expect::Version(1)), conflict(None)),
        (true, delete("a"), Outcome::Deleted),
        (true, delete_if("a", Expect::Absent), conflict(Some(1))),
        (true, delete_if("a", Expect::Version(1)), Outcome::Deleted),
        (true, delete_if("a", Expect::Version(0)), conflict(Some(1))),
    ] {
        let mut state = after(&[put(if exists { "a" } else { "other" }, b"first")]);
        let before = state.root();
        assert_eq!(state.apply(2, &command), outcome, "{command:?} where the name exists: {exists}");
        let changed = matches!(outcome, Outcome::Stored { .. } | Outcome::Deleted);
        assert_eq!(state.root() != before, changed, "{command:?}");
        state.check();
    }
}

#[test]
fn ledger_time_never_goes_backwards() {
    let at = |nanos, text: &str| {
        let time = WallTime::from_nanos(nanos);
        Command::Put { time, lease: 0, name: name(text), expect: Expect::Absent, manifest: inline(b"") }
    };
    let mut state = after(&[at(50, "a"), at(20, "b")]);
    assert_eq!(state.time(), WallTime::from_nanos(50));
    assert_eq!(state.name(&name("b")).unwrap().stored_at, WallTime::from_nanos(50), "in ledger time");
    let root = state.root();
    assert_eq!(state.apply(3, &at(70, "a")), Outcome::Conflict { current: Some(1) });
    assert_eq!(state.time(), WallTime::from_nanos(70), "whatever a command comes to, its time counts");
    assert_ne!(state.root(), root, "time is part of the state");
}

#[test]
#[should_panic(expected = "command 1 comes after command 1")]
fn a_command_applied_twice_is_a_bug() {
    let mut state = after(&[put("a", b"")]);
    state.apply(1, &put("b", b""));
}

#[test]
fn stat_tells_chunks_only_where_there_are_any() {
    let state = after(&[
        put("empty", b""),
        put("inline", b"abc"),
        put_if("entries", Expect::Any, &entries(1, 31, 10)),
        put_if("tree", Expect::Any, &tree(2, 1 << 40, 4 << 20, 1_024)),
    ]);
    for (text, size, block_bytes, chunks) in
        [("empty", 0, 0, 0), ("inline", 3, 3, 0), ("entries", 31, 10, 4), ("tree", 1 << 40, 4 << 20, 1 << 18)]
    {
        let (stat, manifest) = state.stat(&Target::Name(name(text))).unwrap();
        assert_eq!((stat.size, stat.block_bytes, stat.chunks), (size, block_bytes, chunks), "{text}");
        assert_eq!(stat.name, Some(name(text)));
        let by_content = state.stat(&Target::Content(manifest.file)).unwrap().0;
        assert_eq!(by_content, FileStat { name: None, version: 0, stored_at: WallTime::default(), ..stat });
    }
    assert_eq!(state.stat(&Target::Name(name("none"))), None);
    assert_eq!(state.stat(&Target::Content(file(b"none"))), None);
}

#[test]
fn names_are_listed_by_prefix_and_resumed_after_any() {
    let commands: Vec<_> = ["b", "a/2", "a", "a/1", "a/10", "\u{e9}"].iter().map(|text| put(text, b"")).collect();
    let state = after(&commands);
    let listed = |prefix: &str, last: Option<&str>| -> Vec<Name> {
        let names: Vec<_> = state.names(prefix, last.map(name).as_ref()).collect();
        assert!(names.iter().all(|(name, entry)| state.name(name) == Some(entry)));
        names.into_iter().map(|(name, _)| name).collect()
    };
    let names = |texts: &[&str]| -> Vec<Name> { texts.iter().copied().map(name).collect() };
    assert_eq!(listed("", None), names(&["a", "a/1", "a/10", "a/2", "b", "\u{e9}"]));
    assert_eq!(listed("a/", None), names(&["a/1", "a/10", "a/2"]));
    assert_eq!(listed("a/", Some("a/1")), names(&["a/10", "a/2"]));
    assert_eq!(listed("a/", Some("a/2")), names(&[]));
    assert_eq!(listed("", Some("a/3")), names(&["b", "\u{e9}"]));
    assert_eq!(listed(&"z".repeat(2_000), None), names(&[]));
}

#[test]
fn the_root_never_changes() {
    let state = after(&[
        put("a", b"abc"),
        put_if("dir/b", Expect::Any, &Manifest { file: FileId::from_bytes([7; HASH_LEN]), ..sample_entries() }),
        put("dir/c", b"abc"),
    ]);
    assert_eq!(
        HEXLOWER.encode(&State::new().root()),
        "402bf8b0fe31e4aafae9f2dfb2584bfe16f089df7b0dc345ef4312d66abf9afb"
    );
    assert_eq!(HEXLOWER.encode(&state.root()), "bdb5d2b372ff41d29f685e268a1b7900840d0caa7e2acc692bb3e5692ff39cef");
}

/// Two chunks with identifiers that are easy to write down elsewhere.
fn sample_entries() -> Manifest {
    use crate::keystore::manifest::Entry;
    let entry = |byte, bytes| Entry { chunk: ChunkId::from_bytes([byte; HASH_LEN]), bytes };
    let body = Body::Entries([entry(1, 16), entry(2, 4)].into());
    Manifest { file: FileId::from_bytes([7; HASH_LEN]), size: 20, block_bytes: 16, body }
}
