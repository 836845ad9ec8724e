//! A connection for acting, with credentials of its own: rows are read whole into the archive, and removed or changed.

use std::collections::BTreeMap;

use sessionwatch_core::row_ref::RowRef;

pub use super::{
    backend::{ChangeOutcome, HiddenRows, TransactionStatus, WriteRole},
    databases::WriteSession,
};
use super::{
    backend::{RowsToRestore, WriteBackend as _},
    capabilities::Capabilities,
    cells::TextRow,
    databases::each,
    error::TargetError,
    full_rows::{DependentRows, FullRows},
    mapping::{RevokeMethod, TableName},
    row_selection::PresentRow,
    scope::QueryScope,
    side_effects::{CascadingTable, SideEffectCatalog},
    sql::{LocateBy, Mutation, ReadRows, RestoreObstacle, RowChange},
    unsealed_rows::{BatchHeader, ColumnDecl, UnsealedDependents, UnsealedRows},
};

impl WriteSession {
    /// What this role lacks of what is needed for a change, and for undoing it; each as `PRIVILEGE ON what`.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked, or may only be read.
    pub async fn missing_privileges(
        &mut self,
        scope: &QueryScope<'_>,
        change: RowChange<'_>,
        dependents: &[CascadingTable],
    ) -> Result<Vec<String>, TargetError> {
        each!(self, WriteSession, session => session.missing_privileges(&scope.query_builder(), change, dependents).await)
    }

    /// The tables of which this role does not see every row: those of the sessions, of the users, and of what goes with
    /// sessions. A file has no roles.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn hidden_tables(
        &mut self,
        scope: &QueryScope<'_>,
        change: RowChange<'_>,
        dependents: &[CascadingTable],
    ) -> Result<HiddenRows, TargetError> {
        each!(self, WriteSession, session => session.hidden_tables(&scope.query_builder(), change, dependents).await)
    }

    /// Every column of the sessions that can be put back.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn restorable_columns(
        &mut self,
        scope: &QueryScope<'_>,
    ) -> Result<Vec<ColumnDecl>, TargetError> {
        self.restorable_columns_of(&scope.layout.candidate.mapping.sessions).await
    }

    async fn restorable_columns_of(&mut self, table: &TableName) -> Result<Vec<ColumnDecl>, TargetError> {
        each!(self, WriteSession, session => session.restorable_columns(table).await)
    }

    /// The tables whose rows a change deletes with sessions, and that are archived with them; parents come first.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn find_dependents(
        &mut self,
        scope: &QueryScope<'_>,
        change: RowChange<'_>,
    ) -> Result<Vec<CascadingTable>, TargetError> {
        if change != RowChange::Delete {
            return Ok(vec![]);
        }
        let mut dependents =
            self.read_side_effects().await?.archivable_dependents(&scope.layout.catalog_name());
        for dependent in &mut dependents {
            dependent.columns = self.restorable_columns_of(&dependent.table).await?;
        }
        Ok(dependents)
    }

    /// Whether this server counts the rows that a transaction deletes; only then it can be known that no other rows went along.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn counts_deleted_rows(&mut self) -> Result<bool, TargetError> {
        each!(self, WriteSession, session => session.counts_deleted_rows().await)
    }

    /// Deletes rows of a dependent table that were read with these sessions: whether just those that are there now went.
    ///
    /// # Errors
    ///
    /// If a statement fails.
    pub async fn delete_dependents(
        &mut self,
        scope: &QueryScope<'_>,
        dependent: &CascadingTable,
        rows: &DependentRows,
        read: ReadRows<'_>,
    ) -> Result<bool, TargetError> {
        let sql = scope.query_builder();
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
    pub async fn deleted_dependent_count(
        &mut self,
        dependents: &[CascadingTable],
    ) -> Result<Option<u64>, TargetError> {
        each!(self, WriteSession, session => session.deleted_dependent_count(dependents).await)
    }

    /// Restores rows of a dependent table, those at these positions: the positions of those that the table does not take.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the database cannot go on.
    pub async fn restore_dependents(
        &mut self,
        scope: &QueryScope<'_>,
        rows: &UnsealedDependents,
        row_indexes: &[usize],
    ) -> Result<Vec<usize>, TargetError> {
        each!(self, WriteSession, session => session.restore_dependents(&scope.query_builder(), rows, row_indexes).await)
    }

    /// Begins a transaction: its number, by which its fate can be learnt later, where there are such numbers.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn begin_transaction(&mut self) -> Result<Option<i64>, TargetError> {
        each!(self, WriteSession, session => session.begin_transaction().await)
    }

    /// Reads planned rows with every column, for the archive.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn read_full_rows(
        &mut self,
        scope: &QueryScope<'_>,
        columns: &[String],
        locate_by: LocateBy,
        rows: &[&RowRef],
    ) -> Result<FullRows, TargetError> {
        self.copy_full_rows(&scope.query_builder().full_rows_query(columns, locate_by, rows)).await
    }

    /// Reads the rows of a dependent table that go with sessions which were read, with every column, for the archive; no more
    /// than `limit`, if there is one.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn read_dependents(
        &mut self,
        scope: &QueryScope<'_>,
        dependent: &CascadingTable,
        read: ReadRows<'_>,
        limit: Option<usize>,
    ) -> Result<FullRows, TargetError> {
        self.copy_full_rows(&scope.query_builder().dependent_rows_query(dependent, read, limit)).await
    }

    async fn copy_full_rows(&mut self, query: &str) -> Result<FullRows, TargetError> {
        each!(self, WriteSession, session => session.read_full_rows(query).await)
    }

    /// Removes or changes rows that are still what was read. Without detail, it only says whether those were all of them.
    /// Unless it was just the rows that were read, or some of them, the transaction is to be undone.
    ///
    /// # Errors
    ///
    /// If the statement fails.
    pub async fn change_rows(
        &mut self,
        scope: &QueryScope<'_>,
        mutation: Mutation<'_>,
        read: ReadRows<'_>,
        detailed: bool,
    ) -> Result<ChangeOutcome, TargetError> {
        each!(self, WriteSession, session => session.change_rows(&scope.query_builder(), mutation, read, detailed).await)
    }

    /// Whether something besides a change itself may change rows of the sessions: a trigger, a rule, a foreign key.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn has_side_effects(
        &mut self,
        scope: &QueryScope<'_>,
        change: RowChange<'_>,
    ) -> Result<bool, TargetError> {
        each!(self, WriteSession, session => session.has_side_effects(&scope.query_builder(), change).await)
    }

    /// A counter of rows of the sessions that were changed over this connection, by whatever means: the difference between
    /// two readings in one transaction is their number. A PostgreSQL server that does not count (`track_counts`) gives zero.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn changed_row_count(&mut self, scope: &QueryScope<'_>) -> Result<i64, TargetError> {
        each!(self, WriteSession, session => session.changed_row_count(&scope.query_builder()).await)
    }

    /// The names of the tables that rows are put back into, by their number in [`RowVersion::locator`], where that is another
    /// one than that of the sessions: tables that inherit from it.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn inheriting_tables(
        &mut self,
        scope: &QueryScope<'_>,
    ) -> Result<BTreeMap<u64, TableName>, TargetError> {
        each!(self, WriteSession, session => session.inheriting_tables(&scope.query_builder()).await)
    }

    /// Restores rows into a table: for each of those positions, of rows with these row hashes, what was in the way; `None` for
    /// a row that is back.
    ///
    /// # Errors
    ///
    /// If the statement fails.
    pub async fn restore_rows(
        &mut self,
        scope: &QueryScope<'_>,
        rows: &UnsealedRows,
        into_table: &TableName,
        requested: &[(usize, i64)],
    ) -> Result<Vec<Option<RestoreObstacle>>, TargetError> {
        let sql = scope.query_builder();
        let BatchHeader { columns, change, .. } = &rows.header;
        let Some(ended_by) = sql.ended_by_column(change) else {
            let removed = RowsToRestore { batch: rows, into_table, requested, null_columns: &[] };
            return each!(self, WriteSession, session => session.restore_rows(&sql, removed).await);
        };
        let unchanged = sql.unchanged_column_indexes(columns, ended_by);
        let mut alike = BTreeMap::<Vec<usize>, Vec<usize>>::new();
        for (turn, (at, _)) in requested.iter().enumerate() {
            alike.entry(rows.null_columns(*at, &unchanged)).or_default().push(turn);
        }
        let mut left = vec![Some(RestoreObstacle::Unidentified); requested.len()];
        for (nulls, turns) in alike {
            if !sql.can_identify_rows(columns, &nulls) {
                continue;
            }
            let wanted: Vec<(usize, i64)> =
                turns.iter().filter_map(|turn| requested.get(*turn).copied()).collect();
            let ended = RowsToRestore { batch: rows, into_table, requested: &wanted, null_columns: &nulls };
            let set_back = each!(self, WriteSession, session => session.restore_rows(&sql, ended).await?);
            for (turn, obstacle) in turns.into_iter().zip(set_back) {
                if let Some(left) = left.get_mut(turn) {
                    *left = obstacle.map(|_| RestoreObstacle::Gone);
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
    pub async fn find_present_rows(
        &mut self,
        scope: &QueryScope<'_>,
        locate_by: LocateBy,
        rows: &[&RowRef],
    ) -> Result<Vec<PresentRow>, TargetError> {
        self.fetch_rows(&scope.query_builder().present_rows_query(locate_by, rows))
            .await?
            .iter()
            .map(PresentRow::from_row)
            .collect()
    }

    /// Which of these rows are in the table, and were not ended in place.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn find_rows_not_ended(
        &mut self,
        scope: &QueryScope<'_>,
        locate_by: LocateBy,
        rows: &[&RowRef],
        revoke: &RevokeMethod,
    ) -> Result<Vec<PresentRow>, TargetError> {
        let query = scope.query_builder().rows_not_ended_query(locate_by, rows, revoke);
        self.fetch_rows(&query).await?.iter().map(PresentRow::from_row).collect()
    }

    /// What ending sessions does besides, by the catalog.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    pub async fn read_side_effects(&mut self) -> Result<SideEffectCatalog, TargetError> {
        each!(self, WriteSession, session => session.read_side_effects().await)
    }

    /// How far the replica that lags most is behind, in seconds; 0 where there is none, or the role may not see that.
    pub async fn max_replica_lag_s(&mut self) -> f64 {
        each!(self, WriteSession, session => session.max_replica_lag_s().await)
    }

    /// The role that writes; nothing where there are no roles.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    pub async fn write_role(&mut self) -> Result<Option<WriteRole>, TargetError> {
        each!(self, WriteSession, session => session.write_role().await)
    }

    /// What this kind of database can do.
    #[must_use]
    pub fn capabilities(&self) -> &'static Capabilities {
        each!(self, WriteSession, session => session.capabilities())
    }

    /// The rows of a statement, as text, in the transaction if there is one.
    async fn fetch_rows(&mut self, statement: &str) -> Result<Vec<TextRow>, TargetError> {
        each!(self, WriteSession, session => session.fetch_rows(statement).await)
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
    pub async fn transaction_status(
        &mut self,
        transaction: Option<i64>,
    ) -> Result<TransactionStatus, TargetError> {
        match transaction {
            Some(transaction) => {
                each!(self, WriteSession, session => session.transaction_status(transaction).await)
            }
            None => Ok(TransactionStatus::Unknown),
        }
    }

    /// Whether the connection is known to be gone.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        each!(self, WriteSession, session => session.is_lost())
    }
}
