//! Reading one file of records from start to end, past whatever is broken (rule J4).
//!
//! The scan does no IO: it says what to read next and is fed the bytes. It finds records, and gaps where records should
//! be; what a gap means is decided by [`super::recover`], which knows how far the file was durable.

use alloc::vec::Vec;

use bytes::Bytes;

use super::DiskError;
use super::damage::DamageKind;
use super::record::{COVERED_MAX, HEADER_LEN, Header, Kind, Parsed, Stamp, parse};
use crate::limits::{OFFSET_MAX, POSITION_MAX, SEQUENCE_FOUND_MAX};

/// Bytes of an ordinary read.
const WINDOW_LEN: u32 = 128 << 10;

/// Bytes of a read behind a large body, which is skipped: room for one more record's covered part.
const SKIP_WINDOW_LEN: u32 = 512;

/// What no checksum covers is skipped instead of read if it is at least this long.
const SKIP_LEN: u64 = 32 << 10;

/// The unit in which disks fail to read.
const SECTOR_LEN: u64 = 512;

const _: () = assert!(WINDOW_LEN as usize >= COVERED_MAX);

/// A whole record, as far as its checksum covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it says of itself.
    pub header: Header,
    /// Where it starts in the file.
    pub offset: u64,
    /// The covered part of its body.
    pub covered: Bytes,
}

impl Record {
    /// The byte after the record.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.offset + self.header.record_len()
    }
}

/// A stretch in which no record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where it starts in the file.
    pub offset: u64,
    /// The position of the first record that is not there.
    pub first: u64,
    /// The position of the last one, if a later record was found.
    pub last: Option<u64>,
    /// Why nothing was found.
    pub kind: DamageKind,
}

/// What the scan wants or has found. Found items come in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Read so much and call [`Scanner::feed`].
    Read {
        /// From here.
        offset: u64,
        /// Bytes.
        len: u32,
    },
    /// A record.
    Record(Record),
    /// No record where one should be.
    Gap(Gap),
    /// The file has nothing more.
    End,
}

/// A scan of one file.
#[derive(Debug)]
pub struct Scanner {
    stamp: Stamp,
    /// Bytes of the file.
    len: u64,
    /// Where the next record should start, or is searched.
    offset: u64,
    /// Its position in the file.
    next: u64,
    gap: Option<Gap>,
    window: Vec<u8>,
    window_offset: u64,
    window_len: u32,
    /// The end of a read that failed: up to there, sectors are read one by one.
    narrow_through: u64,
    /// The end of the last sector that could not be read.
    unreadable_through: u64,
    /// Why the file as a whole can't be read.
    refused: Option<DiskError>,
    /// Nothing more is to be found.
    ended: bool,
}

impl Scanner {
    /// A scan of the file with this stamp, which has `len` bytes.
    #[must_use]
    pub const fn new(stamp: Stamp, len: u64) -> Self {
        Self {
            stamp,
            len,
            offset: 0,
            next: 1,
            gap: None,
            window: Vec::new(),
            window_offset: 0,
            window_len: WINDOW_LEN,
            narrow_through: 0,
            unreadable_through: 0,
            refused: None,
            ended: false,
        }
    }

    /// The next thing found, or the read that is needed to find it.
    pub fn advance(&mut self) -> Scan {
        loop {
            let step = if self.ended {
                Some(Scan::End)
            } else if self.gap.is_some() {
                self.search()
            } else {
                self.follow()
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// The result of the read that was asked for.
    pub fn feed(&mut self, result: Result<&[u8], DiskError>) {
        let (offset, len) = self.read_request();
        match result {
            Ok(bytes) => {
                self.window.extend_from_slice(bytes);
                if (bytes.len() as u64) < u64::from(len) {
                    self.len = self.window_end();
                }
            }
            Err(DiskError::Io(_)) if offset >= self.narrow_through => self.narrow_through = offset + u64::from(len),
            Err(DiskError::Io(_)) => {
                // The sector is lost. Zeros stand in for it, and no record is made of zeros.
                self.window.resize(self.window.len() + len as usize, 0);
                self.unreadable_through = self.window_end();
            }
            Err(
                error @ (DiskError::NotFound
                | DiskError::Exists
                | DiskError::Full
                | DiskError::ReadOnly
                | DiskError::Denied),
            ) => {
                // It is not the medium that fails but the file as a whole: no other sector will do better.
                if self.gap.is_none() {
                    self.open_gap(DamageKind::Unreadable);
                }
                self.offset = self.len;
                self.refused = Some(error);
            }
        }
    }

    /// Why the file as a whole can't be read: the scan ended early.
    #[must_use]
    pub const fn refused(&self) -> Option<DiskError> {
        self.refused
    }

    /// Reads the record that should start at `offset`; opens a gap if there is none.
    fn follow(&mut self) -> Option<Scan> {
        if self.offset >= self.len {
            return Some(Scan::End);
        }
        match self.parse_at() {
            Err(read) => Some(read),
            Ok(Some(header)) if header.position == self.next && self.fits(&header) => Some(self.found(header)),
            Ok(Some(header)) if header.position == self.next => {
                self.open_gap(DamageKind::Truncated);
                None
            }
            Ok(_) => {
                let cut = self.offset + HEADER_LEN as u64 > self.len;
                self.open_gap(if cut { DamageKind::Truncated } else { DamageKind::Broken });
                None
            }
        }
    }

    /// Looks for the next record behind a gap, byte by byte.
    fn search(&mut self) -> Option<Scan> {
        let mut gap = self.gap.expect("searched only in a gap");
        if self.offset >= self.len {
            self.ended = true;
            self.gap = None;
            return Some(Scan::Gap(gap));
        }
        match self.parse_at() {
            Err(read) => return Some(read),
            Ok(Some(header)) if header.position >= self.next && self.fits(&header) => {
                gap.last = Some(header.position - 1);
                self.next = header.position;
                self.gap = None;
                return Some(Scan::Gap(gap));
            }
            Ok(_) => {}
        }
        // On to the next byte at which a record may start.
        let start = usize::try_from(self.offset - self.window_offset).expect("within the window") + 1;
        let first = self.stamp.kind().magic()[0];
        let skip = self.window[start..].iter().position(|byte| *byte == first);
        self.offset = self.window_offset + (start + skip.unwrap_or(self.window.len() - start)) as u64;
        None
    }

    /// Parses at `offset`: a record, no record, or the read that is needed to tell.
    fn parse_at(&mut self) -> Result<Option<Header>, Scan> {
        if self.offset < self.window_offset || self.offset > self.window_end() {
            self.window.clear();
            self.window_offset = self.offset;
        }
        let start = usize::try_from(self.offset - self.window_offset).expect("within the window");
        match parse(&self.stamp, self.offset, &self.window[start..]) {
            Parsed::Record(header) => Ok(Some(header).filter(|header| is_countable(self.offset, header))),
            Parsed::Broken => Ok(None),
            Parsed::Need(_) if self.window_end() >= self.len => Ok(None),
            Parsed::Need(_) => {
                self.window.drain(..start);
                self.window_offset = self.offset;
                let (offset, len) = self.read_request();
                Err(Scan::Read { offset, len })
            }
        }
    }

    /// What is read next: on from the window's end.
    fn read_request(&self) -> (u64, u32) {
        let offset = self.window_end();
        let left = u32::try_from(self.len - offset).unwrap_or(u32::MAX);
        let sector = u32::try_from(SECTOR_LEN - offset % SECTOR_LEN).expect("at most a sector");
        let wanted = if offset < self.narrow_through { sector } else { self.window_len };
        (offset, wanted.min(left))
    }

    fn window_end(&self) -> u64 {
        self.window_offset + self.window.len() as u64
    }

    const fn fits(&self, header: &Header) -> bool {
        self.offset + header.record_len() <= self.len
    }

    const fn open_gap(&mut self, kind: DamageKind) {
        let kind = if self.unreadable_through > self.offset { DamageKind::Unreadable } else { kind };
        self.gap = Some(Gap { offset: self.offset, first: self.next, last: None, kind });
        // Whatever follows is searched byte by byte.
        self.window_len = WINDOW_LEN;
    }

    fn found(&mut self, header: Header) -> Scan {
        let start = usize::try_from(self.offset - self.window_offset).expect("within the window");
        let covered = Bytes::copy_from_slice(&self.window[start + HEADER_LEN..start + header.covered_len()]);
        let record = Record { header, offset: self.offset, covered };
        self.offset = record.end();
        self.next += 1;
        self.ended = header.kind == Kind::Footer;
        let uncovered = header.record_len() - header.covered_len() as u64;
        self.window_len = if uncovered >= SKIP_LEN { SKIP_WINDOW_LEN } else { WINDOW_LEN };
        Scan::Record(record)
    }
}

/// Whether it is where a record may be, so that the records after it can have positions and sequences too.
pub(super) const fn is_countable(offset: u64, header: &Header) -> bool {
    offset <= OFFSET_MAX && header.position <= POSITION_MAX && header.sequence <= SEQUENCE_FOUND_MAX
}

#[cfg(test)]
mod tests;
