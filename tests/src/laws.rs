//! What holds for every [`Machine`], written once and run over each of them.
//!
//! A [`Habitat`] is the world that one kind of machine lives in: it makes machines, answers their effects with events, and
//! knows their wake-up. [`all`] puts a machine through turns drawn from a seed and checks every law on the way.

use std::fmt;
use std::time::Duration;

use dps_core::limits::{STEP_BYTES_MAX, STEP_ITEMS_MAX};
use dps_core::machine::Machine;
use dps_core::rng::{Rng, Seed};
use dps_core::time::{Instant, Now, WallTime};

/// Wake-ups that a machine may ask for at one instant. Each must shrink what is due, so there is an end.
pub const WAKES_PER_INSTANT_MAX: usize = 10_000;

/// Events of one turn, at most.
const TURN_EVENTS_MAX: u64 = 6;

/// The world of one kind of machine.
pub trait Habitat {
    /// The machine.
    type Machine: Machine<Event: Clone + fmt::Debug, Effect: PartialEq + fmt::Debug>;

    /// A fresh machine. Equal for equal habitats.
    fn machine(&self) -> Self::Machine;

    /// The event that only brings time.
    fn wake(&self) -> Event<Self>;

    /// The next thing to happen to the machine, from outside or as the answer to one of its effects; `None` if nothing can.
    fn event(&mut self, rng: &mut Rng) -> Option<Event<Self>>;

    /// Hears of the effects of a call, to answer them some time.
    fn observe(&mut self, effects: &[Effect<Self>]);

    /// Bytes that the machine read, hashed, encoded or copied to make this effect. What it only passes on is free.
    fn bytes(effect: &Effect<Self>) -> usize;

    /// What the machine has done that no effect shows. A machine that cuts long work into calls may be due again at the
    /// very instant of a call, without any effect, as long as this has grown.
    fn progress(_machine: &Self::Machine) -> u64 {
        0
    }
}

/// The events of a habitat's machine.
pub type Event<H> = <<H as Habitat>::Machine as Machine>::Event;

/// The effects of a habitat's machine.
pub type Effect<H> = <<H as Habitat>::Machine as Machine>::Effect;

/// A law, by what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// The same calls give the same effects.
    Replay,
    /// A wake-up before the deadline changes nothing, now or later.
    EarlyWake,
    /// A wake-up at the deadline brings the machine further.
    DueWake,
    /// A second flush in a row emits nothing.
    SecondFlush,
    /// A call emits a bounded number of effects with a bounded number of bytes.
    Bounds,
}

impl Law {
    /// Every law.
    pub const ALL: [Self; 5] = [Self::Replay, Self::EarlyWake, Self::DueWake, Self::SecondFlush, Self::Bounds];
}

/// A law that a machine broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub law: Law,
    /// How.
    pub how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.law, self.how)
    }
}

fn broken<T>(law: Law, how: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { law, how: how.into() })
}

/// One call to a machine.
enum Call<E> {
    Step(E),
    Flush,
}

/// A call with its time and what came of it.
struct Turned<E, F> {
    now: Now,
    call: Call<E>,
    effects: Vec<F>,
}

type Record<H> = Vec<Turned<Event<H>, Effect<H>>>;

/// Puts a machine of the habitats that `make` makes (all alike) through `turns` turns drawn from `seed`, and checks all
/// laws.
///
/// # Errors
/// The first law that is broken.
///
/// # Panics
/// When the machine's own invariants do not hold, see [`Machine::check`].
pub fn all<H: Habitat>(make: impl Fn() -> H, seed: u64, turns: usize) -> Result<(), Broken> {
    let record = live(make(), seed, turns)?;
    replay(&make(), &record)?;
    wake_early(&make(), &record)
}

/// A machine under test, with the checks that need no second run.
struct Subject<H: Habitat> {
    habitat: H,
    machine: H::Machine,
    now: Now,
    record: Record<H>,
}

impl<H: Habitat> Subject<H> {
    fn call(&mut self, call: Call<Event<H>>) -> Result<usize, Broken> {
        let mut effects = Vec::new();
        match &call {
            Call::Step(event) => self.machine.step(self.now, event.clone(), &mut effects),
            Call::Flush => self.machine.flush(self.now, &mut effects),
        }
        if effects.len() > STEP_ITEMS_MAX {
            return broken(Law::Bounds, format!("{} effects of one call", effects.len()));
        }
        let bytes: usize = effects.iter().map(H::bytes).sum();
        if bytes > STEP_BYTES_MAX {
            return broken(Law::Bounds, format!("{bytes} bytes in the effects of one call"));
        }
        self.habitat.observe(&effects);
        let count = effects.len();
        self.record.push(Turned { now: self.now, call, effects });
        Ok(count)
    }

    fn flush(&mut self) -> Result<usize, Broken> {
        let count = self.call(Call::Flush)?;
        let deadline = self.machine.deadline();
        let again = self.call(Call::Flush)?;
        if again > 0 || self.machine.deadline() != deadline {
            let effects = self.record.last().map(|turned| &turned.effects);
            let what = format!("{again} effects, deadline {:?}: {effects:?}", self.machine.deadline());
            return broken(Law::SecondFlush, what);
        }
        self.machine.check();
        Ok(count)
    }

    /// Steps what is due until nothing is.
    fn settle(&mut self) -> Result<(), Broken> {
        for _ in 0..WAKES_PER_INSTANT_MAX {
            let Some(due) = self.machine.deadline().filter(|deadline| *deadline <= self.now.mono) else {
                return Ok(());
            };
            let (wake, before) = (self.habitat.wake(), H::progress(&self.machine));
            let effects = self.call(Call::Step(wake))? + self.flush()?;
            let idle = effects == 0 && H::progress(&self.machine) <= before;
            if idle && self.machine.deadline() == Some(due) {
                return broken(Law::DueWake, format!("due at {due}, woken at {}, and as before", self.now.mono));
            }
        }
        broken(Law::DueWake, format!("still due at {} after {WAKES_PER_INSTANT_MAX} wake-ups", self.now.mono))
    }
}

/// A life of `turns` turns: some events at once, time that stands still, creeps, or jumps to the deadline and past it.
fn live<H: Habitat>(habitat: H, seed: u64, turns: usize) -> Result<Record<H>, Broken> {
    let root = Seed::new([7; 32]).split("machine laws", seed);
    let (mut rng, mut events) = (root.split("turns", 0).rng(), root.split("events", 0).rng());
    let machine = habitat.machine();
    let mut subject = Subject { habitat, machine, now: Now::default(), record: Vec::new() };
    for _ in 0..turns {
        let mono = match (rng.below(4), subject.machine.deadline()) {
            (0, _) => subject.now.mono,
            (1, Some(deadline)) => deadline.max(subject.now.mono),
            (2, Some(deadline)) => deadline.max(subject.now.mono) + Duration::from_nanos(rng.below(1 << 34)),
            (_, _) => subject.now.mono + Duration::from_nanos(rng.below(1 << 26)),
        };
        subject.now = Now { mono, wall: WallTime::from_nanos(rng.below(1 << 62)) };
        subject.settle()?;
        for _ in 0..rng.below(TURN_EVENTS_MAX) {
            let Some(event) = subject.habitat.event(&mut events) else { break };
            subject.call(Call::Step(event))?;
        }
        subject.flush()?;
        subject.settle()?;
    }
    Ok(subject.record)
}

/// The same calls to another machine.
fn replay<H: Habitat>(habitat: &H, record: &Record<H>) -> Result<(), Broken> {
    let mut machine = habitat.machine();
    for (index, turned) in record.iter().enumerate() {
        let effects = repeat::<H>(&mut machine, turned);
        if effects != turned.effects {
            return broken(Law::Replay, format!("call {index}: {:?} became {effects:?}", turned.effects));
        }
    }
    Ok(())
}

/// The same calls to another machine that is also woken between the turns, before its deadline.
fn wake_early<H: Habitat>(habitat: &H, record: &Record<H>) -> Result<(), Broken> {
    let mut machine = habitat.machine();
    for (index, turned) in record.iter().enumerate() {
        let effects = repeat::<H>(&mut machine, turned);
        if effects != turned.effects {
            return broken(Law::EarlyWake, format!("call {index}, later: {:?} became {effects:?}", turned.effects));
        }
        let next = record.get(index + 1).map(|next| next.now);
        let ends_turn = matches!(turned.call, Call::Flush) && next.is_none_or(|next| next != turned.now);
        if ends_turn {
            wake_between::<H>(habitat, &mut machine, turned.now, next)?;
        }
    }
    Ok(())
}

/// Wakes `machine` at the end of a turn and half-way to the next one, where that is before its deadline.
fn wake_between<H: Habitat>(habitat: &H, machine: &mut H::Machine, now: Now, next: Option<Now>) -> Result<(), Broken> {
    let half = next.map_or(now.mono, |next| now.mono + next.mono.since(now.mono) / 2);
    let deadline = machine.deadline();
    for mono in [now.mono, half] {
        if deadline.is_some_and(|deadline| deadline <= mono) {
            return Ok(());
        }
        let (at, mut effects) = (Now { mono, wall: now.wall }, Vec::new());
        machine.step(at, habitat.wake(), &mut effects);
        machine.flush(at, &mut effects);
        machine.check();
        if !effects.is_empty() {
            return broken(Law::EarlyWake, format!("at {mono}, before {}: {effects:?}", Due(deadline)));
        }
        if machine.deadline() != deadline {
            return broken(Law::EarlyWake, format!("at {mono}, {} became {}", Due(deadline), Due(machine.deadline())));
        }
    }
    Ok(())
}

fn repeat<H: Habitat>(machine: &mut H::Machine, turned: &Turned<Event<H>, Effect<H>>) -> Vec<Effect<H>> {
    let mut effects = Vec::new();
    match &turned.call {
        Call::Step(event) => machine.step(turned.now, event.clone(), &mut effects),
        Call::Flush => machine.flush(turned.now, &mut effects),
    }
    effects
}

/// A deadline, or none, for people.
struct Due(Option<Instant>);

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, "the deadline {at}"),
            None => f.write_str("no deadline"),
        }
    }
}
