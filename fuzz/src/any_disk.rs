//! Any data directory, any client and any disk error: a node never panics, and never writes what its driver can't do.
//! What a node on an honest disk owes its clients besides is the business of [`crate::node_events`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use dps_core::config::{Config, RawConfig};
use dps_core::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Slot, Verify};
use dps_core::id::{ChunkId, FileId, OpId, RequestId, VerifiedChunk};
use dps_core::keystore::ingest::FileDigest;
use dps_core::ledger::file::{Expect, Target};
use dps_core::ledger::name::Name;
use dps_core::machine::Machine as _;
use dps_core::node::{ByteRange, Effect, Event, Node, Request, VerifyScope};
use dps_core::rng::Seed;
use dps_core::time::{Instant, Now, WallTime};

use crate::input::Input;

/// Events of one run. What is found with more is found with fewer, sooner.
const EVENTS_MAX: usize = 2_000;

/// Conversations that a run refers to again.
const CONVERSATIONS_MAX: usize = 16;

/// Blocks, volumes and segments so small that a short input fills several.
const SMALL: RawConfig = RawConfig {
    block_bytes_min: 16,
    block_bytes_max: 64,
    blocks_target: 4,
    large_file_blocks: 4,
    inline_bytes_max: 8,
    manifest_entries_max: 2,
    manifest_fanout: 2,
    volume_bytes: 1_024,
    segment_bytes: 512,
    snapshot_entries: 4,
    ingest_bytes_max: 256,
    settle_after: Duration::from_millis(5),
    credit_timeout: Duration::from_millis(50),
    retain: Duration::from_millis(100),
    scrub_period: Duration::from_millis(50),
    sweep_wait: Duration::from_millis(50),
};

/// Lives a node's life as `data` tells it: what its disk holds at first, what clients want, and when the disk fails.
///
/// # Panics
/// When the node does, or when it asks for what the disk's rules forbid.
pub fn any_disk(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(&mut input);
    for _ in 0..EVENTS_MAX {
        if input.is_empty() || world.halted {
            break;
        }
        world.happen(&mut input);
    }
    world.flush();
}

/// A node with a disk that keeps every write, and fails when it is told to.
struct World {
    node: Node,
    now: Now,
    files: BTreeMap<File, Vec<u8>>,
    /// Files on which a request failed: what follows on them may not fit any more.
    failed: BTreeSet<File>,
    pending: Vec<(OpId, DiskRequest)>,
    requests: u64,
    halted: bool,
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let mut files = BTreeMap::new();
        for _ in 0..input.below(6) {
            let file = file(input);
            let repeat = 1 + input.below(3);
            files.insert(file, input.repeated(repeat).to_vec());
        }
        Self {
            node: node(),
            now: Now::default(),
            files,
            failed: BTreeSet::new(),
            pending: Vec::new(),
            requests: 0,
            halted: false,
        }
    }

    fn happen(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0 => self.flush(),
            1 => self.pass(Duration::from_micros(input.number())),
            2 => {
                let deadline = self.node.deadline().unwrap_or(self.now.mono);
                self.pass(deadline.since(self.now.mono));
                self.step(Event::Wake);
            }
            3 => self.step(Event::Wake),
            4 => self.restart(input),
            5 | 6 => {
                self.requests += 1;
                let request = opening(input);
                self.step(Event::Requested { id: RequestId(self.requests), request });
            }
            7..=9 if self.requests > 0 => {
                let back = input.below(CONVERSATIONS_MAX) as u64;
                let id = RequestId(self.requests.saturating_sub(back).max(1));
                let request = continuing(input);
                self.step(Event::Requested { id, request });
            }
            _ => self.complete(input),
        }
    }

    fn pass(&mut self, time: Duration) {
        let mono = self.now.mono + time;
        // The end of time is no instant that a clock reaches.
        let mono = mono.min(Instant::from_nanos(1 << 62));
        self.now = Now { mono, wall: WallTime::from_nanos(mono.as_nanos()) };
    }

    fn step(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.node.step(self.now, event, &mut effects);
        self.perform(effects);
    }

    fn flush(&mut self) {
        if self.halted {
            return;
        }
        let mut effects = Vec::new();
        self.node.flush(self.now, &mut effects);
        self.perform(effects);
        if !self.halted {
            self.node.check();
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            assert!(!self.halted, "nothing follows Halt: {effect:?}");
            match effect {
                Effect::Disk { op, request } => self.pending.push((op, request)),
                Effect::Halt(_) => self.halted = true,
                Effect::Reply { .. } | Effect::Note(_) => {}
            }
        }
    }

    /// Ends one disk request: any read, or the first write of a file.
    fn complete(&mut self, input: &mut Input<'_>) {
        if self.pending.is_empty() {
            return;
        }
        let chosen = input.below(256) % self.pending.len();
        let file = written(&self.pending[chosen].1);
        let first = |(_, request): &(OpId, DiskRequest)| file.is_some() && written(request) == file;
        let index = self.pending.iter().position(first).unwrap_or(chosen);
        let (op, request) = self.pending.remove(index);
        let result = match input.u8() {
            250 => Err(DiskError::Full),
            251 => Err(DiskError::ReadOnly),
            252 => Err(DiskError::Denied),
            253 => Err(DiskError::NotFound),
            254 => Err(DiskError::Io(5)),
            _ => self.disk(&request),
        };
        if result.is_err() {
            self.failed.extend(written(&request));
        }
        self.step(Event::DiskDone { op, result });
    }

    fn disk(&mut self, request: &DiskRequest) -> DiskResult {
        match request {
            DiskRequest::List => {
                let list = self.files.iter().map(|(file, bytes)| (*file, bytes.len() as u64));
                Ok(DiskReply::Listed(list.collect()))
            }
            DiskRequest::Read { file, offset, len, verify } => {
                let bytes = self.files.get(file).ok_or(DiskError::NotFound)?;
                let start = usize::try_from(*offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(*len as usize).min(bytes.len());
                let bytes = Bytes::copy_from_slice(&bytes[start..end]);
                Ok(match verify {
                    Verify::None => DiskReply::Read(bytes),
                    Verify::Chunk(id) => {
                        VerifiedChunk::check(*id, bytes).map_or(DiskReply::Mismatch, DiskReply::Verified)
                    }
                })
            }
            DiskRequest::Append { file, offset, parts } => {
                let sound = !self.failed.contains(file);
                let bytes = self.files.entry(*file).or_default();
                let fits = bytes.len() as u64 == *offset;
                assert!(fits || !sound, "{file}: an append at {offset}, but the file has {} bytes", bytes.len());
                parts.iter().for_each(|part| bytes.extend_from_slice(part));
                Ok(DiskReply::Done)
            }
            DiskRequest::Sync { file, .. } => {
                assert!(self.files.contains_key(file) || self.failed.contains(file), "{file}: a sync of no file");
                Ok(DiskReply::Done)
            }
            DiskRequest::Publish { stage, to } => {
                let bytes = self.files.remove(&File::Stage(*stage)).ok_or(DiskError::NotFound)?;
                self.files.insert(*to, bytes);
                Ok(DiskReply::Done)
            }
            DiskRequest::Remove { file } => {
                self.files.remove(file);
                Ok(DiskReply::Done)
            }
            DiskRequest::Allocate { file, bytes } => {
                let bytes = usize::try_from(*bytes).expect("it is in memory");
                let file = self.files.entry(*file).or_default();
                file.resize(bytes.max(file.len()), 0);
                Ok(DiskReply::Done)
            }
            DiskRequest::Space => Ok(DiskReply::Space { total: u64::MAX, available: u64::MAX }),
        }
    }

    /// The process dies, perhaps with the end of a file and the writes on their way, and starts again.
    fn restart(&mut self, input: &mut Input<'_>) {
        let count = self.files.len().max(1);
        if let Some(bytes) = self.files.values_mut().nth(input.below(256) % count) {
            bytes.truncate(bytes.len().saturating_sub(input.below(64)));
        }
        self.pending.clear();
        self.failed.clear();
        self.node = node();
    }
}

fn node() -> Node {
    Node::new(Config::new(SMALL).expect("the small configuration is valid"), Seed::new([9; 32]))
}

/// The file that a request changes.
fn written(request: &DiskRequest) -> Option<File> {
    match request {
        DiskRequest::List | DiskRequest::Read { .. } | DiskRequest::Space => None,
        DiskRequest::Append { file, .. }
        | DiskRequest::Sync { file, .. }
        | DiskRequest::Remove { file }
        | DiskRequest::Allocate { file, .. } => Some(*file),
        // Until it has its name, the file is the staged one, and its append comes first.
        DiskRequest::Publish { stage, .. } => Some(File::Stage(*stage)),
    }
}

fn file(input: &mut Input<'_>) -> File {
    let number = input.number();
    match input.below(5) {
        0 => File::Slot(Slot::BootEven),
        1 => File::Slot(Slot::BootOdd),
        2 => File::Journal(number),
        3 => File::Volume(number),
        _ => File::Stage(number),
    }
}

fn name(input: &mut Input<'_>) -> Name {
    let text = input.below(8);
    Name::new(input.short()).unwrap_or_else(|_| Name::new(&[b'a' + text as u8]).expect("a letter is a name"))
}

fn expect(input: &mut Input<'_>) -> Expect {
    match input.below(4) {
        0 => Expect::Absent,
        1 => Expect::Version(input.number()),
        _ => Expect::Any,
    }
}

fn target(input: &mut Input<'_>) -> Target {
    match input.below(3) {
        0 => Target::Content(FileId::from_bytes(*ChunkId::of(input.short()).as_bytes())),
        _ => Target::Name(name(input)),
    }
}

fn opening(input: &mut Input<'_>) -> Request {
    match input.below(10) {
        0 => Request::Delete { name: name(input), expect: expect(input) },
        1 => Request::List {
            prefix: String::from_utf8_lossy(input.short()).into_owned(),
            after: (input.below(2) == 0).then(|| name(input)),
            limit: u32::try_from(input.number()).unwrap_or(u32::MAX),
        },
        2 => Request::Stat(target(input)),
        3 => Request::VerifyOpen(match input.below(2) {
            0 => VerifyScope::All,
            _ => VerifyScope::One(target(input)),
        }),
        4 | 5 => Request::GetOpen {
            target: target(input),
            range: match input.below(5) {
                0 => Some(ByteRange::From { first: input.number() }),
                1 => Some(ByteRange::FromTo { first: input.number(), last: input.number() }),
                2 => Some(ByteRange::Last { bytes: input.number() }),
                _ => None,
            },
        },
        6 => Request::Close,
        _ => Request::PutOpen {
            name: name(input),
            expect: expect(input),
            size: (input.below(2) == 0).then(|| input.number()),
        },
    }
}

fn continuing(input: &mut Input<'_>) -> Request {
    match input.below(8) {
        0..=2 => Request::PutChunk(VerifiedChunk::new(input.repeated(1))),
        3 => {
            let content = input.short();
            let file = FileId::from_bytes(*ChunkId::of(content).as_bytes());
            let size = if input.below(4) == 0 { input.number() } else { content.len() as u64 };
            Request::PutCommit(FileDigest { file, size })
        }
        4 => Request::GetMore { bytes: input.number() },
        5 => Request::VerifyMore { findings: u32::try_from(input.number()).unwrap_or(u32::MAX) },
        6 => Request::Cancel,
        _ => opening(input),
    }
}
