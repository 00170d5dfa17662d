//! Returns one file, or a part of it: chunks in order, as fast as the client grants and no further ahead than that.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{ChunkId, VerifiedChunk};
use crate::keystore::ChunkFault;
use crate::keystore::manifest::Manifest;
use crate::keystore::manifest_walk::{ManifestWalk, Step};
use crate::ledger::file::FileStat;
use crate::limits::GET_LOADS_MAX;
use crate::machine::Machine;
use crate::node::{ByteRange, Reply, RequestError};
use crate::time::{Instant, Now};

/// What a get hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The get is stepped for the first time.
    Wake,
    /// The client takes more.
    More {
        /// Bytes on top of what was granted before.
        bytes: u64,
    },
    /// A chunk was read and proven, or could not be. Comes once for each load.
    Loaded {
        /// The load.
        ticket: u64,
        /// The chunk that was asked for.
        result: Result<VerifiedChunk, ChunkFault>,
    },
    /// The client gave up.
    Cancel,
}

/// What a get wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read a chunk.
    Load {
        /// To be echoed; dense from 1.
        ticket: u64,
        /// The chunk.
        chunk: ChunkId,
    },
    /// Answer the client.
    Reply {
        /// The answer.
        reply: Result<Reply, RequestError>,
        /// Whether it is the last one.
        last: bool,
    },
}

/// The part of a file of `size` bytes that a client asked for: its first byte and its length.
///
/// # Errors
/// [`RequestError::RangeOutside`] when a range begins at or past the end (as every range of an empty file does) or asks
/// for the last 0 bytes; [`RequestError::Misuse`] when it ends before it begins, whatever the file.
pub fn resolve(range: Option<ByteRange>, size: u64) -> Result<(u64, u64), RequestError> {
    let outside = RequestError::RangeOutside { size };
    match range {
        None => Ok((0, size)),
        Some(ByteRange::FromTo { first, last }) if last < first => {
            Err(RequestError::Misuse("the range ends before it begins"))
        }
        Some(ByteRange::From { first } | ByteRange::FromTo { first, .. }) if first >= size => Err(outside),
        Some(ByteRange::From { first }) => Ok((first, size - first)),
        Some(ByteRange::FromTo { first, last }) => Ok((first, last.min(size - 1) - first + 1)),
        Some(ByteRange::Last { bytes }) => match bytes.min(size) {
            0 => Err(outside),
            bytes => Ok((size - bytes, bytes)),
        },
    }
}

/// How far the get is.
#[derive(Debug)]
enum Stage {
    /// Nothing was done yet; the error, if the manifest makes no sense.
    Opening(Option<RequestError>),
    /// Data is sent as it comes and as it is granted.
    Sending,
    /// Nothing more is sent but this; loads are on their way.
    Ending(Result<Reply, RequestError>),
    /// The last reply was given.
    Over,
}

/// A chunk that is loaded for the client.
#[derive(Debug)]
struct Ahead {
    /// Bytes that are not sent yet.
    bytes: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Loading {
        ticket: u64,
        index: u32,
        chunk: ChunkId,
        /// Bytes of the whole chunk.
        whole: u32,
        /// Bytes of it before those that are wanted.
        skip: u32,
    },
    Ready(Bytes),
    Failed(RequestError),
}

/// One get.
#[derive(Debug)]
pub struct Get {
    stat: FileStat,
    manifest: Manifest,
    first: u64,
    bytes: u64,
    stage: Stage,
    /// `None` once nothing more is to be loaded.
    walk: Option<ManifestWalk>,
    /// Chunks in the order of the file. Invariant: without the last one they hold no more bytes than `granted`.
    queue: VecDeque<Ahead>,
    /// The manifest chunk that is loaded before the walk can go on.
    node: Option<(u64, ChunkId)>,
    /// Why the file ends after what is in `queue`.
    failed: Option<RequestError>,
    /// Bytes the client takes.
    granted: u64,
    sent: u64,
    tickets_made: u64,
}

impl Get {
    /// What is being read, whatever its name means by now: a sweep must keep all of it.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A get of `bytes` bytes from byte `first` on, as [`resolve`] gives them. To be stepped at once with
    /// [`Event::Wake`].
    ///
    /// # Panics
    /// When the file ends before the range does.
    #[must_use]
    pub fn new(stat: FileStat, manifest: &Manifest, first: u64, bytes: u64) -> Self {
        assert!(first.checked_add(bytes).is_some_and(|end| end <= manifest.size), "the range lies within the file");
        assert_eq!((stat.file, stat.size), (manifest.file, manifest.size), "both are of one content");
        // Not a bug of this node: a manifest is what whoever stored the file said it is.
        let whole = ChunkId::from_bytes(*manifest.file.as_bytes());
        let (walk, error) = match ManifestWalk::new(manifest, first, bytes) {
            Ok(walk) => (Some(walk), None),
            Err(_) => (None, Some(bad_chunk(None, whole, ChunkFault::Malformed))),
        };
        Self {
            stat,
            manifest: manifest.clone(),
            first,
            bytes,
            stage: Stage::Opening(error),
            walk,
            queue: VecDeque::new(),
            node: None,
            failed: None,
            granted: 0,
            sent: 0,
            tickets_made: 0,
        }
    }

    fn open(&mut self, out: &mut Vec<Effect>) {
        let Stage::Opening(error) = &mut self.stage else { return };
        if let Some(error) = error.take() {
            return self.end(Err(error));
        }
        self.stage = Stage::Sending;
        let opened = Reply::Opened { stat: Box::new(self.stat.clone()), first: self.first, bytes: self.bytes };
        out.push(Effect::Reply { reply: Ok(opened), last: false });
    }

    fn loaded(&mut self, ticket: u64, result: Result<VerifiedChunk, ChunkFault>) {
        if self.node.is_some_and(|(node, _)| node == ticket) {
            return self.node_loaded(result);
        }
        let is_it = |ahead: &&mut Ahead| matches!(ahead.state, State::Loading { ticket: it, .. } if it == ticket);
        let ahead = self.queue.iter_mut().find(is_it).expect("only what was asked for is loaded, once");
        let State::Loading { index, chunk, whole, skip, .. } = ahead.state else { unreachable!("just matched") };
        let fault = match result {
            Ok(loaded) => {
                assert_eq!(loaded.id(), chunk, "another chunk was asked for");
                let (skip, take) = (skip as usize, usize::try_from(ahead.bytes).expect("within a chunk"));
                if loaded.bytes().len() == whole as usize {
                    ahead.state = State::Ready(loaded.bytes().slice(skip..skip + take));
                    return;
                }
                ChunkFault::Malformed
            }
            Err(fault) => fault,
        };
        ahead.state = State::Failed(bad_chunk(Some(index), chunk, fault));
    }

    fn node_loaded(&mut self, result: Result<VerifiedChunk, ChunkFault>) {
        let (_, chunk) = self.node.take().expect("the caller has looked");
        let Some(walk) = &mut self.walk else { return };
        let fed = result.and_then(|node| {
            assert_eq!(node.id(), chunk, "another chunk was asked for");
            walk.feed(&node).map_err(|_| ChunkFault::Malformed)
        });
        if let Err(fault) = fed {
            self.failed = Some(bad_chunk(None, chunk, fault));
            self.walk = None;
        }
    }

    /// Ends the get with `reply`, which goes out once no load is on its way any more. The first reason stays.
    fn end(&mut self, reply: Result<Reply, RequestError>) {
        match self.stage {
            Stage::Opening(_) | Stage::Sending => {}
            Stage::Ending(_) | Stage::Over => return,
        }
        self.stage = Stage::Ending(reply);
        self.walk = None;
    }

    /// Goes on as far as it can without a further event.
    fn settle(&mut self, out: &mut Vec<Effect>) {
        while matches!(self.stage, Stage::Sending) && (self.load(out) || self.send(out)) {}
        if !matches!(self.stage, Stage::Ending(_)) {
            return;
        }
        self.queue.retain(|ahead| matches!(ahead.state, State::Loading { .. }));
        if self.queue.is_empty() && self.node.is_none() {
            let stage = core::mem::replace(&mut self.stage, Stage::Over);
            let Stage::Ending(reply) = stage else { unreachable!("just matched") };
            out.push(Effect::Reply { reply, last: true });
        }
    }

    /// Starts the next load, if there is one and the client takes what is ahead of it; returns whether there was.
    fn load(&mut self, out: &mut Vec<Effect>) -> bool {
        let ahead: u64 = self.queue.iter().map(|ahead| ahead.bytes).sum();
        if ahead >= self.granted || self.queue.len() == GET_LOADS_MAX || self.node.is_some() {
            return false;
        }
        let Some(walk) = &mut self.walk else { return false };
        let ticket = self.tickets_made + 1;
        let chunk = match walk.step() {
            Step::Inline(bytes) => {
                self.queue.push_back(Ahead { bytes: bytes.len() as u64, state: State::Ready(bytes) });
                return true;
            }
            Step::Node(chunk) => {
                self.node = Some((ticket, chunk));
                chunk
            }
            Step::Chunk { index, chunk, bytes: whole, skip, take } => {
                let state = State::Loading { ticket, index, chunk, whole, skip };
                self.queue.push_back(Ahead { bytes: u64::from(take), state });
                chunk
            }
            Step::Done => {
                self.walk = None;
                return false;
            }
        };
        self.tickets_made = ticket;
        out.push(Effect::Load { ticket, chunk });
        true
    }

    /// Sends what is ready and granted, or what ends the file; returns whether anything went on.
    fn send(&mut self, out: &mut Vec<Effect>) -> bool {
        let Some(front) = self.queue.front_mut() else {
            if self.sent == self.bytes {
                self.end(Ok(Reply::Complete));
                return true;
            }
            let Some(error) = self.failed.take() else { return false };
            self.end(Err(error));
            return true;
        };
        match &mut front.state {
            State::Loading { .. } => false,
            State::Failed(error) => {
                let error = error.clone();
                self.end(Err(error));
                true
            }
            State::Ready(rest) => {
                let granted = usize::try_from(self.granted).unwrap_or(usize::MAX).min(rest.len());
                if granted == 0 {
                    return false;
                }
                let data = rest.split_to(granted);
                front.bytes -= data.len() as u64;
                self.granted -= data.len() as u64;
                self.sent += data.len() as u64;
                assert!(self.sent <= self.bytes, "no more than was asked for");
                if front.bytes == 0 {
                    self.queue.pop_front();
                }
                out.push(Effect::Reply { reply: Ok(Reply::Data(data)), last: false });
                true
            }
        }
    }
}

fn bad_chunk(index: Option<u32>, chunk: ChunkId, fault: ChunkFault) -> RequestError {
    RequestError::BadChunk { index, chunk: Box::new(chunk), fault: Box::new(fault) }
}

impl Machine for Get {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, _now: Now, event: Event, out: &mut Vec<Effect>) {
        self.open(out);
        match event {
            Event::Wake => {}
            Event::More { bytes } => self.granted = self.granted.saturating_add(bytes),
            Event::Loaded { ticket, result } => self.loaded(ticket, result),
            Event::Cancel => self.end(Ok(Reply::Cancelled)),
        }
        self.settle(out);
    }

    fn flush(&mut self, _now: Now, _out: &mut Vec<Effect>) {}

    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Opening(_) => Some(Instant::ZERO),
            Stage::Sending | Stage::Ending(_) | Stage::Over => None,
        }
    }

    fn check(&self) {
        assert!(self.queue.len() <= GET_LOADS_MAX, "few chunks are ahead");
        let ahead: u64 = self.queue.iter().map(|ahead| ahead.bytes).sum();
        let last = self.queue.back().map_or(0, |ahead| ahead.bytes);
        assert!(self.sent + ahead <= self.bytes, "no more than was asked for");
        match self.stage {
            Stage::Opening(_) => assert!(self.tickets_made == 0 && self.sent == 0, "nothing was done"),
            Stage::Sending => {
                assert!(ahead - last <= self.granted, "only the last chunk reaches beyond what is granted");
                assert!(self.sent < self.bytes, "a get that has sent all ends");
            }
            Stage::Ending(_) => assert!(!self.queue.is_empty() || self.node.is_some(), "it waits for loads alone"),
            Stage::Over => assert!(self.queue.is_empty() && self.node.is_none(), "nothing is left behind"),
        }
    }
}

#[cfg(test)]
mod tests;
