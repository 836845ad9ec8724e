use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_core::alert::AlertState;
use sessionwatch_store::{alerts, latest_reports};

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

#[tokio::test]
async fn without_targets_the_page_shows_how_to_configure_one_and_no_status() {
    let dashboard = TestDashboard::with_config("");
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/").await;
    assert_eq!(page.select_text("main p.empty code"), "sessionwatch init URL");
    assert_eq!(page.count_elements("section.card") + page.count_elements("p.verdict"), 0);
}

#[tokio::test]
async fn a_target_that_was_never_checked_is_unknown() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/").await;
    assert_eq!(page.select_text("p.verdict[role=status]"), "? unknown Status of 1 target unknown");
    assert_eq!(page.select_text("section.card p.dim:first-of-type"), "Not checked yet.");
    assert_eq!(page.select_texts("dl.numbers dd"), ["?"; 6]);
}

#[tokio::test]
async fn a_target_without_alerts_passes_and_shows_its_figures() {
    let dashboard = TestDashboard::new();
    let report = r#"{"stats": {"active": 1234, "expired": 2, "users_active": 3, "sessions_per_user": 1.5,
        "duplicate_tokens": 0, "orphaned": null}, "profile": "authjs-prisma", "duration_ms": 12.4}"#;
    dashboard.write_store(|db| latest_reports::upsert_report(db, "app", report, dashboard.now()));
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/").await;
    assert_eq!(page.select_text("p.verdict.passing[role=status] strong"), "No problems found");
    assert_eq!(page.select_texts("dl.numbers dd"), ["1234", "2", "3", "1.50", "0", "?"]);
    let links = page.select_attributes("dl.numbers a", "href");
    assert_eq!(links[0], "/targets/app/sessions?status=active");
    assert_eq!(links[4], "/targets/app/checks/duplicate-tokens");
}

#[tokio::test]
async fn firing_alerts_are_counted_and_listed_worst_first() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("expired-backlog", "low", "many");
    let worst = dashboard.insert_firing_alert("duplicate-tokens", "critical", HOSTILE_TEXT);
    let visitor = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = visitor.get("/").await;
    assert_eq!(page.select_text("p.verdict.failing strong"), "2 unacknowledged alerts");
    let listed = page.select_attributes("section[aria-labelledby=problems] li a", "href");
    assert_eq!(listed[0], "/targets/app/checks/duplicate%2Dtokens");
    assert_eq!(listed.len(), 2);
    page.assert_shows_hostile_text("section[aria-labelledby=problems] li");

    let mut acknowledged = worst;
    acknowledged.acknowledged_by = Some("ada".into());
    dashboard.write_store(|db| alerts::upsert_alert(db, &acknowledged));
    let page = visitor.get("/").await;
    assert_eq!(page.select_text("p.verdict strong"), "1 unacknowledged alert, 2 firing in total");
}

#[tokio::test]
async fn a_check_that_fails_but_does_not_notify_yet_is_not_passing() {
    let dashboard = TestDashboard::new();
    let report = r#"{"stats": {"active": 1}}"#;
    dashboard.write_store(|db| latest_reports::upsert_report(db, "app", report, dashboard.now()));
    let mut pending = dashboard.insert_firing_alert("expired-backlog", "low", "many");
    pending.alert.state = AlertState::Pending { failing_runs: 1, since: dashboard.now() };
    dashboard.write_store(|db| alerts::upsert_alert(db, &pending));
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/").await;
    assert_eq!(page.select_text("p.verdict.pending[role=status] strong"), "1 pending alert");
}
