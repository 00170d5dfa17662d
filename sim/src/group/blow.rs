//! Faults that find their victims by the part that these play when they strike.

use std::collections::BTreeSet;

use dps_core::id::NodeId;
use dps_core::replica::event::{Event, Message};

use super::member::Member;
use super::setup::{host_of, node_id};
use super::world::{Item, World};
use crate::disk::Survive;
use crate::net::NetFault;
use crate::plan::{ANY_HOST, Action, Blow, BlowKind, Point, Trigger};

/// While this is open, messages come once more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replay {
    until_ns: u64,
    /// They come at most so much later.
    later_ns: u64,
}

impl<M: Member> World<M> {
    /// Something was observed at a host: blows that waited for it fall, and faults that waited for it anywhere strike.
    pub(super) fn observe(&mut self, host: u32, point: Point) {
        let count = self.observed.entry(point).or_default();
        *count += 1;
        let nth = *count;
        let is_due = |(_, blow): &(u32, &Blow)| blow.on == Some(point) && blow.nth == nth;
        let due: Vec<(u32, u64)> =
            (0..).zip(&self.plan.blows).filter(is_due).map(|(index, blow)| (index, blow.at_ns)).collect();
        let is_due = |trigger: &&Trigger| (trigger.host, trigger.point, trigger.nth) == (ANY_HOST, point, nth);
        let strikes: Vec<Trigger> = self.plan.triggers.iter().filter(is_due).copied().collect();
        for (index, delay_ns) in due {
            if delay_ns == 0 {
                self.blow(index, host);
            } else {
                self.schedule(self.at + delay_ns, Item::Blow { index, actor: host });
            }
        }
        for Trigger { action, duration_ns, .. } in strikes {
            self.strike(host, action, duration_ns);
        }
    }

    /// The leader of the newest term.
    pub(super) fn leader(&self) -> Option<u32> {
        let looks = self.hosts.iter().zip(0..).filter_map(|(there, host)| {
            let look = there.member.as_ref().and_then(Member::look)?;
            look.raft.is_leader().then_some((look.raft.term(), host))
        });
        looks.max().map(|(_, host)| host)
    }

    /// The hosts of the voters that a member knows.
    fn voters_of(&self, host: u32) -> Vec<u32> {
        let look = self.hosts[host as usize].member.as_ref().and_then(Member::look);
        let voters = |look: super::member::Look<'_>| -> Vec<NodeId> {
            look.raft.membership().voters().iter().copied().collect()
        };
        let hosts = u32::try_from(self.hosts.len()).expect("few hosts");
        look.map(voters).unwrap_or_default().into_iter().filter_map(host_of).filter(|host| *host < hosts).collect()
    }

    /// A blow falls; `actor` is whoever was observed.
    pub(super) fn blow(&mut self, index: u32, actor: u32) {
        let Blow { duration_ns, kind, pick, .. } = self.plan.blows[index as usize];
        if !self.armed {
            return;
        }
        let Some(leader) = self.leader() else { return };
        let voters = self.voters_of(leader);
        let mut others: Vec<u32> = voters.iter().copied().filter(|host| *host != leader).collect();
        if others.is_empty() {
            return;
        }
        let turn = pick as usize % others.len();
        others.rotate_left(turn);
        let all = || -> BTreeSet<u32> { (0..u32::try_from(self.hosts.len()).expect("few hosts")).collect() };
        let apart =
            |side: BTreeSet<u32>| NetFault::Partition { right: all().difference(&side).copied().collect(), left: side };
        let fault = match kind {
            BlowKind::IsolateLeader => Some(NetFault::Isolate { node: leader }),
            BlowKind::IsolateMinority => {
                let minority = voters.len().div_ceil(2) - 1;
                let side = others.iter().copied().take(minority.saturating_sub(1)).chain([leader]);
                Some(apart(side.collect()))
            }
            BlowKind::LeaveOne => Some(apart([leader, others[0]].into())),
            BlowKind::HoldAnswers | BlowKind::HoldAppends => {
                for other in others.iter().take(if kind == BlowKind::HoldAnswers { others.len() } else { 1 }) {
                    let (from, to) = if kind == BlowKind::HoldAnswers { (*other, leader) } else { (leader, *other) };
                    self.net.strike(self.at, NetFault::ClogLink { from, to }, duration_ns);
                }
                None
            }
            BlowKind::CutFollower => Some(NetFault::PartitionPair { a: leader, b: others[0] }),
            BlowKind::IsolateNewest => self.newest_voter(leader).map(|node| NetFault::Isolate { node }),
            BlowKind::IsolateActor => Some(NetFault::Isolate { node: actor }),
            BlowKind::MuteLeader => {
                Some(NetFault::PartitionOneWay { from: [leader].into(), to: others.into_iter().collect() })
            }
            BlowKind::PauseLeader | BlowKind::FreezeLeader => {
                self.strike(leader, Action::Pause, duration_ns);
                if kind == BlowKind::FreezeLeader {
                    self.net.strike(self.at, NetFault::Isolate { node: leader }, 2 * duration_ns);
                }
                None
            }
            BlowKind::CrashLeader | BlowKind::CrashActor => {
                let host = if kind == BlowKind::CrashLeader { leader } else { actor };
                let survive = if pick.is_multiple_of(2) { Survive::Random } else { Survive::None };
                self.strike(host, Action::Crash { survive, down_ns: duration_ns, pending: false }, 0);
                None
            }
            BlowKind::Replay => {
                self.replays.push(Replay { until_ns: self.at + duration_ns, later_ns: 2 * duration_ns + 1 });
                None
            }
        };
        if let Some(fault) = fault {
            self.net.strike(self.at, fault, duration_ns);
        }
        self.rows.blow(kind.name());
        self.trace.world(self.at, leader, &kind, u64::from(pick));
    }

    /// The host of the voter that the newest membership has more than the one before it.
    fn newest_voter(&self, leader: u32) -> Option<u32> {
        let look = self.hosts[leader as usize].member.as_ref().and_then(Member::look)?;
        let founders = self.setup.founders();
        let news = look.raft.membership().voters().iter().rfind(|node| !founders.is_voter(node)).copied();
        host_of(news.unwrap_or_else(|| node_id(leader)))
    }

    /// A message arrives: perhaps it comes once more.
    pub(super) fn replay(&mut self, to: u32, message: &Message) {
        if self.replays.is_empty() || !self.armed {
            return;
        }
        let at = self.at;
        self.replays.retain(|replay| replay.until_ns >= at);
        if let Some(Replay { later_ns, .. }) = self.replays.last().copied()
            && self.luck.chance(1, 3)
        {
            let at = at + self.luck.below(later_ns);
            self.schedule(at, Item::Again { to, message: Box::new(message.clone()) });
        }
    }

    /// It does.
    pub(super) fn comes_again(&mut self, to: u32, message: Box<Message>) {
        if self.armed && self.hosts[to as usize].member.is_some() {
            self.rows.add("messages replayed");
            self.deliver(to, Event::Received(message));
        }
    }
}
