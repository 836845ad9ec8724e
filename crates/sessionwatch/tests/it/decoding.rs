//! Values that no version wrote into the store are an error in every command and page that reads them, with a hint.

use std::{fs, io::Read as _, path::Path, process::Stdio};

use rusqlite::Connection;
use sessionwatch_store::{Store, StoreLocation};

const STORE: &str = "sessionwatch-state.db";

/// A row of each table that commands show.
const ROWS: &str = "
INSERT INTO alerts (target, check_id, state, looks, clear, since, told, stale, severity, summary, \
  verdict, finding, updated_at)
  VALUES ('app', 'duplicate-tokens', 'firing', 1, 0, 5, NULL, 0, 'high', 's', 'failing', '{}', 9);
INSERT INTO outbox (id, idempotency_key, channel, message, created_at, next_at, state) \
  VALUES (1, 'k', 'hook', '{}', 1, 1, 'dead');
INSERT INTO latest_reports (target, at, report) VALUES ('app', 1, '{}');
INSERT INTO events (id, at, target, check_id, kind, summary, detail) \
  VALUES (1, CAST(strftime('%s', 'now') AS INTEGER) * 1000000 - 60000000, \
    'app', 'duplicate-tokens', 'firing', 's', '{}');
INSERT INTO incidents (id, target, severity, state, opened_at, opened_by, fields) \
  VALUES ('i', 'app', 'P0', 'open', 1, 'ada', '{}');
INSERT INTO timeline_entries (id, incident, at, actor, kind, step, said, detail) \
  VALUES (1, 'i', 1, 'ada', 'note', '', 's', '{}');
INSERT INTO log_events (id, source, target, kind, severity, seen_at, byte_from, byte_to, text, fit, joined)
  VALUES (1, 'web', 'app', 'own', 'high', 4000000000000000, 0, 1, 't', 'exact', '{}');
INSERT INTO log_sources (name, target, place, heard_at, rhythm, counters) VALUES ('web', 'app', NULL, 1, '', '{}');
INSERT INTO accounts (name, role, password, created_at) VALUES ('ada', 'admin', '', 1);
INSERT INTO api_tokens (id, hash, account, label, scopes, created_at, expires_at) \
  VALUES ('t', 'h', 'ada', 'l', 'read', 1, 2);";

/// A folder with an application, a daemon's store and an applied plan.
fn folder() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n[serve]\nlisten = \"127.0.0.1:0\"\n\
                [[logs]]\nname = \"web\"\nfile = \"web.log\"\n";
    fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    Connection::open(folder.path().join("app.db"))
        .unwrap()
        .execute_batch(
            "CREATE TABLE users (id TEXT PRIMARY KEY);
             CREATE TABLE sessions (id TEXT PRIMARY KEY, sessionToken TEXT NOT NULL UNIQUE, userId TEXT NOT NULL, \
               expires TEXT NOT NULL);
             INSERT INTO users VALUES ('u1');
             INSERT INTO sessions VALUES ('s1', 'token-number-one', 'u1', '2100-01-01T00:00:00.000Z'),
               ('s2', 'token-number-two', 'u1', '2100-01-01T00:00:00.000Z');",
        )
        .unwrap();
    drop(Store::open(&StoreLocation::File(folder.path().join(STORE))).unwrap());
    let made = testkit::run_program_in(folder.path(), &[], &["revoke", "session", "s2", "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    let plan = plan["plan"]["id"].as_str().unwrap().to_owned();
    let applied = ["apply", &plan, "--confirm", "app"];
    let applied = testkit::run_program_in(folder.path(), &[], &applied);
    assert_eq!(applied.exit_code, 0, "{}", applied.stderr);
    sql(folder.path(), ROWS);
    (folder, plan)
}

fn sql(folder: &Path, statements: &str) {
    let store = Connection::open(folder.join(STORE)).unwrap();
    store.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    store.execute_batch(statements).unwrap();
}

#[test]
fn commands_reject_undecodable_values_with_a_hint() {
    let (folder, plan) = folder();
    let apply = ["apply", &plan];
    let show = ["archive", "show", &plan];
    let restore = ["archive", "restore", &plan];
    // Valid JSON of the wrong shape, of this week.
    let counted = "'{\"stats\": {\"never_expiring\": \"many\"}, \"checked_at\": \"2026-01-31T12:00:00Z\"}', \
                   at = CAST(strftime('%s', 'now') AS INTEGER) * 1000000 - 60000000";
    let cases: [(&str, &str, &str, &[&[&str]]); 26] = [
        (
            "alerts",
            "state",
            "'paused'",
            &[&["alerts", "list"], &["alerts", "show", "app", "duplicate-tokens"]],
        ),
        ("alerts", "severity", "'urgent'", &[&["alerts", "list"]]),
        ("alerts", "verdict", "'fine'", &[&["alerts", "list"]]),
        ("alerts", "finding", "'{'", &[&["alerts", "show", "app", "duplicate-tokens"]]),
        ("alerts", "stale", "'perhaps'", &[&["alerts", "list"]]),
        ("outbox", "message", "'{'", &[&["notifications", "failed"]]),
        ("outbox", "message", "'{\"key\": 1}'", &[&["notifications", "failed"]]),
        ("events", "detail", "'{'", &[&["alerts", "history"], &["report", "history"]]),
        ("latest_reports", "report", "'{'", &[&["report", "checklist"]]),
        ("latest_reports", "report", counted, &[&["report", "checklist"]]),
        ("plans", "state", "'paused'", &[&apply, &["archive", "list"]]),
        ("plans", "about", "'\"Everything\"'", &[&apply, &restore, &["archive", "list"]]),
        ("plans", "summary", "''", &[&apply, &restore]),
        ("archive_batches", "state", "'melted'", &[&["archive", "list"], &show]),
        ("archive_batches", "fates", "x'07'", &[&["archive", "list"], &show]),
        ("archive_batches", "content", "x'ff'", &[&show, &restore]),
        ("incidents", "severity", "'P9'", &[&["incident", "list"], &["incident", "status"]]),
        ("incidents", "fields", "'[]'", &[&["incident", "list"], &["incident", "report"]]),
        ("incidents", "fields", "'{\"summary\": 7}'", &[&["incident", "list"], &["incident", "report"]]),
        (
            "timeline_entries",
            "detail",
            "'{\"done\": \"many\"}', kind = 'contained'",
            &[&["incident", "report"]],
        ),
        ("timeline_entries", "kind", "'sung'", &[&["incident", "status"]]),
        ("log_events", "severity", "'urgent'", &[&["logs", "events"]]),
        ("log_sources", "counters", "'[]'", &[&["logs", "sources"]]),
        ("accounts", "role", "'owner'", &[&["accounts", "list"]]),
        ("api_tokens", "scopes", "'read everything'", &[&["tokens", "list"]]),
        ("alerts", "updated_at", "-9000000000000000000", &[&["alerts", "list"]]),
    ];
    let kept = folder.path().join("kept.db");
    sql(folder.path(), "PRAGMA wal_checkpoint(TRUNCATE)");
    fs::copy(folder.path().join(STORE), &kept).unwrap();
    for (table, column, value, commands) in cases {
        is_refused(folder.path(), table, column, value, commands);
        fs::copy(&kept, folder.path().join(STORE)).unwrap();
    }
    let sound: [&[&str]; 3] = [&["alerts", "list"], &["archive", "list"], &["incident", "list"]];
    for command in sound {
        assert_eq!(testkit::run_program_in(folder.path(), &[], command).exit_code, 0, "{command:?}");
    }
}

/// Asserts that every command rejects the value of a column, and names its place.
fn is_refused(folder: &Path, table: &str, column: &str, value: &str, commands: &[&[&str]]) {
    sql(folder, &format!("UPDATE {table} SET {column} = {value}"));
    for command in commands {
        let said = testkit::run_program_in(folder, &[("USER", "ada")], command);
        let expected = format!("column `{column}` of table `{table}`");
        let refused = said.exit_code == 3 && said.stderr.contains(&expected) && said.stdout.is_empty();
        assert!(refused, "{table}.{column} {command:?}: {} {}{}", said.exit_code, said.stdout, said.stderr);
        assert!(said.stderr.contains("restore a backup"), "{command:?}: {}", said.stderr);
    }
    for name in ["-wal", "-shm"] {
        // The last connection to the store may have removed these files.
        let _ = fs::remove_file(folder.join(format!("{STORE}{name}")));
    }
}

#[test]
fn pages_reject_undecodable_values_and_the_daemon_is_not_ready() {
    let (folder, _) = folder();
    let mut watch = testkit::DaemonProcess::start_with_command(
        testkit::program_command(&["serve"]).current_dir(folder.path()).stderr(Stdio::piped()),
    );
    let page = |path: &str| testkit::http::get(&watch.address, path).into_status_and_text();
    testkit::wait_until("a run succeeds", || page("/readyz").0 == 200);
    sql(folder.path(), "UPDATE alerts SET state = 'paused'");
    let (status, said) = page("/metrics");
    assert!(status == 500 && said.contains("column `state` of table `alerts`"), "{status} {said}");
    assert_eq!((page("/readyz").0, page("/healthz").0), (503, 200));
    page("/metrics");
    watch.send_signal("TERM");
    let mut log = String::new();
    watch.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(log.matches("cannot read the store: cannot decode column `state`").count(), 1, "{log}");
    assert_eq!(watch.wait(), Some(0));
    // The daemon refuses to restart with an undecodable value.
    let said = testkit::start_expecting_refusal(folder.path());
    assert!(
        said.exit_code == 3 && said.stderr.contains("column `state` of table `alerts`"),
        "{}",
        said.stderr
    );
}
