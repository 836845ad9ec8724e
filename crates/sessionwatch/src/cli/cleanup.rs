//! `cleanup`: removes what nobody can or should use any more.

use std::process::ExitCode;

use jiff::SignedDuration;
use sessionwatch_app::{config_file::parse_seconds, remediation::Selection};

use super::{
    Failure,
    acting::{self, RemediationArgs},
};

/// Remove expired, orphaned, duplicated or excessive sessions: first as a plan, then by --apply
#[derive(Debug, clap::Subcommand)]
pub(super) enum CleanupCommand {
    /// Rows that ended some time ago
    Expired {
        #[command(flatten)]
        act: RemediationArgs,
        /// How long ago at least, from 0s to 3650d; from 14h where the end names no time zone
        #[arg(long, default_value = "24h", value_parser = parse_seconds)]
        grace: u64,
    },
    /// Rows whose user does not exist
    Orphaned {
        #[command(flatten)]
        act: RemediationArgs,
    },
    /// Rows on tokens that occur more than once: all of them where several users share one, else all but the newest
    Duplicates {
        #[command(flatten)]
        act: RemediationArgs,
    },
    /// Active sessions of users who hold many
    Excess {
        #[command(flatten)]
        act: RemediationArgs,
        /// How many of each user's are kept: those that end last
        #[arg(long, value_name = "N")]
        keep: u64,
    },
}

pub(super) fn run(args: &CleanupCommand) -> Result<ExitCode, Failure> {
    match args {
        CleanupCommand::Expired { act, grace } => {
            let grace = SignedDuration::from_secs(i64::try_from(*grace).unwrap_or(i64::MAX));
            acting::plan_or_apply(act, &Selection::Expired { grace })
        }
        CleanupCommand::Orphaned { act } => acting::plan_or_apply(act, &Selection::Orphaned),
        CleanupCommand::Duplicates { act } => acting::plan_or_apply(act, &Selection::Duplicates),
        CleanupCommand::Excess { act, keep } => {
            acting::plan_or_apply(act, &Selection::Excess { keep: *keep })
        }
    }
}
