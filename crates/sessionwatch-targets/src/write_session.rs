//! Write sessions: connections with the write role that archive, delete, update and restore rows.

use std::collections::BTreeMap;

use sessionwatch_core::row_ref::RowRef;

pub use super::{
    backend::{ChangeOutcome, HiddenRows, TransactionStatus, WriteRole},
    supported_databases::WriteSession,
};
use super::{
    backend::{RowsToRestore, WriteBackend as _},
    capabilities::Capabilities,
    cells::TextRow,
    decrypted_rows::{BatchHeader, ColumnDecl, DecryptedRows, UnsealedDependents},
    error::TargetError,
    full_rows::{DependentRows, FullRows},
    mapping::{RevokeMethod, TableName},
    row_selection::PresentRow,
    scope::QueryScope,
    side_effects::{CascadingTable, SideEffectCatalog},
    sql::{LocateBy, Mutation, ReadRows, RestoreObstacle, RowChange},
    supported_databases::each,
};

impl WriteSession {
    /// Returns the privileges that the role lacks to make and undo a change, each as `PRIVILEGE ON object`.
    ///
    /// # Errors
    ///
    /// If a query fails, or the database is read-only.
    pub async fn missing_privileges(
        &mut self,
        scope: &QueryScope<'_>,
        change: RowChange<'_>,
        dependents: &[CascadingTable],
    ) -> Result<Vec<String>, TargetError> {
        each!(self, WriteSession, session => {
            session.missing_privileges(&scope.query_builder(), change, dependents).await
        })
    }

    /// Returns the tables in which row-level security may hide rows from this role: session table, user table
    /// and dependent tables. Always empty for a file.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn hidden_tables(
        &mut self,
        scope: &QueryScope<'_>,
        change: RowChange<'_>,
        dependents: &[CascadingTable],
    ) -> Result<HiddenRows, TargetError> {
        each!(self, WriteSession, session => session.hidden_tables(&scope.query_builder(), change, dependents).await)
    }

    /// Returns every column of the session table that can be restored.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn restorable_columns(
        &mut self,
        scope: &QueryScope<'_>,
    ) -> Result<Vec<ColumnDecl>, TargetError> {
        self.restorable_columns_of(&scope.layout.candidate.mapping.sessions).await
    }

    async fn restorable_columns_of(&mut self, table: &TableName) -> Result<Vec<ColumnDecl>, TargetError> {
        each!(self, WriteSession, session => session.restorable_columns(table).await)
    }

    /// Returns the tables whose rows a change deletes with sessions and archives with them, parents first.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn find_dependents(
        &mut self,
        scope: &QueryScope<'_>,
        change: RowChange<'_>,
    ) -> Result<Vec<CascadingTable>, TargetError> {
        // Only deleting a row triggers ON DELETE actions.
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

    /// Returns `true` if the server counts the rows that a transaction deletes. Only then can a caller verify
    /// that no other rows were deleted.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn counts_deleted_rows(&mut self) -> Result<bool, TargetError> {
        each!(self, WriteSession, session => session.counts_deleted_rows().await)
    }

    /// Deletes rows of a dependent table that were read with these sessions. Returns `false` unless exactly
    /// those rows existed.
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
        // A row that changed since it was read is both missing from the count and left.
        Ok(deleted.count == rows.len() as u64 && !deleted.has_others)
    }

    /// Returns the count of rows of these tables deleted over this connection by any means. The difference
    /// between two readings in one transaction is the number of rows deleted between them. `None` for SQLite,
    /// where [`WriteSession::delete_dependents`] verifies the number.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn deleted_dependent_count(
        &mut self,
        dependents: &[CascadingTable],
    ) -> Result<Option<u64>, TargetError> {
        each!(self, WriteSession, session => session.deleted_dependent_count(dependents).await)
    }

    /// Restores the rows of a dependent table at these positions. Returns the positions of rows that the
    /// table rejects.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the database cannot continue.
    pub async fn restore_dependents(
        &mut self,
        scope: &QueryScope<'_>,
        rows: &UnsealedDependents,
        row_indexes: &[usize],
    ) -> Result<Vec<usize>, TargetError> {
        each!(self, WriteSession, session => {
            session.restore_dependents(&scope.query_builder(), rows, row_indexes).await
        })
    }

    /// Begins a transaction. Returns its id, by which [`Self::transaction_status`] finds its outcome, where
    /// the database has such ids.
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

    /// Reads the rows of a dependent table that belong to sessions already read, with every column, for the
    /// archive; at most `limit` rows if set.
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

    /// Deletes or updates rows that still match what was read. Reports single rows only if `detailed` is set.
    /// Roll back unless the outcome covers just the rows that were read, or some of them.
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
        each!(self, WriteSession, session => {
            session.change_rows(&scope.query_builder(), mutation, read, detailed).await
        })
    }

    /// Returns `true` if a trigger, a rule or a foreign key may change further session rows.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn has_side_effects(
        &mut self,
        scope: &QueryScope<'_>,
        change: RowChange<'_>,
    ) -> Result<bool, TargetError> {
        each!(self, WriteSession, session => session.has_side_effects(&scope.query_builder(), change).await)
    }

    /// Returns the count of session rows changed over this connection by any means. The difference between
    /// two readings in one transaction is the number of rows changed between them. Always 0 on a PostgreSQL
    /// server without `track_counts`.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn changed_row_count(&mut self, scope: &QueryScope<'_>) -> Result<i64, TargetError> {
        each!(self, WriteSession, session => session.changed_row_count(&scope.query_builder()).await)
    }

    /// Returns the tables that inherit from the session table, by their number in [`RowRef::locator`]. Rows
    /// are restored into the table that they came from.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn inheriting_tables(
        &mut self,
        scope: &QueryScope<'_>,
    ) -> Result<BTreeMap<u64, TableName>, TargetError> {
        each!(self, WriteSession, session => session.inheriting_tables(&scope.query_builder()).await)
    }

    /// Restores the rows with these positions and row hashes into a table. Returns the obstacle for each, or
    /// `None` for a restored row.
    ///
    /// # Errors
    ///
    /// If the statement fails.
    pub async fn restore_rows(
        &mut self,
        scope: &QueryScope<'_>,
        rows: &DecryptedRows,
        into_table: &TableName,
        requested: &[(usize, i64)],
    ) -> Result<Vec<Option<RestoreObstacle>>, TargetError> {
        let sql = scope.query_builder();
        let BatchHeader { columns, change, .. } = &rows.header;
        // Deleted rows are inserted again; rows ended in place are updated.
        let Some(ended_by) = sql.ended_by_column(change) else {
            let removed = RowsToRestore { batch: rows, into_table, requested, null_columns: &[] };
            return each!(self, WriteSession, session => session.restore_rows(&sql, removed).await);
        };
        let unchanged = sql.unchanged_column_indexes(columns, ended_by);
        // Rows with the same NULL columns share one statement, since NULL needs another comparison.
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
                    // An update that matches no row means that the row was changed or deleted since.
                    *left = obstacle.map(|_| RestoreObstacle::Gone);
                }
            }
        }
        Ok(left)
    }

    /// Returns those of the rows that are in the table.
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

    /// Returns those of the rows that are in the table and were not ended in place.
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

    /// Reads from the catalog what else happens when sessions are ended.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    pub async fn read_side_effects(&mut self) -> Result<SideEffectCatalog, TargetError> {
        each!(self, WriteSession, session => session.read_side_effects().await)
    }

    /// Returns the lag of the slowest replica in seconds, or 0 if there is none or the role may not see
    /// replicas.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the lag cannot be decoded.
    pub async fn max_replica_lag_s(&mut self) -> Result<f64, TargetError> {
        each!(self, WriteSession, session => session.max_replica_lag_s().await)
    }

    /// Returns the role that writes, or `None` if the database has no roles.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn write_role(&mut self) -> Result<Option<WriteRole>, TargetError> {
        each!(self, WriteSession, session => session.write_role().await)
    }

    /// Returns the capabilities of this kind of database.
    #[must_use]
    pub fn capabilities(&self) -> &'static Capabilities {
        each!(self, WriteSession, session => session.capabilities())
    }

    /// Returns the rows of a statement as text, inside the transaction if one is open.
    async fn fetch_rows(&mut self, statement: &str) -> Result<Vec<TextRow>, TargetError> {
        each!(self, WriteSession, session => session.fetch_rows(statement).await)
    }

    /// Commits the transaction.
    ///
    /// # Errors
    ///
    /// If the outcome is unknown: ask [`Self::transaction_status`] over a new connection.
    pub async fn commit(&mut self) -> Result<(), TargetError> {
        each!(self, WriteSession, session => session.commit().await)
    }

    /// Rolls the transaction back. If even that fails, the connection is unusable.
    pub async fn rollback(&mut self) {
        each!(self, WriteSession, session => session.rollback().await)
    }

    /// Returns the outcome of a transaction.
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
            // Without a transaction id, the database cannot be asked.
            None => Ok(TransactionStatus::Unknown),
        }
    }

    /// Returns `true` if the connection is known to be lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        each!(self, WriteSession, session => session.is_lost())
    }
}
