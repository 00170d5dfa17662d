//! What records of volumes say of chunks, besides their bytes. Numbers are little-endian.
//!
//! | record | layout |
//! |---|---|
//! | marked chunk (kind 6) | identifier 32, mark 8; then the bytes of the chunk, which are not covered |
//! | mark (7) | identifier 32, mark 8: from this sequence on the chunk's mark is at least that |
//! | drop (8) | epoch 8, first volume 8, last volume 8, count 4, 4 zero; count identifiers of 32, ascending |
//!
//! A mark is never 0: a chunk whose mark is 0 is a record of kind 4. So there is one way to write each thing down.

use alloc::vec::Vec;

use super::{CHUNK_PREFIX_LEN, DROP_PREFIX_LEN, MARK_BODY_LEN};
use crate::id::ChunkId;
use crate::limits::{DROP_IDS_MAX, EPOCH_MAX};

/// A chunk and its mark: the body of a mark record, and what stands before the bytes of a marked chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MarkRecord {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its mark, from 1.
    pub mark: u64,
}

impl MarkRecord {
    /// The fixed layout.
    ///
    /// # Panics
    /// When the mark is 0 or beyond its bound.
    #[must_use]
    pub fn encode(&self) -> [u8; MARK_BODY_LEN] {
        assert!((1..=EPOCH_MAX).contains(&self.mark), "{} is no mark", self.mark);
        let mut body = [0; MARK_BODY_LEN];
        body[..CHUNK_PREFIX_LEN].copy_from_slice(self.chunk.as_bytes());
        body[CHUNK_PREFIX_LEN..].copy_from_slice(&self.mark.to_le_bytes());
        body
    }

    /// Reads the layout of [`MarkRecord::encode`]; `None` for anything that it does not write.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: &[u8; MARK_BODY_LEN] = body.try_into().ok()?;
        let chunk = ChunkId::from_bytes(*body.first_chunk().expect("32 of 40 bytes"));
        let mark = number(body, CHUNK_PREFIX_LEN);
        (1..=EPOCH_MAX).contains(&mark).then_some(Self { chunk, mark })
    }
}

/// Chunks that are gone: every copy of them with a smaller sequence than this record's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DropRecord {
    /// The sweep that dropped them, from 1.
    pub epoch: u64,
    /// The first volume that may hold a copy.
    pub from: u64,
    /// The last one. The record is needed as long as there is any from the first to this.
    pub through: u64,
    /// The chunks, ascending: 1 to [`DROP_IDS_MAX`].
    pub chunks: Vec<ChunkId>,
}

impl DropRecord {
    /// The fixed layout.
    ///
    /// # Panics
    /// When there are no chunks or too many, when they don't ascend, or when a number makes no sense.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.chunks.len()).expect("identifiers are bounded");
        let mut body = Vec::with_capacity(DROP_PREFIX_LEN + self.chunks.len() * CHUNK_PREFIX_LEN);
        for value in [self.epoch, self.from, self.through] {
            body.extend_from_slice(&value.to_le_bytes());
        }
        body.extend_from_slice(&count.to_le_bytes());
        body.extend_from_slice(&[0; 4]);
        for chunk in &self.chunks {
            body.extend_from_slice(chunk.as_bytes());
        }
        assert!(Self::is_valid(&body), "a drop record makes sense: {self:?}");
        body
    }

    /// Reads the layout of [`DropRecord::encode`]; `None` for anything that it does not write.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        if !Self::is_valid(body) {
            return None;
        }
        let (ids, _) = body[DROP_PREFIX_LEN..].as_chunks::<CHUNK_PREFIX_LEN>();
        let chunks = ids.iter().map(|id| ChunkId::from_bytes(*id)).collect();
        Some(Self { epoch: number(body, 0), from: number(body, 8), through: number(body, 16), chunks })
    }

    /// Whether [`DropRecord::decode`] reads these bytes.
    #[must_use]
    pub fn is_valid(body: &[u8]) -> bool {
        if body.len() < DROP_PREFIX_LEN {
            return false;
        }
        let (ids, rest) = body[DROP_PREFIX_LEN..].as_chunks::<CHUNK_PREFIX_LEN>();
        let (epoch, from, through) = (number(body, 0), number(body, 8), number(body, 16));
        rest.is_empty()
            && (1..=DROP_IDS_MAX).contains(&ids.len())
            // The count is a number of four bytes before four that are zero.
            && number(body, 24) == ids.len() as u64
            && ids.is_sorted_by(|a, b| a < b)
            && (1..=EPOCH_MAX).contains(&epoch)
            && (1..=through).contains(&from)
    }
}

fn number(body: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(body[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::super::{FileKey, FileKind, HEADER_LEN, Header, Kind, Parsed, Stamp, parse};
    use super::*;

    fn any_drop() -> impl Strategy<Value = DropRecord> {
        let chunks = proptest::collection::btree_set(any::<[u8; 32]>(), 1..20);
        let numbers = (1..=EPOCH_MAX, 1..=u64::MAX, 1..=u64::MAX);
        (numbers, chunks).prop_map(|((epoch, a, b), chunks)| DropRecord {
            epoch,
            from: a.min(b),
            through: a.max(b),
            chunks: chunks.into_iter().map(ChunkId::from_bytes).collect(),
        })
    }

    fn small() -> DropRecord {
        let chunks = vec![ChunkId::from_bytes([1; 32]), ChunkId::from_bytes([2; 32])];
        DropRecord { epoch: 3, from: 4, through: 6, chunks }
    }

    /// Golden: stores written today must be readable for ever.
    #[test]
    fn the_layouts_are_fixed_for_ever() {
        let mark = MarkRecord { chunk: ChunkId::from_bytes([7; 32]), mark: 0x0102 };
        let expected = ["07".repeat(32).as_str(), "0201000000000000"].concat();
        assert_eq!(HEXLOWER.encode(&mark.encode()), expected);
        let expected = [
            "030000000000000004000000000000000600000000000000",
            "0200000000000000",
            &"01".repeat(32),
            &"02".repeat(32),
        ];
        assert_eq!(HEXLOWER.encode(&small().encode()), expected.concat());
    }

    /// Golden: whole records, with their headers.
    #[test]
    fn the_kinds_are_fixed_for_ever() {
        let stamp = Stamp::new(&FileKey([3; 16]), FileKind::Volume, 7);
        let mark = MarkRecord { chunk: ChunkId::from_bytes([7; 32]), mark: 9 };
        let (prefix, dropped) = (mark.encode(), small().encode());
        let cases: [(Kind, &[u8], u32, &str); 3] = [
            (
                Kind::MarkedChunk,
                &prefix,
                45,
                "64707356010600000700000000000000020000000000000005000000000000002c01000000000000040000000000000053af3325d6f386142d0000006e089221",
            ),
            (
                Kind::Mark,
                &prefix,
                40,
                "64707356010700000700000000000000020000000000000005000000000000002c01000000000000040000000000000053af3325d6f3861428000000ddd7c73c",
            ),
            (
                Kind::Drop,
                &dropped,
                96,
                "64707356010800000700000000000000020000000000000005000000000000002c01000000000000040000000000000053af3325d6f3861460000000dd17f04b",
            ),
        ];
        for (kind, covered, body_len, expected) in cases {
            let header = Header { kind, boot: 2, position: 5, sequence: 300, durable_through: 4, body_len };
            let mut bytes = Vec::new();
            header.encode(&stamp, 640, covered, &mut bytes);
            assert_eq!(HEXLOWER.encode(&bytes[..HEADER_LEN]), expected);
            assert_eq!(&bytes[HEADER_LEN..], covered);
            assert_eq!(parse(&stamp, 640, &bytes), Parsed::Record(header));
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_record() {
        let mark = MarkRecord { chunk: ChunkId::from_bytes([7; 32]), mark: 1 }.encode();
        let with = |mark: u64, body: [u8; MARK_BODY_LEN]| {
            let mut body = body;
            body[32..].copy_from_slice(&mark.to_le_bytes());
            MarkRecord::decode(&body).is_some()
        };
        assert_eq!([0, 1, EPOCH_MAX, EPOCH_MAX + 1].map(|value| with(value, mark)), [false, true, true, false]);
        assert_eq!(MarkRecord::decode(&mark[..39]), None);
        let body = small().encode();
        let broken = |at: usize, value: u8| {
            let mut body = body.clone();
            body[at] = value;
            !DropRecord::is_valid(&body) && DropRecord::decode(&body).is_none()
        };
        assert!(broken(0, 0), "no epoch");
        assert!(broken(7, 1), "an epoch beyond its bound");
        assert!(broken(8, 0), "no first volume");
        assert!(broken(8, 7), "the last volume before the first");
        assert!(broken(24, 1) && broken(24, 3), "another count");
        assert!(broken(28, 1), "not zero");
        assert!(broken(64, 0), "not ascending");
        let twice = [&body[..64], &body[32..64]].concat();
        assert!(!DropRecord::is_valid(&twice), "a chunk twice");
        assert!(!broken(16, 7));
        for end in [0, 31, 32, 63, 64, 95] {
            assert_eq!(DropRecord::decode(&body[..end]), None);
        }
        let many = |count: usize| {
            let chunks = (0..count as u64).map(|n| [[0; 24].as_slice(), &n.to_be_bytes()].concat());
            let chunks = chunks.map(|bytes| ChunkId::from_bytes(bytes.try_into().unwrap())).collect();
            DropRecord { chunks, ..small() }
        };
        let full = many(DROP_IDS_MAX).encode();
        assert_eq!(full.len(), DROP_PREFIX_LEN + 32 * DROP_IDS_MAX);
        let mut over = full;
        over.extend_from_slice(&[255; 32]);
        over[24..28].copy_from_slice(&1_025_u32.to_le_bytes());
        assert!(!DropRecord::is_valid(&over));
    }

    proptest! {
        #[test]
        fn what_is_written_comes_back(dropped in any_drop(), chunk: [u8; 32], mark in 1..=EPOCH_MAX) {
            let body = dropped.encode();
            prop_assert_eq!(DropRecord::decode(&body), Some(dropped));
            let mark = MarkRecord { chunk: ChunkId::from_bytes(chunk), mark };
            prop_assert_eq!(MarkRecord::decode(&mark.encode()), Some(mark));
        }

        #[test]
        fn there_is_one_way_to_write_a_thing_down(
            dropped in any_drop(),
            changes in proptest::collection::vec((0..200usize, any::<u8>()), 0..3),
            end in 0..2_000usize,
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut body = dropped.encode();
            for (at, value) in changes {
                let len = body.len();
                body[at % len] = value;
            }
            body.truncate(end);
            for body in [body, bytes] {
                if let Some(dropped) = DropRecord::decode(&body) {
                    prop_assert_eq!(dropped.encode(), &body[..]);
                }
                if let Some(mark) = MarkRecord::decode(&body) {
                    prop_assert_eq!(&mark.encode()[..], &body[..]);
                }
            }
        }
    }
}
