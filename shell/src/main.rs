//! The `dps` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    dps::cli::main()
}
