//! Metrics in the Prometheus text format.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sessionwatch_core::{alert, checks::Verdict, instant::Instant};

use super::Shared;
use crate::{
    config::Config,
    look::Report,
    store::{
        StoreError, alerts,
        censuses::Point,
        outbox,
        sources::{self, Source},
    },
};

/// What was seen and delivered last.
#[derive(Debug, Default)]
pub struct Latest(Mutex<State>);

#[derive(Clone, Debug, Default)]
struct State {
    targets: BTreeMap<String, Last>,
    channels: BTreeMap<String, Sent>,
    /// Whether the last change of configuration was taken; nothing before one.
    reloaded: Option<bool>,
}

/// A run that succeeded, and whose results are in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Success {
    /// When it began.
    pub at: Instant,
    /// Until when it shows that the target is watched.
    pub until: Instant,
}

/// What is served of a target.
#[derive(Clone, Debug, Default)]
struct Last {
    /// The last term under which this process led it.
    term: Option<i64>,
    /// This process has looked at it under that term.
    looked: bool,
    looks: u64,
    blind: u64,
    /// How long the last look took, and all of them.
    seconds: [f64; 2],
    /// How late the last look was.
    lag_seconds: f64,
    replica_lag_seconds: Option<f64>,
    seen: bool,
    seen_at: Option<Instant>,
    /// The last success; of an earlier process until this one has run.
    success: Option<Success>,
    /// Names of gauges, and values; nothing that cannot be known.
    census: Vec<(String, f64)>,
    /// Ids of checks, and whether they fail; nothing that is unknown.
    checks: BTreeMap<String, Option<bool>>,
}

/// What is served of a channel.
#[derive(Clone, Debug, Default)]
struct Sent {
    delivered: u64,
    failed: u64,
    seconds: f64,
}

/// A metric: name, type, help.
#[derive(Clone, Copy, Debug)]
pub struct Metric(pub &'static str, pub &'static str, pub &'static str);

/// `sessionwatch_build_info`
pub const BUILD: Metric = Metric("sessionwatch_build_info", "gauge", "The version that runs");
/// `sessionwatch_target_up`
pub const UP: Metric =
    Metric("sessionwatch_target_up", "gauge", "Whether the last look at the target saw something");
/// `sessionwatch_target_leader`
pub const LEADER: Metric =
    Metric("sessionwatch_target_leader", "gauge", "Whether this process watches the target");
/// `sessionwatch_looks_total`
pub const LOOKS: Metric = Metric("sessionwatch_looks_total", "counter", "Looks since the start");
/// `sessionwatch_blind_looks_total`
pub const BLIND: Metric =
    Metric("sessionwatch_blind_looks_total", "counter", "Looks since the start that saw nothing");
/// `sessionwatch_look_duration_seconds`
pub const SECONDS: Metric =
    Metric("sessionwatch_look_duration_seconds", "gauge", "How long the last look took");
/// `sessionwatch_look_duration_seconds_total`
pub const ALL_SECONDS: Metric =
    Metric("sessionwatch_look_duration_seconds_total", "counter", "How long all looks took since the start");
/// `sessionwatch_scheduler_lag_seconds`
pub const LAG: Metric = Metric("sessionwatch_scheduler_lag_seconds", "gauge", "How late the last look began");
/// `sessionwatch_replica_lag_seconds`
pub const REPLICA: Metric = Metric(
    "sessionwatch_replica_lag_seconds",
    "gauge",
    "How far the replica lagged that was looked at; absent where none was",
);
/// `sessionwatch_last_seen_timestamp_seconds`
pub const AGE: Metric =
    Metric("sessionwatch_last_seen_timestamp_seconds", "gauge", "When the target was last seen");
/// `sessionwatch_sessions`
pub const CENSUS: Metric =
    Metric("sessionwatch_sessions", "gauge", "Sessions and users by kind, at the last look");
/// `sessionwatch_check_failing`
pub const FAILING: Metric =
    Metric("sessionwatch_check_failing", "gauge", "Whether a check fails; absent while unknown");
/// `sessionwatch_alert_firing`
pub const ALERT: Metric = Metric("sessionwatch_alert_firing", "gauge", "Whether the alert of a check fires");
/// `sessionwatch_alert_state`
pub const STATE: Metric = Metric(
    "sessionwatch_alerts",
    "gauge",
    "Alerts by state: ok, pending, firing; acknowledged and stale apart",
);
/// `sessionwatch_outbox_messages`
pub const OUTBOX: Metric =
    Metric("sessionwatch_outbox_messages", "gauge", "Messages that wait to be delivered, or cannot be");
/// `sessionwatch_deliveries_total`
pub const DELIVERIES: Metric =
    Metric("sessionwatch_deliveries_total", "counter", "Attempts to deliver since the start, by outcome");
/// `sessionwatch_delivery_duration_seconds_total`
pub const DELIVERY: Metric = Metric(
    "sessionwatch_delivery_duration_seconds_total",
    "counter",
    "How long all attempts to deliver took",
);
/// `sessionwatch_store_size_bytes`
pub const STORE: Metric = Metric("sessionwatch_store_size_bytes", "gauge", "Bytes that the store takes");
/// `sessionwatch_store_sheltered`
pub const SHELTER: Metric = Metric(
    "sessionwatch_store_sheltered",
    "gauge",
    "Whether the disk is full, so that what happens is in memory only",
);
/// `sessionwatch_log_lines_total`
pub const LOG_LINES: Metric =
    Metric("sessionwatch_log_lines_total", "counter", "Lines of logs that were read, by source");
/// `sessionwatch_log_signals_total`
pub const LOG_SIGNALS: Metric = Metric(
    "sessionwatch_log_signals_total",
    "counter",
    "Signals that were found in logs, by source and kind",
);
/// `sessionwatch_log_dropped_total`
pub const LOG_DROPPED: Metric = Metric(
    "sessionwatch_log_dropped_total",
    "counter",
    "What of logs was cut or not taken, by source and reason",
);
/// `sessionwatch_log_heard_timestamp_seconds`
pub const LOG_HEARD: Metric =
    Metric("sessionwatch_log_heard_timestamp_seconds", "gauge", "When a line of a source was read last");
/// `sessionwatch_config_reload_success`
pub const RELOAD: Metric = Metric(
    "sessionwatch_config_reload_success",
    "gauge",
    "Whether the last change of configuration was taken; absent before one",
);

/// Why something of a log is cut or not taken.
const DROPPED: [&str; 7] = ["overlong", "truncated", "repeated", "faulty", "datagrams", "refused", "gaps"];

/// Every metric, in the order in which they are served.
pub const ALL: [Metric; 24] = [
    BUILD,
    UP,
    LEADER,
    LOOKS,
    BLIND,
    SECONDS,
    ALL_SECONDS,
    LAG,
    REPLICA,
    AGE,
    CENSUS,
    FAILING,
    ALERT,
    STATE,
    OUTBOX,
    DELIVERIES,
    DELIVERY,
    STORE,
    SHELTER,
    LOG_LINES,
    LOG_SIGNALS,
    LOG_DROPPED,
    LOG_HEARD,
    RELOAD,
];

impl Latest {
    /// Takes in a look that was so many microseconds late.
    pub fn put(&self, report: &Report, (point, lag_us): (&Point, i64)) {
        let mut state = self.lock();
        let last = state.targets.entry(report.target.clone()).or_default();
        if !last.looked {
            // What an earlier process could do says nothing of this one any more.
            last.success = None;
        }
        last.looked = true;
        let seconds = report.duration.as_secs_f64();
        last.looks += 1;
        last.seconds = [seconds, last.seconds[1] + seconds];
        last.lag_seconds = micros(lag_us);
        last.replica_lag_seconds = report.lag_us.map(micros);
        for outcome in &report.outcomes {
            last.checks.insert(outcome.id.clone(), failing(&outcome.finding.verdict));
        }
        last.seen = report.seen.is_ok();
        last.blind += u64::from(report.seen.is_err());
        last.census = point.gauges.iter().map(|(name, [value, ..])| (name.clone(), *value)).collect();
        if report.seen.is_ok() {
            last.seen_at = Some(point.at);
        }
    }

    /// A run of an earlier process succeeded then.
    pub fn recall(&self, target: &str, success: Success) {
        let mut state = self.lock();
        let last = state.targets.entry(target.to_owned()).or_default();
        last.seen_at.get_or_insert(success.at);
        if !last.looked {
            last.success = Some(success);
        }
    }

    /// A run succeeded, and its results are in the store.
    pub fn succeeded(&self, target: &str, success: Success) {
        self.lock().targets.entry(target.to_owned()).or_default().success = Some(success);
    }

    /// Returns `true` if a run on that target succeeded lately.
    #[must_use]
    pub fn is_current(&self, target: &str, now: Instant) -> bool {
        let success = self.lock().targets.get(target).and_then(|last| last.success);
        // A clock that was set back makes an earlier success say nothing.
        success.is_some_and(|success| (success.at..=success.until).contains(&now))
    }

    /// This process leads a target under that term. What it saw under an earlier one is forgotten; its counters go on.
    pub fn led(&self, target: &str, term: i64) {
        let mut state = self.lock();
        let last = state.targets.entry(target.to_owned()).or_default();
        if last.term != Some(term) {
            let (looks, blind, seconds) = (last.looks, last.blind, [0.0, last.seconds[1]]);
            *last = Last { term: Some(term), looks, blind, seconds, ..Last::default() };
        }
    }

    /// Takes in an attempt to deliver.
    pub fn sent(&self, channel: &str, took: Duration, delivered: bool) {
        let mut state = self.lock();
        let sent = state.channels.entry(channel.to_owned()).or_default();
        sent.seconds += took.as_secs_f64();
        *(if delivered { &mut sent.delivered } else { &mut sent.failed }) += 1;
    }

    /// How often this process has looked at a target.
    #[must_use]
    pub fn looks(&self, target: &str) -> u64 {
        self.lock().targets.get(target).map_or(0, |last| last.looks)
    }

    /// A change of configuration was taken, or not.
    pub fn reloaded(&self, taken: bool) {
        self.lock().reloaded = Some(taken);
    }

    /// Forgets what is not configured.
    pub fn retain(&self, config: &Config) {
        let mut state = self.lock();
        state.targets.retain(|name, _| config.targets.iter().any(|target| target.name == *name));
        state.channels.retain(|name, _| config.serve.channels.iter().any(|channel| channel.name == *name));
        for target in &config.targets {
            if let Some(last) = state.targets.get_mut(&target.name) {
                last.checks.retain(|check, _| config.makes(target, check));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failing(verdict: &Verdict) -> Option<bool> {
    match verdict {
        Verdict::Healthy => Some(false),
        Verdict::Failing => Some(true),
        Verdict::Unknown(_) => None,
    }
}

/// What a look measured: names and values of all that is known; nothing if it saw nothing.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a gauge; counts stay below 2^53")]
pub fn gauges(report: &Report) -> Option<Vec<(&'static str, f64)>> {
    let census = &report.seen.as_ref().ok()?.census;
    let changes = report.mirror.as_ref().and_then(|mirror| mirror.changes.as_ref());
    let created = census.created_last_hour.or(changes.map(|changes| changes.created_last_hour));
    let counts = [
        ("stored", Some(census.sessions)),
        ("active", Some(census.active)),
        ("expired", Some(census.expired)),
        ("never_expiring", Some(census.never_expiring)),
        ("undecodable", Some(census.undecodable)),
        ("anonymous", Some(census.anonymous)),
        ("users_active", Some(census.users_active())),
        ("max_per_user", Some(census.max_per_user())),
        ("duplicate_tokens", census.duplicates.value().map(|found| found.tokens)),
        ("orphaned", census.orphaned.value()),
        ("created_last_hour", created),
        ("created", changes.map(|changes| changes.created)),
        ("extended", changes.map(|changes| changes.extended)),
        ("ended", changes.map(|changes| changes.ended)),
        ("rebound", changes.map(|changes| changes.rebound.len() as u64)),
        ("revived", changes.map(|changes| changes.revived.len() as u64)),
    ];
    let counts = counts.into_iter().filter_map(|(kind, count)| Some((kind, count? as f64)));
    Some(counts.chain([("per_user", census.sessions_per_user())]).collect())
}

/// All of them, as they stand.
pub(super) fn text(shared: &Shared) -> Result<String, StoreError> {
    let (kept, boxed, sources) =
        shared.store.read(|db| Ok((alerts::list(db, true)?, outbox::counts(db)?, sources::list(db)?)))?;
    let size = shared.store.size()?;
    let state = shared.latest.lock().clone();
    let config = shared.config();
    let leads = |target: &str| shared.leads(target);
    let leader = config
        .targets
        .iter()
        .map(|target| (vec![("target", target.name.as_str())], flag(leads(&target.name))));
    let firing = kept.iter().map(|kept| {
        let labels = vec![
            ("target", kept.target.as_str()),
            ("check", kept.check.as_str()),
            ("severity", kept.severity.as_str()),
        ];
        (labels, flag(matches!(kept.alert.state, alert::State::Firing { .. })))
    });
    let count =
        |test: &dyn Fn(&alert::Alert) -> bool| kept.iter().filter(|kept| test(&kept.alert)).count() as u64;
    let mut states: Vec<(&str, u64)> = ["ok", "pending", "firing"]
        .into_iter()
        .map(|name| (name, count(&|alert| alert.state.name() == name)))
        .collect();
    states.push(("acknowledged", count(&|alert| alert.acknowledged)));
    states.push(("stale", count(&|alert| alert.stale)));
    let waiting = boxed.iter().map(|(channel, state, count)| {
        (vec![("channel", channel.as_str()), ("state", state.as_str())], gauge(*count))
    });
    let one = |value: f64| vec![(vec![], value)];
    Ok([
        family(&BUILD, vec![(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)]),
        looked(&state.targets, leads),
        family(&LEADER, leader.collect()),
        family(&ALERT, firing.collect()),
        family(&STATE, states.iter().map(|(name, count)| (vec![("state", *name)], gauge(*count))).collect()),
        family(&OUTBOX, waiting.collect()),
        sent(&state.channels),
        family(&STORE, one(gauge(size))),
        family(&SHELTER, one(flag(shared.store.is_sheltered()))),
        heard(&sources),
        state.reloaded.map_or_else(String::new, |taken| family(&RELOAD, one(flag(taken)))),
    ]
    .concat())
}

/// What is served of the targets. What was seen of one is served by whoever looks at it: of an earlier leader it would only
/// grow old.
fn looked(targets: &BTreeMap<String, Last>, leads: impl Fn(&str) -> bool) -> String {
    let led: Vec<(&String, &Last)> = targets.iter().filter(|(target, _)| leads(target)).collect();
    let counted = |metric: &Metric, value: &dyn Fn(&Last) -> f64| {
        let lines = targets.iter().filter(|(_, last)| last.looks > 0);
        family(metric, lines.map(|(target, last)| (vec![("target", target.as_str())], value(last))).collect())
    };
    let seen = |metric: &Metric, value: &dyn Fn(&Last) -> Option<f64>| {
        // Of a target that only an earlier process looked at, no more is known than when.
        let known = led.iter().filter(|(_, last)| last.looked || metric.0 == AGE.0);
        let lines =
            known.filter_map(|(target, last)| Some((vec![("target", target.as_str())], value(last)?)));
        family(metric, lines.collect())
    };
    let census = led.iter().flat_map(|(target, last)| {
        let lines = last.census.iter();
        lines.map(move |(kind, count)| (vec![("target", target.as_str()), ("kind", kind.as_str())], *count))
    });
    let checks = led.iter().flat_map(|(target, last)| {
        let known = last.checks.iter().filter_map(|(check, failing)| Some((check, (*failing)?)));
        known.map(move |(check, failing)| {
            (vec![("target", target.as_str()), ("check", check.as_str())], flag(failing))
        })
    });
    [
        seen(&UP, &|last| Some(flag(last.seen))),
        counted(&LOOKS, &|last| gauge(last.looks)),
        counted(&BLIND, &|last| gauge(last.blind)),
        seen(&SECONDS, &|last| Some(last.seconds[0])),
        counted(&ALL_SECONDS, &|last| last.seconds[1]),
        seen(&LAG, &|last| Some(last.lag_seconds)),
        seen(&REPLICA, &|last| last.replica_lag_seconds),
        seen(&AGE, &|last| last.seen_at.map(|at| micros(at.micros()))),
        family(&CENSUS, census.collect()),
        family(&FAILING, checks.collect()),
    ]
    .concat()
}

/// What is served of the sources of log lines.
fn heard(sources: &[Source]) -> String {
    let count = |source: &Source, what: &str| source.counters.get(what).and_then(serde_json::Value::as_u64);
    let lines = sources
        .iter()
        .filter_map(|source| Some((vec![("source", source.name.as_str())], gauge(count(source, "lines")?))));
    let each = |test: &dyn Fn(&str) -> Option<String>| {
        let all = sources.iter().flat_map(|source| {
            source
                .counters
                .keys()
                .filter_map(|what| Some((source.name.clone(), test(what)?, gauge(count(source, what)?))))
        });
        all.collect::<Vec<_>>()
    };
    let signals = each(&|what| what.strip_prefix("signals/").map(str::to_owned));
    let dropped = each(&|what| DROPPED.contains(&what).then(|| what.to_owned()));
    let labelled = |label: &'static str, all: &[(String, String, f64)], metric: &Metric| {
        let lines = all
            .iter()
            .map(|(source, name, count)| (vec![("source", source.as_str()), (label, name.as_str())], *count));
        family(metric, lines.collect())
    };
    let heard = sources.iter().filter_map(|source| {
        Some((vec![("source", source.name.as_str())], micros(source.heard_at?.micros())))
    });
    [
        family(&LOG_LINES, lines.collect()),
        labelled("kind", &signals, &LOG_SIGNALS),
        labelled("reason", &dropped, &LOG_DROPPED),
        family(&LOG_HEARD, heard.collect()),
    ]
    .concat()
}

/// What is served of the channels.
fn sent(channels: &BTreeMap<String, Sent>) -> String {
    let outcomes = channels.iter().flat_map(|(channel, sent)| {
        [("delivered", sent.delivered), ("failed", sent.failed)]
            .map(|(outcome, count)| (vec![("channel", channel.as_str()), ("outcome", outcome)], gauge(count)))
    });
    let seconds = channels.iter().map(|(channel, sent)| (vec![("channel", channel.as_str())], sent.seconds));
    [family(&DELIVERIES, outcomes.collect()), family(&DELIVERY, seconds.collect())].concat()
}

fn flag(flag: bool) -> f64 {
    f64::from(u8::from(flag))
}

#[expect(clippy::cast_precision_loss, reason = "a gauge; counts stay below 2^53")]
fn gauge(count: u64) -> f64 {
    count as f64
}

/// Microseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "the format's times are floating-point seconds")]
fn micros(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// A metric with its values, by labels; nothing of one without values.
fn family(metric: &Metric, values: Vec<(Vec<(&str, &str)>, f64)>) -> String {
    let Metric(name, kind, help) = metric;
    if values.is_empty() {
        return String::new();
    }
    let mut text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value) in values {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}{labels} {value}");
    }
    text
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
