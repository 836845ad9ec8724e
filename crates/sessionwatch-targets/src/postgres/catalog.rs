//! Reads tables, columns, indexes and keys from `pg_catalog`, which every role may read.

mod behind;

use super::{
    PostgresRead,
    search_path::RoleSettings,
    visibility::{Command, hides_rows},
};
use crate::{
    error::TargetError,
    mapping::TableName,
    sql::{
        Dialect,
        schema::Schema,
        tables::{Column, ColumnKind, Equality, ForeignKey, Index, Table, TableKind},
    },
};

type Row = Vec<Option<String>>;

/// The relations; `{hides_rows}` stands for the condition that the role does not see every row of `c`.
const TABLES: &str = "
SELECT c.oid, n.nspname, c.relname, c.relkind, c.reltuples::bigint, {hides_rows}, c.relrowsecurity,
       c.relkind <> 'p' AND EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid),
       EXISTS (SELECT 1 FROM pg_catalog.pg_subscription_rel y WHERE y.srrelid = c.oid), above.nspname, above.relname,
       CASE WHEN c.relkind IN ('r', 'p', 'm') THEN
         pg_catalog.has_column_privilege(c.oid, 'ctid', 'SELECT') AND pg_catalog.has_column_privilege(c.oid, 'tableoid', 'SELECT') END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
  SELECT m.nspname, p.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
  JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace WHERE i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1
) AS above ON true
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\\_%' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
ORDER BY n.nspname, c.relname";

/// Domains are taken for the type that they are made of. Base types can be made by superusers only: `citext` is what its
/// name says, wherever it is.
const COLUMNS: &str = "
SELECT a.attrelid, a.attname, lower(pg_catalog.format_type(a.atttypid, a.atttypmod)),
       CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace OR (t.typname = 'citext' AND t.typtype = 'b') THEN t.typname ELSE '' END,
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

const INDEXES: &str = "
SELECT i.indrelid, c.relname, i.indisunique, i.indisprimary,
       i.indisvalid AND i.indisready AND i.indislive AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate, a.attname,
       c.relam = 403, f.opcdefault, f.opcnamespace = 'pg_catalog'::regnamespace, i.indcollation[k.at] = a.attcollation
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS k(at)
JOIN pg_catalog.pg_opclass f ON f.oid = i.indclass[k.at]
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.at]
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY i.indrelid, i.indexrelid, k.at";

/// The triggers of a constraint of a partitioned table are those of its parts too. Roles and databases with
/// `session_replication_role = replica` check no foreign key at all.
const KEYS: &str = "
SELECT o.conrelid, o.conname, n.nspname, c.relname, o.convalidated, o.confdeltype, a.attname, f.attname, o.condeferrable,
       NOT EXISTS (
         WITH RECURSIVE part(oid) AS (
           SELECT o.oid
           UNION ALL SELECT p.oid FROM part JOIN pg_catalog.pg_constraint p ON p.conparentid = part.oid)
         SELECT 1 FROM part JOIN pg_catalog.pg_trigger t ON t.tgconstraint = part.oid WHERE t.tgenabled NOT IN ('O', 'A'))
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

/// The tables and views that the role can see.
pub(super) async fn read(session: &PostgresRead) -> Result<Schema, TargetError> {
    let relations = TABLES.replace("{hides_rows}", &hides_rows("c.oid", Command::Select));
    // The answers travel together: one round trip, none waits for another.
    let (tables, columns, indexes, keys, backgrounds) = tokio::try_join!(
        session.query(&relations),
        session.query(COLUMNS),
        session.query(INDEXES),
        session.query(KEYS),
        behind::read(session)
    )?;
    let mut found: Vec<(String, Table)> = tables
        .iter()
        .filter_map(|row| Some((text(row, 0)?.to_owned(), table(row, session.role())?)))
        .collect();
    found.sort_by_key(|(_, table)| table.search_path.unwrap_or(usize::MAX));
    for row in &columns {
        if let (Some(table), Some(column)) = (owner(&mut found, row), column(row)) {
            table.columns.push(column);
        }
    }
    for row in &indexes {
        if let Some(table) = owner(&mut found, row) {
            add_index(table, row);
        }
    }
    for row in &keys {
        if let Some(table) = owner(&mut found, row) {
            add_key(table, row);
        }
    }
    for (oid, table) in &mut found {
        backgrounds.describe(oid, table);
    }
    Ok(Schema {
        dialect: Dialect::POSTGRES,
        path_named: session.path_named,
        tables: found.into_iter().map(|(_, table)| table).collect(),
    })
}

fn text(row: &Row, at: usize) -> Option<&str> {
    row.get(at)?.as_deref()
}

fn flag(row: &Row, at: usize) -> bool {
    text(row, at) == Some("t")
}

fn owner<'a>(found: &'a mut [(String, Table)], row: &Row) -> Option<&'a mut Table> {
    let oid = text(row, 0)?;
    found.iter_mut().find(|(table, _)| table == oid).map(|(_, table)| table)
}

fn table(row: &Row, role: &RoleSettings) -> Option<Table> {
    let schema = text(row, 1)?;
    Some(Table {
        schema: Some(schema.to_owned()),
        name: text(row, 2)?.to_owned(),
        kind: table_kind(text(row, 3)?),
        search_path: role.position(schema),
        estimated_rows: text(row, 4).and_then(|rows| rows.parse().ok()),
        row_security: flag(row, 6),
        rows_hidden: flag(row, 5),
        inherited: flag(row, 7),
        subscribed: flag(row, 8),
        places_readable: flag(row, 11),
        part_of: text(row, 10)
            .map(|name| TableName { schema: text(row, 9).map(str::to_owned), name: name.to_owned() }),
        ..Table::default()
    })
}

fn table_kind(relkind: &str) -> TableKind {
    match relkind {
        "p" => TableKind::Partitioned,
        "v" => TableKind::View,
        "m" => TableKind::MaterializedView,
        "f" => TableKind::Foreign,
        _ => TableKind::Table,
    }
}

fn column(row: &Row) -> Option<Column> {
    let kind = match text(row, 3)? {
        "int2" | "int4" | "int8" => ColumnKind::Integer,
        "text" | "varchar" | "bpchar" | "citext" | "name" => ColumnKind::Text,
        "uuid" => ColumnKind::Uuid,
        "bytea" => ColumnKind::Bytes,
        "timestamptz" => ColumnKind::Timestamptz,
        "timestamp" => ColumnKind::Timestamp,
        "json" | "jsonb" => ColumnKind::Json,
        _ => ColumnKind::Other,
    };
    Some(Column {
        name: text(row, 1)?.to_owned(),
        declared: text(row, 2)?.to_owned(),
        kind,
        nullable: !flag(row, 4),
        readable: flag(row, 5),
        equality: match text(row, 3)? {
            "citext" => Equality::CaseBlind,
            _ if flag(row, 7) => Equality::Collation,
            _ if flag(row, 6) => Equality::Text,
            _ => Equality::Exact,
        },
        is_padded: text(row, 3)? == "bpchar",
        has_many_texts: ["numeric", "float4", "float8", "interval", "jsonb"].contains(&text(row, 3)?),
        cast: text(row, 8).map(str::to_owned),
    })
}

/// Whether an index tells the values of its first column apart at most as finely as the column itself does.
fn is_exact(table: &Table, row: &Row) -> bool {
    let (btree, default, built_in, same_collation) = (flag(row, 6), flag(row, 7), flag(row, 8), flag(row, 9));
    let Some(column) = text(row, 5) else { return false };
    btree
        && match table.equality(column) {
            // All built-in operator classes of a type have one equality, and a collation can only make it wider.
            Equality::Exact => default || built_in,
            // Text, of which `citext` is made, has operator classes of its own, which heed case.
            Equality::CaseBlind | Equality::SpaceBlind | Equality::Text => default && !built_in,
            // Rows are spread over partitions by a collation that may be another one.
            Equality::Collation => (default || built_in) && same_collation && table.kind == TableKind::Table,
        }
}

fn add_index(table: &mut Table, row: &Row) {
    let Some(name) = text(row, 1) else { return };
    let exact = is_exact(table, row);
    if table.indexes.last().is_none_or(|index| index.name != name) {
        table.indexes.push(Index {
            name: name.to_owned(),
            columns: Vec::new(),
            unique: flag(row, 2),
            primary: flag(row, 3),
            complete: flag(row, 4),
            exact,
        });
    }
    if let (Some(index), Some(column)) = (table.indexes.last_mut(), text(row, 5)) {
        index.columns.push(column.to_owned());
    }
}

fn add_key(table: &mut Table, row: &Row) {
    let (Some(name), Some(target), Some(from), Some(to)) =
        (text(row, 1), text(row, 3), text(row, 6), text(row, 7))
    else {
        return;
    };
    if table.foreign_keys.last().is_none_or(|key| key.name != name) {
        let on_delete = match text(row, 5) {
            Some("c") => "CASCADE",
            Some("n") => "SET NULL",
            Some("d") => "SET DEFAULT",
            Some("r") => "RESTRICT",
            _ => "NO ACTION",
        };
        table.foreign_keys.push(ForeignKey {
            name: name.to_owned(),
            columns: Vec::new(),
            target_schema: text(row, 2).map(str::to_owned),
            target_table: target.to_owned(),
            target_columns: Vec::new(),
            validated: flag(row, 4),
            enabled: flag(row, 9),
            deferrable: flag(row, 8),
            on_delete: on_delete.to_owned(),
        });
    }
    if let Some(key) = table.foreign_keys.last_mut() {
        key.columns.push(from.to_owned());
        key.target_columns.push(to.to_owned());
    }
}
