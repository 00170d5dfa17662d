//! Every bound, from both sides: what is just inside is taken, what is just outside is refused by its name.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message as _;

use super::sample;
use crate::limits::{
    APPEND_BYTES_MAX, APPEND_ENTRIES_MAX, ENTRY_PAYLOAD_BYTES_MAX, LEARNERS_MAX, SNAPSHOT_BYTES_MAX, VOTERS_MAX,
};
use crate::raft::TERM_MAX;
use crate::raft::membership::ChangeError;
use crate::raft::message::Body;
use crate::raft::snapshot::INDEX_MAX;
use crate::wire::control;
use crate::wire::error::WireError;
use crate::wire::pb;
use crate::wire::raft::{NODES_MAX, decode, encode, written};

/// What comes of a message of the schema. What is taken comes back.
fn judge(message: &pb::Raft) -> Result<(), WireError> {
    let judged = decode(&message.encode_to_vec());
    let envelope = pb::Control { kind: Some(pb::control::Kind::Raft(message.clone())) };
    let enveloped = control::decode(&envelope.encode_to_vec());
    assert_eq!(enveloped, judged.clone().map(crate::replica::Message::Raft), "an envelope changes nothing");
    let message = judged?;
    assert_eq!(decode(&encode(&message)), Ok(message));
    Ok(())
}

fn with_body(body: pb::raft::Body) -> pb::Raft {
    pb::Raft { body: Some(body), ..written(&sample::message(Body::Stale)) }
}

fn judge_body(body: pb::raft::Body) -> Result<(), WireError> {
    judge(&with_body(body))
}

fn append() -> pb::Append {
    let Some(pb::raft::Body::Append(append)) = written(&sample::message(sample::bodies()[4].clone())).body else {
        panic!("the sample has entries")
    };
    append
}

fn judge_append(change: impl FnOnce(&mut pb::Append)) -> Result<(), WireError> {
    let mut append = append();
    change(&mut append);
    judge_body(pb::raft::Body::Append(append))
}

fn judge_payload(payload: Option<pb::entry::Payload>) -> Result<(), WireError> {
    judge_append(|append| append.entries[0].payload = payload)
}

fn install() -> pb::Install {
    let message = written(&sample::message(Body::Install { session: 1, snapshot: sample::snapshot().into() }));
    let Some(pb::raft::Body::Install(install)) = message.body else { panic!("it is a snapshot") };
    install
}

fn judge_snapshot(change: impl FnOnce(&mut pb::Snapshot)) -> Result<(), WireError> {
    let mut install = install();
    change(install.snapshot.as_mut().expect("it has one"));
    judge_body(pb::raft::Body::Install(install))
}

fn judge_survey(change: impl FnOnce(&mut pb::SurveyReply)) -> Result<(), WireError> {
    let message = sample::message(sample::survey_reply(false));
    let Some(pb::raft::Body::SurveyReply(mut reply)) = written(&message).body else { panic!("it is an answer") };
    change(&mut reply);
    judge_body(pb::raft::Body::SurveyReply(reply))
}

/// A membership in all places where there is one; they are judged alike.
fn judge_membership(change: impl Fn(&mut pb::Membership)) -> Result<(), WireError> {
    let mut changed = install().snapshot.and_then(|snapshot| snapshot.membership).expect("it has one");
    change(&mut changed);
    let in_snapshot = judge_snapshot(|snapshot| snapshot.membership = Some(changed.clone()));
    let in_answer = judge_survey(|reply| reply.membership = Some(changed.clone()));
    let in_entry = judge_payload(Some(pb::entry::Payload::Membership(changed)));
    let place = |error| match error {
        WireError::Membership { field, error } => {
            assert!(["append.entries.membership", "survey_reply.membership"].contains(&field));
            WireError::Membership { field: "install.snapshot.membership", error }
        }
        other => other,
    };
    assert_eq!((in_entry.map_err(place), in_answer.map_err(place)), (in_snapshot, in_snapshot));
    in_snapshot
}

fn id(len: usize) -> Bytes {
    Bytes::from(vec![3; len])
}

/// Nodes from `first` on, in their order.
fn ids(first: usize, count: usize) -> Vec<Bytes> {
    let byte = |number: usize| u8::try_from(number).expect("few nodes");
    (first..first + count).map(|number| Bytes::copy_from_slice(sample::node(byte(number)).as_bytes())).collect()
}

#[test]
fn identifiers_and_digests_have_exactly_their_length() {
    let message = || written(&sample::message(Body::Stale));
    assert_eq!(judge(&pb::Raft { from: id(20), to: id(20), ..message() }), Ok(()));
    for found in [0, 19, 21] {
        let length = |field| Err(WireError::Length { field, found, expected: 20 });
        assert_eq!(judge(&pb::Raft { from: id(found), ..message() }), length("from"));
        assert_eq!(judge(&pb::Raft { to: id(found), ..message() }), length("to"));
        assert_eq!(judge_membership(|group| group.voters[0] = id(found)), length("membership.voters"));
        assert_eq!(judge_membership(|group| group.outgoing[0] = id(found)), length("membership.outgoing"));
        assert_eq!(judge_membership(|group| group.learners[0] = id(found)), length("membership.learners"));
        assert_eq!(judge_membership(|group| group.demoted[0] = id(found)), length("membership.demoted"));
    }
    assert_eq!(judge_snapshot(|snapshot| snapshot.digest = id(32)), Ok(()));
    for found in [0, 31, 33] {
        let expected = Err(WireError::Length { field: "install.snapshot.digest", found, expected: 32 });
        assert_eq!(judge_snapshot(|snapshot| snapshot.digest = id(found)), expected);
    }
}

/// Judges a number at its maximum and above it.
#[track_caller]
fn bounded(field: &'static str, max: u64, judge: impl Fn(u64) -> Result<(), WireError>) {
    assert_eq!(judge(max), Ok(()), "{field}");
    for found in [max + 1, u64::MAX] {
        assert_eq!(judge(found), Err(WireError::TooLarge { field, found, max }));
    }
}

#[test]
fn numbers_end_at_their_maxima() {
    use pb::raft::Body as To;
    bounded("term", TERM_MAX, |term| judge(&pb::Raft { term, ..written(&sample::message(Body::Stale)) }));
    bounded("append.commit", INDEX_MAX, |commit| judge_append(|append| append.commit = commit));
    bounded("heartbeat.commit", INDEX_MAX, |commit| {
        judge_body(To::Heartbeat(pb::Heartbeat { session: u64::MAX, commit, round: u64::MAX }))
    });
    bounded("read_reply.index", INDEX_MAX, |index| {
        judge_body(To::ReadReply(pb::ReadReply { asker: u64::MAX, ticket: u64::MAX, index: Some(index) }))
    });
    let reply = |result| {
        judge_body(To::AppendReply(pb::AppendReply { session: u64::MAX, result: Some(result), weight: 0, clock: 0 }))
    };
    bounded("append_reply.matched.index", INDEX_MAX, |index| {
        reply(pb::append_reply::Result::Matched(pb::Matched { index }))
    });
    bounded("append_reply.conflict.prev", INDEX_MAX, |prev| {
        let hint = Some(pb::Position::default());
        reply(pb::append_reply::Result::Conflict(pb::Conflict { prev, hint }))
    });
    bounded("survey_reply.since", INDEX_MAX, |since| judge_survey(|reply| reply.since = since));
    bounded("install.snapshot.bytes", SNAPSHOT_BYTES_MAX, |bytes| judge_snapshot(|snapshot| snapshot.bytes = bytes));
}

/// Judges a position at its maxima, above them, by halves, and none.
#[track_caller]
fn bounded_position(field: &'static str, judge: impl Fn(Option<pb::Position>) -> Result<(), WireError>) {
    let at = |term, index| judge(Some(pb::Position { term, index }));
    for (term, index) in [(0, 0), (1, 1), (TERM_MAX, INDEX_MAX)] {
        assert_eq!(at(term, index), Ok(()), "{field} {term}.{index}");
    }
    assert_eq!(at(TERM_MAX + 1, 1), Err(WireError::TooLarge { field, found: TERM_MAX + 1, max: TERM_MAX }));
    assert_eq!(at(1, INDEX_MAX + 1), Err(WireError::TooLarge { field, found: INDEX_MAX + 1, max: INDEX_MAX }));
    assert_eq!((at(0, 1), at(1, 0)), (Err(WireError::HalfPosition(field)), Err(WireError::HalfPosition(field))));
    assert_eq!(judge(None), Err(WireError::Missing(field)));
}

#[test]
fn positions_are_whole_and_within_bounds_wherever_they_are() {
    use pb::raft::Body as To;
    bounded_position("pre_vote.last", |last| judge_body(To::PreVote(pb::PreVote { last })));
    bounded_position("vote.last", |last| judge_body(To::Vote(pb::Vote { last, cause: 1 })));
    bounded_position("append.prev", |prev| judge_append(|append| append.prev = prev));
    bounded_position("append.entries.position", |position| {
        judge_append(|append| append.entries[1].position = position)
    });
    bounded_position("append_reply.conflict.hint", |hint| {
        let result = Some(pb::append_reply::Result::Conflict(pb::Conflict { prev: 1, hint }));
        judge_body(To::AppendReply(pb::AppendReply { session: 1, result, weight: 0, clock: 0 }))
    });
    bounded_position("install.snapshot.last", |last| judge_snapshot(|snapshot| snapshot.last = last));
    bounded_position("survey_reply.last", |last| judge_survey(|reply| reply.last = last));
    bounded_position("timeout_now.last", |last| judge_body(To::TimeoutNow(pb::TimeoutNow { last })));
}

#[test]
fn a_choice_is_one_of_those_that_mean_something() {
    use pb::raft::Body as To;
    let last = Some(pb::Position::default());
    for found in [-1, 0, 1, 2, 3, i32::MAX] {
        let known = (1..=2).contains(&found);
        let expected = |field| if known { Ok(()) } else { Err(WireError::Unknown { field, found }) };
        let pre_vote = To::PreVoteReply(pb::PreVoteReply { verdict: found });
        assert_eq!(judge_body(pre_vote), expected("pre_vote_reply.verdict"));
        let vote = To::VoteReply(pb::VoteReply { verdict: found, clock: 0 });
        assert_eq!(judge_body(vote), expected("vote_reply.verdict"));
        assert_eq!(judge_body(To::Vote(pb::Vote { last, cause: found })), expected("vote.cause"));
        assert_eq!(judge_survey(|reply| reply.standing = found), expected("survey_reply.standing"));
        // What was added later may be missing.
        let known = (0..=1).contains(&found);
        let expected = |field| if known { Ok(()) } else { Err(WireError::Unknown { field, found }) };
        let heard = To::HeartbeatReply(pb::HeartbeatReply { session: 1, round: 1, weight: found, clock: 0 });
        assert_eq!(judge_body(heard), expected("heartbeat_reply.weight"));
        let result = Some(pb::append_reply::Result::Matched(pb::Matched { index: 1 }));
        let appended = To::AppendReply(pb::AppendReply { session: 1, result, weight: found, clock: 0 });
        assert_eq!(judge_body(appended), expected("append_reply.weight"));
    }
}

#[test]
fn what_must_be_there_is_missed() {
    use pb::raft::Body as To;
    let missing = |field| Err(WireError::Missing(field));
    assert_eq!(judge(&pb::Raft { body: None, ..with_body(To::Stale(pb::Stale {})) }), missing("body"));
    assert_eq!(
        judge_body(To::AppendReply(pb::AppendReply { session: 1, result: None, weight: 0, clock: 0 })),
        missing("append_reply.result")
    );
    assert_eq!(judge_body(To::Install(pb::Install { session: 1, snapshot: None })), missing("install.snapshot"));
    assert_eq!(judge_snapshot(|snapshot| snapshot.membership = None), missing("install.snapshot.membership"));
    assert_eq!(judge_payload(None), missing("append.entries.payload"));
    assert_eq!(judge_survey(|reply| reply.membership = None), missing("survey_reply.membership"));
    // A body of a later version: field 20.
    let later = pb::Raft { body: None, ..with_body(To::Stale(pb::Stale {})) }.encode_to_vec();
    assert_eq!(decode(&[&later[..], &[0xa2, 0x01, 0]].concat()).map(drop), missing("body"));
}

#[test]
fn commands_are_bounded() {
    let judge = |len: usize| judge_payload(Some(pb::entry::Payload::Command(Bytes::from(vec![5; len]))));
    let (found, max) = (ENTRY_PAYLOAD_BYTES_MAX as u64 + 1, ENTRY_PAYLOAD_BYTES_MAX as u64);
    assert_eq!((judge(0), judge(ENTRY_PAYLOAD_BYTES_MAX)), (Ok(()), Ok(())));
    let expected = WireError::TooLarge { field: "append.entries.command", found, max };
    assert_eq!(judge(ENTRY_PAYLOAD_BYTES_MAX + 1), Err(expected));
}

#[test]
fn entries_of_one_message_are_bounded_in_number() {
    let entry = append().entries[0].clone();
    let judge = |count| judge_append(|append| append.entries = vec![entry.clone(); count]);
    assert_eq!(judge(APPEND_ENTRIES_MAX), Ok(()));
    let expected = WireError::TooMany { field: "append.entries", max: APPEND_ENTRIES_MAX };
    assert_eq!(judge(APPEND_ENTRIES_MAX + 1), Err(expected));
    // Two halves of a body are put together, and so they count together.
    let half = |count| {
        let append = pb::Append { entries: vec![entry.clone(); count], ..append() };
        with_body(pb::raft::Body::Append(append)).encode_to_vec()
    };
    assert!(decode(&[half(500), half(APPEND_ENTRIES_MAX - 500)].concat()).is_ok());
    assert_eq!(decode(&[half(500), half(APPEND_ENTRIES_MAX - 499)].concat()), Err(expected));
}

#[test]
fn entries_of_one_message_are_bounded_in_bytes() {
    let position = append().entries[0].position;
    let entry = |len: usize| {
        let payload = Some(pb::entry::Payload::Command(Bytes::from(vec![5; len])));
        pb::Entry { position, payload }
    };
    // 24 bytes are counted for each beside its payload.
    let rest = usize::try_from(APPEND_BYTES_MAX).unwrap() - 3 * (ENTRY_PAYLOAD_BYTES_MAX + 24) - 24;
    let judge = |last| {
        let mut entries = vec![entry(ENTRY_PAYLOAD_BYTES_MAX); 3];
        entries.push(entry(last));
        judge_append(|append| append.entries = entries)
    };
    assert_eq!(judge(rest), Ok(()));
    let (found, max) = (APPEND_BYTES_MAX + 1, APPEND_BYTES_MAX);
    assert_eq!(judge(rest + 1), Err(WireError::TooLarge { field: "append.entries", found, max }));
}

#[test]
fn parts_of_a_membership_are_bounded() {
    let judge = |part: fn(&mut pb::Membership, Vec<Bytes>), first, count| {
        judge_membership(|group| {
            *group = pb::Membership { voters: ids(0, 1), ..pb::Membership::default() };
            part(group, ids(first, count));
        })
    };
    for (field, max, part) in [
        ("membership.voters", VOTERS_MAX, (|group, ids| group.voters = ids) as fn(&mut pb::Membership, _)),
        ("membership.outgoing", VOTERS_MAX, |group, ids| group.outgoing = ids),
        ("membership.learners", LEARNERS_MAX, |group, ids| group.learners = ids),
    ] {
        assert_eq!(judge(part, 50, max), Ok(()), "{field}");
        assert_eq!(judge(part, 50, max + 1), Err(WireError::TooMany { field, max }));
    }
    // No group demotes so many, since there are not as many outgoing voters.
    let demoted = judge(|group, ids| group.demoted = ids, 50, LEARNERS_MAX + 1);
    assert_eq!(demoted, Err(WireError::TooMany { field: "membership.demoted", max: LEARNERS_MAX }));
}

#[test]
fn parts_of_a_membership_ascend() {
    let (twice, swapped) = ([ids(6, 1), ids(6, 1)].concat(), [ids(7, 1), ids(6, 1)].concat());
    for pair in [twice, swapped] {
        let order = |field| Err(WireError::Order(field));
        assert_eq!(judge_membership(|group| group.voters = pair.clone()), order("membership.voters"));
        assert_eq!(judge_membership(|group| group.outgoing = pair.clone()), order("membership.outgoing"));
        assert_eq!(judge_membership(|group| group.learners = pair.clone()), order("membership.learners"));
        assert_eq!(judge_membership(|group| group.demoted = pair.clone()), order("membership.demoted"));
    }
}

#[test]
fn a_membership_is_one_that_a_group_may_have() {
    let wrong = |error| Err(WireError::Membership { field: "install.snapshot.membership", error });
    assert_eq!(judge_membership(|_| {}), Ok(()));
    assert_eq!(judge_membership(|group| group.voters.clear()), wrong(ChangeError::NoVoter));
    let contradiction = |number| wrong(ChangeError::Contradiction(sample::node(number)));
    assert_eq!(judge_membership(|group| group.learners = ids(2, 1)), contradiction(2));
    assert_eq!(judge_membership(|group| group.learners = ids(4, 1)), contradiction(4));
    assert_eq!(judge_membership(|group| group.demoted = ids(3, 1)), contradiction(3));
    assert_eq!(judge_membership(|group| group.demoted = ids(9, 1)), contradiction(9));
    let learning = |learners| {
        judge_membership(|group| {
            (group.outgoing, group.demoted, group.learners) = (ids(20, 2), ids(20, 2), ids(50, learners));
        })
    };
    assert_eq!(learning(LEARNERS_MAX - 2), Ok(()));
    assert_eq!(learning(LEARNERS_MAX - 1), wrong(ChangeError::TooMany));
}

/// Two bytes on the wire are an item in memory: they are counted before there is any.
#[test]
fn a_bomb_of_empty_items_is_refused_before_it_is_decoded() {
    let bomb = |more| pb::Membership {
        voters: vec![Bytes::new(); NODES_MAX / 2],
        outgoing: vec![Bytes::new(); more],
        learners: Vec::new(),
        demoted: vec![Bytes::new(); NODES_MAX - NODES_MAX / 2],
    };
    let decoded = WireError::TooMany { field: "membership.voters", max: VOTERS_MAX };
    assert_eq!(judge_snapshot(|snapshot| snapshot.membership = Some(bomb(0))), Err(decoded));
    let counted = WireError::TooMany { field: "nodes", max: NODES_MAX };
    assert_eq!(judge_snapshot(|snapshot| snapshot.membership = Some(bomb(1))), Err(counted));
    assert_eq!(judge_survey(|reply| reply.membership = Some(bomb(0))), Err(decoded));
    assert_eq!(judge_survey(|reply| reply.membership = Some(bomb(1))), Err(counted));
    let in_entry = |more| {
        judge_append(|append| {
            append.entries.truncate(1);
            append.entries[0].payload = Some(pb::entry::Payload::Membership(bomb(more)));
        })
    };
    assert_eq!((in_entry(0), in_entry(1)), (Err(decoded), Err(counted)));
}
