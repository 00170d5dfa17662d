//! What a node of the group has written: writes become durable in their order, and of those that are not a beginning stays
//! when it dies.

use std::collections::VecDeque;
use std::sync::Arc;

use dps_core::crypto::hash::sha256;
use dps_core::raft::entry::{Entry, Payload, Position};
use dps_core::raft::membership::Membership;
use dps_core::raft::snapshot::Snapshot;
use dps_core::raft::{Base, Doubt, Vote, Write};

/// A disk.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) vote: Vote,
    pub(crate) base: Base,
    pub(crate) entries: Vec<Entry>,
    /// The newest durable snapshot.
    pub(crate) snapshot: Option<Snapshot>,
    /// Writes that are not durable, in their order.
    pub(crate) pending: VecDeque<Write>,
    /// What a start must be told of what was lost, until that is settled.
    pub(crate) doubt: Option<Doubt>,
    /// Whether no newer vote may be lost.
    pub(crate) vote_certain: bool,
    /// Vote, base and entries as they were before each of the last writes.
    past: VecDeque<(Vote, Base, Vec<Entry>)>,
    /// Entries that were durable and were lost, and are in doubt.
    pub(crate) lost: Vec<Entry>,
}

/// How many of the last writes may be lost.
const PAST: usize = 6;

/// What a bad disk takes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Entries at the end, and the journal can show that no vote was there.
    Entries,
    /// Entries and votes.
    All,
}

impl Disk {
    pub(crate) fn new(founders: &Membership) -> Self {
        let base = Base { position: Position::ZERO, membership: Arc::new(founders.clone()) };
        Self {
            vote: Vote::default(),
            base,
            entries: vec![],
            snapshot: None,
            pending: VecDeque::new(),
            doubt: None,
            vote_certain: true,
            past: VecDeque::new(),
            lost: vec![],
        }
    }

    /// What of it is durable.
    pub(crate) fn copy(&self) -> Self {
        let Self { vote, base, entries, snapshot, doubt, vote_certain, lost, pending: _, past: _ } = self;
        let (base, entries, snapshot, lost) = (base.clone(), entries.clone(), snapshot.clone(), lost.clone());
        let (pending, past) = (VecDeque::new(), VecDeque::new());
        let (vote, doubt, vote_certain) = (*vote, *doubt, *vote_certain);
        Self { vote, base, entries, snapshot, pending, doubt, vote_certain, past, lost }
    }

    /// What the last of its durable writes wrote is lost, at most so many of them, and a start knows only that something may be.
    pub(crate) fn lose(&mut self, writes: usize, loss: Loss) {
        let (vote, before) = (self.vote, std::mem::take(&mut self.entries));
        let kept = self.past.len().saturating_sub(writes);
        match self.past.remove(kept) {
            Some(old) => (self.vote, self.base, self.entries) = old,
            None => self.entries.clone_from(&before),
        }
        self.past.clear();
        if loss == Loss::Entries {
            self.vote = vote;
        }
        let lost = before.into_iter().filter(|entry| !self.has(entry));
        let lost: Vec<Entry> = lost.collect();
        self.lost.extend(lost);
        self.vote_certain &= loss == Loss::Entries;
        let last = self.entries.last().map_or(self.base.position, |entry| entry.position);
        self.doubt = Some(Doubt { last, term: last.term.max(self.vote.term) });
    }

    /// What was lost does not matter any more.
    pub(crate) fn settled(&mut self) {
        (self.doubt, self.vote_certain) = (None, true);
        self.lost.clear();
    }

    pub(crate) fn apply(&mut self, write: Write) {
        let Write { vote, base, cut, entries, .. } = write;
        self.past.push_back((self.vote, self.base.clone(), self.entries.clone()));
        if self.past.len() > PAST {
            self.past.pop_front();
        }
        if let Some(vote) = vote {
            assert!(vote.term >= self.vote.term, "terms never go back");
            if vote.term == self.vote.term && self.vote.candidate.is_some() {
                assert_eq!(vote, self.vote, "a vote is given once");
            }
            self.vote = vote;
        }
        if let Some(base) = base {
            assert!(base.position.index > self.base.position.index, "a log never begins earlier again");
            self.entries.retain(|entry| entry.position.index > base.position.index);
            self.base = base;
        }
        if let Some(cut) = cut {
            assert!(cut.after >= self.base.position.index, "a snapshot is not cut");
            self.entries.retain(|entry| entry.position.index <= cut.after);
        }
        for entry in entries.iter().cloned() {
            let last = self.entries.last().map_or(self.base.position, |last| last.position);
            assert_eq!(entry.position.index, last.index + 1, "entries are written in their order");
            self.entries.push(entry);
        }
    }

    /// Whether an entry is durable here, as itself or in a snapshot.
    pub(crate) fn has(&self, entry: &Entry) -> bool {
        let index = entry.position.index;
        let in_snapshot = self.snapshot.as_ref().is_some_and(|snapshot| snapshot.last.index >= index);
        in_snapshot || self.entries.iter().any(|found| found == entry)
    }

    /// The writes that are durable up to this one.
    pub(crate) fn complete(&mut self, write: u64) {
        while let Some(write) = self.pending.pop_front_if(|pending| pending.number <= write) {
            self.apply(write);
        }
    }
}

/// What a state machine comes to: a hash of all that was applied, in its order.
pub(crate) fn fold(state: [u8; 32], entry: &Entry) -> [u8; 32] {
    let mut bytes = state.to_vec();
    bytes.extend_from_slice(&entry.position.term.to_le_bytes());
    bytes.extend_from_slice(&entry.position.index.to_le_bytes());
    match &entry.payload {
        Payload::Empty => bytes.push(0),
        Payload::Command(command) => bytes.extend_from_slice(command),
        Payload::Membership(membership) => bytes.extend_from_slice(format!("{membership:?}").as_bytes()),
    }
    sha256(&bytes)
}
