//! Volumes that were removed stay removed, whatever a crash brings back and whichever slot is lost.

use alloc::vec;
use alloc::vec::Vec;

use super::tests::{Start, loads, open, start};
use super::*;
use crate::disk::Slot;
use crate::disk::catalog::GOES_ON;
use crate::disk::testing::{TestDisk, rng};
use crate::keystore::store::tests::Desk;
use crate::keystore::store::{Event, Token};

const LARGE: u64 = 1 << 20;
const SLOTS: [Slot; 2] = [Slot::CatalogEven, Slot::CatalogOdd];

fn put_and_close(disk: TestDisk, boot: u64, numbers: &[u64]) -> TestDisk {
    let mut desk = open(disk, LARGE, boot);
    numbers.iter().for_each(|number| desk.put_under(*number, *number, 1));
    desk.step(Event::Close);
    desk.settle();
    desk.disk
}

/// Volume 1 has chunks 1 to 3, of which 2 and 3 are dropped, and volume 2 has chunk 4; it is to be compacted.
fn half_dead() -> Desk {
    let disk = put_and_close(TestDisk::default(), 1, &[1, 2, 3]);
    let mut desk = open(put_and_close(disk, 2, &[4]), LARGE, 3);
    desk.collect(2, [1, 4]);
    desk
}

/// Closed in good order without volume 1, and what that was.
fn compacted() -> (TestDisk, Vec<u8>) {
    let mut desk = half_dead();
    let removed = desk.disk.bytes(File::Volume(1)).unwrap().to_vec();
    desk.settle();
    desk.step(Event::Close);
    desk.settle();
    assert_eq!(numbers(&desk.disk), [2, 3]);
    (desk.disk, removed)
}

/// Stopped when so many catalogs are published.
fn stopped_after(publications: usize) -> TestDisk {
    let mut desk = half_dead();
    let mut seen = 0;
    while desk.collected.is_empty() || seen < publications {
        desk.flush();
        let publishes = matches!(desk.others.front(), Some((Token::Catalog, DiskRequest::Publish { .. })));
        if !desk.complete() && !desk.complete_read() {
            seen += usize::from(publishes);
            assert!(desk.complete_other() || desk.wake());
        }
    }
    desk.disk
}

fn numbers(disk: &TestDisk) -> Vec<u64> {
    disk.files(FileKind::Volume).into_iter().map(|(number, _)| number).collect()
}

fn knows(disk: &TestDisk, slot: Slot, volume: u64) -> bool {
    let catalog = disk.bytes(File::Slot(slot)).and_then(|bytes| Catalog::decode(FileKind::Volume, &[1; 16], bytes));
    catalog.is_some_and(|catalog| catalog.is_removed(volume))
}

fn both_know(disk: &TestDisk, volume: u64) -> bool {
    SLOTS.iter().all(|slot| knows(disk, *slot, volume))
}

fn how(boot: u64) -> Start {
    Start { volume_bytes: LARGE, boot, ..Start::default() }
}

#[test]
fn what_a_crash_brings_back_is_removed_again_whichever_slot_is_lost() {
    let (disk, removed) = compacted();
    for (slot, harm) in [(None, 0), (Some(SLOTS[0]), 0), (Some(SLOTS[1]), 0), (Some(SLOTS[0]), 1), (Some(SLOTS[1]), 1)]
    {
        let mut disk = disk.clone();
        disk.put(File::Volume(1), removed.clone());
        if let Some(slot) = slot {
            match harm {
                0 => disk.lose(File::Slot(slot)),
                _ => disk.bytes_mut(File::Slot(slot))[40] ^= 1,
            }
        }
        // The journal may still name it.
        let opened = start(&mut disk, &[(1, 3)].into(), how(4), &mut rng(0)).unwrap();
        assert_eq!(opened.damages, []);
        let told = opened.notes.iter().filter_map(|note| match note {
            Note::CatalogDamaged(File::Slot(slot)) => Some(*slot),
            _ => None,
        });
        // Nothing says that there was one before the first, or behind it.
        let expected = slot.filter(|slot| harm == 1 || *slot == Slot::CatalogOdd);
        assert_eq!(told.collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
        assert!(opened.notes.contains(&Note::RemovedAgain(File::Volume(1))));
        assert_eq!((numbers(&disk), opened.store.index().volume(1)), (vec![2, 3], None));
        assert!(both_know(&disk, 1), "the slot that was lost is written anew");
        let mut desk = Desk::new(opened.store, disk);
        assert_eq!(loads(&mut desk, 0..9), [1, 4]);
        let mut disk = desk.disk;
        let opened = start(&mut disk, &BTreeMap::new(), how(5), &mut rng(0)).unwrap();
        assert_eq!(opened.notes, [], "told once");
    }
}

#[test]
fn nothing_is_removed_before_both_slots_say_so() {
    for published in [0, 1, 2] {
        let disk = stopped_after(published);
        for doom in [0, 1, 2, 3, 9] {
            for seed in 0..4 {
                let mut disk = disk.clone();
                let opened = start(&mut disk, &BTreeMap::new(), Start { doom: Some(doom), ..how(4) }, &mut rng(seed));
                let there = numbers(&disk).contains(&1);
                assert!(there || both_know(&disk, 1), "{published} were published, {doom} writes before the end");
                assert!(doom < 9 || opened.is_some());
                // Any one slot may be lost now.
                let two = SLOTS.iter().all(|slot| disk.bytes(File::Slot(*slot)).is_some());
                for slot in SLOTS.into_iter().filter(|_| two).map(Some).chain([None]) {
                    let mut disk = disk.clone();
                    slot.into_iter().for_each(|slot| disk.lose(File::Slot(slot)));
                    assert_eq!(loads(&mut open(disk, LARGE, 5), 0..9), [1, 4], "{published} {doom} {slot:?}");
                }
            }
        }
        let disk = open(disk, LARGE, 4).disk;
        assert_eq!(numbers(&disk).contains(&1), published == 0);
        assert_eq!(both_know(&disk, 1), published > 0);
    }
}

#[test]
fn a_start_that_can_t_write_the_catalog_removes_nothing_and_reads_nothing_of_it() {
    let disk = stopped_after(1);
    for (bad, read_only) in [(Some(0), None), (Some(1), None), (None, Some(DiskError::ReadOnly))] {
        let mut disk = disk.clone();
        let opened = start(&mut disk, &BTreeMap::new(), Start { bad, read_only, ..how(4) }, &mut rng(0)).unwrap();
        let failed = Note::RemovalFailed { file: File::Slot(Slot::CatalogEven), error: DiskError::Full };
        assert_eq!(opened.notes.contains(&failed), bad.is_some());
        assert!(numbers(&disk).contains(&1) && opened.store.index().volume(1).is_none());
        let mut desk = Desk::new(opened.store, disk);
        assert_eq!(loads(&mut desk, 0..9), [1, 4]);
        let desk = open(desk.disk, LARGE, 5);
        assert!(!numbers(&desk.disk).contains(&1) && both_know(&desk.disk, 1), "the next start does it");
    }
}

#[test]
fn a_volume_that_was_not_removed_is_missed() {
    let (mut disk, _) = compacted();
    disk.lose(File::Volume(2));
    let opened = start(&mut disk, &BTreeMap::new(), how(4), &mut rng(0)).unwrap();
    let lost: Vec<File> = opened.damages.iter().map(|damage| damage.file).collect();
    assert_eq!(lost, [File::Volume(2)]);
    // It stays named, so that it is missed at the next start too, whatever is removed meanwhile.
    let mut desk = Desk::new(opened.store, disk);
    [6, 7, 8].iter().for_each(|number| desk.put_under(*number, *number, 1));
    desk.settle();
    desk.collect(2, [1, 6]);
    desk.settle();
    desk.step(Event::Compact);
    desk.settle();
    assert!(matches!(desk.compacted[..], [Ok(done)] if done.volumes > 0), "{:?}", desk.compacted);
    let mut disk = desk.disk;
    let opened = start(&mut disk, &BTreeMap::new(), how(5), &mut rng(0)).unwrap();
    assert_eq!(opened.damages.iter().map(|damage| damage.file).collect::<Vec<_>>(), [File::Volume(2)]);
}

/// What was lost of it is not in the file, so that nothing would tell of the loss any more.
#[test]
fn a_volume_that_has_lost_something_stays() {
    let disk = put_and_close(put_and_close(TestDisk::default(), 1, &[1, 2, 3]), 2, &[4]);
    let third = open(disk.clone(), LARGE, 3).located(3).place.offset;
    let mut disk = disk;
    disk.bytes_mut(File::Volume(1)).truncate(usize::try_from(third).unwrap());
    for boot in 3..5 {
        let opened = start(&mut disk, &BTreeMap::new(), how(boot), &mut rng(0)).unwrap();
        assert_eq!(opened.damages.iter().map(|damage| damage.file).collect::<Vec<_>>(), [File::Volume(1)]);
        let mut desk = Desk::new(opened.store, disk);
        desk.collect(boot, [1, 4]);
        desk.step(Event::Compact);
        desk.settle();
        assert!(matches!(desk.compacted[..], [Ok(_)]) && numbers(&desk.disk).contains(&1));
        assert_eq!(loads(&mut desk, 0..9), [1, 4]);
        disk = desk.disk;
    }
}

/// A volume that was left open ends where its successor says. When that is removed, the catalog knows.
#[test]
fn a_tail_that_was_copied_does_not_come_back_with_the_loss_of_its_copy() {
    let mut desk = open(TestDisk::default(), LARGE, 1);
    desk.put_under(1, 1, 1);
    desk.flush();
    desk.complete();
    // Nothing of volume 1 is durable, so all of it is copied.
    let mut desk = open(desk.disk, LARGE, 2);
    [2, 3].iter().for_each(|number| desk.put_under(*number, *number, 1));
    desk.step(Event::Close);
    desk.settle();
    let mut desk = open(desk.disk, LARGE, 3);
    desk.collect(2, []);
    desk.settle();
    assert_eq!(numbers(&desk.disk), [1, 3], "volume 1 is too small to be worth it");
    [8, 12].iter().for_each(|number| desk.put_under(*number, *number, 1));
    desk.step(Event::Close);
    desk.settle();
    let newest = desk.disk.bytes(File::Slot(Slot::CatalogEven)).unwrap();
    let ends = Catalog::decode(FileKind::Volume, &[1; 16], newest).unwrap().volumes;
    assert_eq!((ends[&1], ends[&3].1), ((0, 0), GOES_ON));
    let mut desk = open(desk.disk, LARGE, 4);
    desk.collect(3, []);
    desk.settle();
    assert_eq!(numbers(&desk.disk), [1, 4], "and with volume 3 the word that chunk 1 is gone");
    assert!(loads(&mut open(desk.disk, LARGE, 5), 0..20).is_empty());
}
