//! The SQL of putting back: rows that would collide with others, or whose user is gone, stay in the archive.

use std::fmt::Write as _;

use super::{Sql, identifier, table};
use crate::{
    archive::rows::Declared,
    profile::{
        mapping::{Revoke, TableName},
        schema::Dialect,
    },
    target::postgres::search_path::TRIGGERS_UNDER_ROLE,
};

impl Sql<'_> {
    /// Puts rows back into the sessions, or into a table that inherits from them: on PostgreSQL all that the parameters hold, one array of texts a column; on SQLite one row. Gives the
    /// marks of those that are back.
    #[must_use]
    pub fn put_back(&self, columns: &[Declared], change: &Revoke, into: &TableName) -> String {
        match (self.dialect(), change) {
            (Dialect::Postgres, Revoke::Delete) => self.insert_many(columns, into),
            (Dialect::Sqlite, Revoke::Delete) => self.insert_one(columns),
            (_, Revoke::Expire) => self.set_back(columns, &self.mapping.expires.column),
            (_, Revoke::Flag { column, .. }) => self.set_back(columns, column),
        }
    }

    /// The parameters as rows `v`, each column as what it is.
    fn given(columns: &[Declared]) -> String {
        let names = |prefix: &str| (1..=columns.len()).map(|at| format!("{prefix}{at}")).collect::<Vec<_>>();
        let typed =
            columns.iter().zip(names("c")).map(|(column, name)| format!("{name}::{} AS {name}", column.kind));
        let typed: Vec<String> = typed.collect();
        format!(
            "SELECT {}, t.i FROM unnest({}) WITH ORDINALITY AS t({}, i)",
            typed.join(", "),
            names("$").join(", "),
            names("c").join(", ")
        )
    }

    fn position(columns: &[Declared], name: &str) -> Option<usize> {
        columns.iter().position(|column| column.name == name)
    }

    /// The condition that a value is that of a user, or none, with the value as text or as a parameter.
    fn user_is_there(&self, value: &str) -> String {
        let Some(users) = &self.mapping.users else { return "1 = 1".into() };
        let equality = self.equality(&users.table, &users.key);
        let key = self.folded(&format!("w.{}", identifier(&users.key)), equality);
        format!(
            "({value} IS NULL OR EXISTS (SELECT 1 FROM {} AS w WHERE {} = {}))",
            table(&users.table),
            self.text(&key),
            self.text(&self.folded(value, equality))
        )
    }

    fn insert_many(&self, columns: &[Declared], into: &TableName) -> String {
        let names: Vec<String> = columns.iter().map(|column| identifier(&column.name)).collect();
        let values: Vec<String> = (1..=columns.len()).map(|at| format!("v.c{at}")).collect();
        let value = |name: &str| Self::position(columns, name).map(|at| format!("v.c{}", at + 1));
        let user = self.mapping.user.as_deref().and_then(value);
        let mut conditions: Vec<String> = user.iter().map(|user| self.user_is_there(user)).collect();
        let unique = [Some(&self.mapping.token), self.mapping.id.as_ref()].into_iter().flatten();
        for column in unique {
            if let Some(value) = value(column) {
                let equality = self.equality(&self.mapping.sessions, column);
                conditions.push(format!(
                    "NOT EXISTS (SELECT 1 FROM {} AS q WHERE {} = {})",
                    table(&self.mapping.sessions),
                    self.folded(&format!("q.{}", identifier(column)), equality),
                    self.folded(&value, equality)
                ));
            }
        }
        // Of rows that share a token, the first comes back.
        let turn = match value(&self.mapping.token) {
            Some(token) => {
                conditions.push(format!("(v.turn = 1 OR {token} IS NULL)"));
                let equality = self.equality(&self.mapping.sessions, &self.mapping.token);
                format!("ROW_NUMBER() OVER (PARTITION BY {} ORDER BY v.i)", self.folded(&token, equality))
            }
            None => "1".into(),
        };
        conditions.push(TRIGGERS_UNDER_ROLE.into());
        format!(
            "WITH v AS (SELECT v.*, {turn} AS turn FROM ({given}) AS v),\nd AS (INSERT INTO {sessions} AS s ({names}) OVERRIDING SYSTEM VALUE\nSELECT {values} FROM v\nWHERE {conditions}\n\
             ON CONFLICT DO NOTHING RETURNING {mark} AS mark)\nSELECT mark::text FROM d",
            given = Self::given(columns),
            sessions = table(into),
            names = names.join(", "),
            values = values.join(", "),
            conditions = conditions.join("\n  AND "),
            mark = self.mark(),
        )
    }

    fn insert_one(&self, columns: &[Declared]) -> String {
        let names: Vec<String> = columns.iter().map(|column| identifier(&column.name)).collect();
        let values: Vec<String> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
        let value = |name: &str| Self::position(columns, name).map(|at| format!("?{}", at + 1));
        let user = self.mapping.user.as_deref().and_then(value);
        let mut conditions = user.map_or("1 = 1".into(), |user| self.user_is_there(&user));
        for column in [Some(&self.mapping.token), self.mapping.id.as_ref()].into_iter().flatten() {
            if let Some(value) = value(column) {
                let (sessions, column) = (table(&self.mapping.sessions), identifier(column));
                // Writing to a String cannot fail.
                let _ = write!(
                    conditions,
                    " AND NOT EXISTS (SELECT 1 FROM {sessions} AS q WHERE q.{column} = {value})"
                );
            }
        }
        format!(
            "INSERT INTO {sessions} ({names}) SELECT {values} WHERE {conditions} ON CONFLICT DO NOTHING",
            sessions = table(&self.mapping.sessions),
            names = names.join(", "),
            values = values.join(", "),
        )
    }

    /// Sets the column that ended a session back, where the row is still there with its token.
    fn set_back(&self, columns: &[Declared], column: &str) -> String {
        let sessions = table(&self.mapping.sessions);
        let postgres = self.dialect() == Dialect::Postgres;
        let holder = |at: usize| if postgres { format!("v.c{}", at + 1) } else { format!("?{}", at + 1) };
        let value = |name: &str| Self::position(columns, name).map_or_else(|| "NULL".into(), holder);
        let column = (identifier(column), value(column));
        let same = [Some(&self.mapping.token), self.mapping.id.as_ref()].into_iter().flatten();
        let same = same.map(|name| format!("s.{} = {}", identifier(name), value(name)));
        let same = same.collect::<Vec<_>>().join(" AND ");
        if postgres {
            format!(
                "WITH v AS ({given}),\nd AS (UPDATE {sessions} AS s SET {} = {} FROM v WHERE {TRIGGERS_UNDER_ROLE} AND {same} RETURNING {mark} AS mark)\n\
                 SELECT mark::text FROM d",
                column.0,
                column.1,
                given = Self::given(columns),
                mark = self.mark(),
            )
        } else {
            format!("UPDATE {sessions} AS s SET {} = {} WHERE {same}", column.0, column.1)
        }
    }
}
