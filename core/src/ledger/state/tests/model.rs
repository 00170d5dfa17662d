//! The state against a model that is nothing but lists, over any sequence of commands.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::keystore::manifest_codec::tests::any_manifest;
use crate::ledger::file::TombstoneStat;
use crate::limits::{OVERWRITTEN_MAX, REAP_SLICE_MAX};

/// So few tombstones that all may be deleted ones, or so many that the bound of a name is reached first.
const TOMBSTONES_MAX: [u64; 2] = [3, 14];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grave {
    stored_at: WallTime,
    went_at: WallTime,
    file: FileId,
    index: u64,
    reason: Reason,
}

/// What the state should be, without any cleverness.
#[derive(Clone, Debug, Default)]
struct Model {
    tombstones_max: u64,
    names: BTreeMap<Name, NameEntry>,
    graves: BTreeMap<(Name, u64), Grave>,
    /// What is known of a content, and the index of its newest put.
    manifests: BTreeMap<FileId, (Manifest, u64)>,
    time: WallTime,
    epoch: u64,
    open: Option<Sweep>,
    completed: Option<CompletedSweep>,
    cleaned_at: u64,
    /// What was reached, in words.
    seen: BTreeSet<&'static str>,
}

impl Model {
    fn new(tombstones_max: u64) -> Self {
        Self { tombstones_max, ..Self::default() }
    }

    fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        if matches!(command, Command::Put { lease, .. } if *lease < self.epoch) {
            return Outcome::StaleLease { epoch: self.epoch };
        }
        self.time = self.time.max(command.time());
        let outcome = self.decide(index, command);
        if self.graves.len() as u64 > self.tombstones_max {
            let oldest = |reason| {
                let graves = self.graves.iter().filter(move |(_, grave)| grave.reason == reason);
                graves.min_by_key(|(_, grave)| grave.index).map(|(key, _)| key.clone())
            };
            let (what, key) = match (oldest(Reason::Overwritten), oldest(Reason::Deleted)) {
                (Some(key), _) => ("an overwritten version too many in all", key),
                (None, deleted) => ("a deleted version too many in all", deleted.unwrap()),
            };
            self.seen.insert(what);
            self.graves.remove(&key);
        }
        let (names, graves) = (&self.names, &self.graves);
        self.manifests.retain(|file, _| {
            names.values().any(|entry| entry.file == *file) || graves.values().any(|grave| grave.file == *file)
        });
        outcome
    }

    fn decide(&mut self, index: u64, command: &Command) -> Outcome {
        if let Command::Put { name, expect, .. }
        | Command::Delete { name, expect, .. }
        | Command::Undelete { name, expect, .. }
        | Command::Purge { name, expect, .. } = command
        {
            let current = self.names.get(name).map(|entry| entry.version);
            match expect {
                Expect::Absent if current.is_some() => return Outcome::Conflict { current },
                Expect::Version(version) if current != Some(*version) => return Outcome::Conflict { current },
                Expect::Any | Expect::Absent | Expect::Version(_) => {}
            }
        }
        match command {
            Command::Put { name, manifest, .. } => {
                self.manifests.insert(manifest.file, (manifest.clone(), index));
                self.mean(index, name, manifest.file)
            }
            Command::Delete { name, .. } => match self.names.remove(name) {
                Some(entry) => {
                    self.bury(index, name, &entry, Reason::Deleted);
                    Outcome::Deleted
                }
                None => Outcome::NotFound,
            },
            Command::Undelete { name, version, .. } => {
                let version = if *version == 0 { self.versions(name).last().copied() } else { Some(*version) };
                match version.and_then(|version| self.graves.remove(&(name.clone(), version))) {
                    Some(grave) => self.mean(index, name, grave.file),
                    None => Outcome::NotFound,
                }
            }
            Command::Purge { name, .. } => {
                let (versions, entry) = (self.versions(name), self.names.remove(name));
                for version in &versions {
                    self.graves.remove(&(name.clone(), *version));
                }
                match (entry, versions.len()) {
                    (None, 0) => Outcome::NotFound,
                    (_, graves) => Outcome::Purged { tombstones: u32::try_from(graves).unwrap() },
                }
            }
            Command::Reap { before, limit, .. } => self.reap(*before, *limit),
            Command::SweepStart { .. } => {
                self.epoch += 1;
                self.open = Some(Sweep { epoch: self.epoch, started_at: self.time });
                Outcome::SweepStarted { epoch: self.epoch }
            }
            Command::SweepComplete { time: _, epoch, filter_hash, by_person } => {
                if self.open.map(|open| open.epoch) != Some(*epoch) {
                    return Outcome::Superseded;
                }
                let (epoch, filter_hash, by_person) = (*epoch, *filter_hash, *by_person);
                self.open = None;
                self.completed = Some(CompletedSweep { epoch, completed_at: self.time, filter_hash, by_person });
                Outcome::SweepCompleted
            }
            Command::Clean { .. } => {
                self.cleaned_at = index;
                Outcome::Cleaned
            }
            Command::DeepClean { .. } => {
                let Self { tombstones_max, time, epoch, open, completed, .. } = *self;
                let seen = core::mem::take(&mut self.seen);
                *self = Self { tombstones_max, time, epoch, open, completed, seen, ..Self::default() };
                Outcome::Cleaned
            }
        }
    }

    fn mean(&mut self, index: u64, name: &Name, file: FileId) -> Outcome {
        match self.names.remove(name) {
            Some(old) => self.bury(index, name, &old, Reason::Overwritten),
            None => {
                for (_, grave) in self.graves.iter_mut().filter(|((other, _), _)| other == name) {
                    if grave.reason == Reason::Deleted {
                        self.seen.insert("a deleted name that is stored again");
                    }
                    grave.reason = Reason::Overwritten;
                }
            }
        }
        self.names.insert(name.clone(), NameEntry { version: index, stored_at: self.time, file });
        let versions = self.versions(name);
        if versions.len() > OVERWRITTEN_MAX {
            self.seen.insert("an overwritten version too many of a name");
            self.graves.remove(&(name.clone(), versions[0]));
        }
        Outcome::Stored { version: index }
    }

    fn bury(&mut self, index: u64, name: &Name, old: &NameEntry, reason: Reason) {
        let NameEntry { version, stored_at, file } = *old;
        let grave = Grave { stored_at, went_at: self.time, file, index, reason };
        assert_eq!(self.graves.insert((name.clone(), version), grave), None);
        if reason == Reason::Deleted && self.versions(name).len() > OVERWRITTEN_MAX {
            self.seen.insert("a deleted version on top of all overwritten ones");
        }
    }

    fn reap(&mut self, before: WallTime, limit: u32) -> Outcome {
        let old = self.graves.iter().filter(|(_, grave)| grave.went_at < before);
        let mut old: Vec<_> = old.map(|(key, grave)| (grave.index, key.clone())).collect();
        old.sort();
        let limit = usize::try_from(limit.min(REAP_SLICE_MAX)).unwrap();
        let more = old.len() > limit;
        old.truncate(limit);
        for (_, key) in &old {
            self.graves.remove(key);
        }
        Outcome::Reaped { count: u32::try_from(old.len()).unwrap(), more }
    }

    fn versions(&self, name: &Name) -> Vec<u64> {
        self.graves.keys().filter(|(other, _)| other == name).map(|(_, version)| *version).collect()
    }

    fn is_missing(&self, file: &FileId) -> bool {
        self.manifests[file].1 < self.cleaned_at
    }

    fn holders(&self, file: &FileId) -> (u64, u64) {
        let names = self.names.values().filter(|entry| entry.file == *file).count() as u64;
        let graves = self.graves.values().filter(|grave| grave.file == *file).count() as u64;
        (names, graves)
    }

    fn tombstones(&self) -> Vec<TombstoneStat> {
        let stat = |((name, version), grave): (&(Name, u64), &Grave)| {
            let Grave { stored_at, went_at, file, index: _, reason } = *grave;
            let (size, missing) = (self.manifests[&file].0.size, self.is_missing(&file));
            TombstoneStat { name: name.clone(), version: *version, stored_at, went_at, reason, file, size, missing }
        };
        self.graves.iter().map(stat).collect()
    }

    fn assert_is(&self, state: &State) {
        state.check();
        assert_eq!(state.time(), self.time);
        assert_eq!(
            (state.epoch(), state.open_sweep(), state.completed_sweep()),
            (self.epoch, self.open, self.completed)
        );
        assert_eq!(state.clean_floor(), self.cleaned_at);
        let names: Vec<_> = state.names("", None).map(|(name, entry)| (name, *entry)).collect();
        assert_eq!(names, self.names.clone().into_iter().collect::<Vec<_>>());
        assert_eq!(state.name_count(), self.names.len() as u64);
        for (name, entry) in &self.names {
            let stat = state.stat(&Target::Name(name.clone())).unwrap().0;
            let names = self.holders(&entry.file).0;
            assert_eq!((stat.version, stat.names, stat.missing), (entry.version, names, self.is_missing(&entry.file)));
        }
        self.assert_tombstones(state);
        self.assert_contents(state);
    }

    fn assert_tombstones(&self, state: &State) {
        let expected = self.tombstones();
        assert_eq!(state.tombstones("", None).collect::<Vec<_>>(), expected);
        assert_eq!(state.tombstone_count(), expected.len() as u64);
        for (at, stat) in expected.iter().enumerate() {
            let rest: Vec<_> = state.tombstones("", Some((&stat.name, stat.version))).collect();
            assert_eq!(rest, expected[at + 1..], "a listing goes on after any");
            let prefixed: Vec<_> = state.tombstones(stat.name.as_str(), None).collect();
            let begins = |other: &&TombstoneStat| other.name.as_str().starts_with(stat.name.as_str());
            assert_eq!(prefixed, expected.iter().filter(begins).cloned().collect::<Vec<_>>());
            assert_eq!(state.tombstone(&stat.name, stat.version).as_ref(), Some(stat));
            let newest = expected.iter().rfind(|other| other.name == stat.name);
            assert_eq!(state.tombstone(&stat.name, 0).as_ref(), newest);
            assert_eq!(state.tombstone(&stat.name, stat.version + 1_000), None);
        }
    }

    fn assert_contents(&self, state: &State) {
        let (mut contents, mut held, mut live, mut kept) = (Vec::new(), Vec::new(), 0, 0);
        for (file, (manifest, _)) in &self.manifests {
            let ((names, tombstones), missing) = (self.holders(file), self.is_missing(file));
            let bytes = if missing { 0 } else { manifest.size };
            if names > 0 {
                contents.push((*file, manifest.clone(), names, tombstones, missing));
                live += bytes;
            } else {
                assert_eq!(state.content(file), None, "what only a tombstone keeps can't be looked up");
                assert_eq!(state.stat(&Target::Content(*file)), None);
                kept += bytes;
            }
            if !missing {
                held.push((*file, manifest));
            }
        }
        let found = state.contents(None).map(|(file, content)| {
            assert_eq!(state.content(&file), Some(content));
            let missing = state.is_missing(content);
            assert_eq!(state.stat(&Target::Content(file)).unwrap().0.missing, missing);
            (file, content.manifest.clone(), content.names, content.tombstones, missing)
        });
        assert_eq!(found.collect::<Vec<_>>(), contents);
        assert_eq!(state.content_count(), contents.len() as u64);
        assert_eq!(state.held(None).collect::<Vec<_>>(), held);
        for (at, (file, _)) in held.iter().enumerate() {
            assert_eq!(state.held(Some(file)).collect::<Vec<_>>(), held[at + 1..], "a sweep goes on after any");
        }
        assert_eq!((state.live_bytes(), state.tombstone_bytes()), (live, kept));
    }

    /// Half of what refers to something refers to what is there, so that not everything comes to nothing.
    fn aim(&self, mut command: Command, pick: usize) -> Command {
        if pick.is_multiple_of(2) {
            return command;
        }
        if let Command::Put { name, expect, .. }
        | Command::Delete { name, expect, .. }
        | Command::Undelete { name, expect, .. }
        | Command::Purge { name, expect, .. } = &mut command
            && matches!(expect, Expect::Version(_))
        {
            *expect = self.names.get(name).map_or(Expect::Absent, |entry| Expect::Version(entry.version));
        }
        match &mut command {
            Command::Put { lease, .. } => *lease = self.epoch + *lease / 4,
            Command::Undelete { name, version, .. } => {
                let versions = self.versions(name);
                *version = versions.get(pick / 2 % (versions.len() + 1)).copied().unwrap_or(0);
            }
            Command::SweepComplete { epoch, .. } => *epoch = self.epoch,
            Command::Delete { .. }
            | Command::Purge { .. }
            | Command::Reap { .. }
            | Command::SweepStart { .. }
            | Command::Clean { .. }
            | Command::DeepClean { .. } => {}
        }
        command
    }
}

fn any_expect() -> impl Strategy<Value = Expect> {
    prop_oneof![6 => Just(Expect::Any), 1 => Just(Expect::Absent), 2 => (0..40_u64).prop_map(Expect::Version)]
}

/// Few contents, so that names meet; the same content sometimes under another manifest.
fn any_small_manifest() -> impl Strategy<Value = Manifest> {
    prop_oneof![
        (0..4_u8).prop_map(|byte| inline(&[byte][..usize::from(byte > 0)])),
        (0..2_u8, 1..=16_u64, any::<bool>()).prop_map(|(salt, size, high)| Manifest {
            file: FileId::from_bytes([salt; HASH_LEN]),
            ..if high { tree(salt, size, 1, 2) } else { entries(salt, size, 1) }
        }),
    ]
}

/// Few names, one of them often, so that all bounds are reached.
fn any_small_name() -> impl Strategy<Value = Name> {
    let texts = prop::sample::select(alloc::vec!["a", "a", "a", "a", "ab", "b", "b/c", "\u{1f980}"]);
    texts.prop_map(name)
}

fn any_command() -> impl Strategy<Value = Command> {
    let time = || (0..100_u64).prop_map(WallTime::from_nanos);
    let subject = || (time(), any_small_name(), any_expect());
    let lease = 0..4_u64;
    let put = (subject(), lease, any_small_manifest());
    prop_oneof![
        60 => put.prop_map(|((time, name, expect), lease, manifest)| Command::Put { time, lease, name, expect, manifest }),
        20 => subject().prop_map(|(time, name, expect)| Command::Delete { time, name, expect }),
        10 => (subject(), 0..40_u64)
            .prop_map(|((time, name, expect), version)| Command::Undelete { time, name, version, expect }),
        4 => (time(), time(), 0..6_u32).prop_map(|(time, before, limit)| Command::Reap { time, before, limit }),
        2 => subject().prop_map(|(time, name, expect)| Command::Purge { time, name, expect }),
        3 => time().prop_map(|time| Command::SweepStart { time }),
        3 => (time(), 0..4_u64, any::<u8>(), any::<bool>()).prop_map(|(time, epoch, byte, by_person)| {
            Command::SweepComplete { time, epoch, filter_hash: [byte; HASH_LEN], by_person }
        }),
        3 => time().prop_map(|time| Command::Clean { time }),
        1 => time().prop_map(|time| Command::DeepClean { time }),
    ]
}

/// Commands, each with a step of the index and with what it is aimed by.
fn any_history(len: usize) -> impl Strategy<Value = Vec<(Command, u64, usize)>> {
    prop::collection::vec((any_command(), 1..3_u64, any::<usize>()), 0..len)
}

proptest! {
    #[test]
    fn the_state_is_what_the_commands_say(history in any_history(120), freeze in prop::collection::vec(0..120_usize, 0..4),
        tombstones_max in prop::sample::select(&TOMBSTONES_MAX[..]),
) {
        let (mut state, mut model, mut index) = (State::new(), Model::new(tombstones_max), 0);
        let (mut frozen, mut applied) = (Vec::new(), Vec::new());
        for (at, (command, step, pick)) in history.into_iter().enumerate() {
            index += step;
            let command = model.aim(command, pick);
            let outcome = state.apply_within(index, &command, tombstones_max);
            prop_assert_eq!(outcome, model.apply(index, &command), "{:?}", command);
            state.check();
            applied.push((index, command));
            if freeze.contains(&at) {
                frozen.push((state.clone(), model.clone(), state.root()));
            }
        }
        model.assert_is(&state);
        for (state, model, root) in frozen {
            model.assert_is(&state);
            prop_assert_eq!(state.root(), root, "a frozen state stays as it was");
        }
        // The same commands again, with roots asked for on the way.
        let mut again = State::new();
        for (index, command) in applied {
            again.apply_within(index, &command, tombstones_max);
            let _ = again.root();
        }
        prop_assert_eq!(state.root(), again.root(), "the same commands give the same state");
    }

    /// Two states that hold the same have the same root, whatever else they held before.
    #[test]
    fn equal_states_have_equal_roots(
        history in any_history(40),
        manifests in prop::collection::vec(any_manifest(), 1..6),
    ) {
        let (mut winding, mut index) = (State::new(), 0);
        for (command, step, pick) in history {
            if matches!(command, Command::SweepStart { .. } | Command::Clean { .. } | Command::DeepClean { .. }) {
                continue;
            }
            index += step;
            let command = if pick % 8 == 0 { Command::DeepClean { time: command.time() } } else { command };
            winding.apply_within(index, &command, TOMBSTONES_MAX[0]);
        }
        let kept: Vec<_> = winding.names("", None).map(|(name, _)| name).collect();
        for name in kept {
            index += 1;
            let outcome = winding.apply(index, &Command::Purge { time: WallTime::default(), name, expect: Expect::Any });
            let purged = matches!(outcome, Outcome::Purged { .. });
            prop_assert!(purged);
        }
        index += 1;
        let reap = Command::Reap { time: WallTime::default(), before: WallTime::from_nanos(101), limit: REAP_SLICE_MAX };
        winding.apply(index, &reap);
        let mut straight = State::new();
        for (number, manifest) in manifests.into_iter().enumerate() {
            index += 1;
            let (time, name) = (WallTime::from_nanos(100), name(&format!("file {number}")));
            let command = Command::Put { time, lease: 0, name, expect: Expect::Absent, manifest };
            prop_assert_eq!(winding.apply(index, &command), straight.apply(index, &command));
        }
        winding.check();
        prop_assert_eq!(winding.root(), straight.root());
    }
}

/// What the histories above come to, so that no rule is only seemingly compared.
#[test]
fn the_histories_reach_every_outcome_and_every_bound() {
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeSet::<String>::new();
    for run in 0..150 {
        let history = any_history(120).new_tree(&mut runner).unwrap().current();
        let (mut model, mut index) = (Model::new(TOMBSTONES_MAX[run % 2]), 0);
        for (command, step, pick) in history {
            index += step;
            let command = model.aim(command, pick);
            let kind = format!("{command:?}");
            let kind = kind.split(' ').next().unwrap();
            let outcome = model.apply(index, &command);
            let outcome = match outcome {
                Outcome::Reaped { count: 0, more } => format!("none reaped, more: {more}"),
                Outcome::Reaped { count: _, more } => format!("some reaped, more: {more}"),
                Outcome::Purged { tombstones } if tombstones > 1 => "some purged".into(),
                outcome => format!("{outcome:?}").split([' ', '{']).next().unwrap().into(),
            };
            reached.insert(format!("{kind} {outcome}"));
            let missing = |file: &FileId| model.is_missing(file);
            if model.names.values().any(|entry| missing(&entry.file)) {
                reached.insert("a name means what is missing".into());
            }
        }
        reached.extend(model.seen.iter().map(|what| (*what).into()));
    }
    for expected in [
        "Put Stored",
        "Put Conflict",
        "Put StaleLease",
        "Delete Deleted",
        "Delete Conflict",
        "Delete NotFound",
        "SweepStart SweepStarted",
        "SweepComplete SweepCompleted",
        "SweepComplete Superseded",
        "Undelete Stored",
        "Undelete Conflict",
        "Undelete NotFound",
        "Reap none reaped, more: false",
        "Reap none reaped, more: true",
        "Reap some reaped, more: false",
        "Reap some reaped, more: true",
        "Purge Purged",
        "Purge some purged",
        "Purge Conflict",
        "Purge NotFound",
        "Clean Cleaned",
        "DeepClean Cleaned",
        "a name means what is missing",
        "a deleted name that is stored again",
        "an overwritten version too many of a name",
        "a deleted version on top of all overwritten ones",
        "an overwritten version too many in all",
        "a deleted version too many in all",
    ] {
        assert!(reached.contains(expected), "{expected} was never reached: {reached:?}");
    }
}
