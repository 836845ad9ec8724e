use axum::http::StatusCode;
use jiff::SignedDuration;
use sessionwatch_app::{
    app::{
        accounts::AccountRole,
        plans::{PlanRecord, PlanState, SideEffect, SideEffectKind},
    },
    remediation::{PlanSummary, RowPreview},
};
use sessionwatch_store::{latest_reports, plans};

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

/// Stores a report with figures of every kind.
fn insert_report(dashboard: &TestDashboard) {
    let report = r#"{"stats": {"duplicate_tokens": 1, "expired": 1160, "orphaned": 0, 
        "active": 900, "users_active": 800,
        "oldest_expired": "1970-01-01T00:00:00Z"}, "checks": [
        {"id": "duplicate-tokens", "severity": "critical", "result": "failing"},
        {"id": "expired-backlog", "severity": "medium", "result": "failing"},
        {"id": "orphaned-sessions", "severity": "high", "result": "passing"},
        {"id": "user-session-excess", "severity": "medium", "result": "unknown", "reason": "<b>hidden</b>"}]}"#;
    dashboard.write_store(|db| latest_reports::upsert_report(db, "app", report, dashboard.now()));
}

#[tokio::test]
async fn only_responders_can_create_plans() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/cleanup").await;
    assert_eq!(page.count_elements("main form") + page.count_elements("#revoke"), 0);
    assert_eq!(page.select_texts("main .empty b"), ["No plans yet", "The archive is empty"]);
    let page = dashboard.log_in_as(AccountRole::Responder).await.get("/cleanup?target=app").await;
    let cards = page.select_attributes(".kind input[name=kind]", "value");
    assert_eq!(cards, ["duplicates", "expired", "orphaned", "excess"]);
    let dialogs = page.select_attributes(".dialog input[name=kind]", "value");
    assert_eq!(dialogs, ["user", "session", "where", "expired", "excess", "all"]);
    let opened = page.select_attributes("#revoke button", "popovertarget");
    assert_eq!(opened, page.select_attributes("main .dialog", "id"));
    assert_eq!(page.select_attributes("#revoke button.danger", "popovertarget"), ["revoke-all"]);
    assert_eq!(
        page.count_elements("main .btn-primary") - page.count_elements("main .dialog .btn-primary"),
        0
    );
}

#[tokio::test]
async fn each_kind_shows_its_count_and_state() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let page = responder.get("/cleanup?target=app").await;
    assert_eq!(page.select_text("main h1"), "No cleanup results for app");
    assert_eq!(page.select_text(".callout-warn b"), "app has not been checked yet");
    assert_eq!(page.select_texts(".kind-count"), ["–"; 4]);

    insert_report(&dashboard);
    let page = responder.get("/cleanup?target=app").await;
    assert_eq!(
        page.select_text("main h1"),
        "1 duplicate token and 1,160 expired sessions on app need cleanup"
    );
    assert_eq!(page.select_texts(".kind-count"), ["1", "1,160", "0", "–"]);
    assert_eq!(page.select_texts(".kind .pill"), ["Critical", "Medium", "Passing", "Unknown"]);
    assert_eq!(page.count_elements(".kind-quiet"), 2);
    assert_eq!(page.select_texts(".kind form button"), ["Review plan"; 3], "nothing is orphaned");
    assert!(page.select_texts(".kind p")[3].contains("<b>hidden</b>"), "as text");
    assert!(page.select_text("#revoke-all").contains("it ends 900 active sessions of 800 user IDs"));
}

#[tokio::test]
async fn everyone_is_revoked_only_with_the_typed_target_name() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    for typed in ["", "App", "other"] {
        let fields = [("target", "app"), ("kind", "all"), ("confirm", typed)];
        let refused = responder.post("/cleanup", &fields).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{typed}");
        assert!(refused.body.contains("Type the target name (app) to revoke every session."));
    }
}

#[tokio::test]
async fn a_plan_shows_what_it_would_touch_as_text() {
    let dashboard = TestDashboard::new();
    dashboard.write_store(|db| plans::upsert_plan(db, &plan(&dashboard, PlanState::Planned)));
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/cleanup?target=app").await;
    assert_eq!(page.select_attributes("section[aria-labelledby=plans] td.fill a", "href"), ["/plans/p1"]);
    assert_eq!(page.select_text("section[aria-labelledby=plans] td.fill"), "Delete orphaned sessions");
    assert!(page.select_text("section[aria-labelledby=plans] .pill").starts_with("Ready, "));
    page.assert_shows_hostile_text("section[aria-labelledby=plans] td");
    let page = viewer.get("/plans/p1").await;
    assert_eq!(page.select_text("main h1"), "Delete 3 orphaned sessions");
    let lead = "Deletes 3 of 1,000 sessions (0.3%). 1 active session ends, of users who no longer exist.";
    assert_eq!(page.select_text("p.lead"), lead);
    assert_eq!(page.select_texts(".stat-value"), ["3", "1", "2", "0"]);
    assert!(page.select_text(".meta").contains("Session (Auth.js)"));
    assert_eq!(page.select_text("section[aria-labelledby=rows] .card-head .muted"), "1 of 3 rows shown");
    assert!(page.select_texts("main tbody td").contains(&"abcdefgh…".to_owned()));
    page.assert_shows_hostile_text("main tbody td");
    page.assert_shows_hostile_text("main .notes li");
    page.assert_shows_hostile_text("main .meta");
    assert_eq!(
        page.count_elements("main form") + page.count_elements("#command"),
        0,
        "viewers cannot apply a plan"
    );
}

#[tokio::test]
async fn a_plan_can_be_applied_unless_it_is_done_or_expired() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let made = plan(&dashboard, PlanState::Planned);
    dashboard.write_store(|db| plans::upsert_plan(db, &made));
    let page = responder.get("/plans/p1").await;
    assert_eq!(page.select_text("form[action='/plans/p1/apply'] button"), "Apply plan");
    assert_eq!(page.select_text("main .btn-primary"), "Apply plan");
    assert_eq!(page.count_elements("input[name=confirm]"), 0);
    assert_eq!(page.select_text(".code pre"), "sessionwatch apply p1 --as responder");

    let old = PlanRecord { updated_at: made.updated_at - SignedDuration::from_hours(24), ..made.clone() };
    dashboard.write_store(|db| plans::upsert_plan(db, &old));
    let page = responder.get("/plans/p1").await;
    assert_eq!(page.select_text(".callout-warn b"), "This plan has expired");
    assert_eq!(page.count_elements("main form"), 0);
    let refused = responder.post("/plans/p1/apply", &[]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);

    let begun = PlanRecord { state: PlanState::Begun, ..made.clone() };
    dashboard.write_store(|db| plans::upsert_plan(db, &begun));
    let page = responder.get("/plans/p1").await;
    assert_eq!(page.select_text(".callout-warn b"), "Applying this plan was interrupted");
    assert_eq!(page.select_text("main .btn-primary"), "Apply plan");

    dashboard
        .write_store(|db| plans::upsert_plan(db, &PlanRecord { state: PlanState::Done, ..made.clone() }));
    let page = responder.get("/plans/p1").await;
    assert_eq!(page.count_elements("main form"), 0);
    assert_eq!(page.select_text("main h1"), "Deleted 3 orphaned sessions");
}

#[tokio::test]
async fn a_plan_without_rows_offers_nothing_to_apply() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let mut empty = PlanRecord { row_count: 0, active_sessions: 0, ..plan(&dashboard, PlanState::Planned) };
    empty.summary = serde_json::to_string(&PlanSummary::default()).unwrap();
    dashboard.write_store(|db| plans::upsert_plan(db, &empty));
    let page = responder.get("/plans/p1").await;
    assert_eq!(page.select_text("main h1"), "No orphaned sessions to delete");
    assert_eq!(page.select_text(".empty b"), "No matching rows");
    assert_eq!(page.count_elements("main form"), 0);
}

#[tokio::test]
async fn effects_on_other_tables_are_shown_before_the_plan_is_applied() {
    let dashboard = TestDashboard::new();
    let effect = |kind, archived| SideEffect {
        kind,
        table: HOSTILE_TEXT.into(),
        name: "fk".into(),
        rows: Some(23),
        archived,
    };
    let summary = PlanSummary {
        all_rows: 1_000,
        all_active: 900,
        side_effects: vec![effect(SideEffectKind::Cascade, true), effect(SideEffectKind::SetNull, false)],
        not_ended: vec!["API tokens".into()],
        ..PlanSummary::default()
    };
    let mut made = plan(&dashboard, PlanState::Planned);
    made.summary = serde_json::to_string(&summary).unwrap();
    dashboard.write_store(|db| plans::upsert_plan(db, &made));
    let page = dashboard.log_in_as(AccountRole::Responder).await.get("/plans/p1").await;
    assert_eq!(page.select_texts(".stat-value")[3], "46");
    let titles = page.select_texts(".callout b").join("\n");
    for title in [
        "has 2 side effects",
        "are deleted with them",
        "are changed, and cannot be restored",
        "Some logins may stay valid",
        "Can be undone for 7 days",
    ] {
        assert!(titles.contains(title), "{title}: {titles}");
    }
    assert!(titles.contains(HOSTILE_TEXT), "as text");
    assert_eq!(page.count_elements("main script"), 0);
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
    assert_eq!(page.select_attributes("main .btn-primary", "popovertarget"), ["apply"]);
    assert_eq!(page.select_text(".callout-warn b"), "This plan ends 89% of the active sessions");
    assert!(page.select_text(".code pre").ends_with("--confirm app"));
    for (typed, reason) in [
        ("", "This plan ends 89% of the active sessions"),
        ("another", "“another” is not the name of the target"),
    ] {
        let refused = responder.post("/plans/p1/apply", &[("confirm", typed)]).await;
        assert_eq!(refused.status, StatusCode::CONFLICT);
        let why = refused.select_text("main p.error-text");
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
