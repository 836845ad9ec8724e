//! Dependencies of tables: the tables behind views, row-level security there, and functions of the target in
//! views, policies and expressions that the planner evaluates.

use std::collections::BTreeMap;

use super::{CatalogRow, PostgresRead, cell_flag, cell_text};
use crate::{
    error::TargetError,
    postgres::search_path::RoleSettings,
    sql::table_info::{TableInfo, TableKind},
};

/// Determines whether the database has user-defined views and functions. Built-in objects have OIDs below 16384
/// (`FirstNormalObjectId` in PostgreSQL's `access/transam.h`). Planning the two queries below costs more than
/// the rest of a check run, so they are skipped where possible.
const USER_OBJECTS_QUERY: &str = "
SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite AS r WHERE r.oid >= 16384),
       EXISTS (SELECT 1 FROM pg_catalog.pg_proc AS p WHERE p.oid >= 16384)";

/// Tables read by each view, with the row-level security that applies there to the view's owner, or to the
/// caller of a `security_invoker` view.
const VIEWS_QUERY: &str = "
SELECT v.oid, b.oid, m.nspname, b.relname, b.relkind,
       CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.unnest(v.reloptions) AS o(option)
                         WHERE o.option IN ('security_invoker=true', 'security_invoker=on', \
                         'security_invoker=1', 'security_invoker=yes'))
            THEN pg_catalog.row_security_active(b.oid)
            ELSE b.relrowsecurity AND NOT (w.rolsuper OR w.rolbypassrls)
                 AND (b.relforcerowsecurity OR NOT pg_catalog.pg_has_role(v.relowner, b.relowner, 'USAGE')) END,
       r.ev_action::text LIKE ANY (ARRAY['%:hasAggs true%', '%:hasDistinctOn true%', '%:distinctClause (%', \
       '%:groupClause (%',
         '%:groupingSets (%', '%:havingQual {%', '%:limitOffset {%', '%:limitCount {%', '%:setOperations {%',
         '%:hasTargetSRFs true%', '%:hasModifyingCTE true%', '%:inh false :inFromCl true%', '%:tablesample {%'])
         OR r.ev_action::text ~ ':rtekind [1-9]'
         OR NOT r.ev_action::text ~ ':jointree \\{FROMEXPR :fromlist \\(\\{RANGETBLREF :rtindex [0-9]+\\}\\) :quals ',
       r.ev_action::text ~ ':jointree \\{FROMEXPR :fromlist \\(\\{RANGETBLREF :rtindex [0-9]+\\}\\) :quals \\{'
FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace
JOIN pg_catalog.pg_roles w ON w.oid = v.relowner
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid <> v.oid
LEFT JOIN pg_catalog.pg_class b ON b.oid = d.refobjid AND b.relkind IN ('r', 'p', 'v', 'm', 'f')
LEFT JOIN pg_catalog.pg_namespace m ON m.oid = b.relnamespace
WHERE r.ev_type = '1' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ORDER BY 1, 2";

/// Functions, neither built in nor written in a superuser-only language, that are executed when a table is
/// read or a query on it is planned; for expressions with the expression tree. A permissive policy is not
/// evaluated beside one that is `true`, and policies of a partition do not apply when the parent is read.
const FUNCTIONS_QUERY: &str = "
WITH RECURSIVE code AS (
  SELECT p.oid, n.nspname || '.' || p.proname AS name, g.lanname = 'sql' AND p.proconfig IS NULL AS inlined
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language g ON g.oid = p.prolang
  WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND (p.prokind = 'a' OR g.lanname NOT IN \
  ('c', 'internal'))
), direct AS (
  SELECT d.classid, d.objid, c.* FROM code c
  JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = c.oid
  UNION ALL
  SELECT d.classid, d.objid, c.* FROM code c JOIN pg_catalog.pg_operator o ON o.oprcode = c.oid
  JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_operator'::regclass AND d.refobjid = o.oid
), called AS (
  SELECT * FROM direct
  UNION ALL
  SELECT d.classid, d.objid, c.oid, c.name, c.inlined FROM direct c
  JOIN pg_catalog.pg_constraint k ON c.classid = 'pg_constraint'::regclass AND k.oid = c.objid AND k.contypid <> 0
  JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid = k.contypid
), found(relid, kind, name, oid, inlined, tree) AS (
  SELECT r.ev_class, 'view', c.name, c.oid, c.inlined, NULL FROM called c
  JOIN pg_catalog.pg_rewrite r ON c.classid = 'pg_rewrite'::regclass AND r.oid = c.objid AND r.ev_type = '1'
  UNION ALL
  SELECT p.polrelid, CASE WHEN pg_catalog.row_security_active(p.polrelid) AND APPLIES(p) \
  AND NOT (p.polpermissive AND EXISTS (
      SELECT 1 FROM pg_catalog.pg_policy q WHERE q.polrelid = p.polrelid AND q.polcmd IN ('r', '*') AND q.polpermissive
      AND pg_catalog.pg_get_expr(q.polqual, q.polrelid) = 'true' AND APPLIES(q)))
    THEN 'policy' ELSE 'policy of others' END, c.name, c.oid, c.inlined, NULL
  FROM called c JOIN pg_catalog.pg_policy p ON c.classid = 'pg_policy'::regclass AND p.oid = c.objid \
  AND p.polcmd IN ('r', '*')
  UNION ALL
  SELECT i.indrelid, 'index', c.name, c.oid, c.inlined, pg_catalog.concat(i.indexprs::text, i.indpred::text) \
  FROM called c
  JOIN pg_catalog.pg_index i ON c.classid = 'pg_class'::regclass AND i.indexrelid = c.objid
  UNION ALL
  SELECT t.partrelid, 'partition key', c.name, c.oid, c.inlined, t.partexprs::text FROM called c
  JOIN pg_catalog.pg_partitioned_table t ON c.classid = 'pg_class'::regclass AND t.partrelid = c.objid
  UNION ALL
  SELECT s.stxrelid, 'statistics', c.name, c.oid, c.inlined, to_jsonb(s) ->> 'stxexprs' FROM called c
  JOIN pg_catalog.pg_statistic_ext s ON c.classid = 'pg_statistic_ext'::regclass AND s.oid = c.objid
), whole AS (
  SELECT f.relid AS root, f.* FROM found f
  UNION ALL
  SELECT h.inhparent, w.relid, w.kind, w.name, w.oid, w.inlined, w.tree FROM whole w \
  JOIN pg_catalog.pg_inherits h ON h.inhrelid = w.root
)
SELECT DISTINCT w.root, w.relid = w.root, n.nspname, c.relname, w.kind, w.name, w.oid, w.inlined, w.tree
FROM whole w JOIN pg_catalog.pg_class c ON c.oid = w.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 3, 4, 5, 6";

/// Definition of a view, or the relation behind one.
#[derive(Debug, Default)]
struct ViewDefinition {
    /// Relations that the view reads.
    bases: Vec<ViewBase>,
    /// `true` if the view groups, limits or joins rows.
    reduces_rows: bool,
    /// `true` if the view has a condition.
    filters_rows: bool,
}

/// A relation that a view reads.
#[derive(Debug)]
struct ViewBase {
    oid: String,
    name: String,
    kind: TableKind,
    /// `true` if row-level security hides rows from the view.
    has_hidden_rows: bool,
}

/// Dependencies of all tables of a database.
#[derive(Debug, Default)]
pub(super) struct RelationDependencies {
    views: BTreeMap<String, ViewDefinition>,
    executed_code: BTreeMap<String, Vec<String>>,
    /// Functions executed by policies that do not apply to the current role.
    policy_code: BTreeMap<String, Vec<String>>,
}

/// Reads the dependencies of all tables.
pub(super) async fn read_dependencies(session: &PostgresRead) -> Result<RelationDependencies, TargetError> {
    let functions = FUNCTIONS_QUERY
        .replace("APPLIES(p)", &policy_applies_condition("p"))
        .replace("APPLIES(q)", &policy_applies_condition("q"));
    let made = session.query_rows(USER_OBJECTS_QUERY).await?;
    let is_made = |at: usize| made.first().is_none_or(|row| cell_flag(row, at));
    let views = async { if is_made(0) { session.query_rows(VIEWS_QUERY).await } else { Ok(vec![]) } };
    let functions = async { if is_made(1) { session.query_rows(&functions).await } else { Ok(vec![]) } };
    let (views, functions) = tokio::try_join!(views, functions)?;
    let mut backgrounds = RelationDependencies::default();
    for row in &views {
        let Some(view) = cell_text(row, 0) else { continue };
        let behind = backgrounds.views.entry(view.to_owned()).or_default();
        behind.reduces_rows |= cell_flag(row, 6);
        behind.filters_rows |= cell_flag(row, 7);
        behind.bases.extend(parse_view_base(row));
    }
    for row in &functions {
        let Some(table) = cell_text(row, 0) else { continue };
        match parse_executed_function(row, session.role()) {
            Some(ExecutedFunction::Always(reason)) => {
                backgrounds.executed_code.entry(table.to_owned()).or_default().push(reason);
            }
            Some(ExecutedFunction::ForOthers(reason)) => {
                backgrounds.policy_code.entry(table.to_owned()).or_default().push(reason);
            }
            None => {}
        }
    }
    Ok(backgrounds)
}

/// Returns the condition that a policy applies to the current role.
fn policy_applies_condition(policy: &str) -> String {
    format!(
        "(0 = ANY({policy}.polroles) OR EXISTS (SELECT 1 FROM pg_catalog.unnest({policy}.polroles) AS role(oid) \
         WHERE pg_catalog.pg_has_role(role.oid, 'USAGE')))"
    )
}

/// A function that reading a table executes, as a clause for display.
#[derive(Debug, PartialEq, Eq)]
enum ExecutedFunction {
    /// Executed for every reader of the table.
    Always(String),
    /// Executed only if the table is read through a view whose owner is subject to its row-level security.
    ForOthers(String),
}

fn parse_view_base(row: &CatalogRow) -> Option<ViewBase> {
    Some(ViewBase {
        oid: cell_text(row, 1)?.to_owned(),
        name: format!("{}.{}", cell_text(row, 2)?, cell_text(row, 3)?),
        kind: super::parse_table_kind(cell_text(row, 4)?),
        has_hidden_rows: cell_flag(row, 5),
    })
}

/// Describes the function in a row of [`FUNCTIONS_QUERY`], if reading the table executes it.
fn parse_executed_function(row: &CatalogRow, role: &RoleSettings) -> Option<ExecutedFunction> {
    let (table, function) = (format!("`{}.{}`", cell_text(row, 2)?, cell_text(row, 3)?), cell_text(row, 5)?);
    let (itself, inlined) = (cell_flag(row, 1), cell_flag(row, 7));
    let policy = format!("a row-level security policy on {table} calls `{function}`");
    match cell_text(row, 4)? {
        "view" => Some(ExecutedFunction::Always(format!("the view {table} calls `{function}`"))),
        "policy" => itself.then_some(ExecutedFunction::Always(policy)),
        "policy of others" => itself.then_some(ExecutedFunction::ForOthers(policy)),
        kind => {
            // An inlined function may contain further calls, which would run with a superuser's privileges.
            let planned =
                is_constant_call(cell_text(row, 8)?, cell_text(row, 6)?) || (inlined && role.is_superuser);
            let reason = format!("the planner evaluates `{function}` for the {kind} expression of {table}");
            planned.then_some(ExecutedFunction::Always(reason))
        }
    }
}

/// Returns `true` if an expression calls a function without any column in its arguments, so that planning a
/// query executes the function.
fn is_constant_call(tree: &str, function: &str) -> bool {
    let called = [format!(":funcid {function} "), format!(":opfuncid {function} ")];
    let starts = called.iter().flat_map(|mark| tree.match_indices(mark.as_str()));
    starts.into_iter().any(|(at, _)| {
        let start = tree[..at].rfind('{').unwrap_or(0);
        !first_node(&tree[start..]).contains("{VAR ")
    })
}

/// Returns the node that starts with an opening brace.
fn first_node(tree: &str) -> &str {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, byte) in tree.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' if depth <= 1 => return &tree[..=at],
            b'}' => depth -= 1,
            _ => {}
        }
    }
    tree
}

impl RelationDependencies {
    /// Adds the dependencies of a table or view.
    pub(super) fn add_dependencies(&self, oid: &str, table: &mut TableInfo) {
        let mut seen = vec![oid.to_owned()];
        table.executed_code = self.executed_code.get(oid).cloned().unwrap_or_default();
        if table.kind == TableKind::MaterializedView {
            // A materialized view stores its rows, so reading it does not execute its query.
            table.executed_code.retain(|code| !code.starts_with("the view "));
            table.visibility_caveat =
                Some(format!("`{}` is a materialized view with the data of its last refresh", table.name));
        }
        self.follow_view(oid, table, &mut seen);
        if let (Some(doubt), false) = (&mut table.visibility_caveat, table.base_tables.is_empty()) {
            doubt.push_str(&format!(" (based on `{}`)", table.base_tables.join("`, `")));
        }
    }

    fn follow_view(&self, oid: &str, table: &mut TableInfo, seen: &mut Vec<String>) {
        let Some(behind) = self.views.get(oid) else { return };
        if behind.reduces_rows {
            table.visibility_caveat.get_or_insert_with(|| {
                format!("`{}` is a view that groups, limits or joins rows", table.name)
            });
        }
        table.is_filtered |= behind.filters_rows;
        for base in &behind.bases {
            if seen.contains(&base.oid) {
                continue;
            }
            seen.push(base.oid.clone());
            if base.has_hidden_rows {
                table.executed_code.extend(self.policy_code.get(&base.oid).into_iter().flatten().cloned());
                table.visibility_caveat.get_or_insert_with(|| {
                    format!(
                        "`{}` is a view from which row-level security on `{}` hides rows",
                        table.name, base.name
                    )
                });
            }
            match base.kind {
                TableKind::View => {}
                TableKind::MaterializedView => {
                    table.visibility_caveat.get_or_insert_with(|| {
                        format!(
                            "`{}` reads the materialized view `{}` with the data of its last refresh",
                            table.name, base.name
                        )
                    });
                    table.base_tables.push(base.name.clone());
                    continue;
                }
                _ => table.base_tables.push(base.name.clone()),
            }
            if table.kind != TableKind::MaterializedView {
                table.executed_code.extend(self.executed_code.get(&base.oid).into_iter().flatten().cloned());
            }
            self.follow_view(&base.oid, table, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_without_columns_are_constant() {
        let constant = "({OPEXPR :opno 654 :opfuncid 1258 :args ({VAR :varno 1} {FUNCEXPR :funcid 77 :args \
                        ({CONST :constvalue 4 [ 1 \\} ]})})})";
        let column = "({FUNCEXPR :funcid 77 :args ({RELABELTYPE :arg {VAR :varno 1 :varattno 2} :resulttype \
                      25} {CONST :constvalue 4 [ 1 ]})})";
        assert!(is_constant_call(constant, "77"));
        assert!(!is_constant_call(column, "77") && !is_constant_call(column, "7"));
        assert!(!is_constant_call(constant, "1258"));
        assert!(is_constant_call("{FUNCEXPR :funcid 77 :args <>} {VAR :varno 1}", "77"));
        assert!(
            is_constant_call("{FUNCEXPR :funcid 77 :args ({CONST", "77"),
            "a truncated tree is not trusted"
        );
    }
}
