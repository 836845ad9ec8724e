//! The metrics that the daemon serves: what writes them, the rules for Prometheus and the dashboard for Grafana take their
//! names from here.

/// How the values of a metric behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// Only goes up, until the process ends. Its name ends in `_total`.
    Counter,
    /// Counts observations by size; served as `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl MetricKind {
    /// The word for it in both text formats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct MetricDesc {
    /// The name by which Prometheus knows it.
    pub name: &'static str,
    /// How its values behave.
    pub kind: MetricKind,
    /// What it says, in half a sentence.
    pub help: &'static str,
}

const fn new_gauge(name: &'static str, help: &'static str) -> MetricDesc {
    MetricDesc { name, kind: MetricKind::Gauge, help }
}

const fn new_counter(name: &'static str, help: &'static str) -> MetricDesc {
    MetricDesc { name, kind: MetricKind::Counter, help }
}

const fn new_histogram(name: &'static str, help: &'static str) -> MetricDesc {
    MetricDesc { name, kind: MetricKind::Histogram, help }
}

/// `sessionwatch_build_info`
pub const BUILD_INFO: MetricDesc = new_gauge("sessionwatch_build_info", "The version that runs");
/// `sessionwatch_target_up`
pub const TARGET_UP: MetricDesc =
    new_gauge("sessionwatch_target_up", "Whether the last look at the target saw something");
/// `sessionwatch_target_leader`
pub const TARGET_LEADER: MetricDesc =
    new_gauge("sessionwatch_target_leader", "Whether this process watches the target");
/// `sessionwatch_check_runs_total`
pub const CHECK_RUNS: MetricDesc = new_counter("sessionwatch_check_runs_total", "Looks since the start");
/// `sessionwatch_check_run_failures_total`
pub const CHECK_RUN_FAILURES: MetricDesc =
    new_counter("sessionwatch_check_run_failures_total", "Looks since the start that saw nothing");
/// `sessionwatch_check_run_duration_seconds`
pub const CHECK_RUN_DURATION: MetricDesc =
    new_histogram("sessionwatch_check_run_duration_seconds", "How long check runs took since the start");
/// `sessionwatch_scheduler_lag_seconds`
pub const SCHEDULER_LAG: MetricDesc =
    new_gauge("sessionwatch_scheduler_lag_seconds", "How late the last look began");
/// `sessionwatch_replica_lag_seconds`
pub const REPLICA_LAG: MetricDesc = new_gauge(
    "sessionwatch_replica_lag_seconds",
    "How far the replica lagged that was looked at; absent where none was",
);
/// `sessionwatch_last_success_timestamp_seconds`
pub const LAST_SUCCESS: MetricDesc =
    new_gauge("sessionwatch_last_success_timestamp_seconds", "When the target was last seen");
/// `sessionwatch_sessions`
pub const SESSION_COUNTS: MetricDesc =
    new_gauge("sessionwatch_sessions", "Sessions and users by kind, at the last look");
/// `sessionwatch_check_failing`
pub const CHECK_FAILING: MetricDesc =
    new_gauge("sessionwatch_check_failing", "Whether a check fails; absent while unknown");
/// `sessionwatch_alert_firing`
pub const ALERT_FIRING: MetricDesc =
    new_gauge("sessionwatch_alert_firing", "Whether the alert of a check fires");
/// `sessionwatch_alerts`
pub const ALERT_COUNTS: MetricDesc = new_gauge(
    "sessionwatch_alerts",
    "Alerts by state: resolved, pending, firing; acknowledged and stale apart",
);
/// `sessionwatch_outbox_messages`
pub const OUTBOX_MESSAGES: MetricDesc =
    new_gauge("sessionwatch_outbox_messages", "Messages that wait to be delivered, or cannot be");
/// `sessionwatch_deliveries_total`
pub const DELIVERY_ATTEMPTS: MetricDesc =
    new_counter("sessionwatch_deliveries_total", "Attempts to deliver since the start, by outcome");
/// `sessionwatch_delivery_duration_seconds_total`
pub const DELIVERY_DURATION: MetricDesc =
    new_counter("sessionwatch_delivery_duration_seconds_total", "How long all attempts to deliver took");
/// `sessionwatch_store_size_bytes`
pub const STORE_SIZE: MetricDesc = new_gauge("sessionwatch_store_size_bytes", "Bytes that the store takes");
/// `sessionwatch_store_memory_fallback`
pub const STORE_MEMORY_FALLBACK: MetricDesc = new_gauge(
    "sessionwatch_store_memory_fallback",
    "Whether the disk is full, so that what happens is in memory only",
);
/// `sessionwatch_log_lines_total`
pub const LOG_LINES: MetricDesc =
    new_counter("sessionwatch_log_lines_total", "Lines of logs that were read, by source");
/// `sessionwatch_log_events_total`
pub const LOG_EVENTS: MetricDesc =
    new_counter("sessionwatch_log_events_total", "Signals that were found in logs, by source and kind");
/// `sessionwatch_log_dropped_total`
pub const LOG_DROPPED: MetricDesc =
    new_counter("sessionwatch_log_dropped_total", "What of logs was cut or not taken, by source and reason");
/// `sessionwatch_log_last_line_timestamp_seconds`
pub const LOG_LAST_LINE: MetricDesc =
    new_gauge("sessionwatch_log_last_line_timestamp_seconds", "When a line of a source was read last");
/// `sessionwatch_config_reload_success`
pub const CONFIG_RELOAD_SUCCESS: MetricDesc = new_gauge(
    "sessionwatch_config_reload_success",
    "Whether the last change of configuration was taken; absent before one",
);

/// Every metric, in the order in which they are served.
pub const ALL: [MetricDesc; 23] = [
    BUILD_INFO,
    TARGET_UP,
    CHECK_RUNS,
    CHECK_RUN_FAILURES,
    CHECK_RUN_DURATION,
    SCHEDULER_LAG,
    REPLICA_LAG,
    LAST_SUCCESS,
    SESSION_COUNTS,
    CHECK_FAILING,
    TARGET_LEADER,
    ALERT_FIRING,
    ALERT_COUNTS,
    OUTBOX_MESSAGES,
    DELIVERY_ATTEMPTS,
    DELIVERY_DURATION,
    STORE_SIZE,
    STORE_MEMORY_FALLBACK,
    LOG_LINES,
    LOG_EVENTS,
    LOG_DROPPED,
    LOG_LAST_LINE,
    CONFIG_RELOAD_SUCCESS,
];

impl MetricDesc {
    /// Returns `true` if this is the metric to which a series of that name belongs.
    #[must_use]
    pub fn owns_series(&self, series: &str) -> bool {
        match self.kind {
            MetricKind::Gauge | MetricKind::Counter => series == self.name,
            MetricKind::Histogram => series
                .strip_prefix(self.name)
                .is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix)),
        }
    }
}
