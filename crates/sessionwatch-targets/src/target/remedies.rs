//! Remedies: statements that mend what `doctor` finds, for their owner to run.

use super::{
    layout::Layout,
    sql::{identifier, table as quoted},
};
use crate::profile::{
    mapping::{TableName, UsersMapping},
    schema::{Dialect, Equality, Table, TableKind},
};

/// Writes statements about the tables of one target.
#[derive(Clone, Copy, Debug)]
pub struct Remedies<'a> {
    layout: &'a Layout,
}

/// Whether all rows are in the table itself, and none in partitions, chunks or tables that inherit from it.
#[must_use]
pub fn is_one_heap(table: &Table) -> bool {
    table.kind == TableKind::Table && !table.inherited
}

impl<'a> Remedies<'a> {
    /// For this layout.
    #[must_use]
    pub const fn new(layout: &'a Layout) -> Self {
        Self { layout }
    }

    fn sessions(&self) -> &'a TableName {
        &self.layout.candidate.mapping.sessions
    }

    fn found(&self) -> Option<&'a Table> {
        self.layout.schema.table(self.sessions())
    }

    /// Grants a privilege, written as `PRIVILEGE ON what`, to a role.
    #[must_use]
    pub fn grant(&self, privilege: &str, role: &str) -> String {
        format!("GRANT {privilege} TO {};", identifier(role))
    }

    /// Lets a role see every row of a table, given as statements name it.
    #[must_use]
    pub fn show_rows(&self, table: &str, role: Option<&str>) -> String {
        let role = role.map_or("ROLE".into(), identifier);
        format!("CREATE POLICY sessionwatch ON {table} FOR SELECT TO {role} USING (true);")
    }

    /// Lets a role see and write every row of a table, given as statements name it.
    #[must_use]
    pub fn open_rows(&self, table: &str, role: &str) -> String {
        format!(
            "CREATE POLICY sessionwatch ON {table} TO {} USING (true) WITH CHECK (true);",
            identifier(role)
        )
    }

    /// Takes from a role, or from everybody, the right to make objects in a schema.
    #[must_use]
    pub fn revoke_create(&self, schema: &str, role: Option<&str>) -> String {
        format!(
            "REVOKE CREATE ON SCHEMA {} FROM {};",
            identifier(schema),
            role.map_or("PUBLIC".into(), identifier)
        )
    }

    /// Makes an index on a column of the sessions.
    #[must_use]
    pub fn create_index(&self, is_unique: bool, column: &str) -> String {
        // Neither SQLite nor a partitioned table nor a hypertable can have one made beside the application's work.
        let beside = match self.layout.schema.dialect {
            Dialect::Postgres => self.found().is_some_and(is_one_heap),
            Dialect::Sqlite => false,
        };
        let concurrently = if beside { "CONCURRENTLY " } else { "" };
        let (unique, ending) = if is_unique { ("UNIQUE ", "key") } else { ("", "idx") };
        let sessions = self.sessions();
        let name = identifier(&format!("{}_{column}_{ending}", sessions.name));
        format!("CREATE {unique}INDEX {concurrently}{name} ON {} ({});", quoted(sessions), identifier(column))
    }

    /// Removes an index.
    #[must_use]
    pub fn drop_index(&self, name: &str) -> String {
        format!("DROP INDEX {};", identifier(name))
    }

    /// Lets the database compare tokens byte for byte.
    #[must_use]
    pub fn compare_tokens_exactly(&self) -> String {
        let token = &self.layout.candidate.mapping.token;
        let (name, column) = (quoted(self.sessions()), identifier(token));
        let equality = self.found().map_or(Equality::Exact, |table| table.equality(token));
        match (self.layout.schema.dialect, equality) {
            (Dialect::Postgres, Equality::Collation) => {
                format!("ALTER TABLE {name} ALTER COLUMN {column} TYPE text COLLATE \"C\";")
            }
            (Dialect::Postgres, _) => format!("ALTER TABLE {name} ALTER COLUMN {column} TYPE text;"),
            (Dialect::Sqlite, _) => format!("remake the table with {column} TEXT, without COLLATE"),
        }
    }

    /// What to do where foreign keys are checked only on connections that ask for it.
    #[must_use]
    pub fn enforce_foreign_keys(&self) -> &'static str {
        "PRAGMA foreign_keys = ON;  -- in the application, on every connection"
    }

    /// Lets a foreign key remove the sessions of a user who is deleted.
    #[must_use]
    pub fn cascade(&self, key: &str, user: &str, users: &UsersMapping) -> String {
        format!(
            "ALTER TABLE {} DROP CONSTRAINT {1}, ADD CONSTRAINT {1} FOREIGN KEY ({2}) REFERENCES {3} ({4}) ON DELETE CASCADE;",
            quoted(self.sessions()),
            identifier(key),
            identifier(user),
            quoted(&users.table),
            identifier(&users.key)
        )
    }

    /// Makes a foreign key to the users.
    #[must_use]
    pub fn add_foreign_key(&self, user: &str, users: &UsersMapping) -> String {
        if let Dialect::Sqlite = self.layout.schema.dialect {
            return "remake the table with REFERENCES … ON DELETE CASCADE: SQLite cannot add a foreign key"
                .into();
        }
        let sessions = quoted(self.sessions());
        let name = identifier(&format!("{}_{user}_fkey", self.sessions().name));
        let add = format!(
            "ALTER TABLE {sessions} ADD CONSTRAINT {name} FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE CASCADE",
            identifier(user),
            quoted(&users.table),
            identifier(&users.key)
        );
        if self.found().is_some_and(is_one_heap) {
            format!(
                "{add} NOT VALID;\nALTER TABLE {sessions} VALIDATE CONSTRAINT {name};  -- after the orphans are gone"
            )
        } else {
            // Up to version 17, a partitioned table cannot have one that is validated later.
            format!("{add};  -- after the orphans are gone; it locks both tables while it reads the sessions")
        }
    }

    /// Lets the triggers of a foreign key run again.
    #[must_use]
    pub fn enable_triggers(&self, users: &UsersMapping) -> String {
        format!(
            "ALTER TABLE {} ENABLE TRIGGER ALL;\nALTER TABLE {} ENABLE TRIGGER ALL;\n-- then look for orphans: `check --deep`",
            quoted(self.sessions()),
            quoted(&users.table)
        )
    }

    /// Checks a foreign key for the rows that are there.
    #[must_use]
    pub fn validate(&self, key: &str) -> String {
        format!("ALTER TABLE {} VALIDATE CONSTRAINT {};", quoted(self.sessions()), identifier(key))
    }

    /// Lets the planner know the size of the table; nothing where there is no such thing.
    #[must_use]
    pub fn analyze(&self) -> Option<String> {
        match self.layout.schema.dialect {
            Dialect::Postgres => Some(format!("ANALYZE {};", quoted(self.sessions()))),
            Dialect::Sqlite => None,
        }
    }

    /// Adds a column that says when a session was created.
    #[must_use]
    pub fn add_creation(&self, column: &str) -> String {
        match (self.layout.schema.dialect, self.found().map(|table| table.kind)) {
            (Dialect::Postgres, Some(TableKind::Table | TableKind::Partitioned)) => format!(
                "ALTER TABLE {} ADD COLUMN {} timestamptz NOT NULL DEFAULT now();  -- if the framework allows for it",
                quoted(self.sessions()),
                identifier(column)
            ),
            (_, Some(TableKind::View | TableKind::MaterializedView | TableKind::Foreign)) => format!(
                "add a column {column} to the table behind it, if the framework allows for it, and show it here"
            ),
            _ => format!("add a column {column}, if the framework allows for it"),
        }
    }

    /// Gives row ids more room.
    #[must_use]
    pub fn widen_row_ids(&self, sequence: &str) -> String {
        let id = self.layout.candidate.mapping.id.as_deref().unwrap_or_default();
        format!(
            "ALTER TABLE {} ALTER COLUMN {} TYPE bigint; ALTER SEQUENCE {sequence} AS bigint;  -- rewrites the table, which nobody can use meanwhile",
            quoted(self.sessions()),
            identifier(id)
        )
    }

    /// Lets a file be read while it is written.
    #[must_use]
    pub fn write_ahead_log(&self) -> &'static str {
        "PRAGMA journal_mode = WAL;  -- once, in the application"
    }
}
