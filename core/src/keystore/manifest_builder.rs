//! Makes the manifest of a file while its chunks come, without ever holding more than one unfinished node a level.

use alloc::vec::Vec;

use crate::config::Geometry;
use crate::id::VerifiedChunk;
use crate::keystore::ingest::FileDigest;
use crate::keystore::manifest::{Body, Entry, Manifest, Tree};
use crate::keystore::manifest_node::ManifestNode;
use crate::limits::{CHUNKS_MAX, MANIFEST_LEVELS_MAX};

/// A file with more chunks than a manifest can list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file has more than {chunks_max} chunks")]
pub struct ManifestFull {
    /// As many as there can be.
    pub chunks_max: u64,
}

/// How many chunks a manifest can list.
#[must_use]
pub fn chunks_max(geometry: &Geometry) -> u64 {
    let tree = u64::from(geometry.manifest_fanout).pow(u32::from(MANIFEST_LEVELS_MAX));
    tree.max(u64::from(geometry.manifest_entries_max)).min(u64::from(CHUNKS_MAX))
}

/// Collects the chunks of a file in order.
#[derive(Debug)]
pub struct ManifestBuilder {
    entries_max: usize,
    fanout: usize,
    chunks_max: u64,
    chunks: u64,
    size: u64,
    /// All entries while they are few enough for the ledger entry, else empty.
    inline: Vec<Entry>,
    /// The unfinished node of each level, leaves first; empty while `inline` is in use.
    /// Invariant: each has fewer than `fanout` entries, and the last one is not empty.
    open: Vec<Vec<Entry>>,
}

impl ManifestBuilder {
    /// A manifest of no chunks yet.
    #[must_use]
    pub fn new(geometry: &Geometry) -> Self {
        Self {
            entries_max: geometry.manifest_entries_max as usize,
            fanout: geometry.manifest_fanout as usize,
            chunks_max: chunks_max(geometry),
            chunks: 0,
            size: 0,
            inline: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Bytes of all chunks so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Chunks so far.
    #[must_use]
    pub const fn chunks(&self) -> u64 {
        self.chunks
    }

    /// The first chunk, while there is no other.
    #[must_use]
    pub fn only(&self) -> Option<&Entry> {
        if self.chunks == 1 { self.inline.first() } else { None }
    }

    /// Adds the next chunk. Manifest chunks that become full are appended to `out`: at most one a level, but for the one
    /// push that turns the inline entries into a tree.
    ///
    /// # Errors
    /// When there are as many chunks as a manifest can list; nothing is changed then.
    pub fn push(&mut self, entry: Entry, out: &mut Vec<VerifiedChunk>) -> Result<(), ManifestFull> {
        assert!(entry.bytes > 0, "a chunk is never empty");
        if self.chunks == self.chunks_max {
            return Err(ManifestFull { chunks_max: self.chunks_max });
        }
        self.chunks += 1;
        self.size += u64::from(entry.bytes);
        if self.open.is_empty() && self.inline.len() < self.entries_max {
            self.inline.push(entry);
            return Ok(());
        }
        for held in core::mem::take(&mut self.inline) {
            self.push_to_tree(held, out);
        }
        self.push_to_tree(entry, out);
        Ok(())
    }

    /// Ends the file: appends the remaining manifest chunks to `out`, at most one a level, and gives the manifest.
    ///
    /// # Panics
    /// When there is no chunk, or the chunks do not make `digest` in blocks of `block_bytes`. The owner has checked that.
    #[must_use]
    pub fn finish(self, digest: FileDigest, block_bytes: u32, out: &mut Vec<VerifiedChunk>) -> Manifest {
        assert!(self.chunks > 0, "content without chunks is inline");
        assert_eq!(self.size, digest.size, "the chunks make the file");
        let body = if self.open.is_empty() { Body::Entries(self.inline) } else { Body::Tree(self.close(out)) };
        let manifest = Manifest { file: digest.file, size: digest.size, block_bytes, body };
        assert!(manifest.layout().is_ok(), "a manifest that was built fits together: {:?}", manifest.layout());
        manifest
    }

    fn push_to_tree(&mut self, mut entry: Entry, out: &mut Vec<VerifiedChunk>) {
        for level in 1_u8.. {
            let index = usize::from(level) - 1;
            if self.open.len() == index {
                self.open.push(Vec::new());
            }
            let open = &mut self.open[index];
            open.push(entry);
            if open.len() < self.fanout {
                break;
            }
            let node = ManifestNode::encode(level, open);
            open.clear();
            entry = Entry { chunk: node.id(), bytes: 0 };
            out.push(node);
        }
        // A full tree of the highest level leaves its root alone in one level more, and no chunk comes after it.
        assert!(self.open.len() <= usize::from(MANIFEST_LEVELS_MAX) + 1, "chunks_max bounds the levels");
    }

    fn close(self, out: &mut Vec<VerifiedChunk>) -> Tree {
        let fanout = u32::try_from(self.fanout).expect("a geometry's fanout is a u32");
        let top = self.open.len();
        let mut carried = None;
        for (level, mut open) in (1_u8..).zip(self.open) {
            open.extend(carried.take());
            let at_top = usize::from(level) == top;
            if at_top
                && level > 1
                && let [root] = open.as_slice()
            {
                return Tree { root: root.chunk, levels: level - 1, fanout };
            }
            if open.is_empty() {
                continue;
            }
            let node = ManifestNode::encode(level, &open);
            if at_top {
                let root = node.id();
                out.push(node);
                return Tree { root, levels: level, fanout };
            }
            carried = Some(Entry { chunk: node.id(), bytes: 0 });
            out.push(node);
        }
        unreachable!("the highest level is never empty")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, RawConfig};
    use crate::id::{ChunkId, FileId};

    fn geometry(entries_max: u32, fanout: u32) -> Geometry {
        let raw = RawConfig { manifest_entries_max: entries_max, manifest_fanout: fanout, ..RawConfig::STANDARD };
        *Config::new(raw).unwrap().geometry()
    }

    fn entry(index: u64) -> Entry {
        Entry { chunk: ChunkId::of(&index.to_le_bytes()), bytes: 4 }
    }

    /// A file that is its only chunk has the same hash; any other may have any.
    fn digest(chunks: u64) -> FileDigest {
        let file = if chunks == 1 { *entry(0).chunk.as_bytes() } else { [7; 32] };
        FileDigest { file: FileId::from_bytes(file), size: 4 * chunks }
    }

    /// The tree built level by level from the whole list, and the nodes of it.
    fn naive(mut level_entries: Vec<Entry>, fanout: usize) -> (Tree, Vec<ChunkId>) {
        let mut nodes = Vec::new();
        let mut level = 0;
        loop {
            level += 1;
            let made: Vec<_> =
                level_entries.chunks(fanout).map(|part| ManifestNode::encode(level, part).id()).collect();
            nodes.extend(&made);
            if let [root] = made[..] {
                return (Tree { root, levels: level, fanout: fanout as u32 }, nodes);
            }
            level_entries = made.into_iter().map(|chunk| Entry { chunk, bytes: 0 }).collect();
        }
    }

    #[test]
    fn a_tree_is_the_one_built_from_the_whole_list() {
        for fanout in [2, 3, 4] {
            for chunks in 1..=u64::from(fanout).pow(4) {
                let mut builder = ManifestBuilder::new(&geometry(1, fanout));
                let mut nodes = Vec::new();
                for index in 0..chunks {
                    builder.push(entry(index), &mut nodes).unwrap();
                    let bound = usize::from(MANIFEST_LEVELS_MAX) * fanout as usize;
                    assert!(builder.open.iter().map(Vec::len).sum::<usize>() <= bound);
                }
                let manifest = builder.finish(digest(chunks), 4, &mut nodes);
                if chunks == 1 {
                    assert_eq!(manifest.body, Body::Entries([entry(0)].to_vec()));
                    continue;
                }
                let (tree, mut expected) = naive((0..chunks).map(entry).collect(), fanout as usize);
                assert_eq!(manifest.body, Body::Tree(tree), "{chunks} chunks, fanout {fanout}");
                let mut found: Vec<_> = nodes.iter().map(VerifiedChunk::id).collect();
                found.sort_unstable();
                expected.sort_unstable();
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn few_entries_stay_inline_even_with_a_smaller_fanout() {
        for chunks in 1..=5 {
            let mut builder = ManifestBuilder::new(&geometry(5, 2));
            let mut nodes = Vec::new();
            for index in 0..chunks {
                builder.push(entry(index), &mut nodes).unwrap();
            }
            assert_eq!(builder.only().is_some(), chunks == 1);
            let manifest = builder.finish(digest(chunks), 4, &mut nodes);
            assert_eq!(manifest.body, Body::Entries((0..chunks).map(entry).collect()));
            assert!(nodes.is_empty());
        }
        let mut builder = ManifestBuilder::new(&geometry(5, 2));
        let mut nodes = Vec::new();
        for index in 0..6 {
            builder.push(entry(index), &mut nodes).unwrap();
        }
        let tree = naive((0..6).map(entry).collect(), 2).0;
        assert_eq!(builder.finish(digest(6), 4, &mut nodes).body, Body::Tree(tree));
    }

    #[test]
    fn a_chunk_too_many_is_refused() {
        assert_eq!(chunks_max(&geometry(16, 1_024)), u64::from(u32::MAX));
        let mut builder = ManifestBuilder::new(&geometry(1, 2));
        let mut nodes = Vec::new();
        for index in 0..16 {
            builder.push(entry(index), &mut nodes).unwrap();
        }
        assert_eq!(builder.push(entry(16), &mut nodes), Err(ManifestFull { chunks_max: 16 }));
        assert_eq!(
            builder.finish(digest(16), 4, &mut nodes).body,
            Body::Tree(naive((0..16).map(entry).collect(), 2).0)
        );
    }
}
