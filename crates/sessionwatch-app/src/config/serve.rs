//! `[serve]`: the store, the dashboard and what guards it.

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
    formats::ListenAddress,
    routing::{MaintenanceWindow, NotificationRoute, ScheduledReport},
    section_reader::SectionReader,
};
use crate::{
    config_file::{SecretKeys, SecretLookup, SecretText, WithSpan},
    notify::NotificationChannel,
};

/// The store, where nothing else is written.
const DEFAULT_STORE_FILE: &str = "sessionwatch-state.db";

/// The watch: `sessionwatch serve`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ServeSection {
    /// The watch's memory: a file, made where it is missing, relative to this one; or the address of a PostgreSQL database,
    /// for several that watch together.
    #[schemars(extend("default" = DEFAULT_STORE_FILE))]
    store: Option<WithSpan<SecretText>>,
    /// A file that holds nothing but the path or address of the store.
    #[schemars(extend("x-otherwise" = "store"), example = &"/run/secrets/store-url")]
    store_file: Option<WithSpan<String>>,
    /// Where the dashboard, /metrics, /healthz and /readyz answer; port 0 takes a free one.
    listen: ListenAddress,
    /// How people reach the dashboard through a proxy; with https:// cookies and links keep to TLS.
    #[schemars(
        extend("x-otherwise" = "http:// and the address of `listen`"),
        example = &"https://watch.example.org",
    )]
    pub(super) public_url: Option<WithSpan<String>>,
    /// The certificate by which TLS is spoken on that address, with those above it, as PEM; read again each hour and on
    /// reload.
    #[schemars(extend("x-otherwise" = "no TLS"), example = &"/etc/sessionwatch/fullchain.pem")]
    tls_certificate: Option<String>,
    /// The key of that certificate, as PEM.
    #[schemars(extend("x-otherwise" = "no TLS"), example = &"/etc/sessionwatch/key.pem")]
    tls_key: Option<String>,
    /// Proxies, as addresses or networks, whose `X-Forwarded-For` is believed.
    trusted_proxies: WithSpan<Vec<String>>,
    /// Host names by which the pages may be asked for, besides that of `public_url`, IP addresses, names without a dot, and
    /// names below localhost, svc, cluster.local, internal and home.arpa; "*" for any.
    allowed_hosts: WithSpan<Vec<String>>,
    /// Days for which history is kept.
    #[schemars(range(min = 1, max = 36_500))]
    keep_days: u64,
    /// The zone of cron expressions, by its IANA name.
    pub(super) timezone: WithSpan<String>,
    /// The name of this process among those that share a store.
    #[schemars(extend("x-otherwise" = "host name and process number"), example = &"watcher-1")]
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
            keep_days: 400,
            timezone: "UTC".to_owned().into(),
            name: None,
        }
    }
}

/// The watch.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Its memory.
    pub store: StoreLocation,
    /// Why that cannot be had at present.
    pub store_unresolved: Option<String>,
    /// Where metrics and the dashboard are served.
    pub listen: SocketAddr,
    /// The address by which people reach the dashboard, where it is another.
    pub public_url: Option<String>,
    /// The certificate and the key by which TLS is spoken; nothing where it is not.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Proxies that are believed where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// Names besides that of `public_url` by which the pages may be asked for; `*` for any.
    pub allowed_hosts: Vec<String>,
    /// How long history is kept.
    pub history_retention: SignedDuration,
    /// The zone of cron expressions.
    pub time_zone: TimeZone,
    /// The name of this process among those that share the store; nothing for host name and process number.
    pub instance_name: Option<String>,
    /// Ways to tell people.
    pub channels: Vec<NotificationChannel>,
    /// Who is told of what; empty: every channel of everything.
    pub routes: Vec<NotificationRoute>,
    /// When nothing is told.
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// The checklist that is sent by itself.
    pub scheduled_report: Option<ScheduledReport>,
    /// Why a channel cannot be used at present, by its name.
    pub unresolved_channels: Vec<(String, String)>,
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

/// The section as used; who is told of what stands in other sections.
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
        let message = "must begin with https:// or http://, such as \"https://watch.example.org\"";
        reader.report_problem(url.span(), message);
    }
    serve.tls = match (&section.tls_certificate, &section.tls_key) {
        (Some(certificate), Some(key)) => Some((reader.folder.join(certificate), reader.folder.join(key))),
        (None, None) => None,
        _ => {
            reader.report_problem(section.span(), "tls_certificate and tls_key belong together: write both");
            None
        }
    };
    for host in section.allowed_hosts.iter() {
        let is_of_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_');
        if host != "*" && (host.is_empty() || !host.chars().all(is_of_name)) {
            let message = format!("`{host}` is no host name without a port, such as \"watch.example.org\"");
            reader.report_problem(section.allowed_hosts.span(), message);
        }
    }
    serve.trusted_proxies = reader.parse_networks(&section.trusted_proxies);
    serve
}

fn history_retention(section: &ServeSection) -> SignedDuration {
    SignedDuration::from_hours(i64::try_from(section.keep_days).unwrap_or(i64::MAX).saturating_mul(24))
}

/// Where the memory is.
fn validate_store(section: &ServeSection, serve: &mut ServeConfig, reader: &mut SectionReader<'_, '_>) {
    let keys = SecretKeys { name: "store", text: section.store.as_ref(), file: section.store_file.as_ref() };
    match keys.read_secret(reader.folder, &mut reader.problems) {
        SecretLookup::Found(written) => {
            if let Some(place) = parse_store_location(&written, reader) {
                serve.store = place;
            }
        }
        SecretLookup::Unresolved(missing) => serve.store_unresolved = Some(missing.into_inner()),
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
            reader.report_problem(written.span(), format!("faulty PostgreSQL address: {error}"));
        });
        return dsn.ok().map(|dsn| StoreLocation::Server(Box::new(dsn)));
    }
    if text.contains("://") {
        let message = "must be the path of a file, or postgres://USER:PASSWORD@HOST/DATABASE";
        reader.report_problem(written.span(), message);
        return None;
    }
    // What is no address of a file is a path all the same.
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
        self.store_unresolved = None;
        Ok(())
    }

    /// The channels that are told of a finding, each once.
    #[must_use]
    pub fn channels_for(&self, target: &str, check: &str, severity: Severity) -> Vec<&NotificationChannel> {
        let about = |route: &&NotificationRoute| {
            severity >= route.min_severity
                && list_matches(&route.targets, target)
                && list_matches(&route.checks, check)
        };
        let routes: Vec<&NotificationRoute> = self.routes.iter().filter(about).collect();
        let meant = |channel: &&NotificationChannel| {
            self.routes.is_empty() || routes.iter().any(|route| route.channels.contains(&channel.name))
        };
        self.channels.iter().filter(meant).collect()
    }

    /// Whether nothing is told of a check on a target because of maintenance.
    #[must_use]
    pub fn is_in_maintenance(&self, target: &str, check: &str, now: UtcTimestamp) -> bool {
        let holds = |window: &MaintenanceWindow| {
            list_matches(&window.targets, target)
                && list_matches(&window.checks, check)
                && window
                    .schedule
                    .last_at_or_before(now)
                    .is_some_and(|begun| now.duration_since(begun) < window.duration)
        };
        self.maintenance_windows.iter().any(holds)
    }
}

/// Whether a list names something; an empty one names everything.
fn list_matches(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|listed| listed == name)
}
