//! Where a [`Get`] lives: a client that takes more and more, and a store that mostly has the chunks.

use std::collections::BTreeMap;

use dps_core::id::{ChunkId, VerifiedChunk};
use dps_core::keystore::manifest::Manifest;
use dps_core::keystore::{ChunkFault, Place};
use dps_core::node::Reply;
use dps_core::rng::Rng;
use dps_core::task::get::{Effect, Event, Get};
use dps_tests::laws::Habitat;

use crate::files::{Source, index, stat};

pub(crate) struct Window {
    manifest: Manifest,
    stored: BTreeMap<ChunkId, VerifiedChunk>,
    first: u64,
    loading: Vec<(u64, ChunkId)>,
    over: bool,
}

impl Window {
    pub(crate) fn new(seed: u64) -> Self {
        let (manifest, stored) = Source::new(seed, false).stored();
        let stored = stored.into_iter().map(|chunk| (chunk.id(), chunk)).collect();
        let first = (seed / 9) % manifest.size.max(1);
        Self { manifest, stored, first, loading: Vec::new(), over: false }
    }
}

/// How the store answers a load.
pub(crate) fn load(
    stored: &BTreeMap<ChunkId, VerifiedChunk>,
    chunk: ChunkId,
    rng: &mut Rng,
) -> Result<VerifiedChunk, ChunkFault> {
    match rng.below(80) {
        0 => Err(ChunkFault::Missing { lost_volumes: vec![1] }),
        1 => Err(ChunkFault::Mismatch(Place { volume: 1, offset: 64, position: 2 })),
        _ => Ok(stored[&chunk].clone()),
    }
}

impl Habitat for Window {
    type Machine = Get;

    fn machine(&self) -> Get {
        Get::new(stat(&self.manifest), &self.manifest, self.first, self.manifest.size - self.first)
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        // A machine that has given its last reply is dropped.
        if self.over {
            return None;
        }
        if rng.chance(1, 80) {
            return Some(Event::Cancel);
        }
        if self.loading.is_empty() || rng.chance(1, 3) {
            return Some(Event::More { bytes: rng.below(100) });
        }
        let (ticket, chunk) = self.loading.remove(index(rng, self.loading.len()));
        Some(Event::Loaded { ticket, result: load(&self.stored, chunk, rng) })
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Load { ticket, chunk } => self.loading.push((*ticket, *chunk)),
                Effect::Reply { last, .. } => self.over |= *last,
            }
        }
    }

    fn bytes(effect: &Effect) -> usize {
        // Data is a slice of a chunk that someone else has read; only inline content comes from here.
        match effect {
            Effect::Reply { reply: Ok(Reply::Data(bytes)), .. } => bytes.len(),
            Effect::Reply { .. } | Effect::Load { .. } => 0,
        }
    }
}
