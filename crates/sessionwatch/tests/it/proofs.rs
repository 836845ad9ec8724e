//! A constraint is proof only if the database enforces it for every row.

use std::sync::OnceLock;

use serde_json::json;
use testkit::{Database, find_check_result, wait_until};

/// Sessions with a unique token and a foreign key, as migrations create them.
const CONSTRAINED: &str = r#"
CREATE TABLE users (id text PRIMARY KEY, name text);
CREATE TABLE accounts (id text PRIMARY KEY, "userId" text);
CREATE TABLE sessions (
  id text PRIMARY KEY, "sessionToken" text NOT NULL CONSTRAINT one_token UNIQUE,
  "userId" text NOT NULL CONSTRAINT of_user REFERENCES users (id) ON DELETE CASCADE, expires timestamp(3) NOT NULL);
INSERT INTO users SELECT 'u' || n, 'User ' || n FROM generate_series(1, 60) AS n;
INSERT INTO sessions SELECT 's' || n, md5('t' || n), 'u' || n, now() + interval '9 days'
  FROM generate_series(1, 60) AS n;
"#;
/// Twenty sessions of missing users, as `pg_restore --disable-triggers` or replication can leave them.
const ORPHANS: &str = r#"
SET session_replication_role = replica;
INSERT INTO sessions SELECT 'o' || n, md5('o' || n), 'ghost' || n, now() + interval '9 days'
  FROM generate_series(1, 20) AS n;
RESET session_replication_role;
"#;

fn constrained() -> Database<'static> {
    static TEMPLATE: OnceLock<Database<'static>> = OnceLock::new();
    testkit::clone_template(&TEMPLATE, &[CONSTRAINED])
}

/// Result of a check by either engine, direct and through the pooler: its value and its proof.
fn finds(database: &Database<'_>, id: &str, value: f64, proof: Option<&str>) {
    for (url, engine) in database.urls("postgres").iter().zip(["scan", "pushdown"]) {
        let report = testkit::run_check(url, &["--engine", engine]);
        let found = find_check_result(&report, id);
        assert_eq!(
            (&found["value"], &found["proof"]),
            (&json!(value), &json!(proof)),
            "{engine}: {report:#}"
        );
        let verdict = if value > 0.0 { "failing" } else { "passing" };
        assert_eq!(found["result"], verdict, "{engine}: {found:#}");
    }
}

#[test]
fn an_enforced_constraint_is_trusted_and_named() {
    let database = constrained();
    finds(&database, "duplicate-tokens", 0.0, Some("one_token"));
    finds(&database, "orphaned-sessions", 0.0, Some("of_user"));
    let report = testkit::run_check(&database.url("postgres"), &[]);
    let summary = find_check_result(&report, "orphaned-sessions")["summary"].to_string();
    assert!(
        summary.contains("foreign key `of_user`") && summary.contains("--no-trust-constraints"),
        "{summary}"
    );
}

#[test]
fn constraints_of_a_table_prove_nothing_about_inheriting_tables() {
    let database = constrained();
    database
        .psql(
            r#"CREATE TABLE sessions_new () INHERITS (sessions);
               INSERT INTO sessions_new VALUES ('d1', 'same', 'u1', now() + interval '5 days'),
                 ('d2', 'same', 'u2', now() + interval '5 days');
               INSERT INTO sessions_new SELECT 'o' || n, md5('x' || n), 'ghost' || n, now() + interval '5 days'
                 FROM generate_series(1, 50) AS n"#,
        )
        .unwrap();
    finds(&database, "duplicate-tokens", 1.0, None);
    finds(&database, "orphaned-sessions", 50.0, None);
    let doctor = testkit::run_program(&["doctor", &database.url("postgres")]).stdout;
    assert!(doctor.contains("does not cover the rows of tables that inherit"), "{doctor}");
}

#[test]
fn users_in_an_inheriting_table_are_neither_missing_nor_counted_twice() {
    let database = constrained();
    database
        .psql(
            "CREATE TABLE staff () INHERITS (users);
             INSERT INTO staff SELECT 'u' || n, 'again' FROM generate_series(1, 30) AS n",
        )
        .unwrap();
    finds(&database, "orphaned-sessions", 0.0, None);
    for engine in ["scan", "pushdown"] {
        let report = testkit::run_check(&database.url("postgres"), &["--engine", engine]);
        assert_eq!(report["stats"]["sessions"], 60, "{report:#}");
        assert_eq!(find_check_result(&report, "sessions-per-user")["value"], 1.0, "{report:#}");
    }
}

#[test]
fn a_foreign_key_that_is_not_enforced_proves_nothing() {
    for trap in [
        "ALTER TABLE sessions DISABLE TRIGGER ALL",
        "ALTER TABLE users DISABLE TRIGGER ALL",
        "ALTER TABLE sessions DROP CONSTRAINT of_user, ADD CONSTRAINT of_user \
           FOREIGN KEY (\"userId\") REFERENCES users (id) NOT VALID",
        "ALTER TABLE sessions ALTER CONSTRAINT of_user DEFERRABLE INITIALLY DEFERRED",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database()); \
         END $$",
    ] {
        let database = constrained();
        database.psql(trap).unwrap();
        database.psql(ORPHANS).unwrap();
        finds(&database, "orphaned-sessions", 20.0, None);
    }
}

#[test]
fn a_partition_with_disabled_triggers_voids_the_proof_of_the_whole_table() {
    let database = testkit::empty_database();
    database
        .psql(
            r#"CREATE TABLE users (id text PRIMARY KEY, name text);
               CREATE TABLE sessions (
                 id text, "sessionToken" text NOT NULL CONSTRAINT one_token UNIQUE,
                 "userId" text NOT NULL CONSTRAINT of_user REFERENCES users (id), expires timestamp(3) NOT NULL)
                 PARTITION BY HASH ("sessionToken");
               CREATE TABLE sessions_0 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 0);
               CREATE TABLE sessions_1 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 1);
               INSERT INTO users SELECT 'u' || n, 'User ' || n FROM generate_series(1, 60) AS n;
               INSERT INTO sessions SELECT 's' || n, md5('t' || n), 'u' || n, now() + interval '9 days'
                 FROM generate_series(1, 60) AS n"#,
        )
        .unwrap();
    // If it includes the partition key, a unique index applies across all partitions.
    finds(&database, "duplicate-tokens", 0.0, Some("one_token"));
    finds(&database, "orphaned-sessions", 0.0, Some("of_user"));
    database.psql("ALTER TABLE sessions_1 DISABLE TRIGGER ALL").unwrap();
    database.psql(ORPHANS).unwrap();
    finds(&database, "orphaned-sessions", 20.0, None);
}

#[test]
fn unique_indexes_on_partitions_prove_nothing_about_the_whole_table() {
    let database = testkit::empty_database();
    database
        .psql(
            r#"CREATE TABLE users (id text PRIMARY KEY, name text);
               CREATE TABLE sessions (id text, "sessionToken" text NOT NULL, "userId" text NOT NULL,
                 expires timestamp(3) NOT NULL)
                 PARTITION BY HASH ("userId");
               CREATE TABLE sessions_0 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 0);
               CREATE TABLE sessions_1 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 1);
               CREATE UNIQUE INDEX ON sessions_0 ("sessionToken"); CREATE UNIQUE INDEX ON sessions_1 ("sessionToken");
               INSERT INTO users SELECT 'u' || n, 'User ' || n FROM generate_series(1, 60) AS n;
               INSERT INTO sessions SELECT 's' || n, md5('t' || n), 'u' || n, now() + interval '9 days'
                 FROM generate_series(1, 60) AS n;
               INSERT INTO sessions_0 SELECT 'd0', 'same', "userId", now() + interval '1 day' FROM sessions_0 LIMIT 1;
               INSERT INTO sessions_1 SELECT 'd1', 'same', "userId", now() + interval '1 day' FROM sessions_1 LIMIT 1"#,
        )
        .unwrap();
    finds(&database, "duplicate-tokens", 1.0, None);
}

#[test]
fn a_unique_index_that_does_not_cover_every_token_proves_nothing() {
    for index in [
        r#"CREATE UNIQUE INDEX one_token ON sessions ("sessionToken") WHERE expires > '2000-01-01' AND id < 'd'"#,
        r#"CREATE UNIQUE INDEX one_token ON sessions (("sessionToken" || id))"#,
        r#"CREATE UNIQUE INDEX one_token ON sessions ("sessionToken", id)"#,
        r#"CREATE UNIQUE INDEX one_token ON sessions (id) INCLUDE ("sessionToken")"#,
        r#"CREATE INDEX one_token ON sessions ("sessionToken")"#,
    ] {
        let database = constrained();
        database
            .psql(&format!(
                r#"ALTER TABLE sessions DROP CONSTRAINT one_token; {index};
                   INSERT INTO sessions VALUES ('d1', 'same', 'u1', now() + interval '5 days'),
                     ('d2', 'same', 'u2', now() + interval '5 days')"#
            ))
            .unwrap();
        finds(&database, "duplicate-tokens", 1.0, None);
    }
    // An invalid index, as a failed CONCURRENTLY leaves it.
    let database = constrained();
    database
        .psql(
            r#"ALTER TABLE sessions DROP CONSTRAINT one_token;
               INSERT INTO sessions VALUES ('d1', 'same', 'u1', now() + interval '5 days'),
                 ('d2', 'same', 'u2', now() + interval '5 days')"#,
        )
        .unwrap();
    database.psql(r#"CREATE UNIQUE INDEX CONCURRENTLY one_token ON sessions ("sessionToken")"#).unwrap_err();
    finds(&database, "duplicate-tokens", 1.0, None);
    // A deferrable constraint is no proof.
    let database = constrained();
    database
        .psql(
            r#"ALTER TABLE sessions DROP CONSTRAINT one_token,
                 ADD CONSTRAINT one_token UNIQUE ("sessionToken") DEFERRABLE INITIALLY DEFERRED"#,
        )
        .unwrap();
    finds(&database, "duplicate-tokens", 0.0, None);
}

#[test]
fn orphans_without_a_trace_in_the_catalog_are_found_without_trust_and_by_the_first_run_of_serve() {
    let database = constrained();
    database.psql(ORPHANS).unwrap();
    for engine in ["scan", "pushdown"] {
        let deep =
            testkit::run_check(&database.url("postgres"), &["--engine", engine, "--no-trust-constraints"]);
        assert_eq!(find_check_result(&deep, "orphaned-sessions")["value"], 20.0, "{deep:#}");
    }
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[serve]\nlisten = \"127.0.0.1:0\"\n[[target]]\nname = \"app\"\nurl = \"{}\"\n",
        database.url("postgres")
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    // The earlier process had verified the rows; rows added while no daemon ran are not trusted.
    database.psql("DELETE FROM sessions WHERE id LIKE 'o%'").unwrap();
    let orphans = |watch: &testkit::DaemonProcess| {
        let page = watch.get_body("/metrics");
        page.lines().find(|line| line.contains("kind=\"orphaned\"")).map(str::to_owned).unwrap_or_default()
    };
    let first = testkit::DaemonProcess::start(folder.path());
    wait_until("the first check run", || orphans(&first).ends_with(" 0"));
    assert_eq!(first.stop(), Some(0));
    database.psql(ORPHANS).unwrap();
    // Ten minutes later a run is due, but not the nightly one.
    rusqlite::Connection::open(folder.path().join("sessionwatch-state.db"))
        .unwrap()
        .execute("UPDATE samples SET at = at - 600000000", [])
        .unwrap();
    let second = testkit::DaemonProcess::start(folder.path());
    wait_until("the first check run of another process", || orphans(&second).contains("orphaned"));
    assert!(orphans(&second).ends_with(" 20"), "{}", second.get_body("/metrics"));
    assert_eq!(second.stop(), Some(0));
}
