//! `man`: the manual page.

use std::{path::PathBuf, process::ExitCode};

use clap::CommandFactory;

use super::Failure;

/// Print the manual page, or write the pages of all commands
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Folder into which a page for each command is written
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs) -> Result<ExitCode, Failure> {
    if let Some(folder) = &args.output {
        let cannot = |_| Failure::Usage(format!("cannot write into {}: is it a folder?", folder.display()));
        clap_mangen::generate_to(super::Cli::command(), folder).map_err(cannot)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(super::Cli::command()).render(&mut text)?;
    super::print_text(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
