//! What holds between requests that are on their way together.

use dps_core::disk::{DiskError, DiskReply, DiskRequest, File};

use super::{
    DONE, DiskUnderTest, JOURNAL, Rule, SLOT, STAGE, VOLUME, append_request, assert_content, assert_listed, pattern,
    read_back, read_request,
};

pub(super) const RULES: &[Rule] = &[
    Rule { title: "writes of one file are done in the order of their issue", check: one_file_in_order },
    Rule { title: "a publication keeps its place among the writes of both files", check: publication_in_order },
    Rule { title: "a read sees every write acknowledged before its issue", check: reads_see_acknowledged },
    Rule { title: "each request has its own end", check: own_ends },
];

fn one_file_in_order(disk: &mut dyn DiskUnderTest) {
    let bytes = pattern(2_000);
    let mut requests = Vec::new();
    for at in (0..bytes.len()).step_by(50) {
        for file in [JOURNAL, VOLUME] {
            requests.push(append_request(file, at as u64, &bytes[at..at + 50]));
            requests.extend((at % 200 == 0).then_some(DiskRequest::Sync { file, directory: at == 0 }));
        }
    }
    let count = requests.len();
    assert_eq!(disk.perform_together(requests), vec![DONE; count]);
    assert_content(disk, JOURNAL, &bytes);
    assert_content(disk, VOLUME, &bytes);
    let again = vec![
        DiskRequest::Remove { file: VOLUME },
        append_request(VOLUME, 0, b"a"),
        append_request(VOLUME, 1, b"b"),
        DiskRequest::Remove { file: VOLUME },
        append_request(VOLUME, 0, b"c"),
    ];
    assert_eq!(disk.perform_together(again), vec![DONE; 5]);
    assert_content(disk, VOLUME, b"c");
}

fn publication_in_order(disk: &mut dyn DiskUnderTest) {
    let publish = |stage, to| DiskRequest::Publish { stage, to };
    let requests = vec![
        append_request(STAGE, 0, b"one"),
        append_request(STAGE, 3, b", two"),
        publish(1, JOURNAL),
        append_request(JOURNAL, 8, b", three"),
        DiskRequest::Sync { file: JOURNAL, directory: false },
        append_request(STAGE, 0, b"slot"),
        publish(1, SLOT),
        append_request(File::Stage(2), 0, b"newer slot"),
        publish(2, SLOT),
    ];
    let count = requests.len();
    assert_eq!(disk.perform_together(requests), vec![DONE; count]);
    assert_content(disk, JOURNAL, b"one, two, three");
    assert_content(disk, SLOT, b"newer slot");
    assert_listed(disk, &[(SLOT, 10), (JOURNAL, 15)]);
}

fn reads_see_acknowledged(disk: &mut dyn DiskUnderTest) {
    let bytes = pattern(4_000);
    let mut acknowledged = 0;
    for end in (200..=bytes.len()).step_by(200) {
        // Reads are issued beside the next write: they may see it or not, and all that came before it.
        let results = disk.perform_together(vec![
            append_request(VOLUME, acknowledged as u64, &bytes[acknowledged..end]),
            read_request(VOLUME, 0, 5_000),
            DiskRequest::List,
        ]);
        let [appended, read, listed] = &results[..] else { panic!("three requests, three ends: {results:?}") };
        assert_eq!(*appended, DONE);
        match read {
            Ok(DiskReply::Read(seen)) => {
                assert!((acknowledged..=end).contains(&seen.len()), "{} of {acknowledged}", seen.len());
                assert_eq!(seen[..acknowledged], bytes[..acknowledged]);
            }
            Err(DiskError::NotFound) => assert_eq!(acknowledged, 0),
            other => panic!("a read gives bytes, not {other:?}"),
        }
        let Ok(DiskReply::Listed(files)) = listed else { panic!("a listing, not {listed:?}") };
        let len = files.iter().find(|(file, _)| *file == VOLUME).map_or(0, |(_, len)| *len);
        assert!((acknowledged as u64..=end as u64).contains(&len), "{len} of {acknowledged} are listed");
        acknowledged = end;
        // By itself, and before any other write, a read sees all of it.
        let seen = disk.perform_together(vec![read_request(VOLUME, 0, 5_000), read_request(VOLUME, 0, 5_000)]);
        assert_eq!(seen, [read_back(&bytes[..end]), read_back(&bytes[..end])]);
    }
}

fn own_ends(disk: &mut dyn DiskUnderTest) {
    let requests = vec![
        read_request(JOURNAL, 0, 1),
        append_request(VOLUME, 0, b"abc"),
        append_request(VOLUME, 0, b"again"),
        append_request(VOLUME, 3, b"def"),
        DiskRequest::Publish { stage: 9, to: SLOT },
        DiskRequest::Sync { file: File::Journal(2), directory: true },
        append_request(File::Volume(2), 7, b"nowhere"),
        DiskRequest::Remove { file: File::Volume(3) },
    ];
    let missing = Err(DiskError::NotFound);
    let ends = [missing.clone(), DONE, Err(DiskError::Exists), DONE, missing.clone(), missing.clone(), missing, DONE];
    assert_eq!(disk.perform_together(requests), ends);
    assert_content(disk, VOLUME, b"abcdef");
    assert_listed(disk, &[(VOLUME, 6)]);
}
