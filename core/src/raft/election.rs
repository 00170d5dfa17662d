//! Elections (Ongaro 2014, section 3.4), pre-vote (9.6), and why a leader that is there is not deposed (4.2.3, 6.2).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::entry::{Payload, Position};
use super::message::Body;
use super::peers::Peers;
use super::progress::Progress;
use super::quorum::{self, Outcome};
use super::settings::Settings;
use super::{Effect, Leader, Note, Raft, Reason, Refusal, Role, Vote, read, reject};
use crate::id::NodeId;
use crate::rng::Rng;
use crate::time::Now;

/// What each voter said.
pub(super) type Votes = BTreeMap<NodeId, bool>;

/// How long a node waits for a leader this time.
pub(super) fn patience(settings: &Settings, rng: &mut Rng) -> Duration {
    let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.between(nanos(settings.election_timeout_min), nanos(settings.election_timeout_max)))
}

impl Raft {
    /// Does what is due.
    pub(super) fn expire(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.survey(now, out);
        self.forwarded.expire(now, out);
        if self.is_alone() {
            return;
        }
        match &mut self.role {
            Role::Leader(leader) => {
                if leader.transfer.as_ref().is_some_and(|transfer| transfer.expires_at() <= now.mono) {
                    leader.transfer = None;
                }
                if leader.quorum_at <= now.mono {
                    self.look_for_quorum(now, out);
                }
            }
            Role::Follower { .. } | Role::PreCandidate(_) | Role::Candidate(_) => {
                if self.election_at <= now.mono {
                    self.rest(now);
                    if self.may_lead() && self.may_elect(self.log.last()) {
                        self.ask_for_pre_votes(now, out);
                    }
                }
            }
        }
    }

    /// Whether an election may need this node. One that the newest membership in its log leaves out is needed until
    /// that is known to be committed: perhaps nobody else has it (section 4.2.2). Its own vote does not count then.
    ///
    /// Whoever has lost its state votes, since log and votes are whole, but does not lead: it could neither tell what a
    /// command came to nor give a snapshot to anybody. It gets one from any member, led or not, and then may.
    pub(super) fn may_lead(&self) -> bool {
        !self.lacks_state && self.log.may_vote(&self.id, self.commit)
    }

    /// Patience begins anew.
    fn rest(&mut self, now: Now) {
        self.election_at = now.mono + patience(&self.settings, &mut self.rng);
    }

    /// Becomes a follower in `term`.
    pub(super) fn follow(&mut self, now: Now, term: u64, leader: Option<NodeId>, out: &mut Vec<Effect>) {
        assert!(term >= self.vote.term, "terms never go back");
        if term > self.vote.term {
            self.vote = Vote { term, candidate: None };
            self.vote_changed();
            self.clocks.forget();
        }
        let before = mem::replace(&mut self.role, Role::Follower { leader });
        if let Role::Leader(before) = before {
            before.reads.refuse(out);
        }
        self.forwarded.refuse(out);
        self.offer = None;
        if leader.is_none() {
            self.heard_at = None;
        }
        self.rest(now);
        out.push(Effect::Note(Note::Follows { term, leader }));
    }

    /// A start begins with a snapshot of a term of which the journal does not tell, or not any more.
    pub(super) fn know_of_term(&mut self, term: u64) {
        if term > self.vote.term {
            self.vote = Vote { term, candidate: None };
            self.vote_changed();
        }
    }

    /// A leader of the present term was heard of. Returns whether it can be one.
    pub(super) fn hear_leader(&mut self, now: Now, from: NodeId, out: &mut Vec<Effect>) -> bool {
        match &self.role {
            Role::Leader(_) => {
                reject(from, Reason::SecondLeader, out);
                return false;
            }
            Role::Follower { leader: Some(leader) } if *leader != from => {
                reject(from, Reason::SecondLeader, out);
                return false;
            }
            Role::Follower { leader: Some(_) } => {}
            Role::Follower { leader: None } | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.follow(now, self.vote.term, Some(from), out);
            }
        }
        self.heard_at = Some(now.mono);
        self.rest(now);
        true
    }

    /// Whether a leader other than `candidate` was heard of so lately that nobody may depose it.
    fn is_led(&self, now: Now, candidate: NodeId) -> bool {
        match &self.role {
            // It would have stepped down if a majority had not been heard of.
            Role::Leader(_) => true,
            Role::Follower { leader: Some(leader) } if *leader != candidate => {
                self.heard_at.is_some_and(|at| now.mono.since(at) < self.settings.election_timeout_min)
            }
            Role::Follower { .. } | Role::PreCandidate(_) | Role::Candidate(_) => false,
        }
    }

    fn ask_for_pre_votes(&mut self, now: Now, out: &mut Vec<Effect>) {
        let term = self.vote.term + 1;
        out.push(Effect::Note(Note::AsksForPreVotes { term }));
        self.forwarded.refuse(out);
        self.role = Role::PreCandidate(Votes::from([(self.id, true)]));
        let last = self.log.last();
        for voter in self.other_voters() {
            self.send_in(term, voter, Body::PreVote { last }, 0, out);
        }
        self.count_pre_votes(now, out);
    }

    /// The other voters of the membership in force.
    fn other_voters(&self) -> Vec<NodeId> {
        let membership = self.membership();
        let voters = membership.members().into_iter().filter(|node| membership.is_voter(node) && *node != self.id);
        voters.collect()
    }

    /// Somebody asks whether it could win `term`. Answering changes nothing here.
    pub(super) fn asked_for_pre_vote(
        &mut self,
        now: Now,
        from: NodeId,
        term: u64,
        last: Position,
        out: &mut Vec<Effect>,
    ) {
        let follows = last >= self.log.last() && self.may_elect(last);
        let granted = term > self.vote.term && follows && !self.is_led(now, from);
        let term = if granted { term } else { self.vote.term };
        self.send_in(term, from, Body::PreVoteReply { granted }, 0, out);
    }

    /// A pre-vote came in. A refusal of a newer term is how a node that was away learns of it.
    pub(super) fn pre_voted(&mut self, now: Now, from: NodeId, term: u64, granted: bool, out: &mut Vec<Effect>) {
        if !granted && term > self.vote.term {
            return self.follow(now, term, None, out);
        }
        let (begun, is_voter) = (self.vote.term + 1, self.membership().is_voter(&from));
        if !is_voter {
            return reject(from, Reason::NoVoter, out);
        }
        let Role::PreCandidate(votes) = &mut self.role else { return };
        if granted && term != begun {
            return;
        }
        votes.entry(from).or_insert(granted);
        self.count_pre_votes(now, out);
    }

    fn count_pre_votes(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Role::PreCandidate(votes) = &self.role else { return };
        match quorum::outcome(self.membership(), |voter| votes.get(voter).copied()) {
            Outcome::Won => self.ask_for_votes(now, false, out),
            Outcome::Lost => self.role = Role::Follower { leader: None },
            Outcome::Pending => {}
        }
    }

    /// Begins a term and asks for votes in it.
    pub(super) fn ask_for_votes(&mut self, now: Now, transfer: bool, out: &mut Vec<Effect>) {
        let term = self.vote.term + 1;
        self.vote = Vote { term, candidate: Some(self.id) };
        self.vote_changed();
        self.clocks.forget();
        self.role = Role::Candidate(Votes::new());
        self.heard_at = None;
        self.rest(now);
        out.push(Effect::Note(Note::AsksForVotes { term }));
        let last = self.log.last();
        for voter in self.other_voters() {
            self.send(voter, Body::Vote { last, transfer }, 0, out);
        }
    }

    /// The candidate's own vote counts once it is durable.
    pub(super) fn vote_for_itself(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.is_vote_durable() {
            self.voted(now, self.id, true, out);
        }
    }

    pub(super) fn asked_for_vote(
        &mut self,
        now: Now,
        from: NodeId,
        term: u64,
        last: Position,
        transfer: bool,
        out: &mut Vec<Effect>,
    ) {
        if term > self.vote.term {
            if !transfer && self.is_led(now, from) {
                return;
            }
            self.follow(now, term, None, out);
        }
        let free = match (self.vote.candidate, &self.role) {
            (Some(candidate), _) => candidate == from,
            (None, Role::Follower { leader: None }) => true,
            (None, _) => false,
        };
        let granted = term == self.vote.term && free && last >= self.log.last() && self.may_elect(last);
        if granted {
            if self.vote.candidate.is_none() {
                self.vote.candidate = Some(from);
                self.vote_changed();
            }
            self.rest(now);
        }
        let clock = now.wall.as_nanos();
        self.send(from, Body::VoteReply { granted, clock }, 0, out);
    }

    /// A vote of the present term came in.
    pub(super) fn voted(&mut self, now: Now, from: NodeId, granted: bool, out: &mut Vec<Effect>) {
        // Its own vote may be one that counts for nobody, see `may_lead`.
        let (is_voter, is_own) = (self.membership().is_voter(&from), from == self.id);
        if !is_voter && !is_own {
            return reject(from, Reason::NoVoter, out);
        }
        let Role::Candidate(votes) = &mut self.role else { return };
        if !is_voter {
            return;
        }
        votes.entry(from).or_insert(granted);
        let Role::Candidate(votes) = &self.role else { return };
        match quorum::outcome(self.membership(), |voter| votes.get(voter).copied()) {
            Outcome::Won => self.lead(now, out),
            Outcome::Lost => self.follow(now, self.vote.term, None, out),
            Outcome::Pending => {}
        }
    }

    /// Leads, and says so by the first entry of its term (section 3.6.2).
    fn lead(&mut self, now: Now, out: &mut Vec<Effect>) {
        assert!(self.is_vote_durable(), "a leader's own vote was counted");
        self.begin_term(now, self.log.last().index + 1, out);
        self.push(Payload::Empty);
    }

    /// Leads. What is committed is known once the entry with the index `first` is.
    pub(super) fn begin_term(&mut self, now: Now, first: u64, out: &mut Vec<Effect>) {
        let term = self.vote.term;
        out.push(Effect::Note(Note::Leads { term }));
        let last = self.log.last().index;
        let (mut sessions, mut progress) = (0, Peers::default());
        for node in self.membership().members().into_iter().filter(|node| *node != self.id) {
            sessions += 1;
            progress.insert(node, Progress::new(sessions, last));
        }
        let above = self.log.bytes_between(self.commit, last);
        self.role = Role::Leader(Box::new(Leader {
            progress,
            sessions,
            first,
            uncommitted_bytes: above,
            heartbeat_at: now.mono,
            quorum_at: now.mono + self.settings.election_timeout_min,
            reads: read::Reads::default(),
            transfer: None,
        }));
    }

    /// A leader that no majority answers any more can't commit anything, and another one may be elected.
    fn look_for_quorum(&mut self, now: Now, out: &mut Vec<Effect>) {
        let id = self.id;
        let membership = self.log.membership().1;
        let Role::Leader(leader) = &mut self.role else { panic!("only a leader looks for its majority") };
        let heard = |node: &NodeId| *node == id || leader.progress.get(node).is_some_and(|progress| progress.heard);
        if quorum::has_majority(membership, heard) {
            leader.progress.values_mut().for_each(|progress| progress.heard = false);
            leader.quorum_at = now.mono + self.settings.election_timeout_min;
        } else {
            let term = self.vote.term;
            out.push(Effect::Note(Note::LostQuorum { term }));
            self.follow(now, term, None, out);
        }
    }

    /// Who leads, for whoever asks a node that does not.
    pub(super) fn not_leader(&self) -> Refusal {
        Refusal::NotLeader { leader: self.leader() }
    }
}
