//! Recovery against every disk that a crash may leave: what was acknowledged comes back once and in order, nothing is
//! called damage, and nothing appears that was not written.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::disk::File;
use crate::disk::fresh::Fresh;
use crate::disk::record::chunk_id;
use crate::disk::testing::{Pen, Recovered, TestDisk, boot, fixed_cases, recover, rng};
use crate::id::{ChunkId, VerifiedChunk};
use crate::rng::Rng;

/// A record of a test: its number and the length of its body.
type Item = (u64, u32);

fn body((number, len): Item) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.extend_from_slice(&len.to_le_bytes());
    body.resize(12 + len as usize, u8::try_from(number % 255).unwrap() + 1);
    body
}

fn item(body: &[u8]) -> Item {
    let (number, len) = (body[..8].try_into().unwrap(), body[8..12].try_into().unwrap());
    (u64::from_le_bytes(number), u32::from_le_bytes(len))
}

/// What happens to a store that is started again and again.
#[derive(Clone, Debug)]
enum Op {
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

fn any_op(len: impl Strategy<Value = u32> + 'static) -> impl Strategy<Value = Op> {
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
struct Life {
    kind: FileKind,
    disk: TestDisk,
    boots: u64,
    /// What the last complete start found: durable ever since.
    base: Vec<Item>,
    /// Taken since then, each with its file and position.
    added: Vec<(Item, u64, u64)>,
    /// How many of those are known durable.
    durable: usize,
    pen: Option<Pen>,
    predecessor: Predecessor,
    next: u64,
    doom: Option<usize>,
}

impl Life {
    fn new(kind: FileKind) -> Self {
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

    fn perform(&mut self, op: &Op) {
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
                FileKind::Volume => pen.writer.chunk(item.0, &VerifiedChunk::new(body(item).into())),
            };
            self.added.push((item, pen.writer.number(), written.position));
        }
    }

    fn die(&mut self, draws: &mut Rng) {
        if let Some(pen) = self.pen.take() {
            pen.die(&mut self.disk, draws);
        }
    }

    fn start_until_it_runs(&mut self, draws: &mut Rng) {
        while !self.start(draws) {
            if draws.chance(1, 2) {
                self.disk = self.disk.crash(draws);
            }
        }
    }

    /// A start: recovers, compares, and copies the tail. False when it dies before it is done.
    fn start(&mut self, draws: &mut Rng) -> bool {
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
        for (number, record, of_tail) in &found.records {
            let item = match self.kind {
                FileKind::Journal => item(&record.covered),
                FileKind::Volume => {
                    let bytes = self.disk.bytes(File::Volume(*number)).unwrap();
                    let first = usize::try_from(record.offset).unwrap() + HEADER_LEN + 32;
                    let bytes = &bytes[first..usize::try_from(record.end()).unwrap()];
                    if *of_tail && chunk_id(&record.covered) != Some(ChunkId::of(bytes)) {
                        break;
                    }
                    assert_eq!(chunk_id(&record.covered), Some(ChunkId::of(bytes)), "what is durable is whole");
                    item(bytes)
                }
            };
            items.push(item);
            if *of_tail {
                tail.push(item);
            }
        }
        (items, tail)
    }

    /// Copies the tail into a fresh file; `None` when the start dies before that is done.
    fn copy(&mut self, last: Predecessor, tail: &[Item], draws: &mut Rng) -> Option<Pen> {
        let mut fresh = Fresh::new(&boot(self.boots), self.kind, last);
        for (number, len) in tail {
            let bytes = body((*number, *len));
            match self.kind {
                FileKind::Journal => fresh.entry(&bytes),
                FileKind::Volume => fresh.chunk(*number, &VerifiedChunk::new(bytes.into())),
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

fn live(kind: FileKind, ops: &[Op], end: u64) {
    let mut life = Life::new(kind);
    for op in ops {
        life.perform(op);
    }
    // Each history is worth a few images of its end.
    for seed in 0..4 {
        let mut draws = rng(end.wrapping_add(seed));
        let mut twin =
            Life { disk: life.disk.clone(), base: life.base.clone(), added: life.added.clone(), ..Life::new(kind) };
        (twin.boots, twin.durable) = (life.boots, life.durable);
        if let Some(pen) = &life.pen {
            Pen { writer: Pen::create(kind, 1, Predecessor::default()).writer, queue: pen.queue.clone() }
                .die(&mut twin.disk, &mut draws);
        }
        twin.disk = twin.disk.crash(&mut draws);
        twin.start(&mut draws);
        twin.disk = twin.disk.crash(&mut draws);
        twin.start(&mut draws);
    }
}

proptest! {
    #![proptest_config(fixed_cases())]

    #[test]
    fn journals_survive_any_chain_of_crashes(
        ops in proptest::collection::vec(any_op(prop_oneof![0..60u32, 0..1_500u32]), 0..150),
        end: u64,
    ) {
        live(FileKind::Journal, &ops, end);
    }

    #[test]
    fn volumes_survive_any_chain_of_crashes(
        ops in proptest::collection::vec(any_op(prop_oneof![4 => 0..60u32, 4 => 0..3_000u32, 1 => 30_000..36_000u32]), 0..100),
        end: u64,
    ) {
        live(FileKind::Volume, &ops, end);
    }
}

fn crash_all(life: &mut Life, draws: &mut Rng) {
    life.disk = life.disk.crash(draws);
}

/// A process that is killed leaves a footer that nobody synced. The next one may not build on it.
#[test]
fn a_footer_that_was_never_synced_may_vanish_under_a_successor() {
    for seed in 0..40 {
        let mut life = Life::new(FileKind::Journal);
        for op in [Op::Add(10), Op::Flush, Op::Complete, Op::Complete, Op::Seal, Op::Flush] {
            life.perform(&op);
        }
        // The footer is appended, its sync never happens.
        life.perform(&Op::Complete);
        life.pen = None;
        life.start(&mut rng(seed));
        for op in [Op::Add(20), Op::Flush, Op::Complete, Op::Complete] {
            life.perform(&op);
        }
        crash_all(&mut life, &mut rng(seed));
        life.start(&mut rng(seed));
        assert_eq!(life.base, [(1, 10), (2, 20)]);
    }
}

/// A process that is killed leaves a file whose name nobody synced. That it vanishes later is no damage.
#[test]
fn a_file_without_anything_durable_may_vanish_under_its_successor() {
    let vanished = |seed| {
        let mut life = Life::new(FileKind::Volume);
        for op in [Op::Add(10), Op::Flush, Op::Complete] {
            life.perform(&op);
        }
        life.pen = None;
        life.start(&mut rng(seed));
        // Power is lost: the fresh volume is durable with its name, the old one's name was not.
        life.disk.lose(File::Volume(1));
        life.start(&mut rng(seed));
        life.base
    };
    assert_eq!(vanished(1), [(1, 10)]);
}

#[test]
fn records_copied_by_several_starts_come_back_once() {
    let mut life = Life::new(FileKind::Journal);
    for len in 1..6 {
        for op in [Op::Add(len), Op::Flush, Op::Complete] {
            life.perform(&op);
        }
        life.pen = None;
        life.start(&mut rng(0));
    }
    assert_eq!(life.base, [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
    assert_eq!(life.disk.files(FileKind::Journal).len(), 6, "each start has a file of its own");
}

#[test]
fn a_tail_is_copied_and_what_follows_its_first_gap_is_cut() {
    let mut disk = TestDisk::default();
    let mut pen = Pen::create(FileKind::Journal, 1, Predecessor::default());
    pen.settle(&mut disk);
    let written: Vec<u64> = (0..3).map(|_| pen.writer.record(Kind::Entry, &[9; 600]).offset).collect();
    pen.flush();
    pen.complete(&mut disk);
    disk.bytes_mut(File::Journal(1))[usize::try_from(written[1]).unwrap() + 100] ^= 1;
    let found = recover(&mut disk, FileKind::Journal, &[]);
    assert_eq!((found.positions(false), found.positions(true)), (vec![], vec![(1, 2)]));
    assert_eq!(found.ending.last, Predecessor { number: 1, position: 1, offset: written[0] });
    let len = disk.bytes(File::Journal(1)).unwrap().len() as u64;
    let cut = Note::TailCut { file: File::Journal(1), offset: written[1], bytes: len - written[1] };
    assert_eq!(found.notes, [cut]);
}
