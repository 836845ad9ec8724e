//! `logs`: what the application's logs say about sessions.

mod follow;
mod join;
mod kept;
mod scan;

use std::process::ExitCode;

use serde_json::json;
use sessionwatch_app::{config::Config, logs::LocatedLogEvent, preflight};
use sessionwatch_clock as clock;
use sessionwatch_logs::{explain::explain_text, matchers::Matchers, timestamps::TimestampDefaults};

use super::{Failure, target::ConfigArgs};

/// Read the application's logs, and say what they tell about sessions
#[derive(Debug, clap::Subcommand)]
pub(super) enum LogsCommand {
    Scan(scan::LogsScanArgs),
    Follow(follow::LogsFollowArgs),
    List(kept::LogEventListArgs),
    Join(join::LogsCorrelateArgs),
    Sources(kept::LogSourcesArgs),
    Explain(ExplainArgs),
}

/// Say what becomes of a line: every stage, and why it did or did not match
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// The line, or several lines; `-` reads them from standard input
    #[arg(value_name = "LINE")]
    line: String,
    #[command(flatten)]
    config: ConfigArgs,
    /// How it is written
    #[arg(long, value_enum, default_value = "text")]
    format: DocumentFormat,
}

/// How one thing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DocumentFormat {
    Text,
    Json,
}

/// Bytes of standard input that are explained.
const MAX_STDIN_BYTES: u64 = 1 << 20;

pub(super) fn run(args: &LogsCommand) -> Result<ExitCode, Failure> {
    match args {
        LogsCommand::Scan(args) => scan::run(args),
        LogsCommand::Follow(args) => follow::run(args),
        LogsCommand::List(args) => kept::list_log_events(args),
        LogsCommand::Join(args) => join::run(args),
        LogsCommand::Sources(args) => kept::list_log_sources(args),
        LogsCommand::Explain(args) => explain_line(args),
    }
}

/// What is looked for, by a configuration; times without a year are near an instant.
fn build_matchers(config: &Config, near: sessionwatch_core::timestamp::UtcTimestamp) -> Matchers {
    Matchers::new(config.logs.line_patterns(), TimestampDefaults { offset_us: 0, reference: near })
}

fn explain_line(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    use std::io::Read as _;
    let config = preflight::load_config(args.config.config.as_deref())?;
    let grammar = build_matchers(&config, clock::now());
    let mut text = args.line.clone().into_bytes();
    if args.line == "-" {
        text.clear();
        std::io::stdin().take(MAX_STDIN_BYTES).read_to_end(&mut text)?;
    }
    let explanation = explain_text(&grammar, &text);
    let signals: Vec<LocatedLogEvent> = explanation
        .events
        .iter()
        .map(|signal| {
            let place = sessionwatch_logs::reader::LogExcerpt { from: 0, to: text.len() as u64, text: &text };
            LocatedLogEvent::new(signal.clone(), place, "argument", grammar.patterns())
        })
        .collect();
    if args.format == DocumentFormat::Json {
        let stages: Vec<_> =
            explanation.stages.iter().map(|(stage, said)| json!({ "stage": stage, "text": said })).collect();
        let signals: Vec<_> = signals.iter().map(LocatedLogEvent::to_json).collect();
        let document = json!({ "schema": 2, "stages": stages, "log_events": signals });
        super::print_text(&format!("{document:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut said: String = explanation
        .stages
        .iter()
        .map(|(stage, said)| format!("{stage:<12} {}\n", sessionwatch_app::sanitize::sanitize_text(said)))
        .collect();
    if signals.is_empty() {
        said.push_str("signals      none\n");
    }
    for signal in signals {
        said.push_str(&format!("signal       {}\n", signal.to_line()));
    }
    super::print_text(&said)?;
    Ok(ExitCode::SUCCESS)
}
