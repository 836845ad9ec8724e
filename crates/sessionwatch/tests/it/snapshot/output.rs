//! Output of commands, in every format.

use testkit::{Database, HttpSink};

use super::{
    Snapshots,
    scene::{self, Terminal, plan_of},
};

const LOG_LINES: &str = "[AUTH-ADAPTER] Session created { sessionToken: 'token-c4...', userId: 2 }\n\
    [AUTH-ADAPTER] Duplicate session token detected { sessionToken: 'token-c4...', existingUserId: 2, newUserId: 9 }\n\
    GET / 200\n";

const CONFIGURATION: &str = r#"
[checks.slow-check-run]
enabled = false
[alerts.high]
failure_threshold = 1
[alerts.medium]
failure_threshold = 1
[serve]
listen = "127.0.0.1:0"
[[logs]]
name = "lines"
kind = "http"
secret = "a-token-for-lines"
"#;

/// Filters for one database.
fn snapshots(database: &Database<'_>) -> Snapshots {
    let mut snapshots = Snapshots::new("output");
    snapshots.replace(&format!(r"\b{}\b", database.name()), "[database]");
    snapshots
}

fn configure(folder: &std::path::Path, database: &Database<'_>, hook: &str) {
    let url = database.url("postgres");
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\ninterval = \"1h\"\n\
         [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{hook}\"\n{CONFIGURATION}"
    );
    std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
}

#[test]
fn output_of_read_only_commands_matches_its_snapshots() {
    let (database, folder) = (scene::postgresql(), tempfile::tempdir().unwrap());
    let mut snapshots = snapshots(&database);
    configure(folder.path(), &database, "http://127.0.0.1:9/");
    let mut terminal = Terminal::new(folder.path());
    terminal.run_in_all_formats("check app");
    terminal.run("check app --engine pushdown");
    terminal.run("check app --only duplicate-tokens");
    snapshots.take("check", &terminal.taken());
    terminal.run_in_all_formats("sessions list --limit 3");
    terminal.run("sessions list --user 5");
    terminal.run("sessions list --user nobody");
    terminal.run_in_all_formats("sessions show s03");
    terminal.run("sessions show nothing");
    terminal.run_in_all_formats("sessions top --limit 3");
    snapshots.take("sessions", &terminal.taken());
    terminal.run("doctor");
    terminal.run("doctor --format json");
    snapshots.take("doctor", &terminal.taken());
    terminal.run("grants");
    terminal.run("grants --watch-role reader --write-role writer");
    snapshots.take("grants", &terminal.taken());
    terminal.run("sql");
    terminal.run("sql query-6 --user 5");
    snapshots.take("sql", &terminal.taken());
    terminal.run(&format!("init {} --output -", database.url("postgres")));
    terminal.run("config check");
    snapshots.take("configuration", &terminal.taken());
    std::fs::write(folder.path().join("app.log"), LOG_LINES).unwrap();
    terminal.run_in_all_formats("logs scan app.log");
    let line = "[AUTH-ADAPTER] Session created { sessionToken: 'token-c4...', userId: 2 }";
    for format in ["table", "json"] {
        let arguments = ["logs", "explain", line, "--format", format];
        snapshots.take(&format!("logs-explain-{format}"), &testkit::run_program(&arguments).stdout);
    }
    snapshots.take("logs-scan", &terminal.taken());
    terminal.run("integrations prometheus-rules");
    snapshots.take("prometheus-rules", &terminal.taken());
    terminal.run("integrations grafana-dashboard");
    snapshots.take("grafana-dashboard", &terminal.taken());
    terminal.run("man");
    snapshots.take("man", &terminal.taken());
    snapshots.finish();
}

#[test]
fn output_of_errors_matches_its_snapshots() {
    let (database, folder) = (scene::postgresql(), tempfile::tempdir().unwrap());
    let mut snapshots = snapshots(&database);
    configure(folder.path(), &database, "http://127.0.0.1:9/");
    let mut terminal = Terminal::new(folder.path());
    for command in [
        "check ap",
        "check app --only duplicate-token",
        "check postgres://u:hidden@127.0.0.1:1/d",
        "check postgres:/nowhere",
        "check missing.db",
        "sql duplicate app",
        "sessions show",
        "alerts list",
        "alerts ack app duplicate-tokens",
        "incident step check",
        "archive show p-0000000000",
        "apply p-0000000000",
        "revoke user nobody",
        "revoke where",
        "notifications test hok",
        "notifications test hook",
        "logs scan missing.log",
        "audit verify",
        "tokens add nobody --label bot",
        "--log-format json check ap",
    ] {
        terminal.run(command);
    }
    snapshots.take("errors", &terminal.taken());
    database.psql("ALTER TABLE sessions RENAME COLUMN expires TO gone").unwrap();
    terminal.run("check");
    terminal.run("doctor");
    snapshots.take("unrecognized-table", &terminal.taken());
    std::fs::write(
        folder.path().join("sessionwatch.toml"),
        "[[target]]\nnam = \"a\"\n[chekcs]\n[serve]\nlisten = 5\n",
    )
    .unwrap();
    terminal.run("config check");
    snapshots.take("faulty-configuration", &terminal.taken());
    snapshots.finish();
}

#[test]
fn output_of_plans_and_the_archive_matches_its_snapshots() {
    let (database, folder) = (scene::postgresql(), tempfile::tempdir().unwrap());
    let mut snapshots = snapshots(&database);
    configure(folder.path(), &database, "http://127.0.0.1:9/");
    let mut terminal = Terminal::new(folder.path());
    for command in ["expired", "orphaned", "duplicates", "excess --keep 3"] {
        terminal.run(&format!("cleanup {command}"));
    }
    terminal.run("cleanup duplicates --format json");
    snapshots.take("cleanup-plans", &terminal.taken());
    for command in ["user 5", "session s01", "all", "where --user-like user1"] {
        terminal.run(&format!("revoke {command}"));
    }
    snapshots.take("revoke-plans", &terminal.taken());
    let orphaned = plan_of(&terminal.run("cleanup orphaned"));
    terminal.run(&format!("apply {orphaned}"));
    terminal.run(&format!("apply {orphaned} --confirm app"));
    let session = plan_of(&terminal.run("revoke session s01"));
    terminal.run(&format!("apply {session} --confirm app --format json"));
    terminal.run(&format!("apply {session}"));
    snapshots.take("apply", &terminal.taken());
    terminal.run("plans list");
    terminal.run(&format!("plans show {session}"));
    terminal.run_in_all_formats("archive list");
    terminal.run_in_all_formats(&format!("archive show {session}"));
    let back = plan_of(&terminal.run(&format!("archive restore {session}")));
    terminal.run(&format!("apply {back}"));
    terminal.run("archive purge");
    snapshots.take("archive", &terminal.taken());
    terminal.run("audit verify");
    terminal.run("backup copy.db");
    snapshots.take("audit-and-backup", &terminal.taken());
    snapshots.finish();
}

#[test]
fn output_of_an_incident_matches_its_snapshots() {
    let (database, folder) = (scene::postgresql(), tempfile::tempdir().unwrap());
    let mut snapshots = snapshots(&database);
    configure(folder.path(), &database, "http://127.0.0.1:9/");
    let mut terminal = Terminal::new(folder.path());
    for command in [
        "incident open --severity P1 --summary leak",
        "incident open --severity P1 --summary again",
        "incident step check",
        "incident find user1",
        "incident step done --note user-2",
        "incident evidence --output evidence.age",
        "incident verify evidence.age",
        "incident step done --note told",
        "incident step check",
        "incident status",
    ] {
        terminal.run(command);
    }
    snapshots.take("incident-begin", &terminal.taken());
    let planned = terminal.run("incident contain duplicates");
    let apply = planned.stdout.lines().last().unwrap().trim().strip_prefix("sessionwatch ").unwrap();
    terminal.run(apply);
    terminal.run(&format!("{apply} --confirm app"));
    for command in [
        "incident step check",
        "incident note looking",
        "incident field set root-cause cache",
        "incident step reopen team --reason mistake",
        "incident status",
        "incident message",
        "incident report",
        "incident report --format html",
        "incident close",
        "incident close --override rehearsal",
    ] {
        terminal.run(command);
    }
    snapshots.take("incident-end", &terminal.taken());
    terminal.run_in_all_formats("incident list");
    snapshots.take("incident-list", &terminal.taken());
    snapshots.finish();
}

/// Runs the daemon until it has sent all notifications, one about a log line included. Returns its metrics.
fn watch_once(folder: &std::path::Path, sink: &HttpSink) -> String {
    let watch = testkit::DaemonProcess::start(folder);
    let metric = |part: &str| watch.get_body("/metrics").contains(part);
    testkit::wait_until("what the table shows is notified", || sink.received_requests().len() >= 3);
    let headers = [("authorization", "Bearer a-token-for-lines")];
    assert_eq!(
        testkit::http::post(&watch.address, "/ingest/logs", &headers, LOG_LINES.as_bytes()).status,
        200
    );
    testkit::wait_until("what the log says is notified", || sink.received_requests().len() >= 4);
    testkit::wait_until("deliveries are noted", || !metric("sessionwatch_outbox_messages{"));
    let metrics = watch.get_body("/metrics");
    assert_eq!(watch.stop(), Some(0));
    metrics
}

#[test]
fn output_of_commands_about_the_daemon_matches_its_snapshots() {
    let (database, folder) = (scene::postgresql(), tempfile::tempdir().unwrap());
    let sink = HttpSink::start(&[]).unwrap();
    let mut snapshots = snapshots(&database);
    configure(folder.path(), &database, &sink.url());
    let metrics = watch_once(folder.path(), &sink);
    let mut terminal = Terminal::new(folder.path());
    terminal.run_in_all_formats("alerts list");
    terminal.run("alerts show app duplicate-tokens");
    terminal.run("alerts show app duplicate-tokens --format json");
    terminal.run("alerts ack app duplicate-tokens --note on-it");
    terminal.run("alerts resolve app orphaned-sessions --note mended");
    terminal.run("alerts silence --check expired-backlog --for 90m --note cleaning");
    terminal.run_in_all_formats("alerts silences");
    terminal.run("alerts unsilence 1");
    terminal.run("alerts silences");
    terminal.run("alerts list");
    snapshots.take("alerts", &terminal.taken());
    terminal.run_in_all_formats("alerts history");
    terminal.run("report history --alerts-only");
    snapshots.take("history", &terminal.taken());
    terminal.run("report attest app --passes --note support");
    for format in ["table", "markdown", "json", "html"] {
        terminal.run(&format!("report checklist app --format {format}"));
    }
    snapshots.take("checklist", &terminal.taken());
    terminal.run_in_all_formats("logs events");
    terminal.run_in_all_formats("logs sources");
    terminal.run("logs correlate");
    terminal.run("logs correlate --format json");
    snapshots.take("logs", &terminal.taken());
    terminal.run("accounts list");
    testkit::create_account(folder.path(), "ada", "admin");
    terminal.run_in_all_formats("accounts list");
    terminal.run("tokens add ada --label bot --scope read,alerts");
    terminal.run_in_all_formats("tokens list");
    terminal.run("tokens revoke 1");
    terminal.run("accounts remove ada");
    snapshots.take("accounts-and-tokens", &terminal.taken());
    terminal.run_in_all_formats("targets list");
    terminal.run("targets confirm");
    terminal.run("notifications test hook");
    terminal.run("notifications failed");
    terminal.run("notifications failed --format json");
    terminal.run("notifications retry hook");
    terminal.run("audit verify");
    snapshots.take("targets-and-channels", &terminal.taken());
    snapshots.replace(r"(?m)^(sessionwatch_\w*(?:seconds|bytes|info)\w*(?:\{[^}]*\})?) .*$", "$1 [number]");
    snapshots.take("metrics", &metrics);
    snapshots.finish();
}

#[test]
fn output_about_sqlite_matches_its_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    scene::sqlite(&folder.path().join("app.db"));
    std::fs::write(
        folder.path().join("sessionwatch.toml"),
        "[[target]]\nname = \"app\"\nurl = \"app.db\"\nwrite_url = \"app.db\"\n\
         [checks.slow-check-run]\nenabled = false\n",
    )
    .unwrap();
    let mut snapshots = Snapshots::new("output");
    let mut terminal = Terminal::new(folder.path());
    terminal.run("check");
    terminal.run("check --engine pushdown --format json");
    terminal.run("doctor");
    terminal.run("grants");
    terminal.run("sessions list --limit 3");
    terminal.run("sessions top");
    snapshots.take("sqlite", &terminal.taken());
    terminal.run("sql");
    terminal.run("init app.db --output -");
    snapshots.take("sqlite-sql", &terminal.taken());
    let plan = plan_of(&terminal.run("revoke user u2"));
    terminal.run(&format!("apply {plan}"));
    terminal.run("archive list");
    let back = plan_of(&terminal.run(&format!("archive restore {plan}")));
    terminal.run(&format!("apply {back} --confirm app"));
    snapshots.take("sqlite-plans", &terminal.taken());
    snapshots.finish();
}
