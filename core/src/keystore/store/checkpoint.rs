//! Checkpoints: what a start would find in a finished volume, written down so that it need not look.
//!
//! One volume at a time, in the background: it is scanned like at a start, what is found goes into a staged file block by
//! block, and that is published. A volume that is being compacted is left alone, one that has lost something never gets a
//! checkpoint, so that every start tells of it, and nothing is written while a collection may need what space there is.
//! They are a cache: a write that fails ends them until the next start and nothing else, and a close waits for the one
//! request that is under way. Whoever opens a store for a moment writes none.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{Effect, Store, Token};
use crate::config::Config;
use crate::disk::checkpoint::{CHECKPOINT_STAGE, Maker, Subject};
use crate::disk::record::{FileKind, Stamp};
use crate::disk::scan::{Record, Scan, Scanner};
use crate::disk::{DiskReply, DiskRequest, DiskResult, File, Verify};
use crate::limits::STEP_ITEMS_MAX;
use crate::note::Note;
use crate::time::Instant;

/// How long a store serves before it writes a checkpoint, in times of [`Config::settle_after`]: whoever opens it for one
/// command is gone by then.
const SETTLES_BEFORE: u32 = 20;

/// What is known of checkpoints, and the one under way.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// How long the store serves before the first one is written.
    after: Duration,
    /// When that is over.
    begin: Option<Instant>,
    /// Volumes that are finished, as far as is known, and have none.
    waiting: BTreeSet<u64>,
    /// Volumes that are gone, whose checkpoints must go.
    gone: BTreeSet<u64>,
    running: Option<Box<Running>>,
    /// The request that is outstanding.
    asked: Option<Asked>,
    /// Whether a staged file of a checkpoint that was given up is there.
    left_over: bool,
    /// Whether no more is written in this boot.
    stopped: bool,
    /// Whether anything happened since the last turn.
    heard: bool,
    /// When it goes on although nothing happens.
    due: Option<Instant>,
}

/// A checkpoint under way.
#[derive(Debug)]
struct Running {
    subject: Subject,
    scanner: Scanner,
    maker: Maker,
    /// The last position found, and the byte after that record.
    last: (u64, u64),
    /// A record that has no room in the block that is being written.
    held: Option<Record>,
    /// Whether all is appended.
    complete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Bytes of the volume.
    Read,
    Append,
    Publish,
    /// The removal of the staged file.
    Clear,
    /// The removal of the checkpoint of a volume that is gone.
    Remove,
}

/// What became of a volume's next record.
enum Found {
    /// It is listed, or need not be.
    Next,
    /// A request was made.
    Asked,
    /// The volume is not what it should be.
    Broken,
}

impl Checkpoints {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            after: config.settle_after() * SETTLES_BEFORE,
            begin: None,
            waiting: BTreeSet::new(),
            gone: BTreeSet::new(),
            running: None,
            asked: None,
            left_over: false,
            stopped: false,
            // A start may have left something to do.
            heard: true,
            due: None,
        }
    }

    /// The store is stepped. A wake-up counts only if it is due.
    pub(super) fn hear(&mut self, now: Instant, is_wake: bool) {
        self.heard |= !is_wake || self.due.is_some_and(|due| due <= now);
    }

    /// These volumes are finished.
    pub(super) fn want(&mut self, volumes: impl IntoIterator<Item = u64>) {
        self.waiting.extend(volumes);
    }

    /// A volume is removed, or will be at the next start.
    pub(super) fn forget(&mut self, volume: u64) {
        self.waiting.remove(&volume);
        self.gone.insert(volume);
    }

    /// Whether files are being written. A close waits for that.
    pub(super) const fn is_writing(&self) -> bool {
        !matches!(self.asked, None | Some(Asked::Read))
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Gives up the one under way.
    fn abandon(&mut self) {
        self.running = None;
    }

    fn ask(&mut self, asked: Asked, request: DiskRequest, out: &mut Vec<Effect>) {
        assert!(self.asked.is_none(), "one request at a time");
        self.asked = Some(asked);
        out.push(Effect::Disk { token: Token::Checkpoint, request });
    }

    fn append(&mut self, blocks: Vec<(u64, Bytes)>, out: &mut Vec<Effect>) {
        let offset = blocks.first().expect("something is appended").0;
        let parts = blocks.into_iter().map(|(_, bytes)| bytes).collect();
        self.left_over = true;
        self.ask(Asked::Append, DiskRequest::Append { file: File::Stage(CHECKPOINT_STAGE), offset, parts }, out);
    }
}

impl Store {
    /// Goes on by one slice, if there is something to do. After compaction.
    pub(super) fn checkpoint_on(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if !core::mem::take(&mut self.checkpoints.heard) {
            return;
        }
        let begin = *self.checkpoints.begin.get_or_insert(now + self.checkpoints.after);
        self.checkpoints.due = None;
        if self.failed.is_some() || self.closing {
            return self.checkpoints.abandon();
        }
        let victim = self.compaction.victim();
        let running = self.checkpoints.running.as_ref();
        let needs_room = self.needs_room();
        let is_given_up = |running: &Running| Some(running.subject.volume) == victim || needs_room && !running.complete;
        if running.is_some_and(|running| is_given_up(running)) {
            self.checkpoints.abandon();
        }
        if self.checkpoints.asked.is_some() || !self.has_checkpoint_work(victim) {
            return;
        }
        let clears = self.checkpoints.left_over || !self.checkpoints.gone.is_empty();
        if now < begin && !clears {
            self.checkpoints.due = Some(begin);
            return;
        }
        self.slices += 1;
        if self.checkpoint_slice(victim, out) {
            self.checkpoints.due = Some(now);
        }
    }

    /// Whether what space there is may be needed by a collection: the reserve is for that alone (rule J11), and a
    /// checkpoint can be written at any later time.
    fn needs_room(&self) -> bool {
        self.collecting.is_some() || self.compaction.is_short_of_room()
    }

    fn has_checkpoint_work(&self, victim: Option<u64>) -> bool {
        let checkpoints = &self.checkpoints;
        let is_stopped = checkpoints.stopped || self.needs_room();
        !checkpoints.gone.is_empty()
            || checkpoints.running.is_some()
            || checkpoints.left_over
            || !is_stopped && checkpoints.waiting.iter().any(|volume| Some(*volume) != victim)
    }

    /// Returns whether it can go on without waiting for the disk.
    fn checkpoint_slice(&mut self, victim: Option<u64>, out: &mut Vec<Effect>) -> bool {
        if self.checkpoints.running.is_none() {
            if self.checkpoints.left_over {
                let request = DiskRequest::Remove { file: File::Stage(CHECKPOINT_STAGE) };
                self.checkpoints.ask(Asked::Clear, request, out);
                return false;
            }
            if let Some(volume) = self.checkpoints.gone.pop_first() {
                let request = DiskRequest::Remove { file: File::Checkpoint(volume) };
                self.checkpoints.ask(Asked::Remove, request, out);
                return false;
            }
            if self.checkpoints.stopped || self.needs_room() {
                return false;
            }
            self.start_checkpoint(victim);
        }
        for _ in 0..STEP_ITEMS_MAX {
            let Some(running) = &mut self.checkpoints.running else { return true };
            if running.complete {
                let to = File::Checkpoint(running.subject.volume);
                let request = DiskRequest::Publish { stage: CHECKPOINT_STAGE, to };
                self.checkpoints.ask(Asked::Publish, request, out);
                return false;
            }
            match self.checkpoint_record(out) {
                Found::Next => {}
                Found::Asked => return false,
                Found::Broken => {
                    let running = self.checkpoints.running.take().expect("just looked at");
                    self.checkpoints.waiting.remove(&running.subject.volume);
                }
            }
        }
        true
    }

    /// Begins with the first volume that waits and may get one.
    fn start_checkpoint(&mut self, victim: Option<u64>) {
        let Some(volume) = self.checkpoints.waiting.iter().copied().find(|volume| Some(*volume) != victim) else {
            return;
        };
        let (end, usage) = (self.compaction.end(volume), self.index.volume(volume));
        let (Some((position, offset)), Some(usage)) = (end, usage) else {
            self.checkpoints.waiting.remove(&volume);
            return;
        };
        let volume_bytes = usage.file_bytes;
        self.checkpoints.running = Some(Box::new(Running {
            subject: Subject { store: self.boot.store, volume, volume_bytes, position, offset },
            scanner: Scanner::new(Stamp::new(&self.boot.key, FileKind::Volume, volume), volume_bytes),
            maker: Maker::new(&self.boot.key, volume),
            last: (0, 0),
            held: None,
            complete: false,
        }));
    }

    /// Looks at the next record of the volume.
    fn checkpoint_record(&mut self, out: &mut Vec<Effect>) -> Found {
        let checkpoints = &mut self.checkpoints;
        let running = checkpoints.running.as_mut().expect("a checkpoint is under way");
        if let Some(record) = running.held.take() {
            running.maker.push(&record);
        }
        let end = running.subject.position;
        match running.scanner.advance() {
            Scan::Read { offset, len } => {
                let file = File::Volume(running.subject.volume);
                let request = DiskRequest::Read { file, offset, len, verify: Verify::None };
                checkpoints.ask(Asked::Read, request, out);
                return Found::Asked;
            }
            Scan::Record(record) if record.header.position <= end => {
                running.last = (record.header.position, record.end());
                if !running.maker.is_full() {
                    running.maker.push(&record);
                    return Found::Next;
                }
                running.held = Some(record);
                let block = running.maker.block().expect("a full block has items");
                checkpoints.append(Vec::from([block]), out);
                return Found::Asked;
            }
            Scan::Gap(gap) if gap.first <= end => return Found::Broken,
            // What comes behind the end was copied or cut by a later start.
            Scan::Record(_) | Scan::Gap(_) | Scan::End => {}
        }
        if running.last != (running.subject.position, running.subject.offset) {
            return Found::Broken;
        }
        let maker = core::mem::replace(&mut running.maker, Maker::new(&self.boot.key, running.subject.volume));
        let blocks = maker.into_last_blocks(&running.subject);
        running.complete = true;
        checkpoints.append(blocks, out);
        Found::Asked
    }

    /// The request that was outstanding ended.
    pub(super) fn checkpoint_done(&mut self, result: &DiskResult, out: &mut Vec<Effect>) {
        let checkpoints = &mut self.checkpoints;
        let asked = checkpoints.asked.take().expect("a completion belongs to a request");
        match (asked, result) {
            (Asked::Read, result) => {
                // Without one it was given up.
                let Some(running) = &mut checkpoints.running else { return };
                match result {
                    Ok(DiskReply::Read(bytes)) => running.scanner.feed(Ok(bytes)),
                    Ok(_) => panic!("a read that verifies nothing is answered by its bytes"),
                    Err(error) => running.scanner.feed(Err(*error)),
                }
            }
            (Asked::Append | Asked::Remove, Ok(_)) => {}
            (Asked::Publish, Ok(_)) => {
                checkpoints.left_over = false;
                // If it was given up meanwhile, its volume is going, and that takes the checkpoint along.
                if let Some(running) = checkpoints.running.take() {
                    let volume = running.subject.volume;
                    checkpoints.waiting.remove(&volume);
                    out.push(Effect::Note(Note::Checkpointed { volume }));
                }
            }
            (Asked::Append | Asked::Publish, Err(error)) => {
                checkpoints.stopped = true;
                if let Some(running) = checkpoints.running.take() {
                    let volume = running.subject.volume;
                    out.push(Effect::Note(Note::CheckpointFailed { volume, error: *error }));
                }
            }
            (Asked::Clear, result) => {
                checkpoints.left_over = false;
                // What can't be removed is in the way, and is removed at the next start.
                checkpoints.stopped |= result.is_err();
            }
            // It is of no volume, and the next start removes it.
            (Asked::Remove, Err(_)) => {}
        }
    }

    pub(super) fn check_checkpoints(&self) {
        let Checkpoints { running, asked, waiting, stopped, .. } = &self.checkpoints;
        if let Some(running) = running {
            let volume = running.subject.volume;
            assert!(waiting.contains(&volume), "what is under way is not done");
            assert!(!stopped, "nothing is under way when no more is written");
            let written = self.writer.as_ref().is_some_and(|writer| writer.number() == volume);
            assert!(!written, "the volume being written has no checkpoint");
            assert!(!self.lost_volumes.contains(&volume), "nor has one that has lost something");
        }
        assert!(asked.is_none() || self.checkpoints.due.is_none(), "whoever waits for the disk is not due");
    }
}

#[cfg(test)]
mod tests;
