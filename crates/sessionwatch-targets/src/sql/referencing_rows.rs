//! SQL that counts rows of other tables that refer to sessions.

use super::{QueryBuilder, SelectionQuery, quote_identifier, quote_table};
use crate::side_effects::ForeignKeyEdge;

impl QueryBuilder<'_> {
    /// Returns the query that counts the rows which refer to the selected sessions, through a path of foreign
    /// keys.
    #[must_use]
    pub fn count_referencing_rows_query(
        &self,
        path: &[ForeignKeyEdge],
        selection: SelectionQuery<'_>,
    ) -> String {
        let SelectionQuery { selection, revoke, row_key } = selection;
        let sessions = quote_table(&self.mapping.sessions);
        let is_selected = self.selection_condition(selection, revoke, row_key);
        let mut condition = String::new();
        for (turn, reference) in path.iter().enumerate() {
            let (from, to) =
                (format!("c{}", turn + 1), if turn == 0 { "s".into() } else { format!("c{turn}") });
            let joined = join_condition(reference, &from, &to);
            condition = if turn == 0 {
                format!("EXISTS (SELECT 1 FROM {sessions} AS s WHERE {joined} AND ({is_selected}))")
            } else {
                format!(
                    "EXISTS (SELECT 1 FROM {} AS {to} WHERE {joined} AND {condition})",
                    reference.referenced.0
                )
            };
        }
        let last = path.last().map_or(sessions.as_str(), |reference| reference.referencing.0.as_str());
        format!("SELECT COUNT(*) FROM {last} AS c{} WHERE {condition}", path.len())
    }
}

/// Returns the condition that a row refers to another one, with the operators of the foreign key.
pub(super) fn join_condition(reference: &ForeignKeyEdge, from: &str, to: &str) -> String {
    let columns =
        reference.referencing.1.iter().zip(&reference.referenced.1).zip(&reference.equality_operators);
    let one = |((column, other), equals): ((&String, &String), &String)| {
        format!("{to}.{} {equals} {from}.{}", quote_identifier(other), quote_identifier(column))
    };
    columns.map(one).collect::<Vec<_>>().join(" AND ")
}
