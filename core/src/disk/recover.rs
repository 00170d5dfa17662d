//! What a start makes of the journal segments or the volumes that it finds (rules J4 to J6).
//!
//! A file's records up to `durable_through` were synced: one that is broken is *damage*, reported and never cut. Records
//! above are the *tail*: the writer died before it knew them durable. Whole ones still count, but not in that file: no
//! boot writes into an older boot's file, so they are copied into a fresh one. What follows the first broken record of a
//! tail was never acknowledged and is cut, which means ignored: the old bytes stay, and the fresh file says where they
//! end.

mod current;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::mem;

use current::{Current, Held, matters, report};

use super::catalog::Catalog;
use super::checkpoint::{Demand, Reader, Reading as Listing};
use super::damage::{Damage, DamageKind};
use super::record::{FileKey, FileKind, HEAD_BODY_LEN, HEADER_LEN, Head, Kind, Parsed, Predecessor, Stamp, parse};
use super::scan::{Record, Scan};
use super::{DiskError, DiskReply, DiskRequest, DiskResult, File, Verify};
use crate::note::Note;

/// What recovery wants, or has found.
#[derive(Debug)]
pub enum Step {
    /// Perform this and call [`Recovery::done`].
    Disk(DiskRequest),
    /// A record that counts.
    Record {
        /// The file it is in.
        number: u64,
        /// The record.
        record: Record,
        /// How far it can be relied on.
        standing: Standing,
    },
    /// Something to tell.
    Note(Note),
    /// Everything is read.
    End,
}

/// How far a record that counts can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was synced.
    Durable,
    /// It is behind what is known durable of an older file, and the head that says what of it counts is lost. It may be
    /// nowhere but in the operating system's memory, so nothing new may rely on it.
    Doubtful,
    /// It is behind what is known durable of the last file, so it must be copied into a fresh one. Such records come
    /// last.
    Tail,
}

/// How the files ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The last file with the last position that was durable; number 0 if there is no file.
    pub last: Predecessor,
    /// Whether the last file was closed in good order, so that no fresh file is needed before the next record.
    pub closed: bool,
    /// What was cut of the last file's tail: where that begins, and its bytes.
    pub cut: Option<(u64, u64)>,
    /// Records lost, at most [`DAMAGES_MAX`](crate::limits::DAMAGES_MAX) of them in full.
    pub damages: Vec<Damage>,
    /// Damages beyond those.
    pub damages_omitted: u64,
    /// The last file if it may not be read at all, and why. Where it ends is not known, so nothing may be written that
    /// would say so: once it can be read again, all of it counts.
    pub refused: Option<(File, DiskError)>,
    /// By file that was read, the last position known durable in it and the byte after that. What follows was copied
    /// into another file, or cut.
    pub ends: BTreeMap<u64, (u64, u64)>,
    /// Files that were scanned, have their footer, and have lost nothing, ascending.
    pub whole: Vec<u64>,
    /// Files before the last one of which nothing says where they end: they have no footer, and the head of the next
    /// one is lost. With the last whole position and the byte after it.
    pub endless: BTreeMap<u64, (u64, u64)>,
}

#[derive(Debug)]
enum Reading {
    /// The head of the file at this index, to learn where its predecessor ends.
    Head(usize),
    /// The current file.
    File,
    /// Its checkpoint.
    Checkpoint,
}

/// Recovery of all journal segments, or of all volumes. Pulled: ask for steps, feed results.
#[derive(Debug)]
pub struct Recovery {
    key: FileKey,
    kind: FileKind,
    /// Number and length, ascending.
    files: Vec<(u64, u64)>,
    /// The next file to start on.
    at: usize,
    /// Positions that something outside these files proves durable (rule J6).
    floors: BTreeMap<u64, u64>,
    /// Which of the files were removed on purpose, and where others end.
    catalog: Option<Catalog>,
    /// The store, and the length of each volume's checkpoint that is there.
    checkpoints: ([u8; 16], BTreeMap<u64, u64>),
    reading: Option<Reading>,
    /// The head of the file at index `at`, once it was looked at.
    head: Option<Option<Head>>,
    /// The same head while the file before is read: what it says is missing lies between the two.
    next_head: Option<Head>,
    current: Option<Current>,
    /// Files that were begun on and whose head is lost, so that nothing says which one was before them.
    headless: BTreeSet<u64>,
    notes: VecDeque<Note>,
    /// What is left of a file's end and counts.
    tail: VecDeque<Step>,
    ending: Ending,
    finished: bool,
}

impl Recovery {
    /// Recovery of `files` (number and length, in ascending order). `floors` names, by file, a position that is known to
    /// have been durable.
    ///
    /// # Panics
    /// When the files are not in ascending order.
    #[must_use]
    pub fn new(key: FileKey, kind: FileKind, files: Vec<(u64, u64)>, floors: BTreeMap<u64, u64>) -> Self {
        assert!(files.is_sorted_by(|a, b| a.0 < b.0), "files come in ascending order");
        Self {
            key,
            kind,
            files,
            at: 0,
            floors,
            catalog: None,
            checkpoints: ([0; 16], BTreeMap::new()),
            reading: None,
            head: None,
            next_head: None,
            current: None,
            headless: BTreeSet::new(),
            notes: VecDeque::new(),
            tail: VecDeque::new(),
            ending: Ending::default(),
            finished: false,
        }
    }

    /// Takes a catalog into account: a file that was removed is not missing, and one whose successor was removed ends
    /// where the catalog says.
    ///
    /// # Panics
    /// When one of the files is one that was removed.
    #[must_use]
    pub fn with_catalog(mut self, catalog: Catalog) -> Self {
        let removed = self.files.iter().any(|(number, _)| catalog.is_removed(*number));
        assert!(!removed, "what was removed is removed again before anything is read");
        self.floors.retain(|number, _| !catalog.is_removed(*number));
        for (number, (position, _)) in &catalog.volumes {
            let floor = self.floors.entry(*number).or_default();
            *floor = (*position).max(*floor);
        }
        self.catalog = Some(catalog);
        self
    }

    /// Takes checkpoints of volumes of this store into account (number and length of their files): a volume whose
    /// checkpoint is whole, and says what other files say of the volume, is not scanned.
    #[must_use]
    pub fn with_checkpoints(mut self, store: [u8; 16], lengths: impl IntoIterator<Item = (u64, u64)>) -> Self {
        self.checkpoints = (store, lengths.into_iter().collect());
        self
    }

    /// The next step.
    ///
    /// # Panics
    /// When a read is outstanding.
    pub fn advance(&mut self) -> Step {
        assert!(self.reading.is_none(), "one read at a time");
        loop {
            if let Some(note) = self.notes.pop_front() {
                return Step::Note(note);
            }
            if let Some(step) = self.tail.pop_front() {
                return step;
            }
            if let Some(current) = &mut self.current {
                if let Some(step) = current.release(&mut self.ending, &mut self.notes, self.kind) {
                    // What is lost before a record is told before it.
                    self.tail.push_back(step);
                    continue;
                }
                if current.scanned {
                    self.finish_file();
                } else if let Some(step) = self.scan() {
                    return step;
                }
            } else if let Some(step) = self.start_file() {
                return step;
            }
        }
    }

    /// The result of the read that was asked for.
    ///
    /// # Panics
    /// When no read is outstanding.
    pub fn done(&mut self, result: &DiskResult) {
        if matches!(self.reading, Some(Reading::Checkpoint)) {
            self.reading = None;
            let current = self.current.as_mut().expect("a file is being read");
            return current.checkpoint.as_mut().expect("its checkpoint is being read").feed(result);
        }
        let bytes = match result {
            Ok(DiskReply::Read(bytes)) => Ok(&bytes[..]),
            Ok(_) => panic!("a read that verifies nothing is answered by its bytes"),
            Err(error) => Err(*error),
        };
        match self.reading.take().expect("a completion belongs to a request") {
            Reading::Head(index) => {
                let stamp = Stamp::new(&self.key, self.kind, self.files[index].0);
                self.head = Some(bytes.ok().and_then(|bytes| read_head(&stamp, bytes)));
            }
            Reading::File => self.current.as_mut().expect("a file is being read").scanner.feed(bytes),
            Reading::Checkpoint => unreachable!("its result was taken above"),
        }
    }

    /// Where records that come before those of file `number` may have been lost without a trace: all of a file that is
    /// not there, if the head of the next one is lost, too; or the end of a file that nothing bounds, see
    /// [`Ending::endless`].
    #[must_use]
    pub fn doubt_before(&self, number: u64) -> Option<Damage> {
        let is_there = |number: u64| self.files.binary_search_by_key(&number, |(number, _)| *number).is_ok();
        let before = self.headless.range(..=number).rev().map(|headless| headless - 1);
        if let Some(missing) = before.filter(|number| *number > 0).find(|number| !is_there(*number)) {
            let file = self.kind.file(missing);
            return Some(Damage { file, offset: 0, first: 1, last: 1, kind: DamageKind::Missing });
        }
        let (endless, (position, offset)) = self.ending.endless.range(..number).next_back()?;
        let (file, first) = (self.kind.file(*endless), position + 1);
        Some(Damage { file, offset: *offset, first, last: first, kind: DamageKind::Broken })
    }

    /// How the files ended. Call when [`Step::End`] came.
    ///
    /// # Panics
    /// When it did not come yet.
    #[must_use]
    pub fn into_ending(self) -> Ending {
        assert!(self.finished, "the files are read to their end");
        self.ending
    }

    fn start_file(&mut self) -> Option<Step> {
        let head = self.next_head.take();
        self.missing_by_head(head);
        let Some(&(number, len)) = self.files.get(self.at) else {
            self.missing_by_floor();
            self.finished = true;
            return if self.notes.is_empty() { Some(Step::End) } else { None };
        };
        // The successor's head says where this file ends, if the successor's boot found it open.
        if self.at == 0 && self.head.is_none() {
            return Some(self.read_head_of(0));
        }
        if self.at == 0 {
            let head = self.head.take().flatten();
            self.missing_by_head(head);
            self.at = 1;
            return self.look_ahead(number, len, head.is_some());
        }
        self.at += 1;
        self.look_ahead(number, len, head.is_some())
    }

    fn look_ahead(&mut self, number: u64, len: u64, has_head: bool) -> Option<Step> {
        let mut current = Current::new(Stamp::new(&self.key, self.kind, number), len, self.floors.get(&number));
        current.end = self.catalog.as_ref().and_then(|catalog| catalog.end(number));
        current.has_head = has_head;
        if !has_head {
            self.headless.insert(number);
        }
        self.current = Some(current);
        // `at` is that of the successor now.
        if self.at < self.files.len() {
            return Some(self.read_head_of(self.at));
        }
        self.open_checkpoint();
        None
    }

    /// All is known that a checkpoint of the current file must agree with.
    fn open_checkpoint(&mut self) {
        let current = self.current.as_mut().expect("a file is being read");
        let (store, lengths) = &self.checkpoints;
        let Some(len) = lengths.get(&current.number) else { return };
        let (volume, floor) = (current.number, current.durable_through);
        let demand = Demand { store: *store, volume, volume_bytes: current.len, end: current.end, floor };
        // Without its head the file is not whole, whatever a checkpoint says.
        if current.has_head {
            current.checkpoint = Some(Reader::new(&self.key, demand, *len));
        } else {
            self.notes.push_back(Note::CheckpointUnusable { volume });
        }
    }

    fn read_head_of(&mut self, index: usize) -> Step {
        self.reading = Some(Reading::Head(index));
        let file = self.kind.file(self.files[index].0);
        let len = u32::try_from(HEADER_LEN + HEAD_BODY_LEN).expect("a head is small");
        Step::Disk(DiskRequest::Read { file, offset: 0, len, verify: Verify::None })
    }

    fn scan(&mut self) -> Option<Step> {
        if let Some(head) = self.head.take() {
            let number = self.current.as_ref().expect("a file is being read").number;
            let end = head.map(|head| head.predecessor).filter(|end| end.number == number);
            if end.is_some() {
                self.current.as_mut().expect("a file is being read").end = end;
            }
            self.next_head = head;
            self.open_checkpoint();
        }
        let current = self.current.as_mut().expect("a file is being read");
        if current.checkpoint.is_some() {
            return self.list();
        }
        match current.scanner.advance() {
            Scan::Read { offset, len } => {
                let file = self.kind.file(current.number);
                self.reading = Some(Reading::File);
                return Some(Step::Disk(DiskRequest::Read { file, offset, len, verify: Verify::None }));
            }
            Scan::Record(record) => current.take(record),
            Scan::Gap(gap) => current.held.push_back(Held::Gap(gap)),
            Scan::End => current.scan_ended(),
        }
        None
    }

    /// Reads on in the checkpoint of the current file. What it tells was durable, and telling a record twice is telling
    /// it once: if the rest turns out not to be whole, the file is scanned from its beginning.
    fn list(&mut self) -> Option<Step> {
        let current = self.current.as_mut().expect("a file is being read");
        let (number, reader) = (current.number, current.checkpoint.as_mut().expect("it is being read"));
        match reader.advance() {
            Listing::Read { offset, len } => {
                self.reading = Some(Reading::Checkpoint);
                let file = File::Checkpoint(number);
                return Some(Step::Disk(DiskRequest::Read { file, offset, len, verify: Verify::None }));
            }
            Listing::Record(record) => return Some(Step::Record { number, record, standing: Standing::Durable }),
            Listing::End(subject) => current.all_listed(subject),
            Listing::Unusable => {
                current.checkpoint = None;
                self.notes.push_back(Note::CheckpointUnusable { volume: number });
            }
        }
        None
    }

    /// A head names a predecessor that is not there: that one is missing.
    fn missing_by_head(&mut self, head: Option<Head>) {
        let Some(end) = head.map(|head| head.predecessor) else { return };
        let removed = self.catalog.as_ref().is_some_and(|catalog| catalog.is_removed(end.number));
        if end.number != 0 && !removed && !self.files.iter().any(|(number, _)| *number == end.number) {
            self.floors.remove(&end.number);
            self.missing(end.number, end.position);
        }
    }

    /// Something outside names a file that is not there: it is missing.
    fn missing_by_floor(&mut self) {
        let floors = mem::take(&mut self.floors);
        for (number, position) in floors {
            if !self.files.iter().any(|(present, _)| *present == number) {
                self.missing(number, position);
                if self.files.last().is_none_or(|(newest, _)| *newest < number) {
                    self.ending.last = Predecessor { number, position, offset: 0 };
                    self.ending.closed = false;
                }
            }
        }
    }

    /// A file of which nothing was ever durable may be missing: not even its name was synced.
    fn missing(&mut self, number: u64, last: u64) {
        if last == 0 {
            return;
        }
        let file = self.kind.file(number);
        let damage = Damage { file, offset: 0, first: 1, last, kind: DamageKind::Missing };
        report(&mut self.ending, &mut self.notes, damage);
    }

    /// All that is durable is out. What is left is the tail.
    fn finish_file(&mut self) {
        let mut current = self.current.take().expect("a file is being read");
        current.report_truncation(&mut self.ending, &mut self.notes, self.kind);
        // A newer file that is known but gone had this one's tail, and its number is not used again.
        let newer_is_known = self.floors.last_key_value().is_some_and(|(number, _)| *number > current.number);
        let is_last = self.at == self.files.len() && !newer_is_known;
        if is_last {
            self.ending.refused = current.scanner.refused().map(|error| (self.kind.file(current.number), error));
            let (position, offset) = current.released;
            self.ending.last = Predecessor { number: current.number, position, offset };
            self.ending.closed = current.footer;
        }
        let end = current.end.map_or(current.released, |end| (end.position, end.offset));
        self.ending.ends.insert(current.number, end);
        if current.is_whole() {
            self.ending.whole.push(current.number);
        }
        if current.end.is_some() || current.listed {
            return;
        }
        let (number, has_footer) = (current.number, current.footer);
        let mut end = current.released;
        let whole = current.held.into_iter().map_while(|held| match held {
            Held::Record(record) => Some(record),
            Held::Gap(_) => None,
        });
        for record in whole.filter(|_| !current.torn) {
            end = (record.header.position, record.end());
            // Behind a file that was left open there was a fresh one, which is gone or damaged. It decided what of this
            // tail counts: what it copied is there, too. A chunk that it cut may come back, but no word that one is gone.
            let counts = is_last || record.header.kind != Kind::Drop;
            if matters(&record) && counts {
                let standing = if is_last { Standing::Tail } else { Standing::Doubtful };
                self.tail.push_back(Step::Record { number, record, standing });
            }
        }
        if !is_last && !has_footer {
            self.ending.endless.insert(number, end);
        }
        if is_last && end.1 < current.len && current.scanner.refused().is_none() {
            let file = self.kind.file(number);
            let (offset, bytes) = (end.1, current.len - end.1);
            self.ending.cut = Some((offset, bytes));
            self.notes.push_back(Note::TailCut { file, offset, bytes });
        }
    }
}

fn read_head(stamp: &Stamp, bytes: &[u8]) -> Option<Head> {
    match parse(stamp, 0, bytes) {
        Parsed::Record(header) if header.kind == Kind::Head && header.position == 1 => {
            Head::decode(&bytes[HEADER_LEN..header.covered_len()])
        }
        Parsed::Record(_) | Parsed::Need(_) | Parsed::Broken => None,
    }
}

#[cfg(test)]
mod catalog_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod life;
#[cfg(test)]
mod rot_tests;
#[cfg(test)]
mod tests;
