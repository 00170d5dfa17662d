//! How fast a machine is in memory: `sim bench`.
//!
//! Nanoseconds mean nothing but on the machine where they were taken, beside others of the same run. Allocations are not
//! counted: who counts them has to stand between every allocation of this command and the system, those of swarms
//! included. `bench/`, which compares this with its peers, counts them.

mod trio;

use std::fmt::Write as _;
use std::time::Instant;

use serde::Serialize;

pub use trio::Trio;

use crate::Scenario;

/// Bytes of a command.
pub const PAYLOAD_BYTES: usize = 256;

/// Entries after which a log is compacted.
pub const COMPACT_AFTER: u64 = 8_192;

/// How many are under way.
pub const IN_FLIGHT: [u64; 3] = [1, 64, 256];

/// Passes of which the best counts, so that what else the machine does counts least.
pub const PASSES: usize = 5;

/// How many of them a pass takes: of one at a time, which are slower, fewer.
#[must_use]
pub const fn count(in_flight: u64) -> u64 {
    if in_flight == 1 { 100_000 } else { 400_000 }
}

/// What one command or read takes.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The scenario.
    pub scenario: &'static str,
    /// `commit` or `read`.
    pub what: &'static str,
    /// How many are under way.
    pub in_flight: u64,
    /// Nanoseconds of real time.
    pub ns: f64,
    /// Messages between the nodes.
    pub messages: f64,
}

/// A scenario that is not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scenario {} can't be measured; there is: {}", .0.name(), Scenario::Raft.name())]
pub struct NotMeasured(Scenario);

/// Measures a scenario.
///
/// # Errors
/// It is none that is measured.
pub fn measure(scenario: Scenario) -> Result<Vec<Row>, NotMeasured> {
    match scenario {
        Scenario::Raft => Ok(IN_FLIGHT
            .into_iter()
            .flat_map(|in_flight| [best("commit", in_flight, Trio::commit), best("read", in_flight, Trio::read)])
            .collect()),
        Scenario::Keystore | Scenario::Reclaim => Err(NotMeasured(scenario)),
    }
}

/// The best pass.
fn best(what: &'static str, in_flight: u64, run: fn(&mut Trio, u64, u64)) -> Row {
    let passes = (0..PASSES).map(|_| pass(what, in_flight, run));
    passes.min_by(|a, b| a.ns.total_cmp(&b.ns)).expect("there are passes")
}

#[expect(clippy::cast_precision_loss, reason = "a quotient is shown with few digits")]
fn pass(what: &'static str, in_flight: u64, run: fn(&mut Trio, u64, u64)) -> Row {
    let (mut trio, count) = (Trio::new(), count(in_flight));
    run(&mut trio, count / 10, in_flight);
    let (messages, begun) = (trio.messages(), Instant::now());
    run(&mut trio, count, in_flight);
    let ns = begun.elapsed().as_nanos() as f64 / count as f64;
    let messages = (trio.messages() - messages) as f64 / count as f64;
    Row { scenario: Scenario::Raft.name(), what, in_flight, ns, messages }
}

/// A table, a line for each row.
#[must_use]
pub fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for Row { scenario, what, in_flight, ns, messages } in rows {
        let line = format!("{scenario:5} {what:6} {in_flight:4} in flight: {ns:8.0} ns, {messages:6.3} messages");
        writeln!(text, "{line}").expect("a string takes everything");
    }
    text
}

/// A line of JSON for each row.
#[must_use]
pub fn json(rows: &[Row]) -> String {
    rows.iter().map(|row| serde_json::to_string(row).expect("a row is plain") + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_measured_is_refused_with_what_is() {
        let refused = measure(Scenario::Keystore).expect_err("there is no such bench");
        assert_eq!(refused.to_string(), "the scenario keystore can't be measured; there is: raft");
    }

    #[test]
    fn a_row_is_an_object_of_one_line() {
        let row = Row { scenario: "raft", what: "commit", in_flight: 64, ns: 1.5, messages: 0.0625 };
        let object = r#"{"scenario":"raft","what":"commit","in_flight":64,"ns":1.5,"messages":0.0625}"#;
        assert_eq!(json(&[row.clone(), row.clone()]), format!("{object}\n{object}\n"));
        assert_eq!(text(&[row]), "raft  commit   64 in flight:        2 ns,  0.062 messages\n");
    }
}
