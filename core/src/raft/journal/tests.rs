//! The journal: what it promises, and when.

use alloc::sync::Arc;
use alloc::vec;

use bytes::Bytes;

use super::recover::{Recovered, Recovery, Step};
use super::*;
use crate::config::RawConfig;
use crate::disk::Slot;
use crate::disk::scan::{Scan, Scanner};
use crate::disk::testing::{KEY, TestDisk, boot};
use crate::id::{KEY_LEN, NodeId};
use crate::raft::entry::Position;

pub(super) const SETTLE_AFTER: Duration = Duration::from_millis(50);

pub(super) fn config(segment_bytes: u64) -> Config {
    Config::new(RawConfig { segment_bytes, settle_after: SETTLE_AFTER, ..RawConfig::STANDARD }).unwrap()
}

pub(super) fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; KEY_LEN])
}

pub(super) fn group(voters: u8) -> Arc<Membership> {
    Arc::new(Membership::new((1..=voters).map(node)).unwrap())
}

pub(super) fn entry(term: u64, index: u64) -> Entry {
    let len = usize::try_from(index * 37 % 300).unwrap();
    let payload = match index % 5 {
        0 => Payload::Empty,
        _ => Payload::Command(Bytes::from(vec![u8::try_from((index + 7 * term) % 251).unwrap(); len])),
    };
    Entry { position: Position { term, index }, payload }
}

pub(super) fn write(number: u64) -> Write {
    Write { number, vote: None, base: None, cut: None, entries: Arc::from([]) }
}

pub(super) fn entries(number: u64, term: u64, indexes: core::ops::RangeInclusive<u64>) -> Write {
    Write { entries: indexes.map(|index| entry(term, index)).collect(), ..write(number) }
}

pub(super) fn based(number: u64, term: u64, index: u64) -> Write {
    Write { base: Some(Base { position: Position { term, index }, membership: group(1) }), ..write(number) }
}

/// A journal, its disk, and what it has said.
pub(super) struct Desk {
    pub(super) journal: Journal,
    pub(super) disk: TestDisk,
    pub(super) queue: VecDeque<(Op, DiskRequest)>,
    pub(super) persisted: u64,
    pub(super) failed: Vec<(File, DiskError)>,
    pub(super) closed: usize,
    pub(super) notes: Vec<Note>,
    pub(super) now: Now,
}

/// What a start made of a disk, with what it noted; the journal is at its desk.
pub(super) struct Started {
    pub(super) recovered: Recovered,
    pub(super) notes: Vec<Note>,
    pub(super) disk: TestDisk,
}

impl Started {
    pub(super) fn sit(self) -> Desk {
        let Self { recovered, disk, notes } = self;
        Desk {
            journal: recovered.journal,
            disk,
            queue: VecDeque::new(),
            persisted: 0,
            failed: Vec::new(),
            closed: 0,
            notes,
            now: Now::default(),
        }
    }
}

/// Lets a recovery go on to its end.
pub(super) fn start(mut disk: TestDisk, number: u64, segment_bytes: u64, members: &Arc<Membership>) -> Started {
    disk.remove_stages();
    let files = disk.files(FileKind::Journal);
    let mut recovery = Recovery::new(&config(segment_bytes), boot(number), files, Arc::clone(members), None);
    let mut notes = Vec::new();
    loop {
        match recovery.advance() {
            Step::Disk(request) => recovery.done(&disk.perform(&request)),
            Step::Note(note) => notes.push(note),
            Step::Ready => break,
        }
    }
    Started { recovered: recovery.into_recovered(), notes, disk }
}

impl Desk {
    pub(super) fn empty(segment_bytes: u64, voters: u8) -> Self {
        start(TestDisk::default(), 1, segment_bytes, &group(voters)).sit()
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Disk { op, request } => self.queue.push_back((op, request)),
                Effect::Persisted { write } => {
                    assert!(write > self.persisted, "completions come in their order");
                    self.persisted = write;
                }
                Effect::Failed { file, error } => self.failed.push((file, error)),
                Effect::Closed => self.closed += 1,
                Effect::Note(note) => self.notes.push(note),
            }
        }
        self.journal.check();
    }

    pub(super) fn step(&mut self, event: Event) {
        let mut out = Vec::new();
        self.journal.step(self.now, event, &mut out);
        self.take(out);
    }

    pub(super) fn persist(&mut self, write: Write) {
        self.step(Event::Persist(Box::new(write)));
    }

    pub(super) fn flush(&mut self) {
        let mut out = Vec::new();
        self.journal.flush(self.now, &mut out);
        self.take(out);
        let mut again = Vec::new();
        self.journal.flush(self.now, &mut again);
        assert_eq!(again, [], "a second flush emits nothing");
    }

    pub(super) fn complete(&mut self) -> bool {
        let Some((op, request)) = self.queue.pop_front() else { return false };
        let result = self.disk.perform(&request);
        self.step(Event::DiskDone { op, result });
        true
    }

    pub(super) fn fail(&mut self, error: DiskError) {
        let (op, _) = self.queue.pop_front().expect("something is under way");
        self.step(Event::DiskDone { op, result: Err(error) });
    }

    /// Flushes, completes and wakes at once what is due at once, until nothing is left to do now.
    pub(super) fn idle(&mut self) {
        loop {
            self.flush();
            if self.complete() {
                continue;
            }
            match self.journal.deadline() {
                Some(at) if at <= self.now.mono => self.step(Event::Wake),
                Some(_) | None => return,
            }
        }
    }

    /// The same, and the empty record as well.
    pub(super) fn settle(&mut self) {
        self.idle();
        while let Some(at) = self.journal.deadline() {
            self.now.mono = at;
            self.step(Event::Wake);
            self.idle();
        }
    }

    pub(super) fn write(&mut self, write: Write) {
        self.persist(write);
        self.idle();
    }

    pub(super) fn kinds(&self, segment: u64) -> Vec<Kind> {
        records(&self.disk, segment).into_iter().map(|(kind, _)| kind).collect()
    }

    fn requests(&self) -> Vec<&'static str> {
        let name = |request: &DiskRequest| match request {
            DiskRequest::Append { .. } => "append",
            DiskRequest::Sync { .. } => "sync",
            DiskRequest::Publish { .. } => "publish",
            DiskRequest::Remove { .. } => "remove",
            DiskRequest::List | DiskRequest::Read { .. } | DiskRequest::Allocate { .. } | DiskRequest::Space => "?",
        };
        self.queue.iter().map(|(_, request)| name(request)).collect()
    }
}

/// Kind and offset of the whole records of a segment.
pub(super) fn records(disk: &TestDisk, segment: u64) -> Vec<(Kind, u64)> {
    let bytes = disk.bytes(File::Journal(segment)).expect("it is there").to_vec();
    let mut scanner = Scanner::new(Stamp::new(&KEY, FileKind::Journal, segment), bytes.len() as u64);
    let mut found = Vec::new();
    loop {
        match scanner.advance() {
            Scan::Read { offset, len } => {
                let from = usize::try_from(offset).unwrap();
                scanner.feed(Ok(&bytes[from..(from + len as usize).min(bytes.len())]));
            }
            Scan::Record(record) => found.push((record.header.kind, record.offset)),
            Scan::Gap(_) => {}
            Scan::End => return found,
        }
    }
}

const LONG: u64 = 1 << 20;

#[test]
fn a_write_goes_in_its_order_and_is_told_when_append_and_sync_are_done() {
    let mut desk = Desk::empty(LONG, 1);
    let (vote, cut) = (Vote { term: 2, candidate: Some(node(1)) }, Cut { after: 3, term: 2 });
    let base = based(1, 1, 3).base;
    desk.step(Event::Rely(vec![(4, 5)]));
    desk.persist(Write { vote: Some(vote), base, cut: Some(cut), ..entries(1, 2, 4..=5) });
    desk.flush();
    assert_eq!(desk.requests(), ["append", "sync"]);
    desk.complete();
    assert_eq!(desk.persisted, 0, "appended is not durable");
    desk.complete();
    assert_eq!(desk.persisted, 1);
    let expected =
        [Kind::Head, Kind::State, Kind::Rely, Kind::Vote, Kind::Base, Kind::Cut, Kind::Log, Kind::Log].to_vec();
    assert_eq!(desk.kinds(1), expected);
}

/// All that the entries of one turn rely on, as far as a record goes.
#[test]
fn what_a_turn_relies_on_is_one_record() {
    let mut desk = Desk::empty(LONG, 1);
    for position in [5, 9, 7] {
        desk.step(Event::Rely(vec![(4, position)]));
    }
    desk.step(Event::Rely(vec![]));
    desk.step(Event::Rely(vec![(2, 1), (4, 8)]));
    desk.persist(entries(1, 1, 1..=4));
    // What is said behind a write is of later ones.
    desk.step(Event::Rely(vec![(3, 6)]));
    desk.write(entries(2, 1, 5..=5));
    let kinds = desk.kinds(1);
    let expected = [Kind::Head, Kind::State, Kind::Rely, Kind::Log, Kind::Log, Kind::Log, Kind::Log];
    assert_eq!(kinds, [&expected[..], &[Kind::Rely, Kind::Log]].concat());
    let recovered = start(desk.disk, 2, LONG, &group(1)).recovered;
    assert_eq!(recovered.volumes, [(2, 1), (3, 6), (4, 9)].into());
    assert_eq!(recovered.entries.len(), 5);
}

#[test]
fn what_a_turn_relies_on_takes_as_many_records_as_it_must() {
    let most = PUT_VOLUMES_MAX as u64;
    let mut desk = Desk::empty(LONG, 1);
    desk.step(Event::Rely((1..=most).map(|volume| (volume, 1)).collect()));
    desk.step(Event::Rely(vec![(1, 2)]));
    desk.step(Event::Rely(vec![(most, 3), (most + 1, 1)]));
    desk.write(entries(1, 1, 1..=1));
    assert_eq!(desk.kinds(1), [Kind::Head, Kind::State, Kind::Rely, Kind::Rely, Kind::Log]);
    let volumes = start(desk.disk, 2, LONG, &group(1)).recovered.volumes;
    assert_eq!(volumes.len() as u64, most + 1);
    let raised = [1, 2, most, most + 1].map(|volume| volumes[&volume]);
    assert_eq!(raised, [2, 1, 3, 1]);
}

#[test]
fn writes_share_a_sync_and_only_one_is_outstanding() {
    let mut desk = Desk::empty(LONG, 1);
    desk.persist(entries(1, 1, 1..=1));
    desk.flush();
    for number in 2..6 {
        desk.persist(entries(number, 1, number..=number));
        desk.flush();
    }
    assert_eq!(desk.requests(), ["append", "sync"]);
    desk.complete();
    desk.complete();
    assert_eq!(desk.persisted, 1);
    desk.flush();
    assert_eq!(desk.requests(), ["append", "sync"]);
    desk.complete();
    assert_eq!(desk.persisted, 1, "what is not synced is not durable");
    desk.complete();
    assert_eq!(desk.persisted, 5, "one completion stands for all");
}

#[test]
fn an_idle_journal_records_that_all_is_durable() {
    let mut desk = Desk::empty(LONG, 1);
    desk.write(entries(1, 1, 1..=2));
    let at = desk.journal.deadline().expect("it settles");
    assert_eq!(at, desk.now.mono + SETTLE_AFTER);
    desk.step(Event::Wake);
    desk.flush();
    assert!(desk.queue.is_empty(), "a wake-up before the deadline changes nothing");
    desk.now.mono = at;
    desk.step(Event::Wake);
    desk.flush();
    assert_eq!(desk.requests(), ["append", "sync"], "a wake-up at the deadline does");
    desk.idle();
    assert_eq!(desk.kinds(1).last(), Some(&Kind::Empty));
    assert!(desk.notes.contains(&Note::Settled));
    assert_eq!(desk.journal.deadline(), None, "no empty record follows the empty one");
}

#[test]
fn a_full_segment_is_sealed_before_the_next_takes_a_record() {
    let mut desk = Desk::empty(256, 1);
    desk.persist(entries(1, 1, 1..=3));
    desk.flush();
    desk.complete();
    desk.complete();
    assert!(!desk.disk.files(FileKind::Journal).iter().any(|(number, _)| *number == 2));
    desk.idle();
    assert_eq!(desk.persisted, 1);
    for segment in 1..=2 {
        assert_eq!(desk.kinds(segment), [Kind::Head, Kind::State, Kind::Log, Kind::Footer]);
    }
    assert_eq!(desk.kinds(3), [Kind::Head, Kind::State, Kind::Log]);
}

#[test]
fn a_long_write_is_spread_over_turns() {
    let mut desk = Desk::empty(1 << 30, 1);
    let large = |index| Entry {
        position: Position { term: 1, index },
        payload: Payload::Command(Bytes::from(vec![1; 60_000])),
    };
    desk.persist(Write { entries: (1..=20).map(large).collect(), ..write(1) });
    let mut turns = 0;
    loop {
        let mut out = Vec::new();
        desk.journal.flush(desk.now, &mut out);
        let bytes: usize = out
            .iter()
            .map(|effect| match effect {
                Effect::Disk { request: DiskRequest::Append { parts, .. }, .. } => parts.iter().map(Bytes::len).sum(),
                Effect::Disk { .. }
                | Effect::Persisted { .. }
                | Effect::Failed { .. }
                | Effect::Closed
                | Effect::Note(_) => 0,
            })
            .sum();
        assert!(bytes > 0 && bytes <= STEP_BYTES_MAX + 64_000, "{bytes} bytes in a turn");
        desk.take(out);
        turns += 1;
        if desk.journal.deadline() != Some(desk.now.mono) {
            break;
        }
        desk.step(Event::Wake);
    }
    assert!(turns >= 4, "{turns} turns");
    desk.idle();
    assert_eq!(desk.persisted, 1);
}

#[test]
fn a_failed_append_or_sync_closes_the_file_for_writing() {
    for synced in [false, true] {
        let mut desk = Desk::empty(LONG, 1);
        desk.write(entries(1, 1, 1..=1));
        desk.persist(entries(2, 1, 2..=2));
        desk.flush();
        if synced {
            desk.complete();
        }
        desk.fail(DiskError::Full);
        while desk.complete() {}
        assert_eq!((desk.persisted, &desk.failed[..]), (1, &[(File::Journal(1), DiskError::Full)][..]));
        desk.persist(entries(3, 1, 3..=3));
        desk.settle();
        assert_eq!((desk.persisted, desk.failed.len()), (1, 1), "and that is said once");
        desk.step(Event::Close);
        desk.idle();
        assert_eq!(desk.closed, 1);
    }
}

#[test]
fn a_close_waits_for_what_is_under_way_and_seals() {
    let mut desk = Desk::empty(LONG, 1);
    desk.persist(entries(1, 1, 1..=4));
    desk.step(Event::Close);
    desk.flush();
    assert_eq!(desk.closed, 0);
    desk.idle();
    assert_eq!((desk.closed, desk.persisted), (1, 1));
    assert_eq!(desk.kinds(1).last(), Some(&Kind::Footer));
    let started = start(desk.disk, 2, LONG, &group(1));
    assert_eq!(started.recovered.entries.len(), 4);
    let mut desk = started.sit();
    desk.step(Event::Close);
    desk.idle();
    assert_eq!((desk.closed, desk.disk.files(FileKind::Journal).len()), (1, 1), "nothing new, no new segment");
}

/// Before the log may get to anybody else, that is durable, and a sealed segment says so.
#[test]
fn a_log_that_others_are_to_get_says_so_first() {
    let mut desk = Desk::empty(LONG, 1);
    desk.write(entries(1, 1, 1..=1));
    let both = group(2);
    let spread = Entry { position: Position { term: 1, index: 2 }, payload: Payload::Membership(both) };
    desk.write(Write { entries: Arc::from([spread]), ..write(2) });
    assert_eq!(desk.kinds(1), [Kind::Head, Kind::State, Kind::Log, Kind::State, Kind::Footer]);
    assert_eq!(desk.kinds(2), [Kind::Head, Kind::State, Kind::Log]);
    assert_eq!(desk.persisted, 2);
    let recovered = start(desk.disk.clone(), 2, LONG, &group(1)).recovered;
    assert!(recovered.replicated);
    desk.write(entries(3, 1, 3..=3));
    assert_eq!(desk.kinds(2).len(), 4, "it is said once");
}

fn removals(desk: &Desk) -> Vec<u64> {
    let removed = |note: &Note| if let Note::SegmentRemoved { segment, .. } = note { Some(*segment) } else { None };
    desk.notes.iter().filter_map(removed).collect()
}

#[test]
fn segments_that_a_snapshot_covers_go_once_the_catalog_says_so_twice() {
    let mut desk = Desk::empty(256, 1);
    desk.write(entries(1, 1, 1..=6));
    let before = desk.disk.files(FileKind::Journal).len();
    assert_eq!(before, 6);
    desk.persist(based(2, 1, 4));
    let mut seen = Vec::new();
    loop {
        desk.flush();
        if let Some((op, request)) = desk.queue.front() {
            match (op, request) {
                (Op::Writer(_), _) | (Op::Catalog, DiskRequest::Append { .. }) => {}
                (Op::Catalog | Op::Remove, request) => seen.push(request.clone()),
            }
        }
        if desk.complete() {
            continue;
        }
        let Some(at) = desk.journal.deadline() else { break };
        assert!(seen.is_empty() || desk.persisted == 2);
        desk.now.mono = at;
        desk.step(Event::Wake);
    }
    let publish = |slot| DiskRequest::Publish { stage: 3, to: File::Slot(slot) };
    let mut expected = vec![publish(Slot::JournalOdd), publish(Slot::JournalEven)];
    expected.extend((1..=4).map(|segment| DiskRequest::Remove { file: File::Journal(segment) }));
    assert_eq!(seen, expected);
    assert_eq!(removals(&desk), [1, 2, 3, 4]);
    let recovered = start(desk.disk, 2, 256, &group(1)).recovered;
    assert_eq!((recovered.entries, &recovered.damages[..]), (vec![entry(1, 5), entry(1, 6)], &[][..]));
}

/// A base that a loss of power may still take away, or rot at the end of the segment, takes no segment.
#[test]
fn no_segment_goes_before_a_later_record_knows_the_base_durable() {
    let mut desk = Desk::empty(256, 1);
    desk.write(entries(1, 1, 1..=6));
    desk.settle();
    desk.write(based(2, 1, 6));
    assert_eq!(desk.persisted, 2);
    assert_eq!(removals(&desk), Vec::<u64>::new());
    desk.settle();
    assert_eq!(removals(&desk).len(), desk.notes.iter().filter(|note| matches!(note, Note::Sealed(_))).count());
    assert_ne!(removals(&desk), Vec::<u64>::new());
}

/// A segment without any entry is as old as its vote, which the next one has to have.
#[test]
fn no_segment_goes_before_what_it_says_is_said_again_and_proven() {
    let mut desk = Desk::empty(256, 1);
    for term in 1..=2 {
        let vote = Some(Vote { term, candidate: None });
        desk.write(Write { vote, ..write(term) });
        assert_eq!((desk.persisted, removals(&desk)), (term, Vec::new()));
    }
    desk.settle();
    assert_eq!(removals(&desk), [1]);
}

/// What only a cut tells (rule R1) outlives its segment.
#[test]
fn the_accepted_term_outlives_the_segment_of_its_cut() {
    let mut desk = Desk::empty(256, 1);
    desk.write(entries(1, 1, 1..=4));
    desk.write(Write { cut: Some(Cut { after: 3, term: 5 }), ..write(2) });
    // An entry of an older term, from the leader of this one.
    desk.write(entries(3, 1, 4..=4));
    desk.write(based(4, 1, 4));
    desk.write(Write { vote: Some(Vote { term: 6, candidate: None }), ..write(5) });
    desk.settle();
    let left: Vec<Kind> =
        desk.disk.files(FileKind::Journal).iter().flat_map(|(number, _)| desk.kinds(*number)).collect();
    assert!(!left.contains(&Kind::Cut), "{left:?}");
    assert_eq!(start(desk.disk, 2, 256, &group(1)).recovered.accepted, 5);
}

#[test]
fn a_removal_that_fails_is_noted_and_not_tried_again() {
    for (catalog, file) in [(true, File::Slot(Slot::JournalOdd)), (false, File::Journal(1))] {
        let mut desk = Desk::empty(256, 1);
        desk.write(entries(1, 1, 1..=3));
        desk.persist(based(2, 1, 3));
        loop {
            desk.flush();
            match desk.queue.front() {
                Some((Op::Catalog, _)) if catalog => desk.fail(DiskError::Io(5)),
                Some((Op::Remove, _)) => desk.fail(DiskError::Io(5)),
                Some(_) => _ = desk.complete(),
                None => match desk.journal.deadline() {
                    Some(at) => {
                        desk.now.mono = at;
                        desk.step(Event::Wake);
                    }
                    None => break,
                },
            }
        }
        assert!(desk.notes.contains(&Note::RemovalFailed { file, error: DiskError::Io(5) }));
        assert_eq!(removals(&desk), Vec::<u64>::new());
        desk.write(entries(3, 1, 4..=9));
        desk.write(based(4, 1, 9));
        desk.settle();
        assert_eq!((removals(&desk), desk.persisted), (Vec::new(), 4), "but writing goes on");
    }
}
