//! One message of each kind, with numbers that can't be mistaken for each other. Golden bytes are of these.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::hash::HASH_LEN;
use crate::id::{KEY_LEN, NodeId};
use crate::limits::{LEARNERS_MAX, VOTERS_MAX};
use crate::raft::entry::{Entry, Payload, Position};
use crate::raft::membership::Membership;
use crate::raft::message::{Appended, Body, Message};
use crate::raft::snapshot::Snapshot;

pub(in crate::wire) fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; KEY_LEN])
}

pub(in crate::wire) fn nodes(numbers: core::ops::Range<u8>) -> BTreeSet<NodeId> {
    numbers.map(node).collect()
}

pub(in crate::wire) const fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

pub(in crate::wire) fn message(body: Body) -> Message {
    Message { from: node(0xa1), incarnation: 3, to: node(0xb2), term: 300, body }
}

/// A joint membership in which every part has somebody.
pub(in crate::wire) fn membership() -> Membership {
    Membership::from_parts(nodes(1..4), nodes(3..6), nodes(7..8), nodes(5..6)).expect("these parts fit")
}

/// A membership with as many nodes as there may be.
pub(in crate::wire) fn largest_membership() -> Membership {
    let (voters, learners) = (u8::try_from(VOTERS_MAX).unwrap(), u8::try_from(LEARNERS_MAX).unwrap());
    let outgoing = nodes(100..100 + voters);
    Membership::from_parts(nodes(0..voters), outgoing, nodes(200..200 + learners), nodes(0..0))
        .expect("it is the largest")
}

pub(in crate::wire) fn snapshot() -> Snapshot {
    Snapshot { last: at(6, 1_000), membership: Arc::new(membership()), digest: [0xd5; HASH_LEN], bytes: 70_000 }
}

pub(in crate::wire) fn entries() -> Vec<Entry> {
    let payloads = [
        Payload::Empty,
        Payload::Command(Bytes::from_static(b"command")),
        Payload::Command(Bytes::new()),
        Payload::Membership(Arc::new(membership())),
    ];
    payloads.into_iter().zip(12..).map(|(payload, index)| Entry { position: at(9, index), payload }).collect()
}

pub(in crate::wire) fn survey_reply(doubtful: bool) -> Body {
    let (last, membership) = (at(8, 18), Arc::new(membership()));
    Body::SurveyReply { asker: 4, round: 2, last, doubtful, since: 7, membership }
}

/// One of each kind; of entries, of their answers and of those to a survey one of each form.
pub(in crate::wire) fn bodies() -> Vec<Body> {
    vec![
        Body::PreVote { last: at(8, 11) },
        Body::PreVoteReply { granted: true },
        Body::Vote { last: at(8, 11), transfer: true },
        Body::VoteReply { granted: false, clock: 0 },
        Body::Append { session: 21, prev: at(8, 11), entries: entries().into(), commit: 10 },
        Body::Append { session: 21, prev: Position::ZERO, entries: Arc::from([]), commit: 0 },
        Body::AppendReply { session: 21, result: Appended::Matched { index: 15 }, counts: true, clock: 0 },
        Body::AppendReply {
            session: 21,
            result: Appended::Conflict { prev: 15, hint: at(4, 5) },
            counts: true,
            clock: 0,
        },
        Body::Install { session: 22, snapshot: snapshot().into() },
        Body::Heartbeat { session: 23, commit: 16, round: 31 },
        Body::HeartbeatReply { session: 23, round: 31, counts: true, clock: 0 },
        Body::Read { ticket: 41 },
        Body::ReadReply { asker: 2, ticket: 41, index: Some(0) },
        Body::TimeoutNow { last: at(8, 17) },
        Body::Stale,
        Body::AppendReply { session: 21, result: Appended::Matched { index: 15 }, counts: false, clock: 0 },
        Body::HeartbeatReply { session: 23, round: 31, counts: false, clock: 0 },
        Body::Survey { round: 2 },
        survey_reply(false),
        survey_reply(true),
        Body::VoteReply { granted: true, clock: 500 },
        Body::AppendReply { session: 21, result: Appended::Matched { index: 15 }, counts: true, clock: 500 },
        Body::HeartbeatReply { session: 23, round: 31, counts: true, clock: 500 },
    ]
}
