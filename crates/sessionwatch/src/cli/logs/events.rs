//! `logs events` and `logs sources`: the log events that `serve` read, and their sources.

use std::process::ExitCode;

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
use sessionwatch_core::{period::Period, plural::ListTotal, timestamp::UtcTimestamp};

use super::super::{
    Failure, block_on,
    lists::{RAISE_LIMIT, cut_list, note_if_cut, render_list},
    opening::open_existing_app,
    target_args::{ConfigArgs, unknown_target},
    values::{Since, parse_since},
};

/// List log events, latest first
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LogEventListArgs {
    /// Only log events of this target
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Only this kind of log event, or this log check
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only log events with this token prefix
    #[arg(long, value_name = "PREFIX")]
    token: Option<String>,
    /// Only log events about this user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only warnings and errors
    #[arg(long)]
    warnings: bool,
    /// Start: a date, or how long ago, such as 24h
    #[arg(long, value_parser = parse_since, default_value = "24h", value_name = "DURATION|DATE")]
    since: Since,
    /// Maximum number of log events
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
    #[command(flatten)]
    config: ConfigArgs,
}

/// List log sources with their activity
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LogSourcesArgs {
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn list_log_events(args: &LogEventListArgs) -> Result<ExitCode, Failure> {
    let app = open_existing_app(&args.config)?;
    let config = app.config();
    let targets: Vec<String> = match &args.target {
        Some(name) if config.targets.iter().any(|target| target.name == *name) => vec![name.clone()],
        Some(name) => return Err(unknown_target(&config, name)),
        None => config.targets.iter().map(|target| target.name.clone()).collect(),
    };
    let from = args.since.resolve(app.clock.now());
    let query = LogEventQuery {
        targets,
        kind: args.kind.clone(),
        token_prefix: args.token.clone(),
        user: args.user.clone(),
        source: None,
        only_warnings: args.warnings,
        period: Period { from, to: UtcTimestamp::MAX },
        before: None,
        limit: args.limit + 1,
    };
    let mut found = block_on(async { Ok(logs::search_log_events(&app, query.clone()).await?) })?;
    if cut_list(&mut found, args.limit) {
        let total = block_on(async { Ok(logs::count_log_events(&app, query).await?) })?;
        note_if_cut("log events", found.len(), ListTotal::Exactly(total), RAISE_LIMIT);
    }
    super::super::print_text(&render_list(
        &build_log_event_table(&found)?,
        args.format,
        "matching log events",
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn build_log_event_table(found: &[LogEventRecord]) -> Result<OutputTable, StoreError> {
    let row = |event: &LogEventRecord| {
        let users: Vec<&str> =
            [&event.user, &event.other_user].into_iter().flatten().map(String::as_str).collect();
        vec![
            clock::format_utc(event.at.unwrap_or(event.read_at)),
            event.kind.clone(),
            event.severity.clone().unwrap_or_default(),
            event.token_prefix.clone().unwrap_or_default(),
            users.join(", "),
            event.reason.clone().unwrap_or_default(),
            event.match_kind.clone().unwrap_or_default(),
            event.source.clone(),
        ]
    };
    let header = ["time", "kind", "severity", "token prefix", "user", "reason", "match", "source"];
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
    let mut json_rows = Vec::new();
    for LogSourceStatus { config: source, record } in
        block_on(async { Ok(logs::list_log_sources(&app).await?) })?
    {
        let document = api_types::LogSourceDto::from_config(&source, record.clone(), now);
        rows.push(build_source_row(&source.name, &record, document.activity()));
        json_rows.push(api_types::to_json_value(document)?);
    }
    let header = ["source", "target", "last line", "activity", "lines", "log events", "dropped"];
    let header = header.map(str::to_owned).to_vec();
    let sheet = OutputTable { json_key: "sources", header, rows, json_rows };
    super::super::print_text(&render_list(&sheet, args.format, "log sources"))?;
    Ok(ExitCode::SUCCESS)
}

fn build_source_row(name: &str, record: &LogSourceRecord, activity: &str) -> Vec<String> {
    let count = |what: &str| record.counters.get(what).and_then(Value::as_u64).unwrap_or(0);
    let events: u64 = record
        .counters
        .iter()
        .filter(|(what, _)| what.starts_with("log_events/"))
        .filter_map(|(_, count)| count.as_u64())
        .sum();
    let reasons = [
        ("overlong", "too long"),
        ("truncated", "truncated"),
        ("repeated", "repeated"),
        ("faulty", "invalid"),
        ("datagrams", "datagrams lost"),
        ("refused", "refused"),
        ("gaps", if count("gaps") == 1 { "gap" } else { "gaps" }),
    ];
    let dropped: Vec<String> = reasons
        .iter()
        .filter(|(what, _)| count(what) > 0)
        .map(|(what, label)| format!("{} {label}", count(what)))
        .collect();
    vec![
        name.to_owned(),
        record.target.clone(),
        record.last_line_at.map(clock::format_utc).unwrap_or_default(),
        activity.to_owned(),
        count("lines").to_string(),
        events.to_string(),
        dropped.join(", "),
    ]
}
