//! Every route by token, and what all routes have in common.

use axum::{body::Body, http::Method};
use serde_json::json;
use sessionwatch_app::app::accounts::AccountRole;

use super::{
    super::route_table::RouteSpec,
    test_client::{ApiClient, ApiResponse},
    *,
};
use crate::{MAX_BODY_BYTES, test_dashboard::TestDashboard};

/// Returns the routes that need a token, with their scopes.
fn routes_with_scopes() -> Vec<(RouteSpec, TokenScope)> {
    let table = routes::api_route_table();
    let scope = |route: &RouteSpec| match route.access {
        Access::Token(scope) => Some((route.clone(), scope)),
        _ => None,
    };
    table.iter().filter_map(scope).collect()
}

/// Sends a request to a route, with a value for each parameter and an empty object as the body.
async fn call(client: &ApiClient<'_>, route: &RouteSpec) -> ApiResponse {
    let values = [("{target}", "app"), ("{check}", "duplicate-tokens"), ("{user}", "u1")];
    let path = values.iter().fold(route.path.clone(), |path, (name, value)| path.replace(name, value));
    // An ID that no object has.
    let path = ["{id}", "{plan}", "{name}"].iter().fold(path, |path, name| path.replace(name, "4711"));
    let request = Request::builder().method(route.method.clone()).uri(path);
    client.send(request.header(header::CONTENT_TYPE, "application/json"), "{}".into()).await
}

#[tokio::test]
async fn without_a_valid_token_every_route_asks_for_one() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Admin).await;
    let stranger = client.with_token(&format!("swt_{}", "0".repeat(64)));
    for (route, _) in routes_with_scopes() {
        let response = call(&stranger, &route).await;
        response.assert_problem(StatusCode::UNAUTHORIZED, "a valid API token is required");
        let challenge = response.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.starts_with("Bearer ") && challenge.contains("invalid_token"), "{challenge}");
    }
}

#[tokio::test]
async fn a_route_accepts_its_own_scope_and_no_other() {
    let dashboard = TestDashboard::new();
    for only in TokenScope::ALL {
        let client = ApiClient::with_scopes(&dashboard, AccountRole::Admin, vec![*only]).await;
        for (route, scope) in routes_with_scopes() {
            let response = call(&client, &route).await;
            if scope == *only {
                let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
                assert!(!refused.contains(&response.status), "{route:?}: {response:?}");
                continue;
            }
            response.assert_problem(StatusCode::FORBIDDEN, &format!("lacks the scope `{}`", scope.name()));
            let challenge = response.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenge.contains("insufficient_scope"), "{challenge}");
            assert!(challenge.contains(&format!("scope=\"{}\"", scope.name())), "{challenge}");
        }
    }
}

#[tokio::test]
async fn a_token_loses_the_scopes_that_a_lowered_role_does_not_permit() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Admin).await;
    for role in [AccountRole::Admin, AccountRole::Responder, AccountRole::Viewer] {
        let sql = format!("UPDATE accounts SET role = '{}' WHERE name = 'admin'", role.name());
        dashboard.write_store(|db| db.execute(&sql, &[]));
        for (route, scope) in routes_with_scopes() {
            if route.method == Method::GET {
                let is_refused = call(&client, &route).await.status == StatusCode::FORBIDDEN;
                assert_eq!(is_refused, scope.required_role() > role, "{role:?} {route:?}");
            }
        }
        assert_eq!(client.get("/api/v1/me").await.json()["role"], role.name());
    }
}

#[tokio::test]
async fn an_expired_token_and_one_of_a_deleted_account_are_refused() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    assert_eq!(client.get("/api/v1/me").await.status, StatusCode::OK);
    let now = dashboard.now().micros();
    dashboard.write_store(|db| db.execute(&format!("UPDATE api_tokens SET expires_at = {now}"), &[]));
    assert_eq!(client.get("/api/v1/me").await.status, StatusCode::UNAUTHORIZED);

    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let admin = ApiClient::with_role(&dashboard, AccountRole::Admin).await;
    assert_eq!(admin.delete("/api/v1/accounts/viewer").await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.get("/api/v1/me").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_a_bearer_token_authenticates() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let browser = dashboard.log_in_as(AccountRole::Admin).await;
    let token = client.token.expose();
    for (value, expected) in [
        (format!("Bearer {token}"), StatusCode::OK),
        (format!("bearer   {token} "), StatusCode::OK),
        (format!("Bearer{token}"), StatusCode::UNAUTHORIZED),
        (format!("Basic {token}"), StatusCode::UNAUTHORIZED),
        (format!("Bearer {}", token.to_uppercase()), StatusCode::UNAUTHORIZED),
        (format!("Bearer {}", &token[..token.len() - 1]), StatusCode::UNAUTHORIZED),
        (format!("Bearer {token}, Bearer {token}"), StatusCode::UNAUTHORIZED),
        (token.to_owned(), StatusCode::UNAUTHORIZED),
        ("Bearer ".to_owned(), StatusCode::UNAUTHORIZED),
        (String::new(), StatusCode::UNAUTHORIZED),
    ] {
        let request = Request::get("/api/v1/me").header(header::AUTHORIZATION, &value);
        let response = dashboard.send_request(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), expected, "{value}");
    }
    // A page of another site could send the cookie, but not the token.
    assert_eq!(browser.get("/api/v1/me").await.status, StatusCode::UNAUTHORIZED);
    let cookie = format!("sessionwatch={token}");
    let request = Request::get("/").header(header::COOKIE, cookie).body(Body::empty()).unwrap();
    assert_eq!(dashboard.send_request(request).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Admin).await;
    for path in ["/api/v1/nowhere", "/api/v2/me", "/api/v1/alerts/"] {
        client.get(path).await.assert_problem(StatusCode::NOT_FOUND, "/api/v1/openapi.json");
    }
    let response = client.delete("/api/v1/silences").await;
    response.assert_problem(StatusCode::METHOD_NOT_ALLOWED, "/api/v1/silences allows only GET, POST");
    assert_eq!(response.headers[header::ALLOW], "GET, POST");
    let head = client.send(Request::head("/api/v1/targets"), Body::empty()).await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    let stranger = client.with_token("x");
    assert_eq!(
        stranger.send(Request::head("/api/v1/targets"), Body::empty()).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_body_must_be_json_of_the_described_form() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let valid = json!({ "check": "duplicate-tokens", "minutes": 60, "note": "x" }).to_string();
    let post = async |kind: &str, body: &str| {
        let request = Request::post("/api/v1/silences").header(header::CONTENT_TYPE, kind);
        client.send(request, body.to_owned().into()).await
    };
    let forms =
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonp"];
    for kind in forms {
        post(kind, &valid).await.assert_problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "application/json");
    }
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\u{feff}{}",
        r#"{"minutes": 60}"#,
        r#"{"minutes": 60, "note": "x", "extra": 1}"#,
        r#"{"minutes": 60, "minutes": 60, "note": "x"}"#,
        r#"{"minutes": "60", "note": "x"}"#,
        r#"{"minutes": 0, "note": "x"}"#,
        r#"{"minutes": 60.5, "note": "x"}"#,
        r#"{"minutes": 1e400, "note": "x"}"#,
        r#"{"minutes": 527041, "note": "x"}"#,
        r#"{"minutes": 60, "note": " "}"#,
        r#"{"minutes": 60, "note": "a\nb"}"#,
        r#"{"minutes": 60, "note": "x"} x"#,
    ] {
        post("application/json", body).await.assert_problem(StatusCode::BAD_REQUEST, "invalid body");
    }
    let large = valid.replace('x', &"x".repeat(MAX_BODY_BYTES));
    post("application/json", &large).await.assert_problem(StatusCode::PAYLOAD_TOO_LARGE, "64 KiB");
    let nested = "[".repeat(10_000);
    post("application/json", &nested).await.assert_problem(StatusCode::BAD_REQUEST, "invalid body");
    assert!(client.get("/api/v1/silences").await.items().is_empty());
    assert_eq!(post("Application/JSON; charset=utf-8", &valid).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn unknown_or_unreadable_parameters_are_problems() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=",
        "cursor=-1",
        "cursor=x",
        "cursor=9223372036854775808",
        "from=yesterday",
        "from=2026-13-01T00:00:00Z",
        "alerts_only=perhaps",
        "text=",
        "text=%0a",
        "unknown=1",
        "limit=1&limit=2",
    ] {
        let response = client.get(&format!("/api/v1/events?{query}")).await;
        response.assert_problem(StatusCode::BAD_REQUEST, "");
    }
    for path in ["/api/v1/targets/%FF", "/api/v1/targets/%20", "/api/v1/targets/a%0Ab"] {
        client.get(path).await.assert_problem(StatusCode::BAD_REQUEST, "");
    }
    let long = format!("/api/v1/targets/{}", "x".repeat(201));
    client.get(&long).await.assert_problem(StatusCode::BAD_REQUEST, "1 to 200 characters");
}

#[tokio::test]
async fn an_unchanged_response_is_sent_once_for_each_version() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let get = async |known: &str| {
        client
            .send(Request::get("/api/v1/silences").header(header::IF_NONE_MATCH, known), Body::empty())
            .await
    };
    let first = get("\"x\"").await;
    let tag = first.headers[header::ETAG].to_str().unwrap().to_owned();
    assert_eq!((first.status, &*first.body), (StatusCode::OK, r#"{"items":[],"next":null}"#));
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let again = get(&known).await;
        assert_eq!((again.status, &*again.body), (StatusCode::NOT_MODIFIED, ""), "{known}");
        assert_eq!(again.headers[header::ETAG], *tag);
        assert!(!again.headers.contains_key(header::CONTENT_TYPE));
    }
    let body = json!({ "check": "duplicate-tokens", "minutes": 60, "note": "x" });
    let created = client.post("/api/v1/silences", &body).await;
    assert!(!created.headers.contains_key(header::ETAG), "a write is not cached");
    let changed = get(&tag).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_ne!(changed.headers[header::ETAG], *tag);
    let request = Request::get("/api/v1/silences").header(header::IF_NONE_MATCH, "*");
    let refused = client.with_token("x").send(request, Body::empty()).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}
