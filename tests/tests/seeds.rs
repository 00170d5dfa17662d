//! Every seed that ever made a simulation fail passes.

use dps_tests::{seeds, tree};
use sim::{RunOptions, Scenario};

#[test]
fn every_seed_that_ever_failed_passes() {
    let text = std::fs::read_to_string(tree::root().join("tests/seeds.txt")).unwrap();
    let seeds = seeds::parse(&text).unwrap_or_else(|error| panic!("tests/seeds.txt: {error}"));
    assert!(seeds.is_sorted_by(|a, b| a.date <= b.date), "new seeds are added at the end");
    for row in seeds {
        let named = |scenario: &Scenario| scenario.name() == row.scenario;
        let scenario = [Scenario::Keystore, Scenario::Reclaim, Scenario::Raft]
            .into_iter()
            .find(named)
            .expect("a scenario there is");
        let result = sim::run(row.seed, &RunOptions { scenario, ..RunOptions::default() });
        assert!(result.violations.is_empty(), "seed {} ({}): {:?}", row.seed, row.found, result.violations);
    }
}
