//! Stories of who leads, who is believed to, and what is read from whom.

use std::time::Duration;

use dps_core::raft::message::{Body, Message};
use dps_core::raft::settings::Settings;
use dps_core::raft::{Event, Note, Refusal};

use crate::group::Group;
use crate::stories::{SECOND, led, millis, only, others, raft, split, told, until};
use crate::words::Named;

const TIMEOUT: Duration = Settings::STANDARD.election_timeout_max;

fn name(id: dps_core::id::NodeId) -> String {
    Named(id).to_string()
}

fn lost_quorum(group: &Group, id: dps_core::id::NodeId) -> bool {
    group.notes.iter().any(|(of, note)| *of == id && matches!(note, Note::LostQuorum { .. }))
}

/// A node that hears nobody and is heard by all would begin term after term, if it did not ask first whether it could win.
#[test]
fn an_asymmetric_partition_and_pre_vote() {
    let (mut group, leader) = led(3, 3);
    let deaf = others(&group, &[leader])[0];
    group.tell(&format!("{} hears nobody from now on, and everybody hears it", name(deaf)));
    for other in others(&group, &[deaf]) {
        group.cut.insert((other, deaf));
    }
    group.run(3 * TIMEOUT);
    assert_eq!((group.leader(), raft(&group, deaf).term()), (Some(leader), 1), "nobody is deposed by asking");
    group.tell(&format!("{} hears the others again", name(deaf)));
    group.cut.clear();
    group.run(millis(120));
    assert_eq!((group.leader(), raft(&group, leader).term()), (Some(leader), 1));
    assert_eq!(raft(&group, deaf).leader(), Some(leader));
    told(&group, "an_asymmetric_partition_and_pre_vote");
}

/// Two nodes that can't hear each other may both be heard by a third one: who leads goes on to.
#[test]
fn a_partial_partition() {
    let (mut group, leader) = led(3, 3);
    let [apart, between] = others(&group, &[leader])[..] else { panic!("three nodes") };
    group.tell(&format!(
        "{} and {} hear each other no more, and {} hears both",
        name(leader),
        name(apart),
        name(between)
    ));
    group.cut.extend([(leader, apart), (apart, leader)]);
    group.run(2 * TIMEOUT);
    assert_eq!((group.leader(), raft(&group, leader).term()), (Some(leader), 1), "{} hears a leader", name(between));
    let ticket = group.propose(leader);
    group.run(millis(20));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))), "two of three are enough");
    told(&group, "a_partial_partition");
}

#[test]
fn a_leader_that_hears_no_majority_steps_down() {
    let (mut group, leader) = led(3, 3);
    group.tell(&format!("nobody hears {} any more, nor it anybody", name(leader)));
    split(&mut group, &[leader]);
    let ticket = group.propose(leader);
    until(&mut group, "it notices", |group| lost_quorum(group, leader));
    assert!(!raft(&group, leader).is_leader());
    let refused = group.propose(leader);
    assert_eq!(group.answers.get(&refused), Some(&Err(Refusal::NotLeader { leader: None })));
    assert!(!group.answers.contains_key(&ticket), "what was proposed before may still be committed");
    told(&group, "a_leader_that_hears_no_majority_steps_down");
}

/// What it would answer might be older than what the next leader has committed meanwhile.
#[test]
fn a_read_on_a_leader_that_was_deposed_is_not_answered() {
    let (mut group, deposed) = led(3, 3);
    let rest = others(&group, &[deposed]);
    group.tell(&format!("{} is cut off, and the others elect one of them", name(deposed)));
    split(&mut group, &[deposed]);
    let before = group.now;
    until(&mut group, "another one leads", |group| group.leader().is_some_and(|leader| rest.contains(&leader)));
    let next = group.leader().expect("it was just elected");
    // It may have noticed by itself by now; the question is asked of a leader that has not.
    assert!(group.now < before + SECOND);
    let ticket = group.propose(next);
    group.run(millis(10));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.tell(&format!("somebody reads at {}", name(deposed)));
    let read = group.read(deposed);
    group.run(millis(200));
    assert!(matches!(group.readable.get(&read), Some(Err(_))), "it is refused: {:?}", group.readable.get(&read));
    told(&group, "a_read_on_a_leader_that_was_deposed_is_not_answered");
}

/// The other way round: the read came before the leader noticed that it is alone, and waits for a majority that never answers.
#[test]
fn a_read_waits_for_a_majority() {
    let (mut group, leader) = led(3, 3);
    group.tell(&format!("{} is cut off, and somebody reads there at once", name(leader)));
    split(&mut group, &[leader]);
    let read = group.read(leader);
    group.run(millis(100));
    assert!(raft(&group, leader).is_leader() && !group.readable.contains_key(&read), "nobody has confirmed it");
    until(&mut group, "it steps down", |group| lost_quorum(group, leader));
    assert_eq!(group.readable.get(&read), Some(&Err(Refusal::Unconfirmed)));
    told(&group, "a_read_waits_for_a_majority");
}

#[test]
fn a_follower_read() {
    let (mut group, leader) = led(3, 3);
    let follower = others(&group, &[leader])[0];
    let ticket = group.propose(leader);
    group.run(millis(10));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.told.clear();
    group.tell(&format!("somebody reads at {}, which follows; it asks {}", name(follower), name(leader)));
    let read = group.read(follower);
    group.run(millis(20));
    assert_eq!(group.readable.get(&read), Some(&Ok(2)), "once it has applied entry 2");
    told(&group, "a_follower_read");
}

#[test]
fn a_hand_over_to_a_node_that_is_behind() {
    let (mut group, leader) = led(3, 3);
    let behind = others(&group, &[leader])[0];
    split(&mut group, &[behind]);
    for _ in 0..3 {
        group.propose(leader);
    }
    group.run(millis(20));
    group.cut.clear();
    group.told.clear();
    group.tell(&format!("{} lacks three commands, and is to lead", name(behind)));
    group.give(leader, Event::Transfer { to: behind });
    let refused = group.propose(leader);
    assert_eq!(group.answers.get(&refused), Some(&Err(Refusal::Transferring)), "so that it can catch up");
    until(&mut group, "it leads", |group| group.leader() == Some(behind));
    group.run(millis(20));
    assert_eq!(raft(&group, behind).commit(), 5, "with all that was committed");
    told(&group, "a_hand_over_to_a_node_that_is_behind");
}

#[test]
fn a_hand_over_that_expires() {
    let (mut group, leader) = led(3, 3);
    let gone = others(&group, &[leader])[0];
    group.tell(&format!("{} is down, and is to lead", name(gone)));
    group.crash(gone);
    group.propose(leader);
    group.run(millis(10));
    group.give(leader, Event::Transfer { to: gone });
    let refused = group.propose(leader);
    group.run(TIMEOUT + millis(1));
    assert_eq!(group.answers.get(&refused), Some(&Err(Refusal::Transferring)));
    group.tell(&format!("{} has waited for long enough, and takes commands again", name(leader)));
    let ticket = group.propose(leader);
    group.run(millis(20));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    assert_eq!((group.leader(), raft(&group, leader).term()), (Some(leader), 1));
    told(&group, "a_hand_over_that_expires");
}

/// Five voters: a candidate with one vote besides its own has two, however often that is said.
#[test]
fn a_duplicate_vote_counts_once() {
    let (mut group, old) = led(5, 5);
    let rest = others(&group, &[old]);
    group.crash(old);
    let candidate = |group: &Group| {
        let asks = |(id, note): &(_, Note)| matches!(note, Note::AsksForVotes { term: 2 }).then_some(*id);
        group.notes.iter().find_map(asks)
    };
    until(&mut group, "somebody asks for votes", |group| candidate(group).is_some());
    let asker = candidate(&group).expect("it has asked");
    let voter = *rest.iter().find(|id| **id != asker).expect("five nodes");
    only(&mut group, &[]);
    group.run(millis(5));
    group.told.clear();
    group.tell(&format!("{} asks for votes, and only {} answers, three times", name(asker), name(voter)));
    for _ in 0..3 {
        let (incarnation, body) = (1, Body::VoteReply { granted: true, clock: 0 });
        let vote = Message { from: voter, incarnation, to: asker, term: 2, body };
        group.tell(&format!("{} hears of {}: you have my vote", name(asker), name(voter)));
        group.give(asker, Event::Received(vote));
    }
    assert!(!raft(&group, asker).is_leader(), "two of five are no majority");
    let third = *rest.iter().find(|id| ![asker, voter].contains(id)).expect("five nodes");
    group.tell(&format!("{} votes for it as well", name(third)));
    let body = Body::VoteReply { granted: true, clock: 0 };
    group.give(asker, Event::Received(Message { from: third, incarnation: 1, to: asker, term: 2, body }));
    assert!(raft(&group, asker).is_leader());
    told(&group, "a_duplicate_vote_counts_once");
}

#[test]
fn a_shorter_log_gets_no_vote() {
    let (mut group, leader) = led(3, 3);
    let [short, long] = others(&group, &[leader])[..] else { panic!("three nodes") };
    split(&mut group, &[short]);
    let ticket = group.propose(leader);
    group.run(millis(10));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.crash(leader);
    group.cut.clear();
    group.told.clear();
    group.tell(&format!(
        "{} is down; {} has the command that was committed, and {} has not",
        name(leader),
        name(long),
        name(short)
    ));
    group.run(SECOND);
    assert_eq!(group.leader(), Some(long));
    let by_short = |(id, note): &(_, Note)| *id == short && matches!(note, Note::Leads { .. });
    assert!(!group.notes.iter().any(by_short));
    told(&group, "a_shorter_log_gets_no_vote");
}

/// An old leader that comes back with a term that is over is told so, and follows.
#[test]
fn a_leader_of_an_older_term_learns_of_the_newer_one() {
    let (mut group, old) = led(3, 3);
    let rest = others(&group, &[old]);
    split(&mut group, &[old]);
    until(&mut group, "another one leads", |group| group.leader().is_some_and(|next| rest.contains(&next)));
    let next = group.leader().expect("it was just elected");
    group.told.clear();
    group.tell(&format!("{} led term 1, was cut off, and is heard again; {} leads now", name(old), name(next)));
    group.cut.clear();
    group.run(millis(150));
    assert_eq!(raft(&group, old).leader(), Some(next));
    told(&group, "a_leader_of_an_older_term_learns_of_the_newer_one");
}
