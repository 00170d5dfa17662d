//! One node by hand: what it says before and after it knows what it has lost (rule R2), and what others make of that.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dps_core::id::NodeId;
use dps_core::machine::Machine;
use dps_core::raft::entry::{Entry, Payload, Position};
use dps_core::raft::membership::Membership;
use dps_core::raft::message::{Appended, Body, Message};
use dps_core::raft::settings::Settings;
use dps_core::raft::snapshot::Snapshot;
use dps_core::raft::{Base, Doubt, Effect, Event, Note, Raft, Reason, Settlement, Start, Vote, Write};
use dps_core::rng::Seed;
use dps_core::time::{Instant, Now, WallTime};

use crate::group::node;

fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

fn entry(term: u64, index: u64) -> Entry {
    Entry { position: at(term, index), payload: Payload::Empty }
}

fn group(voters: u8) -> Arc<Membership> {
    Arc::new(Membership::new((1..=voters).map(node)).expect("there is a voter"))
}

/// Node 1, and everything that it has said.
struct Alone {
    raft: Raft,
    now: Instant,
    out: Vec<Effect>,
    incarnation: u64,
}

/// Of three voters, in term 3, with two entries.
fn start() -> Start {
    Start {
        id: node(1),
        incarnation: 9,
        vote: Vote { term: 3, candidate: None },
        base: Base { position: Position::ZERO, membership: group(3) },
        snapshot: None,
        entries: vec![entry(2, 1), entry(3, 2)],
        doubt: Some(Doubt { last: at(3, 2), term: 3 }),
        vote_certain: false,
        lacks_state: false,
        settings: Settings { trailing_entries: 0, ..Settings::STANDARD },
    }
}

fn certain() -> Start {
    Start { doubt: None, vote_certain: true, ..start() }
}

impl Alone {
    fn new(start: Start) -> Self {
        let now = Instant::ZERO;
        let raft = Raft::new(start, Seed::new([3; 32]).rng(), Now { mono: now, wall: WallTime::from_nanos(0) });
        let mut alone = Self { raft, now, out: vec![], incarnation: 1 };
        alone.give(Event::Wake);
        alone
    }

    fn give(&mut self, event: Event) {
        let now = Now { mono: self.now, wall: WallTime::from_nanos(0) };
        self.raft.step(now, event, &mut self.out);
        self.raft.flush(now, &mut self.out);
        self.raft.check();
    }

    fn hear(&mut self, from: u8, term: u64, body: Body) {
        let message = Message { from: node(from), incarnation: self.incarnation, to: node(1), term, body };
        self.give(Event::Received(message));
    }

    fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(at) = self.raft.deadline().filter(|at| *at <= until) {
            self.now = at;
            self.give(Event::Wake);
        }
        self.now = until;
    }

    /// Everything that it has written is durable.
    fn persist(&mut self) {
        if let Some(write) = self.writes().last().map(|write| write.number) {
            self.give(Event::Persisted { write });
        }
    }

    fn writes(&self) -> Vec<Write> {
        let writes = self.out.iter().filter_map(|effect| match effect {
            Effect::Persist(write) => Some(write.clone()),
            _ => None,
        });
        writes.collect()
    }

    /// What it has sent since this was asked last.
    fn sent(&mut self) -> Vec<Message> {
        let sent = self.out.iter().filter_map(|effect| match effect {
            Effect::Send(message) => Some(message.clone()),
            _ => None,
        });
        let sent = sent.collect();
        self.out.retain(|effect| !matches!(effect, Effect::Send(_)));
        sent
    }

    fn said(&mut self) -> Vec<Body> {
        self.sent().into_iter().map(|message| message.body).collect()
    }

    fn asked(&mut self, round: u64) -> BTreeSet<NodeId> {
        let asked = self.sent().into_iter().filter(|message| message.body == Body::Survey { round });
        asked.map(|message| message.to).collect()
    }

    fn answer(&mut self, from: u8, round: u64, term: u64, last: Position) {
        self.answer_as(from, round, term, last, 0, group(3));
    }

    fn answer_as(&mut self, from: u8, round: u64, term: u64, last: Position, since: u64, membership: Arc<Membership>) {
        self.hear(from, term, Body::SurveyReply { asker: 9, round, last, doubtful: false, since, membership });
    }

    fn is_settled(&self) -> bool {
        self.out.contains(&Effect::Settled)
    }

    fn has_noted(&self, note: Note) -> bool {
        self.out.contains(&Effect::Note(note))
    }

    /// Entries of the leader of a term come.
    fn append(&mut self, term: u64, prev: Position, entries: &[Entry]) {
        self.hear(2, term, Body::Append { session: 1, prev, entries: entries.into(), commit: 0 });
    }

    /// Whether it gives its vote in a term to n3.
    fn votes(&mut self, term: u64, last: Position) -> bool {
        self.hear(3, term, Body::Vote { last, transfer: true });
        self.persist();
        self.said().contains(&Body::VoteReply { granted: true, clock: 0 })
    }

    fn pre_votes(&mut self, term: u64, last: Position) -> bool {
        self.hear(3, term, Body::PreVote { last });
        self.said().contains(&Body::PreVoteReply { granted: true })
    }
}

fn any_vote(bodies: &[Body]) -> bool {
    bodies.iter().any(|body| matches!(body, Body::PreVote { .. } | Body::Vote { .. }))
}

#[test]
fn whoever_is_in_doubt_neither_votes_nor_stands_for_election() {
    let doubts = [(None, false), (Some(Doubt { last: at(3, 2), term: 3 }), true), (start().doubt, false)];
    for (doubt, vote_certain) in doubts {
        let mut alone = Alone::new(Start { doubt, vote_certain, ..start() });
        assert!(alone.raft.is_unsettled() && alone.has_noted(Note::Doubtful { last: at(3, 2) }));
        alone.wait(Duration::from_secs(2));
        assert!(!any_vote(&alone.said()));
        assert!(!alone.pre_votes(4, at(3, 9)) && !alone.votes(4, at(3, 9)));
        alone.append(4, at(3, 2), &[]);
        alone.hear(2, 4, Body::TimeoutNow { last: at(3, 2) });
        assert!(alone.has_noted(Note::Rejected { from: node(2), reason: Reason::InDoubt }));
        alone.persist();
        assert!(!any_vote(&alone.said()));
    }
    let mut alone = Alone::new(certain());
    assert!(alone.pre_votes(4, at(3, 9)) && alone.votes(4, at(3, 9)));
    alone.wait(Duration::from_secs(2));
    assert!(any_vote(&alone.said()));
}

#[test]
fn all_are_asked_twice_and_then_logs_that_are_long_enough_may_win() {
    let mut alone = Alone::new(start());
    assert_eq!(alone.asked(1), [node(2), node(3)].into());
    alone.answer(2, 1, 3, at(3, 2));
    // Who is silent is asked again, and nobody else.
    alone.wait(Duration::from_millis(400));
    assert_eq!(alone.asked(1), [node(3)].into());
    alone.answer(3, 1, 3, at(3, 2));
    assert!(alone.raft.is_unsettled(), "what was acknowledged before may just be committed by that");
    assert_eq!(alone.asked(2), [node(2), node(3)].into());
    // Late, of another start, or of whoever does not vote.
    alone.answer(3, 1, 9, at(9, 9));
    alone.hear(
        3,
        9,
        Body::SurveyReply { asker: 8, round: 2, last: at(9, 9), doubtful: false, since: 0, membership: group(3) },
    );
    alone.answer(4, 2, 9, at(9, 9));
    alone.answer(2, 2, 5, at(3, 4));
    assert!(alone.raft.is_unsettled());
    alone.answer(3, 2, 4, at(2, 7));
    let how = Settlement::Survey { longest: at(3, 4), term: 5, doubtful: 0 };
    assert!(alone.has_noted(Note::Settled { how }) && !alone.raft.is_unsettled());
    assert!(!alone.is_settled(), "its own log is too short");
    // The largest term is one that it has voted in, and that is written before anything is said.
    assert_eq!(alone.writes().last().and_then(|write| write.vote), Some(Vote { term: 5, candidate: Some(node(1)) }));
    alone.hear(3, 5, Body::Vote { last: at(4, 9), transfer: true });
    assert_eq!(alone.said(), []);
    alone.persist();
    assert_eq!(alone.said(), [Body::VoteReply { granted: false, clock: 0 }]);
    assert!(!alone.votes(6, at(3, 3)) && !alone.pre_votes(7, at(3, 3)), "shorter than the longest");
    alone.wait(Duration::from_secs(2));
    assert!(!any_vote(&alone.said()), "so is its own");
    assert!(alone.pre_votes(7, at(3, 4)) && alone.votes(7, at(3, 4)));
    // Its own log gets as long, and counts once that is durable.
    alone.append(7, at(3, 2), &[entry(3, 3), entry(3, 4)]);
    assert!(!alone.is_settled());
    alone.persist();
    assert!(alone.is_settled());
    alone.wait(Duration::from_secs(2));
    assert!(any_vote(&alone.said()));
}

#[test]
fn a_survey_changes_nothing_for_who_is_asked() {
    let mut alone = Alone::new(certain());
    for (term, asker) in [(0, 1), (3, 1), (99, 1)] {
        let before = (alone.raft.term(), alone.raft.deadline(), alone.raft.leader());
        alone.hear(2, term, Body::Survey { round: 7 });
        let body =
            Body::SurveyReply { asker, round: 7, last: at(3, 2), doubtful: false, since: 0, membership: group(3) };
        let reply = Message { from: node(1), incarnation: 9, to: node(2), term: 3, body };
        assert_eq!(alone.sent(), [reply]);
        assert_eq!((alone.raft.term(), alone.raft.deadline(), alone.raft.leader()), before);
        assert_eq!(alone.writes(), []);
    }
    // What is not durable is not there.
    alone.append(3, at(3, 2), &[entry(3, 3)]);
    alone.hear(3, 3, Body::Survey { round: 1 });
    assert!(matches!(alone.said()[..], [Body::SurveyReply { last, .. }] if last == at(3, 2)));
    let mut alone = Alone::new(start());
    alone.sent();
    alone.hear(2, 1, Body::Survey { round: 1 });
    assert!(matches!(alone.said()[..], [Body::SurveyReply { doubtful: true, .. }]));
}

#[test]
fn whoever_starts_again_is_asked_anew() {
    let mut alone = Alone::new(start());
    for round in [1, 2] {
        alone.answer(2, round, 3, at(3, 2));
        if round == 1 {
            alone.answer(3, round, 3, at(3, 2));
        }
    }
    alone.sent();
    alone.incarnation = 2;
    alone.hear(2, 3, Body::Stale);
    alone.wait(Duration::ZERO);
    assert_eq!(alone.asked(2), [node(2), node(3)].into());
    alone.answer(3, 2, 3, at(3, 2));
    assert!(alone.raft.is_unsettled(), "n2 may have lost what it said");
    alone.answer(2, 2, 3, at(3, 2));
    assert!(!alone.raft.is_unsettled());
}

#[test]
fn both_halves_of_a_joint_membership_are_asked_and_whoever_a_newer_one_has() {
    let nodes = |numbers: &[u8]| numbers.iter().copied().map(node).collect::<BTreeSet<_>>();
    let joint = Membership::from_parts(nodes(&[1, 2]), nodes(&[1, 3]), nodes(&[]), nodes(&[])).unwrap();
    let base = Base { position: Position::ZERO, membership: Arc::new(joint) };
    let mut alone = Alone::new(Start { base, ..start() });
    assert_eq!(alone.asked(1), [node(2), node(3)].into());
    alone.answer(2, 1, 3, at(3, 2));
    // A membership that this log has lost, perhaps.
    alone.answer_as(3, 1, 3, at(3, 5), 5, group(4));
    assert_eq!(alone.asked(2), [].into());
    alone.wait(Duration::from_millis(400));
    assert_eq!(alone.asked(1), [node(4)].into());
    alone.answer_as(4, 1, 3, at(3, 5), 5, group(4));
    assert_eq!(alone.asked(2), [node(2), node(3)].into());
}

#[test]
fn a_leader_settles_a_log_by_an_entry_of_a_newer_term_that_is_durable() {
    let mut alone = Alone::new(Start { vote_certain: true, ..start() });
    // More of this very term may be lost.
    alone.append(3, at(3, 2), &[entry(3, 3)]);
    alone.persist();
    assert!(!alone.is_settled() && !alone.votes(4, at(9, 9)));
    // Older entries say nothing, whoever they come from.
    alone.append(5, at(3, 3), &[entry(4, 4)]);
    alone.persist();
    assert!(!alone.is_settled());
    alone.append(5, at(4, 4), &[entry(5, 5)]);
    assert!(!alone.is_settled(), "it is not durable");
    alone.persist();
    assert!(alone.is_settled() && alone.has_noted(Note::Settled { how: Settlement::Leader { term: 5 } }));
    assert!(alone.votes(6, at(5, 5)));
    assert_eq!(alone.out.iter().filter(|effect| **effect == Effect::Settled).count(), 1);
}

#[test]
fn a_leader_settles_no_vote() {
    let mut alone = Alone::new(start());
    alone.append(5, at(3, 2), &[entry(5, 3)]);
    alone.persist();
    assert!(!alone.is_settled() && !alone.votes(6, at(9, 9)));
    let counts =
        |counts| move |body: &Body| matches!(body, Body::AppendReply { counts: found, .. } if *found == counts);
    alone.sent();
    alone.append(6, at(5, 3), &[]);
    assert!(alone.said().iter().any(counts(false)));
    alone.hear(2, 6, Body::Heartbeat { session: 1, commit: 0, round: 1 });
    assert_eq!(alone.said(), [Body::HeartbeatReply { session: 1, round: 1, counts: false, clock: 0 }]);
    for round in [1, 2] {
        alone.answer(2, round, 6, at(5, 3));
        alone.answer(3, round, 6, at(5, 3));
    }
    assert!(!alone.is_settled(), "that it has voted in term 6 is not durable");
    alone.persist();
    assert!(alone.is_settled());
    alone.sent();
    alone.append(6, at(5, 3), &[]);
    assert!(alone.said().iter().any(counts(true)));
    assert!(!alone.votes(6, at(9, 9)));
}

#[test]
fn an_operator_names_the_last_index() {
    let mut alone = Alone::new(start());
    alone.give(Event::Settle { index: 3 });
    assert!(alone.has_noted(Note::NotSettled { index: 3, last: at(3, 2) }) && alone.raft.is_unsettled());
    alone.give(Event::Settle { index: 2 });
    assert!(alone.has_noted(Note::Settled { how: Settlement::Operator }) && !alone.is_settled());
    alone.persist();
    assert!(alone.is_settled() && !alone.votes(3, at(3, 9)) && alone.votes(4, at(3, 2)));
    alone.give(Event::Settle { index: 2 });
    assert!(alone.has_noted(Note::NotSettled { index: 2, last: at(3, 2) }), "nothing is in doubt");
}

/// Node 1 leads term 4, and its first entry has index 3. It is not durable.
fn leader() -> Alone {
    let mut alone = Alone::new(certain());
    while !alone.raft.is_leader() {
        let sent = alone.sent();
        for Message { to, term, body, .. } in sent {
            let from = to.as_bytes()[0];
            match body {
                Body::PreVote { .. } => alone.hear(from, term, Body::PreVoteReply { granted: true }),
                Body::Vote { .. } => alone.hear(from, term, Body::VoteReply { granted: true, clock: 0 }),
                _ => {}
            }
        }
        if let Some(vote) = alone.writes().iter().find(|write| write.vote.is_some()).map(|write| write.number)
            && !alone.raft.is_leader()
        {
            alone.give(Event::Persisted { write: vote });
        }
        if !alone.raft.is_leader() {
            alone.wait(Duration::from_millis(10));
        }
    }
    assert_eq!(alone.raft.last(), at(4, 3));
    alone
}

/// The session that a follower is asked in.
fn session(sent: &[Message], to: u8) -> u64 {
    let session = sent.iter().rev().find_map(|message| match message.body {
        Body::Append { session, .. } if message.to == node(to) => Some(session),
        _ => None,
    });
    session.expect("it was asked")
}

fn matched(session: u64, counts: bool) -> Body {
    Body::AppendReply { session, result: Appended::Matched { index: 3 }, counts, clock: 0 }
}

#[test]
fn a_leader_forgets_what_an_earlier_start_has_acknowledged() {
    for surveyed in [false, true] {
        let mut alone = leader();
        let session = session(&alone.sent(), 2);
        alone.hear(2, 4, matched(session, true));
        alone.incarnation = 2;
        if surveyed {
            alone.hear(2, 1, Body::Survey { round: 1 });
        }
        alone.persist();
        assert_eq!(alone.raft.commit(), if surveyed { 0 } else { 3 });
    }
}

#[test]
fn what_does_not_count_makes_no_majority() {
    let mut alone = leader();
    let session = session(&alone.sent(), 2);
    alone.persist();
    alone.hear(2, 4, matched(session, false));
    assert_eq!(alone.raft.commit(), 0);
    alone.hear(2, 4, Body::HeartbeatReply { session, round: 1, counts: true, clock: 0 });
    assert_eq!(alone.raft.commit(), 3, "what it has was not counted, and now it is");
    alone.give(Event::Read { ticket: 1 });
    let readable =
        |alone: &Alone| alone.out.iter().any(|effect| matches!(effect, Effect::Readable { result: Ok(_), .. }));
    alone.hear(2, 4, Body::HeartbeatReply { session, round: 2, counts: false, clock: 0 });
    assert!(!readable(&alone));
    alone.hear(2, 4, Body::HeartbeatReply { session, round: 2, counts: true, clock: 0 });
    assert!(readable(&alone));
    // Nor does it keep a leader in office.
    for _ in 0..8 {
        alone.hear(2, 4, Body::HeartbeatReply { session, round: 2, counts: false, clock: 0 });
        alone.wait(Duration::from_millis(50));
    }
    assert!(!alone.raft.is_leader());
}

/// A log stays as far as an older snapshot needs it.
#[test]
fn the_log_behind_what_is_said_to_be_covered_stays() {
    let entries = (1..=6).map(|index| entry(2, index)).collect();
    let base = Base { position: Position::ZERO, membership: group(1) };
    let mut alone = Alone::new(Start { base, entries, ..certain() });
    alone.give(Event::Propose { ticket: 1, command: b"command".as_slice().into() });
    alone.persist();
    assert_eq!(alone.raft.commit(), 7);
    let snapshot = |last| Snapshot { last, membership: group(1), digest: [0; 32], bytes: 1 };
    alone.give(Event::Snapshotted { snapshot: snapshot(at(2, 6)), through: 4 });
    assert_eq!(alone.raft.base(), at(2, 4));
    assert_eq!(alone.raft.entry(5), Some(&entry(2, 5)));
    let last = alone.raft.last();
    alone.give(Event::Snapshotted { snapshot: snapshot(last), through: 6 });
    assert_eq!(alone.raft.base(), at(2, 6));
    assert!(alone.raft.entry(7).is_some());
}
