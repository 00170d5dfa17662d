//! A store in a data directory, as calls: what the command line uses, and what tests use.

use std::path::Path;
use std::sync::Arc;

use dps_core::config::{Config, ConfigError, Geometry, RawConfig};
use dps_core::disk::DiskResult;
use dps_core::id::OpId;
use dps_core::ledger::file::{Expect, FileStat, Target, TombstoneStat};
use dps_core::ledger::name::Name;
use dps_core::limits::LIST_PAGE_MAX;
use dps_core::node::{ByteRange, GcSummary, Node, Reply, Request, StoredFile, Usage, VerifyScope};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::conversation::Link;
use crate::disk::{Create, Directory, OpenError, Queue, Recorder, Worker};
use crate::driver::{Driver, Fate, INPUTS_MAX, Input};
use crate::entropy;
use crate::error::StoreError;
use crate::get::Get;
use crate::put::{Source, put};
use crate::verify::Verification;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Geometry, sizes and timeouts. All but the geometry may differ from one opening to the next.
    pub config: Config,
    /// Whether a store that does not exist is made.
    pub create: Create,
    /// Records everything that is written. For tests.
    pub recorder: Option<Arc<Recorder>>,
}

impl Options {
    /// What a real store uses; one that does not exist is not made.
    ///
    /// # Errors
    /// Never: the standard configuration is valid, and a test of the core says so.
    pub fn standard() -> Result<Self, ConfigError> {
        Ok(Self { config: Config::new(RawConfig::STANDARD)?, create: Create::Never, recorder: None })
    }
}

/// A page of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The names, in byte order.
    pub entries: Vec<FileStat>,
    /// Whether there are further ones after the last of these.
    pub more: bool,
}

/// An open store. All calls may run at the same time; each is a conversation with the node of its own.
///
/// A call that is dropped before it returns is cancelled. Dropping the store without [`Store::close`] is safe, like a
/// crash: everything acknowledged is durable.
#[derive(Debug)]
pub struct Store {
    link: Link,
    driver: JoinHandle<()>,
    geometry: Geometry,
}

impl Store {
    /// Opens the store in the data directory `path` and reads it in. Must be called within a tokio runtime with timers.
    ///
    /// # Errors
    /// When the directory can't be used, another process uses it, or the node finds that it can't go on.
    pub async fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        let (path, create) = (path.to_owned(), options.create);
        let opened = tokio::task::spawn_blocking(move || open_own(&path, create)).await;
        let directory = opened.map_err(|_| StoreError::Closed)??;
        let seed = entropy::seed().map_err(StoreError::Entropy)?;
        let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
        let completion = completion(inputs.downgrade());
        let disk = Queue::new(Worker::new(directory), completion, options.recorder);
        let (ready, serving) = oneshot::channel();
        let fate = Fate::default();
        let driver = Driver::new(Node::new(options.config, seed), receiver, disk, ready, fate.clone());
        let driver = tokio::spawn(driver.run());
        let link = Link::new(inputs, fate);
        if serving.await.is_err() {
            // Wait until the lock is given back, so that the error is the last thing that happens.
            let _ = driver.await;
            return Err(link.gone());
        }
        Ok(Self { link, driver, geometry: *options.config.geometry() })
    }

    /// Stores what `source` gives under `name`, if the name means what is expected. When this returns, it is durable.
    ///
    /// # Errors
    /// When the source can't be read or changes meanwhile, or the node refuses. Nothing is stored then, except after
    /// `OutcomeUnknown`, when the next start decides.
    pub async fn put(&self, source: Source, name: Name, expect: Expect) -> Result<StoredFile, StoreError> {
        put(&self.link, &self.geometry, source, name, expect).await
    }

    /// Starts reading a file, or a part of it.
    ///
    /// # Errors
    /// When there is no such file, or the range begins past its end.
    pub async fn get(&self, target: Target, range: Option<ByteRange>) -> Result<Get, StoreError> {
        Get::open(&self.link, target, range, 2 * u64::from(self.geometry.block_bytes_max())).await
    }

    /// Names that begin with `prefix` and come after `after`, at most a thousand.
    ///
    /// # Errors
    /// When the ledger is damaged.
    pub async fn list(&self, prefix: &str, after: Option<Name>) -> Result<Page, StoreError> {
        let request = Request::List { prefix: prefix.to_owned(), after, limit: LIST_PAGE_MAX };
        match self.link.ask(request).await? {
            Reply::Page { entries, more } => Ok(Page { entries, more }),
            _ => Err(StoreError::Unexpected("a listing")),
        }
    }

    /// What is known of a file.
    ///
    /// # Errors
    /// When there is no such file.
    pub async fn stat(&self, target: Target) -> Result<FileStat, StoreError> {
        match self.link.ask(Request::Stat(target)).await? {
            Reply::Stat(stat) => Ok(*stat),
            _ => Err(StoreError::Unexpected("a question for a file")),
        }
    }

    /// Removes a name, if it means what is expected. When this returns, that is durable.
    ///
    /// # Errors
    /// When there is no such name, or the node refuses.
    pub async fn delete(&self, name: Name, expect: Expect) -> Result<(), StoreError> {
        match self.link.ask(Request::Delete { name, expect }).await? {
            Reply::Deleted => Ok(()),
            _ => Err(StoreError::Unexpected("a removal")),
        }
    }

    /// Removes a name, if it means what is expected, and everything that could bring it back. When this returns, that is
    /// durable.
    ///
    /// # Errors
    /// When there is neither such a name nor anything to bring it back, or the node refuses.
    pub async fn purge(&self, name: Name, expect: Expect) -> Result<(), StoreError> {
        match self.link.ask(Request::Purge { name, expect }).await? {
            Reply::Deleted => Ok(()),
            _ => Err(StoreError::Unexpected("a removal")),
        }
    }

    /// Gives a name back what it meant in `version`, 0 for the newest that is kept, if it means what is expected.
    ///
    /// # Errors
    /// When that version is not kept any more, or the node refuses.
    pub async fn undelete(&self, name: Name, version: u64, expect: Expect) -> Result<FileStat, StoreError> {
        match self.link.ask(Request::Undelete { name, version, expect }).await? {
            Reply::Restored(stat) => Ok(*stat),
            _ => Err(StoreError::Unexpected("an undelete")),
        }
    }

    /// What can be undeleted, of names that begin with `prefix`, after a name and version; at most a thousand, and
    /// whether there is more.
    ///
    /// # Errors
    /// When the ledger is damaged.
    pub async fn tombstones(
        &self,
        prefix: &str,
        after: Option<(Name, u64)>,
    ) -> Result<(Vec<TombstoneStat>, bool), StoreError> {
        let request = Request::Tombstones { prefix: prefix.to_owned(), after, limit: LIST_PAGE_MAX };
        match self.link.ask(request).await? {
            Reply::Tombstones { entries, more } => Ok((entries, more)),
            _ => Err(StoreError::Unexpected("a listing")),
        }
    }

    /// Drops what nothing refers to any more, and gives its space back to the disk.
    ///
    /// # Errors
    /// When a collection is under way, a manifest can't be read, or the node refuses. Nothing that is referred to is
    /// ever lost.
    pub async fn gc(&self) -> Result<GcSummary, StoreError> {
        match self.link.ask(Request::Gc).await? {
            Reply::Collected(summary) => Ok(summary),
            _ => Err(StoreError::Unexpected("a collection")),
        }
    }

    /// Gives every content up: names stay and are missing until they are stored again. With `deep`, nothing stays.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn clean(&self, deep: bool) -> Result<(), StoreError> {
        match self.link.ask(Request::Clean { deep }).await? {
            Reply::Cleaned => Ok(()),
            _ => Err(StoreError::Unexpected("a clean")),
        }
    }

    /// How much is stored, and how much of it is needed.
    ///
    /// # Errors
    /// When the node is gone.
    pub async fn usage(&self) -> Result<Usage, StoreError> {
        match self.link.ask(Request::Usage).await? {
            Reply::Usage(usage) => Ok(*usage),
            _ => Err(StoreError::Unexpected("a question for space")),
        }
    }

    /// Starts reading and hashing every chunk of the scope. Changes nothing.
    ///
    /// # Errors
    /// When the node is gone.
    pub async fn verify(&self, scope: VerifyScope) -> Result<Verification, StoreError> {
        Verification::open(&self.link, scope).await
    }

    /// Finishes what is running, closes all files in good order, and gives the directory's lock back. A file that is still
    /// being read ends with an error.
    ///
    /// # Errors
    /// When the disk fails meanwhile; everything acknowledged is durable all the same.
    pub async fn close(self) -> Result<(), StoreError> {
        let closed = self.link.ask(Request::Close).await;
        self.abandon().await;
        match closed? {
            Reply::Closed => Ok(()),
            _ => Err(StoreError::Unexpected("closing")),
        }
    }

    /// Stops at once, as a crash of the process would, but waits for the disk and gives the lock back.
    pub async fn abandon(self) {
        let Self { link, driver, .. } = self;
        link.end().await;
        // A panic of the driver was reported when it happened.
        let _ = driver.await;
    }
}

/// Opens a data directory, unless it is that of a member of a group, whose ledger is not its own.
fn open_own(path: &Path, create: Create) -> Result<Directory, OpenError> {
    let directory = Directory::open(path, create)?;
    let io = |source| OpenError::Io { action: "read", path: path.to_owned(), source };
    match directory.mark().map_err(io)? {
        Some(mark) => Err(OpenError::Member { path: path.to_owned(), mark: String::from(mark.trim_end()) }),
        None => Ok(directory),
    }
}

/// Brings the disk's results to the driver for as long as it has clients.
fn completion(inputs: mpsc::WeakSender<Input>) -> Box<dyn Fn(OpId, DiskResult) + Send + Sync> {
    Box::new(move |op, result| {
        if let Some(inputs) = inputs.upgrade() {
            // An error means that the driver has stopped and nobody waits for the result.
            let _ = inputs.blocking_send(Input::DiskDone { op, result });
        }
    })
}
