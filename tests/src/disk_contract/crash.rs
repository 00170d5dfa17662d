//! What is left when power is lost. A disk that can't lose power keeps these rules unseen.

use dps_core::disk::{DiskRequest, File};

use super::{
    DONE, DiskUnderTest, JOURNAL, Rule, SLOT, STAGE, VOLUME, append, append_request, assert_content, content, done,
    listed, pattern, sync_all,
};

pub(super) const RULES: &[Rule] = &[
    Rule { title: "what is synced survives a crash", check: synced_survives },
    Rule { title: "a sync covers what was issued before it", check: sync_covers_the_issued },
    Rule { title: "what is published survives a crash", check: published_survives },
    Rule { title: "what is being published is the old or the new", check: old_or_new },
    Rule { title: "a write on its way takes nothing durable away", check: durable_stays },
    Rule { title: "a file that is being removed is whole or gone", check: whole_or_gone },
    Rule { title: "after a crash a listing and reads agree", check: listing_agrees },
];

fn synced_survives(disk: &mut dyn DiskUnderTest) {
    let bytes = pattern(5_000);
    append(disk, VOLUME, 0, &bytes[..100]);
    sync_all(disk, VOLUME);
    append(disk, VOLUME, 100, &bytes[100..3_000]);
    append(disk, VOLUME, 3_000, &bytes[3_000..]);
    done(disk, DiskRequest::Sync { file: VOLUME, directory: false });
    for _ in 0..2 {
        disk.crash_amid(Vec::new());
        assert_content(disk, VOLUME, &bytes);
    }
    append(disk, VOLUME, 5_000, b"unsynced");
    disk.crash_amid(Vec::new());
    let left = content(disk, VOLUME).expect("its name is durable");
    assert_eq!(left[..5_000], bytes, "a later write can't take back what was synced");
}

fn sync_covers_the_issued(disk: &mut dyn DiskUnderTest) {
    let bytes = pattern(3_000);
    let requests = vec![
        append_request(JOURNAL, 0, &bytes[..10]),
        append_request(JOURNAL, 10, &bytes[10..]),
        DiskRequest::Sync { file: JOURNAL, directory: true },
    ];
    assert_eq!(disk.perform_together(requests), vec![DONE; 3]);
    disk.crash_amid(Vec::new());
    assert_content(disk, JOURNAL, &bytes);
}

fn published_survives(disk: &mut dyn DiskUnderTest) {
    for (content, to) in [(b"first".as_slice(), SLOT), (b"second", SLOT), (b"a volume", VOLUME), (b"a log", JOURNAL)] {
        append(disk, STAGE, 0, content);
        done(disk, DiskRequest::Publish { stage: 1, to });
        disk.crash_amid(Vec::new());
        assert_content(disk, to, content);
        assert!(!listed(disk).iter().any(|(file, _)| *file == STAGE), "its first name is gone for good");
    }
}

fn old_or_new(disk: &mut dyn DiskUnderTest) {
    let (old, new) = (pattern(1_500), vec![7; 2_000]);
    append(disk, STAGE, 0, &old);
    done(disk, DiskRequest::Publish { stage: 1, to: SLOT });
    append(disk, STAGE, 0, &new[..600]);
    disk.crash_amid(vec![append_request(STAGE, 600, &new[600..]), DiskRequest::Publish { stage: 1, to: SLOT }]);
    let left = content(disk, SLOT).expect("a publication replaces, it does not remove");
    assert!(left == old || left == new, "{} bytes of neither", left.len());
}

fn durable_stays(disk: &mut dyn DiskUnderTest) {
    let bytes = pattern(1_300);
    for file in [VOLUME, JOURNAL] {
        append(disk, file, 0, &bytes);
        sync_all(disk, file);
    }
    for _ in 0..4 {
        let end = content(disk, VOLUME).expect("its name is durable").len() as u64;
        disk.crash_amid(vec![
            append_request(VOLUME, end, &[1; 700]),
            DiskRequest::Sync { file: VOLUME, directory: false },
            append_request(File::Volume(2), 0, b"new"),
            append_request(VOLUME, end + 700, &[2; 700]),
            DiskRequest::Remove { file: STAGE },
        ]);
        let left = content(disk, VOLUME).expect("its name is durable");
        assert_eq!(left[..1_300], bytes);
        assert_content(disk, JOURNAL, &bytes);
        done(disk, DiskRequest::Remove { file: File::Volume(2) });
    }
}

fn whole_or_gone(disk: &mut dyn DiskUnderTest) {
    let bytes = pattern(1_300);
    for file in [VOLUME, JOURNAL] {
        append(disk, file, 0, &bytes);
        sync_all(disk, file);
    }
    disk.crash_amid(vec![DiskRequest::Remove { file: VOLUME }]);
    assert!(content(disk, VOLUME).is_none_or(|left| left == bytes));
    done(disk, DiskRequest::Remove { file: JOURNAL });
    // A removal is not durable by itself.
    disk.crash_amid(Vec::new());
    assert!(content(disk, JOURNAL).is_none_or(|left| left == bytes));
}

fn listing_agrees(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, &pattern(900));
    append(disk, JOURNAL, 0, &pattern(600));
    sync_all(disk, JOURNAL);
    append(disk, STAGE, 0, &pattern(700));
    disk.crash_amid(vec![append_request(JOURNAL, 600, &[3; 2_000]), append_request(File::Volume(2), 0, &[4; 600])]);
    let files = listed(disk);
    assert!(files.is_sorted(), "{files:?}");
    for file in [JOURNAL, VOLUME, File::Volume(2), STAGE] {
        let len = files.iter().find(|(found, _)| *found == file).map(|(_, len)| *len);
        assert_eq!(content(disk, file).map(|bytes| bytes.len() as u64), len, "{file}");
    }
}
