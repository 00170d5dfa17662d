//! Where the terms of a log begin, so that its last entry is known wherever it is cut.

use alloc::collections::VecDeque;

use crate::raft::entry::Position;

/// The terms of a log. Grows with the terms in it.
///
/// Invariant: there is at least one; both indexes and terms ascend.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// The first entry of each term, or the base.
    firsts: VecDeque<Position>,
    last: u64,
}

impl Terms {
    /// Of an empty log after `base`.
    pub(super) fn new(base: Position) -> Self {
        Self { firsts: [base].into(), last: base.index }
    }

    /// The last entry.
    pub(super) fn last(&self) -> Position {
        let term = self.firsts.back().expect("there is a term").term;
        Position { term, index: self.last }
    }

    /// An entry follows, or replaces what was there.
    pub(super) fn push(&mut self, position: Position) {
        if position.index <= self.last {
            self.cut(position.index - 1);
        }
        if self.last().term != position.term {
            self.firsts.push_back(position);
        }
        self.last = position.index;
    }

    /// Everything after `index` goes, but for the base.
    pub(super) fn cut(&mut self, index: u64) {
        while self.firsts.len() > 1 && self.firsts.back().is_some_and(|first| first.index > index) {
            self.firsts.pop_back();
        }
        let base = self.firsts.front().expect("there is a term").index;
        self.last = self.last.min(index.max(base));
    }

    /// Everything up to `base` goes.
    pub(super) fn begin_after(&mut self, base: Position) {
        if base.index >= self.last {
            *self = Self::new(base);
            return;
        }
        while self.firsts.front().is_some_and(|first| first.index <= base.index) {
            self.firsts.pop_front();
        }
        self.firsts.push_front(base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(term: u64, index: u64) -> Position {
        Position { term, index }
    }

    #[test]
    fn the_last_entry_is_known_after_every_cut() {
        let mut terms = Terms::new(position(1, 3));
        for (term, index) in [(1, 4), (2, 5), (2, 6), (5, 7)] {
            terms.push(position(term, index));
            assert_eq!(terms.last(), position(term, index));
        }
        let mut shorter = terms.clone();
        let seen: [Position; 6] = core::array::from_fn(|step| {
            shorter.cut(8 - step as u64);
            shorter.last()
        });
        assert_eq!(seen, [(5, 7), (5, 7), (2, 6), (2, 5), (1, 4), (1, 3)].map(|(term, index)| position(term, index)));
        terms.begin_after(position(2, 5));
        terms.cut(6);
        assert_eq!(terms.last(), position(2, 6));
        terms.cut(0);
        assert_eq!(terms.last(), position(2, 5), "a base is not cut");
        terms.begin_after(position(9, 40));
        assert_eq!(terms.last(), position(9, 40));
    }
}
