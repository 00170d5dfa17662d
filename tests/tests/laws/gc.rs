//! Where a [`Gc`] lives: a ledger that decides, a walk, a store, and a client that may change its mind.

use std::sync::Arc;
use std::time::Duration;

use dps_core::disk::DiskError;
use dps_core::id::{ChunkId, FileId};
use dps_core::keystore::filter::{Filter, SALT_LEN};
use dps_core::keystore::{ChunkFault, Collected, Compacted, StoreError};
use dps_core::ledger::command::{Command, Outcome};
use dps_core::node::RequestError;
use dps_core::rng::Rng;
use dps_core::task::gc::{Effect, Event, Gc};
use dps_core::task::sweep::SweepError;
use dps_core::time::Now;
use dps_tests::laws::Habitat;

/// What somebody owes the collection.
#[derive(Clone, Debug)]
enum Owed {
    Decision(Command),
    Walk(u64),
    /// The end of what is older, which may take long.
    Older,
    Collect,
    Compact,
}

pub(crate) struct Office {
    /// Seldom hurried: then the wait for what is older comes to its end.
    slow: bool,
    owed: Vec<Owed>,
    cancelled: bool,
    over: bool,
}

impl Office {
    pub(crate) fn new(seed: u64) -> Self {
        Self { slow: seed.is_multiple_of(3), owed: Vec::new(), cancelled: false, over: false }
    }

    fn answer(&mut self, owed: &Owed, rng: &mut Rng) -> Event {
        match owed {
            Owed::Decision(_) if rng.chance(1, 20) => {
                Event::Decided(Err(RequestError::OutcomeUnknown(DiskError::Io(5))))
            }
            Owed::Decision(Command::Reap { .. }) => {
                let count = u32::try_from(rng.below(9)).expect("a small number");
                Event::Decided(Ok(Outcome::Reaped { count, more: rng.chance(1, 3) }))
            }
            Owed::Decision(Command::SweepStart { .. }) => Event::Decided(Ok(Outcome::SweepStarted { epoch: 3 })),
            Owed::Decision(_) => {
                let superseded = rng.chance(1, 8);
                Event::Decided(Ok(if superseded { Outcome::Superseded } else { Outcome::SweepCompleted }))
            }
            Owed::Walk(_) if self.cancelled && rng.chance(1, 2) => Event::Swept(Err(SweepError::Cancelled)),
            Owed::Walk(_) if rng.chance(1, 8) => {
                let (file, chunk) = (FileId::from_bytes([1; 32]), Some(ChunkId::of(b"node")));
                let fault = ChunkFault::Missing { lost_volumes: Vec::new() };
                Event::Swept(Err(SweepError::BadManifest { file, chunk, fault }))
            }
            Owed::Walk(epoch) => Event::Swept(Ok(Filter::builder(*epoch, [0; SALT_LEN], 10).finish())),
            Owed::Older => Event::OlderEnded,
            Owed::Collect if rng.chance(1, 8) => Event::Collected(Err(StoreError::Closing)),
            Owed::Collect => Event::Collected(Ok(Collected { chunks: rng.below(9), bytes: rng.below(999) })),
            Owed::Compact => Event::Compacted(Ok(Compacted { volumes: rng.below(3), bytes: rng.below(999) })),
        }
    }
}

impl Habitat for Office {
    type Machine = Gc;

    fn machine(&self) -> Gc {
        Gc::new(Duration::from_secs(1), Duration::from_millis(20), Now::default())
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        // A machine that has given its last reply is dropped, though the store may go on.
        if self.over {
            return None;
        }
        if !self.cancelled && rng.chance(1, 30) {
            self.cancelled = true;
            return Some(Event::Cancel);
        }
        let hurried = |owed: &Owed| !self.slow || !matches!(owed, Owed::Older);
        let at = self.owed.iter().position(hurried)?;
        let owed = self.owed.remove(at);
        Some(self.answer(&owed, rng))
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Propose(command) => self.owed.push(Owed::Decision(command.clone())),
                Effect::Sweep { epoch } => self.owed.push(Owed::Walk(*epoch)),
                Effect::AwaitOlder { .. } => self.owed.push(Owed::Older),
                Effect::Collect(filter) => {
                    assert_eq!(Arc::clone(filter).epoch(), 3, "the filter is of the sweep");
                    self.owed.push(Owed::Collect);
                }
                Effect::Compact => self.owed.push(Owed::Compact),
                Effect::Reply { last, .. } => self.over |= *last,
                Effect::CancelSweep | Effect::EndOlder { .. } => {}
            }
        }
    }

    fn bytes(_effect: &Effect) -> usize {
        0
    }
}
