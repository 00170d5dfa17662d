//! Recovery, case by case.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::disk::record::Header;
use crate::disk::testing::{KEY, Pen, TestDisk, any_pieces, fixed_cases, forge, head, recover};
use crate::disk::writer::Written;
use crate::disk::{DiskError, File};
use crate::id::VerifiedChunk;
use crate::limits::DAMAGES_MAX;

const JOURNAL: FileKind = FileKind::Journal;
const ONE: File = File::Journal(1);

/// Adds files to a disk, one after the other. Records have bodies of 100 bytes.
struct Shelf {
    disk: TestDisk,
    last: Predecessor,
    places: Vec<Vec<Written>>,
}

impl Shelf {
    fn new() -> Self {
        Self { disk: TestDisk::default(), last: Predecessor::default(), places: Vec::new() }
    }

    /// A file with so many entries, all durable, the last of which nothing in the file proves so.
    fn open(&mut self, entries: usize) -> Pen {
        let mut pen = Pen::create(JOURNAL, 1, self.last);
        let places = (0..entries).map(|_| pen.writer.record(Kind::Entry, &[6; 100])).collect();
        pen.settle(&mut self.disk);
        self.places.push(places);
        pen
    }

    /// The same, and an empty record behind them.
    fn settled(&mut self, entries: usize) -> Pen {
        let mut pen = self.open(entries);
        pen.writer.record(Kind::Empty, &[]);
        pen.settle(&mut self.disk);
        pen
    }

    /// The same, with a footer.
    fn sealed(&mut self, entries: usize) {
        let mut pen = self.open(entries);
        pen.writer.seal();
        pen.settle(&mut self.disk);
        self.last = pen.writer.as_predecessor();
    }

    /// Breaks an entry of a file.
    fn rot(&mut self, number: u64, entry: usize) -> u64 {
        let offset = self.places[usize::try_from(number).unwrap() - 1][entry].offset;
        self.disk.bytes_mut(File::Journal(number))[usize::try_from(offset).unwrap() + 80] ^= 0x10;
        offset
    }
}

fn broken(file: File, offset: u64, first: u64, last: u64) -> Damage {
    Damage { file, offset, first, last, kind: DamageKind::Broken }
}

fn at(number: u64, positions: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    positions.map(|position| (number, position)).collect()
}

#[test]
fn nothing_is_recovered_from_nothing() {
    let found = recover(&mut TestDisk::default(), JOURNAL, &[]);
    assert_eq!((found.records.len(), found.notes.len()), (0, 0));
    assert_eq!(found.ending, Ending::default());
}

#[test]
fn a_break_is_damage_where_something_proves_it_durable_and_else_a_tear() {
    // Positions: head 1, entries 2 to 5, then an empty record or a footer.
    for (name, sealed, empty, floor, lost) in [
        ("nothing proves it", false, false, None, false),
        ("an empty record", false, true, None, true),
        ("a footer", true, false, None, true),
        ("a floor above", false, false, Some(5), true),
        ("a floor right there", false, false, Some(4), true),
        ("a floor below", false, false, Some(3), false),
    ] {
        let mut shelf = Shelf::new();
        match (sealed, empty) {
            (true, _) => shelf.sealed(4),
            (false, true) => drop(shelf.settled(4)),
            (false, false) => drop(shelf.open(4)),
        }
        let offset = shelf.rot(1, 2);
        let floors: Vec<(u64, u64)> = floor.map(|position| (1, position)).into_iter().collect();
        let found = recover(&mut shelf.disk, JOURNAL, &floors);
        let expected = if lost { vec![broken(ONE, offset, 4, 4)] } else { vec![] };
        assert_eq!(found.ending.damages, expected, "{name}");
        assert_eq!(found.ending.closed, sealed, "{name}");
        let mut came = found.positions(Standing::Durable);
        came.extend(found.positions(Standing::Tail));
        let expected = if lost { vec![(1, 2), (1, 3), (1, 5)] } else { vec![(1, 2), (1, 3)] };
        assert_eq!(came, expected, "{name}");
        let cut = found.notes.iter().any(|note| matches!(note, Note::TailCut { .. }));
        assert_eq!(cut, !lost, "{name}");
    }
}

#[test]
fn how_much_of_a_gap_was_durable_is_known_at_the_end_of_the_file() {
    let mut disk = TestDisk::default();
    let mut pen = Pen::create(JOURNAL, 1, Predecessor::default());
    let mut places = Vec::new();
    // Positions 2 | 3, 4, 5 | 6: those between the bars are durable together, and know only what was before.
    for batch in [1, 3, 1] {
        places.extend((0..batch).map(|_| pen.writer.record(Kind::Entry, &[6; 100]).offset));
        pen.settle(&mut disk);
    }
    for offset in &places[..3] {
        disk.bytes_mut(ONE)[usize::try_from(*offset).unwrap() + 80] ^= 1;
    }
    let found = recover(&mut disk, JOURNAL, &[]);
    assert_eq!(found.ending.damages, [broken(ONE, places[0], 2, 4)]);
    assert_eq!((found.positions(Standing::Durable), found.positions(Standing::Tail)), (at(1, 5..6), at(1, 6..7)));
}

#[test]
fn a_file_that_ends_before_its_last_durable_record_is_truncated() {
    let mut shelf = Shelf::new();
    shelf.open(4);
    let end = shelf.places[0][2].offset;
    for (cut, floor, lost) in [(0, 5, Some((4, 5))), (0, 3, None), (50, 5, Some((4, 5))), (0, 9, Some((4, 9)))] {
        let mut disk = shelf.disk.clone();
        disk.bytes_mut(ONE).truncate(usize::try_from(end).unwrap() + cut);
        let found = recover(&mut disk, JOURNAL, &[(1, floor)]);
        let expected =
            lost.map(|(first, last)| Damage { kind: DamageKind::Truncated, ..broken(ONE, end, first, last) });
        assert_eq!(found.ending.damages, Vec::from_iter(expected), "cut {cut}, floor {floor}");
        assert_eq!(found.records.len(), 2);
        let last = Predecessor { number: 1, position: floor, offset: end };
        assert_eq!(found.ending.last, last, "what is lost stays known as lost");
    }
}

#[test]
fn a_missing_file_is_known_by_its_successor_or_by_a_floor() {
    let lost = |file: File, last| Damage { kind: DamageKind::Missing, ..broken(file, 0, 1, last) };
    for (gone, floors, expected, newest) in [
        (vec![1], vec![], vec![lost(ONE, 5)], 3),
        (vec![2], vec![], vec![lost(File::Journal(2), 5)], 3),
        (vec![2], vec![(2, 4)], vec![lost(File::Journal(2), 5)], 3),
        (vec![1, 2], vec![], vec![lost(File::Journal(2), 5)], 3),
        (vec![1, 2], vec![(1, 3)], vec![lost(File::Journal(2), 5), lost(ONE, 3)], 3),
        (vec![3], vec![], vec![], 2),
        (vec![3], vec![(3, 4)], vec![lost(File::Journal(3), 4)], 3),
        (vec![1, 2, 3], vec![(2, 4), (3, 2)], vec![lost(File::Journal(2), 4), lost(File::Journal(3), 2)], 3),
    ] {
        let mut shelf = Shelf::new();
        (0..3).for_each(|_| shelf.sealed(3));
        gone.iter().for_each(|number| shelf.disk.lose(File::Journal(*number)));
        let found = recover(&mut shelf.disk, JOURNAL, &floors);
        assert_eq!(found.ending.damages, expected, "{gone:?} {floors:?}");
        let left = (1..4).filter(|number| !gone.contains(number));
        assert_eq!(found.positions(Standing::Durable), left.flat_map(|number| at(number, 2..5)).collect::<Vec<_>>());
        assert_eq!(found.ending.last.number, newest, "a number that is known is never used again");
        assert_eq!(found.ending.closed, newest != 3 || !gone.contains(&3));
    }
}

#[test]
fn a_loss_is_told_at_every_start_and_never_twice_in_one() {
    let mut shelf = Shelf::new();
    let pen = shelf.settled(4);
    shelf.rot(1, 3);
    let first = recover(&mut shelf.disk, JOURNAL, &[]);
    shelf.last = first.ending.last;
    drop(pen);
    shelf.sealed(1);
    let second = recover(&mut shelf.disk, JOURNAL, &[]);
    assert_eq!(first.lost(), [(ONE, 5, 5)]);
    assert_eq!(second.lost(), first.lost());
    assert_eq!(second.positions(Standing::Durable), [(1, 2), (1, 3), (1, 4), (2, 2)]);
}

#[test]
fn what_a_later_start_has_cut_never_comes_back() {
    let mut shelf = Shelf::new();
    shelf.settled(4);
    // The start in between could not read beyond position 3, so it cut there.
    shelf.last = Predecessor { number: 1, position: 3, offset: shelf.places[0][2].offset };
    shelf.sealed(1);
    let found = recover(&mut shelf.disk, JOURNAL, &[]);
    assert_eq!(found.positions(Standing::Durable), [(1, 2), (1, 3), (2, 2)]);
    assert_eq!(found.lost(), []);
}

#[test]
fn without_the_successors_head_a_tail_counts_and_is_doubtful() {
    let mut shelf = Shelf::new();
    shelf.open(2);
    shelf.last = Predecessor { number: 1, position: 1, offset: shelf.places[0][0].offset };
    shelf.sealed(2);
    shelf.disk.bytes_mut(File::Journal(2))[70] ^= 1;
    let found = recover(&mut shelf.disk, JOURNAL, &[]);
    assert_eq!(found.positions(Standing::Durable), at(2, 2..4));
    assert_eq!(found.positions(Standing::Doubtful), at(1, 2..4));
    assert_eq!(found.lost(), [(File::Journal(2), 1, 1)]);
}

#[test]
fn nothing_counts_behind_a_footer() {
    let mut shelf = Shelf::new();
    shelf.sealed(2);
    let end = shelf.last.offset;
    let stamp = Stamp::new(&KEY, JOURNAL, 1);
    let forged = Header { kind: Kind::Entry, boot: 1, position: 5, sequence: 0, durable_through: 4, body_len: 3 };
    let mut more = Vec::new();
    forged.encode(&stamp, end, b"abc", &mut more);
    shelf.disk.bytes_mut(ONE).extend_from_slice(&more);
    let found = recover(&mut shelf.disk, JOURNAL, &[]);
    assert_eq!((found.positions(Standing::Durable), found.positions(Standing::Tail)), (at(1, 2..4), vec![]));
    assert_eq!(found.notes, [Note::TailCut { file: ONE, offset: end, bytes: more.len() as u64 }]);
    assert!(found.ending.closed);
}

#[test]
fn an_empty_file_is_no_damage() {
    let mut disk = TestDisk::default();
    disk.put(ONE, vec![]);
    let found = recover(&mut disk, JOURNAL, &[]);
    assert_eq!((found.notes.len(), found.records.len()), (0, 0));
    assert_eq!(found.ending.last, Predecessor { number: 1, position: 0, offset: 0 });
    assert!(!found.ending.closed, "its number is used");
    let mut shelf = Shelf::new();
    shelf.sealed(1);
    shelf.disk.put(File::Journal(2), vec![]);
    let found = recover(&mut shelf.disk, JOURNAL, &[]);
    assert_eq!((found.notes.len(), found.positions(Standing::Durable)), (0, vec![(1, 2)]));
    assert_eq!((found.ending.last.number, found.ending.closed), (2, false));
}

#[test]
fn a_sector_that_cannot_be_read_costs_the_records_in_it() {
    let mut shelf = Shelf::new();
    shelf.settled(20);
    let places: Vec<u64> = shelf.places[0].iter().map(|written| written.offset).collect();
    shelf.disk.spoil(ONE, 1_024);
    let found = recover(&mut shelf.disk, JOURNAL, &[]);
    let lost = (2..).zip(&places).filter(|(_, offset)| **offset < 1_536 && **offset + 164 > 1_024);
    let (first, last) = (lost.clone().next().unwrap(), lost.last().unwrap());
    let expected = Damage { kind: DamageKind::Unreadable, ..broken(ONE, *first.1, first.0, last.0) };
    assert_eq!(found.ending.damages, [expected]);
    assert_eq!(found.positions(Standing::Durable), at(1, (2..22).filter(|at| !(first.0..=last.0).contains(at))));
    shelf.disk.mend();
    assert_eq!(recover(&mut shelf.disk, JOURNAL, &[]).lost(), []);
}

#[test]
fn a_file_that_refuses_every_read_is_given_up_at_once() {
    for error in [DiskError::Denied, DiskError::NotFound, DiskError::ReadOnly] {
        let mut shelf = Shelf::new();
        shelf.sealed(2);
        let _ = shelf.settled(2_000);
        shelf.disk.refuse(File::Journal(2), error);
        for (floors, last) in [(&[(2, 7)][..], 7), (&[], 1)] {
            let found = recover(&mut shelf.disk, JOURNAL, floors);
            assert_eq!(found.positions(Standing::Durable), at(1, 2..4));
            let expected = Damage { kind: DamageKind::Unreadable, ..broken(File::Journal(2), 0, 1, last) };
            assert_eq!(found.ending.damages, [expected], "what can't be looked at is no tail");
            assert_eq!(found.ending.refused, Some((File::Journal(2), error)));
            assert!(!found.notes.iter().any(|note| matches!(note, Note::TailCut { .. })));
        }
        let mut first = shelf.disk.clone();
        first.readmit(File::Journal(2));
        first.refuse(ONE, error);
        let found = recover(&mut first, JOURNAL, &[]);
        assert_eq!((found.lost(), found.ending.refused), (vec![(ONE, 1, 4)], None), "where it ends is known");
        assert!(shelf.disk.failed_reads <= 6, "{} reads of a closed door", shelf.disk.failed_reads);
    }
}

#[test]
fn more_damages_than_are_kept_are_counted() {
    let mut shelf = Shelf::new();
    let entries = 2 * DAMAGES_MAX + 6;
    shelf.sealed(entries);
    for entry in (0..entries).step_by(2) {
        shelf.rot(1, entry);
    }
    let found = recover(&mut shelf.disk, JOURNAL, &[]);
    assert_eq!((found.ending.damages.len(), found.ending.damages_omitted), (DAMAGES_MAX, 3));
    assert_eq!(found.records.len(), entries / 2);
}

/// Whoever stores a copy of a volume stores bytes that look like records.
#[test]
fn copies_of_records_inside_chunks_are_never_taken_for_records() {
    let file = File::Volume(1);
    let mut disk = TestDisk::default();
    let mut pen = Pen::create(FileKind::Volume, 1, Predecessor::default());
    let mut places = Vec::new();
    for sequence in 1..12 {
        pen.settle(&mut disk);
        // All of the file so far, at different distances from a sector's start.
        let mut body = vec![0; usize::try_from(sequence).unwrap() * 7];
        body.extend_from_slice(disk.bytes(file).unwrap());
        places.push(pen.writer.chunk(sequence, 0, &VerifiedChunk::new(body.into())));
    }
    pen.writer.seal();
    pen.settle(&mut disk);
    for Written { position, offset } in places {
        let mut disk = disk.clone();
        disk.bytes_mut(file)[usize::try_from(offset).unwrap() + 40] ^= 1;
        let found = recover(&mut disk, FileKind::Volume, &[]);
        assert_eq!(found.lost(), [(file, position, position)]);
        assert_eq!(found.positions(Standing::Durable), at(1, (2..13).filter(|at| *at != position)));
    }
}

#[test]
fn the_bytes_of_large_chunks_are_not_read() {
    let mut disk = TestDisk::default();
    let mut pen = Pen::create(FileKind::Volume, 1, Predecessor::default());
    for sequence in 1..30 {
        pen.writer.chunk(sequence, 0, &VerifiedChunk::new(vec![1; 300 << 10].into()));
    }
    pen.writer.seal();
    pen.settle(&mut disk);
    let found = recover(&mut disk, FileKind::Volume, &[]);
    assert_eq!(found.positions(Standing::Durable), at(1, 2..31));
    assert!(disk.reads <= 40, "{} reads for 29 large chunks", disk.reads);
    assert!(disk.bytes_read <= 400 << 10, "{} bytes read", disk.bytes_read);
}

fn step_bound(disk: &TestDisk, kind: FileKind) -> usize {
    let bytes: u64 = disk.files(kind).iter().map(|(_, len)| len).sum();
    // A record has 64 bytes at least, and gives a step, a note and a few reads at most.
    1_000 + 8 * usize::try_from(bytes).unwrap() / 64
}

proptest! {
    #![proptest_config(fixed_cases())]

    /// Whatever lies on the disk, even with the right checksums: recovery ends, and panics never.
    #[test]
    fn recovery_is_total(
        files in proptest::collection::btree_map(1..6u64, any_pieces(), 1..4),
        floors in proptest::collection::btree_map(0..8u64, any::<u64>(), 0..3),
        journal: bool,
    ) {
        let kind = if journal { FileKind::Journal } else { FileKind::Volume };
        let mut disk = TestDisk::default();
        for (number, pieces) in &files {
            disk.put(kind.file(*number), forge(kind, *number, pieces));
        }
        let floors: Vec<(u64, u64)> = floors.into_iter().collect();
        let found = recover(&mut disk, kind, &floors);
        prop_assert!(found.records.len() + found.notes.len() + disk.reads <= step_bound(&disk, kind));
        let mut order: Vec<(u64, u64)> = found.records.iter().map(|(number, record, _)| (*number, record.offset)).collect();
        let came = order.clone();
        order.sort_unstable();
        order.dedup();
        prop_assert_eq!(came, order, "records come once, in order");
    }

    #[test]
    fn any_bytes_are_recovered_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3_000)) {
        let mut disk = TestDisk::default();
        disk.put(ONE, bytes);
        let found = recover(&mut disk, JOURNAL, &[]);
        prop_assert_eq!(found.records.len(), 0);
        prop_assert_eq!(found.lost(), []);
    }
}

/// The head's own test: it is what ties a file to its predecessor.
#[test]
fn only_a_whole_head_at_the_start_is_a_head() {
    let stamp = Stamp::new(&KEY, JOURNAL, 2);
    let body = head(Predecessor { number: 1, position: 4, offset: 9 });
    let encode = |kind, position, bytes: &[u8]| {
        let body_len = u32::try_from(bytes.len()).unwrap();
        let header = Header { kind, boot: 1, position, sequence: 0, durable_through: 0, body_len };
        let mut record = Vec::new();
        header.encode(&stamp, 0, bytes, &mut record);
        record
    };
    assert_eq!(read_head(&stamp, &encode(Kind::Head, 1, &body.encode())), Some(body));
    assert_eq!(read_head(&stamp, &encode(Kind::Head, 2, &body.encode())), None);
    assert_eq!(read_head(&stamp, &encode(Kind::Entry, 1, &body.encode())), None);
    assert_eq!(read_head(&stamp, &encode(Kind::Head, 1, &body.encode()[..55])), None);
    assert_eq!(read_head(&stamp, &encode(Kind::Head, 1, &body.encode())[..119]), None);
    assert_eq!(read_head(&stamp, &[]), None);
}
