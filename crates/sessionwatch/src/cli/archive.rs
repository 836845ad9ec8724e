//! `archive`: what was removed, for as long as it can be put back.

use std::{path::PathBuf, process::ExitCode};

use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_app::{
    api_types::{self, ArchiveDto},
    app::{
        archives::{self, ArchivedRow, ArchivedRowState, PurgeRequest, PurgeResult},
        plans::{self, ArchiveSummary, RestoreRequest, Selection},
        state_store::StoreRequirement,
    },
    output::{OutputFormat, table::OutputTable},
};
use sessionwatch_clock as clock;
use sessionwatch_core::{plural::format_count, row_ref::RowRef, timestamp::UtcTimestamp};

use super::{
    Failure,
    acting::{self, ApplyOptions, RemediationArgs},
    actor::ActorArgs,
    opening::open_existing_app,
    target::ConfigArgs,
};

/// How far this clock may be ahead of what is confirmed before that is worth a word.
const MAX_UNCONFIRMED_CLOCK_LEAD: SignedDuration = SignedDuration::from_mins(10);

/// Show what was removed, put it back, or remove it for good
#[derive(Debug, clap::Subcommand)]
pub(super) enum ArchiveCommand {
    /// List what can be put back
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// How the list is written
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
    },
    /// Show the rows that one plan removed
    Show {
        /// The plan
        plan: String,
        #[command(flatten)]
        config: ConfigArgs,
        /// The most that are shown
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        limit: u32,
        /// How the rows are written
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
    },
    /// Put rows back that a plan removed: first as a plan, then by --apply
    Restore(RestoreArgs),
    /// Remove for good what has passed its time, or what one plan removed
    Purge(PurgeArgs),
}

/// What is removed for good.
#[derive(Debug, clap::Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// All that this plan removed, though its time has not passed
    #[arg(long)]
    plan: Option<String>,
    /// Go by this machine's clock, though no daemon has confirmed it
    #[arg(long, conflicts_with = "plan")]
    trust_clock: bool,
    #[command(flatten)]
    actor: ActorArgs,
}

/// What is put back, and with what the archive is opened.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The plan that removed the rows
    #[arg(value_name = "PLAN")]
    archive: String,
    #[command(flatten)]
    act: RemediationArgs,
    /// Only rows of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// The file with the identity that opens the archive [default: that of [actions], or beside the store]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

pub(super) fn run(args: &ArchiveCommand) -> Result<ExitCode, Failure> {
    match args {
        ArchiveCommand::List { config, format } => list_archives(config, *format),
        ArchiveCommand::Show { plan, config, limit, format } => {
            let app = open_existing_app(config)?;
            let limit = *limit as usize;
            let rows = super::block_on(async {
                Ok(archives::list_archived_rows(&app, plan.clone(), limit).await?)
            })?;
            super::print_text(&build_row_table(&rows).render(*format))?;
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
    let header = ["plan", "target", "action", "rows", "put back", "removed at", "kept until"];
    let sheet = OutputTable {
        json_key: "archives",
        header: header.map(str::to_owned).to_vec(),
        rows: held.iter().zip(&archives).map(row).collect(),
        json_rows: archives.iter().map(api_types::to_json_value).collect::<Result<_, _>>()?,
    };
    if held.is_empty() && format == OutputFormat::Table {
        super::print_text("The archive is empty.\n")?;
    } else {
        super::print_text(&sheet.render(format))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a row is, in words.
fn describe_fate(fate: ArchivedRowState) -> &'static str {
    match fate {
        ArchivedRowState::NotRemoved => "in the table",
        ArchivedRowState::Archived => "archived",
        ArchivedRowState::Restored => "put back",
    }
}

fn build_row_table(archived: &[ArchivedRow]) -> OutputTable {
    let ends = |row: &RowRef| row.expires_us.and_then(UtcTimestamp::from_micros);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let row = |ArchivedRow { row, state: fate }: &ArchivedRow| {
        vec![
            text(&row.token_prefix),
            text(&row.id),
            text(&row.user),
            ends(row).map(clock::format_utc).unwrap_or_default(),
            describe_fate(*fate).to_owned(),
        ]
    };
    let document = |ArchivedRow { row, state: fate }: &ArchivedRow| {
        json!({
            "token_prefix": row.token_prefix,
            "id": row.id,
            "user": row.user,
            "expires_at": ends(row).map(clock::format_rfc3339),
            "state": describe_fate(*fate),
        })
    };
    OutputTable {
        json_key: "rows",
        header: ["token", "id", "user", "ends", "is"].map(str::to_owned).to_vec(),
        rows: archived.iter().map(row).collect(),
        json_rows: archived.iter().map(document).collect(),
    }
}

fn restore_rows(args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let ops = args.act.open_target_ops(StoreRequirement::Existing)?;
    let RestoreArgs { archive, user, identity, act } = args;
    let Some(id) = &act.apply else {
        let wanted = RestoreRequest { plan_id: archive.clone(), user: user.clone() };
        let plan = super::block_on(async { Ok(plans::create_restore_plan(ops.clone(), wanted).await?) })?;
        acting::print_plan(&ops, &plan, act.format)?;
        return Ok(ExitCode::SUCCESS);
    };
    let meant = Selection::Restore { archive: archive.clone(), user: user.clone() };
    let plan = acting::find_plan(&ops, id, &meant)?;
    acting::apply_plan(
        &ops,
        &plan,
        act,
        ApplyOptions { identity: identity.as_deref(), ..ApplyOptions::default() },
    )
}

fn purge_rows(args: &PurgeArgs) -> Result<ExitCode, Failure> {
    let app = open_existing_app(&args.config)?;
    let request = PurgeRequest { plan_id: args.plan.clone(), trust_clock: args.trust_clock };
    let purged =
        super::block_on(async { Ok(archives::purge_archive(&app, &args.actor.actor(), request).await?) })?;
    let PurgeResult { rows, unconfirmed_rows, now, confirmed_at } = purged;
    super::print_text(&format!("{} removed for good.\n", format_count(rows, "row was", "rows were")))?;
    // A daemon confirms its clock each minute.
    if unconfirmed_rows > 0 && now.duration_since(confirmed_at) > MAX_UNCONFIRMED_CLOCK_LEAD {
        let warning = format!(
            "warning: {} past the retention by this machine's clock ({}), but `serve` last confirmed the time as {}: kept",
            format_count(unconfirmed_rows, "row is", "rows are"),
            clock::format_utc(now),
            clock::format_utc(confirmed_at)
        );
        super::print_error(&warning, Some("if the clock is right, run the command again with --trust-clock"));
    }
    Ok(ExitCode::SUCCESS)
}
