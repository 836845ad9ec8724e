//! Fix statements of SQLite.

use super::SqliteDialect;
use crate::{
    mapping::{TableName, UsersMapping},
    sql::{
        dialect::fix_statements::{FixDialect, TableToFix},
        quote_identifier,
        table_info::{Equality, TableInfo},
    },
};

impl FixDialect for SqliteDialect {
    fn supports_concurrent_index(&self, _: Option<&TableInfo>) -> bool {
        false
    }

    fn set_exact_comparison(&self, _: &TableName, column: &str, _: Equality) -> String {
        format!("recreate the table with {} TEXT, without COLLATE", quote_identifier(column))
    }

    fn enforce_foreign_keys(&self) -> Option<&'static str> {
        Some("PRAGMA foreign_keys = ON;  -- in the application, on every connection")
    }

    fn add_foreign_key(&self, _: TableToFix<'_>, _: &str, _: &UsersMapping) -> String {
        "recreate the table with REFERENCES … ON DELETE CASCADE: SQLite cannot add a foreign key".into()
    }

    fn analyze_table(&self, _: &TableName) -> Option<String> {
        None
    }

    fn creation_column_statement(&self, _: TableToFix<'_>, _: &str) -> Option<String> {
        None
    }

    fn enable_wal(&self) -> Option<&'static str> {
        Some("PRAGMA journal_mode = WAL;  -- once, in the application")
    }
}
