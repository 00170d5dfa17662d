//! The reference model: what each name may mean. A register of possible values, which a reading resolves and which
//! then never goes back.
//!
//! Writers of one name come one after the other; readers overlap with them. A write becomes possible when its commit is
//! sent, certain when it is acknowledged, and stays possible when nobody said how it ended.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::id::FileId;
use dps_core::ledger::name::Name;

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
    pub(crate) fn begin(&mut self, name: &Name, file: Option<FileId>, incarnation: u64) -> WriteId {
        self.contents.extend(file);
        self.change(name, |register, write| {
            if register.values.is_empty() {
                register.values.push(Candidate { write: 0, file: None, version: None, incarnation: 0 });
            }
            register.values.push(Candidate { write, file, version: None, incarnation });
            register.ever.extend(file);
            write
        })
    }

    /// A write was acknowledged.
    pub(crate) fn acknowledge(&mut self, name: &Name, write: WriteId, version: Option<u64>) {
        self.change(name, |register, _| {
            register.values.retain(|candidate| candidate.write >= write);
            let first = register.values.first_mut().filter(|candidate| candidate.write == write);
            if let Some(candidate) = first {
                candidate.version = version.or(candidate.version);
            }
        });
    }

    /// A write was refused: it never took place. False when somebody has already seen it.
    pub(crate) fn refuse(&mut self, name: &Name, write: WriteId) -> bool {
        self.change(name, |register, _| {
            let seen = register.values.first().is_some_and(|candidate| candidate.write == write);
            if !seen {
                register.values.retain(|candidate| candidate.write != write);
            }
            !seen
        })
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
        if !reader.decides || self.registers.get(name).is_none_or(|register| register.values.is_empty()) {
            return Ok(());
        }
        self.change(name, |register, _| register.resolve(file, version, reader.incarnation))
    }
}

impl Register {
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

    fn file(number: u8) -> Option<FileId> {
        Some(FileId::from_bytes([number; 32]))
    }

    #[test]
    fn a_write_in_flight_may_be_seen_and_is_certain_then() {
        let mut model = Model::default();
        let since = model.mark();
        let first = model.begin(&name(), file(1), 0);
        model.acknowledge(&name(), first, Some(1));
        let second = model.begin(&name(), file(2), 0);
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
        let first = model.begin(&name(), file(1), 0);
        model.acknowledge(&name(), first, Some(1));
        model.begin(&name(), file(2), 0);
        model.begin(&name(), None, 1);
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
        let first = model.begin(&name(), file(1), 0);
        model.acknowledge(&name(), first, None);
        let second = model.begin(&name(), file(2), 0);
        let since = model.mark();
        assert_eq!(model.observe(&name(), file(1), None, since, reader(0)), Ok(()));
        assert!(model.possible(&name(), model.mark()).contains(&file(2)));
        assert!(model.refuse(&name(), second));
        assert_eq!(model.possible(&name(), model.mark()), BTreeSet::from([file(1)]));
    }

    #[test]
    fn a_reading_of_a_start_that_can_not_write_decides_nothing() {
        let mut model = Model::default();
        let first = model.begin(&name(), file(1), 0);
        model.acknowledge(&name(), first, Some(1));
        model.begin(&name(), file(2), 0);
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
