//! `completions`: for a shell.

use std::process::ExitCode;

use clap::CommandFactory;

use super::Failure;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "sessionwatch", &mut text);
    super::print_text(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
