//! Backups of the state store, made while the daemon is using it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{Store, StoreError, StoreLocation, audit, transaction::Tx};
use testkit::HttpSink;

/// A configuration of one target and one channel, with the state store at this location.
fn configuration(url: &str, hook: &str, store: &str) -> String {
    format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\n[checks.slow-check-run]\nbudget_ms = 3600000\n\
         [serve]\nlisten = \"127.0.0.1:0\"\nstore = \"{store}\"\n\
         [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{hook}\"\n"
    )
}

/// Checks that a backup is intact and readable by its owner only. Returns its alerts and audit log entries.
fn contents(copy: &Path) -> (Vec<[String; 3]>, i64) {
    assert_eq!(std::fs::metadata(copy).unwrap().permissions().mode() & 0o777, 0o600);
    let copy = rusqlite::Connection::open(copy).unwrap();
    let whole: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    let mut query = copy.prepare("SELECT target, check_id, state FROM alerts ORDER BY 1, 2").unwrap();
    let alerts = query.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?])).unwrap();
    let alerts = alerts.collect::<Result<_, _>>().unwrap();
    (alerts, copy.query_row("SELECT COUNT(*) FROM audit", [], |row| row.get(0)).unwrap())
}

/// The alerts that `alerts list` prints.
fn listed(folder: &Path) -> serde_json::Value {
    let said = testkit::run_program_in(folder, &[], &["alerts", "list", "--all", "--format", "json"]);
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
    serde_json::from_str(&said.stdout).unwrap()
}

/// Copies the store of a running daemon, and continues with the copy.
fn copied_while_it_runs(store: &str) {
    let (database, sink, folder) =
        (testkit::anomalous_database(), HttpSink::start(&[]).unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("sessionwatch.toml");
    let write = |store: &str| {
        std::fs::write(&file, configuration(&database.url("postgres"), &sink.url(), store)).unwrap();
    };
    let run = |arguments: &[&str]| testkit::run_program_in(folder.path(), &[("USER", "ada")], arguments);
    write(store);
    let early = run(&["backup", "early.db"]);
    assert!(
        early.exit_code == 2 && early.stderr.contains("run `sessionwatch serve` to create the store"),
        "{}",
        early.stderr
    );
    assert!(!folder.path().join("early.db").exists());
    let watch = testkit::DaemonProcess::start(folder.path());
    assert!(!sink.wait_for_requests(1).is_empty());
    for number in 0..5 {
        let (copy, note) = (format!("copy-{number}.db"), format!("note {number}"));
        let silence = ["alerts", "silence", "--check", "target-unreachable", "--for", "9m", "--note", &note];
        assert_eq!(run(&silence).exit_code, 0);
        let said = run(&["backup", &copy]);
        assert_eq!(said.exit_code, 0, "{}", said.stderr);
        assert!(said.stdout.starts_with(&format!("Copied the state store to {copy} (")), "{}", said.stdout);
        let (alerts, entries) = contents(&folder.path().join(&copy));
        assert!(alerts.contains(&["app", "duplicate-tokens", "firing"].map(str::to_owned)), "{alerts:?}");
        assert_eq!(entries, number + 1);
    }
    let again = run(&["backup", "copy-4.db"]);
    assert!(
        again.exit_code == 2 && again.stderr.contains("cannot create copy-4.db: the file exists"),
        "{}",
        again.stderr
    );
    assert_eq!(watch.stop(), Some(0));
    let before = listed(folder.path());
    write("copy-4.db");
    assert_eq!(listed(folder.path()), before);
    let verified = run(&["audit", "verify"]);
    assert!(
        verified.exit_code == 0 && verified.stdout.contains("Audit log intact: 5 entries"),
        "{}",
        verified.stdout
    );
    // A daemon on the copy does not repeat notifications.
    let watch = testkit::DaemonProcess::start(folder.path());
    assert!(watch.get_body("/metrics").contains(
        "sessionwatch_alert_firing{target=\"app\",check=\"duplicate-tokens\",severity=\"critical\"} 1\n"
    ));
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn a_file_store_can_be_copied_in_use_and_replaced_by_the_copy() {
    copied_while_it_runs("state.db");
}

#[test]
fn a_store_on_a_server_can_be_copied_to_a_file_that_replaces_it() {
    copied_while_it_runs(&testkit::empty_database().url("postgres"));
}

#[test]
fn a_failed_backup_says_why_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sessionwatch-state.db"), "no database").unwrap();
    let said = testkit::run_program_in(folder.path(), &[], &["backup", "copy.db"]);
    assert!(said.exit_code == 3 && !said.stderr.is_empty(), "{}", said.stderr);
    std::fs::remove_file(folder.path().join("sessionwatch-state.db")).unwrap();
    let nowhere = testkit::run_program_in(folder.path(), &[], &["backup", "no/such/folder/copy.db"]);
    assert_eq!(nowhere.exit_code, 2, "{}", nowhere.stderr);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.contains(&"copy.db".into()), "{left:?}");
}

/// A folder with a store that has several hundred audit log entries.
fn filled() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessionwatch-state.db");
    let store = Store::open(&StoreLocation::File(path.clone())).unwrap();
    let at = UtcTimestamp::from_micros(5).unwrap();
    let entry = |db: Tx<'_>, number: i32| {
        let detail = format!("{{\"number\":{number},\"text\":\"{}\"}}", "x".repeat(200));
        audit::insert_audit_entry(
            db,
            audit::NewAuditEntry { actor: "ada", action: "noted", detail: &detail },
            at,
        )
    };
    store.write(|db| (0..300).try_for_each(|number| entry(db, number))).unwrap();
    drop(store);
    (folder, path)
}

/// Sorted names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_damaged_store_is_never_copied_over_an_existing_backup() {
    /// Size of a page in bytes.
    const PAGE: usize = 4_096;
    let (folder, path) = filled();
    let sound = fs::read(&path).unwrap();
    assert!(sound.len() > 20 * PAGE);
    let copy = folder.path().join("copy.db");
    let place = StoreLocation::File(path.clone());
    let mut refused_copies = 0;
    for page in 1..sound.len() / PAGE {
        let mut damaged = sound.clone();
        damaged[page * PAGE..(page + 1) * PAGE].fill(0xAA);
        fs::write(&path, &damaged).unwrap();
        // If the damaged store can be opened at all, the check of the copy detects the damage.
        if let Ok(Some(store)) = Store::open_existing(&place) {
            let refused = store.backup(&copy);
            assert!(refused.is_err(), "page {page}");
            refused_copies += usize::from(matches!(refused, Err(StoreError::DamagedBackup { .. })));
        }
        assert!(names(folder.path()).iter().all(|name| !name.contains("copy")), "page {page}");
    }
    assert!(refused_copies > 10, "{refused_copies}");
    let run = |arguments: &[&str]| testkit::run_program_in(folder.path(), &[("USER", "ada")], arguments);
    let mut damaged = sound.clone();
    damaged[5 * PAGE..11 * PAGE].fill(0xAA);
    fs::write(&path, damaged).unwrap();
    let said = run(&["backup", "copy.db"]);
    assert!(said.exit_code == 3 && said.stdout.is_empty(), "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains("restore the last `sessionwatch backup`"), "{}", said.stderr);
    assert_eq!(names(folder.path()), ["sessionwatch-state.db"]);
    fs::write(&path, sound).unwrap();
    assert_eq!(run(&["backup", "copy.db"]).exit_code, 0);
    assert_eq!(names(folder.path()), ["copy.db", "sessionwatch-state.db"]);
}

#[test]
fn a_store_with_a_modified_audit_log_is_not_copied() {
    let (folder, path) = filled();
    let run = |arguments: &[&str]| testkit::run_program_in(folder.path(), &[("USER", "ada")], arguments);
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("UPDATE audit SET actor = 'bo' WHERE id = 7", [])
        .unwrap();
    let said = run(&["backup", "copy.db"]);
    let is_reported = said.stderr.contains("cannot back up to copy.db: audit log entry 7");
    assert!(said.exit_code == 3 && is_reported, "{}{}", said.stdout, said.stderr);
    // The same for a store on a server.
    let database = testkit::empty_database();
    let text = format!("[serve]\nstore = \"{}\"\n", database.url("postgres"));
    fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    testkit::create_account(folder.path(), "ada", "admin");
    assert_eq!(run(&["backup", "sound.db"]).exit_code, 0);
    database.psql("UPDATE sessionwatch.audit SET actor = 'bo'").unwrap();
    let said = run(&["backup", "copy.db"]);
    assert!(said.exit_code == 3 && said.stderr.contains("audit log entry 1"), "{}", said.stderr);
    assert_eq!(names(folder.path()), ["sessionwatch-state.db", "sessionwatch.toml", "sound.db"]);
}
