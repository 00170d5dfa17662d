//! Stories of nodes that lost what they had told others to be durable (rule R2), told like the others.

use dps_core::raft::{Event, Note, Settlement};

use crate::disk::Loss;
use crate::stories::{SECOND, led, millis, only, others, raft, told, until};
use crate::words::Named;

/// Nobody knows what it has lost, and the longest of the logs is as good as any.
#[test]
fn a_doubtful_tail_after_a_power_cut_of_all_voters() {
    let (mut group, leader) = led(3, 3);
    let ticket = group.propose(leader);
    group.run(millis(100));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.told.clear();
    let loser = others(&group, &[leader])[0];
    group.tell(&format!("the power goes; {} loses the command, and nobody knows what is lost", Named(loser)));
    for id in group.nodes() {
        group.crash_and_lose(id, usize::from(id == loser), Loss::All);
    }
    assert_eq!(group.copy_disk(loser).lost.len(), 1);
    for id in group.nodes() {
        group.start(id);
    }
    group.run(SECOND);
    let next = group.leader().expect("all have answered, and one is elected");
    assert_ne!(next, loser, "its log is too short");
    assert_eq!(raft(&group, next).entry(2), group.committed.get(1), "the command is there");
    assert!(group.nodes().iter().all(|id| !group.has_doubt(*id)), "nothing is in doubt");
    group.is_durable();
    told(&group, "a_doubtful_tail_after_a_power_cut_of_all_voters");
}

#[test]
fn a_doubtful_voter_waits_for_a_leader() {
    let (mut group, leader) = led(3, 3);
    let [doubtful, short] = others(&group, &[leader])[..] else { panic!("three nodes") };
    only(&mut group, &[leader, doubtful]);
    let ticket = group.propose(leader);
    group.run(millis(10));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.told.clear();
    let names = [leader, doubtful, short].map(|id| Named(id).to_string());
    let [one, two, three] = &names;
    group.tell(&format!("{one} and {two} have committed a command; {one} is away, and {two} loses the command"));
    group.crash(leader);
    group.crash_and_lose(doubtful, 1, Loss::Entries);
    group.cut.clear();
    group.start(doubtful);
    group.run(millis(700));
    assert_eq!(group.leader(), None, "{three} would win by the vote of {two}");
    assert!(raft(&group, doubtful).is_unsettled());
    group.tell(&format!("{one} is back, and {two} hears nothing of {three}"));
    group.cut.extend([(short, doubtful), (doubtful, short)]);
    group.start(leader);
    until(&mut group, "it is settled", |group| !group.has_doubt(doubtful));
    assert_eq!(group.leader(), Some(leader), "only it has the command");
    let by_leader = |note: &Note| matches!(note, Note::Settled { how: Settlement::Leader { .. } });
    assert!(group.notes.iter().any(|(id, note)| *id == doubtful && by_leader(note)));
    told(&group, "a_doubtful_voter_waits_for_a_leader");
}

/// A leader that one node has voted for is there, though this node knows nothing of it: an older one commits nothing with it.
#[test]
fn a_lost_vote_is_not_given_twice() {
    let (mut group, one) = led(3, 3);
    let [two, three] = others(&group, &[one])[..] else { panic!("three nodes") };
    group.told.clear();
    let names = [one, two, three].map(|id| Named(id).to_string());
    let [first, second, third] = &names;
    group.tell(&format!("{first} hands over to {second}, which {third} votes for; {first} hears nothing of them"));
    group.give(one, Event::Transfer { to: two });
    group.run(millis(2));
    group.cut.extend([(two, one), (three, one)]);
    until(&mut group, "the first entry of the new term is committed", |group| group.committed.len() == 2);
    assert_eq!(group.leader(), Some(two));
    group.tell(&format!("{third} loses vote and entry, and hears only {first}, which still leads"));
    group.crash_and_lose(three, 2, Loss::All);
    group.cut = [(two, one), (one, two), (two, three), (three, two)].into();
    group.start(three);
    assert!(raft(&group, one).is_leader() && raft(&group, three).term() == 1);
    let before = group.notes.len();
    group.run(millis(320));
    let ticket = group.propose(one);
    group.run(millis(30));
    assert!(!matches!(group.answers.get(&ticket), Some(Ok(_))), "it has no majority");
    let lost = |(id, note): &(_, Note)| *id == one && *note == Note::LostQuorum { term: 1 };
    assert!(group.notes[before..].iter().any(lost), "nor does it believe so");
    group.tell("all hear each other");
    group.cut.clear();
    until(&mut group, "what was lost is there again", |group| !group.has_doubt(three));
    group.run(SECOND);
    group.is_durable();
    told(&group, "a_lost_vote_is_not_given_twice");
}

#[test]
fn an_operator_settles_a_doubt() {
    let (mut group, gone) = led(3, 3);
    let [doubtful, other] = others(&group, &[gone])[..] else { panic!("three nodes") };
    group.run(millis(100));
    group.told.clear();
    group.tell(&format!("{} is gone for good, and {} may have lost something", Named(gone), Named(doubtful)));
    group.crash(gone);
    group.crash_and_lose(doubtful, 0, Loss::All);
    group.start(doubtful);
    group.run(millis(500));
    let last = raft(&group, doubtful).last();
    assert_eq!(group.leader(), None);
    group.tell("an operator names another index");
    group.vouch(doubtful, last.index + 1);
    assert!(group.notes.contains(&(doubtful, Note::NotSettled { index: last.index + 1, last })));
    group.run(millis(300));
    assert!(group.leader().is_none() && raft(&group, doubtful).is_unsettled());
    group.tell("an operator names the last index");
    group.vouch(doubtful, last.index);
    group.run(SECOND);
    assert!(!group.has_doubt(doubtful));
    let next = group.leader().expect("two of three elect one");
    let ticket = group.propose(next);
    group.run(millis(50));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    assert!([doubtful, other].contains(&next));
    told(&group, "an_operator_settles_a_doubt");
}

/// A disk with nothing on it is a log that may have lost everything.
#[test]
fn a_voter_that_lost_its_whole_log_is_doubtful_at_the_beginning() {
    let (mut group, leader) = led(3, 3);
    let [empty, short] = others(&group, &[leader])[..] else { panic!("three nodes") };
    only(&mut group, &[leader, empty]);
    let ticket = group.propose(leader);
    group.run(millis(10));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.crash(leader);
    group.crash_and_lose(empty, usize::MAX, Loss::All);
    assert_eq!(group.copy_disk(empty).entries, []);
    group.cut.clear();
    group.start(empty);
    group.run(SECOND);
    assert_eq!(group.leader(), None, "{} would win by its vote", Named(short));
    group.start(leader);
    until(&mut group, "what was lost is there again", |group| !group.has_doubt(empty));
    assert_eq!(group.leader(), Some(leader));
    assert!(raft(&group, empty).last().index >= 2);
}

/// Whoever is in doubt alone asks and is answered at once, while a leader is there.
#[test]
fn a_doubt_does_not_wait_for_patience() {
    let (mut group, leader) = led(3, 3);
    let loser = others(&group, &[leader])[0];
    group.propose(leader);
    group.run(millis(100));
    group.crash_and_lose(loser, 1, Loss::All);
    group.start(loser);
    group.run(millis(100));
    assert!(!group.has_doubt(loser) && group.leader() == Some(leader));
    group.crash(leader);
    group.run(SECOND);
    assert!(group.leader().is_some(), "its vote is needed");
}
