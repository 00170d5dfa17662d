//! The envelope of everything that nodes tell each other besides bulk data: one kind of message for each part of dps
//! that speaks with other nodes.

use alloc::vec::Vec;

use prost::Message as _;

use super::error::WireError;
use super::pb::{self, control::Kind};
use super::scan::Fields;
use super::{member, raft};
use crate::replica::event::Message;

/// The bytes of a message, to be framed.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    let kind = match message {
        Message::Raft(message) => Kind::Raft(raft::written(message)),
        Message::Ask(piece) => Kind::SnapshotAsk(pb::SnapshotAsk { piece: Some(member::write_piece(piece)) }),
        Message::Part { piece, bytes } => {
            Kind::SnapshotPart(pb::SnapshotPart { piece: Some(member::write_piece(piece)), content: bytes.clone() })
        }
        Message::Propose { from, to, ticket, command } => {
            Kind::Propose(member::write_propose(*from, *to, *ticket, command))
        }
        Message::Proposed { from, to, ticket, answer } => {
            Kind::Proposed(member::write_proposed(*from, *to, *ticket, answer))
        }
    };
    pb::Control { kind: Some(kind) }.encode_to_vec()
}

/// The message that bytes from outside are. What it keeps of them is copied.
///
/// # Errors
/// Which of the rules they break. [`WireError::UnknownKind`] is no fault of the sender, which may be a later version.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    raft::check_counts(bytes, raft::Outside::Control)?;
    let control = pb::Control::decode(bytes).map_err(|_| WireError::Malformed)?;
    match control.kind {
        Some(Kind::Raft(message)) => raft::judged(message).map(Message::Raft),
        Some(Kind::SnapshotAsk(ask)) => member::judge_ask(ask),
        Some(Kind::SnapshotPart(part)) => member::judge_part(part),
        Some(Kind::Propose(propose)) => member::judge_propose(&propose),
        Some(Kind::Proposed(proposed)) => member::judge_proposed(proposed),
        None => match Fields::new(bytes).next() {
            Some(field) => Err(WireError::UnknownKind(field?.0)),
            None => Err(WireError::Missing("kind")),
        },
    }
}

#[cfg(test)]
mod tests;
