//! What was injected, so that a checker can tell an excused error from a bug.

/// How bytes were damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HarmKind {
    /// A bit flipped.
    Rot,
    /// A sector can't be read.
    Unreadable,
    /// A sector's bytes went elsewhere, or others came here.
    Misdirected,
    /// The end of the file is gone.
    Shortened,
}

/// Damage to a stretch of a file that was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Harm {
    /// The first byte.
    pub first: usize,
    /// One past the last byte.
    pub end: usize,
    /// How.
    pub kind: HarmKind,
    /// When: the disk's count of injections, from 1.
    pub stamp: u64,
}
