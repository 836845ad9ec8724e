//! Relations behind a view are examined before it is evaluated, and nothing is read that would execute code in the
//! database.

use std::sync::OnceLock;

use serde_json::Value;
use testkit::{Database, find_check_result};

/// A table that is not recognized, with a token shared by two users; views of it decide what is visible.
const BEHIND: &str = r#"
CREATE TABLE users (id text PRIMARY KEY, name text);
CREATE TABLE stored (id text PRIMARY KEY, t text NOT NULL, u text NOT NULL, e timestamp(3) NOT NULL,
  revoked bool NOT NULL DEFAULT false);
INSERT INTO users SELECT 'u' || n, 'User ' || n FROM generate_series(1, 60) AS n;
INSERT INTO stored SELECT 's' || n, md5('t' || n), 'u' || n, now() + interval '9 days' FROM generate_series(1, 60) AS n;
INSERT INTO stored VALUES ('d1', 'same', 'u1', now() + interval '5 days', true),
  ('d2', 'same', 'u2', now() + interval '5 days', true);
"#;
/// A view that only renames columns.
const RENAMES: &str = "CREATE VIEW sessions AS SELECT NAMED FROM stored";
/// Columns of the view, named so that it is recognized.
const NAMED: &str = r#"id, t AS "sessionToken", u AS "userId", e AS expires"#;

fn behind(statements: &str) -> Database<'static> {
    static TEMPLATE: OnceLock<Database<'static>> = OnceLock::new();
    let database = testkit::clone_template(&TEMPLATE, &[BEHIND]);
    database.psql(&statements.replace("NAMED", NAMED)).unwrap();
    database
}

/// The reports of both engines.
fn reports(database: &Database<'_>, user: &str) -> [Value; 2] {
    let [direct, pooled] = database.urls(user);
    [
        testkit::run_check(&direct, &["--engine", "scan"]),
        testkit::run_check(&pooled, &["--engine", "pushdown"]),
    ]
}

/// Views that may hide sessions, each with the reason that a report names.
const HIDING_VIEWS: [(&str, &str); 12] = [
    (r#"CREATE VIEW sessions AS SELECT DISTINCT ON (t) NAMED FROM stored"#, "groups, limits or joins rows"),
    (
        r#"CREATE VIEW sessions AS SELECT DISTINCT NAMED FROM stored WHERE id <> 'd1'"#,
        "groups, limits or joins rows",
    ),
    (
        r#"CREATE VIEW sessions AS SELECT min(id) AS id, t AS "sessionToken", min(u) AS "userId", max(e) AS expires
             FROM stored GROUP BY t"#,
        "groups, limits or joins rows",
    ),
    (
        r#"CREATE VIEW sessions AS SELECT NAMED FROM stored ORDER BY id DESC LIMIT 60"#,
        "groups, limits or joins rows",
    ),
    (
        r#"CREATE VIEW sessions AS SELECT s.id, t AS "sessionToken", u AS "userId", e AS expires FROM stored s
             JOIN (VALUES ('d1')) v (x) ON s.id <> v.x"#,
        "groups, limits or joins rows",
    ),
    (
        r#"CREATE VIEW sessions AS SELECT NAMED FROM stored WHERE id <> 'd1' UNION SELECT NAMED FROM stored
             WHERE id = 's1'"#,
        "groups, limits or joins rows",
    ),
    (
        r#"CREATE VIEW sessions AS WITH q AS (SELECT * FROM stored WHERE id <> 'd1') SELECT NAMED FROM q"#,
        "groups, limits or joins rows",
    ),
    (r#"CREATE VIEW sessions AS SELECT NAMED FROM stored WHERE NOT revoked"#, "a view with a condition"),
    (
        r#"CREATE VIEW inner_view AS SELECT * FROM stored WHERE NOT revoked;
           CREATE VIEW sessions AS SELECT NAMED FROM inner_view"#,
        "a view with a condition",
    ),
    (
        r#"DELETE FROM stored WHERE revoked; CREATE MATERIALIZED VIEW sessions AS SELECT NAMED FROM stored;
        INSERT INTO stored VALUES ('d1', 'same', 'u1', now(), true), ('d2', 'same', 'u2', now(), true)"#,
        "materialized view",
    ),
    (
        r#"DELETE FROM stored WHERE revoked; CREATE MATERIALIZED VIEW kept AS SELECT * FROM stored;
           CREATE VIEW sessions AS SELECT NAMED FROM kept"#,
        "materialized view",
    ),
    (
        r#"ALTER TABLE stored ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON stored USING (id <> 'd1');
        CREATE VIEW sessions AS SELECT NAMED FROM stored; CREATE ROLE VIEWER; GRANT SELECT ON stored TO VIEWER;
        ALTER VIEW sessions OWNER TO VIEWER"#,
        "row-level security on `public.stored`",
    ),
];

#[test]
fn a_view_that_may_hide_sessions_is_unknown_and_names_its_table() {
    for (view, why) in HIDING_VIEWS {
        let database = behind(&view.replace("VIEWER", &format!("view_owner_{}", std::process::id())));
        for report in reports(&database, "postgres") {
            assert_eq!(report["result"], "unknown", "{view}: {report:#}");
            let duplicates = find_check_result(&report, "duplicate-tokens");
            assert_eq!(duplicates["result"], "unknown", "{view}: {report:#}");
            let reason = duplicates["reason"].as_str().unwrap();
            assert!(reason.contains(why), "{view}: {reason}");
            assert!(reason.contains("`public.stored`") || reason.contains("kept`"), "{view}: {reason}");
        }
    }
}

#[test]
fn a_view_that_only_renames_is_evaluated_like_its_table() {
    for view in [
        "CREATE VIEW sessions AS SELECT NAMED FROM stored",
        "CREATE VIEW inner_view AS SELECT * FROM stored ORDER BY id; \
         CREATE VIEW sessions AS SELECT NAMED FROM inner_view",
    ] {
        let database = behind(view);
        for report in reports(&database, "postgres") {
            let duplicates = find_check_result(&report, "duplicate-tokens");
            assert_eq!(
                (&duplicates["result"], &duplicates["value"]),
                (&"failing".into(), &1.0.into()),
                "{report:#}"
            );
        }
        database.psql("DELETE FROM stored WHERE revoked").unwrap();
        for report in reports(&database, "postgres") {
            assert_eq!(find_check_result(&report, "duplicate-tokens")["result"], "passing", "{report:#}");
        }
    }
}

#[test]
fn a_condition_is_part_of_what_a_mapping_means() {
    let database = behind("CREATE VIEW live AS SELECT NAMED FROM stored WHERE NOT revoked");
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n\
         [target.mapping]\nsessions = \"live\"\ntoken = \"sessionToken\"\nuser = \"userId\"\n\
         expires = \"expires\"\ndecoder = \"timestamp-utc\"\nusers = \"users\"\n",
        database.url("postgres")
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let said = testkit::run_program_in(folder.path(), &[], &["check", "--format", "json"]);
    let report = said.check_report();
    assert_eq!(find_check_result(&report, "duplicate-tokens")["result"], "passing", "{report:#}");
    let doctor = testkit::run_program_in(folder.path(), &[], &["doctor"]).stdout;
    assert!(doctor.contains("the condition of the view `live` excludes rows"), "{doctor}");
}

#[test]
fn a_table_is_preferred_to_its_views() {
    let database = testkit::anomalous_database();
    database
        .psql(
            r#"ALTER TABLE sessions RENAME TO login;
               CREATE VIEW sessions AS SELECT DISTINCT ON ("sessionToken") * FROM login"#,
        )
        .unwrap();
    for report in reports(&database, "postgres") {
        assert_eq!(report["stats"]["duplicate_tokens"], 2, "{report:#}");
        assert!(!report["notes"].to_string().contains("looks like a session table too"), "{report:#}");
    }
}

/// A function that fails when it is executed, and claims to be immutable.
const TRAP: &str = r#"
CREATE FUNCTION trap(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF current_setting('application_name') LIKE 'sessionwatch%' THEN RAISE EXCEPTION 'code of the target was executed';
  END IF;
  RETURN $1;
END $$;
"#;

#[test]
fn objects_that_would_execute_code_of_the_database_are_named_and_not_read() {
    for (statements, part) in [
        (
            r#"CREATE VIEW sessions AS SELECT id, trap(t) AS "sessionToken", u AS "userId", e AS expires FROM stored"#,
            "the view `public.sessions` calls `public.trap`",
        ),
        (
            r#"CREATE VIEW inner_view AS SELECT * FROM stored WHERE trap(id) <> '';
               CREATE VIEW sessions AS SELECT NAMED FROM inner_view"#,
            "the view `public.inner_view` calls `public.trap`",
        ),
        (
            r#"CREATE FUNCTION same(text, text) RETURNS bool LANGUAGE sql AS $$ SELECT trap($1) = $2 $$;
            CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = same);
            CREATE VIEW sessions AS SELECT NAMED FROM stored WHERE id === id"#,
            "calls `public.same`",
        ),
        (
            r#"CREATE DOMAIN checked AS text CHECK (trap(VALUE) <> '');
            CREATE VIEW sessions AS SELECT id, t::checked AS "sessionToken", u AS "userId", e AS expires FROM stored"#,
            "calls `public.trap`",
        ),
        (
            r#"CREATE VIEW sessions AS SELECT NAMED FROM stored; CREATE INDEX ON stored ((id || trap('x')))"#,
            "the planner evaluates `public.trap` for the index expression of `public.stored`",
        ),
        (
            r#"CREATE VIEW sessions AS SELECT NAMED FROM stored; CREATE INDEX ON stored (id) WHERE id <> trap('x')"#,
            "the index expression of `public.stored`",
        ),
        (
            r#"CREATE VIEW sessions AS SELECT NAMED FROM stored;
               CREATE STATISTICS st ON (id || trap('x')), t FROM stored"#,
            "the statistics expression of `public.stored`",
        ),
        (
            r#"CREATE VIEW sessions AS SELECT NAMED FROM stored; CREATE TABLE more () INHERITS (stored);
               CREATE INDEX ON more ((id || trap('x')))"#,
            "the index expression of `public.more`",
        ),
        (
            r#"CREATE TYPE color AS ENUM ('u1', 'u2');
                  CREATE FUNCTION shown(color) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN trap('x'); END $$;
               CREATE CAST (color AS text) WITH FUNCTION shown(color);
               CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text, "userId" color, expires timestamp(3));
               INSERT INTO sessions VALUES ('s', 'token', 'u1', now() + interval '1 day')"#,
            "the cast of `userId` to text calls `public.shown`",
        ),
    ] {
        let database = behind(&format!("{TRAP}{statements}"));
        for report in reports(&database, "postgres") {
            let error = report["error"].as_str().unwrap_or_default();
            assert!(error.contains("would execute code in the database"), "{statements}: {report:#}");
            assert!(error.contains(part), "{statements}: {error}");
        }
    }
}

#[test]
fn policies_that_call_functions_are_not_executed_either() {
    let database = behind(&format!(
        r#"{TRAP} ALTER TABLE stored ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON stored USING (trap(id) <> '');
           ALTER TABLE stored RENAME t TO "sessionToken"; ALTER TABLE stored RENAME u TO "userId";
           ALTER TABLE stored RENAME e TO expires;
           ALTER TABLE stored RENAME TO sessions; UPDATE sessions SET revoked = false"#
    ));
    let watch = testkit::create_role(&database, "watch");
    database.psql(&format!("GRANT SELECT ON sessions, users TO {watch}")).unwrap();
    for report in reports(&database, &watch) {
        let error = report["error"].as_str().unwrap_or_default();
        assert!(
            error.contains("a row-level security policy on `public.sessions` calls `public.trap`"),
            "{report:#}"
        );
    }
    // A role that is exempt from the policy executes none of it, but a view of an owner who is not exempt does.
    for report in reports(&database, "postgres") {
        assert_eq!(find_check_result(&report, "duplicate-tokens")["value"], 1.0, "{report:#}");
    }
    database
        .psql(&format!(
            r#"ALTER TABLE sessions RENAME "sessionToken" TO t; ALTER TABLE sessions RENAME TO stored;
               CREATE VIEW sessions AS SELECT id, t AS "sessionToken", "userId", expires FROM stored;
               ALTER VIEW sessions OWNER TO {watch}"#
        ))
        .unwrap();
    for report in reports(&database, "postgres") {
        let error = report["error"].as_str().unwrap_or_default();
        assert!(
            error.contains("a row-level security policy on `public.stored` calls `public.trap`"),
            "{report:#}"
        );
    }
    // If one policy shows everything to this role, the others are not executed; nor are policies for other roles.
    database
        .psql(&format!(
            r#"DROP VIEW sessions; ALTER TABLE stored RENAME t TO "sessionToken"; ALTER TABLE stored RENAME TO sessions;
               CREATE POLICY all_rows ON sessions FOR SELECT TO {watch} USING (true)"#
        ))
        .unwrap();
    for report in reports(&database, &watch) {
        assert!(report["error"].is_null(), "{report:#}");
    }
    database
        .psql(
            "DROP POLICY p ON sessions; \
             CREATE POLICY p ON sessions AS RESTRICTIVE TO pg_monitor USING (trap(id) <> '')",
        )
        .unwrap();
    for report in reports(&database, &watch) {
        assert!(report["error"].is_null(), "{report:#}");
    }
}

#[test]
fn functions_behind_the_users_only_prevent_reading_the_users() {
    let database = behind(&format!(
        r#"{TRAP} CREATE VIEW sessions AS SELECT NAMED FROM stored; ALTER TABLE users RENAME TO people;
           CREATE VIEW users AS SELECT id, trap(name) AS name FROM people WHERE trap(id) <> ''"#
    ));
    for report in reports(&database, "postgres") {
        assert_eq!(find_check_result(&report, "duplicate-tokens")["value"], 1.0, "{report:#}");
        assert_eq!(find_check_result(&report, "orphaned-sessions")["result"], "unknown", "{report:#}");
        assert!(
            report["notes"].to_string().contains("the view `public.users` calls `public.trap`"),
            "{report:#}"
        );
    }
}

#[test]
fn an_ordinary_index_on_a_function_is_allowed() {
    let database = testkit::anomalous_database();
    database
        .psql(&format!("{TRAP} CREATE INDEX ON users (trap(name)); CREATE INDEX ON sessions (trap(id))"))
        .unwrap();
    for report in reports(&database, "postgres") {
        assert_eq!(report["stats"]["orphaned"], 12, "{report:#}");
    }
}

#[test]
fn views_of_sqlite_are_unknown_if_they_may_drop_rows() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (view, verdict)) in [
        ("SELECT id, t AS token, u AS userId, e AS expiresAt FROM stored", "passing"),
        ("SELECT min(id) AS id, t AS token, u AS userId, e AS expiresAt FROM stored GROUP BY t", "unknown"),
        ("SELECT DISTINCT id, t AS token, u AS userId, e AS expiresAt FROM stored", "unknown"),
    ]
    .into_iter()
    .enumerate()
    {
        let file = folder.path().join(format!("{number}.db"));
        rusqlite::Connection::open(&file)
            .unwrap()
            .execute_batch(&format!(
                "CREATE TABLE user (id text PRIMARY KEY, name text); INSERT INTO user VALUES ('u1', 'One');
                 CREATE TABLE stored (id text, t text, u text, e integer); \
                 INSERT INTO stored VALUES ('a', 'abcdefghijkl', 'u1', 4000000000000);
                 CREATE VIEW session AS {view}"
            ))
            .unwrap();
        // Recognition is independent of that: the view is named.
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"sqlite:{}\"\n[target.mapping]\nsessions = \"session\"\n\
             token = \"token\"\nuser = \"userId\"\n\
             expires = \"expiresAt\"\ndecoder = \"epoch-ms\"\nusers = \"user\"\n",
            file.display()
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        for engine in ["scan", "pushdown"] {
            let said = testkit::run_program_in(
                folder.path(),
                &[],
                &["check", "--format", "json", "--engine", engine],
            );
            let report = said.check_report();
            assert_eq!(
                find_check_result(&report, "duplicate-tokens")["result"],
                verdict,
                "{view}: {report:#}"
            );
        }
    }
}

#[test]
fn every_version_of_postgresql_shows_what_is_behind_a_view() {
    for major in testkit::POSTGRES_VERSIONS {
        let statistics = format!("{RENAMES}; CREATE STATISTICS st ON (id || trap('x')), t FROM stored");
        let index = format!("{RENAMES}; CREATE INDEX ON stored ((id || trap('x')))");
        let fine = format!("{RENAMES}; CREATE INDEX ON stored (trap(id))");
        let mut cases = vec![
            (RENAMES, "failing", ""),
            (fine.as_str(), "failing", ""),
            (
                "CREATE VIEW sessions AS SELECT DISTINCT ON (t) NAMED FROM stored",
                "unknown",
                "groups, limits or joins rows",
            ),
            (
                r#"CREATE VIEW sessions AS SELECT max(id) AS id, t AS "sessionToken", u AS "userId", e AS expires
                     FROM stored GROUP BY t, u, e HAVING t <> 'same'"#,
                "unknown",
                "groups, limits or joins rows",
            ),
            (
                "CREATE VIEW sessions AS SELECT NAMED FROM stored ORDER BY id DESC LIMIT 60",
                "unknown",
                "groups, limits or joins rows",
            ),
            (
                "CREATE VIEW sessions AS SELECT NAMED FROM stored EXCEPT SELECT NAMED FROM stored WHERE revoked",
                "unknown",
                "groups, limits or joins rows",
            ),
            (
                "CREATE VIEW sessions AS SELECT NAMED FROM stored NATURAL JOIN (SELECT 'd1' AS id) AS q \
                 WHERE id <> 'd1'",
                "unknown",
                "groups, limits or joins rows",
            ),
            (
                "CREATE VIEW sessions AS SELECT NAMED FROM stored WHERE NOT revoked",
                "unknown",
                "a view with a condition",
            ),
            (
                r#"CREATE VIEW sessions AS SELECT id, trap(t) AS "sessionToken", u AS "userId", e AS expires
                     FROM stored"#,
                "unknown",
                "calls `public.trap`",
            ),
            (index.as_str(), "unknown", "the planner evaluates `public.trap`"),
        ];
        if major >= 14 {
            cases.push((&statistics, "unknown", "the planner evaluates `public.trap`"));
        }
        for (statements, verdict, why) in cases {
            let database = testkit::shared_server_of_version(major).create_database(None).unwrap();
            database.psql(&format!("{BEHIND}{TRAP}{}", statements.replace("NAMED", NAMED))).unwrap();
            for report in reports(&database, "postgres") {
                let duplicates = find_check_result(&report, "duplicate-tokens");
                assert_eq!(duplicates["result"], verdict, "{major} {statements}: {report:#}");
                assert!(duplicates["reason"].to_string().contains(why), "{major} {statements}: {report:#}");
            }
        }
    }
}
