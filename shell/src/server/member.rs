//! One task that owns a member and its gateway: it collects the events of a turn, steps them, flushes, and performs the
//! effects in order.

use std::collections::BTreeMap;
use std::time::Duration;

use dps_core::config::Config;
use dps_core::disk::DiskResult;
use dps_core::disk::halt::HaltReason;
use dps_core::id::{NodeId, OpId};
use dps_core::ledger::command::{Command, Outcome};
use dps_core::ledger::state::State;
use dps_core::machine::Machine as _;
use dps_core::raft::Raft;
use dps_core::replica::gateway::{self, Gateway, Undone};
use dps_core::replica::{Effect, Event, Founding, Message, Peer, Refusal};
use dps_core::rng::Seed;
use tokio::sync::{mpsc, oneshot};

use super::links::Links;
use crate::clock::Clock;
use crate::disk::{Directory, Queue, Worker};
use crate::telemetry;

/// Events of one turn at most.
const TURN_EVENTS_MAX: usize = 256;

/// What looks at the ledger once it may, on the member's own task: it must be quick.
pub(super) type Look = Box<dyn FnOnce(Result<&State, Refusal>) + Send>;

/// What looks at Raft as it is.
pub(super) type Glance = Box<dyn FnOnce(Option<&Raft>) + Send>;

/// Something the driver is told.
pub(super) enum Input {
    /// A disk request ended.
    DiskDone { op: OpId, result: DiskResult },
    /// A message of another member came.
    Received(Box<Message>),
    /// A client wants this done.
    Request { command: Box<Command>, answer: oneshot::Sender<Result<Outcome, Undone>> },
    /// A client wants to read what was committed when this came.
    Read(Look),
    /// Somebody wants to know how it is.
    Glance(Glance),
    /// The member is to end.
    Close,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DiskDone { .. } => "DiskDone",
            Self::Received(_) => "Received",
            Self::Request { .. } => "Request",
            Self::Read(_) => "Read",
            Self::Glance(_) => "Glance",
            Self::Close => "Close",
        })
    }
}

/// The task.
pub(super) struct Driver {
    id: NodeId,
    peer: Peer,
    gateway: Gateway,
    clock: Clock,
    inputs: mpsc::Receiver<Input>,
    disk: Queue,
    links: Links,
    requests: BTreeMap<u64, oneshot::Sender<Result<Outcome, Undone>>>,
    reads: BTreeMap<u64, Look>,
    /// The last number given to a request or a read.
    last: u64,
    /// Who leads, as the gateway was told last.
    leader: Option<NodeId>,
    effects: Vec<Effect>,
    wishes: Vec<gateway::Effect>,
    end: Option<Result<(), HaltReason>>,
}

impl Driver {
    pub(super) fn new(
        founding: Founding,
        config: Config,
        seed: Seed,
        directory: Directory,
        links: Links,
        inputs: mpsc::Receiver<Input>,
        results: mpsc::WeakSender<Input>,
    ) -> Self {
        let id = founding.id;
        let others = founding.members.members().into_iter().filter(|node| *node != id).collect();
        let completion = Box::new(move |op, result| {
            if let Some(results) = results.upgrade() {
                // An error means that the driver has stopped and nobody waits for the result.
                let _ = results.blocking_send(Input::DiskDone { op, result });
            }
        });
        Self {
            id,
            peer: Peer::new(config, founding, seed),
            gateway: Gateway::new(id, others),
            clock: Clock::start(),
            inputs,
            disk: Queue::new(Worker::new(directory), completion, None),
            links,
            requests: BTreeMap::new(),
            reads: BTreeMap::new(),
            last: 0,
            leader: None,
            effects: Vec::new(),
            wishes: Vec::new(),
            end: None,
        }
    }

    /// Runs until the member is closed or halts; then waits for the disk and gives its lock back.
    pub(super) async fn run(mut self) -> Result<(), HaltReason> {
        let mut batch = Vec::with_capacity(TURN_EVENTS_MAX);
        self.turn(&mut batch);
        while self.end.is_none() {
            let wait = self.wait();
            tokio::select! {
                biased;
                count = self.inputs.recv_many(&mut batch, TURN_EVENTS_MAX) => {
                    if count == 0 {
                        break;
                    }
                }
                () = sleep(wait) => {}
            }
            self.turn(&mut batch);
        }
        let Self { disk, inputs, requests, reads, end, .. } = self;
        // Clients hear that nobody answers any more before the disk is done.
        drop((inputs, requests, reads));
        disk.close().await;
        end.unwrap_or(Ok(()))
    }

    fn wait(&self) -> Option<Duration> {
        let at = [self.peer.deadline(), self.gateway.deadline()].into_iter().flatten().min();
        at.map(|at| self.clock.until(at))
    }

    fn turn(&mut self, batch: &mut Vec<Input>) {
        let now = self.clock.now();
        if batch.is_empty() {
            self.peer.step(now, Event::Wake, &mut self.effects);
        }
        self.gateway.step(now, gateway::Event::Wake, &mut self.wishes);
        for input in batch.drain(..) {
            self.admit(input);
        }
        // What one says the other hears in the same turn.
        while self.end.is_none() {
            self.tell_leader();
            let now = self.clock.now();
            self.peer.flush(now, &mut self.effects);
            self.gateway.flush(now, &mut self.wishes);
            if self.effects.is_empty() && self.wishes.is_empty() {
                break;
            }
            self.perform();
        }
    }

    fn admit(&mut self, input: Input) {
        let now = self.clock.now();
        let event = match input {
            Input::DiskDone { op, result } => Event::DiskDone { op, result },
            Input::Received(message) => Event::Received(message),
            Input::Request { command, answer } => {
                self.last += 1;
                self.requests.insert(self.last, answer);
                let event = gateway::Event::Requested { id: self.last, command: *command };
                return self.gateway.step(now, event, &mut self.wishes);
            }
            Input::Read(look) => {
                self.last += 1;
                self.reads.insert(self.last, look);
                Event::Read { ticket: self.last }
            }
            Input::Glance(glance) => return glance(self.peer.replica().map(dps_core::replica::Replica::raft)),
            Input::Close => Event::Close,
        };
        self.peer.step(now, event, &mut self.effects);
    }

    /// The gateway hears who leads.
    fn tell_leader(&mut self) {
        let leader = self.peer.replica().and_then(|replica| replica.raft().leader());
        if leader != self.leader {
            self.leader = leader;
            self.gateway.step(self.clock.now(), gateway::Event::Led(leader), &mut self.wishes);
        }
    }

    fn perform(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Disk { op, request } => self.disk.submit(op, request),
                Effect::Send(message) => self.links.send(&message),
                Effect::Decided { ticket, result } => {
                    let event = gateway::Event::Answered { ticket, answer: (&*result).into() };
                    self.gateway.step(self.clock.now(), event, &mut self.wishes);
                }
                Effect::Passed { ticket, answer } => {
                    let event = gateway::Event::Answered { ticket, answer };
                    self.gateway.step(self.clock.now(), event, &mut self.wishes);
                }
                Effect::Changed { .. } => {}
                Effect::Readable { ticket, result } => self.look(ticket, result),
                Effect::Closed => self.end = Some(Ok(())),
                Effect::Note(note) => telemetry::note(&note),
                Effect::Halt(reason) => {
                    self.end = Some(Err(reason));
                    return;
                }
            }
        }
        for wish in std::mem::take(&mut self.wishes) {
            match wish {
                gateway::Effect::Propose { to, ticket, command } if to == self.id => {
                    let event = Event::Propose { ticket, volumes: Vec::new(), command };
                    self.peer.step(self.clock.now(), event, &mut self.effects);
                }
                gateway::Effect::Propose { to, ticket, command } => {
                    let event = Event::Pass { to, ticket, command };
                    self.peer.step(self.clock.now(), event, &mut self.effects);
                }
                gateway::Effect::Done { id, result } => {
                    let answer = self.requests.remove(&id).expect("every answer was asked for");
                    // Whoever asked may have gone.
                    let _ = answer.send(result);
                }
            }
        }
    }

    fn look(&mut self, ticket: u64, result: Result<u64, Refusal>) {
        let Some(look) = self.reads.remove(&ticket) else { return };
        match (result, self.peer.replica()) {
            (Ok(_), Some(replica)) => look(Ok(replica.ledger())),
            (Err(refusal), _) => look(Err(refusal)),
            (Ok(_), None) => look(Err(Refusal::Starting)),
        }
    }
}

/// Sleeps for `wait`, or for ever if there is none. Returns at once for zero: a timer would round that up.
async fn sleep(wait: Option<Duration>) {
    match wait {
        None => std::future::pending().await,
        Some(Duration::ZERO) => {}
        Some(wait) => tokio::time::sleep(wait).await,
    }
}
