//! Columns without a time zone: local time of an application is detected, no row is removed by the clock until the zone
//! is configured, and UTC is read as before.

use std::path::Path;

use serde_json::Value;
use sessionwatch_clock as clock;
use sessionwatch_core::{local_time::format_utc_offset, time_zone::Zone};
use testkit::{Database, ProgramOutput, find_check_result, run_program_in};

mod removal;
mod signs;
mod text_columns;

/// Sessions as a framework stored them: the script, the table, its columns without a time zone, their creation time,
/// and the lines of a mapping.
struct Fixture {
    script: &'static str,
    table: &'static str,
    columns: &'static [&'static str],
    made: &'static str,
    mapping: &'static str,
}

const BETTER_AUTH_UTC: Fixture = Fixture {
    script: include_str!("../fixtures/local-time/better-auth-1.2-timestamp-utc-pg.sql"),
    table: "session",
    columns: &["\"expiresAt\"", "\"createdAt\"", "\"updatedAt\""],
    made: "2026-11-28 20:33:00",
    mapping: BETTER_AUTH,
};
/// Written in New York, with sessions of three hours.
const BETTER_AUTH_NEW_YORK: Fixture = Fixture {
    script: include_str!("../fixtures/local-time/better-auth-1.2-timestamp-newyork-pg.sql"),
    made: "2026-11-28 20:33:10",
    ..BETTER_AUTH_UTC
};
const BETTER_AUTH_PRISMA: Fixture = Fixture {
    script: include_str!("../fixtures/local-time/better-auth-prisma-pg.sql"),
    made: "2026-11-28 20:57:30",
    ..BETTER_AUTH_UTC
};
const BETTER_AUTH_DRIZZLE: Fixture = Fixture {
    script: include_str!("../fixtures/local-time/better-auth-drizzle-pg.sql"),
    table: "session",
    columns: &["expires_at", "created_at", "updated_at"],
    made: "2026-11-28 20:56:10",
    mapping: "token = \"token\"\nuser = \"user_id\"\nid = \"id\"\nexpires = \"expires_at\"\ncreated = \"created_at\"\n",
};
const AUTHJS_PRISMA: Fixture = Fixture {
    script: include_str!("../fixtures/local-time/authjs-prisma-pg.sql"),
    table: "\"Session\"",
    columns: &["expires", "\"createdAt\"", "\"updatedAt\""],
    made: "2026-11-28 20:45:00",
    mapping: "",
};
const AUTHJS_DRIZZLE: Fixture = Fixture {
    script: include_str!("../fixtures/local-time/authjs-drizzle-pg.sql"),
    table: "session",
    columns: &["expires"],
    made: "2026-11-28 20:36:40",
    mapping: "",
};
const CONNECT_PG_SIMPLE: Fixture = Fixture {
    script: include_str!("../fixtures/local-time/connect-pg-simple.sql"),
    table: "session",
    columns: &["expire"],
    made: "2026-11-28 20:37:50",
    mapping: "token = \"sid\"\nexpires = \"expire\"\n",
};
const BETTER_AUTH: &str =
    "token = \"token\"\nuser = \"userId\"\nid = \"id\"\nexpires = \"expiresAt\"\ncreated = \"createdAt\"\n";

/// Actions that depend on the expiry of sessions.
const BY_END: [&str; 5] =
    ["sessions-per-user", "user-session-excess", "expired-backlog", "active-sessions", "session-lifetime"];

impl Fixture {
    /// Loads a fixture into a new database, as if it had been made just now in this zone, with the last login this many
    /// minutes ago.
    fn load(&self, zone: &str, idle: i64) -> Database<'static> {
        let database = testkit::empty_database();
        database.psql(self.script).unwrap();
        let by =
            format!("((now() AT TIME ZONE 'UTC') - TIMESTAMP '{}' - interval '{idle} minutes')", self.made);
        let set: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{column} = ({column} + {by}) AT TIME ZONE 'UTC' AT TIME ZONE '{zone}'"))
            .collect();
        let mut sql = format!("UPDATE {} SET {};", self.table, set.join(", "));
        if self.script.contains("\"cookie\"") {
            sql.push_str(&format!(
                "UPDATE {} SET sess = jsonb_set(sess::jsonb, '{{cookie,expires}}', to_jsonb(to_char(\
                 ((sess->'cookie'->>'expires')::timestamptz AT TIME ZONE 'UTC') + {by}, \
                   'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')))::json;",
                self.table
            ));
        }
        database.psql(&sql).unwrap();
        database
    }

    /// A folder with a configuration that maps the table with this decoder.
    fn mapped(&self, database: &Database<'_>, decoder: &str) -> tempfile::TempDir {
        let url = database.url("postgres");
        let table = self.table.trim_matches('"');
        configured(
            &url,
            &format!("sessions = \"public.{table}\"\n{}decoder = \"{decoder}\"\n", self.mapping),
            "",
        )
    }
}

/// A folder with a configuration of one target, whose watch role is also its write role.
fn configured(url: &str, mapping: &str, more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n[target.mapping]\n{mapping}{more}\
         [checks.slow-check-run]\nbudget_ms = 3600000\n[checks.active-sessions]\nmin = 0\n"
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    folder
}

fn check_in(folder: &Path, engine: &str) -> Value {
    let said = run_program_in(folder, &[], &["check", "--engine", engine, "--format", "json"]);
    said.check_report()
}

/// Summaries of the checks that are unknown because their instants are in doubt.
fn doubted(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    let unknown = checks.filter(|check| check["result"] == "unknown");
    let said = unknown.map(|check| format!("{}: {}", check["id"], check["summary"]));
    said.filter(|said| said.contains("local time") || said.contains("time zone")).collect()
}

/// Current UTC offset of a zone, as text.
fn offset(zone: &str) -> String {
    format_utc_offset(Zone::parse(zone).unwrap().offset_us_at(clock::now()))
}

/// Asserts that a command is rejected with this message.
fn refused(said: &ProgramOutput, parts: &[&str]) {
    assert_eq!(said.exit_code, 2, "{} {}", said.stdout, said.stderr);
    for part in parts {
        assert!(said.stderr.contains(part), "no `{part}`: {}", said.stderr);
    }
}

#[test]
fn local_time_east_of_utc_is_detected_and_nothing_depends_on_it() {
    for zone in ["Asia/Tokyo", "Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin"] {
        let database = BETTER_AUTH_UTC.load(zone, 0);
        let url = database.url("postgres");
        let stored =
            format!("`expiresAt` is stored in local time, about {}: `createdAt` is up to", offset(zone));
        for engine in ["scan", "pushdown"] {
            let report = testkit::run_check(&url, &["--engine", engine]);
            for id in BY_END {
                let check = find_check_result(&report, id);
                let summary = check["summary"].as_str().unwrap();
                assert!(check["result"] == "unknown" && summary.contains(&stored), "{id}: {summary}");
            }
            assert_eq!(find_check_result(&report, "rapid-creation")["result"], "unknown");
            assert_eq!(find_check_result(&report, "duplicate-tokens")["result"], "passing");
        }
        assert_ne!(testkit::run_program(&["check", &url]).exit_code, 0);
        let doctor = testkit::run_program(&["doctor", &url]);
        assert_eq!(doctor.exit_code, 1, "{}", doctor.stdout);
        for part in ["fail  expiry:", "fail  creation:", "decoder = \"timestamp-local:ZONE\""] {
            assert!(doctor.stdout.contains(part), "no `{part}`: {}", doctor.stdout);
        }
        for command in [
            &["cleanup", "expired"][..],
            &["cleanup", "expired", "--grace", "30d"],
            &["cleanup", "excess", "--keep", "1"],
            &["revoke", "where", "--expires-before", "2020-01-01T00:00:00Z"],
            &["revoke", "where", "--created-before", "2020-01-01T00:00:00Z"],
        ] {
            let said = testkit::run_program(&[command, &[&url]].concat());
            refused(&said, &["is stored in local time", &offset(zone), "timestamp-local:ZONE"]);
        }
        // Actions that do not depend on the clock still work.
        assert_eq!(testkit::run_program(&["cleanup", "orphaned", &url]).exit_code, 0);
        let user = database.psql("SELECT min(\"userId\") FROM session").unwrap();
        assert_eq!(testkit::run_program(&["revoke", "user", user.trim(), &url]).exit_code, 0);
    }
}

#[test]
fn lifetimes_off_by_hours_are_not_counted_until_the_zone_is_configured() {
    let database = testkit::empty_database();
    database.psql(include_str!("../fixtures/local-time/drizzle-two-hours-ahead-pg.sql")).unwrap();
    let url = database.url("postgres");
    let report = testkit::run_check(&url, &[]);
    let said = find_check_result(&report, "active-sessions")["summary"].as_str().unwrap();
    assert!(
        said.contains(
            "`expires_at` is stored in local time, about UTC+2: \
               `created_at` is up to 2.0 h ahead of the database's clock"
        ),
        "{said}"
    );
    assert_ne!(testkit::run_program(&["check", &url]).exit_code, 0);
    refused(&testkit::run_program(&["cleanup", "expired", &url]), &["about UTC+2", "timestamp-local:ZONE"]);
    let folder = BETTER_AUTH_DRIZZLE.mapped(&database, "timestamp-local:Etc/GMT-2");
    let report = check_in(folder.path(), "scan");
    assert_eq!((&report["stats"]["active"], &report["stats"]["expired"]), (&200.into(), &10.into()));
    let said =
        run_program_in(folder.path(), &[], &["cleanup", "expired", "--grace", "30m", "--format", "json"]);
    assert!(said.stdout.contains("\"rows\": 10"), "{} {}", said.stdout, said.stderr);
}

#[test]
fn sessions_that_seem_expired_may_be_active_in_another_zone() {
    let database = BETTER_AUTH_NEW_YORK.load("UTC", 0);
    let url = database.url("postgres");
    let report = testkit::run_check(&url, &[]);
    for id in BY_END {
        let check = find_check_result(&report, id);
        assert_eq!(check["result"], "unknown", "{check}");
        assert!(check["summary"].as_str().unwrap().contains("no session seems active"), "{check}");
    }
    assert_ne!(testkit::run_program(&["check", &url]).exit_code, 0);
    for grace in ["1h", "24h"] {
        let said = testkit::run_program(&["cleanup", "expired", "--grace", grace, &url]);
        refused(&said, &["`expiresAt` has no time zone", "no session seems active", "timestamp-local:ZONE"]);
    }
    assert_eq!(database.psql("SELECT COUNT(*) FROM session").unwrap(), "10\n");
    let doctor = testkit::run_program(&["doctor", &url]);
    assert!(doctor.stdout.contains("warn  expiry: `expiresAt` has no time zone"), "{}", doctor.stdout);
    // With the correct zone, all sessions are active, and none is cleaned up.
    let folder = BETTER_AUTH_NEW_YORK.mapped(&database, "timestamp-local:Etc/GMT+5");
    assert_eq!(check_in(folder.path(), "scan")["stats"]["active"], 10);
    let said =
        run_program_in(folder.path(), &[], &["cleanup", "expired", "--grace", "1h", "--format", "json"]);
    assert!(said.exit_code == 0 && said.stdout.contains("\"rows\": 0"), "{} {}", said.stdout, said.stderr);
}

#[test]
fn the_zone_of_the_application_corrects_every_number() {
    for zone in ["America/New_York", "Asia/Tokyo", "Asia/Kolkata"] {
        for fixture in [&BETTER_AUTH_UTC, &BETTER_AUTH_DRIZZLE] {
            let database = fixture.load(zone, 0);
            // Two sessions have just expired, and two will.
            database
                .psql(&format!(
                    "UPDATE session SET {0} = (now() AT TIME ZONE '{zone}') + interval '6 days'; \
                     UPDATE session SET {0} = (now() AT TIME ZONE '{zone}') + r.n * interval '10 minutes' FROM \
                     (SELECT id, row_number() OVER (ORDER BY id) - 2.5 AS n FROM session ORDER BY id LIMIT 4) AS r \
                       WHERE r.id = session.id",
                    fixture.columns[0]
                ))
                .unwrap();
            let folder = fixture.mapped(&database, &format!("timestamp-local:{zone}"));
            for engine in ["scan", "pushdown"] {
                let report = check_in(folder.path(), engine);
                assert_eq!(doubted(&report), Vec::<String>::new());
                assert_eq!((&report["stats"]["active"], &report["stats"]["expired"]), (&8.into(), &2.into()));
                assert_eq!(report["stats"]["created_last_hour"], 10, "{report}");
            }
            let said = run_program_in(
                folder.path(),
                &[],
                &["cleanup", "expired", "--grace", "1m", "--format", "json"],
            );
            assert!(said.stdout.contains("\"rows\": 2"), "{} {}", said.stdout, said.stderr);
            let sql = run_program_in(folder.path(), &[], &["sql", "query-7"]);
            assert_eq!(database.psql(&sql.stdout).unwrap(), "active|8\nexpired|2\n", "{}", sql.stdout);
            let doctor = run_program_in(folder.path(), &[], &["doctor"]);
            assert!(doctor.stdout.contains("pass  expiry:"), "{}", doctor.stdout);
        }
    }
    // A wrong zone is detected like any other wrong decoder.
    let database = BETTER_AUTH_UTC.load("Asia/Tokyo", 0);
    let folder = BETTER_AUTH_UTC.mapped(&database, "timestamp-local:Asia/Karachi");
    let report = check_in(folder.path(), "scan");
    let said = find_check_result(&report, "active-sessions")["summary"].as_str().unwrap();
    assert!(said.contains("is not the local time of Asia/Karachi, but about UTC+9"), "{said}");
}

#[test]
fn applications_that_write_utc_are_read_as_before_even_if_unused() {
    let fixtures =
        [&BETTER_AUTH_UTC, &BETTER_AUTH_PRISMA, &BETTER_AUTH_DRIZZLE, &AUTHJS_PRISMA, &AUTHJS_DRIZZLE];
    for fixture in fixtures {
        for idle in [0, 47, 5 * 60, 9 * 60 + 13, 3 * 24 * 60] {
            let database = fixture.load("UTC", idle);
            let url = database.url("postgres");
            for engine in ["scan", "pushdown"] {
                let report = testkit::run_check(&url, &["--engine", engine]);
                assert_eq!(doubted(&report), Vec::<String>::new(), "{} {idle}", fixture.made);
                assert_ne!(report["stats"]["active"], 0);
            }
            let said = testkit::run_program(&["cleanup", "expired", &url]);
            assert_eq!(said.exit_code, 0, "{}", said.stderr);
        }
    }
    let database = BETTER_AUTH_UTC.load("UTC", 0);
    let doctor = testkit::run_program(&["doctor", &database.url("postgres")]);
    assert!(doctor.stdout.contains("pass  expiry:"), "{}", doctor.stdout);
}
