//! Engines: how a run gets its facts. An engine is owned by whoever monitors the target, and lives from run to run.

mod pushdown;
mod scan;

use std::time::Instant as Stopwatch;

use jiff::SignedDuration;
use sessionwatch_core::{
    history::SessionChanges,
    local_time::NewestTimes,
    row_addresses::RowAddress,
    snapshot::{SessionSnapshot, UserTotal},
    stats::{DuplicateTokens, Measured, SessionStats},
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

/// Why duplicates cannot be known where tokens are compared by code of the application.
pub const REASON_UNKNOWN_COLLATION: &str = "tokens are compared by a collation that only the application has";

/// Rows that are asked for by their addresses at once.
pub(super) const ADDRESSES_PER_QUERY: usize = 5_000;
/// Fingerprints and users whose rows are looked for at once.
const MAX_NAMED_SUSPECTS: usize = 1_000;

/// Which engine a target is observed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// Pull compact rows once and aggregate here.
    Scan,
    /// Aggregate in the database.
    Pushdown,
}

/// An engine, with what it keeps from one run to the next.
#[derive(Debug)]
pub enum Engine {
    /// Pulls compact rows once a run and aggregates here.
    Scan(ScanEngine),
    /// Aggregates in the database.
    Pushdown(PushdownEngine),
}

/// Users that stand out, most first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopUsers {
    /// By active sessions.
    pub active: Vec<UserTotal>,
    /// By sessions created in the last hour; by rows where creation is not stored.
    pub created_last_hour: Vec<UserTotal>,
}

/// What an engine found.
#[derive(Debug)]
pub struct EngineObservation {
    /// The aggregated facts.
    pub stats: SessionStats,
    /// The users that stand out.
    pub top_users: TopUsers,
    /// All sessions, to compare the next run with; an engine that pulls no rows has none.
    pub snapshot: Option<SessionSnapshot>,
    /// What changed since the previous run, where the engine was told of each change; otherwise snapshots are compared.
    pub changes: Option<SessionChanges>,
    /// The newest instants of the table.
    pub newest: NewestTimes,
    /// Where rows of evidence are to be looked for.
    pub evidence_traces: EvidenceTraces,
    /// How long the database took, without the time that questions and answers were on their way.
    pub database_time: SignedDuration,
}

/// What an engine has seen of the rows that make a verdict, so that they need not be looked for in the whole table again.
#[derive(Debug, Default)]
pub struct EvidenceTraces {
    /// Fingerprints of the first tokens, in their order as signed numbers, that may stand on several rows; more of them than a
    /// finding shows.
    pub(super) fingerprints: Vec<u64>,
    /// The addresses of their rows, where those are known.
    pub(super) addresses: Vec<RowAddress>,
    /// Users who do not exist, if those are all.
    pub(super) orphans: Vec<String>,
}

impl Engine {
    /// An engine that has not observed anything yet.
    #[must_use]
    pub const fn new(kind: EngineKind) -> Self {
        match kind {
            EngineKind::Scan => Self::Scan(ScanEngine),
            EngineKind::Pushdown => Self::Pushdown(PushdownEngine),
        }
    }

    /// Which one it is.
    #[must_use]
    pub const fn kind(&self) -> EngineKind {
        match self {
            Self::Scan(_) => EngineKind::Scan,
            Self::Pushdown(_) => EngineKind::Pushdown,
        }
    }

    /// Observes a target, and takes the time. A connection far away costs a round trip for each question, which says nothing
    /// of the database.
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
        let round_trip = began.elapsed();
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

/// What is known of orphans without looking at rows.
fn orphans_without_scan(sql: &QueryBuilder<'_>) -> Option<Measured<u64>> {
    if let Some(key) = sql.orphan_proof_key() {
        Some(Measured::Proven(key.to_owned()))
    } else if let Some(doubt) = sql.users_visibility_caveat() {
        Some(Measured::Unknown(format!("users may be missing: {doubt}")))
    } else if sql.needs_orphan_search() {
        None
    } else {
        Some(Measured::Unknown("no table of users is known whose key this role may read".into()))
    }
}

/// Counts the tokens that stand on several rows, among suspects at these addresses; nothing if a row is not found where it was
/// seen, as with storage whose addresses only look like such.
async fn count_duplicates_at(
    session: &ReadSession,
    sql: &QueryBuilder<'_>,
    parts: impl Iterator<Item = (&[u64], Vec<RowAddress>)>,
) -> Result<Option<DuplicateTokens>, TargetError> {
    let mut all = DuplicateTokens::default();
    for (suspects, rows) in parts {
        let (some, found) = count_duplicates(session, sql, RowSubset::Suspects(suspects, &rows)).await?;
        if found != rows.len() as u64 {
            return Ok(None);
        }
        all.tokens += some.tokens;
        all.across_users += some.across_users;
    }
    Ok(Some(all))
}

/// Counts the tokens that stand on several rows; and the rows that were found, where those were asked for by address.
async fn count_duplicates(
    session: &ReadSession,
    sql: &QueryBuilder<'_>,
    subset: RowSubset<'_>,
) -> Result<(DuplicateTokens, u64), TargetError> {
    let rows = session.fetch_rows(&sql.count_duplicates_query(subset)).await?;
    let row = rows.first().ok_or(TargetError::ConnectionLost)?;
    Ok((
        DuplicateTokens { tokens: parse_count(row, 0)?, across_users: parse_count(row, 1)? },
        parse_count(row, 2)?,
    ))
}

pub(super) fn parse_count(row: &[Option<String>], at: usize) -> Result<u64, TargetError> {
    cells::parse_required_number(row, at, "a count")
}

pub(super) fn parse_timestamp(row: &[Option<String>], at: usize) -> Option<UtcTimestamp> {
    row.get(at)?.as_deref()?.parse().ok().and_then(UtcTimestamp::from_micros)
}
