//! Application logs: sources, storage and evaluation of log events.
//!
//! `sessionwatch-logs` parses lines. This module reads them from files, log drains and syslog, stores the events,
//! correlates them with sessions and evaluates the log checks.

pub mod block_reader;
pub mod correlation_report;
pub mod evaluate;
pub mod ingest_payload;
pub mod log_batch;
pub mod scan;
pub mod summary;
pub mod syslog;
pub mod tail;
mod zstd_frames;

use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::CriticalLogEvents, correlation::MatchKind, severity::Severity, text::name_users,
    timestamp::UtcTimestamp,
};
use sessionwatch_logs::{
    line_reader::LogExcerpt,
    log_event::{LogEvent, LogEventKind},
};
use sessionwatch_store::{
    StoreError,
    log_events::{self, LogEventRecord, LogEventWindow, NewLogEvent},
    log_sources::{self, StoredLogSource},
    transaction::Tx,
};

use crate::{api_types, sanitize::sanitize_text};

/// The stored state of a log source, with the read position in its file.
pub type LogSourceRecord = StoredLogSource<tail::LogPosition>;

/// A log event with its location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedLogEvent {
    /// The event.
    pub event: LogEvent<'static>,
    /// Severity; `None` for a normal event.
    pub severity: Option<Severity>,
    /// Name of the custom pattern that matched, if any.
    pub pattern: Option<String>,
    /// The source: a file, or a name from the configuration.
    pub source: String,
    /// Offsets of the first byte and the byte after the last one.
    pub byte_range: (u64, u64),
    /// A summary built from the recognized fields. The line itself is not kept, since it may contain secrets.
    pub text: String,
}

impl LocatedLogEvent {
    /// Adds source, location and severity to an event.
    #[must_use]
    pub fn new(
        event: LogEvent<'_>,
        place: LogExcerpt<'_>,
        source: &str,
        patterns: &[sessionwatch_logs::pattern::Pattern],
    ) -> Self {
        let pattern = event.pattern_index.and_then(|number| patterns.get(number));
        Self {
            // The kind decides first: a pattern cannot lower the severity of a built-in event.
            severity: event.kind.severity().or(pattern.map(|pattern| pattern.severity)),
            pattern: pattern.map(|pattern| pattern.name.clone()),
            source: source.to_owned(),
            byte_range: (place.from, place.to),
            text: event_text(pattern.map_or(event.kind.name(), |pattern| &pattern.name), &event),
            event: event.into_owned(),
        }
    }

    /// Returns the name of the event: its kind, or the name of the custom pattern.
    #[must_use]
    pub fn name(&self) -> &str {
        self.pattern.as_deref().unwrap_or(self.event.kind.name())
    }

    /// Returns the event as it is stored.
    #[must_use]
    pub fn to_new_log_event<'a>(&'a self, target: &'a str, read_at: UtcTimestamp) -> NewLogEvent<'a> {
        let event = &self.event;
        NewLogEvent {
            source: &self.source,
            target,
            kind: self.name(),
            severity: self.severity,
            at: event.at,
            read_at,
            user: event.user.as_deref(),
            other_user: event.other_user.as_deref(),
            token_prefix: event.token_prefix.as_deref(),
            expires_at: event.expires,
            reason: event.reason.as_deref(),
            request: event.request_id.as_deref(),
            byte_range: self.byte_range,
            text: &self.text,
        }
    }

    /// Returns the event as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let event = &self.event;
        json!({
            "kind": event.kind.name(), "pattern": self.pattern,
            "severity": self.severity.map(Severity::name), "at": event.at.map(clock::format_rfc3339),
            "user": event.user, "other_user": event.other_user, "token_prefix": event.token_prefix,
            "expires_at": event.expires.map(clock::format_rfc3339), "reason": event.reason,
            "request_id": event.request_id, "source": self.source,
            "bytes": [self.byte_range.0, self.byte_range.1], "truncated": event.is_truncated, "text": self.text,
        })
    }

    /// Returns the event as one line of text.
    #[must_use]
    pub fn to_line(&self) -> String {
        let when = self.event.at.map_or("(no timestamp)".into(), clock::format_utc);
        format!("{when}  {}", self.text)
    }
}

fn event_text(name: &str, event: &LogEvent<'_>) -> String {
    let mut parts = vec![name.to_owned()];
    let mut part = |text: Option<String>| parts.extend(text);
    part(event.token_prefix.as_ref().map(|prefix| format!("token {prefix}…")));
    let users: Vec<&str> = event.users().collect();
    part(match event.kind {
        _ if users.is_empty() => None,
        LogEventKind::UserMismatch => Some(format!("user {}", users.join(" answered as "))),
        LogEventKind::DuplicateToken => Some(format!("user {}", users.join(", then "))),
        _ => name_users(&users),
    });
    part(event.reason.as_ref().map(|reason| format!("({reason})")));
    part(event.request_id.as_ref().map(|request| format!("in request {request}")));
    // Sanitized once more as a whole, since the parts come from a log that anyone may write to.
    sanitize_text(&parts.join(" "))
}

/// Returns the stored state of a log source; `None` if it is new.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_source(db: Tx<'_>, name: &str) -> Result<Option<LogSourceRecord>, StoreError> {
    log_sources::find_log_source(db, name)
}

/// Returns the stored state of all log sources, ordered by name.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_sources(db: Tx<'_>) -> Result<Vec<LogSourceRecord>, StoreError> {
    log_sources::list_log_sources(db)
}

/// Returns a stored log event as JSON.
///
/// # Errors
///
/// If the event cannot be serialized.
pub fn log_event_json(event: &LogEventRecord) -> Result<Value, StoreError> {
    api_types::to_json_value(api_types::LogEventDto::from_record(event))
}

/// Returns a stored log event as one line of text.
#[must_use]
pub fn describe_log_event(event: &LogEventRecord) -> String {
    let mut parts = vec![event.kind.clone()];
    parts.extend(event.token_prefix.as_ref().map(|prefix| format!("token {prefix}…")));
    let users: Vec<&str> =
        [&event.user, &event.other_user].into_iter().flatten().map(String::as_str).collect();
    parts.extend(name_users(&users));
    parts.extend(event.reason.as_ref().map(|reason| format!("({reason})")));
    parts.extend(event.request.as_ref().map(|request| format!("in request {request}")));
    parts.extend(event.match_kind.as_ref().map(|fit| format!("[{fit}]")));
    // The time of reading stands in for a line without a timestamp.
    sanitize_text(&format!("{}  {}", clock::format_utc(event.at.unwrap_or(event.read_at)), parts.join(" ")))
}

/// Returns `true` if a stored session confirms an event. An event of a custom pattern needs no session, since the
/// operator chose its severity.
#[must_use]
pub fn is_confirmed(kind: &str, fit: Option<MatchKind>) -> bool {
    matches!(fit, Some(MatchKind::Exact | MatchKind::Contradicting)) || kind.parse::<LogEventKind>().is_err()
}

/// Counts the critical log events of a target in a period.
///
/// # Errors
///
/// If the store cannot be read.
pub fn count_critical_events(
    db: Tx<'_>,
    window: LogEventWindow<'_>,
) -> Result<CriticalLogEvents, StoreError> {
    // Counted per kind and match kind, so that the events themselves need not be loaded.
    let mut events = CriticalLogEvents::default();
    for count in log_events::count_critical_log_events(db, window)? {
        if is_confirmed(&count.kind, count.match_kind.as_deref().and_then(|fit| fit.parse().ok())) {
            events.confirmed += count.count;
        } else {
            events.unconfirmed += count.count;
        }
    }
    Ok(events)
}
