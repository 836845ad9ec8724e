//! Tokens and users are compared as the application's own queries compare them, by both engines, on both databases.

use std::sync::OnceLock;

use serde_json::{Value, json};
use testkit::{Database, find_check_result, run_program_in};

/// Two users whose tokens differ only in case, and 25 sessions of a user whose ID is written in two ways.
const SESSIONS: &str = r#"
CREATE EXTENSION citext;
CREATE COLLATION case_insensitive (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN token AS citext CHECK (length(VALUE) > 3);
CREATE DOMAIN inner_token AS token;
CREATE TABLE users (id text PRIMARY KEY, name text);
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" text NOT NULL,
  expires timestamp(3) NOT NULL);
INSERT INTO users SELECT 'u' || n, 'User ' || n FROM generate_series(1, 60) AS n;
INSERT INTO users VALUES ('Bob', 'Robert');
INSERT INTO sessions SELECT 's' || n, md5('t' || n), 'u' || n, now() + interval '9 days'
  FROM generate_series(1, 58) AS n;
INSERT INTO sessions VALUES
  ('a', 'AbCdEfGhIjKlMnOpQrStUvWxYz012345', 'u59', now() + interval '5 days'),
  ('b', 'aBcDeFgHiJkLmNoPqRsTuVwXyZ012345', 'u60', now() + interval '5 days');
INSERT INTO sessions SELECT 'c' || n, md5('c' || n),
  CASE n % 2 WHEN 0 THEN 'Bob' ELSE 'bob' END, now() + interval '9 days'
  FROM generate_series(1, 25) AS n;
"#;

fn sessions(change: &str) -> Database<'static> {
    static TEMPLATE: OnceLock<Database<'static>> = OnceLock::new();
    let database = testkit::clone_template(&TEMPLATE, &[SESSIONS]);
    database.psql(change).unwrap();
    database
}

/// Returns what both engines find, which must be the same.
fn found(database: &Database<'_>, id: &str) -> Value {
    let [direct, pooled] = database.urls("postgres");
    let scan = testkit::run_check(&direct, &["--engine", "scan"]);
    let pushdown = testkit::run_check(&pooled, &["--engine", "pushdown"]);
    let (found, other) = (find_check_result(&scan, id), find_check_result(&pushdown, id));
    for key in ["result", "value", "summary", "proof"] {
        assert_eq!(found[key], other[key], "{id} {key}: {scan:#} {pushdown:#}");
    }
    found.clone()
}

#[test]
fn tokens_that_the_application_considers_equal_are_one_token() {
    for how in ["citext", "token", "inner_token", "text COLLATE case_insensitive"] {
        let database = sessions(&format!(r#"ALTER TABLE sessions ALTER "sessionToken" TYPE {how}"#));
        let duplicates = found(&database, "duplicate-tokens");
        assert_eq!((&duplicates["result"], &duplicates["value"]), (&json!("failing"), &json!(1.0)), "{how}");
        assert!(
            duplicates["summary"].as_str().unwrap().contains("1 duplicate token, shared by several users"),
            "{how}: {duplicates:#}"
        );
        let mut prefixes: Vec<_> = duplicates["evidence"].as_array().unwrap().iter().collect();
        prefixes.sort_by_key(|row| row["token_prefix"].to_string());
        assert_eq!(prefixes.len(), 2, "{how}: {duplicates:#}");
        assert_eq!(prefixes[0]["token_prefix"], "AbCdEfGh", "{how}: {duplicates:#}");
        assert_eq!(prefixes[1]["token_prefix"], "aBcDeFgH", "{how}: {duplicates:#}");
        let doctor = testkit::run_program(&["doctor", &database.url("postgres")]).stdout;
        assert!(doctor.contains("token-comparison"), "{how}: {doctor}");
        let sql = testkit::run_program(&["sql", "query-2", &database.url("postgres")]).stdout;
        assert_eq!(database.psql(&sql).unwrap().lines().count(), 2, "{how}: {sql}");
    }
    let exact = sessions("");
    assert_eq!(found(&exact, "duplicate-tokens")["value"], 0.0);
}

#[test]
fn a_unique_index_proves_only_what_it_compares() {
    let apart = r#"DELETE FROM sessions WHERE id = 'b';"#;
    for (how, index, proof) in [
        ("citext", r#"("sessionToken")"#, true),
        ("citext", r#"("sessionToken" text_ops)"#, false),
        ("text COLLATE case_insensitive", r#"("sessionToken")"#, true),
        ("text COLLATE case_insensitive", r#"("sessionToken" COLLATE "C")"#, false),
        ("text", r#"("sessionToken" text_pattern_ops)"#, true),
        ("text", r#"("sessionToken" COLLATE case_insensitive)"#, true),
        ("varchar", r#"("sessionToken" COLLATE "C")"#, true),
    ] {
        // An index that proves nothing accepts both tokens.
        let both = if proof { apart } else { "" };
        let database = sessions(&format!(
            r#"{both} ALTER TABLE sessions ALTER "sessionToken" TYPE {how};
               CREATE UNIQUE INDEX one_token ON sessions {index}"#
        ));
        let duplicates = found(&database, "duplicate-tokens");
        let expected = if proof { (json!("one_token"), json!(0.0)) } else { (json!(null), json!(1.0)) };
        assert_eq!((&duplicates["proof"], &duplicates["value"]), (&expected.0, &expected.1), "{how} {index}");
    }
}

#[test]
fn users_that_the_application_considers_equal_are_one_user() {
    let both = r#"ALTER TABLE users ALTER id TYPE HOW; ALTER TABLE sessions ALTER "userId" TYPE HOW"#;
    for how in ["citext", "text COLLATE case_insensitive"] {
        let database = sessions(&both.replace("HOW", how));
        assert_eq!(found(&database, "orphaned-sessions")["value"], 0.0, "{how}");
        let excess = found(&database, "user-session-excess");
        assert_eq!(
            (&excess["result"], &excess["value"]),
            (&json!("failing"), &json!(25.0)),
            "{how}: {excess:#}"
        );
        assert_eq!(excess["evidence"][0]["display"][0], "Robert", "{how}: {excess:#}");
    }
    // If one side has the collation, the application finds the user too.
    for one in
        [r#"ALTER TABLE users ALTER id TYPE citext"#, r#"ALTER TABLE sessions ALTER "userId" TYPE citext"#]
    {
        assert_eq!(found(&sessions(one), "orphaned-sessions")["value"], 0.0, "{one}");
    }
    let exact = sessions("");
    assert_eq!(found(&exact, "orphaned-sessions")["value"], 13.0);
    let database = sessions(&both.replace("HOW", "citext"));
    let listed = testkit::run_for_json(&[
        "sessions",
        "list",
        &database.url("postgres"),
        "--user",
        "BOB",
        "--format",
        "json",
    ]);
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 25, "{listed:#}");
}

#[test]
fn enums_and_other_types_are_compared_by_their_own_rules() {
    let database = sessions(
        r#"DELETE FROM sessions WHERE id LIKE 'c%' OR id IN ('a', 'b'); DELETE FROM users WHERE id NOT IN ('u1', 'u2');
           UPDATE sessions SET "userId" = CASE WHEN id < 's3' THEN 'u1' ELSE 'u3' END;
           CREATE TYPE one AS ENUM ('u1', 'u2', 'u3'); CREATE TYPE other AS ENUM ('u3', 'u2', 'u1');
           ALTER TABLE users ALTER id TYPE one USING id::one;
           ALTER TABLE sessions ALTER "userId" TYPE other USING "userId"::other"#,
    );
    let orphans = database.psql(r#"SELECT count(*) FROM sessions WHERE "userId" = 'u3'"#).unwrap();
    assert_eq!(found(&database, "orphaned-sessions")["value"].to_string(), format!("{}.0", orphans.trim()));
}

#[test]
fn a_plan_for_duplicates_compares_as_the_check_does() {
    let database = sessions(r#"ALTER TABLE sessions ALTER "sessionToken" TYPE citext"#);
    let folder = tempfile::tempdir().unwrap();
    let url = database.url("postgres");
    let text = format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n");
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let said = run_program_in(folder.path(), &[], &["cleanup", "duplicates", "--format", "json"]);
    let plan: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
    assert_eq!(plan["plan"]["rows"], 2, "{plan:#}");
}

#[test]
fn collations_of_sqlite_columns_and_indexes_are_respected() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (columns, index, expected)) in [
        ("token TEXT COLLATE NOCASE", "", (1.0, None)),
        (
            "token TEXT COLLATE NOCASE",
            "CREATE UNIQUE INDEX one ON session (token COLLATE BINARY)",
            (1.0, None),
        ),
        ("token TEXT COLLATE RTRIM", "", (0.0, None)),
        ("token TEXT", "CREATE UNIQUE INDEX one ON session (token)", (0.0, Some("one"))),
        ("token TEXT", "", (0.0, None)),
    ]
    .into_iter()
    .enumerate()
    {
        let file = folder.path().join(format!("{number}.db"));
        let lite = rusqlite::Connection::open(&file).unwrap();
        lite.execute_batch(&format!(
            "CREATE TABLE user (id text PRIMARY KEY COLLATE NOCASE, name text);
             CREATE TABLE session (id text PRIMARY KEY, {columns}, userId text, expiresAt integer);
             {index};
             INSERT INTO user VALUES ('u1', 'One'), ('u2', 'Two'), ('Bob', 'Robert');
             INSERT INTO session VALUES ('a', 'AbCdEfGh0123456789', 'u1', 4000000000000), \
               ('b', 'aBcDeFgH0123456789', 'u2', 4000000000000)"
        ))
        .unwrap();
        for n in 0..25 {
            let user = if n % 2 == 0 { "BOB" } else { "bob" };
            let row = (format!("c{n}"), format!("unlike-{n}-0123456789"), user);
            lite.execute("INSERT INTO session VALUES (?1, ?2, ?3, 4000000000000)", row).unwrap();
        }
        for engine in ["scan", "pushdown"] {
            let report = testkit::run_check(&format!("sqlite:{}", file.display()), &["--engine", engine]);
            let duplicates = find_check_result(&report, "duplicate-tokens");
            let found = (&duplicates["value"], &duplicates["proof"]);
            assert_eq!(
                found,
                (&json!(expected.0), &json!(expected.1)),
                "{columns} {index} {engine}: {report:#}"
            );
            assert_eq!(report["stats"]["orphaned"], 0, "{engine}: {report:#}");
        }
    }
}

#[test]
fn an_application_defined_collation_makes_duplicates_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.db");
    let lite = rusqlite::Connection::open(&file).unwrap();
    lite.execute_batch(
        "CREATE TABLE user (id text PRIMARY KEY, name text);
         CREATE TABLE session (id text PRIMARY KEY, token text COLLATE NOCASE, userId text, expiresAt integer);
         INSERT INTO user VALUES ('u1', 'One'), ('u2', 'Two');
         INSERT INTO session VALUES ('a', 'AbCdEfGh0123456789', 'u1', 4000000000000), \
           ('b', 'aBcDeFgH0123456789', 'u2', 4000000000000);
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'HOUSE')",
    )
    .unwrap();
    for engine in ["scan", "pushdown"] {
        let report = testkit::run_check(&format!("sqlite:{}", file.display()), &["--engine", engine]);
        let duplicates = find_check_result(&report, "duplicate-tokens");
        assert_eq!(duplicates["result"], "unknown", "{engine}: {report:#}");
    }
}
