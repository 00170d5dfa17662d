//! What the scenario `reclaim` draws on top of a plan, from a stream of its own: failures at the writes that only
//! collections make, and crashes at their most delicate points.

use dps_core::rng::Rng;

use super::{Action, Fault, Plan, Point, Trigger};
use crate::disk::{FileClass, Survive};
use crate::draws::{below_power, pick};

const MILLISECOND: u64 = 1_000_000;

/// Adds to a plan that is not empty, in two of three runs.
pub(crate) fn add(rng: &mut Rng, horizon_ns: u64, plan: &mut Plan) {
    if *plan == Plan::default() || rng.chance(1, 3) {
        return;
    }
    for _ in 0..rng.between(1, 8) {
        let action = draw_action(rng);
        let (host, duration_ns) = (0, 0);
        if rng.chance(1, 2) {
            plan.faults.push(Fault { at_ns: rng.between(0, horizon_ns), duration_ns, host, action });
        } else {
            let point = draw_point(rng);
            let nth = u32::try_from(1 + below_power(rng, 1, 5)).expect("a small number");
            let delay_ns = if rng.chance(1, 2) { 0 } else { rng.below(MILLISECOND) };
            plan.triggers.push(Trigger { point, nth, host, delay_ns, duration_ns, action });
        }
    }
    plan.faults.sort_by_key(|fault| fault.at_ns);
    // Collections free space, so that a disk which is full at any time is rarely full in the middle of one.
    if rng.chance(1, 4) {
        let point = *pick(rng, &[Point::Removing, Point::Publishing]);
        let nth = u32::try_from(1 + below_power(rng, 1, 3)).expect("a small number");
        let duration_ns = rng.between(MILLISECOND, 20 * MILLISECOND);
        plan.triggers.push(Trigger { point, nth, host: 0, delay_ns: 0, duration_ns, action: Action::DiskFull });
    }
}

fn draw_action(rng: &mut Rng) -> Action {
    match rng.below(8) {
        0 | 1 => Action::FailRemove,
        2 => Action::FailSync { target: FileClass::Slot },
        3 => Action::FailAppend { target: FileClass::Slot },
        4 | 5 => Action::NoSpace { target: *pick(rng, &[FileClass::Slot, FileClass::Journal, FileClass::Volume]) },
        _ => {
            let survive = *pick(rng, &[Survive::None, Survive::Random, Survive::Prefix]);
            Action::Crash { survive, down_ns: rng.between(1_000, MILLISECOND), pending: false }
        }
    }
}

fn draw_point(rng: &mut Rng) -> Point {
    match rng.below(8) {
        0..=2 => Point::Removing,
        3 | 4 => Point::Publishing,
        5 => Point::BootRead,
        6 => Point::Reading,
        _ => Point::Sealed { file: FileClass::Volume },
    }
}
