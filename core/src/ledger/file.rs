//! How a file is asked for and what is known of it.

use crate::id::FileId;
use crate::ledger::name::Name;
use crate::time::WallTime;

/// What a name must mean for a write to take place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Expect {
    /// Anything or nothing.
    #[default]
    Any,
    /// Nothing: the name must be new.
    Absent,
    /// Exactly this version.
    Version(u64),
}

/// A file, by one of its names or by its content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// What the name means now.
    Name(Name),
    /// This content, whatever it is called.
    Content(FileId),
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileStat {
    /// Its name; `None` when it was asked for by content.
    pub name: Option<Name>,
    /// Grows with every change of any name; a name that is stored again has a larger one. 0 when asked by content.
    pub version: u64,
    /// When the name got its meaning, in ledger time.
    pub stored_at: WallTime,
    /// SHA-256 of the content.
    pub file: FileId,
    /// Bytes.
    pub size: u64,
    /// Bytes of every chunk but the last.
    pub block_bytes: u32,
    /// Chunks; 0 for an empty file, and for content that is part of the ledger entry.
    pub chunks: u32,
    /// How many names mean this content.
    pub names: u64,
    /// Whether a clean has given the content up: there are no chunks to be read until it is stored again.
    pub missing: bool,
}

/// What has become of the name of a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It was deleted, and has not been stored since.
    Deleted,
    /// It had a time to live, which was over, and has not been stored since.
    Expired,
    /// It got another meaning: at once, or after it was deleted or had expired.
    Overwritten,
}

/// What is known of a tombstone: what a name meant, and can mean again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TombstoneStat {
    /// The name.
    pub name: Name,
    /// The version that the name had.
    pub version: u64,
    /// When the name got that meaning, in ledger time.
    pub stored_at: WallTime,
    /// When the name lost it, in ledger time.
    pub went_at: WallTime,
    /// What has become of the name.
    pub reason: Reason,
    /// SHA-256 of the content.
    pub file: FileId,
    /// Bytes.
    pub size: u64,
    /// Whether a clean has given the content up: a name that gets it back has no chunks to be read.
    pub missing: bool,
}
