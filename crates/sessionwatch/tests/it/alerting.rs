//! Alerting: recipients, frequency, and what the daemon remembers.

use serde_json::Value;
use testkit::{DaemonProcess, Database, HttpSink, ReceivedRequest};

use crate::fastforward::{MINUTE, Watch, monday};

/// A configuration of one target and one channel.
fn configuration(url: &str, hook: &str, more: &str) -> String {
    format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\n[checks.slow-check-run]\nbudget_ms = 3600000\n\
         [serve]\nlisten = \"127.0.0.1:0\"\n[[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{hook}\"\n\
         secret = \"key\"\n{more}"
    )
}

/// Runs checks at these minutes, each after its SQL, and returns the notifications.
fn run_and_list_notifications(
    database: &Database<'_>,
    minutes: i32,
    left_out: &[i32],
    script: &[(i32, &str)],
    more: &str,
) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(&[]).unwrap();
    let text = configuration(&database.url("postgres"), &sink.url(), more);
    let mut watch = Watch::start(folder.path(), &text, monday());
    for minute in 1..minutes {
        for (_, sql) in script.iter().filter(|(at, _)| *at == minute) {
            database.psql(sql).unwrap();
        }
        let at = monday() + minute * MINUTE;
        if left_out.contains(&minute) { watch.set(at) } else { watch.to(at) }
    }
    watch.delivered();
    assert!(watch.stop());
    list_notifications(&sink)
}

/// The minute of each notification, its subject and its text.
fn list_notifications(sink: &HttpSink) -> Vec<String> {
    let line = |received: ReceivedRequest| {
        let message: Value = serde_json::from_str(&received.body).unwrap();
        let text = |key: &str| message[key].as_str().unwrap().to_owned();
        let at = sessionwatch_clock::parse_rfc3339(&text("at")).unwrap();
        let minute = at.duration_since(monday()).as_mins();
        (minute, format!("{minute} {} {}", text("check"), text("notice")))
    };
    let mut lines: Vec<(i64, String)> = sink.received_requests().into_iter().map(line).collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

#[test]
fn each_incident_is_notified_once_and_resolved_once_with_silence_between() {
    let database = testkit::healthy_database();
    let orphans = r#"INSERT INTO sessions SELECT 'o' || n, 'orphan-' || n, 900 + n, now() + interval '1 day'
        FROM generate_series(1, 11) AS n"#;
    let script = [
        (3, r#"UPDATE sessions SET "sessionToken" = 'same-token' WHERE id IN ('s1', 's2')"#),
        (5, r#"UPDATE sessions SET "sessionToken" = 'other-token' WHERE id = 's1'"#),
        (10, orphans),
        (14, "DELETE FROM sessions WHERE id LIKE 'o%'"),
        // A user's token becomes another user's.
        (17, r#"UPDATE sessions SET "userId" = "userId" % 60 + 1 WHERE id = 's9'"#),
        // One failing check run is not enough for orphans; these had been removed.
        (20, orphans),
        (21, "DELETE FROM sessions WHERE id LIKE 'o%'"),
        (30, "ALTER TABLE sessions RENAME COLUMN expires TO gone"),
        (33, "ALTER TABLE sessions RENAME COLUMN gone TO expires"),
        (40, "ALTER TABLE sessions RENAME COLUMN expires TO gone"),
        (42, "ALTER TABLE sessions RENAME COLUMN gone TO expires"),
    ];
    let expected = [
        "3 duplicate-tokens firing",
        "6 duplicate-tokens resolved",
        "11 orphaned-sessions firing",
        "15 orphaned-sessions resolved",
        "17 token-reassigned firing",
        "19 token-reassigned resolved",
        "20 reappeared-sessions firing",
        "22 reappeared-sessions resolved",
        "32 target-unreachable firing",
        "35 target-unreachable resolved",
    ];
    // After three failures, check runs are two minutes apart.
    assert_eq!(run_and_list_notifications(&database, 48, &[33, 34], &script, ""), expected);
}

#[test]
fn routes_notify_only_the_channels_they_name() {
    let database = testkit::anomalous_database();
    let route = "[[route]]\nchannels = [\"hook\"]\nseverity = \"high\"\n";
    let often = "[alerts.critical]\nrepeat_interval = \"3m\"\n";
    let notifications = run_and_list_notifications(&database, 5, &[], &[], &format!("{route}{often}"));
    assert!(notifications.contains(&"0 duplicate-tokens firing".to_owned()), "{notifications:?}");
    assert!(notifications.contains(&"1 orphaned-sessions firing".to_owned()), "{notifications:?}");
    assert!(notifications.contains(&"3 duplicate-tokens reminder".to_owned()), "{notifications:?}");
    assert!(!notifications.iter().any(|line| line.contains("expired-backlog")), "{notifications:?}");
}

fn notices(received: &[ReceivedRequest]) -> Vec<String> {
    let notice = |received: &ReceivedRequest| {
        let message: Value = serde_json::from_str(&received.body).unwrap();
        format!("{} {}", message["check"].as_str().unwrap(), message["notice"].as_str().unwrap())
    };
    received.iter().map(notice).collect()
}

#[test]
fn serve_notifies_a_channel_serves_metrics_and_survives_a_kill() {
    let database = testkit::anomalous_database();
    // Busy once: the message is sent again with the same key.
    let sink = HttpSink::start(&["503 Service Unavailable\r\nRetry-After: 1"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // A name that no header can contain.
    let text = configuration(&database.urls("postgres")[1], &sink.url(), "").replace("\"app\"", "\"Büro 1\"");
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let mut running = DaemonProcess::start(folder.path());
    let received = sink.wait_for_requests(2);
    assert_eq!(notices(&received), ["duplicate-tokens firing"; 2]);
    let header = |received: &ReceivedRequest, name: &str| {
        received.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone()).unwrap()
    };
    assert_eq!(header(&received[0], "webhook-id"), header(&received[1], "webhook-id"));
    assert!(header(&received[1], "webhook-signature").starts_with("v1,"));
    assert!(!received[0].body.contains("token-c4ca4238"), "no more than a prefix: {}", received[0].body);
    let metrics = running.get_body("/metrics");
    for part in [
        "sessionwatch_target_up{target=\"Büro 1\"} 1\n",
        "sessionwatch_sessions{target=\"Büro 1\",kind=\"duplicate_tokens\"} 2\n",
        "sessionwatch_check_failing{target=\"Büro 1\",check=\"orphaned-sessions\"} 1\n",
        "sessionwatch_alert_firing{target=\"Büro 1\",check=\"duplicate-tokens\",severity=\"critical\"} 1\n",
    ] {
        assert!(metrics.contains(part), "{part} is missing in {metrics}");
    }
    assert!(running.get("/readyz").status == 200 && running.get("/healthz").status == 200);
    // A channel may receive a message before the daemon records that; killed in between, the next daemon would send it
    // again.
    testkit::wait_until("the delivery is noted", || {
        !running.get_body("/metrics").contains("sessionwatch_outbox_messages{")
    });
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    // The next daemon knows what was sent, and that the last check run was less than a minute ago.
    let again = DaemonProcess::start(folder.path());
    assert!(again.get("/readyz").status == 200);
    let metrics = again.get_body("/metrics");
    let firing =
        "sessionwatch_alert_firing{target=\"Büro 1\",check=\"duplicate-tokens\",severity=\"critical\"} 1\n";
    assert!(metrics.contains(firing) && !metrics.contains("sessionwatch_check_runs_total"), "{metrics}");
    assert_eq!(again.stop(), Some(0));
    assert_eq!(sink.received_requests().len(), 2);
}

#[test]
fn a_check_that_never_failed_has_no_alert() {
    let database = testkit::anomalous_database();
    let sink = HttpSink::start(&[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(&database.url("postgres"), &sink.url(), "");
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let run = |arguments: &[&str]| testkit::run_program_in(folder.path(), &[], arguments).stdout;
    let running = DaemonProcess::start(folder.path());
    assert_eq!(notices(&sink.wait_for_requests(1)), ["duplicate-tokens firing"]);
    // Neither a passing check nor one that waits for a second run is listed.
    let listed = run(&["alerts", "list"]);
    assert!(!listed.contains("resolved") && !listed.contains("first check run"), "{listed}");
    let every = run(&["alerts", "list", "--all"]);
    assert!(every.contains(" passing ") && every.contains(" unknown "), "{every}");
    assert!(!every.contains("resolved"), "{every}");
    // Users are named, as in `check`.
    let shown = run(&["alerts", "show", "app", "duplicate-tokens"]);
    assert!(shown.contains("…, user ") && shown.contains(" (User "), "{shown}");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn alerts_can_be_acknowledged_and_silenced_and_that_is_recorded() {
    let database = testkit::anomalous_database();
    let sink = HttpSink::start(&[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("sessionwatch.toml"),
        configuration(&database.url("postgres"), &sink.url(), ""),
    )
    .unwrap();
    let run = |arguments: &[&str]| testkit::run_program_in(folder.path(), &[("USER", "ada")], arguments);
    let early = run(&["alerts", "list"]);
    assert!(
        early.exit_code == 2 && early.stderr.contains("run `sessionwatch serve` to create the store"),
        "{}",
        early.stderr
    );
    let running = DaemonProcess::start(folder.path());
    assert_eq!(notices(&sink.wait_for_requests(1)), ["duplicate-tokens firing"]);
    let acknowledged = run(&["alerts", "ack", "app", "duplicate-tokens", "--note", "on it"]);
    assert_eq!(acknowledged.exit_code, 0, "{}", acknowledged.stderr);
    let nothing = run(&["alerts", "ack", "app", "sessions-per-user"]);
    assert!(nothing.exit_code == 2 && nothing.stderr.contains("alerts list"), "{}", nothing.stderr);
    let listed = run(&["alerts", "list", "--format", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let alert = &listed["alerts"][0];
    assert_eq!(
        (&alert["check"], &alert["acknowledged_by"], &alert["note"]),
        (&"duplicate-tokens".into(), &"ada".into(), &"on it".into())
    );
    let silence = |check| run(&["alerts", "silence", "--check", check, "--for", "60m", "--note", "cleanup"]);
    assert_eq!(silence("orphaned-sessions").exit_code, 0);
    assert!(run(&["alerts", "silences"]).stdout.contains("orphaned-sessions"));
    let nobody = silence("orphaned-session");
    assert!(nobody.exit_code == 2 && nobody.stderr.contains("did you mean"), "{}", nobody.stderr);
    let shown = run(&["alerts", "show", "app", "duplicate-tokens"]).stdout;
    assert!(shown.contains("acknowledged by ada: on it") && shown.contains("action:"), "{shown}");
    let resolved = run(&["alerts", "resolve", "app", "duplicate-tokens", "--note", "restored"]);
    assert_eq!(resolved.exit_code, 0, "{}", resolved.stderr);
    assert_eq!(notices(&sink.wait_for_requests(2))[1], "duplicate-tokens resolved");
    let history = run(&["alerts", "history", "--alerts-only", "--text", "RESOLVED BY ada"]).stdout;
    assert!(history.contains("resolved by ada: restored"), "{history}");
    assert_eq!(run(&["alerts", "history", "--from", "yesterday"]).exit_code, 2);
    assert_eq!(running.stop(), Some(0));
    assert_eq!(run(&["alerts", "unsilence", "1"]).exit_code, 0);
    assert_eq!(run(&["alerts", "unsilence", "1"]).exit_code, 2);
    let verified = run(&["audit", "verify"]);
    assert!(verified.exit_code == 0 && verified.stdout.contains("Audit log intact: "), "{}", verified.stdout);
    let store = rusqlite::Connection::open(folder.path().join("sessionwatch-state.db")).unwrap();
    let head: String =
        store.query_row("SELECT hash FROM audit ORDER BY id DESC LIMIT 1", [], |row| row.get(0)).unwrap();
    assert_eq!(run(&["audit", "verify", "--head", &head]).exit_code, 0);
    store.execute("DELETE FROM audit WHERE hash = ?1", [&head]).unwrap();
    let cut = run(&["audit", "verify", "--head", &head]);
    assert!(cut.exit_code == 1 && cut.stdout.contains("the last entries were removed"), "{}", cut.stdout);
    store.execute("UPDATE audit SET actor = 'eve' WHERE id = 1", []).unwrap();
    assert_eq!(run(&["audit", "verify"]).exit_code, 1);
}

#[test]
fn a_daemon_that_cannot_work_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = "[[target]]\nname = \"app\"\nurl = \"postgres://u@127.0.0.1:1/d\"\n";
    for (text, code, part) in [
        (String::new(), 2, "no target is configured"),
        (format!("{target}[serve]\nlisten = \"nowhere\""), 2, "serve.listen: expected IP address and port"),
        (format!("{target}[serve]\nlisten = \"{}\"", taken.local_addr().unwrap()), 3, "cannot listen on"),
        (
            format!("{target}[serve]\nstore = \"no/such/folder/s.db\""),
            2,
            "serve.store: cannot open the store",
        ),
        (
            format!("{target}[[channel]]\nname = \"c\"\nkind = \"slack\"\nurl = \"${{NOWHERE}}\""),
            2,
            "NOWHERE is not set",
        ),
        (
            format!("{target}[[channel]]\nname = \"c\"\nkind = \"slack\"\nurl = \"ftp://hunter2\""),
            2,
            "the URL must start with https:// or http://",
        ),
        (
            format!("{target}[[route]]\nchannels = [\"chat\"]\nchecks = [\"target-unreachble\"]"),
            2,
            "did you mean `target-unreachable`?",
        ),
    ] {
        std::fs::write(folder.path().join("sessionwatch.toml"), &text).unwrap();
        let said = testkit::run_program_in(folder.path(), &[], &["serve"]);
        assert_eq!(said.exit_code, code, "{text}: {}", said.stderr);
        assert!(said.stderr.contains(part) && !said.stderr.contains("hunter2"), "{}", said.stderr);
    }
}

#[test]
fn a_channel_can_be_tested() {
    let sink = HttpSink::start(&["200 OK", "403 Forbidden"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let slack = configuration("postgres://u@127.0.0.1:1/d", &sink.url(), "").replace("webhook\"", "slack\"");
    std::fs::write(folder.path().join("sessionwatch.toml"), slack).unwrap();
    let run =
        |channel: &str| testkit::run_program_in(folder.path(), &[], &["notifications", "test", channel]);
    assert_eq!(run("hook").exit_code, 0);
    let body: Value = serde_json::from_str(&sink.wait_for_requests(1)[0].body).unwrap();
    assert!(body["text"].as_str().unwrap().starts_with("*Test message from sessionwatch*"), "{body}");
    let refused = run("hook");
    assert!(refused.exit_code == 3 && refused.stderr.contains("returned status 403"), "{}", refused.stderr);
    let unknown = run("hok");
    assert!(unknown.exit_code == 2 && unknown.stderr.contains("did you mean `hook`?"), "{}", unknown.stderr);
    let compares = testkit::run_program_in(folder.path(), &[], &["check", "--only", "token-reassigned"]);
    assert!(compares.exit_code == 2 && compares.stderr.contains("serve"), "{}", compares.stderr);
}
