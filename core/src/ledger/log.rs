//! The journal of a ledger with one voter: an entry is committed when it is durable.
//!
//! Entries share syncs (group commit by outstanding sync). When the journal has been idle for a while it appends one
//! empty record, which knows that the last entry is durable (rule J3).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::command::Command;
use super::entry::Entry;
use crate::config::Config;
use crate::disk::boot::BootRecord;
use crate::disk::record::{FileKind, Head, Kind, Predecessor, Stamp};
use crate::disk::stray::Strays;
use crate::disk::writer::{Writer, WriterOp};
use crate::disk::{DiskError, DiskRequest, DiskResult, File};
use crate::limits::PROPOSALS_MAX;
use crate::machine::Machine;
use crate::note::Note;
use crate::time::{Instant, Now};

/// The term of every entry while the only voter is this node.
pub const SOLE_VOTER_TERM: u64 = 1;

/// What happens to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline passed.
    Wake,
    /// A disk request of the log ended.
    DiskDone {
        /// Which.
        op: WriterOp,
        /// How.
        result: DiskResult,
    },
    /// A command to be committed.
    Propose {
        /// Chosen by the caller and echoed.
        ticket: u64,
        /// By volume, the largest position that the command relies on (rule J6).
        volumes: Vec<(u64, u64)>,
        /// The command.
        command: Command,
    },
    /// No further commands; close the segment in good order.
    Close,
}

/// What the log wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A disk request.
    Disk {
        /// To be echoed.
        op: WriterOp,
        /// What to do.
        request: DiskRequest,
    },
    /// A command is durable: apply it. Committed commands come in the order of their indexes.
    Committed {
        /// The proposal.
        ticket: u64,
        /// Its place in the log.
        index: u64,
        /// The command.
        command: Command,
    },
    /// A command was not committed.
    Refused {
        /// The proposal.
        ticket: u64,
        /// Why.
        error: LogError,
    },
    /// The segment is closed, after [`Event::Close`].
    Closed,
    /// Something worth knowing.
    Note(Note),
}

/// Why a command was not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogError {
    /// The journal failed earlier; nothing was written.
    Stopped {
        /// The file that failed.
        file: File,
        /// What the disk said.
        error: DiskError,
    },
    /// The journal failed with the command on its way: after the next start it is there as a whole or not at all.
    Unknown(DiskError),
    /// Too many commands are waiting.
    Busy,
    /// The log is closing.
    Closing,
}

#[derive(Debug)]
struct Proposal {
    ticket: u64,
    volumes: Vec<(u64, u64)>,
    command: Command,
}

#[derive(Debug)]
struct InFlight {
    /// The position of its record in the segment being written.
    position: u64,
    ticket: u64,
    index: u64,
    command: Command,
}

/// The log of the only voter.
///
/// Invariant: `in_flight` is ordered by position and index, and all of it is above `durable_through`.
#[derive(Debug)]
pub struct Log {
    boot: BootRecord,
    segment_bytes: u64,
    settle_after: Duration,
    predecessor: Predecessor,
    strays: Strays,
    writer: Option<Writer>,
    next_index: u64,
    /// Waiting for the next segment, or for the end of the turn.
    queue: VecDeque<Proposal>,
    in_flight: VecDeque<InFlight>,
    /// When the empty record is due.
    settle_at: Option<Instant>,
    /// Whether the last record is that empty one.
    settled: bool,
    failed: Option<(File, DiskError)>,
    closing: bool,
    closed: bool,
}

impl Log {
    /// A log that goes on after `last_index`, in the segment `writer` or else in one after `predecessor`.
    pub(super) fn new(
        config: &Config,
        boot: BootRecord,
        last_index: u64,
        predecessor: Predecessor,
        writer: Option<Writer>,
    ) -> Self {
        Self {
            boot,
            segment_bytes: config.segment_bytes(),
            settle_after: config.settle_after(),
            predecessor,
            strays: Strays::default(),
            writer,
            next_index: last_index + 1,
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            settle_at: None,
            settled: true,
            failed: None,
            closing: false,
            closed: false,
        }
    }

    /// No new segment takes the place of one of these strays.
    pub(super) fn beside(self, strays: Strays) -> Self {
        Self { strays, ..self }
    }

    /// Writes nothing in this boot.
    pub(super) fn stop(&mut self, file: File, error: DiskError) {
        self.failed = Some((file, error));
    }

    /// Why nothing is written any more.
    #[must_use]
    pub const fn failed(&self) -> Option<(File, DiskError)> {
        self.failed
    }

    fn propose(&mut self, proposal: Proposal, out: &mut Vec<Effect>) {
        let error = match self.failed {
            Some((file, error)) => Some(LogError::Stopped { file, error }),
            None if self.closing => Some(LogError::Closing),
            None if self.queue.len() + self.in_flight.len() >= PROPOSALS_MAX => Some(LogError::Busy),
            None => None,
        };
        match error {
            Some(error) => out.push(Effect::Refused { ticket: proposal.ticket, error }),
            None => self.queue.push_back(proposal),
        }
    }

    /// Appends what was proposed in this turn, as far as segments allow.
    fn append(&mut self, out: &mut Vec<Effect>) {
        while !self.queue.is_empty() && self.ensure_segment(out) {
            let Proposal { ticket, volumes, command } = self.queue.pop_front().expect("not empty");
            let writer = self.writer.as_mut().expect("a segment is open");
            let index = self.next_index;
            self.next_index += 1;
            let entry = Entry { term: SOLE_VOTER_TERM, index, volumes, command: command.encode() };
            let position = writer.record(Kind::Entry, &entry.encode()).position;
            self.in_flight.push_back(InFlight { position, ticket, index, command });
            self.settled = false;
            self.settle_at = None;
        }
    }

    /// Whether a segment takes records now. Seals one that is full, and opens the next once the old one is sealed.
    fn ensure_segment(&mut self, out: &mut Vec<Effect>) -> bool {
        if let Some(writer) = &mut self.writer {
            if writer.is_open() && writer.bytes() < self.segment_bytes {
                return true;
            }
            writer.seal();
            if !writer.is_sealed() {
                return false;
            }
            self.predecessor = writer.as_predecessor();
            out.push(Effect::Note(Note::Sealed(writer.file())));
        }
        assert!(self.in_flight.is_empty(), "a sealed segment has nothing in flight");
        let number = self.strays.next(FileKind::Journal, self.predecessor.number);
        let stamp = Stamp::new(&self.boot.key, FileKind::Journal, number);
        let head = Head { predecessor: self.predecessor, store: self.boot.store, boot_random: self.boot.random };
        let writer = Writer::create(stamp, self.boot.boot, &head);
        out.push(Effect::Note(Note::Created(writer.file())));
        self.writer = Some(writer);
        true
    }

    fn disk_done(&mut self, now: Now, op: WriterOp, result: &DiskResult, out: &mut Vec<Effect>) {
        let writer = self.writer.as_mut().expect("a completion belongs to the segment being written");
        writer.done(op, result);
        if let Some(error) = writer.failed() {
            let file = writer.file();
            return self.fail(file, error, out);
        }
        if let WriterOp::Sync { .. } = op {
            out.push(Effect::Note(Note::Synced(writer.file())));
        }
        let durable_through = writer.durable_through();
        let busy = writer.is_busy();
        while self.in_flight.front().is_some_and(|entry| entry.position <= durable_through) {
            let InFlight { ticket, index, command, .. } = self.in_flight.pop_front().expect("just looked at");
            out.push(Effect::Committed { ticket, index, command });
        }
        if busy || !self.in_flight.is_empty() || self.closing {
            return;
        }
        if self.settled {
            out.push(Effect::Note(Note::Settled));
        } else {
            self.settle_at = Some(now.mono + self.settle_after);
        }
    }

    /// The journal can't be written: what was on its way has an unknown outcome, what waits was not written.
    fn fail(&mut self, file: File, error: DiskError, out: &mut Vec<Effect>) {
        if self.failed.is_none() {
            self.failed = Some((file, error));
            out.push(Effect::Note(Note::WritesStopped { file, error }));
        }
        self.settle_at = None;
        for InFlight { ticket, .. } in core::mem::take(&mut self.in_flight) {
            out.push(Effect::Refused { ticket, error: LogError::Unknown(error) });
        }
        for Proposal { ticket, .. } in core::mem::take(&mut self.queue) {
            out.push(Effect::Refused { ticket, error: LogError::Stopped { file, error } });
        }
    }

    /// Appends the empty record when the log has been idle long enough.
    fn settle(&mut self, now: Now) {
        if self.settle_at.is_some_and(|at| at <= now.mono) {
            self.settle_at = None;
            let writer = self.writer.as_mut().filter(|writer| writer.is_open());
            if let Some(writer) = writer {
                writer.record(Kind::Empty, &[]);
                self.settled = true;
            }
        }
    }

    fn close_when_idle(&mut self, out: &mut Vec<Effect>) {
        if !self.closing || self.closed || !self.queue.is_empty() {
            return;
        }
        self.settle_at = None;
        if let Some(writer) = &mut self.writer {
            writer.seal();
            if self.failed.is_none() && !writer.is_sealed() {
                return;
            }
        }
        self.closed = true;
        out.push(Effect::Closed);
    }
}

impl Machine for Log {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        self.settle(now);
        match event {
            Event::Wake => {}
            Event::DiskDone { op, result } => self.disk_done(now, op, &result, out),
            Event::Propose { ticket, volumes, command } => self.propose(Proposal { ticket, volumes, command }, out),
            Event::Close => self.closing = true,
        }
    }

    fn flush(&mut self, _now: Now, out: &mut Vec<Effect>) {
        if self.failed.is_none() {
            self.append(out);
        }
        self.close_when_idle(out);
        if let Some(writer) = &mut self.writer {
            let mut requests = Vec::new();
            writer.flush(&mut requests);
            out.extend(requests.into_iter().map(|(op, request)| Effect::Disk { op, request }));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.settle_at
    }

    fn check(&self) {
        let ordered = self.in_flight.iter().is_sorted_by(|a, b| a.position < b.position && a.index + 1 == b.index);
        assert!(ordered, "entries are in flight in their order");
        assert!(self.in_flight.back().is_none_or(|entry| entry.index + 1 == self.next_index), "indexes are dense");
        if let Some(writer) = &self.writer {
            writer.check();
            let durable = writer.durable_through();
            assert!(
                self.in_flight.front().is_none_or(|entry| entry.position > durable),
                "what is durable is committed"
            );
        }
        assert!(self.failed.is_none() || self.in_flight.is_empty(), "a failed log waits for nothing");
    }
}

#[cfg(test)]
pub(in crate::ledger) mod tests;
