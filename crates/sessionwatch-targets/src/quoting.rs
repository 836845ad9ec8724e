//! Quoting of names. Every connection is set up so that double quotes delimit names.

use crate::mapping::TableName;

/// Quotes an identifier.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a table name, with its schema if there is one.
#[must_use]
pub fn quote_table(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quote_identifier(schema), quote_identifier(&name.name)),
        None => quote_identifier(&name.name),
    }
}
