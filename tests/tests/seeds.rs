//! Every seed that ever made a simulation fail passes.

use dps_tests::{seeds, tree};
use sim::RunOptions;

#[test]
fn every_seed_that_ever_failed_passes() {
    let text = std::fs::read_to_string(tree::root().join("tests/seeds.txt")).unwrap();
    let seeds = seeds::parse(&text).unwrap_or_else(|error| panic!("tests/seeds.txt: {error}"));
    assert!(seeds.is_sorted_by(|a, b| a.date <= b.date), "new seeds are added at the end");
    for row in seeds {
        assert_eq!(row.scenario, "keystore", "a new scenario is run here by its own name");
        let result = sim::run(row.seed, &RunOptions::default());
        assert!(result.violations.is_empty(), "seed {} ({}): {:?}", row.seed, row.found, result.violations);
    }
}
