use axum::http::StatusCode;
use jiff::SignedDuration;
use sessionwatch_app::{
    app::{
        accounts::AccountRole,
        plans::{PlanRecord, PlanState},
    },
    remediation::{PlanSummary, RowPreview},
};
use sessionwatch_store::plans;

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

/// Returns a plan created just now: 3 rows of 1,000.
fn plan(dashboard: &TestDashboard, state: PlanState) -> PlanRecord {
    let sample = vec![RowPreview {
        prefix: Some("abcdefgh".into()),
        user: Some(HOSTILE_TEXT.into()),
        ..RowPreview::default()
    }];
    let summary = PlanSummary {
        users: 2,
        all_rows: 1_000,
        all_active: 900,
        sample,
        notes: vec![HOSTILE_TEXT.into()],
        table: "Session".into(),
        framework: "Auth.js".into(),
        ..PlanSummary::default()
    };
    PlanRecord {
        id: "p1".into(),
        target: "app".into(),
        address: "sqlite:missing.db".into(),
        request: "\"orphaned\"".into(),
        created_at: dashboard.now(),
        created_by: HOSTILE_TEXT.into(),
        updated_at: dashboard.now(),
        state,
        row_count: 3,
        active_sessions: 1,
        summary: serde_json::to_string(&summary).unwrap(),
        approved_by: None,
    }
}

#[tokio::test]
async fn only_responders_can_create_plans() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/cleanup").await;
    assert_eq!(page.count_elements("main form"), 0);
    assert_eq!(page.select_texts("main p.empty").len(), 2);
    let page = dashboard.log_in_as(AccountRole::Responder).await.get("/cleanup?target=app").await;
    let kinds = page.select_attributes("section[aria-labelledby=create-plan] input[name=kind]", "value");
    let every = ["expired", "duplicates", "orphaned", "excess", "user", "session", "where", "all"];
    assert_eq!(kinds, every);
    assert_eq!(page.count_elements("section[aria-labelledby=create-plan] button"), every.len());
}

#[tokio::test]
async fn a_plan_shows_what_it_would_touch_as_text() {
    let dashboard = TestDashboard::new();
    dashboard.write_store(|db| plans::upsert_plan(db, &plan(&dashboard, PlanState::Planned)));
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/cleanup?target=app").await;
    assert_eq!(page.select_attributes("section[aria-labelledby=plans] li a", "href"), ["/plans/p1"]);
    let page = viewer.get("/plans/p1").await;
    assert_eq!(page.select_text("main h1"), "cleanup orphaned");
    let facts = ["Session (Auth.js)", "3 of 1000", "1 of 900", "2", "planned"];
    assert_eq!(page.select_texts("dl.facts dd"), facts);
    assert_eq!(page.select_texts("main tbody code"), ["abcdefgh…"]);
    page.assert_shows_hostile_text("main tbody td");
    page.assert_shows_hostile_text("main ul.list li");
    assert_eq!(page.count_elements("main form"), 0, "viewers cannot apply a plan");
}

#[tokio::test]
async fn a_plan_can_be_applied_unless_it_is_done_or_expired() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let made = plan(&dashboard, PlanState::Planned);
    dashboard.write_store(|db| plans::upsert_plan(db, &made));
    let page = responder.get("/plans/p1").await;
    assert_eq!(page.select_text("form[action='/plans/p1/apply'] button"), "Apply plan");
    assert_eq!(page.count_elements("input[name=confirm]"), 0);

    let old = PlanRecord { updated_at: made.updated_at - SignedDuration::from_hours(24), ..made.clone() };
    dashboard.write_store(|db| plans::upsert_plan(db, &old));
    let page = responder.get("/plans/p1").await;
    assert_eq!(page.select_text("main p.notice"), "This plan has expired. Create a new plan.");
    assert_eq!(page.count_elements("main form"), 0);
    let refused = responder.post("/plans/p1/apply", &[]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);

    dashboard
        .write_store(|db| plans::upsert_plan(db, &PlanRecord { state: PlanState::Done, ..made.clone() }));
    assert_eq!(responder.get("/plans/p1").await.count_elements("main form"), 0);
}

#[tokio::test]
async fn a_plan_above_a_safety_limit_asks_for_the_target_name() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let far = PlanRecord { row_count: 900, active_sessions: 800, ..plan(&dashboard, PlanState::Planned) };
    dashboard.write_store(|db| plans::upsert_plan(db, &far));
    let page = responder.get("/plans/p1").await;
    assert_eq!(page.count_elements("form[action='/plans/p1/apply'] input[name=confirm][required]"), 1);
    assert!(page.select_text("form[action='/plans/p1/apply'] label").contains("(app)"));
    for (typed, reason) in [
        ("", "This plan ends 89 % of the active sessions"),
        ("another", "“another” is not the name of the target"),
    ] {
        let refused = responder.post("/plans/p1/apply", &[("confirm", typed)]).await;
        assert_eq!(refused.status, StatusCode::CONFLICT);
        let why = refused.select_text("main p.empty");
        assert!(why.starts_with(reason), "{why}");
        assert!(why.ends_with(". Type the target name (app) to confirm."), "{why}");
    }
}

#[tokio::test]
async fn invalid_plans_are_rejected_before_the_database_is_queried() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    for [kind, other] in [
        [("kind", "everything"), ("x", "")],
        [("kind", "expired"), ("hours", "0")],
        [("kind", "excess"), ("keep", "1001")],
        [("kind", "user"), ("user", " ")],
        [("kind", "where"), ("created_after", "")],
        [("kind", "where"), ("created_after", "yesterday")],
    ] {
        let refused = responder.post("/cleanup", &[("target", "app"), kind, other]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{kind:?} {other:?}");
    }
}
