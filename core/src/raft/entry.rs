//! What the replicated log consists of (Ongaro 2014, section 3.5).

use alloc::sync::Arc;
use core::fmt;

use bytes::Bytes;

use super::membership::Membership;

/// A place in the log: the term in which the entry was proposed, and its index, dense from 1.
///
/// Ordered as logs are when a vote is decided: by term, then by index (section 3.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The leader's term; 0 only for the beginning of the log.
    pub term: u64,
    /// Dense from 1; 0 only for the beginning of the log.
    pub index: u64,
}

impl Position {
    /// Before the first entry.
    pub const ZERO: Self = Self { term: 0, index: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.index)
    }
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing. The first entry of each term, which commits what earlier terms left (section 3.6.2).
    Empty,
    /// A command of the replicated state machine. Raft does not look at it.
    Command(Bytes),
    /// Who takes part from this entry on, in force as soon as it is in the log (section 4.1).
    Membership(Arc<Membership>),
}

/// An entry of the log. Cloning shares the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub position: Position,
    /// What it says.
    pub payload: Payload,
}

impl Entry {
    /// Bytes that count against bounds: those of the payload, and a fixed part for the rest.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let payload = match &self.payload {
            Payload::Empty => 0,
            Payload::Command(command) => command.len() as u64,
            Payload::Membership(membership) => membership.encoded_len() as u64,
        };
        ENTRY_FIXED_BYTES + payload
    }
}

/// What an entry counts beside its payload.
const ENTRY_FIXED_BYTES: u64 = 24;
