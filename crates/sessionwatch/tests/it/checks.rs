//! Every check: a table that passes it and one that fails it, by both engines; and custom checks.

mod adapters;
mod watched;

use std::time::Duration;

use serde_json::Value;
use testkit::{FaultProxy, NetworkFault, find_check_result};

/// Makes a check fail on the healthy table; some need a configuration.
fn tripping(id: &str) -> (&'static str, &'static str) {
    match id {
        "duplicate-tokens" => (r#"UPDATE sessions SET "sessionToken" = 'same' WHERE id IN ('s1', 's2')"#, ""),
        "orphaned-sessions" => ("DELETE FROM users WHERE id <= 10", ""),
        "sessions-per-user" => (r#"UPDATE sessions SET "userId" = 1 + "userId" % 20"#, ""),
        "user-session-excess" => (r#"UPDATE sessions SET "userId" = 1 WHERE id < 's3'"#, ""),
        "expired-backlog" => ("UPDATE sessions SET expires = now() - interval '8 days' WHERE id = 's1'", ""),
        "active-sessions" => {
            ("DELETE FROM sessions WHERE id > 's2'", "[checks.active-sessions]\nmin = 50\nmax = 500\n")
        }
        "session-lifetime" => ("UPDATE sessions SET expires = 'infinity' WHERE id = 's1'", ""),
        "slow-check-run" => (
            r#"ALTER TABLE sessions RENAME TO stored; ALTER TABLE stored RENAME "sessionToken" TO stored_token;
               CREATE VIEW sessions AS SELECT id, stored_token AS "sessionToken", "userId", expires
                 FROM stored, pg_sleep(0.2)"#,
            "[checks.slow-check-run]\nbudget_ms = 1\n",
        ),
        other => panic!("{other} has no table that trips it"),
    }
}

/// Returns `true` if one run on the operator guide's table can evaluate a check; the others are tested with the daemon.
fn is_evaluated_by_one_run(check: &sessionwatch_app::checks::Check) -> bool {
    !check.needs_previous_run && check.id != "rapid-creation"
}

#[test]
fn each_check_passes_on_a_healthy_table_and_fails_for_its_own_reason() {
    let healthy = testkit::healthy_database();
    let folder = tempfile::tempdir().unwrap();
    for check in sessionwatch_app::checks::TABLE_CHECKS.into_iter().filter(is_evaluated_by_one_run) {
        let database = testkit::shared_server().create_database(Some(&healthy)).unwrap();
        let (sql, configuration) = tripping(check.id);
        let file = folder.path().join(format!("{}.toml", check.id));
        let path = file.display().to_string();
        // Without a baseline, this check is skipped.
        let usual = "[checks.active-sessions]\nmax = 1000000\n";
        std::fs::write(&file, if check.id == "active-sessions" { usual } else { "" }).unwrap();
        for (url, engine) in database.urls("postgres").iter().zip(["scan", "pushdown"]) {
            let arguments = ["--engine", engine, "--only", check.id, "--config", &path];
            let passing = testkit::run_check(url, &arguments);
            assert_eq!(passing["result"], "passing", "{}: {passing:#}", check.id);
        }
        std::fs::write(&file, configuration).unwrap();
        database.psql(sql).unwrap();
        for (url, engine) in database.urls("postgres").iter().zip(["pushdown", "scan"]) {
            let mut arguments = vec!["--engine", engine, "--only", check.id];
            if !configuration.is_empty() {
                arguments.extend(["--config", &path]);
            }
            let report = testkit::run_check(url, &arguments);
            let found = find_check_result(&report, check.id);
            assert_eq!(found["result"], "failing", "{} by {engine}: {found:#}", check.id);
            assert_eq!(found["severity"], check.severity.name());
            let shown = !found["evidence"].as_array().unwrap().is_empty();
            let by_rows = check.evidence != sessionwatch_app::checks::EvidenceKind::Value;
            assert!(shown == by_rows || check.id == "sessions-per-user", "{found:#}");
        }
    }
}

/// Sessions of Better Auth, which stores their creation; one user created twelve in the last hour.
const CREATED: &str = r#"
CREATE TABLE "user" (id text PRIMARY KEY, name text NOT NULL, email text NOT NULL);
CREATE TABLE session (id text PRIMARY KEY, token text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES "user" (id),
  "expiresAt" timestamptz NOT NULL,
  "createdAt" timestamptz NOT NULL, "updatedAt" timestamptz NOT NULL, "ipAddress" text, "userAgent" text);
INSERT INTO "user" SELECT 'u' || n, 'Person ' || n, n || '@example.org' FROM generate_series(1, 100) AS n;
INSERT INTO session SELECT 's' || n, 'token-' || md5(n::text), 'u' ||
  CASE WHEN n <= 12 THEN 1 ELSE n END, now() + interval '5 days',
  now() - CASE WHEN n <= 12 THEN interval '10 minutes' ELSE interval '1 day' END, now()
    FROM generate_series(1, 100) AS n;
"#;

#[test]
fn rapid_creation_is_evaluated_only_if_creation_is_stored() {
    let (silent, stored) = (testkit::healthy_database(), testkit::empty_database());
    // A user with many sessions need not have created them just now.
    silent
        .psql(r#"UPDATE sessions SET "userId" = 1 WHERE id IN ('s1', 's2', 's3', 's4', 's5', 's6')"#)
        .unwrap();
    stored.psql(CREATED).unwrap();
    for engine in ["scan", "pushdown"] {
        let report = testkit::run_check(&silent.url("postgres"), &["--engine", engine]);
        let found = find_check_result(&report, "rapid-creation");
        assert_eq!((&found["result"], &found["decides"]), (&"unknown".into(), &false.into()), "{found:#}");
        assert_eq!(report["result"], "passing", "{report:#}");
        let report = testkit::run_check(&stored.url("postgres"), &["--engine", engine]);
        let found = find_check_result(&report, "rapid-creation");
        assert_eq!((&found["result"], &found["value"]), (&"failing".into(), &12.0.into()), "{found:#}");
        assert_eq!(report["result"], "failing");
    }
}

#[test]
fn a_healthy_application_of_any_size_passes_at_once() {
    for users in [50, 800, 20_000] {
        let database = testkit::empty_database();
        let more = format!(
            "DELETE FROM session; DELETE FROM \"user\";
             INSERT INTO \"user\" SELECT 'u' || n, 'Person ' || n, n || '@example.org' \
               FROM generate_series(1, {users}) AS n;
             INSERT INTO session SELECT 's' || n, 'token-' || md5(n::text), 'u' || 1 + n % {users}, \
               now() + (1 + n % 6) * interval '1 day',
               now() - (n % 5) * interval '1 day' - interval '5 minutes', now() \
                 FROM generate_series(1, {users} * 5 / 4) AS n"
        );
        database.psql(&format!("{CREATED}{more}")).unwrap();
        for url in database.urls("postgres") {
            for engine in ["scan", "pushdown"] {
                let report = testkit::run_check(&url, &["--engine", engine]);
                assert_eq!(report["result"], "passing", "{users}: {report:#}");
            }
        }
    }
}

#[test]
fn a_healthy_table_passes_over_a_slow_connection() {
    let database = testkit::healthy_database();
    // Each response takes 40 ms, so a run takes longer than any budget for so few rows.
    let far = FaultProxy::start(
        testkit::shared_server().ports()[0],
        NetworkFault::Delay(Duration::from_millis(40)),
    )
    .unwrap();
    let url = database.url_at_port("postgres", far.port());
    for engine in ["scan", "pushdown"] {
        let said = testkit::run_program(&["check", &url, "--engine", engine]);
        assert!(said.exit_code == 0 && said.stdout.starts_with("passing: "), "{engine}: {}", said.stdout);
    }
}

#[test]
fn thresholds_severities_and_switches_of_the_configuration_apply() {
    let database = testkit::anomalous_database();
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[target]]\nname = \"one\"\nurl = \"{}\"\n\
         [[target]]\nname = \"two\"\nurl = \"${{TWO}}\"\nengine = \"pushdown\"\n\
         [checks.orphaned-sessions]\nmax = 12\n[checks.expired-backlog]\nseverity = \"critical\"\n\
         [checks.rapid-creation]\nenabled = false\n",
        database.url("postgres")
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let two = database.urls("postgres")[1].clone();
    let said = testkit::run_program_in(folder.path(), &[("TWO", &two)], &["check", "--format", "json"]);
    assert_eq!(said.exit_code, 1, "{}", said.stderr);
    let reports: Value = serde_json::from_str(&said.stdout).unwrap();
    for (report, (name, engine)) in
        reports["targets"].as_array().unwrap().iter().zip([("one", "scan"), ("two", "pushdown")])
    {
        assert_eq!((&report["target"], &report["engine"]), (&name.into(), &engine.into()));
        assert_eq!(find_check_result(report, "orphaned-sessions")["result"], "passing");
        assert_eq!(find_check_result(report, "expired-backlog")["severity"], "critical");
        assert!(report["checks"].as_array().unwrap().iter().all(|check| check["id"] != "rapid-creation"));
    }
    // An unreachable target hides nothing of the other.
    let said = testkit::run_program_in(
        folder.path(),
        &[("TWO", "postgres://u@127.0.0.1:1/d")],
        &["check", "--format", "ndjson", "--only", "orphaned-sessions"],
    );
    assert_eq!(said.exit_code, 3);
    let verdicts: Vec<Value> = said
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["result"].clone())
        .collect();
    assert_eq!(verdicts, ["passing", "unknown"]);
}

/// Reports of custom checks on this target.
fn custom(url: &str, checks: &[(&str, &str)]) -> (i32, Value) {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for (id, rest) in checks {
        text.push_str(&format!("[[custom_check]]\nid = \"{id}\"\n{rest}\n"));
    }
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let mut arguments = vec!["check", url, "--format", "json"];
    for (id, _) in checks {
        arguments.extend(["--only", id]);
    }
    let said = testkit::run_program_in(folder.path(), &[], &arguments);
    (said.exit_code, said.check_report())
}

#[test]
fn custom_checks_return_a_number_and_nothing_else() {
    let database = testkit::anomalous_database();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.db").display().to_string();
    let made = testkit::run_program(&["demo", "--once", "--path", &file]);
    assert_eq!(made.exit_code, 0, "{}", made.stderr);
    let mut urls = database.urls("postgres").to_vec();
    urls.push(file);
    for url in &urls {
        let (code, report) = custom(
            url,
            &[
                (
                    "rows",
                    "sql = \"SELECT * FROM sessions LIMIT 7; \"\nthreshold = \"> 6\"\nseverity = \"low\"",
                ),
                ("capped", "sql = \"SELECT * FROM sessions\"\nmax_rows = 5\nthreshold = \"!= 5\""),
                (
                    "first",
                    "sql = \"SELECT COUNT(*) * 0.5, 'x' FROM users\"\nvalue = \"first\"\nthreshold = \"< 1\"",
                ),
                ("commented", "sql = \"SELECT 1 -- all of them\"\nthreshold = \"< 1\""),
            ],
        );
        assert_eq!(code, 1, "{report:#}");
        for (id, verdict) in
            [("rows", "failing"), ("capped", "passing"), ("first", "passing"), ("commented", "passing")]
        {
            assert_eq!(find_check_result(&report, id)["result"], verdict, "{url} {id}: {report:#}");
        }
        assert_eq!(
            (&find_check_result(&report, "rows")["value"], &find_check_result(&report, "rows")["severity"]),
            (&7.0.into(), &"low".into())
        );
    }
}

#[test]
fn custom_checks_can_do_no_harm() {
    let database = testkit::healthy_database();
    let hostile = [
        ("two", r#"sql = "SELECT 1) AS q; COMMIT; DELETE FROM sessions; SELECT * FROM (SELECT 1""#),
        ("writes", r#"sql = "WITH gone AS (DELETE FROM sessions RETURNING 1) SELECT * FROM gone""#),
        ("wrong", r#"sql = "SELECT nothing FROM nowhere""#),
        ("leaks", "sql = 'SELECT \"sessionToken\" FROM sessions'\nvalue = \"first\""),
        ("empty", "sql = \"SELECT 1 WHERE false\"\nvalue = \"first\""),
    ];
    for url in database.urls("postgres") {
        let (code, report) = custom(&url, &hostile);
        assert_eq!(code, 3);
        for (id, _) in hostile {
            let found = find_check_result(&report, id);
            assert_eq!(found["result"], "unknown", "{found:#}");
        }
        assert!(!report.to_string().contains("token-"), "{report:#}");
        // The failed check affected no other check.
        let (_, mixed) = custom(&url, &[hostile[2], ("fine", "sql = \"SELECT 1\"")]);
        assert_eq!(find_check_result(&mixed, "fine")["result"], "failing");
    }
    assert_eq!(database.psql("SELECT COUNT(*) FROM sessions").unwrap().trim(), "90");
}
