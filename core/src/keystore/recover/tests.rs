//! The store after crashes and harm: every chunk that was stored comes back.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::disk::damage::DamageKind;
use crate::disk::record::{CHUNK_PREFIX_LEN, HEADER_LEN};
use crate::disk::recover::Standing;
use crate::disk::testing::{TestDisk, any_pieces, boot, fixed_cases, forge, rng};
use crate::disk::writer::WriterOp;
use crate::keystore::ChunkFault;
use crate::keystore::StoreError;
use crate::keystore::index::Trust;
use crate::keystore::store::Event;
use crate::keystore::store::tests::{Desk, chunk, config};
use crate::rng::Rng;

/// How a start goes.
#[derive(Clone, Copy, Default)]
pub(super) struct Start {
    pub(super) volume_bytes: u64,
    pub(super) boot: u64,
    pub(super) read_only: Option<DiskError>,
    /// It dies after so many writes.
    pub(super) doom: Option<usize>,
    /// This write of it fails.
    pub(super) bad: Option<usize>,
}

pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) damages: Vec<Damage>,
    pub(super) notes: Vec<Note>,
}

pub(super) fn start(disk: &mut TestDisk, floors: &BTreeMap<u64, u64>, how: Start, draws: &mut Rng) -> Option<Opened> {
    disk.remove_stages();
    let volumes = disk.files(FileKind::Volume);
    let mut recovery = Recovery::new(&config(how.volume_bytes), boot(how.boot), volumes, floors.clone(), how.read_only);
    recovery = recovery.with_checkpoints(disk.checkpoints());
    let (mut notes, mut writes) = (Vec::new(), 0);
    loop {
        match recovery.advance() {
            Step::Disk(request @ DiskRequest::Read { .. }) => recovery.done(disk.perform(&request)),
            Step::Disk(request) => {
                assert_eq!(how.read_only, None, "nothing is written");
                if how.doom == Some(writes) {
                    disk.interrupt(&request, draws);
                    return None;
                }
                let result = if how.bad == Some(writes) { Err(DiskError::Full) } else { disk.perform(&request) };
                writes += 1;
                recovery.done(result);
            }
            Step::Note(note) => notes.push(note),
            Step::Ready => break,
        }
    }
    let (store, damages) = recovery.into_store();
    Some(Opened { store, damages, notes })
}

/// A start without harm.
pub(in crate::keystore) fn open(mut disk: TestDisk, volume_bytes: u64, boot: u64) -> Desk {
    let how = Start { volume_bytes, boot, ..Start::default() };
    let opened = start(&mut disk, &BTreeMap::new(), how, &mut rng(0)).expect("nothing kills it");
    assert_eq!(opened.damages, []);
    Desk::new(opened.store, disk)
}

/// Which of these chunks come back.
pub(in crate::keystore) fn loads(desk: &mut Desk, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    desk.loaded.clear();
    numbers.into_iter().for_each(|number| desk.get(number, number));
    while desk.complete_read() {}
    let mut good = Vec::new();
    for (number, result) in desk.loaded.drain(..) {
        match result {
            Ok(loaded) => {
                assert_eq!(loaded, chunk(number));
                good.push(number);
            }
            Err(ChunkFault::Missing { .. } | ChunkFault::Mismatch(_) | ChunkFault::Unreadable(..)) => {}
            Err(ChunkFault::Malformed) => panic!("the store knows nothing of manifests"),
        }
    }
    good.sort_unstable();
    good
}

#[derive(Clone, Debug)]
enum Op {
    Put(u64),
    Flush,
    Complete,
    CompleteRead,
    /// The oldest request fails, after a part of it happened.
    Fail(u64),
    Close,
    Kill(u64),
    Crash(u64),
    Doom(usize),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..40u64).prop_map(Op::Put),
        8 => Just(Op::Flush),
        12 => Just(Op::Complete),
        4 => Just(Op::CompleteRead),
        1 => any::<u64>().prop_map(Op::Fail),
        1 => Just(Op::Close),
        1 => any::<u64>().prop_map(Op::Kill),
        2 => any::<u64>().prop_map(Op::Crash),
        1 => (0..4usize).prop_map(Op::Doom),
    ]
}

/// A store that is started again and again.
struct Life {
    desk: Desk,
    how: Start,
    /// Chunk of each put of this boot that has no answer yet.
    asked: BTreeMap<u64, u64>,
    next: u64,
    /// Chunks of which the store said that they are durable.
    durable: BTreeSet<u64>,
    /// Chunks that were ever put.
    put: BTreeSet<u64>,
    /// What a journal would name.
    floors: BTreeMap<u64, u64>,
    doom: Option<usize>,
}

impl Life {
    fn new(volume_bytes: u64) -> Self {
        Self {
            desk: open(TestDisk::default(), volume_bytes, 1),
            how: Start { volume_bytes, boot: 1, ..Start::default() },
            asked: BTreeMap::new(),
            next: 0,
            durable: BTreeSet::new(),
            put: BTreeSet::new(),
            floors: BTreeMap::new(),
            doom: None,
        }
    }

    fn perform(&mut self, op: &Op) {
        match *op {
            Op::Put(number) => {
                self.asked.insert(self.next, number);
                self.put.insert(number);
                self.desk.put(self.next, number);
                self.next += 1;
            }
            Op::Flush => self.desk.flush(),
            Op::Complete => drop(self.desk.complete()),
            Op::CompleteRead => drop(self.desk.complete_read()),
            Op::Fail(seed) => {
                if let Some((_, request)) = self.desk.queue.front() {
                    self.desk.disk.interrupt(request, &mut rng(seed));
                    self.desk.fail(DiskError::Io(5));
                }
            }
            Op::Close => self.desk.step(Event::Close),
            Op::Kill(seed) => self.end(seed, false),
            Op::Crash(seed) => self.end(seed, true),
            Op::Doom(writes) => self.doom = Some(writes),
        }
        self.look();
    }

    fn look(&mut self) {
        for (ticket, result) in self.desk.stored.drain(..) {
            let number = self.asked.remove(&ticket).expect("a put ends once");
            match result {
                Ok(stored) => {
                    assert!(self.desk.written.contains(&ticket), "its memory was given back");
                    self.durable.insert(number);
                    // A journal names some of what is stored, not all.
                    if number.is_multiple_of(3) {
                        let floor = self.floors.entry(stored.place.volume).or_default();
                        *floor = stored.place.position.max(*floor);
                    }
                }
                Err(StoreError::Closing | StoreError::Failed { .. }) => {}
                Err(error @ (StoreError::Busy | StoreError::Full | StoreError::Missing)) => {
                    panic!("{error:?} out of nowhere")
                }
            }
        }
    }

    fn end(&mut self, seed: u64, power: bool) {
        let mut draws = rng(seed);
        for (op, request) in core::mem::take(&mut self.desk.queue) {
            if draws.chance(1, 4) {
                self.desk.disk.interrupt(&request, &mut draws);
                break;
            }
            if !matches!(op, WriterOp::Sync { .. }) {
                self.desk.disk.perform(&request).unwrap();
            }
        }
        let mut disk = core::mem::take(&mut self.desk.disk);
        if power {
            disk = disk.crash(&mut draws);
        }
        let opened = loop {
            self.how = Start { boot: self.how.boot + 1, doom: self.doom.take(), ..self.how };
            match start(&mut disk, &self.floors, self.how, &mut draws) {
                Some(opened) => break opened,
                None if draws.chance(1, 2) => disk = disk.crash(&mut draws),
                None => {}
            }
        };
        assert_eq!(opened.damages, [], "a crash is no damage");
        self.desk = Desk::new(opened.store, disk);
        self.asked.clear();
        let good = loads(&mut self.desk, self.put.iter().copied());
        let missing: Vec<_> = self.durable.iter().filter(|number| !good.contains(number)).collect();
        assert!(missing.is_empty(), "chunks {missing:?} were durable");
        assert_eq!(
            good.len() as u64,
            self.desk.store.chunk_count(),
            "nothing appears that was not put or is not whole"
        );
        self.desk.notes.clear();
        // Reading everything has proven it; start once more so that puts have something to check.
        self.how.boot += 1;
        let disk = core::mem::take(&mut self.desk.disk);
        self.desk = open(disk, self.how.volume_bytes, self.how.boot);
    }
}

proptest! {
    #![proptest_config(fixed_cases())]

    #[test]
    fn every_stored_chunk_survives(
        ops in proptest::collection::vec(any_op(), 0..120),
        volume_bytes in prop_oneof![256..4_000u64, Just(1 << 20)],
        end: u64,
    ) {
        let mut life = Life::new(volume_bytes);
        ops.iter().for_each(|op| life.perform(op));
        life.end(end, true);
        // What is asked is answered.
        (0..10).for_each(|number| life.perform(&Op::Put(number)));
        life.desk.settle();
        life.look();
        prop_assert_eq!(life.asked.len(), 0);
    }

    /// Whatever lies on the disk, even with the right checksums.
    #[test]
    fn recovery_is_total(
        files in proptest::collection::btree_map(1..6u64, any_pieces(), 1..4),
        floors in proptest::collection::btree_map(0..8u64, any::<u64>(), 0..3),
        read_only: bool,
    ) {
        let mut disk = TestDisk::default();
        for (number, pieces) in &files {
            disk.put(File::Volume(*number), forge(FileKind::Volume, *number, pieces));
        }
        let read_only = read_only.then_some(DiskError::Full);
        let how = Start { volume_bytes: 600, boot: 1, read_only, ..Start::default() };
        let opened = start(&mut disk, &floors, how, &mut rng(0)).unwrap();
        let mut desk = Desk::new(opened.store, disk);
        (1..4).for_each(|number| desk.put(number, number));
        desk.settle();
        let good = desk.stored.iter().filter(|(_, result)| result.is_ok()).count();
        prop_assert_eq!(good, if read_only.is_some() { 0 } else { 3 });
    }
}

const LARGE: u64 = 1 << 20;

/// Where the bytes of a chunk without a mark are in its record.
const CHUNK_OFFSET: u64 = (HEADER_LEN + CHUNK_PREFIX_LEN) as u64;

/// Chunks with these numbers, written and not known durable: all of them are the tail of volume 1.
fn killed(numbers: core::ops::Range<u64>) -> TestDisk {
    let mut desk = open(TestDisk::default(), LARGE, 1);
    numbers.for_each(|number| desk.put(number, number));
    desk.flush();
    desk.complete();
    desk.disk
}

#[test]
fn a_tail_is_copied_up_to_its_first_torn_chunk() {
    let mut disk = killed(1..6);
    let len = disk.bytes(File::Volume(1)).unwrap().len();
    let probe = crate::disk::testing::recover(&mut disk, FileKind::Volume, &[]);
    let third = probe.records[2].1.offset;
    // The chunk's own bytes, which no record's checksum covers.
    disk.bytes_mut(File::Volume(1))[usize::try_from(third + CHUNK_OFFSET).unwrap() + 3] ^= 1;
    let how = Start { volume_bytes: LARGE, boot: 2, ..Start::default() };
    let opened = start(&mut disk, &BTreeMap::new(), how, &mut rng(0)).unwrap();
    let cut = Note::TailCut { file: File::Volume(1), offset: third, bytes: len as u64 - third };
    let copied = Note::TailCopied { from: File::Volume(1), to: File::Volume(2), records: 2 };
    assert_eq!((opened.notes, opened.damages), (vec![cut, copied], vec![]));
    let mut desk = Desk::new(opened.store, disk);
    assert_eq!(loads(&mut desk, 0..9), [1, 2]);
    assert_eq!(loads(&mut open(desk.disk, LARGE, 3), 0..9), [1, 2]);
}

#[test]
fn a_chunk_that_the_journal_names_is_damage_and_never_tail() {
    let disk = killed(1..6);
    let mut harmed = disk.clone();
    let probe = crate::disk::testing::recover(&mut harmed, FileKind::Volume, &[]);
    let (third, position) = (probe.records[2].1.offset, probe.records[2].1.header.position);
    harmed.bytes_mut(File::Volume(1))[usize::try_from(third).unwrap() + 10] ^= 1;
    for (floor, lost, good) in [(None, false, vec![1, 2]), (Some(6), true, vec![1, 2, 4, 5])] {
        let mut disk = harmed.clone();
        let floors: BTreeMap<u64, u64> = floor.map(|position| (1, position)).into_iter().collect();
        let how = Start { volume_bytes: LARGE, boot: 2, ..Start::default() };
        let opened = start(&mut disk, &floors, how, &mut rng(0)).unwrap();
        let damage =
            Damage { file: File::Volume(1), offset: third, first: position, last: position, kind: DamageKind::Broken };
        assert_eq!(opened.damages, if lost { vec![damage] } else { vec![] });
        let mut desk = Desk::new(opened.store, disk);
        assert_eq!(loads(&mut desk, 0..9), good);
        desk.loaded.clear();
        desk.get(3, 3);
        let lost_volumes = if lost { vec![1] } else { vec![] };
        assert_eq!(desk.loaded[0].1, Err(ChunkFault::Missing { lost_volumes }));
    }
}

#[test]
fn lost_volumes_are_named_once_and_in_order() {
    let mut desk = open(TestDisk::default(), 256, 1);
    (1..8).for_each(|number| desk.put(number, number));
    desk.step(Event::Close);
    desk.settle();
    let mut disk = desk.disk;
    let volumes = disk.files(FileKind::Volume);
    assert!(volumes.len() >= 4);
    // Two places in the third volume; the first volume is known by a floor alone, because the second's head is bad.
    for number in [2, 3] {
        disk.bytes_mut(File::Volume(number))[70] ^= 1;
    }
    let end = disk.bytes(File::Volume(3)).unwrap().len();
    disk.bytes_mut(File::Volume(3))[end - 1] ^= 1;
    disk.lose(File::Volume(1));
    let how = Start { volume_bytes: 256, boot: 2, ..Start::default() };
    let opened = start(&mut disk, &[(1, 2)].into(), how, &mut rng(0)).unwrap();
    let mut desk = Desk::new(opened.store, disk);
    desk.get(1, 99);
    assert_eq!(desk.loaded[0].1, Err(ChunkFault::Missing { lost_volumes: vec![1, 2, 3] }));
}

#[test]
fn a_start_that_may_not_write_counts_the_tail_where_it_is() {
    let mut disk = killed(1..6);
    let files = disk.files(FileKind::Volume);
    let how = Start { volume_bytes: LARGE, boot: 2, read_only: Some(DiskError::ReadOnly), ..Start::default() };
    let opened = start(&mut disk, &BTreeMap::new(), how, &mut rng(0)).unwrap();
    assert_eq!(opened.store.failed(), Some((File::Volume(2), DiskError::ReadOnly)));
    let mut desk = Desk::new(opened.store, disk);
    assert_eq!(loads(&mut desk, 0..9), [1, 2, 3, 4, 5]);
    desk.put(1, 7);
    desk.settle();
    let error = StoreError::Failed { file: File::Volume(2), error: DiskError::ReadOnly };
    assert_eq!(desk.stored, [(1, Err(error))]);
    assert_eq!(desk.disk.files(FileKind::Volume), files);
}

#[test]
fn a_copy_that_fails_leaves_a_store_that_only_reads() {
    // Five appends of a chunk each, one of the empty record, and the publication.
    for bad in 0..7 {
        let mut disk = killed(1..6);
        let how = Start { volume_bytes: LARGE, boot: 2, bad: Some(bad), ..Start::default() };
        let opened = start(&mut disk, &BTreeMap::new(), how, &mut rng(0)).unwrap();
        assert_eq!(opened.notes, [Note::WritesStopped { file: File::Volume(2), error: DiskError::Full }]);
        assert_eq!(opened.store.failed(), Some((File::Volume(2), DiskError::Full)));
        let mut desk = Desk::new(opened.store, disk);
        assert_eq!(loads(&mut desk, 0..9), [1, 2, 3, 4, 5], "request {bad} fails");
        desk.disk.remove_stages();
        assert_eq!(loads(&mut open(desk.disk, LARGE, 3), 0..9), [1, 2, 3, 4, 5]);
    }
}

#[test]
fn a_volume_that_may_not_be_read_stops_all_writing_and_is_whole_when_it_can() {
    let disk = killed(1..6);
    let mut closed = disk.clone();
    closed.refuse(File::Volume(1), DiskError::Denied);
    let how = Start { volume_bytes: LARGE, boot: 2, ..Start::default() };
    let opened = start(&mut closed, &BTreeMap::new(), how, &mut rng(0)).unwrap();
    assert!(opened.notes.contains(&Note::WritesStopped { file: File::Volume(1), error: DiskError::Denied }));
    assert_eq!(opened.store.failed(), Some((File::Volume(1), DiskError::Denied)));
    assert_eq!(closed.files(FileKind::Volume), disk.files(FileKind::Volume), "nothing says where it ends");
    assert_eq!(loads(&mut open(disk, LARGE, 2), 0..9), [1, 2, 3, 4, 5]);
}

/// Of two records of one chunk with one sequence the copy counts: it is known durable.
#[test]
fn a_copied_chunk_is_found_in_the_fresh_volume() {
    let mut disk = open(killed(1..4), LARGE, 2).disk;
    // Without the fresh volume's head nothing says where the old one ends, so both are found.
    disk.bytes_mut(File::Volume(2))[70] ^= 1;
    let probe = crate::disk::testing::recover(&mut disk, FileKind::Volume, &[]);
    for standing in [Standing::Durable, Standing::Doubtful] {
        assert_eq!(probe.positions(standing).len(), 3, "three in each");
    }
    for (number, record, _) in probe.records {
        if number == 1 {
            disk.bytes_mut(File::Volume(1))[usize::try_from(record.offset + CHUNK_OFFSET).unwrap()] ^= 1;
        }
    }
    let how = Start { volume_bytes: LARGE, boot: 3, ..Start::default() };
    let opened = start(&mut disk, &BTreeMap::new(), how, &mut rng(0)).unwrap();
    assert_eq!(loads(&mut Desk::new(opened.store, disk), 0..9), [1, 2, 3]);
}

/// Chunks that a killed process never synced, and a fresh volume with copies of them of which nothing can be read.
pub(in crate::keystore) fn doubtful(numbers: core::ops::Range<u64>) -> TestDisk {
    let mut disk = open(killed(numbers), LARGE, 2).disk;
    disk.bytes_mut(File::Volume(2)).fill(0);
    disk
}

#[test]
fn a_put_of_a_doubtful_chunk_writes_it_anew() {
    for seed in 0..40 {
        let mut desk = open(doubtful(1..6), LARGE, 3);
        assert_eq!(loads(&mut desk, 0..9), [1, 2, 3, 4, 5], "they can be read");
        assert_eq!(desk.located(2).trust, Trust::Doubtful, "which proves no sync");
        desk.stored.clear();
        desk.put(1, 2);
        desk.settle();
        assert!(desk.stored[0].1.is_ok_and(|stored| stored.fresh));
        assert_eq!(desk.notes, [Note::Synced(File::Volume(3))], "nothing was broken");
        let disk = desk.disk.crash(&mut rng(seed));
        let good = loads(&mut open(disk, LARGE, 4), 0..9);
        assert!(good.contains(&2), "seed {seed}: {good:?}");
    }
}

#[test]
fn a_doubtful_chunk_that_is_torn_is_not_there() {
    let mut disk = doubtful(1..6);
    let probe = crate::disk::testing::recover(&mut disk, FileKind::Volume, &[]);
    assert_eq!(probe.positions(Standing::Doubtful).len(), 5);
    let third = usize::try_from(probe.records[2].1.offset + CHUNK_OFFSET).unwrap();
    disk.bytes_mut(File::Volume(1))[third] ^= 1;
    let mut desk = open(disk, LARGE, 3);
    assert_eq!(loads(&mut desk, 0..9), [1, 2, 4, 5]);
    desk.loaded.clear();
    desk.get(3, 3);
    assert_eq!(desk.loaded[0].1, Err(ChunkFault::Missing { lost_volumes: vec![] }));
    // A start that may not write takes no torn chunk of a tail for a whole one either.
    let mut disk = killed(1..6);
    disk.bytes_mut(File::Volume(1))[third] ^= 1;
    let how = Start { volume_bytes: LARGE, boot: 2, read_only: Some(DiskError::ReadOnly), ..Start::default() };
    let opened = start(&mut disk, &BTreeMap::new(), how, &mut rng(0)).unwrap();
    let desk = Desk::new(opened.store, disk);
    assert_eq!(desk.store.chunk_count(), 4);
    assert_eq!(desk.located(4).trust, Trust::Doubtful);
}

#[test]
fn a_chunk_that_was_written_anew_is_found_in_its_newest_place() {
    let mut desk = Desk::reopened(LARGE, 1..4);
    *desk.body(2) ^= 1;
    desk.put(1, 2);
    desk.settle();
    let mut desk = open(desk.disk, LARGE, 3);
    assert_eq!(loads(&mut desk, 0..9), [1, 2, 3]);
    assert_eq!(desk.store.chunk_count(), 3);
}

/// Three chunks that are durable, and a tail: a fourth one, and the word that all but the first are gone.
fn killed_in_a_collect() -> TestDisk {
    let mut desk = open(TestDisk::default(), LARGE, 1);
    (1..4).for_each(|number| desk.put(number, number));
    desk.settle();
    desk.put_under(4, 4, 9);
    desk.collect(2, [1]);
    for _ in 0..2 {
        desk.flush();
        desk.wake();
    }
    assert_eq!(desk.store.chunk_count(), 1);
    // The word was taken when the fourth chunk was not durable yet, and follows it once that is.
    desk.complete();
    desk.complete();
    desk.flush();
    while desk.queue.iter().any(|(op, _)| matches!(op, WriterOp::Append { .. })) {
        let at = desk.queue.iter().position(|(op, _)| matches!(op, WriterOp::Append { .. })).unwrap();
        let (_, request) = desk.queue.remove(at).unwrap();
        desk.disk.perform(&request).unwrap();
    }
    desk.disk
}

#[test]
fn a_drop_in_the_tail_is_copied_and_counts() {
    let mut disk = killed_in_a_collect();
    for boot in 2..4 {
        let mut desk = open(disk, LARGE, boot);
        assert_eq!(loads(&mut desk, 0..9), [1, 4]);
        assert_eq!(desk.located(4).mark, 9);
        assert_eq!((desk.store.usage().drops, desk.store.usage().chunks), (1, 2));
        disk = desk.disk;
    }
}

#[test]
fn a_drop_behind_a_torn_chunk_is_cut_and_never_comes_back() {
    let mut disk = killed_in_a_collect();
    let probe = crate::disk::testing::recover(&mut disk, FileKind::Volume, &[]);
    let torn = probe.records[3].1.offset + CHUNK_OFFSET + 8;
    disk.bytes_mut(File::Volume(1))[usize::try_from(torn).unwrap()] ^= 1;
    let mut desk = open(disk, LARGE, 2);
    assert_eq!(loads(&mut desk, 0..9), [1, 2, 3]);
    desk.step(Event::Close);
    desk.settle();
    let mut disk = desk.disk;
    // Without the fresh volume's head nothing says that the old one's tail was cut.
    disk.bytes_mut(File::Volume(2))[70] ^= 1;
    let how = Start { volume_bytes: LARGE, boot: 3, ..Start::default() };
    let opened = start(&mut disk, &BTreeMap::new(), how, &mut rng(0)).unwrap();
    assert!(!opened.damages.is_empty());
    let good = loads(&mut Desk::new(opened.store, disk), 0..9);
    assert!(good.starts_with(&[1, 2, 3]), "{good:?}");
}

#[test]
fn a_start_that_may_not_write_drops_nothing_of_the_tail() {
    let mut disk = killed_in_a_collect();
    let how = Start { volume_bytes: LARGE, boot: 2, read_only: Some(DiskError::ReadOnly), ..Start::default() };
    let opened = start(&mut disk, &BTreeMap::new(), how, &mut rng(0)).unwrap();
    assert_eq!(loads(&mut Desk::new(opened.store, disk), 0..9), [1, 2, 3, 4]);
    // Nor does one whose copy fails: two appends, the empty record and the publication.
    for bad in 0..4 {
        let mut disk = killed_in_a_collect();
        let how = Start { volume_bytes: LARGE, boot: 2, bad: Some(bad), ..Start::default() };
        let opened = start(&mut disk, &BTreeMap::new(), how, &mut rng(0)).unwrap();
        assert!(opened.store.failed().is_some(), "request {bad} fails");
        assert_eq!(loads(&mut Desk::new(opened.store, disk), 0..9), [1, 2, 3, 4], "request {bad} fails");
    }
}
