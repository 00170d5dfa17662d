//! What changes the ledger, as data. Its bytes are in `codec`.

mod codec;
#[cfg(test)]
mod tests;

pub use self::codec::{COMMAND_BYTES_MAX, COMMAND_LAYOUT, DecodeError};
use crate::crypto::hash::HASH_LEN;
use crate::keystore::manifest::Manifest;
use crate::ledger::file::Expect;
use crate::ledger::name::Name;
use crate::time::WallTime;

/// A change of the ledger. Applied in the order of the journal, by every replica alike.
///
/// `time` is what the proposer's clock said; ledger time follows it, but never backwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Gives a name a content, whose chunks are durable. What the name meant before leaves a tombstone.
    Put {
        /// What the proposer's clock said.
        time: WallTime,
        /// The epoch that the proposer had applied before the first chunk was stored or touched (rules L5, C1). A put
        /// with an older lease than the newest sweep is refused: that sweep may drop its chunks.
        lease: u64,
        /// The name.
        name: Name,
        /// What the name must mean before.
        expect: Expect,
        /// The content.
        manifest: Manifest,
    },
    /// Takes a name away, and leaves a tombstone that keeps its content for a while.
    Delete {
        /// What the proposer's clock said.
        time: WallTime,
        /// The name.
        name: Name,
        /// What the name must mean before.
        expect: Expect,
    },
    /// Begins a sweep and with it the next epoch. A sweep that is open is superseded.
    SweepStart {
        /// What the proposer's clock said.
        time: WallTime,
    },
    /// Ends the sweep of `epoch` if it is the open one: what it found to be referred to is settled.
    SweepComplete {
        /// What the proposer's clock said.
        time: WallTime,
        /// The epoch that the sweep began.
        epoch: u64,
        /// SHA-256 of its filter.
        filter_hash: [u8; HASH_LEN],
        /// Whether a person asked for the sweep, who may let it drop any share of what is stored (rule C5).
        by_person: bool,
    },
    /// Gives a name back what one of its tombstones keeps. What the name meant before leaves a tombstone.
    Undelete {
        /// What the proposer's clock said.
        time: WallTime,
        /// The name.
        name: Name,
        /// The version to bring back; 0 for the newest that is kept.
        version: u64,
        /// What the name must mean before.
        expect: Expect,
    },
    /// Removes the oldest tombstones.
    Reap {
        /// What the proposer's clock said.
        time: WallTime,
        /// Only tombstones of what went before this ledger time.
        before: WallTime,
        /// At most so many; more than [`crate::limits::REAP_SLICE_MAX`] is that.
        limit: u32,
    },
    /// Takes a name and all its tombstones away and leaves none.
    Purge {
        /// What the proposer's clock said.
        time: WallTime,
        /// The name.
        name: Name,
        /// What the name must mean before.
        expect: Expect,
    },
    /// Gives up every content that is there now: names stay, and what they mean is missing until it is stored again.
    Clean {
        /// What the proposer's clock said.
        time: WallTime,
    },
    /// Takes everything away, names and tombstones too. Time, index and epoch go on.
    DeepClean {
        /// What the proposer's clock said.
        time: WallTime,
    },
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The name means the content now.
    Stored {
        /// The name's new version.
        version: u64,
    },
    /// The name is gone.
    Deleted,
    /// The name does not mean what was expected; only ledger time changed.
    Conflict {
        /// The version it has; `None` if it does not exist.
        current: Option<u64>,
    },
    /// The name to be deleted or purged, or the tombstone to be undeleted, does not exist; only ledger time changed.
    NotFound,
    /// The put's lease is older than the newest sweep; nothing changed. Its chunks must be touched again under the
    /// epoch of now.
    StaleLease {
        /// The epoch of now.
        epoch: u64,
    },
    /// A sweep has begun.
    SweepStarted {
        /// Its epoch, which is that of every lease from now on.
        epoch: u64,
    },
    /// The sweep is over, and chunks may be dropped by its filter.
    SweepCompleted,
    /// The sweep to be completed is not the open one; only ledger time changed.
    Superseded,
    /// Tombstones were removed.
    Reaped {
        /// How many.
        count: u32,
        /// Whether there are more of that age.
        more: bool,
    },
    /// The name and its tombstones are gone.
    Purged {
        /// How many tombstones there were.
        tombstones: u32,
    },
    /// Every content is missing, or after a deep clean everything is gone.
    Cleaned,
}

impl Command {
    /// The name that is changed, if it is one.
    #[must_use]
    pub const fn name(&self) -> Option<&Name> {
        match self {
            Self::Put { name, .. }
            | Self::Delete { name, .. }
            | Self::Undelete { name, .. }
            | Self::Purge { name, .. } => Some(name),
            Self::SweepStart { .. }
            | Self::SweepComplete { .. }
            | Self::Reap { .. }
            | Self::Clean { .. }
            | Self::DeepClean { .. } => None,
        }
    }

    /// What the proposer's clock said.
    #[must_use]
    pub const fn time(&self) -> WallTime {
        match self {
            Self::Put { time, .. }
            | Self::Delete { time, .. }
            | Self::SweepStart { time }
            | Self::SweepComplete { time, .. }
            | Self::Undelete { time, .. }
            | Self::Reap { time, .. }
            | Self::Purge { time, .. }
            | Self::Clean { time }
            | Self::DeepClean { time } => *time,
        }
    }
}
