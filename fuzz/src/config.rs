//! Configurations: any numbers are refused by name or make a store that works.

use std::time::Duration;

use bytes::Bytes;
use dps_core::config::{Config, ConfigError, RawConfig};
use dps_core::crypto::hash::sha256;
use dps_core::id::VerifiedChunk;
use dps_core::keystore::block::{Layout, block_bytes, piped_block_bytes};
use dps_core::keystore::ingest::{FileDigest, Ingest};
use dps_core::keystore::manifest::Entry;
use dps_core::keystore::manifest_builder::{ManifestBuilder, chunks_max};
use dps_core::keystore::manifest_node::ManifestNode;
use dps_core::keystore::manifest_walk::{ManifestWalk, Step};
use dps_core::limits::{CHUNK_BYTES_MAX, INLINE_BYTES_MAX};

use crate::input::{Input, noise};

/// Bytes of the file that an accepted configuration cuts.
const FILE_BYTES_MAX: usize = 3_000;

/// Makes a configuration, and cuts, describes and walks a small file with one that is accepted.
///
/// # Panics
/// When a configuration is refused without a reason, or when the blocks of a file are not its bytes, do not keep their
/// lengths, depend on how the bytes came, or are not what the manifest lists.
pub fn config(data: &[u8]) {
    let asked = as_they_come(&mut Input::new(data));
    match Config::new(asked) {
        Ok(config) => judge_kept(asked, &config),
        Err(error) => judge_refusal(error),
    }
    let mut input = Input::new(data);
    let raw = raw(&mut input);
    let config = match Config::new(raw) {
        Ok(config) => config,
        Err(error) => return judge_refusal(error),
    };
    judge_kept(raw, &config);
    judge_any_size(&config, input.u64());
    let file = noise(u64::from(input.u8()), input.below(FILE_BYTES_MAX));
    let known = cut(&config, &file, true, &mut input);
    let piped = cut(&config, &file, false, &mut input);
    let size = file.len() as u64;
    assert_eq!(known.1, piped.1, "a file and a pipe are the same file");
    let (block, pipe) = (block_bytes(config.geometry(), size), piped_block_bytes(config.geometry(), size));
    assert_eq!(block == pipe, known.0 == piped.0, "the same blocks, where the rule is the same");
    describe(&config, block, &known);
    describe(&config, pipe, &piped);
}

/// Fields with nothing but the bytes in them.
fn as_they_come(input: &mut Input<'_>) -> RawConfig {
    RawConfig {
        block_bytes_min: input.u32(),
        block_bytes_max: input.u32(),
        blocks_target: input.u32(),
        large_file_blocks: input.u32(),
        inline_bytes_max: input.u32(),
        manifest_entries_max: input.u32(),
        manifest_fanout: input.u32(),
        volume_bytes: input.u64(),
        segment_bytes: input.u64(),
        ingest_bytes_max: input.u64(),
        settle_after: Duration::from_nanos(input.u64()),
        credit_timeout: Duration::new(input.u64(), input.u32() % 1_000_000_000),
        retain: Duration::new(input.u64(), 0),
        sweep_wait: Duration::from_nanos(input.u64()),
        scrub_period: Duration::from_nanos(input.u64()),
        snapshot_entries: input.u64(),
    }
}

/// What is accepted is what was asked for, and keeps the limits.
fn judge_kept(raw: RawConfig, config: &Config) {
    let geometry = config.geometry();
    assert_eq!(geometry.block_bytes_max(), raw.block_bytes_max);
    assert_eq!(geometry.inline_bytes_max(), raw.inline_bytes_max);
    assert_eq!(config.volume_bytes(), raw.volume_bytes);
    assert_eq!(config.segment_bytes(), raw.segment_bytes);
    assert_eq!(config.ingest_bytes_max(), raw.ingest_bytes_max);
    assert_eq!(config.settle_after(), raw.settle_after);
    assert_eq!(config.credit_timeout(), raw.credit_timeout);
    assert_eq!((config.retain(), config.sweep_wait()), (raw.retain, raw.sweep_wait));
    assert_eq!(config.scrub_period(), raw.scrub_period);
    assert_eq!(config.snapshot_entries(), raw.snapshot_entries);
    assert!(raw.block_bytes_min.is_power_of_two() && raw.block_bytes_max.is_power_of_two());
    assert!(raw.block_bytes_min <= raw.block_bytes_max && raw.block_bytes_max <= CHUNK_BYTES_MAX);
    assert!(raw.inline_bytes_max <= INLINE_BYTES_MAX && raw.inline_bytes_max < raw.block_bytes_min);
    assert!(raw.ingest_bytes_max >= u64::from(raw.block_bytes_max), "one chunk must fit");
}

/// Fields near their bounds as often as anywhere.
fn raw(input: &mut Input<'_>) -> RawConfig {
    let standard = RawConfig::STANDARD;
    if input.rarely(32) {
        return standard;
    }
    let max = exponent(input, 23);
    let min = if input.rarely(8) { exponent(input, 23) } else { max >> (input.u8() % 8) };
    RawConfig {
        block_bytes_max: max,
        block_bytes_min: min,
        blocks_target: small(input),
        large_file_blocks: small(input),
        inline_bytes_max: if input.rarely(8) { small(input) } else { min.saturating_sub(1).min(input.u8().into()) },
        manifest_entries_max: if input.rarely(8) { small(input) } else { 1 + u32::from(input.u8() % 16) },
        manifest_fanout: if input.rarely(8) { small(input) } else { 2 + u32::from(input.u16() % 1_023) },
        volume_bytes: if input.rarely(8) { input.u64() } else { 256 + u64::from(input.u16()) },
        segment_bytes: if input.rarely(8) { input.u64() } else { 256 + u64::from(input.u16()) },
        ingest_bytes_max: if input.rarely(8) { input.u64() } else { u64::from(max) + u64::from(input.u16()) },
        settle_after: if input.rarely(8) { Duration::new(input.u64(), 1) } else { standard.settle_after },
        credit_timeout: if input.rarely(8) { Duration::from_nanos(input.u64()) } else { standard.credit_timeout },
        retain: if input.rarely(8) { Duration::from_nanos(input.u64()) } else { standard.retain },
        sweep_wait: if input.rarely(8) { Duration::new(input.u64(), 0) } else { standard.sweep_wait },
        scrub_period: if input.rarely(8) { Duration::from_nanos(input.u64()) } else { standard.scrub_period },
        snapshot_entries: if input.rarely(8) { input.u64() } else { 1 + u64::from(input.u16()) },
    }
}

fn exponent(input: &mut Input<'_>, below: u8) -> u32 {
    if input.rarely(16) { input.u32() } else { 2 << (input.u8() % below) }
}

fn small(input: &mut Input<'_>) -> u32 {
    if input.rarely(8) { input.u32() } else { 1 + u32::from(input.u8() % 32) }
}

fn judge_refusal(error: ConfigError) {
    match error {
        ConfigError::OutOfBounds { value, low, high, field } => {
            assert!(!(low..=high).contains(&value), "{field}: {value} lies within {low} to {high}");
        }
        ConfigError::NotPowerOfTwo { value, field } => {
            assert!(!value.is_power_of_two(), "{field}: {value} is a power of two");
        }
    }
    assert!(!error.to_string().is_empty());
}

/// A file of any size has a block length within the bounds, however many blocks that makes.
fn judge_any_size(config: &Config, size: u64) {
    for block in [block_bytes(config.geometry(), size), piped_block_bytes(config.geometry(), size)] {
        assert_eq!(block == 0, size == 0, "a block length for every content");
        assert!(block <= config.geometry().block_bytes_max() && u64::from(block) <= size, "no longer than it may be");
        assert!(u64::from(block) == size || block.is_power_of_two(), "{block} is neither all nor a power of two");
        if let Ok(layout) = Layout::new(size, block)
            && let Some(last) = layout.count().checked_sub(1)
        {
            assert_eq!(layout.start_of(last) + u64::from(layout.bytes_of(last)), size, "the blocks are the file");
            assert_eq!(layout.index_of(size - 1), last, "and the last byte lies in the last one");
        }
    }
    assert!(chunks_max(config.geometry()) >= 1, "a manifest lists something");
}

/// The blocks of a file that comes in pieces.
fn cut(config: &Config, file: &[u8], known: bool, input: &mut Input<'_>) -> (Vec<Bytes>, FileDigest) {
    let size = file.len() as u64;
    let mut ingest = Ingest::new(config.geometry(), known.then_some(size));
    let (mut rest, mut blocks) = (file, Vec::new());
    while !rest.is_empty() {
        let wanted = ingest.wanted();
        assert!(wanted >= 1 && wanted <= CHUNK_BYTES_MAX as usize + 1, "{wanted} bytes are wanted");
        let len = if input.flag() { wanted } else { 1 + input.below(400) };
        let (piece, left) = rest.split_at(len.min(rest.len()));
        ingest.push(Bytes::copy_from_slice(piece), &mut blocks).expect("as many bytes as were declared");
        rest = left;
    }
    let digest = ingest.finish(&mut blocks).expect("as many bytes as were declared");
    assert_eq!((digest.size, digest.file.as_bytes()), (size, &sha256(file)), "the digest is the file's");
    assert_eq!(blocks.concat(), file, "the blocks are the file");
    let block = if known { block_bytes(config.geometry(), size) } else { piped_block_bytes(config.geometry(), size) };
    let layout = Layout::new(size, block).expect("a small file");
    assert_eq!(blocks.len(), layout.count() as usize, "as many as the layout says");
    for (index, block) in (0..).zip(&blocks) {
        assert_eq!(block.len(), layout.bytes_of(index) as usize, "each as long as the layout says");
    }
    (blocks, digest)
}

/// The manifest of the blocks lists just them.
fn describe(config: &Config, block: u32, (blocks, digest): &(Vec<Bytes>, FileDigest)) {
    if blocks.is_empty() || blocks.len() as u64 > chunks_max(config.geometry()) {
        return;
    }
    let entries: Vec<Entry> = blocks
        .iter()
        .map(|block| VerifiedChunk::new(block.clone()))
        .map(|chunk| Entry { chunk: chunk.id(), bytes: u32::try_from(chunk.bytes().len()).expect("at most 4 MiB") })
        .collect();
    let mut builder = ManifestBuilder::new(config.geometry());
    let mut nodes = Vec::new();
    for entry in &entries {
        builder.push(*entry, &mut nodes).expect("no more than a manifest lists");
    }
    let manifest = builder.finish(*digest, block, &mut nodes);
    assert!(nodes.iter().all(|node| ManifestNode::decode(node.bytes()).is_ok()), "nodes can be read");
    let mut walk = ManifestWalk::new(&manifest, 0, manifest.size).expect("a manifest that was built");
    let mut listed = Vec::new();
    loop {
        match walk.step() {
            Step::Inline(_) => panic!("nothing is inline"),
            Step::Node(id) => {
                let node = nodes.iter().find(|node| node.id() == id).expect("every node was given out");
                walk.feed(node).expect("and belongs where it is asked for");
            }
            Step::Chunk { chunk, bytes, skip, take, .. } => {
                assert_eq!((skip, take), (0, bytes), "chunks come whole");
                listed.push(Entry { chunk, bytes });
            }
            Step::Done => break,
        }
    }
    assert_eq!(listed, entries, "the manifest lists the blocks");
}
