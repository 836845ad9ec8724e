//! Engines: how a check run gets its facts. An engine belongs to the monitor of one target and outlives
//! single runs.

mod pushdown;
mod scan;

use std::time::Instant as Stopwatch;

use jiff::SignedDuration;
use sessionwatch_core::{
    local_time::NewestTimes,
    row_addresses::RowAddress,
    session_history::SessionChanges,
    session_stats::{DuplicateTokens, Measured, SessionStats},
    snapshot::{SessionSnapshot, UserTotal},
    timestamp::UtcTimestamp,
};

pub use self::{pushdown::PushdownEngine, scan::ScanEngine};
use super::{
    cells,
    error::TargetError,
    read_session::ReadSession,
    scope::QueryScope,
    sql::{QueryBuilder, RowSubset},
};

/// Reason for unknown duplicates where a collation of the application compares tokens.
pub const REASON_UNKNOWN_COLLATION: &str = "tokens use a collation that only the application defines";

/// Maximum number of row addresses in one query.
pub(super) const ADDRESSES_PER_QUERY: usize = 5_000;
/// Maximum number of fingerprints or users in one query.
const MAX_NAMED_SUSPECTS: usize = 1_000;

/// The kind of engine that observes a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// Streams compact rows and aggregates locally.
    Scan,
    /// Aggregates in the database.
    Pushdown,
}

/// An engine and the state that it keeps between runs.
#[derive(Debug)]
pub enum Engine {
    /// Streams compact rows and aggregates locally.
    Scan(ScanEngine),
    /// Aggregates in the database.
    Pushdown(PushdownEngine),
}

/// Notable users, those with the highest count first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopUsers {
    /// Ranked by active sessions.
    pub active: Vec<UserTotal>,
    /// Ranked by sessions created in the last hour, or by rows if the creation time is not stored.
    pub created_last_hour: Vec<UserTotal>,
}

/// Observed facts.
#[derive(Debug)]
pub struct EngineObservation {
    /// Aggregated facts.
    pub stats: SessionStats,
    /// Notable users.
    pub top_users: TopUsers,
    /// Snapshot of all sessions, to compare with the next run; `None` if the engine reads no rows.
    pub snapshot: Option<SessionSnapshot>,
    /// Changes since the previous run, if the engine tracks each change; otherwise `None`, and snapshots are
    /// compared.
    pub changes: Option<SessionChanges>,
    /// Newest times in the table.
    pub newest: NewestTimes,
    /// Hints for finding the rows of evidence.
    pub evidence_traces: EvidenceTraces,
    /// Time spent in the database, without network round trips.
    pub database_time: SignedDuration,
}

/// Traces of the rows behind a result, so that fetching evidence need not search the whole table again.
#[derive(Debug, Default)]
pub struct EvidenceTraces {
    /// First fingerprints, in signed order, that may occur on several rows; at least as many as the evidence
    /// shows.
    pub(super) fingerprints: Vec<u64>,
    /// Addresses of their rows, if known.
    pub(super) addresses: Vec<RowAddress>,
    /// Users that do not exist; empty if there are too many to list.
    pub(super) orphans: Vec<String>,
}

impl Engine {
    /// Creates an engine without any observation.
    #[must_use]
    pub const fn new(kind: EngineKind) -> Self {
        match kind {
            EngineKind::Scan => Self::Scan(ScanEngine),
            EngineKind::Pushdown => Self::Pushdown(PushdownEngine),
        }
    }

    /// Returns the kind of this engine.
    #[must_use]
    pub const fn kind(&self) -> EngineKind {
        match self {
            Self::Scan(_) => EngineKind::Scan,
            Self::Pushdown(_) => EngineKind::Pushdown,
        }
    }

    /// Observes a target and measures the time spent in the database.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn observe(
        &mut self,
        session: &ReadSession,
        scope: &QueryScope<'_>,
    ) -> Result<EngineObservation, TargetError> {
        let began = Stopwatch::now();
        session.ping().await?;
        // One sample is enough: the result only corrects a statistic.
        let round_trip = began.elapsed();
        // Network round trips are subtracted, since a distant connection says nothing about the load of the
        // database.
        let (began, asked_before) = (Stopwatch::now(), session.query_count());
        let sql = &scope.query_builder();
        let observation = match self {
            Self::Scan(scan) => scan.observe(session, sql).await?,
            Self::Pushdown(pushdown) => pushdown.observe(session, sql).await?,
        };
        let on_the_way = round_trip.saturating_mul(session.query_count() - asked_before);
        let took = began.elapsed().saturating_sub(on_the_way);
        Ok(EngineObservation { database_time: sessionwatch_clock::to_signed_duration(took), ..observation })
    }
}

fn orphans_without_scan(sql: &QueryBuilder<'_>) -> Option<Measured<u64>> {
    if let Some(key) = sql.orphan_proof_key() {
        Some(Measured::Proven(key.to_owned()))
    } else if let Some(doubt) = sql.users_visibility_caveat() {
        Some(Measured::Unknown(format!("the user table may be incomplete: {doubt}")))
    } else if sql.needs_orphan_search() {
        None
    } else {
        Some(Measured::Unknown("no user table with a readable key is known".into()))
    }
}

/// Counts the tokens on several rows among suspects at these addresses. Returns `None` if a row is missing at
/// its address.
async fn count_duplicates_at(
    session: &ReadSession,
    sql: &QueryBuilder<'_>,
    parts: impl Iterator<Item = (&[u64], Vec<RowAddress>)>,
) -> Result<Option<DuplicateTokens>, TargetError> {
    let mut all = DuplicateTokens::default();
    for (suspects, rows) in parts {
        let (some, found) = count_duplicates(session, sql, RowSubset::Suspects(suspects, &rows)).await?;
        if found != rows.len() as u64 {
            // Some table storage reports row addresses that do not lead back to the rows.
            return Ok(None);
        }
        all.tokens += some.tokens;
        all.across_users += some.across_users;
        all.rows += some.rows;
    }
    Ok(Some(all))
}

/// Counts the tokens on several rows. Also returns the number of rows found, if they were requested by
/// address.
async fn count_duplicates(
    session: &ReadSession,
    sql: &QueryBuilder<'_>,
    subset: RowSubset<'_>,
) -> Result<(DuplicateTokens, u64), TargetError> {
    let rows = session.fetch_rows(&sql.count_duplicates_query(subset)).await?;
    let row = cells::only_row(&rows, "a count")?;
    Ok((
        DuplicateTokens {
            tokens: parse_count(row, 0)?,
            across_users: parse_count(row, 1)?,
            rows: parse_count(row, 2)?,
        },
        parse_count(row, 3)?,
    ))
}

pub(super) fn parse_count(row: &[Option<String>], at: usize) -> Result<u64, TargetError> {
    cells::parse_required_number(row, at, "a count")
}

pub(super) fn parse_timestamp(
    row: &[Option<String>],
    at: usize,
) -> Result<Option<UtcTimestamp>, TargetError> {
    cells::parse_timestamp(row, at, "a timestamp")
}
