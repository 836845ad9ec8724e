//! Database schema as read by a backend, for detection and `doctor`.

use sessionwatch_core::suggest::did_you_mean;

use super::{
    Dialect,
    table_info::{ColumnKind, TableInfo},
};
use crate::mapping::TableName;

/// All tables and views that the role can see.
#[derive(Clone, Debug)]
pub struct DatabaseSchema {
    /// Dialect of the database.
    pub dialect: Dialect,
    /// `true` if the address names schemas: unqualified names are resolved in those only.
    pub has_named_search_path: bool,
    /// Tables on the search path in its order, then the others by name.
    pub tables: Vec<TableInfo>,
}

impl DatabaseSchema {
    /// Finds a table by name. Without a schema, the first on the search path wins, otherwise the only one
    /// with that name.
    #[must_use]
    pub fn find_table(&self, schema: Option<&str>, name: &str) -> Option<&TableInfo> {
        let mut named = self.tables.iter().filter(|table| table.name == name);
        match schema {
            Some(schema) => named.find(|table| table.schema.as_deref() == Some(schema)),
            None => match self.resolve_unqualified(name).as_slice() {
                [first, ..] if first.search_path_index.is_some() => Some(first),
                [only] => Some(only),
                _ => None,
            },
        }
    }

    /// Returns the tables that an unqualified name may mean: the first on the search path, otherwise all with
    /// that name, unless the address names schemas.
    #[must_use]
    pub fn resolve_unqualified(&self, name: &str) -> Vec<&TableInfo> {
        let named = || self.tables.iter().filter(|table| table.name == name);
        let first = named()
            .filter(|table| table.search_path_index.is_some())
            .min_by_key(|table| table.search_path_index);
        match first {
            Some(first) => vec![first],
            None if self.has_named_search_path => vec![],
            None => named().collect(),
        }
    }

    /// Returns the sorted names of all schemas with tables.
    #[must_use]
    pub fn schema_names(&self) -> Vec<&str> {
        let mut schemas: Vec<&str> = self.tables.iter().filter_map(|table| table.schema.as_deref()).collect();
        schemas.sort_unstable();
        schemas.dedup();
        schemas
    }

    /// Finds a table by its optionally qualified name.
    #[must_use]
    pub fn table(&self, name: &TableName) -> Option<&TableInfo> {
        self.find_table(name.schema.as_deref(), &name.name)
    }

    /// Returns the kind of a column, or `Other` if it does not exist.
    #[must_use]
    pub fn column_kind(&self, table: &TableName, column: &str) -> ColumnKind {
        self.table(table)
            .and_then(|table| table.column(column))
            .map_or(ColumnKind::Other, |column| column.kind)
    }
}

/// Returns the message for a missing schema: its name, a similar one, and all visible ones.
#[must_use]
pub fn missing_schema_message(schema: &str, others: &[&str], may_be_hidden: bool) -> String {
    let hint = did_you_mean(schema, others.iter().copied());
    let named: Vec<String> = others.iter().map(|name| format!("`{name}`")).collect();
    let found = if named.is_empty() { "none".into() } else { named.join(", ") };
    let hidden = if may_be_hidden { ", or the role cannot see it" } else { "" };
    format!("schema `{schema}` does not exist{hidden}{hint}; schemas: {found}")
}

#[cfg(test)]
mod tests;
