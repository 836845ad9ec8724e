//! Tests of the log checks on a store, and of the correlation of single events.

use std::path::Path;

use proptest::prelude::*;
use sessionwatch_core::{
    duration::{HOUR, SECOND},
    log_gaps::GapCause,
};
use sessionwatch_store::{Store, log_events::NewLogEvent, log_sources};

use super::*;
use crate::logs::LogSourceRecord;

const TICK: SignedDuration = SignedDuration::from_micros(1);
const TARGET: &str = "[[target]]\nname = \"shop\"\nurl = \"postgres://u@h/d\"\n";
const SOURCE: &str = "[[logs]]\nname = \"web\"\nfile = \"web.log\"\n";

fn now() -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + 1_000 * DAY
}

/// Event of that kind about token `0a1b2c3d` of user 7, read an hour ago.
fn event(kind: &str) -> NewLogEvent<'_> {
    NewLogEvent {
        source: "web",
        target: "shop",
        kind,
        severity: Some(Severity::Critical),
        at: None,
        read_at: now() - HOUR,
        user: Some("7"),
        other_user: None,
        token_prefix: Some("0a1b2c3d"),
        expires_at: None,
        reason: None,
        request: None,
        byte_range: (0, 10),
        text: "event",
    }
}

fn store_of(events: &[NewLogEvent<'_>]) -> Store {
    let store = Store::open_in_memory().unwrap();
    store.write(|db| events.iter().try_for_each(|event| log_events::insert_log_event(db, event))).unwrap();
    store
}

/// Records that the source was active just now, with gaps.
fn read_source(store: &Store, gaps: Vec<StoredLogGap>) {
    let source = LogSourceRecord {
        name: "web".into(),
        target: "shop".into(),
        last_line_at: Some(now()),
        gaps,
        ..LogSourceRecord::default()
    };
    store.write(|db| log_sources::upsert_log_source(db, &source)).unwrap();
}

fn evaluate(store: &Store, more: &str) -> Vec<LogCheckResult> {
    let text = format!("{TARGET}{SOURCE}{more}");
    let config = Config::parse(Path::new("sessionwatch.toml"), &text).unwrap();
    let view = EvalInput { config: &config, target: "shop", now: now() };
    store.read(|db| evaluate_log_checks(db, view)).unwrap()
}

fn result_of(store: &Store, more: &str, id: &str) -> LogCheckResult {
    let results = evaluate(store, more);
    results.into_iter().find(|result| result.outcome.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

fn row(prefix: &str, id: &str, user: Option<&str>) -> ListedSession {
    ListedSession {
        token_prefix: Some(prefix.into()),
        id: Some(id.into()),
        user: user.map(Into::into),
        expires_at: None,
        created_at: Some(now() - 2 * HOUR),
        ip: None,
        agent: None,
        problem: None,
        display: vec![Some("<b>Ada</b>".into()), None],
    }
}

/// Stored event of that kind, one hour and two seconds before now by the log's clock.
fn stored_event(kind: &str, token_prefix: Option<&str>, users: &[&str]) -> LogEventRecord {
    LogEventRecord {
        id: 1,
        source: "web".into(),
        kind: kind.into(),
        severity: None,
        at: Some(now() - HOUR - 2 * SECOND),
        read_at: now() - HOUR,
        user: users.first().map(|user| (*user).to_owned()),
        other_user: users.get(1).map(|user| (*user).to_owned()),
        token_prefix: token_prefix.map(Into::into),
        reason: None,
        request: None,
        byte_range: (0, 10),
        text: "event".into(),
        match_kind: None,
        correlation: None,
    }
}

fn correlate(event: &LogEventRecord, matches: Vec<ListedSession>) -> (Option<MatchKind>, Value) {
    correlate_event(event, Ok(&PrefixLookup { matches, total_sessions: 9 }))
}

#[test]
fn an_event_without_a_token_or_without_a_table_is_not_correlated() {
    let named = stored_event("created", Some("0a1b2c3d"), &["7"]);
    let (kind, detail) = correlate_event(&named, Err("the database did not answer"));
    assert_eq!((kind, detail), (None, json!({ "why": "the database did not answer" })));
    let (kind, detail) = correlate(&stored_event("created", None, &["7"]), vec![row("0a1b2c3d", "1", None)]);
    assert_eq!((kind, detail), (None, json!({ "why": "the line contains no token" })));
}

#[test]
fn an_event_is_correlated_with_the_session_of_its_user() {
    let rows = || vec![row("0a1b2c3d", "1", Some("7")), row("0a1b2c3d", "2", Some("8"))];
    let (kind, detail) = correlate(&stored_event("refreshed", Some("0a1b2c3d"), &["8"]), rows());
    assert_eq!(kind, Some(MatchKind::Exact));
    let sessions = detail["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!((&sessions[0]["id"], &sessions[0]["user"]), (&json!("2"), &json!("8")));
    assert_eq!(sessions[0]["display"], json!(["<b>Ada</b>", null]));
    let (kind, _) = correlate(&stored_event("refreshed", Some("0a1b2c3d"), &["9"]), rows());
    assert_eq!(kind, Some(MatchKind::Contradicting));
    let (kind, detail) = correlate(&stored_event("refreshed", Some("0a1b2c3d"), &["7"]), vec![]);
    assert_eq!((kind, &detail["sessions"]), (Some(MatchKind::Gone), &json!([])));
    // Two users of one token are what such an event reports, and no contradiction or ambiguity.
    let (kind, detail) = correlate(&stored_event("duplicate-token", Some("0a1b2c3d"), &["7", "8"]), rows());
    assert_eq!((kind, detail["sessions"].as_array().map(Vec::len)), (Some(MatchKind::Exact), Some(2)));
}

#[test]
fn sessions_of_other_tokens_are_not_correlated() {
    for (shown, kind) in [
        ("0a1b2c3d", MatchKind::Exact),
        // The table shows fewer characters of a short token.
        ("0a1b2", MatchKind::Exact),
        ("0a1b", MatchKind::Gone),
        ("0a1b2c3e", MatchKind::Gone),
        ("0a1b2c3d4", MatchKind::Gone),
        ("", MatchKind::Gone),
    ] {
        let event = stored_event("refreshed", Some("0a1b2c3d"), &["7"]);
        let (found, _) = correlate(&event, vec![row(shown, "1", Some("7"))]);
        assert_eq!(found, Some(kind), "{shown}");
    }
}

#[test]
fn the_clocks_are_compared_only_by_a_creation_that_both_recorded() {
    let offset = |kind, prefix, rows| {
        let (_, detail) = correlate(&stored_event(kind, Some(prefix), &["7"]), rows);
        detail["clock_offset_us"].as_i64()
    };
    let own = || row("0a1b2c3d", "1", Some("7"));
    let expected = (HOUR - 2 * SECOND).as_micros();
    assert_eq!(offset("created", "0a1b2c3d", vec![own()]).map(i128::from), Some(expected));
    assert_eq!(offset("refreshed", "0a1b2c3d", vec![own()]), None);
    assert_eq!(offset("created", "0a1b2c3d", vec![own(), own()]), None);
    assert_eq!(offset("created", "0a1b2c3d", vec![row("0a1b2c3d", "1", Some("8"))]), None);
    let unknown = ListedSession { created_at: None, ..own() };
    assert_eq!(offset("created", "0a1b2c3d", vec![unknown]), None);
}

#[test]
fn a_longer_prefix_of_a_line_may_be_shown_shorter_by_the_table() {
    for (prefix, possible) in [
        ("", vec![""]),
        ("0a1b", vec!["0a1b"]),
        ("0a1b2", vec!["0a1b2"]),
        ("0a1b2c3", vec!["0a1b2", "0a1b2c", "0a1b2c3"]),
        ("äöüéàè", vec!["äöüéà", "äöüéàè"]),
    ] {
        assert_eq!(possible_prefixes(prefix), possible, "{prefix}");
    }
}

proptest! {
    #[test]
    fn every_possible_prefix_matches_the_token_it_was_derived_from(prefix: String) {
        let possible = possible_prefixes(&prefix);
        prop_assert_eq!(possible.last(), Some(&prefix));
        for shown in possible {
            prop_assert!(prefix_matches(&shown, &prefix), "{}", shown);
        }
    }
}

#[test]
fn no_event_is_no_proof_until_every_source_was_read() {
    let store = store_of(&[]);
    let unread = result_of(&store, "", "log-duplicate-token").outcome.outcome;
    assert_eq!(
        unread.verdict,
        CheckVerdict::Unknown("no line of log source `web` has been read yet".into()),
        "{unread:?}"
    );
    read_source(&store, vec![]);
    for result in evaluate(&store, "") {
        assert_eq!(result.outcome.outcome.verdict, CheckVerdict::Passing, "{}", result.outcome.id);
    }
    let second = format!("{SOURCE}target = \"shop\"\n").replace("web", "jobs");
    let silent = result_of(&store, &second, "log-user-mismatch").outcome.outcome;
    assert_eq!(
        silent.verdict,
        CheckVerdict::Unknown("no line of log source `jobs` has been read yet".into())
    );
}

#[test]
fn events_fail_a_check_even_if_others_may_be_missing() {
    let store = store_of(&[event("user-mismatch")]);
    let found = result_of(&store, "", "log-user-mismatch").outcome.outcome;
    assert_eq!(found.verdict, CheckVerdict::Failing);
}

#[test]
fn a_check_fails_above_its_limit_and_counts_only_its_window_and_target() {
    let seen = |read_at| NewLogEvent { read_at, ..event("user-not-found") };
    let inside = [now() - HOUR, now() - TICK, now(), now() + HOUR];
    // After the clock was set back, recent events have a later time than now.
    let outside = [now() - HOUR - TICK, now() + DAY];
    let mut events: Vec<NewLogEvent<'_>> = inside.iter().cycle().take(10).map(|at| seen(*at)).collect();
    events.extend(outside.map(seen));
    events.push(NewLogEvent { target: "app", ..seen(now()) });
    events.push(event("refreshed"));
    for (more, verdict, count) in
        [(0, CheckVerdict::Passing, "10"), (1, CheckVerdict::Failing, "11"), (2, CheckVerdict::Failing, "12")]
    {
        let extra = (0..more).map(|_| seen(now()));
        let store = store_of(&events.iter().copied().chain(extra).collect::<Vec<_>>());
        read_source(&store, vec![]);
        let found = result_of(&store, "", "log-user-not-found").outcome.outcome;
        assert_eq!(found.verdict, verdict, "{more}");
        let summary = format!("{count} `user-not-found` events in the last 60 minutes");
        assert!(found.summary.starts_with(&summary), "{}", found.summary);
        assert_eq!(found.threshold, "> 10 in 60 minutes");
    }
}

#[test]
fn a_critical_event_that_no_session_confirms_is_lowered_but_not_dropped() {
    let store = store_of(&[event("duplicate-token")]);
    read_source(&store, vec![]);
    for (kind, severity) in [
        (None, Severity::High),
        (Some("gone"), Severity::High),
        (Some("ambiguous"), Severity::High),
        (Some("contradicting"), Severity::High),
        (Some("exact"), Severity::Critical),
    ] {
        store.write(|db| log_events::mark_evaluated(db, 1, kind, "{\"sessions\":[]}")).unwrap();
        let result = result_of(&store, "", "log-duplicate-token").outcome;
        assert_eq!(
            (result.severity, &result.outcome.verdict),
            (severity, &CheckVerdict::Failing),
            "{kind:?}"
        );
        let is_unconfirmed = result.outcome.summary.contains("; unconfirmed: ");
        assert_eq!(is_unconfirmed, severity == Severity::High, "{kind:?}: {}", result.outcome.summary);
    }
}

#[test]
fn the_confirmed_event_comes_first_even_if_forged_ones_are_newer() {
    let forged = NewLogEvent { token_prefix: Some("ffffffff"), user: Some("66"), ..event("duplicate-token") };
    let mut events = vec![event("duplicate-token")];
    events.extend(std::iter::repeat_n(forged, 20));
    let store = store_of(&events);
    let joined = json!({ "sessions": [{ "id": "s-1", "user": "7", "expires_at": "2026-01-31T00:00:00Z" }] });
    store.write(|db| log_events::mark_evaluated(db, 1, Some("exact"), &joined.to_string())).unwrap();
    let result = result_of(&store, "", "log-duplicate-token");
    assert_eq!(result.outcome.severity, Severity::Critical);
    assert_eq!(result.events.len(), 10);
    assert_eq!((result.events[0].id, result.events[1].id), (1, 21));
    let first = &result.outcome.evidence[0];
    assert_eq!((first.id.as_deref(), first.user.as_deref(), first.rows), (Some("s-1"), Some("7"), 1));
    assert_eq!(first.expires_at, clock::parse_rfc3339("2026-01-31T00:00:00Z"));
    let summary = &result.outcome.outcome.summary;
    assert!(summary.contains("; confirmed: token 0a1b2c3d…, user 7, session s-1"), "{summary}");
}

#[test]
fn hostile_fields_of_a_line_do_not_reach_the_summary() {
    let store = store_of(&[NewLogEvent {
        user: Some("7\u{1b}]0;pwned\u{7}\n"),
        other_user: Some("\u{202e}8"),
        token_prefix: Some("\u{0}abc"),
        ..event("user-mismatch")
    }]);
    let damaged = json!({ "sessions": "none", "why": "x\u{1b}[2J" });
    store.write(|db| log_events::mark_evaluated(db, 1, None, &damaged.to_string())).unwrap();
    let result = result_of(&store, "", "log-user-mismatch").outcome;
    let summary = &result.outcome.summary;
    assert!(!summary.chars().any(|letter| letter.is_control() || letter == '\u{202e}'), "{summary:?}");
    assert!(summary.contains("not correlated: x"), "{summary}");
    assert_eq!(result.evidence[0].rows, 0);
}

#[test]
fn a_custom_check_keeps_its_severity_and_a_disabled_check_does_not_run() {
    let store = store_of(&[event("password-failures"), event("duplicate-token")]);
    let own = "[[log_check]]\nname = \"password-failures\"\nliteral = \"failed\"\nseverity = \"critical\"\n\
               action = \"look\"\n[checks.log-duplicate-token]\nenabled = false\n";
    let result = result_of(&store, own, "password-failures").outcome;
    assert_eq!((result.severity, result.action.as_str()), (Severity::Critical, "look"));
    assert_eq!(result.outcome.verdict, CheckVerdict::Failing);
    assert!(evaluate(&store, own).iter().all(|result| result.outcome.id != "log-duplicate-token"));
}

#[test]
fn contradictions_of_any_kind_of_event_are_counted_together() {
    let store = store_of(&[event("created"), event("refreshed"), event("refreshed")]);
    read_source(&store, vec![]);
    let joined = json!({ "sessions": [{ "id": "s-1", "user": "8" }] }).to_string();
    store
        .write(|db| {
            log_events::mark_evaluated(db, 1, Some("contradicting"), &joined)?;
            log_events::mark_evaluated(db, 2, Some("contradicting"), &joined)?;
            log_events::mark_evaluated(db, 3, Some("exact"), &joined)
        })
        .unwrap();
    let result = result_of(&store, "", "log-user-conflict");
    let ids: Vec<i64> = result.events.iter().map(|event| event.id).collect();
    assert_eq!(ids, [2, 1]);
    assert_eq!(
        result.outcome.outcome.summary,
        "2 contradictions between log and database in the last 60 minutes; the latest: token 0a1b2c3d…, user 7, \
         stored session belongs to user 8"
    );
    assert_eq!(result.outcome.severity, Severity::Critical, "the stored session is the proof");
}

#[test]
fn a_recent_gap_fails_and_an_old_one_does_not() {
    let gap = |at, bytes| StoredLogGap { at, cause: GapCause::Truncated, bytes };
    for (gaps, verdict, summary) in [
        (vec![], CheckVerdict::Passing, "0 log gaps in the last 60 minutes"),
        (vec![gap(now() - HOUR, Some(9))], CheckVerdict::Passing, "0 log gaps in the last 60 minutes"),
        (
            vec![gap(now() - HOUR + TICK, Some(1_500))],
            CheckVerdict::Failing,
            "1 log gap in the last 60 minutes; the latest, in `web`: the file was truncated, and no rotated file \
             holds the rest of its lines (1,500 bytes)",
        ),
        (
            vec![gap(now(), None), gap(now() - SECOND, Some(1))],
            CheckVerdict::Failing,
            "2 log gaps in the last 60 minutes; the latest, in `web`: the file was truncated, and no rotated file \
             holds the rest of its lines",
        ),
    ] {
        let store = store_of(&[]);
        read_source(&store, gaps);
        let found = result_of(&store, "", "log-source-gap").outcome.outcome;
        assert_eq!((found.verdict, found.summary.as_str()), (verdict, summary));
    }
}

#[test]
fn the_window_of_a_limit_is_named_in_minutes_or_else_in_seconds() {
    for (window, text) in [
        ("1m", "1 minute"),
        ("61s", "61 seconds"),
        ("90s", "90 seconds"),
        ("2m", "2 minutes"),
        ("1h", "60 minutes"),
        ("3601s", "3,601 seconds"),
        ("7d", "10,080 minutes"),
    ] {
        let own = format!("[[log_check]]\nname = \"mine\"\nliteral = \"failed\"\nwindow = \"{window}\"\n");
        let found = result_of(&store_of(&[]), &own, "mine").outcome.outcome;
        assert_eq!(found.threshold, format!("> 0 in {text}"));
    }
}
