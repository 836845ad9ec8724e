use axum::http::StatusCode;
use sessionwatch_app::app::{MIN_PASSWORD_LENGTH, accounts::AccountRole};

use super::{
    super::test_dashboard::{HOSTILE_TEXT, TestDashboard},
    *,
};

#[test]
fn login_returns_only_to_pages_on_this_host() {
    let to = |next: &str| ReturnTo::new(next.to_owned()).safe_path().to_owned();
    assert_eq!(to("/alerts?x=1"), "/alerts?x=1");
    for evil in ["//evil.example", "https://evil.example", "/\\evil.example", "", "javascript:x"] {
        assert_eq!(to(evil), "/", "{evil}");
    }
    for control in (0..=0x20_u8).chain([0x7f]).map(char::from).chain(['\u{85}', '\u{a0}', '\u{2028}', '\\']) {
        for evil in
            [format!("/{control}/evil.example"), format!("{control}//evil.example"), format!("/a{control}b")]
        {
            assert_eq!(to(&evil), "/", "{evil:?}");
        }
    }
}

#[tokio::test]
async fn an_anonymous_visitor_is_sent_to_the_login_form_and_back() {
    let dashboard = TestDashboard::new();
    let stranger = dashboard.anonymous_visitor();
    let page = stranger.get("/alerts?days=30").await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    let form = stranger.get(&page.location.unwrap()).await;
    assert_eq!(form.select_attributes("input[name=next]", "value"), ["/alerts?days=30"]);
    assert_eq!(form.count_elements("nav"), 0, "a public page has no navigation");
    assert_eq!(form.select_text(".callout b"), "No accounts yet");
    dashboard.log_in_as(AccountRole::Viewer).await;
    assert_eq!(stranger.get("/login").await.count_elements(".callout"), 0);
}

#[tokio::test]
async fn a_wrong_password_is_reported_and_the_name_kept_as_text() {
    let dashboard = TestDashboard::new();
    let fields = [("name", HOSTILE_TEXT), ("password", "wrong"), ("next", "//evil.example")];
    let page = dashboard.anonymous_visitor().post("/login", &fields).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert_eq!(page.select_text("[role=alert] b"), "Wrong username or password");
    assert_eq!(page.select_attributes("input[name=name]", "value"), [HOSTILE_TEXT]);
    assert_eq!(page.select_attributes("input[name=password]", "value"), [""]);
    assert_eq!(page.count_elements("main script"), 0);
    assert_eq!(page.select_attributes("input[name=next]", "value"), ["/"]);
    assert!(!page.select_text("main").contains("alert(1)"));
    assert!(page.cookie.is_none());
}

#[tokio::test]
async fn logging_out_ends_the_login_session() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let account = viewer.get("/").await.select_attributes("[popovertarget=account]", "aria-label");
    assert_eq!(account, ["Account: viewer, viewer"]);
    let gone = viewer.post("/logout", &[]).await;
    assert_eq!(gone.location.as_deref(), Some("/login"));
    assert!(gone.cookie.unwrap().contains("Max-Age=0"));
    assert_eq!(viewer.get("/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_form_of_another_login_session_is_rejected() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let mut other = dashboard.log_in_as(AccountRole::Responder).await;
    other.cookie.clone_from(&viewer.cookie);
    assert_eq!(other.post("/logout", &[]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(viewer.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_setup_link_shows_a_form_and_any_other_is_not_found() {
    let dashboard = TestDashboard::new();
    let token = dashboard.app.auth.create_setup_link(dashboard.now());
    let page = dashboard.anonymous_visitor().get(&format!("/setup/{token}")).await;
    assert_eq!(page.select_text("main form button"), "Create account");
    assert_eq!(
        page.select_attributes("input[name=password]", "minlength"),
        [MIN_PASSWORD_LENGTH.to_string()]
    );
    assert_eq!(dashboard.anonymous_visitor().get("/setup/x").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_page_has_a_title_and_marks_its_navigation_entry() {
    let dashboard = TestDashboard::new();
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    for (path, place) in [
        ("/", "Overview"),
        ("/alerts", "Alerts"),
        ("/logs", "Logs"),
        ("/incidents", "Incidents"),
        ("/cleanup?target=app", "Cleanup"),
        ("/targets/app/report", "Reports"),
        ("/audit", "Audit"),
        ("/settings", "Settings"),
    ] {
        let page = admin.get(path).await;
        assert_eq!(page.select_text(".rail a[aria-current=page]"), place, "{path}");
        assert_eq!(page.count_elements("main h1"), 1, "{path}");
        assert!(page.select_text("head > title").ends_with("· sessionwatch"), "{path}");
        let unlabeled = page.count_elements("section:not([aria-labelledby]):not([aria-label])");
        assert_eq!(unlabeled, 0, "{path}");
    }
    let missing = admin.get("/nowhere").await;
    assert_eq!(
        (missing.status, missing.select_text("main p.error-text")),
        (StatusCode::NOT_FOUND, "No page exists at this address.".into())
    );
}

#[tokio::test]
async fn the_first_account_is_created_once_and_logged_in() {
    let dashboard = TestDashboard::new();
    let path = format!("/setup/{}", dashboard.app.auth.create_setup_link(dashboard.now()));
    let short = dashboard.anonymous_visitor().post(&path, &[("name", "ada"), ("password", "short")]).await;
    assert_eq!(short.status, StatusCode::BAD_REQUEST);
    let fields = [("name", "ada"), ("password", "a sentence is a good one")];
    let made = dashboard.anonymous_visitor().post(&path, &fields).await;
    assert_eq!((made.status, made.location.as_deref()), (StatusCode::SEE_OTHER, Some("/")));
    let ada = dashboard.visitor_from_cookie(&made).await;
    let account = ada.get("/").await.select_attributes("[popovertarget=account]", "aria-label");
    assert_eq!(account, ["Account: ada, admin"]);
    assert_eq!(dashboard.anonymous_visitor().post(&path, &fields).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_identity_provider_is_offered_only_if_configured() {
    let dashboard = TestDashboard::new();
    assert_eq!(dashboard.anonymous_visitor().get("/login").await.count_elements("main form a"), 0);
    assert_eq!(dashboard.anonymous_visitor().get("/oidc/login").await.status, StatusCode::NOT_FOUND);
    let callback = dashboard.anonymous_visitor().get("/oidc/callback?code=x&state=y").await;
    assert!(!callback.status.is_success() && callback.cookie.is_none(), "{callback:?}");
}
