//! What nodes of a group tell each other.
//!
//! The sender is authenticated by whoever delivers a message; that it says the truth is taken on trust (roots may
//! crash, rot and drift, not lie). Messages may be lost, repeated and reordered, and old ones may come at any time.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::TERM_MAX;
use super::entry::{Entry, Position};
use super::membership::Membership;
use super::snapshot::{INDEX_MAX, Snapshot};
use crate::id::NodeId;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub from: NodeId,
    /// Which start of the sender that was: its boot counter.
    pub incarnation: u64,
    /// To whom.
    pub to: NodeId,
    /// The sender's term; in a request for a pre-vote, and in its grant, the term that the candidate would begin.
    pub term: u64,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Would you vote for me (thesis, section 9.6)? Changes nothing for whoever is asked.
    PreVote {
        /// The end of the candidate's log.
        last: Position,
    },
    /// Answers that.
    PreVoteReply {
        /// Whether it would. A refusal carries the refuser's term.
        granted: bool,
    },
    /// Vote for me (section 3.4).
    Vote {
        /// The end of the candidate's log.
        last: Position,
        /// Whether the leader asked for it, so that having heard of a leader is no reason to refuse (section 3.10).
        transfer: bool,
    },
    /// Answers that.
    VoteReply {
        /// Whether this term's vote is the candidate's.
        granted: bool,
        /// What the voter's wall clock says, in nanoseconds since 1970; 0 if it says nothing (rule L3).
        clock: u64,
    },
    /// Entries of the leader's log (section 3.5).
    Append {
        /// What the leader knows of the follower since when; echoed.
        session: u64,
        /// The entry before the first of `entries`.
        prev: Position,
        /// Entries, dense; none to ask whether the logs meet at `prev`. Followers that are equally far share them.
        entries: Arc<[Entry]>,
        /// What the leader has committed.
        commit: u64,
    },
    /// Answers that.
    AppendReply {
        /// Echoed.
        session: u64,
        /// How it went.
        result: Appended,
        /// Whether it may be counted: not if the follower may have voted in a newer term and lost that (rule R2).
        counts: bool,
        /// What the follower's wall clock says, like that of a voter.
        clock: u64,
    },
    /// What the follower lacks is in no log any more: it is to be taken from this snapshot (chapter 5). Answered like
    /// an append, once that is in force.
    Install {
        /// What the leader knows of the follower since when; echoed.
        session: u64,
        /// The snapshot. Its pieces are fetched by other means. It is apart, so that it makes no other message larger.
        snapshot: Box<Snapshot>,
    },
    /// The leader is there. Never waits for a disk.
    Heartbeat {
        /// Echoed.
        session: u64,
        /// What is committed of that which the follower is known to have.
        commit: u64,
        /// Which round of heartbeats it is; echoed, so that reads know what was heard after them (section 6.4).
        round: u64,
    },
    /// Answers that.
    HeartbeatReply {
        /// Echoed.
        session: u64,
        /// Echoed.
        round: u64,
        /// Whether it may be counted, like that of an append.
        counts: bool,
        /// What the follower's wall clock says, like that of a voter.
        clock: u64,
    },
    /// A read that a follower asks its leader for (section 6.4).
    Read {
        /// Chosen by the follower; echoed.
        ticket: u64,
    },
    /// Answers that, once a majority has confirmed the leader.
    ReadReply {
        /// Which start of the follower asked: a later one numbers its reads anew.
        asker: u64,
        /// Echoed.
        ticket: u64,
        /// What must be applied before the read; `None` if the leader can't tell.
        index: Option<u64>,
    },
    /// Become the leader now (section 3.10).
    TimeoutNow {
        /// The end of the leader's log, which the target must have.
        last: Position,
    },
    /// What do you have? Asked by a node that does not know what it has lost (rule R2), and answered whatever the
    /// terms are. A later start asks anew: the message says which one it is.
    Survey {
        /// Which question of this start; echoed.
        round: u64,
    },
    /// Answers that, with the term of the message.
    SurveyReply {
        /// Which start asked.
        asker: u64,
        /// Echoed.
        round: u64,
        /// The last entry that is durable here.
        last: Position,
        /// Whether more may have been lost here.
        doubtful: bool,
        /// The entry that put the membership in force.
        since: u64,
        /// Who takes part by the newest word in this log: it may be newer than what the asker has.
        membership: Arc<Membership>,
    },
    /// Answers whatever came from an older term, so that whoever is behind learns that it is.
    Stale,
}

impl Body {
    /// Whether it speaks of an index or a term that no group ever gets to.
    pub(super) fn is_absurd(&self) -> bool {
        let far = |position: &Position| position.term > TERM_MAX || position.index > INDEX_MAX;
        match self {
            Self::PreVote { last } | Self::Vote { last, .. } | Self::TimeoutNow { last } => far(last),
            Self::Append { prev, entries, commit, .. } => {
                far(prev) || *commit > INDEX_MAX || entries.last().is_some_and(|entry| far(&entry.position))
            }
            Self::AppendReply { result: Appended::Matched { index }, .. } => *index > INDEX_MAX,
            Self::AppendReply { result: Appended::Conflict { prev, hint }, .. } => *prev > INDEX_MAX || far(hint),
            Self::Install { snapshot, .. } => far(&snapshot.last),
            Self::Heartbeat { commit, .. } => *commit > INDEX_MAX,
            Self::ReadReply { index, .. } => index.is_some_and(|index| index > INDEX_MAX),
            Self::SurveyReply { last, since, .. } => far(last) || *since > INDEX_MAX,
            Self::PreVoteReply { .. }
            | Self::VoteReply { .. }
            | Self::HeartbeatReply { .. }
            | Self::Read { .. }
            | Self::Survey { .. }
            | Self::Stale => false,
        }
    }
}

/// How an append went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Everything up to this index is the leader's and durable here.
    Matched {
        /// The last of it.
        index: u64,
    },
    /// The logs do not meet where the leader thought.
    Conflict {
        /// Where that was.
        prev: u64,
        /// Where they may meet: nothing after it can.
        hint: Position,
    },
}
