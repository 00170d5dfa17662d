//! What drawn histories come to, so that no rule is only seemingly compared.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::histories::any_history;
use super::model::{Model, TOMBSTONES_MAX};
use super::*;

const EXPECTED: &[&str] = &[
    "Put Stored",
    "Put Conflict",
    "Put StaleLease",
    "Delete Deleted",
    "Delete Conflict",
    "Delete NotFound",
    "SweepStart SweepStarted",
    "SweepComplete SweepCompleted",
    "SweepComplete Superseded",
    "Undelete Stored",
    "Undelete Conflict",
    "Undelete NotFound",
    "Reap none reaped, more: false",
    "Reap none reaped, more: true",
    "Reap some reaped, more: false",
    "Reap some reaped, more: true",
    "Purge Purged",
    "Purge some purged",
    "Purge Conflict",
    "Purge NotFound",
    "Clean Cleaned",
    "DeepClean Cleaned",
    "Reap ClockDoubtful",
    "SweepStart ClockDoubtful",
    "SweepComplete ClockDoubtful",
    "SetClockRule ClockSet",
    "ConfirmClock ClockSet",
    "ResetClock ClockSet",
    "a clock that is set back",
    "a doubt that ends by itself",
    "PutUntil Stored",
    "PutUntil StaleLease",
    "Expire none expired, more: true",
    "Expire some expired, more: false",
    "Expire some expired, more: true",
    "several names that expire at once",
    "a name that has expired and is stored again",
    "Rename Renamed",
    "Rename Conflict",
    "Rename TargetConflict",
    "Rename NotFound",
    "a rename of what is missing",
    "RegisterSession SessionRegistered",
    "InSession SessionUnknown",
    "InSession SerialTooOld",
    "InSession StaleLease",
    "InSession Stored",
    "a session that is over",
    "a session too many",
    "a serial out of order",
    "a command that is repeated",
    "a stale put in a session",
    "a name means what is missing",
    "a deleted name that is stored again",
    "an overwritten version too many of a name",
    "a deleted version on top of all overwritten ones",
    "an overwritten version too many in all",
    "a deleted version too many in all",
];

#[test]
fn the_histories_reach_every_outcome_and_every_bound() {
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeSet::<String>::new();
    for run in 0..400 {
        let history = any_history(120).new_tree(&mut runner).unwrap().current();
        let (mut model, mut index) = (Model::new(TOMBSTONES_MAX[run % 2]), 0);
        for (command, step, pick) in history {
            index += step;
            let command = model.aim(command, pick);
            let kind = format!("{command:?}");
            let kind = kind.split(' ').next().unwrap();
            let outcome = model.apply(index, &command);
            let outcome = match outcome {
                Outcome::Reaped { count: 0, more } => format!("none reaped, more: {more}"),
                Outcome::Reaped { count: _, more } => format!("some reaped, more: {more}"),
                Outcome::Expired { count: 0, more } => format!("none expired, more: {more}"),
                Outcome::Expired { count: _, more } => format!("some expired, more: {more}"),
                Outcome::Purged { tombstones } if tombstones > 1 => "some purged".into(),
                outcome => format!("{outcome:?}").split([' ', '{']).next().unwrap().into(),
            };
            reached.insert(format!("{kind} {outcome}"));
            let missing = |file: &FileId| model.is_missing(file);
            if model.names.values().any(|entry| missing(&entry.file)) {
                reached.insert("a name means what is missing".into());
            }
        }
        reached.extend(model.seen.iter().map(|what| (*what).into()));
    }
    for expected in EXPECTED {
        assert!(reached.contains(*expected), "{expected} was never reached: {reached:?}");
    }
}
