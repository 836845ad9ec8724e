//! Renders the metrics in the Prometheus text format or OpenMetrics.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, histogram::Histogram},
    registry::Registry,
};
use sessionwatch_core::alert::{Alert, AlertState};
use sessionwatch_store::{
    StoreError,
    alerts::{self, AlertRecord},
    outbox,
};

use super::{ChannelMetrics, MetricsState, TargetMetrics, unix_seconds};
use crate::{
    daemon::DaemonState,
    logs::{self, LogSourceRecord},
    metric_names::{
        ALERT_COUNTS, ALERT_FIRING, BUILD_INFO, CHECK_FAILING, CHECK_RUN_DURATION, CHECK_RUN_FAILURES,
        CHECK_RUNS, CONFIG_RELOAD_SUCCESS, DELIVERY_ATTEMPTS, DELIVERY_DURATION, LAST_SUCCESS, LOG_DROPPED,
        LOG_EVENTS, LOG_LAST_LINE, LOG_LINES, MetricDesc, MetricKind, OUTBOX_MESSAGES, REPLICA_LAG,
        SCHEDULER_LAG, SESSION_COUNTS, STORE_MEMORY_FALLBACK, STORE_SIZE, TARGET_LEADER, TARGET_UP,
    },
};

/// Counters of a log source that are exposed as reasons of dropped data.
const DROP_REASONS: [&str; 7] =
    ["overlong", "truncated", "repeated", "faulty", "datagrams", "refused", "gaps"];

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpositionFormat {
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl ExpositionFormat {
    /// Returns the format for an `Accept` header.
    pub(crate) fn from_accept_header(header: &str) -> Self {
        if header.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Returns the `Content-Type` of the format.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Renders the current values of all metrics.
pub(crate) fn render_metrics(state: &DaemonState, format: ExpositionFormat) -> Result<String, StoreError> {
    // One transaction, so that alerts and messages belong to the same moment.
    let (alerts, messages, sources) = state.app.store.read(|db| {
        Ok((alerts::list_alerts(db, true)?, outbox::count_messages(db)?, logs::list_sources(db)?))
    })?;
    let config = state.app.config();
    let targets = config.targets.iter().map(|target| TargetLeadership {
        name: target.name.clone(),
        is_led: state.app.leads_target(&target.name),
    });
    let facts = MetricsCollector {
        format,
        targets: targets.collect(),
        state: state.metrics.snapshot(),
        alerts,
        messages,
        sources,
        store_bytes: state.app.store.size_bytes()?,
        is_memory_fallback: state.app.store.is_memory_fallback(),
    };
    Ok(encode_metrics(facts))
}

fn encode_metrics(facts: MetricsCollector) -> String {
    let (format, mut page) = (facts.format, String::new());
    let mut registry = Registry::default();
    registry.register_collector(Box::new(facts));
    // Writing to a `String` cannot fail.
    let _ = text::encode_registry(&mut page, &registry);
    // OpenMetrics requires the end marker, by which a scraper detects a truncated page.
    if format == ExpositionFormat::OpenMetrics {
        let _ = text::encode_eof(&mut page);
    }
    page
}

/// The values of one scrape.
#[derive(Debug)]
struct MetricsCollector {
    format: ExpositionFormat,
    targets: Vec<TargetLeadership>,
    state: MetricsState,
    alerts: Vec<AlertRecord>,
    /// Channel, state and number of messages.
    messages: Vec<(String, String, u64)>,
    sources: Vec<LogSourceRecord>,
    store_bytes: u64,
    is_memory_fallback: bool,
}

#[derive(Debug)]
struct TargetLeadership {
    name: String,
    is_led: bool,
}

/// A metric value. Counts are written without a decimal point.
#[derive(Clone, Debug)]
enum MetricValue {
    Count(u64),
    Number(f64),
    Histogram(Histogram),
}

impl From<f64> for MetricValue {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "only what loses nothing is cast"
    )]
    fn from(value: f64) -> Self {
        // Beyond that, a float no longer represents every integer exactly.
        let is_count = value.fract() == 0.0 && (0.0..1e15).contains(&value);
        if is_count { Self::Count(value as u64) } else { Self::Number(value) }
    }
}

impl From<bool> for MetricValue {
    fn from(value: bool) -> Self {
        Self::Count(value.into())
    }
}

/// Labels and value of each series of a metric.
type MetricSeries<'a> = Vec<(Vec<(&'static str, &'a str)>, MetricValue)>;

impl Collector for MetricsCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = MetricWriter { format: self.format, encoder };
        writer.write_metric(
            BUILD_INFO,
            vec![(vec![("version", env!("CARGO_PKG_VERSION"))], MetricValue::Count(1))],
        )?;
        self.write_targets(&mut writer)?;
        self.write_alerts(&mut writer)?;
        self.write_channels(&mut writer)?;
        writer.write_metric(STORE_SIZE, vec![(vec![], MetricValue::Count(self.store_bytes))])?;
        writer.write_metric(STORE_MEMORY_FALLBACK, vec![(vec![], self.is_memory_fallback.into())])?;
        self.write_log_sources(&mut writer)?;
        let reload = self.state.reload_succeeded.map(|taken| (vec![], taken.into()));
        writer.write_metric(CONFIG_RELOAD_SUCCESS, reload.into_iter().collect())
    }
}

impl MetricsCollector {
    /// Writes the metrics of targets. Gauges are exposed by the current leader only, since those of an earlier leader
    /// are outdated; counters of this process are always exposed, so that they never decrease.
    fn write_targets(&self, writer: &mut MetricWriter<'_>) -> fmt::Result {
        let of_led = |metric: MetricDesc, value: &dyn Fn(&TargetMetrics) -> Option<MetricValue>| {
            // Until this process has run, only the time of the last success is known, from the store.
            let known =
                self.led_targets().filter(|(_, target)| target.has_run || metric.name == LAST_SUCCESS.name);
            known.filter_map(|(name, target)| Some((vec![("target", name)], value(target)?))).collect()
        };
        let of_all = |value: &dyn Fn(&TargetMetrics) -> MetricValue| -> MetricSeries<'_> {
            // A target that has not run here would expose zeros, which reset the counters of a scraper.
            let run = self.state.targets.iter().filter(|(_, target)| target.runs > 0);
            run.map(|(name, target)| (vec![("target", name.as_str())], value(target))).collect()
        };
        let sessions = self.led_targets().flat_map(|(name, target)| {
            let counts = target.session_gauges.iter();
            counts
                .map(move |(kind, count)| (vec![("target", name), ("kind", kind.as_str())], (*count).into()))
        });
        let checks = self.led_targets().flat_map(|(name, target)| {
            let known =
                target.failing_checks.iter().filter_map(|(check, failing)| Some((check, (*failing)?)));
            known.map(move |(check, failing)| {
                (vec![("target", name), ("check", check.as_str())], failing.into())
            })
        });
        let leader = self.targets.iter();
        let leader = leader.map(|target| (vec![("target", target.name.as_str())], target.is_led.into()));
        writer.write_metric(TARGET_UP, of_led(TARGET_UP, &|target| Some(target.is_up.into())))?;
        writer.write_metric(CHECK_RUNS, of_all(&|target| MetricValue::Count(target.runs)))?;
        writer.write_metric(CHECK_RUN_FAILURES, of_all(&|target| MetricValue::Count(target.failed_runs)))?;
        writer.write_metric(
            CHECK_RUN_DURATION,
            of_all(&|target| MetricValue::Histogram(target.run_duration.clone())),
        )?;
        writer.write_metric(
            SCHEDULER_LAG,
            of_led(SCHEDULER_LAG, &|target| Some(MetricValue::Number(target.scheduler_lag_seconds))),
        )?;
        writer.write_metric(
            REPLICA_LAG,
            of_led(REPLICA_LAG, &|target| target.replica_lag_seconds.map(MetricValue::Number)),
        )?;
        let seen =
            |target: &TargetMetrics| target.last_seen_at.map(|at| MetricValue::Number(unix_seconds(at)));
        writer.write_metric(LAST_SUCCESS, of_led(LAST_SUCCESS, &seen))?;
        writer.write_metric(SESSION_COUNTS, sessions.collect())?;
        writer.write_metric(CHECK_FAILING, checks.collect())?;
        writer.write_metric(TARGET_LEADER, leader.collect())
    }

    fn led_targets(&self) -> impl Iterator<Item = (&str, &TargetMetrics)> {
        let leads = |name: &str| self.targets.iter().any(|target| target.is_led && target.name == name);
        let targets = self.state.targets.iter();
        targets.map(|(name, target)| (name.as_str(), target)).filter(move |(name, _)| leads(name))
    }

    fn write_alerts(&self, writer: &mut MetricWriter<'_>) -> fmt::Result {
        let firing = self.alerts.iter().map(|alert| {
            let labels = vec![
                ("target", alert.target.as_str()),
                ("check", alert.check.as_str()),
                ("severity", alert.severity.as_str()),
            ];
            (labels, matches!(alert.alert.state, AlertState::Firing { .. }).into())
        });
        writer.write_metric(ALERT_FIRING, firing.collect())?;
        let count = |state: &'static str, is_in: &dyn Fn(&Alert) -> bool| {
            let count = self.alerts.iter().filter(|alert| is_in(&alert.alert)).count();
            (vec![("state", state)], MetricValue::Count(count as u64))
        };
        let mut states: MetricSeries<'_> = ["resolved", "pending", "firing"]
            .map(|name| count(name, &|alert| alert.state.name() == name))
            .into();
        // Acknowledged and stale overlap with the states, so the counts do not add up to a total.
        states.push(count("acknowledged", &|alert| alert.is_acknowledged));
        states.push(count("stale", &|alert| alert.is_stale));
        writer.write_metric(ALERT_COUNTS, states)
    }

    fn write_channels(&self, writer: &mut MetricWriter<'_>) -> fmt::Result {
        let messages = self.messages.iter().map(|(channel, state, count)| {
            (vec![("channel", channel.as_str()), ("state", state.as_str())], MetricValue::Count(*count))
        });
        writer.write_metric(OUTBOX_MESSAGES, messages.collect())?;
        let channels = || self.state.channels.iter().map(|(name, channel)| (name.as_str(), channel));
        let outcomes = channels().flat_map(|(name, ChannelMetrics { delivered, failed, .. })| {
            [("delivered", *delivered), ("failed", *failed)].map(|(outcome, count)| {
                (vec![("channel", name), ("outcome", outcome)], MetricValue::Count(count))
            })
        });
        writer.write_metric(DELIVERY_ATTEMPTS, outcomes.collect())?;
        let seconds = channels()
            .map(|(name, channel)| (vec![("channel", name)], MetricValue::Number(channel.total_seconds)));
        writer.write_metric(DELIVERY_DURATION, seconds.collect())
    }

    fn write_log_sources(&self, writer: &mut MetricWriter<'_>) -> fmt::Result {
        let read = self.sources.iter().filter_map(|source| {
            // A source that has not read a line yet has no time, and zero would be 1970.
            let at = unix_seconds(source.last_line_at?);
            Some((vec![("source", source.name.as_str())], MetricValue::Number(at)))
        });
        let lines = self.sources.iter().filter_map(|source| {
            Some((
                vec![("source", source.name.as_str())],
                MetricValue::Count(source.counters.get("lines")?.as_u64()?),
            ))
        });
        writer.write_metric(LOG_LINES, lines.collect())?;
        writer.write_metric(
            LOG_EVENTS,
            self.log_counters("kind", |counter| counter.strip_prefix("log_events/")),
        )?;
        let dropped = |counter| DROP_REASONS.into_iter().find(|reason| *reason == counter);
        writer.write_metric(LOG_DROPPED, self.log_counters("reason", dropped))?;
        writer.write_metric(LOG_LAST_LINE, read.collect())
    }

    /// Returns the counters of log sources for which `value` returns a value of `label`.
    fn log_counters<'a>(
        &'a self,
        label: &'static str,
        value: impl Fn(&'a str) -> Option<&'a str>,
    ) -> MetricSeries<'a> {
        let all = self.sources.iter().flat_map(|source| {
            source.counters.iter().map(|(counter, count)| (source.name.as_str(), counter.as_str(), count))
        });
        let labeled = all.filter_map(|(source, counter, count)| {
            Some((vec![("source", source), (label, value(counter)?)], MetricValue::Count(count.as_u64()?)))
        });
        labeled.collect()
    }
}

struct MetricWriter<'a> {
    format: ExpositionFormat,
    encoder: DescriptorEncoder<'a>,
}

impl MetricWriter<'_> {
    /// Writes a metric with its series. Writes nothing for a metric without series.
    fn write_metric(&mut self, metric: MetricDesc, series: MetricSeries<'_>) -> fmt::Result {
        if series.is_empty() {
            return Ok(());
        }
        // OpenMetrics names a counter without the suffix of its series.
        let base =
            metric.name.strip_suffix("_total").filter(|_| self.format == ExpositionFormat::OpenMetrics);
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
                MetricValue::Histogram(histogram) => histogram.encode(one)?,
                number => write_number(&mut one, &number, base.is_some())?,
            }
        }
        Ok(())
    }
}

/// Writes a number; `with_suffix` appends the `_total` that OpenMetrics leaves out of the metric's name.
fn write_number(encoder: &mut MetricEncoder<'_>, value: &MetricValue, with_suffix: bool) -> fmt::Result {
    match (value, with_suffix) {
        (MetricValue::Count(count), true) => encoder.encode_counter::<NoLabelSet, _, u64>(count, None),
        (MetricValue::Count(count), false) => encoder.encode_gauge(count),
        (MetricValue::Number(number), true) => encoder.encode_counter::<NoLabelSet, _, u64>(number, None),
        (MetricValue::Number(number), false) => encoder.encode_gauge(number),
        (MetricValue::Histogram(_), _) => Err(fmt::Error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::metrics::{DeliveryOutcome, RuntimeMetrics};

    /// Renders one delivery of a channel, and a target with runs of 20 ms and 90 s.
    fn page(format: ExpositionFormat) -> String {
        let metrics = RuntimeMetrics::default();
        metrics.record_delivery("a \"b\"\n", Duration::from_millis(1_500), DeliveryOutcome::Delivered);
        let mut state = metrics.snapshot();
        let target = state.targets.entry("app".into()).or_default();
        target.runs = 2;
        [0.02, 90.0].into_iter().for_each(|seconds| target.run_duration.observe(seconds));
        let facts = MetricsCollector {
            format,
            targets: vec![],
            state,
            alerts: vec![],
            messages: vec![],
            sources: vec![],
            store_bytes: 4_096,
            is_memory_fallback: false,
        };
        encode_metrics(facts)
    }

    #[test]
    fn counters_keep_their_suffix_and_type_in_both_formats() {
        let counter = |type_of: &str| {
            format!(
                "# HELP {type_of} Delivery attempts since the start, by outcome\n# TYPE {type_of} counter\n\
                 sessionwatch_deliveries_total{{channel=\"a \\\"b\\\"\\n\",outcome=\"delivered\"}} 1\n"
            )
        };
        let prometheus = page(ExpositionFormat::Prometheus);
        assert!(prometheus.contains(&counter("sessionwatch_deliveries_total")), "{prometheus}");
        assert!(!prometheus.contains("# EOF"));
        let openmetrics = page(ExpositionFormat::OpenMetrics);
        assert!(openmetrics.contains(&counter("sessionwatch_deliveries")), "{openmetrics}");
        assert!(openmetrics.ends_with("sessionwatch_store_memory_fallback 0\n# EOF\n"), "{openmetrics}");
    }

    #[test]
    fn run_durations_are_counted_by_bucket() {
        for page in [page(ExpositionFormat::Prometheus), page(ExpositionFormat::OpenMetrics)] {
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
    fn the_format_follows_the_accept_header() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(ExpositionFormat::from_accept_header(prometheus), ExpositionFormat::OpenMetrics);
        assert_eq!(ExpositionFormat::from_accept_header("*/*"), ExpositionFormat::Prometheus);
    }
}
