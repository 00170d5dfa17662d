//! Rule R2: a start that does not know what it has lost, and when that does not matter any more.
//!
//! A node may have lost the last entries that it acknowledged, and a newer term with its vote in it. It follows
//! leaders and takes entries all the same, but neither votes nor stands for election. Fewer than a quorum lose
//! anything at one time: each entry that was committed is still with somebody who has acknowledged it and lost nothing.
//!
//! *A lost vote.* Say that n2 leads term 6 by the vote of n3, and n3 has lost that. n1 still leads term 5, and n3
//! takes its entries. Counted, its answers would commit them behind the back of n2, which lacks them; and n3 might
//! vote in term 6 once more. No leader can tell that there is no such n2, only every voter. So until all have said
//! what their terms are, answers to leaders say that they do not count ([`Body::AppendReply`]). Whoever could lead by
//! a vote that was lost has that term on its disk, since candidates ask only then. So the largest term of all is
//! taken for one that this node has voted in, before anything else is said: smaller ones are over for it, and in this
//! one it votes for nobody.
//!
//! *A lost entry.* Votes by a log that is too short would elect a leader that lacks what this node has acknowledged.
//! There are two ways out. (a) A leader of a newer term than any that the node may have acknowledged in has put an
//! entry of this term into its log: this leader has all that was committed before, and the node has what the leader
//! has up to there. That its election needed the votes of no doubtful node is by induction true of several of them as
//! well: each voted only when it was settled, so that its vote was as good as that of a node that never lost
//! anything. An entry of the *same* term says nothing: more of that term may have been acknowledged. (b) All voters
//! have said where their logs end. This is asked twice. By the first question each of them learns of this start, and
//! a leader counts nothing any more that an earlier one has acknowledged. So what was committed by that is committed
//! when all have answered, and durable with somebody who lost nothing and answers the second question. Whoever has a
//! log at least as long as the longest answer therefore has it (Ongaro 2014, section 3.6.3, with an answer in place
//! of a vote): such logs may be elected, this node's own one included, and once its own one is durable that far,
//! nothing is in doubt any more.
//!
//! An answer is worth the same if whoever gives it is in doubt, too: it says what is there. If all lost something at
//! once (the power of all voters is cut), the longest of the logs is as good as any, and lacks only what a quorum has
//! lost. What a node with an empty log has lost is all of it, and nothing else is different.
//!
//! Who has to answer is said by the membership in force, and by any that an answer knows and that may be newer.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::election::patience;
use super::entry::Position;
use super::membership::Membership;
use super::message::Body;
use super::{Effect, Note, Raft, Reason, Vote, reject};
use crate::id::NodeId;
use crate::time::{Instant, Now};

/// What a log may have lost behind its last whole entry without anybody knowing (rule R2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Doubt {
    /// The last whole entry.
    pub last: Position,
    /// The largest term seen.
    pub term: u64,
}

/// Why a doubt does not matter any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// A leader has put entries of its term in the place of whatever was lost.
    Leader {
        /// Its term.
        term: u64,
    },
    /// Every voter has said what it has.
    Survey {
        /// The longest log of all.
        longest: Position,
        /// The largest term of all.
        term: u64,
        /// How many of the others were in doubt as well.
        doubtful: usize,
    },
    /// An operator said so.
    Operator,
}

impl fmt::Display for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader { term } => write!(f, "it has entries of the leader of term {term}"),
            Self::Survey { longest, term, doubtful: 0 } => {
                write!(f, "of all voters the longest log ends with {longest}, and the largest term is {term}")
            }
            Self::Survey { longest, term, doubtful } => write!(
                f,
                "of all voters, {doubtful} others in doubt, the longest log ends with {longest}, and the largest term is {term}"
            ),
            Self::Operator => f.write_str("an operator said so"),
        }
    }
}

/// What a voter has said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) term: u64,
    pub(super) last: Position,
    pub(super) doubtful: bool,
    pub(super) since: u64,
    pub(super) membership: Arc<Membership>,
}

/// What is open since the start.
#[derive(Debug)]
pub(super) struct Open {
    /// The largest term in which entries may have been acknowledged and lost.
    seen: u64,
    /// Whether a term with a vote may be lost.
    vote: bool,
    /// Only logs at least as long may be elected; `None` until that is known.
    floor: Option<Position>,
    /// Which question is asked: 0 before the first, 1 so that all learn of this start, 2 for what they have.
    round: u64,
    /// What was answered to it.
    answers: BTreeMap<NodeId, Answer>,
    /// When it is asked again, unless all have answered.
    asks_at: Option<Instant>,
}

/// The question whose answers count.
const LAST_ROUND: u64 = 2;

impl Open {
    /// What a start is in doubt of, if anything. Whoever may have lost a vote may have lost entries before it.
    pub(super) fn new(doubt: Option<Doubt>, vote: Vote, vote_certain: bool, now: Now) -> Option<Self> {
        if doubt.is_none() && vote_certain {
            return None;
        }
        Some(Self {
            seen: doubt.map_or(vote.term, |doubt| doubt.term.max(vote.term)),
            vote: !vote_certain,
            floor: None,
            round: 0,
            answers: BTreeMap::new(),
            asks_at: Some(now.mono),
        })
    }

    /// When it is asked again.
    pub(super) const fn asks_at(&self) -> Option<Instant> {
        self.asks_at
    }
}

impl Raft {
    /// Whether it votes for nobody, since what it may have lost is not settled.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.elects_from().is_none()
    }

    /// The end of the shortest log that it would elect, as far as it is for its doubt; `None` if it votes for nobody. Where
    /// nobody who is left has such a log, what is missing may have been committed, and the group stands still.
    #[must_use]
    pub fn elects_from(&self) -> Option<Position> {
        match &self.doubt {
            None => Some(Position::ZERO),
            Some(open) => open.floor.filter(|_| !open.vote),
        }
    }

    /// Whether whoever has a log that ends there may be elected, as far as it is for this node's doubt.
    pub(super) fn may_elect(&self, last: Position) -> bool {
        self.elects_from().is_some_and(|floor| last >= floor)
    }

    /// Whether its answers to leaders may be counted.
    pub(super) fn counts(&self) -> bool {
        self.doubt.as_ref().is_none_or(|open| !open.vote)
    }

    /// Asks whoever has not answered, if that is due. Patience with leaders says nothing of when: they are heard all
    /// the time.
    pub(super) fn survey(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(open) = &mut self.doubt else { return };
        if open.asks_at.is_none_or(|at| at > now.mono) {
            return;
        }
        if open.round == 0 {
            open.round = 1;
            out.push(Effect::Note(Note::Doubtful { last: self.log.last() }));
        }
        open.asks_at = Some(now.mono + patience(&self.settings, &mut self.rng));
        self.ask_whoever_is_silent(out);
        self.count_answers(now, out);
    }

    fn ask_whoever_is_silent(&mut self, out: &mut Vec<Effect>) {
        let Some(open) = &self.doubt else { return };
        let round = open.round;
        let mut silent = self.surveyed();
        silent.retain(|voter| !open.answers.contains_key(voter));
        for voter in silent {
            self.send(voter, Body::Survey { round }, 0, out);
        }
    }

    /// Whose answers are needed.
    fn surveyed(&self) -> BTreeSet<NodeId> {
        let (index, own) = self.log.membership();
        let answers = self.doubt.iter().flat_map(|open| open.answers.values());
        let newer = answers.filter(|answer| answer.since >= index).map(|answer| &answer.membership);
        let voters = newer.chain([own]).flat_map(|membership| membership.voters().iter().chain(membership.outgoing()));
        voters.copied().filter(|voter| *voter != self.id).collect()
    }

    /// Somebody wants to know what is here. Its term says nothing and is not looked at: whoever has lost its term
    /// would not be answered otherwise, and whoever is ahead of all would disturb a leader by asking.
    pub(super) fn answer_survey(&mut self, from: NodeId, asker: u64, round: u64, out: &mut Vec<Effect>) {
        self.forget_earlier_start(from, asker);
        let (since, membership) = self.log.membership();
        let (last, doubtful, membership) = (self.log.last_durable(), self.doubt.is_some(), Arc::clone(membership));
        self.send(from, Body::SurveyReply { asker, round, last, doubtful, since, membership }, 0, out);
    }

    /// A voter says what it has.
    pub(super) fn survey_answered(
        &mut self,
        now: Now,
        from: NodeId,
        round: u64,
        answer: Answer,
        out: &mut Vec<Effect>,
    ) {
        let is_asked = self.surveyed().contains(&from);
        let waits = self.doubt.as_ref().is_some_and(|open| round == open.round && open.asks_at.is_some());
        let Some(open) = self.doubt.as_mut().filter(|_| waits && is_asked) else {
            return reject(from, Reason::Unasked, out);
        };
        open.answers.insert(from, answer);
        self.count_answers(now, out);
    }

    /// A voter has started again: what it said may not be true any more, and it is asked anew.
    pub(super) fn started_again(&mut self, now: Now, voter: NodeId) {
        if let Some(open) = &mut self.doubt
            && open.answers.remove(&voter).is_some()
        {
            open.asks_at = Some(now.mono);
        }
    }

    /// Goes on to the last question, or is settled, once all have answered.
    fn count_answers(&mut self, now: Now, out: &mut Vec<Effect>) {
        loop {
            let surveyed = self.surveyed();
            let Some(open) = &mut self.doubt else { return };
            if !surveyed.iter().all(|voter| open.answers.contains_key(voter)) {
                return;
            }
            if open.round == LAST_ROUND {
                return self.surveyed_all(now, out);
            }
            open.round += 1;
            open.answers.clear();
            self.ask_whoever_is_silent(out);
        }
    }

    /// All have answered.
    fn surveyed_all(&mut self, now: Now, out: &mut Vec<Effect>) {
        let (own, own_term) = (self.log.last_durable(), self.vote.term);
        let open = self.doubt.as_mut().expect("a question was asked");
        let longest = open.answers.values().map(|answer| answer.last).max().unwrap_or(own).max(own);
        let term = open.answers.values().map(|answer| answer.term).max().unwrap_or(0).max(own_term);
        let doubtful = open.answers.values().filter(|answer| answer.doubtful).count();
        open.asks_at = None;
        let again = open.floor.replace(longest).is_some();
        self.believe_vote(now, term, out);
        if !again {
            let how = Settlement::Survey { longest, term, doubtful };
            out.push(Effect::Note(Note::Settled { how }));
        }
    }

    /// No vote was lost of a newer term than this one. In this one there was a vote, whoever got it.
    fn believe_vote(&mut self, now: Now, term: u64, out: &mut Vec<Effect>) {
        let open = self.doubt.as_mut().expect("it is in doubt");
        if !open.vote {
            return;
        }
        open.vote = false;
        open.seen = open.seen.max(term);
        if term > self.vote.term {
            self.follow(now, term, None, out);
        }
        if self.vote.candidate.is_none() {
            // Nobody else gets it. It does not count for this node either, which is no candidate of this term.
            self.vote.candidate = Some(self.id);
            self.vote_changed();
        }
    }

    /// An operator vouches for this node.
    pub(super) fn settled_by_operator(&mut self, now: Now, index: u64, out: &mut Vec<Effect>) {
        let last = self.log.last();
        match &mut self.doubt {
            Some(open) if index == last.index => {
                open.floor = Some(last);
                open.asks_at = None;
                open.answers.clear();
                self.believe_vote(now, self.vote.term, out);
                out.push(Effect::Note(Note::Settled { how: Settlement::Operator }));
            }
            Some(_) | None => out.push(Effect::Note(Note::NotSettled { index, last })),
        }
    }

    /// Says so once what settled the doubt is durable: a start would know of it.
    pub(super) fn look_whether_settled(&mut self, out: &mut Vec<Effect>) {
        let Some(open) = &self.doubt else { return };
        if open.vote || !self.is_vote_durable() {
            return;
        }
        let last = self.log.last_durable();
        // Entries of its term come from the leader alone, itself or another one.
        let by_leader = last.term == self.vote.term && last.term > open.seen;
        if by_leader && open.floor.is_none() {
            let how = Settlement::Leader { term: last.term };
            out.push(Effect::Note(Note::Settled { how }));
        }
        if by_leader || open.floor.is_some_and(|floor| last >= floor) {
            self.doubt = None;
            out.push(Effect::Settled);
        }
    }
}
