//! A store that is written, overwritten and collected in turns, as years of use would: how much more disk than what is
//! live it ever takes, and how long gets take while its space is being given back.
//!
//! `cargo run --release -p dps-tests --example turns -- DIRECTORY WRITTEN_GIB`
//!
//! Each turn writes a fortieth of it: new files until half of all is live, from then on new contents for old names,
//! with some names removed and some new. Then it collects. All the time four readers get whole files of up to 1 MiB,
//! and 64 KiB out of larger ones, each after a pause of 5 ms. What was replaced is not kept (`retain` is zero), since
//! what is kept is no garbage. At the end everything is verified.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dps::disk::Create;
use dps::put::Source;
use dps::{Options, Store};
use dps_core::config::{Config, RawConfig};
use dps_core::ledger::file::{Expect, Target};
use dps_core::ledger::name::Name;
use dps_core::node::{ByteRange, Usage, VerifyScope};
use dps_core::rng::{Rng, Seed};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const TURNS: u64 = 40;
const READERS: u64 = 4;
const PAUSE: Duration = Duration::from_millis(5);
const RANGE_BYTES: u64 = 64 << 10;
/// Files up to this size are read whole.
const WHOLE_BYTES_MAX: u64 = 1 << 20;

/// The names that mean something, with sizes.
type Live = Arc<Mutex<Vec<(u64, u64)>>>;

/// How long gets took, while a collection ran or not.
#[derive(Debug, Default)]
struct Latencies {
    during: Vec<Duration>,
    otherwise: Vec<Duration>,
}

fn name(number: u64) -> Name {
    Name::new(format!("file/{number}").as_bytes()).expect("a short name")
}

/// Many small files, and most bytes in large ones.
fn any_size(rng: &mut Rng) -> u64 {
    match rng.below(100) {
        0..60 => 1 + rng.below(64 << 10),
        60..90 => 1 + rng.below(1 << 20),
        90..99 => 1 + rng.below(16 << 20),
        _ => 1 + rng.below(256 << 20),
    }
}

/// Bytes that no other file has: a block of noise with a counter in every kilobyte.
fn content(rng: &mut Rng, size: u64) -> Bytes {
    let block: Vec<u8> = (0..32).flat_map(|_| rng.bytes::<32>()).collect();
    let mut bytes = Vec::new();
    for number in 0..size.div_ceil(1_024) {
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&block[8..]);
    }
    bytes.truncate(usize::try_from(size).expect("files fit into memory"));
    bytes.into()
}

async fn read(store: &Store, rng: &mut Rng, number: u64, size: u64) -> Result<()> {
    let range = (size > WHOLE_BYTES_MAX).then(|| {
        let first = rng.below(size - RANGE_BYTES);
        ByteRange::FromTo { first, last: first + RANGE_BYTES - 1 }
    });
    let mut get = store.get(Target::Name(name(number)), range).await?;
    while get.next().await?.is_some() {}
    Ok(())
}

/// Gets files until there is nothing more to do.
async fn reader(store: Arc<Store>, live: Live, flags: Arc<[AtomicBool; 2]>, mut rng: Rng) -> Latencies {
    let [collecting, ended] = &*flags;
    let mut latencies = Latencies::default();
    while !ended.load(Ordering::Relaxed) {
        tokio::time::sleep(PAUSE).await;
        let chosen = {
            let live = live.lock().expect("nobody panics with it");
            if live.is_empty() {
                None
            } else {
                live.get(usize::try_from(rng.below(live.len() as u64)).expect("small")).copied()
            }
        };
        let Some((number, size)) = chosen else { continue };
        let before = collecting.load(Ordering::Relaxed);
        let began = Instant::now();
        // A file may be replaced or removed just then; only gets that gave everything count.
        if read(&store, &mut rng, number, size).await.is_ok() {
            let list = if before && collecting.load(Ordering::Relaxed) {
                &mut latencies.during
            } else {
                &mut latencies.otherwise
            };
            list.push(began.elapsed());
        }
    }
    latencies
}

fn print_latencies(title: &str, mut all: Vec<Duration>) -> Result<()> {
    all.sort();
    let at = |part: usize| all.get(all.len() * part / 1_000).or(all.last()).copied().unwrap_or_default();
    let (half, most, nearly) = (at(500), at(990), at(999));
    let last = all.last().copied().unwrap_or_default();
    writeln!(
        io::stdout(),
        "{title}: {} gets, p50 {half:.2?}, p99 {most:.2?}, p99.9 {nearly:.2?}, max {last:.2?}",
        all.len()
    )?;
    Ok(())
}

/// Bytes of all files of the directory.
fn disk_bytes(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in path.read_dir()? {
        let entry = entry?;
        let data = entry.metadata()?;
        bytes += if data.is_dir() { disk_bytes(&entry.path())? } else { data.len() };
    }
    Ok(bytes)
}

fn gib(bytes: u64) -> String {
    format!("{}.{:02}", bytes >> 30, ((bytes & ((1 << 30) - 1)) * 100) >> 30)
}

/// Disk bytes in thousandths of the live ones.
fn share(disk: u64, live: u64) -> u64 {
    disk * 1_000 / live.max(1)
}

/// One turn of writing; returns the names as they are now.
async fn write(store: &Store, live: &Live, rng: &mut Rng, bytes: u64, live_max: u64, next: &mut u64) -> Result<()> {
    let mut written = 0;
    while written < bytes {
        let size = any_size(rng);
        let (number, gone) = {
            let mut live = live.lock().expect("nobody panics with it");
            let total: u64 = live.iter().map(|(_, size)| size).sum();
            let mut taken = None;
            let mut gone = vec![];
            let mut excess = (total + size).saturating_sub(live_max);
            while excess > 0 && !live.is_empty() {
                let index = usize::try_from(rng.below(live.len() as u64)).expect("small");
                let (number, size) = live.swap_remove(index);
                excess = excess.saturating_sub(size);
                // One is replaced, the others are removed.
                if taken.is_none() { taken = Some(number) } else { gone.push(number) }
            }
            (taken, gone)
        };
        for number in gone {
            store.delete(name(number), Expect::Any).await?;
        }
        let number = number.unwrap_or_else(|| {
            *next += 1;
            *next
        });
        let source = Seed::new(rng.bytes());
        let bytes = tokio::task::spawn_blocking(move || content(&mut source.rng(), size)).await?;
        store.put(Source::bytes(bytes), name(number), Expect::Any).await?;
        live.lock().expect("nobody panics with it").push((number, size));
        written += size;
    }
    Ok(())
}

async fn turns(path: &Path, total: u64) -> Result<()> {
    let config = Config::new(RawConfig { retain: Duration::ZERO, ..RawConfig::STANDARD })?;
    let store = Arc::new(Store::open(path, Options { config, create: Create::Directory, recorder: None }).await?);
    let live = Live::default();
    let flags = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let seed = Seed::new([3; 32]);
    let spawn =
        |number| tokio::spawn(reader(store.clone(), live.clone(), flags.clone(), seed.split("reader", number).rng()));
    let readers: Vec<_> = (0..READERS).map(spawn).collect();
    let mut rng = seed.split("writer", 0).rng();
    let (mut next, mut worst, mut worst_after, mut compacted) = (0, 0, 0, 0);
    for turn in 1..=TURNS {
        let began = Instant::now();
        write(&store, &live, &mut rng, total / TURNS, total / 2, &mut next).await?;
        let wrote = began.elapsed();
        let before = disk_bytes(path)?;
        flags[0].store(true, Ordering::Relaxed);
        let began = Instant::now();
        let summary = store.gc().await?;
        let collected = began.elapsed();
        flags[0].store(false, Ordering::Relaxed);
        let Usage { content_bytes, .. } = store.usage().await?;
        let after = disk_bytes(path)?;
        compacted += summary.compacted.bytes;
        // While it is small the gigabyte that is set aside for a full disk is most of it.
        if content_bytes >= total / 2 - total / 20 {
            worst = worst.max(share(before, content_bytes));
            worst_after = worst_after.max(share(after, content_bytes));
        }
        writeln!(
            io::stdout(),
            "turn {turn}: wrote in {wrote:.1?}; live {} GiB, disk {} GiB; collected in {collected:.1?}: disk {} GiB, \
             {} thousandths of live",
            gib(content_bytes),
            gib(before),
            gib(after),
            share(after, content_bytes)
        )?;
    }
    flags[1].store(true, Ordering::Relaxed);
    let mut all = Latencies::default();
    for reader in readers {
        let latencies = reader.await?;
        all.during.extend(latencies.during);
        all.otherwise.extend(latencies.otherwise);
    }
    writeln!(
        io::stdout(),
        "disk at most {worst} thousandths of live before a collection, {worst_after} after one; {} GiB of volumes went",
        gib(compacted)
    )?;
    print_latencies("while it collects", all.during)?;
    print_latencies("otherwise", all.otherwise)?;
    let store = Arc::into_inner(store).ok_or("a reader still has the store")?;
    let mut verification = store.verify(VerifyScope::All).await?;
    let began = Instant::now();
    let mut damages = 0_u64;
    while verification.next().await?.is_some() {
        damages += 1;
    }
    writeln!(io::stdout(), "verified in {:.1?}: {damages} damages", began.elapsed())?;
    store.close().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [path, gib] => turns(Path::new(path), gib.parse::<u64>()? << 30).await,
        _ => Err("DIRECTORY and GiB to write".into()),
    }
}
