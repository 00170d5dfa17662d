//! When checkpoints are written, and when not.

use alloc::vec;
use alloc::vec::Vec;

use crate::disk::testing::{TestDisk, rng};
use crate::disk::{DiskError, DiskRequest, File};
use crate::keystore::recover::tests::{loads, open};
use crate::keystore::store::tests::{Desk, chunk};
use crate::keystore::store::{Event, Token};
use crate::machine::Machine as _;
use crate::note::Note;

const SMALL: u64 = 2_000;
const LARGE: u64 = 1 << 20;

fn numbers(disk: &TestDisk) -> Vec<u64> {
    disk.checkpoints().into_iter().map(|(number, _)| number).collect()
}

fn volumes(disk: &TestDisk) -> Vec<u64> {
    disk.files(crate::disk::record::FileKind::Volume).into_iter().map(|(number, _)| number).collect()
}

/// Everything on the disk.
fn content(disk: &TestDisk) -> Vec<(File, Vec<u8>)> {
    let files = volumes(disk).into_iter().map(File::Volume).chain(numbers(disk).into_iter().map(File::Checkpoint));
    files.chain([File::Stage(2)]).filter_map(|file| Some((file, disk.bytes(file)?.to_vec()))).collect()
}

#[test]
fn every_finished_volume_gets_one_once_the_store_has_served_for_a_while() {
    let mut desk = Desk::empty(SMALL);
    (1..20).for_each(|number| desk.put(number, number));
    desk.settle();
    assert_eq!(numbers(&desk.disk), [], "not at once");
    desk.pass();
    desk.settle();
    let all = volumes(&desk.disk);
    let (newest, finished) = all.split_last().unwrap();
    assert!(finished.len() > 3);
    assert_eq!(numbers(&desk.disk), finished, "all but the one being written");
    let noted = |desk: &Desk| desk.notes.iter().filter(|note| matches!(note, Note::Checkpointed { .. })).count();
    assert_eq!(noted(&desk), finished.len());
    assert_eq!(desk.store.checkpoints.deadline(), None, "and then there is nothing to do");
    // Later ones as soon as they are finished.
    (20..30).for_each(|number| desk.put(number, number));
    desk.settle();
    assert!(numbers(&desk.disk).contains(newest) && noted(&desk) > finished.len());
    assert_eq!(desk.disk.bytes(File::Stage(2)), None);
}

#[test]
fn a_start_and_an_immediate_close_write_nothing() {
    let mut desk = Desk::reopened(SMALL, 1..20);
    let before = content(&desk.disk);
    desk.get(1, 1);
    desk.settle();
    assert!(desk.store.checkpoints.deadline().is_some(), "there is something to do, later");
    desk.step(Event::Close);
    desk.settle();
    assert_eq!((desk.closed, content(&desk.disk)), (1, before));
    // The next one that stays does it, the volume closed last included, and only once.
    let mut desk = open(desk.disk, SMALL, 3);
    desk.pass();
    desk.settle();
    assert_eq!(numbers(&desk.disk), volumes(&desk.disk));
    let before = content(&desk.disk);
    let mut desk = open(desk.disk, SMALL, 4);
    desk.pass();
    desk.settle();
    assert!(desk.store.checkpoints.deadline().is_none() && desk.notes.is_empty());
    assert_eq!(content(&desk.disk), before);
}

#[test]
fn a_close_waits_for_one_request_and_no_more() {
    for stop in 0.. {
        let mut desk = Desk::reopened(LARGE, 1..40);
        desk.pass();
        if !(0..stop).all(|_| desk.advance()) {
            assert!(stop > 4);
            break;
        }
        desk.flush();
        let writes = |request: &DiskRequest| !matches!(request, DiskRequest::Read { .. });
        let writing = desk.cache.front().is_some_and(writes);
        desk.step(Event::Close);
        desk.flush();
        assert_eq!(desk.closed, usize::from(!writing), "step {stop}");
        desk.complete_cache();
        desk.flush();
        assert_eq!((desk.closed, desk.cache.len(), desk.store.deadline()), (1, 0, None), "step {stop}");
        assert_eq!(loads(&mut open(desk.disk, LARGE, 3), 1..40).len(), 39);
    }
}

#[test]
fn a_write_that_fails_ends_them_quietly() {
    for stop in 0.. {
        let mut desk = Desk::reopened(SMALL, 1..20);
        desk.pass();
        let mut writes = 0;
        while writes <= stop {
            desk.flush();
            if desk.cache.front().is_some_and(|request| !matches!(request, DiskRequest::Read { .. })) {
                writes += 1;
                if writes > stop {
                    break;
                }
            }
            if !(desk.complete_cache() || desk.complete() || desk.complete_read() || desk.wake()) {
                break;
            }
        }
        if writes <= stop {
            assert!(stop > 6, "{stop} writes");
            break;
        }
        let done = numbers(&desk.disk).len();
        desk.step_cache(Err(DiskError::Full));
        desk.settle();
        let failed = desk.notes.iter().filter(|note| matches!(note, Note::CheckpointFailed { .. })).count();
        assert_eq!(
            (failed, numbers(&desk.disk).len(), desk.store.checkpoints.deadline()),
            (1, done, None),
            "write {stop}"
        );
        assert_eq!(desk.disk.bytes(File::Stage(2)), None, "the rest of it does not fill the disk");
        desk.put(99, 99);
        desk.settle();
        assert!(desk.stored.iter().all(|(_, result)| result.is_ok()) && desk.store.failed().is_none());
        let mut desk = open(desk.disk, SMALL, 3);
        desk.pass();
        desk.settle();
        assert!(numbers(&desk.disk).len() > done, "the next start goes on");
    }
}

/// Its damage must be told at every start.
#[test]
fn a_volume_that_was_harmed_since_the_start_gets_none() {
    let fresh = || Desk::reopened(LARGE, 1..20);
    let offset = |desk: &Desk, number| usize::try_from(desk.located(number).place.offset).unwrap();
    let harms: [fn(&mut Desk, usize); 4] = [
        |desk, at| desk.disk.bytes_mut(File::Volume(1))[at + 20] ^= 1,
        |desk, at| desk.disk.bytes_mut(File::Volume(1)).truncate(at),
        |desk, _| desk.disk.refuse(File::Volume(1), DiskError::Denied),
        |desk, at| desk.disk.spoil(File::Volume(1), at),
    ];
    for (which, harm) in harms.iter().enumerate() {
        let mut desk = fresh();
        let at = offset(&desk, 5);
        harm(&mut desk, at);
        desk.pass();
        desk.settle();
        assert_eq!(numbers(&desk.disk), [], "harm {which}");
        assert_eq!(desk.store.checkpoints.deadline(), None, "and it is not tried again");
        assert_eq!(desk.disk.bytes(File::Stage(2)), None);
    }
    let mut desk = fresh();
    desk.pass();
    desk.settle();
    assert_eq!(numbers(&desk.disk), [1], "without harm it does");
}

/// Volume 1 has chunks 1 to 3, of which 2 and 3 are dropped, and volume 2 has chunk 4.
fn half_dead() -> Desk {
    volumes_of(&[&[1, 2, 3], &[4]])
}

/// A volume for each group of chunks.
fn volumes_of(groups: &[&[u64]]) -> Desk {
    let mut disk = TestDisk::default();
    for (boot, group) in (1..).zip(groups) {
        let mut desk = open(disk, LARGE, boot);
        group.iter().for_each(|number| desk.put_under(*number, *number, 1));
        desk.step(Event::Close);
        desk.settle();
        disk = desk.disk;
    }
    open(disk, LARGE, groups.len() as u64 + 1)
}

#[test]
fn a_volume_that_is_removed_takes_its_checkpoint_along() {
    let mut desk = half_dead();
    desk.pass();
    desk.settle();
    assert_eq!(numbers(&desk.disk), [1, 2]);
    desk.collect(2, [1, 4]);
    desk.settle();
    assert_eq!((volumes(&desk.disk), numbers(&desk.disk)), (vec![2, 3], vec![2]));
    assert_eq!(loads(&mut desk, 0..9), [1, 4]);
}

/// At whatever step of the one the other begins.
#[test]
fn a_volume_that_is_being_compacted_is_left_alone() {
    let mut met = 0;
    for stop in 0..40 {
        let mut desk = half_dead();
        desk.pass();
        for _ in 0..stop {
            desk.flush();
            _ = desk.complete_cache() || desk.wake();
        }
        desk.collect(2, [1, 4]);
        // The compaction is fast and the checkpoint is slow.
        while {
            desk.flush();
            desk.complete() || desk.complete_read() || desk.complete_other() || desk.wake()
        } {}
        met += usize::from(!desk.cache.is_empty());
        assert!(!volumes(&desk.disk).contains(&1), "it holds up nothing");
        desk.settle();
        assert_eq!((volumes(&desk.disk), numbers(&desk.disk)), (vec![2, 3], vec![2]), "step {stop}");
        assert_eq!(desk.disk.bytes(File::Stage(2)), None);
        assert_eq!(loads(&mut open(desk.disk, LARGE, 4), 0..9), [1, 4]);
    }
    assert!(met > 2, "a checkpoint was under way {met} times");
    // One that was begun meanwhile is not of the volume that goes.
    let mut desk = half_dead();
    desk.collect(2, [1, 4]);
    loop {
        desk.flush();
        if desk.others.front().is_some_and(|(token, _)| *token == Token::Remove) {
            break;
        }
        assert!(desk.complete() || desk.complete_read() || desk.complete_other() || desk.wake());
    }
    desk.pass();
    while desk.wake() || desk.complete_cache() {
        desk.flush();
    }
    assert_eq!(numbers(&desk.disk), [2]);
}

/// What is set aside for a full disk is for the collection alone.
#[test]
fn none_is_written_while_somebody_waits_for_space() {
    let mut desk = volumes_of(&[&[1, 2, 3], &[4], &[5, 6, 7], &[8, 9, 10]]);
    desk.collect(2, [1, 4, 5, 8]);
    while desk.collected.is_empty() {
        desk.flush();
        assert!(desk.complete() || desk.complete_read() || desk.complete_other() || desk.wake());
    }
    desk.step(Event::Compact);
    desk.pass();
    let mut compacting = 0;
    loop {
        desk.flush();
        if desk.compacted.is_empty() {
            let takes = |request: &DiskRequest| !matches!(request, DiskRequest::Remove { .. });
            assert!(!desk.cache.iter().any(takes), "{:?}", desk.cache);
            compacting += 1;
        }
        if !(desk.complete() || desk.complete_read() || desk.complete_other() || desk.complete_cache() || desk.wake()) {
            break;
        }
    }
    assert!(compacting > 5 && desk.compacted.len() == 1, "{compacting} steps, {:?}", desk.compacted);
    assert_eq!(numbers(&desk.disk), volumes(&desk.disk)[..1], "and afterwards as ever");
}

#[test]
fn every_crash_on_the_way_is_survived() {
    let mut images = 0;
    let mut desk = Desk::reopened(SMALL, 1..20);
    desk.pass();
    loop {
        desk.flush();
        if !desk.cache.is_empty() {
            for seed in 0..6 {
                let mut disk = desk.disk.clone();
                disk.interrupt(&desk.cache[0], &mut rng(seed));
                let mut again = open(if seed % 2 == 0 { disk } else { disk.crash(&mut rng(seed)) }, SMALL, 9);
                assert_eq!(loads(&mut again, 1..20).len(), 19);
                images += 1;
            }
        }
        if !(desk.complete_cache() || desk.wake()) {
            break;
        }
    }
    assert!(images > 100, "{images} crashes");
    assert_eq!(desk.store.chunk_count(), 19);
    _ = chunk(1);
}

#[test]
fn one_slice_is_bounded_and_the_next_follows_at_once() {
    let mut desk = Desk::empty(LARGE);
    // Empty chunks but for their number, more than one slice looks at and one block lists.
    for number in 0..3_000_u64 {
        let bytes = number.to_le_bytes().to_vec();
        let ticket = crate::keystore::store::Ticket { owner: 1, number };
        let chunk = crate::id::VerifiedChunk::new(bytes.into());
        desk.step(Event::Put { ticket, chunk, lease: 0 });
        if number % 100 == 0 {
            desk.settle();
        }
    }
    desk.step(Event::Close);
    desk.settle();
    let mut desk = open(desk.disk, LARGE, 2);
    desk.pass();
    let (mut appends, mut before) = (0, desk.store.slices());
    loop {
        desk.flush();
        appends += usize::from(matches!(desk.cache.front(), Some(DiskRequest::Append { .. })));
        assert!(desk.store.slices() <= before + 1);
        before = desk.store.slices();
        if !(desk.complete_cache() || desk.wake()) {
            break;
        }
    }
    assert!(appends >= 3, "{appends} blocks");
    assert_eq!(numbers(&desk.disk), [1]);
    assert_eq!(open(desk.disk, LARGE, 3).store.chunk_count(), 3_000);
}
