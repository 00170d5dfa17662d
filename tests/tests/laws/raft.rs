//! Where a [`Raft`] lives: two peers that answer what they like, a slow disk, callers, and messages from nowhere.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use dps_core::id::NodeId;
use dps_core::raft::entry::{Entry, Payload, Position};
use dps_core::raft::membership::{Change, Membership};
use dps_core::raft::message::{Appended, Body, Message};
use dps_core::raft::settings::Settings;
use dps_core::raft::snapshot::Snapshot;
use dps_core::raft::{Base, Doubt, Effect, Event, Raft, Start, Vote};
use dps_core::rng::{Rng, Seed};
use dps_core::time::Now;
use dps_tests::laws::Habitat;

/// Nodes that there are; the first is the one that lives here, and the last takes no part at first.
const NODES: u64 = 4;

const fn node(number: u64) -> NodeId {
    NodeId::from_bytes([number as u8; 20])
}

pub(crate) struct Council {
    seed: u64,
    /// Writes that are not durable.
    writes: VecDeque<u64>,
    /// Messages that were not answered.
    asked: VecDeque<Message>,
    tickets: u64,
    /// The largest term that it has spoken of.
    term: u64,
    /// What was applied last, and who takes part then.
    applied: Position,
    membership: Arc<Membership>,
    /// The last snapshot that was to be fetched.
    offered: Option<Snapshot>,
}

impl Council {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            writes: VecDeque::new(),
            asked: VecDeque::new(),
            tickets: 0,
            term: 0,
            applied: Position::ZERO,
            membership: group(1 + seed % 3).into(),
            offered: None,
        }
    }

    /// What an honest peer might say.
    fn answer(&mut self, rng: &mut Rng) -> Option<Message> {
        let Message { to, term, body, .. } = self.asked.pop_front()?;
        let yes = rng.chance(3, 4);
        let body = match body {
            Body::PreVote { .. } => Body::PreVoteReply { granted: yes },
            Body::Vote { .. } => Body::VoteReply { granted: yes, clock: 0 },
            Body::Append { session, prev, entries, .. } => {
                let index = entries.last().map_or(prev.index, |entry| entry.position.index);
                let conflict = Appended::Conflict { prev: prev.index, hint: Position::ZERO };
                let result = if yes { Appended::Matched { index } } else { conflict };
                Body::AppendReply { session, result, counts: true, clock: 0 }
            }
            Body::Heartbeat { session, round, .. } => Body::HeartbeatReply { session, round, counts: true, clock: 0 },
            Body::Read { ticket } => Body::ReadReply { asker: 1, ticket, index: yes.then_some(1) },
            Body::Install { session, snapshot } => {
                let result = Appended::Matched { index: snapshot.last.index };
                Body::AppendReply { session, result, counts: true, clock: 0 }
            }
            Body::Survey { round } => self.say_what_is_there(rng, round),
            Body::PreVoteReply { .. }
            | Body::VoteReply { .. }
            | Body::AppendReply { .. }
            | Body::HeartbeatReply { .. }
            | Body::ReadReply { .. }
            | Body::TimeoutNow { .. }
            | Body::SurveyReply { .. }
            | Body::Stale => return None,
        };
        Some(Message { from: to, incarnation: 1, to: node(1), term, body })
    }

    fn say_what_is_there(&self, rng: &mut Rng, round: u64) -> Body {
        let (last, membership) = (self.applied, Arc::clone(&self.membership));
        Body::SurveyReply { asker: 1, round, last, doubtful: rng.chance(1, 2), since: 0, membership }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { last: self.applied, membership: Arc::clone(&self.membership), digest: [0; 32], bytes: 1 }
    }

    /// A message from anybody that says anything.
    fn anything(&self, rng: &mut Rng) -> Message {
        let term = (self.term + rng.below(4)).saturating_sub(1);
        let mut position = || Position { term: rng.below(6), index: rng.below(6) };
        let (last, prev) = (position(), position());
        let [session, round, commit, ticket] = [(); 4].map(|()| rng.below(6));
        let granted = rng.chance(1, 2);
        let body = match rng.below(14) {
            0 => Body::PreVote { last },
            1 => Body::PreVoteReply { granted },
            2 => Body::Vote { last, transfer: granted },
            3 => Body::VoteReply { granted, clock: 0 },
            4 => Body::Append { session, prev, entries: entries(rng, prev, 0), commit },
            5 => Body::Append { session, prev: Position::ZERO, entries: entries(rng, Position::ZERO, term), commit: 0 },
            6 => Body::AppendReply { session, result: Appended::Matched { index: commit }, counts: granted, clock: 0 },
            7 => Body::AppendReply {
                session,
                result: Appended::Conflict { prev: commit, hint: last },
                counts: granted,
                clock: 0,
            },
            8 => Body::Heartbeat { session, commit, round },
            9 => Body::HeartbeatReply { session, round, counts: granted, clock: 0 },
            12 => {
                let membership = group(1 + rng.below(NODES)).into();
                let snapshot = Snapshot { last, membership, digest: [1; 32], bytes: 1 };
                Body::Install { session, snapshot: snapshot.into() }
            }
            13 if granted => Body::Survey { round },
            13 => {
                let membership = group(1 + rng.below(NODES)).into();
                Body::SurveyReply { asker: 1, round, last, doubtful: granted, since: commit, membership }
            }
            10 if granted => Body::Read { ticket },
            10 => Body::ReadReply { asker: 1, ticket, index: Some(commit) },
            _ if granted => Body::TimeoutNow { last },
            _ => Body::Stale,
        };
        let from = node(1 + rng.below(NODES));
        Message { from, incarnation: rng.below(3), to: node(1 + rng.below(8) / 7), term, body }
    }
}

/// Entries that follow `prev`, mostly.
fn entries(rng: &mut Rng, prev: Position, term: u64) -> Arc<[Entry]> {
    let mut term = prev.term.max(term);
    let count = rng.below(4);
    let entry = |offset| {
        term += rng.below(8) / 7;
        let index = prev.index + 1 + offset + rng.below(20) / 19;
        let payload = match rng.below(6) {
            0 => Payload::Empty,
            1 => Payload::Membership(group(1 + rng.below(NODES)).into()),
            _ => Payload::Command(Bytes::copy_from_slice(&rng.bytes::<8>())),
        };
        Entry { position: Position { term, index }, payload }
    };
    (0..count).map(entry).collect()
}

fn group(voters: u64) -> Membership {
    Membership::new((1..=voters).map(node)).expect("there is a voter")
}

impl Habitat for Council {
    type Machine = Raft;

    fn machine(&self) -> Raft {
        let start = Start {
            id: node(1),
            incarnation: 1,
            vote: Vote::default(),
            base: Base { position: Position::ZERO, membership: group(1 + self.seed % 3).into() },
            snapshot: None,
            entries: Vec::new(),
            // Some lives begin with a loss, some with a loss of votes as well.
            doubt: (self.seed % 4 == 3).then(Doubt::default),
            vote_certain: self.seed % 8 != 7,
            lacks_state: false,
            settings: Settings { trailing_entries: 2, ..Settings::STANDARD },
        };
        Raft::new(start, Seed::new([5; 32]).split("raft", self.seed).rng(), Now::default())
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        let ticket = self.tickets + 1;
        match rng.below(24) {
            0..=6 => return self.writes.pop_front().map(|write| Event::Persisted { write }),
            7 if self.seed % 2 == 1 => return Some(Event::Received(self.anything(rng))),
            7..=14 => return self.answer(rng).map(Event::Received),
            15 if rng.chance(1, 2) => return Some(Event::Wake),
            15 if rng.chance(1, 2) => return self.offered.take().map(Event::Installed),
            15 => {
                let (snapshot, through) = (self.snapshot(), rng.below(self.applied.index + 1));
                return (self.applied.index > 0).then_some(Event::Snapshotted { snapshot, through });
            }
            16 => return Some(Event::Transfer { to: node(2 + rng.below(8) / 7) }),
            17 if rng.chance(1, 4) => return Some(Event::Settle { index: rng.below(3) }),
            17 => return Some(Event::Transfer { to: node(2) }),
            _ => self.tickets = ticket,
        }
        let changes = || vec![Change::AddLearner(node(NODES)), Change::Remove(node(2))];
        Some(match rng.below(6) {
            0 => Event::Change { ticket, changes: changes()[usize::from(rng.chance(1, 2))..].to_vec() },
            1 | 2 => Event::Read { ticket },
            _ => Event::Propose { ticket, command: Bytes::copy_from_slice(&ticket.to_le_bytes()) },
        })
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Persist(write) => self.writes.push_back(write.number),
                Effect::Send(message) => {
                    self.term = self.term.max(message.term);
                    self.asked.push_back(message.clone());
                }
                Effect::Apply(entries) => {
                    for entry in entries.iter() {
                        if let Payload::Membership(membership) = &entry.payload {
                            self.membership = Arc::clone(membership);
                        }
                        self.applied = entry.position;
                    }
                }
                Effect::Restore(snapshot) => {
                    (self.applied, self.membership) = (snapshot.last, Arc::clone(&snapshot.membership));
                }
                Effect::Fetch { snapshot, .. } => self.offered = Some(snapshot.clone()),
                Effect::Answered { .. } | Effect::Readable { .. } | Effect::Settled | Effect::Note(_) => {}
            }
        }
    }

    /// Entries are shared, not copied.
    fn bytes(_effect: &Effect) -> usize {
        0
    }
}
