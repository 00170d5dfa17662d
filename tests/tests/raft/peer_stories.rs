//! Stories of whole members: their starts, their disks and what commands come to.

use std::time::Duration;

use dps_core::crypto::hash::sha256;
use dps_core::disk::File;
use dps_core::disk::halt::HaltReason;
use dps_core::id::{FileId, NodeId};
use dps_core::keystore::manifest::Manifest;
use dps_core::ledger::command::{Command, Outcome};
use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;
use dps_core::note::Note;
use dps_core::raft::membership::Change;
use dps_core::raft::message::{Appended, Body as Words};
use dps_core::raft::settings::Settings as RaftSettings;
use dps_core::replica::note::{Note as MemberNote, Reason};
use dps_core::replica::witness::Because;
use dps_core::replica::{Answer, Body, Message, Refusal, Replica, Settings};
use dps_core::time::WallTime;

use crate::group::node;
use crate::peers::{BEGIN, Files, Peers};
use crate::stories::millis;
use crate::words::{LEGEND, Named};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

fn put(name: &str, content: &[u8]) -> Command {
    let name = Name::new(name.as_bytes()).expect("a short name");
    let manifest = Manifest::inline(FileId::from_bytes(sha256(content)), content);
    Command::Put { time: WallTime::from_nanos(BEGIN), lease: 0, name, expect: Expect::Any, manifest }
}

/// A group that makes a snapshot after every few entries, and keeps none of them.
const SHORT: Settings =
    Settings { raft: RaftSettings { trailing_entries: 0, ..RaftSettings::STANDARD }, snapshot_entries: 4 };

/// A leader is elected, and that is not part of the story.
fn led(voters: u8, members: u8, settings: Settings) -> (Peers, NodeId) {
    let mut peers = Peers::new(voters, members, settings);
    peers.run(Duration::from_secs(1));
    let leader = peers.leader().expect("a leader is elected within a second");
    peers.told.clear();
    (peers, leader)
}

fn others(peers: &Peers, than: &[NodeId]) -> Vec<NodeId> {
    peers.nodes().into_iter().filter(|id| !than.contains(id)).collect()
}

fn apart(peers: &mut Peers, a: NodeId, b: NodeId) {
    peers.cut.extend([(a, b), (b, a)]);
}

/// A file is stored, and that is acknowledged.
fn store(peers: &mut Peers, leader: NodeId, name: &str) {
    let ticket = peers.propose(leader, put(name, name.as_bytes()));
    peers.until("it is acknowledged", |peers| peers.decided.contains_key(&ticket));
    assert!(peers.decided[&ticket].is_ok(), "{:?}", peers.decided[&ticket]);
}

fn replica(peers: &Peers, id: NodeId) -> &Replica {
    peers.replica(id).expect("its disk was read")
}

fn noted(peers: &Peers, id: NodeId, note: MemberNote) -> bool {
    peers.notes.contains(&(id, Note::Member(note)))
}

/// Compares with the story as it is written down.
fn told(peers: &Peers, name: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, format!("{LEGEND}\n{}", peers.told.join("\n"))));
}

#[test]
fn members_get_to_know_each_other_and_elect() {
    let mut peers = Peers::new(3, 3, Settings::STANDARD);
    peers.run(RaftSettings::STANDARD.election_timeout_max + millis(30));
    assert!(peers.leader().is_some(), "within the usual time");
    told(&peers, "members_get_to_know_each_other_and_elect");
}

/// A follower, which was started again since its disk was copied.
fn copied_one_start_ago(peers: &mut Peers, leader: NodeId) -> (NodeId, Files) {
    let voter = others(peers, &[leader])[0];
    let old = peers.copy_disk(voter);
    peers.kill(voter);
    peers.start(voter);
    peers.run(millis(100));
    (voter, old)
}

/// A member goes on with another disk, until it stops.
fn stops_on(peers: &mut Peers, voter: NodeId, files: Files) -> HaltReason {
    peers.kill(voter);
    peers.replace_disk(voter, files);
    peers.start(voter);
    peers.until("it stops", |peers| peers.halted.contains_key(&voter));
    peers.halted[&voter]
}

/// The copy is older than the start that it was taken in: its number is known already.
#[test]
fn a_voter_restored_from_an_old_disk() {
    let (mut peers, leader) = led(3, 3, Settings::STANDARD);
    let (voter, old) = copied_one_start_ago(&mut peers, leader);
    store(&mut peers, leader, "a");
    peers.run(millis(100));
    peers.told.clear();
    peers.tell(&format!("{} is restored from a copy of its disk, which was taken one start ago", Named(voter)));
    let reason = stops_on(&mut peers, voter, old);
    assert!(matches!(reason, HaltReason::RolledBack { because: Because::EarlierStart { known: 2 }, .. }), "{reason:?}");
    store(&mut peers, leader, "b");
    told(&peers, "a_voter_restored_from_an_old_disk");
}

/// The copy is of the start that went on: its number is new, but its log ends before what it has acknowledged.
#[test]
fn a_voter_restored_from_a_copy_of_its_running_disk() {
    let (mut peers, leader) = led(3, 3, Settings::STANDARD);
    let [voter, other] = others(&peers, &[leader])[..] else { panic!("three members") };
    let old = peers.copy_disk(voter);
    peers.kill(other);
    store(&mut peers, leader, "a");
    peers.told.clear();
    peers.tell(&format!(
        "{} and {} have stored a file; {} is restored from a copy that lacks it, and {} has not heard of it",
        Named(leader),
        Named(voter),
        Named(voter),
        Named(other)
    ));
    peers.kill(voter);
    peers.replace_disk(voter, old);
    peers.start(voter);
    peers.start(other);
    peers.until("it stops", |peers| peers.halted.contains_key(&voter));
    let reason = peers.halted[&voter];
    assert!(matches!(reason, HaltReason::RolledBack { because: Because::ShorterLog { .. }, by } if by == leader));
    peers.run(Duration::from_secs(1));
    let next = peers.leader().expect("the others go on");
    let name = Name::new(b"a").expect("a name");
    assert!(replica(&peers, next).ledger().name(&name).is_some(), "what was acknowledged is there");
    told(&peers, "a_voter_restored_from_a_copy_of_its_running_disk");
}

#[test]
fn a_voter_on_an_empty_disk_under_its_old_name() {
    let (mut peers, leader) = led(3, 3, Settings::STANDARD);
    let voter = others(&peers, &[leader])[0];
    store(&mut peers, leader, "a");
    peers.told.clear();
    peers.tell(&format!("{} is started on an empty disk", Named(voter)));
    let reason = stops_on(&mut peers, voter, Files::new());
    assert!(matches!(reason, HaltReason::RolledBack { because: Because::EarlierStart { known: 1 }, .. }), "{reason:?}");
    told(&peers, "a_voter_on_an_empty_disk_under_its_old_name");
}

/// A service manager starts it again and again, and each start counts one more. By numbers alone, nobody could tell after
/// the second.
#[test]
fn a_voter_that_was_refused_says_so_at_every_start() {
    let (mut peers, leader) = led(3, 3, Settings::STANDARD);
    let (voter, old) = copied_one_start_ago(&mut peers, leader);
    peers.told.clear();
    peers.tell(&format!("{} is restored from a copy of its disk, which was taken one start ago", Named(voter)));
    let reason = stops_on(&mut peers, voter, old);
    assert!(matches!(reason, HaltReason::RolledBack { because: Because::EarlierStart { known: 2 }, .. }), "{reason:?}");
    for id in peers.nodes() {
        peers.kill(id);
    }
    peers.tell("all are down; it is started alone, five times");
    for _ in 0..5 {
        peers.start(voter);
        peers.until("it stops", |peers| peers.halted.contains_key(&voter));
        assert_eq!(peers.halted[&voter], reason, "without asking anybody");
        peers.kill(voter);
    }
    told(&peers, "a_voter_that_was_refused_says_so_at_every_start");
}

/// Whoever remembers has it on disk, so that a start of its own forgets nothing.
#[test]
fn a_witness_that_was_started_again_still_knows() {
    let (mut peers, leader) = led(3, 3, Settings::STANDARD);
    let (voter, old) = copied_one_start_ago(&mut peers, leader);
    peers.told.clear();
    peers.tell("all are down; all but one start on the disks that they had, and that one on an old copy");
    for id in peers.nodes() {
        peers.kill(id);
    }
    peers.replace_disk(voter, old);
    for id in peers.nodes() {
        peers.start(id);
    }
    peers.until("it stops", |peers| peers.halted.contains_key(&voter));
    peers.until("the others go on", |peers| peers.leader().is_some());
    assert_ne!(peers.leader(), Some(voter));
    told(&peers, "a_witness_that_was_started_again_still_knows");
}

/// Two starts at once: each asks the other, and each is known once the other has written that down.
#[test]
fn a_learner_and_its_leader_get_to_know_each_other() {
    let (mut peers, leader) = led(1, 2, Settings::STANDARD);
    peers.tell("n2 is to learn, which nobody has heard of");
    peers.change(leader, vec![Change::AddLearner(node(2))]);
    peers.until("it has what the leader has", |peers| {
        replica(peers, node(2)).applied() > 0 && replica(peers, node(2)).applied() == replica(peers, leader).applied()
    });
    told(&peers, "a_learner_and_its_leader_get_to_know_each_other");
}

#[test]
fn an_old_message_of_an_earlier_start() {
    let (mut peers, leader) = led(3, 3, Settings::STANDARD);
    let voter = others(&peers, &[leader])[0];
    store(&mut peers, leader, "a");
    let is_late = |message: &&Message| {
        matches!(message, Message::Raft(words) if words.from == voter && words.to == leader
            && matches!(words.body, Words::AppendReply { result: Appended::Matched { .. }, .. }))
    };
    let late = peers.sent.iter().rev().find(is_late).expect("it has acknowledged").clone();
    peers.told.clear();
    peers.tell(&format!("{} is started again; then an acknowledgement of its earlier start comes late", Named(voter)));
    peers.kill(voter);
    peers.start(voter);
    peers.until("it is known", |peers| noted(peers, leader, MemberNote::Met { node: voter, start: 2 }));
    peers.replay(late);
    assert!(noted(&peers, leader, MemberNote::Rejected { from: voter, reason: Reason::OlderStart }));
    store(&mut peers, leader, "b");
    told(&peers, "an_old_message_of_an_earlier_start");
}

/// Tickets begin anew with each start, so the answer to one of an earlier start is not the answer to that of the same number.
#[test]
fn an_answer_to_an_earlier_start_is_not_taken() {
    let (mut peers, leader) = led(3, 3, Settings::STANDARD);
    let gateway = others(&peers, &[leader])[0];
    peers.tell(&format!("{} passes on a command under number 1, and is killed before it is answered", Named(gateway)));
    peers.pass(gateway, leader, 1, put("a", b"first"));
    peers.run(millis(1));
    peers.kill(gateway);
    peers.run(millis(50));
    assert!(peers.passed.is_empty());
    let answered = |message: &&Message| matches!(message, Message::Member(letter) if letter.to == gateway && matches!(letter.body, Body::Proposed { .. }));
    let late = peers.sent.iter().find(answered).expect("the leader has answered").clone();
    peers.start(gateway);
    peers.run(millis(100));
    peers.tell("its next start passes on another command under number 1; the answer to the first comes late");
    apart(&mut peers, gateway, leader);
    peers.pass(gateway, leader, 1, put("a", b"second"));
    peers.replay(late);
    assert!(peers.passed.is_empty(), "nothing was done of what this start has asked for");
    assert!(noted(&peers, gateway, MemberNote::Rejected { from: leader, reason: Reason::OtherStart }));
    told(&peers, "an_answer_to_an_earlier_start_is_not_taken");
}

/// The answer is lost with the leader that gave it; whoever leads next remembers what the command came to.
#[test]
fn a_session_that_retries_after_a_leader_change_gets_its_first_answer() {
    let (mut peers, leader) = led(3, 3, Settings::STANDARD);
    let ticket = peers.propose(leader, Command::RegisterSession { time: WallTime::from_nanos(BEGIN) });
    peers.run(millis(20));
    let Ok(decision) = &peers.decided[&ticket] else { panic!("a session was registered") };
    let Outcome::SessionRegistered { session } = decision.outcome else { panic!("{decision:?}") };
    peers.told.clear();
    let within = |command| Command::InSession { session, serial: 1, command: Box::new(command) };
    peers.tell(&format!("number 1 of session {session} is proposed to {}: store a", Named(leader)));
    let first = peers.propose(leader, within(put("a", b"first")));
    peers.run(millis(20));
    let Ok(first) = peers.decided[&first].clone() else { panic!("it was stored") };
    peers.tell(&format!("{} is killed, and nobody has heard its answer: {:?}", Named(leader), first.outcome));
    peers.kill(leader);
    peers.until("another one leads", |peers| peers.leader().is_some());
    let next = peers.leader().expect("it was just elected");
    peers.tell(&format!("the same is proposed to {}", Named(next)));
    let again = peers.propose(next, within(put("a", b"first")));
    peers.until("it is answered", |peers| peers.decided.contains_key(&again));
    let Ok(again) = peers.decided[&again].clone() else { panic!("it is known") };
    assert_eq!(again.outcome, first.outcome);
    assert!(again.position > first.position, "it was committed twice and done once");
    peers.tell(&format!("it is told the same: {:?}", again.outcome));
    told(&peers, "a_session_that_retries_after_a_leader_change_gets_its_first_answer");
}

/// Ledger time is the median of the voters' clocks: one that is wrong moves nothing, not even that of the leader.
#[test]
fn a_leader_whose_clock_is_a_year_ahead() {
    let (mut peers, leader) = led(3, 3, Settings::STANDARD);
    store(&mut peers, leader, "a");
    let before = replica(&peers, leader).ledger().time();
    peers.told.clear();
    peers.tell(&format!("the clock of {} is a year ahead from now on, and it stores a file", Named(leader)));
    peers.advance_clock(leader, YEAR);
    peers.run(millis(200));
    store(&mut peers, leader, "b");
    let after = replica(&peers, leader).ledger().time();
    assert!(after > before && after < before.saturating_add(Duration::from_secs(1)), "{before:?} {after:?}");
    peers.tell("ledger time has gone on by less than a second");
    told(&peers, "a_leader_whose_clock_is_a_year_ahead");
}

/// What was just elected has the clocks of those who voted for it.
#[test]
fn a_new_leader_whose_clock_is_a_year_ahead() {
    let mut peers = Peers::new(3, 3, Settings::STANDARD);
    for number in [1, 2, 3] {
        // Whoever leads will be ahead, as all but one are: then it is the others who are behind.
        peers.advance_clock(node(number), if number == 1 { YEAR } else { Duration::ZERO });
    }
    apart(&mut peers, node(2), node(3));
    peers.run(Duration::from_secs(2));
    let leader = peers.leader().expect("n1 is heard by both");
    let ticket = peers.propose(leader, put("a", b"a"));
    peers.run(millis(50));
    assert!(matches!(peers.decided.get(&ticket), Some(Ok(_))));
    let time = replica(&peers, leader).ledger().time();
    assert!(time < WallTime::from_nanos(BEGIN).saturating_add(Duration::from_secs(5)), "{time:?}");
    // A step of a day or more needs a majority of clocks that agree on it.
    for number in [1, 2] {
        peers.advance_clock(node(number), YEAR);
    }
    peers.cut.clear();
    peers.run(millis(500));
    let leader = peers.leader().expect("all hear each other");
    store(&mut peers, leader, "b");
    assert!(replica(&peers, leader).ledger().time() > WallTime::from_nanos(BEGIN).saturating_add(YEAR));
}

/// Its log begins behind what it has lost, so it takes a snapshot from another member and goes on.
#[test]
fn a_member_whose_only_snapshot_is_lost() {
    let (mut peers, leader) = led(3, 3, SHORT);
    let member = others(&peers, &[leader])[0];
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        store(&mut peers, leader, name);
        peers.run(millis(20));
    }
    assert!(replica(&peers, member).raft().base().index > 0, "its log begins behind a snapshot");
    peers.told.clear();
    peers.tell(&format!("{} loses all its snapshots, and its log begins behind them", Named(member)));
    peers.kill(member);
    peers.files(member).retain(|file, _| !matches!(file, File::Snapshot(_)));
    peers.start(member);
    peers.until("its disk is read", |peers| peers.replica(member).is_some());
    assert!(replica(&peers, member).raft().lacks_state());
    let read = peers.read(member);
    assert_eq!(peers.readable.get(&read), Some(&Err(Refusal::NoLedger)));
    peers.until("it has a ledger", |peers| !replica(peers, member).raft().lacks_state());
    store(&mut peers, leader, "j");
    peers.run(millis(100));
    assert_eq!(replica(&peers, member).ledger().root(), replica(&peers, leader).ledger().root());
    told(&peers, "a_member_whose_only_snapshot_is_lost");
}

/// Only it has what was committed, so nobody else can lead; it has no ledger, so it does not. It gets one without a leader.
#[test]
fn a_member_without_a_ledger_gets_one_before_it_leads() {
    let (mut peers, leader) = led(3, 3, SHORT);
    let [member, short] = others(&peers, &[leader])[..] else { panic!("three members") };
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        store(&mut peers, leader, name);
        peers.run(millis(20));
    }
    let kept = replica(&peers, member).raft().base().index;
    apart(&mut peers, short, leader);
    apart(&mut peers, short, member);
    store(&mut peers, leader, "j");
    peers.told.clear();
    peers.tell(&format!(
        "{} is gone for good; {} has what was committed last and loses its snapshots, {} lacks the last command",
        Named(leader),
        Named(member),
        Named(short)
    ));
    peers.kill(leader);
    peers.kill(member);
    peers.files(member).retain(|file, _| !matches!(file, File::Snapshot(_)));
    peers.cut.clear();
    peers.start(member);
    peers.until("it has a ledger", |peers| peers.replica(member).is_some_and(|replica| !replica.raft().lacks_state()));
    assert_eq!(peers.leader(), None, "nobody leads without a ledger that goes with its log");
    peers.until("it leads", |peers| peers.leader() == Some(member));
    assert!(replica(&peers, member).applied() > kept);
    told(&peers, "a_member_without_a_ledger_gets_one_before_it_leads");
}

/// Nobody else could give it one.
#[test]
fn a_member_that_votes_alone_stops_without_a_snapshot() {
    let (mut peers, leader) = led(1, 1, SHORT);
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        store(&mut peers, leader, name);
        peers.run(millis(20));
    }
    peers.kill(leader);
    peers.files(leader).retain(|file, _| !matches!(file, File::Snapshot(_)));
    peers.start(leader);
    peers.until("it stops", |peers| peers.halted.contains_key(&leader));
    assert!(matches!(peers.halted[&leader], HaltReason::SnapshotLost { index } if index > 0));
}

/// Whoever is given a damaged snapshot says so; it is offered no more, and another one is made.
#[test]
fn a_snapshot_that_is_damaged_is_made_anew() {
    damaged_snapshot("a_snapshot_that_is_damaged_is_made_anew", |peers, leader| {
        peers.tell(&format!("a byte of each snapshot of {} is rotten", Named(leader)));
        for (file, bytes) in peers.files(leader) {
            if matches!(file, File::Snapshot(_)) {
                bytes[40] ^= 1;
            }
        }
    });
}

/// The same when the disk says so itself.
#[test]
fn a_snapshot_that_cannot_be_read_is_made_anew() {
    damaged_snapshot("a_snapshot_that_cannot_be_read_is_made_anew", |peers, leader| {
        peers.tell(&format!("the snapshot of {} can't be read", Named(leader)));
        peers.blind(leader);
    });
}

fn damaged_snapshot(name: &str, harm: impl Fn(&mut Peers, NodeId)) {
    let (mut peers, leader) = led(3, 3, SHORT);
    let away = others(&peers, &[leader])[0];
    peers.kill(away);
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        store(&mut peers, leader, name);
        peers.run(millis(20));
    }
    peers.told.clear();
    peers.tell(&format!("{} was away, and lacks what {} has only in a snapshot", Named(away), Named(leader)));
    harm(&mut peers, leader);
    peers.start(away);
    let lost = |peers: &Peers| {
        peers
            .notes
            .iter()
            .any(|(id, note)| *id == leader && matches!(note, Note::Member(MemberNote::SnapshotLost { .. })))
    };
    peers.until("the leader notices", lost);
    let asked = |peers: &Peers| {
        let asks =
            |message: &&Message| matches!(message, Message::Member(letter) if matches!(letter.body, Body::Ask(_)));
        peers.sent.iter().filter(asks).count()
    };
    if name.contains("cannot") {
        // Its disk is mended, as one that always fails gives nothing to anybody.
        peers.mend(leader);
    }
    peers.until("it has all", |peers| {
        let (has, all) = (peers.replica(away).map_or(0, Replica::applied), replica(peers, leader).applied());
        has == all
    });
    assert!(asked(&peers) < 12, "it is not asked again and again: {}", asked(&peers));
    told(&peers, name);
}

/// Whoever was removed changes nothing any more, whoever it takes for the leader.
#[test]
fn a_removed_member_proposes_nothing() {
    let (mut peers, leader) = led(3, 3, Settings::STANDARD);
    let gone = others(&peers, &[leader])[0];
    peers.tell(&format!("{} is removed, and passes on a command all the same", Named(gone)));
    let ticket = peers.change(leader, vec![Change::Remove(gone)]);
    peers.run(millis(50));
    assert_eq!(peers.changed.get(&ticket), Some(&Ok(())));
    peers.pass(gone, leader, 1, put("a", b"a"));
    peers.run(millis(20));
    assert_eq!(peers.passed.get(&1), Some(&Answer::NotLeader(None)));
    assert!(noted(&peers, leader, MemberNote::Rejected { from: gone, reason: Reason::NoMember }));
    told(&peers, "a_removed_member_proposes_nothing");
}

/// A session that nobody uses for an hour of ledger time is over, and so is what was known of its commands.
#[test]
fn a_session_that_was_evicted_is_told() {
    let (mut peers, leader) = led(3, 3, Settings::STANDARD);
    let ticket = peers.propose(leader, Command::RegisterSession { time: WallTime::from_nanos(BEGIN) });
    peers.run(millis(20));
    let Ok(decision) = &peers.decided[&ticket] else { panic!("a session was registered") };
    let Outcome::SessionRegistered { session } = decision.outcome else { panic!("{decision:?}") };
    peers.tell("two hours go by on all clocks");
    for id in peers.nodes() {
        peers.advance_clock(id, 2 * Duration::from_secs(3_600));
    }
    peers.run(millis(200));
    store(&mut peers, leader, "a");
    let within = Command::InSession { session, serial: 1, command: Box::new(put("b", b"b")) };
    let ticket = peers.propose(leader, within);
    peers.until("it is answered", |peers| peers.decided.contains_key(&ticket));
    let Ok(decision) = &peers.decided[&ticket] else { panic!("it is committed") };
    assert_eq!(decision.outcome, Outcome::SessionUnknown, "and does nothing");
    let name = Name::new(b"b").expect("a name");
    assert!(replica(&peers, leader).ledger().name(&name).is_none());
    told(&peers, "a_session_that_was_evicted_is_told");
}
