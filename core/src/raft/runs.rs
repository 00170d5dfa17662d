//! Entries in the runs in which they came: shared with the messages, writes and turns that have the same ones, so that an
//! entry is neither copied nor counted for each of them.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::entry::Entry;
use crate::limits::{APPEND_BYTES_MAX, APPEND_ENTRIES_MAX};

/// Some entries that follow each other.
#[derive(Clone, Debug)]
struct Run {
    /// The index of the first entry of it.
    first: u64,
    /// What it is a part of. A part that is cut off is kept in memory until the rest goes as well.
    shared: Arc<[Entry]>,
    /// Which part: from here, and how many.
    from: usize,
    len: usize,
    /// Bytes of its entries.
    bytes: u64,
}

fn count(indices: u64) -> usize {
    usize::try_from(indices).expect("a log fits into memory")
}

fn bytes_of(entries: &[Entry]) -> u64 {
    entries.iter().map(Entry::bytes).sum()
}

impl Run {
    fn entries(&self) -> &[Entry] {
        &self.shared[self.from..][..self.len]
    }

    /// The index behind its last entry.
    const fn end(&self) -> u64 {
        self.first + self.len as u64
    }

    /// Keeps the part of it from `first` to before `end`, which is not empty.
    fn keep(&mut self, first: u64, end: u64) {
        self.from += count(first - self.first);
        self.len = count(end - first);
        self.first = first;
        self.bytes = bytes_of(self.entries());
    }
}

/// Where an entry is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In this run.
    Run(usize),
    /// At this place of those that are in no run yet.
    Open(usize),
}

/// Entries, dense from an index on.
///
/// Invariant: runs follow each other and none is empty; `open` follows the last of them and ends before `end`.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    runs: VecDeque<Run>,
    /// The last entries, which were added one by one and are in no run yet: no more than a message may have.
    open: Vec<Entry>,
    open_bytes: u64,
    /// The index behind the last entry.
    end: u64,
}

/// So many of the last runs are looked through one by one: nearly always it is one of them.
const LIKELY_RUNS: usize = 4;

impl Runs {
    /// No entry yet; the first one will have this index.
    pub(super) const fn new(first: u64) -> Self {
        Self { runs: VecDeque::new(), open: Vec::new(), open_bytes: 0, end: first }
    }

    /// The index of the first entry in no run yet.
    const fn open_first(&self) -> u64 {
        self.end - self.open.len() as u64
    }

    fn find(&self, index: u64) -> Option<Place> {
        if index >= self.end {
            return None;
        }
        let open_first = self.open_first();
        if index >= open_first {
            return Some(Place::Open(count(index - open_first)));
        }
        let len = self.runs.len();
        let at = (len.saturating_sub(LIKELY_RUNS)..len).rev().find(|at| self.runs[*at].first <= index);
        let at = at.or_else(|| self.runs.partition_point(|run| run.first <= index).checked_sub(1));
        at.map(Place::Run)
    }

    /// The entry with this index; `None` if it is not here.
    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        match self.find(index)? {
            Place::Run(at) => self.runs[at].entries().get(count(index - self.runs[at].first)),
            Place::Open(at) => self.open.get(at),
        }
    }

    /// The entries from `first` on; none if that one is not here.
    pub(super) fn from(&self, first: u64) -> impl Iterator<Item = &Entry> {
        let (at, skipped, open) = match self.find(first) {
            Some(Place::Run(at)) => (at, count(first - self.runs[at].first), 0),
            Some(Place::Open(open)) => (self.runs.len(), 0, open),
            None => (self.runs.len(), 0, self.open.len()),
        };
        self.runs.range(at..).flat_map(Run::entries).skip(skipped).chain(&self.open[open..])
    }

    /// All entries.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.runs.iter().flat_map(Run::entries).chain(&self.open)
    }

    /// Entries from `first` on, as many as have `bytes` together, at least one if there is any, and at most `most`. If
    /// they are just a run, it is shared.
    pub(super) fn slice(&self, first: u64, most: usize, bytes: u64) -> Arc<[Entry]> {
        if let Some(Place::Run(at)) = self.find(first) {
            let run = &self.runs[at];
            let is_whole = run.first == first && run.len == run.shared.len();
            let fits = run.len <= most && (run.bytes <= bytes || run.len == 1);
            let another = || self.get(run.end()).is_some_and(|next| run.bytes.saturating_add(next.bytes()) <= bytes);
            if is_whole && fits && (run.len == most || !another()) {
                return Arc::clone(&run.shared);
            }
        }
        let mut sum: u64 = 0;
        let mut entries = Vec::new();
        for entry in self.from(first).take(most) {
            sum = sum.saturating_add(entry.bytes());
            if sum > bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        entries.into()
    }

    /// Bytes of the entries after `after` up to `through`, all of which are here.
    pub(super) fn bytes_between(&self, after: u64, through: u64) -> u64 {
        let (mut next, mut sum) = (after + 1, 0);
        while next <= through {
            match self.find(next).expect("it is here") {
                Place::Run(at) => {
                    let run = &self.runs[at];
                    let end = run.end().min(through + 1);
                    let is_whole = next == run.first && end == run.end();
                    let part = || bytes_of(&run.entries()[count(next - run.first)..count(end - run.first)]);
                    sum += if is_whole { run.bytes } else { part() };
                    next = end;
                }
                Place::Open(at) => {
                    sum += bytes_of(&self.open[at..=at + count(through - next)]);
                    next = through + 1;
                }
            }
        }
        sum
    }

    /// Adds an entry at the end.
    pub(super) fn push(&mut self, entry: Entry) {
        let bytes = entry.bytes();
        if self.open.len() == APPEND_ENTRIES_MAX || self.open_bytes + bytes > APPEND_BYTES_MAX {
            self.seal();
        }
        self.open_bytes += bytes;
        self.open.push(entry);
        self.end += 1;
    }

    /// Adds those that came together, but for the first `skipped` of them.
    pub(super) fn share(&mut self, entries: &Arc<[Entry]>, skipped: usize) {
        let new = &entries[skipped..];
        if new.is_empty() {
            return;
        }
        self.seal();
        let (first, bytes) = (self.end, bytes_of(new));
        self.end += new.len() as u64;
        self.runs.push_back(Run { first, shared: Arc::clone(entries), from: skipped, len: new.len(), bytes });
    }

    /// Makes a run of what was added one by one.
    pub(super) fn seal(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let (first, len, bytes) = (self.open_first(), self.open.len(), mem::take(&mut self.open_bytes));
        let shared = self.open.drain(..).collect();
        self.runs.push_back(Run { first, shared, from: 0, len, bytes });
    }

    /// Cuts everything from the index `end` on, which is not before the first entry.
    pub(super) fn truncate(&mut self, end: u64) {
        let kept = count(end.saturating_sub(self.open_first()));
        self.open.truncate(kept);
        self.open_bytes = bytes_of(&self.open);
        while self.runs.pop_back_if(|run| run.first >= end).is_some() {}
        if let Some(run) = self.runs.back_mut().filter(|run| run.end() > end) {
            run.keep(run.first, end);
        }
        self.end = self.end.min(end);
    }

    /// Forgets everything before the index `first`, which is not behind the end.
    pub(super) fn drop_before(&mut self, first: u64) {
        while self.runs.pop_front_if(|run| run.end() <= first).is_some() {}
        if let Some(run) = self.runs.front_mut().filter(|run| run.first < first) {
            run.keep(first, run.end());
        }
        let gone = count(first.saturating_sub(self.open_first()));
        self.open.drain(..gone);
        self.open_bytes = bytes_of(&self.open);
    }

    /// Asserts the invariant.
    pub(super) fn check(&self) {
        let follow = self.runs.iter().zip(self.runs.iter().skip(1)).all(|(run, next)| run.end() == next.first);
        assert!(follow, "runs follow each other");
        assert!(self.runs.back().is_none_or(|run| run.end() == self.open_first()), "what is open follows the last run");
        let counted = |run: &Run| run.len > 0 && run.bytes == bytes_of(run.entries());
        assert!(self.runs.iter().all(counted), "what runs have is counted, and none is empty");
        assert_eq!(self.open_bytes, bytes_of(&self.open), "what is open is counted");
    }
}

#[cfg(test)]
mod tests;
