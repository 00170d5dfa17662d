//! The log of the only voter: what it promises, and when.

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::config::RawConfig;
use crate::disk::DiskReply;
use crate::disk::testing::{TestDisk, boot};
use crate::keystore::manifest_codec::tests::inline;
use crate::ledger::file::Expect;
use crate::ledger::name::Name;
use crate::time::WallTime;

pub(in crate::ledger) const SETTLE_AFTER: Duration = Duration::from_millis(50);

/// Segments that are full after so many bytes.
pub(in crate::ledger) fn config(segment_bytes: u64) -> Config {
    Config::new(RawConfig { segment_bytes, settle_after: SETTLE_AFTER, ..RawConfig::STANDARD }).unwrap()
}

/// A put of a content that no other number has, under one of a few names; or a deletion.
pub(in crate::ledger) fn command(number: u64) -> Command {
    let name = Name::new(&[b'a' + u8::try_from(number % 5).unwrap()]).unwrap();
    let (time, expect) = (WallTime::from_nanos(number), Expect::Any);
    if number % 7 == 6 {
        return Command::Delete { time, name, expect };
    }
    let content = vec![u8::try_from(number % 256).unwrap(); 8 + usize::try_from(number * 37 % 400).unwrap()];
    Command::Put { time, lease: 0, name, expect, manifest: inline(&content) }
}

/// A log, its disk, and what it has said.
pub(in crate::ledger) struct Desk {
    pub(in crate::ledger) log: Log,
    pub(in crate::ledger) disk: TestDisk,
    pub(in crate::ledger) queue: VecDeque<(WriterOp, DiskRequest)>,
    pub(in crate::ledger) committed: Vec<(u64, u64)>,
    pub(in crate::ledger) refused: Vec<(u64, LogError)>,
    pub(in crate::ledger) closed: usize,
    pub(in crate::ledger) notes: Vec<Note>,
    pub(in crate::ledger) now: Now,
}

impl Desk {
    pub(in crate::ledger) fn new(log: Log, disk: TestDisk) -> Self {
        Self {
            log,
            disk,
            queue: VecDeque::new(),
            committed: Vec::new(),
            refused: Vec::new(),
            closed: 0,
            notes: Vec::new(),
            now: Now::default(),
        }
    }

    fn empty(segment_bytes: u64) -> Self {
        let log = Log::new(&config(segment_bytes), boot(1), 0, Predecessor::default(), None);
        Self::new(log, TestDisk::default())
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Disk { op, request } => self.queue.push_back((op, request)),
                Effect::Committed { ticket, index, command: committed } => {
                    assert_eq!(committed, command(ticket), "what was proposed under the ticket");
                    self.committed.push((ticket, index));
                }
                Effect::Refused { ticket, error } => self.refused.push((ticket, error)),
                Effect::Closed => self.closed += 1,
                Effect::Note(note) => self.notes.push(note),
            }
        }
        self.log.check();
    }

    pub(in crate::ledger) fn step(&mut self, event: Event) {
        let mut out = Vec::new();
        self.log.step(self.now, event, &mut out);
        self.take(out);
    }

    pub(in crate::ledger) fn propose(&mut self, number: u64) {
        let volumes = [(number % 3 + 1, number)].into();
        self.step(Event::Propose { ticket: number, volumes, command: command(number) });
    }

    pub(in crate::ledger) fn flush(&mut self) {
        let mut out = Vec::new();
        self.log.flush(self.now, &mut out);
        self.take(out);
        let mut again = Vec::new();
        self.log.flush(self.now, &mut again);
        assert_eq!(again, [], "a second flush emits nothing");
    }

    pub(in crate::ledger) fn complete(&mut self) -> bool {
        let Some((op, request)) = self.queue.pop_front() else { return false };
        let result = self.disk.perform(&request);
        self.step(Event::DiskDone { op, result });
        true
    }

    /// The oldest request ends badly.
    fn fail(&mut self, error: DiskError) {
        let (op, _) = self.queue.pop_front().expect("something is under way");
        self.step(Event::DiskDone { op, result: Err(error) });
    }

    /// Turns until nothing is left but a deadline.
    pub(in crate::ledger) fn settle(&mut self) {
        loop {
            self.flush();
            if !self.complete() {
                break;
            }
        }
    }

    pub(in crate::ledger) fn wait(&mut self, span: Duration) {
        self.now.mono = self.now.mono + span;
        self.step(Event::Wake);
    }

    fn ops(&self) -> Vec<WriterOp> {
        self.queue.iter().map(|(op, _)| *op).collect()
    }
}

const IO: DiskError = DiskError::Io(5);

#[test]
fn a_command_is_committed_when_it_is_durable_and_commands_share_syncs() {
    let mut desk = Desk::empty(1 << 20);
    desk.propose(1);
    desk.propose(2);
    assert!(desk.queue.is_empty(), "a turn ends with its flush");
    desk.flush();
    assert_eq!(desk.ops(), [WriterOp::Append { through: 3 }, WriterOp::Sync { through: 3 }]);
    desk.propose(3);
    desk.flush();
    assert_eq!(desk.ops().len(), 3, "appended at once, synced with the next");
    desk.complete();
    assert_eq!(desk.committed, [], "written is not durable");
    desk.complete();
    assert_eq!(desk.committed, [(1, 1), (2, 2)]);
    desk.flush();
    desk.settle();
    assert_eq!(desk.committed, [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(desk.notes.iter().filter(|note| **note == Note::Synced(File::Journal(1))).count(), 2);
}

#[test]
fn a_full_segment_is_sealed_before_the_next_one_begins() {
    let mut desk = Desk::empty(256);
    for number in 1..10 {
        desk.propose(number);
    }
    let mut created = Vec::new();
    loop {
        desk.flush();
        for (_, request) in &desk.queue {
            if let DiskRequest::Append { file, offset: 0, .. } = request {
                created.push(*file);
                let sealed = desk.notes.iter().rev().take(2).any(|note| matches!(note, Note::Sealed(_)));
                assert!(*file == File::Journal(1) || sealed, "{file} waits for the footer before it");
                assert_eq!(desk.queue.len(), 2, "nothing of the old segment is under way");
            }
        }
        if !desk.complete() {
            break;
        }
    }
    created.dedup();
    assert!(created.len() > 3, "a segment of 256 bytes has room for a few commands");
    let expected: Vec<(u64, u64)> = (1..10).map(|number| (number, number)).collect();
    assert_eq!(desk.committed, expected, "in order");
}

#[test]
fn an_idle_log_settles_once() {
    let mut desk = Desk::empty(1 << 20);
    desk.settle();
    assert_eq!(desk.log.deadline(), None, "nothing was said yet");
    desk.propose(1);
    desk.settle();
    let due = desk.now.mono + SETTLE_AFTER;
    assert_eq!(desk.log.deadline(), Some(due));
    desk.wait(SETTLE_AFTER - Duration::from_nanos(1));
    desk.settle();
    assert!(desk.log.deadline() == Some(due) && !desk.notes.contains(&Note::Settled));
    desk.wait(Duration::from_nanos(1));
    assert_eq!(desk.log.deadline(), None);
    desk.flush();
    assert_eq!(desk.ops(), [WriterOp::Append { through: 3 }, WriterOp::Sync { through: 3 }]);
    desk.settle();
    assert_eq!(desk.notes.iter().filter(|note| **note == Note::Settled).count(), 1);
    assert_eq!(desk.log.deadline(), None, "no empty record follows an empty record");
    desk.wait(10 * SETTLE_AFTER);
    desk.settle();
    desk.propose(2);
    desk.settle();
    assert_eq!(desk.log.deadline(), Some(desk.now.mono + SETTLE_AFTER), "another command, another empty record");
    desk.propose(3);
    desk.flush();
    assert_eq!(desk.log.deadline(), None, "a busy log has better proof on its way");
}

#[test]
fn a_failure_leaves_what_was_on_its_way_unknown_and_refuses_the_rest() {
    for fail_append in [true, false] {
        let mut desk = Desk::empty(1 << 20);
        desk.propose(1);
        desk.settle();
        desk.propose(2);
        desk.flush();
        if !fail_append {
            desk.complete();
        }
        desk.propose(3);
        desk.flush();
        desk.propose(4);
        desk.fail(IO);
        let stopped = LogError::Stopped { file: File::Journal(1), error: IO };
        let expected = [(2, LogError::Unknown(IO)), (3, LogError::Unknown(IO)), (4, stopped)];
        assert_eq!(desk.refused, expected);
        assert_eq!(desk.log.failed(), Some((File::Journal(1), IO)));
        while !desk.queue.is_empty() {
            desk.fail(IO);
        }
        desk.propose(5);
        desk.settle();
        assert_eq!(desk.refused.last(), Some(&(5, stopped)));
        assert_eq!((&desk.committed[..], desk.log.deadline()), (&[(1, 1)][..], None));
        let stops = desk.notes.iter().filter(|note| matches!(note, Note::WritesStopped { .. })).count();
        assert_eq!(stops, 1);
        desk.step(Event::Close);
        desk.flush();
        assert_eq!(desk.closed, 1, "a log that can't write closes at once");
    }
}

#[test]
fn closing_commits_what_was_proposed_and_ends_with_a_footer() {
    for segment_bytes in [256, 1 << 20] {
        let mut desk = Desk::empty(segment_bytes);
        for number in 1..5 {
            desk.propose(number);
        }
        desk.step(Event::Close);
        desk.propose(5);
        assert_eq!(desk.refused, [(5, LogError::Closing)]);
        desk.settle();
        assert_eq!((desk.committed.len(), desk.closed, desk.log.deadline()), (4, 1, None));
        let newest = desk.disk.files(FileKind::Journal).last().unwrap().0;
        let found = crate::disk::testing::recover(&mut desk.disk, FileKind::Journal, &[]);
        assert!(found.ending.closed && found.ending.last.number == newest);
        desk.settle();
        assert_eq!(desk.closed, 1, "said once");
    }
}

#[test]
fn a_log_that_wrote_nothing_closes_without_a_file() {
    let mut desk = Desk::empty(256);
    desk.step(Event::Close);
    desk.flush();
    assert_eq!((desk.closed, desk.queue.len()), (1, 0));
}

#[test]
fn more_commands_than_may_wait_are_refused() {
    let mut desk = Desk::empty(1 << 20);
    let bound = PROPOSALS_MAX as u64;
    for number in 0..bound {
        desk.propose(number);
    }
    desk.flush();
    desk.propose(bound);
    assert_eq!(desk.refused, [(bound, LogError::Busy)]);
    desk.settle();
    desk.propose(bound + 1);
    desk.settle();
    assert_eq!(desk.committed.len() as u64, bound + 1);
}

#[test]
fn a_result_that_comes_behind_a_failure_changes_nothing() {
    let mut desk = Desk::empty(1 << 20);
    desk.propose(1);
    desk.flush();
    let (append, sync) = (desk.queue[0].0, desk.queue[1].0);
    desk.step(Event::DiskDone { op: append, result: Err(DiskError::Full) });
    desk.step(Event::DiskDone { op: sync, result: Ok(DiskReply::Done) });
    desk.queue.clear();
    desk.settle();
    assert_eq!((desk.committed.len(), desk.refused.len()), (0, 1));
}
