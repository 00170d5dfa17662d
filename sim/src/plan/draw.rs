//! Draws plans by swarm: a random subset of the kinds with random weights, so that rare combinations come up as often
//! as common ones. One plan in ten has no fault at all, one in ten a single kind.

use dps_core::rng::Rng;

use super::{Action, Fault, FaultKind, Plan, Point, Trigger};
use crate::disk::{FileClass, Survive};
use crate::draws::{below_power, pick};

/// What a plan may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanClass {
    /// Nothing acknowledged may be lost, but chunks whose volume was damaged.
    Within,
    /// The journal and one boot record may be damaged too: then the store must say so.
    Damage,
}

const MILLISECOND: u64 = 1_000_000;

/// Kinds that only the class `Damage` may draw.
const DAMAGING: [FaultKind; 1] = [FaultKind::JournalRot];

/// Kinds that a node meets as soon as it reads: triggers strike them there more often.
const BESIDE_READS: [FaultKind; 3] = [FaultKind::JournalRot, FaultKind::VolumeRot, FaultKind::LatentError];

/// Draws a plan for one host that runs for about `horizon_ns`.
pub(crate) fn draw(rng: &mut Rng, class: PlanClass, horizon_ns: u64) -> Plan {
    let dice = rng.below(10);
    if dice == 0 && class == PlanClass::Within {
        return Plan::default();
    }
    let weights = draw_weights(rng, class, dice == 1);
    let count = match rng.below(3) {
        0 => rng.between(1, 4),
        1 => rng.between(4, 12),
        _ => rng.between(12, 30),
    };
    let mut plan = Plan::default();
    for _ in 0..count {
        let kind = pick_weighted(rng, &weights);
        let (action, duration_ns) = draw_action(rng, kind, class);
        if rng.chance(2, 5) {
            let beside = BESIDE_READS.contains(&kind) && rng.chance(2, 3);
            let point = if beside { *pick(rng, &[Point::BootRead, Point::Reading]) } else { draw_point(rng) };
            let nth = u32::try_from(1 + below_power(rng, 1, rarity(point))).expect("a small number");
            let delay_ns = if rng.chance(1, 2) { 0 } else { rng.below(MILLISECOND) };
            plan.triggers.push(Trigger { point, nth, host: 0, delay_ns, duration_ns, action });
        } else {
            let at_ns = draw_time(rng, kind, horizon_ns);
            // Damage shows at a start, and what it means depends on how much was written since.
            if DAMAGING.contains(&kind) && rng.chance(1, 2) {
                let crash = draw_action(rng, FaultKind::Crash, class).0;
                let at_ns = at_ns + below_power(rng, 12, 23);
                plan.faults.push(Fault { at_ns, duration_ns: 0, host: 0, action: crash });
            }
            plan.faults.push(Fault { at_ns, duration_ns, host: 0, action });
        }
    }
    if weights.iter().any(|(kind, _)| *kind == FaultKind::Crash) && rng.chance(2, 3) {
        draw_storm(rng, horizon_ns, &mut plan);
    }
    plan.faults.sort_by_key(|fault| fault.at_ns);
    plan
}

/// The power goes again and again, mostly before the store has come to rest: each start finds what the one before it left
/// half done.
fn draw_storm(rng: &mut Rng, horizon_ns: u64, plan: &mut Plan) {
    let mut at_ns = rng.between(0, horizon_ns);
    for _ in 0..rng.between(3, 8) {
        // Mostly with torn writes: their remains are what later starts must not be taken in by.
        let survive = if rng.chance(2, 3) { Survive::Random } else { draw_survive(rng) };
        let action = Action::Crash { survive, down_ns: rng.between(1_000, 50_000), pending: true };
        plan.faults.push(Fault { at_ns, duration_ns: 0, host: 0, action });
        at_ns += below_power(rng, 16, 24);
    }
}

/// How often a point is reached in a run, as a power of two.
pub(crate) const fn rarity(point: Point) -> u64 {
    match point {
        Point::Serving | Point::Publishing | Point::Removing => 3,
        Point::Settled | Point::Created { .. } | Point::Sealed { .. } => 5,
        Point::Standing
        | Point::Voting
        | Point::Leading
        | Point::Truncating
        | Point::Compacting
        | Point::Restoring
        | Point::HandingOver
        | Point::Snapshotting
        | Point::Doubting
        | Point::Changing => 3,
        Point::Appending { .. }
        | Point::Syncing { .. }
        | Point::Synced { .. }
        | Point::BootRead
        | Point::Reading
        | Point::Matching
        | Point::Replicating
        | Point::Committing => 7,
    }
}

/// Damage of the journal ends most of what a run can show, so it comes late.
fn draw_time(rng: &mut Rng, kind: FaultKind, horizon_ns: u64) -> u64 {
    let first = if DAMAGING.contains(&kind) && rng.chance(1, 2) { horizon_ns / 2 } else { 0 };
    rng.between(first, horizon_ns)
}

fn draw_weights(rng: &mut Rng, class: PlanClass, single: bool) -> Vec<(FaultKind, u64)> {
    let allowed: Vec<FaultKind> =
        FaultKind::ALL.into_iter().filter(|kind| !DAMAGING.contains(kind) && !kind.is_of_reclaim()).collect();
    if single {
        let drawn = *pick(rng, &allowed);
        return vec![(if class == PlanClass::Damage { FaultKind::JournalRot } else { drawn }, 1)];
    }
    let mut weights: Vec<(FaultKind, u64)> = Vec::new();
    let share = rng.between(2, 9);
    for kind in allowed {
        if rng.chance(share, 10) {
            weights.push((kind, rng.between(1, 100)));
        }
    }
    // A run without restarts tells little of durability; most have them whatever else is drawn.
    if weights.is_empty() || rng.chance(2, 3) {
        weights.push((FaultKind::Crash, rng.between(20, 100)));
    }
    if class == PlanClass::Damage {
        weights.push((FaultKind::JournalRot, rng.between(50, 200)));
    }
    weights
}

pub(crate) fn pick_weighted(rng: &mut Rng, weights: &[(FaultKind, u64)]) -> FaultKind {
    let mut left = rng.below(weights.iter().map(|(_, weight)| weight).sum());
    for (kind, weight) in weights {
        if left < *weight {
            return *kind;
        }
        left -= weight;
    }
    unreachable!("a draw below the sum of all weights falls on one of them")
}

fn draw_down(rng: &mut Rng) -> u64 {
    if rng.chance(1, 4) { rng.between(1_000, 50_000) } else { rng.between(MILLISECOND / 10, 20 * MILLISECOND) }
}

pub(crate) fn draw_survive(rng: &mut Rng) -> Survive {
    match rng.below(10) {
        0 => Survive::All,
        1 => Survive::None,
        2..=6 => Survive::Random,
        _ => Survive::Prefix,
    }
}

/// Volumes, and what a start may read instead of them.
fn draw_chunks_class(rng: &mut Rng) -> FileClass {
    if rng.chance(1, 4) { FileClass::Spare } else { FileClass::Volume }
}

fn draw_written_class(rng: &mut Rng) -> FileClass {
    if rng.chance(1, 2) { FileClass::Journal } else { FileClass::Volume }
}

fn draw_action(rng: &mut Rng, kind: FaultKind, class: PlanClass) -> (Action, u64) {
    let at_once = |action| (action, 0);
    match kind {
        FaultKind::Crash => {
            // While a write is pending a crash is worth ten others.
            let pending = rng.chance(10, 11);
            at_once(Action::Crash { survive: draw_survive(rng), down_ns: draw_down(rng), pending })
        }
        FaultKind::Kill => at_once(Action::Kill { down_ns: draw_down(rng) }),
        FaultKind::Close => at_once(Action::Close { down_ns: draw_down(rng) }),
        FaultKind::Pause => (Action::Pause, rng.between(MILLISECOND, 50 * MILLISECOND)),
        FaultKind::WallJump => {
            let by_ns = below_power(rng, 20, 55);
            at_once(Action::WallJump { forwards: rng.chance(1, 2), by_ns })
        }
        FaultKind::VolumeRot => at_once(Action::BitRot { target: draw_chunks_class(rng) }),
        FaultKind::JournalRot => {
            let target = if rng.chance(1, 2) { FileClass::Slot } else { FileClass::Journal };
            at_once(Action::BitRot { target })
        }
        FaultKind::LatentError => {
            let journal = class == PlanClass::Damage && rng.chance(1, 4);
            at_once(Action::LatentError { target: if journal { FileClass::Journal } else { draw_chunks_class(rng) } })
        }
        FaultKind::Misdirect => at_once(Action::Misdirect),
        FaultKind::FailSync => at_once(Action::FailSync { target: draw_written_class(rng) }),
        FaultKind::FailSlot | FaultKind::FailRemove | FaultKind::NoSpace => {
            unreachable!("{kind:?} is drawn for one scenario alone")
        }
        FaultKind::FailAppend => at_once(Action::FailAppend { target: draw_written_class(rng) }),
        FaultKind::DiskFull => (Action::DiskFull, rng.between(MILLISECOND, 40 * MILLISECOND)),
        FaultKind::Slow => (Action::Slow { factor: rng.between(3, 60) }, rng.between(MILLISECOND, 60 * MILLISECOND)),
        FaultKind::LostFile => {
            let journal = class == PlanClass::Damage && rng.chance(1, 4);
            let target = if journal { FileClass::Journal } else { draw_chunks_class(rng) };
            at_once(if rng.chance(1, 2) { Action::Shorten { target } } else { Action::LoseFile { target } })
        }
    }
}

fn draw_point(rng: &mut Rng) -> Point {
    let file = draw_written_class(rng);
    match rng.below(15) {
        0 => Point::Serving,
        1 => Point::Settled,
        2 => Point::Created { file },
        3 => Point::Sealed { file },
        4 | 5 => Point::Appending { file },
        6 | 7 => Point::Syncing { file },
        8 | 9 => Point::Synced { file },
        10 => Point::Publishing,
        11 | 12 => Point::BootRead,
        _ => Point::Reading,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dps_core::rng::Seed;

    fn drawn(number: u64, class: PlanClass) -> Plan {
        draw(&mut Seed::new([3; 32]).split("plan", number).rng(), class, 1_000 * MILLISECOND)
    }

    #[test]
    fn every_plan_survives_its_text() {
        for number in 0..200 {
            for class in [PlanClass::Within, PlanClass::Damage] {
                let plan = drawn(number, class);
                assert_eq!(Plan::parse(&plan.to_toml()).unwrap(), plan);
                assert_eq!(Plan::parse(&serde_json::to_string(&plan).unwrap()).unwrap(), plan);
            }
        }
    }

    #[test]
    fn what_a_scenario_adds_survives_its_text_and_leaves_calm_plans_calm() {
        let (mut added, mut rng) = (0, Seed::new([4; 32]).rng());
        for number in 0..200 {
            let before = drawn(number, PlanClass::Within);
            let mut plan = before.clone();
            super::super::reclaim::add(&mut rng, 1_000 * MILLISECOND, &mut plan);
            assert_eq!(Plan::parse(&plan.to_toml()).unwrap(), plan);
            assert!(before != Plan::default() || plan == before);
            assert!(plan.faults.is_sorted_by_key(|fault| fault.at_ns));
            added += usize::from(plan != before);
        }
        assert!(added > 80, "{added} of 200 plans got more");
    }

    #[test]
    fn a_misspelt_plan_is_refused() {
        for text in ["[[fault]]\nat_ns = 1", "[[fault]]\nat_ns = 1\naction = { kind = \"explode\" }", "{\"fault\": 3}"]
        {
            assert!(Plan::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_damage_class_touches_the_journal_and_boot_records() {
        let touches = |action: &Action| {
            matches!(
                action,
                Action::BitRot { target } | Action::LatentError { target } | Action::Shorten { target }
                    | Action::LoseFile { target } if !matches!(target, FileClass::Volume | FileClass::Spare)
            )
        };
        let count = |class| {
            (0..300).filter(move |number| {
                let plan = drawn(*number, class);
                plan.faults.iter().map(|fault| &fault.action).any(touches)
                    || plan.triggers.iter().map(|trigger| &trigger.action).any(touches)
            })
        };
        assert_eq!(count(PlanClass::Within).count(), 0);
        assert!(count(PlanClass::Damage).count() > 150);
    }

    #[test]
    fn the_swarm_draws_empty_and_single_kind_plans() {
        let plans: Vec<Plan> = (0..400).map(|number| drawn(number, PlanClass::Within)).collect();
        let kinds = |plan: &Plan| {
            let fixed = plan.faults.iter().map(|fault| fault.action.kind());
            let triggered = plan.triggers.iter().map(|trigger| trigger.action.kind());
            fixed.chain(triggered).collect::<std::collections::BTreeSet<_>>().len()
        };
        let empty = plans.iter().filter(|plan| kinds(plan) == 0).count();
        assert!((20..70).contains(&empty), "{empty} of 400 plans are empty");
        assert!(plans.iter().filter(|plan| kinds(plan) == 1).count() > 20);
        assert!(plans.iter().filter(|plan| kinds(plan) > 5).count() > 40);
    }
}
