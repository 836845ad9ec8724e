use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_core::severity::Severity;
use sessionwatch_store::log_events::{self, NewLogEvent};

use super::super::test_client::ApiClient;
use crate::test_dashboard::{HOSTILE_TEXT, TestDashboard};

const WITH_LOGS: &str = "[[target]]\nname = \"app\"\nurl = \"sqlite:missing.db\"\n
[[target]]\nname = \"shop\"\nurl = \"sqlite:missing.db\"\n
[[logs]]\nname = \"web\"\ntarget = \"app\"\nfile = \"missing.log\"\n";

fn insert(dashboard: &TestDashboard, event: NewLogEvent<'_>) {
    dashboard.write_store(|db| log_events::insert_log_event(db, &event));
}

fn event(dashboard: &TestDashboard) -> NewLogEvent<'static> {
    NewLogEvent {
        source: "web",
        target: "app",
        kind: "created",
        severity: None,
        at: None,
        read_at: dashboard.now(),
        user: Some("u1"),
        other_user: None,
        token_prefix: Some("abcdefgh"),
        expires_at: None,
        reason: None,
        request: None,
        byte_range: (0, 10),
        text: "x",
    }
}

#[tokio::test]
async fn log_events_are_filtered_by_what_they_name() {
    let dashboard = TestDashboard::with_config(WITH_LOGS);
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let of = || event(&dashboard);
    insert(&dashboard, of());
    insert(
        &dashboard,
        NewLogEvent { target: "shop", user: Some("u10"), token_prefix: Some("12345678"), ..of() },
    );
    insert(
        &dashboard,
        NewLogEvent { kind: "user-mismatch", severity: Some(Severity::High), other_user: Some("u2"), ..of() },
    );
    // The target of this one is not configured any more.
    insert(&dashboard, NewLogEvent { target: "gone", user: Some("u1"), ..of() });
    for (query, expected) in [
        ("", 3),
        ("target=app", 2),
        ("target=shop", 1),
        ("kind=created", 2),
        ("kind=Created", 0),
        ("bad=true", 1),
        ("user=u1", 2),
        ("user=u2", 1),
        ("user=u", 0),
        ("user=%25", 0),
        ("token=abcdefgh", 2),
        ("token=abcdefg", 0),
        ("from=0001-01-01T00:00:00Z&to=9999-12-30T00:00:00Z", 3),
        ("to=2020-01-01T00:00:00Z", 0),
    ] {
        let found = client.get(&format!("/api/v1/log-events?{query}")).await;
        assert_eq!(found.items().len(), expected, "{query}: {found:?}");
    }
    // An unknown target is an error, not an empty list.
    for name in ["gone", "App"] {
        let found = client.get(&format!("/api/v1/log-events?target={name}")).await;
        found.assert_problem(StatusCode::NOT_FOUND, name);
    }
    for query in ["token=abcdefghi", "bad=yes", "limit=1001", "kind=%00"] {
        let refused = client.get(&format!("/api/v1/log-events?{query}")).await;
        refused.assert_problem(StatusCode::BAD_REQUEST, "");
    }
}

#[tokio::test]
async fn the_pages_of_a_list_hold_every_log_event_once() {
    let dashboard = TestDashboard::with_config(WITH_LOGS);
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let reasons: Vec<String> = (0..9).map(|number| format!("{HOSTILE_TEXT} {number}")).collect();
    for reason in &reasons {
        insert(&dashboard, NewLogEvent { reason: Some(reason), ..event(&dashboard) });
    }
    for limit in [1, 3, 8, 9, 10] {
        let (mut found, mut cursor) = (vec![], String::new());
        loop {
            let page = client.get(&format!("/api/v1/log-events?limit={limit}{cursor}")).await;
            assert!(page.items().len() <= limit);
            found.extend(page.items().iter().map(|event| event["reason"].as_str().unwrap().to_owned()));
            assert!(found.len() <= reasons.len(), "{limit}: an event is listed twice");
            match page.json()["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        found.reverse();
        assert_eq!(found, reasons, "{limit}");
    }
}

#[tokio::test]
async fn a_source_that_never_sent_a_line_is_not_active() {
    let dashboard = TestDashboard::with_config(WITH_LOGS);
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let source = client.get("/api/v1/log-sources").await.items().remove(0);
    assert_eq!((&source["name"], &source["activity"]), (&"web".into(), &"never active".into()), "{source}");
    assert!(source["last_line_at"].is_null());
}
