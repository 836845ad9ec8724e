//! Log events: facts parsed from application logs, and how they correlate with sessions.

use serde_json::Value as Json;
use sessionwatch_core::{
    correlation::MatchKind, period::Period, severity::Severity, timestamp::UtcTimestamp,
};

use crate::{
    StoreError,
    row::{Param, StoreRow},
    transaction::Tx,
};

/// A stored log event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEventRecord {
    /// Id of the event.
    pub id: i64,
    /// The name of the log source.
    pub source: String,
    /// The kind of event, or the name of a custom log check.
    pub kind: String,
    /// The severity's name; `None` for a normal event.
    pub severity: Option<String>,
    /// Time of the event, by the log's clock.
    pub at: Option<UtcTimestamp>,
    /// Time when the line was read.
    pub read_at: UtcTimestamp,
    /// The user ID.
    pub user: Option<String>,
    /// The other user ID, of an event that involves two users.
    pub other_user: Option<String>,
    /// The token prefix.
    pub token_prefix: Option<String>,
    /// The reason or error code in the line.
    pub reason: Option<String>,
    /// The request ID.
    pub request: Option<String>,
    /// The position in the source: the first byte, and the byte after the last one.
    pub byte_range: (u64, u64),
    /// A text built from the recognized fields of the line.
    pub text: String,
    /// The name of the match kind; `None` if the event was not correlated.
    pub match_kind: Option<String>,
    /// The correlated session, or the reason why there is none.
    pub correlation: Option<Json>,
}

const LOG_EVENT_COLUMNS: &str = "id, source, kind, severity, at, seen_at, user_id, other_id, prefix, reason, \
                                 request, byte_from, byte_to, text, fit, joined";

/// Most kinds per query, below the parameter limits of both databases.
const MAX_KINDS_PER_QUERY: usize = 200;

/// Search criteria for log events.
#[derive(Clone, Debug, Default)]
pub struct LogEventSearch<'a> {
    /// Only events of this kind or custom log check.
    pub kind: Option<&'a str>,
    /// Only events with this token prefix.
    pub token_prefix: Option<&'a str>,
    /// Only events that name this user.
    pub user: Option<&'a str>,
    /// Only events of this match kind.
    pub match_kind: Option<&'a str>,
    /// Only events of this log source.
    pub source: Option<&'a str>,
    /// Only events with a severity.
    pub only_with_severity: bool,
    /// Only events with an id below this one.
    pub before_id: Option<i64>,
    /// Most events to return; the latest, if there are more.
    pub limit: u32,
}

/// Conditions of a search. The casts give parameters a type, which PostgreSQL cannot infer from `IS NULL`.
const LOG_EVENT_CONDITIONS: &str = "target = $1 AND seen_at >= $2 AND seen_at < $3
           AND (CAST($4 AS TEXT) IS NULL OR kind = $4) AND (CAST($5 AS TEXT) IS NULL OR prefix = $5)
           AND (CAST($6 AS TEXT) IS NULL OR user_id = $6 OR other_id = $6)
           AND (CAST($7 AS TEXT) IS NULL OR fit = $7)
           AND (CAST($8 AS TEXT) IS NULL OR source = $8)
           AND ($9 = 0 OR severity IS NOT NULL)";

impl<'a> LogEventSearch<'a> {
    /// Returns the parameters of [`LOG_EVENT_CONDITIONS`].
    fn params(&self, target: &'a str, Period { from, to }: Period) -> Vec<Param<'a>> {
        vec![
            target.into(),
            from.into(),
            to.into(),
            Param::Text(self.kind),
            Param::Text(self.token_prefix),
            Param::Text(self.user),
            Param::Text(self.match_kind),
            Param::Text(self.source),
            self.only_with_severity.into(),
        ]
    }
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

/// A log event to store.
#[derive(Clone, Copy, Debug)]
pub struct NewLogEvent<'a> {
    /// The name of the log source.
    pub source: &'a str,
    /// The target's name.
    pub target: &'a str,
    /// The kind of event, or the name of a custom log check.
    pub kind: &'a str,
    /// The severity; `None` for a normal event.
    pub severity: Option<Severity>,
    /// Time of the event, by the log's clock.
    pub at: Option<UtcTimestamp>,
    /// Time when the line was read.
    pub read_at: UtcTimestamp,
    /// The user ID.
    pub user: Option<&'a str>,
    /// The other user ID, of an event that involves two users.
    pub other_user: Option<&'a str>,
    /// The token prefix.
    pub token_prefix: Option<&'a str>,
    /// The session's expiry in the line.
    pub expires_at: Option<UtcTimestamp>,
    /// The reason or error code in the line.
    pub reason: Option<&'a str>,
    /// The request ID.
    pub request: Option<&'a str>,
    /// The position in the source: the first byte, and the byte after the last one.
    pub byte_range: (u64, u64),
    /// A text built from the recognized fields of the line.
    pub text: &'a str,
}

/// Stores a log event.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_log_event(db: Tx<'_>, event: &NewLogEvent<'_>) -> Result<(), StoreError> {
    // Positions above the range cannot occur in real files, so saturating loses nothing.
    let number = |byte: u64| Param::from(i64::try_from(byte).unwrap_or(i64::MAX));
    let id = db.next_id("log_events")?;
    db.execute(
        "INSERT INTO log_events (id, source, target, kind, severity, at, seen_at, user_id, other_id, prefix, \
         expires_at, reason, request, byte_from, byte_to, text)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        &[
            id.into(),
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

/// Returns a target's events that were not evaluated yet: those of high or critical severity first, each group oldest
/// first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_unevaluated_log_events(
    db: Tx<'_>,
    target: &str,
    limit: u32,
) -> Result<Vec<LogEventRecord>, StoreError> {
    // A missing severity is NULL, and `NOT (NULL IN …)` would exclude such rows.
    let bad = "COALESCE(severity, '') IN ('high', 'critical')";
    let mut found: Vec<LogEventRecord> = Vec::new();
    // Two queries instead of one sort: both follow the index, so that a flood of harmless events is never sorted.
    for condition in [bad.to_owned(), format!("NOT {bad}")] {
        let query = format!(
            "SELECT {LOG_EVENT_COLUMNS} FROM log_events WHERE judged = 0 AND target = $1 AND {condition} \
             ORDER BY id LIMIT $2"
        );
        // The limit is shared: urgent events may use all of it.
        let left = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        for row in &db.query_rows(&query, &[target.into(), left.into()])? {
            found.push(LogEventRecord::from_row(row)?);
        }
    }
    Ok(found)
}

/// Returns a log event by its id.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_log_event(db: Tx<'_>, id: i64) -> Result<Option<LogEventRecord>, StoreError> {
    let query = format!("SELECT {LOG_EVENT_COLUMNS} FROM log_events WHERE id = $1");
    db.query_row(&query, &[id.into()])?.as_ref().map(LogEventRecord::from_row).transpose()
}

/// Marks a log event as evaluated, with its match kind and correlation.
///
/// # Errors
///
/// If the store cannot be written.
pub fn mark_evaluated(
    db: Tx<'_>,
    id: i64,
    match_kind: Option<&str>,
    correlation: &str,
) -> Result<(), StoreError> {
    db.execute(
        "UPDATE log_events SET judged = 1, fit = $2, joined = $3 WHERE id = $1",
        &[id.into(), Param::Text(match_kind), correlation.into()],
    )?;
    Ok(())
}

/// Returns a target's matching events read in a period, latest first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn search_log_events(
    db: Tx<'_>,
    target: &str,
    period: Period,
    filter: &LogEventSearch<'_>,
) -> Result<Vec<LogEventRecord>, StoreError> {
    let query = format!(
        "SELECT {LOG_EVENT_COLUMNS} FROM log_events WHERE {LOG_EVENT_CONDITIONS}
           AND (CAST($10 AS BIGINT) IS NULL OR id < $10) ORDER BY id DESC LIMIT $11"
    );
    let mut params = filter.params(target, period);
    params.extend([Param::from(filter.before_id), filter.limit.into()]);
    db.query_rows(&query, &params)?.iter().map(LogEventRecord::from_row).collect()
}

/// Counts a target's matching events read in a period, regardless of `before_id` and `limit`.
///
/// # Errors
///
/// If the store cannot be read.
pub fn count_matching_log_events(
    db: Tx<'_>,
    target: &str,
    period: Period,
    filter: &LogEventSearch<'_>,
) -> Result<u64, StoreError> {
    let query = format!("SELECT COUNT(*) FROM log_events WHERE {LOG_EVENT_CONDITIONS}");
    db.query_count(&query, &filter.params(target, period))
}

/// A target and a period, to count or list log events.
#[derive(Clone, Copy, Debug)]
pub struct LogEventWindow<'a> {
    /// The target's name.
    pub target: &'a str,
    /// Start of the period in which the events were read.
    pub from: UtcTimestamp,
    /// End of the period, exclusive.
    pub to: UtcTimestamp,
}

/// The number of log events of one kind and match kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEventCount {
    /// The kind of event, or the name of a custom log check.
    pub kind: String,
    /// The name of the match kind; `None` if the events were not correlated.
    pub match_kind: Option<String>,
    /// Number of events.
    pub count: u64,
}

/// Counts the log events by kind and match kind.
///
/// # Errors
///
/// If the store cannot be read.
pub fn count_log_events(db: Tx<'_>, window: LogEventWindow<'_>) -> Result<Vec<LogEventCount>, StoreError> {
    let query = "SELECT kind, fit, COUNT(*) FROM log_events
                 WHERE target = $1 AND seen_at >= $2 AND seen_at < $3 GROUP BY kind, fit";
    read_log_event_counts(db, query, window)
}

fn read_log_event_counts(
    db: Tx<'_>,
    query: &str,
    window: LogEventWindow<'_>,
) -> Result<Vec<LogEventCount>, StoreError> {
    let count = |row: &StoreRow| {
        let match_kind = row.read_optional_known_text(1, |name| name.parse::<MatchKind>().is_ok())?;
        Ok(LogEventCount { kind: row.read_text(0)?, match_kind, count: row.read_u64(2)? })
    };
    db.query_rows(query, &[window.target.into(), window.from.into(), window.to.into()])?
        .iter()
        .map(count)
        .collect()
}

/// Returns the latest events of each of these kinds, at most `limit_per_kind` of each, latest first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_latest_by_kind(
    db: Tx<'_>,
    window: LogEventWindow<'_>,
    kinds: &[&str],
    limit_per_kind: u32,
) -> Result<Vec<LogEventRecord>, StoreError> {
    let mut found = Vec::new();
    // In chunks, since custom checks can add any number of kinds.
    for kinds in kinds.chunks(MAX_KINDS_PER_QUERY) {
        // The first four numbers belong to the other conditions.
        let list: Vec<String> = (5..).take(kinds.len()).map(|number| format!("${number}")).collect();
        let query = format!(
            "SELECT {LOG_EVENT_COLUMNS} FROM (
               SELECT {LOG_EVENT_COLUMNS}, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY id DESC) AS place \
               FROM log_events
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

/// Counts the critical log events by kind and match kind.
///
/// # Errors
///
/// If the store cannot be read.
pub fn count_critical_log_events(
    db: Tx<'_>,
    window: LogEventWindow<'_>,
) -> Result<Vec<LogEventCount>, StoreError> {
    let query = "SELECT kind, fit, COUNT(*) FROM log_events
                 WHERE target = $1 AND seen_at >= $2 AND seen_at < $3 AND severity = 'critical' GROUP BY kind, fit";
    read_log_event_counts(db, query, window)
}

/// Deletes log events and drain entries read before an instant.
///
/// # Errors
///
/// If the store cannot be written.
pub fn prune_log_events(db: Tx<'_>, before: UtcTimestamp) -> Result<(), StoreError> {
    // By the time of reading: the clock of a log may be wrong.
    db.execute("DELETE FROM log_events WHERE seen_at < $1", &[before.into()])?;
    // With the events: a redelivery after that long would be taken for a new entry.
    db.execute("DELETE FROM drain_entries WHERE at < $1", &[before.into()])?;
    Ok(())
}

/// Deletes a drain entry. Returns `false` if there is none.
///
/// # Errors
///
/// If the store cannot be written.
pub fn delete_drain_entry(db: Tx<'_>, source: &str, entry: &str) -> Result<bool, StoreError> {
    let removed = db.execute(
        "DELETE FROM drain_entries WHERE source = $1 AND entry = $2",
        &[source.into(), entry.into()],
    )?;
    Ok(removed > 0)
}

/// Records an entry received by a log drain, to detect redeliveries. Returns `false` if it was recorded before.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_drain_entry(
    db: Tx<'_>,
    source: &str,
    entry: &str,
    now: UtcTimestamp,
) -> Result<bool, StoreError> {
    let added = db.execute(
        // One statement instead of a query and an insert: two deliveries of an entry may arrive at the same time.
        "INSERT INTO drain_entries (source, entry, at) VALUES ($1, $2, $3) ON CONFLICT (source, entry) DO NOTHING",
        &[source.into(), entry.into(), now.into()],
    )?;
    Ok(added > 0)
}
