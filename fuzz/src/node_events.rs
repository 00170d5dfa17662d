//! A whole node: the bytes are a script for its clients, its disk and its clock.

mod disk;
mod model;
mod script;
mod talk;
mod world;

use std::time::Duration;

use dps_core::config::{Config, RawConfig};

use crate::input::Input;
use script::step;
use world::World;

/// Decisions of one script.
const STEPS_MAX: usize = 300;

/// Runs a script against a node on a disk that forgets what was not synced: requests of all kinds, in and out of order,
/// disk requests that end in any order that the contract allows and sometimes fail, crashes and restarts.
///
/// # Panics
/// When something acknowledged is gone after a restart, when other bytes come than were stored, when damage is told of a
/// disk that only did what it may, when a request is never answered, or when an invariant of the node does not hold.
pub fn node_events(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(config(&mut input));
    // Reads that fail are allowed in some scripts only: they cost the certainty that everything is found again.
    let refuse_reads = input.rarely(4);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        step(&mut world, &mut input, refuse_reads);
        if world.is_halted() {
            world.restart(false, &mut input);
        }
    }
    world.come_to_rest();
    world.restart(true, &mut input);
    world.look_at_everything();
    if !world.is_halted() {
        world.close_in_good_order();
        world.look_at_everything();
    }
}

/// Tiny blocks and files, so that a few kilobytes cross every threshold.
fn config(input: &mut Input<'_>) -> Config {
    let choice = input.u8();
    let file_bytes = |choice: u8| [256, 700, 2_048, 1 << 20][usize::from(choice % 4)];
    let raw = RawConfig {
        block_bytes_min: 32,
        block_bytes_max: 128,
        blocks_target: 10,
        large_file_blocks: 8,
        inline_bytes_max: 8,
        manifest_entries_max: 4,
        manifest_fanout: 2 + u32::from(choice / 64),
        volume_bytes: file_bytes(choice),
        segment_bytes: file_bytes(choice / 4),
        snapshot_entries: [3, 10, 40, 1_000][usize::from(choice / 32 % 4)],
        ingest_bytes_max: [128, 300, 512, 4_096][usize::from(choice / 16 % 4)],
        settle_after: Duration::from_millis(1),
        credit_timeout: Duration::from_millis(20),
        retain: Duration::from_millis(100),
        scrub_period: Duration::from_secs(30 * 86_400),
        sweep_wait: Duration::from_millis(30),
    };
    Config::new(raw).expect("every one of these is valid")
}
