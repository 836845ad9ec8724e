//! What a kind of database has to do to be monitored: its addresses, reading it, and changing it. Each has a folder that
//! implements this; [`crate::databases`] lists them.
//!
//! What not every database has, such as roles or replicas, has an answer here that says so.

mod address;
mod facts;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use sessionwatch_core::{
    snapshot::{SessionSnapshot, SnapshotOptions},
    timestamp::UtcTimestamp,
};

use crate::{
    capabilities::Capabilities,
    cells::TextRow,
    error::TargetError,
    full_rows::{DependentRows, FullRows},
    limits::TimeLimits,
    mapping::TableName,
    scan_progress::ScanProgress,
    side_effects::{CascadingTable, SideEffectCatalog},
    sql::{
        EndedRows, Mutation, QueryBuilder, ReadRows, RestoreObstacle, RowChange, schema::DatabaseSchema,
        tables::TableInfo,
    },
    unsealed_rows::{BatchHeader, ColumnDecl, UnsealedDependents, UnsealedRows},
};

pub(crate) use self::address::DatabaseAddress;
pub use self::facts::{
    AddressError, CertificateCheck, ChangeOutcome, CustomValue, DatabaseRole, HiddenRows, NamedDatabase,
    RowIdSequence, RowKeySupport, SchemaCreator, ScratchError, ServerInfo, TransactionStatus,
    TransportSecurity, WriteRole,
};

/// Rows of a query that are read at once.
pub(crate) const ROWS_PER_PAGE: usize = 5_000;

/// Archived rows that one statement restores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowsToRestore<'a> {
    /// The batch that they are in.
    pub(crate) batch: &'a UnsealedRows,
    /// The table that removed rows are inserted into.
    pub(crate) into_table: &'a TableName,
    /// The position of each, and its mark.
    pub(crate) requested: &'a [(usize, i64)],
    /// As in [`EndedRows`]; nothing of rows that were removed.
    pub(crate) null_columns: &'a [usize],
}

impl RowsToRestore<'_> {
    /// The statement.
    pub(crate) fn restore_statement(&self, sql: &QueryBuilder<'_>) -> String {
        let BatchHeader { columns, change, .. } = &self.batch.header;
        match sql.ended_by_column(change) {
            None => sql.insert_removed_statement(columns, self.into_table),
            Some(ended_by) => sql.restore_ended_statement(EndedRows {
                columns,
                ended_by_column: ended_by,
                null_columns: self.null_columns,
            }),
        }
    }
}

/// How a database is opened to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOptions {
    /// Time limits.
    pub(crate) limits: TimeLimits,
    /// Indexes are distrusted.
    pub(crate) ignore_constraints: bool,
    /// The key of fingerprints.
    pub(crate) fingerprint_key: i64,
}

/// Rows that are still to be given, where this program keeps them; a server keeps its own.
#[derive(Debug, Default)]
pub(crate) struct BufferedRows(Vec<TextRow>);

impl BufferedRows {
    /// Keeps the rows of a query.
    pub(crate) fn from_rows(mut rows: Vec<TextRow>) -> Self {
        rows.reverse();
        Self(rows)
    }

    /// The next rows; none at the end.
    pub(crate) fn take_page(&mut self) -> Vec<TextRow> {
        let mut rows = self.0.split_off(self.0.len().saturating_sub(ROWS_PER_PAGE));
        rows.reverse();
        rows
    }
}

/// A connection between two transactions.
pub(crate) trait IdleBackend {
    /// Ends the connection.
    async fn close(self);
}

/// A database inside one transaction that can only read. It executes no code of the target, and no token leaves it.
pub(crate) trait ReadBackend: Sized {
    /// Where it is.
    type Address: DatabaseAddress;
    /// Its connection between two transactions.
    type Idle: IdleBackend;

    /// Connects, and begins the transaction.
    ///
    /// # Errors
    ///
    /// If it cannot be reached or refuses.
    async fn open(address: &Self::Address, options: ReadOptions) -> Result<Self, TargetError>;

    /// Begins another transaction over a connection that is there already.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the server refuses.
    async fn resume_connection(
        idle: Self::Idle,
        address: &Self::Address,
        limits: TimeLimits,
    ) -> Result<Self, TargetError>;

    /// Ends the transaction, and gives the connection for another one; nothing if it is lost, or there is none.
    async fn release(self) -> Option<Self::Idle>;

    /// Ends the transaction and the connection.
    async fn close(self);

    /// Asks the database to end what runs, and drops the connection.
    async fn cancel_and_close(self);

    /// What this kind of database can do.
    fn capabilities(&self) -> &'static Capabilities;

    /// Tells of the progress of scans.
    fn set_progress(&mut self, progress: Option<ScanProgress>);

    /// The role, if it may do everything.
    fn superuser_role(&self) -> Option<&str> {
        None
    }

    /// How many questions were sent so far, each a round trip.
    fn query_count(&self) -> u32 {
        0
    }

    /// The instant at which the transaction began, by the clock of the database.
    ///
    /// # Errors
    ///
    /// If the query fails.
    async fn server_time(&self) -> Result<UtcTimestamp, TargetError>;

    /// How far this copy of the database has come, in bytes of its log; nothing if it does not say.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    async fn replication_position(&self) -> Result<Option<u64>, TargetError> {
        Ok(None)
    }

    /// How far a replica lags; nothing if it is none, or does not say.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    async fn replica_lag(&self) -> Result<Option<SignedDuration>, TargetError> {
        Ok(None)
    }

    /// The tables and views that can be seen, with indexes and foreign keys as they are enforced.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    async fn describe_schema(&self) -> Result<DatabaseSchema, TargetError>;

    /// The rows of a query, as text.
    ///
    /// # Errors
    ///
    /// If the query fails.
    async fn fetch_rows(&self, sql: &str) -> Result<Vec<TextRow>, TargetError>;

    /// The number in the first row of a query; `None` if the query fails, which leaves the transaction usable.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    async fn try_fetch_number(&self, sql: &str) -> Result<Option<u64>, TargetError>;

    /// Begins to read many rows.
    ///
    /// # Errors
    ///
    /// If the query fails.
    async fn open_cursor(&self, sql: &str) -> Result<BufferedRows, TargetError>;

    /// The next [`ROWS_PER_PAGE`] rows, as text; none at the end.
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

    /// The number that a query of the operator's gives; nothing if it gives none. A query that fails leaves the transaction
    /// usable.
    ///
    /// # Errors
    ///
    /// If the query fails, is more than one statement, or writes.
    async fn fetch_custom_value(
        &self,
        sql: &str,
        value: CustomValue,
        max_rows: u64,
    ) -> Result<Option<f64>, TargetError>;

    /// What is unique to a row of the sessions, as they were found.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    async fn find_row_key(
        &self,
        sessions: &TableName,
        found: Option<&TableInfo>,
    ) -> Result<RowKeySupport, TargetError>;

    /// What ending sessions does besides, by the catalog.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    async fn read_side_effects(&self) -> Result<SideEffectCatalog, TargetError>;

    /// Server, connection and role.
    ///
    /// # Errors
    ///
    /// If a query fails.
    async fn fetch_server_info(&self, sessions: &TableName) -> Result<ServerInfo, TargetError>;

    /// Where the row ids stand; nothing where they are no small numbers of a sequence.
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

    /// The databases on the server whose names begin so; none of a file.
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
    /// Where the database is.
    type Address: DatabaseAddress;

    /// Connects; `key` is that of row hashes.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached or refuses.
    async fn open(address: &Self::Address, limits: TimeLimits, key: i64) -> Result<Self, TargetError>;

    /// What this kind of database can do.
    fn capabilities(&self) -> &'static Capabilities;

    /// What this role lacks of what is needed for a change, and for undoing it; each as `PRIVILEGE ON what`.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked, or may only be read.
    async fn missing_privileges(
        &mut self,
        sql: &QueryBuilder<'_>,
        change: RowChange<'_>,
        dependents: &[CascadingTable],
    ) -> Result<Vec<String>, TargetError>;

    /// The tables of which this role does not see every row.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    async fn hidden_tables(
        &mut self,
        _sql: &QueryBuilder<'_>,
        _change: RowChange<'_>,
        _dependents: &[CascadingTable],
    ) -> Result<HiddenRows, TargetError> {
        Ok(HiddenRows::default())
    }

    /// The role that writes; nothing where there are no roles.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    async fn write_role(&mut self) -> Result<Option<WriteRole>, TargetError> {
        Ok(None)
    }

    /// Every column of a table that can be restored.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    async fn restorable_columns(&mut self, table: &TableName) -> Result<Vec<ColumnDecl>, TargetError>;

    /// What ending sessions does besides, by the catalog.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    async fn read_side_effects(&mut self) -> Result<SideEffectCatalog, TargetError>;

    /// Whether something besides a change itself may change rows of the sessions: a trigger, a rule, a foreign key.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    async fn has_side_effects(
        &mut self,
        sql: &QueryBuilder<'_>,
        change: RowChange<'_>,
    ) -> Result<bool, TargetError>;

    /// Begins a transaction: its number, by which its fate can be learnt later, where there are such numbers.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    async fn begin_transaction(&mut self) -> Result<Option<i64>, TargetError>;

    /// The rows of a statement, as text, in the transaction if there is one.
    ///
    /// # Errors
    ///
    /// If the statement fails.
    async fn fetch_rows(&mut self, statement: &str) -> Result<Vec<TextRow>, TargetError>;

    /// The rows of a query with every column, for the archive.
    ///
    /// # Errors
    ///
    /// If the query fails.
    async fn read_full_rows(&mut self, query: &str) -> Result<FullRows, TargetError>;

    /// Removes or changes rows that are still what was read. Without detail, it only says whether those were all of them.
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

    /// A counter of rows of the sessions that were changed over this connection, by whatever means: the difference between
    /// two readings in one transaction is their number.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    async fn changed_row_count(&mut self, sql: &QueryBuilder<'_>) -> Result<i64, TargetError>;

    /// Whether the rows that a transaction deletes are counted.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    async fn counts_deleted_rows(&mut self) -> Result<bool, TargetError> {
        Ok(true)
    }

    /// Deletes rows of a dependent table that were read with these sessions: how many, or one more if others are left.
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
    ) -> Result<u64, TargetError>;

    /// A counter of rows of these tables that were deleted over this connection, by whatever means; nothing where
    /// [`WriteBackend::delete_dependents`] makes sure of their number.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    async fn deleted_dependent_count(
        &mut self,
        _dependents: &[CascadingTable],
    ) -> Result<Option<u64>, TargetError> {
        Ok(None)
    }

    /// The tables that rows are restored into, by their number in the archive, where that is another one than that of the
    /// sessions.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked.
    async fn inheriting_tables(
        &mut self,
        _sql: &QueryBuilder<'_>,
    ) -> Result<BTreeMap<u64, TableName>, TargetError> {
        Ok(BTreeMap::new())
    }

    /// Restores rows: for each of them what was in the way; `None` for a row that is back.
    ///
    /// # Errors
    ///
    /// If the statement fails.
    async fn restore_rows(
        &mut self,
        sql: &QueryBuilder<'_>,
        rows: RowsToRestore<'_>,
    ) -> Result<Vec<Option<RestoreObstacle>>, TargetError>;

    /// Restores rows of a dependent table, those at these positions: the positions of those that the table does not take.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the database cannot go on.
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
    /// If it may not have been: its fate is to be learnt.
    async fn commit(&mut self) -> Result<(), TargetError>;

    /// Undoes the transaction. Where even that fails, the connection is of no use any more.
    async fn rollback(&mut self);

    /// What became of a transaction.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    async fn transaction_status(&mut self, _transaction: i64) -> Result<TransactionStatus, TargetError> {
        Ok(TransactionStatus::Unknown)
    }

    /// How far the replica that lags most is behind, in seconds; 0 where there is none, or the role may not see that.
    async fn max_replica_lag_s(&mut self) -> f64 {
        0.0
    }

    /// Whether the connection is known to be gone.
    fn is_lost(&self) -> bool {
        false
    }
}
