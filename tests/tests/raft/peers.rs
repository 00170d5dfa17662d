//! Whole members, from their disks up: what Raft alone can't tell, as who is introduced to whom, what is read at a start and
//! what commands come to. Told line by line like the stories of Raft; a disk does at once what it is asked for, and says so a
//! tenth of a millisecond later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dps_core::config::{Config, RawConfig};
use dps_core::disk::halt::HaltReason;
use dps_core::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File};
use dps_core::id::{NodeId, OpId};
use dps_core::ledger::command::Command;
use dps_core::machine::Machine as _;
use dps_core::note::Note;
use dps_core::raft::membership::{Change, Membership};
use dps_core::replica::{Answer, Decision, Effect, Event, Founding, Message, Peer, Refusal, Replica, Settings};
use dps_core::rng::Seed;
use dps_core::time::{Instant, Now, WallTime};

use crate::group::node;
use crate::words::{Named, Sent, Told, brief, is_routine, order};

/// How long a message is on its way.
const TRAVEL: Duration = Duration::from_millis(2);

/// How long a disk takes to say that it has done something.
const DISK: Duration = Duration::from_micros(100);

/// What the clocks of all say at the beginning: 2025-01-01.
pub(crate) const BEGIN: u64 = 1_735_689_600_000_000_000;

/// What is on a disk.
pub(crate) type Files = BTreeMap<File, Vec<u8>>;

/// One member with its disk.
struct Host {
    peer: Option<Peer>,
    files: Files,
    /// Which start it is, of all that there ever were.
    start: u64,
    /// How far ahead its wall clock is.
    ahead: Duration,
    /// Whether its disk fails to read snapshots.
    blind: bool,
}

enum Arrival {
    Message(Message),
    DiskDone { node: NodeId, start: u64, op: OpId, result: DiskResult },
}

/// A group of members.
pub(crate) struct Peers {
    hosts: BTreeMap<NodeId, Host>,
    founders: Arc<Membership>,
    settings: Settings,
    pub(crate) now: Instant,
    arrivals: BTreeMap<(Instant, u64), Arrival>,
    arrived: u64,
    starts: u64,
    tickets: u64,
    /// Pairs that can't talk, in this direction.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    pub(crate) decided: BTreeMap<u64, Result<Decision, Refusal>>,
    pub(crate) passed: BTreeMap<u64, Answer>,
    pub(crate) readable: BTreeMap<u64, Result<u64, Refusal>>,
    pub(crate) changed: BTreeMap<u64, Result<(), Refusal>>,
    pub(crate) halted: BTreeMap<NodeId, HaltReason>,
    pub(crate) notes: Vec<(NodeId, Note)>,
    /// The messages that were sent, for who wants to send one again.
    pub(crate) sent: Vec<Message>,
    /// What happened, a line each.
    pub(crate) told: Vec<String>,
}

impl Peers {
    /// Voters 1 to `voters`, and further members that know of them up to `members`. All start.
    pub(crate) fn new(voters: u8, members: u8, settings: Settings) -> Self {
        let founders = Arc::new(Membership::new((1..=voters).map(node)).expect("there is a voter"));
        let mut peers = Self {
            hosts: BTreeMap::new(),
            founders,
            settings,
            now: Instant::ZERO,
            arrivals: BTreeMap::new(),
            arrived: 0,
            starts: 0,
            tickets: 0,
            cut: BTreeSet::new(),
            decided: BTreeMap::new(),
            passed: BTreeMap::new(),
            readable: BTreeMap::new(),
            changed: BTreeMap::new(),
            halted: BTreeMap::new(),
            notes: vec![],
            sent: vec![],
            told: vec![],
        };
        for number in 1..=members {
            let host = Host { peer: None, files: Files::new(), start: 0, ahead: Duration::ZERO, blind: false };
            peers.hosts.insert(node(number), host);
        }
        (1..=members).for_each(|number| peers.start(node(number)));
        peers
    }

    fn host(&mut self, id: NodeId) -> &mut Host {
        self.hosts.get_mut(&id).expect("nobody speaks of strangers")
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.hosts.keys().copied().collect()
    }

    /// A member whose disk was read.
    pub(crate) fn replica(&self, id: NodeId) -> Option<&Replica> {
        self.hosts[&id].peer.as_ref()?.replica()
    }

    /// The leader of the newest term that is up.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let rafts = self.hosts.keys().filter_map(|id| self.replica(*id)).map(Replica::raft);
        rafts
            .filter(|raft| raft.leader() == Some(raft.id()))
            .max_by_key(|raft| raft.term())
            .map(dps_core::raft::Raft::id)
    }

    pub(crate) fn start(&mut self, id: NodeId) {
        self.starts += 1;
        let (founders, settings, start) = (Arc::clone(&self.founders), self.settings, self.starts);
        let host = self.host(id);
        assert!(host.peer.is_none(), "it runs");
        host.start = start;
        // Left-overs of a start are removed by the next one.
        let founding = Founding { id, members: founders, settings };
        let seed = Seed::new([7; 32]).split("start", start);
        host.peer = Some(Peer::new(Config::new(RawConfig::STANDARD).expect("it fits"), founding, seed));
        self.halted.remove(&id);
        self.give(id, Event::Wake);
    }

    /// A process ends at once. What it has written is there.
    pub(crate) fn kill(&mut self, id: NodeId) {
        self.host(id).peer = None;
    }

    /// A copy of the disk of a member.
    pub(crate) fn copy_disk(&self, id: NodeId) -> Files {
        self.hosts[&id].files.clone()
    }

    /// The disk of a member that is down is another one.
    pub(crate) fn replace_disk(&mut self, id: NodeId, files: Files) {
        let host = self.host(id);
        assert!(host.peer.is_none(), "only the disk of a member that is down is replaced");
        host.files = files;
    }

    /// What is on the disk of a member, to be harmed.
    pub(crate) fn files(&mut self, id: NodeId) -> &mut Files {
        &mut self.host(id).files
    }

    /// From now on the clock of a member is ahead.
    pub(crate) fn advance_clock(&mut self, id: NodeId, by: Duration) {
        self.host(id).ahead = by;
    }

    /// From now on snapshots on a disk can't be read.
    pub(crate) fn blind(&mut self, id: NodeId) {
        self.host(id).blind = true;
    }

    /// They can be read again.
    pub(crate) fn mend(&mut self, id: NodeId) {
        self.host(id).blind = false;
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let micros = self.now.as_nanos() / 1_000;
        self.told.push(format!("{:4}.{} ms  {line}", micros / 1_000, micros % 1_000 / 100));
    }

    fn moment(&self, id: NodeId) -> Now {
        let ahead = u64::try_from(self.hosts[&id].ahead.as_nanos()).expect("spans are short");
        Now { mono: self.now, wall: WallTime::from_nanos(BEGIN + self.now.as_nanos() + ahead) }
    }

    pub(crate) fn give(&mut self, id: NodeId, event: Event) {
        let now = self.moment(id);
        let Some(peer) = &mut self.host(id).peer else { return };
        let mut out = vec![];
        peer.step(now, event, &mut out);
        if !out.iter().any(|effect| matches!(effect, Effect::Halt(_))) {
            peer.flush(now, &mut out);
            if !out.iter().any(|effect| matches!(effect, Effect::Halt(_))) {
                peer.check();
            }
        }
        for effect in out {
            self.perform(id, effect);
        }
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    pub(crate) fn propose(&mut self, id: NodeId, command: Command) -> u64 {
        let ticket = self.ticket();
        self.tell(&format!("client -> {}  number {ticket}: {}", Named(id), order(&command)));
        self.give(id, Event::Propose { ticket, volumes: vec![], command });
        ticket
    }

    /// A command goes to another member by way of this one.
    pub(crate) fn pass(&mut self, id: NodeId, to: NodeId, ticket: u64, command: Command) {
        self.give(id, Event::Pass { to, ticket, command });
    }

    pub(crate) fn change(&mut self, id: NodeId, changes: Vec<Change>) -> u64 {
        let ticket = self.ticket();
        self.give(id, Event::Change { ticket, changes });
        ticket
    }

    pub(crate) fn read(&mut self, id: NodeId) -> u64 {
        let ticket = self.ticket();
        self.give(id, Event::Read { ticket });
        ticket
    }

    fn arrive(&mut self, at: Instant, arrival: Arrival) {
        self.arrived += 1;
        self.arrivals.insert((at, self.arrived), arrival);
    }

    /// A message that was sent before comes again, or another one that nobody sent.
    pub(crate) fn replay(&mut self, message: Message) {
        self.give(message.to(), Event::Received(Box::new(message)));
    }

    fn perform(&mut self, id: NodeId, effect: Effect) {
        match effect {
            Effect::Disk { op, request } => {
                let start = self.hosts[&id].start;
                let result = done(self.host(id), &request);
                self.arrive(self.now + DISK, Arrival::DiskDone { node: id, start, op, result });
            }
            Effect::Send(message) => self.send(*message),
            Effect::Decided { ticket, result } => {
                let what = match &*result {
                    Ok(Decision { position, outcome, .. }) => {
                        format!("is committed as {position} and came to {outcome:?}")
                    }
                    Err(refusal) => format!("is not done: {}", brief(&refusal.to_string())),
                };
                self.tell(&format!("{} -> client  number {ticket} {what}", Named(id)));
                assert!(self.decided.insert(ticket, *result).is_none(), "a ticket is answered once");
            }
            Effect::Passed { ticket, answer } => {
                self.passed.insert(ticket, answer);
            }
            Effect::Changed { ticket, result } => {
                self.changed.insert(ticket, result.map(|_| ()));
            }
            Effect::Readable { ticket, result } => {
                self.readable.insert(ticket, result);
            }
            Effect::Closed => {}
            Effect::Note(note) => {
                if matters(&note) {
                    self.tell(&format!("{} {}", Named(id), brief(&note.to_string())));
                }
                self.notes.push((id, note));
            }
            Effect::Halt(reason) => {
                self.tell(&format!("{} stops: {}", Named(id), brief(&reason.to_string())));
                self.halted.insert(id, reason);
                self.kill(id);
            }
        }
    }

    fn send(&mut self, message: Message) {
        let lost = self.cut.contains(&(message.from(), message.to()));
        let from = Named(message.from());
        match &message {
            Message::Raft(message) if is_routine(&message.body) => {}
            Message::Raft(message) => self.tell(&format!("{from} {}", Sent(message, lost))),
            Message::Member(letter) => self.tell(&format!("{from} {}", Told(letter, lost))),
        }
        self.sent.push(message.clone());
        if !lost && self.hosts.contains_key(&message.to()) {
            self.arrive(self.now + TRAVEL, Arrival::Message(message));
        }
    }

    /// The next thing happens; returns false when it would be after `until`.
    fn advance(&mut self, until: Instant) -> bool {
        let arrival = self.arrivals.first_key_value().map(|(key, _)| key.0);
        let deadlines = self.hosts.iter().filter_map(|(id, host)| Some((host.peer.as_ref()?.deadline()?, *id)));
        let due = deadlines.min();
        let next = arrival.into_iter().chain(due.map(|(at, _)| at)).min();
        let Some(next) = next.filter(|at| *at <= until) else {
            self.now = until;
            return false;
        };
        self.now = next.max(self.now);
        if arrival == Some(next) {
            match self.arrivals.pop_first().expect("it was just looked at").1 {
                Arrival::Message(message) => self.give(message.to(), Event::Received(Box::new(message))),
                Arrival::DiskDone { node, start, op, result } => {
                    if self.hosts[&node].start == start {
                        self.give(node, Event::DiskDone { op, result });
                    }
                }
            }
        } else {
            let (_, id) = due.expect("something is due");
            self.give(id, Event::Wake);
        }
        true
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.advance(until) {}
    }

    /// Runs until this is so.
    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        let until = self.now + Duration::from_secs(5);
        while !is(self) && self.advance(until) {}
        assert!(is(self), "never: {what}\n{}", self.told.join("\n"));
    }
}

/// Whether a note is part of a story.
const fn matters(note: &Note) -> bool {
    matches!(note, Note::Group(_) | Note::Member(_) | Note::SnapshotMade { .. } | Note::SnapshotFetched { .. })
        || matches!(note, Note::SnapshotRejected { .. })
}

/// A disk does what it is asked for.
fn done(host: &mut Host, request: &DiskRequest) -> DiskResult {
    let files = &mut host.files;
    match request {
        DiskRequest::List => {
            Ok(DiskReply::Listed(files.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect()))
        }
        DiskRequest::Read { file: File::Snapshot(_), .. } if host.blind => Err(DiskError::Io(5)),
        DiskRequest::Read { file, offset, len, .. } => {
            let bytes = files.get(file).ok_or(DiskError::NotFound)?;
            let from = usize::try_from(*offset).expect("small").min(bytes.len());
            let to = from.saturating_add(*len as usize).min(bytes.len());
            Ok(DiskReply::Read(bytes[from..to].to_vec().into()))
        }
        DiskRequest::Append { file, offset, parts } => {
            let bytes = files.entry(*file).or_default();
            assert_eq!(bytes.len() as u64, *offset, "an append goes to the end of {file}");
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
            Ok(DiskReply::Done)
        }
        DiskRequest::Publish { stage, to } => {
            let bytes = files.remove(&File::Stage(*stage)).ok_or(DiskError::NotFound)?;
            files.insert(*to, bytes);
            Ok(DiskReply::Done)
        }
        DiskRequest::Remove { file } => {
            files.remove(file);
            Ok(DiskReply::Done)
        }
        DiskRequest::Sync { .. } => Ok(DiskReply::Done),
        DiskRequest::Allocate { .. } => Ok(DiskReply::Done),
        DiskRequest::Space => Ok(DiskReply::Space { total: 1 << 40, available: 1 << 39 }),
    }
}
