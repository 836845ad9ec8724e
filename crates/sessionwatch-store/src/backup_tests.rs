//! Tests of backups: complete and private copies, or no file at all.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use sessionwatch_core::{row_ref::RowRef, timestamp::UtcTimestamp};

use crate::{
    Store, StoreError, StoreLocation,
    archive_batches::{self, ArchivedBatch, ArchivedRowState, BatchState},
    audit,
    plans::{self, PlanRecord, PlanState},
    tests::{open_file_store, store_of_each_kind},
};

const NOW: UtcTimestamp = UtcTimestamp::UNIX_EPOCH;
/// Bytes of an archived batch, with every value.
const SEALED: [u8; 5] = [0, 255, b'\n', b'\'', 7];

/// Fills a store with an audit entry, an archived batch, and a plan with rows.
fn fill(store: &Store) {
    let plan = PlanRecord {
        id: "p1".into(),
        target: "app".into(),
        address: "sqlite:app.db".into(),
        request: "{}".into(),
        created_at: NOW,
        created_by: "o'brien \u{1f511}".into(),
        updated_at: NOW,
        state: PlanState::Begun,
        row_count: 1,
        active_sessions: 0,
        summary: "{}".into(),
        approved_by: None,
    };
    let rows = [RowRef { row_hash: -7, id: Some("a".into()), ..RowRef::default() }];
    let batch = ArchivedBatch {
        id: 1,
        plan: "p1".into(),
        target: "app".into(),
        state: BatchState::Pending,
        transaction_id: Some(9),
        sealed_at: NOW,
        purge_at: UtcTimestamp::MAX,
        recipient: "age1x".into(),
        rows: rows.to_vec(),
        row_states: vec![ArchivedRowState::Archived],
    };
    store
        .write(|db| {
            for detail in ["{}", r#"{"a":1}"#] {
                let entry = audit::NewAuditEntry { actor: "ada", action: "plan.applied", detail };
                audit::insert_audit_entry(db, entry, NOW)?;
            }
            plans::upsert_plan(db, &plan)?;
            plans::insert_plan_chunk(db, "p1", 1, &rows)?;
            archive_batches::insert_batch(db, &batch, &SEALED).map(drop)
        })
        .unwrap();
}

/// Returns the names of the files in a folder, in alphabetical order.
fn file_names(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_backup_of_either_kind_is_a_private_file_with_everything_that_a_restore_needs() {
    for store in store_of_each_kind() {
        fill(&store);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("back up?mode=rw#1%.db");
        store.backup(&path).unwrap();
        assert_eq!(file_names(folder.path()), ["back up?mode=rw#1%.db"]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let copy = Store::open(&StoreLocation::File(path)).unwrap();
        assert_eq!(copy.read(plans::list_plans).unwrap(), store.read(plans::list_plans).unwrap());
        let chunk = |store: &Store| store.read(|db| plans::find_next_plan_chunk(db, "p1", 0)).unwrap();
        assert!(chunk(&copy).is_some() && chunk(&copy) == chunk(&store));
        let (batch, sealed) = copy.read(|db| archive_batches::find_batch(db, 1)).unwrap().unwrap();
        assert_eq!((batch.transaction_id, sealed.as_slice()), (Some(9), &SEALED[..]));
        assert_eq!(copy.read(audit::verify_chain).unwrap(), audit::ChainStatus::Intact(2));
        // The copy goes on where the original ended: ids are not given again.
        let next = |store: &Store| store.write(|db| db.next_id("archive_batches")).unwrap();
        assert_eq!((next(&copy), next(&store)), (2, 2));
    }
}

#[test]
fn a_backup_replaces_nothing_and_leaves_nothing_behind() {
    for store in store_of_each_kind() {
        fill(&store);
        let folder = tempfile::tempdir().unwrap();
        let existing = folder.path().join("existing.db");
        std::fs::write(&existing, "mine").unwrap();
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &link).unwrap();
        for taken in [existing.as_path(), &link, folder.path()] {
            let refused = store.backup(taken);
            assert!(matches!(refused, Err(StoreError::AlreadyExists(_))), "{taken:?}: {refused:?}");
        }
        assert!(store.backup(&folder.path().join("missing").join("copy.db")).is_err());
        assert_eq!(file_names(folder.path()), ["existing.db", "link.db"]);
        assert_eq!(std::fs::read_to_string(&existing).unwrap(), "mine");
    }
}

#[test]
fn no_backup_is_made_of_a_store_whose_audit_log_was_changed() {
    for store in store_of_each_kind() {
        fill(&store);
        store.write(|db| db.execute("UPDATE audit SET actor = 'eve' WHERE id = 1", &[])).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let refused = store.backup(&folder.path().join("copy.db"));
        let Err(StoreError::DamagedBackup { why, .. }) = refused else { panic!("{refused:?}") };
        assert!(why.contains("audit log entry 1") && !why.contains("eve"), "{why}");
        assert_eq!(file_names(folder.path()), Vec::<String>::new());
    }
}

#[test]
fn a_backup_taken_while_others_write_is_of_one_moment() {
    let (folder, store) = open_file_store();
    fill(&store);
    let other = Store::open(&StoreLocation::File(folder.path().join("store.db"))).unwrap();
    let writer = std::thread::spawn(move || {
        for number in 0..200 {
            let entry = audit::NewAuditEntry { actor: "bob", action: "x", detail: "{}" };
            other
                .write(|db| {
                    audit::insert_audit_entry(db, entry, NOW)?;
                    let target = format!("t{number}");
                    crate::latest_reports::upsert_report(db, &target, "{}", NOW)
                })
                .unwrap();
        }
    });
    let copies = tempfile::tempdir().unwrap();
    let count = |copy: &Store, table: &str| {
        let query = format!("SELECT COUNT(*) FROM {table}");
        copy.read(|db| db.query_count(&query, &[])).unwrap()
    };
    for number in 0..5 {
        let path = copies.path().join(format!("{number}.db"));
        store.backup(&path).unwrap();
        let copy = Store::open(&StoreLocation::File(path)).unwrap();
        // Every transaction adds a row to both tables; two audit entries were there before.
        assert_eq!(count(&copy, "audit"), count(&copy, "latest_reports") + 2);
    }
    writer.join().unwrap();
}
