//! `config`: check, example, schema and reference of the configuration file.

use std::process::ExitCode;

use sessionwatch_app::{
    config::{
        Config, Target, file,
        logs::{LogSourceConfig, LogSourceKind},
    },
    preflight,
    schedule::RunScheduler,
};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{Failure, target::ConfigArgs};

/// Check the configuration, or show what can be configured
#[derive(Debug, clap::Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the configuration file as `serve` would, without connecting to anything
    Check(ConfigArgs),
    /// Print a file with every key, its default and what it is for
    Example,
    /// Print the JSON schema of the file, for editors
    Schema,
    /// Print the reference of all keys as Markdown
    Reference,
}

pub(super) fn run(args: &ConfigCommand) -> Result<ExitCode, Failure> {
    match args {
        ConfigCommand::Check(args) => {
            let config = preflight::load_config(args.config.as_deref())?;
            let Some(file) = &config.file else {
                return Err(Failure::Usage(
                    "there is no sessionwatch.toml here: name a file with --config, or write one with `sessionwatch init`".into(),
                ));
            };
            preflight::require_runnable(&config)?;
            let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
            let targets = if names.is_empty() { "none".into() } else { names.join(", ") };
            super::print_text(&format!(
                "{} is in order.\ntargets: {targets}\nchecks: {}\n",
                file.display(),
                config
                    .checks
                    .check_ids()
                    .filter(|id| config.checks.is_enabled(id))
                    .collect::<Vec<_>>()
                    .join(", ")
            ))?;
            for line in list_warnings(&config) {
                super::print_text(&format!("{line}\n"))?;
            }
        }
        ConfigCommand::Example => super::print_text(&file::render_example())?,
        ConfigCommand::Schema => super::print_text(&format!("{:#}\n", file::config_schema()))?,
        ConfigCommand::Reference => super::print_text(&file::render_reference())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Targets that can only be checked from this machine, and what the schedules cost that keep a database awake which would suspend itself.
pub(super) fn list_warnings(config: &Config) -> Vec<String> {
    let cost = |target: &Target| {
        let suspends_after = target.autosuspend_after?;
        let table = RunScheduler::new(&target.name, config.check_schedules(target), None, UtcTimestamp::MIN);
        let (looks, awake) = table.estimate_monthly_cost(suspends_after);
        let (hours, of) = (awake.as_hours(), 30 * 24);
        Some(format!(
            "{}: {looks} looks a month keep its database awake for {hours} of {of} hours, since it suspends itself {} s after the last query",
            target.name,
            suspends_after.as_secs()
        ))
    };
    let unacted = |target: &Target| {
        let problem = &target.write_address_problem.as_ref()?.message;
        Some(format!("{}: checks only, sessions cannot be ended from here: {problem}", target.name))
    };
    let open = |source: &LogSourceConfig| match &source.kind {
        LogSourceKind::Syslog { listen, senders } if senders.is_empty() && !listen.ip().is_loopback() => {
            Some(format!(
                "{}: syslog on {listen} is taken from everybody who reaches it: list the networks that send under `senders`",
                source.name
            ))
        }
        _ => None,
    };
    let of_targets = config.targets.iter().filter_map(unacted).chain(config.targets.iter().filter_map(cost));
    of_targets.chain(config.logs.sources.iter().filter_map(open)).collect()
}
