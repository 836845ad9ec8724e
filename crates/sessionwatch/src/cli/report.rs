//! `report`: the checklist of a week, what happened in it, and what people vouch for.

use std::{path::PathBuf, process::ExitCode};

use serde_json::Value;
use sessionwatch_app::{
    app::checklists::{self, NewAttestation},
    checklist::{self, Checklist, USER_REPORTS_ITEM},
    config::{Config, Target},
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::ChecklistVerdict, duration::DAY, period::Period, suggest::did_you_mean,
    timestamp::UtcTimestamp,
};

use super::{
    Failure,
    actor::ActorArgs,
    alerts::history::{self, parse_date_option},
    opening,
    target::ConfigArgs,
};

/// Make the checklist of a week, see what happened in it, or vouch for what no query can say
#[derive(Debug, clap::Subcommand)]
pub(super) enum ReportCommand {
    /// Judge a week by what the watch saw in it: exit code 1 if an item of the guide fails, 3 if one is not known
    Checklist(ChecklistArgs),
    /// Search what happened: alerts that fired, were repeated or resolved, and verdicts that changed
    History(history::AlertHistoryArgs),
    /// Say whether an item holds that only a person can know of
    Attest(AttestArgs),
}

/// How a checklist is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ChecklistFormat {
    /// For people.
    Table,
    /// For issues and wikis.
    Markdown,
    /// One document.
    Json,
    /// One page, to be read or printed.
    Html,
}

/// Which checklist.
#[derive(Debug, clap::Args)]
pub(super) struct ChecklistArgs {
    /// Name of a configured target; without one, every one
    target: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// The seven days that end with this date, or at this instant [default: now]
    #[arg(long, value_name = "DATE", conflicts_with_all = ["from", "to"])]
    week_ending: Option<String>,
    /// From this date or instant on, such as 2026-01-31 or 2026-01-31T12:00:00Z [default: 7 days before the end]
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Before this date or instant [default: now]
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// How the checklist is written
    #[arg(long, value_enum, default_value = "table")]
    format: ChecklistFormat,
    /// Where it is written to [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What holds, or does not, and who says so.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("says").required(true).args(["holds", "fails"]))]
pub(super) struct AttestArgs {
    /// Name of a configured target
    target: String,
    #[command(flatten)]
    config: ConfigArgs,
    /// The item of the checklist
    #[arg(long, value_parser = [USER_REPORTS_ITEM], default_value = USER_REPORTS_ITEM)]
    item: String,
    #[command(flatten)]
    actor: ActorArgs,
    /// What was looked at, and what came of it
    #[arg(long)]
    note: String,
    /// It holds: nobody reported anything
    #[arg(long)]
    holds: bool,
    /// It does not
    #[arg(long)]
    fails: bool,
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
    let targets = select_targets(&app.config(), args.target.as_deref())?;
    let lists = super::block_on(async { Ok(checklists::load_checklists(&app, targets, period).await?) })?;
    let text = render_checklists(&lists, args.format);
    match &args.output {
        Some(path) => std::fs::write(path, text).map_err(|_| {
            let path = path.display();
            Failure::Usage(format!("cannot write {path}: is the folder there, and may it be written?"))
        })?,
        None if args.format == ChecklistFormat::Table => super::print_readable(&text)?,
        None => super::print_text(&text)?,
    }
    let verdicts: Vec<ChecklistVerdict> = lists.iter().map(Checklist::verdict).collect();
    Ok(match ChecklistVerdict::combine_all(verdicts.iter()) {
        ChecklistVerdict::Passing => ExitCode::SUCCESS,
        ChecklistVerdict::Failing => ExitCode::from(1),
        ChecklistVerdict::Unknown(_) => ExitCode::from(3),
    })
}

/// From when until when, never beyond now.
fn parse_period(args: &ChecklistArgs, now: UtcTimestamp) -> Result<Period, Failure> {
    let option = args.week_ending.as_deref();
    let (from, to) = match parse_date_option("week-ending", option)? {
        Some(end) => {
            // A date means all of that day.
            let day = option.is_some_and(|text| text.parse::<jiff::Timestamp>().is_err());
            let end = if day { end + DAY } else { end };
            (end - 7 * DAY, end)
        }
        None => {
            let to = parse_date_option("to", args.to.as_deref())?.unwrap_or(now);
            (parse_date_option("from", args.from.as_deref())?.unwrap_or(to - 7 * DAY), to)
        }
    };
    let to = to.min(now);
    if from >= to {
        return Err(Failure::Usage("the period must begin before it ends, and before now".into()));
    }
    Ok(Period { from, to })
}

/// The targets that are meant, at least one.
fn select_targets(config: &Config, name: Option<&str>) -> Result<Vec<Target>, Failure> {
    config.require_resolved(name)?;
    let meant = |target: &&Target| name.is_none_or(|name| target.name == name);
    let found: Vec<Target> = config.targets.iter().filter(meant).cloned().collect();
    match name {
        _ if !found.is_empty() => Ok(found),
        None => Err(Failure::Usage(
            "no target is configured: `sessionwatch init` writes a file that names one".into(),
        )),
        Some(name) => {
            let hint = did_you_mean(name, config.targets.iter().map(|target| target.name.as_str()));
            Err(Failure::Usage(format!("there is no target `{name}`{hint}")))
        }
    }
}

/// One checklist is one JSON document; several are a list of them.
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
    select_targets(&app.config(), Some(&args.target))?;
    let AttestArgs { target, item, note, holds, .. } = args;
    let new = NewAttestation { target: target.clone(), holds: *holds, note: note.clone() };
    let actor = args.actor.actor();
    super::block_on(async { Ok(checklists::record_attestation(&app, &actor, new).await?) })?;
    let says = if *holds { "holds" } else { "does not hold" };
    Ok(format!("{} says that {item} {says} on {target}\n", actor.name()))
}
