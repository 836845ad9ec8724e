use sessionwatch_core::{
    correlation::MatchKind,
    duration::{DAY, HOUR},
    log_gaps::GapCause,
    severity::Severity,
};
use sessionwatch_logs::log_event::LogEvent;
use sessionwatch_store::{Store, StoreLocation};

use super::*;

fn now() -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + 1_000 * DAY
}

/// Event of that kind, of an entry with that ID.
fn event(kind: LogEventKind, entry: Option<&str>) -> (Option<String>, LocatedLogEvent) {
    let located = LocatedLogEvent {
        event: LogEvent::new(kind),
        severity: kind.severity(),
        pattern: None,
        source: "web".into(),
        byte_range: (0, 10),
        text: kind.name().into(),
    };
    (entry.map(Into::into), located)
}

fn batch(events: Vec<(Option<String>, LocatedLogEvent)>) -> LogBatch {
    let counters = ReadCounters { lines: events.len() as u64, ..ReadCounters::default() };
    LogBatch { source: "web".into(), target: "shop".into(), counters, events, ..LogBatch::default() }
}

/// Returns the entry IDs as events of the kind `duplicate-token`.
fn entries(ids: &[&str]) -> LogBatch {
    batch(ids.iter().map(|id| event(LogEventKind::DuplicateToken, Some(id))).collect())
}

fn record(store: &Store, batch: &LogBatch) -> u64 {
    store.write(|db| record_batch(db, batch, now())).unwrap()
}

fn source(store: &Store) -> LogSourceRecord {
    store.read(|db| find_source(db, "web")).unwrap().unwrap()
}

fn counter(store: &Store, name: &str) -> u64 {
    source(store).counters.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0)
}

fn stored_events(store: &Store) -> usize {
    store.read(|db| log_events::list_unevaluated_log_events(db, "shop", 1_000)).unwrap().len()
}

#[test]
fn an_entry_that_is_delivered_again_is_stored_once() {
    let store = Store::open_in_memory().unwrap();
    assert_eq!(record(&store, &entries(&["a", "b"])), 2);
    assert_eq!(record(&store, &entries(&["b", "c"])), 1);
    assert_eq!(record(&store, &entries(&["a", "b", "c"])), 0);
    assert_eq!((stored_events(&store), counter(&store, "repeated")), (3, 4));
    assert_eq!(counter(&store, "log_events/duplicate-token"), 3);
}

#[test]
fn all_events_of_one_entry_are_stored_or_repeated_together() {
    let store = Store::open_in_memory().unwrap();
    assert_eq!(record(&store, &entries(&["a", "a", "b", "a"])), 3, "an entry that is not in one piece");
    assert_eq!(record(&store, &entries(&["a", "a", "c"])), 1);
    assert_eq!(stored_events(&store), 4);
}

#[test]
fn entries_of_other_sources_and_events_without_entries_are_not_repetitions() {
    let store = Store::open_in_memory().unwrap();
    record(&store, &entries(&["a"]));
    assert_eq!(record(&store, &LogBatch { source: "jobs".into(), ..entries(&["a"]) }), 1);
    let plain = batch(vec![event(LogEventKind::UserMismatch, None), event(LogEventKind::UserMismatch, None)]);
    assert_eq!((record(&store, &plain), record(&store, &plain)), (2, 2));
}

#[test]
fn long_entry_ids_differ_by_their_ends() {
    let store = Store::open_in_memory().unwrap();
    let long = |end: &str| format!("{}{end}", "🦀".repeat(5_000));
    let (one, two) = (long("1"), long("2"));
    assert_eq!((record(&store, &entries(&[&one])), record(&store, &entries(&[&two]))), (1, 1));
    assert_eq!(record(&store, &entries(&[&two, &one])), 0);
    assert_eq!(record(&store, &entries(&["", "\0", "'; --", "{}"])), 4);
}

#[test]
fn refreshed_sessions_are_counted_but_not_stored() {
    let store = Store::open_in_memory().unwrap();
    let events = [LogEventKind::Refreshed, LogEventKind::Created, LogEventKind::Refreshed];
    assert_eq!(record(&store, &batch(events.map(|kind| event(kind, None)).into())), 1);
    assert_eq!((stored_events(&store), counter(&store, "log_events/refreshed")), (1, 2));
}

#[test]
fn only_lines_are_a_sign_of_life() {
    let store = Store::open_in_memory().unwrap();
    record(&store, &batch(vec![]));
    assert_eq!(source(&store).last_line_at, None);
    record(&store, &entries(&["a"]));
    assert_eq!(source(&store).last_line_at, Some(now()));
    // A repeated delivery shows that the sender is alive.
    let later = now() + HOUR;
    store.write(|db| record_batch(db, &entries(&["a"]), later)).unwrap();
    assert_eq!(source(&store).last_line_at, Some(later));
    let silent = LogBatch { dropped: vec![("bad_signature", 3)], ..batch(vec![]) };
    store.write(|db| record_batch(db, &silent, later + HOUR)).unwrap();
    assert_eq!((source(&store).last_line_at, counter(&store, "bad_signature")), (Some(later), 3));
}

#[test]
fn counters_add_up_and_gaps_are_kept_with_their_time() {
    let store = Store::open_in_memory().unwrap();
    let counters =
        ReadCounters { lines: 2, bytes: 9, hits: 1, unrecognized: 1, truncated: 1, not_utf8: 1, overlong: 1 };
    let gap = LogGap { cause: GapCause::CutLine, file: "web.log.1".into(), bytes: Some(7) };
    let read = LogBatch { counters, gaps: vec![gap], ..batch(vec![]) };
    record(&store, &read);
    record(&store, &read);
    for (name, count) in [("lines", 4), ("bytes", 18), ("meaningless", 2), ("overlong", 2), ("gaps", 2)] {
        assert_eq!(counter(&store, name), count, "{name}");
    }
    let gaps = source(&store).gaps;
    assert_eq!((gaps.len(), gaps[0].at, gaps[0].bytes), (2, now(), Some(7)));
}

/// Opens a store in a file and one in memory, such as the fallback while the disk is full.
fn file_and_memory() -> (tempfile::TempDir, [Store; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let file = Store::open(&StoreLocation::File(folder.path().join("state.db"))).unwrap();
    (folder, [file, Store::open_in_memory().unwrap()])
}

#[test]
fn a_request_stored_in_memory_only_is_not_counted_again_when_it_is_resent() {
    let (_folder, [file, memory]) = file_and_memory();
    let request =
        LogBatch { digest: Some("d1".into()), ..batch(vec![event(LogEventKind::UserMismatch, None)]) };
    assert_eq!((record(&memory, &request), record(&memory, &request)), (1, 0));
    assert_eq!(counter(&memory, "repeated"), 1);
    // With a disk, equal requests are two requests.
    assert_eq!((record(&file, &request), record(&file, &request)), (1, 1));
    // What the disk received from memory is repeated once.
    file.write(|db| log_events::insert_drain_entry(db, "web", "d1", now())).unwrap();
    assert_eq!((record(&file, &request), record(&file, &request)), (0, 1));
}

#[test]
fn a_request_without_events_is_never_a_repetition() {
    let store = Store::open_in_memory().unwrap();
    let empty = LogBatch { digest: Some("d1".into()), ..batch(vec![]) };
    record(&store, &empty);
    let found =
        LogBatch { digest: Some("d1".into()), ..batch(vec![event(LogEventKind::UserMismatch, None)]) };
    assert_eq!(record(&store, &found), 1);
}

#[test]
fn an_event_counts_as_confirmed_by_a_session_or_by_the_operator() {
    for (kind, fit, is_confirmed) in [
        ("duplicate-token", Some(MatchKind::Exact), true),
        ("duplicate-token", Some(MatchKind::Contradicting), true),
        ("duplicate-token", Some(MatchKind::Ambiguous), false),
        ("duplicate-token", Some(MatchKind::Gone), false),
        ("duplicate-token", None, false),
        ("password-failures", None, true),
    ] {
        assert_eq!(crate::logs::is_confirmed(kind, fit), is_confirmed, "{kind} {fit:?}");
    }
    let store = Store::open_in_memory().unwrap();
    record(&store, &entries(&["a", "b"]));
    store.write(|db| log_events::mark_evaluated(db, 1, Some("exact"), "{}")).unwrap();
    let window = log_events::LogEventWindow { target: "shop", from: now(), to: now() + HOUR };
    let counts = store.read(|db| crate::logs::count_critical_events(db, window)).unwrap();
    assert_eq!((counts.confirmed, counts.unconfirmed), (1, 1));
    assert_eq!(LogEventKind::DuplicateToken.severity(), Some(Severity::Critical));
}
