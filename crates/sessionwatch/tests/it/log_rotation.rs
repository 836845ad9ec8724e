//! Logs that are rotated in every way, while the daemon runs and while it is stopped: every line is counted once, or a
//! gap is reported.

use std::{
    cell::Cell,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sessionwatch_store::{Store, StoreLocation};
use testkit::{DaemonProcess, HttpSink, run_program_in, wait_until};

use crate::logs::find_notifications;

/// Longer than the beginning by which a file is identified.
pub(crate) const BANNER: &str = "----------------------------------------------------------------\n";

/// Time of the line about a user.
pub(crate) fn time(user: u32) -> String {
    format!("2026-11-29T10:00:00.{user:06}Z")
}

pub(crate) fn line(user: u32) -> String {
    format!("{} [AUTH-ADAPTER] Session created {{ userId: {user} }}\n", time(user))
}

pub(crate) fn append(path: &Path, text: impl AsRef<[u8]>) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_ref()).unwrap();
}

pub(crate) fn pack(path: &Path) {
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    packer.write_all(&fs::read(path).unwrap()).unwrap();
    fs::write(&packed, packer.finish().unwrap()).unwrap();
    // The compressed file keeps the modification time, as with `gzip`.
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    fs::File::options().append(true).open(&packed).unwrap().set_modified(modified).unwrap();
    fs::remove_file(path).unwrap();
}

pub(crate) fn truncate(path: &Path) {
    fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap();
}

/// The tables of the target.
const MAPPING: &str = "[target.mapping]\nsessions = \"sessions\"\nid = \"id\"\n\
    token = \"sessionToken\"\nuser = \"userId\"\n\
    expires = \"expires\"\ndecoder = \"epoch-ms\"\nusers = \"users\"\n";

/// A daemon that follows a log, and its state.
struct Scene {
    folder: tempfile::TempDir,
    sink: HttpSink,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap(), sink: HttpSink::start(&[]).unwrap() };
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n{MAPPING}\
             [serve]\nlisten = \"127.0.0.1:0\"\n[[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n\
             [[logs]]\nname = \"file\"\nfile = \"d/app.log\"\n",
            scene.sink.url()
        );
        fs::write(scene.folder.path().join("sessionwatch.toml"), text).unwrap();
        let target = rusqlite::Connection::open(scene.folder.path().join("app.db")).unwrap();
        let tables = r#"CREATE TABLE users (id INTEGER PRIMARY KEY);
            CREATE TABLE sessions (id TEXT PRIMARY KEY, "sessionToken" TEXT NOT NULL UNIQUE, "userId" INTEGER NOT NULL,
              expires INTEGER NOT NULL);"#;
        target.execute_batch(tables).unwrap();
        fs::create_dir(scene.folder.path().join("d")).unwrap();
        append(&scene.log(), "started\n");
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("d").join(name)
    }

    fn log(&self) -> PathBuf {
        self.path("app.log")
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Starts the daemon, and waits until it follows the log.
    fn start(&self) -> DaemonProcess {
        let running = DaemonProcess::start(self.folder.path());
        wait_until("the log is followed", || self.source().is_some_and(|source| source.position.is_some()));
        running
    }

    fn store(&self) -> Option<Store> {
        let path = self.folder.path().join("sessionwatch-state.db");
        path.exists().then(|| Store::open(&StoreLocation::File(path)).ok()).flatten()
    }

    fn source(&self) -> Option<sessionwatch_app::logs::LogSourceRecord> {
        self.store()?.read(|db| sessionwatch_app::logs::find_source(db, "file")).ok()?
    }

    /// Users of the stored log events, in the order in which they were read.
    fn users(&self) -> Vec<u32> {
        let said = run_program_in(
            self.folder.path(),
            &[],
            &["logs", "events", "--format", "ndjson", "--limit", "10000"],
        );
        assert_eq!(said.exit_code, 0, "{}", said.stderr);
        let signals = said.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let user = |signal: Value| signal["user"].as_str().unwrap_or("0").parse().unwrap();
        let mut users: Vec<u32> = signals.map(user).collect();
        users.reverse();
        users
    }

    fn waits_for(&self, users: &[u32]) {
        wait_until("every line", || self.users().len() >= users.len());
        assert_eq!(self.users(), users);
    }

    fn gaps(&self) -> u64 {
        let source = self.source().unwrap();
        source.counters.get("gaps").and_then(Value::as_u64).unwrap_or(0)
    }
}

#[test]
fn lines_rotated_while_the_daemon_runs_are_counted_once() {
    let scene = Scene::new();
    let log = scene.log();
    let running = scene.start();
    append(&log, line(1));
    scene.waits_for(&[1]);
    // The writer continues in the old file after the new one was created.
    let mut slow = fs::OpenOptions::new().append(true).open(&log).unwrap();
    scene.rename("app.log", "app.log.1");
    append(&log, line(2));
    scene.waits_for(&[1, 2]);
    slow.write_all(line(3).as_bytes()).unwrap();
    scene.waits_for(&[1, 2, 3]);
    // Three rotations in quick succession, the first file compressed at once.
    append(&log, line(4));
    scene.rename("app.log.1", "app.log.4");
    scene.rename("app.log", "app.log.3");
    pack(&scene.path("app.log.3"));
    append(&log, line(5));
    scene.rename("app.log", "app.log.2");
    append(&log, line(6));
    scene.rename("app.log", "app.log.1");
    append(&log, line(7));
    scene.waits_for(&[1, 2, 3, 4, 5, 6, 7]);
    // Copied and truncated, then written to beyond the old length.
    append(&log, line(8));
    fs::copy(&log, scene.path("app.log-20261129")).unwrap();
    truncate(&log);
    append(&log, (9..20).map(line).collect::<String>());
    scene.waits_for(&(1..20).collect::<Vec<_>>());
    // Deleted and recreated.
    append(&log, line(20));
    fs::remove_file(&log).unwrap();
    append(&log, line(21));
    scene.waits_for(&(1..22).collect::<Vec<_>>());
    assert_eq!(running.stop(), Some(0));
    assert_eq!((scene.users(), scene.gaps()), ((1..22).collect(), 0));
}

#[test]
fn lines_rotated_while_the_daemon_is_stopped_are_counted_once() {
    let scene = Scene::new();
    let log = scene.log();
    let running = scene.start();
    append(&log, line(1));
    scene.waits_for(&[1]);
    assert_eq!(running.stop(), Some(0));
    // Two rotations, the first file compressed; then copied and truncated.
    append(&log, line(2));
    scene.rename("app.log", "app.log.2");
    pack(&scene.path("app.log.2"));
    append(&log, line(3));
    scene.rename("app.log", "app.log.1");
    append(&log, line(4));
    fs::copy(&log, scene.path("app.log-20261129")).unwrap();
    truncate(&log);
    append(&log, line(5));
    let running = scene.start();
    scene.waits_for(&[1, 2, 3, 4, 5]);
    running.send_signal("KILL");
    let _ = running.wait();
    append(&log, line(6));
    fs::copy(&log, scene.path("app.log-20261130")).unwrap();
    truncate(&log);
    append(&log, line(7) + &line(8) + &line(9));
    let running = scene.start();
    scene.waits_for(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(running.stop(), Some(0));
    assert_eq!((scene.users(), scene.gaps()), ((1..10).collect(), 0));
}

#[test]
fn a_truncation_is_detected_even_if_every_file_begins_with_the_same_banner() {
    let scene = Scene::new();
    let log = scene.log();
    append(&log, BANNER.repeat(5));
    let running = scene.start();
    append(&log, line(1) + &line(2));
    scene.waits_for(&[1, 2]);
    fs::copy(&log, scene.path("app.log.1")).unwrap();
    truncate(&log);
    append(&log, BANNER.repeat(5) + &(3..30).map(line).collect::<String>());
    scene.waits_for(&(1..30).collect::<Vec<_>>());
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn lost_lines_are_counted_and_reported() {
    let scene = Scene::new();
    let log = scene.log();
    let running = scene.start();
    append(&log, line(1));
    scene.waits_for(&[1]);
    assert_eq!(running.stop(), Some(0));
    append(&log, line(2));
    fs::remove_file(&log).unwrap();
    append(&log, line(3));
    let errors = scene.folder.path().join("errors");
    let mut command = testkit::program_command(&["serve"]);
    command.current_dir(scene.folder.path()).stderr(fs::File::create(&errors).unwrap());
    let running = testkit::DaemonProcess::start_with_command(&mut command);
    wait_until("the alert", || !find_notifications(&scene.sink, "log-source-gap").is_empty());
    let alert = &find_notifications(&scene.sink, "log-source-gap")[0];
    assert_eq!((&alert["severity"], &alert["notice"]), (&"high".into(), &"firing".into()), "{alert:#}");
    assert!(alert["summary"].as_str().unwrap().contains("`file`: the file read last is gone"), "{alert:#}");
    assert_eq!((scene.users(), scene.gaps()), (vec![1, 3], 1));
    let said = fs::read_to_string(&errors).unwrap();
    assert!(said.contains("log lines may be missing") && said.contains("app.log"), "{said}");
    let sources = run_program_in(scene.folder.path(), &[], &["logs", "sources"]).stdout;
    assert!(sources.contains("1 gap"), "{sources}");
    let metrics = running.get_body("/metrics");
    assert!(
        metrics.contains("sessionwatch_log_dropped_total{source=\"file\",reason=\"gaps\"} 1\n"),
        "{metrics}"
    );
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn utf_16_is_read() {
    let scene = Scene::new();
    let log = scene.log();
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    fs::write(&log, wide("\u{feff}started\n")).unwrap();
    let running = scene.start();
    append(&log, wide(&line(1)));
    scene.waits_for(&[1]);
    assert_eq!(running.stop(), Some(0));
    append(&log, wide(&line(2)));
    let running = scene.start();
    scene.waits_for(&[1, 2]);
    // In the middle of other text, it is reported.
    scene.rename("app.log", "app.log.1");
    append(&log, line(3));
    scene.waits_for(&[1, 2, 3]);
    append(&log, wide(&line(4)));
    wait_until("the gap", || scene.gaps() == 1);
    assert!(scene.source().unwrap().counters["lost_bytes"].as_u64().unwrap() > 80);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn an_entry_of_several_lines_survives_restarts() {
    let scene = Scene::new();
    let log = scene.log();
    for (user, signal) in [(1, "TERM"), (2, "KILL"), (3, "TERM"), (4, "KILL")] {
        let running = scene.start();
        let read = scene.source().unwrap().counters.get("lines").and_then(Value::as_u64).unwrap_or(0);
        append(&log, format!("{} [AUTH-ADAPTER] Session created {{\n", time(user)));
        wait_until("the first line", || {
            scene.source().unwrap().counters.get("lines").and_then(Value::as_u64).unwrap_or(0) > read
        });
        running.send_signal(signal);
        let _ = running.wait();
        append(&log, format!("  userId: {user}\n"));
        let running = scene.start();
        append(&log, "}\n");
        scene.waits_for(&(1..=user).collect::<Vec<_>>());
        assert_eq!(running.stop(), Some(0));
    }
    let counters = scene.source().unwrap().counters;
    assert!(!counters.contains_key("truncated"), "{counters:?}");
}

#[test]
fn an_undecodable_log_position_is_an_error() {
    let scene = Scene::new();
    let running = scene.start();
    append(&scene.log(), line(1));
    scene.waits_for(&[1]);
    assert_eq!(running.stop(), Some(0));
    let database = scene.folder.path().join("sessionwatch-state.db");
    let store = rusqlite::Connection::open(&database).unwrap();
    store.execute("UPDATE log_sources SET place = '{\"reading\":7}'", []).unwrap();
    append(&scene.log(), line(2));
    let said = run_program_in(scene.folder.path(), &[], &["logs", "sources"]);
    assert_eq!(said.exit_code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("place"), "{}", said.stderr);
}

#[test]
fn every_line_is_counted_once_although_the_daemon_is_killed_during_rotation() {
    let scene = Scene::new();
    let log = scene.log();
    let count = || u32::try_from(scene.users().len()).unwrap();
    let last = Cell::new(0);
    let write = |lines: u32| {
        append(&scene.log(), (last.get() + 1..=last.get() + lines).map(line).collect::<String>());
        last.set(last.get() + lines);
    };
    for round in 0..12 {
        let running = scene.start();
        write(5);
        // Killed before, during or after a read.
        if round % 3 == 1 {
            wait_until("something is read", || count() > last.get() - 5);
        } else if round % 3 == 2 {
            scene.waits_for(&(1..=last.get()).collect::<Vec<_>>());
        }
        let name = format!("app.log-2026{round:04}");
        match round % 4 {
            0 => scene.rename("app.log", &name),
            1 => {
                fs::copy(&log, scene.path(&name)).unwrap();
                truncate(&log);
            }
            _ => {
                scene.rename("app.log", &name);
                append(&log, "");
                write(2);
                scene.rename("app.log", &format!("{name}1"));
                pack(&scene.path(&name));
            }
        }
        write(1);
        running.send_signal("KILL");
        let _ = running.wait();
        write(1);
    }
    let running = scene.start();
    wait_until("every line", || count() >= last.get());
    assert_eq!(running.stop(), Some(0));
    let mut users = scene.users();
    users.sort_unstable();
    assert_eq!((users, scene.gaps()), ((1..=last.get()).collect(), 0));
}
