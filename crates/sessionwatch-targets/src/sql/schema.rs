//! The schema as found in a database: what detection and `doctor` reason about. Filled by the targets, no SQL here.

use sessionwatch_core::suggest::nearest;

use super::{
    Dialect,
    tables::{ColumnKind, Table},
};
use crate::mapping::TableName;

/// Every table and view that the role can see.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The SQL of the database.
    pub dialect: Dialect,
    /// The address names schemas: what has no schema is looked for in those only.
    pub path_named: bool,
    /// Tables, in search-path order, then the others by name.
    pub tables: Vec<Table>,
}

impl Schema {
    /// The table of that name; without a schema, the first on the search path, else the only one of that name.
    #[must_use]
    pub fn find(&self, schema: Option<&str>, name: &str) -> Option<&Table> {
        let mut named = self.tables.iter().filter(|table| table.name == name);
        match schema {
            Some(schema) => named.find(|table| table.schema.as_deref() == Some(schema)),
            None => match self.meant(name).as_slice() {
                [first, ..] if first.search_path.is_some() => Some(first),
                [only] => Some(only),
                _ => None,
            },
        }
    }

    /// The tables that a name without a schema may mean: the first on the search path, else all of that name, unless the
    /// address says where to look.
    #[must_use]
    pub fn meant(&self, name: &str) -> Vec<&Table> {
        let named = || self.tables.iter().filter(|table| table.name == name);
        let first = named().filter(|table| table.search_path.is_some()).min_by_key(|table| table.search_path);
        match first {
            Some(first) => vec![first],
            None if self.path_named => vec![],
            None => named().collect(),
        }
    }

    /// The names of the schemas that have tables, in order.
    #[must_use]
    pub fn schemas(&self) -> Vec<&str> {
        let mut schemas: Vec<&str> = self.tables.iter().filter_map(|table| table.schema.as_deref()).collect();
        schemas.sort_unstable();
        schemas.dedup();
        schemas
    }

    /// The same, by both at once.
    #[must_use]
    pub fn table(&self, name: &TableName) -> Option<&Table> {
        self.find(name.schema.as_deref(), &name.name)
    }

    /// What the type of a column can hold; `Other` for one that is not there.
    #[must_use]
    pub fn kind(&self, table: &TableName, column: &str) -> ColumnKind {
        self.table(table)
            .and_then(|table| table.column(column))
            .map_or(ColumnKind::Other, |column| column.kind)
    }
}

/// Says of a schema that it is not there: its name, a similar one, and all that there are.
#[must_use]
pub fn missing_schema(schema: &str, others: &[&str]) -> String {
    let hint = nearest(schema, others.iter().copied());
    let named: Vec<String> = others.iter().map(|name| format!("`{name}`")).collect();
    let found = if named.is_empty() { "none".into() } else { named.join(", ") };
    format!("there is no schema `{schema}`{hint} (schemas: {found})")
}

#[cfg(test)]
mod tests;
