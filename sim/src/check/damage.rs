//! D1: the node reports damage, refuses writes or stops only where a fault was injected, and what a re-put has healed
//! stays healed. An error is excused by the disk's own record of what was done to it.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::disk::damage::Damage;
use dps_core::disk::{DiskError, File};
use dps_core::id::{ChunkId, FileId};
use dps_core::keystore::{ChunkFault, Place};
use dps_core::node::event::FileOrList;
use dps_core::node::{Finding, HaltReason, RequestError};
use dps_core::note::Note;

use super::Findings;
use crate::disk::{Disk, FileClass, HarmKind, READ_ERROR};

/// Bytes around a chunk's body that belong to its record, generously.
const RECORD_OVERHEAD: usize = 256;

/// A chunk that was bad and that a put stored anew.
#[derive(Clone, Debug)]
struct Healed {
    /// Where bad copies of it were found. One that was found nowhere else may have met its injection long before.
    places: Vec<Place>,
    /// When the put was acknowledged.
    at: u64,
    /// The disk's count of injections when the chunk was reported. Later ones may have met the new copy: it may be that
    /// of a put before the acknowledged one, which was cut short.
    stamp: u64,
}

/// A chunk that was reported as bad.
#[derive(Clone, Debug)]
struct Reported {
    /// Where bad copies of it were found.
    places: Vec<Place>,
    /// A file that it belongs to.
    file: FileId,
    /// When.
    at: u64,
    /// The disk's count of injections then.
    stamp: u64,
}

/// What is known of damaged chunks.
#[derive(Debug)]
pub(crate) struct Damages {
    /// Bytes of the longest chunk.
    chunk_bytes_max: usize,
    /// Whether chunks are collected. Where entries are lost, names come back whose chunks went when they did.
    collects: bool,
    /// Chunks that were reported as bad and not stored anew since; each its first report.
    reported: BTreeMap<ChunkId, Reported>,
    /// Chunks that a put stored anew: only later injections excuse another report.
    healed: BTreeMap<ChunkId, Healed>,
    /// Volumes of which damage was told since the last start.
    told: BTreeSet<u64>,
}

impl Damages {
    pub(crate) fn new(chunk_bytes_max: u32, collects: bool) -> Self {
        let chunk_bytes_max = (chunk_bytes_max as usize).max(1_024);
        Self { chunk_bytes_max, collects, reported: BTreeMap::new(), healed: BTreeMap::new(), told: BTreeSet::new() }
    }

    /// A put of a file that began at `opened` is acknowledged at `now`.
    pub(crate) fn stored(&mut self, file: FileId, chunks: &[ChunkId], opened: u64, now: u64) {
        let is_healed = |chunk: &ChunkId, reported: &Reported| {
            reported.at < opened && (reported.file == file || chunks.contains(chunk))
        };
        let found = self.reported.iter().filter(|(chunk, reported)| is_healed(chunk, reported));
        let found: Vec<ChunkId> = found.map(|(chunk, _)| *chunk).collect();
        for chunk in found {
            let Reported { places, stamp, .. } = self.reported.remove(&chunk).expect("just listed");
            self.healed.insert(chunk, Healed { places, at: now, stamp });
        }
    }

    /// A chunk is reported as bad at `at` in a conversation that was opened at `opened`.
    pub(crate) fn chunk(
        &mut self,
        file: FileId,
        chunk: ChunkId,
        fault: &ChunkFault,
        disk: &Disk,
        (opened, at): (u64, u64),
        findings: &mut Findings,
    ) {
        let place = place_of(fault);
        // The copy that another one was found missing beside is a new one, but it may be older than that finding.
        let is_known = |healed: &&Healed| place.is_none_or(|place| healed.places.contains(&place));
        let healed = self.healed.get(&chunk).filter(|healed| healed.at < opened).filter(is_known);
        let since = healed.map_or(0, |healed| healed.stamp);
        // Where the record of the whole copy is lost later on, a start falls back to the bad one.
        let fallen_back = since > 0 && disk.is_class_harmed(FileClass::Volume, since);
        let excused = self.is_caused(fault, disk, since) || (fallen_back && self.is_caused(fault, disk, 0));
        if !excused {
            let text = format!("chunk {chunk} of file {file} is reported as bad, but nothing harmed it: {fault:?}");
            findings.correctness("D1", at, text);
        }
        let reported = Reported { places: Vec::new(), file, at, stamp: disk.stamp() };
        self.reported.entry(chunk).or_insert(reported).places.extend(place);
    }

    /// Whether an injection after `since` explains the fault.
    fn is_caused(&self, fault: &ChunkFault, disk: &Disk, since: u64) -> bool {
        match fault {
            ChunkFault::Missing { lost_volumes } => {
                let harmed = |volume: &u64| disk.is_harmed(File::Volume(*volume), &(0..usize::MAX), since);
                // What the readable entries mean may have been deleted by one that is lost, and collected since.
                lost_volumes.iter().any(harmed) || (self.collects && disk.is_journal_harmed(u64::MAX))
            }
            ChunkFault::Mismatch(place) => self.is_harmed(place, disk, since),
            ChunkFault::Unreadable(place, error) => *error == READ_ERROR && self.is_harmed(place, disk, since),
            ChunkFault::Malformed => false,
        }
    }

    fn is_harmed(&self, place: &Place, disk: &Disk, since: u64) -> bool {
        let first = usize::try_from(place.offset).unwrap_or(usize::MAX);
        let end = first.saturating_add(self.chunk_bytes_max + RECORD_OVERHEAD);
        disk.is_harmed(File::Volume(place.volume), &(first..end), since)
    }

    /// A finding of a verification.
    pub(crate) fn finding(
        &mut self,
        finding: &Finding,
        disk: &Disk,
        (opened, at): (u64, u64),
        findings: &mut Findings,
    ) {
        match finding {
            Finding::Chunk { file, chunk, fault, .. } => self.chunk(*file, *chunk, fault, disk, (opened, at), findings),
            // A write that went into the wrong file may leave nothing else there.
            Finding::Stray(stray) => {
                if !is_file_harmed(stray.file, disk) {
                    let what = format!("a verification finds a stray that nobody put there: {stray}");
                    findings.correctness("D1", at, what);
                }
            }
            Finding::Damage(damage) => {
                if !is_damage_excused(damage.file, disk) {
                    findings.correctness("D1", at, format!("a verification finds damage that nothing did: {damage}"));
                }
            }
        }
    }

    /// A node was started, and has told nothing yet.
    pub(crate) fn started(&mut self) {
        self.told.clear();
    }

    /// A start is over: it has told of every finished volume whose end is gone, whatever a checkpoint says of it.
    pub(crate) fn check_told(&self, disk: &Disk, at: u64, findings: &mut Findings) {
        for (file, _) in disk.files() {
            let File::Volume(volume) = file else { continue };
            let harms = disk.harms(file);
            let is_shorter = !harms.is_empty() && harms.iter().all(|harm| harm.kind == HarmKind::Shortened);
            // One that has a checkpoint has its footer, and the one before a finished volume is named in its head.
            let finished = |volume: u64| disk.bytes(File::Checkpoint(volume)).is_some();
            let is_followed = finished(volume + 1) && !is_file_harmed(File::Volume(volume + 1), disk);
            if is_shorter && finished(volume) && is_followed && !self.told.contains(&volume) {
                findings.correctness("D1", at, format!("the end of {file} is gone, but the start did not tell"));
            }
        }
    }

    /// A note that reports damage or a failed write.
    pub(crate) fn note(&mut self, note: &Note, disk: &Disk, at: u64, findings: &mut Findings) {
        if let Note::Damaged(Damage { file: File::Volume(volume), .. }) = note {
            self.told.insert(*volume);
        }
        let excused = match note {
            Note::Damaged(damage) => is_damage_excused(damage.file, disk),
            Note::BootRecordDamaged(file) | Note::CatalogDamaged(file) => is_file_harmed(*file, disk),
            Note::Stray(stray) => is_file_harmed(stray.file, disk),
            // Nothing counts that was not whole at the start, so what is bad was harmed where it is.
            Note::ChunkMismatch { place, .. } => self.is_harmed(place, disk, 0),
            Note::ChunkHealed(_) => disk.is_class_harmed(FileClass::Volume, 0),
            Note::CheckpointFailed { volume, error } => disk.has_refused(File::Checkpoint(*volume), *error),
            Note::WritesStopped { file, error } | Note::RemovalFailed { file, error } => {
                disk.has_refused(*file, *error)
            }
            _ => true,
        };
        if !excused {
            findings.correctness("D1", at, format!("the node notes what nothing caused: {note}"));
        }
    }
}

/// Records of a journal segment don't count either when those before them are lost.
fn is_damage_excused(file: File, disk: &Disk) -> bool {
    match file {
        File::Journal(number) => disk.is_journal_harmed(number),
        File::Slot(_) | File::Volume(_) | File::Snapshot(_) | File::Checkpoint(_) | File::Reserve | File::Stage(_) => {
            is_file_harmed(file, disk)
        }
    }
}

fn is_file_harmed(file: File, disk: &Disk) -> bool {
    disk.is_harmed(file, &(0..usize::MAX), 0)
}

/// A node that stopped itself: within the budget there is always enough left to start from.
pub(crate) fn halt(reason: &HaltReason, disk: &Disk, at: u64, findings: &mut Findings) {
    let excused = match reason {
        HaltReason::Unreadable { file: FileOrList::File(file), error } => {
            *error == READ_ERROR && !matches!(file, File::Volume(_)) && is_file_harmed(*file, disk)
        }
        HaltReason::Unreadable { file: FileOrList::List, .. }
        | HaltReason::NewerFormat { .. }
        | HaltReason::BootRecordLost
        | HaltReason::SnapshotLost { .. }
        | HaltReason::OfGroup
        | HaltReason::RolledBack { .. }
        | HaltReason::UnknownCommand { .. } => false,
    };
    if !excused {
        findings.correctness("D1", at, format!("the node halted without cause: {reason}"));
    }
}

/// An error that a client got, where its kind can be judged without knowing the request. `None` when it can't.
pub(crate) fn is_excused(error: &RequestError, disk: &Disk) -> Option<bool> {
    match error {
        RequestError::LedgerDamaged(damage) => {
            let is_of_ledger = matches!(damage.file, File::Journal(_) | File::Snapshot(_));
            Some(is_of_ledger && is_damage_excused(damage.file, disk))
        }
        RequestError::DiskFull => Some(disk.was_full()),
        RequestError::WriteFailed { file, error } => Some(disk.has_refused(*file, *error)),
        RequestError::OutcomeUnknown(error) => Some(*error != DiskError::NotFound && disk.is_refusing(false)),
        RequestError::Misuse(_) => Some(false),
        RequestError::Busy | RequestError::Starting | RequestError::Closing => Some(true),
        // Nothing is cleaned here, and collections come one after the other.
        RequestError::Missing | RequestError::GcSuperseded => Some(false),
        RequestError::SweepStopped { .. } => Some(disk.is_class_harmed(FileClass::Volume, 0)),
        RequestError::GcRunning | RequestError::Swept => Some(true),
        RequestError::NotFound
        | RequestError::Conflict { .. }
        | RequestError::RangeOutside { .. }
        | RequestError::BadChunk { .. }
        | RequestError::TooLarge => None,
    }
}

/// Where a bad copy is, if there is any.
const fn place_of(fault: &ChunkFault) -> Option<Place> {
    match fault {
        ChunkFault::Mismatch(place) | ChunkFault::Unreadable(place, _) => Some(*place),
        ChunkFault::Missing { .. } | ChunkFault::Malformed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DiskOptions;
    use bytes::Bytes;
    use dps_core::disk::DiskRequest;
    use dps_core::disk::damage::DamageKind;
    use dps_core::rng::Seed;

    fn disk() -> Disk {
        let mut disk = Disk::new(Seed::new([5; 32]), DiskOptions::default());
        let file = File::Volume(1);
        let parts = vec![Bytes::from(vec![7; 2_000])];
        disk.perform_now(&DiskRequest::Append { file, offset: 0, parts }).unwrap();
        disk.perform_now(&DiskRequest::Sync { file, directory: true }).unwrap();
        disk
    }

    fn reports(damages: &mut Damages, disk: &Disk, opened: u64) -> bool {
        let mut findings = Findings::default();
        let place = Place { volume: 1, offset: 0, position: 1 };
        let (file, chunk) = (FileId::from_bytes([1; 32]), ChunkId::of(b"x"));
        damages.chunk(file, chunk, &ChunkFault::Mismatch(place), disk, (opened, opened + 1), &mut findings);
        !findings.is_empty()
    }

    #[test]
    fn a_bad_chunk_needs_an_injection_and_after_healing_a_new_one() {
        let mut disk = disk();
        let mut damages = Damages::new(2_000, false);
        assert!(reports(&mut Damages::new(2_000, false), &disk, 0), "nothing was injected");
        assert!(disk.rot(FileClass::Volume));
        assert!(!reports(&mut damages, &disk, 1));
        damages.stored(FileId::from_bytes([1; 32]), &[], 3, 5);
        assert!(!reports(&mut damages, &disk, 4), "it may have been read before the put was done");
        assert!(reports(&mut damages, &disk, 6), "the put has healed it");
        assert!(disk.rot(FileClass::Volume));
        assert!(!reports(&mut damages, &disk, 7));
    }

    #[test]
    fn what_struck_between_the_report_and_the_put_may_have_met_the_new_copy() {
        let mut disk = disk();
        let mut damages = Damages::new(2_000, false);
        assert!(disk.rot(FileClass::Volume));
        assert!(!reports(&mut damages, &disk, 1));
        // A put is cut short after it has stored the chunk anew; then the next one has nothing to write.
        assert!(disk.rot(FileClass::Volume));
        damages.stored(FileId::from_bytes([1; 32]), &[], 3, 5);
        assert!(!reports(&mut damages, &disk, 6));
    }

    #[test]
    fn a_start_may_fall_back_to_the_bad_copy_only_when_another_volume_was_harmed_since() {
        let mut disk = disk();
        let mut damages = Damages::new(2_000, false);
        assert!(disk.rot(FileClass::Volume));
        assert!(!reports(&mut damages, &disk, 1));
        damages.stored(FileId::from_bytes([1; 32]), &[], 3, 5);
        let file = File::Volume(2);
        disk.perform_now(&DiskRequest::Append { file, offset: 0, parts: vec![Bytes::from(vec![7; 2_000])] }).unwrap();
        disk.perform_now(&DiskRequest::Sync { file, directory: true }).unwrap();
        assert!(reports(&mut damages, &disk, 6));
        let mut damages = Damages::new(2_000, false);
        assert!(!reports(&mut damages, &disk, 7));
        damages.stored(FileId::from_bytes([1; 32]), &[], 9, 10);
        while disk.harms(file).is_empty() {
            disk.rot(FileClass::Volume);
        }
        assert!(!reports(&mut damages, &disk, 11), "the whole copy may have been in the other volume");
    }

    #[test]
    fn a_finished_volume_whose_end_is_gone_must_be_told() {
        let mut disk = disk();
        for volume in [1, 2] {
            let file = File::Checkpoint(volume);
            disk.perform_now(&DiskRequest::Append { file, offset: 0, parts: vec![Bytes::from(vec![7; 9])] }).unwrap();
            disk.perform_now(&DiskRequest::Sync { file, directory: true }).unwrap();
        }
        let mut damages = Damages::new(2_000, false);
        let untold = |damages: &Damages, disk: &Disk| {
            let mut findings = Findings::default();
            damages.check_told(disk, 0, &mut findings);
            !findings.is_empty()
        };
        assert!(!untold(&damages, &disk), "it is whole");
        disk.shorten_at_stop(FileClass::Volume);
        disk.kill();
        assert!(untold(&damages, &disk));
        let damage = Damage { file: File::Volume(1), offset: 0, first: 1, last: 1, kind: DamageKind::Truncated };
        damages.note(&Note::Damaged(damage), &disk, 0, &mut Findings::default());
        assert!(!untold(&damages, &disk));
        damages.started();
        assert!(untold(&damages, &disk), "each start tells anew");
    }

    #[test]
    fn damage_is_believed_only_where_it_was_done() {
        let mut disk = disk();
        let damage = |file| Damage { file, offset: 0, first: 1, last: 1, kind: DamageKind::Broken };
        let found = |disk: &Disk, file| {
            let mut findings = Findings::default();
            Damages::new(2_000, false).note(&Note::Damaged(damage(file)), disk, 0, &mut findings);
            !findings.is_empty()
        };
        assert!(found(&disk, File::Volume(1)));
        disk.rot(FileClass::Volume);
        assert!(!found(&disk, File::Volume(1)));
        assert!(found(&disk, File::Journal(1)));
        assert_eq!(is_excused(&RequestError::LedgerDamaged(Box::new(damage(File::Journal(1)))), &disk), Some(false));
    }
}
