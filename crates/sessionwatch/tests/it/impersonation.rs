//! Sessions in which an administrator impersonates a user: they are not the user's logins, and must not be forgotten.

use serde_json::Value;
use testkit::{find_check_result, run_program_in};

/// Twelve sessions of one user in the last hour, and three older ones; `WHO` is the impersonator in them.
const ROWS: &str = r#"
CREATE TABLE "user" (id text PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, role text);
CREATE TABLE session (id text PRIMARY KEY, "expiresAt" INSTANT NOT NULL, token text NOT NULL UNIQUE,
  "createdAt" INSTANT NOT NULL,
  "updatedAt" INSTANT NOT NULL, "ipAddress" text, "userAgent" text, "userId" text NOT NULL REFERENCES "user" (id),
    "impersonatedBy" text);
INSERT INTO "user" SELECT 'u' || n, 'Person ' || n, 'p' || n || '@example.org', NULL FROM (SERIES) AS numbers;
INSERT INTO session SELECT 'own' || n, LATER, 'token-of-a-usual-length-o' || n, EARLIER, EARLIER, NULL, NULL, 'u' || n,
  NULL FROM (SERIES) AS numbers;
INSERT INTO session SELECT 'now' || n, LATER, 'token-of-a-usual-length-n' || n, NOW, NOW, NULL, NULL, 'u1', WHO
  FROM (SERIES) AS numbers WHERE n <= 12;
INSERT INTO session SELECT 'old' || n, LATER, 'token-of-a-usual-length-d' || n, EARLIER, EARLIER, NULL, NULL, 'u2', WHO
  FROM (SERIES) AS numbers WHERE n <= 3;
"#;

fn tables(who: &str, instant: &str, [earlier, now, later]: [&str; 3]) -> String {
    let series =
        "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 30) SELECT n FROM s";
    let rows = ROWS.replace("INSTANT", instant).replace("SERIES", series).replace("WHO", who);
    rows.replace("EARLIER", earlier).replace("LATER", later).replace("NOW", now)
}

/// The result of rapid creation, `doctor`'s finding, and the number of rows that can be selected.
fn assert_impersonation(folder: &std::path::Path, url: &str, impersonated: bool) {
    for engine in ["scan", "pushdown"] {
        let said = run_program_in(folder, &[], &["check", url, "--engine", engine, "--format", "json"]);
        let report = said.check_report();
        let rapid = find_check_result(&report, "rapid-creation");
        let expected = if impersonated { "passing" } else { "failing" };
        assert_eq!(rapid["result"], expected, "{engine} {rapid:#}");
        let created = if impersonated { 0 } else { 12 };
        assert_eq!(report["stats"]["created_last_hour"], created, "{engine}");
        assert!(
            report["notes"].to_string().contains("`impersonatedBy` marks sessions of an impersonator"),
            "{report:#}"
        );
    }
    let doctor = run_program_in(folder, &[], &["doctor", url]).stdout;
    let found = if impersonated {
        "3 active sessions impersonated by `admin1` (`impersonatedBy`) for more than an hour"
    } else {
        "no impersonated session is older"
    };
    assert!(doctor.contains(found), "{doctor}");
    let revoke = run_program_in(folder, &[], &["revoke", "where", "--impersonated", url, "--format", "json"]);
    let plan: Value = serde_json::from_str(&revoke.stdout).unwrap_or_else(|_| panic!("{}", revoke.stderr));
    assert_eq!(plan["plan"]["rows"], if impersonated { 15 } else { 0 });
}

#[test]
fn on_a_server_impersonated_sessions_do_not_count_against_the_user() {
    for who in ["'admin1'", "NULL"] {
        let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
        let at = ["now() - interval '2 days'", "now()", "now() + interval '2 days'"];
        database.psql(&tables(who, "timestamptz", at)).unwrap();
        assert_impersonation(folder.path(), &database.url("postgres"), who != "NULL");
    }
}

#[test]
fn in_a_file_impersonated_sessions_do_not_count_against_the_user() {
    for who in ["'admin1'", "NULL"] {
        let folder = tempfile::tempdir().unwrap();
        let app = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
        let at = |modifier: &str| format!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '{modifier}')");
        let [earlier, now, later] = ["-2 days", "+0 days", "+2 days"].map(at);
        app.execute_batch(&tables(who, "date", [&earlier, &now, &later])).unwrap();
        assert_impersonation(folder.path(), "app.db", who != "NULL");
    }
}

#[test]
fn without_an_impersonation_column_it_cannot_be_a_condition() {
    let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let said =
        run_program_in(folder.path(), &[], &["revoke", "where", "--impersonated", &database.url("postgres")]);
    assert!(
        said.exit_code == 2 && said.stderr.contains("`--impersonated` needs an impersonator column"),
        "{}",
        said.stderr
    );
}
