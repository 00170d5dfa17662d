//! One task that owns a machine: collects the ready events of a turn, steps them, flushes once, performs the effects in
//! order, and sleeps until the machine's deadline.
//!
//! Nothing here waits for a disk or a client. A client that does not take its answers loses its conversation.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dps_core::disk::DiskResult;
use dps_core::id::{OpId, RequestId};
use dps_core::machine::Machine;
use dps_core::node::{Effect, Event, HaltReason, Reply, Request, RequestError};
use dps_core::note::Note;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::disk::Queue;
use crate::telemetry;

/// Events that wait for the driver at most; whoever brings one more waits.
pub(crate) const INPUTS_MAX: usize = 1_024;

/// Events of one turn at most.
const TURN_EVENTS_MAX: usize = 256;

/// Answers that wait for one client at most. What a client asks for at a time must make fewer.
pub(crate) const ANSWERS_MAX: usize = 2_048;

/// A step longer than this holds everyone up, which is worth a warning.
const STEP_NANOS_MAX: u64 = 5_000_000;

/// An answer to a client, and whether it is the last one.
pub(crate) type Answer = (Result<Reply, RequestError>, bool);

/// Something the driver is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// A client opens a conversation.
    Open {
        /// A number never used before.
        id: RequestId,
        /// Its first request.
        request: Request,
        /// Where the answers go.
        answers: mpsc::Sender<Answer>,
    },
    /// A client goes on with a conversation; nothing happens if it is over.
    Continue {
        /// Which.
        id: RequestId,
        /// The next request.
        request: Request,
    },
    /// A disk request ended.
    DiskDone {
        /// Which.
        op: OpId,
        /// How.
        result: DiskResult,
    },
    /// The owner of the store is done with it: the driver ends, whoever still has a conversation.
    End,
}

/// Why a driver's machine answers no more, for those who still ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate(Arc<OnceLock<HaltReason>>);

impl Fate {
    /// The reason, if the machine halted.
    pub(crate) fn halted(&self) -> Option<HaltReason> {
        self.0.get().copied()
    }
}

/// The task.
pub(crate) struct Driver<M> {
    machine: M,
    clock: Clock,
    inputs: mpsc::Receiver<Input>,
    disk: Queue,
    conversations: BTreeMap<RequestId, mpsc::Sender<Answer>>,
    effects: Vec<Effect>,
    /// Clients that are gone while the node still answers them.
    deserted: Vec<RequestId>,
    ready: Option<oneshot::Sender<()>>,
    fate: Fate,
    ended: bool,
}

impl<M: Machine<Event = Event, Effect = Effect>> Driver<M> {
    /// A driver of `machine`, which has not been stepped yet. `ready` hears when it serves.
    pub(crate) fn new(
        machine: M,
        inputs: mpsc::Receiver<Input>,
        disk: Queue,
        ready: oneshot::Sender<()>,
        fate: Fate,
    ) -> Self {
        Self {
            machine,
            clock: Clock::start(),
            inputs,
            disk,
            conversations: BTreeMap::new(),
            effects: Vec::new(),
            deserted: Vec::new(),
            ready: Some(ready),
            fate,
            ended: false,
        }
    }

    /// Runs until the machine halts, the owner is done, or nobody is left to ask anything; then waits for the disk and gives its lock back.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(TURN_EVENTS_MAX);
        self.turn(&mut batch);
        while self.fate.halted().is_none() && !self.ended {
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
        let Self { disk, conversations, inputs, .. } = self;
        // Clients hear that nobody answers any more before the disk is done.
        drop((conversations, inputs));
        disk.close().await;
    }

    /// Steps what is ready, or wakes the machine when nothing is; flushes; performs what comes out.
    fn turn(&mut self, batch: &mut Vec<Input>) {
        if batch.is_empty() && self.deserted.is_empty() {
            self.step(Event::Wake);
        }
        for id in std::mem::take(&mut self.deserted) {
            self.step(Event::Requested { id, request: Request::Cancel });
        }
        for input in batch.drain(..) {
            if let Some(event) = self.admit(input) {
                self.step(event);
            }
        }
        let now = self.clock.now();
        self.machine.flush(now, &mut self.effects);
        self.perform();
    }

    fn admit(&mut self, input: Input) -> Option<Event> {
        match input {
            Input::Open { id, request, answers } => {
                let reused = self.conversations.insert(id, answers);
                assert!(reused.is_none(), "a conversation keeps its number to itself");
                Some(Event::Requested { id, request })
            }
            // The client may not have heard yet that its conversation is over.
            Input::Continue { id, request } => {
                self.conversations.contains_key(&id).then_some(Event::Requested { id, request })
            }
            Input::DiskDone { op, result } => Some(Event::DiskDone { op, result }),
            Input::End => {
                self.ended = true;
                None
            }
        }
    }

    fn step(&mut self, event: Event) {
        let now = self.clock.now();
        self.machine.step(now, event, &mut self.effects);
        let took = self.clock.now().mono.since(now.mono);
        if took > Duration::from_nanos(STEP_NANOS_MAX) {
            debug!(?took, "a step of the core took long");
        }
    }

    fn perform(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Disk { op, request } => self.disk.submit(op, request),
                Effect::Reply { id, reply, last } => self.answer(id, reply, last),
                Effect::Note(note) => self.observe(&note),
                Effect::Halt(reason) => {
                    let _ = self.fate.0.set(reason);
                    break;
                }
            }
        }
        effects.clear();
        self.effects = effects;
    }

    fn answer(&mut self, id: RequestId, reply: Result<Reply, RequestError>, last: bool) {
        let Some(answers) = self.conversations.get(&id) else { return };
        let delivered = answers.try_send((reply, last));
        if let Err(mpsc::error::TrySendError::Full(_)) = delivered {
            warn!(?id, "a client asked for more answers than it takes; its conversation is ended");
        }
        if last || delivered.is_err() {
            self.conversations.remove(&id);
        }
        if !last && delivered.is_err() {
            self.deserted.push(id);
        }
    }

    fn observe(&mut self, note: &Note) {
        telemetry::note(note);
        if matches!(note, Note::Serving { .. })
            && let Some(ready) = self.ready.take()
        {
            // Whoever waited may have given up.
            let _ = ready.send(());
        }
    }

    /// How long the machine can be left alone; `None` for as long as nothing happens.
    fn wait(&self) -> Option<Duration> {
        if self.deserted.is_empty() {
            self.machine.deadline().map(|at| self.clock.until(at))
        } else {
            Some(Duration::ZERO)
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

#[cfg(test)]
mod tests;
