//! `alerts`: what the watch found, and what people say of it.

pub(super) mod history;

use std::{fmt::Write as _, process::ExitCode};

use serde_json::Value;
use sessionwatch_app::{
    api_types,
    app::{
        AppError,
        alerts::{self, AlertFilter, AlertRecord, AlertRef},
        error::StoreError,
        silences::{self, NewSilence, SilenceRecord},
    },
    output::{OutputFormat, table::OutputTable},
    sanitize::sanitize_text,
};
use sessionwatch_clock as clock;
use sessionwatch_core::alert::AlertState;

use super::{Failure, actor::ActorArgs, opening::open_existing_app, target::ConfigArgs};

/// Show what the watch found, look after it, or silence it
#[derive(Debug, clap::Subcommand)]
pub(super) enum AlertsCommand {
    /// List the alerts that are not in order
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// Also those that are
        #[arg(long)]
        all: bool,
        /// How the list is written
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
    },
    /// Show an alert in full, with what was found last
    Show {
        #[command(flatten)]
        which: AlertRefArgs,
        #[command(flatten)]
        config: ConfigArgs,
        /// How the alert is written
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
    },
    /// Search what happened: alerts that fired, were repeated or resolved, and verdicts that changed
    History(history::AlertHistoryArgs),
    /// Say that somebody looks after a firing alert: it is not told again until it is resolved
    Ack(AlertNoteArgs),
    /// Say that a firing alert is over: it is told as resolved, and fires again if it still fails
    Resolve(AlertNoteArgs),
    /// Tell nothing of a target, a check or both for a while
    Silence(SilenceArgs),
    /// End a silence
    Unsilence {
        /// Its number
        id: i64,
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        actor: ActorArgs,
    },
    /// List the silences
    Silences {
        #[command(flatten)]
        config: ConfigArgs,
        /// How the list is written
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
    },
}

/// Which alert.
#[derive(Debug, clap::Args)]
pub(super) struct AlertRefArgs {
    /// Name of the target
    target: String,
    /// Id of the check
    check: String,
}

/// Which alert, and who says what of it.
#[derive(Debug, clap::Args)]
pub(super) struct AlertNoteArgs {
    #[command(flatten)]
    which: AlertRefArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    actor: ActorArgs,
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
    /// Only findings that are about nobody else than this user, or this prefix of a token
    #[arg(long, value_name = "USER|PREFIX")]
    subject: Option<String>,
    /// For how many minutes
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=525_600), value_name = "MINUTES")]
    minutes: i64,
    #[command(flatten)]
    actor: ActorArgs,
    /// Why
    #[arg(long)]
    note: String,
}

pub(super) fn run(args: &AlertsCommand) -> Result<ExitCode, Failure> {
    let text = match args {
        AlertsCommand::List { config, all, format } => {
            let filter = if *all { AlertFilter::All } else { AlertFilter::Active };
            let app = open_existing_app(config)?;
            let kept = super::block_on(async { Ok(alerts::list_alerts(&app, filter).await?) })?;
            if kept.is_empty() && *format == OutputFormat::Table {
                "no alert\n".into()
            } else {
                build_alert_table(&kept)?.render(*format)
            }
        }
        AlertsCommand::Show { which, config, format } => describe_alert(which, config, *format)?,
        AlertsCommand::History(args) => history::run(args, clock::now())?,
        AlertsCommand::Ack(args) => acknowledge_alert(args)?,
        AlertsCommand::Resolve(args) => resolve_alert(args)?,
        AlertsCommand::Silence(args) => create_silence(args)?,
        AlertsCommand::Unsilence { id, config, actor } => {
            let (app, actor) = (open_existing_app(config)?, actor.actor());
            let missing = format!("there is no silence {id}: `sessionwatch alerts silences` lists them");
            let ended = async { Ok(silences::expire_silence(&app, &actor, *id).await) };
            or_usage(super::block_on(ended)?, missing)?;
            format!("silence {id} has ended\n")
        }
        AlertsCommand::Silences { config, format } => {
            let app = open_existing_app(config)?;
            let silences = super::block_on(async { Ok(silences::list_silences(&app).await?) })?;
            if silences.is_empty() && *format == OutputFormat::Table {
                "no silence\n".into()
            } else {
                build_silence_table(&silences)?.render(*format)
            }
        }
    };
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

impl AlertRefArgs {
    /// The same, as use cases take it.
    fn alert_ref(&self) -> AlertRef {
        AlertRef { target: self.target.clone(), check: self.check.clone() }
    }
}

/// Says in a command's words that there is not what it is about.
fn or_usage<T>(outcome: Result<T, AppError>, missing: String) -> Result<T, Failure> {
    outcome.map_err(|error| match error {
        AppError::NotFound(_) | AppError::Conflict(_) => Failure::Usage(missing),
        other => other.into(),
    })
}

/// Says that an alert does not fire.
fn or_not_firing(outcome: Result<(), AppError>, which: &AlertRefArgs) -> Result<(), Failure> {
    let AlertRefArgs { target, check } = which;
    let missing =
        format!("no alert of `{check}` fires on `{target}`: `sessionwatch alerts list` shows those that do");
    or_usage(outcome, missing)
}

fn acknowledge_alert(args: &AlertNoteArgs) -> Result<String, Failure> {
    let AlertRefArgs { target, check } = &args.which;
    let actor = args.actor.actor();
    let app = open_existing_app(&args.config)?;
    let acknowledged = async {
        Ok(alerts::acknowledge_alert(&app, &actor, args.which.alert_ref(), args.note.clone()).await)
    };
    or_not_firing(super::block_on(acknowledged)?, &args.which)?;
    Ok(format!("{} looks after {check} on {target}\n", actor.name()))
}

fn resolve_alert(args: &AlertNoteArgs) -> Result<String, Failure> {
    let AlertRefArgs { target, check } = &args.which;
    let actor = args.actor.actor();
    let app = open_existing_app(&args.config)?;
    let resolved = async {
        Ok(alerts::resolve_firing_alert(&app, &actor, args.which.alert_ref(), args.note.clone()).await)
    };
    or_not_firing(super::block_on(resolved)?, &args.which)?;
    Ok(format!("{check} on {target} is resolved; it fires again if it still fails\n"))
}

fn describe_alert(
    which: &AlertRefArgs,
    config: &ConfigArgs,
    format: OutputFormat,
) -> Result<String, Failure> {
    let app = open_existing_app(config)?;
    let kept = super::block_on(async { Ok(alerts::find_alert(&app, which.alert_ref()).await?) })?;
    let Some(kept) = kept else {
        return Err(Failure::Usage(format!(
            "there is no alert of `{}` on `{}`: `sessionwatch alerts list --all` shows those that there are",
            which.check, which.target
        )));
    };
    if format != OutputFormat::Table {
        return Ok(build_alert_table(&[kept])?.render(format));
    }
    render_alert(&kept)
}

/// An alert with its last finding, for a person.
fn render_alert(kept: &AlertRecord) -> Result<String, Failure> {
    let mut text = format!(
        "{} on {} ({}): {}{}\n{}\n",
        kept.check,
        kept.target,
        kept.severity,
        kept.alert.state.name(),
        if kept.alert.is_stale { ", not known at present" } else { "" },
        sanitize_text(&kept.summary)
    );
    // Writing to a String cannot fail, here and below.
    if let AlertState::Pending { since, .. } | AlertState::Firing { since, .. } = kept.alert.state {
        let _ = writeln!(text, "since {}", clock::format_utc(since));
    }
    if let Some(owner) = &kept.acknowledged_by {
        let note = kept.note.as_ref().map(|note| format!(": {}", sanitize_text(note))).unwrap_or_default();
        let _ = writeln!(text, "{} looks after it{note}", sanitize_text(owner));
    }
    let finding = kept.parse_finding()?;
    for (name, key) in [("value", "value"), ("fails at", "threshold"), ("what to do", "action")] {
        match &finding[key] {
            Value::String(said) if !said.is_empty() => {
                _ = writeln!(text, "{name}: {}", sanitize_text(said));
            }
            Value::Number(number) => drop(writeln!(text, "{name}: {}", number.as_f64().unwrap_or_default())),
            _ => {}
        }
    }
    for row in finding["evidence"].as_array().into_iter().flatten() {
        let said = |key: &str| row[key].as_str().map(sanitize_text);
        let token = said("token_prefix").map(|prefix| format!("token {prefix}…"));
        let user = said("user").map(|user| format!("user {user}"));
        let parts: Vec<String> = [token, user, said("expires_at").map(|end| format!("ends {end}"))]
            .into_iter()
            .flatten()
            .collect();
        let _ = writeln!(text, "  {}", parts.join(" "));
    }
    for signal in finding["log_events"].as_array().into_iter().flatten() {
        let said = |key: &str| sanitize_text(signal[key].as_str().unwrap_or_default());
        let _ = writeln!(text, "  {} {}: {}", said("recorded_at"), said("source"), said("text"));
    }
    Ok(text)
}

fn create_silence(args: &SilenceArgs) -> Result<String, Failure> {
    let app = open_existing_app(&args.config)?;
    let new = NewSilence {
        target: args.target.clone(),
        check: args.check.clone(),
        subject: args.subject.clone(),
        minutes: args.minutes,
        note: args.note.clone(),
    };
    let actor = args.actor.actor();
    let created = super::block_on(async { Ok(silences::create_silence(&app, &actor, new).await?) })?;
    Ok(format!("silence {} holds until {}\n", created.id, clock::format_utc(created.until)))
}

fn build_alert_table(kept: &[AlertRecord]) -> Result<OutputTable, StoreError> {
    let since = |kept: &AlertRecord| {
        if let AlertState::Firing { since, .. } = kept.alert.state { Some(since) } else { None }
    };
    let state = |kept: &AlertRecord| {
        let stale = if kept.alert.is_stale { " (stale)" } else { "" };
        format!("{}{stale}", kept.alert.state.name())
    };
    let row = |kept: &AlertRecord| {
        vec![
            kept.target.clone(),
            kept.check.clone(),
            kept.severity.clone(),
            state(kept),
            since(kept).map(clock::format_utc).unwrap_or_default(),
            kept.acknowledged_by.clone().unwrap_or_default(),
            kept.summary.clone(),
        ]
    };
    Ok(OutputTable {
        json_key: "alerts",
        header: ["target", "check", "severity", "state", "since", "looked after by", "summary"]
            .map(str::to_owned)
            .to_vec(),
        rows: kept.iter().map(row).collect(),
        json_rows: kept
            .iter()
            .map(|kept| api_types::to_json_value(api_types::AlertDto::from_record(kept)))
            .collect::<Result<_, _>>()?,
    })
}

fn build_silence_table(silences: &[SilenceRecord]) -> Result<OutputTable, StoreError> {
    let all = |name: &Option<String>| name.clone().unwrap_or_else(|| "all".into());
    let row = |silence: &SilenceRecord| {
        vec![
            silence.id.to_string(),
            all(&silence.target),
            all(&silence.check),
            all(&silence.subject),
            clock::format_utc(silence.ends_at),
            silence.created_by.clone(),
            silence.note.clone(),
        ]
    };
    Ok(OutputTable {
        json_key: "silences",
        header: ["silence", "target", "check", "subject", "until", "by", "why"].map(str::to_owned).to_vec(),
        rows: silences.iter().map(row).collect(),
        json_rows: silences
            .iter()
            .map(|silence| api_types::to_json_value(api_types::SilenceDto::from_record(silence)))
            .collect::<Result<_, _>>()?,
    })
}
