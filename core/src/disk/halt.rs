//! Reasons not to start at all.

use super::{DiskError, File};
use crate::id::NodeId;
use crate::replica::witness::Because;

/// Why a node can't go on at all. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HaltReason {
    /// The store was written by a newer version.
    #[error("the store has format {found}, this program reads formats up to {supported}")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format this program reads.
        supported: u32,
    },
    /// There are data files but no readable boot record to tell which store they belong to.
    #[error("both boot records are missing or damaged, but there are data files")]
    BootRecordLost,
    /// A file that is needed to start could not be read.
    #[error("{file} can't be read: {error}")]
    Unreadable {
        /// The file; `None` for the listing of the data directory.
        file: FileOrList,
        /// What the disk said.
        error: DiskError,
    },
    /// The journal goes on from a snapshot, and none can be read.
    #[error("no snapshot of the ledger can be read, and the journal begins after entry {index}")]
    SnapshotLost {
        /// The last entry before the journal.
        index: u64,
    },
    /// The journal is that of a member of a group, and was to be opened as a store of its own.
    #[error("the journal is one of several that agree with each other")]
    OfGroup,
    /// Another member of the group remembers more of this one than it does itself: its disk is an old one. What the
    /// group has acknowledged is untouched, and nothing that this start said was counted by that member.
    #[error("member {by} knows that this data directory is an old copy or a new one under an old name: {because}")]
    RolledBack {
        /// Who knows that.
        by: NodeId,
        /// How.
        because: Because,
    },
    /// A committed entry is of a kind that this program does not know.
    #[error("entry {index} of the ledger was written by a newer version")]
    UnknownCommand {
        /// Its index.
        index: u64,
    },
}

/// What a start was reading when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileOrList {
    /// The list of files.
    List,
    /// A file.
    File(File),
}

impl core::fmt::Display for FileOrList {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::List => f.write_str("the list of files"),
            Self::File(file) => file.fmt(f),
        }
    }
}
