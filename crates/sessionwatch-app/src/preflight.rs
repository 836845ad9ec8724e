//! Preflight checks of a valid configuration: finds references that are missing or unusable before `serve` starts.
//! Connects to nothing, binds nothing and writes nothing.

use std::path::Path;

use pg_link::Dsn;
use sessionwatch_archive::Identity;
use sessionwatch_store::{StoreError, StoreLocation};
use sessionwatch_targets::address::TargetAddress;

use crate::{
    config::{Config, ConfigError, Target},
    daemon,
    notify::ChannelSender,
    oidc,
    remediation::archive_keys,
};

/// Reads the named file, or `sessionwatch.toml` in the current folder. The error for an invalid file includes the
/// preflight problems of its valid parts.
///
/// # Errors
///
/// If the file cannot be read or is invalid.
pub fn load_config(named: Option<&Path>) -> Result<Config, ConfigError> {
    Config::load(named).map_err(|error| match error {
        ConfigError::Invalid(mut faulty) => {
            faulty.unresolved = find_problems(&faulty.partial);
            ConfigError::Invalid(faulty)
        }
        other => other,
    })
}

/// Reads the configuration as [`load_config`] does, and verifies that `serve` can run with it.
///
/// # Errors
///
/// If it cannot; the error lists all problems.
pub fn load_config_for_serve(named: Option<&Path>) -> Result<Config, ConfigError> {
    let config = load_config(named)?;
    require_runnable(&config)?;
    Ok(config)
}

/// Verifies that `serve` can run with a configuration, as far as possible without connecting to anything.
///
/// # Errors
///
/// If it cannot; the error lists all problems.
pub fn require_runnable(config: &Config) -> Result<(), ConfigError> {
    let mut problems = find_problems(config);
    if config.targets.is_empty() && config.unresolved_targets.is_empty() {
        let none = "no target is configured: run `sessionwatch init` to create a configuration";
        problems.insert(0, none.to_owned());
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::Unusable { file: config.file.clone(), problems })
    }
}

/// Returns all references of a configuration that are missing or unusable.
fn find_problems(config: &Config) -> Vec<String> {
    let serve = &config.serve;
    let targets = config.unresolved_targets.iter().map(|target| target.problem.to_string());
    // A missing `write_url` matters to automatic cleanup only; a target without cleanup is still monitored.
    let targets_with_cleanup = config.targets.iter().filter(|target| target.auto_cleanup.is_some());
    let write_address_problems =
        targets_with_cleanup.filter_map(|target| Some(target.write_address_problem.as_ref()?.to_string()));
    let channels = serve.unresolved_channels.iter().map(|channel| channel.problem.to_string());
    let senders = serve.channels.iter().filter_map(|channel| {
        let failure = ChannelSender::new(channel).and_then(|sender| sender.validate(channel)).err()?;
        Some(format!("channel `{}`: {failure}", channel.name))
    });
    let logs = config.logs.unresolved_sources.iter().map(|source| source.problem.to_string());
    let store = match &serve.store_unresolved {
        Some(problem) => Some(problem.to_string()),
        None => store_problem(&serve.store).map(|problem| format!("serve.store: {problem}")),
    };
    let certificate =
        serve.tls.as_ref().and_then(|(certificate, key)| daemon::certificate_problem(certificate, key));
    let openid = match &config.oidc_unresolved {
        Some(problem) => Some(problem.to_string()),
        None => config
            .oidc
            .as_ref()
            .and_then(oidc::client::find_config_problem)
            .map(|problem| format!("oidc: {problem}")),
    };
    targets
        .chain(write_address_problems)
        .chain(config.targets.iter().flat_map(address_problems))
        .chain(channels)
        .chain(senders)
        .chain(logs)
        .chain(store)
        .chain(certificate)
        .chain(openid)
        .chain(identity_problem(config))
        .collect()
}

/// Returns the reason why automatic cleanup could not encrypt archived rows.
fn identity_problem(config: &Config) -> Option<String> {
    let creates_identity = config.actions.archive_recipient.is_none()
        && config.targets.iter().any(|target| target.auto_cleanup.is_some());
    let path = archive_keys::identity_path(config);
    // A missing identity file is created on first use.
    let identity = (creates_identity && path.exists()).then(|| Identity::read_file(&path))?;
    identity.err().map(|error| format!("actions: {error}"))
}

/// Returns the reason why a store cannot be opened at a location.
fn store_problem(place: &StoreLocation) -> Option<String> {
    match place {
        StoreLocation::File(path) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let sound = folder.unwrap_or(Path::new(".")).is_dir() && (path.is_file() || !path.exists());
            (!sound).then(|| StoreError::Open(path.clone()).to_string())
        }
        StoreLocation::Server(dsn) => store_tls_problem(dsn),
    }
}

/// Returns the addresses of a target whose TLS settings cannot be used.
fn address_problems(target: &Target) -> Vec<String> {
    let addresses = [
        ("url", Some(&target.address)),
        ("replica_url", target.replica_address.as_ref()),
        ("write_url", target.write_address.as_ref()),
    ];
    let problem = |(key, address): (&str, Option<&TargetAddress>)| {
        let problem = address?.tls_problem()?;
        Some(format!("target `{}`: {key}: {problem}", target.name))
    };
    addresses.into_iter().filter_map(problem).collect()
}

/// Returns the reason why TLS cannot be set up for a PostgreSQL store.
fn store_tls_problem(dsn: &Dsn) -> Option<String> {
    if dsn.is_local() {
        return None;
    }
    dsn.check_tls().err().map(|error| format!("cannot set up TLS: {error}"))
}
