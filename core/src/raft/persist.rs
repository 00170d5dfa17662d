//! Persist before send: what is to be written at the end of the turn, and what waits for it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::message::{Body, Message};
use super::{Base, Cut, Effect, Raft, Role, Write};
use crate::id::NodeId;
use crate::limits::WITHHELD_MAX;
use crate::time::Now;

/// Writes and the messages that rely on them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The last write that was issued.
    issued: u64,
    /// The last one that is durable.
    persisted: u64,
    /// Whether the next write has a term and vote.
    vote: bool,
    /// Whether the next write says where the log begins.
    base: bool,
    /// What the next write cuts the log to.
    truncate_after: Option<u64>,
    /// The index of the first entry of the next write.
    first: Option<u64>,
    /// The write that makes the present term and vote durable.
    vote_write: u64,
    /// Messages with the write that each waits for, in the order in which they were made.
    withheld: Vec<(u64, Message)>,
}

impl Outbox {
    /// The number of the write that ends this turn.
    const fn next(&self) -> u64 {
        self.issued + 1
    }

    /// Messages that wait.
    pub(super) const fn withheld(&self) -> usize {
        self.withheld.len()
    }

    pub(super) fn check(&self) {
        assert!(self.persisted <= self.issued, "what is durable was issued");
        let waits = |(write, _): &(u64, Message)| *write > self.persisted && *write <= self.next();
        assert!(self.withheld.iter().all(waits), "messages wait for writes that are under way");
        assert!(self.withheld.len() <= WITHHELD_MAX, "what waits has a bound");
    }
}

impl Raft {
    /// The term or the vote has changed.
    pub(super) fn vote_changed(&mut self) {
        self.outbox.vote = true;
        self.outbox.vote_write = self.outbox.next();
    }

    /// Whether the present term and vote are durable.
    pub(super) const fn is_vote_durable(&self) -> bool {
        self.outbox.vote_write <= self.outbox.persisted
    }

    /// The entries of the log from `first` on are new.
    pub(super) fn entries_pushed(&mut self, first: u64) {
        self.outbox.first.get_or_insert(first);
    }

    /// Everything after `index` was cut.
    pub(super) fn log_truncated(&mut self, index: u64) {
        let outbox = &mut self.outbox;
        let written = outbox.first.is_none_or(|first| first > index + 1);
        outbox.first = outbox.first.filter(|first| *first <= index);
        if written {
            outbox.truncate_after = Some(outbox.truncate_after.map_or(index, |after| after.min(index)));
        }
    }

    /// The log begins somewhere else. With `cleared`, nothing is left of what it was.
    pub(super) fn log_rebased(&mut self, cleared: bool) {
        let (base, last) = (self.log.base().index, self.log.last().index);
        let outbox = &mut self.outbox;
        outbox.base = true;
        if cleared {
            outbox.first = None;
            outbox.truncate_after = Some(base);
        } else {
            outbox.first = outbox.first.map(|first| first.max(base + 1)).filter(|first| *first <= last);
            outbox.truncate_after = outbox.truncate_after.map(|after| after.max(base));
        }
    }

    /// The write after which the entry with this index is durable.
    pub(super) fn write_of(&self, index: u64) -> u64 {
        match self.outbox.first {
            Some(first) if index >= first => self.outbox.next(),
            Some(_) | None => self.log.write_of(index),
        }
    }

    /// Sends a message once the term and `write` are durable.
    pub(super) fn send(&mut self, to: NodeId, body: Body, write: u64, out: &mut Vec<Effect>) {
        self.send_in(self.vote.term, to, body, write, out);
    }

    /// The same with another term than the present one, for pre-votes.
    pub(super) fn send_in(&mut self, term: u64, to: NodeId, body: Body, write: u64, out: &mut Vec<Effect>) {
        let message = Message { from: self.id, incarnation: self.incarnation, to, term, body };
        let outbox = &mut self.outbox;
        let write = write.max(outbox.vote_write);
        if write <= outbox.persisted {
            return out.push(Effect::Send(message));
        }
        // Messages may be lost, so one more than the bound is.
        if outbox.withheld.len() < WITHHELD_MAX {
            outbox.withheld.push((write, message));
        }
    }

    /// Issues what this turn has to write.
    pub(super) fn write(&mut self, out: &mut Vec<Effect>) {
        let outbox = &mut self.outbox;
        if !outbox.vote && !outbox.base && outbox.truncate_after.is_none() && outbox.first.is_none() {
            return;
        }
        let number = outbox.next();
        let vote = mem::take(&mut outbox.vote).then_some(self.vote);
        let base = mem::take(&mut outbox.base).then(|| {
            let (position, membership) = (self.log.base(), Arc::clone(self.log.first_membership()));
            Base { position, membership }
        });
        let cut = outbox.truncate_after.take().map(|after| Cut { after, term: self.vote.term });
        let first = outbox.first.take();
        let entries = first.map_or_else(|| Arc::from([]), |first| self.log.slice(first, usize::MAX, u64::MAX));
        outbox.issued = number;
        self.log.written(number);
        out.push(Effect::Persist(Write { number, vote, base, cut, entries }));
    }

    /// Everything up to this write is durable: what waited for it goes out.
    ///
    /// # Panics
    /// When it was never issued.
    pub(super) fn persisted(&mut self, now: Now, write: u64, out: &mut Vec<Effect>) {
        assert!(write <= self.outbox.issued, "a completion belongs to a write that was issued");
        if write <= self.outbox.persisted {
            return;
        }
        self.outbox.persisted = write;
        self.log.persisted(write);
        let released = self.outbox.withheld.extract_if(.., |(awaited, _)| *awaited <= write);
        out.extend(released.map(|(_, message)| Effect::Send(message)));
        match self.role {
            Role::Candidate(_) => self.vote_for_itself(now, out),
            Role::Leader(_) => self.commit_what_is_replicated(now, out),
            Role::Follower { .. } | Role::PreCandidate(_) => {}
        }
    }
}
