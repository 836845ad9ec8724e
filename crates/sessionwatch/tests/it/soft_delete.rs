//! Rows that an application marks as deleted are no longer sessions.

use serde_json::Value;
use testkit::{find_check_result, run_program_in};

/// Three tokens on two live rows each, five on a live row and a deleted one, and 45 more deleted rows; 106 rows are
/// live.
const ROWS: &str = "
INSERT INTO users SELECT n, n || '@example.org' FROM SERIES(120);
INSERT INTO sessions (id, token, user_id, expires_at, created_at) SELECT n, 'token-of-a-usual-length-' || n, n, \
  LATER, NOW FROM SERIES(103);
INSERT INTO sessions (id, token, user_id, expires_at, created_at) SELECT 200 + n, 'token-of-a-usual-length-' || n, \
  n + 100, LATER, NOW FROM SERIES(3);
INSERT INTO sessions SELECT 300 + n, 'token-of-a-usual-length-' || (10 + n), n, LATER, NOW, MARK FROM SERIES(5);
INSERT INTO sessions SELECT 400 + n, 'deleted-token-of-a-usual-length-' || n, n, LATER, NOW, MARK FROM SERIES(45);
";

/// A marker column of this type, and its value in deleted rows.
fn schema(instant: &str, column: &str, kind: &str, mark: &str) -> String {
    let tables = format!(
        "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL);
         CREATE TABLE sessions (id bigint PRIMARY KEY, token text NOT NULL, \
           user_id bigint NOT NULL REFERENCES users (id),
           expires_at {instant} NOT NULL, created_at {instant} NOT NULL, \"{column}\" {kind});"
    );
    tables + &ROWS.replace("MARK", mark)
}

fn is_right(folder: &std::path::Path, url: &str, column: &str) {
    for engine in ["scan", "pushdown"] {
        let said = run_program_in(folder, &[], &["check", url, "--engine", engine, "--format", "json"]);
        let report = said.check_report();
        let stats = &report["stats"];
        assert_eq!((&stats["sessions"], &stats["active"]), (&106.into(), &106.into()), "{engine} {report:#}");
        let duplicates = find_check_result(&report, "duplicate-tokens");
        assert_eq!(
            (&duplicates["result"], &duplicates["value"]),
            (&"failing".into(), &3.0.into()),
            "{engine}"
        );
        assert!(
            report["notes"].to_string().contains(&format!("rows marked as deleted in `{column}`")),
            "{report:#}"
        );
    }
    for (command, rows) in [(&["cleanup", "duplicates"][..], 6), (&["revoke", "all"], 106)] {
        let said = run_program_in(folder, &[], &[command, &[url, "--format", "json"]].concat());
        let plan: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
        assert_eq!(plan["plan"]["rows"], rows, "{column} {command:?}");
    }
    let said = run_program_in(folder, &[], &["sessions", "list", url, "--limit", "1000", "--format", "json"]);
    let list: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
    assert_eq!(list["sessions"].as_array().unwrap().len(), 106, "{column}");
}

#[test]
fn on_a_server_deleted_rows_are_ignored() {
    let columns = [
        ("deleted_at", "timestamptz", "now()"),
        ("isRevoked", "boolean DEFAULT false", "true"),
        ("revoked", "integer", "1"),
        ("deleted_at", "bigint NOT NULL DEFAULT 0", "1790000000"),
        ("removedAt", "text NOT NULL DEFAULT ''", "'2026-01-31'"),
    ];
    for (column, kind, mark) in columns {
        let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
        let mut sql = schema("timestamptz", column, kind, mark);
        for count in ["120", "103", "45", "5", "3"] {
            sql = sql.replace(&format!("SERIES({count})"), &format!("generate_series(1, {count}) AS n"));
        }
        let sql =
            sql.replace("LATER", "now() + interval '20 days'").replace("NOW", "now() - interval '1 day'");
        database.psql(&sql).unwrap();
        is_right(folder.path(), &database.url("postgres"), column);
        // The role with minimal privileges sees the same.
        let (watch, act) = (testkit::create_role(&database, "watch"), testkit::create_role(&database, "act"));
        let said = testkit::run_program(&[
            "grants",
            &database.url("postgres"),
            "--watch-role",
            &watch,
            "--write-role",
            &act,
        ]);
        let grants = said.stdout.lines().filter(|line| !line.starts_with("CREATE ROLE")).collect::<Vec<_>>();
        database.psql(&grants.join("\n")).unwrap();
        is_right(folder.path(), &database.url(&watch), column);
    }
}

#[test]
fn in_a_file_deleted_rows_are_ignored() {
    for (column, kind, mark) in [
        ("deletedAt", "integer", "1790000000000"),
        ("is_deleted", "integer DEFAULT 0", "1"),
        ("revoked", "boolean", "1"),
        ("deleted_at", "integer NOT NULL DEFAULT 0", "1790000000"),
        ("removedAt", "text NOT NULL DEFAULT ''", "'2026-01-31'"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
        let mut sql = schema("integer", column, kind, mark);
        for count in ["120", "103", "45", "5", "3"] {
            let numbers = format!(
                "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s)"
            );
            sql = sql.replace(&format!("SERIES({count})"), &numbers);
        }
        let sql = sql
            .replace("LATER", "(unixepoch() + 86400 * 5) * 1000")
            .replace("NOW", "(unixepoch() - 86400) * 1000");
        file.execute_batch(&sql).unwrap();
        is_right(folder.path(), "app.db", column);
    }
}
