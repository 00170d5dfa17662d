//! Stories of logs: what is on its way, what is on disk, what is in a snapshot.

use dps_core::raft::message::Body;
use dps_core::raft::settings::Settings;
use dps_core::raft::{Event, Note};

use crate::stories::{led, led_with, millis, others, raft, split, told, until};
use crate::words::Named;

/// Heartbeats wait for no disk, and commands are committed by the disks of the others.
#[test]
fn a_slow_disk_on_the_leader_does_not_cost_leadership() {
    let (mut group, leader) = led(3, 3);
    group.tell(&format!("each write of {} takes a second from now on", Named(leader)));
    group.slow.insert(leader, millis(1_000));
    let ticket = group.propose(leader);
    group.run(millis(20));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))), "two others have it durably");
    group.run(millis(900));
    assert_eq!((group.leader(), raft(&group, leader).term()), (Some(leader), 1));
    told(&group, "a_slow_disk_on_the_leader_does_not_cost_leadership");
}

/// Only so many messages are on their way to one follower; an answer makes room for the next.
#[test]
fn a_full_window_opens_again() {
    let settings = Settings { in_flight_max: 2, append_entries_max: 1, ..Settings::STANDARD };
    let (mut group, leader) = led_with(3, 3, settings);
    group.run(millis(100));
    group.told.clear();
    let slow = others(&group, &[leader])[0];
    group.tell(&format!("two messages may be on their way to each; five commands come, and {} is slow", Named(slow)));
    group.slow.insert(slow, millis(20));
    let tickets: Vec<u64> = (0..5).map(|_| group.propose(leader)).collect();
    group.run(millis(60));
    assert!(tickets.iter().all(|ticket| matches!(group.answers.get(ticket), Some(Ok(_)))));
    until(&mut group, "the slow one has all", |group| raft(group, slow).commit() == 6);
    told(&group, "a_full_window_opens_again");
}

/// Commands of one turn share a write, a message and an answer.
#[test]
fn group_commit() {
    let (mut group, leader) = led(3, 3);
    group.run(millis(100));
    group.told.clear();
    group.tell("five commands come in one turn: one write, and one message to each");
    let before = group.messages;
    let last = group.propose_together(leader, 5);
    group.run(millis(20));
    assert!((last - 4..=last).all(|ticket| matches!(group.answers.get(&ticket), Some(Ok(_)))));
    assert_eq!(group.messages - before, 4, "entries and an answer for each of the two others");
    told(&group, "group_commit");
}

#[test]
fn a_log_compacted_under_a_follower() {
    let (mut group, leader) = led_with(3, 3, Settings { trailing_entries: 0, ..Settings::STANDARD });
    let follower = others(&group, &[leader])[0];
    group.run(millis(100));
    group.told.clear();
    group.tell(&format!(
        "{} is cut off for a moment; meanwhile a command is committed and compacted away",
        Named(follower)
    ));
    split(&mut group, &[follower]);
    let ticket = group.propose(leader);
    group.run(millis(20));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.snapshot(leader);
    assert_eq!(raft(&group, leader).base().index, 2);
    group.tell("they hear each other again");
    group.cut.clear();
    until(&mut group, "it has all", |group| raft(group, follower).commit() == 2);
    assert!(group.notes.iter().any(|(id, note)| *id == follower && matches!(note, Note::Restored { .. })));
    let ticket = group.propose(leader);
    group.run(millis(20));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))), "entries follow the snapshot");
    told(&group, "a_log_compacted_under_a_follower");
}

/// The offer is repeated while the snapshot is under way; what is there already is not taken twice.
#[test]
fn a_snapshot_that_is_offered_twice() {
    let (mut group, leader) = led_with(3, 3, Settings { trailing_entries: 0, ..Settings::STANDARD });
    let away = others(&group, &[leader])[0];
    group.crash(away);
    group.propose(leader);
    group.run(millis(20));
    group.snapshot(leader);
    group.told.clear();
    group.tell(&format!("{} lacks what the leader has only in a snapshot", Named(away)));
    group.start(away);
    until(&mut group, "it is restored", |group| raft(group, away).commit() == 2);
    group.run(millis(20));
    let snapshot = group.snapshot_of(away).expect("it was installed");
    group.tell("the same offer comes again");
    let body = Body::Install { session: 1, snapshot: snapshot.into() };
    let (term, incarnation) = (raft(&group, leader).term(), 1);
    let again = dps_core::raft::message::Message { from: leader, incarnation, to: away, term, body };
    let before = group.notes.len();
    group.give(away, Event::Received(again));
    group.run(millis(20));
    assert!(!group.notes[before..].iter().any(|(_, note)| matches!(note, Note::Restored { .. })));
    assert_eq!(raft(&group, away).commit(), 2);
    told(&group, "a_snapshot_that_is_offered_twice");
}

/// Messages overtake each other: what comes too early is refused, and asked for from where the logs meet.
#[test]
fn entries_that_come_in_the_wrong_order() {
    let (mut group, leader) = led(3, 3);
    let follower = others(&group, &[leader])[0];
    group.run(millis(100));
    group.told.clear();
    group.tell(&format!(
        "the message with the first command to {} is lost, and that with the second is not",
        Named(follower)
    ));
    group.cut.insert((leader, follower));
    group.propose(leader);
    group.cut.clear();
    group.run(millis(10));
    group.propose(leader);
    until(&mut group, "it has both", |group| raft(group, follower).last().index == 3);
    group.run(millis(100));
    assert_eq!(raft(&group, follower).commit(), 3);
    told(&group, "entries_that_come_in_the_wrong_order");
}

/// Nobody has to answer for a command to be lost: who proposed it hears what became of it when something is committed there.
#[test]
fn a_command_that_was_replaced_is_answered() {
    let (mut group, leader) = led(3, 3);
    let rest = others(&group, &[leader]);
    group.run(millis(100));
    group.told.clear();
    group.tell(&format!("{} is cut off with a command of its own", Named(leader)));
    split(&mut group, &[leader]);
    let ticket = group.propose(leader);
    until(&mut group, "another one leads", |group| group.leader().is_some_and(|next| rest.contains(&next)));
    group.run(millis(20));
    assert!(!group.answers.contains_key(&ticket));
    group.tell("they hear each other again");
    group.cut.clear();
    until(&mut group, "it is answered", |group| group.answers.contains_key(&ticket));
    assert_eq!(group.answers.get(&ticket), Some(&Err(dps_core::raft::Refusal::Superseded)));
    told(&group, "a_command_that_was_replaced_is_answered");
}
