//! `targets`: the table in which the sessions of each target were recognized, and what is said where that changed.

use std::process::ExitCode;

use serde_json::json;
use sessionwatch_app::{
    app::{
        Actor,
        layouts::{self, KeptLayout, KnownLayout},
        target_reads::TargetReads,
    },
    output::{Format, table::Sheet},
    sanitize::printable,
};
use sessionwatch_clock as clock;

use super::{Failure, actor::ActorArgs, opening::open_existing, target::TargetArgs};

/// List session tables, and confirm one that changed
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// List the session table of each target
    List {
        #[command(flatten)]
        config: super::target::ConfigArgs,
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Confirm the session table that is recognized now
    Confirm {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        actor: ActorArgs,
    },
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let text = match args {
        Args::List { config, format } => {
            let app = open_existing(config)?;
            let known = super::block_on(async { Ok(layouts::list_layouts(&app).await?) })?;
            sheet(&known).render(*format)
        }
        Args::Confirm { target, actor } => confirm(target, &actor.actor())?,
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn confirm(args: &TargetArgs, actor: &Actor) -> Result<String, Failure> {
    let (config, target) = args.choose_one()?;
    let app = open_existing(&args.config)?;
    let reads = TargetReads::new(&config, &target);
    let recognized = super::block_on(async { Ok(reads.recognize_layout().await?) })?;
    let (name, layout) = (target.name.clone(), recognized.known.clone());
    let confirmed = layouts::confirm_layout(&app, actor, target, recognized);
    let before = super::block_on(async { Ok(confirmed.await?) })?;
    let was = before.map(|before| format!("; it was {before}")).unwrap_or_default();
    Ok(printable(&format!("{name}: the session table is {layout}{was}")) + "\n")
}

fn sheet(kept: &[KeptLayout]) -> Sheet {
    let header = ["target", "table", "token", "user", "expiry", "since", "confirmed by"];
    let row = |kept: &KeptLayout| {
        let KnownLayout { table, token, user, expires } = kept.layout.clone();
        let by = kept.confirmed_by.clone().unwrap_or_default();
        vec![
            kept.target.clone(),
            table,
            token,
            user.unwrap_or_default(),
            expires,
            clock::readable(kept.at),
            by,
        ]
    };
    let document = |kept: &KeptLayout| {
        json!({
            "target": kept.target, "table": kept.layout.table, "token": kept.layout.token, "user": kept.layout.user,
            "expires": kept.layout.expires, "since": clock::rfc3339(kept.at), "confirmed_by": kept.confirmed_by,
        })
    };
    Sheet {
        kind: "targets",
        header: header.map(str::to_owned).to_vec(),
        rows: kept.iter().map(row).collect(),
        documents: kept.iter().map(document).collect(),
    }
}
