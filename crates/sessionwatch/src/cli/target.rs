//! Which target a command is about: an address, the name of a configured target, or what the configuration or the
//! environment names.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use credentials::Secret;
use sessionwatch_app::{
    app::state_store,
    config::{Config, Target, TargetAddress},
    environment, preflight,
};
use sessionwatch_core::suggest::did_you_mean;

use super::Failure;

/// Which target, and how long it may take.
#[derive(Clone, Debug, Args)]
pub(super) struct TargetArgs {
    /// Address (postgres://USER:PASSWORD@HOST/DATABASE, sqlite:PATH or the path of a SQLite file), or the name of a
    /// configured target; without one, the only configured target, else $DATABASE_URL
    #[arg(value_name = "URL")]
    pub(super) url: Option<Secret>,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Seconds that a whole look may take [default: 30]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600), value_name = "SECONDS")]
    pub(super) timeout: Option<u64>,
    /// Seconds to wait for a lock [default: 2]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600), value_name = "SECONDS")]
    pub(super) lock_timeout: Option<u64>,
}

/// Which configuration.
#[derive(Clone, Debug, Args)]
pub(super) struct ConfigArgs {
    /// Configuration file [default: sessionwatch.toml, if there is one]
    #[arg(long, env = "SESSIONWATCH_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl TargetArgs {
    /// The configuration and the targets that are meant, at least one.
    ///
    /// # Errors
    ///
    /// If the configuration or the address is faulty, or nothing names a target.
    pub(super) fn choose(&self) -> Result<(Config, Vec<Target>), Failure> {
        let config = preflight::load_config(self.config.config.as_deref())?;
        let mut targets = self.resolve_targets(&config)?;
        for target in &mut targets {
            let seconds = |given: Option<u64>, otherwise| given.map_or(otherwise, Duration::from_secs);
            let limits = &mut target.limits;
            limits.timeout = seconds(self.timeout, limits.timeout);
            limits.lock_timeout = seconds(self.lock_timeout, limits.lock_timeout);
        }
        Ok((config, targets))
    }

    /// The same for a command that is about one target.
    ///
    /// # Errors
    ///
    /// The same, or if several targets are configured and none is named.
    pub(super) fn choose_one(&self) -> Result<(Config, Target), Failure> {
        let (config, mut targets) = self.choose()?;
        if targets.len() > 1 {
            let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
            return Err(Failure::Usage(format!("name one of the configured targets: {}", names.join(", "))));
        }
        Ok((config, targets.remove(0)))
    }

    /// The same as [`TargetArgs::choose`], with what the store knows of where the sessions are.
    ///
    /// # Errors
    ///
    /// The same.
    pub(super) fn choose_located(&self) -> Result<(Config, Vec<Target>), Failure> {
        let (config, mut targets) = self.choose()?;
        locate_targets(&config, &mut targets);
        Ok((config, targets))
    }

    /// The same as [`TargetArgs::choose_one`], with what the store knows of where the sessions are.
    ///
    /// # Errors
    ///
    /// The same.
    pub(super) fn choose_one_located(&self) -> Result<(Config, Target), Failure> {
        let (config, mut target) = self.choose_one()?;
        locate_targets(&config, std::slice::from_mut(&mut target));
        Ok((config, target))
    }

    fn resolve_targets(&self, config: &Config) -> Result<Vec<Target>, Failure> {
        if let Some(url) = self.url.as_ref().map(Secret::expose) {
            config.require_resolved(Some(url))?;
            if let Some(target) = config.targets.iter().find(|target| target.name == url) {
                return Ok(vec![target.clone()]);
            }
            let address = TargetAddress::parse(url).map_err(|error| {
                let hint = did_you_mean(url, config.targets.iter().map(|target| target.name.as_str()));
                if hint.is_empty() {
                    error.into()
                } else {
                    Failure::Usage(format!("there is no target of that name{hint}"))
                }
            })?;
            return Ok(vec![Target::ad_hoc(address)]);
        }
        config.require_resolved(None)?;
        if !config.targets.is_empty() {
            return Ok(config.targets.clone());
        }
        match environment::read_variable("DATABASE_URL") {
            Some(url) => Ok(vec![Target::ad_hoc(TargetAddress::parse(&url)?)]),
            None => Err(Failure::Usage(
                "no target: give an address, set DATABASE_URL, or name targets in sessionwatch.toml (`sessionwatch init` writes one)".into(),
            )),
        }
    }
}

/// Adds to configured targets where the store knows their sessions to be. A store that cannot be read is complained of.
fn locate_targets(config: &Config, targets: &mut [Target]) {
    if let Err(error) = state_store::set_known_layouts(config, targets) {
        super::print_error(&format!("warning: {error}"), Some("see to the store that `serve.store` names"));
    }
}
