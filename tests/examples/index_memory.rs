//! Measures how much memory the index of chunks takes.
//!
//! `cargo run --release -p dps-tests --example index_memory -- CHUNKS` enters so many chunks (1,000,000 if not said), as a
//! start would find them, then replaces half of them as sweeps and puts do, and prints resident bytes for each chunk.

use std::error::Error;
use std::io::{self, Write as _};

use dps_core::id::ChunkId;
use dps_core::keystore::Place;
use dps_core::keystore::index::{INDEX_CHUNK_BYTES_MAX, Index, Located, Trust};

/// Bytes of this process that are in memory.
fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
}

fn id(number: u64) -> ChunkId {
    ChunkId::of(&number.to_le_bytes())
}

fn enter(index: &mut Index, number: u64) {
    // A volume has room for 4,096 chunks of 256 KiB.
    let place = Place { volume: 1 + number / 4_096, offset: number % 4_096 * 262_248, position: 2 + number % 4_096 };
    let located = Located {
        place,
        sequence: number,
        bytes: 256 << 10,
        marked: true,
        mark: 1,
        raised_in: None,
        trust: Trust::Unchecked,
        stale: false,
    };
    index.insert(id(number), located);
}

fn main() -> Result<(), Box<dyn Error>> {
    let chunks = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse::<u64>())?;
    let before = resident_bytes()?;
    let mut index = Index::new();
    let mut out = io::stdout().lock();
    (0..chunks).for_each(|number| enter(&mut index, number));
    let full = (resident_bytes()? - before) / chunks.max(1);
    for number in 0..chunks / 2 {
        index.remove(&id(2 * number));
        enter(&mut index, chunks + number);
    }
    let used = (resident_bytes()? - before) / chunks.max(1);
    writeln!(out, "{chunks} chunks: {full} bytes each, {used} after half of them were replaced")?;
    writeln!(out, "at most {INDEX_CHUNK_BYTES_MAX} are allowed")?;
    Ok(())
}
