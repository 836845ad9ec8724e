//! Tests of plans from their creation to the restore, on a SQLite database.

use jiff::SignedDuration;
use sessionwatch_core::{incident::IncidentSeverity, timestamp::UtcTimestamp};
use sessionwatch_store::incidents::{self, IncidentRecord, IncidentState};

use super::*;
use crate::{app::shop_tests::TestShop, remediation::SkipReason};

fn ids(names: &[&str]) -> Selection {
    Selection::Sessions(names.iter().map(|name| (*name).to_owned()).collect())
}

async fn planned(shop: &TestShop, selection: Selection) -> ActionPlan {
    create_plan(shop.ops("ada"), selection).await.unwrap()
}

/// Applies a plan as an account that confirms it, and returns the message for the user.
async fn apply(shop: &TestShop, account: &str, plan: &ActionPlan) -> Result<String, String> {
    let request = ApplyRequest { typed_target_name: Some("shop".into()), ..ApplyRequest::default() };
    apply_and_describe(&shop.ops(account), plan, &request, &JobControl::default()).await
}

async fn prepare(shop: &TestShop, plan: &ActionPlan, request: ApplyRequest) -> Result<(), AppError> {
    prepare_apply(&shop.ops("ada"), plan, &request).await
}

/// Stores an incident of a target.
fn add_incident(shop: &TestShop, target: &str, state: IncidentState) {
    let incident = IncidentRecord {
        id: "INC-1".into(),
        target: target.into(),
        severity: IncidentSeverity::P1,
        state,
        opened_at: shop.clock.now(),
        opened_by: "ada".into(),
        contained_at: None,
        closed_at: None,
        report_fields: "{}".into(),
    };
    shop.store.write(|db| incidents::upsert_incident(db, &incident)).unwrap();
}

fn in_incident(reason: Option<&str>) -> ApplyRequest {
    ApplyRequest {
        incident_id: Some("INC-1".into()),
        without_evidence_reason: reason.map(Into::into),
        ..ApplyRequest::default()
    }
}

#[tokio::test]
async fn a_plan_changes_nothing_until_it_is_applied_and_is_applied_once() {
    let shop = TestShop::new("");
    let before = shop.session_ids();
    let plan = planned(&shop, ids(&["s04"])).await;
    assert_eq!((plan.record.row_count, plan.record.active_sessions, plan.summary.users), (1, 1, 1));
    assert_eq!((plan.summary.all_rows, plan.summary.all_active), (10, 10));
    assert_eq!(shop.session_ids(), before);
    let done = apply(&shop, "ada", &plan).await.unwrap();
    assert_eq!(done, "1 row processed. No matching rows remain.");
    let left: Vec<String> = before.into_iter().filter(|id| id != "s04").collect();
    assert_eq!(shop.session_ids(), left);
    let applied = find_plan(&shop, &plan.record.id).await.unwrap();
    let again = apply(&shop, "ada", &applied).await.unwrap_err();
    assert!(again.contains("has already been applied"), "{again}");
}

#[tokio::test]
async fn a_restore_brings_back_what_a_plan_removed() {
    let shop = TestShop::new("");
    let before = shop.session_ids();
    let plan = planned(&shop, Selection::Users(vec!["u3".into(), "u4".into()])).await;
    apply(&shop, "ada", &plan).await.unwrap();
    assert_eq!(shop.session_ids().len(), 8);
    let of_user = RestoreRequest { plan_id: plan.record.id.clone(), user: Some("u3".into()) };
    let restore = create_restore_plan(shop.ops("ada"), of_user).await.unwrap();
    assert_eq!(restore.record.row_count, 1);
    apply(&shop, "ada", &restore).await.unwrap();
    assert_eq!(shop.session_ids().len(), 9);
    let rest = RestoreRequest { plan_id: plan.record.id.clone(), user: None };
    let restore = create_restore_plan(shop.ops("ada"), rest.clone()).await.unwrap();
    apply(&shop, "ada", &restore).await.unwrap();
    assert_eq!(shop.session_ids(), before);
    assert!(create_restore_plan(shop.ops("ada"), rest).await.is_err(), "nothing is left to restore");
}

#[tokio::test]
async fn rows_that_changed_since_the_plan_are_skipped() {
    let shop = TestShop::new("");
    let plan = planned(&shop, ids(&["s04", "s05"])).await;
    shop.execute("UPDATE sessions SET expires = expires + 1000 WHERE id = 's05'");
    let done = apply(&shop, "ada", &plan).await.unwrap();
    assert_eq!(
        done,
        "1 row processed, 1 skipped (changed or extended since the plan was created). 1 matching row remains."
    );
    assert!(shop.session_ids().contains(&"s05".to_owned()));
}

#[tokio::test]
async fn a_session_that_does_not_exist_makes_no_plan() {
    let shop = TestShop::new("");
    let refused = create_plan(shop.ops("ada"), ids(&["s04", "s99"])).await.unwrap_err();
    assert_eq!(refused.to_string().split(" (").next(), Some("cannot find 1 of 2 selected sessions"));
    let session = create_plan(shop.ops("ada"), Selection::Session("zz".into())).await;
    assert!(matches!(session, Err(AppError::Action(ActionError::NoSession))), "{session:?}");
    let user = create_plan(shop.ops("ada"), Selection::User("nobody".into())).await;
    assert!(matches!(user, Err(AppError::Action(ActionError::NoUser(..)))), "{user:?}");
    assert!(list_plans(&shop, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_large_plan_needs_the_target_name_and_keeps_the_page_advice() {
    let shop = TestShop::new("");
    let plan = planned(&shop, Selection::User("u1".into())).await;
    assert_eq!(plan.record.row_count, 3);
    let start = async |typed: Option<&str>| {
        let request = ApplyRequest { typed_target_name: typed.map(Into::into), ..ApplyRequest::default() };
        start_apply(shop.ops("ada"), plan.clone(), request).await.unwrap_err().to_string()
    };
    let unnamed = start(None).await;
    assert!(unnamed.ends_with("Type the target name (shop) to confirm."), "{unnamed}");
    let misspelled = start(Some("Shop")).await;
    assert!(misspelled.starts_with("“Shop” is not the name of the target."), "{misspelled}");
    shop.advance_clock(SignedDuration::from_mins(15) + SignedDuration::from_micros(1));
    assert_eq!(start(Some("shop")).await, "This plan has expired. Create a new plan.");
    assert_eq!(shop.session_ids().len(), 10);
}

#[tokio::test]
async fn a_plan_above_the_limit_is_applied_after_the_approval_of_another_account() {
    let shop = TestShop::new("[actions]\nrequire_approval = true\n");
    let plan = planned(&shop, Selection::User("u1".into())).await;
    let reload = async || find_plan(&shop, &plan.record.id).await.unwrap();
    assert!(is_approval_missing(&shop.ops("ada"), &plan));
    assert!(safety_limit_text(&shop.ops("ada"), &plan).unwrap().contains("30"));
    approve_plan(&shop, &Actor::from_token("ada", "deploys"), &plan.record.id).await.unwrap();
    assert!(is_approval_missing(&shop.ops("ada"), &reload().await), "a token of the same account");
    let refused = apply(&shop, "ada", &reload().await).await.unwrap_err();
    assert!(refused.starts_with("a second person must approve the plan first"), "{refused}");
    approve_plan(&shop, &Actor::from_account("bob"), &plan.record.id).await.unwrap();
    assert!(!is_approval_missing(&shop.ops("ada"), &reload().await));
    assert!(is_approval_missing(&shop.ops("bob"), &reload().await), "bob cannot be both");
    let mut by_token = shop.ops("bob");
    by_token.actor = Actor::from_token("bob", "deploys");
    assert!(is_approval_missing(&by_token, &reload().await), "nor can a token of bob");
    apply(&shop, "ada", &reload().await).await.unwrap();
    assert_eq!(shop.session_ids().len(), 7);
    let late = approve_plan(&shop, &Actor::from_account("bob"), &plan.record.id).await;
    assert!(matches!(late, Err(AppError::Action(ActionError::Done(_)))), "{late:?}");
    let approvals = shop.audit_trail().into_iter().filter(|[_, action, _]| action == "plan.approved");
    let approvers: Vec<String> = approvals.map(|[actor, ..]| actor).collect();
    assert_eq!(approvers, ["ada (deploys)", "bob"]);
}

#[tokio::test]
async fn a_plan_without_a_target_or_of_another_database_is_not_found() {
    let shop = TestShop::new("");
    let plan = planned(&shop, ids(&["s04"])).await;
    for id in ["", "p-0", "p-%", "P-1"] {
        assert!(matches!(find_plan(&shop, id).await, Err(AppError::NotFound(_))), "{id}");
    }
    assert_eq!(load_target_plan(&shop.ops("ada"), &plan.record.id).await.unwrap(), plan);
    // The name is the same, but the address leads to another database by now.
    let mut moved = shop.ops("ada");
    moved.target.address = TestShop::new("").ops("ada").target.address;
    let refused = load_target_plan(&moved, &plan.record.id).await;
    assert!(matches!(refused, Err(AppError::Action(ActionError::OtherTarget { .. }))), "{refused:?}");
}

#[tokio::test]
async fn a_plan_is_attached_only_to_an_open_incident_of_its_target() {
    let shop = TestShop::new("");
    let plan = planned(&shop, ids(&["s04"])).await;
    let unknown = prepare(&shop, &plan, in_incident(None)).await;
    assert!(matches!(unknown, Err(AppError::NotFound(_))), "{unknown:?}");
    add_incident(&shop, "app", IncidentState::Open);
    let other = prepare(&shop, &plan, in_incident(Some("urgent"))).await.unwrap_err();
    assert_eq!(other.to_string(), "The incident belongs to another target.");
    let shop = TestShop::new("");
    let plan = planned(&shop, ids(&["s04"])).await;
    add_incident(&shop, "shop", IncidentState::Closed);
    let closed = prepare(&shop, &plan, in_incident(Some("urgent"))).await;
    assert!(matches!(closed, Err(AppError::Action(ActionError::Closed(_)))), "{closed:?}");
}

#[tokio::test]
async fn a_plan_of_an_incident_needs_evidence_or_a_reason_and_contains_it() {
    let shop = TestShop::new("");
    let plan = planned(&shop, ids(&["s04"])).await;
    add_incident(&shop, "shop", IncidentState::Open);
    for reason in [None, Some(""), Some("  ")] {
        let refused = prepare(&shop, &plan, in_incident(reason)).await;
        let is_refused = matches!(refused, Err(AppError::Action(ActionError::EvidenceRequired { .. })));
        assert!(is_refused, "{reason:?}: {refused:?}");
    }
    prepare(&shop, &plan, in_incident(Some("the attacker is active"))).await.unwrap();
    let done = apply_and_describe(&shop.ops("ada"), &plan, &in_incident(None), &JobControl::default()).await;
    assert_eq!(done.unwrap(), "1 row processed. No matching rows remain.");
    let case = shop.store.read(|db| IncidentWorkflow::load(db, "INC-1")).unwrap().unwrap();
    assert_eq!(case.incident.state, IncidentState::Contained);
    let kinds: Vec<&str> = case.timeline.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["skipped", "contained"]);
}

#[tokio::test]
async fn an_expired_plan_records_no_reason_on_the_incident() {
    let shop = TestShop::new("");
    let plan = planned(&shop, ids(&["s04"])).await;
    add_incident(&shop, "shop", IncidentState::Open);
    shop.advance_clock(SignedDuration::from_hours(1));
    let refused = prepare(&shop, &plan, in_incident(Some("urgent"))).await;
    assert!(matches!(refused, Err(AppError::Action(ActionError::Stale { .. }))), "{refused:?}");
    assert!(shop.store.read(|db| incidents::list_timeline(db, "INC-1")).unwrap().is_empty());
}

#[tokio::test]
async fn a_restore_without_the_private_key_names_the_recipient() {
    let shop = TestShop::new("");
    let plan = planned(&shop, ids(&["s04"])).await;
    let keys = load_plan_keys(&shop.ops("ada"), &plan, None).unwrap();
    let recipient = keys.recipient.unwrap().to_string();
    assert!(keys.advice.unwrap().contains(&recipient));
    assert!(load_plan_keys(&shop.ops("ada"), &plan, None).unwrap().advice.is_none(), "the key is not new");
    apply(&shop, "ada", &plan).await.unwrap();
    let request = RestoreRequest { plan_id: plan.record.id.clone(), user: None };
    let restore = create_restore_plan(shop.ops("ada"), request).await.unwrap();
    let (key, moved) = (shop.path("sessionwatch-archive.key"), shop.path("moved.key"));
    std::fs::rename(&key, &moved).unwrap();
    let missing = load_plan_keys(&shop.ops("ada"), &restore, None);
    assert!(matches!(missing, Err(ActionError::NoIdentity(named)) if named == recipient));
    assert!(!key.exists(), "a restore creates no key");
    assert!(load_plan_keys(&shop.ops("ada"), &restore, Some(&moved)).unwrap().identity.is_some());
    assert!(load_plan_keys(&shop.ops("ada"), &restore, Some(&shop.path("shop.db"))).is_err());
}

fn report(done: u64, skipped: u64, still_matching: Option<u64>) -> ApplyReport {
    ApplyReport { done, skipped, still_matching, ..ApplyReport::default() }
}

#[tokio::test]
async fn the_result_says_what_was_done_and_what_remains() {
    let mut plan = planned(&TestShop::new(""), ids(&["s04"])).await;
    for (applied, text) in [
        (report(1_200, 0, Some(0)), "1,200 rows processed. No matching rows remain."),
        (report(1, 0, Some(1)), "1 row processed. 1 matching row remains."),
        (report(0, 2, Some(2)), "0 rows processed, 2 skipped. 2 matching rows remain."),
        // Unknown is not the same as none.
        (report(3, 0, None), "3 rows processed."),
    ] {
        assert_eq!(describe_result(&plan, &applied, false), text);
    }
    let skipped_rows = [SkipReason::Busy, SkipReason::Vetoed, SkipReason::Busy];
    let skipped_rows = skipped_rows.map(|why| (RowPreview::default(), why)).to_vec();
    for (skipped, reasons) in [
        (3, "locked by another transaction; kept by a BEFORE trigger on the table"),
        (4, "the first 3: locked by another transaction; kept by a BEFORE trigger on the table"),
    ] {
        let applied = ApplyReport { skipped_rows: skipped_rows.clone(), ..report(0, skipped, None) };
        let text = format!("0 rows processed, {skipped} skipped ({reasons}).");
        assert_eq!(describe_result(&plan, &applied, false), text);
    }
    plan.summary.not_ended = vec!["JWT logins".into(), "cached pages".into()];
    assert_eq!(
        describe_result(&plan, &report(1, 0, Some(0)), false),
        "1 row processed. No matching rows remain. Some logins may stay valid: JWT logins; cached pages."
    );
    assert!(!describe_result(&plan, &report(0, 1, Some(1)), false).contains("logins"));
}

#[tokio::test]
async fn the_latest_plans_come_first() {
    let shop = TestShop::new("");
    let first = planned(&shop, ids(&["s04"])).await;
    shop.advance_clock(SignedDuration::from_secs(1));
    let second = planned(&shop, ids(&["s05"])).await;
    let listed = list_plans(&shop, 10).await.unwrap();
    assert_eq!(listed, [second.clone(), first]);
    assert_eq!(list_plans(&shop, 1).await.unwrap(), [second]);
    assert!(list_plans(&shop, 0).await.unwrap().is_empty());
    assert!(find_archive(&shop, &listed[1].record.id).await.unwrap().is_none());
    assert_ne!(listed[0].record.created_at, UtcTimestamp::UNIX_EPOCH);
}
