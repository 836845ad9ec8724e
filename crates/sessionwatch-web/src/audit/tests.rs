use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_store::audit::{self, NewAuditEntry};

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

#[tokio::test]
async fn actions_are_recorded_and_shown_as_text() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    responder.post("/silences", &[("minutes", "60"), ("note", HOSTILE_TEXT)]).await;
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/audit").await;
    assert_eq!(page.count_elements("main .pills .pill-passing"), 1, "the hash chain is intact");
    let actions = page.select_texts("main tbody td:nth-child(3)");
    assert!(
        actions.contains(&"Silenced notifications silence.created".to_owned())
            && actions.contains(&"Logged in login.succeeded".to_owned()),
        "{actions:?}"
    );
    assert!(page.select_texts("main tbody td:nth-child(2)").contains(&"responder".to_owned()));
    assert!(page.select_texts("main tbody td:nth-child(5)").contains(&"192.0.2.1".to_owned()));
    page.assert_shows_hostile_text("main tbody td");
}

#[tokio::test]
async fn entries_are_filtered_by_the_url_and_paged() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for number in 0..60 {
        let detail = format!(r#"{{"target":"app","check":"duplicate-tokens","note":"number {number}."}}"#);
        let entry = NewAuditEntry { actor: "ada", action: "alert.commented", detail: &detail };
        dashboard.write_store(|db| audit::insert_audit_entry(db, entry, dashboard.now()));
    }
    let page = viewer.get("/audit?actor=ada").await;
    assert_eq!(page.select_text("h1"), "60 of 61 recorded actions");
    assert_eq!(page.select_text("main .card-foot > span"), "50 of 60 shown");
    let older = page.select_attributes("a[rel=next]", "href").remove(0);
    assert!(older.starts_with("/audit?actor=ada&before="), "{older}");
    let rest = viewer.get(&older).await;
    assert_eq!(rest.select_text("main .card-foot > span"), "10 of 60 shown");
    assert_eq!(rest.count_elements("a[rel=next]"), 0);
    let one = viewer.get("/audit?q=NUMBER+7.&action=alert.commented&days=1").await;
    assert_eq!(one.count_elements("main tbody tr"), 1);
    assert_eq!(one.select_text("main tbody td:nth-child(4)"), "Duplicate session tokens on app");
    assert_eq!(one.select_attributes("select[name=days] option[selected]", "value"), ["1"]);
    let none = viewer.get("/audit?actor=nobody").await;
    assert_eq!(none.select_text("main .empty b"), "No matching actions");
}

#[tokio::test]
async fn a_broken_log_says_where() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    dashboard.write_store(|db| db.execute("UPDATE audit SET actor = 'eve' WHERE id = 1", &[]));
    let page = viewer.get("/audit").await;
    assert_eq!(page.select_text("main .callout-bad b"), "The audit log is broken at entry 1");
    assert_eq!(page.count_elements("main .pills .pill-failing"), 1);
}
