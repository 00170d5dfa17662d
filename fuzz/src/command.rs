//! Commands of the ledger: their bytes, and what they come to, against a model that is nothing but lists.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::crypto::hash::sha256;
use dps_core::id::FileId;
use dps_core::keystore::manifest::Manifest;
use dps_core::ledger::command::{COMMAND_BYTES_MAX, Command, Outcome};
use dps_core::ledger::file::{Expect, Reason, Target};
use dps_core::ledger::name::Name;
use dps_core::ledger::state::State;
use dps_core::limits::{OVERWRITTEN_MAX, REAP_SLICE_MAX};
use dps_core::time::WallTime;

use crate::input::Input;

const COMMANDS_MAX: usize = 64;

/// A tombstone: which command made it and when, what it keeps, and whether its name was only deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grave {
    index: u64,
    went_at: WallTime,
    file: FileId,
    deleted: bool,
}

#[derive(Clone, Debug, Default)]
struct Model {
    /// What a name means: its version and its content.
    names: BTreeMap<Name, (u64, FileId)>,
    /// What a name meant, by version.
    graves: BTreeMap<(Name, u64), Grave>,
    /// When each content was put last.
    put_at: BTreeMap<FileId, u64>,
    cleaned_at: u64,
    epoch: u64,
    open: bool,
    completed: u64,
    time: WallTime,
}

/// Decodes bytes as a command, and applies a sequence of commands, some of them decoded from the bytes.
///
/// # Panics
/// When an accepted command is not written as it was read; when an outcome or the state is not the model's; when a
/// frozen copy changes; when the way to a state shows in its root.
pub fn command(data: &[u8]) {
    round_trip(data);
    let mut input = Input::new(data);
    let (mut state, mut model, mut index) = (State::new(), Model::default(), 0);
    let mut frozen = None;
    for _ in 0..COMMANDS_MAX {
        if input.is_empty() {
            break;
        }
        let Some(command) = next(&mut input, &model) else { continue };
        index += 1 + u64::from(input.rarely(16));
        let outcome = state.apply(index, &command);
        assert_eq!(outcome, model.apply(index, &command), "the outcome of {command:?}");
        state.check();
        assert_eq!((state.applied(), state.time()), (index, model.time), "ledger time follows its commands");
        if input.rarely(8) {
            frozen = Some((state.clone(), state.root(), model.clone()));
        }
    }
    compare(&state, &model);
    if let Some((state, root, model)) = frozen {
        compare(&state, &model);
        assert_eq!(state.root(), root, "a frozen state stays as it was");
    }
    expect_pure_root(&state, &model);
}

fn round_trip(data: &[u8]) -> Option<Command> {
    let command = Command::decode(data).ok()?;
    assert!(data.len() <= COMMAND_BYTES_MAX, "a command of {} bytes", data.len());
    assert_eq!(command.encode(), data, "there is one way to write a command down");
    Some(command)
}

/// The model knows neither sessions, clocks, expiries nor renames: the core's own model does.
const fn is_modelled(command: &Command) -> bool {
    !matches!(
        command,
        Command::PutUntil { .. }
            | Command::Expire { .. }
            | Command::Rename { .. }
            | Command::SetClockRule { .. }
            | Command::ConfirmClock { .. }
            | Command::ResetClock { .. }
            | Command::RegisterSession { .. }
            | Command::InSession { .. }
    )
}

/// A command: made of decisions, or of bytes as they come.
fn next(input: &mut Input<'_>, model: &Model) -> Option<Command> {
    if input.rarely(8) {
        let len = usize::from(input.u16() % 1_024);
        return round_trip(input.bytes(len)).filter(is_modelled);
    }
    let time = WallTime::from_nanos(if input.rarely(16) { input.u64() } else { u64::from(input.u8()) });
    let command = match input.below(32) {
        0 => Command::SweepStart { time },
        1 => {
            let (epoch, by_person) = (model.epoch.saturating_sub(u64::from(input.rarely(4))), input.flag());
            Command::SweepComplete { time, epoch, filter_hash: input.digest(), by_person }
        }
        2 => Command::Reap { time, before: WallTime::from_nanos(input.number()), limit: input.u32() % 300 },
        3 => Command::Clean { time },
        4 if input.rarely(4) => Command::DeepClean { time },
        choice => of_name(input, model, choice, time)?,
    };
    assert_eq!(Command::decode(&command.encode()).as_ref(), Ok(&command), "a command comes back");
    Some(command)
}

/// A command that changes a name.
fn of_name(input: &mut Input<'_>, model: &Model, choice: usize, time: WallTime) -> Option<Command> {
    let name = name(input)?;
    let current = model.names.get(&name).map(|(version, _)| *version);
    let expect = match input.below(6) {
        0 => Expect::Absent,
        1 => Expect::Version(u64::from(input.u8())),
        2 => current.map_or(Expect::Absent, Expect::Version),
        _ => Expect::Any,
    };
    Some(match choice {
        5..=11 => Command::Delete { time, name, expect },
        12..=15 => Command::Undelete { time, name, version: input.number() % 64, expect },
        16 => Command::Purge { time, name, expect },
        _ => {
            let lease = model.epoch.saturating_sub(u64::from(input.rarely(8)));
            let len = input.below(4);
            let content = input.bytes(len);
            let manifest = Manifest::inline(FileId::from_bytes(sha256(content)), content);
            Command::Put { time, lease, name, expect, manifest }
        }
    })
}

/// A name that shares its beginning with others, so that every edge of the tree is split and merged.
fn name(input: &mut Input<'_>) -> Option<Name> {
    let choice = input.u8();
    let text: Vec<u8> = match choice % 4 {
        0 => vec![b'a'; 1 + usize::from(choice / 4 % 8)],
        1 => [vec![b'a'; usize::from(choice / 4 % 8)], vec![b'b' + choice / 32]].concat(),
        2 => vec![b'x'; if choice > 128 { 1_024 } else { 1_023 }],
        _ => input.bytes(1 + usize::from(choice / 4 % 16)).to_vec(),
    };
    Name::new(&text).ok()
}

impl Model {
    fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        if matches!(command, Command::Put { lease, .. } if *lease < self.epoch) {
            return Outcome::StaleLease { epoch: self.epoch };
        }
        self.time = self.time.max(command.time());
        if let Command::Put { name, expect, .. }
        | Command::Delete { name, expect, .. }
        | Command::Undelete { name, expect, .. }
        | Command::Purge { name, expect, .. } = command
        {
            let current = self.names.get(name).map(|(version, _)| *version);
            let met = match expect {
                Expect::Any => true,
                Expect::Absent => current.is_none(),
                Expect::Version(version) => current == Some(*version),
            };
            if !met {
                return Outcome::Conflict { current };
            }
        }
        match command {
            Command::Put { name, manifest, .. } => {
                self.put_at.insert(manifest.file, index);
                self.mean(index, name, manifest.file)
            }
            Command::Delete { name, .. } => match self.names.remove(name) {
                Some(old) => {
                    self.bury(index, name, old, true);
                    Outcome::Deleted
                }
                None => Outcome::NotFound,
            },
            Command::Undelete { name, version, .. } => {
                let newest = self.versions(name).last().copied();
                let version = if *version == 0 { newest } else { Some(*version) };
                match version.and_then(|version| self.graves.remove(&(name.clone(), version))) {
                    Some(grave) => self.mean(index, name, grave.file),
                    None => Outcome::NotFound,
                }
            }
            Command::Purge { name, .. } => {
                let versions = self.versions(name);
                let named = self.names.remove(name).is_some();
                self.graves.retain(|(other, _), _| other != name);
                let tombstones = u32::try_from(versions.len()).expect("a few");
                if named || tombstones > 0 { Outcome::Purged { tombstones } } else { Outcome::NotFound }
            }
            Command::Reap { before, limit, .. } => self.reap(*before, *limit),
            Command::SweepStart { .. } | Command::SweepComplete { .. } => self.sweep(command),
            Command::Clean { .. } => {
                self.cleaned_at = index;
                Outcome::Cleaned
            }
            Command::DeepClean { .. } => {
                let Self { epoch, open, completed, time, .. } = *self;
                *self = Self { epoch, open, completed, time, ..Self::default() };
                Outcome::Cleaned
            }
            Command::PutUntil { .. }
            | Command::Expire { .. }
            | Command::Rename { .. }
            | Command::SetClockRule { .. }
            | Command::ConfirmClock { .. }
            | Command::ResetClock { .. }
            | Command::RegisterSession { .. }
            | Command::InSession { .. } => unreachable!("only what is modelled is applied"),
        }
    }

    fn sweep(&mut self, command: &Command) -> Outcome {
        let Command::SweepComplete { epoch, .. } = command else {
            self.epoch += 1;
            self.open = true;
            return Outcome::SweepStarted { epoch: self.epoch };
        };
        if !self.open || *epoch != self.epoch {
            return Outcome::Superseded;
        }
        self.open = false;
        self.completed = *epoch;
        Outcome::SweepCompleted
    }

    fn mean(&mut self, index: u64, name: &Name, file: FileId) -> Outcome {
        match self.names.remove(name) {
            Some(old) => self.bury(index, name, old, false),
            None => {
                let graves = self.graves.iter_mut().filter(|((other, _), _)| other == name);
                graves.for_each(|(_, grave)| grave.deleted = false);
            }
        }
        self.names.insert(name.clone(), (index, file));
        let versions = self.versions(name);
        if versions.len() > OVERWRITTEN_MAX {
            self.graves.remove(&(name.clone(), versions[0]));
        }
        Outcome::Stored { version: index }
    }

    fn bury(&mut self, index: u64, name: &Name, (version, file): (u64, FileId), deleted: bool) {
        let grave = Grave { index, went_at: self.time, file, deleted };
        self.graves.insert((name.clone(), version), grave);
    }

    fn reap(&mut self, before: WallTime, limit: u32) -> Outcome {
        let old = self.graves.iter().filter(|(_, grave)| grave.went_at < before);
        let mut old: Vec<(u64, (Name, u64))> = old.map(|(key, grave)| (grave.index, key.clone())).collect();
        old.sort();
        let limit = limit.min(REAP_SLICE_MAX) as usize;
        let more = old.len() > limit;
        old.truncate(limit);
        old.iter().for_each(|(_, key)| _ = self.graves.remove(key));
        Outcome::Reaped { count: u32::try_from(old.len()).expect("a slice"), more }
    }

    fn versions(&self, name: &Name) -> Vec<u64> {
        self.graves.keys().filter(|(other, _)| other == name).map(|(_, version)| *version).collect()
    }

    fn is_missing(&self, file: &FileId) -> bool {
        self.put_at[file] < self.cleaned_at
    }
}

/// The state says what the model says, by name, by content and in listings from any place.
fn compare(state: &State, model: &Model) {
    let listed: Vec<(Name, u64, FileId)> =
        state.names("", None).map(|(name, entry)| (name, entry.version, entry.file)).collect();
    let known: Vec<(Name, u64, FileId)> =
        model.names.iter().map(|(name, (version, file))| (name.clone(), *version, *file)).collect();
    assert_eq!(listed, known, "every name, in order");
    assert_eq!(state.name_count(), known.len() as u64);
    for (at, (name, version, file)) in known.iter().enumerate() {
        let (stat, manifest) = state.stat(&Target::Name(name.clone())).expect("a name that is listed");
        assert_eq!((stat.version, stat.file, manifest.file), (*version, *file, *file));
        assert_eq!(stat.missing, model.is_missing(file), "a clean gives up what was put before");
        let names = known.iter().filter(|(_, _, other)| other == file).count() as u64;
        assert_eq!(stat.names, names, "a content counts its names");
        assert!(state.stat(&Target::Content(*file)).is_some(), "and is found by itself");
        let next = state.names("", Some(name)).next().map(|(name, _)| name);
        assert_eq!(next.as_ref(), known.get(at + 1).map(|(name, _, _)| name), "a listing goes on anywhere");
        let prefixed = state.names(name.as_str(), None).count();
        let expected = known.iter().filter(|(other, _, _)| other.as_str().starts_with(name.as_str())).count();
        assert_eq!(prefixed, expected, "a prefix lists what begins like it");
    }
    let contents: BTreeSet<FileId> = known.iter().map(|(_, _, file)| *file).collect();
    assert_eq!(state.content_count(), contents.len() as u64, "a content goes with its last name");
    compare_tombstones(state, model, &contents);
    let sweeps = (state.epoch(), state.open_sweep().is_some(), state.completed_sweep().map_or(0, |sweep| sweep.epoch));
    assert_eq!(sweeps, (model.epoch, model.open, model.completed));
}

fn compare_tombstones(state: &State, model: &Model, named: &BTreeSet<FileId>) {
    let stats: Vec<_> = state.tombstones("", None).collect();
    assert_eq!(stats.len(), model.graves.len());
    assert_eq!(state.tombstone_count(), stats.len() as u64);
    for (at, (stat, ((name, version), grave))) in stats.iter().zip(&model.graves).enumerate() {
        assert_eq!((&stat.name, stat.version, stat.file), (name, *version, grave.file));
        assert_eq!((stat.went_at, stat.reason == Reason::Deleted), (grave.went_at, grave.deleted));
        assert_eq!(stat.missing, model.is_missing(&stat.file));
        assert_eq!(state.tombstone(name, *version).as_ref(), Some(stat));
        assert_eq!(state.tombstones("", Some((name, *version))).next().as_ref(), stats.get(at + 1));
    }
    let mut held: BTreeSet<FileId> = model.graves.values().map(|grave| grave.file).collect();
    held.extend(named);
    held.retain(|file| !model.is_missing(file));
    let found: Vec<FileId> = state.held(None).map(|(file, _)| file).collect();
    assert_eq!(found, held.into_iter().collect::<Vec<_>>(), "a sweep keeps names and tombstones, but nothing missing");
}

/// The same names stored directly, without the detours, make the same root once the tombstones are gone.
fn expect_pure_root(state: &State, model: &Model) {
    if model.epoch > 0 || model.cleaned_at > 0 {
        return;
    }
    let mut state = state.clone();
    let mut index = state.applied();
    let reap = Command::Reap { time: state.time(), before: state.time(), limit: REAP_SLICE_MAX };
    index += 1;
    state.apply(index, &reap);
    // What went just now is not before now.
    let late: Vec<Name> = state.tombstones("", None).map(|stat| stat.name).collect();
    if late.iter().any(|name| model.names.contains_key(name)) {
        return;
    }
    for name in late {
        index += 1;
        state.apply(index, &Command::Purge { time: state.time(), name, expect: Expect::Absent });
    }
    let mut by_version: Vec<(&Name, u64, FileId)> =
        model.names.iter().map(|(name, (version, file))| (name, *version, *file)).collect();
    by_version.sort_unstable_by_key(|(_, version, _)| *version);
    let mut direct = State::new();
    for (name, version, file) in by_version {
        let manifest = state.content(&file).expect("what a name means exists").manifest.clone();
        let stored_at = state.name(name).expect("it is in the model").stored_at;
        let name = name.clone();
        direct.apply(version, &Command::Put { time: stored_at, lease: 0, name, expect: Expect::Any, manifest });
    }
    let last = Name::new(b"no such name").expect("a good name");
    let touch = Command::Delete { time: state.time(), name: last, expect: Expect::Absent };
    assert_eq!(state.apply(index + 1, &touch), direct.apply(index + 1, &touch));
    assert_eq!(state.root(), direct.root(), "the way to a state does not show");
}
