//! A member that has lost every snapshot, in a group that goes on: it has a log and no ledger that this follows, and takes
//! one from whoever has one, led or not.
//!
//! Its log is whole, and so are its votes, so it votes and acknowledges like any other; it neither leads nor serves
//! anybody (see [`Raft::lacks_state`](crate::raft::Raft::lacks_state)).

use alloc::vec::Vec;

use super::{Body, Effect, Replica};
use crate::id::NodeId;
use crate::time::{Instant, Now};

/// What is known of the search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lack {
    /// When the members are asked again, unless parts come.
    asks_at: Instant,
    /// Bytes of the snapshot that had come when they were asked last.
    bytes: Option<u64>,
    /// Whether the next offer is taken.
    open: bool,
}

impl Lack {
    /// Nobody was asked yet.
    pub(super) const fn new(now: Now) -> Self {
        Self { asks_at: now.mono, bytes: None, open: true }
    }

    /// When there is something to do.
    pub(super) const fn deadline(&self) -> Instant {
        self.asks_at
    }
}

impl Replica {
    /// Asks all members for a snapshot, if that is due and none is on its way.
    pub(super) fn want_ledger(&mut self, now: Now, out: &mut Vec<Effect>) {
        let fetched = self.snapshots.fetched_bytes();
        let Some(lack) = self.lack.as_mut().filter(|lack| lack.asks_at <= now.mono) else { return };
        lack.asks_at = now.mono + self.settings.raft.election_timeout_min;
        let goes_on = fetched.is_some() && fetched > lack.bytes;
        lack.bytes = fetched;
        if goes_on || !self.is_taking_part() {
            return;
        }
        if let Some(lack) = &mut self.lack {
            lack.open = true;
        }
        let from = self.raft.base().index;
        let others = self.raft.membership().members().into_iter().filter(|node| *node != self.raft.id());
        let letters: Vec<Effect> = others.map(|to| self.letter(to, Body::Wanted { from })).collect();
        out.extend(letters);
    }

    /// Another member has lost its ledger. If no snapshot here is new enough, one is made, and the next question is
    /// answered.
    pub(super) fn wanted(&mut self, from: NodeId, asker: u64, index: u64, out: &mut Vec<Effect>) {
        if self.raft.lacks_state() {
            return;
        }
        let of_use = |snapshot: &&crate::raft::snapshot::Snapshot| {
            snapshot.last.index >= index && self.snapshots.holds(snapshot)
        };
        if let Some(snapshot) = self.raft.snapshot().filter(of_use) {
            out.push(self.letter(from, Body::Offered { asker, snapshot: snapshot.clone() }));
        } else if self.applied.index >= index {
            self.snapshot_at = self.snapshot_at.min(self.applied.index);
        }
    }

    /// Whether an offer is taken: the first one since all were asked.
    pub(super) fn takes_offer(&mut self) -> bool {
        self.lack.as_mut().is_some_and(|lack| core::mem::take(&mut lack.open))
    }
}
