//! Sessions of targets, and what the doctor finds, as programs read them.

use std::collections::BTreeMap;

use serde::Serialize;
use sessionwatch_core::instant::Instant;
use sessionwatch_targets::listing;
use utoipa::ToSchema;

use super::At;
use crate::report;

/// A session, by the first characters of its token.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Session {
    /// The token prefix: at most 8 characters, and a third of the token.
    token_prefix: Option<String>,
    id: Option<String>,
    user: Option<String>,
    expires_at: Option<At>,
    /// `active`, `expired` or `no end`.
    status: &'static str,
    /// Hours until the end; negative after it.
    hours_left: Option<f64>,
    created_at: Option<At>,
    ip: Option<String>,
    agent: Option<String>,
    /// What helps a person to recognise the user, by column.
    display: BTreeMap<String, Option<String>>,
}

impl Session {
    /// The document, by the database's clock.
    #[must_use]
    pub fn of(line: &listing::Line, display: &[String], now: Instant) -> Self {
        Self {
            token_prefix: line.token_prefix.clone(),
            id: line.id.clone(),
            user: line.user.clone(),
            expires_at: line.expires_at.map(At),
            status: report::status(line.expires_at, now),
            hours_left: report::hours_left(line.expires_at, now),
            created_at: line.created_at.map(At),
            ip: line.ip.clone(),
            agent: line.agent.clone(),
            display: display.iter().cloned().zip(line.display.iter().cloned()).collect(),
        }
    }
}

/// Something that the doctor examined.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Examined {
    pub(crate) id: &'static str,
    /// `pass`, `warn` or `fail`.
    pub(crate) level: &'static str,
    pub(crate) summary: String,
    /// SQL, or words, that mend it.
    pub(crate) fix: Option<String>,
}
