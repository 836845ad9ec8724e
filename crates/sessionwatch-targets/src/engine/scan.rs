//! The engine `scan`: one streaming read of a few narrow columns, aggregated here.

use jiff::SignedDuration;
use sessionwatch_core::{
    snapshot::{EVIDENCE_LIMIT, Notable, SessionSnapshot, SnapshotOptions},
    stats::{Duplicates, Measured},
};

use super::{
    ADDRESSES_PER_QUERY, Observation, Tops, Traces, UNKNOWN_COLLATION, duplicates, duplicates_at,
    orphans_elsewhere,
};
use crate::{
    error::TargetError,
    read_session::ReadSession,
    sql::{Among, Sql},
};

/// Of so many rows, one on a suspected token at most: with more of them, the whole table is grouped instead.
const ROWS_PER_SUSPECT: u64 = 8;

/// Pulls compact rows once a run and aggregates here. Keeps nothing between runs: each is compared by its snapshot.
#[derive(Debug)]
pub struct Scan;

impl Scan {
    pub(super) async fn observe(
        &mut self,
        session: &ReadSession,
        sql: &Sql<'_>,
    ) -> Result<Observation, TargetError> {
        let has_created = sql.mapping.created.is_some();
        let frame = SnapshotOptions { now: sql.now, max_lifetime_us: sql.max_lifetime_us, has_created };
        let ledger = session.scan(sql, frame).await?;
        let duplicates = match (ledger.suspects().len(), sql.duplicate_proof()) {
            _ if sql.compares_tokens_unknown() => Measured::Unknown(UNKNOWN_COLLATION.into()),
            (0, Some(index)) => Measured::Proven(index.to_owned()),
            (0, None) => Measured::Counted(Duplicates::default()),
            _ => Measured::Counted(confirmed_duplicates(session, sql, &ledger).await?),
        };
        let created =
            if has_created { ledger.top_recent(EVIDENCE_LIMIT) } else { ledger.top_rows(EVIDENCE_LIMIT) };
        let tops = Tops { active: ledger.top_active(EVIDENCE_LIMIT), created };
        let stats = ledger.census(duplicates, orphans_elsewhere(sql));
        let newest = ledger.newest();
        let fingerprints = first_fingerprints(ledger.suspects());
        let addresses = ledger.addresses(Notable::Fingerprints(&fingerprints)).unwrap_or_default();
        let traces = Traces { fingerprints, addresses, orphans: vec![] };
        let (snapshot, changes) = (Some(ledger), None);
        Ok(Observation {
            stats,
            tops,
            snapshot,
            changes,
            newest,
            traces,
            database_time: SignedDuration::ZERO,
        })
    }
}

/// The first fingerprints as the database orders them, of tokens with more than enough rows for the evidence.
fn first_fingerprints(suspects: &[u64]) -> Vec<u64> {
    let mut first = suspects.to_vec();
    first.sort_unstable_by_key(|fingerprint| fingerprint.cast_signed());
    first.truncate(EVIDENCE_LIMIT);
    first
}

/// Counts the tokens that stand on several rows, among the suspects of a scan. Two tokens can have one fingerprint by chance,
/// so the tokens themselves are compared: of few rows where those stand, of many by grouping the whole table.
async fn confirmed_duplicates(
    session: &ReadSession,
    sql: &Sql<'_>,
    ledger: &SessionSnapshot,
) -> Result<Duplicates, TargetError> {
    let suspects = ledger.suspects();
    let is_few = |count: usize| (count as u64).saturating_mul(ROWS_PER_SUSPECT) <= ledger.rows();
    let rows = ledger.addresses(Notable::Fingerprints(suspects)).unwrap_or_default();
    if !rows.is_empty() && is_few(rows.len()) {
        let queries = rows.len().div_ceil(ADDRESSES_PER_QUERY);
        // A token must not be divided between two queries.
        let parts = suspects.chunks(suspects.len().div_ceil(queries).max(1));
        let parts =
            parts.map(|some| (some, ledger.addresses(Notable::Fingerprints(some)).unwrap_or_default()));
        if let Some(counted) = duplicates_at(session, sql, parts).await? {
            return Ok(counted);
        }
    }
    let among = if is_few(suspects.len()) { Among::Fingerprints(suspects) } else { Among::All };
    Ok(duplicates(session, sql, among).await?.0)
}
