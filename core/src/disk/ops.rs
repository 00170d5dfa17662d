//! Disk requests that are outstanding, and who waits for each.

use alloc::collections::BTreeMap;

use crate::id::OpId;

/// Outstanding requests of one boot. Sequences are dense from 1, so every completion belongs to exactly one of them.
#[derive(Debug)]
pub(crate) struct Ops<O> {
    boot: u64,
    next: u64,
    owners: BTreeMap<u64, O>,
}

impl<O> Ops<O> {
    pub(crate) const fn new(boot: u64) -> Self {
        Self { boot, next: 1, owners: BTreeMap::new() }
    }

    /// A name for a request of `owner`.
    pub(crate) fn issue(&mut self, owner: O) -> OpId {
        let sequence = self.next;
        self.next += 1;
        self.owners.insert(sequence, owner);
        OpId { boot: self.boot, sequence }
    }

    /// Who waits for the request.
    ///
    /// # Panics
    /// When the driver completes a request that was never issued, or twice.
    pub(crate) fn take(&mut self, op: OpId) -> O {
        assert_eq!(op.boot, self.boot, "a completion belongs to this boot");
        self.owners.remove(&op.sequence).expect("a completion belongs to one outstanding request")
    }

    pub(crate) fn len(&self) -> usize {
        self.owners.len()
    }
}
