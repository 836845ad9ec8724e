use serde_json::{Value, json};
use sessionwatch_app::app::{
    LiveEvent,
    accounts::AccountRole,
    plans::{PlanRecord, PlanState},
};
use sessionwatch_store::plans;

use super::{super::test_client::ApiClient, *};
use crate::{
    test_dashboard::TestDashboard,
    test_database::{TestSession, dashboard_with_sessions},
};

const PLANS: &str = "/api/v1/targets/app/plans";

/// Returns the selection that a body describes.
fn parse(body: Value) -> Result<Selection, String> {
    let request: CreatePlanRequest = serde_json::from_value(body).map_err(|error| error.to_string())?;
    request.into_selection().map_err(|_| "refused".to_owned())
}

#[test]
fn each_kind_of_plan_selects_what_it_names() {
    let hours = |hours| Selection::Expired { grace: SignedDuration::from_hours(hours) };
    for (body, expected) in [
        (json!({ "kind": "expired", "hours": 1 }), hours(1)),
        (json!({ "kind": "expired", "hours": 8_760 }), hours(8_760)),
        (json!({ "kind": "duplicates" }), Selection::Duplicates),
        (json!({ "kind": "orphaned" }), Selection::Orphaned),
        (json!({ "kind": "excess", "keep": 1_000 }), Selection::Excess { keep: 1_000 }),
        (json!({ "kind": "user", "user": " u 1" }), Selection::User(" u 1".into())),
        (json!({ "kind": "session", "session": "s1" }), Selection::Session("s1".into())),
        (json!({ "kind": "all" }), Selection::All),
    ] {
        assert_eq!(parse(body.clone()), Ok(expected), "{body}");
    }
    let Ok(Selection::Where(filter)) = parse(json!({
        "kind": "where", "user": "u1", "user_like": "ada", "created_after": "1970-01-01T00:00:01Z",
        "created_before": "1970-01-01T01:00:02+01:00", "expires_after": "1970-01-01T00:00:00.000003Z",
        "expires_before": "1969-12-31T23:59:59Z", "ip": "::1", "user_agent_like": "bot", "impersonated": true
    })) else {
        panic!("a filter is expected");
    };
    let text = |text: &str| Some(text.to_owned());
    let expected = RowFilter {
        user: text("u1"),
        user_like: text("ada"),
        created_after: Some(1_000_000),
        created_before: Some(2_000_000),
        expires_after: Some(3),
        expires_before: Some(-1_000_000),
        ip: text("::1"),
        agent_like: text("bot"),
        impersonated: true,
    };
    assert_eq!(filter, expected);
}

#[tokio::test]
async fn a_plan_that_names_too_little_or_too_much_is_refused() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    for body in [
        json!({}),
        json!({ "kind": "everything" }),
        json!({ "kind": "All" }),
        json!({ "kind": "expired" }),
        json!({ "kind": "expired", "hours": 0 }),
        json!({ "kind": "expired", "hours": -24 }),
        json!({ "kind": "expired", "hours": 8_761 }),
        json!({ "kind": "excess", "keep": 0 }),
        json!({ "kind": "excess", "keep": 1_001 }),
        json!({ "kind": "user" }),
        json!({ "kind": "user", "user": "" }),
        json!({ "kind": "user", "user": "u1", "all": true }),
        json!({ "kind": "session", "session": "\n" }),
        // A misspelled condition must not widen the selection.
        json!({ "kind": "where", "users": "u1", "ip": "::1" }),
        json!({ "kind": "where", "created_after": "yesterday" }),
    ] {
        client.post(PLANS, &body).await.assert_problem(StatusCode::BAD_REQUEST, "invalid body");
    }
    for body in [json!({ "kind": "where" }), json!({ "kind": "where", "impersonated": false, "ip": null })] {
        client.post(PLANS, &body).await.assert_problem(StatusCode::CONFLICT, "at least one condition");
    }
    let elsewhere = client.post("/api/v1/targets/nowhere/plans", &json!({ "kind": "all" })).await;
    elsewhere.assert_problem(StatusCode::NOT_FOUND, "Target “nowhere” not found.");
    let unreachable = client.post(PLANS, &json!({ "kind": "all" })).await;
    unreachable.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "Cannot query the database");
    assert!(client.get("/api/v1/plans").await.items().is_empty());
}

#[tokio::test]
async fn a_plan_is_applied_exactly_as_it_was_reviewed() {
    let session = |id, token| TestSession { id, token, ..TestSession::default() };
    let (one, two) = ("1".repeat(40), "2".repeat(40));
    let (_folder, dashboard) = dashboard_with_sessions(&[session("s1", &one), session("s2", &two)]);
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let created = client.post(PLANS, &json!({ "kind": "session", "session": "s1" })).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let plan = created.json();
    assert_eq!(
        (&plan["rows"], &plan["state"], &plan["progress"]),
        (&json!(1), &json!("planned"), &Value::Null)
    );
    assert!(!created.body.contains(&one), "{}", created.body);
    let path = format!("/api/v1/plans/{}", plan["id"].as_str().unwrap());
    let apply = async |body: Value| client.post(&format!("{path}/apply"), &body).await;
    let of_incident = apply(json!({ "incident": "INC-1" })).await;
    of_incident.assert_problem(StatusCode::NOT_FOUND, "Incident not found.");
    apply(json!({ "confirmed": "app" })).await.assert_problem(StatusCode::BAD_REQUEST, "confirmed");
    assert_eq!(client.get("/api/v1/targets/app/sessions").await.items().len(), 2, "nothing was applied");

    let mut events = dashboard.app.events.subscribe();
    assert_eq!(apply(json!({})).await.status, StatusCode::ACCEPTED);
    while client.get(&path).await.json()["progress"]["outcome"].is_null() {
        assert!(matches!(events.recv().await, Ok(LiveEvent::TargetChanged { .. })));
    }
    let done = client.get(&path).await.json();
    assert_eq!((&done["state"], &done["progress"]["failed"]), (&json!("done"), &json!(false)), "{done}");
    assert_eq!(done["progress"]["rows"], 1);
    let left = client.get("/api/v1/targets/app/sessions").await.items();
    assert_eq!((left.len(), &left[0]["id"]), (1, &json!("s2")));
    let archive = client.get("/api/v1/archive").await.items();
    assert_eq!((&archive[0]["rows"], &archive[0]["restored"]), (&json!(1), &json!(0)), "{archive:?}");
    apply(json!({})).await.assert_problem(StatusCode::CONFLICT, "has already been applied");
}

#[tokio::test]
async fn unknown_and_undecodable_plans_are_problems() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    for path in ["plans/p1/apply", "plans/p1/approve", "archive/p1/restore"] {
        let response = client.post(&format!("/api/v1/{path}"), &json!({})).await;
        response.assert_problem(StatusCode::NOT_FOUND, "Plan not found.");
    }
    client.get("/api/v1/plans/p1").await.assert_problem(StatusCode::NOT_FOUND, "Plan not found.");
    let plan = PlanRecord {
        id: "p1".into(),
        target: "app".into(),
        address: "sqlite:missing.db".into(),
        request: "\"orphaned\"".into(),
        created_at: dashboard.now(),
        created_by: "ada".into(),
        updated_at: dashboard.now(),
        state: PlanState::Planned,
        row_count: 3,
        active_sessions: 1,
        summary: "{}".into(),
        approved_by: None,
    };
    for (summary, request, is_read) in
        [("{}", "\"orphaned\"", true), ("{", "\"orphaned\"", false), ("[]", "\"orphaned\"", false)]
    {
        let plan = PlanRecord { summary: summary.into(), request: request.into(), ..plan.clone() };
        dashboard.write_store(|db| plans::upsert_plan(db, &plan));
        for path in ["/api/v1/plans", "/api/v1/plans/p1"] {
            let response = client.get(path).await;
            let expected = if is_read { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            assert_eq!(response.status, expected, "{summary} {path}: {response:?}");
        }
    }
}
