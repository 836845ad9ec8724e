//! Reads tables, columns, indexes and keys from `pg_catalog`, which every role can read.

mod view_dependencies;

use super::{
    PostgresRead,
    row_security::{PolicyCommand, hides_rows_condition},
    search_path::RoleSettings,
};
use crate::{
    error::TargetError,
    mapping::TableName,
    sql::{
        Dialect,
        database_schema::DatabaseSchema,
        table_info::{ColumnInfo, ColumnKind, Equality, ForeignKey, IndexInfo, TableInfo, TableKind},
    },
};

type CatalogRow = Vec<Option<String>>;

/// Relations. `{hides_rows}` is replaced by the condition that row-level security may hide rows of `c`.
const TABLES_QUERY: &str = "
SELECT c.oid, n.nspname, c.relname, c.relkind, c.reltuples::bigint, {hides_rows}, c.relrowsecurity,
       c.relkind <> 'p' AND EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid),
       EXISTS (SELECT 1 FROM pg_catalog.pg_subscription_rel y WHERE y.srrelid = c.oid), above.nspname, above.relname,
       CASE WHEN c.relkind IN ('r', 'p', 'm') THEN
         pg_catalog.has_column_privilege(c.oid, 'ctid', 'SELECT') AND pg_catalog.has_column_privilege(c.oid, \
         'tableoid', 'SELECT') END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
  SELECT m.nspname, p.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
  JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace WHERE i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1
) AS above ON true
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\\_%' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
ORDER BY n.nspname, c.relname";

/// Columns. A domain counts as its base type. Only superusers can create base types, so a type named `citext`
/// is the real one in any schema.
const COLUMNS_QUERY: &str = "
SELECT a.attrelid, a.attname, lower(pg_catalog.format_type(a.atttypid, a.atttypmod)),
       CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace OR (t.typname = 'citext' AND t.typtype = 'b') \
       THEN t.typname ELSE '' END,
       a.attnotnull, pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT'),
       t.typtype = 'b' AND t.typelem = 0 AND t.typnamespace <> 'pg_catalog'::regnamespace,
       to_jsonb(l) ->> 'collisdeterministic' = 'false',
       CASE WHEN d.typnamespace <> 'pg_catalog'::regnamespace THEN (
         SELECT q.nspname || '.' || p.proname FROM pg_catalog.pg_cast k JOIN pg_catalog.pg_proc p ON p.oid = k.castfunc
         JOIN pg_catalog.pg_namespace q ON q.oid = p.pronamespace JOIN pg_catalog.pg_language g ON g.oid = p.prolang
         WHERE k.castsource = t.oid AND k.casttarget = 'text'::regtype AND g.lanname NOT IN ('c', 'internal')) END
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
JOIN pg_catalog.pg_type t ON t.oid = CASE WHEN d.typtype = 'd' THEN (
  WITH RECURSIVE base(oid, next) AS (
    SELECT d.oid, d.typbasetype
    UNION ALL SELECT b.oid, b.typbasetype FROM base JOIN pg_catalog.pg_type b ON b.oid = base.next)
  SELECT base.oid FROM base WHERE base.next = 0) ELSE d.oid END
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY a.attrelid, a.attnum";

const INDEXES_QUERY: &str = "
SELECT i.indrelid, c.relname, i.indisunique, i.indisprimary,
       i.indisvalid AND i.indisready AND i.indislive AND i.indpred IS NULL AND i.indexprs IS NULL \
       AND i.indimmediate, a.attname,
       c.relam = 403, f.opcdefault, f.opcnamespace = 'pg_catalog'::regnamespace, i.indcollation[k.at] = a.attcollation
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS k(at)
JOIN pg_catalog.pg_opclass f ON f.oid = i.indclass[k.at]
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.at]
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY i.indrelid, i.indexrelid, k.at";

/// Foreign keys. For a partitioned table, the triggers of every partition must be enabled. Under
/// `session_replication_role = replica`, set for a role or database, no foreign key is enforced.
const FOREIGN_KEYS_QUERY: &str = "
SELECT o.conrelid, o.conname, n.nspname, c.relname, o.convalidated, o.confdeltype, a.attname, f.attname, \
o.condeferrable,
       NOT EXISTS (
         WITH RECURSIVE part(oid) AS (
           SELECT o.oid
           UNION ALL SELECT p.oid FROM part JOIN pg_catalog.pg_constraint p ON p.conparentid = part.oid)
         SELECT 1 FROM part JOIN pg_catalog.pg_trigger t ON t.tgconstraint = part.oid \
         WHERE t.tgenabled NOT IN ('O', 'A'))
       AND NOT EXISTS (
         SELECT 1 FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON s.setdatabase IN (0, d.oid)
         WHERE d.datname = pg_catalog.current_database() AND 'session_replication_role=replica' = ANY(s.setconfig))
       AND pg_catalog.current_setting('session_replication_role') <> 'replica'
FROM pg_catalog.pg_constraint o JOIN pg_catalog.pg_class c ON c.oid = o.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL generate_subscripts(o.conkey, 1) AS k(at)
JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = o.conkey[k.at]
JOIN pg_catalog.pg_attribute f ON f.attrelid = o.confrelid AND f.attnum = o.confkey[k.at]
WHERE o.contype = 'f'
ORDER BY o.conrelid, o.oid, k.at";

/// Reads the tables and views that the role can see.
pub(super) async fn read_schema(session: &PostgresRead) -> Result<DatabaseSchema, TargetError> {
    let relations =
        TABLES_QUERY.replace("{hides_rows}", &hides_rows_condition("c.oid", PolicyCommand::Select));
    // The queries are pipelined into one round trip.
    let (tables, columns, indexes, keys, backgrounds) = tokio::try_join!(
        session.query_rows(&relations),
        session.query_rows(COLUMNS_QUERY),
        session.query_rows(INDEXES_QUERY),
        session.query_rows(FOREIGN_KEYS_QUERY),
        view_dependencies::read_dependencies(session)
    )?;
    let mut found: Vec<(String, TableInfo)> = tables
        .iter()
        .filter_map(|row| Some((cell_text(row, 0)?.to_owned(), parse_table(row, session.role())?)))
        .collect();
    // A stable sort: tables off the path stay in alphabetical order.
    found.sort_by_key(|(_, table)| table.search_path_index.unwrap_or(usize::MAX));
    for row in &columns {
        if let (Some(table), Some(column)) = (find_owner_table(&mut found, row), parse_column(row)) {
            table.columns.push(column);
        }
    }
    for row in &indexes {
        if let Some(table) = find_owner_table(&mut found, row) {
            add_index(table, row);
        }
    }
    for row in &keys {
        if let Some(table) = find_owner_table(&mut found, row) {
            add_foreign_key(table, row);
        }
    }
    for (oid, table) in &mut found {
        backgrounds.add_dependencies(oid, table);
    }
    Ok(DatabaseSchema {
        dialect: Dialect::POSTGRES,
        has_named_search_path: session.has_named_search_path,
        tables: found.into_iter().map(|(_, table)| table).collect(),
    })
}

fn cell_text(row: &CatalogRow, at: usize) -> Option<&str> {
    row.get(at)?.as_deref()
}

fn cell_flag(row: &CatalogRow, at: usize) -> bool {
    cell_text(row, at) == Some("t")
}

fn find_owner_table<'a>(found: &'a mut [(String, TableInfo)], row: &CatalogRow) -> Option<&'a mut TableInfo> {
    let oid = cell_text(row, 0)?;
    found.iter_mut().find(|(table, _)| table == oid).map(|(_, table)| table)
}

fn parse_table(row: &CatalogRow, role: &RoleSettings) -> Option<TableInfo> {
    let schema = cell_text(row, 1)?;
    Some(TableInfo {
        schema: Some(schema.to_owned()),
        name: cell_text(row, 2)?.to_owned(),
        kind: parse_table_kind(cell_text(row, 3)?),
        search_path_index: role.search_path_index(schema),
        estimated_rows: cell_text(row, 4).and_then(|rows| rows.parse().ok()),
        row_security: cell_flag(row, 6),
        has_hidden_rows: cell_flag(row, 5),
        has_children: cell_flag(row, 7),
        is_subscribed: cell_flag(row, 8),
        has_readable_positions: cell_flag(row, 11),
        parent_table: cell_text(row, 10)
            .map(|name| TableName { schema: cell_text(row, 9).map(str::to_owned), name: name.to_owned() }),
        ..TableInfo::default()
    })
}

fn parse_table_kind(relkind: &str) -> TableKind {
    match relkind {
        "p" => TableKind::Partitioned,
        "v" => TableKind::View,
        "m" => TableKind::MaterializedView,
        "f" => TableKind::Foreign,
        _ => TableKind::Table,
    }
}

fn parse_column(row: &CatalogRow) -> Option<ColumnInfo> {
    let kind = match cell_text(row, 3)? {
        "int2" | "int4" | "int8" => ColumnKind::Integer,
        "text" | "varchar" | "bpchar" | "citext" | "name" => ColumnKind::Text,
        "uuid" => ColumnKind::Uuid,
        "bytea" => ColumnKind::Bytes,
        "timestamptz" => ColumnKind::Timestamptz,
        "timestamp" => ColumnKind::Timestamp,
        "json" | "jsonb" => ColumnKind::Json,
        _ => ColumnKind::Other,
    };
    Some(ColumnInfo {
        name: cell_text(row, 1)?.to_owned(),
        declared_type: cell_text(row, 2)?.to_owned(),
        kind,
        nullable: !cell_flag(row, 4),
        readable: cell_flag(row, 5),
        equality: match cell_text(row, 3)? {
            // citext ignores case under every collation, so its type is checked first.
            "citext" => Equality::CaseInsensitive,
            _ if cell_flag(row, 7) => Equality::Collation,
            _ if cell_flag(row, 6) => Equality::Text,
            _ => Equality::Exact,
        },
        is_padded: cell_text(row, 3)? == "bpchar",
        has_many_text_forms: ["numeric", "float4", "float8", "interval", "jsonb"]
            .contains(&cell_text(row, 3)?),
        cast_function: cell_text(row, 8).map(str::to_owned),
    })
}

/// Returns `true` if values that differ to an index also differ to the column, so that uniqueness in the
/// index proves it for the column.
fn is_exact_index(table: &TableInfo, row: &CatalogRow) -> bool {
    let (btree, default, built_in, same_collation) =
        (cell_flag(row, 6), cell_flag(row, 7), cell_flag(row, 8), cell_flag(row, 9));
    let Some(column) = cell_text(row, 5) else { return false };
    btree
        && match table.column_equality(column) {
            // All built-in operator classes of a type share one equality, and a collation can only widen it.
            Equality::Exact => default || built_in,
            // Operator classes of plain text are case-sensitive; the default one of `citext` is not.
            Equality::CaseInsensitive | Equality::TrailingSpaceInsensitive | Equality::Text => {
                default && !built_in
            }
            // Rows may be distributed to partitions by a different collation.
            Equality::Collation => (default || built_in) && same_collation && table.kind == TableKind::Table,
        }
}

fn add_index(table: &mut TableInfo, row: &CatalogRow) {
    let Some(name) = cell_text(row, 1) else { return };
    let exact = is_exact_index(table, row);
    // Rows are sorted by index, so a new name starts the next one.
    if table.indexes.last().is_none_or(|index| index.name != name) {
        table.indexes.push(IndexInfo {
            name: name.to_owned(),
            columns: Vec::new(),
            unique: cell_flag(row, 2),
            primary: cell_flag(row, 3),
            complete: cell_flag(row, 4),
            exact,
        });
    }
    if let (Some(index), Some(column)) = (table.indexes.last_mut(), cell_text(row, 5)) {
        index.columns.push(column.to_owned());
    }
}

fn add_foreign_key(table: &mut TableInfo, row: &CatalogRow) {
    let (Some(name), Some(target), Some(from), Some(to)) =
        (cell_text(row, 1), cell_text(row, 3), cell_text(row, 6), cell_text(row, 7))
    else {
        return;
    };
    // Rows are sorted by key, so a new name starts the next one.
    if table.foreign_keys.last().is_none_or(|key| key.name != name) {
        let on_delete = match cell_text(row, 5) {
            Some("c") => "CASCADE",
            Some("n") => "SET NULL",
            Some("d") => "SET DEFAULT",
            Some("r") => "RESTRICT",
            _ => "NO ACTION",
        };
        table.foreign_keys.push(ForeignKey {
            name: name.to_owned(),
            columns: Vec::new(),
            target_schema: cell_text(row, 2).map(str::to_owned),
            target_table: target.to_owned(),
            target_columns: Vec::new(),
            validated: cell_flag(row, 4),
            enabled: cell_flag(row, 9),
            deferrable: cell_flag(row, 8),
            on_delete: on_delete.to_owned(),
        });
    }
    if let Some(key) = table.foreign_keys.last_mut() {
        key.columns.push(from.to_owned());
        key.target_columns.push(to.to_owned());
    }
}
