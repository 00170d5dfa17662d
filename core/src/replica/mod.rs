//! A member of a group: [Raft](crate::raft), its journal, the ledger that comes of the log, and snapshots of it on
//! disk.
//!
//! Composition only, like a node: the machines know nothing of each other, and what one wants the other hears by
//! `route`. [`Peer`] is a member from power on; [`Replica`] is one whose disk was read.

mod ask;
pub mod event;
pub mod gateway;
mod lack;
mod letter;
pub mod note;
mod peer;
pub mod recover;
mod route;
pub mod snapshot;
pub mod witness;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use event::{Answer, Body, Decision, Effect, Event, Letter, Message, Piece, Refusal};
pub use peer::Peer;

use crate::disk::ops::Ops;
use crate::disk::{DiskError, DiskResult, File};
use crate::id::{NodeId, OpId};
use crate::ledger::state::State;
use crate::machine::Machine;
use crate::raft::entry::Position;
use crate::raft::journal::{self, Journal};
use crate::raft::membership::Membership;
use crate::raft::settings::Settings as RaftSettings;
use crate::raft::{self, Raft};
use crate::time::{Instant, Now};

use self::lack::Lack;
use self::snapshot::{Op as SnapshotOp, Snapshots};
use self::witness::Witness;

/// How a member keeps its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bounds and timeouts of Raft.
    pub raft: RaftSettings,
    /// Entries that are applied after one snapshot before the next is made, at least.
    pub snapshot_entries: u64,
}

impl Settings {
    /// What every real member uses.
    pub const STANDARD: Self = Self { raft: RaftSettings::STANDARD, snapshot_entries: 100_000 };

    /// Commands that are applied after a snapshot of so many entries of the ledger before the next is made: more after
    /// a large one, since all of it is written each time. So a command costs a bounded number of entries that are
    /// written for snapshots, however large the ledger gets, and what the log keeps stays a share of the ledger.
    #[must_use]
    pub const fn snapshot_distance(&self, ledger_entries: u64) -> u64 {
        let share = ledger_entries / SNAPSHOT_SHARE;
        if share > self.snapshot_entries { share } else { self.snapshot_entries }
    }
}

/// This many entries of the ledger are written for snapshots for each command, at most: those of eight names. So the
/// log has a quarter as many commands as the ledger has names, or the least that settings say.
const SNAPSHOT_SHARE: u64 = 16;

/// What a member must be told, since its disk can't tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// Who it is.
    pub id: NodeId,
    /// Who takes part before the first entry of the log: the founders, with those who will join later not among them.
    /// The same for all members, for ever.
    pub members: Arc<Membership>,
    /// How it keeps its part.
    pub settings: Settings,
}

/// What one machine hears next.
#[derive(Debug)]
enum Work {
    Raft(raft::Event),
    Journal(journal::Event),
    Witness(witness::Event),
}

/// Who waits for a disk request.
#[derive(Debug)]
enum Owner {
    Journal(journal::Op),
    Snapshots(SnapshotOp),
    Witness,
}

/// What somebody asks for, by the ticket that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Command(u64),
    Change(u64),
    Read(u64),
    /// A command that another member has sent.
    Remote {
        node: NodeId,
        /// Which start of it.
        asker: u64,
        ticket: u64,
    },
}

/// How far a close is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// What was proposed before goes to the journal first.
    Asked,
    /// The journal was told.
    Told,
    /// It is closed; perhaps a snapshot is still being written.
    Closed,
    /// That was said.
    Said,
}

/// A member whose disk was read.
#[derive(Debug)]
pub struct Replica {
    settings: Settings,
    raft: Raft,
    journal: Journal,
    ledger: State,
    /// The last entry that the ledger has.
    applied: Position,
    /// Who takes part by the log up to there.
    members: Arc<Membership>,
    snapshots: Snapshots,
    witness: Witness,
    /// While there is no ledger.
    lack: Option<Lack>,
    incarnation: u64,
    /// Who takes part by the newest word, as the witness was told.
    told: Arc<Membership>,
    /// When so many entries are applied, a snapshot is made.
    snapshot_at: u64,
    ops: Ops<Owner>,
    work: VecDeque<Work>,
    /// Whoever waits for an answer, by the number that Raft knows.
    asked: BTreeMap<u64, Asked>,
    next_number: u64,
    /// Reads that wait for the ledger, by the index that it must have.
    reads: BTreeSet<(u64, u64)>,
    /// What a snapshot that was fetched holds, while Raft is asked whether it is of use.
    fetched: Option<(Position, Box<State>)>,
    failed: Option<(File, DiskError)>,
    /// Whether nothing could be written from the first, by a member that is alone: what its log has counts all the
    /// same.
    only_reads: bool,
    closing: Option<Closing>,
    halted: bool,
    /// Room for effects of Raft and the journal: nothing is in it between two steps of theirs.
    spare: (Vec<raft::Effect>, Vec<journal::Effect>),
}

impl Replica {
    /// Raft, to look at.
    #[must_use]
    pub const fn raft(&self) -> &Raft {
        &self.raft
    }

    /// The ledger as far as it is applied.
    #[must_use]
    pub const fn ledger(&self) -> &State {
        &self.ledger
    }

    /// The index of the last entry that the ledger has.
    #[must_use]
    pub const fn applied(&self) -> u64 {
        self.applied.index
    }

    /// Why nothing is written any more in this start.
    #[must_use]
    pub const fn failed(&self) -> Option<(File, DiskError)> {
        self.failed
    }

    /// What is known of the starts of other members.
    #[must_use]
    pub const fn witness(&self) -> &Witness {
        &self.witness
    }

    /// Bytes that each new segment of the journal begins with, at most.
    #[must_use]
    pub fn preamble_bytes(&self) -> u64 {
        self.journal.preamble_bytes()
    }

    /// Whether the ledger has all that the log had at the start. Only of interest where nobody else takes part: others
    /// may have more in their logs than was ever committed.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.applied.index >= self.raft.last().index
    }

    /// Takes part in nothing in this start: `file` has lost something that nobody else has.
    pub fn stop(&mut self, file: File, error: DiskError) {
        self.failed = Some((file, error));
    }

    /// What it has done in this start that shows in no effect: entries applied, steps of making snapshots.
    #[must_use]
    pub const fn progress(&self) -> u64 {
        self.applied.index + self.snapshots.steps()
    }

    fn disk_done(&mut self, now: Now, op: OpId, result: DiskResult, out: &mut Vec<Effect>) {
        match self.ops.take(op) {
            Owner::Journal(op) => self.work.push_back(Work::Journal(journal::Event::DiskDone { op, result })),
            Owner::Snapshots(op) => {
                self.with_snapshots(out, |snapshots, effects| snapshots.done(now, op, result, effects));
            }
            Owner::Witness => self.work.push_back(Work::Witness(witness::Event::DiskDone(result))),
        }
    }
}

impl Machine for Replica {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        assert!(!self.halted, "nothing is called after Halt");
        self.snapshots.hear();
        self.fire(now);
        match event {
            Event::Wake => {}
            Event::DiskDone { op, result } => self.disk_done(now, op, result, out),
            Event::Received(message) => self.received(now, *message, out),
            Event::Propose { ticket, volumes, command } => {
                self.propose(now, Asked::Command(ticket), volumes, command, out);
            }
            Event::Pass { to, ticket, command } => {
                if self.is_taking_part() {
                    out.push(self.letter(to, Body::Propose { ticket, command }));
                }
            }
            Event::Change { ticket, changes } => {
                self.ask(Asked::Change(ticket), |ticket| raft::Event::Change { ticket, changes }, out);
            }
            Event::Read { ticket } => self.ask(Asked::Read(ticket), |ticket| raft::Event::Read { ticket }, out),
            Event::Transfer { to } => self.work.push_back(Work::Raft(raft::Event::Transfer { to })),
            Event::Tight(tight) => self.with_snapshots(out, |snapshots, effects| snapshots.set_tight(tight, effects)),
            Event::Close => self.closing = self.closing.or(Some(Closing::Asked)),
        }
        self.run(now, out);
    }

    fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.halted {
            self.end_turn(now, out);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let raft = self.hears_raft().then(|| self.raft.deadline()).flatten();
        let witness = self.is_taking_part().then(|| self.witness.deadline()).flatten();
        let lack = self.lack.as_ref().map(Lack::deadline);
        [raft, witness, lack, self.journal.deadline(), self.snapshots.deadline()].into_iter().flatten().min()
    }

    fn check(&self) {
        self.raft.check();
        self.journal.check();
        self.snapshots.check();
        self.witness.check();
        assert!(self.work.is_empty(), "a turn leaves nothing undone");
        assert!(self.reads.first().is_none_or(|(index, _)| *index > self.applied.index), "reads are served in time");
    }
}

#[cfg(test)]
mod tests;
