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
        Message::Member(letter) => Kind::Letter(member::written(letter)),
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
        Some(Kind::Letter(letter)) => member::judged(letter).map(Message::Member),
        None => match Fields::new(bytes).next() {
            Some(field) => Err(WireError::UnknownKind(field?.0)),
            None => Err(WireError::Missing("kind")),
        },
    }
}

#[cfg(test)]
mod tests;
