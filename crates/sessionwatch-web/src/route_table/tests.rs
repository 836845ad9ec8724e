//! Every page by role, and every form from other sites.

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode, header, request::Builder},
    response::Response,
};
use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_store::audit;

use super::{super::routes, *};
use crate::test_dashboard::{TestBrowser, TestDashboard};

const ROLES: [AccountRole; 3] = [AccountRole::Viewer, AccountRole::Responder, AccountRole::Admin];

fn page_routes() -> Vec<RouteSpec> {
    routes::page_router().1.iter().cloned().collect()
}

fn forms() -> Vec<RouteSpec> {
    page_routes().into_iter().filter(|route| route.method == Method::POST).collect()
}

/// Returns the path of a route, with a value for each parameter.
fn example_path(route: &RouteSpec) -> String {
    let values = [("{target}", "app"), ("{check}", "duplicate-tokens"), ("{user}", "u1")];
    let path = values.iter().fold(route.path.clone(), |path, (name, value)| path.replace(name, value));
    ["{id}", "{token}", "{file}"].iter().fold(path, |path, name| path.replace(name, "x"))
}

/// Returns a request for a route, without a body.
fn request(route: &RouteSpec, cookie: &str) -> Builder {
    let request = Request::builder().method(route.method.clone()).uri(example_path(route));
    let peer: std::net::SocketAddr = ([192, 0, 2, 1], 40_000).into();
    request.header(header::HOST, "127.0.0.1").header(header::COOKIE, cookie).extension(ConnectInfo(peer))
}

async fn send(dashboard: &TestDashboard, request: Builder) -> Response {
    dashboard.send_request(request.body(Body::empty()).unwrap()).await
}

async fn read_text(response: Response) -> String {
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

fn location(response: &Response) -> &str {
    response.headers().get(header::LOCATION).map_or("", |path| path.to_str().unwrap())
}

#[tokio::test]
async fn without_a_login_session_only_public_pages_answer() {
    let dashboard = TestDashboard::new();
    dashboard.log_in_as(AccountRole::Viewer).await;
    for cookie in ["", "sessionwatch=", "sessionwatch=x", &format!("sessionwatch={}", "0".repeat(64))] {
        for route in page_routes() {
            let response = send(&dashboard, request(&route, cookie)).await;
            let is_sent_to_login = location(&response).starts_with("/login?next=%2F");
            let expected = match route.access {
                Access::Anyone => {
                    assert!(!is_sent_to_login && response.status() != StatusCode::FORBIDDEN, "{route:?}");
                    continue;
                }
                _ if route.method == Method::GET && route.path != "/events" => StatusCode::SEE_OTHER,
                // A script or a form cannot use the login page as the answer.
                _ => StatusCode::UNAUTHORIZED,
            };
            assert_eq!(response.status(), expected, "{route:?} {cookie}");
            assert_eq!(is_sent_to_login, expected == StatusCode::SEE_OTHER, "{route:?} {cookie}");
        }
    }
}

#[tokio::test]
async fn every_page_refuses_the_roles_below_its_own_and_no_other() {
    let dashboard = TestDashboard::new();
    for role in ROLES {
        for route in page_routes() {
            let Access::LoggedIn(least) = route.access else { continue };
            // Each time, because one of the routes logs out.
            let browser = dashboard.log_in_as(role).await;
            let response = send(&dashboard, request(&route, &browser.cookie)).await;
            let is_refused = response.status() == StatusCode::FORBIDDEN;
            assert_eq!(is_refused, role < least, "{role:?} {route:?}: {}", response.status());
            assert_ne!(response.status(), StatusCode::UNAUTHORIZED, "{role:?} {route:?}");
            assert!(!location(&response).starts_with("/login"), "{role:?} {route:?}");
        }
    }
}

#[tokio::test]
async fn a_head_request_needs_the_same_role_as_the_page() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for (path, cookie, expected) in [
        ("/audit", "", StatusCode::SEE_OTHER),
        ("/audit", &*viewer.cookie, StatusCode::OK),
        ("/settings/components", &*viewer.cookie, StatusCode::FORBIDDEN),
        ("/login", "", StatusCode::OK),
    ] {
        let response = send(&dashboard, Request::head(path).header(header::COOKIE, cookie)).await;
        assert_eq!(response.status(), expected, "{path}");
        assert_eq!(read_text(response).await, "", "{path}");
    }
}

#[tokio::test]
async fn a_method_that_a_page_does_not_have_is_refused() {
    let dashboard = TestDashboard::new();
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    for (method, path) in
        [("POST", "/alerts"), ("DELETE", "/settings"), ("PUT", "/login"), ("GET", "/logout")]
    {
        let request = Request::builder().method(method).uri(path).header(header::COOKIE, &admin.cookie);
        assert_eq!(send(&dashboard, request).await.status(), StatusCode::FORBIDDEN, "{method} {path}");
    }
    assert_eq!(admin.get("/").await.status, StatusCode::OK, "nobody was logged out");
}

#[tokio::test]
async fn a_lowered_role_takes_effect_with_the_next_request() {
    let dashboard = TestDashboard::new();
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    assert_eq!(admin.get("/settings/components").await.status, StatusCode::OK);
    dashboard.write_store(|db| db.execute("UPDATE accounts SET role = 'viewer' WHERE name = 'admin'", &[]));
    assert_eq!(admin.get("/settings/components").await.status, StatusCode::FORBIDDEN);
    let fields = [("check", "duplicate-tokens"), ("minutes", "60"), ("note", "x")];
    assert_eq!(admin.post("/silences", &fields).await.status, StatusCode::FORBIDDEN);
    dashboard.write_store(|db| db.execute("UPDATE accounts SET role = 'owner' WHERE name = 'admin'", &[]));
    assert_eq!(admin.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE, "an unknown role is no role");
}

/// Returns the number of recorded actions.
fn count_actions(dashboard: &TestDashboard) -> usize {
    dashboard.write_store(|db| audit::list_audit_entries_before(db, None, 1_000)).len()
}

#[tokio::test]
async fn a_form_from_another_site_changes_nothing() {
    let dashboard = TestDashboard::new();
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    let recorded = count_actions(&dashboard);
    for route in forms() {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", ""),
            ("origin", "https://evil.example"),
            ("origin", "https://127.0.0.1.evil.example"),
            ("origin", "http://127.0.0.1:1"),
            ("origin", "null"),
        ] {
            let response = send(&dashboard, request(&route, &admin.cookie).header(name, value)).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{route:?} {name} {value}");
            assert!(read_text(response).await.contains("Cross-site request refused"), "{route:?} {value}");
        }
    }
    assert_eq!(count_actions(&dashboard), recorded);
}

#[tokio::test]
async fn a_form_without_the_token_of_its_login_session_changes_nothing() {
    let dashboard = TestDashboard::new();
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    let recorded = count_actions(&dashboard);
    for route in forms() {
        if route.access == Access::Anyone {
            continue;
        }
        for body in ["", "form=", "form=0", "Form=x&form"] {
            let request = request(&route, &admin.cookie).header("sec-fetch-site", "same-origin");
            let response = dashboard.send_request(request.body(body.into()).unwrap()).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{route:?} {body}");
            assert!(read_text(response).await.contains("This form has expired."), "{route:?} {body}");
        }
    }
    assert_eq!(count_actions(&dashboard), recorded);
}

/// Logs out with headers of the browser, and returns the status.
async fn log_out_with(
    dashboard: &TestDashboard,
    browser: &TestBrowser<'_>,
    headers: &[(&str, &str)],
) -> StatusCode {
    let page = browser.get("/").await;
    let token = page.select_attributes("form[action='/logout'] input[name=form]", "value").remove(0);
    let request = Request::post("/logout").header(header::COOKIE, &browser.cookie);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    dashboard.send_request(request.body(format!("form={token}").into()).unwrap()).await.status()
}

#[tokio::test]
async fn a_form_is_accepted_from_the_address_of_the_dashboard_only() {
    let public = "[serve]\npublic_url = \"http://watch.example.org/\"\n";
    for (headers, expected) in [
        (vec![("host", "h:80"), ("origin", "http://h:80")], StatusCode::SEE_OTHER),
        (vec![("host", "h"), ("sec-fetch-site", "same-origin")], StatusCode::SEE_OTHER),
        // Typed into the address bar, or from a bookmark.
        (vec![("host", "h"), ("sec-fetch-site", "none")], StatusCode::SEE_OTHER),
        // Behind a proxy that changes the host.
        (vec![("host", "10.0.0.1"), ("origin", "http://watch.example.org")], StatusCode::SEE_OTHER),
        (vec![("host", "10.0.0.1"), ("origin", "http://watch.example.org.evil")], StatusCode::BAD_REQUEST),
        (vec![("host", "h:80"), ("origin", "http://h:81")], StatusCode::BAD_REQUEST),
        // The browser's own verdict counts more than an origin that looks right.
        (
            vec![("host", "h"), ("origin", "http://h"), ("sec-fetch-site", "cross-site")],
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let dashboard = TestDashboard::with_config(public);
        let browser = dashboard.log_in_as(AccountRole::Viewer).await;
        assert_eq!(log_out_with(&dashboard, &browser, &headers).await, expected, "{headers:?}");
        let logged_out = browser.get("/").await.status == StatusCode::SEE_OTHER;
        assert_eq!(logged_out, expected == StatusCode::SEE_OTHER, "{headers:?}");
    }
}

#[tokio::test]
async fn an_origin_that_names_no_host_is_not_this_one() {
    for (headers, expected) in [
        (vec![("host", "h"), ("origin", "")], StatusCode::BAD_REQUEST),
        (vec![("host", ""), ("origin", "")], StatusCode::BAD_REQUEST),
        (vec![("host", ""), ("origin", "http://")], StatusCode::BAD_REQUEST),
        (vec![("host", "h"), ("origin", "h")], StatusCode::BAD_REQUEST),
        (vec![("host", "h"), ("origin", "http://ü")], StatusCode::BAD_REQUEST),
        (vec![("host", "h"), ("origin", "http://h"), ("sec-fetch-site", "ü")], StatusCode::BAD_REQUEST),
        (vec![("host", "h"), ("origin", "http://h")], StatusCode::SEE_OTHER),
        (vec![("host", "h")], StatusCode::SEE_OTHER),
    ] {
        let dashboard = TestDashboard::new();
        let browser = dashboard.log_in_as(AccountRole::Viewer).await;
        assert_eq!(log_out_with(&dashboard, &browser, &headers).await, expected, "{headers:?}");
    }
}
