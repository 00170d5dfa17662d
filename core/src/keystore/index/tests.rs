//! The index against a plain map, and how much memory it takes.

use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::disk::testing::fixed_cases;

fn id(number: u64) -> ChunkId {
    ChunkId::of(&number.to_le_bytes())
}

fn any_located() -> impl Strategy<Value = Located> {
    let number = |max: u64| prop_oneof![3 => 0..=max.min(300), 1 => Just(max), 1 => 0..=max];
    let place = (0..6u64, number(OFFSET_MAX), number(POSITION_MAX)).prop_map(|(volume, offset, position)| Place {
        volume: volume * 1_000,
        offset,
        position,
    });
    let trust = prop_oneof![Just(Trust::Proven), Just(Trust::Unchecked), Just(Trust::Doubtful), Just(Trust::Bad)];
    let raised_in = proptest::option::of((0..6u64).prop_map(|volume| u64::MAX - volume));
    let flags = (any::<bool>(), any::<bool>(), trust);
    (place, number(SEQUENCE_MAX), 0..=CHUNK_BYTES_MAX, number(EPOCH_MAX), raised_in, flags).prop_map(
        |(place, sequence, bytes, mark, raised_in, (marked, stale, trust))| Located {
            place,
            sequence,
            bytes,
            marked,
            mark,
            raised_in,
            trust,
            stale,
        },
    )
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u64, Located),
    Remove(u64),
    Judge(u64, bool, bool),
    Doubt(u64),
    SetMark(u64, u64, Option<u64>),
    Relocate(u64, bool, u64),
    FileBytes(u64, u64),
    Drop { sequence: u64, volume: u64, from: u64, through: u64 },
}

fn any_op() -> impl Strategy<Value = Op> {
    let chunk = || 0..20u64;
    prop_oneof![
        6 => (chunk(), any_located()).prop_map(|(chunk, located)| Op::Insert(chunk, located)),
        2 => chunk().prop_map(Op::Remove),
        2 => (chunk(), any::<bool>(), any::<bool>()).prop_map(|(chunk, there, good)| Op::Judge(chunk, there, good)),
        1 => chunk().prop_map(Op::Doubt),
        2 => (chunk(), 0..=EPOCH_MAX, proptest::option::of(0..9u64))
            .prop_map(|(chunk, mark, raised_in)| Op::SetMark(chunk, mark, raised_in)),
        2 => (chunk(), any::<bool>(), any::<u64>()).prop_map(|(chunk, there, mark)| Op::Relocate(chunk, there, mark)),
        1 => (0..9u64, 0..1_000u64).prop_map(|(volume, bytes)| Op::FileBytes(volume, bytes)),
        1 => (0..4u64, 0..9u64, 0..9u64, 0..9u64)
            .prop_map(|(sequence, volume, from, through)| Op::Drop { sequence, volume, from, through }),
    ]
}

fn elsewhere(place: Place) -> Place {
    Place { position: place.position ^ 1, ..place }
}

proptest! {
    #![proptest_config(fixed_cases())]

    /// `check` recomputes the use of every volume from the entries, which the model proves right.
    #[test]
    fn it_is_a_map_that_counts(ops in proptest::collection::vec(any_op(), 0..80)) {
        let mut index = Index::new();
        let mut model: BTreeMap<ChunkId, Located> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Insert(chunk, located) => {
                    prop_assert_eq!(index.insert(id(chunk), located), model.insert(id(chunk), located));
                }
                Op::Remove(chunk) => prop_assert_eq!(index.remove(&id(chunk)), model.remove(&id(chunk))),
                Op::Judge(chunk, there, good) => {
                    let Some(located) = model.get_mut(&id(chunk)) else { continue };
                    let place = if there { located.place } else { elsewhere(located.place) };
                    index.judge(&id(chunk), place, good);
                    if there && !(good && matches!(located.trust, Trust::Doubtful | Trust::Bad)) {
                        located.trust = if good { Trust::Proven } else { Trust::Bad };
                    }
                }
                Op::Doubt(chunk) => {
                    index.doubt(&id(chunk));
                    if let Some(located) = model.get_mut(&id(chunk)) {
                        located.trust = Trust::Doubtful;
                    }
                }
                Op::SetMark(chunk, mark, raised_in) => {
                    let Some(located) = model.get_mut(&id(chunk)) else { continue };
                    index.set_mark(&id(chunk), mark, raised_in);
                    (located.mark, located.raised_in) = (mark, raised_in);
                }
                Op::Relocate(chunk, there, mark) => {
                    let Some(located) = model.get_mut(&id(chunk)) else { continue };
                    let from = if there { located.place } else { elsewhere(located.place) };
                    let to = Place { volume: 77, offset: 7, position: 3 };
                    let mark = mark % (located.mark + 1);
                    prop_assert_eq!(index.relocate(&id(chunk), from, to, mark), there);
                    if there {
                        let raised_in = if mark == located.mark { None } else { located.raised_in };
                        let trust = if located.trust == Trust::Bad { Trust::Proven } else { located.trust };
                        *located = Located { place: to, marked: mark > 0, raised_in, trust, ..*located };
                    }
                }
                Op::FileBytes(volume, bytes) => index.set_file_bytes(volume, bytes),
                Op::Drop { sequence, volume, from, through } => {
                    index.enter_drop(sequence, DropPlace { volume, from, through, bytes: 100 });
                }
            }
            index.check();
        }
        prop_assert_eq!(index.len(), model.len());
        prop_assert!(index.walk(None).eq(model.iter().map(|(id, located)| (*id, *located))));
        // In slices of any size.
        let (mut cursor, mut walked) = (None, vec![]);
        loop {
            let slice: Vec<ChunkId> = index.walk(cursor).map(|(id, _)| id).take(3).collect();
            let Some(last) = slice.last() else { break };
            cursor = Some(*last);
            walked.extend(slice);
        }
        prop_assert!(walked.iter().eq(model.keys()));
        for (id, located) in &model {
            prop_assert_eq!(index.get(id), Some(*located));
            prop_assert!(index.is_live(id, located.place.volume, located.place.offset));
            prop_assert!(!index.is_live(id, located.place.volume, located.place.offset + 1));
        }
    }
}

fn located(volume: u64) -> Located {
    let place = Place { volume, offset: 0, position: 1 };
    let trust = Trust::Proven;
    Located { place, sequence: 5, bytes: 10, marked: true, mark: 3, raised_in: None, trust, stale: false }
}

#[test]
fn a_mark_record_is_needed_while_nothing_else_says_it() {
    let mut index = Index::new();
    assert!(!index.is_mark_needed(&id(1), 9, 8), "no such chunk");
    index.insert(id(1), located(1));
    assert!(!index.is_mark_needed(&id(1), 3, 8), "its own record says so");
    index.set_mark(&id(1), 9, Some(2));
    assert!(index.is_mark_needed(&id(1), 9, 8));
    assert!(!index.is_mark_needed(&id(1), 7, 7), "an older mark");
    assert!(!index.is_mark_needed(&id(1), 9, 4), "a mark of a copy that went");
    assert_eq!(index.volume(2).map(|usage| (usage.marks, usage.live_bytes())), Some((1, 104)));
    let copy = Place { volume: 3, offset: 70, position: 2 };
    assert!(index.relocate(&id(1), located(1).place, copy, 9));
    assert!(!index.is_mark_needed(&id(1), 9, 8), "the copy carries it");
    index.check();
}

#[test]
fn a_drop_record_is_needed_as_long_as_any_volume_of_its_range_is_there() {
    let mut index = Index::new();
    (1..6).for_each(|volume| index.set_file_bytes(volume, 1_000));
    let dropped = |volume, from, through| DropPlace { volume, from, through, bytes: 128 };
    index.enter_drop(7, dropped(4, 1, 2));
    index.enter_drop(8, dropped(4, 2, 5));
    assert_eq!(index.total(), VolumeUse { file_bytes: 5_000, drops: 2, drop_bytes: 256, ..VolumeUse::default() });
    assert!(index.is_drop_needed(1, 2, &[]) && index.is_drop_needed(1, 2, &[1]));
    assert!(
        !index.is_drop_needed(1, 2, &[1, 2]) && !index.is_drop_needed(6, 9, &[]) && !index.is_drop_needed(5, 4, &[])
    );
    index.remove_volume(1);
    assert_eq!(index.total().drops, 2);
    index.remove_volume(2);
    assert_eq!(index.total().drops, 1, "nothing is left that the first could drop");
    index.enter_drop(8, dropped(5, 2, 5));
    index.enter_drop(8, dropped(4, 2, 5));
    assert_eq!(index.volume(5).map(|usage| usage.drops), Some(1), "the later copy counts");
    assert!(index.is_drop_in(8, 5) && !index.is_drop_in(8, 4) && !index.is_drop_in(9, 5), "and it alone");
    index.check();
    index.remove_volume(4);
    assert_eq!(index.total(), VolumeUse { file_bytes: 2_000, drops: 1, drop_bytes: 128, ..VolumeUse::default() });
    index.remove_volume(5);
    assert_eq!((index.total().drops, index.first_volume()), (0, Some(3)));
    index.check();
}

#[test]
#[should_panic(expected = "holds nothing that is needed")]
fn a_volume_with_a_chunk_is_not_removed() {
    let mut index = Index::new();
    index.insert(id(1), located(1));
    index.remove_volume(1);
}

/// A node of the standard library's tree has eleven places for entries, a parent of eight bytes and two numbers of two;
/// an inner one has twelve children too. Random identifiers fill 69 places of a hundred, removals bring that down to 65;
/// the allocator adds eight bytes and rounds up to sixteen.
#[test]
fn a_chunk_takes_at_most_a_hundred_bytes() {
    const PLACES: usize = 11;
    let entry = size_of::<(ChunkId, Packed)>();
    assert_eq!((entry, align_of::<(ChunkId, Packed)>()), (62, 1));
    let allocated = |bytes: usize| (bytes.next_multiple_of(8) + 8).next_multiple_of(16);
    let leaf = allocated(PLACES * entry + 12);
    let inner = allocated(PLACES * entry + 12 + 12 * 8);
    // Entries of a node in hundredths, and so leaves to an inner node.
    let filled = PLACES * 65;
    let node = leaf + (inner - leaf) * 100 / filled;
    assert!(node * 100 / filled <= INDEX_CHUNK_BYTES_MAX, "{} bytes a chunk", node * 100 / filled);
}
