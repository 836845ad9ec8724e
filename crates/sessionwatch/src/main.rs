//! Parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    sessionwatch::cli::Cli::parse().run()
}
