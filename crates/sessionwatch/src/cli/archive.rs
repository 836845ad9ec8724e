//! `archive`: what was removed, for as long as it can be put back.

use std::{path::PathBuf, process::ExitCode};

use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_app::{
    api_types::{self, Archive},
    app::{
        archives::{self, ArchivedRow, Fate, PurgeRequest, Purged},
        plans::{self, ArchiveSummary, RestoreRequest, Selection},
        state_store::StoreNeed,
    },
    output::{Format, table::Sheet},
};
use sessionwatch_clock as clock;
use sessionwatch_core::{instant::Instant, plural::counted, row_ref::RowRef};

use super::{
    Failure,
    acting::{self, ActArgs, ApplyOptions},
    actor::ActorArgs,
    opening::open_existing,
    target::ConfigArgs,
};

/// How far this clock may be ahead of what is confirmed before that is worth a word.
const UNCONFIRMED_LIMIT: SignedDuration = SignedDuration::from_mins(10);

/// Show what was removed, put it back, or remove it for good
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// List what can be put back
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// How the list is written
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
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
        format: Format,
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
    act: ActArgs,
    /// Only rows of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// The file with the identity that opens the archive [default: that of [actions], or beside the store]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match args {
        Args::List { config, format } => list(config, *format),
        Args::Show { plan, config, limit, format } => {
            let app = open_existing(config)?;
            let limit = *limit as usize;
            let rows = super::block_on(async { Ok(archives::list_rows(&app, plan.clone(), limit).await?) })?;
            super::print(&rows_sheet(&rows).render(*format))?;
            Ok(ExitCode::SUCCESS)
        }
        Args::Restore(args) => restore(args),
        Args::Purge(args) => purge(args),
    }
}

fn list(args: &ConfigArgs, format: Format) -> Result<ExitCode, Failure> {
    let app = open_existing(args)?;
    let history = super::block_on(async { Ok(plans::get_history(&app).await?) })?;
    let held = &history.archived;
    let archives: Vec<Archive> =
        held.iter().map(|holding| Archive::of(holding, &history.plans)).collect::<Result<_, _>>()?;
    let row = |(holding, archive): (&ArchiveSummary, &Archive)| {
        vec![
            holding.plan.clone(),
            holding.target.clone(),
            archive.action().to_owned(),
            holding.rows.to_string(),
            holding.restored.to_string(),
            clock::readable(holding.at),
            clock::readable(holding.purge_at),
        ]
    };
    let header = ["plan", "target", "action", "rows", "put back", "removed at", "kept until"];
    let sheet = Sheet {
        kind: "archives",
        header: header.map(str::to_owned).to_vec(),
        rows: held.iter().zip(&archives).map(row).collect(),
        documents: archives.iter().map(api_types::json).collect::<Result<_, _>>()?,
    };
    if held.is_empty() && format == Format::Table {
        super::print("The archive is empty.\n")?;
    } else {
        super::print(&sheet.render(format))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a row is, in words.
fn place(fate: Fate) -> &'static str {
    match fate {
        Fate::Stayed => "in the table",
        Fate::Archived => "archived",
        Fate::Restored => "put back",
    }
}

fn rows_sheet(archived: &[ArchivedRow]) -> Sheet {
    let ends = |row: &RowRef| row.expires.and_then(Instant::from_micros);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let row = |ArchivedRow { row, fate }: &ArchivedRow| {
        vec![
            text(&row.prefix),
            text(&row.id),
            text(&row.user),
            ends(row).map(clock::readable).unwrap_or_default(),
            place(*fate).to_owned(),
        ]
    };
    let document = |ArchivedRow { row, fate }: &ArchivedRow| {
        json!({
            "token_prefix": row.prefix,
            "id": row.id,
            "user": row.user,
            "expires_at": ends(row).map(clock::rfc3339),
            "state": place(*fate),
        })
    };
    Sheet {
        kind: "rows",
        header: ["token", "id", "user", "ends", "is"].map(str::to_owned).to_vec(),
        rows: archived.iter().map(row).collect(),
        documents: archived.iter().map(document).collect(),
    }
}

fn restore(args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let ops = args.act.target_ops(StoreNeed::Existing)?;
    let RestoreArgs { archive, user, identity, act } = args;
    let Some(id) = &act.apply else {
        let wanted = RestoreRequest { archive: archive.clone(), user: user.clone() };
        let plan = super::block_on(async { Ok(plans::make_restore_plan(ops.clone(), wanted).await?) })?;
        acting::show(&ops, &plan, act.format)?;
        return Ok(ExitCode::SUCCESS);
    };
    let meant = Selection::Restore { archive: archive.clone(), user: user.clone() };
    let plan = acting::find_plan(&ops, id, &meant)?;
    acting::apply(&ops, &plan, act, ApplyOptions { identity: identity.as_deref(), ..ApplyOptions::default() })
}

fn purge(args: &PurgeArgs) -> Result<ExitCode, Failure> {
    let app = open_existing(&args.config)?;
    let request = PurgeRequest { plan: args.plan.clone(), trust_clock: args.trust_clock };
    let purged = super::block_on(async { Ok(archives::purge(&app, &args.actor.actor(), request).await?) })?;
    let Purged { rows, unconfirmed_rows, now, confirmed_at } = purged;
    super::print(&format!("{} removed for good.\n", counted(rows, "row was", "rows were")))?;
    // A daemon confirms its clock each minute.
    if unconfirmed_rows > 0 && now.duration_since(confirmed_at) > UNCONFIRMED_LIMIT {
        let warning = format!(
            "warning: {} past the retention by this machine's clock ({}), but `serve` last confirmed the time as {}: kept",
            counted(unconfirmed_rows, "row is", "rows are"),
            clock::readable(now),
            clock::readable(confirmed_at)
        );
        super::complain(&warning, Some("if the clock is right, run the command again with --trust-clock"));
    }
    Ok(ExitCode::SUCCESS)
}
