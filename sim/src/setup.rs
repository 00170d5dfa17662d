//! Everything a run draws before it begins: geometry, latencies, clients, and the fault plan.

use std::fmt;
use std::time::Duration;

use dps_core::config::{Config, RawConfig};
use dps_core::rng::{Rng, Seed};

use crate::Scenario;
use crate::disk::DiskOptions;
use crate::draws::below_power;
use crate::plan::{self, Plan, PlanClass};

const MILLISECOND: u64 = 1_000_000;

/// The drawn options of one run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What is run.
    pub scenario: Scenario,
    /// What the run was seeded with.
    pub seed: u64,
    /// What the plan may break.
    pub class: PlanClass,
    /// The node's configuration: tiny blocks, volumes and segments, so that all of them roll over.
    pub raw: RawConfig,
    /// Bytes that the disk has until faults stop, if that is little.
    pub capacity_bytes: Option<u64>,
    /// How fast the disk is.
    pub disk: DiskOptions,
    /// Concurrent clients.
    pub clients: u32,
    /// Names that they use, each by one writer at a time.
    pub names: u32,
    /// Nanoseconds of the phase with faults.
    pub horizon_ns: u64,
    /// Events that the node is stepped with before it is flushed, at most.
    pub turn_events_max: u64,
    /// Nanoseconds that a turn takes, at most.
    pub turn_ns_max: u64,
    /// Nanoseconds that a client waits between operations, at most.
    pub think_ns_max: u64,
    /// What goes wrong.
    pub plan: Plan,
}

/// The seed from which every stream of a run is split.
#[must_use]
pub(crate) fn root(seed: u64) -> Seed {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Seed::new(bytes).split("dps sim", 0)
}

impl Setup {
    /// Draws everything from one number.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let root = root(seed);
        let mut rng = root.split("setup", 0).rng();
        let class = if rng.chance(1, 4) { PlanClass::Damage } else { PlanClass::Within };
        let horizon_ns = rng.between(600 * MILLISECOND, 1_200 * MILLISECOND);
        let raw = draw_config(&mut root.split("config", 0).rng());
        let mut disk_rng = root.split("disk options", 0).rng();
        let disk = DiskOptions {
            read_ns: disk_rng.between(2_000, 60_000),
            append_ns: disk_rng.between(1_000, 40_000),
            sync_ns: disk_rng.between(10_000, 400_000),
        };
        let clients = u32::try_from(rng.between(3, 10)).expect("a small number");
        Self {
            scenario: Scenario::default(),
            seed,
            class,
            raw,
            capacity_bytes: None,
            disk,
            clients,
            names: clients * u32::try_from(rng.between(2, 6)).expect("a small number"),
            horizon_ns,
            turn_events_max: 1 << rng.below(6),
            turn_ns_max: 1 << rng.between(8, 17),
            // Mostly unhurried clients: the faults of a run are spread over its time, and operations cost real time.
            think_ns_max: if rng.chance(1, 10) { 1 << 16 } else { 1 << rng.between(20, 23) },
            plan: plan::draw(&mut root.split("plan", 0).rng(), class, horizon_ns),
        }
    }

    /// The same for a scenario, which may add to it from streams of its own.
    #[must_use]
    pub fn draw_for(seed: u64, scenario: Scenario) -> Self {
        let mut setup = Self { scenario, ..Self::draw(seed) };
        if scenario == Scenario::Reclaim {
            plan::reclaim::add(&mut root(seed).split("reclaim plan", 0).rng(), setup.horizon_ns, &mut setup.plan);
            let mut rng = root(seed).split("capacity", 0).rng();
            setup.capacity_bytes = rng.chance(1, 20).then(|| rng.between(64 << 10, 1 << 20));
        }
        setup
    }

    /// The node's configuration, checked.
    ///
    /// # Panics
    /// Never: what is drawn is within bounds.
    #[must_use]
    pub fn config(&self) -> Config {
        Config::new(self.raw).expect("every drawn configuration is valid")
    }
}

fn draw_config(rng: &mut Rng) -> RawConfig {
    let small = |rng: &mut Rng, low: u64, high: u64| u32::try_from(rng.between(low, high)).expect("a small number");
    let min_log = rng.between(4, 6);
    let block_bytes_min = 1_u32 << min_log;
    let block_bytes_max = 1_u32 << rng.between(min_log.max(6), 11);
    let micros = |rng: &mut Rng, low: u64, high: u64| Duration::from_micros(rng.between(low, high));
    RawConfig {
        block_bytes_min,
        block_bytes_max,
        blocks_target: small(rng, 1, 12),
        large_file_blocks: small(rng, 2, 32),
        inline_bytes_max: small(rng, 0, u64::from(block_bytes_min) - 1),
        manifest_entries_max: small(rng, 1, 16),
        manifest_fanout: small(rng, 2, 8),
        volume_bytes: 512 + below_power(rng, 10, 15),
        segment_bytes: 512 + below_power(rng, 10, 14),
        ingest_bytes_max: rng.between(u64::from(block_bytes_max), 16 * u64::from(block_bytes_max)),
        settle_after: micros(rng, 100, 20_000),
        credit_timeout: micros(rng, 20_000, 500_000),
        retain: Duration::from_millis(300),
        sweep_wait: Duration::from_millis(100),
        // From a round within the run to none.
        scrub_period: Duration::from_millis(1 << rng.between(6, 16)),
        // From one in a few puts to none in a run.
        snapshot_entries: 1 + below_power(rng, 2, 12),
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, class, raw, disk, clients, names, horizon_ns, .. } = self;
        writeln!(f, "seed {seed}, class {class:?}, {clients} clients, {names} names, faults for {horizon_ns} ns")?;
        writeln!(f, "{raw:?}")?;
        writeln!(f, "{disk:?}")?;
        writeln!(
            f,
            "turns of up to {} events and {} ns, think time up to {} ns",
            self.turn_events_max, self.turn_ns_max, self.think_ns_max
        )?;
        let (faults, triggers) = (self.plan.faults.len(), self.plan.triggers.len());
        write!(f, "{faults} faults and {triggers} triggers planned")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawn_configuration_is_valid() {
        for seed in 0..500 {
            let setup = Setup::draw(seed);
            let _ = setup.config();
            assert!(setup.names >= setup.clients, "each client needs a name to write");
        }
    }
}
