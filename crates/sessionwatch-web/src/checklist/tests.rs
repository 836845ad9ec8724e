use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

#[tokio::test]
async fn items_without_a_check_run_are_unknown() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/report").await;
    assert_eq!(page.select_text("main h1"), "Checklist: app");
    assert_eq!(page.count_elements("main table"), 2);
    assert!(page.count_elements("main tbody tr") > 5);
    assert_eq!(page.count_elements("main .mark.passing"), 0);
    assert_eq!(page.count_elements("main form"), 0, "viewers cannot attest");
}

#[tokio::test]
async fn an_attestation_is_listed_as_text() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    assert_eq!(responder.get("/targets/app/report").await.select_text("main form button"), "Attest");
    let silent = responder.post("/targets/app/report", &[("passes", "yes"), ("note", " ")]).await;
    assert_eq!(silent.status, StatusCode::BAD_REQUEST);
    let attested = responder.post("/targets/app/report", &[("passes", "yes"), ("note", HOSTILE_TEXT)]).await;
    assert_eq!(attested.location.as_deref(), Some("/targets/app/report"));
    let page = responder.get("/targets/app/report").await;
    page.assert_shows_hostile_text("main tbody td");
    assert_eq!(page.count_elements("main .mark.passing"), 1);
    assert_eq!(responder.get("/targets/nowhere/report").await.status, StatusCode::NOT_FOUND);
}
