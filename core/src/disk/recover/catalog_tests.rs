//! Recovery of volumes of which some were removed on purpose.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::*;
use crate::disk::catalog::{Catalog, GOES_ON};
use crate::disk::testing::{KEY, Pen, Recovered, TestDisk, run};

const VOLUME: FileKind = FileKind::Volume;

/// Volumes 1 to `count`, each with three empty records that matter to nobody and a footer, and what a catalog says of
/// them. Positions: head 1, records 2 to 4, footer 5.
fn volumes(count: u64) -> (TestDisk, BTreeMap<u64, (u64, u64)>) {
    let (mut disk, mut ends, mut last) = (TestDisk::default(), BTreeMap::new(), Predecessor::default());
    for number in 1..=count {
        let mut pen = Pen::create(VOLUME, 1, last);
        assert_eq!(pen.writer.number(), number);
        (0..3).for_each(|_| _ = pen.writer.record(Kind::Empty, &[]));
        pen.writer.seal();
        pen.settle(&mut disk);
        last = pen.writer.as_predecessor();
        ends.insert(number, (last.position, last.offset));
    }
    (disk, ends)
}

fn catalog(next: u64, volumes: &BTreeMap<u64, (u64, u64)>) -> Catalog {
    Catalog { kind: FileKind::Volume, store: [3; 16], number: 2, next, volumes: volumes.clone() }
}

fn recover(disk: &mut TestDisk, floors: &[(u64, u64)], catalog: Option<Catalog>) -> Recovered {
    let recovery = Recovery::new(KEY, VOLUME, disk.files(VOLUME), floors.iter().copied().collect());
    run(catalog.into_iter().fold(recovery, Recovery::with_catalog), disk)
}

#[test]
fn what_was_removed_is_not_missing() {
    let (mut disk, mut ends) = volumes(5);
    for number in [1, 3, 4] {
        disk.lose(File::Volume(number));
        ends.remove(&number);
    }
    let floors = [(1, 4), (3, 4), (4, 4)];
    let found = recover(&mut disk, &floors, Some(catalog(6, &ends)));
    assert_eq!(found.lost(), []);
    assert_eq!(found.ending.last.number, 5);
    assert_eq!(found.ending.ends, ends);
    // Without the catalog all three are.
    let found = recover(&mut disk, &floors, None);
    let lost: Vec<File> = found.lost().iter().map(|(file, ..)| *file).collect();
    assert_eq!(lost, [File::Volume(1), File::Volume(4), File::Volume(3)]);
}

#[test]
fn what_the_catalog_names_and_is_not_there_is_missing() {
    let (mut disk, ends) = volumes(4);
    disk.lose(File::Volume(2));
    assert_eq!(recover(&mut disk, &[], Some(catalog(5, &ends))).lost(), [(File::Volume(2), 1, 5)]);
    // The last one too, which no head names; and its number is not used again.
    disk.lose(File::Volume(4));
    let found = recover(&mut disk, &[], Some(catalog(5, &ends)));
    assert_eq!(found.lost(), [(File::Volume(2), 1, 5), (File::Volume(4), 1, 5)]);
    assert_eq!(found.ending.last.number, 4);
}

#[test]
fn a_file_whose_successor_was_removed_ends_where_the_catalog_says() {
    // A volume that was left open with two records above its end, which its removed successor had.
    let mut disk = TestDisk::default();
    let mut pen = Pen::create(VOLUME, 1, Predecessor::default());
    _ = pen.writer.record(Kind::Empty, &[]);
    pen.settle(&mut disk);
    let end = (pen.writer.last_position(), pen.writer.bytes());
    for number in 2..4 {
        let drop = crate::id::VerifiedChunk::new(bytes::Bytes::from(alloc::vec![number; 100]));
        pen.writer.chunk(u64::from(number), 0, &drop);
    }
    pen.settle(&mut disk);
    let mut last = Pen::create(VOLUME, 2, Predecessor { number: 2, position: 9, offset: 900 });
    last.settle(&mut disk);
    let ends = BTreeMap::from([(1, end), (3, (1, GOES_ON))]);
    let found = recover(&mut disk, &[], Some(catalog(4, &ends)));
    assert_eq!((found.positions(Standing::Durable), found.positions(Standing::Tail)), (Vec::new(), Vec::new()));
    assert_eq!(found.ending.ends.get(&1), Some(&end));
    // Also if nothing of it was ever durable.
    let nothing = BTreeMap::from([(1, (0, 0)), (3, (1, GOES_ON))]);
    assert_eq!(recover(&mut disk, &[], Some(catalog(4, &nothing))).records.len(), 0);
    // Without that word they count, as nothing says otherwise.
    let found = recover(&mut disk, &[], Some(catalog(4, &BTreeMap::from([(1, (2, GOES_ON)), (3, (1, GOES_ON))]))));
    assert_eq!(
        (found.positions(Standing::Durable), found.positions(Standing::Doubtful)),
        (Vec::new(), Vec::from([(1, 3), (1, 4)]))
    );
}

#[test]
#[should_panic(expected = "what was removed is removed again before anything is read")]
fn a_removed_file_is_never_read() {
    let (mut disk, mut ends) = volumes(3);
    ends.remove(&2);
    let _ = recover(&mut disk, &[], Some(catalog(4, &ends)));
}
