//! Checks that only the daemon can evaluate: comparisons of two check runs, and checks of logs. Each has changes that
//! pass it and changes that fail it; a new check that has neither fails here.

use std::{path::Path, sync::Arc};

use serde_json::{Value, json};
use sessionwatch_app::{
    app::status_summary::load_status_summary,
    checks::{LOG_CHECKS, LogCheckKind, TABLE_CHECKS},
};
use sessionwatch_core::{
    duration::{HOUR, SECOND},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{alerts, latest_reports};
use testkit::HttpSink;

use super::is_evaluated_by_one_run;
use crate::{
    fastforward::{MINUTE, Watch, monday},
    log_rotation::append,
    logs::{DUPLICATE, MISMATCH},
};

/// Changes of the healthy table between two check runs.
struct Fixture {
    /// Changes that pass the check.
    ordinary: &'static str,
    /// Changes that fail the check.
    tripping: &'static str,
    configuration: &'static str,
}

fn fixture(id: &str) -> Fixture {
    let configuration = "";
    match id {
        "token-reassigned" => Fixture {
            ordinary: r#"UPDATE sessions SET "sessionToken" = "sessionToken" || 'x' WHERE id = 's9'"#,
            tripping: r#"UPDATE sessions SET "userId" = 1 + "userId" % 60 WHERE id = 's9'"#,
            configuration,
        },
        "reappeared-sessions" => Fixture {
            ordinary: "DELETE FROM sessions WHERE id = 's9'",
            tripping: "INSERT INTO sessions VALUES ('again', 'token-' || md5('9'), 10, now() + interval '1 day')",
            configuration,
        },
        "rapid-creation" => Fixture {
            ordinary: "INSERT INTO sessions VALUES ('r0', 'rapid-0', 7, now() + interval '1 day')",
            tripping: "INSERT INTO sessions SELECT 'r' || n, 'rapid-' || n, 7, now() + interval '1 day' \
                FROM generate_series(1, 11) AS n",
            configuration,
        },
        "creation-rate" => Fixture {
            ordinary: "INSERT INTO sessions SELECT 'c' || n, 'spike-' || n, n, now() + interval '1 day' \
                FROM generate_series(1, 5) AS n",
            tripping: "INSERT INTO sessions SELECT 'd' || n, 'more-' || n, n, now() + interval '1 day' \
                FROM generate_series(1, 16) AS n",
            configuration: "[checks.creation-rate]\nmax = 20\n",
        },
        other => panic!("{other} has no table that trips it"),
    }
}

/// Result of a check in the last report.
fn verdict(watch: &Watch, id: &str) -> Value {
    let (_, report) =
        watch.shared.app.store.read(|db| latest_reports::find_report(db, "app")).unwrap().unwrap();
    testkit::find_check_result(&report, id)["result"].clone()
}

#[test]
fn each_comparing_check_passes_on_ordinary_changes_and_fails_for_its_own_reason() {
    for check in TABLE_CHECKS.into_iter().filter(|check| !is_evaluated_by_one_run(check)) {
        let Fixture { ordinary, tripping, configuration } = fixture(check.id);
        let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n{configuration}",
            database.url("postgres")
        );
        let mut watch = Watch::start(folder.path(), &text, monday());
        assert_eq!(verdict(&watch, check.id), "unknown", "{} at the first check run", check.id);
        for (minute, change, expected) in [(1, ordinary, "passing"), (2, tripping, "failing")] {
            database.psql(change).unwrap();
            watch.to(monday() + minute * MINUTE);
            assert_eq!(verdict(&watch, check.id), expected, "{}", check.id);
        }
        assert!(watch.stop());
    }
}

#[test]
fn a_check_that_is_not_due_keeps_its_result_in_the_report_and_the_state() {
    let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let shared_token = "INSERT INTO sessions
        SELECT 'x' || n, 'one-token', n, now() + interval '1 day' FROM generate_series(1, 2) AS n";
    database.psql(shared_token).unwrap();
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n\
         [checks.duplicate-tokens]\ninterval = \"1h\"\n[alerts.critical]\nsuccess_threshold = 1\n",
        database.url("postgres")
    );
    let mut watch = Watch::start(folder.path(), &text, monday());
    let report = |watch: &Watch| {
        watch.shared.app.store.read(|db| latest_reports::find_report(db, "app")).unwrap().unwrap().1
    };
    let checked_at = |watch: &Watch, id| testkit::find_check_result(&report(watch), id)["checked_at"].clone();
    let first_run = checked_at(&watch, "duplicate-tokens");
    watch.to(monday() + MINUTE);
    assert_eq!(
        (verdict(&watch, "duplicate-tokens"), &report(&watch)["result"]),
        ("failing".into(), &json!("failing"))
    );
    assert_eq!(checked_at(&watch, "duplicate-tokens"), first_run);
    assert_ne!(checked_at(&watch, "orphaned-sessions"), first_run);
    database.psql("DELETE FROM sessions WHERE id = 'x2'").unwrap();
    watch.to(monday() + HOUR);
    assert_eq!(
        (verdict(&watch, "duplicate-tokens"), &report(&watch)["result"]),
        ("passing".into(), &json!("passing"))
    );
    // The table is emptied: the hourly check is not due and still passes, all others are unknown.
    database.psql("DELETE FROM sessions").unwrap();
    watch.to(monday() + HOUR + MINUTE);
    assert_eq!(
        (verdict(&watch, "duplicate-tokens"), &report(&watch)["result"]),
        ("passing".into(), &json!("unknown"))
    );
    assert!(watch.stop());
}

/// Returns the state of the target, as all pages show it.
fn state(watch: &Watch) -> &'static str {
    let shared = Arc::clone(&watch.shared.app);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let summary = runtime.block_on(load_status_summary(&shared)).unwrap();
    summary.targets[0].state
}

/// Sends log lines of the application.
fn send(watch: &Watch, lines: &str) {
    let headers = [("authorization", "Bearer a-token-for-lines")];
    assert_eq!(testkit::http::post(&watch.address, "/ingest/logs", &headers, lines).status, 200);
}

/// Advances the clock until a check has this result.
fn comes_to(watch: &Watch, from: UtcTimestamp, check: &str, expected: &str) {
    let mut now = from;
    testkit::wait_until(&format!("{check} is {expected}"), || {
        now += 5 * SECOND;
        watch.set(now);
        let kept = watch.shared.app.store.read(|db| alerts::find_alert(db, "app", check)).unwrap();
        kept.and_then(|kept| kept.verdict).as_deref() == Some(expected)
    });
}

/// Makes a log check fail.
fn trip(id: &str, watch: &Watch, folder: &Path) {
    match id {
        "log-duplicate-token" => send(watch, DUPLICATE),
        "log-user-mismatch" => send(watch, MISMATCH),
        // Session s7 belongs to user 8.
        "log-user-conflict" => {
            send(watch, "[AUTH-ADAPTER] Session created { sessionToken: 'f47ac10b...', userId: 5 }");
        }
        "token-in-log" => send(watch, &format!("debug {{ sessionToken: '{}' }}", crate::logs::TOKEN)),
        "log-user-not-found" => {
            let line =
                |user: u32| format!("[AUTH-ADAPTER] User not found for session {{ userId: {user} }}\n");
            send(watch, &(0..11).map(line).collect::<String>());
        }
        // No lines are sent.
        "log-source-idle" => {}
        // Undecodable text, whenever it is read: UTF-16 in the middle of a file.
        "log-source-gap" => {
            let text: Vec<u8> = MISMATCH.encode_utf16().flat_map(u16::to_le_bytes).collect();
            append(&folder.join("app.log"), text);
        }
        other => panic!("{other} has no log that trips it"),
    }
}

#[test]
fn each_log_check_passes_on_ordinary_lines_and_fails_for_its_own_reason() {
    for check in LOG_CHECKS {
        let (database, folder, sink) =
            (testkit::healthy_database(), tempfile::tempdir().unwrap(), HttpSink::start(&[]).unwrap());
        database.psql(crate::logs::KNOWN).unwrap();
        let log = folder.path().join("app.log");
        std::fs::write(&log, "").unwrap();
        let is_of_file = check.kind == LogCheckKind::SourceGaps;
        let sources = if is_of_file {
            "[[logs]]\nname = \"file\"\nfile = \"app.log\"\n"
        } else {
            "[[logs]]\nname = \"lines\"\nkind = \"http\"\nsecret = \"a-token-for-lines\"\n"
        };
        let text = crate::logs::configuration(&database.url("postgres"), &sink.url(), sources);
        let mut watch = Watch::start(folder.path(), &text, monday());
        // A log that has never delivered a line proves nothing: the target is not healthy.
        comes_to(&watch, monday(), "log-user-mismatch", "unknown");
        assert_eq!(state(&watch), "unknown");
        for hour in 0..6 {
            watch.to(monday() + hour * HOUR + MINUTE);
            if is_of_file {
                append(&log, "GET / 200\n");
            } else {
                send(&watch, "GET / 200\n");
            }
        }
        comes_to(&watch, monday() + 5 * HOUR + 2 * MINUTE, check.id, "passing");
        comes_to(&watch, monday() + 5 * HOUR + 3 * MINUTE, "log-user-mismatch", "passing");
        assert_eq!(state(&watch), "passing");
        trip(check.id, &watch, folder.path());
        let later = if check.kind == LogCheckKind::IdleSource { 7 } else { 6 };
        comes_to(&watch, monday() + later * HOUR, check.id, "failing");
        assert!(watch.stop());
    }
}
