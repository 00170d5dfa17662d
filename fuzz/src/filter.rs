//! Filters of sweeps: any bytes as a part, and filters that are made, harmed, and put together again.

use dps_core::id::ChunkId;
use dps_core::keystore::filter::{Filter, FilterAssembly, FilterError, FilterPart};
use dps_core::limits::{FILTER_PART_BYTES_MAX, FILTER_PARTS_MAX};

use crate::input::Input;

/// Entries for which a filter has three parts' worth of room, so that it gets four.
const SEVERAL_PARTS: u64 = 393_000;

/// Judges the bytes as a part; then makes a filter as they say and does something to its parts.
///
/// # Panics
/// When bytes are accepted that are not the one way to write a part, when what was added is not found, or when parts
/// that were changed, left out or mixed pass for the filter they come from.
pub fn filter(data: &[u8]) {
    if let Ok(part) = FilterPart::decode(data) {
        judge_part(&part, data);
    }
    let mut input = Input::new(data);
    let salt = [input.u8(); 16];
    let expected = if input.rarely(8) { SEVERAL_PARTS } else { input.below(500) as u64 };
    let mut builder = Filter::builder(input.number(), salt, expected);
    let mut chunks = Vec::new();
    for _ in 0..input.below(64) {
        let mut id = *ChunkId::of(&[input.u8()]).as_bytes();
        if input.flag() {
            id[..2].copy_from_slice(&[input.u8(); 2]);
        }
        chunks.push(ChunkId::from_bytes(id));
    }
    chunks.iter().for_each(|chunk| builder.insert(chunk));
    let filter = builder.finish();
    assert!(chunks.iter().all(|chunk| filter.contains(chunk)), "what was added is found");

    let honest: Vec<Vec<u8>> = (0..filter.part_count()).map(|number| filter.encode_part(number)).collect();
    assert_eq!(assemble(&honest).as_ref(), Ok(&filter), "a filter comes back from its parts");
    for part in &honest {
        judge_part(&FilterPart::decode(part).expect("it was written just now"), part);
    }
    let mut harmed = honest.clone();
    harm(&mut harmed, &mut input);
    if let Ok(other) = assemble(&harmed) {
        assert_eq!(other.hash() == filter.hash(), harmed == honest, "the hash stands for every byte");
        assert_eq!(other == filter, harmed == honest, "and so does the filter");
    }
}

fn judge_part(part: &FilterPart, bytes: &[u8]) {
    assert_eq!(part.encode(), bytes, "there is one way to write a part down");
    assert!(bytes.len() <= FILTER_PART_BYTES_MAX as usize && part.number() < FILTER_PARTS_MAX, "within the bounds");
    let first = part.contains(&ChunkId::from_bytes([0; 32]));
    assert_eq!(first.is_some(), part.number() == 0, "the first part answers for the first identifiers");
}

fn assemble(parts: &[Vec<u8>]) -> Result<Filter, FilterError> {
    let mut assembly = FilterAssembly::new();
    for part in parts {
        assembly.push(FilterPart::decode(part)?)?;
    }
    assembly.finish()
}

/// One thing that may happen to parts on their way.
fn harm(parts: &mut Vec<Vec<u8>>, input: &mut Input<'_>) {
    let at = input.below(parts.len());
    match input.below(6) {
        0 => _ = parts.remove(at),
        1 => parts.push(parts[at].clone()),
        2 => parts.swap(0, at),
        3 => {
            let end = input.place(parts[at].len());
            parts[at].truncate(end);
        }
        4 => parts[at].push(input.u8()),
        _ => {
            // The header is short, but it is where bytes mean something.
            let len = if input.flag() { 40 } else { parts[at].len() };
            let place = input.place(len);
            parts[at][place] ^= input.u8();
        }
    }
}
