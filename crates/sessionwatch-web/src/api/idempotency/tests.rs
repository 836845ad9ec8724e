use credentials::Secret;
use sessionwatch_app::app::{accounts::AccountRole, silences, tokens::TokenScope};

use super::{super::super::test_dashboard::TestDashboard, *};

/// Returns a request that creates a silence, with an idempotency key.
fn silence(token: &Secret, key: &str, note: &str) -> Request {
    let body = serde_json::json!({ "check": "duplicate-tokens", "minutes": 60, "note": note });
    Request::post("/api/v1/silences")
        .header(header::AUTHORIZATION, format!("Bearer {}", token.expose()))
        .header(header::CONTENT_TYPE, "application/json")
        .header(IDEMPOTENCY_KEY_HEADER, key)
        .body(body.to_string().into())
        .unwrap()
}

#[tokio::test]
async fn a_request_runs_once_and_its_response_is_replayed() {
    let dashboard = TestDashboard::new();
    let token = dashboard.create_token(AccountRole::Responder, TokenScope::Alerts).await;
    let first = dashboard.send_request(silence(&token, "k1", "x")).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    assert!(!first.headers().contains_key(IDEMPOTENCY_REPLAYED_HEADER));
    let again = dashboard.send_request(silence(&token, "k1", "x")).await;
    assert_eq!(
        (again.status(), &again.headers()[IDEMPOTENCY_REPLAYED_HEADER]),
        (StatusCode::CREATED, &"true".parse().unwrap())
    );
    let other = dashboard.send_request(silence(&token, "k1", "y")).await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let unreadable = dashboard.send_request(silence(&token, "k 1", "x")).await;
    assert_eq!(unreadable.status(), StatusCode::BAD_REQUEST);
    assert_eq!(silences::list_silences(&dashboard.app).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_stopping_daemon_starts_no_new_request() {
    let dashboard = TestDashboard::new();
    let token = dashboard.create_token(AccountRole::Responder, TokenScope::Alerts).await;
    dashboard.app.background.stop().await;
    let refused = dashboard.send_request(silence(&token, "k1", "x")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(silences::list_silences(&dashboard.app).await.unwrap().is_empty());
}

#[test]
fn a_response_is_replayed_and_an_invalid_status_is_an_error() {
    let again = replay_response(404, "{}".into()).unwrap();
    assert_eq!(again.status(), StatusCode::NOT_FOUND);
    assert_eq!(again.headers()[IDEMPOTENCY_REPLAYED_HEADER], "true");
    assert_eq!(again.headers()[header::CONTENT_TYPE], "application/problem+json");
    for undecodable in [0, 99, 1_000] {
        let status = replay_response(undecodable, "{}".into()).unwrap_err().into_response().status();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{undecodable}");
    }
}

#[test]
fn replaying_a_response_that_was_not_stored_is_a_conflict() {
    let problem = replay_response(201, String::new()).unwrap_err();
    assert_eq!(problem.into_response().status(), StatusCode::CONFLICT);
    assert_eq!(replay_response(204, String::new()).unwrap().status(), StatusCode::NO_CONTENT);
}
