//! Messages of Raft there and back, their golden bytes, and every bound from both sides.

mod bounds;
pub(in crate::wire) mod sample;

use alloc::sync::Arc;
use alloc::vec;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::crypto::hash::HASH_LEN;
use crate::id::{KEY_LEN, NodeId};
use crate::limits::{ENTRY_PAYLOAD_BYTES_MAX, SNAPSHOT_BYTES_MAX};
use crate::raft::TERM_MAX;
use crate::raft::entry::{Entry, Payload, Position};
use crate::raft::membership::Membership;
use crate::raft::message::{Appended, Body};
use crate::raft::snapshot::{INDEX_MAX, Snapshot};

/// A number that is often at an end of its range.
fn up_to(max: u64) -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(max), 0..300.min(max), 0..=max]
}

pub(in crate::wire) fn any_position() -> impl Strategy<Value = Position> {
    let some = (up_to(TERM_MAX - 1), up_to(INDEX_MAX - 1));
    prop_oneof![
        1 => Just(Position::ZERO),
        4 => some.prop_map(|(term, index)| Position { term: term + 1, index: index + 1 }),
    ]
}

fn any_node() -> impl Strategy<Value = NodeId> {
    any::<[u8; KEY_LEN]>().prop_map(NodeId::from_bytes)
}

/// Any membership: nodes are dealt to parts that may be together.
fn any_membership() -> impl Strategy<Value = Membership> {
    let hands = prop::collection::btree_map(any_node(), 0..5_u8, 0..14);
    (any_node(), hands).prop_filter_map("a part is too large", |(voter, hands)| {
        let part = |wanted: &[u8]| {
            let dealt = hands.iter().filter(|(node, part)| **node != voter && wanted.contains(part));
            dealt.map(|(node, _)| *node).collect::<alloc::collections::BTreeSet<NodeId>>()
        };
        let mut voters = part(&[0, 1]);
        voters.insert(voter);
        Membership::from_parts(voters, part(&[1, 2, 3]), part(&[4]), part(&[3])).ok()
    })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let command = prop::collection::vec(any::<u8>(), 0..80).prop_map(|bytes| Payload::Command(bytes.into()));
    let membership = any_membership().prop_map(|membership| Payload::Membership(Arc::new(membership)));
    let payload = prop_oneof![1 => Just(Payload::Empty), 4 => command, 1 => membership];
    (any_position(), payload).prop_map(|(position, payload)| Entry { position, payload })
}

pub(in crate::wire) fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let parts = (any_position(), any_membership(), any::<[u8; HASH_LEN]>(), up_to(SNAPSHOT_BYTES_MAX));
    parts.prop_map(|(last, membership, digest, bytes)| Snapshot {
        last,
        membership: Arc::new(membership),
        digest,
        bytes,
    })
}

fn any_appended() -> impl Strategy<Value = Appended> {
    let conflict = (up_to(INDEX_MAX), any_position()).prop_map(|(prev, hint)| Appended::Conflict { prev, hint });
    prop_oneof![up_to(INDEX_MAX).prop_map(|index| Appended::Matched { index }), conflict]
}

/// Any body of any kind. The kinds are those of [`sample::bodies`].
fn any_body() -> impl Strategy<Value = Body> {
    let number = || up_to(u64::MAX);
    let append = (number(), any_position(), prop::collection::vec(any_entry(), 0..6), up_to(INDEX_MAX));
    prop_oneof![
        any_position().prop_map(|last| Body::PreVote { last }),
        any::<bool>().prop_map(|granted| Body::PreVoteReply { granted }),
        (any_position(), any::<bool>()).prop_map(|(last, transfer)| Body::Vote { last, transfer }),
        (any::<bool>(), number()).prop_map(|(granted, clock)| Body::VoteReply { granted, clock }),
        append.prop_map(|(session, prev, entries, commit)| Body::Append {
            session,
            prev,
            entries: entries.into(),
            commit
        }),
        (number(), any_appended(), any::<bool>(), number())
            .prop_map(|(session, result, counts, clock)| { Body::AppendReply { session, result, counts, clock } }),
        (number(), any_snapshot()).prop_map(|(session, of)| Body::Install { session, snapshot: of.into() }),
        (number(), up_to(INDEX_MAX), number()).prop_map(|(session, commit, round)| Body::Heartbeat {
            session,
            commit,
            round
        }),
        (number(), number(), any::<bool>(), number())
            .prop_map(|(session, round, counts, clock)| { Body::HeartbeatReply { session, round, counts, clock } }),
        number().prop_map(|ticket| Body::Read { ticket }),
        (number(), number(), prop::option::of(up_to(INDEX_MAX))).prop_map(|(asker, ticket, index)| Body::ReadReply {
            asker,
            ticket,
            index
        }),
        any_position().prop_map(|last| Body::TimeoutNow { last }),
        Just(Body::Stale),
        number().prop_map(|round| Body::Survey { round }),
        any_survey_reply(),
    ]
}

fn any_survey_reply() -> impl Strategy<Value = Body> {
    let place = (any_position(), up_to(INDEX_MAX), any_membership().prop_map(Arc::new));
    (up_to(u64::MAX), up_to(u64::MAX), place, any::<bool>()).prop_map(|(asker, round, place, doubtful)| {
        let (last, since, membership) = place;
        Body::SurveyReply { asker, round, last, doubtful, since, membership }
    })
}

/// Any message within the bounds.
pub(in crate::wire) fn any_message() -> impl Strategy<Value = Message> {
    (any_node(), up_to(u64::MAX), any_node(), up_to(TERM_MAX), any_body())
        .prop_map(|(from, incarnation, to, term, body)| Message { from, incarnation, to, term, body })
}

/// Messages with as much as there may be, and numbers that take most bytes.
pub(in crate::wire) fn largest() -> [Message; 3] {
    let far = Position { term: TERM_MAX, index: INDEX_MAX };
    let append = |entries| Body::Append { session: u64::MAX, prev: far, entries, commit: INDEX_MAX };
    let entry = |payload| Entry { position: far, payload };
    let commands = |count, len: usize| vec![entry(Payload::Command(Bytes::from(vec![0xff; len]))); count];

    // As many entries as there may be, with all bytes that there may be.
    let each = usize::try_from(APPEND_BYTES_MAX).unwrap() / APPEND_ENTRIES_MAX - 24;
    let many = commands(APPEND_ENTRIES_MAX, each);
    let mut long = commands(3, ENTRY_PAYLOAD_BYTES_MAX);
    long.extend(commands(1, ENTRY_PAYLOAD_BYTES_MAX - 4 * 24));
    let membership = Payload::Membership(Arc::new(sample::largest_membership()));
    let count = usize::try_from(APPEND_BYTES_MAX / entry(membership.clone()).bytes()).unwrap();
    let groups = vec![entry(membership); count];
    [many, long, groups].map(|entries| Message {
        from: NodeId::from_bytes([0xff; KEY_LEN]),
        incarnation: u64::MAX,
        to: NodeId::from_bytes([0xfe; KEY_LEN]),
        term: TERM_MAX,
        body: append(entries.into()),
    })
}

proptest! {
    #[test]
    fn every_message_comes_back(message in any_message()) {
        prop_assert_eq!(decode(&encode(&message)), Ok(message));
    }

    /// Nobody is promised one way to write a message down; of what this code writes, there is one.
    #[test]
    fn what_was_written_is_written_the_same_again(message in any_message()) {
        let bytes = encode(&message);
        prop_assert_eq!(encode(&decode(&bytes).expect("it was written just now")), bytes);
    }
}

/// Every kind comes up, so that the properties above speak of all of them.
#[test]
fn any_body_is_of_every_kind() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = vec![];
    for _ in 0..1_000 {
        let kind = core::mem::discriminant(&any_body().new_tree(&mut runner).unwrap().current());
        if !seen.contains(&kind) {
            seen.push(kind);
        }
    }
    let kinds: Vec<_> = sample::bodies().iter().map(core::mem::discriminant).collect();
    assert_eq!(
        kinds.len(),
        23,
        "four of them are answers to entries, two entries, three answers to heartbeats, two to votes and to surveys"
    );
    assert!(kinds.iter().all(|kind| seen.contains(kind)));
    assert_eq!(seen.len(), 15);
}

#[test]
fn each_kind_has_its_golden_bytes() {
    let golden = include_str!("tests/golden.txt");
    let golden: Vec<&str> = golden.lines().filter(|line| !line.starts_with('#')).collect();
    let bodies = sample::bodies();
    assert_eq!(golden.len(), bodies.len());
    for (body, line) in bodies.into_iter().zip(golden) {
        let (name, hex) = line.split_once(' ').expect("a name, and bytes");
        let message = sample::message(body);
        assert_eq!(HEXLOWER.encode(&encode(&message)), hex, "{name}: {message:?}");
        assert_eq!(decode(&HEXLOWER.decode(hex.as_bytes()).unwrap()), Ok(message), "{name}");
    }
}

#[test]
fn what_later_versions_add_is_skipped() {
    let message = sample::message(Body::Read { ticket: 5 });
    // Field 100 as a number, field 101 with a length, in the message and in its body.
    let extra = [0xa0, 0x06, 1, 0xaa, 0x06, 2, 7, 7];
    let bytes = encode(&message);
    assert_eq!(decode(&[&bytes[..], &extra].concat()), Ok(message.clone()));
    let inner = [&[0x08, 5][..], &extra].concat();
    let body = [&[0x72, u8::try_from(inner.len()).unwrap()][..], &inner].concat();
    let head = bytes.strip_suffix(&[0x72, 2, 0x08, 5]).expect("the body is last");
    assert_eq!(decode(&[head, &body].concat()), Ok(message));
}
