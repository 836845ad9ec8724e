//! Tests of the stored state of log sources.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    StoreError,
    log_sources::{StoredLogSource, find_log_source, list_log_sources, upsert_log_source},
    tests::store_of_each_kind,
};

/// A read position like that of a rotated file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct FilePosition {
    inode: u64,
    offset: u64,
    path: String,
}

fn at(hours: i64) -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

fn source(name: &str) -> StoredLogSource<FilePosition> {
    let mut source = StoredLogSource {
        name: name.to_owned(),
        target: "app".into(),
        position: Some(FilePosition {
            inode: u64::MAX,
            offset: 1 << 53,
            path: "/var/log/ünï \"x\".log".into(),
        }),
        last_line_at: Some(at(7)),
        ..StoredLogSource::default()
    };
    source.activity.record_lines(at(6), 5);
    source.activity.record_lines(at(7), u64::MAX);
    source.increment_counter("lines", 7);
    source.increment_counter("lines", 3);
    source.increment_counter("dropped: \"too long\"", 0);
    source
}

#[test]
fn a_source_is_continued_where_it_was_read_last() {
    for store in store_of_each_kind() {
        let [first, second] = ["b", "a"].map(source);
        let find = |name: &str| store.read(|db| find_log_source::<FilePosition>(db, name)).unwrap();
        assert_eq!(find("b"), None);
        store
            .write(|db| upsert_log_source(db, &first).and_then(|()| upsert_log_source(db, &second)))
            .unwrap();
        assert_eq!(find("b"), Some(first.clone()));
        assert_eq!(first.counters["lines"], 10);
        assert_eq!(first.counters.len(), 1, "a counter of zero is not stored");
        let moved = StoredLogSource { target: "shop".into(), position: None, last_line_at: None, ..first };
        store.write(|db| upsert_log_source(db, &moved)).unwrap();
        assert_eq!(find("b"), Some(moved.clone()));
        assert_eq!(store.read(list_log_sources::<FilePosition>).unwrap(), [second, moved]);
    }
}

#[test]
fn a_damaged_state_is_an_error_and_never_a_new_source() {
    for store in store_of_each_kind() {
        store.write(|db| upsert_log_source(db, &source("web"))).unwrap();
        for (column, value) in [
            ("place", r#"{"inode":1}"#),
            ("place", r#"{"inode":-1,"offset":0,"path":""}"#),
            ("place", "{"),
            ("place", ""),
            ("rhythm", "1:2 x"),
            ("rhythm", "1:-2"),
            ("counters", "[]"),
            ("counters", "null"),
            ("gaps", "{}"),
            ("gaps", r#"[{"from":1}]"#),
        ] {
            let set = format!("UPDATE log_sources SET {column} = $1");
            store.write(|db| db.execute(&set, &[value.into()])).unwrap();
            let found = store.read(|db| find_log_source::<FilePosition>(db, "web"));
            let expected = |error: &StoreError| {
                matches!(error, StoreError::Undecodable { table, column: named }
                    if table == "log_sources" && named == column)
            };
            assert!(found.as_ref().is_err_and(expected), "{column} {value}: {found:?}");
            assert!(store.read(list_log_sources::<FilePosition>).is_err(), "{column} {value}");
            store.write(|db| upsert_log_source(db, &source("web"))).unwrap();
            assert!(store.read(|db| find_log_source::<FilePosition>(db, "web")).is_ok());
        }
    }
}
