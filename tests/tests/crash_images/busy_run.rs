//! A busy run of a real store on the real disk, recorded: several clients at once, collections one after the other, files
//! that roll over, and starts after ends of both kinds.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dps::disk::recorder::Entry;
use dps::disk::{Create, Directory, Queue, Recorder, Worker};
use dps::put::Source;
use dps::{Options, Store, StoreError};
use dps_core::config::{Config, RawConfig};
use dps_core::disk::{DiskRequest, File};
use dps_core::id::OpId;
use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;
use dps_core::rng::{Rng, Seed};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::check::list;
use crate::content::Contents;
use crate::history::{Happening, Journal, Listing, Meaning};

/// No chunk is longer.
pub(crate) const BLOCK_BYTES_MAX: u64 = 1_024;

const CLIENTS: u64 = 6;
const NAMES_PER_CLIENT: u64 = 9;

/// How the store stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In the middle of everything.
    Abandoned,
    /// In good order.
    Closed,
}

/// The starts of the run: operations acknowledged before the end, and that end.
const BOOTS: [(usize, End); 5] =
    [(170, End::Abandoned), (110, End::Abandoned), (90, End::Closed), (70, End::Abandoned), (0, End::Closed)];

/// What the run has left behind.
#[derive(Debug)]
pub(crate) struct BusyRun {
    pub(crate) contents: Contents,
    /// What was written, with the marks of the journal.
    pub(crate) log: Vec<Entry>,
    /// The journal of the clients.
    pub(crate) happenings: Vec<Happening>,
}

/// Small blocks, volumes and segments, so that there are many of each.
pub(crate) fn config() -> Config {
    let raw = RawConfig {
        block_bytes_min: 256,
        block_bytes_max: u32::try_from(BLOCK_BYTES_MAX).expect("blocks are small"),
        blocks_target: 16,
        large_file_blocks: 4,
        inline_bytes_max: 64,
        manifest_entries_max: 4,
        manifest_fanout: 4,
        volume_bytes: 24 << 10,
        segment_bytes: 4 << 10,
        snapshot_entries: 60,
        ingest_bytes_max: 64 << 10,
        settle_after: Duration::from_micros(100),
        credit_timeout: Duration::from_secs(3_600),
        retain: Duration::ZERO,
        sweep_wait: Duration::from_secs(3_600),
        // A chunk every few milliseconds.
        scrub_period: Duration::from_secs(2),
    };
    Config::new(raw).expect("the configuration is valid")
}

/// The options of every store in these tests.
pub(crate) fn options(recorder: Option<Arc<Recorder>>) -> Options {
    Options { config: config(), create: Create::Directory, recorder }
}

impl BusyRun {
    /// Runs it.
    pub(crate) async fn record(seed: &Seed) -> Self {
        let directory = tempfile::tempdir().expect("tests can write temporary files");
        let recorder = Arc::new(Recorder::new());
        let journal = Arc::new(Journal::new(Arc::clone(&recorder)));
        let contents = Arc::new(Contents::new(&seed.split("contents", 0)));
        for (boot, (acknowledged, end)) in (0..).zip(BOOTS) {
            if boot == 2 {
                leave_behind(directory.path(), Arc::clone(&recorder)).await;
            }
            let opened = Store::open(directory.path(), options(Some(Arc::clone(&recorder)))).await;
            let store = Arc::new(opened.expect("the store opens"));
            let names = list(&store).await.expect("names can be listed");
            journal.note(Happening::Opened(names.clone()));
            let office = Office { store, journal: Arc::clone(&journal), contents: Arc::clone(&contents) };
            office.work(&names, &seed.split("boot", boot), acknowledged, end).await;
        }
        let (log, happenings) = (recorder.entries(), journal.happenings());
        let contents = Arc::into_inner(contents).expect("all clients are gone");
        Self { contents, log, happenings }
    }
}

/// Leaves a staged file in the directory, as a start does that dies while it makes one.
async fn leave_behind(path: &Path, recorder: Arc<Recorder>) {
    let directory = Directory::open(path, Create::Never).expect("nobody uses the store");
    let queue = Queue::new(Worker::new(directory), Box::new(|_, result| drop(result)), Some(recorder));
    let parts = vec![Bytes::from(vec![0x5a; 700])];
    let request = DiskRequest::Append { file: File::Stage(9), offset: 0, parts };
    queue.submit(OpId { boot: 0, sequence: 0 }, request);
    queue.close().await;
}

/// A store and those who use it.
#[derive(Clone)]
struct Office {
    store: Arc<Store>,
    journal: Arc<Journal>,
    contents: Arc<Contents>,
}

impl Office {
    /// Gives space back, over and over.
    async fn collect(self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            self.store.gc().await.expect("a collection comes to its end");
        }
    }

    /// Lets clients work until so many operations are acknowledged, and then ends the store.
    async fn work(self, names: &Listing, seed: &Seed, acknowledged: usize, end: End) {
        let (done, mut dones) = mpsc::unbounded_channel();
        let stop = Arc::new(AtomicBool::new(acknowledged == 0));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let held = (0..NAMES_PER_CLIENT).filter(|index| names.contains_key(&name_of(number, *index))).collect();
            let rng = seed.split("client", number).rng();
            let client = Client { office: self.clone(), number, held, rng, done: done.clone() };
            clients.spawn(client.work(Arc::clone(&stop)));
        }
        clients.spawn(self.clone().collect(Arc::clone(&stop)));
        // If all clients fail, waiting for them ends.
        drop(done);
        for _ in 0..acknowledged {
            dones.recv().await.expect("clients go on until they are stopped");
        }
        match end {
            End::Abandoned => clients.abort_all(),
            End::Closed => stop.store(true, Ordering::Relaxed),
        }
        while let Some(joined) = clients.join_next().await {
            assert!(joined.is_ok() || joined.is_err_and(|error| error.is_cancelled()), "a client fails");
        }
        let store = Arc::into_inner(self.store).expect("all clients are gone");
        match end {
            End::Abandoned => store.abandon().await,
            End::Closed => store.close().await.expect("the store closes"),
        }
    }
}

fn name_of(client: u64, index: u64) -> String {
    format!("client {client}/{index}")
}

/// Someone who puts and removes names of its own, one operation at a time.
struct Client {
    office: Office,
    number: u64,
    /// Names that mean something.
    held: BTreeSet<u64>,
    rng: Rng,
    done: mpsc::UnboundedSender<()>,
}

impl Client {
    async fn work(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let index = self.rng.below(NAMES_PER_CLIENT);
            if self.rng.chance(1, 16) {
                self.put_half(index).await;
            } else if self.held.contains(&index) && self.rng.chance(1, 4) {
                self.remove(index).await;
            } else {
                self.put(index).await;
            }
        }
    }

    async fn put(&mut self, index: u64) {
        let text = name_of(self.number, index);
        let (file, bytes) = self.office.contents.pick(&mut self.rng);
        // Half of the sources don't know their size.
        let size = self.rng.chance(1, 2).then_some(bytes.len() as u64);
        let source = Source::reader(io::Cursor::new(bytes), size);
        self.office.journal.note(Happening::Began { name: text.clone(), becomes: Some(file) });
        let stored = self.office.store.put(source, name(&text), Expect::Any).await.expect("a put succeeds");
        assert_eq!(stored.stat.file, file);
        let now = Some(Meaning { file, version: stored.stat.version });
        self.acknowledged(text, now);
        self.held.insert(index);
    }

    async fn remove(&mut self, index: u64) {
        let text = name_of(self.number, index);
        self.office.journal.note(Happening::Began { name: text.clone(), becomes: None });
        let removed = if self.rng.chance(1, 2) {
            self.office.store.delete(name(&text), Expect::Any).await
        } else {
            self.office.store.purge(name(&text), Expect::Any).await
        };
        removed.expect("a removal succeeds");
        self.acknowledged(text, None);
        self.held.remove(&index);
    }

    /// A put whose source breaks off. Not in the journal: it may never be seen.
    async fn put_half(&mut self, index: u64) {
        let (_, bytes) = self.office.contents.pick(&mut self.rng);
        let source = Source::reader(io::Cursor::new(bytes).chain(Broken), None);
        let put = self.office.store.put(source, name(&name_of(self.number, index)), Expect::Any).await;
        assert!(matches!(put, Err(StoreError::Source(_))), "{put:?}");
    }

    fn acknowledged(&self, name: String, now: Option<Meaning>) {
        self.office.journal.note(Happening::Acknowledged { name, now });
        // Whoever counts may have counted enough.
        let _ = self.done.send(());
    }
}

/// The end of a source that breaks off.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("names of clients are valid")
}
