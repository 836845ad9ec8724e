//! `report`: the weekly checklist, its history, and attestations.

use std::process::ExitCode;

use serde_json::Value;
use sessionwatch_app::{
    app::checklists::{self, NewAttestation},
    checklist::{self, Checklist, USER_REPORTS_ITEM},
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::ChecklistVerdict, duration::DAY, period::Period, timestamp::UtcTimestamp,
};

use super::{
    Failure,
    actor::ActorArgs,
    alerts::history,
    opening,
    target_args::{ConfigArgs, select_configured},
    values::{DateValue, parse_date, parse_instant},
};

/// Weekly checklist, history and attestations
#[derive(Debug, clap::Subcommand)]
pub(super) enum ReportCommand {
    /// Print the checklist for a week
    #[command(
        long_about = "Print the checklist for a week\n\nExit code 1 if an item fails, 3 if one is unknown."
    )]
    Checklist(ChecklistArgs),
    /// Search past alerts and changes in check results
    History(history::AlertHistoryArgs),
    /// Attest a checklist item that needs human judgment
    Attest(AttestArgs),
}

/// The format of a checklist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ChecklistFormat {
    /// Human-readable text
    Table,
    /// For issues and wikis
    Markdown,
    /// One JSON document
    Json,
    /// One page, to read or print
    Html,
}

/// The targets and the period of a checklist.
#[derive(Debug, clap::Args)]
pub(super) struct ChecklistArgs {
    /// Configured target name [default: all]
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// Last day of the 7-day period [default: up to now]
    #[arg(long, value_parser = parse_date, value_name = "DATE", conflicts_with_all = ["from", "to"])]
    week_ending: Option<DateValue>,
    /// Start date [default: 7 days before the end]
    #[arg(long, value_parser = parse_instant, value_name = "DATE")]
    from: Option<UtcTimestamp>,
    /// End date [default: now]
    #[arg(long, value_parser = parse_instant, value_name = "DATE")]
    to: Option<UtcTimestamp>,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: ChecklistFormat,
    #[command(flatten)]
    config: ConfigArgs,
}

/// An attestation.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("result").required(true).args(["passes", "fails"]))]
pub(super) struct AttestArgs {
    /// Configured target name
    #[arg(value_name = "TARGET")]
    target: String,
    /// Checklist item
    #[arg(long, value_parser = [USER_REPORTS_ITEM], default_value = USER_REPORTS_ITEM)]
    item: String,
    /// The item passes
    #[arg(long)]
    passes: bool,
    /// The item fails
    #[arg(long)]
    fails: bool,
    /// Evidence: what was checked, and the result
    #[arg(long, value_name = "TEXT")]
    note: String,
    #[command(flatten)]
    actor: ActorArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &ReportCommand) -> Result<ExitCode, Failure> {
    let now = clock::now();
    match args {
        ReportCommand::Checklist(args) => write_checklists(args, now),
        ReportCommand::History(args) => {
            super::print_text(&history::run(args, now)?)?;
            Ok(ExitCode::SUCCESS)
        }
        ReportCommand::Attest(args) => {
            super::print_text(&create_attestation(args)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn write_checklists(args: &ChecklistArgs, now: UtcTimestamp) -> Result<ExitCode, Failure> {
    let period = parse_period(args, now)?;
    let app = opening::open_existing_app(&args.config)?;
    let targets = select_configured(&app.config(), args.target.as_deref())?;
    let lists = super::block_on(async { Ok(checklists::load_checklists(&app, targets, period).await?) })?;
    let text = render_checklists(&lists, args.format);
    if args.format == ChecklistFormat::Table {
        super::print_readable(&text)?
    } else {
        super::print_text(&text)?
    }
    let verdicts: Vec<ChecklistVerdict> = lists.iter().map(Checklist::verdict).collect();
    Ok(match ChecklistVerdict::combine_all(verdicts.iter()) {
        ChecklistVerdict::Passing => ExitCode::SUCCESS,
        ChecklistVerdict::Failing => ExitCode::from(1),
        ChecklistVerdict::Unknown(_) => ExitCode::from(3),
    })
}

/// Returns the period of a checklist. It never extends beyond now.
fn parse_period(args: &ChecklistArgs, now: UtcTimestamp) -> Result<Period, Failure> {
    let (from, to) = match args.week_ending {
        Some(end) => {
            // A date includes all of that day.
            let end = if end.is_whole_day { end.at + DAY } else { end.at };
            (end - 7 * DAY, end)
        }
        None => {
            let to = args.to.unwrap_or(now);
            (args.from.unwrap_or(to - 7 * DAY), to)
        }
    };
    let to = to.min(now);
    if from >= to {
        return Err(Failure::Usage("the period must start before it ends, and before now".into()));
    }
    Ok(Period { from, to })
}

/// Renders checklists. In JSON, one is a document, and several are a list.
fn render_checklists(lists: &[Checklist], format: ChecklistFormat) -> String {
    let each = |write: fn(&Checklist) -> String| lists.iter().map(write).collect::<Vec<_>>().join("\n");
    match (format, lists) {
        (ChecklistFormat::Table, _) => each(Checklist::render_text),
        (ChecklistFormat::Markdown, _) => each(Checklist::render_markdown),
        (ChecklistFormat::Html, _) => checklist::render_html(lists),
        (ChecklistFormat::Json, [list]) => format!("{:#}\n", list.to_json()),
        (ChecklistFormat::Json, _) => {
            format!("{:#}\n", Value::from_iter(lists.iter().map(Checklist::to_json)))
        }
    }
}

fn create_attestation(args: &AttestArgs) -> Result<String, Failure> {
    let app = opening::open_existing_app(&args.config)?;
    select_configured(&app.config(), Some(&args.target))?;
    let AttestArgs { target, item, note, passes, .. } = args;
    let new = NewAttestation { target: target.clone(), holds: *passes, note: note.clone() };
    let actor = args.actor.actor();
    super::block_on(async { Ok(checklists::record_attestation(&app, &actor, new).await?) })?;
    let result = if *passes { "passes" } else { "fails" };
    Ok(format!("Attested by {}: {item} {result} on {target}.\n", actor.name()))
}
