//! Fix statements of PostgreSQL.

use super::PostgresDialect;
use crate::{
    mapping::{TableName, UsersMapping},
    sql::{
        dialect::fix_statements::{FixDialect, TableToFix},
        quote_identifier, quote_table as quoted,
        table_info::{Equality, TableInfo, TableKind},
    },
};

impl FixDialect for PostgresDialect {
    fn supports_concurrent_index(&self, found: Option<&TableInfo>) -> bool {
        // PostgreSQL rejects CONCURRENTLY on partitioned tables and hypertables.
        found.is_some_and(TableInfo::is_one_heap)
    }

    fn set_exact_comparison(&self, table: &TableName, column: &str, equality: Equality) -> String {
        let (name, column) = (quoted(table), quote_identifier(column));
        let collation = if equality == Equality::Collation { " COLLATE \"C\"" } else { "" };
        format!("ALTER TABLE {name} ALTER COLUMN {column} TYPE text{collation};")
    }

    fn add_foreign_key(&self, sessions: TableToFix<'_>, user: &str, users: &UsersMapping) -> String {
        let table = quoted(sessions.name);
        let name = quote_identifier(&format!("{}_{user}_fkey", sessions.name.name));
        let add = format!(
            "ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE CASCADE",
            quote_identifier(user),
            quoted(&users.table),
            quote_identifier(&users.key)
        );
        if sessions.table.is_some_and(TableInfo::is_one_heap) {
            format!(
                "{add} NOT VALID;\nALTER TABLE {table} VALIDATE CONSTRAINT {name};  -- after removing the orphans"
            )
        } else {
            // Up to version 17, partitioned tables do not support NOT VALID foreign keys.
            format!("{add};  -- after removing the orphans; locks both tables while it reads the sessions")
        }
    }

    fn analyze_table(&self, table: &TableName) -> Option<String> {
        Some(format!("ANALYZE {};", quoted(table)))
    }

    fn creation_column_statement(&self, table: TableToFix<'_>, column: &str) -> Option<String> {
        let is_altered = |found: &TableInfo| matches!(found.kind, TableKind::Table | TableKind::Partitioned);
        table.table.is_some_and(is_altered).then(|| {
            format!(
                "ALTER TABLE {} ADD COLUMN {} timestamptz NOT NULL DEFAULT now();  -- if the framework allows that",
                quoted(table.name),
                quote_identifier(column)
            )
        })
    }
}
