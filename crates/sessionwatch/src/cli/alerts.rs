//! `alerts`: what the watch found, and what people say of it.

use std::process::ExitCode;

use serde_json::json;
use sessionwatch_rules::{
    alert::State,
    instant::{Instant, SECOND},
};

use super::{Failure, target::ConfigArgs};
use crate::{
    clock,
    config::Config,
    report::{Format, Sheet},
    store::{
        Store,
        alerts::{self, Kept},
        audit,
        silences::{self, Silence},
    },
};

/// Show what the watch found, look after it, or silence it
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// List the alerts that are not in order
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// Also those that are
        #[arg(long)]
        all: bool,
        /// How the list is written
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Say that somebody looks after a firing alert: it is not told again until it is resolved
    Ack(AckArgs),
    /// Tell nothing of a target, a check or both for a while
    Silence(SilenceArgs),
    /// End a silence
    Unsilence {
        /// Its number
        id: i64,
        #[command(flatten)]
        config: ConfigArgs,
        /// Who ends it
        #[arg(long, env = "USER")]
        owner: String,
    },
    /// List the silences
    Silences {
        #[command(flatten)]
        config: ConfigArgs,
        /// How the list is written
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
}

/// What is acknowledged, and by whom.
#[derive(Debug, clap::Args)]
pub(super) struct AckArgs {
    /// Name of the target
    target: String,
    /// Id of the check
    check: String,
    #[command(flatten)]
    config: ConfigArgs,
    /// Who looks after it
    #[arg(long, env = "USER")]
    owner: String,
    /// What that person says
    #[arg(long, default_value = "")]
    note: String,
}

/// What is silenced, for how long, and by whom.
#[derive(Debug, clap::Args)]
pub(super) struct SilenceArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only this target
    #[arg(long)]
    target: Option<String>,
    /// Only this check
    #[arg(long)]
    check: Option<String>,
    /// For how many minutes
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=525_600), value_name = "MINUTES")]
    minutes: i64,
    /// Who asks for it
    #[arg(long, env = "USER")]
    owner: String,
    /// Why
    #[arg(long)]
    note: String,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let now = clock::now();
    let text = match args {
        Args::List { config, all, format } => {
            let kept = open(config)?.read(|connection| alerts::list(connection, *all))?;
            if kept.is_empty() && *format == Format::Table {
                "no alert\n".into()
            } else {
                sheet(&kept).render(*format)
            }
        }
        Args::Ack(args) => acknowledge(args, now)?,
        Args::Silence(args) => silence(args, now)?,
        Args::Unsilence { id, config, owner } => {
            let ended = open(config)?.write(|transaction| {
                audit::add(transaction, (owner, "unsilence"), &json!({ "silence": id }).to_string(), now)?;
                silences::end(transaction, *id)
            })?;
            if !ended {
                return Err(Failure::Usage(format!(
                    "there is no silence {id}: `sessionwatch alerts silences` lists them"
                )));
            }
            format!("silence {id} has ended\n")
        }
        Args::Silences { config, format } => {
            let silences = open(config)?.read(|connection| silences::list(connection, now))?;
            if silences.is_empty() && *format == Format::Table {
                "no silence\n".into()
            } else {
                quiet(&silences).render(*format)
            }
        }
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The store of the configuration. It is not made here: without a watch there is nothing in it.
pub(super) fn open(args: &ConfigArgs) -> Result<Store, Failure> {
    let config = Config::load(args.config.as_deref())?;
    if !config.serve.store.is_file() {
        return Err(Failure::Usage(format!(
            "there is no store {}: `sessionwatch serve` makes it",
            config.serve.store.display()
        )));
    }
    Ok(Store::open(&config.serve.store)?)
}

fn acknowledge(args: &AckArgs, now: Instant) -> Result<String, Failure> {
    let found = open(&args.config)?.write(|transaction| {
        let Some(mut kept) = alerts::get(transaction, &args.target, &args.check)? else { return Ok(None) };
        if !matches!(kept.alert.state, State::Firing { .. }) {
            return Ok(None);
        }
        kept.acknowledged_by = Some(args.owner.clone());
        kept.note = Some(args.note.clone()).filter(|note| !note.is_empty());
        let detail = json!({ "target": args.target, "check": args.check, "note": args.note });
        audit::add(transaction, (&args.owner, "acknowledge"), &detail.to_string(), now)?;
        alerts::put(transaction, &kept)?;
        Ok(Some(()))
    })?;
    found.ok_or_else(|| {
        Failure::Usage(format!(
            "no alert of `{}` fires on `{}`: `sessionwatch alerts list` shows those that do",
            args.check, args.target
        ))
    })?;
    Ok(format!("{} looks after {} on {}\n", args.owner, args.check, args.target))
}

fn silence(args: &SilenceArgs, now: Instant) -> Result<String, Failure> {
    let silence = Silence {
        id: 0,
        target: args.target.clone(),
        check: args.check.clone(),
        until: now.plus(args.minutes * 60 * SECOND),
        owner: args.owner.clone(),
        note: args.note.clone(),
    };
    let id = open(&args.config)?.write(|transaction| {
        let detail = json!({
            "target": silence.target, "check": silence.check, "until": clock::rfc3339(silence.until), "note": silence.note,
        });
        audit::add(transaction, (&silence.owner, "silence"), &detail.to_string(), now)?;
        silences::begin(transaction, &silence)
    })?;
    Ok(format!("silence {id} holds until {}\n", clock::readable(silence.until)))
}

fn sheet(kept: &[Kept]) -> Sheet {
    let since =
        |kept: &Kept| if let State::Firing { since, .. } = kept.alert.state { Some(since) } else { None };
    let state = |kept: &Kept| {
        let stale = if kept.alert.stale { " (stale)" } else { "" };
        format!("{}{stale}", kept.alert.state.name())
    };
    let row = |kept: &Kept| {
        vec![
            kept.target.clone(),
            kept.check.clone(),
            kept.severity.clone(),
            state(kept),
            since(kept).map(clock::readable).unwrap_or_default(),
            kept.acknowledged_by.clone().unwrap_or_default(),
            kept.summary.clone(),
        ]
    };
    let document = |kept: &Kept| {
        json!({
            "target": kept.target, "check": kept.check, "severity": kept.severity, "state": kept.alert.state.name(),
            "stale": kept.alert.stale, "since": since(kept).map(clock::rfc3339), "summary": kept.summary,
            "acknowledged_by": kept.acknowledged_by, "note": kept.note, "updated_at": clock::rfc3339(kept.updated_at),
        })
    };
    Sheet {
        kind: "alerts",
        header: ["target", "check", "severity", "state", "since", "looked after by", "summary"]
            .map(str::to_owned)
            .to_vec(),
        rows: kept.iter().map(row).collect(),
        documents: kept.iter().map(document).collect(),
    }
}

fn quiet(silences: &[Silence]) -> Sheet {
    let all = |name: &Option<String>| name.clone().unwrap_or_else(|| "all".into());
    let row = |silence: &Silence| {
        vec![
            silence.id.to_string(),
            all(&silence.target),
            all(&silence.check),
            clock::readable(silence.until),
            silence.owner.clone(),
            silence.note.clone(),
        ]
    };
    let document = |silence: &Silence| {
        json!({
            "id": silence.id, "target": silence.target, "check": silence.check, "until": clock::rfc3339(silence.until),
            "owner": silence.owner, "note": silence.note,
        })
    };
    Sheet {
        kind: "silences",
        header: ["silence", "target", "check", "until", "by", "why"].map(str::to_owned).to_vec(),
        rows: silences.iter().map(row).collect(),
        documents: silences.iter().map(document).collect(),
    }
}
