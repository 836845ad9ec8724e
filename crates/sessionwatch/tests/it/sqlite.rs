//! SQLite files: the demo, and files that are not databases.

#[test]
fn the_demo_shows_every_kind_of_anomaly_by_both_engines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.db").display().to_string();
    let demo = testkit::run_program(&["demo", "--once", "--path", &path]);
    assert_eq!(demo.exit_code, 0, "{}", demo.stderr);
    assert!(demo.stdout.contains("Try next:"));
    let scan = testkit::run_check(&path, &["--engine", "scan"]);
    let pushdown = testkit::run_check(&path, &["--engine", "pushdown"]);
    assert_eq!(scan["stats"]["duplicate_tokens"], 3);
    assert_eq!(scan["stats"]["orphaned"], 14);
    assert_eq!(scan["stats"]["expired"], 420);
    for id in [
        "duplicate-tokens",
        "orphaned-sessions",
        "user-session-excess",
        "rapid-creation",
        "expired-backlog",
        "session-lifetime",
    ] {
        let (one, other) = (testkit::find_check_result(&scan, id), testkit::find_check_result(&pushdown, id));
        assert_eq!(one["result"], "failing", "{id}");
        assert_eq!(one["value"], other["value"], "{id}");
        let (one, other) = (one["evidence"].as_array().unwrap(), other["evidence"].as_array().unwrap());
        assert_eq!(one.len(), other.len(), "{id}");
    }
}

#[test]
fn files_that_are_not_databases_are_reported_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "not a database, only text that is long enough to have a header of its own, which is wrong",
    )
    .unwrap();
    for (path, part) in
        [(text.display().to_string(), "not a SQLite database"), ("/no/such.db".into(), "no such file")]
    {
        let said = testkit::run_program(&["check", &path]);
        assert_eq!(said.exit_code, 3, "{}", said.stderr);
        assert!(said.stderr.contains(part), "{}", said.stderr);
    }
}

#[test]
fn a_locked_file_and_an_endless_view_are_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    let tables = r#"
        CREATE TABLE users (id TEXT PRIMARY KEY);
        CREATE TABLE stored ("sessionToken" TEXT, "userId" TEXT, expires INTEGER);
        INSERT INTO stored VALUES ('token-number-1', 'u', 4102444800000);
        CREATE VIEW sessions AS SELECT stored.* FROM stored,
          (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n)"#;
    connection.execute_batch(tables).unwrap();
    let mapping = "[[target]]\nname = \"main\"\nurl = \"app.db\"\n[target.mapping]\nsessions = \"sessions\"\n\
                   token = \"sessionToken\"\n\
                   expires = \"expires\"\ndecoder = \"epoch-ms\"\nuser = \"userId\"\n";
    std::fs::write(folder.path().join("sessionwatch.toml"), mapping).unwrap();
    for engine in ["scan", "pushdown"] {
        let arguments = ["check", "--engine", engine, "--timeout", "1s", "--format", "json"];
        let said = testkit::run_program_in(folder.path(), &[], &arguments);
        assert!(
            said.exit_code == 3 && said.stderr.contains("canceled a query (statement timeout"),
            "{}",
            said.stderr
        );
        assert!(said.stdout.contains("\"result\": \"unknown\""), "{}", said.stdout);
    }
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let said = testkit::run_program_in(folder.path(), &[], &["check", "--lock-timeout", "1s"]);
    assert!(said.exit_code == 3 && said.stderr.contains("locked"), "{}", said.stderr);
}

#[test]
fn checking_a_file_changes_nothing_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.db");
    assert_eq!(testkit::run_program(&["demo", "--once", "--path", &path.display().to_string()]).exit_code, 0);
    let before = std::fs::read(&path).unwrap();
    for command in ["check", "doctor", "sql", "grants"] {
        assert!(testkit::run_program(&[command, &path.display().to_string()]).exit_code <= 1);
    }
    assert!(
        std::fs::read(&path).unwrap() == before && std::fs::read_dir(folder.path()).unwrap().count() == 1
    );
}
