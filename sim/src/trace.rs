//! The trace of a run: a hash over everything that happened, and on demand its last lines as text.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use dps_core::disk::{DiskReply, DiskRequest, DiskResult};
use dps_core::id::OpId;
use dps_core::node::{Effect, Event, Reply, Request};

/// A hash that is fed piece by piece. It tells runs apart; nobody attacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceHash(u64);

impl TraceHash {
    pub(crate) const fn new() -> Self {
        Self(0x6470_7320_7369_6d31)
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }

    pub(crate) fn number(&mut self, number: u64) {
        let mut mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 32;
        self.0 = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(23);
    }

    /// Bodies count by length and checksum.
    pub(crate) fn body(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.number(u64::from(crc32fast::hash(bytes)));
    }
}

impl fmt::Write for TraceHash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.number(u64::from_le_bytes(word));
        }
        Ok(())
    }
}

/// What a trace has of an event or an effect.
pub(crate) trait Traced {
    /// Feeds everything that must be the same in every run, bodies by length and checksum.
    fn digest(&self, hash: &mut TraceHash);
    /// One line of text, bodies by their length.
    fn brief(&self) -> String;
}

impl Traced for Event {
    fn digest(&self, hash: &mut TraceHash) {
        digest_event(hash, self);
    }

    fn brief(&self) -> String {
        Brief::event(self)
    }
}

impl Traced for Effect {
    fn digest(&self, hash: &mut TraceHash) {
        digest_effect(hash, self);
    }

    fn brief(&self) -> String {
        Brief::effect(self)
    }
}

/// What happened so far.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: TraceHash,
    /// Kept lines; a failing run is repeated to get them, so that passing runs don't pay.
    lines: VecDeque<String>,
    lines_max: usize,
    events: u64,
}

impl Trace {
    pub(crate) fn new(lines_max: usize) -> Self {
        Self { hash: TraceHash::new(), lines: VecDeque::new(), lines_max, events: 0 }
    }

    pub(crate) const fn hash(&self) -> TraceHash {
        self.hash
    }

    /// Events delivered to nodes so far.
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }

    pub(crate) fn event(&mut self, at: u64, host: u32, event: &impl Traced) {
        self.events += 1;
        self.head(at, host, 1);
        event.digest(&mut self.hash);
        self.line(at, host, || format!("-> {}", event.brief()));
    }

    pub(crate) fn effect(&mut self, at: u64, host: u32, effect: &impl Traced) {
        self.head(at, host, 2);
        effect.digest(&mut self.hash);
        self.line(at, host, || format!("<- {}", effect.brief()));
    }

    /// Something that the world did to a host, with a number that must be the same in every run.
    pub(crate) fn world(&mut self, at: u64, host: u32, what: &dyn fmt::Debug, number: u64) {
        self.head(at, host, 3);
        let _ = write!(self.hash, "{what:?}");
        self.hash.number(number);
        self.line(at, host, || format!("** {what:?} ({number:x})"));
    }

    fn head(&mut self, at: u64, host: u32, kind: u64) {
        self.hash.number(at);
        self.hash.number(u64::from(host) << 8 | kind);
    }

    fn line(&mut self, at: u64, host: u32, text: impl FnOnce() -> String) {
        if self.lines_max == 0 {
            return;
        }
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
        }
        let line = format!("{:>5}.{:06} ms  host {host}  {}", at / 1_000_000, at % 1_000_000, text());
        self.lines.push_back(line);
    }
}

pub(crate) fn debug(hash: &mut TraceHash, value: &dyn fmt::Debug) {
    let _ = write!(hash, "{value:?}");
}

/// The end of a disk request, whoever hears of it.
pub(crate) fn digest_result(hash: &mut TraceHash, op: OpId, result: &DiskResult) {
    hash.number(2);
    hash.number(op.boot);
    hash.number(op.sequence);
    match result {
        Ok(DiskReply::Read(bytes)) => hash.body(bytes),
        Ok(DiskReply::Verified(chunk)) => hash.body(chunk.bytes()),
        other => debug(hash, other),
    }
}

fn digest_event(hash: &mut TraceHash, event: &Event) {
    match event {
        Event::Wake => hash.number(1),
        Event::DiskDone { op, result } => digest_result(hash, *op, result),
        Event::Requested { id, request } => {
            hash.number(3);
            hash.number(id.0);
            match request {
                Request::PutChunk(chunk) => hash.body(chunk.bytes()),
                other => debug(hash, other),
            }
        }
    }
}

/// A disk request, whoever issues it.
pub(crate) fn digest_request(hash: &mut TraceHash, op: OpId, request: &DiskRequest) {
    hash.number(4);
    hash.number(op.boot);
    hash.number(op.sequence);
    if let DiskRequest::Append { file, offset, parts } = request {
        debug(hash, file);
        hash.number(*offset);
        parts.iter().for_each(|part| hash.body(part));
    } else {
        debug(hash, request);
    }
}

fn digest_effect(hash: &mut TraceHash, effect: &Effect) {
    match effect {
        Effect::Disk { op, request } => digest_request(hash, *op, request),
        Effect::Reply { id, reply, last } => {
            hash.number(5);
            hash.number(id.0);
            hash.number(u64::from(*last));
            if let Ok(Reply::Data(bytes)) = reply {
                hash.body(bytes);
            } else {
                debug(hash, reply);
            }
        }
        Effect::Note(note) => debug(hash, note),
        Effect::Halt(reason) => debug(hash, reason),
    }
}

/// One line of text for an event or effect, bodies by their length.
pub(crate) struct Brief;

impl Brief {
    pub(crate) fn result(op: OpId, result: &DiskResult) -> String {
        match result {
            Ok(DiskReply::Read(bytes)) => {
                format!("disk done {}.{}: read {} bytes", op.boot, op.sequence, bytes.len())
            }
            other => format!("disk done {}.{}: {other:?}", op.boot, op.sequence),
        }
    }

    pub(crate) fn request(op: OpId, request: &DiskRequest) -> String {
        match request {
            DiskRequest::Append { file, offset, parts } => {
                let parts: Vec<usize> = parts.iter().map(bytes::Bytes::len).collect();
                format!("disk {}.{}: append to {file} at {offset}, parts {parts:?}", op.boot, op.sequence)
            }
            other => format!("disk {}.{}: {other:?}", op.boot, op.sequence),
        }
    }

    fn event(event: &Event) -> String {
        match event {
            Event::DiskDone { op, result } => Self::result(*op, result),
            Event::Wake | Event::Requested { .. } => format!("{event:?}"),
        }
    }

    fn effect(effect: &Effect) -> String {
        match effect {
            Effect::Disk { op, request } => Self::request(*op, request),
            Effect::Reply { id, reply: Ok(Reply::Data(bytes)), last } => {
                format!("reply {}: {} bytes of data, last {last}", id.0, bytes.len())
            }
            Effect::Reply { .. } | Effect::Halt(_) => format!("{effect:?}"),
            Effect::Note(note) => format!("note: {note}"),
        }
    }
}
