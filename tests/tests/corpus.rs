//! Everything that fuzzing ever found worth keeping is run again, on stable Rust: the corpus of each target, and the
//! inputs that once broke it.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

use dps_fuzz::{TARGETS, Target};
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

/// Runs every input in `folder/TARGET`; returns how many there were, and names those that fail.
fn replay(folder: &str, targets: &[(&str, Target)]) -> (usize, Vec<String>) {
    let (mut inputs, mut failed) = (0, Vec::new());
    for (name, target) in targets {
        for path in entries(&format!("{folder}/{name}")) {
            inputs += 1;
            let data = fs::read(&path).expect("a corpus file is readable");
            if catch_unwind(|| target(&data)).is_err() {
                failed.push(format!("cargo +nightly fuzz run {name} {}", path.display()));
            }
        }
    }
    (inputs, failed)
}

#[test]
fn every_input_of_the_corpus_passes() {
    let (inputs, failed) = replay("corpus", &TARGETS);
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
    assert!(inputs >= TARGETS.len(), "only {inputs} inputs were found");
}

#[test]
fn what_once_failed_does_not_fail_again() {
    let (_, failed) = replay("regressions", &TARGETS);
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn an_input_that_fails_is_named() {
    let (name, _) = TARGETS[0];
    let target: Target = |data| assert!(data.is_empty(), "it has {} bytes", data.len());
    let (inputs, failed) = replay("corpus", &[(name, target)]);
    let filled = entries(&format!("corpus/{name}")).iter().filter(|path| fs::metadata(path).unwrap().len() > 0).count();
    assert!(inputs > 0 && filled > 0);
    assert_eq!(failed.len(), filled, "{failed:?}");
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
