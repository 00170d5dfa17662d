//! Measures how long a store takes to open, and how much memory that needs.
//!
//! `cargo run --release -p dps-tests --example open_time -- DIRECTORY MODE`, where a mode is one of
//!
//! - `build CHUNKS`: makes a store of so many chunks of 128 bytes there, which takes about 300 bytes of disk for each;
//! - `open`: opens and closes it, and prints how long each took, and the most memory that this process had;
//! - `wait`: opens it and waits until every volume has its checkpoint.
//!
//! So `build`, `open`, `wait`, `open` shows what checkpoints are worth. Each in a process of its own, for the memory.

use std::error::Error;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use dps::disk::Create;
use dps::put::Source;
use dps::{Options, Store};
use dps_core::config::{Config, RawConfig};
use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;
use dps_core::rng::Seed;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CHUNK_BYTES: u32 = 128;

/// Chunks of one file, so that the journal is short: what is measured is the volumes.
const FILE_CHUNKS: u64 = 10_000;

/// Chunks are small, so that a million of them is made in a minute; volumes too, so that there are several.
fn options(create: Create) -> Result<Options> {
    let config = Config::new(RawConfig {
        block_bytes_min: CHUNK_BYTES,
        block_bytes_max: CHUNK_BYTES,
        inline_bytes_max: 64,
        volume_bytes: 32 << 20,
        ..RawConfig::STANDARD
    })?;
    Ok(Options { config, create, recorder: None })
}

async fn build(path: &Path, chunks: u64) -> Result<()> {
    let store = Store::open(path, options(Create::Directory)?).await?;
    for (number, first) in (0..).zip((0..chunks).step_by(usize::try_from(FILE_CHUNKS)?)) {
        let mut rng = Seed::new([1; 32]).split("content", number).rng();
        let bytes = FILE_CHUNKS.min(chunks - first) * u64::from(CHUNK_BYTES);
        let content: Vec<u8> = (0..bytes / 32).flat_map(|_| rng.bytes::<32>()).collect();
        let name = Name::new(format!("file/{number}").as_bytes())?;
        store.put(Source::bytes(content.into()), name, Expect::Any).await?;
    }
    store.close().await?;
    Ok(())
}

/// Files of the data folder with this ending.
fn count(path: &Path, ending: &str) -> Result<usize> {
    let mut found = 0;
    for entry in path.join("data").read_dir()? {
        found += usize::from(entry?.path().extension() == Some(OsStr::new(ending)));
    }
    Ok(found)
}

/// The most bytes of this process that were in memory.
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
}

async fn open(path: &Path) -> Result<()> {
    let (volumes, checkpoints) = (count(path, "kdht")?, count(path, "idx")?);
    let began = Instant::now();
    let store = Store::open(path, options(Create::Never)?).await?;
    let opened = began.elapsed();
    let chunks = store.usage().await?.volumes.chunks;
    store.close().await?;
    let closed = began.elapsed() - opened;
    let mut out = io::stdout().lock();
    writeln!(out, "{chunks} chunks in {volumes} volumes, {checkpoints} checkpoints")?;
    writeln!(out, "opened in {opened:.2?}, closed in {closed:.2?}, at most {} MiB", peak_bytes()? >> 20)?;
    Ok(())
}

async fn wait(path: &Path) -> Result<()> {
    let store = Store::open(path, options(Create::Never)?).await?;
    let began = Instant::now();
    while count(path, "idx")? < count(path, "kdht")? {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    writeln!(io::stdout(), "every volume has its checkpoint after {:.2?}", began.elapsed())?;
    store.close().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [path, "build", chunks] => build(Path::new(path), chunks.parse()?).await,
        [path, "open"] => open(Path::new(path)).await,
        [path, "wait"] => wait(Path::new(path)).await,
        _ => Err("DIRECTORY and one of build CHUNKS, open, wait".into()),
    }
}
