//! A connection for acting, with credentials of its own: rows are read whole into the archive, and removed or changed.

use std::collections::BTreeMap;

use sessionwatch_core::row_ref::RowRef;

pub use super::{
    backend::{Changed, Hidden, TransactionStatus, WriteRole},
    databases::WriteSession,
};
use super::{
    backend::{RowsToRestore, WriteBackend as _},
    capabilities::Capabilities,
    cells::TextRow,
    databases::each,
    error::TargetError,
    full_rows::{DependentRows, FullRows},
    mapping::{Revoke, TableName},
    scope::Scope,
    selecting::PresentRow,
    side_effects::{Catalog, Dependent},
    sql::{Change, Mutation, Named, Obstacle, ReadRows},
    unsealed_rows::{BatchHeader, ColumnDecl, UnsealedDependents, UnsealedRows},
};

impl WriteSession {
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
        each!(self, WriteSession, session => session.lacks(&scope.queries(), change, dependents).await)
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
        each!(self, WriteSession, session => session.hidden(&scope.queries(), change, dependents).await)
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
        each!(self, WriteSession, session => session.columns(table).await)
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
        let mut dependents = self.side_effects().await?.archivable(&scope.layout.catalog_name());
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
        each!(self, WriteSession, session => session.counts_rows().await)
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
        let deleted = each!(self, WriteSession, session => {
            session.delete_dependents(&sql, dependent, rows, read).await?
        });
        Ok(deleted == rows.len() as u64)
    }

    /// A counter of rows of these tables that were deleted over this connection, by whatever means: the difference between two
    /// readings in one transaction is their number. `None` for SQLite, where [`WriteSession::delete_dependents`] makes sure of it.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn dependents_deleted(&mut self, dependents: &[Dependent]) -> Result<Option<u64>, TargetError> {
        each!(self, WriteSession, session => session.dependents_deleted(dependents).await)
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
        each!(self, WriteSession, session => session.restore_dependents(&scope.queries(), rows, wanted).await)
    }

    /// Begins a transaction: its number, by which its fate can be learnt later, where there are such numbers.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn begin(&mut self) -> Result<Option<i64>, TargetError> {
        each!(self, WriteSession, session => session.begin().await)
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
        each!(self, WriteSession, session => session.full_rows(query).await)
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
        each!(self, WriteSession, session => session.change(&scope.queries(), mutation, read, detailed).await)
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
        each!(self, WriteSession, session => session.has_side_effects(&scope.queries(), change).await)
    }

    /// A counter of rows of the sessions that were changed over this connection, by whatever means: the difference between
    /// two readings in one transaction is their number. A PostgreSQL server that does not count (`track_counts`) gives zero.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn changed_so_far(&mut self, scope: &Scope<'_>) -> Result<i64, TargetError> {
        each!(self, WriteSession, session => session.changed_so_far(&scope.queries()).await)
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
        each!(self, WriteSession, session => session.inheriting_tables(&scope.queries()).await)
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
        let BatchHeader { columns, change, .. } = &rows.about;
        let Some(ended_by) = sql.ended_by(change) else {
            let removed = RowsToRestore { batch: rows, into, wanted, nulls: &[] };
            return each!(self, WriteSession, session => session.restore(&sql, removed).await);
        };
        let unchanged = sql.unchanged_columns(columns, ended_by);
        let mut alike = BTreeMap::<Vec<usize>, Vec<usize>>::new();
        for (turn, (at, _)) in wanted.iter().enumerate() {
            alike.entry(rows.nulls(*at, &unchanged)).or_default().push(turn);
        }
        let mut left = vec![Some(Obstacle::Unidentified); wanted.len()];
        for (nulls, turns) in alike {
            if !sql.identifies(columns, &nulls) {
                continue;
            }
            let wanted: Vec<(usize, i64)> =
                turns.iter().filter_map(|turn| wanted.get(*turn).copied()).collect();
            let ended = RowsToRestore { batch: rows, into, wanted: &wanted, nulls: &nulls };
            let set_back = each!(self, WriteSession, session => session.restore(&sql, ended).await?);
            for (turn, obstacle) in turns.into_iter().zip(set_back) {
                if let Some(left) = left.get_mut(turn) {
                    *left = obstacle.map(|_| Obstacle::Gone);
                }
            }
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
    pub async fn side_effects(&mut self) -> Result<Catalog, TargetError> {
        each!(self, WriteSession, session => session.side_effects().await)
    }

    /// How far the replica that lags most is behind, in seconds; 0 where there is none, or the role may not see that.
    pub async fn replica_lag_s(&mut self) -> f64 {
        each!(self, WriteSession, session => session.replica_lag_s().await)
    }

    /// The role that writes; nothing where there are no roles.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn role(&mut self) -> Result<Option<WriteRole>, TargetError> {
        each!(self, WriteSession, session => session.role().await)
    }

    /// What this kind of database can do.
    #[must_use]
    pub fn capabilities(&self) -> &'static Capabilities {
        each!(self, WriteSession, session => session.capabilities())
    }

    /// The rows of a statement, as text, in the transaction if there is one.
    async fn fetch(&mut self, statement: &str) -> Result<Vec<TextRow>, TargetError> {
        each!(self, WriteSession, session => session.fetch(statement).await)
    }

    /// Commits the transaction.
    ///
    /// # Errors
    ///
    /// If it may not have been: its fate is to be learnt.
    pub async fn commit(&mut self) -> Result<(), TargetError> {
        each!(self, WriteSession, session => session.commit().await)
    }

    /// Undoes the transaction. Where even that fails, the connection is of no use any more.
    pub async fn rollback(&mut self) {
        each!(self, WriteSession, session => session.rollback().await)
    }

    /// What became of a transaction.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn status(&mut self, transaction: Option<i64>) -> Result<TransactionStatus, TargetError> {
        match transaction {
            Some(transaction) => each!(self, WriteSession, session => session.status(transaction).await),
            None => Ok(TransactionStatus::Unknown),
        }
    }

    /// Whether the connection is known to be gone.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        each!(self, WriteSession, session => session.is_lost())
    }
}
