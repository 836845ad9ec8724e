//! The application's logs: where lines come from, and what becomes of the signals in them.
//!
//! What a line says is decided in `sessionwatch-logs`; here it is read from files, drains and syslog, kept, joined to the
//! table, and judged.

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
    checklist::CriticalLogEvents, correlation::MatchKind, severity::Severity, timestamp::UtcTimestamp,
};
use sessionwatch_logs::{
    log_event::{LogEvent, LogEventKind},
    reader::LogExcerpt,
};
use sessionwatch_store::{
    StoreError,
    log_events::{self, LogEventRecord, LogEventWindow, NewLogEvent},
    log_sources::{self, StoredLogSource},
    transaction::Tx,
};

use crate::{api_types, sanitize::sanitize_text};

/// What is known of a source, with how far its file was read.
pub type LogSourceRecord = StoredLogSource<tail::LogPosition>;

/// A signal with where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedLogEvent {
    /// The signal.
    pub event: LogEvent<'static>,
    /// How bad it is; nothing if it is as things should be.
    pub severity: Option<Severity>,
    /// The name of the pattern, where it is one.
    pub pattern: Option<String>,
    /// The source: a file, or a name from the configuration.
    pub source: String,
    /// The first byte and the byte after the last one.
    pub byte_range: (u64, u64),
    /// What the line says, made of the fields that were recognised; nothing else of it is kept.
    pub text: String,
}

impl LocatedLogEvent {
    /// One of a source; its pattern by name and severity, if it is one.
    #[must_use]
    pub fn new(
        signal: LogEvent<'_>,
        place: LogExcerpt<'_>,
        source: &str,
        patterns: &[sessionwatch_logs::pattern::Pattern],
    ) -> Self {
        let pattern = signal.pattern_index.and_then(|number| patterns.get(number));
        Self {
            severity: signal.kind.severity().or(pattern.map(|pattern| pattern.severity)),
            pattern: pattern.map(|pattern| pattern.name.clone()),
            source: source.to_owned(),
            byte_range: (place.from, place.to),
            text: event_text(pattern.map_or(signal.kind.name(), |pattern| &pattern.name), &signal),
            event: signal.into_owned(),
        }
    }

    /// What it is called: the kind, or the name of the pattern.
    #[must_use]
    pub fn name(&self) -> &str {
        self.pattern.as_deref().unwrap_or(self.event.kind.name())
    }

    /// What is kept of it.
    #[must_use]
    pub fn to_new_log_event<'a>(&'a self, target: &'a str, seen_at: UtcTimestamp) -> NewLogEvent<'a> {
        let signal = &self.event;
        NewLogEvent {
            source: &self.source,
            target,
            kind: self.name(),
            severity: self.severity,
            at: signal.at,
            read_at: seen_at,
            user: signal.user.as_deref(),
            other_user: signal.other_user.as_deref(),
            token_prefix: signal.token_prefix.as_deref(),
            expires_at: signal.expires,
            reason: signal.reason.as_deref(),
            request: signal.request_id.as_deref(),
            byte_range: self.byte_range,
            text: &self.text,
        }
    }

    /// The signal as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let signal = &self.event;
        json!({
            "kind": signal.kind.name(), "pattern": self.pattern,
            "severity": self.severity.map(Severity::name), "at": signal.at.map(clock::format_rfc3339),
            "user": signal.user, "other_user": signal.other_user, "token_prefix": signal.token_prefix,
            "expires_at": signal.expires.map(clock::format_rfc3339), "reason": signal.reason,
            "request_id": signal.request_id, "source": self.source,
            "bytes": [self.byte_range.0, self.byte_range.1], "truncated": signal.is_truncated, "text": self.text,
        })
    }

    /// In one line, for people.
    #[must_use]
    pub fn to_line(&self) -> String {
        let when = self.event.at.map_or("at a time unknown".into(), clock::format_utc);
        format!("{when}  {}", self.text)
    }
}

/// What a signal of that name says, in one line.
fn event_text(name: &str, signal: &LogEvent<'_>) -> String {
    let mut parts = vec![name.to_owned()];
    let mut part = |text: Option<String>| parts.extend(text);
    part(signal.token_prefix.as_ref().map(|prefix| format!("token {prefix}…")));
    let users: Vec<&str> = signal.users().collect();
    part((!users.is_empty()).then(|| match signal.kind {
        LogEventKind::UserMismatch => format!("user {}", users.join(" answered as ")),
        LogEventKind::DuplicateToken => format!("user {}", users.join(", then ")),
        _ => format!("user {}", users.join(" and ")),
    }));
    part(signal.reason.as_ref().map(|reason| format!("({reason})")));
    part(signal.request_id.as_ref().map(|request| format!("in request {request}")));
    sanitize_text(&parts.join(" "))
}

/// What is known of a source; `None` if it is new.
///
/// # Errors
///
/// If it cannot be read.
pub fn find_source(db: Tx<'_>, name: &str) -> Result<Option<LogSourceRecord>, StoreError> {
    log_sources::find_log_source(db, name)
}

/// Every source of which something is known, by name.
///
/// # Errors
///
/// If they cannot be read.
pub fn list_sources(db: Tx<'_>) -> Result<Vec<LogSourceRecord>, StoreError> {
    log_sources::list_log_sources(db)
}

/// A kept signal as JSON.
///
/// # Errors
///
/// If it cannot be written as JSON.
pub fn log_event_json(kept: &LogEventRecord) -> Result<Value, StoreError> {
    api_types::to_json_value(api_types::LogEventDto::from_record(kept))
}

/// A kept signal in one line, for people.
#[must_use]
pub fn describe_log_event(kept: &LogEventRecord) -> String {
    let mut parts = vec![kept.kind.clone()];
    parts.extend(kept.token_prefix.as_ref().map(|prefix| format!("token {prefix}…")));
    let users: Vec<&str> = [&kept.user, &kept.other_user].into_iter().flatten().map(String::as_str).collect();
    parts.extend((!users.is_empty()).then(|| format!("user {}", users.join(" and "))));
    parts.extend(kept.reason.as_ref().map(|reason| format!("({reason})")));
    parts.extend(kept.request.as_ref().map(|request| format!("in request {request}")));
    parts.extend(kept.match_kind.as_ref().map(|fit| format!("[{fit}]")));
    sanitize_text(&format!("{}  {}", clock::format_utc(kept.at.unwrap_or(kept.read_at)), parts.join(" ")))
}

/// Returns `true` if a session in the table confirms a signal. A signal of an operator's own pattern needs no session: it has
/// the severity that the operator gave it.
#[must_use]
pub fn is_confirmed(kind: &str, fit: Option<MatchKind>) -> bool {
    matches!(fit, Some(MatchKind::Exact | MatchKind::Contradicting)) || kind.parse::<LogEventKind>().is_err()
}

/// Counts the critical signals of a target in a period.
///
/// # Errors
///
/// If they cannot be counted.
pub fn count_critical_events(
    db: Tx<'_>,
    window: LogEventWindow<'_>,
) -> Result<CriticalLogEvents, StoreError> {
    let mut signals = CriticalLogEvents::default();
    for count in log_events::count_critical_log_events(db, window)? {
        if is_confirmed(&count.kind, count.match_kind.as_deref().and_then(|fit| fit.parse().ok())) {
            signals.confirmed += count.count;
        } else {
            signals.unconfirmed += count.count;
        }
    }
    Ok(signals)
}
