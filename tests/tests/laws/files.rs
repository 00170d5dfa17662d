//! Small files and a geometry in which they cross every threshold.

use std::time::Duration;

use bytes::Bytes;
use dps_core::config::{Config, RawConfig};
use dps_core::disk::boot::BootRecord;
use dps_core::disk::record::FileKey;
use dps_core::id::VerifiedChunk;
use dps_core::keystore::block::{block_bytes, piped_block_bytes};
use dps_core::keystore::ingest::{FileDigest, Ingest};
use dps_core::keystore::manifest::{Entry, Manifest};
use dps_core::keystore::manifest_builder::ManifestBuilder;
use dps_core::ledger::file::FileStat;
use dps_core::ledger::name::Name;
use dps_core::rng::Rng;
use dps_core::time::WallTime;

/// Content up to this many bytes is inline.
pub(crate) const INLINE_BYTES_MAX: usize = 8;

/// Blocks of 32 to 128 bytes; volumes and segments that are soon full.
pub(crate) fn config() -> Config {
    let raw = RawConfig {
        block_bytes_min: 32,
        block_bytes_max: 128,
        blocks_target: 10,
        large_file_blocks: 8,
        inline_bytes_max: 8,
        manifest_entries_max: 3,
        manifest_fanout: 3,
        volume_bytes: 900,
        segment_bytes: 700,
        snapshot_entries: 20,
        ingest_bytes_max: 512,
        settle_after: Duration::from_millis(5),
        credit_timeout: Duration::from_millis(200),
        retain: Duration::from_millis(500),
        scrub_period: Duration::from_millis(200),
        sweep_wait: Duration::from_millis(100),
    };
    Config::new(raw).expect("a geometry within its bounds")
}

/// The first start of some store.
pub(crate) fn boot() -> BootRecord {
    BootRecord { store: [1; 16], key: FileKey([2; 16]), boot: 1, random: [3; 16] }
}

/// One of a few names, so that they meet.
pub(crate) fn name(rng: &mut Rng) -> Name {
    let text = ["a", "a/b", "a/bc", "d", "e"][index(rng, 5)];
    Name::new(text.as_bytes()).expect("plain words are names")
}

/// A number below `bound`.
pub(crate) fn index(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a length")
}

/// A file as a client has it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) chunks: Vec<VerifiedChunk>,
    pub(crate) digest: FileDigest,
    /// What is declared: nothing for a pipe.
    pub(crate) size: Option<u64>,
    bytes: Vec<u8>,
}

impl Source {
    /// The file of this number, cut as its size says or as a pipe is. Some numbers share chunks.
    pub(crate) fn new(number: u64, piped: bool) -> Self {
        let len = [0, 5, 8, 9, 40, 64, 300, 520, 1_300][usize::try_from(number % 9).expect("below nine")];
        let bytes: Vec<u8> = (0..len).map(|at: usize| u8::try_from((at / 32 + len) % 251).expect("a byte")).collect();
        let size = (!piped).then_some(len as u64);
        let mut ingest = Ingest::new(config().geometry(), size);
        let mut blocks = Vec::new();
        ingest.push(Bytes::from(bytes.clone()), &mut blocks).expect("as long as it says");
        let digest = ingest.finish(&mut blocks).expect("as long as it says");
        Self { chunks: blocks.into_iter().map(VerifiedChunk::new).collect(), digest, size, bytes }
    }

    pub(crate) fn drawn(rng: &mut Rng) -> Self {
        Self::new(rng.below(9), rng.chance(1, 3))
    }

    /// The manifest, and every chunk that must be stored: the file's and the manifest's own.
    pub(crate) fn stored(&self) -> (Manifest, Vec<VerifiedChunk>) {
        if self.bytes.len() <= INLINE_BYTES_MAX {
            return (Manifest::inline(self.digest.file, &self.bytes), Vec::new());
        }
        let (mut builder, mut stored) = (ManifestBuilder::new(config().geometry()), Vec::new());
        for chunk in &self.chunks {
            let bytes = u32::try_from(chunk.bytes().len()).expect("a short block");
            builder.push(Entry { chunk: chunk.id(), bytes }, &mut stored).expect("few chunks");
            stored.push(chunk.clone());
        }
        let cut = if self.size.is_some() { block_bytes } else { piped_block_bytes };
        let block = cut(config().geometry(), self.digest.size);
        (builder.finish(self.digest, block, &mut stored), stored)
    }
}

/// What is known of a file with this manifest.
pub(crate) fn stat(manifest: &Manifest) -> FileStat {
    FileStat {
        name: None,
        version: 0,
        stored_at: WallTime::default(),
        file: manifest.file,
        size: manifest.size,
        block_bytes: manifest.block_bytes,
        chunks: 0,
        names: 1,
        missing: false,
    }
}
