//! A look at a target: census and evidence, by either engine, inside one snapshot.

use std::time::Instant as Stopwatch;

use sessionwatch_core::{
    addresses::Address,
    instant::Instant,
    local_time::Newest,
    snapshot::{Notable, SessionSnapshot, SnapshotOptions, UserTotal},
    stats::{Duplicates, Histogram, Measured, SessionStats},
};

use super::{
    cells,
    error::TargetError,
    session::{Session, TextRow},
    sql::{Among, List, RowKind, Rows, Sql},
};

pub use sessionwatch_core::snapshot::EVIDENCE_LIMIT;

/// Of so many rows, one on a suspected token at most: with more of them, the whole table is grouped instead.
const ROWS_PER_SUSPECT: u64 = 8;
/// Rows that are asked for by their addresses at once.
const ADDRESSES_PER_QUERY: usize = 5_000;
/// Fingerprints and users whose rows are looked for at once.
const NAMED_LIMIT: usize = 1_000;

/// Why duplicates cannot be known where tokens are compared by code of the application.
pub(crate) const UNKNOWN_COLLATION: &str = "tokens are compared by a collation that only the application has";

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
    pub active: Vec<UserTotal>,
    /// By sessions created in the last hour; by rows where creation is not stored.
    pub created: Vec<UserTotal>,
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
    pub census: SessionStats,
    /// The users that stand out.
    pub tops: Tops,
    /// The mirror of the sessions, to compare the next look with; an engine that pulls no rows has none.
    pub ledger: Option<SessionSnapshot>,
    /// The newest instants of the table.
    pub newest: Newest,
    /// Where rows of evidence are to be looked for.
    pub traces: Traces,
}

/// What an engine has seen of the rows that make a verdict, so that they need not be looked for in the whole table again.
#[derive(Debug, Default)]
pub struct Traces {
    /// Fingerprints of the first tokens, in their order as signed numbers, that may stand on several rows; more of them than a
    /// finding shows.
    fingerprints: Vec<u64>,
    /// The addresses of their rows, where those are known.
    addresses: Vec<Address>,
    /// Users who do not exist, if those are all.
    orphans: Vec<String>,
}

/// Rows of evidence.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Rows whose tokens occur more than once.
    Duplicates,
    /// Rows on tokens of these fingerprints.
    Fingerprints(&'a [u64]),
    /// Rows whose users do not exist.
    Orphans,
    /// The expired rows, oldest first.
    OldestExpired,
    /// Rows that end too late or never.
    BeyondPolicy,
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
    let census = ledger.census(duplicates, orphans_elsewhere(sql));
    let newest = ledger.newest();
    let fingerprints = first_fingerprints(ledger.suspects());
    let addresses = ledger.addresses(Notable::Fingerprints(&fingerprints)).unwrap_or_default();
    let traces = Traces { fingerprints, addresses, orphans: vec![] };
    Ok(Observation { census, tops, ledger: Some(ledger), newest, traces })
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
    session: &Session,
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

/// Counts the tokens that stand on several rows, among suspects at these addresses; nothing if a row is not found where it was
/// seen, as with storage whose addresses only look like such.
async fn duplicates_at(
    session: &Session,
    sql: &Sql<'_>,
    parts: impl Iterator<Item = (&[u64], Vec<Address>)>,
) -> Result<Option<Duplicates>, TargetError> {
    let mut all = Duplicates::default();
    for (suspects, rows) in parts {
        let (some, found) = duplicates(session, sql, Among::Suspects(suspects, &rows)).await?;
        if found != rows.len() as u64 {
            return Ok(None);
        }
        all.tokens += some.tokens;
        all.across_users += some.across_users;
    }
    Ok(Some(all))
}

/// Counts the tokens that stand on several rows; and the rows that were found, where those were asked for by address.
async fn duplicates(
    session: &Session,
    sql: &Sql<'_>,
    among: Among<'_>,
) -> Result<(Duplicates, u64), TargetError> {
    let rows = session.fetch(&sql.duplicates(among)).await?;
    let row = rows.first().ok_or(TargetError::Lost)?;
    Ok((Duplicates { tokens: count(row, 0)?, across_users: count(row, 1)? }, count(row, 2)?))
}

/// What is known of orphans without looking at rows.
fn orphans_elsewhere(sql: &Sql<'_>) -> Option<Measured<u64>> {
    if let Some(key) = sql.orphan_proof() {
        Some(Measured::Proven(key.to_owned()))
    } else if let Some(doubt) = sql.users_doubt() {
        Some(Measured::Unknown(format!("users may be missing: {doubt}")))
    } else if sql.looks_for_orphans() {
        None
    } else {
        Some(Measured::Unknown("no table of users is known whose key this role may read".into()))
    }
}

async fn pushdown(session: &Session, sql: &Sql<'_>) -> Result<Observation, TargetError> {
    let rows = session.fetch(&sql.counts()).await?;
    let row = rows.first().ok_or(TargetError::Lost)?;
    let has_created = sql.mapping.created.is_some();
    let mut census = SessionStats {
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
    let users = users(session, sql, &mut census).await?;
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
    census.duplicates = duplicates;
    traces.orphans = users.orphans;
    let newest = Newest { created: instant(row, 11), ended: instant(row, 12) };
    Ok(Observation { census, tops: users.tops, ledger: None, newest, traces })
}

/// Who stands out among the users.
struct Users {
    tops: Tops,
    orphans: Vec<String>,
}

/// Reads everything about users, and counts them into the census.
async fn users(session: &Session, sql: &Sql<'_>, census: &mut SessionStats) -> Result<Users, TargetError> {
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
async fn searched_duplicates(session: &Session, sql: &Sql<'_>) -> Result<(Duplicates, Traces), TargetError> {
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

async fn top(
    session: &Session,
    sql: &Sql<'_>,
    tally: char,
    limit: usize,
) -> Result<Vec<UserTotal>, TargetError> {
    let rows = session.fetch(&sql.top_users(tally, 0, limit)).await?;
    rows.iter()
        .map(|row| {
            Ok(UserTotal {
                user: row.first().cloned().flatten().unwrap_or_default(),
                sessions: count(row, 1)?,
            })
        })
        .collect()
}

/// Rows of evidence: fetched from where they stand if an engine has just seen them, else looked for.
///
/// # Errors
///
/// If a query fails.
pub async fn rows(
    session: &Session,
    sql: &Sql<'_>,
    wanted: Wanted<'_>,
    (traces, ledger): (&Traces, Option<&SessionSnapshot>),
) -> Result<Vec<Evidence>, TargetError> {
    let noted = |notable| ledger.and_then(|ledger| ledger.addresses(notable)).unwrap_or_default();
    let (kind, addresses) = match wanted {
        Wanted::Duplicates => (RowKind::Duplicates, traces.addresses.clone()),
        Wanted::Fingerprints(some) => (RowKind::Any, noted(Notable::Fingerprints(some))),
        Wanted::Orphans => (RowKind::Orphans, noted(Notable::Orphans)),
        Wanted::OldestExpired => (RowKind::OldestExpired, noted(Notable::OldestExpired)),
        Wanted::BeyondPolicy => (RowKind::BeyondPolicy, noted(Notable::BeyondPolicy)),
    };
    if (1..=ADDRESSES_PER_QUERY).contains(&addresses.len()) {
        let among = match wanted {
            Wanted::Fingerprints(some) => Among::Suspects(some, &addresses),
            Wanted::Duplicates => Among::Suspects(&traces.fingerprints, &addresses),
            _ => Among::Addresses(&addresses),
        };
        let rows = Rows { kind, among };
        let found = session.fetch(&sql.rows(rows, EVIDENCE_LIMIT)).await?;
        // Some storage says where rows stand, but does not find them there.
        if found.len() >= addresses.len().min(EVIDENCE_LIMIT) {
            return Ok(found.iter().map(|row| evidence(row)).collect());
        }
    }
    let among = match wanted {
        Wanted::Fingerprints(some) => Among::Fingerprints(some),
        Wanted::Duplicates if !traces.fingerprints.is_empty() => Among::Fingerprints(&traces.fingerprints),
        Wanted::Orphans if !traces.orphans.is_empty() && sql.finds_users_by_value() => {
            Among::Users(&traces.orphans)
        }
        _ => Among::All,
    };
    let mut found = session.fetch(&sql.rows(Rows { kind, among }, EVIDENCE_LIMIT)).await?;
    // Some users are no text.
    if let Among::Users(users) = among
        && found.len() < users.len().min(EVIDENCE_LIMIT)
    {
        found = session.fetch(&sql.rows(Rows::all(kind), EVIDENCE_LIMIT)).await?;
    }
    Ok(found.iter().map(|row| evidence(row)).collect())
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
    cells::required(row, at, "a count")
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

/// The users with the most active sessions, where an engine may have left out those who do not stand out by themselves.
///
/// # Errors
///
/// If a query fails.
pub async fn most_active(session: &Session, sql: &Sql<'_>) -> Result<Vec<UserTotal>, TargetError> {
    top(session, sql, 'a', EVIDENCE_LIMIT).await
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
    holders: &[UserTotal],
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
    let evidence = |holder: &UserTotal| Evidence {
        token_prefix: None,
        id: None,
        user: Some(holder.user.clone()),
        expires_at: None,
        rows: holder.sessions,
        display: display(&holder.user),
    };
    Ok(holders.iter().map(evidence).collect())
}
