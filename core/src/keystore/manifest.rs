//! What makes a file out of chunks.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{ChunkId, FileId};

/// One chunk of a file, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its length.
    pub bytes: u32,
}

/// A manifest that is too long for the ledger entry: chunks of entries, under chunks of those, up to one root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tree {
    /// The chunk at the top.
    pub root: ChunkId,
    /// Levels of manifest chunks, the root's included: 1 to [`crate::limits::MANIFEST_LEVELS_MAX`].
    pub levels: u8,
    /// Entries of one manifest chunk; only the last one of a level may have fewer.
    pub fanout: u32,
}

/// Where the content is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// Here: at most [`crate::limits::INLINE_BYTES_MAX`] bytes, none for the empty file.
    Inline(Bytes),
    /// In these chunks: 1 to [`crate::limits::MANIFEST_INLINE_ENTRIES_MAX`].
    Entries(Vec<Entry>),
    /// In the chunks that a tree of manifest chunks lists.
    Tree(Tree),
}

/// A file as its content: what it hashes to and the chunks it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Manifest {
    /// SHA-256 of the content.
    pub file: FileId,
    /// Bytes of the content.
    pub size: u64,
    /// Bytes of every chunk but the last, which has the rest; 0 for the empty file.
    pub block_bytes: u32,
    /// Where the content is.
    pub body: Body,
}
