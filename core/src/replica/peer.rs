//! A member from power on: boot record, strays, journal, snapshots, and then the group.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use super::recover::{Recovered, Recovery, Step};
use super::{Effect, Event, Founding, Refusal, Replica};
use crate::config::Config;
use crate::disk::boot::{Boot, BootRecord, BootStep, Booted};
use crate::disk::ops::Ops;
use crate::disk::stray::{SortStep, Sorting};
use crate::disk::{DiskRequest, File};
use crate::machine::Machine;
use crate::note::Note;
use crate::rng::Seed;
use crate::time::{Instant, Now};

#[derive(Debug)]
enum Stage {
    Record(Box<Boot>),
    Strays { booted: Booted, sorting: Box<Sorting> },
    Reading { record: BootRecord, recovery: Box<Recovery> },
    Member(Box<Replica>),
    Halted,
}

/// A member of a group, with a disk of its own.
#[derive(Debug)]
pub struct Peer {
    config: Config,
    founding: Founding,
    seed: Seed,
    stage: Stage,
    ops: Ops<()>,
    /// Whether anything was done yet.
    begun: bool,
    /// When it was last stepped; time never runs backwards.
    latest: Instant,
}

impl Peer {
    /// A member that has not read its disk yet. Its first deadline is at once: the driver steps it with
    /// [`Event::Wake`]. All randomness of this start comes from `seed`.
    #[must_use]
    pub fn new(config: Config, founding: Founding, seed: Seed) -> Self {
        let boot = Boot::new(seed.split("boot", 0).rng());
        Self {
            config,
            founding,
            seed,
            stage: Stage::Record(Box::new(boot)),
            ops: Ops::new(0),
            begun: false,
            latest: Instant::ZERO,
        }
    }

    /// The member, once its disk was read.
    #[must_use]
    pub const fn replica(&self) -> Option<&Replica> {
        match &self.stage {
            Stage::Member(replica) => Some(replica),
            Stage::Record(_) | Stage::Strays { .. } | Stage::Reading { .. } | Stage::Halted => None,
        }
    }

    /// A start goes on: one disk request at a time.
    fn start(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        self.begun = true;
        match event {
            // Whoever sent a message sends it again, or to another member.
            Event::Wake
            | Event::Received(_)
            | Event::Pass { .. }
            | Event::Transfer { .. }
            | Event::Tight(_)
            | Event::Close => {}
            Event::DiskDone { op, result } => {
                self.ops.take(op);
                match &mut self.stage {
                    Stage::Record(boot) => boot.done(result),
                    Stage::Strays { sorting, .. } => sorting.done(&result),
                    Stage::Reading { recovery, .. } => recovery.done(&result),
                    Stage::Member(_) | Stage::Halted => panic!("only a start is started"),
                }
            }
            Event::Propose { ticket, .. } => {
                out.push(Effect::Decided { ticket, result: Box::new(Err(Refusal::Starting)) });
            }
            Event::Change { ticket, .. } => out.push(Effect::Changed { ticket, result: Err(Refusal::Starting) }),
            Event::Read { ticket } => out.push(Effect::Readable { ticket, result: Err(Refusal::Starting) }),
        }
        // Whatever comes first begins it.
        if self.ops.len() == 0 {
            self.advance(now, out);
        }
    }

    /// Goes on until a disk request is outstanding or the start is over.
    fn advance(&mut self, now: Now, out: &mut Vec<Effect>) {
        loop {
            let request = match &mut self.stage {
                Stage::Record(boot) => match boot.advance() {
                    BootStep::Disk(request) => request,
                    BootStep::Note(note) => {
                        out.push(Effect::Note(note));
                        continue;
                    }
                    BootStep::Halt(reason) => {
                        self.stage = Stage::Halted;
                        return out.push(Effect::Halt(reason));
                    }
                    BootStep::Booted(mut booted) => {
                        let sorting = Box::new(Sorting::new(booted.record.key, mem::take(&mut booted.files)));
                        self.stage = Stage::Strays { booted, sorting };
                        continue;
                    }
                },
                Stage::Strays { sorting, .. } => match sorting.advance() {
                    SortStep::Disk(request) => request,
                    SortStep::Note(note) => {
                        out.push(Effect::Note(note));
                        continue;
                    }
                    SortStep::Sorted => {
                        self.read();
                        continue;
                    }
                },
                Stage::Reading { recovery, .. } => match recovery.advance() {
                    Step::Disk(request) => request,
                    Step::Note(note) => {
                        out.push(Effect::Note(note));
                        continue;
                    }
                    Step::Halt(reason) => {
                        self.stage = Stage::Halted;
                        return out.push(Effect::Halt(reason));
                    }
                    Step::Ready => return self.join(now, out),
                },
                Stage::Member(_) | Stage::Halted => panic!("only a start goes on"),
            };
            return self.ask(request, out);
        }
    }

    fn ask(&mut self, request: DiskRequest, out: &mut Vec<Effect>) {
        let op = self.ops.issue(());
        out.push(Effect::Disk { op, request });
    }

    /// The files are sorted: the journal and the snapshots are read.
    fn read(&mut self) {
        let Stage::Strays { booted, sorting } = mem::replace(&mut self.stage, Stage::Halted) else {
            panic!("the files were just sorted")
        };
        let (files, strays) = sorting.into_sorted();
        let numbered = |number: fn(File) -> Option<u64>| {
            let mut found: Vec<(u64, u64)> =
                files.iter().filter_map(|(file, len)| Some((number(*file)?, *len))).collect();
            found.sort_unstable();
            found
        };
        let segments = numbered(|file| if let File::Journal(number) = file { Some(number) } else { None });
        let snapshots = numbered(|file| if let File::Snapshot(index) = file { Some(index) } else { None });
        let Booted { record, read_only, .. } = booted;
        let founding = self.founding.clone();
        let recovery = Recovery::new(&self.config, founding, record, segments, snapshots, read_only).beside(strays);
        self.stage = Stage::Reading { record, recovery: Box::new(recovery) };
    }

    /// The disk is read.
    fn join(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Stage::Reading { record, recovery } = mem::replace(&mut self.stage, Stage::Halted) else {
            panic!("the disk was just read")
        };
        let Recovered { replica, entries, .. } = recovery.into_recovered(self.seed, now);
        out.push(Effect::Note(Note::Serving { boot: record.boot, entries, chunks: 0 }));
        self.stage = Stage::Member(Box::new(replica));
    }
}

impl Machine for Peer {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        assert!(now.mono >= self.latest, "time never runs backwards");
        self.latest = now.mono;
        match &mut self.stage {
            Stage::Record(_) | Stage::Strays { .. } | Stage::Reading { .. } => self.start(now, event, out),
            Stage::Member(replica) => replica.step(now, event, out),
            Stage::Halted => panic!("nothing is called after Halt"),
        }
    }

    fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        if let Stage::Member(replica) = &mut self.stage {
            replica.flush(now, out);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Record(_) | Stage::Strays { .. } | Stage::Reading { .. } => (!self.begun).then_some(self.latest),
            Stage::Member(replica) => replica.deadline(),
            Stage::Halted => None,
        }
    }

    fn check(&self) {
        if let Stage::Member(replica) = &self.stage {
            replica.check();
        }
    }
}

#[cfg(test)]
mod tests;
