//! Snapshots: what stands for the beginning of the log (Ongaro 2014, chapter 5).
//!
//! Raft knows what a snapshot is of, and never its bytes. Whoever owns the state machine makes one of a frozen view,
//! fetches the one that [`Effect::Fetch`] names in pieces, as far as it has them not, and says when one is durable:
//! [`Event::Snapshotted`] of its own, [`Event::Installed`] of another node's. From then on a start begins with it.
//!
//! [`Effect::Fetch`]: super::Effect::Fetch
//! [`Event::Snapshotted`]: super::Event::Snapshotted
//! [`Event::Installed`]: super::Event::Installed

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::entry::Position;
use super::membership::Membership;
use super::message::Appended;
use super::{Effect, Note, Raft, Reason, reject};
use crate::crypto::hash::HASH_LEN;
use crate::id::NodeId;
use crate::time::Now;

/// What a snapshot is of. Cloning shares the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry that is applied in it.
    pub last: Position,
    /// Who takes part by the log up to there.
    pub membership: Arc<Membership>,
    /// What its content hashes to, so that pieces of different snapshots are never mixed. Raft does not look at it.
    pub digest: [u8; HASH_LEN],
    /// Bytes of the content.
    pub bytes: u64,
}

impl Raft {
    /// The application has made a snapshot of what it applied, and that is durable: the log before it may go, but for
    /// what those who are only a little behind need.
    ///
    /// # Panics
    /// When it is of anything that was not handed out to be applied, or more of the log may go than it has.
    pub(super) fn snapshotted(&mut self, snapshot: Snapshot, through: u64, out: &mut Vec<Effect>) {
        let index = snapshot.last.index;
        assert!(index <= self.applied, "a snapshot is of what was applied");
        assert!(through <= index, "what a snapshot has not is kept");
        if self.snapshot.as_ref().is_some_and(|newest| newest.last.index >= index) {
            return;
        }
        assert!(self.log.has(snapshot.last), "a snapshot ends with an entry of the log");
        self.snapshot = Some(snapshot);
        let through = through.min(index.saturating_sub(self.settings.trailing_entries));
        if through > self.log.base().index {
            self.log.compact(through);
            self.log_rebased(false);
            out.push(Effect::Note(Note::Compacted { through: self.log.base() }));
        }
    }

    /// The leader says that this node is so far behind that only a snapshot helps.
    pub(super) fn offered(&mut self, now: Now, from: NodeId, session: u64, snapshot: Snapshot, out: &mut Vec<Effect>) {
        let last = snapshot.last;
        if last == Position::ZERO || last.term > self.vote.term || last.index > INDEX_MAX {
            return reject(from, Reason::MalformedSnapshot, out);
        }
        // Perhaps only the answer was lost. What a snapshot has is committed.
        let has_it = last.index <= self.commit || self.log.has(last);
        if has_it {
            self.advance(last.index);
            let write = self.write_of(last.index);
            let result = Appended::Matched { index: last.index };
            return self.send_result(now, from, session, result, write, out);
        }
        self.offer = Some((from, session));
        out.push(Effect::Fetch { from, snapshot });
    }

    /// A snapshot of another node is durable here. One that is older than what is committed changes nothing: it came
    /// late.
    pub(super) fn installed(&mut self, now: Now, snapshot: Snapshot, out: &mut Vec<Effect>) {
        let last = snapshot.last;
        if self.lacks_state && self.log.has(last) {
            return self.found_state(snapshot, out);
        }
        // A leader that was elected meanwhile has all that a snapshot has, and learns by counting what is committed.
        if last.index <= self.commit || self.is_leader() {
            return;
        }
        let has_it = self.log.has(last);
        if has_it {
            // Its entries do as well.
            self.advance(last.index);
        } else {
            self.lacks_state = false;
            self.begin_after(&snapshot);
            (self.commit, self.applied) = (last.index, last.index);
            self.tickets.overtaken(last.index, out);
            self.snapshot = Some(snapshot.clone());
            out.push(Effect::Restore(snapshot));
            out.push(Effect::Note(Note::Restored { last }));
        }
        if let Some((leader, session)) = self.offer.take() {
            // A start begins with the snapshot, or with what it has of the log, and both are durable.
            let (result, write) = (Appended::Matched { index: last.index }, self.write_of(last.index));
            self.send_result(now, leader, session, result, write, out);
        }
    }

    /// The state is there again: the log goes on from where the snapshot ends, which is in it.
    fn found_state(&mut self, snapshot: Snapshot, out: &mut Vec<Effect>) {
        let last = snapshot.last;
        // What a snapshot has is committed.
        self.advance(last.index);
        self.applied = last.index;
        // Nobody waits for an entry: this start never led.
        (self.lacks_state, self.snapshot) = (false, Some(snapshot.clone()));
        out.push(Effect::Restore(snapshot));
        out.push(Effect::Note(Note::Restored { last }));
    }

    /// Lets the log begin after a snapshot whose last entry it does not have: nothing of it is of use.
    pub(super) fn begin_after(&mut self, snapshot: &Snapshot) {
        self.log.begin_after(snapshot.last, Arc::clone(&snapshot.membership));
        self.log_rebased(true);
    }
}

/// No log gets to a larger index, so that counting on never overflows.
pub const INDEX_MAX: u64 = u64::MAX / 2;
