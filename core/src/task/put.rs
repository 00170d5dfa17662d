//! Stores one file: credit before chunks, every chunk durable before the manifest is proposed, one outcome.

mod event;
mod renewal;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

pub use event::{Effect, Event, Proposal};
use renewal::Renewal;

use crate::config::{Config, Geometry};
use crate::crypto::hash::sha256;
use crate::id::VerifiedChunk;
use crate::keystore::block::{Layout, block_bytes, piped_block_bytes};
use crate::keystore::ingest::FileDigest;
use crate::keystore::manifest::{Entry, Manifest};
use crate::keystore::manifest_builder::{ManifestBuilder, chunks_max};
use crate::keystore::{StoreError, StoredChunk};
use crate::ledger::file::{Expect, FileStat};
use crate::ledger::name::Name;
use crate::limits::{PUT_BLOCKS_AHEAD, PUT_STORES_MAX, PUT_VOLUMES_MAX};
use crate::machine::Machine;
use crate::node::{Reply, RequestError, StoredFile};
use crate::note::Note;
use crate::time::{Instant, Now};

/// How the file is cut, as far as that is known.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The size was declared.
    Known(Layout),
    /// A pipe; its first chunk tells the length of its blocks. 0 before.
    Piped(u32),
    /// A declared size that no manifest can hold.
    TooLarge,
}

/// How far the put is.
#[derive(Debug)]
enum Stage {
    /// Nothing was done yet.
    Opening,
    /// The client sends chunks.
    Receiving(ManifestBuilder),
    /// The client has committed; stores are on their way.
    Storing(Box<Proposal>),
    /// The ledger decides on this content.
    Proposed(Box<Manifest>),
    /// A sweep has begun meanwhile: every chunk is touched again.
    Renewing(Box<Renewal>),
    /// Nothing will be proposed; stores are on their way.
    Ending(Result<Reply, RequestError>),
    /// The last reply was given.
    Over,
}

/// A store on its way.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    /// Bytes of the client's chunk, 0 for a manifest chunk: those are made here, after credit, and are few.
    bytes: u32,
    /// Bytes that credit is held for: `bytes` until they have left memory, then 0.
    held: u32,
}

/// One put.
///
/// Invariant: credit that was granted and not released is `credit`, plus what the tickets hold, plus `inline`.
#[derive(Debug)]
pub struct Put {
    geometry: Geometry,
    credit_timeout: Duration,
    opened: Instant,
    name: Name,
    expect: Expect,
    cut: Cut,
    stage: Stage,
    /// The only chunk of a content so small that it is never stored as one.
    inline: Option<VerifiedChunk>,
    /// Whether a chunk came that can only be the last one.
    ended: bool,
    /// Chunks the client sent.
    received: u32,
    /// Blocks for which credit was asked.
    asked: u32,
    /// Those asks that are not granted yet, oldest first.
    asks: VecDeque<u64>,
    /// Bytes the client may send.
    credit: u64,
    granted: u64,
    released: u64,
    tickets: BTreeMap<u64, Ticket>,
    tickets_made: u64,
    /// The epoch under which chunks are stored and touched.
    lease: u64,
    /// The lease under which all its chunks were stored or touched.
    settled_lease: u64,
    /// Since when only the client can bring the put further.
    owed_since: Option<Instant>,
    /// The largest position of a chunk of this put in each volume.
    volumes: BTreeMap<u64, u64>,
    new_bytes: u64,
}

impl Put {
    /// A put of `size` bytes (`None` for a pipe) under `name`. To be stepped at once with [`Event::Wake`].
    #[must_use]
    pub fn new(config: &Config, name: Name, expect: Expect, size: Option<u64>, now: Now) -> Self {
        let geometry = *config.geometry();
        let cut = size.map_or(Cut::Piped(0), |size| match Layout::new(size, block_bytes(&geometry, size)) {
            Ok(layout) if u64::from(layout.count()) <= chunks_max(&geometry) => Cut::Known(layout),
            Ok(_) | Err(_) => Cut::TooLarge,
        });
        Self {
            geometry,
            credit_timeout: config.credit_timeout(),
            opened: now.mono,
            name,
            expect,
            cut,
            stage: Stage::Opening,
            inline: None,
            ended: false,
            received: 0,
            asked: 0,
            asks: VecDeque::new(),
            credit: 0,
            granted: 0,
            released: 0,
            tickets: BTreeMap::new(),
            tickets_made: 0,
            lease: 0,
            settled_lease: 0,
            owed_since: None,
            volumes: BTreeMap::new(),
            new_bytes: 0,
        }
    }

    /// The same under the lease of this epoch instead of 0 (rules L5, C1).
    #[must_use]
    pub const fn under(mut self, lease: u64) -> Self {
        (self.lease, self.settled_lease) = (lease, lease);
        self
    }

    /// The lease under which all its chunks were stored or touched so far: a sweep of a later epoch waits for it, or what is
    /// about to be touched again would go (rule C1).
    #[must_use]
    pub const fn settled_lease(&self) -> u64 {
        self.settled_lease
    }

    /// The lease that chunks are stored and touched under, and that the proposal has.
    #[must_use]
    pub const fn lease(&self) -> u64 {
        self.lease
    }

    /// Does what is due.
    fn fire(&mut self, now: Now, out: &mut Vec<Effect>) {
        if matches!(self.stage, Stage::Opening) {
            self.stage = Stage::Receiving(ManifestBuilder::new(&self.geometry));
            if matches!(self.cut, Cut::TooLarge) {
                self.end(Err(RequestError::TooLarge), out);
            }
        }
        if self.owed_since.is_some_and(|since| since + self.credit_timeout <= now.mono) {
            out.push(Effect::Note(Note::PutDropped));
            self.end(Err(RequestError::Busy), out);
        }
    }

    fn chunk(&mut self, chunk: VerifiedChunk, out: &mut Vec<Effect>) {
        let len = chunk.bytes().len();
        if len as u64 > self.credit {
            return self.misuse("a chunk came without credit for it", out);
        }
        let len = u32::try_from(len).expect("no more than the credit for four blocks");
        if let Err(what) = self.fit(len) {
            return self.misuse(what, out);
        }
        self.owed_since = None;
        self.credit -= u64::from(len);
        self.received += 1;
        if self.received == 1 && len <= self.geometry.inline_bytes_max {
            // Blocks are longer than that, so this is all there is.
            self.inline = Some(chunk);
            self.ended = true;
            return;
        }
        let Stage::Receiving(builder) = &mut self.stage else { unreachable!("chunks are taken while receiving") };
        let mut nodes = Vec::new();
        if builder.push(Entry { chunk: chunk.id(), bytes: len }, &mut nodes).is_err() {
            // Not stored, so its credit is unused.
            self.credit += u64::from(len);
            return self.end(Err(RequestError::TooLarge), out);
        }
        self.store(chunk, len, out);
        for node in nodes {
            self.store(node, 0, out);
        }
    }

    /// Whether a chunk of `len` bytes can come next, and what it says about a pipe's blocks.
    fn fit(&mut self, len: u32) -> Result<(), &'static str> {
        let full = match self.cut {
            Cut::Known(layout) => {
                if self.received == layout.count() {
                    return Err("more chunks came than the declared size has");
                }
                if len != layout.bytes_of(self.received) {
                    return Err("a chunk has another length than its block");
                }
                return Ok(());
            }
            Cut::Piped(0) => {
                self.cut = Cut::Piped(len);
                len
            }
            Cut::Piped(block) => block,
            Cut::TooLarge => unreachable!("such a put ends before it receives"),
        };
        if len == 0 {
            return Err("a chunk is empty");
        }
        if self.ended {
            return Err("a chunk came after the last one");
        }
        if len > full {
            return Err("a chunk has another length than its block");
        }
        self.ended = len < full;
        Ok(())
    }

    fn commit(&mut self, digest: FileDigest, out: &mut Vec<Effect>) {
        if let Err(what) = self.agree(digest) {
            return self.misuse(what, out);
        }
        let stage = core::mem::replace(&mut self.stage, Stage::Over);
        let Stage::Receiving(builder) = stage else { unreachable!("a commit is taken while receiving") };
        let block = piped_or_known(self.cut, &self.geometry, digest.size);
        let mut nodes = Vec::new();
        let manifest = match &self.inline {
            Some(chunk) => Manifest::inline(digest.file, chunk.bytes()),
            None if digest.size == 0 => Manifest::inline(digest.file, &[]),
            None => builder.finish(digest, block, &mut nodes),
        };
        assert_eq!((manifest.size, manifest.block_bytes), (digest.size, block), "the manifest is of what came");
        for node in nodes {
            self.store(node, 0, out);
        }
        let (name, expect) = (self.name.clone(), self.expect);
        self.stage = Stage::Storing(Box::new(Proposal { name, expect, manifest, volumes: Vec::new() }));
        self.owed_since = None;
        self.release_unused(out);
    }

    /// Whether `digest` can be what the chunks make, as far as that can be told without hashing the file again.
    fn agree(&self, digest: FileDigest) -> Result<(), &'static str> {
        let Stage::Receiving(builder) = &self.stage else { unreachable!("a commit is taken while receiving") };
        let inline = self.inline.as_ref().map_or(0, |chunk| chunk.bytes().len() as u64);
        if digest.size != builder.size() + inline {
            return Err("the digest is of another length than the chunks");
        }
        match self.cut {
            Cut::Known(layout) if layout.size() != digest.size => return Err("the commit came before the last chunk"),
            Cut::Piped(block) if block != piped_block_bytes(&self.geometry, digest.size) => {
                return Err("the blocks do not suit the size of the file");
            }
            Cut::Known(_) | Cut::Piped(_) => {}
            Cut::TooLarge => unreachable!("such a put ends before it receives"),
        }
        let only = self.inline.as_ref().map(VerifiedChunk::id).or_else(|| builder.only().map(|entry| entry.chunk));
        let hash = match only {
            Some(chunk) => Some(*chunk.as_bytes()),
            None if digest.size == 0 => Some(sha256(&[])),
            None => None,
        };
        if hash.is_some_and(|hash| hash != *digest.file.as_bytes()) {
            return Err("the digest is not the hash of the content");
        }
        Ok(())
    }

    fn written(&mut self, ticket: u64, out: &mut Vec<Effect>) {
        let ticket = self.tickets.get_mut(&ticket).expect("only what was asked for is written");
        let held = core::mem::take(&mut ticket.held);
        self.release(u64::from(held), out);
    }

    fn stored(&mut self, ticket: u64, result: Result<StoredChunk, StoreError>, out: &mut Vec<Effect>) {
        self.written(ticket, out);
        let ticket = self.tickets.remove(&ticket).expect("written() has found it");
        match result {
            Ok(StoredChunk { place, marked_at, fresh }) => {
                for place in [Some(place), marked_at].into_iter().flatten() {
                    let position = self.volumes.entry(place.volume).or_insert(place.position);
                    *position = place.position.max(*position);
                }
                self.new_bytes += if fresh { u64::from(ticket.bytes) } else { 0 };
                if self.volumes.len() > PUT_VOLUMES_MAX {
                    while self.volumes.len() > PUT_VOLUMES_MAX {
                        self.volumes.pop_last();
                    }
                    self.end(Err(RequestError::TooLarge), out);
                }
            }
            Err(error) => self.end(Err(error.into()), out),
        }
    }

    fn committed(&mut self, result: Result<FileStat, RequestError>, out: &mut Vec<Effect>) {
        assert!(matches!(self.stage, Stage::Proposed(_)), "the ledger decides what was proposed, once");
        let new_bytes = self.new_bytes;
        let reply = result.map(|stat| {
            // Inline content has no chunk that could be new: it is, if no other name means it.
            let new_bytes = if stat.chunks == 0 && stat.names <= 1 { stat.size } else { new_bytes };
            Reply::Stored(Box::new(StoredFile { stat, new_bytes }))
        });
        self.stage = Stage::Over;
        out.push(Effect::Reply { reply, last: true });
    }

    fn cancel(&mut self, out: &mut Vec<Effect>) {
        match self.stage {
            Stage::Opening | Stage::Receiving(_) | Stage::Storing(_) | Stage::Renewing(_) => {
                out.push(Effect::Note(Note::PutDropped));
                self.end(Ok(Reply::Cancelled), out);
            }
            // The outcome comes first and decides, or the end has come already.
            Stage::Proposed(_) | Stage::Ending(_) | Stage::Over => {}
        }
    }

    fn misuse(&mut self, what: &'static str, out: &mut Vec<Effect>) {
        self.end(Err(RequestError::Misuse(what)), out);
    }

    /// Gives the put up with `reply`, which goes out once no store is on its way any more. The first reason stays.
    fn end(&mut self, reply: Result<Reply, RequestError>, out: &mut Vec<Effect>) {
        match self.stage {
            Stage::Opening | Stage::Receiving(_) | Stage::Storing(_) | Stage::Renewing(_) => {}
            Stage::Ending(_) => return,
            Stage::Proposed(_) | Stage::Over => unreachable!("what is proposed has its outcome from the ledger"),
        }
        self.stage = Stage::Ending(reply);
        self.owed_since = None;
        self.release_unused(out);
        self.release_inline(out);
    }

    fn store(&mut self, chunk: VerifiedChunk, bytes: u32, out: &mut Vec<Effect>) {
        self.tickets_made += 1;
        let ticket = self.tickets_made;
        self.tickets.insert(ticket, Ticket { bytes, held: bytes });
        out.push(Effect::Store { ticket, chunk });
    }

    fn release_unused(&mut self, out: &mut Vec<Effect>) {
        let unused = core::mem::take(&mut self.credit);
        self.release(unused, out);
    }

    fn release_inline(&mut self, out: &mut Vec<Effect>) {
        if let Some(chunk) = self.inline.take() {
            self.release(chunk.bytes().len() as u64, out);
        }
    }

    fn release(&mut self, bytes: u64, out: &mut Vec<Effect>) {
        if bytes > 0 {
            self.released += bytes;
            assert!(self.released <= self.granted, "credit is released once");
            out.push(Effect::Release { bytes });
        }
    }

    /// Goes on as far as it can without a further event.
    fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.ask(out);
        self.renew(out);
        if self.tickets.is_empty() {
            match core::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Storing(mut proposal) => {
                    proposal.volumes = self.volumes.iter().map(|(volume, position)| (*volume, *position)).collect();
                    self.release_inline(out);
                    self.stage = Stage::Proposed(Box::new(proposal.manifest.clone()));
                    out.push(Effect::Propose(proposal));
                }
                Stage::Renewing(renewal) => self.propose_again(renewal, out),
                Stage::Ending(reply) => out.push(Effect::Reply { reply, last: true }),
                stage @ (Stage::Opening | Stage::Receiving(_) | Stage::Proposed(_) | Stage::Over) => self.stage = stage,
            }
        }
        let owes = matches!(self.stage, Stage::Receiving(_))
            && (self.credit > 0 || (self.asks.is_empty() && self.tickets.is_empty()));
        self.owed_since = if owes { Some(self.owed_since.unwrap_or(now.mono)) } else { None };
    }

    /// Asks credit for the next blocks, as far as there are any and the window is open.
    fn ask(&mut self, out: &mut Vec<Effect>) {
        while matches!(self.stage, Stage::Receiving(_)) && self.tickets.len() < PUT_STORES_MAX {
            let in_memory = self.tickets.values().filter(|ticket| ticket.held > 0).count();
            let in_memory = u32::try_from(in_memory).expect("at most PUT_BLOCKS_AHEAD blocks");
            let ahead = self.asked.saturating_sub(self.received) + in_memory;
            let block = match self.cut {
                Cut::Known(layout) if self.asked < layout.count() => layout.bytes_of(self.asked),
                // A pipe's first ask covers a file of one largest block, however it is cut; it goes on only if the first
                // chunk is as long as that.
                Cut::Piped(block) if self.asked == 0 || (block == self.geometry.block_bytes_max && !self.ended) => {
                    self.geometry.block_bytes_max
                }
                Cut::Known(_) | Cut::Piped(_) | Cut::TooLarge => return,
            };
            if ahead >= PUT_BLOCKS_AHEAD {
                return;
            }
            self.asked += 1;
            self.asks.push_back(u64::from(block));
            out.push(Effect::Ask { bytes: u64::from(block) });
        }
    }

    /// There is no space for what the client still has to send.
    fn refused(&mut self, out: &mut Vec<Effect>) {
        self.asks.pop_front();
        match self.stage {
            Stage::Opening | Stage::Receiving(_) => self.end(Err(RequestError::DiskFull), out),
            // Everything came already.
            Stage::Storing(_) | Stage::Proposed(_) | Stage::Renewing(_) | Stage::Ending(_) | Stage::Over => {}
        }
    }

    fn credited(&mut self, bytes: u64, out: &mut Vec<Effect>) {
        assert_eq!(self.asks.pop_front(), Some(bytes), "what is granted was asked for");
        self.granted += bytes;
        match self.stage {
            Stage::Receiving(_) => {
                self.credit += bytes;
                out.push(Effect::Reply { reply: Ok(Reply::Credit { bytes }), last: false });
            }
            Stage::Storing(_) | Stage::Proposed(_) | Stage::Renewing(_) | Stage::Ending(_) | Stage::Over => {
                self.release(bytes, out);
            }
            Stage::Opening => unreachable!("nothing is asked for before the start"),
        }
    }
}

/// The length of the blocks of a file of `size` bytes that was cut so.
fn piped_or_known(cut: Cut, geometry: &Geometry, size: u64) -> u32 {
    match cut {
        Cut::Known(layout) => layout.block_bytes(),
        Cut::Piped(_) => piped_block_bytes(geometry, size),
        Cut::TooLarge => unreachable!("such a put ends before it receives"),
    }
}

impl Machine for Put {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        self.fire(now, out);
        let receiving = matches!(self.stage, Stage::Receiving(_));
        let storing = matches!(self.stage, Stage::Storing(_));
        match event {
            Event::Wake => {}
            Event::Chunk(chunk) if receiving => self.chunk(chunk, out),
            Event::Commit(digest) if receiving => self.commit(digest, out),
            Event::Chunk(_) if storing => self.misuse("a chunk came after the commit", out),
            Event::Commit(_) if storing => self.misuse("a second commit came", out),
            // The end, or the ledger's decision, is on its way and stays what it is.
            Event::Chunk(_) | Event::Commit(_) => {}
            Event::Cancel => self.cancel(out),
            Event::Granted { bytes } => self.credited(bytes, out),
            Event::Refused => self.refused(out),
            Event::Written { ticket } => self.written(ticket, out),
            Event::Stored { ticket, result } => self.stored(ticket, result, out),
            Event::Loaded { ticket, result } => self.loaded(ticket, result, out),
            Event::Stale { epoch } => self.stale(epoch),
            Event::Committed { result } => self.committed(result, out),
        }
        self.settle(now, out);
    }

    fn flush(&mut self, _now: Now, _out: &mut Vec<Effect>) {}

    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Opening => Some(self.opened),
            Stage::Receiving(_) => self.owed_since.map(|since| since + self.credit_timeout),
            Stage::Storing(_) | Stage::Proposed(_) | Stage::Renewing(_) | Stage::Ending(_) | Stage::Over => None,
        }
    }

    fn check(&self) {
        let held: u64 = self.tickets.values().map(|ticket| u64::from(ticket.held)).sum();
        let inline = self.inline.as_ref().map_or(0, |chunk| chunk.bytes().len() as u64);
        assert_eq!(self.granted, self.released + self.credit + held + inline, "credit is conserved");
        assert!(self.asks.len() <= PUT_BLOCKS_AHEAD as usize, "the window is bounded");
        let ahead = u64::from(PUT_BLOCKS_AHEAD) * u64::from(self.geometry.block_bytes_max);
        assert!(self.credit + held + inline + self.asks.iter().sum::<u64>() <= ahead, "so is what it is worth");
        assert!(self.volumes.len() <= PUT_VOLUMES_MAX, "a proposal names few volumes");
        match self.stage {
            Stage::Opening => assert_eq!(self.asked, 0, "nothing is asked for before the start"),
            Stage::Receiving(_) => assert!(
                self.owed_since.is_some() || !self.asks.is_empty() || !self.tickets.is_empty(),
                "something or someone brings the put further"
            ),
            Stage::Storing(_) | Stage::Ending(_) => {
                assert!(!self.tickets.is_empty() && self.credit == 0, "it waits for stores alone");
            }
            Stage::Renewing(_) => {
                assert!(!self.tickets.is_empty() && self.credit == 0, "it waits for touches and loads");
            }
            Stage::Proposed(_) | Stage::Over => {
                assert!(self.tickets.is_empty() && self.granted == self.released, "nothing is left behind");
            }
        }
    }
}

#[cfg(test)]
mod tests;
