//! What every disk owes the core (`dps_core::disk`), as rules that any implementation can be held to. The simulator's
//! disk and the real one pass the same list, which is what makes a simulation say something about real files.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use dps_core::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Slot, Verify};
use dps_core::id::{ChunkId, VerifiedChunk};

/// A disk, empty at first, that performs one request after the other.
pub trait DiskUnderTest {
    /// Performs `request` to its end.
    fn perform(&mut self, request: DiskRequest) -> DiskResult;

    /// Loses whatever is not durable, as a loss of power may, and comes back. Returns false where that can't be done.
    fn crash(&mut self) -> bool {
        false
    }
}

/// One thing that a disk owes.
struct Rule {
    title: &'static str,
    check: fn(&mut dyn DiskUnderTest),
}

const RULES: &[Rule] = &[
    Rule { title: "a new disk lists nothing", check: new_disk_is_empty },
    Rule { title: "an append at 0 creates the file, at another offset it does not", check: only_zero_creates },
    Rule { title: "an append at 0 refuses a file that exists", check: zero_refuses_existing },
    Rule { title: "an append is refused where the file does not end", check: append_only_at_the_end },
    Rule { title: "parts are written one after the other, empty ones too", check: parts_in_order },
    Rule { title: "a read is short only at the end of the file", check: short_only_at_the_end },
    Rule { title: "a file that does not exist can't be read", check: missing_is_not_found },
    Rule { title: "a read that verifies gives the chunk, proven", check: verified_read },
    Rule { title: "a read that verifies tells other bytes and too few", check: mismatched_read },
    Rule { title: "a listing is in the order of files, with lengths", check: listing },
    Rule { title: "files of different kinds with one number are different", check: kinds_do_not_mix },
    Rule { title: "the largest number is a file like any other", check: largest_number },
    Rule { title: "a sync needs a file", check: sync_needs_a_file },
    Rule { title: "a publish moves the staged file and replaces", check: publish_replaces },
    Rule { title: "a publish without a staged file changes nothing", check: publish_needs_a_stage },
    Rule { title: "a published file goes on like any other", check: published_file_grows },
    Rule { title: "a removal is final and one of nothing succeeds", check: removal },
    Rule { title: "a removed file can be created anew", check: created_anew },
    Rule { title: "what is synced survives a crash", check: synced_survives },
    Rule { title: "what is published survives a crash", check: published_survives },
];

/// Holds a fresh disk from `make` to each rule.
///
/// # Panics
/// When a rule is broken: names every broken rule, after the panics that tell how.
pub fn check_all<D: DiskUnderTest>(mut make: impl FnMut() -> D) {
    let mut broken = Vec::new();
    for rule in RULES {
        let mut disk = make();
        if catch_unwind(AssertUnwindSafe(|| (rule.check)(&mut disk))).is_err() {
            broken.push(rule.title);
        }
    }
    assert!(broken.is_empty(), "broken rules: {broken:#?}");
}

const JOURNAL: File = File::Journal(1);
const VOLUME: File = File::Volume(1);
const SLOT: File = File::Slot(Slot::BootEven);

fn append_parts(disk: &mut dyn DiskUnderTest, file: File, offset: u64, parts: &[&[u8]]) -> DiskResult {
    let parts = parts.iter().map(|part| Bytes::copy_from_slice(part)).collect();
    disk.perform(DiskRequest::Append { file, offset, parts })
}

fn append(disk: &mut dyn DiskUnderTest, file: File, offset: u64, bytes: &[u8]) {
    assert_eq!(append_parts(disk, file, offset, &[bytes]), Ok(DiskReply::Done), "append to {file} at {offset}");
}

fn read(disk: &mut dyn DiskUnderTest, file: File, offset: u64, len: u32) -> DiskResult {
    disk.perform(DiskRequest::Read { file, offset, len, verify: Verify::None })
}

fn read_chunk(disk: &mut dyn DiskUnderTest, file: File, offset: u64, len: u32, id: ChunkId) -> DiskResult {
    disk.perform(DiskRequest::Read { file, offset, len, verify: Verify::Chunk(id) })
}

fn assert_content(disk: &mut dyn DiskUnderTest, file: File, expected: &[u8]) {
    let expected = Bytes::copy_from_slice(expected);
    assert_eq!(read(disk, file, 0, 1 << 16), Ok(DiskReply::Read(expected)), "content of {file}");
}

fn assert_listed(disk: &mut dyn DiskUnderTest, expected: &[(File, u64)]) {
    assert_eq!(disk.perform(DiskRequest::List), Ok(DiskReply::Listed(expected.to_vec())));
}

fn done(disk: &mut dyn DiskUnderTest, request: DiskRequest) {
    assert_eq!(disk.perform(request.clone()), Ok(DiskReply::Done), "{request:?}");
}

fn new_disk_is_empty(disk: &mut dyn DiskUnderTest) {
    assert_listed(disk, &[]);
}

fn only_zero_creates(disk: &mut dyn DiskUnderTest) {
    for file in [JOURNAL, VOLUME, File::Stage(1)] {
        assert_eq!(append_parts(disk, file, 5, &[b"abc"]), Err(DiskError::NotFound));
    }
    assert_listed(disk, &[]);
    append(disk, JOURNAL, 0, b"abc");
    assert_listed(disk, &[(JOURNAL, 3)]);
}

fn zero_refuses_existing(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"abc");
    assert_eq!(append_parts(disk, VOLUME, 0, &[b"xyz"]), Err(DiskError::Exists));
    append(disk, JOURNAL, 0, b"");
    assert_eq!(append_parts(disk, JOURNAL, 0, &[b"xyz"]), Err(DiskError::Exists), "an empty file exists too");
    assert_content(disk, VOLUME, b"abc");
    assert_content(disk, JOURNAL, b"");
}

fn append_only_at_the_end(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"abcd");
    for offset in [1, 3, 5, 4_096, u64::MAX] {
        assert!(append_parts(disk, VOLUME, offset, &[b"x"]).is_err(), "offset {offset}");
    }
    assert_content(disk, VOLUME, b"abcd");
    append(disk, VOLUME, 4, b"ef");
    assert!(append_parts(disk, VOLUME, 4, &[b"x"]).is_err(), "the end has moved");
    assert_content(disk, VOLUME, b"abcdef");
}

fn parts_in_order(disk: &mut dyn DiskUnderTest) {
    let done = Ok(DiskReply::Done);
    assert_eq!(append_parts(disk, VOLUME, 0, &[b"a", b"", b"bc", b""]), done);
    assert_eq!(append_parts(disk, VOLUME, 3, &[]), done);
    assert_eq!(append_parts(disk, VOLUME, 3, &[b""]), done);
    assert_eq!(append_parts(disk, VOLUME, 3, &[b"", b"d"]), done);
    assert_content(disk, VOLUME, b"abcd");
    assert_eq!(append_parts(disk, JOURNAL, 0, &[]), done, "a file may begin empty");
    assert_listed(disk, &[(JOURNAL, 0), (VOLUME, 4)]);
    let many: Vec<&[u8]> = vec![b"xy"; 3_000];
    assert_eq!(append_parts(disk, VOLUME, 4, &many), done);
    assert_content(disk, VOLUME, &[b"abcd".as_slice(), &b"xy".repeat(3_000)].concat());
}

fn short_only_at_the_end(disk: &mut dyn DiskUnderTest) {
    let content: Vec<u8> = (0..2_000_u16).map(|i| (i % 251) as u8).collect();
    append(disk, VOLUME, 0, &content[..700]);
    append(disk, VOLUME, 700, &content[700..]);
    for (offset, len) in [(0, 2_000), (0, 2_001), (699, 2), (511, 513), (1_999, 1), (1_999, 2), (2_000, 1), (0, 0)] {
        let end = (offset + len).min(content.len());
        let expected = Bytes::copy_from_slice(&content[offset..end]);
        let got = read(disk, VOLUME, offset as u64, u32::try_from(len).expect("lengths above are small"));
        assert_eq!(got, Ok(DiskReply::Read(expected)), "{len} bytes from {offset}");
    }
    assert_eq!(read(disk, VOLUME, 1 << 40, 10), Ok(DiskReply::Read(Bytes::new())), "far past the end");
}

fn missing_is_not_found(disk: &mut dyn DiskUnderTest) {
    for file in [SLOT, JOURNAL, VOLUME, File::Stage(1)] {
        assert_eq!(read(disk, file, 0, 10), Err(DiskError::NotFound), "{file}");
        assert_eq!(read_chunk(disk, file, 0, 10, ChunkId::of(b"")), Err(DiskError::NotFound), "{file}");
    }
    assert_listed(disk, &[]);
}

fn verified_read(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"headbodytail");
    for (offset, body) in [(4, b"body".as_slice()), (0, b"headbodytail"), (8, b"tail"), (5, b"")] {
        let chunk = VerifiedChunk::new(Bytes::copy_from_slice(body));
        let len = u32::try_from(body.len()).expect("bodies above are short");
        let got = read_chunk(disk, VOLUME, offset, len, chunk.id());
        assert_eq!(got, Ok(DiskReply::Verified(chunk)));
    }
}

fn mismatched_read(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"headbodytail");
    let id = ChunkId::of(b"tail");
    for (offset, len) in [(7, 4), (8, 3), (9, 4), (12, 4), (100, 4), (8, 5)] {
        let got = read_chunk(disk, VOLUME, offset, len, id);
        assert_eq!(got, Ok(DiskReply::Mismatch), "{len} bytes from {offset}");
    }
    let empty = ChunkId::of(b"");
    assert_eq!(read_chunk(disk, VOLUME, 12, 1, empty), Ok(DiskReply::Mismatch), "too few, though they hash right");
}

fn listing(disk: &mut dyn DiskUnderTest) {
    for (file, bytes) in [
        (File::Volume(10), b"1".as_slice()),
        (File::Stage(3), b"22"),
        (File::Journal(2), b"333"),
        (File::Volume(9), b"4444"),
        (File::Journal(1_000_000), b"55555"),
    ] {
        append(disk, file, 0, bytes);
    }
    append(disk, File::Stage(1), 0, b"slot");
    done(disk, DiskRequest::Publish { stage: 1, to: File::Slot(Slot::BootOdd) });
    append(disk, File::Volume(9), 4, b"4");
    let expected = [
        (File::Slot(Slot::BootOdd), 4),
        (File::Journal(2), 3),
        (File::Journal(1_000_000), 5),
        (File::Volume(9), 5),
        (File::Volume(10), 1),
        (File::Stage(3), 2),
    ];
    assert_listed(disk, &expected);
}

fn kinds_do_not_mix(disk: &mut dyn DiskUnderTest) {
    let files = [File::Journal(7), File::Volume(7), File::Stage(7)];
    for (file, bytes) in files.into_iter().zip([b"a".as_slice(), b"bb", b"ccc"]) {
        append(disk, file, 0, bytes);
    }
    done(disk, DiskRequest::Remove { file: File::Stage(7) });
    assert_content(disk, File::Journal(7), b"a");
    assert_content(disk, File::Volume(7), b"bb");
}

fn largest_number(disk: &mut dyn DiskUnderTest) {
    let file = File::Volume(u64::MAX);
    append(disk, file, 0, b"last");
    assert_content(disk, file, b"last");
    assert_listed(disk, &[(file, 4)]);
}

fn sync_needs_a_file(disk: &mut dyn DiskUnderTest) {
    for directory in [false, true] {
        let sync = DiskRequest::Sync { file: JOURNAL, directory };
        assert_eq!(disk.perform(sync), Err(DiskError::NotFound));
    }
    assert_listed(disk, &[]);
    append(disk, JOURNAL, 0, b"abc");
    for directory in [true, false, false] {
        done(disk, DiskRequest::Sync { file: JOURNAL, directory });
    }
    append(disk, JOURNAL, 3, b"d");
    assert_content(disk, JOURNAL, b"abcd");
}

fn publish_replaces(disk: &mut dyn DiskUnderTest) {
    for (stage, content) in [(1, b"first".as_slice()), (2, b"2nd"), (1, b"third, with a number used before")] {
        append(disk, File::Stage(stage), 0, content);
        done(disk, DiskRequest::Publish { stage, to: SLOT });
        assert_content(disk, SLOT, content);
        assert_eq!(read(disk, File::Stage(stage), 0, 1), Err(DiskError::NotFound));
        assert_listed(disk, &[(SLOT, content.len() as u64)]);
    }
}

fn publish_needs_a_stage(disk: &mut dyn DiskUnderTest) {
    append(disk, File::Stage(1), 0, b"old");
    done(disk, DiskRequest::Publish { stage: 1, to: SLOT });
    assert_eq!(disk.perform(DiskRequest::Publish { stage: 1, to: SLOT }), Err(DiskError::NotFound));
    assert_content(disk, SLOT, b"old");
}

fn published_file_grows(disk: &mut dyn DiskUnderTest) {
    append(disk, File::Stage(4), 0, b"copied");
    append(disk, File::Stage(4), 6, b" records");
    done(disk, DiskRequest::Publish { stage: 4, to: JOURNAL });
    assert_content(disk, JOURNAL, b"copied records");
    assert_eq!(append_parts(disk, JOURNAL, 0, &[b"x"]), Err(DiskError::Exists));
    append(disk, JOURNAL, 14, b", then new ones");
    done(disk, DiskRequest::Sync { file: JOURNAL, directory: false });
    assert_content(disk, JOURNAL, b"copied records, then new ones");
}

fn removal(disk: &mut dyn DiskUnderTest) {
    for file in [SLOT, JOURNAL, VOLUME, File::Stage(1)] {
        done(disk, DiskRequest::Remove { file });
    }
    append(disk, VOLUME, 0, b"abc");
    append(disk, JOURNAL, 0, b"stays");
    done(disk, DiskRequest::Remove { file: VOLUME });
    assert_eq!(read(disk, VOLUME, 0, 3), Err(DiskError::NotFound));
    assert_eq!(append_parts(disk, VOLUME, 3, &[b"d"]), Err(DiskError::NotFound));
    assert_eq!(disk.perform(DiskRequest::Sync { file: VOLUME, directory: false }), Err(DiskError::NotFound));
    done(disk, DiskRequest::Remove { file: VOLUME });
    assert_listed(disk, &[(JOURNAL, 5)]);
}

fn created_anew(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"the old content");
    assert_content(disk, VOLUME, b"the old content");
    done(disk, DiskRequest::Remove { file: VOLUME });
    append(disk, VOLUME, 0, b"new");
    assert_content(disk, VOLUME, b"new");
    append(disk, VOLUME, 3, b"er");
    assert_content(disk, VOLUME, b"newer");
}

fn synced_survives(disk: &mut dyn DiskUnderTest) {
    let content: Vec<u8> = (0..5_000_u16).map(|i| (i % 241) as u8).collect();
    append(disk, VOLUME, 0, &content[..100]);
    done(disk, DiskRequest::Sync { file: VOLUME, directory: true });
    append(disk, VOLUME, 100, &content[100..3_000]);
    append(disk, VOLUME, 3_000, &content[3_000..]);
    done(disk, DiskRequest::Sync { file: VOLUME, directory: false });
    if disk.crash() {
        assert_content(disk, VOLUME, &content);
    }
    append(disk, VOLUME, 5_000, b"unsynced");
    if disk.crash() {
        let Ok(DiskReply::Read(bytes)) = read(disk, VOLUME, 0, 5_000) else { panic!("the volume is durable") };
        assert_eq!(bytes, content, "a later write can't take back what was synced");
    }
}

fn published_survives(disk: &mut dyn DiskUnderTest) {
    for content in [b"first".as_slice(), b"second"] {
        append(disk, File::Stage(1), 0, content);
        done(disk, DiskRequest::Publish { stage: 1, to: SLOT });
        if disk.crash() {
            assert_content(disk, SLOT, content);
            assert_listed(disk, &[(SLOT, content.len() as u64)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that does what the inner one does but for one mistake.
    struct Mistaken<D>(D, fn(&mut D, DiskRequest) -> DiskResult);

    impl<D: DiskUnderTest> DiskUnderTest for Mistaken<D> {
        fn perform(&mut self, request: DiskRequest) -> DiskResult {
            self.1(&mut self.0, request)
        }
    }

    /// A disk in a real directory that goes away with it.
    struct Temporary(tempfile::TempDir, dps::disk::Worker);

    impl Temporary {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let directory = dps::disk::Directory::open(temp.path(), dps::disk::Create::Directory).unwrap();
            Self(temp, dps::disk::Worker::new(directory))
        }
    }

    impl DiskUnderTest for Temporary {
        fn perform(&mut self, request: DiskRequest) -> DiskResult {
            assert!(self.0.path().is_dir());
            self.1.perform(&request)
        }
    }

    type Mistake = fn(&mut Temporary, DiskRequest) -> DiskResult;

    /// Each mistake is one that a careless disk makes; the suite must notice every one of them.
    #[test]
    fn the_suite_notices_mistakes() {
        let mistakes: [(&str, Mistake); 5] = [
            ("an append that finds the end by itself", |disk, request| match request {
                DiskRequest::Append { file, offset, parts } if offset > 0 => {
                    let Ok(DiskReply::Listed(files)) = disk.perform(DiskRequest::List) else { panic!() };
                    let end = files.iter().find(|(found, _)| *found == file).map_or(offset, |(_, len)| *len);
                    disk.perform(DiskRequest::Append { file, offset: end, parts })
                }
                request => disk.perform(request),
            }),
            ("a read without verification", |disk, request| match request {
                DiskRequest::Read { file, offset, len, verify: Verify::Chunk(_) } => {
                    match disk.perform(DiskRequest::Read { file, offset, len, verify: Verify::None })? {
                        DiskReply::Read(bytes) => Ok(DiskReply::Verified(VerifiedChunk::new(bytes))),
                        other => Ok(other),
                    }
                }
                request => disk.perform(request),
            }),
            ("a removal that minds", |disk, request| match request {
                DiskRequest::Remove { file } => {
                    disk.perform(DiskRequest::Read { file, offset: 0, len: 0, verify: Verify::None })?;
                    disk.perform(DiskRequest::Remove { file })
                }
                request => disk.perform(request),
            }),
            ("a sync that does not mind", |disk, request| match request {
                DiskRequest::Sync { .. } => disk.perform(request).or(Ok(DiskReply::Done)),
                request => disk.perform(request),
            }),
            ("a listing in another order", |disk, request| match disk.perform(request)? {
                DiskReply::Listed(mut files) => {
                    files.reverse();
                    Ok(DiskReply::Listed(files))
                }
                other => Ok(other),
            }),
        ];
        for (title, mistake) in mistakes {
            let checked = catch_unwind(|| check_all(|| Mistaken(Temporary::new(), mistake)));
            assert!(checked.is_err(), "{title} went unnoticed");
        }
    }
}
