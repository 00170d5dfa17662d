//! Where a [`Store`] lives: chunks to keep and to give back, and a slow disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use dps_core::disk::DiskError;
use dps_core::id::ChunkId;
use dps_core::keystore::filter::{Filter, SALT_LEN};
use dps_core::keystore::recover::{Recovery, Step};
use dps_core::keystore::store::{Effect, Event, Store, Ticket, Token};
use dps_core::rng::Rng;
use dps_tests::laws::Habitat;

use crate::disk::{Slow, encoded_bytes};
use crate::files::{Source, boot, config, index};

pub(crate) struct Shelf {
    disk: Slow<Token>,
    asked: u64,
    epoch: u64,
}

impl Shelf {
    pub(crate) fn new(seed: u64) -> Self {
        Self { disk: Slow::new(seed.is_multiple_of(3)), asked: 0, epoch: 0 }
    }
}

impl Shelf {
    /// A sweep that has found some chunks in use.
    fn collect(&mut self, rng: &mut Rng) -> Event {
        self.epoch += 1;
        let mut filter = Filter::builder(self.epoch, [0; SALT_LEN], 100);
        for _ in 0..rng.below(4) {
            Source::drawn(rng).chunks.iter().for_each(|chunk| filter.insert(&chunk.id()));
        }
        Event::Collect { epoch: self.epoch, filter: Arc::new(filter.finish()) }
    }
}

impl Habitat for Shelf {
    type Machine = Store;

    fn machine(&self) -> Store {
        let mut recovery = Recovery::new(&config(), boot(), Vec::new(), BTreeMap::new(), None);
        loop {
            match recovery.advance() {
                Step::Disk(_) => recovery.done(Err(DiskError::NotFound)),
                Step::Note(note) => panic!("an empty disk has nothing to tell: {note}"),
                Step::Ready => return recovery.into_store().0,
            }
        }
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        if rng.chance(2, 3) {
            let (token, result) = self.disk.end(rng)?;
            return Some(Event::DiskDone { token, result });
        }
        if rng.chance(1, 100) {
            return Some(Event::Close);
        }
        self.asked += 1;
        let ticket = Ticket { owner: rng.below(3), number: self.asked };
        let chunks = Source::drawn(rng).chunks;
        let chunk = chunks.get(index(rng, chunks.len().max(1))).cloned();
        let lease = self.epoch;
        Some(match chunk {
            _ if rng.chance(1, 20) => Event::Compact,
            _ if rng.chance(1, 20) => self.collect(rng),
            Some(chunk) if rng.chance(1, 6) => Event::Touch { ticket, chunk: chunk.id(), lease },
            Some(chunk) if rng.chance(1, 2) => Event::Put { ticket, chunk, lease },
            Some(chunk) => Event::Get { ticket, chunk: chunk.id() },
            None => Event::Get { ticket, chunk: ChunkId::of(b"never stored") },
        })
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Disk { token, request } = effect {
                self.disk.issue(*token, request.clone());
            }
        }
    }

    fn progress(store: &Store) -> u64 {
        store.slices()
    }

    fn bytes(effect: &Effect) -> usize {
        if let Effect::Disk { request, .. } = effect { encoded_bytes(request) } else { 0 }
    }
}
