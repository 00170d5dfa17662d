//! What a run of a group is mostly about. Some draw of everything; the others put all their weight on one thing, since
//! many mistakes show only where several rare things come together.

use std::time::Duration;

use dps_core::rng::Rng;

use super::draw::Ground;
use super::setup::{GroupSetup, nanos};
use crate::disk::FileClass;
use crate::draws::{below_power, pick};
use crate::net::{Latency, NetFault, NetStrike};
use crate::plan::draw::draw_survive;
use crate::plan::{Action, Blow, BlowKind, Fault, Plan, PlanClass, Point, Trigger, Wish, WishKind};

/// What a run is mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Anything.
    Mixed,
    /// Leaders that are cut off and go on serving, and messages that come late.
    Isolation,
    /// Changes of the membership in a small group, with leaders that are cut off right after one.
    Churn,
    /// Leaders that are left with one follower and crash: entries of old terms on a few (figure 8 of the paper).
    Relay,
    /// Snapshots all the time, and followers that need them.
    Snapshots,
}

impl Style {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        *pick(
            rng,
            &[
                Self::Mixed,
                Self::Mixed,
                Self::Mixed,
                Self::Mixed,
                Self::Mixed,
                Self::Isolation,
                Self::Isolation,
                Self::Churn,
                Self::Churn,
                Self::Relay,
                Self::Snapshots,
                Self::Snapshots,
            ],
        )
    }
}

/// Lets a setup that draws of everything have its style.
pub(super) fn bend(setup: &mut GroupSetup, rng: &mut Rng) {
    if setup.style == Style::Mixed {
        return;
    }
    shape(setup, rng);
    let election_ns = nanos(setup.settings.raft.election_timeout_max);
    setup.horizon_ns = (election_ns * rng.between(20, 40)).clamp(500_000_000, 3_000_000_000);
    setup.patience_ns = match setup.style {
        // Clients find the new leader while the old one takes itself for one.
        Style::Isolation => nanos(setup.settings.raft.heartbeat_interval) * rng.between(1, 3),
        // They ask again and again, so that a leader that is cut off gets a longer log than its followers have.
        Style::Snapshots if rng.chance(1, 3) => nanos(setup.settings.raft.heartbeat_interval),
        Style::Mixed | Style::Churn | Style::Relay | Style::Snapshots => election_ns * rng.between(1, 2),
    };
    let ground = Ground { voters: setup.voters, hosts: setup.hosts(), horizon_ns: setup.horizon_ns, election_ns };
    let mut plan = Plan::default();
    if rng.chance(1, 3) {
        // What goes wrong in any run goes wrong here too.
        plan = super::draw::draw(rng, &ground);
        plan.wishes.clear();
    }
    match setup.style {
        Style::Mixed => {}
        Style::Isolation => draw_isolation(rng, &ground, &mut plan),
        Style::Churn => draw_churn(rng, &ground, &mut plan),
        Style::Relay => draw_relay(rng, &ground, &mut plan),
        Style::Snapshots => draw_snapshots(rng, &ground, &mut plan),
    }
    plan.faults.sort_by_key(|fault| fault.at_ns);
    plan.wishes.sort_by_key(|wish| wish.at_ns);
    setup.plan = plan;
}

/// Hosts, sizes and pace.
fn shape(setup: &mut GroupSetup, rng: &mut Rng) {
    let raft = &mut setup.settings.raft;
    match setup.style {
        Style::Mixed => {}
        Style::Isolation => {
            (setup.voters, setup.learners, setup.spares) = (*pick(rng, &[3, 3, 3, 4, 5, 5]), 0, 0);
            setup.restless = true;
            setup.clients = 5;
            setup.names = 2;
            setup.think_ns_max = 1 << rng.between(19, 22);
            setup.shape.loss_permille = 0;
            let median_ns = *pick(rng, &[50_000, 100_000, 250_000]);
            setup.shape.latency =
                Latency { min_ns: median_ns / 3, median_ns, tail_ns: median_ns * *pick(rng, &[2, 10]) };
            setup.disk.sync_ns = setup.disk.sync_ns.min(200_000);
            // Others elect soon after one has lost its followers, and before it gives up.
            raft.election_timeout_max = raft.election_timeout_min + raft.election_timeout_min / 4;
        }
        Style::Churn => {
            setup.voters = *pick(rng, &[2, 3, 3, 4, 4]);
            setup.learners = u32::try_from(rng.below(3)).expect("few");
            setup.spares = u32::try_from(rng.between(1, 2)).expect("few");
            raft.append_entries_max = *pick(rng, &[1, 1, 2, 64]);
        }
        Style::Relay => {
            (setup.voters, setup.learners, setup.spares) = (*pick(rng, &[3, 5, 5, 5, 5]), 0, 0);
            raft.append_entries_max = *pick(rng, &[1, 1, 2, 64]);
            raft.in_flight_max = *pick(rng, &[1, 2, 8]);
            raft.election_timeout_min = raft.heartbeat_interval * 2;
            raft.election_timeout_max = raft.election_timeout_min * 2;
        }
        Style::Snapshots => {
            setup.voters = *pick(rng, &[3, 3, 3, 4, 5]);
            setup.settings.snapshot_entries = rng.between(2, 8);
            raft.trailing_entries = *pick(rng, &[0, 0, 1, 3]);
            raft.append_entries_max = *pick(rng, &[1, 2, 64]);
            setup.shape.duplicate_permille = *pick(rng, &[0, 50, 200]);
            setup.think_ns_max = 1 << rng.between(19, 23);
            setup.names = u32::try_from(rng.between(1, 3)).expect("few");
        }
    }
    assert!(raft.election_timeout_max > raft.election_timeout_min + Duration::from_millis(1), "elections differ");
}

/// About as long as others need to elect somebody, or a little more.
fn draw_span(rng: &mut Rng, ground: &Ground) -> u64 {
    let election_ns = ground.election_ns;
    if rng.chance(1, 4) { election_ns / 2 + rng.below(election_ns) } else { election_ns + rng.below(2 * election_ns) }
}

fn number(rng: &mut Rng) -> u32 {
    u32::try_from(rng.below(1 << 16)).expect("small")
}

fn blow(rng: &mut Rng, ground: &Ground, kind: BlowKind) -> Blow {
    let (at_ns, duration_ns) = (rng.below(ground.horizon_ns), draw_span(rng, ground));
    Blow { at_ns, duration_ns, kind, pick: number(rng), nth: 0, on: None }
}

fn blow_on(rng: &mut Rng, ground: &Ground, kind: BlowKind, on: Point, often: u64) -> Blow {
    let at_ns = if rng.chance(2, 3) { 0 } else { below_power(rng, 10, 22) };
    let nth = u32::try_from(rng.between(1, often)).expect("small");
    Blow { at_ns, duration_ns: draw_span(rng, ground), kind, pick: number(rng), nth, on: Some(on) }
}

fn draw_isolation(rng: &mut Rng, ground: &Ground, plan: &mut Plan) {
    let kinds = [
        BlowKind::IsolateLeader,
        BlowKind::IsolateLeader,
        BlowKind::IsolateMinority,
        BlowKind::IsolateMinority,
        BlowKind::PauseLeader,
        BlowKind::FreezeLeader,
        BlowKind::FreezeLeader,
        BlowKind::HoldAnswers,
        BlowKind::HoldAppends,
        BlowKind::CutFollower,
        BlowKind::MuteLeader,
        BlowKind::Replay,
        BlowKind::Replay,
    ];
    for _ in 0..rng.between(5, 15) {
        let kind = *pick(rng, &kinds);
        plan.blows.push(blow(rng, ground, kind));
    }
    if rng.chance(1, 2) {
        // A candidate that nobody hears, and a leader that is back before it gives up: it is in an older term then.
        for blow in plan.blows.iter_mut().filter(|blow| blow.kind == BlowKind::IsolateLeader) {
            blow.duration_ns = ground.election_ns * rng.between(9, 14) / 10;
        }
        for nth in 1..=8 {
            if rng.chance(1, 2) {
                let (duration_ns, pick) = (ground.election_ns * rng.between(5, 20) / 10, number(rng));
                let (kind, on) = (BlowKind::IsolateActor, Some(Point::Standing));
                plan.blows.push(Blow { at_ns: 0, duration_ns, kind, pick, nth, on });
            }
        }
    }
}

fn draw_churn(rng: &mut Rng, ground: &Ground, plan: &mut Plan) {
    let weights: Vec<(WishKind, u64)> = WishKind::ALL.iter().map(|kind| (*kind, rng.between(1, 50))).collect();
    let total: u64 = weights.iter().map(|(_, weight)| weight).sum();
    for _ in 0..rng.between(10, 50) {
        let mut left = rng.below(total);
        let found = weights.iter().find(|(_, weight)| {
            let found = left < *weight;
            left = left.saturating_sub(*weight);
            found
        });
        let kind = found.expect("a draw below the sum falls on one of them").0;
        plan.wishes.push(Wish { at_ns: rng.below(ground.horizon_ns), kind, pick: number(rng) });
    }
    let kinds = [
        BlowKind::IsolateLeader,
        BlowKind::IsolateMinority,
        BlowKind::LeaveOne,
        BlowKind::IsolateNewest,
        BlowKind::CrashLeader,
        BlowKind::PauseLeader,
        BlowKind::CutFollower,
        BlowKind::Replay,
    ];
    for _ in 0..rng.between(3, 12) {
        let kind = *pick(rng, &kinds);
        let on = *pick(rng, &[Point::Changing, Point::Changing, Point::Leading, Point::Committing]);
        let often = if on == Point::Committing { 100 } else { 12 };
        let blow = blow_on(rng, ground, kind, on, often);
        plan.blows.push(blow);
    }
}

fn draw_relay(rng: &mut Rng, ground: &Ground, plan: &mut Plan) {
    let kinds = [BlowKind::LeaveOne, BlowKind::LeaveOne, BlowKind::IsolateMinority, BlowKind::CutFollower];
    for _ in 0..rng.between(8, 20) {
        let kind = *pick(rng, &kinds);
        let mut left = blow(rng, ground, kind);
        if rng.chance(1, 2) {
            left = blow_on(rng, ground, kind, Point::Leading, 20);
        }
        left.duration_ns /= 2;
        plan.blows.push(left);
    }
    for _ in 0..rng.between(6, 20) {
        let on = *pick(rng, &[Point::Leading, Point::Replicating, Point::Matching, Point::Committing]);
        let often = if on == Point::Leading { 20 } else { 200 };
        let mut crash = blow_on(rng, ground, BlowKind::CrashLeader, on, often);
        crash.duration_ns = below_power(rng, 16, 24);
        plan.blows.push(crash);
    }
}

fn draw_snapshots(rng: &mut Rng, ground: &Ground, plan: &mut Plan) {
    let kinds = [
        BlowKind::CutFollower,
        BlowKind::CutFollower,
        BlowKind::HoldAppends,
        BlowKind::IsolateMinority,
        BlowKind::IsolateLeader,
        BlowKind::Replay,
        BlowKind::Replay,
    ];
    for _ in 0..rng.between(4, 14) {
        let kind = *pick(rng, &kinds);
        plan.blows.push(blow(rng, ground, kind));
    }
    for _ in 0..rng.below(6) {
        let on = *pick(rng, &[Point::Compacting, Point::Restoring, Point::Publishing]);
        let mut crash = blow_on(rng, ground, BlowKind::CrashActor, on, 12);
        crash.duration_ns = below_power(rng, 16, 25);
        plan.blows.push(crash);
    }
    for _ in 0..*pick(rng, &[0, 4, 20]) {
        let kind = *pick(rng, &[WishKind::AddLearner, WishKind::Promote, WishKind::Remove, WishKind::RemoveLearner]);
        plan.wishes.push(Wish { at_ns: rng.below(ground.horizon_ns), kind, pick: number(rng) });
    }
}

/// Adds damage of what is durable to a plan: of less than half of the voters, mostly.
pub(super) fn damage(setup: &mut GroupSetup, rng: &mut Rng) {
    let minority = (setup.voters.saturating_sub(1) / 2).max(1);
    let most = if rng.chance(3, 4) { minority } else { setup.hosts() };
    let first = u32::try_from(rng.below(u64::from(setup.hosts()))).expect("few hosts");
    for _ in 0..rng.between(1, 5) {
        let turn = u32::try_from(rng.below(u64::from(most))).expect("few hosts");
        let host = (first + turn) % setup.hosts();
        let target = *pick(rng, &[FileClass::Journal, FileClass::Journal, FileClass::Journal, FileClass::Slot]);
        let action = match rng.below(8) {
            0..=3 => Action::BitRot { target },
            4 => Action::LatentError { target },
            5 => Action::LoseSnapshots,
            6 => Action::Shorten { target: FileClass::Journal },
            _ => Action::LoseFile { target: FileClass::Journal },
        };
        let crash =
            Action::Crash { survive: draw_survive(rng), down_ns: below_power(rng, 16, 26), pending: rng.chance(1, 3) };
        let after_ns = below_power(rng, 8, 22);
        let at_ns = (setup.horizon_ns / 5 + rng.below(setup.horizon_ns)).min(setup.horizon_ns);
        if rng.chance(1, 4) {
            // The others have to go on without the one that has what was lost.
            let election_ns = nanos(setup.settings.raft.election_timeout_max);
            let (duration_ns, pick) = (election_ns * rng.between(4, 12), number(rng));
            setup.plan.blows.push(Blow { at_ns, duration_ns, kind: BlowKind::IsolateLeader, pick, nth: 0, on: None });
        }
        if rng.chance(1, 6) {
            // All that it has of the ledger.
            setup.plan.faults.push(Fault { at_ns, duration_ns: 0, host, action: Action::LoseSnapshots });
            setup.plan.faults.push(Fault { at_ns: at_ns + after_ns, duration_ns: 0, host, action: crash });
        } else if rng.chance(1, 3) {
            let point =
                *pick(rng, &[Point::Matching, Point::Voting, Point::Leading, Point::Committing, Point::BootRead]);
            let nth = u32::try_from(1 + below_power(rng, 0, 6)).expect("small");
            plan_trigger(setup, Trigger { point, nth, host, delay_ns: 0, duration_ns: 0, action });
            plan_trigger(setup, Trigger { point, nth, host, delay_ns: after_ns, duration_ns: 0, action: crash });
        } else {
            setup.plan.faults.push(Fault { at_ns, duration_ns: 0, host, action });
            setup.plan.faults.push(Fault { at_ns: at_ns + after_ns, duration_ns: 0, host, action: crash });
        }
    }
    if rng.chance(1, 3) && setup.voters >= 3 {
        draw_gap(setup, rng);
    }
    setup.plan.faults.sort_by_key(|fault| fault.at_ns);
    setup.class = PlanClass::Damage;
    // Which of those who are left could go on is another question in such runs.
    setup.core_only = false;
}

/// One voter does not hear of the newest entries, one that has them loses what its disk has of them, and then whoever else
/// has them is cut off: those two must not go on without.
fn draw_gap(setup: &mut GroupSetup, rng: &mut Rng) {
    let election_ns = nanos(setup.settings.raft.election_timeout_max);
    let voters = setup.voters;
    let loser = u32::try_from(rng.below(u64::from(voters))).expect("few hosts");
    let node = (loser + u32::try_from(rng.between(1, u64::from(voters) - 1)).expect("few hosts")) % voters;
    let at_ns = setup.horizon_ns / 5 + rng.below(setup.horizon_ns * 3 / 5);
    let before_ns = (election_ns * rng.between(1, 3)).min(at_ns);
    let (kind, pick) = (BlowKind::IsolateLeader, number(rng));
    setup.plan.net.push(NetStrike {
        at_ns: at_ns - before_ns,
        duration_ns: before_ns,
        fault: NetFault::Isolate { node },
    });
    setup.plan.net.sort_by_key(|strike| strike.at_ns);
    let duration_ns = election_ns * rng.between(6, 12);
    setup.plan.blows.push(Blow { at_ns, duration_ns, kind, pick, nth: 0, on: None });
    for _ in 0..3 {
        let action = Action::BitRot { target: FileClass::Journal };
        setup.plan.faults.push(Fault { at_ns, duration_ns: 0, host: loser, action });
    }
    let action = Action::Crash { survive: draw_survive(rng), down_ns: below_power(rng, 16, 22), pending: false };
    setup.plan.faults.push(Fault { at_ns: at_ns + 1, duration_ns: 0, host: loser, action });
}

fn plan_trigger(setup: &mut GroupSetup, trigger: Trigger) {
    setup.plan.triggers.push(trigger);
}
