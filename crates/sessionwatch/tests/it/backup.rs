//! Copies of the store, made while the daemon works on it.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use testbed::Sink;

use crate::harness;

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
    let said = harness::run_in(folder, &[], &["alerts", "list", "--all", "--format", "json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    serde_json::from_str(&said.stdout).unwrap()
}

/// Copies the store of a running watch, and watches on with the copy.
fn copied_while_it_runs(store: &str) {
    let (database, sink, folder) =
        (harness::anomalous(), Sink::start(&[]).unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("sessionwatch.toml");
    let write = |store: &str| {
        std::fs::write(&file, configuration(&database.url("postgres"), &sink.url(), store)).unwrap();
    };
    let run = |arguments: &[&str]| harness::run_in(folder.path(), &[("USER", "ada")], arguments);
    write(store);
    let early = run(&["backup", "early.db"]);
    assert!(early.code == 2 && early.stderr.contains("`sessionwatch serve` creates it"), "{}", early.stderr);
    assert!(!folder.path().join("early.db").exists());
    let watch = harness::watch(folder.path());
    assert!(!sink.wait_for(1).is_empty());
    for number in 0..5 {
        let (copy, note) = (format!("copy-{number}.db"), format!("note {number}"));
        let silence = ["alerts", "silence", "--check", "blind", "--minutes", "9", "--note", &note];
        assert_eq!(run(&silence).code, 0);
        let said = run(&["backup", &copy]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(said.stdout.starts_with(&format!("copied the store to {copy} (")), "{}", said.stdout);
        let (alerts, entries) = contents(&folder.path().join(&copy));
        assert!(alerts.contains(&["app", "duplicate-tokens", "firing"].map(str::to_owned)), "{alerts:?}");
        assert_eq!(entries, number + 1);
    }
    let again = run(&["backup", "copy-4.db"]);
    assert!(again.code == 2 && again.stderr.contains("copy-4.db exists"), "{}", again.stderr);
    assert_eq!(watch.stop(), Some(0));
    let before = listed(folder.path());
    write("copy-4.db");
    assert_eq!(listed(folder.path()), before);
    let verified = run(&["audit", "verify"]);
    assert!(verified.code == 0 && verified.stdout.contains("whole: 5 entries"), "{}", verified.stdout);
    // What was told is not told again by who goes on with the copy.
    let watch = harness::watch(folder.path());
    assert!(watch.page("/metrics").contains(
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
    copied_while_it_runs(&harness::empty().url("postgres"));
}

#[test]
fn a_copy_that_cannot_be_made_says_why_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sessionwatch-state.db"), "no database").unwrap();
    let said = harness::run_in(folder.path(), &[], &["backup", "copy.db"]);
    assert!(said.code == 3 && !said.stderr.is_empty(), "{}", said.stderr);
    std::fs::remove_file(folder.path().join("sessionwatch-state.db")).unwrap();
    let nowhere = harness::run_in(folder.path(), &[], &["backup", "no/such/folder/copy.db"]);
    assert_eq!(nowhere.code, 2, "{}", nowhere.stderr);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.contains(&"copy.db".into()), "{left:?}");
}
