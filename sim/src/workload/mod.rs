//! Several clients at once, each in one conversation at a time, and the record of what the node said meanwhile.

pub(crate) mod desk;
mod gc;
mod get;
pub(crate) mod operation;
mod put;
mod query;
mod restore;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dps_core::id::RequestId;
use dps_core::ledger::name::Name;
use dps_core::node::{HaltReason, Reply, RequestError};
use dps_core::note::Note;
use dps_core::rng::{Rng, Seed};
use dps_core::time::WallTime;

use crate::Scenario;
use crate::check::damage::Damages;
use crate::check::{Findings, conservation, damage, garbage};
use crate::content::{Content, Library};
use crate::model::Model;
use crate::setup::Setup;
use crate::world::{Act, Observer, View};
use desk::{Conversation, Desk, Oracle, Outcome, is_journal};
use operation::Operation;

/// Puts that are tried again at the end of a run.
const CUT_SHORT_MAX: usize = 100;

/// What clients do when they are free.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Draw the next operation.
    Drawing,
    /// Nothing but the script, which the first client works off.
    Script,
}

struct Client {
    rng: Rng,
    /// When this one wants space back, if the scenario has that.
    reclaim: Option<Rng>,
    current: Option<Open>,
    /// Where the last request that was sent arrives: those of one client arrive in order.
    arrives_at: u64,
    /// The wake-up that counts.
    wake: u64,
    names: Vec<Name>,
    /// A put that was cut short or refused, to be tried again at some time.
    unfinished: Option<Operation>,
}

struct Open {
    id: u64,
    opened_at: u64,
    /// Requests that were sent.
    sent: u64,
    operation: Operation,
    conversation: Box<dyn Conversation>,
}

/// How an operation of the script ended.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) operation: Operation,
    pub(crate) outcome: Outcome,
}

/// The clients of one host.
pub(crate) struct Workload {
    pub(crate) oracle: Oracle,
    clients: Vec<Client>,
    names: Vec<Name>,
    think_ns_max: u64,
    stall_ns: u64,
    retain: Duration,
    pub(crate) mode: Mode,
    pub(crate) script: VecDeque<Operation>,
    pub(crate) scripted: Vec<Scripted>,
    next_id: u64,
    /// Conversations that are over, and how many of their requests may have crossed the last answer.
    over: BTreeMap<u64, u64>,
    /// Which client a conversation belongs to.
    open: BTreeMap<u64, usize>,
    pub(crate) up: bool,
    pub(crate) serving: bool,
    pub(crate) halted: bool,
    /// The first [`CUT_SHORT_MAX`] puts that a stop has cut short, to be tried again at the end.
    pub(crate) cut_short: Vec<Operation>,
    /// The node refuses writes until its next start.
    pub(crate) writes_stopped: bool,
    /// The node found damage in its journal in this start.
    pub(crate) journal_damaged: bool,
    pub(crate) acknowledged: u64,
    pub(crate) acknowledged_writes: u64,
}

fn draw_names(count: u32) -> Vec<Name> {
    let text = |number: u32| match number % 7 {
        0..=3 => format!("a/{number}"),
        4 | 5 => format!("b/{number}"),
        _ => format!("\u{e9}{}/{number}", "x".repeat(40 * (number % 5) as usize)),
    };
    (0..count).map(|number| Name::new(text(number).as_bytes()).expect("a valid name")).collect()
}

impl Workload {
    pub(crate) fn new(setup: &Setup, seed: Seed) -> Self {
        let geometry = *setup.config().geometry();
        let (large, min) = (setup.raw.large_file_blocks, setup.raw.block_bytes_min);
        let reclaims = setup.scenario == Scenario::Reclaim;
        let names = draw_names(setup.names);
        let own = |client: u32| names.iter().skip(client as usize).step_by(setup.clients as usize).cloned().collect();
        let clients = (0..setup.clients).map(|number| Client {
            rng: seed.split("client", u64::from(number)).rng(),
            reclaim: reclaims.then(|| seed.split("reclaim", u64::from(number)).rng()),
            current: None,
            arrives_at: 0,
            wake: 0,
            names: own(number),
            unfinished: None,
        });
        Self {
            clients: clients.collect(),
            oracle: Oracle {
                model: Model::default(),
                library: Library::new(geometry, large, min, seed.split("library", 0)),
                damages: Damages::new(setup.raw.block_bytes_max, reclaims),
                findings: Findings::default(),
                geometry,
                ingest_bytes_max: setup.raw.ingest_bytes_max,
                collections: 0,
                reaped_before: WallTime::default(),
                leases: BTreeMap::new(),
                version_max: 0,
                list_after: None,
                bad: Vec::new(),
                verified_bad: Vec::new(),
            },
            names,
            think_ns_max: setup.think_ns_max,
            stall_ns: 2 * u64::try_from(setup.raw.credit_timeout.as_nanos()).unwrap_or(u64::MAX / 4),
            retain: setup.raw.retain,
            mode: Mode::Drawing,
            script: VecDeque::new(),
            scripted: Vec::new(),
            next_id: 1,
            over: BTreeMap::new(),
            open: BTreeMap::new(),
            up: false,
            serving: false,
            halted: false,
            cut_short: Vec::new(),
            writes_stopped: false,
            journal_damaged: false,
            acknowledged: 0,
            acknowledged_writes: 0,
        }
    }

    /// Whether a conversation is open.
    pub(crate) fn is_busy(&self) -> bool {
        !self.open.is_empty()
    }

    /// What the first open conversation is about, for messages.
    pub(crate) fn describe_open(&self) -> Option<String> {
        let open = self.clients.iter().find_map(|client| client.current.as_ref())?;
        Some(format!("conversation {} is not answered: {:.300}", open.id, format!("{:?}", open.operation)))
    }

    /// The names that the first client alone writes.
    pub(crate) fn first_names(&self) -> &[Name] {
        &self.clients[0].names
    }

    /// A content that shares no chunk with any other.
    pub(crate) fn fresh_content(&mut self) -> Arc<Content> {
        self.oracle.library.draw_fresh(&mut self.clients[0].rng)
    }

    /// Wakes every free client.
    pub(crate) fn wake_all(&mut self, acts: &mut Vec<Act>) {
        for client in 0..self.clients.len() {
            if self.clients[client].current.is_none() {
                self.sleep(client, 1_000, acts);
            }
        }
    }

    /// Remembers what a collection under way may have reaped by now.
    fn follow_reaping(&mut self, view: &View<'_>) {
        if self.oracle.collections > 0 {
            let before = view.wall_max.saturating_sub(self.retain);
            self.oracle.reaped_before = self.oracle.reaped_before.max(before);
        }
    }

    /// At a start, and when a collection is over: marks are as large as what puts were promised.
    fn check_marks(&mut self, view: &View<'_>) {
        if let Some(holdings) = &view.holdings {
            garbage::check_marks(holdings, &self.oracle.leases, view.disk, view.at, &mut self.oracle.findings);
        }
    }

    fn sleep(&mut self, client: usize, ns_max: u64, acts: &mut Vec<Act>) {
        let there = &mut self.clients[client];
        there.wake += 1;
        let delay_ns = 1 + there.rng.below(ns_max);
        acts.push(Act::Wake { token: there.wake << 16 | client as u64, delay_ns });
    }

    fn next_operation(&mut self, client: usize) -> Option<Operation> {
        match self.mode {
            Mode::Drawing => {
                let there = &mut self.clients[client];
                let reclaim = there
                    .reclaim
                    .as_mut()
                    .and_then(|rng| operation::draw_reclaim(rng, &self.oracle, &there.names, &self.names));
                if reclaim.is_some() {
                    return reclaim;
                }
                if there.unfinished.is_some() && there.rng.chance(1, 4) {
                    return there.unfinished.take();
                }
                Some(operation::draw(&mut there.rng, &mut self.oracle, &there.names, &self.names, self.stall_ns))
            }
            Mode::Script if client == 0 => self.script.pop_front(),
            Mode::Script => None,
        }
    }

    /// Lets one conversation do something, then sends what it wants and ends it if it is over.
    fn converse(
        &mut self,
        client: usize,
        mut open: Open,
        view: &View<'_>,
        acts: &mut Vec<Act>,
        does: impl FnOnce(&mut dyn Conversation, &mut Desk<'_>),
    ) {
        let there = &mut self.clients[client];
        let mut desk = Desk {
            oracle: &mut self.oracle,
            view,
            rng: &mut there.rng,
            id: open.id,
            opened_at: open.opened_at,
            reads: open.operation.is_read(),
            out: Vec::new(),
            outcome: None,
        };
        does(&mut *open.conversation, &mut desk);
        let (out, outcome) = (desk.out, desk.outcome);
        open.sent += out.len() as u64;
        for (request, hesitation_ns) in out {
            let network = there.rng.between(2_000, 60_000);
            there.arrives_at = there.arrives_at.max(view.at + network) + hesitation_ns;
            let delay_ns = there.arrives_at - view.at;
            acts.push(Act::Send { host: view.host, id: RequestId(open.id), request, delay_ns });
        }
        match outcome {
            None => self.clients[client].current = Some(open),
            Some(outcome) => self.end(client, open, outcome, acts),
        }
    }

    fn end(&mut self, client: usize, open: Open, outcome: Outcome, acts: &mut Vec<Act>) {
        self.open.remove(&open.id);
        self.over.insert(open.id, open.sent.saturating_sub(1));
        if outcome == Outcome::Done {
            self.acknowledged += 1;
            self.acknowledged_writes += u64::from(open.operation.is_write());
        }
        if matches!(outcome, Outcome::Refused(_)) && self.mode == Mode::Drawing {
            self.clients[client].unfinished = open.operation.again();
        }
        let think = if outcome == Outcome::Again { 4_000_000 } else { self.think_ns_max };
        if self.mode == Mode::Script && client == 0 {
            if outcome == Outcome::Again {
                self.script.push_front(open.operation);
            } else {
                self.scripted.push(Scripted { operation: open.operation, outcome });
            }
        }
        self.sleep(client, think, acts);
    }
}

impl Observer for Workload {
    fn started(&mut self, _view: &View<'_>, acts: &mut Vec<Act>) {
        self.up = true;
        self.oracle.damages.started();
        self.wake_all(acts);
    }

    fn stopped(&mut self, view: &View<'_>, acts: &mut Vec<Act>) {
        self.follow_reaping(view);
        self.oracle.collections = 0;
        self.oracle.model.stopped();
        self.up = false;
        self.serving = false;
        self.writes_stopped = false;
        self.journal_damaged = false;
        self.open.clear();
        self.over.clear();
        for client in &mut self.clients {
            client.arrives_at = 0;
            if let Some(open) = client.current.take() {
                match self.mode {
                    Mode::Drawing => {
                        client.unfinished = open.operation.again();
                        if self.cut_short.len() < CUT_SHORT_MAX {
                            self.cut_short.extend(open.operation.again());
                        }
                    }
                    Mode::Script => self.script.push_front(open.operation),
                }
            }
        }
        self.wake_all(acts);
    }

    fn halted(&mut self, view: &View<'_>, reason: &HaltReason) {
        self.halted = true;
        damage::halt(reason, view.disk, view.at, &mut self.oracle.findings);
    }

    fn noted(&mut self, view: &View<'_>, note: &Note) {
        self.oracle.damages.note(note, view.disk, view.at, &mut self.oracle.findings);
        match note {
            Note::Serving { .. } => {
                self.serving = true;
                self.check_marks(view);
                self.oracle.damages.check_told(view.disk, view.at, &mut self.oracle.findings);
            }
            Note::WritesStopped { .. } => self.writes_stopped = true,
            Note::Damaged(damage) if is_journal(damage.file) => self.journal_damaged = true,
            _ => {}
        }
    }

    fn replied(
        &mut self,
        view: &View<'_>,
        id: RequestId,
        reply: Result<Reply, RequestError>,
        last: bool,
        acts: &mut Vec<Act>,
    ) {
        self.follow_reaping(view);
        if matches!(reply, Ok(Reply::Collected(_))) {
            self.check_marks(view);
        }
        let RequestId(id) = id;
        let Some(client) = self.open.get(&id).copied() else {
            // What was under way when the last answer was given may be refused by itself.
            match self.over.get_mut(&id) {
                Some(crossing) if *crossing > 0 && reply.is_err() => *crossing -= 1,
                _ => conservation::after_last(id, view.at, &format!("{reply:?}"), &mut self.oracle.findings),
            }
            return;
        };
        let open = self.clients[client].current.take().expect("an open conversation is its client's current one");
        assert_eq!(open.id, id, "a client has one conversation at a time");
        self.converse(client, open, view, acts, |conversation, desk| match reply {
            Ok(reply) => conversation.reply(desk, reply, last),
            Err(error) => {
                if !last {
                    desk.unexpected(&"an error that is not the last answer");
                }
                let outcome = conversation.failed(desk, &error);
                desk.outcome = Some(outcome.unwrap_or_else(|| desk.judge(&error)));
            }
        });
    }

    fn wake(&mut self, view: &View<'_>, token: u64, acts: &mut Vec<Act>) {
        let client = usize::try_from(token & 0xffff).expect("sixteen bits");
        if self.clients[client].wake != token >> 16 || self.clients[client].current.is_some() {
            return;
        }
        if !self.up {
            return self.sleep(client, 2_000_000, acts);
        }
        let Some(operation) = self.next_operation(client) else { return };
        let id = self.next_id;
        self.next_id += 1;
        self.open.insert(id, client);
        let open = Open { id, opened_at: view.at, sent: 0, conversation: operation.conversation(), operation };
        self.converse(client, open, view, acts, |conversation, desk| conversation.open(desk));
    }
}
