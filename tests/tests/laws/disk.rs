//! The disk of the habitats: the simulated one, whose requests end one by one in any order that the contract allows, and
//! now and then badly.

use std::collections::BTreeSet;

use dps_core::disk::{DiskError, DiskRequest, DiskResult, File};
use dps_core::rng::{Rng, Seed};
use sim::disk::{Disk, DiskOptions};

/// One write in so many fails, on disks where writes fail.
const FAULTS: u64 = 40;

/// A disk with what was asked of it and has not ended; `T` names a request.
pub(crate) struct Slow<T> {
    disk: Disk,
    waiting: Vec<(T, DiskRequest)>,
    faulty: bool,
}

impl<T> Slow<T> {
    /// An empty disk; on a faulty one writes fail at times.
    pub(crate) fn new(faulty: bool) -> Self {
        let disk = Disk::new(Seed::new([5; 32]), DiskOptions::default());
        Self { disk, waiting: Vec::new(), faulty }
    }

    /// From now on all files together may have so many bytes.
    pub(crate) const fn set_capacity(&mut self, bytes: u64) {
        self.disk.set_capacity(bytes);
    }

    pub(crate) fn issue(&mut self, name: T, request: DiskRequest) {
        self.waiting.push((name, request));
    }

    /// Ends one request that may end now; `None` if none is waiting.
    pub(crate) fn end(&mut self, rng: &mut Rng) -> Option<(T, DiskResult)> {
        let mut held_up: BTreeSet<File> = BTreeSet::new();
        let mut ready = Vec::new();
        for (place, (_, request)) in self.waiting.iter().enumerate() {
            let files = written(request);
            if !files.iter().any(|file| held_up.contains(file)) {
                ready.push(place);
            }
            held_up.extend(files);
        }
        if ready.is_empty() {
            return None;
        }
        let chosen = usize::try_from(rng.below(ready.len() as u64)).expect("few requests wait");
        let (name, request) = self.waiting.remove(ready[chosen]);
        let fails = self.faulty && !written(&request).is_empty() && rng.chance(1, FAULTS);
        let error = if rng.chance(1, 2) { DiskError::Full } else { DiskError::Io(5) };
        Some((name, if fails { Err(error) } else { self.disk.perform_now(&request) }))
    }
}

/// The files whose order a request is part of: none for what only reads.
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

/// Bytes that a machine encoded or copied into a request.
pub(crate) fn encoded_bytes(request: &DiskRequest) -> usize {
    match request {
        DiskRequest::Append { parts, .. } => parts.iter().map(bytes::Bytes::len).sum(),
        DiskRequest::List
        | DiskRequest::Read { .. }
        | DiskRequest::Sync { .. }
        | DiskRequest::Publish { .. }
        | DiskRequest::Remove { .. }
        | DiskRequest::Allocate { .. }
        | DiskRequest::Space => 0,
    }
}
