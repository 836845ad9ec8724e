//! `logs`: log events about sessions, from the application's logs.

mod correlate;
mod events;
mod follow;
mod scan;

use std::process::ExitCode;

use serde_json::json;
use sessionwatch_app::{config::Config, logs::LocatedLogEvent, preflight};
use sessionwatch_clock as clock;
use sessionwatch_logs::{explain::explain_text, matchers::Matchers, timestamps::TimestampDefaults};

use super::{Failure, choices::DocumentFormat, target_args::ConfigArgs};

/// Find session events in application logs
#[derive(Debug, clap::Subcommand)]
pub(super) enum LogsCommand {
    Scan(scan::LogsScanArgs),
    Follow(follow::LogsFollowArgs),
    Explain(ExplainArgs),
    Correlate(correlate::LogsCorrelateArgs),
    Events(events::LogEventListArgs),
    Sources(events::LogSourcesArgs),
}

/// Explain how a log line is parsed
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// Log line, or - to read lines from stdin
    #[arg(value_name = "LINE")]
    line: String,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: DocumentFormat,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Bytes of stdin that are read.
const MAX_STDIN_BYTES: u64 = 1 << 20;

pub(super) fn run(args: &LogsCommand) -> Result<ExitCode, Failure> {
    match args {
        LogsCommand::Scan(args) => scan::run(args),
        LogsCommand::Follow(args) => follow::run(args),
        LogsCommand::Events(args) => events::list_log_events(args),
        LogsCommand::Correlate(args) => correlate::run(args),
        LogsCommand::Sources(args) => events::list_log_sources(args),
        LogsCommand::Explain(args) => explain_line(args),
    }
}

/// Returns the matchers of a configuration. Times without a year are taken to be near an instant.
fn build_matchers(config: &Config, reference: sessionwatch_core::timestamp::UtcTimestamp) -> Matchers {
    Matchers::new(config.logs.line_patterns(), TimestampDefaults { offset_us: 0, reference })
}

fn explain_line(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    use std::io::Read as _;
    let config = preflight::load_config(args.config.config.as_deref())?;
    let matchers = build_matchers(&config, clock::now());
    let mut text = args.line.clone().into_bytes();
    if args.line == "-" {
        text.clear();
        std::io::stdin().take(MAX_STDIN_BYTES).read_to_end(&mut text)?;
    }
    let explanation = explain_text(&matchers, &text);
    let events: Vec<LocatedLogEvent> = explanation
        .events
        .iter()
        .map(|event| {
            let place =
                sessionwatch_logs::line_reader::LogExcerpt { from: 0, to: text.len() as u64, text: &text };
            LocatedLogEvent::new(event.clone(), place, "argument", matchers.patterns())
        })
        .collect();
    if args.format == DocumentFormat::Json {
        let stages: Vec<_> = explanation
            .stages
            .iter()
            .map(|(stage, finding)| json!({ "stage": stage, "text": finding }))
            .collect();
        let json_events: Vec<_> = events.iter().map(LocatedLogEvent::to_json).collect();
        let document = json!({ "schema": 2, "stages": stages, "log_events": json_events });
        super::print_text(&format!("{document:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines: String = explanation
        .stages
        .iter()
        .map(|(stage, finding)| {
            format!("{stage:<12} {}\n", sessionwatch_app::sanitize::sanitize_text(finding))
        })
        .collect();
    if events.is_empty() {
        lines.push_str("log events   none\n");
    }
    for event in events {
        lines.push_str(&format!("log event    {}\n", event.to_line()));
    }
    super::print_text(&lines)?;
    Ok(ExitCode::SUCCESS)
}
