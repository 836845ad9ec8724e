//! The daemon ends running plans when it stops: after the current batch, with an audit log entry.

use serde_json::Value;
use sessionwatch_store::{Store, StoreLocation, archive_batches};
use testkit::run_program_in;

/// More sessions than can be removed before the daemon is asked to stop.
const ROWS: u32 = 60_000;

#[test]
fn a_plan_applied_from_a_page_ends_cleanly_with_the_daemon() {
    let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    let sessions = format!(
        "CREATE TABLE users (id text PRIMARY KEY, name text);
         CREATE TABLE sessions (id text PRIMARY KEY, \"sessionToken\" text NOT NULL UNIQUE, \"userId\" text NOT NULL, \
           expires timestamptz NOT NULL);
         INSERT INTO users VALUES ('u', 'Ada');
         INSERT INTO sessions SELECT n, 'token-of-a-usual-length-' || n, 'u', now() + interval '5 days' \
           FROM generate_series(1, {ROWS}) AS n"
    );
    database.psql(&sessions).unwrap();
    let url = database.url("postgres");
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n"
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    testkit::create_account(folder.path(), "ada", "admin");
    let token = ["tokens", "add", "ada", "--label", "bot", "--scope", "read,actions"];
    let token = run_program_in(folder.path(), &[], &token).stdout;
    let watch = testkit::DaemonProcess::start(folder.path());
    let bearer = format!("Bearer {}", token.trim());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let ask = |path: &str, body: &str| {
        let answer = watch.post(path, &headers, body);
        assert!(answer.status < 300, "{answer:?}");
        answer.parse_json()
    };
    let plan = ask("/api/v1/targets/app/plans", "{\"kind\":\"all\"}");
    let id = plan["id"].as_str().unwrap().to_owned();
    ask(&format!("/api/v1/plans/{id}/apply"), "{\"confirm\":\"app\"}");
    let left = || database.psql("SELECT count(*) FROM sessions").unwrap().trim().parse::<u32>().unwrap();
    testkit::wait_until("the first batch", || left() < ROWS);
    assert_eq!(watch.stop(), Some(0));
    let (left, store) =
        (left(), Store::open(&StoreLocation::File(folder.path().join("sessionwatch-state.db"))).unwrap());
    assert!(left > 0, "it was asked to stop before the end");
    // No batch is in doubt, and the work done is recorded.
    assert_eq!(store.read(|db| archive_batches::list_unsettled_batches(db, "app")).unwrap(), []);
    let held: u64 = store
        .read(archive_batches::list_archive_summaries)
        .unwrap()
        .iter()
        .map(|held| held.restorable_rows)
        .sum();
    assert_eq!(held, u64::from(ROWS - left));
    let kept = rusqlite::Connection::open(folder.path().join("sessionwatch-state.db")).unwrap();
    let ended = "SELECT detail FROM audit WHERE action = 'plan.applied'";
    let detail: String = kept.query_row(ended, [], |row| row.get(0)).unwrap();
    let detail: Value = serde_json::from_str(&detail).unwrap();
    assert_eq!(detail["remaining"], left, "{detail}");
}
