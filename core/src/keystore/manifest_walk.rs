//! A cursor over the chunks of a file, or of a part of it, that asks for the manifest chunks it needs and no others.
//!
//! All blocks but the last have one length, so the chunk that holds a byte, and the path to its entry, are arithmetic.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{ChunkId, VerifiedChunk};
use crate::keystore::block::Layout;
use crate::keystore::manifest::{Body, Entry, Manifest, Tree};
use crate::keystore::manifest_codec::ManifestError;
use crate::keystore::manifest_node::{ManifestNode, NodeError};

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The bytes themselves: they are part of the ledger entry. Comes at most once, and nothing else with it.
    Inline(Bytes),
    /// This manifest chunk is needed. The same step comes again until it was fed or skipped.
    Node(ChunkId),
    /// This chunk, or a part of it.
    Chunk {
        /// Its number in the file, from 0.
        index: u32,
        /// The chunk.
        chunk: ChunkId,
        /// Bytes of the whole chunk.
        bytes: u32,
        /// Bytes of it before the range.
        skip: u32,
        /// Bytes of it in the range, at least 1.
        take: u32,
    },
    /// The range is complete.
    Done,
}

/// Where the entries are.
#[derive(Clone, Debug)]
enum Source {
    /// `None` once they were given out.
    Inline(Option<Bytes>),
    Entries(Vec<Entry>),
    Tree {
        tree: Tree,
        /// The nodes on the way to the next chunk, the root first, each with its number within its level.
        /// Invariant: at most one a level, and each is an entry of the one before.
        path: Vec<(u64, ManifestNode)>,
    },
}

/// The cursor. It holds at most one manifest chunk of each level.
#[derive(Clone, Debug)]
pub struct ManifestWalk {
    layout: Layout,
    source: Source,
    /// The first byte of the range.
    first: u64,
    /// The byte after the range.
    end: u64,
    /// The number of the next chunk.
    next: u64,
}

impl ManifestWalk {
    /// A walk over `bytes` bytes of a file from byte `first` on.
    ///
    /// # Errors
    /// When the manifest contradicts itself.
    ///
    /// # Panics
    /// When the file ends before the range does.
    pub fn new(manifest: &Manifest, first: u64, bytes: u64) -> Result<Self, ManifestError> {
        let layout = manifest.layout()?;
        let end = first.checked_add(bytes).expect("a range ends within its file");
        assert!(end <= manifest.size, "bytes {first} to {end} of {}", manifest.size);
        let source = match &manifest.body {
            Body::Inline(content) => Source::Inline(Some(content.clone())),
            Body::Entries(entries) => Source::Entries(entries.clone()),
            Body::Tree(tree) => Source::Tree { tree: *tree, path: Vec::new() },
        };
        let next = if bytes == 0 { 0 } else { u64::from(layout.index_of(first)) };
        Ok(Self { layout, source, first, end, next })
    }

    /// What comes next; a chunk is passed with it.
    pub fn step(&mut self) -> Step {
        let start = self.next * u64::from(self.layout.block_bytes());
        if self.first == self.end || start >= self.end {
            return Step::Done;
        }
        let index = self.index();
        let entry = match &mut self.source {
            Source::Inline(content) => {
                let Some(content) = content.take() else { return Step::Done };
                let bounds = |byte: u64| usize::try_from(byte).expect("inline content is short");
                return Step::Inline(content.slice(bounds(self.first)..bounds(self.end)));
            }
            Source::Entries(entries) => entries[index as usize],
            Source::Tree { tree, path } => match locate(*tree, path, self.next) {
                Ok(entry) => entry,
                Err(node) => return Step::Node(node),
            },
        };
        assert_eq!(entry.bytes, self.layout.bytes_of(index), "checked when the manifest and the node came in");
        self.next += 1;
        let skip = self.first.saturating_sub(start);
        let take = self.end.min(start + u64::from(entry.bytes)) - start - skip;
        let within = |bytes: u64| u32::try_from(bytes).expect("within a chunk");
        Step::Chunk { index, chunk: entry.chunk, bytes: entry.bytes, skip: within(skip), take: within(take) }
    }

    /// Hands in the manifest chunk that [`Step::Node`] asked for.
    ///
    /// # Errors
    /// When it is not the node that belongs there, although its bytes are what was asked for: whoever made the manifest
    /// made it wrong. The step stays the same.
    ///
    /// # Panics
    /// When another chunk was asked for, or none.
    pub fn feed(&mut self, chunk: &VerifiedChunk) -> Result<(), NodeError> {
        let layout = self.layout;
        let next = self.next;
        let Source::Tree { tree, path } = &mut self.source else { panic!("no manifest chunk was asked for") };
        assert_eq!(locate(*tree, path, next), Err(chunk.id()), "another manifest chunk was asked for");
        let level = level_below(*tree, path);
        let number = next / span(*tree, level);
        let node = ManifestNode::decode(chunk.bytes())?;
        check(&node, level, number, *tree, layout)?;
        path.push((number, node));
        assert!(path.len() <= usize::from(tree.levels), "one node a level");
        Ok(())
    }

    /// Passes all chunks under the manifest chunk that [`Step::Node`] asked for: it can't be had.
    ///
    /// # Panics
    /// When none was asked for.
    pub fn skip_node(&mut self) {
        let Source::Tree { tree, path } = &mut self.source else { panic!("no manifest chunk was asked for") };
        assert!(locate(*tree, path, self.next).is_err(), "no manifest chunk was asked for");
        let span = span(*tree, level_below(*tree, path));
        let next = (self.next / span + 1) * span;
        assert!(next > self.next, "skipping goes forward");
        self.next = next;
    }

    fn index(&self) -> u32 {
        u32::try_from(self.next).expect("a chunk within the range has a number")
    }
}

/// How many chunks of the file lie under a full node of `level`; 1 for level 0.
fn span(tree: Tree, level: u8) -> u64 {
    u64::from(tree.fanout).pow(u32::from(level))
}

/// The level of the node after the last one of `path`.
fn level_below(tree: Tree, path: &[(u64, ManifestNode)]) -> u8 {
    let known = u8::try_from(path.len()).expect("one node a level");
    tree.levels - known
}

/// The entry of chunk `index`, or the manifest chunk that is missing on the way to it. Nodes of `path` that are not on
/// that way are dropped.
fn locate(tree: Tree, path: &mut Vec<(u64, ManifestNode)>, index: u64) -> Result<Entry, ChunkId> {
    while let Some((number, node)) = path.last() {
        if *number == index / span(tree, node.level()) {
            break;
        }
        path.pop();
    }
    let Some((_, node)) = path.last() else { return Err(tree.root) };
    let child = index / span(tree, node.level() - 1) % u64::from(tree.fanout);
    let entry = node.entry(u32::try_from(child).expect("below the fanout"));
    if node.level() == 1 { Ok(entry) } else { Err(entry.chunk) }
}

/// Whether `node` is what the size of the file and the shape of the tree say node `number` of `level` must be.
fn check(node: &ManifestNode, level: u8, number: u64, tree: Tree, layout: Layout) -> Result<(), NodeError> {
    if node.level() != level {
        return Err(NodeError("its level does not suit its place"));
    }
    let below = u64::from(layout.count()).div_ceil(span(tree, level - 1));
    let first = number * u64::from(tree.fanout);
    if u64::from(node.count()) != u64::from(tree.fanout).min(below - first) {
        return Err(NodeError("its number of entries does not suit the file's size"));
    }
    if level > 1 {
        return Ok(());
    }
    let first = u32::try_from(first).expect("a leaf's first chunk has a number");
    if (0..node.count()).any(|slot| node.entry(slot).bytes != layout.bytes_of(first + slot)) {
        return Err(NodeError("a chunk's length does not suit the block length"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Geometry, RawConfig};
    use crate::crypto::hash::sha256;
    use crate::id::FileId;
    use crate::keystore::ingest::FileDigest;
    use crate::keystore::manifest_builder::ManifestBuilder;
    use alloc::collections::BTreeMap;
    use alloc::vec;
    use proptest::prelude::*;

    fn geometry(entries_max: u32, fanout: u32) -> Geometry {
        let raw = RawConfig { manifest_entries_max: entries_max, manifest_fanout: fanout, ..RawConfig::STANDARD };
        *Config::new(raw).unwrap().geometry()
    }

    type Nodes = BTreeMap<ChunkId, VerifiedChunk>;

    /// A file in blocks of `block` bytes with chunks of no real content, each different.
    fn build(size: u64, block: u32, geometry: &Geometry) -> (Manifest, Vec<Entry>, Nodes) {
        let layout = Layout::new(size, block).unwrap();
        let entries: Vec<_> = (0..layout.count())
            .map(|index| Entry { chunk: ChunkId::of(&index.to_le_bytes()), bytes: layout.bytes_of(index) })
            .collect();
        let (mut builder, mut nodes) = (ManifestBuilder::new(geometry), Vec::new());
        for entry in &entries {
            builder.push(*entry, &mut nodes).unwrap();
        }
        // The file that is its only chunk has the same hash; any other may have any.
        let file = FileId::from_bytes(if let [only] = entries[..] { *only.chunk.as_bytes() } else { [9; 32] });
        let manifest = builder.finish(FileDigest { file, size }, block, &mut nodes);
        (manifest, entries, nodes.into_iter().map(|node| (node.id(), node)).collect())
    }

    /// All steps of a walk, nodes fed as they are asked for.
    fn run(manifest: &Manifest, nodes: &Nodes, first: u64, bytes: u64) -> Vec<Step> {
        let mut walk = ManifestWalk::new(manifest, first, bytes).unwrap();
        let mut steps = Vec::new();
        loop {
            let step = walk.step();
            steps.push(step.clone());
            match step {
                Step::Node(id) => {
                    assert_eq!(walk.step(), Step::Node(id), "asked for until it comes");
                    walk.feed(&nodes[&id]).unwrap();
                }
                Step::Done => return steps,
                Step::Inline(_) | Step::Chunk { .. } => {}
            }
        }
    }

    /// The chunks of a range, one by one.
    fn naive(entries: &[Entry], first: u64, bytes: u64) -> Vec<Step> {
        let (mut start, end) = (0, first + bytes);
        let mut steps = Vec::new();
        for (index, entry) in (0..).zip(entries) {
            let stop = start + u64::from(entry.bytes);
            let (low, high) = (start.max(first), stop.min(end));
            if low < high {
                let (skip, take) = ((low - start) as u32, (high - low) as u32);
                steps.push(Step::Chunk { index, chunk: entry.chunk, bytes: entry.bytes, skip, take });
            }
            start = stop;
        }
        steps
    }

    #[test]
    fn inline_content_is_one_step() {
        let manifest = Manifest::inline(FileId::from_bytes(sha256(b"hello")), b"hello");
        let none = Nodes::new();
        assert_eq!(run(&manifest, &none, 0, 5), [Step::Inline(Bytes::from_static(b"hello")), Step::Done]);
        assert_eq!(run(&manifest, &none, 1, 3), [Step::Inline(Bytes::from_static(b"ell")), Step::Done]);
        assert_eq!(run(&manifest, &none, 5, 0), [Step::Done]);
        assert_eq!(run(&Manifest::inline(FileId::from_bytes(sha256(b"")), b""), &none, 0, 0), [Step::Done]);
    }

    #[test]
    fn one_byte_of_a_long_file_needs_one_node_a_level() {
        let (manifest, entries, nodes) = build(27 * 4, 4, &geometry(1, 3));
        let steps = run(&manifest, &nodes, 55, 1);
        assert_eq!(steps.iter().filter(|step| matches!(step, Step::Node(_))).count(), 3);
        assert_eq!(
            steps[3..],
            [Step::Chunk { index: 13, chunk: entries[13].chunk, bytes: 4, skip: 3, take: 1 }, Step::Done]
        );
    }

    #[test]
    fn a_node_that_does_not_belong_is_refused_and_can_be_skipped() {
        let (manifest, entries, _) = build(7, 1, &geometry(1, 3));
        let Body::Tree(tree) = manifest.body.clone() else { panic!("a tree") };
        let inner = |count: usize| vec![Entry { chunk: ChunkId::of(b"leaf"), bytes: 0 }; count];
        let mut long = entries[..3].to_vec();
        long[2].bytes = 2;
        for (level, wrong) in [(1, entries[..3].to_vec()), (2, inner(2)), (3, inner(3))] {
            let node = ManifestNode::encode(level, &wrong);
            let manifest = Manifest { body: Body::Tree(Tree { root: node.id(), ..tree }), ..manifest.clone() };
            let mut walk = ManifestWalk::new(&manifest, 0, 7).unwrap();
            assert!(walk.feed(&node).is_err(), "level {level}");
            assert_eq!(walk.step(), Step::Node(node.id()));
        }
        for leaf in [entries[..2].to_vec(), long] {
            let leaf = ManifestNode::encode(1, &leaf);
            let mut children = inner(3);
            children[0].chunk = leaf.id();
            let root = ManifestNode::encode(2, &children);
            let manifest = Manifest { body: Body::Tree(Tree { root: root.id(), ..tree }), ..manifest.clone() };
            let mut walk = ManifestWalk::new(&manifest, 0, 7).unwrap();
            walk.feed(&root).unwrap();
            assert!(walk.feed(&leaf).is_err());
            walk.skip_node();
            assert_eq!(walk.step(), Step::Node(children[1].chunk));
            walk.skip_node();
            walk.skip_node();
            assert_eq!(walk.step(), Step::Done);
        }
    }

    #[test]
    fn bytes_that_are_no_node_are_refused() {
        let junk = VerifiedChunk::new(Bytes::from_static(b"junk"));
        let (manifest, _, _) = build(7, 1, &geometry(1, 3));
        let Body::Tree(tree) = manifest.body else { panic!("a tree") };
        let manifest = Manifest { body: Body::Tree(Tree { root: junk.id(), ..tree }), ..manifest };
        let mut walk = ManifestWalk::new(&manifest, 0, 7).unwrap();
        assert!(walk.feed(&junk).is_err());
        let wrong = Manifest { size: 8, block_bytes: 8, ..manifest };
        assert!(ManifestWalk::new(&wrong, 0, 8).is_err());
    }

    proptest! {
        #[test]
        fn a_walk_is_the_naive_list_and_touches_what_it_needs(
            size in 1_u64..400,
            block in 1_u32..9,
            (entries_max, fanout) in (1_u32..6, 2_u32..6),
            (from, to) in (any::<u64>(), any::<u64>()),
        ) {
            let size = size.min(u64::from(fanout).pow(4) * u64::from(block));
            let block = u32::try_from(u64::from(block).min(size)).unwrap();
            let (manifest, entries, nodes) = build(size, block, &geometry(entries_max, fanout));
            let first = from % (size + 1);
            let bytes = to % (size - first + 1);
            let steps = run(&manifest, &nodes, first, bytes);
            let chunks: Vec<_> = steps.iter().filter(|step| matches!(step, Step::Chunk { .. })).cloned().collect();
            prop_assert_eq!(&chunks, &naive(&entries, first, bytes));

            // Needed are just the nodes with a chunk of the range under them: count them level by level.
            let asked = steps.iter().filter(|step| matches!(step, Step::Node(_))).count() as u64;
            let mut needed = 0;
            if let (Body::Tree(tree), true) = (&manifest.body, bytes > 0) {
                let (low, high) = (first / u64::from(block), (first + bytes - 1) / u64::from(block));
                for level in 1..=u32::from(tree.levels) {
                    let span = u64::from(fanout).pow(level);
                    needed += high / span - low / span + 1;
                }
            }
            prop_assert_eq!(asked, needed);
            prop_assert_eq!(steps.len() as u64, asked + chunks.len() as u64 + 1);
        }
    }
}
