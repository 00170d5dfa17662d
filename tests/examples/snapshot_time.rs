//! Measures how long a snapshot of a large ledger takes to stream and to load.
//!
//! `cargo run --release -p dps-tests --example snapshot_time -- NAMES` stores so many names (1,000,000 if not said),
//! each with a content of its own, and prints the time that all pieces take and the longest step.

use std::error::Error;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use dps_core::crypto::hash::sha256;
use dps_core::id::{ChunkId, FileId};
use dps_core::keystore::manifest::{Body, Entry, Manifest};
use dps_core::ledger::command::Command;
use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;
use dps_core::ledger::snapshot::{Loader, Position, Step, Stream};
use dps_core::ledger::state::State;
use dps_core::time::WallTime;

fn main() -> Result<(), Box<dyn Error>> {
    let names = std::env::args().nth(1).map_or(Ok(1_000_000), |count| count.parse())?;
    let (mut state, mut out) = (State::new(), io::stdout());
    let began = Instant::now();
    for index in 1..=names {
        state.apply(index, &put(index));
    }
    writeln!(out, "{names} names stored in {:?}", began.elapsed())?;
    for round in ["without", "with"] {
        let (pieces, took, longest) = stream(&state);
        let bytes: usize = pieces.iter().map(Vec::len).sum();
        writeln!(
            out,
            "streamed {round} known hashes in {took:?}: {} pieces, {bytes} bytes, longest step {longest:?}",
            pieces.len()
        )?;
        let (took, longest) = load(&pieces, &state);
        writeln!(out, "loaded in {took:?}, longest step {longest:?}")?;
    }
    Ok(())
}

fn put(index: u64) -> Command {
    let name = Name::new(format!("directory {}/file {index}", index % 1_000).as_bytes()).expect("a good name");
    let hash = sha256(&index.to_le_bytes());
    let (file, entry) = (FileId::from_bytes(hash), Entry { chunk: ChunkId::from_bytes(hash), bytes: 4_096 });
    let manifest = Manifest { file, size: 4_096, block_bytes: 65_536, body: Body::Entries(vec![entry]) };
    Command::Put { time: WallTime::from_nanos(index), lease: 0, name, expect: Expect::Any, manifest }
}

fn stream(state: &State) -> (Vec<Vec<u8>>, Duration, Duration) {
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    let (mut stream, mut pieces) = (Stream::new(state.clone(), Position::default()), Vec::new());
    loop {
        let step = Instant::now();
        let over = match stream.step() {
            Step::Piece(piece) => {
                pieces.push(piece);
                false
            }
            Step::Working => false,
            Step::Over => true,
        };
        longest = longest.max(step.elapsed());
        if over {
            return (pieces, began.elapsed(), longest);
        }
    }
}

fn load(pieces: &[Vec<u8>], state: &State) -> (Duration, Duration) {
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    let (mut loader, mut loaded) = (Loader::new(), None);
    for piece in pieces {
        let step = Instant::now();
        loaded = loader.piece(piece).expect("a whole snapshot");
        longest = longest.max(step.elapsed());
    }
    let took = began.elapsed();
    assert_eq!(loaded.expect("the last piece gives the state").0.root(), state.root());
    (took, longest)
}
