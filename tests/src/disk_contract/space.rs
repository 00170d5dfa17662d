//! What an allocation and the question for space owe.

use dps_core::disk::{DiskReply, DiskRequest, File};

use super::{DiskUnderTest, JOURNAL, Rule, append, assert_content, assert_listed, done, read, read_back};

pub(super) const ALLOCATE_RULES: &[Rule] = &[
    Rule { title: "an allocation makes a file as long as asked", check: makes_a_file },
    Rule { title: "an allocation never makes a file shorter", check: never_shortens },
    Rule { title: "an allocation that does not fit leaves nothing", check: all_or_nothing },
    Rule { title: "an allocation is durable", check: durable },
];

pub(super) const SPACE_RULES: &[Rule] = &[Rule { title: "what is left is part of what there is", check: part_of_all }];

const RESERVE: File = File::Reserve;

fn allocate(disk: &mut dyn DiskUnderTest, bytes: u64) {
    done(disk, DiskRequest::Allocate { file: RESERVE, bytes });
}

fn makes_a_file(disk: &mut dyn DiskUnderTest) {
    append(disk, JOURNAL, 0, b"stays");
    allocate(disk, 9_000);
    assert_listed(disk, &[(JOURNAL, 5), (RESERVE, 9_000)]);
    allocate(disk, 20_000);
    assert_listed(disk, &[(JOURNAL, 5), (RESERVE, 20_000)]);
    assert_eq!(read(disk, RESERVE, 19_998, 10), read_back(&[0, 0]));
    assert_content(disk, JOURNAL, b"stays");
    done(disk, DiskRequest::Remove { file: RESERVE });
    assert_listed(disk, &[(JOURNAL, 5)]);
}

fn never_shortens(disk: &mut dyn DiskUnderTest) {
    allocate(disk, 9_000);
    for bytes in [9_000, 1, 0] {
        allocate(disk, bytes);
        assert_listed(disk, &[(RESERVE, 9_000)]);
    }
}

fn all_or_nothing(disk: &mut dyn DiskUnderTest) {
    append(disk, JOURNAL, 0, b"stays");
    for before in [0, 9_000] {
        allocate(disk, before);
        let too_much = DiskRequest::Allocate { file: RESERVE, bytes: 1 << 60 };
        assert!(disk.perform(too_much).is_err(), "no disk has so much space");
        assert_listed(disk, &[(JOURNAL, 5)]);
    }
    allocate(disk, 100);
    assert_listed(disk, &[(JOURNAL, 5), (RESERVE, 100)]);
}

fn durable(disk: &mut dyn DiskUnderTest) {
    allocate(disk, 9_000);
    disk.crash_amid(Vec::new());
    assert_listed(disk, &[(RESERVE, 9_000)]);
}

fn part_of_all(disk: &mut dyn DiskUnderTest) {
    allocate(disk, 9_000);
    match disk.perform(DiskRequest::Space) {
        Ok(DiskReply::Space { total, available }) => assert!(0 < total && available <= total, "{available} of {total}"),
        other => panic!("the space was asked for: {other:?}"),
    }
}
