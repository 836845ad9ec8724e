//! The operator guide and the program agree on every number.

use serde_json::json;
use testkit::{find_check_result, run_check};

const DUPLICATES: &str = r#"SELECT count(*) FROM (SELECT "sessionToken" FROM sessions
  GROUP BY "sessionToken" HAVING COUNT(*) > 1) AS d"#;
const ORPHANS: &str =
    r#"SELECT count(*) FROM sessions s LEFT JOIN users u ON s."userId" = u.id WHERE u.id IS NULL"#;
const RATIO: &str = r#"SELECT COUNT(DISTINCT s."userId"), COUNT(s.id),
  ROUND(COUNT(s.id)::numeric / NULLIF(COUNT(DISTINCT s."userId"), 0), 2)
  FROM sessions s WHERE s.expires > NOW()"#;
const STATUS: &str = r#"SELECT count(*) FILTER (WHERE expires > NOW()), count(*) FILTER (WHERE NOT expires > NOW())
  FROM sessions"#;

#[test]
fn every_number_of_the_operator_guide_is_in_the_report() {
    let database = testkit::anomalous_database();
    let number = |sql: &str| database.psql(sql).unwrap().trim().to_owned();
    for url in database.urls("postgres") {
        for engine in ["scan", "pushdown"] {
            let report = run_check(&url, &["--engine", engine]);
            let stats = &report["stats"];
            assert_eq!(number(DUPLICATES), stats["duplicate_tokens"].to_string());
            assert_eq!(number(ORPHANS), stats["orphaned"].to_string());
            assert_eq!(number(STATUS), format!("{}|{}", stats["active"], stats["expired"]));
            let ratio = stats["sessions_per_user"].as_f64().unwrap();
            assert_eq!(number(RATIO), format!("{}|{}|{ratio:.2}", stats["users_active"], stats["active"]));
            // Creation is not stored, so one check run cannot see it.
            assert_eq!(find_check_result(&report, "rapid-creation")["result"], "unknown");
            assert!(
                find_check_result(&report, "duplicate-tokens")["summary"]
                    .as_str()
                    .unwrap()
                    .contains("2 duplicate tokens, 1 of them shared by several users")
            );
            assert_eq!(report["profile"], "authjs-prisma");
            for id in ["duplicate-tokens", "orphaned-sessions", "expired-backlog"] {
                assert_eq!(find_check_result(&report, id)["result"], "failing", "{id}");
            }
        }
    }
}

#[test]
fn a_healthy_table_passes_and_its_constraints_are_named_as_proof() {
    let database = testkit::healthy_database();
    database
        .psql(
            r#"ALTER TABLE sessions ADD CONSTRAINT one_token UNIQUE ("sessionToken");
               ALTER TABLE sessions ADD CONSTRAINT of_user
                 FOREIGN KEY ("userId") REFERENCES users (id) ON DELETE CASCADE"#,
        )
        .unwrap();
    for url in database.urls("postgres") {
        for engine in ["scan", "pushdown"] {
            let report = run_check(&url, &["--engine", engine]);
            assert_eq!(report["result"], "passing", "{report:#}");
            assert_eq!(find_check_result(&report, "duplicate-tokens")["proof"], "one_token");
            assert_eq!(find_check_result(&report, "orphaned-sessions")["proof"], "of_user");
            let deep = run_check(&url, &["--engine", engine, "--no-trust-constraints"]);
            assert_eq!(find_check_result(&deep, "duplicate-tokens")["proof"], json!(null));
        }
    }
}

#[test]
fn the_time_zone_of_the_server_changes_nothing() {
    let database = testkit::healthy_database();
    let before = run_check(&database.url("postgres"), &[])["stats"]["active"].clone();
    database
        .psql(&format!("ALTER DATABASE {} SET timezone = 'Pacific/Kiritimati'", database.name()))
        .unwrap();
    for url in database.urls("postgres") {
        assert_eq!(run_check(&url, &["--engine", "pushdown"])["stats"]["active"], before);
    }
}
