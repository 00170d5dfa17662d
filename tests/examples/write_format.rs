//! Writes the small store of the present format that `tests/tests/released_formats.rs` opens for ever.
//!
//! Run once for each format, before it is released: `cargo run -p dps-tests --example write_format`. It makes
//! `tests/data/format-N`, with what is in it in `tests/data/format-N.txt`, and refuses where that exists: what was released
//! is never written again.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use dps::disk::Create;
use dps::put::Source;
use dps::{Options, Store, StoreError};
use dps_core::config::{Config, RawConfig};
use dps_core::disk::boot::FORMAT;
use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;
use dps_core::rng::Seed;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is in the store: size and hash by name.
type Listing = BTreeMap<String, (u64, String)>;

/// A store that is being filled.
struct Filling {
    store: Store,
    listing: Listing,
}

/// Everything is small, so that a few files fill several segments and volumes, and manifests have several levels.
fn config() -> Result<Config> {
    Ok(Config::new(RawConfig {
        block_bytes_min: 128,
        block_bytes_max: 512,
        blocks_target: 16,
        large_file_blocks: 4,
        inline_bytes_max: 64,
        manifest_entries_max: 4,
        manifest_fanout: 4,
        volume_bytes: 6 << 10,
        segment_bytes: 1 << 10,
        snapshot_entries: 5,
        ingest_bytes_max: 16 << 10,
        // The last entry is never known durable, so that there is a tail to recover.
        settle_after: Duration::from_secs(3_600),
        credit_timeout: Duration::from_secs(3_600),
        retain: Duration::ZERO,
        sweep_wait: Duration::from_secs(3_600),
        scrub_period: Duration::from_secs(30 * 86_400),
    })?)
}

async fn open(path: &Path, create: Create, listing: Listing) -> Result<Filling> {
    let options = Options { config: config()?, create, recorder: None };
    Ok(Filling { store: Store::open(path, options).await?, listing })
}

fn content(label: &str, len: usize) -> Bytes {
    let mut rng = Seed::new([1; 32]).split(label, 0).rng();
    let mut bytes = Vec::new();
    while bytes.len() < len {
        bytes.extend_from_slice(&rng.bytes::<32>());
    }
    bytes.truncate(len);
    bytes.into()
}

impl Filling {
    /// Stores a content, the same one for the same label.
    async fn put(&mut self, name: &str, label: &str, len: usize) -> Result<()> {
        let source = Source::bytes(content(label, len));
        let stored = self.store.put(source, Name::new(name.as_bytes())?, Expect::Any).await?;
        self.listing.insert(name.to_owned(), (stored.stat.size, stored.stat.file.to_string()));
        Ok(())
    }

    async fn remove(&mut self, name: &str) -> Result<()> {
        self.store.delete(Name::new(name.as_bytes())?, Expect::Any).await?;
        self.listing.remove(name);
        Ok(())
    }

    /// A put whose source breaks off: it leaves chunks that no name needs.
    async fn put_half(&self, label: &str, len: usize) -> Result<()> {
        let source = Source::reader(io::Cursor::new(content(label, len)).chain(Broken), None);
        match self.store.put(source, Name::new(b"half")?, Expect::Any).await {
            Err(StoreError::Source(_)) => Ok(()),
            other => Err(format!("half a put ended so: {other:?}").into()),
        }
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

/// Two starts that end in good order and one that does not.
async fn fill(path: &Path) -> Result<Listing> {
    let mut first = open(path, Create::Directory, Listing::new()).await?;
    first.put("empty", "empty", 0).await?;
    first.put("inline", "inline", 40).await?;
    first.put("one chunk", "one chunk", 100).await?;
    first.put("entries", "entries", 4 * 512).await?;
    first.put("tree/two levels", "two levels", 13 * 512 + 7).await?;
    first.put("replaced", "old", 700).await?;
    first.put("removed", "removed", 900).await?;
    first.store.close().await?;

    let mut second = open(path, Create::Never, first.listing).await?;
    second.put("replaced", "new", 1_300).await?;
    second.remove("removed").await?;
    second.put("twice/a", "twice", 1_000).await?;
    second.put("twice/b", "twice", 1_000).await?;
    second.put("twice/removed", "twice", 1_000).await?;
    second.remove("twice/removed").await?;
    second.put("tree/three levels", "three levels", 41 * 512).await?;
    second.put("na\u{ef}ve/\u{1f980}", "unicode", 300).await?;
    // What was replaced and removed goes, and volumes with it: from here on there are drops, marks and a catalog.
    second.store.gc().await?;
    second.put("twice/marked", "twice", 1_000).await?;
    second.put("marked", "after", 1_200).await?;
    second.store.close().await?;

    let mut third = open(path, Create::Never, second.listing).await?;
    third.put("late/inline", "late inline", 64).await?;
    third.put("late/tree", "late tree", 9 * 512).await?;
    third.put("removed", "removed", 900).await?;
    third.put_half("half", 1_400).await?;
    third.remove("inline").await?;
    third.store.abandon().await;
    Ok(third.listing)
}

#[tokio::main]
async fn main() -> Result<()> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let (path, list) = (data.join(format!("format-{FORMAT}")), data.join(format!("format-{FORMAT}.txt")));
    if path.try_exists()? || list.try_exists()? {
        return Err(format!("{} exists: what was released is never written again", path.display()).into());
    }
    let listing = fill(&path).await?;
    let mut text = String::new();
    for (name, (size, hash)) in listing {
        writeln!(text, "{size:>6} {hash} {name}")?;
    }
    std::fs::write(list, text)?;
    Ok(())
}
