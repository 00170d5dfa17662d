//! A disk that forgets what was not synced (the rules of `dps_core::disk`).
//!
//! Writes, syncs, publications and removals of one file are performed in the order in which they were issued, others in
//! any order. A crash leaves any subset of the unsynced sectors and of the unsynced changes of names.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use dps_core::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Verify};
use dps_core::id::{OpId, VerifiedChunk};

use crate::input::Input;

/// A content, whatever it is called.
type Inode = usize;

#[derive(Debug, Default)]
struct Medium {
    bytes: Vec<u8>,
    /// Bytes from the start that survive a crash.
    synced: usize,
    /// A sync failed: the kernel has dropped what it could not write, and no later sync brings it back.
    lost: bool,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Link { file: File, inode: Inode },
    Unlink { file: File },
    Rename { from: File, to: File, inode: Inode },
}

impl Change {
    fn apply(self, names: &mut BTreeMap<File, Inode>) {
        match self {
            Self::Link { file, inode } => _ = names.insert(file, inode),
            Self::Unlink { file } => _ = names.remove(&file),
            Self::Rename { from, to, inode } => {
                names.remove(&from);
                names.insert(to, inode);
            }
        }
    }

    /// Whether a sync of the directory of `file` makes the change durable. Each kind of file has its own directory.
    fn is_in(self, file: File) -> bool {
        match self {
            Self::Link { file: own, .. } | Self::Unlink { file: own } | Self::Rename { to: own, .. } => {
                std::mem::discriminant(&own) == std::mem::discriminant(&file)
            }
        }
    }

    fn names(self, wanted: File) -> bool {
        match self {
            Self::Link { file, .. } | Self::Unlink { file } => file == wanted,
            Self::Rename { from, to, .. } => from == wanted || to == wanted,
        }
    }
}

/// What goes wrong with a request that is performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A write is refused, and some of its bytes may be there nevertheless.
    Write(DiskError),
    /// A read is refused.
    Read,
}

/// The disk.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    media: Vec<Medium>,
    names: BTreeMap<File, Inode>,
    durable: BTreeMap<File, Inode>,
    changes: Vec<Change>,
    /// Requests that write, by file, in the order in which they were issued.
    writes: BTreeMap<File, VecDeque<(OpId, DiskRequest)>>,
    reads: Vec<(OpId, DiskRequest)>,
}

impl Disk {
    /// Takes a request.
    pub(crate) fn issue(&mut self, op: OpId, request: DiskRequest) {
        let file = match &request {
            DiskRequest::List | DiskRequest::Read { .. } | DiskRequest::Space => {
                return self.reads.push((op, request));
            }
            DiskRequest::Append { file, .. }
            | DiskRequest::Sync { file, .. }
            | DiskRequest::Remove { file }
            | DiskRequest::Allocate { file, .. } => *file,
            DiskRequest::Publish { stage, .. } => File::Stage(*stage),
        };
        self.writes.entry(file).or_default().push_back((op, request));
    }

    /// Requests that could be performed next: the first of each file, and every read.
    pub(crate) fn ready(&self) -> usize {
        self.writes.len() + self.reads.len()
    }

    /// Requests that were not performed.
    pub(crate) fn outstanding(&self) -> usize {
        self.writes.values().map(VecDeque::len).sum::<usize>() + self.reads.len()
    }

    /// Performs one of them.
    pub(crate) fn perform(&mut self, which: usize, fault: Option<Fault>, input: &mut Input<'_>) -> (OpId, DiskResult) {
        let Some(file) = self.writes.keys().nth(which).copied() else {
            let (op, request) = self.reads.remove(which - self.writes.len());
            let result = if fault == Some(Fault::Read) { Err(DiskError::Io(5)) } else { self.read(request) };
            return (op, result);
        };
        let queue = self.writes.get_mut(&file).expect("just looked at");
        let (op, request) = queue.pop_front().expect("an empty queue is removed");
        if queue.is_empty() {
            self.writes.remove(&file);
        }
        let result = match fault {
            Some(Fault::Write(error)) => {
                self.fail(request, input);
                Err(error)
            }
            Some(Fault::Read) | None => self.write(request),
        };
        (op, result)
    }

    fn read(&self, request: DiskRequest) -> DiskResult {
        if request == DiskRequest::Space {
            return Ok(DiskReply::Space { total: u64::MAX, available: u64::MAX });
        }
        let DiskRequest::Read { file, offset, len, verify } = request else {
            let len = |(file, inode): (&File, &Inode)| (*file, self.media[*inode].bytes.len() as u64);
            return Ok(DiskReply::Listed(self.names.iter().map(len).collect()));
        };
        let inode = self.names.get(&file).ok_or(DiskError::NotFound)?;
        let bytes = &self.media[*inode].bytes;
        let end = offset.checked_add(u64::from(len)).expect("a read ends within 64 bits");
        let bound = |at: u64| bytes.len().min(usize::try_from(at).unwrap_or(usize::MAX));
        let read = Bytes::copy_from_slice(&bytes[bound(offset)..bound(end)]);
        Ok(match verify {
            Verify::None => DiskReply::Read(read),
            Verify::Chunk(id) => VerifiedChunk::check(id, read).map_or(DiskReply::Mismatch, DiskReply::Verified),
        })
    }

    fn write(&mut self, request: DiskRequest) -> DiskResult {
        match request {
            DiskRequest::Append { file, offset, parts } => self.append(file, offset, &parts.concat())?,
            DiskRequest::Sync { file, directory } => {
                let inode = *self.names.get(&file).ok_or(DiskError::NotFound)?;
                self.sync(inode);
                if directory {
                    self.sync_directory(file);
                }
            }
            DiskRequest::Publish { stage, to } => {
                let from = File::Stage(stage);
                let inode = *self.names.get(&from).ok_or(DiskError::NotFound)?;
                self.sync(inode);
                self.change(Change::Rename { from, to, inode });
                self.sync_directory(to);
            }
            DiskRequest::Remove { file } => {
                if self.names.contains_key(&file) {
                    self.change(Change::Unlink { file });
                }
            }
            DiskRequest::Allocate { file, bytes } => {
                let have = self.names.get(&file).map_or(0, |inode| self.media[*inode].bytes.len());
                let bytes = usize::try_from(bytes).expect("it is in memory").saturating_sub(have);
                self.append(file, have as u64, &vec![0; bytes])?;
                self.sync(self.names[&file]);
                self.sync_directory(file);
            }
            DiskRequest::List | DiskRequest::Read { .. } | DiskRequest::Space => panic!("these only read"),
        }
        Ok(DiskReply::Done)
    }

    fn append(&mut self, file: File, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let inode = match self.names.get(&file) {
            Some(_) if offset == 0 => return Err(DiskError::Exists),
            Some(inode) => *inode,
            None if offset == 0 => {
                self.media.push(Medium::default());
                let inode = self.media.len() - 1;
                self.change(Change::Link { file, inode });
                inode
            }
            None => return Err(DiskError::NotFound),
        };
        let medium = &mut self.media[inode];
        // Only behind a failed append may there be another end.
        if medium.bytes.len() as u64 != offset {
            return Err(DiskError::Io(22));
        }
        medium.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self, inode: Inode) {
        let medium = &mut self.media[inode];
        if !medium.lost {
            medium.synced = medium.bytes.len();
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn sync_directory(&mut self, file: File) {
        let renamed: Vec<File> = self
            .changes
            .iter()
            .filter(|change| change.is_in(file))
            .filter_map(|change| if let Change::Rename { from, .. } = change { Some(*from) } else { None })
            .collect();
        let is_covered = |change: &Change| change.is_in(file) || renamed.iter().any(|from| change.names(*from));
        let (covered, rest): (Vec<Change>, Vec<Change>) = self.changes.iter().partition(|change| is_covered(change));
        self.changes = rest;
        covered.into_iter().for_each(|change| change.apply(&mut self.durable));
    }

    /// What a refused write may have done.
    fn fail(&mut self, request: DiskRequest, input: &mut Input<'_>) {
        match request {
            DiskRequest::Append { file, offset, parts } => {
                let mut bytes = parts.concat();
                bytes.truncate(input.place(bytes.len()));
                if !bytes.is_empty() {
                    _ = self.append(file, offset, &bytes);
                }
            }
            DiskRequest::Sync { file, .. } => {
                if let Some(inode) = self.names.get(&file) {
                    self.media[*inode].lost = true;
                }
            }
            // The rename may have happened, and only the sync of the directory failed.
            DiskRequest::Publish { stage, to } if input.flag() => {
                let from = File::Stage(stage);
                if let Some(inode) = self.names.get(&from).copied() {
                    self.sync(inode);
                    self.change(Change::Rename { from, to, inode });
                }
            }
            DiskRequest::Publish { .. } | DiskRequest::Remove { .. } | DiskRequest::Allocate { .. } => {}
            DiskRequest::List | DiskRequest::Read { .. } | DiskRequest::Space => panic!("these only read"),
        }
    }

    /// The process dies: of each file's requests some first ones are performed, and none is answered.
    pub(crate) fn stop(&mut self, input: &mut Input<'_>) {
        self.reads.clear();
        for (_, queue) in std::mem::take(&mut self.writes) {
            let performed = input.below(queue.len() + 1);
            for (_, request) in queue.into_iter().take(performed) {
                // Nobody is there to hear of an error.
                _ = self.write(request);
            }
        }
    }

    /// Power is lost.
    pub(crate) fn crash(&mut self, input: &mut Input<'_>) {
        self.stop(input);
        let mut names = self.durable.clone();
        for change in std::mem::take(&mut self.changes) {
            if input.flag() {
                change.apply(&mut names);
            }
        }
        for inode in names.values() {
            tear(&mut self.media[*inode], input);
        }
        // What a crash has left is what the disk has.
        self.durable = names.clone();
        self.names = names;
    }
}

/// Keeps some of the sectors that were not synced.
fn tear(medium: &mut Medium, input: &mut Input<'_>) {
    let Medium { bytes, synced, lost } = medium;
    let unsynced = bytes.len() - *synced;
    if unsynced > 0 {
        let sector = 16 << input.below(6);
        let kept = unsynced - input.place(unsynced + 1);
        bytes.truncate(*synced + kept);
        let mut at = *synced;
        while at < bytes.len() {
            let end = bytes.len().min((at / sector + 1) * sector);
            if input.rarely(3) {
                bytes[at..end].fill(0);
            }
            at = end;
        }
    }
    *synced = bytes.len();
    *lost = false;
}
