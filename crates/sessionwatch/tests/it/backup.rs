//! Copies of the store, made while the daemon works on it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{Store, StoreError, StoreLocation, audit, transaction::Tx};
use testkit::HttpSink;

/// A watch of one target that tells one channel, with its memory at that place.
fn configuration(url: &str, hook: &str, store: &str) -> String {
    format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\n[checks.slow-observation]\nbudget_ms = 3600000\n\
         [serve]\nlisten = \"127.0.0.1:0\"\nstore = \"{store}\"\n\
         [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{hook}\"\n"
    )
}

/// What a copy holds is whole, and only its owner may read it: its alerts, and its entries of the record.
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

/// The alerts that a watch lists.
fn listed(folder: &Path) -> serde_json::Value {
    let said = testkit::run_program_in(folder, &[], &["alerts", "list", "--all", "--format", "json"]);
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
    serde_json::from_str(&said.stdout).unwrap()
}

/// Copies the store of a running watch, and watches on with the copy.
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
        early.exit_code == 2 && early.stderr.contains("`sessionwatch serve` creates it"),
        "{}",
        early.stderr
    );
    assert!(!folder.path().join("early.db").exists());
    let watch = testkit::DaemonProcess::start(folder.path());
    assert!(!sink.wait_for_requests(1).is_empty());
    for number in 0..5 {
        let (copy, note) = (format!("copy-{number}.db"), format!("note {number}"));
        let silence = ["alerts", "silence", "--check", "blind", "--for", "9m", "--note", &note];
        assert_eq!(run(&silence).exit_code, 0);
        let said = run(&["backup", &copy]);
        assert_eq!(said.exit_code, 0, "{}", said.stderr);
        assert!(said.stdout.starts_with(&format!("copied the store to {copy} (")), "{}", said.stdout);
        let (alerts, entries) = contents(&folder.path().join(&copy));
        assert!(alerts.contains(&["app", "duplicate-tokens", "firing"].map(str::to_owned)), "{alerts:?}");
        assert_eq!(entries, number + 1);
    }
    let again = run(&["backup", "copy-4.db"]);
    assert!(again.exit_code == 2 && again.stderr.contains("copy-4.db exists"), "{}", again.stderr);
    assert_eq!(watch.stop(), Some(0));
    let before = listed(folder.path());
    write("copy-4.db");
    assert_eq!(listed(folder.path()), before);
    let verified = run(&["audit", "verify"]);
    assert!(verified.exit_code == 0 && verified.stdout.contains("whole: 5 entries"), "{}", verified.stdout);
    // What was told is not told again by who goes on with the copy.
    let watch = testkit::DaemonProcess::start(folder.path());
    assert!(watch.get_body("/metrics").contains(
        "sessionwatch_alert_firing{target=\"app\",check=\"duplicate-tokens\",severity=\"critical\"} 1\n"
    ));
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn a_file_is_copied_while_the_watch_works_on_it_and_the_copy_takes_its_place() {
    copied_while_it_runs("state.db");
}

#[test]
fn a_store_on_a_server_is_copied_into_a_file_that_takes_its_place() {
    copied_while_it_runs(&testkit::empty_database().url("postgres"));
}

#[test]
fn a_copy_that_cannot_be_made_says_why_and_leaves_nothing_behind() {
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

/// A store with some hundred entries in its audit trail, in a folder of its own.
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

/// Names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_damaged_store_is_never_copied_over_the_name_of_a_backup() {
    /// Bytes of a page.
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
        // Where it can be opened at all, the copy is found out.
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
fn a_store_whose_audit_trail_was_changed_is_not_copied() {
    let (folder, path) = filled();
    let run = |arguments: &[&str]| testkit::run_program_in(folder.path(), &[("USER", "ada")], arguments);
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("UPDATE audit SET actor = 'bo' WHERE id = 7", [])
        .unwrap();
    let said = run(&["backup", "copy.db"]);
    let told = said.stderr.contains("no backup was written to copy.db: entry 7 of the audit trail");
    assert!(said.exit_code == 3 && told, "{}{}", said.stdout, said.stderr);
    // The same of a store on a server.
    let database = testkit::empty_database();
    let text = format!("[serve]\nstore = \"{}\"\n", database.url("postgres"));
    fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    testkit::create_account(folder.path(), "ada", "admin");
    assert_eq!(run(&["backup", "sound.db"]).exit_code, 0);
    database.psql("UPDATE sessionwatch.audit SET actor = 'bo'").unwrap();
    let said = run(&["backup", "copy.db"]);
    assert!(said.exit_code == 3 && said.stderr.contains("entry 1 of the audit trail"), "{}", said.stderr);
    assert_eq!(names(folder.path()), ["sessionwatch-state.db", "sessionwatch.toml", "sound.db"]);
}
