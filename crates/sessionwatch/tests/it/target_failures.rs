//! Invalid input and broken databases: one clear message, the right exit code, no secrets, nothing left running.

use std::{
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use testkit::{Database, FaultProxy, NetworkFault, PostgresServer, ProgramOutput};

/// Enough rows for a scan to be in progress when a fault strikes.
const LARGE: &str = r#"
INSERT INTO sessions SELECT 'l' || n, 'large-' || md5(n::text), 1 + n % 60, now() + interval '1 day'
  FROM generate_series(1, 50000) AS n;
"#;
/// Bytes into the scan, far from its end.
const MIDDLE: usize = 400_000;
/// Extra time for a check run on a busy machine, beyond its time limit of a second.
const LATE: Duration = Duration::from_secs(60);
/// A table on which check runs last until they are canceled.
pub(crate) const ENDLESS: &str = r#"
ALTER TABLE sessions RENAME TO stored;
ALTER TABLE stored RENAME "sessionToken" TO stored_token;
CREATE VIEW sessions AS SELECT id, stored_token AS "sessionToken", "userId", expires FROM stored, pg_sleep(600);
"#;

/// Asserts an unknown result with a reason in every output.
fn assert_unknown(said: &ProgramOutput, reason: &str) {
    assert_eq!(said.exit_code, 3, "{} {}", said.stdout, said.stderr);
    assert!(said.stderr.contains(reason) && said.stderr.contains("hint:"), "{}", said.stderr);
    let report = said.check_report();
    assert_eq!(report["result"], "unknown");
    assert!(report["error"].as_str().unwrap().contains(reason), "{report:#}");
    assert_eq!(report["checks"].as_array().unwrap().len(), 9);
    assert!(report["checks"].as_array().unwrap().iter().all(|check| check["result"] == "unknown"));
}

fn check(url: &str, more: &[&str]) -> ProgramOutput {
    testkit::run_program(&[&["check", url, "--format", "json"], more].concat())
}

#[test]
fn invalid_input_is_a_usage_error() {
    for (arguments, part) in [
        (vec!["check", "postgres://u:hunter2@h/d?sslmod=require"], "sslmod"),
        (vec!["check", "nonsense"], "no target is named `nonsense`"),
        (vec!["check", "mysql://u:hunter2@h/d"], "MySQL"),
        (vec!["check", "x.db", "--only", "duplicate-token"], "did you mean `duplicate-tokens`?"),
        (vec!["check"], "no target"),
        (vec!["sql", "query-8", "x.db"], "query-1 to query-7"),
        (vec!["sessions", "list", "x.db", "--limit", "0"], "--limit"),
        (vec!["check", "--config", "/no/such.toml"], "cannot read configuration file"),
    ] {
        let said = testkit::run_program(&arguments);
        assert_eq!(said.exit_code, 2, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(part), "{}", said.stderr);
        assert!(said.stdout.is_empty() && !said.stderr.contains("hunter2"), "{}", said.stderr);
    }
}

#[test]
fn a_database_that_cannot_be_checked_is_unknown() {
    let database = testkit::empty_database();
    let [wrong, wrong_at_pooler] = database.urls("postgres").map(|url| url.replace(":testkit@", ":hunter2@"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("postgres://u:hunter2@127.0.0.1:{port}/d");
    let elsewhere = database.url("postgres").replace(database.name(), "no_such_database");
    let [empty, pooled] = database.urls("postgres");
    for (url, part) in [
        (&wrong, "authentication failed (wrong user or password)"),
        (&wrong_at_pooler, "authentication failed (wrong user or password)"),
        (&nobody, "connection refused"),
        (&elsewhere, "the database does not exist"),
        (&empty, "no session table found"),
        (&pooled, "no session table found"),
    ] {
        let said = check(url, &[]);
        assert_unknown(&said, part);
        assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    }
}

#[test]
fn a_locked_table_is_reported_in_time() {
    let database = testkit::healthy_database();
    let (folder, port) = testkit::shared_server().socket_address();
    for url in database.urls("postgres") {
        // psql holds the lock for as long as the program that it runs.
        let script = format!(
            "BEGIN;\nLOCK TABLE sessions IN ACCESS EXCLUSIVE MODE;\n\\! {} check {url} --lock-timeout 1s 2>&1; \
             echo code $?\nROLLBACK;\n",
            env!("CARGO_BIN_EXE_sessionwatch")
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script).unwrap();
        let output = std::process::Command::new(testkit::shared_server().bin_folder().join("psql"))
            .args(["-X", "-q", "-U", "postgres", "-h"])
            .arg(folder)
            .args(["-p", &port.to_string(), "-d", database.name(), "-f"])
            .arg(file.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("locked by another transaction") && said.contains("code 3"), "{said}");
    }
}

#[test]
fn a_connection_cut_in_the_middle_of_a_scan_is_unknown() {
    let database = testkit::healthy_database();
    database.psql(LARGE).unwrap();
    for port in testkit::shared_server().ports() {
        let proxy = FaultProxy::start(port, NetworkFault::CutAfter(MIDDLE)).unwrap();
        let url = database.url_at_port("postgres", proxy.port());
        assert_unknown(&check(&url, &[]), "the connection to the database was lost");
        assert_eq!(testkit::wait_for_remaining_queries(&database), "");
        proxy.set_fault(NetworkFault::None);
        assert_eq!(check(&url, &["--only", "duplicate-tokens"]).exit_code, 0, "restored");
    }
}

#[test]
fn a_slow_connection_only_takes_longer() {
    let database = testkit::healthy_database();
    for port in testkit::shared_server().ports() {
        let proxy = FaultProxy::start(port, NetworkFault::Delay(Duration::from_millis(20))).unwrap();
        let said = check(&database.url_at_port("postgres", proxy.port()), &[]);
        assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
    }
}

#[test]
fn a_server_stopped_in_the_middle_of_a_scan_is_unknown() {
    let server = PostgresServer::start(&[]).unwrap();
    let database = server.create_database(None).unwrap();
    database.psql(testkit::sample_databases::GUIDE_SCHEMA).unwrap();
    database.psql(LARGE).unwrap();
    let proxy = FaultProxy::start(server.ports()[0], NetworkFault::FreezeAfter(MIDDLE)).unwrap();
    let url = database.url_at_port("postgres", proxy.port());
    let child = testkit::program_command(&["check", &url, "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    proxy.wait_until_frozen();
    server.stop_immediately().unwrap();
    proxy.set_fault(NetworkFault::None);
    assert_unknown(
        &testkit::ProgramOutput::from(child.wait_with_output().unwrap()),
        "the connection to the database was lost",
    );
}

#[test]
fn a_silent_server_is_given_up_within_the_time_limit() {
    // A server that accepts connections, and never sends a byte.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("postgres://u@127.0.0.1:{}/d", silent.local_addr().unwrap().port());
    let started = Instant::now();
    assert_unknown(&check(&mute, &["--timeout", "1s"]), "timed out after 1 s");
    assert!(started.elapsed() < LATE, "far past the limit");
}

#[test]
fn a_query_that_exceeds_its_time_limit_is_canceled_in_the_database_too() {
    let database = testkit::healthy_database();
    database.psql(ENDLESS).unwrap();
    for url in database.urls("postgres") {
        for engine in ["scan", "pushdown"] {
            let started = Instant::now();
            assert_unknown(&check(&url, &["--timeout", "1s", "--engine", engine]), "timed out after 1 s");
            assert!(started.elapsed() < LATE, "far past the limit");
            assert_eq!(testkit::wait_for_remaining_queries(&database), "");
        }
    }
}

#[test]
fn no_query_keeps_running_when_the_program_is_killed() {
    let database = testkit::healthy_database();
    database.psql(ENDLESS).unwrap();
    for url in database.urls("postgres") {
        let mut child = testkit::program_command(&["check", &url]).stderr(Stdio::null()).spawn().unwrap();
        wait_for_scan(&database);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(testkit::wait_for_remaining_queries(&database), "");
    }
}

/// Waits until the program reads rows of the sessions.
pub(crate) fn wait_for_scan(database: &Database<'_>) {
    let running = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND state = 'active'
            AND (query LIKE 'COPY%' OR query LIKE '%AS sample')",
        database.name()
    );
    testkit::wait_until("a row is read", || database.psql(&running).unwrap().trim() == "1");
}

#[test]
fn an_empty_table_is_unknown_unless_there_are_no_users() {
    let database = testkit::healthy_database();
    database.psql("DELETE FROM sessions").unwrap();
    for url in database.urls("postgres") {
        let said = testkit::run_program(&["check", &url]);
        assert_eq!(said.exit_code, 3, "{}", said.stdout);
        assert!(said.stdout.contains("the session table is empty, but there are users"), "{}", said.stdout);
    }
    database.psql("INSERT INTO accounts VALUES ('a', 1)").unwrap();
    for url in database.urls("postgres") {
        let said = testkit::run_program(&["check", &url]);
        assert_eq!(said.exit_code, 3);
        assert!(said.stdout.contains("but accounts are in use"), "{}", said.stdout);
    }
    // Without any users, nobody has logged in yet.
    database.psql("DELETE FROM accounts; DELETE FROM users").unwrap();
    for url in database.urls("postgres") {
        for engine in ["scan", "pushdown"] {
            let said = testkit::run_program(&["check", &url, "--engine", engine]);
            assert!(
                said.exit_code == 0 && said.stdout.contains("no sessions yet"),
                "{engine}: {}",
                said.stdout
            );
        }
    }
}

#[test]
fn hidden_rows_make_results_unknown() {
    let database = testkit::healthy_database();
    let role = testkit::create_role(&database, "hidden");
    database
        .psql(&format!(
            "GRANT SELECT ON sessions, users TO {role};
             ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
             CREATE POLICY part ON sessions FOR SELECT TO {role} USING (\"userId\" < 30)"
        ))
        .unwrap();
    for url in database.urls(&role) {
        let report = testkit::run_check(&url, &[]);
        assert_eq!(report["result"], "unknown");
        assert!(report["notes"].to_string().contains("row-level security"));
        let doctor = testkit::run_program(&["doctor", &url]);
        assert_eq!(doctor.exit_code, 1);
        assert!(
            doctor.stdout.contains("fail  visibility") && doctor.stdout.contains("CREATE POLICY"),
            "{}",
            doctor.stdout
        );
    }
}
