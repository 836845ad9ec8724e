//! Engine `pushdown`: aggregates in the database.

use jiff::SignedDuration;
use sessionwatch_core::{
    local_time::NewestTimes,
    row_addresses::RowAddress,
    session_stats::{DuplicateTokens, Histogram, Measured, SessionStats},
    snapshot::{MAX_EVIDENCE_ROWS, UserTotal},
};

use super::{
    ADDRESSES_PER_QUERY, EngineObservation, EvidenceTraces, MAX_NAMED_SUSPECTS, REASON_UNKNOWN_COLLATION,
    TopUsers, count_duplicates, count_duplicates_at, orphans_without_scan, parse_count, parse_timestamp,
};
use crate::{
    cells::{self, TextRow},
    error::TargetError,
    read_session::ReadSession,
    sql::{QueryBuilder, RowSubset},
};

/// Aggregates in the database. Keeps no state between runs.
#[derive(Debug)]
pub struct PushdownEngine;

impl PushdownEngine {
    pub(super) async fn observe(
        &mut self,
        session: &ReadSession,
        sql: &QueryBuilder<'_>,
    ) -> Result<EngineObservation, TargetError> {
        let rows = session.fetch_rows(&sql.session_stats_query()).await?;
        let row = cells::only_row(&rows, "a count")?;
        let has_created = sql.mapping.created.is_some();
        let mut stats = SessionStats {
            taken_at: sql.now,
            sessions: parse_count(row, 0)?,
            active: parse_count(row, 1)?,
            expired: parse_count(row, 2)?,
            never_expiring: parse_count(row, 3)?,
            undecodable: parse_count(row, 4)?,
            anonymous: parse_count(row, 5)?,
            active_with_user: parse_count(row, 6)?,
            oldest_expired: parse_timestamp(row, 7)?,
            furthest_expiry: parse_timestamp(row, 8)?,
            beyond_policy: sql.max_lifetime_us.map(|_| parse_count(row, 9)).transpose()?,
            created_last_hour: has_created.then(|| parse_count(row, 10)).transpose()?,
            active_per_user: Histogram::new(),
            rows_per_user: Histogram::new(),
            created_per_user: has_created.then(Histogram::new),
            duplicates: Measured::Counted(DuplicateTokens::default()),
            orphaned: Measured::Counted(0),
        };
        let users = observe_users(session, sql, &mut stats).await?;
        let (duplicates, mut evidence_traces) = match sql.duplicate_proof_index() {
            _ if sql.has_unknown_token_collation() => {
                (Measured::Unknown(REASON_UNKNOWN_COLLATION.into()), EvidenceTraces::default())
            }
            Some(index) => (Measured::Proven(index.to_owned()), EvidenceTraces::default()),
            None => {
                let (duplicates, evidence_traces) = search_duplicates(session, sql).await?;
                (Measured::Counted(duplicates), evidence_traces)
            }
        };
        stats.duplicates = duplicates;
        evidence_traces.orphans = users.orphans;
        let newest = NewestTimes { created: parse_timestamp(row, 11)?, ended: parse_timestamp(row, 12)? };
        let (top_users, snapshot, changes) = (users.top_users, None, None);
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

struct UserFindings {
    top_users: TopUsers,
    orphans: Vec<String>,
}

/// Reads the facts about users into the session stats.
async fn observe_users(
    session: &ReadSession,
    sql: &QueryBuilder<'_>,
    stats: &mut SessionStats,
) -> Result<UserFindings, TargetError> {
    let (mut top_users, mut orphans, mut orphaned) = (TopUsers::default(), vec![], 0);
    for row in session.fetch_rows(&sql.per_user_query(MAX_EVIDENCE_ROWS, MAX_NAMED_SUSPECTS + 1)).await? {
        let (held, active, recent) = (parse_count(&row, 2)?, parse_count(&row, 3)?, parse_count(&row, 4)?);
        let (is_orphan, users) = (parse_count(&row, 5)? > 0, parse_count(&row, 6)?);
        let user_total = |sessions| {
            let user = cells::required_text(&row, 1, "a user ID")?.to_owned();
            Ok::<_, TargetError>(UserTotal { user, sessions })
        };
        match row.first().and_then(Option::as_deref) {
            // Users that do not exist count in the histogram of active sessions only.
            Some("users") if is_orphan => {
                orphaned += held * users;
                add_to_histogram(&mut stats.active_per_user, active, users);
            }
            Some("users") => {
                add_to_histogram(&mut stats.active_per_user, active, users);
                add_to_histogram(&mut stats.rows_per_user, held, users);
                if let Some(histogram) = &mut stats.created_per_user {
                    add_to_histogram(histogram, recent, users);
                }
            }
            Some("active") => top_users.active.push(user_total(active)?),
            Some("recent") => top_users.created_last_hour.push(user_total(recent)?),
            Some("rows") => top_users.created_last_hour.push(user_total(held)?),
            Some("orphan") => orphans.push(user_total(held)?.user),
            _ => return Err(TargetError::Undecodable("a kind of user")),
        }
    }
    stats.orphaned = orphans_without_scan(sql).unwrap_or(Measured::Counted(orphaned));
    // An incomplete list would miss evidence, so the rows are searched instead.
    if orphans.len() > MAX_NAMED_SUSPECTS {
        orphans.clear();
    }
    Ok(UserFindings { top_users, orphans })
}

fn add_to_histogram(histogram: &mut Histogram, held: u64, users: u64) {
    if held > 0 {
        *histogram.entry(held).or_default() += users;
    }
}

/// Searches for tokens on several rows.
async fn search_duplicates(
    session: &ReadSession,
    sql: &QueryBuilder<'_>,
) -> Result<(DuplicateTokens, EvidenceTraces), TargetError> {
    // Fingerprints sort faster than tokens, so they find the suspects; the tokens themselves then confirm
    // these.
    let found = session.fetch_rows(&sql.repeated_fingerprints_query(MAX_NAMED_SUSPECTS + 1)).await?;
    let fingerprint =
        |row: &TextRow| cells::parse_required_number(row, 0, "a fingerprint").map(i64::cast_unsigned);
    let suspects = found.iter().map(fingerprint).collect::<Result<Vec<u64>, TargetError>>()?;
    // The query asks for one more than the maximum, which shows whether there are more.
    let few = suspects.len() <= MAX_NAMED_SUSPECTS;
    let shown = &suspects[..suspects.len().min(MAX_EVIDENCE_ROWS)];
    let queried = if few { &suspects[..] } else { shown };
    let mut addressed = vec![];
    if let Some(query) = sql.addresses_by_fingerprint_query(queried) {
        for row in session.fetch_rows(&query).await? {
            addressed.extend(sql.parse_address_row(&row)?);
        }
    }
    let all: Vec<RowAddress> = addressed.iter().map(|(_, address)| address.clone()).collect();
    let by_address = if few && (1..=ADDRESSES_PER_QUERY).contains(&all.len()) {
        count_duplicates_at(session, sql, std::iter::once((suspects.as_slice(), all))).await?
    } else {
        None
    };
    let counted = match (by_address, suspects.len()) {
        (Some(counted), _) => counted,
        (None, 0) => DuplicateTokens::default(),
        // Without usable addresses, fingerprints narrow the search, unless there are too many to list.
        (None, _) if few => count_duplicates(session, sql, RowSubset::Fingerprints(&suspects)).await?.0,
        (None, _) => count_duplicates(session, sql, RowSubset::All).await?.0,
    };
    let addresses = addressed.into_iter().filter(|(fingerprint, _)| shown.contains(fingerprint));
    let addresses = addresses.map(|(_, address)| address).collect();
    Ok((counted, EvidenceTraces { fingerprints: shown.to_vec(), addresses, orphans: vec![] }))
}
