//! `archive`: removed sessions, for as long as they can be restored.

use std::{path::PathBuf, process::ExitCode};

use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_app::{
    api_types::{self, ArchiveDto},
    app::{
        archives::{self, ArchivedRow, ArchivedRowState, PurgeRequest, PurgeResult},
        plans::{self, ArchiveSummary, RestoreRequest},
        state_store::StoreRequirement,
    },
    output::{OutputFormat, table::OutputTable},
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    plural::{ListTotal, format_count},
    row_ref::RowRef,
    timestamp::UtcTimestamp,
};

use super::{
    Failure,
    actor::ActorArgs,
    lists::{RAISE_LIMIT, cut_list, note_if_cut, render_list},
    opening::open_existing_app,
    remediation::{self, ApplyOptions, RemediationArgs},
    target_args::ConfigArgs,
};

/// Lead of this clock over the confirmed time above which a warning is printed.
const MAX_UNCONFIRMED_CLOCK_LEAD: SignedDuration = SignedDuration::from_mins(10);

/// List, restore and purge removed sessions
#[derive(Debug, clap::Subcommand)]
pub(super) enum ArchiveCommand {
    /// List what can be restored
    List {
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show the rows that a plan removed
    Show {
        /// Plan ID
        #[arg(value_name = "PLAN")]
        plan: String,
        #[command(flatten)]
        config: ConfigArgs,
        /// Maximum number of rows
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        limit: u32,
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
    },
    /// Restore rows that a plan removed
    Restore(RestoreArgs),
    /// Permanently delete archived rows whose retention has ended
    Purge(PurgeArgs),
}

/// The archived rows to delete.
#[derive(Debug, clap::Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Delete the rows of this plan before their retention ends
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// Trust this machine's clock, even though no daemon has confirmed it
    #[arg(long, conflicts_with = "plan")]
    trust_clock: bool,
    #[command(flatten)]
    actor: ActorArgs,
}

/// The rows to restore, and the key of the archive.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// ID of the plan that removed the rows
    #[arg(value_name = "PLAN")]
    archive: String,
    /// Only rows of this user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Private key of the archive [default: `archive_identity` in [actions], else sessionwatch-archive.key next to the
    /// state store]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    act: RemediationArgs,
}

pub(super) fn run(args: &ArchiveCommand) -> Result<ExitCode, Failure> {
    match args {
        ArchiveCommand::List { config, format } => list_archives(config, *format),
        ArchiveCommand::Show { plan, config, limit, format } => {
            let app = open_existing_app(config)?;
            let mut rows = super::block_on(async {
                // One more than shown, to learn whether the list is cut.
                Ok(archives::list_archived_rows(&app, plan.clone(), *limit as usize + 1).await?)
            })?;
            if cut_list(&mut rows, *limit) {
                let counted = archives::count_archived_rows(&app, plan.clone());
                let total = super::block_on(async { Ok(counted.await?) })?;
                note_if_cut("rows", rows.len(), ListTotal::Exactly(total), RAISE_LIMIT);
            }
            super::print_text(&render_list(&build_row_table(&rows), *format, "rows"))?;
            Ok(ExitCode::SUCCESS)
        }
        ArchiveCommand::Restore(args) => restore_rows(args),
        ArchiveCommand::Purge(args) => purge_rows(args),
    }
}

fn list_archives(args: &ConfigArgs, format: OutputFormat) -> Result<ExitCode, Failure> {
    let app = open_existing_app(args)?;
    let history = super::block_on(async { Ok(plans::load_plan_history(&app).await?) })?;
    let held = &history.archives;
    let archives: Vec<ArchiveDto> = held
        .iter()
        .map(|holding| ArchiveDto::from_summary(holding, &history.plans))
        .collect::<Result<_, _>>()?;
    let row = |(holding, archive): (&ArchiveSummary, &ArchiveDto)| {
        vec![
            holding.plan.clone(),
            holding.target.clone(),
            archive.action().to_owned(),
            holding.restorable_rows.to_string(),
            holding.restored_rows.to_string(),
            clock::format_utc(holding.first_sealed_at),
            clock::format_utc(holding.purge_at),
        ]
    };
    let header = ["plan", "target", "action", "rows", "restored", "removed at", "kept until"];
    let sheet = OutputTable {
        json_key: "archives",
        header: header.map(str::to_owned).to_vec(),
        rows: held.iter().zip(&archives).map(row).collect(),
        json_rows: archives.iter().map(api_types::to_json_value).collect::<Result<_, _>>()?,
    };
    super::print_text(&render_list(&sheet, format, "archived plans"))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the place of a row, in words.
fn describe_state(state: ArchivedRowState) -> &'static str {
    match state {
        ArchivedRowState::NotRemoved => "in the table",
        ArchivedRowState::Archived => "archived",
        ArchivedRowState::Restored => "restored",
    }
}

fn build_row_table(archived: &[ArchivedRow]) -> OutputTable {
    let ends = |row: &RowRef| row.expires_us.and_then(UtcTimestamp::from_micros);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let row = |ArchivedRow { row, state }: &ArchivedRow| {
        vec![
            text(&row.token_prefix),
            text(&row.id),
            text(&row.user),
            ends(row).map(clock::format_utc).unwrap_or_default(),
            describe_state(*state).to_owned(),
        ]
    };
    let document = |ArchivedRow { row, state }: &ArchivedRow| {
        json!({
            "token_prefix": row.token_prefix,
            "id": row.id,
            "user": row.user,
            "expires_at": ends(row).map(clock::format_rfc3339),
            "state": describe_state(*state),
        })
    };
    OutputTable {
        json_key: "rows",
        header: ["token prefix", "id", "user", "expires", "state"].map(str::to_owned).to_vec(),
        rows: archived.iter().map(row).collect(),
        json_rows: archived.iter().map(document).collect(),
    }
}

fn restore_rows(args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let ops = args.act.open_target_ops(StoreRequirement::Existing)?;
    let RestoreArgs { archive, user, identity, act } = args;
    let wanted = RestoreRequest { plan_id: archive.clone(), user: user.clone() };
    let plan = super::block_on(async { Ok(plans::create_restore_plan(ops.clone(), wanted).await?) })?;
    let options = ApplyOptions { identity: identity.as_deref(), ..ApplyOptions::default() };
    remediation::print_or_apply(&ops, &plan, act, options)
}

fn purge_rows(args: &PurgeArgs) -> Result<ExitCode, Failure> {
    let app = open_existing_app(&args.config)?;
    let request = PurgeRequest { plan_id: args.plan.clone(), trust_clock: args.trust_clock };
    let purged =
        super::block_on(async { Ok(archives::purge_archive(&app, &args.actor.actor(), request).await?) })?;
    let PurgeResult { rows, unconfirmed_rows, now, confirmed_at } = purged;
    super::print_text(&format!("Purged {}.\n", format_count(rows, "archived row", "archived rows")))?;
    // A daemon confirms its clock each minute.
    if unconfirmed_rows > 0 && now.duration_since(confirmed_at) > MAX_UNCONFIRMED_CLOCK_LEAD {
        let warning = format!(
            "kept {} whose retention has ended by this machine's clock ({}): `serve` last confirmed the time as {}",
            format_count(unconfirmed_rows, "row", "rows"),
            clock::format_utc(now),
            clock::format_utc(confirmed_at)
        );
        super::print_warning(&warning, "if this clock is right, repeat the command with --trust-clock");
    }
    Ok(ExitCode::SUCCESS)
}
