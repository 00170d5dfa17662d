//! Compaction: giving back the space of volumes of which little is needed (rule J8).
//!
//! One volume at a time. Its records are read in order; what is still needed is copied to the volume being written, a chunk
//! proven by its hash and under the sequence it has. When all copies are durable, and whatever else made a record of the
//! volume needless, the catalog without the volume is published twice, and when nothing reads the volume any more it is
//! removed. The catalog says how far the other volumes are durable, so that rot in a copy is never taken for a tail. A
//! volume of which something that is needed can't be read stays as it is.
//!
//! It never holds up anything: a step handles a few records, few chunks are read ahead, and puts and gets go on meanwhile.

mod pick;
mod publish;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use pick::Person;
use publish::Publication;

use super::{Effect, Pending, Read, Store, Token, What};
use crate::disk::catalog::Catalog;
use crate::disk::record::volume::{DropRecord, MarkRecord};
use crate::disk::record::{
    CHUNK_PREFIX_LEN, DROP_PREFIX_LEN, FileKind, HEADER_LEN, Kind, Predecessor, Stamp, chunk_id,
};
use crate::disk::scan::{Record, Scan, Scanner};
use crate::disk::writer::Written;
use crate::disk::{DiskReply, DiskRequest, DiskResult, File, Verify};
use crate::id::{ChunkId, VerifiedChunk};
use crate::keystore::index::DropPlace;
use crate::keystore::{Place, StoreError};
use crate::limits::{COMPACT_BYTES_MAX, COMPACT_LOADS_MAX, COMPACT_STEPS_MAX, STEP_BYTES_MAX};
use crate::note::Note;
use crate::time::Instant;

/// What compaction knows between volumes, and the volume under way.
#[derive(Debug)]
pub(super) struct Compaction {
    running: Option<Running>,
    /// Volumes of which something that is needed could not be copied, though some of it may be in others as well. They
    /// stay in this boot, unless somebody asks for space when nothing of them is needed any more.
    stuck: BTreeSet<u64>,
    /// Whether a volume may have become worth it since all were looked at. A start alone is no reason to write.
    look: bool,
    /// Whether there is too little space to begin with a volume although nobody asked for it.
    tight: bool,
    /// Whether anything happened since the last turn.
    heard: bool,
    /// The compaction that somebody asked for.
    person: Option<Person>,
    /// Why nothing is removed any more in this boot.
    stopped: Option<StoreError>,
    /// The newest catalog.
    catalog: Option<Catalog>,
    /// Where each volume but the one being written ends.
    ends: BTreeMap<u64, (u64, u64)>,
    /// When it goes on although nothing happens.
    due: Option<Instant>,
    /// Bytes of records that it may still look at in this turn.
    budget: usize,
    /// Whether a write of the catalog, or a removal, is under way. A close waits for that.
    writing: bool,
}

/// One volume under way.
#[derive(Debug)]
struct Running {
    /// The volume that goes.
    victim: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Copying(Box<Copying>),
    /// Waits until the last record that was taken is durable: a mark that is on its way makes an older one needless, too.
    Settling {
        volume: u64,
        position: u64,
    },
    Publishing(Publication),
    /// Waits for reads of the volume.
    Draining,
    Removing,
}

/// What is needed of a volume goes to another one.
#[derive(Debug)]
struct Copying {
    scanner: Scanner,
    /// Whether bytes for the scanner are being read.
    reading: bool,
    scanned: bool,
    /// Chunks that are being read.
    loads: usize,
    /// Their bytes, and those of copies that are not durable.
    bytes: u64,
    /// Chunks that are read and not appended.
    ready: VecDeque<(Moving, VerifiedChunk)>,
    /// A record that waits for the volume being written.
    held: Option<Record>,
    /// Copies that are not durable.
    pending: usize,
    /// Whether something that is needed could not be read.
    failed: bool,
}

/// A chunk on its way from one volume to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving {
    pub(super) chunk: ChunkId,
    pub(super) from: Place,
    pub(super) sequence: u64,
    pub(super) bytes: u64,
}

/// A copy that is appended and not durable.
#[derive(Debug)]
pub(super) enum Moved {
    Chunk { moving: Moving, mark: u64 },
    Mark { chunk: ChunkId, mark: u64, sequence: u64 },
    Drop { sequence: u64, dropped: DropPlace },
}

impl Compaction {
    pub(super) const fn new() -> Self {
        Self {
            running: None,
            stuck: BTreeSet::new(),
            look: false,
            tight: false,
            heard: false,
            person: None,
            stopped: None,
            catalog: None,
            ends: BTreeMap::new(),
            due: None,
            budget: 0,
            writing: false,
        }
    }

    /// What recovery knows: the catalog that counts, and where volumes end.
    pub(super) fn recovered(&mut self, catalog: Option<Catalog>, ends: BTreeMap<u64, (u64, u64)>) {
        self.catalog = catalog;
        self.ends = ends;
    }

    /// A volume has its footer.
    pub(super) fn sealed(&mut self, end: Predecessor) {
        self.ends.insert(end.number, (end.position, end.offset));
        self.look = true;
    }

    /// There is too little space, or enough again.
    pub(super) const fn set_tight(&mut self, tight: bool) {
        self.tight = tight;
    }

    /// There may be more to give back than before.
    pub(super) const fn look_again(&mut self, now: Instant) {
        self.look = true;
        self.due = Some(now);
    }

    /// The store is stepped. A wake-up counts only if it is due.
    pub(super) fn hear(&mut self, now: Instant, is_wake: bool) {
        self.heard |= !is_wake || self.due.is_some_and(|due| due <= now);
    }

    /// Whether there may be copies of a chunk that the index does not know of, so that a word that it is gone must be
    /// kept for all volumes.
    pub(super) fn may_have_copies(&self) -> bool {
        self.running.is_some() || !self.stuck.is_empty()
    }

    /// Whether a volume is on its way out.
    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether somebody waits for space to come back, or there is too little to begin with a volume unasked.
    pub(super) const fn is_short_of_room(&self) -> bool {
        self.tight || self.person.is_some()
    }

    /// Whether files other than volumes are being written.
    pub(super) const fn is_writing(&self) -> bool {
        self.writing
    }

    /// The volume that is to go.
    pub(super) fn victim(&self) -> Option<u64> {
        self.running.as_ref().map(|running| running.victim)
    }

    /// Where a volume ends that is not being written.
    pub(super) fn end(&self, volume: u64) -> Option<(u64, u64)> {
        self.ends.get(&volume).copied()
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.due
    }

    fn copying(&mut self) -> Option<&mut Copying> {
        match &mut self.running.as_mut()?.phase {
            Phase::Copying(copying) => Some(copying),
            Phase::Settling { .. } | Phase::Publishing(_) | Phase::Draining | Phase::Removing => None,
        }
    }
}

impl Store {
    /// Goes on as far as it can in one turn. Before the volume being written is flushed.
    pub(super) fn compact_on(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if !core::mem::take(&mut self.compaction.heard) {
            return;
        }
        self.compaction.due = None;
        if self.failed.is_some() || self.closing {
            return self.end_compaction(out);
        }
        self.compaction.budget = STEP_BYTES_MAX;
        for _ in 0..COMPACT_STEPS_MAX {
            if !self.compact_step(out) {
                return;
            }
            if self.compaction.budget == 0 {
                break;
            }
        }
        self.compaction.due = Some(now);
    }

    /// One step; returns whether another one may be possible.
    fn compact_step(&mut self, out: &mut Vec<Effect>) -> bool {
        let Some(running) = &self.compaction.running else { return self.pick_volume(out) };
        match &running.phase {
            Phase::Copying(_) => self.copy_step(out),
            Phase::Settling { volume, position } => {
                let (volume, position) = (*volume, *position);
                let writer = self.writer.as_ref().expect("a volume is being written");
                if writer.number() == volume && writer.durable_through() < position {
                    return false;
                }
                self.publish_catalogs(2, out);
                true
            }
            Phase::Publishing(_) | Phase::Removing => false,
            Phase::Draining => {
                let victim = running.victim;
                if self.reads.values().any(|read| read.target().1.volume == victim) {
                    return false;
                }
                let request = DiskRequest::Remove { file: File::Volume(victim) };
                self.compaction.writing = true;
                out.push(Effect::Disk { token: Token::Remove, request });
                self.compaction.running.as_mut().expect("just looked at").phase = Phase::Removing;
                false
            }
        }
    }

    fn start_copying(&mut self, victim: u64, out: &mut Vec<Effect>) {
        if self.writer.as_ref().is_some_and(|writer| writer.number() == victim) {
            let opened = self.ensure_volume(out);
            assert!(opened, "only a sealed volume goes, and the next one takes its place");
        }
        let bytes = self.index.volume(victim).map_or(0, |usage| usage.file_bytes);
        let copying = Copying {
            scanner: Scanner::new(Stamp::new(&self.boot.key, FileKind::Volume, victim), bytes),
            reading: false,
            scanned: false,
            loads: 0,
            bytes: 0,
            ready: VecDeque::new(),
            held: None,
            pending: 0,
            failed: false,
        };
        self.compaction.running = Some(Running { victim, phase: Phase::Copying(Box::new(copying)) });
    }

    /// Appends a copy that is ready, or looks at the next record.
    fn copy_step(&mut self, out: &mut Vec<Effect>) -> bool {
        let victim = self.compaction.running.as_ref().expect("a volume is copied").victim;
        let Some(copying) = self.compaction.copying() else { return false };
        let over = copying.failed || copying.scanned && copying.held.is_none() && copying.ready.is_empty();
        if over {
            if copying.loads > 0 || copying.pending > 0 || copying.reading {
                return false;
            }
            return self.copied_all(victim, out);
        }
        if !self.ensure_volume(out) {
            return false;
        }
        let copying = self.compaction.copying().expect("a volume is copied");
        if let Some((moving, chunk)) = copying.ready.pop_front() {
            self.append_copy(moving, &chunk);
            return true;
        }
        if let Some(record) = copying.held.take() {
            self.look_at(victim, &record, out);
            return true;
        }
        if copying.reading || copying.loads >= COMPACT_LOADS_MAX || copying.bytes >= COMPACT_BYTES_MAX {
            return false;
        }
        // What is missing behind its end was cut by a later start.
        let end = self.compaction.ends.get(&victim).map_or(u64::MAX, |(position, _)| *position);
        let copying = self.compaction.copying().expect("a volume is copied");
        match copying.scanner.advance() {
            Scan::Read { offset, len } => {
                copying.reading = true;
                let request = DiskRequest::Read { file: File::Volume(victim), offset, len, verify: Verify::None };
                out.push(Effect::Disk { token: Token::Scan, request });
                false
            }
            // Behind the end, too: what was never known durable and counts there goes to where it is.
            Scan::Record(record) => {
                copying.held = Some(record);
                true
            }
            Scan::Gap(gap) => {
                // Something was lost since the start.
                copying.failed |= gap.first <= end;
                true
            }
            Scan::End => {
                copying.scanned = true;
                true
            }
        }
    }

    /// Copies a record, if it is still needed.
    fn look_at(&mut self, victim: u64, record: &Record, out: &mut Vec<Effect>) {
        let sequence = record.header.sequence;
        self.compaction.budget = self.compaction.budget.saturating_sub(record.covered.len());
        match record.header.kind {
            Kind::Chunk | Kind::MarkedChunk => {
                let chunk = chunk_id(&record.covered).expect("a record that was found is whole");
                if self.index.is_live(&chunk, victim, record.offset) {
                    self.load_for_copy(chunk, out);
                }
            }
            Kind::Mark => {
                let mark = MarkRecord::decode(&record.covered).expect("a record that was found is whole");
                // The copy of a chunk of this volume carries its mark.
                let counts = self
                    .index
                    .get(&mark.chunk)
                    .is_some_and(|located| located.place.volume != victim && located.raised_in == Some(victim));
                if counts && self.index.is_mark_needed(&mark.chunk, mark.mark, sequence) {
                    self.append_mark(sequence, &mark);
                }
            }
            Kind::Drop => {
                let dropped = DropRecord::decode(&record.covered).expect("a record that was found is whole");
                // Of two copies one is enough: else they would make each other needless in turn, for ever.
                let counts = self.index.is_drop_in(sequence, victim);
                if counts && self.index.is_drop_needed(dropped.from, dropped.through, &[victim]) {
                    self.append_drop_again(sequence, &dropped);
                }
            }
            Kind::Head | Kind::Footer | Kind::Empty | Kind::Entry => {}
            Kind::Vote | Kind::Cut | Kind::Log | Kind::Base | Kind::Rely | Kind::State => {}
        }
    }

    fn load_for_copy(&mut self, chunk: ChunkId, out: &mut Vec<Effect>) {
        let located = self.index.get(&chunk).expect("a live chunk is in the index");
        let copying = self.compaction.copying().expect("a volume is copied");
        copying.loads += 1;
        let bytes = u64::from(located.bytes);
        copying.bytes += bytes;
        let moving = Moving { chunk, from: located.place, sequence: located.sequence, bytes };
        self.read(chunk, located, Read::Move(moving), out);
    }

    /// A chunk was read, or could not be.
    pub(super) fn loaded_for_copy(&mut self, moving: Moving, chunk: Option<VerifiedChunk>) {
        // Without a compaction it was ended by a close or a failure.
        let Some(copying) = self.compaction.copying() else { return };
        copying.loads -= 1;
        match chunk {
            Some(chunk) => copying.ready.push_back((moving, chunk)),
            // It may have gone, or have been written anew, and then nothing is lost.
            None => {
                let needed = self.index.is_live(&moving.chunk, moving.from.volume, moving.from.offset);
                let copying = self.compaction.copying().expect("just looked at");
                copying.bytes -= moving.bytes;
                copying.failed |= needed;
            }
        }
    }

    /// Bytes for the scan.
    pub(super) fn scanned_for_copy(&mut self, result: &DiskResult) {
        let Some(copying) = self.compaction.copying() else { return };
        copying.reading = false;
        match result {
            Ok(DiskReply::Read(bytes)) => copying.scanner.feed(Ok(bytes)),
            Ok(_) => panic!("a read that verifies nothing is answered by its bytes"),
            Err(error) => copying.scanner.feed(Err(*error)),
        }
    }

    fn append_copy(&mut self, moving: Moving, chunk: &VerifiedChunk) {
        // It may have gone while it was read.
        let Some(located) = self.index.get(&moving.chunk).filter(|located| located.place == moving.from) else {
            self.compaction.copying().expect("a volume is copied").bytes -= moving.bytes;
            return;
        };
        let writer = self.writer.as_mut().expect("a volume is open");
        let written = writer.chunk(moving.sequence, located.mark, chunk);
        self.await_copy(written, Moved::Chunk { moving, mark: located.mark });
    }

    fn append_mark(&mut self, sequence: u64, mark: &MarkRecord) {
        let writer = self.writer.as_mut().expect("a volume is open");
        let written = writer.mark(sequence, mark);
        self.await_copy(written, Moved::Mark { chunk: mark.chunk, mark: mark.mark, sequence });
    }

    fn append_drop_again(&mut self, sequence: u64, dropped: &DropRecord) {
        let writer = self.writer.as_mut().expect("a volume is open");
        let written = writer.dropped(sequence, dropped);
        let bytes = (HEADER_LEN + DROP_PREFIX_LEN + dropped.chunks.len() * CHUNK_PREFIX_LEN) as u64;
        let DropRecord { from, through, .. } = *dropped;
        let dropped = DropPlace { volume: writer.number(), from, through, bytes };
        self.await_copy(written, Moved::Drop { sequence, dropped });
    }

    fn await_copy(&mut self, written: Written, moved: Moved) {
        let Written { position, offset } = written;
        let volume = self.writer.as_ref().expect("a volume is open").number();
        let place = Place { volume, offset, position };
        let what = What::Moved(moved);
        self.pending.insert(position, Pending { chunk: None, place, marked_at: None, what, waiting: Vec::new() });
        self.compaction.copying().expect("a volume is copied").pending += 1;
    }

    /// A copy is durable: what it is of counts there from now on.
    pub(super) fn copy_settled(&mut self, place: Place, moved: Moved) {
        let bytes = match moved {
            Moved::Chunk { moving, mark } => {
                self.index.relocate(&moving.chunk, moving.from, place, mark);
                moving.bytes
            }
            Moved::Mark { chunk, mark, sequence } => {
                if self.index.is_mark_needed(&chunk, mark, sequence) {
                    self.index.set_mark(&chunk, mark, Some(place.volume));
                }
                0
            }
            Moved::Drop { sequence, dropped } => {
                self.index.enter_drop(sequence, dropped);
                0
            }
        };
        if let Some(copying) = self.compaction.copying() {
            copying.pending -= 1;
            copying.bytes -= bytes;
        }
    }

    /// Everything is copied and durable, unless something was not found. Returns whether another step may be possible.
    fn copied_all(&mut self, victim: u64, out: &mut Vec<Effect>) -> bool {
        let failed = self.compaction.copying().is_some_and(|copying| copying.failed);
        // Whatever the index still has there was not in the file, or not as it was found at the start.
        let usage = self.index.volume(victim).unwrap_or_default();
        if failed || usage.chunks > 0 || usage.marks > 0 {
            self.compaction.stuck.insert(victim);
            self.compaction.look = true;
            self.compaction.running = None;
            return true;
        }
        if !self.ensure_volume(out) {
            return false;
        }
        let writer = self.writer.as_ref().expect("a volume is open");
        let (volume, position) = (writer.number(), writer.last_position());
        self.compaction.running.as_mut().expect("a volume is copied").phase = Phase::Settling { volume, position };
        true
    }

    /// The volume is gone, or will be at the next start.
    pub(super) fn removed(&mut self, result: &DiskResult, out: &mut Vec<Effect>) {
        self.compaction.writing = false;
        let Some(Running { victim: volume, phase: Phase::Removing }) = self.compaction.running.take() else {
            panic!("a removal that is under way is never given up");
        };
        let bytes = self.index.volume(volume).map_or(0, |usage| usage.file_bytes);
        self.index.remove_volume(volume);
        self.compaction.ends.remove(&volume);
        self.compaction.stuck.remove(&volume);
        self.checkpoints.forget(volume);
        self.compaction.look = true;
        if let Some(person) = &mut self.compaction.person {
            person.removed(bytes);
        }
        out.push(Effect::Note(match result {
            Ok(_) => Note::VolumeRemoved { volume, bytes },
            Err(error) => Note::RemovalFailed { file: File::Volume(volume), error: *error },
        }));
    }

    /// No further copies. What was copied and is not settled stays where it was.
    pub(super) fn end_compaction(&mut self, out: &mut Vec<Effect>) {
        // A removal that is under way ends by itself: everything about it is durable.
        let removing = self.compaction.running.as_ref().is_some_and(|running| matches!(running.phase, Phase::Removing));
        if !removing {
            self.compaction.running = None;
        }
        let error = self.store_error().unwrap_or(StoreError::Closing);
        self.answer_person(Err(error), out);
    }

    pub(super) fn check_compaction(&self) {
        let Some(Running { victim, phase }) = &self.compaction.running else { return };
        assert!(self.writer.as_ref().is_none_or(|writer| writer.number() != *victim), "what is written stays");
        match phase {
            Phase::Copying(copying) => self.check_copying(copying),
            Phase::Settling { .. } | Phase::Publishing(_) | Phase::Draining | Phase::Removing => {
                let usage = self.index.volume(*victim).unwrap_or_default();
                assert_eq!((usage.chunks, usage.marks), (0, 0), "what is needed of a volume that goes is elsewhere");
            }
        }
    }

    fn check_copying(&self, copying: &Copying) {
        let moved = || {
            self.pending.values().filter_map(|pending| match &pending.what {
                What::Moved(moved) => Some(moved),
                What::Copy(_) | What::Mark { .. } | What::Drop => None,
            })
        };
        assert_eq!(copying.pending, moved().count(), "copies that are not durable are counted");
        let loads = || {
            self.reads.values().filter_map(|read| match read {
                Read::Move(moving) => Some(moving.bytes),
                Read::Get { .. } | Read::Recheck { .. } | Read::Scrub { .. } => None,
            })
        };
        assert_eq!(copying.loads, loads().count(), "so are chunks that are read");
        assert!(copying.loads <= COMPACT_LOADS_MAX, "and those are few");
        let pending = moved().map(|moved| match moved {
            Moved::Chunk { moving, .. } => moving.bytes,
            Moved::Mark { .. } | Moved::Drop { .. } => 0,
        });
        let ready = copying.ready.iter().map(|(moving, _)| moving.bytes);
        assert_eq!(copying.bytes, loads().chain(pending).chain(ready).sum::<u64>(), "and the bytes of all of them");
    }
}
