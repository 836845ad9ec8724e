//! Who may apply a plan: one rule for the command line, the dashboard, the API and automatic cleanup.

use jiff::SignedDuration;
use sessionwatch_core::{instant::Instant, safety_limit::SafetyLimit};
use sessionwatch_store::plans;

use super::{ActError, Consent, Context, Plan, account};

/// Under what circumstances a plan is to be applied.
#[derive(Clone, Copy, Debug)]
pub struct ApplyCircumstances<'a> {
    /// When.
    pub now: Instant,
    /// By whom.
    pub actor: &'a str,
    /// What was given along with the wish.
    pub consent: Consent<'a>,
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
    pub fn of(context: Context<'a>, consent: Consent<'a>) -> Self {
        Self {
            now: context.clock.now(),
            actor: context.actor,
            consent,
            safety_limit: context.brake(),
            plan_ttl: context.config.actions.stale_after,
            requires_approval: context.config.actions.second_person,
            is_store_in_memory: context.store.is_sheltered(),
        }
    }
}

/// Decides whether a plan may be applied.
///
/// # Errors
///
/// Why not: it was applied already, it is too old, somebody else has to approve it, it has to be confirmed, or nothing can be
/// archived.
pub fn authorize_apply(plan: &Plan, circumstances: &ApplyCircumstances<'_>) -> Result<(), ActError> {
    let ApplyCircumstances { now, plan_ttl, is_store_in_memory, .. } = *circumstances;
    let id = || plan.kept.id.clone();
    if plan.kept.state == plans::State::Done {
        return Err(ActError::Done(id()));
    }
    if plan.is_stale(plan_ttl, now) {
        return Err(ActError::Stale { id: id(), minutes: plan_ttl.as_mins() });
    }
    require_confirmation(plan, circumstances)?;
    if is_store_in_memory { Err(ActError::NoRoom) } else { Ok(()) }
}

/// Whether a plan that reaches far was approved and confirmed.
pub(super) fn require_confirmation(
    plan: &Plan,
    circumstances: &ApplyCircumstances<'_>,
) -> Result<(), ActError> {
    let ApplyCircumstances { actor, consent, safety_limit, requires_approval, .. } = *circumstances;
    let exceeded = plan.braked(safety_limit);
    let approved = plan.kept.approved_by.as_deref().is_some_and(|second| second != account(actor));
    if let Some(exceeded) = exceeded.clone().filter(|_| requires_approval && !approved && !consent.by_policy)
    {
        return Err(ActError::NotAgreed(exceeded));
    }
    let name = plan.name_to_confirm();
    match (exceeded, consent.name) {
        (_, Some(typed)) if typed != name => Err(ActError::NotConfirmed(typed.to_owned())),
        (Some(exceeded), None) => Err(ActError::LimitExceeded(exceeded, name.to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
