//! Metrics in the Prometheus text format, and whether the daemon is alive and ready.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use sessionwatch_rules::{alert, instant::Instant};

use super::Shared;
use crate::{
    clock,
    look::Report,
    store::{StoreError, alerts, outbox},
};

/// What was seen last of each target.
#[derive(Debug, Default)]
pub struct Latest(Mutex<BTreeMap<String, Last>>);

/// What is served of a target.
#[derive(Clone, Debug, Default)]
struct Last {
    looks: u64,
    blind: u64,
    seconds: f64,
    seen_at: Option<Instant>,
    /// Names of gauges, and values; nothing that cannot be known.
    census: Vec<(&'static str, f64)>,
    /// Ids of checks, and whether they fail; nothing that is unknown.
    checks: Vec<(String, Option<bool>)>,
}

/// A metric: name, type, help.
struct Metric(&'static str, &'static str, &'static str);

const UP: Metric =
    Metric("sessionwatch_target_up", "gauge", "Whether the last look at the target saw something");
const LOOKS: Metric = Metric("sessionwatch_looks_total", "counter", "Looks since the start");
const BLIND: Metric =
    Metric("sessionwatch_blind_looks_total", "counter", "Looks since the start that saw nothing");
const SECONDS: Metric = Metric("sessionwatch_look_duration_seconds", "gauge", "How long the last look took");
const AGE: Metric =
    Metric("sessionwatch_last_seen_timestamp_seconds", "gauge", "When the target was last seen");
const CENSUS: Metric =
    Metric("sessionwatch_sessions", "gauge", "Sessions and users by kind, at the last look");
const FAILING: Metric =
    Metric("sessionwatch_check_failing", "gauge", "Whether a check fails; absent while unknown");
const ALERT: Metric = Metric("sessionwatch_alert_firing", "gauge", "Whether the alert of a check fires");
const OUTBOX: Metric =
    Metric("sessionwatch_outbox_messages", "gauge", "Messages that wait to be delivered, or cannot be");

impl Latest {
    /// Takes in a look.
    pub fn put(&self, target: &str, report: &Report) {
        let mut latest = self.lock();
        let last = latest.entry(target.to_owned()).or_default();
        last.looks += 1;
        last.seconds = report.duration.as_secs_f64();
        last.checks = report
            .outcomes
            .iter()
            .map(|outcome| (outcome.id.clone(), failing(&outcome.finding.verdict)))
            .collect();
        match &report.seen {
            Ok(seen) => {
                last.seen_at = Some(seen.census.taken_at);
                last.census = gauges(&seen.census);
            }
            Err(_) => {
                last.blind += 1;
                last.census.clear();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failing(verdict: &sessionwatch_rules::verdict::Verdict) -> Option<bool> {
    use sessionwatch_rules::verdict::Verdict;
    match verdict {
        Verdict::Healthy => Some(false),
        Verdict::Failing => Some(true),
        Verdict::Unknown(_) => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge; counts stay below 2^53")]
fn gauges(census: &sessionwatch_rules::census::Census) -> Vec<(&'static str, f64)> {
    let known = [
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
        ("created_last_hour", census.created_last_hour),
    ];
    known.into_iter().filter_map(|(kind, count)| Some((kind, count? as f64))).collect()
}

/// The pages of the daemon.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| std::future::ready("alive\n")))
        .route("/readyz", get(ready))
        .with_state(shared)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let kind = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];
    match text(&shared) {
        Ok(text) => (StatusCode::OK, kind, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, kind, format!("# {error}\n")),
    }
}

/// Ready once every target has been looked at.
async fn ready(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let looked = shared.latest.lock().len();
    let of = shared.config.targets.len();
    let status = if looked == of { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{looked} of {of} targets looked at\n"))
}

fn text(shared: &Shared) -> Result<String, StoreError> {
    let (kept, (waiting, dead)) =
        shared.store.read(|connection| Ok((alerts::list(connection, true)?, outbox::counts(connection)?)))?;
    let latest = shared.latest.lock().clone();
    let each = |metric: &Metric, value: &dyn Fn(&Last) -> Option<f64>| {
        let lines = latest
            .iter()
            .filter_map(|(target, last)| Some((vec![("target", target.as_str())], value(last)?)));
        family(metric, lines.collect())
    };
    let census = latest.iter().flat_map(|(target, last)| {
        last.census
            .iter()
            .map(move |(kind, count)| (vec![("target", target.as_str()), ("kind", *kind)], *count))
    });
    let checks = latest.iter().flat_map(|(target, last)| {
        let known = last.checks.iter().filter_map(|(check, failing)| Some((check, (*failing)?)));
        known.map(move |(check, failing)| {
            (vec![("target", target.as_str()), ("check", check.as_str())], f64::from(u8::from(failing)))
        })
    });
    let firing = kept.iter().map(|kept| {
        let fires = matches!(kept.alert.state, alert::State::Firing { .. });
        let labels = vec![
            ("target", kept.target.as_str()),
            ("check", kept.check.as_str()),
            ("severity", kept.severity.as_str()),
        ];
        (labels, f64::from(u8::from(fires)))
    });
    let boxed = [("waiting", waiting), ("dead", dead)];
    Ok([
        each(&UP, &|last| Some(f64::from(u8::from(!last.census.is_empty())))),
        each(&LOOKS, &|last| Some(as_gauge(last.looks))),
        each(&BLIND, &|last| Some(as_gauge(last.blind))),
        each(&SECONDS, &|last| Some(last.seconds)),
        each(&AGE, &|last| last.seen_at.map(seconds)),
        family(&CENSUS, census.collect()),
        family(&FAILING, checks.collect()),
        family(&ALERT, firing.collect()),
        family(
            &OUTBOX,
            boxed.iter().map(|(state, count)| (vec![("state", *state)], as_gauge(*count))).collect(),
        ),
        format!("# at {}\n", clock::rfc3339(clock::now())),
    ]
    .concat())
}

#[expect(clippy::cast_precision_loss, reason = "a gauge; counts stay below 2^53")]
fn as_gauge(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "the format's instants are floating-point seconds")]
fn seconds(at: Instant) -> f64 {
    at.micros() as f64 / 1e6
}

/// A metric with its values, by labels.
fn family(metric: &Metric, values: Vec<(Vec<(&str, &str)>, f64)>) -> String {
    let Metric(name, kind, help) = metric;
    let mut text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value) in values {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
    }
    text
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
