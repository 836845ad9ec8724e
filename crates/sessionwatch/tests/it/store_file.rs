//! The store file is deleted, replaced, damaged or opened by another path while a daemon uses it.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::{FileExt as _, symlink},
    path::Path,
    process::Stdio,
};

use testkit::{DaemonProcess, HttpSink};

const STORE: &str = "sessionwatch-state.db";

/// A folder with a configuration for a small SQLite file and a channel.
fn folder(hook: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    rusqlite::Connection::open(folder.path().join("app.db"))
        .unwrap()
        .execute_batch(
            "CREATE TABLE users (id TEXT PRIMARY KEY);
             CREATE TABLE sessions (id TEXT PRIMARY KEY, sessionToken TEXT NOT NULL UNIQUE, userId TEXT NOT NULL, \
               expires TEXT NOT NULL);
             INSERT INTO users VALUES ('u1');
             INSERT INTO sessions VALUES ('s1', 'token-number-one', 'u1', '2100-01-01T00:00:00.000Z');",
        )
        .unwrap();
    configure(folder.path(), hook, "");
    folder
}

fn configure(folder: &Path, hook: &str, more: &str) {
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n[serve]\nlisten = \"127.0.0.1:0\"\n{more}\
         [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{hook}\"\n\
         [[route]]\nchannels = [\"hook\"]\nchecks = [\"target-unreachable\"]\n"
    );
    fs::write(folder.join("sessionwatch.toml"), text).unwrap();
}

/// Starts a daemon, and waits until it is ready.
fn ready(folder: &Path) -> DaemonProcess {
    let watch = testkit::DaemonProcess::start_with_command(
        testkit::program_command(&["serve"]).current_dir(folder).stderr(Stdio::piped()),
    );
    testkit::wait_until("a run succeeds", || testkit::http::get(&watch.address, "/readyz").status == 200);
    watch
}

/// Status of a page; `None` if the daemon has ended.
fn status(address: &str, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// Waits for the end of a daemon. Returns its exit code and its log.
fn ended(mut watch: DaemonProcess) -> (Option<i32>, String) {
    let mut log = String::new();
    watch.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    (watch.wait(), log)
}

#[test]
fn the_daemon_stops_with_a_message_if_its_store_is_deleted_or_replaced() {
    for (expected, replaced) in [("was deleted", false), ("was replaced", true)] {
        let sink = HttpSink::start(&[]).unwrap();
        let folder = folder(&sink.url());
        let watch = ready(folder.path());
        let (store, other) = (folder.path().join(STORE), folder.path().join("other.db"));
        if replaced {
            fs::copy(&store, &other).unwrap();
            fs::rename(&other, &store).unwrap();
        } else {
            fs::remove_file(&store).unwrap();
        }
        assert_ne!(status(&watch.address, "/readyz"), Some(200), "{expected}");
        let (code, log) = ended(watch);
        assert_eq!(code, Some(3), "{log}");
        assert!(log.contains(expected) && log.contains("shutting down"), "{log}");
        let received = sink.wait_for_requests(1);
        assert!(
            received[0].body.contains("store-file") && received[0].body.contains(expected),
            "{}",
            received[0].body
        );
        // After a restart, it uses the existing file.
        assert_eq!(ready(folder.path()).stop(), Some(0));
    }
}

#[test]
fn a_link_to_a_store_leads_to_the_same_lock() {
    let folder = folder("http://127.0.0.1:1/");
    let watch = ready(folder.path());
    symlink(folder.path().join(STORE), folder.path().join("link.db")).unwrap();
    configure(folder.path(), "http://127.0.0.1:1/", "store = \"link.db\"\n");
    let said = testkit::start_expecting_refusal(folder.path());
    assert!(
        said.exit_code == 3 && said.stderr.contains("is in use by another sessionwatch daemon"),
        "{}",
        said.stderr
    );
    assert_eq!(watch.stop(), Some(0));
}

/// Overwrites a file with noise from this position on.
fn spoil(file: &Path, from: u64) {
    let length = fs::metadata(file).unwrap().len();
    let file = OpenOptions::new().write(true).open(file).unwrap();
    let noise: Vec<u8> = (from..length).map(|at| (at * 31 % 251) as u8).collect();
    file.write_all_at(&noise, from).unwrap();
}

#[test]
fn a_start_on_a_damaged_store_suggests_the_backup() {
    for from in [0, 4_096] {
        let folder = folder("http://127.0.0.1:1/");
        assert_eq!(ready(folder.path()).stop(), Some(0));
        spoil(&folder.path().join(STORE), from);
        for command in [&["serve"][..], &["alerts", "list"], &["accounts", "list"]] {
            let said = testkit::run_program_in(folder.path(), &[], command);
            assert_eq!(said.exit_code, 3, "{from} {command:?}: {}", said.stderr);
            let hint =
                said.stderr.contains("`sessionwatch backup`") && said.stderr.contains("docs/deploy.md");
            assert!(hint, "{from} {command:?}: {}", said.stderr);
        }
    }
}

#[test]
fn failing_reads_are_logged_and_the_daemon_is_not_ready() {
    let folder = folder("http://127.0.0.1:1/");
    let watch = ready(folder.path());
    // Cached pages hide damage in the file from a connection, but no cache hides damage in the schema.
    let damage =
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 1000000 WHERE name = 'alerts';
                  PRAGMA schema_version = 4711;";
    let store = rusqlite::Connection::open(folder.path().join(STORE)).unwrap();
    store.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    store.execute_batch(damage).unwrap();
    assert_eq!(status(&watch.address, "/metrics"), Some(500));
    assert_eq!(status(&watch.address, "/readyz"), Some(503));
    assert_eq!(status(&watch.address, "/healthz"), Some(200));
    watch.send_signal("KILL");
    let (_, log) = ended(watch);
    assert_eq!(log.matches("cannot read the store").count(), 1, "{log}");
    assert!(log.contains("sessionwatch backup"), "{log}");
}
