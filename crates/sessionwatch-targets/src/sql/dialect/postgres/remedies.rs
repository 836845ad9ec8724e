//! What mends a finding on PostgreSQL.

use super::Postgres;
use crate::{
    mapping::{TableName, UsersMapping},
    sql::{
        dialect::remedies::{MendedTable, RemedyDialect},
        identifier, table as quoted,
        tables::{Equality, Table, TableKind},
    },
};

impl RemedyDialect for Postgres {
    fn builds_index_beside(&self, found: Option<&Table>) -> bool {
        // Neither a partitioned table nor a hypertable can have one made so.
        found.is_some_and(Table::is_one_heap)
    }

    fn compare_exactly(&self, table: &TableName, column: &str, equality: Equality) -> String {
        let (name, column) = (quoted(table), identifier(column));
        let collation = if equality == Equality::Collation { " COLLATE \"C\"" } else { "" };
        format!("ALTER TABLE {name} ALTER COLUMN {column} TYPE text{collation};")
    }

    fn add_foreign_key(&self, sessions: MendedTable<'_>, user: &str, users: &UsersMapping) -> String {
        let table = quoted(sessions.name);
        let name = identifier(&format!("{}_{user}_fkey", sessions.name.name));
        let add = format!(
            "ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE CASCADE",
            identifier(user),
            quoted(&users.table),
            identifier(&users.key)
        );
        if sessions.found.is_some_and(Table::is_one_heap) {
            format!(
                "{add} NOT VALID;\nALTER TABLE {table} VALIDATE CONSTRAINT {name};  -- after the orphans are gone"
            )
        } else {
            // Up to version 17, a partitioned table cannot have one that is validated later.
            format!("{add};  -- after the orphans are gone; it locks both tables while it reads the sessions")
        }
    }

    fn analyze(&self, table: &TableName) -> Option<String> {
        Some(format!("ANALYZE {};", quoted(table)))
    }

    fn creation_column(&self, table: MendedTable<'_>, column: &str) -> Option<String> {
        let is_altered = |found: &Table| matches!(found.kind, TableKind::Table | TableKind::Partitioned);
        table.found.is_some_and(is_altered).then(|| {
            format!(
                "ALTER TABLE {} ADD COLUMN {} timestamptz NOT NULL DEFAULT now();  -- if the framework allows for it",
                quoted(table.name),
                identifier(column)
            )
        })
    }
}
