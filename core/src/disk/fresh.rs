//! The file that continues where an earlier boot's file was left open (rule J5): made under a staged name, published as
//! a whole, and only then written to like any other.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::record::volume::{DropRecord, MarkRecord};
use super::record::{FileKind, Head, Kind, Predecessor, Stamp};
use super::stray::Strays;
use super::writer::{Writer, WriterOp, Written};
use super::{DiskError, DiskRequest, DiskResult, File};
use crate::disk::boot::BootRecord;
use crate::id::VerifiedChunk;

/// A file in the making. One request is outstanding at a time.
#[derive(Debug)]
pub struct Fresh {
    writer: Writer,
    requests: VecDeque<(WriterOp, DiskRequest)>,
    outstanding: Option<WriterOp>,
    published: bool,
}

impl Fresh {
    /// The successor of an older file that ends at `predecessor`, past all strays.
    ///
    /// # Panics
    /// When there is no older file.
    #[must_use]
    pub fn new(boot: &BootRecord, kind: FileKind, predecessor: Predecessor, strays: &Strays) -> Self {
        // So its staged file has a number above those of boot records, catalogs and checkpoints.
        assert!(predecessor.number > 0, "a file that goes on has one before it");
        let number = strays.next(kind, predecessor.number);
        let stamp = Stamp::new(&boot.key, kind, number);
        let head = Head { predecessor, store: boot.store, boot_random: boot.random };
        // Journals and volumes are recovered one after the other, so their staged files could share a number; they
        // don't, so that a left-over is recognisable.
        let stage = match kind {
            FileKind::Journal => 2 * number,
            FileKind::Volume => 2 * number + 1,
        };
        let writer = Writer::stage(stamp, stage, boot.boot, &head);
        Self { writer, requests: VecDeque::new(), outstanding: None, published: false }
    }

    /// The file it will be.
    #[must_use]
    pub const fn file(&self) -> File {
        self.writer.file()
    }

    /// Adds an entry.
    pub fn entry(&mut self, body: &[u8]) -> Written {
        self.record(Kind::Entry, body)
    }

    /// Adds a record whose body is covered as a whole.
    ///
    /// # Panics
    /// When the body is too long for its kind.
    pub fn record(&mut self, kind: Kind, body: &[u8]) -> Written {
        self.writer.record(kind, body)
    }

    /// Adds a chunk under the sequence and the mark it has.
    pub fn chunk(&mut self, sequence: u64, mark: u64, chunk: &VerifiedChunk) -> Written {
        self.writer.chunk(sequence, mark, chunk)
    }

    /// Adds a mark under the sequence it has.
    pub fn mark(&mut self, sequence: u64, mark: &MarkRecord) -> Written {
        self.writer.mark(sequence, mark)
    }

    /// Adds the word that chunks are gone, under the sequence it has.
    pub fn dropped(&mut self, sequence: u64, dropped: &DropRecord) -> Written {
        self.writer.dropped(sequence, dropped)
    }

    /// Issues what was added, so that memory holds no more than one step's records.
    pub fn append(&mut self) {
        self.issue(Writer::append);
    }

    /// Issues the rest and the publication.
    pub fn publish(&mut self) {
        self.issue(Writer::publish);
    }

    fn issue(&mut self, issue: fn(&mut Writer, &mut Vec<(WriterOp, DiskRequest)>)) {
        let mut requests = Vec::new();
        issue(&mut self.writer, &mut requests);
        self.requests.extend(requests);
    }

    /// The next request to perform, if one is due.
    pub fn request(&mut self) -> Option<DiskRequest> {
        assert!(self.outstanding.is_none(), "one request at a time");
        let (op, request) = self.requests.pop_front()?;
        self.outstanding = Some(op);
        Some(request)
    }

    /// The result of the request.
    ///
    /// # Errors
    /// What the disk said, when the file can't be made.
    pub fn done(&mut self, result: &DiskResult) -> Result<(), DiskError> {
        let op = self.outstanding.take().expect("a completion belongs to a request");
        self.writer.done(op, result);
        self.published = matches!(op, WriterOp::Publish { .. });
        self.writer.failed().map_or(Ok(()), Err)
    }

    /// Whether a request is outstanding.
    #[must_use]
    pub const fn is_outstanding(&self) -> bool {
        self.outstanding.is_some()
    }

    /// The published file, ready for more records; `None` before its publication.
    #[must_use]
    pub fn into_writer(self) -> Option<Writer> {
        self.published.then_some(self.writer)
    }

    /// Whether the file has its name.
    #[must_use]
    pub const fn is_published(&self) -> bool {
        self.published
    }
}
