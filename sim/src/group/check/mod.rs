//! What must hold in a group, one file per property, and what checkers remember of each member.
//!
//! They look at a member after each step, at each message before it is on its way, and at disks as a loss of power
//! would leave them.

pub(crate) mod clock;
pub(crate) mod committed;
pub(crate) mod complete;
pub(crate) mod config;
pub(crate) mod counted;
pub(crate) mod elections;
pub(crate) mod linear;
pub(crate) mod matching;
pub(crate) mod memory;
pub(crate) mod messages;
pub(crate) mod quorum;
pub(crate) mod sessions;
pub(crate) mod terms;
pub(crate) mod votes;

use std::collections::{BTreeMap, BTreeSet};

use dps_core::id::NodeId;
use dps_core::ledger::command::Outcome;
use dps_core::raft::entry::{Entry, Payload};
use dps_core::raft::membership::Membership;
use dps_core::raft::message::Body;
use dps_core::replica::event::{Decision, Message};

use super::exercise::Rows;
use super::image::{DiskOf, Disks, Images};
use super::member::Look;
use super::setup::GroupSetup;
use crate::check::Findings;
use crate::disk::Disk;
use crate::plan::Point;
use crate::trace::{TraceHash, debug};

/// The checkers of groups by name, in the order of the table in ARCHITECTURE.md.
pub(crate) const CHECKERS: [&str; 18] = [
    "ES", "LM", "LC", "SMS", "CI", "CQ", "MT", "VOTE", "CFG", "LIN", "XO", "CLOCK", "ROUND", "OLD", "MSG", "MEM", "AO",
    "HEAL",
];

/// A hash of what an entry says.
pub(crate) fn digest(entry: &Entry) -> u64 {
    let mut hash = TraceHash::new();
    match &entry.payload {
        Payload::Empty => hash.number(1),
        Payload::Command(command) => {
            hash.number(2);
            hash.body(command);
        }
        Payload::Membership(membership) => debug(&mut hash, membership),
    }
    hash.value()
}

/// What all checkers remember.
#[derive(Debug)]
pub(crate) struct Oracle {
    elections: elections::Elections,
    matching: matching::Matching,
    pub(crate) committed: committed::Committed,
    config: config::Config,
    counted: counted::Counted,
    quorum: quorum::Quorum,
    terms: terms::Terms,
    votes: votes::Votes,
    sessions: sessions::Sessions,
    images: Images,
    /// Whom each number of session is for, by leader and term.
    followers: BTreeMap<(u32, u64, u64), NodeId>,
    /// What leaders have said to nodes that take no part.
    pub(crate) for_strangers: u64,
    /// Leaders that let another one take over.
    handing: BTreeSet<u32>,
    /// Messages so far.
    pub(crate) messages: u64,
    points: Vec<Point>,
}

impl Oracle {
    pub(crate) fn new(setup: &GroupSetup) -> Self {
        let hosts = setup.hosts() as usize;
        Self {
            elections: elections::Elections::default(),
            matching: matching::Matching::new(hosts),
            committed: committed::Committed::new(hosts),
            config: config::Config::new(setup.founders()),
            counted: counted::Counted::default(),
            quorum: quorum::Quorum::new(hosts, setup.founders()),
            terms: terms::Terms::new(hosts),
            votes: votes::Votes::default(),
            sessions: sessions::Sessions::default(),
            images: Images::new(setup),
            followers: BTreeMap::new(),
            for_strangers: 0,
            handing: BTreeSet::new(),
            messages: 0,
            points: Vec::new(),
        }
    }

    /// A member was started: what it remembers is only what is durable.
    pub(crate) fn started(&mut self, host: u32) {
        self.matching.started(host);
        self.committed.started(host);
        self.terms.started(host);
        self.elections.started(host);
        self.counted.started(super::setup::node_id(host));
    }

    /// What was seen since this was asked for last.
    pub(crate) fn take_points(&mut self) -> Vec<Point> {
        std::mem::take(&mut self.points)
    }

    /// A member after a step.
    pub(crate) fn look(
        &mut self,
        at: u64,
        host: u32,
        look: &Look<'_>,
        disk_of: &DiskOf<'_>,
        rows: &mut Rows,
        findings: &mut Findings,
    ) {
        self.terms.look(at, host, look, findings);
        let moved = self.quorum.membership(host) != look.raft.membership();
        let changed = self.matching.look(at, host, look.raft, rows, findings);
        self.points.extend(changed.points());
        let leads = self.elections.look(at, host, look.raft, rows, findings);
        // Whoever is alone and can't write shows what its log has, also what was never acknowledged (a stated limit).
        let only_reads = look.stopped && look.raft.is_alone();
        let news = !only_reads && self.committed.look(at, host, look, leads, rows, findings);
        if leads == elections::Leads::Newly {
            // What was committed in this very step is of its own term.
            complete::check(at, host, look.raft, &self.committed, findings);
            self.votes.elected(at, (host, look.raft.term()), self.quorum.membership(host), findings);
            self.config.judge_leader(at, host, look.raft, &self.committed, findings);
            self.points.push(Point::Leading);
        }
        let told = |node| super::setup::host_of(node).map_or(0, |host| self.matching.told(host));
        if changed.any() && self.config.look(at, host, look.raft, (&self.committed, &told), rows, findings) {
            self.points.push(Point::Changing);
        }
        if changed.any() || moved {
            self.config.judge_in_force(at, host, look.raft, &self.committed, findings);
        }
        if news {
            self.points.push(Point::Committing);
            if leads != elections::Leads::No || look.raft.is_alone() {
                let committed = self.committed.position(look.raft.commit());
                let disks = Disks { images: &self.images, of: disk_of };
                self.quorum.moved(at, host, committed, &disks, rows, findings);
            }
        }
        if look.raft.hands_over() {
            if self.handing.insert(host) {
                self.points.push(Point::HandingOver);
            }
        } else {
            self.handing.remove(&host);
        }
        self.quorum.remember(host, look.raft.membership());
    }

    /// A member is about to send a message.
    pub(crate) fn sent(&mut self, at: u64, host: u32, message: &Message, disk: &Disk, findings: &mut Findings) {
        self.messages += 1;
        let Message::Raft(message) = message else { return };
        self.terms.sent(host, message);
        self.counted.sent(message);
        self.sessions_of(at, host, message, findings);
        let durable = || self.images.read(disk).vote;
        match &message.body {
            Body::VoteReply { granted: true, .. } => {
                self.votes.given(at, (host, message.term), message.to, &durable, findings);
            }
            Body::Vote { transfer, .. } => {
                if !transfer {
                    let memberships = self.config.known().chain([self.quorum.membership(host)]);
                    self.terms.stands(at, message, memberships, findings);
                }
                self.votes.given(at, (host, message.term), message.from, &durable, findings);
            }
            Body::TimeoutNow { last } => {
                let target = super::setup::host_of(message.to).map_or(0, |to| self.matching.told(to));
                if target < last.index {
                    let text = format!("host {host} lets {} take over, which has not all up to {last}", message.to);
                    findings.correctness("LC", at, text);
                }
            }
            Body::AppendReply { result: dps_core::raft::message::Appended::Matched { index }, .. } => {
                self.matching.acknowledged(host, *index);
            }
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::VoteReply { granted: false, .. }
            | Body::Append { .. }
            | Body::AppendReply { .. }
            | Body::Install { .. }
            | Body::Heartbeat { .. }
            | Body::HeartbeatReply { .. }
            | Body::Read { .. }
            | Body::ReadReply { .. }
            | Body::Survey { .. }
            | Body::SurveyReply { .. }
            | Body::Stale => {}
        }
    }

    /// What a leader says under one number of session is for one follower, and for a member.
    fn sessions_of(&mut self, at: u64, host: u32, message: &dps_core::raft::message::Message, findings: &mut Findings) {
        let (Body::Append { session, .. } | Body::Heartbeat { session, .. } | Body::Install { session, .. }) =
            message.body
        else {
            return;
        };
        self.for_strangers += u64::from(!self.quorum.membership(host).is_member(&message.to));
        let known = *self.followers.entry((host, message.term, session)).or_insert(message.to);
        if known != message.to {
            let text = format!("host {host} has session {session} with {known} and with {} in one term", message.to);
            findings.correctness("MSG", at, text);
        }
    }

    /// A member hears a message, of a start that it knows or not. True if that is of an earlier start than it has heard of.
    pub(crate) fn hears_old_start(&mut self, host: u32, message: &Message, term: u64, known: bool) -> bool {
        let Message::Raft(message) = message else { return false };
        if known {
            self.counted.hears(message, term);
        }
        self.terms.hears_old_start(host, message)
    }

    /// A member has heard another one.
    pub(crate) fn heard(&self, at: u64, host: u32, look: &Look<'_>, from: NodeId, findings: &mut Findings) {
        self.counted.look(at, host, look.raft, from, findings);
    }

    /// Every membership that was ever in a log, and that of the founders.
    pub(crate) fn memberships(&self) -> impl Iterator<Item = &Membership> {
        self.config.known()
    }

    /// Something durable of a member was destroyed: it may have lost what it said (rule R2).
    pub(crate) fn harmed(&mut self, host: u32) {
        self.terms.forgive(host);
        self.matching.forgive(host);
    }

    /// A member says what a command came to.
    pub(crate) fn decided(
        &mut self,
        at: u64,
        host: u32,
        decision: &Decision,
        serial: Option<(u64, u64)>,
        findings: &mut Findings,
    ) {
        self.committed.decided(at, host, decision, findings);
        if let Some(serial) = serial {
            self.sessions.decided(at, serial, decision.outcome, findings);
        }
    }

    /// What a command of a session came to, by the word of a member that was asked by another one.
    pub(crate) fn passed(&mut self, at: u64, serial: (u64, u64), outcome: Outcome, findings: &mut Findings) {
        self.sessions.decided(at, serial, outcome, findings);
    }

    /// Power is about to go somewhere: is what is committed durable on a majority?
    pub(crate) fn judge_durable(&mut self, at: u64, disk_of: &DiskOf<'_>, findings: &mut Findings) {
        self.quorum.judge(at, &Disks { images: &self.images, of: disk_of }, findings);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use dps_core::machine::Machine as _;
    use dps_core::raft::entry::Position;
    use dps_core::raft::membership::Membership;
    use dps_core::raft::settings::Settings;
    use dps_core::raft::{Base, Effect, Event, Raft, Start, Vote};
    use dps_core::rng::Seed;
    use dps_core::time::{Instant, Now};

    use super::super::setup::node_id;

    /// The only voter of a group.
    pub(super) fn alone() -> Raft {
        let membership = Arc::new(Membership::new([node_id(0)]).unwrap());
        let start = Start {
            id: node_id(0),
            incarnation: 1,
            vote: Vote::default(),
            vote_certain: true,
            lacks_state: false,
            doubt: None,
            base: Base { position: Position::ZERO, membership },
            snapshot: None,
            entries: Vec::new(),
            settings: Settings::STANDARD,
        };
        Raft::new(start, Seed::new([1; 32]).rng(), Now::default())
    }

    pub(super) fn step_until_leader(mut raft: Raft) -> Raft {
        let now = Now { mono: Instant::ZERO + Duration::from_secs(1), ..Now::default() };
        let mut out = Vec::new();
        raft.step(now, Event::Propose { ticket: 1, command: b"command".as_slice().into() }, &mut out);
        raft.flush(now, &mut out);
        while let Some(at) = out.iter().position(|effect| matches!(effect, Effect::Persist(_))) {
            let Effect::Persist(write) = out.remove(at) else { unreachable!("just found") };
            raft.step(now, Event::Persisted { write: write.number }, &mut out);
            raft.flush(now, &mut out);
        }
        assert!(raft.is_leader());
        raft
    }
}
