use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_clock as clock;

use super::{super::test_client::ApiClient, *};
use crate::test_dashboard::{HOSTILE_TEXT, TestDashboard};

#[tokio::test]
async fn a_marker_is_an_event_that_pages_show_as_text() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let at = dashboard.now() - SignedDuration::from_hours(1);
    for body in [
        json!({ "kind": "deploy", "text": HOSTILE_TEXT, "target": "app" }),
        json!({ "kind": "deploy", "text": "\u{202e}version 2", "at": clock::format_rfc3339(at) }),
    ] {
        let response = client.post("/api/v1/markers", &body).await;
        assert_eq!(response.status, StatusCode::CREATED, "{response:?}");
        if body["at"].is_string() {
            let stored: Rfc3339 = serde_json::from_value(response.json()["at"].clone()).unwrap();
            assert_eq!(stored.0.duration_since(at).as_secs(), 0);
        }
    }
    let events = client.get("/api/v1/events").await.items();
    let of: Vec<_> = events.iter().map(|event| (event["target"].clone(), event["kind"].clone())).collect();
    assert_eq!(of, [(json!(""), json!("deploy")), (json!("app"), json!("deploy"))]);
    assert_eq!(events[0]["summary"], "\u{fffd}version 2");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    viewer.get("/targets/app").await.assert_shows_hostile_text("main li");
}

#[tokio::test]
async fn a_marker_of_the_future_or_of_an_unknown_target_is_refused() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let in_minutes = |minutes| clock::format_rfc3339(dashboard.now() + SignedDuration::from_mins(minutes));
    let post = async |body: serde_json::Value| client.post("/api/v1/markers", &body).await;
    for (body, status) in [
        (json!({ "kind": "deploy", "text": "x", "at": in_minutes(7) }), StatusCode::CONFLICT),
        (json!({ "kind": "deploy", "text": "x", "target": "ap" }), StatusCode::NOT_FOUND),
        (json!({ "kind": "release", "text": "x" }), StatusCode::BAD_REQUEST),
        (json!({ "kind": "deploy", "text": "a\nb" }), StatusCode::BAD_REQUEST),
        (json!({ "kind": "deploy", "text": "x".repeat(201) }), StatusCode::BAD_REQUEST),
        (json!({ "kind": "deploy", "text": "\u{2003}" }), StatusCode::BAD_REQUEST),
        (json!({ "kind": "deploy", "text": "x", "at": "1700000000" }), StatusCode::BAD_REQUEST),
    ] {
        post(body).await.assert_problem(status, "");
    }
    assert!(client.get("/api/v1/events").await.items().is_empty());
    // The clocks of two machines may differ.
    let soon = json!({ "kind": "deploy", "text": "x", "at": in_minutes(3) });
    assert_eq!(post(soon).await.status, StatusCode::CREATED);
    let long_ago = json!({ "kind": "deploy", "text": "x", "at": "0001-01-01T00:00:00Z" });
    assert_eq!(post(long_ago).await.status, StatusCode::CREATED);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    assert_eq!(viewer.get("/targets/app?range=1y").await.status, StatusCode::OK);
}
