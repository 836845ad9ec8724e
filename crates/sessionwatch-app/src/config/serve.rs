//! `[serve]`, `[report]`, `[[maintenance]]` and `[[route]]` as used.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use jiff::tz::TimeZone;
use pg_link::Dsn;
use sessionwatch_core::{
    instant::{DAY, Instant, SECOND},
    severity::Severity,
};

use super::{
    channels, plan,
    reader::{Node, Reader},
};
use crate::{
    checks, environment, notify::Channel, schedule::Schedule, store::Place, suggest::nearest,
    target::address::Address,
};

/// The watch.
#[derive(Clone, Debug)]
pub struct Serve {
    /// Its memory.
    pub store: Place,
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
    /// Microseconds for which history is kept.
    pub keep_us: i64,
    /// The zone of cron expressions.
    pub zone: TimeZone,
    /// The name of this process among those that share the store; nothing for host name and process number.
    pub name: Option<String>,
    /// Ways to tell people.
    pub channels: Vec<Channel>,
    /// Who is told of what; empty: every channel of everything.
    pub routes: Vec<Route>,
    /// When nothing is told.
    pub maintenance: Vec<Maintenance>,
    /// The checklist that is sent by itself.
    pub report: Option<WeeklyReport>,
    /// Why a channel cannot be used at present, by its name.
    pub unresolved: Vec<(String, String)>,
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

/// Times at which nothing is told.
#[derive(Clone, Debug)]
pub struct Maintenance {
    /// When it begins.
    pub begins: Schedule,
    /// Microseconds that it lasts.
    pub lasts: i64,
    /// Names of targets; empty for all.
    pub targets: Vec<String>,
    /// Ids of checks; empty for all.
    pub checks: Vec<String>,
}

/// The checklist that is sent by itself.
#[derive(Clone, Debug)]
pub struct WeeklyReport {
    /// When.
    pub due: Schedule,
    /// Names of channels.
    pub channels: Vec<String>,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            store: Place::File(PathBuf::from("sessionwatch-state.db")),
            store_unresolved: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 9797)),
            public_url: None,
            tls: None,
            trusted_proxies: vec![],
            allowed_hosts: vec![],
            keep_us: 400 * DAY,
            zone: TimeZone::UTC,
            name: None,
            channels: vec![],
            routes: vec![],
            maintenance: vec![],
            report: None,
            unresolved: vec![],
        }
    }
}

fn names(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|listed| listed == name)
}

impl Serve {
    /// The channels that are told of a finding, each once.
    #[must_use]
    pub fn told(&self, target: &str, check: &str, severity: Severity) -> Vec<&Channel> {
        let about = |route: &&Route| {
            severity >= route.severity && names(&route.targets, target) && names(&route.checks, check)
        };
        let routes: Vec<&Route> = self.routes.iter().filter(about).collect();
        let meant = |channel: &&Channel| {
            self.routes.is_empty() || routes.iter().any(|route| route.channels.contains(&channel.name))
        };
        self.channels.iter().filter(meant).collect()
    }

    /// Whether nothing is told of a check on a target because of maintenance.
    #[must_use]
    pub fn in_maintenance(&self, target: &str, check: &str, now: Instant) -> bool {
        let holds = |window: &Maintenance| {
            names(&window.targets, target)
                && names(&window.checks, check)
                && window.begins.before(now).is_some_and(|begun| now.since(begun) < window.lasts)
        };
        self.maintenance.iter().any(holds)
    }
}

pub(super) fn read(reader: &mut Reader<'_>, root: &Node, (folder, zone): (&Path, &TimeZone)) -> Serve {
    let usual = Serve::default();
    let mut serve = Serve { zone: zone.clone(), ..usual };
    if let Place::File(path) = &mut serve.store {
        *path = folder.join(&path);
    }
    if let Some(node) = root.below("serve").first() {
        store(reader, node, (folder, &mut serve));
        match node.text("listen").map(str::parse) {
            Some(Ok(listen)) => serve.listen = listen,
            Some(Err(_)) => {
                let message = "must be an IP address and a port, such as \"127.0.0.1:9797\"";
                reader.problem(node.at("listen"), "serve.listen", message.into());
            }
            None => {}
        }
        serve.public_url = node.text("public_url").map(str::to_owned);
        if let Some(url) = &serve.public_url
            && !(url.starts_with("https://") || url.starts_with("http://"))
        {
            let message = "must begin with https:// or http://, such as \"https://watch.example.org\"";
            reader.problem(node.at("public_url"), "serve.public_url", message.into());
        }
        door(reader, node, (folder, &mut serve));
        let days = node.whole("keep_days").and_then(|days| i64::try_from(days).ok());
        serve.keep_us = days.map_or(serve.keep_us, |days| days * DAY);
        serve.name = node.text("name").map(str::to_owned);
    }
    (serve.channels, serve.unresolved) = channels::read(reader, root, folder);
    let listed = Listed::of(root);
    for node in root.below("route") {
        listed.check(reader, node, "route");
        serve.routes.push(Route {
            channels: node.texts("channels"),
            severity: node.text("severity").and_then(Severity::parse).unwrap_or(Severity::Low),
            targets: node.texts("targets"),
            checks: node.texts("checks"),
        });
    }
    for node in root.below("maintenance") {
        listed.check(reader, node, "maintenance");
        let lasts = node.whole("lasts").and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
        if let Some(begins) = plan::cron(reader, node, ("maintenance", zone)) {
            let (targets, checks) = (node.texts("targets"), node.texts("checks"));
            serve.maintenance.push(Maintenance { begins, lasts: lasts * SECOND, targets, checks });
        }
    }
    if let Some(node) = root.below("report").first() {
        listed.check(reader, node, "report");
        let weekly = || Schedule::cron("0 7 * * mon", zone).ok();
        let due = if node.has("cron") { plan::cron(reader, node, ("report", zone)) } else { weekly() };
        serve.report = due.map(|due| WeeklyReport { due, channels: node.texts("channels") });
    }
    serve
}

/// How the address is guarded.
fn door(reader: &mut Reader<'_>, node: &Node, (folder, serve): (&Path, &mut Serve)) {
    serve.tls = match (node.text("tls_certificate"), node.text("tls_key")) {
        (Some(certificate), Some(key)) => Some((folder.join(certificate), folder.join(key))),
        (None, None) => None,
        _ => {
            let message = "tls_certificate and tls_key belong together: write both";
            reader.problem(node.at, "serve", message.into());
            None
        }
    };
    for text in node.texts("allowed_hosts") {
        let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_');
        if text != "*" && (text.is_empty() || !text.chars().all(is_name)) {
            let message = format!("`{text}` is no host name without a port, such as \"watch.example.org\"");
            reader.problem(node.at("allowed_hosts"), "serve.allowed_hosts", message);
        }
        serve.allowed_hosts.push(text);
    }
    serve.trusted_proxies = networks(reader, node, "serve.trusted_proxies");
}

/// The networks that a list names, each as a network or an address. `path` is `SECTION.KEY`.
pub(super) fn networks(reader: &mut Reader<'_>, node: &Node, path: &str) -> Vec<IpNet> {
    let key = path.rsplit_once('.').map_or(path, |(_, key)| key);
    let mut networks = vec![];
    for text in node.texts(key) {
        let single = || text.parse::<std::net::IpAddr>().map(IpNet::from);
        match text.parse::<IpNet>().or_else(|_| single()) {
            Ok(network) => networks.push(network),
            Err(_) => {
                let message = format!("`{text}` is no address or network, such as \"10.0.0.0/8\"");
                reader.problem(node.at(key), path, message);
            }
        }
    }
    networks
}

/// Where the memory is.
fn store(reader: &mut Reader<'_>, node: &Node, (folder, serve): (&Path, &mut Serve)) {
    let written = match (node.text("store"), node.text("store_file")) {
        (Some(_), Some(_)) => {
            let message = "store and store_file are both written: leave one out";
            return reader.problem(node.at("store_file"), "serve", message.into());
        }
        (Some(text), None) => environment::secret(Ok(text)),
        (None, Some(file)) => environment::secret(Err(folder.join(file))),
        (None, None) => return,
    };
    match written {
        Err(missing) => serve.store_unresolved = Some(missing),
        Ok(url) if ["postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme)) => {
            match Dsn::parse(url.expose()) {
                Ok(dsn) => serve.store = Place::Server(Box::new(dsn)),
                Err(error) => {
                    reader.problem(
                        node.at("store"),
                        "serve.store",
                        format!("faulty PostgreSQL address: {error}"),
                    );
                }
            }
        }
        Ok(path) if path.expose().contains("://") => {
            let message = "must be the path of a file, or postgres://USER:PASSWORD@HOST/DATABASE";
            reader.problem(node.at("store"), "serve.store", message.into());
        }
        Ok(path) => {
            let path = match Address::parse(path.expose()) {
                Ok(Address::Sqlite(path)) => path,
                _ => path.expose().into(),
            };
            serve.store = Place::File(folder.join(path));
        }
    }
}

/// Everything that has a name.
struct Listed<'a> {
    channels: Vec<&'a str>,
    targets: Vec<&'a str>,
    checks: Vec<&'a str>,
}

impl<'a> Listed<'a> {
    fn of(root: &'a Node) -> Self {
        let named = |section: &str, key: &'static str| {
            root.below(section).iter().filter_map(|node| node.text(key)).collect::<Vec<_>>()
        };
        let logs = checks::LOG_CHECKS.iter().map(|check| check.id);
        let builtin = checks::TABLE_CHECKS.iter().map(|check| check.id).chain(logs);
        let builtin = builtin.chain([checks::TARGET_UNREACHABLE, checks::CHANNEL_FAILING]);
        Self {
            channels: named("channel", "name"),
            targets: named("target", "name"),
            checks: builtin.chain(named("check", "id")).chain(named("log_pattern", "name")).collect(),
        }
    }

    /// Complains of names that nothing has.
    fn check(&self, reader: &mut Reader<'_>, node: &Node, section: &str) {
        for (key, what, known) in [
            ("channels", "channel", &self.channels),
            ("targets", "target", &self.targets),
            ("checks", "check", &self.checks),
        ] {
            for name in node.texts(key).iter().filter(|name| !known.contains(&name.as_str())) {
                let message = format!("there is no {what} `{name}`{}", nearest(name, known.iter().copied()));
                reader.problem(node.at(key), &format!("{section}.{key}"), message);
            }
        }
    }
}
