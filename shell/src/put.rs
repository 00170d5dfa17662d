//! Storing a file: reading, hashing and sending overlap, and memory never grows with the file.
//!
//! One hop to a blocking thread reads the next blocks and hashes the file; another hashes the blocks before them; the
//! node meanwhile writes those before that. Bytes are sent only against credit that the node granted. A few bytes that
//! are in memory take no hop.

use std::fs::{File, Metadata};
use std::io::{self, Cursor, Read};
use std::path::Path;

use bytes::Bytes;
use dps_core::config::Geometry;
use dps_core::id::VerifiedChunk;
use dps_core::keystore::ingest::{FileDigest, Ingest};
use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;
use dps_core::node::{Reply, Request, StoredFile};

use crate::conversation::{Conversation, Link};
use crate::error::StoreError;

/// A hop goes on until it has read so many bytes, so that small blocks don't cost a hop each.
const HOP_BYTES: usize = 1 << 20;

/// What is at hand and no longer than this is read and hashed at once: that takes less than a hop does.
const AT_HAND_BYTES: u64 = 16 << 10;

/// Something to store.
pub struct Source {
    reader: Box<dyn Read + Send>,
    size: Option<u64>,
    /// Whether reading never blocks.
    at_hand: bool,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Source {
    /// The file at `path`, which may also be a pipe or a device. Blocks while a pipe has no writer.
    ///
    /// # Errors
    /// When it does not exist, can't be opened, or is a directory.
    pub fn file(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Self { size: declared_size(&metadata), reader: Box::new(file), at_hand: false })
    }

    /// Whatever `reader` gives until its end. With a `size`, it must be just so many bytes.
    pub fn reader(reader: impl Read + Send + 'static, size: Option<u64>) -> Self {
        Self { reader: Box::new(reader), size, at_hand: false }
    }

    /// These bytes.
    #[must_use]
    pub fn bytes(bytes: Bytes) -> Self {
        let size = Some(bytes.len() as u64);
        Self { reader: Box::new(Cursor::new(bytes)), size, at_hand: true }
    }
}

/// What a file says of its length. Those that the kernel makes up (such as in `/proc`) say 0 and are read like a pipe.
fn declared_size(metadata: &Metadata) -> Option<u64> {
    (metadata.is_file() && metadata.len() > 0).then_some(metadata.len())
}

/// A source that is being cut.
struct Feed {
    reader: Box<dyn Read + Send>,
    ingest: Ingest,
}

/// What one hop read.
enum Fed {
    /// Some blocks; there is more.
    Blocks(Feed, Vec<Bytes>),
    /// The rest, hashed at once since nothing is left to be read meanwhile; and what all make.
    Last(Vec<VerifiedChunk>, FileDigest),
}

impl Feed {
    /// Reads the next blocks. Blocks.
    fn read(mut self) -> Result<Fed, StoreError> {
        let (mut blocks, mut read) = (Vec::new(), 0);
        while read < HOP_BYTES {
            let wanted = self.ingest.wanted();
            let mut buffer = Vec::with_capacity(wanted);
            let limit = wanted as u64;
            self.reader.by_ref().take(limit).read_to_end(&mut buffer).map_err(StoreError::Source)?;
            let ended = buffer.len() < wanted;
            read += buffer.len();
            self.ingest.push(buffer.into(), &mut blocks)?;
            if ended {
                let digest = self.ingest.finish(&mut blocks)?;
                return Ok(Fed::Last(hash(blocks), digest));
            }
        }
        Ok(Fed::Blocks(self, blocks))
    }
}

fn hash(blocks: Vec<Bytes>) -> Vec<VerifiedChunk> {
    blocks.into_iter().map(VerifiedChunk::new).collect()
}

/// Stores `source` under `name`.
pub(crate) async fn put(
    link: &Link,
    geometry: &Geometry,
    source: Source,
    name: Name,
    expect: Expect,
) -> Result<StoredFile, StoreError> {
    let Source { reader, size, at_hand } = source;
    let is_short = at_hand && size.is_some_and(|bytes| bytes <= AT_HAND_BYTES);
    let feed = Feed { reader, ingest: Ingest::new(geometry, size) };
    // The first bytes are awaited before the node is asked, so that a pipe that is slow to begin holds no credit.
    let mut fed = if is_short { feed.read()? } else { hop(move || feed.read()).await?? };
    let mut sender = Sender { conversation: link.open(Request::PutOpen { name, expect, size }).await?, credit: 0 };
    let digest = loop {
        match fed {
            Fed::Blocks(feed, blocks) => {
                let next = tokio::task::spawn_blocking(move || feed.read());
                sender.send(hop(move || hash(blocks)).await?).await?;
                fed = next.await.map_err(|_| StoreError::Closed)??;
            }
            Fed::Last(chunks, digest) => {
                sender.send(chunks).await?;
                break digest;
            }
        }
    };
    sender.commit(digest).await
}

/// Runs `work` on a blocking thread.
async fn hop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)
}

/// The sending end of a put.
struct Sender {
    conversation: Conversation,
    /// Bytes that may be sent.
    credit: u64,
}

impl Sender {
    async fn send(&mut self, chunks: Vec<VerifiedChunk>) -> Result<(), StoreError> {
        for chunk in chunks {
            let bytes = chunk.bytes().len() as u64;
            while self.credit < bytes {
                match self.conversation.next().await? {
                    Reply::Credit { bytes } => self.credit += bytes,
                    _ => return Err(StoreError::Unexpected("a chunk")),
                }
            }
            self.credit -= bytes;
            self.conversation.send(Request::PutChunk(chunk)).await?;
        }
        Ok(())
    }

    async fn commit(mut self, digest: FileDigest) -> Result<StoredFile, StoreError> {
        self.conversation.send(Request::PutCommit(digest)).await?;
        loop {
            match self.conversation.next().await? {
                Reply::Credit { .. } => {}
                Reply::Stored(stored) => return Ok(*stored),
                _ => return Err(StoreError::Unexpected("a put")),
            }
        }
    }
}
