//! The schema as found in a database: what detection and `doctor` reason about. Filled by the targets, no SQL here.

use sessionwatch_core::suggest::did_you_mean;

use super::{
    Dialect,
    tables::{ColumnKind, TableInfo},
};
use crate::mapping::TableName;

/// Every table and view that the role can see.
#[derive(Clone, Debug)]
pub struct DatabaseSchema {
    /// The SQL of the database.
    pub dialect: Dialect,
    /// The address names schemas: what has no schema is looked for in those only.
    pub has_named_search_path: bool,
    /// Tables, in search-path order, then the others by name.
    pub tables: Vec<TableInfo>,
}

impl DatabaseSchema {
    /// The table of that name; without a schema, the first on the search path, else the only one of that name.
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

    /// The tables that a name without a schema may mean: the first on the search path, else all of that name, unless the
    /// address says where to look.
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

    /// The names of the schemas that have tables, in order.
    #[must_use]
    pub fn schema_names(&self) -> Vec<&str> {
        let mut schemas: Vec<&str> = self.tables.iter().filter_map(|table| table.schema.as_deref()).collect();
        schemas.sort_unstable();
        schemas.dedup();
        schemas
    }

    /// The same, by both at once.
    #[must_use]
    pub fn table(&self, name: &TableName) -> Option<&TableInfo> {
        self.find_table(name.schema.as_deref(), &name.name)
    }

    /// What the type of a column can hold; `Other` for one that is not there.
    #[must_use]
    pub fn column_kind(&self, table: &TableName, column: &str) -> ColumnKind {
        self.table(table)
            .and_then(|table| table.column(column))
            .map_or(ColumnKind::Other, |column| column.kind)
    }
}

/// Says of a schema that it is not there: its name, a similar one, and all that there are.
#[must_use]
pub fn missing_schema_message(schema: &str, others: &[&str]) -> String {
    let hint = did_you_mean(schema, others.iter().copied());
    let named: Vec<String> = others.iter().map(|name| format!("`{name}`")).collect();
    let found = if named.is_empty() { "none".into() } else { named.join(", ") };
    format!("there is no schema `{schema}`{hint} (schemas: {found})")
}

#[cfg(test)]
mod tests;
