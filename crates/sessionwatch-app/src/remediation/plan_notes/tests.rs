use sessionwatch_core::{safety_limit::RecentImpact, timestamp::UtcTimestamp};
use sessionwatch_store::plans::{PlanRecord, PlanState};
use sessionwatch_targets::side_effects::{SideEffect, SideEffectKind};

use super::*;
use crate::remediation::PlanSummary;

/// Plan with that many rows, active sessions and users.
fn plan(rows: u64, active: u64, users: u64) -> ActionPlan {
    let record = PlanRecord {
        id: "p1".into(),
        target: "shop".into(),
        address: "postgres://db/shop".into(),
        request: String::new(),
        created_at: UtcTimestamp::UNIX_EPOCH,
        created_by: "ada".into(),
        updated_at: UtcTimestamp::UNIX_EPOCH,
        state: PlanState::Planned,
        row_count: rows,
        active_sessions: active,
        summary: String::new(),
        approved_by: None,
    };
    let summary = PlanSummary { users, all_rows: 100, ..PlanSummary::default() };
    ActionPlan { record, selection: Selection::All, summary, recently_ended: RecentImpact::default() }
}

fn trigger() -> SideEffect {
    let kind = SideEffectKind::Trigger;
    SideEffect { kind, table: "sessions".into(), name: "audit".into(), rows: None, archived: false }
}

#[test]
fn the_first_note_counts_the_users_who_must_log_in_again() {
    for (rows, active, users, note) in [
        (0, 0, 0, "no rows match: there is nothing to do"),
        (5, 0, 3, "no active session is affected"),
        (5, 1, 1, "ends 1 active session; 1 user must log in again"),
        (5, 2, 1, "ends 2 active sessions; 1 user must log in again"),
        (1_200, 1_000, 999, "ends 1,000 active sessions; 999 users must log in again"),
    ] {
        assert_eq!(user_impact_note(&plan(rows, active, users)), note);
    }
}

#[test]
fn a_plan_with_side_effects_does_not_claim_that_nothing_is_affected() {
    let mut plan = plan(5, 0, 3);
    plan.summary.side_effects = vec![trigger()];
    assert_eq!(user_impact_note(&plan), "no user is logged out: none of these sessions is active");
}

#[test]
fn only_what_no_other_field_says_is_a_further_note() {
    let mut plan = plan(5, 2, 1);
    plan.summary.revoke = RevokeMethod::Flag { column: "revoked".into(), value: "yes".into() };
    plan.summary.side_effects = vec![trigger()];
    plan.summary.not_ended = vec!["JWT logins stay valid".into()];
    let own = "if several users share a token, all sessions with that token are revoked".to_owned();
    let mut notes = vec![user_impact_note(&plan), revoke_note(&plan.summary.revoke)];
    notes.extend(side_effects::side_effect_notes(&plan.summary.side_effects));
    notes.extend(plan.summary.not_ended.clone());
    notes.push(own.clone());
    plan.summary.notes = notes;
    assert_eq!(list_further_notes(&plan), [own]);
    // A note about another way of revoking is no repetition.
    plan.summary.revoke = RevokeMethod::Delete;
    assert_eq!(list_further_notes(&plan).len(), 2);
}

#[test]
fn the_way_of_revoking_names_the_column_and_the_way_back() {
    let flag = RevokeMethod::Flag { column: "revoked_at".into(), value: "now()".into() };
    for (revoke, part) in [
        (RevokeMethod::Delete, "are deleted, and can be restored from the archive"),
        (RevokeMethod::Expire, "with their expiry set to now, which can be undone from the archive"),
        (flag, "with `revoked_at` set to `now()`, which can be undone from the archive"),
    ] {
        assert!(revoke_note(&revoke).ends_with(part), "{}", revoke_note(&revoke));
    }
}

#[test]
fn logins_stored_elsewhere_matter_if_a_session_is_active_or_the_table_is_empty() {
    for (active, all_rows, matters) in [(0, 100, false), (1, 100, true), (0, 0, true)] {
        let mut plan = plan(5, active, 1);
        plan.summary.all_rows = all_rows;
        assert_eq!(ends_active_logins(&plan), matters, "{active} {all_rows}");
    }
}
