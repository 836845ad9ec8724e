//! JSON type of audit entries.

use serde::Serialize;
use sessionwatch_store::audit;
use utoipa::ToSchema;

use super::Rfc3339;

/// Audit log entry.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditEntryDto {
    at: Rfc3339,
    actor: String,
    action: String,
    /// Details as a string of JSON. The hash chain covers exactly this string.
    detail: String,
}

impl AuditEntryDto {
    /// Creates the JSON type from a stored record.
    #[must_use]
    pub fn from_record(entry: &audit::AuditEntry) -> Self {
        let entry = entry.clone();
        Self { at: Rfc3339(entry.at), actor: entry.actor, action: entry.action, detail: entry.detail }
    }
}
