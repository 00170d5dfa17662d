//! A toy machine that batches parcels into one outstanding delivery and rings when it was idle for long; with mistakes to
//! choose from, so that the laws can be shown to catch them.

use std::time::Duration;

use dps_core::limits::{STEP_BYTES_MAX, STEP_ITEMS_MAX};
use dps_core::machine::Machine;
use dps_core::rng::Rng;
use dps_core::time::{Instant, Now};
use dps_tests::laws::Habitat;

const IDLE: Duration = Duration::from_millis(20);

/// What a courier does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    EmitsWhenWokenEarly,
    RemembersEarlyWakes,
    PutsOffWhenWokenEarly,
    StaysDue,
    IsDueForEver,
    FlushesTwice,
    Floods,
    Swells,
    LosesCount,
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Wake,
    Brought { parcel: u64 },
    Delivered,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    Deliver { parcels: Vec<u64>, stamp: u64, bytes: usize },
    Ring,
}

/// Invariant: `brought` counts the parcels delivered, on their way, and waiting.
pub(crate) struct Courier {
    /// Goes out with every delivery.
    pub(crate) stamp: u64,
    mistake: Mistake,
    waiting: Vec<u64>,
    away: Option<usize>,
    delivered: usize,
    brought: usize,
    idle_at: Option<Instant>,
}

impl Courier {
    pub(crate) fn new(mistake: Mistake) -> Self {
        Self { stamp: 0, mistake, waiting: Vec::new(), away: None, delivered: 0, brought: 0, idle_at: None }
    }

    fn wake_early(&mut self, out: &mut Vec<Effect>) {
        match self.mistake {
            Mistake::EmitsWhenWokenEarly => out.push(Effect::Ring),
            Mistake::RemembersEarlyWakes => self.stamp += 1,
            Mistake::PutsOffWhenWokenEarly => self.idle_at = self.idle_at.map(|at| at + IDLE),
            Mistake::None
            | Mistake::StaysDue
            | Mistake::IsDueForEver
            | Mistake::FlushesTwice
            | Mistake::Floods
            | Mistake::Swells
            | Mistake::LosesCount => {}
        }
    }
}

impl Machine for Courier {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        let due = self.idle_at.is_some_and(|at| at <= now.mono);
        if due && self.mistake == Mistake::IsDueForEver {
            out.push(Effect::Ring);
        } else if due && self.mistake != Mistake::StaysDue {
            self.idle_at = None;
            out.push(Effect::Ring);
        }
        match event {
            Event::Wake if due => {}
            Event::Wake => self.wake_early(out),
            Event::Brought { parcel } => {
                self.waiting.push(parcel);
                self.brought += usize::from(self.mistake != Mistake::LosesCount);
            }
            Event::Delivered => {
                self.delivered += self.away.take().expect("something was on its way");
                self.idle_at = Some(now.mono + IDLE);
            }
        }
    }

    fn flush(&mut self, _now: Now, out: &mut Vec<Effect>) {
        if self.away.is_none() && !self.waiting.is_empty() {
            let parcels = std::mem::take(&mut self.waiting);
            self.away = Some(parcels.len());
            self.idle_at = None;
            let copies = if self.mistake == Mistake::Floods { STEP_ITEMS_MAX } else { 0 };
            let bytes = if self.mistake == Mistake::Swells { STEP_BYTES_MAX + 1 } else { 8 * parcels.len() };
            out.push(Effect::Deliver { parcels, stamp: self.stamp, bytes });
            out.extend((0..copies).map(|_| Effect::Ring));
        } else if self.mistake == Mistake::FlushesTwice && self.away.is_some() {
            out.push(Effect::Ring);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.idle_at
    }

    fn check(&self) {
        let all = self.delivered + self.away.unwrap_or(0) + self.waiting.len();
        assert!(self.brought == all, "every parcel is counted: {} of {all}", self.brought);
    }
}

/// Brings parcels and takes deliveries.
pub(crate) struct Round {
    courier: Courier,
    parcels: u64,
    away: bool,
}

impl Round {
    pub(crate) fn new(mistake: Mistake) -> Self {
        Self::of(Courier::new(mistake))
    }

    pub(crate) fn of(courier: Courier) -> Self {
        Self { courier, parcels: 0, away: false }
    }
}

impl Habitat for Round {
    type Machine = Courier;

    fn machine(&self) -> Courier {
        Courier { stamp: self.courier.stamp, ..Courier::new(self.courier.mistake) }
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        if self.away && rng.chance(1, 2) {
            self.away = false;
            return Some(Event::Delivered);
        }
        self.parcels += 1;
        Some(Event::Brought { parcel: self.parcels })
    }

    fn observe(&mut self, effects: &[Effect]) {
        self.away |= effects.iter().any(|effect| matches!(effect, Effect::Deliver { .. }));
    }

    fn bytes(effect: &Effect) -> usize {
        match effect {
            Effect::Deliver { bytes, .. } => *bytes,
            Effect::Ring => 0,
        }
    }
}
