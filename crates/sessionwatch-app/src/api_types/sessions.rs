//! JSON types of sessions.

use std::collections::BTreeMap;

use serde::Serialize;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_targets::listing;
use utoipa::ToSchema;

use super::Rfc3339;
use crate::report;

/// Session, without its token.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionDto {
    /// Token prefix: at most 8 characters, and at most a third of the token.
    token_prefix: Option<String>,
    id: Option<String>,
    user: Option<String>,
    expires_at: Option<Rfc3339>,
    /// `active`, `expired` or `no end`.
    status: &'static str,
    /// Hours until the session expires; negative if it has expired.
    hours_left: Option<f64>,
    created_at: Option<Rfc3339>,
    ip: Option<String>,
    user_agent: Option<String>,
    /// Values of the users table's display columns, by column.
    display: BTreeMap<String, Option<String>>,
}

impl SessionDto {
    /// Creates the JSON type from a listed row; `now` is the time of the database.
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
