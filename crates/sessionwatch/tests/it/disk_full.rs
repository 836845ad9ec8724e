//! The state store on a full disk: a small file system of the test's own, invisible to others.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use sessionwatch_store::{Store, StoreLocation, audit};
use testkit::HttpSink;

use crate::fastforward::{Apart, MINUTE, monday, program};

/// Mounts a small file system in a folder, visible only to the program that is run with it.
const SMALL: &str = "mount -t tmpfs -o size=SIZE,mode=700 small \"$0\" && exec \"$@\"";

/// Builds a command that runs the program with a disk of this size in a folder.
pub(crate) fn beside(disk: &Path, program: &Path, size: &str) -> Command {
    let small = SMALL.replace("SIZE", size);
    fs::create_dir_all(disk).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c"]);
    let possible = command.arg(&small).arg(disk).arg("true").stderr(Stdio::piped()).output();
    let possible = possible.expect("unshare, of the package util-linux, can be run");
    assert!(
        possible.status.success(),
        "a mount namespace can be had, as root or where user namespaces are allowed: {}",
        String::from_utf8_lossy(&possible.stderr)
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &small]).arg(disk).arg(program);
    command
}

/// Builds a command that runs the program inside the mount namespace of a process.
fn inside(process: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--user", "--mount", "--preserve-credentials", "--target", &process.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_sessionwatch"));
    command
}

/// A configuration of one target, with the state store on the small disk.
fn configuration(url: &str, hook: &str, store: &Path) -> String {
    format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\n[checks.slow-check-run]\nenabled = false\n\
         [serve]\nlisten = \"127.0.0.1:0\"\nstore = \"{}\"\n\
         [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{hook}\"\n\
         [[route]]\nchannels = [\"hook\"]\nseverity = \"critical\"\n",
        store.display()
    )
}

/// Fills a disk to its last page.
pub(crate) fn fill(file: &Path) {
    let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
    while file.write_all(&[b'x'; 4096]).is_ok() {}
}

/// Size of the store's files in bytes.
fn size(disk: &Path) -> Vec<(String, u64)> {
    let mut sizes: Vec<(String, u64)> = ["state.db", "state.db-wal", "state.db-shm"]
        .map(|name| (name.to_owned(), fs::metadata(disk.join(name)).unwrap().len()))
        .into();
    sizes.sort();
    sizes
}

/// A daemon with its state store on a small disk.
struct Crowded {
    watch: Apart,
    minute: i32,
    /// Path of the disk as seen from here.
    disk: PathBuf,
    log: Arc<Mutex<Vec<String>>>,
}

impl Crowded {
    fn start(folder: &Path) -> Self {
        let mut command = beside(&folder.join("disk"), program(), "2m");
        let mut watch = Apart::start_by(command.stderr(Stdio::piped()), folder, monday());
        let said = BufReader::new(watch.log().unwrap());
        let log = Arc::new(Mutex::new(vec![]));
        let keeping = Arc::clone(&log);
        std::thread::spawn(move || {
            said.lines().map_while(Result::ok).for_each(|line| keeping.lock().unwrap().push(line));
        });
        assert!(watch.looked());
        let disk = folder.join("disk");
        let disk = Path::new("/proc")
            .join(watch.id().to_string())
            .join("root")
            .join(disk.strip_prefix("/").unwrap());
        Self { watch, minute: 0, disk, log }
    }

    /// Runs checks a minute later.
    fn look(&mut self) {
        self.minute += 1;
        self.watch.set(monday() + self.minute * MINUTE);
        assert!(self.watch.looked());
    }

    fn is_store_in_memory(&self) -> bool {
        self.watch.page("/metrics").contains("sessionwatch_store_memory_fallback 1\n")
    }

    /// Counts the log lines with a text.
    fn said(&self, words: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(words)).count()
    }
}

/// Asserts that a backup of the store contains everything that happened.
fn assert_whole(copy: &Path) {
    let kept = Store::open(&StoreLocation::File(copy.to_owned())).unwrap();
    let query = "SELECT kind FROM events WHERE check_id = 'duplicate-tokens' AND kind IN ('firing', 'resolved') \
        ORDER BY id";
    let kinds: Vec<String> = kept
        .read(|db| db.query_rows(query, &[]))
        .unwrap()
        .iter()
        .map(|row| row.read_text(0).unwrap())
        .collect();
    assert_eq!(kinds, ["firing", "resolved"]);
    let sound =
        kept.read(|db| db.query_row("PRAGMA integrity_check", &[])).unwrap().unwrap().read_text(0).unwrap();
    assert_eq!(sound, "ok");
    assert_eq!(kept.read(audit::verify_chain).unwrap(), audit::ChainStatus::Intact(1));
}

#[test]
fn a_full_disk_stops_neither_check_runs_nor_notifications_and_nothing_is_lost() {
    let (database, sink) = (testkit::healthy_database(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(&database.url("postgres"), &sink.url(), &folder.path().join("disk/state.db"));
    fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let mut crowded = Crowded::start(folder.path());
    let config = folder.path().join("sessionwatch.toml").display().to_string();
    let run = |watch: &Apart, arguments: &[&str]| {
        let mut command = inside(watch.id());
        testkit::ProgramOutput::from(command.args(arguments).args(["--config", &config]).output().unwrap())
    };
    let silence =
        ["alerts", "silence", "--check", "target-unreachable", "--for", "9m", "--as", "ada", "--note", "x"];
    let said = run(&crowded.watch, &silence);
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
    let filler = crowded.disk.join("filler");
    fill(&filler);
    database.psql(r#"UPDATE sessions SET "sessionToken" = 'same-token' WHERE id IN ('s1', 's2')"#).unwrap();
    crowded.look();
    assert_eq!(sink.wait_for_requests(1).len(), 1, "a new alert is notified");
    assert!(crowded.is_store_in_memory());
    // Other processes may only read: their writes would be lost.
    let refused = run(&crowded.watch, &silence);
    assert!(
        refused.exit_code == 3 && refused.stderr.contains("room on a full disk"),
        "{} {}",
        refused.exit_code,
        refused.stderr
    );
    let before = size(&crowded.disk);
    database.psql("UPDATE sessions SET \"sessionToken\" = 'token-' || id WHERE id IN ('s1', 's2')").unwrap();
    for _ in 0..20 {
        crowded.look();
    }
    assert_eq!(size(&crowded.disk), before);
    assert_eq!(sink.wait_for_requests(2).len(), 2, "it is notified as resolved");
    assert_eq!(crowded.said("is full: checks and notifications continue"), 1);
    fs::remove_file(&filler).unwrap();
    testkit::wait_until("the store is written again", || {
        crowded.look();
        !crowded.is_store_in_memory()
    });
    assert_eq!(crowded.said("is writable again"), 1);
    let copy = folder.path().join("copy.db");
    let said = run(&crowded.watch, &["backup", copy.to_str().unwrap()]);
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
    assert_whole(&copy);
    // Full again until the daemon stops: the part in memory is written then.
    fill(&filler);
    crowded.look();
    assert!(crowded.is_store_in_memory());
    fs::remove_file(&filler).unwrap();
    let log = Arc::clone(&crowded.log);
    assert!(crowded.watch.stop());
    let again = || log.lock().unwrap().iter().filter(|line| line.contains("is writable again")).count();
    testkit::wait_until("it is written in the end", || again() == 2);
    let keys: Vec<String> = sink
        .received_requests()
        .iter()
        .map(|received| serde_json::from_str::<Value>(&received.body).unwrap()["key"].to_string())
        .collect();
    assert_eq!(keys.len(), 2, "nothing is notified twice: {keys:?}");
}

#[test]
fn a_start_on_a_full_disk_is_reported() {
    let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let store = folder.path().join("state.db");
    let write = |store: &Path| {
        let text = configuration(&database.url("postgres"), "http://127.0.0.1:1/", store);
        fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    };
    write(&store);
    assert_eq!(testkit::DaemonProcess::start(folder.path()).stop(), Some(0));
    let disk = folder.path().join("disk");
    write(&disk.join("state.db"));
    for made in [false, true] {
        let copy = if made { "cp state.db disk/ && " } else { "" };
        let script =
            format!("{copy} {{ head -c 3000000 /dev/zero > disk/filler 2>/dev/null; exec \"$0\" serve; }}");
        let output = beside(&disk, Path::new("sh"), "2m")
            .args(["-c", &script, env!("CARGO_BIN_EXE_sessionwatch")])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = testkit::ProgramOutput::from(output);
        assert_eq!(said.exit_code, 3, "{made}: {}", said.stderr);
        assert!(said.stderr.contains("the disk that holds the store is full"), "{made}: {}", said.stderr);
    }
}
