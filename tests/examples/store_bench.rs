//! How fast a store of its own takes and gives small files: durable puts of 4 KiB and of 256 bytes (which are part of the
//! ledger), one after the other and 64 at a time, gets of 4 KiB, and how long it takes to open afterwards.
//!
//! `cargo run --release -p dps-tests --example store_bench -- DIRECTORY [NAMES [BYTES]]`
//!
//! With NAMES, so many names of BYTES (256 unless told) are stored, 100 at a time, and the start that follows is
//! measured.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dps::disk::Create;
use dps::put::Source;
use dps::{Options, Store};
use dps_core::ledger::file::{Expect, Target};
use dps_core::ledger::name::Name;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What is measured in each row.
const ROW_FOR: Duration = Duration::from_secs(3);

fn name(number: u64) -> Name {
    Name::new(format!("file/{number}").as_bytes()).expect("a short name")
}

/// Bytes that no other file has.
fn content(number: u64, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes.into()
}

async fn open(path: &Path) -> Result<Store> {
    let mut options = Options::standard()?;
    options.create = Create::Parents;
    Ok(Store::open(path, options).await?)
}

async fn put(store: &Store, number: u64, size: usize) -> Result<()> {
    store.put(Source::bytes(content(number, size)), name(number), Expect::Any).await?;
    Ok(())
}

async fn get(store: &Store, number: u64) -> Result<()> {
    let mut get = store.get(Target::Name(name(number)), None).await?;
    while get.next().await?.is_some() {}
    Ok(())
}

#[derive(Clone, Copy)]
enum What {
    Put(usize),
    Get(u64),
}

/// One row: `clients` at once, each with what is next, until the time is over. Returns the next number.
async fn row(store: &Arc<Store>, what: What, clients: u64, first: u64) -> Result<u64> {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for client in 0..clients {
        let store = Arc::clone(store);
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            let mut number = first + client;
            while begun.elapsed() < ROW_FOR {
                let at = Instant::now();
                match what {
                    What::Put(size) => put(&store, number, size).await?,
                    What::Get(count) => get(&store, number % count).await?,
                }
                took.push(at.elapsed());
                number += clients;
            }
            Result::Ok((took, number))
        }));
    }
    let (mut took, mut next) = (Vec::new(), first);
    for task in tasks {
        let (more, number) = task.await??;
        took.extend(more);
        next = next.max(number);
    }
    let seconds = begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
    let what = match what {
        What::Put(size) => format!("put {size} bytes"),
        What::Get(_) => String::from("get 4096 bytes"),
    };
    let rate = took.len() as f64 / seconds;
    writeln!(io::stdout(), "{what:>15} {clients:3} at once: {rate:8.0}/s, p50 {:.2} ms, p99 {:.2} ms", at(50), at(99))?;
    Ok(next)
}

/// Stores so many names, 100 at a time.
async fn fill(store: &Arc<Store>, names: u64, size: usize) -> Result<()> {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for client in 0..100 {
        let store = Arc::clone(store);
        tasks.push(tokio::spawn(async move {
            for number in (client..names).step_by(100) {
                put(&store, number, size).await?;
            }
            Result::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    writeln!(io::stdout(), "{names} names of {size} bytes in {:.1} s", begun.elapsed().as_secs_f64())?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("a directory for the store is needed")?;
    let path = Path::new(&path);
    let names: Option<u64> = arguments.next().map(|text| text.parse()).transpose()?;
    let size: usize = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let store = Arc::new(open(path).await?);
    if let Some(names) = names {
        fill(&store, names, size).await?;
    } else {
        let count = row(&store, What::Put(4_096), 1, 0).await?;
        row(&store, What::Get(count), 1, 0).await?;
        let next = row(&store, What::Put(4_096), 64, count).await?;
        row(&store, What::Get(count), 64, 0).await?;
        let next = row(&store, What::Put(256), 1, next).await?;
        row(&store, What::Put(256), 64, next).await?;
    }
    Arc::into_inner(store).ok_or("nobody else has the store")?.close().await?;
    for _ in 0..3 {
        let begun = Instant::now();
        let store = open(path).await?;
        writeln!(io::stdout(), "opened in {:.3} s", begun.elapsed().as_secs_f64())?;
        store.close().await?;
    }
    Ok(())
}
