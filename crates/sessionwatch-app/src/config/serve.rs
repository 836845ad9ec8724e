//! `[serve]`: the daemon's state store, listener, TLS, allowed hosts and retention.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use credentials::Secret;
use ipnet::IpNet;
use jiff::{SignedDuration, tz::TimeZone};
use pg_link::Dsn;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{severity::Severity, timestamp::UtcTimestamp};
use sessionwatch_store::StoreLocation;
use sessionwatch_targets::address::TargetAddress;

use super::{
    routing::{MaintenanceWindow, NotificationRoute, ScheduledReport},
    section_reader::SectionReader,
    text_formats::ListenAddress,
};
use crate::{
    config_file::{ConfigProblem, SecretKeys, SecretLookup, SecretText, UnresolvedSection, WithSpan},
    notify::NotificationChannel,
};

const DEFAULT_STORE_FILE: &str = "sessionwatch-state.db";

/// Daemon: `sessionwatch serve`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ServeSection {
    /// State store: an SQLite file, relative to this file and created if missing, or a PostgreSQL address, which
    /// several daemons can share.
    #[schemars(extend("default" = DEFAULT_STORE_FILE))]
    store: Option<WithSpan<SecretText>>,
    /// File that contains only the path or address of the state store, instead of `store`.
    #[schemars(extend("x-otherwise" = "none"), example = &"/run/secrets/store-url")]
    store_file: Option<WithSpan<String>>,
    /// IP address and port of the dashboard, /metrics, /healthz and /readyz; port 0 picks a free port.
    listen: ListenAddress,
    /// External URL of the dashboard, such as that of a reverse proxy; https:// makes cookies secure.
    #[schemars(
        extend("x-otherwise" = "http:// and the address of `listen`"),
        example = &"https://watch.example.org",
    )]
    pub(super) public_url: Option<WithSpan<String>>,
    /// PEM file with the TLS certificate chain of the listener; reread every hour and on reload.
    #[schemars(extend("x-otherwise" = "no TLS"), example = &"/etc/sessionwatch/fullchain.pem")]
    tls_certificate: Option<String>,
    /// PEM file with the private key of the TLS certificate.
    #[schemars(extend("x-otherwise" = "no TLS"), example = &"/etc/sessionwatch/key.pem")]
    tls_key: Option<String>,
    /// Addresses or networks of proxies whose `X-Forwarded-For` header is trusted.
    trusted_proxies: WithSpan<Vec<String>>,
    /// Additional host names accepted in requests; "*" for any. Always accepted: the host of `public_url`, IP
    /// addresses, names without a dot, and names under localhost, svc, cluster.local, internal and home.arpa.
    allowed_hosts: WithSpan<Vec<String>>,
    /// Days for which history is kept.
    #[schemars(range(min = 1, max = 36_500))]
    retention_days: u64,
    /// IANA time zone of cron expressions.
    pub(super) timezone: WithSpan<String>,
    /// Name of this daemon among those that share a state store.
    #[schemars(extend("x-otherwise" = "host name and process ID"), example = &"watcher-1")]
    name: Option<String>,
}

impl Default for ServeSection {
    fn default() -> Self {
        Self {
            store: None,
            store_file: None,
            listen: ListenAddress(SocketAddr::from(([127, 0, 0, 1], 9797))),
            public_url: None,
            tls_certificate: None,
            tls_key: None,
            trusted_proxies: vec![].into(),
            allowed_hosts: vec![].into(),
            retention_days: 400,
            timezone: "UTC".to_owned().into(),
            name: None,
        }
    }
}

/// Settings of the daemon.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Location of the state store.
    pub store: StoreLocation,
    /// Missing variable or file to which the location refers.
    pub store_unresolved: Option<ConfigProblem>,
    /// Address of the dashboard and the metrics.
    pub listen: SocketAddr,
    /// External URL of the dashboard, if it differs from `listen`.
    pub public_url: Option<String>,
    /// Paths of the TLS certificate chain and its private key; `None` for plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Proxies whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Additional host names accepted in requests; `*` for any.
    pub allowed_hosts: Vec<String>,
    /// Time for which history is kept.
    pub history_retention: SignedDuration,
    /// Time zone of cron expressions.
    pub time_zone: TimeZone,
    /// Name among the daemons that share the state store; `None` for host name and process ID.
    pub instance_name: Option<String>,
    /// Notification channels that can be used.
    pub channels: Vec<NotificationChannel>,
    /// Notification routes; if empty, every channel receives every notification.
    pub routes: Vec<NotificationRoute>,
    /// Windows in which notifications are held back.
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// Scheduled checklist report.
    pub scheduled_report: Option<ScheduledReport>,
    /// Channels that refer to a missing variable or file.
    pub unresolved_channels: Vec<UnresolvedSection>,
}

impl Default for ServeConfig {
    fn default() -> Self {
        let section = ServeSection::default();
        Self {
            store: StoreLocation::File(PathBuf::from(DEFAULT_STORE_FILE)),
            store_unresolved: None,
            listen: section.listen.0,
            public_url: None,
            tls: None,
            trusted_proxies: vec![],
            allowed_hosts: vec![],
            history_retention: history_retention(&section),
            time_zone: TimeZone::UTC,
            instance_name: None,
            channels: vec![],
            routes: vec![],
            maintenance_windows: vec![],
            scheduled_report: None,
            unresolved_channels: vec![],
        }
    }
}

/// Validates the section. Channels, routes, maintenance windows and reports come from other sections.
pub(super) fn validate_serve(
    section: &WithSpan<ServeSection>,
    reader: &mut SectionReader<'_, '_>,
) -> ServeConfig {
    let mut serve = ServeConfig {
        listen: section.listen.0,
        public_url: section.public_url.as_ref().map(|url| url.to_string()),
        allowed_hosts: section.allowed_hosts.to_vec(),
        history_retention: history_retention(section),
        time_zone: reader.zone.clone(),
        instance_name: section.name.clone(),
        ..ServeConfig::default()
    };
    validate_store(section, &mut serve, reader);
    if let Some(url) = &section.public_url
        && !(url.starts_with("https://") || url.starts_with("http://"))
    {
        let message = "must start with https:// or http://, such as \"https://watch.example.org\"";
        reader.report_problem(url.span(), message);
    }
    // One without the other would silently serve plain HTTP.
    serve.tls = match (&section.tls_certificate, &section.tls_key) {
        (Some(certificate), Some(key)) => Some((reader.folder.join(certificate), reader.folder.join(key))),
        (None, None) => None,
        _ => {
            reader.report_problem(section.span(), "`tls_certificate` and `tls_key` must be set together");
            None
        }
    };
    for host in section.allowed_hosts.iter() {
        // The daemon compares these names with the Host header, against DNS rebinding; a port would never match.
        let is_host_character = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_');
        if host != "*" && (host.is_empty() || !host.chars().all(is_host_character)) {
            let message = format!(
                "`{host}` is not a host name: use one without scheme and port, such as \"watch.example.org\""
            );
            reader.report_problem(section.allowed_hosts.span(), message);
        }
    }
    serve.trusted_proxies = reader.parse_networks(&section.trusted_proxies);
    serve
}

fn history_retention(section: &ServeSection) -> SignedDuration {
    // Saturating: the schema limits the days, but its limit is checked elsewhere.
    SignedDuration::from_hours(i64::try_from(section.retention_days).unwrap_or(i64::MAX).saturating_mul(24))
}

fn validate_store(section: &ServeSection, serve: &mut ServeConfig, reader: &mut SectionReader<'_, '_>) {
    let keys = SecretKeys { name: "store", text: section.store.as_ref(), file: section.store_file.as_ref() };
    match keys.read_secret(reader.folder, &mut reader.problems) {
        SecretLookup::Found(written) => {
            if let Some(place) = parse_store_location(&written, reader) {
                serve.store = place;
            }
        }
        // Not an error: `check` and other commands that need no store still run.
        SecretLookup::Unresolved(missing) => serve.store_unresolved = Some(missing),
        SecretLookup::Absent => serve.store = StoreLocation::File(reader.folder.join(DEFAULT_STORE_FILE)),
        SecretLookup::Invalid => {}
    }
}

fn is_server_url(text: &str) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme))
}

fn parse_store_location(
    written: &WithSpan<Secret>,
    reader: &mut SectionReader<'_, '_>,
) -> Option<StoreLocation> {
    let text = written.expose();
    if is_server_url(text) {
        let dsn = Dsn::parse(text);
        let dsn = dsn.map_err(|error| {
            reader.report_problem(written.span(), format!("invalid PostgreSQL address: {error}"));
        });
        return dsn.ok().map(|dsn| StoreLocation::Server(Box::new(dsn)));
    }
    // Any other scheme is a typo or another database, and not a file name.
    if text.contains("://") {
        let message = "must be a file path or postgres://USER:PASSWORD@HOST/DATABASE";
        reader.report_problem(written.span(), message);
        return None;
    }
    // Accepts `sqlite:PATH` like a target; any other text is a plain path.
    let address = TargetAddress::parse(text).ok();
    let path = address.as_ref().and_then(TargetAddress::file_path).unwrap_or(Path::new(text));
    Some(StoreLocation::File(reader.folder.join(path)))
}

impl ServeConfig {
    /// Uses another state store: a PostgreSQL URL, or the path of a SQLite file.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is an address of something else.
    pub fn set_store(&mut self, text: &str) -> Result<(), String> {
        self.store = if is_server_url(text) {
            let dsn = Dsn::parse(text).map_err(|error| format!("invalid PostgreSQL URL: {error}"))?;
            StoreLocation::Server(Box::new(dsn))
        } else if text.contains("://") {
            return Err("must be a file, or postgres://USER:PASSWORD@HOST/DATABASE".into());
        } else {
            let address = TargetAddress::parse(text).ok();
            let path = address.as_ref().and_then(TargetAddress::file_path).unwrap_or(Path::new(text));
            StoreLocation::File(path.to_owned())
        };
        // The given store replaces the one that could not be resolved.
        self.store_unresolved = None;
        Ok(())
    }

    /// Returns the channels for an alert, each once even if several routes match.
    #[must_use]
    pub fn channels_for(&self, target: &str, check: &str, severity: Severity) -> Vec<&NotificationChannel> {
        let matches_alert = |route: &&NotificationRoute| {
            severity >= route.min_severity
                && list_matches(&route.targets, target)
                && list_matches(&route.checks, check)
        };
        let routes: Vec<&NotificationRoute> = self.routes.iter().filter(matches_alert).collect();
        // Without routes, nothing may be lost: every channel gets every notification.
        let is_selected = |channel: &&NotificationChannel| {
            self.routes.is_empty() || routes.iter().any(|route| route.channels.contains(&channel.name))
        };
        self.channels.iter().filter(is_selected).collect()
    }

    /// Returns `true` if a maintenance window for the check and the target is open at `now`.
    #[must_use]
    pub fn is_in_maintenance(&self, target: &str, check: &str, now: UtcTimestamp) -> bool {
        let is_open = |window: &MaintenanceWindow| {
            list_matches(&window.targets, target)
                && list_matches(&window.checks, check)
                && window
                    .schedule
                    // The last start of the window, because a window may reach over midnight.
                    .last_at_or_before(now)
                    .is_some_and(|started| now.duration_since(started) < window.duration)
        };
        self.maintenance_windows.iter().any(is_open)
    }
}

/// Returns `true` if the list is empty or contains the name.
fn list_matches(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|listed| listed == name)
}
