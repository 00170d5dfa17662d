//! Faults meet the world of a group: strikes at their time, triggers on their observation, and how hosts go down.

use dps_core::raft::message::{Appended, Body};
use dps_core::replica::event::{Event, Message};

use super::member::Member;
use super::world::{Item, World};
use crate::disk::Survive;
use crate::inject::strike_disk;
use crate::plan::{Action, Point};

impl Point {
    /// What sending this message is.
    pub(crate) fn of_message(message: &Message) -> Option<Self> {
        let Message::Raft(message) = message else { return None };
        match &message.body {
            Body::VoteReply { granted: true, .. } => Some(Self::Voting),
            Body::AppendReply { result: Appended::Matched { .. }, .. } => Some(Self::Matching),
            Body::Append { entries, .. } if !entries.is_empty() => Some(Self::Replicating),
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::Vote { .. }
            | Body::VoteReply { .. }
            | Body::Append { .. }
            | Body::AppendReply { .. }
            | Body::Install { .. }
            | Body::Heartbeat { .. }
            | Body::HeartbeatReply { .. }
            | Body::Read { .. }
            | Body::ReadReply { .. }
            | Body::TimeoutNow { .. }
            | Body::Survey { .. }
            | Body::SurveyReply { .. }
            | Body::Stale => None,
        }
    }
}

impl<M: Member> World<M> {
    /// Something was observed: fires the triggers that waited for it. One without a delay strikes at once.
    pub(super) fn reach(&mut self, host: u32, point: Point) {
        let count = self.points.entry((host, point)).or_default();
        *count += 1;
        let count = *count;
        self.observe(host, point);
        let is_due =
            |trigger: &&crate::plan::Trigger| (trigger.host, trigger.point, trigger.nth) == (host, point, count);
        let due: Vec<_> = self.plan.triggers.iter().filter(is_due).copied().collect();
        for trigger in due {
            if trigger.delay_ns == 0 {
                self.strike(host, trigger.action, trigger.duration_ns);
            } else {
                let strike = Item::Strike { host, action: trigger.action, duration_ns: trigger.duration_ns };
                self.schedule(self.at + trigger.delay_ns, strike);
            }
        }
    }

    /// What checkers saw of a member in its turn.
    pub(super) fn reach_what_was_seen(&mut self, host: u32) {
        let incarnation = self.host(host).incarnation;
        for point in self.oracle.take_points() {
            if self.host(host).incarnation == incarnation {
                self.reach(host, point);
            }
        }
    }

    /// A write was issued that ends at `done`: a crash that waited for one strikes before that.
    pub(super) fn lurk(&mut self, host: u32, done: u64) {
        let at = self.at;
        let there = self.host(host);
        if !there.disk.is_write_pending() {
            return;
        }
        if let Some((survive, down_ns)) = there.lurking.take() {
            let strike = at + there.rng.below(done.saturating_sub(at).max(1));
            let action = Action::Crash { survive, down_ns, pending: false };
            self.schedule(strike, Item::Strike { host, action, duration_ns: 0 });
        }
    }

    /// A fault strikes.
    pub(super) fn strike(&mut self, host: u32, action: Action, duration_ns: u64) {
        if !self.armed || host as usize >= self.hosts.len() {
            return;
        }
        let at = self.at;
        let there = &self.hosts[host as usize];
        let (doing, writing, before) = (there.doing(), there.disk.is_write_pending(), there.member.is_some());
        let took_effect = match action {
            Action::Crash { survive, down_ns, pending } => self.crash(host, survive, down_ns, pending),
            Action::Kill { down_ns } => before && self.kill(host, down_ns),
            Action::Close { down_ns } => self.close(host, down_ns),
            Action::Pause => {
                self.host(host).paused_until = at + duration_ns;
                before
            }
            Action::WallJump { forwards, by_ns } => {
                self.host(host).jump_wall(forwards, by_ns);
                true
            }
            _ => strike_disk(&mut self.host(host).disk, at, action, duration_ns),
        };
        if took_effect {
            let stamp = self.host(host).disk.stamp();
            self.trace.world(at, host, &action, stamp);
            self.rows.hit(action.kind(), doing, writing);
        }
    }

    fn crash(&mut self, host: u32, survive: Survive, down_ns: u64, pending: bool) -> bool {
        let there = self.host(host);
        if there.member.is_none() {
            return false;
        }
        if pending && !there.disk.is_write_pending() {
            there.lurking = Some((survive, down_ns));
            return false;
        }
        self.lose_power(host, survive);
        self.went_down(host, down_ns);
        true
    }

    /// The power of a host goes.
    pub(super) fn lose_power(&mut self, host: u32, survive: Survive) {
        self.judge_durable();
        let there = self.host(host);
        there.stop();
        there.disk.crash(survive);
    }

    fn kill(&mut self, host: u32, down_ns: u64) -> bool {
        let there = self.host(host);
        there.stop();
        there.disk.kill();
        self.went_down(host, down_ns);
        true
    }

    /// A host is down, and comes back.
    pub(super) fn went_down(&mut self, host: u32, down_ns: u64) {
        let at = self.at;
        let there = self.host(host);
        if there.member.is_some() {
            there.stop();
            there.disk.kill();
        }
        let digest = u64::from(self.host(host).disk.digest());
        self.trace.world(at, host, &"down", digest);
        let incarnation = self.host(host).incarnation;
        self.schedule(at + down_ns, Item::Start { host, incarnation });
        self.hang_up(host);
    }

    /// What is committed is durable on a majority, also before power goes.
    fn judge_durable(&mut self) {
        let (oracle, hosts) = (&mut self.oracle, &self.hosts);
        let disk_of = |id| super::setup::host_of(id).and_then(|host| hosts.get(host as usize)).map(|host| &host.disk);
        oracle.judge_durable(self.at, &disk_of, &mut self.findings);
    }

    /// Whether power goes for ever.
    pub(super) fn bury(&mut self, host: u32) {
        let there = self.host(host);
        there.dead = true;
        if there.member.is_some() {
            there.stop();
            there.disk.kill();
            self.hang_up(host);
        }
    }

    /// A member that can't write goes on only after a start: its operator sees to that.
    pub(super) fn restart_later(&mut self, host: u32) {
        let down_ns = self.host(host).rng.between(1_000_000, 60_000_000);
        let action = Action::Kill { down_ns };
        let delay_ns = self.host(host).rng.between(1_000_000, 60_000_000);
        self.schedule(self.at + delay_ns, Item::Strike { host, action, duration_ns: 0 });
    }

    fn close(&mut self, host: u32, down_ns: u64) -> bool {
        let there = self.host(host);
        if there.member.is_none() || !there.serving || there.closing.is_some() {
            return false;
        }
        there.closing = Some(down_ns);
        self.deliver(host, Event::Close);
        true
    }

    /// A member says that it is closed.
    pub(super) fn closed(&mut self, host: u32) {
        let at = self.at;
        let Some(down_ns) = self.host(host).closing.take() else {
            let text = format!("host {host} says that it is closed, which nobody wanted");
            return self.findings.correctness("W1", at, text);
        };
        self.rows.add("members closed");
        self.kill(host, down_ns);
    }
}
