//! Where a [`Reserve`] lives: a disk that others fill and empty, puts, and whoever makes room.

use dps_core::disk::reserve::{Effect, Event, Footprint, Purpose, Reserve};
use dps_core::id::RequestId;
use dps_core::rng::Rng;
use dps_tests::laws::Habitat;

use crate::disk::Slow;
use crate::files::config;

pub(crate) struct Yard {
    disk: Slow<()>,
    asked: u64,
    writable: bool,
}

impl Yard {
    pub(crate) fn new(seed: u64) -> Self {
        Self { disk: Slow::new(seed.is_multiple_of(3)), asked: 0, writable: !seed.is_multiple_of(7) }
    }

    fn footprint(rng: &mut Rng) -> Footprint {
        Footprint {
            fullest_bytes: rng.below(900),
            chunks: rng.below(20),
            volumes: rng.below(9),
            preamble_bytes: rng.below(99),
        }
    }

    fn next_id(&mut self) -> RequestId {
        self.asked += 1;
        RequestId(self.asked)
    }
}

impl Habitat for Yard {
    type Machine = Reserve;

    fn machine(&self) -> Reserve {
        Reserve::new(&config(), None, self.writable)
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        if rng.chance(1, 6) {
            // Others come and go.
            self.disk.set_capacity([0, 1_000, 3_000, 9_000, 1 << 30][crate::files::index(rng, 5)]);
        }
        Some(match rng.below(12) {
            0..5 => {
                let ((), result) = self.disk.end(rng)?;
                Event::DiskDone { result, footprint: Self::footprint(rng) }
            }
            5..8 => Event::Admit { id: self.next_id(), bytes: rng.below(129), coming: rng.below(500) },
            8 => Event::Grew { bytes: rng.below(300) },
            9 => {
                let purpose = [Purpose::Change, Purpose::Collection, Purpose::Question][crate::files::index(rng, 3)];
                Event::Room { id: self.next_id(), purpose }
            }
            10 if rng.chance(1, 30) => Event::Close,
            10 => Event::Forget { id: RequestId(rng.below(self.asked + 1)) },
            _ => Event::Collected,
        })
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Disk(request) = effect {
                self.disk.issue((), request.clone());
            }
        }
    }

    fn bytes(_effect: &Effect) -> usize {
        0
    }
}
