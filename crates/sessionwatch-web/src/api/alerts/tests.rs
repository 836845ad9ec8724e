use axum::http::header;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_clock as clock;

use super::super::test_client::ApiClient;
use crate::test_dashboard::{HOSTILE_TEXT, TestDashboard};

use super::*;

/// Path of the check that the tests are about.
const CHECK: &str = "/api/v1/targets/app/checks/duplicate-tokens";

#[tokio::test]
async fn firing_alerts_are_listed_and_passing_ones_only_on_request() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("expired-backlog", "low", "many");
    dashboard.insert_firing_alert("duplicate-tokens", "critical", HOSTILE_TEXT);
    dashboard.insert_unknown_alert("orphaned-sessions", "the table is empty");
    let viewer = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let response = viewer.get("/api/v1/alerts").await;
    assert_eq!(response.headers[header::CONTENT_TYPE], "application/json");
    let firing = response.items();
    assert_eq!(firing.len(), 2, "{firing:?}");
    let leak = firing.iter().find(|alert| alert["check"] == "duplicate-tokens").unwrap();
    // JSON carries the text as it is.
    assert_eq!((&leak["summary"], &leak["severity"]), (&json!(HOSTILE_TEXT), &json!("critical")));
    let sql = "UPDATE alerts SET state = 'resolved', verdict = 'passing' WHERE check_id = 'expired-backlog'";
    dashboard.write_store(|db| db.execute(sql, &[]));
    let named = |alerts: &[Value]| alerts.iter().any(|alert| alert["check"] == "expired-backlog");
    assert!(!named(&viewer.get("/api/v1/alerts").await.items()));
    assert!(named(&viewer.get("/api/v1/alerts?all=true").await.items()));
}

#[tokio::test]
async fn an_alert_is_acknowledged_commented_on_and_resolved_in_the_name_of_the_token() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "1 token");
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let note = "see postgres://watch:hunter2@db/app";
    for (action, body) in [
        ("acknowledge", json!({ "note": note })),
        ("comments", json!({ "note": note })),
        ("resolve", json!({})),
    ] {
        let response = client.post(&format!("{CHECK}/{action}"), &body).await;
        assert_eq!((response.status, &*response.body), (StatusCode::NO_CONTENT, ""), "{action}");
        if action == "acknowledge" {
            let alert = client.get("/api/v1/alerts").await.items().remove(0);
            assert_eq!(alert["acknowledged_by"], "responder (script)", "{alert}");
        }
    }
    assert!(client.get("/api/v1/alerts").await.items().is_empty());
    let events = client.get("/api/v1/events").await;
    let kinds: Vec<Value> = events.items().iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, ["resolved", "comment", "acknowledged"]);
    let trail = client.get("/api/v1/audit?limit=3").await;
    let actions: Vec<Value> = trail.items().iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["alert.resolved", "alert.commented", "alert.acknowledged"]);
    for text in [&events.body, &trail.body] {
        assert!(text.contains("postgres://watch:***@db/app") && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn an_alert_that_does_not_fire_cannot_be_acknowledged_or_resolved() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    dashboard.insert_unknown_alert("duplicate-tokens", "the table is empty");
    for check in ["app/checks/duplicate-tokens", "app/checks/nothing", "nowhere/checks/duplicate-tokens"] {
        for action in ["acknowledge", "resolve"] {
            let response = client.post(&format!("/api/v1/targets/{check}/{action}"), &json!({})).await;
            assert!(response.status.is_client_error(), "{check} {action}: {response:?}");
        }
    }
    let empty = client.post(&format!("{CHECK}/comments"), &json!({ "note": "" })).await;
    empty.assert_problem(StatusCode::BAD_REQUEST, "1 to 500 characters");
    let missing = client.post(&format!("{CHECK}/comments"), &json!({})).await;
    missing.assert_problem(StatusCode::BAD_REQUEST, "note");
    assert!(client.get("/api/v1/events").await.items().is_empty());
}

#[tokio::test]
async fn a_silence_covers_what_it_names_until_its_end() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let body = json!({
        "target": "app", "check": "duplicate-tokens", "subject": "u1", "minutes": 527_040, "note": "ä"
    });
    let before = dashboard.now();
    let created = client.post("/api/v1/silences", &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let id = created.json()["id"].as_i64().unwrap();
    let listed = client.get("/api/v1/silences").await.items().remove(0);
    for name in ["target", "check", "subject", "note"] {
        assert_eq!(listed[name], body[name], "{name}");
    }
    let until: Rfc3339 = serde_json::from_value(listed["until"].clone()).unwrap();
    let length = until.0.duration_since(before);
    let year = SignedDuration::from_hours(366 * 24);
    assert!((year..year + SignedDuration::from_mins(1)).contains(&length), "{length}");
    for wrong in [id + 1, 0, -1, i64::MAX] {
        client.delete(&format!("/api/v1/silences/{wrong}")).await.assert_problem(StatusCode::NOT_FOUND, "");
    }
    client.delete("/api/v1/silences/x").await.assert_problem(StatusCode::BAD_REQUEST, "");
    assert_eq!(client.get("/api/v1/silences").await.items().len(), 1);
    let path = format!("/api/v1/silences/{id}");
    assert_eq!(client.delete(&path).await.status, StatusCode::NO_CONTENT);
    client.delete(&path).await.assert_problem(StatusCode::NOT_FOUND, "");
    assert!(client.get("/api/v1/silences").await.items().is_empty());
}

#[tokio::test]
async fn a_silence_of_an_unknown_target_or_check_is_refused() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    for (name, value, detail) in
        [("target", "ap", "Unknown target “ap”"), ("check", "duplicate-token", "duplicate-tokens")]
    {
        let body = json!({ name: value, "minutes": 60, "note": "x" });
        client.post("/api/v1/silences", &body).await.assert_problem(StatusCode::NOT_FOUND, detail);
    }
    assert!(client.get("/api/v1/silences").await.items().is_empty());
}

#[tokio::test]
async fn the_pages_of_a_list_hold_every_event_once_and_latest_first() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    for number in 0..23 {
        dashboard.insert_event("duplicate-tokens", "firing", &format!("number {number}"));
    }
    let expected: Vec<String> = (0..23).rev().map(|number| format!("number {number}")).collect();
    for limit in [1, 7, 22, 23, 24, 1_000] {
        let (mut found, mut cursor, mut pages) = (vec![], String::new(), 0);
        loop {
            let page = client.get(&format!("/api/v1/events?limit={limit}{cursor}")).await;
            let summaries =
                page.items().into_iter().map(|event| event["summary"].as_str().unwrap().to_owned());
            found.extend(summaries);
            pages += 1;
            assert!(found.len() <= expected.len(), "{limit}: an event is listed twice");
            match page.json()["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, expected, "{limit}");
        assert_eq!(pages, 23_usize.div_ceil(limit), "{limit}");
    }
}

#[tokio::test]
async fn events_are_filtered_by_target_check_text_and_time() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    dashboard.insert_event("duplicate-tokens", "firing", "50 % of ÄPFEL_");
    dashboard.insert_event("duplicate-tokens", "comment", "seen");
    dashboard.insert_event("expired-backlog", "resolved", "gone");
    let at = |minutes: i64| clock::format_rfc3339(dashboard.now() + SignedDuration::from_mins(minutes));
    for (query, expected) in [
        (String::new(), 3),
        ("target=app".into(), 3),
        ("target=App".into(), 0),
        ("check=duplicate-tokens".into(), 2),
        ("check=duplicate-tokens&text=SEEN".into(), 1),
        // Wildcards of the database are text.
        ("text=%25".into(), 1),
        ("text=_".into(), 1),
        ("text=%27%20OR%201=1".into(), 0),
        ("alerts_only=true".into(), 2),
        (format!("from={}", at(-5)), 3),
        (format!("from={}", at(0)), 0),
        (format!("to={}", at(-5)), 0),
        (format!("to={}", at(5)), 3),
        (format!("from={}&to={}", at(5), at(-5)), 0),
        ("from=0001-01-01T00:00:00Z".into(), 3),
        ("to=9999-12-30T22:00:00Z".into(), 3),
    ] {
        let found = client.get(&format!("/api/v1/events?{query}")).await;
        assert_eq!(found.items().len(), expected, "{query}: {found:?}");
    }
}

#[tokio::test]
async fn alerts_are_listed_worst_first() {
    let dashboard = TestDashboard::new();
    for (check, severity) in [
        ("active-sessions", "low"),
        ("creation-rate", "medium"),
        ("expired-backlog", "high"),
        ("orphaned-sessions", "critical"),
    ] {
        dashboard.insert_firing_alert(check, severity, "x");
    }
    let viewer = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    for path in ["/api/v1/alerts", "/api/v1/alerts?all=true"] {
        let alerts = viewer.get(path).await.items();
        let severities: Vec<&str> = alerts.iter().filter_map(|alert| alert["severity"].as_str()).collect();
        assert_eq!(severities, ["critical", "high", "medium", "low"], "{path}");
    }
}
