//! Engine `scan`: streams a few narrow columns and aggregates locally.

use jiff::SignedDuration;
use sessionwatch_core::{
    session_stats::{DuplicateTokens, Measured},
    snapshot::{EvidenceSelector, MAX_EVIDENCE_ROWS, SessionSnapshot, SnapshotOptions},
};

use super::{
    ADDRESSES_PER_QUERY, EngineObservation, EvidenceTraces, REASON_UNKNOWN_COLLATION, TopUsers,
    count_duplicates, count_duplicates_at, orphans_without_scan,
};
use crate::{
    error::TargetError,
    read_session::ReadSession,
    sql::{QueryBuilder, RowSubset},
};

/// Above one suspect row in this many, grouping the whole table is faster than fetching the suspects.
const MIN_ROWS_PER_SUSPECT: u64 = 8;

/// Streams compact rows and aggregates locally. Keeps no state between runs: the caller compares snapshots.
#[derive(Debug)]
pub struct ScanEngine;

impl ScanEngine {
    pub(super) async fn observe(
        &mut self,
        session: &ReadSession,
        sql: &QueryBuilder<'_>,
    ) -> Result<EngineObservation, TargetError> {
        let has_created = sql.mapping.created.is_some();
        let options = SnapshotOptions { now: sql.now, max_lifetime_us: sql.max_lifetime_us, has_created };
        let snapshot = session.scan_sessions(sql, options).await?;
        let duplicates = match (snapshot.repeated_fingerprints().len(), sql.duplicate_proof_index()) {
            _ if sql.has_unknown_token_collation() => Measured::Unknown(REASON_UNKNOWN_COLLATION.into()),
            (0, Some(index)) => Measured::Proven(index.to_owned()),
            (0, None) => Measured::Counted(DuplicateTokens::default()),
            _ => Measured::Counted(confirm_duplicates(session, sql, &snapshot).await?),
        };
        // Without creation times, the users with the most rows are the best hint.
        let created = if has_created {
            snapshot.top_recent_users(MAX_EVIDENCE_ROWS)
        } else {
            snapshot.top_users_by_rows(MAX_EVIDENCE_ROWS)
        };
        let top_users =
            TopUsers { active: snapshot.top_active_users(MAX_EVIDENCE_ROWS), created_last_hour: created };
        let stats = snapshot.stats(duplicates, orphans_without_scan(sql));
        let newest = snapshot.newest_times();
        let fingerprints = first_fingerprints(snapshot.repeated_fingerprints());
        let addresses =
            snapshot.evidence_addresses(EvidenceSelector::Fingerprints(&fingerprints)).unwrap_or_default();
        let evidence_traces = EvidenceTraces { fingerprints, addresses, orphans: vec![] };
        let (snapshot, changes) = (Some(snapshot), None);
        Ok(EngineObservation {
            stats,
            top_users,
            snapshot,
            changes,
            newest,
            evidence_traces,
            database_time: SignedDuration::ZERO,
        })
    }
}

/// Returns the first fingerprints in the database's order.
fn first_fingerprints(suspects: &[u64]) -> Vec<u64> {
    // The database stores fingerprints as signed integers and sorts them so.
    let mut first = suspects.to_vec();
    first.sort_unstable_by_key(|fingerprint| fingerprint.cast_signed());
    first.truncate(MAX_EVIDENCE_ROWS);
    first
}

/// Counts the tokens on several rows among the suspects of a scan.
async fn confirm_duplicates(
    session: &ReadSession,
    sql: &QueryBuilder<'_>,
    snapshot: &SessionSnapshot,
) -> Result<DuplicateTokens, TargetError> {
    // Two tokens can share a fingerprint by chance, so the tokens themselves are compared.
    let suspects = snapshot.repeated_fingerprints();
    let is_few = |count: usize| (count as u64).saturating_mul(MIN_ROWS_PER_SUSPECT) <= snapshot.row_count();
    let rows = snapshot.evidence_addresses(EvidenceSelector::Fingerprints(suspects)).unwrap_or_default();
    if !rows.is_empty() && is_few(rows.len()) {
        let queries = rows.len().div_ceil(ADDRESSES_PER_QUERY);
        // A token must not be divided between two queries.
        let parts = suspects.chunks(suspects.len().div_ceil(queries).max(1));
        let parts = parts.map(|some| {
            (some, snapshot.evidence_addresses(EvidenceSelector::Fingerprints(some)).unwrap_or_default())
        });
        if let Some(counted) = count_duplicates_at(session, sql, parts).await? {
            return Ok(counted);
        }
    }
    let among = if is_few(suspects.len()) { RowSubset::Fingerprints(suspects) } else { RowSubset::All };
    Ok(count_duplicates(session, sql, among).await?.0)
}
