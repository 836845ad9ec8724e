//! Foreign keys, triggers and rules from the catalog.

use super::row_security::{PolicyCommand, hides_rows_condition};
use crate::{
    cells::{self, TextRow},
    error::TargetError,
    mapping::TableName,
    side_effects::{ForeignKeyColumn, RowEvent, SideEffectCatalog, SideEffectKind, TriggerOrRule},
    sql,
};

/// Triggers and rules on `DELETE` and `UPDATE` that fire in ordinary sessions: schema and name of the table,
/// name, type of the trigger or event of the rule, whether this is a rule, whether it is an INSTEAD rule.
const TRIGGERS_AND_RULES_QUERY: &str = "
SELECT n.nspname, c.relname, t.tgname, t.tgtype::int::text, false, false
FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
UNION ALL
SELECT n.nspname, c.relname, r.rulename, r.ev_type::text, true, r.is_instead
FROM pg_catalog.pg_rewrite AS r JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE r.ev_type IN ('2', '4') AND r.ev_enabled IN ('O', 'A')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY 1, 2, 3";

/// Inheriting tables and partitions: schema and name, schema and name of the parent, whether the parent is
/// partitioned.
const INHERITANCE_QUERY: &str = "
SELECT n.nspname, c.relname, o.nspname, p.relname, p.relkind = 'p'
FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_namespace AS o ON o.oid = p.relnamespace
WHERE c.relkind IN ('r', 'p', 'f')";

/// Returns the query for foreign keys, one row per column: schema, name and column of the referencing table,
/// schema, name and column of the referenced one, name, action, whether the role can read every value of the
/// referencing column, and the equality operator. Copies of keys on partitions are left out.
fn foreign_keys_query() -> String {
    format!(
        "SELECT n.nspname, c.relname, a.attname, m.nspname, p.relname, f.attname, o.conname, o.confdeltype::text,\n  \
         pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_column_privilege(o.conrelid, \
         a.attnum, 'SELECT')\n  \
         AND NOT {hidden},\n  \
         (SELECT pg_catalog.format('OPERATOR(%I.%s)', v.nspname, e.oprname) FROM pg_catalog.pg_operator AS e\n  \
         JOIN pg_catalog.pg_namespace AS v ON v.oid = e.oprnamespace WHERE e.oid = o.conpfeqop[k.at])\n\
         FROM pg_catalog.pg_constraint AS o JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid\n\
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace\n\
         JOIN pg_catalog.pg_class AS p ON p.oid = o.confrelid JOIN pg_catalog.pg_namespace AS m ON m.oid = \
         p.relnamespace\n\
         CROSS JOIN LATERAL pg_catalog.generate_subscripts(o.conkey, 1) AS k(at)\n\
         JOIN pg_catalog.pg_attribute AS a ON a.attrelid = o.conrelid AND a.attnum = o.conkey[k.at]\n\
         JOIN pg_catalog.pg_attribute AS f ON f.attrelid = o.confrelid AND f.attnum = o.confkey[k.at]\n\
         WHERE o.contype = 'f' AND o.conparentid = 0\n\
         ORDER BY n.nspname, c.relname, o.conname, k.at",
        hidden = hides_rows_condition("o.conrelid", PolicyCommand::Select)
    )
}

/// Reads the catalog. `fetch` runs the queries.
pub(super) async fn read_catalog(
    mut fetch: impl AsyncFnMut(&str) -> Result<Vec<TextRow>, TargetError>,
) -> Result<SideEffectCatalog, TargetError> {
    let mut catalog = SideEffectCatalog::default();
    for row in fetch(&foreign_keys_query()).await? {
        catalog.add_reference(parse_foreign_key_column(&row)?);
    }
    for row in fetch(TRIGGERS_AND_RULES_QUERY).await? {
        catalog.add_triggers(parse_triggers(&row)?);
    }
    for row in fetch(INHERITANCE_QUERY).await? {
        let table = |at: usize| parse_qualified_name(&row, at, "an inheriting table");
        let is_partitioned = cells::parse_flag(&row, 4, "an inheriting table")?;
        catalog.add_inheritance(table(0)?, table(2)?, is_partitioned);
    }
    Ok(catalog)
}

/// Reads a row of [`foreign_keys_query`].
fn parse_foreign_key_column(row: &TextRow) -> Result<ForeignKeyColumn, TargetError> {
    let text = |at: usize| cells::required_text(row, at, "a foreign key");
    let table = |at: usize| parse_qualified_name(row, at, "a foreign key");
    Ok(ForeignKeyColumn {
        kind: SideEffectKind::from_action(text(7)?),
        name: text(6)?.to_owned(),
        from: table(0)?,
        from_column: text(2)?.to_owned(),
        child: TableName { schema: Some(text(0)?.to_owned()), name: text(1)?.to_owned() },
        to: table(3)?,
        to_column: text(5)?.to_owned(),
        // Compatible servers do not list the operators of a key.
        equals: row.get(9).and_then(Option::as_deref).unwrap_or("=").to_owned(),
        readable: cells::parse_flag(row, 8, "a foreign key")?,
    })
}

/// Returns the quoted name of a table, from the cells of its schema and name.
fn parse_qualified_name(row: &TextRow, at: usize, what: &'static str) -> Result<String, TargetError> {
    let text = |at: usize| Ok::<_, TargetError>(cells::required_text(row, at, what)?.to_owned());
    Ok(sql::quote_table(&TableName { schema: Some(text(at)?), name: text(at + 1)? }))
}

/// Reads a row of [`TRIGGERS_AND_RULES_QUERY`].
fn parse_triggers(row: &TextRow) -> Result<Vec<TriggerOrRule>, TargetError> {
    const TGTYPE_ROW: i64 = 1;
    const TGTYPE_BEFORE: i64 = 2;
    const TGTYPE_DELETE: i64 = 8;
    const TGTYPE_UPDATE: i64 = 16;
    const READ_OBJECT: &str = "a trigger or rule";
    let number: i64 = cells::parse_required_number(row, 3, READ_OBJECT)?;
    let (table, name) =
        (parse_qualified_name(row, 0, READ_OBJECT)?, cells::required_text(row, 2, READ_OBJECT)?);
    let is_instead = cells::parse_flag(row, 5, READ_OBJECT)?;
    let (events, kind) = if cells::parse_flag(row, 4, READ_OBJECT)? {
        // Command numbers in `pg_rewrite`.
        let events = [(number == 4, RowEvent::Delete), (number == 2, RowEvent::Update)];
        (events, if is_instead { SideEffectKind::RuleInstead } else { SideEffectKind::Rule })
    } else {
        let events = [
            (number & TGTYPE_DELETE != 0, RowEvent::Delete),
            (number & TGTYPE_UPDATE != 0, RowEvent::Update),
        ];
        let keeps = number & (TGTYPE_ROW | TGTYPE_BEFORE) == TGTYPE_ROW | TGTYPE_BEFORE;
        (events, if keeps { SideEffectKind::TriggerBefore } else { SideEffectKind::Trigger })
    };
    let hook = |event| TriggerOrRule { kind, table: table.clone(), name: name.to_owned(), event };
    Ok(events.into_iter().filter(|(is_one, _)| *is_one).map(|(_, event)| hook(event)).collect())
}
