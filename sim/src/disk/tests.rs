//! What a crash may leave, and what it may not.

use std::collections::BTreeSet;

use bytes::Bytes;
use dps_core::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Slot, Verify};
use dps_core::id::ChunkId;
use dps_core::rng::Seed;

use super::*;

const FILE: File = File::Volume(1);

fn disk(number: u64) -> Disk {
    Disk::new(Seed::new([11; 32]).split("test", number), DiskOptions::default())
}

fn append(disk: &mut Disk, file: File, offset: u64, bytes: &[u8]) -> DiskResult {
    disk.perform_now(&DiskRequest::Append { file, offset, parts: vec![Bytes::copy_from_slice(bytes)] })
}

fn sync(disk: &mut Disk, file: File, directory: bool) -> DiskResult {
    disk.perform_now(&DiskRequest::Sync { file, directory })
}

/// A disk with one durable file of 700 ones, to which 3,000 twos were appended without a sync.
fn half_synced(number: u64) -> Disk {
    partly_synced(number, 3_000)
}

fn partly_synced(number: u64, unsynced: usize) -> Disk {
    let mut disk = disk(number);
    append(&mut disk, FILE, 0, &[1; 700]).unwrap();
    sync(&mut disk, FILE, true).unwrap();
    append(&mut disk, FILE, 700, &vec![2; unsynced]).unwrap();
    disk
}

#[test]
fn any_subset_of_unsynced_sectors_survives_and_what_was_durable_never_changes() {
    let (mut lengths, mut holes, mut torn) = (BTreeSet::new(), 0, 0);
    for number in 0..400 {
        let mut disk = partly_synced(number, 1_000);
        disk.crash(Survive::Random);
        let bytes = disk.bytes(FILE).unwrap();
        assert!(bytes[..700].iter().all(|byte| *byte == 1), "a durable byte changed");
        assert!(bytes[700..].iter().all(|byte| *byte == 2 || *byte == 0), "a byte that nobody wrote");
        assert!(bytes.len() <= 1_700 && bytes.last() != Some(&0), "the length follows what survives");
        lengths.insert(bytes.len());
        holes += u32::from(bytes[700..].contains(&0));
        torn += u32::from(!bytes.len().is_multiple_of(SECTOR_BYTES) && bytes.len() != 700 && bytes.len() != 1_700);
    }
    assert!(lengths.contains(&700) && lengths.contains(&1_700), "nothing and everything are subsets too");
    assert!(lengths.len() > 20 && holes > 50 && torn > 20, "{} lengths, {holes} holes, {torn} torn", lengths.len());
}

#[test]
fn the_modes_of_a_crash_keep_all_nothing_or_a_prefix() {
    for number in 0..50 {
        let mut all = half_synced(number);
        all.crash(Survive::All);
        assert_eq!(all.bytes(FILE).unwrap().len(), 3_700);
        let mut none = half_synced(number);
        none.crash(Survive::None);
        assert_eq!(none.bytes(FILE).unwrap(), [1; 700]);
        let mut prefix = half_synced(number);
        prefix.crash(Survive::Prefix);
        let bytes = prefix.bytes(FILE).unwrap();
        let good = bytes[700..].iter().take_while(|byte| **byte == 2).count();
        assert!(bytes.len() - 700 - good <= SECTOR_BYTES, "only the last sector is torn");
    }
}

#[test]
fn a_killed_process_loses_nothing_but_makes_nothing_durable() {
    let mut disk = half_synced(1);
    disk.kill();
    assert_eq!(disk.bytes(FILE).unwrap().len(), 3_700);
    disk.crash(Survive::None);
    assert_eq!(disk.bytes(FILE).unwrap().len(), 700);
}

#[test]
fn without_a_directory_sync_a_synced_file_may_be_gone() {
    let survives = |directory: bool| {
        (0..100).filter(move |number| {
            let mut disk = disk(*number);
            append(&mut disk, FILE, 0, b"x").unwrap();
            sync(&mut disk, FILE, directory).unwrap();
            disk.crash(Survive::Random);
            disk.bytes(FILE).is_some()
        })
    };
    assert_eq!(survives(true).count(), 100);
    assert!((20..80).contains(&survives(false).count()), "its creation happened or not");
}

#[test]
fn a_removal_may_be_undone_until_the_directory_is_synced() {
    let back = (0..100).filter(|number| {
        let mut disk = half_synced(*number);
        disk.perform_now(&DiskRequest::Remove { file: FILE }).unwrap();
        assert_eq!(disk.bytes(FILE), None);
        disk.crash(Survive::Random);
        disk.bytes(FILE).is_some()
    });
    assert!((20..80).contains(&back.count()));
    let mut disk = half_synced(1);
    disk.perform_now(&DiskRequest::Remove { file: FILE }).unwrap();
    append(&mut disk, File::Volume(2), 0, b"x").unwrap();
    sync(&mut disk, File::Volume(2), true).unwrap();
    disk.crash(Survive::None);
    assert_eq!(disk.files(), [(File::Volume(2), 1)]);
}

#[test]
fn a_publication_is_atomic_and_in_flight_it_may_lose_its_rename() {
    let slot = File::Slot(Slot::BootOdd);
    let mut outcomes = BTreeSet::new();
    for number in 0..200 {
        let mut disk = disk(number);
        append(&mut disk, File::Stage(1), 0, b"old").unwrap();
        disk.perform_now(&DiskRequest::Publish { stage: 1, to: slot }).unwrap();
        append(&mut disk, File::Stage(2), 0, b"new").unwrap();
        disk.issue(0, DiskRequest::Publish { stage: 2, to: slot });
        assert_eq!(disk.crash(Survive::Random), 1);
        let bytes = disk.bytes(slot).expect("one of the two is always there").to_vec();
        assert!(bytes == b"old" || bytes == b"new", "{bytes:?}");
        outcomes.insert((bytes, disk.bytes(File::Stage(2)).is_some()));
    }
    assert!(outcomes.len() >= 3, "{outcomes:?}");
}

#[test]
fn after_a_failed_sync_a_later_good_one_proves_nothing() {
    let mut lost = 0;
    for number in 0..100 {
        let mut disk = half_synced(number);
        disk.arm_failed_sync(FileClass::Volume);
        assert_eq!(sync(&mut disk, FILE, false), Err(WRITE_ERROR));
        assert!(disk.has_refused(FILE, WRITE_ERROR));
        assert_eq!(disk.bytes(FILE).unwrap()[700..], [2; 3_000], "readers still see it");
        assert_eq!(sync(&mut disk, FILE, false), Ok(DiskReply::Done));
        disk.crash(Survive::All);
        lost += u32::from(disk.bytes(FILE).unwrap().len() < 3_700 || disk.bytes(FILE).unwrap()[700..].contains(&0));
    }
    assert!(lost > 80, "in {lost} of 100 disks something is lost");
}

#[test]
fn requests_in_flight_reach_the_disk_in_the_order_of_their_file() {
    let mut lengths = BTreeSet::new();
    for number in 0..100 {
        let mut disk = disk(number);
        for (offset, byte) in [(0, 1), (600, 2), (1_200, 3)] {
            disk.issue(0, DiskRequest::Append { file: FILE, offset, parts: vec![Bytes::from(vec![byte; 600])] });
        }
        disk.kill();
        let bytes = disk.bytes(FILE).unwrap_or(&[]);
        assert_eq!(bytes.len() % 600, 0);
        assert!(bytes.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at / 600 + 1));
        lengths.insert(bytes.len());
    }
    assert_eq!(lengths, BTreeSet::from([0, 600, 1_200, 1_800]));
}

#[test]
fn one_files_writes_complete_in_order_and_reads_do_not_wait() {
    let mut disk = disk(1);
    let mut ends = Vec::new();
    for offset in 0..20 {
        let request = DiskRequest::Append { file: FILE, offset, parts: vec![Bytes::from_static(b"x")] };
        ends.push(disk.issue(0, request));
    }
    assert!(ends.is_sorted_by_key(|(_, done)| *done));
    let last = ends.last().unwrap().1;
    let (ticket, done) = disk.issue(0, DiskRequest::List);
    assert!(done < last, "a listing waits for nobody");
    assert_eq!(disk.complete(done, ticket), Ok(DiskReply::Listed(Vec::new())));
}

#[test]
fn damage_is_done_only_within_the_budget_and_on_record() {
    let mut disk = half_synced(3);
    append(&mut disk, File::Journal(1), 0, &[3; 600]).unwrap();
    sync(&mut disk, File::Journal(1), true).unwrap();
    assert!(!disk.rot(FileClass::Journal), "nothing of the journal is known settled");
    append(&mut disk, File::Journal(1), 600, &[4; 64]).unwrap();
    sync(&mut disk, File::Journal(1), false).unwrap();
    disk.settled();
    for _ in 0..50 {
        assert!(disk.rot(FileClass::Journal));
    }
    assert!(disk.harms(File::Journal(1)).iter().all(|harm| harm.end <= 600), "the settling record is spared");
    assert!(!disk.rot(FileClass::Slot), "there is no boot record");
    assert!(!disk.is_class_harmed(FileClass::Volume, 0));
}

#[test]
fn rot_and_bad_sectors_reach_readers_and_survive_crashes() {
    let mut disk = disk(4);
    append(&mut disk, FILE, 0, &[1; 2_048]).unwrap();
    sync(&mut disk, FILE, true).unwrap();
    assert!(disk.rot(FileClass::Volume));
    disk.crash(Survive::None);
    assert_eq!(disk.bytes(FILE).unwrap().iter().filter(|byte| **byte != 1).count(), 1);
    let harm = disk.harms(FILE)[0];
    assert!(disk.is_harmed(FILE, &(harm.first..harm.end), 0));
    assert!(!disk.is_harmed(FILE, &(harm.end..2_048), 0) && !disk.is_harmed(FILE, &(0..2_048), disk.stamp()));
    assert!(disk.lose_sector(FileClass::Volume));
    let whole = DiskRequest::Read { file: FILE, offset: 0, len: 2_048, verify: Verify::None };
    assert_eq!(disk.perform_now(&whole), Err(READ_ERROR));
}

#[test]
fn a_misdirected_sector_is_missing_here_and_spoils_another_place() {
    let mut disk = disk(5);
    append(&mut disk, FILE, 0, &[1; 2_048]).unwrap();
    sync(&mut disk, FILE, true).unwrap();
    append(&mut disk, File::Volume(2), 0, &[2; 2_048]).unwrap();
    disk.arm_stray();
    sync(&mut disk, File::Volume(2), true).unwrap();
    assert_eq!(disk.bytes(File::Volume(2)).unwrap().iter().filter(|byte| **byte == 0).count(), SECTOR_BYTES);
    assert!(!disk.harms(File::Volume(2)).is_empty());
    let spoilt = disk.bytes(FILE).unwrap().iter().filter(|byte| **byte == 2).count();
    let elsewhere = usize::from(disk.harms(FILE).is_empty());
    assert_eq!(spoilt + elsewhere * SECTOR_BYTES, SECTOR_BYTES);
}

#[test]
fn a_full_disk_keeps_part_of_an_append_and_still_reads() {
    let mut disk = half_synced(6);
    disk.fill(10);
    assert_eq!(append(&mut disk, FILE, 3_700, &[5; 900]), Err(DiskError::Full));
    assert!((3_700..=4_600).contains(&disk.bytes(FILE).unwrap().len()));
    assert!(disk.is_refusing(true) && disk.has_refused(FILE, DiskError::Full));
    disk.heal();
    assert_eq!(append(&mut disk, File::Volume(2), 0, b"x"), Ok(DiskReply::Done));
}

#[test]
fn a_removal_fails_once_and_space_is_missing_once() {
    for number in 0..20 {
        let mut disk = half_synced(number);
        disk.arm_failed_removal();
        assert_eq!(disk.perform_now(&DiskRequest::Remove { file: FILE }), Err(WRITE_ERROR));
        assert!(disk.bytes(FILE).is_some() && disk.has_refused(FILE, WRITE_ERROR));
        disk.arm_no_space(FileClass::Volume);
        let results = [append(&mut disk, FILE, 3_700, &[3; 9]), sync(&mut disk, FILE, false)];
        let full = results.iter().filter(|result| **result == Err(DiskError::Full)).count();
        assert_eq!(full, 1, "it meets the append or the sync");
        assert!(disk.is_refusing(true));
        assert_eq!(sync(&mut disk, FILE, false), Ok(DiskReply::Done));
        assert_eq!(disk.perform_now(&DiskRequest::Remove { file: FILE }), Ok(DiskReply::Done));
        assert!(disk.bytes(FILE).is_none());
    }
}

#[test]
fn the_rules_of_requests_are_those_of_a_real_disk() {
    let mut disk = half_synced(7);
    assert_eq!(append(&mut disk, FILE, 0, b"x"), Err(DiskError::Exists));
    assert_eq!(append(&mut disk, File::Volume(9), 4, b"x"), Err(DiskError::NotFound));
    assert_eq!(sync(&mut disk, File::Volume(9), false), Err(DiskError::NotFound));
    assert_eq!(append(&mut disk, FILE, 5, b"x"), Err(DiskError::Io(NOT_AT_END)));
    assert_eq!(disk.take_misuse().len(), 1);
    let read = |offset, len, verify| DiskRequest::Read { file: FILE, offset, len, verify };
    assert_eq!(disk.perform_now(&read(3_699, 9, Verify::None)), Ok(DiskReply::Read(Bytes::from_static(&[2]))));
    assert_eq!(disk.perform_now(&read(9_999, 9, Verify::None)), Ok(DiskReply::Read(Bytes::new())));
    let id = ChunkId::of(&[1; 4]);
    assert!(
        matches!(disk.perform_now(&read(0, 4, Verify::Chunk(id))), Ok(DiskReply::Verified(chunk)) if chunk.id() == id)
    );
    assert_eq!(disk.perform_now(&read(700, 4, Verify::Chunk(id))), Ok(DiskReply::Mismatch));
    assert_eq!(disk.perform_now(&DiskRequest::Remove { file: File::Volume(9) }), Ok(DiskReply::Done));
}

#[test]
fn a_disk_has_a_capacity_and_its_reserve_counts() {
    let mut disk = disk(1);
    disk.set_capacity(1_000);
    append(&mut disk, FILE, 0, &[1; 600]).unwrap();
    assert_eq!(disk.perform_now(&DiskRequest::Space), Ok(DiskReply::Space { total: 1_000, available: 400 }));
    let reserve = |bytes| DiskRequest::Allocate { file: File::Reserve, bytes };
    assert_eq!(disk.perform_now(&reserve(300)), Ok(DiskReply::Done));
    assert_eq!(append(&mut disk, FILE, 600, &[1; 101]), Err(DiskError::Full));
    disk.crash(Survive::None);
    assert!(disk.files().contains(&(File::Reserve, 300)), "an allocation is durable");
    assert_eq!(disk.perform_now(&reserve(2_000)), Err(DiskError::Full));
    assert!(disk.bytes(File::Reserve).is_none(), "what does not fit is given back");
    let whole = DiskReply::Space { total: 1_000, available: 1_000 };
    assert_eq!(disk.perform_now(&DiskRequest::Space), Ok(whole));
}
