use super::*;

/// Takes something from what proves a fact, or from its table.
type Change<T> = fn(&mut T, &mut TableInfo);

/// A table without columns.
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
fn only_a_whole_unique_index_on_that_column_alone_proves_that_nothing_occurs_twice() {
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
        ("finer than the application compares", |index, _| index.exact = false),
        ("with another column", |index, _| index.columns.push("user_id".into())),
        ("on an expression", |index, _| index.columns.clear()),
        ("of a table that others inherit from", |_, table| table.has_children = true),
    ];
    for (why, change) in insufficient {
        assert_eq!(with(change), None, "{why}");
    }
}

#[test]
fn an_index_leads_with_its_first_column_only() {
    let mut table = sessions();
    table.indexes =
        vec![IndexInfo { complete: false, ..index(&["expires"]) }, index(&["user_id", "expires"])];
    assert!(table.index_starting_with("user_id").is_some());
    assert!(table.index_starting_with("expires").is_none());
}

#[test]
fn a_foreign_key_proves_that_users_exist_only_while_it_is_checked_for_every_row() {
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
        ("of a table that others inherit from", |_, table| table.has_children = true),
        ("of a table that is replicated", |_, table| table.is_subscribed = true),
    ];
    for (why, change) in insufficient {
        assert!(!with(change), "{why}");
    }
}

#[test]
fn of_several_foreign_keys_the_one_that_proves_something_is_taken() {
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
fn booleans_are_known_by_their_declared_type() {
    for (declared, is_boolean) in
        [("boolean", true), ("bool", true), ("integer", false), ("text", false), ("", false)]
    {
        let column = ColumnInfo { declared_type: declared.into(), ..ColumnInfo::default() };
        assert_eq!(column.is_boolean(), is_boolean, "{declared}");
    }
}
