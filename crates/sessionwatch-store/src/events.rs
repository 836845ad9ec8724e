//! Events: what happened, when. Verdicts that changed, alerts that fired, were repeated or resolved.

use jiff::SignedDuration;
use sessionwatch_core::{period::Period, timestamp::UtcTimestamp};

use crate::{StoreError, transaction::Tx};

/// The latest events of a target, among which it is looked for a user.
const MAX_SEARCHED_EVENTS: u32 = 10_000;

/// A long time to look back.
const LONG_PERIOD_THRESHOLD: SignedDuration = SignedDuration::from_hours(8 * 24);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Its number; whatever it is before it is kept.
    pub id: i64,
    /// When.
    pub at: UtcTimestamp,
    /// The target's name.
    pub target: String,
    /// The check's id.
    pub check: String,
    /// What: `verdict`, the notice of an alert, `comment`, `report`, or `cleanup`.
    pub kind: String,
    /// In one sentence.
    pub summary: String,
    /// The rest, as JSON.
    pub detail: String,
}

/// What is looked for.
#[derive(Clone, Debug)]
pub struct EventSearch {
    /// From this instant on.
    pub from: UtcTimestamp,
    /// Before this instant.
    pub to: UtcTimestamp,
    /// Only of this target.
    pub target: Option<String>,
    /// Only of this check.
    pub check: Option<String>,
    /// Only with these words in the summary, large or small.
    pub text: Option<String>,
    /// Only what was told of alerts.
    pub alerts_only: bool,
    /// Only with smaller numbers.
    pub before_id: Option<i64>,
    /// The most events, the latest first where there are more.
    pub limit: u32,
}

/// Keeps an event.
///
/// # Errors
///
/// If it cannot be written.
pub fn insert_event(db: Tx<'_>, event: &EventRecord) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO events (id, at, target, check_id, kind, summary, detail)
         SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6 FROM events",
        &[
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

/// What compares without regard to large and small letters.
fn like_operator(db: Tx<'_>) -> &'static str {
    match db {
        Tx::Sqlite(_) => "LIKE",
        Tx::Postgres(_) => "ILIKE",
    }
}

/// A pattern for `LIKE … ESCAPE '!'` that finds a text anywhere.
fn contains_pattern(text: &str) -> String {
    format!("%{}%", text.replace('!', "!!").replace('%', "!%").replace('_', "!_"))
}

/// The events that are looked for, oldest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn search_events(db: Tx<'_>, search: &EventSearch) -> Result<Vec<EventRecord>, StoreError> {
    let text = search.text.as_ref().map(|text| contains_pattern(text));
    let like = like_operator(db);
    // The latest of a long time are found soonest one by one, those of a short time by when they were.
    let at = if search.to.duration_since(search.from) > LONG_PERIOD_THRESHOLD { "at + 0" } else { "at" };
    let query = format!(
        "SELECT id, at, target, check_id, kind, summary, detail FROM events
         WHERE {at} >= $1 AND {at} < $2 AND (CAST($3 AS TEXT) IS NULL OR target = $3) AND (CAST($4 AS TEXT) IS NULL OR check_id = $4)
           AND (CAST($5 AS TEXT) IS NULL OR summary {like} $5 ESCAPE '!') AND ($6 = 0 OR kind IN ('firing', 'reminder', 'resolved'))
           AND (CAST($8 AS BIGINT) IS NULL OR id < $8)
         ORDER BY id DESC LIMIT $7"
    );
    let rows = db.query_rows(
        &query,
        &[
            search.from.into(),
            search.to.into(),
            (&search.target).into(),
            (&search.check).into(),
            (&text).into(),
            search.alerts_only.into(),
            search.limit.into(),
            search.before_id.into(),
        ],
    )?;
    rows.iter().rev().map(event_from_row).collect()
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
    /// The name of the target.
    pub target: &'a str,
    /// The id of the user.
    pub user: &'a str,
}

/// What was told of a target since an instant with rows of that user among what shows it, the latest first; of the last 10 000
/// things that happened to the target.
///
/// # Errors
///
/// If it cannot be read.
pub fn list_user_events(
    db: Tx<'_>,
    user: UserRef<'_>,
    from: UtcTimestamp,
    limit: u32,
) -> Result<Vec<EventRecord>, StoreError> {
    let UserRef { target, user } = user;
    // As it stands in the evidence of a finding.
    let named = format!("\"user\":{}", serde_json::Value::from(user));
    let pattern = contains_pattern(&named);
    let rows = db.query_rows(
        "SELECT id, at, target, check_id, kind, summary, detail
         FROM (SELECT * FROM events WHERE target = $1 ORDER BY id DESC LIMIT $5) AS latest
         WHERE at >= $2 AND detail LIKE $3 ESCAPE '!' ORDER BY id DESC LIMIT $4",
        &[target.into(), from.into(), (&pattern).into(), limit.into(), MAX_SEARCHED_EVENTS.into()],
    )?;
    // SQLite takes large and small letters for the same here.
    let named = |event: &Result<EventRecord, StoreError>| {
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

/// The verdicts of a check, by name, from the one that held at an instant until another, and when each began, oldest
/// first. The first may have begun long before.
///
/// # Errors
///
/// If they cannot be read.
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
        let detail: serde_json::Value = row.decode_text(1, |text| serde_json::from_str(text).ok())?;
        let name = |key: &str| detail[key].as_str().map(str::to_owned);
        // What was before the first one that is still kept, that one says.
        if found.is_empty() && at > from {
            found.extend(name("before").map(|before| (from, before)));
        }
        found.extend(name("after").map(|after| (at, after)));
    }
    Ok(found)
}

/// What of a kind happened to a target.
#[derive(Clone, Copy, Debug)]
pub struct TargetEventKind<'a> {
    /// The kind.
    pub kind: &'a str,
    /// The name of the target.
    pub target: &'a str,
}

/// When something of a kind happened last to a target.
///
/// # Errors
///
/// If it cannot be read.
pub fn last_target_event_at(
    db: Tx<'_>,
    events: TargetEventKind<'_>,
) -> Result<Option<UtcTimestamp>, StoreError> {
    let TargetEventKind { kind, target } = events;
    let query = "SELECT MAX(at) FROM events WHERE kind = $1 AND target = $2";
    db.query_row(query, &[kind.into(), target.into()])?.map_or(Ok(None), |row| row.read_optional_timestamp(0))
}

/// When something of a kind happened last.
///
/// # Errors
///
/// If it cannot be read.
pub fn last_event_at(db: Tx<'_>, kind: &str) -> Result<Option<UtcTimestamp>, StoreError> {
    db.query_row("SELECT MAX(at) FROM events WHERE kind = $1", &[kind.into()])?
        .map_or(Ok(None), |row| row.read_optional_timestamp(0))
}

/// Forgets what happened before an instant.
///
/// # Errors
///
/// If it cannot be written.
pub fn prune_events(db: Tx<'_>, before: UtcTimestamp) -> Result<(), StoreError> {
    db.execute("DELETE FROM events WHERE at < $1", &[before.into()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store_of_each_kind;

    #[test]
    fn verdicts_begin_with_the_one_that_held() {
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
    fn finds_what_is_looked_for_and_nothing_else() {
        for store in store_of_each_kind() {
            let at = |second: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
            for (second, target, check, kind, summary) in [
                (1, "one", "target-unreachable", "firing", "the target cannot be looked at"),
                (2, "two", "target-unreachable", "firing", "the Target cannot be looked at"),
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
            assert_eq!(found(EventSearch { before_id: Some(3), limit: 1, ..all.clone() }), [2]);
            store.write(|db| prune_events(db, at(3))).unwrap();
            assert_eq!(found(all), [3, 4]);
            let detail = serde_json::json!({ "finding": { "evidence": [{ "user": "a\"b" }] } }).to_string();
            let [target, check, kind] = ["one", "target-unreachable", "firing"].map(str::to_owned);
            let event = EventRecord { id: 0, at: at(5), target, check, kind, summary: String::new(), detail };
            store.write(|db| insert_event(db, &event)).unwrap();
            let about = |user: &str| {
                store
                    .read(|db| list_user_events(db, UserRef { target: "one", user }, at(0), 9))
                    .unwrap()
                    .len()
            };
            assert_eq!((about("a\"b"), about("a"), about("b"), about("%")), (1, 0, 0, 0));
        }
    }
}
