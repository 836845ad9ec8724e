//! Signals: what logs said, and how that fits the table of sessions.

use serde_json::Value as Json;
use sessionwatch_core::{correlation::MatchKind, instant::Instant, period::Period, severity::Severity};

use crate::{
    StoreError,
    db::Db,
    row::{Row, Value},
};

/// A signal as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub id: i64,
    /// The source.
    pub source: String,
    /// The kind, or the name of a pattern.
    pub kind: String,
    /// How bad it is, by name.
    pub severity: Option<String>,
    /// When, by the log's clock.
    pub at: Option<Instant>,
    /// When it was read.
    pub seen_at: Instant,
    /// The user.
    pub user: Option<String>,
    /// The other user.
    pub other: Option<String>,
    /// The first characters of the token.
    pub prefix: Option<String>,
    /// Why, or the code of an error.
    pub reason: Option<String>,
    /// The request.
    pub request: Option<String>,
    /// Where it stands in the source.
    pub bytes: (u64, u64),
    /// What the line says, made of the fields that were recognised.
    pub text: String,
    /// How it fits the table, by name; nothing where it was not joined.
    pub fit: Option<String>,
    /// What it was joined to, or why it was not.
    pub joined: Option<Json>,
}

const COLUMNS: &str = "id, source, kind, severity, at, seen_at, user_id, other_id, prefix, reason, request, byte_from, byte_to, text, fit, joined";

/// Kinds that one query names.
const KINDS_OF_QUERY: usize = 200;

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct Search<'a> {
    /// Only those of this kind or pattern.
    pub kind: Option<&'a str>,
    /// Only those about this token.
    pub prefix: Option<&'a str>,
    /// Only those that name this user.
    pub user: Option<&'a str>,
    /// Only those that fit the table in this way.
    pub fit: Option<&'a str>,
    /// Only those that are bad.
    pub bad: bool,
    /// Only with smaller numbers.
    pub before: Option<i64>,
    /// The most, the latest first where there are more.
    pub limit: u32,
}

impl Kept {
    fn of(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.int(0)?,
            source: row.text(1)?,
            kind: row.text(2)?,
            severity: row.maybe_name(3, |name| name.parse::<Severity>().is_ok())?,
            at: row.maybe_instant(4)?,
            seen_at: row.instant(5)?,
            user: row.maybe_text(6)?,
            other: row.maybe_text(7)?,
            prefix: row.maybe_text(8)?,
            reason: row.maybe_text(9)?,
            request: row.maybe_text(10)?,
            bytes: (row.count(11)?, row.count(12)?),
            text: row.text(13)?,
            fit: row.maybe_name(14, |name| name.parse::<MatchKind>().is_ok())?,
            joined: row.maybe_document(15)?,
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
    pub at: Option<Instant>,
    /// When it was read.
    pub seen_at: Instant,
    /// The user.
    pub user: Option<&'a str>,
    /// The other user.
    pub other: Option<&'a str>,
    /// The first characters of the token.
    pub prefix: Option<&'a str>,
    /// When the session expires, as the line says.
    pub expires: Option<Instant>,
    /// Why, or the code of an error.
    pub reason: Option<&'a str>,
    /// The request.
    pub request: Option<&'a str>,
    /// The first byte in the source, and the byte after the last one.
    pub bytes: (u64, u64),
    /// What the line says, made of the fields that were recognized.
    pub text: &'a str,
}

/// Keeps a log event.
///
/// # Errors
///
/// If it cannot be written.
pub fn put(db: Db<'_>, event: &NewLogEvent<'_>) -> Result<(), StoreError> {
    let number = |byte: u64| Value::from(i64::try_from(byte).unwrap_or(i64::MAX));
    db.run(
        "INSERT INTO signals (id, source, target, kind, severity, at, seen_at, user_id, other_id, prefix, expires_at, reason, request, byte_from, byte_to, text)
         SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15 FROM signals",
        &[
            event.source.into(),
            event.target.into(),
            event.kind.into(),
            Value::Text(event.severity.map(Severity::name)),
            event.at.into(),
            event.seen_at.into(),
            Value::Text(event.user),
            Value::Text(event.other),
            Value::Text(event.prefix),
            event.expires.into(),
            Value::Text(event.reason),
            Value::Text(event.request),
            number(event.bytes.0),
            number(event.bytes.1),
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
pub fn unjudged(db: Db<'_>, target: &str, limit: u32) -> Result<Vec<Kept>, StoreError> {
    let bad = "COALESCE(severity, '') IN ('high', 'critical')";
    let mut found: Vec<Kept> = Vec::new();
    for condition in [bad.to_owned(), format!("NOT {bad}")] {
        let query = format!(
            "SELECT {COLUMNS} FROM signals WHERE judged = 0 AND target = $1 AND {condition} ORDER BY id LIMIT $2"
        );
        let left = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        for row in &db.rows(&query, &[target.into(), left.into()])? {
            found.push(Kept::of(row)?);
        }
    }
    Ok(found)
}

/// A signal by its number.
///
/// # Errors
///
/// If it cannot be read.
pub fn get(db: Db<'_>, id: i64) -> Result<Option<Kept>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM signals WHERE id = $1");
    db.row(&query, &[id.into()])?.as_ref().map(Kept::of).transpose()
}

/// Notes that a signal was judged, and how it fits the table.
///
/// # Errors
///
/// If it cannot be written.
pub fn judge(db: Db<'_>, id: i64, fit: Option<&str>, joined: &str) -> Result<(), StoreError> {
    db.run(
        "UPDATE signals SET judged = 1, fit = $2, joined = $3 WHERE id = $1",
        &[id.into(), Value::Text(fit), joined.into()],
    )?;
    Ok(())
}

/// Signals of a target that were read since an instant, the latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn search(
    db: Db<'_>,
    target: &str,
    Period { from, to }: Period,
    search: &Search<'_>,
) -> Result<Vec<Kept>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM signals WHERE target = $1 AND seen_at >= $2 AND seen_at < $3
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
        Value::Text(search.kind),
        Value::Text(search.prefix),
        Value::Text(search.user),
        Value::Text(search.fit),
        search.bad.into(),
        search.limit.into(),
        search.before.into(),
    ];
    db.rows(&query, &values)?.iter().map(Kept::of).collect()
}

/// Which signals of a target are counted, and shown.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// The target.
    pub target: &'a str,
    /// The first instant at which they may have been read.
    pub from: Instant,
    /// The instant before which they were read.
    pub to: Instant,
}

/// How many signals are of one kind and fit the table in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The kind, or the name of a pattern.
    pub kind: String,
    /// How they fit the table, by name; nothing where they were not joined.
    pub fit: Option<String>,
    /// How many there are.
    pub signals: u64,
}

/// How many signals there are of every kind.
///
/// # Errors
///
/// If they cannot be counted.
pub fn counts(db: Db<'_>, window: Window<'_>) -> Result<Vec<Count>, StoreError> {
    let query = "SELECT kind, fit, COUNT(*) FROM signals
                 WHERE target = $1 AND seen_at >= $2 AND seen_at < $3 GROUP BY kind, fit";
    read_counts(db, query, window)
}

fn read_counts(db: Db<'_>, query: &str, window: Window<'_>) -> Result<Vec<Count>, StoreError> {
    let count = |row: &Row| {
        let fit = row.maybe_name(1, |name| name.parse::<MatchKind>().is_ok())?;
        Ok(Count { kind: row.text(0)?, fit, signals: row.count(2)? })
    };
    db.rows(query, &[window.target.into(), window.from.into(), window.to.into()])?.iter().map(count).collect()
}

/// The latest signals of each of these kinds, at most so many of each, the latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn latest_of_kinds(
    db: Db<'_>,
    window: Window<'_>,
    kinds: &[&str],
    of_each: u32,
) -> Result<Vec<Kept>, StoreError> {
    let mut found = Vec::new();
    for kinds in kinds.chunks(KINDS_OF_QUERY) {
        let list: Vec<String> = (5..).take(kinds.len()).map(|number| format!("${number}")).collect();
        let query = format!(
            "SELECT {COLUMNS} FROM (
               SELECT {COLUMNS}, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY id DESC) AS place FROM signals
               WHERE target = $1 AND seen_at >= $2 AND seen_at < $3 AND kind IN ({})) AS ranked
             WHERE place <= $4 ORDER BY id DESC",
            list.join(", ")
        );
        let mut values = vec![window.target.into(), window.from.into(), window.to.into(), of_each.into()];
        values.extend(kinds.iter().map(|kind| Value::Text(Some(kind))));
        for row in &db.rows(&query, &values)? {
            found.push(Kept::of(row)?);
        }
    }
    Ok(found)
}

/// How many critical signals there are of every kind.
///
/// # Errors
///
/// If they cannot be counted.
pub fn critical_counts(db: Db<'_>, window: Window<'_>) -> Result<Vec<Count>, StoreError> {
    let query = "SELECT kind, fit, COUNT(*) FROM signals
                 WHERE target = $1 AND seen_at >= $2 AND seen_at < $3 AND severity = 'critical' GROUP BY kind, fit";
    read_counts(db, query, window)
}

/// Forgets what was read before an instant, entries of drains too.
///
/// # Errors
///
/// If it cannot be written.
pub fn forget(db: Db<'_>, before: Instant) -> Result<(), StoreError> {
    db.run("DELETE FROM signals WHERE seen_at < $1", &[before.into()])?;
    db.run("DELETE FROM log_entries WHERE at < $1", &[before.into()])?;
    Ok(())
}

/// Forgets an entry that was noted. Returns `false` if it was not.
///
/// # Errors
///
/// If it cannot be written.
pub fn forget_entry(db: Db<'_>, source: &str, entry: &str) -> Result<bool, StoreError> {
    let removed =
        db.run("DELETE FROM log_entries WHERE source = $1 AND entry = $2", &[source.into(), entry.into()])?;
    Ok(removed > 0)
}

/// Notes an entry of a drain: whether it was new.
///
/// # Errors
///
/// If it cannot be written.
pub fn is_new(db: Db<'_>, source: &str, entry: &str, now: Instant) -> Result<bool, StoreError> {
    let added = db.run(
        "INSERT INTO log_entries (source, entry, at) VALUES ($1, $2, $3) ON CONFLICT (source, entry) DO NOTHING",
        &[source.into(), entry.into(), now.into()],
    )?;
    Ok(added > 0)
}
