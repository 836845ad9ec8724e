//! JSON types of alerts, silences and events.

use serde::Serialize;
use serde_json::Value;
use sessionwatch_core::alert::AlertState;
use sessionwatch_store::{StoreError, alerts::AlertRecord, history_events, silences};
use utoipa::ToSchema;

use super::Rfc3339;

/// Alert of a check on a target.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AlertDto {
    target: String,
    check: String,
    /// `critical`, `high`, `medium` or `low`.
    severity: String,
    /// `resolved`, `pending` or `firing`.
    state: &'static str,
    /// True if the result of the last check run was unknown, so that the state comes from an earlier run.
    stale: bool,
    since: Option<Rfc3339>,
    /// Result of the check, in one sentence.
    summary: String,
    acknowledged_by: Option<String>,
    note: Option<String>,
    updated_at: Rfc3339,
}

impl AlertDto {
    /// Creates the JSON type from a stored record.
    #[must_use]
    pub fn from_record(record: &AlertRecord) -> Self {
        let since = match record.alert.state {
            AlertState::Resolved => None,
            AlertState::Pending { since, .. } | AlertState::Firing { since, .. } => Some(Rfc3339(since)),
        };
        Self {
            target: record.target.clone(),
            check: record.check.clone(),
            severity: record.severity.clone(),
            state: record.alert.state.name(),
            stale: record.alert.is_stale,
            since,
            summary: record.summary.clone(),
            acknowledged_by: record.acknowledged_by.clone(),
            note: record.note.clone(),
            updated_at: Rfc3339(record.updated_at),
        }
    }
}

/// Active silence.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SilenceDto {
    id: i64,
    /// Silenced target; null for all.
    target: Option<String>,
    /// Silenced check; null for all.
    check: Option<String>,
    /// Silenced user or token prefix; null for all.
    subject: Option<String>,
    until: Rfc3339,
    created_by: String,
    note: String,
}

impl SilenceDto {
    /// Creates the JSON type from a stored record.
    #[must_use]
    pub fn from_record(silence: &silences::SilenceRecord) -> Self {
        let silence = silence.clone();
        Self {
            id: silence.id,
            target: silence.target,
            check: silence.check,
            subject: silence.subject,
            until: Rfc3339(silence.ends_at),
            created_by: silence.created_by,
            note: silence.note,
        }
    }
}

/// Event of a check on a target.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventDto {
    id: i64,
    at: Rfc3339,
    target: String,
    check: String,
    /// `result`, `firing`, `reminder`, `resolved`, `acknowledged`, `comment`, `report` or `cleanup`.
    kind: String,
    summary: String,
    detail: Value,
}

impl EventDto {
    /// Creates the JSON type from a stored record.
    ///
    /// # Errors
    ///
    /// If the stored detail is not valid JSON.
    pub fn from_record(event: &history_events::EventRecord) -> Result<Self, StoreError> {
        let undecodable = |_| StoreError::Undecodable { table: "events".into(), column: "detail".into() };
        let detail = serde_json::from_str(&event.detail).map_err(undecodable)?;
        Ok(Self {
            id: event.id,
            at: Rfc3339(event.at),
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
    fn an_event_with_invalid_json_is_an_error() {
        let event = |detail: &str| history_events::EventRecord {
            id: 1,
            at: sessionwatch_core::timestamp::UtcTimestamp::MIN,
            target: "app".into(),
            check: "duplicate-tokens".into(),
            kind: "firing".into(),
            summary: "2 shared tokens".into(),
            detail: detail.into(),
        };
        assert_eq!(EventDto::from_record(&event("{\"value\":2}")).unwrap().detail["value"], 2);
        assert!(matches!(EventDto::from_record(&event("{")), Err(StoreError::Undecodable { .. })));
    }
}
