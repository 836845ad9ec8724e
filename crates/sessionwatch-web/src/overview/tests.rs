use sessionwatch_app::app::accounts::Role;
use sessionwatch_store::{alerts, reports};

use super::super::test_dashboard::{HOSTILE, TestDashboard};

#[tokio::test]
async fn without_a_target_it_says_how_to_name_one() {
    let dashboard = TestDashboard::with_config("");
    let page = dashboard.visitor(Role::Viewer).await.get("/").await;
    assert_eq!(page.text("main p.empty code"), "sessionwatch init URL");
    assert_eq!(page.count("section.card"), 0);
}

#[tokio::test]
async fn a_target_that_was_never_looked_at_is_unknown_and_not_well() {
    let dashboard = TestDashboard::new();
    let page = dashboard.visitor(Role::Viewer).await.get("/").await;
    assert_eq!(page.text("p.verdict[role=status]"), "? unknown Nothing is known of 1 target.");
    assert_eq!(page.text("section.card p.dim:first-of-type"), "Not looked at yet.");
    assert_eq!(page.texts("dl.numbers dd"), ["?"; 6]);
}

#[tokio::test]
async fn a_target_without_alerts_is_well_and_shows_its_numbers() {
    let dashboard = TestDashboard::new();
    let report = r#"{"census": {"active": 1234, "expired": 2, "users_active": 3, "sessions_per_user": 1.5,
        "duplicate_tokens": 0, "orphaned": null}, "profile": "authjs-prisma", "duration_ms": 12.4}"#;
    dashboard.write(|db| reports::put(db, "app", report, dashboard.now()));
    let page = dashboard.visitor(Role::Viewer).await.get("/").await;
    assert_eq!(page.text("p.verdict.healthy[role=status] strong"), "All is well.");
    assert_eq!(page.texts("dl.numbers dd"), ["1234", "2", "3", "1.50", "0", "?"]);
    let links = page.attributes("dl.numbers a", "href");
    assert_eq!(links[0], "/targets/app/sessions?status=active");
    assert_eq!(links[4], "/targets/app/checks/duplicate-tokens");
}

#[tokio::test]
async fn what_fires_is_listed_the_worst_first_and_counted() {
    let dashboard = TestDashboard::new();
    dashboard.fires("expired-backlog", "low", "many");
    let worst = dashboard.fires("duplicate-tokens", "critical", HOSTILE);
    let visitor = dashboard.visitor(Role::Viewer).await;
    let page = visitor.get("/").await;
    assert_eq!(page.text("p.verdict.failing strong"), "2 alerts fire, and nobody looks after them yet.");
    let listed = page.attributes("section[aria-labelledby=wrong] li a", "href");
    assert_eq!(listed[0], "/targets/app/checks/duplicate%2Dtokens");
    assert_eq!(listed.len(), 2);
    page.shows_hostile_text("section[aria-labelledby=wrong] li");

    let mut looked_after = worst;
    looked_after.acknowledged_by = Some("ada".into());
    dashboard.write(|db| alerts::put(db, &looked_after));
    let page = visitor.get("/").await;
    assert_eq!(page.text("p.verdict strong"), "2 alerts fire, and nobody looks after 1 of them yet.");
}
