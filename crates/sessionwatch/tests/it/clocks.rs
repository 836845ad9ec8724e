//! Wrong clocks: of one of several daemons, temporarily, or at the start.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command as Process, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant as Monotonic},
};

use jiff::SignedDuration;
use serde_json::Value;
use sessionwatch_app::{
    config::Config,
    daemon::{Daemon, DaemonCommand, DaemonState},
    demo,
    logs::evaluate::{self, EvalInput},
    schedule::RunScheduler,
};
use sessionwatch_clock as clock;
use sessionwatch_clock::Clock;
use sessionwatch_core::{
    alert::AlertState,
    duration::{DAY, HOUR, SECOND},
    severity::Severity,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{Store, alerts, confirmed_time, outbox, transaction::Tx};
use testkit::HttpSink;
use tokio::sync::mpsc;

use crate::fastforward::{self, Apart, MINUTE, Watch, monday};

/// A daemon on a machine with a wrong, running clock.
struct Skewed {
    shared: Arc<DaemonState>,
    commands: mpsc::UnboundedSender<DaemonCommand>,
    daemon: JoinHandle<bool>,
    _ticking: Sender<()>,
}

impl Skewed {
    /// Starts it in a folder, with a clock that is this much ahead.
    fn start(folder: &Path, text: &str, ahead: SignedDuration) -> Self {
        let config = Config::parse(&folder.join("sessionwatch.toml"), text).unwrap();
        let now = move || clock::now() + ahead;
        let (clock, hand) = Clock::manual(now());
        let (ticking, stopped) = channel::<()>();
        std::thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout) {
                hand.send_replace(now());
            }
        });
        let (commands, received) = mpsc::unbounded_channel();
        let (started, shared) = sync_channel(1);
        let daemon = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let daemon = Daemon::start(config, clock).await.unwrap();
                started.send(Arc::clone(daemon.state())).unwrap();
                let dashboard = sessionwatch_web::build_router(&daemon.state().app);
                daemon.serve(dashboard, received).await.unwrap()
            })
        });
        Self { shared: shared.recv().unwrap(), commands, daemon, _ticking: ticking }
    }

    /// Messages with failed delivery attempts.
    fn tried(&self) -> usize {
        let due = self
            .shared
            .app
            .store
            .read(|db| outbox::list_due_messages(db, "hook", UtcTimestamp::MAX, 10))
            .unwrap();
        due.iter().filter(|due| due.attempts > 0).count()
    }

    fn stop(self) {
        self.commands.send(DaemonCommand::Stop).unwrap();
        assert!(self.daemon.join().unwrap());
    }
}

fn list_notifications(sink: &HttpSink) -> Vec<String> {
    let line = |received: &testkit::ReceivedRequest| {
        let message: Value = serde_json::from_str(&received.body).unwrap();
        format!("{} {}", message["check"].as_str().unwrap(), message["notice"].as_str().unwrap())
    };
    sink.received_requests().iter().map(line).collect()
}

/// A target and a log in a folder, and a channel at a port that is notified of each log line.
fn configure_log_notifications(folder: &Path, name: &str, store: &str, port: u16) -> String {
    let pattern = |number| {
        format!(
            "[[log_check]]\nname = \"e{number}\"\nliteral = \"EVT e{number};\"\nseverity = \"critical\"\n\
             window = \"1h\"\n"
        )
    };
    let patterns: String = (0..4).map(pattern).collect();
    application(folder, name, store)
        + &format!(
            "[[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/hook\"\n\
             [[logs]]\nname = \"web\"\nfile = \"app.log\"\n{patterns}"
        )
}

/// Configuration of a healthy application in a folder, and of a named daemon on a store.
fn application(folder: &Path, name: &str, store: &str) -> String {
    if !folder.join("app.db").exists() {
        demo::create_healthy_database(&folder.join("app.db"), clock::now()).unwrap();
    }
    format!(
        "[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n\
         [serve]\nstore = \"{store}\"\nlisten = \"127.0.0.1:0\"\nname = \"{name}\"\n"
    )
}

/// One daemon fails to deliver and ends, another takes over, with clocks that are this much ahead.
fn hand_over(store: &str, first: SignedDuration, second: SignedDuration) {
    let folder = tempfile::tempdir().unwrap();
    let port = HttpSink::start(&[]).unwrap().port();
    let mut log = std::fs::File::create(folder.path().join("app.log")).unwrap();
    let text = |name: &str| configure_log_notifications(folder.path(), name, store, port);
    let first = Skewed::start(folder.path(), &text("one"), first);
    let is_followed = || {
        let source =
            first.shared.app.store.read(|db| sessionwatch_app::logs::find_source(db, "web")).unwrap();
        source.is_some_and(|source| source.position.is_some())
    };
    testkit::wait_until("the log is followed", is_followed);
    for number in 0..3 {
        writeln!(log, "2026 EVT e{number};").unwrap();
    }
    testkit::wait_until("three messages fail", || first.tried() == 3);
    first.stop();
    let second = Skewed::start(folder.path(), &text("two"), second);
    let sink = HttpSink::start_at_port(port, &[]).unwrap();
    testkit::wait_until("the messages arrive", || sink.received_requests().len() >= 3);
    writeln!(log, "2026 EVT e3;").unwrap();
    testkit::wait_until("a later message arrives", || {
        list_notifications(&sink).contains(&"e3 firing".to_owned())
    });
    let mut notifications = list_notifications(&sink);
    notifications.sort();
    assert_eq!(
        notifications,
        ["e0 firing", "e1 firing", "e2 firing", "e3 firing"],
        "the window of an hour goes on"
    );
    second.stop();
}

#[test]
fn a_daemon_with_a_clock_off_by_an_hour_delivers_inherited_messages_in_time() {
    for ahead in [-HOUR, HOUR] {
        hand_over(&testkit::empty_database().url("postgres"), SignedDuration::ZERO, ahead);
    }
}

#[test]
fn messages_dated_in_the_future_are_sent_after_the_clock_was_corrected_offline() {
    hand_over("state.db", 3 * HOUR, SignedDuration::ZERO);
}

#[test]
fn daemons_and_commands_use_the_clock_of_the_server_of_their_store() {
    let (store, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    let text = application(folder.path(), "one", &store.url("postgres"));
    let ahead = Skewed::start(folder.path(), &text, 5 * DAY);
    let apart = || ahead.shared.app.clock.now().duration_since(ahead.shared.app.store.now().unwrap()).abs();
    testkit::wait_until("the clock is the server's", || apart() < 2 * SECOND);
    assert!(
        ahead.shared.app.clock.machine_clock().now().duration_since(ahead.shared.app.clock.now()) > 4 * DAY
    );
    ahead.stop();
}

#[test]
fn check_runs_keep_their_interval_in_the_night_when_clocks_go_back() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\ncron = \"0,30 2 * * *\"\n\
        [serve]\ntimezone = \"Europe/Berlin\"\n";
    let config = Config::parse(&folder.path().join("sessionwatch.toml"), text).unwrap();
    let looks = |evening: &str| {
        let evening = clock::parse_rfc3339(evening).unwrap();
        let plan = config.check_schedules(&config.targets[0]);
        let mut table = RunScheduler::new("app", plan, Some(evening), evening);
        let (mut now, mut looks) = (evening, vec![]);
        while now < evening + 12 * HOUR {
            now = table.next_run_at(now);
            let due = table.due_run(now).unwrap();
            table.record_run(&due, now, SignedDuration::ZERO, true);
            looks.push((now.duration_since(evening).as_mins(), due.ignore_constraints));
        }
        looks.pop();
        looks
    };
    // Minutes from midnight; the last run is the nightly one that trusts no index.
    assert_eq!(looks("2026-10-23T22:00:00Z"), [(120, false), (150, false), (180, true)]);
    assert_eq!(looks("2026-10-24T22:00:00Z"), [(120, false), (150, false), (240, true)]);
}

/// Records that are deleted by age, by table.
const AGING_TABLES: [&str; 6] =
    ["archive_batches", "samples", "events", "drain_entries", "outbox", "log_events"];

/// Inserts one of each into a store that was created at this instant.
fn put_aging(db: Tx<'_>, at: UtcTimestamp) -> Result<(), sessionwatch_store::StoreError> {
    let content =
        sessionwatch_core::row_ref::encode_row_refs(&[sessionwatch_core::row_ref::RowRef::default()]);
    db.execute(
        "INSERT INTO archive_batches (id, plan, target, state, at, purge_at, recipient, content, fates, sealed)
         VALUES (1, 'p', 'app', 'kept', $3, $4, 'age1', $1, $2, $1)",
        &[content.as_slice().into(), [1].as_slice().into(), at.into(), (at + 7 * DAY).into()],
    )?;
    let rows = [
        "INSERT INTO events (id, at, target, check_id, kind, summary, detail) \
           VALUES (1000, $1, 'app', 'x', 'comment', 's', '{}')",
        "INSERT INTO outbox (id, idempotency_key, channel, message, created_at, next_at, state) \
           VALUES (1000, 'k', 'hook', '{}', $1, $1, 'done')",
        "INSERT INTO log_events (id, source, target, kind, severity, seen_at, byte_from, byte_to, text, fit, joined)
         VALUES (1000, 'web', 'app', 'own', 'high', $1, 0, 1, 't', 'exact', '{}')",
        "INSERT INTO drain_entries (source, entry, at) VALUES ('web', 'e', $1)",
    ];
    rows.iter().try_for_each(|row| db.execute(row, &[at.into()]).map(drop))
}

fn counts(store: &Store, before: UtcTimestamp) -> Vec<u64> {
    let count = |table: &&str| {
        let column = match *table {
            "log_events" => "seen_at",
            "outbox" => "next_at",
            _ => "at",
        };
        let query = format!("SELECT COUNT(*) FROM {table} WHERE {column} <= $1");
        store.read(|db| db.query_row(&query, &[before.into()])).unwrap().unwrap().read_u64(0).unwrap()
    };
    AGING_TABLES.iter().map(count).collect()
}

#[test]
fn nothing_is_deleted_by_age_after_a_clock_jump_until_the_jump_is_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let text = application(folder.path(), "one", "state.db");
    let mut watch = Watch::start(folder.path(), &text, monday());
    watch.shared.app.store.write(|db| put_aging(db, monday())).unwrap();
    let before = counts(&watch.shared.app.store, monday());
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
    let (mut now, day) = (monday(), DAY);
    for by in [8 * day, 500 * day, -508 * day, 500 * day] {
        watch.shared.app.clock.adjust(by);
        now += by;
        now += watch.goes_on(now) + 2 * MINUTE;
        watch.to(now);
        assert_eq!(counts(&watch.shared.app.store, monday()), before, "{by:#}");
    }
    // Everything in progress has finished.
    assert!(watch.stop());
    now += 10 * DAY;
    let mut watch = Watch::start(folder.path(), &text, now);
    watch.to(now + 2 * MINUTE);
    assert_eq!(counts(&watch.shared.app.store, monday()), before, "at a start by a clock that is far ahead");
    watch.to(now + 8 * HOUR);
    testkit::wait_until("what is too old is removed", || {
        counts(&watch.shared.app.store, monday()).iter().all(|count| *count == 0)
    });
    assert!(watch.stop());
}

#[test]
fn an_alert_keeps_its_timestamp_when_the_clock_goes_back_a_minute() {
    let (database, folder) = (testkit::anomalous_database(), tempfile::tempdir().unwrap());
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n",
        database.url("postgres")
    );
    let mut watch = Watch::start(folder.path(), &text, monday());
    let alert = |watch: &Watch| {
        let kept = watch
            .shared
            .app
            .store
            .read(|db| alerts::find_alert(db, "app", "duplicate-tokens"))
            .unwrap()
            .unwrap();
        assert!(matches!(kept.alert.state, AlertState::Firing { since, .. } if since == monday()));
        kept.alert
    };
    let fired = alert(&watch);
    let mut now = monday() + HOUR;
    watch.to(now);
    for by in [-3 * HOUR, 3 * HOUR, 2 * HOUR, -2 * HOUR] {
        watch.shared.app.clock.adjust(by);
        now += by;
        now += watch.goes_on(now);
        assert_eq!(alert(&watch), fired, "nor is it notified again");
    }
    assert!(watch.stop());
}

#[test]
fn a_login_made_with_a_fast_clock_does_not_outlast_its_lifetime() {
    let folder = tempfile::tempdir().unwrap();
    let text = application(folder.path(), "one", "state.db");
    std::fs::write(folder.path().join("sessionwatch.toml"), &text).unwrap();
    testkit::create_account(folder.path(), "ada", "viewer");
    let watch = Watch::start(folder.path(), &text, clock::now());
    let log_in = || testkit::DashboardLogin::start(&watch.address, "ada");
    let is_logged_in = |login: &testkit::DashboardLogin| login.get(&watch.address, "/settings").status == 200;
    let before = log_in();
    watch.shared.app.clock.adjust(500 * DAY);
    let ahead = log_in();
    assert_eq!([&before, &ahead].map(is_logged_in), [false, true]);
    watch.shared.app.clock.adjust(-500 * DAY);
    assert_eq!([&before, &ahead].map(is_logged_in), [true, false]);
    assert!(watch.stop());
}

/// Lines of a daemon's standard error.
fn lines(daemon: &mut Apart) -> Receiver<String> {
    let (sender, lines) = channel();
    let log = BufReader::new(daemon.log().unwrap());
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            // The test has ended and reads no more.
            let _ = sender.send(line);
        }
    });
    lines
}

#[test]
fn clock_differences_and_jumps_are_logged_once() {
    let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n",
        database.url("postgres")
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let begun = Monotonic::now();
    let start = clock::now() - 10 * MINUTE;
    let mut command = Process::new(fastforward::program());
    let mut daemon = Apart::start_by(command.stderr(Stdio::piped()), folder.path(), start);
    let log = lines(&mut daemon);
    assert!(daemon.looked());
    let first_run_seconds = begun.elapsed().as_secs_f64();
    for minute in [2, 4] {
        daemon.set(start + minute * MINUTE);
        assert!(daemon.looked());
    }
    // The database's clock keeps running, and from here on the daemon's runs with it.
    let right = || clock::now() + 2 * SECOND;
    daemon.adjust(right().duration_since(start + 4 * MINUTE));
    testkit::wait_until("a check run by the right clock", || {
        daemon.set(right());
        daemon.has_looked()
    });
    daemon.adjust(-3 * HOUR);
    let mut ahead = -3 * HOUR;
    testkit::wait_until("a check run by a clock that was set back", || {
        ahead += 4 * SECOND;
        daemon.set(right() + ahead);
        daemon.has_looked()
    });
    assert!(daemon.stop());
    let log: Vec<String> = log.iter().collect();
    let count = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    let differ =
        log.iter().filter_map(|line| line.split_once("the clocks of app and this machine differ by "));
    let [first, second]: [&str; 2] = differ.map(|(_, by)| by).collect::<Vec<_>>().try_into().unwrap();
    let seconds: f64 = first.split_once(" s: ").unwrap().0.parse().unwrap();
    assert!((600.0..=600.1 + first_run_seconds).contains(&seconds), "{first} after {first_run_seconds} s");
    assert!(second.starts_with("2 h 5"), "{second}");
    assert_eq!(count("the clocks of app and this machine agree again"), 1, "{log:?}");
    assert_eq!(count("keep both clocks in sync with NTP"), 2, "{log:?}");
    assert_eq!(count("the clock jumped forward by"), 1, "{log:?}");
    assert_eq!(count("the clock jumped back by 3 h 0 min"), 1, "{log:?}");
    assert_eq!(count("the clock jumped"), 2, "{log:?}");
}

#[test]
fn the_archive_is_purged_by_a_confirmed_or_trusted_clock() {
    let folder = tempfile::tempdir().unwrap();
    let now = clock::now();
    std::fs::write(folder.path().join("sessionwatch.toml"), application(folder.path(), "one", "state.db"))
        .unwrap();
    let store =
        Store::open(&sessionwatch_store::StoreLocation::File(folder.path().join("state.db"))).unwrap();
    store.write(|db| put_aging(db, now - 8 * DAY)).unwrap();
    store.write(|db| confirmed_time::upsert_confirmed_time(db, now - 2 * DAY)).unwrap();
    let purge = |more: &[&str]| {
        testkit::run_program_in(folder.path(), &[("USER", "ada")], &[&["archive", "purge"], more].concat())
    };
    let kept = purge(&[]);
    assert_eq!((kept.exit_code, kept.stdout.as_str()), (0, "Purged 0 archived rows.\n"));
    assert!(
        kept.stderr.contains("warning: kept 1 row whose retention has ended by this machine's clock"),
        "{}",
        kept.stderr
    );
    assert!(kept.stderr.contains("--trust-clock"), "{}", kept.stderr);
    assert_eq!(purge(&["--trust-clock"]).stdout, "Purged 1 archived row.\n");
    let quiet = purge(&[]);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("Purged 0 archived rows.\n", ""));
}

#[test]
fn a_critical_line_stays_confirmed_when_the_clock_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        "[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n[[logs]]\nname = \"web\"\nfile = \"web.log\"\n";
    let config = Config::parse(&folder.path().join("sessionwatch.toml"), text).unwrap();
    let store = Store::open_in_memory().unwrap();
    let seen = "INSERT INTO log_events (id, source, target, kind, severity, seen_at, byte_from, \
        byte_to, text, fit, joined)
                VALUES (1, 'web', 'app', 'user-mismatch', 'critical', $1, 0, 1, 't', 'exact', '{}')";
    store.write(|db| db.execute(seen, &[monday().into()])).unwrap();
    for back in [SignedDuration::ZERO, HOUR] {
        let now = monday() - back;
        let view = EvalInput { config: &config, target: "app", now };
        let evaluations = store.read(|db| evaluate::evaluate_log_checks(db, view)).unwrap();
        let outcome = evaluations
            .iter()
            .map(|evaluation| &evaluation.outcome)
            .find(|one| one.id == "log-user-mismatch");
        assert_eq!(outcome.unwrap().severity, Severity::Critical, "{back}: {:?}", outcome.unwrap().outcome);
    }
}
