//! `targets`: the table in which the sessions of each target were recognized, and what is said where that changed.

use std::process::ExitCode;

use serde_json::json;

use super::{Failure, actor::ActorArgs, opening::existing, target::TargetArgs};
use crate::{
    actions::ActError,
    clock,
    output::{Format, table::Sheet},
    profile::known_layout::KnownLayout,
    sanitize::printable,
    store::layouts,
    target_layouts::{self, KeptLayout},
};

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
        Args::List { config, format } => sheet(&existing(config)?.1.read(layouts::list)?).render(*format),
        Args::Confirm { target, actor } => confirm(target, &actor.name())?,
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn confirm(args: &TargetArgs, owner: &str) -> Result<String, Failure> {
    let (config, target) = args.choose_one()?;
    let store = existing(&args.config)?.1;
    let (layout, doubt) = super::block_on(super::with_open(&config, &target, async |opened| {
        Ok((KnownLayout::of(&opened.layout.candidate.mapping), opened.layout.doubt.clone()))
    }))?;
    if let Some(doubt) = doubt {
        return Err(ActError::Uncertain(Box::new(doubt)).into());
    }
    let now = store.now()?;
    let before = store.write(|db| target_layouts::confirm(db, &target, owner, &layout, now))?;
    let before = before.filter(|before| *before != layout);
    let was = before.map(|before| format!("; it was {before}")).unwrap_or_default();
    Ok(printable(&format!("{}: the session table is {layout}{was}", target.name)) + "\n")
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
