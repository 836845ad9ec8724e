//! The daemon under a service manager: notifications, signals and logging.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{DaemonProcess, Database, FaultProxy, HttpSink, NetworkFault};

/// End of a configuration: a channel, and the metrics address.
fn common(hook: &str, store: &str) -> String {
    format!(
        "[checks.slow-check-run]\nenabled = false\n[serve]\nlisten = \"127.0.0.1:0\"\nstore = \"{store}\"\n\
         [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{hook}\"\n"
    )
}

fn target(name: &str, url: &str) -> String {
    format!("[[target]]\nname = \"{name}\"\nurl = \"{url}\"\n")
}

fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
}

/// A daemon with a captured log.
pub(crate) struct Logged {
    pub(crate) watch: DaemonProcess,
    log: Arc<Mutex<Vec<String>>>,
}

impl Logged {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut watch = testkit::DaemonProcess::start_with_command(command.stderr(Stdio::piped()));
        let said = BufReader::new(watch.child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(vec![]));
        let keeping = Arc::clone(&log);
        std::thread::spawn(move || {
            said.lines().map_while(Result::ok).for_each(|line| keeping.lock().unwrap().push(line));
        });
        Self { watch, log }
    }

    fn lines(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits until this many lines contain a text.
    fn wait_for(&self, count: usize, words: &str) {
        testkit::wait_until(words, || {
            self.lines().iter().filter(|line| line.contains(words)).count() >= count
        });
    }

    /// Reloads the configuration, and waits for the result: the `count`-th log line about a reload.
    pub(crate) fn reload(&self, count: usize, words: &str) {
        self.watch.send_signal("HUP");
        self.wait_for(count, words);
    }
}

/// Success is not logged as a warning.
const USED: &str = "INFO new configuration active";
const REFUSED: &str = "new configuration rejected";

/// Time limit for a notification on a busy machine.
const NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(60);

/// A service manager's socket, and its path.
fn supervisor(folder: &Path) -> (UnixDatagram, PathBuf) {
    let place = folder.join("notify");
    let socket = UnixDatagram::bind(&place).unwrap();
    socket.set_read_timeout(Some(NOTIFICATION_TIMEOUT)).unwrap();
    (socket, place)
}

/// Returns the next notification other than a watchdog ping.
fn receive_notification(socket: &UnixDatagram) -> String {
    let begun = Instant::now();
    loop {
        let mut bytes = [0; 1_000];
        let count = socket.recv(&mut bytes).expect("the daemon says something");
        let text = String::from_utf8_lossy(&bytes[..count]).trim().to_owned();
        if text != "WATCHDOG=1" {
            return text;
        }
        assert!(begun.elapsed() < NOTIFICATION_TIMEOUT, "only that all is well");
    }
}

#[test]
fn the_service_manager_is_notified_of_the_daemons_state() {
    let database = testkit::healthy_database();
    let (folder, sink) = (tempfile::tempdir().unwrap(), HttpSink::start(&[]).unwrap());
    let good = target("app", &database.url("postgres")) + &common(&sink.url(), "state.db");
    write(folder.path(), &good);
    let (socket, place) = supervisor(folder.path());
    let start = || {
        let mut command = testkit::program_command(&["serve"]);
        command.current_dir(folder.path()).env("NOTIFY_SOCKET", &place).env("WATCHDOG_USEC", "400000");
        command
    };
    // A daemon that cannot start is never ready.
    write(folder.path(), &good.replace("state.db", "no/such/folder/state.db"));
    assert_eq!(start().stderr(Stdio::null()).status().unwrap().code(), Some(2));
    write(folder.path(), &good);
    let begun = Instant::now();
    let watch = Logged::start(&mut start());
    assert_eq!(receive_notification(&socket), "READY=1");
    assert!(folder.path().join("state.db").is_file());
    assert_eq!(testkit::http::get(&watch.watch.address, "/healthz").status, 200);
    for _ in 0..10 {
        let mut bytes = [0; 100];
        let count = socket.recv(&mut bytes).unwrap();
        assert_eq!(bytes[..count].trim_ascii(), b"WATCHDOG=1");
    }
    // The first ping comes at once, the next ones after half the interval each. A late reader finds several.
    assert!(begun.elapsed() >= 9 * Duration::from_millis(200), "{:?}", begun.elapsed());
    for (text, words) in [(good.as_str(), USED), ("nonsense", REFUSED)] {
        write(folder.path(), text);
        watch.reload(1, words);
        let reloading = receive_notification(&socket);
        let (state, time) = reloading.split_once('\n').expect("both in one message");
        let time: u64 = time.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(state == "RELOADING=1" && time > 0, "{reloading}");
        assert_eq!(receive_notification(&socket), "READY=1");
    }
    watch.watch.send_signal("TERM");
    assert_eq!(receive_notification(&socket), "STOPPING=1");
    assert_eq!(watch.watch.wait(), Some(0));
}

#[test]
fn a_valid_change_is_applied_without_losing_state() {
    let (one, other) = (testkit::anomalous_database(), testkit::healthy_database());
    let (folder, sink) = (tempfile::tempdir().unwrap(), HttpSink::start(&[]).unwrap());
    let common = common(&sink.url(), "state.db");
    let url = |database: &Database<'_>| database.url("postgres");
    write(folder.path(), &(target("one", &url(&one)) + &common));
    let watch = Logged::start(testkit::program_command(&["serve"]).current_dir(folder.path()));
    assert_eq!(notices(&sink.wait_for_requests(1)), ["one duplicate-tokens firing"]);
    // A second target with another threshold.
    let both = target("one", &url(&one)) + &target("other", &url(&other));
    write(folder.path(), &format!("{both}[checks.active-sessions]\nmin = 1\nmax = 2\n{common}"));
    watch.reload(1, USED);
    let failing = "sessionwatch_check_failing{target=\"other\",check=\"active-sessions\"} 1";
    testkit::wait_until(failing, || watch.watch.get_body("/metrics").contains(failing));
    let metrics = watch.watch.get_body("/metrics");
    assert!(metrics.contains("sessionwatch_check_runs_total{target=\"one\"} 1\n"), "{metrics}");
    assert!(metrics.contains("sessionwatch_config_reload_success 1\n"), "{metrics}");
    // The first target is no longer monitored, and recipients of its alert are notified of that.
    write(folder.path(), &(target("other", &url(&other)) + &common));
    watch.reload(2, USED);
    let received = sink.wait_for_requests(2);
    assert_eq!(notices(&received)[1..], ["one duplicate-tokens resolved"]);
    assert!(received[1].body.contains("no longer configured"), "{}", received[1].body);
    assert!(!watch.watch.get_body("/metrics").contains("target=\"one\""));
    for number in 3..13 {
        watch.reload(number, USED);
        assert_eq!(testkit::http::get(&watch.watch.address, "/healthz").status, 200, "{number}");
    }
    let metrics = watch.watch.get_body("/metrics");
    assert!(
        metrics.contains("sessionwatch_check_runs_total{target=\"other\"} 1\n"),
        "no look out of turn: {metrics}"
    );
    assert_eq!(watch.watch.stop(), Some(0));
    assert_eq!(sink.received_requests().len(), 2);
}

#[test]
fn a_message_awaiting_its_response_is_not_sent_again_after_a_reload_or_a_stop() {
    let (database, folder) = (testkit::anomalous_database(), tempfile::tempdir().unwrap());
    let sink = HttpSink::start(&[]).unwrap();
    // The message arrives at once, its response half a second later.
    let slow = FaultProxy::start(sink.port(), NetworkFault::Delay(Duration::from_millis(500))).unwrap();
    let url = format!("http://127.0.0.1:{}/hook", slow.port());
    write(folder.path(), &(target("one", &database.url("postgres")) + &common(&url, "state.db")));
    let watch = Logged::start(testkit::program_command(&["serve"]).current_dir(folder.path()));
    let _ = sink.wait_for_requests(1);
    watch.reload(1, USED);
    assert_eq!(watch.watch.stop(), Some(0));
    assert_eq!(notices(&sink.received_requests()), ["one duplicate-tokens firing"]);
    let store = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    let noted: String =
        store.query_row("SELECT group_concat(state) FROM outbox", [], |row| row.get(0)).unwrap();
    assert_eq!(noted, "done");
}

fn notices(received: &[testkit::ReceivedRequest]) -> Vec<String> {
    let notice = |received: &testkit::ReceivedRequest| {
        let message: Value = serde_json::from_str(&received.body).unwrap();
        let text = |key: &str| message[key].as_str().unwrap().to_owned();
        format!("{} {} {}", text("target"), text("check"), text("notice"))
    };
    received.iter().map(notice).collect()
}

#[test]
fn an_invalid_change_is_rejected_and_all_its_errors_are_logged_once() {
    let database = testkit::healthy_database();
    let (folder, sink) = (tempfile::tempdir().unwrap(), HttpSink::start(&[]).unwrap());
    let common = common(&sink.url(), "state.db");
    let app = target("app", &database.url("postgres"));
    write(folder.path(), &(app.clone() + &common));
    let watch = Logged::start(
        testkit::program_command(&["serve", "--log-format", "json"]).current_dir(folder.path()),
    );
    let hook = |name: &str| {
        format!(
            "[[channel]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"https://u:hunter2@${{{name}}}/x\"\n"
        )
    };
    let nowhere = target("nowhere", "postgres://u:hunter2@${NO_HOST}/d");
    for (number, (text, parts)) in [
        (
            format!("wrong = 1\n{app}evry = 60\n{common}"),
            &["unknown key `wrong`", "unknown key `evry` in [[target]]"][..],
        ),
        (format!("{app}cron = \"61 * * * *\"\n{common}"), &["target.cron: must be minute"]),
        (format!("{app}{app}{common}"), &["duplicate target name"]),
        (common.clone(), &["no target is configured"]),
        (
            format!("{app}{nowhere}{common}{}{}", hook("NO_ONE"), hook("NO_OTHER")),
            &["NO_HOST is not set", "NO_ONE is not set", "NO_OTHER is not set"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        write(folder.path(), &text);
        watch.reload(number + 1, REFUSED);
        let lines = watch.lines();
        assert_eq!(lines.len(), number + 1, "one line for all of it: {lines:#?}");
        let line: Value = serde_json::from_str(&lines[number]).unwrap();
        assert_eq!(line["level"], "ERROR");
        let message = line["message"].as_str().unwrap();
        assert!(parts.iter().all(|part| message.matches(part).count() == 1), "{parts:?}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
        let metrics = watch.watch.get_body("/metrics");
        assert!(metrics.contains("sessionwatch_config_reload_success 0\n"), "{metrics}");
        assert!(metrics.contains("sessionwatch_target_leader{target=\"app\"} 1\n"), "{metrics}");
    }
    assert_eq!(watch.watch.stop(), Some(0));
}

/// Asserts that the daemon stops successfully and in time.
fn assert_ends(watch: DaemonProcess) {
    let begun = Instant::now();
    assert_eq!(watch.stop(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn it_stops_in_time_during_a_hanging_check_run_and_an_unresponsive_channel() {
    let (one, other) = (testkit::healthy_database(), testkit::anomalous_database());
    let proxy =
        FaultProxy::start(testkit::shared_server().ports()[0], NetworkFault::FreezeAfter(3_000)).unwrap();
    let (folder, sink) = (tempfile::tempdir().unwrap(), HttpSink::start_unresponsive().unwrap());
    let hanging = target("hanging", &one.url_at_port("postgres", proxy.port()));
    let targets = target("app", &other.url("postgres")) + &hanging;
    write(folder.path(), &(targets + &common(&sink.url(), "state.db")));
    let watch = testkit::DaemonProcess::start(folder.path());
    proxy.wait_until_frozen();
    assert_eq!(sink.wait_for_requests(1).len(), 1);
    assert_ends(watch);
    proxy.set_fault(NetworkFault::None);
    assert_eq!(testkit::wait_for_remaining_queries(&one), "");
}

/// A daemon after its first check run, whose store no longer responds.
fn without_store(folder: &Path, [database, store]: [&Database<'_>; 2], proxy: &FaultProxy) -> DaemonProcess {
    let store = store.url_at_port("postgres", proxy.port());
    let sink = HttpSink::start(&[]).unwrap();
    let targets = ["a", "b", "c"].map(|name| target(name, &database.url("postgres"))).concat();
    write(folder, &(targets + &common(&sink.url(), &store)));
    let watch = testkit::DaemonProcess::start(folder);
    testkit::wait_until("a check run", || {
        watch.get_body("/metrics").contains("sessionwatch_check_runs_total")
    });
    proxy.set_fault(NetworkFault::FreezeAfter(0));
    proxy.wait_until_frozen();
    watch
}

#[test]
fn it_stops_in_time_during_a_hanging_store_and_at_once_on_a_second_signal() {
    let (database, store) = (testkit::healthy_database(), testkit::empty_database());
    for twice in [false, true] {
        let proxy = FaultProxy::start(testkit::shared_server().ports()[0], NetworkFault::None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let watch = without_store(folder.path(), [&database, &store], &proxy);
        if !twice {
            assert_ends(watch);
            continue;
        }
        watch.send_signal("TERM");
        watch.send_signal("INT");
        // Without the second signal, it would stop later, and successfully.
        assert_eq!(watch.wait(), Some(3));
    }
}

#[test]
fn every_log_line_can_be_json() {
    let database = testkit::anomalous_database();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let app = target("app", &database.url("postgres")) + "autosuspend_after = 300\n";
    let nowhere = target("nowhere", &database.url_at_port("postgres", port));
    write(folder.path(), &(app + &nowhere + &common(&format!("http://127.0.0.1:{port}/"), "state.db")));
    let mut command = testkit::program_command(&["serve", "--verbose"]);
    let watch = Logged::start(command.current_dir(folder.path()).env("SESSIONWATCH_LOG_FORMAT", "json"));
    watch.wait_for(1, "delivery failed");
    write(folder.path(), "nonsense");
    watch.reload(1, REFUSED);
    let lines = watch.lines();
    assert_eq!(watch.watch.stop(), Some(0));
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let has = |key: &str, value: &str| lines.iter().any(|line| line[key] == value);
    assert!(lines.iter().all(|line| {
        let at: Result<jiff::Timestamp, _> = line["timestamp"].as_str().unwrap_or_default().parse();
        at.is_ok() && line["level"].is_string() && line["message"].is_string()
    }));
    assert!(has("target", "app") && has("channel", "hook"), "{lines:#?}");
    let costs = |line: &Value| {
        line["message"].as_str().unwrap().contains("check runs a month keep this database awake")
    };
    assert!(lines.iter().any(costs), "{lines:#?}");
    // Error messages of commands too.
    let said = testkit::run_program_in(folder.path(), &[], &["check", "--log-format", "json"]);
    let line: Value = serde_json::from_str(said.stderr.trim()).unwrap();
    assert!(said.exit_code == 2 && line["level"] == "ERROR", "{line}");
    let help = testkit::run_program(&["serve", "--help"]).stdout;
    assert!(help.contains("--log-format") && help.contains("SESSIONWATCH_LOG_FORMAT"), "{help}");
}
