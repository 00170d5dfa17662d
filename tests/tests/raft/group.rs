//! The group, and what is checked after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use dps_core::id::NodeId;
use dps_core::machine::Machine;
use dps_core::raft::entry::{Entry, Payload, Position};
use dps_core::raft::membership::{Change, Membership};
use dps_core::raft::message::{Body, Message};
use dps_core::raft::settings::Settings;
use dps_core::raft::snapshot::Snapshot;
use dps_core::raft::{Effect, Event, Note, Raft, Refusal, Start};
use dps_core::rng::{Rng, Seed};
use dps_core::time::{Instant, Now, WallTime};

use crate::disk::{Disk, Loss, fold};
use crate::words::{Named, Said, Sent, brief, is_routine, outcome, sight, wishes};

pub(crate) fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 20])
}

pub(crate) fn small(number: u64) -> usize {
    usize::try_from(number).expect("it is small")
}

/// One node with its disk.
#[derive(Debug)]
struct Host {
    raft: Option<Raft>,
    incarnation: u64,
    disk: Disk,
    applied: u64,
    /// What was applied comes to this.
    state: [u8; 32],
}

/// How the world treats messages and disks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    /// Messages of a thousand that are lost.
    pub(crate) lost: u64,
    /// Messages of a thousand that come twice.
    pub(crate) doubled: u64,
    /// The longest that a message takes.
    pub(crate) delay_max: Duration,
    /// The longest that a write takes.
    pub(crate) disk_max: Duration,
    /// Whether everything takes its longest.
    pub(crate) steady: bool,
}

impl World {
    pub(crate) const GOOD: Self = Self {
        lost: 0,
        doubled: 0,
        delay_max: Duration::from_millis(2),
        disk_max: Duration::from_millis(2),
        steady: false,
    };

    /// Each message takes two milliseconds and each write one, so that a story can be followed.
    pub(crate) const STEADY: Self = Self { disk_max: Duration::from_millis(1), steady: true, ..Self::GOOD };
}

#[derive(Debug)]
enum Arrival {
    Message(Message),
    Persisted { node: NodeId, incarnation: u64, write: u64 },
    Fetched { node: NodeId, incarnation: u64, snapshot: Snapshot },
}

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    hosts: BTreeMap<NodeId, Host>,
    founders: Membership,
    settings: Settings,
    pub(crate) world: World,
    /// Pairs that can't talk, in this direction.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    /// How long each write takes at some nodes.
    pub(crate) slow: BTreeMap<NodeId, Duration>,
    arrivals: BTreeMap<(Instant, u64), Arrival>,
    arrived: u64,
    pub(crate) now: Instant,
    seed: Seed,
    pub(crate) rng: Rng,
    leaders: BTreeMap<u64, NodeId>,
    /// What is committed, once and for all.
    pub(crate) committed: Vec<Entry>,
    /// What all of it up to each entry comes to.
    states: Vec<[u8; 32]>,
    pub(crate) answers: BTreeMap<u64, Result<Position, Refusal>>,
    pub(crate) readable: BTreeMap<u64, Result<u64, Refusal>>,
    /// What was committed when each read came.
    asked: BTreeMap<u64, u64>,
    tickets: u64,
    pub(crate) messages: u64,
    /// The last answer to an append between each two nodes.
    replies: BTreeMap<(NodeId, NodeId), Message>,
    pub(crate) notes: Vec<(NodeId, Note)>,
    /// Whose losses an operator has put aside.
    vouched: BTreeSet<NodeId>,
    /// What happened, a line each, for who wants to read it.
    pub(crate) told: Vec<String>,
}

impl Group {
    /// Voters 1 to `voters`, and further nodes that know of nobody up to `nodes`.
    pub(crate) fn new(voters: u8, nodes: u8, seed: u64, settings: Settings) -> Self {
        let seed = Seed::new([7; 32]).split("group", seed);
        let founders = Membership::new((1..=voters).map(node)).expect("there is a voter");
        let rng = seed.split("world", 0).rng();
        let mut group = Self {
            hosts: BTreeMap::new(),
            founders,
            settings,
            world: World::GOOD,
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            arrived: 0,
            now: Instant::ZERO,
            seed,
            rng,
            leaders: BTreeMap::new(),
            committed: vec![],
            states: vec![],
            answers: BTreeMap::new(),
            readable: BTreeMap::new(),
            asked: BTreeMap::new(),
            tickets: 0,
            messages: 0,
            replies: BTreeMap::new(),
            notes: vec![],
            vouched: BTreeSet::new(),
            told: vec![],
        };
        for number in 1..=nodes {
            let disk = Disk::new(&group.founders);
            let host = Host { raft: None, incarnation: 0, disk, applied: 0, state: [0; 32] };
            group.hosts.insert(node(number), host);
            group.start(node(number));
        }
        group
    }

    fn host(&mut self, id: NodeId) -> &mut Host {
        self.hosts.get_mut(&id).expect("nobody speaks of strangers")
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.hosts.keys().copied().collect()
    }

    pub(crate) fn raft(&self, id: NodeId) -> Option<&Raft> {
        self.hosts[&id].raft.as_ref()
    }

    pub(crate) fn is_up(&self, id: NodeId) -> bool {
        self.hosts[&id].raft.is_some()
    }

    /// The leader of the newest term that is up.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let rafts = self.hosts.values().filter_map(|host| host.raft.as_ref());
        rafts.filter(|raft| raft.leader() == Some(raft.id())).max_by_key(|raft| raft.term()).map(Raft::id)
    }

    pub(crate) fn start(&mut self, id: NodeId) {
        let now = self.moment();
        let host = self.hosts.get_mut(&id).expect("nobody speaks of strangers");
        assert!(host.raft.is_none());
        host.incarnation += 1;
        host.applied = 0;
        host.state = [0; 32];
        if let Some(snapshot) = &host.disk.snapshot {
            (host.applied, host.state) = (snapshot.last.index, snapshot.digest);
        }
        let start = Start {
            id,
            incarnation: host.incarnation,
            vote: host.disk.vote,
            base: host.disk.base.clone(),
            snapshot: host.disk.snapshot.clone(),
            entries: host.disk.entries.clone(),
            doubt: host.disk.doubt,
            vote_certain: host.disk.vote_certain,
            lacks_state: false,
            settings: self.settings,
        };
        let rng = self.seed.split("raft", host.incarnation).split("of", u64::from(id.as_bytes()[0])).rng();
        host.raft = Some(Raft::new(start, rng, now));
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let micros = self.now.as_nanos() / 1_000;
        self.told.push(format!("{:4}.{} ms  {line}", micros / 1_000, micros % 1_000 / 100));
    }

    /// The last answer to an append that was sent from one node to another.
    pub(crate) fn last_reply(&self, from: NodeId, to: NodeId) -> Option<Message> {
        self.replies.get(&(from, to)).cloned()
    }

    /// Everything on the disk of a node that is down is gone.
    pub(crate) fn wipe(&mut self, id: NodeId) {
        assert!(!self.is_up(id), "only the disk of a node that is down is replaced");
        let host = self.hosts.get_mut(&id).expect("nobody speaks of strangers");
        // So is how often it was started.
        (host.disk, host.incarnation) = (Disk::new(&self.founders), 0);
    }

    /// What is durable of a node.
    pub(crate) fn copy_disk(&self, id: NodeId) -> Disk {
        self.hosts[&id].disk.copy()
    }

    /// A node that is down has another disk from now on.
    pub(crate) fn replace_disk(&mut self, id: NodeId, disk: Disk) {
        assert!(!self.is_up(id), "only the disk of a node that is down is replaced");
        self.host(id).disk = disk;
    }

    /// The newest durable snapshot of a node.
    pub(crate) fn snapshot_of(&self, id: NodeId) -> Option<Snapshot> {
        self.hosts[&id].disk.snapshot.clone()
    }

    /// Nothing of what a node has written and is not durable ever will be.
    pub(crate) fn lose_writes(&mut self, id: NodeId) {
        self.host(id).disk.pending.clear();
    }

    /// A node dies; of its writes that are not durable, a beginning stays.
    pub(crate) fn crash(&mut self, id: NodeId) {
        let pending = self.hosts[&id].disk.pending.len() as u64;
        let kept = self.rng.below(pending + 1);
        let host = self.host(id);
        host.raft = None;
        for write in std::mem::take(&mut host.disk.pending).into_iter().take(small(kept)) {
            host.disk.apply(write);
        }
    }

    /// A node dies, and with it what its last durable writes wrote.
    pub(crate) fn crash_and_lose(&mut self, id: NodeId, writes: usize, loss: Loss) {
        self.crash(id);
        self.host(id).disk.lose(writes, loss);
    }

    /// Whether what a node has lost may still matter.
    pub(crate) fn has_doubt(&self, id: NodeId) -> bool {
        let disk = &self.hosts[&id].disk;
        disk.doubt.is_some() || !disk.vote_certain
    }

    /// Whether fewer than a quorum have lost something if `id` does, by whatever membership anybody has.
    pub(crate) fn may_lose(&self, id: NodeId) -> bool {
        let alone = |membership: &Membership| {
            membership.voters().len() < 2 || (membership.is_joint() && membership.outgoing().len() < 2)
        };
        let memberships = self.hosts.values().flat_map(|host| {
            let logged = host.disk.entries.iter().filter_map(|entry| match &entry.payload {
                Payload::Membership(membership) => Some(membership.as_ref()),
                Payload::Empty | Payload::Command(_) => None,
            });
            let running = host.raft.iter().map(Raft::membership);
            logged.chain(running).chain([host.disk.base.membership.as_ref()])
        });
        self.hosts.keys().all(|other| *other == id || !self.has_doubt(*other)) && !memberships.into_iter().any(alone)
    }

    pub(crate) fn give(&mut self, id: NodeId, event: Event) {
        self.give_all(id, [event]);
    }

    /// Gives a node several events in one turn.
    pub(crate) fn give_all(&mut self, id: NodeId, events: impl IntoIterator<Item = Event>) {
        let now = self.moment();
        let Some(raft) = &mut self.host(id).raft else { return };
        let mut out = vec![];
        events.into_iter().for_each(|event| raft.step(now, event, &mut out));
        raft.flush(now, &mut out);
        raft.check();
        let again = &mut vec![];
        raft.flush(now, again);
        assert!(again.is_empty(), "a second flush has nothing to do: {again:?}");
        for effect in out {
            self.perform(id, effect);
        }
    }

    pub(crate) fn propose(&mut self, id: NodeId) -> u64 {
        self.propose_together(id, 1)
    }

    /// So many commands come in one turn; the number of the last one.
    pub(crate) fn propose_together(&mut self, id: NodeId, count: u64) -> u64 {
        let tickets = self.tickets + 1..=self.tickets + count;
        self.tickets += count;
        tickets.clone().for_each(|ticket| self.tell(&format!("client -> {}  command {ticket}", Named(id))));
        let command = |ticket: u64| Bytes::copy_from_slice(&ticket.to_le_bytes());
        self.give_all(id, tickets.map(|ticket| Event::Propose { ticket, command: command(ticket) }));
        self.tickets
    }

    pub(crate) fn change(&mut self, id: NodeId, changes: Vec<Change>) -> u64 {
        self.tickets += 1;
        self.tell(&format!("client -> {}  change {}: {}", Named(id), self.tickets, wishes(&changes)));
        self.give(id, Event::Change { ticket: self.tickets, changes });
        self.tickets
    }

    pub(crate) fn read(&mut self, id: NodeId) -> u64 {
        self.tickets += 1;
        self.asked.insert(self.tickets, self.committed.len() as u64);
        self.tell(&format!("client -> {}  read {}", Named(id), self.tickets));
        self.give(id, Event::Read { ticket: self.tickets });
        self.tickets
    }

    fn moment(&self) -> Now {
        Now { mono: self.now, wall: WallTime::from_nanos(self.now.as_nanos()) }
    }

    fn below(&mut self, span: Duration) -> Duration {
        if self.world.steady {
            return span;
        }
        Duration::from_nanos(self.rng.below(u64::try_from(span.as_nanos()).expect("spans are short") + 1))
    }

    fn arrive(&mut self, at: Instant, arrival: Arrival) {
        self.arrived += 1;
        self.arrivals.insert((at, self.arrived), arrival);
    }

    fn perform(&mut self, id: NodeId, effect: Effect) {
        match effect {
            Effect::Persist(write) => {
                let usual = self.below(self.world.disk_max);
                let delay = self.slow.get(&id).copied().unwrap_or(usual);
                let host = self.host(id);
                let (incarnation, number) = (host.incarnation, write.number);
                host.disk.pending.push_back(write);
                self.arrive(self.now + delay, Arrival::Persisted { node: id, incarnation, write: number });
            }
            Effect::Send(message) => self.send(message),
            Effect::Apply(entries) => self.applied(id, &entries),
            Effect::Restore(snapshot) => self.restored(id, &snapshot),
            Effect::Fetch { from, snapshot } => self.fetch(id, from, snapshot),
            Effect::Answered { ticket, result } => {
                assert!(self.answers.insert(ticket, result).is_none(), "a ticket is answered once");
                self.tell(&format!("{} -> client  {}", Named(id), outcome(ticket, &result)));
                if let Ok(position) = result {
                    let at = small(position.index) - 1;
                    // Perhaps it is applied in this very turn.
                    if let Some(entry) = self.committed.get(at) {
                        assert_eq!(entry.position, position, "what is said to be committed is");
                    }
                }
            }
            Effect::Readable { ticket, result } => {
                assert!(self.readable.insert(ticket, result).is_none(), "a read is answered once");
                self.tell(&format!("{} -> client  {}", Named(id), sight(ticket, &result)));
                if let Ok(index) = result {
                    assert!(index >= self.asked[&ticket], "a read sees all that was committed when it came");
                }
            }
            Effect::Settled => self.settled(id),
            Effect::Note(note) => {
                if let Note::Leads { term } = note {
                    let first = *self.leaders.entry(term).or_insert(id);
                    assert_eq!(first, id, "one leader in a term");
                    self.is_complete(id);
                }
                self.tell(&format!("{} {}", Named(id), brief(&note.to_string())));
                self.notes.push((id, note));
            }
        }
    }

    /// A new leader has everything that was ever committed.
    fn is_complete(&self, id: NodeId) {
        let raft = self.hosts[&id].raft.as_ref().expect("it just spoke");
        for entry in &self.committed {
            let index = entry.position.index;
            let found = raft.entry(index);
            assert!(found == Some(entry) || raft.base().index >= index, "a leader has what is committed: {found:?}");
        }
    }

    /// What a node has lost and others rely on is there again, or was never committed.
    fn settled(&mut self, id: NodeId) {
        let disk = &self.hosts[&id].disk;
        assert!(self.has_doubt(id), "what was in doubt is settled once");
        let newest = disk.entries.last().map_or(disk.base.position, |entry| entry.position);
        for entry in disk.lost.iter().filter(|lost| self.committed.contains(lost)) {
            let overruled = self.vouched.contains(&id);
            assert!(overruled || disk.has(entry), "{entry:?} is lost, and settled by a log up to {newest}");
        }
        self.vouched.remove(&id);
        self.host(id).disk.settled();
        self.tell(&format!("{} has settled durably what it has lost", Named(id)));
    }

    /// An operator says that nothing matters of what a node has lost.
    pub(crate) fn vouch(&mut self, id: NodeId, index: u64) {
        self.vouched.insert(id);
        self.give(id, Event::Settle { index });
    }

    fn send(&mut self, message: Message) {
        self.messages += 1;
        if let Body::AppendReply { .. } = message.body {
            self.replies.insert((message.from, message.to), message.clone());
        }
        let host = &self.hosts[&message.from];
        let durable = host.disk.vote.term;
        // A pre-vote speaks of a term to come.
        if !matches!(message.body, Body::PreVote { .. } | Body::PreVoteReply { granted: true }) {
            assert!(message.term <= durable, "{message:?} goes out before its term is durable");
        }
        if let Body::VoteReply { granted: true, .. } = message.body
            && message.term == durable
        {
            assert_eq!(host.disk.vote.candidate, Some(message.to), "a vote is durable before it is told");
        }
        let lost = self.cut.contains(&(message.from, message.to)) || self.rng.below(1_000) < self.world.lost;
        if !is_routine(&message.body) {
            self.tell(&format!("{} {}", Named(message.from), Sent(&message, lost)));
        }
        if lost {
            return;
        }
        let copies = 1 + u64::from(self.rng.below(1_000) < self.world.doubled);
        for _ in 0..copies {
            let delay = self.below(self.world.delay_max);
            self.arrive(self.now + delay, Arrival::Message(message.clone()));
        }
    }

    fn applied(&mut self, id: NodeId, entries: &[Entry]) {
        for entry in entries.iter().cloned() {
            let host = self.host(id);
            host.applied += 1;
            let index = entry.position.index;
            assert_eq!(index, host.applied, "entries are applied in their order");
            host.state = fold(host.state, &entry);
            let state = host.state;
            self.tell(&format!("{} applies {}", Named(id), Said(&entry)));
            let at = small(index) - 1;
            match self.committed.get(at) {
                Some(known) => assert_eq!(*known, entry, "what is committed never changes"),
                None => {
                    self.committed.push(entry);
                    self.states.push(state);
                }
            }
            assert_eq!(self.states[at], state, "equal logs come to equal states");
        }
    }

    /// A node makes a snapshot of what it has applied.
    pub(crate) fn snapshot(&mut self, id: NodeId) {
        let host = &self.hosts[&id];
        let Some(last) = small(host.applied).checked_sub(1).map(|at| self.committed[at].position) else { return };
        if host.raft.is_none() {
            return;
        }
        let membership = self.membership_at(last.index);
        let snapshot = Snapshot { last, membership, digest: host.state, bytes: 32 };
        self.tell(&format!("{} makes a snapshot up to {last}", Named(id)));
        let host = self.host(id);
        host.disk.snapshot = Some(snapshot.clone());
        self.give(id, Event::Snapshotted { snapshot, through: last.index });
    }

    /// The newest committed membership up to an index.
    fn membership_at(&self, index: u64) -> Arc<Membership> {
        let newest = self.committed[..small(index)].iter().rev().find_map(|entry| match &entry.payload {
            Payload::Membership(membership) => Some(Arc::clone(membership)),
            Payload::Empty | Payload::Command(_) => None,
        });
        newest.unwrap_or_else(|| Arc::new(self.founders.clone()))
    }

    /// A node fetches a snapshot, if it can reach whoever has it.
    fn fetch(&mut self, id: NodeId, from: NodeId, snapshot: Snapshot) {
        assert_eq!(snapshot.digest, self.states[small(snapshot.last.index) - 1], "a snapshot is of what is committed");
        assert_eq!(snapshot.membership, self.membership_at(snapshot.last.index), "a snapshot knows who takes part");
        if self.cut.contains(&(from, id)) || !self.is_up(from) || self.rng.below(1_000) < self.world.lost {
            return;
        }
        let delay = self.below(self.world.delay_max * 4);
        let incarnation = self.hosts[&id].incarnation;
        self.arrive(self.now + delay, Arrival::Fetched { node: id, incarnation, snapshot });
    }

    fn restored(&mut self, id: NodeId, snapshot: &Snapshot) {
        let host = self.host(id);
        assert!(snapshot.last.index > host.applied, "a snapshot never goes back");
        (host.applied, host.state) = (snapshot.last.index, snapshot.digest);
    }

    /// The next thing happens; returns false when it would be after `until`.
    pub(crate) fn advance(&mut self, until: Instant) -> bool {
        let arrival = self.arrivals.first_key_value().map(|(key, _)| key.0);
        let deadlines = self.hosts.iter().filter_map(|(id, host)| Some((host.raft.as_ref()?.deadline()?, *id)));
        let due = deadlines.min();
        let next = arrival.into_iter().chain(due.map(|(at, _)| at)).min();
        let Some(next) = next.filter(|at| *at <= until) else {
            self.now = until;
            return false;
        };
        self.now = next.max(self.now);
        if arrival == Some(next) {
            let (_, arrival) = self.arrivals.pop_first().expect("it was just looked at");
            self.deliver(arrival);
        } else {
            let (_, id) = due.expect("something is due");
            self.give(id, Event::Wake);
        }
        true
    }

    fn deliver(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Message(message) => {
                if !self.cut.contains(&(message.from, message.to)) {
                    self.give(message.to, Event::Received(message));
                }
            }
            Arrival::Persisted { node, incarnation, write } => {
                let host = self.host(node);
                if host.incarnation != incarnation || host.raft.is_none() {
                    return;
                }
                host.disk.complete(write);
                self.give(node, Event::Persisted { write });
            }
            Arrival::Fetched { node, incarnation, snapshot } => {
                let host = self.host(node);
                if host.incarnation != incarnation || host.raft.is_none() {
                    return;
                }
                let newest = host.disk.snapshot.as_ref().map_or(0, |newest| newest.last.index);
                if snapshot.last.index > newest {
                    host.disk.snapshot = Some(snapshot.clone());
                    self.give(node, Event::Installed(snapshot));
                }
            }
        }
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.advance(until) {}
    }

    /// Runs until a ticket is answered.
    pub(crate) fn answer(&mut self, ticket: u64, within: Duration) -> Option<Result<Position, Refusal>> {
        let until = self.now + within;
        while !self.answers.contains_key(&ticket) && self.advance(until) {}
        self.answers.get(&ticket).copied()
    }

    /// Everything works from now on, and everybody is up.
    pub(crate) fn heal(&mut self) {
        self.world = World::GOOD;
        self.cut.clear();
        for id in self.nodes() {
            if !self.is_up(id) {
                self.start(id);
            }
        }
    }

    /// What is committed is durable with a majority of the voters in force.
    pub(crate) fn is_durable(&self) {
        let Some(last) = self.committed.last() else { return };
        let has = |id: &NodeId| self.hosts[id].disk.has(last);
        let newest = self.committed.iter().rev().find_map(|entry| match &entry.payload {
            Payload::Membership(membership) => Some(membership.as_ref()),
            Payload::Empty | Payload::Command(_) => None,
        });
        let membership = newest.unwrap_or(&self.founders);
        assert!(dps_core::raft::quorum::has_majority(membership, has), "what is committed is durable with a majority");
    }
}
