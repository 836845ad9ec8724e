//! A connection for acting, with credentials of its own: rows are read whole into the archive, and removed or changed.

use std::collections::BTreeMap;

use sessionwatch_core::row_ref::RowRef;

use super::{
    address::Address,
    capabilities::{self, Capabilities},
    error::TargetError,
    full_rows::{DependentRows, FullRows},
    layout::Layout,
    limits::Limits,
    postgres::PostgresWrite,
    read_session::TextRow,
    scope::Scope,
    selecting::PresentRow,
    side_effects::{Catalog, Dependent},
    sql::{Change, Mutation, Named, Obstacle, ReadRows},
    sqlite::SqliteWrite,
    unsealed_rows::{ColumnDecl, UnsealedDependents, UnsealedRows},
};
use crate::profile::mapping::{Revoke, TableName};

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// It was committed.
    Committed,
    /// It was not, and never will be.
    Undone,
    /// It has not ended yet.
    Running,
    /// The database does not know.
    Unknown,
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Whether each of the rows that were read was changed.
    Rows(Vec<bool>),
    /// Fewer than were read; it was not asked which.
    NotAll,
    /// Other rows besides those that were read.
    MoreThanRead,
    /// Rows of other tables that go with them are not, or not only, those that were read.
    OtherDependents,
}

/// Which tables row-level security hides rows of, or may, from a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// That of the sessions.
    pub sessions: bool,
    /// That of the users.
    pub users: bool,
    /// Tables whose rows go with sessions.
    pub dependents: Vec<String>,
}

/// The role that writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteRole {
    /// Its name.
    pub name: String,
    /// May do everything.
    pub superuser: bool,
}

/// A connection that changes rows, with credentials of its own.
#[derive(Debug)]
pub enum WriteSession {
    /// PostgreSQL.
    Postgres(PostgresWrite),
    /// SQLite.
    Sqlite(SqliteWrite),
}

impl WriteSession {
    /// Connects; `key` is that of marks.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached or refuses.
    pub async fn open(address: &Address, limits: Limits, key: i64) -> Result<Self, TargetError> {
        match address {
            Address::Postgres(dsn) => Ok(Self::Postgres(PostgresWrite::open(dsn, limits).await?)),
            Address::Sqlite(path) => Ok(Self::Sqlite(SqliteWrite::open(path, limits, key)?)),
        }
    }

    /// What this role lacks of what is needed for a change, and for undoing it; each as `PRIVILEGE ON what`.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked, or may only be read.
    pub async fn lacks(
        &mut self,
        scope: &Scope<'_>,
        change: Change<'_>,
        dependents: &[Dependent],
    ) -> Result<Vec<String>, TargetError> {
        match self {
            Self::Postgres(actor) => actor.lacks(&scope.queries(), change, dependents).await,
            Self::Sqlite(actor) => actor.writable().map(|()| vec![]),
        }
    }

    /// The tables of which this role does not see every row: those of the sessions, of the users, and of what goes with
    /// sessions. A file has no roles.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn hidden(
        &mut self,
        scope: &Scope<'_>,
        change: Change<'_>,
        dependents: &[Dependent],
    ) -> Result<Hidden, TargetError> {
        match self {
            Self::Postgres(actor) => actor.hidden(&scope.queries(), change, dependents).await,
            Self::Sqlite(_) => Ok(Hidden::default()),
        }
    }

    /// Every column of the sessions that can be put back.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn columns(&mut self, scope: &Scope<'_>) -> Result<Vec<ColumnDecl>, TargetError> {
        self.columns_of(&scope.layout.candidate.mapping.sessions).await
    }

    async fn columns_of(&mut self, table: &TableName) -> Result<Vec<ColumnDecl>, TargetError> {
        match self {
            Self::Postgres(actor) => actor.columns(table).await,
            Self::Sqlite(actor) => actor.columns(table),
        }
    }

    /// The tables whose rows a change deletes with sessions, and that are archived with them; parents come first.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn dependents(
        &mut self,
        scope: &Scope<'_>,
        change: Change<'_>,
    ) -> Result<Vec<Dependent>, TargetError> {
        if change != Change::Delete {
            return Ok(vec![]);
        }
        let mut dependents = self.side_effects(scope.layout).await?.archivable(&scope.layout.catalog_name());
        for dependent in &mut dependents {
            dependent.columns = self.columns_of(&dependent.table).await?;
        }
        Ok(dependents)
    }

    /// Whether this server counts the rows that a transaction deletes; only then it can be known that no other rows went along.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn counts_rows(&mut self) -> Result<bool, TargetError> {
        match self {
            Self::Postgres(actor) => actor.counts_rows().await,
            Self::Sqlite(_) => Ok(true),
        }
    }

    /// Deletes rows of a dependent table that were read with these sessions: whether just those that are there now went.
    ///
    /// # Errors
    ///
    /// If a statement fails.
    pub async fn delete_dependents(
        &mut self,
        scope: &Scope<'_>,
        dependent: &Dependent,
        rows: &DependentRows,
        read: ReadRows<'_>,
    ) -> Result<bool, TargetError> {
        let sql = scope.queries();
        let delete = sql.delete_dependents(dependent, &rows.hashes(), read);
        let deleted = match self {
            Self::Postgres(_) if rows.is_empty() => 0,
            Self::Postgres(actor) => actor.delete(&delete).await?,
            // Nobody else writes from here on.
            Self::Sqlite(actor) => actor.delete(&delete, &sql.count_dependents(dependent, read))?,
        };
        Ok(deleted == rows.len() as u64)
    }

    /// A counter of rows of these tables that were deleted over this connection, by whatever means: the difference between two
    /// readings in one transaction is their number. `None` for SQLite, where [`WriteSession::delete_dependents`] makes sure of it.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn dependents_deleted(&mut self, dependents: &[Dependent]) -> Result<Option<u64>, TargetError> {
        match self {
            Self::Postgres(actor) if !dependents.is_empty() => {
                actor.deleted_so_far(dependents).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Restores rows of a dependent table, those at these positions: the positions of those that the table does not take.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the database cannot go on.
    pub async fn restore_dependents(
        &mut self,
        scope: &Scope<'_>,
        rows: &UnsealedDependents,
        wanted: &[usize],
    ) -> Result<Vec<usize>, TargetError> {
        let statement = scope.queries().restore_dependents(&rows.about);
        match self {
            Self::Postgres(actor) => actor.restore_dependents(&statement, rows, wanted).await,
            Self::Sqlite(actor) => actor.restore_dependents(&statement, rows, wanted),
        }
    }

    /// Begins a transaction: its number, by which its fate can be learnt later, where there are such numbers.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn begin(&mut self) -> Result<Option<i64>, TargetError> {
        match self {
            Self::Postgres(actor) => actor.begin().await.map(Some),
            Self::Sqlite(_) => Ok(None),
        }
    }

    /// Reads planned rows with every column, for the archive.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn read_full(
        &mut self,
        scope: &Scope<'_>,
        columns: &[String],
        named: Named,
        rows: &[&RowRef],
    ) -> Result<FullRows, TargetError> {
        self.copy(&scope.queries().whole(columns, named, rows)).await
    }

    /// Reads the rows of a dependent table that go with sessions which were read, with every column, for the archive; no more
    /// than `limit`, if there is one.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn read_dependents(
        &mut self,
        scope: &Scope<'_>,
        dependent: &Dependent,
        read: ReadRows<'_>,
        limit: Option<usize>,
    ) -> Result<FullRows, TargetError> {
        self.copy(&scope.queries().dependent_rows(dependent, read, limit)).await
    }

    async fn copy(&mut self, query: &str) -> Result<FullRows, TargetError> {
        match self {
            Self::Postgres(actor) => actor.whole(query).await,
            Self::Sqlite(actor) => actor.whole(query),
        }
    }

    /// Removes or changes rows that are still what was read. Without detail, it only says whether those were all of them.
    /// Unless it was just the rows that were read, or some of them, the transaction is to be undone.
    ///
    /// # Errors
    ///
    /// If the statement fails.
    pub async fn change(
        &mut self,
        scope: &Scope<'_>,
        mutation: Mutation<'_>,
        read: ReadRows<'_>,
        detailed: bool,
    ) -> Result<Changed, TargetError> {
        let sql = scope.queries();
        match self {
            Self::Postgres(actor) => {
                let statement = sql.change(mutation, read, detailed);
                actor.change(&statement, read, detailed).await
            }
            Self::Sqlite(actor) => actor.change(&sql.change_one(mutation, read.columns), read.rows),
        }
    }

    /// Whether something besides a change itself may change rows of the sessions: a trigger, a rule, a foreign key.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn has_side_effects(
        &mut self,
        scope: &Scope<'_>,
        change: Change<'_>,
    ) -> Result<bool, TargetError> {
        match self {
            Self::Postgres(actor) => actor.has_side_effects(&scope.queries(), change).await,
            // Counting costs nothing there.
            Self::Sqlite(_) => Ok(true),
        }
    }

    /// A counter of rows of the sessions that were changed over this connection, by whatever means: the difference between
    /// two readings in one transaction is their number. A PostgreSQL server that does not count (`track_counts`) gives zero.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn changed_so_far(&mut self, scope: &Scope<'_>) -> Result<i64, TargetError> {
        match self {
            Self::Postgres(actor) => actor.changed_so_far(&scope.queries()).await,
            Self::Sqlite(actor) => actor.changed_so_far(&scope.queries()),
        }
    }

    /// The names of the tables that rows are put back into, by their number in [`RowVersion::locator`], where that is another
    /// one than that of the sessions: tables that inherit from it.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn inheriting_tables(
        &mut self,
        scope: &Scope<'_>,
    ) -> Result<BTreeMap<u64, TableName>, TargetError> {
        match self {
            Self::Postgres(actor) => actor.inheriting_tables(&scope.queries()).await,
            Self::Sqlite(_) => Ok(BTreeMap::new()),
        }
    }

    /// Restores rows into a table: for each of those positions, of rows with these row hashes, what was in the way; `None` for
    /// a row that is back.
    ///
    /// # Errors
    ///
    /// If the statement fails.
    pub async fn restore(
        &mut self,
        scope: &Scope<'_>,
        rows: &UnsealedRows,
        into: &TableName,
        wanted: &[(usize, i64)],
    ) -> Result<Vec<Option<Obstacle>>, TargetError> {
        let sql = scope.queries();
        let (columns, change) = (&rows.about.columns, &rows.about.change);
        let statement = sql.put_back(columns, change, into);
        let mut left = match self {
            Self::Postgres(actor) => actor.put_back(&statement, rows, wanted).await?,
            Self::Sqlite(actor) => {
                let asked = (*change == Revoke::Delete).then(|| sql.obstacle_of_one(columns));
                actor.put_back(&statement, asked.as_deref(), rows, wanted)?
            }
        };
        if *change != Revoke::Delete {
            left.iter_mut().for_each(|left| *left = left.map(|_| Obstacle::Gone));
        }
        Ok(left)
    }

    /// Which of these rows are in the table.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn present_rows(
        &mut self,
        scope: &Scope<'_>,
        named: Named,
        rows: &[&RowRef],
    ) -> Result<Vec<PresentRow>, TargetError> {
        self.fetch(&scope.queries().present(named, rows)).await?.iter().map(PresentRow::read).collect()
    }

    /// Which of these rows are in the table, and were not ended in place.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn rows_not_ended(
        &mut self,
        scope: &Scope<'_>,
        named: Named,
        rows: &[&RowRef],
        revoke: &Revoke,
    ) -> Result<Vec<PresentRow>, TargetError> {
        let query = scope.queries().unchanged(named, rows, revoke);
        self.fetch(&query).await?.iter().map(PresentRow::read).collect()
    }

    /// What ending sessions does besides, by the catalog.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    pub async fn side_effects(&mut self, layout: &Layout) -> Result<Catalog, TargetError> {
        Catalog::read(layout.schema.dialect, async |query| self.fetch(query).await).await
    }

    /// How far the replica that lags most is behind, in seconds; 0 where there is none, or the role may not see that.
    pub async fn replica_lag_s(&mut self) -> f64 {
        match self {
            Self::Postgres(actor) => actor.replica_lag_s().await,
            Self::Sqlite(_) => 0.0,
        }
    }

    /// The role that writes; nothing where there are no roles.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn role(&mut self) -> Result<Option<WriteRole>, TargetError> {
        match self {
            Self::Postgres(actor) => actor.role().await.map(Some),
            Self::Sqlite(_) => Ok(None),
        }
    }

    /// What this kind of database can do.
    #[must_use]
    pub fn capabilities(&self) -> &'static Capabilities {
        match self {
            Self::Postgres(_) => &capabilities::POSTGRES,
            Self::Sqlite(_) => &capabilities::SQLITE,
        }
    }

    /// The rows of a statement, as text, in the transaction if there is one.
    async fn fetch(&mut self, statement: &str) -> Result<Vec<TextRow>, TargetError> {
        match self {
            Self::Postgres(actor) => actor.fetch(statement).await,
            Self::Sqlite(actor) => actor.fetch(statement),
        }
    }

    /// Commits the transaction.
    ///
    /// # Errors
    ///
    /// If it may not have been: its fate is to be learnt.
    pub async fn commit(&mut self) -> Result<(), TargetError> {
        match self {
            Self::Postgres(actor) => actor.commit().await,
            Self::Sqlite(actor) => actor.commit(),
        }
    }

    /// Undoes the transaction. Where even that fails, the connection is of no use any more.
    pub async fn rollback(&mut self) {
        match self {
            Self::Postgres(actor) => _ = actor.rollback().await,
            Self::Sqlite(actor) => actor.rollback(),
        }
    }

    /// What became of a transaction.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn status(&mut self, transaction: Option<i64>) -> Result<TransactionStatus, TargetError> {
        match (self, transaction) {
            (Self::Postgres(actor), Some(transaction)) => actor.status(transaction).await,
            _ => Ok(TransactionStatus::Unknown),
        }
    }

    /// Whether the connection is known to be gone.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Postgres(actor) if actor.is_lost())
    }
}
