use sessionwatch_app::app::{accounts::AccountRole, status_summary::load_status_summary};
use sessionwatch_core::{alert::AlertState, duration::DAY};
use sessionwatch_store::{
    alerts, latest_reports,
    samples::{self, GaugeSample, SampleRetention},
};

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

#[tokio::test]
async fn without_targets_the_page_shows_how_to_configure_one_and_no_status() {
    let dashboard = TestDashboard::with_config("");
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/").await;
    assert_eq!(page.select_text("h1"), "No targets yet");
    assert_eq!(page.select_text("main .empty code"), "sessionwatch init URL");
    assert_eq!(page.count_elements(".stat") + page.count_elements(".attn"), 0);
}

#[tokio::test]
async fn a_target_that_was_never_checked_is_unknown() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/").await;
    assert_eq!(page.select_text("h1"), "The state of app is unknown");
    assert_eq!(page.select_text(".callout b"), "app has not been checked yet");
    assert_eq!(page.select_texts(".stat-value"), ["–"; 6]);
    assert_eq!(page.select_text("main .pill-unknown"), "Unknown");
}

#[tokio::test]
async fn a_target_whose_last_run_failed_is_unknown() {
    let dashboard = TestDashboard::new();
    let report = r#"{"stats": null, "result": "unknown", "profile": "authjs-prisma"}"#;
    dashboard.write_store(|db| latest_reports::upsert_report(db, "app", report, dashboard.now()));
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/").await;
    assert_eq!(page.select_text(".callout b"), "app cannot be checked");
    assert_eq!(page.select_attributes(".callout a", "href"), ["/targets/app/doctor"]);
}

#[tokio::test]
async fn a_target_whose_checks_could_not_be_evaluated_is_not_healthy() {
    let dashboard = TestDashboard::new();
    let report = r#"{"result": "unknown", "stats": {"active": 0}}"#;
    let run = GaugeSample::from_run(dashboard.now(), Some(&[("active", 0.0)]));
    for (check, reason) in [
        ("duplicate-tokens", "the session table is empty"),
        ("orphaned-sessions", "the session table is empty"),
        ("log-user-mismatch", "no line of log source `web` has been read yet"),
    ] {
        dashboard.insert_unknown_alert(check, reason);
    }
    dashboard.write_store(|db| {
        latest_reports::upsert_report(db, "app", report, dashboard.now())?;
        let retention = SampleRetention { max_age: DAY, confirmed_now: dashboard.now() };
        samples::record_sample(db, "app", &run, retention)
    });
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for path in ["/", "/targets/app"] {
        let page = viewer.get(path).await;
        assert!(!page.select_text("h1").contains("healthy"), "{path}");
        assert_eq!(page.select_text(".callout b"), "3 checks on app could not be evaluated");
        assert_eq!(
            page.select_text(".callout p"),
            "No line of log source web has been read yet. The session table is empty."
        );
    }
    // The frame of every page agrees, although it reads no report.
    let summary = load_status_summary(&dashboard.app).await.unwrap();
    assert_eq!(summary.targets[0].state, "unknown");
}

#[tokio::test]
async fn a_target_without_alerts_passes_and_shows_its_figures() {
    let dashboard = TestDashboard::new();
    let report = r#"{"result": "passing", "stats": {"active": 1234, "expired": 2, "users_active": 3,
        "sessions_per_user": 1.5,
        "created_last_hour": null, "duplicate_tokens": 0}, "profile": "authjs-prisma", "duration_ms": 12.4}"#;
    dashboard.write_store(|db| latest_reports::upsert_report(db, "app", report, dashboard.now()));
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/").await;
    assert_eq!(page.select_text("h1"), "app is healthy");
    assert_eq!(page.select_texts(".stat-value"), ["1,234", "–", "3", "1.50", "2", "0"]);
    let links = page.select_attributes("a.stat", "href");
    assert_eq!(links[0], "/targets/app/sessions?status=active");
    assert_eq!(links[5], "/targets/app/checks/duplicate-tokens");
}

#[tokio::test]
async fn firing_alerts_are_counted_and_listed_worst_first() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("expired-backlog", "low", "many");
    let worst = dashboard.insert_firing_alert("duplicate-tokens", "critical", HOSTILE_TEXT);
    let visitor = dashboard.log_in_as(AccountRole::Responder).await;
    let page = visitor.get("/").await;
    assert_eq!(page.select_text("h1"), "2 problems need attention");
    assert_eq!(page.select_text(".rail .badge"), "2 unacknowledged");
    let listed = page.select_attributes("a.attn-title", "href");
    assert_eq!(listed, ["/targets/app/checks/duplicate%2Dtokens", "/targets/app/checks/expired%2Dbacklog"]);
    page.assert_shows_hostile_text(".attn li");
    // One page has one next step.
    assert_eq!(page.select_texts(".btn-primary"), ["Acknowledge"]);
    // A plan fixes the backlog, and an incident guides through a leak.
    assert_eq!(
        page.select_texts(".attn .btn"),
        ["Acknowledge", "Open incident", "Acknowledge", "Review plan"]
    );

    let mut acknowledged = worst;
    acknowledged.acknowledged_by = Some("ada".into());
    dashboard.write_store(|db| alerts::upsert_alert(db, &acknowledged));
    let page = visitor.get("/").await;
    assert_eq!(page.select_text("h1"), "1 problem needs attention");
    assert_eq!(page.select_text(".lead"), "1 more problem, acknowledged.");
    assert_eq!(page.select_texts(".owner"), ["Not acknowledged", "by ada"]);
}

#[tokio::test]
async fn viewers_see_problems_without_buttons() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("expired-backlog", "low", "many");
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/").await;
    assert_eq!(page.count_elements(".attn form"), 0);
    assert_eq!(page.select_texts(".attn .btn"), ["Open"]);
}

#[tokio::test]
async fn a_check_that_fails_but_does_not_notify_yet_is_not_passing() {
    let dashboard = TestDashboard::new();
    let report = r#"{"result": "passing", "stats": {"active": 1}}"#;
    dashboard.write_store(|db| latest_reports::upsert_report(db, "app", report, dashboard.now()));
    let mut pending = dashboard.insert_firing_alert("expired-backlog", "low", "many");
    pending.alert.state = AlertState::Pending { failing_runs: 1, since: dashboard.now() };
    dashboard.write_store(|db| alerts::upsert_alert(db, &pending));
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/").await;
    assert_eq!(page.select_text("h1"), "app may have a problem");
}

#[tokio::test]
async fn the_period_of_the_chart_is_marked_and_an_unknown_one_is_the_default() {
    let dashboard = TestDashboard::new();
    let visitor = dashboard.log_in_as(AccountRole::Viewer).await;
    for (path, marked) in [("/", "24 h"), ("/?range=7d", "7 d"), ("/?range=%3Cscript%3E", "24 h")] {
        assert_eq!(visitor.get(path).await.select_texts(".seg [aria-current]"), [marked], "{path}");
    }
}
