//! Where effects of one machine become events of another, or effects of the member.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::note::Note as MemberNote;
use super::snapshot::{self, Snapshots};
use super::{Asked, Body, Closing, Decision, Effect, Message, Owner, Refusal, Replica, Work, witness};
use crate::disk::halt::HaltReason;
use crate::disk::{DiskError, File};
use crate::ledger::command::{Command, Outcome};
use crate::ledger::file::Target;
use crate::machine::Machine as _;
use crate::note::Note;
use crate::raft::entry::{Entry, Payload, Position};
use crate::raft::journal;
use crate::raft::snapshot::Snapshot;
use crate::raft::{self, Effect as RaftEffect};
use crate::time::Now;

/// Committed entries that the ledger does not have yet.
#[derive(Debug)]
struct Ready {
    entries: Arc<[Entry]>,
    /// How many of them it has.
    applied: usize,
}

impl Default for Ready {
    fn default() -> Self {
        Self { entries: Arc::from([]), applied: 0 }
    }
}

impl Ready {
    /// The next one up to `index`.
    fn next(&mut self, index: u64) -> Option<&Entry> {
        let entry = self.entries.get(self.applied).filter(|entry| entry.position.index <= index)?;
        self.applied += 1;
        Some(entry)
    }
}

impl Replica {
    /// Whether Raft is heard. Once the journal has failed or is closed, nothing that it says could be kept; and who was
    /// refused says nothing more.
    pub(super) const fn is_taking_part(&self) -> bool {
        self.failed.is_none() && matches!(self.closing, None | Some(Closing::Asked)) && !self.witness.is_refused()
    }

    /// The same, or what the log has is still to be applied.
    pub(super) const fn hears_raft(&self) -> bool {
        self.is_taking_part() || self.only_reads
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
                Work::Raft(event) => {
                    let installs = matches!(event, raft::Event::Installed(_));
                    self.step_raft(now, event, out);
                    if installs {
                        // Perhaps it was of no use: a ledger is too much to be kept for nothing.
                        self.fetched = None;
                    }
                }
                Work::Journal(event) => {
                    let mut effects = mem::take(&mut self.spare.1);
                    self.journal.step(now, event, &mut effects);
                    self.route_journal(effects, out);
                }
                Work::Witness(event) => {
                    let mut effects = Vec::new();
                    self.witness.step(now, event, &mut effects);
                    self.route_witness(effects, out);
                }
            }
        }
    }

    /// Ends the turn of every machine, until no machine has anything more for another.
    pub(super) fn end_turn(&mut self, now: Now, out: &mut Vec<Effect>) {
        loop {
            if self.hears_raft() {
                let mut effects = mem::take(&mut self.spare.0);
                self.raft.flush(now, &mut effects);
                self.route_raft(effects, out);
            }
            if self.closing == Some(Closing::Asked) {
                self.closing = Some(Closing::Told);
                self.work.push_back(Work::Journal(journal::Event::Close));
            }
            self.run(now, out);
            self.meet(now, out);
            let mut effects = mem::take(&mut self.spare.1);
            self.journal.flush(now, &mut effects);
            self.route_journal(effects, out);
            if self.work.is_empty() {
                break;
            }
        }
        self.want_ledger(now, out);
        self.make_snapshot(out);
        self.with_snapshots(out, |snapshots, effects| snapshots.flush(now, effects));
        self.run(now, out);
        if self.closing == Some(Closing::Closed) && !self.snapshots.is_busy() && self.ops.len() == 0 {
            self.closing = Some(Closing::Said);
            out.push(Effect::Closed);
        }
    }

    /// Whoever takes part gets to know this start.
    fn meet(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.is_taking_part() && !self.witness.is_refused() {
            return;
        }
        let mut effects = Vec::new();
        if !Arc::ptr_eq(&self.told, self.raft.shared_membership()) {
            self.told = Arc::clone(self.raft.shared_membership());
            self.witness.step(now, witness::Event::Members(Arc::clone(&self.told)), &mut effects);
        }
        self.witness.flush(now, &mut effects);
        self.route_witness(effects, out);
    }

    fn route_witness(&mut self, effects: Vec<witness::Effect>, out: &mut Vec<Effect>) {
        for effect in effects {
            match effect {
                witness::Effect::Send { to, words } => out.push(self.letter(to, Body::Meet(words))),
                witness::Effect::Disk(request) => {
                    let op = self.ops.issue(Owner::Witness);
                    out.push(Effect::Disk { op, request });
                }
                witness::Effect::RolledBack(witness::Verdict { by, because }) => {
                    self.halt(HaltReason::RolledBack { by, because }, out);
                }
                witness::Effect::Note(note) => out.push(Effect::Note(Note::Member(note))),
            }
        }
    }

    /// Stops, once.
    fn halt(&mut self, reason: HaltReason, out: &mut Vec<Effect>) {
        if !self.halted {
            self.halted = true;
            out.push(Effect::Halt(reason));
        }
    }

    fn step_raft(&mut self, now: Now, event: raft::Event, out: &mut Vec<Effect>) {
        if !self.hears_raft() {
            return;
        }
        let mut effects = mem::take(&mut self.spare.0);
        self.raft.step(now, event, &mut effects);
        self.route_raft(effects, out);
    }

    fn route_raft(&mut self, mut effects: Vec<RaftEffect>, out: &mut Vec<Effect>) {
        if effects.is_empty() {
            self.spare.0 = effects;
            return;
        }
        let mut ready = Ready::default();
        for effect in effects.drain(..) {
            // A ledger is looked at as it was right after the command that somebody has asked for.
            if !matches!(effect, RaftEffect::Answered { .. }) {
                self.apply_through(&mut ready, u64::MAX, out);
            }
            match effect {
                RaftEffect::Persist(write) => {
                    self.work.push_back(Work::Journal(journal::Event::Persist(Box::new(write))));
                }
                RaftEffect::Send(message) => out.push(Effect::Send(Box::new(Message::Raft(message)))),
                RaftEffect::Apply(entries) => ready = Ready { entries, applied: 0 },
                RaftEffect::Restore(snapshot) => self.restore(snapshot, out),
                RaftEffect::Fetch { from, snapshot } => {
                    self.with_snapshots(out, |snapshots, effects| snapshots.fetch(from, snapshot, effects));
                }
                RaftEffect::Answered { ticket, result } => self.answered(ticket, result, &mut ready, out),
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
        self.apply_through(&mut ready, u64::MAX, out);
        self.spare.0 = effects;
    }

    fn route_journal(&mut self, mut effects: Vec<journal::Effect>, out: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
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
        self.spare.1 = effects;
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
                snapshot::Effect::Ask { to, piece } => out.push(self.letter(to, Body::Ask(piece))),
                snapshot::Effect::Part { to, asker, piece, bytes } => {
                    out.push(self.letter(to, Body::Part { asker, piece, bytes }));
                }
                snapshot::Effect::Unfit { to, piece } => out.push(self.letter(to, Body::Unfit(piece))),
                snapshot::Effect::Lost => self.snapshot_at = self.applied.index,
                snapshot::Effect::Note(note) => out.push(Effect::Note(note)),
            }
        }
    }

    /// The ledger takes the committed entries that are ready, up to `index`. What the last of them came to, if that was a
    /// command.
    fn apply_through(&mut self, ready: &mut Ready, index: u64, out: &mut Vec<Effect>) -> Option<(Command, Outcome)> {
        let mut last = None;
        while let Some(entry) = ready.next(index) {
            if self.halted {
                return None;
            }
            last = self.apply(entry, out);
        }
        last
    }

    fn apply(&mut self, entry: &Entry, out: &mut Vec<Effect>) -> Option<(Command, Outcome)> {
        let Entry { position, payload } = entry;
        assert_eq!(position.index, self.applied.index + 1, "entries are applied in their order");
        self.applied = *position;
        let mut result = None;
        match payload {
            Payload::Empty => {}
            Payload::Membership(members) => self.members = Arc::clone(members),
            Payload::Command(command) => {
                let Ok(command) = Command::decode(command) else {
                    self.halt(HaltReason::UnknownCommand { index: position.index }, out);
                    return None;
                };
                let outcome = self.ledger.apply(position.index, &command);
                result = Some((command, outcome));
            }
        }
        self.serve_reads(out);
        result
    }

    /// The ledger goes on from what was fetched.
    fn restore(&mut self, snapshot: Snapshot, out: &mut Vec<Effect>) {
        let (last, state) = self.fetched.take().expect("what is restored was fetched");
        assert_eq!(last, snapshot.last, "and just now");
        (self.ledger, self.applied, self.members) = (*state, last, snapshot.membership);
        self.snapshot_at = last.index + self.settings.snapshot_distance(self.ledger.len());
        if self.lack.take().is_some() {
            out.push(Effect::Note(Note::Member(MemberNote::LedgerFound { index: last.index })));
        }
        self.serve_reads(out);
    }

    /// Raft has decided on a command or a change.
    fn answered(
        &mut self,
        ticket: u64,
        result: Result<Position, raft::Refusal>,
        ready: &mut Ready,
        out: &mut Vec<Effect>,
    ) {
        let asked = self.asked.remove(&ticket).expect("every answer was asked for");
        let position = match result {
            Ok(position) => position,
            Err(refusal) => return out.push(self.refuse(asked, refusal.into())),
        };
        let came_to = self.apply_through(ready, position.index, out);
        if self.halted {
            return;
        }
        let decide = |stat: bool| {
            let (command, outcome) = came_to.as_ref().expect("what is committed was just applied");
            // What a session repeats was done long ago, and its name may be gone.
            let name = command.name().filter(|_| stat && matches!(outcome, Outcome::Stored { .. }));
            let stat = name.and_then(|name| self.ledger.stat(&Target::Name(name.clone())));
            let stat = stat.map(|(stat, _)| Box::new(stat));
            Ok(Decision { position, outcome: *outcome, stat })
        };
        out.push(match asked {
            Asked::Command(ticket) => Effect::Decided { ticket, result: Box::new(decide(true)) },
            Asked::Remote { node, asker, ticket } => self.answer(node, asker, ticket, &decide(false)),
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
        if due && !self.raft.lacks_state() {
            self.snapshots.overtaken(self.applied.index);
        }
        if !due
            || self.snapshots.is_tight()
            || self.snapshots.is_busy()
            || !self.is_taking_part()
            || self.closing.is_some()
        {
            return;
        }
        self.snapshot_at = self.applied.index + self.settings.snapshot_distance(self.ledger.len());
        let (ledger, last, members) = (self.ledger.clone(), self.applied, Arc::clone(&self.members));
        self.with_snapshots(out, |snapshots, effects| snapshots.make(ledger, last, members, effects));
    }
}
