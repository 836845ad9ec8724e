//! Seconds and milliseconds in one column: each row is read in its own unit, and no live session seems to have expired
//! in 1970.

use serde_json::Value;
use testkit::{find_check_result, run_program_in};

/// 1800 sessions of Better Auth: 60 in another unit, 45 of them live, and 100 expired ones among the others.
const SCHEMA: &str = r#"
CREATE TABLE "user" (id text PRIMARY KEY, name text NOT NULL, email text NOT NULL);
CREATE TABLE session (id text PRIMARY KEY, token text NOT NULL UNIQUE, user_id text NOT NULL REFERENCES "user" (id),
  expires_at KIND NOT NULL,
  created_at KIND NOT NULL, updated_at KIND NOT NULL, ip_address text, user_agent text);
"#;

/// The rows, with `{number}` for a number of seconds in the unit of the row.
fn rows(from: u32, to: u32, instant: &str, each: i64) -> String {
    let mut sql = String::new();
    for number in from..to {
        sql.push_str(&format!(
            "INSERT INTO \"user\" VALUES ('u{number}', 'Person', 'p{number}@example.org');\n\
             INSERT INTO session VALUES ('s{number}', 'token-of-a-usual-length-{number:08}', 'u{number}', \
               ({instant}) * {each}, \
             (NOW - 86400) * {each}, (NOW - 86400) * {each}, NULL, NULL);\n"
        ));
    }
    sql
}

fn table(main: i64, other: i64) -> String {
    let day = 86_400;
    [
        rows(0, 15, &format!("NOW - {}", 3 * day + 3_600), other),
        rows(15, 60, &format!("NOW + {}", 3 * day), other),
        rows(60, 160, &format!("NOW - {}", 2 * day), main),
        rows(160, 1_800, &format!("NOW + {}", 6 * day), main),
    ]
    .concat()
}

fn is_right(folder: &std::path::Path, url: &str) {
    for engine in ["scan", "pushdown"] {
        let said = run_program_in(folder, &[], &["check", url, "--engine", engine, "--format", "json"]);
        let report = said.check_report();
        let stats = &report["stats"];
        assert_eq!(
            (&stats["active"], &stats["expired"]),
            (&1_685.into(), &115.into()),
            "{engine} {report:#}"
        );
        let backlog = find_check_result(&report, "expired-backlog");
        assert!(backlog["summary"].as_str().unwrap().contains("expired 3 days ago"), "{backlog:#}");
    }
    let said = run_program_in(folder, &[], &["cleanup", "expired", url, "--format", "json"]);
    let plan: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
    assert_eq!((&plan["plan"]["rows"], &plan["plan"]["active"]), (&115.into(), &0.into()), "{plan:#}");
    let doctor = run_program_in(folder, &[], &["doctor", url]);
    assert!(
        doctor.stdout.contains("warn  expiry-units: 60 expiry times are stored in "),
        "{}",
        doctor.stdout
    );
}

#[test]
fn on_a_server_each_row_is_read_in_its_own_unit() {
    for (main, other) in [(1_000, 1), (1, 1_000)] {
        let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
        let now = "EXTRACT(EPOCH FROM now())::bigint";
        let sql = SCHEMA.replace("KIND", "bigint") + &table(main, other).replace("NOW", now);
        database.psql(&format!("BEGIN;\n{sql}COMMIT")).unwrap();
        is_right(folder.path(), &database.url("postgres"));
    }
}

#[test]
fn in_a_file_each_row_is_read_in_its_own_unit() {
    for (main, other) in [(1_000, 1), (1, 1_000)] {
        let folder = tempfile::tempdir().unwrap();
        let file = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
        let sql = SCHEMA.replace("KIND", "integer") + &table(main, other).replace("NOW", "unixepoch()");
        file.execute_batch(&format!("BEGIN;\n{sql}COMMIT")).unwrap();
        is_right(folder.path(), "app.db");
    }
}
