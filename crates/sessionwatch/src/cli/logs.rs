//! `logs`: what the application's logs say about sessions.

mod follow;
mod join;
mod kept;
mod scan;

use std::process::ExitCode;

use serde_json::json;
use sessionwatch_app::{config::Config, logs::Found, preflight};
use sessionwatch_clock as clock;
use sessionwatch_logs::{explain::explain, matchers::Matchers, time::Clock};

use super::{Failure, target::ConfigArgs};

/// Read the application's logs, and say what they tell about sessions
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    Scan(scan::Args),
    Follow(follow::Args),
    List(kept::ListArgs),
    Join(join::Args),
    Sources(kept::SourcesArgs),
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
    format: Shape,
}

/// How one thing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    Text,
    Json,
}

/// Bytes of standard input that are explained.
const LONGEST: u64 = 1 << 20;

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match args {
        Args::Scan(args) => scan::run(args),
        Args::Follow(args) => follow::run(args),
        Args::List(args) => kept::list(args),
        Args::Join(args) => join::run(args),
        Args::Sources(args) => kept::sources(args),
        Args::Explain(args) => explained(args),
    }
}

/// What is looked for, by a configuration; times without a year are near an instant.
fn grammar(config: &Config, near: sessionwatch_core::instant::Instant) -> Matchers {
    Matchers::new(config.logs.looked_for(), Clock { offset_us: 0, near })
}

fn explained(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    use std::io::Read as _;
    let config = preflight::load(args.config.config.as_deref())?;
    let grammar = grammar(&config, clock::now());
    let mut text = args.line.clone().into_bytes();
    if args.line == "-" {
        text.clear();
        std::io::stdin().take(LONGEST).read_to_end(&mut text)?;
    }
    let explanation = explain(&grammar, &text);
    let signals: Vec<Found> = explanation
        .signals
        .iter()
        .map(|signal| {
            let place = sessionwatch_logs::reader::Place { from: 0, to: text.len() as u64, text: &text };
            Found::of(signal.clone(), place, "argument", grammar.patterns())
        })
        .collect();
    if args.format == Shape::Json {
        let stages: Vec<_> =
            explanation.stages.iter().map(|(stage, said)| json!({ "stage": stage, "said": said })).collect();
        let signals: Vec<_> = signals.iter().map(Found::json).collect();
        let document = json!({ "schema": 1, "stages": stages, "signals": signals });
        super::print(&format!("{document:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut said: String = explanation
        .stages
        .iter()
        .map(|(stage, said)| format!("{stage:<12} {}\n", sessionwatch_app::sanitize::printable(said)))
        .collect();
    if signals.is_empty() {
        said.push_str("signals      none\n");
    }
    for signal in signals {
        said.push_str(&format!("signal       {}\n", signal.line()));
    }
    super::print(&said)?;
    Ok(ExitCode::SUCCESS)
}
