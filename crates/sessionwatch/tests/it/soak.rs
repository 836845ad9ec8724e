//! Two weeks of monitoring, with a live application and incidents of every kind.

use std::{collections::BTreeMap, path::Path};

use jiff::SignedDuration;
use serde_json::Value;
use sessionwatch_clock as clock;
use sessionwatch_core::duration::DAY;
use testkit::HttpSink;

use crate::fastforward::{Apart, monday};

const STEP: SignedDuration = SignedDuration::from_mins(10);
const DAILY: i32 = 24 * 6;

/// An incident: the run before which it begins, its length in runs, and the check that finds it.
struct Incident {
    at: i32,
    looks: i32,
    check: &'static str,
    begin: &'static str,
    end: &'static str,
}

const fn incident(day: i32, looks: i32, check: &'static str, [begin, end]: [&'static str; 2]) -> Incident {
    Incident { at: day * DAILY + 37, looks, check, begin, end }
}

/// One per day; there are none between them.
const INCIDENTS: [Incident; 9] = [
    incident(
        1,
        5,
        "duplicate-tokens",
        [
            r#"UPDATE sessions SET "sessionToken" = 'same-token' WHERE id IN ('s1', 's2')"#,
            r#"UPDATE sessions SET "sessionToken" = 'token-' || id WHERE id IN ('s1', 's2')"#,
        ],
    ),
    incident(
        2,
        20,
        "orphaned-sessions",
        [
            r#"INSERT INTO sessions SELECT 'o' || n, 'orphan-' || n, 9000 + n, now() + interval '1 day'
                 FROM generate_series(1, 11) AS n"#,
            "DELETE FROM sessions WHERE id LIKE 'o%'",
        ],
    ),
    incident(
        3,
        1,
        "token-reassigned",
        [r#"UPDATE sessions SET "userId" = "userId" % 60 + 1 WHERE id = 's9'"#, "SELECT 1"],
    ),
    incident(
        4,
        100,
        "expired-backlog",
        [
            "UPDATE sessions SET expires = now() - interval '8 days' WHERE id = 's3'",
            "UPDATE sessions SET expires = now() + interval '8 days' WHERE id = 's3'",
        ],
    ),
    incident(
        5,
        3,
        "target-unreachable",
        [
            "ALTER TABLE sessions RENAME COLUMN expires TO gone",
            "ALTER TABLE sessions RENAME COLUMN gone TO expires",
        ],
    ),
    incident(
        8,
        4,
        "rapid-creation",
        [
            r#"INSERT INTO sessions SELECT 'r' || n, 'rapid-' || n, 7, now() + interval '1 day'
                 FROM generate_series(1, 11) AS n"#,
            "DELETE FROM sessions WHERE id LIKE 'r%'",
        ],
    ),
    incident(
        9,
        1,
        "reappeared-sessions",
        [r#"INSERT INTO sessions SELECT 'b', 'rapid-1', 7, now() + interval '1 day'"#, "SELECT 1"],
    ),
    incident(
        10,
        4,
        "creation-rate",
        [
            r#"INSERT INTO sessions SELECT 'c' || n, 'spike-' || n, n % 60 + 1, now() + interval '1 day'
                 FROM generate_series(1, 30) AS n"#,
            "DELETE FROM sessions WHERE id LIKE 'c%'",
        ],
    ),
    incident(
        12,
        30,
        "session-lifetime",
        [
            "UPDATE sessions SET expires = now() + interval '400 days' WHERE id = 's4'",
            "UPDATE sessions SET expires = now() + interval '8 days' WHERE id = 's4'",
        ],
    ),
];

/// Checks of the channel that gets critical alerts only.
const GRAVE: [&str; 5] = [
    "duplicate-tokens",
    "orphaned-sessions",
    "token-reassigned",
    "target-unreachable",
    "reappeared-sessions",
];

/// Activity of the application between two runs: four logins, and four logouts of sessions from two hours ago.
fn life(step: i32) -> String {
    let login = |n: i32| {
        let (number, user) = (step * 4 + n, (step * 4 + n).rem_euclid(60) + 1);
        format!("('a{number}', 'alive-{number}', {user}, now() + interval '5 days')")
    };
    let logins: Vec<String> = (0..4).map(login).collect();
    format!(
        "INSERT INTO sessions VALUES {}; DELETE FROM sessions WHERE id LIKE 'a%' AND substr(id, 2)::int < {}",
        logins.join(", "),
        (step - 11) * 4
    )
}

fn configuration(url: &str, sinks: [&HttpSink; 2]) -> String {
    let [all, grave] = sinks.map(HttpSink::url);
    format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\ninterval = \"10m\"\n[checks.slow-check-run]\nenabled = false\n\
         [checks.user-session-excess]\noutliers = false\n[checks.creation-rate]\nmin = 10\nmax = 50\n\
         [serve]\nlisten = \"127.0.0.1:0\"\n\
         [[channel]]\nname = \"all\"\nkind = \"webhook\"\nurl = \"{all}\"\n\
         [[channel]]\nname = \"grave\"\nkind = \"webhook\"\nurl = \"{grave}\"\n\
         [[route]]\nchannels = [\"all\"]\n[[route]]\nchannels = [\"grave\"]\nseverity = \"high\"\n"
    )
}

/// Notices by check in order of delivery, each with its run.
fn list_notices(sink: &HttpSink) -> BTreeMap<String, Vec<(String, i32)>> {
    let mut notices = BTreeMap::<String, Vec<(String, i32)>>::new();
    for received in sink.received_requests() {
        let message: Value = serde_json::from_str(&received.body).unwrap();
        let text = |key: &str| message[key].as_str().unwrap().to_owned();
        let at = clock::parse_rfc3339(&text("at")).unwrap();
        let step = i32::try_from(at.duration_since(monday()).as_mins() / STEP.as_mins()).unwrap();
        notices.entry(text("check")).or_default().push((text("notice"), step));
    }
    notices
}

#[test]
fn two_weeks_with_incidents_are_notified_exactly_and_memory_stays_flat() {
    let database = testkit::healthy_database();
    let sinks = [(); 2].map(|()| HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(&database.url("postgres"), [&sinks[0], &sinks[1]]);
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = database.url("postgres");
    let (application, connection) =
        runtime.block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls)).unwrap();
    runtime.spawn(connection);
    let run = |sql: &str| runtime.block_on(application.batch_execute(sql)).unwrap();
    (-12..0).for_each(|step| run(&life(step)));
    let mut watch = Apart::start(folder.path(), monday());
    assert!(watch.looked());
    let mut resident = vec![];
    for step in 1..14 * DAILY {
        // While the column is renamed, the application is down too.
        let down = INCIDENTS.iter().any(|incident| {
            incident.check == "target-unreachable"
                && (incident.at..=incident.at + incident.looks).contains(&step)
        });
        if !down {
            run(&life(step));
        }
        for incident in &INCIDENTS {
            if step == incident.at {
                run(incident.begin);
            }
            if step == incident.at + incident.looks {
                run(incident.end);
            }
        }
        watch.set(monday() + step * STEP);
        assert!(watch.looked(), "look {step}");
        if step % DAILY == 0 {
            resident.push(watch.resident());
        }
    }
    let [all, grave] = &sinks;
    let _ = all.wait_for_requests(2 * INCIDENTS.len());
    let _ = grave.wait_for_requests(2 * GRAVE.len());
    assert!(watch.stop());
    exactly(all, grave);
    checklists(folder.path());
    let (early, late) = (resident[2], resident[12]);
    assert!(late < early + early / 4, "{resident:?} kibibytes, a day each");
}

/// Asserts that each incident was notified once and resolved once, to the right channels, and nothing else.
fn exactly(all: &HttpSink, grave: &HttpSink) {
    for incident in &INCIDENTS {
        for (sink, meant) in [(all, true), (grave, GRAVE.contains(&incident.check))] {
            let notices = list_notices(sink).remove(incident.check).unwrap_or_default();
            let words: Vec<&str> = notices.iter().map(|(notice, _)| notice.as_str()).collect();
            assert_eq!(words, if meant { vec!["firing", "resolved"] } else { vec![] }, "{}", incident.check);
            let step = notices.first().map_or(incident.at, |(_, step)| *step);
            assert!((incident.at..incident.at + 3).contains(&step), "{} at step {step}", incident.check);
        }
    }
    for notices in [list_notices(all), list_notices(grave)] {
        let planted = |check: &String| INCIDENTS.iter().any(|incident| incident.check == check);
        let others: Vec<_> = notices.iter().filter(|(check, _)| !planted(check)).collect();
        assert!(others.is_empty(), "quiet times are quiet: {others:?}");
    }
}

/// Asserts that each week's checklist covers its own week only.
fn checklists(folder: &Path) {
    let week = |number: i32| -> Vec<String> {
        let date = |day: i32| clock::format_rfc3339(monday() + day * DAY);
        let (from, to) = (date(number * 7), date(number * 7 + 7));
        let said = testkit::run_program_in(
            folder,
            &[],
            &["report", "checklist", "app", "--from", &from, "--to", &to, "--format", "json"],
        );
        let list: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
        let line =
            |item: &Value| format!("{} {}", item["id"].as_str().unwrap(), item["result"].as_str().unwrap());
        list["items"].as_array().unwrap_or_else(|| panic!("{list:#}")).iter().map(line).collect()
    };
    let expected = |[duplicates, orphans, rate]: [&str; 3]| {
        [
            format!("duplicate-tokens {duplicates}"),
            format!("orphaned-sessions {orphans}"),
            "sessions-per-user passing".into(),
            "expired-sessions passing".into(),
            "critical-log-lines unknown".into(),
            format!("creation-rate {rate}"),
            "user-reports unknown".into(),
        ]
    };
    assert_eq!(week(0), expected(["failing", "failing", "passing"]));
    assert_eq!(week(1), expected(["passing", "passing", "failing"]));
}
