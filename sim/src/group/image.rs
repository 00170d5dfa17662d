//! What a start would make of a disk after a loss of power that took everything it could.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dps_core::config::Config;
use dps_core::disk::boot::BootRecord;
use dps_core::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Slot};
use dps_core::id::NodeId;
use dps_core::raft::Vote;
use dps_core::raft::entry::Position;
use dps_core::raft::journal::recover::{Recovery, Step};
use dps_core::raft::membership::Membership;

use super::setup::GroupSetup;
use crate::disk::Disk;

/// What is durable of a member.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pub(crate) vote: Vote,
    /// Where its log begins; a snapshot has what is before.
    base: u64,
    terms: BTreeMap<u64, u64>,
    /// The newest snapshot.
    snapshot: u64,
}

impl Image {
    /// Whether an entry that is committed is in the log or in a snapshot.
    pub(crate) fn has(&self, position: Position) -> bool {
        let covered = position.index <= self.base.max(self.snapshot);
        covered || self.terms.get(&position.index) == Some(&position.term)
    }
}

/// Reads images.
#[derive(Debug)]
pub(crate) struct Images {
    config: Config,
    members: Arc<Membership>,
}

/// The boot record of the newest start.
fn boot_record(files: &BTreeMap<File, &[u8]>) -> Option<BootRecord> {
    let slots = [Slot::BootEven, Slot::BootOdd].map(|slot| files.get(&File::Slot(slot)));
    slots.into_iter().flatten().filter_map(|bytes| BootRecord::decode(bytes).ok()).max_by_key(|record| record.boot)
}

fn perform(files: &BTreeMap<File, &[u8]>, request: &DiskRequest) -> DiskResult {
    match request {
        DiskRequest::Read { file, offset, len, .. } => {
            let bytes = files.get(file).ok_or(DiskError::NotFound)?;
            let first = usize::try_from(*offset).unwrap_or(usize::MAX).min(bytes.len());
            let end = first.saturating_add(*len as usize).min(bytes.len());
            Ok(DiskReply::Read(Bytes::copy_from_slice(&bytes[first..end])))
        }
        DiskRequest::List
        | DiskRequest::Append { .. }
        | DiskRequest::Sync { .. }
        | DiskRequest::Publish { .. }
        | DiskRequest::Remove { .. }
        | DiskRequest::Allocate { .. }
        | DiskRequest::Space => Err(DiskError::ReadOnly),
    }
}

impl Images {
    pub(crate) fn new(setup: &GroupSetup) -> Self {
        Self { config: setup.config(), members: Arc::new(setup.founders()) }
    }

    /// What is durable on a disk.
    ///
    /// # Panics
    /// When a recovery does not end, which is a bug of the core.
    pub(crate) fn read(&self, disk: &Disk) -> Image {
        let files: BTreeMap<File, &[u8]> = disk.durable_files().collect();
        let Some(record) = boot_record(&files) else { return Image::default() };
        let segments = files.iter().filter_map(|(file, bytes)| match file {
            File::Journal(segment) => Some((*segment, bytes.len() as u64)),
            _ => None,
        });
        let (segments, members) = (segments.collect(), Arc::clone(&self.members));
        let mut recovery = Recovery::new(&self.config, record, segments, members, Some(DiskError::ReadOnly));
        loop {
            match recovery.advance() {
                Step::Disk(request) => recovery.done(&perform(&files, &request)),
                Step::Note(_) => {}
                Step::Ready => break,
            }
        }
        let recovered = recovery.into_recovered();
        let snapshots =
            files.keys().filter_map(|file| if let File::Snapshot(index) = file { Some(*index) } else { None });
        Image {
            vote: recovered.vote,
            base: recovered.base.position.index,
            terms: recovered.entries.iter().map(|entry| (entry.position.index, entry.position.term)).collect(),
            snapshot: snapshots.max().unwrap_or(0),
        }
    }
}

/// All disks of a group, as a loss of power would leave them.
pub(crate) struct Disks<'a, 'd> {
    pub(crate) images: &'a Images,
    pub(crate) of: &'a DiskOf<'d>,
}

/// The disk of a member, unless it is a stranger.
pub(crate) type DiskOf<'d> = dyn Fn(NodeId) -> Option<&'d Disk> + 'd;

impl Disks<'_, '_> {
    /// Whether something durable of a member was destroyed.
    pub(crate) fn is_harmed(&self, node: NodeId) -> bool {
        (self.of)(node).is_some_and(|disk| disk.stamp() > 0)
    }

    /// What is durable of a member; `None` of a stranger.
    pub(crate) fn image(&self, node: NodeId) -> Option<Image> {
        (self.of)(node).map(|disk| self.images.read(disk))
    }
}
