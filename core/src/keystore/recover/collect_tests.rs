//! What collects and compactions may take and what not, against a model, over any chain of crashes and failures.
//!
//! The model knows for each chunk the least that must be true: whether it must be there, and under which mark; and
//! whether it may be there at all. Between the two is what depends on timing, which nobody was promised.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::tests::{Start, open, start};
use super::*;
use crate::disk::Slot;
use crate::disk::Verify;
use crate::disk::testing::{TestDisk, boot, fixed_cases, rng};
use crate::disk::writer::WriterOp;
use crate::keystore::index::{Index, Located, Trust};
use crate::keystore::store::Event;
use crate::keystore::store::tests::{Desk, chunk};
use crate::keystore::{Compacted, StoreError};
use crate::rng::Rng;

const CHUNKS: u64 = 10;

#[derive(Clone, Debug)]
enum Op {
    /// A chunk, and how far the lease is behind the epoch.
    Put(u64, u64),
    Touch(u64, u64),
    Get(u64),
    /// Whether the epoch is a new one, and a bit for each chunk in use.
    Collect(bool, u64),
    Flush,
    Wake,
    Complete,
    CompleteRead,
    /// Somebody wants space back.
    Compact,
    CompleteOther,
    /// The request of a compaction fails.
    FailOther(DiskError),
    /// Time passes, so that checkpoints are written.
    Later,
    CompleteCache,
    /// The request of a checkpoint fails, after a part of it happened.
    FailCache(u64),
    /// A checkpoint is cut short, changed, or lost.
    Harm(u64),
    /// One slot of the catalog is lost before the next start.
    LoseSlot(Slot),
    /// So many turns, each with one completion.
    Run(usize),
    /// Rot of a chunk in an older volume.
    Rot(u64),
    /// The oldest request fails, after a part of it happened.
    Fail(u64),
    /// A clean end and another start.
    Reopen,
    Close,
    Kill(u64),
    Crash(u64),
    Doom(usize),
}

fn any_op() -> impl Strategy<Value = Op> {
    let lease = || prop_oneof![3 => Just(0), 1 => 1..3u64];
    let error = proptest::sample::select(vec![DiskError::Io(5), DiskError::Denied, DiskError::Full]);
    let slot = proptest::sample::select(vec![Slot::CatalogEven, Slot::CatalogOdd]);
    prop_oneof![
        12 => (0..CHUNKS, lease()).prop_map(|(number, behind)| Op::Put(number, behind)),
        6 => (0..CHUNKS, lease()).prop_map(|(number, behind)| Op::Touch(number, behind)),
        2 => (0..CHUNKS).prop_map(Op::Get),
        4 => (any::<bool>(), 0..1u64 << CHUNKS).prop_map(|(new, used)| Op::Collect(new, used)),
        10 => Just(Op::Flush),
        10 => Just(Op::Wake),
        12 => Just(Op::Complete),
        5 => Just(Op::CompleteRead),
        3 => Just(Op::Compact),
        6 => Just(Op::CompleteOther),
        1 => error.prop_map(Op::FailOther),
        3 => Just(Op::Later),
        8 => Just(Op::CompleteCache),
        1 => any::<u64>().prop_map(Op::FailCache),
        2 => any::<u64>().prop_map(Op::Harm),
        1 => slot.prop_map(Op::LoseSlot),
        6 => (1..30usize).prop_map(Op::Run),
        1 => (0..CHUNKS).prop_map(Op::Rot),
        1 => any::<u64>().prop_map(Op::Fail),
        1 => Just(Op::Reopen),
        1 => Just(Op::Close),
        1 => any::<u64>().prop_map(Op::Kill),
        2 => any::<u64>().prop_map(Op::Crash),
        1 => (0..4usize).prop_map(Op::Doom),
    ]
}

/// What is known of a chunk.
#[derive(Clone, Copy, Default)]
struct Known {
    /// It is there, with a mark that is at least this.
    must: Option<u64>,
    /// It may be there.
    may: bool,
    /// Its mark is at most this.
    asked: u64,
    /// Puts without an answer.
    puts: u64,
    /// Whether a put came since the collect under way began, or was on its way then.
    put_meanwhile: bool,
    /// Whether the disk has other bytes for it.
    rotten: bool,
}

/// A store that is started again and again.
struct Life {
    desk: Desk,
    how: Start,
    epoch: u64,
    /// Chunk and lease of each put and touch of this boot that has no answer yet, and whether it is a put.
    asked: BTreeMap<u64, (u64, u64, bool)>,
    next: u64,
    known: [Known; CHUNKS as usize],
    /// Epoch and chunks in use of the collect under way.
    collect: Option<(u64, u64)>,
    /// The one of this boot that did not come to its end. What it has dropped stays dropped.
    ended: Option<(u64, u64)>,
    /// Whether a compaction that was asked for has no answer yet.
    compacting: bool,
    /// Volumes that were removed.
    removed: BTreeSet<u64>,
    lose: Option<Slot>,
    doom: Option<usize>,
}

const fn in_use(used: u64, number: u64) -> bool {
    used >> number & 1 == 1
}

/// Harms some checkpoint, if there is one.
fn harm(disk: &mut TestDisk, draws: &mut Rng) {
    let all: Vec<_> = disk.checkpoints().into_iter().filter(|(_, len)| *len > 0).collect();
    let Some((number, len)) = all.get(usize::try_from(draws.below(all.len().max(1) as u64)).unwrap()).copied() else {
        return;
    };
    let (file, at) = (File::Checkpoint(number), usize::try_from(draws.below(len)).unwrap());
    let mut bytes = disk.bytes(file).expect("it is listed").to_vec();
    disk.lose(file);
    match draws.below(3) {
        0 => return,
        1 => bytes.truncate(at),
        _ => bytes[at] ^= 1 << draws.below(8),
    }
    disk.put(file, bytes);
}

fn volumes(index: &Index) -> Vec<(u64, crate::keystore::index::VolumeUse)> {
    index.volumes().collect()
}

/// The index, but for what a start can't know.
fn entries(index: &Index, compacted: bool) -> Vec<(crate::id::ChunkId, Located)> {
    let known = |located: Located| Located { trust: Trust::Unchecked, stale: located.stale && !compacted, ..located };
    index.walk(None).map(|(id, located)| (id, known(located))).collect()
}

impl Life {
    fn new(volume_bytes: u64) -> Self {
        Self {
            desk: open(TestDisk::default(), volume_bytes, 1),
            how: Start { volume_bytes, boot: 1, ..Start::default() },
            epoch: 1,
            asked: BTreeMap::new(),
            next: 0,
            known: [Known::default(); CHUNKS as usize],
            collect: None,
            ended: None,
            compacting: false,
            removed: BTreeSet::new(),
            lose: None,
            doom: None,
        }
    }

    fn known(&mut self, number: u64) -> &mut Known {
        &mut self.known[usize::try_from(number).unwrap()]
    }

    fn perform(&mut self, op: &Op) {
        match *op {
            Op::Put(number, behind) => self.ask(number, behind, true),
            Op::Touch(number, behind) => self.ask(number, behind, false),
            Op::Get(number) => self.desk.get(number, number),
            Op::Collect(new, used) => self.begin_collect(new, used),
            Op::Flush => self.desk.flush(),
            Op::Wake => drop(self.desk.wake()),
            Op::Complete => drop(self.desk.complete()),
            Op::CompleteRead => drop(self.desk.complete_read()),
            Op::Compact => self.compact(),
            Op::CompleteOther => drop(self.desk.complete_other()),
            Op::FailOther(error) => self.desk.fail_other(error),
            Op::Later => self.desk.pass(),
            Op::CompleteCache => drop(self.desk.complete_cache()),
            Op::FailCache(seed) => self.desk.fail_cache(&mut rng(seed)),
            Op::Harm(seed) => harm(&mut self.desk.disk, &mut rng(seed)),
            Op::LoseSlot(slot) => self.lose = Some(slot),
            Op::Run(turns) => drop((0..turns).all(|_| self.desk.advance())),
            Op::Rot(number) => self.rot(number),
            Op::Fail(seed) => {
                if let Some((_, request)) = self.desk.queue.front() {
                    self.desk.disk.interrupt(request, &mut rng(seed));
                    self.desk.fail(DiskError::Io(5));
                }
            }
            Op::Close => self.desk.step(Event::Close),
            Op::Reopen => self.reopen(),
            Op::Kill(seed) => self.end(seed, false),
            Op::Crash(seed) => self.end(seed, true),
            Op::Doom(writes) => self.doom = Some(writes),
        }
        self.look();
    }

    fn ask(&mut self, number: u64, behind: u64, put: bool) {
        let lease = self.epoch.saturating_sub(behind);
        let ticket = self.next;
        self.next += 1;
        self.asked.insert(ticket, (number, lease, put));
        let known = self.known(number);
        known.asked = known.asked.max(lease);
        if put {
            (known.may, known.put_meanwhile) = (true, true);
            known.puts += 1;
            self.desk.put_under(ticket, number, lease);
        } else {
            self.desk.touch(ticket, number, lease);
        }
    }

    fn begin_collect(&mut self, new: bool, used: u64) {
        self.epoch += u64::from(new);
        let epoch = self.epoch;
        let refused = self.collect.is_some() || self.desk.store.failed().is_some() || self.desk.closed > 0;
        let before = self.desk.collected.len();
        self.desk.collect(epoch, (0..CHUNKS).filter(|number| in_use(used, *number)));
        if self.desk.collected.len() > before {
            // Refused at once: under way already, closing or failed.
            let (_, result) = self.desk.collected.pop().expect("just answered");
            assert!(result.is_err());
            return;
        }
        assert!(!refused, "one at a time");
        self.collect = Some((epoch, used));
        for number in 0..CHUNKS {
            let known = self.known(number);
            known.put_meanwhile = known.puts > 0;
            if !in_use(used, number) {
                known.must = known.must.filter(|mark| *mark >= epoch);
            }
        }
    }

    fn compact(&mut self) {
        let before = self.desk.compacted.len();
        self.desk.step(Event::Compact);
        if self.desk.compacted.len() > before {
            let result = self.desk.compacted.pop().expect("just answered");
            assert!(result.is_err() && (result != Err(StoreError::Busy) || self.compacting));
        } else {
            assert!(!self.compacting, "one at a time");
            self.compacting = true;
        }
    }

    fn rot(&mut self, number: u64) {
        let newest = self.desk.disk.files(FileKind::Volume).last().map_or(0, |(volume, _)| *volume);
        let Some(located) = self.desk.store.index().get(&chunk(number).id()) else { return };
        if located.place.volume < newest {
            *self.desk.body(number) ^= 1;
            let request = DiskRequest::Read {
                file: File::Volume(located.place.volume),
                offset: located.bytes_offset(),
                len: located.bytes,
                verify: Verify::Chunk(chunk(number).id()),
            };
            // Twice is as if nothing had happened.
            self.known(number).rotten = self.desk.disk.perform(&request) == Ok(DiskReply::Mismatch);
        }
    }

    /// Takes the answers, and compares.
    fn look(&mut self) {
        for (ticket, result) in core::mem::take(&mut self.desk.stored) {
            let (number, lease, put) = self.asked.remove(&ticket).expect("a put ends once");
            let collect = self.collect.or(self.ended);
            let known = self.known(number);
            known.puts -= u64::from(put);
            match result {
                Ok(stored) => {
                    known.rotten &= !stored.fresh;
                    let mark = known.must.unwrap_or(0).max(lease);
                    if collect.is_none_or(|(epoch, used)| mark >= epoch || in_use(used, number)) {
                        known.must = Some(mark);
                    }
                }
                Err(StoreError::Missing) => assert!(!put, "a put brings what it needs"),
                Err(StoreError::Closing | StoreError::Failed { .. }) => {}
                Err(error @ (StoreError::Busy | StoreError::Full)) => panic!("{error:?} out of nowhere"),
            }
        }
        for (epoch, result) in core::mem::take(&mut self.desk.collected) {
            let (begun, used) = self.collect.take().expect("a collect ends once");
            assert_eq!(epoch, begun);
            self.ended = result.is_err().then_some((begun, used));
            for known in result.iter().flat_map(|_| (0..CHUNKS).filter(|number| !in_use(used, *number))) {
                let known = self.known(known);
                if known.asked < epoch && !known.put_meanwhile {
                    *known = Known { puts: known.puts, ..Known::default() };
                }
            }
        }
        for _ in self.desk.compacted.drain(..) {
            assert!(core::mem::take(&mut self.compacting), "a compaction ends once");
        }
        for note in self.desk.notes.drain(..) {
            match note {
                Note::VolumeRemoved { volume, .. }
                | Note::RemovalFailed { file: File::Volume(volume), .. }
                | Note::RemovedAgain(File::Volume(volume)) => _ = self.removed.insert(volume),
                _ => {}
            }
        }
        self.compare();
    }

    fn compare(&mut self) {
        for number in 0..CHUNKS {
            let located = self.desk.store.index().get(&chunk(number).id());
            let known = self.known(number);
            assert!(known.may || located.is_none(), "chunk {number} was dropped and comes back");
            let Some(mark) = known.must else { continue };
            let there = located.map(|located| located.mark);
            assert!(there.is_some_and(|there| there >= mark), "chunk {number} has mark {there:?} of {mark}");
        }
    }

    fn reopen(&mut self) {
        self.desk.step(Event::Close);
        self.desk.settle();
        let closed = self.desk.store.failed().is_none();
        self.look();
        assert!(self.asked.is_empty() && self.collect.is_none() && !self.compacting, "what is asked is answered");
        // After a compaction that did not come to its end chunks are in two volumes, which only a start finds out.
        let compacted = self.desk.scans > 0;
        let known = |store: &Store| (entries(store.index(), compacted), volumes(store.index()));
        let before = known(&self.desk.store);
        (self.lose, self.doom) = (None, None);
        self.restart(&mut rng(0));
        let after = known(&self.desk.store);
        // One that was as good as removed when the store was closed is removed by the start.
        let finished = before.1.iter().any(|(volume, _)| self.removed.contains(volume));
        assert!(
            !closed || finished || before == after,
            "a start finds what the store knew: {before:?} became {after:?}"
        );
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
        if let Some((_, request)) = self.desk.others.pop_front() {
            if draws.chance(1, 2) {
                self.desk.disk.interrupt(&request, &mut draws);
            } else {
                self.desk.disk.perform(&request).unwrap();
            }
        }
        if let Some(request) = self.desk.cache.pop_front() {
            if draws.chance(1, 2) {
                self.desk.disk.interrupt(&request, &mut draws);
            } else {
                // The volume that it is of may have been removed.
                _ = self.desk.disk.perform(&request);
            }
        }
        if power {
            self.desk.disk = self.desk.disk.crash(&mut draws);
        }
        self.restart(&mut draws);
    }

    /// Starts until a start lives, and takes what it found for durable.
    fn restart(&mut self, draws: &mut Rng) {
        let mut disk = core::mem::take(&mut self.desk.disk);
        self.lose_slot(&mut disk);
        let opened = loop {
            self.how = Start { boot: self.how.boot + 1, doom: self.doom.take(), ..self.how };
            match start(&mut disk, &BTreeMap::new(), self.how, draws) {
                Some(opened) => break opened,
                None if draws.chance(1, 2) => disk = disk.crash(draws),
                None => {}
            }
        };
        assert_eq!(opened.damages, [], "a crash is no damage");
        opened.store.index().check();
        self.desk = Desk::new(opened.store, disk);
        for (volume, _) in self.desk.disk.files(FileKind::Volume) {
            assert!(!self.removed.contains(&volume), "volume {volume} was removed and is there after a start");
        }
        for volume in &self.removed {
            assert_eq!(self.desk.store.index().volume(*volume), None, "volume {volume} was removed and is read");
        }
        self.asked.clear();
        (self.collect, self.ended, self.compacting) = (None, None, false);
        self.desk.notes = opened.notes;
        self.compare();
        for number in 0..CHUNKS {
            let mark = self.desk.store.index().get(&chunk(number).id()).map(|located| located.mark);
            let known = self.known(number);
            assert!(mark.is_none_or(|mark| mark <= known.asked), "chunk {number} has a mark that nobody asked for");
            let rotten = known.rotten && mark.is_some();
            *known = Known { must: mark, may: mark.is_some(), asked: mark.unwrap_or(0), rotten, ..Known::default() };
        }
        self.load();
    }

    /// Loses a slot if the other one can stand in.
    fn lose_slot(&mut self, disk: &mut TestDisk) {
        let is_whole = |slot: &Slot| {
            disk.bytes(File::Slot(*slot))
                .is_some_and(|bytes| Catalog::decode(FileKind::Volume, &boot(1).store, bytes).is_some())
        };
        if let Some(slot) = self.lose.take()
            && [Slot::CatalogEven, Slot::CatalogOdd].iter().all(is_whole)
        {
            disk.lose(File::Slot(slot));
        }
    }

    /// What a compaction gives back that somebody asks for and that nothing disturbs.
    fn give_back(&mut self) {
        for round in 0.. {
            assert!(round < 4, "there is an end");
            self.compact();
            self.desk.settle();
            let [Ok(compacted)] = self.desk.compacted[..] else { panic!("{:?}", self.desk.compacted) };
            self.look();
            if compacted == Compacted::default() {
                break;
            }
        }
        for (volume, usage) in self.desk.store.index().volumes() {
            let dead = usage.dead_bytes();
            assert!(dead <= 512 + usage.file_bytes / 10, "volume {volume} has {dead} dead bytes: {usage:?}");
        }
        let files = self.desk.disk.files(FileKind::Volume);
        let known = self.desk.store.index().volumes().map(|(volume, usage)| (volume, usage.file_bytes));
        assert_eq!(files, known.collect::<Vec<_>>(), "the disk has what the index has");
    }

    /// Everything that is there comes back with its bytes.
    fn load(&mut self) {
        for number in 0..CHUNKS {
            self.desk.get(number, number);
        }
        while self.desk.complete_read() {}
        for (number, result) in core::mem::take(&mut self.desk.loaded) {
            let known = *self.known(number);
            match result {
                Ok(loaded) => assert!(known.may && loaded == chunk(number)),
                Err(_) => assert!(known.must.is_none() || known.rotten, "chunk {number} is there and can't be read"),
            }
        }
        // Reading everything has proven it; start once more so that puts have something to check.
        self.how.boot += 1;
        let disk = core::mem::take(&mut self.desk.disk);
        let notes = core::mem::take(&mut self.desk.notes);
        self.desk = open(disk, self.how.volume_bytes, self.how.boot);
        self.desk.notes.extend(notes);
        self.look();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..fixed_cases() })]

    #[test]
    fn collects_and_compactions_take_what_they_may_and_nothing_else(
        ops in proptest::collection::vec(any_op(), 0..200),
        volume_bytes in prop_oneof![256..4_000u64, Just(1 << 20)],
        end: u64,
    ) {
        let mut life = Life::new(volume_bytes);
        ops.iter().for_each(|op| life.perform(op));
        life.end(end, true);
        // What is asked is answered, and what may go goes.
        (0..CHUNKS).for_each(|number| life.perform(&Op::Put(number, 1)));
        life.desk.settle();
        life.perform(&Op::Collect(true, 3));
        life.desk.settle();
        life.look();
        prop_assert!(life.asked.is_empty() && life.collect.is_none());
        prop_assert_eq!(life.desk.store.chunk_count(), 2);
        life.give_back();
        life.reopen();
        prop_assert_eq!(life.desk.store.chunk_count(), 2);
    }
}
