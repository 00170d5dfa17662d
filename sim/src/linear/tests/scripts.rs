//! Histories to be judged: what clients of a register do and see, and of registers with a flaw.

use std::collections::BTreeMap;

use super::brute::perform;
use super::*;
use crate::draws::{index, pick};

/// What happens next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Invoke { client: u32, key: u64, operation: Operation },
    Respond { id: u32, outcome: Outcome },
}

/// A mistake that a register makes every now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A reading gets what was there earlier.
    StaleRead,
    /// A put is answered and not done.
    LostUpdate,
    /// An answer has a version that is off by some.
    WrongVersion,
    /// A deleted value is there again.
    Resurrected,
}

impl Flaw {
    pub(super) const ALL: [Self; 4] = [Self::StaleRead, Self::LostUpdate, Self::WrongVersion, Self::Resurrected];
}

/// A history, event by event.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) events: Vec<Event>,
}

/// An operation on its way.
#[derive(Clone, Copy)]
struct Pending {
    id: u32,
    client: u32,
    key: u64,
    operation: Operation,
    /// Once it has taken effect.
    outcome: Option<Outcome>,
}

/// How much is drawn.
struct Size {
    operations: u32,
    clients: u32,
    keys: u64,
    values: u64,
    /// Operations that are never answered, of a hundred.
    unanswered_percent: u64,
}

/// What a key has, what it had, and the newest version.
#[derive(Default)]
struct Register {
    now: (Option<(u64, u64)>, u64),
    past: Vec<Option<(u64, u64)>>,
}

struct Stage<'a> {
    rng: &'a mut Rng,
    size: Size,
    flaw: Option<Flaw>,
    registers: BTreeMap<u64, Register>,
    pending: Vec<Pending>,
    /// Operations that nobody waits for any more, and that may still take effect.
    abandoned: Vec<Pending>,
    events: Vec<Event>,
}

impl Script {
    /// Up to seven operations on one or two keys.
    pub(super) fn draw(rng: &mut Rng, flaw: Option<Flaw>) -> Self {
        let operations = u32::try_from(rng.between(3, 7)).unwrap();
        let size = Size { operations, clients: 3, keys: rng.between(1, 2), values: 2, unanswered_percent: 25 };
        Stage::play(rng, size, flaw)
    }

    /// Many operations on one key, each put with a value of its own, as the simulator does it.
    pub(super) fn long(rng: &mut Rng, operations: u32, clients: u32) -> Self {
        let size = Size { operations, clients, keys: 1, values: u64::MAX, unanswered_percent: 5 };
        Stage::play(rng, size, None)
    }

    /// The same as [`Script::draw`] gives, with answers that have nothing to do with it.
    pub(super) fn scramble(rng: &mut Rng) -> Self {
        let mut script = Self::draw(rng, None);
        let operations: Vec<Operation> = script.operations();
        for event in &mut script.events {
            if let Event::Respond { id, outcome } = event
                && rng.chance(1, 2)
            {
                *outcome = any_outcome(rng, operations[*id as usize]);
            }
        }
        script
    }

    pub(super) fn history(&self) -> History {
        let mut history = History::default();
        for (at, event) in self.events.iter().enumerate() {
            match event {
                Event::Invoke { client, key, operation } => {
                    history.invoke(*client, *key, *operation, at as u64);
                }
                Event::Respond { id, outcome } => history.respond(OpId(*id), *outcome, at as u64),
            }
        }
        history
    }

    /// Lets the last reading that found something get what an early one got, and says which it is.
    pub(super) fn make_stale(&mut self) -> u32 {
        let is_read = |event: &&mut Event| matches!(event, Event::Respond { outcome: Outcome::Found { .. }, .. });
        let mut reads = self.events.iter_mut().filter(is_read);
        let (first, last) = (reads.next().unwrap(), reads.next_back().unwrap());
        match (first, last) {
            (Event::Respond { outcome: early, .. }, Event::Respond { id, outcome }) => {
                *outcome = *early;
                *id
            }
            other => panic!("{other:?} are no answers"),
        }
    }

    fn operations(&self) -> Vec<Operation> {
        let operation = |event: &Event| match event {
            Event::Invoke { operation, .. } => Some(*operation),
            Event::Respond { .. } => None,
        };
        self.events.iter().filter_map(operation).collect()
    }
}

fn any_outcome(rng: &mut Rng, operation: Operation) -> Outcome {
    let version = rng.between(1, 5);
    let conflict = Outcome::Conflict { current: rng.chance(3, 4).then_some(version) };
    match operation {
        Operation::Put { .. } => *pick(rng, &[Outcome::Stored { version }, Outcome::Stored { version }, conflict]),
        Operation::Delete { .. } => *pick(rng, &[Outcome::Deleted, Outcome::NotFound, conflict]),
        Operation::Get if rng.chance(1, 4) => Outcome::NotFound,
        Operation::Get => Outcome::Found { value: rng.below(2), version },
    }
}

impl Stage<'_> {
    fn play(rng: &mut Rng, size: Size, flaw: Option<Flaw>) -> Script {
        let mut stage = Stage {
            rng,
            size,
            flaw,
            registers: BTreeMap::new(),
            pending: Vec::new(),
            abandoned: Vec::new(),
            events: Vec::new(),
        };
        let mut invoked = 0;
        while invoked < stage.size.operations || !stage.pending.is_empty() {
            let free = (0..stage.size.clients).find(|client| stage.pending.iter().all(|other| other.client != *client));
            match free.filter(|_| invoked < stage.size.operations && stage.rng.chance(1, 2)) {
                Some(client) => {
                    stage.invoke(invoked, client);
                    invoked += 1;
                }
                None => stage.go_on(),
            }
        }
        Script { events: stage.events }
    }

    fn invoke(&mut self, id: u32, client: u32) {
        let key = self.rng.below(self.size.keys);
        let operation = self.operation(key);
        self.events.push(Event::Invoke { client, key, operation });
        self.pending.push(Pending { id, client, key, operation, outcome: None });
    }

    fn operation(&mut self, key: u64) -> Operation {
        let register = self.registers.entry(key).or_default();
        let version = register.now.0.map_or(1, |(_, version)| version);
        let expect = match self.rng.below(6) {
            0 => Expect::Absent,
            1 => Expect::Version(version),
            2 => Expect::Version(version + self.rng.below(3)),
            _ => Expect::Any,
        };
        match self.rng.below(8) {
            0..=2 => Operation::Put { value: self.rng.below(self.size.values), expect },
            3 | 4 => Operation::Delete { expect },
            _ => Operation::Get,
        }
    }

    /// Lets an operation take effect, or end.
    fn go_on(&mut self) {
        if !self.abandoned.is_empty() && self.rng.chance(1, 3) {
            let place = index(self.rng, self.abandoned.len());
            let abandoned = self.abandoned.swap_remove(place);
            if self.rng.chance(2, 3) {
                self.perform(abandoned.key, abandoned.operation);
            }
        }
        if self.pending.is_empty() {
            return;
        }
        let place = index(self.rng, self.pending.len());
        let Pending { key, operation, outcome, .. } = self.pending[place];
        match outcome {
            None if self.rng.chance(self.size.unanswered_percent, 200) => {
                let pending = self.pending.swap_remove(place);
                self.abandoned.push(pending);
            }
            None => self.pending[place].outcome = Some(self.perform(key, operation)),
            Some(outcome) => {
                let id = self.pending.swap_remove(place).id;
                if !self.rng.chance(self.size.unanswered_percent, 200) {
                    self.events.push(Event::Respond { id, outcome });
                }
            }
        }
    }

    fn perform(&mut self, key: u64, operation: Operation) -> Outcome {
        let flawed = self.flaw.filter(|_| self.rng.chance(2, 3));
        let register = self.registers.entry(key).or_default();
        let version = register.now.1 + self.rng.between(1, 2);
        let before = register.now;
        if flawed == Some(Flaw::Resurrected) && before.0.is_none() {
            register.now.0 = register.past.iter().rev().find_map(|past| *past);
        }
        let (mut outcome, after) = perform(register.now, operation, version);
        let is_stale = flawed == Some(Flaw::StaleRead) && operation == Operation::Get && !register.past.is_empty();
        if is_stale {
            let past = *pick(self.rng, &register.past);
            outcome = past.map_or(Outcome::NotFound, |(value, version)| Outcome::Found { value, version });
        }
        if flawed == Some(Flaw::WrongVersion) {
            let off = self.rng.below(3);
            match &mut outcome {
                Outcome::Stored { version }
                | Outcome::Found { version, .. }
                | Outcome::Conflict { current: Some(version) } => *version = (*version + off).saturating_sub(1),
                Outcome::Deleted | Outcome::NotFound | Outcome::Conflict { current: None } => {}
            }
        }
        let is_lost = flawed == Some(Flaw::LostUpdate) && matches!(outcome, Outcome::Stored { .. });
        register.now = if is_lost { (before.0, after.1) } else { after };
        if register.now.0 != before.0 {
            register.past.push(before.0);
        }
        outcome
    }
}
