//! Clients of a group: each has a session, repeats what it got no answer to, and asks whoever it takes for the leader.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dps_core::crypto::hash::sha256;
use dps_core::id::FileId;
use dps_core::keystore::manifest::Manifest;
use dps_core::ledger::command::{Command, Outcome};
use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;
use dps_core::rng::{Rng, Seed};
use dps_core::time::WallTime;

use super::setup::GroupSetup;
use crate::draws::{index, pick};
use crate::linear::{History, OpId, Operation};

/// Names from here on are renamed, and only judged by what all members have in common.
pub(crate) const UNJUDGED_FIRST: u64 = 1_000;

/// Attempts after which a client gives an operation up, unless it must succeed.
const ATTEMPTS_MAX: u32 = 12;

/// What a client is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Register,
    Put { key: u64, expect: Expect, value: u64 },
    Delete { key: u64, expect: Expect },
    Rename { from: u64, to: u64, expect: Expect },
    Read { key: u64 },
}

/// An operation under way.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) work: Work,
    pub(crate) serial: u64,
    /// Where it is in the history, if it is judged.
    pub(crate) judged: Option<OpId>,
    /// The attempt that counts, and all of them.
    pub(crate) ticket: u64,
    pub(crate) tickets: BTreeSet<u64>,
    pub(crate) attempts: u32,
    /// Whether it must succeed, however often it is tried.
    pub(crate) demanded: bool,
    /// Whether a member was asked that hears of it exactly once.
    pub(crate) direct: bool,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) session: Option<u64>,
    pub(crate) serial: u64,
    pub(crate) op: Option<Op>,
    /// Whom it asks next.
    pub(crate) target: u32,
    /// The wake-up that counts.
    pub(crate) token: u64,
    /// The last version that it knows of each name.
    pub(crate) versions: BTreeMap<u64, Option<u64>>,
    pub(crate) rng: Rng,
}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Whatever comes to their mind.
    Free,
    /// They end what they began.
    Quiet,
    /// The first one works off the script.
    Script,
}

/// A change of the membership that the operator wants, until it is answered for good.
#[derive(Clone, Debug)]
pub(crate) struct Ordered {
    pub(crate) changes: Vec<dps_core::raft::membership::Change>,
    pub(crate) attempts: u32,
    /// Whether it must succeed, however often it is tried.
    pub(crate) demanded: bool,
}

/// All who ask.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) clients: Vec<Client>,
    pub(crate) mode: Mode,
    /// What is to be done, and whom to ask first.
    pub(crate) script: VecDeque<(u32, Work)>,
    pub(crate) history: History,
    /// Whose ticket it is.
    pub(crate) owners: BTreeMap<u64, u32>,
    /// The key that a read is about.
    pub(crate) reads: BTreeMap<u64, u64>,
    /// What the operator asked for.
    pub(crate) orders: BTreeMap<u64, Ordered>,
    /// The session and serial of a command.
    pub(crate) serials: BTreeMap<u64, (u64, u64)>,
    values: BTreeMap<FileId, u64>,
    next_ticket: u64,
    next_value: u64,
    pub(crate) acknowledged: u64,
    pub(crate) acknowledged_writes: u64,
    names: u64,
    hosts: u32,
    restless: bool,
    think_ns_max: u64,
    pub(crate) rng: Rng,
}

fn bytes_of(value: u64) -> Vec<u8> {
    // Different lengths, so that batches and segments end anywhere.
    let times = usize::try_from(1 + value % 23).expect("small");
    value.to_le_bytes().repeat(times)
}

pub(crate) fn name_of(key: u64) -> Name {
    Name::new(format!("n/{key}").as_bytes()).expect("a short name")
}

fn manifest_of(value: u64) -> Manifest {
    let bytes = bytes_of(value);
    Manifest::inline(FileId::from_bytes(sha256(&bytes)), &bytes)
}

impl Desk {
    pub(crate) fn new(setup: &GroupSetup, seed: Seed) -> Self {
        let client = |number: u32| Client {
            session: None,
            serial: 0,
            op: None,
            target: number % setup.voters,
            token: 0,
            versions: BTreeMap::new(),
            rng: seed.split("client", u64::from(number)).rng(),
        };
        Self {
            clients: (0..setup.clients).map(client).collect(),
            mode: Mode::Free,
            script: VecDeque::new(),
            history: History::default(),
            owners: BTreeMap::new(),
            reads: BTreeMap::new(),
            orders: BTreeMap::new(),
            serials: BTreeMap::new(),
            values: BTreeMap::new(),
            next_ticket: 0,
            next_value: 0,
            acknowledged: 0,
            acknowledged_writes: 0,
            names: u64::from(setup.names),
            hosts: setup.hosts(),
            restless: setup.restless,
            think_ns_max: setup.think_ns_max,
            rng: seed.split("operator", 0).rng(),
        }
    }

    pub(crate) const fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// The number of a content.
    pub(crate) fn value_of(&self, file: &FileId) -> u64 {
        self.values.get(file).copied().unwrap_or(u64::MAX)
    }

    pub(crate) fn fresh_value(&mut self) -> u64 {
        self.next_value += 1;
        let manifest = manifest_of(self.next_value);
        self.values.insert(manifest.file, self.next_value);
        self.next_value
    }

    /// Whether a client waits for an answer.
    pub(crate) fn is_busy(&self) -> bool {
        self.clients.iter().any(|client| client.op.is_some()) || !self.orders.is_empty()
    }

    /// The next thing that a client does; `None` if it does nothing now.
    pub(crate) fn begin(&mut self, number: u32, at: u64) -> Option<()> {
        let scripted = match self.mode {
            Mode::Free => None,
            Mode::Quiet => return None,
            Mode::Script if number != 0 || self.script.is_empty() => return None,
            Mode::Script => Some(()),
        };
        let registered = self.clients[number as usize].session.is_some();
        let (work, target) = match scripted {
            Some(()) if registered => {
                let (target, work) = self.script.pop_front().expect("it is not empty");
                (work, Some(target))
            }
            Some(()) => (Work::Register, None),
            None if registered => (self.invent(number), None),
            None => (Work::Register, None),
        };
        let judged = match &work {
            Work::Put { key, expect, value } if *key < UNJUDGED_FIRST => {
                Some((*key, Operation::Put { value: *value, expect: *expect }))
            }
            Work::Delete { key, expect } if *key < UNJUDGED_FIRST => {
                Some((*key, Operation::Delete { expect: *expect }))
            }
            Work::Read { key } if *key < UNJUDGED_FIRST => Some((*key, Operation::Get)),
            Work::Register | Work::Put { .. } | Work::Delete { .. } | Work::Rename { .. } | Work::Read { .. } => None,
        };
        let judged = judged.map(|(key, operation)| self.history.invoke(number, key, operation, at));
        let client = &mut self.clients[number as usize];
        client.target = target.unwrap_or(client.target);
        // Whoever may lead no more, or never did, is asked as well.
        let may_stray = scripted.is_none() && (self.restless || matches!(work, Work::Read { .. }));
        if may_stray && client.rng.chance(1, 3) {
            client.target = u32::try_from(client.rng.below(u64::from(self.hosts))).expect("few hosts");
        }
        if !matches!(work, Work::Register | Work::Read { .. }) {
            client.serial += 1;
        }
        client.op = Some(Op {
            work,
            serial: client.serial,
            judged,
            ticket: 0,
            tickets: BTreeSet::new(),
            attempts: 0,
            demanded: scripted.is_some(),
            direct: true,
        });
        Some(())
    }

    fn invent(&mut self, number: u32) -> Work {
        let names = self.names;
        let value = self.fresh_value();
        let client = &mut self.clients[number as usize];
        let rng = &mut client.rng;
        if rng.chance(1, 12) {
            let (from, to) = (UNJUDGED_FIRST + rng.below(3), UNJUDGED_FIRST + rng.below(3));
            return match rng.below(3) {
                0 => Work::Put { key: from, expect: Expect::Any, value },
                _ => Work::Rename { from, to, expect: Expect::Any },
            };
        }
        let key = rng.below(names);
        let known = client.versions.get(&key).copied().flatten();
        let expect = match rng.below(4) {
            0 | 1 => Expect::Any,
            2 => known.map_or(Expect::Absent, Expect::Version),
            _ => Expect::Absent,
        };
        match rng.below(10) {
            0..=4 => Work::Put { key, expect, value },
            5 => Work::Delete { key, expect },
            _ => Work::Read { key },
        }
    }

    /// The command of a client's operation, as a host with this clock proposes it; `None` for a reading.
    pub(crate) fn command(&self, number: u32, time: WallTime) -> Option<Command> {
        let client = &self.clients[number as usize];
        let op = client.op.as_ref()?;
        let plain = match &op.work {
            Work::Register => return Some(Command::RegisterSession { time }),
            Work::Read { .. } => return None,
            Work::Put { key, expect, value } => {
                let (name, manifest) = (name_of(*key), manifest_of(*value));
                Command::Put { time, lease: 0, name, expect: *expect, manifest }
            }
            Work::Delete { key, expect } => Command::Delete { time, name: name_of(*key), expect: *expect },
            Work::Rename { from, to, expect } => {
                let (from, to) = (name_of(*from), name_of(*to));
                Command::Rename { time, from, to, expect_from: *expect, expect_to: Expect::Any }
            }
        };
        let session = client.session.expect("a client registers first");
        Some(Command::InSession { session, serial: op.serial, command: Box::new(plain) })
    }

    /// Nanoseconds until a client does the next thing.
    pub(crate) fn think(&mut self, number: u32) -> u64 {
        self.clients[number as usize].rng.below(self.think_ns_max)
    }

    /// A client gives up, if it may. True if it does.
    pub(crate) fn gives_up(&mut self, number: u32) -> bool {
        let client = &mut self.clients[number as usize];
        let gives_up = client
            .op
            .as_ref()
            .is_some_and(|op| !op.demanded && (op.attempts >= ATTEMPTS_MAX || client.rng.chance(1, 16)));
        if gives_up {
            client.op = None;
        }
        gives_up
    }

    /// A client believes that its command was not done and never will be, and goes on to something else. False if it
    /// does not.
    pub(crate) fn believes(&mut self, number: u32) -> bool {
        let client = &mut self.clients[number as usize];
        let Some(op) = client.op.take_if(|op| {
            let first = op.direct && op.attempts == 1 && !op.demanded;
            first && !matches!(op.work, Work::Register | Work::Read { .. }) && client.rng.chance(1, 3)
        }) else {
            return false;
        };
        if let Some(id) = op.judged {
            self.history.refused(id);
        }
        true
    }

    /// Somebody else may lead.
    pub(crate) fn try_another(&mut self, number: u32, hint: Option<u32>) {
        let hosts = self.hosts;
        let client = &mut self.clients[number as usize];
        let hinted = hint.filter(|hint| *hint < hosts && client.rng.chance(7, 8));
        client.target = hinted.unwrap_or_else(|| u32::try_from(client.rng.below(u64::from(hosts))).expect("few hosts"));
    }

    /// A client was told what its command came to.
    pub(crate) fn decided(&mut self, number: u32, outcome: Outcome, at: u64) {
        let client = &mut self.clients[number as usize];
        let op = client.op.take().expect("it waited for this");
        self.acknowledged += 1;
        self.acknowledged_writes += 1;
        let told = match (&op.work, outcome) {
            (Work::Register, Outcome::SessionRegistered { session }) => {
                (client.session, client.serial) = (Some(session), 0);
                None
            }
            (Work::Put { key, .. }, Outcome::Stored { version }) => {
                client.versions.insert(*key, Some(version));
                Some(crate::linear::Outcome::Stored { version })
            }
            (Work::Put { key, .. } | Work::Delete { key, .. }, Outcome::Conflict { current }) => {
                client.versions.insert(*key, current);
                Some(crate::linear::Outcome::Conflict { current })
            }
            (Work::Delete { key, .. }, Outcome::Deleted) => {
                client.versions.insert(*key, None);
                Some(crate::linear::Outcome::Deleted)
            }
            (Work::Delete { .. }, Outcome::NotFound) => Some(crate::linear::Outcome::NotFound),
            (_, Outcome::SessionUnknown | Outcome::SerialTooOld) => {
                // Whether it was done is not known, and never will be here.
                client.session = None;
                None
            }
            _ => None,
        };
        if let (Some(id), Some(outcome)) = (op.judged, told) {
            self.history.respond(id, outcome, at);
        }
    }

    /// A client was told what a name means.
    pub(crate) fn found(&mut self, number: u32, found: Option<(u64, u64)>, at: u64) {
        let client = &mut self.clients[number as usize];
        let op = client.op.take().expect("it waited for this");
        self.acknowledged += 1;
        if let Work::Read { key } = op.work {
            client.versions.insert(key, found.map(|(_, version)| version));
        }
        if let Some(id) = op.judged {
            let outcome = match found {
                Some((value, version)) => crate::linear::Outcome::Found { value, version },
                None => crate::linear::Outcome::NotFound,
            };
            self.history.respond(id, outcome, at);
        }
    }

    /// Ten writes and ten reads, at as many hosts as there are.
    pub(crate) fn write_script(&mut self, hosts: &[u32]) {
        for round in 0..10 {
            let value = self.fresh_value();
            let key = index(&mut self.rng, usize::try_from(self.names).expect("few"));
            let key = key as u64;
            self.script.push_back((hosts[round % hosts.len()], Work::Put { key, expect: Expect::Any, value }));
            self.script.push_back((*pick(&mut self.rng, hosts), Work::Read { key }));
        }
    }

    /// A reading of every name.
    pub(crate) fn read_script(&mut self, hosts: &[u32]) {
        for key in 0..self.names {
            self.script.push_back((hosts[usize::try_from(key).expect("few") % hosts.len()], Work::Read { key }));
        }
    }
}
