//! Where a [`Put`] lives: a client that mostly plays by the rules, a pool of credit, a store and a ledger.

use std::collections::{BTreeMap, VecDeque};

use dps_core::disk::{DiskError, File};
use dps_core::id::{ChunkId, VerifiedChunk};
use dps_core::keystore::{ChunkFault, Place, StoreError, StoredChunk};
use dps_core::ledger::file::{Expect, FileStat};
use dps_core::ledger::name::Name;
use dps_core::node::{Reply, RequestError};
use dps_core::rng::Rng;
use dps_core::task::put::{Effect, Event, Put};
use dps_core::time::Now;
use dps_tests::laws::Habitat;

use crate::files::{Source, config, index, stat};

pub(crate) struct Counter {
    source: Source,
    /// What the client has not sent yet.
    unsent: VecDeque<VerifiedChunk>,
    credit: u64,
    committed: bool,
    asks: VecDeque<u64>,
    /// Chunks that are being stored, and whether they have left memory.
    storing: Vec<(u64, bool)>,
    stores: u64,
    /// Manifest chunks that are being read, and what was stored.
    loading: Vec<(u64, ChunkId)>,
    stored: BTreeMap<ChunkId, VerifiedChunk>,
    epoch: u64,
    proposed: Option<FileStat>,
    over: bool,
    /// Whether space is short at times.
    refuses: bool,
}

impl Counter {
    pub(crate) fn new(seed: u64) -> Self {
        let source = Source::new(seed, (seed / 9).is_multiple_of(3));
        Self {
            unsent: source.chunks.clone().into(),
            source,
            credit: 0,
            committed: false,
            asks: VecDeque::new(),
            storing: Vec::new(),
            stores: 0,
            loading: Vec::new(),
            stored: BTreeMap::new(),
            epoch: 0,
            proposed: None,
            over: false,
            refuses: seed % 11 == 5,
        }
    }

    /// The client's next message, if it has one.
    fn client(&mut self, rng: &mut Rng) -> Option<Event> {
        match rng.below(120) {
            0 => return Some(Event::Cancel),
            1 => return Some(Event::Chunk(self.source.chunks.first()?.clone())),
            2 => return Some(Event::Commit(self.source.digest)),
            _ => {}
        }
        let Some(next) = self.unsent.front() else {
            let first = !std::mem::replace(&mut self.committed, true);
            return first.then_some(Event::Commit(self.source.digest));
        };
        self.credit = self.credit.checked_sub(next.bytes().len() as u64)?;
        self.unsent.pop_front().map(Event::Chunk)
    }

    /// The store's next answer, if it owes one.
    fn store(&mut self, rng: &mut Rng) -> Option<Event> {
        if self.storing.is_empty() {
            return None;
        }
        let chosen = index(rng, self.storing.len());
        let (ticket, written) = &mut self.storing[chosen];
        let ticket = *ticket;
        if !*written && rng.chance(1, 2) {
            *written = true;
            return Some(Event::Written { ticket });
        }
        self.storing.remove(chosen);
        self.stores += 1;
        let result = match rng.below(12) {
            0 => Err(StoreError::Full),
            2 => Err(StoreError::Missing),
            1 => Err(StoreError::Failed { file: File::Volume(1), error: DiskError::Io(5) }),
            _ => {
                let place = Place { volume: 1 + rng.below(3), offset: 64 * self.stores, position: 1 + self.stores };
                let marked_at = rng.chance(1, 3).then_some(place);
                Ok(StoredChunk { place, marked_at, fresh: rng.chance(1, 2) })
            }
        };
        Some(Event::Stored { ticket, result })
    }
}

impl Habitat for Counter {
    type Machine = Put;

    fn machine(&self) -> Put {
        let name = Name::new(b"name").expect("a plain word is a name");
        Put::new(&config(), name, Expect::Any, self.source.size, Now::default())
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        // A machine that has given its last reply is dropped.
        if self.over {
            return None;
        }
        // Time runs against a put, so whoever can go on does.
        let first = rng.below(5);
        (first..first + 5).find_map(|turn| match turn % 5 {
            4 => self.loading.pop().map(|(ticket, chunk)| {
                let missing = ChunkFault::Missing { lost_volumes: Vec::new() };
                let found = self.stored.get(&chunk).filter(|_| !rng.chance(1, 8)).cloned();
                Event::Loaded { ticket, result: found.ok_or(missing) }
            }),
            0 => {
                let refused = self.refuses && !self.asks.is_empty() && rng.chance(1, 6);
                self.asks.pop_front().map(|bytes| if refused { Event::Refused } else { Event::Granted { bytes } })
            }
            1 => self.store(rng),
            2 if self.proposed.is_some() && rng.chance(1, 4) => {
                self.proposed = None;
                self.epoch += 1 + rng.below(3);
                Some(Event::Stale { epoch: self.epoch })
            }
            2 => self.proposed.take().map(|stat| {
                let result = if rng.chance(1, 5) { Err(RequestError::Conflict { current: Some(7) }) } else { Ok(stat) };
                Event::Committed { result }
            }),
            _ => self.client(rng),
        })
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Ask { bytes } => self.asks.push_back(*bytes),
                Effect::Store { ticket, chunk } => {
                    self.stored.insert(chunk.id(), chunk.clone());
                    self.storing.push((*ticket, false));
                }
                // As good as a store that is out of memory.
                Effect::Touch { ticket, .. } => self.storing.push((*ticket, true)),
                Effect::Load { ticket, chunk } => self.loading.push((*ticket, *chunk)),
                Effect::Propose(proposal) => self.proposed = Some(stat(&proposal.manifest)),
                Effect::Reply { reply: Ok(Reply::Credit { bytes }), .. } => self.credit += bytes,
                Effect::Reply { last, .. } => self.over |= *last,
                Effect::Release { .. } | Effect::Note(_) => {}
            }
        }
    }

    fn bytes(_effect: &Effect) -> usize {
        // Chunks are passed on; a manifest's own chunk has a few entries of 36 bytes.
        0
    }
}
