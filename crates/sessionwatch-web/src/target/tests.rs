use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_store::latest_reports;

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

#[tokio::test]
async fn before_the_first_run_no_check_is_listed() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/targets/app").await;
    assert_eq!(page.select_text("h1"), "app has not been checked yet");
    assert_eq!(page.select_text("section[aria-labelledby=checks] .empty b"), "No check has run yet");
    assert_eq!(page.select_texts("section[aria-labelledby=monitoring] dd code")[0], "sqlite:missing.db");
    assert_eq!(page.select_texts("nav.seg a[aria-current=true]"), ["24 h"]);
    assert_eq!(page.count_elements("main form"), 0);
}

#[tokio::test]
async fn its_checks_notes_and_table_are_listed_as_text() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("duplicate-tokens", "critical", HOSTILE_TEXT);
    let report = serde_json::json!({ "stats": {}, "table": HOSTILE_TEXT, "notes": [HOSTILE_TEXT], "duration_ms": 3.0 });
    dashboard
        .write_store(|db| latest_reports::upsert_report(db, "app", &report.to_string(), dashboard.now()));
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/targets/app?range=7d").await;
    assert_eq!(page.select_text("h1"), "1 problem needs attention on app");
    assert_eq!(page.select_texts("section[aria-labelledby=checks] td.first"), ["Duplicate session tokens"]);
    assert_eq!(page.select_texts("section[aria-labelledby=checks] td.up"), ["Failing"]);
    page.assert_shows_hostile_text("section[aria-labelledby=checks] td.result");
    page.assert_shows_hostile_text("section[aria-labelledby=monitoring] li");
    page.assert_shows_hostile_text("div.meta code");
    assert_eq!(page.select_texts("nav.seg a[aria-current=true]"), ["7 d"]);
}

#[tokio::test]
async fn a_failed_run_is_explained() {
    let dashboard = TestDashboard::new();
    let report = serde_json::json!({ "stats": null, "error": HOSTILE_TEXT });
    dashboard
        .write_store(|db| latest_reports::upsert_report(db, "app", &report.to_string(), dashboard.now()));
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/targets/app").await;
    assert_eq!(page.select_text("h1"), "The state of app is unknown");
    page.assert_shows_hostile_text(".callout p");
}

#[tokio::test]
async fn an_unknown_target_is_not_found() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/targets/nowhere").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert_eq!(page.select_text("main p.error-text"), "Target “nowhere” not found.");
}
