//! Log events and their sources, as programs read them.

use serde::Serialize;
use serde_json::{Map, Value};
use sessionwatch_core::{instant::Instant, source_activity::SourceStatus};
use sessionwatch_store::{signals, sources};
use utoipa::ToSchema;

use super::At;
use crate::config::logs;

/// What a line of a log says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Signal {
    id: i64,
    /// The kind, or the name of a pattern.
    kind: String,
    severity: Option<String>,
    /// When, by the log's clock.
    at: Option<At>,
    /// When it was read.
    seen_at: At,
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
    fit: Option<String>,
    /// What it was joined to, or why it was not.
    joined: Option<Value>,
}

impl Signal {
    /// The document.
    #[must_use]
    pub fn of(signal: &signals::Kept) -> Self {
        let signal = signal.clone();
        Self {
            id: signal.id,
            kind: signal.kind,
            severity: signal.severity,
            at: signal.at.map(At),
            seen_at: At(signal.seen_at),
            user: signal.user,
            other_user: signal.other,
            token_prefix: signal.prefix,
            reason: signal.reason,
            request_id: signal.request,
            source: signal.source,
            bytes: signal.bytes,
            text: signal.text,
            fit: signal.fit,
            joined: signal.joined,
        }
    }
}

/// A source of log lines.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Source {
    name: String,
    target: String,
    /// `never heard`, `as usual` or `gone quiet`.
    voice: &'static str,
    heard_at: Option<At>,
    /// What was read, and what was dropped and why.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    counters: Map<String, Value>,
}

impl Source {
    /// The document of a source that is configured, and what is known of it.
    #[must_use]
    pub fn of<P>(source: &logs::Source, kept: sources::Source<P>, now: Instant) -> Self {
        let voice = match kept.rhythm.voice(kept.heard_at, now, source.idle_after) {
            SourceStatus::Never => "never heard",
            SourceStatus::Usual => "as usual",
            SourceStatus::Quiet => "gone quiet",
        };
        Self {
            name: source.name.clone(),
            target: source.target.clone(),
            voice,
            heard_at: kept.heard_at.map(At),
            counters: kept.counters,
        }
    }

    /// How it speaks, in words.
    #[must_use]
    pub fn voice(&self) -> &'static str {
        self.voice
    }
}
