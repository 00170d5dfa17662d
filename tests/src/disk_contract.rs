//! What every disk owes the core (`dps_core::disk`), as rules that any implementation can be held to. The simulator's
//! disk and the real one pass the same list, which is what makes a simulation say something about real files.
//!
//! Each kind of request has a module with its rules; what holds between requests is in `order`, what is left after a loss
//! of power in `crash`.

mod append;
mod crash;
mod list;
mod order;
mod publish;
mod read;
mod remove;
mod space;
mod sync;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use dps_core::disk::{DiskReply, DiskRequest, DiskResult, File, Slot, Verify};
use dps_core::id::ChunkId;

/// A disk, empty at first.
pub trait DiskUnderTest {
    /// Performs `request` to its end.
    fn perform(&mut self, request: DiskRequest) -> DiskResult;

    /// Issues `requests` in their order, none waiting for another's end, and returns how each ended, in the same order.
    fn perform_together(&mut self, requests: Vec<DiskRequest>) -> Vec<DiskResult>;

    /// Issues `requests` as above, loses power before any has ended, and comes back with what is left. Does nothing where
    /// that can't be done.
    fn crash_amid(&mut self, _requests: Vec<DiskRequest>) {}
}

/// One thing that a disk owes.
struct Rule {
    title: &'static str,
    check: fn(&mut dyn DiskUnderTest),
}

/// The rules of requests like this one. A new kind of request does not compile before it has some.
const fn rules_of(request: &DiskRequest) -> &'static [Rule] {
    match request {
        DiskRequest::List => list::RULES,
        DiskRequest::Read { .. } => read::RULES,
        DiskRequest::Append { .. } => append::RULES,
        DiskRequest::Sync { .. } => sync::RULES,
        DiskRequest::Publish { .. } => publish::RULES,
        DiskRequest::Remove { .. } => remove::RULES,
        DiskRequest::Allocate { .. } => space::ALLOCATE_RULES,
        DiskRequest::Space => space::SPACE_RULES,
    }
}

/// Every rule there is.
fn rules() -> impl Iterator<Item = &'static Rule> {
    let one_of_each = [
        DiskRequest::List,
        read_request(JOURNAL, 0, 0),
        append_request(JOURNAL, 0, b""),
        DiskRequest::Sync { file: JOURNAL, directory: false },
        DiskRequest::Publish { stage: 1, to: SLOT },
        DiskRequest::Remove { file: JOURNAL },
        DiskRequest::Allocate { file: File::Reserve, bytes: 0 },
        DiskRequest::Space,
    ];
    let between = [order::RULES, crash::RULES];
    one_of_each.map(|request| rules_of(&request)).into_iter().chain(between).flatten()
}

/// What the rules say, each once.
#[must_use]
pub fn titles() -> Vec<&'static str> {
    rules().map(|rule| rule.title).collect()
}

/// Holds a fresh disk from `make` to each rule and returns the titles of those that it breaks, after the panics that tell
/// how.
pub fn broken_rules<D: DiskUnderTest>(mut make: impl FnMut() -> D) -> Vec<&'static str> {
    let mut keeps = |rule: &&Rule| {
        let mut disk = make();
        catch_unwind(AssertUnwindSafe(|| (rule.check)(&mut disk))).is_ok()
    };
    rules().filter(|rule| !keeps(rule)).map(|rule| rule.title).collect()
}

/// Holds a fresh disk from `make` to each rule.
///
/// # Panics
/// When a rule is broken: names every broken rule, after the panics that tell how.
pub fn check_all<D: DiskUnderTest>(make: impl FnMut() -> D) {
    let broken = broken_rules(make);
    assert!(broken.is_empty(), "broken rules: {broken:#?}");
}

const JOURNAL: File = File::Journal(1);
const VOLUME: File = File::Volume(1);
const STAGE: File = File::Stage(1);
const SLOT: File = File::Slot(Slot::BootEven);

/// More than any file of these rules has.
const ALL: u32 = 1 << 16;

const DONE: DiskResult = Ok(DiskReply::Done);

fn read_request(file: File, offset: u64, len: u32) -> DiskRequest {
    DiskRequest::Read { file, offset, len, verify: Verify::None }
}

fn append_request(file: File, offset: u64, bytes: &[u8]) -> DiskRequest {
    DiskRequest::Append { file, offset, parts: vec![Bytes::copy_from_slice(bytes)] }
}

fn read(disk: &mut dyn DiskUnderTest, file: File, offset: u64, len: u32) -> DiskResult {
    disk.perform(read_request(file, offset, len))
}

fn read_chunk(disk: &mut dyn DiskUnderTest, file: File, offset: u64, len: u32, id: ChunkId) -> DiskResult {
    disk.perform(DiskRequest::Read { file, offset, len, verify: Verify::Chunk(id) })
}

fn read_back(bytes: &[u8]) -> DiskResult {
    Ok(DiskReply::Read(Bytes::copy_from_slice(bytes)))
}

fn append_parts(disk: &mut dyn DiskUnderTest, file: File, offset: u64, parts: &[&[u8]]) -> DiskResult {
    let parts = parts.iter().map(|part| Bytes::copy_from_slice(part)).collect();
    disk.perform(DiskRequest::Append { file, offset, parts })
}

fn append(disk: &mut dyn DiskUnderTest, file: File, offset: u64, bytes: &[u8]) {
    done(disk, append_request(file, offset, bytes));
}

fn sync_all(disk: &mut dyn DiskUnderTest, file: File) {
    done(disk, DiskRequest::Sync { file, directory: true });
}

fn done(disk: &mut dyn DiskUnderTest, request: DiskRequest) {
    assert_eq!(disk.perform(request.clone()), DONE, "{request:?}");
}

fn listed(disk: &mut dyn DiskUnderTest) -> Vec<(File, u64)> {
    match disk.perform(DiskRequest::List) {
        Ok(DiskReply::Listed(files)) => files,
        other => panic!("a listing, not {other:?}"),
    }
}

/// All bytes of a file; `None` if there is no such file.
fn content(disk: &mut dyn DiskUnderTest, file: File) -> Option<Vec<u8>> {
    match read(disk, file, 0, ALL) {
        Ok(DiskReply::Read(bytes)) => Some(bytes.to_vec()),
        Ok(other) => panic!("bytes of {file}, not {other:?}"),
        Err(error) => {
            assert_eq!(error, dps_core::disk::DiskError::NotFound, "{file}");
            None
        }
    }
}

fn assert_content(disk: &mut dyn DiskUnderTest, file: File, expected: &[u8]) {
    assert_eq!(read(disk, file, 0, ALL), read_back(expected), "content of {file}");
}

fn assert_listed(disk: &mut dyn DiskUnderTest, expected: &[(File, u64)]) {
    assert_eq!(listed(disk), expected);
}

/// Bytes of which no two sectors are alike.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at + at / 512) % 251).expect("below 251")).collect()
}
