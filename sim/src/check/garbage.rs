//! S4: no chunk that a name or a tombstone refers to is ever dropped, and after collections with nobody else active
//! nothing else is left, nor a tombstone that is old enough to go.
//!
//! Nor has a chunk a mark below the lease of a put that relied on it and was acknowledged, over any number of starts (rule
//! C1): on one node a later sweep has a larger epoch than all leases before, so that a lost mark alone takes no chunk.
//!
//! Excused: a chunk that is not there once a volume was harmed; what is left when a sweep was stopped by a harmed volume;
//! and [`FALSE_POSITIVES_MAX`] chunks, as one of about 1,700 passes for one in use in each sweep.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::disk::File;
use dps_core::id::{ChunkId, FileId, VerifiedChunk};
use dps_core::keystore::index::Index;
use dps_core::keystore::manifest::Manifest;
use dps_core::keystore::manifest_walk::{ManifestWalk, Step};
use dps_core::ledger::file::Target;
use dps_core::node::Holdings;
use dps_core::time::WallTime;

use super::Findings;
use crate::disk::{Disk, FileClass};

/// Chunks that two sweeps may both have passed for chunks in use: of a few hundred in each of a million runs, one such
/// chunk is likely and two are not.
const FALSE_POSITIVES_MAX: usize = 1;

/// Every chunk that a name or a tombstone refers to, as these themselves tell. What lies under a manifest chunk that can't be
/// read is not known.
pub(crate) fn referenced(holdings: &Holdings<'_>, disk: &Disk) -> BTreeSet<ChunkId> {
    let (ledger, index) = (holdings.ledger, holdings.store.index());
    let (mut found, mut walked) = (BTreeSet::new(), BTreeSet::new());
    for (name, entry) in ledger.names("", None) {
        if let Some((stat, manifest)) = ledger.stat(&Target::Name(name))
            && walked.insert(entry.file)
            && !stat.missing
        {
            walk(manifest, index, disk, &mut found);
        }
    }
    let buried: BTreeSet<FileId> =
        ledger.tombstones("", None).filter(|stat| !stat.missing).map(|stat| stat.file).collect();
    for (_, manifest) in ledger.held(None).filter(|(file, _)| buried.contains(file) && !walked.contains(file)) {
        walk(manifest, index, disk, &mut found);
    }
    found
}

fn walk(manifest: &Manifest, index: &Index, disk: &Disk, found: &mut BTreeSet<ChunkId>) {
    let Ok(mut walk) = ManifestWalk::new(manifest, 0, manifest.size) else { return };
    loop {
        match walk.step() {
            Step::Done => return,
            Step::Inline(_) => {}
            Step::Chunk { chunk, .. } => {
                found.insert(chunk);
            }
            Step::Node(chunk) => {
                found.insert(chunk);
                let fed = read(chunk, index, disk).is_some_and(|chunk| walk.feed(&chunk).is_ok());
                if !fed {
                    walk.skip_node();
                }
            }
        }
    }
}

fn read(id: ChunkId, index: &Index, disk: &Disk) -> Option<VerifiedChunk> {
    let located = index.get(&id)?;
    let first = usize::try_from(located.bytes_offset()).ok()?;
    let bytes = disk.bytes(File::Volume(located.place.volume))?.get(first..first + located.bytes as usize)?;
    VerifiedChunk::check(id, bytes::Bytes::copy_from_slice(bytes)).ok()
}

/// At any time: whatever is referred to is there.
pub(crate) fn check_kept(referenced: &BTreeSet<ChunkId>, index: &Index, disk: &Disk, at: u64, findings: &mut Findings) {
    if disk.is_class_harmed(FileClass::Volume, 0) {
        return;
    }
    if let Some(chunk) = referenced.iter().find(|chunk| index.get(chunk).is_none()) {
        findings.correctness("S4", at, format!("chunk {chunk} is referred to, but it is gone"));
    }
}

/// At any time: a chunk has at least the mark that acknowledged puts were promised, by the leases of their contents.
pub(crate) fn check_marks(
    holdings: &Holdings<'_>,
    leases: &BTreeMap<FileId, u64>,
    disk: &Disk,
    at: u64,
    findings: &mut Findings,
) {
    // With what is lost the newest put of a content may be, or the records of its chunks.
    if disk.is_class_harmed(FileClass::Volume, 0) || disk.is_class_harmed(FileClass::Journal, 0) {
        return;
    }
    let index = holdings.store.index();
    for (file, manifest) in holdings.ledger.held(None) {
        let Some(lease) = leases.get(&file).filter(|lease| **lease > 0) else { continue };
        let mut chunks = BTreeSet::new();
        walk(manifest, index, disk, &mut chunks);
        for (chunk, located) in chunks.iter().filter_map(|chunk| Some((chunk, index.get(chunk)?))) {
            if located.mark < *lease {
                let mark = located.mark;
                let text = format!("chunk {chunk} has the mark {mark}, but a put with the lease {lease} relied on it");
                return findings.correctness("S4", at, text);
            }
        }
    }
}

/// After two collections with nobody else active: nothing else is there.
pub(crate) fn check_gone(referenced: &BTreeSet<ChunkId>, index: &Index, at: u64, findings: &mut Findings) {
    let left: Vec<ChunkId> =
        index.walk(None).map(|(chunk, _)| chunk).filter(|chunk| !referenced.contains(chunk)).collect();
    if left.len() > FALSE_POSITIVES_MAX {
        let text = format!("{} chunks are left that nothing refers to, the first is {}", left.len(), left[0]);
        findings.correctness("S4", at, text);
    }
}

/// After a collection that began no earlier than `retain` behind `before`: what went before that can't be brought back.
pub(crate) fn check_reaped(holdings: &Holdings<'_>, before: WallTime, at: u64, findings: &mut Findings) {
    let left = holdings.ledger.tombstones("", None).find(|tombstone| tombstone.went_at < before);
    if let Some(tombstone) = left {
        let (name, version) = (tombstone.name, tombstone.version);
        findings.correctness("S4", at, format!("version {version} of {name:?} went long ago and is kept all the same"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dps_core::keystore::Place;
    use dps_core::keystore::index::{Located, Trust};

    fn index_of(chunks: &[ChunkId]) -> Index {
        let mut index = Index::new();
        for (number, chunk) in chunks.iter().enumerate() {
            let place = Place { volume: 1, offset: 200 * number as u64, position: 1 + number as u64 };
            let (marked, mark, raised_in, trust, stale) = (false, 0, None, Trust::Proven, false);
            let located = Located { place, sequence: 1, bytes: 3, marked, mark, raised_in, trust, stale };
            index.insert(*chunk, located);
        }
        index
    }

    #[test]
    fn what_is_gone_too_early_or_left_is_found() {
        let chunks: Vec<ChunkId> = (0..5_u8).map(|number| ChunkId::of(&[number])).collect();
        let disk = Disk::new(dps_core::rng::Seed::new([1; 32]), crate::disk::DiskOptions::default());
        let found = |referenced: &[ChunkId], there: &[ChunkId]| {
            let (referenced, index) = (referenced.iter().copied().collect(), index_of(there));
            let (mut kept, mut gone) = (Findings::default(), Findings::default());
            check_kept(&referenced, &index, &disk, 0, &mut kept);
            check_gone(&referenced, &index, 0, &mut gone);
            (!kept.is_empty(), !gone.is_empty())
        };
        assert_eq!(found(&chunks, &chunks), (false, false));
        assert_eq!(found(&chunks, &chunks[1..]), (true, false));
        assert_eq!(found(&chunks[FALSE_POSITIVES_MAX..], &chunks), (false, false));
        assert_eq!(found(&chunks[FALSE_POSITIVES_MAX + 1..], &chunks), (false, true));
    }
}
