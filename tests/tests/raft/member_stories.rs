//! Stories of who takes part, and how that changes.

use dps_core::raft::membership::{Change, ChangeError};
use dps_core::raft::{Note, Refusal};

use crate::group::node;
use crate::stories::{led, millis, only, others, raft, split, told, until};
use crate::words::Named;

#[test]
fn a_learner_is_promoted_once_it_has_caught_up() {
    let (mut group, leader) = led(3, 4);
    let four = node(4);
    group.tell("n4 is to learn, and nothing reaches it");
    split(&mut group, &[four]);
    group.change(leader, vec![Change::AddLearner(four)]);
    group.propose(leader);
    group.run(millis(30));
    group.tell("n4 is to vote");
    let early = group.change(leader, vec![Change::Promote(four)]);
    assert_eq!(group.answers.get(&early), Some(&Err(Refusal::NotCaughtUp)), "it lacks what is committed");
    group.tell("refused, as it lacks what is committed; n4 is reached");
    group.cut.clear();
    group.run(millis(100));
    let ticket = group.change(leader, vec![Change::Promote(four)]);
    group.run(millis(30));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    assert!(raft(&group, four).membership().voters().contains(&four));
    told(&group, "a_learner_is_promoted_once_it_has_caught_up");
}

/// Two voters go and two come: in between majorities of both sets decide.
#[test]
fn a_joint_change_and_its_leave() {
    let (mut group, leader) = led(3, 5);
    let gone = others(&group, &[leader, node(4), node(5)]);
    for number in [4, 5] {
        group.change(leader, vec![Change::AddLearner(node(number))]);
        group.run(millis(100));
    }
    group.told.clear();
    group.tell(&format!("n4 and n5 take the places of {} and {}", Named(gone[0]), Named(gone[1])));
    let promote = [4, 5].map(|number| Change::Promote(node(number)));
    let changes: Vec<Change> = gone.iter().map(|id| Change::Remove(*id)).chain(promote).collect();
    let ticket = group.change(leader, changes);
    assert!(raft(&group, leader).membership().is_joint(), "it is in force as soon as it is in the log");
    group.run(millis(100));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    let voters = raft(&group, node(4)).membership().voters().clone();
    assert_eq!(voters, [leader, node(4), node(5)].into());
    assert!(!raft(&group, leader).membership().is_joint());
    told(&group, "a_joint_change_and_its_leave");
}

/// A majority of one of both sets is not enough.
#[test]
fn a_joint_change_needs_both_majorities() {
    let (mut group, leader) = led(3, 5);
    let old = others(&group, &[leader, node(4), node(5)]);
    for number in [4, 5] {
        group.change(leader, vec![Change::AddLearner(node(number))]);
        group.run(millis(100));
    }
    group.told.clear();
    group.tell(&format!("n4 and n5 take the places of {} and {}, which are cut off", Named(old[0]), Named(old[1])));
    split(&mut group, &old);
    let changes = [4, 5].map(|number| Change::Promote(node(number)));
    let changes: Vec<Change> = old.iter().map(|id| Change::Remove(*id)).chain(changes).collect();
    let ticket = group.change(leader, changes);
    group.run(millis(60));
    assert!(!group.answers.contains_key(&ticket), "three of the new ones have it, and one of the old ones");
    group.tell(&format!("{} is back", Named(old[0])));
    group.cut.retain(|(a, b)| *a != old[0] && *b != old[0]);
    group.cut.extend([(old[0], old[1]), (old[1], old[0])]);
    until(&mut group, "both sets agree", |group| group.answers.contains_key(&ticket));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    told(&group, "a_joint_change_needs_both_majorities");
}

/// A membership is in force when it is in the log, and when its entry goes the one before is.
#[test]
fn a_change_that_is_rolled_back_with_its_entry() {
    let (mut group, leader) = led(3, 4);
    let rest = others(&group, &[leader, node(4)]);
    group.change(leader, vec![Change::AddLearner(node(4))]);
    group.run(millis(100));
    group.told.clear();
    group.tell(&format!("{} is cut off and makes a voter of n4, of which nobody hears", Named(leader)));
    only(&mut group, &rest);
    let ticket = group.change(leader, vec![Change::Promote(node(4))]);
    assert!(raft(&group, leader).membership().voters().contains(&node(4)));
    until(&mut group, "another one leads", |group| group.leader().is_some_and(|next| rest.contains(&next)));
    group.tell("they hear each other again");
    group.cut.clear();
    group.run(millis(200));
    assert!(!raft(&group, leader).membership().voters().contains(&node(4)), "as if it had never been");
    assert_eq!(group.answers.get(&ticket), Some(&Err(Refusal::Superseded)));
    told(&group, "a_change_that_is_rolled_back_with_its_entry");
}

#[test]
fn a_second_change_is_refused() {
    let (mut group, leader) = led(3, 5);
    group.tell("n4 is to learn, and n5 at the same time");
    let first = group.change(leader, vec![Change::AddLearner(node(4))]);
    let second = group.change(leader, vec![Change::AddLearner(node(5))]);
    assert_eq!(group.answers.get(&second), Some(&Err(Refusal::ChangePending)));
    group.run(millis(20));
    assert!(matches!(group.answers.get(&first), Some(Ok(_))));
    group.tell("the second was refused; once the first is committed it is taken");
    let again = group.change(leader, vec![Change::AddLearner(node(5))]);
    group.run(millis(20));
    assert!(matches!(group.answers.get(&again), Some(Ok(_))));
    told(&group, "a_second_change_is_refused");
}

#[test]
fn a_removed_leader_steps_down() {
    let (mut group, leader) = led(3, 3);
    group.tell(&format!("{} leads, and is to go", Named(leader)));
    let ticket = group.change(leader, vec![Change::Remove(leader)]);
    assert!(raft(&group, leader).is_leader(), "it leads until that is committed, and does not count itself");
    group.run(millis(10));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    assert!(!raft(&group, leader).is_leader());
    until(&mut group, "another one leads", |group| group.leader().is_some());
    assert_ne!(group.leader(), Some(leader));
    group.run(millis(500));
    assert!(!group.notes.iter().any(|(id, note)| *id == leader && matches!(note, Note::AsksForVotes { term: 2 })));
    told(&group, "a_removed_leader_steps_down");
}

#[test]
fn a_voter_becomes_a_learner() {
    let (mut group, leader) = led(3, 3);
    let voter = others(&group, &[leader])[0];
    group.tell(&format!("{} is to learn and not to vote", Named(voter)));
    let ticket = group.change(leader, vec![Change::Demote(voter)]);
    group.run(millis(100));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.tell(&format!("{} is down: {} stands for no election", Named(leader), Named(voter)));
    let before = group.notes.len();
    group.crash(leader);
    group.run(millis(700));
    assert_eq!(group.leader(), None, "one of two voters is no majority");
    let stood = |(id, note): &(_, Note)| *id == voter && matches!(note, Note::AsksForPreVotes { .. });
    assert!(!group.notes[before..].iter().any(stood));
    told(&group, "a_voter_becomes_a_learner");
}

#[test]
fn a_group_is_never_left_without_a_voter() {
    let (mut group, leader) = led(1, 2);
    group.tell("n1 is the only voter, and is to go");
    let ticket = group.change(leader, vec![Change::Remove(leader)]);
    assert_eq!(group.answers.get(&ticket), Some(&Err(Refusal::Change(ChangeError::NoVoter))));
    group.tell("refused: a group needs a voter; a learner first takes its place");
    group.change(leader, vec![Change::AddLearner(node(2))]);
    group.run(millis(100));
    let ticket = group.change(leader, vec![Change::Promote(node(2)), Change::Remove(leader)]);
    group.run(millis(50));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    until(&mut group, "n2 leads", |group| group.leader() == Some(node(2)));
    told(&group, "a_group_is_never_left_without_a_voter");
}
