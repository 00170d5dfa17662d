//! One node: composition only. It owns the machines, routes their effects, and recovers at boot. A protocol decision
//! in this folder is a bug.

mod boot;
mod changes;
pub mod event;
pub mod inspect;
pub mod request;
mod route;
mod serve;
mod space;

use alloc::boxed::Box;
use alloc::vec::Vec;

pub use event::{Effect, Event, HaltReason};
pub use inspect::{Holdings, Inspect, Phase};
pub use request::{
    ByteRange, Finding, GcSummary, Reply, Request, RequestError, StoredFile, Usage, VerifyScope, VerifySummary,
};

use boot::{Progress, Starting};
use serve::Serving;

use crate::config::Config;
use crate::machine::Machine;
use crate::rng::Seed;
use crate::time::{Instant, Now};

#[derive(Debug)]
enum Stage {
    Starting(Box<Starting>),
    Serving(Box<Serving>),
    Halted,
}

/// A node of dps.
#[derive(Debug)]
pub struct Node {
    config: Config,
    stage: Stage,
    /// When the node was last stepped; time never runs backwards.
    latest: Instant,
}

impl Node {
    /// A node that has not read its disk yet. Its first deadline is at once: the driver steps it with [`Event::Wake`].
    /// All randomness of this start comes from `seed`.
    #[must_use]
    pub fn new(config: Config, seed: Seed) -> Self {
        let stage = Stage::Starting(Box::new(Starting::new(config, &seed)));
        Self { config, stage, latest: Instant::ZERO }
    }

    fn start(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        let Stage::Starting(starting) = &mut self.stage else { panic!("only a start is started") };
        match event {
            Event::Wake => {}
            Event::DiskDone { op, result } => starting.done(op, result),
            Event::Requested { id, .. } => return serve::fail(id, RequestError::Starting, out),
        }
        if starting.outstanding() > 0 {
            return;
        }
        match starting.advance(now, out) {
            Progress::Waiting => {}
            Progress::Started(started) => self.stage = Stage::Serving(Box::new(Serving::new(self.config, *started))),
            Progress::Halted(reason) => self.halt(reason, out),
        }
    }

    fn halt(&mut self, reason: HaltReason, out: &mut Vec<Effect>) {
        self.stage = Stage::Halted;
        out.push(Effect::Halt(reason));
    }
}

impl Machine for Node {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        assert!(now.mono >= self.latest, "time never runs backwards");
        self.latest = now.mono;
        match &mut self.stage {
            Stage::Starting(_) => self.start(now, event, out),
            Stage::Serving(serving) => {
                serving.fire(now);
                match event {
                    Event::Wake => {}
                    Event::DiskDone { op, result } => serving.disk_done(op, result),
                    Event::Requested { id, request } => serving.request(now, id, request, out),
                }
                serving.run(now, out);
                if let Some(reason) = serving.halted {
                    self.halt(reason, out);
                }
            }
            Stage::Halted => panic!("nothing is called after Halt"),
        }
    }

    fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        match &mut self.stage {
            Stage::Serving(serving) => {
                serving.flush(now, out);
                if let Some(reason) = serving.halted {
                    self.halt(reason, out);
                }
            }
            Stage::Starting(_) | Stage::Halted => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Starting(starting) => starting.is_due().then_some(self.latest),
            Stage::Serving(serving) => serving.deadline(),
            Stage::Halted => None,
        }
    }

    fn check(&self) {
        match &self.stage {
            Stage::Serving(serving) => serving.check(),
            Stage::Starting(_) | Stage::Halted => {}
        }
    }
}

#[cfg(test)]
mod tests;
