//! `cleanup`: removes what nobody can or should use any more.

use std::process::ExitCode;

use jiff::SignedDuration;
use sessionwatch_app::{config_file::parse_seconds, remediation::Selection};

use super::{
    Failure,
    acting::{self, ActArgs},
};

/// Remove expired, orphaned, duplicated or excessive sessions: first as a plan, then by --apply
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Rows that ended some time ago
    Expired {
        #[command(flatten)]
        act: ActArgs,
        /// How long ago at least, from 0s to 3650d; from 14h where the end names no time zone
        #[arg(long, default_value = "24h", value_parser = parse_seconds)]
        grace: u64,
    },
    /// Rows whose user does not exist
    Orphaned {
        #[command(flatten)]
        act: ActArgs,
    },
    /// Rows on tokens that occur more than once: all of them where several users share one, else all but the newest
    Duplicates {
        #[command(flatten)]
        act: ActArgs,
    },
    /// Active sessions of users who hold many
    Excess {
        #[command(flatten)]
        act: ActArgs,
        /// How many of each user's are kept: those that end last
        #[arg(long, value_name = "N")]
        keep: u64,
    },
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match args {
        Args::Expired { act, grace } => {
            let grace = SignedDuration::from_secs(i64::try_from(*grace).unwrap_or(i64::MAX));
            acting::run(act, &Selection::Expired { grace })
        }
        Args::Orphaned { act } => acting::run(act, &Selection::Orphaned),
        Args::Duplicates { act } => acting::run(act, &Selection::Duplicates),
        Args::Excess { act, keep } => acting::run(act, &Selection::Excess { keep: *keep }),
    }
}
