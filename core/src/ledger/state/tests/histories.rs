//! Any sequence of commands, over so few names, contents, sessions and times that all of them meet.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

pub(super) fn any_expect() -> impl Strategy<Value = Expect> {
    prop_oneof![6 => Just(Expect::Any), 1 => Just(Expect::Absent), 2 => (0..40_u64).prop_map(Expect::Version)]
}

/// Few contents, so that names meet; the same content sometimes under another manifest.
pub(super) fn any_small_manifest() -> impl Strategy<Value = Manifest> {
    prop_oneof![
        (0..4_u8).prop_map(|byte| inline(&[byte][..usize::from(byte > 0)])),
        (0..2_u8, 1..=16_u64, any::<bool>()).prop_map(|(salt, size, high)| Manifest {
            file: FileId::from_bytes([salt; HASH_LEN]),
            ..if high { tree(salt, size, 1, 2) } else { entries(salt, size, 1) }
        }),
    ]
}

/// Few names, one of them often, so that all bounds are reached.
pub(super) fn any_small_name() -> impl Strategy<Value = Name> {
    let texts = prop::sample::select(alloc::vec!["a", "a", "a", "a", "ab", "b", "b/c", "\u{1f980}"]);
    texts.prop_map(name)
}

/// Serials go forwards and backwards, so that some are repeated and some too old.
pub(super) fn any_command() -> impl Strategy<Value = Command> {
    let time = (0..100_u64).prop_map(WallTime::from_nanos);
    prop_oneof![
        8 => any_plain_command(),
        1 => time.prop_map(|time| Command::RegisterSession { time }),
        4 => (0..40_u64, 0..8_u64, any_plain_command()).prop_map(|(session, serial, command)| {
            Command::InSession { session, serial, command: Box::new(command) }
        }),
    ]
}

pub(super) fn any_plain_command() -> impl Strategy<Value = Command> {
    let time = || (0..100_u64).prop_map(WallTime::from_nanos);
    let subject = || (time(), any_small_name(), any_expect());
    let lease = 0..4_u64;
    let put = (subject(), lease.clone(), any_small_manifest());
    let until = (subject(), lease, 0..25_u64, any_small_manifest());
    prop_oneof![
        60 => put.prop_map(|((time, name, expect), lease, manifest)| Command::Put { time, lease, name, expect, manifest }),
        30 => until.prop_map(|((time, name, expect), lease, ttl, manifest)| Command::PutUntil {
            time, lease, ttl, name, expect, manifest
        }),
        6 => (time(), any::<bool>()).prop_map(|(time, on)| Command::SetClockRule { time, on }),
        2 => time().prop_map(|time| Command::ConfirmClock { time }),
        4 => time().prop_map(|time| Command::ResetClock { time }),
        6 => (time(), 0..3_u32).prop_map(|(time, limit)| Command::Expire { time, limit }),
        20 => subject().prop_map(|(time, name, expect)| Command::Delete { time, name, expect }),
        10 => (subject(), 0..40_u64)
            .prop_map(|((time, name, expect), version)| Command::Undelete { time, name, version, expect }),
        8 => (time(), time(), 0..6_u32).prop_map(|(time, before, limit)| Command::Reap { time, before, limit }),
        10 => (time(), any_small_name(), any_small_name(), any_expect(), any_expect()).prop_map(
            |(time, from, to, expect_from, expect_to)| Command::Rename { time, from, to, expect_from, expect_to }
        ),
        2 => subject().prop_map(|(time, name, expect)| Command::Purge { time, name, expect }),
        3 => time().prop_map(|time| Command::SweepStart { time }),
        3 => (time(), 0..4_u64, any::<u8>(), any::<bool>()).prop_map(|(time, epoch, byte, by_person)| {
            Command::SweepComplete { time, epoch, filter_hash: [byte; HASH_LEN], by_person }
        }),
        3 => time().prop_map(|time| Command::Clean { time }),
        1 => time().prop_map(|time| Command::DeepClean { time }),
    ]
}

/// Commands, each with a step of the index and with what it is aimed by.
pub(crate) fn any_history(len: usize) -> impl Strategy<Value = Vec<(Command, u64, usize)>> {
    prop::collection::vec((any_command(), 1..3_u64, any::<usize>()), 0..len)
}
