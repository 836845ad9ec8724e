//! Who may apply a plan: one rule for the command line, the dashboard, the API and automatic cleanup.

use jiff::SignedDuration;
use sessionwatch_core::{safety_limit::SafetyLimit, timestamp::UtcTimestamp};
use sessionwatch_store::plans;

use super::{ActionContext, ActionError, ActionPlan, Confirmation, actor_account};

/// Under what circumstances a plan is to be applied.
#[derive(Clone, Copy, Debug)]
pub struct ApplyCircumstances<'a> {
    /// When.
    pub now: UtcTimestamp,
    /// By whom.
    pub actor: &'a str,
    /// What was given along with the wish.
    pub confirmation: Confirmation<'a>,
    /// How far a plan may reach without being confirmed.
    pub safety_limit: SafetyLimit,
    /// How long after it was made or touched a plan can be applied.
    pub plan_ttl: SignedDuration,
    /// A plan that reaches far needs a second person.
    pub requires_approval: bool,
    /// The state store is kept in memory for now, so that nothing can be archived for certain.
    pub is_store_in_memory: bool,
}

impl<'a> ApplyCircumstances<'a> {
    /// Those of a context.
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
/// Why not: it was applied already, it is too old, somebody else has to approve it, it has to be confirmed, or nothing can be
/// archived.
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
    if is_store_in_memory { Err(ActionError::DiskFull) } else { Ok(()) }
}

/// Whether a plan that reaches far was approved and confirmed.
pub(super) fn require_confirmation(
    plan: &ActionPlan,
    circumstances: &ApplyCircumstances<'_>,
) -> Result<(), ActionError> {
    let ApplyCircumstances { actor, confirmation: consent, safety_limit, requires_approval, .. } =
        *circumstances;
    let exceeded = plan.exceeded_limits(safety_limit);
    let approved = plan.record.approved_by.as_deref().is_some_and(|second| second != actor_account(actor));
    if let Some(exceeded) = exceeded.clone().filter(|_| requires_approval && !approved && !consent.by_policy)
    {
        return Err(ActionError::NotApproved(exceeded));
    }
    let name = plan.confirmation_name();
    match (exceeded, consent.typed_name) {
        (_, Some(typed)) if typed != name => Err(ActionError::NotConfirmed(typed.to_owned())),
        (Some(exceeded), None) => Err(ActionError::LimitExceeded(exceeded, name.to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
