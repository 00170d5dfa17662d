//! A disk in memory that does at once what it is asked, with sectors that can't be read and writes that fail.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use dps_core::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Verify};
use dps_core::id::VerifiedChunk;

/// The disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) files: BTreeMap<File, Vec<u8>>,
    /// Stretches that no read may touch.
    pub(crate) unreadable: BTreeMap<File, Vec<Range<u64>>>,
    /// Writes that succeed before every further one fails; `None` for all.
    pub(crate) writes_left: Option<u32>,
    /// Requests performed that change something.
    pub(crate) writes: u64,
}

impl Memory {
    /// Files with their lengths, in order.
    pub(crate) fn listed(&self) -> Vec<(File, u64)> {
        self.files.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect()
    }

    /// Number and length of the files to which `number` gives one, in order.
    pub(crate) fn numbered(&self, number: fn(File) -> Option<u64>) -> Vec<(u64, u64)> {
        self.listed().into_iter().filter_map(|(file, len)| Some((number(file)?, len))).collect()
    }

    /// Removes what a start left in the making, as the next start does first.
    pub(crate) fn remove_stages(&mut self) {
        self.files.retain(|file, _| !matches!(file, File::Stage(_)));
    }

    /// Performs a request.
    pub(crate) fn perform(&mut self, request: DiskRequest) -> DiskResult {
        match request {
            DiskRequest::List => Ok(DiskReply::Listed(self.listed())),
            DiskRequest::Read { file, offset, len, verify } => self.read(file, offset, len, verify),
            DiskRequest::Append { file, offset, parts } => {
                self.may_write()?;
                if offset == 0 && self.files.contains_key(&file) {
                    return Err(DiskError::Exists);
                }
                let bytes = self.files.entry(file).or_default();
                assert_eq!(bytes.len() as u64, offset, "an append to {file} is at its end");
                parts.iter().for_each(|part| bytes.extend_from_slice(part));
                Ok(DiskReply::Done)
            }
            DiskRequest::Sync { file, .. } => {
                self.may_write()?;
                assert!(self.files.contains_key(&file), "{file} is synced but does not exist");
                Ok(DiskReply::Done)
            }
            DiskRequest::Publish { stage, to } => {
                self.may_write()?;
                let bytes = self.files.remove(&File::Stage(stage)).ok_or(DiskError::NotFound)?;
                self.files.insert(to, bytes);
                // Another content under the name, in other sectors.
                self.unreadable.remove(&to);
                Ok(DiskReply::Done)
            }
            DiskRequest::Remove { file } => {
                self.may_write()?;
                self.files.remove(&file);
                Ok(DiskReply::Done)
            }
            DiskRequest::Allocate { file, bytes } => {
                self.may_write()?;
                let bytes = usize::try_from(bytes).expect("it is in memory");
                let file = self.files.entry(file).or_default();
                file.resize(bytes.max(file.len()), 0);
                Ok(DiskReply::Done)
            }
            DiskRequest::Space => {
                let available = if self.writes_left == Some(0) { 0 } else { u64::MAX };
                Ok(DiskReply::Space { total: u64::MAX, available })
            }
        }
    }

    fn may_write(&mut self) -> Result<(), DiskError> {
        if let Some(left) = &mut self.writes_left {
            *left = left.checked_sub(1).ok_or(DiskError::Full)?;
        }
        self.writes += 1;
        Ok(())
    }

    fn read(&self, file: File, offset: u64, len: u32, verify: Verify) -> DiskResult {
        let bytes = self.files.get(&file).ok_or(DiskError::NotFound)?;
        let end = offset.checked_add(u64::from(len)).expect("a read ends within 64 bits");
        let refused = |range: &Range<u64>| range.start < end && offset < range.end;
        if self.unreadable.get(&file).is_some_and(|ranges| ranges.iter().any(refused)) {
            return Err(DiskError::Io(5));
        }
        let bound = |at: u64| bytes.len().min(usize::try_from(at).unwrap_or(usize::MAX));
        let read = Bytes::copy_from_slice(&bytes[bound(offset)..bound(end)]);
        Ok(match verify {
            Verify::None => DiskReply::Read(read),
            Verify::Chunk(id) => VerifiedChunk::check(id, read).map_or(DiskReply::Mismatch, DiskReply::Verified),
        })
    }
}
