//! The very end of some runs that reclaim: others fill the disk to its last byte, twice, and each time reads are served and
//! what makes room gets the reserve for it (rule J11), which must have been set aside again in between.

use dps_core::disk::File;
use dps_core::rng::Seed;

use crate::disk::FileClass;
use crate::subject::Subject;
use crate::workload::Workload;
use crate::workload::operation::Operation;
use crate::world::{Item, World};
use crate::{Scenario, scenario};

/// After so many nanoseconds no answer of the disk is good any more: twice as long as the node relies on one.
const ANSWER_AGE_NS: u64 = 200_000_000;

/// How often the disk is filled.
const FILLINGS: usize = 2;

/// How long the node may be at work although nobody wants anything, in ages of answers.
const RESTS_MAX: usize = 10;

/// Puts before each time, at most.
const PUTS_MAX: u64 = 8;

/// In one of four runs, from a stream of its own.
pub(crate) fn run<M: Subject>(world: &mut World<M>, workload: &mut Workload, host: u32, seed: Seed) {
    let mut rng = seed.split("filling", 0).rng();
    let skips = world.setup.scenario != Scenario::Reclaim || workload.journal_damaged || workload.writes_stopped;
    // Of what is harmed some can't be read, and a collection stops there.
    let is_harmed = |class| world.hosts[host as usize].disk.is_class_harmed(class, 0);
    if skips || is_harmed(FileClass::Volume) || is_harmed(FileClass::Journal) || !rng.chance(1, 4) {
        return;
    }
    let names = workload.first_names().to_vec();
    for _ in 0..FILLINGS {
        let mut script = Vec::new();
        for turn in 0..rng.between(1, PUTS_MAX) {
            let name = names[turn as usize % names.len()].clone();
            script.push(Operation::store(name, workload.fresh_content()));
        }
        // What is set aside is as much as a collection needs now.
        script.push(Operation::Gc { cancel: false });
        if !play(world, workload, script) || !rest(world, workload, host) {
            return;
        }
        let bytes_max = world.setup.raw.volume_bytes + 2 * world.setup.raw.segment_bytes;
        let disk = &mut world.host(host).disk;
        let reserve = disk.bytes(File::Reserve).map_or(0, |bytes| bytes.len() as u64);
        let used = disk.files().iter().map(|(_, bytes)| bytes).sum();
        disk.set_capacity(used);
        let mut script: Vec<Operation> = names.iter().cloned().map(Operation::load).collect();
        script.push(Operation::Purge(names[0].clone()));
        // One that has its largest size may be smaller than what a collection needs.
        if reserve < bytes_max {
            script.push(Operation::Gc { cancel: false });
        }
        if !play(world, workload, script) || !rest(world, workload, host) {
            return;
        }
        world.host(host).disk.heal();
    }
}

/// All of it is done.
fn play<M: Subject>(world: &mut World<M>, workload: &mut Workload, script: Vec<Operation>) -> bool {
    if scenario::play(world, workload, script) {
        scenario::demand_success(world, workload);
    }
    scenario::is_sound(world, workload)
}

/// Lets the node come to rest, until no answer of the disk is good any more. False if it does not.
fn rest<M: Subject>(world: &mut World<M>, workload: &mut Workload, host: u32) -> bool {
    for _ in 0..RESTS_MAX {
        let end = world.at + ANSWER_AGE_NS;
        world.schedule(end, Item::Observer { token: 0 });
        if !scenario::until(world, workload, "time does not pass", |world, _| world.at >= end) {
            return false;
        }
        let disk = &world.hosts[host as usize].disk;
        if disk.asked_at() + ANSWER_AGE_NS <= world.at && disk.pending().next().is_none() {
            return true;
        }
    }
    false
}
