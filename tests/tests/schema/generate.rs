//! Code for the wire schema, generated without any tool that is not a crate.

use std::fs;
use std::path::Path;

/// Where the code is, from the root of the repository.
pub(crate) const CODE: &str = "core/src/wire/pb.rs";

/// The schemas, below the folder `core/proto`.
pub(crate) const SCHEMAS: [&str; 1] = ["dps/v1/raft.proto"];

/// What generated code begins with, so that nobody mends it by hand.
const HEAD: &str =
    "//! The wire schema as Rust, made from `core/proto` by `cargo run -p dps-tests --example schema`.\n";

/// Generates what [`CODE`] must be, from the repository at `root`. Byte strings share their buffer, and maps have one
/// order.
///
/// # Panics
/// When a schema can't be compiled, or the folder for temporary files can't be used.
pub(crate) fn generate(root: &Path) -> String {
    let protos = root.join("core/proto");
    let descriptors = protox::compile(SCHEMAS, [&protos]).unwrap_or_else(|error| panic!("{error}"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut config = prost_build::Config::new();
    // What a field means is said in the schema.
    config.disable_comments(["."]).bytes(["."]).btree_map(["."]).out_dir(folder.path());
    config.compile_fds(descriptors).unwrap_or_else(|error| panic!("{error}"));
    let code = fs::read_to_string(folder.path().join("dps.v1.rs")).expect("one package makes one file");
    format!("{HEAD}{code}")
}
