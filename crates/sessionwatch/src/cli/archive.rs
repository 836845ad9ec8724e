//! `archive`: what was removed, for as long as it can be put back.

use std::{path::PathBuf, process::ExitCode};

use serde_json::json;
use sessionwatch_core::{instant::SECOND, plural::counted};

use super::{
    Failure,
    acting::{self, ActArgs, Acting},
    actor::ActorArgs,
    opening::{Opening, existing},
    target::ConfigArgs,
};
use crate::{
    actions::{ActError, ArchiveKeys, Consent, Control, Executor, keys, restoring},
    api_types::{self, Archive},
    archive::sealing::Identity,
    clock,
    output::{Format, table::Sheet},
    store::{
        archived::{self, Fate, Holding},
        audit, confirmed_time, plans,
    },
};

/// How far this clock may be ahead of what is confirmed before that is worth a word, in microseconds.
const UNCONFIRMED: i64 = 600 * SECOND;

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
        Args::Show { plan, config, limit, format } => show(config, (plan, *limit), *format),
        Args::Restore(args) => restore(args),
        Args::Purge(args) => purge(args),
    }
}

fn list(args: &ConfigArgs, format: Format) -> Result<ExitCode, Failure> {
    let (_, store) = existing(args)?;
    let (held, plans) = store.read(|db| Ok((archived::holdings(db)?, plans::list(db)?)))?;
    let archives: Vec<Archive> =
        held.iter().map(|holding| Archive::of(holding, &plans)).collect::<Result<_, _>>()?;
    let row = |(holding, archive): (&Holding, &Archive)| {
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
        documents: archives.iter().map(api_types::json).collect(),
    };
    if held.is_empty() && format == Format::Table {
        super::print("The archive is empty.\n")?;
    } else {
        super::print(&sheet.render(format))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(args: &ConfigArgs, (plan, limit): (&str, u32), format: Format) -> Result<ExitCode, Failure> {
    let (_, store) = existing(args)?;
    let (mut rows, mut documents, mut behind) = (vec![], vec![], 0);
    while let Some(batch) = store.read(|db| archived::next(db, plan, behind))? {
        behind = batch.id;
        let room = (limit as usize).saturating_sub(rows.len());
        for (row, fate) in batch.rows.iter().zip(&batch.fates).take(room) {
            let place = match fate {
                Fate::Stayed => "in the table",
                Fate::Archived => "archived",
                Fate::Restored => "put back",
            };
            let ends = row.expires.and_then(sessionwatch_core::instant::Instant::from_micros);
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            rows.push(vec![
                text(&row.prefix),
                text(&row.id),
                text(&row.user),
                ends.map(clock::readable).unwrap_or_default(),
                place.to_owned(),
            ]);
            documents.push(json!({
                "token_prefix": row.prefix,
                "id": row.id,
                "user": row.user,
                "expires_at": ends.map(clock::rfc3339),
                "state": place,
            }));
        }
    }
    if rows.is_empty() {
        return Err(ActError::NoArchive(plan.to_owned()).into());
    }
    let header = ["token", "id", "user", "ends", "is"].map(str::to_owned).to_vec();
    super::print(&Sheet { kind: "rows", header, rows, documents }.render(format))?;
    Ok(ExitCode::SUCCESS)
}

fn restore(args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let acting = Acting::of(&args.act, Opening::Existing)?;
    let Some(id) = &args.act.apply else {
        let plan = super::block_on(async {
            Ok(restoring::plan(acting.context(), &args.archive, args.user.as_deref()).await?)
        })?;
        acting::show(&acting, &plan, args.act.format)?;
        return Ok(ExitCode::SUCCESS);
    };
    let plan = acting.context().plan(id)?;
    let meant = crate::actions::Selection::Restore { archive: args.archive.clone(), user: args.user.clone() };
    if plan.selection != meant {
        return Err(Failure::Usage(format!(
            "the plan `{id}` is about something else: repeat the command that made it"
        )));
    }
    let path = args.identity.clone().unwrap_or_else(|| keys::path(&acting.config));
    if args.identity.is_none() && !path.exists() {
        let recipient = acting.store.read(|db| archived::next(db, &args.archive, 0))?;
        let recipient = recipient.map(|batch| batch.recipient).unwrap_or_default();
        return Err(ActError::NoIdentity(recipient).into());
    }
    let identity = Identity::read(&path).map_err(ActError::from)?;
    let typed = acting::confirmation(&acting, args.act.confirm.as_deref(), &plan)?;
    let consent = Consent { name: typed.as_deref(), ..Consent::default() };
    let control = Control::default();
    let applied = super::block_on(async {
        let keys = ArchiveKeys { identity: Some(&identity), ..ArchiveKeys::default() };
        let executor = Executor { context: acting.context(), keys, consent, control: &control };
        acting::steered(executor.run(plan.clone()), (&control, plan.kept.rows)).await
    })?;
    acting::report(&plan, &applied, args.act.format)
}

fn purge(args: &PurgeArgs) -> Result<ExitCode, Failure> {
    let (_, store) = existing(&args.config)?;
    let (now, plan, owner) = (store.now()?, args.plan.as_deref(), args.actor.name());
    let passed = store.read(|db| confirmed_time::passed(db, now))?;
    let passed = if args.trust_clock { now } else { passed };
    let rows = store.write(|db| {
        let rows = archived::purge(db, plan, passed)?;
        if rows > 0 {
            let detail = json!({ "plan": plan, "rows": rows });
            audit::add(db, (&owner, "archive-purged"), &detail.to_string(), now)?;
        }
        Ok(rows)
    })?;
    super::print(&format!("{} removed for good.\n", counted(rows, "row was", "rows were")))?;
    let holdings = if plan.is_none() { store.read(archived::holdings)? } else { vec![] };
    let kept: u64 = holdings.iter().filter(|held| held.purge_at <= now).map(|held| held.rows).sum();
    // A daemon confirms its clock each minute.
    if kept > 0 && now.since(passed) > UNCONFIRMED {
        let warning = format!(
            "warning: {} past the retention by this machine's clock ({}), but `serve` last confirmed the time as {}: kept",
            counted(kept, "row is", "rows are"),
            clock::readable(now),
            clock::readable(passed)
        );
        super::complain(&warning, Some("if the clock is right, run the command again with --trust-clock"));
    }
    Ok(ExitCode::SUCCESS)
}
