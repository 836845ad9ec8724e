use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;

use crate::{
    routes::page_router,
    test_dashboard::{PageResponse, TestDashboard},
};

/// Asserts that a page says in plain words what is wrong, and offers a way out.
fn assert_helpful(page: &PageResponse, path: &str) {
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{path}: {}", page.body);
    assert_eq!(page.select_text("h1"), "Check your input", "{path}");
    assert!(page.select_text("main p.error-text").contains("address"), "{path}");
    assert!(!page.body.contains("eserialize") && !page.body.contains("UTF-8"), "{path}: {}", page.body);
    assert_eq!(page.select_attributes("main a.btn-primary", "href"), ["/"], "{path}");
}

#[tokio::test]
async fn unreadable_parameters_are_explained_on_a_page() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for path in [
        "/alerts?text=a&text=b",
        "/audit?before=x",
        "/audit?before=",
        "/logs?before=",
        "/logs?before=99999999999999999999",
        "/targets/app/report?weeks=-1",
        "/targets/app/report.html?weeks=99999999999",
        "/targets/app/sessions?status=active&status=expired",
        "/targets/app/sessions.csv?user=a&user=b",
        "/search?q=a&q=b",
        "/settings?done=a&done=b",
        "/incidents/INC-1?find=a&find=b",
        "/oidc/callback?code=a&code=b",
        "/login?next=/&next=/",
    ] {
        assert_helpful(&viewer.get(path).await, path);
    }
}

#[tokio::test]
async fn every_page_explains_a_path_that_cannot_be_read() {
    let dashboard = TestDashboard::new();
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    let (_, routes) = page_router();
    for route in routes.iter().filter(|route| route.path.contains('{')) {
        let place = |part: &str| if part.starts_with('{') { "%FF".to_owned() } else { part.to_owned() };
        let path = route.path.split('/').map(place).collect::<Vec<_>>().join("/");
        let page = if route.method == "GET" { admin.get(&path).await } else { admin.post(&path, &[]).await };
        assert_helpful(&page, &path);
    }
}

#[tokio::test]
async fn any_number_of_days_shows_alerts() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for (days, shown) in [
        ("99999999999999999999", "Last 400 days"),
        ("-99999999999999999999", "Last day"),
        ("401", "Last 400 days"),
        ("0", "Last day"),
        ("12", "Last 12 days"),
        ("", "Last 7 days"),
        ("x", "Last 7 days"),
    ] {
        let page = viewer.get(&format!("/alerts?days={days}")).await;
        assert_eq!(page.status, StatusCode::OK, "{days}");
        assert_eq!(page.select_text("form.history-filter option[selected]"), shown, "{days}");
    }
    let audit = viewer.get("/audit?days=99999999999999999999").await;
    assert_eq!(audit.select_attributes("select[name=days] option[selected]", "value"), ["4000"]);
}
