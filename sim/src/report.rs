//! What people and programs are told about runs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::exercise::{Exercise, ProtocolPhase};
use crate::plan::FaultKind;
use crate::swarm::{SwarmResult, excuse};
use crate::{RunResult, Scenario, Violation};

#[derive(Serialize)]
struct RunLine<'a> {
    seed: u64,
    scenario: &'a str,
    nodes: u32,
    events: u64,
    sim_seconds: f64,
    wall_seconds: f64,
    trace_hash: String,
    violations: &'a [Violation],
}

#[derive(Serialize)]
struct SwarmLine<'a> {
    scenario: &'a str,
    runs: u64,
    counted: u64,
    judged_live: u64,
    acknowledged: u64,
    events: u64,
    sim_seconds: f64,
    wall_seconds: f64,
    failed_seed: Option<u64>,
    violations: &'a [Violation],
    below_floor: Vec<String>,
}

fn seconds(nanos: u128) -> f64 {
    std::time::Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).as_secs_f64()
}

/// One run as a line of JSON.
pub(crate) fn run_json(result: &RunResult) -> String {
    let line = RunLine {
        seed: result.seed,
        scenario: result.scenario.name(),
        nodes: result.nodes,
        events: result.events,
        sim_seconds: seconds(u128::from(result.sim_ns)),
        wall_seconds: seconds(u128::from(result.wall_ns)),
        trace_hash: format!("{:016x}", result.trace_hash),
        violations: &result.violations,
    };
    serde_json::to_string(&line).expect("a line of plain values")
}

/// A swarm as a line of JSON.
pub(crate) fn swarm_json(result: &SwarmResult, wall_seconds: f64) -> String {
    let line = SwarmLine {
        scenario: result.scenario.name(),
        runs: result.runs,
        counted: result.counted,
        judged_live: result.judged_live,
        acknowledged: result.acknowledged,
        events: result.events,
        sim_seconds: seconds(result.sim_ns),
        wall_seconds,
        failed_seed: result.failed.as_ref().map(|failed| failed.seed),
        violations: result.failed.as_ref().map_or(&[], |failed| &failed.violations),
        below_floor: result.below_floor(),
    };
    serde_json::to_string(&line).expect("a line of plain values")
}

/// One run for people.
pub(crate) fn run_text(result: &RunResult) -> String {
    let Exercise { acknowledged, acknowledged_writes, boots, under_write, .. } = &result.exercise;
    let mut text = String::new();
    let verdict = if result.violations.is_empty() { "passed" } else { "FAILED" };
    let _ = writeln!(
        text,
        "seed {} {verdict}: {} events, {:.3} s simulated in {:.3} s, trace hash {:016x}",
        result.seed,
        result.events,
        seconds(u128::from(result.sim_ns)),
        seconds(u128::from(result.wall_ns)),
        result.trace_hash
    );
    let _ = writeln!(
        text,
        "{acknowledged} operations acknowledged ({acknowledged_writes} writes), {boots} starts, \
         {under_write} faults while a write was pending"
    );
    text
}

/// What failed, and how to see it again.
pub(crate) fn failure_text(result: &RunResult, replay: &str) -> String {
    let mut text = String::new();
    for line in &result.trace {
        let _ = writeln!(text, "{line}");
    }
    for violation in &result.violations {
        let (at, message) = (violation.at_ns, &violation.message);
        let _ = writeln!(text, "{} ({:?}) at {at} ns: {message}", violation.checker, violation.class);
    }
    let _ = writeln!(text, "replay: {replay}");
    text
}

/// The exercise table of a swarm: in how many of a hundred runs each kind of fault struck in each phase.
pub(crate) fn swarm_text(result: &SwarmResult, wall_seconds: f64) -> String {
    let mut text = String::new();
    let runs = result.runs.max(1);
    let percent = |count: u64| (count * 1_000 / runs) as f64 / 10.0;
    let _ = writeln!(
        text,
        "{} runs, {} events, {} operations acknowledged, {} starts, {:.1} s simulated in {wall_seconds:.1} s, \
         longest run {:.2} s",
        result.runs,
        result.events,
        result.acknowledged,
        result.boots,
        seconds(result.sim_ns),
        seconds(u128::from(result.wall_ns_max))
    );
    let (counted, live) = (percent(result.counted), percent(result.judged_live));
    let _ = writeln!(text, "{counted} % of the runs count, {live} % were judged live");
    if result.scenario == Scenario::Raft {
        let _ = writeln!(text, "what happened: in % of the runs, and how often in all:");
        for (row, (runs, sum)) in &result.group {
            let _ = writeln!(text, "{:>7.1} {sum:>10}  {row}", percent(*runs));
        }
        for below in result.below_floor() {
            let _ = writeln!(text, "below the floor: {below}");
        }
        return text;
    }
    let _ = writeln!(text, "runs in which a fault struck, by what the node was doing, in % (- with excuse):");
    let _ = write!(text, "{:>15}", "");
    for phase in ProtocolPhase::ALL {
        let _ = write!(text, "{:>15}", phase.name());
    }
    let _ = writeln!(text);
    for kind in FaultKind::ALL {
        let _ = write!(text, "{:>15}", kind.name());
        for phase in ProtocolPhase::ALL {
            let share = percent(result.cells.get(&(kind, phase)).copied().unwrap_or(0));
            let mark = if excuse(result.scenario, kind, phase).is_some() { "-" } else { " " };
            let _ = write!(text, "{share:>14.1}{mark}");
        }
        let _ = writeln!(text);
    }
    for below in result.below_floor() {
        let _ = writeln!(text, "below the floor: {below}");
    }
    text
}
