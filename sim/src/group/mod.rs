//! The scenario `raft`: a group of members on disks of their own, over a network that loses, repeats and delays, with
//! clients that repeat what they got no answer to.

mod ask;
mod blow;
mod check;
mod client;
mod draw;
mod excuse;
mod exercise;
mod host;
mod image;
mod inject;
mod member;
mod phases;
mod restored;
mod setup;
mod style;
#[cfg(test)]
mod tests;
mod traced;
mod trial;
mod wire;
mod world;

use std::time::Instant as RealTime;

use dps_core::replica::Peer;
use dps_core::rng::Seed;

pub(crate) use check::CHECKERS;
pub use exercise::Rows;
pub(crate) use exercise::{FLOORS, cell, cells};
pub use member::{Look, Member};
pub use setup::GroupSetup;
use world::World;

use crate::check::{Class, Violation};
use crate::exercise::Exercise;
use crate::plan::PlanClass;
use crate::queue::QueueKind;
use crate::{RunOptions, RunResult, Scenario, check as checks, panics, setup::root};

/// Runs a group from a seed.
#[must_use]
pub fn run(seed: u64, options: &RunOptions) -> RunResult {
    run_with(seed, options, |setup, host, seed| Peer::new(setup.config(), setup.founding(host), seed))
}

/// Runs a group from a seed, with members that the factory makes: it is called at every start of a host with a fresh
/// seed.
pub fn run_with<M>(
    seed: u64,
    options: &RunOptions,
    factory: impl Fn(&GroupSetup, u32, Seed) -> M + Clone + 'static,
) -> RunResult
where
    M: Member + 'static,
{
    let mut first = run_once(seed, options, options.queue, factory.clone());
    if options.twin && first.violations.is_empty() {
        let twin = run_once(seed, options, options.queue.twin(), factory);
        first.violations.extend(twin.violations);
        first.violations.extend(checks::twin::check(first.trace_hash, twin.trace_hash, first.sim_ns));
    }
    first
}

fn run_once<M>(
    seed: u64,
    options: &RunOptions,
    queue: QueueKind,
    factory: impl Fn(&GroupSetup, u32, Seed) -> M + 'static,
) -> RunResult
where
    M: Member + 'static,
{
    let started = RealTime::now();
    let mut setup = GroupSetup::draw(seed);
    if let Some(plan) = &options.plan {
        setup.plan = plan.clone();
    }
    let root = root(seed).split("group", 1);
    let mut world = World::new(setup, root.split("world", 0), queue, options.trace_lines, Box::new(factory));
    let mut rng = root.split("phases", 0).rng();
    let damage = world.setup.class == PlanClass::Damage;
    let outcome = panics::catch(|| phases::run(&mut world, &mut rng));
    if let Err(message) = outcome {
        let at_ns = world.at;
        world.findings.add(Violation { checker: "P0", class: Class::Crash, at_ns, message });
    }
    if damage {
        world.excuse();
    }
    let exercise = Exercise {
        under_write: world.rows.under_write(),
        acknowledged: world.desk.acknowledged,
        acknowledged_writes: world.desk.acknowledged_writes,
        boots: world.boots,
        judged_live: world.rows.count("runs judged live") > 0,
        group: world.rows,
        ..Exercise::default()
    };
    RunResult {
        scenario: Scenario::Raft,
        seed,
        violations: world.findings.into_violations(),
        trace_hash: world.trace.hash().value(),
        nodes: u32::try_from(world.hosts.len()).expect("few hosts"),
        events: world.trace.events(),
        sim_ns: world.at,
        wall_ns: u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX),
        exercise,
        trace: world.trace.into_lines(),
    }
}
