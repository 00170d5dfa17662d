//! The order of a start: boot record, strays, journal, volumes, one disk request at a time.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::event::{Effect, HaltReason};
use crate::config::Config;
use crate::disk::boot::{Boot, BootRecord, BootStep, Booted};
use crate::disk::damage::Damage;
use crate::disk::ops::Ops;
use crate::disk::stray::{SortStep, Sorting, Strays};
use crate::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File};
use crate::id::{KEY_LEN, NodeId, OpId};
use crate::keystore::recover::{Recovery as StoreRecovery, Step as StoreStep};
use crate::keystore::store::Store;
use crate::ledger::state::State as Ledger;
use crate::limits::DAMAGES_MAX;
use crate::note::Note;
use crate::raft::membership::Membership;
use crate::raft::settings::Settings as RaftSettings;
use crate::replica::recover::{Recovered, Recovery as LogRecovery, Step as LogStep};
use crate::replica::{Founding, Replica, Settings};
use crate::rng::{Rng, Seed};
use crate::time::Now;

/// What a start has made.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) record: BootRecord,
    pub(super) replica: Replica,
    /// What can be read of a ledger that has lost something.
    pub(super) readable: Option<Box<Ledger>>,
    /// Entries that were read from the journal.
    pub(super) entries: u64,
    pub(super) store: Store,
    /// Bytes of the reserve, if there is one.
    pub(super) reserve: Option<u64>,
    /// Whether the start has taken it, as the disk was full.
    pub(super) reserve_taken: bool,
    /// For the salts of sweeps.
    pub(super) rng: Rng,
    /// Journal segments first; at most [`DAMAGES_MAX`].
    pub(super) damages: Vec<Damage>,
    pub(super) strays: Strays,
}

/// How a start goes on.
#[derive(Debug)]
pub(super) enum Progress {
    /// A disk request is outstanding.
    Waiting,
    Started(Box<Started>),
    Halted(HaltReason),
}

#[derive(Debug)]
enum Stage {
    Record(Box<Boot>),
    Strays { booted: Booted, sorting: Box<Sorting> },
    Journal { booted: Booted, recovery: Box<LogRecovery> },
    Volumes { booted: Booted, recovered: Box<Recovered>, recovery: Box<StoreRecovery> },
}

/// A start.
///
/// If it finds the disk full and there is a reserve, that is removed, and the stage that wanted to write begins anew: until
/// something is published, all that a stage writes is a staged file.
#[derive(Debug)]
pub(super) struct Starting {
    config: Config,
    rng: Rng,
    /// For the boot record.
    boot_rng: Rng,
    /// For the machines of the member.
    replica_seed: Seed,
    stage: Option<Stage>,
    ops: Ops<()>,
    /// Known once the files were sorted.
    strays: Strays,
    /// The file that the outstanding request appends to.
    appending: Option<File>,
    reserve: Option<u64>,
    reserve_taken: bool,
    /// What is removed before the stage begins anew. Not empty: the first of it is under way or next.
    clearing: Vec<File>,
    issued: bool,
}

impl Starting {
    pub(super) fn new(config: Config, seed: &Seed) -> Self {
        let boot_rng = seed.split("boot", 0).rng();
        Self {
            config,
            rng: seed.split("salts", 0).rng(),
            stage: Some(Stage::Record(Box::new(Boot::new(boot_rng.clone())))),
            boot_rng,
            replica_seed: seed.split("replica", 0),
            ops: Ops::new(0),
            strays: Strays::default(),
            appending: None,
            reserve: None,
            reserve_taken: false,
            clearing: Vec::new(),
            issued: false,
        }
    }

    /// Whether nothing was done yet.
    pub(super) const fn is_due(&self) -> bool {
        !self.issued
    }

    pub(super) fn outstanding(&self) -> usize {
        self.ops.len()
    }

    /// Takes the result of the outstanding request.
    pub(super) fn done(&mut self, op: OpId, result: DiskResult) {
        self.ops.take(op);
        if self.clearing.pop().is_some() {
            return self.cleared();
        }
        if let (Ok(DiskReply::Listed(files)), Some(Stage::Record(_))) = (&result, &self.stage)
            && !self.reserve_taken
        {
            self.reserve = files.iter().find(|(file, _)| *file == File::Reserve).map(|(_, bytes)| *bytes);
        }
        if let (Err(DiskError::Full), Some(staged @ File::Stage(_)), Some(_)) = (&result, self.appending, self.reserve)
        {
            self.clearing = [staged, File::Reserve].into();
            return;
        }
        match self.stage.as_mut().expect("a start has a stage") {
            Stage::Record(boot) => boot.done(result),
            Stage::Strays { sorting, .. } => sorting.done(&result),
            Stage::Journal { recovery, .. } => recovery.done(&result),
            Stage::Volumes { recovery, .. } => recovery.done(result),
        }
    }

    /// Goes on until a disk request is outstanding or the start is over.
    pub(super) fn advance(&mut self, now: Now, out: &mut Vec<Effect>) -> Progress {
        self.issued = true;
        if let Some(file) = self.clearing.last() {
            self.appending = None;
            let request = DiskRequest::Remove { file: *file };
            out.push(Effect::Disk { op: self.ops.issue(()), request });
            return Progress::Waiting;
        }
        loop {
            let request = match self.stage.as_mut().expect("a start has a stage") {
                Stage::Record(boot) => match boot.advance() {
                    BootStep::Disk(request) => Some(request),
                    BootStep::Note(note) => note_to(out, note),
                    BootStep::Halt(reason) => return Progress::Halted(reason),
                    BootStep::Booted(mut booted) => {
                        let sorting = Sorting::new(booted.record.key, mem::take(&mut booted.files));
                        self.stage = Some(Stage::Strays { booted, sorting: Box::new(sorting) });
                        None
                    }
                },
                Stage::Strays { sorting, .. } => match sorting.advance() {
                    SortStep::Disk(request) => Some(request),
                    SortStep::Note(note) => note_to(out, note),
                    SortStep::Sorted => {
                        let Some(Stage::Strays { mut booted, sorting }) = self.stage.take() else {
                            panic!("the files were just sorted")
                        };
                        (booted.files, self.strays) = sorting.into_sorted();
                        self.read_journal(booted);
                        None
                    }
                },
                Stage::Journal { recovery, .. } => match recovery.advance() {
                    LogStep::Disk(request) => Some(request),
                    LogStep::Note(note) => note_to(out, note),
                    LogStep::Halt(reason) => return Progress::Halted(reason),
                    LogStep::Ready => {
                        if let Some(halted) = self.ledger_read(now) {
                            return halted;
                        }
                        None
                    }
                },
                Stage::Volumes { recovery, .. } => match recovery.advance() {
                    StoreStep::Disk(request) => Some(request),
                    StoreStep::Note(note) => note_to(out, note),
                    StoreStep::Ready => return Progress::Started(self.finish()),
                },
            };
            if let Some(request) = request {
                self.appending = match &request {
                    DiskRequest::Append { file, .. } => Some(*file),
                    DiskRequest::List
                    | DiskRequest::Read { .. }
                    | DiskRequest::Sync { .. }
                    | DiskRequest::Publish { .. }
                    | DiskRequest::Remove { .. }
                    | DiskRequest::Allocate { .. }
                    | DiskRequest::Space => None,
                };
                let op = self.ops.issue(());
                out.push(Effect::Disk { op, request });
                return Progress::Waiting;
            }
        }
    }

    /// Something was removed to make room; when all of it is, the stage begins anew.
    fn cleared(&mut self) {
        if !self.clearing.is_empty() {
            return;
        }
        // It is tried once: what can't be removed is as good as not there.
        (self.reserve, self.reserve_taken) = (None, true);
        match self.stage.take().expect("a start has a stage") {
            Stage::Record(_) => self.stage = Some(Stage::Record(Box::new(Boot::new(self.boot_rng.clone())))),
            Stage::Strays { .. } => panic!("sorting writes nothing"),
            Stage::Journal { booted, .. } => self.read_journal(booted),
            Stage::Volumes { booted, recovered, .. } => self.read_volumes(booted, recovered),
        }
    }

    fn read_journal(&mut self, booted: Booted) {
        let segments = numbered(&booted, |file| match file {
            File::Journal(segment) => Some(segment),
            File::Volume(_)
            | File::Slot(_)
            | File::Snapshot(_)
            | File::Checkpoint(_)
            | File::Reserve
            | File::Stage(_) => None,
        });
        let snapshots = numbered(&booted, |file| match file {
            File::Snapshot(index) => Some(index),
            File::Journal(_)
            | File::Volume(_)
            | File::Slot(_)
            | File::Checkpoint(_)
            | File::Reserve
            | File::Stage(_) => None,
        });
        let founding = founding(&self.config, &booted.record);
        let recovery = LogRecovery::new(&self.config, founding, booted.record, segments, snapshots, booted.read_only);
        let recovery = Box::new(recovery.of_one().beside(self.strays.clone()));
        self.stage = Some(Stage::Journal { booted, recovery });
    }

    /// The journal and the newest snapshot are read.
    fn ledger_read(&mut self, now: Now) -> Option<Progress> {
        let Some(Stage::Journal { booted, recovery }) = self.stage.take() else { panic!("the journal was just read") };
        let mut recovered = recovery.into_recovered(self.replica_seed, now);
        if recovered.replicated {
            return Some(Progress::Halted(HaltReason::OfGroup));
        }
        if let Some(damage) = recovered.damages.first() {
            recovered.replica.stop(damage.file, DiskError::NotFound);
        }
        self.read_volumes(booted, Box::new(recovered));
        None
    }

    fn read_volumes(&mut self, booted: Booted, recovered: Box<Recovered>) {
        let volumes = numbered(&booted, |file| match file {
            File::Volume(volume) => Some(volume),
            File::Journal(_)
            | File::Slot(_)
            | File::Snapshot(_)
            | File::Checkpoint(_)
            | File::Reserve
            | File::Stage(_) => None,
        });
        let checkpoints = numbered(&booted, |file| match file {
            File::Checkpoint(volume) => Some(volume),
            File::Journal(_) | File::Slot(_) | File::Volume(_) | File::Snapshot(_) | File::Reserve | File::Stage(_) => {
                None
            }
        });
        let read_only: Option<DiskError> = recovered.replica.failed().map(|(_, error)| error);
        let floors = recovered.volumes.clone();
        let recovery = StoreRecovery::new(&self.config, booted.record, volumes, floors, read_only);
        let recovery = Box::new(recovery.with_checkpoints(checkpoints).beside(self.strays.clone()));
        self.stage = Some(Stage::Volumes { booted, recovered, recovery });
    }

    fn finish(&mut self) -> Box<Started> {
        let Some(Stage::Volumes { booted, recovered, recovery }) = self.stage.take() else {
            panic!("the volumes come last")
        };
        let Recovered { replica, readable, entries, damages, .. } = *recovered;
        let (store, lost) = recovery.into_store();
        let record = booted.record;
        let damages = damages.into_iter().chain(lost).take(DAMAGES_MAX).collect();
        Box::new(Started {
            record,
            replica,
            readable,
            entries,
            store,
            reserve: self.reserve,
            reserve_taken: self.reserve_taken,
            rng: self.rng.clone(),
            damages,
            strays: self.strays.clone(),
        })
    }
}

/// A store of its own is a group of one voter, whom nobody else will ever have to tell from others.
fn founding(config: &Config, record: &BootRecord) -> Founding {
    let mut id = [0; KEY_LEN];
    id[..record.store.len()].copy_from_slice(&record.store);
    let id = NodeId::from_bytes(id);
    let members = Membership::new([id]).expect("one voter is a group");
    let raft = RaftSettings { trailing_entries: 0, ..RaftSettings::STANDARD };
    let settings = Settings { raft, snapshot_entries: config.snapshot_entries() };
    Founding { id, members: Arc::new(members), settings }
}

/// A note wants nothing from the disk.
fn note_to(out: &mut Vec<Effect>, note: Note) -> Option<DiskRequest> {
    out.push(Effect::Note(note));
    None
}

fn numbered(booted: &Booted, number: impl Fn(File) -> Option<u64>) -> Vec<(u64, u64)> {
    let mut files: Vec<(u64, u64)> =
        booted.files.iter().filter_map(|(file, len)| Some((number(*file)?, *len))).collect();
    files.sort_unstable();
    files
}
