//! Whatever happens, and then nothing bad any more.

use std::time::Duration;

use super::disk::Loss;
use super::group::{Group, World, node, small};
use dps_core::id::NodeId;
use dps_core::raft::entry::Payload;
use dps_core::raft::membership::Change;
use dps_core::raft::settings::Settings;
use dps_core::raft::{Event, Note, Raft, Refusal, Settlement};

const SECOND: Duration = Duration::from_secs(1);

fn settle(group: &mut Group) -> NodeId {
    group.run(SECOND);
    group.leader().expect("a leader is elected within a second")
}

#[test]
fn a_group_elects_a_leader_and_commits() {
    for voters in 1..=7 {
        let mut group = Group::new(voters, voters, u64::from(voters), Settings::STANDARD);
        let leader = settle(&mut group);
        let ticket = group.propose(leader);
        let position = group.answer(ticket, SECOND).expect("it is answered").expect("it is committed");
        // Whoever is alone has nobody to tell of its term.
        let index = if voters == 1 { 1 } else { 2 };
        assert_eq!(position.index, index, "after the first entry of the term");
        group.run(SECOND);
        for id in group.nodes() {
            assert_eq!(group.raft(id).unwrap().commit(), index, "everybody learns of it");
        }
        group.is_durable();
    }
}

#[test]
fn a_read_waits_for_a_round() {
    let mut group = Group::new(3, 3, 1, Settings::STANDARD);
    let leader = settle(&mut group);
    let follower = group.nodes().into_iter().find(|id| *id != leader).unwrap();
    let ticket = group.propose(leader);
    group.answer(ticket, SECOND).unwrap().unwrap();
    let reads = [group.read(leader), group.read(follower)];
    group.run(SECOND);
    for read in reads {
        assert_eq!(group.readable.get(&read), Some(&Ok(2)));
    }
    for other in group.nodes().into_iter().filter(|id| *id != leader) {
        group.cut.insert((other, leader));
    }
    let read = group.read(leader);
    group.run(SECOND);
    assert!(group.readable[&read].is_err(), "a leader that nobody answers confirms nothing");
}

#[test]
fn a_group_grows_and_shrinks() {
    let mut group = Group::new(1, 5, 1, Settings::STANDARD);
    let leader = settle(&mut group);
    for number in 2..=5 {
        let ticket = group.change(leader, vec![Change::AddLearner(node(number))]);
        group.answer(ticket, SECOND).unwrap().unwrap();
    }
    group.run(SECOND);
    let ticket = group.change(leader, (2..=5).map(node).map(Change::Promote).collect());
    group.answer(ticket, SECOND).unwrap().unwrap();
    group.run(SECOND);
    assert_eq!(group.raft(node(5)).unwrap().membership().voters().len(), 5);
    assert!(!group.raft(node(5)).unwrap().membership().is_joint());
    let ticket = group.change(leader, vec![Change::Remove(leader)]);
    group.answer(ticket, SECOND).unwrap().unwrap();
    group.run(SECOND);
    let next = group.leader().expect("another one leads");
    assert_ne!(next, leader);
    assert_eq!(group.raft(next).unwrap().membership().voters().len(), 4);
}

#[test]
fn leadership_is_handed_over() {
    let mut group = Group::new(3, 3, 1, Settings::STANDARD);
    let leader = settle(&mut group);
    let to = group.nodes().into_iter().find(|id| *id != leader).unwrap();
    group.give(leader, Event::Transfer { to });
    group.run(Duration::from_millis(100));
    assert_eq!(group.leader(), Some(to));
}

/// What a run does, drawn once for each, so that every kind of trouble is often alone.
#[derive(Clone, Copy, Debug)]
struct Mood {
    crashes: bool,
    changes: bool,
    transfers: bool,
    partitions: bool,
    late: bool,
    snapshots: bool,
    losses: bool,
}

impl Mood {
    fn draw(group: &mut Group) -> Self {
        let mut chance = || group.rng.chance(1, 2);
        Self {
            crashes: chance(),
            changes: chance(),
            transfers: chance(),
            partitions: chance(),
            late: chance(),
            snapshots: chance(),
            losses: chance(),
        }
    }
}

fn pick(group: &mut Group) -> NodeId {
    let nodes = group.nodes();
    nodes[small(group.rng.below(nodes.len() as u64))]
}

/// Who can talk to whom for a while.
fn partition(group: &mut Group) {
    group.cut.clear();
    let nodes = group.nodes();
    let leader = group.leader();
    let side: Vec<NodeId> = match group.rng.below(6) {
        0 | 1 => return,
        2 => leader.into_iter().collect(),
        // The leader and one who hears it: what they have is not committed, and may win later.
        3 => leader.into_iter().chain([pick(group)]).collect(),
        4 => nodes.iter().copied().filter(|_| group.rng.chance(1, 2)).collect(),
        _ => {
            let (from, to) = (pick(group), pick(group));
            group.cut.insert((from, to));
            return;
        }
    };
    for a in &nodes {
        for b in nodes.iter().filter(|b| side.contains(a) != side.contains(b)) {
            group.cut.insert((*a, *b));
        }
    }
}

/// One thing that a bad world does.
fn trouble(group: &mut Group, mood: Mood) {
    if mood.partitions && group.rng.chance(1, 4) {
        partition(group);
    }
    if mood.late && group.rng.chance(1, 6) {
        group.world = World {
            lost: group.rng.below(200),
            doubled: group.rng.below(300),
            delay_max: Duration::from_millis([5, 30, 100, 600][small(group.rng.below(4))]),
            disk_max: Duration::from_millis([2, 20, 150][small(group.rng.below(3))]),
            steady: false,
        };
    }
    if mood.crashes {
        for id in group.nodes() {
            if !group.is_up(id) && group.rng.chance(1, 3) {
                group.start(id);
            }
        }
        let id = group.leader().filter(|_| group.rng.chance(1, 2)).unwrap_or_else(|| pick(group));
        if group.is_up(id) && group.rng.chance(1, 4) {
            crash(group, mood, id);
        }
    }
    if mood.transfers && group.rng.chance(1, 8) {
        let to = pick(group);
        if let Some(leader) = group.leader() {
            group.give(leader, Event::Transfer { to });
        }
    }
    if mood.changes && group.rng.chance(1, 2) {
        change(group);
    }
    if mood.snapshots && group.rng.chance(1, 4) {
        let id = pick(group);
        group.snapshot(id);
    }
}

/// A node dies, and perhaps loses what it has told others to be durable.
fn crash(group: &mut Group, mood: Mood, id: NodeId) {
    let loses = mood.losses && group.rng.chance(1, 2);
    if !loses || !(group.has_doubt(id) || group.may_lose(id)) {
        return group.crash(id);
    }
    let writes = small(group.rng.below(5));
    let loss = if group.rng.chance(2, 3) { Loss::All } else { Loss::Entries };
    group.crash_and_lose(id, writes, loss);
    // Soon enough to be heard by who remembers what it said.
    if group.rng.chance(1, 2) {
        group.start(id);
    }
}

fn change(group: &mut Group) {
    let count = 1 + group.rng.below(2);
    let mut changes = vec![];
    for _ in 0..count {
        let id = pick(group);
        if changes.iter().all(|change: &Change| change.node() != id) {
            changes.push(match group.rng.below(4) {
                0 => Change::AddLearner(id),
                1 => Change::Promote(id),
                2 => Change::Demote(id),
                _ => Change::Remove(id),
            });
        }
    }
    // Perhaps two of them believe that they lead.
    for id in group.nodes() {
        if group.raft(id).is_some_and(Raft::is_leader) {
            group.change(id, changes.clone());
        }
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
struct Exercised {
    committed: usize,
    superseded: usize,
    truncated: usize,
    elections: usize,
    changes: usize,
    reads: usize,
    compacted: usize,
    restored: usize,
    doubtful: usize,
    settled: usize,
    by_leader: usize,
}

impl Exercised {
    fn of(group: &Group) -> Self {
        let noted = |is: fn(&Note) -> bool| group.notes.iter().filter(|(_, note)| is(note)).count();
        let superseded = |result: &&Result<_, _>| **result == Err(Refusal::Superseded);
        Self {
            committed: group.committed.len(),
            superseded: group.answers.values().filter(superseded).count(),
            truncated: noted(|note| matches!(note, Note::Truncated { .. })),
            elections: noted(|note| matches!(note, Note::Leads { .. })),
            changes: group.committed.iter().filter(|entry| matches!(entry.payload, Payload::Membership(_))).count(),
            reads: group.readable.values().filter(|result| result.is_ok()).count(),
            compacted: noted(|note| matches!(note, Note::Compacted { .. })),
            restored: noted(|note| matches!(note, Note::Restored { .. })),
            doubtful: noted(|note| matches!(note, Note::Doubtful { .. })),
            settled: noted(|note| matches!(note, Note::Settled { how: Settlement::Survey { .. } })),
            by_leader: noted(|note| matches!(note, Note::Settled { how: Settlement::Leader { .. } })),
        }
    }

    fn add(&mut self, other: &Self) {
        self.committed += other.committed;
        self.superseded += other.superseded;
        self.truncated += other.truncated;
        self.elections += other.elections;
        self.changes += other.changes;
        self.reads += other.reads;
        self.compacted += other.compacted;
        self.restored += other.restored;
        self.doubtful += other.doubtful;
        self.settled += other.settled;
        self.by_leader += other.by_leader;
    }
}

fn chaos(seed: u64) -> Exercised {
    // Small messages, so that logs are repaired in many steps.
    let standard = Settings { trailing_entries: seed % 5, ..Settings::STANDARD };
    let small = Settings { append_entries_max: 1 + small(seed % 3), in_flight_max: 2, ..standard };
    let settings = if seed.is_multiple_of(2) { small } else { standard };
    let mut group = Group::new(1 + (seed / 2 % 5) as u8, 6, seed, settings);
    let mood = Mood::draw(&mut group);
    for _ in 0..200 {
        trouble(&mut group, mood);
        // Whoever believes that it leads takes them.
        for id in group.nodes() {
            for _ in 0..group.rng.below(3) {
                group.propose(id);
                group.read(id);
            }
        }
        let span = Duration::from_millis(group.rng.below(250));
        group.run(span);
    }
    group.heal();
    group.run(5 * SECOND);
    for id in group.nodes() {
        assert!(!group.raft(id).expect("all are up").is_unsettled(), "seed {seed}: {id} may vote when all is well");
    }
    let leader = group.leader().unwrap_or_else(|| panic!("seed {seed}: no leader although all is well"));
    let ticket = group.propose(leader);
    let answer = group.answer(ticket, SECOND);
    assert!(matches!(answer, Some(Ok(_))), "seed {seed}: {answer:?} although all is well");
    let read = group.read(leader);
    group.run(SECOND);
    assert!(group.readable[&read].is_ok(), "seed {seed}: a read is served when all is well");
    group.is_durable();
    let raft = group.raft(leader).expect("it is up");
    let (last, membership) = (raft.last(), raft.membership().clone());
    assert!(!membership.is_joint(), "seed {seed}: a joint membership is left");
    for id in membership.members() {
        assert_eq!(
            group.raft(id).expect("all are up").commit(),
            last.index,
            "seed {seed}: every member has everything"
        );
    }
    Exercised::of(&group)
}

#[test]
fn whatever_happens_what_is_committed_stays_and_in_the_end_all_is_well() {
    let mut sum = Exercised::default();
    for seed in 0..300 {
        sum.add(&chaos(seed));
    }
    println!("{sum:?}");
    // Or the trouble troubles nothing.
    let Exercised { committed, superseded, truncated, elections, changes, reads, compacted, restored, .. } = sum;
    let Exercised { doubtful, settled, by_leader, .. } = sum;
    assert!(committed > 15_000 && superseded > 60 && truncated > 70, "{sum:?}");
    assert!(elections > 1_000 && changes > 300 && reads > 20_000, "{sum:?}");
    assert!(compacted > 1_000 && restored > 100, "{sum:?}");
    assert!(doubtful > 300 && settled > 200 && by_leader > 10, "{sum:?}");
}
