//! Marks and collects: what is kept, what goes, and when that is said.

use super::*;
use crate::disk::record::volume::{DropRecord, MarkRecord};
use crate::disk::record::{HEADER_LEN, Kind};
use crate::disk::scan::Record;
use crate::keystore::recover::tests::open;
use crate::limits::{COLLECT_DROPS_PENDING_MAX, DROP_IDS_MAX, STEP_ITEMS_MAX};

/// The records of all volumes that say something of chunks, with their files.
fn records(desk: &mut Desk) -> Vec<(u64, Record)> {
    let found = crate::disk::testing::recover(&mut desk.disk, FileKind::Volume, &[]);
    assert_eq!(found.lost(), []);
    found.records.into_iter().map(|(number, record, _)| (number, record)).collect()
}

fn kinds(desk: &mut Desk) -> Vec<Kind> {
    records(desk).iter().map(|(_, record)| record.header.kind).collect()
}

fn drops(desk: &mut Desk) -> Vec<DropRecord> {
    let records = records(desk);
    records.iter().filter_map(|(_, record)| DropRecord::decode(&record.covered)).collect()
}

/// Starts the store anew after a clean close.
fn reopen(mut desk: Desk, volume_bytes: u64, boot: u64) -> Desk {
    desk.step(Event::Close);
    desk.settle();
    assert_eq!(desk.closed, 1);
    open(desk.disk, volume_bytes, boot)
}

fn marks(desk: &Desk, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    numbers.into_iter().map(|number| desk.located(number).mark).collect()
}

#[test]
fn a_mark_is_written_once_with_the_chunk_or_behind_it() {
    let mut desk = Desk::empty(LARGE);
    desk.put_under(1, 1, 0);
    desk.put_under(2, 2, 5);
    desk.settle();
    desk.put_under(3, 2, 5);
    desk.put_under(4, 2, 4);
    desk.touch(5, 2, 5);
    assert_eq!(desk.stored.len(), 5, "nothing to write, so there is nothing to wait for");
    desk.put_under(6, 1, 7);
    desk.touch(7, 2, 8);
    assert_eq!(desk.stored.len(), 5);
    desk.settle();
    assert_eq!(desk.ends()[5..], [(6, 2, false), (7, 3, false)]);
    assert_eq!(kinds(&mut desk), [Kind::Chunk, Kind::MarkedChunk, Kind::Mark, Kind::Mark]);
    let said: Vec<_> = records(&mut desk).iter().map(|(_, record)| MarkRecord::decode(&record.covered)).collect();
    assert_eq!(
        said[1..],
        [(2, 5), (1, 7), (2, 8)].map(|(number, mark)| Some(MarkRecord { chunk: chunk(number).id(), mark }))
    );
    assert_eq!(marks(&desk, [1, 2]), [7, 8]);
    assert_eq!(desk.written, [1, 2, 3, 4, 6], "touches bring no bytes");
    assert_eq!(marks(&reopen(desk, LARGE, 2), [1, 2]), [7, 8]);
}

#[test]
fn an_answer_waits_for_the_mark_it_needs_and_says_where_it_is() {
    let mut desk = Desk::empty(LARGE);
    desk.put_under(1, 1, 3);
    desk.put_under(2, 1, 3);
    // Both of these share one mark, and the third needs a larger one.
    desk.put_under(3, 1, 5);
    desk.touch(4, 1, 4);
    desk.touch(5, 1, 6);
    desk.flush();
    desk.complete();
    assert_eq!(desk.stored, []);
    desk.complete();
    let marked_at: Vec<_> = desk
        .stored
        .iter()
        .map(|(ticket, result)| (*ticket, result.unwrap().marked_at.map(|place| place.position)))
        .collect();
    assert_eq!(marked_at, [(1, None), (2, None), (3, Some(3)), (4, Some(3)), (5, Some(4))]);
    // A mark that is on its way is no mark yet.
    desk.touch(6, 1, 9);
    desk.flush();
    desk.touch(7, 1, 9);
    desk.touch(8, 1, 8);
    assert_eq!(desk.stored.len(), 5);
    desk.settle();
    assert_eq!(desk.ends()[5..], [(6, 2, false), (7, 2, false), (8, 2, false)]);
    assert_eq!(kinds(&mut desk).len(), 4);
}

#[test]
fn what_is_touched_is_read_first_and_must_be_there() {
    let mut desk = Desk::reopened(LARGE, 1..4);
    *desk.body(2) ^= 1;
    desk.touch(1, 1, 3);
    desk.touch(2, 2, 3);
    desk.touch(3, 9, 3);
    assert_eq!(desk.stored, [(3, Err(StoreError::Missing))]);
    desk.settle();
    desk.touch(4, 2, 3);
    desk.stored.sort_by_key(|(ticket, _)| *ticket);
    let missing: Vec<u64> = desk
        .stored
        .iter()
        .filter(|(_, result)| *result == Err(StoreError::Missing))
        .map(|(ticket, _)| *ticket)
        .collect();
    assert_eq!((missing, desk.stored.len()), (vec![2, 3, 4], 4));
    // A chunk on its way is there.
    desk.put_under(5, 9, 1);
    desk.touch(6, 9, 1);
    // What is written anew keeps its mark, and the mark that is asked for.
    desk.put_under(7, 2, 2);
    desk.settle();
    assert!(desk.stored[4..].iter().all(|(_, result)| result.is_ok()));
    assert_eq!((desk.stored.len(), marks(&desk, [1, 2, 9])), (7, vec![3, 2, 1]));
    *desk.body(1) ^= 1;
    desk.get(1, 1);
    desk.settle();
    desk.put_under(8, 1, 1);
    desk.settle();
    assert_eq!((desk.located(1).mark, desk.located(1).raised_in), (3, None), "healed under the larger mark");
    assert_eq!(marks(&reopen(desk, LARGE, 3), [1, 2, 9]), [3, 2, 1]);
}

#[test]
fn a_failure_takes_back_the_marks_that_did_not_become_durable() {
    let mut desk = Desk::empty(LARGE);
    desk.put_under(1, 1, 3);
    desk.settle();
    desk.touch(2, 1, 5);
    desk.settle();
    desk.touch(3, 1, 7);
    desk.touch(4, 1, 8);
    desk.flush();
    desk.fail(IO);
    let error = StoreError::Failed { file: File::Volume(1), error: IO };
    assert_eq!(desk.stored[2..], [(3, Err(error)), (4, Err(error))]);
    desk.touch(5, 1, 6);
    desk.touch(6, 1, 5);
    let last: Vec<_> = desk.stored[4..].iter().map(|(ticket, result)| (*ticket, result.is_ok())).collect();
    assert_eq!(last, [(5, false), (6, true)], "nobody may rely on what is not durable");
    desk.store.index().check();
}

#[test]
fn a_collect_drops_what_is_old_and_not_in_use() {
    let mut desk = Desk::empty(LARGE);
    for number in 0..8 {
        desk.put_under(number, number, number);
    }
    desk.settle();
    let bytes: u64 = [0, 2, 3].map(|number| desk.located(number).record_len()).iter().sum();
    desk.collect(5, [1, 4, 99]);
    desk.flush();
    assert_eq!(desk.collected, []);
    desk.wake();
    assert_eq!(desk.store.chunk_count(), 8, "first the walk");
    desk.flush();
    desk.wake();
    assert_eq!((desk.store.chunk_count(), &desk.collected[..]), (5, &[][..]), "dropped, and not durable");
    desk.settle();
    assert_eq!(desk.collected, [(5, Ok(Collected { chunks: 3, bytes }))]);
    let mut chunks = [0, 2, 3].map(|number| chunk(number).id()).to_vec();
    chunks.sort_unstable();
    assert_eq!(drops(&mut desk), [DropRecord { epoch: 5, from: 1, through: 1, chunks }]);
    let usage = desk.store.usage();
    assert_eq!((usage.chunks, usage.drops, usage.drop_bytes), (5, 1, 64 + 32 + 3 * 32));
    assert!(usage.dead_bytes() >= bytes);
    for number in 0..8 {
        desk.get(number, number);
    }
    desk.settle();
    let good = |desk: &Desk| desk.loaded.iter().filter(|(_, result)| result.is_ok()).count();
    assert_eq!(good(&desk), 5);
    let mut desk = reopen(desk, LARGE, 2);
    assert_eq!((desk.store.chunk_count(), desk.store.usage().drops), (5, 1));
    // The same again: nothing goes, so nothing is written.
    let files = desk.disk.files(FileKind::Volume);
    desk.collect(5, [1, 4, 99]);
    desk.settle();
    assert_eq!(desk.collected, [(5, Ok(Collected::default()))]);
    assert_eq!(desk.disk.files(FileKind::Volume), files);
}

#[test]
fn what_is_put_after_its_drop_is_written_anew_and_stays() {
    let mut desk = Desk::empty(LARGE);
    desk.put_under(1, 1, 1);
    desk.put_under(2, 2, 1);
    desk.settle();
    desk.collect(2, []);
    while desk.store.chunk_count() > 0 {
        desk.flush();
        desk.wake();
    }
    desk.touch(3, 1, 2);
    desk.put_under(4, 2, 2);
    desk.settle();
    desk.stored.drain(..2);
    assert_eq!(desk.stored[0], (3, Err(StoreError::Missing)));
    assert!(desk.stored[1].1.is_ok_and(|stored| stored.fresh));
    assert_eq!(desk.collected, [(2, Ok(Collected { chunks: 2, bytes: 2 * 104 + 2 * 8 + 211 + 422 }))]);
    let mut desk = reopen(desk, LARGE, 2);
    assert_eq!((desk.store.chunk_count(), desk.located(2).mark), (1, 2));
    desk.get(1, 2);
    desk.settle();
    assert_eq!(desk.loaded, [(1, Ok(chunk(2)))]);
}

/// The walk has found it, but until it is dropped a put or a touch can keep it.
#[test]
fn what_is_touched_between_walk_and_drop_stays() {
    let mut desk = Desk::empty(LARGE);
    (1..5).for_each(|number| desk.put_under(number, number, 1));
    desk.settle();
    *desk.body(3) ^= 1;
    desk.get(1, 3);
    desk.settle();
    desk.collect(2, []);
    desk.flush();
    desk.wake();
    desk.touch(11, 1, 2);
    desk.put_under(12, 2, 2);
    // Written anew, though under an old lease: it is on its way when the drop comes.
    desk.put_under(13, 3, 1);
    desk.settle();
    assert_eq!(desk.collected.last().unwrap().1.unwrap().chunks, 1);
    assert_eq!((desk.store.chunk_count(), marks(&desk, [1, 2, 3])), (3, vec![2, 2, 1]));
    assert_eq!(marks(&reopen(desk, LARGE, 2), [1, 2, 3]), [2, 2, 1]);
}

#[test]
fn a_drop_covers_the_volume_of_its_chunks_or_all_where_an_older_copy_may_be() {
    let mut desk = Desk::reopened(256, 1..6);
    let place = desk.located(2).place;
    *desk.body(2) ^= 1;
    desk.put(1, 2);
    desk.settle();
    let stale = desk.located(2);
    assert!(stale.stale && stale.place.volume > place.volume);
    desk.collect(1, [1, 5]);
    while desk.collected.is_empty() {
        assert!(desk.advance());
    }
    let current = records(&mut desk).last().unwrap().0;
    let mut ranges: Vec<_> =
        drops(&mut desk).iter().map(|dropped| (dropped.from, dropped.through, dropped.chunks.len())).collect();
    ranges.sort_unstable();
    assert_eq!(ranges[0].0, 1, "from the first volume");
    assert!(ranges[0].1 >= stale.place.volume && ranges[0].1 <= current);
    assert_eq!(ranges[1..].iter().filter(|(from, through, _)| from == through).count(), ranges.len() - 1);
    let mut desk = reopen(desk, 256, 3);
    assert_eq!(desk.store.chunk_count(), 2, "the older copy does not come back");
    desk.get(1, 2);
    assert!(desk.loaded[0].1.is_err());
}

#[test]
fn one_collect_at_a_time_and_none_at_the_end() {
    let mut desk = Desk::empty(LARGE);
    (1..4).for_each(|number| desk.put(number, number));
    desk.settle();
    desk.collect(2, []);
    desk.collect(3, []);
    assert_eq!(desk.collected, [(3, Err(StoreError::Busy))]);
    desk.flush();
    desk.wake();
    desk.flush();
    desk.wake();
    desk.step(Event::Close);
    assert_eq!(desk.collected[1..], [(2, Err(StoreError::Closing))]);
    desk.collect(4, []);
    assert_eq!(desk.collected[2..], [(4, Err(StoreError::Closing))]);
    assert!(!desk.is_due());
    desk.settle();
    assert_eq!(desk.closed, 1);
    let found = crate::disk::testing::recover(&mut desk.disk, FileKind::Volume, &[]);
    assert!(found.ending.closed, "what was dropped is behind a footer");
}

#[test]
fn a_failure_ends_a_collect() {
    let mut desk = Desk::empty(LARGE);
    (1..4).for_each(|number| desk.put(number, number));
    desk.settle();
    desk.collect(2, []);
    for _ in 0..2 {
        desk.flush();
        desk.wake();
    }
    desk.flush();
    desk.fail(IO);
    let error = StoreError::Failed { file: File::Volume(1), error: IO };
    assert_eq!(desk.collected, [(2, Err(error))]);
    desk.collect(2, []);
    assert_eq!(desk.collected[1..], [(2, Err(error))]);
    desk.settle();
    assert!(!desk.is_due());
}

/// However much goes, no step has more than its share, and the disk sets the pace.
#[test]
fn a_long_collect_goes_in_slices() {
    let mut desk = Desk::empty(1 << 30);
    let many = 20 * STEP_ITEMS_MAX as u64;
    for first in (0..many).step_by(1_000) {
        (first..many.min(first + 1_000)).for_each(|number| desk.put(number, number * 6));
        desk.settle();
    }
    assert_eq!(desk.store.chunk_count(), many);
    desk.collect(1, [0]);
    let (mut turns, mut before) = (0, many);
    loop {
        desk.flush();
        // The disk does nothing as long as there is something else to do.
        if !desk.wake() && !desk.complete() {
            break;
        }
        turns += 1;
        let now = desk.store.chunk_count();
        assert!(before - now <= DROP_IDS_MAX as u64, "{} chunks went at once", before - now);
        before = now;
        let queued: usize = desk.queue.iter().filter(|(op, _)| matches!(op, WriterOp::Append { .. })).count();
        assert!(queued <= COLLECT_DROPS_PENDING_MAX, "{queued} drop records wait for the disk");
    }
    assert!(turns > 40, "{turns} turns");
    assert_eq!(desk.collected.len(), 1);
    assert_eq!((desk.collected[0].1.unwrap().chunks, desk.store.chunk_count()), (many - 1, 1));
    assert_eq!(desk.store.usage().drop_bytes, desk.store.usage().drops * (HEADER_LEN as u64 + 32) + (many - 1) * 32);
    assert_eq!(desk.store.usage().drops, 20);
}
