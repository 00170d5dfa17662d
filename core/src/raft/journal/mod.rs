//! Raft's writes as records of journal segments (rules J1 to J6, J9, J10): what is to be written goes into the segment
//! at the end of the turn, and whoever waits hears the number of the last write that is durable.
//!
//! A segment begins with what all before it come to ([`codec::State`]), so that older ones go as soon as a durable
//! snapshot covers their entries. What a start makes of the segments is in [`recover`].

pub mod codec;
pub mod recover;
mod removal;
mod segment;
mod terms;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use self::codec::State;
use self::removal::Removal;
use self::segment::Segment;
use self::terms::Terms;
pub use super::Doubt;
use super::entry::{Entry, Payload};
use super::membership::Membership;
use super::{Base, Cut, Vote, Write};
use crate::config::Config;
use crate::disk::boot::BootRecord;
use crate::disk::record::{FileKind, HEADER_LEN, Head, Kind, Predecessor, Stamp};
use crate::disk::stray::Strays;
use crate::disk::writer::{Writer, WriterOp};
use crate::disk::{DiskError, DiskRequest, DiskResult, File};
use crate::limits::{PUT_VOLUMES_MAX, RELIED_VOLUMES_MAX, STEP_BYTES_MAX, STEP_ITEMS_MAX};
use crate::machine::Machine;
use crate::note::Note;
use crate::time::{Instant, Now};

/// What happens to the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline passed.
    Wake,
    /// A disk request of the journal ended.
    DiskDone {
        /// Which.
        op: Op,
        /// How.
        result: DiskResult,
    },
    /// Something is to become durable, after all before it.
    Persist(Box<Write>),
    /// By volume, the positions that an entry of a write that is to come relies on (rule J6); at most
    /// [`PUT_VOLUMES_MAX`]. What is said before the next write is one record, as far as it fits.
    Rely(Vec<(u64, u64)>),
    /// What was in doubt at the start is settled (rule R2).
    Resolved,
    /// Nothing more is to be written, and what comes later is not; close the segment in good order.
    Close,
}

/// What the journal wants, or has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A disk request.
    Disk {
        /// To be echoed.
        op: Op,
        /// What to do.
        request: DiskRequest,
    },
    /// Everything up to this write is durable.
    Persisted {
        /// Its number.
        write: u64,
    },
    /// Nothing is written any more until the next start (rule J10). Said once.
    Failed {
        /// The file that failed.
        file: File,
        /// What the disk said.
        error: DiskError,
    },
    /// The segment is closed, after [`Event::Close`].
    Closed,
    /// Something worth knowing.
    Note(Note),
}

/// Which request of the journal a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// One of the segment being written.
    Writer(WriterOp),
    /// One of a publication of the catalog of segments.
    Catalog,
    /// The removal of a segment.
    Remove,
}

/// What is to go into a segment.
#[derive(Clone, Debug)]
enum Item {
    Vote(Vote),
    /// With whether nothing stays of the log.
    Base(Base, bool),
    Cut(Cut),
    Entry(Entry),
    Rely(BTreeMap<u64, u64>),
    Resolved,
    /// All of the write with this number is before it.
    End(u64),
}

impl Item {
    fn membership(&self) -> Option<&Membership> {
        match self {
            Self::Base(base, _) => Some(&base.membership),
            Self::Entry(Entry { payload: Payload::Membership(membership), .. }) => Some(membership),
            Self::Entry(Entry { payload: Payload::Empty | Payload::Command(_), .. })
            | Self::Vote(_)
            | Self::Cut(_)
            | Self::Rely(_)
            | Self::Resolved
            | Self::End(_) => None,
        }
    }
}

/// What a journal goes on from.
#[derive(Debug)]
struct Resume {
    state: State,
    terms: Terms,
    floors: BTreeMap<u64, u64>,
    predecessor: Predecessor,
    strays: Strays,
    /// The fresh segment that has the tail's records.
    writer: Option<Writer>,
    removal: Removal,
}

/// The journal of a node of a group.
///
/// Invariant: `in_flight` is ordered by position and number, and all of it is above what is durable of the segment.
#[derive(Debug)]
pub struct Journal {
    boot: BootRecord,
    segment_bytes: u64,
    settle_after: Duration,
    predecessor: Predecessor,
    strays: Strays,
    /// What the records taken so far come to.
    state: State,
    /// Those of the log, so that its last entry is known after a cut.
    terms: Terms,
    /// By volume, the largest position that an entry relies on, of the volumes with the largest numbers.
    floors: BTreeMap<u64, u64>,
    segment: Option<Segment>,
    /// Whether the segment being written ends here, however short it is.
    roll: bool,
    /// What waits for the end of the turn, or for the next segment. Payloads are shared with Raft, which bounds how
    /// much it has under way.
    queue: VecDeque<Item>,
    /// Writes that are not durable: the position of the last record in the segment being written, and the number.
    in_flight: VecDeque<(u64, u64)>,
    /// Bytes and records that this turn may still encode.
    budget: (usize, usize),
    /// When the rest is due, if a turn was cut short by that.
    resume_at: Option<Instant>,
    /// When the empty record is due.
    settle_at: Option<Instant>,
    /// Whether the last record is that empty one.
    settled: bool,
    removal: Removal,
    failed: Option<(File, DiskError)>,
    closing: bool,
    closed: bool,
}

const BUDGET: (usize, usize) = (STEP_BYTES_MAX, STEP_ITEMS_MAX);

impl Journal {
    fn new(config: &Config, boot: BootRecord, resume: Resume) -> Self {
        let Resume { state, terms, floors, predecessor, strays, writer, removal } = resume;
        let base = state.base.position.index;
        Self {
            boot,
            segment_bytes: config.segment_bytes(),
            settle_after: config.settle_after(),
            predecessor,
            strays,
            segment: writer.map(|writer| Segment::published(writer, base, state.last.index)),
            state,
            terms,
            floors,
            roll: false,
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            budget: BUDGET,
            resume_at: None,
            settle_at: None,
            settled: true,
            removal,
            failed: None,
            closing: false,
            closed: false,
        }
    }

    /// Why nothing is written any more.
    #[must_use]
    pub const fn failed(&self) -> Option<(File, DiskError)> {
        self.failed
    }

    /// Bytes that each new segment begins with, at most: a head, what all before it comes to, and positions (rule J6).
    #[must_use]
    pub fn preamble_bytes(&self) -> u64 {
        let state = codec::encode_state(&self.state).len() + self.state.base.membership.encoded_len();
        let floors = codec::RELY_LEN_MIN * (1 + self.floors.len());
        // Head, state, positions, and the empty record behind what follows them.
        (5 * HEADER_LEN + state + floors) as u64
    }

    /// Writes nothing in this boot.
    fn stop(&mut self, file: File, error: DiskError) {
        self.failed = Some((file, error));
    }

    fn persist(&mut self, write: Write) {
        if self.failed.is_some() || self.closing {
            return;
        }
        let Write { number, vote, base, cut, entries } = write;
        let says = vote.is_some() || base.is_some() || cut.is_some() || !entries.is_empty();
        assert!(says, "a write has something to say");
        self.queue.extend(vote.map(Item::Vote));
        self.queue.extend(base.map(|base| {
            let cleared = cut.is_some_and(|cut| cut.after <= base.position.index);
            Item::Base(base, cleared)
        }));
        self.queue.extend(cut.map(Item::Cut));
        self.queue.extend(entries.iter().cloned().map(Item::Entry));
        self.queue.push_back(Item::End(number));
    }

    fn resolve(&mut self) {
        if self.failed.is_none() && !self.closing {
            self.queue.push_back(Item::Resolved);
        }
    }

    /// What entries that come later rely on. All of it was durable before it was said, so what was said for several
    /// entries may be one record before the first of them: the largest position of each volume counts for all.
    fn rely(&mut self, volumes: Vec<(u64, u64)>) {
        if volumes.is_empty() || self.failed.is_some() || self.closing {
            return;
        }
        if let Some(Item::Rely(relied)) = self.queue.back_mut() {
            let more = volumes.iter().filter(|(volume, _)| !relied.contains_key(volume)).count();
            if relied.len() + more <= PUT_VOLUMES_MAX {
                return raise(relied, volumes);
            }
        }
        let mut relied = BTreeMap::new();
        raise(&mut relied, volumes);
        self.queue.push_back(Item::Rely(relied));
    }

    /// Appends what waits, as far as segments and the turn allow.
    fn append(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(front) = self.queue.front() {
            if let Item::End(number) = front {
                let segment = self.segment.as_ref().expect("a write has records");
                self.in_flight.push_back((segment.writer.last_position(), *number));
                self.queue.pop_front();
                continue;
            }
            let spreads = front.membership().is_some_and(|membership| membership.members().len() > 1);
            if !self.ensure_segment(out) {
                return;
            }
            if self.budget.0 == 0 || self.budget.1 == 0 {
                self.resume_at = Some(now.mono);
                return;
            }
            if spreads && !self.state.replicated {
                // That must be known to be durable before anybody else may get the log: it ends the segment.
                self.state.replicated = true;
                self.roll = true;
                self.record(Kind::State, &codec::encode_state(&self.state));
                continue;
            }
            let item = self.queue.pop_front().expect("just looked at");
            self.take(item);
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Vote(vote) => {
                self.state.vote = vote;
                self.record(Kind::Vote, &codec::encode_vote(&vote));
            }
            Item::Base(base, cleared) => {
                let index = base.position.index;
                if cleared {
                    self.terms = Terms::new(base.position);
                } else {
                    self.terms.begin_after(base.position);
                }
                self.state.last = self.terms.last();
                self.record(Kind::Base, &codec::encode_base(&base));
                self.state.base = base;
                self.segment.as_mut().expect("a segment is open").based(index);
            }
            Item::Cut(cut) => {
                self.terms.cut(cut.after);
                self.state.last = self.terms.last();
                self.state.accepted = self.state.accepted.max(cut.term);
                self.record(Kind::Cut, &codec::encode_cut(&cut));
            }
            Item::Entry(entry) => {
                self.terms.push(entry.position);
                self.state.last = self.terms.last();
                self.state.accepted = self.state.accepted.max(entry.position.term);
                self.record(Kind::Log, &codec::encode_entry(&entry));
                self.segment.as_mut().expect("a segment is open").has_entry(entry.position.index);
            }
            Item::Rely(volumes) => {
                let volumes = Vec::from_iter(volumes);
                self.record(Kind::Rely, &codec::encode_rely(&volumes));
                raise(&mut self.floors, volumes);
            }
            Item::Resolved => {
                if self.state.doubt.take().is_some() || !self.state.vote_certain {
                    self.state.vote_certain = true;
                    self.record(Kind::State, &codec::encode_state(&self.state));
                }
            }
            Item::End(_) => unreachable!("the end of a write is no record"),
        }
    }

    fn record(&mut self, kind: Kind, body: &[u8]) {
        self.segment.as_mut().expect("a segment is open").record(kind, body);
        self.budget = (self.budget.0.saturating_sub(body.len()), self.budget.1 - 1);
        self.settled = false;
        self.settle_at = None;
    }

    /// Whether a segment takes records now. Seals one that is full, and opens the next once the old one is sealed.
    fn ensure_segment(&mut self, out: &mut Vec<Effect>) -> bool {
        if let Some(segment) = &mut self.segment {
            // However small segments are, each takes something besides what it begins with.
            let full = segment.writer.bytes() >= self.segment_bytes && segment.is_begun();
            if segment.writer.is_open() && !full && !self.roll {
                return true;
            }
            segment.writer.seal();
            if !segment.writer.is_sealed() {
                return false;
            }
            self.predecessor = segment.writer.as_predecessor();
            self.removal.sealed(self.predecessor, segment.last_index());
            out.push(Effect::Note(Note::Sealed(segment.writer.file())));
        }
        assert!(self.in_flight.is_empty(), "a sealed segment has nothing in flight");
        self.roll = false;
        let number = self.strays.next(FileKind::Journal, self.predecessor.number);
        let stamp = Stamp::new(&self.boot.key, FileKind::Journal, number);
        let head = Head { predecessor: self.predecessor, store: self.boot.store, boot_random: self.boot.random };
        let writer = Writer::create(stamp, self.boot.boot, &head);
        out.push(Effect::Note(Note::Created(writer.file())));
        self.segment = Some(Segment::begin(writer, &self.state, &self.floors));
        true
    }

    fn writer_done(&mut self, now: Now, op: WriterOp, result: &DiskResult, out: &mut Vec<Effect>) {
        let segment = self.segment.as_mut().expect("a completion belongs to the segment being written");
        segment.writer.done(op, result);
        let file = segment.writer.file();
        if let Some(error) = segment.writer.failed() {
            return self.fail(file, error, out);
        }
        if let WriterOp::Sync { .. } = op {
            out.push(Effect::Note(Note::Synced(file)));
        }
        segment.prove();
        let durable_through = segment.writer.durable_through();
        let busy = segment.writer.is_busy();
        let mut durable = None;
        while let Some((_, write)) = self.in_flight.pop_front_if(|(position, _)| *position <= durable_through) {
            durable = Some(write);
        }
        out.extend(durable.map(|write| Effect::Persisted { write }));
        if busy || !self.queue.is_empty() || self.closing {
            return;
        }
        if self.settled {
            out.push(Effect::Note(Note::Settled));
        } else {
            self.settle_at = Some(now.mono + self.settle_after);
        }
    }

    /// The journal can't be written: nobody hears any more that a write is durable.
    fn fail(&mut self, file: File, error: DiskError, out: &mut Vec<Effect>) {
        if self.failed.is_none() {
            self.failed = Some((file, error));
            out.push(Effect::Note(Note::WritesStopped { file, error }));
            out.push(Effect::Failed { file, error });
        }
        (self.settle_at, self.resume_at) = (None, None);
        self.in_flight.clear();
        self.queue.clear();
    }

    /// Appends the empty record when the journal has been idle long enough (rule J3).
    fn settle(&mut self, now: Now) {
        if self.settle_at.is_some_and(|at| at <= now.mono) {
            self.settle_at = None;
            if let Some(segment) = self.segment.as_mut().filter(|segment| segment.writer.is_open()) {
                segment.record(Kind::Empty, &[]);
                self.settled = true;
            }
        }
    }

    fn close_when_idle(&mut self, out: &mut Vec<Effect>) {
        if !self.closing || self.closed || !self.queue.is_empty() {
            return;
        }
        self.settle_at = None;
        if let Some(segment) = &mut self.segment {
            segment.writer.seal();
            if self.failed.is_none() && !segment.writer.is_sealed() {
                return;
            }
        }
        if !self.removal.is_writing() {
            self.closed = true;
            out.push(Effect::Closed);
        }
    }

    /// Begins to remove what is not needed any more.
    fn remove_old(&mut self, out: &mut Vec<Effect>) {
        if self.failed.is_some() || self.closing {
            return;
        }
        let Some(segment) = &self.segment else { return };
        if let Some(base) = segment.proven_base() {
            self.removal.begin(base, self.boot.store, &segment.writer, out);
        }
    }
}

/// Raises what is known durable of volumes, and forgets those with the smallest numbers where there are too many.
fn raise(floors: &mut BTreeMap<u64, u64>, volumes: impl IntoIterator<Item = (u64, u64)>) {
    for (volume, position) in volumes {
        let floor = floors.entry(volume).or_default();
        *floor = position.max(*floor);
    }
    while floors.len() > RELIED_VOLUMES_MAX {
        floors.pop_first();
    }
}

impl Machine for Journal {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        self.budget = BUDGET;
        self.resume_at = None;
        self.settle(now);
        match event {
            Event::Wake => {}
            Event::DiskDone { op: Op::Writer(op), result } => self.writer_done(now, op, &result, out),
            Event::DiskDone { op: Op::Catalog, result } => self.removal.published(&result, out),
            Event::DiskDone { op: Op::Remove, result } => self.removal.removed(&result, out),
            Event::Persist(write) => self.persist(*write),
            Event::Rely(volumes) => self.rely(volumes),
            Event::Resolved => self.resolve(),
            Event::Close => self.closing = true,
        }
    }

    fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.append(now, out);
        self.close_when_idle(out);
        if let Some(segment) = &mut self.segment {
            let mut requests = Vec::new();
            segment.writer.flush(&mut requests);
            out.extend(requests.into_iter().map(|(op, request)| Effect::Disk { op: Op::Writer(op), request }));
        }
        self.remove_old(out);
    }

    fn deadline(&self) -> Option<Instant> {
        self.settle_at.into_iter().chain(self.resume_at).min()
    }

    fn check(&self) {
        let ordered = self.in_flight.iter().is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1);
        assert!(ordered, "writes are in flight in their order");
        assert!(self.floors.len() <= RELIED_VOLUMES_MAX, "what is relied on is bounded");
        if let Some(segment) = &self.segment {
            segment.writer.check();
            let durable = segment.writer.durable_through();
            assert!(self.in_flight.front().is_none_or(|(position, _)| *position > durable), "what is durable is told");
        }
        let idle = self.in_flight.is_empty() && self.queue.is_empty();
        assert!(self.failed.is_none() || idle, "a failed journal waits for nothing");
        self.removal.check();
    }
}

#[cfg(test)]
mod tests;
