//! Sessions of targets, and what the doctor finds, as programs read them.

use std::collections::BTreeMap;

use serde::Serialize;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_targets::listing;
use utoipa::ToSchema;

use super::Rfc3339;
use crate::report;

/// A session, by the first characters of its token.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionDto {
    /// The token prefix: at most 8 characters, and a third of the token.
    token_prefix: Option<String>,
    id: Option<String>,
    user: Option<String>,
    expires_at: Option<Rfc3339>,
    /// `active`, `expired` or `no end`.
    status: &'static str,
    /// Hours until the end; negative after it.
    hours_left: Option<f64>,
    created_at: Option<Rfc3339>,
    ip: Option<String>,
    user_agent: Option<String>,
    /// What helps a person to recognise the user, by column.
    display: BTreeMap<String, Option<String>>,
}

impl SessionDto {
    /// The document, by the database's clock.
    #[must_use]
    pub fn from_row(row: &listing::ListedSession, display: &[String], now: UtcTimestamp) -> Self {
        Self {
            token_prefix: row.token_prefix.clone(),
            id: row.id.clone(),
            user: row.user.clone(),
            expires_at: row.expires_at.map(Rfc3339),
            status: report::session_status(row.expires_at, now),
            hours_left: report::hours_left(row.expires_at, now),
            created_at: row.created_at.map(Rfc3339),
            ip: row.ip.clone(),
            user_agent: row.agent.clone(),
            display: display.iter().cloned().zip(row.display.iter().cloned()).collect(),
        }
    }
}

/// Something that the doctor examined.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DoctorFindingDto {
    pub(crate) id: &'static str,
    /// `pass`, `warn` or `fail`.
    pub(crate) level: &'static str,
    pub(crate) summary: String,
    /// SQL, or words, that mend it.
    pub(crate) fix: Option<String>,
}
