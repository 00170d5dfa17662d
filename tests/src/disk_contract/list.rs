//! What a listing owes.

use dps_core::disk::{DiskRequest, File, Slot};

use super::{
    DiskUnderTest, JOURNAL, Rule, SLOT, STAGE, VOLUME, append, assert_content, assert_listed, done, listed, sync_all,
};

pub(super) const RULES: &[Rule] = &[
    Rule { title: "a new disk lists nothing", check: new_disk_is_empty },
    Rule { title: "a listing is in the order of files, with lengths", check: in_order },
    Rule { title: "a listing is of what was acknowledged before it", check: is_current },
    Rule { title: "files of different kinds with one number are different", check: kinds_do_not_mix },
    Rule { title: "the largest number is a file like any other", check: largest_number },
];

fn new_disk_is_empty(disk: &mut dyn DiskUnderTest) {
    assert_listed(disk, &[]);
}

fn in_order(disk: &mut dyn DiskUnderTest) {
    for (file, bytes) in [
        (File::Volume(10), b"1".as_slice()),
        (File::Stage(3), b"22"),
        (File::Journal(2), b"333"),
        (File::Volume(9), b"4444"),
        (File::Journal(1_000_000), b"55555"),
    ] {
        append(disk, file, 0, bytes);
    }
    let catalogs = [Slot::CatalogOdd, Slot::CatalogEven, Slot::JournalOdd, Slot::JournalEven];
    let others = [Slot::WitnessOdd, Slot::BootOdd, Slot::Scrub, Slot::WitnessEven, Slot::BootEven];
    let slots = others.into_iter().chain(catalogs);
    for to in slots.map(File::Slot).chain([File::Snapshot(5), File::Checkpoint(10), File::Checkpoint(9)]) {
        append(disk, STAGE, 0, b"slot");
        done(disk, DiskRequest::Publish { stage: 1, to });
    }
    append(disk, File::Volume(9), 4, b"4");
    let expected = [
        (File::Slot(Slot::BootEven), 4),
        (File::Slot(Slot::BootOdd), 4),
        (File::Slot(Slot::CatalogEven), 4),
        (File::Slot(Slot::CatalogOdd), 4),
        (File::Slot(Slot::JournalEven), 4),
        (File::Slot(Slot::JournalOdd), 4),
        (File::Slot(Slot::Scrub), 4),
        (File::Slot(Slot::WitnessEven), 4),
        (File::Slot(Slot::WitnessOdd), 4),
        (File::Journal(2), 3),
        (File::Journal(1_000_000), 5),
        (File::Volume(9), 5),
        (File::Volume(10), 1),
        (File::Checkpoint(9), 4),
        (File::Checkpoint(10), 4),
        (File::Snapshot(5), 4),
        (File::Stage(3), 2),
    ];
    assert!(expected.is_sorted(), "this is the order of files");
    assert_listed(disk, &expected);
}

fn is_current(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"abc");
    assert_listed(disk, &[(VOLUME, 3)]);
    append(disk, VOLUME, 3, b"de");
    assert_listed(disk, &[(VOLUME, 5)]);
    append(disk, STAGE, 0, b"new");
    assert_listed(disk, &[(VOLUME, 5), (STAGE, 3)]);
    sync_all(disk, VOLUME);
    done(disk, DiskRequest::Publish { stage: 1, to: SLOT });
    assert_listed(disk, &[(SLOT, 3), (VOLUME, 5)]);
    done(disk, DiskRequest::Remove { file: VOLUME });
    assert_listed(disk, &[(SLOT, 3)]);
}

fn kinds_do_not_mix(disk: &mut dyn DiskUnderTest) {
    let files = [File::Journal(7), File::Volume(7), File::Stage(7)];
    for (file, bytes) in files.into_iter().zip([b"a".as_slice(), b"bb", b"ccc"]) {
        append(disk, file, 0, bytes);
    }
    append(disk, STAGE, 0, b"dddd");
    done(disk, DiskRequest::Publish { stage: 1, to: File::Checkpoint(7) });
    assert_eq!(listed(disk).len(), 4);
    done(disk, DiskRequest::Remove { file: File::Stage(7) });
    assert_content(disk, File::Checkpoint(7), b"dddd");
    assert_content(disk, File::Journal(7), b"a");
    assert_content(disk, File::Volume(7), b"bb");
}

fn largest_number(disk: &mut dyn DiskUnderTest) {
    let (last, cut) = (File::Volume(u64::MAX), File::Volume(u32::MAX.into()));
    append(disk, last, 0, b"last");
    append(disk, cut, 0, b"other");
    append(disk, JOURNAL, 0, b"");
    assert_content(disk, last, b"last");
    assert_listed(disk, &[(JOURNAL, 0), (cut, 5), (last, 4)]);
}
