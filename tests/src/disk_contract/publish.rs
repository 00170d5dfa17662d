//! What a publication owes, as far as it shows without a crash.

use dps_core::disk::{DiskError, DiskRequest, File};

use super::{
    DiskUnderTest, JOURNAL, Rule, SLOT, STAGE, VOLUME, append, append_parts, assert_content, assert_listed, done, read,
};

pub(super) const RULES: &[Rule] = &[
    Rule { title: "a publish moves the staged file and replaces", check: replaces },
    Rule { title: "a publish without a staged file changes nothing", check: needs_a_stage },
    Rule { title: "a publish touches no other file", check: touches_two_files },
    Rule { title: "an empty staged file is published as one", check: empty_stage },
    Rule { title: "a published file goes on like any other", check: published_file_grows },
];

fn replaces(disk: &mut dyn DiskUnderTest) {
    for (stage, content) in [(1, b"first".as_slice()), (2, b"2nd"), (1, b"third, with a number used before")] {
        append(disk, File::Stage(stage), 0, content);
        done(disk, DiskRequest::Publish { stage, to: SLOT });
        assert_content(disk, SLOT, content);
        assert_eq!(read(disk, File::Stage(stage), 0, 1), Err(DiskError::NotFound));
        assert_listed(disk, &[(SLOT, content.len() as u64)]);
    }
}

fn needs_a_stage(disk: &mut dyn DiskUnderTest) {
    let publish = DiskRequest::Publish { stage: 1, to: SLOT };
    assert_eq!(disk.perform(publish.clone()), Err(DiskError::NotFound));
    assert_listed(disk, &[]);
    append(disk, STAGE, 0, b"old");
    done(disk, publish.clone());
    assert_eq!(disk.perform(publish), Err(DiskError::NotFound), "it has been published");
    assert_content(disk, SLOT, b"old");
}

fn touches_two_files(disk: &mut dyn DiskUnderTest) {
    for (file, bytes) in [(STAGE, b"new".as_slice()), (File::Stage(2), b"other"), (JOURNAL, b"log"), (VOLUME, b"chunk")]
    {
        append(disk, file, 0, bytes);
    }
    done(disk, DiskRequest::Publish { stage: 1, to: File::Journal(2) });
    assert_listed(disk, &[(JOURNAL, 3), (File::Journal(2), 3), (VOLUME, 5), (File::Stage(2), 5)]);
    assert_content(disk, File::Stage(2), b"other");
    assert_content(disk, JOURNAL, b"log");
}

fn empty_stage(disk: &mut dyn DiskUnderTest) {
    append(disk, STAGE, 0, b"something");
    done(disk, DiskRequest::Publish { stage: 1, to: SLOT });
    append(disk, STAGE, 0, b"");
    done(disk, DiskRequest::Publish { stage: 1, to: SLOT });
    assert_listed(disk, &[(SLOT, 0)]);
    assert_content(disk, SLOT, b"");
}

fn published_file_grows(disk: &mut dyn DiskUnderTest) {
    append(disk, File::Stage(4), 0, b"copied");
    append(disk, File::Stage(4), 6, b" records");
    done(disk, DiskRequest::Publish { stage: 4, to: JOURNAL });
    assert_content(disk, JOURNAL, b"copied records");
    assert_eq!(append_parts(disk, JOURNAL, 0, &[b"x"]), Err(DiskError::Exists));
    append(disk, JOURNAL, 14, b", then new ones");
    done(disk, DiskRequest::Sync { file: JOURNAL, directory: false });
    assert_content(disk, JOURNAL, b"copied records, then new ones");
}
