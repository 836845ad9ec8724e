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
         pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_column_privilege(o.conrelid, a.attnum, 'SELECT')\n  \
         AND NOT {hidden},\n  \
         (SELECT pg_catalog.format('OPERATOR(%I.%s)', v.nspname, e.oprname) FROM pg_catalog.pg_operator AS e\n  \
         JOIN pg_catalog.pg_namespace AS v ON v.oid = e.oprnamespace WHERE e.oid = o.conpfeqop[k.at])\n\
         FROM pg_catalog.pg_constraint AS o JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid\n\
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace\n\
         JOIN pg_catalog.pg_class AS p ON p.oid = o.confrelid JOIN pg_catalog.pg_namespace AS m ON m.oid = p.relnamespace\n\
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
    let columns = fetch(&foreign_keys_query()).await?;
    columns.iter().filter_map(parse_foreign_key_column).for_each(|column| catalog.add_reference(column));
    for row in fetch(TRIGGERS_AND_RULES_QUERY).await? {
        catalog.add_triggers(parse_triggers(&row)?);
    }
    for row in fetch(INHERITANCE_QUERY).await? {
        if let [Some(schema), Some(name), Some(parents), Some(parent), partitioned] = row.as_slice() {
            let is_partitioned = partitioned.as_deref() == Some("t");
            catalog.add_inheritance(
                quote_qualified_name(schema, name),
                quote_qualified_name(parents, parent),
                is_partitioned,
            );
        }
    }
    Ok(catalog)
}

/// Reads a row of [`foreign_keys_query`].
fn parse_foreign_key_column(row: &TextRow) -> Option<ForeignKeyColumn> {
    let text = |at: usize| row.get(at).and_then(Option::as_deref);
    let table = |schema: usize| Some(quote_qualified_name(text(schema)?, text(schema + 1)?));
    Some(ForeignKeyColumn {
        kind: SideEffectKind::from_action(text(7).unwrap_or_default()),
        name: text(6)?.to_owned(),
        from: table(0)?,
        from_column: text(2)?.to_owned(),
        child: TableName { schema: text(0).map(str::to_owned), name: text(1)?.to_owned() },
        to: table(3)?,
        to_column: text(5)?.to_owned(),
        equals: text(9).unwrap_or("=").to_owned(),
        readable: text(8) == Some("t"),
    })
}

fn quote_qualified_name(schema: &str, name: &str) -> String {
    sql::quote_table(&TableName { schema: Some(schema.to_owned()), name: name.to_owned() })
}

/// Reads a row of [`TRIGGERS_AND_RULES_QUERY`].
fn parse_triggers(row: &TextRow) -> Result<Vec<TriggerOrRule>, TargetError> {
    const TGTYPE_ROW: i64 = 1;
    const TGTYPE_BEFORE: i64 = 2;
    const TGTYPE_DELETE: i64 = 8;
    const TGTYPE_UPDATE: i64 = 16;
    let text = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    let number: i64 = cells::parse_required_number(row, 3, "the type of a trigger or rule")?;
    let (events, kind) = if text(4) == "t" {
        // Command numbers in `pg_rewrite`.
        let events = [(number == 4, RowEvent::Delete), (number == 2, RowEvent::Update)];
        (events, if text(5) == "t" { SideEffectKind::RuleInstead } else { SideEffectKind::Rule })
    } else {
        let events = [
            (number & TGTYPE_DELETE != 0, RowEvent::Delete),
            (number & TGTYPE_UPDATE != 0, RowEvent::Update),
        ];
        let keeps = number & (TGTYPE_ROW | TGTYPE_BEFORE) == TGTYPE_ROW | TGTYPE_BEFORE;
        (events, if keeps { SideEffectKind::TriggerBefore } else { SideEffectKind::Trigger })
    };
    let hook = |event| TriggerOrRule {
        kind,
        table: quote_qualified_name(text(0), text(1)),
        name: text(2).to_owned(),
        event,
    };
    Ok(events.into_iter().filter(|(is_one, _)| *is_one).map(|(_, event)| hook(event)).collect())
}
