//! What a sync owes, as far as it shows without a crash.

use dps_core::disk::{DiskError, DiskRequest};

use super::{DiskUnderTest, JOURNAL, Rule, VOLUME, append, assert_content, assert_listed, done};

pub(super) const RULES: &[Rule] = &[
    Rule { title: "a sync needs a file", check: needs_a_file },
    Rule { title: "a sync changes nothing that can be read", check: changes_nothing },
];

fn needs_a_file(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"another");
    for directory in [false, true] {
        let sync = DiskRequest::Sync { file: JOURNAL, directory };
        assert_eq!(disk.perform(sync), Err(DiskError::NotFound));
    }
    assert_listed(disk, &[(VOLUME, 7)]);
}

fn changes_nothing(disk: &mut dyn DiskUnderTest) {
    append(disk, JOURNAL, 0, b"abc");
    append(disk, VOLUME, 0, b"another");
    for directory in [true, false, false] {
        done(disk, DiskRequest::Sync { file: JOURNAL, directory });
        assert_listed(disk, &[(JOURNAL, 3), (VOLUME, 7)]);
        assert_content(disk, JOURNAL, b"abc");
    }
    append(disk, JOURNAL, 3, b"d");
    assert_content(disk, JOURNAL, b"abcd");
}
