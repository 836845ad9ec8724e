//! Write sessions on PostgreSQL: short transactions with limits set inside each.

use std::{cmp::Ordering, collections::BTreeMap};

use tokio_postgres::{
    SimpleQueryMessage,
    types::{ToSql, Type},
};

use super::{
    CopyRowSink, POSTGRES_CAPABILITIES, classify_query_error, explain_overflow,
    search_path::{self, RESTORE_ROLE_SEARCH_PATH, RoleSettings, SET_SAFE_SEARCH_PATH},
    side_effects,
};
use crate::{
    backend::{ChangeOutcome, HiddenRows, RowsToRestore, TransactionStatus, WriteBackend, WriteRole},
    capabilities::Capabilities,
    cells::{self, TextRow},
    decrypted_rows::{ColumnDecl, UnsealedDependents},
    error::TargetError,
    full_rows::{DeletedDependents, DependentRows, FullRows},
    mapping::TableName,
    side_effects::{CascadingTable, SideEffectCatalog},
    sql::{self, Dialect, Mutation, QueryBuilder, ReadRows, RestoreObstacle, RowChange, RowVersion},
    time_limits::TimeLimits,
};
use pg_link::{Dsn, PgConnection};

/// Lock timeout of a batch in milliseconds: short, so that the application never waits long behind a batch.
const LOCK_TIMEOUT_MS: u32 = 20;
/// Time in milliseconds that a transaction may wait for this program before the server rolls it back.
const IDLE_TIMEOUT_MS: u32 = 10_000;

/// Returns the session table as a literal for `::regclass`.
fn quoted_sessions_table(sql: &QueryBuilder<'_>) -> String {
    sql::quote_string(Dialect::POSTGRES, &sql::quote_table(&sql.mapping.sessions))
}

/// Returns `WITH heaps(oid)`: the session table and its descendants.
fn heaps_cte(sql: &QueryBuilder<'_>) -> String {
    format!(
        "WITH RECURSIVE heaps(oid) AS (SELECT {}::regclass::oid UNION\n  \
         SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN heaps ON i.inhparent = heaps.oid)\n",
        quoted_sessions_table(sql)
    )
}

/// A connection with the write role.
#[derive(Debug)]
pub struct PostgresWrite {
    connection: PgConnection<CopyRowSink>,
    limits: TimeLimits,
    /// Search path in the address; empty for that of the role.
    search_path: Vec<String>,
}

impl PostgresWrite {
    /// Inserts either all of these rows or none. Returns `true` if they were inserted.
    async fn insert_dependents(
        &mut self,
        statement: &str,
        rows: &UnsealedDependents,
        row_indexes: &[usize],
    ) -> Result<bool, TargetError> {
        let columns: Vec<Vec<Option<&str>>> = (0..rows.table.columns.len())
            .map(|column| {
                row_indexes
                    .iter()
                    .map(|at| rows.row(*at).get(column).and_then(|cell| cell.as_text()))
                    .collect()
            })
            .collect();
        let parameters: Vec<(&(dyn ToSql + Sync), Type)> =
            columns.iter().map(|column| (column as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect();
        self.execute_batch(&format!("SAVEPOINT dependents;\n{SET_SAFE_SEARCH_PATH}")).await?;
        let inserted = self.connection.client().execute_typed(statement, &parameters).await;
        match inserted.map_err(|error| classify_query_error(&error)) {
            // A smaller count means that some rows exist already or were rejected by a trigger.
            Ok(count) if count == row_indexes.len() as u64 => {
                self.execute_batch("RELEASE SAVEPOINT dependents").await?;
                Ok(true)
            }
            Err(error) if !error.is_row_error() => Err(error),
            _ => {
                self.execute_batch("ROLLBACK TO SAVEPOINT dependents").await?;
                Ok(false)
            }
        }
    }

    /// Runs a statement and returns the number of changed rows.
    async fn execute_counted(&mut self, statement: &str) -> Result<u64, TargetError> {
        let statement = format!("{SET_SAFE_SEARCH_PATH};\n{statement}");
        let messages = self
            .connection
            .client()
            .simple_query(&statement)
            .await
            .map_err(|error| classify_query_error(&error))?;
        let count = |message| match message {
            SimpleQueryMessage::CommandComplete(count) => count,
            _ => 0,
        };
        Ok(messages.into_iter().map(count).sum())
    }

    async fn execute_batch(&self, statements: &str) -> Result<(), TargetError> {
        self.connection.client().batch_execute(statements).await.map_err(|error| classify_query_error(&error))
    }
}

impl WriteBackend for PostgresWrite {
    type Address = Dsn;

    async fn open(dsn: &Dsn, limits: TimeLimits, _: i64) -> Result<Self, TargetError> {
        let connection = super::connect(dsn).await?;
        // Without schemas in the address, there is nothing to verify before the first transaction.
        if !dsn.search_path.is_empty() {
            let rows = super::fetch_rows(
                connection.client(),
                &search_path::read_role_settings_statements(&dsn.search_path),
            )
            .await?;
            let role = rows.first().and_then(|row| RoleSettings::from_row(row));
            role.ok_or(TargetError::Undecodable("the role settings"))?.require_schemas(&dsn.search_path)?;
        }
        Ok(Self { connection, limits, search_path: dsn.search_path.clone() })
    }

    fn capabilities(&self) -> &'static Capabilities {
        &POSTGRES_CAPABILITIES
    }

    async fn missing_privileges(
        &mut self,
        sql: &QueryBuilder<'_>,
        change: RowChange<'_>,
        dependents: &[CascadingTable],
    ) -> Result<Vec<String>, TargetError> {
        self.find_missing_privileges(sql, change, dependents).await
    }

    async fn hidden_tables(
        &mut self,
        sql: &QueryBuilder<'_>,
        change: RowChange<'_>,
        dependents: &[CascadingTable],
    ) -> Result<HiddenRows, TargetError> {
        self.find_hidden_tables(sql, change, dependents).await
    }

    async fn write_role(&mut self) -> Result<Option<WriteRole>, TargetError> {
        let query =
            "SELECT current_user, (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)";
        let rows = self.fetch_rows(query).await?;
        let row = cells::only_row(&rows, "the role")?;
        let name = cells::required_text(row, 0, "the role")?.to_owned();
        Ok(Some(WriteRole { name, is_superuser: cells::parse_flag(row, 1, "the role")? }))
    }

    async fn restorable_columns(&mut self, table: &TableName) -> Result<Vec<ColumnDecl>, TargetError> {
        let table = sql::quote_string(Dialect::POSTGRES, &sql::quote_table(table));
        let rows = self
            .fetch_rows(&format!(
                "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute AS a\n\
                 WHERE a.attrelid = {table}::regclass AND a.attnum > 0 AND NOT a.attisdropped\n  \
                 AND COALESCE(to_jsonb(a) ->> 'attgenerated', '') = '' ORDER BY a.attnum"
            ))
            .await?;
        let column = |row: TextRow| {
            let text = |at: usize| cells::required_text(&row, at, "a column");
            Ok(ColumnDecl { name: text(0)?.to_owned(), kind: text(1)?.to_owned() })
        };
        rows.into_iter().map(column).collect()
    }

    async fn read_side_effects(&mut self) -> Result<SideEffectCatalog, TargetError> {
        side_effects::read_catalog(async |query| self.fetch_rows(query).await).await
    }

    async fn has_side_effects(
        &mut self,
        sql: &QueryBuilder<'_>,
        change: RowChange<'_>,
    ) -> Result<bool, TargetError> {
        // Bits of `tgtype` and values of `ev_type` as in PostgreSQL's pg_trigger.h and parsenodes.h.
        let (trigger_bit, rule_event) = match change {
            RowChange::Delete => (8, '4'),
            RowChange::Expire(_) | RowChange::Flag(..) => (16, '2'),
        };
        let heaps = heaps_cte(sql);
        let rows = self
            .fetch_rows(&format!(
                "{heaps} SELECT EXISTS (SELECT 1 FROM heaps JOIN pg_catalog.pg_trigger AS t ON t.tgrelid \
                 = heaps.oid\n  \
                 WHERE t.tgtype & {trigger_bit} <> 0 AND t.tgenabled <> 'D')\n\
                 OR EXISTS (SELECT 1 FROM heaps JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = heaps.oid\n  \
                 WHERE r.ev_type = '{rule_event}' AND r.ev_enabled <> 'D')"
            ))
            .await?;
        cells::parse_flag(cells::only_row(&rows, "the triggers")?, 0, "the triggers")
    }

    async fn begin_transaction(&mut self) -> Result<Option<i64>, TargetError> {
        let rows = super::fetch_rows(
            self.connection.client(),
            &format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;\nSET LOCAL statement_timeout = {};\n\
                 SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS};\n\
                 SET LOCAL idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS};\n\
                 SET LOCAL standard_conforming_strings = on;\n\
                 SET LOCAL DateStyle = 'ISO';\nSET LOCAL TimeZone = 'UTC';\n\
                 SET LOCAL application_name = 'sessionwatch (write)';\n{};\nSELECT txid_current()",
                self.limits.timeout.as_millis(),
                search_path::save_search_path_statements(&self.search_path),
            ),
        )
        .await
        .map_err(|error| match error {
            // A replica rejects `READ WRITE` with "feature not supported".
            TargetError::Query(code) if code == "0A000" => TargetError::ReadOnly,
            error => error,
        })?;
        // The last of the statements returned the transaction id.
        let last = rows.last().ok_or(TargetError::Undecodable("the transaction ID"))?;
        cells::parse_required_number(last, 0, "the transaction ID").map(Some)
    }

    async fn fetch_rows(&mut self, statement: &str) -> Result<Vec<TextRow>, TargetError> {
        tracing::debug!("query: {}", sql::redact_literals(statement.get(..400).unwrap_or(statement)));
        // Statements sent together form one transaction, even outside an explicit one.
        super::fetch_rows(self.connection.client(), &format!("{SET_SAFE_SEARCH_PATH};\n{statement}")).await
    }

    async fn read_full_rows(&mut self, query: &str) -> Result<FullRows, TargetError> {
        tracing::debug!("query: {}", sql::redact_literals(query));
        self.connection.row_sink_slot().put(CopyRowSink::FullRows(FullRows::default()));
        let outcome = self
            .connection
            .client()
            .batch_execute(&format!("{SET_SAFE_SEARCH_PATH};\nCOPY ({query}) TO STDOUT"))
            .await;
        let taker = self.connection.row_sink_slot().take();
        outcome.map_err(|error| {
            explain_overflow(self.connection.row_sink_slot(), classify_query_error(&error))
        })?;
        match taker {
            Some(CopyRowSink::FullRows(whole)) => Ok(whole),
            _ => Err(TargetError::ConnectionLost),
        }
    }

    async fn change_rows(
        &mut self,
        sql: &QueryBuilder<'_>,
        mutation: Mutation<'_>,
        read: ReadRows<'_>,
        detailed: bool,
    ) -> Result<ChangeOutcome, TargetError> {
        let statement = sql.change_rows_statement(mutation, read, detailed);
        if !detailed {
            let count = self.execute_counted(&statement).await?;
            return Ok(match count.cmp(&(read.rows.len() as u64)) {
                Ordering::Less => ChangeOutcome::FewerThanRead,
                Ordering::Equal => ChangeOutcome::Rows(vec![true; read.rows.len()]),
                Ordering::Greater => ChangeOutcome::MoreThanRead,
            });
        }
        let rows = self.fetch_rows(&statement).await.map_err(|error| match error {
            // PostgreSQL rejects `WITH … (DELETE … RETURNING)` if a rule adds statements.
            TargetError::Query(code) if code == "0A000" => TargetError::HiddenByRule,
            error => error,
        })?;
        // Without a changed row, the locators are NULL.
        let row = cells::only_row(&rows, "the changed rows")?;
        let locators = row.first().and_then(Option::as_deref).unwrap_or_default();
        let mut changed = BTreeMap::<&str, usize>::new();
        locators.split_whitespace().for_each(|locator| *changed.entry(locator).or_default() += 1);
        // Identical rows share a locator; each occurrence counts once.
        let was_changed = |row: &RowVersion| match changed.get_mut(row.locator_text(read.locate_by).as_str())
        {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        };
        let rows = read.rows.iter().map(was_changed).collect();
        Ok(if changed.values().all(|count| *count == 0) {
            ChangeOutcome::Rows(rows)
        } else {
            ChangeOutcome::MoreThanRead
        })
    }

    async fn changed_row_count(&mut self, sql: &QueryBuilder<'_>) -> Result<i64, TargetError> {
        let heaps = heaps_cte(sql);
        let rows = self
            .fetch_rows(&format!(
                "{heaps} SELECT COALESCE(SUM(pg_catalog.pg_stat_get_xact_tuples_deleted(oid)\n  \
                 + pg_catalog.pg_stat_get_xact_tuples_updated(oid)), 0)::bigint FROM heaps"
            ))
            .await?;
        cells::parse_only_number(&rows, "the transaction statistics")
    }

    async fn counts_deleted_rows(&mut self) -> Result<bool, TargetError> {
        let rows = self.fetch_rows("SELECT pg_catalog.current_setting('track_counts')").await?;
        Ok(rows.first().and_then(|row| row.first()?.as_deref()) == Some("on"))
    }

    async fn delete_dependents(
        &mut self,
        sql: &QueryBuilder<'_>,
        dependent: &CascadingTable,
        rows: &DependentRows,
        read: ReadRows<'_>,
    ) -> Result<DeletedDependents, TargetError> {
        // Rows that others add are found by `deleted_dependent_count`.
        let mut deleted = DeletedDependents::default();
        if rows.is_empty() {
            return Ok(deleted);
        }
        for statement in sql.delete_dependents_statements(dependent, &rows.row_hashes(), read) {
            deleted.count += self.execute_counted(&statement).await?;
        }
        Ok(deleted)
    }

    async fn deleted_dependent_count(
        &mut self,
        dependents: &[CascadingTable],
    ) -> Result<Option<u64>, TargetError> {
        if dependents.is_empty() {
            return Ok(None);
        }
        let named = |dependent: &CascadingTable| {
            format!("{}::regclass::oid", sql::quote_string(Dialect::POSTGRES, &dependent.sql_name))
        };
        let tables: Vec<String> = dependents.iter().map(named).collect();
        let rows = self
            .fetch_rows(&format!(
                "WITH RECURSIVE heaps(oid) AS (SELECT pg_catalog.unnest(ARRAY[{}]) UNION\n  \
                 SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN heaps ON i.inhparent = heaps.oid)\n\
                 SELECT COALESCE(SUM(pg_catalog.pg_stat_get_xact_tuples_deleted(oid)), 0)::bigint FROM heaps",
                tables.join(", ")
            ))
            .await?;
        cells::parse_only_number(&rows, "the transaction statistics").map(Some)
    }

    async fn inheriting_tables(
        &mut self,
        sql: &QueryBuilder<'_>,
    ) -> Result<BTreeMap<u64, TableName>, TargetError> {
        let heaps = heaps_cte(sql);
        // TimescaleDB marks hypertables with the trigger `ts_insert_blocker`: their rows must be inserted through the
        // parent table.
        let rows = self
            .fetch_rows(&format!(
                "{heaps} SELECT c.oid, n.nspname, c.relname FROM heaps JOIN pg_catalog.pg_class AS c ON \
                 c.oid = heaps.oid\n\
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace\n\
                 WHERE c.relkind = 'r' AND NOT c.relispartition AND c.oid <> {table}::regclass\n  \
                 AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS t \
                 WHERE t.tgrelid = {table}::regclass AND t.tgname = 'ts_insert_blocker')",
                table = quoted_sessions_table(sql),
            ))
            .await?;
        let named = |row: TextRow| {
            let oid = cells::parse_required_number(&row, 0, "the OID of a table")?;
            let mut names = row.into_iter().skip(1);
            let (schema, name) = (names.next().flatten(), names.next().flatten());
            Ok((oid, TableName { schema, name: name.ok_or(TargetError::Undecodable("a table name"))? }))
        };
        rows.into_iter().map(named).collect()
    }

    async fn restore_rows(
        &mut self,
        sql: &QueryBuilder<'_>,
        rows: RowsToRestore<'_>,
    ) -> Result<Vec<Option<RestoreObstacle>>, TargetError> {
        let RowsToRestore { batch, requested, .. } = rows;
        // The statement contains no value: values are parameters, which servers do not log by default.
        let statement = rows.restore_statement(sql);
        tracing::debug!("query: {}", sql::redact_literals(&statement));
        let columns: Vec<Vec<Option<&str>>> = (0..batch.header.columns.len())
            .map(|column| {
                let cell =
                    |(at, _): &(usize, i64)| batch.row(*at).get(column).and_then(|cell| cell.as_text());
                requested.iter().map(cell).collect()
            })
            .collect();
        let parameters: Vec<(&(dyn ToSql + Sync), Type)> =
            columns.iter().map(|column| (column as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect();
        self.execute_batch(SET_SAFE_SEARCH_PATH).await?;
        // An unnamed statement, which poolers can handle.
        let result_rows = self.connection.client().query_typed(&statement, &parameters).await;
        let result_rows = result_rows.map_err(|error| classify_query_error(&error))?;
        let mut obstacles = vec![None; requested.len()];
        let mut row_hashes = Vec::new();
        for row in &result_rows {
            let cells = row.try_get::<_, &str>(0).ok().zip(row.try_get::<_, &str>(1).ok());
            let cells = cells.and_then(|(what, number)| Some((what, number.parse::<i64>().ok()?)));
            let (what, number) = cells.ok_or(TargetError::Undecodable("a restored row"))?;
            let position = usize::try_from(number.wrapping_sub(1)).ok();
            match (RestoreObstacle::parse(what), position.and_then(|at| obstacles.get_mut(at))) {
                (Some(found), Some(obstacle)) => *obstacle = Some(found),
                (None, _) if what == "back" => row_hashes.push(number),
                _ => return Err(TargetError::Undecodable("a restored row")),
            }
        }
        // Identical rows share a row hash; each occurrence counts once.
        for (obstacle, (_, row_hash)) in
            obstacles.iter_mut().zip(requested).filter(|(obstacle, _)| obstacle.is_none())
        {
            match row_hashes.iter().position(|restored| restored == row_hash) {
                Some(at) => _ = row_hashes.swap_remove(at),
                None => *obstacle = Some(RestoreObstacle::Refused),
            }
        }
        Ok(obstacles)
    }

    async fn restore_dependents(
        &mut self,
        sql: &QueryBuilder<'_>,
        rows: &UnsealedDependents,
        row_indexes: &[usize],
    ) -> Result<Vec<usize>, TargetError> {
        /// Number of rows restored by one statement.
        const ROWS_PER_STATEMENT: usize = 500;
        let statement = sql.restore_dependents_statement(&rows.table);
        // A constraint deferred to commit would roll back the whole transaction.
        self.execute_batch("SET CONSTRAINTS ALL IMMEDIATE").await?;
        let mut refused = Vec::new();
        for some in row_indexes.chunks(ROWS_PER_STATEMENT) {
            if self.insert_dependents(&statement, rows, some).await? {
                continue;
            }
            // Inserts row by row to find those that are rejected.
            for one in some.chunks(1) {
                if some.len() == 1 || !self.insert_dependents(&statement, rows, one).await? {
                    refused.extend(one);
                }
            }
        }
        Ok(refused)
    }

    async fn commit(&mut self) -> Result<(), TargetError> {
        // Deferred triggers run at commit.
        self.execute_batch(&format!("{RESTORE_ROLE_SEARCH_PATH};\nCOMMIT")).await
    }

    async fn rollback(&mut self) {
        // If even the rollback fails, `is_lost` reports the connection as unusable.
        _ = self.execute_batch("ROLLBACK").await;
    }

    async fn transaction_status(&mut self, transaction: i64) -> Result<TransactionStatus, TargetError> {
        let rows = self.fetch_rows(&format!("SELECT txid_status({transaction})")).await;
        let status = match rows {
            Err(TargetError::ConnectionLost) => return Err(TargetError::ConnectionLost),
            // The server never issued this ID: it is another server, or was restored from a backup.
            Err(TargetError::Query(_)) => return Ok(TransactionStatus::Unknown),
            Err(error) => return Err(error),
            Ok(rows) => rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()),
        };
        Ok(match status.as_deref() {
            Some("committed") => TransactionStatus::Committed,
            Some("aborted") => TransactionStatus::RolledBack,
            Some("in progress") => TransactionStatus::Running,
            _ => TransactionStatus::Unknown,
        })
    }

    async fn max_replica_lag_s(&mut self) -> Result<f64, TargetError> {
        let query = "SELECT COALESCE(MAX(EXTRACT(EPOCH FROM replay_lag)), 0)::text FROM pg_stat_replication";
        // A role without the privilege sees NULL, and a server without replicas has no row.
        match self.fetch_rows(query).await {
            Ok(rows) => cells::parse_only_number(&rows, "the lag of the replicas"),
            // Some servers lack the view, and with it replicas of this kind.
            Err(TargetError::Query(_) | TargetError::Unsupported | TargetError::Permission) => Ok(0.0),
            Err(error) => Err(error),
        }
    }

    fn is_lost(&self) -> bool {
        self.connection.is_closed()
    }
}

#[cfg(test)]
mod tests;
