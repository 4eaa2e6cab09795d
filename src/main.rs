//! The `replank` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    replank::cli::main()
}
