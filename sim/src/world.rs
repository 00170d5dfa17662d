//! The world: hosts, one event queue, virtual time. It drives nodes as their contract says and knows nothing of what
//! they do; an [`Observer`] plays the clients.

use std::collections::BTreeMap;

use dps_core::disk::DiskRequest;
use dps_core::id::{OpId, RequestId};
use dps_core::node::{Effect, Event, HaltReason, Holdings, Reply, Request, RequestError};
use dps_core::note::Note;
use dps_core::rng::Seed;
use dps_core::time::WallTime;

use crate::check::{Findings, garbage, incarnation, time};
use crate::disk::{Disk, Ticket};
use crate::exercise::Exercise;
use crate::host::{Host, Incarnation};
use crate::plan::{Action, Plan, Point};
use crate::queue::{Due, Queue, QueueKind};
use crate::setup::Setup;
use crate::subject::Subject;
use crate::trace::Trace;

/// What an observer may look at.
pub(crate) struct View<'a> {
    pub(crate) at: u64,
    pub(crate) host: u32,
    pub(crate) incarnation: Incarnation,
    pub(crate) disk: &'a Disk,
    /// What the node holds, for checkers alone; `None` while it can't tell.
    pub(crate) holdings: Option<Holdings<'a>>,
    /// The latest wall time that the host has ever told a node.
    pub(crate) wall_max: WallTime,
}

/// What an observer wants done.
#[derive(Debug)]
pub(crate) enum Act {
    /// Send a request that arrives after so many nanoseconds, if the same incarnation still runs.
    Send { host: u32, id: RequestId, request: Request, delay_ns: u64 },
    /// Call [`Observer::wake`] with this number after so many nanoseconds.
    Wake { token: u64, delay_ns: u64 },
}

/// Who sees what nodes say, and sends them requests.
pub(crate) trait Observer {
    /// A node was started.
    fn started(&mut self, view: &View<'_>, acts: &mut Vec<Act>);
    /// A node was stopped, with all its conversations. The view is of the time after that.
    fn stopped(&mut self, view: &View<'_>, acts: &mut Vec<Act>);
    /// A node stopped itself.
    fn halted(&mut self, view: &View<'_>, reason: &HaltReason);
    /// A node made a note.
    fn noted(&mut self, view: &View<'_>, note: &Note);
    /// A node answered.
    fn replied(
        &mut self,
        view: &View<'_>,
        id: RequestId,
        reply: Result<Reply, RequestError>,
        last: bool,
        acts: &mut Vec<Act>,
    );
    /// A wake-up that was asked for is due.
    fn wake(&mut self, view: &View<'_>, token: u64, acts: &mut Vec<Act>);
}

#[derive(Debug)]
pub(crate) enum Item {
    Request { host: u32, incarnation: Incarnation, id: RequestId, request: Request },
    DiskDone { host: u32, incarnation: Incarnation, op: OpId, ticket: Ticket },
    Turn { host: u32, incarnation: Incarnation },
    Wake { host: u32, incarnation: Incarnation, arm: u64 },
    Start { host: u32, incarnation: Incarnation },
    Strike { host: u32, action: Action, duration_ns: u64 },
    Observer { token: u64 },
}

/// The node's own invariants are asserted after every so many turns: that visits all of its state.
const CHECK_TURNS: u64 = 61;

/// Requests to close come from the world itself, under numbers that no observer uses.
pub(crate) const CLOSE_ID_FIRST: u64 = 1 << 63;

pub(crate) type Factory<M> = Box<dyn FnMut(&Setup, Seed) -> M>;

pub(crate) struct World<M> {
    pub(crate) setup: Setup,
    seed: Seed,
    factory: Factory<M>,
    queue: Box<dyn Queue<Item>>,
    sequence: u64,
    pub(crate) at: u64,
    pub(crate) hosts: Vec<Host<M>>,
    pub(crate) plan: Plan,
    /// Whether faults strike.
    pub(crate) armed: bool,
    pub(crate) points: BTreeMap<(u32, Point), u32>,
    pub(crate) trace: Trace,
    pub(crate) exercise: Exercise,
    pub(crate) findings: Findings,
    pub(crate) closes: u64,
    turns: u64,
    requests_sent: u64,
    requests_delivered: u64,
    requests_dropped: u64,
}

impl<M: Subject> World<M> {
    pub(crate) fn new(setup: Setup, seed: Seed, queue: QueueKind, trace_lines: usize, factory: Factory<M>) -> Self {
        let plan = setup.plan.clone();
        let mut disk = Disk::new(seed.split("disk", 0), setup.disk);
        if let Some(bytes) = setup.capacity_bytes {
            disk.set_capacity(bytes);
        }
        let hosts = vec![Host::new(disk, seed.split("turns", 0).rng())];
        let mut world = Self {
            setup,
            seed,
            factory,
            queue: queue.build(),
            sequence: 0,
            at: 0,
            hosts,
            plan,
            armed: true,
            points: BTreeMap::new(),
            trace: Trace::new(trace_lines),
            exercise: Exercise::default(),
            findings: Findings::default(),
            closes: 0,
            turns: 0,
            requests_sent: 0,
            requests_delivered: 0,
            requests_dropped: 0,
        };
        for fault in world.plan.faults.clone() {
            let strike = Item::Strike { host: fault.host, action: fault.action, duration_ns: fault.duration_ns };
            world.schedule(fault.at_ns, strike);
        }
        for host in 0..u32::try_from(world.hosts.len()).expect("few hosts") {
            world.schedule(0, Item::Start { host, incarnation: 0 });
        }
        world
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
    pub(crate) fn advance(&mut self, observer: &mut dyn Observer) -> bool {
        let Some((due, item)) = self.queue.pop() else { return false };
        time::check(self.at, due.at, &mut self.findings);
        self.at = due.at;
        match item {
            Item::Request { host, incarnation, id, request } => {
                if self.host(host).node.is_some() && self.host(host).incarnation == incarnation {
                    self.requests_delivered += 1;
                    self.deliver(host, incarnation, Event::Requested { id, request });
                } else {
                    self.requests_dropped += 1;
                }
            }
            Item::DiskDone { host, incarnation, op, ticket } => self.disk_done(host, incarnation, op, ticket),
            Item::Turn { host, incarnation } => {
                if self.host(host).incarnation == incarnation && self.host(host).node.is_some() {
                    self.turn(host, observer);
                }
            }
            Item::Wake { host, incarnation, arm } => {
                let there = self.host(host);
                if there.incarnation == incarnation && there.arm == arm && there.node.is_some() {
                    there.armed = None;
                    self.ready(host);
                }
            }
            Item::Start { host, incarnation } => {
                if self.host(host).incarnation == incarnation && self.host(host).node.is_none() {
                    self.start(host, observer);
                }
            }
            Item::Strike { host, action, duration_ns } => self.strike(host, action, duration_ns, observer),
            Item::Observer { token } => {
                let mut acts = Vec::new();
                observer.wake(&view(&self.hosts, self.at, 0), token, &mut acts);
                self.perform(acts);
            }
        }
        true
    }

    /// Performs what an observer wants.
    pub(crate) fn perform(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Send { host, id, request, delay_ns } => {
                    self.requests_sent += 1;
                    let incarnation = self.host(host).incarnation;
                    self.schedule(self.at + delay_ns, Item::Request { host, incarnation, id, request });
                }
                Act::Wake { token, delay_ns } => self.schedule(self.at + delay_ns, Item::Observer { token }),
            }
        }
    }

    fn deliver(&mut self, host: u32, incarnation: Incarnation, event: Event) {
        self.host(host).inbox.push_back((incarnation, event));
        self.ready(host);
    }

    /// The node has something to do: a turn as soon as it is free.
    fn ready(&mut self, host: u32) {
        let there = self.host(host);
        if !there.turn_due {
            there.turn_due = true;
            let at = there.busy_until.max(there.paused_until);
            let incarnation = there.incarnation;
            self.schedule(at, Item::Turn { host, incarnation });
        }
    }

    fn disk_done(&mut self, host: u32, incarnation: Incarnation, op: OpId, ticket: Ticket) {
        let at = self.at;
        let there = self.host(host);
        if there.incarnation != incarnation || there.node.is_none() {
            return;
        }
        let synced = there.disk.point_of(ticket);
        let result = there.disk.complete(at, ticket);
        let misuse = there.disk.take_misuse();
        let known = there.operations.remove(&op);
        self.findings.misuse(at, misuse);
        if !known {
            self.findings.correctness("W1", at, format!("{op:?} completed, but was not outstanding"));
        }
        self.deliver(host, incarnation, Event::DiskDone { op, result });
        if let Some(point) = synced {
            self.reach(host, point);
        }
    }

    /// Starts a node on the host's disk.
    fn start(&mut self, host: u32, observer: &mut dyn Observer) {
        let at = self.at;
        let incarnation = self.host(host).incarnation;
        let seed = self.seed.split("node", u64::from(host)).split("start", incarnation);
        let node = (self.factory)(&self.setup, seed);
        self.exercise.boots += 1;
        self.trace.world(at, host, &"start", incarnation);
        let there = self.host(host);
        there.node = Some(node);
        there.started_at = at;
        there.busy_until = at;
        self.ready(host);
        let mut acts = Vec::new();
        observer.started(&view(&self.hosts, at, host), &mut acts);
        self.perform(acts);
    }

    /// One turn: several events, one flush, the effects in order.
    fn turn(&mut self, host: u32, observer: &mut dyn Observer) {
        let at = self.at;
        let (events_max, turn_ns_max) = (self.setup.turn_events_max, self.setup.turn_ns_max);
        let there = &mut self.hosts[host as usize];
        there.turn_due = false;
        if there.paused_until > at {
            self.ready(host);
            return;
        }
        let now = there.now(at);
        there.wall_max = there.wall_max.max(now.wall);
        let Some(mut node) = there.node.take() else { return };
        let mut effects = Vec::new();
        let events = there.rng.between(1, events_max);
        let mut stepped = 0;
        while stepped < events
            && let Some((incarnation, event)) = there.inbox.pop_front()
        {
            if !incarnation::check(at, incarnation, there.incarnation, &mut self.findings) {
                continue;
            }
            self.trace.event(at, host, &event);
            node.step(now, event, &mut effects);
            stepped += 1;
        }
        if stepped == 0 {
            self.trace.event(at, host, &Event::Wake);
            node.step(now, Event::Wake, &mut effects);
        }
        node.flush(now, &mut effects);
        self.turns += 1;
        if self.turns.is_multiple_of(CHECK_TURNS) {
            node.check();
        }
        let incarnation = there.incarnation;
        let took = 1 + there.rng.below(turn_ns_max);
        there.busy_until = at + took;
        there.node = Some(node);
        for effect in effects {
            if self.host(host).incarnation != incarnation {
                break;
            }
            self.effect(host, effect, observer);
        }
        self.rearm(host);
    }

    /// After a turn: another one if events wait, else a wake-up at the node's deadline.
    fn rearm(&mut self, host: u32) {
        let there = self.host(host);
        let Some(node) = &there.node else { return };
        if !there.inbox.is_empty() {
            self.ready(host);
            return;
        }
        let Some(deadline) = node.deadline() else {
            there.armed = None;
            there.arm += 1;
            return;
        };
        let late = if there.rng.chance(1, 8) { there.rng.below(100_000) } else { 0 };
        let at = there.started_at.saturating_add(deadline.as_nanos()).max(there.busy_until).saturating_add(late);
        there.armed = Some(at);
        there.arm += 1;
        let (incarnation, arm) = (there.incarnation, there.arm);
        self.schedule(at, Item::Wake { host, incarnation, arm });
    }

    fn effect(&mut self, host: u32, effect: Effect, observer: &mut dyn Observer) {
        let at = self.at;
        self.trace.effect(at, host, &effect);
        match effect {
            Effect::Disk { op, request } => self.disk_request(host, op, request),
            Effect::Reply { id, reply, last } => self.reply(host, id, reply, last, observer),
            Effect::Note(note) => {
                match note {
                    Note::Serving { .. } => self.host(host).serving = true,
                    Note::Settled => self.host(host).disk.settled(),
                    _ => {}
                }
                observer.noted(&view(&self.hosts, at, host), &note);
                if let Some(point) = Point::of_note(&note) {
                    self.reach(host, point);
                }
            }
            Effect::Halt(reason) => {
                self.trace.world(at, host, &reason, 0);
                self.host(host).stop();
                self.host(host).disk.kill();
                observer.halted(&view(&self.hosts, at, host), &reason);
                let mut acts = Vec::new();
                observer.stopped(&view(&self.hosts, at, host), &mut acts);
                self.perform(acts);
            }
        }
    }

    fn disk_request(&mut self, host: u32, op: OpId, request: DiskRequest) {
        let at = self.at;
        let there = self.host(host);
        let point = Point::of_request(&request, there.serving);
        let (ticket, done) = there.disk.issue(at, request);
        let fresh = there.operations.insert(op);
        let incarnation = there.incarnation;
        if !fresh {
            self.findings.correctness("W1", at, format!("{op:?} was issued twice"));
        }
        self.schedule(done, Item::DiskDone { host, incarnation, op, ticket });
        self.lurk(host, done);
        if let Some(point) = point {
            self.reach(host, point);
        }
    }

    fn reply(
        &mut self,
        host: u32,
        id: RequestId,
        reply: Result<Reply, RequestError>,
        last: bool,
        observer: &mut dyn Observer,
    ) {
        let at = self.at;
        if id.0 >= CLOSE_ID_FIRST {
            self.closed(host, id, &reply, observer);
            return;
        }
        if matches!(reply, Ok(Reply::Collected(_))) {
            self.look_for_lost_chunks(host);
        }
        let mut acts = Vec::new();
        observer.replied(&view(&self.hosts, at, host), id, reply, last, &mut acts);
        self.perform(acts);
    }

    /// A collection is over: whatever is referred to must still be there.
    fn look_for_lost_chunks(&mut self, host: u32) {
        let there = &self.hosts[host as usize];
        let Some(holdings) = there.node.as_ref().and_then(Subject::holdings) else { return };
        let referenced = garbage::referenced(&holdings, &there.disk);
        garbage::check_kept(&referenced, holdings.store.index(), &there.disk, self.at, &mut self.findings);
    }

    /// Checks that requests are conserved: each was delivered, dropped with its incarnation, or is on its way.
    pub(crate) fn check_conservation(&mut self) {
        let mut on_their_way = 0;
        while let Some((_, item)) = self.queue.pop() {
            on_their_way += u64::from(matches!(item, Item::Request { .. }));
        }
        let accounted = self.requests_delivered + self.requests_dropped + on_their_way;
        if accounted != self.requests_sent {
            let text = format!("{} requests were sent, but {accounted} are accounted for", self.requests_sent);
            self.findings.correctness("W1", self.at, text);
        }
        for host in &self.hosts {
            let pending = host.disk.pending().count();
            if host.node.is_some() && pending != host.operations.len() {
                let text = format!("{pending} disk requests are pending, {} are known", host.operations.len());
                self.findings.correctness("W1", self.at, text);
            }
        }
    }
}

pub(crate) fn view<M: Subject>(hosts: &[Host<M>], at: u64, host: u32) -> View<'_> {
    let there = &hosts[host as usize];
    let holdings = there.node.as_ref().and_then(Subject::holdings);
    View { at, host, incarnation: there.incarnation, disk: &there.disk, holdings, wall_max: there.wall_max }
}
