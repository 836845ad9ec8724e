//! What keeps `serve` from running with a configuration that can be read: what it refers to is missing, or cannot be used.
//! Nothing is connected to, bound or written to find out.

use std::path::Path;

use pg_link::Dsn;
use sessionwatch_archive::Identity;
use sessionwatch_store::{Place, StoreError};
use sessionwatch_targets::address::Address;

use crate::{
    config::{Config, ConfigError, Target},
    daemon,
    notify::Sender,
    oidc,
    remediation::keys,
};

/// Reads the named file, or `sessionwatch.toml` of the current folder. Where anything in it is wrong, what cannot be used
/// of the rest is reported too.
///
/// # Errors
///
/// If the file cannot be read, or anything in it is wrong.
pub fn load(named: Option<&Path>) -> Result<Config, ConfigError> {
    Config::load(named).map_err(|error| match error {
        ConfigError::Faulty(mut faulty) => {
            faulty.obstacles = obstacles(&faulty.partial);
            ConfigError::Faulty(faulty)
        }
        other => other,
    })
}

/// Reads it as [`load`] does, and makes sure that `serve` can run with it.
///
/// # Errors
///
/// If it cannot: everything that is wrong, in one error.
pub fn load_for_serve(named: Option<&Path>) -> Result<Config, ConfigError> {
    let config = load(named)?;
    check(&config)?;
    Ok(config)
}

/// Makes sure that `serve` can run with it, as far as that can be known without connecting to anything.
///
/// # Errors
///
/// If it cannot: everything that is wrong, in one error.
pub fn check(config: &Config) -> Result<(), ConfigError> {
    let mut problems = obstacles(config);
    if config.targets.is_empty() && config.unresolved.is_empty() {
        let none = "no target is configured: `sessionwatch init` writes a file that names one";
        problems.insert(0, none.to_owned());
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::Unusable { file: config.file.clone(), problems })
    }
}

/// What is missing or cannot be used of all that the configuration refers to.
fn obstacles(config: &Config) -> Vec<String> {
    let serve = &config.serve;
    let targets = config.unresolved.iter().map(|target| target.problem.to_string());
    // Without it, nothing can be cleaned up; all else can be done.
    let cleaned = config.targets.iter().filter(|target| target.cleanup.is_some());
    let acting = cleaned.filter_map(|target| Some(target.act_missing.as_ref()?.to_string()));
    let channels = serve.unresolved.iter().map(|(name, problem)| format!("channel `{name}`: {problem}"));
    let senders = serve.channels.iter().filter_map(|channel| {
        let failure = Sender::new(channel).and_then(|sender| sender.fits(channel)).err()?;
        Some(format!("channel `{}`: {failure}", channel.name))
    });
    let logs = config.logs.unresolved.iter().map(|(name, problem)| format!("logs `{name}`: {problem}"));
    let store = match &serve.store_unresolved {
        Some(problem) => Some(problem.clone()),
        None => store(&serve.store),
    };
    let store = store.map(|problem| format!("serve.store: {problem}"));
    let certificate =
        serve.tls.as_ref().and_then(|(certificate, key)| daemon::certificate_problem(certificate, key));
    let openid = config.openid_unresolved.clone().or_else(|| oidc::client::problem(config.openid.as_ref()?));
    let openid = openid.map(|problem| format!("openid: {problem}"));
    targets
        .chain(acting)
        .chain(config.targets.iter().flat_map(addresses))
        .chain(channels)
        .chain(senders)
        .chain(logs)
        .chain(store)
        .chain(certificate)
        .chain(openid)
        .chain(identity(config))
        .collect()
}

/// Why rows that are cleaned up could not be sealed.
fn identity(config: &Config) -> Option<String> {
    let seals =
        config.actions.recipient.is_none() && config.targets.iter().any(|target| target.cleanup.is_some());
    let path = keys::path(config);
    // Where there is none, one is made.
    let read = (seals && path.exists()).then(|| Identity::read(&path))?;
    read.err().map(|error| format!("actions: {error}"))
}

/// Why a store cannot be had there.
fn store(place: &Place) -> Option<String> {
    match place {
        Place::File(path) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let sound = folder.unwrap_or(Path::new(".")).is_dir() && (path.is_file() || !path.exists());
            (!sound).then(|| StoreError::Open(path.clone()).to_string())
        }
        Place::Server(dsn) => tls(dsn),
    }
}

/// The addresses of a target that cannot be used.
fn addresses(target: &Target) -> Vec<String> {
    let addresses = [
        ("url", Some(&target.address)),
        ("replica_url", target.replica.as_ref()),
        ("act_url", target.act.as_ref()),
    ];
    let problem = |(key, address): (&str, Option<&Address>)| {
        let problem = address?.tls_problem()?;
        Some(format!("target `{}`: {key}: {problem}", target.name))
    };
    addresses.into_iter().filter_map(problem).collect()
}

/// Why no TLS connection can be made to an address that asks for certificates to be checked.
fn tls(dsn: &Dsn) -> Option<String> {
    if dsn.is_local() {
        return None;
    }
    dsn.check_tls().err().map(|error| format!("TLS: {error}"))
}
