//! `completions`: completions for a shell.

use std::process::ExitCode;

use super::{Failure, examples};

/// Print shell completions
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// Shell
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut examples::build_command(), "sessionwatch", &mut text);
    super::print_text(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
