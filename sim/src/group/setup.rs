//! What one run of a group is made of, drawn from its seed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dps_core::config::{Config, RawConfig};
use dps_core::id::NodeId;
use dps_core::raft::membership::Membership;
use dps_core::raft::settings::Settings as RaftSettings;
use dps_core::replica::{Founding, Settings};
use dps_core::rng::Rng;

use super::draw;
use super::style::{self, Style};
use crate::disk::DiskOptions;
use crate::draws::{below_power, pick};
use crate::net::{Latency, Shape};
use crate::plan::{Plan, PlanClass};
use crate::setup::root;

const MILLISECOND: u64 = 1_000_000;

/// The drawn options of one run of a group.
#[derive(Clone, Debug)]
pub struct GroupSetup {
    /// What the run was seeded with.
    pub seed: u64,
    /// What the plan may break.
    pub class: PlanClass,
    /// What it is mostly about.
    pub style: Style,
    /// Hosts that vote at first.
    pub voters: u32,
    /// Hosts that learn at first.
    pub learners: u32,
    /// Hosts that take no part at first.
    pub spares: u32,
    /// A member's configuration: tiny segments, so that they roll.
    pub raw: RawConfig,
    /// How members keep their part.
    pub settings: Settings,
    /// How fast disks are.
    pub disk: DiskOptions,
    /// What the network is like while nothing is wrong.
    pub shape: Shape,
    /// Concurrent clients.
    pub clients: u32,
    /// Names that they use.
    pub names: u32,
    /// Nanoseconds of the phase with faults.
    pub horizon_ns: u64,
    /// Events that a member is stepped with before it is flushed, at most.
    pub turn_events_max: u64,
    /// Nanoseconds that a turn takes, at most.
    pub turn_ns_max: u64,
    /// Nanoseconds that a client waits between operations, at most.
    pub think_ns_max: u64,
    /// Whether clients ask anybody with anything, and soon somebody else: so they meet leaders that lead no more.
    pub restless: bool,
    /// Nanoseconds that a client waits for an answer.
    pub patience_ns: u64,
    /// Of a thousand answers to clients so many are lost.
    pub lost_answers_permille: u64,
    /// Whether after the faults only a random core goes on.
    pub core_only: bool,
    /// What goes wrong.
    pub plan: Plan,
}

impl GroupSetup {
    /// Draws everything from one number.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let root = root(seed).split("group", 0);
        let mut rng = root.split("setup", 0).rng();
        let small = |rng: &mut Rng, low: u64, high: u64| u32::try_from(rng.between(low, high)).expect("a small number");
        let voters = *pick(&mut rng, &[1, 2, 3, 3, 3, 3, 3, 4, 4, 5, 5, 5, 5, 6, 7]);
        let learners = if rng.chance(1, 3) { small(&mut rng, 1, 2) } else { 0 };
        let spares = if rng.chance(1, 2) { small(&mut rng, 1, 2) } else { 0 };
        let horizon_ns = rng.between(1_000 * MILLISECOND, 3_000 * MILLISECOND);
        let settings = draw_settings(&mut root.split("settings", 0).rng());
        let mut disk_rng = root.split("disk options", 0).rng();
        let disk = DiskOptions {
            read_ns: disk_rng.between(2_000, 60_000),
            append_ns: disk_rng.between(1_000, 40_000),
            sync_ns: if disk_rng.chance(1, 6) { 2_000_000 } else { disk_rng.between(10_000, 400_000) },
        };
        let election_ns = nanos(settings.raft.election_timeout_max);
        let plan = draw::draw(
            &mut root.split("plan", 0).rng(),
            &draw::Ground { voters, hosts: voters + learners + spares, horizon_ns, election_ns },
        );
        let mut setup = Self {
            seed,
            class: PlanClass::Within,
            style: Style::draw(&mut root.split("style", 0).rng()),
            voters,
            learners,
            spares,
            raw: RawConfig {
                segment_bytes: 512 + below_power(&mut rng, 10, 15),
                settle_after: Duration::from_micros(rng.between(200, 20_000)),
                ..RawConfig::STANDARD
            },
            settings,
            disk,
            shape: draw_shape(&mut root.split("shape", 0).rng()),
            clients: small(&mut rng, 2, 5),
            names: small(&mut rng, 2, 6),
            horizon_ns,
            turn_events_max: 1 << rng.below(6),
            turn_ns_max: 1 << rng.between(8, 17),
            think_ns_max: 1 << rng.between(20, 25),
            restless: root.split("restless", 0).rng().chance(1, 4),
            patience_ns: election_ns * rng.between(1, 4),
            lost_answers_permille: *pick(&mut rng, &[0, 0, 20, 200]),
            core_only: rng.chance(1, 2),
            plan,
        };
        if setup.restless {
            setup.patience_ns = election_ns / 2;
        }
        style::bend(&mut setup, &mut root.split("style", 1).rng());
        let mut rng = root.split("ambushes", 0).rng();
        if setup.plan != Plan::default() && rng.chance(1, 2) {
            draw::draw_ambushes(&mut rng, &setup.ground(), &mut setup.plan);
        }
        let mut rng = root.split("parades", 0).rng();
        if setup.plan != Plan::default() && rng.chance(1, 12) {
            draw::draw_parade(&mut rng, &setup.ground(), &mut setup.plan);
        }
        let mut rng = root.split("damage", 0).rng();
        if rng.chance(1, 8) {
            style::damage(&mut setup, &mut rng);
        }
        setup
    }

    fn ground(&self) -> draw::Ground {
        let election_ns = nanos(self.settings.raft.election_timeout_max);
        draw::Ground { voters: self.voters, hosts: self.hosts(), horizon_ns: self.horizon_ns, election_ns }
    }

    /// How many hosts there are.
    #[must_use]
    pub const fn hosts(&self) -> u32 {
        self.voters + self.learners + self.spares
    }

    /// A member's configuration, checked.
    ///
    /// # Panics
    /// Never: what is drawn is within bounds.
    #[must_use]
    pub fn config(&self) -> Config {
        Config::new(self.raw).expect("every drawn configuration is valid")
    }

    /// Who takes part before the first entry of the log.
    ///
    /// # Panics
    /// Never: what is drawn is within bounds.
    #[must_use]
    pub fn founders(&self) -> Membership {
        let voters = (0..self.voters).map(node_id).collect();
        let learners = (self.voters..self.voters + self.learners).map(node_id).collect();
        Membership::from_parts(voters, Default::default(), learners, Default::default()).expect("a group has voters")
    }

    /// What a host's member is told.
    #[must_use]
    pub fn founding(&self, host: u32) -> Founding {
        Founding { id: node_id(host), members: Arc::new(self.founders()), settings: self.settings }
    }
}

pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).expect("a short time")
}

/// The identifier of a host's member.
///
/// # Panics
/// When there are more hosts than one byte counts.
#[must_use]
pub(crate) fn node_id(host: u32) -> NodeId {
    NodeId::from_bytes([u8::try_from(host + 1).expect("few hosts"); 20])
}

/// The host of a member, if it is one.
#[must_use]
pub(crate) fn host_of(id: NodeId) -> Option<u32> {
    u32::from(id.as_bytes()[0]).checked_sub(1)
}

fn draw_settings(rng: &mut Rng) -> Settings {
    let heartbeat_ns = rng.between(5 * MILLISECOND, 20 * MILLISECOND);
    let least_ns = heartbeat_ns * rng.between(2, 6);
    let raft = RaftSettings {
        election_timeout_min: Duration::from_nanos(least_ns),
        election_timeout_max: Duration::from_nanos(least_ns + least_ns * rng.between(3, 15) / 10),
        heartbeat_interval: Duration::from_nanos(heartbeat_ns),
        append_entries_max: *pick(rng, &[1, 2, 5, 64, 1_024]),
        append_bytes_max: *pick(rng, &[1, 300, 4_096, 256 << 10, 256 << 10]),
        in_flight_max: *pick(rng, &[1, 2, 8, 64]),
        uncommitted_bytes_max: *pick(rng, &[2_000, 20_000, 16 << 20, 16 << 20]),
        trailing_entries: *pick(rng, &[0, 1, 5, 50, 4_096]),
    };
    let snapshot_entries = if rng.chance(2, 3) { rng.between(5, 50) } else { *pick(rng, &[200, 100_000]) };
    Settings { raft, snapshot_entries }
}

fn draw_shape(rng: &mut Rng) -> Shape {
    let median_ns = *pick(rng, &[50_000, 250_000, 250_000, 1_000_000, 3_000_000]);
    let tail_ns = median_ns * *pick(rng, &[2, 10, 40]);
    Shape {
        latency: Latency { min_ns: median_ns / 3, median_ns, tail_ns },
        loss_permille: *pick(rng, &[0, 0, 1, 10, 50]),
        duplicate_permille: *pick(rng, &[0, 0, 5, 50]),
        corrupt_permille: *pick(rng, &[0, 0, 0, 5]),
        ..Shape::default()
    }
}

impl fmt::Display for GroupSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, class, voters, learners, spares, clients, names, horizon_ns, .. } = self;
        writeln!(
            f,
            "seed {seed}, class {class:?}, style {:?}, {voters} voters, {learners} learners, {spares} spare hosts",
            self.style
        )?;
        writeln!(f, "{clients} clients, {names} names, faults for {horizon_ns} ns, core only: {}", self.core_only)?;
        writeln!(f, "{:?}", self.settings)?;
        writeln!(f, "{:?}", self.raw)?;
        writeln!(f, "{:?}\n{:?}", self.disk, self.shape)?;
        let (turn_events, turn_ns, think_ns) = (self.turn_events_max, self.turn_ns_max, self.think_ns_max);
        writeln!(f, "turns of up to {turn_events} events and {turn_ns} ns, think time up to {think_ns} ns,")?;
        let (patience_ns, lost) = (self.patience_ns, self.lost_answers_permille);
        writeln!(f, "patience of clients {patience_ns} ns, {lost} of a thousand answers lost")?;
        let Plan { faults, triggers, net, wishes, blows } = &self.plan;
        let (faults, triggers, net, wishes) = (faults.len(), triggers.len(), net.len(), wishes.len());
        let blows = blows.len();
        write!(
            f,
            "{faults} faults, {triggers} triggers, {net} faults of the network, {wishes} wishes and {blows} blows planned"
        )
    }
}
