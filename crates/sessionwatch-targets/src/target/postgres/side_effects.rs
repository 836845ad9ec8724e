//! The queries about foreign keys, triggers and rules.

use super::visibility::{Command, hides_rows};

/// Triggers and rules on `DELETE` and `UPDATE` that run for an ordinary session: schema and name of the table, name, type of
/// the trigger or event of the rule, whether it is a rule, whether that runs instead.
pub(in crate::target) const HOOKS: &str = "
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
pub(in crate::target) const INHERITS: &str = "
SELECT n.nspname, c.relname, o.nspname, p.relname, p.relkind = 'p'
FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_namespace AS o ON o.oid = p.relnamespace
WHERE c.relkind IN ('r', 'p', 'f')";

/// Foreign keys, a line a column: schema and name of the table that refers, its column, schema and name of the other, its
/// column, name, action, whether every row of the column can be read, the operator that compares the other column with it.
/// Copies that parts of tables have are left out.
pub(in crate::target) fn references() -> String {
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
