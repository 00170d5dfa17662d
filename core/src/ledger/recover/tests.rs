//! The ledger after crashes and harm: every committed command is there, and it is a prefix of what was proposed.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::disk::record::{HEADER_LEN, Parsed, Stamp, parse};
use crate::disk::testing::{KEY, TestDisk, any_pieces, boot, fixed_cases, forge, rng};
use crate::disk::writer::WriterOp;
use crate::ledger::log::Event;
use crate::ledger::log::tests::{Desk, SETTLE_AFTER, command, config};
use crate::rng::Rng;

const SEGMENT_BYTES: u64 = 1_500;

/// A start that may die after so many requests.
fn start(
    disk: &mut TestDisk,
    number: u64,
    read_only: Option<DiskError>,
    mut doom: Option<usize>,
    draws: &mut Rng,
) -> Option<(Recovered, Vec<Note>)> {
    disk.remove_stages();
    let segments = disk.files(FileKind::Journal);
    let mut recovery = Recovery::new(&config(SEGMENT_BYTES), boot(number), segments, read_only);
    let mut notes = Vec::new();
    loop {
        match recovery.advance() {
            Step::Disk(request) => {
                if !matches!(request, DiskRequest::Read { .. }) {
                    assert_eq!(read_only, None, "nothing is written");
                    if doom == Some(0) {
                        disk.interrupt(&request, draws);
                        return None;
                    }
                    doom = doom.map(|left| left - 1);
                }
                recovery.done(&disk.perform(&request));
            }
            Step::Note(note) => notes.push(note),
            Step::Ready => return Some((recovery.into_recovered(), notes)),
        }
    }
}

fn open(disk: &mut TestDisk, number: u64) -> (Recovered, Vec<Note>) {
    start(disk, number, None, None, &mut rng(0)).expect("nothing kills it")
}

/// The root after these commands.
fn root(commands: &[u64]) -> [u8; 32] {
    let mut ledger = Ledger::new();
    for (index, number) in (1..).zip(commands) {
        ledger.apply(index, &command(*number));
    }
    ledger.root()
}

fn desk(recovered: Recovered, disk: TestDisk) -> Desk {
    Desk::new(recovered.log, disk)
}

/// A desk with these commands committed, in as many turns.
fn filled(numbers: core::ops::Range<u64>) -> Desk {
    let mut disk = TestDisk::default();
    let (recovered, _) = open(&mut disk, 1);
    let mut desk = desk(recovered, disk);
    for number in numbers {
        desk.propose(number);
        desk.settle();
    }
    desk
}

/// The records of a segment: kind and offset.
fn records(disk: &TestDisk, segment: u64) -> Vec<(crate::disk::record::Kind, usize)> {
    let stamp = Stamp::new(&KEY, FileKind::Journal, segment);
    let bytes = disk.bytes(File::Journal(segment)).unwrap();
    let (mut at, mut found) = (0, Vec::new());
    while let Parsed::Record(header) = parse(&stamp, at as u64, &bytes[at..]) {
        found.push((header.kind, at));
        at += usize::try_from(header.record_len()).unwrap();
    }
    found
}

fn entry_offsets(disk: &TestDisk, segment: u64) -> Vec<usize> {
    let entries = records(disk, segment).into_iter().filter(|(kind, _)| *kind == crate::disk::record::Kind::Entry);
    entries.map(|(_, offset)| offset).collect()
}

#[derive(Clone, Debug)]
enum Op {
    Propose,
    Flush,
    Complete,
    /// The oldest request fails, after a part of it happened.
    Fail(u64),
    Wait,
    Close,
    Kill(u64),
    Crash(u64),
    Doom(usize),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => Just(Op::Propose),
        8 => Just(Op::Flush),
        12 => Just(Op::Complete),
        1 => any::<u64>().prop_map(Op::Fail),
        1 => Just(Op::Wait),
        1 => Just(Op::Close),
        1 => any::<u64>().prop_map(Op::Kill),
        2 => any::<u64>().prop_map(Op::Crash),
        1 => (0..4usize).prop_map(Op::Doom),
    ]
}

/// A ledger that is started again and again.
struct Life {
    desk: Desk,
    boots: u64,
    /// What may be in the journal, in the order of indexes; the first `durable` must be.
    commands: Vec<u64>,
    durable: usize,
    /// Entries that the newest start has found.
    base: usize,
    next: u64,
    doom: Option<usize>,
}

impl Life {
    fn new() -> Self {
        Self { desk: filled(0..0), boots: 1, commands: Vec::new(), durable: 0, base: 0, next: 1, doom: None }
    }

    fn perform(&mut self, op: &Op) {
        match *op {
            Op::Propose => {
                self.commands.push(self.next);
                self.desk.propose(self.next);
                self.next += 1;
            }
            Op::Flush => self.desk.flush(),
            Op::Complete => drop(self.desk.complete()),
            Op::Fail(seed) => self.fail(seed),
            Op::Wait => self.desk.wait(SETTLE_AFTER),
            Op::Close => self.desk.step(Event::Close),
            Op::Kill(seed) => self.end(seed, false),
            Op::Crash(seed) => self.end(seed, true),
            Op::Doom(requests) => self.doom = Some(requests),
        }
        self.look();
    }

    fn fail(&mut self, seed: u64) {
        if let Some((_, request)) = self.desk.queue.front() {
            self.desk.disk.interrupt(request, &mut rng(seed));
        }
        // Whatever was issued behind it fails too.
        while let Some((op, _)) = self.desk.queue.pop_front() {
            self.desk.step(Event::DiskDone { op, result: Err(DiskError::Io(5)) });
        }
    }

    fn look(&mut self) {
        for (number, index) in self.desk.committed.drain(..) {
            assert_eq!(self.commands[usize::try_from(index).unwrap() - 1], number, "committed in the order proposed");
            assert_eq!(usize::try_from(index).unwrap(), self.durable + 1, "without a hole");
            self.durable += 1;
        }
        for (number, error) in self.desk.refused.drain(..) {
            if !matches!(error, crate::ledger::log::LogError::Unknown(_)) {
                self.commands.retain(|command| *command != number);
            }
        }
    }

    /// The process dies, perhaps with the machine, and starts until it runs.
    fn end(&mut self, seed: u64, power: bool) {
        let mut draws = rng(seed);
        for (op, request) in core::mem::take(&mut self.desk.queue) {
            if draws.chance(1, 4) {
                self.desk.disk.interrupt(&request, &mut draws);
                break;
            }
            if !matches!(op, WriterOp::Sync { .. }) {
                self.desk.disk.perform(&request).unwrap();
            }
        }
        let mut disk = core::mem::take(&mut self.desk.disk);
        if power {
            disk = disk.crash(&mut draws);
        }
        let recovered = loop {
            self.boots += 1;
            match start(&mut disk, self.boots, None, self.doom.take(), &mut draws) {
                Some((recovered, _)) => break recovered,
                None if draws.chance(1, 2) => disk = disk.crash(&mut draws),
                None => {}
            }
        };
        self.judge(&recovered);
        let found = usize::try_from(recovered.entries).unwrap();
        self.commands.truncate(found);
        (self.durable, self.base) = (found, found);
        self.desk = desk(recovered, disk);
    }

    fn judge(&self, recovered: &Recovered) {
        assert_eq!(recovered.damages, [], "a crash is no damage");
        let found = usize::try_from(recovered.entries).unwrap();
        assert!(found >= self.durable, "{found} entries came back of {} that were committed", self.durable);
        assert!(found <= self.commands.len(), "nothing comes back that was not proposed");
        assert_eq!(recovered.ledger.root(), root(&self.commands[..found]), "a prefix of what was proposed");
        for number in &self.commands[..found] {
            assert!(recovered.volumes[&(number % 3 + 1)] >= *number, "what entries rely on is a floor");
        }
    }
}

proptest! {
    #![proptest_config(fixed_cases())]

    #[test]
    fn every_committed_command_survives(ops in proptest::collection::vec(any_op(), 0..150), end: u64) {
        let mut life = Life::new();
        ops.iter().for_each(|op| life.perform(op));
        life.end(end, true);
        life.end(end, true);
    }

    /// Whatever lies on the disk, even with the right checksums.
    #[test]
    fn recovery_is_total(files in proptest::collection::btree_map(1..6u64, any_pieces(), 1..4), read_only: bool) {
        let mut disk = TestDisk::default();
        for (number, pieces) in &files {
            disk.put(File::Journal(*number), forge(FileKind::Journal, *number, pieces));
        }
        let read_only = read_only.then_some(DiskError::Full);
        let (recovered, _) = start(&mut disk, 1, read_only, None, &mut rng(0)).unwrap();
        recovered.ledger.check();
        let mut desk = desk(recovered, disk);
        (1..4).for_each(|number| desk.propose(number));
        desk.settle();
        prop_assert_eq!(desk.committed.len(), if read_only.is_some() { 0 } else { 3 });
    }
}

#[test]
fn an_entry_that_is_in_two_segments_counts_once() {
    let desk = filled(1..5);
    let mut disk = desk.disk;
    // Killed: the last entry is whole, and nothing knows it durable.
    let (recovered, notes) = open(&mut disk, 2);
    assert_eq!(notes, [Note::TailCopied { from: File::Journal(1), to: File::Journal(2), records: 1 }]);
    assert_eq!(recovered.entries, 4);
    // Without the second segment's head nothing says where the first ends.
    disk.bytes_mut(File::Journal(2))[HEADER_LEN + 3] ^= 1;
    let (recovered, _) = open(&mut disk, 3);
    assert_eq!((recovered.entries, recovered.ledger.root()), (4, root(&[1, 2, 3, 4])));
    let lost: Vec<_> = recovered.damages.iter().map(|damage| (damage.file, damage.first, damage.last)).collect();
    assert_eq!(lost, [(File::Journal(2), 1, 1)]);
}

#[test]
fn the_largest_position_that_an_entry_relies_on_is_the_floor() {
    let mut desk = filled(0..0);
    for (ticket, volumes) in [(1, vec![(1, 5), (2, 9)]), (2, vec![(1, 3)]), (3, vec![(2, 10), (4, 1)])] {
        desk.step(Event::Propose { ticket, volumes, command: command(ticket) });
    }
    desk.settle();
    let (recovered, _) = open(&mut desk.disk, 2);
    assert_eq!(recovered.volumes, [(1, 5), (2, 10), (4, 1)].into());
}

#[test]
fn damage_is_told_at_every_start_and_stays_on_disk() {
    let mut desk = filled(1..4);
    desk.wait(SETTLE_AFTER);
    desk.settle();
    let mut disk = desk.disk;
    let offset = entry_offsets(&disk, 1)[1];
    disk.bytes_mut(File::Journal(1))[offset + HEADER_LEN + 5] ^= 1;
    let before = disk.bytes(File::Journal(1)).unwrap().to_vec();
    let expected =
        Damage { file: File::Journal(1), offset: offset as u64, first: 3, last: 3, kind: DamageKind::Broken };
    for number in 2..5 {
        let (recovered, notes) = open(&mut disk, number);
        assert_eq!(recovered.damages, [expected], "once, and no more than that");
        assert_eq!(notes.iter().filter(|note| matches!(note, Note::Damaged(_))).count(), 1);
        assert_eq!(disk.bytes(File::Journal(1)).unwrap(), before, "never cut");
        assert_eq!(recovered.entries, 1 + number - 1, "entries behind the damage are there");
        let mut desk = Desk::new(recovered.log, disk);
        desk.propose(10 + number);
        desk.settle();
        assert_eq!(desk.committed, [(10 + number, 2 + number)], "the log goes on");
        disk = desk.disk;
    }
}

/// A disk that fails to read today may read tomorrow. Then old and new entries must not share an index.
#[test]
fn the_index_of_a_lost_entry_is_never_given_again() {
    let mut desk = filled(1..6);
    // Long enough to end in another sector, so that the empty record behind it can be read.
    desk.propose(10);
    desk.settle();
    desk.wait(SETTLE_AFTER);
    desk.settle();
    let mut disk = desk.disk;
    let newest = disk.files(FileKind::Journal).last().unwrap().0;
    let last = *entry_offsets(&disk, newest).last().unwrap();
    disk.spoil(File::Journal(newest), last);
    let (recovered, _) = open(&mut disk, 2);
    assert!(!recovered.damages.is_empty());
    assert!(recovered.entries < 6);
    let mut desk = Desk::new(recovered.log, disk);
    desk.propose(9);
    desk.settle();
    let index = desk.committed[0].1;
    assert!(index > 6, "index {index} was that of a lost entry");
    let mut disk = desk.disk;
    disk.mend();
    let (recovered, _) = open(&mut disk, 3);
    assert_eq!(recovered.entries, 7, "the lost ones and the new one");
    let mut expected = Ledger::new();
    for (index, number) in (1..).zip([1, 2, 3, 4, 5, 10]) {
        expected.apply(index, &command(number));
    }
    expected.apply(index, &command(9));
    assert_eq!(recovered.ledger.root(), expected.root());
}

/// A segment that is missing today may be brought back from a copy tomorrow.
#[test]
fn a_segment_that_is_brought_back_fits_in_again() {
    let mut disk = filled(1..5).disk;
    for number in [5, 6] {
        let (recovered, _) = open(&mut disk, number);
        let mut desk = Desk::new(recovered.log, disk);
        if number == 5 {
            desk.propose(5);
            desk.settle();
            desk.wait(SETTLE_AFTER);
            desk.settle();
        }
        disk = desk.disk;
    }
    let copy = disk.bytes(File::Journal(2)).unwrap().to_vec();
    disk.lose(File::Journal(2));
    let (recovered, _) = open(&mut disk, 7);
    let lost = Damage { file: File::Journal(2), offset: 0, first: 1, last: 4, kind: DamageKind::Missing };
    assert_eq!((recovered.damages, recovered.entries), (vec![lost], 4));
    let mut desk = Desk::new(recovered.log, disk);
    desk.propose(9);
    desk.settle();
    let index = desk.committed[0].1;
    let mut disk = desk.disk;
    disk.put(File::Journal(2), copy);
    let (recovered, _) = open(&mut disk, 8);
    assert_eq!((recovered.damages, recovered.entries), (vec![], 6));
    let mut expected = Ledger::new();
    for number in 1..6 {
        expected.apply(number, &command(number));
    }
    expected.apply(index, &command(9));
    assert_eq!(recovered.ledger.root(), expected.root());
}

#[test]
fn a_start_that_may_not_write_counts_the_tail_where_it_is() {
    let desk = filled(1..5);
    let mut disk = desk.disk;
    let files = disk.files(FileKind::Journal);
    for _ in 0..2 {
        let (recovered, _) = start(&mut disk, 2, Some(DiskError::Full), None, &mut rng(0)).unwrap();
        assert_eq!((recovered.entries, recovered.ledger.root()), (4, root(&[1, 2, 3, 4])));
        assert_eq!(disk.files(FileKind::Journal), files);
        let mut desk = Desk::new(recovered.log, TestDisk::default());
        desk.propose(5);
        desk.settle();
        let error = crate::ledger::log::LogError::Stopped { file: File::Journal(2), error: DiskError::Full };
        assert_eq!(desk.refused, [(5, error)]);
        desk.step(Event::Close);
        desk.flush();
        assert_eq!(desk.closed, 1);
    }
}

#[test]
fn a_copy_that_fails_leaves_a_ledger_that_only_reads() {
    let source = filled(1..5).disk;
    for bad in 0..2 {
        let mut disk = source.clone();
        let mut recovery = Recovery::new(&config(SEGMENT_BYTES), boot(2), disk.files(FileKind::Journal), None);
        let mut writes = 0;
        let mut notes = Vec::new();
        loop {
            match recovery.advance() {
                Step::Disk(request @ DiskRequest::Read { .. }) => recovery.done(&disk.perform(&request)),
                Step::Disk(_) if writes == bad => {
                    recovery.done(&Err(DiskError::Full));
                    writes += 1;
                }
                Step::Disk(request) => {
                    recovery.done(&disk.perform(&request));
                    writes += 1;
                }
                Step::Note(note) => notes.push(note),
                Step::Ready => break,
            }
        }
        assert_eq!(writes, bad + 1, "nothing is tried behind a failure");
        assert_eq!(notes, [Note::WritesStopped { file: File::Journal(2), error: DiskError::Full }]);
        let recovered = recovery.into_recovered();
        assert_eq!(recovered.ledger.root(), root(&[1, 2, 3, 4]));
        assert_eq!(recovered.log.failed(), Some((File::Journal(2), DiskError::Full)));
    }
}

#[test]
fn a_segment_that_may_not_be_read_stops_all_writing_and_is_whole_when_it_can() {
    let mut disk = filled(1..5).disk;
    let mut closed = disk.clone();
    closed.refuse(File::Journal(1), DiskError::Denied);
    let (recovered, notes) = open(&mut closed, 2);
    assert!(notes.contains(&Note::WritesStopped { file: File::Journal(1), error: DiskError::Denied }));
    assert_eq!(recovered.log.failed(), Some((File::Journal(1), DiskError::Denied)));
    assert_eq!((recovered.entries, recovered.damages.len()), (0, 1));
    assert_eq!(closed.files(FileKind::Journal), disk.files(FileKind::Journal), "nothing says where it ends");
    assert_eq!(open(&mut disk, 2).0.entries, 4);
}

#[test]
fn a_record_that_is_no_entry_is_damage_and_the_rest_counts() {
    let desk = filled(1..3);
    let mut disk = desk.disk;
    let bytes = disk.bytes(File::Journal(1)).unwrap().to_vec();
    let stamp = Stamp::new(&KEY, FileKind::Journal, 1);
    for index in [0, u64::MAX, 3] {
        let entry =
            Entry { term: 1, index, volumes: vec![], command: if index == 3 { vec![9] } else { command(1).encode() } };
        let body = entry.encode();
        let header = crate::disk::record::Header {
            kind: crate::disk::record::Kind::Entry,
            boot: 1,
            position: 4,
            sequence: 0,
            durable_through: 3,
            body_len: u32::try_from(body.len()).unwrap(),
        };
        let mut more = bytes.clone();
        header.encode(&stamp, bytes.len() as u64, &body, &mut more);
        *disk.bytes_mut(File::Journal(1)) = more;
        let (recovered, _) = start(&mut disk, 2, Some(DiskError::Full), None, &mut rng(0)).unwrap();
        assert_eq!((recovered.entries, recovered.ledger.root()), (2, root(&[1, 2])));
        let lost: Vec<_> = recovered.damages.iter().map(|damage| (damage.offset, damage.first, damage.last)).collect();
        let expected = [(bytes.len() as u64, 4, 4)];
        // Index 0 is below every entry's: such a record counts for nothing.
        assert_eq!(lost, if index == 0 { &expected[..0] } else { &expected[..] }, "index {index}");
    }
}

#[test]
fn a_record_of_the_tail_that_is_no_entry_stays_known() {
    let mut disk = filled(1..3).disk;
    let stamp = Stamp::new(&KEY, FileKind::Journal, 1);
    let mut bytes = disk.bytes(File::Journal(1)).unwrap().to_vec();
    let header = crate::disk::record::Header {
        kind: crate::disk::record::Kind::Entry,
        boot: 1,
        position: 4,
        sequence: 0,
        durable_through: 2,
        body_len: 3,
    };
    let offset = bytes.len() as u64;
    header.encode(&stamp, offset, b"???", &mut bytes);
    *disk.bytes_mut(File::Journal(1)) = bytes;
    for number in 2..5 {
        let (recovered, _) = open(&mut disk, number);
        assert_eq!((recovered.entries, recovered.damages.len()), (2, 1), "start {number}");
    }
}

/// A killed process never synced its last entry, and of the segment with the copy nothing can be read.
#[test]
fn a_doubtful_entry_is_copied_before_anything_follows_it() {
    for seed in 0..40 {
        let mut desk = filled(1..3);
        desk.propose(3);
        desk.flush();
        let (_, append) = desk.queue.pop_front().unwrap();
        desk.disk.perform(&append).unwrap();
        let mut disk = desk.disk;
        open(&mut disk, 2);
        disk.bytes_mut(File::Journal(2)).fill(0);
        let (recovered, notes) = open(&mut disk, 3);
        assert_eq!(recovered.ledger.root(), root(&[1, 2, 3]));
        let copied = Note::TailCopied { from: File::Journal(2), to: File::Journal(3), records: 1 };
        assert!(notes.contains(&copied), "{notes:?}");
        let mut desk = Desk::new(recovered.log, disk);
        desk.propose(4);
        desk.settle();
        let (recovered, _) = open(&mut desk.disk.crash(&mut rng(seed)), 4);
        assert_eq!(recovered.ledger.root(), root(&[1, 2, 3, 4]), "seed {seed}");
    }
}
