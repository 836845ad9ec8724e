//! `man`: the manual page.

use std::process::ExitCode;

use clap::CommandFactory;

use super::Failure;

pub(super) fn run() -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(super::Cli::command()).render(&mut text)?;
    super::print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
