//! A look at a target: census and evidence, by either engine, inside one snapshot.

use std::time::Instant as Stopwatch;

use sessionwatch_rules::{
    census::{Census, Duplicates, Fact, Histogram},
    instant::Instant,
    ledger::{Frame, Holder, Ledger},
    local_time::Newest,
};

use super::{
    error::TargetError,
    session::Session,
    sql::{List, Rows, Sql},
};

/// Lines of evidence for one finding.
pub const EVIDENCE_LIMIT: usize = 10;
/// Above that many suspects, the whole table is grouped instead of listing them.
const SUSPECT_LIMIT: usize = 2_000;

/// Why duplicates cannot be known where tokens are compared by code of the application.
const UNKNOWN_COLLATION: &str = "tokens are compared by a collation that only the application has";

/// How a census is obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// Pull compact rows once and aggregate here.
    Scan,
    /// Aggregate in the database.
    Pushdown,
}

/// Users that stand out, most first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tops {
    /// By active sessions.
    pub active: Vec<Holder>,
    /// By sessions created in the last hour; by rows where creation is not stored.
    pub created: Vec<Holder>,
}

/// One row that made a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The first characters of the token.
    pub token_prefix: Option<String>,
    /// The row's id.
    pub id: Option<String>,
    /// The user's id.
    pub user: Option<String>,
    /// The end of the session.
    pub expires_at: Option<Instant>,
    /// How many rows it stands for.
    pub rows: u64,
    /// What helps a person to recognise the user.
    pub display: Vec<Option<String>>,
}

/// What an engine found.
#[derive(Debug)]
pub struct Observation {
    /// The census.
    pub census: Census,
    /// The users that stand out.
    pub tops: Tops,
    /// The mirror of the sessions, to compare the next look with; an engine that pulls no rows has none.
    pub ledger: Option<Ledger>,
    /// The newest instants of the table.
    pub newest: Newest,
}

/// An observation, and how long the database took for it.
#[derive(Debug)]
pub struct Reading {
    /// What was found.
    pub observation: Observation,
    /// Microseconds, without the time that questions and answers were on their way.
    pub database_us: i64,
}

/// Observes a target by the engine, and takes the time. A connection far away costs a round trip for each question, which
/// says nothing of the database.
///
/// # Errors
///
/// If a query fails.
pub async fn timed(session: &Session, sql: &Sql<'_>, engine: Engine) -> Result<Reading, TargetError> {
    let began = Stopwatch::now();
    session.fetch("SELECT 1").await?;
    let round_trip = began.elapsed();
    let (began, asked_before) = (Stopwatch::now(), session.questions());
    let observation = observe(session, sql, engine).await?;
    let on_the_way = round_trip.saturating_mul(session.questions() - asked_before);
    let took = began.elapsed().saturating_sub(on_the_way);
    Ok(Reading { observation, database_us: i64::try_from(took.as_micros()).unwrap_or(i64::MAX) })
}

/// Observes a target by the engine.
///
/// # Errors
///
/// If a query fails.
pub async fn observe(session: &Session, sql: &Sql<'_>, engine: Engine) -> Result<Observation, TargetError> {
    match engine {
        Engine::Scan => scan(session, sql).await,
        Engine::Pushdown => pushdown(session, sql).await,
    }
}

async fn scan(session: &Session, sql: &Sql<'_>) -> Result<Observation, TargetError> {
    let has_created = sql.mapping.created.is_some();
    let frame = Frame { now: sql.now, max_lifetime_us: sql.max_lifetime_us, has_created };
    let ledger = session.scan(sql, frame).await?;
    let suspects = ledger.suspects();
    let duplicates = match (suspects.len(), sql.duplicate_proof()) {
        _ if sql.compares_tokens_unknown() => Fact::Unknown(UNKNOWN_COLLATION.into()),
        (0, Some(index)) => Fact::Proved(index.to_owned()),
        (0, None) => Fact::Counted(Duplicates::default()),
        (count, _) => {
            duplicates(session, &sql.duplicates((count <= SUSPECT_LIMIT).then_some(suspects))).await?
        }
    };
    let created =
        if has_created { ledger.top_recent(EVIDENCE_LIMIT) } else { ledger.top_rows(EVIDENCE_LIMIT) };
    let tops = Tops { active: ledger.top_active(EVIDENCE_LIMIT), created };
    let census = ledger.census(duplicates, orphans_elsewhere(sql));
    let newest = ledger.newest();
    Ok(Observation { census, tops, ledger: Some(ledger), newest })
}

async fn duplicates(session: &Session, query: &str) -> Result<Fact<Duplicates>, TargetError> {
    let rows = session.fetch(query).await?;
    let row = rows.first().ok_or(TargetError::Lost)?;
    Ok(Fact::Counted(Duplicates { tokens: count(row, 0)?, across_users: count(row, 1)? }))
}

/// What is known of orphans without looking at rows.
fn orphans_elsewhere(sql: &Sql<'_>) -> Option<Fact<u64>> {
    if let Some(key) = sql.orphan_proof() {
        Some(Fact::Proved(key.to_owned()))
    } else if let Some(doubt) = sql.users_doubt() {
        Some(Fact::Unknown(format!("users may be missing: {doubt}")))
    } else if sql.looks_for_orphans() {
        None
    } else {
        Some(Fact::Unknown("no table of users is known whose key this role may read".into()))
    }
}

async fn pushdown(session: &Session, sql: &Sql<'_>) -> Result<Observation, TargetError> {
    let rows = session.fetch(&sql.counts()).await?;
    let row = rows.first().ok_or(TargetError::Lost)?;
    let has_created = sql.mapping.created.is_some();
    let mut census = Census {
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
        duplicates: Fact::Counted(Duplicates::default()),
        orphaned: Fact::Counted(0),
    };
    for row in session.fetch(&sql.per_user()).await? {
        let (held, users) = (count(&row, 1)?, count(&row, 2)?);
        match (row.first().and_then(Option::as_deref), &mut census.created_per_user) {
            (Some("rows"), _) => _ = census.rows_per_user.insert(held, users),
            (Some("active"), _) => _ = census.active_per_user.insert(held, users),
            (Some("recent"), Some(histogram)) => _ = histogram.insert(held, users),
            _ => census.orphaned = orphans_elsewhere(sql).unwrap_or(Fact::Counted(users)),
        }
    }
    census.duplicates = match sql.duplicate_proof() {
        _ if sql.compares_tokens_unknown() => Fact::Unknown(UNKNOWN_COLLATION.into()),
        Some(index) => Fact::Proved(index.to_owned()),
        None => duplicates(session, &sql.duplicates(None)).await?,
    };
    let created = if has_created { 'r' } else { 'n' };
    let tops = Tops {
        active: top(session, sql, 'a', EVIDENCE_LIMIT).await?,
        created: top(session, sql, created, EVIDENCE_LIMIT).await?,
    };
    let newest = Newest { created: instant(row, 11), ended: instant(row, 12) };
    Ok(Observation { census, tops, ledger: None, newest })
}

async fn top(
    session: &Session,
    sql: &Sql<'_>,
    tally: char,
    limit: usize,
) -> Result<Vec<Holder>, TargetError> {
    let rows = session.fetch(&sql.top_users(tally, 0, limit)).await?;
    rows.iter()
        .map(|row| {
            Ok(Holder { user: row.first().cloned().flatten().unwrap_or_default(), sessions: count(row, 1)? })
        })
        .collect()
}

/// The rows of a kind, as evidence.
///
/// # Errors
///
/// If the query fails.
pub async fn rows(session: &Session, sql: &Sql<'_>, rows: Rows<'_>) -> Result<Vec<Evidence>, TargetError> {
    Ok(session.fetch(&sql.rows(rows, EVIDENCE_LIMIT)).await?.iter().map(|row| evidence(row)).collect())
}

/// Reads a line of [`Sql::rows`].
#[must_use]
pub fn evidence(row: &[Option<String>]) -> Evidence {
    let text = |at: usize| row.get(at).cloned().flatten();
    Evidence {
        token_prefix: text(0),
        id: text(1),
        user: text(2),
        expires_at: instant(row, 3),
        rows: count(row, 4).unwrap_or(1),
        display: row.get(5..).unwrap_or_default().to_vec(),
    }
}

fn count(row: &[Option<String>], at: usize) -> Result<u64, TargetError> {
    let value = row.get(at).and_then(Option::as_deref).and_then(|text| text.parse().ok());
    value.ok_or_else(|| TargetError::Query("unexpected count".into()))
}

fn instant(row: &[Option<String>], at: usize) -> Option<Instant> {
    row.get(at)?.as_deref()?.parse().ok().and_then(Instant::from_micros)
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The first characters of the token.
    pub token_prefix: Option<String>,
    /// The row's id.
    pub id: Option<String>,
    /// The user's id.
    pub user: Option<String>,
    /// The end of the session.
    pub expires_at: Option<Instant>,
    /// Its creation.
    pub created_at: Option<Instant>,
    /// The client's address.
    pub ip: Option<String>,
    /// The client's user agent.
    pub agent: Option<String>,
    /// What helps a person to recognise the user.
    pub display: Vec<Option<String>>,
}

/// The sessions of a list.
///
/// # Errors
///
/// If the query fails.
pub async fn list(session: &Session, sql: &Sql<'_>, list: List<'_>) -> Result<Vec<Line>, TargetError> {
    let line = |row: Vec<Option<String>>| {
        let text = |at: usize| row.get(at).cloned().flatten();
        Line {
            token_prefix: text(0),
            id: text(1),
            user: text(2),
            expires_at: instant(&row, 3),
            created_at: instant(&row, 4),
            ip: text(5),
            agent: text(6),
            display: row.get(7..).unwrap_or_default().to_vec(),
        }
    };
    Ok(session.fetch(&sql.list(list)).await?.into_iter().map(line).collect())
}

/// By what users are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rank {
    /// Active sessions.
    Active,
    /// Rows of any status.
    Rows,
    /// Sessions created in the last hour.
    Recent,
}

/// The users with the most sessions, and what helps to recognise them.
///
/// # Errors
///
/// If a query fails.
pub async fn ranking(
    session: &Session,
    sql: &Sql<'_>,
    rank: Rank,
    limit: usize,
) -> Result<Vec<Evidence>, TargetError> {
    let tally = match rank {
        Rank::Active => 'a',
        Rank::Rows => 'n',
        Rank::Recent => 'r',
    };
    named(session, sql, &top(session, sql, tally, limit).await?).await
}

/// Holders, with what helps to recognise them.
///
/// # Errors
///
/// If the query fails.
pub async fn named(
    session: &Session,
    sql: &Sql<'_>,
    holders: &[Holder],
) -> Result<Vec<Evidence>, TargetError> {
    let ids: Vec<&str> = holders.iter().map(|holder| holder.user.as_str()).collect();
    let named = match sql.users_named(&ids) {
        Some(query) => session.fetch(&query).await?,
        None => vec![],
    };
    let display = |id: &str| {
        let row = named.iter().find(|row| row.first().is_some_and(|user| user.as_deref() == Some(id)));
        row.and_then(|row| row.get(1..)).unwrap_or_default().to_vec()
    };
    let evidence = |holder: &Holder| Evidence {
        token_prefix: None,
        id: None,
        user: Some(holder.user.clone()),
        expires_at: None,
        rows: holder.sessions,
        display: display(&holder.user),
    };
    Ok(holders.iter().map(evidence).collect())
}
