//! The tool that manages the schema, and fixes in its language. A fix in SQL alone is schema drift to it: its next
//! migration would report or undo the change.

use sessionwatch_targets::sql::database_schema::DatabaseSchema;

/// A tool that creates the tables from a schema in the application's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SchemaTool {
    /// Prisma Migrate, recognized by its table `_prisma_migrations`.
    Prisma,
    /// Drizzle Kit, recognized by its table `__drizzle_migrations`.
    Drizzle,
}

/// A change to the session table.
#[derive(Clone, Copy, Debug)]
pub(super) enum SchemaChange<'a> {
    /// Make a column unique.
    Unique {
        /// Name of the column.
        column: &'a str,
    },
    /// Create an index on a column.
    Index {
        /// Name of the column.
        column: &'a str,
    },
    /// Delete sessions with their user.
    CascadeDelete {
        /// Name of the user column.
        column: &'a str,
        /// Name of the users table.
        users: &'a str,
    },
}

impl SchemaTool {
    /// Recognizes the tool by the table in which it records its migrations.
    pub(super) fn detect(schema: &DatabaseSchema) -> Option<Self> {
        let has_table = |name: &str| schema.tables.iter().any(|table| table.name == name);
        if has_table("_prisma_migrations") {
            Some(Self::Prisma)
        } else if has_table("__drizzle_migrations") {
            Some(Self::Drizzle)
        } else {
            None
        }
    }

    /// Describes a change to the schema of a table, and the commands that migrate the database. The names are those of
    /// the columns, which the schema may map to other ones.
    pub(super) fn describe_change(self, table: &str, change: SchemaChange<'_>) -> String {
        match self {
            Self::Prisma => {
                let edit = match change {
                    SchemaChange::Unique { column } => format!("add `@unique` to the field `{column}`"),
                    SchemaChange::Index { column } => format!("add `@@index([{column}])`"),
                    SchemaChange::CascadeDelete { column, users } => format!(
                        "write the relation to `{users}` as \
                         `@relation(fields: [{column}], references: [id], onDelete: Cascade)`"
                    ),
                };
                format!(
                    "with Prisma, not by SQL: in schema.prisma, in the model of `{table}`, {edit}; then run \
                     `npx prisma migrate dev`"
                )
            }
            Self::Drizzle => {
                let edit = match change {
                    SchemaChange::Unique { column } => format!("append `.unique()` to the column `{column}`"),
                    SchemaChange::Index { column } => {
                        format!("add `index(\"{table}_{column}_idx\").on(table.{column})`")
                    }
                    SchemaChange::CascadeDelete { column, users } => format!(
                        "append `.references(() => {users}.id, {{ onDelete: \"cascade\" }})` to the column `{column}`"
                    ),
                };
                format!(
                    "with Drizzle, not by SQL: in the schema of the table `{table}`, {edit}; then run `npx drizzle-kit \
                     generate` and `npx drizzle-kit migrate`"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_described_in_the_language_of_the_tool() {
        let describe = |tool: SchemaTool, change| tool.describe_change("Session", change);
        let unique = SchemaChange::Unique { column: "token" };
        let index = SchemaChange::Index { column: "expires" };
        let cascade = SchemaChange::CascadeDelete { column: "userId", users: "users" };
        for (tool, change, expected) in [
            (
                SchemaTool::Prisma,
                unique,
                "add `@unique` to the field `token`; then run `npx prisma migrate dev`",
            ),
            (SchemaTool::Prisma, index, "in the model of `Session`, add `@@index([expires])`; then"),
            (
                SchemaTool::Prisma,
                cascade,
                "`@relation(fields: [userId], references: [id], onDelete: Cascade)`",
            ),
            (
                SchemaTool::Drizzle,
                unique,
                "append `.unique()` to the column `token`; then run `npx drizzle-kit generate`",
            ),
            (SchemaTool::Drizzle, index, "add `index(\"Session_expires_idx\").on(table.expires)`"),
            (SchemaTool::Drizzle, cascade, "append `.references(() => users.id, { onDelete: \"cascade\" })`"),
        ] {
            let text = describe(tool, change);
            assert!(text.contains(expected), "{text}");
        }
    }
}
