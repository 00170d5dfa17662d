//! Commands and their bytes.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::id::{ChunkId, FileId};
use crate::keystore::manifest::{Body, Entry, Tree};
use crate::keystore::manifest_codec::ManifestError;
use crate::keystore::manifest_codec::tests::{any_manifest, entries, inline};
use crate::ledger::name::NameError;
use crate::limits::NAME_BYTES_MAX;

const TIME: WallTime = WallTime::from_nanos(0x0102_0304_0506_0708);

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn put(expect: Expect, manifest: Manifest) -> Command {
    Command::Put { time: TIME, lease: 0, name: name("a/b"), expect, manifest }
}

fn any_name() -> impl Strategy<Value = Name> {
    let text = prop::collection::vec(any::<char>(), 1..40).prop_map(String::from_iter);
    text.prop_filter_map("names have rules", |text| Name::new(text.as_bytes()).ok())
}

fn any_expect() -> impl Strategy<Value = Expect> {
    prop_oneof![Just(Expect::Any), Just(Expect::Absent), any::<u64>().prop_map(Expect::Version)]
}

/// Any command of any kind.
fn any_command() -> impl Strategy<Value = Command> {
    let time = || any::<u64>().prop_map(WallTime::from_nanos);
    prop_oneof![
        6 => any_plain_command(),
        1 => time().prop_map(|time| Command::RegisterSession { time }),
        3 => (any::<u64>(), any::<u64>(), any_plain_command()).prop_map(|(session, serial, command)| {
            Command::InSession { session, serial, command: Box::new(command) }
        }),
    ]
}

/// Any command that a session can ask for.
fn any_plain_command() -> impl Strategy<Value = Command> {
    let time = || any::<u64>().prop_map(WallTime::from_nanos);
    let lease = prop_oneof![Just(0), Just(1), any::<u64>()];
    let put = (time(), lease.clone(), any_name(), any_expect(), any_manifest());
    let until = (time(), lease, any::<u64>(), any_name(), any_expect(), any_manifest());
    prop_oneof![
        4 => put.prop_map(|(time, lease, name, expect, manifest)| Command::Put { time, lease, name, expect, manifest }),
        2 => (time(), any_name(), any_expect()).prop_map(|(time, name, expect)| Command::Delete { time, name, expect }),
        1 => time().prop_map(|time| Command::SweepStart { time }),
        1 => (time(), any::<u64>(), any::<[u8; HASH_LEN]>(), any::<bool>()).prop_map(
            |(time, epoch, filter_hash, by_person)| Command::SweepComplete { time, epoch, filter_hash, by_person }
        ),
        2 => (time(), any_name(), any::<u64>(), any_expect())
            .prop_map(|(time, name, version, expect)| Command::Undelete { time, name, version, expect }),
        1 => (time(), time(), any::<u32>()).prop_map(|(time, before, limit)| Command::Reap { time, before, limit }),
        2 => until.prop_map(|(time, lease, ttl, name, expect, manifest)| Command::PutUntil {
            time, lease, ttl, name, expect, manifest
        }),
        1 => (time(), any::<bool>()).prop_map(|(time, on)| Command::SetClockRule { time, on }),
        1 => time().prop_map(|time| Command::ConfirmClock { time }),
        1 => time().prop_map(|time| Command::ResetClock { time }),
        1 => (time(), any::<u32>()).prop_map(|(time, limit)| Command::Expire { time, limit }),
        2 => (time(), any_name(), any_name(), any_expect(), any_expect()).prop_map(
            |(time, from, to, expect_from, expect_to)| Command::Rename { time, from, to, expect_from, expect_to }
        ),
        2 => (time(), any_name(), any_expect()).prop_map(|(time, name, expect)| Command::Purge { time, name, expect }),
        1 => time().prop_map(|time| Command::Clean { time }),
        1 => time().prop_map(|time| Command::DeepClean { time }),
    ]
}

#[test]
fn the_layout_never_changes() {
    let file = FileId::from_bytes([0xab; 32]);
    let list = vec![
        Entry { chunk: ChunkId::from_bytes([0x11; 32]), bytes: 65_536 },
        Entry { chunk: ChunkId::from_bytes([0x22; 32]), bytes: 1 },
    ];
    let two_entries = Manifest { file, size: 65_537, block_bytes: 65_536, body: Body::Entries(list) };
    let body = Body::Tree(Tree { root: ChunkId::from_bytes([0x33; 32]), levels: 2, fanout: 1_024 });
    let two_levels = Manifest { file, size: 1 << 33, block_bytes: 4 << 20, body };
    let delete = |expect| Command::Delete { time: TIME, name: name("\u{e9}"), expect };

    let (empty, abc) = (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
    let (id, one, two, three) = (&*"ab".repeat(32), &*"11".repeat(32), &*"22".repeat(32), &*"33".repeat(32));
    // Layout, kind, time; expectation; name; layout, body kind, file; size, block bytes; body.
    let (head, text) = ("01010807060504030201", "0300612f62");
    for (command, expected) in [
        (put(Expect::Any, inline(b"")), &[head, "00", text, "0100", empty, "0000000000000000", "00000000", "0000"][..]),
        (
            put(Expect::Absent, inline(b"abc")),
            &[head, "01", text, "0100", abc, "0300000000000000", "03000000", "0300616263"],
        ),
        (
            put(Expect::Version(0x0b0a), two_entries),
            &[head, "020a0b000000000000", text, "0101", id, "0100010000000000", "00000100", "02"]
                .into_iter()
                .chain([one, "00000100", two, "01000000"])
                .collect::<Vec<_>>(),
        ),
        (
            put(Expect::Any, two_levels),
            &[head, "00", text, "0102", id, "0000000002000000", "00004000", three, "0200040000"],
        ),
        (delete(Expect::Any), &["01020807060504030201", "00", "0200c3a9"]),
        (delete(Expect::Absent), &["01020807060504030201", "01", "0200c3a9"]),
        (delete(Expect::Version(7)), &["01020807060504030201", "020700000000000000", "0200c3a9"]),
    ] {
        let bytes = HEXLOWER.decode(expected.concat().as_bytes()).unwrap();
        assert_eq!(HEXLOWER.encode(&command.encode()), expected.concat());
        assert_eq!(Command::decode(&bytes), Ok(command));
    }
}

#[test]
fn the_layout_of_what_gives_space_back_never_changes() {
    let (expect, name) = (Expect::Version(7), name("\u{e9}"));
    let subject = "0207000000000000000200c3a9";
    let empty = "0100e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8550000000000000000000000000000";
    let lease = Command::Put { time: TIME, lease: 0x0c0b, name: name.clone(), expect, manifest: inline(b"") };
    let complete =
        |by_person| Command::SweepComplete { time: TIME, epoch: 0x0d0c, filter_hash: [0x44; HASH_LEN], by_person };
    let filter = "44".repeat(HASH_LEN);
    for (command, kind, expected) in [
        (lease, "03", &["0b0c000000000000", subject, empty][..]),
        (Command::SweepStart { time: TIME }, "04", &[]),
        (complete(false), "05", &["0c0d000000000000", &filter, "00"]),
        (complete(true), "05", &["0c0d000000000000", &filter, "01"]),
        (
            Command::Undelete { time: TIME, name: name.clone(), version: 0x0e0d, expect },
            "06",
            &["0d0e000000000000", subject],
        ),
        (
            Command::Reap { time: TIME, before: WallTime::from_nanos(0x0f0e), limit: 0x0201 },
            "07",
            &["0e0f000000000000", "01020000"],
        ),
        (Command::Purge { time: TIME, name, expect }, "08", &[subject]),
        (Command::Clean { time: TIME }, "09", &[]),
        (Command::DeepClean { time: TIME }, "0a", &[]),
    ] {
        let expected = ["01", kind, "0807060504030201", &expected.concat()].concat();
        assert_eq!(HEXLOWER.encode(&command.encode()), expected, "{command:?}");
        assert_eq!(Command::decode(&HEXLOWER.decode(expected.as_bytes()).unwrap()), Ok(command));
    }
}

#[test]
fn the_layout_of_a_rename_never_changes() {
    let (from, to) = (name("a/b"), name("\u{e9}"));
    let command = Command::Rename { time: TIME, from, to, expect_from: Expect::Version(7), expect_to: Expect::Absent };
    let expected = ["010d0807060504030201", "0207000000000000000300612f62", "010200c3a9"].concat();
    assert_eq!(HEXLOWER.encode(&command.encode()), expected);
    assert_eq!(Command::decode(&HEXLOWER.decode(expected.as_bytes()).unwrap()), Ok(command));
}

#[test]
fn the_layout_of_what_expires_and_of_the_clock_never_changes() {
    let (expect, name) = (Expect::Version(7), name("\u{e9}"));
    let until = |lease, ttl| {
        let name = name.clone();
        Command::PutUntil { time: TIME, lease, ttl, name, expect, manifest: inline(b"") }
    };
    let empty = "0100e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8550000000000000000000000000000";
    let subject = "0207000000000000000200c3a9";
    for (command, kind, expected) in [
        (until(0x0c0b, 0x0201), "0e", &["0b0c000000000000", "0102000000000000", subject, empty][..]),
        (until(0, 0), "0e", &["0000000000000000", "0000000000000000", subject, empty]),
        (Command::Expire { time: TIME, limit: 0x0403 }, "0f", &["03040000"]),
        (Command::SetClockRule { time: TIME, on: false }, "10", &["00"]),
        (Command::SetClockRule { time: TIME, on: true }, "10", &["01"]),
        (Command::ConfirmClock { time: TIME }, "11", &[]),
        (Command::ResetClock { time: TIME }, "12", &[]),
    ] {
        let expected = ["01", kind, "0807060504030201", &expected.concat()].concat();
        assert_eq!(HEXLOWER.encode(&command.encode()), expected, "{command:?}");
        assert_eq!(Command::decode(&HEXLOWER.decode(expected.as_bytes()).unwrap()), Ok(command));
    }
}

#[test]
fn the_layout_of_sessions_never_changes() {
    let delete = Command::Delete { time: TIME, name: name("\u{e9}"), expect: Expect::Version(7) };
    let within = |command| Command::InSession { session: 0x0b0a, serial: 0x0d0c, command: Box::new(command) };
    for (command, kind, expected) in [
        (Command::RegisterSession { time: TIME }, "0b", &[][..]),
        (within(delete), "0c", &["0a0b000000000000", "0c0d000000000000", "02", "02070000000000000002", "00c3a9"]),
        (within(Command::Clean { time: TIME }), "0c", &["0a0b000000000000", "0c0d000000000000", "09"]),
    ] {
        let expected = ["01", kind, "0807060504030201", &expected.concat()].concat();
        assert_eq!(HEXLOWER.encode(&command.encode()), expected, "{command:?}");
        assert_eq!(Command::decode(&HEXLOWER.decode(expected.as_bytes()).unwrap()), Ok(command));
    }
}

#[test]
fn sessions_are_neither_begun_nor_nested_in_a_session() {
    let clean = Command::InSession { session: 1, serial: 2, command: Box::new(Command::Clean { time: TIME }) };
    let mut bytes = clean.encode();
    for kind in [11, 12] {
        *bytes.last_mut().unwrap() = kind;
        assert_eq!(Command::decode(&bytes), Err(DecodeError::Kind { found: kind }));
    }
}

#[test]
#[should_panic(expected = "sessions are neither begun nor nested in a session")]
fn a_session_begun_in_a_session_is_never_written() {
    let command = Box::new(Command::RegisterSession { time: TIME });
    let _ = Command::InSession { session: 1, serial: 2, command }.encode();
}

/// A put under lease 0 is what a put was before there were leases, and nothing else is.
#[test]
fn there_is_one_way_to_write_a_lease_down() {
    let leased =
        |lease| Command::Put { time: TIME, lease, name: name("a"), expect: Expect::Any, manifest: inline(b"") };
    let (without, with) = (leased(0).encode(), leased(1).encode());
    assert_eq!((without[1], with[1], with.len()), (1, 3, without.len() + 8));
    let zero = [&[COMMAND_LAYOUT, 3], &without[2..10], &[0; 8], &without[10..]].concat();
    assert_eq!(Command::decode(&zero), Err(DecodeError::Lease));
}

#[test]
fn every_reason_to_refuse_is_told_apart() {
    let good = Command::Delete { time: TIME, name: name("abc"), expect: Expect::Any }.encode();
    assert!(Command::decode(&good).is_ok());
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Command::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(0, 2), DecodeError::Layout { found: 2 });
    assert_eq!(with(1, 19), DecodeError::Kind { found: 19 });
    assert_eq!(with(1, 0), DecodeError::Kind { found: 0 });
    assert_eq!(with(1, 1), DecodeError::Truncated, "a put has a manifest");
    assert_eq!(with(10, 3), DecodeError::Expect { found: 3 });
    assert_eq!(with(11, 2), DecodeError::Trailing { bytes: 1 });
    assert_eq!(with(11, 4), DecodeError::Truncated);
    assert_eq!(with(11, 0), DecodeError::Name(NameError::Empty));
    assert_eq!(with(13, 0), DecodeError::Name(NameError::Nul { offset: 0 }));
    assert_eq!(with(15, 0xff), DecodeError::Name(NameError::NotUtf8 { offset: 2 }));
    let complete = Command::SweepComplete { time: TIME, epoch: 1, filter_hash: [2; HASH_LEN], by_person: true };
    let mut complete = complete.encode();
    *complete.last_mut().unwrap() = 2;
    assert_eq!(Command::decode(&complete), Err(DecodeError::Flag { found: 2 }));
    let mut put = put(Expect::Any, inline(b"abc")).encode();
    *put.last_mut().unwrap() = b'd';
    assert_eq!(Command::decode(&put), Err(DecodeError::Manifest(ManifestError::NotTheFile)));
}

#[test]
fn the_longest_command_fits_its_bound() {
    let block = crate::limits::CHUNK_BYTES_MAX;
    let manifest = entries(0, 16 * u64::from(block), block);
    let name = name(&"n".repeat(NAME_BYTES_MAX));
    let command = Command::Put { time: TIME, lease: 1, name, expect: Expect::Version(1), manifest };
    let command = Command::InSession { session: 1, serial: 1, command: Box::new(command) };
    assert!(command.encode().len() <= COMMAND_BYTES_MAX);
    let expect = Expect::Version(1);
    let [from, to] = ["a", "b"].map(|text| self::name(&text.repeat(NAME_BYTES_MAX)));
    let command = Command::Rename { time: TIME, from, to, expect_from: expect, expect_to: expect };
    let command = Command::InSession { session: 1, serial: 1, command: Box::new(command) };
    assert_eq!(command.encode().len(), COMMAND_BYTES_MAX);
}

#[test]
#[should_panic(expected = "only what can be read again is written")]
fn a_manifest_that_is_none_is_never_written() {
    let file = FileId::from_bytes([0; 32]);
    let _ = put(Expect::Any, Manifest { file, ..inline(b"abc") }).encode();
}

proptest! {
    #[test]
    fn a_command_comes_back_from_its_bytes(command in any_command()) {
        prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
    }

    #[test]
    fn a_longer_or_shorter_command_is_refused(command in any_command(), cut in any::<prop::sample::Index>()) {
        let mut bytes = command.encode();
        prop_assert_eq!(Command::decode(&bytes[..cut.index(bytes.len())]), Err(DecodeError::Truncated));
        bytes.push(0);
        prop_assert_eq!(Command::decode(&bytes), Err(DecodeError::Trailing { bytes: 1 }));
    }

    #[test]
    fn accepted_bytes_come_back_from_their_command(
        command in any_command(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut bytes = command.encode();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(changed) = Command::decode(&bytes) {
            prop_assert_eq!(changed.encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_judged_without_panic(
        known in prop::bool::ANY,
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let (true, Some(layout)) = (known, bytes.first_mut()) {
            *layout = COMMAND_LAYOUT;
        }
        if let Ok(command) = Command::decode(&bytes) {
            prop_assert_eq!(command.encode(), bytes);
        }
    }
}
