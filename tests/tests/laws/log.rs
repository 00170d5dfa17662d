//! Where a [`Log`] lives: commands to commit, and a slow disk.

use dps_core::disk::writer::WriterOp;
use dps_core::ledger::command::Command;
use dps_core::ledger::file::Expect;
use dps_core::ledger::log::{Effect, Event, Log};
use dps_core::ledger::recover::{Recovery, Step};
use dps_core::rng::Rng;
use dps_core::time::WallTime;
use dps_tests::laws::Habitat;

use crate::disk::{Slow, encoded_bytes};
use crate::files::{Source, boot, config, name};

pub(crate) struct Desk {
    disk: Slow<WriterOp>,
    proposed: u64,
}

impl Desk {
    pub(crate) fn new(seed: u64) -> Self {
        Self { disk: Slow::new(seed.is_multiple_of(3)), proposed: 0 }
    }
}

impl Habitat for Desk {
    type Machine = Log;

    fn machine(&self) -> Log {
        let mut recovery = Recovery::new(&config(), boot(), Vec::new(), None);
        assert!(matches!(recovery.advance(), Step::Ready), "a journal without segments is read at once");
        recovery.into_recovered().log
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        if rng.chance(2, 3) {
            let (op, result) = self.disk.end(rng)?;
            return Some(Event::DiskDone { op, result });
        }
        if rng.chance(1, 100) {
            return Some(Event::Close);
        }
        self.proposed += 1;
        let (time, name, expect) = (WallTime::from_nanos(rng.below(100)), name(rng), Expect::Any);
        let command = if rng.chance(1, 3) {
            Command::Delete { time, name, expect }
        } else {
            Command::Put { time, lease: rng.below(3), name, expect, manifest: Source::drawn(rng).stored().0 }
        };
        let volumes = (0..rng.below(3)).map(|volume| (volume + 1, 1 + rng.below(9))).collect();
        Some(Event::Propose { ticket: self.proposed, volumes, command })
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
