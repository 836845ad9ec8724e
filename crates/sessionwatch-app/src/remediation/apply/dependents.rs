//! Dependent rows of other tables (`ON DELETE CASCADE`). They are read and archived with their sessions, and deleted
//! just before them, so that nothing is left for the database to delete unarchived.

use sessionwatch_targets::{
    error::TargetError,
    full_rows::{DependentRows, RowHeader},
    scope::QueryScope,
    side_effects::CascadingTable,
    sql::{ReadRows, RowChange},
    write_session::WriteSession,
};

use super::{ActionError, ApplyRun};

/// Maximum number of rows read from one dependent table for a batch. A batch with more is split.
const MAX_DEPENDENT_ROWS_PER_BATCH: usize = 5_000;

/// Returns the tables whose rows a change deletes and archives. Fails if the write role cannot archive and restore
/// them.
pub(in crate::remediation) async fn load_dependents(
    session: &mut WriteSession,
    scope: &QueryScope<'_>,
    change: RowChange<'_>,
) -> Result<Vec<CascadingTable>, ActionError> {
    let dependents = session.find_dependents(scope, change).await?;
    let lacking = session.missing_privileges(scope, change, &dependents).await?;
    if !lacking.is_empty() {
        return Err(ActionError::MissingPrivileges(lacking));
    }
    Ok(dependents)
}

/// Rejects a change with dependents if the server does not count deleted rows.
pub(in crate::remediation) async fn require_row_counts(
    session: &mut WriteSession,
    dependents: &[CascadingTable],
) -> Result<(), ActionError> {
    match dependents.first() {
        Some(dependent) if !session.counts_deleted_rows().await? => {
            Err(ActionError::NotCounted(dependent.sql_name.clone()))
        }
        _ => Ok(()),
    }
}

impl ApplyRun<'_> {
    /// Reads the dependents of sessions, by table; `None` if there are too many for one batch.
    pub(super) async fn read_dependents(
        &self,
        session: &mut WriteSession,
        read: ReadRows<'_>,
    ) -> Result<Option<Vec<DependentRows>>, ActionError> {
        let scope = self.target.scope();
        // A single session cannot be split further, so all its dependents are read.
        let limit = (read.rows.len() > 1).then_some(MAX_DEPENDENT_ROWS_PER_BATCH + 1);
        let position = |head: &RowHeader| {
            read.rows.iter().position(|row| (row.locator, row.version) == (head.locator, head.version))
        };
        let mut found = Vec::with_capacity(self.dependents.len());
        for dependent in &self.dependents {
            let full_rows = session.read_dependents(&scope, dependent, read, limit).await?;
            let rows = DependentRows::new(full_rows, position);
            let rows = rows.ok_or(ActionError::Unexpected("cannot decode rows returned by the database"))?;
            if limit.is_some_and(|limit| rows.len() >= limit) {
                return Ok(None);
            }
            found.push(rows);
        }
        Ok(Some(found))
    }

    /// Deletes dependents, referring rows first. Returns `false` if not exactly these rows were deleted.
    pub(super) async fn delete_dependents(
        &self,
        session: &mut WriteSession,
        rows: &[DependentRows],
        read: ReadRows<'_>,
    ) -> Result<bool, TargetError> {
        let scope = self.target.scope();
        for (dependent, rows) in self.dependents.iter().zip(rows).rev() {
            if !session.delete_dependents(&scope, dependent, rows, read).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
