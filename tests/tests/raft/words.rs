//! What happens in a group, in words.

use std::fmt;

use dps_core::id::NodeId;
use dps_core::raft::entry::{Entry, Payload, Position};
use dps_core::raft::membership::Membership;
use dps_core::raft::message::{Appended, Body, Message};

/// A node by its number.
pub(crate) struct Named(pub(crate) NodeId);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0.as_bytes()[0])
    }
}

/// An entry.
pub(crate) struct Said<'a>(pub(crate) &'a Entry);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { position, payload } = self.0;
        match payload {
            Payload::Empty => write!(f, "{position} empty"),
            Payload::Command(command) => write!(f, "{position} command {}", command[0]),
            Payload::Membership(membership) => write!(f, "{position} {}", group(membership)),
        }
    }
}

fn group(membership: &Membership) -> String {
    let list = |nodes: &mut dyn Iterator<Item = &NodeId>| {
        nodes.map(|node| Named(*node).to_string()).collect::<Vec<_>>().join(" ")
    };
    let mut text = format!("voters {}", list(&mut membership.voters().iter()));
    if membership.is_joint() {
        text += &format!(", outgoing {}", list(&mut membership.outgoing().iter()));
    }
    if !membership.learners().is_empty() {
        text += &format!(", learners {}", list(&mut membership.learners().iter()));
    }
    text
}

/// A message that was sent, and whether it is lost.
pub(crate) struct Sent<'a>(pub(crate) &'a Message, pub(crate) bool);

impl fmt::Display for Sent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { to, term, body, .. } = self.0;
        write!(f, "-> {}  term {term}: {}{}", Named(*to), words(body), if self.1 { "  (lost)" } else { "" })
    }
}

fn words(body: &Body) -> String {
    match body {
        Body::PreVote { last } => format!("would you vote for me? my log ends with {last}"),
        Body::PreVoteReply { granted: true } => "I would".to_owned(),
        Body::PreVoteReply { granted: false } => "I would not".to_owned(),
        Body::Vote { last, transfer: false } => format!("vote for me, my log ends with {last}"),
        Body::Vote { last, transfer: true } => format!("vote for me as the leader wants, my log ends with {last}"),
        Body::VoteReply { granted: true } => "you have my vote".to_owned(),
        Body::VoteReply { granted: false } => "you don't have my vote".to_owned(),
        Body::Append { prev, entries, commit, .. } => appended(*prev, entries, *commit),
        Body::AppendReply { result: Appended::Matched { index }, counts: false, .. } => {
            format!("I have all up to {index}, don't count that")
        }
        Body::AppendReply { result: Appended::Matched { index }, .. } => format!("I have all up to {index}"),
        Body::AppendReply { result: Appended::Conflict { prev, hint }, .. } => {
            format!("my log differs at {prev}, perhaps not at {hint}")
        }
        Body::Install { snapshot, .. } => format!("take my snapshot, which ends with {}", snapshot.last),
        Body::Heartbeat { commit, .. } => format!("I lead, committed up to {commit}"),
        Body::HeartbeatReply { .. } => "you do".to_owned(),
        Body::Read { .. } => "what is committed?".to_owned(),
        Body::ReadReply { index: Some(index), .. } => format!("all up to {index} was committed when you asked"),
        Body::ReadReply { index: None, .. } => "I can't tell".to_owned(),
        Body::TimeoutNow { .. } => "lead".to_owned(),
        Body::Stale => "your term is over".to_owned(),
        Body::Survey { round: 1 } => "I am back, and don't know what I have lost".to_owned(),
        Body::Survey { .. } => "where does your log end?".to_owned(),
        Body::SurveyReply { last, doubtful: false, .. } => format!("my log ends with {last}"),
        Body::SurveyReply { last, doubtful: true, .. } => format!("my log ends with {last}, as far as I know"),
    }
}

fn appended(prev: Position, entries: &[Entry], commit: u64) -> String {
    let list: Vec<String> = entries.iter().map(|entry| Said(entry).to_string()).collect();
    match &list[..] {
        [] => format!("do our logs meet at {prev}? committed up to {commit}"),
        _ => format!("after {prev} comes [{}], committed up to {commit}", list.join("; ")),
    }
}

/// Whether it says only that all is as before.
pub(crate) const fn is_routine(body: &Body) -> bool {
    matches!(body, Body::Heartbeat { .. } | Body::HeartbeatReply { .. })
}

/// Identifiers of this group are one byte, repeated.
pub(crate) fn brief(text: &str) -> String {
    let short = |word: &str| match word.get(..2).and_then(|byte| u8::from_str_radix(byte, 16).ok()) {
        Some(byte) if word.len() == 40 => format!("n{byte}"),
        Some(_) | None => word.to_owned(),
    };
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}
