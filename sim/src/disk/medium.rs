//! The content of one file as the medium has it, as readers see it, and which sectors differ because nobody synced.

use std::collections::BTreeSet;

use dps_core::rng::Rng;

use super::truth::{Harm, HarmKind};
use crate::draws::index;

/// Bytes that a disk writes or loses as one, tears aside.
pub const SECTOR_BYTES: usize = 512;

/// Bytes that a torn write keeps or loses as one.
const PIECE_BYTES: usize = 16;

/// What of the unsynced state is there after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Survive {
    /// Everything that was issued and reached the disk.
    All,
    /// Only what was synced.
    None,
    /// Each dirty sector and each directory change by itself; some sectors torn.
    Random,
    /// A prefix of the dirty sectors of each file and of the directory changes; the last sector torn.
    Prefix,
}

/// One file's content.
///
/// Invariant: outside of dirty sectors, of sectors that a failed sync dropped, and of the length, `durable` and
/// `current` are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Medium {
    /// What a crash leaves at least.
    durable: Vec<u8>,
    /// What readers see.
    current: Vec<u8>,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
    /// Sectors that can't be read.
    unreadable: BTreeSet<usize>,
    /// What was injected.
    harms: Vec<Harm>,
    /// Whether a failed append may have left part of its bytes, so that the file's end is not what its writer thinks:
    /// appends that were issued after it land where they were meant to.
    pub(super) ragged: bool,
}

fn sector_of(position: usize) -> usize {
    position / SECTOR_BYTES
}

fn span(sector: usize, end: usize) -> std::ops::Range<usize> {
    let first = (sector * SECTOR_BYTES).min(end);
    first..(first + SECTOR_BYTES).min(end)
}

impl Medium {
    pub(super) fn current(&self) -> &[u8] {
        &self.current
    }

    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    pub(super) fn harms(&self) -> &[Harm] {
        &self.harms
    }

    /// Writes at `offset`. Beyond the old end the file grows; past it, which only happens to a ragged file, zeros fill
    /// the hole.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.current.len() || self.ragged, "only what follows a failed append leaves a hole");
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.current.len() < end {
            self.current.resize(end, 0);
        }
        self.current[offset..end].copy_from_slice(bytes);
        for sector in sector_of(offset)..=sector_of(end - 1) {
            self.dirty.insert(sector);
            self.unreadable.remove(&sector);
        }
    }

    /// Bytes from `offset`, fewer at the end; `None` when a sector of them can't be read.
    pub(super) fn read(&self, offset: usize, len: usize) -> Option<&[u8]> {
        let first = offset.min(self.current.len());
        let end = first.saturating_add(len).min(self.current.len());
        if first < end && self.unreadable.range(sector_of(first)..=sector_of(end - 1)).next().is_some() {
            return None;
        }
        Some(&self.current[first..end])
    }

    /// Makes every write durable.
    pub(super) fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.settle(sector);
        }
    }

    /// A sync that failed: each dirty sector reached the medium or not, none is tried again, and readers still see it.
    pub(super) fn sync_failed(&mut self, rng: &mut Rng) {
        for sector in std::mem::take(&mut self.dirty) {
            if rng.chance(1, 2) {
                self.settle(sector);
            }
        }
    }

    fn settle(&mut self, sector: usize) {
        let span = span(sector, self.current.len());
        self.grow_durable(span.end);
        self.durable[span.clone()].copy_from_slice(&self.current[span]);
    }

    fn grow_durable(&mut self, end: usize) {
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
    }

    /// A sync during which one dirty sector went astray: its place keeps what it had, and the bytes are returned.
    /// `None`, and nothing is done, when no sector is dirty.
    pub(super) fn sync_astray(&mut self, rng: &mut Rng, stamp: u64) -> Option<Vec<u8>> {
        let choice = index(rng, self.dirty.len());
        let stray = *self.dirty.iter().nth(choice)?;
        let span = span(stray, self.current.len());
        let bytes = self.current[span.clone()].to_vec();
        self.dirty.remove(&stray);
        self.sync();
        self.grow_durable(self.current.len());
        let old = self.durable[span.clone()].to_vec();
        self.current[span.clone()].copy_from_slice(&old);
        if old != bytes {
            self.harms.push(Harm { first: span.start, end: span.end, kind: HarmKind::Misdirected, stamp });
        }
        Some(bytes)
    }

    /// Overwrites a clean sector with bytes that were meant for elsewhere. False when there is none.
    pub(super) fn receive_stray(&mut self, bytes: &[u8], rng: &mut Rng, stamp: u64) -> bool {
        let Some(sector) = self.clean_sector(rng) else { return false };
        let mut span = span(sector, self.durable.len());
        span.end = span.end.min(span.start + bytes.len());
        let bytes = &bytes[..span.len()];
        if &self.durable[span.clone()] == bytes {
            return false;
        }
        self.durable[span.clone()].copy_from_slice(bytes);
        self.current[span.clone()].copy_from_slice(bytes);
        self.harms.push(Harm { first: span.start, end: span.end, kind: HarmKind::Misdirected, stamp });
        true
    }

    /// A sector whose bytes are durable and not being written. Often the first, since a file's head says what other files
    /// mean.
    fn clean_sector(&self, rng: &mut Rng) -> Option<usize> {
        let sectors = self.durable.len().div_ceil(SECTOR_BYTES);
        let clean: Vec<usize> = (0..sectors).filter(|sector| !self.dirty.contains(sector)).collect();
        let choice = if rng.chance(1, 4) { 0 } else { index(rng, clean.len()) };
        clean.get(choice).copied()
    }

    /// Flips one bit of a durable byte below `limit` in a clean sector. False when there is none.
    pub(super) fn rot(&mut self, limit: usize, rng: &mut Rng, stamp: u64) -> bool {
        let end = limit.min(self.durable.len());
        if end == 0 {
            return false;
        }
        let position = index(rng, end);
        if self.dirty.contains(&sector_of(position)) {
            return false;
        }
        self.durable[position] ^= 1 << rng.below(8);
        self.current[position] = self.durable[position];
        self.harms.push(Harm { first: position, end: position + 1, kind: HarmKind::Rot, stamp });
        true
    }

    /// Makes a clean sector that lies wholly below `limit` unreadable. False when there is none.
    pub(super) fn lose_sector(&mut self, limit: usize, rng: &mut Rng, stamp: u64) -> bool {
        let whole = limit.min(self.durable.len()) / SECTOR_BYTES;
        if whole == 0 {
            return false;
        }
        let sector = index(rng, whole);
        if self.dirty.contains(&sector) {
            return false;
        }
        self.unreadable.insert(sector);
        let span = span(sector, self.durable.len());
        self.harms.push(Harm { first: span.start, end: span.end, kind: HarmKind::Unreadable, stamp });
        true
    }

    /// Cuts the file to a shorter length, as a failing file system check might. False when it is empty.
    pub(super) fn shorten(&mut self, rng: &mut Rng, stamp: u64) -> bool {
        let old = self.durable.len();
        if old == 0 {
            return false;
        }
        let len = index(rng, old);
        self.durable.truncate(len);
        self.power_off();
        self.unreadable.retain(|sector| sector * SECTOR_BYTES < len);
        self.harms.push(Harm { first: len, end: old, kind: HarmKind::Shortened, stamp });
        true
    }

    /// What a loss of power leaves if none of the dirty sectors reached the medium.
    pub(super) fn as_durable(&self) -> Self {
        let mut left = self.clone();
        left.dirty.clear();
        left.power_off();
        left
    }

    /// Power is lost: which dirty sectors reached the medium is drawn, the rest is forgotten.
    pub(super) fn crash(&mut self, survive: Survive, rng: &mut Rng) {
        let dirty: Vec<usize> = std::mem::take(&mut self.dirty).into_iter().collect();
        match survive {
            Survive::All => dirty.iter().for_each(|sector| self.settle(*sector)),
            Survive::None => {}
            Survive::Random => {
                for sector in dirty {
                    match rng.below(6) {
                        0..=2 => self.settle(sector),
                        3 => self.tear(sector, rng),
                        _ => {}
                    }
                }
            }
            Survive::Prefix => {
                let whole = index(rng, dirty.len() + 1);
                dirty[..whole].iter().for_each(|sector| self.settle(*sector));
                if let Some(sector) = dirty.get(whole) {
                    self.tear(*sector, rng);
                }
            }
        }
        self.power_off();
    }

    fn power_off(&mut self) {
        self.dirty.clear();
        self.current.clone_from(&self.durable);
        self.ragged = false;
    }

    /// Part of a sector reaches the medium. Bytes that were durable before and were not written anew never change.
    fn tear(&mut self, sector: usize, rng: &mut Rng) {
        let span = span(sector, self.current.len());
        let old = self.durable.len();
        let kept = |at: usize| at >= old;
        let cut = span.start + index(rng, span.len() + 1);
        let by_prefix = rng.chance(1, 2);
        let mut piece_lands = false;
        let mut end = old;
        let mut landed = Vec::new();
        for at in span.clone() {
            if at == span.start || at % PIECE_BYTES == 0 {
                piece_lands = rng.chance(1, 2);
            }
            let lands = if by_prefix { at < cut } else { piece_lands };
            if lands && (kept(at) || self.durable[at] != self.current[at]) {
                landed.push(at);
                end = end.max(at + 1);
            }
        }
        self.grow_durable(end);
        for at in landed {
            self.durable[at] = self.current[at];
        }
    }
}
