//! Runs mutants until the checker that each names has noticed it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::apply::SWITCH;
use super::table::Row;

/// Seeds that tell whether a mutant dies whatever happens.
const PROBES: [u64; 20] = {
    let mut seeds = [0; 20];
    let mut index = 0;
    while index < seeds.len() {
        seeds[index] = 1_000_001 + index as u64;
        index += 1;
    }
    seeds
};

/// A run that takes longer is ended: no run of the unchanged sources comes near it.
const RUN_TIMEOUT: Duration = Duration::from_secs(120);

/// What stands for a checker where a run ended without a report.
const CRASH: &str = "crash";

/// What stands for a checker where a run did not end.
const HANG: &str = "hang";

/// How a row ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The checker it names noticed it.
    Killed {
        /// The seed of that run.
        seed: u64,
    },
    /// The same, but it dies on every seed, which proves nothing. Does not count.
    Trivial {
        /// The seed of the first such run.
        seed: u64,
    },
    /// No seed was enough.
    Survived,
    /// Time was up before a seed was enough.
    Unfinished,
    /// The unchanged sources fail on this seed, so the run says nothing about the mutant.
    FailsUnchanged {
        /// The seed.
        seed: u64,
    },
}

/// One row's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How the row ended.
    pub(crate) status: Status,
    /// Seeds that were run until then.
    pub(crate) seeds: u64,
    /// Checkers that the row does not name and that noticed it too.
    pub(crate) others: BTreeSet<String>,
}

/// Runs one simulation.
pub(crate) trait Run: Sync {
    /// The checkers that complained when mutant `number` (0 for none) ran `seed` as `row` wants it run; none for a run
    /// that passed.
    ///
    /// # Errors
    /// When the run can't be made at all.
    fn run(&self, number: usize, row: &Row, seed: u64) -> Result<BTreeSet<String>>;
}

/// What a sweep is allowed.
pub(crate) struct Budget {
    /// Threads.
    pub(crate) jobs: usize,
    /// When no further seed is started.
    pub(crate) until: Option<Instant>,
}

/// Judges `rows` (number in the table from 1, row), several at once. Outcomes come in the order of the rows; `finished`
/// hears of each as it is known.
///
/// # Errors
/// The first run that could not be made.
pub(crate) fn sweep(
    runner: &dyn Run,
    rows: &[(usize, &Row)],
    budget: &Budget,
    finished: &mut dyn FnMut(&Row, &Outcome),
) -> Result<Vec<Outcome>> {
    let next = AtomicUsize::new(0);
    let unchanged = Mutex::new(BTreeMap::new());
    let judge = Judge { runner, unchanged: &unchanged, until: budget.until };
    let mut outcomes: BTreeMap<usize, Outcome> = BTreeMap::new();
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..budget.jobs.clamp(1, rows.len().max(1)) {
            let (sender, next, judge) = (sender.clone(), &next, &judge);
            scope.spawn(move || work(rows, next, judge, &sender));
        }
        drop(sender);
        for (index, outcome) in receiver {
            let outcome = outcome.with_context(|| format!("mutant {}", rows[index].1.id))?;
            finished(rows[index].1, &outcome);
            outcomes.insert(index, outcome);
        }
        anyhow::Ok(())
    })?;
    assert_eq!(outcomes.len(), rows.len(), "every row was judged");
    Ok(outcomes.into_values().collect())
}

fn work(rows: &[(usize, &Row)], next: &AtomicUsize, judge: &Judge<'_>, sender: &Sender<(usize, Result<Outcome>)>) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some((number, row)) = rows.get(index) else { return };
        if sender.send((index, judge.judge(*number, row))).is_err() {
            return; // An earlier row failed and nobody listens.
        }
    }
}

struct Judge<'a> {
    runner: &'a dyn Run,
    /// Whether the unchanged sources pass, by scenario, with or without a twin, and seed.
    unchanged: &'a Mutex<BTreeMap<(String, bool, u64), bool>>,
    until: Option<Instant>,
}

impl Judge<'_> {
    fn judge(&self, number: usize, row: &Row) -> Result<Outcome> {
        let (mut others, mut seeds) = (BTreeSet::new(), 0);
        let status = self.search(number, row, &mut others, &mut seeds)?;
        others.remove(&row.checker);
        Ok(Outcome { status, seeds, others })
    }

    fn search(&self, number: usize, row: &Row, others: &mut BTreeSet<String>, seeds: &mut u64) -> Result<Status> {
        let search = (1..=row.seeds_max).filter(|seed| Some(*seed) != row.seed);
        for seed in row.seed.into_iter().chain(search) {
            if self.until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Status::Unfinished);
            }
            if Some(seed) == row.seed && !self.passes_unchanged(row, seed)? {
                return Ok(Status::FailsUnchanged { seed });
            }
            *seeds += 1;
            let checkers = self.runner.run(number, row, seed)?;
            let killed = checkers.contains(&row.checker);
            others.extend(checkers);
            if killed {
                return self.confirm(number, row, seed, others);
            }
        }
        Ok(Status::Survived)
    }

    /// Whether a run that killed a mutant says anything.
    fn confirm(&self, number: usize, row: &Row, seed: u64, others: &mut BTreeSet<String>) -> Result<Status> {
        if !self.passes_unchanged(row, seed)? {
            return Ok(Status::FailsUnchanged { seed });
        }
        for probe in PROBES {
            let checkers = self.runner.run(number, row, probe)?;
            if checkers.is_empty() {
                return Ok(Status::Killed { seed });
            }
            others.extend(checkers);
        }
        Ok(Status::Trivial { seed })
    }

    fn passes_unchanged(&self, row: &Row, seed: u64) -> Result<bool> {
        let key = (row.scenario.clone(), row.twin, seed);
        let known = self.unchanged.lock().expect("no thread panics while it holds the lock").get(&key).copied();
        if let Some(passes) = known {
            return Ok(passes);
        }
        let passes = self.runner.run(0, row, seed)?.is_empty();
        self.unchanged.lock().expect("no thread panics while it holds the lock").insert(key, passes);
        Ok(passes)
    }
}

/// Runs the binary of the changed copy as child processes: whatever a mutant does, it does it there.
pub(crate) struct Children {
    binary: PathBuf,
    folder: tempfile::TempDir,
    runs: AtomicU64,
}

impl Children {
    /// Runs `binary`.
    ///
    /// # Errors
    /// When there is no place for the runs' output.
    pub(crate) fn new(binary: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("a folder for the runs' output can't be made")?;
        Ok(Self { binary: binary.to_path_buf(), folder, runs: AtomicU64::new(0) })
    }
}

impl Run for Children {
    fn run(&self, number: usize, row: &Row, seed: u64) -> Result<BTreeSet<String>> {
        // A file, not a pipe: a child that writes much must not wait for us.
        let path = self.folder.path().join(self.runs.fetch_add(1, Ordering::Relaxed).to_string());
        let output = File::create(&path).context("a run's output can't be written")?;
        let mut child = Command::new(&self.binary)
            .args(["--scenario", &row.scenario, "--json", "--seed", &seed.to_string()])
            .args(row.twin.then_some("--twin"))
            .env(SWITCH, number.to_string())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} can't be started", self.binary.display()))?;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > RUN_TIMEOUT {
                child.kill()?;
                child.wait()?;
                return Ok(BTreeSet::from([HANG.to_owned()]));
            }
            thread::sleep(Duration::from_millis(2));
        };
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::remove_file(&path)?;
        Ok(complaints(status, &text))
    }
}

/// The checkers that complained, from the last line of a run's output: `{"violations":[{"checker":"S1",...},...],...}`.
fn complaints(status: ExitStatus, output: &str) -> BTreeSet<String> {
    let last = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(last).unwrap_or_default();
    let violations = report["violations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut checkers: BTreeSet<String> =
        violations.iter().filter_map(|violation| violation["checker"].as_str()).map(str::to_owned).collect();
    if !status.success() && checkers.is_empty() {
        checkers.insert(CRASH.to_owned());
    }
    checkers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::table::Kind;
    use std::os::unix::process::ExitStatusExt as _;

    fn row(id: &str, seed: Option<u64>, seeds_max: u64) -> Row {
        Row {
            id: id.to_owned(),
            seed,
            title: String::new(),
            file: String::new(),
            find: "a".to_owned(),
            replace: "b".to_owned(),
            kind: Kind::Expr,
            checker: "S1".to_owned(),
            seeds_max,
            scenario: "keystore".to_owned(),
            twin: false,
            numbers: Vec::new(),
            also: Vec::new(),
        }
    }

    /// Says for a mutant and a seed which checkers complain.
    struct Scripted(fn(usize, u64) -> &'static [&'static str]);

    impl Run for Scripted {
        fn run(&self, number: usize, _row: &Row, seed: u64) -> Result<BTreeSet<String>> {
            Ok((self.0)(number, seed).iter().map(|checker| (*checker).to_owned()).collect())
        }
    }

    fn outcome(status: Status, seeds: u64, others: &[&str]) -> Outcome {
        Outcome { status, seeds, others: others.iter().map(|checker| (*checker).to_owned()).collect() }
    }

    fn judged(row: &Row, script: fn(usize, u64) -> &'static [&'static str]) -> Outcome {
        let budget = Budget { jobs: 2, until: None };
        let mut outcomes = sweep(&Scripted(script), &[(1, row)], &budget, &mut |_, _| {}).unwrap();
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    #[test]
    fn only_the_checker_that_a_row_names_kills_it() {
        let script = |number, seed| match (number, seed) {
            (1, 2) => &["S3"][..],
            (1, 4) => &["S1", "L1"][..],
            _ => &[],
        };
        assert_eq!(judged(&row("a", None, 9), script), outcome(Status::Killed { seed: 4 }, 4, &["L1", "S3"]));
        assert_eq!(judged(&row("a", None, 3), script), outcome(Status::Survived, 3, &["S3"]));
    }

    #[test]
    fn a_recorded_seed_comes_first_and_is_not_all() {
        let script = |number, seed| if number == 1 && seed == 6 { &["S1"][..] } else { &[] };
        assert_eq!(judged(&row("a", Some(6), 9), script), outcome(Status::Killed { seed: 6 }, 1, &[]));
        assert_eq!(judged(&row("a", Some(8), 9), script), outcome(Status::Killed { seed: 6 }, 7, &[]));
    }

    #[test]
    fn a_row_that_dies_on_every_seed_is_trivial() {
        let script = |number, _| if number == 1 { &["S1"][..] } else { &[] };
        assert_eq!(judged(&row("a", None, 9), script).status, Status::Trivial { seed: 1 });
        let once = |number, seed| if number == 1 && seed != PROBES[19] { &["S1"][..] } else { &[] };
        assert_eq!(judged(&row("a", None, 9), once).status, Status::Killed { seed: 1 });
    }

    #[test]
    fn a_seed_that_the_unchanged_sources_fail_proves_nothing() {
        let script = |_, seed| if seed == 3 { &["S1"][..] } else { &[] };
        assert_eq!(judged(&row("a", None, 9), script).status, Status::FailsUnchanged { seed: 3 });
        let recorded = judged(&row("a", Some(3), 9), script);
        assert_eq!(recorded, outcome(Status::FailsUnchanged { seed: 3 }, 0, &[]));
    }

    #[test]
    fn nothing_is_started_when_time_is_up() {
        let budget = Budget { jobs: 1, until: Some(Instant::now()) };
        let row = row("a", None, 9);
        let outcomes = sweep(&Scripted(|_, _| panic!("started")), &[(1, &row)], &budget, &mut |_, _| {}).unwrap();
        assert_eq!(outcomes, [outcome(Status::Unfinished, 0, &[])]);
    }

    #[test]
    fn outcomes_keep_the_order_of_the_rows() {
        let rows: Vec<Row> = (0..5).map(|n| row(&n.to_string(), None, 1)).collect();
        let numbered: Vec<_> = rows.iter().enumerate().map(|(index, row)| (index + 1, row)).collect();
        let script = |number, seed| if number == 4 && seed == 1 { &["S1"][..] } else { &[] };
        let mut heard = 0;
        let outcomes =
            sweep(&Scripted(script), &numbered, &Budget { jobs: 3, until: None }, &mut |_, _| heard += 1).unwrap();
        let killed: Vec<bool> = outcomes.iter().map(|outcome| outcome.status == Status::Killed { seed: 1 }).collect();
        assert_eq!((killed, heard), (vec![false, false, false, true, false], 5));
    }

    #[test]
    fn complaints_come_from_the_last_line() {
        let code = |code: i32| ExitStatus::from_raw(code << 8);
        let line = r#"{"seed":1,"violations":[{"checker":"S1"},{"checker":"W2"}]}"#;
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(complaints(code(129), &format!("text\n{line}\n\n")), names(&["S1", "W2"]));
        assert_eq!(complaints(code(0), r#"{"violations":[]}"#), names(&[]));
        assert_eq!(complaints(code(127), "thread panicked"), names(&[CRASH]));
        assert_eq!(complaints(code(0), ""), names(&[]));
    }
}
