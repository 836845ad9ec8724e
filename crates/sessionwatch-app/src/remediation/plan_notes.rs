//! What a person should know before a plan is carried out.

use sessionwatch_core::plural::format_count;
use sessionwatch_targets::mapping::RevokeMethod;

use super::{ActionContext, ActionPlan, Selection, planning_session::PlanningSession, side_effects};

/// The notes of a plan whose rows are listed.
pub(super) fn collect_notes(
    context: ActionContext<'_>,
    view: &PlanningSession,
    plan: &ActionPlan,
) -> Vec<String> {
    let mut notes = vec![user_impact_note(plan)];
    if plan.record.row_count == 0 {
        if ends_active_logins(plan) {
            notes.extend(view.revocation_effects(context));
        }
        notes.extend(plan.summary.not_ended.iter().cloned());
        return notes;
    }
    let revoke = plan.selection.effective_revoke(&view.connected.layout.candidate.mapping.revoke);
    notes.push(match &revoke {
        RevokeMethod::Delete => "the rows are removed from the table, and can be put back from the archive".into(),
        RevokeMethod::Expire => "the rows stay in the table; their expiry is set to now, and can be set back from the archive".into(),
        RevokeMethod::Flag { column, value } => {
            format!("the rows stay in the table; `{column}` is set to `{value}`, and can be set back from the archive")
        }
    });
    notes.extend(side_effects::side_effect_notes(&plan.summary.side_effects));
    if plan.selection == Selection::Duplicates {
        notes.push(
            "where several users share a token, every row on it goes, since nobody knows whose it is; where one user does, the newest stays"
                .into(),
        );
    }
    if ends_active_logins(plan) {
        notes.extend(view.revocation_effects(context));
    }
    notes.extend(plan.summary.not_ended.iter().cloned());
    notes
}

/// An empty table ends no log-in either where no table holds them.
fn ends_active_logins(plan: &ActionPlan) -> bool {
    plan.record.active_sessions > 0 || plan.summary.all_rows == 0
}

/// What may go on working though its row is gone: what the tables say first, then what the framework is known for.
pub(super) fn surviving_logins(
    context: ActionContext<'_>,
    view: &PlanningSession,
    plan: &ActionPlan,
) -> Vec<String> {
    if !ends_active_logins(plan) {
        return vec![];
    }
    let elsewhere = view.connected.layout.candidate.other_login_hints.iter().cloned();
    elsewhere.chain(view.forced_logout_note(context)).collect()
}

/// What the users will notice.
fn user_impact_note(plan: &ActionPlan) -> String {
    match (plan.record.row_count, plan.record.active_sessions) {
        (0, _) => "nothing fits: there is nothing to do".into(),
        (_, 0) if plan.summary.side_effects.is_empty() => {
            "nobody will notice: none of these sessions is active".into()
        }
        (_, 0) => "nobody is logged out: none of these sessions is active".into(),
        (_, 1) => "one active session ends: whoever uses it has to log in again".into(),
        (_, active) => format!(
            "{active} active sessions of {} end: whoever uses them has to log in again",
            format_count(plan.summary.users, "user", "users")
        ),
    }
}
