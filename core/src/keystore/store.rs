//! The chunk store of one node: an index in memory over volumes on disk.
//!
//! A chunk is stored once. Chunks of many puts share a volume and its syncs; a volume that is full is sealed and the
//! next one begins. What is asked for is read and hashed by the driver's workers, never here.

mod checkpoint;
mod collect;
mod compact;
mod puts;
mod reads;
mod scrub;
mod volume;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use checkpoint::Checkpoints;
use collect::Collect;
use compact::{Compaction, Moved, Moving};
use puts::{Ask, Body};
use scrub::Scrub;

use super::filter::Filter;
use super::index::{Index, Located, VolumeUse};
use super::{ChunkFault, Collected, Compacted, Place, StoreError, StoredChunk};
use crate::config::Config;
use crate::disk::boot::BootRecord;
use crate::disk::catalog::Catalog;
use crate::disk::record::Predecessor;
use crate::disk::stray::Strays;
use crate::disk::writer::{Writer, WriterOp};
use crate::disk::{DiskError, DiskRequest, DiskResult, File};
use crate::id::{ChunkId, VerifiedChunk};
use crate::machine::Machine;
use crate::note::Note;
use crate::time::{Instant, Now};

/// What happens to the store. Tickets are chosen by the caller and echoed.
#[derive(Clone, Debug)]
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
        /// The epoch of whoever puts it (rule C1): its mark is at least that from the answer on.
        lease: u64,
    },
    /// A chunk that somebody relies on without sending it. Answered like a put; [`StoreError::Missing`] if it is not here,
    /// or not as it should be.
    Touch {
        /// Names this touch.
        ticket: Ticket,
        /// Which.
        chunk: ChunkId,
        /// As that of a put.
        lease: u64,
    },
    /// A sweep is complete: every chunk goes whose mark is below its epoch and that its filter does not have (rule C5).
    Collect {
        /// The epoch that the sweep began.
        epoch: u64,
        /// What it found in use.
        filter: Arc<Filter>,
    },
    /// Somebody wants space back: whatever is dead to a tenth is compacted, even the volume being written.
    Compact,
    /// Whether there is too little space for a compaction that nobody asked for. There is enough until this comes.
    Tight(bool),
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
    /// The chunk of a put is out of memory; it is not durable yet. Touches hear nothing of this.
    Written {
        /// The put.
        ticket: Ticket,
    },
    /// A put or a touch ended.
    Stored {
        /// The put or touch.
        ticket: Ticket,
        /// Where the chunk is, durably and with its mark; or why not.
        result: Result<StoredChunk, StoreError>,
    },
    /// A collect ended.
    Collected {
        /// The epoch of its sweep.
        epoch: u64,
        /// What is gone, durably; or why the collect did not come to its end. Some of it may have gone then, too.
        result: Result<Collected, StoreError>,
    },
    /// The compaction that was asked for ended.
    Compacted(Result<Compacted, StoreError>),
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

/// Names a put, touch or get of a caller.
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
    /// A read of records, for a compaction.
    Scan,
    /// A step of publishing the catalog.
    Catalog,
    /// The removal of a volume.
    Remove,
    /// How far the scrub is: reading it at first, and a step of saving it.
    Scrub,
    /// A step of writing a checkpoint, or of removing one.
    Checkpoint,
}

/// A record that is appended and not durable.
#[derive(Debug)]
struct Pending {
    /// The chunk that it is about; `None` for a drop, which is about many.
    chunk: Option<ChunkId>,
    /// Where that chunk is.
    place: Place,
    /// Where the record of its mark is, if this is one.
    marked_at: Option<Place>,
    what: What,
    /// Who waits for it, and whether they wrote the chunk.
    waiting: Vec<(Ticket, bool)>,
}

#[derive(Debug)]
enum What {
    /// A chunk, as it will be in the index.
    Copy(Located),
    /// A mark, with what was known before: the mark, and the volume of its record.
    Mark { before: u64, raised_in: Option<u64> },
    /// Chunks that are gone. They have left the index.
    Drop,
    /// Something that was copied out of a volume that goes.
    Moved(Moved),
}

/// The pending records of one chunk, by their positions.
#[derive(Clone, Copy, Debug)]
struct Recent {
    /// The chunk itself, if it is one of them.
    copy: Option<u64>,
    /// The last one: when that is durable, so are all.
    last: u64,
}

#[derive(Debug)]
enum Read {
    Get { ticket: Ticket, chunk: ChunkId, place: Place },
    Recheck { ask: Ask, place: Place },
    Move(Moving),
    Scrub { chunk: ChunkId, place: Place },
}

impl Read {
    /// What is read, and where.
    const fn target(&self) -> (ChunkId, Place) {
        match self {
            Self::Get { chunk, place, .. } | Self::Scrub { chunk, place } => (*chunk, *place),
            Self::Recheck { ask, place } => (ask.chunk(), *place),
            Self::Move(moving) => (moving.chunk, moving.from),
        }
    }
}

/// The chunk store.
///
/// Invariants: what is in `pending` was not durable when last looked at, and `recent` says which of it is about one chunk;
/// the volume in `writer` has a larger number than any other in the index.
#[derive(Debug)]
pub struct Store {
    boot: BootRecord,
    volume_bytes: u64,
    index: Index,
    /// The newest file before `writer`, as that one's head names it.
    predecessor: Predecessor,
    strays: Strays,
    writer: Option<Writer>,
    next_sequence: u64,
    /// Appended and not durable, by position in the volume being written.
    pending: BTreeMap<u64, Pending>,
    /// The chunks that something in `pending` is about.
    recent: BTreeMap<ChunkId, Recent>,
    /// How many puts and touches wait for something in `pending`.
    waiting: usize,
    /// Puts whose bytes are in the batch that is not acknowledged as appended, by position.
    unwritten: VecDeque<(u64, Ticket)>,
    /// Puts and touches that wait for the next volume.
    queue: VecDeque<Ask>,
    collecting: Option<Collect>,
    /// Slices of collects and checkpoints that were done.
    slices: u64,
    compaction: Compaction,
    scrub: Scrub,
    checkpoints: Checkpoints,
    reads: BTreeMap<u64, Read>,
    next_read: u64,
    failed: Option<(File, DiskError)>,
    closing: bool,
    closed: bool,
    /// Volumes that have lost records.
    lost_volumes: Vec<u64>,
}

impl Store {
    /// A store of the chunks that recovery has found, whose next record has this sequence.
    pub(super) fn new(config: &Config, boot: BootRecord, index: Index, next_sequence: u64) -> Self {
        Self {
            boot,
            volume_bytes: config.volume_bytes(),
            index,
            predecessor: Predecessor::default(),
            strays: Strays::default(),
            writer: None,
            next_sequence,
            pending: BTreeMap::new(),
            recent: BTreeMap::new(),
            waiting: 0,
            unwritten: VecDeque::new(),
            queue: VecDeque::new(),
            collecting: None,
            slices: 0,
            compaction: Compaction::new(),
            scrub: Scrub::new(config),
            checkpoints: Checkpoints::new(config),
            reads: BTreeMap::new(),
            next_read: 1,
            failed: None,
            closing: false,
            closed: false,
            lost_volumes: Vec::new(),
        }
    }

    /// Goes on with the volume that recovery has made.
    pub(super) fn resume(&mut self, writer: Writer) {
        assert!(self.writer.is_none(), "one volume is written");
        self.index.set_file_bytes(writer.number(), writer.bytes());
        self.writer = Some(writer);
    }

    /// Goes on from the catalog that recovery has found, and from where it says that volumes end.
    pub(super) fn take_catalog(&mut self, catalog: Option<Catalog>, ends: BTreeMap<u64, (u64, u64)>) {
        self.compaction.recovered(catalog, ends);
    }

    /// These volumes are finished, and recovery had to scan them.
    pub(super) fn want_checkpoints(&mut self, volumes: Vec<u64>) {
        self.checkpoints.want(volumes);
    }

    /// The next volume comes after this one.
    pub(super) const fn continue_after(&mut self, predecessor: Predecessor) {
        self.predecessor = predecessor;
    }

    /// No new volume takes the place of one of these strays.
    pub(super) fn beside(&mut self, strays: Strays) {
        self.strays = strays;
    }

    /// Writes nothing in this boot.
    pub(super) const fn stop(&mut self, file: File, error: DiskError) {
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

    /// Chunks, and what is still needed of each volume.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// What is still needed of all volumes.
    #[must_use]
    pub const fn usage(&self) -> VolumeUse {
        self.index.total()
    }

    /// Slices of collects and checkpoints that were done so far: some of them show in nothing else.
    #[must_use]
    pub const fn slices(&self) -> u64 {
        self.slices
    }

    /// Whether a collect or a compaction is under way.
    #[must_use]
    pub const fn is_reclaiming(&self) -> bool {
        self.collecting.is_some() || self.compaction.is_running()
    }

    /// Why nothing is written any more.
    #[must_use]
    pub const fn failed(&self) -> Option<(File, DiskError)> {
        self.failed
    }
}

impl Machine for Store {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        self.compaction.hear(now.mono, matches!(event, Event::Wake));
        self.checkpoints.hear(now.mono, matches!(event, Event::Wake));
        self.collect_slice(out);
        match event {
            Event::Wake => {}
            Event::DiskDone { token: Token::Read(number), result } => self.read_done(number, result, out),
            Event::DiskDone { token: Token::Volume(op), result } => self.volume_done(op, &result, out),
            Event::Put { ticket, chunk, lease } => self.ask(Ask { ticket, lease, body: Body::Bytes(chunk) }, out),
            Event::Touch { ticket, chunk, lease } => self.ask(Ask { ticket, lease, body: Body::Named(chunk) }, out),
            Event::DiskDone { token: Token::Scan, result } => self.scanned_for_copy(&result),
            Event::DiskDone { token: Token::Catalog, result } => self.catalog_done(&result, out),
            Event::DiskDone { token: Token::Remove, result } => self.removed(&result, out),
            Event::DiskDone { token: Token::Scrub, result } => self.scrub_done(&result, out),
            Event::DiskDone { token: Token::Checkpoint, result } => self.checkpoint_done(&result, out),
            Event::Collect { epoch, filter } => self.collect(epoch, filter, out),
            Event::Compact => self.compact(out),
            Event::Tight(tight) => self.compaction.set_tight(tight),
            Event::Get { ticket, chunk } => self.get(ticket, chunk, out),
            Event::Close => {
                self.closing = true;
                self.end_collect(StoreError::Closing, out);
            }
        }
    }

    fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.failed.is_none() {
            self.drain_queue(out);
        }
        self.compact_on(now.mono, out);
        self.scrub_on(now.mono, out);
        self.close_when_idle(out);
        if let Some(writer) = &mut self.writer {
            let mut requests = Vec::new();
            writer.flush(&mut requests);
            self.index.set_file_bytes(writer.number(), writer.bytes());
            let disk = |(op, request)| Effect::Disk { token: Token::Volume(op), request };
            out.extend(requests.into_iter().map(disk));
        }
        self.collect_on(now.mono, out);
        self.checkpoint_on(now.mono, out);
    }

    fn deadline(&self) -> Option<Instant> {
        let others = [self.scrub_deadline(), self.checkpoints.deadline()];
        [self.collect_deadline(), self.compaction.deadline()].into_iter().chain(others).flatten().min()
    }

    fn check(&self) {
        for (chunk, recent) in &self.recent {
            let about =
                |position: u64| self.pending.get(&position).is_some_and(|pending| pending.chunk == Some(*chunk));
            assert!(about(recent.last) && recent.copy.is_none_or(about), "what is recent is pending");
        }
        let pending = self.pending.iter().filter_map(|(position, pending)| Some((position, pending.chunk?)));
        for (position, chunk) in pending {
            assert!(
                self.recent.get(&chunk).is_some_and(|recent| recent.last >= *position),
                "what is pending is recent"
            );
        }
        let waiting: usize = self.pending.values().map(|pending| pending.waiting.len()).sum();
        assert_eq!(self.waiting, waiting, "what waits is counted");
        if let Some(writer) = &self.writer {
            writer.check();
            let durable = writer.durable_through();
            assert!(self.pending.keys().next().is_none_or(|first| *first > durable), "what is durable is indexed");
        }
        assert!(self.failed.is_none() || self.pending.is_empty(), "a failed store waits for nothing");
        self.check_collect();
        self.check_compaction();
        self.check_scrub();
        self.check_checkpoints();
    }
}

#[cfg(test)]
pub(in crate::keystore) mod tests;
