//! What goes wrong on demand, and the record of it.

use std::collections::BTreeMap;
use std::ops::Range;

use dps_core::disk::{DiskError, File, Slot};
use serde::{Deserialize, Serialize};

use super::truth::Harm;
use super::{CAPACITY_BYTES, Disk, Medium};
use crate::draws::index;

/// What an injected write error says (EIO).
pub const WRITE_ERROR: DiskError = DiskError::Io(5);

/// What a read of a bad sector says (EIO).
pub const READ_ERROR: DiskError = DiskError::Io(5);

/// Files by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileClass {
    /// The boot records.
    Slot,
    /// The journal's segments, and the snapshots from which they go on.
    Journal,
    /// The volumes.
    Volume,
    /// What can be made anew: checkpoints of the index, the reserve.
    Spare,
}

impl FileClass {
    /// The class of a file. A staged file counts as what it mostly becomes.
    #[must_use]
    pub const fn of(file: File) -> Self {
        match file {
            File::Slot(_) | File::Stage(_) => Self::Slot,
            File::Journal(_) | File::Snapshot(_) => Self::Journal,
            File::Volume(_) => Self::Volume,
            File::Checkpoint(_) | File::Reserve => Self::Spare,
        }
    }
}

/// Faults that wait for the next request of their kind.
#[derive(Debug, Default)]
pub(super) struct Armed {
    syncs: BTreeMap<FileClass, u32>,
    appends: BTreeMap<FileClass, u32>,
    no_space: BTreeMap<FileClass, u32>,
    removals: u32,
    strays: u32,
    /// Files to shorten or lose at the next stop.
    deferred: Vec<(FileClass, bool)>,
    /// Whether all snapshots go then.
    snapshots: bool,
}

/// The slot that keeps what another one loses, if that must be kept.
const fn other_slot(slot: Slot) -> Option<Slot> {
    match slot {
        Slot::BootEven => Some(Slot::BootOdd),
        Slot::BootOdd => Some(Slot::BootEven),
        Slot::CatalogEven => Some(Slot::CatalogOdd),
        Slot::CatalogOdd => Some(Slot::CatalogEven),
        Slot::JournalEven => Some(Slot::JournalOdd),
        Slot::JournalOdd => Some(Slot::JournalEven),
        Slot::WitnessEven => Some(Slot::WitnessOdd),
        Slot::WitnessOdd => Some(Slot::WitnessEven),
        Slot::Scrub => None,
    }
}

fn take(counts: &mut BTreeMap<FileClass, u32>, class: FileClass) -> bool {
    match counts.get_mut(&class) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

impl Armed {
    pub(super) fn take_failed_sync(&mut self, class: FileClass) -> Option<DiskError> {
        if take(&mut self.syncs, class) {
            return Some(WRITE_ERROR);
        }
        take(&mut self.no_space, class).then_some(DiskError::Full)
    }

    pub(super) const fn take_failed_removal(&mut self) -> bool {
        let fails = self.removals > 0;
        self.removals -= fails as u32;
        fails
    }
}

/// Faults that last for a while. Ends are instants in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Windows {
    full_until: u64,
    slow_until: u64,
    factor: u64,
}

impl Windows {
    pub(super) fn slowness(&self, now: u64) -> u64 {
        if now < self.slow_until { self.factor.max(1) } else { 1 }
    }
}

impl Disk {
    /// The next sync of a file of this class fails.
    pub fn arm_failed_sync(&mut self, class: FileClass) {
        *self.armed.syncs.entry(class).or_default() += 1;
    }

    /// The next append to a file of this class fails.
    pub fn arm_failed_append(&mut self, class: FileClass) {
        *self.armed.appends.entry(class).or_default() += 1;
    }

    /// One of the next appends, syncs and publications of a file of this class finds no space.
    pub fn arm_no_space(&mut self, class: FileClass) {
        *self.armed.no_space.entry(class).or_default() += 1;
    }

    /// The next removal of a volume fails.
    pub const fn arm_failed_removal(&mut self) {
        self.armed.removals += 1;
    }

    /// At the next sync of a volume one of its sectors goes elsewhere.
    pub fn arm_stray(&mut self) {
        self.armed.strays += 1;
    }

    /// Appends find the disk full until then.
    pub fn fill(&mut self, until: u64) {
        self.windows.full_until = self.windows.full_until.max(until);
    }

    /// Everything takes `factor` times as long until then.
    pub fn slow(&mut self, until: u64, factor: u64) {
        self.windows.slow_until = self.windows.slow_until.max(until);
        self.windows.factor = factor;
    }

    /// Ends every window, disarms what waits and gives space back. Damage that is done stays.
    pub fn heal(&mut self) {
        self.capacity = CAPACITY_BYTES;
        self.armed = Armed::default();
        self.windows = Windows::default();
    }

    pub(super) fn append_error(&mut self, now: u64, file: File, bytes: u64) -> Option<DiskError> {
        if take(&mut self.armed.appends, FileClass::of(file)) {
            return Some(WRITE_ERROR);
        }
        // The other half meets the sync.
        let class = FileClass::of(file);
        let armed = self.armed.no_space.get(&class).is_some_and(|count| *count > 0);
        if armed && self.choice.chance(1, 2) && take(&mut self.armed.no_space, class) {
            return Some(DiskError::Full);
        }
        (bytes > self.available(now)).then_some(DiskError::Full)
    }

    /// Bytes that can still be written: what the files leave of the capacity, and nothing while the disk is full.
    pub(super) fn available(&self, now: u64) -> u64 {
        if now < self.windows.full_until {
            return 0;
        }
        let used: u64 = self.files().iter().map(|(_, bytes)| bytes).sum();
        self.capacity.saturating_sub(used)
    }

    /// From now on all files together may have so many bytes; what is there stays.
    pub const fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
    }

    /// Every journal byte below the last append is known durable to a record that is durable itself.
    pub fn settled(&mut self) {
        for (file, inode) in self.directory.iter() {
            if !matches!(file, File::Journal(_)) {
                continue;
            }
            let durable = self.media[&inode].durable().len();
            let covered = self.last_append.get(&file).copied().unwrap_or(0).min(durable);
            let known = self.covered.entry(file).or_default();
            *known = covered.max(*known);
        }
    }

    /// Flips a bit of a durable byte of a file of this class. False when nothing could be hit within the budget.
    pub fn rot(&mut self, class: FileClass) -> bool {
        self.damage(class, Medium::rot)
    }

    /// Makes a sector of a file of this class unreadable. False when nothing could be hit within the budget.
    pub fn lose_sector(&mut self, class: FileClass) -> bool {
        self.damage(class, Medium::lose_sector)
    }

    fn damage(&mut self, class: FileClass, how: fn(&mut Medium, usize, &mut dps_core::rng::Rng, u64) -> bool) -> bool {
        let Some((file, limit)) = self.victim(class) else { return false };
        let inode = self.directory.get(file).expect("a victim exists");
        let medium = self.media.get_mut(&inode).expect("a name leads to a content");
        let done = how(medium, limit, &mut self.choice, self.stamp + 1);
        self.stamp += u64::from(done);
        done
    }

    /// A drawn file of this class, and how many of its bytes may be damaged: all of a volume, what is settled of a
    /// journal segment, all of a boot record as long as the other one is whole.
    fn victim(&mut self, class: FileClass) -> Option<(File, usize)> {
        let found: Vec<(File, usize)> = self
            .directory
            .iter()
            .map(|(file, _)| file)
            .filter(|file| FileClass::of(*file) == class && self.directory.is_durable(*file))
            .filter_map(|file| match file {
                File::Volume(_) | File::Snapshot(_) | File::Checkpoint(_) => Some((file, usize::MAX)),
                File::Journal(_) => self.covered.get(&file).map(|limit| (file, *limit)),
                File::Slot(slot) => {
                    let is_whole = |other: File| self.directory.is_durable(other) && self.harms(other).is_empty();
                    other_slot(slot).is_none_or(|other| is_whole(File::Slot(other))).then_some((file, usize::MAX))
                }
                File::Reserve | File::Stage(_) => None,
            })
            .collect();
        // The newest file is the one whose end a start has to judge, so it is hit as often as all others together.
        if self.choice.chance(1, 2) {
            return found.last().copied();
        }
        found.get(index(&mut self.choice, found.len())).copied()
    }

    /// At the next stop a file of this class is cut short. Of journals only one that later ones follow.
    pub fn shorten_at_stop(&mut self, class: FileClass) {
        self.armed.deferred.push((class, false));
    }

    /// At the next stop a file of this class vanishes. Of journals only one that later ones follow.
    pub fn lose_file_at_stop(&mut self, class: FileClass) {
        self.armed.deferred.push((class, true));
    }

    /// At the next stop all snapshots vanish.
    pub const fn lose_snapshots_at_stop(&mut self) {
        self.armed.snapshots = true;
    }

    fn lose(&mut self, file: File) {
        self.stamp += 1;
        self.directory.lose(file);
        self.lost.insert(file, self.stamp);
    }

    pub(super) fn apply_deferred(&mut self) {
        if std::mem::take(&mut self.armed.snapshots) {
            let files: Vec<File> = self.directory.iter().map(|(file, _)| file).collect();
            files.into_iter().filter(|file| matches!(file, File::Snapshot(_))).for_each(|file| self.lose(file));
        }
        for (class, vanish) in std::mem::take(&mut self.armed.deferred) {
            let victims: Vec<(File, u64)> = self
                .directory
                .iter()
                .filter(|(file, _)| self.directory.is_durable(*file))
                .filter(|(file, _)| match file {
                    File::Volume(_) => class == FileClass::Volume,
                    File::Journal(number) => class == FileClass::Journal && self.is_followed(*number),
                    File::Snapshot(_) => class == FileClass::Journal,
                    File::Checkpoint(_) => class == FileClass::Spare,
                    File::Slot(_) | File::Reserve | File::Stage(_) => false,
                })
                .collect();
            let Some((file, inode)) = victims.get(index(&mut self.choice, victims.len())).copied() else { continue };
            let medium = self.media.get_mut(&inode).expect("a name leads to a content");
            if vanish {
                self.lose(file);
            } else if medium.shorten(&mut self.choice, self.stamp + 1) {
                self.stamp += 1;
            }
        }
    }

    /// Whether a later segment was settled, so that nothing of this one can pass for a tail.
    fn is_followed(&self, number: u64) -> bool {
        let later = |file: &File| matches!(file, File::Journal(other) if *other > number);
        self.covered.iter().any(|(file, limit)| later(file) && *limit > 0)
    }

    pub(super) fn sync_astray(&mut self, file: File) -> Result<bool, DiskError> {
        if self.armed.strays == 0 || !matches!(file, File::Volume(_)) {
            return Ok(false);
        }
        let inode = self.directory.get(file).ok_or(DiskError::NotFound)?;
        let medium = self.media.get_mut(&inode).expect("a name leads to a content");
        let Some(bytes) = medium.sync_astray(&mut self.choice, self.stamp + 1) else { return Ok(false) };
        self.armed.strays -= 1;
        self.stamp += 1;
        if let Some((victim, _)) = self.victim(FileClass::Volume) {
            let inode = self.directory.get(victim).expect("a victim exists");
            let medium = self.media.get_mut(&inode).expect("a name leads to a content");
            medium.receive_stray(&bytes, &mut self.choice, self.stamp);
        }
        Ok(true)
    }

    /// Injections so far; damage that is done later has a larger stamp.
    #[must_use]
    pub const fn stamp(&self) -> u64 {
        self.stamp
    }

    /// What was injected into a file that exists.
    #[must_use]
    pub fn harms(&self, file: File) -> &[Harm] {
        self.directory.get(file).map_or(&[], |inode| self.media[&inode].harms())
    }

    /// Whether the file was damaged, within `bytes` and after `stamp`, or made to vanish after `stamp`.
    #[must_use]
    pub fn is_harmed(&self, file: File, bytes: &Range<usize>, stamp: u64) -> bool {
        let lost = self.lost.get(&file).is_some_and(|at| *at > stamp);
        let overlaps = |harm: &Harm| harm.first < bytes.end && bytes.start < harm.end && harm.stamp > stamp;
        lost || self.harms(file).iter().any(overlaps)
    }

    /// Whether a journal segment up to this one, or any snapshot of what came before, was damaged or made to vanish.
    #[must_use]
    pub fn is_journal_harmed(&self, number: u64) -> bool {
        let earlier =
            |file: &File| matches!(file, File::Journal(other) if *other <= number) || matches!(file, File::Snapshot(_));
        let harmed = |file: File| earlier(&file) && !self.harms(file).is_empty();
        self.lost.keys().any(earlier) || self.directory.iter().any(|(file, _)| harmed(file))
    }

    /// Whether any file of this class was damaged or made to vanish after `stamp`.
    #[must_use]
    pub fn is_class_harmed(&self, class: FileClass, stamp: u64) -> bool {
        let lost = self.lost.iter().any(|(file, at)| FileClass::of(*file) == class && *at > stamp);
        let harmed = |file: File| self.harms(file).iter().any(|harm| harm.stamp > stamp);
        lost || self.directory.iter().any(|(file, _)| FileClass::of(file) == class && harmed(file))
    }

    /// Whether this write error was injected into this file since the last start, or into a staged one that was to
    /// become it.
    #[must_use]
    pub fn has_refused(&self, file: File, error: DiskError) -> bool {
        let staged = |other: &File| matches!(other, File::Stage(_));
        self.refused.iter().any(|(other, found)| *found == error && (*other == file || staged(other)))
    }

    /// Whether any write error was injected since the last start; only full disks when `full`.
    #[must_use]
    pub fn is_refusing(&self, full: bool) -> bool {
        self.refused.iter().any(|(_, error)| !full || *error == DiskError::Full)
    }

    /// Whether a full disk was told since the last start, by a write that failed or to whoever asked for space.
    #[must_use]
    pub fn was_full(&self) -> bool {
        self.told_full || self.is_refusing(true)
    }
}
