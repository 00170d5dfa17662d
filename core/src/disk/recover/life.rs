//! A store of one kind of files that is started again and again, and what must come back at each start.

use alloc::vec::Vec;

use proptest::prelude::*;

use crate::disk::File;
use crate::disk::fresh::Fresh;
use crate::disk::record::{FileKind, HEADER_LEN, Kind, Predecessor, chunk_id};
use crate::disk::recover::Standing;
use crate::disk::stray::Strays;
use crate::disk::testing::{Pen, Recovered, TestDisk, boot, recover, rng};
use crate::id::{ChunkId, VerifiedChunk};
use crate::rng::Rng;

/// A record of a test: its number and the length of its body.
pub(super) type Item = (u64, u32);

pub(super) fn body((number, len): Item) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.extend_from_slice(&len.to_le_bytes());
    body.resize(12 + len as usize, u8::try_from(number % 255).unwrap() + 1);
    body
}

pub(super) fn item(body: &[u8]) -> Item {
    let (number, len) = (body[..8].try_into().unwrap(), body[8..12].try_into().unwrap());
    (u64::from_le_bytes(number), u32::from_le_bytes(len))
}

/// What happens to a store that is started again and again.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A record.
    Add(u32),
    Flush,
    /// The oldest request is done.
    Complete,
    Seal,
    /// The process is killed; the machine goes on.
    Kill(u64),
    /// Power is lost.
    Crash(u64),
    /// The next start dies after so many requests of the copy.
    Doom(usize),
}

pub(super) fn any_op(len: impl Strategy<Value = u32> + 'static) -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => len.prop_map(Op::Add),
        8 => Just(Op::Flush),
        10 => Just(Op::Complete),
        1 => Just(Op::Seal),
        1 => any::<u64>().prop_map(Op::Kill),
        2 => any::<u64>().prop_map(Op::Crash),
        1 => (0..4usize).prop_map(Op::Doom),
    ]
}

/// A store of one kind of files, and what is known of it.
pub(super) struct Life {
    pub(super) kind: FileKind,
    pub(super) disk: TestDisk,
    pub(super) boots: u64,
    /// What the last complete start found: durable ever since.
    pub(super) base: Vec<Item>,
    /// Taken since then, each with its file and position.
    pub(super) added: Vec<(Item, u64, u64)>,
    /// How many of those are known durable.
    pub(super) durable: usize,
    pub(super) pen: Option<Pen>,
    pub(super) predecessor: Predecessor,
    pub(super) next: u64,
    pub(super) doom: Option<usize>,
}

impl Life {
    pub(super) fn new(kind: FileKind) -> Self {
        Self {
            kind,
            disk: TestDisk::default(),
            boots: 1,
            base: Vec::new(),
            added: Vec::new(),
            durable: 0,
            pen: None,
            predecessor: Predecessor::default(),
            next: 1,
            doom: None,
        }
    }

    pub(super) fn perform(&mut self, op: &Op) {
        match *op {
            Op::Add(len) => self.add(len),
            Op::Flush => {
                if let Some(pen) = &mut self.pen {
                    pen.flush();
                }
            }
            Op::Complete => {
                if let Some(pen) = &mut self.pen {
                    pen.complete(&mut self.disk);
                }
            }
            Op::Seal => {
                if let Some(pen) = &mut self.pen {
                    pen.writer.seal();
                }
            }
            Op::Kill(seed) => {
                let mut draws = rng(seed);
                self.die(&mut draws);
                self.start_until_it_runs(&mut draws);
            }
            Op::Crash(seed) => {
                let mut draws = rng(seed);
                self.die(&mut draws);
                self.disk = self.disk.crash(&mut draws);
                self.start_until_it_runs(&mut draws);
            }
            Op::Doom(requests) => self.doom = Some(requests),
        }
        self.look();
    }

    /// Remembers what the writer knows durable.
    fn look(&mut self) {
        let Some(pen) = &self.pen else { return };
        let (number, through) = (pen.writer.number(), pen.writer.durable_through());
        let known = self.added.iter().take_while(|(_, file, position)| *file < number || *position <= through);
        self.durable = self.durable.max(known.count());
    }

    fn add(&mut self, len: u32) {
        if self.pen.as_ref().is_some_and(|pen| pen.writer.is_sealed()) {
            self.predecessor = self.pen.take().unwrap().writer.as_predecessor();
        }
        let (kind, boots, predecessor) = (self.kind, self.boots, self.predecessor);
        let pen = self.pen.get_or_insert_with(|| Pen::create(kind, boots, predecessor));
        if pen.writer.is_open() {
            let item = (self.next, len);
            self.next += 1;
            let written = match kind {
                FileKind::Journal => pen.writer.record(Kind::Entry, &body(item)),
                FileKind::Volume => pen.writer.chunk(item.0, 0, &VerifiedChunk::new(body(item).into())),
            };
            self.added.push((item, pen.writer.number(), written.position));
        }
    }

    pub(super) fn die(&mut self, draws: &mut Rng) {
        if let Some(pen) = self.pen.take() {
            pen.die(&mut self.disk, draws);
        }
    }

    pub(super) fn start_until_it_runs(&mut self, draws: &mut Rng) {
        while !self.start(draws) {
            if draws.chance(1, 2) {
                self.disk = self.disk.crash(draws);
            }
        }
    }

    /// A start: recovers, compares, and copies the tail. False when it dies before it is done.
    pub(super) fn start(&mut self, draws: &mut Rng) -> bool {
        self.boots += 1;
        self.disk.remove_stages();
        let found = recover(&mut self.disk, self.kind, &[]);
        assert_eq!(found.ending.damages, [], "a crash is no damage");
        let (items, tail) = self.read(&found);
        let added = self.added.iter().map(|(item, ..)| *item);
        let expected: Vec<Item> = self.base.iter().copied().chain(added).collect();
        assert!(items.len() >= self.base.len() + self.durable, "{} of {} came back", items.len(), expected.len());
        assert_eq!(items, expected[..items.len()], "in order, once, and nothing else");
        let ending = found.ending;
        self.predecessor = ending.last;
        if !ending.closed && ending.last.number > 0 {
            let Some(pen) = self.copy(ending.last, &tail, draws) else { return false };
            self.pen = Some(pen);
        } else {
            assert!(tail.is_empty(), "a file that is closed has no tail");
        }
        (self.base, self.added, self.durable) = (items, Vec::new(), 0);
        true
    }

    /// What was found, and which of it is of the tail. In volumes the first chunk that is not whole ends the tail.
    fn read(&mut self, found: &Recovered) -> (Vec<Item>, Vec<Item>) {
        let (mut items, mut tail) = (Vec::new(), Vec::new());
        for (number, record, standing) in &found.records {
            let item = match self.kind {
                FileKind::Journal => item(&record.covered),
                FileKind::Volume => {
                    let bytes = self.disk.bytes(File::Volume(*number)).unwrap();
                    let first = usize::try_from(record.offset).unwrap() + HEADER_LEN + 32;
                    let bytes = &bytes[first..usize::try_from(record.end()).unwrap()];
                    if *standing == Standing::Tail && chunk_id(&record.covered) != Some(ChunkId::of(bytes)) {
                        break;
                    }
                    assert_eq!(chunk_id(&record.covered), Some(ChunkId::of(bytes)), "what is durable is whole");
                    item(bytes)
                }
            };
            items.push(item);
            if *standing == Standing::Tail {
                tail.push(item);
            }
        }
        (items, tail)
    }

    /// Copies the tail into a fresh file; `None` when the start dies before that is done.
    fn copy(&mut self, last: Predecessor, tail: &[Item], draws: &mut Rng) -> Option<Pen> {
        let mut fresh = Fresh::new(&boot(self.boots), self.kind, last, &Strays::default());
        for (number, len) in tail {
            let bytes = body((*number, *len));
            match self.kind {
                FileKind::Journal => fresh.entry(&bytes),
                FileKind::Volume => fresh.chunk(*number, 0, &VerifiedChunk::new(bytes.into())),
            };
            if number % 2 == 0 {
                fresh.append();
            }
        }
        fresh.publish();
        let mut doom = self.doom.take();
        while let Some(request) = fresh.request() {
            if doom == Some(0) {
                self.disk.interrupt(&request, draws);
                return None;
            }
            doom = doom.map(|requests| requests - 1);
            fresh.done(&self.disk.perform(&request)).unwrap();
        }
        Some(Pen::resume(fresh.into_writer().expect("the last request publishes")))
    }
}
