//! Everything that fuzzing ever found worth keeping is run again, on stable Rust: the corpus of each target, and the
//! inputs that once broke it.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

use dps_fuzz::TARGETS;
use dps_tests::tree;

/// What is in a folder of the fuzz targets, in order; nothing if it is not there.
fn entries(folder: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(tree::root().join("fuzz").join(folder)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    paths.sort();
    paths
}

fn names(folder: &str) -> BTreeSet<String> {
    entries(folder)
        .iter()
        .map(|path| path.file_stem().expect("a target has a name").to_string_lossy().into_owned())
        .collect()
}

/// Runs every input in `folder/TARGET` and names those that fail.
fn replay(folder: &str) {
    let mut failed = Vec::new();
    for (name, target) in TARGETS {
        for path in entries(&format!("{folder}/{name}")) {
            let data = fs::read(&path).expect("a corpus file is readable");
            if catch_unwind(|| target(&data)).is_err() {
                failed.push(format!("cargo +nightly fuzz run {name} {}", path.display()));
            }
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn every_input_of_the_corpus_passes() {
    replay("corpus");
}

#[test]
fn what_once_failed_does_not_fail_again() {
    replay("regressions");
}

#[test]
fn every_target_is_a_binary_and_has_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
    assert!(names("regressions").is_subset(&targets), "a regression belongs to a target");
    let manifest = fs::read_to_string(tree::root().join("fuzz/Cargo.toml")).unwrap();
    for name in targets {
        assert!(!entries(&format!("corpus/{name}")).is_empty(), "fuzz/corpus/{name} is empty");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}
