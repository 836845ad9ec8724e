//! A database with endless values is reported, and takes no memory.

use testkit::find_check_result;

/// Sessions of users, one of whom has a name, or an ID, of this many characters.
fn tables(name: u32, id: u32) -> String {
    format!(
        "CREATE TABLE users (id text PRIMARY KEY, name text);
         CREATE TABLE sessions (id text PRIMARY KEY, \"sessionToken\" text NOT NULL, \"userId\" text NOT NULL, \
           expires timestamptz NOT NULL);
         INSERT INTO users VALUES ('ada', repeat('é', {name})), ('bob', 'Bob');
         INSERT INTO sessions SELECT 's' || n, 'shared-token-of-a-usual-length', \
           CASE n WHEN 1 THEN 'ada' ELSE 'bob' END, now() + interval '5 days' FROM generate_series(1, 2) AS n;
         INSERT INTO sessions SELECT 'long', 'token-of-a-usual-length', repeat('x', {id}), now() + interval '5 days' \
           WHERE {id} > 0"
    )
}

#[test]
fn a_long_name_is_truncated_and_an_overlong_user_id_is_reported() {
    let database = testkit::empty_database();
    database.psql(&tables(40_000_000, 0)).unwrap();
    for engine in ["scan", "pushdown"] {
        let report = testkit::run_check(&database.url("postgres"), &["--engine", engine]);
        let evidence = find_check_result(&report, "duplicate-tokens")["evidence"].clone();
        let shown = evidence[0]["display"][0].as_str().unwrap_or_else(|| panic!("{report:#}"));
        assert_eq!(shown.chars().count(), 200, "{engine}");
    }
    let listed = testkit::run_program(&["sessions", "list", &database.url("postgres")]);
    assert!(
        listed.exit_code == 0 && listed.stdout.len() < 10_000,
        "{} {}",
        listed.exit_code,
        listed.stdout.len()
    );
    let database = testkit::empty_database();
    database.psql(&tables(1, 70_000_000)).unwrap();
    for url in database.urls("postgres") {
        let said = testkit::run_program(&["check", &url]);
        assert!(
            said.exit_code == 3 && said.stderr.contains("one query returned more than 64 MiB"),
            "{} {}",
            said.stdout,
            said.stderr
        );
        assert!(said.stderr.contains("a column with very long values"), "{}", said.stderr);
    }
}
