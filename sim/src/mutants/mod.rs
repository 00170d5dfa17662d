//! Tests of the tests: known mistakes are put into a copy of the sources, and the simulator must notice each of them.
//!
//! The table `sim/mutants.toml` says what to change and which checker must complain. All rows go into one copy of the
//! sources behind a test of their number, the copy is built once, and each row runs seed by seed until its checker
//! complains about a seed that the unchanged sources pass. A row that dies whatever the seed proves little and does not
//! count. The sources themselves carry no code for this.

mod apply;
mod copy;
mod fates;
mod sweep;
mod table;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use dps_core::crypto::hash::sha256;

use crate::check::CHECKERS;
use fates::Fates;
use sweep::{Budget, Children, Outcome, Status};
use table::{Row, Table};

/// Runs the table of mutants: known mistakes, each of which a checker must notice.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Args {
    /// Only rows of this scenario.
    #[arg(long)]
    pub scenario: Option<String>,
    /// Only the row of this name; may be given several times.
    #[arg(long, value_name = "ID")]
    pub only: Vec<String>,
    /// Only so many rows, drawn by --from.
    #[arg(long, value_name = "K", requires = "from")]
    pub sample: Option<usize>,
    /// What the sample is drawn by, such as the hash of a commit.
    #[arg(long, value_name = "HASH", requires = "sample")]
    pub from: Option<String>,
    /// Starts no further run after so many minutes.
    #[arg(long, value_name = "M")]
    pub minutes: Option<u64>,
    /// Rows judged at once; one for each processor if not given.
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Writes the seeds that killed a row into the table.
    #[arg(long)]
    pub record: bool,
    /// Ends with one line of JSON.
    #[arg(long)]
    pub json: bool,
    /// The sources; found from the current folder upwards if not given.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// Runs the mutants that `args` selects. The result goes to `out`, progress to `progress`.
///
/// Succeeds only if every row that counts was killed by the checker it names, and, when all rows ran, at least as many
/// count as the table requires and each checker has one that it alone noticed.
///
/// # Errors
/// When nothing could be judged: no table, a row that does not fit the sources, a copy that does not build.
pub fn command(args: &Args, out: &mut dyn Write, progress: &mut dyn Write) -> Result<ExitCode> {
    let started = Instant::now();
    let root = match &args.root {
        Some(root) => root.clone(),
        None => copy::find_root(&std::env::current_dir().context("there is no current folder")?)?,
    };
    let path = root.join(copy::TABLE);
    let text = fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
    let table = Table::parse(&text)?;
    let rows = select(args, &table.rows)?;
    writeln!(progress, "{} of {} mutants; building the changed copy", rows.len(), table.rows.len())?;
    let binary = copy::build(&root, &target_folder(&root), &table.rows)?;

    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let until = args.minutes.map(|minutes| started + Duration::from_secs(60 * minutes));
    let mut report = |row: &Row, outcome: &Outcome| {
        // Progress that nobody reads any more is no reason to stop.
        let _ = writeln!(progress, "{}: {}", row.id, describe(outcome));
    };
    let outcomes = sweep::sweep(&Children::new(&binary)?, &rows, &Budget { jobs, until }, &mut report)?;
    if args.record {
        record(&path, text, &rows, &outcomes)?;
    }
    let whole = rows.len() == table.rows.len();
    let summary = Summary::of(&rows, &outcomes, whole.then_some(table.required));
    print(out, &rows, &outcomes, &summary)?;
    let catalogue =
        rows.iter().any(|(_, row)| !row.numbers.is_empty()) && args.only.is_empty() && args.sample.is_none();
    let fates = catalogue.then(|| Fates::of(&rows, &outcomes, &table.absent));
    if let Some(fates) = &fates {
        fates.print(out)?;
    }
    if args.json {
        let mut report = json(&rows, &outcomes, &summary, started.elapsed());
        report["catalogue"] = fates.map_or(serde_json::Value::Null, |fates| fates.json());
        writeln!(out, "{report}")?;
    }
    Ok(if summary.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The rows to run with their numbers in the table, from 1.
fn select<'a>(args: &Args, rows: &'a [Row]) -> Result<Vec<(usize, &'a Row)>> {
    let wanted = |row: &Row| {
        args.scenario.as_ref().is_none_or(|scenario| *scenario == row.scenario)
            && (args.only.is_empty() || args.only.contains(&row.id))
    };
    let mut selected: Vec<_> =
        rows.iter().enumerate().map(|(index, row)| (index + 1, row)).filter(|(_, row)| wanted(row)).collect();
    if selected.is_empty() {
        bail!("no mutant is selected; hint: see the ids and scenarios in {}", copy::TABLE);
    }
    if let (Some(sample), Some(from)) = (args.sample, &args.from) {
        // Each row's hash with the drawing text is its lot; adding a row to the table changes no other row's.
        selected.sort_by_key(|(_, row)| sha256(format!("{from} {}", row.id).as_bytes()));
        selected.truncate(sample);
        selected.sort_by_key(|(number, _)| *number);
    }
    Ok(selected)
}

/// Where the copy is kept and built: the same place each time, so that a repeated build has little to do.
fn target_folder(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    std::path::absolute(&target).unwrap_or(target).join("mutants")
}

fn record(path: &Path, mut text: String, rows: &[(usize, &Row)], outcomes: &[Outcome]) -> Result<()> {
    for ((_, row), outcome) in rows.iter().zip(outcomes) {
        match outcome.status {
            Status::Killed { seed } if row.seed != Some(seed) => text = table::record(&text, &row.id, seed)?,
            Status::Killed { .. }
            | Status::Trivial { .. }
            | Status::Survived
            | Status::Unfinished
            | Status::FailsUnchanged { .. } => {}
        }
    }
    fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))
}

/// How a sweep ended, in numbers of rows.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    killed: usize,
    trivial: usize,
    alive: usize,
    required: usize,
    /// Checkers without a row that counts and that no other checker noticed. Empty unless all rows were judged.
    unproven: Vec<&'static str>,
}

impl Summary {
    /// `required` is `None` when not all rows were judged.
    fn of(rows: &[(usize, &Row)], outcomes: &[Outcome], required: Option<usize>) -> Self {
        let count = |wanted: fn(&Status) -> bool| outcomes.iter().filter(|outcome| wanted(&outcome.status)).count();
        let killed = count(|status| matches!(status, Status::Killed { .. }));
        let trivial = count(|status| matches!(status, Status::Trivial { .. }));
        let alone = |outcome: &Outcome| matches!(outcome.status, Status::Killed { .. }) && outcome.others.is_empty();
        let proven: Vec<&str> = rows
            .iter()
            .zip(outcomes)
            .filter(|(_, outcome)| alone(outcome))
            .map(|((_, row), _)| &*row.checker)
            .collect();
        let unproven = CHECKERS.into_iter().filter(|checker| required.is_some() && !proven.contains(checker)).collect();
        let alive = outcomes.len() - killed - trivial;
        Self { killed, trivial, alive, required: required.unwrap_or(0), unproven }
    }

    fn passed(&self) -> bool {
        self.alive == 0 && self.killed >= self.required && self.unproven.is_empty()
    }
}

fn describe(outcome: &Outcome) -> String {
    let text = match &outcome.status {
        Status::Killed { seed } => format!("killed by seed {seed}"),
        Status::Trivial { seed } => format!("trivial: dies on every seed, first {seed}"),
        Status::Survived => "SURVIVED its checker".to_owned(),
        Status::Unfinished => "UNFINISHED: time is up".to_owned(),
        Status::FailsUnchanged { seed } => format!("NOT JUDGED: the unchanged sources fail seed {seed}"),
    };
    let others: Vec<&str> = outcome.others.iter().map(String::as_str).collect();
    if others.is_empty() { text } else { format!("{text}; noticed by {} too", others.join(", ")) }
}

fn print(out: &mut dyn Write, rows: &[(usize, &Row)], outcomes: &[Outcome], summary: &Summary) -> io::Result<()> {
    let width = rows.iter().map(|(_, row)| row.id.len()).max().unwrap_or(0);
    writeln!(out, "{:width$}  checker  seeds  result", "mutant")?;
    for ((_, row), outcome) in rows.iter().zip(outcomes) {
        let (id, checker, seeds) = (&row.id, &row.checker, outcome.seeds);
        writeln!(out, "{id:width$}  {checker:7}  {seeds:5}  {}", describe(outcome))?;
        writeln!(out, "{:width$}                  {}", "", row.title)?;
    }
    let Summary { killed, trivial, alive, required, unproven } = summary;
    if !unproven.is_empty() {
        writeln!(out, "no mutant is noticed by this checker alone: {}", unproven.join(", "))?;
    }
    writeln!(out, "{killed} killed, {trivial} trivial (not counted), {alive} alive; required: {required}")
}

fn json(rows: &[(usize, &Row)], outcomes: &[Outcome], summary: &Summary, wall: Duration) -> serde_json::Value {
    let rows: Vec<serde_json::Value> = rows
        .iter()
        .zip(outcomes)
        .map(|((_, row), outcome)| {
            let (name, seed) = match outcome.status {
                Status::Killed { seed } => ("killed", Some(seed)),
                Status::Trivial { seed } => ("trivial", Some(seed)),
                Status::Survived => ("survived", None),
                Status::Unfinished => ("unfinished", None),
                Status::FailsUnchanged { seed } => ("not_judged", Some(seed)),
            };
            serde_json::json!({
                "id": row.id, "title": row.title, "checker": row.checker, "scenario": row.scenario,
                "status": name, "seed": seed, "seeds_to_kill": outcome.seeds, "others": outcome.others,
            })
        })
        .collect();
    serde_json::json!({
        "mutants": rows, "killed": summary.killed, "trivial": summary.trivial, "alive": summary.alive,
        "required": summary.required, "unproven": summary.unproven, "passed": summary.passed(), "wall_seconds": wall.as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn rows(count: usize) -> Vec<Row> {
        let row = |index: usize| {
            format!(
                "[[mutant]]\nid = \"m{index}\"\ntitle = \"t\"\nfile = \"f\"\nfind = \"a\"\nreplace = \"b\"\nas = \"expr\"\n\
                 checker = \"S1\"\nscenario = \"{}\"\n",
                if index == 0 { "other" } else { "keystore" }
            )
        };
        Table::parse(&(0..count).map(row).collect::<String>()).unwrap().rows
    }

    fn numbers(args: &Args, rows: &[Row]) -> Vec<usize> {
        select(args, rows).unwrap().into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn rows_are_selected_with_their_numbers_in_the_table() {
        let rows = rows(4);
        assert_eq!(numbers(&Args::default(), &rows), [1, 2, 3, 4]);
        assert_eq!(numbers(&Args { only: vec!["m2".to_owned()], ..Args::default() }, &rows), [3]);
        assert_eq!(numbers(&Args { scenario: Some("keystore".to_owned()), ..Args::default() }, &rows), [2, 3, 4]);
        assert!(select(&Args { only: vec!["m9".to_owned()], ..Args::default() }, &rows).is_err());
    }

    #[test]
    fn a_sample_depends_on_what_it_is_drawn_by_alone() {
        let rows = rows(20);
        let sample =
            |from: &str| numbers(&Args { sample: Some(3), from: Some(from.to_owned()), ..Args::default() }, &rows);
        assert_eq!(sample("0df1201"), sample("0df1201"));
        assert_eq!(sample("0df1201").len(), 3);
        let drawn: BTreeSet<usize> = (0..40).flat_map(|commit| sample(&commit.to_string())).collect();
        assert_eq!(drawn.len(), 20, "every row has its turn");
    }

    /// One killed row for each checker, and then `more` rows that end so.
    fn summary(more: &[Outcome], required: usize) -> Summary {
        let mut rows = rows(CHECKERS.len() + more.len());
        let mut outcomes = Vec::new();
        for (row, checker) in rows.iter_mut().zip(CHECKERS) {
            checker.clone_into(&mut row.checker);
            outcomes.push(outcome(Status::Killed { seed: 1 }, &[]));
        }
        outcomes.extend(more.iter().cloned());
        let rows: Vec<_> = rows.iter().enumerate().map(|(index, row)| (index + 1, row)).collect();
        Summary::of(&rows, &outcomes, Some(required))
    }

    fn outcome(status: Status, others: &[&str]) -> Outcome {
        Outcome { status, seeds: 1, others: others.iter().map(|checker| (*checker).to_owned()).collect() }
    }

    #[test]
    fn trivial_rows_do_not_count_and_living_ones_fail() {
        let trivial = || outcome(Status::Trivial { seed: 1 }, &[]);
        assert!(summary(&[trivial()], CHECKERS.len()).passed());
        assert!(!summary(&[trivial()], CHECKERS.len() + 1).passed());
        for alive in [Status::Survived, Status::Unfinished, Status::FailsUnchanged { seed: 1 }] {
            assert!(!summary(&[outcome(alive, &[])], 1).passed());
        }
    }

    #[test]
    fn each_checker_needs_a_row_that_it_alone_notices() {
        let row = rows(1).remove(0);
        let judged = |outcome, required| Summary::of(&[(1, &row)], &[outcome], required).unproven;
        let killed = |others: &[&str]| outcome(Status::Killed { seed: 1 }, others);
        let without_first: Vec<&str> = CHECKERS[1..].to_vec();
        assert_eq!(judged(killed(&[]), Some(1)), without_first);
        assert_eq!(judged(killed(&["P0"]), Some(1)), CHECKERS);
        assert_eq!(judged(outcome(Status::Trivial { seed: 1 }, &[]), Some(1)), CHECKERS);
        assert!(judged(killed(&["P0"]), None).is_empty(), "a part of the table says nothing of the whole");
    }
}
