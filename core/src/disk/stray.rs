//! Strays: files under a name that is not theirs, since somebody renamed them or copied them in, perhaps from another
//! store. None is read, written or removed: it may be the only copy of what somebody needs.
//!
//! A file is a stray if its first record is the whole head of another file, and nothing in it is its own. The second part
//! is for disks that put a write into the wrong file: then the head is another's, but the records behind it are not. Where
//! there are none, such a file is a stray as well: what it had is missed, and what is there can't be told from a copy.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::record::{FileKey, FileKind, HEAD_BODY_LEN, HEADER_LEN, Stamp};
use super::scan::{Scan, Scanner};
use super::{DiskError, DiskReply, DiskRequest, DiskResult, File, Verify};
use crate::limits::FILE_NUMBER_MAX;
use crate::note::Note;

/// A file under a name that is not its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stray {
    /// The name that it has.
    pub file: File,
    /// The name that it was written under; `None` if it is of another store, or of none.
    pub origin: Option<File>,
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, origin } = self;
        match origin {
            Some(origin) => write!(f, "{file} is {origin} under another name: it is neither read nor removed"),
            None => write!(f, "{file} is no file of this store: it is neither read nor removed"),
        }
    }
}

/// The strays among the files of a store, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strays(Arc<[Stray]>);

impl Strays {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Stray> {
        self.0.iter()
    }

    /// The number of the file that comes after the one with this number: no stray is in its place, and none belongs there.
    ///
    /// # Panics
    /// When the number is above [`FILE_NUMBER_MAX`].
    #[must_use]
    pub fn next(&self, kind: FileKind, number: u64) -> u64 {
        assert!(number <= FILE_NUMBER_MAX, "file numbers are bounded");
        let is_taken = |number: u64| {
            let file = kind.file(number);
            self.iter().any(|stray| stray.file == file || stray.origin == Some(file))
        };
        let mut next = number + 1;
        while is_taken(next) {
            next += 1;
        }
        next
    }
}

impl FromIterator<Stray> for Strays {
    fn from_iter<I: IntoIterator<Item = Stray>>(strays: I) -> Self {
        let mut strays: Vec<Stray> = strays.into_iter().collect();
        strays.sort_unstable();
        Self(strays.into())
    }
}

/// What sorting wants, or has found.
#[derive(Debug)]
pub enum SortStep {
    /// Perform this and call [`Sorting::done`].
    Disk(DiskRequest),
    /// Something to tell.
    Note(Note),
    /// All files were looked at; see [`Sorting::into_sorted`].
    Sorted,
}

/// Looks at the head of every segment and volume, and tells strays from the rest. Pulled: ask for steps, feed results.
#[derive(Debug)]
pub struct Sorting {
    key: FileKey,
    /// Files with their lengths.
    files: Vec<(File, u64)>,
    /// The file that is looked at.
    at: usize,
    /// Whose head it has, and the search for anything of its own.
    suspect: Option<(Stamp, Scanner)>,
    own: Vec<(File, u64)>,
    strays: Vec<Stray>,
    notes: Vec<Note>,
}

impl Sorting {
    /// Of these files and their lengths, none was looked at yet.
    #[must_use]
    pub const fn new(key: FileKey, files: Vec<(File, u64)>) -> Self {
        Self { key, files, at: 0, suspect: None, own: Vec::new(), strays: Vec::new(), notes: Vec::new() }
    }

    /// The next step.
    pub fn advance(&mut self) -> SortStep {
        loop {
            if let Some(note) = self.notes.pop() {
                return SortStep::Note(note);
            }
            let Some((file, _)) = self.files.get(self.at).copied() else { return SortStep::Sorted };
            let request = match self.stamp(file) {
                Some(stamp) if stamp.number() > FILE_NUMBER_MAX => {
                    self.pass(Some(None));
                    None
                }
                Some(_) => self.look(file),
                None => {
                    self.pass(None);
                    None
                }
            };
            if let Some(request) = request {
                return SortStep::Disk(request);
            }
        }
    }

    /// The result of the read that was asked for.
    ///
    /// # Panics
    /// When none was.
    pub fn done(&mut self, result: &DiskResult) {
        let bytes: Result<&[u8], DiskError> = match result {
            Ok(DiskReply::Read(bytes)) => Ok(bytes),
            Ok(_) => panic!("a read that verifies nothing is answered by its bytes"),
            Err(error) => Err(*error),
        };
        if let Some((_, scanner)) = &mut self.suspect {
            return scanner.feed(bytes);
        }
        let (file, len) = self.files[self.at];
        let own = self.stamp(file).expect("only what has a head is read");
        match bytes.ok().and_then(Stamp::claimed) {
            Some(claimed) if claimed != own => self.suspect = Some((claimed, Scanner::new(own, len))),
            // What has no whole head is for recovery to judge.
            Some(_) | None => self.pass(None),
        }
    }

    /// What is not astray, and the strays.
    ///
    /// # Panics
    /// When [`SortStep::Sorted`] did not come yet.
    #[must_use]
    pub fn into_sorted(self) -> (Vec<(File, u64)>, Strays) {
        assert!(self.at == self.files.len(), "all files were looked at");
        (self.own, self.strays.into_iter().collect())
    }

    /// What the records of a file should bear; `None` for files that have no records.
    fn stamp(&self, file: File) -> Option<Stamp> {
        match file {
            File::Journal(number) => Some(Stamp::new(&self.key, FileKind::Journal, number)),
            File::Volume(number) => Some(Stamp::new(&self.key, FileKind::Volume, number)),
            File::Slot(_) | File::Snapshot(_) | File::Checkpoint(_) | File::Reserve | File::Stage(_) => None,
        }
    }

    /// The next read of this file; `None` when it is known what it is.
    fn look(&mut self, file: File) -> Option<DiskRequest> {
        let Some((claimed, scanner)) = &mut self.suspect else {
            let len = u32::try_from(HEADER_LEN + HEAD_BODY_LEN).expect("a head is small");
            return Some(DiskRequest::Read { file, offset: 0, len, verify: Verify::None });
        };
        let claimed = *claimed;
        loop {
            match scanner.advance() {
                Scan::Read { offset, len } => {
                    return Some(DiskRequest::Read { file, offset, len, verify: Verify::None });
                }
                Scan::Record(_) => self.pass(None),
                Scan::Gap(_) => continue,
                Scan::End => {
                    let is_ours = claimed == Stamp::new(&self.key, claimed.kind(), claimed.number());
                    self.pass(Some(is_ours.then_some(claimed.file())));
                }
            }
            return None;
        }
    }

    /// The file at hand is a stray of this origin, or none.
    fn pass(&mut self, origin: Option<Option<File>>) {
        let (file, len) = self.files[self.at];
        match origin {
            Some(origin) => {
                let stray = Stray { file, origin };
                self.strays.push(stray);
                self.notes.push(Note::Stray(stray));
            }
            None => self.own.push((file, len)),
        }
        self.suspect = None;
        self.at += 1;
    }
}

#[cfg(test)]
mod tests;
