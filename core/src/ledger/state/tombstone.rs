//! Tombstones: what a name meant before it was deleted or given another meaning (rule L4).
//!
//! A tombstone keeps its content, so that it can be undeleted and no sweep drops it, until it is reaped. It is found in
//! two orders: by name and version, and by age among the tombstones with the same reason. Ledger time never goes
//! backwards, so the order of indexes is the order of age.
//!
//! A name that exists has only overwritten versions, at most [`OVERWRITTEN_MAX`]. One that does not has in addition the
//! one that was deleted last, or had expired; when such a name is stored again, that becomes an overwritten version
//! too. So the tombstones of one name are always few.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::value::{
    NAMESPACE_QUEUES, NAMESPACE_TOMBSTONES, Value, key, number_of, queue_index, queue_key, reason_byte, tombstone_key,
    tombstones_key,
};
use super::{NameEntry, State, is_met};
use crate::id::FileId;
use crate::ledger::command::Outcome;
use crate::ledger::file::{Expect, Reason, TombstoneStat};
use crate::ledger::name::Name;
use crate::ledger::tree::Scan;
use crate::limits::{OVERWRITTEN_MAX, REAP_SLICE_MAX};
use crate::time::WallTime;

/// What a name meant. Name and version are its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tombstone {
    /// Index of the command that made it.
    pub(super) index: u64,
    /// When the name got that meaning, in ledger time.
    pub(super) stored_at: WallTime,
    /// When the name lost it, in ledger time.
    pub(super) went_at: WallTime,
    /// The content.
    pub(super) file: FileId,
    /// What has become of the name.
    pub(super) reason: Reason,
    /// Whether it had expired, although it may be overwritten by now. One command may leave many such tombstones.
    pub(super) expired: bool,
}

impl Tombstone {
    /// The key of its place in the order of age.
    pub(super) fn queue_key(&self, version: u64) -> Vec<u8> {
        queue_key(self.reason, self.index, self.expired.then_some(version))
    }
}

impl State {
    /// The tombstones of names that begin with `prefix`, by name and, for one name, from the oldest version to the
    /// newest; those that come after the name and version `after`. Can be resumed anywhere.
    #[must_use]
    pub fn tombstones<'a>(&'a self, prefix: &str, after: Option<(&Name, u64)>) -> Tombstones<'a> {
        // A NUL would be taken for the end of a name. No name has one, and no namespace begins with one.
        let namespace = if prefix.contains('\0') { 0 } else { NAMESPACE_TOMBSTONES };
        let prefix = key(namespace, prefix.as_bytes());
        let after = after.map(|(name, version)| tombstone_key(name, version));
        Tombstones { state: self, scan: self.tree.scan(&prefix, after.as_deref()) }
    }

    /// The tombstone of `name` with this version, or with version 0 the newest one.
    #[must_use]
    pub fn tombstone(&self, name: &Name, version: u64) -> Option<TombstoneStat> {
        let (version, tombstone) = self.find_tombstone(name, version)?;
        Some(self.tombstone_stat(name.clone(), version, &tombstone))
    }

    /// How many tombstones there are.
    #[must_use]
    pub const fn tombstone_count(&self) -> u64 {
        self.counts.tombstones
    }

    fn tombstone_stat(&self, name: Name, version: u64, tombstone: &Tombstone) -> TombstoneStat {
        let Tombstone { index: _, stored_at, went_at, file, reason, expired: _ } = *tombstone;
        let content = self.held_content(&file).expect("what a tombstone keeps exists");
        let (size, missing) = (content.manifest.size, self.is_missing(content));
        TombstoneStat { name, version, stored_at, went_at, reason, file, size, missing }
    }

    fn find_tombstone(&self, name: &Name, version: u64) -> Option<(u64, Tombstone)> {
        match version {
            0 => self.tombstones_of(name).pop(),
            _ => Some((version, *self.tree.get(&tombstone_key(name, version))?.as_tombstone())),
        }
    }

    /// All tombstones of a name with their versions, the newest last.
    fn tombstones_of(&self, name: &Name) -> Vec<(u64, Tombstone)> {
        if self.counts.tombstones == 0 {
            return Vec::new();
        }
        let mut scan = self.tree.scan(&tombstones_key(name), None);
        let mut found = Vec::new();
        while let Some(value) = scan.advance() {
            found.push((number_of(scan.key()), *value.as_tombstone()));
        }
        assert!(found.len() <= OVERWRITTEN_MAX + 1, "the tombstones of a name are few");
        found
    }

    /// A name loses its meaning by the command at `index`.
    pub(super) fn bury(&mut self, index: u64, name: &Name, old: &NameEntry, reason: Reason) {
        let NameEntry { version, stored_at, file, expires_at: _ } = *old;
        let expired = reason == Reason::Expired;
        let tombstone = Tombstone { index, stored_at, went_at: self.time, file, reason, expired };
        let new = self.tree.insert(&tombstone_key(name, version), Value::Tombstone(Box::new(tombstone)));
        assert!(new.is_none(), "a version goes once");
        let new = self.tree.insert(&tombstone.queue_key(version), Value::Queued(name.clone(), version));
        assert!(new.is_none(), "a command leaves one tombstone, or one of each version that had expired");
        self.counts.tombstones += 1;
        self.entomb(&file);
    }

    /// A name that did not exist gets a meaning: what was deleted last, or had expired, is now an overwritten version.
    pub(super) fn supersede(&mut self, name: &Name) {
        let Some((version, mut tombstone)) = self.find_tombstone(name, 0) else { return };
        if tombstone.reason == Reason::Overwritten {
            return;
        }
        let value = self.tree.get_mut(&tombstone_key(name, version)).expect("it was just found");
        value.as_tombstone_mut().reason = Reason::Overwritten;
        let queued = self.tree.remove(&tombstone.queue_key(version)).expect("tombstones are queued");
        tombstone.reason = Reason::Overwritten;
        self.tree.insert(&tombstone.queue_key(version), queued);
    }

    /// Removes the oldest overwritten version of a name that has too many.
    pub(super) fn trim(&mut self, name: &Name) {
        let mut overwritten = self.tombstones_of(name);
        overwritten.retain(|(_, tombstone)| tombstone.reason == Reason::Overwritten);
        assert!(overwritten.len() <= OVERWRITTEN_MAX + 1, "a command makes one more at most");
        if let (true, Some((version, _))) = (overwritten.len() > OVERWRITTEN_MAX, overwritten.first()) {
            self.forget(name, *version);
        }
    }

    /// Removes the oldest overwritten versions, else the oldest that were deleted or had expired, as long as there are
    /// more than `tombstones_max`: no more than a command leaves.
    pub(super) fn evict(&mut self, tombstones_max: u64) {
        while self.counts.tombstones > tombstones_max {
            let (_, version, name) = self
                .oldest(&[Reason::Overwritten])
                .or_else(|| self.oldest(&[Reason::Deleted, Reason::Expired]))
                .expect("a tombstone is queued under its reason");
            self.forget(&name, version);
        }
    }

    pub(super) fn undelete(&mut self, index: u64, name: &Name, version: u64, expect: Expect) -> Outcome {
        let old = self.current(name);
        let current = old.map(|entry| entry.version);
        if !is_met(expect, current) {
            return Outcome::Conflict { current };
        }
        // What has expired can be brought back like what was deleted.
        self.lapse(index, name);
        let Some((version, tombstone)) = self.find_tombstone(name, version) else { return Outcome::NotFound };
        self.dig_up(name, version);
        self.exhume(&tombstone.file);
        self.set_name(index, name, old.as_ref(), tombstone.file, None);
        Outcome::Stored { version: index }
    }

    pub(super) fn reap(&mut self, before: WallTime, limit: u32) -> Outcome {
        let limit = limit.min(REAP_SLICE_MAX);
        let mut count = 0;
        loop {
            let Some((name, version)) = self.oldest_before(before) else {
                return Outcome::Reaped { count, more: false };
            };
            if count == limit {
                return Outcome::Reaped { count, more: true };
            }
            self.forget(&name, version);
            count += 1;
        }
    }

    pub(super) fn purge(&mut self, index: u64, name: &Name, expect: Expect) -> Outcome {
        let old = self.current(name);
        let current = old.map(|entry| entry.version);
        if !is_met(expect, current) {
            return Outcome::Conflict { current };
        }
        self.lapse(index, name);
        let versions = self.tombstones_of(name);
        if old.is_none() && versions.is_empty() {
            return Outcome::NotFound;
        }
        if let Some(old) = old {
            self.remove_name(name);
            self.release_name(&old.file);
        }
        for (version, _) in &versions {
            self.forget(name, *version);
        }
        Outcome::Purged { tombstones: u32::try_from(versions.len()).expect("the tombstones of a name are few") }
    }

    /// Removes a tombstone and lets its content go.
    fn forget(&mut self, name: &Name, version: u64) {
        let file = self.dig_up(name, version).file;
        self.release_tombstone(&file);
    }

    /// Removes a tombstone; its content still counts it.
    fn dig_up(&mut self, name: &Name, version: u64) -> Tombstone {
        let value = self.tree.remove(&tombstone_key(name, version)).expect("the tombstone was found");
        let tombstone = *value.as_tombstone();
        let queued = self.tree.remove(&tombstone.queue_key(version)).expect("tombstones are queued");
        assert_eq!(queued.as_queued(), (name, version), "the queue names the tombstone");
        self.counts.tombstones = self.counts.tombstones.checked_sub(1).expect("the tombstone was counted");
        tombstone
    }

    /// The oldest tombstone of all, if it went before `before`.
    fn oldest_before(&self, before: WallTime) -> Option<(Name, u64)> {
        let (_, version, name) = self.oldest(&[Reason::Overwritten, Reason::Deleted, Reason::Expired])?;
        let tombstone = self.tree.get(&tombstone_key(&name, version)).expect("a queue names tombstones").as_tombstone();
        (tombstone.went_at < before).then_some((name, version))
    }

    /// The oldest tombstone with one of these reasons: its index, version and name, in which order they are compared.
    fn oldest(&self, reasons: &[Reason]) -> Option<(u64, u64, Name)> {
        let heads = reasons.iter().filter_map(|reason| {
            let mut scan = self.tree.scan(&[NAMESPACE_QUEUES, reason_byte(*reason)], None);
            let (name, version) = scan.advance()?.as_queued();
            Some((queue_index(scan.key()), version, name.clone()))
        });
        heads.min()
    }
}

/// Tombstones by name and version. See [`State::tombstones`].
#[derive(Clone, Debug)]
pub struct Tombstones<'a> {
    state: &'a State,
    scan: Scan<'a, Value>,
}

impl Iterator for Tombstones<'_> {
    type Item = TombstoneStat;

    fn next(&mut self) -> Option<Self::Item> {
        let tombstone = self.scan.advance()?.as_tombstone();
        let key = self.scan.key();
        let name = key.get(1..key.len() - 9).expect("a name stands before the version");
        let name = Name::new(name).expect("only names are in the namespace of tombstones");
        Some(self.state.tombstone_stat(name, number_of(key), tombstone))
    }
}
