//! Appending records to one file, with group commit by outstanding sync (rules J1, J2, J9, J10).
//!
//! A flush never issues a second sync while one is outstanding: its completion issues the next. So every record that
//! came meanwhile shares one sync, and nobody waits for a timer. Records that only wait for that sync share one append
//! too, unless they are so many that the disk had better begin with them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::record::volume::{DropRecord, MarkRecord};
use super::record::{CHUNK_PREFIX_LEN, Head, Header, Kind, MARK_BODY_LEN, Predecessor, Stamp};
use super::{DiskError, DiskRequest, DiskResult, File};
use crate::id::VerifiedChunk;
use crate::limits::{HELD_BYTES_MAX, HELD_RECORDS_MAX};

/// Bodies at least this long are passed on by reference instead of being copied into the batch.
const SHARE_BYTES_MIN: usize = 4 << 10;

/// Which request a completion belongs to. Positions are those of the file's last record that the request covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WriterOp {
    /// An append.
    Append {
        /// The last record in it.
        through: u64,
    },
    /// A sync.
    Sync {
        /// The last record appended before it.
        through: u64,
    },
    /// The publication of a staged file.
    Publish {
        /// The last record in the file.
        through: u64,
    },
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The record's position in its file.
    pub position: u64,
    /// Where it starts, in bytes.
    pub offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Takes records.
    Open,
    /// Takes none; the footer follows once all is durable.
    Sealing,
    /// The footer is written; nothing follows.
    Footed,
    /// A request failed: nothing is written any more.
    Failed(DiskError),
}

/// The end of a file that this boot writes.
///
/// Invariant: `durable_through <= written_through <= issued_through < next_position`.
#[derive(Debug)]
pub struct Writer {
    stamp: Stamp,
    /// Where bytes go: the file itself, or a staged one until it is published.
    target: File,
    boot: u64,
    state: State,
    next_position: u64,
    /// Bytes of the file, those of the batch included.
    offset: u64,
    /// Records encoded and not yet issued.
    batch: Vec<Bytes>,
    /// The end of the batch that is still being encoded.
    open: Vec<u8>,
    /// Where the batch starts in the file.
    batch_offset: u64,
    /// The last record whose append was issued.
    issued_through: u64,
    /// The last record up to which every append was acknowledged.
    written_through: u64,
    /// The appends above `written_through` by their last record, ascending, and whether each was acknowledged: results
    /// may arrive in another order than that in which the requests run.
    appends: VecDeque<(u64, bool)>,
    /// The last record whose sync was acknowledged.
    synced_through: u64,
    /// The last record known durable: written and synced.
    durable_through: u64,
    /// The sync that is outstanding.
    syncing: Option<u64>,
    directory_synced: bool,
}

impl Writer {
    /// A new file, whose head is its first record. Nothing is issued before a flush.
    #[must_use]
    pub fn create(stamp: Stamp, boot: u64, head: &Head) -> Self {
        Self::at(stamp, stamp.file(), boot, head)
    }

    /// A new file in the making: it is synced and named only by [`Writer::publish`].
    #[must_use]
    pub fn stage(stamp: Stamp, stage: u64, boot: u64, head: &Head) -> Self {
        Self::at(stamp, File::Stage(stage), boot, head)
    }

    fn at(stamp: Stamp, target: File, boot: u64, head: &Head) -> Self {
        assert!(boot > 0, "no file is written before the boot record is");
        assert!(head.predecessor.number < stamp.number(), "file numbers only grow");
        let mut writer = Self {
            stamp,
            target,
            boot,
            state: State::Open,
            next_position: 1,
            offset: 0,
            batch: Vec::new(),
            open: Vec::new(),
            batch_offset: 0,
            issued_through: 0,
            written_through: 0,
            appends: VecDeque::new(),
            synced_through: 0,
            durable_through: 0,
            syncing: None,
            directory_synced: false,
        };
        writer.small(Kind::Head, &head.encode());
        writer
    }

    /// The file that the records belong to.
    #[must_use]
    pub const fn file(&self) -> File {
        self.stamp.file()
    }

    /// The file's number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.stamp.number()
    }

    /// Bytes of the file, those not yet written included.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.offset
    }

    /// The last record known durable, 0 for none.
    #[must_use]
    pub const fn durable_through(&self) -> u64 {
        self.durable_through
    }

    /// The last record taken.
    #[must_use]
    pub const fn last_position(&self) -> u64 {
        self.next_position - 1
    }

    /// Whether records are taken.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether the footer is durable, so that a successor may take records.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        matches!(self.state, State::Footed) && self.durable_through == self.last_position()
    }

    /// The error that stopped this file.
    #[must_use]
    pub const fn failed(&self) -> Option<DiskError> {
        match self.state {
            State::Failed(error) => Some(error),
            State::Open | State::Sealing | State::Footed => None,
        }
    }

    /// Whether requests are outstanding or records wait to be issued or synced.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        !matches!(self.state, State::Failed(_)) && self.durable_through < self.last_position()
    }

    /// What the head of the next file says about this one.
    ///
    /// # Panics
    /// When this file is not sealed (rule J2).
    #[must_use]
    pub fn as_predecessor(&self) -> Predecessor {
        assert!(self.is_sealed(), "a file ends with a synced footer before its successor takes a record");
        Predecessor { number: self.number(), position: self.last_position(), offset: self.offset }
    }

    /// Takes a record whose body is covered as a whole.
    ///
    /// # Panics
    /// When the file takes no records, or the body is too long for its kind.
    pub fn record(&mut self, kind: Kind, body: &[u8]) -> Written {
        assert!(self.is_open(), "only an open file takes records");
        self.small(kind, body)
    }

    /// Takes a chunk with its mark; its bytes are shared, not copied, unless they are few.
    ///
    /// # Panics
    /// When the file takes no records, or the mark is beyond its bound.
    pub fn chunk(&mut self, sequence: u64, mark: u64, chunk: &VerifiedChunk) -> Written {
        assert!(self.is_open(), "only an open file takes records");
        let bytes = chunk.bytes();
        let id = chunk.id();
        let written = if mark == 0 {
            self.push(Kind::Chunk, sequence, CHUNK_PREFIX_LEN + bytes.len(), id.as_bytes())
        } else {
            let prefix = MarkRecord { chunk: id, mark }.encode();
            self.push(Kind::MarkedChunk, sequence, prefix.len() + bytes.len(), &prefix)
        };
        if bytes.len() < SHARE_BYTES_MIN {
            self.open.extend_from_slice(bytes);
        } else {
            let head = mem::take(&mut self.open);
            self.batch.push(Bytes::from(head));
            self.batch.push(bytes.clone());
        }
        self.offset += bytes.len() as u64;
        written
    }

    /// Takes a mark of a chunk.
    ///
    /// # Panics
    /// When the file takes no records, or the mark is none.
    pub fn mark(&mut self, sequence: u64, mark: &MarkRecord) -> Written {
        assert!(self.is_open(), "only an open file takes records");
        self.push(Kind::Mark, sequence, MARK_BODY_LEN, &mark.encode())
    }

    /// Takes the word that chunks are gone.
    ///
    /// # Panics
    /// When the file takes no records, or the word makes no sense.
    pub fn dropped(&mut self, sequence: u64, dropped: &DropRecord) -> Written {
        assert!(self.is_open(), "only an open file takes records");
        let body = dropped.encode();
        self.push(Kind::Drop, sequence, body.len(), &body)
    }

    fn small(&mut self, kind: Kind, body: &[u8]) -> Written {
        self.push(kind, 0, body.len(), body)
    }

    fn push(&mut self, kind: Kind, sequence: u64, body_len: usize, covered: &[u8]) -> Written {
        let position = self.next_position;
        let written = Written { position, offset: self.offset };
        let body_len = u32::try_from(body_len).expect("bodies are bounded far below 4 GiB");
        let durable_through = self.durable_through;
        let header = Header { kind, boot: self.boot, position, sequence, durable_through, body_len };
        header.encode(&self.stamp, self.offset, covered, &mut self.open);
        self.offset += header.covered_len() as u64;
        self.next_position += 1;
        written
    }

    /// Takes no further records; the footer follows by itself, and [`Writer::is_sealed`] tells when it is durable.
    pub fn seal(&mut self) {
        if self.is_open() {
            self.state = State::Sealing;
        }
    }

    /// Issues what is due: the append of everything taken and a sync, if none is outstanding. While one is, the append
    /// of [`HELD_RECORDS_MAX`] or [`HELD_BYTES_MAX`] or more.
    pub fn flush(&mut self, out: &mut Vec<(WriterOp, DiskRequest)>) {
        assert!(!matches!(self.target, File::Stage(_)), "a staged file is published instead");
        let all_durable = self.durable_through == self.last_position();
        if self.state == State::Sealing && all_durable {
            self.small(Kind::Footer, &[]);
            self.state = State::Footed;
        }
        if self.failed().is_some() {
            return;
        }
        let (records, bytes) = (self.last_position() - self.issued_through, self.offset - self.batch_offset);
        if self.syncing.is_none() || records >= HELD_RECORDS_MAX || bytes >= HELD_BYTES_MAX {
            self.append(out);
        }
        let unsynced = self.issued_through > self.synced_through;
        if unsynced && self.syncing.is_none() {
            let through = self.issued_through;
            self.syncing = Some(through);
            let request = DiskRequest::Sync { file: self.target, directory: !self.directory_synced };
            out.push((WriterOp::Sync { through }, request));
        }
        self.check();
    }

    /// Issues the append of everything taken and no sync.
    pub fn append(&mut self, out: &mut Vec<(WriterOp, DiskRequest)>) {
        if self.open.is_empty() && self.batch.is_empty() {
            return;
        }
        let rest = mem::take(&mut self.open);
        if !rest.is_empty() {
            self.batch.push(Bytes::from(rest));
        }
        let request =
            DiskRequest::Append { file: self.target, offset: self.batch_offset, parts: mem::take(&mut self.batch) };
        self.batch_offset = self.offset;
        self.issued_through = self.last_position();
        self.appends.push_back((self.issued_through, false));
        out.push((WriterOp::Append { through: self.issued_through }, request));
    }

    /// Ends a staged file with an empty record that knows all before it durable, which is true from the moment the file
    /// has its name, and issues its last append and its publication (rule J5).
    pub fn publish(&mut self, out: &mut Vec<(WriterOp, DiskRequest)>) {
        let File::Stage(stage) = self.target else { panic!("only a staged file is published") };
        let last = self.last_position();
        let durable_through = mem::replace(&mut self.durable_through, last);
        self.small(Kind::Empty, &[]);
        self.durable_through = durable_through;
        self.append(out);
        let through = self.issued_through;
        self.syncing = Some(through);
        out.push((WriterOp::Publish { through }, DiskRequest::Publish { stage, to: self.stamp.file() }));
    }

    /// Takes the result of a request of this file. Afterwards [`Writer::durable_through`] and [`Writer::failed`] may
    /// have changed; a flush issues what has become due.
    ///
    /// # Panics
    /// When the request was never issued.
    pub fn done(&mut self, op: WriterOp, result: &DiskResult) {
        match result {
            Err(error) if self.failed().is_none() => self.state = State::Failed(*error),
            Ok(_) | Err(_) => {}
        }
        match op {
            WriterOp::Append { through } => {
                let append = self.appends.iter_mut().find(|(issued, done)| *issued == through && !done);
                append.expect("a completion belongs to an append that was issued").1 = result.is_ok();
                while let Some((through, _)) = self.appends.pop_front_if(|(_, done)| *done) {
                    self.written_through = through;
                }
            }
            WriterOp::Sync { through } => {
                assert_eq!(self.syncing.take(), Some(through), "one sync at a time");
                if result.is_ok() {
                    self.synced_through = through;
                    self.directory_synced = true;
                }
            }
            WriterOp::Publish { through } => {
                assert_eq!(self.syncing.take(), Some(through), "one publication");
                if result.is_ok() {
                    self.synced_through = through;
                    self.directory_synced = true;
                    self.target = self.stamp.file();
                }
            }
        }
        // A sync that succeeds behind a failed append proves nothing.
        if self.failed().is_none() {
            self.durable_through = self.synced_through.min(self.written_through);
        }
        self.check();
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        assert!(self.durable_through <= self.written_through, "what is durable was written");
        assert!(self.written_through <= self.issued_through, "what was written was issued");
        assert!(self.issued_through < self.next_position, "what was issued was taken");
        assert!(self.batch_offset <= self.offset, "a batch lies within its file");
        assert!(self.appends.iter().is_sorted(), "appends are issued in order");
        let idle = self.open.is_empty() && self.batch.is_empty();
        assert_eq!(idle, self.issued_through == self.last_position(), "a batch holds what was not issued");
    }
}

#[cfg(test)]
mod tests;
