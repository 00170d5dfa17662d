//! The one shape that every protocol in dps has: a state machine that takes events and emits effects.

use alloc::vec::Vec;

use crate::time::{Instant, Now};

/// A deterministic state machine.
///
/// The same initial state and the same calls give the same effects in the same order, on every machine and in every
/// build. A machine has no clock, thread, file, socket or randomness of its own: time comes in with [`Now`], randomness
/// with a seed at its creation, and the outside world answers its effects with events.
///
/// The driver (simulator and shell alike) works in *turns*: it steps every event that is ready, flushes once, performs
/// the effects in order, and comes back no later than it can after [`Machine::deadline`]. After `flush` nothing is
/// pending inside except what `deadline()` or an outstanding completion will bring back, so there is no queue to drain
/// and no wake-up to lose.
pub trait Machine {
    /// What happened, in the past tense (`Received`, `DiskDone`).
    type Event;
    /// What to do, in the imperative (`Send`, `Persist`).
    type Effect;

    /// Fires whatever is due at `now`, then consumes `event`, appending effects to `out`.
    ///
    /// Total: input from outside that makes no sense is noted and dropped. Panics only on a bug in this machine or in
    /// its driver (a time that runs backwards, a completion that was never asked for).
    fn step(&mut self, now: Now, event: Self::Event, out: &mut Vec<Self::Effect>);

    /// Ends a turn: releases what was held back to be batched (appends, syncs). Called once after every ready event of
    /// the turn was stepped. A second call in a row emits nothing.
    fn flush(&mut self, now: Now, out: &mut Vec<Self::Effect>);

    /// The next instant at which the machine must run, or `None` while only an event can bring it further.
    ///
    /// It may equal the present only when a batch was cut short by a bound, and then each call shrinks what is due.
    fn deadline(&self) -> Option<Instant>;

    /// Asserts the machine's invariants. Called after every turn in tests and on samples in swarms.
    ///
    /// # Panics
    /// When an invariant does not hold, which is a bug.
    fn check(&self);
}
