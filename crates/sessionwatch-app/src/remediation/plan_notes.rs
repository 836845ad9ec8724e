//! Notes to read before applying a plan.

use sessionwatch_core::plural::format_count;
use sessionwatch_targets::mapping::RevokeMethod;

use super::{ActionContext, ActionPlan, Selection, planning_session::PlanningSession, side_effects};

/// Returns the notes of a plan whose rows are listed.
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
    notes.push(revoke_note(&revoke));
    notes.extend(side_effects::side_effect_notes(&plan.summary.side_effects));
    notes.extend(grace_note(plan));
    if plan.selection == Selection::Duplicates {
        notes.push(
            "if several users share a token, all sessions with that token are revoked, because its rightful \
             owner is unknown; if one user has them all, the newest is kept"
                .into(),
        );
    }
    if ends_active_logins(plan) {
        notes.extend(view.revocation_effects(context));
    }
    notes.extend(plan.summary.not_ended.iter().cloned());
    notes
}

/// Returns the notes that say more than the other fields of the plan do, which contain its impact, the way of revoking,
/// the grace period, side effects and logins that may stay valid.
#[must_use]
pub fn list_further_notes(plan: &ActionPlan) -> Vec<&str> {
    let mut known = side_effects::side_effect_notes(&plan.summary.side_effects);
    known.extend([user_impact_note(plan), revoke_note(&plan.summary.revoke)]);
    known.extend(grace_note(plan));
    known.extend(plan.summary.not_ended.iter().cloned());
    plan.summary.notes.iter().filter(|note| !known.contains(note)).map(String::as_str).collect()
}

/// Returns which expired sessions the plan leaves.
fn grace_note(plan: &ActionPlan) -> Option<String> {
    let Selection::Expired { grace } = plan.selection else { return None };
    let minutes = grace.as_mins().unsigned_abs();
    let length = match (minutes / 60, minutes % 60) {
        (hours, 0) => format_count(hours, "hour", "hours"),
        _ => format_count(minutes, "minute", "minutes"),
    };
    (minutes > 0).then(|| format!("sessions that expired less than {length} ago are kept"))
}

fn revoke_note(revoke: &RevokeMethod) -> String {
    match revoke {
        RevokeMethod::Delete => "the rows are deleted, and can be restored from the archive".into(),
        RevokeMethod::Expire => {
            "the rows stay in the table with their expiry set to now, which can be undone from the archive"
                .into()
        }
        RevokeMethod::Flag { column, value } => {
            format!(
                "the rows stay in the table with `{column}` set to `{value}`, which \
                 can be undone from the archive"
            )
        }
    }
}

/// An empty table also counts: its logins may be stored elsewhere.
fn ends_active_logins(plan: &ActionPlan) -> bool {
    plan.record.active_sessions > 0 || plan.summary.all_rows == 0
}

/// Returns the logins that may stay valid although their rows are gone: first by what the tables show, then by the
/// framework.
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

/// Returns the effect that users notice.
fn user_impact_note(plan: &ActionPlan) -> String {
    match (plan.record.row_count, plan.record.active_sessions) {
        (0, _) => "no rows match: there is nothing to do".into(),
        (_, 0) if plan.summary.side_effects.is_empty() => "no active session is affected".into(),
        (_, 0) => "no user is logged out: none of these sessions is active".into(),
        (_, active) => {
            let ended = format!("ends {}", format_count(active, "active session", "active sessions"));
            match plan.selection {
                Selection::Orphaned => format!("{ended} of users who no longer exist"),
                Selection::Excess { .. } => format!("{ended}; their users keep others"),
                _ => {
                    let users = format_count(plan.summary.users, "user", "users");
                    format!("{ended}; {users} must log in again")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
