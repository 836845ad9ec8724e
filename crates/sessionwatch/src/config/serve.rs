//! `[serve]`, `[[channel]]` and `[[route]]` as used.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use sessionwatch_rules::{instant::DAY, severity::Severity};

use super::{
    environment,
    reader::{Node, Reader},
};
use crate::{checks, suggest::nearest};

/// The watch.
#[derive(Clone, Debug)]
pub struct Serve {
    /// The file of its memory.
    pub store: PathBuf,
    /// Where metrics are served.
    pub listen: SocketAddr,
    /// Microseconds for which looks are kept.
    pub keep_us: i64,
    /// Ways to tell people.
    pub channels: Vec<Channel>,
    /// Who is told of what; empty: every channel of everything.
    pub routes: Vec<Route>,
    /// Why a channel cannot be used at present, by its name.
    pub unresolved: Vec<(String, String)>,
}

/// A way to tell people.
#[derive(Clone)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// What is sent.
    pub kind: Kind,
    /// Where to.
    pub url: String,
    /// The key of the signature.
    pub secret: Option<String>,
}

/// What is sent over a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON, signed.
    Webhook,
    /// A message for Slack.
    Slack,
}

/// Who is told of what.
#[derive(Clone, Debug)]
pub struct Route {
    /// Names of channels.
    pub channels: Vec<String>,
    /// The mildest findings.
    pub severity: Severity,
    /// Names of targets; empty for all.
    pub targets: Vec<String>,
    /// Ids of checks; empty for all.
    pub checks: Vec<String>,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            store: PathBuf::from("sessionwatch-state.db"),
            listen: SocketAddr::from(([127, 0, 0, 1], 9797)),
            keep_us: 30 * DAY,
            channels: vec![],
            routes: vec![],
            unresolved: vec![],
        }
    }
}

impl Serve {
    /// The channels that are told of a finding, each once.
    #[must_use]
    pub fn told(&self, target: &str, check: &str, severity: Severity) -> Vec<&Channel> {
        let about = |route: &&Route| {
            severity >= route.severity
                && (route.targets.is_empty() || route.targets.iter().any(|name| name == target))
                && (route.checks.is_empty() || route.checks.iter().any(|id| id == check))
        };
        let routes: Vec<&Route> = self.routes.iter().filter(about).collect();
        let meant = |channel: &&Channel| {
            self.routes.is_empty() || routes.iter().any(|route| route.channels.contains(&channel.name))
        };
        self.channels.iter().filter(meant).collect()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL of a chat's webhook is a secret of its own.
        f.debug_struct("Channel").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

pub(super) fn read(reader: &mut Reader<'_>, root: &Node, folder: &Path) -> Serve {
    let mut serve = Serve { store: folder.join(Serve::default().store), ..Serve::default() };
    if let Some(node) = root.below("serve").first() {
        if let Some(store) = node.text("store") {
            serve.store = folder.join(store);
        }
        match node.text("listen").map(str::parse) {
            Some(Ok(listen)) => serve.listen = listen,
            Some(Err(_)) => {
                let message = "must be an IP address and a port, such as \"127.0.0.1:9797\"";
                reader.problem(node.at("listen"), "serve.listen", message.into());
            }
            None => {}
        }
        let days = node.whole("keep_days").and_then(|days| i64::try_from(days).ok());
        serve.keep_us = days.map_or(serve.keep_us, |days| days * DAY);
    }
    for node in root.below("channel") {
        channel(reader, node, (folder, &mut serve));
    }
    let known: Vec<&str> = root.below("channel").iter().filter_map(|node| node.text("name")).collect();
    let targets: Vec<&str> = root.below("target").iter().filter_map(|node| node.text("name")).collect();
    let own = root.below("check").iter().filter_map(|node| node.text("id"));
    let ids: Vec<&str> = checks::ALL.iter().map(|check| check.id).chain([checks::BLIND]).chain(own).collect();
    for node in root.below("route") {
        for (key, what, known) in
            [("channels", "channel", &known), ("targets", "target", &targets), ("checks", "check", &ids)]
        {
            for name in node.texts(key).iter().filter(|name| !known.contains(&name.as_str())) {
                let message = format!("there is no {what} `{name}`{}", nearest(name, known.iter().copied()));
                reader.problem(node.at(key), &format!("route.{key}"), message);
            }
        }
        serve.routes.push(Route {
            channels: node.texts("channels"),
            severity: node.text("severity").and_then(Severity::parse).unwrap_or(Severity::Low),
            targets: node.texts("targets"),
            checks: node.texts("checks"),
        });
    }
    serve
}

fn channel(reader: &mut Reader<'_>, node: &Node, (folder, serve): (&Path, &mut Serve)) {
    let Some(name) = node.text("name").map(str::to_owned) else { return };
    if serve.channels.iter().any(|channel| channel.name == name) {
        reader.problem(node.at("name"), "channel.name", "another channel has that name".into());
    }
    let kind = if node.text("kind") == Some("slack") { Kind::Slack } else { Kind::Webhook };
    let url = match (node.text("url"), node.text("url_file")) {
        (Some(url), None) => environment::secret(Ok(url)),
        (None, Some(file)) => environment::secret(Err(folder.join(file))),
        _ => {
            reader.problem(node.at, "channel", "write either `url` or `url_file`".into());
            return;
        }
    };
    let secret = node.text("secret").map(|secret| environment::secret(Ok(secret))).transpose();
    match (url, secret) {
        (Ok(url), Ok(secret)) if url.starts_with("https://") || url.starts_with("http://") => {
            serve.channels.push(Channel { name, kind, url, secret });
        }
        (Ok(_), Ok(_)) => {
            reader.problem(node.at, "channel", "the URL must begin with https:// (or http://)".into());
        }
        (Err(problem), _) | (_, Err(problem)) => serve.unresolved.push((name, problem)),
    }
}
