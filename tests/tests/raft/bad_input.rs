//! Messages that make no sense, or come from whoever has no say: each is noted or refused, and nothing has changed.

use std::sync::Arc;

use bytes::Bytes;
use dps_core::id::NodeId;
use dps_core::limits::ENTRY_PAYLOAD_BYTES_MAX;
use dps_core::machine::Machine as _;
use dps_core::note::Note;
use dps_core::raft::entry::{Entry, Payload, Position};
use dps_core::raft::membership::{Change, ChangeError, Membership};
use dps_core::raft::message::{Appended, Body, Message as Words};
use dps_core::raft::settings::Settings as RaftSettings;
use dps_core::raft::snapshot::{INDEX_MAX, Snapshot};
use dps_core::raft::{Base, Effect, Event, Note as GroupNote, Raft, Reason, Refusal, Start, TERM_MAX, Vote};
use dps_core::replica::note::{Note as MemberNote, Reason as MemberReason};
use dps_core::replica::witness::{INCARNATION_MAX, Start as Introduced, Words as Meeting};
use dps_core::replica::{Body as Says, Letter, Message, Piece, Settings};
use dps_core::rng::Seed;
use dps_core::time::{Instant, Now, WallTime};

use crate::group::node;
use crate::peers::Peers;
use crate::stories::millis;

const fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

fn now() -> Now {
    Now { mono: Instant::from_nanos(5_000_000_000), wall: WallTime::from_nanos(7) }
}

/// Node 1 of three voters, in term 3 with two entries, and whether it leads.
fn alone(leads: bool) -> Raft {
    let members = Membership::new([1, 2, 3].map(node)).expect("three vote");
    let entries = [at(2, 1), at(3, 2)].map(|position| Entry { position, payload: Payload::Empty });
    let start = Start {
        id: node(1),
        incarnation: 9,
        vote: Vote { term: 3, candidate: None },
        base: Base { position: Position::ZERO, membership: Arc::new(members) },
        snapshot: None,
        entries: entries.to_vec(),
        doubt: None,
        vote_certain: true,
        lacks_state: false,
        settings: RaftSettings { trailing_entries: 0, ..RaftSettings::STANDARD },
    };
    let mut raft = Raft::new(start, Seed::new([3; 32]).rng(), Now { mono: Instant::ZERO, wall: WallTime::default() });
    if leads {
        hear(&mut raft, Event::Wake);
        hear(&mut raft, received(node(2), 4, Body::PreVoteReply { granted: true }));
        hear(&mut raft, Event::Persisted { write: 1 });
        hear(&mut raft, received(node(2), 4, Body::VoteReply { granted: true, clock: 0 }));
        assert!(raft.is_leader());
    } else {
        hear(&mut raft, received(node(2), 3, Body::Heartbeat { session: 1, commit: 0, round: 1 }));
    }
    raft
}

fn received(from: NodeId, term: u64, body: Body) -> Event {
    Event::Received(Words { from, incarnation: 5, to: node(1), term, body })
}

fn hear(raft: &mut Raft, event: Event) -> Vec<Effect> {
    let mut out = vec![];
    raft.step(now(), event, &mut out);
    raft.flush(now(), &mut out);
    raft.check();
    out
}

/// What shows of a node.
fn state(raft: &Raft) -> (u64, Option<NodeId>, Position, u64, Position) {
    (raft.term(), raft.leader(), raft.last(), raft.commit(), raft.base())
}

/// A message is noted for this reason, and has changed and brought nothing else.
fn rejected(leads: bool, from: NodeId, term: u64, body: Body, reason: Reason) {
    let mut raft = alone(leads);
    let before = state(&raft);
    let out = hear(&mut raft, received(from, term, body.clone()));
    assert_eq!(out, [Effect::Note(GroupNote::Rejected { from, reason })], "{body:?}");
    assert_eq!(state(&raft), before, "{body:?}");
}

fn snapshot(last: Position) -> Snapshot {
    let membership = Arc::new(Membership::new([node(1)]).expect("one votes"));
    Snapshot { last, membership, digest: [0; 32], bytes: u64::MAX }
}

/// It was fetched while the node followed and lacked entries; then these came, and the node was elected before it knew
/// which of them were committed.
#[test]
fn a_snapshot_that_is_durable_once_its_node_leads() {
    // The third is one that no member tells the truth about, since a leader has everything that is committed.
    for last in [at(3, 2), at(4, 3), at(4, 9)] {
        let mut raft = alone(true);
        let before = state(&raft);
        let out = hear(&mut raft, Event::Installed(snapshot(last)));
        assert_eq!((out, state(&raft)), (vec![], before), "it counts by itself what is committed");
    }
}

#[test]
fn terms_that_no_group_gets_to() {
    for term in [TERM_MAX + 1, u64::MAX - 1, u64::MAX] {
        for body in [
            Body::PreVote { last: at(3, 2) },
            Body::Vote { last: at(3, 2), transfer: true },
            Body::Heartbeat { session: 1, commit: 0, round: 1 },
            Body::PreVoteReply { granted: false },
            Body::Stale,
        ] {
            rejected(false, node(2), term, body.clone(), Reason::AbsurdTerm);
            rejected(true, node(2), term, body, Reason::AbsurdTerm);
        }
    }
}

#[test]
fn indexes_that_no_log_gets_to() {
    let entry = |index| Entry { position: at(3, index), payload: Payload::Empty };
    let append = |prev, entries: Vec<Entry>, commit| Body::Append { session: 1, prev, entries: entries.into(), commit };
    for far in [INDEX_MAX + 1, u64::MAX] {
        let membership = Arc::new(Membership::new([node(2)]).expect("one votes"));
        for body in [
            Body::PreVote { last: at(3, far) },
            Body::PreVote { last: at(far, 3) },
            Body::Vote { last: at(3, far), transfer: false },
            append(at(3, far), vec![], 0),
            append(at(3, 2), vec![], far),
            append(at(3, 2), vec![entry(far)], 0),
            Body::Heartbeat { session: 1, commit: far, round: 1 },
            Body::Install { session: 1, snapshot: snapshot(at(3, far)).into() },
            Body::TimeoutNow { last: at(3, far) },
            Body::ReadReply { asker: 9, ticket: 1, index: Some(far) },
            Body::SurveyReply { asker: 9, round: 1, last: at(3, far), doubtful: false, since: 0, membership },
        ] {
            rejected(false, node(2), 3, body, Reason::AbsurdIndex);
        }
        for body in [
            Body::AppendReply { session: 1, result: Appended::Matched { index: far }, counts: true, clock: 0 },
            Body::AppendReply {
                session: 1,
                result: Appended::Conflict { prev: far, hint: at(3, 2) },
                counts: true,
                clock: 0,
            },
        ] {
            rejected(true, node(2), 4, body, Reason::AbsurdIndex);
        }
    }
}

#[test]
fn entries_and_snapshots_that_cannot_be() {
    let append = |prev, positions: &[Position]| {
        let entry = |position: &Position| Entry { position: *position, payload: Payload::Empty };
        let entries: Vec<Entry> = positions.iter().map(entry).collect();
        Body::Append { session: 1, prev, entries: entries.into(), commit: 0 }
    };
    for body in [
        append(at(3, 2), &[at(3, 4)]),
        append(at(3, 2), &[at(2, 3)]),
        append(at(3, 2), &[at(4, 3)]),
        append(at(3, 2), &[at(3, 3), at(3, 3)]),
    ] {
        rejected(false, node(2), 3, body, Reason::MalformedEntries);
    }
    for last in [Position::ZERO, at(4, 9)] {
        let body = Body::Install { session: 1, snapshot: snapshot(last).into() };
        rejected(false, node(2), 3, body, Reason::MalformedSnapshot);
    }
}

#[test]
fn answers_to_what_was_never_asked() {
    let (session, counts, clock) = (1, true, 0);
    for (from, body, reason) in [
        // More than this leader has, or has begun.
        (2, Body::AppendReply { session, result: Appended::Matched { index: 9 }, counts, clock }, Reason::Unasked),
        (
            2,
            Body::AppendReply { session, result: Appended::Conflict { prev: 9, hint: at(3, 2) }, counts, clock },
            Reason::Unasked,
        ),
        (2, Body::HeartbeatReply { session, round: 99, counts, clock }, Reason::Unasked),
        (2, Body::HeartbeatReply { session, round: u64::MAX, counts, clock }, Reason::Unasked),
        // Of whoever takes no part.
        (4, Body::AppendReply { session, result: Appended::Matched { index: 2 }, counts, clock }, Reason::Unasked),
        (4, Body::HeartbeatReply { session, round: 1, counts, clock }, Reason::Unasked),
        (4, Body::VoteReply { granted: true, clock }, Reason::NoVoter),
        (4, Body::Read { ticket: 1 }, Reason::NoVoter),
        // Nobody leads beside it, and it asked nobody.
        (2, Body::TimeoutNow { last: at(3, 2) }, Reason::Unasked),
        (2, Body::ReadReply { asker: 9, ticket: 1, index: Some(1) }, Reason::Unasked),
        (2, Body::ReadReply { asker: 8, ticket: 1, index: Some(1) }, Reason::Unasked),
    ] {
        rejected(true, node(from), 4, body, reason);
    }
    rejected(false, node(4), 3, Body::PreVoteReply { granted: true }, Reason::NoVoter);
    for asker in [8, 9] {
        let membership = Arc::new(Membership::new([node(2)]).expect("one votes"));
        let body = Body::SurveyReply { asker, round: 1, last: at(3, 2), doubtful: false, since: 0, membership };
        rejected(false, node(2), 3, body, Reason::Unasked);
    }
    // It follows n2, and n3 has no say in who leads; and n2 has more than it has.
    rejected(false, node(3), 3, Body::TimeoutNow { last: at(3, 2) }, Reason::Unasked);
    rejected(false, node(2), 3, Body::TimeoutNow { last: at(3, 9) }, Reason::Unasked);
}

#[test]
fn words_of_a_stranger_and_of_an_earlier_start() {
    let mut raft = alone(false);
    let from = node(2);
    let earlier = Words { from, incarnation: 4, to: node(1), term: 3, body: Body::Stale };
    let noted = |reason| Effect::Note(GroupNote::Rejected { from, reason });
    assert_eq!(hear(&mut raft, Event::Received(earlier.clone())), [noted(Reason::OldIncarnation)]);
    let elsewhere = Words { to: node(3), incarnation: 5, ..earlier };
    assert_eq!(hear(&mut raft, Event::Received(elsewhere)), [noted(Reason::NotForUs)]);
    // Two lead in one term: the second is not believed.
    rejected(false, node(3), 3, Body::Heartbeat { session: 1, commit: 0, round: 1 }, Reason::SecondLeader);
    rejected(true, node(3), 4, Body::Heartbeat { session: 1, commit: 0, round: 1 }, Reason::SecondLeader);
}

#[test]
fn commands_and_changes_that_are_refused() {
    let mut raft = alone(true);
    hear(&mut raft, Event::Persisted { write: 2 });
    let result = Appended::Matched { index: 3 };
    hear(&mut raft, received(node(2), 4, Body::AppendReply { session: 1, result, counts: true, clock: 0 }));
    assert_eq!(raft.commit(), 3, "its first entry is committed");
    let refused = |raft: &mut Raft, event, refusal| {
        let before = state(raft);
        let out = hear(raft, event);
        assert!(out.contains(&Effect::Answered { ticket: 7, result: Err(refusal) }), "{out:?}");
        assert_eq!(state(raft), before);
    };
    let command = Bytes::from(vec![0; ENTRY_PAYLOAD_BYTES_MAX + 1]);
    refused(&mut raft, Event::Propose { ticket: 7, command }, Refusal::TooLarge);
    let all = [1, 2, 3].map(|number| Change::Remove(node(number))).to_vec();
    for (changes, error) in [
        (all, ChangeError::NoVoter),
        (vec![], ChangeError::Malformed),
        (vec![Change::Remove(node(2)), Change::Demote(node(2))], ChangeError::Malformed),
        (vec![Change::Remove(node(9))], ChangeError::Absent(node(9))),
        (vec![Change::AddLearner(node(2))], ChangeError::Present(node(2))),
    ] {
        refused(&mut raft, Event::Change { ticket: 7, changes }, Refusal::Change(error));
    }
}

/// Members are heard once they have introduced themselves, and what they bring must have been asked for.
#[test]
fn letters_that_are_not_taken() {
    let mut peers = Peers::new(3, 3, Settings::STANDARD);
    peers.run(millis(500));
    let (leader, removed) = (peers.leader().expect("one leads"), node(9));
    let from = peers.nodes().into_iter().find(|id| *id != leader).expect("three members");
    let piece = Piece { index: 5, digest: [0; 32], offset: 0 };
    let introduction = Introduced { random: [0; 16], end: at(1, 1), term: 1, whole: true };
    let introduced = Says::Meet(Meeting::Introduction { start: introduction, nonce: None });
    let challenge = Says::Meet(Meeting::Challenge { start: 7, nonce: [0; 16] });
    let part = |asker, offset| {
        let piece = Piece { index: 5, digest: [0; 32], offset };
        Says::Part { asker, piece, bytes: Bytes::from_static(b"dps") }
    };
    for (from, incarnation, body, reason) in [
        (removed, 1, Says::Ask(piece), MemberReason::UnknownStart),
        (from, 2, Says::Ask(piece), MemberReason::UnknownStart),
        (from, 0, Says::Ask(piece), MemberReason::OlderStart),
        (from, 1, Says::Ask(piece), MemberReason::Unasked),
        (from, 1, part(1, 0), MemberReason::Unasked),
        (from, 1, part(1, 9), MemberReason::Unasked),
        (from, 1, part(2, 0), MemberReason::OtherStart),
        (from, INCARNATION_MAX + 1, introduced, MemberReason::AbsurdStart),
        (from, 1, challenge, MemberReason::OtherStart),
    ] {
        let before = peers.notes.len();
        let root = peers.replica(leader).expect("it runs").ledger().root();
        peers.replay(Message::Member(Letter { from, incarnation, to: leader, body: body.clone() }));
        let note = Note::Member(MemberNote::Rejected { from, reason });
        assert_eq!(peers.notes[before..], [(leader, note)], "{body:?}");
        assert_eq!(peers.replica(leader).expect("it runs").ledger().root(), root);
    }
    let words = Words {
        from: removed,
        incarnation: 1,
        to: leader,
        term: 9,
        body: Body::Vote { last: at(9, 9), transfer: true },
    };
    let before = peers.notes.len();
    peers.replay(Message::Raft(words));
    let note = Note::Member(MemberNote::Rejected { from: removed, reason: MemberReason::UnknownStart });
    assert_eq!(peers.notes[before..], [(leader, note)], "a stranger deposes nobody");
    assert_eq!(peers.leader(), Some(leader));
}
