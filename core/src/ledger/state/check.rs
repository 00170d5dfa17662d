//! What must hold of the whole state.

use alloc::collections::{BTreeMap, BTreeSet};

use super::clock::Clock;
use super::tombstone::Tombstone;
use super::value::{NAMESPACE_QUEUES, NAMESPACE_TOMBSTONES, Value, expiry_key, number_of, queue_index};
use super::{BOUNDS, Bounds, Counts, State};
use crate::id::FileId;
use crate::ledger::file::Reason;
use crate::ledger::name::Name;
use crate::limits::OVERWRITTEN_MAX;

/// How many names and how many tombstones hold each content.
type Holders = BTreeMap<FileId, (u64, u64)>;

impl State {
    /// Asserts that names, tombstones and contents fit together, that what is counted is there, and that the tree is
    /// well-formed. Visits everything.
    ///
    /// # Panics
    /// When something does not hold, which is a bug.
    pub fn check(&self) {
        self.check_within(&BOUNDS);
    }

    /// See [`State::check`].
    pub(super) fn check_within(&self, bounds: &Bounds) {
        self.tree.check();
        self.sessions.check(self.applied, bounds);
        let (mut counts, mut holders, mut expiries) = (Counts::default(), Holders::new(), 0);
        for (name, entry) in self.names("", None) {
            assert!((1..=self.applied).contains(&entry.version), "the version of {name} was applied");
            assert!(entry.stored_at <= self.latest(), "{name} was stored before now");
            holders.entry(entry.file).or_default().0 += 1;
            counts.names += 1;
            if let Some(expires_at) = entry.expires_at {
                assert!(entry.stored_at <= expires_at, "{name} was stored before it expires");
                let queued = self.tree.get(&expiry_key(expires_at, entry.version)).map(Value::as_queued);
                assert_eq!(queued, Some((&name, entry.version)), "what expires is queued");
                expiries += 1;
            }
        }
        self.check_tombstones(&mut counts, &mut holders);
        self.check_contents(&mut counts, &holders);
        assert_eq!(counts, self.counts, "what is counted is there");
        assert!(self.counts.tombstones <= bounds.tombstones, "tombstones are bounded");
        assert!(self.clean_floor() <= self.applied, "the newest clean was applied");
        if let Some(sweeps) = self.sweeps() {
            sweeps.check(self.latest());
        }
        self.check_clock(bounds);
        let single = u64::from(self.clock() != Clock::default())
            + u64::from(self.sweeps().is_some())
            + u64::from(self.clean_floor() > 0);
        let known = counts.names + expiries + holders.len() as u64 + 2 * counts.tombstones + single;
        assert_eq!(known, self.tree.len(), "there is nothing else");
    }

    fn check_tombstones(&self, counts: &mut Counts, holders: &mut Holders) {
        // Where the clock was set back, the order of times says nothing.
        let straight = !self.clock().was_set_back();
        let mut by_index = BTreeMap::new();
        let mut last: Option<(Name, u64, Tombstone)> = None;
        let mut overwritten = 0;
        let mut scan = self.tree.scan(&[NAMESPACE_TOMBSTONES], None);
        while let Some(value) = scan.advance() {
            let (key, tombstone) = (scan.key(), *value.as_tombstone());
            let name = Name::new(&key[1..key.len() - 9]).expect("only names are in the namespace of tombstones");
            let version = number_of(key);
            assert!(0 < version && version < tombstone.index, "{name} meant it before it went");
            assert!(tombstone.index <= self.applied, "what made a tombstone was applied");
            assert!(!straight || tombstone.stored_at <= tombstone.went_at, "{name} was stored before it went");
            let newer = last.as_ref().filter(|(other, _, _)| *other == name);
            if newer.is_none() {
                overwritten = 0;
            }
            if let Some((_, _, older)) = newer {
                assert!(older.index <= version, "{name} meant one thing after the other");
                assert_eq!(older.reason, Reason::Overwritten, "only the newest version of {name} was deleted");
            }
            let meaning = self.name(&name);
            assert!(meaning.is_none_or(|entry| entry.version >= tombstone.index), "{name} means something newer");
            assert!(tombstone.expired || tombstone.reason != Reason::Expired, "what has expired had expired");
            match tombstone.reason {
                Reason::Deleted | Reason::Expired => {
                    assert_eq!(meaning, None, "a name that was deleted and stored is not deleted");
                }
                Reason::Overwritten => overwritten += 1,
            }
            assert!(overwritten <= OVERWRITTEN_MAX, "overwritten versions of {name} are bounded");
            let queued = self.tree.get(&tombstone.queue_key(version)).map(Value::as_queued);
            assert_eq!(queued, Some((&name, version)), "a tombstone is queued");
            let place = (tombstone.index, tombstone.expired.then_some(version));
            assert!(by_index.insert(place, tombstone.went_at).is_none(), "a command leaves one tombstone");
            holders.entry(tombstone.file).or_default().1 += 1;
            counts.tombstones += 1;
            last = Some((name, version, tombstone));
        }
        assert!(!straight || by_index.values().is_sorted(), "the order of indexes is the order of age");
        let mut scan = self.tree.scan(&[NAMESPACE_QUEUES], None);
        let mut queued = BTreeSet::new();
        while scan.advance().is_some() {
            let version = (scan.key().len() > 10).then(|| number_of(scan.key()));
            assert!(queued.insert((queue_index(scan.key()), version)), "a tombstone is queued once");
        }
        assert!(queued.iter().eq(by_index.keys()), "only tombstones are queued");
    }

    fn check_contents(&self, counts: &mut Counts, holders: &Holders) {
        let floor = self.clean_floor();
        let mut contents = 0;
        let mut held = self.held(None);
        while let Some((file, live)) = held.advance() {
            let content = self.held_content(&file).expect("what is listed can be found");
            assert_eq!(content.manifest.file, file, "a content is found by its identifier");
            let counted = (content.names, content.tombstones);
            assert_eq!(holders.get(&file), Some(&counted), "a content counts its names and tombstones");
            assert!(content.floor <= floor, "the floor only rises");
            let bytes = live.map_or(0, |manifest| u128::from(manifest.size));
            if content.names > 0 {
                counts.contents += 1;
                counts.live_bytes += bytes;
            } else {
                counts.tombstone_bytes += bytes;
            }
            contents += 1;
        }
        assert_eq!(contents, holders.len(), "what a name means or a tombstone keeps exists");
    }
}
