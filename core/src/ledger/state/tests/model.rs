//! The state against a model that is nothing but lists, over any sequence of commands.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::histories::any_history;
use super::*;
use crate::ledger::file::TombstoneStat;
use crate::limits::{EXPIRE_SLICE_MAX, OVERWRITTEN_MAX, REAP_SLICE_MAX};

/// So few tombstones that all may be deleted ones, or so many that the bound of a name is reached first.
pub(super) const TOMBSTONES_MAX: [u64; 2] = [3, 14];

const CLOCK_STEP: Duration = Duration::from_nanos(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grave {
    stored_at: WallTime,
    went_at: WallTime,
    file: FileId,
    index: u64,
    reason: Reason,
}

/// So few sessions and serials that all that can happen to them does, within the times of `any_command`.
pub(super) const fn bounds(tombstones: u64) -> Bounds {
    Bounds { tombstones, sessions: 2, serials: 3, session_idle: Duration::from_nanos(30), clock_step: CLOCK_STEP }
}

#[derive(Clone, Debug, Default)]
struct ModelSession {
    used_at: WallTime,
    used_index: u64,
    outcomes: BTreeMap<u64, Outcome>,
}

/// What the state should be, without any cleverness.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    tombstones_max: u64,
    pub(super) names: BTreeMap<Name, NameEntry>,
    graves: BTreeMap<(Name, u64), Grave>,
    /// What is known of a content, and the index of its newest put.
    manifests: BTreeMap<FileId, (Manifest, u64)>,
    time: WallTime,
    epoch: u64,
    open: Option<Sweep>,
    completed: Option<CompletedSweep>,
    cleaned_at: u64,
    sessions: BTreeMap<u64, ModelSession>,
    ruled: bool,
    doubtful_since: Option<WallTime>,
    /// What was reached, in words.
    pub(super) seen: BTreeSet<&'static str>,
}

impl Model {
    pub(super) fn new(tombstones_max: u64) -> Self {
        Self { tombstones_max, ..Self::default() }
    }

    pub(super) fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        let outcome = match command {
            Command::RegisterSession { time } => {
                self.step(*time);
                let session = ModelSession { used_at: self.time, used_index: index, ..ModelSession::default() };
                self.sessions.insert(index, session);
                Outcome::SessionRegistered { session: index }
            }
            Command::InSession { session, serial, command } => {
                let outcome = self.in_session(index, *session, *serial, command);
                if matches!(outcome, Outcome::StaleLease { .. }) {
                    return outcome;
                }
                outcome
            }
            plain => return self.plain(index, plain),
        };
        if let Some((id, session)) = self.sessions.iter().min_by_key(|(_, session)| session.used_index) {
            let over = session.used_at.as_nanos() + 30 <= self.time.as_nanos();
            let (id, over) = (*id, over && self.doubtful_since.is_none());
            if over || self.sessions.len() > 2 {
                self.seen.insert(if over { "a session that is over" } else { "a session too many" });
                self.sessions.remove(&id);
            }
        }
        outcome
    }

    fn step(&mut self, time: WallTime) {
        let step = time.as_nanos().saturating_sub(self.time.as_nanos());
        self.time = self.time.max(time);
        let doubted = |since: WallTime| self.time.as_nanos() - since.as_nanos();
        if self.ruled && step > 20 {
            self.doubtful_since = Some(self.time);
        } else if self.doubtful_since.is_some_and(|since| doubted(since) >= 20) {
            self.seen.insert("a doubt that ends by itself");
            self.doubtful_since = None;
        }
    }

    fn in_session(&mut self, index: u64, id: u64, serial: u64, command: &Command) -> Outcome {
        let now = self.time.max(command.time());
        let mut then = self.clone();
        then.step(now);
        let known = self.sessions.get(&id).cloned();
        let in_use = |session: &ModelSession| session.used_at.as_nanos() + 30 > now.as_nanos();
        let Some(session) = known.filter(|session| then.doubtful_since.is_some() || in_use(session)) else {
            self.step(now);
            return Outcome::SessionUnknown;
        };
        let outcome = if session.outcomes.last_key_value().is_some_and(|(highest, _)| serial + 3 <= *highest) {
            self.step(now);
            Outcome::SerialTooOld
        } else if let Some(outcome) = session.outcomes.get(&serial) {
            self.step(now);
            self.seen.insert("a command that is repeated");
            *outcome
        } else {
            let outcome = self.plain(index, command);
            if matches!(outcome, Outcome::StaleLease { .. }) {
                self.seen.insert("a stale put in a session");
                return outcome;
            }
            let outcomes = &mut self.sessions.get_mut(&id).unwrap().outcomes;
            if outcomes.last_key_value().is_some_and(|(highest, _)| *highest > serial) {
                self.seen.insert("a serial out of order");
            }
            outcomes.insert(serial, outcome);
            let highest = *outcomes.last_key_value().unwrap().0;
            outcomes.retain(|serial, _| serial + 3 > highest);
            outcome
        };
        let session = self.sessions.get_mut(&id).unwrap();
        (session.used_at, session.used_index) = (self.time, index);
        outcome
    }

    fn plain(&mut self, index: u64, command: &Command) -> Outcome {
        if matches!(command, Command::Put { lease, .. } | Command::PutUntil { lease, .. } if *lease < self.epoch) {
            return Outcome::StaleLease { epoch: self.epoch };
        }
        if let Command::ResetClock { time } = command {
            self.seen.insert(if *time < self.time { "a clock that is set back" } else { "a clock that is set on" });
            (self.time, self.doubtful_since) = (*time, None);
            return Outcome::ClockSet;
        }
        self.step(command.time());
        if matches!(command, Command::Reap { .. } | Command::SweepStart { .. } | Command::SweepComplete { .. })
            && self.doubtful_since.is_some()
        {
            return Outcome::ClockDoubtful;
        }
        let outcome = self.decide(index, command);
        while self.graves.len() as u64 > self.tombstones_max {
            let oldest = |overwritten| {
                let graves = self.graves.iter();
                let graves = graves.filter(move |(_, grave)| (grave.reason == Reason::Overwritten) == overwritten);
                graves.min_by_key(|((_, version), grave)| (grave.index, *version)).map(|(key, _)| key.clone())
            };
            let (what, key) = match (oldest(true), oldest(false)) {
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
        | Command::PutUntil { name, expect, .. }
        | Command::Delete { name, expect, .. }
        | Command::Undelete { name, expect, .. }
        | Command::Purge { name, expect, .. } = command
            && let Some(current) = self.unmet(name, *expect)
        {
            return Outcome::Conflict { current };
        }
        match command {
            Command::Put { name, manifest, .. } => self.put(index, name, manifest, 0),
            Command::PutUntil { name, manifest, ttl, .. } => self.put(index, name, manifest, *ttl),
            Command::Expire { limit, .. } => self.expire(index, *limit),
            Command::Delete { name, .. } => match self.alive(name) {
                Some(entry) => {
                    self.names.remove(name);
                    self.bury(index, name, &entry, Reason::Deleted);
                    Outcome::Deleted
                }
                None => Outcome::NotFound,
            },
            Command::Undelete { name, version, .. } => {
                self.lapse(index, name);
                let version = if *version == 0 { self.versions(name).last().copied() } else { Some(*version) };
                match version.and_then(|version| self.graves.remove(&(name.clone(), version))) {
                    Some(grave) => self.mean(index, name, grave.file, None),
                    None => Outcome::NotFound,
                }
            }
            Command::Purge { name, .. } => {
                self.lapse(index, name);
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
            Command::Rename { from, to, expect_from, expect_to, .. } => {
                self.rename(index, from, to, (*expect_from, *expect_to))
            }
            whole => self.decide_whole(index, whole),
        }
    }

    /// What changes no single name.
    fn decide_whole(&mut self, index: u64, command: &Command) -> Outcome {
        match command {
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
                let Self { tombstones_max, time, epoch, open, completed, ruled, doubtful_since, .. } = *self;
                let (seen, sessions) = (core::mem::take(&mut self.seen), core::mem::take(&mut self.sessions));
                let emptied =
                    Self { tombstones_max, time, epoch, open, completed, ruled, doubtful_since, ..Self::default() };
                *self = Self { seen, sessions, ..emptied };
                Outcome::Cleaned
            }
            Command::SetClockRule { on, .. } => {
                self.ruled = *on;
                self.doubtful_since = self.doubtful_since.filter(|_| *on);
                Outcome::ClockSet
            }
            Command::ConfirmClock { .. } => {
                self.doubtful_since = None;
                Outcome::ClockSet
            }
            other => unreachable!("{other:?} is looked at elsewhere"),
        }
    }

    /// The version that a name has, if that is not what is expected.
    fn unmet(&self, name: &Name, expect: Expect) -> Option<Option<u64>> {
        let current = self.alive(name).map(|entry| entry.version);
        match expect {
            Expect::Absent if current.is_some() => Some(current),
            Expect::Version(version) if current != Some(version) => Some(current),
            Expect::Any | Expect::Absent | Expect::Version(_) => None,
        }
    }

    fn rename(&mut self, index: u64, from: &Name, to: &Name, expect: (Expect, Expect)) -> Outcome {
        if let Some(current) = self.unmet(from, expect.0) {
            return Outcome::Conflict { current };
        }
        match (from == to, self.alive(from)) {
            (true, Some(entry)) => return Outcome::Renamed { version: entry.version },
            (true, None) => return Outcome::NotFound,
            (false, _) => {}
        }
        if let Some(current) = self.unmet(to, expect.1) {
            return Outcome::TargetConflict { current };
        }
        let Some(entry) = self.alive(from) else { return Outcome::NotFound };
        self.names.remove(from);
        self.seen.insert(if self.is_missing(&entry.file) { "a rename of what is missing" } else { "a rename" });
        self.mean(index, to, entry.file, entry.expires_at);
        Outcome::Renamed { version: index }
    }

    /// What a name means that has not expired.
    fn alive(&self, name: &Name) -> Option<NameEntry> {
        self.names.get(name).copied().filter(|entry| entry.expires_at.is_none_or(|at| at > self.time))
    }

    fn put(&mut self, index: u64, name: &Name, manifest: &Manifest, ttl: u64) -> Outcome {
        self.manifests.insert(manifest.file, (manifest.clone(), index));
        let expires_at = (ttl > 0).then(|| WallTime::from_nanos(self.time.as_nanos() + ttl));
        self.mean(index, name, manifest.file, expires_at)
    }

    fn expire(&mut self, index: u64, limit: u32) -> Outcome {
        let expired = self.names.iter().filter(|(name, _)| self.alive(name).is_none());
        let mut expired: Vec<_> =
            expired.map(|(name, entry)| (entry.expires_at, entry.version, name.clone())).collect();
        expired.sort();
        let limit = usize::try_from(limit.min(EXPIRE_SLICE_MAX)).unwrap();
        let more = expired.len() > limit;
        expired.truncate(limit);
        for (_, _, name) in &expired {
            self.lapse(index, name);
        }
        if expired.len() > 1 {
            self.seen.insert("several names that expire at once");
        }
        Outcome::Expired { count: u32::try_from(expired.len()).unwrap(), more }
    }

    /// An expired name goes as if it had been deleted.
    fn lapse(&mut self, index: u64, name: &Name) {
        if self.alive(name).is_none()
            && let Some(entry) = self.names.remove(name)
        {
            self.bury(index, name, &entry, Reason::Expired);
        }
    }

    fn mean(&mut self, index: u64, name: &Name, file: FileId, expires_at: Option<WallTime>) -> Outcome {
        if self.names.contains_key(name) && self.alive(name).is_none() {
            self.seen.insert("a name that has expired and is stored again");
        }
        self.lapse(index, name);
        match self.names.remove(name) {
            Some(old) => self.bury(index, name, &old, Reason::Overwritten),
            None => {
                for (_, grave) in self.graves.iter_mut().filter(|((other, _), _)| other == name) {
                    if grave.reason != Reason::Overwritten {
                        self.seen.insert("a deleted name that is stored again");
                    }
                    grave.reason = Reason::Overwritten;
                }
            }
        }
        self.names.insert(name.clone(), NameEntry { version: index, stored_at: self.time, file, expires_at });
        let versions = self.versions(name);
        if versions.len() > OVERWRITTEN_MAX {
            self.seen.insert("an overwritten version too many of a name");
            self.graves.remove(&(name.clone(), versions[0]));
        }
        Outcome::Stored { version: index }
    }

    fn bury(&mut self, index: u64, name: &Name, old: &NameEntry, reason: Reason) {
        let NameEntry { version, stored_at, file, expires_at: _ } = *old;
        let grave = Grave { stored_at, went_at: self.time, file, index, reason };
        assert_eq!(self.graves.insert((name.clone(), version), grave), None);
        if reason != Reason::Overwritten && self.versions(name).len() > OVERWRITTEN_MAX {
            self.seen.insert("a deleted version on top of all overwritten ones");
        }
    }

    /// In order of age, up to the first that is too young: with a clock that was set back, younger ones may be older.
    fn reap(&mut self, before: WallTime, limit: u32) -> Outcome {
        let mut old: Vec<_> = self.graves.iter().map(|(key, grave)| (grave.index, key.1, key.clone())).collect();
        old.sort();
        let young = old.iter().position(|(_, _, key)| self.graves[key].went_at >= before);
        old.truncate(young.unwrap_or(old.len()));
        let limit = usize::try_from(limit.min(REAP_SLICE_MAX)).unwrap();
        let more = old.len() > limit;
        old.truncate(limit);
        for (_, _, key) in &old {
            self.graves.remove(key);
        }
        Outcome::Reaped { count: u32::try_from(old.len()).unwrap(), more }
    }

    fn versions(&self, name: &Name) -> Vec<u64> {
        self.graves.keys().filter(|(other, _)| other == name).map(|(_, version)| *version).collect()
    }

    pub(super) fn is_missing(&self, file: &FileId) -> bool {
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
        assert_eq!((state.time(), state.doubtful_since()), (self.time, self.doubtful_since));
        assert_eq!(
            (state.epoch(), state.open_sweep(), state.completed_sweep()),
            (self.epoch, self.open, self.completed)
        );
        assert_eq!(state.clean_floor(), self.cleaned_at);
        let names: Vec<_> = state.names("", None).map(|(name, entry)| (name, *entry)).collect();
        assert_eq!(names, self.names.clone().into_iter().collect::<Vec<_>>());
        assert_eq!(state.name_count(), self.names.len() as u64);
        for (name, entry) in &self.names {
            assert_eq!(state.name_at(name, self.time).copied(), self.alive(name));
            let stat = state.stat(&Target::Name(name.clone())).unwrap().0;
            let names = self.holders(&entry.file).0;
            assert_eq!((stat.version, stat.names, stat.missing), (entry.version, names, self.is_missing(&entry.file)));
        }
        assert_eq!(state.session_count(), self.sessions.len() as u64);
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
    pub(super) fn aim(&self, command: Command, pick: usize) -> Command {
        if let Command::InSession { session, serial, command } = command {
            let known = self.sessions.keys().nth(pick / 3 % 2).copied();
            let session = if pick.is_multiple_of(7) { session } else { known.unwrap_or(session) };
            return Command::InSession { session, serial, command: Box::new(self.aim_plain(*command, pick)) };
        }
        self.aim_plain(command, pick)
    }

    fn aim_plain(&self, mut command: Command, pick: usize) -> Command {
        if pick.is_multiple_of(2) {
            return command;
        }
        if let Command::Put { name, expect, .. }
        | Command::PutUntil { name, expect, .. }
        | Command::Delete { name, expect, .. }
        | Command::Undelete { name, expect, .. }
        | Command::Purge { name, expect, .. } = &mut command
            && matches!(expect, Expect::Version(_))
        {
            *expect = self.names.get(name).map_or(Expect::Absent, |entry| Expect::Version(entry.version));
        }
        match &mut command {
            Command::Put { lease, .. } | Command::PutUntil { lease, .. } => *lease = self.epoch + *lease / 4,
            Command::Undelete { name, version, .. } => {
                let versions = self.versions(name);
                *version = versions.get(pick / 2 % (versions.len() + 1)).copied().unwrap_or(0);
            }
            Command::SweepComplete { epoch, .. } => *epoch = self.epoch,
            Command::Rename { from, .. } => {
                if let Some(name) = self.names.keys().nth(pick / 2 % 3) {
                    *from = name.clone();
                }
            }
            Command::Delete { .. }
            | Command::Expire { .. }
            | Command::SetClockRule { .. }
            | Command::ConfirmClock { .. }
            | Command::ResetClock { .. }
            | Command::Purge { .. }
            | Command::Reap { .. }
            | Command::SweepStart { .. }
            | Command::Clean { .. }
            | Command::DeepClean { .. }
            | Command::RegisterSession { .. }
            | Command::InSession { .. } => {}
        }
        command
    }
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
            let outcome = state.apply_within(index, &command, &bounds(tombstones_max));
            prop_assert_eq!(outcome, model.apply(index, &command), "{:?}", command);
            state.check_within(&bounds(tombstones_max));
            applied.push((index, command));
            if freeze.contains(&at) {
                frozen.push((state.clone(), model.clone(), state.root(), state.sessions_root()));
            }
        }
        model.assert_is(&state);
        for (state, model, root, sessions_root) in frozen {
            model.assert_is(&state);
            prop_assert_eq!((state.root(), state.sessions_root()), (root, sessions_root), "a frozen state stays as it was");
        }
        // The same commands again, with roots asked for on the way.
        let mut again = State::new();
        for (index, command) in applied {
            again.apply_within(index, &command, &bounds(tombstones_max));
            let _ = (again.root(), again.sessions_root());
        }
        prop_assert_eq!(state.root(), again.root(), "the same commands give the same state");
        prop_assert_eq!(state.sessions_root(), again.sessions_root(), "and the same sessions");
    }
}
