//! The command line. Together with `report.rs` the only place that prints.

use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, io};

use clap::{Args, Parser, Subcommand};

use crate::group::GroupSetup;
use crate::plan::Plan;
use crate::swarm::{SwarmOptions, swarm};
use crate::{RunOptions, RunResult, Scenario, Setup, bench, mutants, report, run};

/// Lines of the trace that a failure shows.
const TRACE_LINES: usize = 60;

/// Exit code when the command itself could not do its work, or a swarm exercised too little.
const EXIT_FAILED: u8 = 1;

/// Runs dps nodes in virtual time, through faults drawn from a seed.
#[derive(Debug, Parser)]
#[command(name = "sim", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds and print what they exercised.
    Swarm(SwarmArgs),
    /// Measure in memory, without faults and in real time, what a command and a read take.
    Bench(BenchArgs),
    /// Put known mistakes into a copy of the sources and see which of them are noticed.
    Mutants(mutants::Args),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// A number, or a commit hash of 40 hexadecimal digits.
    #[arg(long, value_parser = parse_seed, default_value = "0")]
    seed: u64,
    /// What to run; the richest scenario there is by default.
    #[arg(long, value_enum, default_value_t)]
    scenario: Scenario,
    /// A fault plan (TOML or JSON) instead of the drawn one.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Print the fault plan as TOML and do nothing else.
    #[arg(long)]
    print_plan: bool,
    /// Run twice, the second time with another event queue, and compare.
    #[arg(long)]
    twin: bool,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
    /// Print every drawn option and the plan; twice, print the whole trace.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Args)]
struct SwarmArgs {
    /// What to run.
    #[arg(long, value_enum, default_value_t)]
    scenario: Scenario,
    /// The seeds, first to one past the last.
    #[arg(long, value_parser = parse_range, default_value = "0..1000", value_name = "A..B")]
    seeds: Range<u64>,
    /// Runs at the same time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Begin no further run after so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// Print one line of JSON after the table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// What to measure. There is `raft`: three nodes that commit commands of 256 bytes and confirm reads, 1, 64 and 256
    /// at a time.
    #[arg(long, value_enum, default_value_t = Scenario::Raft)]
    scenario: Scenario,
    /// Print a line of JSON for each row.
    #[arg(long)]
    json: bool,
}

/// A decimal number, or the first 64 bits of a commit hash.
fn parse_seed(text: &str) -> Result<u64, String> {
    if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return u64::from_str_radix(&text[..16], 16).map_err(|error| error.to_string());
    }
    text.parse().map_err(|_| "neither a number of 64 bits nor a commit hash of 40 hexadecimal digits".into())
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("not of the form A..B")?;
    let range = parse_seed(first)?..parse_seed(end)?;
    if range.is_empty() { Err("there is no seed in this range".into()) } else { Ok(range) }
}

/// Runs the command with the arguments of this process. Exit codes: 0 passed, 1 could not run or exercised too little,
/// 127 a node panicked, 128 a node got stuck, 129 something was wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => run_command(&cli.run).map(ExitCode::from),
        Some(Command::Swarm(args)) => swarm_command(&args).map(ExitCode::from),
        Some(Command::Bench(args)) => bench_command(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Mutants(args)) => mutants::command(&args, &mut io::stdout(), &mut io::stderr()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "sim: {error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn run_command(args: &RunArgs) -> anyhow::Result<u8> {
    let (setup, drawn) = match args.scenario {
        Scenario::Keystore | Scenario::Reclaim => {
            let setup = Setup::draw_for(args.seed, args.scenario);
            (setup.to_string(), setup.plan)
        }
        Scenario::Raft => {
            let setup = GroupSetup::draw(args.seed);
            (setup.to_string(), setup.plan)
        }
    };
    let plan = match &args.plan {
        None => None,
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| anyhow::anyhow!("the plan {} can't be read: {error}", path.display()))?;
            Some(Plan::parse(&text)?)
        }
    };
    let shown = plan.as_ref().unwrap_or(&drawn).to_toml();
    if args.print_plan {
        print(&shown)?;
        return Ok(0);
    }
    if args.verbose > 0 && !args.json {
        print(&format!("{setup}\n{shown}\n"))?;
    }
    let trace_lines = if args.verbose > 1 { usize::MAX } else { 0 };
    let options = RunOptions { scenario: args.scenario, plan, twin: args.twin, trace_lines, ..RunOptions::default() };
    let result = run(args.seed, &options);
    if args.json {
        print(&(report::run_json(&result) + "\n"))?;
    } else {
        if result.violations.is_empty() {
            result.trace.iter().try_for_each(|line| print(&format!("{line}\n")))?;
        }
        print(&report::run_text(&result))?;
    }
    if !result.violations.is_empty() {
        let plan = args.plan.as_ref().map(|path| format!(" --plan {}", path.display())).unwrap_or_default();
        show_failure(&result, &options, &plan)?;
    }
    Ok(result.class().map_or(0, crate::Class::exit_code))
}

/// Repeats a failed run with its trace on: determinism makes keeping it free for all others.
fn show_failure(result: &RunResult, options: &RunOptions, plan: &str) -> anyhow::Result<()> {
    let trace_lines = options.trace_lines.max(TRACE_LINES);
    let mut shown = run(result.seed, &RunOptions { trace_lines, twin: false, ..options.clone() });
    shown.violations.clone_from(&result.violations);
    let twin = if options.twin { " --twin" } else { "" };
    let replay = format!(
        "cargo run --release -p sim -- --scenario {} --seed {}{plan}{twin}",
        result.scenario.name(),
        result.seed
    );
    let text = report::failure_text(&shown, &replay);
    let mut err = io::stderr().lock();
    Ok(err.write_all(text.as_bytes())?)
}

fn swarm_command(args: &SwarmArgs) -> anyhow::Result<u8> {
    let time_max = args.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let options =
        SwarmOptions { scenario: args.scenario, seeds: args.seeds.clone(), jobs: args.jobs, time_max, twin_every: 16 };
    let started = Instant::now();
    let result = swarm(&options);
    let wall_seconds = started.elapsed().as_secs_f64();
    print(&report::swarm_text(&result, wall_seconds))?;
    if args.json {
        print(&(report::swarm_json(&result, wall_seconds) + "\n"))?;
    }
    if let Some(failed) = &result.failed {
        let twin = failed.violations.iter().any(|violation| violation.checker == "W4");
        show_failure(failed, &RunOptions { scenario: args.scenario, twin, ..RunOptions::default() }, "")?;
        return Ok(failed.class().map_or(EXIT_FAILED, crate::Class::exit_code));
    }
    Ok(if result.below_floor().is_empty() { 0 } else { EXIT_FAILED })
}

fn bench_command(args: &BenchArgs) -> anyhow::Result<()> {
    let rows = bench::measure(args.scenario)?;
    print(&if args.json { bench::json(&rows) } else { bench::text(&rows) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seeds_are_numbers_or_commit_hashes() {
        assert_eq!(parse_seed("7"), Ok(7));
        assert_eq!(parse_seed("00000000000000ff000000000000000000000000"), Ok(255));
        assert!(parse_seed("ff").is_err());
        assert!(parse_seed("18446744073709551616").is_err());
        assert_eq!(parse_range("3..9"), Ok(3..9));
        assert!(parse_range("9..3").is_err() && parse_range("9").is_err());
    }
}
