//! Stories of small groups, told line by line in `snapshots/`, so that a reader can follow what happens and a change of it is
//! seen. Heartbeats and their answers are left out.

use std::time::Duration;

use dps_core::id::NodeId;
use dps_core::raft::membership::Change;
use dps_core::raft::settings::Settings;
use dps_core::raft::{Event, Note, Raft};

use crate::group::{Group, World, node};
use crate::words::Named;

const SECOND: Duration = Duration::from_secs(1);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A group in which everything takes the same time.
fn group(voters: u8, nodes: u8) -> Group {
    let mut group = Group::new(voters, nodes, 1, Settings::STANDARD);
    group.world = World::STEADY;
    group
}

/// A leader is elected, and that is not part of the story.
fn led(voters: u8, nodes: u8) -> (Group, NodeId) {
    let mut group = group(voters, nodes);
    group.run(SECOND);
    let leader = group.leader().expect("a leader is elected within a second");
    group.told.clear();
    (group, leader)
}

fn raft(group: &Group, id: NodeId) -> &Raft {
    group.raft(id).expect("it is up")
}

fn others(group: &Group, than: &[NodeId]) -> Vec<NodeId> {
    group.nodes().into_iter().filter(|id| !than.contains(id)).collect()
}

/// Nobody on one side hears anybody on the other.
fn split(group: &mut Group, side: &[NodeId]) {
    for a in group.nodes() {
        for b in group.nodes() {
            if side.contains(&a) != side.contains(&b) {
                group.cut.insert((a, b));
            }
        }
    }
}

/// Compares with the story as it is written down.
fn told(group: &Group, name: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, group.told.join("\n")));
}

#[test]
fn three_nodes_elect_within_the_timeout() {
    let mut group = group(3, 3);
    group.run(Settings::STANDARD.election_timeout_max + millis(20));
    assert!(group.leader().is_some());
    told(&group, "three_nodes_elect_within_the_timeout");
}

#[test]
fn a_command_reaches_all_followers() {
    let (mut group, leader) = led(3, 3);
    let ticket = group.propose(leader);
    group.run(millis(100));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    assert!(group.nodes().iter().all(|id| raft(&group, *id).commit() == 2));
    told(&group, "a_command_reaches_all_followers");
}

#[test]
fn leader_killed_a_new_one_emerges() {
    let (mut group, leader) = led(3, 3);
    group.tell(&format!("{} is killed", Named(leader)));
    group.crash(leader);
    group.run(millis(400));
    let next = group.leader().expect("another one leads");
    assert_ne!(next, leader);
    group.tell(&format!("{} is started again", Named(leader)));
    group.start(leader);
    group.run(millis(100));
    assert_eq!(raft(&group, leader).leader(), Some(next));
    told(&group, "leader_killed_a_new_one_emerges");
}

#[test]
fn a_split_cluster_commits_on_one_side_only() {
    let (mut group, leader) = led(5, 5);
    let side = [leader, others(&group, &[leader])[0]];
    split(&mut group, &side);
    group.tell(&format!("{} and {} are cut off", Named(side[0]), Named(side[1])));
    let alone = group.propose(leader);
    group.run(millis(500));
    assert!(!group.answers.contains_key(&alone), "two of five decide nothing");
    let next = group.leader().expect("the three elect one");
    assert!(!side.contains(&next));
    let ticket = group.propose(next);
    group.run(millis(100));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.tell("they are together again");
    group.cut.clear();
    group.run(millis(200));
    assert!(matches!(group.answers.get(&alone), Some(Err(_))), "what was proposed alone never counts");
    told(&group, "a_split_cluster_commits_on_one_side_only");
}

#[test]
fn a_log_that_differs_is_repaired() {
    let (mut group, leader) = led(3, 3);
    split(&mut group, &[leader]);
    for _ in 0..3 {
        group.propose(leader);
    }
    group.run(millis(500));
    let next = group.leader().expect("the others elect one");
    let ticket = group.propose(next);
    group.run(millis(50));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.told.clear();
    group.tell(&format!("{} led, was cut off, and is back with three entries that nobody else has", Named(leader)));
    group.cut.clear();
    group.run(millis(150));
    assert!(group.notes.iter().any(|(id, note)| *id == leader && matches!(note, Note::Truncated { .. })));
    assert_eq!(raft(&group, leader).last(), raft(&group, next).last());
    told(&group, "a_log_that_differs_is_repaired");
}

#[test]
fn a_group_of_one_becomes_a_group_of_three() {
    let (mut group, leader) = led(1, 3);
    for number in [2, 3] {
        group.tell(&format!("n{number} is to learn"));
        group.change(leader, vec![Change::AddLearner(node(number))]);
        group.run(millis(100));
    }
    group.tell("both are to vote");
    let ticket = group.change(leader, vec![Change::Promote(node(2)), Change::Promote(node(3))]);
    group.run(millis(100));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    let membership = raft(&group, node(3)).membership();
    assert!(membership.voters().len() == 3 && !membership.is_joint());
    told(&group, "a_group_of_one_becomes_a_group_of_three");
}

#[test]
fn leadership_is_handed_over() {
    let (mut group, leader) = led(3, 3);
    let to = others(&group, &[leader])[0];
    group.tell(&format!("{} is to lead", Named(to)));
    group.give(leader, Event::Transfer { to });
    group.run(millis(60));
    assert_eq!(group.leader(), Some(to));
    told(&group, "leadership_is_handed_over");
}

#[test]
fn a_removed_node_disturbs_nobody() {
    let (mut group, leader) = led(3, 3);
    let gone = others(&group, &[leader])[0];
    split(&mut group, &[gone]);
    let ticket = group.change(leader, vec![Change::Remove(gone)]);
    group.run(millis(300));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    let term = raft(&group, leader).term();
    group.told.clear();
    group.tell(&format!("{} was cut off and removed meanwhile, and is back and knows nothing of it", Named(gone)));
    group.cut.clear();
    group.run(millis(700));
    assert_eq!((group.leader(), raft(&group, leader).term()), (Some(leader), term));
    told(&group, "a_removed_node_disturbs_nobody");
}
