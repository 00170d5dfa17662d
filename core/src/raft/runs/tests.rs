//! Runs beside a plain list of entries: every operation does the same to both.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::entry::{Entry, Payload, Position};
use super::Runs;

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(usize),
    Share { len: usize, skipped: usize, bytes: usize },
    Seal,
    Truncate(u64),
    DropBefore(u64),
    Slice { first: u64, most: usize, bytes: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_usize).prop_map(Step::Push),
        1 => Just(Step::Push(200 << 10)),
        3 => (1..6_usize, 0..6_usize, 0..40_usize)
            .prop_map(|(len, skipped, bytes)| Step::Share { len, skipped: skipped.min(len), bytes }),
        3 => Just(Step::Seal),
        1 => (0..8_u64).prop_map(Step::Truncate),
        1 => (0..8_u64).prop_map(Step::DropBefore),
        4 => (0..8_u64, 0..8_usize, 0..400_u64).prop_map(|(first, most, bytes)| Step::Slice { first, most, bytes }),
    ]
}

fn entry(index: u64, bytes: usize) -> Entry {
    let payload = if bytes == 0 { Payload::Empty } else { Payload::Command(Bytes::from(alloc::vec![7; bytes])) };
    Entry { position: Position { term: 1, index }, payload }
}

/// As many as have `bytes` together, at least one, at most `most`.
fn sliced(model: &VecDeque<Entry>, first: u64, most: usize, bytes: u64) -> Vec<Entry> {
    let (mut sum, mut entries) = (0, Vec::new());
    for entry in model.iter().filter(|entry| entry.position.index >= first).take(most) {
        sum += entry.bytes();
        if sum > bytes && !entries.is_empty() {
            break;
        }
        entries.push(entry.clone());
    }
    entries
}

proptest! {
    #[test]
    fn runs_are_a_list_of_entries(base in 0..5_u64, steps in prop::collection::vec(step(), 1..80)) {
        let (mut runs, mut model) = (Runs::new(base + 1), VecDeque::new());
        let mut start = base + 1;
        for step in steps {
            let end = start + model.len() as u64;
            match step {
                Step::Push(bytes) => {
                    runs.push(entry(end, bytes));
                    model.push_back(entry(end, bytes));
                }
                Step::Share { len, skipped, bytes } => {
                    let first = end.saturating_sub(skipped as u64);
                    let skipped = usize::try_from(end - first).expect("it is small");
                    let shared: Arc<[Entry]> = (first..).take(len.max(skipped)).map(|at| entry(at, bytes)).collect();
                    runs.share(&shared, skipped);
                    model.extend(shared[skipped..].iter().cloned());
                }
                Step::Seal => runs.seal(),
                Step::Truncate(back) => {
                    let to = end.saturating_sub(back).max(start);
                    runs.truncate(to);
                    model.truncate(usize::try_from(to - start).expect("it is small"));
                }
                Step::DropBefore(count) => {
                    let first = (start + count).min(end);
                    runs.drop_before(first);
                    model.drain(..usize::try_from(first - start).expect("it is small"));
                    start = first;
                }
                Step::Slice { first, most, bytes } => {
                    let first = start + first;
                    prop_assert_eq!(&runs.slice(first, most, bytes)[..], &sliced(&model, first, most, bytes)[..]);
                }
            }
            runs.check();
            let end = start + model.len() as u64;
            prop_assert!(runs.iter().eq(&model));
            for index in start.saturating_sub(2)..end + 2 {
                let expected = model.iter().find(|entry| entry.position.index == index);
                prop_assert_eq!(runs.get(index), expected);
                let through = (index + 3).min(end - 1);
                if index >= start && index <= through {
                    let between = model.iter().filter(|entry| (index..=through).contains(&entry.position.index));
                    prop_assert_eq!(runs.bytes_between(index - 1, through), between.map(Entry::bytes).sum::<u64>());
                }
            }
        }
    }
}

/// What is sent, written and handed out of one turn is one allocation.
#[test]
fn a_turn_is_shared() {
    let mut runs = Runs::new(1);
    (1..=3).for_each(|index| runs.push(entry(index, 10)));
    runs.seal();
    let all = runs.slice(1, usize::MAX, u64::MAX);
    assert!(Arc::ptr_eq(&all, &runs.slice(1, 3, 1_000)));
    assert!(!Arc::ptr_eq(&all, &runs.slice(1, 2, 1_000)));
    let mut follower = Runs::new(1);
    follower.share(&all, 0);
    assert!(Arc::ptr_eq(&all, &follower.slice(1, 1_024, u64::MAX)));
}
