//! Recovery of files that were harmed: exactly what is known to have been durable and is lost is reported, in its place,
//! and everything else comes back. The model says it with sets; it knows the files as they were before.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use proptest::prelude::*;
use proptest::sample::Index;

use super::life::{Life, Op, any_op};
use super::*;
use crate::disk::File;
use crate::disk::record::Header;
use crate::disk::testing::{SECTOR_BYTES, TestDisk, fixed_cases, recover};

/// What is done to a file. Places are shares of its length.
#[derive(Clone, Debug)]
enum Harm {
    /// Some bytes change.
    Flip { at: Index, len: usize, xor: u8 },
    /// A sector becomes zeros.
    Zero(Index),
    /// The file ends earlier.
    Truncate(Index),
    /// The file ends earlier, right behind a record.
    TruncateBehind(Index),
    /// A sector can't be read.
    Spoil(Index),
    /// The file is gone.
    Lose,
}

fn any_harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        6 => (any::<Index>(), 1..4usize, 1..=255u8).prop_map(|(at, len, xor)| Harm::Flip { at, len, xor }),
        2 => any::<Index>().prop_map(Harm::Zero),
        2 => any::<Index>().prop_map(Harm::Truncate),
        1 => any::<Index>().prop_map(Harm::TruncateBehind),
        2 => any::<Index>().prop_map(Harm::Spoil),
        1 => Just(Harm::Lose),
    ]
}

/// A record as it was.
#[derive(Clone, Debug)]
struct Known {
    header: Header,
    offset: usize,
    covered: Vec<u8>,
}

impl Known {
    const fn position(&self) -> u64 {
        self.header.position
    }

    fn covered_end(&self) -> usize {
        self.offset + self.covered.len()
    }
}

/// Every file as it was, record by record, as far as it was whole.
fn known(disk: &TestDisk, kind: FileKind) -> BTreeMap<u64, Vec<Known>> {
    let read = |(number, _): (u64, u64)| {
        let stamp = Stamp::new(&crate::disk::testing::KEY, kind, number);
        let bytes = disk.bytes(kind.file(number)).unwrap();
        let (mut at, mut records) = (0, Vec::new());
        while let Parsed::Record(header) = parse(&stamp, at as u64, &bytes[at..]) {
            let end = at + usize::try_from(header.record_len()).unwrap();
            if end > bytes.len() {
                break;
            }
            records.push(Known { header, offset: at, covered: bytes[at..at + header.covered_len()].to_vec() });
            at = end;
        }
        (number, records)
    };
    disk.files(kind).into_iter().map(read).collect()
}

/// What recovery must come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    /// File and position of every record that counts where it is, and of the tail.
    counted: Vec<(u64, u64)>,
    tail: Vec<(u64, u64)>,
    /// File and position of everything that is lost.
    lost: Vec<(u64, u64)>,
}

struct Case {
    kind: FileKind,
    disk: TestDisk,
    before: BTreeMap<u64, Vec<Known>>,
    floors: BTreeMap<u64, u64>,
    spoiled: Vec<(u64, usize)>,
}

impl Case {
    /// A history without harm, with what the chunks' users know durable for every second file.
    fn new(kind: FileKind, ops: &[Op], floors: u8) -> Self {
        let mut life = Life::new(kind);
        ops.iter().for_each(|op| life.perform(op));
        let before = known(&life.disk, kind);
        let durable = |number: &u64| match &life.pen {
            Some(pen) if pen.writer.number() == *number => pen.writer.durable_through(),
            Some(_) | None => end_of(&before, *number).unwrap_or(0),
        };
        let wanted = before.keys().filter(|number| floors >> (**number % 8) & 1 == 1 && durable(number) > 0);
        let floors = wanted.map(|number| (*number, durable(number))).collect();
        Self { kind, disk: life.disk, before, floors, spoiled: Vec::new() }
    }

    fn harm(&mut self, file: Index, harm: &Harm) {
        let files = self.disk.files(self.kind);
        if files.is_empty() {
            return;
        }
        let (number, _) = files[file.index(files.len())];
        let file = self.kind.file(number);
        let bytes = self.disk.bytes_mut(file);
        let place = |at: &Index| if bytes.is_empty() { 0 } else { at.index(bytes.len()) };
        match harm {
            Harm::Flip { at, len, xor } => {
                let first = place(at);
                bytes.iter_mut().skip(first).take(*len).for_each(|byte| *byte ^= xor);
            }
            Harm::Zero(at) => {
                let first = place(at) / SECTOR_BYTES * SECTOR_BYTES;
                bytes.iter_mut().skip(first).take(SECTOR_BYTES).for_each(|byte| *byte = 0);
            }
            Harm::Truncate(at) => {
                let end = place(at);
                bytes.truncate(end);
            }
            Harm::TruncateBehind(at) => {
                let records = &self.before[&number];
                let end = if records.is_empty() { 0 } else { records[at.index(records.len())].offset };
                bytes.truncate(end);
            }
            Harm::Spoil(at) => {
                let at = place(at);
                self.disk.spoil(file, at);
                self.spoiled.push((number, at / SECTOR_BYTES));
            }
            Harm::Lose => self.disk.lose(file),
        }
    }

    fn is_whole(&self, number: u64, record: &Known) -> bool {
        let Some(bytes) = self.disk.bytes(self.kind.file(number)) else { return false };
        let sectors = record.offset / SECTOR_BYTES..record.covered_end().div_ceil(SECTOR_BYTES);
        let readable = |(file, sector): &(u64, usize)| *file != number || !sectors.contains(sector);
        let end = record.offset + usize::try_from(record.header.record_len()).unwrap();
        bytes.get(record.offset..record.covered_end()) == Some(&record.covered[..])
            && end <= bytes.len()
            && self.spoiled.iter().all(readable)
    }

    /// Where the file's successor says that it ends, if that can be read.
    fn end(&self, number: u64) -> Option<u64> {
        let head = self.before.get(&(number + 1))?.first()?;
        self.is_whole(number + 1, head).then(|| end_of(&self.before, number))?
    }

    fn expected(&self) -> Expected {
        let mut expected = Expected::default();
        for (number, records) in &self.before {
            let end = self.end(*number);
            let floor = self.floors.get(number).copied().unwrap_or(0);
            if self.disk.bytes(self.kind.file(*number)).is_none() {
                expected.lost.extend((1..=end.unwrap_or(floor)).map(|position| (*number, position)));
                continue;
            }
            let whole = |record: &&Known| self.is_whole(*number, record);
            let proofs = records.iter().filter(whole).map(|record| match record.header.kind {
                Kind::Footer => record.position() - 1,
                _ => record.header.durable_through,
            });
            let proven = proofs.chain(end).chain([floor]).max().unwrap_or(0);
            let mut torn = false;
            for record in records {
                let (place, counts) = ((*number, record.position()), matters_to_users(&record.header));
                match (self.is_whole(*number, record), record.position() <= proven) {
                    (true, true) if counts => expected.counted.push(place),
                    (true, false) if counts && !torn && end.is_none() => expected.tail.push(place),
                    (true, _) => {}
                    (false, true) => {
                        expected.lost.push(place);
                        torn = records
                            .get(record.position() as usize)
                            .is_some_and(|next| next.position() > proven && !self.is_whole(*number, next));
                    }
                    (false, false) => torn = true,
                }
            }
        }
        expected
    }

    /// Recovers and compares.
    fn judge(&mut self) {
        let expected = self.expected();
        let floors: Vec<(u64, u64)> = self.floors.iter().map(|(number, position)| (*number, *position)).collect();
        let found = recover(&mut self.disk, self.kind, &floors);
        let newest = self.disk.files(self.kind).last().map_or(0, |(number, _)| *number);
        let known_newest = self.floors.keys().max().copied().unwrap_or(0).max(newest);
        assert!(found.records.is_sorted_by_key(|(number, record, _)| (*number, record.header.position)), "in order");
        let (tail, doubtful): (Vec<_>, Vec<_>) = expected.tail.iter().partition(|(number, _)| *number == known_newest);
        assert_eq!(found.positions(Standing::Durable), expected.counted, "what was durable comes back");
        assert_eq!(found.positions(Standing::Doubtful), doubtful, "so does what nothing says was cut");
        assert_eq!(found.positions(Standing::Tail), tail, "the newest file's tail is to be copied");
        for (number, record, _) in &found.records {
            let before = &self.before[number][record.header.position as usize - 1];
            assert_eq!((record.header, record.offset), (before.header, before.offset as u64));
            assert_eq!(record.covered[..], before.covered[HEADER_LEN..]);
        }
        self.judge_damage(&found.ending, expected.lost);
        assert_eq!(found.ending.last.number, known_newest, "a number that was used is never used again");
    }

    fn judge_damage(&self, ending: &Ending, lost: Vec<(u64, u64)>) {
        let mut reported = Vec::new();
        for Damage { file, offset, first, last, kind } in &ending.damages {
            let (File::Journal(number) | File::Volume(number)) = file else { panic!("another file is damaged") };
            reported.extend((*first..=*last).map(|position| (*number, position)));
            let present = self.disk.bytes(*file).is_some();
            assert_eq!(*kind == DamageKind::Missing, !present);
            if present {
                assert_eq!(*offset, self.before[number][*first as usize - 1].offset as u64, "the damage's place");
            }
        }
        reported.sort_unstable();
        assert_eq!(reported, lost, "what was durable and is lost is told, once, and nothing else");
    }
}

/// The position at which the next file's head says that this one ends.
fn end_of(before: &BTreeMap<u64, Vec<Known>>, number: u64) -> Option<u64> {
    let head = before.get(&(number + 1))?.first()?;
    let head = Head::decode(&head.covered[HEADER_LEN..]).expect("a file begins with its head");
    Some(head.predecessor.position)
}

const fn matters_to_users(header: &Header) -> bool {
    matches!(header.kind, Kind::Entry | Kind::Chunk)
}

/// Histories of one process after the other, without loss of power: every file is as it was written.
fn any_history(len: impl Strategy<Value = u32> + 'static) -> impl Strategy<Value = Vec<Op>> {
    let op = any_op(len).prop_map(|op| match op {
        Op::Crash(seed) => Op::Kill(seed),
        Op::Doom(_) => Op::Complete,
        other => other,
    });
    proptest::collection::vec(op, 1..100)
}

fn harms() -> impl Strategy<Value = Vec<(Index, Harm)>> {
    proptest::collection::vec((any::<Index>(), any_harm()), 0..4)
}

proptest! {
    #![proptest_config(fixed_cases())]

    #[test]
    fn harm_to_journals_is_told_exactly(
        ops in any_history(prop_oneof![0..60u32, 0..1_500u32]),
        harms in harms(),
        floors: u8,
    ) {
        let mut case = Case::new(FileKind::Journal, &ops, floors);
        harms.iter().for_each(|(file, harm)| case.harm(*file, harm));
        case.judge();
    }

    #[test]
    fn harm_to_volumes_is_told_exactly(
        ops in any_history(prop_oneof![4 => 0..60u32, 4 => 0..3_000u32, 1 => 30_000..36_000u32]),
        harms in harms(),
        floors: u8,
    ) {
        let mut case = Case::new(FileKind::Volume, &ops, floors);
        harms.iter().for_each(|(file, harm)| case.harm(*file, harm));
        case.judge();
    }
}
