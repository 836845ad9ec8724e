//! Several daemons on one store: a former leader writes nothing, and notifications are sent in time.

use std::{io::Write as _, path::Path};

use testkit::{DaemonProcess, Database, HttpSink, wait_until, wait_until_none_left};

/// A target with a followed log, a shared store, and a channel.
struct Scene {
    folder: tempfile::TempDir,
    store: Database<'static>,
    sink: HttpSink,
}

impl Scene {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: testkit::empty_database(),
            sink: HttpSink::start(&[]).unwrap(),
        }
    }

    /// Starts a daemon with this many log checks.
    fn start(&self, patterns: usize) -> DaemonProcess {
        let database = self.folder.path().join("app.db");
        if !database.exists() {
            let connection = rusqlite::Connection::open(&database).unwrap();
            connection
                .execute_batch(
                    r#"CREATE TABLE "User" (id TEXT PRIMARY KEY, name TEXT, email TEXT UNIQUE);
                       CREATE TABLE "Session" (id TEXT PRIMARY KEY, "sessionToken" TEXT NOT NULL UNIQUE,
                         "userId" TEXT NOT NULL REFERENCES "User" (id) ON DELETE CASCADE, expires DATETIME NOT NULL);
                       INSERT INTO "User" VALUES ('u1', 'Ada', 'ada@example.org');
                       INSERT INTO "Session" VALUES ('s1', 'token-of-ada-0123456789abcdef', 'u1', 1900000000000);"#,
                )
                .unwrap();
        }
        let log = self.log();
        append(&log, "");
        let patterns: String = (0..patterns)
            .map(|number| {
                format!(
                    "[[log_check]]\nname = \"event-{number}\"\nliteral = \"EVENT {number};\"\nseverity = \"high\"\n\
                     max = 0\n"
                )
            })
            .collect();
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"sqlite:{}\"\nprofile = \"authjs-prisma\"\n\
             [checks.slow-check-run]\nbudget_ms = 3600000\n\
             [serve]\nlisten = \"127.0.0.1:0\"\nstore = \"{}\"\nname = \"first\"\n\
             [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n\
             [[logs]]\nname = \"log\"\nfile = \"{}\"\n{patterns}",
            database.display(),
            self.store.url("postgres"),
            self.sink.url(),
            log.display()
        );
        std::fs::write(self.folder.path().join("sessionwatch.toml"), text).unwrap();
        let watch = testkit::DaemonProcess::start(self.folder.path());
        wait_until("the log is followed", || {
            self.asked("SELECT count(*) FROM sessionwatch.log_sources WHERE place IS NOT NULL") == "1"
        });
        watch
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("app.log")
    }

    fn asked(&self, sql: &str) -> String {
        self.store.psql(sql).unwrap().trim().to_owned()
    }

    /// Waits until no delivery is pending.
    fn wait_until_delivered(&self) {
        wait_until_none_left("everything is delivered", || {
            self.asked("SELECT count(*) FROM sessionwatch.outbox WHERE state <> 'done'").parse().unwrap()
        });
    }

    /// Returns the `possible_duplicate` flag of each message.
    fn list_duplicate_flags(&self) -> Vec<bool> {
        let again = |body: &str| {
            serde_json::from_str::<serde_json::Value>(body).unwrap()["possible_duplicate"].as_bool()
        };
        self.sink.received_requests().iter().map(|received| again(&received.body).unwrap()).collect()
    }
}

/// An instant shortly after the current one, by the clock of the store's server.
const SOON: &str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) + 6000000";

/// Holds the lease of the target, like a second daemon that renews it.
fn hold(store: &Database<'_>) {
    let renew = format!(
        "UPDATE sessionwatch.leases SET until = {SOON} WHERE name = 'target/app' AND holder = 'second'"
    );
    store.psql(&renew).unwrap();
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn created(user: u32) -> String {
    format!("[AUTH-ADAPTER] Session created {{ sessionToken: '{user:08x}', userId: 'q{user}' }}\n")
}

#[test]
fn a_former_leader_stores_no_line_and_serves_no_stale_state() {
    let scene = Scene::new();
    let watch = scene.start(0);
    let seen = [
        "sessionwatch_sessions{",
        "sessionwatch_last_success_timestamp_seconds{",
        "sessionwatch_check_failing{",
    ];
    wait_until("the leader has looked", || {
        let page = watch.get_body("/metrics");
        seen.iter().all(|metric| page.contains(metric))
    });
    let lines = std::cell::Cell::new(0);
    let log = scene.log();
    let write_line = || {
        append(&log, &created(lines.get()));
        lines.set(lines.get() + 1);
    };
    let kept = "SELECT count(*) FROM sessionwatch.log_events";
    wait_until("lines are kept", || {
        write_line();
        scene.asked(kept) != "0"
    });
    // Another daemon takes over the lease; this one still considers itself the leader for a while.
    let before = scene.asked(&format!(
        "BEGIN; DO $$ BEGIN PERFORM pg_advisory_xact_lock(8315179226770797667);
         UPDATE sessionwatch.leases SET holder = 'second', term = term + 1, until = {SOON}
         WHERE name = 'target/app'; END $$; {kept}; COMMIT"
    ));
    wait_until("it knows that it leads no more", || {
        write_line();
        hold(&scene.store);
        watch.get_body("/metrics").contains("sessionwatch_target_leader{target=\"app\"} 0")
    });
    let place = scene.asked("SELECT place FROM sessionwatch.log_sources");
    let after = scene.asked(kept);
    assert!(before.lines().any(|line| line == after), "{before}, {after}: lines of a former leader are kept");
    let page = watch.get_body("/metrics");
    assert!(seen.iter().all(|metric| !page.contains(metric)), "{page}");
    assert!(page.contains("sessionwatch_check_runs_total{target=\"app\"}"), "{page}");
    assert_eq!(scene.asked("SELECT place FROM sessionwatch.log_sources"), place);
    // It leads again, and every line is stored once.
    scene.asked("UPDATE sessionwatch.leases SET until = 0 WHERE name = 'target/app'");
    let once = "SELECT count(*) || '/' || count(DISTINCT user_id) FROM sessionwatch.log_events";
    let all = format!("{0}/{0}", lines.get());
    wait_until("every line is kept", || scene.asked(once) == all);
    wait_until("it looks again", || watch.get_body("/metrics").contains(seen[0]));
    assert_eq!(watch.stop(), Some(0));
    assert_eq!(scene.asked(once), all);
}

#[test]
fn many_alerts_are_delivered_concurrently() {
    const ALERTS: usize = 1 + 2 + 4 + 8;
    let scene = Scene::new();
    let watch = scene.start(ALERTS);
    // Sequential deliveries would never get the second response.
    scene.sink.respond_in_batches(1, 2);
    let lines: String = (0..ALERTS).map(|number| format!("EVENT {number};\n")).collect();
    append(&scene.log(), &lines);
    assert_eq!(scene.sink.wait_for_requests(ALERTS).len(), ALERTS);
    scene.wait_until_delivered();
    assert_eq!(scene.list_duplicate_flags(), [false; ALERTS]);
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn a_delivery_that_cannot_be_recorded_at_once_is_recorded_later_and_not_repeated() {
    let scene = Scene::new();
    let watch = scene.start(2);
    scene.sink.respond_in_batches(0, 2);
    append(&scene.log(), "EVENT 0;\n");
    assert_eq!(scene.sink.wait_for_requests(1).len(), 1);
    // The message is in flight. Its outcome cannot be written for a while.
    scene.asked("ALTER TABLE sessionwatch.outbox RENAME TO away");
    scene.sink.respond_immediately();
    wait_until("it was tried in vain", || {
        let tried = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
        scene.asked(tried).parse::<u64>().unwrap() > 1
    });
    scene.asked("ALTER TABLE sessionwatch.away RENAME TO outbox");
    scene.wait_until_delivered();
    append(&scene.log(), "EVENT 1;\n");
    assert_eq!(scene.sink.wait_for_requests(2).len(), 2);
    scene.wait_until_delivered();
    assert_eq!(scene.list_duplicate_flags(), [false, false]);
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn a_new_leader_does_not_repeat_a_cleanup() {
    let (database, store) = (testkit::healthy_database(), testkit::empty_database());
    let (url, folder) = (database.url("postgres"), tempfile::tempdir().unwrap());
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n\
         [target.cleanup]\nexpired = true\ninterval = \"1h\"\n\
         [checks.slow-check-run]\nenabled = false\n[actions]\narchive_identity = \"{}\"\n\
         [serve]\nlisten = \"127.0.0.1:0\"\nname = \"first\"\nstore = \"{}\"\n",
        folder.path().join("archive.key").display(),
        store.url("postgres")
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let ask = |sql: &str| store.psql(sql).unwrap().trim().to_owned();
    // The store exists; a cleanup was made two hours ago, and another daemon leads.
    testkit::create_account(folder.path(), "ada", "admin");
    let event = |at: &str| {
        format!(
            "INSERT INTO sessionwatch.events (id, at, target, check_id, kind, summary, detail)
             SELECT COALESCE(MAX(id), 0) + 1, {at}, 'app', 'expired-backlog', 'cleanup', 'by the second', '{{}}' \
               FROM sessionwatch.events"
        )
    };
    ask(&event(&format!("{SOON} - 7200000000")));
    ask(&format!(
        "INSERT INTO sessionwatch.leases (name, holder, term, until) VALUES ('target/app', 'second', 1, {SOON})"
    ));
    let watch = testkit::DaemonProcess::start(folder.path());
    wait_until("it holds the other lease", || {
        hold(&store);
        ask("SELECT count(*) FROM sessionwatch.leases WHERE name = 'delivery'") == "1"
    });
    // That daemon cleans up, and stops.
    ask(&event(SOON));
    ask("UPDATE sessionwatch.leases SET until = 0 WHERE name = 'target/app'");
    let looks = || {
        let page = watch.get_body("/metrics");
        let count =
            page.lines().find_map(|line| line.strip_prefix("sessionwatch_check_runs_total{target=\"app\"} "));
        count.map_or(0, |count| count.parse::<u32>().unwrap())
    };
    wait_until("it leads and looks", || looks() > 0);
    // When the next cleanup is due, this one runs it.
    ask("UPDATE sessionwatch.leases SET holder = 'second', term = term + 1 WHERE name = 'target/app'");
    wait_until("it leads no more", || {
        hold(&store);
        watch.get_body("/metrics").contains("sessionwatch_target_leader{target=\"app\"} 0")
    });
    ask("UPDATE sessionwatch.events SET at = at - 7200000000 WHERE kind = 'cleanup'");
    let due = ask(&format!("SELECT {SOON} - 6000000"));
    ask("UPDATE sessionwatch.leases SET until = 0 WHERE name = 'target/app'");
    let made =
        "SELECT count(*) FROM sessionwatch.events WHERE kind = 'cleanup' AND summary <> 'by the second'";
    wait_until("the next cleanup", || ask(&format!("{made} AND at >= {due}")) == "1");
    assert_eq!(watch.stop(), Some(0));
    assert_eq!(ask(made), "1", "it cleaned up once more after it took over");
}
