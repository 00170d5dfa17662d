//! Clients of one store through faults, then without them, then a look at everything.
//!
//! Phases: safety (faults strike), heal (faults stop, a node that can't go on is restarted), liveness (everything is
//! answered, ten puts and ten gets succeed), durability scan (everything acknowledged is there and nothing else; what was
//! damaged is stored again, and stays whole over further starts), and what [`closing`] demands of collections.

use std::collections::BTreeSet;

use dps_core::ledger::file::Target;
use dps_core::ledger::name::Name;
use dps_core::node::VerifyScope;
use dps_core::rng::{Rng, Seed};

use crate::Scenario;
use crate::check::{Findings, live};
use crate::disk::Survive;
use crate::draws::pick;
use crate::subject::Subject;
use crate::workload::desk::Outcome;
use crate::workload::operation::Operation;
use crate::workload::{Mode, Workload};
use crate::world::World;
use crate::{closing, filling};

/// Events after which a run is taken for one that does not end.
const EVENTS_MAX: u64 = 5_000_000;

/// The only host.
const HOST: u32 = 0;

/// Runs all phases. Returns what the checkers of the clients found.
pub(crate) fn run<M: Subject>(world: &mut World<M>, seed: Seed) -> Findings {
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
        lose_power(world, &mut workload, &mut rng);
    }
    if is_sound(world, &workload) {
        scan(world, &mut workload, &mut rng);
    }
    if is_sound(world, &workload) {
        closing::run(world, &mut workload, HOST, &mut rng);
    }
    if is_sound(world, &workload) {
        filling::run(world, &mut workload, HOST, seed);
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

/// The power goes and comes back. False when that shows damage of the journal, which a start alone sees.
pub(crate) fn lose_power<M: Subject>(world: &mut World<M>, workload: &mut Workload, rng: &mut Rng) -> bool {
    let survive = *pick(rng, &[Survive::All, Survive::None, Survive::Random, Survive::Prefix]);
    world.restart(HOST, Some(survive), workload);
    settle(world, workload, "the store does not serve after a restart without faults") && !workload.journal_damaged
}

/// Whether nothing is wrong so far: after a violation the rest of a run tells nothing.
pub(crate) fn is_sound<M: Subject>(world: &mut World<M>, workload: &Workload) -> bool {
    if world.trace.events() > EVENTS_MAX && world.findings.is_empty() {
        world.findings.liveness("L1", world.at, format!("the run does not end within {EVENTS_MAX} events"));
    }
    world.findings.is_empty() && workload.oracle.findings.is_empty()
}

/// Lets the world go on until something holds. False, and a violation, when it does not within the bound.
pub(crate) fn until<M: Subject>(
    world: &mut World<M>,
    workload: &mut Workload,
    what: &str,
    holds: impl Fn(&World<M>, &Workload) -> bool,
) -> bool {
    let end = world.at + live::BOUND_NS;
    while !holds(world, workload) {
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

fn settle<M: Subject>(world: &mut World<M>, workload: &mut Workload, what: &str) -> bool {
    until(world, workload, what, is_settled)
}

/// Whether the node serves and nobody waits for it. One that was asked to close does so first, and is started again.
fn is_settled<M: Subject>(world: &World<M>, workload: &Workload) -> bool {
    workload.serving && !workload.is_busy() && world.hosts[HOST as usize].closing.is_none()
}

/// Faults stop. A node that stopped writing, or stopped altogether, is restarted, as its operator would.
fn heal<M: Subject>(world: &mut World<M>, workload: &mut Workload) {
    world.armed = false;
    workload.mode = Mode::Script;
    let host = world.host(HOST);
    host.disk.heal();
    host.lurking = None;
    host.paused_until = 0;
    // Whatever was asked is answered, if only refused: no restart may be needed to be rid of it.
    let answered = until(world, workload, "the store does not serve again", |world, workload| {
        workload.halted || is_settled(world, workload)
    });
    if !answered {
        return;
    }
    // A node that met a write error writes nothing until its next start.
    let host = world.host(HOST);
    if workload.writes_stopped || workload.halted || host.disk.is_refusing(false) {
        workload.halted = false;
        world.restart(HOST, None, workload);
        settle(world, workload, "the store does not serve after its restart");
    }
}

/// Works off a script with the first client.
pub(crate) fn play<M: Subject>(world: &mut World<M>, workload: &mut Workload, script: Vec<Operation>) -> bool {
    workload.scripted.clear();
    workload.script = script.into();
    let mut acts = Vec::new();
    workload.wake_all(&mut acts);
    world.perform(acts);
    until(world, workload, "the script does not end", |_, workload| workload.script.is_empty() && !workload.is_busy())
}

/// Ten puts and ten gets succeed, unless the ledger was damaged beyond what may be trusted.
fn prove_liveness<M: Subject>(world: &mut World<M>, workload: &mut Workload) {
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
    // Whoever has asked before, and did not wait for the end, is in nobody's way for ever.
    if world.setup.scenario == Scenario::Reclaim && is_sound(world, workload) {
        play(world, workload, vec![Operation::Gc { cancel: false }]);
    }
}

pub(crate) fn demand_success<M: Subject>(world: &mut World<M>, workload: &Workload) {
    for scripted in &workload.scripted {
        if scripted.outcome != Outcome::Done {
            let (what, error) =
                (format!("{:.200}", format!("{:?}", scripted.operation)), format!("{:?}", scripted.outcome));
            return live::failed(&what, &error, world.at, &mut world.findings);
        }
    }
}

/// Every name is read and judged, everything is listed and verified, and what is damaged heals when it is put again.
fn scan<M: Subject>(world: &mut World<M>, workload: &mut Workload, rng: &mut Rng) {
    workload.oracle.bad.clear();
    let names: Vec<Name> = workload.oracle.model.names().cloned().collect();
    let script = names.iter().cloned().map(Operation::load).collect();
    if !play(world, workload, script) {
        return;
    }
    let damaged = bad_loads(workload);
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
    if workload.journal_damaged || workload.writes_stopped || !is_sound(world, workload) {
        return;
    }
    // What was cut short comes again, however many starts later: nothing of it may stand in the way.
    let again = std::mem::take(&mut workload.cut_short);
    if play(world, workload, again) {
        stay_healed(world, workload, &names, damaged, rng);
    }
}

/// Stores damaged files again and lets the power go: what was stored again lies there at least twice, and a start must
/// choose the copy that is whole. The first start may show damage that nobody could see before, of records whose place
/// was still known; the second shows nothing new.
fn stay_healed<M: Subject>(
    world: &mut World<M>,
    workload: &mut Workload,
    names: &[Name],
    mut damaged: Vec<Operation>,
    rng: &mut Rng,
) {
    for last in [false, true] {
        if damaged.is_empty() {
            return;
        }
        // Whoever stores it again may find a store that has not read the bad copy yet.
        if rng.chance(1, 2) && !lose_power(world, workload, rng) {
            return;
        }
        if !heal_files(world, workload, damaged) || !lose_power(world, workload, rng) {
            return;
        }
        if !play(world, workload, names.iter().cloned().map(Operation::load).collect()) {
            return;
        }
        if last {
            return demand_success(world, workload);
        }
        damaged = bad_loads(workload);
    }
}

/// The operations of the script that found a bad chunk.
fn bad_loads(workload: &Workload) -> Vec<Operation> {
    let bad = workload.scripted.iter().filter(|scripted| scripted.outcome == Outcome::BadChunk);
    bad.map(|scripted| scripted.operation.clone()).collect()
}

fn list_all<M: Subject>(world: &mut World<M>, workload: &mut Workload) -> bool {
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

/// Puts every damaged file again until it can be read. A get names one bad chunk at a time, and only what was named is
/// sure to be written anew, so that takes as many rounds as a file has bad chunks at most; that a chunk is bad once more
/// is for [`crate::check::damage`] to notice. False when it could not be done.
fn heal_files<M: Subject>(world: &mut World<M>, workload: &mut Workload, mut damaged: Vec<Operation>) -> bool {
    const ROUNDS_MAX: u32 = 200;
    for _ in 0..ROUNDS_MAX {
        let script = store_again(workload, &damaged);
        if script.is_empty() || !play(world, workload, script) {
            return false;
        }
        damaged = bad_loads(workload);
        if damaged.is_empty() {
            break;
        }
    }
    demand_success(world, workload);
    is_sound(world, workload)
}

/// For each get of a name: a put of what the name means, and the get once more.
fn store_again(workload: &Workload, damaged: &[Operation]) -> Vec<Operation> {
    let mut script = Vec::new();
    for load in damaged {
        let Operation::Get(plan) = load else { continue };
        let Target::Name(name) = &plan.target else { continue };
        let now = workload.oracle.model.mark();
        let file = workload.oracle.model.possible(name, now).into_iter().flatten().next();
        let Some(content) = file.and_then(|file| workload.oracle.library.find(file)).cloned() else { continue };
        script.push(Operation::store(name.clone(), content));
        script.push(load.clone());
    }
    script
}
