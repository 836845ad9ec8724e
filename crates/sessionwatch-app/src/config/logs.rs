//! `[[logs]]`: where log lines of the application come from.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use credentials::Secret;
use ipnet::IpNet;
use jiff::{SignedDuration, tz::TimeZone};
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{instant::Instant, suggest::nearest};
use sessionwatch_logs::pattern::Pattern;

use super::{formats::ListenAddress, names::Names, reading::Reading};
use crate::{
    checks::{Limit, LogCheck},
    config_file::{Lookup, Seconds, SecretKeys, SecretText, Written},
};

pub use super::log_patterns::LogPattern;

/// The shortest key of a drain or of who sends lines.
const MIN_SECRET_LENGTH: usize = 16;

/// Where log lines of the application come from, for `sessionwatch serve`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogsSection {
    /// Its name in reports.
    #[schemars(extend("x-required" = true), example = &"app")]
    name: Option<Written<String>>,
    /// A file that grows, a log drain of Vercel, whoever posts lines with a token, or syslog.
    #[schemars(extend("default" = "file"))]
    kind: Option<Written<KindName>>,
    /// The target whose sessions the lines are about.
    #[schemars(extend("x-otherwise" = "the only target"), example = &"main")]
    target: Option<Written<String>>,
    /// The file; it may be rotated, truncated and made anew.
    #[schemars(
        extend("x-otherwise" = "with kind = \"file\" it must be written"),
        example = &"/var/log/app/app.log",
    )]
    file: Option<String>,
    /// What a drain signs with, or the bearer token of who posts lines: at least 16 characters.
    #[schemars(extend("x-otherwise" = "secret_file"), example = &"${DRAIN_SECRET}")]
    secret: Option<Written<SecretText>>,
    /// A file that holds nothing but the secret.
    #[schemars(extend("x-otherwise" = "secret"), example = &"/run/secrets/drain")]
    secret_file: Option<Written<String>>,
    /// With kind = "vercel", the value of x-vercel-verify by which the drain knows the endpoint.
    #[schemars(extend("x-otherwise" = "not used"), example = &"0123456789abcdef")]
    verify: Option<String>,
    /// Where syslog is listened for, over TCP and UDP.
    #[schemars(
        extend("x-otherwise" = "with kind = \"syslog\" it must be written"),
        example = &"127.0.0.1:5514",
    )]
    listen: Option<Written<ListenAddress>>,
    /// With kind = "syslog", the addresses or networks that may send; lines of others are refused.
    #[schemars(extend("x-otherwise" = "everybody who reaches the address"), example = ["10.0.0.0/8"])]
    senders: Option<Written<Vec<String>>>,
    /// The zone of times in the lines that name none.
    timezone: Written<String>,
    /// Lines may be missing, as with a drain that samples: nothing follows from one that is not there.
    sampled: bool,
    /// Time without a line after which a source that normally speaks has gone quiet.
    quiet_after: Seconds<60, 604_800>,
}

/// Where lines come from, as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum KindName {
    #[default]
    File,
    Vercel,
    Http,
    Syslog,
}

impl Default for LogsSection {
    fn default() -> Self {
        Self {
            name: None,
            kind: None,
            target: None,
            file: None,
            secret: None,
            secret_file: None,
            verify: None,
            listen: None,
            senders: None,
            timezone: "UTC".to_owned().into(),
            sampled: false,
            quiet_after: Seconds::new(super::reading::HOUR_SECONDS),
        }
    }
}

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
    /// How long there is no line of a source that normally speaks before it counts as idle.
    pub idle_after: SignedDuration,
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
    /// How far its zone is ahead of UTC at an instant.
    #[must_use]
    pub fn offset(&self, at: Instant) -> SignedDuration {
        self.zone.to_offset(at.into()).into()
    }
}

/// Adds a source to the logs, or why it cannot be used at present, unless it is wrong.
pub(super) fn validate(
    section: &Written<LogsSection>,
    names: &Names,
    logs: &mut Logs,
    reading: &mut Reading<'_, '_>,
) {
    let Some(name) = section.name.as_ref() else { return };
    if logs.sources.iter().any(|other| other.name == **name) {
        reading.report(name.span(), "another source has that name");
    }
    let Some(target) = target(section, names, reading) else { return };
    let Some(zone) = reading.time_zone(&section.timezone) else { return };
    match kind(section, reading) {
        Some(Ok(kind)) => logs.sources.push(Source {
            name: name.to_string(),
            target,
            kind,
            zone,
            sampled: section.sampled,
            idle_after: section.quiet_after.duration(),
        }),
        Some(Err(missing)) => logs.unresolved.push((name.to_string(), missing)),
        None => {}
    }
}

/// The target that is named, or the only one.
fn target(section: &Written<LogsSection>, names: &Names, reading: &mut Reading<'_, '_>) -> Option<String> {
    match (&section.target, names.targets.as_slice()) {
        (Some(name), targets) if targets.contains(name) => Some(name.to_string()),
        (Some(name), targets) => {
            let hint = nearest(name, targets.iter().map(String::as_str));
            reading.report(name.span(), format!("there is no target `{}`{hint}", **name));
            None
        }
        (None, [only]) => Some(only.clone()),
        (None, _) => {
            reading.report(section.span(), "must name the target whose sessions these lines are about");
            None
        }
    }
}

/// Where the lines come from; or what is missing for it at present. Nothing if it is wrong.
fn kind(section: &Written<LogsSection>, reading: &mut Reading<'_, '_>) -> Option<Result<Kind, String>> {
    let span = section.span();
    let name = section.kind.as_deref().copied().unwrap_or_default();
    match name {
        _ if reading.problems.was_refused(&span, &["kind", "listen", "secret", "secret_file", "file"]) => {
            None
        }
        KindName::File => match &section.file {
            Some(path) => Some(Ok(Kind::File(reading.folder.join(path)))),
            None => lacks(section, "needs the key `file`", reading),
        },
        KindName::Syslog => match &section.listen {
            Some(listen) => {
                let senders = section.senders.as_ref().map(|senders| reading.networks(senders));
                Some(Ok(Kind::Syslog { listen: listen.0, senders: senders.unwrap_or_default() }))
            }
            None => {
                let message = "must be an IP address and a port, such as \"127.0.0.1:5514\"";
                reading.report(span, message);
                None
            }
        },
        KindName::Vercel | KindName::Http => Some(match secret(section, reading)? {
            Err(missing) => Err(missing),
            Ok(secret) if matches!(name, KindName::Vercel) => {
                Ok(Kind::Vercel { secret, verify: section.verify.clone() })
            }
            Ok(secret) => Ok(Kind::Http(secret)),
        }),
    }
}

/// The secret of who sends lines; or what is missing for it at present. Nothing if it is wrong.
fn secret(section: &Written<LogsSection>, reading: &mut Reading<'_, '_>) -> Option<Result<Secret, String>> {
    let keys =
        SecretKeys { name: "secret", text: section.secret.as_ref(), file: section.secret_file.as_ref() };
    match keys.look_up(reading.folder, &mut reading.problems) {
        Lookup::Found(secret) if secret.bytes().len() < MIN_SECRET_LENGTH => {
            reading.report(secret.span(), "must have at least 16 characters, or it could be guessed");
            None
        }
        Lookup::Found(secret) => Some(Ok(secret.into_inner())),
        Lookup::Missing(missing) => Some(Err(missing.into_inner())),
        Lookup::Absent => lacks(section, "needs one of the keys `secret` and `secret_file`", reading),
        Lookup::Refused => None,
    }
}

/// Reports a key without which a source of that kind cannot be.
fn lacks<T>(section: &Written<LogsSection>, message: &str, reading: &mut Reading<'_, '_>) -> Option<T> {
    reading.report(Written::span_or(section.kind.as_ref(), &section.span()), message);
    None
}
