//! Linearizable reads without the log (ReadIndex; Ongaro 2014, section 6.4).
//!
//! A read may be served once two things are known: that this node still led after the read came, which a round of
//! heartbeats shows that a majority answers; and what was committed then, which only a leader that has committed an
//! entry of its own term can say. All reads of a turn share a round, and rounds have numbers that are never used
//! twice in a term.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;

use super::message::Body;
use super::{Effect, Raft, Reason, Refusal, Role, quorum, reject};
use crate::id::NodeId;
use crate::limits::READS_MAX;
use crate::time::{Instant, Now};

/// Who wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// A caller of this node.
    Local(u64),
    /// A caller of a follower, and which start of that it is.
    Remote(NodeId, u64, u64),
}

/// The reads that a leader has not confirmed.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Those for which no round was begun.
    new: Vec<Reader>,
    /// Those that wait for a round, by its number, with what was committed when it began.
    waiting: VecDeque<(u64, u64, Vec<Reader>)>,
    /// The last round.
    round: u64,
    count: usize,
}

impl Reads {
    /// The last round that was begun.
    pub(super) const fn round(&self) -> u64 {
        self.round
    }

    /// Reads that are not confirmed.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Whether reads wait for the next round.
    pub(super) fn want_round(&self) -> bool {
        self.waiting.back().is_some_and(|(round, ..)| *round == self.round + 1)
    }

    /// Begins a round.
    pub(super) const fn begin_round(&mut self) {
        self.round += 1;
    }

    /// Nobody can confirm them any more.
    pub(super) fn refuse(self, out: &mut Vec<Effect>) {
        let waiting = self.waiting.into_iter().flat_map(|(_, _, readers)| readers);
        for reader in waiting.chain(self.new) {
            // A follower hears of the new term, or gives up.
            if let Reader::Local(ticket) = reader {
                out.push(Effect::Readable { ticket, result: Err(Refusal::Unconfirmed) });
            }
        }
    }
}

/// The reads that a follower has asked its leader for.
#[derive(Debug, Default)]
pub(super) struct Forwarded {
    /// By the number that the leader echoes, which is never used twice in an incarnation; with when it is given up.
    /// Later numbers are given up later.
    tickets: BTreeMap<u64, (u64, Instant)>,
    last: u64,
}

impl Forwarded {
    /// Reads that were not answered.
    pub(super) fn len(&self) -> usize {
        self.tickets.len()
    }

    /// The leader is gone.
    pub(super) fn refuse(&mut self, out: &mut Vec<Effect>) {
        for (ticket, _) in mem::take(&mut self.tickets).into_values() {
            out.push(Effect::Readable { ticket, result: Err(Refusal::Unconfirmed) });
        }
    }

    /// Question or answer was lost: whoever wants to read may ask again.
    pub(super) fn expire(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(first) = self.tickets.first_entry().filter(|first| first.get().1 <= now.mono) {
            let (ticket, _) = first.remove();
            out.push(Effect::Readable { ticket, result: Err(Refusal::Unconfirmed) });
        }
    }

    /// When the next is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.tickets.first_key_value().map(|(_, (_, at))| *at)
    }
}

impl Raft {
    /// Somebody here wants to read.
    pub(super) fn read(&mut self, now: Now, ticket: u64, out: &mut Vec<Effect>) {
        match self.role {
            Role::Follower { .. } if self.is_alone() => {
                self.commit_alone();
                out.push(Effect::Readable { ticket, result: Ok(self.commit) });
            }
            Role::Leader(_) => {
                if !self.want_to_read(Reader::Local(ticket)) {
                    out.push(Effect::Readable { ticket, result: Err(Refusal::Busy) });
                }
            }
            Role::Follower { leader: Some(leader) } if self.forwarded.tickets.len() < READS_MAX => {
                self.forwarded.last += 1;
                let number = self.forwarded.last;
                let give_up_at = now.mono + self.settings.election_timeout_max;
                self.forwarded.tickets.insert(number, (ticket, give_up_at));
                self.send(leader, Body::Read { ticket: number }, 0, out);
            }
            Role::Follower { leader: Some(_) } => {
                out.push(Effect::Readable { ticket, result: Err(Refusal::Busy) });
            }
            Role::Follower { leader: None } | Role::PreCandidate(_) | Role::Candidate(_) => {
                out.push(Effect::Readable { ticket, result: Err(self.not_leader()) });
            }
        }
    }

    /// A follower wants to read.
    pub(super) fn read_for(&mut self, from: NodeId, asker: u64, ticket: u64, out: &mut Vec<Effect>) {
        if self.is_leader() && !self.membership().is_member(&from) {
            return reject(from, Reason::NoVoter, out);
        }
        if !self.want_to_read(Reader::Remote(from, asker, ticket)) {
            self.send(from, Body::ReadReply { asker, ticket, index: None }, 0, out);
        }
    }

    /// The leader has an answer.
    pub(super) fn read_answered(&mut self, from: NodeId, ticket: u64, index: Option<u64>, out: &mut Vec<Effect>) {
        let asked = if self.leader() == Some(from) { self.forwarded.tickets.remove(&ticket) } else { None };
        match asked {
            Some((ticket, _)) => out.push(Effect::Readable { ticket, result: index.ok_or(Refusal::Unconfirmed) }),
            None => reject(from, Reason::Unasked, out),
        }
    }

    fn want_to_read(&mut self, reader: Reader) -> bool {
        let Role::Leader(leader) = &mut self.role else { return false };
        let reads = &mut leader.reads;
        if reads.count == READS_MAX {
            return false;
        }
        reads.count += 1;
        reads.new.push(reader);
        true
    }

    /// Gives new reads a round once it is known what is committed.
    pub(super) fn admit_reads(&mut self) {
        let commit = self.commit;
        let Role::Leader(leader) = &mut self.role else { return };
        let reads = &mut leader.reads;
        if commit < leader.first || reads.new.is_empty() {
            return;
        }
        reads.waiting.push_back((reads.round + 1, commit, mem::take(&mut reads.new)));
    }

    /// Answers the reads whose round a majority has answered.
    pub(super) fn confirm_reads(&mut self, out: &mut Vec<Effect>) {
        let id = self.id;
        let membership = self.log.membership().1;
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.reads.waiting.is_empty() {
            return;
        }
        let round = leader.reads.round;
        let answered = |node: &NodeId| {
            if *node == id { round } else { leader.progress.get(node).map_or(0, |progress| progress.round) }
        };
        let confirmed = quorum::reached(membership, answered);
        let mut answers = Vec::new();
        while let Some((_, index, readers)) = leader.reads.waiting.pop_front_if(|(round, ..)| *round <= confirmed) {
            leader.reads.count -= readers.len();
            answers.extend(readers.into_iter().map(|reader| (reader, index)));
        }
        for (reader, index) in answers {
            match reader {
                Reader::Local(ticket) => out.push(Effect::Readable { ticket, result: Ok(index) }),
                Reader::Remote(node, asker, ticket) => {
                    self.send(node, Body::ReadReply { asker, ticket, index: Some(index) }, 0, out);
                }
            }
        }
    }
}
