use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_store::{alerts, latest_reports};

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

const CHECK: &str = "/targets/app/checks/duplicate-tokens";

#[tokio::test]
async fn before_the_first_run_no_check_is_listed() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/targets/app").await;
    assert_eq!(page.select_text("section[aria-labelledby=checks] p.empty"), "No check results yet.");
    assert_eq!(page.select_texts("dl.facts dd code"), ["sqlite:missing.db"]);
    assert_eq!(page.select_texts("nav.periods a[aria-current=true]"), ["24 hours"]);
}

#[tokio::test]
async fn its_checks_notes_and_table_are_listed_as_text() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("duplicate-tokens", "critical", HOSTILE_TEXT);
    let report = serde_json::json!({ "stats": {}, "table": HOSTILE_TEXT, "notes": [HOSTILE_TEXT], "duration_ms": 3.0 });
    dashboard
        .write_store(|db| latest_reports::upsert_report(db, "app", &report.to_string(), dashboard.now()));
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/targets/app?hours=168").await;
    assert_eq!(
        page.select_texts("section[aria-labelledby=checks] tbody td:first-child"),
        ["duplicate-tokens"]
    );
    page.assert_shows_hostile_text("section[aria-labelledby=checks] td");
    page.assert_shows_hostile_text("section[aria-labelledby=monitoring] li");
    assert_eq!(page.select_texts("nav.periods a[aria-current=true]"), ["7 days"]);
}

#[tokio::test]
async fn an_unknown_target_or_check_is_not_found() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/targets/nowhere").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert_eq!(page.select_text("main p.empty"), "Target “nowhere” not found.");
    assert_eq!(viewer.get(CHECK).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_evidence_of_a_check_is_shown_as_text() {
    let dashboard = TestDashboard::new();
    let mut kept = dashboard.insert_firing_alert("duplicate-tokens", "critical", "2 shared tokens");
    let evidence = serde_json::json!([{ "token_prefix": "abcdefgh", "user": HOSTILE_TEXT, "rows": 2, "display": [HOSTILE_TEXT] }]);
    let finding =
        serde_json::json!({ "value": 2, "threshold": "> 0", "action": HOSTILE_TEXT, "evidence": evidence });
    kept.finding = Some(finding.to_string());
    dashboard.write_store(|db| alerts::upsert_alert(db, &kept));
    dashboard.insert_event("duplicate-tokens", "firing", HOSTILE_TEXT);
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get(CHECK).await;
    assert_eq!(page.select_texts("main tbody td code"), ["abcdefgh…"]);
    page.assert_shows_hostile_text("main tbody td");
    page.assert_shows_hostile_text("dl.facts dd");
    page.assert_shows_hostile_text("section[aria-labelledby=history] li");
    assert_eq!(page.select_text("main p.lead"), "2 shared tokens");
    assert!(page.count_elements("section.documentation h3") > 0);
}

#[tokio::test]
async fn evidence_without_row_counts_has_no_column_for_them() {
    let dashboard = TestDashboard::new();
    let mut kept = dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    for (rows, columns) in [(2, 5), (0, 4)] {
        let evidence = serde_json::json!([{ "token_prefix": "abcdefgh", "user": "7", "rows": rows }]);
        kept.finding = Some(serde_json::json!({ "value": 1, "evidence": evidence }).to_string());
        dashboard.write_store(|db| alerts::upsert_alert(db, &kept));
        let page = dashboard.log_in_as(AccountRole::Viewer).await.get(CHECK).await;
        assert_eq!(page.count_elements("main div.wide thead th"), columns, "{rows}");
        assert_eq!(page.count_elements("main div.wide td.number"), columns - 4, "{rows}");
    }
}

#[tokio::test]
async fn alert_actions_depend_on_the_role_and_the_state() {
    let dashboard = TestDashboard::new();
    let mut kept = dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    let (viewer, responder) =
        (dashboard.log_in_as(AccountRole::Viewer).await, dashboard.log_in_as(AccountRole::Responder).await);
    assert_eq!(viewer.get(CHECK).await.count_elements("main form"), 0);
    let page = responder.get(CHECK).await;
    let buttons = ["Acknowledge", "Resolve", "Add comment", "Silence"];
    assert_eq!(page.select_texts("div.actions button"), buttons);
    assert_eq!(page.count_elements("section[aria-labelledby=incident] form[action='/incidents']"), 1);

    let fields = [("target", "app"), ("check", "duplicate-tokens"), ("note", HOSTILE_TEXT)];
    responder.post("/alerts/acknowledge", &fields).await;
    responder.get(CHECK).await.assert_shows_hostile_text("p.notice");

    kept.alert.state = sessionwatch_core::alert::AlertState::Resolved;
    dashboard.write_store(|db| alerts::upsert_alert(db, &kept));
    let page = responder.get(CHECK).await;
    assert_eq!(page.select_texts("div.actions button"), buttons[2..]);
    assert_eq!(page.count_elements("section[aria-labelledby=incident]"), 0);
    assert_eq!(responder.post("/alerts/acknowledge", &fields).await.status, StatusCode::CONFLICT);
}
