use sessionwatch_core::{alert::Alert, incident::IncidentSeverity};
use sessionwatch_store::incidents::IncidentState;

use super::*;
use crate::app::shop_tests::TestShop;

async fn search(shop: &TestShop, text: &str) -> SearchResults {
    search_everything(shop, text).await.unwrap()
}

fn user_ids(results: &SearchResults) -> Vec<&str> {
    results.targets[0].users.users.iter().map(|user| user.id.as_str()).collect()
}

fn session_ids(results: &SearchResults) -> Vec<&str> {
    results.targets[0].sessions.iter().filter_map(|session| session.id.as_deref()).collect()
}

fn add_alert(shop: &TestShop, check: &str) {
    let alert = AlertRecord {
        target: "shop".into(),
        check: check.into(),
        alert: Alert::default(),
        severity: "high".into(),
        summary: String::new(),
        acknowledged_by: None,
        note: None,
        verdict: Some("passing".into()),
        unknown_reason: None,
        finding: None,
        updated_at: shop.clock.now(),
    };
    shop.store.write(|db| alerts::upsert_alert(db, &alert)).unwrap();
}

fn add_incident(shop: &TestShop, number: u32, summary: &str) {
    let incident = IncidentRecord {
        id: format!("INC-20260131-{number:03}"),
        target: "shop".into(),
        severity: IncidentSeverity::P1,
        state: IncidentState::Closed,
        opened_at: shop.clock.now(),
        opened_by: "ada".into(),
        contained_at: None,
        closed_at: None,
        report_fields: serde_json::json!({ "summary": summary }).to_string(),
    };
    shop.store.write(|db| incidents::upsert_incident(db, &incident)).unwrap();
}

#[tokio::test]
async fn a_text_of_one_character_finds_nothing() {
    let shop = TestShop::new("");
    for text in ["", "u", "ä", "🦀"] {
        let results = search(&shop, text).await;
        assert!(results.targets.is_empty(), "{text}");
    }
    assert_eq!(user_ids(&search(&shop, "u1").await), ["u1"]);
}

#[tokio::test]
async fn users_are_found_by_id_name_or_email_in_any_case() {
    let shop = TestShop::new("");
    for text in ["u3", "U3", "name 3", "MAIL3@", "ail3@example"] {
        assert_eq!(user_ids(&search(&shop, text).await), ["u3"], "{text}");
    }
    let many = search(&shop, "@example.org").await;
    assert_eq!(many.targets[0].users.users.len(), 6);
    assert!(many.targets[0].users.has_more);
    assert_eq!(many.targets[0].target, "shop");
    let one = search(&shop, "mail3@").await;
    let display = &one.targets[0].users.users[0].display;
    assert_eq!(display, &[Some("Name 3".to_owned()), Some("mail3@example.org".to_owned())]);
}

#[tokio::test]
async fn pattern_characters_and_quotes_of_a_text_are_literal() {
    let shop = TestShop::new("");
    shop.execute("INSERT INTO users VALUES ('u_9', '100%', 'o''hara@example.org')");
    for (text, found) in [
        ("%%", vec![]),
        ("__", vec![]),
        ("u_9", vec!["u_9"]),
        ("0%", vec!["u_9"]),
        ("o'h", vec!["u_9"]),
        ("' OR '1'='1", vec![]),
        ("\\%", vec![]),
        ("\0\0", vec![]),
    ] {
        let results = search(&shop, text).await;
        assert_eq!(user_ids(&results), found, "{text:?}");
        assert_eq!(results.targets[0].gap, "", "{text:?}");
    }
    let long = "x".repeat(100_000);
    let results = search(&shop, &long).await;
    assert!(user_ids(&results).is_empty() && session_ids(&results).is_empty());
}

#[tokio::test]
async fn sessions_are_found_by_their_exact_row_id_or_token_prefix() {
    let shop = TestShop::new("");
    for (text, found) in [
        ("04abcdef", vec!["s04"]),
        ("04abcde", vec![]),
        // More of a token than its prefix is never compared.
        ("04abcdefg", vec![]),
        ("04ABCDEF", vec![]),
        ("04abcde%", vec![]),
        ("04abcde_", vec![]),
        ("04abcde ", vec![]),
        // Texts of three characters are too short for a row ID.
        ("s04", vec![]),
    ] {
        assert_eq!(session_ids(&search(&shop, text).await), found, "{text}");
    }
    shop.execute("UPDATE sessions SET id = 'row-0004' WHERE id = 's04'");
    assert_eq!(session_ids(&search(&shop, "row-0004").await), ["row-0004"]);
    let sessions = &search(&shop, "row-0004").await.targets[0].sessions;
    let prefix = sessions[0].token_prefix.as_deref().unwrap();
    assert!("04abcdefghijklmnopqrstuvwxyz".starts_with(prefix) && prefix.len() <= 8, "{prefix}");
}

#[tokio::test]
async fn checks_incidents_and_plans_are_found_by_their_words() {
    let shop = TestShop::new("");
    add_alert(&shop, "duplicate-tokens");
    add_alert(&shop, "orphaned-sessions");
    (1..=8).for_each(|number| add_incident(&shop, number, "Leak through the ÄRGER cache"));
    let checks = async |text: &str| -> Vec<String> {
        search(&shop, text).await.checks.into_iter().map(|alert| alert.check).collect()
    };
    assert_eq!(checks("DUPLICATE").await, ["duplicate-tokens"]);
    assert!(checks("no such check").await.is_empty());
    assert_eq!(search(&shop, "ärger").await.incidents.len(), 6);
    let exact = search(&shop, "inc-20260131-007").await.incidents;
    assert_eq!(exact.iter().map(|incident| incident.id.as_str()).collect::<Vec<_>>(), ["INC-20260131-007"]);
    let plan =
        crate::app::plans::create_plan(shop.ops("ada"), crate::remediation::Selection::Session("s04".into()));
    let plan = plan.await.unwrap();
    let found = search(&shop, &plan.record.id.to_uppercase()).await.plans;
    assert_eq!(found.iter().map(|found| &found.id).collect::<Vec<_>>(), [&plan.record.id]);
}

#[tokio::test]
async fn a_database_that_cannot_be_queried_is_a_gap_and_not_an_empty_result() {
    let shop = TestShop::new("");
    std::fs::remove_file(shop.path("shop.db")).unwrap();
    add_incident(&shop, 1, "leak");
    let results = search(&shop, "leak").await;
    assert_eq!(results.incidents.len(), 1);
    let gap = &results.targets[0].gap;
    assert!(gap.starts_with("Cannot query the database of shop: "), "{gap}");
    assert!(!gap.contains("leak"), "{gap}");
}
