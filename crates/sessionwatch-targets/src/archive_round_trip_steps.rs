//! Steps of a removal and a restore, for tests of write sessions: the same for every kind of database.

use sessionwatch_core::row_ref::{self, RowRef};

use crate::{
    backend::{ChangeOutcome, RowsToRestore, WriteBackend},
    decrypted_rows::{ColumnDecl, DecryptedRows},
    error::TargetError,
    full_rows::BatchPlaintext,
    mapping::RevokeMethod,
    sql::{
        LocateBy, Mutation, ReadRows, RestoreObstacle, RowChange, RowKeyKind, RowSelection, RowVersion,
        sample_target::SampleTarget,
    },
};

/// The archived rows of all sessions.
pub(crate) struct ArchivedSessions {
    pub(crate) batch: DecryptedRows,
    /// Position in the batch and row hash of each row.
    pub(crate) requested: Vec<(usize, i64)>,
}

/// Reads all sessions in full, removes them, and commits. The rows pass through the format of the archive.
pub(crate) async fn archive_and_delete(
    session: &mut impl WriteBackend,
    target: &SampleTarget,
) -> ArchivedSessions {
    let sql = target.query_builder();
    session.begin_transaction().await.unwrap();
    let columns = session.restorable_columns(&target.mapping.sessions).await.unwrap();
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let planned = planned_rows(session, target).await;
    let located: Vec<&RowRef> = planned.iter().collect();
    let query = sql.full_rows_query(&names, LocateBy::Position, &located);
    let full_rows = session.read_full_rows(&query).await.unwrap();
    let headers = full_rows.parse_headers().unwrap();
    let hash_of = |locator| planned.iter().find(|row| row.locator == locator).map(|row| row.row_hash);
    let versions: Vec<RowVersion> = headers
        .iter()
        .map(|header| RowVersion {
            locator: header.locator,
            version: header.version,
            row_hash: header.row_hash,
            id: None,
        })
        .collect();
    let read = ReadRows { locate_by: LocateBy::Position, columns: &names, rows: &versions };
    let delete = Mutation { change: RowChange::Delete, orphans_only: false };
    let outcome = session.change_rows(&sql, delete, read, true).await.unwrap();
    assert_eq!(outcome, ChangeOutcome::Rows(vec![true; planned.len()]));
    session.commit().await.unwrap();
    let header = batch_header(sql.schema.dialect.name(), &columns);
    let batch =
        BatchPlaintext { header: &header, full_rows: &full_rows, sessions: &headers, dependents: &[] };
    let batch = batch.with_plaintext(|bytes| DecryptedRows::parse(bytes).unwrap());
    let hashes = headers.iter().map(|header| hash_of(header.locator).unwrap());
    ArchivedSessions { batch, requested: hashes.enumerate().collect() }
}

/// Returns all sessions as planned.
async fn planned_rows(session: &mut impl WriteBackend, target: &SampleTarget) -> Vec<RowRef> {
    let query = target.query_builder().planned_rows_query(
        RowSelection::All,
        &RevokeMethod::Delete,
        RowKeyKind::Place,
    );
    let rows = session.fetch_rows(&query).await.unwrap();
    let planned = rows.iter().map(|row| RowRef {
        locator: row_ref::parse_locator(row[0].as_deref().unwrap()).unwrap(),
        row_hash: row[3].as_deref().unwrap().parse().unwrap(),
        ..RowRef::default()
    });
    planned.collect()
}

/// Returns the first line of a batch.
pub(crate) fn batch_header(dialect: &str, columns: &[ColumnDecl]) -> String {
    serde_json::json!({
        "version": 2,
        "dialect": dialect,
        "table": "sessions",
        "columns": columns,
        "change": "delete",
    })
    .to_string()
}

/// Restores archived rows and commits, or rolls back after an error.
pub(crate) async fn restore(
    session: &mut impl WriteBackend,
    target: &SampleTarget,
    archived: &ArchivedSessions,
) -> Result<Vec<Option<RestoreObstacle>>, TargetError> {
    session.begin_transaction().await?;
    let rows = RowsToRestore {
        batch: &archived.batch,
        into_table: &target.mapping.sessions,
        requested: &archived.requested,
        null_columns: &[],
    };
    let outcome = session.restore_rows(&target.query_builder(), rows).await;
    match &outcome {
        Ok(_) => session.commit().await?,
        Err(_) => session.rollback().await,
    }
    outcome
}
