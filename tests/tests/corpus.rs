//! Every input of the fuzz targets' corpora, and every input that once broke one of them, on stable Rust.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use dps_fuzz::TARGETS;

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(kind)
}

/// What is in a folder, in order; nothing if it is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn file_names(paths: &[PathBuf]) -> BTreeSet<String> {
    paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Replays a folder with one subfolder a target, and names every input that fails.
fn replay(kind: &str) -> usize {
    let mut failed = Vec::new();
    let mut replayed = 0;
    for (name, target) in TARGETS {
        for path in entries(&folder(kind).join(name)) {
            let data = fs::read(&path).unwrap();
            if catch_unwind(|| target(&data)).is_err() {
                failed.push(path);
            }
            replayed += 1;
        }
    }
    assert!(failed.is_empty(), "these inputs fail: {failed:#?}");
    replayed
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len(), "names are unique");
    assert_eq!(file_names(&entries(&folder("corpus"))), targets);
    for name in &targets {
        assert!(!entries(&folder("corpus").join(name)).is_empty(), "{name} has no corpus");
        assert!(folder("fuzz_targets").join(name).with_extension("rs").is_file(), "{name} can't be run by cargo-fuzz");
    }
    let regressions = file_names(&entries(&folder("regressions")));
    assert!(regressions.is_subset(&targets), "a regression belongs to a target: {regressions:?}");
}

#[test]
fn the_corpora_hold_every_property() {
    assert!(replay("corpus") >= TARGETS.len());
}

#[test]
fn what_once_failed_does_not_fail_again() {
    replay("regressions");
}
