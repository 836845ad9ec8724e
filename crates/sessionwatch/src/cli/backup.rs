//! `backup`: copies the state store, also while a daemon uses it.

use std::{path::PathBuf, process::ExitCode};

use sessionwatch_app::app::{error::StoreError, state_store};

use super::{Failure, opening, target_args::ConfigArgs};

/// Back up the state store to a file
#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    /// New SQLite file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &BackupArgs) -> Result<ExitCode, Failure> {
    let app = opening::open_existing_app(&args.config)?;
    state_store::back_up_store(&app, &args.file).map_err(|error| match error {
        StoreError::AlreadyExists(_) => Failure::Usage(error.to_string()),
        error => error.into(),
    })?;
    let bytes = std::fs::metadata(&args.file)?.len();
    super::print_text(&format!(
        "Copied the state store to {} ({}).\n",
        args.file.display(),
        format_size(bytes)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Formats a number of bytes for a person.
fn format_size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, expected) in
            [(1, "1 kB"), (98_304, "99 kB"), (1_250_000, "1.2 MB"), (12_000_000, "12.0 MB")]
        {
            assert_eq!(format_size(bytes), expected);
        }
    }
}
