use sessionwatch_app::app::accounts::Role;

use super::super::test_dashboard::{HOSTILE, TestDashboard};

#[tokio::test]
async fn what_people_do_is_recorded_and_shown_as_text() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.visitor(Role::Responder).await;
    responder.post("/alerts/silence", &[("minutes", "60"), ("note", HOSTILE)]).await;
    let page = dashboard.visitor(Role::Viewer).await.get("/audit").await;
    assert_eq!(page.count("main .mark.healthy"), 1, "the chain of hashes is whole");
    let actions = page.texts("main tbody td:nth-child(3)");
    assert!(actions.contains(&"silence".to_owned()) && actions.contains(&"login".to_owned()), "{actions:?}");
    assert!(page.texts("main tbody td:nth-child(2)").contains(&"responder".to_owned()));
    page.shows_hostile_text("main tbody td");
}
