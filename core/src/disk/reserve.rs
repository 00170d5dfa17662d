//! The reserve: space set aside, so that a full disk can still be emptied (rule J11).
//!
//! It knows how much space the disk said there is, how much one collection may need, and how much of that is set aside. Puts
//! go on only while what is left and the reserve together hold what a collection needs, and a watermark is left besides.
//! Whoever makes room gets the reserve when too little is left without it.
//!
//! There are no timers. The disk is asked at the start, after so many appended bytes, after a collection, and whenever
//! somebody waits for an answer and the last one is old or says no.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::catalog::bytes_of;
use super::record::{CHUNK_PREFIX_LEN, DROP_PREFIX_LEN, HEADER_LEN};
use super::{DiskError, DiskReply, DiskRequest, DiskResult, File};
use crate::config::Config;
use crate::id::RequestId;
use crate::limits::{DROP_IDS_MAX, RESERVE_ALLOWANCE_BYTES, SPACE_ASK_BYTES_MAX, SPACE_WAITING_MAX};
use crate::machine::Machine;
use crate::note::Note;
use crate::time::{Instant, Now};

/// The watermark is this part of the file system, but no more than what is on its way while the disk is asked, and no less
/// than a change needs. On a small one a fixed number would be much of it; a large one gains nothing by more.
const WATERMARK_DIVISOR: u64 = 32;

/// An answer of the disk is good for so long: others may fill it meanwhile.
const ANSWER_AGE_MAX: Duration = Duration::from_millis(100);

/// After so many failures in a row nothing is set aside before the next collection.
const FAILURES_MAX: u8 = 2;

/// A catalog is published twice, and lies in three files until the last of them replaces the first.
const CATALOG_COPIES: u64 = 3;

/// How much a store holds, as far as a collection's need of space depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes that are needed of the volume of which most is: a compaction copies no more at a time.
    pub fullest_bytes: u64,
    /// Chunks. Each may be dropped.
    pub chunks: u64,
    /// Volumes. The catalog names them.
    pub volumes: u64,
    /// Bytes that each new segment of the journal begins with, before it has anything new.
    pub preamble_bytes: u64,
}

/// What room is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A change of one command.
    Change,
    /// A collection. Nothing is set aside again before [`Event::Collected`].
    Collection,
    /// Nothing: somebody wants to know how much space there is.
    Question,
}

/// What happens to the reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed. Nothing is ever due.
    Wake,
    /// The disk request that was outstanding ended.
    DiskDone {
        /// How.
        result: DiskResult,
        /// What the store holds now.
        footprint: Footprint,
    },
    /// Bytes were appended to files of the store, or will be before anything else.
    Grew {
        /// How many.
        bytes: u64,
    },
    /// A put wants to go on. Answered by [`Effect::Admitted`] or [`Effect::Refused`], for one put in the order of its asks.
    Admit {
        /// The put.
        id: RequestId,
        /// Bytes of its next block; 0 when it is opened.
        bytes: u64,
        /// Bytes that all puts may send without asking again.
        coming: u64,
    },
    /// The put is over. What it waits for is refused.
    Forget {
        /// The put.
        id: RequestId,
    },
    /// Somebody is about to make room, or wants to know how much there is. Answered by [`Effect::Ready`].
    Room {
        /// The request.
        id: RequestId,
        /// What for.
        purpose: Purpose,
    },
    /// The collection for which room was made is over.
    Collected,
    /// Nothing is asked of the disk any more. Whatever waits may go on.
    Close,
}

/// What the reserve wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A disk request. One is outstanding at a time.
    Disk(DiskRequest),
    /// The put may go on.
    Admitted {
        /// The put.
        id: RequestId,
        /// As it asked.
        bytes: u64,
    },
    /// Too little space is left for the put.
    Refused {
        /// The put.
        id: RequestId,
        /// As it asked.
        bytes: u64,
    },
    /// There is as much room as can be made.
    Ready {
        /// The request.
        id: RequestId,
    },
    /// Without the reserve there is too little space for a compaction that nobody asked for, or enough again. At first
    /// there is enough.
    Tight(bool),
    /// Something worth knowing.
    Note(Note),
}

/// What the disk said.
#[derive(Clone, Copy, Debug)]
struct Answer {
    total: u64,
    available: u64,
    at: Instant,
}

/// The request that is outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Asking,
    Allocating { bytes: u64 },
    Removing,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    id: RequestId,
    bytes: u64,
    coming: u64,
}

/// The reserve of one store.
///
/// Invariants: whoever waits is brought further by the outstanding request or the next flush; nothing is set aside while a
/// collection runs.
#[derive(Debug)]
pub struct Reserve {
    volume_bytes: u64,
    segment_bytes: u64,
    ingest_bytes_max: u64,
    /// Bytes of the file, as far as it is known to be there.
    bytes: u64,
    /// Whether there may be a file.
    exists: bool,
    footprint: Footprint,
    /// The last answer that was one.
    answer: Option<Answer>,
    /// Bytes appended since that answer was asked for.
    grown: u64,
    /// Bytes appended since the question that is outstanding.
    grown_since_asking: u64,
    op: Option<Op>,
    /// Whether the disk is to be asked although nobody waits.
    ask_due: bool,
    /// Whether the reserve may have another size than it should.
    look: bool,
    collecting: bool,
    /// What was told last of the space beside the reserve.
    tight: bool,
    /// How often setting space aside has failed since it last did not, or since the last collection.
    failures: u8,
    /// Whether a failure was told.
    told: bool,
    writable: bool,
    closed: bool,
    asks: VecDeque<Ask>,
    rooms: VecDeque<(RequestId, Purpose)>,
}

impl Reserve {
    /// The reserve of a store whose start has found a file of so many bytes, if any. Without `writable` it only tells how
    /// much space there is.
    #[must_use]
    pub fn new(config: &Config, found: Option<u64>, writable: bool) -> Self {
        Self {
            volume_bytes: config.volume_bytes(),
            segment_bytes: config.segment_bytes(),
            ingest_bytes_max: config.ingest_bytes_max(),
            bytes: found.unwrap_or(0),
            exists: found.is_some(),
            footprint: Footprint::default(),
            answer: None,
            grown: 0,
            grown_since_asking: 0,
            op: None,
            ask_due: true,
            look: false,
            collecting: false,
            tight: false,
            failures: 0,
            told: false,
            writable,
            closed: false,
            asks: VecDeque::new(),
            rooms: VecDeque::new(),
        }
    }

    /// The same for a start that has taken the reserve for what it had to write: it is made again as far as there is space.
    #[must_use]
    pub const fn taken(mut self) -> Self {
        self.look = true;
        self
    }

    /// Bytes that are set aside.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that can still be written beside the reserve, as far as that is known.
    #[must_use]
    pub fn available(&self) -> Option<u64> {
        self.answer.map(|answer| self.left(answer))
    }

    /// Whether a disk request is outstanding.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.op.is_some()
    }

    /// The largest reserve there is: one volume and two segments, which begin with what older ones prove.
    fn bytes_max(&self) -> u64 {
        self.volume_bytes.saturating_add(2 * (self.segment_bytes + self.footprint.preamble_bytes))
    }

    fn allowance(&self) -> u64 {
        self.segment_bytes.min(RESERVE_ALLOWANCE_BYTES) + self.footprint.preamble_bytes
    }

    /// Bytes that one collection may need when so many more bytes are stored: the copies of one volume, the tail that a
    /// start copies before, words that chunks are gone, catalogs, and what is small.
    fn need(&self, coming: u64) -> u64 {
        let Footprint { fullest_bytes, chunks, volumes, preamble_bytes: _ } = self.footprint;
        let copies = fullest_bytes.saturating_add(coming);
        let tail = copies.min(self.ingest_bytes_max);
        let records = chunks / DROP_IDS_MAX as u64 + volumes;
        let drops = chunks
            .saturating_mul(CHUNK_PREFIX_LEN as u64)
            .saturating_add(records.saturating_mul((HEADER_LEN + DROP_PREFIX_LEN) as u64));
        let catalogs = CATALOG_COPIES.saturating_mul(bytes_of(volumes));
        [tail, drops, catalogs, self.allowance()].into_iter().fold(copies, u64::saturating_add).min(self.bytes_max())
    }

    /// Bytes appended between two questions, about.
    const fn ask_bytes(&self) -> u64 {
        let quarter = self.volume_bytes / 4;
        if quarter < SPACE_ASK_BYTES_MAX { quarter } else { SPACE_ASK_BYTES_MAX }
    }

    fn watermark(&self, answer: Answer) -> u64 {
        let on_its_way = self.ingest_bytes_max.saturating_add(self.ask_bytes());
        (answer.total / WATERMARK_DIVISOR).min(on_its_way).max(self.allowance())
    }

    /// What is left of an answer.
    fn left(&self, answer: Answer) -> u64 {
        let allocating = match self.op {
            Some(Op::Allocating { bytes }) => bytes - self.bytes,
            Some(Op::Asking | Op::Removing) | None => 0,
        };
        answer.available.saturating_sub(self.grown).saturating_sub(allocating)
    }

    /// Whether a put may go on. If nothing is known, it may: then the disk says itself when it is full.
    fn fits(&self, ask: Ask) -> bool {
        let Some(answer) = self.answer else { return true };
        let (coming, watermark) = (ask.coming.saturating_add(ask.bytes), self.watermark(answer));
        let left = self.left(answer).saturating_sub(coming);
        let need = self.need(self.grown.saturating_add(coming));
        left >= watermark && left.saturating_add(self.bytes) >= need.saturating_add(watermark)
    }

    /// Whether there is room enough without the reserve.
    fn has_room(&self, purpose: Purpose) -> bool {
        let needed = match purpose {
            Purpose::Change => self.allowance(),
            Purpose::Collection => self.need(self.grown),
            Purpose::Question => return true,
        };
        self.answer.is_none_or(|answer| self.left(answer) >= needed)
    }

    fn is_fresh(&self, now: Now) -> bool {
        self.answer.is_some_and(|answer| now.mono.since(answer.at) <= ANSWER_AGE_MAX)
    }

    fn admit(&mut self, now: Now, ask: Ask, out: &mut Vec<Effect>) {
        self.look = true;
        let at_once = self.asks.is_empty() && self.is_fresh(now) && self.fits(ask);
        if self.closed || at_once {
            let Ask { id, bytes, .. } = ask;
            return out.push(Effect::Admitted { id, bytes });
        }
        self.asks.push_back(ask);
        self.check_waiting();
    }

    fn make_room(&mut self, now: Now, id: RequestId, purpose: Purpose, out: &mut Vec<Effect>) {
        self.collecting |= purpose == Purpose::Collection;
        if self.closed || (self.is_fresh(now) && self.has_room(purpose)) {
            return out.push(Effect::Ready { id });
        }
        self.rooms.push_back((id, purpose));
        self.check_waiting();
    }

    fn forget(&mut self, id: RequestId, out: &mut Vec<Effect>) {
        let forgotten = self.asks.iter().filter(|ask| ask.id == id);
        out.extend(forgotten.map(|ask| Effect::Refused { id, bytes: ask.bytes }));
        self.asks.retain(|ask| ask.id != id);
    }

    fn grew(&mut self, bytes: u64) {
        self.grown = self.grown.saturating_add(bytes);
        self.grown_since_asking = self.grown_since_asking.saturating_add(bytes);
        if self.grown >= self.ask_bytes() && self.op != Some(Op::Asking) {
            (self.ask_due, self.look) = (true, true);
        }
    }

    fn disk_done(&mut self, now: Now, result: &DiskResult, footprint: Footprint, out: &mut Vec<Effect>) {
        match self.op.take().expect("a completion belongs to the request that is outstanding") {
            Op::Asking => {
                self.footprint = footprint;
                self.grown = self.grown_since_asking;
                self.answer = match result {
                    // Some file systems count nothing.
                    Ok(DiskReply::Space { total: 0, .. }) | Err(_) => None,
                    Ok(DiskReply::Space { total, available }) => {
                        Some(Answer { total: *total, available: *available, at: now.mono })
                    }
                    Ok(_) => panic!("a question for space is answered by it"),
                };
                self.answer_all(out);
            }
            Op::Allocating { bytes } => self.allocated(bytes, result, out),
            Op::Removing => self.removed(result, out),
        }
        let tight = !self.has_room(Purpose::Collection);
        if core::mem::replace(&mut self.tight, tight) != tight {
            out.push(Effect::Tight(tight));
        }
    }

    /// The disk has just said how much space there is: all that waits is answered, or gets the reserve.
    fn answer_all(&mut self, out: &mut Vec<Effect>) {
        for ask in core::mem::take(&mut self.asks) {
            let Ask { id, bytes, .. } = ask;
            out.push(if self.fits(ask) { Effect::Admitted { id, bytes } } else { Effect::Refused { id, bytes } });
        }
        let releases = self.exists && self.writable && !self.closed;
        for (id, purpose) in core::mem::take(&mut self.rooms) {
            if releases && !self.has_room(purpose) {
                self.rooms.push_back((id, purpose));
            } else {
                out.push(Effect::Ready { id });
            }
        }
        if !self.rooms.is_empty() {
            self.remove(out);
        }
    }

    fn remove(&mut self, out: &mut Vec<Effect>) {
        self.op = Some(Op::Removing);
        out.push(Effect::Disk(DiskRequest::Remove { file: File::Reserve }));
    }

    fn removed(&mut self, result: &DiskResult, out: &mut Vec<Effect>) {
        match result {
            Ok(_) => {
                let bytes = core::mem::take(&mut self.bytes);
                self.exists = false;
                // Somebody may have changed the file: how much came back is for the disk to say.
                (self.ask_due, self.look) = (true, true);
                out.push(Effect::Note(Note::ReserveReleased { bytes }));
            }
            Err(error) => {
                self.failures = FAILURES_MAX;
                self.fail(*error, out);
            }
        }
        // There is no more to be had.
        out.extend(self.rooms.drain(..).map(|(id, _)| Effect::Ready { id }));
    }

    fn allocated(&mut self, bytes: u64, result: &DiskResult, out: &mut Vec<Effect>) {
        match result {
            Ok(_) => {
                let more = bytes - core::mem::replace(&mut self.bytes, bytes);
                if let Some(answer) = &mut self.answer {
                    answer.available = answer.available.saturating_sub(more);
                }
                self.failures = 0;
                out.push(Effect::Note(Note::ReserveMade { bytes }));
            }
            Err(error) => {
                // What there was is gone, or as good as that. Others were faster, and something may still be left.
                self.bytes = 0;
                self.failures = if *error == DiskError::Full { self.failures + 1 } else { FAILURES_MAX };
                (self.ask_due, self.look) = (true, true);
                self.fail(*error, out);
            }
        }
    }

    fn fail(&mut self, error: DiskError, out: &mut Vec<Effect>) {
        if !core::mem::replace(&mut self.told, true) {
            out.push(Effect::Note(Note::ReserveFailed(error)));
        }
    }

    /// Makes the reserve larger if it is too small and there is space for that, or smaller if it is far too large. When
    /// there is so little space that no put is admitted, what there is is kept from others, but for what a change needs.
    fn resize(&mut self, out: &mut Vec<Effect>) {
        let Some(answer) = self.answer else { return };
        if !self.writable || self.collecting || self.failures >= FAILURES_MAX {
            return;
        }
        let need = self.need(self.grown);
        // Some more than is needed, so that it does not grow with every put.
        let ample = need.saturating_add(need / 2).min(self.bytes_max());
        if self.bytes > 2 * ample {
            return self.remove(out);
        }
        let (all, watermark) = (self.left(answer).saturating_add(self.bytes), self.watermark(answer));
        let goal = if all >= ample.saturating_mul(2).saturating_add(watermark) {
            ample
        } else if all >= need.saturating_add(watermark) {
            need
        } else {
            need.min(all.saturating_sub(self.allowance()))
        };
        if self.bytes < need && self.bytes < goal {
            self.exists = true;
            self.op = Some(Op::Allocating { bytes: goal });
            out.push(Effect::Disk(DiskRequest::Allocate { file: File::Reserve, bytes: goal }));
        }
    }

    fn close(&mut self, out: &mut Vec<Effect>) {
        self.closed = true;
        out.extend(self.asks.drain(..).map(|Ask { id, bytes, .. }| Effect::Admitted { id, bytes }));
        out.extend(self.rooms.drain(..).map(|(id, _)| Effect::Ready { id }));
    }

    fn check_waiting(&self) {
        assert!(self.asks.len() + self.rooms.len() <= SPACE_WAITING_MAX, "what waits is bounded");
    }
}

impl Machine for Reserve {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Wake => {}
            Event::DiskDone { result, footprint } => self.disk_done(now, &result, footprint, out),
            Event::Grew { bytes } => self.grew(bytes),
            Event::Admit { id, bytes, coming } => self.admit(now, Ask { id, bytes, coming }, out),
            Event::Forget { id } => self.forget(id, out),
            Event::Room { id, purpose } => self.make_room(now, id, purpose, out),
            Event::Collected => {
                (self.collecting, self.failures) = (false, 0);
                (self.ask_due, self.look) = (true, true);
            }
            Event::Close => self.close(out),
        }
    }

    fn flush(&mut self, _now: Now, out: &mut Vec<Effect>) {
        if self.op.is_some() || self.closed {
            return;
        }
        if self.ask_due || !self.asks.is_empty() || !self.rooms.is_empty() {
            self.ask_due = false;
            self.grown_since_asking = 0;
            self.op = Some(Op::Asking);
            return out.push(Effect::Disk(DiskRequest::Space));
        }
        if core::mem::take(&mut self.look) {
            self.resize(out);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn check(&self) {
        self.check_waiting();
        let waits = !self.asks.is_empty() || !self.rooms.is_empty();
        assert!(self.op.is_some() || !waits, "whoever waits is brought further");
        assert!(self.exists || self.bytes == 0, "what is set aside is a file");
        if let Some(Op::Allocating { bytes }) = self.op {
            assert!(self.bytes < bytes && bytes <= self.bytes_max(), "the reserve has its bound");
        }
        assert!(self.writable || !matches!(self.op, Some(Op::Allocating { .. } | Op::Removing)), "it only looks");
    }
}

#[cfg(test)]
mod tests;
