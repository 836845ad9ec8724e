//! Recovery of interrupted batches: asks the target for their outcome before any other change.

use std::collections::BTreeSet;

use sessionwatch_core::row_ref::RowRef;
use sessionwatch_store::{
    archive_batches::{self, ArchivedBatch, ArchivedRowState, BatchState},
    plans, restores,
};
use sessionwatch_targets::{
    mapping::RevokeMethod,
    sql::LocateBy,
    write_session::{TransactionStatus as Transaction, WriteSession},
};

use super::{
    ActionContext, ActionError, ActionPlan, action_target::ActionTarget, write_credentials::write_address,
};

/// Settles every interrupted batch of the target. Connects only if there is one.
///
/// # Errors
///
/// Fails if the target or the store fails, or a transaction has not ended yet.
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

/// Settles every interrupted batch of the target over an open connection.
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
        // Only the plan says how the rows were revoked, and so what to look for.
        let plan = plan.flatten().ok_or_else(|| ActionError::NoPlan(batch.plan.clone()))?;
        let revoke = plan.summary.revoke;
        let states =
            row_states(target, &revoke, session, &batch).await?.ok_or(ActionError::TransactionRunning)?;
        context.store.write(|db| restores::settle_batch(db, &batch, &states, context.clock.now()))?;
    }
    Ok(())
}

/// Returns the state of each row of a batch; `None` while its transaction is running.
pub(super) async fn row_states(
    target: &ActionTarget,
    revoke: &RevokeMethod,
    session: &mut WriteSession,
    batch: &ArchivedBatch,
) -> Result<Option<Vec<ArchivedRowState>>, ActionError> {
    let transaction = session.transaction_status(batch.transaction_id).await?;
    let is_present = match transaction {
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
    // Without a transaction id (SQLite), one remaining row shows that the whole batch was rolled back.
    let undone = transaction == Transaction::Unknown && !restoring && is_present.contains(&true);
    let state_of_row =
        |(is_present, before): (&bool, &ArchivedRowState)| match (restoring, is_present, before) {
            (true, true, ArchivedRowState::Archived) => ArchivedRowState::Restored,
            (true, ..) => *before,
            (false, true, _) => ArchivedRowState::NotRemoved,
            (false, false, _) if undone => ArchivedRowState::NotRemoved,
            (false, false, _) => ArchivedRowState::Archived,
        };
    Ok(Some(is_present.iter().zip(&batch.row_states).map(state_of_row).collect()))
}

/// Returns for each row whether the table has it as it was before it was archived.
async fn find_present_rows(
    target: &ActionTarget,
    revoke: &RevokeMethod,
    session: &mut WriteSession,
    rows: &[RowRef],
) -> Result<Vec<bool>, ActionError> {
    /// Rows per query.
    const ROWS_PER_QUERY: usize = 500;
    let scope = target.scope();
    let locate_by = if scope.has_unique_id() { LocateBy::Id } else { LocateBy::RowHash };
    let mut is_present = Vec::with_capacity(rows.len());
    for rows in rows.chunks(ROWS_PER_QUERY) {
        let wanted: Vec<&RowRef> = rows.iter().collect();
        let found = session.find_rows_not_ended(&scope, locate_by, &wanted, revoke).await?;
        let hashes: BTreeSet<i64> = found.iter().map(|row| row.row_hash).collect();
        is_present.extend(rows.iter().map(|row| hashes.contains(&row.row_hash)));
    }
    Ok(is_present)
}
