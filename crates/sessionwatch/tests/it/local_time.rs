//! Columns without a time zone: an application that writes its local time there is found out, nothing of it is removed by
//! the clock until its zone is written, and applications that write UTC are read as ever.

use std::path::Path;

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::Value;
use sessionwatch::{
    clock,
    config::Config,
    look::{self, Request},
    memory::Memory,
    store::events::{self, Search},
    target::engine::Engine,
};
use sessionwatch_core::{
    instant::{DAY, Instant},
    local_time::utc,
    zone::Zone,
};
use testkit::{Database, ProgramOutput, outcome, run_in};

use crate::fastforward::{Watch, monday};

/// Sessions as a framework stored them: the script, the table, its columns without a time zone, when they were made, and
/// the lines of a mapping.
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

/// What goes by the end of a session.
const BY_END: [&str; 5] =
    ["sessions-per-user", "user-session-excess", "expired-backlog", "active-sessions", "session-lifetime"];

impl Fixture {
    /// In a database of its own, as if it had been made just now in that zone, and nobody had signed in since for so many
    /// minutes.
    fn load(&self, zone: &str, idle: i64) -> Database<'static> {
        let database = testkit::empty();
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
                 ((sess->'cookie'->>'expires')::timestamptz AT TIME ZONE 'UTC') + {by}, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')))::json;",
                self.table
            ));
        }
        database.psql(&sql).unwrap();
        database
    }

    /// A folder with a configuration that maps the table by that decoder.
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

/// A folder with a configuration of one target, which is acted on as the one who watches.
fn configured(url: &str, mapping: &str, more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\nact_url = \"{url}\"\n[target.mapping]\n{mapping}{more}\
         [checks.slow-observation]\nbudget_ms = 3600000\n[checks.active-sessions]\nmin = 0\n"
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    folder
}

fn check_in(folder: &Path, engine: &str) -> Value {
    let said = run_in(folder, &[], &["check", "--engine", engine, "--format", "json"]);
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{} {}", said.stdout, said.stderr))
}

/// The summaries of the checks that are unknown for what their instants are.
fn doubted(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    let unknown = checks.filter(|check| check["verdict"] == "unknown");
    let said = unknown.map(|check| format!("{}: {}", check["id"], check["summary"]));
    said.filter(|said| said.contains("local time") || said.contains("time zone")).collect()
}

/// The offset of a zone at present, as it is written.
fn offset(zone: &str) -> String {
    utc(Zone::parse(zone).unwrap().offset_at(clock::now()))
}

/// That a command is refused, and says so.
fn refused(said: &ProgramOutput, parts: &[&str]) {
    assert_eq!(said.code, 2, "{} {}", said.stdout, said.stderr);
    for part in parts {
        assert!(said.stderr.contains(part), "no `{part}`: {}", said.stderr);
    }
}

#[test]
fn local_time_in_the_east_is_found_out_and_nothing_is_decided_by_it() {
    for zone in ["Asia/Tokyo", "Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin"] {
        let database = BETTER_AUTH_UTC.load(zone, 0);
        let url = database.url("postgres");
        let stored =
            format!("`expiresAt` is stored in local time, about {}: `createdAt` is up to", offset(zone));
        for engine in ["scan", "pushdown"] {
            let report = testkit::check(&url, &["--engine", engine]);
            for id in BY_END {
                let check = outcome(&report, id);
                let summary = check["summary"].as_str().unwrap();
                assert!(check["verdict"] == "unknown" && summary.contains(&stored), "{id}: {summary}");
            }
            assert_eq!(outcome(&report, "rapid-creation")["verdict"], "unknown");
            assert_eq!(outcome(&report, "duplicate-tokens")["verdict"], "healthy");
        }
        assert_ne!(testkit::run(&["check", &url]).code, 0);
        let doctor = testkit::run(&["doctor", &url]);
        assert_eq!(doctor.code, 1, "{}", doctor.stdout);
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
            let said = testkit::run(&[command, &[&url]].concat());
            refused(&said, &["is stored in local time", &offset(zone), "timestamp-local:ZONE"]);
        }
        // What does not go by the clock is done as ever.
        assert_eq!(testkit::run(&["cleanup", "orphaned", &url]).code, 0);
        let user = database.psql("SELECT min(\"userId\") FROM session").unwrap();
        assert_eq!(testkit::run(&["revoke", "user", user.trim(), &url]).code, 0);
    }
}

#[test]
fn sessions_that_live_too_long_by_hours_are_counted_by_nothing_until_the_zone_is_written() {
    let database = testkit::empty();
    database.psql(include_str!("../fixtures/local-time/drizzle-two-hours-ahead-pg.sql")).unwrap();
    let url = database.url("postgres");
    let report = testkit::check(&url, &[]);
    let said = outcome(&report, "active-sessions")["summary"].as_str().unwrap();
    assert!(
        said.contains(
            "`expires_at` is stored in local time, about UTC+2: `created_at` is up to 2.0 h ahead of the database's clock"
        ),
        "{said}"
    );
    assert_ne!(testkit::run(&["check", &url]).code, 0);
    refused(&testkit::run(&["cleanup", "expired", &url]), &["about UTC+2", "timestamp-local:ZONE"]);
    let folder = BETTER_AUTH_DRIZZLE.mapped(&database, "timestamp-local:Etc/GMT-2");
    let report = check_in(folder.path(), "scan");
    assert_eq!((&report["census"]["active"], &report["census"]["expired"]), (&200.into(), &10.into()));
    let said = run_in(folder.path(), &[], &["cleanup", "expired", "--grace", "30m", "--format", "json"]);
    assert!(said.stdout.contains("\"rows\": 10"), "{} {}", said.stdout, said.stderr);
}

#[test]
fn sessions_that_seem_to_be_over_may_be_active_in_another_zone() {
    let database = BETTER_AUTH_NEW_YORK.load("UTC", 0);
    let url = database.url("postgres");
    let report = testkit::check(&url, &[]);
    for id in BY_END {
        let check = outcome(&report, id);
        assert_eq!(check["verdict"], "unknown", "{check}");
        assert!(check["summary"].as_str().unwrap().contains("no session seems active"), "{check}");
    }
    assert_ne!(testkit::run(&["check", &url]).code, 0);
    for grace in ["1h", "24h"] {
        let said = testkit::run(&["cleanup", "expired", "--grace", grace, &url]);
        refused(
            &said,
            &["`expiresAt` names no time zone", "no session seems active", "timestamp-local:ZONE"],
        );
    }
    assert_eq!(database.psql("SELECT COUNT(*) FROM session").unwrap(), "10\n");
    let doctor = testkit::run(&["doctor", &url]);
    assert!(doctor.stdout.contains("warn  expiry: `expiresAt` names no time zone"), "{}", doctor.stdout);
    // With its zone they are what they are: all active, and none of them is cleaned up.
    let folder = BETTER_AUTH_NEW_YORK.mapped(&database, "timestamp-local:Etc/GMT+5");
    assert_eq!(check_in(folder.path(), "scan")["census"]["active"], 10);
    let said = run_in(folder.path(), &[], &["cleanup", "expired", "--grace", "1h", "--format", "json"]);
    assert!(said.code == 0 && said.stdout.contains("\"rows\": 0"), "{} {}", said.stdout, said.stderr);
}

#[test]
fn no_grace_is_shorter_than_clocks_can_be_apart() {
    // Written in the west: nothing in the rows says so, and an application that nobody uses looks the same.
    let database = BETTER_AUTH_UTC.load("America/Los_Angeles", 0);
    let url = database.url("postgres");
    assert_eq!(doubted(&testkit::check(&url, &[])), Vec::<String>::new());
    let hour_ago = clock::rfc3339(clock::now().plus(-3_600_000_000));
    for command in [
        &["cleanup", "expired", "--grace", "1h"][..],
        &["cleanup", "expired", "--grace", "0s"],
        &["cleanup", "expired", "--grace", "839m"],
        &["revoke", "where", "--expires-before", &hour_ago],
    ] {
        let said = testkit::run(&[command, &[&url]].concat());
        refused(&said, &["within 14 hours", "`expiresAt` names no time zone", "timestamp-local:ZONE"]);
    }
    for command in [
        &["cleanup", "expired"][..],
        &["cleanup", "expired", "--grace", "14h"],
        &["revoke", "where", "--expires-before", "2020-01-01T00:00:00Z"],
    ] {
        let said = testkit::run(&[command, &[&url]].concat());
        assert_eq!(said.code, 0, "{command:?}: {}", said.stderr);
    }
    // A mapping that says as much lifts nothing; a zone does, be it UTC.
    for (decoder, code) in
        [("timestamp-utc", 2), ("timestamp-local:America/Los_Angeles", 0), ("timestamp-local:UTC", 0)]
    {
        let folder = BETTER_AUTH_UTC.mapped(&database, decoder);
        let said = run_in(folder.path(), &[], &["cleanup", "expired", "--grace", "1h"]);
        assert_eq!(said.code, code, "{decoder}: {}", said.stderr);
    }
    // The same for the cleanup of the daemon, before it starts.
    for (decoder, grace, code) in [
        ("timestamp-utc", "1h", 2),
        ("timestamp-utc", "14h", 0),
        ("timestamp-local:America/Los_Angeles", "1h", 0),
    ] {
        let mapping = format!("sessions = \"session\"\n{BETTER_AUTH}decoder = \"{decoder}\"\n");
        let cleanup = format!("[target.cleanup]\nexpired = true\ngrace = \"{grace}\"\n");
        let folder = configured(&url, &mapping, &cleanup);
        let said = run_in(folder.path(), &[], &["config", "check"]);
        assert_eq!(said.code, code, "{decoder} {grace}: {} {}", said.stdout, said.stderr);
        assert_eq!(said.stderr.contains("at least 14h"), code == 2, "{}", said.stderr);
    }
    let folder = BETTER_AUTH_UTC.mapped(&database, "timestamp-local:Mars/Olympus");
    let said = run_in(folder.path(), &[], &["config", "check"]);
    assert!(said.code == 2 && said.stderr.contains("no time zone of that name"), "{}", said.stderr);
}

#[test]
fn the_zone_of_the_application_puts_every_number_right() {
    for zone in ["America/New_York", "Asia/Tokyo", "Asia/Kolkata"] {
        for fixture in [&BETTER_AUTH_UTC, &BETTER_AUTH_DRIZZLE] {
            let database = fixture.load(zone, 0);
            // Two sessions have just ended, and two will.
            database
                .psql(&format!(
                    "UPDATE session SET {0} = (now() AT TIME ZONE '{zone}') + interval '6 days'; \
                     UPDATE session SET {0} = (now() AT TIME ZONE '{zone}') + r.n * interval '10 minutes' FROM \
                     (SELECT id, row_number() OVER (ORDER BY id) - 2.5 AS n FROM session ORDER BY id LIMIT 4) AS r WHERE r.id = session.id",
                    fixture.columns[0]
                ))
                .unwrap();
            let folder = fixture.mapped(&database, &format!("timestamp-local:{zone}"));
            for engine in ["scan", "pushdown"] {
                let report = check_in(folder.path(), engine);
                assert_eq!(doubted(&report), Vec::<String>::new());
                assert_eq!(
                    (&report["census"]["active"], &report["census"]["expired"]),
                    (&8.into(), &2.into())
                );
                assert_eq!(report["census"]["created_last_hour"], 10, "{report}");
            }
            let said =
                run_in(folder.path(), &[], &["cleanup", "expired", "--grace", "1m", "--format", "json"]);
            assert!(said.stdout.contains("\"rows\": 2"), "{} {}", said.stdout, said.stderr);
            let sql = run_in(folder.path(), &[], &["sql", "query-7"]);
            assert_eq!(database.psql(&sql.stdout).unwrap(), "active|8\nexpired|2\n", "{}", sql.stdout);
            let doctor = run_in(folder.path(), &[], &["doctor"]);
            assert!(doctor.stdout.contains("pass  expiry:"), "{}", doctor.stdout);
        }
    }
    // A zone that is not that of the application is found out like any other reading.
    let database = BETTER_AUTH_UTC.load("Asia/Tokyo", 0);
    let folder = BETTER_AUTH_UTC.mapped(&database, "timestamp-local:Asia/Karachi");
    let report = check_in(folder.path(), "scan");
    let said = outcome(&report, "active-sessions")["summary"].as_str().unwrap();
    assert!(said.contains("is not the local time of Asia/Karachi, but about UTC+9"), "{said}");
}

#[test]
fn a_session_is_ended_at_the_present_instant_of_its_zone() {
    let zone = "America/New_York";
    let database = BETTER_AUTH_UTC.load(zone, 0);
    let url = database.url("postgres");
    let mapping = format!(
        "sessions = \"session\"\n{BETTER_AUTH}decoder = \"timestamp-local:{zone}\"\nrevoke = \"expire\"\n"
    );
    let folder = configured(&url, &mapping, "");
    let plan = run_in(folder.path(), &[], &["revoke", "all", "--format", "json"]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let apply = ["revoke", "all", "--apply", plan["plan"]["id"].as_str().unwrap(), "--confirm", "app"];
    let said = run_in(folder.path(), &[], &apply);
    assert_eq!(said.code, 0, "{} {}", said.stdout, said.stderr);
    let ended = format!(
        "SELECT COUNT(*) FROM session WHERE \"expiresAt\" AT TIME ZONE '{zone}' BETWEEN now() - interval '5 minutes' AND now()"
    );
    assert_eq!(database.psql(&ended).unwrap(), "10\n");
}

#[test]
fn applications_that_write_utc_are_read_as_ever_also_when_nobody_uses_them() {
    let fixtures =
        [&BETTER_AUTH_UTC, &BETTER_AUTH_PRISMA, &BETTER_AUTH_DRIZZLE, &AUTHJS_PRISMA, &AUTHJS_DRIZZLE];
    for fixture in fixtures {
        for idle in [0, 47, 5 * 60, 9 * 60 + 13, 3 * 24 * 60] {
            let database = fixture.load("UTC", idle);
            let url = database.url("postgres");
            for engine in ["scan", "pushdown"] {
                let report = testkit::check(&url, &["--engine", engine]);
                assert_eq!(doubted(&report), Vec::<String>::new(), "{} {idle}", fixture.made);
                assert_ne!(report["census"]["active"], 0);
            }
            let said = testkit::run(&["cleanup", "expired", &url]);
            assert_eq!(said.code, 0, "{}", said.stderr);
        }
    }
    let database = BETTER_AUTH_UTC.load("UTC", 0);
    let doctor = testkit::run(&["doctor", &database.url("postgres")]);
    assert!(doctor.stdout.contains("pass  expiry:"), "{}", doctor.stdout);
}

#[test]
fn what_a_session_says_of_its_cookie_is_the_truth() {
    for zone in ["America/Los_Angeles", "Asia/Tokyo", "Asia/Kolkata"] {
        let database = CONNECT_PG_SIMPLE.load(zone, 0);
        let folder = CONNECT_PG_SIMPLE.mapped(&database, "timestamp-utc");
        for engine in ["scan", "pushdown"] {
            let report = check_in(folder.path(), engine);
            let said = outcome(&report, "active-sessions")["summary"].as_str().unwrap();
            let stored = format!("`expire` is stored in local time, about {}", offset(zone));
            assert!(said.contains(&stored), "{said}");
        }
        for grace in ["1h", "24h", "14h"] {
            let said = run_in(folder.path(), &[], &["cleanup", "expired", "--grace", grace]);
            refused(&said, &["is stored in local time", &offset(zone)]);
        }
        let right = CONNECT_PG_SIMPLE.mapped(&database, &format!("timestamp-local:{zone}"));
        let report = check_in(right.path(), "scan");
        assert_eq!(doubted(&report), Vec::<String>::new());
        assert_eq!(report["census"]["expired"], 0);
        let said = run_in(right.path(), &[], &["cleanup", "expired", "--grace", "1h"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
    }
    let database = CONNECT_PG_SIMPLE.load("UTC", 3 * 60);
    let folder = CONNECT_PG_SIMPLE.mapped(&database, "timestamp-utc");
    assert_eq!(doubted(&check_in(folder.path(), "scan")), Vec::<String>::new());
    // Ends move on as sessions are used, and what the rows say of them does not.
    database.psql("UPDATE session SET expire = expire + interval '157 minutes' WHERE sid < 'Q'").unwrap();
    assert_eq!(doubted(&check_in(folder.path(), "scan")), Vec::<String>::new());
    // Nothing of what a session holds comes along.
    database
        .psql("UPDATE session SET sess = jsonb_set(sess::jsonb, '{cookie,expires}', '\"planted-secret-2026\"')::json")
        .unwrap();
    let said = run_in(folder.path(), &[], &["check", "--format", "json", "-v"]);
    assert!(!said.stdout.contains("planted") && !said.stderr.contains("planted"));
}

#[test]
fn columns_of_one_row_that_are_hours_apart_show_a_zone() {
    // The creation is the database's own clock, as a default, and the end that of the application.
    let table = |shift: &str, lifetime: &str| {
        format!(
            "CREATE TABLE session (id text PRIMARY KEY, token text NOT NULL UNIQUE, \"userId\" text NOT NULL, \"expiresAt\" timestamp NOT NULL,\n\
             \"createdAt\" timestamptz NOT NULL, \"updatedAt\" timestamptz NOT NULL, \"ipAddress\" text, \"userAgent\" text);\n\
             CREATE TABLE \"user\" (id text PRIMARY KEY, name text, email text);\n\
             INSERT INTO \"user\" SELECT 'u' || n, 'N', 'e' FROM generate_series(1, 40) AS n;\n\
             INSERT INTO session SELECT n, md5(n::text) || 'x', 'u' || n, ((at + interval '{lifetime}') AT TIME ZONE 'UTC') + interval '{shift}', at, at\n\
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
        let database = testkit::empty();
        database.psql(&table(shift, lifetime)).unwrap();
        let url = database.url("postgres");
        let report = testkit::check(&url, &[]);
        let found = doubted(&report);
        assert_eq!(
            found.iter().any(|found| found.contains("active-sessions")),
            part.is_some(),
            "{shift} {lifetime} {found:?}"
        );
        assert!(part.is_none_or(|part| found.iter().all(|found| found.contains(part))), "{found:?}");
        // The creation names its zone, and is not doubted.
        assert!(found.iter().all(|found| !found.contains("rapid-creation")), "{found:?}");
        let said = testkit::run(&["cleanup", "expired", &url]);
        assert_eq!(said.code, if part.is_some() { 2 } else { 0 }, "{}", said.stderr);
    }
}

#[test]
fn text_without_an_offset_is_a_column_without_a_time_zone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(include_str!("../fixtures/local-time/django.sqlite.sql")).unwrap();
    let zone = "America/New_York";
    let ahead = Zone::parse(zone).unwrap().offset_at(clock::now()) / 1_000_000;
    let moved = format!(
        "UPDATE django_session SET expire_date = strftime('%Y-%m-%d %H:%M:%f', expire_date, \
         (strftime('%s', 'now') - strftime('%s', '2026-11-28 20:44:50') + {ahead}) || ' seconds')"
    );
    file.execute_batch(&moved).unwrap();
    let url = path.display().to_string();
    let mapped = |decoder: &str| {
        let mapping = format!(
            "sessions = \"django_session\"\ntoken = \"session_key\"\nexpires = \"expire_date\"\ndecoder = \"{decoder}\"\n"
        );
        configured(&url, &mapping, "")
    };
    let place = mapped("iso-text");
    let said = run_in(place.path(), &[], &["cleanup", "expired", "--grace", "1h"]);
    refused(&said, &["within 14 hours", "`expire_date` names no time zone and is read as `iso-text`"]);
    assert_eq!(run_in(place.path(), &[], &["cleanup", "expired"]).code, 0);
    let place = mapped(&format!("timestamp-local:{zone}"));
    let (scan, pushdown) = (check_in(place.path(), "scan"), check_in(place.path(), "pushdown"));
    let expired = file.query_row("SELECT COUNT(*) FROM django_session WHERE strftime('%s', expire_date) - strftime('%s', 'now') < 0 + ?1", [ahead], |row| row.get::<_, i64>(0));
    for report in [&scan, &pushdown] {
        assert_eq!(report["census"]["expired"], expired.as_ref().copied().unwrap());
    }
    let sql = run_in(place.path(), &[], &["sql", "query-7"]);
    let mut statement = file.prepare(sql.stdout.trim().trim_end_matches(';')).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).unwrap();
    let counted: Vec<(String, i64)> = rows.map(Result::unwrap).collect();
    assert!(counted.contains(&("expired".into(), expired.unwrap())), "{counted:?}");
    assert_eq!(run_in(place.path(), &[], &["cleanup", "expired", "--grace", "1h"]).code, 0);
}

#[test]
fn text_with_an_offset_names_its_instant_until_a_row_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(include_str!("../fixtures/local-time/better-sqlite3-session-store.sqlite.sql"))
        .unwrap();
    let moved = |column: &str, sql: &str| {
        format!(
            "{column} = strftime('%Y-%m-%dT%H:%M:%fZ', {sql}, (strftime('%s', 'now') - strftime('%s', '2026-11-28 20:37:55')) || ' seconds')"
        )
    };
    let cookie = moved("x", "json_extract(sess, '$.cookie.expires')");
    file.execute_batch(&format!(
        "UPDATE sessions SET {}, sess = json_set(sess, '$.cookie.expires', {})",
        moved("expire", "expire"),
        cookie.trim_start_matches("x = ")
    ))
    .unwrap();
    let url = path.display().to_string();
    let mapping = "sessions = \"sessions\"\ntoken = \"sid\"\nexpires = \"expire\"\ndecoder = \"iso-text\"\n";
    let place = configured(&url, mapping, "");
    assert_eq!(run_in(place.path(), &[], &["cleanup", "expired", "--grace", "1h"]).code, 0);
    assert_eq!(doubted(&check_in(place.path(), "scan")), Vec::<String>::new());
    // The same in local time, without an offset: the cookie shows it.
    file.execute_batch("UPDATE sessions SET expire = strftime('%Y-%m-%d %H:%M:%f', expire, '-5 hours')")
        .unwrap();
    for engine in ["scan", "pushdown"] {
        let found = doubted(&check_in(place.path(), engine));
        assert!(found.iter().any(|found| found.contains("stored in local time, about UTC-5")), "{found:?}");
    }
    refused(&run_in(place.path(), &[], &["cleanup", "expired"]), &["about UTC-5"]);
}

#[test]
fn one_text_without_an_offset_among_many_is_enough_to_keep_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    // More rows than are looked at before a decoder is believed.
    file.execute_batch(
        "CREATE TABLE sessions (sid TEXT PRIMARY KEY, expire TEXT);\n\
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)\n\
         INSERT INTO sessions SELECT 'token-number-' || i, strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '+' || i || ' minutes') FROM n;",
    )
    .unwrap();
    let url = path.display().to_string();
    let mapping = "sessions = \"sessions\"\ntoken = \"sid\"\nexpires = \"expire\"\ndecoder = \"iso-text\"\n";
    let place = configured(&url, mapping, "");
    let cleanup = || run_in(place.path(), &[], &["cleanup", "expired", "--grace", "1h"]);
    assert_eq!(cleanup().code, 0);
    file.execute_batch(
        "INSERT INTO sessions VALUES ('token-naive', strftime('%Y-%m-%d %H:%M:%S', 'now', '-2 hours'))",
    )
    .unwrap();
    refused(&cleanup(), &["within 14 hours"]);
}

#[test]
fn a_table_that_grows_by_sessions_of_hours_ago_is_found_out_by_two_looks() {
    let sign_in = |database: &Database<'_>, number: u32, zone: &str| {
        database
            .psql(&format!(
                "INSERT INTO session (id, token, \"userId\", \"expiresAt\", \"createdAt\", \"updatedAt\")\n\
                 SELECT 'new-{number}', 'new-token-{number}-of-the-story', min(\"userId\"), at + interval '7 days', at, at\n\
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
        let looked = |memory: &Memory| {
            let request = Request {
                target: &config.targets[0],
                catalogue: &config.catalogue,
                rules: &config.rules,
                deep: false,
                only: &[],
                watched: Some((memory, clock::now())),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(look::look(request, &mut Engine::new(request.target.engine)))
        };
        let mut memory = Memory::default();
        for number in 0..3 {
            let mut report = looked(&memory);
            let doubted =
                report.outcomes.iter().any(|outcome| outcome.finding.summary.contains("local time, about"));
            // At the first look nothing is known of growth; afterwards it is remembered while nobody signs in.
            assert_eq!(doubted, found && number > 0, "{zone} {number}");
            memory = memory.after(report.mirror.take().unwrap(), clock::now());
            if number == 0 {
                sign_in(&database, number, zone);
            }
        }
    }
}

#[test]
fn most_of_a_table_is_not_removed_without_a_second_thought() {
    let database = testkit::empty();
    let sessions = "CREATE TABLE session (id text PRIMARY KEY, token text NOT NULL UNIQUE, \"userId\" text NOT NULL, \"expiresAt\" timestamptz NOT NULL,\n\
        \"createdAt\" timestamptz NOT NULL, \"updatedAt\" timestamptz NOT NULL, \"ipAddress\" text, \"userAgent\" text);\n\
        CREATE TABLE \"user\" (id text PRIMARY KEY, name text, email text);";
    database.psql(sessions).unwrap();
    let url = database.url("postgres");
    let fill = |expired: u32, active: u32| {
        database
            .psql(&format!(
                "DELETE FROM session; INSERT INTO session SELECT n, md5(n::text) || 'x', 'u' || n,\n\
                 CASE WHEN n <= {expired} THEN now() - interval '2 days' ELSE now() + interval '2 days' END, now() - interval '5 days', now()\n\
                 FROM generate_series(1, {}) AS n",
                expired + active
            ))
            .unwrap();
    };
    let folder =
        configured(&url, &format!("sessions = \"session\"\n{BETTER_AUTH}decoder = \"timestamptz\"\n"), "");
    for (expired, active, part) in [
        (5, 35, None),
        (2, 1, None),
        (3, 2, Some("takes 60 % of the rows of the table")),
        (90, 0, Some("in which no session seems active")),
        (5, 0, Some("in which no session seems active")),
    ] {
        fill(expired, active);
        let plan = run_in(folder.path(), &[], &["cleanup", "expired", "--format", "json"]);
        let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
        let id = plan["plan"]["id"].as_str().unwrap();
        let said = run_in(folder.path(), &[], &["cleanup", "expired", "--apply", id]);
        match part {
            None => assert_eq!(said.code, 0, "{}", said.stderr),
            Some(part) => {
                refused(&said, &[part]);
                let confirmed = ["cleanup", "expired", "--apply", id, "--confirm", "app"];
                let said = run_in(folder.path(), &[], &confirmed);
                assert_eq!(said.code, 0, "{}", said.stderr);
            }
        }
    }
}

#[test]
fn every_zone_and_lifetime_is_found_out_or_leaves_live_sessions_alone() {
    let database = CONNECT_PG_SIMPLE.load("UTC", 0);
    let folder = CONNECT_PG_SIMPLE.mapped(&database, "timestamp-utc");
    let bare = CONNECT_PG_SIMPLE.mapped(&database, "timestamp-utc");
    let zones = proptest::sample::select(vec![
        "America/New_York",
        "America/St_Johns",
        "America/Sao_Paulo",
        "Pacific/Pago_Pago",
        "Europe/Berlin",
        "Asia/Tehran",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "Australia/Adelaide",
        "Pacific/Kiritimati",
    ]);
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&(zones, 20i64..30_000, any::<bool>()), |(zone, minutes, truth)| {
        let cookie = if truth {
            "json_build_object('cookie', json_build_object('originalMaxAge', NULL, 'expires', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')))"
        } else {
            "'{}'::json"
        };
        database
            .psql(&format!(
                "DELETE FROM session; INSERT INTO session SELECT 'sid-' || n || '-of-the-story', {cookie}, at AT TIME ZONE '{zone}'\n\
                 FROM (SELECT n, now() + {minutes} * interval '1 minute' - n * interval '3 seconds' AS at FROM generate_series(1, 40) AS n) AS s"
            ))
            .unwrap();
        let report = check_in(folder.path(), "scan");
        if truth {
            prop_assert!(!doubted(&report).is_empty(), "{zone} {minutes}");
        }
        for grace in ["0s", "1h", "13h", "14h", "24h"] {
            let said = run_in(bare.path(), &[], &["cleanup", "expired", "--grace", grace, "--format", "json"]);
            // Every session is active, so no plan may name one.
            let none = said.code == 0 && said.stdout.contains("\"rows\": 0");
            prop_assert!(said.code == 2 || none && !truth, "{zone} {minutes} {grace}: {} {}", said.stdout, said.stderr);
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn the_cleanup_of_the_watch_leaves_most_of_a_table_to_a_person() {
    for (more, left) in [("", "8\n"), ("max_share = 0.9\n", "3\n")] {
        let (database, folder) = (testkit::healthy(), tempfile::tempdir().unwrap());
        database
            .psql(
                "DELETE FROM sessions WHERE id NOT IN ('s88', 's89', 's90'); \
                 INSERT INTO sessions SELECT 'x' || n, 'old-' || n, 7, now() - interval '3 days' FROM generate_series(1, 5) AS n",
            )
            .unwrap();
        let url = database.url("postgres");
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{url}\"\nact_url = \"{url}\"\nschedule = \"guide\"\n\
             [target.cleanup]\nexpired = true\n{more}[serve]\nlisten = \"127.0.0.1:0\"\n"
        );
        let mut watch = Watch::start(folder.path(), &text, monday());
        let shared = std::sync::Arc::clone(&watch.shared);
        watch.to(monday().plus(DAY));
        let last = || shared.store.read(|db| events::last_of(db, ("cleanup", "app"))).unwrap();
        testkit::wait_until("the cleanup", || last().is_some());
        assert_eq!(database.psql("SELECT COUNT(*) FROM sessions").unwrap(), left);
        let search = Search {
            from: Instant::MIN,
            to: Instant::MAX,
            target: None,
            check: None,
            text: Some("takes 62 % of the rows".into()),
            alerts_only: false,
            before: None,
            limit: 10,
        };
        let said = shared.store.read(|db| events::search(db, &search)).unwrap();
        assert_eq!(said.len(), usize::from(more.is_empty()), "{said:?}");
        assert!(watch.stop());
    }
}
