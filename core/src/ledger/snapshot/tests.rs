//! Snapshots: what is streamed is what is loaded, and nothing else is.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::crypto::hash::sha256;
use crate::keystore::manifest::Manifest;
use crate::keystore::manifest_codec::{self, tests::inline};
use crate::ledger::command::Command;
use crate::ledger::file::Expect;
use crate::ledger::name::Name;
use crate::ledger::state::tests::histories::any_history;
use crate::ledger::state::{Broken, Head, StateBuilder};
use crate::time::WallTime;

fn pieces(state: &State, position: &Position) -> Vec<Vec<u8>> {
    let (mut stream, mut pieces) = (Stream::new(state.clone(), position.clone()), Vec::new());
    loop {
        match stream.step() {
            Step::Piece(piece) => pieces.push(piece),
            Step::Working => {}
            Step::Over => return pieces,
        }
    }
}

fn load(pieces: &[Vec<u8>]) -> Result<Option<(State, Position)>, SnapshotError> {
    load_by(Loader::new(), pieces)
}

fn load_by(mut loader: Loader, pieces: &[Vec<u8>]) -> Result<Option<(State, Position)>, SnapshotError> {
    let mut last = None;
    for piece in pieces {
        last = loader.piece(piece)?;
    }
    Ok(last)
}

fn position() -> Position {
    Position { term: 3, index: 0x0201, membership: b"members".to_vec() }
}

fn put(index: u64, text: &str) -> Command {
    let (time, name) = (WallTime::from_nanos(index), Name::new(text.as_bytes()).unwrap());
    Command::Put { time, lease: 0, name, expect: Expect::Any, manifest: inline(text.as_bytes()) }
}

/// A state in which something of every kind is.
fn rich() -> State {
    let (time, name) = (WallTime::from_nanos(50), |text: &str| Name::new(text.as_bytes()).unwrap());
    let in_session = |serial, command| Command::InSession { session: 1, serial, command: Box::new(command) };
    let until = |text: &str, ttl| {
        let (name, expect, manifest) = (name(text), Expect::Any, inline(text.as_bytes()));
        Command::PutUntil { time, lease: 0, ttl, name, expect, manifest }
    };
    let commands = [
        Command::RegisterSession { time: WallTime::from_nanos(1) },
        in_session(1, put(2, "a")),
        in_session(3, put(3, "a")),
        put(4, "b"),
        Command::Delete { time, name: name("b"), expect: Expect::Any },
        Command::Clean { time },
        until("c", 5),
        until("d", 5),
        until("e", 90),
        Command::Expire { time: WallTime::from_nanos(60), limit: 1 },
        Command::SetClockRule { time, on: true },
        until("c", 0),
        Command::SweepStart { time },
        Command::SweepComplete { time, epoch: 1, filter_hash: [7; HASH_LEN], by_person: true },
        Command::SweepStart { time },
    ];
    let mut state = State::new();
    for (index, command) in (1..).zip(&commands) {
        state.apply(index, command);
    }
    state.check();
    state
}

fn assert_same(loaded: &State, state: &State) {
    loaded.check();
    assert_eq!((loaded.root(), loaded.sessions_root()), (state.root(), state.sessions_root()));
    assert_eq!((loaded.time(), loaded.applied()), (state.time(), state.applied()));
    let counts = |state: &State| {
        let mut out = Vec::new();
        state.encode_counts(&mut out);
        out
    };
    assert_eq!(counts(loaded), counts(state));
}

#[test]
fn what_is_streamed_is_loaded() {
    for state in [State::new(), rich()] {
        let (loaded, at) = load(&pieces(&state, &position())).unwrap().unwrap();
        assert_same(&loaded, &state);
        assert_eq!(at, position());
    }
}

/// Golden: what one version streams, another one loads.
#[test]
fn the_layout_never_changes() {
    let all = pieces(&rich(), &position()).concat();
    let head =
        concat!("64707347010100000000000000000000", "00000000", "3c000000000000000f000000000000000600000000000000");
    assert_eq!(HEXLOWER.encode(&all[..44]), head);
    let expected = "c3c74b5396ee4ce435f6df9b025cf612f02843601037f4fd06a5163290aace13";
    assert_eq!((all.len(), &*HEXLOWER.encode(&sha256(&all))), (1_681, expected));
}

#[test]
fn pieces_are_bounded_and_a_large_ledger_takes_many() {
    let mut state = State::new();
    for index in 1..=5_000 {
        state.apply(index, &put(index, &format!("{index}/{}", "n".repeat(200))));
    }
    let pieces = pieces(&state, &position());
    assert!(pieces.len() > 10, "{} pieces", pieces.len());
    assert!(pieces.iter().all(|piece| piece.len() <= SNAPSHOT_PIECE_BYTES_MAX));
    assert_same(&load(&pieces).unwrap().unwrap().0, &state);
}

#[test]
fn a_piece_that_is_not_the_next_is_refused() {
    let pieces = pieces(&rich(), &position());
    assert_eq!(pieces.len(), 4);
    let with = |at: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut pieces = pieces.clone();
        change(&mut pieces[at]);
        load(&pieces).map(|loaded| loaded.is_some())
    };
    let number = |found, expected| Err(SnapshotError::Number { found, expected });
    assert_eq!(load(&pieces[1..]).map(|_| ()), number(1, 0).map(|_: ()| ()));
    assert_eq!(load(&[pieces[0].clone(), pieces[2].clone()]).map(|_| ()), number(2, 1).map(|_: ()| ()));
    assert_eq!(load(&[&pieces[..], &pieces[3..]].concat()).map(|_| ()), number(3, 4).map(|_: ()| ()));
    assert!(load(&pieces[..3]).unwrap().is_none(), "without the last piece there is no state");
    assert_eq!(with(0, &|piece| piece[0] = 0), Err(SnapshotError::Layout));
    assert_eq!(with(0, &|piece| piece[4] = 2), Err(SnapshotError::Layout));
    assert_eq!(with(1, &|piece| piece[6] = 1), Err(SnapshotError::Layout));
    assert_eq!(with(1, &|piece| piece[5] = 1), Err(SnapshotError::Kind { found: 1 }));
    assert_eq!(with(0, &|piece| piece[5] = 2), Err(SnapshotError::Kind { found: 2 }));
    assert_eq!(with(1, &|piece| piece.push(0)), Err(SnapshotError::Trailing { bytes: 1 }));
    assert_eq!(with(1, &|piece| _ = piece.pop()), Err(SnapshotError::Truncated));
    assert_eq!(with(1, &|piece| piece[16] = 0), Err(SnapshotError::TooLarge), "no piece without an entry");
    assert_eq!(with(2, &|piece| piece[16] += 1), Err(SnapshotError::Truncated));
    assert_eq!(with(3, &|piece| *piece.last_mut().unwrap() ^= 1), Err(SnapshotError::Mismatch));
    assert_eq!(with(3, &|piece| piece[20 + 16] ^= 1), Err(SnapshotError::Mismatch));
    let mut loader = Loader::new();
    assert_eq!(loader.piece(&[]).map(|_| ()), Err(SnapshotError::Truncated));
    assert_eq!(loader.piece(&pieces[0]).map(|_| ()), Err(SnapshotError::Over), "one that is refused ends it");
    assert_eq!(loader.piece(&vec![0; SNAPSHOT_PIECE_BYTES_MAX + 1]).map(|_| ()), Err(SnapshotError::TooLarge));
}

fn encoded(manifest: &Manifest) -> Vec<u8> {
    let mut out = Vec::new();
    manifest_codec::encode(manifest, &mut out);
    out
}

/// The entries of a piece: where each begins.
fn entry_starts(piece: &[u8]) -> Vec<usize> {
    let (mut at, mut starts) = (FRAME_LEN, Vec::new());
    while at < piece.len() {
        starts.push(at);
        let key_len = usize::from(u16::from_le_bytes([piece[at], piece[at + 1]]));
        let value_len = u32::from_le_bytes(piece[at + 2..at + 6].try_into().unwrap());
        at += ENTRY_LEN + key_len + value_len as usize;
    }
    starts
}

/// Whatever entry is missing, or comes twice or too early: something else relies on it, or the roots tell.
#[test]
fn entries_left_out_repeated_or_exchanged_are_refused() {
    let pieces = pieces(&rich(), &position());
    for at in [1, 2] {
        let mut bounds = entry_starts(&pieces[at]);
        bounds.push(pieces[at].len());
        let entries: Vec<_> = bounds.windows(2).map(|pair| &pieces[at][pair[0]..pair[1]]).collect();
        let rebuilt = |entries: &[&[u8]]| {
            let mut piece = pieces[at][..FRAME_LEN].to_vec();
            piece[16..20].copy_from_slice(&u32::try_from(entries.len()).unwrap().to_le_bytes());
            piece.extend_from_slice(&entries.concat());
            let mut pieces = pieces.clone();
            pieces[at] = piece;
            load(&pieces).map(|_| ())
        };
        assert_eq!(rebuilt(&entries), Ok(()));
        for number in 0..entries.len() {
            let mut changed = entries.clone();
            changed.remove(number);
            assert!(rebuilt(&changed).is_err(), "piece {at} without entry {number}");
            changed = entries.clone();
            changed.insert(number, entries[number]);
            assert_eq!(rebuilt(&changed), Err(SnapshotError::Broken), "entry {number} twice");
            if number > 0 {
                changed = entries.clone();
                changed.swap(number, number - 1);
                assert_eq!(rebuilt(&changed), Err(SnapshotError::Broken), "entries {number} and before exchanged");
            }
        }
    }
}

/// Also where nobody compares roots: the sender's may be those of a ledger that can't be.
#[test]
fn what_something_relies_on_can_not_be_missing() {
    let state = rich();
    let piece = &pieces(&state, &position())[1];
    let head = Head { time: state.time(), applied: state.applied(), clean_floor: state.clean_floor() };
    let starts = entry_starts(piece);
    for left_out in starts.iter().copied().map(Some).chain([None]) {
        let mut builder = StateBuilder::new(head, false);
        let mut result = Ok(());
        let mut alone = left_out.is_none();
        for start in starts.iter().copied() {
            let key_len = usize::from(u16::from_le_bytes([piece[start], piece[start + 1]]));
            let value_len = u32::from_le_bytes(piece[start + 2..start + 6].try_into().unwrap()) as usize;
            let (key, value) = piece[start + ENTRY_LEN..start + ENTRY_LEN + key_len + value_len].split_at(key_len);
            if Some(start) == left_out {
                alone = [b"s", b"k"].contains(&<&[u8; 1]>::try_from(key).unwrap_or(b"?"));
            } else {
                result = result.and_then(|()| builder.push(key, value));
                if key == b"na" && left_out.is_none() {
                    let mut other = StateBuilder::new(head, false);
                    let content = [b"c", inline(b"a").file.as_bytes().as_slice()].concat();
                    let counts_one = [&[2, 1, 0, 0, 0, 0, 0, 0, 0], &*encoded(&inline(b"a"))].concat();
                    assert_eq!(other.push(&content, &counts_one), Ok(()));
                    assert_eq!(other.push(b"na", value), Ok(()));
                    assert_eq!(other.push(b"nb", value), Err(Broken), "one name more than its content counts");
                }
            }
        }
        let result = result.and_then(|()| builder.finish().map(|_| ()));
        assert_eq!(result.is_ok(), alone, "without the entry at {left_out:?}");
    }
}

/// What only a hash of all bytes can prove is left to it; everything else is judged all the same.
#[test]
fn of_its_own_snapshot_a_node_believes_the_roots_and_nothing_else() {
    let mut pieces = pieces(&rich(), &position());
    let last = pieces.len() - 1;
    pieces[last][FRAME_LEN + END_LEN - 1] ^= 1;
    assert_eq!(load(&pieces).err(), Some(SnapshotError::Mismatch));
    let (state, found) = load_by(Loader::own(), &pieces).unwrap().unwrap();
    assert_eq!(found, position());
    assert_same(&state, &rich());
    for counted in 0..END_LEN - 2 * HASH_LEN {
        let mut pieces = pieces.clone();
        pieces[last][FRAME_LEN + counted] ^= 1;
        assert_eq!(load_by(Loader::own(), &pieces).err(), Some(SnapshotError::Mismatch), "byte {counted}");
    }
}

proptest! {
    #[test]
    fn any_state_comes_back(history in any_history(80)) {
        let (mut state, mut index) = (State::new(), 0);
        for (command, step, _) in history {
            // Histories are drawn without the rules of manifests; no bytes of a command break them.
            if let Command::Put { manifest, .. } | Command::PutUntil { manifest, .. } = command.plain()
                && manifest_codec::check(manifest).is_err()
            {
                continue;
            }
            index += step;
            state.apply(index, &command);
        }
        let pieces = pieces(&state, &position());
        for loader in [Loader::new(), Loader::own()] {
            let (loaded, _) = load_by(loader, &pieces).unwrap().unwrap();
            assert_same(&loaded, &state);
        }
    }

    /// A change of any byte is refused, but for those that the ledger says nothing of: the position and the index.
    #[test]
    fn a_changed_byte_is_refused(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut pieces = pieces(&rich(), &position());
        let lens: Vec<_> = pieces.iter().map(Vec::len).collect();
        let mut offset = at.index(lens.iter().sum());
        let piece = lens.iter().position(|len| {
            let here = offset < *len;
            offset -= if here { 0 } else { *len };
            here
        }).unwrap();
        pieces[piece][offset] ^= 1 << bit;
        let free = piece == 0 && ((28..36).contains(&offset) || offset >= FRAME_LEN + 24);
        prop_assume!(!free);
        prop_assert!(load(&pieces).is_err(), "byte {} of piece {}", offset, piece);
    }

    #[test]
    fn any_bytes_are_judged_without_panic(
        at in 0..4_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut pieces = pieces(&rich(), &position());
        let piece = &mut pieces[at];
        for (place, byte) in changes {
            let place = place.index(piece.len());
            piece[place] = byte;
        }
        piece.truncate(cut.index(piece.len() + 1));
        piece.extend_from_slice(&noise);
        if let Ok(Some((state, _))) = load(&pieces) {
            state.check();
        }
        let mut loader = Loader::new();
        let _ = loader.piece(&noise);
    }
}
