//! The end of a run that reclaims: nobody else is active, so that collections must leave nothing but what is needed.

use std::time::Duration;

use dps_core::disk::File;
use dps_core::rng::Rng;

use crate::check::{garbage, space};
use crate::disk::FileClass;
use crate::subject::Subject;
use crate::workload::Workload;
use crate::workload::desk::Outcome;
use crate::workload::operation::Operation;
use crate::world::World;
use crate::{Scenario, scenario};

/// Collections at the end, at least: what passed for in use in the first is found by the second, which asks other questions.
const COLLECTIONS: usize = 2;

/// Collections until one finds nothing to do, at most: each may make records needless that the one before had to copy.
const COLLECTIONS_MAX: usize = 10;

/// Collects everything and looks at what is left.
pub(crate) fn run<M: Subject>(world: &mut World<M>, workload: &mut Workload, host: u32, rng: &mut Rng) {
    if world.setup.scenario != Scenario::Reclaim || workload.journal_damaged || workload.writes_stopped {
        return;
    }
    let at = world.at;
    let retain = world.setup.raw.retain + Duration::from_nanos(1);
    let before = world.host(host).now(at).wall.saturating_sub(retain);
    let Some(completed) = collect_all(world, workload, host) else { return };
    let at = world.at;
    let there = &world.hosts[host as usize];
    let Some(holdings) = there.node.as_ref().and_then(Subject::holdings) else { return };
    garbage::check_reaped(&holdings, before, at, &mut world.findings);
    let (referenced, index) = (garbage::referenced(&holdings, &there.disk), holdings.store.index());
    garbage::check_kept(&referenced, index, &there.disk, at, &mut world.findings);
    // A sweep that a harmed volume has stopped lets nothing go.
    if !completed {
        return;
    }
    garbage::check_gone(&referenced, index, at, &mut world.findings);
    // Garbage that is left takes space, and was told already.
    if !world.findings.is_empty() {
        return;
    }
    space::check(&referenced, index, &there.disk, at, &mut world.findings);
    if scenario::is_sound(world, workload) && scenario::lose_power(world, workload, rng) {
        look_again(world, host);
        if scenario::is_sound(world, workload) && rng.chance(1, 8) {
            clean_deeply(world, workload, host);
        }
    }
}

/// Gives everything up, names too: nothing is left after that, and the store takes files as ever.
fn clean_deeply<M: Subject>(world: &mut World<M>, workload: &mut Workload, host: u32) {
    let name = workload.first_names()[0].clone();
    let mut script = vec![Operation::Clean { deep: true }, Operation::load(name.clone())];
    script.extend(vec![Operation::Gc { cancel: false }; COLLECTIONS]);
    script.push(Operation::Tombstones { prefix: String::new(), after: None, limit: 1_000 });
    script.push(Operation::store(name.clone(), workload.fresh_content()));
    script.push(Operation::load(name));
    if !scenario::play(world, workload, script) {
        return;
    }
    scenario::demand_success(world, workload);
    let (at, there) = (world.at, &world.hosts[host as usize]);
    let Some(holdings) = there.node.as_ref().and_then(Subject::holdings) else { return };
    let referenced = garbage::referenced(&holdings, &there.disk);
    garbage::check_gone(&referenced, holdings.store.index(), at, &mut world.findings);
}

/// Collects until a collection changes no volume. False if one was stopped, `None` if something did not hold.
fn collect_all<M: Subject>(world: &mut World<M>, workload: &mut Workload, host: u32) -> Option<bool> {
    for round in 1..=COLLECTIONS_MAX {
        let before = volumes(world, host);
        if !scenario::play(world, workload, vec![Operation::Gc { cancel: false }]) {
            return None;
        }
        if workload.scripted.iter().any(|scripted| scripted.outcome != Outcome::Done) {
            return Some(false);
        }
        // Small volumes are merged without being asked for.
        let is_idle = |world: &World<M>, _: &Workload| {
            let node = world.hosts[host as usize].node.as_ref();
            node.and_then(Subject::holdings).is_none_or(|holdings| !holdings.reclaiming)
        };
        if !scenario::until(world, workload, "the store goes on giving space back", is_idle) {
            return None;
        }
        if round >= COLLECTIONS && volumes(world, host) == before {
            return Some(true);
        }
    }
    let text = format!("each of {COLLECTIONS_MAX} collections changes volumes, though nobody writes");
    world.findings.correctness("S7", world.at, text);
    None
}

fn volumes<M: Subject>(world: &World<M>, host: u32) -> Vec<File> {
    let files = world.hosts[host as usize].disk.files().into_iter();
    files.map(|(file, _)| file).filter(|file| matches!(file, File::Volume(_))).collect()
}

/// After another start: what is gone stays gone, unless the word that it is gone was harmed.
fn look_again<M: Subject>(world: &mut World<M>, host: u32) {
    let (at, there) = (world.at, &world.hosts[host as usize]);
    let Some(holdings) = there.node.as_ref().and_then(Subject::holdings) else { return };
    let (referenced, index) = (garbage::referenced(&holdings, &there.disk), holdings.store.index());
    garbage::check_kept(&referenced, index, &there.disk, at, &mut world.findings);
    if !there.disk.is_class_harmed(FileClass::Volume, 0) {
        garbage::check_gone(&referenced, index, at, &mut world.findings);
        space::check_known(index, &there.disk, at, &mut world.findings);
    }
}
