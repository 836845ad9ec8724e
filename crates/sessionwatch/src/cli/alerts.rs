//! `alerts`: list, acknowledge, resolve and silence alerts.

pub(super) mod history;

use std::{fmt::Write as _, process::ExitCode};

use jiff::SignedDuration;
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
    report,
    sanitize::sanitize_text,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    alert::AlertState,
    duration::{MINUTE, from_days},
    timestamp::UtcTimestamp,
};

use super::{
    Failure,
    actor::ActorArgs,
    lists::{filtered_noun, render_list},
    opening::open_existing_app,
    target_args::{ConfigArgs, require_known_filter},
    values::duration_between,
};

/// List, acknowledge, resolve and silence alerts
#[derive(Debug, clap::Subcommand)]
pub(super) enum AlertsCommand {
    /// List pending and firing alerts
    List {
        /// Only alerts of this target
        #[arg(long, value_name = "TARGET")]
        target: Option<String>,
        /// Include passing and unknown checks
        #[arg(long)]
        all: bool,
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show an alert with its evidence
    Show {
        #[command(flatten)]
        alert: AlertRefArgs,
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Search past alerts and changes in check results
    History(history::AlertHistoryArgs),
    /// Acknowledge a firing alert (stops reminders)
    Ack(AlertNoteArgs),
    /// Resolve a firing alert
    ///
    /// It fires again if the check still fails.
    Resolve(AlertNoteArgs),
    /// Silence a target, a check, both or everything
    Silence(SilenceArgs),
    /// End a silence early
    Unsilence {
        /// Silence ID, as `alerts silences` shows it
        #[arg(value_name = "SILENCE")]
        id: i64,
        #[command(flatten)]
        actor: ActorArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// List silences
    Silences {
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

/// An alert, by its target and its check.
#[derive(Debug, clap::Args)]
pub(super) struct AlertRefArgs {
    /// Configured target name
    #[arg(value_name = "TARGET")]
    target: String,
    /// Check ID
    #[arg(value_name = "CHECK")]
    check: String,
}

/// An alert, and a note about it.
#[derive(Debug, clap::Args)]
pub(super) struct AlertNoteArgs {
    #[command(flatten)]
    alert: AlertRefArgs,
    /// Note for your team
    #[arg(long, default_value = "", value_name = "TEXT")]
    note: String,
    #[command(flatten)]
    actor: ActorArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A new silence.
#[derive(Debug, clap::Args)]
pub(super) struct SilenceArgs {
    /// Only this target
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Only this check
    #[arg(long, value_name = "CHECK")]
    check: Option<String>,
    /// Only findings in which every row is about this user or token prefix
    #[arg(long, value_name = "USER|PREFIX")]
    subject: Option<String>,
    /// Duration of the silence
    #[arg(long = "for", value_parser = duration_between(MINUTE, from_days(365)), value_name = "DURATION")]
    length: SignedDuration,
    /// Reason
    #[arg(long, value_name = "TEXT")]
    note: String,
    #[command(flatten)]
    actor: ActorArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &AlertsCommand) -> Result<ExitCode, Failure> {
    let text = match args {
        AlertsCommand::List { target, all, format, config } => {
            let filter = if *all { AlertFilter::All } else { AlertFilter::Active };
            let app = open_existing_app(config)?;
            let mut found = super::block_on(async { Ok(alerts::list_alerts(&app, filter).await?) })?;
            found.retain(|alert| target.as_ref().is_none_or(|name| alert.target == *name));
            // Only an empty result can come from a typo, and names of removed targets may still have alerts.
            require_known_filter(&app.config(), target.as_deref(), found.is_empty())?;
            let noun = filtered_noun(if *all { "alerts" } else { "active alerts" }, target.is_some());
            render_list(&build_alert_table(&found)?, *format, &noun)
        }
        AlertsCommand::Show { alert, format, config } => describe_alert(alert, config, *format)?,
        AlertsCommand::History(args) => history::run(args, clock::now())?,
        AlertsCommand::Ack(args) => acknowledge_alert(args)?,
        AlertsCommand::Resolve(args) => resolve_alert(args)?,
        AlertsCommand::Silence(args) => create_silence(args)?,
        AlertsCommand::Unsilence { id, config, actor } => {
            let (app, actor) = (open_existing_app(config)?, actor.actor());
            let missing = format!("there is no silence {id}; `sessionwatch alerts silences` lists them");
            let ended = async { Ok(silences::expire_silence(&app, &actor, *id).await) };
            or_usage(super::block_on(ended)?, missing)?;
            format!("Silence {id} ended.\n")
        }
        AlertsCommand::Silences { config, format } => {
            let app = open_existing_app(config)?;
            let silences = super::block_on(async { Ok(silences::list_silences(&app).await?) })?;
            render_list(&build_silence_table(&silences)?, *format, "silences")
        }
    };
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

impl AlertRefArgs {
    fn alert_ref(&self) -> AlertRef {
        AlertRef { target: self.target.clone(), check: self.check.clone() }
    }
}

/// Turns "not found" of a use case into an error of the arguments.
fn or_usage<T>(outcome: Result<T, AppError>, missing: String) -> Result<T, Failure> {
    outcome.map_err(|error| match error {
        AppError::NotFound(_) | AppError::Conflict(_) => Failure::Usage(missing),
        other => other.into(),
    })
}

/// Turns "not found" into the error for an alert that does not fire.
fn or_not_firing(outcome: Result<(), AppError>, alert: &AlertRefArgs) -> Result<(), Failure> {
    let AlertRefArgs { target, check } = alert;
    let missing =
        format!("no alert for `{check}` fires on `{target}`; `sessionwatch alerts list` shows firing alerts");
    or_usage(outcome, missing)
}

fn acknowledge_alert(args: &AlertNoteArgs) -> Result<String, Failure> {
    let AlertRefArgs { target, check } = &args.alert;
    let actor = args.actor.actor();
    let app = open_existing_app(&args.config)?;
    let acknowledged = async {
        Ok(alerts::acknowledge_alert(&app, &actor, args.alert.alert_ref(), args.note.clone()).await)
    };
    or_not_firing(super::block_on(acknowledged)?, &args.alert)?;
    Ok(format!("{check} on {target} acknowledged by {}.\n", actor.name()))
}

fn resolve_alert(args: &AlertNoteArgs) -> Result<String, Failure> {
    let AlertRefArgs { target, check } = &args.alert;
    let actor = args.actor.actor();
    let app = open_existing_app(&args.config)?;
    let resolved = async {
        Ok(alerts::resolve_firing_alert(&app, &actor, args.alert.alert_ref(), args.note.clone()).await)
    };
    or_not_firing(super::block_on(resolved)?, &args.alert)?;
    Ok(format!("{check} on {target} resolved. The alert fires again if the check still fails.\n"))
}

fn describe_alert(
    alert: &AlertRefArgs,
    config: &ConfigArgs,
    format: OutputFormat,
) -> Result<String, Failure> {
    let app = open_existing_app(config)?;
    let record = super::block_on(async { Ok(alerts::find_alert(&app, alert.alert_ref()).await?) })?;
    let Some(record) = record else {
        return Err(Failure::Usage(format!(
            "there is no alert for `{}` on `{}`; `sessionwatch alerts list --all` shows all alerts",
            alert.check, alert.target
        )));
    };
    if format != OutputFormat::Table {
        return Ok(build_alert_table(&[record])?.render(format));
    }
    render_alert(&record, clock::now())
}

/// Renders an alert with its latest finding for a person.
fn render_alert(record: &AlertRecord, now: UtcTimestamp) -> Result<String, Failure> {
    let mut text = format!(
        "{} on {} ({}): {}\n{}\n",
        record.check,
        record.target,
        record.severity,
        describe_state(record),
        sanitize_text(&record.summary)
    );
    // Writing to a String cannot fail, here and below.
    if let AlertState::Pending { since, .. } | AlertState::Firing { since, .. } = record.alert.state {
        let _ = writeln!(text, "since {}", clock::format_utc(since));
    }
    if let Some(owner) = &record.acknowledged_by {
        let note = record.note.as_ref().map(|note| format!(": {}", sanitize_text(note))).unwrap_or_default();
        let _ = writeln!(text, "acknowledged by {}{note}", sanitize_text(owner));
    }
    let finding = record.parse_finding()?;
    for (name, key) in [("value", "value"), ("fails if", "threshold"), ("action", "action")] {
        match &finding[key] {
            Value::String(value) if !value.is_empty() => {
                _ = writeln!(text, "{name}: {}", sanitize_text(value));
            }
            Value::Number(number) => drop(writeln!(text, "{name}: {}", number.as_f64().unwrap_or_default())),
            _ => {}
        }
    }
    let list = |key: &str| finding[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let (evidence, events) = (list("evidence"), list("log_events"));
    for row in evidence {
        let _ = writeln!(text, "  {}", report::describe_evidence_json(row, now));
    }
    for event in events {
        let text_of = |key: &str| sanitize_text(event[key].as_str().unwrap_or_default());
        let _ = writeln!(text, "  {} {}: {}", text_of("recorded_at"), text_of("source"), text_of("text"));
    }
    let shown = evidence.len().max(events.len());
    if let Some(cut) = report::truncation_note(finding["evidence_total"].as_u64(), shown) {
        let _ = writeln!(text, "  {cut}");
    }
    Ok(text)
}

/// Describes the state of an alert; without an alert, the result of the check.
fn describe_state(record: &AlertRecord) -> String {
    match (&record.alert.state, record.verdict.as_deref()) {
        // Resolved by a person while the check still failed.
        (AlertState::Resolved, Some("failing")) => AlertState::Resolved.name().to_owned(),
        (AlertState::Resolved, verdict) => verdict.unwrap_or("unknown").to_owned(),
        (state, _) if record.alert.is_stale => format!("{}, currently unknown", state.name()),
        (state, _) => state.name().to_owned(),
    }
}

fn create_silence(args: &SilenceArgs) -> Result<String, Failure> {
    let app = open_existing_app(&args.config)?;
    let new = NewSilence {
        target: args.target.clone(),
        check: args.check.clone(),
        subject: args.subject.clone(),
        minutes: args.length.as_mins(),
        note: args.note.clone(),
    };
    let actor = args.actor.actor();
    let created = super::block_on(async { Ok(silences::create_silence(&app, &actor, new).await?) })?;
    Ok(format!("Silence {} active until {}.\n", created.id, clock::format_utc(created.until)))
}

fn build_alert_table(found: &[AlertRecord]) -> Result<OutputTable, StoreError> {
    let since = |alert: &AlertRecord| {
        if let AlertState::Firing { since, .. } = alert.alert.state { Some(since) } else { None }
    };
    let row = |alert: &AlertRecord| {
        vec![
            alert.target.clone(),
            alert.check.clone(),
            alert.severity.clone(),
            describe_state(alert),
            since(alert).map(clock::format_utc).unwrap_or_default(),
            alert.acknowledged_by.clone().unwrap_or_default(),
            alert.summary.clone(),
        ]
    };
    Ok(OutputTable {
        json_key: "alerts",
        header: ["target", "check", "severity", "state", "since", "acknowledged by", "summary"]
            .map(str::to_owned)
            .to_vec(),
        rows: found.iter().map(row).collect(),
        json_rows: found
            .iter()
            .map(|alert| api_types::to_json_value(api_types::AlertDto::from_record(alert)))
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
        header: ["silence", "target", "check", "subject", "until", "created by", "reason"]
            .map(str::to_owned)
            .to_vec(),
        rows: silences.iter().map(row).collect(),
        json_rows: silences
            .iter()
            .map(|silence| api_types::to_json_value(api_types::SilenceDto::from_record(silence)))
            .collect::<Result<_, _>>()?,
    })
}
