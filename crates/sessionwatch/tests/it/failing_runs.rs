//! Check runs that fail or cannot start are counted, fire an alert, are logged once, and make `/readyz` fail.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use jiff::SignedDuration;

use crate::fastforward::{Apart, MINUTE, monday, program};

/// A configuration of one target, without channels.
fn configuration(url: &str, more: &str) -> String {
    format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\n[checks.slow-check-run]\nenabled = false\n\
         [serve]\nlisten = \"127.0.0.1:0\"\n{more}"
    )
}

/// Lines that a process logs.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn of(stderr: impl Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let keeping = Arc::clone(&log.0);
        std::thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            lines.for_each(|line| keeping.lock().unwrap().push(line));
        });
        log
    }

    /// Lines of this level that have been logged so far.
    fn of_level(&self, level: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.contains(&format!(" {level} "))).cloned().collect()
    }

    /// Waits until there are this many lines of a level, and returns them.
    fn wait_for(&self, level: &str, count: usize) -> Vec<String> {
        testkit::wait_until("a line of the log", || self.of_level(level).len() >= count);
        let lines = self.of_level(level);
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines
    }
}

/// A daemon under a clock that the test sets.
struct Story {
    watch: Apart,
    log: Log,
}

impl Story {
    fn start(folder: &Path, text: &str) -> Self {
        std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
        let mut watch = Apart::start_by(Command::new(program()).stderr(Stdio::piped()), folder, monday());
        let log = Log::of(watch.log().unwrap());
        assert!(watch.looked());
        Self { watch, log }
    }

    /// Runs checks in this minute.
    fn run(&mut self, minute: i32) {
        self.watch.set(monday() + minute * MINUTE);
        assert!(self.watch.looked(), "a run in minute {minute}");
    }

    /// Sets the daemon's limit of open files.
    fn limit_files(&self, most: &str) {
        let limited = Command::new("prlimit")
            .args(["--pid", &self.watch.id().to_string(), &format!("--nofile={most}:")])
            .status();
        assert!(limited.expect("prlimit, of the package util-linux, can be run").success());
    }

    /// Waits until `/readyz` returns this status.
    fn is_ready(&self, status: u16, targets: &str) {
        testkit::wait_until("readiness", || {
            let (found, text) = self.watch.answer("/readyz");
            (found, text.split(" target").next().unwrap()) == (status, targets)
        });
    }

    fn assert_metrics(&self, lines: &[&str]) {
        let metrics = self.watch.page("/metrics");
        for line in lines {
            assert!(metrics.contains(&format!("{line}\n")), "{line} is missing in {metrics}");
        }
    }
}

/// Text of the alert that fires after three failed runs in a row.
const UNREACHABLE_METRICS: [&str; 4] = [
    "sessionwatch_target_up{target=\"app\"} 0",
    "sessionwatch_check_runs_total{target=\"app\"} 4",
    "sessionwatch_check_run_failures_total{target=\"app\"} 3",
    "sessionwatch_alert_firing{target=\"app\",check=\"target-unreachable\",severity=\"high\"} 1",
];

#[test]
fn runs_that_cannot_start_for_lack_of_file_descriptors_count_as_failed() {
    let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let mut story = Story::start(folder.path(), &configuration(&database.url("postgres"), ""));
    story.is_ready(200, "1 of 1");
    story.limit_files("3");
    (1..=3).for_each(|minute| story.run(minute));
    story.limit_files("1024");
    story.assert_metrics(&UNREACHABLE_METRICS);
    let lines = story.log.wait_for("ERROR", 1);
    assert!(
        lines[0].contains("check run on app failed") && lines[0].contains("too many open files"),
        "{lines:?}"
    );
    assert!(lines[0].contains("LimitNOFILE"), "the way out is named: {lines:?}");
    // A successful run counts for three intervals.
    story.is_ready(200, "1 of 1");
    story.watch.set(monday() + 3 * MINUTE + SignedDuration::from_micros(1));
    story.is_ready(503, "0 of 1");
    story.run(6);
    story.is_ready(200, "1 of 1");
    story.log.wait_for("ERROR", 1);
    let lines = story.log.wait_for("INFO", 1);
    assert!(lines[0].contains("check runs on app succeed again"), "{lines:?}");
    story.assert_metrics(&["sessionwatch_target_up{target=\"app\"} 1"]);
    assert!(story.watch.stop());
}

#[test]
fn a_stopped_server_is_logged_once_and_so_is_its_recovery() {
    let server = testkit::PostgresServer::start(&[]).unwrap();
    let (database, folder) = (server.create_database(None).unwrap(), tempfile::tempdir().unwrap());
    database.psql(testkit::sample_databases::GUIDE_SCHEMA).unwrap();
    let mut story = Story::start(folder.path(), &configuration(&database.url("postgres"), ""));
    server.stop_immediately().unwrap();
    (1..=3).for_each(|minute| story.run(minute));
    story.assert_metrics(&UNREACHABLE_METRICS);
    let lines = story.log.wait_for("ERROR", 1);
    assert!(lines[0].contains("connection refused"), "{lines:?}");
    server.restart_stopped().unwrap();
    story.run(6);
    story.log.wait_for("INFO", 1);
    story.is_ready(200, "1 of 1");
    // Another cause logs another line; the same cause does not.
    database.psql("ALTER ROLE postgres PASSWORD 'another'").unwrap();
    (7..=8).for_each(|minute| story.run(minute));
    database.psql("DROP TABLE sessions; ALTER ROLE postgres PASSWORD 'testkit'").unwrap();
    story.run(9);
    let lines = story.log.wait_for("ERROR", 3);
    assert!(lines[1].contains("password") && lines[2].contains("no session table"), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("testkit")), "{lines:?}");
    assert!(story.watch.stop());
}

/// Starts `serve`, and collects its log lines.
fn serve(folder: &Path, program: &mut Command) -> (testkit::DaemonProcess, Log) {
    let mut watch =
        testkit::DaemonProcess::start_with_command(program.current_dir(folder).stderr(Stdio::piped()));
    let log = Log::of(watch.child.stderr.take().unwrap());
    (watch, log)
}

#[test]
fn a_wrong_password_is_reported_at_once_and_the_daemon_is_not_ready() {
    let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let url = database.url("postgres").replace(":testkit@", ":not-the-password@");
    std::fs::write(folder.path().join("sessionwatch.toml"), configuration(&url, "")).unwrap();
    let (watch, log) = serve(folder.path(), &mut testkit::program_command(&["serve"]));
    let lines = log.wait_for("ERROR", 1);
    assert!(lines[0].contains("check run on app failed") && lines[0].contains("password"), "{lines:?}");
    assert!(lines[0].contains("hint") && !lines[0].contains("not-the-password"), "{lines:?}");
    testkit::wait_until("the run is kept", || watch.get_body("/metrics").contains("sessionwatch_target_up"));
    assert!(watch.get_body("/metrics").contains("sessionwatch_target_up{target=\"app\"} 0\n"));
    let readiness = watch.get("/readyz");
    assert!(readiness.status == 503 && readiness.body.starts_with("0 of 1 target checked"), "{readiness:?}");
    assert_eq!(testkit::http::get(&watch.address, "/healthz").status, 200);
    assert_eq!(watch.stop(), Some(0));
    // A recent success of another daemon counts until this one has run.
    let store = folder.path().join("sessionwatch-state.db");
    std::fs::remove_file(store).unwrap();
    std::fs::write(folder.path().join("sessionwatch.toml"), configuration(&database.url("postgres"), ""))
        .unwrap();
    let ready = |watch: &testkit::DaemonProcess| testkit::http::get(&watch.address, "/readyz").status;
    let watch = testkit::DaemonProcess::start(folder.path());
    testkit::wait_until("a run succeeds", || ready(&watch) == 200);
    assert_eq!(watch.stop(), Some(0));
    let watch = testkit::DaemonProcess::start(folder.path());
    assert_eq!(ready(&watch), 200);
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn a_daemon_without_its_shared_store_is_not_ready() {
    let (application, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let server = testkit::PostgresServer::start(&[]).unwrap();
    let store = server.create_database(None).unwrap();
    let store = format!("store = \"{}\"\n", store.url("postgres"));
    let text = configuration(&application.url("postgres"), &store);
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let (watch, log) = serve(folder.path(), &mut testkit::program_command(&["serve"]));
    let status = |path: &str| testkit::http::get(&watch.address, path).status;
    testkit::wait_until("a run succeeds", || status("/readyz") == 200);
    server.stop_immediately().unwrap();
    testkit::wait_until("readiness ends", || status("/readyz") == 503);
    assert_eq!(status("/healthz"), 200);
    server.restart_stopped().unwrap();
    testkit::wait_until("leases are renewed", || {
        log.of_level("INFO").iter().any(|line| line.contains("lease renewal in the store works again"))
    });
    let refused = log.of_level("ERROR");
    let lines: Vec<&String> =
        refused.iter().filter(|line| line.contains("cannot renew the leases")).collect();
    // A stopping server first closes the connection, then refuses a new one.
    assert!((1..=3).contains(&lines.len()), "{refused:#?}");
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn serve_raises_the_limit_of_open_files_to_the_system_maximum() {
    let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let text = configuration(&database.url("postgres"), "");
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let mut limited = Command::new("sh");
    let script = "ulimit -S -n 64 && ulimit -H -n 512 && exec \"$0\" serve";
    limited.args(["-c", script, env!("CARGO_BIN_EXE_sessionwatch")]).env_clear().stdin(Stdio::null());
    let (watch, _log) = serve(folder.path(), &mut limited);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", watch.child.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["512", "512"]);
    assert_eq!(watch.stop(), Some(0));
}
