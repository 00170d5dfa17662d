//! A member that is alone, over starts, crashes and harm: every committed command is there, and what is there is a
//! prefix of what was proposed.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::recover::{Recovered, Recovery, Step};
use super::*;
use crate::config::{Config, RawConfig};
use crate::disk::damage::{Damage, DamageKind};
use crate::disk::halt::HaltReason;
use crate::disk::record::FileKind;
use crate::disk::testing::{TestDisk, boot, fixed_cases, rng};
use crate::disk::{DiskReply, DiskRequest};
use crate::keystore::manifest_codec::tests::inline;
use crate::ledger::command::Command;
use crate::ledger::file::Expect;
use crate::ledger::name::Name;
use crate::note::Note;
use crate::rng::{Rng, Seed};
use crate::time::WallTime;

const SETTLE_AFTER: Duration = Duration::from_millis(50);

fn config() -> Config {
    Config::new(RawConfig { segment_bytes: 1_500, settle_after: SETTLE_AFTER, ..RawConfig::STANDARD }).unwrap()
}

fn founding(snapshot_entries: u64) -> Founding {
    let id = NodeId::from_bytes([1; 20]);
    let settings = Settings { raft: RaftSettings { trailing_entries: 0, ..RaftSettings::STANDARD }, snapshot_entries };
    Founding { id, members: Arc::new(Membership::new([id]).unwrap()), settings }
}

/// A put of a content that no other number has, under one of a few names; or a deletion.
fn command(number: u64) -> Command {
    let name = Name::new(alloc::format!("name {}", number % 5).as_bytes()).unwrap();
    // A leader puts what the clocks of the voters say, and that of these tests stands still.
    let (time, expect) = (WallTime::default(), Expect::Any);
    if number % 7 == 6 {
        return Command::Delete { time, name, expect };
    }
    let content = vec![u8::try_from(number % 256).unwrap(); 8 + usize::try_from(number * 37 % 400).unwrap()];
    Command::Put { time, lease: 0, name, expect, manifest: inline(&content) }
}

/// The root after these commands.
fn root(commands: &[u64]) -> [u8; 32] {
    let mut ledger = State::new();
    for (index, number) in (1..).zip(commands) {
        ledger.apply(index, &command(*number));
    }
    ledger.root()
}

/// Why a start came to nothing.
#[derive(Debug)]
enum Ended {
    Killed,
    Halted(HaltReason),
}

/// A start that may die after so many writes.
fn start(
    disk: &mut TestDisk,
    number: u64,
    snapshot_entries: u64,
    read_only: Option<DiskError>,
    mut doom: Option<usize>,
    draws: &mut Rng,
) -> Result<(Recovered, Vec<Note>), Ended> {
    disk.remove_stages();
    let (segments, snapshots) = (disk.files(FileKind::Journal), disk.snapshots());
    let founding = founding(snapshot_entries);
    let mut recovery = Recovery::new(&config(), founding, boot(number), segments, snapshots, read_only).of_one();
    let mut notes = Vec::new();
    loop {
        match recovery.advance() {
            Step::Disk(request) => {
                if !matches!(request, DiskRequest::Read { .. }) {
                    assert_eq!(read_only, None, "nothing is written");
                    if doom == Some(0) {
                        disk.interrupt(&request, draws);
                        return Err(Ended::Killed);
                    }
                    doom = doom.map(|left| left - 1);
                }
                recovery.done(&disk.perform(&request));
            }
            Step::Note(note) => notes.push(note),
            Step::Halt(reason) => return Err(Ended::Halted(reason)),
            Step::Ready => return Ok((recovery.into_recovered(Seed::new([7; 32]), Now::default()), notes)),
        }
    }
}

/// A member, its disk, and what it has said.
struct Desk {
    replica: Replica,
    disk: TestDisk,
    queue: VecDeque<(OpId, DiskRequest)>,
    decided: Vec<(u64, Result<u64, Refusal>)>,
    closed: bool,
    notes: Vec<Note>,
    now: Now,
}

impl Desk {
    fn new(recovered: Recovered, disk: TestDisk) -> Self {
        let (queue, decided, notes) = (VecDeque::new(), Vec::new(), Vec::new());
        let mut desk =
            Self { replica: recovered.replica, disk, queue, decided, closed: false, notes, now: Now::default() };
        while desk.replica.deadline().is_some_and(|at| at <= desk.now.mono) {
            desk.turn(vec![Event::Wake]);
        }
        desk
    }

    fn open(mut disk: TestDisk, number: u64, snapshot_entries: u64) -> Self {
        let started = start(&mut disk, number, snapshot_entries, None, None, &mut rng(0));
        Self::new(started.expect("nothing kills it").0, disk)
    }

    fn turn(&mut self, events: Vec<Event>) {
        let mut out = Vec::new();
        for event in events {
            self.replica.step(self.now, event, &mut out);
        }
        self.replica.flush(self.now, &mut out);
        self.replica.check();
        for effect in out {
            match effect {
                Effect::Disk { op, request } => self.queue.push_back((op, request)),
                Effect::Decided { ticket, result } => {
                    self.decided.push((ticket, result.map(|decision| decision.position.index)));
                }
                Effect::Closed => self.closed = true,
                Effect::Note(note) => self.notes.push(note),
                effect @ (Effect::Send(_)
                | Effect::Changed { .. }
                | Effect::Readable { .. }
                | Effect::Passed { .. }
                | Effect::Halt(_)) => {
                    panic!("a member that is alone does not do that: {effect:?}")
                }
            }
        }
    }

    fn propose(number: u64) -> Event {
        let volumes = vec![(number % 3 + 1, number)];
        Event::Propose { ticket: number, volumes, command: command(number) }
    }

    fn complete(&mut self) {
        if let Some((op, request)) = self.queue.pop_front() {
            let result = self.disk.perform(&request);
            self.turn(vec![Event::DiskDone { op, result }]);
        }
    }

    /// Turns until nothing is left but a deadline to come.
    fn run(&mut self) {
        while !self.queue.is_empty() || self.replica.deadline().is_some_and(|at| at <= self.now.mono) {
            if self.queue.is_empty() {
                self.turn(vec![Event::Wake]);
            }
            self.complete();
        }
    }

    /// Commits these, one after the other.
    fn commit(&mut self, numbers: core::ops::Range<u64>) {
        for number in numbers {
            self.turn(vec![Self::propose(number)]);
            self.run();
        }
    }

    fn wait(&mut self, span: Duration) {
        self.now.mono = self.now.mono + span;
        self.turn(vec![Event::Wake]);
    }

    fn close(mut self) -> TestDisk {
        self.turn(vec![Event::Close]);
        self.run();
        assert!(self.closed);
        self.disk
    }

    fn root(&self) -> [u8; 32] {
        self.replica.ledger().root()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Propose,
    Flush,
    Complete,
    /// The oldest request fails, after a part of it happened.
    Fail(u64),
    Wait,
    Close,
    Kill(u64),
    Crash(u64),
    Doom(usize),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => Just(Op::Propose),
        8 => Just(Op::Flush),
        16 => Just(Op::Complete),
        1 => any::<u64>().prop_map(Op::Fail),
        1 => Just(Op::Wait),
        1 => Just(Op::Close),
        1 => any::<u64>().prop_map(Op::Kill),
        2 => any::<u64>().prop_map(Op::Crash),
        1 => (0..6usize).prop_map(Op::Doom),
    ]
}

/// A ledger that is started again and again.
struct Life {
    desk: Desk,
    snapshot_entries: u64,
    boots: u64,
    /// What may be in the log, in the order of indexes; the first `durable` must be.
    commands: Vec<u64>,
    durable: usize,
    next: u64,
    proposed: Vec<Event>,
    doom: Option<usize>,
}

impl Life {
    fn new(snapshot_entries: u64) -> Self {
        let desk = Desk::open(TestDisk::default(), 1, snapshot_entries);
        Self {
            desk,
            snapshot_entries,
            boots: 1,
            commands: Vec::new(),
            durable: 0,
            next: 1,
            proposed: Vec::new(),
            doom: None,
        }
    }

    fn perform(&mut self, op: &Op) {
        match *op {
            Op::Propose => {
                self.commands.push(self.next);
                self.proposed.push(Desk::propose(self.next));
                self.next += 1;
            }
            Op::Flush => self.flush(),
            Op::Complete => {
                self.flush();
                self.desk.complete();
            }
            Op::Fail(seed) => {
                self.flush();
                self.fail(seed);
            }
            Op::Wait => {
                self.flush();
                self.desk.wait(SETTLE_AFTER);
            }
            Op::Close => {
                self.proposed.push(Event::Close);
                self.flush();
            }
            Op::Kill(seed) => self.end(seed, false),
            Op::Crash(seed) => self.end(seed, true),
            Op::Doom(writes) => self.doom = Some(writes),
        }
        self.look();
    }

    fn flush(&mut self) {
        let events = core::mem::take(&mut self.proposed);
        self.desk.turn(if events.is_empty() { vec![Event::Wake] } else { events });
    }

    fn fail(&mut self, seed: u64) {
        if let Some((_, request)) = self.desk.queue.front() {
            self.desk.disk.interrupt(request, &mut rng(seed));
        }
        // Whatever was issued behind it fails too.
        while let Some((op, _)) = self.desk.queue.pop_front() {
            self.desk.turn(vec![Event::DiskDone { op, result: Err(DiskError::Io(5)) }]);
        }
    }

    fn look(&mut self) {
        for (number, result) in self.desk.decided.drain(..) {
            match result {
                Ok(index) => {
                    let index = usize::try_from(index).unwrap();
                    assert_eq!(self.commands[index - 1], number, "committed in the order proposed");
                    assert_eq!(index, self.durable + 1, "without a hole");
                    self.durable = index;
                }
                Err(Refusal::Unknown(_)) => {}
                Err(_) => self.commands.retain(|command| *command != number),
            }
        }
    }

    /// The process dies, perhaps with the machine, and starts until it runs.
    fn end(&mut self, seed: u64, power: bool) {
        for event in self.proposed.drain(..) {
            if let Event::Propose { ticket, .. } = event {
                self.commands.retain(|command| *command != ticket);
            }
        }
        let mut draws = rng(seed);
        for (_, request) in core::mem::take(&mut self.desk.queue) {
            if draws.chance(1, 4) {
                self.desk.disk.interrupt(&request, &mut draws);
                break;
            }
            if !matches!(request, DiskRequest::Sync { .. }) {
                _ = self.desk.disk.perform(&request);
            }
        }
        let mut disk = core::mem::take(&mut self.desk.disk);
        if power {
            disk = disk.crash(&mut draws);
        }
        let recovered = loop {
            self.boots += 1;
            match start(&mut disk, self.boots, self.snapshot_entries, None, self.doom.take(), &mut draws) {
                Ok((recovered, _)) => break recovered,
                Err(Ended::Halted(reason)) => panic!("{reason}"),
                Err(Ended::Killed) if draws.chance(1, 2) => disk = disk.crash(&mut draws),
                Err(Ended::Killed) => {}
            }
        };
        assert_eq!(recovered.damages, [], "a crash is no damage");
        let volumes = recovered.volumes.clone();
        self.desk = Desk::new(recovered, disk);
        let found = usize::try_from(self.desk.replica.applied()).unwrap();
        assert!(self.desk.replica.is_caught_up());
        assert!(found >= self.durable, "{found} entries came back of {} that were committed", self.durable);
        assert!(found <= self.commands.len(), "nothing comes back that was not proposed");
        assert_eq!(self.desk.root(), root(&self.commands[..found]), "a prefix of what was proposed");
        for number in &self.commands[..found] {
            assert!(volumes[&(number % 3 + 1)] >= *number, "what entries rely on is a floor");
        }
        self.commands.truncate(found);
        self.durable = found;
    }
}

proptest! {
    #![proptest_config(fixed_cases())]

    #[test]
    fn every_committed_command_survives(
        ops in proptest::collection::vec(any_op(), 0..200),
        snapshot_entries in prop_oneof![1..6_u64, Just(1_000)],
        end: u64,
    ) {
        let mut life = Life::new(snapshot_entries);
        ops.iter().for_each(|op| life.perform(op));
        life.end(end, true);
        life.end(end, true);
    }
}

#[test]
fn commands_share_syncs_and_are_committed_when_they_are_durable() {
    let mut desk = Desk::open(TestDisk::default(), 1, 1_000);
    desk.turn((1..6).map(Desk::propose).collect());
    let syncs =
        |desk: &Desk| desk.queue.iter().filter(|(_, request)| matches!(request, DiskRequest::Sync { .. })).count();
    assert_eq!((desk.queue.len(), syncs(&desk)), (2, 1), "the term and all commands are one write");
    desk.complete();
    assert_eq!(desk.decided, []);
    desk.run();
    assert_eq!(desk.decided, (1..6).map(|number| (number, Ok(number))).collect::<Vec<_>>());
    assert_eq!(desk.root(), root(&[1, 2, 3, 4, 5]));
}

#[test]
fn a_start_that_only_reads_writes_nothing() {
    let mut desk = Desk::open(TestDisk::default(), 1, 1_000);
    desk.commit(1..4);
    let disk = desk.close();
    let before = disk.files(FileKind::Journal);
    let desk = Desk::open(disk, 2, 1_000);
    assert_eq!(desk.root(), root(&[1, 2, 3]));
    let disk = desk.close();
    assert_eq!(disk.files(FileKind::Journal), before);
    // The next command follows, in a term of its own.
    let mut desk = Desk::open(disk, 3, 1_000);
    desk.commit(4..5);
    assert_eq!(desk.decided, [(4, Ok(4))]);
    assert_eq!((desk.replica.raft().term(), desk.root()), (2, root(&[1, 2, 3, 4])));
}

#[test]
fn a_failure_leaves_what_was_on_its_way_unknown_and_refuses_the_rest() {
    let mut desk = Desk::open(TestDisk::default(), 1, 1_000);
    desk.commit(1..3);
    desk.turn(vec![Desk::propose(3)]);
    let (op, _) = desk.queue.pop_front().unwrap();
    desk.turn(vec![Event::DiskDone { op, result: Err(DiskError::Io(5)) }]);
    desk.turn(vec![Desk::propose(4)]);
    let file = File::Journal(1);
    let stopped = Refusal::Stopped { file, error: DiskError::Io(5) };
    assert_eq!(desk.decided[2..], [(3, Err(Refusal::Unknown(DiskError::Io(5)))), (4, Err(stopped))]);
    assert!(desk.notes.contains(&Note::WritesStopped { file, error: DiskError::Io(5) }));
    assert_eq!(desk.root(), root(&[1, 2]), "what was committed can be read");
}

/// The log begins after the older of two snapshots, and segments before that are gone.
#[test]
fn snapshots_take_the_place_of_old_segments() {
    let mut desk = Desk::open(TestDisk::default(), 1, 20);
    desk.commit(1..101);
    let numbers: Vec<u64> = (1..101).collect();
    let indexes: Vec<u64> = desk.disk.snapshots().into_iter().map(|(index, _)| index).collect();
    assert_eq!(indexes, [80, 100]);
    let first = desk.disk.files(FileKind::Journal).first().unwrap().0;
    assert!(first > 3, "segments were removed");
    let mut disk = desk.close();
    let (recovered, _) = start(&mut disk, 2, 20, None, None, &mut rng(0)).unwrap();
    assert_eq!((recovered.entries, recovered.replica.applied()), (20, 100), "read from the newest snapshot");
    let desk = Desk::new(recovered, disk);
    assert_eq!(desk.root(), root(&numbers));
    // The newest is broken: the older one and the log say the same.
    let mut disk = desk.close();
    disk.bytes_mut(File::Snapshot(100))[50] ^= 1;
    let desk = Desk::open(disk.clone(), 3, 20);
    assert_eq!(desk.root(), root(&numbers));
    disk.bytes_mut(File::Snapshot(80))[50] ^= 1;
    let (recovered, _) = start(&mut disk, 4, 20, None, None, &mut rng(0)).unwrap();
    let [Damage { file: File::Snapshot(100), kind: DamageKind::Broken, .. }] = recovered.damages[..] else {
        panic!("{:?}", recovered.damages)
    };
    let readable = recovered.readable.expect("what came after the older one can be read");
    assert!(readable.name_count() > 0 && readable.root() != root(&numbers));
}

/// So that what is written for snapshots is a bounded share of what is stored.
#[test]
fn the_next_snapshot_of_a_large_ledger_is_due_later() {
    let settings = founding(10).settings;
    assert_eq!([0, 175, 176, 1_600].map(|entries| settings.snapshot_distance(entries)), [10, 10, 11, 100]);
    let mut desk = Desk::open(TestDisk::default(), 1, 2);
    let mut entries = 0;
    for number in 0..80_u64 {
        let name = Name::new(alloc::format!("name {number}").as_bytes()).unwrap();
        let (time, manifest) = (WallTime::default(), inline(&number.to_le_bytes()));
        let command = Command::Put { time, lease: 0, name, expect: Expect::Any, manifest };
        desk.turn(vec![Event::Propose { ticket: number, volumes: Vec::new(), command }]);
        desk.run();
        entries += 2;
        assert_eq!(desk.replica.ledger().len(), entries);
    }
    let made = |note: &Note| if let Note::SnapshotMade { index, .. } = note { Some(*index) } else { None };
    let made: Vec<u64> = desk.notes.iter().filter_map(made).collect();
    let even: Vec<u64> = (1..=12).map(|half| 2 * half).collect();
    assert_eq!(made, [&even[..], &[27, 30, 33, 37, 41, 46, 51, 57, 64, 72]].concat());
    // A start goes on with the distance of the snapshot that it reads.
    let (recovered, _) = start(&mut desk.close(), 2, 2, None, None, &mut rng(0)).unwrap();
    assert_eq!((recovered.replica.applied(), recovered.replica.snapshot_at), (72, 72 + 72 / 8));
}

/// What is lost is told at every start, and nothing is written that would say where the log goes on without it: the disk
/// may yet give it back.
#[test]
fn a_loss_is_told_at_every_start_and_all_that_is_left_can_be_read() {
    let mut desk = Desk::open(TestDisk::default(), 1, 1_000);
    desk.commit(1..9);
    desk.wait(SETTLE_AFTER);
    desk.run();
    let mut disk = desk.disk;
    let second = disk.files(FileKind::Journal)[1].0;
    let harmed = |disk: &mut TestDisk| disk.bytes_mut(File::Journal(second))[600] ^= 1;
    harmed(&mut disk);
    let files = disk.files(FileKind::Journal);
    for number in 2..5 {
        let (recovered, notes) = start(&mut disk, number, 1_000, None, None, &mut rng(0)).unwrap();
        let [Damage { file, .. }] = recovered.damages[..] else { panic!("{:?}", recovered.damages) };
        assert_eq!(file, File::Journal(second));
        assert_eq!(notes.iter().filter(|note| matches!(note, Note::Damaged(_))).count(), 1);
        let readable = recovered.readable.expect("something was lost");
        assert!(readable.name_count() > 0 && readable.root() != root(&[1, 2, 3, 4, 5, 6, 7, 8]));
        assert!(recovered.replica.failed().is_some());
        assert_eq!(disk.files(FileKind::Journal), files);
    }
    harmed(&mut disk);
    assert_eq!(Desk::open(disk, 5, 1_000).root(), root(&[1, 2, 3, 4, 5, 6, 7, 8]));
}

/// A disk that is full or read-only: what may never have been acknowledged counts where it is.
#[test]
fn a_start_that_may_not_write_counts_the_tail_where_it_is() {
    let mut desk = Desk::open(TestDisk::default(), 1, 1_000);
    desk.commit(1..4);
    let mut disk = desk.disk;
    let (recovered, _) = start(&mut disk, 2, 1_000, Some(DiskError::Full), None, &mut rng(0)).unwrap();
    let mut desk = Desk::new(recovered, disk);
    assert_eq!(desk.root(), root(&[1, 2, 3]));
    desk.turn(vec![Desk::propose(4)]);
    assert!(matches!(desk.decided[..], [(4, Err(Refusal::Stopped { error: DiskError::Full, .. }))]));
    assert_eq!(Desk::open(desk.disk, 3, 1_000).root(), root(&[1, 2, 3]));
}

/// All of a turn is applied together, and yet each answer is of the moment of its command.
#[test]
fn an_answer_tells_what_a_name_was_right_after_its_command() {
    let mut desk = Desk::open(TestDisk::default(), 1, 1_000);
    let name = Name::new(b"name").unwrap();
    let put = Command::Put {
        time: WallTime::from_nanos(1),
        lease: 0,
        name: name.clone(),
        expect: Expect::Any,
        manifest: inline(b"content"),
    };
    let delete = Command::Delete { time: WallTime::from_nanos(2), name, expect: Expect::Any };
    let mut out = Vec::new();
    for (ticket, command) in [(1, put.clone()), (2, delete), (3, put)] {
        desk.replica.step(desk.now, Event::Propose { ticket, volumes: Vec::new(), command }, &mut out);
    }
    desk.replica.flush(desk.now, &mut out);
    let requests: Vec<_> =
        out.drain(..).filter_map(|effect| if let Effect::Disk { op, .. } = effect { Some(op) } else { None }).collect();
    for (op, reply) in requests.into_iter().zip([DiskReply::Done, DiskReply::Done]) {
        desk.replica.step(desk.now, Event::DiskDone { op, result: Ok(reply) }, &mut out);
    }
    desk.replica.flush(desk.now, &mut out);
    let versions: Vec<Option<u64>> = out
        .iter()
        .filter_map(|effect| if let Effect::Decided { result, .. } = effect { Some(result) } else { None })
        .map(|result| result.as_ref().as_ref().unwrap().stat.as_ref().map(|stat| stat.version))
        .collect();
    assert_eq!(versions, [Some(1), None, Some(3)]);
}
