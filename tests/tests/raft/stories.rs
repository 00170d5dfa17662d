//! Stories of small groups, told line by line in `snapshots/`, so that a reader can follow what happens and a change of it is
//! seen. Heartbeats and their answers are left out.

use std::time::Duration;

use dps_core::id::NodeId;
use dps_core::raft::membership::Change;
use dps_core::raft::settings::Settings;
use dps_core::raft::{Event, Note, Raft, Refusal};

use crate::group::{Group, World, node};
use crate::words::{LEGEND, Named};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A group in which everything takes the same time.
fn group(voters: u8, nodes: u8) -> Group {
    let mut group = Group::new(voters, nodes, 1, Settings::STANDARD);
    group.world = World::STEADY;
    group
}

/// A leader is elected, and that is not part of the story.
pub(crate) fn led(voters: u8, nodes: u8) -> (Group, NodeId) {
    led_with(voters, nodes, Settings::STANDARD)
}

pub(crate) fn led_with(voters: u8, nodes: u8, settings: Settings) -> (Group, NodeId) {
    let mut group = Group::new(voters, nodes, 1, settings);
    group.world = World::STEADY;
    group.run(SECOND);
    let leader = group.leader().expect("a leader is elected within a second");
    group.told.clear();
    (group, leader)
}

pub(crate) fn raft(group: &Group, id: NodeId) -> &Raft {
    group.raft(id).expect("it is up")
}

pub(crate) fn others(group: &Group, than: &[NodeId]) -> Vec<NodeId> {
    group.nodes().into_iter().filter(|id| !than.contains(id)).collect()
}

/// Nobody on one side hears anybody on the other.
pub(crate) fn split(group: &mut Group, side: &[NodeId]) {
    for a in group.nodes() {
        for b in group.nodes() {
            if side.contains(&a) != side.contains(&b) {
                group.cut.insert((a, b));
            }
        }
    }
}

/// Nobody hears anybody but those on this side each other.
pub(crate) fn only(group: &mut Group, side: &[NodeId]) {
    group.cut.clear();
    for a in group.nodes() {
        for b in group.nodes() {
            if a != b && !(side.contains(&a) && side.contains(&b)) {
                group.cut.insert((a, b));
            }
        }
    }
}

/// `id` comes to lead with the votes of those on its side, who hear nobody else.
pub(crate) fn elect(group: &mut Group, id: NodeId, side: &[NodeId]) {
    only(group, side);
    // Whoever else would stand for election is not heard until it has led.
    for other in side.iter().filter(|other| **other != id) {
        for heard in side.iter().filter(|heard| *heard != other && **heard != id) {
            group.cut.insert((*other, *heard));
        }
    }
    let (until, before) = (group.now + 20 * SECOND, group.told.len());
    while group.leader() != Some(id) && group.advance(until) {}
    assert_eq!(group.leader(), Some(id), "it has the votes of its side");
    // Only the round that it won is part of the story, and only what was heard.
    let round = group.told.split_off(before);
    let asks = format!("{} asks whether", Named(id));
    let won = round.iter().rposition(|line| line.contains(&asks)).expect("it has asked");
    group.told.extend(round[won..].iter().filter(|line| !line.ends_with("(lost)")).cloned());
}

/// Runs until this is so.
pub(crate) fn until(group: &mut Group, what: &str, is: impl Fn(&Group) -> bool) {
    let until = group.now + 5 * SECOND;
    while !is(group) && group.advance(until) {}
    assert!(is(group), "never: {what}");
}

/// Compares with the story as it is written down.
pub(crate) fn told(group: &Group, name: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, format!("{LEGEND}\n{}", group.told.join("\n"))));
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

#[test]
fn a_snapshot_is_installed_on_a_new_follower() {
    let (mut group, leader) = led_with(1, 2, Settings { trailing_entries: 1, ..Settings::STANDARD });
    for _ in 0..5 {
        group.propose(leader);
    }
    group.run(millis(100));
    group.told.clear();
    group.snapshot(leader);
    assert_eq!(raft(&group, leader).base().index, 4, "one entry stays");
    group.tell("n2 is to learn");
    group.change(leader, vec![Change::AddLearner(node(2))]);
    group.run(millis(200));
    let ticket = group.propose(leader);
    group.run(millis(100));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    let learner = raft(&group, node(2));
    assert_eq!((learner.base().index, learner.last()), (5, raft(&group, leader).last()));
    told(&group, "a_snapshot_is_installed_on_a_new_follower");
}

#[test]
fn a_follower_that_was_away_for_long_gets_a_snapshot() {
    let (mut group, leader) = led_with(3, 3, Settings { trailing_entries: 0, ..Settings::STANDARD });
    let away = others(&group, &[leader])[0];
    group.crash(away);
    for _ in 0..5 {
        group.propose(leader);
    }
    group.run(millis(100));
    group.snapshot(leader);
    group.told.clear();
    group.tell(&format!(
        "{} was away while five commands were committed, and the leader has them in a snapshot",
        Named(away)
    ));
    group.start(away);
    group.run(millis(200));
    assert_eq!(raft(&group, away).base(), raft(&group, leader).last());
    assert!(group.notes.iter().any(|(id, note)| *id == away && matches!(note, Note::Restored { .. })));
    // One that comes when more is committed than it has changes nothing.
    let late = group.snapshot_of(away).expect("it was installed");
    let ticket = group.propose(leader);
    group.run(millis(100));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.snapshot(away);
    group.give(away, Event::Installed(late));
    assert_eq!(raft(&group, away).last(), raft(&group, leader).last());
    told(&group, "a_follower_that_was_away_for_long_gets_a_snapshot");
}

/// An entry of an older term that a majority has is not committed by that: another leader may still replace it (Ongaro 2014,
/// figure 3.7).
#[test]
fn figure_8() {
    let ids = [1, 2, 3, 4, 5].map(node);
    let [one, two, three, four, five] = ids;
    let mut group = Group::new(5, 5, 1, Settings { append_entries_max: 1, ..Settings::STANDARD });
    group.world = World::STEADY;
    elect(&mut group, one, &ids);
    group.cut.clear();
    until(&mut group, "all have the first entry", |group| ids.iter().all(|id| raft(group, *id).commit() == 1));
    group.told.clear();
    group.tell("n1 leads, and only n2 hears of the command");
    only(&mut group, &[one, two]);
    group.propose(one);
    until(&mut group, "n2 has it", |group| raft(group, two).last().index == 2);
    group.run(millis(2));
    group.tell("n1 is killed, and n5 elected by n3 and n4; it is killed when only it has its first entry");
    group.crash(one);
    elect(&mut group, five, &[three, four, five]);
    only(&mut group, &[five]);
    group.run(millis(2));
    group.crash(five);
    group.tell("n1 is back, elected by n2 and n3, and n3 gets the command, so that a majority has it");
    group.start(one);
    elect(&mut group, one, &[one, two, three]);
    let command = raft(&group, one).entry(2).expect("it is there").clone();
    group.cut.clear();
    only(&mut group, &[one, three]);
    until(&mut group, "n3 has the command", |group| raft(group, three).entry(2) == Some(&command));
    group.run(millis(3));
    let committed = group.committed.len();
    group.tell("n1 is killed, and n5 elected by n2, n3 and n4");
    group.crash(one);
    assert_eq!(committed, 1, "it is not committed by that");
    group.start(five);
    elect(&mut group, five, &[two, three, four, five]);
    group.cut.clear();
    group.run(millis(200));
    assert_ne!(raft(&group, three).entry(2), Some(&command), "it was replaced");
    group.is_durable();
    told(&group, "figure_8");
}

/// Two leaders of different terms each change one voter of the same set, and each believes to have a majority (Ongaro, raft-dev,
/// 2015-07-10). So a leader changes nobody before an entry of its own term is committed.
#[test]
fn the_2015_single_server_bug() {
    let ids = [1, 2, 3, 4].map(node);
    let [one, two, three, four] = ids;
    let five = node(5);
    let mut group = Group::new(4, 5, 1, Settings::STANDARD);
    group.world = World::STEADY;
    elect(&mut group, one, &ids);
    group.cut.clear();
    until(&mut group, "all have the first entry", |group| ids.iter().all(|id| raft(group, *id).commit() == 1));
    let ticket = group.change(one, vec![Change::AddLearner(five)]);
    group.run(millis(200));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.told.clear();
    group.tell("n1 leads, and makes a voter of n5, of which only these two know");
    only(&mut group, &[one, five]);
    group.change(one, vec![Change::Promote(five)]);
    group.run(millis(40));
    assert!(raft(&group, five).membership().voters().contains(&five));
    group.tell("n1 is killed; n2 is elected by n3 and n4, and wants to remove n1 while only n3 hears it");
    group.crash(one);
    elect(&mut group, two, &[two, three, four]);
    only(&mut group, &[two, three]);
    let early = group.change(two, vec![Change::Remove(one)]);
    group.run(millis(40));
    assert_eq!(group.answers.get(&early), Some(&Err(Refusal::ChangePending)), "its first entry is not committed");
    group.tell("n1 is back, and elected by n4 and n5");
    group.crash(two);
    group.start(one);
    elect(&mut group, one, &[one, four, five]);
    group.cut.clear();
    group.run(millis(100));
    group.start(two);
    group.run(millis(500));
    group.is_durable();
    let membership = raft(&group, one).membership().clone();
    assert_eq!(membership.voters().len(), 5);
    assert!(group.nodes().iter().all(|id| *raft(&group, *id).membership() == membership), "all know the same voters");
    told(&group, "the_2015_single_server_bug");
}

/// What a node said before it was removed and lost its disk says nothing of the node that has its name now.
#[test]
fn a_re_added_node() {
    let (mut group, leader) = led(2, 3);
    let three = node(3);
    group.change(leader, vec![Change::AddLearner(three)]);
    for _ in 0..3 {
        group.propose(leader);
    }
    group.run(millis(100));
    let late = group.last_reply(three, leader).expect("it has answered");
    group.change(leader, vec![Change::Remove(three)]);
    group.run(millis(100));
    group.told.clear();
    group.tell("n3 was removed, has lost its disk, and is added again while nothing reaches it");
    group.crash(three);
    group.wipe(three);
    group.start(three);
    split(&mut group, &[three]);
    group.change(leader, vec![Change::AddLearner(three)]);
    group.run(millis(20));
    group.tell("an answer of before comes late");
    group.give(leader, Event::Received(late));
    let early = group.change(leader, vec![Change::Promote(three)]);
    assert_eq!(group.answers.get(&early), Some(&Err(Refusal::NotCaughtUp)), "n3 has nothing");
    group.tell("n3 is reached again");
    group.cut.clear();
    group.run(millis(200));
    let ticket = group.change(leader, vec![Change::Promote(three)]);
    group.run(millis(100));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    group.is_durable();
    told(&group, "a_re_added_node");
}

/// A vote counts only if it is durable: until then nobody is told, and after a crash there is none.
#[test]
fn a_torn_vote() {
    let (mut group, leader) = led(3, 3);
    let [asker, voter] = others(&group, &[leader])[..] else { panic!("three nodes") };
    group.crash(leader);
    group.world.disk_max = millis(30);
    let begun = raft(&group, asker).term().max(raft(&group, voter).term()) + 1;
    let candidate = |group: &Group, id| {
        group.notes.iter().any(|(of, note)| *of == id && *note == Note::AsksForVotes { term: begun })
    };
    until(&mut group, "somebody asks for votes", |group| candidate(group, asker) || candidate(group, voter));
    let (asker, voter) = if candidate(&group, asker) { (asker, voter) } else { (voter, asker) };
    group.told.clear();
    group.tell(&format!("writes take long; {} asks for votes in term {begun}", Named(asker)));
    until(&mut group, "the vote is given and not durable", |group| raft(group, voter).term() == begun);
    group.tell(&format!("{} loses power before its vote is durable", Named(voter)));
    group.lose_writes(voter);
    group.crash(voter);
    group.start(voter);
    assert!(raft(&group, voter).term() < begun, "nothing of the vote is there");
    group.run(millis(400));
    assert!(group.leader().is_some());
    group.is_durable();
    told(&group, "a_torn_vote");
}

/// A node that begins anew has what it has: whatever its earlier start said is asked again.
#[test]
fn a_follower_restored_from_an_old_disk_is_asked_anew() {
    let (mut group, leader) = led(3, 3);
    let follower = others(&group, &[leader])[0];
    let old = group.copy_disk(follower);
    for _ in 0..3 {
        group.propose(leader);
    }
    group.run(millis(100));
    group.told.clear();
    group.tell(&format!("{} is restored from a copy that lacks three commands", Named(follower)));
    group.crash(follower);
    group.replace_disk(follower, old);
    group.start(follower);
    group.run(millis(200));
    let ticket = group.propose(leader);
    group.run(millis(200));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    assert_eq!(raft(&group, follower).last(), raft(&group, leader).last());
    told(&group, "a_follower_restored_from_an_old_disk_is_asked_anew");
}

/// A snapshot counts once it is durable, whatever the log says of it.
#[test]
fn a_crash_after_a_snapshot_is_installed() {
    let (mut group, leader) = led_with(3, 3, Settings { trailing_entries: 0, ..Settings::STANDARD });
    let away = others(&group, &[leader])[0];
    group.crash(away);
    for _ in 0..5 {
        group.propose(leader);
    }
    group.run(millis(100));
    group.snapshot(leader);
    group.told.clear();
    group.start(away);
    group.world.disk_max = millis(30);
    let restored =
        |group: &Group| group.notes.iter().any(|(id, note)| *id == away && matches!(note, Note::Restored { .. }));
    until(&mut group, "the snapshot is installed", restored);
    group.tell(&format!("{} loses power before its log tells of the snapshot", Named(away)));
    group.lose_writes(away);
    group.crash(away);
    group.start(away);
    assert_eq!(raft(&group, away).base(), raft(&group, leader).base(), "it begins with the snapshot");
    group.run(millis(300));
    let ticket = group.propose(leader);
    group.run(millis(300));
    assert!(matches!(group.answers.get(&ticket), Some(Ok(_))));
    assert_eq!(raft(&group, away).last(), raft(&group, leader).last());
    told(&group, "a_crash_after_a_snapshot_is_installed");
}
