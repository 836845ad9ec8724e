//! `logs list` and `logs sources`: what the watch has read.

use std::process::ExitCode;

use serde_json::Value;
use sessionwatch_core::instant::{HOUR, Instant};

use super::super::{Failure, target::ConfigArgs};
use crate::{
    api_types, clock,
    config::Config,
    logs::{self, LogSource},
    output::{Format, table::Sheet},
    store::{
        Store,
        signals::{self, Kept, Search},
    },
};

/// List the signals that the watch has read, the latest first
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ListArgs {
    /// Only of this target
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// Only of this kind, or of the pattern of that name
    #[arg(long)]
    kind: Option<String>,
    /// Only about tokens with this prefix
    #[arg(long, value_name = "PREFIX")]
    token: Option<String>,
    /// Only those that name this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only those that are bad
    #[arg(long)]
    bad: bool,
    /// Hours back
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=720))]
    hours: u32,
    /// The most that are shown
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    #[command(flatten)]
    config: ConfigArgs,
    /// How the list is written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Say of each source when it was heard last, what was read, and what was dropped and why
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SourcesArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How the list is written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

fn store(args: &ConfigArgs) -> Result<(Config, Store), Failure> {
    crate::cli::opening::existing(args)
}

pub(super) fn list(args: &ListArgs) -> Result<ExitCode, Failure> {
    let (config, store) = store(&args.config)?;
    let targets: Vec<String> = match &args.target {
        Some(name) if config.targets.iter().any(|target| target.name == *name) => vec![name.clone()],
        Some(name) => {
            let hint =
                crate::suggest::nearest(name, config.targets.iter().map(|target| target.name.as_str()));
            return Err(Failure::Usage(format!("there is no target `{name}`{hint}")));
        }
        None => config.targets.iter().map(|target| target.name.clone()).collect(),
    };
    let search = Search {
        kind: args.kind.as_deref(),
        prefix: args.token.as_deref(),
        user: args.user.as_deref(),
        bad: args.bad,
        limit: args.limit,
        ..Search::default()
    };
    let now = store.now()?;
    let period = (now.plus(-i64::from(args.hours) * HOUR), Instant::MAX);
    let mut found = Vec::new();
    for target in &targets {
        found.extend(store.read(|db| signals::search(db, target, period, &search))?);
    }
    found.sort_by_key(|signal| std::cmp::Reverse(signal.id));
    found.truncate(args.limit as usize);
    if found.is_empty() && args.format == Format::Table {
        super::super::print("no signal\n")?;
    } else {
        super::super::print(&sheet(&found).render(args.format))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn sheet(found: &[Kept]) -> Sheet {
    let row = |signal: &Kept| {
        let users: Vec<&str> =
            [&signal.user, &signal.other].into_iter().flatten().map(String::as_str).collect();
        vec![
            clock::readable(signal.at.unwrap_or(signal.seen_at)),
            signal.kind.clone(),
            signal.severity.clone().unwrap_or_default(),
            signal.prefix.clone().unwrap_or_default(),
            users.join(", "),
            signal.reason.clone().unwrap_or_default(),
            signal.fit.clone().unwrap_or_default(),
            signal.source.clone(),
        ]
    };
    let header = ["time", "signal", "severity", "token", "user", "reason", "in the table", "source"];
    Sheet {
        kind: "signals",
        header: header.map(str::to_owned).to_vec(),
        rows: found.iter().map(row).collect(),
        documents: found.iter().map(logs::kept_json).collect(),
    }
}

pub(super) fn sources(args: &SourcesArgs) -> Result<ExitCode, Failure> {
    let (config, store) = store(&args.config)?;
    let now = store.now()?;
    let mut rows = Vec::new();
    let mut shown = Vec::new();
    for source in &config.logs.sources {
        let kept = store.read(|db| logs::find_source(db, &source.name))?.unwrap_or_default();
        let document = api_types::Source::of(source, kept.clone(), now);
        rows.push(row(&source.name, &kept, document.voice()));
        shown.push(api_types::json(document));
    }
    let header = ["source", "target", "heard last", "voice", "lines", "signals", "dropped"];
    let header = header.map(str::to_owned).to_vec();
    let sheet = Sheet { kind: "sources", header, rows, documents: shown };
    super::super::print(&sheet.render(args.format))?;
    Ok(ExitCode::SUCCESS)
}

fn row(name: &str, kept: &LogSource, voice: &str) -> Vec<String> {
    let count = |what: &str| kept.counters.get(what).and_then(Value::as_u64).unwrap_or(0);
    let signals: u64 = kept
        .counters
        .iter()
        .filter(|(what, _)| what.starts_with("signals/"))
        .filter_map(|(_, count)| count.as_u64())
        .sum();
    let reasons = [
        ("overlong", "too long"),
        ("truncated", "cut off"),
        ("repeated", "repeated"),
        ("faulty", "faulty"),
        ("datagrams", "datagrams lost"),
        ("refused", "refused"),
        ("gaps", if count("gaps") == 1 { "gap" } else { "gaps" }),
    ];
    let dropped: Vec<String> = reasons
        .iter()
        .filter(|(what, _)| count(what) > 0)
        .map(|(what, said)| format!("{} {said}", count(what)))
        .collect();
    vec![
        name.to_owned(),
        kept.target.clone(),
        kept.heard_at.map(clock::readable).unwrap_or_default(),
        voice.to_owned(),
        count("lines").to_string(),
        signals.to_string(),
        dropped.join(", "),
    ]
}
