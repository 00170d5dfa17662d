//! What an append owes.

use dps_core::disk::{DiskError, File};

use super::{
    DONE, DiskUnderTest, JOURNAL, Rule, STAGE, VOLUME, append, append_parts, assert_content, assert_listed, sync_all,
};

pub(super) const RULES: &[Rule] = &[
    Rule { title: "an append at 0 creates the file, at another offset it does not", check: only_zero_creates },
    Rule { title: "an append at 0 refuses a file that exists", check: zero_refuses_existing },
    Rule { title: "an append is refused where the file does not end", check: only_at_the_end },
    Rule { title: "an append that is refused writes nothing", check: refused_writes_nothing },
    Rule { title: "parts are written one after the other, empty ones too", check: parts_in_order },
    Rule { title: "a file grows append by append", check: grows },
];

fn only_zero_creates(disk: &mut dyn DiskUnderTest) {
    for file in [JOURNAL, VOLUME, STAGE] {
        assert_eq!(append_parts(disk, file, 5, &[b"abc"]), Err(DiskError::NotFound));
    }
    assert_listed(disk, &[]);
    for (file, bytes) in [(JOURNAL, b"abc".as_slice()), (VOLUME, b""), (STAGE, b"d")] {
        append(disk, file, 0, bytes);
    }
    assert_listed(disk, &[(JOURNAL, 3), (VOLUME, 0), (STAGE, 1)]);
}

fn zero_refuses_existing(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"abc");
    assert_eq!(append_parts(disk, VOLUME, 0, &[b"xyz"]), Err(DiskError::Exists));
    append(disk, JOURNAL, 0, b"");
    assert_eq!(append_parts(disk, JOURNAL, 0, &[b"xyz"]), Err(DiskError::Exists), "an empty file exists too");
    assert_content(disk, VOLUME, b"abc");
    assert_content(disk, JOURNAL, b"");
}

fn only_at_the_end(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"abcd");
    for offset in [1, 3, 5, 4_096, u64::MAX] {
        assert!(append_parts(disk, VOLUME, offset, &[b"x"]).is_err(), "offset {offset}");
    }
    append(disk, VOLUME, 4, b"ef");
    assert!(append_parts(disk, VOLUME, 4, &[b"x"]).is_err(), "the end has moved");
    assert_content(disk, VOLUME, b"abcdef");
}

fn refused_writes_nothing(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"abcd");
    for offset in [0, 2, 9] {
        assert!(append_parts(disk, VOLUME, offset, &[b"12", b"34"]).is_err(), "offset {offset}");
        assert_content(disk, VOLUME, b"abcd");
    }
    sync_all(disk, VOLUME);
    append(disk, VOLUME, 4, b"ef");
    assert_content(disk, VOLUME, b"abcdef");
    assert_listed(disk, &[(VOLUME, 6)]);
}

fn parts_in_order(disk: &mut dyn DiskUnderTest) {
    assert_eq!(append_parts(disk, VOLUME, 0, &[b"a", b"", b"bc", b""]), DONE);
    assert_eq!(append_parts(disk, VOLUME, 3, &[]), DONE);
    assert_eq!(append_parts(disk, VOLUME, 3, &[b""]), DONE);
    assert_eq!(append_parts(disk, VOLUME, 3, &[b"", b"d"]), DONE);
    assert_content(disk, VOLUME, b"abcd");
    assert_eq!(append_parts(disk, JOURNAL, 0, &[]), DONE, "a file may begin empty");
    assert_listed(disk, &[(JOURNAL, 0), (VOLUME, 4)]);
    // More parts than one system call takes.
    let many: Vec<&[u8]> = vec![b"xy"; 3_000];
    assert_eq!(append_parts(disk, VOLUME, 4, &many), DONE);
    assert_content(disk, VOLUME, &[b"abcd".as_slice(), &b"xy".repeat(3_000)].concat());
}

fn grows(disk: &mut dyn DiskUnderTest) {
    let file = File::Journal(3);
    let mut expected = Vec::new();
    for len in [1, 511, 1, 512, 513, 4_096, 3] {
        let bytes = vec![u8::try_from(len % 251).expect("below 251"); len];
        append(disk, file, expected.len() as u64, &bytes);
        expected.extend_from_slice(&bytes);
        assert_content(disk, file, &expected);
    }
}
