//! What became of batches that were interrupted: learnt from the target before anything else is done there.

use std::collections::BTreeSet;

use sessionwatch_core::row_ref::RowRef;
use sessionwatch_store::{
    archive_batches::{self, ArchivedBatch, ArchivedRowState, BatchState},
    plans,
};
use sessionwatch_targets::{
    mapping::RevokeMethod,
    sql::LocateBy,
    write_session::{TransactionStatus as Transaction, WriteSession},
};

use super::{
    ActionContext, ActionError, ActionPlan,
    planning_session::{ActionTarget, write_address},
};

/// Finds out what became of every batch that was interrupted, before anything else is done.
///
/// # Errors
///
/// If the target or the store fails, or a transaction has not ended yet.
pub async fn recover_interrupted(context: ActionContext<'_>) -> Result<(), ActionError> {
    if context.store.read(|db| archive_batches::list_unsettled_batches(db, &context.target.name))?.is_empty()
    {
        return Ok(());
    }
    let known = ActionTarget::load(context, None).await?;
    let address = write_address(context)?;
    let mut actor = WriteSession::open(address, context.target.limits, known.key).await?;
    recover_on(context, &known, &mut actor).await
}

/// The same, over a connection that is open.
pub(super) async fn recover_on(
    context: ActionContext<'_>,
    target: &ActionTarget,
    session: &mut WriteSession,
) -> Result<(), ActionError> {
    let unsettled =
        context.store.read(|db| archive_batches::list_unsettled_batches(db, &context.target.name))?;
    for batch in unsettled {
        let plan = context
            .store
            .read(|db| plans::find_plan(db, &batch.plan))?
            .map(ActionPlan::from_record)
            .transpose()?;
        // Without it, nobody knows what to look for.
        let plan = plan.flatten().ok_or_else(|| ActionError::NoPlan(batch.plan.clone()))?;
        let revoke = plan.summary.revoke;
        let fates =
            row_states(target, &revoke, session, &batch).await?.ok_or(ActionError::TransactionRunning)?;
        context
            .store
            .write(|db| archive_batches::set_batch_state(db, batch.id, BatchState::Kept, None, &fates))?;
    }
    Ok(())
}

/// Where the rows of a batch are; nothing while its transaction has not ended.
pub(super) async fn row_states(
    target: &ActionTarget,
    revoke: &RevokeMethod,
    session: &mut WriteSession,
    batch: &ArchivedBatch,
) -> Result<Option<Vec<ArchivedRowState>>, ActionError> {
    let fate = session.transaction_status(batch.transaction_id).await?;
    let there = match fate {
        Transaction::Running => return Ok(None),
        Transaction::RolledBack => match batch.state {
            BatchState::Restoring => return Ok(Some(batch.row_states.clone())),
            _ => return Ok(Some(vec![ArchivedRowState::NotRemoved; batch.rows.len()])),
        },
        Transaction::Committed | Transaction::Unknown => {
            find_present_rows(target, revoke, session, &batch.rows).await?
        }
    };
    let restoring = batch.state == BatchState::Restoring;
    // A batch whose fate the database does not tell is there as a whole, or gone as a whole.
    let undone = fate == Transaction::Unknown && !restoring && there.contains(&true);
    let fate = |(there, before): (&bool, &ArchivedRowState)| match (restoring, there, before) {
        (true, true, ArchivedRowState::Archived) => ArchivedRowState::Restored,
        (true, ..) => *before,
        (false, true, _) => ArchivedRowState::NotRemoved,
        (false, false, _) if undone => ArchivedRowState::NotRemoved,
        (false, false, _) => ArchivedRowState::Archived,
    };
    Ok(Some(there.iter().zip(&batch.row_states).map(fate).collect()))
}

/// Which rows are in the table as they were before they were archived.
async fn find_present_rows(
    target: &ActionTarget,
    revoke: &RevokeMethod,
    session: &mut WriteSession,
    rows: &[RowRef],
) -> Result<Vec<bool>, ActionError> {
    /// Rows that are asked for at once.
    const ROWS_PER_QUERY: usize = 500;
    let scope = target.scope();
    let named = if scope.has_unique_id() { LocateBy::Id } else { LocateBy::RowHash };
    let mut there = Vec::with_capacity(rows.len());
    for rows in rows.chunks(ROWS_PER_QUERY) {
        let wanted: Vec<&RowRef> = rows.iter().collect();
        let found = session.find_rows_not_ended(&scope, named, &wanted, revoke).await?;
        let marks: BTreeSet<i64> = found.iter().map(|row| row.row_hash).collect();
        there.extend(rows.iter().map(|row| marks.contains(&row.row_hash)));
    }
    Ok(there)
}
