//! A log of everything that was written, to build from it what a crash could have left.

use std::sync::{Mutex, MutexGuard, PoisonError};

use dps_core::disk::DiskRequest;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An append, sync, publish or removal was issued.
    Issued {
        /// Which, dense from 1 in the order of issue.
        ticket: u64,
        /// What it does; bytes are shared with the writer, not copied.
        request: DiskRequest,
    },
    /// It ended, before the node heard of it.
    Done {
        /// Which.
        ticket: u64,
        /// Whether it succeeded.
        ok: bool,
    },
    /// Whoever records put a mark here, such as an acknowledgement that a client received.
    Mark(u64),
}

/// Records what is written, in the order in which it was issued and ended.
///
/// Grows without bound and keeps every byte: it is for tests, and nothing records unless it is told to.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Log>);

#[derive(Debug, Default)]
struct Log {
    entries: Vec<Entry>,
    tickets: u64,
}

impl Recorder {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a mark into the log.
    pub fn mark(&self, mark: u64) {
        self.log().entries.push(Entry::Mark(mark));
    }

    /// Everything recorded so far.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.log().entries.clone()
    }

    /// Records that `request` is issued; returns its ticket.
    pub(crate) fn issued(&self, request: &DiskRequest) -> u64 {
        let mut log = self.log();
        log.tickets += 1;
        let ticket = log.tickets;
        log.entries.push(Entry::Issued { ticket, request: request.clone() });
        ticket
    }

    /// Records that the request with this ticket ended.
    pub(crate) fn done(&self, ticket: u64, ok: bool) {
        self.log().entries.push(Entry::Done { ticket, ok });
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
