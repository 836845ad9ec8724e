use super::*;
use crate::sql::tables::{Column, Equality};

fn table(schema: &str, name: &str, search_path: Option<usize>) -> Table {
    Table { schema: Some(schema.into()), name: name.into(), search_path, ..Table::default() }
}

fn schema(tables: Vec<Table>) -> Schema {
    Schema { dialect: Dialect::POSTGRES, path_named: false, tables }
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
