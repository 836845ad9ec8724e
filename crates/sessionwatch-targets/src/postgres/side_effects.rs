//! Foreign keys, triggers and rules, as the catalog has them.

use super::visibility::{Command, hides_rows};
use crate::{
    cells::{self, TextRow},
    error::TargetError,
    mapping::TableName,
    side_effects::{Catalog, Event, Hook, Kind, ReferenceColumn},
    sql,
};

/// Triggers and rules on `DELETE` and `UPDATE` that run for an ordinary session: schema and name of the table, name, type of
/// the trigger or event of the rule, whether it is a rule, whether that runs instead.
const HOOKS: &str = "
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

/// Tables that inherit from others, or are parts of them: schema and name, then those of the parent, and whether that is
/// partitioned.
const INHERITS: &str = "
SELECT n.nspname, c.relname, o.nspname, p.relname, p.relkind = 'p'
FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_namespace AS o ON o.oid = p.relnamespace
WHERE c.relkind IN ('r', 'p', 'f')";

/// Foreign keys, a line a column: schema and name of the table that refers, its column, schema and name of the other, its
/// column, name, action, whether every row of the column can be read, the operator that compares the other column with it.
/// Copies that parts of tables have are left out.
fn references() -> String {
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
        hidden = hides_rows("o.conrelid", Command::Select)
    )
}

/// Reads the catalog with queries that `fetch` answers.
pub(super) async fn read(
    mut fetch: impl AsyncFnMut(&str) -> Result<Vec<TextRow>, TargetError>,
) -> Result<Catalog, TargetError> {
    let mut catalog = Catalog::default();
    let columns = fetch(&references()).await?;
    columns.iter().filter_map(reference_column).for_each(|column| catalog.add_reference(column));
    for row in fetch(HOOKS).await? {
        catalog.add_hooks(hooks(&row)?);
    }
    for row in fetch(INHERITS).await? {
        if let [Some(schema), Some(name), Some(parents), Some(parent), partitioned] = row.as_slice() {
            let is_partitioned = partitioned.as_deref() == Some("t");
            catalog.add_inheritance(named(schema, name), named(parents, parent), is_partitioned);
        }
    }
    Ok(catalog)
}

/// Reads a row of [`references`].
fn reference_column(row: &TextRow) -> Option<ReferenceColumn> {
    let text = |at: usize| row.get(at).and_then(Option::as_deref);
    let table = |schema: usize| Some(named(text(schema)?, text(schema + 1)?));
    Some(ReferenceColumn {
        kind: Kind::of_action(text(7).unwrap_or_default()),
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

fn named(schema: &str, name: &str) -> String {
    sql::table(&TableName { schema: Some(schema.to_owned()), name: name.to_owned() })
}

/// Reads a row of [`HOOKS`]: schema and name of the table, name, type of the trigger or event of the rule, whether it is a rule,
/// whether that runs instead.
fn hooks(row: &TextRow) -> Result<Vec<Hook>, TargetError> {
    const ROW: i64 = 1;
    const BEFORE: i64 = 2;
    const DELETE: i64 = 8;
    const UPDATE: i64 = 16;
    let text = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    let number: i64 = cells::required(row, 3, "the type of a trigger or rule")?;
    let (events, kind) = if text(4) == "t" {
        // The numbers of commands in `pg_rewrite`.
        let events = [(number == 4, Event::Delete), (number == 2, Event::Update)];
        (events, if text(5) == "t" { Kind::RuleInstead } else { Kind::Rule })
    } else {
        let events = [(number & DELETE != 0, Event::Delete), (number & UPDATE != 0, Event::Update)];
        let keeps = number & (ROW | BEFORE) == ROW | BEFORE;
        (events, if keeps { Kind::TriggerBefore } else { Kind::Trigger })
    };
    let hook = |event| Hook { kind, table: named(text(0), text(1)), name: text(2).to_owned(), event };
    Ok(events.into_iter().filter(|(is_one, _)| *is_one).map(|(_, event)| hook(event)).collect())
}
