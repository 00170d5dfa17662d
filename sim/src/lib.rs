//! The simulator of dps: virtual nodes in virtual time on disks that tear, lose and rot, all drawn from one seed.
//!
//! [`run`] is one run. The same seed gives the same [`RunResult::trace_hash`] on any machine and in any build. The
//! command `sim` is in [`cli`].

pub mod bench;
mod check;
pub mod cli;
mod closing;
mod content;
pub mod disk;
mod draws;
pub mod exercise;
mod filling;
pub mod group;
mod host;
mod inject;
pub mod linear;
mod model;
pub mod mutants;
pub mod net;
mod panics;
pub mod plan;
pub mod queue;
mod report;
mod scenario;
mod setup;
mod subject;
pub mod swarm;
#[cfg(test)]
mod tests;
mod trace;
mod workload;
mod world;

use std::time::Instant as RealTime;

use dps_core::node::Node;
use dps_core::rng::Seed;

pub use check::{Class, Violation};
use exercise::Exercise;
use plan::Plan;
use queue::QueueKind;
pub use setup::Setup;
pub use subject::Subject;
use world::World;

/// What is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Clients of one store.
    Keystore,
    /// The same, with collections and purges among them, so that space comes back while they work.
    #[default]
    Reclaim,
    /// A group of members that agree on a ledger, and clients of it.
    Raft,
}

impl Scenario {
    /// Its name, as the command takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keystore => "keystore",
            Self::Reclaim => "reclaim",
            Self::Raft => "raft",
        }
    }
}

/// How to run a seed.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// What is run; the richest there is by default.
    pub scenario: Scenario,
    /// The fault plan, instead of the drawn one.
    pub plan: Option<Plan>,
    /// Run a second time with the other event queue and compare (checker W4).
    pub twin: bool,
    /// Which event queue the (first) run uses.
    pub queue: QueueKind,
    /// How many of the last lines of the trace to keep.
    pub trace_lines: usize,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// What was run.
    pub scenario: Scenario,
    /// The seed.
    pub seed: u64,
    /// What did not hold, in the order it was found. Empty when the run passed.
    pub violations: Vec<Violation>,
    /// Hash over every delivered event, every effect, and the disks at crashes and at the end.
    pub trace_hash: u64,
    /// Nodes of the world.
    pub nodes: u32,
    /// Events that were delivered to nodes.
    pub events: u64,
    /// Simulated nanoseconds.
    pub sim_ns: u64,
    /// Real nanoseconds that the run took.
    pub wall_ns: u64,
    /// What the run exercised.
    pub exercise: Exercise,
    /// The last lines of the trace, as many as were asked for.
    pub trace: Vec<String>,
}

impl RunResult {
    /// The worst class of what did not hold: a panic before wrong results before no results.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        let first = self.violations.first()?.class;
        let crashed = self.violations.iter().any(|violation| violation.class == Class::Crash);
        Some(if crashed { Class::Crash } else { first })
    }
}

/// Runs a scenario from a seed with the real node. A panic of the node is a violation, not a panic.
#[must_use]
pub fn run(seed: u64, options: &RunOptions) -> RunResult {
    match options.scenario {
        Scenario::Keystore | Scenario::Reclaim => {
            run_with(seed, options, |setup: &Setup, seed: Seed| Node::new(setup.config(), seed))
        }
        Scenario::Raft => group::run(seed, options),
    }
}

/// Runs a scenario with any machine that takes a node's events: a fake, or a node with a fault built in.
/// The factory is called at every start with a fresh seed.
pub fn run_with<M>(seed: u64, options: &RunOptions, factory: impl Fn(&Setup, Seed) -> M + Clone + 'static) -> RunResult
where
    M: Subject + 'static,
{
    let mut first = run_once(seed, options, options.queue, factory.clone());
    if options.twin && first.violations.is_empty() {
        let twin = run_once(seed, options, options.queue.twin(), factory);
        first.violations.extend(twin.violations);
        first.violations.extend(check::twin::check(first.trace_hash, twin.trace_hash, first.sim_ns));
    }
    first
}

fn run_once<M>(
    seed: u64,
    options: &RunOptions,
    queue: QueueKind,
    factory: impl Fn(&Setup, Seed) -> M + 'static,
) -> RunResult
where
    M: Subject + 'static,
{
    let started = RealTime::now();
    let mut setup = Setup::draw_for(seed, options.scenario);
    if let Some(plan) = &options.plan {
        setup.plan = plan.clone();
    }
    let root = setup::root(seed);
    let mut world = World::new(setup, root.split("world", 0), queue, options.trace_lines, Box::new(factory));
    let outcome = panics::catch(|| scenario::run(&mut world, root));
    let mut findings = std::mem::take(&mut world.findings);
    match outcome {
        Ok(found) => findings.append(found),
        Err(message) => {
            findings.add(Violation { checker: "P0", class: Class::Crash, at_ns: world.at, message });
        }
    }
    RunResult {
        scenario: options.scenario,
        seed,
        violations: findings.into_violations(),
        trace_hash: world.trace.hash().value(),
        nodes: u32::try_from(world.hosts.len()).expect("few hosts"),
        events: world.trace.events(),
        sim_ns: world.at,
        wall_ns: u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX),
        exercise: world.exercise,
        trace: world.trace.into_lines(),
    }
}
