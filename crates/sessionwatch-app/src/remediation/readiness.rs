//! Readiness: whether sessions can be revoked and restored now.

use sessionwatch_targets::{sql::RowChange, write_session::WriteSession};

use super::{
    ActionContext, ActionError, action_target::ActionTarget, apply::dependents,
    executor::require_visible_rows, write_credentials::write_address,
};

/// Checks whether sessions can be revoked and restored now. Returns a sentence for the timeline.
///
/// # Errors
///
/// Fails with the reason why they cannot.
pub async fn check_readiness(context: ActionContext<'_>) -> Result<String, ActionError> {
    let known = ActionTarget::load(context, None).await?;
    let address = write_address(context)?;
    let mut actor = WriteSession::open(address, context.target.limits, known.key).await?;
    let scope = known.scope();
    let change = RowChange::from_revoke(&known.mapping().revoke, "");
    let dependents = dependents::load_dependents(&mut actor, &scope, change).await?;
    dependents::require_row_counts(&mut actor, &dependents).await?;
    require_visible_rows(&scope, &actor.hidden_tables(&scope, change, &dependents).await?, false)?;
    if context.store.is_memory_fallback() {
        return Err(ActionError::DiskFull);
    }
    Ok("the write role can revoke and restore sessions, and there is room for the archive".into())
}
