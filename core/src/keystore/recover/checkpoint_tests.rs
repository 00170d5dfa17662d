//! A start with checkpoints finds what one without them finds, whatever they are.

use alloc::vec;
use alloc::vec::Vec;

use super::tests::{Opened, Start, loads, open, start};
use super::*;
use crate::disk::Slot;
use crate::disk::record::HEADER_LEN;
use crate::disk::testing::{TestDisk, rng};
use crate::keystore::index::{Located, VolumeUse};
use crate::keystore::store::Event;
use crate::keystore::store::tests::{Desk, chunk};

const LARGE: u64 = 1 << 20;

fn close(mut desk: Desk) -> TestDisk {
    desk.step(Event::Close);
    desk.settle();
    assert_eq!(desk.closed, 1);
    desk.disk
}

/// Volumes 1 to 3, with chunks, marks and drops, all with checkpoints; and nothing left to compact.
fn checkpointed() -> TestDisk {
    let mut desk = open(TestDisk::default(), LARGE, 1);
    (1..12).for_each(|number| desk.put_under(number, number, 1));
    let mut desk = open(close(desk), LARGE, 2);
    [1, 2, 3].iter().for_each(|number| desk.touch(*number, *number, 3));
    (12..18).for_each(|number| desk.put_under(number, number, number % 2));
    desk.settle();
    desk.collect(2, (1..18).filter(|number| ![4, 12].contains(number)));
    desk.settle();
    let mut desk = open(close(desk), LARGE, 3);
    (18..22).for_each(|number| desk.put_under(number, number, 3));
    let mut desk = open(close(desk), LARGE, 4);
    desk.pass();
    desk.settle();
    assert_eq!(numbers(&desk.disk), [1, 2, 3]);
    close(desk)
}

fn numbers(disk: &TestDisk) -> Vec<u64> {
    disk.checkpoints().into_iter().map(|(number, _)| number).collect()
}

fn how(boot: u64) -> Start {
    Start { volume_bytes: LARGE, boot, ..Start::default() }
}

type Known = (Vec<(crate::id::ChunkId, Located)>, Vec<(u64, VolumeUse)>, Vec<Damage>);

fn known(opened: &Opened) -> Known {
    let index = opened.store.index();
    index.check();
    (index.walk(None).collect(), index.volumes().collect(), opened.damages.clone())
}

/// What a start finds that scans all volumes.
fn scanned(disk: &TestDisk, floors: &BTreeMap<u64, u64>) -> Known {
    let mut disk = disk.clone();
    numbers(&disk).into_iter().for_each(|number| disk.lose(File::Checkpoint(number)));
    known(&start(&mut disk, floors, how(5), &mut rng(0)).unwrap())
}

/// Starts, finds what a start without checkpoints finds, and says which checkpoints were of no use.
fn useless(disk: &TestDisk, floors: &BTreeMap<u64, u64>) -> Vec<u64> {
    let mut disk = disk.clone();
    let expected = scanned(&disk, floors);
    let opened = start(&mut disk, floors, how(5), &mut rng(0)).unwrap();
    assert_eq!(known(&opened), expected);
    let useless = |note: &Note| if let Note::CheckpointUnusable { volume } = note { Some(*volume) } else { None };
    opened.notes.iter().filter_map(useless).collect()
}

fn none() -> BTreeMap<u64, u64> {
    BTreeMap::new()
}

#[test]
fn only_heads_are_read_of_volumes_that_have_one() {
    let mut disk = checkpointed();
    assert_eq!(useless(&disk, &none()), []);
    disk.bytes_read_of.clear();
    let opened = start(&mut disk, &none(), how(5), &mut rng(0)).unwrap();
    assert_eq!(opened.notes, []);
    for volume in 1..=3 {
        assert!(disk.bytes_read_of[&File::Volume(volume)] <= HEADER_LEN + 56, "volume {volume}");
    }
    let mut desk = Desk::new(opened.store, disk);
    assert_eq!(loads(&mut desk, 0..30), (1..22).filter(|number| ![4, 12].contains(number)).collect::<Vec<_>>());
    // The next volume goes on where the last one ends, and a start without checkpoints understands that.
    desk.put(50, 50);
    let disk = close(desk);
    assert_eq!(disk.files(FileKind::Volume).len(), 4);
    assert_eq!(useless(&disk, &none()), []);
}

#[test]
fn one_that_is_not_whole_or_not_of_this_volume_is_of_no_use() {
    let disk = checkpointed();
    for volume in 1..=3 {
        let file = File::Checkpoint(volume);
        let whole = disk.bytes(file).unwrap().to_vec();
        let other = disk.bytes(File::Checkpoint(1 + volume % 3)).unwrap().to_vec();
        let mut harmed: Vec<Vec<u8>> = (0..whole.len()).step_by(7).map(|len| whole[..len].to_vec()).collect();
        harmed.extend((0..whole.len()).step_by(5).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            bytes
        }));
        harmed.push(other);
        for bytes in harmed {
            let mut disk = disk.clone();
            *disk.bytes_mut(file) = bytes;
            assert_eq!(useless(&disk, &none()), [volume]);
        }
        let mut unreadable = disk.clone();
        unreadable.refuse(file, DiskError::Denied);
        assert_eq!(useless(&unreadable, &none()), [volume]);
        let mut missing = disk.clone();
        missing.lose(file);
        assert_eq!(useless(&missing, &none()), [], "nobody misses one");
        // It is written anew, over what is there.
        let mut desk = {
            let mut disk = disk.clone();
            *disk.bytes_mut(file) = whole[..whole.len() / 2].to_vec();
            let opened = start(&mut disk, &none(), how(5), &mut rng(0)).unwrap();
            Desk::new(opened.store, disk)
        };
        desk.pass();
        desk.settle();
        assert_eq!(desk.disk.bytes(file).unwrap(), whole);
    }
}

#[test]
fn one_of_another_store_is_of_no_use() {
    let disk = checkpointed();
    for (store, key) in [([9; 16], None), ([1; 16], Some([9; 16]))] {
        let mut foreign = disk.clone();
        // The same volume of a store that was copied and went on under another name or secret.
        let mut maker = crate::disk::checkpoint::Maker::new(
            &key.map_or(crate::disk::testing::KEY, crate::disk::record::FileKey),
            1,
        );
        assert_eq!(maker.block(), None);
        let volume_bytes = disk.bytes(File::Volume(1)).unwrap().len() as u64;
        let (position, offset) = ends(&disk)[&1];
        let subject = crate::disk::checkpoint::Subject { store, volume: 1, volume_bytes, position, offset };
        let blocks = maker.into_last_blocks(&subject);
        *foreign.bytes_mut(File::Checkpoint(1)) = blocks.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        assert_eq!(useless(&foreign, &none()), [1]);
    }
}

fn ends(disk: &TestDisk) -> BTreeMap<u64, (u64, u64)> {
    crate::disk::testing::recover(&mut disk.clone(), FileKind::Volume, &[]).ending.ends
}

#[test]
fn a_volume_that_is_not_as_it_was_is_scanned_and_its_damage_told() {
    let disk = checkpointed();
    for volume in 1..=3 {
        let len = disk.bytes(File::Volume(volume)).unwrap().len();
        for cut in [1, 64, 65, 200] {
            let mut disk = disk.clone();
            disk.bytes_mut(File::Volume(volume)).truncate(len - cut);
            assert_eq!(useless(&disk, &none()), [volume], "volume {volume} without its last {cut} bytes");
            let floors = [(volume, 4)].into();
            assert_eq!(useless(&disk, &floors), [volume]);
        }
        let mut disk = disk.clone();
        disk.bytes_mut(File::Volume(volume))[20] ^= 1;
        assert!(!scanned(&disk, &none()).2.is_empty(), "a head is damage");
        assert!(useless(&disk, &none()).contains(&volume));
    }
    // What others know of its end is another thing than what the checkpoint says.
    let last = ends(&disk)[&3].0;
    assert_eq!(useless(&disk, &[(3, last)].into()), []);
    assert_eq!(useless(&disk, &[(3, last + 9)].into()), [3], "a floor above it");
    assert!(!scanned(&disk, &[(3, last + 9)].into()).2.is_empty());
}

#[test]
fn damage_is_told_at_every_start() {
    let mut disk = checkpointed();
    disk.lose(File::Checkpoint(1));
    let at = usize::try_from(open(disk.clone(), LARGE, 5).located(3).place.offset).unwrap();
    disk.bytes_mut(File::Volume(1))[at + 9] ^= 1;
    for boot in 5..8 {
        let opened = start(&mut disk, &none(), how(boot), &mut rng(0)).unwrap();
        assert_eq!(opened.damages.iter().map(|damage| damage.file).collect::<Vec<_>>(), [File::Volume(1)]);
        let mut desk = Desk::new(opened.store, disk);
        desk.pass();
        desk.settle();
        assert_eq!(numbers(&desk.disk), [2, 3]);
        disk = close(desk);
    }
}

#[test]
fn one_without_its_volume_goes_at_a_start_that_may_write() {
    let disk = checkpointed();
    let mut lost = disk.clone();
    lost.lose(File::Volume(2));
    let read_only = Start { read_only: Some(DiskError::ReadOnly), ..how(5) };
    let opened = start(&mut lost, &none(), read_only, &mut rng(0)).unwrap();
    assert_eq!((numbers(&lost), opened.damages.len()), (vec![1, 2, 3], 1));
    let opened = start(&mut lost, &none(), how(5), &mut rng(0)).unwrap();
    assert_eq!((numbers(&lost), opened.damages.len()), (vec![1, 3], 1), "the volume is missed all the same");
    assert_eq!(opened.store.index().get(&chunk(13).id()), None, "nothing of it is indexed");
}

#[test]
fn a_removed_volume_is_not_indexed_again() {
    let before = checkpointed();
    let mut desk = open(before.clone(), LARGE, 5);
    desk.collect(9, (6..22).filter(|number| *number > 11));
    desk.settle();
    desk.step(Event::Compact);
    desk.settle();
    let disk = close(desk);
    assert!(disk.bytes(File::Volume(1)).is_none() && disk.bytes(File::Checkpoint(1)).is_none());
    let expected = known(&start(&mut disk.clone(), &none(), how(6), &mut rng(0)).unwrap());
    for (volume, checkpoint) in [(true, true), (false, true), (true, false)] {
        for slot in [None, Some(Slot::CatalogEven), Some(Slot::CatalogOdd)] {
            let mut disk = disk.clone();
            for (file, back) in [(File::Volume(1), volume), (File::Checkpoint(1), checkpoint)] {
                if back {
                    disk.put(file, before.bytes(file).unwrap().to_vec());
                }
            }
            slot.into_iter().for_each(|slot| disk.lose(File::Slot(slot)));
            let opened = start(&mut disk, &none(), how(6), &mut rng(0)).unwrap();
            assert_eq!(known(&opened), expected, "{volume} {checkpoint} {slot:?}");
            assert!(disk.bytes(File::Volume(1)).is_none() && disk.bytes(File::Checkpoint(1)).is_none());
        }
    }
}

/// A store that was killed just after the footer was written, and loses the footer when the power goes as well.
#[test]
fn one_that_is_of_a_footer_that_was_never_synced_does_no_harm() {
    let mut desk = open(TestDisk::default(), LARGE, 1);
    (1..6).for_each(|number| desk.put(number, number));
    desk.step(Event::Close);
    while desk.closed == 0 {
        desk.flush();
        let last = desk.queue.len() == 1 && desk.stored.len() == 5;
        if last && matches!(desk.queue[0].1, DiskRequest::Sync { .. }) {
            break;
        }
        assert!(desk.advance());
    }
    let mut desk = open(desk.disk, LARGE, 2);
    desk.pass();
    desk.settle();
    assert_eq!(numbers(&desk.disk), [1]);
    assert_eq!(useless(&desk.disk, &none()), []);
    let mut cut = desk.disk.clone();
    let len = cut.bytes(File::Volume(1)).unwrap().len();
    cut.bytes_mut(File::Volume(1)).truncate(len - HEADER_LEN);
    assert_eq!(loads(&mut open(cut, LARGE, 3), 1..9), [1, 2, 3, 4, 5]);
    let mut zeros = desk.disk;
    zeros.bytes_mut(File::Volume(1))[len - HEADER_LEN..].fill(0);
    assert_eq!(loads(&mut open(zeros, LARGE, 3), 1..9), [1, 2, 3, 4, 5]);
}
