//! What keeps `serve` from running with a configuration that can be read: what it refers to is missing, or cannot be used.
//! Nothing is connected to, bound or written to find out.

use std::path::Path;

use super::{Config, ConfigError, Target};
use pg_link::Dsn;

use crate::{
    actions::keys,
    archive::sealing::Identity,
    daemon,
    notify::Sender,
    store::{Place, StoreError},
    target::address::Address,
    web::openid::provider,
};

impl Config {
    /// Makes sure that `serve` can run with it, as far as that can be known without connecting to anything.
    ///
    /// # Errors
    ///
    /// If it cannot: everything that is wrong, in one error.
    pub fn usable(&self) -> Result<(), ConfigError> {
        let mut problems = self.obstacles();
        if self.targets.is_empty() && self.unresolved.is_empty() {
            let none = "no target is configured: `sessionwatch init` writes a file that names one";
            problems.insert(0, none.to_owned());
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Unusable { file: self.file.clone(), problems })
        }
    }

    /// What is missing or cannot be used of all that the configuration refers to.
    pub(super) fn obstacles(&self) -> Vec<String> {
        let serve = &self.serve;
        let targets = self.unresolved.iter().map(|target| target.problem.to_string());
        // Without it, nothing can be cleaned up; all else can be done.
        let cleaned = self.targets.iter().filter(|target| target.cleanup.is_some());
        let acting = cleaned.filter_map(|target| Some(target.act_missing.as_ref()?.to_string()));
        let channels = serve.unresolved.iter().map(|(name, problem)| format!("channel `{name}`: {problem}"));
        let senders = serve.channels.iter().filter_map(|channel| {
            let failure = Sender::new(channel).and_then(|sender| sender.fits(channel)).err()?;
            Some(format!("channel `{}`: {failure}", channel.name))
        });
        let logs = self.logs.unresolved.iter().map(|(name, problem)| format!("logs `{name}`: {problem}"));
        let store = match &serve.store_unresolved {
            Some(problem) => Some(problem.clone()),
            None => store(&serve.store),
        };
        let store = store.map(|problem| format!("serve.store: {problem}"));
        let certificate = serve.tls.as_ref().and_then(daemon::certificate_problem);
        let openid = self.openid_unresolved.clone().or_else(|| provider::problem(self.openid.as_ref()?));
        let openid = openid.map(|problem| format!("openid: {problem}"));
        targets
            .chain(acting)
            .chain(self.targets.iter().flat_map(addresses))
            .chain(channels)
            .chain(senders)
            .chain(logs)
            .chain(store)
            .chain(certificate)
            .chain(openid)
            .chain(self.identity())
            .collect()
    }

    /// Why rows that are cleaned up could not be sealed.
    fn identity(&self) -> Option<String> {
        let seals =
            self.actions.recipient.is_none() && self.targets.iter().any(|target| target.cleanup.is_some());
        let path = keys::path(self);
        // Where there is none, one is made.
        let read = (seals && path.exists()).then(|| Identity::read(&path))?;
        read.err().map(|error| format!("actions: {error}"))
    }
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
    let problem = |(key, address): (&str, Option<&Address>)| match address? {
        Address::Postgres(dsn) => {
            tls(dsn).map(|problem| format!("target `{}`: {key}: {problem}", target.name))
        }
        Address::Sqlite(_) => None,
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
