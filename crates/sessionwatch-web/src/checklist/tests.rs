use axum::http::StatusCode;
use sessionwatch_app::app::accounts::Role;

use super::super::test_dashboard::{HOSTILE, TestDashboard};

#[tokio::test]
async fn what_nobody_saw_is_unknown_and_never_healthy() {
    let dashboard = TestDashboard::new();
    let page = dashboard.visitor(Role::Viewer).await.get("/checklist/-").await;
    assert_eq!(page.text("main h1"), "Checklist of app");
    assert_eq!(page.count("main table"), 2);
    assert!(page.count("main tbody tr") > 5);
    assert_eq!(page.count("main .mark.healthy"), 0);
    assert_eq!(page.count("main form"), 0, "who only looks vouches for nothing");
}

#[tokio::test]
async fn what_somebody_vouches_for_is_on_the_list_as_text() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.visitor(Role::Responder).await;
    assert_eq!(responder.get("/checklist/app").await.text("main form button"), "Vouch for it");
    let silent = responder.post("/checklist/app", &[("holds", "yes"), ("note", " ")]).await;
    assert_eq!(silent.status, StatusCode::BAD_REQUEST);
    let vouched = responder.post("/checklist/app", &[("holds", "yes"), ("note", HOSTILE)]).await;
    assert_eq!(vouched.location.as_deref(), Some("/checklist/app"));
    let page = responder.get("/checklist/app").await;
    page.shows_hostile_text("main tbody td");
    assert_eq!(page.count("main .mark.healthy"), 1);
    assert_eq!(responder.get("/checklist/nowhere").await.status, StatusCode::NOT_FOUND);
}
