//! Target arguments of a command: a configured name, a database URL, or the address in the environment.

use std::path::PathBuf;

use clap::Args;
use credentials::Secret;
use jiff::SignedDuration;
use sessionwatch_app::{
    app::state_store,
    config::{AddressError, Config, Target, TargetAddress},
    default_database_url::{self, NoAddress},
    preflight,
    sanitize::sanitize_text,
};
use sessionwatch_core::{duration::SECOND, suggest::did_you_mean};

use super::{Failure, GLOBAL_OPTIONS, values::duration_between};

/// The longest `--timeout` and `--lock-timeout`.
const MAX_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// The target, and how long a command may wait for it.
#[derive(Clone, Debug, Args)]
pub(super) struct TargetArgs {
    /// Configured target name, database URL or SQLite file [default: the only configured target, else
    /// $DATABASE_URL]
    #[arg(value_name = "TARGET")]
    pub(super) url: Option<Secret>,
    /// Same as TARGET
    #[arg(long = "target", value_name = "TARGET", conflicts_with = "url")]
    target_option: Option<Secret>,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// The configuration file.
#[derive(Clone, Debug, Args)]
pub(super) struct ConfigArgs {
    /// Configuration file [default: $SESSIONWATCH_CONFIG, else sessionwatch.toml]
    #[arg(
        long, global = true, help_heading = GLOBAL_OPTIONS, display_order = 901,
        env = "SESSIONWATCH_CONFIG", hide_env = true,
        value_name = "FILE"
    )]
    pub(super) config: Option<PathBuf>,
}

/// Time limits of a database.
#[derive(Clone, Debug, Args)]
pub(super) struct LimitArgs {
    /// Time limit for a check run or a query [default: `timeout` of the target, else 30s]
    #[arg(
        long, global = true, help_heading = GLOBAL_OPTIONS, display_order = 902,
        value_parser = duration_between(SECOND, MAX_TIMEOUT), value_name = "DURATION"
    )]
    timeout: Option<SignedDuration>,
    /// Time limit for a database lock [default: `lock_timeout` of the target, else 2s]
    #[arg(
        long, global = true, help_heading = GLOBAL_OPTIONS, display_order = 903,
        value_parser = duration_between(SECOND, MAX_TIMEOUT), value_name = "DURATION"
    )]
    lock_timeout: Option<SignedDuration>,
}

impl LimitArgs {
    /// Uses these limits for a target.
    pub(super) fn apply_to(&self, target: &mut Target) {
        let limits = &mut target.limits;
        limits.timeout = self.timeout.map_or(limits.timeout, SignedDuration::unsigned_abs);
        limits.lock_timeout = self.lock_timeout.map_or(limits.lock_timeout, SignedDuration::unsigned_abs);
    }
}

impl TargetArgs {
    /// Returns TARGET as it was given.
    pub(super) fn given(&self) -> Option<&str> {
        self.url.as_ref().or(self.target_option.as_ref()).map(Secret::expose)
    }

    /// Returns the configuration and the selected targets, at least one.
    ///
    /// # Errors
    ///
    /// Returns an error if the configuration or the address is invalid, or no target is named anywhere.
    pub(super) fn choose(&self) -> Result<(Config, Vec<Target>), Failure> {
        let config = preflight::load_config(self.config.config.as_deref())?;
        let mut targets = resolve_targets(&config, self.given())?;
        targets.iter_mut().for_each(|target| self.limits.apply_to(target));
        Ok((config, targets))
    }

    /// Same as [`TargetArgs::choose`], for a command that works on one target.
    ///
    /// # Errors
    ///
    /// Same, or if several targets are configured and none is named.
    pub(super) fn choose_one(&self) -> Result<(Config, Target), Failure> {
        let (config, mut targets) = self.choose()?;
        if targets.len() > 1 {
            return Err(Failure::Usage(format!(
                "this command works on one target: name one of {}",
                list_names(&config)
            )));
        }
        Ok((config, targets.remove(0)))
    }

    /// Same as [`TargetArgs::choose`], with the layouts that the state store knows.
    ///
    /// # Errors
    ///
    /// Same.
    pub(super) fn choose_located(&self) -> Result<(Config, Vec<Target>), Failure> {
        let (config, mut targets) = self.choose()?;
        locate_targets(&config, &mut targets);
        Ok((config, targets))
    }

    /// Same as [`TargetArgs::choose_one`], with the layout that the state store knows.
    ///
    /// # Errors
    ///
    /// Same.
    pub(super) fn choose_one_located(&self) -> Result<(Config, Target), Failure> {
        let (config, mut target) = self.choose_one()?;
        locate_targets(&config, std::slice::from_mut(&mut target));
        Ok((config, target))
    }
}

/// Returns the targets that a name, an address, the configuration or the environment select, at least one.
///
/// # Errors
///
/// Returns an error if there is no such target, its address is invalid, or nothing names one.
pub(super) fn resolve_targets(config: &Config, given: Option<&str>) -> Result<Vec<Target>, Failure> {
    if let Some(given) = given {
        if given.is_empty() {
            return Err(Failure::UsageWithHint {
                message: "the target is empty".into(),
                hint: "a variable such as \"$DATABASE_URL\" is not set in this shell; without a target, DATABASE_URL is also \
                       read from .env.local and .env"
                    .into(),
            });
        }
        config.require_resolved(Some(given))?;
        if let Some(target) = config.targets.iter().find(|target| target.name == given) {
            return Ok(vec![with_stored_passwords(target.clone())]);
        }
        let mut address = TargetAddress::parse(given).map_err(|error| match error {
            AddressError::Unknown(_) if is_name_shaped(given) => unknown_target(config, given),
            // A password would follow one of these.
            AddressError::Unknown(forms) if !given.contains(['@', '?', '=']) => Failure::UsageWithHint {
                message: format!("`{}` is not a database address", sanitize_text(given)),
                hint: format!("expected {forms}"),
            },
            error => error.into(),
        })?;
        default_database_url::add_stored_password(&mut address);
        return Ok(vec![Target::ad_hoc(address)]);
    }
    config.require_resolved(None)?;
    if !config.targets.is_empty() {
        return Ok(config.targets.iter().cloned().map(with_stored_passwords).collect());
    }
    match default_database_url::find_default_address() {
        Ok(found) => {
            let default_config_value = Some(found.config_value);
            Ok(vec![Target { default_config_value, ..Target::ad_hoc(found.address) }])
        }
        Err(NoAddress::Missing) => Err(Failure::Usage(
            "no target: give a database URL, set DATABASE_URL (also in .env), or configure targets with \
             `sessionwatch init`"
                .into(),
        )),
        Err(NoAddress::Invalid { source, error }) => {
            Err(Failure::Usage(format!("cannot use {source}: {error}")))
        }
    }
}

/// Adds the passwords of `PGPASSWORD` and `~/.pgpass` to the addresses of a target that have none.
pub(super) fn with_stored_passwords(mut target: Target) -> Target {
    let others = target.replica_address.as_mut().into_iter().chain(&mut target.write_address);
    std::iter::once(&mut target.address).chain(others).for_each(default_database_url::add_stored_password);
    target
}

/// Returns the configured targets of that name, or all of them.
///
/// # Errors
///
/// Returns an error if there is no such target, or none at all.
pub(super) fn select_configured(config: &Config, name: Option<&str>) -> Result<Vec<Target>, Failure> {
    config.require_resolved(name)?;
    let selected = config.targets.iter().filter(|target| name.is_none_or(|name| target.name == name));
    let selected: Vec<Target> = selected.cloned().collect();
    match name {
        _ if !selected.is_empty() => Ok(selected),
        Some(name) => Err(unknown_target(config, name)),
        None => Err(Failure::Usage(
            "no target is configured: `sessionwatch init` writes a configuration file with one".into(),
        )),
    }
}

/// Rejects a `--target` that found nothing and names no configured target: a typo would look like an empty list.
///
/// # Errors
///
/// Returns an error if there is no such target.
pub(super) fn require_known_filter(
    config: &Config,
    name: Option<&str>,
    found_nothing: bool,
) -> Result<(), Failure> {
    match name {
        Some(name) if found_nothing && config.targets.iter().all(|target| target.name != name) => {
            Err(unknown_target(config, name))
        }
        _ => Ok(()),
    }
}

/// Returns the error for a name that no target has, with the names that there are.
pub(super) fn unknown_target(config: &Config, name: &str) -> Failure {
    let suggestion = did_you_mean(name, config.targets.iter().map(|target| target.name.as_str()));
    let hint = if name.starts_with("p-") {
        format!("to apply a plan: `sessionwatch apply {name}`")
    } else if config.targets.is_empty() {
        "no target is configured: give a database URL, or write a configuration file with `sessionwatch init`"
            .to_owned()
    } else if suggestion.is_empty() {
        format!("configured targets: {}", list_names(config))
    } else {
        format!("{}; configured targets: {}", suggestion.trim_matches([' ', '(', ')']), list_names(config))
    };
    Failure::UsageWithHint { message: format!("no target is named `{name}`"), hint }
}

fn list_names(config: &Config) -> String {
    config.targets.iter().map(|target| target.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Returns `true` if a text may be a misspelled name. Anything else may hold a password, and is not repeated.
fn is_name_shaped(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || "-_".contains(letter))
}

/// Adds the known layouts of configured targets. A store that cannot be read only costs a warning.
fn locate_targets(config: &Config, targets: &mut [Target]) {
    if let Err(error) = state_store::set_known_layouts(config, targets) {
        super::print_warning(&error.to_string(), "check the state store that `serve.store` names");
    }
}
