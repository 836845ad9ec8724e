//! JSON types of incidents.

use serde::Serialize;
use sessionwatch_store::incidents;
use utoipa::ToSchema;

use super::Rfc3339;

/// Incident.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct IncidentDto {
    id: String,
    target: String,
    /// `P0` to `P3`.
    severity: &'static str,
    /// `open`, `contained` or `closed`.
    state: &'static str,
    opened_at: Rfc3339,
    opened_by: String,
    contained_at: Option<Rfc3339>,
    closed_at: Option<Rfc3339>,
    summary: String,
}

impl IncidentDto {
    /// Creates the JSON type from a stored record.
    #[must_use]
    pub fn from_record(incident: &incidents::IncidentRecord) -> Self {
        Self {
            id: incident.id.clone(),
            target: incident.target.clone(),
            severity: incident.severity.name(),
            state: incident.state.name(),
            opened_at: Rfc3339(incident.opened_at),
            opened_by: incident.opened_by.clone(),
            contained_at: incident.contained_at.map(Rfc3339),
            closed_at: incident.closed_at.map(Rfc3339),
            summary: incident.report_field("summary").unwrap_or_default(),
        }
    }
}

/// Timeline entry of an incident.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TimelineEntryDto {
    at: Rfc3339,
    actor: String,
    kind: String,
    /// ID of the step; empty for entries about the whole incident.
    step: String,
    text: String,
}

impl TimelineEntryDto {
    /// Creates the JSON type from a stored record.
    #[must_use]
    pub fn from_record(entry: &incidents::TimelineEntry) -> Self {
        let entry = entry.clone();
        Self {
            at: Rfc3339(entry.at),
            actor: entry.actor,
            kind: entry.kind,
            step: entry.step,
            text: entry.message,
        }
    }
}
