//! The core can't do IO because nothing that it is built of can, and the crates depend on each other one way only.

use std::collections::BTreeMap;
use std::process::Command;

use dps_tests::tree;

fn read(path: &str) -> String {
    std::fs::read_to_string(tree::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_core_declares_itself_pure() {
    let library = read("core/src/lib.rs");
    for attribute in ["#![no_std]", "#![forbid(unsafe_code)]", "#![deny(missing_docs)]"] {
        assert!(library.lines().any(|line| line == attribute), "core/src/lib.rs lacks {attribute}");
    }
    assert!(!library.contains("extern crate std"));
}

/// Everything the core is built of, with features, when it is built alone: in the workspace a crate of the shell may
/// switch on `std` of something they share.
fn closure() -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "dps-core", "--edges", "normal,no-proc-macro", "--prefix", "none", "--no-dedupe"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--locked", "--format", "{p} [{f}]"])
        .current_dir(tree::root())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    // "bytes v1.12.2 [features]" without the version, which the lock file keeps.
    let line = |line: &str| {
        let name = line.split(' ').next().unwrap_or_default().to_owned();
        let features = line.rsplit_once('[').map_or("", |(_, features)| features.trim_end_matches(']'));
        format!("{name} [{features}]")
    };
    let mut lines: Vec<String> = text.lines().map(line).filter(|line| !line.starts_with("dps-core ")).collect();
    lines.sort();
    lines.dedup();
    lines
}

#[test]
fn the_core_is_built_of_what_the_list_allows() {
    let list = read("tests/data/core-dependencies.txt");
    let allowed: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    let found = closure();
    assert_eq!(
        found, allowed,
        "tests/data/core-dependencies.txt lists every crate and feature that the core may be built of"
    );
    for line in &found {
        let (_, features) = line.split_once(" [").expect("a line of the list has features");
        assert!(!features.trim_end_matches(']').split(',').any(|feature| feature == "std"), "{line}");
    }
}

/// The names under a table of dependencies of a package's manifest.
fn dependencies(package: &str, tables: &[&str]) -> Vec<String> {
    let manifest: toml::Table = toml::from_str(&read(&format!("{package}/Cargo.toml"))).expect("a manifest is TOML");
    let names = |table: &&str| manifest.get(*table).and_then(toml::Value::as_table).cloned().unwrap_or_default();
    tables.iter().flat_map(names).map(|(name, _)| name).collect()
}

const ALL: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

#[test]
fn crates_depend_on_each_other_one_way() {
    for (package, strangers) in [
        ("core", &["dps", "sim", "dps-tests", "dps-fuzz"][..]),
        ("sim", &["dps", "dps-tests", "dps-fuzz"]),
        ("shell", &["sim", "dps-tests", "dps-fuzz"]),
        ("fuzz", &["sim", "dps", "dps-tests"]),
    ] {
        let found = dependencies(package, &ALL);
        for stranger in strangers {
            assert!(!found.iter().any(|name| name == stranger), "{package} depends on {stranger}");
        }
    }
}

#[test]
fn the_cores_manifest_has_no_build_script_and_no_features() {
    let manifest: toml::Table = toml::from_str(&read("core/Cargo.toml")).unwrap();
    assert!(!manifest.contains_key("features"), "one core, not two to the power of its features");
    assert!(dependencies("core", &["build-dependencies"]).is_empty());
}

/// Where one of the packages that dps is said to be made of is used from the day its part exists.
struct Card {
    package: &'static str,
    /// The packages of ours that may depend on it.
    users: &'static [&'static str],
    /// The part of the sources from which on it must be there.
    from: &'static str,
}

const CARDS: [Card; 10] = [
    Card { package: "bytes", users: &["core"], from: "core/src" },
    Card { package: "prost", users: &["core"], from: "core/src/wire" },
    Card { package: "sha2", users: &["core"], from: "core/src/crypto/hash.rs" },
    Card { package: "aes-gcm", users: &["core"], from: "core/src/crypto/aead.rs" },
    Card { package: "serde", users: &["sim", "shell"], from: "sim/src" },
    Card { package: "rand_chacha", users: &["core"], from: "core/src/rng.rs" },
    Card { package: "proptest", users: &["core", "tests"], from: "tests/tests" },
    Card { package: "tokio", users: &["shell"], from: "shell/src/driver" },
    Card { package: "tracing", users: &["shell"], from: "shell/src/driver" },
    Card { package: "insta", users: &["tests"], from: "tests/tests" },
];

#[test]
fn the_packages_of_the_design_are_used() {
    let sources = tree::files(&[".rs"]);
    let uses: BTreeMap<&str, Vec<String>> =
        ["core", "shell", "sim", "tests"].map(|package| (package, dependencies(package, &ALL))).into();
    for Card { package, users, from } in CARDS {
        if !sources.iter().any(|file| file.is_below(from)) {
            continue;
        }
        let path = format!("{}::", package.replace('-', "_"));
        let used = users.iter().any(|user| {
            let declared = uses[user].iter().any(|name| name == package);
            declared && sources.iter().any(|file| file.is_below(&format!("{user}/")) && file.text.contains(&path))
        });
        assert!(used, "{package} is to be a direct dependency, and used, in one of {users:?}");
    }
}

#[test]
fn only_the_shell_has_a_runtime() {
    // The tests drive the shell's library, and so may have one too.
    for package in ["core", "sim", "fuzz"] {
        let found = dependencies(package, &ALL);
        assert!(!found.iter().any(|name| name == "tokio"), "{package} depends on tokio");
    }
}
