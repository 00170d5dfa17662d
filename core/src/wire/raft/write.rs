//! Messages of Raft in the types of the schema.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::NodeId;
use crate::raft::entry::{Entry, Payload, Position};
use crate::raft::membership::Membership;
use crate::raft::message::{Appended, Body, Message};
use crate::raft::snapshot::Snapshot;
use crate::wire::pb;

/// A message.
pub(in crate::wire) fn message(message: &Message) -> pb::Raft {
    let Message { from, incarnation, to, term, body: says } = message;
    pb::Raft { from: node(from), incarnation: *incarnation, to: node(to), term: *term, body: Some(body(says)) }
}

fn body(body: &Body) -> pb::raft::Body {
    use pb::raft::Body as To;
    match body {
        Body::PreVote { last } => To::PreVote(pb::PreVote { last: position(*last) }),
        Body::PreVoteReply { granted } => To::PreVoteReply(pb::PreVoteReply { verdict: verdict(*granted) }),
        Body::Vote { last, transfer } => To::Vote(pb::Vote { last: position(*last), cause: cause(*transfer) }),
        Body::VoteReply { granted, clock } => {
            To::VoteReply(pb::VoteReply { verdict: verdict(*granted), clock: *clock })
        }
        Body::Append { session, prev, entries, commit } => To::Append(pb::Append {
            session: *session,
            prev: position(*prev),
            entries: entries.iter().map(entry).collect(),
            commit: *commit,
        }),
        Body::AppendReply { session, result, counts, clock } => To::AppendReply(pb::AppendReply {
            session: *session,
            result: Some(appended(result)),
            weight: weight(*counts),
            clock: *clock,
        }),
        Body::Install { session, snapshot: of } => {
            To::Install(pb::Install { session: *session, snapshot: Some(snapshot(of)) })
        }
        Body::Heartbeat { session, commit, round } => {
            To::Heartbeat(pb::Heartbeat { session: *session, commit: *commit, round: *round })
        }
        Body::HeartbeatReply { session, round, counts, clock } => To::HeartbeatReply(pb::HeartbeatReply {
            session: *session,
            round: *round,
            weight: weight(*counts),
            clock: *clock,
        }),
        Body::Read { ticket } => To::Read(pb::Read { ticket: *ticket }),
        Body::ReadReply { asker, ticket, index } => {
            To::ReadReply(pb::ReadReply { asker: *asker, ticket: *ticket, index: *index })
        }
        Body::TimeoutNow { last } => To::TimeoutNow(pb::TimeoutNow { last: position(*last) }),
        Body::Stale => To::Stale(pb::Stale {}),
        Body::Survey { round } => To::Survey(pb::Survey { round: *round }),
        Body::SurveyReply { asker, round, last, doubtful, since, membership: of } => To::SurveyReply(pb::SurveyReply {
            asker: *asker,
            round: *round,
            last: position(*last),
            standing: standing(*doubtful),
            since: *since,
            membership: Some(membership(of)),
        }),
    }
}

fn node(node: &NodeId) -> Bytes {
    Bytes::copy_from_slice(node.as_bytes())
}

fn nodes(nodes: &BTreeSet<NodeId>) -> Vec<Bytes> {
    nodes.iter().map(node).collect()
}

/// As a field that is always there.
#[expect(clippy::unnecessary_wraps, reason = "messages in messages may be missing in protobuf")]
const fn position(position: Position) -> Option<pb::Position> {
    let Position { term, index } = position;
    Some(pb::Position { term, index })
}

fn verdict(granted: bool) -> i32 {
    let verdict = if granted { pb::Verdict::Granted } else { pb::Verdict::Refused };
    verdict.into()
}

fn weight(counts: bool) -> i32 {
    let weight = if counts { pb::Weight::Unspecified } else { pb::Weight::None };
    weight.into()
}

pub(in crate::wire) fn standing(doubtful: bool) -> i32 {
    let standing = if doubtful { pb::Standing::Doubtful } else { pb::Standing::Settled };
    standing.into()
}

fn cause(transfer: bool) -> i32 {
    let cause = if transfer { pb::Cause::Transfer } else { pb::Cause::Timeout };
    cause.into()
}

fn entry(entry: &Entry) -> pb::Entry {
    use pb::entry::Payload as To;
    let payload = match &entry.payload {
        Payload::Empty => To::Empty(pb::Empty {}),
        Payload::Command(command) => To::Command(command.clone()),
        Payload::Membership(of) => To::Membership(membership(of)),
    };
    pb::Entry { position: position(entry.position), payload: Some(payload) }
}

fn membership(membership: &Membership) -> pb::Membership {
    pb::Membership {
        voters: nodes(membership.voters()),
        outgoing: nodes(membership.outgoing()),
        learners: nodes(membership.learners()),
        demoted: nodes(membership.demoted()),
    }
}

const fn appended(result: &Appended) -> pb::append_reply::Result {
    use pb::append_reply::Result as To;
    match *result {
        Appended::Matched { index } => To::Matched(pb::Matched { index }),
        Appended::Conflict { prev, hint } => To::Conflict(pb::Conflict { prev, hint: position(hint) }),
    }
}

pub(in crate::wire) fn snapshot(snapshot: &Snapshot) -> pb::Snapshot {
    pb::Snapshot {
        last: position(snapshot.last),
        membership: Some(membership(&snapshot.membership)),
        digest: Bytes::copy_from_slice(&snapshot.digest),
        bytes: snapshot.bytes,
    }
}
