//! What a start makes of the disk: the journal, and the newest snapshot that can be read.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::lack::Lack;
use super::note::Note as MemberNote;
use super::snapshot::Snapshots;
use super::snapshot::file::{BadSnapshot, END_LEN, End, Intake};
use super::witness::memory::Reading;
use super::witness::{self, Verdict, Witness};
use super::{Founding, Replica};
use crate::config::Config;
use crate::disk::boot::BootRecord;
use crate::disk::damage::{Damage, DamageKind};
use crate::disk::halt::HaltReason;
use crate::disk::ops::Ops;
use crate::disk::stray::Strays;
use crate::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Verify};
use crate::id::NodeId;
use crate::ledger::command::Command;
use crate::ledger::state::State as Ledger;
use crate::limits::{DAMAGES_MAX, SNAPSHOT_FILES_MAX, STEP_BYTES_MAX};
use crate::note::Note;
use crate::raft::entry::{Entry, Payload, Position};
use crate::raft::journal::recover::{Recovered as Log, Recovery as LogRecovery, Step as LogStep};
use crate::raft::snapshot::Snapshot;
use crate::raft::{Raft, Start};
use crate::rng::Seed;
use crate::time::Now;

/// What recovery wants, or has made.
#[derive(Debug)]
pub enum Step {
    /// Perform this and call [`Recovery::done`].
    Disk(DiskRequest),
    /// Something to tell.
    Note(Note),
    /// All is read; see [`Recovery::into_recovered`].
    Ready,
    /// There is no way to go on. Nothing was lost by this start.
    Halt(HaltReason),
}

/// A member at a start.
#[derive(Debug)]
pub struct Recovered {
    /// The member.
    pub replica: Replica,
    /// Entries that were read from the journal.
    pub entries: u64,
    /// By volume, the largest position that an entry relies on (rule J6).
    pub volumes: BTreeMap<u64, u64>,
    /// Records lost.
    pub damages: Vec<Damage>,
    /// Whether the log was ever meant for more than this node.
    pub replicated: bool,
    /// What can be read of the ledger of a store of its own whose journal has lost something. Which of it counts is not
    /// known.
    pub readable: Option<Box<Ledger>>,
}

#[derive(Debug)]
enum Stage {
    Log(Box<LogRecovery>),
    /// Reading the end of each snapshot.
    Ends {
        log: Box<Log>,
        left: VecDeque<(u64, u64)>,
        ends: BTreeMap<u64, End>,
    },
    /// Reading the newest.
    Content {
        log: Box<Log>,
        ends: BTreeMap<u64, End>,
        intake: Box<Intake>,
        bad: Option<BadSnapshot>,
    },
    Ready {
        log: Box<Log>,
        ends: BTreeMap<u64, End>,
        loaded: Option<Box<(Ledger, Snapshot)>>,
    },
    Halted(HaltReason),
}

/// Recovery of a member. Pulled: ask for steps, feed results.
#[derive(Debug)]
pub struct Recovery {
    founding: Founding,
    boot: BootRecord,
    /// Index and length of each snapshot file.
    snapshots: Vec<(u64, u64)>,
    /// What is remembered of the other members: read before all else.
    memory: Reading,
    stage: Option<Stage>,
    /// Whether nobody else ever had the log.
    for_one: bool,
    /// Files that are of no use.
    useless: BTreeSet<u64>,
    notes: Vec<Note>,
}

impl Recovery {
    /// Recovery of these segments and snapshots (number and length, ascending). With `read_only` nothing is written.
    #[must_use]
    pub fn new(
        config: &Config,
        founding: Founding,
        boot: BootRecord,
        segments: Vec<(u64, u64)>,
        snapshots: Vec<(u64, u64)>,
        read_only: Option<DiskError>,
    ) -> Self {
        let log = LogRecovery::new(config, boot, segments, Arc::clone(&founding.members), read_only);
        let stage = Some(Stage::Log(Box::new(log)));
        let memory = Reading::new(boot.store);
        let (for_one, useless) = (false, BTreeSet::new());
        Self { founding, boot, snapshots, memory, stage, for_one, useless, notes: Vec::new() }
    }

    /// No new segment takes the place of one of these strays.
    ///
    /// # Panics
    /// When it was asked for a step before.
    #[must_use]
    pub fn beside(mut self, strays: Strays) -> Self {
        let Some(Stage::Log(log)) = self.stage else { panic!("nothing was read yet") };
        self.stage = Some(Stage::Log(Box::new(log.beside(strays))));
        self
    }

    /// Nobody else ever had this log, whatever it has lost: it is that of a store of its own.
    ///
    /// # Panics
    /// When it was asked for a step before.
    #[must_use]
    pub fn of_one(mut self) -> Self {
        let Some(Stage::Log(log)) = self.stage else { panic!("nothing was read yet") };
        self.stage = Some(Stage::Log(Box::new(log.of_one())));
        self.for_one = true;
        self
    }

    /// The next step.
    pub fn advance(&mut self) -> Step {
        loop {
            if let Some(note) = self.notes.pop() {
                return Step::Note(note);
            }
            if let Some(request) = self.memory.advance() {
                return Step::Disk(request);
            }
            if let Some(Verdict { by, because }) = self.memory.verdict() {
                self.stage = Some(Stage::Halted(HaltReason::RolledBack { by, because }));
            }
            let (stage, step) = match self.stage.take().expect("there is always a stage") {
                Stage::Log(log) => self.read_log(log),
                Stage::Ends { log, left, ends } => read_ends(log, left, ends),
                Stage::Content { log, ends, intake, bad } => self.read_content(log, ends, intake, bad),
                stage @ Stage::Ready { .. } => (stage, Some(Step::Ready)),
                Stage::Halted(reason) => (Stage::Halted(reason), Some(Step::Halt(reason))),
            };
            self.stage = Some(stage);
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// The result of the request that was asked for.
    ///
    /// # Panics
    /// When none was.
    pub fn done(&mut self, result: &DiskResult) {
        if self.memory.advance().is_some() {
            let damaged = self.memory.done(result);
            return self.notes.extend(damaged.map(MemberNote::MemoryDamaged).map(Note::Member));
        }
        match self.stage.as_mut().expect("there is always a stage") {
            Stage::Log(log) => log.done(result),
            Stage::Ends { left, ends, .. } => {
                let (index, len) = left.pop_front().expect("an end was read");
                let end = match result {
                    Ok(DiskReply::Read(bytes)) => End::decode(bytes, &self.boot.store),
                    _ => None,
                };
                let fits = |end: &End| end.last.index == index && end.bytes + END_LEN as u64 == len;
                match end.filter(fits) {
                    Some(end) => _ = ends.insert(index, end),
                    None => self.reject(index, BadSnapshot::Block { offset: len.saturating_sub(END_LEN as u64) }),
                }
            }
            Stage::Content { intake, bad, .. } => {
                let taken = match result {
                    Ok(DiskReply::Read(bytes)) if !bytes.is_empty() => intake.take(bytes),
                    _ => Err(BadSnapshot::Block { offset: intake.bytes() }),
                };
                *bad = taken.err();
            }
            Stage::Ready { .. } | Stage::Halted(_) => panic!("a finished recovery asks for nothing"),
        }
    }

    fn reject(&mut self, index: u64, bad: BadSnapshot) {
        self.useless.insert(index);
        self.notes.push(Note::SnapshotRejected { index, bad });
    }

    fn read_log(&mut self, mut log: Box<LogRecovery>) -> (Stage, Option<Step>) {
        match log.advance() {
            LogStep::Disk(request) => (Stage::Log(log), Some(Step::Disk(request))),
            LogStep::Note(note) => (Stage::Log(log), Some(Step::Note(note))),
            LogStep::Ready => {
                let log = Box::new(log.into_recovered());
                let begins = log.base.position.index;
                // The log does not meet one that ends before it begins.
                let (of_use, useless): (Vec<_>, Vec<_>) =
                    self.snapshots.iter().copied().partition(|(index, len)| *index >= begins && *len > END_LEN as u64);
                self.useless.extend(useless.into_iter().map(|(index, _)| index));
                let left = of_use.into_iter().rev().take(SNAPSHOT_FILES_MAX).collect();
                (Stage::Ends { log, left, ends: BTreeMap::new() }, None)
            }
        }
    }

    /// No snapshot can be read, and the journal begins after entry `index`.
    fn snapshot_lost(&mut self, log: &mut Log, index: u64) {
        let newest = self.useless.last().copied().filter(|newest| *newest >= index);
        let kind = if newest.is_some() { DamageKind::Broken } else { DamageKind::Missing };
        let file = File::Snapshot(newest.unwrap_or(index));
        let damage = Damage { file, offset: 0, first: 1, last: newest.unwrap_or(index), kind };
        self.notes.push(Note::Damaged(damage));
        log.damages.insert(0, damage);
        log.damages.truncate(DAMAGES_MAX);
    }

    fn read_content(
        &mut self,
        mut log: Box<Log>,
        mut ends: BTreeMap<u64, End>,
        intake: Box<Intake>,
        bad: Option<BadSnapshot>,
    ) -> (Stage, Option<Step>) {
        let Some((&index, &end)) = ends.last_key_value() else {
            let index = log.base.position.index;
            let stage = match index {
                0 => Stage::Ready { log, ends, loaded: None },
                _ if self.for_one => {
                    self.snapshot_lost(&mut log, index);
                    Stage::Ready { log, ends, loaded: None }
                }
                _ if is_alone(&log, &self.founding.id) => Stage::Halted(HaltReason::SnapshotLost { index }),
                _ => {
                    self.notes.push(Note::Member(MemberNote::LedgerLost { index }));
                    Stage::Ready { log, ends, loaded: None }
                }
            };
            return (stage, None);
        };
        let left = end.bytes - intake.bytes();
        if bad.is_none() && left > 0 {
            let len = u32::try_from(left.min(STEP_BYTES_MAX as u64)).expect("a step is small");
            let (file, offset, verify) = (File::Snapshot(index), intake.bytes(), Verify::None);
            let request = DiskRequest::Read { file, offset, len, verify };
            return (Stage::Content { log, ends, intake, bad }, Some(Step::Disk(request)));
        }
        match bad.map_or_else(|| intake.finish(&end), Err) {
            Ok(loaded) => (Stage::Ready { log, ends, loaded: Some(Box::new(loaded)) }, None),
            Err(bad) => {
                ends.remove(&index);
                self.reject(index, bad);
                (Stage::Content { log, ends, intake: Box::new(Intake::own()), bad: None }, None)
            }
        }
    }

    /// The member. All randomness of this start comes from `seed`.
    ///
    /// # Panics
    /// When [`Step::Ready`] did not come yet.
    #[must_use]
    pub fn into_recovered(self, seed: Seed, now: Now) -> Recovered {
        let Some(Stage::Ready { log, ends, loaded }) = self.stage else { panic!("the member is not ready") };
        let readable = (self.for_one && !log.damages.is_empty())
            .then(|| Box::new(readable(&log, loaded.as_ref().map(|loaded| (&loaded.0, loaded.1.last.index)))));
        let Log {
            vote, vote_certain, accepted, doubtful, base, entries, volumes, damages, replicated, journal, ..
        } = *log;
        let count = entries.len() as u64;
        let (ledger, snapshot) = loaded.map_or((Ledger::new(), None), |loaded| (loaded.0, Some(loaded.1)));
        let (applied, members) = match &snapshot {
            Some(snapshot) => (snapshot.last, Arc::clone(&snapshot.membership)),
            None => (base.position, Arc::clone(&base.membership)),
        };
        let Founding { id, settings, .. } = self.founding;
        let snapshot_at = applied.index + settings.snapshot_distance(ledger.len());
        let (incarnation, begins, lacks_state) =
            (self.boot.boot, base.position, applied.index > 0 && snapshot.is_none());
        let raft = Raft::new(
            Start {
                id,
                incarnation,
                vote,
                base,
                snapshot,
                entries,
                doubt: doubtful,
                vote_certain,
                lacks_state,
                settings: settings.raft,
            },
            seed.split("raft", 0).rng(),
            now,
        );
        // A log that a snapshot has taken the place of may have been longer.
        let whole = doubtful.is_none() && vote_certain && raft.base() == begins;
        let this = witness::Start { random: self.boot.random, end: end_of(&raft, accepted), term: vote.term, whole };
        let (told, memory) = (Arc::clone(raft.shared_membership()), self.memory.into_memory());
        let (members_now, pause, rng) =
            (Arc::clone(&told), settings.raft.heartbeat_interval, seed.split("witness", 0).rng());
        let witness = Witness::new(id, &self.boot, this, members_now, memory, pause, rng);
        let useless = self.useless.into_iter().collect();
        let failed = journal.failed();
        let replica = Replica {
            settings,
            only_reads: failed.is_some() && raft.is_alone(),
            raft,
            failed,
            journal,
            ledger,
            applied,
            members,
            snapshots: Snapshots::new(self.boot.store, ends, useless),
            witness,
            lack: lacks_state.then(|| Lack::new(now)),
            incarnation,
            told,
            snapshot_at,
            ops: Ops::new(self.boot.boot),
            work: VecDeque::new(),
            asked: BTreeMap::new(),
            next_number: 1,
            reads: BTreeSet::new(),
            fetched: None,
            closing: None,
            halted: false,
            spare: Default::default(),
        };
        Recovered { replica, entries: count, volumes, damages, replicated, readable }
    }
}

/// The end of a log, as logs of different starts are compared (rule R1).
fn end_of(raft: &Raft, accepted: u64) -> Position {
    let Position { term, index } = raft.last();
    Position { term: term.max(accepted), index }
}

/// Whether this node is the only one that votes, by the newest word in its log.
fn is_alone(log: &Log, id: &NodeId) -> bool {
    let newest = log.entries.iter().rev().find_map(|entry| match &entry.payload {
        Payload::Membership(membership) => Some(membership),
        Payload::Empty | Payload::Command(_) => None,
    });
    let membership = newest.unwrap_or(&log.base.membership);
    !membership.is_joint() && membership.voters().iter().eq([id])
}

fn read_ends(log: Box<Log>, left: VecDeque<(u64, u64)>, ends: BTreeMap<u64, End>) -> (Stage, Option<Step>) {
    let Some((index, len)) = left.front().copied() else {
        return (Stage::Content { log, ends, intake: Box::new(Intake::own()), bad: None }, None);
    };
    let end_len = END_LEN as u64;
    let len_of_end = u32::try_from(end_len).expect("an end is small");
    let request =
        DiskRequest::Read { file: File::Snapshot(index), offset: len - end_len, len: len_of_end, verify: Verify::None };
    (Stage::Ends { log, left, ends }, Some(Step::Disk(request)))
}

/// All that is there of a ledger: what a snapshot has, and whatever entries can be read after it.
fn readable(log: &Log, snapshot: Option<(&Ledger, u64)>) -> Ledger {
    let (mut ledger, mut last) = snapshot.map_or((Ledger::new(), 0), |(ledger, last)| (ledger.clone(), last));
    for Entry { position, payload } in log.entries.iter().chain(&log.beyond) {
        if let Payload::Command(command) = payload
            && position.index > last
            && let Ok(command) = Command::decode(command)
        {
            last = position.index;
            ledger.apply(position.index, &command);
        }
    }
    ledger
}
