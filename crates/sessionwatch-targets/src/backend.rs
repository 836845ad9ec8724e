//! Traits that each kind of database implements: its addresses, reading, and writing. Each implementation has
//! a folder; [`crate::supported_databases`] lists them.
//!
//! Features that not every database has, such as roles or replicas, have a default implementation that
//! reports their absence.

mod address;
mod shared_types;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use sessionwatch_core::{
    snapshot::{SessionSnapshot, SnapshotOptions},
    timestamp::UtcTimestamp,
};

use crate::{
    capabilities::Capabilities,
    cells::TextRow,
    decrypted_rows::{BatchHeader, ColumnDecl, DecryptedRows, UnsealedDependents},
    error::TargetError,
    full_rows::{DeletedDependents, DependentRows, FullRows},
    mapping::TableName,
    scan_progress::ScanProgress,
    side_effects::{CascadingTable, SideEffectCatalog},
    sql::{
        EndedRows, Mutation, QueryBuilder, ReadRows, RestoreObstacle, RowChange,
        database_schema::DatabaseSchema, table_info::TableInfo,
    },
    time_limits::TimeLimits,
};

pub(crate) use self::address::DatabaseAddress;
pub use self::shared_types::{
    AddressError, CertificateCheck, ChangeOutcome, CustomValue, DatabaseRole, HiddenRows, NamedDatabase,
    RowIdSequence, RowKeySupport, SchemaCreator, ScratchError, ServerInfo, TransactionStatus,
    TransportSecurity, WriteRole,
};

/// Rows fetched per page.
pub(crate) const ROWS_PER_PAGE: usize = 5_000;

/// Archived rows that one statement restores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowsToRestore<'a> {
    /// Batch that holds the rows.
    pub(crate) batch: &'a DecryptedRows,
    /// Table that removed rows are inserted into.
    pub(crate) into_table: &'a TableName,
    /// Position in the batch and row hash of each row.
    pub(crate) requested: &'a [(usize, i64)],
    /// As in [`EndedRows`]; empty for removed rows.
    pub(crate) null_columns: &'a [usize],
}

impl RowsToRestore<'_> {
    pub(crate) fn restore_statement(&self, sql: &QueryBuilder<'_>) -> String {
        let BatchHeader { columns, change, .. } = &self.batch.header;
        match sql.ended_by_column(change) {
            None => sql.insert_removed_statement(columns, self.into_table),
            Some(ended_by_column) => sql.restore_ended_statement(EndedRows {
                columns,
                ended_by_column,
                null_columns: self.null_columns,
            }),
        }
    }
}

/// Options for opening a database for reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOptions {
    /// Time limits.
    pub(crate) limits: TimeLimits,
    /// Read every row instead of trusting unique indexes and foreign keys.
    pub(crate) ignore_constraints: bool,
    /// Key of the fingerprints.
    pub(crate) fingerprint_key: i64,
}

/// Rows not yet fetched, where this program holds them; a server holds its own behind a cursor.
#[derive(Debug, Default)]
pub(crate) struct BufferedRows(Vec<TextRow>);

impl BufferedRows {
    /// Holds the rows of a query.
    pub(crate) fn from_rows(mut rows: Vec<TextRow>) -> Self {
        // Reversed, so that pages can be split off the end without moving the rest.
        rows.reverse();
        Self(rows)
    }

    /// Returns the next rows, or an empty page at the end.
    pub(crate) fn take_page(&mut self) -> Vec<TextRow> {
        let mut rows = self.0.split_off(self.0.len().saturating_sub(ROWS_PER_PAGE));
        rows.reverse();
        rows
    }
}

/// An open connection without a transaction.
pub(crate) trait IdleBackend {
    /// Closes the connection.
    async fn close(self);
}

/// A database inside one read-only transaction. No implementation executes code of the target or reads a
/// token.
pub(crate) trait ReadBackend: Sized {
    /// Address of the database.
    type Address: DatabaseAddress;
    /// Its connection between two transactions.
    type Idle: IdleBackend;

    /// Connects and begins the transaction.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached or refuses.
    async fn open(address: &Self::Address, options: ReadOptions) -> Result<Self, TargetError>;

    /// Begins another transaction over an existing connection.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the server refuses.
    async fn resume_connection(
        idle: Self::Idle,
        address: &Self::Address,
        limits: TimeLimits,
    ) -> Result<Self, TargetError>;

    /// Ends the transaction and returns the connection for the next one, or `None` if the connection is lost
    /// or the database needs none.
    async fn release(self) -> Option<Self::Idle>;

    /// Ends the transaction and closes the connection.
    async fn close(self);

    /// Cancels the running query and drops the connection.
    async fn cancel_and_close(self);

    /// Returns the capabilities of this kind of database.
    fn capabilities(&self) -> &'static Capabilities;

    /// Sets the receiver of the progress of scans.
    fn set_progress(&mut self, progress: Option<ScanProgress>);

    /// Returns the name of the role, if the role is a superuser.
    fn superuser_role(&self) -> Option<&str> {
        None
    }

    /// Returns the number of round trips made so far.
    fn query_count(&self) -> u32 {
        0
    }

    /// Returns the start of the transaction, by the clock of the database.
    ///
    /// # Errors
    ///
    /// If the query fails.
    async fn server_time(&self) -> Result<UtcTimestamp, TargetError>;

    /// Returns the replication position of this server in bytes of WAL, or `None` if the server does not
    /// report one.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    async fn replication_position(&self) -> Result<Option<u64>, TargetError> {
        Ok(None)
    }

    /// Returns the lag of a replica, or `None` if the server is no replica or does not report one.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    async fn replica_lag(&self) -> Result<Option<SignedDuration>, TargetError> {
        Ok(None)
    }

    /// Returns the visible tables and views, with indexes and foreign keys as the database enforces them.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    async fn describe_schema(&self) -> Result<DatabaseSchema, TargetError>;

    /// Returns the rows of a query as text.
    ///
    /// # Errors
    ///
    /// If the query fails.
    async fn fetch_rows(&self, sql: &str) -> Result<Vec<TextRow>, TargetError>;

    /// Returns the number in the first row of a query, or `None` if the query fails. The transaction stays
    /// usable.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the database cannot continue.
    async fn try_fetch_number(&self, sql: &str) -> Result<Option<u64>, TargetError>;

    /// Opens a cursor over many rows.
    ///
    /// # Errors
    ///
    /// If the query fails.
    async fn open_cursor(&self, sql: &str) -> Result<BufferedRows, TargetError>;

    /// Returns the next [`ROWS_PER_PAGE`] rows as text, or an empty page at the end.
    ///
    /// # Errors
    ///
    /// If the query fails.
    async fn next_page(&self, pages: &mut BufferedRows) -> Result<Vec<TextRow>, TargetError>;

    /// Reads every session into a snapshot.
    ///
    /// # Errors
    ///
    /// If the query fails.
    async fn scan_sessions(
        &self,
        sql: &QueryBuilder<'_>,
        options: SnapshotOptions,
    ) -> Result<SessionSnapshot, TargetError>;

    /// Returns the number that a custom query yields, or `None` for NULL or no row. The transaction stays
    /// usable if the query fails.
    ///
    /// # Errors
    ///
    /// If the query fails, consists of several statements, or writes.
    async fn fetch_custom_value(
        &self,
        sql: &str,
        value: CustomValue,
        max_rows: u64,
    ) -> Result<Option<f64>, TargetError>;

    /// Returns the unique key of the session rows.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    async fn find_row_key(
        &self,
        sessions: &TableName,
        found: Option<&TableInfo>,
    ) -> Result<RowKeySupport, TargetError>;

    /// Reads from the catalog what else happens when sessions are ended.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    async fn read_side_effects(&self) -> Result<SideEffectCatalog, TargetError>;

    /// Returns facts about the server, the connection and the role.
    ///
    /// # Errors
    ///
    /// If a query fails.
    async fn fetch_server_info(&self, sessions: &TableName) -> Result<ServerInfo, TargetError>;

    /// Returns the state of the row id sequence, or `None` if row ids are not small integers from a sequence.
    ///
    /// # Errors
    ///
    /// If the query fails.
    async fn find_row_id_sequence(
        &self,
        _sql: &QueryBuilder<'_>,
    ) -> Result<Option<RowIdSequence>, TargetError> {
        Ok(None)
    }

    /// Returns the databases on the server whose names start with the prefix; none for a file.
    ///
    /// # Errors
    ///
    /// If the query fails.
    async fn list_databases(&self, _prefix: &str) -> Result<Vec<NamedDatabase>, TargetError> {
        Ok(vec![])
    }
}

/// A connection that changes rows, a batch at a time, in short transactions.
pub(crate) trait WriteBackend: Sized {
    /// Address of the database.
    type Address: DatabaseAddress;

    /// Connects. `key` is the key of row hashes.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached or refuses.
    async fn open(address: &Self::Address, limits: TimeLimits, key: i64) -> Result<Self, TargetError>;

    /// Returns the capabilities of this kind of database.
    fn capabilities(&self) -> &'static Capabilities;

    /// Returns the privileges that the role lacks to make and undo a change, each as `PRIVILEGE ON object`.
    ///
    /// # Errors
    ///
    /// If the query fails, or the database is read-only.
    async fn missing_privileges(
        &mut self,
        sql: &QueryBuilder<'_>,
        change: RowChange<'_>,
        dependents: &[CascadingTable],
    ) -> Result<Vec<String>, TargetError>;

    /// Returns the tables in which row-level security may hide rows from this role.
    ///
    /// # Errors
    ///
    /// If a query fails.
    async fn hidden_tables(
        &mut self,
        _sql: &QueryBuilder<'_>,
        _change: RowChange<'_>,
        _dependents: &[CascadingTable],
    ) -> Result<HiddenRows, TargetError> {
        Ok(HiddenRows::default())
    }

    /// Returns the role that writes, or `None` if the database has no roles.
    ///
    /// # Errors
    ///
    /// If a query fails.
    async fn write_role(&mut self) -> Result<Option<WriteRole>, TargetError> {
        Ok(None)
    }

    /// Returns every column of a table that can be restored.
    ///
    /// # Errors
    ///
    /// If a query fails.
    async fn restorable_columns(&mut self, table: &TableName) -> Result<Vec<ColumnDecl>, TargetError>;

    /// Reads from the catalog what else happens when sessions are ended.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    async fn read_side_effects(&mut self) -> Result<SideEffectCatalog, TargetError>;

    /// Returns `true` if a trigger, a rule or a foreign key may change further session rows.
    ///
    /// # Errors
    ///
    /// If a query fails.
    async fn has_side_effects(
        &mut self,
        sql: &QueryBuilder<'_>,
        change: RowChange<'_>,
    ) -> Result<bool, TargetError>;

    /// Begins a transaction. Returns its id, by which [`Self::transaction_status`] finds its outcome, where
    /// the database has such ids.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    async fn begin_transaction(&mut self) -> Result<Option<i64>, TargetError>;

    /// Returns the rows of a statement as text, inside the transaction if one is open.
    ///
    /// # Errors
    ///
    /// If the statement fails.
    async fn fetch_rows(&mut self, statement: &str) -> Result<Vec<TextRow>, TargetError>;

    /// Reads full rows for the archive.
    ///
    /// # Errors
    ///
    /// If the query fails.
    async fn read_full_rows(&mut self, query: &str) -> Result<FullRows, TargetError>;

    /// Deletes or updates rows that still match what was read. Reports single rows only if `detailed` is set.
    ///
    /// # Errors
    ///
    /// If the statement fails.
    async fn change_rows(
        &mut self,
        sql: &QueryBuilder<'_>,
        mutation: Mutation<'_>,
        read: ReadRows<'_>,
        detailed: bool,
    ) -> Result<ChangeOutcome, TargetError>;

    /// Returns the count of session rows changed over this connection by any means. The difference between
    /// two readings in one transaction is the number of rows changed between them.
    ///
    /// # Errors
    ///
    /// If a query fails.
    async fn changed_row_count(&mut self, sql: &QueryBuilder<'_>) -> Result<i64, TargetError>;

    /// Returns `true` if the server counts the rows that a transaction deletes.
    ///
    /// # Errors
    ///
    /// If a query fails.
    async fn counts_deleted_rows(&mut self) -> Result<bool, TargetError> {
        Ok(true)
    }

    /// Deletes rows of a dependent table that were read with these sessions.
    ///
    /// # Errors
    ///
    /// If a statement fails.
    async fn delete_dependents(
        &mut self,
        sql: &QueryBuilder<'_>,
        dependent: &CascadingTable,
        rows: &DependentRows,
        read: ReadRows<'_>,
    ) -> Result<DeletedDependents, TargetError>;

    /// Returns the count of rows of these tables deleted over this connection by any means, or `None` where
    /// [`WriteBackend::delete_dependents`] verifies their number.
    ///
    /// # Errors
    ///
    /// If a query fails.
    async fn deleted_dependent_count(
        &mut self,
        _dependents: &[CascadingTable],
    ) -> Result<Option<u64>, TargetError> {
        Ok(None)
    }

    /// Returns the tables that inherit from the session table, by their number in the archive. Rows are
    /// restored into the table that they came from.
    ///
    /// # Errors
    ///
    /// If a query fails.
    async fn inheriting_tables(
        &mut self,
        _sql: &QueryBuilder<'_>,
    ) -> Result<BTreeMap<u64, TableName>, TargetError> {
        Ok(BTreeMap::new())
    }

    /// Restores rows. Returns the obstacle for each, or `None` for a restored row.
    ///
    /// # Errors
    ///
    /// If the statement fails.
    async fn restore_rows(
        &mut self,
        sql: &QueryBuilder<'_>,
        rows: RowsToRestore<'_>,
    ) -> Result<Vec<Option<RestoreObstacle>>, TargetError>;

    /// Restores the rows of a dependent table at these positions. Returns the positions of rows that the
    /// table rejects.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the database cannot continue.
    async fn restore_dependents(
        &mut self,
        sql: &QueryBuilder<'_>,
        rows: &UnsealedDependents,
        row_indexes: &[usize],
    ) -> Result<Vec<usize>, TargetError>;

    /// Commits the transaction.
    ///
    /// # Errors
    ///
    /// If the outcome is unknown: ask [`Self::transaction_status`] over a new connection.
    async fn commit(&mut self) -> Result<(), TargetError>;

    /// Rolls the transaction back. If even that fails, the connection is unusable.
    async fn rollback(&mut self);

    /// Returns the outcome of a transaction.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    async fn transaction_status(&mut self, _transaction: i64) -> Result<TransactionStatus, TargetError> {
        Ok(TransactionStatus::Unknown)
    }

    /// Returns the lag of the slowest replica in seconds, or 0 if there is none or the role may not see
    /// replicas.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the lag cannot be decoded.
    async fn max_replica_lag_s(&mut self) -> Result<f64, TargetError> {
        Ok(0.0)
    }

    /// Returns `true` if the connection is known to be lost.
    fn is_lost(&self) -> bool {
        false
    }
}
