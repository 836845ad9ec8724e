//! Cookies, headers and error pages of the whole dashboard.

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, HeaderValue, Request, StatusCode},
};
use sessionwatch_app::app::{
    Actor,
    accounts::{self, AccountName, AccountRole, NewAccount, PasswordHash},
};
use sessionwatch_store::latest_reports;

use super::*;
use crate::{
    MAX_BODY_BYTES,
    test_dashboard::{HOSTILE_TEXT, TestDashboard},
};

const PASSWORD: &str = "a sentence is a good one";
const OVER_TLS: &str = "[serve]\npublic_url = \"https://watch.example.org\"\n";

async fn create_ada(dashboard: &TestDashboard) {
    let account = NewAccount {
        name: AccountName::parse("ada").unwrap(),
        password: PasswordHash::from_password(&PASSWORD.into()).unwrap(),
        role: AccountRole::Viewer,
    };
    accounts::create_account(&dashboard.app, &Actor::from_command_line("eve"), account).await.unwrap();
}

/// Returns the cookie that a login with a password sets.
async fn login_cookie(dashboard: &TestDashboard) -> String {
    create_ada(dashboard).await;
    let fields = [("name", "ada"), ("password", PASSWORD), ("next", "/alerts?days=30")];
    let logged_in = dashboard.anonymous_visitor().post("/login", &fields).await;
    assert_eq!(logged_in.location.as_deref(), Some("/alerts?days=30"));
    logged_in.cookie.unwrap()
}

/// Requests a page, and returns its status and headers.
async fn request_headers(dashboard: &TestDashboard, path: &str, cookie: &str) -> (StatusCode, HeaderMap) {
    let peer: SocketAddr = ([192, 0, 2, 1], 40_000).into();
    let request = Request::get(path).header(header::COOKIE, cookie).extension(ConnectInfo(peer));
    let response = dashboard.send_request(request.body(Body::empty()).unwrap()).await;
    (response.status(), response.headers().clone())
}

#[tokio::test]
async fn the_login_cookie_is_hidden_from_scripts_and_other_sites() {
    let cookie = login_cookie(&TestDashboard::new()).await;
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Max-Age=604800");
    let token = value.strip_prefix("sessionwatch=").unwrap();
    assert_eq!((token.len(), token.chars().all(|digit| digit.is_ascii_hexdigit())), (64, true), "{token}");
}

#[tokio::test]
async fn over_tls_the_login_cookie_is_bound_to_the_host() {
    let dashboard = TestDashboard::with_config(OVER_TLS);
    let cookie = login_cookie(&dashboard).await;
    assert!(cookie.starts_with("__Host-sessionwatch=") && cookie.ends_with("; Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(request_headers(&dashboard, "/", pair).await.0, StatusCode::OK);
    // A cookie without the prefix may have been set by another host of the domain.
    let unbound = pair.trim_start_matches("__Host-");
    assert_eq!(request_headers(&dashboard, "/", unbound).await.0, StatusCode::SEE_OTHER);
    let out = dashboard.anonymous_visitor();
    assert!(out.get("/").await.cookie.is_none());
}

#[test]
fn a_cookie_is_found_among_others() {
    let find = |headers: &[&'static str]| {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(header::COOKIE, HeaderValue::from_static(value));
        }
        find_cookie(&map, "s").map(str::to_owned)
    };
    for (headers, expected) in [
        (&["s=1"][..], Some("1")),
        (&["a=2; s=1;b=3"], Some("1")),
        (&["a=2", "b=3;  s=1"], Some("1")),
        (&["s=a=b"], Some("a=b")),
        (&["s=", "s=1"], Some("")),
        (&["ss=1; s2=2", "xs=3"], None),
        (&["s"], None),
        (&[""], None),
        (&[], None),
    ] {
        assert_eq!(find(headers).as_deref(), expected, "{headers:?}");
    }
}

#[tokio::test]
async fn every_response_forbids_scripts_framing_and_guessed_types() {
    let dashboard = TestDashboard::new();
    let browser = dashboard.log_in_as(AccountRole::Viewer).await;
    let asset = crate::assets::Asset::Stylesheet.url();
    for (path, status) in [
        ("/", 200),
        ("/login", 200),
        (asset, 200),
        ("/settings/components", 403),
        ("/targets/nowhere", 404),
        ("/nowhere", 404),
        ("/assets/nothing.css", 404),
        ("/targets/app/sessions", 503),
        ("/api/v1/me", 401),
        ("/api/v1/nowhere", 404),
        ("/api/v1/openapi.json", 200),
    ] {
        let (answered, headers) = request_headers(&dashboard, path, &browser.cookie).await;
        assert_eq!(answered, status, "{path}");
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY", "{path}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        let caching = match path {
            _ if path == asset => "public, max-age=31536000, immutable",
            "/api/v1/openapi.json" => "private, no-cache",
            _ => "no-store",
        };
        assert_eq!(headers[header::CACHE_CONTROL], caching, "{path}");
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY), "{path}");
    }
    let secure = TestDashboard::with_config(OVER_TLS);
    for path in ["/login", "/nowhere", "/api/v1/me"] {
        let (_, headers) = request_headers(&secure, path, "").await;
        assert_eq!(headers[header::STRICT_TRANSPORT_SECURITY], "max-age=31536000", "{path}");
    }
}

#[tokio::test]
async fn the_tenth_wrong_password_is_the_last_that_is_checked() {
    let dashboard = TestDashboard::new();
    create_ada(&dashboard).await;
    let stranger = dashboard.anonymous_visitor();
    for attempt in 0..10 {
        let page = stranger.post("/login", &[("name", "ada"), ("password", "wrong")]).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{attempt}");
    }
    // The right one too, or the limit would show when the guess was right.
    let page = stranger.post("/login", &[("name", "ada"), ("password", PASSWORD)]).await;
    assert_eq!((page.status, page.cookie.is_none()), (StatusCode::TOO_MANY_REQUESTS, true));
    assert_eq!(page.select_text("h1"), "Too many attempts");
    assert_eq!(page.select_text("main p:not(.error-text):has(+ a)"), "Try again in 15 minutes.");
    assert_eq!(page.select_attributes("main a.btn-primary", "href"), ["/login"]);
    let request = Request::post("/login").extension(ConnectInfo::<SocketAddr>(([192, 0, 2, 1], 1).into()));
    let response = dashboard.send_request(request.body("name=ada&password=x".into()).unwrap()).await;
    assert_eq!(response.headers()[header::RETRY_AFTER], "900");
}

#[tokio::test]
async fn a_form_that_is_too_large_is_refused() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let note = "x".repeat(MAX_BODY_BYTES);
    let fields = [("check", "duplicate-tokens"), ("minutes", "60"), ("note", &*note)];
    let page = responder.post("/silences", &fields).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert_eq!(page.select_text("main p.error-text"), "The form is too large.");
    assert_eq!(responder.get("/alerts").await.count_elements("section[aria-labelledby=silences]"), 0);
}

#[tokio::test]
async fn an_error_page_quotes_the_input_as_text_and_offers_a_way_out() {
    let dashboard = TestDashboard::new();
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    let page = admin.get(&format!("/targets/{}", crate::format::percent_encode(HOSTILE_TEXT))).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    page.assert_shows_hostile_text("main p.error-text");
    let page = admin.get("/targets/a%E2%80%AEb%0Ac").await;
    assert_eq!(page.select_text("main p.error-text"), "Target “a\u{fffd}b\u{fffd}c” not found.");
    assert_eq!(page.select_attributes("main a.btn-primary", "href"), ["/"]);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/settings/components").await;
    assert_eq!(page.select_text("h1"), "Permission denied");
    assert_eq!(page.select_attributes("main .foot a", "href"), ["/settings"]);
}

#[tokio::test]
async fn a_state_store_that_cannot_be_read_is_an_error_and_not_an_empty_page() {
    for (damage, pages) in [
        ("UPDATE alerts SET state = 'calm'", &["/", "/alerts", "/targets/app", "/settings"][..]),
        ("UPDATE latest_reports SET report = '{'", &["/", "/targets/app", "/cleanup"]),
        ("DROP TABLE events", &["/alerts", "/targets/app/checks/duplicate-tokens"]),
        ("DROP TABLE silences", &["/alerts"]),
        ("DROP TABLE audit", &["/audit"]),
        ("DROP TABLE log_events", &["/logs"]),
        ("DROP TABLE plans", &["/cleanup"]),
        ("DROP TABLE samples", &["/", "/alerts"]),
        ("DROP TABLE api_tokens", &["/settings"]),
        ("DROP TABLE incidents", &["/incidents", "/"]),
        ("DROP TABLE login_sessions", &["/", "/settings"]),
    ] {
        let dashboard = TestDashboard::new();
        let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
        dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
        let report = r#"{"stats": {"active": 1}}"#;
        dashboard.write_store(|db| latest_reports::upsert_report(db, "app", report, dashboard.now()));
        for path in pages {
            assert_eq!(viewer.get(path).await.status, StatusCode::OK, "{path}");
        }
        dashboard.write_store(|db| db.execute(damage, &[]));
        for path in pages {
            let page = viewer.get(path).await;
            assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{damage}: {path}");
            assert_eq!(page.select_text("h1"), "Something went wrong", "{damage}: {path}");
            assert_eq!(page.count_elements("nav"), 0, "{damage}: {path}");
        }
    }
}
