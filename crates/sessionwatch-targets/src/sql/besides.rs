//! The SQL that counts what goes along with sessions in other tables.

use super::{Selected, Sql, identifier, table};
use crate::side_effects::Reference;

impl Sql<'_> {
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
            let joined = joined(reference, &from, &to);
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
pub(super) fn joined(reference: &Reference, from: &str, to: &str) -> String {
    let columns = reference.from.1.iter().zip(&reference.to.1).zip(&reference.equals);
    let one = |((column, other), equals): ((&String, &String), &String)| {
        format!("{to}.{} {equals} {from}.{}", identifier(other), identifier(column))
    };
    columns.map(one).collect::<Vec<_>>().join(" AND ")
}
