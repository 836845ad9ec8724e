//! Tests of stores opened for reading: everything that was committed is seen, and nothing is written.

use std::{collections::BTreeMap, path::Path};

use rusqlite::Connection;
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{Store, StoreError, StoreLocation, latest_reports, read_only::open_read_only, transaction::Tx};

/// Creates a store with the report of one target, and leaves it open.
fn open_store(path: &Path, target: &str) -> Store {
    let store = Store::open(&StoreLocation::File(path.to_owned())).unwrap();
    add_report(&store, target);
    store
}

fn add_report(store: &Store, target: &str) {
    store.write(|db| latest_reports::upsert_report(db, target, "{}", UtcTimestamp::UNIX_EPOCH)).unwrap();
}

fn has_report(connection: &Connection, target: &str) -> bool {
    latest_reports::find_report_text(Tx::Sqlite(connection), target).unwrap().is_some()
}

/// Returns every file of a folder with its content, except the index of the write-ahead log, which readers share.
fn folder_content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let named = files.map(|file| (file.file_name().to_string_lossy().into_owned(), file.path()));
    named
        .filter(|(name, _)| !name.ends_with("-shm"))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_path_is_only_a_path_whatever_its_characters() {
    let names = [
        "a?mode=rwc&x.db",
        "a#b.db",
        "50%41.db",
        "with space ü 🔑.db",
        "'; --.db",
        "file:x.db",
        "a\\b\"c.db",
    ];
    for name in names {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let store = open_store(&path, "app");
        let opened = open_read_only(&path).unwrap();
        assert!(has_report(&opened, "app") && !has_report(&opened, "other"), "{name}");
        drop((opened, store));
        let before = folder_content(folder.path());
        let opened = open_read_only(&path).unwrap();
        assert!(has_report(&opened, "app"), "{name}, closed");
        drop(opened);
        assert_eq!(folder_content(folder.path()), before, "{name}");
    }
}

#[test]
fn what_is_only_in_the_log_is_read_with_and_without_its_index() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().join("store.db");
    let store = open_store(&path, "app");
    let shared = open_read_only(&path).unwrap();
    assert!(!has_report(&shared, "later"));
    add_report(&store, "later");
    assert!(has_report(&shared, "later"), "beside a writer, changes are seen as they come");
    // As on a medium to which the files were copied without the index.
    let copy = copies.path().join("store.db");
    for end in ["", "-wal"] {
        let [from, to] = [&path, &copy].map(|path| format!("{}{end}", path.display()));
        std::fs::copy(from, to).unwrap();
    }
    let before = folder_content(copies.path());
    assert!(!before["store.db-wal"].is_empty());
    let private = open_read_only(&copy).unwrap();
    assert!(has_report(&private, "app") && has_report(&private, "later"));
    drop(private);
    assert_eq!(folder_content(copies.path()), before);
    assert!(!copies.path().join("store.db-shm").exists());
}

#[test]
fn nothing_can_be_written_through_a_connection_for_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open_store(&path, "app");
    for is_open in [true, false] {
        let opened = open_read_only(&path).unwrap();
        for statement in [
            "DELETE FROM latest_reports",
            "CREATE TABLE x (y)",
            "DROP TABLE audit",
            "PRAGMA user_version = 7; VACUUM",
        ] {
            assert!(opened.execute_batch(statement).is_err(), "{statement} {is_open}");
        }
        assert!(has_report(&opened, "app"));
        drop(opened);
        if is_open {
            // The next round reads a file that nobody has open.
            assert!(Store::open(&StoreLocation::File(path.clone())).is_ok());
        }
    }
    drop(store);
    assert!(has_report(&open_read_only(&path).unwrap(), "app"));
}

#[test]
fn a_file_without_a_store_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(open_read_only(&empty), Err(StoreError::Empty(path)) if path == empty));
    let no_tables = folder.path().join("no-tables.db");
    Connection::open(&no_tables).unwrap().execute_batch("CREATE TABLE x (y); DROP TABLE x").unwrap();
    assert!(matches!(open_read_only(&no_tables), Err(StoreError::Empty(path)) if path == no_tables));
    let text = folder.path().join("text.db");
    std::fs::write(&text, "not a database, but long enough for a header of one".repeat(20)).unwrap();
    let before = folder_content(folder.path());
    for path in [&text, &folder.path().join("missing.db"), folder.path()] {
        assert!(open_read_only(path).is_err(), "{path:?}");
    }
    assert_eq!(folder_content(folder.path()), before);
}
