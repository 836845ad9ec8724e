//! Tests of log events: what a search returns, what is evaluated first, and what is pruned.

use jiff::SignedDuration;
use sessionwatch_core::{period::Period, severity::Severity, timestamp::UtcTimestamp};

use crate::{
    log_events::{
        LogEventCount, LogEventRecord, LogEventSearch, LogEventWindow, NewLogEvent,
        count_critical_log_events, count_log_events, count_matching_log_events, delete_drain_entry,
        find_log_event, insert_drain_entry, insert_log_event, list_latest_by_kind,
        list_unevaluated_log_events, mark_evaluated, prune_log_events, search_log_events,
    },
    tests::{TestStore, store_of_each_kind},
};

fn at(second: i64) -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
}

/// An event of `app`, read at this second.
fn event(kind: &str, read_at: i64) -> NewLogEvent<'_> {
    NewLogEvent {
        source: "web",
        target: "app",
        kind,
        severity: None,
        at: None,
        read_at: at(read_at),
        user: None,
        other_user: None,
        token_prefix: None,
        expires_at: None,
        reason: None,
        request: None,
        byte_range: (0, 1),
        text: "t",
    }
}

fn insert(store: &TestStore, events: &[NewLogEvent<'_>]) {
    store.write(|db| events.iter().try_for_each(|event| insert_log_event(db, event))).unwrap();
}

fn ids(events: &[LogEventRecord]) -> Vec<i64> {
    events.iter().map(|event| event.id).collect()
}

const EVERYTHING: LogEventSearch<'static> = LogEventSearch {
    kind: None,
    token_prefix: None,
    user: None,
    match_kind: None,
    source: None,
    only_with_severity: false,
    before_id: None,
    limit: 100,
};

fn window<'a>(target: &'a str, from: i64, to: i64) -> LogEventWindow<'a> {
    LogEventWindow { target, from: at(from), to: at(to) }
}

#[test]
fn every_field_is_stored_and_read_back() {
    for store in store_of_each_kind() {
        let full = NewLogEvent {
            severity: Some(Severity::Critical),
            at: Some(at(-5)),
            user: Some("o'brien"),
            other_user: Some("ада"),
            token_prefix: Some("abcd%_"),
            expires_at: Some(at(9)),
            reason: Some("duplicate \"token\""),
            request: Some("req\\1"),
            byte_range: (7, u64::MAX),
            text: "<b>line</b>\u{202e}\n",
            ..event("duplicate-token", 3)
        };
        insert(&store, &[full, event("created", 4)]);
        let expected = LogEventRecord {
            id: 1,
            source: "web".into(),
            kind: "duplicate-token".into(),
            severity: Some("critical".into()),
            at: Some(at(-5)),
            read_at: at(3),
            user: Some("o'brien".into()),
            other_user: Some("ада".into()),
            token_prefix: Some("abcd%_".into()),
            reason: Some("duplicate \"token\"".into()),
            request: Some("req\\1".into()),
            // No file is longer than the largest number of both databases.
            byte_range: (7, i64::MAX.cast_unsigned()),
            text: "<b>line</b>\u{202e}\n".into(),
            match_kind: None,
            correlation: None,
        };
        let found = |id| store.read(|db| find_log_event(db, id)).unwrap();
        assert_eq!(found(1), Some(expected.clone()));
        assert_eq!(found(3), None);
        let correlation = r#"{"rows":["o'brien",null,1.5]}"#;
        store.write(|db| mark_evaluated(db, 1, Some("ambiguous"), correlation)).unwrap();
        let evaluated = LogEventRecord {
            match_kind: Some("ambiguous".into()),
            correlation: Some(serde_json::from_str(correlation).unwrap()),
            ..expected
        };
        assert_eq!(found(1), Some(evaluated));
        assert_eq!(found(2).map(|event| (event.severity, event.at, event.user)), Some((None, None, None)));
    }
}

#[test]
fn a_search_returns_exactly_the_matching_events_and_counts_them() {
    for store in store_of_each_kind() {
        let one = NewLogEvent { user: Some("7"), token_prefix: Some("ab"), ..event("created", 1) };
        let two =
            NewLogEvent { other_user: Some("7"), severity: Some(Severity::Low), ..event("user-mismatch", 2) };
        let three =
            NewLogEvent { source: "db", token_prefix: Some("a%"), user: Some("77"), ..event("created", 3) };
        let other = NewLogEvent { target: "shop", user: Some("7"), ..event("created", 2) };
        insert(&store, &[one, two, three, other]);
        store.write(|db| mark_evaluated(db, 3, Some("gone"), "{}")).unwrap();
        let all = EVERYTHING;
        for (search, from, to, expected) in [
            (all.clone(), 1, 4, vec![3, 2, 1]),
            (all.clone(), 1, 3, vec![2, 1]),
            (all.clone(), 2, 2, vec![]),
            (LogEventSearch { kind: Some("created"), ..all.clone() }, 0, 9, vec![3, 1]),
            (LogEventSearch { kind: Some("CREATED"), ..all.clone() }, 0, 9, vec![]),
            (LogEventSearch { user: Some("7"), ..all.clone() }, 0, 9, vec![2, 1]),
            (LogEventSearch { user: Some("' OR '1'='1"), ..all.clone() }, 0, 9, vec![]),
            (LogEventSearch { token_prefix: Some("a%"), ..all.clone() }, 0, 9, vec![3]),
            (LogEventSearch { source: Some("db"), ..all.clone() }, 0, 9, vec![3]),
            (LogEventSearch { match_kind: Some("gone"), ..all.clone() }, 0, 9, vec![3]),
            (LogEventSearch { only_with_severity: true, ..all.clone() }, 0, 9, vec![2]),
            (LogEventSearch { kind: Some("created"), user: Some("7"), ..all.clone() }, 0, 9, vec![1]),
        ] {
            let period = Period { from: at(from), to: at(to) };
            let found = store.read(|db| search_log_events(db, "app", period, &search)).unwrap();
            assert_eq!(ids(&found), expected, "{search:?}");
            let paged = LogEventSearch { before_id: Some(2), limit: 1, ..search.clone() };
            let count = store.read(|db| count_matching_log_events(db, "app", period, &paged)).unwrap();
            assert_eq!(count, expected.len() as u64, "the count is that of all pages: {search:?}");
        }
    }
}

#[test]
fn pages_cover_every_event_once() {
    for store in store_of_each_kind() {
        let events: Vec<NewLogEvent<'_>> = (0..7).map(|_| event("created", 1)).collect();
        insert(&store, &events);
        for limit in [1, 3, 7, 8] {
            let (mut seen, mut before_id) = (vec![], None);
            loop {
                let search = LogEventSearch { before_id, limit, ..EVERYTHING };
                let page = store.read(|db| search_log_events(db, "app", Period::ALL_TIME, &search)).unwrap();
                assert!(page.len() <= limit as usize);
                let Some(last) = page.last() else { break };
                before_id = Some(last.id);
                seen.extend(ids(&page));
            }
            assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1], "{limit}");
        }
        let none = LogEventSearch { limit: 0, ..EVERYTHING };
        let page = store.read(|db| search_log_events(db, "app", Period::ALL_TIME, &none)).unwrap();
        assert_eq!(page, []);
    }
}

#[test]
fn urgent_events_are_evaluated_first_even_in_a_flood() {
    for store in store_of_each_kind() {
        let severities = [
            None,
            Some(Severity::Low),
            Some(Severity::High),
            Some(Severity::Medium),
            Some(Severity::Critical),
            Some(Severity::High),
            None,
        ];
        let events: Vec<NewLogEvent<'_>> =
            severities.map(|severity| NewLogEvent { severity, ..event("created", 1) }).into();
        insert(&store, &events);
        insert(
            &store,
            &[NewLogEvent { target: "shop", severity: Some(Severity::Critical), ..event("created", 1) }],
        );
        let next = |limit| ids(&store.read(|db| list_unevaluated_log_events(db, "app", limit)).unwrap());
        assert_eq!(next(100), [3, 5, 6, 1, 2, 4, 7]);
        assert_eq!(next(4), [3, 5, 6, 1]);
        assert_eq!(next(2), [3, 5]);
        assert_eq!(next(0), Vec::<i64>::new());
        store.write(|db| [3, 5, 1].iter().try_for_each(|id| mark_evaluated(db, *id, None, "{}"))).unwrap();
        assert_eq!(next(3), [6, 2, 4]);
    }
}

#[test]
fn events_are_counted_by_kind_and_match_kind() {
    for store in store_of_each_kind() {
        let critical =
            |kind, second| NewLogEvent { severity: Some(Severity::Critical), ..event(kind, second) };
        insert(
            &store,
            &[
                event("created", 1),
                event("created", 2),
                critical("duplicate-token", 2),
                critical("duplicate-token", 3),
                event("created", 4),
                NewLogEvent { target: "shop", ..critical("duplicate-token", 2) },
            ],
        );
        store.write(|db| mark_evaluated(db, 3, Some("exact"), "{}")).unwrap();
        let sorted = |mut counts: Vec<LogEventCount>| {
            counts.sort_by(|one, other| (&one.kind, &one.match_kind).cmp(&(&other.kind, &other.match_kind)));
            let row = |count: LogEventCount| (count.kind, count.match_kind, count.count);
            counts.into_iter().map(row).collect::<Vec<_>>()
        };
        let expected = |rows: &[(&str, Option<&str>, u64)]| {
            let owned = |(kind, fit, count): &(&str, Option<&str>, u64)| {
                ((*kind).to_owned(), fit.map(str::to_owned), *count)
            };
            rows.iter().map(owned).collect::<Vec<_>>()
        };
        let counted = store.read(|db| count_log_events(db, window("app", 1, 4))).unwrap();
        let duplicates = [("duplicate-token", None, 1), ("duplicate-token", Some("exact"), 1)];
        assert_eq!(sorted(counted), expected(&[&[("created", None, 2)], &duplicates[..]].concat()));
        let counted = store.read(|db| count_critical_log_events(db, window("app", 0, 9))).unwrap();
        assert_eq!(sorted(counted), expected(&duplicates));
        let counted = store.read(|db| count_log_events(db, window("app", 4, 4))).unwrap();
        assert_eq!(sorted(counted), expected(&[]));
    }
}

#[test]
fn the_latest_events_of_hundreds_of_kinds_are_found() {
    for store in store_of_each_kind() {
        // More kinds than one query takes.
        let names: Vec<String> = (0..=450).map(|number| format!("kind-{number}")).collect();
        let first_and_last = [names[0].as_str(), names[450].as_str()];
        let events: Vec<NewLogEvent<'_>> =
            (1..=3).flat_map(|second| first_and_last.map(|kind| event(kind, second))).collect();
        insert(&store, &events);
        let kinds: Vec<&str> = names.iter().map(String::as_str).collect();
        let latest = |window, kinds: &[&str], limit| {
            ids(&store.read(|db| list_latest_by_kind(db, window, kinds, limit)).unwrap())
        };
        assert_eq!(latest(window("app", 0, 9), &kinds, 2), [5, 3, 6, 4]);
        assert_eq!(latest(window("app", 0, 3), &kinds, 2), [3, 1, 4, 2]);
        assert_eq!(latest(window("app", 0, 9), &[names[0].as_str(), "'); --"], 9), [5, 3, 1]);
        assert_eq!(latest(window("app", 0, 9), &[], 9), Vec::<i64>::new());
        assert_eq!(latest(window("app", 0, 9), &kinds, 0), Vec::<i64>::new());
        assert_eq!(latest(window("shop", 0, 9), &kinds, 9), Vec::<i64>::new());
    }
}

#[test]
fn a_redelivered_entry_is_recognized_until_it_is_pruned() {
    for store in store_of_each_kind() {
        let add = |source, entry, second| {
            store.write(|db| insert_drain_entry(db, source, entry, at(second))).unwrap()
        };
        assert!(add("web", "e1", 5));
        assert!(!add("web", "e1", 6), "the same entry once more");
        assert!(add("db", "e1", 5), "an entry of another source");
        assert!(add("web", "E1", 5), "identifiers differ by case");
        assert!(add("web", "", 5) && !add("web", "", 5));
        insert(&store, &[event("created", 4), event("created", 5)]);
        store.write(|db| prune_log_events(db, at(5))).unwrap();
        let all = store.read(|db| search_log_events(db, "app", Period::ALL_TIME, &EVERYTHING)).unwrap();
        assert_eq!(ids(&all), [2], "an event read at the limit stays");
        assert!(!add("web", "e1", 7), "an entry received at the limit stays");
        let remove = |entry| store.write(|db| delete_drain_entry(db, "web", entry)).unwrap();
        assert!(remove("e1") && !remove("e1"));
        assert!(add("web", "e1", 8));
        store.write(|db| prune_log_events(db, at(9))).unwrap();
        assert!(add("web", "e1", 9) && add("db", "e1", 9));
        insert(&store, &[event("created", 10)]);
        let all = store.read(|db| search_log_events(db, "app", Period::ALL_TIME, &EVERYTHING)).unwrap();
        assert_eq!(ids(&all), [3], "the id of a pruned event is not given again");
    }
}
