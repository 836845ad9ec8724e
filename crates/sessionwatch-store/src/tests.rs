//! Stores for tests, and what both kinds of them promise.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use jiff::SignedDuration;
use sessionwatch_core::{instant::Instant, period::Period};

use pg_link::Dsn;

use crate::{
    Place, Store, StoreError, attestations, ledgers, reports, silences, sqlite_file::DISK_PAUSE,
    store::Backend,
};

/// A store for one test, and the folder that it is in.
pub(crate) struct Own {
    store: Store,
    _folder: Option<tempfile::TempDir>,
}

impl std::ops::Deref for Own {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// A store of each kind: one in a file, and one on a server.
pub(crate) fn both() -> [Own; 2] {
    let (folder, file) = store();
    let database = testkit::shared().database(None).unwrap();
    let dsn = Dsn::parse(&database.url("postgres")).unwrap();
    let server = Store::open(&Place::Server(Box::new(dsn))).unwrap();
    [Own { store: file, _folder: Some(folder) }, Own { store: server, _folder: None }]
}

/// A store in a file of its own.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Place::File(folder.path().join("store.db"))).unwrap();
    (folder, store)
}

fn count(store: &Store, table: &str) -> u64 {
    store.read(|db| db.row(&format!("SELECT COUNT(*) FROM {table}"), &[])).unwrap().unwrap().count(0).unwrap()
}

#[test]
fn only_its_owner_may_read_it_and_it_opens_again() {
    let (folder, store) = store();
    let path = folder.path().join("store.db");
    store.hold().unwrap();
    let second = Store::open(&Place::File(path.clone())).unwrap();
    assert!(matches!(second.hold(), Err(StoreError::Held(_))));
    drop(store);
    second.hold().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let nowhere = Place::File(folder.path().join("no/store.db"));
    assert!(matches!(Store::open(&nowhere), Err(StoreError::Open(_))));
}

#[test]
fn both_kinds_keep_and_give_back_the_same() {
    const ITEM: attestations::ItemRef<'_> = attestations::ItemRef { target: "app", item: "user-reports" };
    let at = |second: i64| Instant::UNIX_EPOCH + SignedDuration::from_secs(second);
    for store in both() {
        let silence = silences::Silence {
            id: 1,
            target: None,
            check: Some("blind".into()),
            subject: Some("ada".into()),
            until: at(100),
            owner: "bo".into(),
            note: "why".into(),
        };
        assert_eq!(store.write(|db| silences::begin(db, &silence, at(10))).unwrap(), 1);
        assert_eq!(store.read(|db| silences::list(db, at(99))).unwrap(), [silence]);
        assert!(!store.write(|db| silences::end(db, 1, at(100))).unwrap());
        assert!(store.write(|db| silences::end(db, 1, at(50))).unwrap());
        assert_eq!(store.read(|db| silences::list(db, at(60))).unwrap(), []);
        let attestation = attestations::Attestation {
            at: at(5),
            target: "app".into(),
            item: "user-reports".into(),
            holds: true,
            owner: "ada".into(),
            note: "none".into(),
        };
        store.write(|db| attestations::add(db, &attestation)).unwrap();
        let last =
            |to| store.read(|db| attestations::last(db, ITEM, Period { from: at(0), to: at(to) })).unwrap();
        assert_eq!((last(5), last(6)), (None, Some(attestation)));
        assert_eq!([7, 8].map(|offered| store.write(|db| ledgers::key(db, offered)).unwrap()), [7, 7]);
        store.write(|db| ledgers::put(db, "app", &[0, 255, 7], at(9))).unwrap();
        store.write(|db| ledgers::put(db, "app", &[1, 0], at(10))).unwrap();
        assert_eq!(store.read(|db| ledgers::get(db, "app")).unwrap(), Some((at(10), vec![1, 0])));
        store.write(|db| reports::put(db, "app", "{}", at(3))).unwrap();
        assert_eq!(store.read(|db| reports::get(db, "app")).unwrap(), Some((at(3), "{}".into())));
        assert!(store.size().unwrap() > 10_000);
    }
}

#[test]
fn one_of_a_newer_program_is_left_alone() {
    let (folder, store) = store();
    store.write(|db| db.run("INSERT INTO migrations (version) VALUES (99)", &[])).unwrap();
    let newer = Store::open(&Place::File(folder.path().join("store.db")));
    assert!(matches!(newer, Err(StoreError::Newer { found: 99, .. })));
}

#[test]
fn what_fails_leaves_nothing_behind() {
    let (_folder, store) = store();
    let failed: Result<(), StoreError> = store.write(|db| {
        db.run("INSERT INTO secrets (name, value) VALUES ('a', 1)", &[])?;
        Err(StoreError::Fenced)
    });
    assert!(failed.is_err());
    assert_eq!(count(&store, "secrets"), 0);
}

#[test]
fn a_full_disk_loses_nothing_and_what_happened_is_written_when_there_is_room() {
    let (folder, store) = store();
    store.hold().unwrap();
    let limit = |pages: i64| match &mut *store.lock() {
        Backend::File(file) => {
            file.connection.pragma_update(None, "max_page_count", pages).unwrap();
            if let Some(shelter) = &mut file.shelter {
                shelter.tried -= DISK_PAUSE;
            }
        }
        Backend::Server(_) => unreachable!("a file"),
    };
    let put = |name: String| {
        let text = "x".repeat(10_000);
        store
            .write(|db| {
                let values = [name.as_str().into(), text.as_str().into()];
                db.run("INSERT INTO reports (target, at, report) VALUES ($1, 1, $2)", &values)
            })
            .unwrap()
    };
    let other = Store::open(&Place::File(folder.path().join("store.db"))).unwrap();
    let on_disk = || count(&other, "reports");
    limit(60);
    for number in 0..20 {
        put(number.to_string());
    }
    assert!(store.is_sheltered());
    assert_eq!(count(&store, "reports"), 20);
    assert!(on_disk() < 20);
    if let Backend::File(file) = &*other.lock() {
        file.connection.busy_timeout(Duration::ZERO).unwrap();
    }
    let refused = other.write(|db| db.run("DELETE FROM reports", &[]));
    assert!(matches!(refused, Err(StoreError::Busy)), "what is written there would be lost");
    limit(60);
    put("still full".into());
    assert!(store.is_sheltered());
    limit(10_000);
    put("room".into());
    assert!(!store.is_sheltered());
    assert_eq!((count(&store, "reports"), on_disk()), (22, 22));
}
