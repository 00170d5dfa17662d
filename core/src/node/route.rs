//! Where effects of one machine become events of another, or effects of the node. The only place that knows two
//! machines at once: total matches, no decisions.

use alloc::vec::Vec;

use super::event::Effect;
use super::request::{Reply, RequestError};
use super::serve::{Owner, Proposer, Serving, Task, Work};
use crate::disk::DiskError;
use crate::disk::reserve;
use crate::id::{OpId, RequestId};
use crate::keystore::store::{self, Ticket};
use crate::ledger::command::{Command, Outcome};
use crate::machine::Machine as _;
use crate::raft;
use crate::replica::{self, Decision, Refusal};
use crate::task::{gc, get, put, sweep, verify};
use crate::time::Now;

impl Serving {
    /// Does all work that is waiting, and all that comes of it.
    pub(super) fn run(&mut self, now: Now, out: &mut Vec<Effect>) {
        loop {
            while let Some(work) = self.work.pop_front() {
                self.work_on(now, work, out);
            }
            match self.credit.grant() {
                Some((id, bytes)) => self.admit(id, bytes, self.credit.out() - bytes),
                None => return,
            }
        }
    }

    /// Ends the turn of every machine, until no machine has anything more for another.
    pub(super) fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        loop {
            // What is to be set aside is set aside before a close.
            self.flush_reserve(now, out);
            self.close_when_idle(out);
            self.run(now, out);
            let mut stored = Vec::new();
            self.store.flush(now, &mut stored);
            self.route_store(stored, out);
            let mut logged = Vec::new();
            self.replica.flush(now, &mut logged);
            self.route_replica(logged, out);
            self.flush_reserve(now, out);
            // The last decision may have been what a close waited for.
            self.close_when_idle(out);
            if self.work.is_empty() {
                return self.look_whether_ready(out);
            }
        }
    }

    pub(super) fn disk_done(&mut self, op: OpId, result: crate::disk::DiskResult) {
        self.work.push_back(match self.ops.take(op) {
            Owner::Store(token) => Work::Store(store::Event::DiskDone { token, result }),
            Owner::Replica(op) => Work::Replica(replica::Event::DiskDone { op, result }),
            Owner::Reserve => Work::Reserve(reserve::Event::DiskDone { result, footprint: self.footprint() }),
        });
    }

    fn work_on(&mut self, now: Now, work: Work, out: &mut Vec<Effect>) {
        match work {
            Work::Store(event) => {
                let mut effects = Vec::new();
                self.store.step(now, event, &mut effects);
                self.route_store(effects, out);
            }
            Work::Replica(event) => {
                let mut effects = Vec::new();
                self.replica.step(now, event, &mut effects);
                self.route_replica(effects, out);
            }
            Work::Put(id, event) => self.step_put(now, id, event, out),
            Work::Get(id, event) => self.step_get(now, id, event, out),
            Work::Verify(id, event) => self.step_verify(now, id, event, out),
            Work::Gc(id, event) => self.step_gc(now, id, event, out),
            Work::Sweep(id, event) => self.step_sweep(now, id, event),
            Work::Reserve(event) => {
                let mut effects = Vec::new();
                self.reserve.step(now, event, &mut effects);
                self.route_reserve(now, effects, out);
            }
        }
    }

    fn route_store(&mut self, effects: Vec<store::Effect>, out: &mut Vec<Effect>) {
        for effect in effects {
            match effect {
                store::Effect::Disk { token, request } => {
                    self.grew(&request);
                    let op = self.ops.issue(Owner::Store(token));
                    out.push(Effect::Disk { op, request });
                }
                store::Effect::Written { ticket } => {
                    let Ticket { owner, number } = ticket;
                    self.work.push_back(Work::Put(RequestId(owner), put::Event::Written { ticket: number }));
                }
                store::Effect::Stored { ticket, result } => {
                    let Ticket { owner, number } = ticket;
                    self.work.push_back(Work::Put(RequestId(owner), put::Event::Stored { ticket: number, result }));
                }
                store::Effect::Loaded { ticket, result } => {
                    let Ticket { owner, number: ticket } = ticket;
                    let id = RequestId(owner);
                    match self.tasks.get(&id) {
                        Some(Task::Get(_)) => self.work.push_back(Work::Get(id, get::Event::Loaded { ticket, result })),
                        Some(Task::Verify(_)) => {
                            self.work.push_back(Work::Verify(id, verify::Event::Loaded { ticket, result }));
                        }
                        Some(Task::Put(_)) => self.work.push_back(Work::Put(id, put::Event::Loaded { ticket, result })),
                        Some(Task::Gc(_)) => {
                            self.work.push_back(Work::Sweep(id, sweep::Event::Loaded { ticket, result }))
                        }
                        // The conversation was ended; nobody waits any more.
                        None => {}
                    }
                }
                store::Effect::Collected { result, .. } => {
                    if let Some(id) = self.collecting {
                        self.collected(id, gc::Event::Collected(result));
                    }
                }
                store::Effect::Compacted(result) => {
                    if let Some(id) = self.collecting {
                        self.collected(id, gc::Event::Compacted(result));
                    }
                }
                store::Effect::Closed => {
                    if let Some(closing) = &mut self.closing {
                        closing.store_closed = true;
                    }
                    self.reply_closed(out);
                }
                store::Effect::Note(note) => out.push(Effect::Note(note)),
            }
        }
    }

    fn flush_reserve(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut effects = Vec::new();
        self.reserve.flush(now, &mut effects);
        self.route_reserve(now, effects, out);
    }

    fn route_reserve(&mut self, now: Now, effects: Vec<reserve::Effect>, out: &mut Vec<Effect>) {
        for effect in effects {
            match effect {
                reserve::Effect::Disk(request) => {
                    let op = self.ops.issue(Owner::Reserve);
                    out.push(Effect::Disk { op, request });
                }
                reserve::Effect::Admitted { id, bytes: 0 } => self.work.push_back(Work::Put(id, put::Event::Wake)),
                reserve::Effect::Admitted { id, bytes } => {
                    self.work.push_back(Work::Put(id, put::Event::Granted { bytes }));
                }
                reserve::Effect::Refused { id, bytes } => {
                    self.credit.release(bytes);
                    self.work.push_back(Work::Put(id, put::Event::Refused));
                }
                reserve::Effect::Ready { id } => self.go_ahead(now, id, out),
                reserve::Effect::Tight(tight) => {
                    self.work.push_back(Work::Store(store::Event::Tight(tight)));
                    self.work.push_back(Work::Replica(replica::Event::Tight(tight)));
                }
                reserve::Effect::Note(note) => out.push(Effect::Note(note)),
            }
        }
    }

    fn route_replica(&mut self, effects: Vec<replica::Effect>, out: &mut Vec<Effect>) {
        for effect in effects {
            match effect {
                replica::Effect::Disk { op, request } => {
                    self.grew(&request);
                    let op = self.ops.issue(Owner::Replica(op));
                    out.push(Effect::Disk { op, request });
                }
                replica::Effect::Decided { ticket, result } => self.decided(ticket, result.map_err(refusal), out),
                replica::Effect::Send(_) => unreachable!("a store of its own has nobody to tell anything"),
                replica::Effect::Changed { .. } | replica::Effect::Readable { .. } | replica::Effect::Passed { .. } => {
                    unreachable!("nobody has asked for that")
                }
                replica::Effect::Halt(reason) => self.halted = Some(reason),
                replica::Effect::Closed => {
                    if let Some(closing) = &mut self.closing {
                        closing.log_closed = true;
                    }
                    self.reply_closed(out);
                }
                replica::Effect::Note(note) => out.push(Effect::Note(note)),
            }
        }
    }

    /// The ledger has decided on a proposal.
    fn decided(&mut self, ticket: u64, decision: Result<Decision, RequestError>, out: &mut Vec<Effect>) {
        let proposer = self.proposals.remove(&ticket).expect("every decision has a proposer");
        match proposer {
            Proposer::Gc(id) => {
                self.work.push_back(Work::Gc(id, gc::Event::Decided(decision.map(|decision| decision.outcome))));
            }
            Proposer::Put(id) => {
                let event = match decision {
                    Ok(Decision { outcome: Outcome::StaleLease { epoch }, .. }) => put::Event::Stale { epoch },
                    decision => put::Event::Committed {
                        result: accepted(decision)
                            .map(|decision| *decision.stat.expect("a name that was just stored has a meaning")),
                    },
                };
                self.work.push_back(Work::Put(id, event));
            }
            Proposer::Change(id) => {
                let reply = accepted(decision).map(changed);
                out.push(Effect::Reply { id, reply, last: true });
            }
        }
    }

    fn step_put(&mut self, now: Now, id: RequestId, event: put::Event, out: &mut Vec<Effect>) {
        let Some(Task::Put(put)) = self.tasks.get_mut(&id) else { return };
        let mut effects = Vec::new();
        put.step(now, event, &mut effects);
        put.flush(now, &mut effects);
        let lease = put.lease();
        match put.deadline() {
            Some(at) => self.deadlines.set(id, at),
            None => _ = self.deadlines.clear(&id),
        }
        for effect in effects {
            match effect {
                put::Effect::Ask { bytes } => self.credit.ask(id, bytes),
                put::Effect::Release { bytes } => self.credit.release(bytes),
                put::Effect::Store { ticket, chunk } => {
                    let ticket = Ticket { owner: id.0, number: ticket };
                    self.work.push_back(Work::Store(store::Event::Put { ticket, chunk, lease }));
                }
                put::Effect::Touch { ticket, chunk } => {
                    let ticket = Ticket { owner: id.0, number: ticket };
                    self.work.push_back(Work::Store(store::Event::Touch { ticket, chunk, lease }));
                }
                put::Effect::Load { ticket, chunk } => {
                    let ticket = Ticket { owner: id.0, number: ticket };
                    self.work.push_back(Work::Store(store::Event::Get { ticket, chunk }));
                }
                put::Effect::Propose(proposal) => {
                    let put::Proposal { name, expect, manifest, volumes } = *proposal;
                    let command = Command::Put { time: now.wall, lease, name, expect, manifest };
                    self.propose(Proposer::Put(id), volumes, command);
                }
                put::Effect::Reply { reply, last } => {
                    out.push(Effect::Reply { id, reply, last });
                    if last {
                        self.end(id);
                        self.credit.forget(id);
                        self.work.push_back(Work::Reserve(reserve::Event::Forget { id }));
                    }
                }
                put::Effect::Note(note) => out.push(Effect::Note(note)),
            }
        }
    }

    fn step_get(&mut self, now: Now, id: RequestId, event: get::Event, out: &mut Vec<Effect>) {
        let Some(Task::Get(get)) = self.tasks.get_mut(&id) else { return };
        let mut effects = Vec::new();
        get.step(now, event, &mut effects);
        get.flush(now, &mut effects);
        for effect in effects {
            match effect {
                get::Effect::Load { ticket, chunk } => {
                    let ticket = Ticket { owner: id.0, number: ticket };
                    self.work.push_back(Work::Store(store::Event::Get { ticket, chunk }));
                }
                get::Effect::Reply { reply, last } => {
                    out.push(Effect::Reply { id, reply, last });
                    if last {
                        self.end(id);
                    }
                }
            }
        }
    }

    fn step_verify(&mut self, now: Now, id: RequestId, event: verify::Event, out: &mut Vec<Effect>) {
        let Some(Task::Verify(verify)) = self.tasks.get_mut(&id) else { return };
        let mut effects = Vec::new();
        verify.step(now, event, &mut effects);
        verify.flush(now, &mut effects);
        match verify.deadline() {
            Some(at) => self.deadlines.set(id, at),
            None => _ = self.deadlines.clear(&id),
        }
        for effect in effects {
            match effect {
                verify::Effect::Load { ticket, chunk } => {
                    let ticket = Ticket { owner: id.0, number: ticket };
                    self.work.push_back(Work::Store(store::Event::Get { ticket, chunk }));
                }
                verify::Effect::Reply { reply, last } => {
                    out.push(Effect::Reply { id, reply, last });
                    if last {
                        self.end(id);
                    }
                }
            }
        }
    }

    fn step_gc(&mut self, now: Now, id: RequestId, event: gc::Event, out: &mut Vec<Effect>) {
        let Some(Task::Gc(gc)) = self.tasks.get_mut(&id) else { return };
        let mut effects = Vec::new();
        gc.step(now, event, &mut effects);
        gc.flush(now, &mut effects);
        match gc.deadline() {
            Some(at) => self.deadlines.set(id, at),
            None => _ = self.deadlines.clear(&id),
        }
        for effect in effects {
            match effect {
                gc::Effect::Propose(command) => self.propose(Proposer::Gc(id), Vec::new(), command),
                gc::Effect::Sweep { epoch } => self.open_sweep(id, epoch),
                gc::Effect::CancelSweep => self.work.push_back(Work::Sweep(id, sweep::Event::Cancel)),
                gc::Effect::AwaitOlder { epoch } => {
                    self.awaited = Some((id, epoch));
                    self.check_older();
                }
                gc::Effect::EndOlder { epoch } => self.end_older(epoch, out),
                gc::Effect::Collect(filter) => {
                    self.store_part = true;
                    let epoch = filter.epoch();
                    self.work.push_back(Work::Store(store::Event::Collect { epoch, filter }));
                }
                gc::Effect::Compact => {
                    self.store_part = true;
                    self.work.push_back(Work::Store(store::Event::Compact));
                }
                gc::Effect::Reply { reply, last } => {
                    out.push(Effect::Reply { id, reply, last });
                    if last {
                        self.end(id);
                        self.end_gc();
                    }
                }
            }
        }
    }

    fn step_sweep(&mut self, now: Now, id: RequestId, event: sweep::Event) {
        let Some(sweep) = &mut self.sweep else { return };
        let mut effects = Vec::new();
        sweep.step(now, event, &mut effects);
        sweep.flush(now, &mut effects);
        for effect in effects {
            match effect {
                sweep::Effect::Load { ticket, chunk } => {
                    let ticket = Ticket { owner: id.0, number: ticket };
                    self.work.push_back(Work::Store(store::Event::Get { ticket, chunk }));
                }
                sweep::Effect::Done(result) => {
                    self.sweep = None;
                    self.work.push_back(Work::Gc(id, gc::Event::Swept(*result)));
                }
            }
        }
    }

    /// The store has done its part of a collection, whether or not somebody still waits for it.
    fn collected(&mut self, id: RequestId, event: gc::Event) {
        self.store_part = false;
        if self.tasks.contains_key(&id) {
            self.work.push_back(Work::Gc(id, event));
        } else {
            self.collecting = None;
            self.work.push_back(Work::Reserve(reserve::Event::Collected));
        }
    }

    /// Nobody waits for the collection any more; the next may begin once the store has done its part.
    pub(super) fn end_gc(&mut self) {
        (self.sweep, self.awaited) = (None, None);
        if !self.store_part {
            self.collecting = None;
            self.work.push_back(Work::Reserve(reserve::Event::Collected));
        }
    }

    pub(super) fn end(&mut self, id: RequestId) {
        self.tasks.remove(&id);
        self.deadlines.clear(&id);
        self.verified_in.remove(&id);
        self.check_older();
    }

    fn reply_closed(&mut self, out: &mut Vec<Effect>) {
        let Some(closing) = &mut self.closing else { return };
        if let (true, true, Some(id)) = (closing.store_closed, closing.log_closed, closing.asked_by) {
            closing.asked_by = None;
            out.push(Effect::Reply { id, reply: Ok(Reply::Closed), last: true });
        }
    }
}

/// The decision, if it is what its client wanted.
fn accepted(decision: Result<Decision, RequestError>) -> Result<Decision, RequestError> {
    let decision = decision?;
    match decision.outcome {
        Outcome::Stored { .. } | Outcome::Deleted | Outcome::Purged { .. } | Outcome::Cleaned => Ok(decision),
        Outcome::Conflict { current } => Err(RequestError::Conflict { current }),
        Outcome::NotFound => Err(RequestError::NotFound),
        Outcome::StaleLease { .. }
        | Outcome::SweepStarted { .. }
        | Outcome::SweepCompleted
        | Outcome::Superseded
        | Outcome::Reaped { .. } => unreachable!("a stale put and a collection are answered otherwise"),
        Outcome::SessionRegistered { .. }
        | Outcome::SessionUnknown
        | Outcome::SerialTooOld
        | Outcome::Renamed { .. }
        | Outcome::TargetConflict { .. }
        | Outcome::Expired { .. }
        | Outcome::ClockDoubtful
        | Outcome::ClockSet => unreachable!("nobody proposes what comes to that yet"),
    }
}

/// What a change that was made is answered with.
fn changed(decision: Decision) -> Reply {
    match (decision.outcome, decision.stat) {
        (Outcome::Stored { .. }, stat) => Reply::Restored(stat.expect("a name that was just restored has a meaning")),
        (Outcome::Cleaned, _) => Reply::Cleaned,
        (Outcome::Deleted | Outcome::Purged { .. }, _) => Reply::Deleted,
        (outcome, _) => unreachable!("{outcome:?} is not what a change was asked for"),
    }
}

/// What a client is told of a command that was not committed.
fn refusal(refusal: Refusal) -> RequestError {
    match refusal {
        Refusal::Stopped { error: DiskError::Full, .. } => RequestError::DiskFull,
        Refusal::Stopped { file, error } => RequestError::WriteFailed { file, error },
        Refusal::Unknown(error) => RequestError::OutcomeUnknown(error),
        Refusal::Group(raft::Refusal::Busy) => RequestError::Busy,
        Refusal::Closing => RequestError::Closing,
        Refusal::Starting | Refusal::NoLedger | Refusal::Group(_) => {
            unreachable!("whoever is alone leads, and all that it proposes fits")
        }
    }
}
