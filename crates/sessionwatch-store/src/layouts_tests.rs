//! Tests of stored layouts. A wrong layout could let another table be cleaned up.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    StoreError,
    audit::{self, AuditSearch},
    layouts::{LayoutChange, StoredLayout, audit_layout_change, find_layout, list_layouts, upsert_layout},
    tests::store_of_each_kind,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct TableLayout {
    table: String,
    columns: Vec<String>,
}

/// A layout that has no JSON form: keys of objects must be text.
#[derive(Serialize)]
struct UnserializableLayout {
    columns: std::collections::BTreeMap<Vec<u8>, u8>,
}

fn layout(table: &str) -> TableLayout {
    TableLayout { table: table.to_owned(), columns: vec!["to\"ken".into(), "ключ".into(), String::new()] }
}

fn stored(target: &str, table: &str) -> StoredLayout<TableLayout> {
    StoredLayout {
        target: target.to_owned(),
        address: "postgres://watch:***@db.example:5432/app".into(),
        configured_tables: "{\"sessions\":null}".into(),
        layout: layout(table),
        recognized_at: UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(5),
        confirmed_by: None,
    }
}

#[test]
fn layouts_are_replaced_by_target_and_listed_in_order() {
    for store in store_of_each_kind() {
        let find = |target: &str| store.read(|db| find_layout::<TableLayout>(db, target)).unwrap();
        let put = |record: &StoredLayout<TableLayout>| store.write(|db| upsert_layout(db, record)).unwrap();
        assert_eq!(find("app"), None);
        put(&stored("shop", "ses\"sions; --"));
        put(&stored("app", "sessions"));
        assert_eq!(find("shop"), Some(stored("shop", "ses\"sions; --")));
        assert_eq!(find("SHOP"), None);
        let confirmed = StoredLayout { confirmed_by: Some("ada".into()), ..stored("app", "other") };
        put(&confirmed);
        let all = store.read(list_layouts::<TableLayout>).unwrap();
        assert_eq!(all, [confirmed, stored("shop", "ses\"sions; --")]);
    }
}

#[test]
fn a_layout_that_cannot_be_decoded_or_encoded_is_an_error() {
    for store in store_of_each_kind() {
        store.write(|db| upsert_layout(db, &stored("app", "sessions"))).unwrap();
        store.write(|db| upsert_layout(db, &stored("shop", "sessions"))).unwrap();
        for damaged in ["", "{", "null", "[]", "{}", r#"{"table":7,"columns":[]}"#, r#"{"table":"sessions"}"#]
        {
            let set = "UPDATE layouts SET layout = $1 WHERE target = 'app'";
            store.write(|db| db.execute(set, &[damaged.into()])).unwrap();
            let found = store.read(|db| find_layout::<TableLayout>(db, "app"));
            assert!(matches!(found, Err(StoreError::Undecodable { .. })), "{damaged}: {found:?}");
            assert!(store.read(list_layouts::<TableLayout>).is_err(), "{damaged}");
            assert!(store.read(|db| find_layout::<TableLayout>(db, "shop")).unwrap().is_some());
        }
        let StoredLayout { target, address, configured_tables, recognized_at, confirmed_by, .. } =
            stored("shop", "sessions");
        let columns = std::iter::once((vec![1], 2)).collect();
        let unserializable = StoredLayout {
            target,
            address,
            configured_tables,
            layout: UnserializableLayout { columns },
            recognized_at,
            confirmed_by,
        };
        let refused = store.write(|db| upsert_layout(db, &unserializable));
        assert!(matches!(refused, Err(StoreError::NotSerializable("a layout"))), "{refused:?}");
        let kept = store.read(|db| find_layout::<TableLayout>(db, "shop")).unwrap();
        assert_eq!(kept, Some(stored("shop", "sessions")));
    }
}

#[test]
fn a_confirmed_change_is_in_the_audit_log_with_both_tables() {
    for store in store_of_each_kind() {
        let now = UtcTimestamp::UNIX_EPOCH;
        let (before, after) = (layout("sessions"), layout("ses'sions"));
        for before in [None, Some(&before)] {
            let change = || LayoutChange { target: "app", actor: "ada", before, after: &after };
            store.write(|db| audit_layout_change(db, change(), now)).unwrap();
        }
        let entries =
            store.read(|db| audit::search_audit_entries(db, AuditSearch::default(), None, 9)).unwrap();
        let details: Vec<serde_json::Value> =
            entries.iter().map(|entry| serde_json::from_str(&entry.detail).unwrap()).collect();
        assert_eq!(details[0], serde_json::json!({ "target": "app", "before": before, "after": after }));
        assert_eq!(details[1], serde_json::json!({ "target": "app", "before": null, "after": after }));
        assert!(
            entries.iter().all(|entry| entry.actor == "ada" && entry.action == "target.layout_confirmed")
        );
    }
}
