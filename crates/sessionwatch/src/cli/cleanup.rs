//! `cleanup`: deletes sessions that cannot or should not be used.

use std::process::ExitCode;

use jiff::SignedDuration;
use sessionwatch_app::remediation::Selection;
use sessionwatch_core::duration::from_days;

use super::{
    Failure,
    remediation::{self, RemediationArgs},
    values::duration_between,
};

/// Plan the deletion of expired, orphaned, duplicate or excess sessions
///
/// Dry run: the plan changes nothing until you pass --apply or run `sessionwatch apply`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum CleanupCommand {
    /// Delete sessions that expired a while ago
    ///
    /// Prints a plan; nothing changes without --apply.
    Expired {
        /// Minimum time since expiry [at least 14h if the expiry column has no time zone]
        #[arg(
            long, default_value = "24h", value_name = "DURATION",
            value_parser = duration_between(SignedDuration::ZERO, from_days(3_650))
        )]
        grace: SignedDuration,
        #[command(flatten)]
        act: RemediationArgs,
    },
    /// Delete sessions of users who do not exist
    ///
    /// Prints a plan; nothing changes without --apply.
    Orphaned {
        #[command(flatten)]
        act: RemediationArgs,
    },
    /// Revoke sessions that share a token
    ///
    /// If several users share a token, or only some of its sessions have a user, all of them are revoked. Otherwise,
    /// the newest is kept.
    ///
    /// Prints a plan; nothing changes without --apply.
    Duplicates {
        #[command(flatten)]
        act: RemediationArgs,
    },
    /// Revoke excess active sessions of each user
    ///
    /// Prints a plan; nothing changes without --apply.
    Excess {
        /// Sessions to keep for each user: those that expire last
        #[arg(long, value_name = "N")]
        keep: u64,
        #[command(flatten)]
        act: RemediationArgs,
    },
}

pub(super) fn run(args: &CleanupCommand) -> Result<ExitCode, Failure> {
    match args {
        CleanupCommand::Expired { act, grace } => {
            remediation::plan_or_apply(act, &Selection::Expired { grace: *grace })
        }
        CleanupCommand::Orphaned { act } => remediation::plan_or_apply(act, &Selection::Orphaned),
        CleanupCommand::Duplicates { act } => remediation::plan_or_apply(act, &Selection::Duplicates),
        CleanupCommand::Excess { act, keep } => {
            remediation::plan_or_apply(act, &Selection::Excess { keep: *keep })
        }
    }
}
