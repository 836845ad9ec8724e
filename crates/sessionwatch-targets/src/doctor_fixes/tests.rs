use sessionwatch_core::timestamp_decoder::Decoder;

use super::*;
use crate::{
    layout::detect::LayoutCandidate,
    mapping::{Mapping, RevokeMethod, TimestampColumn},
    sql::{
        Dialect,
        database_schema::DatabaseSchema,
        table_info::{ColumnInfo, TableKind},
    },
};

/// A table with names that need quoting.
fn layout(dialect: Dialect, kind: TableKind, equality: Equality) -> Layout {
    let schema = dialect.has_schemas().then(|| "My app".to_owned());
    let sessions = TableName { schema: schema.clone(), name: "Session".into() };
    let token = ColumnInfo { name: "sessionToken".into(), equality, ..ColumnInfo::default() };
    let table =
        TableInfo { schema, name: "Session".into(), kind, columns: vec![token], ..TableInfo::default() };
    let mapping = Mapping {
        profile: "custom".into(),
        sessions,
        id: Some("id".into()),
        token: "sessionToken".into(),
        token_prefix: None,
        user: Some("userId".into()),
        expires: TimestampColumn { column: "expires".into(), decoder: Decoder::TimestampUtc },
        created: None,
        deleted: None,
        impersonator: None,
        ip: None,
        agent: None,
        users: Some(users()),
        accounts: None,
        revoke: RevokeMethod::Delete,
        max_lifetime_s: None,
    };
    let candidate = LayoutCandidate {
        mapping,
        title: String::new(),
        score: 0,
        reasons: vec![],
        notes: vec![],
        missing_evidence: vec![],
        other_login_hints: vec![],
        is_named_in_config: true,
    };
    Layout {
        schema: DatabaseSchema { dialect, has_named_search_path: false, tables: vec![table] },
        candidate,
        alternatives: vec![],
        uncertainty: None,
        decoder_replaced: false,
        clocks: Default::default(),
    }
}

fn users() -> UsersMapping {
    let table = TableName { schema: Some("My app".into()), name: "User".into() };
    UsersMapping { table, key: "id".into(), display: vec![] }
}

fn server(kind: TableKind) -> Layout {
    layout(Dialect::POSTGRES, kind, Equality::Exact)
}

fn file() -> Layout {
    layout(Dialect::SQLITE, TableKind::Table, Equality::Exact)
}

#[test]
fn an_index_is_created_concurrently_where_possible() {
    let made = |layout: &Layout| DoctorFixes::new(layout).create_index(true, "sessionToken");
    assert_eq!(
        made(&server(TableKind::Table)),
        "CREATE UNIQUE INDEX CONCURRENTLY \"Session_sessionToken_key\" ON \"My app\".\"Session\" (\"sessionToken\");"
    );
    for without in [server(TableKind::Partitioned), file()] {
        assert!(!made(&without).contains("CONCURRENTLY"), "{}", made(&without));
    }
    let mut inherited = server(TableKind::Table);
    inherited.schema.tables[0].has_children = true;
    assert!(!made(&inherited).contains("CONCURRENTLY"), "rows are in other tables too");
}

#[test]
fn the_statements_for_sqlite_run() {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE \"Session\" (\"sessionToken\" TEXT, \"userId\" TEXT)").unwrap();
    let layout = file();
    let remedies = DoctorFixes::new(&layout);
    connection.execute_batch(&remedies.create_index(true, "sessionToken")).unwrap();
    connection.execute_batch(&remedies.create_index(false, "userId")).unwrap();
    connection.execute_batch("INSERT INTO \"Session\" VALUES ('t', '1')").unwrap();
    assert!(connection.execute_batch("INSERT INTO \"Session\" VALUES ('t', '2')").is_err(), "it is unique");
    connection.execute_batch(&remedies.drop_index("Session_sessionToken_key")).unwrap();
    connection.execute_batch("INSERT INTO \"Session\" VALUES ('t', '2')").unwrap();
    connection.execute_batch(remedies.enforce_foreign_keys()).unwrap();
}

#[test]
fn names_of_roles_and_schemas_are_quoted() {
    let layout = server(TableKind::Table);
    let remedies = DoctorFixes::new(&layout);
    let hostile = "x\"; DROP TABLE y; --";
    let quoted = "\"x\"\"; DROP TABLE y; --\"";
    for statement in [
        remedies.grant_privilege("SELECT ON t", hostile),
        remedies.allow_select_policy("t", Some(hostile)),
        remedies.allow_all_policy("t", hostile),
        remedies.revoke_create("public", Some(hostile)),
        remedies.revoke_create(hostile, None),
        remedies.drop_index(hostile),
        remedies.validate_foreign_key(hostile),
        remedies.set_cascade_delete(hostile, "userId", &users()),
    ] {
        assert!(statement.contains(quoted), "{statement}");
    }
    assert!(remedies.allow_select_policy("t", None).contains(" TO ROLE USING"), "a placeholder to fill in");
}

#[test]
fn adding_a_foreign_key_locks_the_table_only_where_unavoidable() {
    let added = |layout: &Layout| DoctorFixes::new(layout).add_foreign_key("userId", &users());
    let plain = added(&server(TableKind::Table));
    assert!(plain.contains("NOT VALID;\nALTER TABLE \"My app\".\"Session\" VALIDATE CONSTRAINT"), "{plain}");
    let partitioned = added(&server(TableKind::Partitioned));
    assert!(!partitioned.contains("NOT VALID") && partitioned.contains("locks both tables"), "{partitioned}");
    assert!(added(&file()).contains("cannot add a foreign key"));
}

#[test]
fn exact_comparison_is_set_as_the_column_requires() {
    let exact = |dialect, equality| {
        DoctorFixes::new(&layout(dialect, TableKind::Table, equality)).compare_tokens_exactly()
    };
    let collated = exact(Dialect::POSTGRES, Equality::Collation);
    assert!(collated.ends_with("TYPE text COLLATE \"C\";"), "{collated}");
    let case_insensitive = exact(Dialect::POSTGRES, Equality::CaseInsensitive);
    assert!(case_insensitive.ends_with("ALTER COLUMN \"sessionToken\" TYPE text;"), "{case_insensitive}");
    assert!(exact(Dialect::SQLITE, Equality::CaseInsensitive).contains("without COLLATE"));
}

#[test]
fn a_column_is_added_to_a_table_and_not_to_a_view() {
    let added = |layout: &Layout| DoctorFixes::new(layout).add_creation_column("createdAt");
    for kind in [TableKind::Table, TableKind::Partitioned] {
        assert!(added(&server(kind)).starts_with("ALTER TABLE "), "{kind:?}");
    }
    for kind in [TableKind::View, TableKind::MaterializedView, TableKind::Foreign] {
        assert!(added(&server(kind)).contains("to the underlying table"), "{kind:?}");
    }
    assert!(added(&file()).starts_with("add a column createdAt"));
    assert_eq!(DoctorFixes::new(&file()).analyze_table(), None);
    assert_eq!(
        DoctorFixes::new(&server(TableKind::Table)).analyze_table().unwrap(),
        "ANALYZE \"My app\".\"Session\";"
    );
}
