//! `audit`: is the record of who did what whole?

use std::process::ExitCode;

use super::{Failure, alerts, target::ConfigArgs};
use crate::store::audit::{self, Trail};

/// Examine the record of who did what
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Follow the hashes from the first entry to the last: exit code 1 if one does not fit
    Verify(ConfigArgs),
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Args::Verify(config) = args;
    match alerts::open(config)?.read(audit::verify)? {
        Trail::Whole(entries) => {
            super::print(&format!("the record is whole: {entries} entries\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Trail::Broken(entry) => {
            super::print(&format!(
                "the record is broken at entry {entry}: it, or one before it, was changed or removed\n"
            ))?;
            Ok(ExitCode::from(1))
        }
    }
}
