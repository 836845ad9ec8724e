//! The engine `pushdown`: the same facts by aggregates in the database.

use jiff::SignedDuration;
use sessionwatch_core::{
    addresses::Address,
    local_time::Newest,
    snapshot::{EVIDENCE_LIMIT, UserTotal},
    stats::{Duplicates, Histogram, Measured, SessionStats},
};

use super::{
    ADDRESSES_PER_QUERY, NAMED_LIMIT, Observation, Tops, Traces, UNKNOWN_COLLATION, count, duplicates,
    duplicates_at, instant, orphans_elsewhere,
};
use crate::{
    cells::{self, TextRow},
    error::TargetError,
    read_session::ReadSession,
    sql::{Among, Sql},
};

/// Aggregates in the database. Keeps nothing between runs.
#[derive(Debug)]
pub struct Pushdown;

impl Pushdown {
    pub(super) async fn observe(
        &mut self,
        session: &ReadSession,
        sql: &Sql<'_>,
    ) -> Result<Observation, TargetError> {
        let rows = session.fetch(&sql.counts()).await?;
        let row = rows.first().ok_or(TargetError::Lost)?;
        let has_created = sql.mapping.created.is_some();
        let mut stats = SessionStats {
            taken_at: sql.now,
            sessions: count(row, 0)?,
            active: count(row, 1)?,
            expired: count(row, 2)?,
            never_expiring: count(row, 3)?,
            undecodable: count(row, 4)?,
            anonymous: count(row, 5)?,
            active_with_user: count(row, 6)?,
            oldest_expired: instant(row, 7),
            furthest_expiry: instant(row, 8),
            beyond_policy: sql.max_lifetime_us.map(|_| count(row, 9)).transpose()?,
            created_last_hour: has_created.then(|| count(row, 10)).transpose()?,
            active_per_user: Histogram::new(),
            rows_per_user: Histogram::new(),
            created_per_user: has_created.then(Histogram::new),
            duplicates: Measured::Counted(Duplicates::default()),
            orphaned: Measured::Counted(0),
        };
        let users = users(session, sql, &mut stats).await?;
        let (duplicates, mut traces) = match sql.duplicate_proof() {
            _ if sql.compares_tokens_unknown() => {
                (Measured::Unknown(UNKNOWN_COLLATION.into()), Traces::default())
            }
            Some(index) => (Measured::Proven(index.to_owned()), Traces::default()),
            None => {
                let (duplicates, traces) = searched_duplicates(session, sql).await?;
                (Measured::Counted(duplicates), traces)
            }
        };
        stats.duplicates = duplicates;
        traces.orphans = users.orphans;
        let newest = Newest { created: instant(row, 11), ended: instant(row, 12) };
        let (tops, snapshot, changes) = (users.tops, None, None);
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

/// Who stands out among the users.
struct Users {
    tops: Tops,
    orphans: Vec<String>,
}

/// Reads everything about users, and counts them into the census.
async fn users(
    session: &ReadSession,
    sql: &Sql<'_>,
    census: &mut SessionStats,
) -> Result<Users, TargetError> {
    let (mut tops, mut orphans, mut orphaned) = (Tops::default(), vec![], 0);
    for row in session.fetch(&sql.per_user(EVIDENCE_LIMIT, NAMED_LIMIT + 1)).await? {
        let (held, active, recent) = (count(&row, 2)?, count(&row, 3)?, count(&row, 4)?);
        let (is_orphan, users) = (count(&row, 5)? > 0, count(&row, 6)?);
        let holder =
            |sessions| UserTotal { user: row.get(1).cloned().flatten().unwrap_or_default(), sessions };
        match row.first().and_then(Option::as_deref) {
            Some("users") if is_orphan => {
                orphaned += held * users;
                add(&mut census.active_per_user, active, users);
            }
            Some("users") => {
                add(&mut census.active_per_user, active, users);
                add(&mut census.rows_per_user, held, users);
                if let Some(histogram) = &mut census.created_per_user {
                    add(histogram, recent, users);
                }
            }
            Some("active") => tops.active.push(holder(active)),
            Some("recent") => tops.created.push(holder(recent)),
            Some("rows") => tops.created.push(holder(held)),
            _ => orphans.push(holder(held).user),
        }
    }
    census.orphaned = orphans_elsewhere(sql).unwrap_or(Measured::Counted(orphaned));
    if orphans.len() > NAMED_LIMIT {
        orphans.clear();
    }
    Ok(Users { tops, orphans })
}

fn add(histogram: &mut Histogram, held: u64, users: u64) {
    if held > 0 {
        *histogram.entry(held).or_default() += users;
    }
}

/// Looks for tokens that stand on several rows: by their hashes, which are sorted quickly, and then on the tokens themselves.
async fn searched_duplicates(
    session: &ReadSession,
    sql: &Sql<'_>,
) -> Result<(Duplicates, Traces), TargetError> {
    let found = session.fetch(&sql.repeated_fingerprints(NAMED_LIMIT + 1)).await?;
    let fingerprint = |row: &TextRow| cells::required(row, 0, "a fingerprint").map(i64::cast_unsigned);
    let suspects = found.iter().map(fingerprint).collect::<Result<Vec<u64>, TargetError>>()?;
    let few = suspects.len() <= NAMED_LIMIT;
    let shown = &suspects[..suspects.len().min(EVIDENCE_LIMIT)];
    let asked = if few { &suspects[..] } else { shown };
    let mut addressed = vec![];
    if let Some(query) = sql.addresses_by_fingerprint(asked) {
        addressed.extend(session.fetch(&query).await?.iter().filter_map(|row| sql.addressed(row)));
    }
    let all: Vec<Address> = addressed.iter().map(|(_, address)| address.clone()).collect();
    let by_address = if few && (1..=ADDRESSES_PER_QUERY).contains(&all.len()) {
        duplicates_at(session, sql, std::iter::once((suspects.as_slice(), all))).await?
    } else {
        None
    };
    let counted = match (by_address, suspects.len()) {
        (Some(counted), _) => counted,
        (None, 0) => Duplicates::default(),
        (None, _) if few => duplicates(session, sql, Among::Fingerprints(&suspects)).await?.0,
        (None, _) => duplicates(session, sql, Among::All).await?.0,
    };
    let addresses = addressed.into_iter().filter(|(fingerprint, _)| shown.contains(fingerprint));
    let addresses = addresses.map(|(_, address)| address).collect();
    Ok((counted, Traces { fingerprints: shown.to_vec(), addresses, orphans: vec![] }))
}
