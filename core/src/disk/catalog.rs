//! The catalog of volumes: which there are, so that one that was removed never comes back (rule J8; format version 1).
//! The segments of the journal have one of their own, in other slots and under another magic; what is said of volumes
//! here holds for them alike.
//!
//! A volume that the catalog does not name, and whose number is below its next one, was removed: it is removed again
//! when a crash has brought it back, and never read. Without a catalog no volume was ever removed.
//!
//! Two slots take turns, even numbers in one, odd numbers in the other. Whoever removes a volume publishes the catalog
//! without it twice before, so that either slot alone knows. Layout, little-endian: magic `dpsC`, of segments `dpsG`
//! (4), version (1), zero (3), length of the body (4), body, CRC-32 of all before it (4). The body: store (16), number
//! (8), next volume (8), count (4), zero (4), and for each volume its number, the last position known durable in it and
//! the byte after that (8 each; [`GOES_ON`] for the one being written, which has no end yet).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::record::{FileKind, Predecessor};
use super::{DiskError, DiskReply, DiskRequest, DiskResult, File, Slot, Verify};
use crate::limits::{CATALOG_VOLUMES_MAX, CHUNK_BYTES_MAX};
use crate::note::Note;

/// The first four bytes of a catalog of files of this kind.
const fn magic(kind: FileKind) -> [u8; 4] {
    match kind {
        FileKind::Journal => *b"dpsG",
        FileKind::Volume => *b"dpsC",
    }
}

const VERSION: u8 = 1;
const FRAME_LEN: usize = 12;
const BODY_LEN_MIN: usize = 40;
const VOLUME_LEN: usize = 24;
const CRC_LEN: usize = 4;

/// No catalog is longer, in bytes.
const CATALOG_BYTES_MAX: usize = FRAME_LEN + BODY_LEN_MIN + VOLUME_LEN * CATALOG_VOLUMES_MAX + CRC_LEN;
const _: () = assert!(CATALOG_BYTES_MAX <= CHUNK_BYTES_MAX as usize);

/// Bytes of a catalog that names so many volumes.
pub(super) const fn bytes_of(volumes: u64) -> u64 {
    ((FRAME_LEN + BODY_LEN_MIN + CRC_LEN) as u64).saturating_add(volumes.saturating_mul(VOLUME_LEN as u64))
}

/// What stands for the end of a volume that has none yet.
pub const GOES_ON: u64 = u64::MAX;

/// No number of a catalog or of a volume in it is larger, so that there are always more.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// The staged file in which a catalog of volumes is made.
pub const CATALOG_STAGE: u64 = 1;

/// The same for files of this kind. No other staged file has one of these numbers.
#[must_use]
pub const fn stage(kind: FileKind) -> u64 {
    match kind {
        FileKind::Journal => 3,
        FileKind::Volume => CATALOG_STAGE,
    }
}

/// Which volumes there are, or which segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// Which of both.
    pub kind: FileKind,
    /// The store it belongs to.
    pub store: [u8; 16],
    /// Counts the catalogs of the store, from 1.
    pub number: u64,
    /// What it does not name below this number is gone.
    pub next: u64,
    /// The last position known durable in each volume, and the byte after it, or [`GOES_ON`].
    pub volumes: BTreeMap<u64, (u64, u64)>,
}

impl Catalog {
    /// The bytes of its slot.
    ///
    /// # Panics
    /// When there are more than [`CATALOG_VOLUMES_MAX`] volumes, or one at or above the next number.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.volumes.len() <= CATALOG_VOLUMES_MAX, "a catalog is bounded");
        assert!(self.volumes.last_key_value().is_none_or(|(last, _)| *last < self.next), "it names what was there");
        let body_len = BODY_LEN_MIN + VOLUME_LEN * self.volumes.len();
        let mut bytes = Vec::with_capacity(FRAME_LEN + body_len + CRC_LEN);
        bytes.extend_from_slice(&magic(self.kind));
        bytes.extend_from_slice(&[VERSION, 0, 0, 0]);
        bytes.extend_from_slice(&u32::try_from(body_len).expect("a catalog is bounded").to_le_bytes());
        bytes.extend_from_slice(&self.store);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.next.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.volumes.len()).expect("a catalog is bounded").to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for (volume, (position, offset)) in &self.volumes {
            for field in [volume, position, offset] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the bytes of a slot of this kind and store. Total: `None` for whatever is torn, rotten, of another store
    /// or of a version that this program does not know.
    #[must_use]
    pub fn decode(kind: FileKind, store: &[u8; 16], bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk::<CRC_LEN>()?;
        let (frame, body) = covered.split_first_chunk::<FRAME_LEN>()?;
        let number = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
        let body_len = u32::from_le_bytes(frame[8..].try_into().expect("four of twelve bytes"));
        let sound = crc32fast::hash(covered) == u32::from_le_bytes(*crc)
            && frame[..8] == [magic(kind), [VERSION, 0, 0, 0]].concat()[..]
            && body.len() == body_len as usize
            && body.get(..16)? == store;
        if !sound {
            return None;
        }
        let count = u32::from_le_bytes(body.get(32..36)?.try_into().ok()?) as usize;
        let listed = body.get(BODY_LEN_MIN..)?;
        if body[36..BODY_LEN_MIN] != [0; 4] || count > CATALOG_VOLUMES_MAX || listed.len() != count * VOLUME_LEN {
            return None;
        }
        let mut volumes = BTreeMap::new();
        for at in (BODY_LEN_MIN..body.len()).step_by(VOLUME_LEN) {
            let volume = number(at)?;
            if volumes.last_key_value().is_some_and(|(last, _)| *last >= volume) {
                return None;
            }
            volumes.insert(volume, (number(at + 8)?, number(at + 16)?));
        }
        let catalog = Self { kind, store: *store, number: number(16)?, next: number(24)?, volumes };
        let orderly = (1..=NUMBER_MAX).contains(&catalog.number)
            && catalog.next <= NUMBER_MAX
            && catalog.volumes.last_key_value().is_none_or(|(last, _)| *last < catalog.next);
        orderly.then_some(catalog)
    }

    /// The slot in which it lies.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        slot(self.kind, self.number)
    }

    /// Whether a volume was there once and is gone.
    #[must_use]
    pub fn is_removed(&self, volume: u64) -> bool {
        volume < self.next && !self.volumes.contains_key(&volume)
    }

    /// Whether a newer catalog may know of a removal that this one does not.
    fn lacks_removals_of(&self, newer: &Self) -> bool {
        // What came since has numbers from `next` on, and is named if it is there.
        let named = newer.volumes.range(self.next..).count() as u64;
        self.volumes.keys().any(|volume| newer.is_removed(*volume)) || newer.next.saturating_sub(self.next) > named
    }

    /// Where a volume ends, if it does not go on.
    #[must_use]
    pub fn end(&self, volume: u64) -> Option<Predecessor> {
        let (position, offset) = *self.volumes.get(&volume)?;
        (offset != GOES_ON).then_some(Predecessor { number: volume, position, offset })
    }

    /// The same under the next number.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { number: self.number + 1, ..self.clone() }
    }

    /// The requests that publish it, one after the other.
    #[must_use]
    pub fn publication(&self) -> [DiskRequest; 2] {
        let parts = [Bytes::from(self.encode())].into();
        let append = DiskRequest::Append { file: File::Stage(stage(self.kind)), offset: 0, parts };
        [append, DiskRequest::Publish { stage: stage(self.kind), to: File::Slot(self.slot()) }]
    }
}

const fn slot(kind: FileKind, number: u64) -> Slot {
    match (kind, number.is_multiple_of(2)) {
        (FileKind::Volume, true) => Slot::CatalogEven,
        (FileKind::Volume, false) => Slot::CatalogOdd,
        (FileKind::Journal, true) => Slot::JournalEven,
        (FileKind::Journal, false) => Slot::JournalOdd,
    }
}

/// What reading the slots wants, or has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadStep {
    /// Perform this and call [`Reading::done`].
    Disk(DiskRequest),
    /// Something to tell.
    Note(Note),
    /// The catalog that counts; `None` when there is none.
    Known {
        /// What it says.
        catalog: Option<Catalog>,
        /// Whether the other slot does not know of all that is gone: it is damaged, or a crash came before it was
        /// written. Then this one is published again before anything is removed.
        alone: bool,
    },
}

/// Reads both slots and decides which counts: the larger number. Pulled: ask for steps, feed results.
#[derive(Debug)]
pub struct Reading {
    kind: FileKind,
    store: [u8; 16],
    at: u64,
    newest: Option<Catalog>,
    older: Option<Catalog>,
    notes: Vec<Note>,
    damaged: bool,
}

impl Reading {
    /// Nothing was read yet of the catalog of this kind of files.
    #[must_use]
    pub const fn new(kind: FileKind, store: [u8; 16]) -> Self {
        Self { kind, store, at: 0, newest: None, older: None, notes: Vec::new(), damaged: false }
    }

    /// The next step.
    pub fn advance(&mut self) -> ReadStep {
        if let Some(note) = self.notes.pop() {
            return ReadStep::Note(note);
        }
        if self.at < 2 {
            let len = u32::try_from(CATALOG_BYTES_MAX).expect("a catalog is bounded");
            let file = File::Slot(slot(self.kind, self.at));
            return ReadStep::Disk(DiskRequest::Read { file, offset: 0, len, verify: Verify::None });
        }
        let forgets = |newest: &Catalog| self.older.as_ref().is_none_or(|older| older.lacks_removals_of(newest));
        ReadStep::Known { catalog: self.newest.clone(), alone: self.newest.as_ref().is_some_and(forgets) }
    }

    /// The result of the read that was asked for.
    ///
    /// # Panics
    /// When none was.
    pub fn done(&mut self, result: &DiskResult) {
        assert!(self.at < 2, "both slots are read");
        let file = File::Slot(slot(self.kind, self.at));
        self.at += 1;
        let read = match result {
            Ok(DiskReply::Read(bytes)) => Catalog::decode(self.kind, &self.store, bytes).ok_or(()),
            Ok(_) => panic!("a read that verifies nothing is answered by its bytes"),
            Err(DiskError::NotFound) => return self.judge(),
            Err(_) => Err(()),
        };
        match read {
            Ok(catalog) => {
                let newer = self.newest.as_ref().is_none_or(|newest| newest.number < catalog.number);
                self.older = if newer { self.newest.replace(catalog) } else { Some(catalog) };
            }
            Err(()) => {
                self.damaged = true;
                self.notes.push(Note::CatalogDamaged(file));
            }
        }
        self.judge();
    }

    /// A slot that is not there is missed only where a catalog was published before the one that is.
    fn judge(&mut self) {
        let missed = self.newest.as_ref().is_some_and(|newest| newest.number > 1) && self.older.is_none();
        if self.at == 2 && missed && !self.damaged {
            let number = self.newest.as_ref().map_or(0, |newest| newest.number + 1);
            self.notes.push(Note::CatalogDamaged(File::Slot(slot(self.kind, number))));
        }
    }
}

#[cfg(test)]
mod tests;
