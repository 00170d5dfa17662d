//! S7: space comes back. After collections with nobody else active, the last of which found nothing to do, each volume but the newest has at most
//! `FRAME_BYTES + file bytes / 10` that nothing needs, so that the volumes have at most ten ninths of what is needed, a frame
//! for each, and the newest one; and no volume is on the disk that the store does not know of.
//!
//! Needed are the records of chunks that names and tombstones refer to, marks of these, and drop records as long as there is
//! a volume of their range. Excused: a volume that was harmed, which stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::disk::File;
use dps_core::id::ChunkId;
use dps_core::keystore::index::{Index, MARK_RECORD_LEN};

use super::Findings;
use crate::disk::{Disk, HarmKind};

/// Bytes of every volume that no chunk needs: its head and footer, and empty records.
const FRAME_BYTES: u64 = 512;

/// What a volume may have in bytes that nothing needs, as a part of the whole.
const DEAD_DIVISOR: u64 = 10;

/// Judges the volumes after the last collection.
pub(crate) fn check(referenced: &BTreeSet<ChunkId>, index: &Index, disk: &Disk, at: u64, findings: &mut Findings) {
    let mut needed: BTreeMap<u64, u64> = index.volumes().map(|(volume, usage)| (volume, usage.drop_bytes)).collect();
    for (chunk, located) in index.walk(None).filter(|(chunk, _)| referenced.contains(chunk)) {
        let marks = located.raised_in.map(|volume| (volume, MARK_RECORD_LEN));
        for (volume, bytes) in marks.into_iter().chain([(located.place.volume, located.record_len())]) {
            match needed.get_mut(&volume) {
                Some(sum) => *sum += bytes,
                None => findings.correctness("S7", at, format!("chunk {chunk} is in volume {volume}, which is none")),
            }
        }
    }
    let newest = needed.last_key_value().map_or(0, |(volume, _)| *volume);
    check_known(index, disk, at, findings);
    for (file, bytes) in disk.files() {
        let File::Volume(volume) = file else { continue };
        let Some(needed) = needed.get(&volume) else { continue };
        let most = FRAME_BYTES + bytes / DEAD_DIVISOR;
        let dead = bytes.saturating_sub(*needed);
        if volume != newest && dead > most && disk.harms(file).is_empty() {
            let text = format!("nothing needs {dead} of the {bytes} bytes of {file}, after collections {most} may be");
            findings.correctness("S7", at, text);
        }
    }
}

/// With nothing under way: no volume is on the disk that the store does not know of.
pub(crate) fn check_known(index: &Index, disk: &Disk, at: u64, findings: &mut Findings) {
    for (file, _) in disk.files() {
        // The head of another volume that the disk put here makes a stray of it, which is left alone.
        let is_headless = disk.harms(file).iter().any(|harm| harm.kind == HarmKind::Misdirected && harm.first == 0);
        if matches!(file, File::Volume(volume) if index.volume(volume).is_none()) && !is_headless {
            findings.correctness("S7", at, format!("{file} is on the disk, but the store does not know of it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DiskOptions;
    use bytes::Bytes;
    use dps_core::disk::DiskRequest;
    use dps_core::keystore::Place;
    use dps_core::keystore::index::{Located, Trust};
    use dps_core::rng::Seed;

    #[test]
    fn a_volume_that_is_mostly_dead_and_one_that_nobody_knows_are_found() {
        let chunk = ChunkId::of(b"x");
        let found = |files: &[(u64, usize)], known: &[u64], live: u32| {
            let mut disk = Disk::new(Seed::new([5; 32]), DiskOptions::default());
            for (number, bytes) in files {
                let (file, parts) = (File::Volume(*number), vec![Bytes::from(vec![7; *bytes])]);
                disk.perform_now(&DiskRequest::Append { file, offset: 0, parts }).unwrap();
            }
            let mut index = Index::new();
            known.iter().for_each(|volume| index.set_file_bytes(*volume, 1));
            let place = Place { volume: 1, offset: 0, position: 1 };
            let (marked, mark, raised_in, trust, stale) = (false, 0, None, Trust::Proven, false);
            let located = Located { place, sequence: 1, bytes: live, marked, mark, raised_in, trust, stale };
            index.insert(chunk, located);
            let mut findings = Findings::default();
            check(&BTreeSet::from([chunk]), &index, &disk, 0, &mut findings);
            !findings.is_empty()
        };
        assert!(!found(&[(1, 9_000), (2, 5_000)], &[1, 2], 8_000), "the newest may be as it is");
        assert!(found(&[(1, 9_000), (2, 5_000)], &[1, 2], 7_000));
        assert!(found(&[(1, 9_000), (2, 5_000)], &[1], 8_000));
    }
}
