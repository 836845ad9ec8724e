//! Incidents, as programs read them.

use serde::Serialize;
use sessionwatch_store::incidents;
use utoipa::ToSchema;

use super::At;

/// An incident.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Incident {
    id: String,
    target: String,
    /// `P0` to `P3`.
    severity: &'static str,
    /// `open`, `contained` or `closed`.
    state: &'static str,
    opened_at: At,
    opened_by: String,
    contained_at: Option<At>,
    closed_at: Option<At>,
    summary: String,
}

impl Incident {
    /// The document.
    #[must_use]
    pub fn of(incident: &incidents::Incident) -> Self {
        Self {
            id: incident.id.clone(),
            target: incident.target.clone(),
            severity: incident.grade.name(),
            state: incident.state.name(),
            opened_at: At(incident.opened_at),
            opened_by: incident.opened_by.clone(),
            contained_at: incident.contained_at.map(At),
            closed_at: incident.closed_at.map(At),
            summary: incident.field("summary").unwrap_or_default(),
        }
    }
}

/// Something on the timeline of an incident.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Entry {
    at: At,
    actor: String,
    kind: String,
    /// The step that it is about; may be empty.
    step: String,
    said: String,
}

impl Entry {
    /// The document.
    #[must_use]
    pub fn of(entry: &incidents::Entry) -> Self {
        let entry = entry.clone();
        Self { at: At(entry.at), actor: entry.actor, kind: entry.kind, step: entry.step, said: entry.said }
    }
}
