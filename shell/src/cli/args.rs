//! What the command line may say.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

/// Printed below the long help; the table of [`Exit`](super::failure::Exit).
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed for a reason that has no code of its own
  2    wrong usage: an argument, a name or a range
  3    some of several items failed
  4    not found
  5    conflict: the name exists or has another version, the output file exists
  6    busy: the same command may succeed later
  7    permission denied, or a read-only disk
  8    damaged data
  10   no store in that directory
  11   another process uses the store
  13   the store was written by a newer version
  14   the disk is full
  130  interrupted
  141  whoever read the output has gone";

/// Stores files durably under names, checks every byte on the way back.
#[derive(Debug, Parser)]
#[command(name = "dps", version, after_long_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every command takes.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// Data directory [default: $XDG_DATA_HOME/dps, or ~/.local/share/dps]
    #[arg(long, global = true, env = "DPS_DATA", value_name = "DIR", hide_env_values = true)]
    pub(crate) data: Option<PathBuf>,
    /// Print JSON, one object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log what happens to stderr; twice for details (DPS_LOG has a filter instead)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print no confirmations
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Store a file under a name; the store is created if need be
    Put(Put),
    /// Fetch a file, checked byte by byte
    Get(Get),
    /// List names
    Ls(Ls),
    /// Show what is known of a file
    Stat(Stat),
    /// Remove names; for a week they can be undeleted
    Rm(Rm),
    /// Bring a name back that was removed, or an older version of it
    Undelete(Undelete),
    /// Drop what nothing refers to any more, and give its space back
    Gc,
    /// Give every content up: names stay, and are missing until they are stored again
    Clean(Clean),
    /// Give everything up: an empty store remains
    DeepClean(Clean),
    /// Show how much is stored, and how much of it is needed
    Stats,
    /// Read and check everything, or one file
    Verify(Verify),
    /// Run a member of a group that agrees on small files, served over HTTP
    Server(Server),
}

#[derive(Args, Debug)]
pub(crate) struct Put {
    /// File to store; - for standard input
    pub(crate) file: PathBuf,
    /// Name to store it under [default: the last component of FILE]
    pub(crate) name: Option<OsString>,
    /// Only if the name is new
    #[arg(long, conflicts_with = "if_version")]
    pub(crate) if_absent: bool,
    /// Only if the name has this version
    #[arg(long, value_name = "N")]
    pub(crate) if_version: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct Get {
    /// Name of the file, or sha256:HEX for a content
    pub(crate) target: OsString,
    /// File to write; - for standard output [default: standard output, or a file with the last component of NAME if
    /// that is a terminal]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace an output file that exists
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Only these bytes, counted from 0: A-B (both included), A- (to the end) or -N (the last N)
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    pub(crate) range: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Only names that begin like this
    pub(crate) prefix: Option<OsString>,
    /// With size, time and hash
    #[arg(short, long)]
    pub(crate) long: bool,
    /// What can be undeleted, with the versions to ask for
    #[arg(long)]
    pub(crate) deleted: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Stat {
    /// Name of the file, or sha256:HEX for a content
    pub(crate) target: OsString,
}

#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Names to remove
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<OsString>,
    /// For good, with every version that could be undeleted
    #[arg(long)]
    pub(crate) purge: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Clean {
    /// There is no way back: say that you mean it
    #[arg(long, required = true)]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Undelete {
    /// Name to bring back
    pub(crate) name: OsString,
    /// This version, even if the name means something else now [default: the one that was removed last]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) version: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Name of the file, or sha256:HEX for a content [default: everything]
    pub(crate) target: Option<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct Server {
    /// Number of this member in the list of peers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) node: u8,
    /// Every member with the address at which the others reach it, the same list for all: 1=IP:PORT,2=IP:PORT,...
    #[arg(long, value_name = "LIST", value_delimiter = ',', required = true)]
    pub(crate) peers: Vec<String>,
    /// Where files are served, as /v1/files/NAME
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7400")]
    pub(crate) listen: std::net::SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(std::iter::once("dps").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn global_options_stand_anywhere() {
        for line in ["--data /d --json -vv ls", "ls --data /d --json -vv"] {
            let global = parse(line).unwrap().global;
            assert_eq!(global.data, Some(PathBuf::from("/d")));
            assert!(global.json && !global.quiet);
            assert_eq!(global.verbose, 2);
        }
    }

    #[test]
    fn a_range_may_begin_with_a_hyphen() {
        for line in ["get a --range -5", "get a --range=-5"] {
            let Verb::Get(get) = parse(line).unwrap().verb else { panic!("{line}") };
            assert_eq!(get.range.as_deref(), Some("-5"));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in
            ["", "put", "get", "rm", "put a b c", "put a --if-absent --if-version 1", "ls -q -v", "frob", "clean"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn help_of_every_command() {
        let mut command = CommandLine::command();
        command.build();
        let mut text = command.render_long_help().to_string();
        for verb in command.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
            text += &format!("\n==== {}\n", verb.get_name());
            text += &verb.render_long_help().to_string();
        }
        insta::assert_snapshot!(text);
    }
}
