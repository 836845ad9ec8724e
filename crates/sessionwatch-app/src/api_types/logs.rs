//! Log events and their sources, as programs read them.

use serde::Serialize;
use serde_json::{Map, Value};
use sessionwatch_core::{source_activity::SourceStatus, timestamp::UtcTimestamp};
use sessionwatch_store::{log_events, log_sources};
use utoipa::ToSchema;

use super::Rfc3339;
use crate::config::logs;

/// What a line of a log says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogEventDto {
    id: i64,
    /// The kind, or the name of a pattern.
    kind: String,
    severity: Option<String>,
    /// When, by the log's clock.
    at: Option<Rfc3339>,
    /// When it was read.
    recorded_at: Rfc3339,
    user: Option<String>,
    other_user: Option<String>,
    token_prefix: Option<String>,
    reason: Option<String>,
    request_id: Option<String>,
    source: String,
    /// Where it begins and ends in the source.
    bytes: (u64, u64),
    /// What the line says, made of the fields that were recognised.
    text: String,
    /// How it fits the table; nothing where it was not joined.
    match_kind: Option<String>,
    /// What it was joined to, or why it was not.
    correlated: Option<Value>,
}

impl LogEventDto {
    /// The document.
    #[must_use]
    pub fn from_record(record: &log_events::LogEventRecord) -> Self {
        let signal = record.clone();
        Self {
            id: signal.id,
            kind: signal.kind,
            severity: signal.severity,
            at: signal.at.map(Rfc3339),
            recorded_at: Rfc3339(signal.read_at),
            user: signal.user,
            other_user: signal.other_user,
            token_prefix: signal.token_prefix,
            reason: signal.reason,
            request_id: signal.request,
            source: signal.source,
            bytes: signal.byte_range,
            text: signal.text,
            match_kind: signal.match_kind,
            correlated: signal.correlation,
        }
    }
}

/// A source of log lines.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogSourceDto {
    name: String,
    target: String,
    /// `never active`, `active` or `idle`.
    activity: &'static str,
    last_line_at: Option<Rfc3339>,
    /// What was read, and what was dropped and why.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    counters: Map<String, Value>,
}

impl LogSourceDto {
    /// The document of a source that is configured, and what is known of it.
    #[must_use]
    pub fn from_config<P>(
        source: &logs::LogSourceConfig,
        kept: log_sources::StoredLogSource<P>,
        now: UtcTimestamp,
    ) -> Self {
        let activity = match kept.activity.status_at(kept.last_line_at, now, source.idle_after) {
            SourceStatus::NeverActive => "never active",
            SourceStatus::Normal => "active",
            SourceStatus::Idle => "idle",
        };
        Self {
            name: source.name.clone(),
            target: source.target.clone(),
            activity,
            last_line_at: kept.last_line_at.map(Rfc3339),
            counters: kept.counters,
        }
    }

    /// How it speaks, in words.
    #[must_use]
    pub fn activity(&self) -> &'static str {
        self.activity
    }
}
