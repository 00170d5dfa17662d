//! Disks with one mistake each, over the simulated one. Each mistake is one that a careless disk makes.

mod rename;
mod space;

use dps_core::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Slot, Verify};
use dps_core::id::VerifiedChunk;
use dps_tests::disk_contract::DiskUnderTest;
use sim::disk::Survive;

use self::rename::renamed;
pub(crate) use self::space::SPACE_MISTAKES;
use crate::disks::Simulated;

/// A mistake, as what the disk does instead of what it should.
pub(crate) struct Mistake {
    pub(crate) title: &'static str,
    /// The title of the rule that says so.
    pub(crate) breaks: &'static str,
    perform: fn(&mut Mistaken, DiskRequest) -> DiskResult,
    together: fn(&mut Mistaken, Vec<DiskRequest>) -> Vec<DiskResult>,
    crash: fn(&mut Mistaken, Vec<DiskRequest>),
}

/// No mistake at all.
pub(crate) const SOUND: Mistake = Mistake {
    title: "a disk as it should be",
    breaks: "",
    perform: |disk, request| disk.inner.perform(request),
    together: |disk, requests| disk.inner.perform_together(requests),
    crash: |disk, requests| disk.inner.crash_amid(requests),
};

/// The simulated disk, but for one mistake. Of what was not synced, a crash leaves nothing.
pub(crate) struct Mistaken {
    inner: Simulated,
    mistake: &'static Mistake,
    /// For mistakes that have a memory.
    kept: Vec<(File, Vec<u8>)>,
    late: Option<DiskRequest>,
    listed: Option<DiskResult>,
}

impl Mistaken {
    pub(crate) fn new(mistake: &'static Mistake) -> Self {
        let inner = Simulated::new(0, Survive::None);
        Self { inner, mistake, kept: Vec::new(), late: None, listed: None }
    }

    /// All bytes of a file, if there is one.
    fn bytes(&mut self, file: File) -> Option<Vec<u8>> {
        let read = DiskRequest::Read { file, offset: 0, len: 1 << 20, verify: Verify::None };
        match self.inner.perform(read) {
            Ok(DiskReply::Read(bytes)) => Some(bytes.to_vec()),
            Ok(_) | Err(_) => None,
        }
    }

    /// Appends to the end of a file, wherever that is.
    fn append_to_end(&mut self, file: File, bytes: Vec<u8>) -> DiskResult {
        let offset = self.bytes(file).map_or(0, |bytes| bytes.len() as u64);
        self.inner.perform(DiskRequest::Append { file, offset, parts: vec![bytes.into()] })
    }

    fn sync(&mut self, file: File) {
        self.inner.perform(DiskRequest::Sync { file, directory: true }).expect("the disk has no faults");
    }

    /// Makes a file have these bytes, durably.
    fn replace(&mut self, file: File, bytes: Vec<u8>) {
        self.inner.perform(DiskRequest::Remove { file }).expect("the disk has no faults");
        self.append_to_end(file, bytes).expect("the disk has no faults");
        self.sync(file);
    }
}

impl DiskUnderTest for Mistaken {
    fn perform(&mut self, request: DiskRequest) -> DiskResult {
        (self.mistake.perform)(self, request)
    }

    fn perform_together(&mut self, requests: Vec<DiskRequest>) -> Vec<DiskResult> {
        (self.mistake.together)(self, requests)
    }

    fn crash_amid(&mut self, requests: Vec<DiskRequest>) {
        (self.mistake.crash)(self, requests);
    }
}

/// Performs the requests one by one in another order, each with its own end.
fn reordered(
    disk: &mut Mistaken,
    requests: Vec<DiskRequest>,
    key: impl Fn(usize, &DiskRequest) -> usize,
) -> Vec<DiskResult> {
    let mut numbered: Vec<(usize, DiskRequest)> = requests.into_iter().enumerate().collect();
    numbered.sort_by_key(|(number, request)| key(*number, request));
    let mut ends: Vec<_> =
        numbered.into_iter().map(|(number, request)| (number, disk.inner.perform(request))).collect();
    ends.sort_by_key(|(number, _)| *number);
    ends.into_iter().map(|(_, end)| end).collect()
}

/// Every mistake. Each rule of the contract has at least one.
pub(crate) const MISTAKES: &[Mistake] = &[
    Mistake {
        title: "its own files are listed",
        breaks: "a new disk lists nothing",
        perform: |disk, request| match disk.inner.perform(request)? {
            DiskReply::Listed(mut files) => {
                files.insert(0, (File::Slot(Slot::BootEven), 0));
                Ok(DiskReply::Listed(files))
            }
            other => Ok(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a listing in another order",
        breaks: "a listing is in the order of files, with lengths",
        perform: |disk, request| match disk.inner.perform(request)? {
            DiskReply::Listed(mut files) => {
                files.reverse();
                Ok(DiskReply::Listed(files))
            }
            other => Ok(other),
        },
        ..SOUND
    },
    Mistake {
        title: "lengths in whole sectors",
        breaks: "a listing is in the order of files, with lengths",
        perform: |disk, request| match disk.inner.perform(request)? {
            DiskReply::Listed(files) => {
                Ok(DiskReply::Listed(files.into_iter().map(|(file, len)| (file, len.div_ceil(512) * 512)).collect()))
            }
            other => Ok(other),
        },
        ..SOUND
    },
    Mistake {
        title: "the first listing is kept",
        breaks: "a listing is of what was acknowledged before it",
        perform: |disk, request| match request {
            DiskRequest::List if disk.listed.is_some() => disk.listed.clone().expect("just looked at"),
            DiskRequest::List => {
                let listed = disk.inner.perform(request);
                disk.listed = Some(listed.clone());
                listed
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "one name space for all kinds",
        breaks: "files of different kinds with one number are different",
        perform: |disk, request| {
            let name = |file| match file {
                File::Stage(number) | File::Volume(number) => File::Volume(number),
                other
                @ (File::Slot(_) | File::Journal(_) | File::Snapshot(_) | File::Checkpoint(_) | File::Reserve) => other,
            };
            disk.inner.perform(renamed(request, name))
        },
        ..SOUND
    },
    Mistake {
        title: "numbers of 32 bits",
        breaks: "the largest number is a file like any other",
        perform: |disk, request| {
            let name = |file| match file {
                File::Volume(number) => File::Volume(number & u64::from(u32::MAX)),
                other => other,
            };
            disk.inner.perform(renamed(request, name))
        },
        ..SOUND
    },
    Mistake {
        title: "a read that takes what the first sector gives",
        breaks: "a read is short only at the end of the file",
        perform: |disk, request| match request {
            DiskRequest::Read { file, offset, len, verify: Verify::None } => {
                disk.inner.perform(DiskRequest::Read { file, offset, len: len.min(512), verify: Verify::None })
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "offsets that end where those of the system do",
        breaks: "a read past the end is empty, wherever",
        perform: |disk, request| match request {
            DiskRequest::Read { offset, .. } if i64::try_from(offset).is_err() => Err(DiskError::Io(22)),
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a missing file reads as an empty one",
        breaks: "a file that does not exist can't be read",
        perform: |disk, request| match request {
            DiskRequest::Read { verify: Verify::None, .. } => {
                disk.inner.perform(request).or(Ok(DiskReply::Read(Vec::new().into())))
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a read that proves nothing empty",
        breaks: "a read that verifies gives the chunk, proven",
        perform: |disk, request| match request {
            DiskRequest::Read { len: 0, verify: Verify::Chunk(_), .. } => {
                disk.inner.perform(request).map(|_| DiskReply::Mismatch)
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a read without verification",
        breaks: "a read that verifies tells other bytes",
        perform: |disk, request| match request {
            DiskRequest::Read { file, offset, len, verify: Verify::Chunk(_) } => {
                match disk.inner.perform(DiskRequest::Read { file, offset, len, verify: Verify::None })? {
                    DiskReply::Read(bytes) => Ok(DiskReply::Verified(VerifiedChunk::new(bytes))),
                    other => Ok(other),
                }
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a read that verifies what there is",
        breaks: "a read that verifies tells too few bytes, whatever they hash to",
        perform: |disk, request| match request {
            DiskRequest::Read { file, offset, len, verify: Verify::Chunk(id) } => {
                match disk.inner.perform(DiskRequest::Read { file, offset, len, verify: Verify::None })? {
                    DiskReply::Read(bytes) => {
                        Ok(VerifiedChunk::check(id, bytes).map_or(DiskReply::Mismatch, DiskReply::Verified))
                    }
                    other => Ok(other),
                }
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "an append creates at any offset",
        breaks: "an append at 0 creates the file, at another offset it does not",
        perform: |disk, request| match request {
            DiskRequest::Append { file, parts, .. } if disk.bytes(file).is_none() => {
                disk.inner.perform(DiskRequest::Append { file, offset: 0, parts })
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "an append at 0 begins anew",
        breaks: "an append at 0 refuses a file that exists",
        perform: |disk, request| match request {
            DiskRequest::Append { file, offset: 0, .. } => {
                disk.inner.perform(DiskRequest::Remove { file })?;
                disk.inner.perform(request)
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "an append that finds the end by itself",
        breaks: "an append is refused where the file does not end",
        perform: |disk, request| match request {
            DiskRequest::Append { file, offset, parts } if offset > 0 && disk.bytes(file).is_some() => {
                disk.append_to_end(file, parts.concat())
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "an append that is refused after it was written",
        breaks: "an append that is refused writes nothing",
        perform: |disk, request| match request {
            DiskRequest::Append { file, offset, ref parts } => {
                let first = parts.first().cloned().unwrap_or_default();
                let end = disk.inner.perform(request);
                if offset > 0 && disk.bytes(file).is_some() && end.is_err() {
                    disk.append_to_end(file, first.to_vec())?;
                }
                end
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "only as many parts as one system call takes",
        breaks: "parts are written one after the other, empty ones too",
        perform: |disk, request| match request {
            DiskRequest::Append { file, offset, mut parts } => {
                parts.truncate(1_024);
                disk.inner.perform(DiskRequest::Append { file, offset, parts })
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a file of two sectors at most",
        breaks: "a file grows append by append",
        perform: |disk, request| match request {
            DiskRequest::Append { offset, .. } if (1_024..u64::MAX).contains(&offset) => Err(DiskError::Full),
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a sync that does not mind",
        breaks: "a sync needs a file",
        perform: |disk, request| match request {
            DiskRequest::Sync { .. } => disk.inner.perform(request).or(Ok(DiskReply::Done)),
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a sync that fills the last sector",
        breaks: "a sync changes nothing that can be read",
        perform: |disk, request| match request {
            DiskRequest::Sync { file, .. } => {
                let end = disk.inner.perform(request)?;
                let len = disk.bytes(file).map_or(0, |bytes| bytes.len());
                disk.append_to_end(file, vec![0; len.next_multiple_of(512) - len])?;
                Ok(end)
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a publication that copies",
        breaks: "a publish moves the staged file and replaces",
        perform: |disk, request| match request {
            DiskRequest::Publish { stage, to } => {
                let bytes = disk.bytes(File::Stage(stage)).ok_or(DiskError::NotFound)?;
                disk.replace(to, bytes);
                Ok(DiskReply::Done)
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a publication of nothing",
        breaks: "a publish without a staged file changes nothing",
        perform: |disk, request| match request {
            DiskRequest::Publish { .. } => disk.inner.perform(request).or(Ok(DiskReply::Done)),
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a publication that tidies up",
        breaks: "a publish touches no other file",
        perform: |disk, request| match request {
            DiskRequest::Publish { .. } => {
                let end = disk.inner.perform(request)?;
                disk.inner.perform(DiskRequest::Remove { file: File::Stage(2) })?;
                Ok(end)
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a publication that sees nothing in an empty file",
        breaks: "an empty staged file is published as one",
        perform: |disk, request| match request {
            DiskRequest::Publish { stage, .. } if disk.bytes(File::Stage(stage)).is_none_or(|all| all.is_empty()) => {
                Err(DiskError::NotFound)
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "what is published is finished",
        breaks: "a published file goes on like any other",
        perform: |disk, request| match request {
            DiskRequest::Publish { to, .. } => {
                disk.kept.push((to, Vec::new()));
                disk.inner.perform(request)
            }
            DiskRequest::Append { file, offset, .. } if offset > 0 && disk.kept.iter().any(|(to, _)| *to == file) => {
                Err(DiskError::ReadOnly)
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a removal for the next start",
        breaks: "a removal is final",
        perform: |disk, request| match request {
            DiskRequest::Remove { .. } => Ok(DiskReply::Done),
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a removal that minds",
        breaks: "a removal of nothing succeeds",
        perform: |disk, request| match request {
            DiskRequest::Remove { file } if disk.bytes(file).is_none() => Err(DiskError::NotFound),
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a removed file is kept for later",
        breaks: "a removed file can be created anew",
        perform: |disk, request| match request {
            DiskRequest::Remove { file } => {
                let bytes = disk.bytes(file).unwrap_or_default();
                disk.kept.push((file, bytes));
                disk.inner.perform(request)
            }
            DiskRequest::Append { file, offset: 0, ref parts } if disk.kept.iter().any(|(kept, _)| *kept == file) => {
                let (_, mut bytes) = disk.kept.remove(0);
                let new = parts.concat();
                if bytes.len() < new.len() {
                    bytes.resize(new.len(), 0);
                }
                bytes[..new.len()].copy_from_slice(&new);
                disk.inner.perform(DiskRequest::Append { file, offset: 0, parts: vec![bytes.into()] })
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "the last comes first",
        breaks: "writes of one file are done in the order of their issue",
        together: |disk, requests| reordered(disk, requests, |number, _| usize::MAX - number),
        ..SOUND
    },
    Mistake {
        title: "publications wait for everything else",
        breaks: "a publication keeps its place among the writes of both files",
        together: |disk, requests| {
            reordered(disk, requests, |_, request| usize::from(matches!(request, DiskRequest::Publish { .. })))
        },
        ..SOUND
    },
    Mistake {
        title: "acknowledged before it is written",
        breaks: "a read sees every write acknowledged before its issue",
        together: |disk, requests| {
            let late = disk.late.take();
            let only_reads = requests.iter().all(|request| matches!(request, DiskRequest::Read { .. }));
            let mut ends = Vec::new();
            for request in requests {
                if matches!(request, DiskRequest::Append { .. }) {
                    disk.late = Some(request);
                    ends.push(Ok(DiskReply::Done));
                } else {
                    ends.push(disk.inner.perform(request));
                }
            }
            if let Some(late) = late {
                assert!(only_reads, "the rule alternates");
                disk.inner.perform(late).expect("the disk has no faults");
            }
            ends
        },
        ..SOUND
    },
    Mistake {
        title: "ends are told as they come",
        breaks: "each request has its own end",
        together: |disk, requests| {
            let mut ends = disk.inner.perform_together(requests);
            ends.sort_by_key(Result::is_err);
            ends
        },
        ..SOUND
    },
    Mistake {
        title: "a sync that only says so",
        breaks: "what is synced survives a crash",
        perform: |disk, request| match request {
            DiskRequest::Sync { file, .. } => {
                disk.bytes(file).map_or(Err(DiskError::NotFound), |_| Ok(DiskReply::Done))
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a sync that forgets the directory",
        breaks: "what is synced survives a crash",
        perform: |disk, request| match request {
            DiskRequest::Sync { file, .. } => disk.inner.perform(DiskRequest::Sync { file, directory: false }),
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a sync overtakes what waits",
        breaks: "a sync covers what was issued before it",
        together: |disk, requests| {
            let mut ends = Vec::new();
            let (first, rest) = requests.split_first().expect("the rule issues three");
            ends.push(disk.inner.perform(first.clone()));
            for request in rest.iter().rev() {
                ends.push(disk.inner.perform(request.clone()));
            }
            ends
        },
        ..SOUND
    },
    Mistake {
        title: "a publication that is a rename",
        breaks: "what is published survives a crash",
        perform: |disk, request| match request {
            DiskRequest::Publish { stage, to } => {
                let bytes = disk.bytes(File::Stage(stage)).ok_or(DiskError::NotFound)?;
                disk.inner.perform(DiskRequest::Remove { file: to })?;
                disk.append_to_end(to, bytes)?;
                disk.inner.perform(DiskRequest::Remove { file: File::Stage(stage) })
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "a publication that makes room first",
        breaks: "what is being published is the old or the new",
        crash: |disk, requests| {
            for request in requests {
                if let DiskRequest::Publish { to, .. } = request {
                    disk.replace(to, Vec::new());
                }
            }
            disk.inner.crash_amid(Vec::new());
        },
        ..SOUND
    },
    Mistake {
        title: "an append that writes its whole sector anew",
        breaks: "a write on its way takes nothing durable away",
        crash: |disk, requests| {
            if let Some(DiskRequest::Append { file, offset, .. }) = requests.first()
                && let Some(mut bytes) = disk.bytes(*file)
            {
                let start = usize::try_from(*offset).expect("a short file") / 512 * 512;
                bytes[start..].fill(0);
                disk.replace(*file, bytes);
            }
            disk.inner.crash_amid(Vec::new());
        },
        ..SOUND
    },
    Mistake {
        title: "a removal that gives space back first",
        breaks: "a file that is being removed is whole or gone",
        crash: |disk, requests| {
            if let Some(DiskRequest::Remove { file }) = requests.first() {
                disk.replace(*file, Vec::new());
            }
            disk.inner.crash_amid(Vec::new());
        },
        ..SOUND
    },
    Mistake {
        title: "lengths from before the crash",
        breaks: "after a crash a listing and reads agree",
        perform: |disk, request| match (request, disk.listed.clone()) {
            (DiskRequest::List, Some(listed)) => listed,
            (request, _) => disk.inner.perform(request),
        },
        crash: |disk, requests| {
            disk.listed = Some(disk.inner.perform(DiskRequest::List));
            disk.inner.crash_amid(requests);
        },
        ..SOUND
    },
];
