//! What makes a file out of chunks.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{ChunkId, FileId};
use crate::keystore::block::Layout;
use crate::limits::{INLINE_BYTES_MAX, MANIFEST_FANOUT_MAX, MANIFEST_INLINE_ENTRIES_MAX, MANIFEST_LEVELS_MAX};

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

/// A manifest whose parts do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the manifest contradicts itself: {0}")]
pub struct ManifestError(
    /// What does not fit.
    pub &'static str,
);

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

    /// Checks that the parts fit together and says how the content lies in blocks.
    ///
    /// What is stored in manifest chunks is not looked at: [`super::manifest_walk::ManifestWalk`] checks that on its way.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn layout(&self) -> Result<Layout, ManifestError> {
        if (self.size == 0) != (self.block_bytes == 0) || u64::from(self.block_bytes) > self.size {
            return Err(ManifestError("the block length does not suit the size"));
        }
        let layout =
            Layout::new(self.size, self.block_bytes).map_err(|_| ManifestError("there are too many blocks"))?;
        match &self.body {
            Body::Inline(bytes) => check_inline(bytes, layout)?,
            Body::Entries(entries) => check_entries(entries, layout)?,
            Body::Tree(tree) => check_tree(*tree, layout)?,
        }
        Ok(layout)
    }

    /// How many chunks the content is in: none where it is part of the ledger entry.
    ///
    /// # Errors
    /// As [`Manifest::layout`].
    pub fn chunks(&self) -> Result<u32, ManifestError> {
        let layout = self.layout()?;
        match self.body {
            Body::Inline(_) => Ok(0),
            Body::Entries(_) | Body::Tree(_) => Ok(layout.count()),
        }
    }
}

fn check_inline(bytes: &Bytes, layout: Layout) -> Result<(), ManifestError> {
    if bytes.len() as u64 != layout.size() || bytes.len() > INLINE_BYTES_MAX as usize || layout.count() > 1 {
        return Err(ManifestError("the inline content has another length"));
    }
    Ok(())
}

fn check_entries(entries: &[Entry], layout: Layout) -> Result<(), ManifestError> {
    let count = layout.count();
    if count == 0 || count > MANIFEST_INLINE_ENTRIES_MAX || entries.len() != count as usize {
        return Err(ManifestError("the number of entries does not suit the size"));
    }
    if (0..count).zip(entries).any(|(index, entry)| entry.bytes != layout.bytes_of(index)) {
        return Err(ManifestError("an entry's length does not suit the block length"));
    }
    Ok(())
}

fn check_tree(tree: Tree, layout: Layout) -> Result<(), ManifestError> {
    if !(2..=MANIFEST_FANOUT_MAX).contains(&tree.fanout) || !(1..=MANIFEST_LEVELS_MAX).contains(&tree.levels) {
        return Err(ManifestError("the tree's shape is out of bounds"));
    }
    let held = |levels: u8| u64::from(tree.fanout).pow(u32::from(levels));
    let count = u64::from(layout.count());
    if count == 0 || count > held(tree.levels) || (tree.levels > 1 && count <= held(tree.levels - 1)) {
        return Err(ManifestError("the tree's levels do not suit the number of chunks"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn entry(bytes: u32) -> Entry {
        Entry { chunk: ChunkId::of(&bytes.to_le_bytes()), bytes }
    }

    fn manifest(size: u64, block_bytes: u32, body: Body) -> Manifest {
        Manifest { file: FileId::from_bytes([1; 32]), size, block_bytes, body }
    }

    fn tree(levels: u8, fanout: u32) -> Body {
        Body::Tree(Tree { root: ChunkId::of(b"root"), levels, fanout })
    }

    #[test]
    fn manifests_that_fit_have_a_layout() {
        let inline = |bytes| Body::Inline(Bytes::from_static(bytes));
        for (good, chunks) in [
            (manifest(0, 0, inline(b"")), 0),
            (manifest(3, 3, inline(b"abc")), 0),
            (manifest(3, 3, Body::Entries(vec![entry(3)])), 1),
            (manifest(9, 4, Body::Entries(vec![entry(4), entry(4), entry(1)])), 3),
            (manifest(3, 1, tree(1, 3)), 3),
            (manifest(4, 1, tree(2, 3)), 4),
            (manifest(9, 1, tree(2, 3)), 9),
        ] {
            assert_eq!(good.chunks(), Ok(chunks), "{good:?}");
        }
        assert_eq!(Manifest::inline(FileId::from_bytes([1; 32]), b"abc"), manifest(3, 3, inline(b"abc")));
    }

    #[test]
    fn manifests_that_contradict_themselves_are_refused() {
        let inline = |bytes| Body::Inline(Bytes::from_static(bytes));
        for bad in [
            manifest(3, 0, inline(b"abc")),
            manifest(0, 3, inline(b"")),
            manifest(3, 4, inline(b"abc")),
            manifest(3, 3, inline(b"ab")),
            manifest(3, 2, inline(b"abc")),
            manifest(0, 0, Body::Entries(vec![])),
            manifest(9, 4, Body::Entries(vec![entry(4), entry(5)])),
            manifest(9, 4, Body::Entries(vec![entry(4), entry(1), entry(4)])),
            manifest(17, 1, Body::Entries(vec![entry(1); 17])),
            manifest(u64::MAX, 1, tree(4, 1_024)),
            manifest(0, 0, tree(1, 3)),
            manifest(4, 1, tree(1, 3)),
            manifest(3, 1, tree(2, 3)),
            manifest(3, 1, tree(0, 3)),
            manifest(3, 1, tree(5, 3)),
            manifest(3, 1, tree(1, 1)),
            manifest(3, 1, tree(1, 1_025)),
        ] {
            assert!(bad.layout().is_err(), "{bad:?}");
        }
    }
}
