use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_core::{alert::AlertState, duration::DAY};
use sessionwatch_store::{
    alerts,
    samples::{self, GaugeSample, SampleRetention},
};

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

#[tokio::test]
async fn an_empty_page_says_so() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/alerts").await;
    assert_eq!(page.select_text("h1"), "No alert is firing");
    assert_eq!(page.select_texts("main .empty b"), ["Nothing is firing", "No matching notifications"]);
    assert_eq!(page.count_elements("section[aria-labelledby=silences]"), 0);
}

#[tokio::test]
async fn alerts_are_listed_worst_first_and_notifications_latest_first() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("expired-backlog", "low", "many");
    dashboard.insert_firing_alert("duplicate-tokens", "critical", HOSTILE_TEXT);
    dashboard.insert_event("duplicate-tokens", "firing", "first");
    dashboard.insert_event("duplicate-tokens", "reminder", HOSTILE_TEXT);
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/alerts").await;
    assert_eq!(page.select_text("h1"), "2 alerts need attention");
    assert_eq!(page.select_texts("ul.attn .pill"), ["Critical", "Low"]);
    assert_eq!(page.select_texts("section[aria-labelledby=history] td.up"), ["Reminder", "Firing"]);
    page.assert_shows_hostile_text("ul.attn li");
    page.assert_shows_hostile_text("section[aria-labelledby=history] td.result");
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/alerts?text=first&days=12").await;
    assert_eq!(page.select_texts("section[aria-labelledby=history] td.result"), ["First"]);
    assert_eq!(page.select_text("form.history-filter option[selected]"), "Last 12 days");
}

#[tokio::test]
async fn alerts_are_sorted_by_what_has_to_be_done() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("expired-backlog", "low", "many");
    let mut pending = dashboard.insert_firing_alert("orphaned-sessions", "high", HOSTILE_TEXT);
    pending.alert.state = AlertState::Pending { failing_runs: 1, since: dashboard.now() };
    dashboard.insert_firing_alert("active-sessions", "low", "few");
    dashboard.write_store(|db| alerts::upsert_alert(db, &pending));
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    responder.post("/alerts/acknowledge", &[("target", "app"), ("check", "expired-backlog")]).await;
    responder.post("/silences", &[("check", "active-sessions"), ("minutes", "60"), ("note", "x")]).await;
    let page = responder.get("/alerts").await;
    assert_eq!(page.select_text("h1"), "No alert needs attention");
    assert_eq!(page.select_text("p.lead"), "1 is acknowledged, 1 is silenced, 1 is pending.");
    assert_eq!(
        page.select_texts("section[aria-labelledby=acknowledged] .attn-title"),
        ["Expired sessions piling up"]
    );
    assert_eq!(page.count_elements("section[aria-labelledby=silenced] .attn-title"), 1);
    page.assert_shows_hostile_text("section[aria-labelledby=unconfirmed] td.result");
}

#[tokio::test]
async fn resolved_alerts_show_what_was_wrong_and_for_how_long() {
    let dashboard = TestDashboard::new();
    dashboard.insert_event("duplicate-tokens", "firing", HOSTILE_TEXT);
    dashboard.insert_event("duplicate-tokens", "resolved", "gone");
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/alerts").await;
    page.assert_shows_hostile_text("section[aria-labelledby=resolved] td.result");
    assert_eq!(page.select_text("section[aria-labelledby=resolved] td.num"), "60 s ago, after 0 s");
}

#[tokio::test]
async fn responders_can_end_a_silence_and_viewers_cannot() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let fields = [("check", "duplicate-tokens"), ("minutes", "60"), ("note", HOSTILE_TEXT)];
    let answer = responder.post("/silences", &fields).await;
    assert_eq!((answer.status, answer.location.as_deref()), (StatusCode::SEE_OTHER, Some("/alerts")));

    let page = responder.get("/alerts").await;
    assert_eq!(page.select_text("section[aria-labelledby=silences] button"), "End silence");
    page.assert_shows_hostile_text("section[aria-labelledby=silences] td.result");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/alerts").await;
    assert_eq!(page.count_elements("section[aria-labelledby=silences] tbody tr"), 1);
    assert_eq!(page.count_elements("main form[method=post]"), 0);
    assert_eq!(viewer.post("/silences", &fields).await.status, StatusCode::FORBIDDEN);

    responder.post("/silences/expire", &[("silence", "1")]).await;
    assert_eq!(responder.get("/alerts").await.count_elements("section[aria-labelledby=silences]"), 0);
}

#[tokio::test]
async fn forms_return_only_to_pages_of_targets() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let commented = async |back: &str| {
        let fields = [("target", "app"), ("check", "duplicate-tokens"), ("note", "seen"), ("back", back)];
        responder.post("/alerts/comment", &fields).await.location.unwrap()
    };
    assert_eq!(
        commented("/targets/app/checks/duplicate-tokens").await,
        "/targets/app/checks/duplicate-tokens"
    );
    assert_eq!(commented("//evil.example").await, "/alerts");
    assert_eq!(commented("/targets/\\evil.example").await, "/alerts");
}

/// Stores a run of a target with figures.
fn insert_run(dashboard: &TestDashboard, target: &str) {
    let run = GaugeSample::from_run(dashboard.now(), Some(&[("active", 1.0)]));
    let retention = SampleRetention { max_age: DAY, confirmed_now: dashboard.now() };
    dashboard.write_store(|db| samples::record_sample(db, target, &run, retention));
}

#[tokio::test]
async fn all_checks_pass_only_if_every_target_does() {
    let two = "[[target]]\nname = \"app\"\nurl = \"sqlite:a.db\"\n
[[target]]\nname = \"shop\"\nurl = \"sqlite:b.db\"\n";
    let dashboard = TestDashboard::with_config(two);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let lead = async || viewer.get("/alerts").await.select_text("p.lead");
    assert_eq!(lead().await, "The state of 2 targets is unknown.");
    insert_run(&dashboard, "app");
    assert_eq!(lead().await, "The state of shop is unknown.");
    insert_run(&dashboard, "shop");
    assert!(lead().await.starts_with("All checks pass."));
    dashboard.insert_unknown_alert("duplicate-tokens", "the session table is empty");
    let page = viewer.get("/alerts").await;
    assert_eq!(page.select_text("p.lead"), "1 check is unknown.");
    let listed = page.select_texts("section[aria-labelledby=unconfirmed] td.up");
    assert_eq!(listed, ["Unknown"]);
    dashboard.insert_firing_alert("expired-backlog", "low", "x");
    assert_eq!(lead().await, "1 check is unknown.", "of a target with a known problem");

    let empty = TestDashboard::with_config("");
    let page = empty.log_in_as(AccountRole::Viewer).await.get("/alerts").await;
    assert_eq!(page.select_text("p.lead"), "No target is monitored yet.");
}

#[tokio::test]
async fn an_unknown_target_is_named_beside_alerts_of_others() {
    let two = "[[target]]\nname = \"app\"\nurl = \"sqlite:a.db\"\n
[[target]]\nname = \"shop\"\nurl = \"sqlite:b.db\"\n";
    let dashboard = TestDashboard::with_config(two);
    let alert = dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    assert_eq!(viewer.get("/alerts").await.select_text("p.lead"), "The state of shop is unknown.");
    let acknowledged = alerts::AlertRecord { acknowledged_by: Some("ada".into()), ..alert };
    dashboard.write_store(|db| alerts::upsert_alert(db, &acknowledged));
    let lead = viewer.get("/alerts").await.select_text("p.lead");
    assert_eq!(lead, "1 is acknowledged. The state of shop is unknown.");
}
