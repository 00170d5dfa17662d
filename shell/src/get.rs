//! Reading a file back: the next bytes are fetched and proven while those before them are consumed.

use bytes::Bytes;
use dps_core::ledger::file::{FileStat, Target};
use dps_core::node::{ByteRange, Reply, Request};

use crate::conversation::{Conversation, Link};
use crate::error::StoreError;

/// A file that is being read. Dropping it ends the reading.
#[derive(Debug)]
pub struct Get {
    conversation: Conversation,
    stat: FileStat,
    first: u64,
    bytes: u64,
    /// Bytes that came. Invariant: `received <= granted <= bytes`.
    received: u64,
    /// Bytes that the node was allowed to send.
    granted: u64,
    /// Bytes that may be on their way.
    window: u64,
    complete: bool,
}

impl Get {
    pub(crate) async fn open(
        link: &Link,
        target: Target,
        range: Option<ByteRange>,
        window: u64,
    ) -> Result<Self, StoreError> {
        let mut conversation = link.open(Request::GetOpen { target, range }).await?;
        let Reply::Opened { stat, first, bytes } = conversation.next().await? else {
            return Err(StoreError::Unexpected("a get"));
        };
        let (received, granted, complete) = (0, 0, false);
        let mut get = Self { conversation, stat: *stat, first, bytes, received, granted, window, complete };
        get.grant().await?;
        Ok(get)
    }

    /// What is known of the file.
    #[must_use]
    pub fn stat(&self) -> &FileStat {
        &self.stat
    }

    /// The first byte that comes, counted from 0.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Bytes that come in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next bytes, proven to be what was stored; `None` after the last ones.
    ///
    /// # Errors
    /// When a chunk is damaged or can't be read; the bytes before it were good.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.complete {
            return Ok(None);
        }
        match self.conversation.next().await? {
            Reply::Data(data) => {
                self.received += data.len() as u64;
                if self.received > self.granted {
                    return Err(StoreError::Unexpected("a grant"));
                }
                self.grant().await?;
                Ok(Some(data))
            }
            Reply::Complete if self.received == self.bytes => {
                self.complete = true;
                Ok(None)
            }
            _ => Err(StoreError::Unexpected("a get")),
        }
    }

    /// Tops the grant up once half of the window is used.
    async fn grant(&mut self) -> Result<(), StoreError> {
        let outstanding = self.granted - self.received;
        let more = (self.window - outstanding).min(self.bytes - self.granted);
        if more > 0 && outstanding <= self.window / 2 {
            self.granted += more;
            self.conversation.send(Request::GetMore { bytes: more }).await?;
        }
        assert!(self.received <= self.granted && self.granted <= self.bytes, "grants cover what comes, and no more");
        Ok(())
    }
}
