//! `config`: check, show and document the configuration.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Value, json};
use sessionwatch_app::{
    app::targets,
    config::{
        Config, Target,
        logs::{LogSourceConfig, LogSourceKind},
        sections,
    },
    preflight,
    sanitize::sanitize_text,
    schedule::RunScheduler,
};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{Failure, choices::DocumentFormat, target_args::ConfigArgs, values::format_duration};

/// Check, show and document the configuration
#[derive(Debug, clap::Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the configuration file
    #[command(
        long_about = "Check the configuration file\n\nChecks it as `serve` does, without connecting to anything."
    )]
    Check(ConfigArgs),
    /// Show the effective configuration, without secrets
    Show {
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: DocumentFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Print an example file with every key
    Example,
    /// Print the JSON schema for editors
    Schema,
    /// Print the reference of all keys
    Reference,
}

pub(super) fn run(args: &ConfigCommand) -> Result<ExitCode, Failure> {
    match args {
        ConfigCommand::Check(args) => {
            let config = preflight::load_config(args.config.as_deref())?;
            let Some(file) = &config.file else {
                return Err(Failure::Usage(
                    "no sessionwatch.toml in this directory: name a file with --config, or write one with \
                     `sessionwatch init`"
                        .into(),
                ));
            };
            preflight::require_runnable(&config)?;
            let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
            let targets = if names.is_empty() { "none".into() } else { names.join(", ") };
            let channels: Vec<&str> =
                config.serve.channels.iter().map(|channel| channel.name.as_str()).collect();
            let channels = if channels.is_empty() {
                "none, so alerts are shown on the dashboard only".into()
            } else {
                channels.join(", ")
            };
            super::print_text(&format!(
                "{} is valid.\ntargets: {targets}\nchecks: {}\nchannels: {channels}\n",
                file.display(),
                config.enabled_check_ids().join(", ")
            ))?;
            for line in list_warnings(&config) {
                super::print_text(&format!("{line}\n"))?;
            }
        }
        ConfigCommand::Show { format, config } => {
            let config = preflight::load_config(config.config.as_deref())?;
            let document = describe_config(&config);
            super::print_text(&match format {
                DocumentFormat::Json => format!("{document:#}\n"),
                DocumentFormat::Table => render_config(&document),
            })?;
        }
        ConfigCommand::Example => super::print_text(&sections::render_example())?,
        ConfigCommand::Schema => super::print_text(&format!("{:#}\n", sections::config_schema()))?,
        ConfigCommand::Reference => super::print_text(&sections::render_reference())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Describes the configuration in use. Addresses are masked, and nothing else in it is secret.
fn describe_config(config: &Config) -> Value {
    let target = |target: &Target| {
        json!({
            "name": target.name,
            "address": target.address.to_string(),
            "write_role": target.write_address.is_some(),
            "schedule": targets::describe_schedules(config, target),
            "timeout": format_duration(target.limits.timeout.try_into().unwrap_or_default()),
        })
    };
    let serve = &config.serve;
    json!({
        "schema": 2,
        "file": config.file.as_ref().map(|file| file.display().to_string()),
        "listen": serve.listen.to_string(),
        "public_url": serve.public_url,
        "retention_days": serve.history_retention.as_hours() / 24,
        "targets": config.targets.iter().map(target).collect::<Vec<_>>(),
        "checks": config.enabled_check_ids(),
        "thresholds": config.checks.thresholds,
        "channels": serve.channels.iter().map(|channel| &channel.name).collect::<Vec<_>>(),
        "log_sources": config.logs.sources.iter().map(|source| &source.name).collect::<Vec<_>>(),
    })
}

/// Renders the description of a configuration as indented lines.
fn render_config(document: &Value) -> String {
    fn add_lines(text: &mut String, value: &Value, indent: usize) {
        for (key, value) in value.as_object().into_iter().flatten().filter(|(key, _)| *key != "schema") {
            let blanks = " ".repeat(indent);
            let scalars = |items: &[Value]| items.iter().all(|item| !item.is_object());
            // Writing to a String cannot fail.
            let _ = match value {
                Value::Object(_) => {
                    let _ = writeln!(text, "{blanks}{key}:");
                    add_lines(text, value, indent + 2);
                    Ok(())
                }
                Value::Array(items) if !scalars(items) => {
                    for item in items {
                        let _ = writeln!(text, "{blanks}{key}:");
                        add_lines(text, item, indent + 2);
                    }
                    Ok(())
                }
                Value::Array(items) => writeln!(text, "{blanks}{key}: {}", list(items)),
                value => writeln!(text, "{blanks}{key}: {}", render_scalar(value)),
            };
        }
    }
    fn render_scalar(value: &Value) -> String {
        match value {
            // Names come from the file, but paths and addresses may contain control characters.
            Value::String(text) => sanitize_text(text),
            Value::Null => "none".into(),
            Value::Bool(true) => "yes".into(),
            Value::Bool(false) => "no".into(),
            value => value.to_string(),
        }
    }
    fn list(items: &[Value]) -> String {
        if items.is_empty() {
            return "none".into();
        }
        items.iter().map(render_scalar).collect::<Vec<_>>().join(", ")
    }
    let mut text = String::new();
    add_lines(&mut text, document, 0);
    text
}

/// Returns warnings about a valid configuration: targets without a write role, schedules that keep a database awake,
/// and open syslog listeners.
pub(super) fn list_warnings(config: &Config) -> Vec<String> {
    let cost = |target: &Target| {
        let autosuspend_after = target.autosuspend_after?;
        let table = RunScheduler::new(&target.name, config.check_schedules(target), None, UtcTimestamp::MIN);
        let (runs, awake) = table.estimate_monthly_cost(autosuspend_after);
        let (hours, of) = (awake.as_hours(), 30 * 24);
        Some(format!(
            "{}: {runs} check runs a month keep this database awake for {hours} of {of} hours, since it \
             suspends itself {} s after the last query; `schedule = \"scale-to-zero\"` lets it sleep",
            target.name,
            autosuspend_after.as_secs()
        ))
    };
    let read_only = |target: &Target| {
        let problem = &target.write_address_problem.as_ref()?.message;
        Some(format!("{}: checks only, sessions cannot be changed from this machine: {problem}", target.name))
    };
    let open = |source: &LogSourceConfig| match &source.kind {
        LogSourceKind::Syslog { listen, senders } if senders.is_empty() && !listen.ip().is_loopback() => {
            Some(format!(
                "{}: syslog on {listen} accepts lines from every host that reaches it; list the allowed \
                 networks under `senders`",
                source.name
            ))
        }
        _ => None,
    };
    let of_targets =
        config.targets.iter().filter_map(read_only).chain(config.targets.iter().filter_map(cost));
    of_targets.chain(config.logs.sources.iter().filter_map(open)).collect()
}
