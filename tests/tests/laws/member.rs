//! Where a [`Peer`] and a [`Replica`] live: a group of two whose other half answers what it likes, a slow disk, and callers.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use dps_core::crypto::hash::sha256;
use dps_core::disk::{DiskError, DiskReply, DiskRequest, File, Slot};
use dps_core::id::{FileId, NodeId, OpId};
use dps_core::keystore::manifest::Manifest;
use dps_core::ledger::command::Command;
use dps_core::ledger::file::Expect;
use dps_core::raft::entry::Position;
use dps_core::raft::membership::{Change, Membership};
use dps_core::raft::message::{Appended, Body, Message as Words};
use dps_core::raft::settings::Settings as RaftSettings;
use dps_core::replica::recover::{Recovery, Step};
use dps_core::replica::witness::memory::{Memory, Record};
use dps_core::replica::witness::{Start, Words as Meeting};
use dps_core::replica::{
    Answer, Body as Says, Effect, Event, Founding, Letter, Message, Peer, Piece, Replica, Settings,
};
use dps_core::rng::{Rng, Seed};
use dps_core::time::{Now, WallTime};
use dps_tests::laws::Habitat;

use crate::disk::{Slow, encoded_bytes};
use crate::files::{boot, config, name};

const fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 20])
}

/// Of the other half.
fn letter(body: Says) -> Message {
    Message::Member(Letter { from: node(2), incarnation: 1, to: node(1), body })
}

fn founding() -> Founding {
    let members = Membership::new([node(1), node(2)]).expect("two vote");
    let raft = RaftSettings { trailing_entries: 2, ..RaftSettings::STANDARD };
    Founding { id: node(1), members: Arc::new(members), settings: Settings { raft, snapshot_entries: 2 } }
}

/// The world around a member.
struct Neighbourhood {
    disk: Slow<OpId>,
    /// Messages that were not answered.
    asked: VecDeque<Words>,
    /// Letters to be told, in their order.
    letters: VecDeque<Says>,
    tickets: u64,
    closing: bool,
    over: bool,
}

impl Neighbourhood {
    fn new(seed: u64) -> Self {
        let disk = Slow::new(seed.is_multiple_of(3));
        Self { disk, asked: VecDeque::new(), letters: VecDeque::new(), tickets: 0, closing: false, over: false }
    }

    /// What the other half says to what it was told last.
    fn answer(&mut self, rng: &mut Rng) -> Option<Words> {
        let Words { to, term, body, .. } = self.asked.pop_front()?;
        let yes = rng.chance(7, 8);
        let body = match body {
            Body::PreVote { .. } => Body::PreVoteReply { granted: yes },
            Body::Vote { .. } => Body::VoteReply { granted: yes, clock: 0 },
            Body::Append { session, prev, entries, .. } => {
                let index = entries.last().map_or(prev.index, |entry| entry.position.index);
                Body::AppendReply { session, result: Appended::Matched { index }, counts: true, clock: 0 }
            }
            Body::Heartbeat { session, round, .. } => Body::HeartbeatReply { session, round, counts: true, clock: 0 },
            _ => return None,
        };
        Some(Words { from: to, incarnation: 1, to: node(1), term, body })
    }

    /// A part of a snapshot, or a wish for one, that nobody can make sense of.
    fn piece(rng: &mut Rng) -> Message {
        let (index, offset, digest) = (rng.below(9), rng.below(3), [0; 32]);
        let piece = Piece { index, digest, offset };
        letter(match rng.below(6) {
            0 => Says::Ask(piece),
            1 => Says::Unfit(piece),
            2 => Says::Wanted { from: index },
            3 => Says::Proposed { asker: 1, ticket: offset, answer: Answer::Busy },
            _ => Says::Part { asker: rng.below(2) + 1, piece, bytes: Bytes::from_static(b"dps") },
        })
    }

    /// The other half gets to know this one, and is known to it.
    fn meet(&mut self, words: &Meeting) {
        let start = Start { random: [2; 16], end: Position::ZERO, term: 0, whole: true };
        self.letters.extend(match words {
            Meeting::Introduction { nonce: None, .. } => {
                vec![
                    Says::Meet(Meeting::Challenge { start: 1, nonce: [3; 16] }),
                    Says::Meet(Meeting::Introduction { start, nonce: None }),
                ]
            }
            Meeting::Introduction { start, nonce: Some(_) } => {
                vec![Says::Meet(Meeting::Known { random: start.random })]
            }
            Meeting::Challenge { nonce, .. } => {
                vec![Says::Meet(Meeting::Introduction { start, nonce: Some(*nonce) })]
            }
            Meeting::Known { .. } | Meeting::RolledBack { .. } => vec![],
        });
    }

    fn command(&self, rng: &mut Rng) -> Command {
        let (time, name, expect) = (WallTime::from_nanos(rng.below(1_000_000)), name(rng), Expect::Any);
        let content = self.tickets.to_le_bytes();
        let manifest = Manifest::inline(FileId::from_bytes(sha256(&content)), &content);
        match rng.below(6) {
            0 => Command::Delete { time, name, expect },
            1 => Command::RegisterSession { time },
            _ => Command::Put { time, lease: 0, name, expect, manifest },
        }
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        // Nothing is called after the end.
        if self.over {
            return None;
        }
        let ticket = self.tickets + 1;
        if let Some(body) = self.letters.pop_front_if(|_| rng.chance(1, 2)) {
            return Some(Event::Received(Box::new(letter(body))));
        }
        match rng.below(24) {
            0..=9 => return self.disk.end(rng).map(|(op, result)| Event::DiskDone { op, result }),
            10..=17 => return self.answer(rng).map(|words| Event::Received(Box::new(Message::Raft(words)))),
            18 => return Some(Event::Received(Box::new(Self::piece(rng)))),
            19 if rng.chance(1, 8) => return Some(Event::Transfer { to: node(2) }),
            19 if !self.closing && rng.chance(1, 12) => {
                self.closing = true;
                return Some(Event::Close);
            }
            _ => self.tickets = ticket,
        }
        Some(match rng.below(9) {
            8 => Event::Pass { to: node(2), ticket, command: self.command(rng) },
            0 => Event::Read { ticket },
            1 => Event::Change { ticket, changes: vec![Change::AddLearner(node(3))] },
            _ => {
                let volumes = if rng.chance(1, 4) { vec![(1, ticket)] } else { vec![] };
                Event::Propose { ticket, volumes, command: self.command(rng) }
            }
        })
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Disk { op, request } => self.disk.issue(*op, request.clone()),
                Effect::Send(message) => match &**message {
                    Message::Raft(words) => self.asked.push_back(words.clone()),
                    Message::Member(Letter { body: Says::Meet(words), .. }) => self.meet(words),
                    Message::Member(_) => {}
                },
                Effect::Closed | Effect::Halt(_) => self.over = true,
                Effect::Decided { .. }
                | Effect::Passed { .. }
                | Effect::Changed { .. }
                | Effect::Readable { .. }
                | Effect::Note(_) => {}
            }
        }
    }
}

fn bytes(effect: &Effect) -> usize {
    match effect {
        Effect::Disk { request, .. } => encoded_bytes(request),
        Effect::Send(_)
        | Effect::Decided { .. }
        | Effect::Passed { .. }
        | Effect::Changed { .. }
        | Effect::Readable { .. }
        | Effect::Closed
        | Effect::Note(_)
        | Effect::Halt(_) => 0,
    }
}

/// A member from power on.
pub(crate) struct House(Neighbourhood);

impl House {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Neighbourhood::new(seed))
    }
}

impl Habitat for House {
    type Machine = Peer;

    fn machine(&self) -> Peer {
        Peer::new(config(), founding(), Seed::new([9; 32]))
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        self.0.event(rng)
    }

    fn observe(&mut self, effects: &[Effect]) {
        self.0.observe(effects);
    }

    fn bytes(effect: &Effect) -> usize {
        bytes(effect)
    }

    fn progress(peer: &Peer) -> u64 {
        peer.replica().map_or(0, Replica::progress)
    }
}

/// A member whose disk was read.
pub(crate) struct Room(Neighbourhood);

impl Room {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Neighbourhood::new(seed))
    }
}

impl Habitat for Room {
    type Machine = Replica;

    fn machine(&self) -> Replica {
        let mut recovery = Recovery::new(&config(), founding(), boot(), vec![], vec![], None);
        loop {
            match recovery.advance() {
                // It knows the other half from a start before.
                Step::Disk(DiskRequest::Read { file: File::Slot(Slot::WitnessEven), .. }) => {
                    let record = Record { boot: 1, random: [2; 16], end: Position::ZERO, term: 0 };
                    let memory = Memory { number: 2, nodes: [(node(2), record)].into(), verdict: None };
                    recovery.done(&Ok(DiskReply::Read(memory.encode(&boot().store).into())));
                }
                Step::Disk(_) => recovery.done(&Err(DiskError::NotFound)),
                Step::Note(note) => panic!("nothing is wrong with an empty disk: {note}"),
                Step::Halt(reason) => panic!("nor is there anything to halt for: {reason}"),
                Step::Ready => break,
            }
        }
        recovery.into_recovered(Seed::new([4; 32]), Now::default()).replica
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        self.0.event(rng)
    }

    fn observe(&mut self, effects: &[Effect]) {
        self.0.observe(effects);
    }

    fn bytes(effect: &Effect) -> usize {
        bytes(effect)
    }

    fn progress(replica: &Replica) -> u64 {
        replica.progress()
    }
}
