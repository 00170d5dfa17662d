//! The reference model: what each name may mean. A register of possible values, which a reading resolves and which
//! then never goes back.
//!
//! Writers of one name come one after the other; readers overlap with them. A write becomes possible when its commit is
//! sent, certain when it is acknowledged, and stays possible when nobody said how it ended. [`graves`] has what tombstones
//! keep, [`cleans`] what is missing.

mod cleans;
mod graves;

use std::collections::{BTreeMap, BTreeSet};

use dps_core::id::FileId;
use dps_core::ledger::file::TombstoneStat;
use dps_core::ledger::name::Name;
use dps_core::time::WallTime;

use cleans::Cleans;
pub(crate) use cleans::End;
use graves::Graves;
pub(crate) use graves::{Change, Done};

/// A write, to be acknowledged or refused.
pub(crate) type WriteId = u64;

/// A point in the model's history.
pub(crate) type Mark = u64;

#[derive(Clone, Debug)]
struct Candidate {
    write: WriteId,
    /// `None` is a deletion.
    file: Option<FileId>,
    version: Option<u64>,
    /// The start of the node during which it was written.
    incarnation: u64,
}

#[derive(Clone, Debug, Default)]
struct Register {
    /// What the name may mean, oldest write first. Empty as long as nobody wrote: then it means nothing.
    values: Vec<Candidate>,
    /// What was possible from each mark on.
    history: Vec<(Mark, Vec<Option<FileId>>)>,
    /// Every content that was ever possible.
    ever: BTreeSet<FileId>,
    /// What its tombstones keep.
    graves: Graves,
    /// The write under way, of which it is not known whether it took place, and the ledger time before which it did not.
    open: Option<(WriteId, Change, WallTime)>,
    /// When a write began or ended last.
    changed: Mark,
}

/// Who saw what a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reader {
    /// The start of the node during which it was seen.
    pub(crate) incarnation: u64,
    /// Whether what was seen stays. A start that can't write shows what it found, and makes nothing durable.
    pub(crate) decides: bool,
}

/// Why an observation can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refuted {
    /// The name meant this once, or nothing, but an acknowledged or observed change is missing.
    Lost,
    /// The name could never mean this.
    Phantom,
    /// The content is right, the version is not.
    Version { expected: u64 },
}

/// What every name may mean.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    registers: BTreeMap<Name, Register>,
    /// Every content that was ever possible under any name.
    contents: BTreeSet<FileId>,
    cleans: Cleans,
    /// The latest ledger time that is known and durable: whatever begins now is no earlier.
    ledger_time: WallTime,
    clock: u64,
}

impl Model {
    /// Now, for an observation that begins now.
    pub(crate) const fn mark(&self) -> Mark {
        self.clock
    }

    /// Every name that was ever written.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.registers.keys()
    }

    fn change<T>(&mut self, name: &Name, change: impl FnOnce(&mut Register, u64) -> T) -> T {
        self.clock += 1;
        let register = self.registers.entry(name.clone()).or_default();
        let result = change(register, self.clock);
        register.history.push((self.clock, register.possible()));
        result
    }

    /// The commit of a write is sent.
    pub(crate) fn begin(&mut self, name: &Name, change: Change, incarnation: u64) -> WriteId {
        let files: Vec<Option<FileId>> = match change {
            Change::Put(file) => {
                self.cleans.put_begins(file);
                vec![Some(file)]
            }
            Change::Delete | Change::Purge => vec![None],
            Change::Undelete(version) => self.restorable(name, version, WallTime::default()),
        };
        self.contents.extend(files.iter().copied().flatten());
        let (undeletes, after) = (matches!(change, Change::Undelete(_)), self.ledger_time);
        self.change(name, |register, write| {
            if register.values.is_empty() {
                register.values.push(Candidate { write: 0, file: None, version: None, incarnation: 0 });
            }
            for file in files.into_iter().filter(|file| !undeletes || file.is_some()) {
                register.values.push(Candidate { write, file, version: None, incarnation });
                register.ever.extend(file);
            }
            (register.open, register.changed) = (Some((write, change, after)), write);
            write
        })
    }

    /// A write was acknowledged.
    pub(crate) fn acknowledge(&mut self, name: &Name, write: WriteId, done: Done) {
        let Done { version, file, after } = done;
        self.ledger_time = self.ledger_time.max(after);
        let ended = self.change(name, |register, now| {
            let other = |candidate: &Candidate| file.is_some() && candidate.file != file;
            register
                .values
                .retain(|candidate| candidate.write > write || (candidate.write == write && !other(candidate)));
            let first = register.values.first_mut().filter(|candidate| candidate.write == write);
            if let Some(candidate) = first {
                candidate.version = version.or(candidate.version);
            }
            let open = register.close(write, now);
            if let Some((change, before)) = open {
                register.graves.done(change, &Done { after: after.max(before), ..done });
            }
            open
        });
        self.put_ends(ended, write, End::Done);
    }

    /// A write was refused: it never took place. False when somebody has already seen it.
    pub(crate) fn refuse(&mut self, name: &Name, write: WriteId) -> bool {
        let (not_seen, ended) = self.change(name, |register, now| {
            let seen = register.values.first().is_some_and(|candidate| candidate.write == write);
            if !seen {
                register.values.retain(|candidate| candidate.write != write);
            }
            (!seen, register.close(write, now))
        });
        self.put_ends(ended, write, End::Refused);
        not_seen
    }

    /// Nobody says how a write has ended.
    pub(crate) fn lose_sight(&mut self, name: &Name, write: WriteId) {
        let ended = self.change(name, |register, now| {
            let open = register.close(write, now);
            if let Some((change, after)) = open {
                register.graves.perhaps(change, &Done { after, ..Done::default() });
            }
            open
        });
        self.put_ends(ended, write, End::Unknown);
    }

    /// The node has stopped: nobody says how what was under way has ended.
    pub(crate) fn stopped(&mut self) {
        let open = |(name, register): (&Name, &Register)| Some((name.clone(), register.open?.0));
        let open: Vec<(Name, WriteId)> = self.registers.iter().filter_map(open).collect();
        for (name, write) in open {
            self.lose_sight(&name, write);
        }
        self.clock += 1;
        self.cleans.stopped(self.clock);
    }

    fn put_ends(&mut self, ended: Option<(Change, WallTime)>, began: WriteId, end: End) {
        if let Some((Change::Put(file), _)) = ended {
            self.cleans.put_ends(file, began, end, self.clock);
        }
    }

    /// A clean is sent.
    pub(crate) fn begin_clean(&mut self) -> WriteId {
        self.clock += 1;
        self.cleans.begin(self.clock);
        self.clock
    }

    /// A clean has ended.
    pub(crate) fn end_clean(&mut self, clean: WriteId, end: End) {
        self.clock += 1;
        self.cleans.end(clean, end, self.clock);
    }

    /// Whether the content may be missing now, and whether it must be.
    pub(crate) fn is_missing(&self, file: FileId) -> (bool, bool) {
        (self.cleans.may_be_missing(file), self.cleans.must_be_missing(file))
    }

    /// Somebody saw whether a content is missing.
    pub(crate) fn observe_missing(&mut self, file: FileId, missing: bool) {
        self.cleans.observe(file, missing);
    }

    /// Whether it is known what may be brought back under this name.
    pub(crate) fn knows_graves(&self, name: &Name) -> bool {
        self.registers.get(name).is_none_or(|register| register.graves.are_known())
    }

    /// A version that may be brought back under this name.
    pub(crate) fn buried_version(&self, name: &Name, at: usize) -> Option<u64> {
        self.registers.get(name)?.graves.version(at)
    }

    /// What an undelete may bring back, `None` for nothing. Reaped may be what went before `line`.
    pub(crate) fn restorable(&self, name: &Name, version: u64, line: WallTime) -> Vec<Option<FileId>> {
        self.registers.get(name).map_or_else(|| vec![None], |register| register.graves.restorable(version, line))
    }

    /// An undelete found nothing.
    pub(crate) fn nothing_restored(&mut self, name: &Name, version: u64, line: WallTime) {
        self.change(name, |register, _| register.graves.not_found(version, line));
    }

    /// Somebody saw all tombstones of a name, in a listing that began at `since`. Says nothing of a name that changes
    /// meanwhile.
    pub(crate) fn observe_graves(
        &mut self,
        name: &Name,
        listed: &[TombstoneStat],
        line: WallTime,
        since: Mark,
        decides: bool,
    ) -> Result<(), Refuted> {
        let Some(register) = self.registers.get_mut(name) else {
            return if listed.is_empty() { Ok(()) } else { Err(Refuted::Phantom) };
        };
        if register.open.is_some() || register.changed > since || register.graves.listed(listed, line, decides) {
            return Ok(());
        }
        let known = listed.iter().all(|stat| register.graves.may_keep(stat.file));
        Err(if known { Refuted::Lost } else { Refuted::Phantom })
    }

    /// Everything is gone.
    pub(crate) fn forget_all(&mut self) {
        let names: Vec<Name> = self.registers.keys().cloned().collect();
        for name in names {
            let write = self.begin(&name, Change::Purge, 0);
            self.acknowledge(&name, write, Done::default());
        }
    }

    /// What the name may have meant at some moment since `since`; `None` is no file.
    pub(crate) fn possible(&self, name: &Name, since: Mark) -> BTreeSet<Option<FileId>> {
        self.registers.get(name).map_or_else(|| BTreeSet::from([None]), |register| register.since(since).collect())
    }

    /// Whether the name may have meant this file at some moment since `since`, and whether it did all the time.
    pub(crate) fn means(&self, name: &Name, file: FileId, since: Mark) -> (bool, bool) {
        let Some(register) = self.registers.get(name) else { return (false, false) };
        let mut found = (false, true);
        for possible in register.since(since) {
            found = (found.0 || possible == Some(file), found.1 && possible == Some(file));
        }
        found
    }

    /// Whether the content was ever possible under any name.
    pub(crate) fn was_possible(&self, file: FileId) -> bool {
        self.contents.contains(&file)
    }

    /// The version that the name certainly has now.
    pub(crate) fn version(&self, name: &Name) -> Option<u64> {
        let values = &self.registers.get(name)?.values;
        if let [only] = values.as_slice() { only.version } else { None }
    }

    /// Somebody saw the name mean `file`, at some moment since `since`.
    pub(crate) fn observe(
        &mut self,
        name: &Name,
        file: Option<FileId>,
        version: Option<u64>,
        since: Mark,
        reader: Reader,
    ) -> Result<(), Refuted> {
        if !self.possible(name, since).contains(&file) {
            let ever =
                self.registers.get(name).is_some_and(|register| file.is_none_or(|id| register.ever.contains(&id)));
            return Err(if ever { Refuted::Lost } else { Refuted::Phantom });
        }
        let quiet = |register: &Register| register.open.is_none() && register.changed <= since;
        if reader.decides
            && let Some(register) = self.registers.get_mut(name).filter(|register| quiet(register))
        {
            register.graves.means(file, version);
        }
        if !reader.decides || self.registers.get(name).is_none_or(|register| register.values.is_empty()) {
            return Ok(());
        }
        self.change(name, |register, _| register.resolve(file, version, reader.incarnation))
    }
}

impl Register {
    /// A write has ended; returns what it was if it was under way.
    fn close(&mut self, write: WriteId, now: Mark) -> Option<(Change, WallTime)> {
        self.changed = now;
        let (_, change, after) = self.open.take_if(|(open, ..)| *open == write)?;
        Some((change, after))
    }

    /// Everything that was possible at some moment since `since`, with repetitions.
    fn since(&self, since: Mark) -> impl Iterator<Item = Option<FileId>> + '_ {
        let first = self.history.partition_point(|(mark, _)| *mark <= since);
        let never = if first == 0 { Some(None) } else { None };
        let files = self.history[first.saturating_sub(1)..].iter().flat_map(|(_, files)| files.iter().copied());
        never.into_iter().chain(files)
    }

    fn possible(&self) -> Vec<Option<FileId>> {
        if self.values.is_empty() { vec![None] } else { self.values.iter().map(|value| value.file).collect() }
    }

    /// Keeps what was seen, and later writes of this start of the node, which may still take place.
    fn resolve(&mut self, file: Option<FileId>, version: Option<u64>, incarnation: u64) -> Result<(), Refuted> {
        let same = |candidate: &Candidate| candidate.file == file;
        let fits =
            |candidate: &Candidate| same(candidate) && candidate.version.is_none_or(|v| version.is_none_or(|w| v == w));
        let Some(first) = self.values.iter().position(fits) else {
            // Seen, but only before a write that has ended since; or with another version.
            let known = self.values.iter().filter(|candidate| same(candidate)).find_map(|candidate| candidate.version);
            let alone = self.values.len() == 1;
            return match known {
                Some(expected) if alone && version.is_some_and(|v| v > expected) => Err(Refuted::Version { expected }),
                _ => Ok(()),
            };
        };
        let mut position = 0;
        self.values.retain(|candidate| {
            let later = position > first && candidate.incarnation == incarnation;
            position += 1;
            later || fits(candidate)
        });
        if let [only] = self.values.as_mut_slice() {
            only.version = only.version.or(version);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        Name::new(b"n").unwrap()
    }

    const fn reader(incarnation: u64) -> Reader {
        Reader { incarnation, decides: true }
    }

    fn put(number: u8) -> Change {
        Change::Put(FileId::from_bytes([number; 32]))
    }

    fn version(number: u64) -> Done {
        Done { version: Some(number), ..Done::default() }
    }

    fn file(number: u8) -> Option<FileId> {
        Some(FileId::from_bytes([number; 32]))
    }

    #[test]
    fn a_write_in_flight_may_be_seen_and_is_certain_then() {
        let mut model = Model::default();
        let since = model.mark();
        let first = model.begin(&name(), put(1), 0);
        model.acknowledge(&name(), first, version(1));
        let second = model.begin(&name(), put(2), 0);
        assert_eq!(model.observe(&name(), file(1), None, since, reader(0)), Ok(()), "the second is not certain");
        assert_eq!(model.observe(&name(), file(2), None, since, reader(0)), Ok(()));
        let now = model.mark();
        assert_eq!(model.observe(&name(), file(1), None, now, reader(0)), Err(Refuted::Lost), "readings never go back");
        assert_eq!(model.observe(&name(), file(1), None, since, reader(0)), Ok(()), "a reading that began before may");
        assert!(!model.refuse(&name(), second), "what was seen took place");
    }

    #[test]
    fn after_a_crash_the_outcome_is_open_until_it_is_read() {
        let mut model = Model::default();
        let first = model.begin(&name(), put(1), 0);
        model.acknowledge(&name(), first, version(1));
        model.begin(&name(), put(2), 0);
        model.begin(&name(), Change::Delete, 1);
        let since = model.mark();
        assert_eq!(model.possible(&name(), since), BTreeSet::from([file(1), file(2), None]));
        assert_eq!(model.observe(&name(), file(2), Some(7), since, reader(2)), Ok(()));
        let since = model.mark();
        assert_eq!(model.possible(&name(), since), BTreeSet::from([file(2)]));
        assert_eq!(model.version(&name()), Some(7));
        assert_eq!(model.observe(&name(), None, None, since, reader(2)), Err(Refuted::Lost));
    }

    #[test]
    fn an_old_value_stays_possible_while_a_write_of_this_start_is_open() {
        let mut model = Model::default();
        let first = model.begin(&name(), put(1), 0);
        model.acknowledge(&name(), first, Done::default());
        let second = model.begin(&name(), put(2), 0);
        let since = model.mark();
        assert_eq!(model.observe(&name(), file(1), None, since, reader(0)), Ok(()));
        assert!(model.possible(&name(), model.mark()).contains(&file(2)));
        assert!(model.refuse(&name(), second));
        assert_eq!(model.possible(&name(), model.mark()), BTreeSet::from([file(1)]));
    }

    #[test]
    fn a_reading_of_a_start_that_can_not_write_decides_nothing() {
        let mut model = Model::default();
        let first = model.begin(&name(), put(1), 0);
        model.acknowledge(&name(), first, version(1));
        model.begin(&name(), put(2), 0);
        let since = model.mark();
        let reader = Reader { incarnation: 1, decides: false };
        assert_eq!(model.observe(&name(), file(2), Some(2), since, reader), Ok(()));
        assert_eq!(model.possible(&name(), model.mark()), BTreeSet::from([file(1), file(2)]));
        assert_eq!(
            model.observe(&name(), file(3), None, since, reader),
            Err(Refuted::Phantom),
            "but it must be possible"
        );
    }

    #[test]
    fn what_was_never_committed_is_a_phantom() {
        let mut model = Model::default();
        assert_eq!(model.observe(&name(), file(3), None, 0, reader(0)), Err(Refuted::Phantom));
        assert_eq!(model.observe(&name(), None, None, 0, reader(0)), Ok(()));
    }
}
