//! Replication (Ongaro 2014, section 3.5), commitment (3.6.2), and pipelining (10.2.1).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::entry::{Entry, Payload, Position};
use super::message::{Appended, Body};
use super::progress::Progress;
use super::{Effect, Note, Raft, Reason, Role, quorum, reject};
use crate::id::NodeId;
use crate::time::Now;

/// Whose answer it is, to what, and whether it may be counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answering {
    pub(super) from: NodeId,
    pub(super) incarnation: u64,
    pub(super) session: u64,
    pub(super) counts: bool,
}

impl Raft {
    /// Appends an entry of this term to the leader's log.
    pub(super) fn push(&mut self, payload: Payload) -> Position {
        let position = Position { term: self.vote.term, index: self.log.last().index + 1 };
        let entry = Entry { position, payload };
        let Role::Leader(leader) = &mut self.role else { panic!("only a leader appends of its own") };
        leader.uncommitted_bytes += entry.bytes();
        self.log.push(entry);
        self.entries_pushed(position.index);
        position
    }

    /// Sends what followers lack, and heartbeats if they are due.
    pub(super) fn replicate(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.admit_reads();
        let Role::Leader(leader) = &mut self.role else { return };
        let beats = leader.heartbeat_at <= now.mono || leader.reads.want_round();
        if beats {
            leader.reads.begin_round();
            leader.heartbeat_at = now.mono + self.settings.heartbeat_interval;
        }
        let (round, followers) = (leader.reads.round(), leader.progress.len());
        for at in 0..followers {
            self.replicate_to(at, beats, round, out);
        }
        self.confirm_reads(out);
        self.hand_over(out);
    }

    /// Sends what one follower lacks, with a heartbeat before it if `beats`.
    fn replicate_to(&mut self, at: usize, beats: bool, round: u64, out: &mut Vec<Effect>) {
        let (in_flight_max, last) = (self.settings.in_flight_max, self.log.last().index);
        let Role::Leader(leader) = &mut self.role else { panic!("only a leader replicates") };
        let (follower, progress) = leader.progress.at(at);
        let lacks = progress.asks() || progress.is_open(in_flight_max) && progress.next <= last;
        if beats {
            let (session, commit) = (progress.session, progress.matched.min(self.commit));
            self.send(follower, Body::Heartbeat { session, commit, round }, 0, out);
        }
        if lacks {
            self.send_entries(follower, round, out);
        }
    }

    /// What is known of a follower; `None` for a stranger, and at a node that does not lead.
    pub(super) fn progress(&mut self, node: &NodeId) -> Option<&mut Progress> {
        match &mut self.role {
            Role::Leader(leader) => leader.progress.get_mut(node),
            Role::Follower { .. } | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    /// Sends as much as may be on its way.
    fn send_entries(&mut self, to: NodeId, round: u64, out: &mut Vec<Effect>) {
        let (settings, last, commit) = (self.settings, self.log.last().index, self.commit);
        loop {
            let Some(progress) = self.progress(&to) else { return };
            let (asks, open) = (progress.asks(), progress.is_open(settings.in_flight_max));
            if !asks && (!open || progress.next > last) {
                return;
            }
            let (session, first) = (progress.session, progress.next);
            let Some(term) = self.log.term(first - 1) else { return self.offer_snapshot(to, round, out) };
            let prev = Position { term, index: first - 1 };
            let count = if open { settings.append_entries_max } else { 0 };
            let entries = self.log.slice(first, count, settings.append_bytes_max);
            let sent = entries.last().map(|entry| entry.position.index);
            self.progress(&to).expect("it was there").sent(sent, round);
            self.send(to, Body::Append { session, prev, entries, commit }, 0, out);
        }
    }

    /// Offers the newest snapshot to a follower that lacks what the log has no more.
    fn offer_snapshot(&mut self, to: NodeId, round: u64, out: &mut Vec<Effect>) {
        let snapshot = self.snapshot.clone().expect("what the log has no more is in a snapshot");
        let progress = self.progress(&to).expect("it was there");
        if progress.offers(round) {
            let session = progress.session;
            self.send(to, Body::Install { session, snapshot: Box::new(snapshot) }, 0, out);
        }
    }

    /// Entries of the leader came in, under the number that its answer is to echo.
    pub(super) fn append(
        &mut self,
        now: Now,
        (from, session): (NodeId, u64),
        prev: Position,
        entries: &Arc<[Entry]>,
        commit: u64,
        out: &mut Vec<Effect>,
    ) {
        if !follow_each_other(prev, entries, self.vote.term) {
            return reject(from, Reason::MalformedEntries, out);
        }
        // What is before the base of the log is committed, and so it is the leader's as well.
        let meets = prev.index < self.log.base().index || self.log.has(prev);
        if !meets {
            let hint = self.log.meet(prev).unwrap_or(self.log.base());
            let result = Appended::Conflict { prev: prev.index, hint };
            return self.send_result(now, from, session, result, 0, out);
        }
        let matched = entries.last().map_or(prev.index, |entry| entry.position.index);
        if !self.take(from, entries, out) {
            return;
        }
        // Nothing is said of what follows `matched` here: it may be of another leader.
        self.advance(commit.min(matched));
        let write = self.write_of(matched);
        self.send_result(now, from, session, Appended::Matched { index: matched }, write, out);
    }

    /// Answers an append, or a snapshot.
    pub(super) fn send_result(
        &mut self,
        now: Now,
        to: NodeId,
        session: u64,
        result: Appended,
        write: u64,
        out: &mut Vec<Effect>,
    ) {
        let (counts, clock) = (self.counts(), now.wall.as_nanos());
        self.send(to, Body::AppendReply { session, result, counts, clock }, write, out);
    }

    /// Takes entries that follow what both logs have. What conflicts with them goes, and nothing else does: a message
    /// that is late must not cut what later ones brought. Returns whether they could be taken.
    fn take(&mut self, from: NodeId, entries: &Arc<[Entry]>, out: &mut Vec<Effect>) -> bool {
        let base = self.log.base().index;
        if entries.iter().any(|entry| entry.position.index == base && !self.log.has(entry.position)) {
            reject(from, Reason::AgainstCommitted, out);
            return false;
        }
        let mut new = entries.iter().filter(|entry| entry.position.index > base).peekable();
        while new.next_if(|entry| self.log.has(entry.position)).is_some() {}
        let Some(first) = new.peek().map(|entry| entry.position.index) else { return true };
        if first <= self.commit {
            reject(from, Reason::AgainstCommitted, out);
            return false;
        }
        if first <= self.log.last().index {
            self.log.truncate(first - 1);
            self.log_truncated(first - 1);
            out.push(Effect::Note(Note::Truncated { after: self.log.last() }));
        }
        let skipped = entries.len() - new.count();
        self.log.share(entries, skipped);
        self.entries_pushed(first);
        true
    }

    /// A follower that has started again, or answers another session, is asked from the beginning. Returns whether
    /// this answer is looked at.
    fn is_in_session(&mut self, now: Now, answer: Answering, out: &mut Vec<Effect>) -> bool {
        let Answering { from, incarnation, session, counts } = answer;
        let last = self.log.last().index;
        let Role::Leader(leader) = &mut self.role else { return false };
        let Some(progress) = leader.progress.get_mut(&from) else {
            reject(from, Reason::Unasked, out);
            return false;
        };
        if progress.session != session {
            return false;
        }
        if *progress.incarnation.get_or_insert(incarnation) != incarnation {
            leader.sessions += 1;
            *progress = Progress::new(leader.sessions, last);
            return false;
        }
        progress.heard |= counts;
        if counts && !progress.counts {
            progress.counts = true;
            if progress.matched > self.commit {
                self.commit_what_is_replicated(now, out);
            }
        }
        // The membership may have changed by that, and who leads with it.
        self.progress(&from).is_some()
    }

    /// A follower has started again and may have lost what it said before: nothing of that is counted any more.
    pub(super) fn forget_earlier_start(&mut self, from: NodeId, incarnation: u64) {
        let last = self.log.last().index;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.progress.get_mut(&from) else { return };
        if progress.incarnation.is_some_and(|known| known != incarnation) {
            leader.sessions += 1;
            *progress = Progress::new(leader.sessions, last);
        }
    }

    /// A follower answers an append.
    pub(super) fn appended(&mut self, now: Now, answer: Answering, result: Appended, out: &mut Vec<Effect>) {
        let (from, last) = (answer.from, self.log.last().index);
        if !self.is_in_session(now, answer, out) {
            return;
        }
        match result {
            Appended::Matched { index } => {
                if index > last {
                    return reject(from, Reason::Unasked, out);
                }
                if self.progress(&from).expect("it is in session").has(index) {
                    self.commit_what_is_replicated(now, out);
                }
            }
            Appended::Conflict { prev, .. } if prev > last => reject(from, Reason::Unasked, out),
            Appended::Conflict { prev, hint } => {
                // If they meet nowhere in what this log still has, only a snapshot helps.
                let before = self.log.base().index.saturating_sub(1);
                let meet = self.log.meet(hint).map_or(before, |meet| meet.index);
                self.progress(&from).expect("it is in session").conflicts(prev, meet);
            }
        }
    }

    /// A follower answers a heartbeat.
    pub(super) fn heard(&mut self, now: Now, answer: Answering, round: u64, out: &mut Vec<Effect>) {
        if !self.is_in_session(now, answer, out) {
            return;
        }
        let last = self.log.last().index;
        let begun = if let Role::Leader(leader) = &self.role { leader.reads.round() } else { 0 };
        if round > begun {
            return reject(answer.from, Reason::Unasked, out);
        }
        let progress = self.progress(&answer.from).expect("it is in session");
        if answer.counts {
            progress.round = progress.round.max(round);
        }
        if progress.matched < last {
            progress.answered(round);
        }
    }

    /// Commits what a majority has, if it is of this term: entries of older ones are committed with it (section 3.6.2).
    pub(super) fn commit_what_is_replicated(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.commit == self.log.last().index {
            return;
        }
        let (id, durable) = (self.id, self.log.durable());
        let Role::Leader(leader) = &self.role else { return };
        let has = |node: &NodeId| {
            if *node == id { durable } else { leader.progress.get(node).map_or(0, Progress::counted) }
        };
        let reached = quorum::reached(self.log.membership().1, has);
        if reached > self.commit && self.log.term(reached) == Some(self.vote.term) {
            let bytes: u64 = self.log.bytes_between(self.commit, reached);
            if let Role::Leader(leader) = &mut self.role {
                leader.uncommitted_bytes -= bytes;
            }
            self.advance(reached);
            self.membership_committed(now, out);
        }
    }
}

/// Whether entries are dense after `prev` and their terms never fall nor go beyond that of their sender.
fn follow_each_other(prev: Position, entries: &[Entry], term: u64) -> bool {
    let mut before = prev;
    entries.iter().all(|entry| {
        let Position { term: of, index } = entry.position;
        let follows = before.index.checked_add(1) == Some(index) && of >= before.term && of <= term;
        before = entry.position;
        follows
    })
}
