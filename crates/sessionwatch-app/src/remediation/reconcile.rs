//! What became of batches that were interrupted: learnt from the target before anything else is done there.

use std::collections::BTreeSet;

use sessionwatch_core::row_ref::RowRef;
use sessionwatch_store::{
    archived::{self, Batch, Fate, State},
    plans,
};
use sessionwatch_targets::{
    mapping::Revoke,
    sql::Named,
    write_session::{TransactionStatus as Transaction, WriteSession},
};

use super::{
    ActError, Context, Plan,
    view::{Known, address},
};

/// Finds out what became of every batch that was interrupted, before anything else is done.
///
/// # Errors
///
/// If the target or the store fails, or a transaction has not ended yet.
pub async fn settle(context: Context<'_>) -> Result<(), ActError> {
    if context.store.read(|db| archived::unsettled(db, &context.target.name))?.is_empty() {
        return Ok(());
    }
    let known = Known::of(context, None).await?;
    let address = address(context)?;
    let mut actor = WriteSession::open(address, context.target.limits, known.key).await?;
    settle_by(context, &known, &mut actor).await
}

/// The same, over a connection that is open.
pub(super) async fn settle_by(
    context: Context<'_>,
    known: &Known,
    actor: &mut WriteSession,
) -> Result<(), ActError> {
    let unsettled = context.store.read(|db| archived::unsettled(db, &context.target.name))?;
    for batch in unsettled {
        let plan = context.store.read(|db| plans::get(db, &batch.plan))?.map(Plan::read).transpose()?;
        // Without it, nobody knows what to look for.
        let plan = plan.flatten().ok_or_else(|| ActError::NoPlan(batch.plan.clone()))?;
        let revoke = plan.summary.revoke;
        let fates = fates(known, &revoke, actor, &batch).await?.ok_or(ActError::AtWork)?;
        context.store.write(|db| archived::settle(db, batch.id, State::Kept, None, &fates))?;
    }
    Ok(())
}

/// Where the rows of a batch are; nothing while its transaction has not ended.
pub(super) async fn fates(
    known: &Known,
    revoke: &Revoke,
    actor: &mut WriteSession,
    batch: &Batch,
) -> Result<Option<Vec<Fate>>, ActError> {
    let fate = actor.status(batch.txid).await?;
    let there = match fate {
        Transaction::Running => return Ok(None),
        Transaction::Undone => match batch.state {
            State::Restoring => return Ok(Some(batch.fates.clone())),
            _ => return Ok(Some(vec![Fate::Stayed; batch.rows.len()])),
        },
        Transaction::Committed | Transaction::Unknown => present(known, revoke, actor, &batch.rows).await?,
    };
    let restoring = batch.state == State::Restoring;
    // A batch whose fate the database does not tell is there as a whole, or gone as a whole.
    let undone = fate == Transaction::Unknown && !restoring && there.contains(&true);
    let fate = |(there, before): (&bool, &Fate)| match (restoring, there, before) {
        (true, true, Fate::Archived) => Fate::Restored,
        (true, ..) => *before,
        (false, true, _) => Fate::Stayed,
        (false, false, _) if undone => Fate::Stayed,
        (false, false, _) => Fate::Archived,
    };
    Ok(Some(there.iter().zip(&batch.fates).map(fate).collect()))
}

/// Which rows are in the table as they were before they were archived.
async fn present(
    known: &Known,
    revoke: &Revoke,
    actor: &mut WriteSession,
    rows: &[RowRef],
) -> Result<Vec<bool>, ActError> {
    /// Rows that are asked for at once.
    const ASKED: usize = 500;
    let scope = known.scope();
    let named = if scope.has_unique_id() { Named::Id } else { Named::Mark };
    let mut there = Vec::with_capacity(rows.len());
    for rows in rows.chunks(ASKED) {
        let wanted: Vec<&RowRef> = rows.iter().collect();
        let found = actor.rows_not_ended(&scope, named, &wanted, revoke).await?;
        let marks: BTreeSet<i64> = found.iter().map(|row| row.mark).collect();
        there.extend(rows.iter().map(|row| marks.contains(&row.mark)));
    }
    Ok(there)
}
