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
            let nth = u32::try_from(1 + below_power(rng, 1, 7)).expect("a small number");
            let delay_ns = if rng.chance(1, 2) { 0 } else { rng.below(MILLISECOND) };
            plan.triggers.push(Trigger { point: draw_point(rng), nth, host: 0, delay_ns, duration_ns, action });
        } else {
            let at_ns = draw_time(rng, kind, horizon_ns);
            plan.faults.push(Fault { at_ns, duration_ns, host: 0, action });
        }
    }
    plan.faults.sort_by_key(|fault| fault.at_ns);
    plan
}

/// Damage of the journal ends most of what a run can show, so it comes late.
fn draw_time(rng: &mut Rng, kind: FaultKind, horizon_ns: u64) -> u64 {
    let first = if DAMAGING.contains(&kind) && rng.chance(1, 2) { horizon_ns / 2 } else { 0 };
    rng.between(first, horizon_ns)
}

fn draw_weights(rng: &mut Rng, class: PlanClass, single: bool) -> Vec<(FaultKind, u64)> {
    let allowed: Vec<FaultKind> =
        FaultKind::ALL.into_iter().filter(|kind| class == PlanClass::Damage || !DAMAGING.contains(kind)).collect();
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
    if class == PlanClass::Damage && !weights.iter().any(|(kind, _)| DAMAGING.contains(kind)) {
        weights.push((FaultKind::JournalRot, rng.between(50, 100)));
    }
    weights
}

fn pick_weighted(rng: &mut Rng, weights: &[(FaultKind, u64)]) -> FaultKind {
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

fn draw_survive(rng: &mut Rng) -> Survive {
    match rng.below(10) {
        0 => Survive::All,
        1 => Survive::None,
        2..=6 => Survive::Random,
        _ => Survive::Prefix,
    }
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
        FaultKind::VolumeRot => at_once(Action::BitRot { target: FileClass::Volume }),
        FaultKind::JournalRot => {
            let target = if rng.chance(1, 4) { FileClass::Slot } else { FileClass::Journal };
            at_once(Action::BitRot { target })
        }
        FaultKind::LatentError => {
            let journal = class == PlanClass::Damage && rng.chance(1, 4);
            at_once(Action::LatentError { target: if journal { FileClass::Journal } else { FileClass::Volume } })
        }
        FaultKind::Misdirect => at_once(Action::Misdirect),
        FaultKind::FailSync => at_once(Action::FailSync { target: draw_written_class(rng) }),
        FaultKind::FailAppend => at_once(Action::FailAppend { target: draw_written_class(rng) }),
        FaultKind::DiskFull => (Action::DiskFull, rng.between(MILLISECOND, 40 * MILLISECOND)),
        FaultKind::Slow => (Action::Slow { factor: rng.between(3, 60) }, rng.between(MILLISECOND, 60 * MILLISECOND)),
        FaultKind::LostFile => {
            let journal = class == PlanClass::Damage && rng.chance(1, 4);
            let target = if journal { FileClass::Journal } else { FileClass::Volume };
            at_once(if rng.chance(1, 2) { Action::Shorten { target } } else { Action::LoseFile { target } })
        }
    }
}

fn draw_point(rng: &mut Rng) -> Point {
    let file = draw_written_class(rng);
    match rng.below(12) {
        0 => Point::Serving,
        1 => Point::Settled,
        2 => Point::Created { file },
        3 => Point::Sealed { file },
        4 | 5 => Point::Appending { file },
        6 | 7 => Point::Syncing { file },
        8 | 9 => Point::Synced { file },
        10 => Point::Publishing,
        _ => Point::BootRead,
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
                    | Action::LoseFile { target } if *target != FileClass::Volume
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
