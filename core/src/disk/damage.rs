//! What recovery could not read although it was durable once.

use core::fmt;

use super::File;

/// What happened to a stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DamageKind {
    /// The records are there but broken.
    Broken,
    /// The file ends before its records do.
    Truncated,
    /// The file is gone.
    Missing,
    /// The disk refuses to read the stretch.
    Unreadable,
}

/// Records that were durable once and are lost. They are never cut: the file stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Damage {
    /// The file.
    pub file: File,
    /// Where the broken stretch starts, in bytes.
    pub offset: u64,
    /// The first lost record's position in the file, from 1.
    pub first: u64,
    /// The last lost record's position in the file, as far as that is known.
    pub last: u64,
    /// What happened.
    pub kind: DamageKind,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, first, last, kind } = self;
        match kind {
            DamageKind::Broken => write!(f, "{file} is broken at byte {offset}: records {first} to {last} are lost"),
            DamageKind::Truncated => write!(f, "{file} ends at byte {offset}: records {first} to {last} are lost"),
            DamageKind::Missing => write!(f, "{file} is missing: records {first} to {last} are lost"),
            DamageKind::Unreadable => {
                write!(f, "{file} can't be read from byte {offset}: records {first} to {last} are lost")
            }
        }
    }
}
