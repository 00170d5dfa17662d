//! Letters of members: parts of snapshots, commands for the leader, and starts that get to know each other.

mod meet;

use alloc::vec::Vec;

use bytes::Bytes;

use super::error::WireError;
use super::pb::{self, letter::Body as Says, proposed};
use super::raft::{at_most, node, snapshot, write_snapshot};
use crate::crypto::hash::HASH_LEN;
use crate::id::NodeId;
use crate::ledger::command::{Command, Outcome};
use crate::limits::{ENTRY_PAYLOAD_BYTES_MAX, SNAPSHOT_BYTES_MAX, STEP_BYTES_MAX};
use crate::raft::snapshot::INDEX_MAX;
use crate::replica::event::{Answer, Body, Letter, Piece};

fn bytes_of(node: NodeId) -> Bytes {
    Bytes::copy_from_slice(node.as_bytes())
}

/// A letter in the types of the schema.
pub(super) fn written(letter: &Letter) -> pb::Letter {
    let Letter { from, incarnation, to, body } = letter;
    let body = match body {
        Body::Ask(piece) => Says::SnapshotAsk(pb::SnapshotAsk { piece: Some(write_piece(piece)) }),
        Body::Part { asker, piece, bytes } => {
            let piece = Some(write_piece(piece));
            Says::SnapshotPart(pb::SnapshotPart { asker: *asker, piece, content: bytes.clone() })
        }
        Body::Unfit(piece) => Says::SnapshotUnfit(pb::SnapshotUnfit { piece: Some(write_piece(piece)) }),
        Body::Wanted { from } => Says::SnapshotWanted(pb::SnapshotWanted { from: *from }),
        Body::Offered { asker, snapshot } => {
            let snapshot = Some(write_snapshot(snapshot));
            Says::SnapshotOffered(pb::SnapshotOffered { asker: *asker, snapshot })
        }
        Body::Propose { ticket, command } => {
            Says::Propose(pb::Propose { ticket: *ticket, command: command.encode().into() })
        }
        Body::Proposed { asker, ticket, answer } => {
            let answer = Some(write_answer(answer));
            Says::Proposed(pb::Proposed { asker: *asker, ticket: *ticket, answer })
        }
        Body::Meet(words) => meet::written(words),
    };
    pb::Letter { from: bytes_of(*from), incarnation: *incarnation, to: bytes_of(*to), body: Some(body) }
}

/// A letter out of the types of the schema, if every part is within bounds.
pub(super) fn judged(letter: pb::Letter) -> Result<Letter, WireError> {
    let pb::Letter { from, incarnation, to, body } = letter;
    let (from, to) = (node("letter.from", &from)?, node("letter.to", &to)?);
    let body = match body.ok_or(WireError::Missing("letter.body"))? {
        Says::SnapshotAsk(pb::SnapshotAsk { piece }) => Body::Ask(judge_piece(piece)?),
        Says::SnapshotPart(pb::SnapshotPart { asker, piece, content }) => {
            at_most("snapshot_part.content", content.len() as u64, STEP_BYTES_MAX as u64)?;
            Body::Part { asker, piece: judge_piece(piece)?, bytes: Bytes::copy_from_slice(&content) }
        }
        Says::SnapshotUnfit(pb::SnapshotUnfit { piece }) => Body::Unfit(judge_piece(piece)?),
        Says::SnapshotWanted(pb::SnapshotWanted { from }) => {
            Body::Wanted { from: at_most("snapshot_wanted.from", from, INDEX_MAX)? }
        }
        Says::SnapshotOffered(pb::SnapshotOffered { asker, snapshot: of }) => {
            let of = of.ok_or(WireError::Missing("snapshot_offered.snapshot"))?;
            Body::Offered { asker, snapshot: snapshot(of)? }
        }
        Says::Propose(propose) => judge_propose(&propose)?,
        Says::Proposed(proposed) => judge_proposed(proposed)?,
        Says::Introduction(introduction) => Body::Meet(meet::judge_introduction(&introduction)?),
        Says::Challenge(challenge) => Body::Meet(meet::judge_challenge(&challenge)?),
        Says::Known(known) => Body::Meet(meet::judge_known(&known)?),
        Says::RolledBack(rolled_back) => Body::Meet(meet::judge_rolled_back(&rolled_back)?),
    };
    Ok(Letter { from, incarnation, to, body })
}

fn write_piece(piece: &Piece) -> pb::Piece {
    let Piece { index, digest, offset } = *piece;
    pb::Piece { index, digest: Bytes::copy_from_slice(&digest), offset }
}

fn write_answer(answer: &Answer) -> proposed::Answer {
    match answer {
        Answer::Decided(outcome) => {
            let mut bytes = Vec::new();
            outcome.encode(&mut bytes);
            proposed::Answer::Outcome(bytes.into())
        }
        Answer::NotLeader(leader) => {
            proposed::Answer::NotLeader(pb::NotLeader { leader: leader.map(bytes_of).unwrap_or_default() })
        }
        Answer::Busy => proposed::Answer::Busy(pb::Busy {}),
        Answer::Unknown => proposed::Answer::Unknown(pb::Unknown {}),
        Answer::TooLarge => proposed::Answer::TooLarge(pb::TooLarge {}),
    }
}

fn judge_piece(piece: Option<pb::Piece>) -> Result<Piece, WireError> {
    let pb::Piece { index, digest, offset } = piece.ok_or(WireError::Missing("piece"))?;
    let (field, found, expected) = ("piece.digest", digest.len(), HASH_LEN);
    Ok(Piece {
        index: at_most("piece.index", index, INDEX_MAX)?,
        digest: (&*digest).try_into().map_err(|_| WireError::Length { field, found, expected })?,
        offset: at_most("piece.offset", offset, SNAPSHOT_BYTES_MAX)?,
    })
}

fn judge_propose(propose: &pb::Propose) -> Result<Body, WireError> {
    let pb::Propose { ticket, command } = propose;
    at_most("propose.command", command.len() as u64, ENTRY_PAYLOAD_BYTES_MAX as u64)?;
    let command = Command::decode(command).map_err(|_| WireError::Layout("propose.command"))?;
    Ok(Body::Propose { ticket: *ticket, command })
}

fn judge_proposed(proposed: pb::Proposed) -> Result<Body, WireError> {
    let pb::Proposed { asker, ticket, answer } = proposed;
    let answer = match answer.ok_or(WireError::Missing("proposed.answer"))? {
        proposed::Answer::Outcome(bytes) => {
            Answer::Decided(Outcome::decode(&bytes).ok_or(WireError::Layout("proposed.outcome"))?)
        }
        proposed::Answer::NotLeader(pb::NotLeader { leader }) if leader.is_empty() => Answer::NotLeader(None),
        proposed::Answer::NotLeader(pb::NotLeader { leader }) => {
            Answer::NotLeader(Some(node("proposed.not_leader.leader", &leader)?))
        }
        proposed::Answer::Busy(pb::Busy {}) => Answer::Busy,
        proposed::Answer::Unknown(pb::Unknown {}) => Answer::Unknown,
        proposed::Answer::TooLarge(pb::TooLarge {}) => Answer::TooLarge,
    };
    Ok(Body::Proposed { asker, ticket, answer })
}

#[cfg(test)]
mod tests;
