//! `explain`: the documentation of a check, how a target is monitored, or what a plan does.

use std::{fmt::Write as _, process::ExitCode};

use credentials::Secret;
use serde_json::Value;
use sessionwatch_app::{
    app::{AppError, layouts::DetectedLayout, plans, target_reader::TargetReader, targets},
    checks::{self, LOG_CHECKS, TABLE_CHECKS},
    config::{Config, EngineKind, Target},
    preflight,
    sanitize::sanitize_text,
};
use sessionwatch_core::suggest::did_you_mean;

use super::{
    Failure,
    apply::unknown_plan,
    opening::open_existing_app,
    plans::render_stored_plan,
    target_args::{self, ConfigArgs, LimitArgs},
};

/// Explain a check, a plan or a target
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// Check ID, plan ID, configured target name, database URL or SQLite file [default: the configured targets,
    /// else $DATABASE_URL]
    #[arg(value_name = "CHECK|PLAN|TARGET")]
    url: Option<Secret>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

pub(super) fn run(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let config = preflight::load_config(args.config.config.as_deref())?;
    let given = args.url.as_ref().map(Secret::expose);
    let is_target = config.targets.iter().any(|target| Some(target.name.as_str()) == given);
    let text = match given.filter(|_| !is_target) {
        Some(name) => match explain_check(&config, name) {
            Some(page) => page,
            None if plans::is_plan_id(name) => explain_plan(&args.config, name)?,
            None => explain_targets(args, &config).map_err(|error| unknown_subject(&config, name, error))?,
        },
        None => explain_targets(args, &config)?,
    };
    super::print_readable(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the page about a check: that of its documentation, or the query of a custom check.
fn explain_check(config: &Config, name: &str) -> Option<String> {
    if let Some(page) = checks::find_documentation(name) {
        return Some(format!("{}\n", page.trim_end()));
    }
    let custom = config.checks.custom_checks.iter().find(|custom| custom.id == name)?;
    let mut text = format!("# {}\n\nA custom check of this configuration.\n\n", custom.id);
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(text, "Severity: {}.\n\n{}", custom.severity.name(), custom.sql);
    if !custom.action.is_empty() {
        let _ = writeln!(text, "\nTo fix: {}", custom.action);
    }
    Some(text)
}

/// Returns the error for a word that names neither a check nor a target; other errors are passed on.
fn unknown_subject(config: &Config, name: &str, error: Failure) -> Failure {
    let is_word = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_');
    if !is_word || !matches!(error, Failure::UsageWithHint { .. } | Failure::Usage(_) | Failure::Address(_)) {
        return error;
    }
    let ids = TABLE_CHECKS.iter().map(|check| check.id).chain(LOG_CHECKS.iter().map(|check| check.id));
    let custom = config.checks.custom_checks.iter().map(|custom| custom.id.as_str());
    let names: Vec<&str> =
        ids.chain(custom).chain(config.targets.iter().map(|target| target.name.as_str())).collect();
    let hint = did_you_mean(name, names.iter().copied());
    Failure::Usage(format!(
        "there is no check, plan or target `{name}`{hint}; the checks and targets are {}",
        names.join(", ")
    ))
}

fn explain_plan(args: &ConfigArgs, id: &str) -> Result<String, Failure> {
    let app = open_existing_app(args)?;
    match super::block_on(async { Ok(plans::find_plan(&app, id).await) })? {
        Err(AppError::NotFound(_)) => Err(unknown_plan(id)),
        found => Ok(render_stored_plan(&app, &found?)),
    }
}

fn explain_targets(args: &ExplainArgs, config: &Config) -> Result<String, Failure> {
    let mut texts = Vec::new();
    for mut target in target_args::resolve_targets(config, args.url.as_ref().map(Secret::expose))? {
        args.limits.apply_to(&mut target);
        let reads = TargetReader::new(config, &target);
        let detected = super::block_on(async { Ok(reads.detect_layout().await?) })?;
        texts.push(render_target(config, &target, &detected));
    }
    Ok(texts.join("\n"))
}

/// Renders the thresholds of a check as the configuration names them.
fn render_thresholds(thresholds: &Value) -> String {
    let pairs = thresholds.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let pair = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name} = {text}"),
        value => format!("{name} = {value}"),
    };
    pairs.map(pair).collect::<Vec<_>>().join(", ")
}

fn render_target(config: &Config, target: &Target, detected: &DetectedLayout) -> String {
    let layout = &detected.known_layout;
    let mut text = format!("{}\n", sanitize_text(&target.name));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<16} {}", sanitize_text(value));
    };
    line("address", &target.address.to_string());
    line("profile", &detected.title);
    line("session table", &layout.table);
    line("token column", &layout.token);
    line("user column", layout.user.as_deref().unwrap_or("none"));
    line("expiry column", &layout.expires);
    line(
        "engine",
        match target.engine {
            EngineKind::Scan => "scan: stream compact rows and aggregate locally",
            EngineKind::Pushdown => "pushdown: aggregate in the database",
        },
    );
    line("time limit", &format!("{} s", target.limits.timeout.as_secs()));
    let write_role = match (&target.write_address, target.is_ad_hoc || target.address.file_path().is_some()) {
        (Some(_), _) => "configured",
        (None, true) => "the same address",
        (None, false) => "none: sessions cannot be changed",
    };
    line("write role", write_role);
    text.push_str("\nSchedule (with `sessionwatch serve`):\n");
    for schedule in targets::describe_schedules(config, target) {
        let _ = writeln!(text, "  {}", sanitize_text(&schedule));
    }
    text.push_str("\nChecks, with severity and what fails:\n");
    let thresholds = serde_json::to_value(&config.checks.thresholds).unwrap_or_default();
    for check in TABLE_CHECKS.iter().filter(|check| config.checks.is_enabled(check.id)) {
        let severity = config.checks.table_check_severity(check).name();
        let thresholds = render_thresholds(&thresholds[check.id]);
        let _ = writeln!(text, "  {:<22} {severity:<9} {}", check.id, sanitize_text(&thresholds));
    }
    let has_logs = config.logs.sources_for_target(&target.name).next().is_some();
    for check in LOG_CHECKS.iter().filter(|check| has_logs && config.checks.is_enabled(check.id)) {
        let severity = config.checks.log_check_severity(check).name();
        let _ = writeln!(text, "  {:<22} {severity:<9} on log events", check.id);
    }
    let custom = config.checks.custom_checks.iter();
    for custom in custom.filter(|custom| custom.targets.is_empty() || custom.targets.contains(&target.name)) {
        let _ = writeln!(text, "  {:<22} {:<9} custom check", custom.id, custom.severity.name());
    }
    let mut list = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            let _ = writeln!(text, "\n{title}:");
        }
        for line in lines {
            let _ = writeln!(text, "  - {}", sanitize_text(line));
        }
    };
    list("Detected because", &detected.reasons);
    list("Notes", &detected.notes);
    text.push_str("\n`sessionwatch explain CHECK` explains a check.\n");
    text
}
