//! `[[logs]]`: where log lines of the application come from.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use credentials::Secret;
use ipnet::IpNet;
use jiff::{SignedDuration, tz::TimeZone};
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{suggest::did_you_mean, timestamp::UtcTimestamp};
use sessionwatch_logs::pattern::Pattern;

use super::{formats::ListenAddress, names::ConfigNames, section_reader::SectionReader};
use crate::{
    checks::{LogCheck, LogCheckLimit},
    config_file::{BoundedSeconds, SecretKeys, SecretLookup, SecretText, WithSpan},
};

pub use super::custom_log_check::CustomLogCheck;

/// The shortest key of a drain or of who sends lines.
const MIN_SECRET_BYTES: usize = 16;

/// Where log lines of the application come from, for `sessionwatch serve`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogsSection {
    /// Its name in reports.
    #[schemars(extend("x-required" = true), example = &"app")]
    name: Option<WithSpan<String>>,
    /// A file that grows, a log drain of Vercel, whoever posts lines with a token, or syslog.
    #[schemars(extend("default" = "file"))]
    kind: Option<WithSpan<LogSourceKindName>>,
    /// The target whose sessions the lines are about.
    #[schemars(extend("x-otherwise" = "the only target"), example = &"main")]
    target: Option<WithSpan<String>>,
    /// The file; it may be rotated, truncated and made anew.
    #[schemars(
        extend("x-otherwise" = "with kind = \"file\" it must be written"),
        example = &"/var/log/app/app.log",
    )]
    file: Option<String>,
    /// What a drain signs with, or the bearer token of who posts lines: at least 16 characters.
    #[schemars(extend("x-otherwise" = "secret_file"), example = &"${DRAIN_SECRET}")]
    secret: Option<WithSpan<SecretText>>,
    /// A file that holds nothing but the secret.
    #[schemars(extend("x-otherwise" = "secret"), example = &"/run/secrets/drain")]
    secret_file: Option<WithSpan<String>>,
    /// With kind = "vercel", the value of x-vercel-verify by which the drain knows the endpoint.
    #[schemars(extend("x-otherwise" = "not used"), example = &"0123456789abcdef")]
    verify: Option<String>,
    /// Where syslog is listened for, over TCP and UDP.
    #[schemars(
        extend("x-otherwise" = "with kind = \"syslog\" it must be written"),
        example = &"127.0.0.1:5514",
    )]
    listen: Option<WithSpan<ListenAddress>>,
    /// With kind = "syslog", the addresses or networks that may send; lines of others are refused.
    #[schemars(extend("x-otherwise" = "everybody who reaches the address"), example = ["10.0.0.0/8"])]
    senders: Option<WithSpan<Vec<String>>>,
    /// The zone of times in the lines that name none.
    timezone: WithSpan<String>,
    /// Lines may be missing, as with a drain that samples: nothing follows from one that is not there.
    sampled: bool,
    /// Time without a line after which a source that normally speaks has gone quiet.
    idle_after: BoundedSeconds<60, 604_800>,
}

/// Where lines come from, as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum LogSourceKindName {
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
            idle_after: BoundedSeconds::new(super::section_reader::HOUR_SECONDS),
        }
    }
}

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSourceKind {
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
pub struct LogSourceConfig {
    /// Its name.
    pub name: String,
    /// The target whose sessions the application logs about.
    pub target: String,
    /// Where they come from.
    pub kind: LogSourceKind,
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// Lines may be missing, so that nothing follows from one that is.
    pub is_sampled: bool,
    /// How long there is no line of a source that normally speaks before it counts as idle.
    pub idle_after: SignedDuration,
}

/// Everything about logs.
#[derive(Clone, Debug, Default)]
pub struct LogsConfig {
    /// Where lines come from.
    pub sources: Vec<LogSourceConfig>,
    /// The operator's patterns.
    pub custom_checks: Vec<CustomLogCheck>,
    /// At what the checks fail, where it is not as usual.
    pub check_limits: BTreeMap<&'static str, LogCheckLimit>,
    /// Why a source cannot be used at present, by its name.
    pub unresolved_sources: Vec<(String, String)>,
}

impl LogsConfig {
    /// At what a check fails.
    #[must_use]
    pub fn check_limit(&self, check: &LogCheck) -> LogCheckLimit {
        self.check_limits.get(check.id).copied().unwrap_or(check.limit)
    }

    /// The patterns as they are looked for.
    #[must_use]
    pub fn line_patterns(&self) -> Vec<Pattern> {
        self.custom_checks.iter().map(|own| own.pattern.clone()).collect()
    }

    /// The sources of a target.
    pub fn sources_for_target<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a LogSourceConfig> {
        self.sources.iter().filter(move |source| source.target == target)
    }
}

impl LogSourceConfig {
    /// How far its zone is ahead of UTC at an instant.
    #[must_use]
    pub fn utc_offset_at(&self, at: UtcTimestamp) -> SignedDuration {
        self.zone.to_offset(at.into()).into()
    }
}

/// Adds a source to the logs, or why it cannot be used at present, unless it is wrong.
pub(super) fn validate_source(
    section: &WithSpan<LogsSection>,
    names: &ConfigNames,
    logs: &mut LogsConfig,
    reader: &mut SectionReader<'_, '_>,
) {
    let Some(name) = section.name.as_ref() else { return };
    if logs.sources.iter().any(|other| other.name == **name) {
        reader.report_problem(name.span(), "another source has that name");
    }
    let Some(target) = resolve_target(section, names, reader) else { return };
    let Some(zone) = reader.parse_time_zone(&section.timezone) else { return };
    match validate_kind(section, reader) {
        Some(Ok(kind)) => logs.sources.push(LogSourceConfig {
            name: name.to_string(),
            target,
            kind,
            zone,
            is_sampled: section.sampled,
            idle_after: section.idle_after.to_duration(),
        }),
        Some(Err(missing)) => logs.unresolved_sources.push((name.to_string(), missing)),
        None => {}
    }
}

/// The target that is named, or the only one.
fn resolve_target(
    section: &WithSpan<LogsSection>,
    names: &ConfigNames,
    reader: &mut SectionReader<'_, '_>,
) -> Option<String> {
    match (&section.target, names.targets.as_slice()) {
        (Some(name), targets) if targets.contains(name) => Some(name.to_string()),
        (Some(name), targets) => {
            let hint = did_you_mean(name, targets.iter().map(String::as_str));
            reader.report_problem(name.span(), format!("there is no target `{}`{hint}", **name));
            None
        }
        (None, [only]) => Some(only.clone()),
        (None, _) => {
            reader
                .report_problem(section.span(), "must name the target whose sessions these lines are about");
            None
        }
    }
}

/// Where the lines come from; or what is missing for it at present. Nothing if it is wrong.
fn validate_kind(
    section: &WithSpan<LogsSection>,
    reader: &mut SectionReader<'_, '_>,
) -> Option<Result<LogSourceKind, String>> {
    let span = section.span();
    let name = section.kind.as_deref().copied().unwrap_or_default();
    match name {
        _ if reader.problems.has_invalid_key(&span, &["kind", "listen", "secret", "secret_file", "file"]) => {
            None
        }
        LogSourceKindName::File => match &section.file {
            Some(path) => Some(Ok(LogSourceKind::File(reader.folder.join(path)))),
            None => report_missing_key(section, "needs the key `file`", reader),
        },
        LogSourceKindName::Syslog => match &section.listen {
            Some(listen) => {
                let senders = section.senders.as_ref().map(|senders| reader.parse_networks(senders));
                Some(Ok(LogSourceKind::Syslog { listen: listen.0, senders: senders.unwrap_or_default() }))
            }
            None => {
                let message = "must be an IP address and a port, such as \"127.0.0.1:5514\"";
                reader.report_problem(span, message);
                None
            }
        },
        LogSourceKindName::Vercel | LogSourceKindName::Http => {
            Some(match read_source_secret(section, reader)? {
                Err(missing) => Err(missing),
                Ok(secret) if matches!(name, LogSourceKindName::Vercel) => {
                    Ok(LogSourceKind::Vercel { secret, verify: section.verify.clone() })
                }
                Ok(secret) => Ok(LogSourceKind::Http(secret)),
            })
        }
    }
}

/// The secret of who sends lines; or what is missing for it at present. Nothing if it is wrong.
fn read_source_secret(
    section: &WithSpan<LogsSection>,
    reader: &mut SectionReader<'_, '_>,
) -> Option<Result<Secret, String>> {
    let keys =
        SecretKeys { name: "secret", text: section.secret.as_ref(), file: section.secret_file.as_ref() };
    match keys.read_secret(reader.folder, &mut reader.problems) {
        SecretLookup::Found(secret) if secret.expose_bytes().len() < MIN_SECRET_BYTES => {
            reader.report_problem(secret.span(), "must have at least 16 characters, or it could be guessed");
            None
        }
        SecretLookup::Found(secret) => Some(Ok(secret.into_inner())),
        SecretLookup::Unresolved(missing) => Some(Err(missing.into_inner())),
        SecretLookup::Absent => {
            report_missing_key(section, "needs one of the keys `secret` and `secret_file`", reader)
        }
        SecretLookup::Invalid => None,
    }
}

/// Reports a key without which a source of that kind cannot be.
fn report_missing_key<T>(
    section: &WithSpan<LogsSection>,
    message: &str,
    reader: &mut SectionReader<'_, '_>,
) -> Option<T> {
    reader.report_problem(WithSpan::span_or(section.kind.as_ref(), &section.span()), message);
    None
}
