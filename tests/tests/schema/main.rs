//! The code of the wire schema is what the schema says.

mod generate;

use std::fs;

use dps_tests::tree;
use generate::{CODE, SCHEMAS, generate};

#[test]
fn the_code_is_generated_from_the_schema() {
    let root = tree::root();
    let found = fs::read_to_string(root.join(CODE)).expect("the code is checked in");
    let hint = "run `cargo run -p dps-tests --example schema` after a change of core/proto";
    assert!(found == generate(&root), "{} is not what the schema says; {hint}", CODE);
}

#[test]
fn every_schema_is_generated() {
    let mut files = Vec::new();
    let mut folders = vec![tree::root().join("core/proto")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder of schemas can be read") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    assert_eq!(files, SCHEMAS.map(|name| tree::root().join("core/proto").join(name)));
}
