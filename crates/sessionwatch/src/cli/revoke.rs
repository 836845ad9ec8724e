//! `revoke`: ends sessions that somebody may still use.

use std::process::ExitCode;

use sessionwatch_app::app::plans::{RowFilter, Selection};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    Failure,
    acting::{self, RemediationArgs},
};

/// End sessions, as the framework ends them: first as a plan, then by --apply
#[derive(Debug, clap::Subcommand)]
pub(super) enum RevokeCommand {
    /// Every session of a user
    User {
        /// The user's id
        id: String,
        #[command(flatten)]
        act: RemediationArgs,
    },
    /// One session
    Session {
        /// Row ID, or the token prefix or its beginning
        #[arg(value_name = "ID|PREFIX")]
        name: String,
        #[command(flatten)]
        act: RemediationArgs,
    },
    /// Every session of everybody
    All {
        #[command(flatten)]
        act: RemediationArgs,
    },
    /// Sessions that fit every condition
    Where(WhereArgs),
}

/// Conditions, all of which must hold.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("conditions").required(true).multiple(true).args([
    "user", "user_like", "created_after", "created_before", "expires_after", "expires_before", "ip", "agent_like", "impersonated"
]))]
pub(super) struct WhereArgs {
    #[command(flatten)]
    act: RemediationArgs,
    /// Of the user with this id
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Of users whose id, name or handle contains this, in upper or lower case
    #[arg(long, value_name = "PART")]
    user_like: Option<String>,
    /// Created after this instant, e.g. 2026-01-31T12:00:00Z
    #[arg(long, value_parser = parse_timestamp, value_name = "INSTANT")]
    created_after: Option<UtcTimestamp>,
    /// Created before this instant
    #[arg(long, value_parser = parse_timestamp, value_name = "INSTANT")]
    created_before: Option<UtcTimestamp>,
    /// Ending after this instant
    #[arg(long, value_parser = parse_timestamp, value_name = "INSTANT")]
    expires_after: Option<UtcTimestamp>,
    /// Ending before this instant
    #[arg(long, value_parser = parse_timestamp, value_name = "INSTANT")]
    expires_before: Option<UtcTimestamp>,
    /// From this address, as it is stored
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// Whose user agent contains this, in upper or lower case
    #[arg(long, value_name = "PART")]
    agent_like: Option<String>,
    /// In which somebody else acts for the user (`impersonatedBy`)
    #[arg(long)]
    impersonated: bool,
}

pub(super) fn run(args: &RevokeCommand) -> Result<ExitCode, Failure> {
    match args {
        RevokeCommand::User { id, act } => acting::plan_or_apply(act, &Selection::User(id.clone())),
        RevokeCommand::Session { name, act } => acting::plan_or_apply(act, &Selection::Session(name.clone())),
        RevokeCommand::All { act } => acting::plan_or_apply(act, &Selection::All),
        RevokeCommand::Where(args) => {
            acting::plan_or_apply(&args.act, &Selection::Where(args.to_row_filter()))
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
            agent_like: self.agent_like.clone(),
            impersonated: self.impersonated,
        }
    }
}

/// An instant that a person writes, with its zone.
fn parse_timestamp(text: &str) -> Result<UtcTimestamp, String> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    let at = parsed.ok().and_then(|at| UtcTimestamp::try_from(at).ok());
    at.ok_or_else(|| "an instant with its zone is meant, like 2026-01-31T12:00:00Z".into())
}
