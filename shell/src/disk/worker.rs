//! Performs one disk request with system calls. Blocks; the [queue](super::queue) decides when and on which thread.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use dps_core::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Verify};
use dps_core::id::VerifiedChunk;
use dps_core::limits::CHUNK_BYTES_MAX;
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Dir, FallocateFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::directory::Directory;
use super::handles::Handles;
use super::path::{Folder, folder, name, recognise};

/// Buffers that one system call takes at most (`IOV_MAX` of Linux).
const PARTS_MAX: usize = 1_024;

/// The disk of one store. Shared by all threads that work for it; holds the store's lock.
#[derive(Debug)]
pub struct Worker {
    directory: Directory,
    handles: Handles,
}

impl Worker {
    /// The disk in `directory`.
    #[must_use]
    pub fn new(directory: Directory) -> Self {
        Self { directory, handles: Handles::default() }
    }

    /// Performs `request` and returns when it is done.
    ///
    /// # Errors
    /// What the operating system said; and `Io(0)` for an append whose offset is not the file's end.
    ///
    /// # Panics
    /// When a read asks for more than [`CHUNK_BYTES_MAX`] bytes, which is a bug in the core.
    pub fn perform(&self, request: &DiskRequest) -> DiskResult {
        match request {
            DiskRequest::List => self.list().map(DiskReply::Listed),
            DiskRequest::Read { file, offset, len, verify } => self.read(*file, *offset, *len, *verify),
            DiskRequest::Append { file, offset, parts } => self.append(*file, *offset, parts),
            DiskRequest::Sync { file, directory } => self.sync(*file, *directory),
            DiskRequest::Publish { stage, to } => self.publish(File::Stage(*stage), *to).map_err(disk_error),
            DiskRequest::Remove { file } => self.remove(*file),
            DiskRequest::Allocate { file, bytes } => self.allocate(*file, *bytes),
            DiskRequest::Space => self.space().map_err(disk_error),
        }
    }

    fn list(&self) -> Result<Vec<(File, u64)>, DiskError> {
        let mut files = Vec::new();
        for folder in [Folder::Root, Folder::Journal, Folder::Data, Folder::Stage] {
            self.list_folder(folder, &mut files).map_err(disk_error)?;
        }
        files.sort_unstable();
        Ok(files)
    }

    fn list_folder(&self, folder: Folder, files: &mut Vec<(File, u64)>) -> Result<(), Errno> {
        let fd = self.directory.folder(folder);
        for entry in Dir::read_from(fd)? {
            let entry = entry?;
            let Some(file) = recognise(folder, entry.file_name().to_bytes()) else { continue };
            let stat = rustix::fs::statat(fd, entry.file_name(), AtFlags::empty())?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                files.push((file, length(&stat)));
            }
        }
        Ok(())
    }

    fn read(&self, file: File, offset: u64, len: u32, verify: Verify) -> DiskResult {
        assert!(len <= CHUNK_BYTES_MAX, "a read has its bound");
        let fd = self.open(file, false)?;
        let bytes = read_at(&fd, offset, len as usize).map_err(disk_error)?;
        Ok(match verify {
            Verify::None => DiskReply::Read(bytes),
            Verify::Chunk(_) if bytes.len() < len as usize => DiskReply::Mismatch,
            Verify::Chunk(id) => match VerifiedChunk::check(id, bytes) {
                Ok(chunk) => DiskReply::Verified(chunk),
                Err(_) => DiskReply::Mismatch,
            },
        })
    }

    fn append(&self, file: File, offset: u64, parts: &[Bytes]) -> DiskResult {
        let fd = if offset == 0 { self.create(file)? } else { self.open(file, true)? };
        let stat = rustix::fs::fstat(&fd).map_err(disk_error)?;
        if length(&stat) != offset {
            return Err(DiskError::Io(0));
        }
        self.handles.set_dirty(file, true);
        write_at(&fd, offset, parts).map_err(disk_error)?;
        Ok(DiskReply::Done)
    }

    fn sync(&self, file: File, directory: bool) -> DiskResult {
        let fd = self.open(file, true)?;
        retry_on_intr(|| rustix::fs::fdatasync(&fd)).map_err(disk_error)?;
        if directory {
            self.sync_folder(folder(file)).map_err(disk_error)?;
        }
        self.handles.set_dirty(file, false);
        Ok(DiskReply::Done)
    }

    fn publish(&self, stage: File, to: File) -> Result<DiskReply, Errno> {
        let fd = match self.handles.find(stage, true) {
            (Some(fd), _) => fd,
            (None, _) => Arc::new(self.open_at(stage, OFlags::RDWR)?),
        };
        retry_on_intr(|| rustix::fs::fsync(&fd))?;
        let (from_folder, to_folder) = (folder(stage), folder(to));
        let (from_fd, to_fd) = (self.directory.folder(from_folder), self.directory.folder(to_folder));
        rustix::fs::renameat(from_fd, name(stage), to_fd, name(to))?;
        self.handles.forget(&[stage, to]);
        self.sync_folder(to_folder)?;
        if from_folder != to_folder {
            self.sync_folder(from_folder)?;
        }
        Ok(DiskReply::Done)
    }

    fn remove(&self, file: File) -> DiskResult {
        let removed = rustix::fs::unlinkat(self.directory.folder(folder(file)), name(file), AtFlags::empty());
        self.handles.forget(&[file]);
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(DiskReply::Done),
            Err(error) => Err(disk_error(error)),
        }
    }

    /// Without half of what was asked for left behind: space that is not enough is given back.
    fn allocate(&self, file: File, bytes: u64) -> DiskResult {
        let fd = self.open_at(file, OFlags::RDWR | OFlags::CREATE).map_err(disk_error)?;
        let grown = rustix::fs::fstat(&fd).and_then(|stat| {
            let have = length(&stat);
            if have < bytes { set_aside(&fd, have, bytes - have) } else { Ok(()) }
        });
        match grown.and_then(|()| retry_on_intr(|| rustix::fs::fsync(&fd))) {
            Ok(()) => self.sync_folder(folder(file)).map(|()| DiskReply::Done).map_err(disk_error),
            Err(error) => {
                self.remove(file)?;
                Err(disk_error(error))
            }
        }
    }

    fn space(&self) -> Result<DiskReply, Errno> {
        let stat = rustix::fs::fstatvfs(self.directory.folder(Folder::Root))?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(DiskReply::Space { total: bytes(stat.f_blocks), available: bytes(stat.f_bavail) })
    }

    fn create(&self, file: File) -> Result<Arc<OwnedFd>, DiskError> {
        let (_, epoch) = self.handles.find(file, true);
        let fd = Arc::new(self.open_at(file, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL).map_err(disk_error)?);
        if self.handles.keep(epoch, file, &fd, true) { Ok(fd) } else { Err(disk_error(Errno::MFILE)) }
    }

    fn open(&self, file: File, writable: bool) -> Result<Arc<OwnedFd>, DiskError> {
        let (found, epoch) = self.handles.find(file, writable);
        if let Some(fd) = found {
            return Ok(fd);
        }
        let flags = if writable { OFlags::RDWR } else { OFlags::RDONLY };
        let fd = Arc::new(self.open_at(file, flags).map_err(disk_error)?);
        if self.handles.keep(epoch, file, &fd, writable) { Ok(fd) } else { Err(disk_error(Errno::MFILE)) }
    }

    fn open_at(&self, file: File, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mode = Mode::from_raw_mode(0o600);
        let fd = self.directory.folder(folder(file));
        retry_on_intr(|| rustix::fs::openat(fd, name(file), flags | OFlags::CLOEXEC, mode))
    }

    fn sync_folder(&self, folder: Folder) -> Result<(), Errno> {
        retry_on_intr(|| rustix::fs::fsync(self.directory.folder(folder)))
    }
}

/// Sets `bytes` bytes from `offset` on aside: by the file system, or by zeros where it can't.
fn set_aside(fd: &OwnedFd, offset: u64, bytes: u64) -> Result<(), Errno> {
    match retry_on_intr(|| rustix::fs::fallocate(fd, FallocateFlags::empty(), offset, bytes)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let zeros = Bytes::from_static(&[0; 64 << 10]);
            let (mut at, end) = (offset, offset + bytes);
            while at < end {
                let len = zeros.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
                write_at(fd, at, &[zeros.slice(..len)])?;
                at += len as u64;
            }
            Ok(())
        }
        result => result,
    }
}

fn length(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_size).expect("a file has no negative length")
}

/// Up to `len` bytes from `offset`, fewer only at the end of the file.
fn read_at(fd: impl AsFd, offset: u64, len: usize) -> Result<Bytes, Errno> {
    // No file reaches further than the system counts, which is not an error but an end like any other.
    if offset.checked_add(len as u64).is_none_or(|end| i64::try_from(end).is_err()) {
        return Ok(Bytes::new());
    }
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let from = offset + bytes.len() as u64;
        if retry_on_intr(|| rustix::io::pread(&fd, spare_capacity(&mut bytes), from))? == 0 {
            break;
        }
    }
    // The buffer may have become larger than what was asked for, and then the read brought more.
    bytes.truncate(len);
    Ok(bytes.into())
}

/// Writes all of `parts`, one after the other, from `offset` on, whatever the system takes at a time.
fn write_at(fd: impl AsFd, offset: u64, parts: &[Bytes]) -> Result<(), Errno> {
    let mut slices: Vec<_> = parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let (mut rest, mut at) = (slices.as_mut_slice(), offset);
    while !rest.is_empty() {
        let batch = &rest[..rest.len().min(PARTS_MAX)];
        let written = retry_on_intr(|| rustix::io::pwritev(&fd, batch, at))?;
        if written == 0 {
            return Err(Errno::IO);
        }
        at += written as u64;
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// What an error number means to the core.
fn disk_error(error: Errno) -> DiskError {
    match error {
        Errno::NOSPC | Errno::DQUOT => DiskError::Full,
        Errno::ROFS => DiskError::ReadOnly,
        Errno::ACCESS | Errno::PERM => DiskError::Denied,
        Errno::NOENT => DiskError::NotFound,
        Errno::EXIST => DiskError::Exists,
        other => DiskError::Io(other.raw_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::directory::Create;
    use dps_core::disk::Slot;
    use dps_core::id::ChunkId;

    fn worker() -> (tempfile::TempDir, Worker) {
        let temp = tempfile::tempdir().unwrap();
        let worker = Worker::new(Directory::open(temp.path(), Create::Directory).unwrap());
        (temp, worker)
    }

    fn append(file: File, offset: u64, parts: &[&'static [u8]]) -> DiskRequest {
        DiskRequest::Append { file, offset, parts: parts.iter().map(|part| Bytes::from_static(part)).collect() }
    }

    #[test]
    fn more_parts_than_one_call_takes_are_all_written() {
        let (temp, worker) = worker();
        let parts = vec![Bytes::from_static(b"ab"); 2 * PARTS_MAX + 1];
        let request = DiskRequest::Append { file: File::Volume(1), offset: 0, parts };
        assert_eq!(worker.perform(&request), Ok(DiskReply::Done));
        let expected = b"ab".repeat(2 * PARTS_MAX + 1);
        assert_eq!(std::fs::read(temp.path().join("data/000001.kdht")).unwrap(), expected);
    }

    #[test]
    fn an_append_at_another_place_than_the_end_writes_nothing() {
        let (temp, worker) = worker();
        assert_eq!(worker.perform(&append(File::Journal(1), 0, &[b"abc"])), Ok(DiskReply::Done));
        for offset in [1, 2, 4] {
            assert_eq!(worker.perform(&append(File::Journal(1), offset, &[b"x"])), Err(DiskError::Io(0)));
        }
        assert_eq!(std::fs::read(temp.path().join("journal/000001.log")).unwrap(), b"abc");
    }

    #[test]
    fn a_replaced_file_is_read_anew_although_it_was_open() {
        let (_temp, worker) = worker();
        let slot = File::Slot(Slot::BootEven);
        let read = DiskRequest::Read { file: slot, offset: 0, len: 16, verify: Verify::None };
        for content in [b"one", b"two"] {
            worker.perform(&append(File::Stage(1), 0, &[content])).unwrap();
            worker.perform(&DiskRequest::Publish { stage: 1, to: slot }).unwrap();
            assert_eq!(worker.perform(&read), Ok(DiskReply::Read(Bytes::from_static(content))));
        }
    }

    #[test]
    fn a_listing_leaves_strangers_out() {
        let (temp, worker) = worker();
        worker.perform(&append(File::Volume(2), 0, &[b"1234"])).unwrap();
        std::fs::write(temp.path().join("data/1.kdht"), "stranger").unwrap();
        std::fs::create_dir(temp.path().join("data/000003.kdht")).unwrap();
        assert_eq!(worker.perform(&DiskRequest::List), Ok(DiskReply::Listed(vec![(File::Volume(2), 4)])));
    }

    #[test]
    fn a_chunk_is_proven_or_a_mismatch() {
        let (_temp, worker) = worker();
        worker.perform(&append(File::Volume(1), 0, &[b"head", b"body"])).unwrap();
        let id = ChunkId::of(b"body");
        let read = |offset, len| DiskRequest::Read { file: File::Volume(1), offset, len, verify: Verify::Chunk(id) };
        let chunk = VerifiedChunk::new(Bytes::from_static(b"body"));
        assert_eq!(worker.perform(&read(4, 4)), Ok(DiskReply::Verified(chunk)));
        assert_eq!(worker.perform(&read(3, 4)), Ok(DiskReply::Mismatch));
        assert_eq!(worker.perform(&read(5, 4)), Ok(DiskReply::Mismatch));
    }

    #[test]
    fn space_is_set_aside_grows_and_is_given_back() {
        let (temp, worker) = worker();
        let path = temp.path().join("reserve");
        for (asked, expected) in [(10_000, 10_000), (30_000, 30_000), (5_000, 30_000)] {
            let request = DiskRequest::Allocate { file: File::Reserve, bytes: asked };
            assert_eq!(worker.perform(&request), Ok(DiskReply::Done));
            assert_eq!(std::fs::metadata(&path).unwrap().len(), expected);
        }
        let allocated = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(&path).unwrap()) * 512;
        assert!(allocated >= 30_000, "only {allocated} bytes are really set aside");
        let listed = worker.perform(&DiskRequest::List);
        assert_eq!(listed, Ok(DiskReply::Listed(vec![(File::Reserve, 30_000)])));
        // More than any disk has: what was asked for is not there by half.
        let request = DiskRequest::Allocate { file: File::Reserve, bytes: 1 << 60 };
        assert!(worker.perform(&request).is_err());
        assert!(!path.exists());
    }

    #[test]
    fn the_space_of_the_file_system_is_told() {
        let (_temp, worker) = worker();
        let Ok(DiskReply::Space { total, available }) = worker.perform(&DiskRequest::Space) else {
            panic!("a file system tells its space")
        };
        assert!(available <= total && total > 0);
    }

    #[test]
    fn error_numbers_become_what_the_core_knows() {
        for (error, expected) in [
            (Errno::NOSPC, DiskError::Full),
            (Errno::DQUOT, DiskError::Full),
            (Errno::ROFS, DiskError::ReadOnly),
            (Errno::ACCESS, DiskError::Denied),
            (Errno::PERM, DiskError::Denied),
            (Errno::NOENT, DiskError::NotFound),
            (Errno::EXIST, DiskError::Exists),
            (Errno::IO, DiskError::Io(5)),
        ] {
            assert_eq!(disk_error(error), expected);
        }
    }
}
