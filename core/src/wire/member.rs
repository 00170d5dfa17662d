//! What members tell each other besides Raft's messages: parts of snapshots, and commands for the leader.

use alloc::vec::Vec;

use bytes::Bytes;

use super::error::WireError;
use super::pb::{self, proposed};
use super::raft::{at_most, node};
use crate::crypto::hash::HASH_LEN;
use crate::id::NodeId;
use crate::ledger::command::{Command, Outcome};
use crate::limits::{ENTRY_PAYLOAD_BYTES_MAX, SNAPSHOT_BYTES_MAX, STEP_BYTES_MAX};
use crate::raft::snapshot::INDEX_MAX;
use crate::replica::event::{Answer, Message, Piece};

fn bytes_of(node: NodeId) -> Bytes {
    Bytes::copy_from_slice(node.as_bytes())
}

pub(super) fn write_piece(piece: &Piece) -> pb::Piece {
    let Piece { from, to, index, digest, offset } = *piece;
    let digest = Bytes::copy_from_slice(&digest);
    pb::Piece { from: bytes_of(from), to: bytes_of(to), index, digest, offset }
}

pub(super) fn write_propose(from: NodeId, to: NodeId, ticket: u64, command: &Command) -> pb::Propose {
    pb::Propose { from: bytes_of(from), to: bytes_of(to), ticket, command: command.encode().into() }
}

pub(super) fn write_proposed(from: NodeId, to: NodeId, ticket: u64, answer: &Answer) -> pb::Proposed {
    let answer = match answer {
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
    };
    pb::Proposed { from: bytes_of(from), to: bytes_of(to), ticket, answer: Some(answer) }
}

fn judge_piece(piece: Option<pb::Piece>) -> Result<Piece, WireError> {
    let pb::Piece { from, to, index, digest, offset } = piece.ok_or(WireError::Missing("piece"))?;
    let (field, found, expected) = ("piece.digest", digest.len(), HASH_LEN);
    Ok(Piece {
        from: node("piece.from", &from)?,
        to: node("piece.to", &to)?,
        index: at_most("piece.index", index, INDEX_MAX)?,
        digest: (&*digest).try_into().map_err(|_| WireError::Length { field, found, expected })?,
        offset: at_most("piece.offset", offset, SNAPSHOT_BYTES_MAX)?,
    })
}

pub(super) fn judge_ask(ask: pb::SnapshotAsk) -> Result<Message, WireError> {
    judge_piece(ask.piece).map(Message::Ask)
}

pub(super) fn judge_part(part: pb::SnapshotPart) -> Result<Message, WireError> {
    let pb::SnapshotPart { piece, content } = part;
    at_most("snapshot_part.content", content.len() as u64, STEP_BYTES_MAX as u64)?;
    Ok(Message::Part { piece: judge_piece(piece)?, bytes: Bytes::copy_from_slice(&content) })
}

pub(super) fn judge_propose(propose: &pb::Propose) -> Result<Message, WireError> {
    let pb::Propose { from, to, ticket, command } = propose;
    at_most("propose.command", command.len() as u64, ENTRY_PAYLOAD_BYTES_MAX as u64)?;
    Ok(Message::Propose {
        from: node("propose.from", from)?,
        to: node("propose.to", to)?,
        ticket: *ticket,
        command: Command::decode(command).map_err(|_| WireError::Layout("propose.command"))?,
    })
}

pub(super) fn judge_proposed(proposed: pb::Proposed) -> Result<Message, WireError> {
    let pb::Proposed { from, to, ticket, answer } = proposed;
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
    };
    Ok(Message::Proposed { from: node("proposed.from", &from)?, to: node("proposed.to", &to)?, ticket, answer })
}

#[cfg(test)]
mod tests;
