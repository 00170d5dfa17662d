//! Publishing the catalog, so that a volume which is removed stays removed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Effect, Phase, Running, Store, Token};
use crate::disk::catalog::{Catalog, GOES_ON};
use crate::disk::record::FileKind;
use crate::disk::{DiskError, DiskRequest, DiskResult, File};
use crate::keystore::StoreError;
use crate::limits::CATALOG_VOLUMES_MAX;
use crate::note::Note;

/// Catalogs that are being published.
#[derive(Debug)]
pub(super) struct Publication {
    /// How many are left, the one under way included.
    left: u8,
    /// The second request of the one under way, once the first is issued.
    next: Option<DiskRequest>,
}

impl Store {
    /// Publishes so many catalogs, one after the other.
    pub(super) fn publish_catalogs(&mut self, left: u8, out: &mut Vec<Effect>) {
        let victim = self.compaction.running.as_ref().expect("a compaction is under way").victim;
        let catalog = self.next_catalog(victim);
        if catalog.volumes.len() > CATALOG_VOLUMES_MAX {
            return self.stop_compaction(StoreError::Busy, out);
        }
        let [append, publish] = catalog.publication();
        self.compaction.catalog = Some(catalog);
        let running = self.compaction.running.as_mut().expect("a compaction is under way");
        running.phase = Phase::Publishing(Publication { left, next: Some(publish) });
        self.compaction.writing = true;
        out.push(Effect::Disk { token: Token::Catalog, request: append });
    }

    /// What there is without the volume that goes. Volumes that are lost stay named, so that they are missed.
    fn next_catalog(&self, victim: u64) -> Catalog {
        let mut volumes: BTreeMap<u64, (u64, u64)> =
            self.lost_volumes.iter().map(|volume| (*volume, (1, GOES_ON))).collect();
        for (volume, _) in self.index.volumes() {
            volumes.insert(volume, self.compaction.ends.get(&volume).copied().unwrap_or((0, GOES_ON)));
        }
        if let Some(writer) = &self.writer {
            let end = if writer.is_sealed() { writer.bytes() } else { GOES_ON };
            volumes.insert(writer.number(), (writer.durable_through(), end));
        }
        let (number, next) = self.compaction.catalog.as_ref().map_or((1, 1), |known| (known.number + 1, known.next));
        let next = volumes.last_key_value().map_or(next, |(last, _)| next.max(last + 1));
        volumes.remove(&victim);
        Catalog { kind: FileKind::Volume, store: self.boot.store, number, next, volumes }
    }

    /// A request of a publication ended.
    pub(in crate::keystore::store) fn catalog_done(&mut self, result: &DiskResult, out: &mut Vec<Effect>) {
        self.compaction.writing = false;
        let Some(running) = &mut self.compaction.running else {
            // It was ended by a close or a failure.
            return;
        };
        let Running { phase: Phase::Publishing(publication), .. } = running else { panic!("nothing else publishes") };
        if let Err(error) = result {
            let catalog = self.compaction.catalog.as_ref().expect("one is being published");
            out.push(Effect::Note(Note::RemovalFailed { file: File::Slot(catalog.slot()), error: *error }));
            let error = match error {
                DiskError::Full => StoreError::Full,
                error => StoreError::Failed { file: File::Slot(catalog.slot()), error: *error },
            };
            return self.stop_compaction(error, out);
        }
        if let Some(request) = publication.next.take() {
            self.compaction.writing = true;
            return out.push(Effect::Disk { token: Token::Catalog, request });
        }
        match publication.left - 1 {
            0 => running.phase = Phase::Draining,
            left => self.publish_catalogs(left, out),
        }
    }

    /// Nothing is removed any more in this boot.
    fn stop_compaction(&mut self, error: StoreError, out: &mut Vec<Effect>) {
        self.compaction.stopped = Some(error);
        if let Some(Running { victim, .. }) = self.compaction.running.take() {
            self.compaction.stuck.insert(victim);
        }
        self.answer_person(Err(error), out);
    }
}
