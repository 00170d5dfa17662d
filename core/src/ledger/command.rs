//! What changes the ledger, as data. Its bytes are in `codec`.

mod codec;
mod outcome;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;

pub use self::codec::{COMMAND_BYTES_MAX, COMMAND_LAYOUT, DecodeError};
pub use self::outcome::Outcome;
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
    /// A put like [`Command::Put`], whose meaning ends by itself. What has expired is absent for every command, and
    /// taken away by [`Command::Expire`]. A rename takes the expiry along; an undelete gives none.
    PutUntil {
        /// What the proposer's clock said.
        time: WallTime,
        /// As in [`Command::Put`].
        lease: u64,
        /// Nanoseconds of ledger time after which the name has expired, from this command on; 0 for never.
        ttl: u64,
        /// The name.
        name: Name,
        /// What the name must mean before.
        expect: Expect,
        /// The content.
        manifest: Manifest,
    },
    /// Takes the names away that have expired, the earliest first, and leaves tombstones.
    Expire {
        /// What the proposer's clock said.
        time: WallTime,
        /// At most so many; more than [`crate::limits::EXPIRE_SLICE_MAX`] is that.
        limit: u32,
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
    /// Gives a name what another one means, and takes it from that one. What the name meant before leaves a tombstone;
    /// the other leaves none, as its content is not gone. Nothing happens to a name that is renamed to itself.
    Rename {
        /// What the proposer's clock said.
        time: WallTime,
        /// The name that goes.
        from: Name,
        /// The name that gets its meaning.
        to: Name,
        /// What `from` must mean before.
        expect_from: Expect,
        /// What `to` must mean before. Not asked if it is `from`: it is not in the way of itself.
        expect_to: Expect,
    },
    /// Turns the rule of large steps of ledger time on or off; it is off at first. Where it is on, a step of more than
    /// [`crate::limits::CLOCK_STEP_MAX`] makes the clock doubtful, and whatever takes something away by time waits.
    SetClockRule {
        /// What the proposer's clock said.
        time: WallTime,
        /// Whether the rule is on.
        on: bool,
    },
    /// Says, by a person's word, that ledger time is right although it made a large step.
    ConfirmClock {
        /// What the proposer's clock said.
        time: WallTime,
    },
    /// Sets ledger time, by a person's word, and may set it back as nothing else does.
    ResetClock {
        /// Ledger time from now on.
        time: WallTime,
    },
    /// Begins a session, whose commands are applied exactly once each (rule L2). Its identifier is the index of this
    /// command.
    RegisterSession {
        /// What the proposer's clock said.
        time: WallTime,
    },
    /// A command of a session. Its time is that of the command within.
    InSession {
        /// The session: the index of its [`Command::RegisterSession`].
        session: u64,
        /// The number that the session gave this command, and gives again with every repetition of it.
        serial: u64,
        /// What is to be done. Neither of these two kinds: sessions are neither begun nor nested in a session.
        command: Box<Self>,
    },
}

impl Command {
    /// What is to be done, whether a session asks for it or not.
    #[must_use]
    pub fn plain(&self) -> &Self {
        match self {
            Self::InSession { command, .. } => command,
            plain => plain,
        }
    }

    /// The name that is changed, if it is one alone.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        match self.plain() {
            Self::Put { name, .. }
            | Self::PutUntil { name, .. }
            | Self::Delete { name, .. }
            | Self::Undelete { name, .. }
            | Self::Purge { name, .. } => Some(name),
            Self::SweepStart { .. }
            | Self::SweepComplete { .. }
            | Self::Reap { .. }
            | Self::Clean { .. }
            | Self::DeepClean { .. }
            | Self::Rename { .. }
            | Self::SetClockRule { .. }
            | Self::ConfirmClock { .. }
            | Self::ResetClock { .. }
            | Self::Expire { .. }
            | Self::RegisterSession { .. }
            | Self::InSession { .. } => None,
        }
    }

    /// The lease that is needed, if this is a put.
    pub(crate) const fn lease(&self) -> Option<u64> {
        match self {
            Self::Put { lease, .. } | Self::PutUntil { lease, .. } => Some(*lease),
            Self::Delete { .. }
            | Self::Undelete { .. }
            | Self::Purge { .. }
            | Self::SweepStart { .. }
            | Self::SweepComplete { .. }
            | Self::Reap { .. }
            | Self::Clean { .. }
            | Self::DeepClean { .. }
            | Self::Rename { .. }
            | Self::SetClockRule { .. }
            | Self::ConfirmClock { .. }
            | Self::ResetClock { .. }
            | Self::Expire { .. }
            | Self::RegisterSession { .. }
            | Self::InSession { .. } => None,
        }
    }

    /// Whether this takes something away that only time protects.
    pub(crate) const fn waits_for_clock(&self) -> bool {
        matches!(self, Self::Reap { .. } | Self::SweepStart { .. } | Self::SweepComplete { .. })
    }

    /// What the proposer's clock said.
    ///
    /// # Panics
    /// If a session is nested in a session.
    #[must_use]
    pub fn time(&self) -> WallTime {
        match self.plain() {
            Self::Put { time, .. }
            | Self::PutUntil { time, .. }
            | Self::Expire { time, .. }
            | Self::Delete { time, .. }
            | Self::SweepStart { time }
            | Self::SweepComplete { time, .. }
            | Self::Undelete { time, .. }
            | Self::Reap { time, .. }
            | Self::Purge { time, .. }
            | Self::Clean { time }
            | Self::DeepClean { time }
            | Self::Rename { time, .. }
            | Self::SetClockRule { time, .. }
            | Self::ConfirmClock { time }
            | Self::ResetClock { time }
            | Self::RegisterSession { time } => *time,
            Self::InSession { .. } => unreachable!("sessions are not nested"),
        }
    }

    /// Replaces what the proposer's clock said; not in [`Command::ResetClock`], where a person says what the time is.
    ///
    /// # Panics
    /// If a session is nested in a session.
    pub fn set_time(&mut self, now: WallTime) {
        let plain = match self {
            Self::InSession { command, .. } => command,
            plain => plain,
        };
        match plain {
            Self::Put { time, .. }
            | Self::PutUntil { time, .. }
            | Self::Expire { time, .. }
            | Self::Delete { time, .. }
            | Self::SweepStart { time }
            | Self::SweepComplete { time, .. }
            | Self::Undelete { time, .. }
            | Self::Reap { time, .. }
            | Self::Purge { time, .. }
            | Self::Clean { time }
            | Self::DeepClean { time }
            | Self::Rename { time, .. }
            | Self::SetClockRule { time, .. }
            | Self::ConfirmClock { time }
            | Self::RegisterSession { time } => *time = now,
            Self::ResetClock { .. } => {}
            Self::InSession { .. } => unreachable!("sessions are not nested"),
        }
    }
}
