//! Names, types and help texts of all metrics. The exposition, the Prometheus rules and the Grafana dashboard use them.

/// The Prometheus metric type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// Only goes up until the process ends. Its name ends in `_total`.
    Counter,
    /// Counts observations by size; exposed as `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl MetricKind {
    /// Returns the name of the type in both text formats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// The description of a metric.
#[derive(Clone, Copy, Debug)]
pub struct MetricDesc {
    /// Metric name.
    pub name: &'static str,
    /// Metric type.
    pub kind: MetricKind,
    /// Help text, without a full stop.
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
pub const BUILD_INFO: MetricDesc = new_gauge("sessionwatch_build_info", "Version of the running daemon");
/// `sessionwatch_target_up`
pub const TARGET_UP: MetricDesc =
    new_gauge("sessionwatch_target_up", "1 if the last check run of the target succeeded");
/// `sessionwatch_target_leader`
pub const TARGET_LEADER: MetricDesc =
    new_gauge("sessionwatch_target_leader", "1 if this process monitors the target");
/// `sessionwatch_check_runs_total`
pub const CHECK_RUNS: MetricDesc = new_counter("sessionwatch_check_runs_total", "Check runs since the start");
/// `sessionwatch_check_run_failures_total`
pub const CHECK_RUN_FAILURES: MetricDesc =
    new_counter("sessionwatch_check_run_failures_total", "Failed check runs since the start");
/// `sessionwatch_check_run_duration_seconds`
pub const CHECK_RUN_DURATION: MetricDesc =
    new_histogram("sessionwatch_check_run_duration_seconds", "Duration of check runs since the start");
/// `sessionwatch_scheduler_lag_seconds`
pub const SCHEDULER_LAG: MetricDesc = new_gauge(
    "sessionwatch_scheduler_lag_seconds",
    "Delay between the due time and the start of the last check run",
);
/// `sessionwatch_replica_lag_seconds`
pub const REPLICA_LAG: MetricDesc = new_gauge(
    "sessionwatch_replica_lag_seconds",
    "Lag of the replica in the last check run; absent if the run read the primary",
);
/// `sessionwatch_last_success_timestamp_seconds`
pub const LAST_SUCCESS: MetricDesc =
    new_gauge("sessionwatch_last_success_timestamp_seconds", "Time of the last successful check run");
/// `sessionwatch_sessions`
pub const SESSION_COUNTS: MetricDesc =
    new_gauge("sessionwatch_sessions", "Sessions and users by kind, in the last check run");
/// `sessionwatch_check_failing`
pub const CHECK_FAILING: MetricDesc =
    new_gauge("sessionwatch_check_failing", "1 if the check is failing, 0 if passing; absent if unknown");
/// `sessionwatch_alert_firing`
pub const ALERT_FIRING: MetricDesc =
    new_gauge("sessionwatch_alert_firing", "1 if the alert of the check is firing");
/// `sessionwatch_alerts`
pub const ALERT_COUNTS: MetricDesc = new_gauge(
    "sessionwatch_alerts",
    "Checks by the state of their alert: resolved (also if it never fired), pending, firing; \
     acknowledged and stale overlap these",
);
/// `sessionwatch_outbox_messages`
pub const OUTBOX_MESSAGES: MetricDesc =
    new_gauge("sessionwatch_outbox_messages", "Queued and undeliverable messages, by state");
/// `sessionwatch_deliveries_total`
pub const DELIVERY_ATTEMPTS: MetricDesc =
    new_counter("sessionwatch_deliveries_total", "Delivery attempts since the start, by outcome");
/// `sessionwatch_delivery_duration_seconds_total`
pub const DELIVERY_DURATION: MetricDesc =
    new_counter("sessionwatch_delivery_duration_seconds_total", "Total duration of all delivery attempts");
/// `sessionwatch_store_size_bytes`
pub const STORE_SIZE: MetricDesc = new_gauge("sessionwatch_store_size_bytes", "Size of the state store");
/// `sessionwatch_store_memory_fallback`
pub const STORE_MEMORY_FALLBACK: MetricDesc = new_gauge(
    "sessionwatch_store_memory_fallback",
    "1 if the disk is full and new data is kept in memory only",
);
/// `sessionwatch_log_lines_total`
pub const LOG_LINES: MetricDesc = new_counter("sessionwatch_log_lines_total", "Log lines read, by source");
/// `sessionwatch_log_events_total`
pub const LOG_EVENTS: MetricDesc =
    new_counter("sessionwatch_log_events_total", "Log events found, by source and kind");
/// `sessionwatch_log_dropped_total`
pub const LOG_DROPPED: MetricDesc = new_counter(
    "sessionwatch_log_dropped_total",
    "Log data that was truncated or dropped, by source and reason",
);
/// `sessionwatch_log_last_line_timestamp_seconds`
pub const LOG_LAST_LINE: MetricDesc = new_gauge(
    "sessionwatch_log_last_line_timestamp_seconds",
    "Time at which the last line of the source was read",
);
/// `sessionwatch_config_reload_success`
pub const CONFIG_RELOAD_SUCCESS: MetricDesc = new_gauge(
    "sessionwatch_config_reload_success",
    "1 if the last configuration reload succeeded; absent before the first reload",
);

/// All metrics, in the order in which they are exposed.
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
    /// Returns `true` if a series of that name belongs to this metric.
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
