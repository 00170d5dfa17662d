//! A whole node on a disk in memory that does at once what it is asked.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::config::RawConfig;
use crate::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Verify};
use crate::id::{FileId, RequestId, VerifiedChunk};
use crate::keystore::ingest::Ingest;
use crate::ledger::file::{Expect, Target};
use crate::ledger::name::Name;
use crate::limits::STEP_ITEMS_MAX;
use crate::time::WallTime;

mod full;
mod stray;

type Disk = BTreeMap<File, Vec<u8>>;

/// Bytes of all files.
fn used(disk: &Disk) -> u64 {
    disk.values().map(|bytes| bytes.len() as u64).sum()
}

/// Does what is asked, on a disk that holds `capacity` bytes.
fn perform(disk: &mut Disk, capacity: u64, request: DiskRequest) -> DiskResult {
    let available = capacity.saturating_sub(used(disk));
    match request {
        DiskRequest::List => {
            Ok(DiskReply::Listed(disk.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect()))
        }
        DiskRequest::Read { file, offset, len, verify } => {
            let bytes = disk.get(&file).ok_or(DiskError::NotFound)?;
            let start = bytes.len().min(usize::try_from(offset).unwrap());
            let end = bytes.len().min(start + len as usize);
            let read = Bytes::copy_from_slice(&bytes[start..end]);
            Ok(match verify {
                Verify::None => DiskReply::Read(read),
                Verify::Chunk(id) => VerifiedChunk::check(id, read).map_or(DiskReply::Mismatch, DiskReply::Verified),
            })
        }
        DiskRequest::Append { file, offset, parts } => {
            if offset == 0 && disk.contains_key(&file) {
                return Err(DiskError::Exists);
            }
            let bytes = disk.entry(file).or_default();
            assert_eq!(bytes.len() as u64, offset, "appends are at the end");
            let parts = parts.concat();
            let fits = parts.len().min(usize::try_from(available).unwrap());
            bytes.extend_from_slice(&parts[..fits]);
            if fits < parts.len() { Err(DiskError::Full) } else { Ok(DiskReply::Done) }
        }
        DiskRequest::Sync { .. } => Ok(DiskReply::Done),
        DiskRequest::Publish { stage, to } => {
            let bytes = disk.remove(&File::Stage(stage)).ok_or(DiskError::NotFound)?;
            disk.insert(to, bytes);
            Ok(DiskReply::Done)
        }
        DiskRequest::Remove { file } => {
            disk.remove(&file);
            Ok(DiskReply::Done)
        }
        DiskRequest::Allocate { file, bytes } => {
            let have = disk.get(&file).map_or(0, |bytes| bytes.len() as u64);
            if bytes.saturating_sub(have) > available {
                disk.remove(&file);
                return Err(DiskError::Full);
            }
            disk.entry(file).or_default().resize(usize::try_from(bytes.max(have)).unwrap(), 0);
            Ok(DiskReply::Done)
        }
        DiskRequest::Space => Ok(DiskReply::Space { total: capacity, available }),
    }
}

struct Host {
    node: Node,
    disk: Disk,
    /// Bytes that all files together may have.
    capacity: u64,
    nanos: u64,
    next_request: u64,
    notes: Vec<crate::note::Note>,
}

impl Host {
    fn start(disk: Disk, raw: RawConfig) -> Self {
        Self::start_on(u64::MAX, disk, raw)
    }

    fn start_on(capacity: u64, disk: Disk, raw: RawConfig) -> Self {
        let node = Node::new(Config::new(raw).unwrap(), Seed::new([5; 32]));
        let mut host = Self { node, disk, capacity, nanos: 0, next_request: 1, notes: Vec::new() };
        assert!(host.turn(vec![Event::Wake]).is_empty());
        assert_eq!(host.node.inspect().phase, Phase::Serving);
        host
    }

    /// One turn, and all turns that its disk requests cause. Returns the replies.
    fn turn(&mut self, mut events: Vec<Event>) -> Vec<(RequestId, Result<Reply, RequestError>, bool)> {
        let mut replies = Vec::new();
        while !events.is_empty() {
            self.nanos += 1_000;
            let now = Now { mono: Instant::from_nanos(self.nanos), wall: WallTime::from_nanos(self.nanos) };
            let mut effects = Vec::new();
            for event in core::mem::take(&mut events) {
                self.node.step(now, event, &mut effects);
            }
            self.node.flush(now, &mut effects);
            let count = effects.len();
            self.node.flush(now, &mut effects);
            assert_eq!(effects.len(), count, "a second flush emits nothing");
            self.node.check();
            for effect in effects {
                match effect {
                    Effect::Disk { op, request } => {
                        events.push(Event::DiskDone { op, result: perform(&mut self.disk, self.capacity, request) });
                    }
                    Effect::Reply { id, reply, last } => replies.push((id, reply, last)),
                    Effect::Note(note) => self.notes.push(note),
                    Effect::Halt(reason) => panic!("halted: {reason}"),
                }
            }
            // Whoever was cut short goes on at once.
            if events.is_empty() && self.node.deadline().is_some_and(|at| at <= now.mono) {
                events.push(Event::Wake);
            }
        }
        replies
    }

    fn ask(&mut self, id: RequestId, request: Request) -> Vec<Result<Reply, RequestError>> {
        let replies = self.turn(vec![Event::Requested { id, request }]);
        replies.into_iter().map(|(_, reply, _)| reply).collect()
    }

    fn open(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    fn once(&mut self, request: Request) -> Result<Reply, RequestError> {
        let id = self.open();
        let mut replies = self.ask(id, request);
        assert_eq!(replies.len(), 1, "one answer: {replies:?}");
        replies.remove(0)
    }

    fn put(&mut self, name: &str, content: &[u8]) -> Result<StoredFile, RequestError> {
        let id = self.open();
        let config = self.node.config;
        let mut ingest = Ingest::new(config.geometry(), Some(content.len() as u64));
        let mut blocks = Vec::new();
        ingest.push(Bytes::copy_from_slice(content), &mut blocks).unwrap();
        let digest = ingest.finish(&mut blocks).unwrap();
        let name = Name::new(name.as_bytes()).unwrap();
        let size = Some(content.len() as u64);
        let mut credit = 0;
        let mut answer = |replies: Vec<Result<Reply, RequestError>>| {
            for reply in replies {
                match reply {
                    Ok(Reply::Credit { bytes }) => credit += bytes,
                    Ok(Reply::Stored(stored)) => return Some(Ok(*stored)),
                    Ok(other) => panic!("unexpected {other:?}"),
                    Err(error) => return Some(Err(error)),
                }
            }
            None
        };
        if let Some(result) = answer(self.ask(id, Request::PutOpen { name, expect: Expect::Any, size })) {
            return result;
        }
        for block in blocks {
            if let Some(result) = answer(self.ask(id, Request::PutChunk(VerifiedChunk::new(block)))) {
                return result;
            }
        }
        answer(self.ask(id, Request::PutCommit(digest))).expect("a commit is answered")
    }

    fn get(&mut self, target: Target, range: Option<ByteRange>) -> Result<Vec<u8>, RequestError> {
        let id = self.open();
        let mut replies = self.ask(id, Request::GetOpen { target, range });
        if replies.len() == 1 && matches!(replies[0], Ok(Reply::Opened { .. })) {
            replies.extend(self.ask(id, Request::GetMore { bytes: u64::MAX / 2 }));
        }
        let mut content = Vec::new();
        for reply in replies {
            match reply? {
                Reply::Opened { .. } => {}
                Reply::Data(bytes) => content.extend_from_slice(&bytes),
                Reply::Complete => return Ok(content),
                other => panic!("unexpected {other:?}"),
            }
        }
        panic!("the get never ended")
    }

    fn close(mut self) -> Disk {
        assert_eq!(self.once(Request::Close), Ok(Reply::Closed));
        self.disk
    }
}

fn name(text: &str) -> Target {
    Target::Name(Name::new(text.as_bytes()).unwrap())
}

/// Tiny blocks and files, so that a few kilobytes cross every threshold.
const TINY: RawConfig = RawConfig {
    block_bytes_min: 32,
    block_bytes_max: 128,
    blocks_target: 10,
    large_file_blocks: 8,
    inline_bytes_max: 8,
    manifest_entries_max: 4,
    manifest_fanout: 4,
    volume_bytes: 2_048,
    segment_bytes: 1_024,
    ingest_bytes_max: 1_024,
    ..RawConfig::STANDARD
};

fn content(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at * 31 % 251).unwrap() ^ salt).collect()
}

#[test]
fn files_of_every_size_survive_a_clean_restart_and_a_crash() {
    let sizes = [0, 1, 8, 9, 31, 32, 33, 127, 128, 129, 500, 1_024, 1_025, 3_000, 20_000];
    let mut host = Host::start(Disk::new(), TINY);
    for (salt, size) in sizes.into_iter().enumerate() {
        let stored = host.put(&alloc::format!("file {size}"), &content(size, u8::try_from(salt).unwrap())).unwrap();
        assert_eq!(stored.stat.size, size as u64);
    }
    for crash in [false, true] {
        let disk = if crash { host.disk } else { host.close() };
        host = Host::start(disk, TINY);
        for (salt, size) in sizes.into_iter().enumerate() {
            let expected = content(size, u8::try_from(salt).unwrap());
            assert_eq!(host.get(name(&alloc::format!("file {size}")), None), Ok(expected), "size {size}");
        }
        assert!(!host.notes.iter().any(|note| matches!(note, crate::note::Note::Damaged(_))));
    }
}

#[test]
fn ranges_deletes_and_contents_by_hash_are_served() {
    let mut host = Host::start(Disk::new(), TINY);
    let bytes = content(1_000, 7);
    let stored = host.put("a", &bytes).unwrap();
    let again = host.put("b", &bytes).unwrap();
    assert_eq!((stored.new_bytes, again.new_bytes, again.stat.names), (1_000, 0, 2));
    let range = Some(ByteRange::FromTo { first: 130, last: 389 });
    assert_eq!(host.get(name("a"), range), Ok(bytes[130..390].to_vec()));
    let file: FileId = stored.stat.file;
    let delete = |text: &str| Request::Delete { name: Name::new(text.as_bytes()).unwrap(), expect: Expect::Any };
    assert_eq!(host.once(delete("a")), Ok(Reply::Deleted));
    assert_eq!(host.once(delete("a")), Err(RequestError::NotFound));
    assert_eq!(host.get(name("a"), None), Err(RequestError::NotFound));
    assert_eq!(host.get(Target::Content(file), Some(ByteRange::Last { bytes: 3 })), Ok(bytes[997..].to_vec()));
    let Ok(Reply::Page { entries, more: false }) =
        host.once(Request::List { prefix: String::new(), after: None, limit: 10 })
    else {
        panic!("a page")
    };
    assert_eq!(entries.len(), 1);
}

#[test]
fn a_verification_of_more_names_than_one_step_takes_comes_to_its_end() {
    let mut host = Host::start(Disk::new(), TINY);
    for number in 0..STEP_ITEMS_MAX + 10 {
        host.put(&alloc::format!("{number}"), b"inline").unwrap();
    }
    let id = host.open();
    let mut replies = host.ask(id, Request::VerifyOpen(VerifyScope::All));
    replies.extend(host.ask(id, Request::VerifyMore { findings: 10 }));
    let Some(Ok(Reply::Verified(summary))) = replies.last() else { panic!("{replies:?}") };
    assert_eq!((summary.names, summary.findings), (STEP_ITEMS_MAX as u64 + 10, 0));
}

fn named(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

impl Host {
    fn gc(&mut self) -> GcSummary {
        match self.once(Request::Gc) {
            Ok(Reply::Collected(summary)) => summary,
            other => panic!("{other:?}"),
        }
    }

    fn usage(&mut self) -> Usage {
        match self.once(Request::Usage) {
            Ok(Reply::Usage(usage)) => *usage,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_deleted_can_come_back_until_it_is_purged_and_then_its_space_does() {
    let mut host = Host::start(Disk::new(), TINY);
    let (kept, gone) = (content(5_000, 1), content(7_000, 2));
    host.put("kept", &kept).unwrap();
    host.put("gone", &gone).unwrap();
    let full = host.usage();
    assert_eq!(host.once(Request::Delete { name: named("gone"), expect: Expect::Any }), Ok(Reply::Deleted));
    assert_eq!(host.gc().collected.chunks, 0, "a tombstone keeps its content");
    let undelete = Request::Undelete { name: named("gone"), version: 0, expect: Expect::Absent };
    assert!(matches!(host.once(undelete.clone()), Ok(Reply::Restored(_))));
    assert_eq!(host.get(name("gone"), None), Ok(gone.clone()));
    assert!(matches!(host.once(undelete.clone()), Err(RequestError::Conflict { .. })), "the name means something");

    assert_eq!(host.once(Request::Purge { name: named("gone"), expect: Expect::Any }), Ok(Reply::Deleted));
    let summary = host.gc();
    assert!(summary.collected.chunks >= 7_000 / 128 && summary.compacted.volumes > 0, "{summary:?}");
    let usage = host.usage();
    assert!(usage.volumes.file_bytes < full.volumes.file_bytes / 2, "{usage:?} of {full:?}");
    assert_eq!(usage.volumes.file_bytes, host.disk.iter().filter_map(volume_bytes).sum::<u64>(), "what is on the disk");
    assert_eq!(host.once(undelete), Err(RequestError::NotFound));
    for crash in [false, true] {
        let disk = if crash { host.disk } else { host.close() };
        host = Host::start(disk, TINY);
        assert_eq!(host.get(name("kept"), None), Ok(kept.clone()));
        assert_eq!(host.usage().volumes.chunks, usage.volumes.chunks, "what was dropped stays away");
        assert!(!host.notes.iter().any(|note| matches!(note, crate::note::Note::Damaged(_))));
    }
    // What is stored again is there again.
    host.put("gone", &gone).unwrap();
    assert_eq!(host.get(name("gone"), None), Ok(gone));
}

fn volume_bytes((file, bytes): (&File, &Vec<u8>)) -> Option<u64> {
    matches!(file, File::Volume(_)).then_some(bytes.len() as u64)
}

#[test]
fn a_put_that_a_collection_overtakes_is_stored_with_all_its_chunks() {
    let mut host = Host::start(Disk::new(), TINY);
    let bytes = content(3_000, 3);
    let id = host.open();
    let mut ingest = Ingest::new(host.node.config.geometry(), Some(3_000));
    let mut blocks = Vec::new();
    ingest.push(Bytes::from(bytes.clone()), &mut blocks).unwrap();
    let digest = ingest.finish(&mut blocks).unwrap();
    let mut replies = host.ask(id, Request::PutOpen { name: named("slow"), expect: Expect::Any, size: Some(3_000) });
    for block in blocks {
        replies.extend(host.ask(id, Request::PutChunk(VerifiedChunk::new(block))));
    }
    // A collection begins while the put is open, and waits for it.
    let gc = host.open();
    assert_eq!(host.ask(gc, Request::Gc), []);
    let second = host.open();
    assert_eq!(host.ask(second, Request::Gc), [Err(RequestError::GcRunning)]);
    let replies = host.turn(vec![Event::Requested { id, request: Request::PutCommit(digest) }]);
    let ended: Vec<RequestId> = replies.iter().filter(|(.., last)| *last).map(|(id, ..)| *id).collect();
    assert_eq!(ended, [id, gc], "first the put, then the collection: {replies:?}");
    assert!(matches!(replies[0].1, Ok(Reply::Stored(_))), "{replies:?}");
    assert!(matches!(replies[1].1, Ok(Reply::Collected(_))), "{replies:?}");
    assert_eq!(host.get(name("slow"), None), Ok(bytes));
}

#[test]
fn a_get_that_is_open_when_its_file_goes_comes_to_its_end() {
    let mut host = Host::start(Disk::new(), TINY);
    let bytes = content(3_000, 4);
    host.put("a", &bytes).unwrap();
    let id = host.open();
    assert!(matches!(
        host.ask(id, Request::GetOpen { target: name("a"), range: None })[..],
        [Ok(Reply::Opened { .. })]
    ));
    assert_eq!(host.once(Request::Purge { name: named("a"), expect: Expect::Any }), Ok(Reply::Deleted));
    host.gc();
    let replies = host.ask(id, Request::GetMore { bytes: 10_000 });
    let read: Vec<u8> = replies
        .iter()
        .flat_map(|reply| if let Ok(Reply::Data(bytes)) = reply { bytes.to_vec() } else { Vec::new() })
        .collect();
    assert_eq!(read, bytes, "{replies:?}");
    assert!(host.gc().collected.chunks > 20, "afterwards it goes");
}

#[test]
fn a_clean_gives_contents_up_and_a_put_heals_them() {
    let mut host = Host::start(Disk::new(), TINY);
    let bytes = content(2_000, 5);
    host.put("a", &bytes).unwrap();
    assert_eq!(host.once(Request::Clean { deep: false }), Ok(Reply::Cleaned));
    assert_eq!(host.get(name("a"), None), Err(RequestError::Missing));
    assert!(host.gc().collected.chunks > 10);
    let Ok(Reply::Stat(stat)) = host.once(Request::Stat(name("a"))) else { panic!("the name stays") };
    assert!(stat.missing);
    host.put("b", &bytes).unwrap();
    assert_eq!(host.get(name("a"), None), Ok(bytes));
    assert_eq!(host.once(Request::Clean { deep: true }), Ok(Reply::Cleaned));
    assert_eq!(host.get(name("a"), None), Err(RequestError::NotFound));
    host.gc();
    let usage = host.usage();
    assert_eq!((usage.names, usage.tombstones, usage.volumes.chunks), (0, 0, 0));
}
