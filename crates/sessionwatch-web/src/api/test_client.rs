//! A program with a token, for tests of the API.

use axum::{
    body::Body,
    http::{HeaderMap, Request, StatusCode, header, request::Builder},
};
use credentials::Secret;
use serde_json::Value;
use sessionwatch_app::app::{
    Actor,
    accounts::AccountRole,
    tokens::{self, NewToken, TokenScope},
};

use crate::test_dashboard::TestDashboard;

/// A program that calls the API.
pub(super) struct ApiClient<'a> {
    dashboard: &'a TestDashboard,
    pub(super) token: Secret,
}

/// A response.
#[derive(Debug)]
pub(super) struct ApiResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl<'a> ApiClient<'a> {
    /// Creates an account with this role, and a token with every scope that the role permits.
    pub(super) async fn with_role(dashboard: &'a TestDashboard, role: AccountRole) -> Self {
        let scopes = TokenScope::ALL.iter().copied().filter(|scope| scope.required_role() <= role);
        Self::with_scopes(dashboard, role, scopes.collect()).await
    }

    /// Creates an account with this role, and a token with these scopes for 30 days.
    pub(super) async fn with_scopes(
        dashboard: &'a TestDashboard,
        role: AccountRole,
        scopes: Vec<TokenScope>,
    ) -> Self {
        drop(dashboard.log_in_as(role).await);
        let new =
            NewToken { account: role.name().to_owned(), label: "script".to_owned(), scopes, valid_days: 30 };
        let created = tokens::create_token(&dashboard.app, &Actor::from_command_line("ada"), new).await;
        Self { dashboard, token: created.unwrap().secret }
    }

    /// Returns a client with another token.
    pub(super) fn with_token(&self, token: &str) -> Self {
        Self { dashboard: self.dashboard, token: token.into() }
    }

    pub(super) async fn get(&self, path: &str) -> ApiResponse {
        self.send(Request::get(path), Body::empty()).await
    }

    pub(super) async fn delete(&self, path: &str) -> ApiResponse {
        self.send(Request::delete(path), Body::empty()).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> ApiResponse {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.send(request, body.to_string().into()).await
    }

    pub(super) async fn send(&self, request: Builder, body: Body) -> ApiResponse {
        let bearer = format!("Bearer {}", self.token.expose());
        let request = request.header(header::AUTHORIZATION, bearer).body(body).unwrap();
        let (parts, body) = self.dashboard.send_request(request).await.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        ApiResponse { status: parts.status, headers: parts.headers, body }
    }
}

impl ApiResponse {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Returns the items of a page.
    pub(super) fn items(&self) -> Vec<Value> {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.json()["items"].as_array().unwrap().clone()
    }

    /// Asserts that the response is a problem whose detail contains a text.
    pub(super) fn assert_problem(&self, status: StatusCode, detail: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status.as_u16(), "{self:?}");
        assert_eq!(problem["title"], status.canonical_reason().unwrap(), "{self:?}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{self:?}");
    }
}
