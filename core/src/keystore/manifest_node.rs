//! The manifest chunk: one node of the tree that lists the chunks of a long file.
//!
//! Format 1, little-endian: magic `dpsM`, version `u8`, level `u8` (1 at the leaves), zero `u16`, count `u32`, zero
//! `u32`; then `count` entries of 36 bytes: identifier (32), length `u32` (of a chunk of the file at level 1, 0 above,
//! where the identifier is that of a manifest chunk). Anything else is an error.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::hash::HASH_LEN;
use crate::id::{ChunkId, VerifiedChunk};
use crate::keystore::manifest::Entry;
use crate::limits::{CHUNK_BYTES_MAX, MANIFEST_FANOUT_MAX, MANIFEST_LEVELS_MAX};

/// How a manifest chunk begins.
pub const MAGIC: [u8; 4] = *b"dpsM";

/// The format that is written, and the only one that is read.
pub const VERSION: u8 = 1;

/// Bytes before the entries.
const HEADER_LEN: usize = 16;

/// Bytes of an entry.
const ENTRY_LEN: usize = HASH_LEN + 4;

/// Why bytes are no manifest chunk, or not the one that belongs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the manifest chunk that belongs here: {0}")]
pub struct NodeError(
    /// What is wrong.
    pub &'static str,
);

/// A manifest chunk that was checked when it was decoded. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestNode {
    level: u8,
    count: u32,
    /// The entries; Invariant: `count` times [`ENTRY_LEN`] bytes.
    entries: Bytes,
}

impl ManifestNode {
    /// The chunk of a node with these entries.
    ///
    /// # Panics
    /// When level, number of entries or a length is out of its bounds, which is a bug of the caller.
    #[must_use]
    pub fn encode(level: u8, entries: &[Entry]) -> VerifiedChunk {
        let count = u32::try_from(entries.len()).expect("at most MANIFEST_FANOUT_MAX entries");
        let mut bytes = Vec::with_capacity(HEADER_LEN + ENTRY_LEN * entries.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, level, 0, 0]);
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for entry in entries {
            bytes.extend_from_slice(entry.chunk.as_bytes());
            bytes.extend_from_slice(&entry.bytes.to_le_bytes());
        }
        let bytes = Bytes::from(bytes);
        assert!(Self::decode(&bytes).is_ok(), "what is written can be read: level {level}, {count} entries");
        VerifiedChunk::new(bytes)
    }

    /// The node that a chunk's bytes are.
    ///
    /// # Errors
    /// The first thing that is not as the format says. Total: any bytes may come in.
    pub fn decode(bytes: &Bytes) -> Result<Self, NodeError> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(NodeError("it is shorter than a header"))?;
        let [m0, m1, m2, m3, version, level, z0, z1, c0, c1, c2, c3, z2, z3, z4, z5] = *header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(NodeError("it does not begin like one"));
        }
        if version != VERSION {
            return Err(NodeError("its version is unknown"));
        }
        if [z0, z1, z2, z3, z4, z5] != [0; 6] {
            return Err(NodeError("a reserved byte is not zero"));
        }
        if !(1..=MANIFEST_LEVELS_MAX).contains(&level) {
            return Err(NodeError("its level is out of bounds"));
        }
        let count = u32::from_le_bytes([c0, c1, c2, c3]);
        if !(1..=MANIFEST_FANOUT_MAX).contains(&count) {
            return Err(NodeError("its number of entries is out of bounds"));
        }
        let entries = bytes.slice(HEADER_LEN..);
        if entries.len() != ENTRY_LEN * count as usize {
            return Err(NodeError("its length does not suit its number of entries"));
        }
        let node = Self { level, count, entries };
        let lengths = if level == 1 { 1..=CHUNK_BYTES_MAX } else { 0..=0 };
        if (0..count).any(|slot| !lengths.contains(&node.entry(slot).bytes)) {
            return Err(NodeError("an entry's length is out of bounds"));
        }
        Ok(node)
    }

    /// 1 for a leaf, whose entries are chunks of the file; above, entries are manifest chunks of the level below.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// How many entries there are, at least 1.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Entry `slot`, from 0.
    ///
    /// # Panics
    /// When there is no such entry.
    #[must_use]
    pub fn entry(&self, slot: u32) -> Entry {
        assert!(slot < self.count, "entry {slot} of {}", self.count);
        let entry = &self.entries[ENTRY_LEN * slot as usize..][..ENTRY_LEN];
        let (chunk, bytes) = entry.split_first_chunk().expect("an entry is longer than an identifier");
        let bytes = bytes.try_into().expect("an entry ends with four bytes of length");
        Entry { chunk: ChunkId::from_bytes(*chunk), bytes: u32::from_le_bytes(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn leaf() -> Vec<Entry> {
        (1..=3).map(|bytes| Entry { chunk: ChunkId::of(&[bytes as u8]), bytes }).collect()
    }

    fn inner() -> Vec<Entry> {
        leaf().into_iter().map(|entry| Entry { bytes: 0, ..entry }).collect()
    }

    #[test]
    fn the_format_is_fixed() {
        let chunk = ManifestNode::encode(1, &[Entry { chunk: ChunkId::from_bytes([0xab; 32]), bytes: 0x0001_0203 }]);
        let mut expected = b"dpsM\x01\x01\0\0\x01\0\0\0\0\0\0\0".to_vec();
        expected.extend_from_slice(&[0xab; 32]);
        expected.extend_from_slice(&[3, 2, 1, 0]);
        assert_eq!(chunk.bytes(), &expected);
    }

    #[test]
    fn a_node_comes_back_as_it_was() {
        for (level, entries) in [(1, leaf()), (2, inner()), (MANIFEST_LEVELS_MAX, inner())] {
            let node = ManifestNode::decode(ManifestNode::encode(level, &entries).bytes()).unwrap();
            assert_eq!((node.level(), node.count()), (level, 3));
            assert_eq!((0..3).map(|slot| node.entry(slot)).collect::<Vec<_>>(), entries);
        }
    }

    #[test]
    fn every_departure_from_the_format_is_refused() {
        let good = ManifestNode::encode(1, &leaf()).bytes().to_vec();
        let set = |offset: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[offset] = value;
            bytes
        };
        let length_zero = [good[..HEADER_LEN + HASH_LEN].to_vec(), vec![0; 4], good[HEADER_LEN + ENTRY_LEN..].to_vec()];
        for (bytes, what) in [
            (vec![], "empty"),
            (good[..15].to_vec(), "half a header"),
            (good[..good.len() - 1].to_vec(), "a byte short"),
            ([good.clone(), vec![0]].concat(), "a byte more"),
            (set(0, b'D'), "magic"),
            (set(4, 2), "version"),
            (set(5, 0), "level 0"),
            (set(5, MANIFEST_LEVELS_MAX + 1), "level too high"),
            (set(5, 2), "lengths above the leaves"),
            (set(6, 1), "reserved"),
            (set(7, 1), "reserved"),
            (set(8, 0), "no entries"),
            (set(8, 4), "count"),
            (set(9, 5), "count over the fanout"),
            (set(12, 1), "reserved"),
            (set(15, 1), "reserved"),
            (set(HEADER_LEN + ENTRY_LEN - 1, 1), "length over the largest chunk"),
            (length_zero.concat(), "length 0"),
        ] {
            assert!(ManifestNode::decode(&Bytes::from(bytes)).is_err(), "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_come_back_the_same(
            mut bytes in prop::collection::vec(any::<u8>(), 0..160),
            level in 0_u8..6,
            count in 0_u8..5,
            honest in any::<bool>(),
        ) {
            if honest {
                bytes.resize(HEADER_LEN + ENTRY_LEN * usize::from(count), 0);
                bytes[..HEADER_LEN].copy_from_slice(&[b'd', b'p', b's', b'M', 1, level, 0, 0, count, 0, 0, 0, 0, 0, 0, 0]);
            }
            let bytes = Bytes::from(bytes);
            if let Ok(node) = ManifestNode::decode(&bytes) {
                let entries: Vec<_> = (0..node.count()).map(|slot| node.entry(slot)).collect();
                let again = ManifestNode::encode(node.level(), &entries);
                prop_assert_eq!(again.bytes(), &bytes);
            }
        }
    }
}
