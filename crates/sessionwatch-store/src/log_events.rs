//! Signals: what logs said, and how that fits the table of sessions.

use serde_json::Value as Json;
use sessionwatch_core::{
    correlation::MatchKind, period::Period, severity::Severity, timestamp::UtcTimestamp,
};

use crate::{
    StoreError,
    row::{Param, StoreRow},
    transaction::Tx,
};

/// A signal as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEventRecord {
    /// Its number.
    pub id: i64,
    /// The source.
    pub source: String,
    /// The kind, or the name of a pattern.
    pub kind: String,
    /// How bad it is, by name.
    pub severity: Option<String>,
    /// When, by the log's clock.
    pub at: Option<UtcTimestamp>,
    /// When it was read.
    pub read_at: UtcTimestamp,
    /// The user.
    pub user: Option<String>,
    /// The other user.
    pub other_user: Option<String>,
    /// The first characters of the token.
    pub token_prefix: Option<String>,
    /// Why, or the code of an error.
    pub reason: Option<String>,
    /// The request.
    pub request: Option<String>,
    /// Where it stands in the source.
    pub byte_range: (u64, u64),
    /// What the line says, made of the fields that were recognised.
    pub text: String,
    /// How it fits the table, by name; nothing where it was not joined.
    pub match_kind: Option<String>,
    /// What it was joined to, or why it was not.
    pub correlation: Option<Json>,
}

const LOG_EVENT_COLUMNS: &str = "id, source, kind, severity, at, seen_at, user_id, other_id, prefix, reason, request, byte_from, byte_to, text, fit, joined";

/// Kinds that one query names.
const MAX_KINDS_PER_QUERY: usize = 200;

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct LogEventSearch<'a> {
    /// Only those of this kind or pattern.
    pub kind: Option<&'a str>,
    /// Only those about this token.
    pub token_prefix: Option<&'a str>,
    /// Only those that name this user.
    pub user: Option<&'a str>,
    /// Only those that fit the table in this way.
    pub match_kind: Option<&'a str>,
    /// Only those that are bad.
    pub only_with_severity: bool,
    /// Only with smaller numbers.
    pub before_id: Option<i64>,
    /// The most, the latest first where there are more.
    pub limit: u32,
}

impl LogEventRecord {
    fn from_row(row: &StoreRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.read_i64(0)?,
            source: row.read_text(1)?,
            kind: row.read_text(2)?,
            severity: row.read_optional_known_text(3, |name| name.parse::<Severity>().is_ok())?,
            at: row.read_optional_timestamp(4)?,
            read_at: row.read_timestamp(5)?,
            user: row.read_optional_text(6)?,
            other_user: row.read_optional_text(7)?,
            token_prefix: row.read_optional_text(8)?,
            reason: row.read_optional_text(9)?,
            request: row.read_optional_text(10)?,
            byte_range: (row.read_u64(11)?, row.read_u64(12)?),
            text: row.read_text(13)?,
            match_kind: row.read_optional_known_text(14, |name| name.parse::<MatchKind>().is_ok())?,
            correlation: row.read_optional_json(15)?,
        })
    }
}

/// A log event that is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct NewLogEvent<'a> {
    /// The source.
    pub source: &'a str,
    /// The target that it is about.
    pub target: &'a str,
    /// The kind, or the name of a pattern.
    pub kind: &'a str,
    /// How bad it is; `None` if it is as things should be.
    pub severity: Option<Severity>,
    /// When, by the log's clock.
    pub at: Option<UtcTimestamp>,
    /// When it was read.
    pub read_at: UtcTimestamp,
    /// The user.
    pub user: Option<&'a str>,
    /// The other user.
    pub other_user: Option<&'a str>,
    /// The first characters of the token.
    pub token_prefix: Option<&'a str>,
    /// When the session expires, as the line says.
    pub expires_at: Option<UtcTimestamp>,
    /// Why, or the code of an error.
    pub reason: Option<&'a str>,
    /// The request.
    pub request: Option<&'a str>,
    /// The first byte in the source, and the byte after the last one.
    pub byte_range: (u64, u64),
    /// What the line says, made of the fields that were recognized.
    pub text: &'a str,
}

/// Keeps a log event.
///
/// # Errors
///
/// If it cannot be written.
pub fn insert_log_event(db: Tx<'_>, event: &NewLogEvent<'_>) -> Result<(), StoreError> {
    let number = |byte: u64| Param::from(i64::try_from(byte).unwrap_or(i64::MAX));
    db.execute(
        "INSERT INTO signals (id, source, target, kind, severity, at, seen_at, user_id, other_id, prefix, expires_at, reason, request, byte_from, byte_to, text)
         SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15 FROM signals",
        &[
            event.source.into(),
            event.target.into(),
            event.kind.into(),
            Param::Text(event.severity.map(Severity::name)),
            event.at.into(),
            event.read_at.into(),
            Param::Text(event.user),
            Param::Text(event.other_user),
            Param::Text(event.token_prefix),
            event.expires_at.into(),
            Param::Text(event.reason),
            Param::Text(event.request),
            number(event.byte_range.0),
            number(event.byte_range.1),
            event.text.into(),
        ],
    )?;
    Ok(())
}

/// Signals of a target that nobody has judged yet: bad ones before all others, and the oldest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn list_unevaluated_log_events(
    db: Tx<'_>,
    target: &str,
    limit: u32,
) -> Result<Vec<LogEventRecord>, StoreError> {
    let bad = "COALESCE(severity, '') IN ('high', 'critical')";
    let mut found: Vec<LogEventRecord> = Vec::new();
    for condition in [bad.to_owned(), format!("NOT {bad}")] {
        let query = format!(
            "SELECT {LOG_EVENT_COLUMNS} FROM signals WHERE judged = 0 AND target = $1 AND {condition} ORDER BY id LIMIT $2"
        );
        let left = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        for row in &db.query_rows(&query, &[target.into(), left.into()])? {
            found.push(LogEventRecord::from_row(row)?);
        }
    }
    Ok(found)
}

/// A signal by its number.
///
/// # Errors
///
/// If it cannot be read.
pub fn find_log_event(db: Tx<'_>, id: i64) -> Result<Option<LogEventRecord>, StoreError> {
    let query = format!("SELECT {LOG_EVENT_COLUMNS} FROM signals WHERE id = $1");
    db.query_row(&query, &[id.into()])?.as_ref().map(LogEventRecord::from_row).transpose()
}

/// Notes that a signal was judged, and how it fits the table.
///
/// # Errors
///
/// If it cannot be written.
pub fn mark_evaluated(
    db: Tx<'_>,
    id: i64,
    match_kind: Option<&str>,
    correlation: &str,
) -> Result<(), StoreError> {
    db.execute(
        "UPDATE signals SET judged = 1, fit = $2, joined = $3 WHERE id = $1",
        &[id.into(), Param::Text(match_kind), correlation.into()],
    )?;
    Ok(())
}

/// Signals of a target that were read since an instant, the latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn search_log_events(
    db: Tx<'_>,
    target: &str,
    Period { from, to }: Period,
    filter: &LogEventSearch<'_>,
) -> Result<Vec<LogEventRecord>, StoreError> {
    let query = format!(
        "SELECT {LOG_EVENT_COLUMNS} FROM signals WHERE target = $1 AND seen_at >= $2 AND seen_at < $3
           AND (CAST($4 AS TEXT) IS NULL OR kind = $4) AND (CAST($5 AS TEXT) IS NULL OR prefix = $5)
           AND (CAST($6 AS TEXT) IS NULL OR user_id = $6 OR other_id = $6)
           AND (CAST($7 AS TEXT) IS NULL OR fit = $7)
           AND ($8 = 0 OR severity IS NOT NULL)
           AND (CAST($10 AS BIGINT) IS NULL OR id < $10) ORDER BY id DESC LIMIT $9"
    );
    let values = [
        target.into(),
        from.into(),
        to.into(),
        Param::Text(filter.kind),
        Param::Text(filter.token_prefix),
        Param::Text(filter.user),
        Param::Text(filter.match_kind),
        filter.only_with_severity.into(),
        filter.limit.into(),
        filter.before_id.into(),
    ];
    db.query_rows(&query, &values)?.iter().map(LogEventRecord::from_row).collect()
}

/// Which signals of a target are counted, and shown.
#[derive(Clone, Copy, Debug)]
pub struct LogEventWindow<'a> {
    /// The target.
    pub target: &'a str,
    /// The first instant at which they may have been read.
    pub from: UtcTimestamp,
    /// The instant before which they were read.
    pub to: UtcTimestamp,
}

/// How many signals are of one kind and fit the table in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEventCount {
    /// The kind, or the name of a pattern.
    pub kind: String,
    /// How they fit the table, by name; nothing where they were not joined.
    pub match_kind: Option<String>,
    /// How many there are.
    pub count: u64,
}

/// How many signals there are of every kind.
///
/// # Errors
///
/// If they cannot be counted.
pub fn count_log_events(db: Tx<'_>, window: LogEventWindow<'_>) -> Result<Vec<LogEventCount>, StoreError> {
    let query = "SELECT kind, fit, COUNT(*) FROM signals
                 WHERE target = $1 AND seen_at >= $2 AND seen_at < $3 GROUP BY kind, fit";
    read_log_event_counts(db, query, window)
}

fn read_log_event_counts(
    db: Tx<'_>,
    query: &str,
    window: LogEventWindow<'_>,
) -> Result<Vec<LogEventCount>, StoreError> {
    let count = |row: &StoreRow| {
        let fit = row.read_optional_known_text(1, |name| name.parse::<MatchKind>().is_ok())?;
        Ok(LogEventCount { kind: row.read_text(0)?, match_kind: fit, count: row.read_u64(2)? })
    };
    db.query_rows(query, &[window.target.into(), window.from.into(), window.to.into()])?
        .iter()
        .map(count)
        .collect()
}

/// The latest signals of each of these kinds, at most so many of each, the latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn list_latest_by_kind(
    db: Tx<'_>,
    window: LogEventWindow<'_>,
    kinds: &[&str],
    limit_per_kind: u32,
) -> Result<Vec<LogEventRecord>, StoreError> {
    let mut found = Vec::new();
    for kinds in kinds.chunks(MAX_KINDS_PER_QUERY) {
        let list: Vec<String> = (5..).take(kinds.len()).map(|number| format!("${number}")).collect();
        let query = format!(
            "SELECT {LOG_EVENT_COLUMNS} FROM (
               SELECT {LOG_EVENT_COLUMNS}, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY id DESC) AS place FROM signals
               WHERE target = $1 AND seen_at >= $2 AND seen_at < $3 AND kind IN ({})) AS ranked
             WHERE place <= $4 ORDER BY id DESC",
            list.join(", ")
        );
        let mut values =
            vec![window.target.into(), window.from.into(), window.to.into(), limit_per_kind.into()];
        values.extend(kinds.iter().map(|kind| Param::Text(Some(kind))));
        for row in &db.query_rows(&query, &values)? {
            found.push(LogEventRecord::from_row(row)?);
        }
    }
    Ok(found)
}

/// How many critical signals there are of every kind.
///
/// # Errors
///
/// If they cannot be counted.
pub fn count_critical_log_events(
    db: Tx<'_>,
    window: LogEventWindow<'_>,
) -> Result<Vec<LogEventCount>, StoreError> {
    let query = "SELECT kind, fit, COUNT(*) FROM signals
                 WHERE target = $1 AND seen_at >= $2 AND seen_at < $3 AND severity = 'critical' GROUP BY kind, fit";
    read_log_event_counts(db, query, window)
}

/// Forgets what was read before an instant, entries of drains too.
///
/// # Errors
///
/// If it cannot be written.
pub fn prune_log_events(db: Tx<'_>, before: UtcTimestamp) -> Result<(), StoreError> {
    db.execute("DELETE FROM signals WHERE seen_at < $1", &[before.into()])?;
    db.execute("DELETE FROM log_entries WHERE at < $1", &[before.into()])?;
    Ok(())
}

/// Forgets an entry that was noted. Returns `false` if it was not.
///
/// # Errors
///
/// If it cannot be written.
pub fn delete_drain_entry(db: Tx<'_>, source: &str, entry: &str) -> Result<bool, StoreError> {
    let removed = db.execute(
        "DELETE FROM log_entries WHERE source = $1 AND entry = $2",
        &[source.into(), entry.into()],
    )?;
    Ok(removed > 0)
}

/// Notes an entry of a drain: whether it was new.
///
/// # Errors
///
/// If it cannot be written.
pub fn insert_drain_entry(
    db: Tx<'_>,
    source: &str,
    entry: &str,
    now: UtcTimestamp,
) -> Result<bool, StoreError> {
    let added = db.execute(
        "INSERT INTO log_entries (source, entry, at) VALUES ($1, $2, $3) ON CONFLICT (source, entry) DO NOTHING",
        &[source.into(), entry.into(), now.into()],
    )?;
    Ok(added > 0)
}
