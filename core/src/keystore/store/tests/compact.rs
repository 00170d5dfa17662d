//! Compaction: which volumes go, what is kept of them, and in what order it all happens.

use super::*;
use crate::disk::Slot;
use crate::disk::catalog::Catalog;
use crate::disk::record::FileKind;
use crate::disk::record::Kind;
use crate::disk::record::volume::{DropRecord, MarkRecord};
use crate::disk::recover::Recovery as Files;
use crate::disk::scan::Record;
use crate::disk::testing::{KEY, rng, run};
use crate::keystore::recover::tests::{doubtful, loads, open};
use crate::limits::COMPACT_LOADS_MAX;

/// Volumes 1, 2 and so on with these chunks under lease 1, each written by a boot of its own.
fn volumes(groups: &[&[u64]]) -> TestDisk {
    let mut disk = TestDisk::default();
    for (boot, group) in (1..).zip(groups) {
        let mut desk = open(disk, LARGE, boot);
        group.iter().for_each(|number| desk.put_under(*number, *number, 1));
        disk = close(desk);
    }
    disk
}

fn close(mut desk: Desk) -> TestDisk {
    desk.step(Event::Close);
    desk.settle();
    assert!(desk.closed == 1 && desk.stored.iter().all(|(_, result)| result.is_ok()));
    desk.disk
}

/// What the slots say.
fn catalogs(disk: &TestDisk) -> [Option<Catalog>; 2] {
    [Slot::CatalogEven, Slot::CatalogOdd].map(|slot| {
        disk.bytes(File::Slot(slot))
            .map(|bytes| Catalog::decode(FileKind::Volume, &[1; 16], bytes).expect("a whole catalog"))
    })
}

/// Whether both slots say that a volume is gone.
fn is_removed(disk: &TestDisk, volume: u64) -> bool {
    catalogs(disk).iter().all(|catalog| catalog.as_ref().is_some_and(|catalog| catalog.is_removed(volume)))
}

fn numbers(disk: &TestDisk) -> Vec<u64> {
    disk.files(FileKind::Volume).into_iter().map(|(number, _)| number).collect()
}

fn removed(desk: &Desk) -> Vec<u64> {
    let volume = |note: &Note| match note {
        Note::VolumeRemoved { volume, .. } => Some(*volume),
        _ => None,
    };
    desk.notes.iter().filter_map(volume).collect()
}

/// The records that say something of chunks, with their volumes.
fn records(disk: &mut TestDisk) -> Vec<(u64, Record)> {
    let files = Files::new(KEY, FileKind::Volume, disk.files(FileKind::Volume), BTreeMap::new());
    let newest = catalogs(disk).into_iter().flatten().max_by_key(|catalog| catalog.number);
    let found = run(newest.into_iter().fold(files, Files::with_catalog), disk);
    assert_eq!(found.lost(), []);
    found.records.into_iter().map(|(number, record, _)| (number, record)).collect()
}

fn drops(disk: &mut TestDisk) -> Vec<(u64, u64, DropRecord)> {
    let records = records(disk);
    let drops = records.iter().filter(|(_, record)| record.header.kind == Kind::Drop);
    drops.map(|(at, record)| (*at, record.header.sequence, DropRecord::decode(&record.covered).unwrap())).collect()
}

/// Goes on to the end and shows each request of the compaction before it is performed.
fn drive(desk: &mut Desk, mut look: impl FnMut(&mut Desk, &(Token, DiskRequest))) {
    loop {
        desk.flush();
        if desk.complete() || desk.complete_read() {
            continue;
        }
        if let Some(next) = desk.others.front().cloned() {
            look(desk, &next);
            desk.complete_other();
        } else if !desk.wake() {
            break;
        }
    }
}

/// Goes on until the next request of a compaction is one of these.
fn drive_to(desk: &mut Desk, token: Token) {
    loop {
        desk.flush();
        if desk.others.front().is_some_and(|(next, _)| *next == token) {
            return;
        }
        assert!(
            desk.complete() || desk.complete_read() || desk.complete_other() || desk.wake(),
            "{token:?} never came"
        );
    }
}

/// Volume 1 has chunks 1 to 3, of which 2 and 3 are dropped, and volume 2 has chunk 4.
fn half_dead() -> Desk {
    let mut desk = open(volumes(&[&[1, 2, 3], &[4]]), LARGE, 3);
    desk.collect(2, [1, 4]);
    while desk.collected.is_empty() {
        assert!(desk.advance());
    }
    desk
}

#[test]
fn a_volume_half_dead_goes_and_what_is_needed_of_it_stays_as_it_was() {
    let mut desk = half_dead();
    let before = desk.located(1);
    desk.settle();
    assert_eq!((removed(&desk), numbers(&desk.disk)), (vec![1], vec![2, 3]));
    let after = desk.located(1);
    assert_eq!((before.place.volume, after.place.volume), (1, 3));
    assert_eq!((after.sequence, after.mark, after.raised_in), (before.sequence, 1, None));
    assert_eq!(loads(&mut desk, 0..9), [1, 4]);
    assert_eq!((desk.store.usage().drops, &desk.compacted[..]), (0, &[][..]), "nothing is left to be dropped");
    let mut desk = open(close(desk), LARGE, 4);
    assert_eq!((desk.located(1).sequence, desk.located(1).mark), (before.sequence, 1));
    assert_eq!((loads(&mut desk, 0..9), desk.store.usage().drops), (vec![1, 4], 0));
}

#[test]
fn both_slots_say_so_before_a_volume_is_removed_and_every_crash_is_survived() {
    let mut desk = half_dead();
    let (mut seen, mut images) = (vec![], 0);
    drive(&mut desk, |desk, (token, request)| {
        match request {
            DiskRequest::Publish { to: File::Slot(slot), .. } => seen.push(Some(*slot)),
            DiskRequest::Remove { file } => {
                assert_eq!(*file, File::Volume(1));
                assert!(is_removed(&desk.disk, 1) && !is_removed(&desk.disk, 2));
                seen.push(None);
            }
            _ => assert!(matches!(token, Token::Scan | Token::Catalog)),
        }
        for seed in 0..8 {
            let mut again = open(desk.disk.crash(&mut rng(seed)), LARGE, 9);
            assert_eq!(loads(&mut again, 0..9), [1, 4], "{request:?}");
            images += 1;
        }
    });
    assert_eq!(seen, [Some(Slot::CatalogOdd), Some(Slot::CatalogEven), None]);
    assert!(images >= 8 * 6, "{images} crashes");
}

#[test]
fn a_mark_goes_with_its_chunk_or_is_copied_if_that_is_elsewhere() {
    // Volume 2 has two marks of chunk 1, of which the later one counts.
    let mut desk = open(volumes(&[&[1]]), LARGE, 2);
    for (ticket, lease) in [(1, 2), (2, 3)] {
        desk.touch(ticket, 1, lease);
        desk.settle();
    }
    [2, 3].iter().for_each(|number| desk.put_under(10 + number, *number, 1));
    let mut desk = open(close(desk), LARGE, 3);
    desk.collect(2, [1]);
    desk.settle();
    assert_eq!((removed(&desk), desk.located(1).place.volume), (vec![2], 1));
    assert_eq!((desk.located(1).mark, desk.located(1).raised_in), (3, Some(3)));
    let copied: Vec<_> = records(&mut desk.disk).into_iter().filter(|(at, _)| *at == 3).collect();
    assert_eq!(copied.iter().map(|(_, record)| record.header.kind).collect::<Vec<_>>(), [Kind::Drop, Kind::Mark]);
    assert_eq!(MarkRecord::decode(&copied[1].1.covered).unwrap().mark, 3);
    let desk = open(close(desk), LARGE, 4);
    assert_eq!((desk.located(1).mark, desk.located(1).raised_in), (3, Some(3)));
}

#[test]
fn a_chunk_that_moves_takes_a_later_mark_along() {
    let mut desk = open(volumes(&[&[1, 5]]), LARGE, 2);
    desk.touch(1, 1, 3);
    let mut desk = open(close(desk), LARGE, 3);
    desk.collect(2, [1]);
    desk.settle();
    let located = desk.located(1);
    assert_eq!((removed(&desk), located.place.volume, located.mark, located.raised_in), (vec![1], 3, 3, None));
    assert_eq!((desk.store.usage().marks, open(close(desk), LARGE, 4).located(1).mark), (0, 3));
}

#[test]
fn a_drop_is_copied_as_long_as_a_volume_of_its_range_is_there() {
    let mut desk = open(volumes(&[&[4, 5, 1], &[7, 8]]), LARGE, 3);
    desk.collect(2, [4, 5, 7, 8]);
    desk.settle();
    [2, 3].iter().for_each(|number| desk.put_under(*number, *number, 1));
    desk.settle();
    let found = drops(&mut desk.disk);
    let [(3, sequence, dropped)] = &found[..] else { panic!("one drop in volume 3") };
    let (sequence, dropped) = (*sequence, dropped.clone());
    assert_eq!((dropped.from, dropped.through, &dropped.chunks[..]), (1, 1, &[chunk(1).id()][..]));
    let mut desk = open(close(desk), LARGE, 4);
    desk.collect(3, [4, 5, 7, 8]);
    desk.settle();
    assert_eq!(removed(&desk), [3]);
    let found = drops(&mut desk.disk);
    assert!(found.contains(&(4, sequence, dropped)), "{found:?}");
    assert_eq!(desk.store.usage().drops, 1, "that of chunks 2 and 3 is not needed any more");
    let mut desk = open(close(desk), LARGE, 5);
    assert_eq!((loads(&mut desk, 0..9), desk.store.usage().drops), (vec![4, 5, 7, 8], 1));
    desk.collect(4, [4, 7, 8]);
    desk.settle();
    assert_eq!((removed(&desk), desk.store.usage().drops), (vec![1], 0));
    assert_eq!(loads(&mut open(close(desk), LARGE, 6), 0..9), [4, 7, 8]);
}

/// A chunk that goes while it is copied may be in two volumes.
#[test]
fn what_is_dropped_while_it_is_copied_never_comes_back() {
    for stop in 0.. {
        let mut desk = half_dead();
        if !(0..stop).all(|_| desk.advance()) {
            assert!(stop > 8, "{stop} stages");
            break;
        }
        desk.collect(3, [4]);
        while desk.collected.len() < 2 {
            assert!(desk.advance());
        }
        let mut desk = open(desk.disk, LARGE, 4);
        assert_eq!(loads(&mut desk, 0..9), [4], "at stage {stop}");
        desk.step(Event::Compact);
        desk.settle();
        assert_eq!(loads(&mut open(close(desk), LARGE, 5), 0..9), [4], "at stage {stop}");
    }
}

#[test]
fn a_volume_stays_until_reads_of_it_are_over() {
    let mut desk = open(volumes(&[&[1, 2, 3]]), LARGE, 2);
    desk.get(1, 1);
    let held = desk.reads.pop_front().expect("the read of the get");
    desk.collect(2, [1]);
    desk.settle();
    assert_eq!((numbers(&desk.disk), removed(&desk)), (vec![1, 2], vec![]));
    assert!(is_removed(&desk.disk, 1) && desk.located(1).place.volume == 2, "only the read is waited for");
    desk.reads.push_back(held);
    desk.settle();
    assert_eq!((numbers(&desk.disk), removed(&desk)), (vec![2], vec![1]));
    assert_eq!(desk.loaded, [(1, Ok(chunk(1)))]);
}

/// Marks, puts and drops make older records needless from the moment they are appended, which is too early for a removal.
#[test]
fn what_makes_a_record_needless_is_durable_before_the_volume_goes() {
    let mut desk = open(volumes(&[&[1]]), LARGE, 2);
    desk.touch(1, 1, 2);
    [2, 3].iter().for_each(|number| desk.put_under(*number, *number, 1));
    let mut desk = open(close(desk), LARGE, 3);
    desk.get(1, 1);
    desk.put_under(1, 9, 3);
    desk.settle();
    desk.collect(3, [1, 9]);
    while desk.collected.is_empty() {
        assert!(desk.advance());
    }
    desk.touch(2, 1, 5);
    loop {
        desk.flush();
        if !desk.complete_read() && !desk.complete_other() && !desk.wake() {
            break;
        }
    }
    assert!(desk.scans > 0 && catalogs(&desk.disk) == [None, None], "the mark is not durable");
    desk.settle();
    assert_eq!((removed(&desk), desk.located(1).mark), (vec![2], 5));
    assert_eq!(open(close(desk), LARGE, 4).located(1).mark, 5);
}

#[test]
fn a_mark_that_is_raised_while_an_older_one_is_copied_stays_raised() {
    let mut desk = open(volumes(&[&[1]]), LARGE, 2);
    desk.touch(1, 1, 2);
    [2, 3].iter().for_each(|number| desk.put_under(*number, *number, 1));
    let disk = close(desk);
    for stop in 0.. {
        let mut desk = open(disk.clone(), LARGE, 3);
        desk.get(1, 1);
        desk.settle();
        desk.collect(2, [1]);
        if !(0..stop).all(|_| desk.advance()) {
            assert!(stop > 12, "{stop} stages");
            break;
        }
        desk.touch(2, 1, 5);
        desk.settle();
        assert_eq!((removed(&desk), desk.located(1).mark), (vec![2], 5), "stage {stop}");
        assert_eq!(open(close(desk), LARGE, 4).located(1).mark, 5, "stage {stop}");
    }
}

#[test]
fn a_chunk_that_was_written_anew_meanwhile_is_not_copied() {
    let mut desk = half_dead();
    loop {
        desk.flush();
        if !desk.reads.is_empty() {
            break;
        }
        assert!(desk.complete() || desk.complete_other() || desk.wake());
    }
    let held = desk.reads.pop_front().expect("the read of chunk 1");
    *desk.body(1) ^= 1;
    desk.get(1, 1);
    desk.complete_read();
    desk.put_under(1, 1, 1);
    desk.flush();
    while desk.complete() {
        desk.flush();
    }
    let anew = desk.located(1);
    assert_eq!((anew.place.volume, desk.stored.len()), (3, 1));
    desk.reads.push_back(held);
    desk.settle();
    assert_eq!((removed(&desk), desk.located(1)), (vec![1], anew));
    let copies = records(&mut desk.disk).into_iter().filter(|(_, record)| record.header.kind == Kind::MarkedChunk);
    assert_eq!(copies.map(|(at, _)| at).collect::<Vec<_>>(), [2, 3], "chunk 4, and chunk 1 once");
}

/// The index is right about a volume, or the volume stays.
#[test]
fn a_volume_of_which_something_was_not_found_stays() {
    let mut desk = half_dead();
    desk.store.index.set_mark(&chunk(4).id(), 9, Some(1));
    desk.settle();
    assert_eq!((removed(&desk), numbers(&desk.disk)), (vec![], vec![1, 2, 3]));
}

#[test]
fn a_chunk_that_rots_stops_its_volume_alone() {
    let mut desk = open(volumes(&[&[1, 2, 3], &[6, 7, 8]]), LARGE, 3);
    *desk.body(1) ^= 1;
    desk.collect(2, [1, 6]);
    desk.settle();
    assert_eq!((removed(&desk), numbers(&desk.disk)), (vec![2], vec![1, 3]));
    assert!(
        desk.notes.iter().any(|note| matches!(note, Note::ChunkMismatch { chunk: id, .. } if *id == chunk(1).id()))
    );
    let scans = desk.scans;
    desk.step(Event::Compact);
    desk.settle();
    assert_eq!((&desk.compacted[..], desk.scans), (&[Ok(Compacted::default())][..], scans), "not tried again");
    desk.get(1, 1);
    desk.settle();
    assert!(matches!(desk.loaded[0].1, Err(ChunkFault::Mismatch(_))), "damage stays damage");
    // Some of the volume may be in others already, so a drop is for all.
    desk.collect(3, [6]);
    desk.settle();
    assert_eq!(drops(&mut desk.disk).last().map(|(_, _, dropped)| (dropped.from, dropped.through)), Some((1, 3)));
    assert_eq!(removed(&desk), [2], "not by itself");
    desk.step(Event::Compact);
    desk.settle();
    assert_eq!((removed(&desk), loads(&mut desk, 0..9)), (vec![2, 1], vec![6]), "nothing of it is needed any more");
    assert!(!desk.store.compaction.may_have_copies());
}

/// What was never known durable is where the index says, behind the end that the start has found.
#[test]
fn a_doubtful_chunk_goes_to_where_it_is_durable() {
    let mut desk = open(doubtful(1..6), LARGE, 3);
    desk.collect(2, [1, 3]);
    desk.settle();
    desk.step(Event::Compact);
    desk.settle();
    let whole = desk.disk.bytes(File::Volume(1)).is_none();
    assert!(whole && removed(&desk).contains(&1), "{:?}", removed(&desk));
    let disk = desk.disk.crash(&mut rng(0));
    assert_eq!(loads(&mut open(disk, LARGE, 4), 0..9), [1, 3]);
}

#[test]
fn a_volume_that_changed_since_the_start_stays() {
    let mut desk = half_dead();
    // The header of chunk 1.
    let at = usize::try_from(desk.located(1).place.offset).unwrap();
    desk.disk.bytes_mut(File::Volume(1))[at + 20] ^= 1;
    desk.settle();
    assert_eq!((removed(&desk), loads(&mut desk, 0..9)), (vec![], vec![1, 4]));
    // So does one that can't be read.
    let mut desk = half_dead();
    drive_to(&mut desk, Token::Scan);
    desk.fail_other(DiskError::Denied);
    desk.settle();
    assert_eq!((removed(&desk), loads(&mut desk, 0..9)), (vec![], vec![1, 4]));
}

/// What may come in between a compaction and its end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Break {
    Close,
    VolumeFails,
    OtherFails(DiskError),
    Kill,
}

#[test]
fn a_compaction_may_end_at_every_stage() {
    let others = [IO, DiskError::Denied, DiskError::Full].map(Break::OtherFails);
    for how in [Break::Close, Break::VolumeFails, Break::Kill].into_iter().chain(others) {
        let mut stages = 0;
        for stop in 0.. {
            let mut desk = half_dead();
            desk.step(Event::Compact);
            if !(0..stop).all(|_| desk.advance()) {
                break;
            }
            stages += 1;
            desk.flush();
            match how {
                Break::Close => desk.step(Event::Close),
                Break::VolumeFails => desk.fail(IO),
                Break::OtherFails(error) => desk.fail_other(error),
                Break::Kill => {
                    if let Some((_, request)) = desk.others.pop_front() {
                        desk.disk.interrupt(&request, &mut rng(stop));
                    }
                    let mut desk = open(desk.disk, LARGE, 4);
                    assert_eq!(loads(&mut desk, 0..9), [1, 4], "stage {stop}");
                    continue;
                }
            }
            desk.settle();
            assert_eq!((desk.compacted.len(), desk.is_due()), (1, false), "answered once: {how:?}, stage {stop}");
            assert_eq!(loads(&mut desk, 0..9), [1, 4], "{how:?}, stage {stop}");
            let before = numbers(&desk.disk);
            let mut desk = open(desk.disk, LARGE, 4);
            let fresh = numbers(&desk.disk).iter().any(|number| !before.contains(number));
            assert_eq!(fresh, how != Break::Close, "only a close ends a volume: {how:?}, stage {stop}");
            assert_eq!(loads(&mut desk, 0..9), [1, 4], "{how:?}, stage {stop}");
            let gone = catalogs(&desk.disk).iter().flatten().any(|catalog| catalog.is_removed(1));
            assert!(!gone || !numbers(&desk.disk).contains(&1), "what is gone is removed at the start");
        }
        assert!(stages > 8, "{stages} stages");
    }
}

#[test]
fn a_catalog_that_can_t_be_written_ends_all_removing_of_this_boot() {
    for (error, expected) in [
        (IO, StoreError::Failed { file: File::Slot(Slot::CatalogOdd), error: IO }),
        (DiskError::Full, StoreError::Full),
    ] {
        let mut desk = half_dead();
        drive_to(&mut desk, Token::Catalog);
        desk.fail_other(error);
        desk.settle();
        desk.step(Event::Compact);
        desk.settle();
        assert_eq!((&desk.compacted[..], removed(&desk)), (&[Err(expected)][..], vec![]));
        assert!(desk.notes.contains(&Note::RemovalFailed { file: File::Slot(Slot::CatalogOdd), error }));
        // Chunk 1 is in two volumes, and puts go on.
        assert_eq!((desk.located(1).place.volume, desk.located(1).stale), (3, false));
        desk.put(1, 10);
        desk.collect(3, [4, 10]);
        desk.settle();
        assert!(desk.stored[0].1.is_ok());
        assert_eq!(drops(&mut desk.disk).last().map(|(_, _, dropped)| (dropped.from, dropped.through)), Some((1, 3)));
        assert_eq!(loads(&mut open(desk.disk, LARGE, 4), 0..20), [4, 10]);
    }
}

#[test]
fn a_person_gets_back_what_is_dead_to_a_tenth_of_every_volume() {
    let mut desk = open(volumes(&[&[5, 8, 4]]), LARGE, 2);
    [11, 7, 12].iter().for_each(|number| desk.put_under(*number, *number, 1));
    desk.settle();
    desk.collect(2, [5, 11]);
    desk.settle();
    assert_eq!(numbers(&desk.disk), [1, 2], "not half of them is dead");
    desk.step(Event::Compact);
    desk.step(Event::Compact);
    assert_eq!(desk.compacted, [Err(StoreError::Busy)]);
    let mut bytes = 0;
    drive(&mut desk, |desk, (token, _)| {
        if *token == Token::Remove {
            bytes += desk.disk.files(FileKind::Volume).iter().take(1).map(|(_, len)| len).sum::<u64>();
        }
    });
    assert_eq!(desk.compacted[1..], [Ok(Compacted { volumes: 2, bytes })]);
    assert_eq!((removed(&desk), numbers(&desk.disk), loads(&mut desk, 0..20)), (vec![1, 2], vec![3], vec![5, 11]));
    let before = (desk.disk.files(FileKind::Volume), desk.scans);
    desk.step(Event::Compact);
    desk.settle();
    assert_eq!(desk.compacted[2..], [Ok(Compacted::default())]);
    assert_eq!((desk.disk.files(FileKind::Volume), desk.scans), before, "there is nothing left to do");
    let mut desk = open(close(desk), LARGE, 3);
    desk.step(Event::Compact);
    desk.settle();
    assert_eq!((&desk.compacted[..], desk.scans), (&[Ok(Compacted::default())][..], 0));
    desk.step(Event::Close);
    desk.step(Event::Compact);
    assert_eq!(desk.compacted[1..], [Err(StoreError::Closing)]);
}

#[test]
fn many_small_volumes_are_merged_and_a_start_alone_writes_nothing() {
    let groups: Vec<[u64; 1]> = (1..=9).map(|number| [number]).collect();
    let groups: Vec<&[u64]> = groups.iter().map(|group| &group[..]).collect();
    let mut desk = open(volumes(&groups), LARGE, 10);
    desk.settle();
    assert_eq!((desk.scans, numbers(&desk.disk).len()), (0, 9));
    desk.collect(1, []);
    desk.settle();
    assert_eq!((removed(&desk), loads(&mut desk, 0..20)), (vec![1, 2], (1..=9).collect()));
    desk.collect(1, []);
    desk.settle();
    assert_eq!(removed(&desk), [1, 2], "seven are not many");
    assert_eq!(loads(&mut open(close(desk), LARGE, 11), 0..20), (1..=9).collect::<Vec<_>>());
}

/// A store that is written anew all day long does not grow, though nobody asks for anything.
#[test]
fn sealed_volumes_are_compacted_by_themselves() {
    let mut desk = Desk::empty(4_000);
    for epoch in 1..20 {
        (0..10).for_each(|number| desk.put_under(number, 10 * epoch + number, epoch));
        desk.settle();
        desk.collect(epoch, []);
        desk.settle();
    }
    let bytes: u64 = desk.disk.files(FileKind::Volume).iter().map(|(_, len)| len).sum();
    assert!(removed(&desk).len() > 20 && bytes < 30_000, "{bytes} bytes in volumes {:?}", numbers(&desk.disk));
    assert_eq!(loads(&mut desk, 0..200), (190..200).collect::<Vec<_>>());
    assert_eq!(loads(&mut open(close(desk), 4_000, 2), 0..200), (190..200).collect::<Vec<_>>());
}

#[test]
fn a_turn_has_its_share_however_large_a_volume_is() {
    let mut desk = Desk::empty(LARGE);
    (0..400).for_each(|number| desk.put_under(number, number, 1));
    let mut desk = open(close(desk), LARGE, 2);
    desk.collect(2, (0..400).filter(|number| number % 6 != 5));
    let mut turns = 0;
    while desk.advance() {
        turns += 1;
        assert!(desk.reads.len() <= COMPACT_LOADS_MAX);
    }
    assert!(desk.most_effects <= COMPACT_LOADS_MAX + 8, "{} effects in one flush", desk.most_effects);
    assert!(turns > 100, "{turns} turns");
    assert_eq!((removed(&desk), desk.store.chunk_count()), (vec![1], 334));
}
