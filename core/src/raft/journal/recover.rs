//! What a start makes of the journal's segments: all that Raft's [`Start`](crate::raft::Start) needs, and the journal
//! that goes on.

mod replay;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use self::replay::Replay;
use super::codec::{State as Summary, encode_rely, encode_state};
use super::removal::{Old, Removal};
use super::{Doubt, Journal, Resume};
use crate::config::Config;
use crate::disk::boot::BootRecord;
use crate::disk::catalog::{self, Catalog, ReadStep, Reading};
use crate::disk::damage::{Damage, DamageKind};
use crate::disk::fresh::Fresh;
use crate::disk::record::{FileKind, Kind, Predecessor};
use crate::disk::recover::{Ending, Recovery as Files, Standing, Step as FileStep};
use crate::disk::scan::Record;
use crate::disk::stray::Strays;
use crate::disk::{DiskError, DiskRequest, DiskResult, File};
use crate::limits::{DAMAGES_MAX, STEP_BYTES_MAX, STEP_ITEMS_MAX};
use crate::note::Note;
use crate::raft::entry::{Entry, Position};
use crate::raft::membership::Membership;
use crate::raft::{Base, Vote};

/// What recovery wants, or has made.
#[derive(Debug)]
pub enum Step {
    /// Perform this and call [`Recovery::done`].
    Disk(DiskRequest),
    /// Something to tell.
    Note(Note),
    /// All is read; see [`Recovery::into_recovered`].
    Ready,
}

/// A log at a start.
#[derive(Debug)]
pub struct Recovered {
    /// The newest term and the vote in it.
    pub vote: Vote,
    /// Whether no newer vote may have been lost. If it may, the node must not vote as if this were its last.
    pub vote_certain: bool,
    /// The largest term whose leader the log was accepted from (rule R1).
    pub accepted: u64,
    /// Where the log begins.
    pub base: Base,
    /// The entries after that, dense.
    pub entries: Vec<Entry>,
    /// Entries that were found behind something lost. They are not the log's until what is before them is known (rule
    /// R3).
    pub beyond: Vec<Entry>,
    /// Whether the log was ever meant for more than one node.
    pub replicated: bool,
    /// What may be missing behind the last entry, if the log was ever replicated (rule R2).
    pub doubtful: Option<Doubt>,
    /// By volume, the largest position that an entry relies on (rule J6).
    pub volumes: BTreeMap<u64, u64>,
    /// Records lost.
    pub damages: Vec<Damage>,
    /// Why nothing can be written in this boot.
    pub read_only: Option<DiskError>,
    /// The journal that goes on.
    pub journal: Journal,
}

#[derive(Debug)]
enum State {
    /// Reading which segments there should be.
    Cataloging(Reading),
    /// Removing segments that had been removed before, or nearly, once both slots say so.
    Removing {
        publication: VecDeque<DiskRequest>,
        left: Vec<File>,
    },
    Scanning(Box<Files>),
    /// Making the footer of the last segment durable: a process that was killed may have left it unsynced. A segment that
    /// follows says nothing of it for ever, since it may be lost as a whole.
    Proving(Ending),
    /// Publishing the fresh segment; so many of the tail's records are in it.
    Publishing {
        ending: Ending,
        fresh: Fresh,
        copied: usize,
        finished: bool,
    },
    Ready(Ending, Option<Fresh>),
}

/// Recovery of the journal. Pulled: ask for steps, feed results.
#[derive(Debug)]
pub struct Recovery {
    config: Config,
    boot: BootRecord,
    /// Number and length of the segments that are to be read, ascending.
    segments: Vec<(u64, u64)>,
    strays: Strays,
    /// Whether nobody else ever had this log.
    for_one: bool,
    catalog: Option<Catalog>,
    state: Option<State>,
    replay: Replay,
    /// What came before the tail.
    before_tail: Option<(Summary, BTreeMap<u64, u64>)>,
    /// Records that are not known durable, to be copied.
    tail: Vec<(Kind, Bytes)>,
    /// Damage that only the records show, at most [`DAMAGES_MAX`].
    damages: Vec<Damage>,
    is_damaged: bool,
    /// The last record that was looked at.
    last_place: Option<(u64, u64, u64)>,
    read_only: Option<DiskError>,
    notes: Vec<Note>,
}

impl Recovery {
    /// Recovery of `segments` (number and length, ascending). A log of which nothing says where it begins has its first
    /// entry, and `members` before it. With `read_only` nothing is written, and the tail's records count where they
    /// are.
    #[must_use]
    pub fn new(
        config: &Config,
        boot: BootRecord,
        segments: Vec<(u64, u64)>,
        members: Arc<Membership>,
        read_only: Option<DiskError>,
    ) -> Self {
        Self {
            config: *config,
            boot,
            segments,
            strays: Strays::default(),
            for_one: false,
            catalog: None,
            state: Some(State::Cataloging(Reading::new(FileKind::Journal, boot.store))),
            replay: Replay::new(Base { position: Position::ZERO, membership: members }),
            before_tail: None,
            tail: Vec::new(),
            damages: Vec::new(),
            is_damaged: false,
            last_place: None,
            read_only,
            notes: Vec::new(),
        }
    }

    /// No new segment takes the place of one of these strays. A segment that is there only under another name is
    /// missing; where it ends is not known, so nothing is written that would say so.
    #[must_use]
    pub fn beside(self, strays: Strays) -> Self {
        Self { strays, ..self }
    }

    /// Nobody else ever had this log, whatever it has lost: it is that of a store of its own.
    #[must_use]
    pub fn of_one(self) -> Self {
        Self { for_one: true, ..self }
    }

    /// The next step.
    pub fn advance(&mut self) -> Step {
        loop {
            if let Some(note) = self.notes.pop() {
                return Step::Note(note);
            }
            let (state, step) = match self.state.take().expect("there is always a state") {
                State::Cataloging(reading) => self.read_catalog(reading),
                State::Removing { publication, left } => self.remove_again(publication, left),
                State::Scanning(files) => self.scan(files),
                State::Proving(ending) => {
                    let file = File::Journal(ending.last.number);
                    (State::Proving(ending), Some(Step::Disk(DiskRequest::Sync { file, directory: true })))
                }
                State::Publishing { ending, fresh, copied, finished } => self.publish(ending, fresh, copied, finished),
                State::Ready(ending, fresh) => (State::Ready(ending, fresh), Some(Step::Ready)),
            };
            self.state = Some(state);
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// The result of the request that was asked for.
    ///
    /// # Panics
    /// When none was.
    pub fn done(&mut self, result: &DiskResult) {
        match self.state.as_mut().expect("there is always a state") {
            State::Cataloging(reading) => reading.done(result),
            State::Removing { publication, left } if publication.is_empty() => {
                // One that can't be removed now is not read either, and is removed at another start.
                let file = left.pop().expect("a removal was asked for");
                if result.is_ok() && matches!(file, File::Journal(_)) {
                    self.notes.push(Note::RemovedAgain(file));
                }
            }
            State::Removing { publication, left } => {
                publication.pop_front();
                let catalog = self.catalog.as_mut().expect("it is published again");
                if let Err(error) = result {
                    let file = File::Slot(catalog.again().slot());
                    self.notes.push(Note::RemovalFailed { file, error: *error });
                    publication.clear();
                    // What was begun would be in the way of the next catalog.
                    *left = [File::Stage(catalog::stage(FileKind::Journal))].into();
                } else if publication.is_empty() {
                    *catalog = catalog.again();
                }
            }
            State::Scanning(files) => files.done(result),
            State::Proving(_) => self.proven(result),
            State::Publishing { fresh, .. } => {
                if let Err(error) = fresh.done(result) {
                    self.give_up(error);
                }
            }
            State::Ready(..) => panic!("a finished recovery asks for nothing"),
        }
    }

    /// The log.
    ///
    /// # Panics
    /// When [`Step::Ready`] did not come yet.
    #[must_use]
    pub fn into_recovered(self) -> Recovered {
        let Some(State::Ready(ending, fresh)) = self.state else { panic!("the log is not ready") };
        let (summary, terms, replay) = (self.replay.to_state(), self.replay.terms(), self.replay);
        let old = ending.ends.iter().map(|(number, (position, offset))| {
            let end = Predecessor { number: *number, position: *position, offset: *offset };
            Old { end, last_index: replay.last_index_of(*number) }
        });
        let next = FileKind::Journal.file(self.strays.next(FileKind::Journal, ending.last.number));
        let resume = Resume {
            state: summary.clone(),
            terms,
            floors: replay.floors().clone(),
            predecessor: ending.last,
            strays: self.strays,
            writer: fresh.and_then(Fresh::into_writer),
            removal: Removal::new(old.collect(), self.catalog, self.is_damaged),
        };
        let mut journal = Journal::new(&self.config, self.boot, resume);
        if let Some(error) = self.read_only {
            journal.stop(ending.refused.map_or(next, |(file, _)| file), error);
        }
        let mut damages = ending.damages;
        damages.extend(self.damages);
        let Summary { vote, vote_certain, accepted, replicated, doubt, base, last: _ } = summary;
        let (entries, beyond, volumes) = replay.into_parts();
        let (doubtful, read_only) = (doubt, self.read_only);
        Recovered {
            vote,
            vote_certain,
            accepted,
            base,
            entries,
            beyond,
            replicated,
            doubtful,
            volumes,
            damages,
            read_only,
            journal,
        }
    }

    fn read_catalog(&mut self, mut reading: Reading) -> (State, Option<Step>) {
        match reading.advance() {
            ReadStep::Disk(request) => (State::Cataloging(reading), Some(Step::Disk(request))),
            ReadStep::Note(note) => (State::Cataloging(reading), Some(Step::Note(note))),
            ReadStep::Known { catalog, alone } => {
                let is_removed = |segment: u64| catalog.as_ref().is_some_and(|catalog| catalog.is_removed(segment));
                let removed = self.segments.extract_if(.., |(segment, _)| is_removed(*segment));
                let left = removed.map(|(segment, _)| File::Journal(segment)).collect();
                let publication = catalog.iter().filter(|_| alone).flat_map(|known| known.again().publication());
                let publication = publication.collect();
                self.catalog = catalog;
                (State::Removing { publication, left }, None)
            }
        }
    }

    fn remove_again(&mut self, publication: VecDeque<DiskRequest>, left: Vec<File>) -> (State, Option<Step>) {
        if self.read_only.is_none() {
            let remove = |file: &File| DiskRequest::Remove { file: *file };
            let next = publication.front().cloned().or_else(|| left.last().map(remove));
            if let Some(request) = next {
                return (State::Removing { publication, left }, Some(Step::Disk(request)));
            }
        }
        if !self.missing_strays().is_empty() {
            self.read_only.get_or_insert(DiskError::NotFound);
        }
        let files = Files::new(self.boot.key, FileKind::Journal, self.segments.clone(), BTreeMap::new());
        let files = self.catalog.iter().cloned().fold(files, Files::with_catalog);
        (State::Scanning(Box::new(files)), None)
    }

    fn scan(&mut self, mut files: Box<Files>) -> (State, Option<Step>) {
        match files.advance() {
            FileStep::Disk(request) => (State::Scanning(files), Some(Step::Disk(request))),
            FileStep::Note(note) => {
                if let Note::Damaged(Damage { first, last, kind, .. }) = note {
                    self.is_damaged = true;
                    // A head says nothing of the log.
                    if (first, last) != (1, 1) || kind == DamageKind::Missing {
                        self.replay.lost();
                    }
                }
                (State::Scanning(files), Some(Step::Note(note)))
            }
            // What counts of an older file that was left open was copied into the next one.
            FileStep::Record { standing: Standing::Doubtful, .. } => (State::Scanning(files), None),
            FileStep::Record { number, record, standing } => {
                self.take(number, &record, standing == Standing::Tail);
                (State::Scanning(files), None)
            }
            FileStep::End => (self.scanned(files.into_ending()), None),
        }
    }

    fn take(&mut self, number: u64, record: &Record, is_tail: bool) {
        if is_tail {
            let before = || (self.replay.to_state(), self.replay.floors().clone());
            self.before_tail.get_or_insert_with(before);
            // Also what makes no sense, or the next start would not know of the loss.
            self.tail.push((record.header.kind, record.covered.clone()));
        }
        self.last_place = Some((number, record.offset, record.header.position));
        if self.replay.apply(number, record).is_err() {
            self.report(File::Journal(number), record.offset, record.header.position, DamageKind::Broken);
        }
    }

    /// All segments are read: what is missing, what is in doubt, and whether there must be a fresh one.
    fn scanned(&mut self, ending: Ending) -> State {
        for file in self.missing_strays() {
            if !ending.damages.iter().any(|damage| damage.file == file) {
                self.report(file, 0, 1, DamageKind::Missing);
            }
        }
        if self.replay.has_hole() && !self.is_damaged {
            let (number, offset, position) = self.last_place.unwrap_or_default();
            self.report(File::Journal(number), offset, position, DamageKind::Missing);
        }
        // What is missing may have been acknowledged to others, and so may what was cut.
        let others = !self.for_one && self.replay.may_be_replicated(self.is_damaged);
        if others && (ending.cut.is_some() || self.replay.has_hole()) {
            self.replay.doubt();
        }
        // Nobody has what is lost of a log without others. The disk may yet give it back, so nothing is written that
        // says where the log goes on without it.
        if self.is_damaged && !others {
            self.read_only.get_or_insert(DiskError::NotFound);
        }
        if let Some((file, error)) = ending.refused {
            self.notes.push(Note::WritesStopped { file, error });
            self.read_only.get_or_insert(error);
        }
        if ending.last.number == 0 || self.read_only.is_some() {
            return State::Ready(ending, None);
        }
        if ending.closed {
            return State::Proving(ending);
        }
        let mut fresh = Fresh::new(&self.boot, FileKind::Journal, ending.last, &self.strays);
        let now = || (self.replay.to_state(), self.replay.floors().clone());
        let (summary, floors) = self.before_tail.take().unwrap_or_else(now);
        fresh.record(Kind::State, &encode_state(&summary));
        if !floors.is_empty() {
            fresh.record(Kind::Rely, &encode_rely(&Vec::from_iter(floors)));
        }
        State::Publishing { ending, fresh, copied: 0, finished: false }
    }

    /// Copies the tail in slices, and publishes the fresh segment.
    fn publish(
        &mut self,
        ending: Ending,
        mut fresh: Fresh,
        mut copied: usize,
        finished: bool,
    ) -> (State, Option<Step>) {
        if let Some(request) = fresh.request() {
            return (State::Publishing { ending, fresh, copied, finished }, Some(Step::Disk(request)));
        }
        if finished {
            assert!(fresh.is_published(), "a fresh segment ends with its publication");
            if !self.tail.is_empty() {
                let (from, records) = (File::Journal(ending.last.number), self.tail.len() as u64);
                self.notes.push(Note::TailCopied { from, to: fresh.file(), records });
            }
            return (State::Ready(ending, Some(fresh)), None);
        }
        let mut bytes = 0;
        for (kind, body) in self.tail.iter().skip(copied).take(STEP_ITEMS_MAX) {
            bytes += body.len();
            if bytes > STEP_BYTES_MAX {
                break;
            }
            fresh.record(*kind, body);
            copied += 1;
        }
        let finished = copied == self.tail.len();
        if finished {
            let summary = self.replay.to_state();
            // Only the last word tells of what is open now, and what of the log counts.
            if summary.doubt.is_some() || !summary.vote_certain || self.replay.has_hole() {
                fresh.record(Kind::State, &encode_state(&summary));
            }
            fresh.publish();
        } else {
            fresh.append();
        }
        (State::Publishing { ending, fresh, copied, finished }, None)
    }

    /// The last segment is durable, or can't be made so.
    fn proven(&mut self, result: &DiskResult) {
        let Some(State::Proving(mut ending)) = self.state.take() else { panic!("only a footer is proven") };
        if let Err(error) = result {
            let file = File::Journal(ending.last.number);
            self.read_only = Some(*error);
            ending.refused = Some((file, *error));
            self.notes.push(Note::WritesStopped { file, error: *error });
        }
        self.state = Some(State::Ready(ending, None));
    }

    /// The fresh segment can't be made: the log is only read.
    fn give_up(&mut self, error: DiskError) {
        self.read_only = Some(error);
        let Some(State::Publishing { ending, fresh, .. }) = self.state.take() else { panic!("only a copy gives up") };
        self.notes.push(Note::WritesStopped { file: fresh.file(), error });
        self.state = Some(State::Ready(ending, None));
    }

    /// Segments that are there only under another name.
    fn missing_strays(&self) -> Vec<File> {
        let is_missing = |file: &File| {
            let File::Journal(segment) = *file else { return false };
            let is_removed = self.catalog.as_ref().is_some_and(|catalog| catalog.is_removed(segment));
            !is_removed && self.segments.binary_search_by_key(&segment, |(number, _)| *number).is_err()
        };
        self.strays.iter().filter_map(|stray| stray.origin).filter(is_missing).collect()
    }

    fn report(&mut self, file: File, offset: u64, position: u64, kind: DamageKind) {
        self.is_damaged = true;
        self.replay.lost();
        let damage = Damage { file, offset, first: position, last: position, kind };
        self.notes.push(Note::Damaged(damage));
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(damage);
        }
    }
}

#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod tests;
