//! A node, its disk and its clients, and the turns that bring them on.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::config::Config;
use dps_core::id::RequestId;
use dps_core::ledger::file::Target;
use dps_core::limits::PUT_BLOCKS_AHEAD;
use dps_core::machine::Machine as _;
use dps_core::node::{Effect, Event, Node, Phase, Reply, Request, RequestError, VerifyScope};
use dps_core::note::Note;
use dps_core::rng::Seed;
use dps_core::time::{Instant, Now, WallTime};

use super::disk::{Disk, Fault};
use super::model::Model;
use super::talk::{Bench, Get, Talk, Verify};
use crate::input::Input;

/// Turns within which everything comes to rest.
const REST_TURNS_MAX: usize = 20_000;

/// A node that has nothing to do for so long is at rest.
const HOUR_NS: u64 = 3_600_000_000_000;

/// Gets that are opened together when every name is looked at.
const LOOKS: usize = 64;

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) disk: Disk,
    pub(crate) model: Model,
    pub(crate) talks: BTreeMap<RequestId, Talk>,
    /// Whether a read was ever refused.
    pub(crate) doubtful: bool,
    node: Option<Node>,
    starts: u8,
    nanos: u64,
    wall: u64,
    next_request: u64,
    /// What has happened and was not stepped yet.
    ready: Vec<Event>,
    versions: BTreeSet<u64>,
    /// Tails that this start cut or copied.
    tails: u32,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let mut world = Self {
            config,
            disk: Disk::default(),
            model: Model::default(),
            talks: BTreeMap::new(),
            doubtful: false,
            node: None,
            starts: 0,
            nanos: 0,
            wall: 1_000_000,
            next_request: 1,
            ready: Vec::new(),
            versions: BTreeSet::new(),
            tails: 0,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.starts = self.starts.wrapping_add(1);
        self.nanos = 0;
        self.tails = 0;
        self.talks.clear();
        self.ready = vec![Event::Wake];
        self.model.restart();
        self.node = Some(Node::new(self.config, Seed::new([self.starts; 32])));
    }

    /// The process dies, with or without the power, and starts again.
    pub(crate) fn restart(&mut self, power: bool, input: &mut Input<'_>) {
        if power {
            self.disk.crash(input);
        } else {
            self.disk.stop(input);
        }
        self.start();
    }

    /// Opens a conversation.
    pub(crate) fn open(&mut self, talk: Talk, request: Request) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.talks.insert(id, talk);
        self.send(id, request);
        id
    }

    /// Sends something within a conversation.
    pub(crate) fn send(&mut self, id: RequestId, request: Request) {
        self.ready.push(Event::Requested { id, request });
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, nanos: u64, wall: u64) {
        self.nanos = self.nanos.saturating_add(nanos);
        self.wall = wall;
    }

    /// Performs a disk request, if there is one.
    pub(crate) fn perform(&mut self, choice: usize, fault: Option<Fault>, input: &mut Input<'_>) {
        let ready = self.disk.ready();
        if ready == 0 {
            return;
        }
        let (op, result) = self.disk.perform(choice % ready, fault, input);
        self.doubtful |= fault == Some(Fault::Read);
        self.ready.push(Event::DiskDone { op, result });
    }

    /// One turn: everything that has happened is stepped, then the node is flushed and checked.
    pub(crate) fn turn(&mut self) {
        let Some(node) = &mut self.node else { return };
        self.nanos = self.nanos.saturating_add(1_000);
        self.wall = self.wall.saturating_add(1_000);
        let now = Now { mono: Instant::from_nanos(self.nanos), wall: WallTime::from_nanos(self.wall) };
        let mut effects = Vec::new();
        let mut events = std::mem::take(&mut self.ready);
        if events.is_empty() {
            events.push(Event::Wake);
        }
        let mut halted = false;
        for event in events {
            node.step(now, event, &mut effects);
            halted |= matches!(effects.last(), Some(Effect::Halt(_)));
            if halted {
                break;
            }
        }
        if !halted {
            node.flush(now, &mut effects);
            let count = effects.len();
            node.flush(now, &mut effects);
            assert_eq!(effects.len(), count, "a second flush has nothing to add");
            node.check();
        }
        for effect in effects {
            self.apply(effect);
        }
        self.check();
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Disk { op, request } => self.disk.issue(op, request),
            Effect::Reply { id, reply, last } => {
                let Some(mut talk) = self.talks.remove(&id) else {
                    // A node that is starting refuses whatever it hears, also what follows a refusal.
                    assert_eq!(reply, Err(RequestError::Starting), "only open conversations are answered");
                    return;
                };
                if let (Ok(Reply::Stored(stored)), false) = (&reply, self.doubtful) {
                    assert!(self.versions.insert(stored.stat.version), "a version is given once");
                }
                let mut bench = Bench { model: &mut self.model, doubtful: self.doubtful };
                talk.answered(reply, last, &mut bench);
                if !last {
                    self.talks.insert(id, talk);
                }
            }
            Effect::Note(note) => self.noted(note),
            Effect::Halt(reason) => {
                assert!(self.doubtful, "nothing keeps the node from starting: {reason}");
                self.node = None;
            }
        }
    }

    fn noted(&mut self, note: Note) {
        match note {
            Note::Damaged(_)
            | Note::Stray(_)
            | Note::BootRecordDamaged(_)
            | Note::CatalogDamaged(_)
            | Note::ChunkMismatch { .. }
            | Note::ChunkHealed(_) => {
                assert!(self.doubtful, "nothing is wrong with the disk: {note}");
            }
            Note::TailCut { .. } | Note::TailCopied { .. } => self.tails += 1,
            Note::Serving { .. }
            | Note::Created(_)
            | Note::RemovedAgain(_)
            | Note::CheckpointUnusable { .. }
            | Note::Checkpointed { .. }
            | Note::CheckpointFailed { .. }
            | Note::VolumeRemoved { .. }
            | Note::SegmentRemoved { .. }
            | Note::ReserveMade { .. }
            | Note::ReserveReleased { .. }
            | Note::ReserveFailed(_)
            | Note::RemovalFailed { .. }
            | Note::Sealed(_)
            | Note::Scrubbed { .. }
            | Note::WritesStopped { .. }
            | Note::Synced(_)
            | Note::PutDropped
            | Note::Group(_)
            | Note::SnapshotMade { .. }
            | Note::SnapshotFailed { .. }
            | Note::SnapshotRejected { .. }
            | Note::Settled => {}
            Note::Member(_) | Note::SnapshotFetched { .. } => panic!("a node of its own has no group"),
        }
        assert!(!note.to_string().is_empty());
    }

    fn check(&self) {
        let Some(node) = &self.node else { return };
        let inspect = node.inspect();
        assert_eq!(inspect.disk_requests, self.disk.outstanding(), "each request is waited for once");
        let ahead = PUT_BLOCKS_AHEAD * self.config.geometry().block_bytes_max();
        for talk in self.talks.values() {
            if let Talk::Put(put) = talk {
                assert!(put.credit <= ahead.into(), "{} bytes of credit, more than a put may have", put.credit);
            }
        }
        let idle = self.disk.outstanding() == 0 && inspect.phase == Phase::Booting && inspect.boot > 0;
        assert!(!idle, "a start goes on");
    }

    /// Whether nothing can be asked of the node any more.
    pub(crate) const fn is_halted(&self) -> bool {
        self.node.is_none()
    }

    /// Lets the disk do all it was asked for, in order and without faults, and nothing else.
    pub(crate) fn perform_all(&mut self) {
        for _ in 0..REST_TURNS_MAX {
            self.turn();
            if self.disk.ready() == 0 || self.node.is_none() {
                return;
            }
            for _ in 0..self.disk.ready() {
                self.perform(0, None, &mut Input::new(&[]));
            }
        }
        panic!("the disk never rests");
    }

    /// Goes on with honest clients, a good disk and time that passes, until every conversation has ended and nothing is
    /// left to do.
    pub(crate) fn come_to_rest(&mut self) {
        for _ in 0..REST_TURNS_MAX {
            self.perform_all();
            let Some(node) = &self.node else { return };
            let mut sent = Vec::new();
            for (id, talk) in &mut self.talks {
                sent.extend(talk.go_on(&mut self.model).map(|request| (*id, request)));
            }
            if !sent.is_empty() {
                for (id, request) in sent {
                    self.send(id, request);
                }
                continue;
            }
            // A scrub goes on for ever, but slowly.
            let soon = |at: &Instant| at.as_nanos().saturating_sub(self.nanos) < HOUR_NS;
            let Some(deadline) = node.deadline().filter(soon) else {
                assert!(self.talks.is_empty(), "nobody will ever answer {:?}", self.talks);
                return;
            };
            self.nanos = self.nanos.max(deadline.as_nanos());
        }
        panic!("the node never rests: {:?}", self.talks);
    }

    /// Reads every name and every content, lists all and verifies all.
    pub(crate) fn look_at_everything(&mut self) {
        self.come_to_rest();
        let names = self.model.names().into_iter().map(Target::Name);
        let targets: Vec<Target> = names.chain(self.model.files().into_iter().map(Target::Content)).collect();
        for some in targets.chunks(LOOKS) {
            for target in some {
                let request = Request::GetOpen { target: target.clone(), range: None };
                self.open(Talk::Get(Get::new(target.clone())), request);
            }
            self.come_to_rest();
        }
        let (prefix, limit) = (String::new(), 1_000);
        let request = Request::List { prefix: prefix.clone(), after: None, limit };
        self.open(Talk::List { prefix, after: None, limit }, request);
        self.open(Talk::Verify(Verify::default()), Request::VerifyOpen(VerifyScope::All));
        self.come_to_rest();
    }

    /// Closes, starts again, and finds every file closed.
    pub(crate) fn close_in_good_order(&mut self) {
        self.open(Talk::Close, Request::Close);
        self.come_to_rest();
        self.restart(false, &mut Input::new(&[]));
        self.come_to_rest();
        assert_eq!(self.tails, 0, "files that were closed have no tail");
    }
}
