//! What a person should know before a plan is carried out.

use sessionwatch_core::plural::counted;
use sessionwatch_targets::mapping::Revoke;

use super::{Context, Plan, Selection, side_effects, view::View};

/// The notes of a plan whose rows are listed.
pub(super) fn of(context: Context<'_>, view: &View, plan: &Plan) -> Vec<String> {
    let mut notes = vec![noticed(plan)];
    if plan.kept.rows == 0 {
        if ends_logins(plan) {
            notes.extend(view.effects(context));
        }
        notes.extend(plan.summary.not_ended.iter().cloned());
        return notes;
    }
    let revoke = plan.selection.revoke(&view.opened.layout.candidate.mapping.revoke);
    notes.push(match &revoke {
        Revoke::Delete => "the rows are removed from the table, and can be put back from the archive".into(),
        Revoke::Expire => "the rows stay in the table; their expiry is set to now, and can be set back from the archive".into(),
        Revoke::Flag { column, value } => {
            format!("the rows stay in the table; `{column}` is set to `{value}`, and can be set back from the archive")
        }
    });
    notes.extend(side_effects::notes(&plan.summary.side_effects));
    if plan.selection == Selection::Duplicates {
        notes.push(
            "where several users share a token, every row on it goes, since nobody knows whose it is; where one user does, the newest stays"
                .into(),
        );
    }
    if ends_logins(plan) {
        notes.extend(view.effects(context));
    }
    notes.extend(plan.summary.not_ended.iter().cloned());
    notes
}

/// An empty table ends no log-in either where no table holds them.
fn ends_logins(plan: &Plan) -> bool {
    plan.kept.active > 0 || plan.summary.all_rows == 0
}

/// What may go on working though its row is gone: what the tables say first, then what the framework is known for.
pub(super) fn not_ended(context: Context<'_>, view: &View, plan: &Plan) -> Vec<String> {
    if !ends_logins(plan) {
        return vec![];
    }
    let elsewhere = view.opened.layout.candidate.elsewhere.iter().cloned();
    elsewhere.chain(view.force_out(context)).collect()
}

/// What the users will notice.
fn noticed(plan: &Plan) -> String {
    match (plan.kept.rows, plan.kept.active) {
        (0, _) => "nothing fits: there is nothing to do".into(),
        (_, 0) if plan.summary.side_effects.is_empty() => {
            "nobody will notice: none of these sessions is active".into()
        }
        (_, 0) => "nobody is logged out: none of these sessions is active".into(),
        (_, 1) => "one active session ends: whoever uses it has to log in again".into(),
        (_, active) => format!(
            "{active} active sessions of {} end: whoever uses them has to log in again",
            counted(plan.summary.users, "user", "users")
        ),
    }
}
