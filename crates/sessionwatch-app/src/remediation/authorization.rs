//! Authorization to apply a plan: one rule for the command line, the dashboard, the API and scheduled cleanup.

use jiff::SignedDuration;
use sessionwatch_core::{safety_limit::SafetyLimit, timestamp::UtcTimestamp};
use sessionwatch_store::plans;

use super::{ActionContext, ActionError, ActionPlan, Confirmation, actor_account};

/// Circumstances of a request to apply a plan.
#[derive(Clone, Copy, Debug)]
pub struct ApplyCircumstances<'a> {
    /// Current time.
    pub now: UtcTimestamp,
    /// Name of the actor.
    pub actor: &'a str,
    /// Confirmation given with the request.
    pub confirmation: Confirmation<'a>,
    /// Limit above which a plan must be confirmed.
    pub safety_limit: SafetyLimit,
    /// Validity of a plan after its creation or last change.
    pub plan_ttl: SignedDuration,
    /// A plan above the safety limit needs the approval of a second person.
    pub requires_approval: bool,
    /// The state store is in memory only, so archived rows would not be durable.
    pub is_store_in_memory: bool,
}

impl<'a> ApplyCircumstances<'a> {
    /// Takes the circumstances from a context.
    #[must_use]
    pub fn from_context(context: ActionContext<'a>, confirmation: Confirmation<'a>) -> Self {
        Self {
            now: context.clock.now(),
            actor: context.actor,
            confirmation,
            safety_limit: context.safety_limit(),
            plan_ttl: context.config.actions.plan_ttl,
            requires_approval: context.config.actions.requires_approval,
            is_store_in_memory: context.store.is_memory_fallback(),
        }
    }
}

/// Decides whether a plan may be applied.
///
/// # Errors
///
/// Fails if the plan was already applied, has expired, needs an approval or a confirmation, or nothing can be archived.
pub fn authorize_apply(plan: &ActionPlan, circumstances: &ApplyCircumstances<'_>) -> Result<(), ActionError> {
    let ApplyCircumstances { now, plan_ttl, is_store_in_memory, .. } = *circumstances;
    let id = || plan.record.id.clone();
    if plan.record.state == plans::PlanState::Done {
        return Err(ActionError::Done(id()));
    }
    if plan.is_stale(plan_ttl, now) {
        return Err(ActionError::Stale { id: id(), minutes: plan_ttl.as_mins() });
    }
    require_confirmation(plan, circumstances)?;
    // Checked last, since the other reasons do not go away by freeing disk space.
    if is_store_in_memory { Err(ActionError::DiskFull) } else { Ok(()) }
}

/// Fails if a plan above the safety limit lacks its approval or confirmation.
pub(super) fn require_confirmation(
    plan: &ActionPlan,
    circumstances: &ApplyCircumstances<'_>,
) -> Result<(), ActionError> {
    let ApplyCircumstances { actor, confirmation, safety_limit, requires_approval, .. } = *circumstances;
    let exceeded = plan.confirmation_reasons(safety_limit);
    let approved = plan.record.approved_by.as_deref().is_some_and(|second| second != actor_account(actor));
    if let Some(exceeded) =
        exceeded.clone().filter(|_| requires_approval && !approved && !confirmation.by_policy)
    {
        return Err(ActionError::NotApproved(exceeded));
    }
    let name = plan.confirmation_name();
    match (exceeded, confirmation.typed_name) {
        // A wrong name is rejected even if none is needed: it shows that targets were mixed up.
        (_, Some(typed)) if typed != name => Err(ActionError::NotConfirmed(typed.to_owned())),
        (Some(exceeded), None) => Err(ActionError::LimitExceeded(exceeded, name.to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
