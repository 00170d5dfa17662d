//! A habitat that remembers what its machine did, so that a life in which nothing happens is noticed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use dps_core::rng::Rng;
use dps_tests::laws::{Effect, Event, Habitat};
use dps_tests::source::words;

/// Every word that stood in the effects, such as the names of their kinds.
pub(crate) type Seen = Rc<RefCell<BTreeSet<String>>>;

pub(crate) struct Watched<H> {
    habitat: H,
    seen: Seen,
}

impl<H> Watched<H> {
    pub(crate) fn new(habitat: H, seen: &Seen) -> Self {
        Self { habitat, seen: Rc::clone(seen) }
    }
}

impl<H: Habitat> Habitat for Watched<H> {
    type Machine = H::Machine;

    fn machine(&self) -> H::Machine {
        self.habitat.machine()
    }

    fn wake(&self) -> Event<Self> {
        self.habitat.wake()
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event<Self>> {
        self.habitat.event(rng)
    }

    fn observe(&mut self, effects: &[Effect<Self>]) {
        let mut seen = self.seen.borrow_mut();
        for effect in effects {
            let text = format!("{effect:?}");
            let names = words(&text).map(|(_, word)| word).filter(|word| word.starts_with(char::is_uppercase));
            seen.extend(names.map(str::to_owned));
        }
        self.habitat.observe(effects);
    }

    fn progress(machine: &Self::Machine) -> u64 {
        H::progress(machine)
    }

    fn bytes(effect: &Effect<Self>) -> usize {
        H::bytes(effect)
    }
}
