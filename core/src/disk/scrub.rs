//! How far the scrub of the chunks is, in a slot of its own (format version 1).
//!
//! It is only remembered so that a restart does not begin anew: one slot is enough, and one that is lost, torn or of
//! another store means the beginning. Layout, little-endian: magic `dpsS` (4), version (1), zero (3), store (16), rounds
//! done (8), whether a round is under way (1), zero (7), the last chunk of it that was read, else zero (32), CRC-32 of all
//! before it (4).

use alloc::vec::Vec;

use bytes::Bytes;

use super::{DiskRequest, File, Slot, Verify};
use crate::id::ChunkId;
use crate::layout::Reader;

const MAGIC: [u8; 4] = *b"dpsS";
const VERSION: u8 = 1;

/// Bytes of the slot.
const POSITION_LEN: u32 = 76;

/// The staged file in which it is made: the first of those that a start uses for its boot record, which is over by then.
const SCRUB_STAGE: u64 = 0;

/// How far the scrub is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubPosition {
    /// Rounds over all chunks that were done.
    pub rounds: u64,
    /// The last chunk that was read in the round under way; `None` at its beginning.
    pub after: Option<ChunkId>,
}

impl ScrubPosition {
    /// The bytes of its slot.
    #[must_use]
    pub fn encode(&self, store: &[u8; 16]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(POSITION_LEN as usize);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, 0, 0, 0]);
        bytes.extend_from_slice(store);
        bytes.extend_from_slice(&self.rounds.to_le_bytes());
        bytes.extend_from_slice(&u64::from(self.after.is_some()).to_le_bytes());
        bytes.extend_from_slice(&self.after.map_or([0; 32], |chunk| *chunk.as_bytes()));
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the bytes of the slot of this store. Total: `None` for whatever is torn, rotten, of another store or of a
    /// version that this program does not know.
    #[must_use]
    pub fn decode(store: &[u8; 16], bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        let mut reader = Reader::new(covered);
        let sound = crc32fast::hash(covered) == u32::from_le_bytes(*crc)
            && reader.array().ok()? == MAGIC
            && reader.array().ok()? == [VERSION, 0, 0, 0]
            && reader.array().ok()? == *store;
        if !sound {
            return None;
        }
        let rounds = reader.u64().ok()?;
        let flag = reader.u64().ok()?;
        let after: [u8; 32] = reader.array().ok()?;
        let after = match flag {
            0 if after == [0; 32] => None,
            1 => Some(ChunkId::from_bytes(after)),
            _ => return None,
        };
        (reader.remaining() == 0).then_some(Self { rounds, after })
    }

    /// The request that reads it.
    #[must_use]
    pub const fn read() -> DiskRequest {
        DiskRequest::Read { file: File::Slot(Slot::Scrub), offset: 0, len: POSITION_LEN + 1, verify: Verify::None }
    }

    /// The requests that publish it, one after the other.
    #[must_use]
    pub fn publication(&self, store: &[u8; 16]) -> [DiskRequest; 2] {
        let parts = [Bytes::from(self.encode(store))].into();
        let append = DiskRequest::Append { file: File::Stage(SCRUB_STAGE), offset: 0, parts };
        [append, DiskRequest::Publish { stage: SCRUB_STAGE, to: File::Slot(Slot::Scrub) }]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::testing::fixed_cases;

    const STORE: [u8; 16] = [7; 16];

    #[test]
    fn golden_bytes() {
        let position = ScrubPosition { rounds: 3, after: Some(ChunkId::from_bytes([0xab; 32])) };
        let mut expected = b"dpsS\x01\0\0\0".to_vec();
        expected.extend_from_slice(&[7; 16]);
        expected.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[0xab; 32]);
        expected.extend_from_slice(&crc32fast::hash(&expected).to_le_bytes());
        assert_eq!(position.encode(&STORE), expected);
        assert_eq!(expected.len(), POSITION_LEN as usize);
    }

    #[test]
    fn another_stores_position_is_none() {
        let bytes = ScrubPosition::default().encode(&STORE);
        assert_eq!(ScrubPosition::decode(&STORE, &bytes), Some(ScrubPosition::default()));
        assert_eq!(ScrubPosition::decode(&[8; 16], &bytes), None);
    }

    proptest! {
        #![proptest_config(fixed_cases())]

        #[test]
        fn every_position_comes_back_and_no_other_bytes_do(
            rounds: u64,
            after in proptest::option::of(any::<[u8; 32]>()),
            at in any::<proptest::sample::Index>(),
            xor in 1..=255u8,
            end in any::<proptest::sample::Index>(),
        ) {
            let position = ScrubPosition { rounds, after: after.map(ChunkId::from_bytes) };
            let bytes = position.encode(&STORE);
            prop_assert_eq!(ScrubPosition::decode(&STORE, &bytes), Some(position));
            prop_assert_eq!(ScrubPosition::decode(&STORE, &bytes[..end.index(bytes.len())]), None);
            let mut longer = bytes.clone();
            longer.push(0);
            prop_assert_eq!(ScrubPosition::decode(&STORE, &longer), None);
            let mut broken = bytes.clone();
            broken[at.index(bytes.len())] ^= xor;
            prop_assert_eq!(ScrubPosition::decode(&STORE, &broken), None);
        }

        #[test]
        fn whatever_has_the_right_checksum_is_the_encoding_of_what_it_means(mut bytes in proptest::collection::vec(0..3u8, 72)) {
            bytes[..8].copy_from_slice(b"dpsS\x01\0\0\0");
            bytes[8..24].copy_from_slice(&STORE);
            bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
            if let Some(position) = ScrubPosition::decode(&STORE, &bytes) {
                prop_assert_eq!(position.encode(&STORE), bytes);
            }
        }
    }
}
