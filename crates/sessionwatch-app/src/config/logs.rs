//! `[[logs]]`, `[[log_pattern]]` and the checks of logs as used.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use jiff::tz::TimeZone;
use sessionwatch_core::{
    instant::{Instant, SECOND},
    severity::Severity,
};
use sessionwatch_logs::pattern::Pattern;

use super::{
    reader::{Node, Reader},
    serve::networks,
};
use crate::{
    checks::{self, Limit, LogCheck},
    environment,
    secret::Secret,
    suggest::nearest,
};

/// The shortest key of a drain or of who sends lines.
const SHORTEST: usize = 16;

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file that grows.
    File(PathBuf),
    /// A log drain of Vercel.
    Vercel {
        /// What it signs with.
        secret: Secret,
        /// What it wants to hear before it sends.
        verify: Option<String>,
    },
    /// Whoever sends lines with a token.
    Http(Secret),
    /// Syslog over TCP and UDP.
    Syslog {
        /// Where it is listened for.
        listen: SocketAddr,
        /// The networks that may send; everybody if there are none.
        senders: Vec<IpNet>,
    },
}

/// A source of log lines.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// The target whose sessions the application logs about.
    pub target: String,
    /// Where they come from.
    pub kind: Kind,
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// Lines may be missing, so that nothing follows from one that is.
    pub sampled: bool,
    /// Microseconds without a line after which a source that normally speaks is too quiet.
    pub quiet_us: i64,
}

/// A pattern of the operator's, which is a check too.
#[derive(Clone, Debug, PartialEq)]
pub struct LogPattern {
    /// What is looked for.
    pub pattern: Pattern,
    /// At what it fails.
    pub limit: Limit,
    /// What to do when it fails; may be empty.
    pub action: String,
}

/// Everything about logs.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    /// Where lines come from.
    pub sources: Vec<Source>,
    /// The operator's patterns.
    pub patterns: Vec<LogPattern>,
    /// At what the checks fail, where it is not as usual.
    pub limits: BTreeMap<&'static str, Limit>,
    /// Why a source cannot be used at present, by its name.
    pub unresolved: Vec<(String, String)>,
}

impl Logs {
    /// At what a check fails.
    #[must_use]
    pub fn limit(&self, check: &LogCheck) -> Limit {
        self.limits.get(check.id).copied().unwrap_or(check.limit)
    }

    /// The patterns as they are looked for.
    #[must_use]
    pub fn looked_for(&self) -> Vec<Pattern> {
        self.patterns.iter().map(|own| own.pattern.clone()).collect()
    }

    /// The sources of a target.
    pub fn of<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Source> {
        self.sources.iter().filter(move |source| source.target == target)
    }
}

impl Source {
    /// Microseconds that its zone is ahead of UTC at an instant.
    #[must_use]
    pub fn offset_us(&self, at: Instant) -> i64 {
        let at = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or_default();
        i64::from(self.zone.to_offset(at).seconds()) * SECOND
    }
}

pub(super) fn read(reader: &mut Reader<'_>, root: &Node, folder: &Path) -> Logs {
    let mut logs = Logs::default();
    let targets: Vec<&str> = root.below("target").iter().filter_map(|node| node.text("name")).collect();
    for check in checks::LOG_CHECKS {
        if let Some(node) = root.below(&format!("checks.{}", check.id)).first() {
            logs.limits.insert(check.id, limit(node, check.limit));
        }
    }
    for node in root.below("log_pattern") {
        let taken: Vec<&str> = taken(root, &logs);
        if let Some(pattern) = pattern(reader, node, &taken) {
            logs.patterns.push(pattern);
        }
    }
    for node in root.below("logs") {
        match source(reader, node, (&logs, &targets), folder) {
            Some(Ok(source)) => logs.sources.push(source),
            Some(Err(unresolved)) => logs.unresolved.push(unresolved),
            None => {}
        }
    }
    logs
}

/// The ids that other checks have.
fn taken<'a>(root: &'a Node, logs: &'a Logs) -> Vec<&'a str> {
    let builtin = checks::TABLE_CHECKS
        .iter()
        .map(|check| check.id)
        .chain(checks::LOG_CHECKS.iter().map(|check| check.id));
    let own = root.below("check").iter().filter_map(|node| node.text("id"));
    let patterns = logs.patterns.iter().map(|own| own.pattern.name.as_str());
    builtin.chain([checks::TARGET_UNREACHABLE, checks::CHANNEL_FAILING]).chain(own).chain(patterns).collect()
}

fn span(node: &Node, key: &str) -> Option<i64> {
    node.whole(key).and_then(|seconds| i64::try_from(seconds).ok()).map(|seconds| seconds * SECOND)
}

fn limit(node: &Node, usual: Limit) -> Limit {
    Limit {
        max: node.whole("max").unwrap_or(usual.max),
        window_us: span(node, "window").unwrap_or(usual.window_us),
    }
}

fn pattern(reader: &mut Reader<'_>, node: &Node, taken: &[&str]) -> Option<LogPattern> {
    let name = node.text("name")?;
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if name.is_empty() || !name.chars().all(plain) {
        let message = "must be small letters, digits and hyphens, such as \"password-failures\"";
        reader.problem(node.at("name"), "log_pattern.name", message.into());
    }
    if taken.contains(&name) {
        reader.problem(node.at("name"), "log_pattern.name", "a check has that name already".into());
    }
    let severity = node.text("severity").and_then(Severity::parse).unwrap_or(Severity::Medium);
    match Pattern::new(name, severity, node.text("literal"), node.text("regex")) {
        Ok(pattern) => Some(LogPattern {
            pattern,
            limit: limit(node, Limit { max: 0, window_us: checks::DEFAULT_WINDOW_US }),
            action: node.text("action").unwrap_or_default().to_owned(),
        }),
        Err(error) => {
            let at = if node.has("regex") { node.at("regex") } else { node.at("literal") };
            reader.problem(at, "log_pattern", error.to_string());
            None
        }
    }
}

fn source(
    reader: &mut Reader<'_>,
    node: &Node,
    (logs, targets): (&Logs, &[&str]),
    folder: &Path,
) -> Option<Result<Source, (String, String)>> {
    let name = node.text("name")?.to_owned();
    if logs.sources.iter().any(|other| other.name == name) {
        reader.problem(node.at("name"), "logs.name", "another source has that name".into());
    }
    let target = target(reader, node, targets)?;
    let zone = match node.text("timezone").map(TimeZone::get) {
        None => TimeZone::UTC,
        Some(Ok(zone)) => zone,
        Some(Err(_)) => {
            let message = "must be the IANA name of a time zone, such as \"Europe/Berlin\"";
            reader.problem(node.at("timezone"), "logs.timezone", message.into());
            return None;
        }
    };
    let kind = match kind(reader, node, folder)? {
        Ok(kind) => kind,
        Err(missing) => return Some(Err((name, missing))),
    };
    let (sampled, quiet) = (node.flag("sampled").unwrap_or(false), span(node, "quiet_after"));
    let quiet_us = quiet.unwrap_or(checks::DEFAULT_WINDOW_US);
    Some(Ok(Source { name, target, kind, zone, sampled, quiet_us }))
}

/// The target that is named, or the only one.
fn target(reader: &mut Reader<'_>, node: &Node, targets: &[&str]) -> Option<String> {
    match (node.text("target"), targets) {
        (Some(name), _) if targets.contains(&name) => Some(name.to_owned()),
        (Some(name), _) => {
            let message = format!("there is no target `{name}`{}", nearest(name, targets.iter().copied()));
            reader.problem(node.at("target"), "logs.target", message);
            None
        }
        (None, [only]) => Some((*only).to_owned()),
        (None, _) => {
            let message = "must name the target whose sessions these lines are about";
            reader.problem(node.at, "logs.target", message.into());
            None
        }
    }
}

/// Where the lines come from; or what is missing for it at present.
fn kind(reader: &mut Reader<'_>, node: &Node, folder: &Path) -> Option<Result<Kind, String>> {
    let (word, mut problem) = (node.text("kind").unwrap_or("file"), |key: &str, message: &str| {
        reader.problem(node.at(key), &format!("logs.{key}"), message.into());
        None
    });
    match word {
        "file" => match node.text("file") {
            Some(path) => Some(Ok(Kind::File(folder.join(path)))),
            None => problem("kind", "needs the key `file`"),
        },
        "syslog" => match node.text("listen").map(str::parse) {
            Some(Ok(listen)) => {
                Some(Ok(Kind::Syslog { listen, senders: networks(reader, node, "logs.senders") }))
            }
            _ => problem("listen", "must be an IP address and a port, such as \"127.0.0.1:5514\""),
        },
        _ => {
            let secret = match (node.text("secret"), node.text("secret_file")) {
                (Some(text), None) => environment::secret(Ok(text)),
                (None, Some(file)) => environment::secret(Err(folder.join(file))),
                _ => return problem("kind", "needs one of the keys `secret` and `secret_file`"),
            };
            let secret = match secret {
                Ok(secret) if secret.bytes().len() < SHORTEST => {
                    return problem("secret", "must have at least 16 characters, or it could be guessed");
                }
                Ok(secret) => secret,
                Err(missing) => return Some(Err(missing)),
            };
            Some(Ok(match word {
                "vercel" => Kind::Vercel { secret, verify: node.text("verify").map(str::to_owned) },
                _ => Kind::Http(secret),
            }))
        }
    }
}
