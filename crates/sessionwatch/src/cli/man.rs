//! `man`: the manual pages.

use std::{path::PathBuf, process::ExitCode};

use super::{Failure, examples};

/// Print the manual page
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Write one page for each command into DIRECTORY
    #[arg(long, short, value_name = "DIRECTORY", help_heading = super::GLOBAL_OPTIONS, display_order = 904)]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs) -> Result<ExitCode, Failure> {
    if let Some(folder) = &args.output {
        let cannot = |_| {
            Failure::Usage(format!(
                "cannot write to {}: it must be an existing, writable directory",
                folder.display()
            ))
        };
        clap_mangen::generate_to(examples::build_command(), folder).map_err(cannot)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(examples::build_command()).render(&mut text)?;
    super::print_text(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
