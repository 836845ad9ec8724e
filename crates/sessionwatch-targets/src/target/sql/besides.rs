//! The SQL that counts what goes along with sessions in other tables.

use super::{Sql, identifier, table};
use crate::target::{selecting::Selected, side_effects::Reference};

impl Sql<'_> {
    /// At most one row about the sequence that a column of row ids takes its numbers from: its name, the greatest number that
    /// it holds, the greatest that it gave (or that stands in the table, where the role may not ask the sequence), and the
    /// sessions that users created in the last hour.
    #[must_use]
    pub fn row_ids(&self, id: &str) -> String {
        let sessions = table(&self.mapping.sessions);
        let lately = self.created_lately().map_or("NULL".into(), |lately| {
            format!("(SELECT COUNT(*) FROM {} WHERE {lately})", self.sessions())
        });
        format!(
            "SELECT pg_catalog.quote_ident(c.relname)::text, q.seqmax,\n  \
             GREATEST((SELECT MAX(s.{column})::bigint FROM {sessions} AS s),\n  \
             CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT,USAGE') THEN pg_catalog.pg_sequence_last_value(c.oid::regclass) END), {lately}\n\
             FROM pg_catalog.pg_sequence AS q\nJOIN pg_catalog.pg_class AS c ON c.oid = q.seqrelid\n\
             JOIN pg_catalog.pg_depend AS d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')\n\
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid\n\
             WHERE d.refobjid = {regclass}::regclass AND a.attname = {name} AND q.seqincrement > 0 AND NOT q.seqcycle\nLIMIT 1",
            column = identifier(id),
            regclass = self.string(&sessions),
            name = self.string(id),
        )
    }

    /// How many rows refer to the sessions that an action would touch, through foreign keys that lead from one to the next.
    #[must_use]
    pub fn referring(&self, path: &[Reference], selected: Selected<'_>) -> String {
        let Selected { chosen, revoke, addressing } = selected;
        let sessions = table(&self.mapping.sessions);
        let chosen = self.chosen(chosen, revoke, addressing);
        let mut condition = String::new();
        for (turn, reference) in path.iter().enumerate() {
            let (from, to) =
                (format!("c{}", turn + 1), if turn == 0 { "s".into() } else { format!("c{turn}") });
            let joined = joined(reference, (&from, &to));
            condition = if turn == 0 {
                format!("EXISTS (SELECT 1 FROM {sessions} AS s WHERE {joined} AND ({chosen}))")
            } else {
                format!("EXISTS (SELECT 1 FROM {} AS {to} WHERE {joined} AND {condition})", reference.to.0)
            };
        }
        let last = path.last().map_or(sessions.as_str(), |reference| reference.from.0.as_str());
        format!("SELECT COUNT(*) FROM {last} AS c{} WHERE {condition}", path.len())
    }
}

/// The condition that a row refers to another one, as the database compares them.
pub(super) fn joined(reference: &Reference, (from, to): (&str, &str)) -> String {
    let columns = reference.from.1.iter().zip(&reference.to.1).zip(&reference.equals);
    let one = |((column, other), equals): ((&String, &String), &String)| {
        format!("{to}.{} {equals} {from}.{}", identifier(other), identifier(column))
    };
    columns.map(one).collect::<Vec<_>>().join(" AND ")
}
