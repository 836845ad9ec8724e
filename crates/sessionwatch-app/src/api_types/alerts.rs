//! Alerts, silences and events, as programs read them.

use serde::Serialize;
use serde_json::Value;
use sessionwatch_core::alert::State;
use sessionwatch_store::{StoreError, alerts::Kept, events, silences};
use utoipa::ToSchema;

use super::At;

/// How a check stands on a target.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Alert {
    target: String,
    check: String,
    /// `critical`, `high`, `medium` or `low`.
    severity: String,
    /// `ok`, `pending` or `firing`.
    state: &'static str,
    /// Whether nothing was known at the last look.
    stale: bool,
    since: Option<At>,
    /// What is wrong, in one sentence.
    summary: String,
    acknowledged_by: Option<String>,
    note: Option<String>,
    updated_at: At,
}

impl Alert {
    /// The document.
    #[must_use]
    pub fn of(kept: &Kept) -> Self {
        let since = match kept.alert.state {
            State::Ok => None,
            State::Pending { since, .. } | State::Firing { since, .. } => Some(At(since)),
        };
        Self {
            target: kept.target.clone(),
            check: kept.check.clone(),
            severity: kept.severity.clone(),
            state: kept.alert.state.name(),
            stale: kept.alert.stale,
            since,
            summary: kept.summary.clone(),
            acknowledged_by: kept.acknowledged_by.clone(),
            note: kept.note.clone(),
            updated_at: At(kept.updated_at),
        }
    }
}

/// What is kept quiet for a while.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Silence {
    id: i64,
    /// The only target; nothing for all.
    target: Option<String>,
    /// The only check; nothing for all.
    check: Option<String>,
    /// The only user or token prefix; nothing for all.
    subject: Option<String>,
    until: At,
    owner: String,
    note: String,
}

impl Silence {
    /// The document.
    #[must_use]
    pub fn of(silence: &silences::Silence) -> Self {
        let silence = silence.clone();
        Self {
            id: silence.id,
            target: silence.target,
            check: silence.check,
            subject: silence.subject,
            until: At(silence.until),
            owner: silence.owner,
            note: silence.note,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Event {
    id: i64,
    at: At,
    target: String,
    check: String,
    /// `verdict`, `firing`, `repeated`, `resolved`, `comment`, `report` or `cleanup`.
    kind: String,
    summary: String,
    detail: Value,
}

impl Event {
    /// The document.
    ///
    /// # Errors
    ///
    /// If what is stored of it cannot be decoded.
    pub fn of(event: &events::Event) -> Result<Self, StoreError> {
        let undecodable = |_| StoreError::Undecodable { table: "events".into(), column: "detail".into() };
        let detail = serde_json::from_str(&event.detail).map_err(undecodable)?;
        Ok(Self {
            id: event.id,
            at: At(event.at),
            target: event.target.clone(),
            check: event.check.clone(),
            kind: event.kind.clone(),
            summary: event.summary.clone(),
            detail,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_whose_detail_is_no_json_is_an_error() {
        let event = |detail: &str| events::Event {
            id: 1,
            at: sessionwatch_core::instant::Instant::MIN,
            target: "app".into(),
            check: "duplicate-tokens".into(),
            kind: "firing".into(),
            summary: "2 shared tokens".into(),
            detail: detail.into(),
        };
        assert_eq!(Event::of(&event("{\"value\":2}")).unwrap().detail["value"], 2);
        assert!(matches!(Event::of(&event("{")), Err(StoreError::Undecodable { .. })));
    }
}
