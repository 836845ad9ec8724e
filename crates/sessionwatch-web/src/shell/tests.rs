use axum::http::StatusCode;
use sessionwatch_app::app::incidents::{IncidentRecord, IncidentState};
use sessionwatch_core::{duration::DAY, incident::IncidentSeverity};
use sessionwatch_store::{
    alerts, incidents,
    samples::{self, GaugeSample, SampleRetention},
};

use super::*;
use crate::test_dashboard::{PageResponse, TestDashboard};

const TWO_TARGETS: &str = "[[target]]\nname = \"app\"\nurl = \"sqlite:a.db\"\n
[[target]]\nname = \"shop\"\nurl = \"sqlite:b.db\"\n";

fn record_run(dashboard: &TestDashboard, target: &str, gauges: Option<&[(&'static str, f64)]>) {
    let run = GaugeSample::from_run(dashboard.now(), gauges);
    let retention = SampleRetention { max_age: DAY, confirmed_now: dashboard.now() };
    dashboard.write_store(|db| samples::record_sample(db, target, &run, retention));
}

/// Returns the dots of the targets in the switcher.
fn dots(page: &PageResponse) -> Vec<String> {
    page.select_attributes("#targets .dot", "class")
}

#[tokio::test]
async fn the_frame_of_every_page_shows_the_state_of_each_target() {
    let dashboard = TestDashboard::with_config(TWO_TARGETS);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let settings = async || viewer.get("/settings").await;
    let page = settings().await;
    assert_eq!(dots(&page), ["dot", "dot"], "unknown is not healthy");
    assert_eq!(page.select_text("#live"), "Not checked yet");

    record_run(&dashboard, "app", Some(&[("active", 1.0)]));
    record_run(&dashboard, "shop", None);
    assert_eq!(dots(&settings().await), ["dot dot-ok", "dot"]);
    assert!(settings().await.select_text("#live").starts_with("Check of shop failed "));

    record_run(&dashboard, "shop", Some(&[("active", 1.0)]));
    let mut alert = dashboard.insert_firing_alert("expired-backlog", "low", "x");
    let page = settings().await;
    assert_eq!(dots(&page), ["dot dot-bad", "dot dot-ok"]);
    assert!(page.select_text("#live").starts_with("Checked "));
    assert_eq!(page.select_texts(".rail .badge"), ["1 unacknowledged"]);
    assert_eq!(page.count_elements(".rail .badge-critical"), 0);
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    assert_eq!(settings().await.count_elements(".rail .badge-critical"), 1);

    for (check, severity) in [("expired-backlog", "low"), ("duplicate-tokens", "critical")] {
        (alert.check, alert.severity) = (check.into(), severity.into());
        alert.acknowledged_by = Some("ada".into());
        dashboard.write_store(|db| alerts::upsert_alert(db, &alert));
    }
    let page = settings().await;
    assert_eq!(dots(&page), ["dot dot-warn", "dot dot-ok"]);
    assert_eq!(page.count_elements(".rail .badge"), 0);
}

#[tokio::test]
async fn open_incidents_are_counted_and_closed_ones_are_not() {
    let dashboard = TestDashboard::with_config(TWO_TARGETS);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for (id, target, state) in [
        ("INC-1", "app", IncidentState::Open),
        ("INC-2", "shop", IncidentState::Contained),
        ("INC-3", "shop", IncidentState::Closed),
    ] {
        let incident = IncidentRecord {
            id: id.into(),
            target: target.into(),
            severity: IncidentSeverity::P1,
            state,
            opened_at: dashboard.now(),
            opened_by: "ada".into(),
            contained_at: None,
            closed_at: None,
            report_fields: "{}".into(),
        };
        dashboard.write_store(|db| incidents::upsert_incident(db, &incident));
    }
    assert_eq!(viewer.get("/audit").await.select_texts(".rail .badge"), ["2 open"]);
}

#[tokio::test]
async fn links_of_the_frame_keep_the_target_of_the_page() {
    let dashboard = TestDashboard::with_config(TWO_TARGETS);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for (path, sessions, switch) in [
        ("/targets/shop", "/targets/shop/sessions", "/targets/app"),
        ("/cleanup?target=shop", "/targets/shop/sessions", "/cleanup?target=app"),
        ("/targets/shop/report", "/targets/shop/sessions", "/targets/app/report"),
        // A page about all targets leads to the first one.
        ("/audit", "/targets/app/sessions", "/targets/app"),
    ] {
        let page = viewer.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert_eq!(page.select_attributes(".rail a[title=Sessions]", "href"), [sessions], "{path}");
        let links = page.select_attributes("#targets a", "href");
        assert_eq!(links[..2], ["/", switch], "{path}");
        let named = if path == "/audit" { "Target: All targets" } else { "Target: shop" };
        assert_eq!(page.select_attributes("[popovertarget=targets]", "aria-label"), [named], "{path}");
    }
    let empty = TestDashboard::with_config("");
    let viewer = empty.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/audit").await;
    assert_eq!(page.count_elements("#targets"), 0);
    let links = page.select_attributes(".rail nav a", "href");
    for link in links {
        assert_eq!(viewer.get(&link).await.status, StatusCode::OK, "{link}");
    }
    assert_eq!(viewer.get("/report").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn pages_hold_no_script_and_no_style_of_their_own() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    for path in [
        "/",
        "/alerts",
        "/audit",
        "/cleanup",
        "/incidents",
        "/logs",
        "/search?q=app",
        "/settings",
        "/targets/app",
        "/targets/app/checks/duplicate-tokens",
        "/targets/app/report",
        "/targets/app/users/u1",
        "/login",
        "/nowhere",
    ] {
        let page = admin.get(path).await;
        // The policy of the dashboard would block them.
        let own = "script:not([src]), style, [style], [onclick], [onload], a[href^='javascript:']";
        assert_eq!(page.count_elements(own), 0, "{path}");
        assert_eq!(
            page.count_elements("[src^='http'], link[href^='http'], form[action^='http']"),
            0,
            "{path}"
        );
        let forms = page.count_elements("form[method=post]");
        let tokens = page.count_elements("form[method=post] input[name=form]");
        assert_eq!(
            forms,
            if path == "/login" { tokens + 1 } else { tokens },
            "{path}: each form has a token"
        );
        // IDs are targets of labels and buttons.
        let mut ids = page.select_attributes("[id]", "id");
        ids.sort();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "{path}: an ID is used twice");
        for target in page.select_attributes("[popovertarget]", "popovertarget") {
            assert!(ids.contains(&target), "{path}: nothing has the ID {target}");
        }
    }
}
