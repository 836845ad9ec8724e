use super::*;

/// Takes something from what proves a fact, or from its table.
type Change<T> = fn(&mut T, &mut Table);

fn table(schema: &str, name: &str, search_path: Option<usize>) -> Table {
    Table { schema: Some(schema.into()), name: name.into(), search_path, ..Table::default() }
}

fn schema(tables: Vec<Table>) -> Schema {
    Schema { dialect: Dialect::POSTGRES, path_named: false, tables }
}

fn index(columns: &[&str]) -> Index {
    Index {
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
fn a_name_without_a_schema_means_the_first_table_on_the_search_path() {
    let schema = schema(vec![
        table("late", "sessions", Some(2)),
        table("first", "sessions", Some(0)),
        table("elsewhere", "sessions", None),
    ]);
    let found = |of: Option<&str>| schema.find(of, "sessions").and_then(|table| table.schema.as_deref());
    assert_eq!(found(None), Some("first"));
    assert_eq!(found(Some("elsewhere")), Some("elsewhere"));
    assert_eq!(found(Some("nowhere")), None);
}

#[test]
fn of_several_tables_beside_the_search_path_none_is_meant() {
    let two = schema(vec![table("a", "sessions", None), table("b", "sessions", None)]);
    assert!(two.find(None, "sessions").is_none());
    assert_eq!(two.meant("sessions").len(), 2);
    let one = schema(vec![table("a", "sessions", None)]);
    assert!(one.find(None, "sessions").is_some());
    assert!(one.find(None, "Sessions").is_none(), "names differ by case");
}

#[test]
fn where_the_address_names_schemas_no_others_are_looked_in() {
    let tables = vec![table("a", "sessions", None)];
    let named = Schema { dialect: Dialect::POSTGRES, path_named: true, tables };
    assert!(named.meant("sessions").is_empty() && named.find(None, "sessions").is_none());
    assert!(named.find(Some("a"), "sessions").is_some(), "but by its whole name it is there");
}

#[test]
fn only_a_whole_unique_index_on_that_column_alone_proves_that_nothing_occurs_twice() {
    let with = |change: fn(&mut Index, &mut Table)| {
        let (mut index, mut table) = (index(&["token"]), table("public", "sessions", Some(0)));
        change(&mut index, &mut table);
        table.indexes = vec![index];
        table.unique_on("token").map(str::to_owned)
    };
    assert_eq!(with(|_, _| ()).as_deref(), Some("i"));
    let insufficient: [(&str, Change<Index>); 6] = [
        ("not unique", |index, _| index.unique = false),
        ("partial or invalid", |index, _| index.complete = false),
        ("finer than the application compares", |index, _| index.exact = false),
        ("with another column", |index, _| index.columns.push("user_id".into())),
        ("on an expression", |index, _| index.columns.clear()),
        ("of a table that others inherit from", |_, table| table.inherited = true),
    ];
    for (why, change) in insufficient {
        assert_eq!(with(change), None, "{why}");
    }
}

#[test]
fn an_index_leads_with_its_first_column_only() {
    let mut sessions = table("public", "sessions", Some(0));
    sessions.indexes = vec![Index { complete: false, ..index(&["expires"]) }, index(&["user_id", "expires"])];
    assert!(sessions.index_led_by("user_id").is_some());
    assert!(sessions.index_led_by("expires").is_none());
}

#[test]
fn a_foreign_key_proves_that_users_exist_only_while_it_is_checked_for_every_row() {
    let with = |change: fn(&mut ForeignKey, &mut Table)| {
        let (mut key, mut table) = (key("k"), table("public", "sessions", Some(0)));
        change(&mut key, &mut table);
        table.is_proved_by(&key)
    };
    assert!(with(|_, _| ()));
    let insufficient: [(&str, Change<ForeignKey>); 5] = [
        ("not valid", |key, _| key.validated = false),
        ("with triggers that are disabled", |key, _| key.enabled = false),
        ("checked at the end of a transaction", |key, _| key.deferrable = true),
        ("of a table that others inherit from", |_, table| table.inherited = true),
        ("of a table that is replicated", |_, table| table.subscribed = true),
    ];
    for (why, change) in insufficient {
        assert!(!with(change), "{why}");
    }
}

#[test]
fn of_several_foreign_keys_the_one_that_proves_something_is_taken() {
    let mut sessions = table("public", "sessions", Some(0));
    let unchecked = ForeignKey { validated: false, ..key("unchecked") };
    let wide = ForeignKey { columns: vec!["tenant".into(), "user_id".into()], ..key("wide") };
    sessions.foreign_keys = vec![wide, unchecked.clone(), key("checked")];
    assert_eq!(sessions.foreign_key_on("user_id").map(|key| key.name.as_str()), Some("checked"));
    sessions.foreign_keys = vec![unchecked];
    assert_eq!(sessions.foreign_key_on("user_id").map(|key| key.name.as_str()), Some("unchecked"));
    assert!(sessions.foreign_key_on("tenant").is_none());
}

#[test]
fn columns_that_are_not_there_have_no_kind_and_are_compared_exactly() {
    let column = Column {
        name: "id".into(),
        kind: ColumnKind::Uuid,
        equality: Equality::CaseBlind,
        ..Column::default()
    };
    let mut sessions = table("public", "sessions", Some(0));
    sessions.columns = vec![column];
    let name = |name: &str| TableName { schema: Some("public".into()), name: name.into() };
    let schema = schema(vec![sessions]);
    let sessions = schema.table(&name("sessions")).unwrap();
    assert_eq!((sessions.equality("id"), sessions.equality("none")), (Equality::CaseBlind, Equality::Exact));
    assert_eq!(schema.kind(&name("sessions"), "id"), ColumnKind::Uuid);
    assert_eq!(schema.kind(&name("sessions"), "none"), ColumnKind::Other);
    assert_eq!(schema.kind(&name("none"), "id"), ColumnKind::Other);
}

#[test]
fn booleans_are_known_by_their_declared_type() {
    for (declared, is_boolean) in
        [("boolean", true), ("bool", true), ("integer", false), ("text", false), ("", false)]
    {
        let column = Column { declared: declared.into(), ..Column::default() };
        assert_eq!(column.is_boolean(), is_boolean, "{declared}");
    }
}

#[test]
fn a_schema_that_is_missing_is_told_of_with_one_that_is_like_it() {
    let schema =
        schema(vec![table("public", "a", None), table("auth", "b", None), table("public", "c", None)]);
    assert_eq!(schema.schemas(), ["auth", "public"]);
    let said = missing_schema("publc", &schema.schemas());
    assert!(
        said.contains("`publc`") && said.contains("`public`") && said.contains("(schemas: `auth`, `public`)"),
        "{said}"
    );
    assert!(missing_schema("x", &[]).ends_with("(schemas: none)"));
}
