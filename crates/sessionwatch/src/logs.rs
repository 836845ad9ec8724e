//! The application's logs: where lines come from, and what becomes of the signals in them.
//!
//! What a line says is decided in `sessionwatch-logs`; here it is read from files, drains and syslog, kept, joined to the
//! table, and judged.

pub mod blocks;
pub mod drain;
pub mod follow;
pub mod gaps;
pub mod intake;
pub mod joined;
pub mod judge;
pub mod scan;
pub mod syslog;
pub mod tally;

use serde_json::{Value, json};
use sessionwatch_core::severity::Severity;
use sessionwatch_logs::{
    reader::Place,
    signal::{Kind, Signal},
};

use crate::clock;

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
    crate::sanitize::printable(&parts.join(" "))
}
