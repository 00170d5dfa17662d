//! Parts of snapshots and commands for the leader, there and back, their golden bytes, and what is refused.

use alloc::{format, vec};

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::id::KEY_LEN;
use crate::ledger::file::Expect;
use crate::ledger::name::Name;
use crate::time::WallTime;
use crate::wire::control::{decode, encode};

const fn number(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; KEY_LEN])
}

fn command(time: u64) -> Command {
    let name = Name::new(b"a/b").expect("a name");
    Command::Delete { time: WallTime::from_nanos(time), name, expect: Expect::Any }
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        any::<u64>().prop_map(|version| Answer::Decided(Outcome::Stored { version })),
        Just(Answer::Decided(Outcome::Deleted)),
        prop::option::of(any::<u8>()).prop_map(|leader| Answer::NotLeader(leader.map(number))),
        Just(Answer::Busy),
        Just(Answer::Unknown),
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    let piece =
        (any::<[u8; 3]>(), 0..=INDEX_MAX, 0..=SNAPSHOT_BYTES_MAX).prop_map(|([from, to, digest], index, offset)| {
            Piece { from: number(from), to: number(to), index, digest: [digest; HASH_LEN], offset }
        });
    let part = (piece.clone(), prop::collection::vec(any::<u8>(), 0..200));
    let ends = || (any::<[u8; 2]>(), any::<u64>());
    prop_oneof![
        piece.prop_map(Message::Ask),
        part.prop_map(|(piece, bytes)| Message::Part { piece, bytes: bytes.into() }),
        (ends(), any::<u64>()).prop_map(|(([from, to], ticket), time)| Message::Propose {
            from: number(from),
            to: number(to),
            ticket,
            command: command(time)
        }),
        (ends(), any_answer()).prop_map(|(([from, to], ticket), answer)| Message::Proposed {
            from: number(from),
            to: number(to),
            ticket,
            answer
        }),
    ]
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

/// Golden: members of different versions talk to each other.
#[test]
fn the_bytes_never_change() {
    let piece = Piece { from: number(1), to: number(2), index: 300, digest: [7; HASH_LEN], offset: 5 };
    let ends = format!("0a14{}1214{}", "01".repeat(20), "02".repeat(20));
    let piece_bytes = format!("{ends}18ac022220{}2805", "07".repeat(32));
    for (message, expected) in [
        (Message::Ask(piece), format!("12550a53{piece_bytes}")),
        (Message::Part { piece, bytes: Bytes::from_static(b"dps") }, format!("1a5a0a53{piece_bytes}1203647073")),
        (
            Message::Proposed { from: number(1), to: number(2), ticket: 9, answer: Answer::NotLeader(None) },
            format!("2a30{ends}18092a00"),
        ),
        (
            Message::Proposed { from: number(1), to: number(2), ticket: 9, answer: Answer::Decided(Outcome::Deleted) },
            format!("2a31{ends}1809220102"),
        ),
    ] {
        assert_eq!(HEXLOWER.encode(&encode(&message)), expected, "{message:?}");
    }
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let piece = Piece { from: number(1), to: number(2), index: 300, digest: [7; HASH_LEN], offset: 5 };
    let refused = |message: &Message| decode(&encode(message)).expect_err("it is out of bounds");
    let far = Piece { offset: SNAPSHOT_BYTES_MAX + 1, ..piece };
    let (field, found, max) = ("piece.offset", SNAPSHOT_BYTES_MAX + 1, SNAPSHOT_BYTES_MAX);
    assert_eq!(refused(&Message::Ask(far)), WireError::TooLarge { field, found, max });
    let late = Piece { index: INDEX_MAX + 1, ..piece };
    let (field, found, max) = ("piece.index", INDEX_MAX + 1, INDEX_MAX);
    assert_eq!(refused(&Message::Ask(late)), WireError::TooLarge { field, found, max });
    let (field, found, max) = ("snapshot_part.content", STEP_BYTES_MAX as u64 + 1, STEP_BYTES_MAX as u64);
    let bytes = vec![0; STEP_BYTES_MAX + 1].into();
    assert_eq!(refused(&Message::Part { piece, bytes }), WireError::TooLarge { field, found, max });
    let whole = Message::Part { piece, bytes: vec![0; STEP_BYTES_MAX].into() };
    assert_eq!(decode(&encode(&whole)), Ok(whole));
    // A command and an outcome of a version to come.
    let mut propose = write_propose(number(1), number(2), 1, &command(1));
    propose.command = Bytes::from_static(&[1, 250, 0]);
    assert_eq!(judge_propose(&propose), Err(WireError::Layout("propose.command")));
    let mut proposed = write_proposed(number(1), number(2), 1, &Answer::Busy);
    proposed.answer = Some(proposed::Answer::Outcome(Bytes::from_static(&[99])));
    assert_eq!(judge_proposed(proposed.clone()), Err(WireError::Layout("proposed.outcome")));
    proposed.answer = None;
    assert_eq!(judge_proposed(proposed), Err(WireError::Missing("proposed.answer")));
}
