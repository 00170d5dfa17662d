//! What the clients of the busy run store: few enough contents that many are stored again, and blocks that several of
//! them share.

use std::collections::BTreeMap;

use bytes::Bytes;
use dps_core::crypto::hash::sha256;
use dps_core::id::FileId;
use dps_core::rng::{Rng, Seed};

use crate::busy_run::BLOCK_BYTES_MAX;

/// Different contents, of every kind.
const CONTENTS: u64 = 200;

/// Blocks that contents share.
const SHARED_BLOCKS: u64 = 6;

/// All contents that are ever stored, by what they hash to.
#[derive(Debug)]
pub(crate) struct Contents {
    by_file: BTreeMap<FileId, Bytes>,
    order: Vec<FileId>,
}

impl Contents {
    /// Contents of all sizes, the same ones for the same seed.
    pub(crate) fn new(seed: &Seed) -> Self {
        let shared: Vec<Vec<u8>> =
            (0..SHARED_BLOCKS).map(|number| fill(&mut seed.split("shared", number).rng(), BLOCK_BYTES_MAX)).collect();
        let drawn = (0..CONTENTS).map(|number| draw(&mut seed.split("content", number).rng(), &shared));
        let mut contents = Self { by_file: BTreeMap::new(), order: Vec::new() };
        for bytes in drawn {
            let file = FileId::from_bytes(sha256(&bytes));
            contents.order.push(file);
            contents.by_file.insert(file, Bytes::from(bytes));
        }
        contents
    }

    /// Any of them.
    pub(crate) fn pick(&self, rng: &mut Rng) -> (FileId, Bytes) {
        let number = rng.below(self.order.len() as u64);
        let file = self.order[usize::try_from(number).expect("an index of a vector")];
        (file, self.by_file[&file].clone())
    }

    /// The bytes of a content, if it was ever stored by anyone.
    pub(crate) fn get(&self, file: FileId) -> Option<&Bytes> {
        self.by_file.get(&file)
    }
}

/// Empty, inline, one chunk, a few chunks in the ledger entry (some of them shared with others), a tree of manifests.
fn draw(rng: &mut Rng, shared: &[Vec<u8>]) -> Vec<u8> {
    let block = BLOCK_BYTES_MAX;
    match rng.below(12) {
        0 => Vec::new(),
        1..=2 => bytes_between(rng, 1, 64),
        3..=5 => bytes_between(rng, 65, 255),
        6..=7 => bytes_between(rng, 256, 4 * block),
        8..=9 => {
            let blocks = rng.between(2, 4);
            let shared_blocks = (0..blocks).flat_map(|_| {
                let which = rng.below(shared.len() as u64);
                shared[usize::try_from(which).expect("an index of a vector")].iter().copied()
            });
            shared_blocks.collect()
        }
        10 => bytes_between(rng, 4 * block + 1, 12 * block),
        _ => bytes_between(rng, 12 * block, 24 * block),
    }
}

fn bytes_between(rng: &mut Rng, low: u64, high: u64) -> Vec<u8> {
    let len = rng.between(low, high);
    fill(rng, len)
}

fn fill(rng: &mut Rng, len: u64) -> Vec<u8> {
    let len = usize::try_from(len).expect("contents are small");
    let mut bytes = Vec::with_capacity(len + 32);
    while bytes.len() < len {
        bytes.extend_from_slice(&rng.bytes::<32>());
    }
    bytes.truncate(len);
    bytes
}
