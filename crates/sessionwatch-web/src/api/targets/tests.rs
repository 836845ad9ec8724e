use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_clock as clock;
use sessionwatch_store::{
    latest_reports,
    samples::{self, GaugeSample, SampleRetention},
};

use super::{super::test_client::ApiClient, *};
use crate::test_dashboard::{HOSTILE_TEXT, TestDashboard};

/// A configuration with a secret of each kind.
const WITH_SECRETS: &str = r#"
[[target]]
name = "app"
url = "postgres://watch:hunter2url@127.0.0.1:9/app"
write_url = "postgres://act:hunter2write@127.0.0.1:9/app"
replica_url = "postgres://read:hunter2replica@127.0.0.1:9/app"

[[channel]]
name = "team"
kind = "webhook"
url = "https://example.org/hook/hunter2hook"
"#;

#[tokio::test]
async fn no_page_and_no_document_shows_a_secret_of_the_configuration() {
    let dashboard = TestDashboard::with_config(WITH_SECRETS);
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "1 token");
    let client = ApiClient::with_role(&dashboard, AccountRole::Admin).await;
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    for path in ["config", "channels", "targets", "targets/app", "targets/app/doctor", "log-sources", "audit"]
    {
        let response = client.get(&format!("/api/v1/{path}")).await;
        assert!(!response.body.contains("hunter2"), "{path}: {}", response.body);
    }
    let test = client.post("/api/v1/channels/team/test", &json!({})).await;
    assert!(!test.body.contains("hunter2"), "{}", test.body);
    for path in [
        "/",
        "/settings",
        "/cleanup",
        "/targets/app",
        "/targets/app/doctor",
        "/targets/app/sessions",
        "/targets/app/users",
        "/targets/app/checks/duplicate-tokens",
        "/search?q=app",
        "/audit",
    ] {
        let page = admin.get(path).await;
        assert!(!page.body.contains("hunter2"), "{path}: {}", page.body);
    }
    let config = client.get("/api/v1/config").await.json();
    let address = config["targets"][0]["address"].as_str().unwrap();
    assert!(address.contains("watch") && address.contains("127.0.0.1"), "{address}");
}

#[tokio::test]
async fn a_target_is_unknown_until_its_table_was_read() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let state = async || client.get("/api/v1/targets").await.items()[0]["state"].clone();
    assert_eq!(state().await, "unknown");
    for (report, expected) in [
        (json!({ "stats": null, "error": "down" }), "unknown"),
        (json!({}), "unknown"),
        (json!({ "stats": { "active": 1 } }), "passing"),
    ] {
        dashboard
            .write_store(|db| latest_reports::upsert_report(db, "app", &report.to_string(), dashboard.now()));
        assert_eq!(state().await, expected, "{report}");
    }
    dashboard.insert_unknown_alert("orphaned-sessions", "the table is empty");
    assert_eq!(state().await, "unknown");
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    assert_eq!(state().await, "failing");
    dashboard.write_store(|db| db.execute("UPDATE latest_reports SET report = '{'", &[]));
    let damaged = client.get("/api/v1/targets/app").await;
    damaged.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "The state store is unavailable");
}

#[tokio::test]
async fn the_document_of_a_target_repeats_its_report() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let report = json!({
        "stats": { "active": 1 }, "profile": "authjs-prisma", "framework": HOSTILE_TEXT, "table": "t",
        "notes": ["one", 2, HOSTILE_TEXT]
    });
    dashboard
        .write_store(|db| latest_reports::upsert_report(db, "app", &report.to_string(), dashboard.now()));
    let document = client.get("/api/v1/targets/app").await.json();
    assert_eq!((&document["framework"], &document["stats"]["active"]), (&json!(HOSTILE_TEXT), &json!(1)));
    assert_eq!((&document["notes"], &document["engine"]), (&json!(["one", HOSTILE_TEXT]), &json!(null)));
    assert_eq!(document["report"]["profile"], "authjs-prisma");
    assert!(!document["schedule"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn the_stats_of_a_period_include_its_start_and_not_its_end() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let now = dashboard.now();
    let at = |hours: i64| now - SignedDuration::from_hours(hours);
    for hours in [30, 2, 1] {
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let run = GaugeSample::from_run(at(hours), Some(&[("active", hours as f64)]));
        let retention = SampleRetention { max_age: 9 * DAY, confirmed_now: now };
        dashboard.write_store(|db| samples::record_sample(db, "app", &run, retention));
    }
    let text = |hours| clock::format_rfc3339(at(hours));
    for (query, expected) in [
        (String::new(), vec![2.0, 1.0]),
        (format!("from={}", text(30)), vec![30.0, 2.0, 1.0]),
        (format!("from={}&to={}", text(2), text(1)), vec![2.0]),
        (format!("to={}", text(1)), vec![2.0]),
        (format!("from={}&to={}", text(1), text(2)), vec![]),
        ("to=0001-01-01T00:00:00Z".into(), vec![]),
        ("from=0001-01-01T00:00:00Z&to=9999-12-30T22:00:00Z".into(), vec![30.0, 2.0, 1.0]),
    ] {
        let items = client.get(&format!("/api/v1/targets/app/stats?{query}")).await.items();
        let means: Vec<f64> =
            items.iter().map(|sample| sample["gauges"]["active"][0].as_f64().unwrap()).collect();
        assert_eq!(means, expected, "{query}");
    }
    client.get("/api/v1/targets/nowhere/stats").await.assert_problem(StatusCode::NOT_FOUND, "nowhere");
}

#[tokio::test]
async fn a_check_has_its_finding_and_documentation_and_an_unknown_one_is_a_problem() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let path = "/api/v1/targets/app/checks/duplicate-tokens";
    client.get(path).await.assert_problem(StatusCode::NOT_FOUND, "check not found on this target");
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "1 token");
    let body = json!({ "check": "duplicate-tokens", "minutes": 60, "note": "x" });
    client.post("/api/v1/silences", &body).await;
    let check = client.get(path).await.json();
    assert_eq!((&check["result"], &check["state"]), (&json!("failing"), &json!("firing")), "{check}");
    assert_eq!(check["silences"].as_array().unwrap().len(), 1);
    assert!(check["documentation"].as_str().unwrap().contains("## How to fix"));
    dashboard.insert_firing_alert("orders-without-session", "low", "a custom check");
    let custom = client.get("/api/v1/targets/app/checks/orders-without-session").await.json();
    assert_eq!(custom["documentation"], json!(null));
    for path in ["nowhere/checks/duplicate-tokens", "app/checks/nothing", "app/checks/nothing/query"] {
        client.get(&format!("/api/v1/targets/{path}")).await.assert_problem(StatusCode::NOT_FOUND, "");
    }
}

#[tokio::test]
async fn an_attestation_changes_the_checklist_of_this_week() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Responder).await;
    let path = "/api/v1/targets/app/attestations";
    let result = async || {
        let list = client.get("/api/v1/targets/app/checklist").await.json();
        let items = list["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["id"] == "user-reports").unwrap()["result"].clone()
    };
    assert_eq!(result().await, "unknown");
    for body in [
        json!({ "passes": true }),
        json!({ "passes": "yes", "note": "x" }),
        json!({ "passes": true, "note": " " }),
    ] {
        client.post(path, &body).await.assert_problem(StatusCode::BAD_REQUEST, "");
    }
    assert_eq!(result().await, "unknown");
    for (passes, expected) in [(false, "fail"), (true, "pass")] {
        let response = client.post(path, &json!({ "passes": passes, "note": "12 tickets" })).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT);
        assert!(result().await.as_str().unwrap().starts_with(expected), "{passes}");
    }
    let body = json!({ "passes": true, "note": "x" });
    let elsewhere = client.post("/api/v1/targets/nowhere/attestations", &body).await;
    elsewhere.assert_problem(StatusCode::NOT_FOUND, "nowhere");
}
