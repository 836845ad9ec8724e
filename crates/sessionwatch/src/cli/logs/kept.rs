//! `logs list` and `logs sources`: what the watch has read.

use std::process::ExitCode;

use jiff::SignedDuration;
use serde_json::Value;
use sessionwatch_app::{
    api_types,
    app::{
        error::StoreError,
        logs::{self, LogEventQuery, LogEventRecord, LogSourceRecord, LogSourceStatus},
    },
    logs::log_event_json,
    output::{OutputFormat, table::OutputTable},
};
use sessionwatch_clock as clock;
use sessionwatch_core::{period::Period, timestamp::UtcTimestamp};

use super::super::{Failure, block_on, opening::open_existing_app, target::ConfigArgs};

/// List the signals that the watch has read, the latest first
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LogEventListArgs {
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
    format: OutputFormat,
}

/// Say of each source when it was heard last, what was read, and what was dropped and why
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LogSourcesArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How the list is written
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
}

pub(super) fn list_log_events(args: &LogEventListArgs) -> Result<ExitCode, Failure> {
    let app = open_existing_app(&args.config)?;
    let config = app.config();
    let targets: Vec<String> = match &args.target {
        Some(name) if config.targets.iter().any(|target| target.name == *name) => vec![name.clone()],
        Some(name) => {
            let hint = sessionwatch_core::suggest::did_you_mean(
                name,
                config.targets.iter().map(|target| target.name.as_str()),
            );
            return Err(Failure::Usage(format!("there is no target `{name}`{hint}")));
        }
        None => config.targets.iter().map(|target| target.name.clone()).collect(),
    };
    let from = app.clock.now() - SignedDuration::from_hours(args.hours.into());
    let query = LogEventQuery {
        targets,
        kind: args.kind.clone(),
        token_prefix: args.token.clone(),
        user: args.user.clone(),
        only_warnings: args.bad,
        period: Period { from, to: UtcTimestamp::MAX },
        before: None,
        limit: args.limit,
    };
    let mut found = block_on(async { Ok(logs::search_log_events(&app, query).await?) })?;
    found.truncate(args.limit as usize);
    if found.is_empty() && args.format == OutputFormat::Table {
        super::super::print_text("no signal\n")?;
    } else {
        super::super::print_text(&build_log_event_table(&found)?.render(args.format))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn build_log_event_table(found: &[LogEventRecord]) -> Result<OutputTable, StoreError> {
    let row = |signal: &LogEventRecord| {
        let users: Vec<&str> =
            [&signal.user, &signal.other_user].into_iter().flatten().map(String::as_str).collect();
        vec![
            clock::format_utc(signal.at.unwrap_or(signal.read_at)),
            signal.kind.clone(),
            signal.severity.clone().unwrap_or_default(),
            signal.token_prefix.clone().unwrap_or_default(),
            users.join(", "),
            signal.reason.clone().unwrap_or_default(),
            signal.match_kind.clone().unwrap_or_default(),
            signal.source.clone(),
        ]
    };
    let header = ["time", "signal", "severity", "token", "user", "reason", "in the table", "source"];
    Ok(OutputTable {
        json_key: "log_events",
        header: header.map(str::to_owned).to_vec(),
        rows: found.iter().map(row).collect(),
        json_rows: found.iter().map(log_event_json).collect::<Result<_, _>>()?,
    })
}

pub(super) fn list_log_sources(args: &LogSourcesArgs) -> Result<ExitCode, Failure> {
    let app = open_existing_app(&args.config)?;
    let now = app.clock.now();
    let mut rows = Vec::new();
    let mut shown = Vec::new();
    for LogSourceStatus { config: source, record } in
        block_on(async { Ok(logs::list_log_sources(&app).await?) })?
    {
        let document = api_types::LogSourceDto::from_config(&source, record.clone(), now);
        rows.push(build_source_row(&source.name, &record, document.activity()));
        shown.push(api_types::to_json_value(document)?);
    }
    let header = ["source", "target", "last line", "activity", "lines", "log events", "dropped"];
    let header = header.map(str::to_owned).to_vec();
    let sheet = OutputTable { json_key: "sources", header, rows, json_rows: shown };
    super::super::print_text(&sheet.render(args.format))?;
    Ok(ExitCode::SUCCESS)
}

fn build_source_row(name: &str, kept: &LogSourceRecord, voice: &str) -> Vec<String> {
    let count = |what: &str| kept.counters.get(what).and_then(Value::as_u64).unwrap_or(0);
    let signals: u64 = kept
        .counters
        .iter()
        .filter(|(what, _)| what.starts_with("log_events/"))
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
        kept.last_line_at.map(clock::format_utc).unwrap_or_default(),
        voice.to_owned(),
        count("lines").to_string(),
        signals.to_string(),
        dropped.join(", "),
    ]
}
