//! Messages of Raft out of the types of the schema, if every part is within bounds.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::NodeId;
use crate::limits::{APPEND_BYTES_MAX, ENTRY_PAYLOAD_BYTES_MAX, LEARNERS_MAX, SNAPSHOT_BYTES_MAX, VOTERS_MAX};
use crate::raft::TERM_MAX;
use crate::raft::entry::{Entry, Payload, Position};
use crate::raft::membership::Membership;
use crate::raft::message::{Appended, Body, Message};
use crate::raft::snapshot::{INDEX_MAX, Snapshot};
use crate::wire::error::WireError;
use crate::wire::pb;

/// A message.
pub(in crate::wire) fn message(raft: pb::Raft) -> Result<Message, WireError> {
    let pb::Raft { from, incarnation, to, term, body: says } = raft;
    Ok(Message {
        from: node("from", &from)?,
        incarnation,
        to: node("to", &to)?,
        term: at_most("term", term, TERM_MAX)?,
        body: body(says.ok_or(WireError::Missing("body"))?)?,
    })
}

fn body(body: pb::raft::Body) -> Result<Body, WireError> {
    use pb::raft::Body as From;
    Ok(match body {
        From::PreVote(pb::PreVote { last }) => Body::PreVote { last: position("pre_vote.last", last)? },
        From::PreVoteReply(pb::PreVoteReply { verdict }) => {
            Body::PreVoteReply { granted: granted("pre_vote_reply.verdict", verdict)? }
        }
        From::Vote(pb::Vote { last, cause }) => {
            Body::Vote { last: position("vote.last", last)?, transfer: transfer("vote.cause", cause)? }
        }
        From::VoteReply(pb::VoteReply { verdict, clock }) => {
            Body::VoteReply { granted: granted("vote_reply.verdict", verdict)?, clock }
        }
        From::Append(append) => self::append(append)?,
        From::AppendReply(pb::AppendReply { session, result, weight, clock }) => {
            let result = appended(result.ok_or(WireError::Missing("append_reply.result"))?)?;
            Body::AppendReply { session, result, counts: counts("append_reply.weight", weight)?, clock }
        }
        From::Install(pb::Install { session, snapshot: of }) => {
            let snapshot = snapshot(of.ok_or(WireError::Missing("install.snapshot"))?)?;
            Body::Install { session, snapshot: snapshot.into() }
        }
        From::Heartbeat(pb::Heartbeat { session, commit, round }) => {
            Body::Heartbeat { session, commit: at_most("heartbeat.commit", commit, INDEX_MAX)?, round }
        }
        From::HeartbeatReply(pb::HeartbeatReply { session, round, weight, clock }) => {
            Body::HeartbeatReply { session, round, counts: counts("heartbeat_reply.weight", weight)?, clock }
        }
        From::Read(pb::Read { ticket }) => Body::Read { ticket },
        From::ReadReply(pb::ReadReply { asker, ticket, index }) => {
            let index = index.map(|index| at_most("read_reply.index", index, INDEX_MAX)).transpose()?;
            Body::ReadReply { asker, ticket, index }
        }
        From::TimeoutNow(pb::TimeoutNow { last }) => Body::TimeoutNow { last: position("timeout_now.last", last)? },
        From::Stale(pb::Stale {}) => Body::Stale,
        From::Survey(pb::Survey { round }) => Body::Survey { round },
        From::SurveyReply(reply) => survey_reply(reply)?,
    })
}

fn survey_reply(reply: pb::SurveyReply) -> Result<Body, WireError> {
    let pb::SurveyReply { asker, round, last, standing, since, membership: of } = reply;
    let of = of.ok_or(WireError::Missing("survey_reply.membership"))?;
    Ok(Body::SurveyReply {
        asker,
        round,
        last: position("survey_reply.last", last)?,
        doubtful: doubtful("survey_reply.standing", standing)?,
        since: at_most("survey_reply.since", since, INDEX_MAX)?,
        membership: Arc::new(membership("survey_reply.membership", of)?),
    })
}

fn append(append: pb::Append) -> Result<Body, WireError> {
    let pb::Append { session, prev, entries, commit } = append;
    let prev = position("append.prev", prev)?;
    let entries: Arc<[Entry]> = entries.into_iter().map(entry).collect::<Result<_, _>>()?;
    at_most("append.entries", entries.iter().map(Entry::bytes).sum(), APPEND_BYTES_MAX)?;
    Ok(Body::Append { session, prev, entries, commit: at_most("append.commit", commit, INDEX_MAX)? })
}

fn entry(entry: pb::Entry) -> Result<Entry, WireError> {
    use pb::entry::Payload as From;
    let pb::Entry { position: place, payload } = entry;
    let position = position("append.entries.position", place)?;
    let payload = match payload.ok_or(WireError::Missing("append.entries.payload"))? {
        From::Empty(pb::Empty {}) => Payload::Empty,
        From::Command(command) => {
            at_most("append.entries.command", command.len() as u64, ENTRY_PAYLOAD_BYTES_MAX as u64)?;
            Payload::Command(command)
        }
        From::Membership(of) => Payload::Membership(Arc::new(membership("append.entries.membership", of)?)),
    };
    Ok(Entry { position, payload })
}

fn appended(result: pb::append_reply::Result) -> Result<Appended, WireError> {
    use pb::append_reply::Result as From;
    Ok(match result {
        From::Matched(pb::Matched { index }) => {
            Appended::Matched { index: at_most("append_reply.matched.index", index, INDEX_MAX)? }
        }
        From::Conflict(pb::Conflict { prev, hint }) => Appended::Conflict {
            prev: at_most("append_reply.conflict.prev", prev, INDEX_MAX)?,
            hint: position("append_reply.conflict.hint", hint)?,
        },
    })
}

pub(in crate::wire) fn snapshot(snapshot: pb::Snapshot) -> Result<Snapshot, WireError> {
    let pb::Snapshot { last, membership: of, digest, bytes } = snapshot;
    let of = of.ok_or(WireError::Missing("install.snapshot.membership"))?;
    Ok(Snapshot {
        last: position("install.snapshot.last", last)?,
        membership: Arc::new(membership("install.snapshot.membership", of)?),
        digest: array("install.snapshot.digest", &digest)?,
        bytes: at_most("install.snapshot.bytes", bytes, SNAPSHOT_BYTES_MAX)?,
    })
}

fn membership(field: &'static str, membership: pb::Membership) -> Result<Membership, WireError> {
    let pb::Membership { voters, outgoing, learners, demoted } = membership;
    let voters = nodes("membership.voters", &voters, VOTERS_MAX)?;
    let outgoing = nodes("membership.outgoing", &outgoing, VOTERS_MAX)?;
    let learners = nodes("membership.learners", &learners, LEARNERS_MAX)?;
    let demoted = nodes("membership.demoted", &demoted, LEARNERS_MAX)?;
    let whole = Membership::from_parts(voters, outgoing, learners, demoted);
    whole.map_err(|error| WireError::Membership { field, error })
}

fn nodes(field: &'static str, ids: &[Bytes], max: usize) -> Result<BTreeSet<NodeId>, WireError> {
    if ids.len() > max {
        return Err(WireError::TooMany { field, max });
    }
    let ids: Vec<NodeId> = ids.iter().map(|id| node(field, id)).collect::<Result<_, _>>()?;
    if !ids.is_sorted_by(|a, b| a < b) {
        return Err(WireError::Order(field));
    }
    Ok(ids.into_iter().collect())
}

pub(in crate::wire) fn node(field: &'static str, id: &Bytes) -> Result<NodeId, WireError> {
    array(field, id).map(NodeId::from_bytes)
}

pub(in crate::wire) fn array<const N: usize>(field: &'static str, bytes: &Bytes) -> Result<[u8; N], WireError> {
    let found = bytes.len();
    bytes.as_ref().try_into().map_err(|_| WireError::Length { field, found, expected: N })
}

pub(in crate::wire) fn position(field: &'static str, position: Option<pb::Position>) -> Result<Position, WireError> {
    let pb::Position { term, index } = position.ok_or(WireError::Missing(field))?;
    at_most(field, term, TERM_MAX)?;
    at_most(field, index, INDEX_MAX)?;
    if (term == 0) != (index == 0) {
        return Err(WireError::HalfPosition(field));
    }
    Ok(Position { term, index })
}

pub(in crate::wire) fn at_most(field: &'static str, found: u64, max: u64) -> Result<u64, WireError> {
    if found <= max { Ok(found) } else { Err(WireError::TooLarge { field, found, max }) }
}

fn granted(field: &'static str, found: i32) -> Result<bool, WireError> {
    match pb::Verdict::try_from(found) {
        Ok(pb::Verdict::Granted) => Ok(true),
        Ok(pb::Verdict::Refused) => Ok(false),
        Ok(pb::Verdict::Unspecified) | Err(_) => Err(WireError::Unknown { field, found }),
    }
}

fn counts(field: &'static str, found: i32) -> Result<bool, WireError> {
    match pb::Weight::try_from(found) {
        Ok(pb::Weight::Unspecified) => Ok(true),
        Ok(pb::Weight::None) => Ok(false),
        Err(_) => Err(WireError::Unknown { field, found }),
    }
}

pub(in crate::wire) fn doubtful(field: &'static str, found: i32) -> Result<bool, WireError> {
    match pb::Standing::try_from(found) {
        Ok(pb::Standing::Doubtful) => Ok(true),
        Ok(pb::Standing::Settled) => Ok(false),
        Ok(pb::Standing::Unspecified) | Err(_) => Err(WireError::Unknown { field, found }),
    }
}

fn transfer(field: &'static str, found: i32) -> Result<bool, WireError> {
    match pb::Cause::try_from(found) {
        Ok(pb::Cause::Transfer) => Ok(true),
        Ok(pb::Cause::Timeout) => Ok(false),
        Ok(pb::Cause::Unspecified) | Err(_) => Err(WireError::Unknown { field, found }),
    }
}
