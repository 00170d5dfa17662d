//! Every seed that ever made a simulation fail passes.

use dps_tests::{seeds, tree};

#[test]
fn the_list_of_failed_seeds_is_in_order() {
    let text = std::fs::read_to_string(tree::root().join("tests/seeds.txt")).unwrap();
    let seeds = seeds::parse(&text).unwrap_or_else(|error| panic!("tests/seeds.txt: {error}"));
    assert!(seeds.is_sorted_by(|a, b| a.date <= b.date), "new seeds are added at the end");
}
