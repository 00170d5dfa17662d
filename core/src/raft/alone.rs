//! A node that nobody else takes part with: a store of its own.
//!
//! The general rules hold for it too, but most of them ask nobody. What is durable here is on a majority, and no other
//! leader can ever replace it, so it is committed, also what an earlier start wrote. Such a node leads whenever it is
//! asked for something. A start that only reads therefore writes nothing; the first command brings along the term in
//! which it is written, in one write, and there is no empty entry: nobody has to be told (Ongaro 2014, section 3.6.2).

use alloc::vec::Vec;

use super::{Effect, Raft, Role, Vote};
use crate::time::Now;

impl Raft {
    /// Whether nobody else takes part, by the membership where the log begins and by no word after it, and nothing is
    /// in doubt (rule R2).
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.doubt.is_none() && self.log.is_of_one(&self.id)
    }

    /// Something is to be appended: whoever is alone leads from now on. Its vote is written before what is appended, and
    /// whatever is sent later waits for both. If a crash takes them, nobody has heard of the term, and the next start
    /// may lead it again.
    pub(super) fn lead_alone(&mut self, now: Now, out: &mut Vec<Effect>) {
        if matches!(self.role, Role::Leader(_)) || !self.is_alone() {
            return;
        }
        self.commit_alone();
        self.vote = Vote { term: self.vote.term + 1, candidate: Some(self.id) };
        self.vote_changed();
        self.begin_term(now, self.commit, out);
    }

    /// What is durable is committed. While it leads, by the general rule.
    pub(super) fn commit_alone(&mut self) {
        if !matches!(self.role, Role::Leader(_)) && self.is_alone() {
            self.advance(self.log.durable());
        }
    }
}
