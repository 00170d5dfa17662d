//! A disk in memory for tests: it knows what was synced, and makes any disk that a crash may leave of it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::damage::Damage;
use super::record::volume::DropRecord;
use super::record::{
    CHUNK_PREFIX_LEN, FileKey, FileKind, HEAD_BODY_LEN, Head, Header, Kind, Predecessor, Stamp, chunk_prefix_len,
};
use super::recover::{Ending, Recovery, Standing, Step};
use super::scan::Record;
use super::writer::{Writer, WriterOp};
use super::{DiskError, DiskReply, DiskRequest, DiskResult, File, Verify};
use crate::disk::boot::BootRecord;
use crate::id::{ChunkId, VerifiedChunk};
use crate::limits::{EPOCH_MAX, POSITION_MAX, SEQUENCE_FOUND_MAX};
use crate::note::Note;
use crate::rng::{Rng, Seed};

/// The unit that a crash keeps or loses as a whole.
pub(crate) const SECTOR_BYTES: usize = 512;

/// The secret of all stores in tests.
pub(crate) const KEY: FileKey = FileKey([3; 16]);

/// Property tests that try the same cases on every run.
pub(crate) fn fixed_cases() -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(0x6470_7301), failure_persistence: None, ..ProptestConfig::default() }
}

/// A stream of draws for a test.
pub(crate) fn rng(seed: u64) -> Rng {
    Seed::new([7; 32]).split("test disk", seed).rng()
}

/// A start of the store of tests.
pub(crate) fn boot(number: u64) -> BootRecord {
    BootRecord { store: [1; 16], key: KEY, boot: number, random: [u8::try_from(number % 251).unwrap(); 16] }
}

/// The head of a file of tests.
pub(crate) const fn head(predecessor: Predecessor) -> Head {
    Head { predecessor, store: [1; 16], boot_random: [2; 16] }
}

/// A file's bytes. Files only grow, so what is synced is a prefix.
#[derive(Clone, Debug)]
struct Inode {
    bytes: Vec<u8>,
    synced: usize,
}

/// The disk. Names are synced by kind of file, as if each kind had a directory of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestDisk {
    inodes: Vec<Inode>,
    names: BTreeMap<File, usize>,
    durable_names: BTreeMap<File, usize>,
    /// Sectors that can't be read.
    unreadable: BTreeSet<(File, usize)>,
    /// Files that refuse every read.
    refused: BTreeMap<File, DiskError>,
    /// How many reads were asked for, and how many of them failed.
    pub(crate) reads: usize,
    pub(crate) failed_reads: usize,
    pub(crate) bytes_read: usize,
    /// The same by file.
    pub(crate) bytes_read_of: BTreeMap<File, usize>,
}

const fn folder(file: File) -> u8 {
    match file {
        File::Slot(_) => 0,
        File::Journal(_) | File::Snapshot(_) => 1,
        File::Volume(_) => 2,
        File::Checkpoint(_) => 2,
        File::Reserve => 0,
        File::Stage(_) => 3,
    }
}

impl TestDisk {
    /// Performs a request as a whole.
    pub(crate) fn perform(&mut self, request: &DiskRequest) -> DiskResult {
        match request {
            DiskRequest::List => Ok(DiskReply::Listed(self.list())),
            DiskRequest::Read { file, offset, len, verify } => {
                self.reads += 1;
                let result = self.read(*file, *offset, *len, *verify);
                self.failed_reads += usize::from(result.is_err());
                if let Ok(DiskReply::Read(bytes)) = &result {
                    self.bytes_read += bytes.len();
                    *self.bytes_read_of.entry(*file).or_default() += bytes.len();
                }
                result
            }
            DiskRequest::Append { file, offset, parts } => {
                self.append(*file, *offset, &parts.concat());
                Ok(DiskReply::Done)
            }
            DiskRequest::Sync { file, directory } => {
                let inode = *self.names.get(file).expect("what is synced exists");
                self.inodes[inode].synced = self.inodes[inode].bytes.len();
                if *directory {
                    self.sync_names(*file);
                }
                assert!(self.durable_names.contains_key(file), "the first sync of a file syncs its directory");
                Ok(DiskReply::Done)
            }
            DiskRequest::Publish { stage, to } => {
                self.rename(*stage, *to);
                self.durable_names.remove(&File::Stage(*stage));
                self.sync_names(*to);
                Ok(DiskReply::Done)
            }
            DiskRequest::Remove { file } => {
                self.names.remove(file);
                Ok(DiskReply::Done)
            }
            DiskRequest::Allocate { file, bytes } => {
                self.allocate(*file, usize::try_from(*bytes).expect("it is in memory"));
                Ok(DiskReply::Done)
            }
            DiskRequest::Space => Ok(DiskReply::Space { total: u64::MAX, available: u64::MAX }),
        }
    }

    /// What a request does when the writer dies in the middle of it.
    pub(crate) fn interrupt(&mut self, request: &DiskRequest, rng: &mut Rng) {
        match request {
            DiskRequest::List
            | DiskRequest::Read { .. }
            | DiskRequest::Space
            | DiskRequest::Sync { .. }
            | DiskRequest::Allocate { .. } => {}
            DiskRequest::Remove { file } => {
                if rng.chance(1, 2) {
                    self.names.remove(file);
                }
            }
            DiskRequest::Append { file, offset, parts } => {
                let bytes = parts.concat();
                let kept = usize::try_from(rng.below(bytes.len() as u64 + 1)).unwrap();
                self.append(*file, *offset, &bytes[..kept]);
            }
            DiskRequest::Publish { stage, to } => {
                if rng.chance(1, 2) {
                    self.rename(*stage, *to);
                }
            }
        }
    }

    fn allocate(&mut self, file: File, bytes: usize) {
        if !self.names.contains_key(&file) {
            self.append(file, 0, &[]);
        }
        let inode = &mut self.inodes[self.names[&file]];
        inode.bytes.resize(bytes.max(inode.bytes.len()), 0);
        inode.synced = inode.bytes.len();
        self.sync_names(file);
    }

    fn append(&mut self, file: File, offset: u64, bytes: &[u8]) {
        if offset == 0 {
            assert!(!self.names.contains_key(&file), "{file} is created once");
            self.names.insert(file, self.inodes.len());
            self.inodes.push(Inode { bytes: Vec::new(), synced: 0 });
        }
        let inode = &mut self.inodes[self.names[&file]];
        assert_eq!(inode.bytes.len() as u64, offset, "an append to {file} is at its end");
        inode.bytes.extend_from_slice(bytes);
    }

    fn rename(&mut self, stage: u64, to: File) {
        let inode = self.names.remove(&File::Stage(stage)).expect("what is published exists");
        self.inodes[inode].synced = self.inodes[inode].bytes.len();
        let replaced = self.names.insert(to, inode);
        assert!(
            replaced.is_none() || matches!(to, File::Slot(_) | File::Checkpoint(_) | File::Snapshot(_)),
            "file numbers are never reused"
        );
    }

    fn sync_names(&mut self, file: File) {
        self.durable_names.retain(|name, _| folder(*name) != folder(file));
        let synced = self.names.iter().filter(|(name, _)| folder(**name) == folder(file));
        self.durable_names.extend(synced.map(|(name, inode)| (*name, *inode)));
    }

    fn read(&self, file: File, offset: u64, len: u32, verify: Verify) -> DiskResult {
        if let Some(error) = self.refused.get(&file) {
            return Err(*error);
        }
        let bytes = self.bytes(file).ok_or(DiskError::NotFound)?;
        let first = usize::try_from(offset).unwrap().min(bytes.len());
        let end = (first + len as usize).min(bytes.len());
        let sectors = (file, first / SECTOR_BYTES)..(file, end.div_ceil(SECTOR_BYTES));
        if first < end && self.unreadable.range(sectors).next().is_some() {
            return Err(DiskError::Io(5));
        }
        let read = Bytes::copy_from_slice(&bytes[first..end]);
        match verify {
            Verify::None => Ok(DiskReply::Read(read)),
            Verify::Chunk(_) if end - first < len as usize => Ok(DiskReply::Mismatch),
            Verify::Chunk(id) => Ok(VerifiedChunk::check(id, read).map_or(DiskReply::Mismatch, DiskReply::Verified)),
        }
    }

    fn list(&self) -> Vec<(File, u64)> {
        self.names.iter().map(|(file, inode)| (*file, self.inodes[*inode].bytes.len() as u64)).collect()
    }

    /// Numbers and lengths of the files of a kind, as recovery wants them.
    pub(crate) fn files(&self, kind: FileKind) -> Vec<(u64, u64)> {
        let number = |file| match (file, kind) {
            (File::Journal(number), FileKind::Journal) | (File::Volume(number), FileKind::Volume) => Some(number),
            _ => None,
        };
        self.list().into_iter().filter_map(|(file, len)| Some((number(file)?, len))).collect()
    }

    /// Last indexes and lengths of the snapshots.
    pub(crate) fn snapshots(&self) -> Vec<(u64, u64)> {
        let number = |file| if let File::Snapshot(index) = file { Some(index) } else { None };
        self.list().into_iter().filter_map(|(file, len)| Some((number(file)?, len))).collect()
    }

    /// Numbers and lengths of the checkpoints.
    pub(crate) fn checkpoints(&self) -> Vec<(u64, u64)> {
        let number = |file| if let File::Checkpoint(number) = file { Some(number) } else { None };
        self.list().into_iter().filter_map(|(file, len)| Some((number(file)?, len))).collect()
    }

    /// A file's bytes, latent errors aside.
    pub(crate) fn bytes(&self, file: File) -> Option<&[u8]> {
        Some(&self.inodes[*self.names.get(&file)?].bytes)
    }

    /// A file's bytes, to be harmed.
    pub(crate) fn bytes_mut(&mut self, file: File) -> &mut Vec<u8> {
        &mut self.inodes[self.names[&file]].bytes
    }

    /// Puts a file there, durably.
    pub(crate) fn put(&mut self, file: File, bytes: Vec<u8>) {
        let inode = self.inodes.len();
        self.inodes.push(Inode { synced: bytes.len(), bytes });
        self.names.insert(file, inode);
        self.durable_names.insert(file, inode);
    }

    /// Takes a file away.
    pub(crate) fn lose(&mut self, file: File) {
        self.names.remove(&file).expect("a file that is lost was there");
        self.durable_names.remove(&file);
    }

    /// Makes the sector that has this byte unreadable.
    pub(crate) fn spoil(&mut self, file: File, offset: usize) {
        self.unreadable.insert((file, offset / SECTOR_BYTES));
    }

    /// Makes every sector readable again.
    pub(crate) fn mend(&mut self) {
        self.unreadable.clear();
    }

    /// Refuses every read of a file.
    pub(crate) fn refuse(&mut self, file: File, error: DiskError) {
        self.refused.insert(file, error);
    }

    /// Answers the reads of a file again.
    pub(crate) fn readmit(&mut self, file: File) {
        self.refused.remove(&file);
    }

    /// What every start does first.
    pub(crate) fn remove_stages(&mut self) {
        self.names.retain(|file, _| !matches!(file, File::Stage(_)));
    }

    /// A disk that a loss of power may leave of this one: of the sectors and names that are not synced, any subset.
    pub(crate) fn crash(&self, rng: &mut Rng) -> Self {
        let share = [0, 1, 5, 9, 10][usize::try_from(rng.below(5)).unwrap()];
        let mut image = Self { unreadable: self.unreadable.clone(), ..Self::default() };
        let names: BTreeSet<File> = self.names.keys().chain(self.durable_names.keys()).copied().collect();
        for name in names {
            let (new, old) = (self.names.get(&name), self.durable_names.get(&name));
            let inode = if new == old || rng.chance(share, 10) { new } else { old };
            if let Some(inode) = inode {
                image.put(name, self.inodes[*inode].crash(share, rng));
            }
        }
        image
    }
}

impl Inode {
    fn crash(&self, share: u64, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let mut end = self.synced;
        let mut at = self.synced;
        while at < bytes.len() {
            let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(bytes.len());
            if rng.chance(share, 10) {
                end = next;
            } else {
                bytes[at..next].fill(0);
            }
            at = next;
        }
        // The length may be ahead of the sectors, or behind them.
        if rng.chance(1, 4) {
            end = usize::try_from(rng.between(self.synced as u64, bytes.len() as u64)).unwrap();
        }
        bytes.truncate(end);
        bytes
    }
}

/// What a recovery of one kind of files came to.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// File, record, and how far it can be relied on.
    pub(crate) records: Vec<(u64, Record, Standing)>,
    pub(crate) notes: Vec<Note>,
    pub(crate) ending: Ending,
}

impl Recovered {
    /// File, first and last position of each damage, in the order in which they were found.
    pub(crate) fn lost(&self) -> Vec<(File, u64, u64)> {
        self.ending.damages.iter().map(|Damage { file, first, last, .. }| (*file, *first, *last)).collect()
    }

    /// File and position of each record of this standing.
    pub(crate) fn positions(&self, standing: Standing) -> Vec<(u64, u64)> {
        let wanted = self.records.iter().filter(|(.., found)| *found == standing);
        wanted.map(|(number, record, _)| (*number, record.header.position)).collect()
    }
}

/// Recovers the files of a kind.
pub(crate) fn recover(disk: &mut TestDisk, kind: FileKind, floors: &[(u64, u64)]) -> Recovered {
    let recovery = Recovery::new(KEY, kind, disk.files(kind), floors.iter().copied().collect());
    run(recovery, disk)
}

/// Lets a recovery go on to its end.
pub(crate) fn run(mut recovery: Recovery, disk: &mut TestDisk) -> Recovered {
    let (mut records, mut notes) = (Vec::new(), Vec::new());
    loop {
        match recovery.advance() {
            Step::Disk(request) => recovery.done(&disk.perform(&request)),
            Step::Record { number, record, standing } => records.push((number, record, standing)),
            Step::Note(note) => notes.push(note),
            Step::End => break,
        }
    }
    let ending = recovery.into_ending();
    let noted = notes.iter().filter(|note| matches!(note, Note::Damaged(_))).count();
    assert_eq!(noted as u64, ending.damages.len() as u64 + ending.damages_omitted, "each damage is told");
    Recovered { records, notes, ending }
}

/// A writer and the requests that it waits for.
#[derive(Debug)]
pub(crate) struct Pen {
    pub(crate) writer: Writer,
    pub(crate) queue: VecDeque<(WriterOp, DiskRequest)>,
}

impl Pen {
    /// A new file that goes on after `predecessor`.
    pub(crate) fn create(kind: FileKind, boot_number: u64, predecessor: Predecessor) -> Self {
        let stamp = Stamp::new(&KEY, kind, predecessor.number + 1);
        Self::resume(Writer::create(stamp, boot_number, &head(predecessor)))
    }

    pub(crate) const fn resume(writer: Writer) -> Self {
        Self { writer, queue: VecDeque::new() }
    }

    pub(crate) fn flush(&mut self) {
        let mut out = Vec::new();
        self.writer.flush(&mut out);
        self.queue.extend(out);
    }

    /// Performs the oldest request. Returns whether there was one.
    pub(crate) fn complete(&mut self, disk: &mut TestDisk) -> bool {
        let Some((op, request)) = self.queue.pop_front() else { return false };
        self.writer.done(op, &disk.perform(&request));
        true
    }

    /// Flushes and completes until nothing is left to do.
    pub(crate) fn settle(&mut self, disk: &mut TestDisk) {
        loop {
            self.flush();
            if !self.complete(disk) {
                break;
            }
        }
        assert!(!self.writer.is_busy(), "an idle writer waits for nothing");
    }

    /// The process dies: of the requests under way an oldest part happened, the last of them perhaps in part.
    pub(crate) fn die(self, disk: &mut TestDisk, rng: &mut Rng) {
        for (_, request) in self.queue {
            if rng.chance(1, 4) {
                return disk.interrupt(&request, rng);
            }
            // A sync that was never acknowledged is as good as not done.
            if !matches!(request, DiskRequest::Sync { .. }) {
                disk.perform(&request).unwrap();
            }
        }
    }
}

/// A piece of a file that nobody wrote in good faith, though it may have the right checksum.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// A record that passes every check but makes no sense where it is.
    Record { kind: u8, numbers: [u64; 3], body: Vec<u8> },
    /// Any bytes.
    Bytes(Vec<u8>),
    /// Many zeros.
    Zeros(usize),
    /// The bytes of the file so far, once more.
    Copy,
}

fn any_number() -> impl Strategy<Value = u64> {
    let edge = proptest::sample::select(alloc::vec![u64::MAX, POSITION_MAX, SEQUENCE_FOUND_MAX + 1, EPOCH_MAX + 1]);
    prop_oneof![8 => 0..9u64, 1 => any::<u64>(), 2 => (edge, 0..3u64).prop_map(|(edge, below)| edge - below)]
}

/// Pieces of a file.
pub(crate) fn any_pieces() -> impl Strategy<Value = Vec<Piece>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..80);
    let body = prop_oneof![bytes(), any_number().prop_map(entry_body), any_number().prop_map(head_body)];
    let record = (0..8u8, [any_number(), any_number(), any_number()], body)
        .prop_map(|(kind, numbers, body)| Piece::Record { kind, numbers, body });
    let piece = prop_oneof![
        8 => record,
        1 => bytes().prop_map(Piece::Bytes),
        1 => (0..700usize).prop_map(Piece::Zeros),
        1 => Just(Piece::Copy),
    ];
    proptest::collection::vec(piece, 0..12)
}

/// The body of an entry that says nothing but its index, with a floor.
fn entry_body(index: u64) -> Vec<u8> {
    let command = crate::ledger::command::Command::Delete {
        time: crate::time::WallTime::default(),
        name: crate::ledger::name::Name::new(b"name").unwrap(),
        expect: crate::ledger::file::Expect::Any,
    };
    let volumes = [(index / 2, index / 3)].into();
    crate::ledger::entry::Entry { term: 1, index, volumes, command: command.encode() }.encode()
}

fn head_body(number: u64) -> Vec<u8> {
    head(Predecessor { number: number % 3, position: number, offset: number }).encode().to_vec()
}

const KINDS: [Kind; 8] =
    [Kind::Head, Kind::Footer, Kind::Empty, Kind::Chunk, Kind::Entry, Kind::MarkedChunk, Kind::Mark, Kind::Drop];

/// A body that passes the checks of its kind, or nearly. Chunks, marks and drops are about three chunks.
fn forge_body(kind: Kind, body: &[u8], number: u64) -> Vec<u8> {
    let mut body = body.to_vec();
    let chunk = [body.first().copied().unwrap_or(0) % 3; CHUNK_PREFIX_LEN];
    match kind {
        Kind::Head => body.resize(HEAD_BODY_LEN, 0),
        Kind::Footer | Kind::Empty => body.clear(),
        Kind::Entry | Kind::Vote | Kind::Cut | Kind::Log | Kind::Base | Kind::Rely | Kind::State => {}
        Kind::Chunk | Kind::MarkedChunk | Kind::Mark => {
            let prefix = chunk_prefix_len(kind != Kind::Chunk);
            let len = if kind == Kind::Mark { prefix } else { body.len().max(prefix) };
            body.resize(len, 0);
            body[..CHUNK_PREFIX_LEN].copy_from_slice(&chunk);
            body[CHUNK_PREFIX_LEN..prefix].copy_from_slice(&number.to_le_bytes()[..prefix - CHUNK_PREFIX_LEN]);
        }
        Kind::Drop => {
            let (from, chunks) = (1 + number % 3, alloc::vec![ChunkId::from_bytes(chunk)]);
            let dropped =
                DropRecord { epoch: 1 + number % EPOCH_MAX, from, through: from + u64::from(chunk[0]), chunks };
            body = dropped.encode();
        }
    }
    body
}

/// The bytes of a file made of pieces.
pub(crate) fn forge(kind: FileKind, number: u64, pieces: &[Piece]) -> Vec<u8> {
    let stamp = Stamp::new(&KEY, kind, number);
    let mut bytes = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Record { kind, numbers: [position, sequence, durable], body } => {
                let kind = KINDS[usize::from(*kind)];
                let body = forge_body(kind, body, *sequence);
                let position = (*position).max(1);
                let body_len = u32::try_from(body.len()).unwrap();
                let durable_through = (*durable).min(position - 1);
                let header = Header { kind, boot: 1, position, sequence: *sequence, durable_through, body_len };
                let offset = bytes.len() as u64;
                let covered = kind.covered(body_len);
                header.encode(&stamp, offset, &body[..covered], &mut bytes);
                bytes.extend_from_slice(&body[covered..]);
            }
            Piece::Bytes(piece) => bytes.extend_from_slice(piece),
            Piece::Zeros(len) => bytes.resize(bytes.len() + len, 0),
            Piece::Copy => bytes.extend_from_within(..),
        }
    }
    bytes
}
