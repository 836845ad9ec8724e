//! The metrics as text, in the format that whoever asks understands.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, histogram::Histogram},
    registry::Registry,
};
use sessionwatch_core::alert::{Alert, State as AlertState};
use sessionwatch_store::{
    StoreError,
    alerts::{self, Kept},
    outbox,
};

use super::{ChannelMetrics, State, TargetMetrics, unix_seconds};
use crate::{
    daemon::DaemonState,
    logs::{self, LogSource},
    metric_names::{
        ALERT_FIRING, ALERTS, BUILD_INFO, CHECK_FAILING, CONFIG_RELOAD, DELIVERIES, DELIVERY_DURATION,
        FAILED_RUNS, LAST_SEEN, LOG_DROPPED, LOG_LAST_READ, LOG_LINES, LOG_SIGNALS, MetricDesc, MetricKind,
        OUTBOX_MESSAGES, REPLICA_LAG, RUN_DURATION, RUNS, SCHEDULER_LAG, SESSIONS, STORE_SHELTERED,
        STORE_SIZE, TARGET_LEADER, TARGET_UP,
    },
};

/// Why something of a log is cut or not taken.
const DROP_REASONS: [&str; 7] =
    ["overlong", "truncated", "repeated", "faulty", "datagrams", "refused", "gaps"];

/// A format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format for whoever sends that `Accept` header.
    pub(crate) fn accepted(header: &str) -> Self {
        if header.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The content type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes all metrics, as they stand.
pub(crate) fn write(state: &DaemonState, format: Format) -> Result<String, StoreError> {
    let (alerts, messages, sources) = state
        .app
        .store
        .read(|db| Ok((alerts::list(db, true)?, outbox::counts(db)?, logs::list_sources(db)?)))?;
    let config = state.app.config();
    let targets = config
        .targets
        .iter()
        .map(|target| Target { name: target.name.clone(), is_led: state.app.leads(&target.name) });
    let facts = Facts {
        format,
        targets: targets.collect(),
        state: state.latest.snapshot(),
        alerts,
        messages,
        sources,
        store_bytes: state.app.store.size()?,
        is_sheltered: state.app.store.is_sheltered(),
    };
    Ok(encode(facts))
}

fn encode(facts: Facts) -> String {
    let (format, mut page) = (facts.format, String::new());
    let mut registry = Registry::default();
    registry.register_collector(Box::new(facts));
    // Writing to a String cannot fail.
    let _ = text::encode_registry(&mut page, &registry);
    if format == Format::OpenMetrics {
        let _ = text::encode_eof(&mut page);
    }
    page
}

/// What is served, as it was when it was asked for.
#[derive(Debug)]
struct Facts {
    format: Format,
    targets: Vec<Target>,
    state: State,
    alerts: Vec<Kept>,
    /// Channels, states of messages, and how many there are.
    messages: Vec<(String, String, u64)>,
    sources: Vec<LogSource>,
    store_bytes: u64,
    is_sheltered: bool,
}

#[derive(Debug)]
struct Target {
    name: String,
    is_led: bool,
}

/// A value. A count is written as a whole number.
#[derive(Clone, Debug)]
enum Value {
    Count(u64),
    Number(f64),
    Histogram(Histogram),
}

impl From<f64> for Value {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "only what loses nothing is cast"
    )]
    fn from(value: f64) -> Self {
        let is_count = value.fract() == 0.0 && (0.0..1e15).contains(&value);
        if is_count { Self::Count(value as u64) } else { Self::Number(value) }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Count(value.into())
    }
}

/// The values of a metric, by labels.
type Series<'a> = Vec<(Vec<(&'static str, &'a str)>, Value)>;

impl Collector for Facts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer { format: self.format, encoder };
        writer.write(BUILD_INFO, vec![(vec![("version", env!("CARGO_PKG_VERSION"))], Value::Count(1))])?;
        self.write_targets(&mut writer)?;
        self.write_alerts(&mut writer)?;
        self.write_channels(&mut writer)?;
        writer.write(STORE_SIZE, vec![(vec![], Value::Count(self.store_bytes))])?;
        writer.write(STORE_SHELTERED, vec![(vec![], self.is_sheltered.into())])?;
        self.write_log_sources(&mut writer)?;
        let reload = self.state.reloaded.map(|taken| (vec![], taken.into()));
        writer.write(CONFIG_RELOAD, reload.into_iter().collect())
    }
}

impl Facts {
    /// What was seen of a target is served by whoever looks at it: of an earlier leader it would only grow old. Counters of
    /// this process go on.
    fn write_targets(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let of_led = |metric: MetricDesc, value: &dyn Fn(&TargetMetrics) -> Option<Value>| {
            // Of a target that only an earlier process looked at, no more is known than when.
            let known = self.led().filter(|(_, target)| target.has_run || metric.name == LAST_SEEN.name);
            known.filter_map(|(name, target)| Some((vec![("target", name)], value(target)?))).collect()
        };
        let of_all = |value: &dyn Fn(&TargetMetrics) -> Value| -> Series<'_> {
            let run = self.state.targets.iter().filter(|(_, target)| target.runs > 0);
            run.map(|(name, target)| (vec![("target", name.as_str())], value(target))).collect()
        };
        let sessions = self.led().flat_map(|(name, target)| {
            let counts = target.sessions.iter();
            counts
                .map(move |(kind, count)| (vec![("target", name), ("kind", kind.as_str())], (*count).into()))
        });
        let checks = self.led().flat_map(|(name, target)| {
            let known = target.failing.iter().filter_map(|(check, failing)| Some((check, (*failing)?)));
            known.map(move |(check, failing)| {
                (vec![("target", name), ("check", check.as_str())], failing.into())
            })
        });
        let leader = self.targets.iter();
        let leader = leader.map(|target| (vec![("target", target.name.as_str())], target.is_led.into()));
        writer.write(TARGET_UP, of_led(TARGET_UP, &|target| Some(target.is_up.into())))?;
        writer.write(RUNS, of_all(&|target| Value::Count(target.runs)))?;
        writer.write(FAILED_RUNS, of_all(&|target| Value::Count(target.failed_runs)))?;
        writer.write(RUN_DURATION, of_all(&|target| Value::Histogram(target.run_duration.clone())))?;
        writer.write(
            SCHEDULER_LAG,
            of_led(SCHEDULER_LAG, &|target| Some(Value::Number(target.scheduler_lag_seconds))),
        )?;
        writer.write(
            REPLICA_LAG,
            of_led(REPLICA_LAG, &|target| target.replica_lag_seconds.map(Value::Number)),
        )?;
        let seen = |target: &TargetMetrics| target.seen_at.map(|at| Value::Number(unix_seconds(at)));
        writer.write(LAST_SEEN, of_led(LAST_SEEN, &seen))?;
        writer.write(SESSIONS, sessions.collect())?;
        writer.write(CHECK_FAILING, checks.collect())?;
        writer.write(TARGET_LEADER, leader.collect())
    }

    /// The targets that this process leads, and what it knows of them.
    fn led(&self) -> impl Iterator<Item = (&str, &TargetMetrics)> {
        let leads = |name: &str| self.targets.iter().any(|target| target.is_led && target.name == name);
        let targets = self.state.targets.iter();
        targets.map(|(name, target)| (name.as_str(), target)).filter(move |(name, _)| leads(name))
    }

    fn write_alerts(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let firing = self.alerts.iter().map(|kept| {
            let labels = vec![
                ("target", kept.target.as_str()),
                ("check", kept.check.as_str()),
                ("severity", kept.severity.as_str()),
            ];
            (labels, matches!(kept.alert.state, AlertState::Firing { .. }).into())
        });
        writer.write(ALERT_FIRING, firing.collect())?;
        let count = |state: &'static str, is_in: &dyn Fn(&Alert) -> bool| {
            let count = self.alerts.iter().filter(|kept| is_in(&kept.alert)).count();
            (vec![("state", state)], Value::Count(count as u64))
        };
        let mut states: Series<'_> =
            ["ok", "pending", "firing"].map(|name| count(name, &|alert| alert.state.name() == name)).into();
        states.push(count("acknowledged", &|alert| alert.acknowledged));
        states.push(count("stale", &|alert| alert.stale));
        writer.write(ALERTS, states)
    }

    fn write_channels(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let messages = self.messages.iter().map(|(channel, state, count)| {
            (vec![("channel", channel.as_str()), ("state", state.as_str())], Value::Count(*count))
        });
        writer.write(OUTBOX_MESSAGES, messages.collect())?;
        let channels = || self.state.channels.iter().map(|(name, channel)| (name.as_str(), channel));
        let outcomes = channels().flat_map(|(name, ChannelMetrics { delivered, failed, .. })| {
            [("delivered", *delivered), ("failed", *failed)]
                .map(|(outcome, count)| (vec![("channel", name), ("outcome", outcome)], Value::Count(count)))
        });
        writer.write(DELIVERIES, outcomes.collect())?;
        let seconds =
            channels().map(|(name, channel)| (vec![("channel", name)], Value::Number(channel.seconds)));
        writer.write(DELIVERY_DURATION, seconds.collect())
    }

    fn write_log_sources(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let read = self.sources.iter().filter_map(|source| {
            let at = unix_seconds(source.heard_at?);
            Some((vec![("source", source.name.as_str())], Value::Number(at)))
        });
        let lines = self.sources.iter().filter_map(|source| {
            Some((
                vec![("source", source.name.as_str())],
                Value::Count(source.counters.get("lines")?.as_u64()?),
            ))
        });
        writer.write(LOG_LINES, lines.collect())?;
        writer.write(LOG_SIGNALS, self.counters("kind", |counter| counter.strip_prefix("signals/")))?;
        let dropped = |counter| DROP_REASONS.into_iter().find(|reason| *reason == counter);
        writer.write(LOG_DROPPED, self.counters("reason", dropped))?;
        writer.write(LOG_LAST_READ, read.collect())
    }

    /// The counters of log sources to which `value` gives a value of that label.
    fn counters<'a>(&'a self, label: &'static str, value: impl Fn(&'a str) -> Option<&'a str>) -> Series<'a> {
        let all = self.sources.iter().flat_map(|source| {
            source.counters.iter().map(|(counter, count)| (source.name.as_str(), counter.as_str(), count))
        });
        let labelled = all.filter_map(|(source, counter, count)| {
            Some((vec![("source", source), (label, value(counter)?)], Value::Count(count.as_u64()?)))
        });
        labelled.collect()
    }
}

/// Writes metrics in one of the formats.
struct Writer<'a> {
    format: Format,
    encoder: DescriptorEncoder<'a>,
}

impl Writer<'_> {
    /// Writes a metric with its values; nothing of one without values.
    fn write(&mut self, metric: MetricDesc, series: Series<'_>) -> fmt::Result {
        if series.is_empty() {
            return Ok(());
        }
        // OpenMetrics names a counter without the suffix of its series.
        let base = metric.name.strip_suffix("_total").filter(|_| self.format == Format::OpenMetrics);
        let kind = match metric.kind {
            MetricKind::Gauge => MetricType::Gauge,
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Histogram => MetricType::Histogram,
        };
        let mut family =
            self.encoder.encode_descriptor(base.unwrap_or(metric.name), metric.help, None, kind)?;
        for (labels, value) in series {
            // With no labels, `{}` would be written.
            if labels.is_empty() {
                write_number(&mut family, &value, base.is_some())?;
                continue;
            }
            let mut one = family.encode_family(&labels)?;
            match value {
                Value::Histogram(histogram) => histogram.encode(one)?,
                number => write_number(&mut one, &number, base.is_some())?,
            }
        }
        Ok(())
    }
}

/// Writes a number, with the suffix of a counter where that is not in its name.
fn write_number(encoder: &mut MetricEncoder<'_>, value: &Value, with_suffix: bool) -> fmt::Result {
    match (value, with_suffix) {
        (Value::Count(count), true) => encoder.encode_counter::<NoLabelSet, _, u64>(count, None),
        (Value::Count(count), false) => encoder.encode_gauge(count),
        (Value::Number(number), true) => encoder.encode_counter::<NoLabelSet, _, u64>(number, None),
        (Value::Number(number), false) => encoder.encode_gauge(number),
        (Value::Histogram(_), _) => Err(fmt::Error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::metrics::{DeliveryOutcome, RuntimeMetrics};

    /// What is served of a channel, and of a target whose runs took 20 ms and 90 s.
    fn page(format: Format) -> String {
        let metrics = RuntimeMetrics::default();
        metrics.record_delivery("a \"b\"\n", Duration::from_millis(1_500), DeliveryOutcome::Delivered);
        let mut state = metrics.snapshot();
        let target = state.targets.entry("app".into()).or_default();
        target.runs = 2;
        [0.02, 90.0].into_iter().for_each(|seconds| target.run_duration.observe(seconds));
        let facts = Facts {
            format,
            targets: vec![],
            state,
            alerts: vec![],
            messages: vec![],
            sources: vec![],
            store_bytes: 4_096,
            is_sheltered: false,
        };
        encode(facts)
    }

    #[test]
    fn counters_have_their_suffix_in_both_formats_and_the_type_fits_the_name() {
        let counter = |type_of: &str| {
            format!(
                "# HELP {type_of} Attempts to deliver since the start, by outcome\n# TYPE {type_of} counter\n\
                 sessionwatch_deliveries_total{{channel=\"a \\\"b\\\"\\n\",outcome=\"delivered\"}} 1\n"
            )
        };
        let prometheus = page(Format::Prometheus);
        assert!(prometheus.contains(&counter("sessionwatch_deliveries_total")), "{prometheus}");
        assert!(!prometheus.contains("# EOF"));
        let openmetrics = page(Format::OpenMetrics);
        assert!(openmetrics.contains(&counter("sessionwatch_deliveries")), "{openmetrics}");
        assert!(openmetrics.ends_with("sessionwatch_store_sheltered 0\n# EOF\n"), "{openmetrics}");
    }

    #[test]
    fn durations_of_runs_are_counted_by_bucket() {
        for page in [page(Format::Prometheus), page(Format::OpenMetrics)] {
            for line in [
                "# TYPE sessionwatch_check_run_duration_seconds histogram",
                "sessionwatch_check_run_duration_seconds_bucket{le=\"0.01\",target=\"app\"} 0",
                "sessionwatch_check_run_duration_seconds_bucket{le=\"0.025\",target=\"app\"} 1",
                "sessionwatch_check_run_duration_seconds_bucket{le=\"60.0\",target=\"app\"} 1",
                "sessionwatch_check_run_duration_seconds_bucket{le=\"+Inf\",target=\"app\"} 2",
                "sessionwatch_check_run_duration_seconds_sum{target=\"app\"} 90.02",
            ] {
                assert!(page.lines().any(|found| found == line), "{line}: {page}");
            }
        }
    }

    #[test]
    fn the_format_is_the_one_that_the_request_accepts() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::accepted("*/*"), Format::Prometheus);
    }
}
