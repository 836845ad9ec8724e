//! Counts the rows that still match a plan after it was applied.

use sessionwatch_targets::{
    read_session::{PooledConnection, ReadSession},
    row_selection::SelectionQuery,
    scope::QueryScope,
};

use super::{ActionContext, ActionError, ActionPlan, Selection, action_target::ActionTarget};

/// Counts the rows that match now, in a new transaction over the idle connection or over a new one.
pub(super) async fn count_still_matching(
    context: ActionContext<'_>,
    action_target: &ActionTarget,
    idle: Option<PooledConnection>,
    plan: &ActionPlan,
) -> Result<u64, ActionError> {
    let target = context.target;
    let resumed = match idle {
        Some(idle) => ReadSession::resume_connection(idle, &target.address, target.limits).await,
        None => None,
    };
    let session = match resumed {
        Some(session) => session,
        None => ReadSession::open(&target.address, target.limits, false, action_target.key).await?,
    };
    let now = session.server_time().await?;
    let scope = QueryScope::without_thresholds(&action_target.layout, action_target.key, now);
    let asked = match plan.selection {
        // Sessions that expired since are not part of this plan.
        Selection::Expired { .. } => plan.summary.now,
        _ => now,
    };
    let left = match plan.selection.row_selection(asked) {
        Some(selection) => {
            let (revoke, row_key) = (&plan.summary.revoke, action_target.addressing);
            session.count_selected(&scope, SelectionQuery { selection, revoke, row_key }).await
        }
        None => Ok(0),
    };
    session.close().await;
    Ok(left?)
}
