//! Evidence of local time in a column: the cookie, other columns of the row, and the growth of a table.

use sessionwatch_app::{
    check_run::{self, CheckRunRequest},
    config::Config,
    target_history::TargetHistory,
};
use sessionwatch_clock as clock;
use sessionwatch_targets::engine::Engine;
use testkit::{Database, find_check_result, run_program_in};

use super::{BETTER_AUTH_UTC, CONNECT_PG_SIMPLE, check_in, doubted, offset, refused};

#[test]
fn the_cookie_of_a_session_proves_its_time() {
    for zone in ["America/Los_Angeles", "Asia/Tokyo", "Asia/Kolkata"] {
        let database = CONNECT_PG_SIMPLE.load(zone, 0);
        let folder = CONNECT_PG_SIMPLE.mapped(&database, "timestamp-utc");
        for engine in ["scan", "pushdown"] {
            let report = check_in(folder.path(), engine);
            let said = find_check_result(&report, "active-sessions")["summary"].as_str().unwrap();
            let stored = format!("`expire` is stored in local time, about {}", offset(zone));
            assert!(said.contains(&stored), "{said}");
        }
        for grace in ["1h", "24h", "14h"] {
            let said = run_program_in(folder.path(), &[], &["cleanup", "expired", "--grace", grace]);
            refused(&said, &["is stored in local time", &offset(zone)]);
        }
        let right = CONNECT_PG_SIMPLE.mapped(&database, &format!("timestamp-local:{zone}"));
        let report = check_in(right.path(), "scan");
        assert_eq!(doubted(&report), Vec::<String>::new());
        assert_eq!(report["stats"]["expired"], 0);
        let said = run_program_in(right.path(), &[], &["cleanup", "expired", "--grace", "1h"]);
        assert_eq!(said.exit_code, 0, "{}", said.stderr);
    }
    let database = CONNECT_PG_SIMPLE.load("UTC", 3 * 60);
    let folder = CONNECT_PG_SIMPLE.mapped(&database, "timestamp-utc");
    assert_eq!(doubted(&check_in(folder.path(), "scan")), Vec::<String>::new());
    // Expiries are extended with use, but the values in the rows are not.
    database.psql("UPDATE session SET expire = expire + interval '157 minutes' WHERE sid < 'Q'").unwrap();
    assert_eq!(doubted(&check_in(folder.path(), "scan")), Vec::<String>::new());
    // No other content of a session is read.
    database
        .psql("UPDATE session SET sess = jsonb_set(sess::jsonb, '{cookie,expires}', '\"planted-secret-2026\"')::json")
        .unwrap();
    let said = run_program_in(folder.path(), &[], &["check", "--format", "json", "-v"]);
    assert!(!said.stdout.contains("planted") && !said.stderr.contains("planted"));
}

#[test]
fn columns_of_one_row_that_differ_by_hours_reveal_a_zone() {
    // The creation time is the database's clock, as a column default; the expiry is the application's.
    let table = |shift: &str, lifetime: &str| {
        format!(
            "CREATE TABLE session (id text PRIMARY KEY, token text NOT NULL UNIQUE, \"userId\" text NOT NULL, \
               \"expiresAt\" timestamp NOT NULL,\n\
             \"createdAt\" timestamptz NOT NULL, \"updatedAt\" timestamptz NOT NULL, \"ipAddress\" text, \
               \"userAgent\" text);\n\
             CREATE TABLE \"user\" (id text PRIMARY KEY, name text, email text);\n\
             INSERT INTO \"user\" SELECT 'u' || n, 'N', 'e' FROM generate_series(1, 40) AS n;\n\
             INSERT INTO session SELECT n, md5(n::text) || 'x', 'u' || n, \
               ((at + interval '{lifetime}') AT TIME ZONE 'UTC') + interval '{shift}', at, at\n\
             FROM (SELECT n, now() - n * interval '23 minutes' AS at FROM generate_series(1, 40) AS n) AS s"
        )
    };
    for (shift, lifetime, part) in [
        ("-5 hours", "7 days", Some("about UTC-5")),
        ("5 hours 30 minutes", "7 days", Some("about UTC+5:30")),
        ("-5 hours", "3 hours", Some("is before the creation of the same row")),
        ("0", "7 days", None),
        ("0", "30 days", None),
        ("0", "20 hours", None),
    ] {
        let database = testkit::empty_database();
        database.psql(&table(shift, lifetime)).unwrap();
        let url = database.url("postgres");
        let report = testkit::run_check(&url, &[]);
        let found = doubted(&report);
        assert_eq!(
            found.iter().any(|found| found.contains("active-sessions")),
            part.is_some(),
            "{shift} {lifetime} {found:?}"
        );
        assert!(part.is_none_or(|part| found.iter().all(|found| found.contains(part))), "{found:?}");
        // The creation time has a zone, and is not in doubt.
        assert!(found.iter().all(|found| !found.contains("rapid-creation")), "{found:?}");
        let said = testkit::run_program(&["cleanup", "expired", &url]);
        assert_eq!(said.exit_code, if part.is_some() { 2 } else { 0 }, "{}", said.stderr);
    }
}

#[test]
fn a_table_growing_by_sessions_of_hours_ago_is_detected_by_two_runs() {
    let sign_in = |database: &Database<'_>, number: u32, zone: &str| {
        database
            .psql(&format!(
                "INSERT INTO session (id, token, \"userId\", \"expiresAt\", \"createdAt\", \"updatedAt\")\n\
                 SELECT 'new-{number}', 'new-token-{number}-of-the-story', min(\"userId\"), \
                   at + interval '7 days', at, at\n\
                 FROM session, (SELECT now() AT TIME ZONE '{zone}' AS at) AS n GROUP BY at"
            ))
            .unwrap();
    };
    for (zone, idle, found) in [("America/New_York", 0, true), ("UTC", 5 * 60, false)] {
        let database = BETTER_AUTH_UTC.load(zone, idle);
        let text = format!("[[target]]\nname = \"app\"\nurl = \"{}\"\n", database.url("postgres"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sessionwatch.toml");
        std::fs::write(&file, text).unwrap();
        let config = Config::load(Some(&file)).unwrap();
        let looked = |memory: &TargetHistory| {
            let request = CheckRunRequest {
                target: &config.targets[0],
                catalogue: &config.catalogue,
                settings: &config.checks,
                ignore_constraints: false,
                requested_ids: &[],
                history: Some((memory, clock::now())),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(check_run::run_checks(request, &mut Engine::new(request.target.engine)))
        };
        let mut memory = TargetHistory::default();
        for number in 0..3 {
            let mut report = looked(&memory);
            let doubted =
                report.results.iter().any(|outcome| outcome.outcome.summary.contains("local time, about"));
            // The first run knows nothing of growth; afterwards it is remembered while nobody logs in.
            assert_eq!(doubted, found && number > 0, "{zone} {number}");
            memory = memory.advance(report.history_update.take().unwrap(), clock::now());
            if number == 0 {
                sign_in(&database, number, zone);
            }
        }
    }
}
