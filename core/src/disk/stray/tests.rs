//! What is astray, and what only looks like it.

use alloc::collections::BTreeSet;
use alloc::vec;

use super::*;
use crate::disk::record::{Kind, Predecessor};
use crate::disk::testing::{KEY, Pen, TestDisk};

/// A volume or segment with this number, that has records and a footer.
fn write(disk: &mut TestDisk, kind: FileKind, number: u64) {
    let predecessor = Predecessor { number: number - 1, position: u64::from(number > 1), offset: 0 };
    let mut pen = Pen::create(kind, 1, predecessor);
    assert_eq!(pen.writer.number(), number);
    (0..3).for_each(|_| _ = pen.writer.record(Kind::Empty, &[]));
    pen.writer.seal();
    pen.settle(disk);
}

/// What sorting makes of the files, for a store with this key.
fn sort_with(key: FileKey, disk: &mut TestDisk) -> (BTreeSet<File>, Vec<Stray>, Strays) {
    let DiskReply::Listed(files) = disk.perform(&DiskRequest::List).unwrap() else { panic!("a listing lists") };
    let (mut sorting, mut noted) = (Sorting::new(key, files), Vec::new());
    loop {
        match sorting.advance() {
            SortStep::Disk(request) => sorting.done(&disk.perform(&request)),
            SortStep::Note(Note::Stray(stray)) => noted.push(stray),
            SortStep::Note(note) => panic!("sorting only tells of strays: {note}"),
            SortStep::Sorted => break,
        }
    }
    let (own, strays) = sorting.into_sorted();
    noted.sort_unstable();
    assert_eq!(noted, strays.iter().copied().collect::<Vec<_>>(), "each is told once");
    (own.into_iter().map(|(file, _)| file).collect(), noted, strays)
}

fn sort(disk: &mut TestDisk) -> (BTreeSet<File>, Vec<Stray>, Strays) {
    sort_with(KEY, disk)
}

fn rename(disk: &mut TestDisk, from: File, to: File) {
    copy(disk, from, to);
    disk.lose(from);
}

fn copy(disk: &mut TestDisk, from: File, to: File) {
    let bytes = disk.bytes(from).unwrap().to_vec();
    if disk.bytes(to).is_some() {
        disk.lose(to);
    }
    disk.put(to, bytes);
}

fn three_of_each() -> TestDisk {
    let mut disk = TestDisk::default();
    for number in 1..=3 {
        write(&mut disk, FileKind::Journal, number);
        write(&mut disk, FileKind::Volume, number);
    }
    disk.put(File::Checkpoint(2), vec![1; 500]);
    disk
}

#[test]
fn files_under_their_own_names_are_no_strays() {
    let mut disk = three_of_each();
    let all = [File::Checkpoint(2)].into_iter();
    let all = all.chain((1..=3).flat_map(|number| [File::Journal(number), File::Volume(number)])).collect();
    let (own, strays, numbers) = sort(&mut disk);
    assert_eq!((own, strays), (all, vec![]));
    assert_eq!(numbers.next(FileKind::Volume, 3), 4);
}

#[test]
fn a_file_that_was_renamed_or_copied_is_told_with_its_own_name() {
    let mut disk = three_of_each();
    rename(&mut disk, File::Volume(2), File::Volume(78));
    copy(&mut disk, File::Journal(1), File::Journal(4));
    copy(&mut disk, File::Journal(1), File::Volume(1));
    let (own, strays, numbers) = sort(&mut disk);
    assert_eq!(
        strays,
        [
            Stray { file: File::Journal(4), origin: Some(File::Journal(1)) },
            Stray { file: File::Volume(1), origin: Some(File::Journal(1)) },
            Stray { file: File::Volume(78), origin: Some(File::Volume(2)) },
        ]
    );
    let left = [File::Journal(1), File::Journal(2), File::Journal(3), File::Volume(3), File::Checkpoint(2)];
    assert_eq!(own, left.into());
    // Neither the name of a stray nor that which it should have is given to another file.
    assert_eq!(numbers.next(FileKind::Journal, 3), 5);
    assert_eq!(numbers.next(FileKind::Volume, 1), 3);
    assert_eq!(numbers.next(FileKind::Volume, 76), 77);
    assert_eq!(numbers.next(FileKind::Volume, 77), 79);
}

#[test]
fn files_of_another_store_have_no_name_here() {
    let mut disk = three_of_each();
    let (own, strays, _) = sort_with(FileKey([77; 16]), &mut disk);
    assert_eq!(own, [File::Checkpoint(2)].into());
    assert_eq!(strays.len(), 6);
    assert!(strays.iter().all(|stray| stray.origin.is_none()), "{strays:?}");
}

#[test]
fn numbers_that_no_file_gets_are_strays_unread() {
    let mut disk = TestDisk::default();
    write(&mut disk, FileKind::Volume, 1);
    disk.put(File::Volume(u64::MAX), vec![]);
    disk.put(File::Journal(FILE_NUMBER_MAX + 1), vec![0; 3]);
    disk.put(File::Journal(FILE_NUMBER_MAX), vec![0; 3]);
    let (own, strays, _) = sort(&mut disk);
    assert_eq!(own, [File::Volume(1), File::Journal(FILE_NUMBER_MAX)].into());
    let files: Vec<File> = strays.iter().map(|stray| stray.file).collect();
    assert_eq!(files, [File::Journal(FILE_NUMBER_MAX + 1), File::Volume(u64::MAX)]);
}

/// Recovery judges these: a torn beginning, rot, a disk that does not read.
#[test]
fn a_file_without_a_whole_head_is_no_stray() {
    for spoil in [0, 30, 59, 63, 80, 119] {
        let mut disk = three_of_each();
        rename(&mut disk, File::Volume(2), File::Volume(78));
        disk.bytes_mut(File::Volume(78))[spoil] ^= 1;
        assert_eq!(sort(&mut disk).1, [], "byte {spoil}");
    }
    let mut disk = three_of_each();
    rename(&mut disk, File::Volume(2), File::Volume(78));
    disk.bytes_mut(File::Volume(78)).truncate(119);
    disk.put(File::Volume(79), vec![]);
    assert_eq!(sort(&mut disk).1, []);
    let mut disk = three_of_each();
    rename(&mut disk, File::Volume(2), File::Volume(78));
    disk.spoil(File::Volume(78), 0);
    assert_eq!(sort(&mut disk).1, []);
}

/// A disk that puts a write into the wrong file leaves the records behind it.
#[test]
fn a_file_with_another_head_and_records_of_its_own_is_no_stray() {
    let mut disk = three_of_each();
    let head = disk.bytes(File::Volume(1)).unwrap()[..HEADER_LEN + HEAD_BODY_LEN].to_vec();
    disk.bytes_mut(File::Volume(2))[..head.len()].copy_from_slice(&head);
    assert_eq!(sort(&mut disk).1, []);
    // With them gone it is one.
    disk.bytes_mut(File::Volume(2)).truncate(head.len());
    assert_eq!(sort(&mut disk).1, [Stray { file: File::Volume(2), origin: Some(File::Volume(1)) }]);
}
