//! The contents that clients store: made from a number, so that the expected bytes are cheap to know.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use dps_core::config::Geometry;
use dps_core::id::{FileId, VerifiedChunk};
use dps_core::keystore::ingest::{FileDigest, Ingest};
use dps_core::rng::{Rng, Seed};

use crate::draws::{below_power, pick};

/// A file cut into chunks.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    pub(crate) chunks: Vec<VerifiedChunk>,
    pub(crate) digest: FileDigest,
}

/// One content.
pub(crate) struct Content {
    pub(crate) bytes: Bytes,
    pub(crate) file: FileId,
    /// Cut with its size known.
    known: Cut,
    /// Cut as a pipe.
    piped: Cut,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} bytes", self.file, self.bytes.len())
    }
}

impl Content {
    fn new(geometry: &Geometry, bytes: Bytes) -> Self {
        let known = cut(geometry, &bytes, Some(bytes.len() as u64));
        let piped = cut(geometry, &bytes, None);
        assert_eq!(known.digest, piped.digest, "however a file is cut, it is the same file");
        Self { file: known.digest.file, bytes, known, piped }
    }

    /// The chunks, as a source with or without a known size gives them.
    pub(crate) fn cut(&self, piped: bool) -> &Cut {
        if piped { &self.piped } else { &self.known }
    }
}

fn cut(geometry: &Geometry, bytes: &Bytes, size: Option<u64>) -> Cut {
    let mut ingest = Ingest::new(geometry, size);
    let mut blocks = Vec::new();
    ingest.push(bytes.clone(), &mut blocks).expect("the source has as many bytes as it says");
    let digest = ingest.finish(&mut blocks).expect("the source has as many bytes as it says");
    Cut { chunks: blocks.into_iter().map(VerifiedChunk::new).collect(), digest }
}

/// Every content of a run.
#[derive(Debug)]
pub(crate) struct Library {
    geometry: Geometry,
    seed: Seed,
    sizes: Vec<u64>,
    made: Vec<Arc<Content>>,
    by_file: BTreeMap<FileId, Arc<Content>>,
}

impl Library {
    pub(crate) fn new(geometry: Geometry, large_file_blocks: u32, block_bytes_min: u32, seed: Seed) -> Self {
        let (min, max) = (u64::from(block_bytes_min), u64::from(geometry.block_bytes_max()));
        let inline = u64::from(geometry.inline_bytes_max());
        let large = (max * u64::from(large_file_blocks)).min(4 << 10);
        let edges = [0, 1, inline, min, max, 2 * max, 5 * max, large];
        let around = |edge: u64| [edge.saturating_sub(1), edge, edge + 1];
        Self {
            geometry,
            seed,
            sizes: edges.into_iter().flat_map(around).collect(),
            made: Vec::new(),
            by_file: BTreeMap::new(),
        }
    }

    /// The content that hashes to `file`.
    pub(crate) fn find(&self, file: FileId) -> Option<&Arc<Content>> {
        self.by_file.get(&file)
    }

    /// A content to store: mostly a new one, at times one of before.
    pub(crate) fn draw(&mut self, rng: &mut Rng) -> Arc<Content> {
        if !self.made.is_empty() && rng.chance(1, 4) {
            return Arc::clone(pick(rng, &self.made));
        }
        let size = if rng.chance(1, 2) { *pick(rng, &self.sizes) } else { below_power(rng, 0, 12) };
        self.make(rng, size)
    }

    /// A content of before.
    pub(crate) fn draw_old(&self, rng: &mut Rng) -> Option<Arc<Content>> {
        (!self.made.is_empty()).then(|| Arc::clone(pick(rng, &self.made)))
    }

    /// A content that shares no chunk with any other, and so can't suffer from what was damaged before.
    pub(crate) fn draw_fresh(&mut self, rng: &mut Rng) -> Arc<Content> {
        // Whole blocks: even the last chunk is too long to equal another by chance.
        let size = rng.between(1, 3) * u64::from(self.geometry.block_bytes_max());
        self.add(Vec::new(), size)
    }

    fn make(&mut self, rng: &mut Rng, size: u64) -> Arc<Content> {
        let len = usize::try_from(size).expect("contents are small");
        let mut begin = Vec::new();
        if rng.chance(1, 5)
            && let Some(other) = self.draw_old(rng)
        {
            // Begins like another file: its chunks are shared.
            begin.extend_from_slice(&other.bytes[..other.bytes.len().min(len)]);
        } else if rng.chance(1, 10) {
            // Equal chunks within one file.
            begin.resize(len, u8::try_from(rng.below(256)).expect("a byte"));
        }
        self.add(begin, size)
    }

    fn add(&mut self, mut bytes: Vec<u8>, size: u64) -> Arc<Content> {
        let size = usize::try_from(size).expect("contents are small");
        let mut stream = self.seed.split("content", self.made.len() as u64).rng();
        while bytes.len() < size {
            bytes.extend_from_slice(&stream.next_u64().to_le_bytes());
        }
        bytes.truncate(size);
        let content = Arc::new(Content::new(&self.geometry, Bytes::from(bytes)));
        let known = self.by_file.entry(content.file).or_insert_with(|| Arc::clone(&content));
        self.made.push(Arc::clone(known));
        Arc::clone(known)
    }
}
