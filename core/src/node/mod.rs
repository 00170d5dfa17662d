//! One node: composition only. It owns the machines, routes their effects, and recovers at boot. A protocol decision
//! in this folder is a bug.

pub mod event;
pub mod request;

use alloc::vec::Vec;

pub use event::{Effect, Event, HaltReason};
pub use request::{ByteRange, Finding, Reply, Request, RequestError, StoredFile, VerifyScope, VerifySummary};

use crate::config::Config;
use crate::machine::Machine;
use crate::rng::Seed;
use crate::time::{Instant, Now};

/// How far a node has come. See [`Node::inspect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading its disk; every request is refused with [`RequestError::Starting`].
    Booting,
    /// Answering requests.
    Serving,
    /// Stopped by [`Effect::Halt`].
    Halted,
}

/// A read-only view of a node, for checkers, the status display and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspect {
    /// How far the node has come.
    pub phase: Phase,
    /// The boot counter, 0 until it is known.
    pub boot: u64,
    /// Whether writes are refused until the next start, because the disk failed or damage was found.
    pub read_only: bool,
    /// Names in the ledger.
    pub names: u64,
    /// Chunks that can be read.
    pub chunks: u64,
    /// Conversations that are open.
    pub requests: usize,
    /// Disk requests without a result yet.
    pub disk_requests: usize,
}

/// A node of dps.
pub struct Node {
    config: Config,
    seed: Seed,
}

impl Node {
    /// A node that has not read its disk yet. Its first deadline is at once: the driver steps it with [`Event::Wake`].
    #[must_use]
    pub fn new(config: Config, seed: Seed) -> Self {
        Self { config, seed }
    }

    /// What checkers, status and metrics may know.
    #[must_use]
    pub fn inspect(&self) -> Inspect {
        let _ = (&self.config, &self.seed);
        Inspect { phase: Phase::Booting, boot: 0, read_only: false, names: 0, chunks: 0, requests: 0, disk_requests: 0 }
    }
}

impl Machine for Node {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, _now: Now, _event: Event, _out: &mut Vec<Effect>) {}

    fn flush(&mut self, _now: Now, _out: &mut Vec<Effect>) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn check(&self) {}
}
