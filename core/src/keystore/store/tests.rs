//! The chunk store: what it promises, and when.

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::config::RawConfig;
use crate::disk::record::FileKind;
use crate::disk::testing::{TestDisk, boot};
use crate::keystore::filter::SALT_LEN;
use crate::limits::STORES_MAX;

pub(in crate::keystore) fn config(volume_bytes: u64) -> Config {
    Config::new(RawConfig { volume_bytes, ..RawConfig::STANDARD }).unwrap()
}

/// The chunk of a number: some are empty, small, or longer than what is copied into a batch.
pub(in crate::keystore) fn chunk(number: u64) -> VerifiedChunk {
    let len = if number % 6 == 5 { 5_000 } else { usize::try_from(number * 211 % 900).unwrap() };
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + len, u8::try_from(number % 250).unwrap());
    VerifiedChunk::new(bytes.into())
}

/// A store, its disk, and what it has said.
pub(in crate::keystore) struct Desk {
    pub(in crate::keystore) store: Store,
    pub(in crate::keystore) disk: TestDisk,
    /// What time it is.
    pub(in crate::keystore) now: Now,
    /// Requests of the volume, in order.
    pub(in crate::keystore) queue: VecDeque<(WriterOp, DiskRequest)>,
    /// Reads, performed when they were asked for.
    pub(in crate::keystore) reads: VecDeque<(u64, DiskResult)>,
    pub(in crate::keystore) written: Vec<u64>,
    pub(in crate::keystore) stored: Vec<(u64, Result<StoredChunk, StoreError>)>,
    pub(in crate::keystore) loaded: Vec<(u64, Result<VerifiedChunk, ChunkFault>)>,
    pub(in crate::keystore) collected: Vec<(u64, Result<Collected, StoreError>)>,
    /// The request of a compaction, not performed.
    pub(in crate::keystore) others: VecDeque<(Token, DiskRequest)>,
    /// The request of a checkpoint, not performed.
    pub(in crate::keystore) cache: VecDeque<DiskRequest>,
    /// How often volumes were read for a compaction.
    pub(in crate::keystore) scans: usize,
    /// The most that one flush wanted.
    pub(in crate::keystore) most_effects: usize,
    pub(in crate::keystore) compacted: Vec<Result<Compacted, StoreError>>,
    pub(in crate::keystore) closed: usize,
    pub(in crate::keystore) notes: Vec<Note>,
}

impl Desk {
    pub(in crate::keystore) fn new(store: Store, disk: TestDisk) -> Self {
        Self {
            store,
            disk,
            now: Now::default(),
            queue: VecDeque::new(),
            reads: VecDeque::new(),
            written: Vec::new(),
            stored: Vec::new(),
            loaded: Vec::new(),
            collected: Vec::new(),
            others: VecDeque::new(),
            cache: VecDeque::new(),
            scans: 0,
            most_effects: 0,
            compacted: Vec::new(),
            closed: 0,
            notes: Vec::new(),
        }
    }

    pub(in crate::keystore) fn empty(volume_bytes: u64) -> Self {
        Self::new(Store::new(&config(volume_bytes), boot(1), Index::new(), 1), TestDisk::default())
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Disk { token: Token::Volume(op), request } => self.queue.push_back((op, request)),
                Effect::Disk { token: Token::Read(number), request } => {
                    let result = self.disk.perform(&request);
                    self.reads.push_back((number, result));
                }
                Effect::Disk { token: Token::Checkpoint, request } => {
                    assert!(self.cache.is_empty(), "a checkpoint asks for one thing at a time");
                    self.cache.push_back(request);
                }
                Effect::Disk { token, request } => {
                    assert!(self.others.is_empty(), "a compaction asks for one thing at a time");
                    self.scans += usize::from(token == Token::Scan);
                    self.others.push_back((token, request));
                }
                Effect::Compacted(result) => self.compacted.push(result),
                Effect::Written { ticket } => self.written.push(ticket.number),
                Effect::Stored { ticket, result } => self.stored.push((ticket.number, result)),
                Effect::Loaded { ticket, result } => self.loaded.push((ticket.number, result)),
                Effect::Collected { epoch, result } => self.collected.push((epoch, result)),
                Effect::Closed => self.closed += 1,
                Effect::Note(note) => self.notes.push(note),
            }
        }
        self.store.check();
    }

    pub(in crate::keystore) fn step(&mut self, event: Event) {
        let mut out = Vec::new();
        self.store.step(self.now, event, &mut out);
        self.take(out);
    }

    /// Puts a chunk under a ticket.
    pub(in crate::keystore) fn put(&mut self, ticket: u64, number: u64) {
        self.put_under(ticket, number, 0);
    }

    /// Puts a chunk under a ticket and a lease.
    pub(in crate::keystore) fn put_under(&mut self, ticket: u64, number: u64, lease: u64) {
        self.step(Event::Put { ticket: Ticket { owner: 1, number: ticket }, chunk: chunk(number), lease });
    }

    pub(in crate::keystore) fn touch(&mut self, ticket: u64, number: u64, lease: u64) {
        self.step(Event::Touch { ticket: Ticket { owner: 1, number: ticket }, chunk: chunk(number).id(), lease });
    }

    /// Begins a collect that finds the chunks of these numbers in use, and no others.
    pub(in crate::keystore) fn collect(&mut self, epoch: u64, used: impl IntoIterator<Item = u64>) {
        // So much room for so few that no other chunk of a test is in it by chance.
        let mut filter = Filter::builder(epoch, [0; SALT_LEN], 10_000);
        used.into_iter().for_each(|number| filter.insert(&chunk(number).id()));
        self.step(Event::Collect { epoch, filter: Arc::new(filter.finish()) });
    }

    /// Whether it wants to go on by itself.
    pub(in crate::keystore) fn is_due(&self) -> bool {
        self.store.deadline().is_some_and(|due| due <= self.now.mono)
    }

    /// What is due is done, as far as the disk allows.
    pub(in crate::keystore) fn wake(&mut self) -> bool {
        let due = self.is_due();
        if due {
            self.step(Event::Wake);
        }
        due
    }

    pub(in crate::keystore) fn get(&mut self, ticket: u64, number: u64) {
        self.step(Event::Get { ticket: Ticket { owner: 2, number: ticket }, chunk: chunk(number).id() });
    }

    pub(in crate::keystore) fn flush(&mut self) {
        let mut out = Vec::new();
        self.store.flush(self.now, &mut out);
        self.most_effects = self.most_effects.max(out.len());
        self.take(out);
        let mut again = Vec::new();
        self.store.flush(self.now, &mut again);
        assert_eq!(again, [], "a second flush emits nothing");
        if !self.is_due() {
            self.store.step(self.now, Event::Wake, &mut again);
            self.store.flush(self.now, &mut again);
            assert_eq!(again, [], "nor does a wake-up that nobody asked for");
        }
    }

    pub(in crate::keystore) fn complete(&mut self) -> bool {
        let Some((op, request)) = self.queue.pop_front() else { return false };
        let result = self.disk.perform(&request);
        self.step(Event::DiskDone { token: Token::Volume(op), result });
        true
    }

    pub(in crate::keystore) fn complete_read(&mut self) -> bool {
        let Some((number, result)) = self.reads.pop_front() else { return false };
        self.step(Event::DiskDone { token: Token::Read(number), result });
        true
    }

    /// Performs the request of a compaction.
    pub(in crate::keystore) fn complete_other(&mut self) -> bool {
        let Some((token, request)) = self.others.pop_front() else { return false };
        let result = self.disk.perform(&request);
        self.step(Event::DiskDone { token, result });
        true
    }

    /// Performs the request of a checkpoint.
    pub(in crate::keystore) fn complete_cache(&mut self) -> bool {
        let Some(request) = self.cache.pop_front() else { return false };
        let result = self.disk.perform(&request);
        self.step(Event::DiskDone { token: Token::Checkpoint, result });
        true
    }

    /// The request of a checkpoint ends badly, after a part of it happened.
    pub(in crate::keystore) fn fail_cache(&mut self, draws: &mut crate::rng::Rng) {
        if let Some(request) = self.cache.pop_front() {
            self.disk.interrupt(&request, draws);
            self.step(Event::DiskDone { token: Token::Checkpoint, result: Err(IO) });
        }
    }

    /// The request of a checkpoint ends like this.
    pub(in crate::keystore) fn step_cache(&mut self, result: DiskResult) {
        _ = self.cache.pop_front().expect("a request is outstanding");
        self.step(Event::DiskDone { token: Token::Checkpoint, result });
    }

    /// So much time passes that checkpoints are written.
    pub(in crate::keystore) fn pass(&mut self) {
        self.flush();
        self.now.mono = self.now.mono + core::time::Duration::from_secs(3_600);
    }

    /// The request of a compaction ends badly.
    pub(in crate::keystore) fn fail_other(&mut self, error: DiskError) {
        if let Some((token, _)) = self.others.pop_front() {
            self.step(Event::DiskDone { token, result: Err(error) });
        }
    }

    /// One turn, and one thing that was waited for. Returns whether there was one.
    pub(in crate::keystore) fn advance(&mut self) -> bool {
        self.flush();
        self.complete() || self.complete_read() || self.complete_other() || self.complete_cache() || self.wake()
    }

    /// The oldest request of the volume, and all issued behind it, end badly.
    pub(in crate::keystore) fn fail(&mut self, error: DiskError) {
        while let Some((op, _)) = self.queue.pop_front() {
            self.step(Event::DiskDone { token: Token::Volume(op), result: Err(error) });
        }
    }

    /// Turns until nothing is left to do.
    pub(in crate::keystore) fn settle(&mut self) {
        while self.advance() {}
    }

    /// A store with these chunks, started anew, so that it has proven none of them.
    pub(in crate::keystore) fn reopened(volume_bytes: u64, numbers: core::ops::Range<u64>) -> Self {
        let mut desk = Self::empty(volume_bytes);
        numbers.for_each(|number| desk.put(number, number));
        desk.step(Event::Close);
        desk.settle();
        assert_eq!(desk.closed, 1);
        let disk = desk.disk;
        super::super::recover::tests::open(disk, volume_bytes, 2)
    }

    /// What the index has of a chunk.
    pub(in crate::keystore) fn located(&self, number: u64) -> Located {
        self.store.index.get(&chunk(number).id()).expect("the chunk is in the index")
    }

    /// What the disk has of a chunk, to be harmed.
    pub(in crate::keystore) fn body(&mut self, number: u64) -> &mut u8 {
        let located = self.located(number);
        let at = usize::try_from(located.bytes_offset()).unwrap();
        &mut self.disk.bytes_mut(File::Volume(located.place.volume))[at]
    }

    fn ops(&self) -> Vec<WriterOp> {
        self.queue.iter().map(|(op, _)| *op).collect()
    }

    /// For each put that ended well: its ticket, the position, and whether it wrote.
    fn ends(&self) -> Vec<(u64, u64, bool)> {
        let end = |(ticket, result): &(u64, Result<StoredChunk, StoreError>)| {
            let StoredChunk { place, fresh, .. } = (*result).expect("this put ends well");
            (*ticket, place.position, fresh)
        };
        self.stored.iter().map(end).collect()
    }
}

const IO: DiskError = DiskError::Io(5);
const LARGE: u64 = 1 << 20;

mod compact;
mod reclaim;
mod scrub;

#[test]
fn a_chunk_is_stored_when_it_is_durable_and_puts_share_syncs() {
    let mut desk = Desk::empty(LARGE);
    desk.put(1, 1);
    desk.put(2, 2);
    desk.flush();
    assert_eq!(desk.ops(), [WriterOp::Append { through: 3 }, WriterOp::Sync { through: 3 }]);
    assert_eq!((&desk.written[..], &desk.stored[..]), (&[][..], &[][..]));
    desk.complete();
    assert_eq!((&desk.written[..], &desk.stored[..]), (&[1, 2][..], &[][..]), "written is not durable");
    desk.get(1, 1);
    assert_eq!(desk.loaded[0].1, Err(ChunkFault::Missing { lost_volumes: vec![] }), "not stored yet");
    desk.put(3, 3);
    desk.flush();
    assert_eq!(desk.ops(), [WriterOp::Sync { through: 3 }], "what comes meanwhile waits for it");
    desk.complete();
    assert_eq!(desk.ends(), [(1, 2, true), (2, 3, true)]);
    desk.settle();
    assert_eq!(desk.ends().last(), Some(&(3, 4, true)));
    desk.get(2, 1);
    desk.settle();
    assert_eq!(desk.loaded[1], (2, Ok(chunk(1))));
}

#[test]
fn puts_of_one_chunk_share_a_record_at_whatever_moment_they_come() {
    let mut desk = Desk::empty(LARGE);
    desk.put(1, 7);
    desk.put(2, 7);
    assert_eq!(desk.written, [2], "the second put's bytes are not needed");
    desk.flush();
    desk.put(3, 7);
    desk.complete();
    desk.put(4, 7);
    desk.settle();
    desk.put(5, 7);
    assert_eq!(desk.ends(), [(1, 2, true), (2, 2, false), (3, 2, false), (4, 2, false), (5, 2, false)]);
    assert!(desk.queue.is_empty() && desk.reads.is_empty(), "this boot has hashed it");
    assert_eq!(desk.store.chunk_count(), 1);
}

#[test]
fn a_chunk_of_an_earlier_boot_is_read_before_a_put_relies_on_it() {
    let mut desk = Desk::reopened(LARGE, 1..4);
    desk.put(1, 2);
    assert_eq!((desk.reads.len(), desk.stored.len()), (1, 0));
    desk.settle();
    assert_eq!((desk.written.clone(), desk.ends()), (vec![1], vec![(1, 3, false)]));
    desk.put(2, 2);
    assert_eq!((desk.reads.len(), desk.stored.len()), (0, 2), "proven once is enough");
    assert_eq!(desk.disk.files(FileKind::Volume).len(), 1, "nothing was written");
}

#[test]
fn a_get_proves_a_chunk_too() {
    let mut desk = Desk::reopened(LARGE, 1..4);
    desk.get(1, 2);
    desk.settle();
    desk.put(1, 2);
    assert_eq!(desk.ends(), [(1, 3, false)]);
}

#[test]
fn a_chunk_that_is_found_bad_is_written_anew_once() {
    let mut desk = Desk::reopened(LARGE, 1..4);
    *desk.body(2) ^= 1;
    let bad = desk.located(2).place;
    desk.put(1, 2);
    desk.put(2, 2);
    desk.put(3, 2);
    // The first answer writes; the second comes while it is on its way, the third when it is durable.
    desk.complete_read();
    desk.complete_read();
    desk.flush();
    while desk.complete() {
        desk.flush();
    }
    desk.settle();
    assert_eq!(desk.ends(), [(1, 2, true), (2, 2, false), (3, 2, false)]);
    let place = desk.located(2).place;
    assert_eq!((bad.volume, place.volume, place.position), (1, 2, 2));
    let healed = desk.notes.iter().filter(|note| **note == Note::ChunkHealed(chunk(2).id())).count();
    assert_eq!(healed, 1);
    desk.get(4, 2);
    desk.settle();
    assert_eq!(desk.loaded[0].1, Ok(chunk(2)));
    let volume = desk.disk.bytes(File::Volume(2)).unwrap().len() as u64;
    desk.put(5, 2);
    desk.settle();
    assert_eq!(desk.disk.bytes(File::Volume(2)).unwrap().len() as u64, volume, "and not again");
}

/// A read that began before a chunk went bad says nothing against one that began later and ends first.
#[test]
fn a_chunk_that_was_found_bad_is_not_good_again_by_an_older_read() {
    let mut desk = Desk::reopened(LARGE, 1..4);
    desk.get(1, 2);
    *desk.body(2) ^= 1;
    desk.get(2, 2);
    desk.reads.swap(0, 1);
    desk.settle();
    assert_eq!(desk.loaded.iter().map(|(_, result)| result.is_ok()).collect::<Vec<_>>(), [false, true]);
    desk.put(3, 2);
    desk.settle();
    assert_eq!(desk.ends(), [(3, 2, true)], "written anew");
}

#[test]
fn a_get_tells_what_is_wrong_with_a_chunk() {
    let mut desk = Desk::reopened(LARGE, 1..4);
    *desk.body(1) ^= 1;
    let [bad, unreadable] = [1, 3].map(|number| desk.located(number).place);
    desk.get(1, 1);
    desk.disk.spoil(File::Volume(1), usize::try_from(desk.located(3).bytes_offset()).unwrap());
    desk.get(2, 3);
    desk.get(3, 9);
    desk.settle();
    desk.loaded.sort_by_key(|(ticket, _)| *ticket);
    let expected = [
        (1, Err(ChunkFault::Mismatch(bad))),
        (2, Err(ChunkFault::Unreadable(unreadable, IO))),
        (3, Err(ChunkFault::Missing { lost_volumes: vec![] })),
    ];
    assert_eq!(desk.loaded, expected);
    assert!(
        desk.notes.iter().any(|note| matches!(note, Note::ChunkMismatch { chunk: id, .. } if *id == chunk(1).id()))
    );
}

#[test]
fn the_next_volume_waits_for_the_footer_of_the_full_one() {
    let mut desk = Desk::empty(256);
    for number in 1..8 {
        desk.put(number, number);
    }
    let mut seen = 1;
    loop {
        desk.flush();
        for (_, request) in &desk.queue {
            if let DiskRequest::Append { file, offset: 0, .. } = request {
                assert!(*file == File::Volume(1) || desk.queue.len() == 2, "nothing of the old volume is under way");
                seen = seen.max(desk.disk.files(FileKind::Volume).len() + 1);
            }
        }
        if !desk.complete() {
            break;
        }
    }
    assert!(seen > 3, "a volume of 256 bytes has room for little");
    let mut tickets: Vec<u64> = desk.ends().iter().map(|(ticket, ..)| *ticket).collect();
    tickets.sort_unstable();
    assert_eq!(tickets, [1, 2, 3, 4, 5, 6, 7]);
    let sealed = desk.notes.iter().filter(|note| matches!(note, Note::Sealed(_))).count();
    assert_eq!(sealed + 1, seen);
    let found = crate::disk::testing::recover(&mut desk.disk, FileKind::Volume, &[]);
    assert_eq!((found.records.len(), found.lost()), (7, vec![]));
}

#[test]
fn a_failure_fails_every_put_that_needs_to_write_and_no_get() {
    for (fail_append, error) in [(true, IO), (false, IO), (true, DiskError::Full)] {
        let mut desk = Desk::reopened(256, 1..3);
        let old = desk.disk.files(FileKind::Volume).len() as u64;
        let expected = match error {
            DiskError::Full => StoreError::Full,
            error => StoreError::Failed { file: File::Volume(old + 1), error },
        };
        for number in 10..14 {
            desk.put(number, number);
        }
        desk.put(14, 10);
        desk.put(1, 1);
        *desk.body(2) ^= 1;
        desk.put(2, 2);
        desk.flush();
        if !fail_append {
            desk.complete();
        }
        desk.fail(error);
        desk.put(20, 20);
        desk.settle();
        desk.put(21, 2);
        desk.stored.sort_by_key(|(ticket, _)| *ticket);
        let (good, failed): (Vec<_>, Vec<_>) = desk.stored.iter().partition(|(_, result)| result.is_ok());
        assert_eq!(good.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [1], "nothing to write, durable before");
        assert_eq!(failed.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [2, 10, 11, 12, 13, 14, 20, 21]);
        assert!(failed.iter().all(|(_, result)| *result == Err(expected)), "{failed:?}");
        assert_eq!(desk.store.failed(), Some((File::Volume(old + 1), error)));
        desk.get(30, 1);
        desk.get(31, 10);
        desk.settle();
        let loaded: Vec<(u64, bool)> = desk.loaded.iter().map(|(ticket, result)| (*ticket, result.is_ok())).collect();
        assert_eq!(loaded, [(31, false), (30, true)]);
        desk.step(Event::Close);
        desk.flush();
        assert_eq!((desk.closed, desk.queue.len()), (1, 0), "a store that can't write closes at once");
    }
}

#[test]
fn closing_stores_what_was_put_and_ends_with_a_footer() {
    for volume_bytes in [256, LARGE] {
        let mut desk = Desk::empty(volume_bytes);
        for number in 1..6 {
            desk.put(number, number);
        }
        desk.step(Event::Close);
        desk.put(6, 6);
        assert_eq!(desk.stored, [(6, Err(StoreError::Closing))]);
        desk.stored.clear();
        desk.settle();
        assert_eq!((desk.ends().len(), desk.closed), (5, 1));
        let found = crate::disk::testing::recover(&mut desk.disk, FileKind::Volume, &[]);
        assert!(found.ending.closed);
        desk.settle();
        assert_eq!(desk.closed, 1, "said once");
        desk.get(1, 1);
        desk.settle();
        assert_eq!(desk.loaded[0].1, Ok(chunk(1)), "gets go on");
    }
}

/// A put that was taken before the close may turn out to need a new record.
#[test]
fn closing_waits_for_the_check_of_a_chunk_that_is_put_again() {
    let mut desk = Desk::reopened(LARGE, 1..4);
    *desk.body(2) ^= 1;
    desk.put(1, 2);
    desk.step(Event::Close);
    desk.flush();
    assert_eq!(desk.closed, 0);
    desk.settle();
    assert_eq!((desk.ends(), desk.closed), (vec![(1, 2, true)], 1));
    let found = crate::disk::testing::recover(&mut desk.disk, FileKind::Volume, &[]);
    assert!(found.ending.closed, "nothing is written behind the close");
    assert_eq!(found.ending.last.number, 2);
}

#[test]
fn a_store_that_wrote_nothing_closes_without_a_file() {
    let mut desk = Desk::empty(256);
    desk.step(Event::Close);
    desk.flush();
    assert_eq!((desk.closed, desk.queue.len()), (1, 0));
}

#[test]
fn more_puts_than_may_wait_are_refused() {
    let bound = STORES_MAX as u64;
    // Puts wait for a sync, for the same chunk, or for the next volume.
    for (same, volume_bytes) in [(false, 1 << 30), (true, 1 << 30), (false, 1_000)] {
        let mut desk = Desk::empty(volume_bytes);
        for ticket in 0..=bound {
            // Numbers whose chunks are small.
            desk.put(ticket, if same { 1 } else { ticket * 6 });
        }
        assert_eq!(desk.stored, [(bound, Err(StoreError::Busy))], "one chunk: {same}, volumes of {volume_bytes} bytes");
        desk.stored.clear();
        desk.settle();
        assert_eq!(desk.ends().len() as u64, bound);
        desk.put(1, 1);
        desk.settle();
        assert_eq!(desk.ends().len() as u64, bound + 1, "there is room again");
    }
}
