//! The envelope of everything that nodes tell each other besides bulk data: one kind of message for each part of dps
//! that speaks with other nodes.

use alloc::vec::Vec;

use prost::Message as _;

use super::error::WireError;
use super::pb::{self, control::Kind};
use super::raft;
use super::scan::Fields;
use crate::raft::message::Message;

/// What one node tells another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// A message of the group that agrees on the ledger.
    Raft(Message),
}

/// The bytes of a message, to be framed.
#[must_use]
pub fn encode(control: &Control) -> Vec<u8> {
    let kind = match control {
        Control::Raft(message) => Kind::Raft(raft::written(message)),
    };
    pb::Control { kind: Some(kind) }.encode_to_vec()
}

/// The message that bytes from outside are. What it keeps of them is copied.
///
/// # Errors
/// Which of the rules they break. [`WireError::UnknownKind`] is no fault of the sender, which may be a later version.
pub fn decode(bytes: &[u8]) -> Result<Control, WireError> {
    raft::check_counts(bytes, raft::Outside::Control)?;
    let control = pb::Control::decode(bytes).map_err(|_| WireError::Malformed)?;
    match control.kind {
        Some(Kind::Raft(message)) => raft::judged(message).map(Control::Raft),
        None => match Fields::new(bytes).next() {
            Some(field) => Err(WireError::UnknownKind(field?.0)),
            None => Err(WireError::Missing("kind")),
        },
    }
}

#[cfg(test)]
mod tests;
