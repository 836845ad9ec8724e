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

#[tokio::test]
async fn any_parameter_shows_a_page_and_its_text() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for (query, shown) in [
        ("days=0", 1),
        ("days=-5", 1),
        ("days=99999999999999999999", 1),
        ("days=x", 1),
        ("before=-1", 0),
        ("before=9223372036854775807", 1),
        ("q=%25", 0),
        ("q=_", 0),
        ("q=%27%20OR%201=1--", 0),
        ("q=%20%20", 1),
        ("q=192.0.2.1", 1),
        ("actor=VIEWER", 0),
        ("actor=viewer&action=login.succeeded&q=192", 1),
    ] {
        let page = viewer.get(&format!("/audit?{query}")).await;
        assert_eq!(page.count_elements("main h1"), 1, "{query}");
        assert_eq!(page.count_elements("main tbody tr"), shown, "{query}");
    }
    let hostile = crate::format::percent_encode(HOSTILE_TEXT);
    let page = viewer.get(&format!("/audit?actor={hostile}&action={hostile}&q={hostile}")).await;
    assert_eq!(page.select_attributes("main input[name=q]", "value"), [HOSTILE_TEXT]);
    page.assert_shows_hostile_text("main select option[selected]");
}

#[tokio::test]
async fn a_hostile_entry_is_shown_as_text_and_links_stay_on_this_host() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let insert = |detail: &str| {
        let entry = NewAuditEntry { actor: HOSTILE_TEXT, action: HOSTILE_TEXT, detail };
        dashboard.write_store(|db| audit::insert_audit_entry(db, entry, dashboard.now()));
    };
    for name in ["plan", "incident", "check", "target", "label", "channel", "account", "note", "ip"] {
        insert(&serde_json::json!({ name: HOSTILE_TEXT, "x": "//evil.example/\"'" }).to_string());
    }
    for detail in ["null", "[1]", "\"<b>\"", "{\"plan\": \"../../settings?x\"}", "{\"ip\": {}}"] {
        insert(detail);
    }
    let page = viewer.get("/audit").await;
    assert_eq!(page.count_elements("main tbody tr"), 15);
    for column in ["td:nth-child(2)", "td.first", "td.object", "td.from", "td.detail"] {
        page.assert_shows_hostile_text(&format!("main tbody {column}"));
    }
    let links = page.select_attributes("main tbody a", "href");
    assert!(links.iter().all(|link| link.starts_with('/') && !link.contains("..")), "{links:?}");
    assert!(links.contains(&"/plans/%2E%2E%2F%2E%2E%2Fsettings%3Fx".to_owned()), "{links:?}");
}

#[tokio::test]
async fn a_page_that_the_list_fills_exactly_is_the_last_one() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let entry = NewAuditEntry { actor: "ada", action: "alert.commented", detail: "{}" };
    let insert = |count| {
        for _ in 0..count {
            dashboard.write_store(|db| audit::insert_audit_entry(db, entry, dashboard.now()));
        }
    };
    insert(50);
    let page = viewer.get("/audit?actor=ada").await;
    assert_eq!(page.select_text("main .card-foot > span"), "50 of 50 shown");
    assert_eq!(page.count_elements("main tbody tr") + page.count_elements("a[rel=next]"), 50);
    insert(50);
    let first = viewer.get("/audit?actor=ada").await;
    assert_eq!(first.count_elements("main tbody tr"), 50);
    let older = first.select_attributes("a[rel=next]", "href").remove(0);
    let second = viewer.get(&older).await;
    assert_eq!(second.count_elements("main tbody tr"), 50);
    assert_eq!(second.count_elements("a[rel=next]"), 0);
}
