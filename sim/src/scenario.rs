//! The scenario `keystore`: clients of one store through faults, then without them, then a look at everything.
//!
//! Phases: safety (faults strike), heal (faults stop, a node that can't go on is restarted), liveness (everything is
//! answered, ten puts and ten gets succeed), durability scan (everything acknowledged is there and nothing else).

use std::collections::BTreeSet;

use dps_core::machine::Machine;
use dps_core::node::{Effect, Event, VerifyScope};
use dps_core::rng::Seed;

use crate::check::{Findings, live};
use crate::disk::Survive;
use crate::workload::desk::Outcome;
use crate::workload::operation::Operation;
use crate::workload::{Mode, Workload};
use crate::world::World;

/// Events after which a run is taken for one that does not end.
const EVENTS_MAX: u64 = 5_000_000;

/// The only host.
const HOST: u32 = 0;

/// Runs all phases. Returns what the checkers of the clients found.
pub(crate) fn run<M: Machine<Event = Event, Effect = Effect>>(world: &mut World<M>, seed: Seed) -> Findings {
    let mut workload = Workload::new(&world.setup, seed.split("workload", 0));
    let horizon = world.setup.horizon_ns;
    while world.next_at().is_some_and(|at| at <= horizon) && is_sound(world, &workload) {
        world.advance(&mut workload);
    }
    let mut rng = seed.split("phases", 0).rng();
    if is_sound(world, &workload) {
        heal(world, &mut workload);
    }
    if is_sound(world, &workload) {
        prove_liveness(world, &mut workload);
    }
    if is_sound(world, &workload) && rng.chance(2, 3) {
        let survive = [Survive::All, Survive::None, Survive::Random, Survive::Prefix];
        let choice = usize::try_from(rng.below(4)).expect("below four");
        world.restart(HOST, Some(survive[choice]), &mut workload);
        settle(world, &mut workload, "the store does not serve after its last restart");
    }
    if is_sound(world, &workload) {
        scan(world, &mut workload);
    }
    world.exercise.acknowledged = workload.acknowledged;
    world.exercise.acknowledged_writes = workload.acknowledged_writes;
    let digest = u64::from(world.hosts[HOST as usize].disk.digest());
    world.trace.world(world.at, HOST, &"end", digest);
    if is_sound(world, &workload) {
        world.check_conservation();
    }
    workload.oracle.findings
}

/// Whether nothing is wrong so far: after a violation the rest of a run tells nothing.
fn is_sound<M: Machine<Event = Event, Effect = Effect>>(world: &mut World<M>, workload: &Workload) -> bool {
    if world.trace.events() > EVENTS_MAX && world.findings.is_empty() {
        world.findings.liveness("L1", world.at, format!("the run does not end within {EVENTS_MAX} events"));
    }
    world.findings.is_empty() && workload.oracle.findings.is_empty()
}

/// Lets the world go on until something holds. False, and a violation, when it does not within the bound.
fn until<M: Machine<Event = Event, Effect = Effect>>(
    world: &mut World<M>,
    workload: &mut Workload,
    what: &str,
    holds: impl Fn(&Workload) -> bool,
) -> bool {
    let end = world.at + live::BOUND_NS;
    while !holds(workload) {
        if !is_sound(world, workload) {
            return false;
        }
        if world.next_at().is_none_or(|at| at > end) {
            let open = workload.describe_open();
            live::stuck(open.as_deref().unwrap_or(what), world.at, &mut world.findings);
            return false;
        }
        world.advance(workload);
    }
    is_sound(world, workload)
}

fn settle<M: Machine<Event = Event, Effect = Effect>>(
    world: &mut World<M>,
    workload: &mut Workload,
    what: &str,
) -> bool {
    until(world, workload, what, |workload| workload.serving && !workload.is_busy())
}

/// Faults stop. A node that stopped writing, or stopped altogether, is restarted, as its operator would.
fn heal<M: Machine<Event = Event, Effect = Effect>>(world: &mut World<M>, workload: &mut Workload) {
    world.armed = false;
    workload.mode = Mode::Script;
    let host = world.host(HOST);
    host.disk.heal();
    host.lurking = None;
    host.paused_until = 0;
    // A node that met a write error writes nothing until its next start.
    if workload.writes_stopped || workload.halted || host.disk.is_refusing(false) {
        workload.halted = false;
        world.restart(HOST, None, workload);
    }
    settle(world, workload, "the store does not serve again");
}

/// Works off a script with the first client.
fn play<M: Machine<Event = Event, Effect = Effect>>(
    world: &mut World<M>,
    workload: &mut Workload,
    script: Vec<Operation>,
) -> bool {
    workload.scripted.clear();
    workload.script = script.into();
    let mut acts = Vec::new();
    workload.wake_all(&mut acts);
    world.perform(acts);
    until(world, workload, "the script does not end", |workload| workload.script.is_empty() && !workload.is_busy())
}

/// Ten puts and ten gets succeed, unless the ledger was damaged beyond what may be trusted.
fn prove_liveness<M: Machine<Event = Event, Effect = Effect>>(world: &mut World<M>, workload: &mut Workload) {
    if workload.journal_damaged {
        return;
    }
    world.exercise.judged_live = true;
    let names = workload.first_names().to_vec();
    let mut script = Vec::new();
    for turn in 0..10 {
        let name = names[turn % names.len()].clone();
        script.push(Operation::store(name.clone(), workload.fresh_content()));
        script.push(Operation::load(name));
    }
    if play(world, workload, script) {
        demand_success(world, workload);
    }
}

fn demand_success<M: Machine<Event = Event, Effect = Effect>>(world: &mut World<M>, workload: &Workload) {
    for scripted in &workload.scripted {
        if scripted.outcome != Outcome::Done {
            let (what, error) =
                (format!("{:.200}", format!("{:?}", scripted.operation)), format!("{:?}", scripted.outcome));
            live::failed(&what, &error, world.at, &mut world.findings);
        }
    }
}

/// Every name is read and judged, everything is listed and verified, and what is damaged heals when it is put again.
fn scan<M: Machine<Event = Event, Effect = Effect>>(world: &mut World<M>, workload: &mut Workload) {
    workload.oracle.bad.clear();
    let names: Vec<_> = workload.oracle.model.names().cloned().collect();
    let script = names.iter().cloned().map(Operation::load).collect();
    if !play(world, workload, script) {
        return;
    }
    let damaged: Vec<_> = workload
        .scripted
        .iter()
        .filter(|scripted| scripted.outcome == Outcome::BadChunk)
        .map(|scripted| scripted.operation.clone())
        .collect();
    let bad: BTreeSet<_> = workload.oracle.bad.iter().map(|(_, chunk)| *chunk).collect();
    if !list_all(world, workload) {
        return;
    }
    let verify = Operation::Verify { scope: VerifyScope::All, grant: 100, cancel: false };
    if !play(world, workload, vec![verify]) {
        return;
    }
    let verified = workload.scripted.iter().all(|scripted| scripted.outcome == Outcome::Done);
    if let Some(missed) = bad.iter().find(|chunk| !workload.oracle.verified_bad.contains(chunk))
        && verified
    {
        let text = format!("chunk {missed} is bad for a get, but the verification of everything did not report it");
        world.findings.correctness("D1", world.at, text);
    }
    if !workload.journal_damaged && !workload.writes_stopped && is_sound(world, workload) {
        heal_files(world, workload, damaged);
    }
}

fn list_all<M: Machine<Event = Event, Effect = Effect>>(world: &mut World<M>, workload: &mut Workload) -> bool {
    let mut after = None;
    loop {
        workload.oracle.list_after = None;
        let page = Operation::List { prefix: String::new(), after, limit: 7 };
        if !play(world, workload, vec![page]) {
            return false;
        }
        match workload.oracle.list_after.take() {
            Some(next) => after = Some(next),
            None => return true,
        }
    }
}

/// Puts every damaged file again, and demands that it can be read then.
fn heal_files<M: Machine<Event = Event, Effect = Effect>>(
    world: &mut World<M>,
    workload: &mut Workload,
    damaged: Vec<Operation>,
) {
    let mut script = Vec::new();
    for load in damaged {
        let Operation::Get(plan) = &load else { continue };
        let dps_core::ledger::file::Target::Name(name) = &plan.target else { continue };
        let now = workload.oracle.model.mark();
        let file = workload.oracle.model.possible(name, now).into_iter().flatten().next();
        let Some(content) = file.and_then(|file| workload.oracle.library.find(file)).cloned() else { continue };
        script.push(Operation::store(name.clone(), content));
        script.push(load.clone());
    }
    if play(world, workload, script) {
        demand_success(world, workload);
    }
}
