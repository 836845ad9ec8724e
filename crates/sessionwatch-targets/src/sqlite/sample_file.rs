//! An in-memory database with the sample table, for tests of statements.

use std::ops::{Deref, DerefMut};

use rusqlite::{Connection, params};
use sessionwatch_core::{row_ref::RowRef, timestamp::MICROS_PER_HOUR};

use super::{query_rows, register_functions};
use crate::{
    cells::TextRow,
    mapping::RevokeMethod,
    sql::{
        RowKeyKind, RowSelection,
        sample_target::{SAMPLE_NOW, SampleTarget},
    },
};

/// Tables with names that need quoting.
const CREATE_TABLES: &str = r#"
CREATE TABLE "ses""sions; --" (
  "i""d" TEXT NOT NULL UNIQUE, "tok'en" TEXT, "user id" TEXT, "ex""pires" INTEGER, created INTEGER, ip TEXT, agent TEXT,
  "acts for" TEXT
);
CREATE TABLE "us'ers" (key TEXT PRIMARY KEY, "na""me" TEXT);
"#;
const INSERT_SESSION: &str = r#"INSERT INTO "ses""sions; --" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"#;

/// A session. Times are hours from now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SampleSession<'a> {
    pub(super) id: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    pub(super) ends_in_h: Option<i64>,
    pub(super) created_in_h: Option<i64>,
    pub(super) ip: Option<&'a str>,
    pub(super) agent: Option<&'a str>,
    pub(super) impersonator: Option<&'a str>,
}

/// The database and its layout.
pub(super) struct SampleFile {
    pub(super) connection: Connection,
    target: SampleTarget,
}

impl Deref for SampleFile {
    type Target = SampleTarget;

    fn deref(&self) -> &SampleTarget {
        &self.target
    }
}

impl DerefMut for SampleFile {
    fn deref_mut(&mut self) -> &mut SampleTarget {
        &mut self.target
    }
}

impl SampleFile {
    pub(super) fn with_sessions(sessions: &[SampleSession<'_>], users: &[&str]) -> Self {
        let connection = Connection::open_in_memory().unwrap();
        register_functions(&connection, 7).unwrap();
        connection.execute_batch(CREATE_TABLES).unwrap();
        let millis = |hours: i64| SAMPLE_NOW.saturating_add_micros(hours * MICROS_PER_HOUR).micros() / 1_000;
        for SampleSession {
            id,
            token,
            user,
            ends_in_h: ends,
            created_in_h: created,
            ip,
            agent,
            impersonator,
        } in sessions
        {
            let (ends, created) = (ends.map(millis), created.map(millis));
            let values = params![id, token, user, ends, created, ip, agent, impersonator];
            connection.execute(INSERT_SESSION, values).unwrap();
        }
        for user in users {
            let name = format!("Name of {user}");
            connection.execute(r#"INSERT INTO "us'ers" VALUES (?1, ?2)"#, [*user, &name]).unwrap();
        }
        Self { connection, target: SampleTarget::in_file() }
    }

    pub(super) fn query_rows(&self, query: &str) -> Vec<TextRow> {
        query_rows(&self.connection, query).unwrap_or_else(|error| panic!("{error}: {query}"))
    }

    /// Returns one column of the result of a query.
    pub(super) fn column_values(&self, query: &str, at: usize) -> Vec<Option<String>> {
        self.query_rows(query).into_iter().map(|mut row| row.swap_remove(at)).collect()
    }

    /// Returns the IDs of the selected rows in alphabetical order, after checking that the count query
    /// agrees.
    pub(super) fn selected_ids_for(&self, selection: RowSelection<'_>, revoke: &RevokeMethod) -> Vec<String> {
        let sql = self.query_builder();
        let ids = self.column_values(&sql.planned_rows_query(selection, revoke, RowKeyKind::Place), 2);
        let mut ids: Vec<String> = ids.into_iter().map(Option::unwrap).collect();
        let counted = self.column_values(&sql.count_rows_query(selection, revoke, RowKeyKind::Place), 0);
        assert_eq!(counted, [Some(ids.len().to_string())], "{selection:?}");
        ids.sort_unstable();
        ids
    }

    pub(super) fn selected_ids(&self, chosen: RowSelection<'_>) -> Vec<String> {
        self.selected_ids_for(chosen, &RevokeMethod::Delete)
    }

    /// Returns all rows as planned, in the order of the table.
    pub(super) fn planned_rows(&self) -> Vec<RowRef> {
        let rows = self.query_rows(&self.query_builder().planned_rows_query(
            RowSelection::All,
            &RevokeMethod::Delete,
            RowKeyKind::Place,
        ));
        let number = |cell: &Option<String>| cell.as_deref().unwrap().parse::<i64>().unwrap();
        let planned = rows.into_iter().map(|row| RowRef {
            locator: number(&row[0]).cast_unsigned(),
            id: row[2].clone(),
            row_hash: number(&row[3]),
            token_fingerprint: row[8].as_ref().map(|token| token.parse().unwrap()),
            ..RowRef::default()
        });
        planned.collect()
    }
}
