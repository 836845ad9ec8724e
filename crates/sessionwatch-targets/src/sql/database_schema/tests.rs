use super::*;
use crate::sql::table_info::{ColumnInfo, Equality};

fn table(schema: &str, name: &str, search_path: Option<usize>) -> TableInfo {
    TableInfo {
        schema: Some(schema.into()),
        name: name.into(),
        search_path_index: search_path,
        ..TableInfo::default()
    }
}

fn schema(tables: Vec<TableInfo>) -> DatabaseSchema {
    DatabaseSchema { dialect: Dialect::POSTGRES, has_named_search_path: false, tables }
}

#[test]
fn an_unqualified_name_means_the_first_table_on_the_search_path() {
    let schema = schema(vec![
        table("late", "sessions", Some(2)),
        table("first", "sessions", Some(0)),
        table("elsewhere", "sessions", None),
    ]);
    let found =
        |of: Option<&str>| schema.find_table(of, "sessions").and_then(|table| table.schema.as_deref());
    assert_eq!(found(None), Some("first"));
    assert_eq!(found(Some("elsewhere")), Some("elsewhere"));
    assert_eq!(found(Some("nowhere")), None);
}

#[test]
fn an_unqualified_name_is_ambiguous_off_the_search_path() {
    let two = schema(vec![table("a", "sessions", None), table("b", "sessions", None)]);
    assert!(two.find_table(None, "sessions").is_none());
    assert_eq!(two.resolve_unqualified("sessions").len(), 2);
    let one = schema(vec![table("a", "sessions", None)]);
    assert!(one.find_table(None, "sessions").is_some());
    assert!(one.find_table(None, "Sessions").is_none(), "names are case-sensitive");
}

#[test]
fn schemas_named_in_the_address_exclude_others() {
    let tables = vec![table("a", "sessions", None)];
    let named = DatabaseSchema { dialect: Dialect::POSTGRES, has_named_search_path: true, tables };
    assert!(named.resolve_unqualified("sessions").is_empty() && named.find_table(None, "sessions").is_none());
    assert!(named.find_table(Some("a"), "sessions").is_some(), "a qualified name still works");
}

#[test]
fn missing_columns_have_no_kind_and_compare_exactly() {
    let column = ColumnInfo {
        name: "id".into(),
        kind: ColumnKind::Uuid,
        equality: Equality::CaseInsensitive,
        ..ColumnInfo::default()
    };
    let mut sessions = table("public", "sessions", Some(0));
    sessions.columns = vec![column];
    let name = |name: &str| TableName { schema: Some("public".into()), name: name.into() };
    let schema = schema(vec![sessions]);
    let sessions = schema.table(&name("sessions")).unwrap();
    assert_eq!(
        (sessions.column_equality("id"), sessions.column_equality("none")),
        (Equality::CaseInsensitive, Equality::Exact)
    );
    assert_eq!(schema.column_kind(&name("sessions"), "id"), ColumnKind::Uuid);
    assert_eq!(schema.column_kind(&name("sessions"), "none"), ColumnKind::Other);
    assert_eq!(schema.column_kind(&name("none"), "id"), ColumnKind::Other);
}

#[test]
fn a_missing_schema_is_reported_with_a_similar_one() {
    let schema =
        schema(vec![table("public", "a", None), table("auth", "b", None), table("public", "c", None)]);
    assert_eq!(schema.schema_names(), ["auth", "public"]);
    let message = missing_schema_message("publc", &schema.schema_names(), false);
    assert!(
        message.contains("`publc`")
            && message.contains("`public`")
            && message.contains("; schemas: `auth`, `public`"),
        "{message}"
    );
    assert!(missing_schema_message("x", &[], false).ends_with("; schemas: none"));
}
