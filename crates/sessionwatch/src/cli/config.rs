//! `config`: check, example, schema and reference of the configuration file.

use std::process::ExitCode;

use sessionwatch_app::{
    config::{
        Config, Target, file,
        logs::{Kind, Source},
    },
    preflight,
    schedule::Timetable,
};
use sessionwatch_core::instant::Instant;

use super::{Failure, target::ConfigArgs};

/// Check the configuration, or show what can be configured
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Check the configuration file as `serve` would, without connecting to anything
    Check(ConfigArgs),
    /// Print a file with every key, its default and what it is for
    Example,
    /// Print the JSON schema of the file, for editors
    Schema,
    /// Print the reference of all keys as Markdown
    Reference,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match args {
        Args::Check(args) => {
            let config = preflight::load(args.config.as_deref())?;
            let Some(file) = &config.file else {
                return Err(Failure::Usage(
                    "there is no sessionwatch.toml here: name a file with --config, or write one with `sessionwatch init`".into(),
                ));
            };
            preflight::check(&config)?;
            let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
            let targets = if names.is_empty() { "none".into() } else { names.join(", ") };
            super::print(&format!(
                "{} is in order.\ntargets: {targets}\nchecks: {}\n",
                file.display(),
                config.rules.ids().filter(|id| config.rules.enabled(id)).collect::<Vec<_>>().join(", ")
            ))?;
            for line in remarks(&config) {
                super::print(&format!("{line}\n"))?;
            }
        }
        Args::Example => super::print(&file::example())?,
        Args::Schema => super::print(&format!("{:#}\n", file::schema()))?,
        Args::Reference => super::print(&file::reference())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Targets that can only be checked from this machine, and what the schedules cost that keep a database awake which would suspend itself.
pub(super) fn remarks(config: &Config) -> Vec<String> {
    let cost = |target: &Target| {
        let suspends_after = target.suspends_after?;
        let table = Timetable::new(&target.name, config.plan(target), None, Instant::MIN);
        let (looks, awake) = table.cost(suspends_after);
        let (hours, of) = (awake.as_hours(), 30 * 24);
        Some(format!(
            "{}: {looks} looks a month keep its database awake for {hours} of {of} hours, since it suspends itself {} s after the last query",
            target.name,
            suspends_after.as_secs()
        ))
    };
    let unacted = |target: &Target| {
        let problem = &target.act_missing.as_ref()?.message;
        Some(format!("{}: checks only, sessions cannot be ended from here: {problem}", target.name))
    };
    let open = |source: &Source| match &source.kind {
        Kind::Syslog { listen, senders } if senders.is_empty() && !listen.ip().is_loopback() => {
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
