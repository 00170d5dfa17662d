//! The phases of a run: faults; then the network heals, and all hosts or a random core of them go on, elect a leader,
//! serve, and come to rest; then the power of all goes, and what was acknowledged is still there.

use dps_core::id::NodeId;
use dps_core::raft::Raft;
use dps_core::raft::entry::Position;
use dps_core::raft::membership::Membership;
use dps_core::replica::event::Event;
use dps_core::rng::Rng;

use super::check::quorum::has_majority;
use super::check::{linear, memory, messages};
use super::client::Mode;
use super::member::Member;
use super::restored;
use super::setup::{host_of, nanos, node_id};
use super::trial;
use super::world::World;
use crate::disk::Survive;
use crate::plan::PlanClass;

/// Simulated time within which everything pending must end once faults stop.
const BOUND_NS: u64 = 20_000_000_000;

/// Events after which a run is taken for one that does not end.
const EVENTS_MAX: u64 = 6_000_000;

/// Runs all phases.
pub(crate) fn run<M: Member>(world: &mut World<M>, rng: &mut Rng) {
    let horizon = world.setup.horizon_ns;
    while world.next_at().is_some_and(|at| at <= horizon) && is_sound(world) {
        world.advance();
    }
    let healed = heal(world, rng) && come_to_rest(world, "the group does not come to rest after the faults");
    look_who_caught_up(world, u64::MAX / 2);
    let kept = if healed { restored::keep(world) } else { None };
    let _ = healed
        && is_sound(world)
        && serve(world)
        && come_to_rest(world, "the group does not come to rest after it served")
        && idle(world)
        && trial::astray(world)
        && trial::deafness(world)
        && trial::unheard(world)
        && trial::frozen(world)
        && restored::comes_back(world, kept)
        && lose_all_power(world)
        && look_back(world)
        && trial::much_is_written(world);
    if is_sound(world) {
        let judged = linear::check(world.at, &world.desk.history, &mut world.findings);
        world.rows.add(if judged { "histories judged" } else { "histories beyond the budget" });
        world.check_conservation();
    }
    for host in 0..world.setup.hosts() {
        let digest = u64::from(world.hosts[host as usize].disk.digest());
        world.trace.world(world.at, host, &"end", digest);
    }
}

/// Whether nothing is wrong so far: after a violation the rest of a run tells nothing.
pub(super) fn is_sound<M: Member>(world: &mut World<M>) -> bool {
    if world.trace.events() > EVENTS_MAX && world.findings.is_empty() {
        world.findings.liveness("HEAL", world.at, format!("the run does not end within {EVENTS_MAX} events"));
    }
    world.findings.is_empty()
}

/// Lets the world go on until something holds. False, and a violation, when it does not within the bound.
pub(super) fn until<M: Member>(world: &mut World<M>, what: &str, holds: impl Fn(&World<M>) -> bool) -> bool {
    let end = world.at + BOUND_NS;
    while !holds(world) {
        if !is_sound(world) {
            return false;
        }
        if world.next_at().is_none_or(|at| at > end) {
            let text = format!("{what} within {} s: {}", BOUND_NS / 1_000_000_000, describe(world));
            world.findings.liveness("HEAL", world.at, text);
            return false;
        }
        world.advance();
    }
    is_sound(world)
}

/// Where every member stands.
fn describe<M: Member>(world: &World<M>) -> String {
    let mut text = String::new();
    for (host, there) in world.hosts.iter().enumerate() {
        let state = match there.member.as_ref().map(Member::look) {
            None => "down".to_owned(),
            Some(None) => "starting".to_owned(),
            Some(Some(look)) => format!(
                "{} term {} last {} commit {} applied {}{}",
                if look.raft.is_leader() { "leads" } else { "follows" },
                look.raft.term(),
                look.raft.last(),
                look.raft.commit(),
                look.applied,
                if look.stopped {
                    " writes nothing"
                } else if look.raft.is_unsettled() {
                    " in doubt"
                } else {
                    ""
                },
            ),
        };
        text.push_str(&format!("\n  host {host}: {state}"));
    }
    for (client, there) in world.desk.clients.iter().enumerate() {
        if let Some(op) = &there.op {
            text.push_str(&format!("\n  client {client} waits since {} attempts for {:?}", op.attempts, op.work));
        }
    }
    if let Some((leader, members)) = living(world) {
        let look = world.hosts[leader as usize].member.as_ref().and_then(Member::look);
        let joint = look.is_some_and(|look| look.raft.membership().is_joint());
        text.push_str(&format!("\n  host {leader} leads {members:?}, joint: {joint}"));
    }
    if !world.open.is_empty() {
        text.push_str(&format!("\n  not answered: {:?}", world.open));
    }
    if !world.desk.orders.is_empty() {
        text.push_str(&format!("\n  the operator waits for {:?}", world.desk.orders));
    }
    text
}

/// Every membership that may be in force: the newest that is committed and all that follow it in any log.
fn memberships<M: Member>(world: &World<M>) -> Vec<Membership> {
    let mut found: Vec<Membership> = vec![world.setup.founders()];
    let mut newest = 0;
    for there in &world.hosts {
        let Some(look) = there.member.as_ref().and_then(Member::look) else { continue };
        if look.raft.commit() > newest {
            newest = look.raft.commit();
            found = Vec::new();
        }
    }
    for there in &world.hosts {
        let Some(look) = there.member.as_ref().and_then(Member::look) else { continue };
        // Whoever knows less of what is committed may have an old membership, and whoever has a longer log a newer one.
        if look.raft.last().index >= newest {
            found.push(look.raft.membership().clone());
        }
        let from = look.raft.base().index + 1;
        for index in from..=look.raft.last().index {
            if let Some(dps_core::raft::entry::Payload::Membership(membership)) =
                look.raft.entry(index).map(|entry| &entry.payload)
            {
                found.push((**membership).clone());
            }
        }
    }
    found
}

/// Faults stop, and all hosts go on, or only a core that has a majority of every membership that may be in force.
fn heal<M: Member>(world: &mut World<M>, rng: &mut Rng) -> bool {
    world.armed = false;
    world.desk.mode = Mode::Quiet;
    // Whoever takes no part any more may never hear what became of a change.
    world.desk.orders.clear();
    world.net.heal(world.at);
    while let Some((from, to, copy)) = world.held.release_any() {
        world.arrives(from, to, copy);
    }
    for host in 0..world.setup.hosts() {
        let there = world.host(host);
        there.disk.heal();
        there.lurking = None;
        there.paused_until = 0;
        let stopped = there.member.as_ref().and_then(Member::look).is_some_and(|look| look.stopped);
        if there.member.is_none() || stopped || there.closing.is_some() || there.disk.is_refusing(false) {
            world.went_down(host, 1_000_000);
        }
    }
    look_who_caught_up(world, world.setup.settings.snapshot_entries);
    let all_serve = |world: &World<M>| {
        world.hosts.iter().zip(0..).all(|(there, host)| {
            there.member.as_ref().and_then(Member::look).is_some() || world.has_lost_its_snapshot(host)
        })
    };
    if !until(world, "not all members have read their disks", all_serve) {
        return false;
    }
    if world.setup.class == PlanClass::Damage && !bury_the_harmed(world) {
        return false;
    }
    if world.setup.core_only {
        let found = memberships(world);
        let mut dead = Vec::new();
        for _ in 0..world.setup.hosts() {
            let host = u32::try_from(rng.below(u64::from(world.setup.hosts()))).expect("few hosts");
            let goes_on = |node: &NodeId| *node != node_id(host) && dead.iter().all(|other| *node != node_id(*other));
            if !dead.contains(&host) && can_elect(world, &found, goes_on) {
                dead.push(host);
            }
        }
        if !dead.is_empty() {
            world.rows.add("runs with a core only");
        }
        for host in dead {
            world.trace.world(world.at, host, &"dead", 0);
            world.bury(host);
        }
    }
    true
}

/// Whoever is up and lacks at most so many entries has caught up, unless more are about to be committed in one go.
fn look_who_caught_up<M: Member>(world: &mut World<M>, behind: u64) {
    let committed = world.oracle.committed.last();
    let looks = world.hosts.iter().filter_map(|there| there.member.as_ref().and_then(Member::look));
    if looks.map(|look| look.raft.last().index).max() > Some(committed + behind) {
        return;
    }
    for there in &mut world.hosts {
        let look = there.member.as_ref().and_then(Member::look);
        if look.is_some_and(|look| look.applied + behind >= committed) {
            there.caught_up_at = there.caught_up_at.or(Some(committed));
        }
    }
}

/// Members that can't go on without help stay down. False if what is left need not be able to go on.
fn bury_the_harmed<M: Member>(world: &mut World<M>) -> bool {
    for host in 0..world.setup.hosts() {
        if world.may_stay_away(host) {
            world.rows.add("members that stay away");
            world.bury(host);
        }
    }
    let lives =
        |node: &NodeId| host_of(*node).and_then(|host| world.hosts.get(host as usize)).is_some_and(|there| !there.dead);
    let goes_on = !world.is_beyond() && can_elect(world, &memberships(world), lives);
    if !goes_on {
        world.rows.add("damaged groups that need not go on");
    }
    goes_on
}

/// Whether those who live can elect a leader, whichever of these memberships is in force. Who does not know what it has
/// lost votes only for a log that has it (rule R2), and who does not know even that votes for nobody.
fn can_elect<M: Member>(world: &World<M>, found: &[Membership], lives: impl Fn(&NodeId) -> bool) -> bool {
    let raft_of = |node: &NodeId| {
        let there = host_of(*node).and_then(|host| world.hosts.get(host as usize));
        there.and_then(|there| there.member.as_ref()).and_then(Member::look).map(|look| look.raft)
    };
    let is_voter = |node: &NodeId| found.iter().all(|membership| membership.is_voter(node));
    let ends = (0..world.setup.hosts()).map(node_id).filter(|node| lives(node) && is_voter(node));
    let can_lead = |raft: &&Raft| raft.elects_from().is_some_and(|floor| floor <= raft.last());
    let longest = ends.filter_map(|node| raft_of(&node)).filter(can_lead).map(Raft::last).max().unwrap_or_default();
    let votes = |node: &NodeId| {
        let floor = raft_of(node).map_or(Some(Position::ZERO), |raft| raft.elects_from());
        lives(node) && floor.is_some_and(|floor| floor <= longest)
    };
    found.iter().all(|membership| has_majority(membership, votes))
}

/// Whether a member does not know what it has lost (rule R2).
pub(super) fn is_in_doubt<M: Member>(world: &World<M>, node: &NodeId) -> bool {
    let there = host_of(*node).and_then(|host| world.hosts.get(host as usize));
    there.and_then(|there| there.member.as_ref()).and_then(Member::look).is_some_and(|look| look.raft.is_unsettled())
}

/// The members that are alive and take part, by the leader's word. `None` unless there is one leader of the newest
/// term.
pub(super) fn living<M: Member>(world: &World<M>) -> Option<(u32, Vec<u32>)> {
    let looks = || {
        world
            .hosts
            .iter()
            .zip(0_u32..)
            .filter_map(|(there, host)| there.member.as_ref().and_then(Member::look).map(|look| (host, look)))
    };
    let (leader, look) = looks()
        .filter(|(host, look)| look.raft.leader() == Some(node_id(*host)))
        .max_by_key(|(_, look)| look.raft.term())?;
    let membership = look.raft.membership();
    let members = looks().map(|(host, _)| host).filter(|host| membership.is_member(&node_id(*host)));
    Some((leader, members.collect()))
}

/// Whether a leader is known to all, nothing is open, and all have the same.
fn is_at_rest<M: Member>(world: &World<M>) -> bool {
    let Some((leader, members)) = living(world) else { return false };
    let look_at = |host: u32| world.hosts[host as usize].member.as_ref().and_then(Member::look);
    let Some(first) = look_at(leader) else { return false };
    let last = first.raft.last();
    !world.desk.is_busy()
        && world.open.values().all(|host| {
            // Whether an entry that a leader replaced will be committed by another one is only known once something
            // else is committed there: a question may wait for that.
            let longest = world.hosts[*host as usize].longest;
            !members.contains(host) || longest > world.oracle.committed.last()
        })
        && !first.raft.membership().is_joint()
        && first.raft.membership().voters().contains(&node_id(leader))
        && world.oracle.committed.is_canonical(last.index, first.ledger)
        && members.iter().all(|host| {
            look_at(*host).is_some_and(|look| {
                look.raft.leader() == first.raft.leader()
                    && (look.raft.last(), look.raft.commit(), look.applied) == (last, last.index, last.index)
                    && (look.ledger.root(), look.ledger.sessions_root())
                        == (first.ledger.root(), first.ledger.sessions_root())
            })
        })
}

pub(super) fn come_to_rest<M: Member>(world: &mut World<M>, what: &str) -> bool {
    world.desk.mode = Mode::Quiet;
    until(world, what, is_at_rest)
}

/// Ten writes and ten reads succeed, at different hosts.
fn serve<M: Member>(world: &mut World<M>) -> bool {
    let Some((leader, members)) = living(world) else { return false };
    // A hand-over to somebody who is gone must not stop the group for ever.
    let look = world.hosts[leader as usize].member.as_ref().and_then(Member::look);
    let voters = look.map(|look| look.raft.membership().voters().clone()).unwrap_or_default();
    let gone = voters.into_iter().find(|node| members.iter().all(|host| node_id(*host) != *node));
    if let Some(to) = gone {
        world.rows.add("hand-overs to who is gone");
        world.deliver(leader, Event::Transfer { to });
    }
    trial::demand(world);
    world.desk.mode = Mode::Script;
    world.desk.write_script(&members);
    world.wake_clients();
    let (begun, messages, committed) = (world.at, world.oracle.messages, world.oracle.committed.last());
    let lag = lag(world, committed);
    let served = until(world, "ten writes and ten reads do not succeed", |world| {
        world.desk.script.is_empty() && !world.desk.is_busy()
    });
    if served {
        world.rows.add("runs judged live");
        // What members lacked is sent to them besides.
        let (messages, committed) = (world.oracle.messages - messages, world.oracle.committed.last() - committed + lag);
        let beats = (world.at - begun) / nanos(world.setup.settings.raft.heartbeat_interval) + 1;
        messages::check_serving(world.at, (messages, committed), beats, world.setup.hosts(), &mut world.findings);
    }
    served
}

/// How many of the committed entries members lack, all together.
fn lag<M: Member>(world: &World<M>, committed: u64) -> u64 {
    let looks = world.hosts.iter().filter_map(|host| host.member.as_ref().and_then(Member::look));
    looks.map(|look| committed.saturating_sub(look.raft.commit())).sum()
}

/// Nobody wants anything for a while.
fn idle<M: Member>(world: &mut World<M>) -> bool {
    let settings = world.setup.settings.raft;
    let Some((_, members)) = living(world) else { return false };
    let (begun, before, strays) = (world.at, world.oracle.messages, world.oracle.for_strangers);
    let end = begun + 20 * nanos(settings.heartbeat_interval);
    while world.next_at().is_some_and(|at| at <= end) && is_sound(world) {
        world.advance();
    }
    let strays = world.oracle.for_strangers - strays;
    if strays > 0 {
        let text =
            format!("leaders have sent {strays} messages to nodes that take no part, long after they were removed");
        world.findings.correctness("MSG", world.at, text);
    }
    // What waits for a disk that is far behind is not left behind.
    let writes = members.iter().any(|host| world.hosts[*host as usize].disk.is_write_pending());
    if is_at_rest(world) && !writes {
        for host in &members {
            let look = world.hosts[*host as usize].member.as_ref().and_then(Member::look).expect("it is alive");
            let is_alive = |node: &NodeId| members.iter().any(|host| node_id(*host) == *node);
            let mut backlog = look.raft.backlog(is_alive);
            // Whoever waits for an entry that was replaced waits until something is committed there.
            if world.hosts[*host as usize].longest > world.oracle.committed.last() {
                backlog.waiting = 0;
            }
            let committed = world.oracle.committed.last();
            let log = memory::Log {
                entries: look.raft.last().index - look.raft.base().index,
                since: committed - world.hosts[*host as usize].caught_up_at.unwrap_or(committed),
                ledger: look.ledger.len(),
            };
            memory::check(world.at, *host, backlog, &mut world.findings);
            memory::check_log(world.at, *host, log, &world.setup.settings, &mut world.findings);
        }
        world.rows.add("backlogs judged");
    }
    let (sent, members) = (world.oracle.messages - before, members.len() as u64);
    // With members that are gone a leader goes on asking.
    let gone = world.hosts.iter().filter(|there| there.dead).count() as u64;
    let strangers = u64::from(world.setup.hosts()) - gone - members;
    messages::check_idle(world.at, end - begun, sent, members + gone, strangers, &settings, &mut world.findings);
    is_sound(world)
}

/// The power of all goes at once, with everything that is not durable.
fn lose_all_power<M: Member>(world: &mut World<M>) -> bool {
    for host in 0..world.setup.hosts() {
        if !world.hosts[host as usize].dead && !world.is_harmed(host) {
            world.lose_power(host, Survive::None);
            world.went_down(host, 1_000_000);
        }
    }
    come_to_rest(world, "the group does not come to rest after the power was gone everywhere")
}

/// Every name means what was acknowledged, and everything that was committed still is.
fn look_back<M: Member>(world: &mut World<M>) -> bool {
    let before = world.oracle.committed.last();
    let Some((_, members)) = living(world) else { return false };
    world.desk.mode = Mode::Script;
    world.desk.read_script(&members);
    world.wake_clients();
    let read = until(world, "not every name can be read after the power was gone everywhere", |world| {
        world.desk.script.is_empty() && !world.desk.is_busy()
    });
    if read
        && world.furthest().is_none_or(|host| {
            let look = world.hosts[host as usize].member.as_ref().and_then(Member::look);
            look.is_none_or(|look| look.raft.commit() < before)
        })
    {
        let text = format!("after the power was gone everywhere, less than {before} entries are committed");
        world.findings.correctness("ROUND", world.at, text);
    }
    read && is_sound(world)
}
