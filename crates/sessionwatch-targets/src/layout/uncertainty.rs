//! Uncertainty: why the detected session table may be the wrong one, and which configuration settles that.

use super::{
    detect::LayoutCandidate,
    table_classification::{self, TableNameMeaning},
};
use crate::{
    mapping::TableName,
    sql::{database_schema::DatabaseSchema, table_info::TableKind},
};

/// The consequence of uncertainty for check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UncertaintyLevel {
    /// Too little evidence: no finding in this table is certain to be about sessions.
    Weak,
    /// Another table may hold the sessions: failing checks are valid, but passing checks say nothing about
    /// the other table.
    Ambiguous,
    /// Another table off the search path may hold the sessions: checks run normally, but no changes are
    /// allowed.
    OffSearchPath,
}

/// Reason why the detected session table may be the wrong one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutUncertainty {
    /// Consequence for check runs.
    pub level: UncertaintyLevel,
    /// Reason, with the names of the tables.
    pub reason: String,
    /// Tables that may hold the sessions, best first, each with its profile.
    pub tables: Vec<(TableName, String)>,
}

impl std::fmt::Display for LayoutUncertainty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl LayoutUncertainty {
    /// Assesses the chosen candidate. Returns `None` if the choice is certain, or comes from the
    /// configuration.
    #[must_use]
    pub fn assess(
        schema: &DatabaseSchema,
        chosen: &LayoutCandidate,
        others: &[LayoutCandidate],
    ) -> Option<Self> {
        if chosen.is_named_in_config {
            return None;
        }
        let mut tables = vec![(chosen.mapping.sessions.clone(), chosen.mapping.profile.clone())];
        let mut titles = vec![&chosen.title];
        // Several profiles may match one table, which is listed once.
        for other in others.iter().filter(|other| is_rival(schema, chosen, other)) {
            if tables.iter().all(|(table, _)| *table != other.mapping.sessions) {
                tables.push((other.mapping.sessions.clone(), other.mapping.profile.clone()));
                titles.push(&other.title);
            }
        }
        let on_path =
            |table: &TableName| schema.table(table).is_some_and(|table| table.search_path_index.is_some());
        let mut all = tables.iter().map(|(table, _)| table);
        let level = if !chosen.missing_evidence.is_empty() {
            UncertaintyLevel::Weak
        } else if tables.len() == 1 {
            return None;
        } else if all.next().is_some_and(on_path) && !all.any(on_path) {
            UncertaintyLevel::OffSearchPath
        } else {
            UncertaintyLevel::Ambiguous
        };
        let named: Vec<String> =
            tables.iter().zip(&titles).map(|((table, _), title)| format!("`{table}` ({title})")).collect();
        let reason = match (level, tables.len()) {
            (UncertaintyLevel::Weak, 1) => format!(
                "too little evidence that `{}` holds the sessions of {}: {}",
                chosen.mapping.sessions,
                chosen.title,
                chosen.missing_evidence.join("; ")
            ),
            (UncertaintyLevel::Weak, _) => format!(
                "several tables may hold the sessions, with too little evidence for any of them: {}",
                named.join(", ")
            ),
            _ => format!("several tables may hold the sessions: {}", named.join(", ")),
        };
        Some(Self { level, reason, tables })
    }

    /// Returns alternative pairs of configuration lines, one for each table.
    #[must_use]
    pub fn config_alternatives(&self) -> Vec<[String; 2]> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let lines = |(table, profile): &(TableName, String)| {
            [format!("profile = {}", quoted(profile)), format!("sessions = {}", quoted(&table.to_string()))]
        };
        self.tables.iter().map(lines).collect()
    }

    /// Returns advice on how to settle the choice.
    #[must_use]
    pub fn hint(&self) -> String {
        let alternatives: Vec<String> = self
            .config_alternatives()
            .iter()
            .map(|[profile, sessions]| format!("  {profile}\n  {sessions}"))
            .collect();
        format!(
            "name the session table under [[target]] in sessionwatch.toml:\n{}",
            alternatives.join("\nor\n")
        )
    }
}

/// Returns `true` if another table may hold the sessions as well. A view of a table does not compete with it.
fn is_rival(schema: &DatabaseSchema, chosen: &LayoutCandidate, other: &LayoutCandidate) -> bool {
    let is_view = |candidate: &LayoutCandidate| {
        let kind = schema.table(&candidate.mapping.sessions).map(|table| table.kind);
        matches!(kind, Some(TableKind::View | TableKind::MaterializedView))
    };
    let called = |candidate: &LayoutCandidate| {
        table_classification::classify_table_name(&candidate.mapping.sessions.name)
            == TableNameMeaning::Sessions
    };
    let plausible = other.missing_evidence.is_empty()
        || !chosen.missing_evidence.is_empty()
        // With little evidence, a table named like sessions still competes with one that is not.
        || called(other) && !called(chosen);
    plausible && (is_view(chosen) || !is_view(other))
}

#[cfg(test)]
mod tests;
