//! Applies plans that tests create in this process, as commands and pages do.

use sessionwatch_app::remediation::{
    ActionContext, ActionError, ApplyReport, ArchiveKeys, Confirmation, JobControl, PlanExecutor,
};
use sessionwatch_archive::{Identity, Recipient};

/// Applies a plan that revokes sessions.
pub(crate) async fn apply(
    context: ActionContext<'_>,
    plan: &str,
    recipient: &Recipient,
    consent: Confirmation<'_>,
    control: &JobControl,
) -> Result<ApplyReport, ActionError> {
    let keys = ArchiveKeys { recipient: Some(recipient), ..ArchiveKeys::default() };
    PlanExecutor { context, keys, confirmation: consent, control }.run(context.load_plan(plan)?).await
}

/// Applies a restore plan.
pub(crate) async fn restore(
    context: ActionContext<'_>,
    plan: &str,
    identity: &Identity,
    consent: Confirmation<'_>,
    control: &JobControl,
) -> Result<ApplyReport, ActionError> {
    let keys = ArchiveKeys { identity: Some(identity), ..ArchiveKeys::default() };
    PlanExecutor { context, keys, confirmation: consent, control }.run(context.load_plan(plan)?).await
}
