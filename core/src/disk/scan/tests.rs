//! The scanner's reads: how many, how long, and what it makes of those that fail.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::disk::record::{FileKind, Predecessor};
use crate::disk::testing::{KEY, Pen, TestDisk, fixed_cases};
use crate::disk::{DiskReply, DiskRequest, File, Verify};
use crate::id::VerifiedChunk;

const FILE: File = File::Journal(1);

/// A scan of everything, and the reads it took.
fn scan(disk: &mut TestDisk, kind: FileKind, len: u64) -> Vec<Scan> {
    let mut scanner = Scanner::new(Stamp::new(&KEY, kind, 1), len);
    let mut found = Vec::new();
    loop {
        match scanner.advance() {
            Scan::Read { offset, len: wanted } => {
                assert!(wanted > 0 && offset + u64::from(wanted) <= len, "reads stay within the file");
                let request = DiskRequest::Read { file: kind.file(1), offset, len: wanted, verify: Verify::None };
                match disk.perform(&request) {
                    Ok(DiskReply::Read(bytes)) => scanner.feed(Ok(&bytes)),
                    Ok(_) => panic!("a read is answered by bytes"),
                    Err(error) => scanner.feed(Err(error)),
                }
            }
            Scan::End => break,
            item @ (Scan::Record(_) | Scan::Gap(_)) => found.push(item),
        }
    }
    assert_eq!(scanner.advance(), Scan::End, "the end stays the end");
    found
}

fn positions(found: &[Scan]) -> Vec<u64> {
    let position = |item: &Scan| if let Scan::Record(record) = item { Some(record.header.position) } else { None };
    found.iter().filter_map(position).collect()
}

fn gaps(found: &[Scan]) -> Vec<Gap> {
    found.iter().filter_map(|item| if let Scan::Gap(gap) = item { Some(*gap) } else { None }).collect()
}

/// A journal of entries with bodies of these lengths.
fn journal(bodies: &[usize]) -> (TestDisk, Vec<u64>) {
    let mut disk = TestDisk::default();
    let mut pen = Pen::create(FileKind::Journal, 1, Predecessor::default());
    let offsets = bodies.iter().map(|len| pen.writer.record(Kind::Entry, &vec![0x64; *len]).offset).collect();
    pen.settle(&mut disk);
    (disk, offsets)
}

fn length(disk: &TestDisk, file: File) -> u64 {
    disk.bytes(file).unwrap().len() as u64
}

#[test]
fn long_entries_are_read_in_long_reads() {
    let (mut disk, _) = journal(&[40 << 10; 20]);
    let len = length(&disk, FILE);
    assert_eq!(positions(&scan(&mut disk, FileKind::Journal, len)).len(), 21);
    assert!(disk.reads <= 1 + (len >> 17) as usize, "{} reads of {len} bytes", disk.reads);
    assert_eq!(disk.bytes_read as u64, len, "each byte once");
}

#[test]
fn a_gap_among_large_chunks_is_searched_in_long_reads() {
    let mut disk = TestDisk::default();
    let mut pen = Pen::create(FileKind::Volume, 1, Predecessor::default());
    let chunk = VerifiedChunk::new(vec![b'd'; 1 << 20].into());
    let places: Vec<u64> = (1..5).map(|sequence| pen.writer.chunk(sequence, 0, &chunk).offset).collect();
    pen.settle(&mut disk);
    let file = File::Volume(1);
    disk.bytes_mut(file)[usize::try_from(places[2]).unwrap()] ^= 1;
    let len = length(&disk, file);
    let found = scan(&mut disk, FileKind::Volume, len);
    assert_eq!(positions(&found), [1, 2, 3, 5]);
    assert_eq!(gaps(&found), [Gap { offset: places[2], first: 4, last: Some(4), kind: DamageKind::Broken }]);
    assert!(disk.reads <= 16, "{} reads", disk.reads);
}

#[test]
fn a_sector_that_cannot_be_read_is_found_without_trying_it_again_and_again() {
    let (mut disk, offsets) = journal(&[400; 1_000]);
    let bad = 100 << 10;
    disk.spoil(FILE, bad);
    let len = length(&disk, FILE);
    let found = scan(&mut disk, FileKind::Journal, len);
    let expected: Vec<u64> = (2..)
        .zip(&offsets)
        .filter(|(_, offset)| **offset < bad as u64 + 512 && **offset + 464 > bad as u64)
        .map(|(position, _)| position)
        .collect();
    let gap = gaps(&found)[0];
    assert_eq!((gap.first, gap.last, gap.kind), (expected[0], expected.last().copied(), DamageKind::Unreadable));
    assert_eq!(gaps(&found).len(), 1);
    assert_eq!(positions(&found).len() + expected.len(), 1_001);
    assert!(disk.failed_reads <= 2, "{} failed reads", disk.failed_reads);
    assert!(disk.reads <= 300, "{} reads", disk.reads);
}

#[test]
fn a_file_that_nobody_may_read_is_one_gap() {
    for error in [DiskError::Denied, DiskError::NotFound] {
        let (mut disk, _) = journal(&[400; 1_000]);
        disk.refuse(FILE, error);
        let len = length(&disk, FILE);
        let found = scan(&mut disk, FileKind::Journal, len);
        let gap = Gap { offset: 0, first: 1, last: None, kind: DamageKind::Unreadable };
        assert_eq!(found, [Scan::Gap(gap)]);
        assert_eq!(disk.reads, 1);
    }
}

#[test]
fn a_file_that_is_shorter_than_listed_ends_where_it_ends() {
    let (mut disk, offsets) = journal(&[100, 100, 100]);
    let len = length(&disk, FILE);
    for (end, whole, gap) in [(0, 0, false), (offsets[2], 3, false), (offsets[2] + 10, 3, true), (len, 4, false)] {
        disk.bytes_mut(FILE).truncate(usize::try_from(end).unwrap());
        if end == len {
            disk = journal(&[100, 100, 100]).0;
        }
        let found = scan(&mut disk, FileKind::Journal, len);
        assert_eq!(positions(&found).len(), whole, "{end} of {len} bytes");
        let expected = Gap { offset: offsets[2], first: 4, last: None, kind: DamageKind::Truncated };
        assert_eq!(gaps(&found), if gap { vec![expected] } else { vec![] });
        disk = journal(&[100, 100, 100]).0;
    }
}

#[test]
fn a_record_of_the_wrong_position_is_no_record_there() {
    let stamp = Stamp::new(&KEY, FileKind::Journal, 1);
    // By position: what the scan must make of records that follow each other in this order.
    for (order, found_positions, missing) in [
        (vec![1, 2, 3], vec![1, 2, 3], vec![]),
        (vec![1, 4, 5], vec![1, 4, 5], vec![(2, Some(3))]),
        (vec![3], vec![3], vec![(1, Some(2))]),
        (vec![1, 2, 2, 1, 3], vec![1, 2, 3], vec![(3, Some(2))]),
        (vec![1, 2, 1], vec![1, 2], vec![(3, None)]),
        (vec![1, u64::MAX, 2], vec![1, 2], vec![(2, Some(1))]),
    ] {
        let mut bytes = Vec::new();
        for position in &order {
            let offset = bytes.len() as u64;
            let header = Header {
                kind: Kind::Empty,
                boot: 1,
                position: *position,
                sequence: 0,
                durable_through: 0,
                body_len: 0,
            };
            header.encode(&stamp, offset, &[], &mut bytes);
        }
        let mut disk = TestDisk::default();
        let len = bytes.len() as u64;
        disk.put(FILE, bytes);
        let found = scan(&mut disk, FileKind::Journal, len);
        assert_eq!(positions(&found), found_positions, "{order:?}");
        let gaps: Vec<_> = gaps(&found).iter().map(|gap| (gap.first, gap.last)).collect();
        assert_eq!(gaps, missing, "{order:?}");
    }
}

proptest! {
    #![proptest_config(fixed_cases())]

    /// Records of any length come back whole wherever the windows' edges fall, and around any stretch of bad sectors.
    #[test]
    fn windows_have_no_edges(
        bodies in proptest::collection::vec(prop_oneof![0..200usize, 0..5_000usize, 30_000..65_536usize], 1..20),
        bad in proptest::collection::vec(any::<proptest::sample::Index>(), 0..3),
    ) {
        let (mut disk, offsets) = journal(&bodies);
        let len = length(&disk, FILE);
        let bad: Vec<u64> = bad.iter().map(|at| at.index(usize::try_from(len).unwrap()) as u64 / 512).collect();
        bad.iter().for_each(|sector| disk.spoil(FILE, usize::try_from(sector * 512).unwrap()));
        let found = scan(&mut disk, FileKind::Journal, len);
        let readable = |offset: u64, end: u64| !bad.iter().any(|sector| offset < sector * 512 + 512 && end > sector * 512);
        let ends = offsets.iter().skip(1).copied().chain([len]);
        let whole = (2..).zip(offsets.iter().zip(ends)).filter(|(_, (offset, end))| readable(**offset, *end));
        let mut expected: Vec<u64> = whole.map(|(position, _)| position).collect();
        if readable(0, offsets[0]) {
            expected.insert(0, 1);
        }
        prop_assert_eq!(positions(&found), expected);
        prop_assert!(gaps(&found).iter().all(|gap| gap.kind == DamageKind::Unreadable));
        for item in &found {
            if let Scan::Record(record) = item {
                prop_assert!(record.header.kind == Kind::Head || record.covered.iter().all(|byte| *byte == 0x64));
            }
        }
    }
}
