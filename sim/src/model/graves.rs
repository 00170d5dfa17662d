//! What the tombstones of one name keep: the worlds that may be, each of them exact. A change that was acknowledged happens
//! in every world, one of which nobody said how it ended makes two of each, and what is seen leaves those that it fits.
//!
//! Only reaping is not followed: whoever looks says which tombstones may be old enough. It takes the oldest first, so of one
//! name those that are gone are the first ones.

use dps_core::id::FileId;
use dps_core::ledger::file::{Reason, TombstoneStat};
use dps_core::limits::OVERWRITTEN_MAX;
use dps_core::time::WallTime;

/// More worlds than this are not told apart: nothing is known until the name is purged.
const WORLDS_MAX: usize = 64;

/// What is done to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It gets a content.
    Put(FileId),
    /// It is removed.
    Delete,
    /// It gets back what a tombstone keeps; of version 0 the newest.
    Undelete(u64),
    /// It goes with all its tombstones.
    Purge,
}

/// A meaning of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meaning {
    file: FileId,
    /// If somebody was told.
    version: Option<u64>,
}

impl Meaning {
    fn may_be(&self, version: u64) -> bool {
        self.version.is_none_or(|known| known == version)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grave {
    what: Meaning,
    reason: Reason,
    /// It went no earlier than this, in ledger time.
    went_after: WallTime,
}

/// One way in which things may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct World {
    current: Option<Meaning>,
    /// The oldest first; the first ones may have been reaped.
    graves: Vec<Grave>,
}

/// Everything that may be true of one name.
#[derive(Clone, Debug)]
pub(super) struct Graves {
    /// Empty when too much is possible to tell.
    worlds: Vec<World>,
}

impl World {
    /// Where the newest grave is, or that of a version. A version that nobody was told may be any.
    fn find(&self, version: u64) -> Option<usize> {
        match version {
            0 => self.graves.len().checked_sub(1),
            _ => {
                let known = self.graves.iter().position(|grave| grave.what.version == Some(version));
                known.or_else(|| self.graves.iter().rposition(|grave| grave.what.may_be(version)))
            }
        }
    }

    fn bury(&mut self, reason: Reason, went_after: WallTime) {
        if let Some(what) = self.current.take() {
            self.graves.push(Grave { what, reason, went_after });
        }
    }

    fn set(&mut self, what: Meaning, now: WallTime) {
        match (self.current.is_some(), self.graves.last_mut()) {
            (true, _) => self.bury(Reason::Overwritten, now),
            (false, Some(last)) => last.reason = Reason::Overwritten,
            (false, None) => {}
        }
        self.current = Some(what);
        if self.graves.len() > OVERWRITTEN_MAX {
            self.graves.remove(0);
        }
    }

    /// The world after a change that happened; `None` if it can't happen in this one.
    fn after(&self, change: Change, done: &Done) -> Option<Self> {
        let mut next = self.clone();
        match change {
            Change::Put(file) => next.set(Meaning { file, version: done.version }, done.after),
            Change::Delete => {
                self.current?;
                next.bury(Reason::Deleted, done.after);
            }
            Change::Undelete(version) => {
                let grave = next.graves.remove(self.find(version)?);
                if done.file.is_some_and(|file| file != grave.what.file) {
                    return None;
                }
                next.set(Meaning { file: grave.what.file, version: done.version }, done.after);
            }
            Change::Purge => next = Self::default(),
        }
        Some(next)
    }

    /// The world in which exactly these are left, if it is one.
    fn with(&self, listed: &[TombstoneStat], line: WallTime) -> Option<Self> {
        let gone = self.graves.len().checked_sub(listed.len())?;
        if self.graves[..gone].iter().any(|grave| grave.went_after >= line) {
            return None;
        }
        let mut next = Self { current: self.current, graves: self.graves[gone..].to_vec() };
        for (grave, stat) in next.graves.iter_mut().zip(listed) {
            let fits = grave.what.file == stat.file
                && grave.what.may_be(stat.version)
                && grave.reason == stat.reason
                && grave.went_after <= stat.went_at;
            if !fits {
                return None;
            }
            (grave.what.version, grave.went_after) = (Some(stat.version), stat.went_at);
        }
        Some(next)
    }
}

/// What is known of a change that took place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// The version that it gave the name.
    pub(crate) version: Option<u64>,
    /// The content that the name has since.
    pub(crate) file: Option<FileId>,
    /// It was no earlier than this, in ledger time.
    pub(crate) after: WallTime,
}

impl Default for Graves {
    fn default() -> Self {
        Self { worlds: vec![World::default()] }
    }
}

impl Graves {
    fn replace(&mut self, worlds: impl IntoIterator<Item = World>) {
        let mut next: Vec<World> = Vec::new();
        for world in worlds {
            if !next.contains(&world) {
                next.push(world);
            }
        }
        self.worlds = if next.len() > WORLDS_MAX { Vec::new() } else { next };
    }

    /// Whether what is possible is told apart.
    pub(super) fn are_known(&self) -> bool {
        !self.worlds.is_empty()
    }

    /// A change took place. What is refuted by that is for others to notice.
    pub(super) fn done(&mut self, change: Change, done: &Done) {
        if change == Change::Purge {
            self.worlds = vec![World::default()];
        } else {
            let next: Vec<World> = self.worlds.iter().filter_map(|world| world.after(change, done)).collect();
            self.replace(next);
        }
    }

    /// A change took place or did not.
    pub(super) fn perhaps(&mut self, change: Change, done: &Done) {
        let next: Vec<World> = self.worlds.iter().filter_map(|world| world.after(change, done)).collect();
        let before = std::mem::take(&mut self.worlds);
        self.replace(before.into_iter().chain(next));
    }

    /// What an undelete may bring back; `None` among it is that nothing is found. `line` is when something must have gone
    /// to have been reaped.
    pub(super) fn restorable(&self, version: u64, line: WallTime) -> Vec<Option<FileId>> {
        let mut found = Vec::new();
        for world in &self.worlds {
            let at = world.find(version).map(|at| &world.graves[at]);
            found.extend(at.map(|grave| Some(grave.what.file)));
            let sure =
                at.is_some_and(|grave| grave.went_after >= line && (version == 0 || grave.what.version.is_some()));
            if !sure {
                found.push(None);
            }
        }
        found
    }

    /// A version that may be brought back, by its place among them.
    pub(super) fn version(&self, at: usize) -> Option<u64> {
        let graves = &self.worlds.first()?.graves;
        graves.get(at % graves.len().max(1))?.what.version
    }

    /// An undelete of this version found nothing.
    pub(super) fn not_found(&mut self, version: u64, line: WallTime) {
        let fits = |world: &World| match world.find(version) {
            Some(at) if version == 0 => {
                (world.graves[at].went_after < line).then(|| World { current: world.current, graves: Vec::new() })
            }
            Some(_) | None => Some(world.clone()),
        };
        let next: Vec<World> = self.worlds.iter().filter_map(fits).collect();
        if !next.is_empty() {
            self.replace(next);
        }
    }

    /// Somebody saw what the name means.
    pub(super) fn means(&mut self, file: Option<FileId>, version: Option<u64>) {
        let fits = |world: &World| match (world.current, file) {
            (None, None) => true,
            (Some(what), Some(file)) => what.file == file && version.is_none_or(|version| what.may_be(version)),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if self.worlds.iter().any(fits) {
            self.worlds.retain(fits);
        }
    }

    /// Somebody saw all tombstones of the name. False when there is no such world. It counts only if it `decides`.
    pub(super) fn listed(&mut self, listed: &[TombstoneStat], line: WallTime, decides: bool) -> bool {
        let next: Vec<World> = self.worlds.iter().filter_map(|world| world.with(listed, line)).collect();
        let possible = !next.is_empty() || self.worlds.is_empty();
        if decides && !next.is_empty() {
            self.replace(next);
        }
        possible
    }

    /// Whether a tombstone of this content may be there in some world.
    pub(super) fn may_keep(&self, file: FileId) -> bool {
        self.worlds.iter().flat_map(|world| &world.graves).any(|grave| grave.what.file == file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dps_core::ledger::name::Name;

    const OLD: WallTime = WallTime::from_nanos(10);
    const LINE: WallTime = WallTime::from_nanos(20);
    const YOUNG: WallTime = WallTime::from_nanos(30);

    fn file(number: u8) -> FileId {
        FileId::from_bytes([number; 32])
    }

    fn done(version: u64, after: WallTime) -> Done {
        Done { version: Some(version), file: None, after }
    }

    fn stat(version: u64, number: u8, reason: Reason) -> TombstoneStat {
        TombstoneStat {
            name: Name::new(b"n").unwrap(),
            version,
            stored_at: OLD,
            went_at: YOUNG,
            reason,
            file: file(number),
            size: 0,
            missing: false,
        }
    }

    #[test]
    fn versions_are_kept_in_order_and_the_oldest_go() {
        let mut graves = Graves::default();
        for number in 0..=OVERWRITTEN_MAX as u8 + 1 {
            graves.done(Change::Put(file(number)), &done(u64::from(number) + 1, YOUNG));
        }
        let kept = |first: u8| (first..=OVERWRITTEN_MAX as u8).map(|n| stat(u64::from(n) + 1, n, Reason::Overwritten));
        assert!(!graves.clone().listed(&kept(0).collect::<Vec<_>>(), LINE, true), "one too many");
        assert!(!graves.clone().listed(&kept(2).collect::<Vec<_>>(), LINE, true), "none is old enough to go");
        assert!(graves.listed(&kept(1).collect::<Vec<_>>(), LINE, true));
    }

    #[test]
    fn an_undelete_brings_back_the_newest_and_leaves_what_it_replaces() {
        let mut graves = Graves::default();
        graves.done(Change::Put(file(1)), &done(1, YOUNG));
        graves.done(Change::Put(file(2)), &done(2, YOUNG));
        graves.done(Change::Delete, &done(0, YOUNG));
        assert_eq!(graves.restorable(0, LINE), [Some(file(2))]);
        assert_eq!(graves.restorable(1, LINE), [Some(file(1))]);
        assert_eq!(graves.restorable(7, LINE), [None]);
        let listed = [stat(1, 1, Reason::Overwritten), stat(2, 2, Reason::Deleted)];
        assert!(graves.clone().listed(&listed, LINE, true));
        graves.done(Change::Undelete(1), &done(5, YOUNG));
        assert!(graves.listed(&[stat(2, 2, Reason::Overwritten)], LINE, true), "it has no grave any more");
        graves.done(Change::Purge, &Done::default());
        assert_eq!(graves.restorable(0, LINE), [None]);
    }

    #[test]
    fn what_may_have_happened_makes_two_worlds_until_it_is_seen() {
        let mut graves = Graves::default();
        graves.done(Change::Put(file(1)), &done(1, YOUNG));
        graves.perhaps(Change::Delete, &done(0, YOUNG));
        assert_eq!(graves.restorable(0, LINE), [None, Some(file(1))]);
        let mut seen = graves.clone();
        seen.means(None, None);
        assert_eq!(seen.restorable(0, LINE), [Some(file(1))]);
        assert!(graves.listed(&[], LINE, true));
        assert_eq!(graves.restorable(0, LINE), [None]);
    }

    #[test]
    fn only_the_old_may_have_been_reaped() {
        let mut graves = Graves::default();
        graves.done(Change::Put(file(1)), &done(1, OLD));
        graves.done(Change::Put(file(2)), &done(2, OLD));
        graves.done(Change::Delete, &done(0, YOUNG));
        assert!(graves.clone().listed(&[stat(2, 2, Reason::Deleted)], LINE, true));
        assert!(!graves.clone().listed(&[stat(1, 1, Reason::Overwritten)], LINE, true), "the oldest go first");
        assert!(!graves.clone().listed(&[], LINE, true));
        assert_eq!(graves.restorable(1, LINE), [Some(file(1)), None]);
    }
}
