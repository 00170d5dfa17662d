//! The log as memory has it: everything after the newest snapshot, how much of it is durable, and which membership each
//! part of it puts in force.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::entry::{Entry, Payload, Position};
use super::membership::Membership;
use super::runs::Runs;
use crate::id::NodeId;

/// The log of one node.
///
/// Invariant: entries are dense after `base`, terms never fall, `last` is that of the last one or `base`, `memberships` are those of the entries and before them
/// that of `base`, ascending; nothing durable is beyond the end.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// The last entry that is not here: what the snapshot ends with.
    base: Position,
    entries: Runs,
    last: Position,
    /// Memberships by the index of their entry; the first is that of `base`.
    memberships: Vec<(u64, Arc<Membership>)>,
    /// Writes that are not durable, by their number, and the last entry that each makes durable. Cutting the log clips
    /// them, so that a late completion says nothing of entries that have replaced those it wrote.
    writes: VecDeque<(u64, u64)>,
    durable: u64,
}

impl Log {
    /// A log that goes on after `base`, where `membership` was in force, with entries that are durable.
    ///
    /// # Panics
    /// When the entries do not follow each other.
    pub(super) fn new(base: Position, membership: Arc<Membership>, entries: Vec<Entry>) -> Self {
        let mut log = Self {
            base,
            entries: Runs::new(base.index + 1),
            last: base,
            memberships: alloc::vec![(base.index, membership)],
            writes: VecDeque::new(),
            durable: base.index,
        };
        for entry in entries {
            log.push(entry);
        }
        log.seal();
        log.durable = log.last().index;
        log
    }

    /// The last entry.
    pub(super) const fn last(&self) -> Position {
        self.last
    }

    /// The last entry that is not here.
    pub(super) const fn base(&self) -> Position {
        self.base
    }

    /// The last index that is known durable.
    pub(super) const fn durable(&self) -> u64 {
        self.durable
    }

    /// The last entry that is known durable.
    pub(super) fn last_durable(&self) -> Position {
        let term = self.term(self.durable).expect("what is durable is there");
        Position { term, index: self.durable }
    }

    /// The term of the entry with this index; `None` if it is not here.
    pub(super) fn term(&self, index: u64) -> Option<u64> {
        if index == self.last.index {
            return Some(self.last.term);
        }
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.position.term)
    }

    /// The entry with this index; `None` if it is not here.
    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// Whether an entry at this position is here, or is what `base` says.
    pub(super) fn has(&self, position: Position) -> bool {
        self.term(position.index) == Some(position.term)
    }

    /// Entries from `first` on, as many as have `bytes` together, at least one if there is any, and at most `count`.
    ///
    /// # Panics
    /// When `first` is not after the base.
    pub(super) fn slice(&self, first: u64, count: usize, bytes: u64) -> Arc<[Entry]> {
        assert!(first > self.base.index, "what a snapshot has is in no slice");
        self.entries.slice(first, count, bytes)
    }

    /// Bytes of the entries after `after` up to `through`, all of which are here.
    pub(super) fn bytes_between(&self, after: u64, through: u64) -> u64 {
        self.entries.bytes_between(after, through)
    }

    /// Appends an entry.
    ///
    /// # Panics
    /// When it does not follow the last one.
    pub(super) fn push(&mut self, entry: Entry) {
        self.note(&entry);
        self.entries.push(entry);
    }

    /// Appends entries that came together, but for the first `skipped` of them.
    ///
    /// # Panics
    /// When they do not follow the last one.
    pub(super) fn share(&mut self, entries: &Arc<[Entry]>, skipped: usize) {
        for entry in &entries[skipped..] {
            self.note(entry);
        }
        self.entries.share(entries, skipped);
    }

    /// An entry is about to be the last one.
    fn note(&mut self, entry: &Entry) {
        let last = self.last;
        let Position { term, index } = entry.position;
        assert!(index == last.index + 1 && term >= last.term, "{} does not follow {last}", entry.position);
        if let Payload::Membership(membership) = &entry.payload {
            self.memberships.push((index, Arc::clone(membership)));
        }
        self.last = entry.position;
    }

    /// A turn ends: what was appended one by one is sent and written together.
    pub(super) fn seal(&mut self) {
        self.entries.seal();
    }

    /// Cuts everything after `index`.
    ///
    /// # Panics
    /// When that would cut what the snapshot has.
    pub(super) fn truncate(&mut self, index: u64) {
        assert!(index >= self.base.index, "a snapshot is not cut");
        if index < self.last.index {
            let term = self.term(index).expect("it is not before the base");
            self.last = Position { term, index };
        }
        self.entries.truncate(index + 1);
        self.memberships.retain(|(at, _)| *at <= index);
        self.durable = self.durable.min(index);
        for (_, through) in &mut self.writes {
            *through = index.min(*through);
        }
    }

    /// Forgets everything up to `through`, which is in a durable snapshot.
    ///
    /// # Panics
    /// When it is not in the log.
    pub(super) fn compact(&mut self, through: u64) {
        let term = self.term(through).expect("only what is in the log is compacted");
        self.entries.drop_before(through + 1);
        let newest = self.memberships.iter().rposition(|(index, _)| *index <= through);
        self.memberships.drain(..newest.expect("that of the base is never cut"));
        self.base = Position { term, index: through };
        self.durable = self.durable.max(through);
    }

    /// Forgets everything, and goes on after `base`, where `membership` is in force.
    pub(super) fn begin_after(&mut self, base: Position, membership: Arc<Membership>) {
        self.entries = Runs::new(base.index + 1);
        self.last = base;
        self.memberships = alloc::vec![(base.index, membership)];
        self.base = base;
        self.durable = base.index;
        for (_, through) in &mut self.writes {
            *through = base.index.min(*through);
        }
    }

    /// The membership that was in force at the base.
    pub(super) fn first_membership(&self) -> &Arc<Membership> {
        &self.memberships.first().expect("that of the base is never cut").1
    }

    /// Remembers that write number `write` makes everything up to the end durable.
    ///
    /// # Panics
    /// When numbers do not grow.
    pub(super) fn written(&mut self, write: u64) {
        assert!(self.writes.back().is_none_or(|(last, _)| *last < write), "writes are numbered in their order");
        self.writes.push_back((write, self.last().index));
    }

    /// Everything up to write number `write` is durable.
    pub(super) fn persisted(&mut self, write: u64) {
        while let Some((_, through)) = self.writes.pop_front_if(|(number, _)| *number <= write) {
            self.durable = self.durable.max(through);
        }
    }

    /// The first outstanding write after which the entry with this index is durable; 0 if it is.
    pub(super) fn write_of(&self, index: u64) -> u64 {
        if index <= self.durable {
            return 0;
        }
        let write = self.writes.iter().find(|(_, through)| *through >= index);
        write.expect("what is not durable is being written").0
    }

    /// The membership in force: the newest in the log, committed or not (section 4.1). With the index of its entry.
    pub(super) fn membership(&self) -> (u64, &Arc<Membership>) {
        let (index, membership) = self.memberships.last().expect("that of the base is never cut");
        (*index, membership)
    }

    /// Whether a node has a vote by the newest membership that is committed, or by any after it.
    pub(super) fn may_vote(&self, node: &NodeId, commit: u64) -> bool {
        let newest = self.memberships.iter().rposition(|(index, _)| *index <= commit).unwrap_or(0);
        self.memberships[newest..].iter().any(|(_, membership)| membership.is_voter(node))
    }

    /// Whether nobody but `node` takes part, by the membership where the log begins and by no word after it.
    pub(super) fn is_of_one(&self, node: &NodeId) -> bool {
        let [(_, membership)] = &self.memberships[..] else { return false };
        membership.is_of_one(node)
    }

    /// The last position not after `limit` by index, and not of a later term: where two logs may meet (section 3.5).
    /// `None` if all that is left is older than what is here.
    pub(super) fn meet(&self, limit: Position) -> Option<Position> {
        let mut index = limit.index.min(self.last().index);
        loop {
            let term = self.term(index)?;
            if term <= limit.term {
                return Some(Position { term, index });
            }
            index = index.checked_sub(1)?;
        }
    }

    /// Asserts the invariant.
    pub(super) fn check(&self) {
        let mut before = self.base;
        self.entries.check();
        for entry in self.entries.iter() {
            let Position { term, index } = entry.position;
            assert!(index == before.index + 1 && term >= before.term, "the log is dense and terms never fall");
            before = entry.position;
        }
        assert_eq!(self.last, before, "the last entry is known");
        assert!(self.memberships.is_sorted_by(|a, b| a.0 < b.0), "memberships are in the order of their entries");
        assert!(self.memberships.first().is_some_and(|(index, _)| *index <= self.base.index), "one is always in force");
        assert!(self.durable <= self.last().index && self.durable >= self.base.index, "what is durable is there");
        assert!(self.writes.iter().is_sorted(), "writes end in their order");
    }
}
