//! What happens in a group, in words.

use std::fmt;

use dps_core::id::NodeId;
use dps_core::ledger::command::Command;
use dps_core::raft::Refusal;
use dps_core::raft::entry::{Entry, Payload, Position};
use dps_core::raft::membership::{Change, Membership};
use dps_core::raft::message::{Appended, Body, Message};
use dps_core::replica::witness::{Because, Start, Words as Meeting};
use dps_core::replica::{Answer, Body as Says, Letter};

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
            Payload::Command(bytes) => match Command::decode(bytes) {
                Ok(command) => write!(f, "{position} {}", order(&command)),
                Err(_) => write!(f, "{position} command {}", bytes[0]),
            },
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
        Body::PreVote { last } => format!("would you vote for me in this term? my log ends with {last}"),
        Body::PreVoteReply { granted: true } => "I would".to_owned(),
        Body::PreVoteReply { granted: false } => "I would not".to_owned(),
        Body::Vote { last, transfer: false } => format!("vote for me, my log ends with {last}"),
        Body::Vote { last, transfer: true } => format!("vote for me as the leader wants, my log ends with {last}"),
        Body::VoteReply { granted: true, .. } => "you have my vote".to_owned(),
        Body::VoteReply { granted: false, .. } => "you don't have my vote".to_owned(),
        Body::Append { prev, entries, commit, .. } => appended(*prev, entries, *commit),
        Body::AppendReply { result: Appended::Matched { index }, counts: false, .. } => {
            format!("I have all up to {index} durably, but don't count that")
        }
        Body::AppendReply { result: Appended::Matched { index }, .. } => format!("I have all up to {index} durably"),
        Body::AppendReply { result: Appended::Conflict { prev, hint }, .. } => {
            format!("entry {prev} is not what I have there; our logs may meet at {hint}")
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
        [] => format!("do you have {prev} as I do? committed up to {commit}"),
        _ => format!("after {prev} comes [{}], committed up to {commit}", list.join("; ")),
    }
}

/// A letter that was sent, and whether it is lost.
pub(crate) struct Told<'a>(pub(crate) &'a Letter, pub(crate) bool);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Letter { incarnation, to, body, .. } = self.0;
        let says = letter(*incarnation, body);
        write!(f, "-> {}  {says}{}", Named(*to), if self.1 { "  (lost)" } else { "" })
    }
}

fn letter(incarnation: u64, body: &Says) -> String {
    match body {
        Says::Ask(piece) => format!("give me snapshot {} from byte {} on", piece.index, piece.offset),
        Says::Part { piece, bytes, .. } => {
            format!("here are {} bytes of snapshot {} from byte {} on", bytes.len(), piece.index, piece.offset)
        }
        Says::Unfit(piece) => format!("what you gave me of snapshot {} is damaged", piece.index),
        Says::Wanted { from } => format!("I have no ledger: do you have a snapshot that ends with {from} or later?"),
        Says::Offered { snapshot, .. } => format!("I have one that ends with {}", snapshot.last),
        Says::Propose { command, .. } => format!("propose this if you lead: {}", order(command)),
        Says::Proposed { answer, .. } => answered(answer),
        Says::Meet(words) => met(incarnation, words),
    }
}

fn met(incarnation: u64, words: &Meeting) -> String {
    match words {
        Meeting::Introduction { start, nonce } => {
            let Start { end, term, whole, .. } = start;
            let echo = if nonce.is_some() { ", and here is what you gave me to repeat" } else { "" };
            let doubt = if *whole { "" } else { ", and I may have lost something" };
            format!("I am start {incarnation}, my log ends with {end}, I know of term {term}{doubt}{echo}")
        }
        Meeting::Challenge { start, .. } => format!("I don't know your start {start}: repeat this for me"),
        Meeting::Known { .. } => "now I know this start of yours".to_owned(),
        Meeting::RolledBack { because, .. } => match because {
            Because::EarlierStart { known } => format!("your disk is an old one: I know your start {known} already"),
            Because::ShorterLog { acknowledged } => {
                format!("your disk is an old one: you told me that you have all up to {acknowledged}")
            }
            Because::EarlierTerm { told } => format!("your disk is an old one: you spoke to me in term {told}"),
        },
    }
}

pub(crate) fn order(command: &Command) -> String {
    match command {
        Command::InSession { session, serial, command } => {
            format!("number {serial} of session {session}, {}", order(command))
        }
        Command::RegisterSession { .. } => "begin a session".to_owned(),
        Command::Put { name, .. } => format!("store {name}"),
        Command::Delete { name, .. } => format!("delete {name}"),
        other => format!("{other:?}"),
    }
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Decided(outcome) => format!("it is done and came to {outcome:?}"),
        Answer::NotLeader(Some(leader)) => format!("{} leads, not I", Named(*leader)),
        Answer::NotLeader(None) => "I don't lead".to_owned(),
        Answer::Busy => "not now".to_owned(),
        Answer::Unknown => "I don't know what became of it".to_owned(),
        Answer::TooLarge => "it is too long".to_owned(),
    }
}

/// What stands above every story.
pub(crate) const LEGEND: &str = "\
n1 -> n2 is a message of n1 to n2, told when it is sent. 3.7 is the entry with index 7, proposed in term 3; 0.0 is before the first.
Heartbeats (\"I lead\") and their answers are left out.
";

/// What came of a command or a change, for whoever asked.
pub(crate) fn outcome(ticket: u64, result: &Result<Position, Refusal>) -> String {
    match result {
        Ok(position) => format!("number {ticket} is committed, as {position}"),
        Err(refusal) => format!("number {ticket}: {}", brief(&refusal.to_string())),
    }
}

/// What came of a read.
pub(crate) fn sight(ticket: u64, result: &Result<u64, Refusal>) -> String {
    match result {
        Ok(index) => format!("read {ticket} may be served once entry {index} is applied"),
        Err(refusal) => format!("read {ticket}: {}", brief(&refusal.to_string())),
    }
}

/// What somebody wants of the membership.
pub(crate) fn wishes(changes: &[Change]) -> String {
    let wish = |change: &Change| {
        let node = Named(change.node());
        match change {
            Change::AddLearner(_) => format!("{node} learns"),
            Change::Promote(_) => format!("{node} votes"),
            Change::Demote(_) => format!("{node} learns and votes no more"),
            Change::Remove(_) => format!("{node} goes"),
        }
    };
    changes.iter().map(wish).collect::<Vec<_>>().join(", ")
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
