use super::*;

/// Breaks an index or a foreign key, or its table, as a proof.
type Change<T> = fn(&mut T, &mut TableInfo);

fn sessions() -> TableInfo {
    TableInfo { name: "sessions".into(), ..TableInfo::default() }
}

fn index(columns: &[&str]) -> IndexInfo {
    IndexInfo {
        name: "i".into(),
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        unique: true,
        primary: false,
        complete: true,
        exact: true,
    }
}

fn key(name: &str) -> ForeignKey {
    ForeignKey {
        name: name.into(),
        columns: vec!["user_id".into()],
        target_table: "users".into(),
        target_columns: vec!["id".into()],
        validated: true,
        enabled: true,
        ..ForeignKey::default()
    }
}

#[test]
fn only_a_complete_unique_index_on_exactly_that_column_proves_uniqueness() {
    let with = |change: fn(&mut IndexInfo, &mut TableInfo)| {
        let (mut index, mut table) = (index(&["token"]), sessions());
        change(&mut index, &mut table);
        table.indexes = vec![index];
        table.unique_index_on("token").map(str::to_owned)
    };
    assert_eq!(with(|_, _| ()).as_deref(), Some("i"));
    let insufficient: [(&str, Change<IndexInfo>); 6] = [
        ("not unique", |index, _| index.unique = false),
        ("partial or invalid", |index, _| index.complete = false),
        ("finer than the column's equality", |index, _| index.exact = false),
        ("with another column", |index, _| index.columns.push("user_id".into())),
        ("on an expression", |index, _| index.columns.clear()),
        ("of a table with children", |_, table| table.has_children = true),
    ];
    for (why, change) in insufficient {
        assert_eq!(with(change), None, "{why}");
    }
}

#[test]
fn only_the_first_column_of_an_index_counts() {
    let mut table = sessions();
    table.indexes =
        vec![IndexInfo { complete: false, ..index(&["expires"]) }, index(&["user_id", "expires"])];
    assert!(table.index_starting_with("user_id").is_some());
    assert!(table.index_starting_with("expires").is_none());
}

#[test]
fn only_a_fully_enforced_foreign_key_proves_that_users_exist() {
    let with = |change: fn(&mut ForeignKey, &mut TableInfo)| {
        let (mut key, mut table) = (key("k"), sessions());
        change(&mut key, &mut table);
        table.is_proved_by(&key)
    };
    assert!(with(|_, _| ()));
    let insufficient: [(&str, Change<ForeignKey>); 5] = [
        ("not valid", |key, _| key.validated = false),
        ("with triggers that are disabled", |key, _| key.enabled = false),
        ("checked at the end of a transaction", |key, _| key.deferrable = true),
        ("of a table with children", |_, table| table.has_children = true),
        ("of a replicated table", |_, table| table.is_subscribed = true),
    ];
    for (why, change) in insufficient {
        assert!(!with(change), "{why}");
    }
}

#[test]
fn a_foreign_key_that_proves_something_is_preferred() {
    let mut table = sessions();
    let unchecked = ForeignKey { validated: false, ..key("unchecked") };
    let wide = ForeignKey { columns: vec!["tenant".into(), "user_id".into()], ..key("wide") };
    table.foreign_keys = vec![wide, unchecked.clone(), key("checked")];
    assert_eq!(table.foreign_key_on("user_id").map(|key| key.name.as_str()), Some("checked"));
    table.foreign_keys = vec![unchecked];
    assert_eq!(table.foreign_key_on("user_id").map(|key| key.name.as_str()), Some("unchecked"));
    assert!(table.foreign_key_on("tenant").is_none());
}

#[test]
fn booleans_are_recognized_by_declared_type() {
    for (declared, is_boolean) in
        [("boolean", true), ("bool", true), ("integer", false), ("text", false), ("", false)]
    {
        let column = ColumnInfo { declared_type: declared.into(), ..ColumnInfo::default() };
        assert_eq!(column.is_boolean(), is_boolean, "{declared}");
    }
}
