//! Bad input and broken databases: one clear message, the right exit code, no secret.

use crate::{guide, harness};

#[test]
fn bad_input_is_a_usage_error() {
    for (arguments, part) in [
        (vec!["check", "postgres://u:hunter2@h/d?sslmod=require"], "sslmod"),
        (vec!["check", "nonsense"], "not the address of a database"),
        (vec!["check", "mysql://u:hunter2@h/d"], "MySQL"),
        (vec!["check", "x.db", "--only", "duplicate-token"], "there is no check"),
        (vec!["check"], "no target"),
    ] {
        let said = harness::run(&arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(part), "{}", said.stderr);
        assert!(said.stdout.is_empty() && !said.stderr.contains("hunter2"), "{}", said.stderr);
    }
}

#[test]
fn a_database_that_cannot_be_looked_at_is_not_healthy() {
    let database = testbed::shared().database(None).unwrap();
    let wrong = database.url("postgres").replace(":testbed@", ":hunter2@");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("postgres://u:hunter2@127.0.0.1:{port}/d");
    let elsewhere = database.url("postgres").replace(database.name(), "no_such_database");
    let empty = database.url("postgres");
    for (url, part) in [
        (&wrong, "the password was refused"),
        (&nobody, "nothing listens"),
        (&elsewhere, "no database of that name"),
        (&empty, "no session table was recognised"),
    ] {
        let said = harness::run(&["check", url]);
        assert_eq!(said.code, 3, "{}", said.stderr);
        assert!(said.stderr.contains(part) && said.stderr.contains("hint:"), "{}", said.stderr);
        assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    }
}

#[test]
fn a_locked_table_is_reported_in_time() {
    let database = testbed::shared().database(None).unwrap();
    database.psql(guide::SCHEMA).unwrap();
    let (folder, port) = testbed::shared().socket();
    let url = database.url("postgres");
    // psql holds the lock for as long as the program that it runs.
    let script = format!(
        "BEGIN;\nLOCK TABLE sessions IN ACCESS EXCLUSIVE MODE;\n\\! {} check {url} --lock-timeout 1 2>&1; echo code $?\nROLLBACK;\n",
        env!("CARGO_BIN_EXE_sessionwatch")
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let output = std::process::Command::new(testbed::shared().bin().join("psql"))
        .args(["-X", "-q", "-U", "postgres", "-h"])
        .arg(folder)
        .args(["-p", &port.to_string(), "-d", database.name(), "-f"])
        .arg(file.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("locked by somebody else") && said.contains("code 3"), "{said}");
}

#[test]
fn an_empty_table_beside_accounts_is_not_known_to_be_healthy() {
    let database = testbed::shared().database(None).unwrap();
    database.psql(guide::SCHEMA).unwrap();
    database.psql("DELETE FROM sessions").unwrap();
    let said = harness::run(&["check", &database.url("postgres")]);
    assert_eq!(said.code, 3);
    assert!(said.stdout.contains("the session table is empty"), "{}", said.stdout);
    database.psql("INSERT INTO accounts VALUES ('a', 1)").unwrap();
    assert!(harness::run(&["check", &database.url("postgres")]).stdout.contains("JWT"));
}

#[test]
fn hidden_rows_make_health_unknown() {
    let database = testbed::shared().database(None).unwrap();
    database.psql(guide::SCHEMA).unwrap();
    let role = format!("hidden_{}", database.name());
    database
        .psql(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'testbed'; GRANT SELECT ON sessions, users TO {role};
             ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
             CREATE POLICY part ON sessions FOR SELECT TO {role} USING (\"userId\" < 30)"
        ))
        .unwrap();
    let report = harness::check(&database.url(&role), &[]);
    assert_eq!(report["verdict"], "unknown");
    assert!(report["notes"].to_string().contains("row-level security"));
    database.psql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
}
