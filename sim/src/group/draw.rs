//! Draws what goes wrong in a run of a group: a random subset of the kinds, with random weights.

use dps_core::rng::Rng;

use crate::disk::FileClass;
use crate::draws::{below_power, pick};
use crate::net::{Intensity, draw_net_faults};
use crate::plan::draw::{draw_survive, pick_weighted, rarity};
use crate::plan::{ANY_HOST, Action, Fault, FaultKind, Plan, Point, Trigger, Wish, WishKind};

const MILLISECOND: u64 = 1_000_000;

/// What a plan is drawn for.
pub(crate) struct Ground {
    pub(crate) voters: u32,
    pub(crate) hosts: u32,
    pub(crate) horizon_ns: u64,
    /// The longest patience of a follower.
    pub(crate) election_ns: u64,
}

/// Kinds that take nothing durable away.
pub(super) const KINDS: [FaultKind; 11] = [
    FaultKind::Crash,
    FaultKind::Kill,
    FaultKind::Close,
    FaultKind::Pause,
    FaultKind::WallJump,
    FaultKind::FailSync,
    FaultKind::FailAppend,
    FaultKind::FailSlot,
    FaultKind::NoSpace,
    FaultKind::DiskFull,
    FaultKind::Slow,
];

/// Draws a plan.
pub(crate) fn draw(rng: &mut Rng, ground: &Ground) -> Plan {
    let mut plan = Plan::default();
    let dice = rng.below(12);
    if dice > 0 && dice != 2 {
        let intensity = *pick(rng, &[Intensity::Rare, Intensity::Medium, Intensity::Medium, Intensity::Storm]);
        plan.net = draw_net_faults(rng, ground.hosts, ground.horizon_ns, intensity);
    }
    if dice > 1 {
        draw_faults(rng, ground, &mut plan);
    }
    if rng.chance(3, 5) {
        draw_wishes(rng, ground, &mut plan);
    }
    plan.faults.sort_by_key(|fault| fault.at_ns);
    plan
}

fn draw_faults(rng: &mut Rng, ground: &Ground, plan: &mut Plan) {
    let share = rng.between(2, 9);
    let mut weights: Vec<(FaultKind, u64)> = Vec::new();
    for kind in KINDS {
        if rng.chance(share, 10) {
            weights.push((kind, rng.between(1, 40)));
        }
    }
    if weights.is_empty() || rng.chance(3, 4) {
        weights.push((FaultKind::Crash, rng.between(20, 100)));
    }
    let count = match rng.below(3) {
        0 => rng.between(1, 4),
        1 => rng.between(4, 12),
        _ => rng.between(12, 30),
    };
    for _ in 0..count {
        let kind = pick_weighted(rng, &weights);
        let host = draw_host(rng, ground);
        let (action, duration_ns) = draw_action(rng, kind, ground);
        if rng.chance(1, 2) {
            let point = draw_point(rng);
            let nth = u32::try_from(1 + below_power(rng, 0, rarity(point))).expect("a small number");
            // Mostly at once, which is before whatever the member is about to do.
            let delay_ns = if rng.chance(2, 3) { 0 } else { rng.below(2 * MILLISECOND) };
            plan.triggers.push(Trigger { point, nth, host, delay_ns, duration_ns, action });
        } else {
            let at_ns = rng.below(ground.horizon_ns);
            plan.faults.push(Fault { at_ns, duration_ns, host, action });
        }
    }
    if rng.chance(1, 3) {
        draw_storm(rng, ground, plan);
    }
}

/// Adds faults that strike whoever does something that is over soon, each kind as often as any other.
pub(super) fn draw_ambushes(rng: &mut Rng, ground: &Ground, plan: &mut Plan) {
    for _ in 0..rng.between(2, 6) {
        let kind = *pick(rng, &KINDS);
        let (action, duration_ns) = draw_action(rng, kind, ground);
        let point = *pick(
            rng,
            &[
                Point::Standing,
                Point::Leading,
                Point::Changing,
                Point::HandingOver,
                Point::HandingOver,
                Point::Doubting,
                Point::Doubting,
                Point::Publishing,
                Point::Serving,
                Point::BootRead,
            ],
        );
        let nth = u32::try_from(1 + below_power(rng, 0, 3)).expect("a small number");
        plan.triggers.push(Trigger { point, nth, host: ANY_HOST, delay_ns: 0, duration_ns, action });
    }
}

/// Adds a fault of almost every kind, each at the next time that anybody hands over or writes to a snapshot: both are over
/// soon, and faults that are drawn for any time hardly ever meet them.
pub(super) fn draw_parade(rng: &mut Rng, ground: &Ground, plan: &mut Plan) {
    let point = *pick(rng, &[Point::HandingOver, Point::Snapshotting]);
    let mut kinds = KINDS.to_vec();
    let mut nth = 0;
    while !kinds.is_empty() {
        let index = usize::try_from(rng.below(kinds.len() as u64)).expect("few kinds");
        let kind = kinds.swap_remove(index);
        nth += match point {
            Point::HandingOver => u32::from(rng.chance(2, 3)).max(u32::from(nth == 0)),
            _ => u32::try_from(rng.between(1, 6)).expect("small"),
        };
        let (action, duration_ns) = draw_action(rng, kind, ground);
        plan.triggers.push(Trigger { point, nth, host: ANY_HOST, delay_ns: 0, duration_ns, action });
    }
    if point == Point::HandingOver {
        for _ in 0..20 {
            let pick = u32::try_from(rng.below(1 << 20)).expect("small");
            plan.wishes.push(Wish { at_ns: rng.below(ground.horizon_ns), kind: WishKind::Transfer, pick });
        }
        plan.wishes.sort_by_key(|wish| wish.at_ns);
    }
}

/// Many hosts lose power shortly after each other, perhaps all at one time.
fn draw_storm(rng: &mut Rng, ground: &Ground, plan: &mut Plan) {
    let mut at_ns = rng.below(ground.horizon_ns);
    let spread_ns = if rng.chance(1, 3) { 1 } else { below_power(rng, 16, 25) + 1 };
    for _ in 0..rng.between(2, 3 * u64::from(ground.hosts)) {
        let action =
            Action::Crash { survive: draw_survive(rng), down_ns: draw_down(rng, ground), pending: rng.chance(1, 3) };
        plan.faults.push(Fault { at_ns, duration_ns: 0, host: draw_host(rng, ground), action });
        at_ns += rng.below(spread_ns);
    }
}

fn draw_wishes(rng: &mut Rng, ground: &Ground, plan: &mut Plan) {
    let weights: Vec<(WishKind, u64)> = WishKind::ALL.iter().map(|kind| (*kind, rng.between(1, 50))).collect();
    let total: u64 = weights.iter().map(|(_, weight)| weight).sum();
    for _ in 0..rng.between(1, 25) {
        let mut left = rng.below(total);
        let kind = weights.iter().find(|(_, weight)| {
            let found = left < *weight;
            left = left.saturating_sub(*weight);
            found
        });
        let kind = kind.expect("a draw below the sum of all weights falls on one of them").0;
        let pick = u32::try_from(rng.below(1 << 20)).expect("small");
        plan.wishes.push(Wish { at_ns: rng.below(ground.horizon_ns), kind, pick });
    }
    plan.wishes.sort_by_key(|wish| wish.at_ns);
}

/// Voters of the beginning are struck more often than others.
fn draw_host(rng: &mut Rng, ground: &Ground) -> u32 {
    let most = if rng.chance(3, 4) { ground.voters } else { ground.hosts };
    u32::try_from(rng.below(u64::from(most))).expect("below a number of hosts")
}

fn draw_down(rng: &mut Rng, ground: &Ground) -> u64 {
    match rng.below(4) {
        0 => rng.between(1_000, 50_000),
        1 | 2 => rng.between(MILLISECOND / 10, 20 * MILLISECOND),
        _ => rng.below(6 * ground.election_ns),
    }
}

fn draw_class(rng: &mut Rng) -> FileClass {
    if rng.chance(4, 5) { FileClass::Journal } else { FileClass::Slot }
}

fn draw_action(rng: &mut Rng, kind: FaultKind, ground: &Ground) -> (Action, u64) {
    let at_once = |action| (action, 0);
    let down_ns = draw_down(rng, ground);
    match kind {
        FaultKind::Crash => at_once(Action::Crash { survive: draw_survive(rng), down_ns, pending: rng.chance(3, 4) }),
        FaultKind::Kill => at_once(Action::Kill { down_ns }),
        FaultKind::Close => at_once(Action::Close { down_ns }),
        // About as long as another leader needs, or anything.
        FaultKind::Pause if rng.chance(1, 2) => (Action::Pause, ground.election_ns + rng.below(ground.election_ns)),
        FaultKind::Pause => (Action::Pause, rng.below(4 * ground.election_ns)),
        FaultKind::WallJump => {
            at_once(Action::WallJump { forwards: rng.chance(1, 2), by_ns: below_power(rng, 20, 48) })
        }
        FaultKind::FailSync => at_once(Action::FailSync { target: draw_class(rng) }),
        FaultKind::FailAppend => at_once(Action::FailAppend { target: draw_class(rng) }),
        FaultKind::FailSlot => {
            let target = FileClass::Slot;
            at_once(if rng.chance(1, 2) { Action::FailSync { target } } else { Action::FailAppend { target } })
        }
        FaultKind::NoSpace => at_once(Action::NoSpace { target: draw_class(rng) }),
        FaultKind::DiskFull => (Action::DiskFull, rng.between(MILLISECOND, 100 * MILLISECOND)),
        FaultKind::Slow => (Action::Slow { factor: rng.between(3, 100) }, rng.below(8 * ground.election_ns)),
        FaultKind::VolumeRot
        | FaultKind::JournalRot
        | FaultKind::LatentError
        | FaultKind::Misdirect
        | FaultKind::FailRemove
        | FaultKind::LostFile => unreachable!("{kind:?} takes away what is durable"),
    }
}

fn draw_point(rng: &mut Rng) -> Point {
    let file = FileClass::Journal;
    *pick(
        rng,
        &[
            Point::Serving,
            Point::Created { file },
            Point::Appending { file },
            Point::Syncing { file },
            Point::Synced { file },
            Point::Publishing,
            Point::Removing,
            Point::BootRead,
            Point::Reading,
            Point::Standing,
            Point::Voting,
            Point::Voting,
            Point::Leading,
            Point::Leading,
            Point::Matching,
            Point::Matching,
            Point::Replicating,
            Point::Truncating,
            Point::Compacting,
            Point::Restoring,
            Point::Changing,
            Point::Changing,
            Point::Committing,
            Point::Committing,
        ],
    )
}
