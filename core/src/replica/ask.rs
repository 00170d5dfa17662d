//! What is asked of a member: by its callers, and by other members.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::note::{Note as MemberNote, Reason};
use super::witness::{self, Standing};
use super::{Asked, Body, Decision, Effect, Letter, Message, Refusal, Replica, Work};
use crate::id::NodeId;
use crate::ledger::clock::median;
use crate::ledger::command::Command;
use crate::note::Note;
use crate::raft::entry::Position;
use crate::raft::message::{Appended, Body as Words};
use crate::raft::{self, journal};
use crate::time::Now;

impl Replica {
    /// Why nothing can be asked for.
    fn refusal(&self) -> Option<Refusal> {
        match (self.failed, self.closing) {
            (Some((file, error)), _) => Some(Refusal::Stopped { file, error }),
            (None, Some(_)) => Some(Refusal::Closing),
            (None, None) => self.raft.lacks_state().then_some(Refusal::NoLedger),
        }
    }

    /// The answer to whoever asked for something, if it was not done.
    pub(super) fn refuse(&self, asked: Asked, refusal: Refusal) -> Effect {
        match asked {
            Asked::Command(ticket) => Effect::Decided { ticket, result: Box::new(Err(refusal)) },
            Asked::Change(ticket) => Effect::Changed { ticket, result: Err(refusal) },
            Asked::Read(ticket) => Effect::Readable { ticket, result: Err(refusal) },
            Asked::Remote { node, asker, ticket } => self.answer(node, asker, ticket, &Err(refusal)),
        }
    }

    /// The answer to another member.
    pub(super) fn answer(&self, to: NodeId, asker: u64, ticket: u64, result: &Result<Decision, Refusal>) -> Effect {
        self.letter(to, Body::Proposed { asker, ticket, answer: result.into() })
    }

    /// A letter of this start.
    pub(super) fn letter(&self, to: NodeId, body: Body) -> Effect {
        let (from, incarnation) = (self.raft.id(), self.incarnation);
        Effect::Send(Box::new(Message::Member(Letter { from, incarnation, to, body })))
    }

    /// Somebody asks for something: Raft hears it under a number of its own, or it is refused.
    pub(super) fn ask(&mut self, asked: Asked, event: impl FnOnce(u64) -> raft::Event, out: &mut Vec<Effect>) {
        if let Some(refusal) = self.refusal() {
            return out.push(self.refuse(asked, refusal));
        }
        let number = self.next_number;
        self.next_number += 1;
        self.asked.insert(number, asked);
        self.work.push_back(Work::Raft(event(number)));
    }

    /// Somebody has a command. Its time is what the clocks of most voters say, and not what one of them does (rule L3).
    pub(super) fn propose(
        &mut self,
        now: Now,
        asked: Asked,
        volumes: Vec<(u64, u64)>,
        mut command: Command,
        out: &mut Vec<Effect>,
    ) {
        if (self.raft.is_leader() || self.raft.is_alone()) && self.refusal().is_none() {
            if !volumes.is_empty() {
                self.work.push_back(Work::Journal(journal::Event::Rely(volumes)));
            }
            let clocks = self.raft.voters_clocks(now);
            // Of too few nothing is taken: ledger time stands still meanwhile.
            command.set_time(clocks.and_then(|clocks| median(&clocks)).unwrap_or(self.ledger.time()));
        }
        // The log keeps it for long, so it takes no more room than it has bytes.
        let command = command.encode().into_boxed_slice().into();
        self.ask(asked, |ticket| raft::Event::Propose { ticket, command }, out);
    }

    /// A message came. Only what comes of a start that has introduced itself is taken (rule R4).
    pub(super) fn received(&mut self, now: Now, message: Message, out: &mut Vec<Effect>) {
        let (from, incarnation) = (message.from(), message.incarnation());
        if message.to() != self.raft.id() || from == self.raft.id() {
            return reject(from, Reason::NotForUs, out);
        }
        if let Message::Member(Letter { body: Body::Meet(words), .. }) = message {
            if !self.is_taking_part() {
                // Perhaps the boot record of this start could not be written: nobody is to remember it.
                return;
            }
            return self.work.push_back(Work::Witness(witness::Event::Received { from, incarnation, words }));
        }
        match self.witness.standing(&from, incarnation) {
            Standing::Known => {}
            Standing::Older => return reject(from, Reason::OlderStart, out),
            Standing::Unknown => {
                self.work.push_back(Work::Witness(witness::Event::Dropped { from, incarnation }));
                return reject(from, Reason::UnknownStart, out);
            }
        }
        match message {
            Message::Raft(message) => {
                self.remember(&message);
                self.work.push_back(Work::Raft(raft::Event::Received(message)));
            }
            Message::Member(letter) => self.read(now, letter, out),
        }
    }

    /// What a start has said of its term and its log, a later one must know.
    fn remember(&mut self, message: &raft::message::Message) {
        let (from, term) = (&message.from, message.term);
        match &message.body {
            // These may speak of a term to come.
            Words::PreVote { .. } | Words::PreVoteReply { .. } => {}
            Words::AppendReply { result: Appended::Matched { index }, counts: true, .. }
                if self.raft.is_leader() && term == self.raft.term() && self.raft.membership().is_member(from) =>
            {
                self.witness.spoke_in(from, term);
                if let Some(term) = self.raft.term_of(*index) {
                    self.witness.acknowledged(from, Position { term, index: *index });
                }
            }
            Words::Vote { .. }
            | Words::VoteReply { .. }
            | Words::Append { .. }
            | Words::AppendReply { .. }
            | Words::Install { .. }
            | Words::Heartbeat { .. }
            | Words::HeartbeatReply { .. }
            | Words::Read { .. }
            | Words::ReadReply { .. }
            | Words::TimeoutNow { .. }
            | Words::Survey { .. }
            | Words::SurveyReply { .. }
            | Words::Stale => self.witness.spoke_in(from, term),
        }
    }

    /// A letter of a known start.
    fn read(&mut self, now: Now, letter: Letter, out: &mut Vec<Effect>) {
        let Letter { from, incarnation, body, .. } = letter;
        let asks = matches!(body, Body::Ask(_) | Body::Wanted { .. } | Body::Propose { .. });
        if asks && self.raft.is_leader() && !self.raft.membership().is_member(&from) {
            // Whoever was removed gets nothing and changes nothing any more.
            reject(from, Reason::NoMember, out);
            if let Body::Propose { ticket, .. } = body {
                let asked = Asked::Remote { node: from, asker: incarnation, ticket };
                out.push(self.refuse(asked, raft::Refusal::NotLeader { leader: None }.into()));
            }
            return;
        }
        match body {
            Body::Ask(piece) => {
                self.with_snapshots(out, |snapshots, effects| snapshots.asked(from, incarnation, piece, effects));
            }
            Body::Part { asker, .. } | Body::Offered { asker, .. } | Body::Proposed { asker, .. }
                if asker != self.incarnation =>
            {
                reject(from, Reason::OtherStart, out);
            }
            Body::Part { piece, bytes, .. } => {
                self.with_snapshots(out, |snapshots, effects| snapshots.part(from, piece, bytes, effects));
            }
            Body::Unfit(piece) => {
                self.with_snapshots(out, |snapshots, effects| snapshots.doubted(piece, effects));
            }
            Body::Wanted { from: index } => self.wanted(from, incarnation, index, out),
            Body::Offered { snapshot, .. } => {
                // One that the log does not go on from is of no use.
                if self.raft.term_of(snapshot.last.index) == Some(snapshot.last.term) && self.takes_offer() {
                    self.with_snapshots(out, |snapshots, effects| snapshots.fetch(from, snapshot, effects));
                }
            }
            Body::Propose { ticket, command } => {
                let asked = Asked::Remote { node: from, asker: incarnation, ticket };
                self.propose(now, asked, Vec::new(), command, out);
            }
            Body::Proposed { ticket, answer, .. } => out.push(Effect::Passed { ticket, answer }),
            Body::Meet(_) => unreachable!("these are heard of every start"),
        }
    }
}

fn reject(from: NodeId, reason: Reason, out: &mut Vec<Effect>) {
    out.push(Effect::Note(Note::Member(MemberNote::Rejected { from, reason })));
}
