//! `[[logs]]`: sources of application logs.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use credentials::Secret;
use ipnet::IpNet;
use jiff::{SignedDuration, tz::TimeZone};
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{suggest::did_you_mean, timestamp::UtcTimestamp};
use sessionwatch_logs::pattern::Pattern;

use super::{
    name_references::{ConfigNames, report_duplicate_names},
    section_reader::SectionReader,
    text_formats::ListenAddress,
};
use crate::{
    checks::{LogCheck, LogCheckLimit},
    config_file::{
        BoundedSeconds, ConfigProblem, SecretKeys, SecretLookup, SecretText, UnresolvedSection, WithSpan,
    },
};

pub use super::custom_log_check::CustomLogCheck;

/// Minimum length of the signing secret of a drain, or of the bearer token of a sender.
const MIN_SECRET_BYTES: usize = 16;

/// Source of application logs, read by `sessionwatch serve`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogsSection {
    /// Name in reports.
    #[schemars(extend("x-required" = true), example = &"app")]
    name: Option<WithSpan<String>>,
    /// Kind of source: a log file, a Vercel log drain, HTTP requests with a bearer token, or syslog.
    #[schemars(extend("default" = "file"))]
    kind: Option<WithSpan<LogSourceKindName>>,
    /// Target whose sessions the lines refer to.
    #[schemars(extend("x-otherwise" = "the only target"), example = &"main")]
    target: Option<WithSpan<String>>,
    /// Path of the log file, required with kind = "file"; the file may be rotated, truncated and recreated.
    #[schemars(
        extend("x-otherwise" = "none"),
        example = &"/var/log/app/app.log",
    )]
    file: Option<String>,
    /// Signing secret of the drain (kind = "vercel") or bearer token of the sender (kind = "http"), at least 16
    /// characters.
    #[schemars(extend("x-otherwise" = "none"), example = &"${DRAIN_SECRET}")]
    secret: Option<WithSpan<SecretText>>,
    /// File that contains only the secret, instead of `secret`.
    #[schemars(extend("x-otherwise" = "none"), example = &"/run/secrets/drain")]
    secret_file: Option<WithSpan<String>>,
    /// Value of the x-vercel-verify header that proves ownership of the endpoint, with kind = "vercel".
    #[schemars(extend("x-otherwise" = "none"), example = &"0123456789abcdef")]
    verify: Option<String>,
    /// IP address and port of the syslog listener (TCP and UDP), required with kind = "syslog".
    #[schemars(
        extend("x-otherwise" = "none"),
        example = &"127.0.0.1:5514",
    )]
    listen: Option<WithSpan<ListenAddress>>,
    /// Addresses or networks of accepted syslog senders, with kind = "syslog"; lines from others are rejected.
    #[schemars(extend("x-otherwise" = "any"), example = ["10.0.0.0/8"])]
    senders: Option<WithSpan<Vec<String>>>,
    /// Time zone of timestamps that name none.
    timezone: WithSpan<String>,
    /// Lines may be missing, as with a sampling drain; a missing line is then not treated as evidence.
    sampled: bool,
    /// Time without a line after which a normally active source counts as idle.
    idle_after: BoundedSeconds<60, 604_800>,
}

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

/// Kind of a log source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSourceKind {
    /// Log file.
    File(PathBuf),
    /// Vercel log drain.
    Vercel {
        /// Signing secret.
        secret: Secret,
        /// Value of the `x-vercel-verify` header that Vercel expects before it sends lines.
        verify: Option<String>,
    },
    /// HTTP requests with this bearer token.
    Http(Secret),
    /// Syslog over TCP and UDP.
    Syslog {
        /// Address of the listener.
        listen: SocketAddr,
        /// Networks of accepted senders; empty for any.
        senders: Vec<IpNet>,
    },
}

/// Source of log lines.
#[derive(Clone, Debug)]
pub struct LogSourceConfig {
    /// Name in reports.
    pub name: String,
    /// Target whose sessions the lines refer to.
    pub target: String,
    /// Kind of the source.
    pub kind: LogSourceKind,
    /// Time zone of timestamps that name none.
    pub zone: TimeZone,
    /// Lines may be missing, so a missing line is not treated as evidence.
    pub is_sampled: bool,
    /// Time without a line after which a normally active source counts as idle.
    pub idle_after: SignedDuration,
}

/// Log sources and log checks.
#[derive(Clone, Debug, Default)]
pub struct LogsConfig {
    /// Log sources that can be used.
    pub sources: Vec<LogSourceConfig>,
    /// Custom log checks.
    pub custom_checks: Vec<CustomLogCheck>,
    /// Limits of built-in checks that differ from the defaults, by check id.
    pub check_limits: BTreeMap<&'static str, LogCheckLimit>,
    /// Sources that refer to a missing variable or file.
    pub unresolved_sources: Vec<UnresolvedSection>,
}

impl LogsConfig {
    /// Returns the limit of a check: the configured one, or its default.
    #[must_use]
    pub fn check_limit(&self, check: &LogCheck) -> LogCheckLimit {
        self.check_limits.get(check.id).copied().unwrap_or(check.limit)
    }

    /// Returns the line patterns of the custom log checks.
    #[must_use]
    pub fn line_patterns(&self) -> Vec<Pattern> {
        self.custom_checks.iter().map(|own| own.pattern.clone()).collect()
    }

    /// Returns the log sources of a target.
    pub fn sources_for_target<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a LogSourceConfig> {
        self.sources.iter().filter(move |source| source.target == target)
    }
}

impl LogSourceConfig {
    /// Returns the UTC offset of the source's time zone at an instant.
    #[must_use]
    pub fn utc_offset_at(&self, at: UtcTimestamp) -> SignedDuration {
        self.zone.to_offset(at.into()).into()
    }
}

/// Adds the sources to the log settings.
pub(super) fn validate_sources(
    sections: &[WithSpan<LogsSection>],
    names: &ConfigNames,
    logs: &mut LogsConfig,
    reader: &mut SectionReader<'_, '_>,
) {
    report_duplicate_names(sections.iter().filter_map(|section| section.name.as_ref()), "log source", reader);
    for section in sections {
        validate_source(section, names, logs, reader);
    }
}

/// Adds the source, or the reason why it cannot be used, to the log settings, unless the section is invalid.
fn validate_source(
    section: &WithSpan<LogsSection>,
    names: &ConfigNames,
    logs: &mut LogsConfig,
    reader: &mut SectionReader<'_, '_>,
) {
    let Some(name) = section.name.as_ref() else { return };
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
        Some(Err(problem)) => {
            logs.unresolved_sources.push(UnresolvedSection { name: name.to_string(), problem });
        }
        None => {}
    }
}

/// Returns the named target or, without a name, the only one.
fn resolve_target(
    section: &WithSpan<LogsSection>,
    names: &ConfigNames,
    reader: &mut SectionReader<'_, '_>,
) -> Option<String> {
    match (&section.target, names.targets.as_slice()) {
        (Some(name), targets) if targets.contains(name) => Some(name.to_string()),
        (Some(name), targets) => {
            let hint = did_you_mean(name, targets.iter().map(String::as_str));
            reader.report_problem(name.span(), format!("unknown target `{}`{hint}", **name));
            None
        }
        (None, [only]) => Some(only.clone()),
        (None, _) => {
            let message = "missing key `target`, the target whose sessions these lines refer to";
            reader.report_problem(section.span(), message);
            None
        }
    }
}

/// Returns `None` if the section is invalid, and an error if a variable or file is missing.
fn validate_kind(
    section: &WithSpan<LogsSection>,
    reader: &mut SectionReader<'_, '_>,
) -> Option<Result<LogSourceKind, ConfigProblem>> {
    let span = section.span();
    let name = section.kind.as_deref().copied().unwrap_or_default();
    match name {
        // Invalid keys were removed and reported; reporting them as missing too would confuse.
        _ if reader.problems.has_invalid_key(&span, &["kind", "listen", "secret", "secret_file", "file"]) => {
            None
        }
        LogSourceKindName::File => match &section.file {
            Some(path) => Some(Ok(LogSourceKind::File(reader.folder.join(path)))),
            None => report_missing_key(section, "requires the key `file`", reader),
        },
        LogSourceKindName::Syslog => match &section.listen {
            Some(listen) => {
                let senders = section.senders.as_ref().map(|senders| reader.parse_networks(senders));
                Some(Ok(LogSourceKind::Syslog { listen: listen.0, senders: senders.unwrap_or_default() }))
            }
            None => {
                let message =
                    "kind = \"syslog\" requires `listen`, an IP address and port such as \"127.0.0.1:5514\"";
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

/// Reads the secret of a drain or a sender. Returns `None` if the keys are invalid, and an error if a variable or
/// file is missing.
fn read_source_secret(
    section: &WithSpan<LogsSection>,
    reader: &mut SectionReader<'_, '_>,
) -> Option<Result<Secret, ConfigProblem>> {
    let keys =
        SecretKeys { name: "secret", text: section.secret.as_ref(), file: section.secret_file.as_ref() };
    match keys.read_secret(reader.folder, &mut reader.problems) {
        SecretLookup::Found(secret) if secret.expose_bytes().len() < MIN_SECRET_BYTES => {
            reader.report_problem(secret.span(), "too short: must have at least 16 characters");
            None
        }
        SecretLookup::Found(secret) => Some(Ok(secret.into_inner())),
        SecretLookup::Unresolved(missing) => Some(Err(missing)),
        SecretLookup::Absent => {
            report_missing_key(section, "requires the key `secret` or `secret_file`", reader)
        }
        SecretLookup::Invalid => None,
    }
}

/// Reports a key that the kind of the source requires, at `kind` if that is set.
fn report_missing_key<T>(
    section: &WithSpan<LogsSection>,
    message: &str,
    reader: &mut SectionReader<'_, '_>,
) -> Option<T> {
    reader.report_problem(WithSpan::span_or(section.kind.as_ref(), &section.span()), message);
    None
}
