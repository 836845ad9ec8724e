//! What mends a finding on SQLite.

use super::Sqlite;
use crate::{
    mapping::{TableName, UsersMapping},
    sql::{
        dialect::remedies::{MendedTable, RemedyDialect},
        identifier,
        tables::{Equality, Table},
    },
};

impl RemedyDialect for Sqlite {
    fn builds_index_beside(&self, _: Option<&Table>) -> bool {
        false
    }

    fn compare_exactly(&self, _: &TableName, column: &str, _: Equality) -> String {
        format!("remake the table with {} TEXT, without COLLATE", identifier(column))
    }

    fn enforce_foreign_keys(&self) -> Option<&'static str> {
        Some("PRAGMA foreign_keys = ON;  -- in the application, on every connection")
    }

    fn add_foreign_key(&self, _: MendedTable<'_>, _: &str, _: &UsersMapping) -> String {
        "remake the table with REFERENCES … ON DELETE CASCADE: SQLite cannot add a foreign key".into()
    }

    fn analyze(&self, _: &TableName) -> Option<String> {
        None
    }

    fn creation_column(&self, _: MendedTable<'_>, _: &str) -> Option<String> {
        None
    }

    fn write_ahead_log(&self) -> Option<&'static str> {
        Some("PRAGMA journal_mode = WAL;  -- once, in the application")
    }
}
