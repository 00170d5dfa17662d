//! Raft (Ongaro and Ousterhout 2014; Ongaro's thesis, 2014): a group of nodes that agree on a log.
//!
//! A chapter a file: elections with pre-vote, replication, membership, reads, transfer. The machine has no disk
//! of its own: it says what to write ([`Effect::Persist`]), in which order, and holds every message back until the
//! writes that it relies on are durable ([`Event::Persisted`]). Heartbeats within a term that is durable wait for none.
//!
//! What is durable may be kept by anything that completes writes in their order.

mod alone;
mod backlog;
mod change;
mod clocks;
mod doubt;
mod election;
pub mod entry;
pub mod journal;
mod log;
pub mod membership;
pub mod message;
mod note;
mod peers;
mod persist;
mod progress;
pub mod quorum;
mod read;
mod refusal;
mod replication;
mod runs;
pub mod settings;
pub mod snapshot;
mod transfer;
mod view;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::NodeId;
use crate::limits::{PEERS_MAX, STEP_BYTES_MAX, STEP_ITEMS_MAX};
use crate::machine::Machine;
use crate::rng::Rng;
use crate::time::{Instant, Now};

pub use self::backlog::Backlog;
use self::change::Tickets;
use self::clocks::Clocks;
use self::doubt::{Answer, Open};
pub use self::doubt::{Doubt, Settlement};
use self::election::Votes;
use self::entry::{Entry, Position};
use self::log::Log;
use self::membership::{Change, Membership};
use self::message::{Body, Message};
pub use self::note::{Note, Reason};
use self::peers::Peers;
use self::persist::Outbox;
use self::progress::Progress;
pub use self::refusal::Refusal;
use self::replication::Answering;
use self::settings::Settings;
use self::snapshot::Snapshot;

/// What happens to a node of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline passed.
    Wake,
    /// A message came. Its sender is authenticated.
    Received(Message),
    /// Everything up to this write is durable. Writes complete in their order; one completion may stand for several.
    Persisted {
        /// Its number.
        write: u64,
    },
    /// A command to be committed.
    Propose {
        /// Chosen by the caller, and answered exactly once.
        ticket: u64,
        /// The command.
        command: Bytes,
    },
    /// A change of who takes part.
    Change {
        /// Chosen by the caller, and answered exactly once.
        ticket: u64,
        /// What is to change.
        changes: Vec<Change>,
    },
    /// Somebody wants to read what was committed when this came.
    Read {
        /// Chosen by the caller, and answered exactly once.
        ticket: u64,
    },
    /// Another voter shall lead.
    Transfer {
        /// Which.
        to: NodeId,
    },
    /// A snapshot of what was applied is durable.
    Snapshotted {
        /// Which.
        snapshot: Snapshot,
        /// The log up to there may go: where an older snapshot ends that is kept as well, or this one.
        through: u64,
    },
    /// A snapshot that was to be fetched is durable.
    Installed(Snapshot),
    /// An operator vouches that nothing is lost that counts: neither entries behind the last one, nor a vote (rule R2).
    Settle {
        /// The last index of this node's log, so that nobody speaks of another node.
        index: u64,
    },
}

/// What a node of the group wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make this durable, after all writes before it.
    Persist(Write),
    /// Send this. It may be lost.
    Send(Message),
    /// These entries are committed: apply them, after all before them. Empty ones and memberships are among them.
    Apply(Arc<[Entry]>),
    /// Take this snapshot, which was said to be installed, for what was applied so far. What is to be applied next
    /// follows it.
    Restore(Snapshot),
    /// Fetch this snapshot, from this node or from whoever has it, and say when it is durable. Asked for again and
    /// again until then; a newer one replaces it.
    Fetch {
        /// Who offers it.
        from: NodeId,
        /// Which.
        snapshot: Snapshot,
    },
    /// What came of a proposal or a change. After the entry was to be applied.
    Answered {
        /// Whose.
        ticket: u64,
        /// Where it was committed, or why it was not.
        result: Result<Position, Refusal>,
    },
    /// What came of a read.
    Readable {
        /// Whose.
        ticket: u64,
        /// It may be served once everything up to this index is applied.
        result: Result<u64, Refusal>,
    },
    /// Nothing that the start was in doubt of is in doubt any more, whatever happens: what settled it is durable.
    /// Said once.
    Settled,
    /// Something worth knowing.
    Note(Note),
}

/// What is to become durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Dense from 1 in one incarnation.
    pub number: u64,
    /// The term and whom this node voted for in it, if that is new.
    pub vote: Option<Vote>,
    /// Where the log begins, if that is new: everything up to there goes.
    pub base: Option<Base>,
    /// What goes at the end of the log, if anything does.
    pub cut: Option<Cut>,
    /// Entries that follow then.
    pub entries: Arc<[Entry]>,
}

/// Where a log begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The last entry that is not in it.
    pub position: Position,
    /// The membership that is in force there.
    pub membership: Arc<Membership>,
}

/// The end of a log goes, since a leader has other entries there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    /// The last index that stays.
    pub after: u64,
    /// The leader's term. Logs are compared by it and their length when it is asked which of two has seen more (rule
    /// R1).
    pub term: u64,
}

/// A term, and the vote in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vote {
    /// The largest term that the node has seen.
    pub term: u64,
    /// Whom it voted for in that term.
    pub candidate: Option<NodeId>,
}

/// What a start knows, read from what is durable.
#[derive(Clone, Debug)]
pub struct Start {
    /// This node.
    pub id: NodeId,
    /// Which start of it this is: larger than at every earlier one.
    pub incarnation: u64,
    /// The term and vote that were written last.
    pub vote: Vote,
    /// Where the log begins.
    pub base: Base,
    /// The newest snapshot that is durable, with which the state machine begins. Nobody has one at the very first
    /// start.
    pub snapshot: Option<Snapshot>,
    /// The log.
    pub entries: Vec<Entry>,
    /// What the log may have lost behind its last entry (rule R2).
    pub doubt: Option<Doubt>,
    /// Whether no newer term or vote than `vote` may be lost. If it may, so may entries.
    pub vote_certain: bool,
    /// Whether the state that the log goes on from is lost: the node hands nothing out to be applied, and does not lead,
    /// until a snapshot is installed.
    pub lacks_state: bool,
    /// Bounds and timeouts.
    pub settings: Settings,
}

/// What a node is in its term.
#[derive(Debug)]
enum Role {
    Follower { leader: Option<NodeId> },
    PreCandidate(Votes),
    Candidate(Votes),
    Leader(Box<Leader>),
}

/// What only a leader knows.
#[derive(Debug)]
struct Leader {
    progress: Peers<Progress>,
    /// The last session that was given out in this term.
    sessions: u64,
    /// The index of the first entry of the term.
    first: u64,
    /// Bytes of entries that are not committed.
    uncommitted_bytes: u64,
    heartbeat_at: Instant,
    /// When it looks whether a majority was heard of.
    quorum_at: Instant,
    reads: read::Reads,
    transfer: Option<transfer::Transfer>,
}

/// One node of a group.
#[derive(Debug)]
pub struct Raft {
    id: NodeId,
    incarnation: u64,
    settings: Settings,
    rng: Rng,
    vote: Vote,
    role: Role,
    log: Log,
    commit: u64,
    /// The last index that was handed out to be applied.
    applied: u64,
    /// Whether this turn has handed out what one turn may, and when the rest is due.
    handed_out: bool,
    resume_at: Option<Instant>,
    /// The newest durable snapshot.
    snapshot: Option<Snapshot>,
    /// Whether what is applied can't be told, since all snapshots are lost.
    lacks_state: bool,
    /// Who offered the newest snapshot that is being fetched, and the session to be echoed.
    offer: Option<(NodeId, u64)>,
    /// When a leader was last heard of.
    heard_at: Option<Instant>,
    /// When patience ends, unless it leads.
    election_at: Instant,
    outbox: Outbox,
    /// The newest start that each other node was heard of in.
    incarnations: Peers<u64>,
    /// What waits to be committed, or to be superseded.
    tickets: Tickets,
    /// Reads that the leader was asked for.
    forwarded: read::Forwarded,
    /// What the start did not know, until it is settled durably.
    doubt: Option<Box<Open>>,
    /// What the clocks of others said in this term.
    clocks: Clocks,
}

impl Raft {
    /// A node as its disk has it, a follower of nobody. `rng` is its own stream. What the snapshot has is applied.
    ///
    /// # Panics
    /// When entries do not follow each other, or the settings can't work.
    #[must_use]
    pub fn new(start: Start, mut rng: Rng, now: Now) -> Self {
        let Start { id, incarnation, vote, base, snapshot, entries, doubt, vote_certain, lacks_state, settings } =
            start;
        assert_eq!(settings.checked(), Ok(settings), "settings are checked before they are used");
        let log = Log::new(base.position, base.membership, entries);
        assert!(log.last().term <= vote.term, "a node has seen the terms of its entries");
        let applied = snapshot.as_ref().map_or(base.position.index, |snapshot| snapshot.last.index);
        assert!(applied >= base.position.index, "a log goes on where a snapshot ends, or before");
        let election_at = now.mono + election::patience(&settings, &mut rng);
        let mut raft = Self {
            id,
            incarnation,
            settings,
            rng,
            vote,
            role: Role::Follower { leader: None },
            log,
            commit: applied,
            applied,
            handed_out: false,
            resume_at: None,
            snapshot: None,
            lacks_state,
            offer: None,
            heard_at: None,
            election_at,
            outbox: Outbox::default(),
            incarnations: Peers::default(),
            tickets: Tickets::default(),
            forwarded: read::Forwarded::default(),
            doubt: Open::new(doubt, vote, vote_certain, now).map(Box::new),
            clocks: Clocks::default(),
        };
        if let Some(snapshot) = snapshot {
            // Perhaps it was installed, and the log does not tell of it yet.
            if !raft.log.has(snapshot.last) {
                raft.begin_after(&snapshot);
                raft.know_of_term(snapshot.last.term);
            }
            raft.snapshot = Some(snapshot);
        }
        if raft.is_alone() && raft.applied < raft.log.last().index {
            raft.resume_at = Some(now.mono);
        }
        raft
    }

    /// Drops what can't be right, lets a newer term make a follower of this node and tells an older one so, and hands
    /// the rest on.
    fn received(&mut self, now: Now, message: Message, out: &mut Vec<Effect>) {
        let Message { from, incarnation, to, term, body } = message;
        if to != self.id || from == self.id {
            return reject(from, Reason::NotForUs, out);
        }
        let is_full = self.incarnations.len() >= PEERS_MAX;
        match self.incarnations.get_mut(&from) {
            Some(known) if incarnation < *known => return reject(from, Reason::OldIncarnation, out),
            Some(known) if incarnation == *known => {}
            Some(known) => {
                *known = incarnation;
                self.started_again(now, from);
            }
            None if is_full => return reject(from, Reason::TooManyPeers, out),
            None => self.incarnations.insert(from, incarnation),
        }
        if term > TERM_MAX {
            return reject(from, Reason::AbsurdTerm, out);
        }
        if body.is_absurd() {
            return reject(from, Reason::AbsurdIndex, out);
        }
        match body {
            Body::PreVote { last } => self.asked_for_pre_vote(now, from, term, last, out),
            Body::PreVoteReply { granted } => self.pre_voted(now, from, term, granted, out),
            Body::Vote { last, transfer } => self.asked_for_vote(now, from, term, last, transfer, out),
            Body::Survey { round } => self.answer_survey(from, incarnation, round, out),
            Body::SurveyReply { asker, round, last, doubtful, since, membership } => {
                if asker != self.incarnation {
                    return reject(from, Reason::Unasked, out);
                }
                self.survey_answered(now, from, round, Answer { term, last, doubtful, since, membership }, out);
            }
            _ if term < self.vote.term => self.answer_old_term(from, &body, out),
            body => {
                if term > self.vote.term {
                    let leads = matches!(body, Body::Append { .. } | Body::Heartbeat { .. } | Body::Install { .. });
                    self.follow(now, term, leads.then_some(from), out);
                }
                self.received_in_term(now, from, incarnation, body, out);
            }
        }
    }

    /// A message of the present term that is no request for a vote.
    fn received_in_term(&mut self, now: Now, from: NodeId, incarnation: u64, body: Body, out: &mut Vec<Effect>) {
        match body {
            Body::VoteReply { granted, clock } => {
                self.clocks.hear(now, from, clock);
                self.voted(now, from, granted, out);
            }
            Body::Append { session, prev, entries, commit } => {
                if self.hear_leader(now, from, out) {
                    self.append(now, (from, session), prev, &entries, commit, out);
                }
            }
            Body::Heartbeat { session, commit, round } => {
                if self.hear_leader(now, from, out) {
                    self.advance(commit.min(self.log.last().index));
                    let (counts, clock) = (self.counts(), now.wall.as_nanos());
                    self.send(from, Body::HeartbeatReply { session, round, counts, clock }, 0, out);
                }
            }
            Body::Install { session, snapshot } => {
                if self.hear_leader(now, from, out) {
                    self.offered(now, from, session, *snapshot, out);
                }
            }
            Body::AppendReply { session, result, counts, clock } => {
                self.clocks.hear(now, from, clock);
                let answer = Answering { from, incarnation, session, counts };
                self.appended(now, answer, result, out);
            }
            Body::HeartbeatReply { session, round, counts, clock } => {
                self.clocks.hear(now, from, clock);
                let answer = Answering { from, incarnation, session, counts };
                self.heard(now, answer, round, out);
            }
            Body::Read { ticket } => self.read_for(from, incarnation, ticket, out),
            Body::ReadReply { asker, ticket, index } => {
                if asker != self.incarnation {
                    return reject(from, Reason::Unasked, out);
                }
                self.read_answered(from, ticket, index, out);
            }
            Body::TimeoutNow { last } => self.take_over(now, from, last, out),
            Body::Stale => {}
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::Vote { .. }
            | Body::Survey { .. }
            | Body::SurveyReply { .. } => unreachable!("these are heard across terms"),
        }
    }

    /// Whoever leads or asks in an older term learns of the present one.
    fn answer_old_term(&mut self, from: NodeId, body: &Body, out: &mut Vec<Effect>) {
        match body {
            Body::Append { .. }
            | Body::Install { .. }
            | Body::Heartbeat { .. }
            | Body::Read { .. }
            | Body::TimeoutNow { .. } => {
                self.send(from, Body::Stale, 0, out);
            }
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::Vote { .. }
            | Body::VoteReply { .. }
            | Body::AppendReply { .. }
            | Body::HeartbeatReply { .. }
            | Body::ReadReply { .. }
            | Body::Survey { .. }
            | Body::SurveyReply { .. }
            | Body::Stale => {}
        }
    }

    /// Commits up to `index`, which is known to be committed somewhere and to be in this log.
    fn advance(&mut self, index: u64) {
        assert!(index <= self.log.last().index, "what is committed is in the log");
        self.commit = self.commit.max(index);
    }

    /// Hands out what is committed, in slices.
    fn hand_out(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.handed_out || self.lacks_state || self.applied == self.commit {
            return;
        }
        let count = usize::try_from(self.commit - self.applied).unwrap_or(usize::MAX).min(STEP_ITEMS_MAX);
        let entries = self.log.slice(self.applied + 1, count, STEP_BYTES_MAX as u64);
        self.applied += entries.len() as u64;
        out.push(Effect::Apply(Arc::clone(&entries)));
        if !self.tickets.is_empty() {
            entries.iter().for_each(|entry| self.tickets.committed(entry.position, out));
        }
        self.handed_out = true;
        self.resume_at = (self.applied < self.commit).then_some(now.mono);
    }
}

/// No group ever gets to a larger term, so that counting on never overflows.
pub const TERM_MAX: u64 = u64::MAX / 2;

fn reject(from: NodeId, reason: Reason, out: &mut Vec<Effect>) {
    out.push(Effect::Note(Note::Rejected { from, reason }));
}

impl Machine for Raft {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        self.handed_out = false;
        self.expire(now, out);
        match event {
            Event::Wake => {}
            Event::Received(message) => self.received(now, message, out),
            Event::Persisted { write } => self.persisted(now, write, out),
            Event::Propose { ticket, command } => self.propose(now, ticket, command, out),
            Event::Change { ticket, changes } => self.change(now, ticket, &changes, out),
            Event::Read { ticket } => self.read(now, ticket, out),
            Event::Transfer { to } => self.transfer(now, to),
            Event::Snapshotted { snapshot, through } => self.snapshotted(snapshot, through, out),
            Event::Installed(snapshot) => self.installed(now, snapshot, out),
            Event::Settle { index } => self.settled_by_operator(now, index, out),
        }
    }

    fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.log.seal();
        self.replicate(now, out);
        self.look_whether_settled(out);
        self.commit_alone();
        self.write(out);
        self.hand_out(now, out);
    }

    fn deadline(&self) -> Option<Instant> {
        let role = match &self.role {
            // Nobody has to be heard or told anything.
            _ if self.is_alone() => None,
            Role::Leader(leader) => {
                let transfer = leader.transfer.as_ref().map(transfer::Transfer::expires_at);
                Some(leader.heartbeat_at.min(leader.quorum_at).min(transfer.unwrap_or(leader.quorum_at)))
            }
            Role::Follower { .. } | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.may_lead().then_some(self.election_at)
            }
        };
        let asks_at = self.doubt.as_ref().and_then(|open| open.asks_at());
        role.into_iter().chain(self.resume_at).chain(asks_at).chain(self.forwarded.deadline()).min()
    }

    fn check(&self) {
        self.log.check();
        self.outbox.check();
        assert!(self.log.last().term <= self.vote.term, "no entry is of a term to come");
        assert!(self.commit <= self.log.last().index, "what is committed is in the log");
        assert!(self.applied <= self.commit, "only what is committed is applied");
        let snapshot = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.last.index);
        assert!(snapshot <= self.applied, "what a snapshot has is applied");
        let stands = matches!(self.role, Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_));
        assert!(!stands || !self.is_unsettled(), "who is in doubt stands for no election");
        assert!(!stands || !self.lacks_state, "who has no state leads nobody");
        if let Role::Leader(leader) = &self.role {
            let last = self.log.last().index;
            assert!(
                leader.progress.values().all(|progress| progress.is_within(last)),
                "a follower has no more than all"
            );
            let above = (self.commit + 1..=last).filter_map(|index| self.log.get(index)).map(Entry::bytes).sum();
            assert_eq!(leader.uncommitted_bytes, above, "what is not committed is counted");
        }
    }
}
