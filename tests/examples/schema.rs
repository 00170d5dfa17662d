//! Writes the code of the wire schema again: `cargo run -p dps-tests --example schema`.

#[path = "../tests/schema/generate.rs"]
mod generate;

use std::fs;
use std::io;

use dps_tests::tree;
use generate::{CODE, generate};

fn main() -> io::Result<()> {
    let root = tree::root();
    fs::write(root.join(CODE), generate(&root))
}
