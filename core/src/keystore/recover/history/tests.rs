//! Any order of records comes to what the rules say of all of them together.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::disk::testing::fixed_cases;

const VOLUMES: u64 = 5;

fn id(number: u8) -> ChunkId {
    ChunkId::from_bytes([number; 32])
}

fn found(volume: u64, sequence: u64, doubtful: bool, what: What) -> Found {
    // Only copies share a sequence, and those are in different volumes. Of drops no doubtful one gets here.
    let doubtful = doubtful && !matches!(what, What::Drop(_));
    let place = Place { volume, offset: sequence * 100, position: sequence + 1 };
    Found { place, sequence, record_len: 100, doubtful, what }
}

/// Records with the sequences 0, 1, 2 and so on, some of them copied into another volume, in any order.
fn any_history() -> impl Strategy<Value = Vec<Found>> {
    let chunk = || (0..3u8).prop_map(id);
    let what = prop_oneof![
        4 => (chunk(), 0..6u64).prop_map(|(chunk, mark)| What::Chunk { chunk, mark, bytes: 10 }),
        3 => (chunk(), 1..6u64).prop_map(|(chunk, mark)| What::Mark(MarkRecord { chunk, mark })),
        2 => (proptest::collection::btree_set(chunk(), 1..3), 1..9u64, 0..3u64).prop_map(|(chunks, from, more)| {
            What::Drop(DropRecord { epoch: 1, from, through: from + more, chunks: chunks.into_iter().collect() })
        }),
    ];
    let doubtful = || proptest::bool::weighted(0.3);
    let record = (what, 1..=VOLUMES, doubtful(), proptest::option::of((1..=VOLUMES, 0..6u64, doubtful())));
    proptest::collection::vec(record, 0..14)
        .prop_map(|records| {
            let mut all = vec![];
            for (sequence, (what, volume, doubtful, copy)) in (0..).zip(records) {
                all.push(found(volume, sequence, doubtful, what.clone()));
                let Some((other, raised, doubtful)) = copy.filter(|(other, ..)| *other != volume) else { continue };
                let what = match what {
                    // A copy may carry a mark that was raised in between.
                    What::Chunk { chunk, mark, bytes } => What::Chunk { chunk, mark: mark.max(raised), bytes },
                    What::Mark(_) | What::Drop(_) => what,
                };
                all.push(found(other, sequence, doubtful, what));
            }
            all
        })
        .prop_shuffle()
}

/// The same, by the words of the rules: place, sequence, mark, and whether all that is durable.
fn expected(records: &[Found], chunk: ChunkId) -> Option<(Place, u64, u64, bool)> {
    let dropped = |what: &What| matches!(what, What::Drop(dropped) if dropped.chunks.contains(&chunk));
    let drop = records.iter().filter(|found| dropped(&found.what)).map(|found| found.sequence).max();
    let after = || records.iter().filter(move |found| drop.is_none_or(|drop| found.sequence > drop));
    let mark_of = |found: &Found| match found.what {
        What::Chunk { chunk: of, mark, .. } | What::Mark(MarkRecord { chunk: of, mark }) => {
            (of == chunk).then_some(mark)
        }
        What::Drop(_) => None,
    };
    let is_copy = |found: &&Found| matches!(found.what, What::Chunk { chunk: of, .. } if of == chunk);
    let rank = |found: &&Found| (found.sequence, !found.doubtful, found.place.volume);
    let copy = after().filter(is_copy).max_by_key(rank)?;
    let own = mark_of(copy)?;
    // Of copies of a record that gives a mark, the largest mark counts, if possible a durable one.
    let mut raised: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
    for found in after().filter(|found| found.sequence >= copy.sequence) {
        let Some(mark) = mark_of(found).filter(|mark| *mark > own) else { continue };
        let best = raised.entry(found.sequence).or_default();
        *best = (mark, !found.doubtful).max(*best);
    }
    let mark = raised.values().map(|(mark, _)| *mark).max().unwrap_or(own);
    let durable = !copy.doubtful && raised.values().all(|(_, durable)| *durable);
    Some((copy.place, copy.sequence, mark, durable))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, ..fixed_cases() })]

    #[test]
    fn any_order_comes_to_the_same(records in any_history(), again: proptest::sample::Index) {
        let volumes: Vec<(u64, u64)> = (1..=VOLUMES).map(|volume| (volume, 10_000)).collect();
        let mut history = History::new(&volumes);
        // A checkpoint that turns out not to be whole has told some of it before.
        let twice = if records.is_empty() { 0 } else { again.index(records.len()) };
        let told = records[..twice].iter().chain(&records);
        told.cloned().for_each(|found| history.enter(found));
        let (index, next_sequence) = history.into_index();
        index.check();
        prop_assert_eq!(next_sequence, records.iter().map(|found| found.sequence + 1).max().unwrap_or(1));
        for chunk in (0..3).map(id) {
            let located = index.get(&chunk);
            let durable = |located: &Located| located.trust == Trust::Unchecked;
            let known = located.map(|found| (found.place, found.sequence, found.mark, durable(&found)));
            prop_assert_eq!(known, expected(&records, chunk));
            let Some(located) = located else { continue };
            // A copy that no drop undid, in another volume than the one that counts, makes a chunk stale.
            let undone = |found: &Found| expected(core::slice::from_ref(found), chunk).is_some()
                && found.place.volume != located.place.volume
                && records.iter().all(|drop| match &drop.what {
                    What::Drop(dropped) => drop.sequence < found.sequence || !dropped.chunks.contains(&chunk),
                    What::Chunk { .. } | What::Mark(_) => true,
                });
            prop_assert!(located.stale || !records.iter().any(undone), "an older copy may come back");
        }
        let needed = |found: &&Found| match &found.what {
            What::Drop(dropped) => dropped.from <= VOLUMES,
            What::Chunk { .. } | What::Mark(_) => false,
        };
        let mut needed: Vec<u64> = records.iter().filter(needed).map(|found| found.sequence).collect();
        needed.sort_unstable();
        needed.dedup();
        prop_assert_eq!(index.total().drops, needed.len() as u64);
    }
}
