//! What makes a file out of chunks.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{ChunkId, FileId};
use crate::keystore::block::Layout;
use crate::keystore::manifest_codec::{self, ManifestError};
use crate::limits::INLINE_BYTES_MAX;

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

impl Manifest {
    /// The manifest of a content that is part of the ledger entry. The bytes are copied, so that an entry never keeps a
    /// larger buffer alive.
    ///
    /// # Panics
    /// When there are more than [`INLINE_BYTES_MAX`] bytes.
    #[must_use]
    pub fn inline(file: FileId, bytes: &[u8]) -> Self {
        assert!(bytes.len() <= INLINE_BYTES_MAX as usize, "{} bytes are too many to be inline", bytes.len());
        let len = u32::try_from(bytes.len()).expect("at most INLINE_BYTES_MAX");
        let body = Body::Inline(Bytes::copy_from_slice(bytes));
        Self { file, size: u64::from(len), block_bytes: len, body }
    }

    /// How the content lies in blocks, once the parts of the manifest were found to fit together.
    ///
    /// What is stored in manifest chunks is not looked at: [`super::manifest_walk::ManifestWalk`] checks that on its
    /// way.
    ///
    /// # Errors
    /// As [`manifest_codec::check`].
    pub fn layout(&self) -> Result<Layout, ManifestError> {
        manifest_codec::check(self)?;
        Ok(Layout::new(self.size, self.block_bytes).expect("the number of blocks was checked"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hash::sha256;

    #[test]
    fn inline_content_is_copied() {
        let buffer = Bytes::from(b"hello, and much more".to_vec());
        let part = buffer.slice(..5);
        let manifest = Manifest::inline(FileId::from_bytes(sha256(&part)), &part);
        drop(part);
        assert!(buffer.is_unique(), "the entry does not keep the buffer");
        assert_eq!(manifest.body, Body::Inline(Bytes::from_static(b"hello")));
        assert_eq!((manifest.size, manifest.block_bytes), (5, 5));
        assert_eq!(manifest.layout(), Ok(Layout::new(5, 5).unwrap()));
        let empty = Manifest::inline(FileId::from_bytes(sha256(b"")), b"");
        assert_eq!(empty.layout(), Ok(Layout::new(0, 0).unwrap()));
    }

    #[test]
    fn a_manifest_that_contradicts_itself_has_no_layout() {
        let wrong = Manifest { size: 6, ..Manifest::inline(FileId::from_bytes(sha256(b"hello")), b"hello") };
        assert!(wrong.layout().is_err());
    }
}
