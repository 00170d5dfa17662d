//! Letters there and back, their golden bytes, and what is refused.

use alloc::string::String;
use alloc::{format, vec};

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::id::KEY_LEN;
use crate::ledger::file::Expect;
use crate::ledger::name::Name;
use crate::raft::TERM_MAX;
use crate::raft::entry::Position;
use crate::replica::event::Message;
use crate::replica::witness::{Because, INCARNATION_MAX, Start, Words};
use crate::time::WallTime;
use crate::wire::control::{decode, encode};
use crate::wire::raft::tests::{any_position, any_snapshot, sample};

const fn number(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; KEY_LEN])
}

fn command(time: u64) -> Command {
    let name = Name::new(b"a/b").expect("a name");
    Command::Delete { time: WallTime::from_nanos(time), name, expect: Expect::Any }
}

fn letter(body: Body) -> Message {
    Message::Member(Letter { from: number(1), incarnation: 4, to: number(2), body })
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        any::<u64>().prop_map(|version| Answer::Decided(Outcome::Stored { version })),
        Just(Answer::Decided(Outcome::Deleted)),
        prop::option::of(any::<u8>()).prop_map(|leader| Answer::NotLeader(leader.map(number))),
        Just(Answer::Busy),
        Just(Answer::Unknown),
        Just(Answer::TooLarge),
    ]
}

/// The end of a log by accepted term, which may be of a log that was cut to nothing.
fn any_end() -> impl Strategy<Value = Position> {
    prop_oneof![any_position(), (0..=TERM_MAX).prop_map(|term| Position { term, index: 0 })]
}

fn any_words() -> impl Strategy<Value = Words> {
    let start = (any::<[u8; 16]>(), any_end(), 0..=TERM_MAX, any::<bool>())
        .prop_map(|(random, end, term, whole)| Start { random, end, term, whole });
    let because = prop_oneof![
        (0..=INCARNATION_MAX).prop_map(|known| Because::EarlierStart { known }),
        any_end().prop_map(|acknowledged| Because::ShorterLog { acknowledged }),
        (0..=TERM_MAX).prop_map(|told| Because::EarlierTerm { told }),
    ];
    prop_oneof![
        (start, any::<Option<[u8; 16]>>()).prop_map(|(start, nonce)| Words::Introduction { start, nonce }),
        (0..=INCARNATION_MAX, any::<[u8; 16]>()).prop_map(|(start, nonce)| Words::Challenge { start, nonce }),
        any::<[u8; 16]>().prop_map(|random| Words::Known { random }),
        (any::<[u8; 16]>(), because).prop_map(|(random, because)| Words::RolledBack { random, because }),
    ]
}

fn any_body() -> impl Strategy<Value = Body> {
    let piece = || {
        (any::<u8>(), 0..=INDEX_MAX, 0..=SNAPSHOT_BYTES_MAX).prop_map(|(digest, index, offset)| Piece {
            index,
            digest: [digest; HASH_LEN],
            offset,
        })
    };
    let part = (any::<u64>(), piece(), prop::collection::vec(any::<u8>(), 0..200));
    prop_oneof![
        piece().prop_map(Body::Ask),
        part.prop_map(|(asker, piece, bytes)| Body::Part { asker, piece, bytes: bytes.into() }),
        piece().prop_map(Body::Unfit),
        (0..=INDEX_MAX).prop_map(|from| Body::Wanted { from }),
        (any::<u64>(), any_snapshot()).prop_map(|(asker, snapshot)| Body::Offered { asker, snapshot }),
        any::<[u64; 2]>().prop_map(|[ticket, time]| Body::Propose { ticket, command: command(time) }),
        (any::<[u64; 2]>(), any_answer()).prop_map(|([asker, ticket], answer)| Body::Proposed {
            asker,
            ticket,
            answer
        }),
        any_words().prop_map(Body::Meet),
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    (any::<[u8; 2]>(), any::<u64>(), any_body()).prop_map(|([from, to], incarnation, body)| {
        Message::Member(Letter { from: number(from), incarnation, to: number(to), body })
    })
}

proptest! {
    #[test]
    fn every_message_comes_back(message in any_message()) {
        prop_assert_eq!(decode(&encode(&message)), Ok(message));
    }

    #[test]
    fn any_bytes_are_judged(
        message in any_message(),
        harm in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(&message);
        for (at, byte) in harm {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for bytes in [&bytes[..], &bytes[..end.index(bytes.len() + 1)]] {
            if let Ok(message) = decode(bytes) {
                prop_assert_eq!(decode(&encode(&message)), Ok(message));
            }
        }
    }
}

const PIECE: Piece = Piece { index: 300, digest: [7; HASH_LEN], offset: 5 };

/// Golden: members of different versions talk to each other.
#[test]
fn the_bytes_never_change() {
    let piece = format!("08ac021220{}1805", "07".repeat(32));
    let (random, nonce) = ([0xaa; 16], [0xbb; 16]);
    let (r, n) = ("aa".repeat(16), "bb".repeat(16));
    let start = Start { random, end: Position { term: 3, index: 9 }, term: 4, whole: true };
    let meet = Body::Meet;
    let rolled = |because| Body::Meet(Words::RolledBack { random, because });
    let acknowledged = Position { term: 3, index: 9 };
    for (body, expected) in [
        (Body::Ask(PIECE), format!("22290a27{piece}")),
        (
            Body::Part { asker: 6, piece: PIECE, bytes: Bytes::from_static(b"dps") },
            format!("2a3008061227{piece}1a03647073"),
        ),
        (Body::Unfit(PIECE), format!("32290a27{piece}")),
        (Body::Wanted { from: 8 }, String::from("3a020808")),
        (Body::Proposed { asker: 6, ticket: 9, answer: Answer::NotLeader(None) }, String::from("5206080610092200")),
        (
            Body::Proposed { asker: 6, ticket: 9, answer: Answer::Decided(Outcome::Deleted) },
            String::from("5207080610091a0102"),
        ),
        (Body::Proposed { asker: 6, ticket: 9, answer: Answer::TooLarge }, String::from("5206080610093a00")),
        (meet(Words::Introduction { start, nonce: Some(nonce) }), format!("5a2e0a10{r}1210{n}1a040803100920042801")),
        (meet(Words::Introduction { start, nonce: None }), format!("5a1c0a10{r}1a040803100920042801")),
        (meet(Words::Challenge { start: 6, nonce }), format!("621408061210{n}")),
        (meet(Words::Known { random }), format!("6a120a10{r}")),
        (rolled(Because::EarlierStart { known: 6 }), format!("72160a10{r}12020806")),
        (rolled(Because::ShorterLog { acknowledged }), format!("721a0a10{r}1a060a0408031009")),
        (rolled(Because::EarlierTerm { told: 6 }), format!("72160a10{r}22020806")),
    ] {
        let inner = format!("0a14{}10041a14{}{expected}", "01".repeat(20), "02".repeat(20));
        let expected = format!("32{:02x}{inner}", inner.len() / 2);
        assert_eq!(HEXLOWER.encode(&encode(&letter(body.clone()))), expected, "{body:?}");
    }
}

fn refused(body: Body) -> WireError {
    decode(&encode(&letter(body))).expect_err("it is out of bounds")
}

const fn too_large(field: &'static str, max: u64) -> WireError {
    WireError::TooLarge { field, found: max + 1, max }
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let far = Piece { offset: SNAPSHOT_BYTES_MAX + 1, ..PIECE };
    assert_eq!(refused(Body::Ask(far)), too_large("piece.offset", SNAPSHOT_BYTES_MAX));
    let late = Piece { index: INDEX_MAX + 1, ..PIECE };
    assert_eq!(refused(Body::Unfit(late)), too_large("piece.index", INDEX_MAX));
    assert_eq!(refused(Body::Wanted { from: INDEX_MAX + 1 }), too_large("snapshot_wanted.from", INDEX_MAX));
    let part = |len: usize| Body::Part { asker: 6, piece: PIECE, bytes: vec![0; len].into() };
    assert_eq!(refused(part(STEP_BYTES_MAX + 1)), too_large("snapshot_part.content", STEP_BYTES_MAX as u64));
    let whole = letter(part(STEP_BYTES_MAX));
    assert_eq!(decode(&encode(&whole)), Ok(whole));
    let mut snapshot = sample::snapshot();
    snapshot.bytes = SNAPSHOT_BYTES_MAX + 1;
    assert_eq!(refused(Body::Offered { asker: 6, snapshot }), too_large("install.snapshot.bytes", SNAPSHOT_BYTES_MAX));
    // A command and an outcome of a version to come.
    let propose = |command: &'static [u8]| pb::Propose { ticket: 1, command: Bytes::from_static(command) };
    assert_eq!(judge_propose(&propose(&[1, 250, 0])), Err(WireError::Layout("propose.command")));
    let proposed = |answer| pb::Proposed { asker: 6, ticket: 1, answer };
    let unknown = Some(proposed::Answer::Outcome(Bytes::from_static(&[99])));
    assert_eq!(judge_proposed(proposed(unknown)), Err(WireError::Layout("proposed.outcome")));
    assert_eq!(judge_proposed(proposed(None)), Err(WireError::Missing("proposed.answer")));
}

#[test]
fn a_letter_without_a_body_or_of_nobody_is_refused() {
    let with = |change: fn(&mut pb::Letter)| {
        let mut whole = written(&Letter { from: number(1), incarnation: 4, to: number(2), body: Body::Ask(PIECE) });
        change(&mut whole);
        judged(whole)
    };
    assert!(with(|_| {}).is_ok());
    assert_eq!(with(|letter| letter.body = None), Err(WireError::Missing("letter.body")));
    let length = |field| Err(WireError::Length { field, found: 3, expected: KEY_LEN });
    assert_eq!(with(|letter| letter.from = Bytes::from_static(&[1; 3])), length("letter.from"));
    assert_eq!(with(|letter| letter.to = Bytes::from_static(&[1; 3])), length("letter.to"));
}

#[test]
fn what_starts_say_of_each_other_is_judged() {
    let random = [0xaa; 16];
    let start = Start { random, end: Position { term: 3, index: 9 }, term: 4, whole: true };
    let says = |start| Body::Meet(Words::Introduction { start, nonce: None });
    let far = Position { term: 3, index: INDEX_MAX + 1 };
    assert_eq!(refused(says(Start { end: far, ..start })), too_large("introduction.end", INDEX_MAX));
    let late = Position { term: TERM_MAX + 1, index: 0 };
    assert_eq!(refused(says(Start { end: late, ..start })), too_large("introduction.end", TERM_MAX));
    let half = Position { term: 0, index: 9 };
    assert_eq!(refused(says(Start { end: half, ..start })), WireError::HalfPosition("introduction.end"));
    assert_eq!(refused(says(Start { term: TERM_MAX + 1, ..start })), too_large("introduction.term", TERM_MAX));
    let challenge = Body::Meet(Words::Challenge { start: INCARNATION_MAX + 1, nonce: random });
    assert_eq!(refused(challenge), too_large("challenge.start", INCARNATION_MAX));
    let rolled = |because| refused(Body::Meet(Words::RolledBack { random, because }));
    let known = INCARNATION_MAX + 1;
    assert_eq!(rolled(Because::EarlierStart { known }), too_large("rolled_back.earlier_start.known", INCARNATION_MAX));
    assert_eq!(
        rolled(Because::ShorterLog { acknowledged: far }),
        too_large("rolled_back.shorter_log.acknowledged", INDEX_MAX)
    );
    let told = TERM_MAX + 1;
    assert_eq!(rolled(Because::EarlierTerm { told }), too_large("rolled_back.earlier_term.told", TERM_MAX));
    let length = |field, found| Err(WireError::Length { field, found, expected: 16 });
    for found in [0, 15, 17] {
        let bytes = Bytes::from(vec![1; found]);
        assert_eq!(meet::judge_known(&pb::Known { random: bytes.clone() }), length("known.random", found));
        let challenge = pb::Challenge { start: 1, nonce: bytes.clone() };
        assert_eq!(meet::judge_challenge(&challenge), length("challenge.nonce", found));
        let rolled_back = pb::RolledBack { random: bytes, because: None };
        assert_eq!(meet::judge_rolled_back(&rolled_back), Err(WireError::Missing("rolled_back.because")));
    }
}
