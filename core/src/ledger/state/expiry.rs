//! Names that have a time to live (rules L3, L4).
//!
//! A name has expired once ledger time has come to its expiry. From then on it is absent for whoever asks with a ledger
//! time, and for every command; and it stays where it is until [`Command::Expire`] comes by, in slices, the earliest
//! expiry first, or until its name gets another meaning. Either leaves a tombstone, like a delete. So what a command
//! comes to does not depend on whether the expired names have been taken away yet.
//!
//! [`Command::Expire`]: crate::ledger::command::Command::Expire

use super::value::{NAMESPACE_EXPIRIES, Value, expiry_key};
use super::{NameEntry, State};
use crate::ledger::command::Outcome;
use crate::ledger::file::Reason;
use crate::ledger::name::Name;
use crate::limits::EXPIRE_SLICE_MAX;
use crate::time::WallTime;

impl NameEntry {
    /// Whether this is over at the ledger time `time`.
    #[must_use]
    pub fn has_expired(&self, time: WallTime) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= time)
    }
}

impl State {
    /// What `name` means at the ledger time `time`: nothing, if it has expired by then.
    #[must_use]
    pub fn name_at(&self, name: &Name, time: WallTime) -> Option<&NameEntry> {
        self.name(name).filter(|entry| !entry.has_expired(time))
    }

    /// What `name` means for the command that is being applied.
    pub(super) fn current(&self, name: &Name) -> Option<NameEntry> {
        self.name_at(name, self.time).copied()
    }

    /// Takes the names away that have expired.
    pub(super) fn expire(&mut self, index: u64, limit: u32) -> Outcome {
        let limit = limit.min(EXPIRE_SLICE_MAX);
        let mut count = 0;
        loop {
            let Some(name) = self.earliest_expired() else { return Outcome::Expired { count, more: false } };
            if count == limit {
                return Outcome::Expired { count, more: true };
            }
            self.lapse(index, &name);
            count += 1;
        }
    }

    /// Turns what `name` means into a tombstone, if it has expired.
    pub(super) fn lapse(&mut self, index: u64, name: &Name) {
        let Some(entry) = self.name(name).copied().filter(|entry| entry.has_expired(self.time)) else { return };
        self.remove_name(name);
        self.bury(index, name, &entry, Reason::Expired);
    }

    /// Gives a name that expires its place in the order of expiry.
    pub(super) fn schedule(&mut self, name: &Name, entry: &NameEntry) {
        let Some(expires_at) = entry.expires_at else { return };
        let queued = Value::Queued(name.clone(), entry.version);
        let new = self.tree.insert(&expiry_key(expires_at, entry.version), queued);
        assert!(new.is_none(), "a version is given once");
    }

    /// Takes the place in the order of expiry from a name that loses this meaning.
    pub(super) fn unschedule(&mut self, entry: &NameEntry) {
        let Some(expires_at) = entry.expires_at else { return };
        let queued = self.tree.remove(&expiry_key(expires_at, entry.version));
        assert!(queued.is_some(), "what expires is queued");
    }

    /// The name that expires first, if it has.
    fn earliest_expired(&self) -> Option<Name> {
        let (name, version) = self.tree.scan(&[NAMESPACE_EXPIRIES], None).advance()?.as_queued();
        let entry = self.name(name).expect("only names that exist are queued");
        assert_eq!(entry.version, version, "the queue names the meaning");
        entry.has_expired(self.time).then(|| name.clone())
    }
}
