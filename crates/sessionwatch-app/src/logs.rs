//! The application's logs: where lines come from, and what becomes of the signals in them.
//!
//! What a line says is decided in `sessionwatch-logs`; here it is read from files, drains and syslog, kept, joined to the
//! table, and judged.

pub mod blocks;
pub mod drain;
pub mod follow;
pub mod intake;
pub mod joined;
pub mod judge;
pub mod scan;
pub mod syslog;
pub mod tally;
mod zstd_frames;

use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::CriticalSignals, correlation::MatchKind, instant::Instant, severity::Severity,
};
use sessionwatch_logs::{
    reader::Place,
    signal::{Kind, Signal},
};
use sessionwatch_store::{
    StoreError,
    db::Db,
    signals::{self, Kept, NewLogEvent, Window},
    sources::{self, Source},
};

use crate::{api_types, sanitize::printable};

/// What is known of a source, with how far its file was read.
pub type LogSource = Source<follow::Place>;

/// A signal with where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The signal.
    pub signal: Signal<'static>,
    /// How bad it is; nothing if it is as things should be.
    pub severity: Option<Severity>,
    /// The name of the pattern, where it is one.
    pub pattern: Option<String>,
    /// The source: a file, or a name from the configuration.
    pub source: String,
    /// The first byte and the byte after the last one.
    pub bytes: (u64, u64),
    /// What the line says, made of the fields that were recognised; nothing else of it is kept.
    pub text: String,
}

impl Found {
    /// One of a source; its pattern by name and severity, if it is one.
    #[must_use]
    pub fn of(
        signal: Signal<'_>,
        place: Place<'_>,
        source: &str,
        patterns: &[sessionwatch_logs::pattern::Pattern],
    ) -> Self {
        let pattern = signal.pattern.and_then(|number| patterns.get(number));
        Self {
            severity: signal.kind.severity().or(pattern.map(|pattern| pattern.severity)),
            pattern: pattern.map(|pattern| pattern.name.clone()),
            source: source.to_owned(),
            bytes: (place.from, place.to),
            text: said(pattern.map_or(signal.kind.name(), |pattern| &pattern.name), &signal),
            signal: signal.into_owned(),
        }
    }

    /// What it is called: the kind, or the name of the pattern.
    #[must_use]
    pub fn name(&self) -> &str {
        self.pattern.as_deref().unwrap_or(self.signal.kind.name())
    }

    /// What is kept of it.
    #[must_use]
    pub fn to_keep<'a>(&'a self, target: &'a str, seen_at: Instant) -> NewLogEvent<'a> {
        let signal = &self.signal;
        NewLogEvent {
            source: &self.source,
            target,
            kind: self.name(),
            severity: self.severity,
            at: signal.at,
            seen_at,
            user: signal.user.as_deref(),
            other: signal.other.as_deref(),
            prefix: signal.prefix.as_deref(),
            expires: signal.expires,
            reason: signal.reason.as_deref(),
            request: signal.request.as_deref(),
            bytes: self.bytes,
            text: &self.text,
        }
    }

    /// The signal as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let signal = &self.signal;
        json!({
            "kind": signal.kind.name(), "pattern": self.pattern,
            "severity": self.severity.map(Severity::name), "at": signal.at.map(clock::rfc3339),
            "user": signal.user, "other_user": signal.other, "token_prefix": signal.prefix,
            "expires_at": signal.expires.map(clock::rfc3339), "reason": signal.reason,
            "request_id": signal.request, "source": self.source,
            "bytes": [self.bytes.0, self.bytes.1], "truncated": signal.truncated, "text": self.text,
        })
    }

    /// In one line, for people.
    #[must_use]
    pub fn line(&self) -> String {
        let when = self.signal.at.map_or("at a time unknown".into(), clock::readable);
        format!("{when}  {}", self.text)
    }
}

/// What a signal of that name says, in one line.
fn said(name: &str, signal: &Signal<'_>) -> String {
    let mut parts = vec![name.to_owned()];
    let mut part = |text: Option<String>| parts.extend(text);
    part(signal.prefix.as_ref().map(|prefix| format!("token {prefix}…")));
    let users: Vec<&str> = signal.users().collect();
    part((!users.is_empty()).then(|| match signal.kind {
        Kind::UserMismatch => format!("user {}", users.join(" answered as ")),
        Kind::DuplicateToken => format!("user {}", users.join(", then ")),
        _ => format!("user {}", users.join(" and ")),
    }));
    part(signal.reason.as_ref().map(|reason| format!("({reason})")));
    part(signal.request.as_ref().map(|request| format!("in request {request}")));
    printable(&parts.join(" "))
}

/// What is known of a source; `None` if it is new.
///
/// # Errors
///
/// If it cannot be read.
pub fn find_source(db: Db<'_>, name: &str) -> Result<Option<LogSource>, StoreError> {
    sources::get(db, name)
}

/// Every source of which something is known, by name.
///
/// # Errors
///
/// If they cannot be read.
pub fn list_sources(db: Db<'_>) -> Result<Vec<LogSource>, StoreError> {
    sources::list(db)
}

/// A kept signal as JSON.
///
/// # Errors
///
/// If it cannot be written as JSON.
pub fn kept_json(kept: &Kept) -> Result<Value, StoreError> {
    api_types::json(api_types::Signal::of(kept))
}

/// A kept signal in one line, for people.
#[must_use]
pub fn describe_kept(kept: &Kept) -> String {
    let mut parts = vec![kept.kind.clone()];
    parts.extend(kept.prefix.as_ref().map(|prefix| format!("token {prefix}…")));
    let users: Vec<&str> = [&kept.user, &kept.other].into_iter().flatten().map(String::as_str).collect();
    parts.extend((!users.is_empty()).then(|| format!("user {}", users.join(" and "))));
    parts.extend(kept.reason.as_ref().map(|reason| format!("({reason})")));
    parts.extend(kept.request.as_ref().map(|request| format!("in request {request}")));
    parts.extend(kept.fit.as_ref().map(|fit| format!("[{fit}]")));
    printable(&format!("{}  {}", clock::readable(kept.at.unwrap_or(kept.seen_at)), parts.join(" ")))
}

/// Returns `true` if a session in the table confirms a signal. A signal of an operator's own pattern needs no session: it has
/// the severity that the operator gave it.
#[must_use]
pub fn is_confirmed(kind: &str, fit: Option<MatchKind>) -> bool {
    matches!(fit, Some(MatchKind::Exact | MatchKind::Contradicting)) || kind.parse::<Kind>().is_err()
}

/// Counts the critical signals of a target in a period.
///
/// # Errors
///
/// If they cannot be counted.
pub fn count_critical(db: Db<'_>, window: Window<'_>) -> Result<CriticalSignals, StoreError> {
    let mut signals = CriticalSignals::default();
    for count in signals::critical_counts(db, window)? {
        if is_confirmed(&count.kind, count.fit.as_deref().and_then(|fit| fit.parse().ok())) {
            signals.confirmed += count.signals;
        } else {
            signals.unconfirmed += count.signals;
        }
    }
    Ok(signals)
}
