//! Writes the code of the wire schema again: `cargo run -p dps-tests --example schema`.

use std::fs;
use std::io;

use dps_tests::{schema, tree};

fn main() -> io::Result<()> {
    let root = tree::root();
    fs::write(root.join(schema::CODE), schema::generate(&root))
}
