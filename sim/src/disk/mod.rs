//! A disk in memory that performs [`DiskRequest`]s with drawn latencies and lies like real ones do.
//!
//! Writes, syncs, publications and removals of one file run in issue order; reads run at once. A crash keeps any drawn
//! subset of what was not synced. Everything that is injected is remembered, see [`Disk::harms`].

mod copy;
mod directory;
mod fault;
mod medium;
mod power;
#[cfg(test)]
mod tests;
mod truth;

use std::collections::BTreeMap;

use bytes::Bytes;
use dps_core::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Verify};
use dps_core::id::VerifiedChunk;
use dps_core::rng::{Rng, Seed};

pub use copy::DiskCopy;
use directory::{Directory, Inode};
use fault::{Armed, Windows};
pub use fault::{FileClass, READ_ERROR, WRITE_ERROR};
use medium::Medium;
pub use medium::{SECTOR_BYTES, Survive};
pub use truth::{Harm, HarmKind};

use crate::draws::index;

/// Bytes that a disk has unless it is told otherwise.
const CAPACITY_BYTES: u64 = 1 << 40;

/// Error number of an append that is not at the file's end: the node broke the contract (EINVAL).
pub const NOT_AT_END: i32 = 22;

/// How long requests take, in nanoseconds. Each one takes from its minimum to four times that, at times far longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// A read or listing.
    pub read_ns: u64,
    /// An append, or a removal.
    pub append_ns: u64,
    /// A sync, and each of the steps of a publication.
    pub sync_ns: u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { read_ns: 20_000, append_ns: 10_000, sync_ns: 200_000 }
    }
}

/// Names one request that was issued and is not complete.
pub type Ticket = u64;

#[derive(Debug)]
struct Pending {
    request: DiskRequest,
    /// Reads that saw the disk at the moment they were issued.
    early: Option<DiskResult>,
}

/// A disk.
#[derive(Debug)]
pub struct Disk {
    options: DiskOptions,
    /// Whether every request takes its least.
    steady: bool,
    /// Bytes that all files together may have.
    capacity: u64,
    latency: Rng,
    choice: Rng,
    directory: Directory,
    media: BTreeMap<Inode, Medium>,
    next_inode: Inode,
    pending: BTreeMap<Ticket, Pending>,
    next_ticket: Ticket,
    /// When the last write of a file that was issued so far ends.
    busy_until: BTreeMap<File, u64>,
    armed: Armed,
    windows: Windows,
    /// Injections so far.
    stamp: u64,
    /// Files that were made to vanish, with the stamp.
    lost: BTreeMap<File, u64>,
    /// Write errors that were injected since the last start.
    refused: Vec<(File, DiskError)>,
    /// Whether somebody who asked for space since the last start was told that there is none.
    told_full: bool,
    /// When somebody last asked for space.
    asked_at: u64,
    /// Length of each journal segment of which every byte is known durable to a later record.
    covered: BTreeMap<File, usize>,
    /// Where the last append of each file began.
    last_append: BTreeMap<File, usize>,
    /// Requests that broke the contract.
    misuse: Vec<String>,
}

/// The files that a request changes, in the order of their queues. Empty for reads.
fn written(request: &DiskRequest) -> Vec<File> {
    match request {
        DiskRequest::List | DiskRequest::Read { .. } | DiskRequest::Space => Vec::new(),
        DiskRequest::Append { file, .. }
        | DiskRequest::Sync { file, .. }
        | DiskRequest::Remove { file }
        | DiskRequest::Allocate { file, .. } => vec![*file],
        DiskRequest::Publish { stage, to } => vec![File::Stage(*stage), *to],
    }
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: Seed, options: DiskOptions) -> Self {
        Self {
            options,
            steady: false,
            capacity: CAPACITY_BYTES,
            latency: seed.split("latency", 0).rng(),
            choice: seed.split("choice", 0).rng(),
            directory: Directory::default(),
            media: BTreeMap::new(),
            next_inode: 0,
            pending: BTreeMap::new(),
            next_ticket: 0,
            busy_until: BTreeMap::new(),
            armed: Armed::default(),
            windows: Windows::default(),
            stamp: 0,
            lost: BTreeMap::new(),
            refused: Vec::new(),
            told_full: false,
            asked_at: 0,
            covered: BTreeMap::new(),
            last_append: BTreeMap::new(),
            misuse: Vec::new(),
        }
    }

    /// Whether every request of a kind takes equally long from now on.
    pub const fn set_steady(&mut self, steady: bool) {
        self.steady = steady;
    }

    /// Takes a request at `now` and says when it will be done; [`Disk::complete`] must be called then, and for requests
    /// with equal times in the order of their issue.
    pub fn issue(&mut self, now: u64, request: DiskRequest) -> (Ticket, u64) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let files = written(&request);
        let queued = files.iter().filter_map(|file| self.busy_until.get(file)).max().copied().unwrap_or(0);
        let took = self.draw_latency(now, &request);
        let done = now.max(queued) + took;
        for file in files {
            self.busy_until.insert(file, done);
        }
        let is_read = written(&request).is_empty();
        let early = (is_read && self.choice.chance(1, 2)).then(|| self.perform(now, &request));
        self.pending.insert(ticket, Pending { request, early });
        (ticket, done)
    }

    /// Performs a request whose time has come.
    ///
    /// # Panics
    /// When the ticket is not pending: the world delivered a completion twice or after a crash.
    pub fn complete(&mut self, now: u64, ticket: Ticket) -> DiskResult {
        let pending = self.pending.remove(&ticket).expect("a ticket completes once, and never after a crash");
        match pending.early {
            Some(result) => result,
            None => self.perform(now, &pending.request),
        }
    }

    /// Performs a request at once, for tests of the contract.
    ///
    /// # Panics
    /// When other requests are pending.
    pub fn perform_now(&mut self, request: &DiskRequest) -> DiskResult {
        assert!(self.pending.is_empty(), "either requests are queued or performed at once");
        self.perform(0, request)
    }

    /// The requests that were issued and are not complete.
    pub fn pending(&self) -> impl Iterator<Item = &DiskRequest> {
        self.pending.values().map(|pending| &pending.request)
    }

    /// A request that was issued and is not complete.
    #[must_use]
    pub fn request(&self, ticket: Ticket) -> Option<&DiskRequest> {
        self.pending.get(&ticket).map(|pending| &pending.request)
    }

    /// Whether a write of any kind was issued and is not complete.
    #[must_use]
    pub fn is_write_pending(&self) -> bool {
        self.pending().any(|request| !written(request).is_empty())
    }

    /// When somebody was last told how much space there is.
    #[must_use]
    pub const fn asked_at(&self) -> u64 {
        self.asked_at
    }

    /// Every file with its length, as readers see them.
    #[must_use]
    pub fn files(&self) -> Vec<(File, u64)> {
        self.directory.iter().map(|(file, inode)| (file, self.media[&inode].current().len() as u64)).collect()
    }

    /// A file's bytes as readers see them, latent errors aside.
    #[must_use]
    pub fn bytes(&self, file: File) -> Option<&[u8]> {
        Some(self.media[&self.directory.get(file)?].current())
    }

    /// Every file that a loss of power leaves at least, with the bytes that it leaves of it.
    pub fn durable_files(&self) -> impl Iterator<Item = (File, &[u8])> {
        self.directory.durable().map(|(file, inode)| (file, self.media[&inode].durable()))
    }

    /// The CRC-32 over every file: name, what readers see, and what a crash would leave at least.
    #[must_use]
    pub fn digest(&self) -> u32 {
        let mut hash = crc32fast::Hasher::new();
        for (file, inode) in self.directory.iter() {
            hash.update(file.to_string().as_bytes());
            for bytes in [self.media[&inode].current(), self.media[&inode].durable()] {
                hash.update(&(bytes.len() as u64).to_le_bytes());
                hash.update(bytes);
            }
        }
        hash.finalize()
    }

    /// Takes the breaches of the contract that the node is guilty of.
    pub fn take_misuse(&mut self) -> Vec<String> {
        std::mem::take(&mut self.misuse)
    }

    fn draw_latency(&mut self, now: u64, request: &DiskRequest) -> u64 {
        let least = match request {
            DiskRequest::List | DiskRequest::Read { .. } | DiskRequest::Space => self.options.read_ns,
            DiskRequest::Append { .. } | DiskRequest::Remove { .. } => self.options.append_ns,
            DiskRequest::Sync { .. } => self.options.sync_ns,
            DiskRequest::Publish { .. } | DiskRequest::Allocate { .. } => 3 * self.options.sync_ns,
        };
        if self.steady {
            return 1 + least;
        }
        let usual = self.latency.between(least, 4 * least);
        let long = if self.latency.chance(1, 50) { 10 } else { 1 };
        1 + usual * long * self.windows.slowness(now)
    }

    fn perform(&mut self, now: u64, request: &DiskRequest) -> DiskResult {
        match request {
            DiskRequest::List => Ok(DiskReply::Listed(self.files())),
            DiskRequest::Read { file, offset, len, verify } => self.read(*file, *offset, *len, *verify),
            DiskRequest::Append { file, offset, parts } => self.append(now, *file, *offset, parts),
            DiskRequest::Sync { file, directory } => self.sync(*file, *directory),
            DiskRequest::Publish { stage, to } => self.publish(File::Stage(*stage), *to),
            DiskRequest::Remove { file: file @ File::Volume(_) } if self.armed.take_failed_removal() => {
                self.refuse(*file, WRITE_ERROR);
                Err(WRITE_ERROR)
            }
            DiskRequest::Remove { file } => {
                self.directory.unlink(*file);
                self.forget_unreachable();
                Ok(DiskReply::Done)
            }
            DiskRequest::Allocate { file, bytes } => self.allocate(now, *file, *bytes),
            DiskRequest::Space => {
                let (total, available) = (self.capacity, self.available(now));
                self.asked_at = now;
                // On a small disk puts are refused before it is full.
                self.told_full |= available == 0 || total < CAPACITY_BYTES;
                Ok(DiskReply::Space { total, available })
            }
        }
    }

    fn medium(&mut self, file: File) -> Result<&mut Medium, DiskError> {
        let inode = self.directory.get(file).ok_or(DiskError::NotFound)?;
        Ok(self.media.get_mut(&inode).expect("a name leads to a content"))
    }

    fn read(&mut self, file: File, offset: u64, len: u32, verify: Verify) -> DiskResult {
        let medium = self.medium(file)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(bytes) = medium.read(offset, len as usize) else { return Err(READ_ERROR) };
        let bytes = Bytes::copy_from_slice(bytes);
        match verify {
            Verify::None => Ok(DiskReply::Read(bytes)),
            Verify::Chunk(_) if bytes.len() < len as usize => Ok(DiskReply::Mismatch),
            Verify::Chunk(id) => Ok(VerifiedChunk::check(id, bytes).map_or(DiskReply::Mismatch, DiskReply::Verified)),
        }
    }

    fn append(&mut self, now: u64, file: File, offset: u64, parts: &[Bytes]) -> DiskResult {
        let bytes = parts.concat();
        let exists = self.directory.get(file).is_some();
        if exists && offset == 0 {
            return Err(DiskError::Exists);
        }
        if !exists && offset > 0 {
            return Err(DiskError::NotFound);
        }
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        if exists {
            let medium = self.medium(file)?;
            let end = medium.current().len();
            if at != end && !medium.ragged {
                self.misuse.push(format!("append to {file} at byte {offset}, which ends at byte {end}"));
                return Err(DiskError::Io(NOT_AT_END));
            }
        }
        let error = self.append_error(now, file, bytes.len() as u64);
        let kept = match error {
            None => bytes.len(),
            Some(_) => index(&mut self.choice, bytes.len() + 1),
        };
        if !exists && (error.is_none() || kept > 0) {
            self.create(file);
        }
        if let Ok(medium) = self.medium(file) {
            medium.write(at, &bytes[..kept]);
            medium.ragged |= error.is_some();
            self.last_append.insert(file, at);
        }
        match error {
            None => Ok(DiskReply::Done),
            Some(error) => {
                self.refuse(file, error);
                Err(error)
            }
        }
    }

    fn sync(&mut self, file: File, directory: bool) -> DiskResult {
        if self.directory.get(file).is_none() {
            return Err(DiskError::NotFound);
        }
        if let Some(error) = self.armed.take_failed_sync(FileClass::of(file)) {
            return self.fail_sync(file, error);
        }
        if !self.sync_astray(file)? {
            self.medium(file)?.sync();
        }
        if directory {
            self.directory.sync(file);
            self.forget_unreachable();
        }
        Ok(DiskReply::Done)
    }

    /// Makes a file of nothing but space, durably.
    fn allocate(&mut self, now: u64, file: File, bytes: u64) -> DiskResult {
        let have = self.medium(file).map_or(0, |medium| medium.current().len() as u64);
        let missing = bytes.saturating_sub(have);
        if missing > self.available(now) {
            self.directory.unlink(file);
            self.forget_unreachable();
            self.refuse(file, DiskError::Full);
            return Err(DiskError::Full);
        }
        if self.directory.get(file).is_none() {
            self.create(file);
        }
        let zeros = vec![0; usize::try_from(missing).expect("a disk in memory holds it")];
        let medium = self.medium(file)?;
        medium.write(usize::try_from(have).expect("it is in memory"), &zeros);
        medium.sync();
        self.directory.sync(file);
        Ok(DiskReply::Done)
    }

    fn create(&mut self, file: File) {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.media.insert(inode, Medium::default());
        self.directory.link(file, inode);
        self.covered.remove(&file);
    }

    fn publish(&mut self, stage: File, to: File) -> DiskResult {
        if self.directory.get(stage).is_none() {
            return Err(DiskError::NotFound);
        }
        if let Some(error) = self.armed.take_failed_sync(FileClass::of(to)) {
            self.refuse(to, error);
            return self.fail_sync(stage, error);
        }
        self.medium(stage)?.sync();
        self.directory.rename(stage, to);
        self.directory.sync(to);
        for forgotten in [stage, to] {
            self.covered.remove(&forgotten);
            self.last_append.remove(&forgotten);
        }
        self.forget_unreachable();
        Ok(DiskReply::Done)
    }

    fn fail_sync(&mut self, file: File, error: DiskError) -> DiskResult {
        let inode = self.directory.get(file).ok_or(DiskError::NotFound)?;
        self.media.get_mut(&inode).expect("a name leads to a content").sync_failed(&mut self.choice);
        self.refuse(file, error);
        Err(error)
    }

    fn refuse(&mut self, file: File, error: DiskError) {
        if !self.refused.contains(&(file, error)) {
            self.refused.push((file, error));
        }
    }

    fn forget_unreachable(&mut self) {
        let reachable = self.directory.reachable();
        self.media.retain(|inode, _| reachable.contains(inode));
    }
}
