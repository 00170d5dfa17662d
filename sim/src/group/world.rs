//! The world of a group: hosts, a network, one event queue, virtual time. It drives members as their contract says.

use std::collections::BTreeMap;

use dps_core::disk::DiskRequest;
use dps_core::disk::halt::HaltReason;
use dps_core::id::{NodeId, OpId};
use dps_core::ledger::command::Outcome;
use dps_core::note::Note;
use dps_core::raft;
use dps_core::raft::entry::Position;
use dps_core::replica;
use dps_core::replica::event::{Effect, Event, Message, Refusal};
use dps_core::replica::witness::Standing;
use dps_core::rng::{Rng, Seed};

use super::blow::Replay;
use super::check::Oracle;
use super::client::Desk;
use super::exercise::Rows;
use super::host::{Host, is_of_snapshot};
use super::member::Member;
use super::setup::{GroupSetup, host_of, nanos};
use crate::check::Findings;
use crate::disk::{Disk, Ticket};
use crate::net::{Arrival, Fate, Held, Network};
use crate::plan::{Action, Plan, Point};
use crate::queue::{Due, Queue, QueueKind};
use crate::trace::Trace;

/// What a client hears.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Decided(Result<Outcome, Refusal>),
    Changed(Result<Position, Refusal>),
    /// What the ledger said of the name that was asked for: value and version, if it has one.
    Read(Result<Option<(u64, u64)>, Refusal>),
    /// Nobody is there, or it went away.
    Unreachable,
}

pub(crate) enum Item {
    Message {
        from: u32,
        to: u32,
        copy: Box<Copy>,
    },
    /// Something held may be free.
    Release,
    DiskDone {
        host: u32,
        incarnation: u64,
        op: OpId,
        ticket: Ticket,
    },
    Turn {
        host: u32,
        incarnation: u64,
    },
    Wake {
        host: u32,
        incarnation: u64,
        arm: u64,
    },
    Start {
        host: u32,
        incarnation: u64,
    },
    Strike {
        host: u32,
        action: Action,
        duration_ns: u64,
    },
    /// A client's question reaches a host.
    Ask {
        host: u32,
        ticket: u64,
        event: Event,
    },
    /// A client hears of its question.
    Answer {
        ticket: u64,
        answer: Answer,
    },
    /// A client, or the operator, goes on.
    Client {
        client: u32,
        token: u64,
    },
    Wish {
        index: u32,
    },
    Blow {
        index: u32,
        actor: u32,
    },
    /// A message that has arrived comes once more.
    Again {
        to: u32,
        message: Box<Message>,
    },
}

/// A copy of a message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub(crate) message: Message,
    pub(crate) corrupt: Option<u64>,
}

/// The member's own invariants are asserted after every so many turns.
const CHECK_TURNS: u64 = 61;

pub(crate) type Factory<M> = Box<dyn FnMut(&GroupSetup, u32, Seed) -> M>;

pub(crate) struct World<M> {
    pub(crate) setup: GroupSetup,
    pub(super) seed: Seed,
    factory: Factory<M>,
    queue: Box<dyn Queue<Item>>,
    sequence: u64,
    pub(crate) at: u64,
    pub(crate) hosts: Vec<Host<M>>,
    pub(crate) net: Network,
    pub(crate) held: Held<(u32, u32, Box<Copy>)>,
    pub(crate) plan: Plan,
    /// Whether faults strike.
    pub(crate) armed: bool,
    pub(super) points: BTreeMap<(u32, Point), u32>,
    /// Questions that a member has not answered, and whose host.
    pub(super) open: BTreeMap<u64, u32>,
    pub(crate) desk: Desk,
    pub(crate) oracle: Oracle,
    pub(crate) trace: Trace,
    pub(crate) rows: Rows,
    pub(crate) findings: Findings,
    pub(crate) boots: u64,
    turns: u64,
    pub(super) in_flight: u64,
    /// How often each point was reached, over all hosts.
    pub(super) observed: BTreeMap<Point, u32>,
    pub(super) replays: Vec<Replay>,
    /// Draws what is replayed.
    pub(super) luck: Rng,
    /// Whether leadership was handed to somebody who can't lead, which must hinder nobody.
    pub(super) astray: bool,
}

impl<M: Member> World<M> {
    pub(crate) fn new(
        setup: GroupSetup,
        seed: Seed,
        queue: QueueKind,
        trace_lines: usize,
        factory: Factory<M>,
    ) -> Self {
        let plan = setup.plan.clone();
        let host = |number: u32| {
            let number = u64::from(number);
            Host::new(Disk::new(seed.split("disk", number), setup.disk), seed.split("turns", number).rng())
        };
        let hosts: Vec<Host<M>> = (0..setup.hosts()).map(host).collect();
        let net = Network::new(seed.split("net", 0), setup.shape);
        let mut world = Self {
            desk: Desk::new(&setup, seed.split("clients", 0)),
            oracle: Oracle::new(&setup),
            setup,
            seed,
            factory,
            queue: queue.build(),
            sequence: 0,
            at: 0,
            hosts,
            net,
            held: Held::default(),
            plan,
            armed: true,
            points: BTreeMap::new(),
            open: BTreeMap::new(),
            trace: Trace::new(trace_lines),
            rows: Rows::default(),
            findings: Findings::default(),
            boots: 0,
            turns: 0,
            in_flight: 0,
            observed: BTreeMap::new(),
            replays: Vec::new(),
            luck: seed.split("luck", 0).rng(),
            astray: false,
        };
        world.schedule_plan();
        world
    }

    fn schedule_plan(&mut self) {
        for fault in self.plan.faults.clone() {
            let strike = Item::Strike { host: fault.host, action: fault.action, duration_ns: fault.duration_ns };
            self.schedule(fault.at_ns, strike);
        }
        for strike in self.plan.net.clone() {
            self.rows.strike_net(strike.fault.kind().name());
            self.net.strike(strike.at_ns, strike.fault, strike.duration_ns);
        }
        for (index, wish) in (0..).zip(self.plan.wishes.clone()) {
            self.schedule(wish.at_ns, Item::Wish { index });
        }
        for (index, blow) in (0..).zip(self.plan.blows.clone()) {
            if blow.on.is_none() {
                self.schedule(blow.at_ns, Item::Blow { index, actor: blow.pick % self.setup.voters });
            }
        }
        for host in 0..self.setup.hosts() {
            self.schedule(0, Item::Start { host, incarnation: 0 });
        }
        for client in 0..self.setup.clients {
            self.schedule(0, Item::Client { client, token: 0 });
        }
    }

    pub(crate) fn schedule(&mut self, at: u64, item: Item) {
        let due = Due { at: at.max(self.at), sequence: self.sequence };
        self.sequence += 1;
        self.queue.push(due, item);
    }

    pub(crate) fn host(&mut self, host: u32) -> &mut Host<M> {
        &mut self.hosts[host as usize]
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.queue.peek().map(|due| due.at)
    }

    /// Lets the next thing happen. False when nothing is left to happen.
    pub(crate) fn advance(&mut self) -> bool {
        let Some((due, item)) = self.queue.pop() else { return false };
        crate::check::time::check(self.at, due.at, &mut self.findings);
        self.at = due.at;
        match item {
            Item::Message { from, to, copy } => self.arrives(from, to, copy),
            Item::Release => self.release(),
            Item::DiskDone { host, incarnation, op, ticket } => self.disk_done(host, incarnation, op, ticket),
            Item::Turn { host, incarnation } => {
                if self.is_running(host, incarnation) {
                    self.turn(host);
                }
            }
            Item::Wake { host, incarnation, arm } => {
                if self.is_running(host, incarnation) && self.host(host).arm == arm {
                    self.ready(host);
                }
            }
            Item::Start { host, incarnation } => {
                let there = self.host(host);
                if there.incarnation == incarnation && there.member.is_none() && !there.dead {
                    self.start(host);
                }
            }
            Item::Strike { host, action, duration_ns } => self.strike(host, action, duration_ns),
            Item::Ask { host, ticket, event } => self.asked(host, ticket, event),
            Item::Answer { ticket, answer } => self.hear(ticket, answer),
            Item::Client { client, token } => self.client_goes_on(client, token),
            Item::Wish { index } => self.wish(index),
            Item::Blow { index, actor } => self.blow(index, actor),
            Item::Again { to, message } => self.comes_again(to, message),
        }
        true
    }

    fn is_running(&self, host: u32, incarnation: u64) -> bool {
        let there = &self.hosts[host as usize];
        there.incarnation == incarnation && there.member.is_some()
    }

    pub(super) fn deliver(&mut self, host: u32, event: Event) {
        self.host(host).inbox.push_back(event);
        self.ready(host);
    }

    /// The member has something to do: a turn as soon as it is free.
    fn ready(&mut self, host: u32) {
        let there = self.host(host);
        if !there.turn_due {
            there.turn_due = true;
            let at = there.busy_until.max(there.paused_until);
            let incarnation = there.incarnation;
            self.schedule(at, Item::Turn { host, incarnation });
        }
    }

    fn disk_done(&mut self, host: u32, incarnation: u64, op: OpId, ticket: Ticket) {
        let at = self.at;
        if !self.is_running(host, incarnation) {
            return;
        }
        let there = self.host(host);
        let point = there.disk.point_of(ticket);
        let result = there.disk.complete(at, ticket);
        let misuse = there.disk.take_misuse();
        let known = there.operations.remove(&op);
        self.findings.misuse(at, misuse);
        if !known {
            self.findings.correctness("W1", at, format!("{op:?} completed, but was not outstanding"));
        }
        self.deliver(host, Event::DiskDone { op, result });
        if let Some(point) = point {
            self.reach(host, point);
        }
    }

    /// Starts a member on the host's disk.
    fn start(&mut self, host: u32) {
        let at = self.at;
        let incarnation = self.host(host).incarnation;
        let seed = self.seed.split("member", u64::from(host)).split("start", incarnation);
        let member = (self.factory)(&self.setup, host, seed);
        self.boots += 1;
        self.trace.world(at, host, &"start", incarnation);
        let there = self.host(host);
        there.member = Some(member);
        there.started_at = at;
        there.busy_until = at;
        self.oracle.started(host);
        if self.host(host).disk.stamp() > 0 {
            self.oracle.harmed(host);
        }
        self.ready(host);
    }

    /// One turn: several events, one flush, the effects in order.
    fn turn(&mut self, host: u32) {
        let (at, events_max, turn_ns_max) = (self.at, self.setup.turn_events_max, self.setup.turn_ns_max);
        let there = &mut self.hosts[host as usize];
        there.turn_due = false;
        if there.paused_until > at {
            return self.ready(host);
        }
        let now = there.now(at);
        let Some(mut member) = there.member.take() else { return };
        let incarnation = there.incarnation;
        let mut effects = Vec::new();
        let events = there.rng.between(1, events_max);
        let took = 1 + there.rng.below(turn_ns_max);
        let mut stepped = 0;
        while stepped < events {
            let Some(event) = self.hosts[host as usize].inbox.pop_front() else { break };
            self.trace.event(at, host, &event);
            let first = effects.len();
            let from = if let Event::Received(message) = &event { Some(message.from()) } else { None };
            let old = self.is_of_old_start(host, &member, &event);
            member.step(now, event, &mut effects);
            if old && !effects[first..].iter().any(is_rejection_of_old_start) {
                let text = format!("host {host} listens to an earlier start of a member");
                self.findings.correctness("MT", at, text);
            }
            self.look(host, &member);
            if let Some(from) = from {
                self.look_at_counted(host, &member, from);
            }
            stepped += 1;
        }
        if stepped == 0 {
            self.trace.event(at, host, &Event::Wake);
            member.step(now, Event::Wake, &mut effects);
            self.look(host, &member);
        }
        member.flush(now, &mut effects);
        self.look(host, &member);
        self.turns += 1;
        if self.turns.is_multiple_of(CHECK_TURNS) {
            member.check();
        }
        let there = self.host(host);
        there.busy_until = at + took;
        there.member = Some(member);
        for effect in effects {
            if self.host(host).incarnation != incarnation {
                break;
            }
            self.effect(host, effect);
        }
        if self.host(host).incarnation == incarnation {
            self.reach_what_was_seen(host);
            self.rearm(host);
        }
    }

    /// Whether a member that takes part is about to hear of an earlier start of another one than it has heard of.
    fn is_of_old_start(&mut self, host: u32, member: &M, event: &Event) -> bool {
        let Event::Received(message) = event else { return false };
        let Some(look) = member.look().filter(|look| !look.stopped) else { return false };
        let known = match look.witness.standing(&message.from(), message.incarnation()) {
            Standing::Known => true,
            Standing::Older => false,
            // Who has not introduced itself is not heard.
            Standing::Unknown => return false,
        };
        // Who closes hears nobody any more.
        let term = look.raft.term();
        self.host(host).closing.is_none() && self.oracle.hears_old_start(host, message, term, known)
    }

    /// What a member counts of another one that it has just heard.
    fn look_at_counted(&mut self, host: u32, member: &M, from: NodeId) {
        if let Some(look) = member.look() {
            self.oracle.heard(self.at, host, &look, from, &mut self.findings);
        }
    }

    /// Checkers look at a member after each step.
    fn look(&mut self, host: u32, member: &M) {
        let Some(look) = member.look() else { return };
        let there = self.host(host);
        there.longest = there.longest.max(look.raft.last().index);
        let (oracle, hosts) = (&mut self.oracle, &self.hosts);
        let disk_of = |id| host_of(id).and_then(|host| hosts.get(host as usize)).map(|host| &host.disk);
        oracle.look(self.at, host, &look, &disk_of, &mut self.rows, &mut self.findings);
        self.judge_time(host, look.ledger.time());
    }

    /// After a turn: another one if events wait, else a wake-up at the member's deadline.
    fn rearm(&mut self, host: u32) {
        let there = self.host(host);
        let Some(member) = &there.member else { return };
        if !there.inbox.is_empty() {
            return self.ready(host);
        }
        there.arm += 1;
        let Some(deadline) = member.deadline() else { return };
        let late = if there.rng.chance(1, 8) { there.rng.below(100_000) } else { 0 };
        let at = there.started_at.saturating_add(deadline.as_nanos()).max(there.busy_until).saturating_add(late);
        let (incarnation, arm) = (there.incarnation, there.arm);
        self.schedule(at, Item::Wake { host, incarnation, arm });
    }

    fn effect(&mut self, host: u32, effect: Effect) {
        let at = self.at;
        // A fault may strike right before a message is sent.
        if let Effect::Send(message) = &effect
            && let Some(point) = Point::of_message(message)
        {
            let incarnation = self.host(host).incarnation;
            self.reach(host, point);
            if self.host(host).incarnation != incarnation {
                return;
            }
        }
        self.trace.effect(at, host, &effect);
        match effect {
            Effect::Disk { op, request } => self.disk_request(host, op, request),
            Effect::Send(message) => self.send(host, *message),
            Effect::Decided { ticket, result } => self.decided(host, ticket, *result),
            Effect::Passed { ticket, answer } => self.proposed(ticket, answer),
            Effect::Changed { ticket, result } => self.answer(host, ticket, Answer::Changed(result)),
            Effect::Readable { ticket, result } => self.readable(host, ticket, result),
            Effect::Closed => self.closed(host),
            Effect::Note(note) => self.noted(host, &note),
            Effect::Halt(reason) => {
                self.trace.world(at, host, &reason, 0);
                self.rows.add("halts");
                self.host(host).refusals += u32::from(matches!(reason, HaltReason::RolledBack { .. }));
                self.host(host).lost_snapshot = matches!(reason, HaltReason::SnapshotLost { .. });
                if !self.is_harmed(host) {
                    let text = format!("host {host} halts, and nothing has harmed it: {reason:?}");
                    self.findings.correctness("ROUND", self.at, text);
                }
                self.went_down(host, nanos(self.setup.settings.raft.election_timeout_max));
            }
        }
    }

    fn disk_request(&mut self, host: u32, op: OpId, request: DiskRequest) {
        let at = self.at;
        let there = self.host(host);
        let point = Point::of_request(&request, there.serving);
        let snapshotting = is_of_snapshot(&request);
        let (ticket, done) = there.disk.issue(at, request);
        let fresh = there.operations.insert(op);
        let incarnation = there.incarnation;
        if !fresh {
            self.findings.correctness("W1", at, format!("{op:?} was issued twice"));
        }
        self.schedule(done, Item::DiskDone { host, incarnation, op, ticket });
        self.lurk(host, done);
        for point in snapshotting.then_some(Point::Snapshotting).into_iter().chain(point) {
            self.reach(host, point);
        }
    }

    fn noted(&mut self, host: u32, note: &Note) {
        match note {
            Note::Serving { .. } => {
                self.host(host).serving = true;
                self.host(host).lost_snapshot = false;
            }
            Note::Group(raft::Note::Doubtful { .. }) => {
                self.rows.add("members in doubt");
                self.reach(host, Point::Doubting);
            }
            Note::Group(raft::Note::Settled { .. }) => self.rows.add("doubts settled"),
            Note::Settled => self.host(host).disk.settled(),
            Note::WritesStopped { .. } => self.restart_later(host),
            Note::Damaged(damage) => {
                self.rows.add("damages told");
                if self.host(host).disk.stamp() == 0 {
                    let text = format!("host {host}: {damage}, although nothing durable was harmed");
                    self.findings.correctness("ROUND", self.at, text);
                }
            }
            _ => {}
        }
        if let Some(point) = Point::of_note(note) {
            self.reach(host, point);
        }
    }

    pub(super) fn send(&mut self, host: u32, message: Message) {
        let at = self.at;
        self.oracle.sent(at, host, &message, &self.hosts[host as usize].disk, &mut self.findings);
        let Some(to) = host_of(message.to()).filter(|to| (*to as usize) < self.hosts.len()) else { return };
        let bytes = super::wire::bytes_of(&message, self.oracle.messages, at, &mut self.findings);
        let fate = self.net.send(at, host, to, bytes);
        if let Fate::Twice(_) = fate {
            self.rows.add("messages that came twice");
        }
        for delivery in fate.deliveries() {
            self.in_flight += 1;
            let copy = Box::new(Copy { message: message.clone(), corrupt: delivery.corrupt });
            self.schedule(delivery.at_ns, Item::Message { from: host, to, copy });
        }
    }

    pub(super) fn arrives(&mut self, from: u32, to: u32, copy: Box<Copy>) {
        match self.net.arrives(self.at, from, to) {
            Arrival::Drop => self.in_flight -= 1,
            Arrival::HoldUntil(until_ns) => {
                self.held.hold(until_ns, (from, to, copy));
                self.schedule(until_ns, Item::Release);
            }
            Arrival::Deliver => {
                self.in_flight -= 1;
                if let Some(entropy) = copy.corrupt {
                    // The transport notices, whatever the bytes then say.
                    self.rows.add("corrupt messages");
                    return super::wire::judge_corrupt(&copy.message, entropy);
                }
                self.replay(to, &copy.message);
                if self.host(to).member.is_some() {
                    self.deliver(to, Event::Received(Box::new(copy.message)));
                }
            }
        }
    }

    fn release(&mut self) {
        while let Some((from, to, copy)) = self.held.release(self.at) {
            self.arrives(from, to, copy);
        }
    }

    /// Whether messages and disk requests are conserved.
    pub(crate) fn check_conservation(&mut self) {
        if let Err(text) = self.net.counts().check(self.in_flight) {
            self.findings.correctness("W1", self.at, text);
        }
        for host in &self.hosts {
            let pending = host.disk.pending().count();
            if host.member.is_some() && pending != host.operations.len() {
                let text = format!("{pending} disk requests are pending, {} are known", host.operations.len());
                self.findings.correctness("W1", self.at, text);
            }
        }
    }
}

fn is_rejection_of_old_start(effect: &Effect) -> bool {
    let Effect::Note(note) = effect else { return false };
    matches!(
        note,
        Note::Group(raft::Note::Rejected { reason: raft::Reason::OldIncarnation, .. })
            | Note::Member(replica::note::Note::Rejected {
                reason: replica::note::Reason::OlderStart | replica::note::Reason::UnknownStart,
                ..
            })
    )
}
