//! Manifests: their bytes, and walks over trees whose nodes someone else has made.

use std::collections::BTreeMap;

use bytes::Bytes;
use dps_core::id::{ChunkId, FileId, VerifiedChunk};
use dps_core::keystore::block::Layout;
use dps_core::keystore::manifest::{Body, Entry, Manifest, Tree};
use dps_core::keystore::manifest_codec::{MANIFEST_BYTES_MAX, check, decode, encode};
use dps_core::keystore::manifest_node::ManifestNode;
use dps_core::keystore::manifest_walk::{ManifestWalk, Step};
use dps_core::limits::CHUNK_BYTES_MAX;

use crate::input::Input;

/// Steps of a walk that are looked at; a tree may name more chunks than anyone can count.
const STEPS_MAX: usize = 2_000;

type Nodes = BTreeMap<ChunkId, VerifiedChunk>;

/// Decodes bytes as a manifest, and makes manifests with any nodes below them and walks over a part of the file.
///
/// # Panics
/// When an accepted manifest is not written as it was read; when a walk leaves its range, repeats or skips a chunk, or
/// does not end.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = decode(data) {
        assert_eq!(encoded(&manifest), data, "there is one way to write a manifest down");
    }
    let mut input = Input::new(data);
    let mut nodes = Nodes::new();
    let manifest = if input.flag() { honest(&mut input, &mut nodes) } else { any(&mut input, &mut nodes) };
    match check(&manifest) {
        Ok(()) => {
            let bytes = encoded(&manifest);
            assert!(bytes.len() <= MANIFEST_BYTES_MAX, "{} bytes", bytes.len());
            assert_eq!(decode(&bytes).as_ref(), Ok(&manifest), "what is accepted comes back");
            walk(&manifest, &nodes, &mut input);
        }
        Err(error) => {
            assert_eq!(manifest.layout(), Err(error), "a manifest that is refused has no layout");
            assert!(!error.to_string().is_empty());
        }
    }
}

fn encoded(manifest: &Manifest) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(manifest, &mut bytes);
    bytes
}

/// A tree that fits its file, but for one node that may have been exchanged.
fn honest(input: &mut Input<'_>, nodes: &mut Nodes) -> Manifest {
    let fanout = 2 + input.below(4);
    let block_bytes = 1 + u32::from(input.u8());
    let chunks = 1 + input.below(fanout.pow(4).min(300));
    let last = 1 + u32::from(input.u8()) % block_bytes;
    let size = (chunks as u64 - 1) * u64::from(block_bytes) + u64::from(last);
    let mut level: Vec<Entry> = (0..chunks)
        .map(|index| Entry {
            chunk: ChunkId::of(&(index as u64).to_le_bytes()),
            bytes: if index + 1 == chunks { last } else { block_bytes },
        })
        .collect();
    let wrong = input.rarely(3).then(|| (input.u8() % 4 + 1, input.below(8)));
    let mut levels = 0;
    loop {
        levels += 1;
        let mut above = Vec::new();
        for (number, part) in level.chunks(fanout).enumerate() {
            let mut part = part.to_vec();
            if wrong == Some((levels, number)) {
                spoil(&mut part, levels, input);
            }
            let node = ManifestNode::encode(levels, &part);
            above.push(Entry { chunk: node.id(), bytes: 0 });
            nodes.insert(node.id(), node);
        }
        level = above;
        if let [root] = level[..] {
            let tree = Tree { root: root.chunk, levels, fanout: u32::try_from(fanout).expect("a small number") };
            let file = FileId::from_bytes([9; 32]);
            let block_bytes = if chunks == 1 { last } else { block_bytes };
            return Manifest { file, size, block_bytes, body: Body::Tree(tree) };
        }
    }
}

/// Entries that a node may have but the file does not.
fn spoil(part: &mut Vec<Entry>, level: u8, input: &mut Input<'_>) {
    let at = input.below(part.len());
    match input.below(4) {
        0 => part.push(part[at]),
        1 if part.len() > 1 => _ = part.remove(at),
        2 if level == 1 => part[at].bytes = 1 + input.u32() % CHUNK_BYTES_MAX,
        _ => part[at].chunk = ChunkId::from_bytes(input.digest()),
    }
}

/// A manifest with anything in its fields, and a few nodes with anything in theirs.
fn any(input: &mut Input<'_>, nodes: &mut Nodes) -> Manifest {
    let mut known = vec![ChunkId::of(b"a chunk"), ChunkId::from_bytes(input.digest())];
    for _ in 0..input.below(6) {
        let count = 1 + input.below(5);
        let level = 1 + input.u8() % 4;
        let bytes = if input.rarely(4) {
            Bytes::copy_from_slice(input.bytes(count * 20))
        } else {
            let mut entry = || Entry {
                chunk: known[input.below(known.len())],
                bytes: if level > 1 { 0 } else { 1 + u32::from(input.u8()) },
            };
            let entries: Vec<Entry> = (0..count).map(|_| entry()).collect();
            ManifestNode::encode(level, &entries).bytes().clone()
        };
        let node = VerifiedChunk::new(bytes);
        known.push(node.id());
        nodes.insert(node.id(), node);
    }
    let newest = known[known.len() - 1];
    let size = if input.flag() { u64::from(input.u16()) } else { input.u64() };
    let block_bytes = if input.flag() { u32::from(input.u8()) } else { input.u32() };
    let body = match input.below(4) {
        0 => {
            let len = input.below(600);
            Body::Inline(Bytes::copy_from_slice(input.bytes(len)))
        }
        1 => {
            let entry = |_| Entry { chunk: newest, bytes: u32::from(input.u8()) };
            Body::Entries((0..size % 20).map(entry).collect())
        }
        _ => {
            let fanout = if input.flag() { 2 + u32::from(input.u8() % 4) } else { input.u32() };
            Body::Tree(Tree { root: newest, levels: input.u8() % 6, fanout })
        }
    };
    let file = match &body {
        Body::Inline(bytes) if input.flag() => FileId::from_bytes(*ChunkId::of(bytes).as_bytes()),
        Body::Inline(_) | Body::Entries(_) | Body::Tree(_) => FileId::from_bytes(*newest.as_bytes()),
    };
    Manifest { file, size, block_bytes, body }
}

/// Walks over a part of the file. Nodes that don't belong, or that nobody has, are passed.
fn walk(manifest: &Manifest, nodes: &Nodes, input: &mut Input<'_>) {
    let layout = manifest.layout().expect("it was checked");
    let first = input.u64() % manifest.size.saturating_add(1).max(1);
    let left = manifest.size - first;
    let bytes = if input.flag() { left } else { input.u64() % left.saturating_add(1).max(1) };
    let mut walk = ManifestWalk::new(manifest, first, bytes).expect("it was checked");
    let mut judge = Judge { layout, first, end: first + bytes, next: None, taken: 0, passed: false };
    for _ in 0..STEPS_MAX {
        match walk.step() {
            Step::Inline(content) => {
                let Body::Inline(whole) = &manifest.body else { panic!("nothing is inline") };
                let range = usize::try_from(first).expect("short")..usize::try_from(first + bytes).expect("short");
                assert_eq!(content, whole[range], "the bytes of the range");
                judge.taken += content.len() as u64;
            }
            Step::Node(id) => {
                assert_eq!(walk.step(), Step::Node(id), "asked for until it comes");
                let fed = nodes.get(&id).is_some_and(|node| walk.feed(node).is_ok());
                if !fed {
                    judge.passed = true;
                    walk.skip_node();
                }
            }
            Step::Chunk { index, chunk: _, bytes, skip, take } => judge.chunk(index, bytes, skip, take),
            Step::Done => {
                assert!(judge.passed || judge.taken == bytes, "all of the range, and nothing else");
                assert_eq!(walk.step(), Step::Done, "the end is the end");
                return;
            }
        }
    }
    let reads = u64::try_from(STEPS_MAX).expect("a small number");
    assert!(u64::from(layout.count()) * 5 > reads, "a walk over {} chunks ends", layout.count());
}

/// What a walk has given out so far.
struct Judge {
    layout: Layout,
    first: u64,
    end: u64,
    /// The byte that must come next, unless something was passed.
    next: Option<u64>,
    taken: u64,
    passed: bool,
}

impl Judge {
    fn chunk(&mut self, index: u32, bytes: u32, skip: u32, take: u32) {
        assert!(index < self.layout.count(), "chunk {index} of {}", self.layout.count());
        assert_eq!(bytes, self.layout.bytes_of(index), "a chunk is as long as its block");
        assert!(take > 0 && skip.checked_add(take).is_some_and(|end| end <= bytes), "the part lies within the chunk");
        let start = self.layout.start_of(index) + u64::from(skip);
        assert!(start >= self.first && start + u64::from(take) <= self.end, "the part lies within the range");
        let expected = self.next.unwrap_or(self.first);
        assert!(start == expected || (self.passed && start > expected), "no byte comes twice or is left out");
        self.next = Some(start + u64::from(take));
        self.taken += u64::from(take);
    }
}
