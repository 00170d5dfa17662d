//! OLD: a member comes back with an old copy of its disk, or with an empty one, while those are there who remember more of
//! it (rule R4). It has to be refused, however often it is started.

use dps_core::id::NodeId;

use super::check::quorum::has_majority;
use super::member::Member;
use super::phases::{come_to_rest, is_sound, living};
use super::setup::node_id;
use super::world::World;
use crate::disk::{DiskCopy, Survive};
use crate::plan::PlanClass;

/// Simulated time within which it must be refused.
const BOUND_NS: u64 = 20_000_000_000;

/// So many starts in a row must be refused.
const STARTS: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An empty disk.
    Empty,
    /// A copy from before a start that the others know.
    Earlier,
    /// A copy from the present start, which has acknowledged more since.
    Same,
}

/// What somebody has kept.
#[derive(Debug)]
pub(super) struct Kept {
    host: u32,
    kind: Kind,
    copy: DiskCopy,
    incarnation: u64,
}

/// A member other than the leader that a group at rest does not need.
fn choose<M: Member>(world: &mut World<M>) -> Option<u32> {
    let (leader, mut members) = living(world)?;
    let membership = world.hosts[leader as usize].member.as_ref().and_then(Member::look)?.raft.membership().clone();
    members.retain(|host| *host != leader);
    let all = members.clone();
    members.retain(|host| {
        let lives = |node: &NodeId| {
            *node != node_id(*host) && (*node == node_id(leader) || all.iter().any(|other| node_id(*other) == *node))
        };
        has_majority(&membership, lives)
    });
    let turn = usize::try_from(world.luck.below(members.len().max(1) as u64)).expect("few hosts");
    members.get(turn).copied()
}

/// Somebody copies the disk of a member, in some runs. `None` also if none can be done without.
pub(super) fn keep<M: Member>(world: &mut World<M>) -> Option<Kept> {
    if world.setup.class != PlanClass::Within || !world.luck.chance(1, 3) || !is_sound(world) {
        return None;
    }
    let host = choose(world)?;
    let kind = [Kind::Empty, Kind::Earlier, Kind::Same][usize::try_from(world.luck.below(3)).expect("below three")];
    let there = &world.hosts[host as usize];
    if kind == Kind::Same && there.disk.is_write_pending() {
        // A log that a snapshot takes the place of says that it may have lost something, and is not judged by its end.
        return None;
    }
    let (copy, incarnation) =
        (if kind == Kind::Empty { DiskCopy::default() } else { there.disk.copy() }, there.incarnation);
    if kind == Kind::Earlier {
        world.lose_power(host, Survive::None);
        world.went_down(host, 1_000_000);
        if !come_to_rest(world, "the group does not come to rest after a member was started") {
            return None;
        }
    }
    Some(Kept { host, kind, copy, incarnation })
}

/// The member starts with what was kept. Where nothing but memory tells, the others go on; else they may start as well.
pub(super) fn comes_back<M: Member>(world: &mut World<M>, kept: Option<Kept>) -> bool {
    let Some(Kept { host, kind, copy, incarnation }) = kept else { return true };
    let Some((leader, members)) = living(world) else { return true };
    let is_same = world.hosts[host as usize].incarnation == incarnation;
    if leader == host || !members.contains(&host) || (kind == Kind::Same) != is_same && kind != Kind::Empty {
        return true;
    }
    if kind != Kind::Same && world.luck.chance(1, 2) {
        for other in members.into_iter().filter(|member| *member != host) {
            world.lose_power(other, Survive::None);
            world.went_down(other, 1_000_000);
        }
        world.rows.add("witnesses started again");
    }
    world.lose_power(host, Survive::None);
    world.host(host).disk.replace(copy);
    world.trace.world(world.at, host, &kind, incarnation);
    world.went_down(host, 1_000_000);
    let end = world.at + BOUND_NS;
    while world.hosts[host as usize].refusals < STARTS && world.next_at().is_some_and(|at| at <= end) && is_sound(world)
    {
        world.advance();
    }
    let refusals = world.hosts[host as usize].refusals;
    if refusals < STARTS && is_sound(world) {
        let text =
            format!("host {host} came back with an old disk ({kind:?}), and {refusals} starts of it were refused");
        world.findings.correctness("OLD", world.at, text);
    }
    world.rows.add("old disks found out");
    world.bury(host);
    is_sound(world) && come_to_rest(world, "the group does not come to rest after a member had an old disk")
}
