//! Many seeds at once, and what they exercised together.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::exercise::{Exercise, ProtocolPhase};
use crate::plan::FaultKind;
use crate::{RunOptions, RunResult, Scenario, run};

/// How to run a swarm.
#[derive(Clone, Debug)]
pub struct SwarmOptions {
    /// What is run.
    pub scenario: Scenario,
    /// The seeds.
    pub seeds: Range<u64>,
    /// Runs at the same time.
    pub jobs: usize,
    /// Begin no further run after so long.
    pub time_max: Option<Duration>,
    /// Every so many seeds a run is repeated with the other event queue and compared; 0 for never.
    pub twin_every: u64,
}

/// What came of a swarm.
#[derive(Debug, Default)]
pub struct SwarmResult {
    /// What was run.
    pub scenario: Scenario,
    /// Runs that ended.
    pub runs: u64,
    /// The failing run with the smallest seed; further runs may not have been begun.
    pub failed: Option<RunResult>,
    /// Runs that count, see [`Exercise::counts`].
    pub counted: u64,
    /// Runs that were judged live.
    pub judged_live: u64,
    /// Acknowledged operations of all runs.
    pub acknowledged: u64,
    /// Events of all runs.
    pub events: u64,
    /// Starts of nodes in all runs.
    pub boots: u64,
    /// Simulated nanoseconds of all runs.
    pub sim_ns: u128,
    /// Real nanoseconds of the longest run.
    pub wall_ns_max: u64,
    /// In how many runs each cell was hit.
    pub cells: BTreeMap<(FaultKind, ProtocolPhase), u64>,
    /// In how many runs each row of a group was counted, and how often in all.
    pub group: BTreeMap<String, (u64, u64)>,
}

/// A swarm of fewer runs is not judged by its floors.
pub const JUDGED_RUNS_MIN: u64 = 200;

/// A swarm of groups of fewer runs is not judged by what struck when.
pub const CELLS_RUNS_MIN: u64 = 1_000;

/// Of a hundred runs so many must count.
const COUNTED_PERCENT_MIN: u64 = 65;

/// The same of groups: one without a majority acknowledges little.
const COUNTED_IN_GROUPS_PERCENT_MIN: u64 = 50;

/// Of a hundred runs so many must be judged live.
const LIVE_PERCENT_MIN: u64 = 85;

/// Cells that need not be hit in one run of a hundred, each with the reason.
pub const EXCUSES: &[(FaultKind, ProtocolPhase, &str)] =
    &[(FaultKind::Close, ProtocolPhase::Booting, "a node that boots refuses every request, and so can't be closed")];

/// Why a cell need not be hit in a scenario.
#[must_use]
pub fn excuse(scenario: Scenario, kind: FaultKind, phase: ProtocolPhase) -> Option<&'static str> {
    if scenario == Scenario::Keystore && phase == ProtocolPhase::Collecting {
        return Some("nobody asks for a collection in this scenario");
    }
    if scenario == Scenario::Keystore && kind.is_of_reclaim() {
        return Some("drawn in the scenario `reclaim` alone");
    }
    EXCUSES.iter().find(|excuse| (excuse.0, excuse.1) == (kind, phase)).map(|excuse| excuse.2)
}

impl SwarmResult {
    fn add(&mut self, result: RunResult) {
        let exercise: &Exercise = &result.exercise;
        self.runs += 1;
        let counts = match self.scenario {
            Scenario::Keystore | Scenario::Reclaim => exercise.counts(),
            Scenario::Raft => exercise.counts_as_group(),
        };
        self.counted += u64::from(counts);
        self.judged_live += u64::from(exercise.judged_live);
        self.acknowledged += exercise.acknowledged;
        self.boots += exercise.boots;
        self.events += result.events;
        self.sim_ns += u128::from(result.sim_ns);
        self.wall_ns_max = self.wall_ns_max.max(result.wall_ns);
        for cell in exercise.cells.keys().copied().collect::<BTreeSet<_>>() {
            *self.cells.entry(cell).or_default() += 1;
        }
        for (row, count) in exercise.group.rows() {
            let (runs, sum) = self.group.entry(row).or_default();
            (*runs, *sum) = (*runs + 1, *sum + count);
        }
        let earlier = self.failed.as_ref().is_none_or(|failed| failed.seed > result.seed);
        if !result.violations.is_empty() && earlier {
            self.failed = Some(result);
        }
    }

    /// What the swarm did not exercise enough. Empty when it had too few runs to tell.
    #[must_use]
    pub fn below_floor(&self) -> Vec<String> {
        let mut below = Vec::new();
        if self.runs < JUDGED_RUNS_MIN {
            return below;
        }
        let mut share = |what: &str, count: u64, percent_min: u64| {
            if count * 100 < self.runs * percent_min {
                below.push(format!("{what} in {count} of {} runs, at least {percent_min} % are wanted", self.runs));
            }
        };
        let counted_min =
            if self.scenario == Scenario::Raft { COUNTED_IN_GROUPS_PERCENT_MIN } else { COUNTED_PERCENT_MIN };
        share("enough was done under faults", self.counted, counted_min);
        share("liveness was judged", self.judged_live, LIVE_PERCENT_MIN);
        if self.scenario == Scenario::Raft {
            for (row, percent_min) in crate::group::FLOORS {
                share(row, self.group.get(row).map_or(0, |(runs, _)| *runs), percent_min);
            }
            // One in a hundred of few runs is chance.
            let judged = self.runs >= CELLS_RUNS_MIN;
            for (kind, phase) in crate::group::cells().filter(|_| judged) {
                let row = crate::group::cell(kind, phase);
                share(&row, self.group.get(&row).map_or(0, |(runs, _)| *runs), 1);
            }
            return below;
        }
        for kind in FaultKind::ALL {
            for phase in ProtocolPhase::ALL {
                if excuse(self.scenario, kind, phase).is_none() {
                    let what = format!("{} during {} struck", kind.name(), phase.name());
                    share(&what, self.cells.get(&(kind, phase)).copied().unwrap_or(0), 1);
                }
            }
        }
        below
    }
}

/// Runs a swarm. It ends early with the first failing run.
///
/// # Panics
/// When a worker thread panics, which is a bug in the simulator.
#[must_use]
pub fn swarm(options: &SwarmOptions) -> SwarmResult {
    let started = Instant::now();
    let next = AtomicU64::new(options.seeds.start);
    let stop = AtomicBool::new(false);
    let total = Mutex::new(SwarmResult { scenario: options.scenario, ..SwarmResult::default() });
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let late = options.time_max.is_some_and(|most| started.elapsed() >= most);
                    if seed >= options.seeds.end || late {
                        break;
                    }
                    let twin = options.twin_every > 0 && seed.is_multiple_of(options.twin_every);
                    let result = run(seed, &RunOptions { scenario: options.scenario, twin, ..RunOptions::default() });
                    if !result.violations.is_empty() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    total.lock().expect("no worker panics").add(result);
                }
            });
        }
    });
    total.into_inner().expect("no worker panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_excuse_has_a_reason_and_its_own_cell() {
        let cells: BTreeSet<_> = EXCUSES.iter().map(|excuse| (excuse.0, excuse.1)).collect();
        assert_eq!(cells.len(), EXCUSES.len());
        assert!(EXCUSES.iter().all(|excuse| excuse.2.len() > 20));
    }

    #[test]
    fn an_empty_table_is_below_every_floor_once_there_are_enough_runs() {
        let mut result = SwarmResult { runs: JUDGED_RUNS_MIN - 1, ..SwarmResult::default() };
        assert!(result.below_floor().is_empty());
        result.runs += 1;
        let cells = FaultKind::ALL.len() * ProtocolPhase::ALL.len();
        assert_eq!(result.below_floor().len(), 2 + cells - EXCUSES.len());
    }
}
