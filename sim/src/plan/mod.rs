//! Fault plans as data: what goes wrong, when, and on which observation. A plan can be printed, edited and replayed.

mod blow;
pub(crate) mod draw;
pub(crate) mod reclaim;
mod wish;

use serde::{Deserialize, Serialize};

use crate::disk::{FileClass, Survive};
use crate::net::NetStrike;

pub use blow::{Blow, BlowKind};
pub use wish::{Wish, WishKind};

pub(crate) use draw::{PlanClass, draw};

/// Everything that goes wrong in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Faults at fixed times.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Faults that wait for an observation.
    #[serde(default, rename = "trigger", skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<Trigger>,
    /// What goes wrong between hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<NetStrike>,
    /// What an operator wants of a group.
    #[serde(default, rename = "wish", skip_serializing_if = "Vec::is_empty")]
    pub wishes: Vec<Wish>,
    /// What strikes members of a group by the part that they play at that time.
    #[serde(default, rename = "blow", skip_serializing_if = "Vec::is_empty")]
    pub blows: Vec<Blow>,
}

/// A fault at a fixed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Nanoseconds since the start of the run.
    pub at_ns: u64,
    /// Nanoseconds that it lasts; 0 for what happens at once.
    #[serde(default)]
    pub duration_ns: u64,
    /// The host it strikes.
    #[serde(default)]
    pub host: u32,
    /// What happens.
    pub action: Action,
}

/// In a trigger of a group: the host at which the observation is made.
pub const ANY_HOST: u32 = u32::MAX;

/// A fault that waits for an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// What to wait for.
    pub point: Point,
    /// At which time of its happening, from 1, counted over the whole run.
    pub nth: u32,
    /// The host; [`ANY_HOST`] for whichever the observation is made at, and then it is counted over all of them.
    #[serde(default)]
    pub host: u32,
    /// Nanoseconds between the observation and the fault.
    #[serde(default)]
    pub delay_ns: u64,
    /// Nanoseconds that it lasts; 0 for what happens at once.
    #[serde(default)]
    pub duration_ns: u64,
    /// What happens.
    pub action: Action,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "kind")]
pub enum Action {
    /// The machine loses power and starts again later.
    Crash {
        /// What of the unsynced state survives.
        survive: Survive,
        /// Nanoseconds until the next start.
        down_ns: u64,
        /// Wait until a write is pending.
        pending: bool,
    },
    /// The process is killed and starts again later; the machine goes on.
    Kill {
        /// Nanoseconds until the next start.
        down_ns: u64,
    },
    /// The node is asked to close, and starts again later.
    Close {
        /// Nanoseconds until the next start.
        down_ns: u64,
    },
    /// The node is not run for the fault's duration.
    Pause,
    /// The wall clock jumps.
    WallJump {
        /// Forwards or backwards.
        forwards: bool,
        /// How far, in nanoseconds.
        by_ns: u64,
    },
    /// A bit of a durable byte flips.
    BitRot {
        /// In which files.
        target: FileClass,
    },
    /// A durable sector can't be read any more.
    LatentError {
        /// In which files.
        target: FileClass,
    },
    /// A sector of the next volume sync goes elsewhere.
    Misdirect,
    /// The next sync fails, and what it left undone is not tried again.
    FailSync {
        /// Of which files.
        target: FileClass,
    },
    /// The next append fails.
    FailAppend {
        /// To which files.
        target: FileClass,
    },
    /// The next removal of a volume fails.
    FailRemove,
    /// One of the next appends, syncs or publications finds no space.
    NoSpace {
        /// Of which files.
        target: FileClass,
    },
    /// The disk is full for the fault's duration.
    DiskFull,
    /// The disk is slow for the fault's duration.
    Slow {
        /// How many times slower.
        factor: u64,
    },
    /// A file is cut short while the node is down.
    Shorten {
        /// Which files.
        target: FileClass,
    },
    /// A file vanishes while the node is down.
    LoseFile {
        /// Which files.
        target: FileClass,
    },
    /// All snapshots of the ledger vanish while the node is down.
    LoseSnapshots,
}

/// Kinds of faults, as rows of the exercise table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// [`Action::Crash`].
    Crash,
    /// [`Action::Kill`].
    Kill,
    /// [`Action::Close`].
    Close,
    /// [`Action::Pause`].
    Pause,
    /// [`Action::WallJump`].
    WallJump,
    /// [`Action::BitRot`] of a volume or of a checkpoint.
    VolumeRot,
    /// [`Action::BitRot`] of a journal segment or boot record.
    JournalRot,
    /// [`Action::LatentError`].
    LatentError,
    /// [`Action::Misdirect`].
    Misdirect,
    /// [`Action::FailSync`].
    FailSync,
    /// [`Action::FailAppend`].
    FailAppend,
    /// [`Action::FailSync`] and [`Action::FailAppend`] of boot records, catalogs and staged files.
    FailSlot,
    /// [`Action::FailRemove`].
    FailRemove,
    /// [`Action::NoSpace`].
    NoSpace,
    /// [`Action::DiskFull`].
    DiskFull,
    /// [`Action::Slow`].
    Slow,
    /// [`Action::Shorten`], [`Action::LoseFile`] and [`Action::LoseSnapshots`].
    LostFile,
}

impl FaultKind {
    /// Whether only the scenario `reclaim` draws it.
    #[must_use]
    pub const fn is_of_reclaim(self) -> bool {
        matches!(self, Self::FailSlot | Self::FailRemove | Self::NoSpace)
    }

    /// Every kind, in the order of the exercise table.
    pub const ALL: [Self; 17] = [
        Self::Crash,
        Self::Kill,
        Self::Close,
        Self::Pause,
        Self::WallJump,
        Self::VolumeRot,
        Self::JournalRot,
        Self::LatentError,
        Self::Misdirect,
        Self::FailSync,
        Self::FailAppend,
        Self::FailSlot,
        Self::FailRemove,
        Self::NoSpace,
        Self::DiskFull,
        Self::Slow,
        Self::LostFile,
    ];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Kill => "kill",
            Self::Close => "close",
            Self::Pause => "pause",
            Self::WallJump => "wall jump",
            Self::VolumeRot => "volume rot",
            Self::JournalRot => "journal rot",
            Self::LatentError => "latent error",
            Self::Misdirect => "misdirect",
            Self::FailSync => "failed sync",
            Self::FailAppend => "failed append",
            Self::FailSlot => "failed slot",
            Self::FailRemove => "failed removal",
            Self::NoSpace => "no space once",
            Self::DiskFull => "disk full",
            Self::Slow => "slow disk",
            Self::LostFile => "lost file",
        }
    }
}

impl Action {
    /// The row of the exercise table.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::Crash { .. } => FaultKind::Crash,
            Self::Kill { .. } => FaultKind::Kill,
            Self::Close { .. } => FaultKind::Close,
            Self::Pause => FaultKind::Pause,
            Self::WallJump { .. } => FaultKind::WallJump,
            Self::BitRot { target: FileClass::Volume | FileClass::Spare } => FaultKind::VolumeRot,
            Self::BitRot { .. } => FaultKind::JournalRot,
            Self::LatentError { .. } => FaultKind::LatentError,
            Self::Misdirect => FaultKind::Misdirect,
            Self::FailSync { target: FileClass::Slot } | Self::FailAppend { target: FileClass::Slot } => {
                FaultKind::FailSlot
            }
            Self::FailRemove => FaultKind::FailRemove,
            Self::NoSpace { .. } => FaultKind::NoSpace,
            Self::FailSync { .. } => FaultKind::FailSync,
            Self::FailAppend { .. } => FaultKind::FailAppend,
            Self::DiskFull => FaultKind::DiskFull,
            Self::Slow { .. } => FaultKind::Slow,
            Self::Shorten { .. } | Self::LoseFile { .. } | Self::LoseSnapshots => FaultKind::LostFile,
        }
    }
}

/// Something that a trigger can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "on")]
pub enum Point {
    /// The node said that it serves.
    Serving,
    /// The node said that everything acknowledged is known durable.
    Settled,
    /// The node created a file.
    Created {
        /// Of this class.
        file: FileClass,
    },
    /// The node closed a file for good.
    Sealed {
        /// Of this class.
        file: FileClass,
    },
    /// The node asked for an append, which is not done.
    Appending {
        /// To a file of this class.
        file: FileClass,
    },
    /// The node asked for a sync, which is not done.
    Syncing {
        /// Of a file of this class.
        file: FileClass,
    },
    /// A sync was done, and the node has not heard of it.
    Synced {
        /// Of a file of this class.
        file: FileClass,
    },
    /// The node asked for a publication, which is not done.
    Publishing,
    /// The node asked for a removal, which is not done.
    Removing,
    /// A member asked for a write to a snapshot, its own or one that it fetches, which is not done.
    Snapshotting,
    /// The node asked for a read while it starts, which is not done.
    BootRead,
    /// The node asked for a read while it serves, which is not done.
    Reading,
    /// A member of a group asks for votes; its own is not durable.
    Standing,
    /// A member is about to send a vote, which is durable.
    Voting,
    /// A member leads.
    Leading,
    /// A member is about to say that it has entries.
    Matching,
    /// A member is about to send entries of its own log.
    Replicating,
    /// A member replaced the end of its log.
    Truncating,
    /// A member's log begins later than before.
    Compacting,
    /// A member goes on from another one's snapshot.
    Restoring,
    /// A member's log got a new membership.
    Changing,
    /// A member knows more committed than before.
    Committing,
    /// A leader begins to let another one take over.
    HandingOver,
    /// A member says that it does not know what it has lost.
    Doubting,
}

/// A plan that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Neither TOML nor JSON of the right shape.
    #[error("the fault plan can't be read: {0}")]
    Malformed(String),
}

impl Plan {
    /// The plan as TOML.
    ///
    /// # Panics
    /// Never: every plan has a text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a plan is a table of plain values")
    }

    /// Reads a plan from TOML, or from JSON when the text begins with a brace.
    ///
    /// # Errors
    /// What the parser says.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| PlanError::Malformed(error.to_string()))
        } else {
            toml::from_str(text).map_err(|error| PlanError::Malformed(error.to_string()))
        }
    }
}
