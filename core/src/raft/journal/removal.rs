//! Removing segments whose entries a durable snapshot covers.
//!
//! Always the oldest ones together, so that what cuts an entry never goes before the entry. The catalog without them is
//! published twice first, as for volumes, since a removal is not durable when it is acknowledged and a crash may bring
//! back any of them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::{Effect, Op};
use crate::disk::catalog::{Catalog, GOES_ON};
use crate::disk::record::{FileKind, Predecessor};
use crate::disk::writer::Writer;
use crate::disk::{DiskError, DiskRequest, DiskResult, File};
use crate::limits::CATALOG_VOLUMES_MAX;
use crate::note::Note;

/// A segment that takes no more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Old {
    /// Which, and where it ends.
    pub(super) end: Predecessor,
    /// The largest index of an entry in it, 0 for none.
    pub(super) last_index: u64,
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// So many catalogs are to be published, the one under way included; its second request, unless that is issued.
    Publishing {
        left: u8,
        next: Option<DiskRequest>,
    },
    Removing,
    /// Nothing is removed any more in this boot.
    Stopped,
}

/// Old segments, and their removal.
#[derive(Debug)]
pub(super) struct Removal {
    old: VecDeque<Old>,
    /// Those that are being removed.
    leaving: VecDeque<Old>,
    /// The newest catalog.
    catalog: Option<Catalog>,
    phase: Phase,
    /// Whether a request is outstanding.
    writing: bool,
}

impl Removal {
    /// Of these segments, ascending. With `stopped`, none is removed: something is lost, and they may be what is
    /// needed.
    pub(super) const fn new(old: VecDeque<Old>, catalog: Option<Catalog>, stopped: bool) -> Self {
        let phase = if stopped { Phase::Stopped } else { Phase::Idle };
        Self { old, leaving: VecDeque::new(), catalog, phase, writing: false }
    }

    /// A segment takes no more records.
    pub(super) fn sealed(&mut self, end: Predecessor, last_index: u64) {
        self.old.push_back(Old { end, last_index });
    }

    /// Whether a request is outstanding.
    pub(super) const fn is_writing(&self) -> bool {
        self.writing
    }

    /// Begins to remove the segments that have no entry beyond `base`, if there are any and nothing is under way.
    pub(super) fn begin(&mut self, base: u64, store: [u8; 16], current: &Writer, out: &mut Vec<Effect>) {
        let Phase::Idle = self.phase else { return };
        if self.writing || self.old.front().is_none_or(|old| old.last_index > base) {
            return;
        }
        while let Some(old) = self.old.pop_front_if(|old| old.last_index <= base) {
            self.leaving.push_back(old);
        }
        let mut volumes: BTreeMap<u64, (u64, u64)> =
            self.old.iter().map(|old| (old.end.number, (old.end.position, old.end.offset))).collect();
        volumes.insert(current.number(), (current.durable_through(), GOES_ON));
        if volumes.len() > CATALOG_VOLUMES_MAX {
            self.phase = Phase::Stopped;
            return;
        }
        let number = self.catalog.as_ref().map_or(1, |known| known.number + 1);
        self.publish(2, Catalog { kind: FileKind::Journal, store, number, next: current.number() + 1, volumes }, out);
    }

    fn publish(&mut self, left: u8, catalog: Catalog, out: &mut Vec<Effect>) {
        let [append, publish] = catalog.publication();
        self.catalog = Some(catalog);
        self.phase = Phase::Publishing { left, next: Some(publish) };
        self.issue(Op::Catalog, append, out);
    }

    fn issue(&mut self, op: Op, request: DiskRequest, out: &mut Vec<Effect>) {
        self.writing = true;
        out.push(Effect::Disk { op, request });
    }

    /// A request of a publication ended.
    pub(super) fn published(&mut self, result: &DiskResult, out: &mut Vec<Effect>) {
        self.writing = false;
        let catalog = self.catalog.as_ref().expect("one is being published");
        if let Err(error) = result {
            let slot = File::Slot(catalog.slot());
            return self.stop(slot, *error, out);
        }
        let Phase::Publishing { left, next } = &mut self.phase else { panic!("nothing else publishes") };
        if let Some(request) = next.take() {
            return self.issue(Op::Catalog, request, out);
        }
        match *left - 1 {
            0 => self.remove(out),
            left => self.publish(left, catalog.again(), out),
        }
    }

    /// Removes the next segment, the oldest first.
    fn remove(&mut self, out: &mut Vec<Effect>) {
        match self.leaving.front() {
            Some(old) => {
                self.phase = Phase::Removing;
                let file = File::Journal(old.end.number);
                self.issue(Op::Remove, DiskRequest::Remove { file }, out);
            }
            None => self.phase = Phase::Idle,
        }
    }

    /// A segment is removed, or can't be.
    pub(super) fn removed(&mut self, result: &DiskResult, out: &mut Vec<Effect>) {
        self.writing = false;
        let old = self.leaving.pop_front().expect("a removal was asked for");
        if let Err(error) = result {
            return self.stop(File::Journal(old.end.number), *error, out);
        }
        out.push(Effect::Note(Note::SegmentRemoved { segment: old.end.number, bytes: old.end.offset }));
        self.remove(out);
    }

    fn stop(&mut self, file: File, error: DiskError, out: &mut Vec<Effect>) {
        self.phase = Phase::Stopped;
        out.push(Effect::Note(Note::RemovalFailed { file, error }));
    }

    pub(super) fn check(&self) {
        let all = self.leaving.iter().chain(&self.old);
        assert!(all.is_sorted_by_key(|old| old.end.number), "the oldest go first");
        assert!(!self.writing || !matches!(self.phase, Phase::Idle), "only a removal writes");
    }
}
