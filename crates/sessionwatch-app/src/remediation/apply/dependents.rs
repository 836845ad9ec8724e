//! Rows of other tables that a deletion takes along (`ON DELETE CASCADE`): read and sealed with their sessions, and deleted
//! just before them, so that the database has none left to delete by itself.

use sessionwatch_targets::{
    error::TargetError,
    full_rows::{DependentRows, RowHeader},
    scope::QueryScope,
    side_effects::CascadingTable,
    sql::{ReadRows, RowChange},
    write_session::WriteSession,
};

use super::{ActionError, ApplyRun};

/// Rows of one dependent table that are read for several sessions at once; for more, the sessions are taken apart.
const MAX_DEPENDENT_ROWS_PER_BATCH: usize = 5_000;

/// The other tables whose rows a change deletes, and that are archived; an error if this role cannot archive and restore them.
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

/// Refuses to delete rows with sessions where the server does not tell how many it deleted.
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
    /// The rows that go with sessions which were read, by table; `None` if they are too many for one batch.
    pub(super) async fn read_dependents(
        &self,
        session: &mut WriteSession,
        read: ReadRows<'_>,
    ) -> Result<Option<Vec<DependentRows>>, ActionError> {
        let scope = self.target.scope();
        let limit = (read.rows.len() > 1).then_some(MAX_DEPENDENT_ROWS_PER_BATCH + 1);
        let position = |head: &RowHeader| {
            read.rows.iter().position(|row| (row.locator, row.version) == (head.locator, head.version))
        };
        let mut found = Vec::with_capacity(self.dependents.len());
        for dependent in &self.dependents {
            let whole = session.read_dependents(&scope, dependent, read, limit).await?;
            let rows = DependentRows::new(whole, position);
            let rows = rows.ok_or(ActionError::Unexpected("the database sent rows that cannot be read"))?;
            if limit.is_some_and(|limit| rows.len() >= limit) {
                return Ok(None);
            }
            found.push(rows);
        }
        Ok(Some(found))
    }

    /// Deletes those rows, what refers to others first: whether just they went.
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
