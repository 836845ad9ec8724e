//! Stores for tests, and tests of behavior that both kinds of store share.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use jiff::SignedDuration;
use sessionwatch_core::{period::Period, timestamp::UtcTimestamp};

use pg_link::Dsn;

use crate::{
    Store, StoreError, StoreLocation, attestations, fingerprint_key, latest_reports, session_history,
    silences, sqlite_store::DISK_RETRY_INTERVAL, store::StoreBackend,
};

/// A store for one test.
pub(crate) struct TestStore {
    store: Store,
    _place: StorePlace,
}

/// What holds the rows of a store, as long as the value lives.
enum StorePlace {
    Folder { _folder: tempfile::TempDir },
    Database { _database: testkit::Database<'static> },
}

impl std::ops::Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// Opens a store of each kind: one in a file, and one on a server.
pub(crate) fn store_of_each_kind() -> [TestStore; 2] {
    let (folder, file) = open_file_store();
    let database = testkit::shared_server().create_database(None).unwrap();
    let dsn = Dsn::parse(&database.url("postgres")).unwrap();
    let server = Store::open(&StoreLocation::Server(Box::new(dsn))).unwrap();
    [
        TestStore { store: file, _place: StorePlace::Folder { _folder: folder } },
        TestStore { store: server, _place: StorePlace::Database { _database: database } },
    ]
}

/// Opens a store in a new file.
pub(crate) fn open_file_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreLocation::File(folder.path().join("store.db"))).unwrap();
    (folder, store)
}

fn count(store: &Store, table: &str) -> u64 {
    store
        .read(|db| db.query_row(&format!("SELECT COUNT(*) FROM {table}"), &[]))
        .unwrap()
        .unwrap()
        .read_u64(0)
        .unwrap()
}

#[test]
fn a_store_file_is_private_and_locked_by_one_daemon() {
    let (folder, store) = open_file_store();
    let path = folder.path().join("store.db");
    store.lock_exclusive().unwrap();
    let second = Store::open(&StoreLocation::File(path.clone())).unwrap();
    assert!(matches!(second.lock_exclusive(), Err(StoreError::AlreadyLocked(_))));
    drop(store);
    // A process that another test is just starting may hold a copy of the lock for a moment.
    testkit::wait_until("the lock is free", || second.lock_exclusive().is_ok());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let nowhere = StoreLocation::File(folder.path().join("no/store.db"));
    assert!(matches!(Store::open(&nowhere), Err(StoreError::Open(_))));
}

#[test]
fn both_kinds_store_and_return_the_same_values() {
    const ITEM: attestations::ChecklistItemRef<'_> =
        attestations::ChecklistItemRef { target: "app", item: "user-reports" };
    let at = |second: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
    for store in store_of_each_kind() {
        let silence = silences::SilenceRecord {
            id: 1,
            target: None,
            check: Some("target-unreachable".into()),
            subject: Some("ada".into()),
            ends_at: at(100),
            created_by: "bo".into(),
            note: "why".into(),
        };
        assert_eq!(store.write(|db| silences::insert_silence(db, &silence, at(10))).unwrap(), 1);
        assert_eq!(store.read(|db| silences::list_active_silences(db, at(99))).unwrap(), [silence]);
        assert!(!store.write(|db| silences::expire_silence(db, 1, at(100))).unwrap());
        assert!(store.write(|db| silences::expire_silence(db, 1, at(50))).unwrap());
        assert_eq!(store.read(|db| silences::list_active_silences(db, at(60))).unwrap(), []);
        let attestation = attestations::Attestation {
            at: at(5),
            target: "app".into(),
            item: "user-reports".into(),
            holds: true,
            owner: "ada".into(),
            note: "none".into(),
        };
        store.write(|db| attestations::insert_attestation(db, &attestation)).unwrap();
        let last = |to| {
            store
                .read(|db| {
                    attestations::find_latest_attestation(db, ITEM, Period { from: at(0), to: at(to) })
                })
                .unwrap()
        };
        assert_eq!((last(5), last(6)), (None, Some(attestation)));
        assert_eq!(
            [7, 8].map(|offered| store
                .write(|db| fingerprint_key::ensure_fingerprint_key(db, offered))
                .unwrap()),
            [7, 7]
        );
        store.write(|db| session_history::upsert_snapshot(db, "app", &[0, 255, 7], at(9))).unwrap();
        store.write(|db| session_history::upsert_snapshot(db, "app", &[1, 0], at(10))).unwrap();
        assert_eq!(
            store.read(|db| session_history::find_snapshot(db, "app")).unwrap(),
            Some((at(10), vec![1, 0]))
        );
        store.write(|db| latest_reports::upsert_report(db, "app", "{}", at(3))).unwrap();
        assert_eq!(
            store.read(|db| latest_reports::find_report_text(db, "app")).unwrap(),
            Some((at(3), "{}".into()))
        );
        assert!(store.size_bytes().unwrap() > 10_000);
    }
}

#[test]
fn a_store_of_a_newer_version_is_rejected() {
    let (folder, store) = open_file_store();
    store.write(|db| db.execute("INSERT INTO migrations (version) VALUES (99)", &[])).unwrap();
    let newer = Store::open(&StoreLocation::File(folder.path().join("store.db")));
    assert!(matches!(newer, Err(StoreError::NewerVersion { found: 99, .. })));
}

#[test]
fn a_failed_transaction_is_rolled_back() {
    let (_folder, store) = open_file_store();
    let failed: Result<(), StoreError> = store.write(|db| {
        db.execute("INSERT INTO secrets (name, value) VALUES ('a', 1)", &[])?;
        Err(StoreError::LeaseLost)
    });
    assert!(failed.is_err());
    assert_eq!(count(&store, "secrets"), 0);
}

#[test]
fn a_full_disk_loses_nothing_and_memory_is_written_back_when_there_is_room() {
    let (folder, store) = open_file_store();
    store.lock_exclusive().unwrap();
    let limit = |pages: i64| match &mut *store.lock_backend() {
        StoreBackend::Sqlite(file) => {
            file.connection.pragma_update(None, "max_page_count", pages).unwrap();
            if let Some(fallback) = &mut file.fallback {
                fallback.last_attempt_at -= DISK_RETRY_INTERVAL;
            }
        }
        StoreBackend::Postgres(_) => unreachable!("a file"),
    };
    let put = |name: String| {
        let text = "x".repeat(10_000);
        store
            .write(|db| {
                let values = [name.as_str().into(), text.as_str().into()];
                db.execute("INSERT INTO latest_reports (target, at, report) VALUES ($1, 1, $2)", &values)
            })
            .unwrap()
    };
    let other = Store::open(&StoreLocation::File(folder.path().join("store.db"))).unwrap();
    let on_disk = || count(&other, "latest_reports");
    limit(60);
    for number in 0..20 {
        put(number.to_string());
    }
    assert!(store.is_memory_fallback());
    assert_eq!(count(&store, "latest_reports"), 20);
    assert!(on_disk() < 20);
    if let StoreBackend::Sqlite(file) = &*other.lock_backend() {
        file.connection.busy_timeout(Duration::ZERO).unwrap();
    }
    let refused = other.write(|db| db.execute("DELETE FROM latest_reports", &[]));
    assert!(
        matches!(refused, Err(StoreError::Busy)),
        "rows written to the file now would be overwritten later"
    );
    limit(60);
    put("still full".into());
    assert!(store.is_memory_fallback());
    limit(10_000);
    put("room".into());
    assert!(!store.is_memory_fallback());
    assert_eq!((count(&store, "latest_reports"), on_disk()), (22, 22));
}
