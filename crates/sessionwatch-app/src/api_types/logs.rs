//! JSON types of log events and log sources.

use serde::Serialize;
use serde_json::{Map, Value};
use sessionwatch_core::{source_activity::SourceStatus, timestamp::UtcTimestamp};
use sessionwatch_store::{log_events, log_sources};
use utoipa::ToSchema;

use super::Rfc3339;
use crate::config::logs;

/// Log event parsed from a log line.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogEventDto {
    id: i64,
    /// Kind of the event, or the name of a custom log check.
    kind: String,
    severity: Option<String>,
    /// Time of the event by the clock of the log.
    at: Option<Rfc3339>,
    /// Time at which the line was read.
    recorded_at: Rfc3339,
    user: Option<String>,
    other_user: Option<String>,
    token_prefix: Option<String>,
    reason: Option<String>,
    request_id: Option<String>,
    source: String,
    /// Start and end offset of the line in the source, in bytes.
    bytes: (u64, u64),
    /// Description of the event, composed of the parsed fields. Never the raw line.
    text: String,
    /// Match with the session table; null if the event was not correlated.
    match_kind: Option<String>,
    /// Correlated session, or the reason why there is none.
    correlated: Option<Value>,
}

impl LogEventDto {
    /// Creates the JSON type from a stored record.
    #[must_use]
    pub fn from_record(record: &log_events::LogEventRecord) -> Self {
        let event = record.clone();
        Self {
            id: event.id,
            kind: event.kind,
            severity: event.severity,
            at: event.at.map(Rfc3339),
            recorded_at: Rfc3339(event.read_at),
            user: event.user,
            other_user: event.other_user,
            token_prefix: event.token_prefix,
            reason: event.reason,
            request_id: event.request,
            source: event.source,
            bytes: event.byte_range,
            text: event.text,
            match_kind: event.match_kind,
            correlated: event.correlation,
        }
    }
}

/// Log source.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogSourceDto {
    name: String,
    target: String,
    /// `never active`, `active` or `idle`.
    activity: &'static str,
    last_line_at: Option<Rfc3339>,
    /// Numbers of lines read, and of lines dropped by reason.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    counters: Map<String, Value>,
}

impl LogSourceDto {
    /// Creates the JSON type from a configured source and its stored state.
    #[must_use]
    pub fn from_config<P>(
        source: &logs::LogSourceConfig,
        stored: log_sources::StoredLogSource<P>,
        now: UtcTimestamp,
    ) -> Self {
        let activity = match stored.activity.status_at(stored.last_line_at, now, source.idle_after) {
            SourceStatus::NeverActive => "never active",
            SourceStatus::Normal => "active",
            SourceStatus::Idle => "idle",
        };
        Self {
            name: source.name.clone(),
            target: source.target.clone(),
            activity,
            last_line_at: stored.last_line_at.map(Rfc3339),
            counters: stored.counters,
        }
    }

    /// Returns the activity of the source, in words.
    #[must_use]
    pub fn activity(&self) -> &'static str {
        self.activity
    }
}
