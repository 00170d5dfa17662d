//! The chunk store of one node: an index in memory over volumes on disk.
//!
//! A chunk is stored once. Chunks of many puts share a volume and its syncs; a volume that is full is sealed and the
//! next one begins. What is asked for is read and hashed by the driver's workers, never here.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::{ChunkFault, Place, StoreError, StoredChunk};
use crate::config::Config;
use crate::disk::boot::BootRecord;
use crate::disk::record::{CHUNK_PREFIX_LEN, FileKind, HEADER_LEN, Head, Predecessor, Stamp};
use crate::disk::writer::{Writer, WriterOp};
use crate::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Verify};
use crate::id::{ChunkId, VerifiedChunk};
use crate::limits::STORES_MAX;
use crate::machine::Machine;
use crate::note::Note;
use crate::time::{Instant, Now};

/// Bytes of a chunk's record before its bytes.
pub(super) const CHUNK_OFFSET: u64 = (HEADER_LEN + CHUNK_PREFIX_LEN) as u64;

/// What happens to the store. Tickets are chosen by the caller and echoed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline passed.
    Wake,
    /// A disk request of the store ended.
    DiskDone {
        /// Which.
        token: Token,
        /// How.
        result: DiskResult,
    },
    /// A chunk to be stored.
    Put {
        /// Names this put.
        ticket: Ticket,
        /// The chunk.
        chunk: VerifiedChunk,
    },
    /// A chunk to be read.
    Get {
        /// Names this get.
        ticket: Ticket,
        /// Which.
        chunk: ChunkId,
    },
    /// No further puts; close the volume in good order.
    Close,
}

/// What the store wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A disk request.
    Disk {
        /// To be echoed.
        token: Token,
        /// What to do.
        request: DiskRequest,
    },
    /// The chunk of a put is out of memory; it is not durable yet.
    Written {
        /// The put.
        ticket: Ticket,
    },
    /// A put ended.
    Stored {
        /// The put.
        ticket: Ticket,
        /// Where the chunk is, durably; or why not.
        result: Result<StoredChunk, StoreError>,
    },
    /// A get ended.
    Loaded {
        /// The get.
        ticket: Ticket,
        /// The chunk, or what is wrong with it.
        result: Result<VerifiedChunk, ChunkFault>,
    },
    /// The volume is closed, after [`Event::Close`].
    Closed,
    /// Something worth knowing.
    Note(Note),
}

/// Names a put or get of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// The conversation it belongs to.
    pub owner: u64,
    /// Which of its chunks.
    pub number: u64,
}

/// Names a disk request of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Token {
    /// A request of the volume being written.
    Volume(WriterOp),
    /// A read for a get or for the check of a chunk that is put again.
    Read(u64),
}

/// How far the bytes of a chunk are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// This boot has hashed them.
    Proven,
    /// They were durable once.
    Unchecked,
    /// They were found bad: a put writes them anew.
    Bad,
}

#[derive(Clone, Copy, Debug)]
struct Located {
    place: Place,
    sequence: u64,
    bytes: u32,
    trust: Trust,
}

/// A chunk on its way to disk.
#[derive(Debug)]
struct Pending {
    located: Located,
    chunk: ChunkId,
}

#[derive(Debug)]
enum Read {
    Get { ticket: Ticket, chunk: ChunkId, place: Place },
    Recheck { ticket: Ticket, chunk: VerifiedChunk, place: Place },
}

/// A chunk record that recovery found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) chunk: ChunkId,
    pub(super) place: Place,
    pub(super) sequence: u64,
    pub(super) bytes: u32,
}

/// The chunk store.
///
/// Invariants: every chunk in `pending` is in `waiting` and was not durable when last looked at; the volume in `writer`
/// has a larger number than any in the index.
#[derive(Debug)]
pub struct Store {
    boot: BootRecord,
    volume_bytes: u64,
    index: BTreeMap<ChunkId, Located>,
    /// The newest file before `writer`, as that one's head names it.
    predecessor: Predecessor,
    writer: Option<Writer>,
    next_sequence: u64,
    /// Appended and not durable, by position in the volume being written.
    pending: BTreeMap<u64, Pending>,
    /// The puts that wait for a chunk in `pending`, with whether they wrote it.
    waiting: BTreeMap<ChunkId, Vec<(Ticket, bool)>>,
    /// How many those are.
    waiting_puts: usize,
    /// Puts whose bytes are in the batch that is not acknowledged as appended, by position.
    unwritten: VecDeque<(u64, Ticket)>,
    /// Puts that wait for the next volume.
    queue: VecDeque<(Ticket, VerifiedChunk)>,
    reads: BTreeMap<u64, Read>,
    next_read: u64,
    failed: Option<(File, DiskError)>,
    closing: bool,
    closed: bool,
    /// Volumes that have lost records.
    lost_volumes: Vec<u64>,
}

impl Store {
    /// A store without chunks.
    pub(super) fn new(config: &Config, boot: BootRecord) -> Self {
        Self {
            boot,
            volume_bytes: config.volume_bytes(),
            index: BTreeMap::new(),
            predecessor: Predecessor::default(),
            writer: None,
            next_sequence: 1,
            pending: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_puts: 0,
            unwritten: VecDeque::new(),
            queue: VecDeque::new(),
            reads: BTreeMap::new(),
            next_read: 1,
            failed: None,
            closing: false,
            closed: false,
            lost_volumes: Vec::new(),
        }
    }

    /// Enters a record that recovery found. Of two records of one chunk the later sequence counts, and of equal ones the
    /// later file, which is a copy.
    pub(super) fn found(&mut self, found: Found) {
        let Found { chunk, place, sequence, bytes } = found;
        self.next_sequence = self.next_sequence.max(sequence + 1);
        let older = self.index.get(&chunk).map(|located| (located.sequence, located.place.volume));
        if older.is_none_or(|older| older <= (sequence, place.volume)) {
            self.index.insert(chunk, Located { place, sequence, bytes, trust: Trust::Unchecked });
        }
    }

    /// Goes on with the volume that recovery has made.
    pub(super) fn resume(&mut self, writer: Writer) {
        assert!(self.writer.is_none(), "one volume is written");
        self.writer = Some(writer);
    }

    /// Enters a record of a tail that could not be copied. Copies of it that were not published don't count.
    pub(super) fn found_again(&mut self, found: Found) {
        self.index.remove(&found.chunk);
        self.found(found);
    }

    /// The next volume comes after this one.
    pub(super) fn continue_after(&mut self, predecessor: Predecessor) {
        self.predecessor = predecessor;
    }

    /// Writes nothing in this boot.
    pub(super) fn stop(&mut self, file: File, error: DiskError) {
        self.failed = Some((file, error));
    }

    pub(super) fn lose(&mut self, volumes: Vec<u64>) {
        self.lost_volumes = volumes;
    }

    /// Chunks that can be read.
    #[must_use]
    pub fn chunk_count(&self) -> u64 {
        self.index.len() as u64
    }

    /// Why nothing is written any more.
    #[must_use]
    pub const fn failed(&self) -> Option<(File, DiskError)> {
        self.failed
    }

    fn put(&mut self, ticket: Ticket, chunk: VerifiedChunk, out: &mut Vec<Effect>) {
        if self.closing {
            return out.push(Effect::Stored { ticket, result: Err(StoreError::Closing) });
        }
        if self.queue.len() + self.waiting_puts + self.reads.len() >= STORES_MAX {
            return out.push(Effect::Stored { ticket, result: Err(StoreError::Busy) });
        }
        self.place(ticket, chunk, out);
    }

    /// Answers a put by what is known of its chunk: it is here, or it must be read first, or written.
    fn place(&mut self, ticket: Ticket, chunk: VerifiedChunk, out: &mut Vec<Effect>) {
        match self.index.get(&chunk.id()).copied() {
            Some(located) if located.trust == Trust::Proven => {
                out.push(Effect::Written { ticket });
                let stored = StoredChunk { place: located.place, fresh: false };
                out.push(Effect::Stored { ticket, result: Ok(stored) });
            }
            // Whoever puts a chunk again relies on it from now on, so its old copy is read first.
            Some(located) if located.trust == Trust::Unchecked => {
                let id = chunk.id();
                let read = Read::Recheck { ticket, chunk, place: located.place };
                self.read(id, located, read, out);
            }
            Some(_) | None => self.write(ticket, chunk, out),
        }
    }

    /// Appends a chunk, or joins the put that is appending it.
    fn write(&mut self, ticket: Ticket, chunk: VerifiedChunk, out: &mut Vec<Effect>) {
        if let Some(error) = self.store_error() {
            return out.push(Effect::Stored { ticket, result: Err(error) });
        }
        if let Some(waiting) = self.waiting.get_mut(&chunk.id()) {
            waiting.push((ticket, false));
            self.waiting_puts += 1;
            return out.push(Effect::Written { ticket });
        }
        if !self.ensure_volume(out) {
            return self.queue.push_back((ticket, chunk));
        }
        if self.index.contains_key(&chunk.id()) {
            out.push(Effect::Note(Note::ChunkHealed(chunk.id())));
        }
        let writer = self.writer.as_mut().expect("a volume is open");
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let written = writer.chunk(sequence, &chunk);
        let place = Place { volume: writer.number(), offset: written.offset, position: written.position };
        let bytes = u32::try_from(chunk.bytes().len()).expect("chunks have at most 4 MiB");
        let located = Located { place, sequence, bytes, trust: Trust::Proven };
        self.pending.insert(written.position, Pending { located, chunk: chunk.id() });
        self.waiting.insert(chunk.id(), [(ticket, true)].into());
        self.waiting_puts += 1;
        self.unwritten.push_back((written.position, ticket));
    }

    /// Whether a volume takes records now. Seals one that is full, and opens the next once the old one is sealed.
    fn ensure_volume(&mut self, out: &mut Vec<Effect>) -> bool {
        if let Some(writer) = &mut self.writer {
            if writer.is_open() && writer.bytes() < self.volume_bytes {
                return true;
            }
            writer.seal();
            if !writer.is_sealed() {
                return false;
            }
            self.predecessor = writer.as_predecessor();
            out.push(Effect::Note(Note::Sealed(writer.file())));
        }
        assert!(self.pending.is_empty(), "a sealed volume has nothing pending");
        let number = self.predecessor.number + 1;
        let stamp = Stamp::new(&self.boot.key, FileKind::Volume, number);
        let head = Head { predecessor: self.predecessor, store: self.boot.store, boot_random: self.boot.random };
        let writer = Writer::create(stamp, self.boot.boot, &head);
        out.push(Effect::Note(Note::Created(writer.file())));
        self.writer = Some(writer);
        true
    }

    fn get(&mut self, ticket: Ticket, chunk: ChunkId, out: &mut Vec<Effect>) {
        match self.index.get(&chunk).copied() {
            Some(located) => {
                let read = Read::Get { ticket, chunk, place: located.place };
                self.read(chunk, located, read, out);
            }
            None => {
                let lost_volumes = self.lost_volumes.clone();
                out.push(Effect::Loaded { ticket, result: Err(ChunkFault::Missing { lost_volumes }) });
            }
        }
    }

    fn read(&mut self, chunk: ChunkId, located: Located, read: Read, out: &mut Vec<Effect>) {
        let number = self.next_read;
        self.next_read += 1;
        self.reads.insert(number, read);
        let request = DiskRequest::Read {
            file: File::Volume(located.place.volume),
            offset: located.place.offset + CHUNK_OFFSET,
            len: located.bytes,
            verify: Verify::Chunk(chunk),
        };
        out.push(Effect::Disk { token: Token::Read(number), request });
    }

    fn read_done(&mut self, number: u64, result: DiskResult, out: &mut Vec<Effect>) {
        let read = self.reads.remove(&number).expect("a completion belongs to a request");
        let (id, place) = match &read {
            Read::Get { chunk, place, .. } => (*chunk, *place),
            Read::Recheck { chunk, place, .. } => (chunk.id(), *place),
        };
        let loaded = match result {
            Ok(DiskReply::Verified(chunk)) => {
                assert_eq!(chunk.id(), id, "the driver verified another chunk");
                Ok(chunk)
            }
            Ok(DiskReply::Mismatch) => Err(ChunkFault::Mismatch(place)),
            Ok(_) => panic!("a verified read is answered by a chunk or a mismatch"),
            Err(error) => Err(ChunkFault::Unreadable(place, error)),
        };
        self.judge(id, place, loaded.is_ok(), out);
        match read {
            Read::Get { ticket, .. } => out.push(Effect::Loaded { ticket, result: loaded }),
            // Another put may have written it anew while this one was reading.
            Read::Recheck { ticket, chunk, .. } => self.place(ticket, chunk, out),
        }
    }

    /// Remembers what a read has shown, unless the chunk has moved meanwhile.
    fn judge(&mut self, id: ChunkId, place: Place, good: bool, out: &mut Vec<Effect>) {
        if !good {
            out.push(Effect::Note(Note::ChunkMismatch(id)));
        }
        if let Some(located) = self.index.get_mut(&id).filter(|located| located.place == place) {
            located.trust = if good { Trust::Proven } else { Trust::Bad };
        }
    }

    fn volume_done(&mut self, op: WriterOp, result: &DiskResult, out: &mut Vec<Effect>) {
        let writer = self.writer.as_mut().expect("a completion belongs to the volume being written");
        writer.done(op, result);
        if let Some(error) = writer.failed() {
            let file = writer.file();
            return self.fail(file, error, out);
        }
        let durable_through = writer.durable_through();
        match op {
            WriterOp::Append { through } => self.release_written(through, out),
            WriterOp::Sync { .. } => out.push(Effect::Note(Note::Synced(writer.file()))),
            WriterOp::Publish { .. } => panic!("a volume is published only by recovery"),
        }
        self.settle(durable_through, out);
    }

    fn release_written(&mut self, through: u64, out: &mut Vec<Effect>) {
        while self.unwritten.front().is_some_and(|(position, _)| *position <= through) {
            let (_, ticket) = self.unwritten.pop_front().expect("just looked at");
            out.push(Effect::Written { ticket });
        }
    }

    /// Everything up to a position is durable: it enters the index and its puts are done.
    fn settle(&mut self, durable_through: u64, out: &mut Vec<Effect>) {
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() <= durable_through) {
            let Pending { located, chunk } = entry.remove();
            self.index.insert(chunk, located);
            let tickets = self.waiting.remove(&chunk).expect("a pending chunk has a put that waits");
            self.waiting_puts -= tickets.len();
            for (ticket, fresh) in tickets {
                out.push(Effect::Stored { ticket, result: Ok(StoredChunk { place: located.place, fresh }) });
            }
        }
    }

    /// The volume can't be written: every put that waits fails, and so does every later one that needs to write.
    fn fail(&mut self, file: File, error: DiskError, out: &mut Vec<Effect>) {
        if self.failed.is_none() {
            self.failed = Some((file, error));
            out.push(Effect::Note(Note::WritesStopped { file, error }));
        }
        let error = self.store_error().expect("just failed");
        self.pending.clear();
        self.unwritten.clear();
        self.waiting_puts = 0;
        let waiting = core::mem::take(&mut self.waiting);
        let queued = core::mem::take(&mut self.queue);
        let tickets = waiting.into_values().flatten().map(|(ticket, _)| ticket);
        for ticket in tickets.chain(queued.into_iter().map(|(ticket, _)| ticket)) {
            out.push(Effect::Stored { ticket, result: Err(error) });
        }
    }

    const fn store_error(&self) -> Option<StoreError> {
        match self.failed {
            Some((_, DiskError::Full)) => Some(StoreError::Full),
            Some((file, error)) => Some(StoreError::Failed { file, error }),
            None => None,
        }
    }

    /// Puts that waited for the next volume.
    fn drain_queue(&mut self, out: &mut Vec<Effect>) {
        while !self.queue.is_empty() && self.ensure_volume(out) {
            let (ticket, chunk) = self.queue.pop_front().expect("not empty");
            // Another put of the same chunk may have become durable while this one waited.
            self.place(ticket, chunk, out);
        }
    }

    fn close_when_idle(&mut self, out: &mut Vec<Effect>) {
        if !self.closing || self.closed || !self.queue.is_empty() {
            return;
        }
        // A chunk that is found bad is written anew, and its put was taken before the close.
        if self.reads.values().any(|read| matches!(read, Read::Recheck { .. })) {
            return;
        }
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

impl Machine for Store {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, _now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Wake => {}
            Event::DiskDone { token: Token::Read(number), result } => self.read_done(number, result, out),
            Event::DiskDone { token: Token::Volume(op), result } => self.volume_done(op, &result, out),
            Event::Put { ticket, chunk } => self.put(ticket, chunk, out),
            Event::Get { ticket, chunk } => self.get(ticket, chunk, out),
            Event::Close => self.closing = true,
        }
    }

    fn flush(&mut self, _now: Now, out: &mut Vec<Effect>) {
        if self.failed.is_none() {
            self.drain_queue(out);
        }
        self.close_when_idle(out);
        if let Some(writer) = &mut self.writer {
            let mut requests = Vec::new();
            writer.flush(&mut requests);
            let disk = |(op, request)| Effect::Disk { token: Token::Volume(op), request };
            out.extend(requests.into_iter().map(disk));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn check(&self) {
        assert_eq!(self.pending.len(), self.waiting.len(), "each pending chunk is waited for");
        for pending in self.pending.values() {
            assert!(self.waiting.contains_key(&pending.chunk), "each pending chunk is waited for");
        }
        let waiting_puts: usize = self.waiting.values().map(Vec::len).sum();
        assert_eq!(self.waiting_puts, waiting_puts, "puts that wait are counted");
        if let Some(writer) = &self.writer {
            writer.check();
            let durable = writer.durable_through();
            assert!(self.pending.keys().next().is_none_or(|first| *first > durable), "what is durable is indexed");
        }
        assert!(self.failed.is_none() || self.pending.is_empty(), "a failed store waits for nothing");
    }
}

#[cfg(test)]
pub(in crate::keystore) mod tests;
