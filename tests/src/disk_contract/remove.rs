//! What a removal owes, as far as it shows without a crash.

use dps_core::disk::{DiskError, DiskRequest};

use super::{
    DiskUnderTest, JOURNAL, Rule, SLOT, STAGE, VOLUME, append, append_parts, assert_content, assert_listed, done, read,
};

pub(super) const RULES: &[Rule] = &[
    Rule { title: "a removal is final", check: final_for_all },
    Rule { title: "a removal of nothing succeeds", check: of_nothing },
    Rule { title: "a removed file can be created anew", check: created_anew },
];

fn final_for_all(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"abc");
    append(disk, JOURNAL, 0, b"stays");
    assert_content(disk, VOLUME, b"abc");
    done(disk, DiskRequest::Remove { file: VOLUME });
    assert_eq!(read(disk, VOLUME, 0, 3), Err(DiskError::NotFound));
    assert_eq!(append_parts(disk, VOLUME, 3, &[b"d"]), Err(DiskError::NotFound));
    assert_eq!(disk.perform(DiskRequest::Sync { file: VOLUME, directory: false }), Err(DiskError::NotFound));
    assert_listed(disk, &[(JOURNAL, 5)]);
    append(disk, STAGE, 0, b"never");
    done(disk, DiskRequest::Remove { file: STAGE });
    assert_eq!(disk.perform(DiskRequest::Publish { stage: 1, to: SLOT }), Err(DiskError::NotFound));
    assert_listed(disk, &[(JOURNAL, 5)]);
}

fn of_nothing(disk: &mut dyn DiskUnderTest) {
    append(disk, JOURNAL, 0, b"stays");
    for file in [SLOT, VOLUME, STAGE] {
        done(disk, DiskRequest::Remove { file });
    }
    append(disk, VOLUME, 0, b"goes");
    for _ in 0..2 {
        done(disk, DiskRequest::Remove { file: VOLUME });
    }
    assert_listed(disk, &[(JOURNAL, 5)]);
}

fn created_anew(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"the old content");
    assert_content(disk, VOLUME, b"the old content");
    done(disk, DiskRequest::Remove { file: VOLUME });
    append(disk, VOLUME, 0, b"new");
    assert_content(disk, VOLUME, b"new");
    append(disk, VOLUME, 3, b"er");
    assert_content(disk, VOLUME, b"newer");
}
