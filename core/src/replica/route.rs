//! Where effects of one machine become events of another, or effects of the member.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::snapshot::{self, Snapshots};
use super::{Asked, Closing, Decision, Effect, Message, Owner, Refusal, Replica, Work};
use crate::disk::halt::HaltReason;
use crate::disk::{DiskError, File};
use crate::ledger::command::Command;
use crate::machine::Machine as _;
use crate::note::Note;
use crate::raft::entry::{Entry, Payload, Position};
use crate::raft::journal;
use crate::raft::snapshot::Snapshot;
use crate::raft::{self, Effect as RaftEffect};
use crate::time::Now;

impl Replica {
    /// Whether Raft is heard. Once the journal has failed or is closed, nothing that it says could be kept.
    pub(super) const fn is_taking_part(&self) -> bool {
        self.failed.is_none() && matches!(self.closing, None | Some(Closing::Asked))
    }

    /// Wakes whatever is due.
    pub(super) fn fire(&mut self, now: Now) {
        if self.raft.deadline().is_some_and(|at| at <= now.mono) {
            self.work.push_back(Work::Raft(raft::Event::Wake));
        }
        if self.journal.deadline().is_some_and(|at| at <= now.mono) {
            self.work.push_back(Work::Journal(journal::Event::Wake));
        }
    }

    /// Does all work that is waiting, and all that comes of it.
    pub(super) fn run(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(work) = self.work.pop_front() {
            match work {
                Work::Raft(event) => self.step_raft(now, event, out),
                Work::Journal(event) => {
                    let mut effects = Vec::new();
                    self.journal.step(now, event, &mut effects);
                    self.route_journal(effects, out);
                }
            }
        }
    }

    /// Ends the turn of every machine, until no machine has anything more for another.
    pub(super) fn end_turn(&mut self, now: Now, out: &mut Vec<Effect>) {
        loop {
            if self.is_taking_part() {
                let mut effects = Vec::new();
                self.raft.flush(now, &mut effects);
                self.route_raft(effects, out);
            }
            if self.closing == Some(Closing::Asked) {
                self.closing = Some(Closing::Told);
                self.work.push_back(Work::Journal(journal::Event::Close));
            }
            self.run(now, out);
            let mut effects = Vec::new();
            self.journal.flush(now, &mut effects);
            self.route_journal(effects, out);
            if self.work.is_empty() {
                break;
            }
        }
        self.outcomes.clear();
        self.make_snapshot(out);
        self.with_snapshots(out, |snapshots, effects| snapshots.flush(now, effects));
        self.run(now, out);
        if self.closing == Some(Closing::Closed) && !self.snapshots.is_busy() {
            self.closing = Some(Closing::Said);
            out.push(Effect::Closed);
        }
    }

    fn step_raft(&mut self, now: Now, event: raft::Event, out: &mut Vec<Effect>) {
        if !self.is_taking_part() {
            return;
        }
        let mut effects = Vec::new();
        self.raft.step(now, event, &mut effects);
        self.route_raft(effects, out);
    }

    fn route_raft(&mut self, effects: Vec<RaftEffect>, out: &mut Vec<Effect>) {
        for effect in effects {
            match effect {
                RaftEffect::Persist(write) => {
                    self.work.push_back(Work::Journal(journal::Event::Persist(write)));
                }
                RaftEffect::Send(message) => out.push(Effect::Send(Box::new(Message::Raft(message)))),
                RaftEffect::Apply(entries) => entries.iter().for_each(|entry| self.apply(entry, out)),
                RaftEffect::Restore(snapshot) => self.restore(snapshot, out),
                RaftEffect::Fetch { from, snapshot } => {
                    self.with_snapshots(out, |snapshots, effects| snapshots.fetch(from, snapshot, effects));
                }
                RaftEffect::Answered { ticket, result } => self.answered(ticket, result, out),
                RaftEffect::Readable { ticket, result: Ok(index) } => {
                    self.reads.insert((index, ticket));
                    self.serve_reads(out);
                }
                RaftEffect::Readable { ticket, result: Err(refusal) } => {
                    let asked = self.asked.remove(&ticket).expect("every answer was asked for");
                    out.push(self.refuse(asked, refusal.into()));
                }
                RaftEffect::Settled => self.work.push_back(Work::Journal(journal::Event::Resolved)),
                RaftEffect::Note(note) => out.push(Effect::Note(Note::Group(note))),
            }
        }
    }

    fn route_journal(&mut self, effects: Vec<journal::Effect>, out: &mut Vec<Effect>) {
        for effect in effects {
            match effect {
                journal::Effect::Disk { op, request } => {
                    let op = self.ops.issue(Owner::Journal(op));
                    out.push(Effect::Disk { op, request });
                }
                journal::Effect::Persisted { write } => {
                    self.work.push_back(Work::Raft(raft::Event::Persisted { write }));
                }
                journal::Effect::Failed { file, error } => self.fail(file, error, out),
                journal::Effect::Closed => self.closing = Some(Closing::Closed),
                journal::Effect::Note(note) => out.push(Effect::Note(note)),
            }
        }
    }

    /// Lets the snapshots do something, and routes what they want.
    pub(super) fn with_snapshots(
        &mut self,
        out: &mut Vec<Effect>,
        with: impl FnOnce(&mut Snapshots, &mut Vec<snapshot::Effect>),
    ) {
        let mut effects = Vec::new();
        with(&mut self.snapshots, &mut effects);
        for effect in effects {
            match effect {
                snapshot::Effect::Disk { op, request } => {
                    let op = self.ops.issue(Owner::Snapshots(op));
                    out.push(Effect::Disk { op, request });
                }
                snapshot::Effect::Made { snapshot, through } => {
                    self.work.push_back(Work::Raft(raft::Event::Snapshotted { snapshot, through }));
                }
                snapshot::Effect::Fetched { snapshot, state } => {
                    self.fetched = Some((snapshot.last, state));
                    self.work.push_back(Work::Raft(raft::Event::Installed(snapshot)));
                }
                snapshot::Effect::Ask(piece) => out.push(Effect::Send(Box::new(Message::Ask(piece)))),
                snapshot::Effect::Part { piece, bytes } => {
                    out.push(Effect::Send(Box::new(Message::Part { piece, bytes })));
                }
                snapshot::Effect::Note(note) => out.push(Effect::Note(note)),
            }
        }
    }

    /// A committed entry: the ledger takes it.
    pub(super) fn apply(&mut self, entry: &Entry, out: &mut Vec<Effect>) {
        let Entry { position, payload } = entry;
        assert_eq!(position.index, self.applied.index + 1, "entries are applied in their order");
        if self.halted {
            return;
        }
        self.applied = *position;
        match payload {
            Payload::Empty => {}
            Payload::Membership(members) => self.members = Arc::clone(members),
            Payload::Command(command) => {
                let Ok(command) = Command::decode(command) else {
                    self.halted = true;
                    return out.push(Effect::Halt(HaltReason::UnknownCommand { index: position.index }));
                };
                let outcome = self.ledger.apply(position.index, &command);
                if !self.asked.is_empty() {
                    self.outcomes.insert(position.index, outcome);
                }
            }
        }
        self.serve_reads(out);
    }

    /// The ledger goes on from what was fetched.
    fn restore(&mut self, snapshot: Snapshot, out: &mut Vec<Effect>) {
        let (last, state) = self.fetched.take().expect("what is restored was fetched");
        assert_eq!(last, snapshot.last, "and just now");
        (self.ledger, self.applied, self.members) = (*state, last, snapshot.membership);
        self.snapshot_at = last.index + self.settings.snapshot_entries;
        self.serve_reads(out);
    }

    /// Raft has decided on a command or a change.
    fn answered(&mut self, ticket: u64, result: Result<Position, raft::Refusal>, out: &mut Vec<Effect>) {
        let asked = self.asked.remove(&ticket).expect("every answer was asked for");
        let position = match result {
            Ok(position) => position,
            Err(refusal) => return out.push(self.refuse(asked, refusal.into())),
        };
        let decide = || {
            let outcome = *self.outcomes.get(&position.index).expect("what is committed was just applied");
            Ok(Decision { position, outcome })
        };
        out.push(match asked {
            Asked::Command(ticket) => Effect::Decided { ticket, result: Box::new(decide()) },
            Asked::Remote { node, ticket } => self.answer(node, ticket, &decide()),
            Asked::Change(ticket) => Effect::Changed { ticket, result: Ok(position) },
            Asked::Read(_) => panic!("a read is answered otherwise"),
        });
    }

    fn serve_reads(&mut self, out: &mut Vec<Effect>) {
        while let Some((index, ticket)) = self.reads.pop_first() {
            if index > self.applied.index {
                self.reads.insert((index, ticket));
                return;
            }
            let Some(Asked::Read(ticket)) = self.asked.remove(&ticket) else { panic!("only reads are readable") };
            out.push(Effect::Readable { ticket, result: Ok(index) });
        }
    }

    /// The journal can't be written: this member takes part no more until its next start.
    fn fail(&mut self, file: File, error: DiskError, out: &mut Vec<Effect>) {
        self.failed = Some((file, error));
        self.reads.clear();
        for asked in mem::take(&mut self.asked).into_values() {
            let refusal = match asked {
                Asked::Command(_) | Asked::Change(_) | Asked::Remote { .. } => Refusal::Unknown(error),
                Asked::Read(_) => Refusal::Stopped { file, error },
            };
            out.push(self.refuse(asked, refusal));
        }
    }

    /// Makes a snapshot when it is time.
    fn make_snapshot(&mut self, out: &mut Vec<Effect>) {
        let due = self.applied.index >= self.snapshot_at && self.applied.index > self.snapshots.newest();
        if !due || self.snapshots.is_busy() || !self.is_taking_part() || self.closing.is_some() {
            return;
        }
        self.snapshot_at = self.applied.index + self.settings.snapshot_entries;
        let (ledger, last, members) = (self.ledger.clone(), self.applied, Arc::clone(&self.members));
        self.with_snapshots(out, |snapshots, effects| snapshots.make(ledger, last, members, effects));
    }
}
