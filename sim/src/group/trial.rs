//! Trials of a group that is well, each of something that must not disturb it: a follower that does not hear its
//! leader, a leader that hears nobody, a hand-over to somebody who can't lead, a change of the membership.

use dps_core::raft::membership::Change;
use dps_core::replica::event::Event;

use super::check::memory;
use super::check::quorum::has_majority;
use super::client::{Mode, Ordered};
use super::member::Member;
use super::phases::{come_to_rest, is_in_doubt, is_sound, living, until};
use super::setup::{nanos, node_id};
use super::world::{Item, World};
use crate::net::{Latency, NetFault};
use crate::plan::PlanClass;

/// Nanoseconds after which a question has reached a member.
const ASKED_NS: u64 = 1_000_000;

/// Only where snapshots follow each other so closely, and so few entries stay besides, is it written how logs stay short.
const DISTANCE_MAX: u64 = 12;
const TRAILING_MAX: u64 = 50;

/// Terms that may go by until somebody leads, if the patience of candidates differs as it should.
const TERMS_MAX: u64 = 8;

/// Whether messages are lost so seldom and come so soon that nobody loses patience without cause.
fn is_calm<M: Member>(world: &World<M>) -> bool {
    let (shape, raft) = (&world.setup.shape, &world.setup.settings.raft);
    let least_ns = nanos(raft.election_timeout_min);
    shape.loss_permille == 0
        && shape.corrupt_permille == 0
        && shape.latency.tail_ns * 4 < least_ns
        && world.setup.disk.sync_ns * 8 < least_ns
}

/// The leader, and its voters that are alive besides, if the leader has a majority also without any one of them.
fn leader_with_spare_voters<M: Member>(world: &World<M>) -> Option<(u32, Vec<u32>)> {
    let (leader, members) = living(world)?;
    let membership = world.hosts[leader as usize].member.as_ref().and_then(Member::look)?.raft.membership();
    let voters: Vec<u32> = members
        .into_iter()
        .filter(|host| *host != leader && membership.voters().contains(&node_id(*host)))
        // Who is in doubt votes for nobody.
        .filter(|host| !is_in_doubt(world, &node_id(*host)))
        .collect();
    let first = node_id(*voters.first()?);
    let suffice = |gone| {
        has_majority(membership, |node| {
            *node != gone && (*node == node_id(leader) || voters.iter().any(|host| node_id(*host) == *node))
        })
    };
    (suffice(first) && suffice(node_id(leader))).then_some((leader, voters))
}

/// Lets the world go on for so long.
fn wait<M: Member>(world: &mut World<M>, span_ns: u64) {
    let end = world.at + span_ns;
    while world.next_at().is_some_and(|at| at <= end) && is_sound(world) {
        world.advance();
    }
}

/// A follower does not hear the leader, and is heard by all: nobody is deposed by that (Ongaro 2014, sections 4.2.3 and
/// 9.6). And a leader that hears nobody, and is heard, makes room for another one (section 6.2).
pub(super) fn deafness<M: Member>(world: &mut World<M>) -> bool {
    let election_ns = nanos(world.setup.settings.raft.election_timeout_max);
    if !is_calm(world) {
        return true;
    }
    let Some((leader, voters)) = leader_with_spare_voters(world) else { return true };
    let term_of = |world: &World<M>| {
        living(world).and_then(|(leader, _)| {
            let look = world.hosts[leader as usize].member.as_ref().and_then(Member::look)?;
            Some((leader, look.raft.term()))
        })
    };
    let before = term_of(world);
    let deaf = voters[0];
    let fault = NetFault::PartitionOneWay { from: [leader].into(), to: [deaf].into() };
    world.net.strike(world.at, fault, 8 * election_ns);
    wait(world, 8 * election_ns);
    if term_of(world) != before {
        let text = format!("{before:?} led, and as host {deaf} did not hear it, {:?} does", term_of(world));
        world.findings.liveness("HEAL", world.at, text);
    }
    world.rows.add("trials with a deaf follower");
    if !is_sound(world) || !come_to_rest(world, "the group does not come to rest after a follower was deaf") {
        return false;
    }
    let Some((leader, voters)) = leader_with_spare_voters(world) else { return true };
    let begun = term_of(world);
    // Where everything takes equally long, only patience tells candidates apart.
    let pace = world.luck.chance(1, 2).then(|| march(world));
    let others = (0..world.setup.hosts()).filter(|host| *host != leader).collect();
    world.net.strike(world.at, NetFault::PartitionOneWay { from: others, to: [leader].into() }, 16 * election_ns);
    wait(world, 16 * election_ns - 1);
    let led = voters.iter().any(|host| {
        world.hosts[*host as usize].member.as_ref().and_then(Member::look).is_some_and(|look| look.raft.is_leader())
    });
    if !led {
        let text = format!("host {leader} leads and hears nobody, and nobody else does within {} ns", 16 * election_ns);
        world.findings.liveness("HEAL", world.at, text);
    }
    let rose = term_of(world).map_or(0, |(_, term)| term).saturating_sub(begun.map_or(0, |(_, term)| term));
    if rose > TERMS_MAX {
        let text = format!("{rose} terms went by until somebody else led");
        world.findings.liveness("HEAL", world.at, text);
    }
    world.rows.set_most("terms until another leader", rose);
    world.rows.add("trials with a deaf leader");
    if let Some(pace) = pace {
        world.rows.add("trials in lockstep");
        straggle(world, pace);
    }
    is_sound(world) && come_to_rest(world, "the group does not come to rest after its leader was deaf")
}

/// From now on every message, every request of a kind to a disk and every turn takes equally long. Returns the pace before.
fn march<M: Member>(world: &mut World<M>) -> (Latency, u64) {
    world.hosts.iter_mut().for_each(|there| there.disk.set_steady(true));
    let ns = world.setup.shape.latency.median_ns;
    let latency = world.net.set_latency(Latency { min_ns: ns, median_ns: ns, tail_ns: ns });
    (latency, std::mem::replace(&mut world.setup.turn_ns_max, 1))
}

fn straggle<M: Member>(world: &mut World<M>, (latency, turn_ns_max): (Latency, u64)) {
    world.hosts.iter_mut().for_each(|there| there.disk.set_steady(false));
    world.net.set_latency(latency);
    world.setup.turn_ns_max = turn_ns_max;
}

/// Lets the world go on until this is true; at most for so long. Returns whether it is.
fn wait_for<M: Member, T>(world: &mut World<M>, span_ns: u64, found: impl Fn(&World<M>) -> Option<T>) -> Option<T> {
    let end = world.at + span_ns;
    loop {
        if let Some(it) = found(world) {
            return Some(it);
        }
        if world.next_at().is_none_or(|at| at > end) || !is_sound(world) {
            return None;
        }
        world.advance();
    }
}

/// What was held up arrives, and nothing is cut off any more.
fn reconnect<M: Member>(world: &mut World<M>) {
    world.net.heal(world.at);
    while let Some((from, to, copy)) = world.held.release_any() {
        world.arrives(from, to, copy);
    }
}

/// A leader is cut off until somebody begins a new term, and is back before it gives up; and now that candidate is cut off, so
/// that it is alone with its term. It must find back, although nobody may depose the leader (as etcd's and raft-rs' could not
/// with pre-votes and check-quorum).
pub(super) fn unheard<M: Member>(world: &mut World<M>) -> bool {
    if !is_calm(world) || !world.luck.chance(1, 2) {
        return true;
    }
    let Some((leader, voters)) = leader_with_spare_voters(world) else { return true };
    let Some(term) = term_at(world, leader) else { return true };
    let election_ns = nanos(world.setup.settings.raft.election_timeout_max);
    world.net.strike(world.at, NetFault::Isolate { node: leader }, 4 * election_ns);
    let stands = |world: &World<M>| voters.iter().copied().find(|host| term_at(world, *host) > Some(term));
    let candidate = wait_for(world, 3 * election_ns, stands);
    reconnect(world);
    if let Some(node) = candidate {
        world.net.strike(world.at, NetFault::Isolate { node }, 3 * election_ns);
        wait(world, 3 * election_ns);
        let leads_on = term_at(world, leader) == Some(term);
        world.rows.add(if leads_on { "candidates alone with their term" } else { "candidates cut off" });
    }
    is_sound(world) && come_to_rest(world, "the group does not come to rest after a candidate was cut off")
}

fn term_at<M: Member>(world: &World<M>, host: u32) -> Option<u64> {
    world.hosts[host as usize].member.as_ref().and_then(Member::look).map(|look| look.raft.term())
}

/// A leader does not run while another one is elected and serves, and when it runs again, the first that it hears are reads. It
/// must not answer them by what it has: the answers of others are of before.
pub(super) fn frozen<M: Member>(world: &mut World<M>) -> bool {
    if !is_calm(world) || !world.luck.chance(1, 2) {
        return true;
    }
    let Some((leader, voters)) = leader_with_spare_voters(world) else { return true };
    let election_ns = nanos(world.setup.settings.raft.election_timeout_max);
    let long_ns = 1_000 * election_ns;
    world.host(leader).paused_until = world.at + long_ns;
    world.net.strike(world.at, NetFault::Isolate { node: leader }, long_ns);
    let leads = |world: &World<M>, host: u32| {
        world.hosts[host as usize].member.as_ref().and_then(Member::look).is_some_and(|look| look.raft.is_leader())
    };
    let next = wait_for(world, 16 * election_ns, |world| voters.iter().copied().find(|host| leads(world, *host)));
    if let Some(next) = next {
        world.desk.mode = Mode::Script;
        world.desk.write_script(&[next]);
        world.wake_clients();
        wait_for(world, 16 * election_ns, |world| {
            (world.desk.script.is_empty() && !world.desk.is_busy()).then_some(())
        });
        world.desk.read_script(&[leader]);
        world.wake_clients();
        wait(world, ASKED_NS);
        world.rows.add("leaders that were frozen");
    }
    let incarnation = world.hosts[leader as usize].incarnation;
    world.host(leader).paused_until = 0;
    world.schedule(world.at, Item::Turn { host: leader, incarnation });
    wait(world, ASKED_NS);
    reconnect(world);
    is_sound(world) && come_to_rest(world, "the group does not come to rest after its leader was frozen")
}

/// So much is written that snapshots must be made again and again, by every member: their logs stay short.
pub(super) fn much_is_written<M: Member>(world: &mut World<M>) -> bool {
    let settings = world.setup.settings;
    let Some((leader, members)) = living(world) else { return true };
    let ledger = |world: &World<M>, host: u32| {
        world.hosts[host as usize].member.as_ref().and_then(Member::look).map_or(0, |look| look.ledger.len())
    };
    let (distance, trailing) = (settings.snapshot_distance(ledger(world, leader)), settings.raft.trailing_entries);
    if distance > DISTANCE_MAX || trailing > TRAILING_MAX || world.setup.class != PlanClass::Within {
        return true;
    }
    let before = world.oracle.committed.last();
    world.desk.mode = Mode::Script;
    for _ in 0..(5 * distance + trailing).div_ceil(10) + 4 {
        world.desk.write_script(&members);
    }
    world.wake_clients();
    let written = until(world, "not all is written that snapshots are to be made of", |world| {
        world.desk.script.is_empty() && !world.desk.is_busy()
    });
    if !written || !come_to_rest(world, "the group does not come to rest after much was written") {
        return false;
    }
    wait(world, 20 * nanos(settings.raft.heartbeat_interval));
    let since = world.oracle.committed.last() - before;
    let Some((_, members)) = living(world) else { return true };
    for host in members {
        let Some(look) = world.hosts[host as usize].member.as_ref().and_then(Member::look) else { continue };
        let entries = look.raft.last().index - look.raft.base().index;
        let log = memory::Log { entries, since, ledger: look.ledger.len() };
        memory::check_log(world.at, host, log, &settings, &mut world.findings);
    }
    world.rows.add("logs judged after much was written");
    is_sound(world)
}

/// Somebody shall lead who has no vote: commands go on all the same.
pub(super) fn astray<M: Member>(world: &mut World<M>) -> bool {
    if !world.luck.chance(1, 2) {
        return true;
    }
    let Some((leader, _)) = living(world) else { return true };
    let Some(look) = world.hosts[leader as usize].member.as_ref().and_then(Member::look) else { return true };
    let membership = look.raft.membership();
    let voteless = (0..world.setup.hosts()).map(node_id).find(|node| !membership.is_voter(node));
    let to = voteless.unwrap_or_else(|| node_id(200));
    world.astray = true;
    world.deliver(leader, Event::Transfer { to });
    world.desk.mode = Mode::Script;
    world.desk.write_script(&[leader]);
    world.wake_clients();
    let served = until(world, "commands do not succeed while somebody shall lead who can't", |world| {
        world.desk.script.is_empty() && !world.desk.is_busy()
    });
    world.astray = false;
    world.rows.add("hand-overs astray");
    served && come_to_rest(world, "the group does not come to rest after a hand-over astray")
}

/// The operator wants a change that makes sense, and gets it.
pub(super) fn demand<M: Member>(world: &mut World<M>) {
    if !world.luck.chance(1, 2) {
        return;
    }
    let Some((leader, _)) = living(world) else { return };
    let Some(look) = world.hosts[leader as usize].member.as_ref().and_then(Member::look) else { return };
    let membership = look.raft.membership();
    let learner = membership.learners().iter().next().copied();
    let is_stranger = |host: &u32| !membership.is_member(&node_id(*host));
    let stranger = (0..world.setup.hosts())
        .filter(|host| world.hosts[*host as usize].member.is_some())
        .find(is_stranger)
        .map(node_id);
    let change = learner.map(Change::Remove).or_else(|| stranger.map(Change::AddLearner));
    if let Some(change) = change {
        world.rows.add("changes demanded");
        world.order(leader, Ordered { changes: vec![change], attempts: 0, demanded: true });
    }
}
