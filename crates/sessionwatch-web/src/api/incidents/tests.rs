use serde_json::json;
use sessionwatch_app::app::accounts::AccountRole;

use super::{super::test_client::ApiClient, *};
use crate::test_dashboard::{HOSTILE_TEXT, TestDashboard};

#[test]
fn report_sections_match_those_of_the_application() {
    let names = ["summary", "root-cause", "data-leaked", "prevention", "lessons"];
    assert_eq!(incidents::REPORT_FIELDS, names);
    for name in names {
        let part: ReportFieldName = serde_json::from_value(name.into()).unwrap();
        assert_eq!(part.name(), name);
    }
}

/// Opens an incident, and returns its path.
async fn open(client: &ApiClient<'_>) -> String {
    let body = json!({ "target": "app", "severity": "P1", "summary": HOSTILE_TEXT });
    let opened = client.post("/api/v1/incidents", &body).await;
    assert_eq!(opened.status, StatusCode::CREATED, "{opened:?}");
    format!("/api/v1/incidents/{}", opened.json()["id"].as_str().unwrap())
}

#[tokio::test]
async fn an_incident_is_opened_once_for_a_target_that_exists() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    for (body, status) in [
        (json!({ "target": "app", "severity": "P4", "summary": "x" }), StatusCode::BAD_REQUEST),
        (json!({ "target": "app", "severity": "p1", "summary": "x" }), StatusCode::BAD_REQUEST),
        (json!({ "target": "app", "severity": "P1", "summary": " " }), StatusCode::BAD_REQUEST),
        (json!({ "target": "app", "severity": "P1", "summary": "a\nb" }), StatusCode::BAD_REQUEST),
        (json!({ "target": "app", "severity": "P1" }), StatusCode::BAD_REQUEST),
        (json!({ "target": "nowhere", "severity": "P1", "summary": "x" }), StatusCode::NOT_FOUND),
    ] {
        client.post("/api/v1/incidents", &body).await.assert_problem(status, "");
    }
    assert!(client.get("/api/v1/incidents").await.items().is_empty());
    let path = open(&client).await;
    let second = json!({ "target": "app", "severity": "P0", "summary": "x" });
    client.post("/api/v1/incidents", &second).await.assert_problem(StatusCode::CONFLICT, "is still open");
    let listed = client.get("/api/v1/incidents").await.items();
    assert_eq!((listed.len(), &listed[0]["severity"]), (1, &json!("P1")));
    let details = client.get(&path).await.json();
    assert_eq!((&details["next"]["id"], &details["state"]), (&json!("confirm"), &json!("open")));
    assert!(!details["open_points"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn an_update_applies_to_the_step_that_it_names_or_to_none() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let path = open(&client).await;
    let update = async |body: serde_json::Value| client.post(&format!("{path}/steps"), &body).await;
    for body in [
        json!({ "response": "done" }),
        json!({ "response": "skip", "step": "confirm" }),
        json!({ "response": "reopen", "step": "confirm" }),
        json!({ "response": "undo", "step": "confirm" }),
        json!({ "response": "done", "step": "confirm", "note": "" }),
        json!({ "step": "confirm" }),
    ] {
        update(body).await.assert_problem(StatusCode::BAD_REQUEST, "");
    }
    for step in ["contain", "nothing"] {
        let late = update(json!({ "response": "skip", "step": step, "note": "x" })).await;
        late.assert_problem(StatusCode::CONFLICT, "Another user has already completed this step.");
    }
    let early = update(json!({ "response": "reopen", "step": "confirm", "note": "x" })).await;
    assert_eq!(early.status, StatusCode::CONFLICT, "{early:?}");
    assert_eq!(client.get(&path).await.json()["next"]["id"], "confirm");
    let next = update(json!({ "response": "skip", "step": "confirm", "note": HOSTILE_TEXT })).await.json();
    assert_ne!(next["next"]["id"], "confirm");
    let again = update(json!({ "response": "skip", "step": "confirm", "note": "x" })).await;
    again.assert_problem(StatusCode::CONFLICT, "");
    let reopened =
        update(json!({ "response": "reopen", "step": "confirm", "note": "by mistake" })).await.json();
    assert_eq!(reopened["next"]["id"], "confirm");
}

#[tokio::test]
async fn a_containment_plan_needs_a_scope_and_a_bounded_list_of_users() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let path = open(&client).await;
    let contain = async |body: serde_json::Value| client.post(&format!("{path}/contain"), &body).await;
    let users = |count: usize| json!({ "scope": "users", "users": vec!["u1337"; count] });
    for (body, detail) in [
        (json!({}), "scope"),
        (json!({ "scope": "everybody" }), ""),
        (json!({ "scope": "all", "users": ["u1"] }), ""),
        (json!({ "scope": "users" }), "users"),
        (users(0), "at least one user is required"),
        (users(101), "at most 100 users"),
        (json!({ "scope": "users", "users": [""] }), ""),
    ] {
        contain(body).await.assert_problem(StatusCode::BAD_REQUEST, detail);
    }
    assert!(client.get("/api/v1/plans").await.items().is_empty());
    let planned = contain(users(100)).await;
    assert_eq!(planned.status, StatusCode::CREATED, "{planned:?}");
    assert_eq!(planned.json()["users"], 1);
    let orphaned = contain(json!({ "scope": "orphaned" })).await.json();
    assert_eq!(orphaned["rows"], 14);
}

#[tokio::test]
async fn the_report_holds_what_was_written_and_escapes_it() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let path = open(&client).await;
    let set = async |name: &str, text: &str| {
        client.post(&format!("{path}/fields"), &json!({ "name": name, "text": text })).await
    };
    set("conclusion", "x").await.assert_problem(StatusCode::BAD_REQUEST, "");
    set("root-cause", "a\nb").await.assert_problem(StatusCode::BAD_REQUEST, "");
    set("root-cause", &"x".repeat(2_001)).await.assert_problem(StatusCode::BAD_REQUEST, "1 to 2000");
    assert_eq!(set("root-cause", "<script>x</script> [a](http://evil)").await.status, StatusCode::NO_CONTENT);
    let note = json!({ "note": "see postgres://watch:hunter2@db/app" });
    assert_eq!(client.post(&format!("{path}/notes"), &note).await.status, StatusCode::NO_CONTENT);
    let report = client.get(&format!("{path}/report")).await;
    assert_eq!(report.headers[header::CONTENT_TYPE], "text/markdown; charset=utf-8");
    let written = r"\<script\>x\</script\> \[a\](http://evil)";
    assert!(report.body.contains(written), "{}", report.body);
    assert!(!report.body.contains("<script>") && !report.body.contains("hunter2"), "{}", report.body);
    let timeline = client.get(&path).await.body;
    assert!(timeline.contains("postgres://watch:***@db/app") && !timeline.contains("hunter2"));
}

#[tokio::test]
async fn an_incident_with_unfinished_steps_is_closed_only_for_a_reason() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let path = open(&client).await;
    let close = async |body: serde_json::Value| client.post(&format!("{path}/close"), &body).await;
    close(json!({})).await.assert_problem(StatusCode::CONFLICT, "cannot close");
    close(json!({ "reason": " " })).await.assert_problem(StatusCode::BAD_REQUEST, "");
    assert_eq!(client.get(&path).await.json()["state"], "open");
    assert_eq!(close(json!({ "reason": "a rehearsal" })).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.get(&path).await.json()["state"], "closed");
    close(json!({ "reason": "again" })).await.assert_problem(StatusCode::CONFLICT, "");
    let late = client.post(&format!("{path}/contain"), &json!({ "scope": "all" })).await;
    late.assert_problem(StatusCode::CONFLICT, "");
    let late = client.post(&format!("{path}/fields"), &json!({ "name": "lessons", "text": "x" })).await;
    late.assert_problem(StatusCode::CONFLICT, "");
    assert!(client.get("/api/v1/plans").await.items().is_empty());
}

#[tokio::test]
async fn exported_evidence_is_encrypted_and_recorded() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let path = open(&client).await;
    let request = axum::http::Request::post(format!("{path}/evidence?incomplete=perhaps"));
    let refused = client.send(request, axum::body::Body::empty()).await;
    refused.assert_problem(StatusCode::BAD_REQUEST, "");
    let bearer = format!("Bearer {}", client.token.expose());
    let request = axum::http::Request::post(format!("{path}/evidence"));
    let request = request.header(header::AUTHORIZATION, bearer).body(axum::body::Body::empty()).unwrap();
    let (parts, body) = dashboard.send_request(request).await.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    assert_eq!(parts.status, StatusCode::OK, "{}", String::from_utf8_lossy(&bytes));
    assert!(bytes.starts_with(b"age-encryption.org/v1\n"));
    let disposition = parts.headers[header::CONTENT_DISPOSITION].to_str().unwrap();
    let name = disposition.strip_prefix("attachment; filename=\"").unwrap().strip_suffix('"').unwrap();
    assert!(name.ends_with(".tar.age") && !name.contains(['/', '"', ' ']), "{name}");
    assert!(client.get(&path).await.body.contains(&format!("downloaded {name}, encrypted for age1")));
}
