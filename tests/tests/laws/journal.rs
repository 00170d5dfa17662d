//! Where a [`Journal`] lives: a log that grows, is cut and begins anew, and a slow disk.

use std::sync::Arc;

use bytes::Bytes;
use dps_core::disk::DiskError;
use dps_core::id::NodeId;
use dps_core::raft::entry::{Entry, Payload, Position};
use dps_core::raft::journal::recover::{Recovery, Step};
use dps_core::raft::journal::{Effect, Event, Journal, Op};
use dps_core::raft::membership::Membership;
use dps_core::raft::{Base, Cut, Vote, Write};
use dps_core::rng::Rng;
use dps_tests::laws::Habitat;

use crate::disk::{Slow, encoded_bytes};
use crate::files::{boot, config};

pub(crate) struct Scriptorium {
    disk: Slow<Op>,
    written: u64,
    term: u64,
    base: u64,
    /// Terms of the entries after the base.
    terms: Vec<u64>,
}

fn group(voters: u8) -> Arc<Membership> {
    let voters = (1..=voters).map(|number| NodeId::from_bytes([number; 20]));
    Arc::new(Membership::new(voters).expect("somebody votes"))
}

impl Scriptorium {
    pub(crate) fn new(seed: u64) -> Self {
        Self { disk: Slow::new(seed.is_multiple_of(3)), written: 0, term: 1, base: 0, terms: Vec::new() }
    }

    fn last(&self) -> u64 {
        self.base + self.terms.len() as u64
    }

    /// What a node might have to write.
    fn write(&mut self, rng: &mut Rng) -> Write {
        self.written += 1;
        let mut write = Write { number: self.written, vote: None, base: None, cut: None, entries: Arc::from([]) };
        match rng.below(12) {
            0 => {
                self.term += 1;
                let candidate = rng.chance(1, 2).then(|| NodeId::from_bytes([7; 20]));
                write.vote = Some(Vote { term: self.term, candidate });
            }
            1 | 2 if !self.terms.is_empty() => {
                let kept = usize::try_from(rng.below(self.terms.len() as u64)).expect("a short log");
                let position = Position { term: self.terms[kept], index: self.base + kept as u64 + 1 };
                self.base = position.index;
                self.terms.drain(..=kept);
                write.base = Some(Base { position, membership: group(1 + (self.written % 3) as u8) });
            }
            3 if !self.terms.is_empty() => {
                let kept = rng.below(self.terms.len() as u64);
                self.terms.truncate(usize::try_from(kept).expect("a short log"));
                write.cut = Some(Cut { after: self.last(), term: self.term });
                write.entries = self.entries(rng);
            }
            _ => write.entries = self.entries(rng),
        }
        write
    }

    fn entries(&mut self, rng: &mut Rng) -> Arc<[Entry]> {
        let entry = |_| {
            let position = Position { term: self.term, index: self.last() + 1 };
            self.terms.push(self.term);
            let payload = match rng.below(8) {
                0 => Payload::Empty,
                1 => Payload::Membership(group(1 + rng.below(3) as u8)),
                _ => Payload::Command(Bytes::from(vec![5; usize::try_from(rng.below(400)).expect("it is small")])),
            };
            Entry { position, payload }
        };
        (0..4).map(entry).collect()
    }
}

impl Habitat for Scriptorium {
    type Machine = Journal;

    fn machine(&self) -> Journal {
        let mut recovery = Recovery::new(&config(), boot(), Vec::new(), group(1), None);
        loop {
            match recovery.advance() {
                Step::Disk(_) => recovery.done(&Err(DiskError::NotFound)),
                Step::Note(note) => panic!("nothing is wrong with an empty disk: {note}"),
                Step::Ready => return recovery.into_recovered().journal,
            }
        }
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        if rng.chance(2, 3) {
            let (op, result) = self.disk.end(rng)?;
            return Some(Event::DiskDone { op, result });
        }
        Some(match rng.below(60) {
            0 => Event::Close,
            1 => Event::Resolved,
            2..=9 => Event::Rely((0..rng.below(3)).map(|volume| (volume + 1, 1 + rng.below(9))).collect()),
            _ => Event::Persist(Box::new(self.write(rng))),
        })
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Disk { op, request } = effect {
                self.disk.issue(*op, request.clone());
            }
        }
    }

    fn bytes(effect: &Effect) -> usize {
        if let Effect::Disk { request, .. } = effect { encoded_bytes(request) } else { 0 }
    }
}
