//! One garbage collection that a person asked for, from the tombstones that are due to the space that is given back
//! (protocols L4, C4, C5 and J8, with one voter).
//!
//! Reap what is old enough; start a sweep, and with it an epoch; walk what the ledger refers to into a filter; wait until
//! puts and verifications of an earlier epoch are over, so that nothing is taken from under them, but no longer than
//! `sweep_wait`; complete the sweep; let the store drop what the filter does not have, and compact what is mostly dead.
//!
//! Safety rests on none of the waiting: a put with an old lease is refused by the ledger. It may end at any point: nothing
//! is dropped before the sweep is complete, and what was dropped is garbage whether or not its space came back.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::sweep::{SweepError, SweepResult};
use crate::keystore::filter::Filter;
use crate::keystore::{Collected, Compacted, StoreError};
use crate::ledger::command::{Command, Outcome};
use crate::limits::REAP_SLICE_MAX;
use crate::machine::Machine;
use crate::node::request::{GcSummary, Reply, RequestError};
use crate::time::{Instant, Now};

/// What a collection hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline passed, or the collection is stepped for the first time.
    Wake,
    /// The ledger has decided on what was proposed.
    Decided(Result<Outcome, RequestError>),
    /// The walk has ended.
    Swept(SweepResult),
    /// Everything that began before the sweep is over.
    OlderEnded,
    /// The store has dropped what the filter does not have.
    Collected(Result<Collected, StoreError>),
    /// The store has compacted what is mostly dead.
    Compacted(Result<Compacted, StoreError>),
    /// The client does not want it any more.
    Cancel,
}

/// What a collection wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Propose this to the ledger, and say what came of it.
    Propose(Command),
    /// Walk the ledger as it is now, for the sweep of this epoch.
    Sweep {
        /// The epoch.
        epoch: u64,
    },
    /// Stop the walk.
    CancelSweep,
    /// Say when every put and verification that began before this epoch is over.
    AwaitOlder {
        /// The epoch.
        epoch: u64,
    },
    /// The wait is over: end verifications of before this epoch, since what they read may go.
    EndOlder {
        /// The epoch.
        epoch: u64,
    },
    /// Drop what the filter does not have.
    Collect(Arc<Filter>),
    /// Give the space of what is mostly dead back.
    Compact,
    /// Answer the client.
    Reply {
        /// The answer.
        reply: Result<Reply, RequestError>,
        /// Whether it is the last one.
        last: bool,
    },
}

#[derive(Debug)]
enum Stage {
    Opening,
    Reaping,
    Starting,
    Sweeping { epoch: u64 },
    Waiting { filter: Arc<Filter>, until: Instant },
    Completing { filter: Arc<Filter> },
    Collecting,
    Compacting,
    Over,
}

/// One collection.
#[derive(Debug)]
pub struct Gc {
    stage: Stage,
    opened: Instant,
    retain: Duration,
    sweep_wait: Duration,
    cancelled: bool,
    summary: GcSummary,
}

impl Gc {
    /// A collection that reaps tombstones older than `retain` and waits no longer than `sweep_wait`. To be stepped at once
    /// with [`Event::Wake`].
    #[must_use]
    pub fn new(retain: Duration, sweep_wait: Duration, now: Now) -> Self {
        let stage = Stage::Opening;
        Self { stage, opened: now.mono, retain, sweep_wait, cancelled: false, summary: GcSummary::default() }
    }

    fn reap(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.stage = Stage::Reaping;
        let before = now.wall.saturating_sub(self.retain);
        out.push(Effect::Propose(Command::Reap { time: now.wall, before, limit: REAP_SLICE_MAX }));
    }

    fn decided(&mut self, now: Now, outcome: Outcome, out: &mut Vec<Effect>) {
        match (core::mem::replace(&mut self.stage, Stage::Over), outcome) {
            (Stage::Reaping, Outcome::Reaped { count, more }) => {
                self.summary.tombstones += u64::from(count);
                if more {
                    return self.reap(now, out);
                }
                self.stage = Stage::Starting;
                out.push(Effect::Propose(Command::SweepStart { time: now.wall }));
            }
            (Stage::Starting, Outcome::SweepStarted { epoch }) => {
                self.stage = Stage::Sweeping { epoch };
                out.push(Effect::Sweep { epoch });
            }
            (Stage::Completing { filter }, Outcome::SweepCompleted) => {
                self.stage = Stage::Collecting;
                out.push(Effect::Collect(filter));
            }
            // Another collection has begun since: its filter knows better.
            (Stage::Completing { .. }, Outcome::Superseded) => self.end(Err(RequestError::GcSuperseded), out),
            (stage, outcome) => panic!("{outcome:?} is no answer to {stage:?}"),
        }
    }

    fn swept(&mut self, now: Now, result: SweepResult, out: &mut Vec<Effect>) {
        let Stage::Sweeping { epoch } = self.stage else { panic!("only a walk that was asked for ends") };
        match result {
            Ok(filter) => {
                assert_eq!(filter.epoch(), epoch, "the walk was for this sweep");
                self.stage = Stage::Waiting { filter: Arc::new(filter), until: now.mono + self.sweep_wait };
                out.push(Effect::AwaitOlder { epoch });
            }
            Err(SweepError::Cancelled) => self.end(Ok(Reply::Cancelled), out),
            Err(SweepError::BadManifest { file, chunk, fault }) => {
                let error = RequestError::SweepStopped {
                    file: Box::new(file),
                    chunk: chunk.map(Box::new),
                    fault: Box::new(fault),
                };
                self.end(Err(error), out);
            }
        }
    }

    /// Nothing older is left, or it has had its time.
    fn complete(&mut self, now: Now, out: &mut Vec<Effect>) {
        match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Waiting { filter, .. } => {
                let (epoch, filter_hash) = (filter.epoch(), filter.hash());
                self.stage = Stage::Completing { filter };
                let command = Command::SweepComplete { time: now.wall, epoch, filter_hash, by_person: true };
                out.push(Effect::Propose(command));
            }
            stage => self.stage = stage,
        }
    }

    fn cancel(&mut self, out: &mut Vec<Effect>) {
        self.cancelled = true;
        match &self.stage {
            Stage::Sweeping { .. } => out.push(Effect::CancelSweep),
            Stage::Opening | Stage::Waiting { .. } => self.end(Ok(Reply::Cancelled), out),
            // The store goes on by itself: what it drops is garbage.
            Stage::Collecting | Stage::Compacting => self.end(Ok(Reply::Cancelled), out),
            // The ledger's decision is on its way.
            Stage::Reaping | Stage::Starting | Stage::Completing { .. } | Stage::Over => {}
        }
    }

    fn end(&mut self, reply: Result<Reply, RequestError>, out: &mut Vec<Effect>) {
        self.stage = Stage::Over;
        out.push(Effect::Reply { reply, last: true });
    }

    /// What comes when the deadline passes.
    fn fire(&mut self, now: Now, out: &mut Vec<Effect>) {
        match &self.stage {
            Stage::Opening => self.reap(now, out),
            Stage::Waiting { filter, until } if *until <= now.mono => {
                out.push(Effect::EndOlder { epoch: filter.epoch() });
                self.complete(now, out);
            }
            Stage::Waiting { .. }
            | Stage::Reaping
            | Stage::Starting
            | Stage::Sweeping { .. }
            | Stage::Completing { .. }
            | Stage::Collecting
            | Stage::Compacting
            | Stage::Over => {}
        }
    }
}

impl Machine for Gc {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        if !matches!(event, Event::Cancel) {
            self.fire(now, out);
        }
        match event {
            Event::Wake => {}
            Event::Decided(_) if self.cancelled => self.end(Ok(Reply::Cancelled), out),
            Event::Decided(Ok(outcome)) => self.decided(now, outcome, out),
            Event::Decided(Err(error)) => self.end(Err(error), out),
            Event::Swept(result) => self.swept(now, result, out),
            Event::OlderEnded => self.complete(now, out),
            Event::Collected(result) => match (result, &self.stage) {
                (Ok(collected), Stage::Collecting) => {
                    self.summary.collected = collected;
                    self.stage = Stage::Compacting;
                    out.push(Effect::Compact);
                }
                (Err(error), Stage::Collecting) => self.end(Err(error.into()), out),
                // It was cancelled.
                (_, _) => {}
            },
            Event::Compacted(result) => match (result, &self.stage) {
                (Ok(compacted), Stage::Compacting) => {
                    self.summary.compacted = compacted;
                    self.end(Ok(Reply::Collected(self.summary)), out);
                }
                (Err(error), Stage::Compacting) => self.end(Err(error.into()), out),
                (_, _) => {}
            },
            Event::Cancel => self.cancel(out),
        }
    }

    fn flush(&mut self, _now: Now, _out: &mut Vec<Effect>) {}

    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Opening => Some(self.opened),
            Stage::Waiting { until, .. } => Some(*until),
            Stage::Reaping
            | Stage::Starting
            | Stage::Sweeping { .. }
            | Stage::Completing { .. }
            | Stage::Collecting
            | Stage::Compacting
            | Stage::Over => None,
        }
    }

    fn check(&self) {
        if let Stage::Over = self.stage {
            return;
        }
        assert!(self.summary.compacted == Compacted::default(), "the end comes with what was compacted");
    }
}

#[cfg(test)]
mod tests;
