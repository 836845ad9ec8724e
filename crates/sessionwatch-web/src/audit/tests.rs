use sessionwatch_app::app::accounts::AccountRole;

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

#[tokio::test]
async fn actions_are_recorded_and_shown_as_text() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    responder.post("/silences", &[("minutes", "60"), ("note", HOSTILE_TEXT)]).await;
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/audit").await;
    assert_eq!(page.count_elements("main .mark.passing"), 1, "the hash chain is intact");
    let actions = page.select_texts("main tbody td:nth-child(3)");
    assert!(
        actions.contains(&"silence.created".to_owned()) && actions.contains(&"login.succeeded".to_owned()),
        "{actions:?}"
    );
    assert!(page.select_texts("main tbody td:nth-child(2)").contains(&"responder".to_owned()));
    page.assert_shows_hostile_text("main tbody td");
}
