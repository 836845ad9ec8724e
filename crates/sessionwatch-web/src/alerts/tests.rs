use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

#[tokio::test]
async fn an_empty_page_says_so() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/alerts").await;
    let empty = page.select_texts("main p.empty");
    assert_eq!(empty[0], "No firing alerts.");
    assert_eq!(empty[1], "No matching notifications.");
    assert_eq!(page.count_elements("section[aria-labelledby=silences]"), 0);
}

#[tokio::test]
async fn alerts_are_listed_worst_first_and_notifications_latest_first() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("expired-backlog", "low", "many");
    dashboard.insert_firing_alert("duplicate-tokens", "critical", HOSTILE_TEXT);
    dashboard.insert_event("duplicate-tokens", "firing", "first");
    dashboard.insert_event("duplicate-tokens", "reminder", HOSTILE_TEXT);
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/alerts").await;
    assert_eq!(page.select_texts("main > ul.list li .severity"), ["▮▮▮▮ critical", "▮▯▯▯ low"]);
    assert_eq!(
        page.select_texts("section[aria-labelledby=history] tbody td:nth-child(2)"),
        ["reminder", "firing"]
    );
    page.assert_shows_hostile_text("main > ul.list li");
    page.assert_shows_hostile_text("section[aria-labelledby=history] td");
}

#[tokio::test]
async fn responders_can_expire_a_silence_and_viewers_cannot() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let fields = [("check", "duplicate-tokens"), ("minutes", "60"), ("note", HOSTILE_TEXT)];
    let answer = responder.post("/silences", &fields).await;
    assert_eq!((answer.status, answer.location.as_deref()), (StatusCode::SEE_OTHER, Some("/alerts")));

    let page = responder.get("/alerts").await;
    assert_eq!(page.select_text("section[aria-labelledby=silences] button"), "Expire");
    page.assert_shows_hostile_text("section[aria-labelledby=silences] li");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/alerts").await;
    assert_eq!(page.count_elements("section[aria-labelledby=silences] li"), 1);
    assert_eq!(page.count_elements("main form[method=post]"), 0);
    assert_eq!(viewer.post("/silences", &fields).await.status, StatusCode::FORBIDDEN);

    responder.post("/silences/expire", &[("silence", "1")]).await;
    assert_eq!(responder.get("/alerts").await.count_elements("section[aria-labelledby=silences]"), 0);
}

#[tokio::test]
async fn forms_return_only_to_pages_of_targets() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let commented = async |back: &str| {
        let fields = [("target", "app"), ("check", "duplicate-tokens"), ("note", "seen"), ("back", back)];
        responder.post("/alerts/comment", &fields).await.location.unwrap()
    };
    assert_eq!(
        commented("/targets/app/checks/duplicate-tokens").await,
        "/targets/app/checks/duplicate-tokens"
    );
    assert_eq!(commented("//evil.example").await, "/alerts");
    assert_eq!(commented("/targets/\\evil.example").await, "/alerts");
}
