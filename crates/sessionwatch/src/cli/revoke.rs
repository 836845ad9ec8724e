//! `revoke`: ends sessions that are in use.

use std::process::ExitCode;

use sessionwatch_app::app::plans::{RowFilter, Selection};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    Failure,
    remediation::{self, RemediationArgs},
    values::parse_instant,
};

/// Plan to revoke sessions the way your framework does
///
/// Dry run: the plan changes nothing until you pass --apply or run `sessionwatch apply`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum RevokeCommand {
    /// Revoke every session of a user
    ///
    /// Prints a plan; nothing changes without --apply.
    User {
        /// User ID
        #[arg(value_name = "USER")]
        id: String,
        #[command(flatten)]
        act: RemediationArgs,
    },
    /// Revoke one session
    ///
    /// Prints a plan; nothing changes without --apply.
    Session {
        /// Row ID or token prefix
        #[arg(value_name = "ID|PREFIX")]
        name: String,
        #[command(flatten)]
        act: RemediationArgs,
    },
    /// Revoke every session of every user
    ///
    /// Prints a plan; nothing changes without --apply.
    All {
        #[command(flatten)]
        act: RemediationArgs,
    },
    /// Revoke sessions that match every condition
    ///
    /// Prints a plan; nothing changes without --apply.
    Where(WhereArgs),
}

/// Conditions, all of which must match.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("conditions").required(true).multiple(true).args([
    "user", "user_like", "created_after", "created_before", "expires_after", "expires_before",
    "ip", "user_agent_like", "impersonated"
]))]
pub(super) struct WhereArgs {
    /// User ID
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Part of a user ID, name, handle or email address
    #[arg(long, value_name = "PART")]
    user_like: Option<String>,
    /// Created after this time (UTC; a date means 00:00)
    #[arg(long, value_parser = parse_instant, value_name = "DATE")]
    created_after: Option<UtcTimestamp>,
    /// Created before this time (UTC; a date means 00:00)
    #[arg(long, value_parser = parse_instant, value_name = "DATE")]
    created_before: Option<UtcTimestamp>,
    /// Expiring after this time (UTC; a date means 00:00)
    #[arg(long, value_parser = parse_instant, value_name = "DATE")]
    expires_after: Option<UtcTimestamp>,
    /// Expiring before this time (UTC; a date means 00:00)
    #[arg(long, value_parser = parse_instant, value_name = "DATE")]
    expires_before: Option<UtcTimestamp>,
    /// Only sessions with this IP address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// Part of the user agent
    #[arg(long, value_name = "PART")]
    user_agent_like: Option<String>,
    /// Only impersonated sessions (`impersonatedBy`)
    #[arg(long)]
    impersonated: bool,
    #[command(flatten)]
    act: RemediationArgs,
}

pub(super) fn run(args: &RevokeCommand) -> Result<ExitCode, Failure> {
    match args {
        RevokeCommand::User { id, act } => remediation::plan_or_apply(act, &Selection::User(id.clone())),
        RevokeCommand::Session { name, act } => {
            remediation::plan_or_apply(act, &Selection::Session(name.clone()))
        }
        RevokeCommand::All { act } => remediation::plan_or_apply(act, &Selection::All),
        RevokeCommand::Where(args) => {
            remediation::plan_or_apply(&args.act, &Selection::Where(args.to_row_filter()))
        }
    }
}

impl WhereArgs {
    fn to_row_filter(&self) -> RowFilter {
        let micros = |at: Option<UtcTimestamp>| at.map(UtcTimestamp::micros);
        RowFilter {
            user: self.user.clone(),
            user_like: self.user_like.clone(),
            created_after: micros(self.created_after),
            created_before: micros(self.created_before),
            expires_after: micros(self.expires_after),
            expires_before: micros(self.expires_before),
            ip: self.ip.clone(),
            agent_like: self.user_agent_like.clone(),
            impersonated: self.impersonated,
        }
    }
}
