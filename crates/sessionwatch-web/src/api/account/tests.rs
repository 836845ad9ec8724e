use axum::http::header;
use serde_json::json;
use sessionwatch_app::app::tokens::NewToken;
use sessionwatch_core::duration::DAY;

use super::super::test_client::ApiClient;
use crate::test_dashboard::{HOSTILE_TEXT, TestDashboard};

use super::*;

const PASSWORD: &str = "a sentence is a good one";

#[tokio::test]
async fn the_caller_sees_its_account_and_token_but_no_hash() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let me = client.get("/api/v1/me").await;
    let document = me.json();
    assert_eq!((&document["account"], &document["role"]), (&json!("viewer"), &json!("viewer")));
    assert_eq!(document["token"]["scopes"], json!(["read", "account"]));
    let hash = sessionwatch_app::app::random_tokens::sha256_hex(client.token.expose());
    assert!(!me.body.contains(&hash) && !me.body.contains(client.token.expose()), "{}", me.body);
}

#[tokio::test]
async fn a_token_creates_only_tokens_that_may_do_no_more_than_itself() {
    let dashboard = TestDashboard::new();
    let scopes = vec![TokenScope::Account, TokenScope::Alerts];
    let client = ApiClient::with_scopes(&dashboard, AccountRole::Admin, scopes).await;
    let create = async |scopes: &[&str]| {
        client.post("/api/v1/tokens", &json!({ "label": "new", "scopes": scopes })).await
    };
    for beyond in [&["read"][..], &["alerts", "admin"]] {
        create(beyond).await.assert_problem(StatusCode::FORBIDDEN, "lacks the scope");
    }
    create(&[]).await.assert_problem(StatusCode::BAD_REQUEST, "at least one scope");
    create(&["everything"]).await.assert_problem(StatusCode::BAD_REQUEST, "");
    let created = create(&["alerts", "account", "alerts"]).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    assert_eq!(created.json()["scopes"], json!(["alerts", "account"]));
    let secret = created.json()["secret"].as_str().unwrap().to_owned();
    let second = client.with_token(&secret);
    assert_eq!(second.get("/api/v1/me").await.status, StatusCode::FORBIDDEN, "it cannot read");
    let listed = second.get("/api/v1/tokens").await;
    assert_eq!(listed.items().len(), 2);
    assert!(!listed.body.contains(&secret), "the secret is shown once");
    // The role was lowered since the token was created.
    dashboard.write_store(|db| db.execute("UPDATE accounts SET role = 'viewer'", &[]));
    create(&["alerts"]).await.assert_problem(StatusCode::FORBIDDEN, "lacks the scope");
    assert_eq!(create(&["account"]).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_token_creates_only_tokens_that_end_before_itself() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let now = dashboard.now();
    let own_end = now + 30 * DAY;
    for (days, expected) in [(json!(1), 1), (json!(29), 29), (json!(366), 29), (json!(null), 29)] {
        let body = json!({ "label": "new", "scopes": ["read"], "days": days });
        let created = client.post("/api/v1/tokens", &body).await;
        let end: Rfc3339 = serde_json::from_value(created.json()["expires_at"].clone()).unwrap();
        assert_eq!(end.0.duration_since(now).as_hours() / 24, expected, "{days}");
        assert!(end.0 <= own_end, "{days}");
    }
    for days in [json!(0), json!(367), json!(-1), json!("x")] {
        let body = json!({ "label": "new", "scopes": ["read"], "days": days });
        client.post("/api/v1/tokens", &body).await.assert_problem(StatusCode::BAD_REQUEST, "");
    }
    let soon = (now + DAY).micros() - 1;
    dashboard.write_store(|db| db.execute(&format!("UPDATE api_tokens SET expires_at = {soon}"), &[]));
    let body = json!({ "label": "new", "scopes": ["read"] });
    client.post("/api/v1/tokens", &body).await.assert_problem(StatusCode::CONFLICT, "within a day");
}

#[tokio::test]
async fn the_secret_of_a_token_is_not_replayed() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let create = async || {
        let request = axum::http::Request::post("/api/v1/tokens")
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", "k1");
        client.send(request, json!({ "label": "new", "scopes": ["read"] }).to_string().into()).await
    };
    assert!(create().await.json()["secret"].is_string());
    create().await.assert_problem(StatusCode::CONFLICT, "its response is not stored");
    assert_eq!(client.get("/api/v1/tokens").await.items().len(), 2);
}

#[tokio::test]
async fn nobody_revokes_the_tokens_and_login_sessions_of_others() {
    let dashboard = TestDashboard::new();
    let viewer = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let admin = ApiClient::with_role(&dashboard, AccountRole::Admin).await;
    for list in ["tokens", "login-sessions"] {
        let path = format!("/api/v1/{list}");
        let listed = viewer.get(&path).await.items();
        assert_eq!(listed.len(), 1, "{listed:?}");
        let id = listed[0]["id"].as_str().unwrap();
        let others = admin.get(&path).await;
        assert!(!others.body.contains(id), "{others:?}");
        admin.delete(&format!("{path}/{id}")).await.assert_problem(StatusCode::NOT_FOUND, "");
        assert_eq!(viewer.get(&path).await.items().len(), 1);
    }
    let id = viewer.get("/api/v1/login-sessions").await.items()[0]["id"].as_str().unwrap().to_owned();
    let ended = viewer.delete(&format!("/api/v1/login-sessions/{id}")).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    assert!(viewer.get("/api/v1/login-sessions").await.items().is_empty());
    let id = viewer.get("/api/v1/tokens").await.items()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(viewer.delete(&format!("/api/v1/tokens/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(viewer.get("/api/v1/me").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_account_is_created_once_with_a_valid_name_and_password() {
    let dashboard = TestDashboard::new();
    let admin = ApiClient::with_role(&dashboard, AccountRole::Admin).await;
    let create = async |name: &str, role: &str, password: &str| {
        let body = json!({ "name": name, "role": role, "password": password });
        admin.post("/api/v1/accounts", &body).await
    };
    let long = "a".repeat(65);
    for name in ["", " ada", "ada lovelace", "аda", HOSTILE_TEXT, "a\u{0}", &long] {
        create(name, "viewer", PASSWORD)
            .await
            .assert_problem(StatusCode::BAD_REQUEST, "Invalid account name");
    }
    for password in ["", "short", &"x".repeat(MAX_PASSWORD_LENGTH + 1)] {
        let refused = create("ada", "viewer", password).await;
        refused.assert_problem(StatusCode::BAD_REQUEST, "");
        assert!(!refused.body.contains("short\""), "the password is not repeated: {}", refused.body);
    }
    for role in ["owner", "Admin", ""] {
        create("ada", role, PASSWORD).await.assert_problem(StatusCode::BAD_REQUEST, "");
    }
    assert_eq!(admin.get("/api/v1/accounts").await.items().len(), 1);
    let created = create("ada", "responder", PASSWORD).await;
    assert_eq!(created.status, StatusCode::CREATED);
    create("ada", "admin", "another sentence is as good").await.assert_problem(StatusCode::CONFLICT, "ada");
    let listed = admin.get("/api/v1/accounts").await;
    assert_eq!(listed.items()[0]["role"], "responder", "the first one is kept");
    for body in [&created.body, &listed.body, &admin.get("/api/v1/audit").await.body] {
        assert!(!body.contains("sentence") && !body.contains("$argon2"), "{body}");
    }
    let fields = [("name", "ada"), ("password", PASSWORD)];
    assert_eq!(dashboard.anonymous_visitor().post("/login", &fields).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn an_admin_cannot_delete_the_own_account() {
    let dashboard = TestDashboard::new();
    let admin = ApiClient::with_role(&dashboard, AccountRole::Admin).await;
    let own = admin.delete("/api/v1/accounts/admin").await;
    own.assert_problem(StatusCode::CONFLICT, "You cannot delete your own account.");
    admin.delete("/api/v1/accounts/nobody").await.assert_problem(StatusCode::NOT_FOUND, "Account not found.");
    assert_eq!(admin.get("/api/v1/me").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_audit_log_is_paged_latest_first() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let label = |number: usize| format!("label {number}");
    for number in 0..9 {
        let new = NewToken {
            account: "viewer".into(),
            label: label(number),
            scopes: vec![TokenScope::Read],
            valid_days: 1,
        };
        let actor = sessionwatch_app::app::Actor::from_command_line("eve");
        app_tokens::create_token(&dashboard.app, &actor, new).await.unwrap();
    }
    let first = client.get("/api/v1/audit?limit=9").await;
    let details = first.items().into_iter().map(|entry| entry["detail"].as_str().unwrap().to_owned());
    for (number, detail) in (0..9).rev().zip(details) {
        assert!(detail.contains(&label(number)), "{number}: {detail}");
    }
    let cursor = first.json()["next"].as_str().unwrap().to_owned();
    let rest = client.get(&format!("/api/v1/audit?cursor={cursor}")).await;
    let actions: Vec<_> = rest.items().iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["token.created", "login.succeeded"]);
    assert!(rest.json()["next"].is_null());
    let beyond = client.get("/api/v1/audit?cursor=0").await;
    assert!(beyond.items().is_empty() && beyond.json()["next"].is_null());
}
