//! Filters against what they must find, what they may find, and bytes written down by another program.

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::crypto::hash::sha256;

const SALT: [u8; SALT_LEN] = [0xaa; SALT_LEN];

fn ids(range: core::ops::Range<u32>) -> impl Iterator<Item = ChunkId> {
    range.map(|number| ChunkId::of(&number.to_le_bytes()))
}

fn filter(epoch: u64, salt: [u8; SALT_LEN], expected: u64, chunks: impl Iterator<Item = ChunkId>) -> Filter {
    let mut builder = Filter::builder(epoch, salt, expected);
    chunks.for_each(|chunk| builder.insert(&chunk));
    builder.finish()
}

fn encoded(filter: &Filter) -> Vec<Vec<u8>> {
    (0..filter.part_count()).map(|number| filter.encode_part(number)).collect()
}

fn assemble(parts: &[Vec<u8>]) -> Result<Filter, FilterError> {
    let mut assembly = FilterAssembly::new();
    for part in parts {
        assembly.push(FilterPart::decode(part)?)?;
    }
    assembly.finish()
}

/// How many of `chunks` are found.
fn found(filter: &Filter, chunks: impl Iterator<Item = ChunkId>) -> usize {
    chunks.filter(|chunk| filter.contains(chunk)).count()
}

#[test]
fn the_layout_never_changes() {
    let filter = filter(0x0102, SALT, 0, [ChunkId::of(b"abc")].into_iter());
    // Made by another program from the head of the module.
    let expected = [
        "64707346010000000000000040000000",
        "0201000000000000",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "00000000000000000000000000000020000000000000000000000000000000000000000002000000010080008000000000020000000000",
        "010000000000000010",
    ];
    assert_eq!(HEXLOWER.encode(&filter.encode_part(0)), expected.concat());
    let hash = "620031721fc72df7ce29924c97e41d1c1deb25ec297443c0df1b8797ad40ce2d";
    assert_eq!(HEXLOWER.encode(&filter.hash()), hash);
}

#[test]
fn the_hash_of_several_parts_never_changes() {
    let salt = core::array::from_fn(|index| index as u8);
    let filter = filter(7, salt, 131_073, ids(0..1_000));
    assert_eq!(filter.part_count(), 2);
    // Made by another program from the head of the module.
    let hash = "fd9ff67dfb8a43bf8f2574b22f50acc97ba6d9f57e82e28f2a87eb0495263a1d";
    assert_eq!(HEXLOWER.encode(&filter.hash()), hash);
}

#[test]
fn parts_are_as_few_and_as_small_as_do() {
    let most = u64::from(BITS_BYTES_MAX);
    for (expected, prefix_bits, bits_bytes) in [
        (0, 0, BITS_BYTES_MIN),
        (32, 0, BITS_BYTES_MIN),
        (33, 0, 66),
        (most / 2, 0, BITS_BYTES_MAX),
        (most / 2 + 1, 1, BITS_BYTES_MAX / 2 + 1),
        (1_000_000, 3, 250_000),
        (most / 2 * 4_096, 12, BITS_BYTES_MAX),
        (most * 4_096, 12, BITS_BYTES_MAX),
        (u64::MAX, 12, BITS_BYTES_MAX),
    ] {
        let shape = Shape::fitting(1, SALT, expected);
        assert_eq!((shape.prefix_bits, shape.bits_bytes), (prefix_bits, bits_bytes), "for {expected}");
        assert!(HEADER_LEN + shape.bits_bytes as usize <= FILTER_PART_BYTES_MAX as usize);
    }
    assert_eq!(Shape::fitting(1, SALT, u64::MAX).parts(), FILTER_PARTS_MAX);
}

#[test]
fn memory_comes_with_the_entries() {
    let mut builder = Filter::builder(1, SALT, u64::MAX);
    assert_eq!(builder.parts.len(), FILTER_PARTS_MAX as usize);
    ids(0..3).for_each(|chunk| builder.insert(&chunk));
    assert_eq!(builder.parts.iter().filter(|part| !part.is_empty()).count(), 3);
}

#[test]
fn few_are_found_by_mistake() {
    for expected in [1_000_u32, 50_000, 150_000] {
        let filter = filter(3, SALT, u64::from(expected), ids(0..expected));
        assert_eq!(found(&filter, ids(0..expected)), expected as usize, "all that is in it");
        // Theory says 0.574 in a thousand. The identifiers are fixed, so this comes out the same each time.
        let mistakes = found(&filter, ids(1_000_000..1_100_000));
        assert!((20..=100).contains(&mistakes), "{mistakes} of 100,000 by mistake, {expected} in it");
    }
}

#[test]
fn more_entries_than_expected_are_all_found() {
    let twice = filter(3, SALT, 20_000, ids(0..40_000));
    assert_eq!(found(&twice, ids(0..40_000)), 40_000);
    // Theory says 2.55 in a hundred at twice the entries.
    let mistakes = found(&twice, ids(1_000_000..1_010_000));
    assert!((100..=400).contains(&mistakes), "{mistakes} of 10,000 by mistake");
    let full = filter(3, SALT, 0, ids(0..10_000));
    assert_eq!(found(&full, ids(0..10_000)), 10_000, "a full filter finds everything");
}

#[test]
fn another_epoch_or_salt_makes_other_mistakes() {
    // Ground with one salt in hand: chunks that nobody refers to and that are found all the same.
    let chunks = || ids(0..2_000);
    let one = filter(3, SALT, 2_000, chunks());
    let ground: Vec<_> = ids(1_000_000..1_100_000).filter(|chunk| one.contains(chunk)).collect();
    assert!(ground.len() >= 20, "{} found by mistake", ground.len());
    let salt = core::array::from_fn(|index| SALT[index] ^ u8::from(index == SALT_LEN - 1));
    for other in [filter(4, SALT, 2_000, chunks()), filter(3, salt, 2_000, chunks())] {
        assert_ne!(other.hash(), one.hash());
        assert!(found(&other, ground.iter().copied()) <= 2, "what was ground is of no use");
        assert_eq!(found(&other, chunks()), 2_000);
    }
}

#[test]
fn a_part_answers_for_its_own_range() {
    let filter = filter(3, SALT, 300_000, ids(0..500));
    assert_eq!(filter.part_count(), 4);
    let parts: Vec<_> = encoded(&filter).iter().map(|bytes| FilterPart::decode(bytes).unwrap()).collect();
    for chunk in ids(0..1_000) {
        let owner = u32::from(chunk.as_bytes()[0] >> 6);
        for part in &parts {
            let answer = (part.number() == owner).then(|| filter.contains(&chunk));
            assert_eq!(part.contains(&chunk), answer, "part {} on {chunk}", part.number());
        }
    }
}

#[test]
fn every_departure_from_the_layout_is_told_apart() {
    let good = filter(1, SALT, 0, ids(0..3)).encode_part(0);
    let set = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let shape = |prefix_bits, bits_bytes| FilterError::Shape { prefix_bits, bits_bytes };
    for (bytes, error) in [
        (vec![], FilterError::Truncated),
        (good[..HEADER_LEN - 1].to_vec(), FilterError::Truncated),
        (good[..good.len() - 1].to_vec(), FilterError::Truncated),
        ([&good[..], &[0]].concat(), FilterError::Trailing { bytes: 1 }),
        (set(0, b'D'), FilterError::Magic),
        (set(4, 2), FilterError::Version { found: 2 }),
        (set(5, PREFIX_BITS_MAX + 1), shape(PREFIX_BITS_MAX + 1, BITS_BYTES_MIN)),
        (set(6, 1), FilterError::Reserved),
        (set(7, 1), FilterError::Reserved),
        (set(8, 1), FilterError::Number { number: 1, parts: 1 }),
        (set(12, 63), shape(0, 63)),
        (set(14, 4), shape(0, (256 << 10) + 64)),
        (set(12, 65), FilterError::Truncated),
    ] {
        assert_eq!(FilterPart::decode(&bytes).err(), Some(error));
    }
}

#[test]
fn only_the_parts_of_one_filter_in_order_make_a_filter() {
    let one = encoded(&filter(1, SALT, 300_000, ids(0..9)));
    let other = encoded(&filter(2, SALT, 300_000, ids(0..9)));
    let part = |parts: &[Vec<u8>], number: usize| parts[number].clone();
    assert_eq!(assemble(&one[..3]), Err(FilterError::Incomplete { found: 3 }));
    assert_eq!(assemble(&[]), Err(FilterError::Incomplete { found: 0 }));
    assert_eq!(assemble(&[part(&one, 0), part(&other, 1)]), Err(FilterError::OtherFilter));
    assert_eq!(assemble(&[part(&one, 0), part(&one, 2)]), Err(FilterError::OutOfOrder { expected: 1, found: 2 }));
    assert_eq!(assemble(&[part(&one, 1)]), Err(FilterError::OutOfOrder { expected: 0, found: 1 }));
    let more = [&one[..], &one[3..]].concat();
    assert_eq!(assemble(&more), Err(FilterError::OutOfOrder { expected: 4, found: 3 }));
}

#[test]
fn a_filter_is_hashed_part_by_part() {
    let mut builder = Filter::builder(1, SALT, 300_000);
    ids(0..9).for_each(|chunk| builder.insert(&chunk));
    let whole = builder.clone().finish();
    let mut sealing = builder.seal();
    for hashed in 0..4 {
        assert_eq!(sealing.progress(), (hashed, 4));
        assert!(sealing.advance());
    }
    assert!(!sealing.advance());
    let filter = sealing.finish();
    assert_eq!(filter, whole);
    let mut tree = MerkleTree::new();
    encoded(&filter).iter().for_each(|part| tree.push(&[part]));
    assert_eq!(filter.hash(), tree.root());
}

#[test]
#[should_panic(expected = "all parts were hashed")]
fn a_filter_that_is_not_hashed_is_not_finished() {
    let mut sealing = Filter::builder(1, SALT, 300_000).seal();
    assert!(sealing.advance());
    let _ = sealing.finish();
}

/// Identifiers as they are, and some that were ground to lie together.
fn any_chunks() -> impl Strategy<Value = Vec<ChunkId>> {
    let ground = |(number, prefix): (u32, Option<u8>)| {
        let mut id = sha256(&number.to_le_bytes());
        if let Some(prefix) = prefix {
            id[..20].fill(prefix);
        }
        ChunkId::from_bytes(id)
    };
    prop::collection::vec((any::<u32>(), any::<Option<u8>>()).prop_map(ground), 0..300)
}

proptest! {
    #[test]
    fn what_is_in_a_filter_is_found(
        epoch: u64,
        salt: [u8; SALT_LEN],
        expected in prop_oneof![0_u64..500, 0_u64..600_000],
        chunks in any_chunks(),
    ) {
        let one = filter(epoch, salt, expected, chunks.iter().copied());
        prop_assert_eq!(one.epoch(), epoch);
        for chunk in &chunks {
            prop_assert!(one.contains(chunk), "{} is in it", chunk);
        }
        // Neither order nor repetition matters.
        let again = filter(epoch, salt, expected, chunks.iter().rev().chain(&chunks).copied());
        prop_assert_eq!(again.hash(), one.hash());
        let read = assemble(&encoded(&one));
        prop_assert_eq!(read.as_ref(), Ok(&one));
        prop_assert_eq!(read.map(|filter| filter.hash()), Ok(one.hash()));
    }

    #[test]
    fn the_hash_stands_for_every_byte(
        chunks in any_chunks(),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let one = filter(5, SALT, 150_000, chunks.into_iter());
        let mut parts = encoded(&one);
        let number = at.index(2 * parts[0].len()) % 2;
        let at = at.index(parts[number].len());
        parts[number][at] ^= flip;
        if let Ok(other) = assemble(&parts) {
            prop_assert_ne!(other.hash(), one.hash());
        }
    }

    #[test]
    fn any_bytes_are_judged_without_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        honest in 0_usize..=24,
        prefix_bits in 0_u8..16,
        chunks in any_chunks(),
    ) {
        let good = Shape::new(9, SALT, 0, BITS_BYTES_MIN).unwrap().header(0);
        let honest = honest.min(bytes.len());
        bytes[..honest].copy_from_slice(&good[..honest]);
        if honest > 5 {
            bytes[5] = prefix_bits;
            bytes.resize(HEADER_LEN + BITS_BYTES_MIN as usize, 0xa5);
        }
        if let Ok(part) = FilterPart::decode(&bytes) {
            prop_assert_eq!(part.encode(), bytes);
            for chunk in chunks {
                let head = u32::from_be_bytes(*chunk.as_bytes().first_chunk().unwrap());
                let is_its = u64::from(head) >> (32 - prefix_bits) == u64::from(part.number());
                prop_assert_eq!(part.contains(&chunk).is_some(), is_its);
            }
        }
    }
}
