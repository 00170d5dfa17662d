//! The ledger as its journal tells it at a start.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::command::Command;
use super::entry::Entry;
use super::log::Log;
use super::state::State as Ledger;
use crate::config::Config;
use crate::disk::boot::BootRecord;
use crate::disk::damage::{Damage, DamageKind};
use crate::disk::fresh::Fresh;
use crate::disk::record::FileKind;
use crate::disk::recover::{Ending, Recovery as Files, Standing, Step as FileStep};
use crate::disk::scan::Record;
use crate::disk::stray::Strays;
use crate::disk::{DiskError, DiskRequest, DiskResult, File};
use crate::limits::DAMAGES_MAX;
use crate::note::Note;

/// What recovery wants, or has made.
#[derive(Debug)]
pub enum Step {
    /// Perform this and call [`Recovery::done`].
    Disk(DiskRequest),
    /// Something to tell.
    Note(Note),
    /// The ledger is ready; see [`Recovery::into_recovered`].
    Ready,
}

/// The ledger at a start.
#[derive(Debug)]
pub struct Recovered {
    /// What names mean, as far as it could be read.
    pub ledger: Ledger,
    /// The log that goes on.
    pub log: Log,
    /// Entries applied.
    pub entries: u64,
    /// By volume, the largest position that an entry relies on (rule J6).
    pub volumes: BTreeMap<u64, u64>,
    /// Entries lost. If there are any, names can't be trusted.
    pub damages: Vec<Damage>,
}

#[derive(Debug)]
enum State {
    Scanning(Box<Files>),
    /// Publishing the fresh segment that has the tail's entries.
    Publishing(Ending, Fresh),
    Ready(Ending, Option<Fresh>),
}

/// No log ever gets to a larger index, so that counting on never overflows.
const INDEX_MAX: u64 = u64::MAX / 2;

/// Recovery of the journal. Pulled: ask for steps, feed results.
#[derive(Debug)]
pub struct Recovery {
    config: Config,
    boot: BootRecord,
    state: Option<State>,
    ledger: Ledger,
    /// The numbers of the segments that are there, ascending.
    segments: Vec<u64>,
    strays: Strays,
    /// Whether anything is known to be lost.
    is_damaged: bool,
    last_index: u64,
    entries: u64,
    volumes: BTreeMap<u64, u64>,
    /// Entries that are not known durable, encoded, to be copied: those of the tail, and those of an older segment if
    /// the next one has nothing whole.
    tail: Vec<Vec<u8>>,
    /// Damage that only the entries show, at most [`DAMAGES_MAX`].
    damages: Vec<Damage>,
    /// Records lost behind the last entry that counts. Each may have been an entry.
    lost: u64,
    read_only: Option<DiskError>,
    notes: Vec<Note>,
}

impl Recovery {
    /// Recovery of `segments` (number and length, ascending). With `read_only` nothing is written, and the tail's
    /// entries count where they are.
    #[must_use]
    pub fn new(config: &Config, boot: BootRecord, segments: Vec<(u64, u64)>, read_only: Option<DiskError>) -> Self {
        let numbers = segments.iter().map(|(number, _)| *number).collect();
        let files = Files::new(boot.key, FileKind::Journal, segments, BTreeMap::new());
        Self {
            config: *config,
            boot,
            segments: numbers,
            strays: Strays::default(),
            is_damaged: false,
            state: Some(State::Scanning(Box::new(files))),
            ledger: Ledger::new(),
            last_index: 0,
            entries: 0,
            volumes: BTreeMap::new(),
            tail: Vec::new(),
            damages: Vec::new(),
            lost: 0,
            read_only,
            notes: Vec::new(),
        }
    }

    /// No new segment takes the place of one of these strays. A segment that is there only under another name is missing;
    /// where it ends is not known, so nothing is written that would say so, and all of it counts once it is back.
    #[must_use]
    pub fn beside(mut self, strays: Strays) -> Self {
        for origin in strays.iter().filter_map(|stray| stray.origin) {
            let File::Journal(segment) = origin else { continue };
            if self.segments.binary_search(&segment).is_err() {
                self.is_damaged = true;
                self.read_only.get_or_insert(DiskError::NotFound);
            }
        }
        Self { strays, ..self }
    }

    /// The next step.
    pub fn advance(&mut self) -> Step {
        loop {
            if let Some(note) = self.notes.pop() {
                return Step::Note(note);
            }
            let (state, step) = match self.state.take().expect("there is always a state") {
                State::Scanning(files) => self.scan(files),
                State::Publishing(ending, fresh) => self.publish(ending, fresh),
                State::Ready(ending, fresh) => (State::Ready(ending, fresh), Some(Step::Ready)),
            };
            self.state = Some(state);
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// The result of the request that was asked for.
    pub fn done(&mut self, result: &DiskResult) {
        match self.state.as_mut().expect("there is always a state") {
            State::Scanning(files) => files.done(result),
            State::Publishing(_, fresh) => {
                if let Err(error) = fresh.done(result) {
                    self.give_up(error);
                }
            }
            State::Ready(..) => panic!("a finished recovery asks for nothing"),
        }
    }

    /// The ledger.
    ///
    /// # Panics
    /// When [`Step::Ready`] did not come yet.
    #[must_use]
    pub fn into_recovered(self) -> Recovered {
        let Some(State::Ready(ending, fresh)) = self.state else { panic!("the ledger is not ready") };
        let writer = fresh.and_then(Fresh::into_writer);
        // The index of a lost entry is not given again: the disk may yet give the entry back.
        let last_index = self.last_index.saturating_add(self.lost).min(INDEX_MAX);
        let next = FileKind::Journal.file(self.strays.next(FileKind::Journal, ending.last.number));
        let mut log = Log::new(&self.config, self.boot, last_index, ending.last, writer).beside(self.strays);
        if let Some(error) = self.read_only {
            let file = ending.refused.map_or(next, |(file, _)| file);
            log.stop(file, error);
        }
        let mut damages = ending.damages;
        damages.extend(self.damages);
        Recovered { ledger: self.ledger, log, entries: self.entries, volumes: self.volumes, damages }
    }

    fn scan(&mut self, mut files: Box<Files>) -> (State, Option<Step>) {
        match files.advance() {
            FileStep::Disk(request) => (State::Scanning(files), Some(Step::Disk(request))),
            FileStep::Note(note) => {
                if let Note::Damaged(Damage { first, last, .. }) = note {
                    self.note_lost(1 + last.saturating_sub(first));
                }
                (State::Scanning(files), Some(Step::Note(note)))
            }
            FileStep::Record { number, record, standing } => {
                self.entry(number, &record, standing != Standing::Durable, files.doubt_before(number));
                (State::Scanning(files), None)
            }
            FileStep::End => {
                let ending = files.into_ending();
                self.miss_strays(&ending);
                if let Some((file, error)) = ending.refused {
                    self.notes.push(Note::WritesStopped { file, error });
                    self.read_only.get_or_insert(error);
                }
                let is_complete = ending.closed || ending.last.number == 0;
                if is_complete || self.read_only.is_some() {
                    return (State::Ready(ending, None), None);
                }
                let mut fresh = Fresh::new(&self.boot, FileKind::Journal, ending.last, &self.strays);
                for body in &self.tail {
                    fresh.entry(body);
                }
                fresh.publish();
                (State::Publishing(ending, fresh), None)
            }
        }
    }

    fn publish(&mut self, ending: Ending, mut fresh: Fresh) -> (State, Option<Step>) {
        if let Some(request) = fresh.request() {
            return (State::Publishing(ending, fresh), Some(Step::Disk(request)));
        }
        assert!(fresh.is_published(), "a fresh segment ends with its publication");
        if !self.tail.is_empty() {
            let from = File::Journal(ending.last.number);
            self.notes.push(Note::TailCopied { from, to: fresh.file(), records: self.tail.len() as u64 });
        }
        (State::Ready(ending, Some(fresh)), None)
    }

    /// The fresh segment can't be made: the ledger only reads.
    fn give_up(&mut self, error: DiskError) {
        self.read_only = Some(error);
        let Some(State::Publishing(ending, fresh)) = self.state.take() else { panic!("only a copy gives up") };
        self.notes.push(Note::WritesStopped { file: fresh.file(), error });
        self.state = Some(State::Ready(ending, None));
    }

    /// Applies an entry. One that was copied by an earlier boot comes twice and counts once. A hole in the indexes is no
    /// damage by itself: whatever is lost is known by its position in a file, and the log leaves a hole behind it, which
    /// stays when the file is brought back. But it is where entries may have been lost without a trace (`doubt`).
    fn entry(&mut self, number: u64, record: &Record, to_copy: bool, doubt: Option<Damage>) {
        let entry = Entry::decode(&record.covered).ok().filter(|entry| entry.index <= INDEX_MAX);
        let decoded = entry.and_then(|entry| Some((Command::decode(&entry.command).ok()?, entry)));
        let Some((command, entry)) = decoded else {
            self.lose(number, record);
            // Copied like the rest of the tail, or the next start would not know of the loss.
            if to_copy {
                self.tail.push(record.covered.to_vec());
            }
            return;
        };
        if entry.index <= self.last_index {
            return;
        }
        if let Some(damage) = doubt.filter(|_| entry.index > self.last_index + 1 && !self.is_damaged) {
            self.report(damage);
            self.is_damaged = true;
        }
        self.last_index = entry.index;
        self.lost = 0;
        self.entries += 1;
        self.ledger.apply(entry.index, &command);
        for (volume, position) in entry.volumes {
            let floor = self.volumes.entry(volume).or_default();
            *floor = position.max(*floor);
        }
        if to_copy {
            self.tail.push(record.covered.to_vec());
        }
    }

    /// Segments that are there only under another name, unless a head has told of them.
    fn miss_strays(&mut self, ending: &Ending) {
        for origin in self.strays.clone().iter().filter_map(|stray| stray.origin) {
            let File::Journal(segment) = origin else { continue };
            let is_told = ending.damages.iter().any(|damage| damage.file == origin);
            if self.segments.binary_search(&segment).is_err() && !is_told {
                self.report(Damage { file: origin, offset: 0, first: 1, last: 1, kind: DamageKind::Missing });
                self.note_lost(1);
            }
        }
    }

    /// A whole record that is no entry of this program.
    fn lose(&mut self, number: u64, record: &Record) {
        let position = record.header.position;
        let damage = Damage {
            file: File::Journal(number),
            offset: record.offset,
            first: position,
            last: position,
            kind: DamageKind::Broken,
        };
        self.report(damage);
        self.note_lost(1);
    }

    fn report(&mut self, damage: Damage) {
        self.notes.push(Note::Damaged(damage));
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(damage);
        }
    }

    const fn note_lost(&mut self, records: u64) {
        self.is_damaged = true;
        self.lost = self.lost.saturating_add(records);
    }
}

#[cfg(test)]
mod tests;
