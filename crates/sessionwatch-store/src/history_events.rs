//! History events: check results that changed, notifications of alerts, comments, reports and cleanups.

use jiff::SignedDuration;
use sessionwatch_core::{period::Period, timestamp::UtcTimestamp};

use crate::{StoreError, row::Param, transaction::Tx};

/// Number of a target's latest events that are searched for a user.
const MAX_SEARCHED_EVENTS: u32 = 10_000;

/// Length of a period above which a search follows ids instead of the index on time.
const LONG_PERIOD_THRESHOLD: SignedDuration = SignedDuration::from_hours(8 * 24);

/// An event in the history of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Id of the event; ignored by [`insert_event`], which assigns it.
    pub id: i64,
    /// Time of the event.
    pub at: UtcTimestamp,
    /// The target's name; empty for a deploy of all targets.
    pub target: String,
    /// The check's id; empty for a deploy.
    pub check: String,
    /// `result`, the name of a notification, `acknowledged`, `comment`, `report`, `cleanup`, `deploy` or `incident`.
    pub kind: String,
    /// A one-sentence summary.
    pub summary: String,
    /// Further details, as JSON.
    pub detail: String,
}

/// Search criteria for events.
#[derive(Clone, Debug)]
pub struct EventSearch {
    /// Start of the period, inclusive.
    pub from: UtcTimestamp,
    /// End of the period, exclusive.
    pub to: UtcTimestamp,
    /// Only events of this target, and deploys of all targets.
    pub target: Option<String>,
    /// Only events of this check.
    pub check: Option<String>,
    /// Only events whose summary contains this text, ignoring case.
    pub text: Option<String>,
    /// Only notifications of alerts.
    pub alerts_only: bool,
    /// Only events with an id below this one.
    pub before_id: Option<i64>,
    /// Most events to return; the latest, if there are more.
    pub limit: u32,
}

/// Stores an event.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_event(db: Tx<'_>, event: &EventRecord) -> Result<(), StoreError> {
    let id = db.next_id("events")?;
    db.execute(
        "INSERT INTO events (id, at, target, check_id, kind, summary, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            id.into(),
            event.at.into(),
            (&event.target).into(),
            (&event.check).into(),
            (&event.kind).into(),
            (&event.summary).into(),
            (&event.detail).into(),
        ],
    )?;
    Ok(())
}

/// Returns the case-insensitive `LIKE` operator of the database.
fn like_operator(db: Tx<'_>) -> &'static str {
    match db {
        // SQLite's `LIKE` ignores the case of ASCII letters only, which is enough for summaries.
        Tx::Sqlite(_) => "LIKE",
        Tx::Postgres(_) => "ILIKE",
    }
}

/// Returns a pattern for `LIKE … ESCAPE '!'` that finds `text` anywhere.
pub(crate) fn contains_pattern(text: &str) -> String {
    // The escape character is doubled first, or the escapes added later would be escaped again.
    format!("%{}%", text.replace('!', "!!").replace('%', "!%").replace('_', "!_"))
}

/// Conditions of a search. `{at}` and `{like}` depend on the period and the database.
const EVENT_CONDITIONS: &str = "{at} >= $1 AND {at} < $2
           AND (CAST($3 AS TEXT) IS NULL OR target = $3 OR target = '' AND kind = 'deploy')
           AND (CAST($4 AS TEXT) IS NULL OR check_id = $4)
           AND (CAST($5 AS TEXT) IS NULL OR summary {like} $5 ESCAPE '!')
           AND ($6 = 0 OR kind IN ('firing', 'reminder', 'resolved'))
           AND (CAST($7 AS BIGINT) IS NULL OR id < $7)";

impl EventSearch {
    /// Returns the pattern for the text.
    fn text_pattern(&self) -> Option<String> {
        // Escaped, so that a percent sign typed by a person is searched for and matches nothing else.
        self.text.as_ref().map(|text| contains_pattern(text))
    }

    /// Returns the parameters of [`EVENT_CONDITIONS`].
    fn params<'a>(&'a self, pattern: &'a Option<String>) -> Vec<Param<'a>> {
        vec![
            self.from.into(),
            self.to.into(),
            (&self.target).into(),
            (&self.check).into(),
            pattern.into(),
            self.alerts_only.into(),
            self.before_id.into(),
        ]
    }
}

/// Returns the matching events, oldest first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn search_events(db: Tx<'_>, search: &EventSearch) -> Result<Vec<EventRecord>, StoreError> {
    // `at + 0` keeps the planner off the index on `at`: over a long period, walking ids backwards reaches the limit
    // sooner.
    let at = if search.to.duration_since(search.from) > LONG_PERIOD_THRESHOLD { "at + 0" } else { "at" };
    let query = format!(
        "SELECT id, at, target, check_id, kind, summary, detail FROM events
         WHERE {EVENT_CONDITIONS} ORDER BY id DESC LIMIT $8"
    );
    let pattern = search.text_pattern();
    let mut params = search.params(&pattern);
    params.push(search.limit.into());
    let rows = db.query_rows(&query.replace("{at}", at).replace("{like}", like_operator(db)), &params)?;
    // The latest events are selected, and returned in the order in which they happened.
    rows.iter().rev().map(event_from_row).collect()
}

/// Counts the matching events, beyond the limit of the search too.
///
/// # Errors
///
/// If the store cannot be read.
pub fn count_events(db: Tx<'_>, search: &EventSearch) -> Result<u64, StoreError> {
    let query = format!("SELECT COUNT(*) FROM events WHERE {EVENT_CONDITIONS}");
    let pattern = search.text_pattern();
    // Every event of the period is read, which the index on `at` makes cheap.
    let query = query.replace("{at}", "at").replace("{like}", like_operator(db));
    db.query_count(&query, &search.params(&pattern))
}

/// Returns the events of all targets, or of one, in a period, latest first, without changed results and reminders,
/// which repeat what other events say.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_activity(
    db: Tx<'_>,
    Period { from, to }: Period,
    target: Option<&str>,
    limit: u32,
) -> Result<Vec<EventRecord>, StoreError> {
    // By time: a deploy may be reported later than what happened after it.
    let rows = db.query_rows(
        "SELECT id, at, target, check_id, kind, summary, detail FROM events
         WHERE at >= $1 AND at < $2 AND (CAST($3 AS TEXT) IS NULL OR target = $3 OR target = '' AND kind = 'deploy')
           AND kind NOT IN ('result', 'reminder') ORDER BY at DESC, id DESC LIMIT $4",
        &[from.into(), to.into(), Param::Text(target), limit.into()],
    )?;
    rows.iter().map(event_from_row).collect()
}

fn event_from_row(row: &super::row::StoreRow) -> Result<EventRecord, StoreError> {
    Ok(EventRecord {
        id: row.read_i64(0)?,
        at: row.read_timestamp(1)?,
        target: row.read_text(2)?,
        check: row.read_text(3)?,
        kind: row.read_text(4)?,
        summary: row.read_text(5)?,
        detail: row.read_json_text(6)?,
    })
}

/// A user of a target.
#[derive(Clone, Copy, Debug)]
pub struct UserRef<'a> {
    /// The target's name.
    pub target: &'a str,
    /// The user ID.
    pub user: &'a str,
}

/// Returns a target's events since `from` whose evidence names the user, latest first. Searches only the target's last
/// 10,000 events.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_user_events(
    db: Tx<'_>,
    user: UserRef<'_>,
    from: UtcTimestamp,
) -> Result<Vec<EventRecord>, StoreError> {
    let UserRef { target, user } = user;
    // The JSON form in which the evidence of a finding names a user.
    // Encoded by the JSON library, so that user IDs with quotes are found as they are stored.
    let named = format!("\"user\":{}", serde_json::Value::from(user));
    let pattern = contains_pattern(&named);
    let rows = db.query_rows(
        "SELECT id, at, target, check_id, kind, summary, detail
         FROM (SELECT * FROM events WHERE target = $1 ORDER BY id DESC LIMIT $4) AS latest
         WHERE at >= $2 AND detail LIKE $3 ESCAPE '!' ORDER BY id DESC",
        &[target.into(), from.into(), (&pattern).into(), MAX_SEARCHED_EVENTS.into()],
    )?;
    // SQLite's LIKE ignores case, so compare again.
    let named = |event: &Result<EventRecord, StoreError>| {
        // Errors pass the filter, so that a damaged event is reported and not skipped.
        event.as_ref().map_or(true, |event| event.detail.contains(&named))
    };
    rows.iter().map(event_from_row).filter(named).collect()
}

/// A check of a target.
#[derive(Clone, Copy, Debug)]
pub struct CheckRef<'a> {
    /// The name of the target.
    pub target: &'a str,
    /// The id of the check.
    pub check: &'a str,
}

/// Returns the names of a check's results in a period, each with its start, oldest first. The first is the result in
/// effect at the start of the period, and may have started earlier.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_verdicts(
    db: Tx<'_>,
    check: CheckRef<'_>,
    Period { from, to }: Period,
) -> Result<Vec<(UtcTimestamp, String)>, StoreError> {
    let CheckRef { target, check } = check;
    let rows = db.query_rows(
        "SELECT at, detail FROM events
         WHERE target = $1 AND check_id = $2 AND kind = 'result' AND at < $4 AND at >= COALESCE((
           SELECT MAX(at) FROM events WHERE target = $1 AND check_id = $2 AND kind = 'result' AND at <= $3), $3)
         ORDER BY id",
        &[target.into(), check.into(), from.into(), to.into()],
    )?;
    let mut found = Vec::new();
    for row in &rows {
        let at = row.read_timestamp(0)?;
        // Strict: a result without its names would leave a hole in the compliance report.
        let detail: serde_json::Value = row.decode_text(1, |text| serde_json::from_str(text).ok())?;
        let name = |key: &str| detail[key].as_str().map(str::to_owned);
        // The oldest retained change also names the result before it.
        if found.is_empty() && at > from {
            found.extend(name("before").map(|before| (from, before)));
        }
        found.extend(name("after").map(|after| (at, after)));
    }
    Ok(found)
}

/// A kind of event about a check of a target.
#[derive(Clone, Copy, Debug)]
pub struct TargetEventKind<'a> {
    /// The kind.
    pub kind: &'a str,
    /// The name of the target.
    pub target: &'a str,
    /// Check that they are about.
    pub check: &'a str,
}

/// Returns the time of the last event of a kind about a check of a target.
///
/// # Errors
///
/// If the store cannot be read.
pub fn last_target_event_at(
    db: Tx<'_>,
    events: TargetEventKind<'_>,
) -> Result<Option<UtcTimestamp>, StoreError> {
    let TargetEventKind { kind, target, check } = events;
    let query = "SELECT MAX(at) FROM events WHERE target = $1 AND check_id = $2 AND kind = $3";
    db.query_row(query, &[target.into(), check.into(), kind.into()])?
        .map_or(Ok(None), |row| row.read_optional_timestamp(0))
}

/// Returns the time of the last event of a kind.
///
/// # Errors
///
/// If the store cannot be read.
pub fn last_event_at(db: Tx<'_>, kind: &str) -> Result<Option<UtcTimestamp>, StoreError> {
    db.query_row("SELECT MAX(at) FROM events WHERE kind = $1", &[kind.into()])?
        .map_or(Ok(None), |row| row.read_optional_timestamp(0))
}

/// Returns the time of the oldest event.
///
/// # Errors
///
/// If the store cannot be read.
pub fn first_event_at(db: Tx<'_>) -> Result<Option<UtcTimestamp>, StoreError> {
    let row = db.query_row("SELECT MIN(at) FROM events", &[])?;
    row.map_or(Ok(None), |row| row.read_optional_timestamp(0))
}

/// Deletes events before an instant.
///
/// # Errors
///
/// If the store cannot be written.
pub fn prune_events(db: Tx<'_>, before: UtcTimestamp) -> Result<(), StoreError> {
    db.execute("DELETE FROM events WHERE at < $1", &[before.into()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store_of_each_kind;

    #[test]
    fn results_start_with_the_one_in_effect() {
        for store in store_of_each_kind() {
            let at = |second: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
            for (second, target, kind, before, after) in [
                (1, "one", "result", None, "unknown"),
                (3, "one", "result", Some("unknown"), "passing"),
                (4, "one", "firing", None, "of no concern"),
                (5, "two", "result", Some("passing"), "unknown"),
                (6, "one", "result", Some("passing"), "failing"),
            ] {
                let detail = serde_json::json!({ "before": before, "after": after }).to_string();
                let [target, check, kind] = [target, "target-unreachable", kind].map(str::to_owned);
                let event = EventRecord {
                    id: 0,
                    at: at(second),
                    target,
                    check,
                    kind,
                    summary: String::new(),
                    detail,
                };
                store.write(|db| insert_event(db, &event)).unwrap();
            }
            let verdicts = |target: &str, from, to| -> Vec<(i64, String)> {
                let found = store
                    .read(|db| {
                        super::list_verdicts(
                            db,
                            CheckRef { target, check: "target-unreachable" },
                            Period { from: at(from), to: at(to) },
                        )
                    })
                    .unwrap();
                found.into_iter().map(|(at, verdict)| (at.micros() / 1_000_000, verdict)).collect()
            };
            let expected = |pairs: &[(i64, &str)]| -> Vec<(i64, String)> {
                pairs.iter().map(|(second, verdict)| (*second, (*verdict).to_owned())).collect()
            };
            assert_eq!(verdicts("one", 4, 9), expected(&[(3, "passing"), (6, "failing")]));
            assert_eq!(verdicts("one", 3, 6), expected(&[(3, "passing")]));
            assert_eq!(verdicts("one", 0, 2), expected(&[(1, "unknown")]));
            assert_eq!(verdicts("two", 0, 9), expected(&[(0, "passing"), (5, "unknown")]));
            assert_eq!(verdicts("three", 0, 9), []);
        }
    }

    #[test]
    fn search_returns_exactly_the_matching_events() {
        for store in store_of_each_kind() {
            let at = |second: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
            for (second, target, check, kind, summary) in [
                (1, "one", "target-unreachable", "firing", "the target cannot be reached"),
                (2, "two", "target-unreachable", "firing", "the Target cannot be reached"),
                (3, "one", "orphaned-sessions", "result", "11 sessions whose user does not exist"),
                (4, "one", "target-unreachable", "resolved", "100% again"),
            ] {
                let [target, check, kind, summary] = [target, check, kind, summary].map(str::to_owned);
                let event =
                    EventRecord { id: 0, at: at(second), target, check, kind, summary, detail: "{}".into() };
                store.write(|db| insert_event(db, &event)).unwrap();
            }
            let all = EventSearch {
                from: at(0),
                to: at(9),
                target: None,
                check: None,
                text: None,
                alerts_only: false,
                before_id: None,
                limit: 100,
            };
            let found = |search: EventSearch| -> Vec<i64> {
                let events = store.read(|db| super::search_events(db, &search)).unwrap();
                let count = store.read(|db| count_events(db, &search)).unwrap();
                assert!(count >= events.len() as u64 && (search.limit < 100 || count == events.len() as u64));
                events.iter().map(|event| event.at.micros() / 1_000_000).collect()
            };
            let text = |text: &str| Some(text.to_owned());
            assert_eq!(found(all.clone()), [1, 2, 3, 4]);
            assert_eq!(found(EventSearch { limit: 2, ..all.clone() }), [3, 4]);
            assert_eq!(found(EventSearch { from: at(2), to: at(4), ..all.clone() }), [2, 3]);
            assert_eq!(
                found(EventSearch { target: text("one"), check: text("target-unreachable"), ..all.clone() }),
                [1, 4]
            );
            assert_eq!(found(EventSearch { text: text("TARGET cannot"), ..all.clone() }), [1, 2]);
            assert_eq!(found(EventSearch { text: text("%"), ..all.clone() }), [4]);
            assert_eq!(found(EventSearch { alerts_only: true, ..all.clone() }), [1, 2, 4]);
            let period = Period { from: at(0), to: at(9) };
            let activity = store.read(|db| list_activity(db, period, None, 2)).unwrap();
            let activity = activity.iter().map(|event| event.kind.as_str());
            assert_eq!(activity.collect::<Vec<_>>(), ["resolved", "firing"]);
            let of_one = store.read(|db| list_activity(db, period, Some("one"), 9)).unwrap();
            assert!(!of_one.is_empty() && of_one.iter().all(|event| event.target == "one"));
            assert_eq!(found(EventSearch { before_id: Some(3), limit: 1, ..all.clone() }), [2]);
            store.write(|db| prune_events(db, at(3))).unwrap();
            assert_eq!(found(all), [3, 4]);
            let detail = serde_json::json!({ "finding": { "evidence": [{ "user": "a\"b" }] } }).to_string();
            let [target, check, kind] = ["one", "target-unreachable", "firing"].map(str::to_owned);
            let event = EventRecord { id: 0, at: at(5), target, check, kind, summary: String::new(), detail };
            store.write(|db| insert_event(db, &event)).unwrap();
            let about = |user: &str| {
                store.read(|db| list_user_events(db, UserRef { target: "one", user }, at(0))).unwrap().len()
            };
            assert_eq!((about("a\"b"), about("a"), about("b"), about("%")), (1, 0, 0, 0));
        }
    }
}
