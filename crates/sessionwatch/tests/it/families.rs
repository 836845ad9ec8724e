//! Sessions that refer to other sessions, and that the database deletes with them, are rows of the plan.

use std::path::Path;
use testkit::run_program_in;

use serde_json::Value;

/// 60 expired sessions, each with a live child, every tenth of those with a live child of its own; more than one batch
/// of others. Children have lower or higher numbers than their parents.
fn tables(of: i64) -> String {
    format!(
        r#"CREATE TABLE users (id text PRIMARY KEY, name text, email text);
        CREATE TABLE sessions (id integer PRIMARY KEY, "sessionToken" text NOT NULL UNIQUE,
          "userId" text NOT NULL REFERENCES users (id),
          expires INSTANT NOT NULL, parent integer REFERENCES sessions (id) ON DELETE CASCADE);
        CREATE TABLE carts (id integer PRIMARY KEY, session integer REFERENCES sessions (id) ON DELETE CASCADE);
        INSERT INTO users SELECT 'u' || n, 'User ' || n, 'u' || n || '@example.org' FROM SERIES(100);
        INSERT INTO sessions SELECT 10000 + n, 'token-of-a-usual-length-p' || n, 'u' || (1 + n % 100), ENDED,
          NULL FROM SERIES(1500);
        INSERT INTO sessions SELECT 10000 + ({of}) * n, 'token-of-a-usual-length-c' || n, 'u' || (1 + n % 100), LATER,
          10000 + n FROM SERIES(60);
        INSERT INTO sessions SELECT 10000 + ({of}) * (60 + n), 'token-of-a-usual-length-g' || n, 'u' || n, LATER,
          10000 + ({of}) * 10 * n FROM SERIES(6);
        INSERT INTO sessions SELECT 50000 + n, 'token-of-a-usual-length-l' || n, 'u' || n, LATER, NULL FROM SERIES(100);
        INSERT INTO carts SELECT 10 + n, 10000 + ({of}) * n FROM SERIES(60);"#
    )
}

fn filled(of: i64, instant: &str, ended: &str, later: &str) -> String {
    let mut sql = tables(of).replace("INSTANT", instant).replace("ENDED", ended).replace("LATER", later);
    for count in [1500, 100, 60, 6] {
        let series = format!(
            "(WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n \
               FROM s) AS series"
        );
        sql = sql.replace(&format!("SERIES({count})"), &series);
    }
    sql
}

const MAPPING: &str = "[target.mapping]\nsessions = \"sessions\"\nid = \"id\"\n\
    token = \"sessionToken\"\nexpires = \"expires\"\n\
    user = \"userId\"\nusers = \"users\"\n";

fn configure(folder: &Path, url: &str, decoder: &str) {
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n{MAPPING}decoder = \"{decoder}\"\n"
    );
    std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
}

fn document(folder: &Path, arguments: &[&str]) -> Value {
    let said = run_program_in(folder, &[], &[arguments, &["--format", "json"]].concat());
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {}", said.stderr))
}

fn apply(folder: &Path, plan: &Value) -> Value {
    let id = plan["id"].as_str().unwrap();
    document(folder, &["apply", id, "--confirm", "app"])["applied"].clone()
}

/// Dependent sessions are named, counted and archived before their parents, and restored after them.
fn go_along_and_come_back(folder: &Path, query: impl Fn(&str) -> String) {
    const ALL: &str = "SELECT id, \"sessionToken\", expires, parent FROM sessions ORDER BY id";
    const CARTS: &str = "SELECT id, session FROM carts ORDER BY id";
    let before = (query(ALL), query(CARTS));
    let cleanup = ["cleanup", "expired"];
    let plan = document(folder, &cleanup)["plan"].clone();
    assert_eq!((&plan["rows"], &plan["active"]), (&1_566.into(), &66.into()), "{plan:#}");
    let notes = plan["notes"].to_string();
    assert!(notes.contains("also deletes 66 rows of") && notes.contains("66 active sessions"), "{notes}");
    assert!(notes.contains("also deletes 60 rows of"), "{notes}");
    assert!(!notes.contains("nobody"), "{notes}");
    let applied = apply(folder, &plan);
    assert_eq!((&applied["done"], &applied["skipped"]), (&1_566.into(), &0.into()), "{applied:#}");
    assert_eq!(query("SELECT COUNT(*) FROM sessions").trim(), "100");
    let restore = ["archive", "restore", plan["id"].as_str().unwrap()];
    let back = document(folder, &restore)["plan"].clone();
    let restored = apply(folder, &back);
    assert_eq!((&restored["done"], &restored["skipped"]), (&1_566.into(), &0.into()), "{restored:#}");
    assert_eq!((query(ALL), query(CARTS)), before);
    // One session is selected, and its dependents do not change the selection.
    let revoke = document(folder, &["revoke", "session", "10010"])["plan"].clone();
    assert_eq!(revoke["rows"], 3, "{revoke:#}");
}

#[test]
fn on_a_server_dependent_sessions_are_rows_of_the_plan() {
    for of in [2_000, -1] {
        let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
        let sql = filled(of, "timestamptz", "now() - interval '9 days'", "now() + interval '9 days'");
        database.psql(&sql).unwrap();
        configure(folder.path(), &database.url("postgres"), "timestamptz");
        go_along_and_come_back(folder.path(), |sql| database.psql(sql).unwrap());
    }
}

#[test]
fn in_a_file_dependent_sessions_are_rows_of_the_plan() {
    for of in [2_000, -1] {
        let folder = tempfile::tempdir().unwrap();
        let app = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
        let (ended, later) = ("(unixepoch() - 777600) * 1000", "(unixepoch() + 777600) * 1000");
        let sql = filled(of, "integer", ended, later);
        app.execute_batch(&sql).unwrap();
        configure(folder.path(), "sqlite:app.db", "epoch-ms");
        go_along_and_come_back(folder.path(), |sql| {
            let mut statement = app.prepare(sql).unwrap();
            let width = statement.column_count();
            let row = |row: &rusqlite::Row<'_>| {
                let cells: Result<Vec<String>, _> =
                    (0..width).map(|at| Ok(format!("{:?}", row.get_ref(at)?))).collect();
                cells.map(|cells| cells.join("|"))
            };
            let lines: Result<Vec<String>, _> = statement.query_map([], row).unwrap().collect();
            lines.unwrap().join("\n").replace("Integer(", "").replace(')', "")
        });
    }
}
