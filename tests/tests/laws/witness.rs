//! Where a [`Witness`] lives: others that start again and again, now and then on an old disk, and a slow disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use dps_core::disk::DiskError;
use dps_core::disk::{DiskReply, DiskRequest};
use dps_core::id::NodeId;
use dps_core::raft::entry::Position;
use dps_core::raft::membership::Membership;
use dps_core::replica::witness::memory::{Memory, Record};
use dps_core::replica::witness::{Effect, Event, Start, Witness, Words};
use dps_core::rng::{Rng, Seed};
use dps_tests::laws::Habitat;

use crate::disk::encoded_bytes;
use crate::files::boot;

const fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 20])
}

/// Starts of nodes 2 and 3, by their number.
const fn start(number: u64) -> Start {
    // Some have less than the one before.
    let index = if number.is_multiple_of(5) { 1 } else { number };
    let term = if number.is_multiple_of(7) { 1 } else { number };
    let end = Position { term: 2, index };
    Start { random: [number as u8; 16], end, term, whole: !number.is_multiple_of(4) }
}

#[derive(Default)]
pub(crate) struct Door {
    /// Requests that have not ended.
    requests: usize,
    /// What was said to others.
    said: VecDeque<(NodeId, Words)>,
    starts: u64,
}

impl Door {
    pub(crate) fn new(_seed: u64) -> Self {
        Self { starts: 2, ..Self::default() }
    }

    /// What the others say to what they were told last.
    fn answer(&mut self, rng: &mut Rng) -> Option<Event> {
        let (from, words) = self.said.pop_front()?;
        let random = [9; 16];
        let (incarnation, words) = match words {
            Words::Introduction { nonce: None, .. } => {
                (self.starts, Words::Challenge { start: rng.below(2), nonce: [4; 16] })
            }
            Words::Introduction { start, nonce: Some(_) } if rng.chance(3, 4) => {
                (self.starts, Words::Known { random: start.random })
            }
            Words::Introduction { start, .. } => {
                let because = dps_core::replica::witness::Because::EarlierStart { known: 3 };
                (
                    self.starts,
                    Words::RolledBack { random: if rng.chance(1, 2) { start.random } else { random }, because },
                )
            }
            Words::Challenge { start: number, nonce } => {
                (number, Words::Introduction { start: start(number), nonce: Some(nonce) })
            }
            Words::Known { .. } | Words::RolledBack { .. } => return None,
        };
        Some(Event::Received { from, incarnation, words })
    }
}

impl Habitat for Door {
    type Machine = Witness;

    fn machine(&self) -> Witness {
        let members = Arc::new(Membership::new([node(1), node(2), node(3)]).expect("three vote"));
        let record = Record { boot: 1, random: [1; 16], end: Position { term: 2, index: 2 }, term: 2 };
        let memory = Memory { number: 2, nodes: [(node(2), record)].into(), verdict: None };
        let own = Start { random: [8; 16], end: Position::ZERO, term: 0, whole: true };
        let rng = Seed::new([6; 32]).rng();
        Witness::new(node(1), &boot(), own, members, memory, Duration::from_millis(50), rng)
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        let from = node(if rng.chance(1, 2) { 2 } else { 3 });
        match rng.below(12) {
            0..=3 => self.answer(rng),
            4..=7 if self.requests > 0 => {
                self.requests -= 1;
                let result = if rng.chance(1, 16) { Err(DiskError::Full) } else { Ok(DiskReply::Done) };
                Some(Event::DiskDone(result))
            }
            8 => {
                self.starts += 1;
                let words = Words::Introduction { start: start(self.starts), nonce: None };
                Some(Event::Received { from, incarnation: self.starts, words })
            }
            9 => {
                let old = rng.below(self.starts) + 1;
                let words = Words::Introduction { start: start(old), nonce: None };
                Some(Event::Received { from, incarnation: old, words })
            }
            10 => Some(Event::Dropped { from, incarnation: rng.below(self.starts + 2) }),
            11 if rng.chance(1, 8) => {
                let members = Membership::new([node(1), from]).expect("two vote");
                Some(Event::Members(Arc::new(members)))
            }
            _ => None,
        }
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Send { to, words } => self.said.push_back((*to, *words)),
                Effect::Disk(_) => self.requests += 1,
                Effect::RolledBack(_) | Effect::Note(_) => {}
            }
        }
    }

    fn bytes(effect: &Effect) -> usize {
        match effect {
            Effect::Disk(request @ DiskRequest::Append { .. }) => encoded_bytes(request),
            Effect::Disk(_) | Effect::Send { .. } | Effect::RolledBack(_) | Effect::Note(_) => 0,
        }
    }
}
