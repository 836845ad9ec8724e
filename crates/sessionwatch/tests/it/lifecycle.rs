//! The life of alerts under a clock that the test sets: silences, maintenance, restarts, and findings that need time.

use std::path::Path;

use serde_json::Value;
use sessionwatch_core::{alert::AlertState, duration::HOUR};
use sessionwatch_store::{
    alerts,
    silences::{self, SilenceRecord},
};
use testkit::{Database, HttpSink};

use crate::fastforward::{MINUTE, Watch, monday};

/// A target that is checked every minute, and a channel.
fn configuration(database: &Database<'_>, sink: &HttpSink, more: &str) -> String {
    format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n[checks.slow-check-run]\nenabled = false\n\
         [serve]\nlisten = \"127.0.0.1:0\"\n[[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n{more}",
        database.url("postgres"),
        sink.url()
    )
}

/// Notifications: check and notice.
pub(crate) fn list_notifications(sink: &HttpSink) -> Vec<String> {
    let line = |body: String| {
        let message: Value = serde_json::from_str(&body).unwrap();
        format!("{} {}", message["check"].as_str().unwrap(), message["notice"].as_str().unwrap())
    };
    sink.received_requests().into_iter().map(|received| line(received.body)).collect()
}

/// Creates a silence.
fn silence(
    check: &str,
    subject: Option<&str>,
    until: sessionwatch_core::timestamp::UtcTimestamp,
) -> SilenceRecord {
    SilenceRecord {
        id: 0,
        target: None,
        check: Some(check.into()),
        subject: subject.map(str::to_owned),
        ends_at: until,
        created_by: "ada".into(),
        note: "known".into(),
    }
}

/// Runs checks in each of these minutes.
fn minutes(watch: &mut Watch, minutes: std::ops::RangeInclusive<i32>) {
    for minute in minutes {
        watch.to(monday() + minute * MINUTE);
    }
}

fn leak(database: &Database<'_>, ids: &str, token: &str) {
    let sql = format!(r#"UPDATE sessions SET "sessionToken" = '{token}' || id WHERE id IN ({ids})"#);
    database.psql(&sql.replace("' || id", if token == "same-token" { "'" } else { "' || id" })).unwrap();
}

#[test]
fn a_silence_for_a_user_does_not_cover_findings_about_others() {
    let (database, sink) = (testkit::healthy_database(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut watch = Watch::start(folder.path(), &configuration(&database, &sink, ""), monday());
    let store = &watch.shared.app.store;
    for user in ["2", "3"] {
        store
            .write(|db| {
                silences::insert_silence(
                    db,
                    &silence("duplicate-tokens", Some(user), monday() + HOUR),
                    monday(),
                )
            })
            .unwrap();
    }
    // Sessions s1 and s2 belong to users 2 and 3.
    leak(&database, "'s1', 's2'", "same-token");
    minutes(&mut watch, 1..=3);
    watch.delivered();
    assert!(list_notifications(&sink).is_empty(), "{:?}", list_notifications(&sink));
    leak(&database, "'s1', 's2', 's3'", "same-token");
    minutes(&mut watch, 4..=4);
    watch.delivered();
    assert_eq!(list_notifications(&sink), ["duplicate-tokens firing"]);
    assert!(watch.stop());
}

#[test]
fn alerts_still_firing_after_a_silence_or_maintenance_are_notified_then() {
    let (database, sink) = (testkit::healthy_database(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let window =
        "[[maintenance_window]]\ncron = \"2 6 * * *\"\nduration = \"5m\"\nchecks = [\"duplicate-tokens\"]\n";
    let mut watch = Watch::start(folder.path(), &configuration(&database, &sink, window), monday());
    leak(&database, "'s1', 's2'", "same-token");
    minutes(&mut watch, 2..=4);
    watch.delivered();
    assert!(list_notifications(&sink).is_empty(), "in maintenance: {:?}", list_notifications(&sink));
    minutes(&mut watch, 7..=7);
    watch.delivered();
    assert_eq!(list_notifications(&sink), ["duplicate-tokens firing"]);
    leak(&database, "'s1', 's2'", "new-");
    minutes(&mut watch, 8..=9);
    watch.delivered();
    assert_eq!(list_notifications(&sink).last().map(String::as_str), Some("duplicate-tokens resolved"));
    watch
        .shared
        .app
        .store
        .write(|db| {
            silences::insert_silence(db, &silence("duplicate-tokens", None, monday() + 20 * MINUTE), monday())
        })
        .unwrap();
    leak(&database, "'s1', 's2'", "same-token");
    minutes(&mut watch, 10..=12);
    // Nobody was notified of it, so nobody is notified of its end.
    leak(&database, "'s1', 's2'", "newer-");
    minutes(&mut watch, 13..=15);
    watch.delivered();
    assert_eq!(list_notifications(&sink).len(), 2, "{:?}", list_notifications(&sink));
    leak(&database, "'s1', 's2'", "same-token");
    minutes(&mut watch, 16..=20);
    watch.delivered();
    assert_eq!(list_notifications(&sink).len(), 3, "{:?}", list_notifications(&sink));
    assert!(watch.stop());
}

#[test]
fn an_unreachable_database_silences_everything_but_itself() {
    let (database, sink) = (testkit::healthy_database(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let often = "[alerts.critical]\nrepeat_interval = \"2m\"\n";
    let mut watch = Watch::start(folder.path(), &configuration(&database, &sink, often), monday());
    leak(&database, "'s1', 's2'", "same-token");
    minutes(&mut watch, 1..=1);
    database.psql("ALTER TABLE sessions RENAME COLUMN expires TO gone").unwrap();
    minutes(&mut watch, 2..=4);
    watch.delivered();
    assert_eq!(list_notifications(&sink), ["duplicate-tokens firing", "target-unreachable firing"]);
    let kept =
        watch.shared.app.store.read(|db| alerts::find_alert(db, "app", "duplicate-tokens")).unwrap().unwrap();
    assert!(kept.alert.is_stale && matches!(kept.alert.state, AlertState::Firing { .. }), "{kept:?}");
    assert!(kept.summary.contains("1 duplicate token"), "{}", kept.summary);
    database.psql("ALTER TABLE sessions RENAME COLUMN gone TO expires").unwrap();
    leak(&database, "'s1', 's2'", "new-");
    minutes(&mut watch, 7..=8);
    watch.delivered();
    assert_eq!(list_notifications(&sink)[2..], ["target-unreachable resolved", "duplicate-tokens resolved"]);
    assert!(watch.stop());
}

#[test]
fn a_restart_still_sees_changes_that_happened_while_stopped() {
    let (database, sink) = (testkit::healthy_database(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(&database, &sink, "");
    let mut watch = Watch::start(folder.path(), &text, monday());
    database.psql("DELETE FROM sessions WHERE id = 's5'").unwrap();
    minutes(&mut watch, 1..=1);
    assert!(watch.stop());
    database
        .psql(
            r#"UPDATE sessions SET "userId" = "userId" % 60 + 1 WHERE id = 's9';
               INSERT INTO sessions SELECT 's5', 'token-' || md5('5'), 6, now() + interval '1 hour'"#,
        )
        .unwrap();
    let mut watch = Watch::start(folder.path(), &text, monday() + 90 * MINUTE);
    watch.delivered();
    let mut notifications = list_notifications(&sink);
    notifications.sort();
    assert_eq!(notifications, ["reappeared-sessions firing", "token-reassigned firing"]);
    assert!(watch.stop());
    no_token_in(folder.path());
}

/// Asserts that no file of the daemon holds more of a token than its prefix.
fn no_token_in(folder: &Path) {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let content = std::fs::read(entry.path()).unwrap();
        bytes += content.len();
        // Tokens of the operator guide's tables: `token-` and 32 hexadecimal digits, of which 2 may be stored.
        let found = content
            .windows(12)
            .any(|part| part.starts_with(b"token-") && part[6..].iter().all(u8::is_ascii_hexdigit));
        assert!(!found, "a token in {}", entry.path().display());
    }
    assert!(bytes > 10_000, "there is a store to look into");
}

#[test]
fn a_day_without_logins_is_detected() {
    let (database, sink) = (testkit::healthy_database(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let usual = "[checks.creation-rate]\nmin = 10\nmax = 50\n";
    let hourly =
        configuration(&database, &sink, usual).replace("[checks.slow", "interval = \"1h\"\n[checks.slow");
    let mut watch = Watch::start(folder.path(), &hourly, monday());
    for hour in 1..=24 {
        watch.to(monday() + hour * HOUR);
    }
    watch.delivered();
    assert_eq!(list_notifications(&sink), ["creation-rate firing"]);
    let message: Value = serde_json::from_str(&sink.received_requests()[0].body).unwrap();
    let expected = "at most 0 sessions created in any hour of the last day (baseline: 10 to 50)";
    assert_eq!(message["summary"], expected);
    assert!(watch.stop());
}

#[test]
fn the_checklist_is_sent_each_week() {
    let (database, sink) = (testkit::healthy_database(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let report = "[report]\nchannels = [\"hook\"]\n[checks.creation-rate]\nmin = 0\n";
    let daily =
        configuration(&database, &sink, report).replace("[checks.slow", "interval = \"6h\"\n[checks.slow");
    let mut watch = Watch::start(folder.path(), &daily, monday());
    // The test begins on a Monday at 06:00, and the checklist is due at 07:00.
    for quarter in 1..=30 {
        watch.to(monday() + quarter * 6 * HOUR);
    }
    let received = sink.wait_for_requests(2);
    watch.delivered();
    assert_eq!(list_notifications(&sink), ["checklist report", "checklist report"]);
    let message: Value = serde_json::from_str(&received[1].body).unwrap();
    assert!(message["summary"].as_str().unwrap().contains("app"), "{message}");
    let text = message["text"].as_str().unwrap();
    assert!(text.contains("duplicate"), "{text}");
    assert!(watch.stop());
}
