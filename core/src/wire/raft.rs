//! Messages of Raft as bytes, and judging those that come from outside.
//!
//! Whether entries follow each other, and whether a message fits what a node knows, is left to [`crate::raft`]. So is a
//! message that its sender sends to itself, and a snapshot of nothing.

mod read;
mod write;

use alloc::vec::Vec;

use prost::Message as _;

pub(super) use self::read::{array, at_most, doubtful, message as judged, node, position, snapshot};
pub(super) use self::write::{message as written, snapshot as write_snapshot, standing};
use super::error::WireError;
use super::pb;
use super::scan::count;
use crate::limits::{APPEND_BYTES_MAX, APPEND_ENTRIES_MAX, LEARNERS_MAX, VOTERS_MAX};
use crate::raft::message::Message;
use crate::raft::settings::Settings;

/// Nodes that the memberships of one message name, together.
const NODES_MAX: usize = APPEND_ENTRIES_MAX * (2 * VOTERS_MAX + LEARNERS_MAX);

// What a node sends by its standard settings, another one takes.
const _: () = assert!(Settings::STANDARD.append_entries_max <= APPEND_ENTRIES_MAX);
const _: () = assert!(Settings::STANDARD.append_bytes_max <= APPEND_BYTES_MAX);

/// Numbers of fields, from the envelope inwards.
const RAFT: u32 = 1;
const APPEND: u32 = 9;
const ENTRIES: u32 = 3;
const ENTRY_MEMBERSHIP: u32 = 4;
const INSTALL: u32 = 11;
const SNAPSHOT: u32 = 2;
const SNAPSHOT_MEMBERSHIP: u32 = 2;
const SURVEY_REPLY: u32 = 19;
const SURVEY_MEMBERSHIP: u32 = 6;
const LETTER: u32 = 6;
const SNAPSHOT_OFFERED: u32 = 8;
/// The four parts of a membership.
const PARTS: [u32; 4] = [1, 2, 3, 4];

/// What bytes are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outside {
    /// An envelope.
    Control,
    /// The message in it.
    Message,
}

impl Outside {
    /// The way to a field, of the way to it from the envelope.
    fn path(self, path: &[u32]) -> &[u32] {
        match self {
            Self::Control => path,
            Self::Message => &path[1..],
        }
    }
}

/// The bytes of a message. What is out of bounds is written all the same, and refused by whoever reads it.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    written(message).encode_to_vec()
}

/// The message that bytes from outside are. What it keeps of them is copied, so that an entry that stays in the log
/// does not keep the rest of its frame in memory.
///
/// # Errors
/// Which of the rules they break.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    check_counts(bytes, Outside::Message)?;
    judged(pb::Raft::decode(bytes).map_err(|_| WireError::Malformed)?)
}

/// Counts what there may be many of before anything is decoded.
pub(super) fn check_counts(bytes: &[u8], outside: Outside) -> Result<(), WireError> {
    if count(bytes, outside.path(&[RAFT, APPEND, ENTRIES]))? > APPEND_ENTRIES_MAX {
        return Err(WireError::TooMany { field: "append.entries", max: APPEND_ENTRIES_MAX });
    }
    let mut nodes = 0;
    for part in PARTS {
        nodes += count(bytes, outside.path(&[RAFT, APPEND, ENTRIES, ENTRY_MEMBERSHIP, part]))?;
        nodes += count(bytes, outside.path(&[RAFT, INSTALL, SNAPSHOT, SNAPSHOT_MEMBERSHIP, part]))?;
        nodes += count(bytes, outside.path(&[RAFT, SURVEY_REPLY, SURVEY_MEMBERSHIP, part]))?;
        if let Outside::Control = outside {
            nodes += count(bytes, &[LETTER, SNAPSHOT_OFFERED, SNAPSHOT, SNAPSHOT_MEMBERSHIP, part])?;
        }
    }
    if nodes > NODES_MAX {
        return Err(WireError::TooMany { field: "nodes", max: NODES_MAX });
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
