//! No row is removed, and no session revoked, by an instant whose zone is unknown.

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::Value;
use sessionwatch_clock as clock;
use sessionwatch_core::{
    duration::{DAY, HOUR},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::history_events::{self, EventSearch};
use testkit::run_program_in;

use super::{BETTER_AUTH, BETTER_AUTH_UTC, CONNECT_PG_SIMPLE, check_in, configured, doubted, refused};
use crate::fastforward::{Watch, monday};

#[test]
fn no_grace_period_is_shorter_than_time_zones_can_differ() {
    // Written west of UTC: the rows do not show it, and an unused application looks the same.
    let database = BETTER_AUTH_UTC.load("America/Los_Angeles", 0);
    let url = database.url("postgres");
    assert_eq!(doubted(&testkit::run_check(&url, &[])), Vec::<String>::new());
    let hour_ago = clock::format_rfc3339(clock::now() - HOUR);
    for command in [
        &["cleanup", "expired", "--grace", "1h"][..],
        &["cleanup", "expired", "--grace", "0s"],
        &["cleanup", "expired", "--grace", "839m"],
        &["revoke", "where", "--expires-before", &hour_ago],
    ] {
        let said = testkit::run_program(&[command, &[&url]].concat());
        refused(&said, &["less than 14 hours", "`expiresAt` has no time zone", "timestamp-local:ZONE"]);
    }
    for command in [
        &["cleanup", "expired"][..],
        &["cleanup", "expired", "--grace", "14h"],
        &["revoke", "where", "--expires-before", "2020-01-01T00:00:00Z"],
    ] {
        let said = testkit::run_program(&[command, &[&url]].concat());
        assert_eq!(said.exit_code, 0, "{command:?}: {}", said.stderr);
    }
    // A mapping of the same decoder changes nothing; a zone does, even UTC.
    for (decoder, code) in
        [("timestamp-utc", 2), ("timestamp-local:America/Los_Angeles", 0), ("timestamp-local:UTC", 0)]
    {
        let folder = BETTER_AUTH_UTC.mapped(&database, decoder);
        let said = run_program_in(folder.path(), &[], &["cleanup", "expired", "--grace", "1h"]);
        assert_eq!(said.exit_code, code, "{decoder}: {}", said.stderr);
    }
    // The same for the daemon's cleanup, before it starts.
    for (decoder, grace, code) in [
        ("timestamp-utc", "1h", 2),
        ("timestamp-utc", "14h", 0),
        ("timestamp-local:America/Los_Angeles", "1h", 0),
    ] {
        let mapping = format!("sessions = \"session\"\n{BETTER_AUTH}decoder = \"{decoder}\"\n");
        let cleanup = format!("[target.cleanup]\nexpired = true\ngrace = \"{grace}\"\n");
        let folder = configured(&url, &mapping, &cleanup);
        let said = run_program_in(folder.path(), &[], &["config", "check"]);
        assert_eq!(said.exit_code, code, "{decoder} {grace}: {} {}", said.stdout, said.stderr);
        assert_eq!(said.stderr.contains("at least 14h"), code == 2, "{}", said.stderr);
    }
    let folder = BETTER_AUTH_UTC.mapped(&database, "timestamp-local:Mars/Olympus");
    let said = run_program_in(folder.path(), &[], &["config", "check"]);
    assert!(said.exit_code == 2 && said.stderr.contains("unknown time zone"), "{}", said.stderr);
}

#[test]
fn a_session_is_ended_at_the_current_time_of_its_zone() {
    let zone = "America/New_York";
    let database = BETTER_AUTH_UTC.load(zone, 0);
    let url = database.url("postgres");
    let mapping = format!(
        "sessions = \"session\"\n{BETTER_AUTH}decoder = \"timestamp-local:{zone}\"\nrevoke = \"expire\"\n"
    );
    let folder = configured(&url, &mapping, "");
    let plan = run_program_in(folder.path(), &[], &["revoke", "all", "--format", "json"]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let apply = ["apply", plan["plan"]["id"].as_str().unwrap(), "--confirm", "app"];
    let said = run_program_in(folder.path(), &[], &apply);
    assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
    let ended = format!(
        "SELECT COUNT(*) FROM session WHERE \"expiresAt\" AT TIME ZONE '{zone}' BETWEEN now() - interval '5 minutes' \
           AND now()"
    );
    assert_eq!(database.psql(&ended).unwrap(), "10\n");
}

#[test]
fn removing_most_of_a_table_needs_a_confirmation() {
    let database = testkit::empty_database();
    let sessions = "CREATE TABLE session (id text PRIMARY KEY, token text NOT NULL UNIQUE, \"userId\" text NOT NULL, \
        \"expiresAt\" timestamptz NOT NULL,\n\
        \"createdAt\" timestamptz NOT NULL, \"updatedAt\" timestamptz NOT NULL, \"ipAddress\" text, \
          \"userAgent\" text);\n\
        CREATE TABLE \"user\" (id text PRIMARY KEY, name text, email text);";
    database.psql(sessions).unwrap();
    let url = database.url("postgres");
    let fill = |expired: u32, active: u32| {
        database
            .psql(&format!(
                "DELETE FROM session; INSERT INTO session SELECT n, md5(n::text) || 'x', 'u' || n,\n\
                 CASE WHEN n <= {expired} THEN now() - interval '2 days' ELSE now() + interval '2 days' END, \
                   now() - interval '5 days', now()\n\
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
        (3, 2, Some("affects 60% of the rows in the table")),
        (90, 0, Some("in which no session seems active")),
        (5, 0, Some("in which no session seems active")),
    ] {
        fill(expired, active);
        let plan = run_program_in(folder.path(), &[], &["cleanup", "expired", "--format", "json"]);
        let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
        let id = plan["plan"]["id"].as_str().unwrap();
        let said = run_program_in(folder.path(), &[], &["apply", id]);
        match part {
            None => assert_eq!(said.exit_code, 0, "{}", said.stderr),
            Some(part) => {
                refused(&said, &[part]);
                let confirmed = ["apply", id, "--confirm", "app"];
                let said = run_program_in(folder.path(), &[], &confirmed);
                assert_eq!(said.exit_code, 0, "{}", said.stderr);
            }
        }
    }
}

#[test]
fn every_zone_and_lifetime_is_detected_or_spares_live_sessions() {
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
    let outcome =
        TestRunner::new(config).run(&(zones, 20i64..30_000, any::<bool>()), |(zone, minutes, truth)| {
            let cookie = if truth {
                "json_build_object('cookie', json_build_object('originalMaxAge', NULL, 'expires', \
                 to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')))"
            } else {
                "'{}'::json"
            };
            database
            .psql(&format!(
                "DELETE FROM session; INSERT INTO session SELECT 'sid-' || n || '-of-the-story', {cookie}, \
                   at AT TIME ZONE '{zone}'\n\
                 FROM (SELECT n, now() + {minutes} * interval '1 minute' - n * interval '3 seconds' AS at \
                   FROM generate_series(1, 40) AS n) AS s"
            ))
            .unwrap();
            let report = check_in(folder.path(), "scan");
            if truth {
                prop_assert!(!doubted(&report).is_empty(), "{zone} {minutes}");
            }
            for grace in ["0s", "1h", "13h", "14h", "24h"] {
                let said = run_program_in(
                    bare.path(),
                    &[],
                    &["cleanup", "expired", "--grace", grace, "--format", "json"],
                );
                // Every session is active, so no plan may name one.
                let none = said.exit_code == 0 && said.stdout.contains("\"rows\": 0");
                prop_assert!(
                    said.exit_code == 2 || none && !truth,
                    "{zone} {minutes} {grace}: \
                     {} {}",
                    said.stdout,
                    said.stderr
                );
            }
            Ok(())
        });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn the_daemons_cleanup_does_not_remove_most_of_a_table() {
    for (more, left) in [("", "8\n"), ("max_share = 0.9\n", "3\n")] {
        let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
        database
            .psql(
                "DELETE FROM sessions WHERE id NOT IN ('s88', 's89', 's90'); \
                 INSERT INTO sessions SELECT 'x' || n, 'old-' || n, 7, now() - interval '3 days' \
                   FROM generate_series(1, 5) AS n",
            )
            .unwrap();
        let url = database.url("postgres");
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\nschedule = \"guide\"\n\
             [target.cleanup]\nexpired = true\n{more}[serve]\nlisten = \"127.0.0.1:0\"\n"
        );
        let mut watch = Watch::start(folder.path(), &text, monday());
        let shared = std::sync::Arc::clone(&watch.shared);
        watch.to(monday() + DAY);
        let last = || {
            shared
                .app
                .store
                .read(|db| {
                    history_events::last_target_event_at(
                        db,
                        history_events::TargetEventKind {
                            kind: "cleanup",
                            target: "app",
                            check: "expired-backlog",
                        },
                    )
                })
                .unwrap()
        };
        testkit::wait_until("the cleanup", || last().is_some());
        assert_eq!(database.psql("SELECT COUNT(*) FROM sessions").unwrap(), left);
        let search = EventSearch {
            from: UtcTimestamp::MIN,
            to: UtcTimestamp::MAX,
            target: None,
            check: None,
            text: Some("affects 62% of the rows".into()),
            alerts_only: false,
            before_id: None,
            limit: 10,
        };
        let said = shared.app.store.read(|db| history_events::search_events(db, &search)).unwrap();
        assert_eq!(said.len(), usize::from(more.is_empty()), "{said:?}");
        assert!(watch.stop());
    }
}
