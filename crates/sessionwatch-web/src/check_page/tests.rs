use axum::http::StatusCode;
use jiff::SignedDuration;
use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_core::{alert::AlertState, duration::DAY};
use sessionwatch_store::{
    alerts, latest_reports,
    samples::{self, GaugeSample, SampleRetention},
};

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

const CHECK: &str = "/targets/app/checks/duplicate-tokens";
const ACTIONS: &str = "div.action-bar button, div.action-bar a";

#[tokio::test]
async fn an_unknown_check_is_not_found() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    assert_eq!(viewer.get(CHECK).await.status, StatusCode::NOT_FOUND);
    assert_eq!(viewer.get("/targets/app/checks/mine/query").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn everything_about_a_check_is_shown_as_text() {
    let dashboard = TestDashboard::new();
    let mut record = dashboard.insert_firing_alert("duplicate-tokens", "critical", "2 shared tokens");
    let evidence = serde_json::json!([{
        "token_prefix": "abcdefgh",
        "id": "a b",
        "user": HOSTILE_TEXT,
        "rows": 1,
        "ip": HOSTILE_TEXT,
        "user_agent": HOSTILE_TEXT,
        "display": [HOSTILE_TEXT, "ada@example.org"],
    }]);
    let log_events = serde_json::json!([{
        "recorded_at": "2026-11-01T10:00:00Z",
        "source": HOSTILE_TEXT,
        "text": HOSTILE_TEXT,
        "match_kind": "exact",
    }]);
    let finding = serde_json::json!({
        "value": 2,
        "threshold": "> 0",
        "action": HOSTILE_TEXT,
        "evidence": evidence,
        "log_events": log_events,
    });
    record.finding = Some(finding.to_string());
    dashboard.write_store(|db| alerts::upsert_alert(db, &record));
    dashboard.insert_event("duplicate-tokens", "comment", HOSTILE_TEXT);
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get(CHECK).await;
    assert_eq!(page.select_text("h1"), "Duplicate session tokens");
    assert!(page.select_text("p.lead").starts_with("2 shared tokens. "));
    assert_eq!(page.select_texts("div.pills .pill"), ["Critical", "Firing for 60 s"]);
    assert_eq!(page.select_texts("section[aria-labelledby=evidence] td code"), ["abcdefgh…"]);
    page.assert_shows_hostile_text("section[aria-labelledby=evidence] td.fill");
    page.assert_shows_hostile_text("section[aria-labelledby=evidence] td.mono");
    let links = page.select_attributes("section[aria-labelledby=evidence] td.span a", "href");
    assert_eq!(links, ["/targets/app/sessions?open=a%20b"]);
    page.assert_shows_hostile_text("section[aria-labelledby=log-events] li");
    page.assert_shows_hostile_text("section[aria-labelledby=what-to-do] p");
    page.assert_shows_hostile_text("section[aria-labelledby=timeline] li");
    assert_eq!(
        page.select_texts("section[aria-labelledby=what-to-do] pre"),
        ["sessionwatch cleanup duplicates app", "sessionwatch doctor app"]
    );
    assert!(page.select_texts("section[aria-labelledby=about] dd")[1].starts_with("above 0"));
    assert!(page.count_elements("section[aria-labelledby=runbook] h3") > 0);
}

#[tokio::test]
async fn rows_of_one_token_are_grouped() {
    let dashboard = TestDashboard::new();
    let mut record = dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    let row = |token, user| serde_json::json!({ "token_prefix": token, "user": user, "rows": 1 });
    let evidence = [row("abcdefgh", "1"), row("abcdefgh", "2"), row("ijklmnop", "1")];
    record.finding = Some(serde_json::json!({ "value": 2, "evidence": evidence }).to_string());
    dashboard.write_store(|db| alerts::upsert_alert(db, &record));
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get(CHECK).await;
    let card = "section[aria-labelledby=evidence]";
    assert_eq!(
        page.select_texts(&format!("{card} tr.group")),
        ["abcdefgh… 2 users", "ijklmnop… 1 session of one user"]
    );
    assert_eq!(page.select_texts(&format!("{card} th")), ["User", "Expires"]);
    assert_eq!(
        page.select_text(&format!("{card} .card-head .muted")),
        "3 sessions of 2 users sharing 2 tokens"
    );

    let all = vec![row("abcdefgh", "1"); 10];
    record.check = "orphaned-sessions".into();
    record.finding =
        Some(serde_json::json!({ "value": 15, "evidence_total": 15, "evidence": all }).to_string());
    dashboard.write_store(|db| alerts::upsert_alert(db, &record));
    let page =
        dashboard.log_in_as(AccountRole::Viewer).await.get("/targets/app/checks/orphaned-sessions").await;
    assert_eq!(page.select_text(&format!("{card} .card-head .muted")), "10 of 15 shown");
}

#[tokio::test]
async fn users_without_tokens_are_listed_with_their_sessions() {
    let dashboard = TestDashboard::new();
    let mut record = dashboard.insert_firing_alert("user-session-excess", "medium", "x");
    for (rows, columns) in [(21, 2), (0, 1)] {
        let evidence = serde_json::json!([{ "user": "7", "rows": rows, "display": ["Ada"] }]);
        record.finding = Some(serde_json::json!({ "value": 21, "evidence": evidence }).to_string());
        dashboard.write_store(|db| alerts::upsert_alert(db, &record));
        let page = dashboard
            .log_in_as(AccountRole::Viewer)
            .await
            .get("/targets/app/checks/user-session-excess")
            .await;
        assert_eq!(page.count_elements("section[aria-labelledby=evidence] th"), columns, "{rows}");
        assert_eq!(page.select_text("section[aria-labelledby=evidence] td.fill a"), "Ada");
    }
}

#[tokio::test]
async fn alert_actions_depend_on_the_role_and_the_state() {
    let dashboard = TestDashboard::new();
    let mut record = dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    let (viewer, responder) =
        (dashboard.log_in_as(AccountRole::Viewer).await, dashboard.log_in_as(AccountRole::Responder).await);
    assert_eq!(viewer.get(CHECK).await.count_elements("main form"), 0);
    let page = responder.get(CHECK).await;
    let buttons = ["Acknowledge", "Open incident…", "Review plan", "Silence", "Resolve…"];
    assert_eq!(page.select_texts("div.action-bar > form > button, div.action-bar > button"), buttons);
    assert_eq!(page.count_elements("form[action='/incidents']"), 1);
    assert_eq!(
        page.count_elements("main .btn-primary") - page.count_elements("main .dialog .btn-primary"),
        1
    );

    let fields = [("target", "app"), ("check", "duplicate-tokens"), ("note", HOSTILE_TEXT)];
    responder.post("/alerts/acknowledge", &fields).await;
    let page = responder.get(CHECK).await;
    page.assert_shows_hostile_text("div.meta .note");
    page.assert_shows_hostile_text("section[aria-labelledby=timeline] .quote");
    assert_eq!(page.select_texts("div.pills .pill"), ["Critical", "Acknowledged"]);
    assert!(!page.select_texts(ACTIONS).contains(&"Acknowledge".to_owned()));

    record.alert.state = AlertState::Resolved;
    record.verdict = Some("passing".into());
    dashboard.write_store(|db| alerts::upsert_alert(db, &record));
    let page = responder.get(CHECK).await;
    assert_eq!(page.select_texts("div.action-bar > form > button, div.action-bar > button"), ["Silence"]);
    assert_eq!(page.count_elements("form[action='/incidents']"), 0);
    assert_eq!(page.count_elements("section[aria-labelledby=what-to-do]"), 0);
    assert_eq!(responder.post("/alerts/acknowledge", &fields).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_check_is_silenced_for_a_time_or_for_one_user() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let about = [("target", "app"), ("check", "duplicate-tokens"), ("note", HOSTILE_TEXT), ("back", CHECK)];
    let until = dashboard.now() + SignedDuration::from_hours(48);
    let until = sessionwatch_clock::format_rfc3339(until)[..16].to_owned();
    for extra in [("until", until.as_str()), ("until", "2020-01-01T00:00"), ("until", "soon")] {
        let expected = if extra.1 == until { StatusCode::SEE_OTHER } else { StatusCode::BAD_REQUEST };
        let fields: Vec<_> = about.into_iter().chain([extra]).collect();
        assert_eq!(responder.post("/silences", &fields).await.status, expected, "{extra:?}");
    }
    let fields: Vec<_> = about.into_iter().chain([("minutes", "60"), ("subject", "7")]).collect();
    assert_eq!(responder.post("/silences", &fields).await.location.as_deref(), Some(CHECK));

    let page = responder.get(CHECK).await;
    let titles = page.select_texts(".callout b");
    assert!(
        titles[0].starts_with("Silenced for 7 until") && titles[1].starts_with("Silenced until"),
        "{titles:?}"
    );
    assert_eq!(page.select_texts(".callout button"), ["End silence", "End silence"]);
    page.assert_shows_hostile_text(".callout p");
    assert_eq!(page.select_texts("div.pills .pill")[2], "Silenced");
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get(CHECK).await;
    assert_eq!(page.count_elements(".callout button"), 0);
}

#[tokio::test]
async fn an_unknown_result_is_explained_and_not_shown_as_failing() {
    let dashboard = TestDashboard::new();
    let mut record = dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    record.verdict = Some("unknown".into());
    dashboard.write_store(|db| alerts::upsert_alert(db, &record));
    let check = serde_json::json!({ "id": "duplicate-tokens", "result": "unknown", "reason": HOSTILE_TEXT });
    let report = serde_json::json!({ "stats": null, "checks": [check] });
    dashboard
        .write_store(|db| latest_reports::upsert_report(db, "app", &report.to_string(), dashboard.now()));
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get(CHECK).await;
    assert_eq!(page.select_texts("div.pills .pill"), ["Critical", "Unknown"]);
    assert_eq!(page.select_text(".callout b"), "The result is unknown");
    page.assert_shows_hostile_text(".callout p");
}

#[tokio::test]
async fn a_check_without_a_gauge_shows_its_results() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("mine", "low", "x");
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/targets/app/checks/mine").await;
    assert_eq!(page.select_text("h1"), "mine");
    assert_eq!(page.count_elements("svg.strip rect"), 84);
    assert_eq!(page.count_elements("nav.seg"), 0);
    assert_eq!(page.count_elements("section[aria-labelledby=runbook], section[aria-labelledby=query]"), 0);
}

#[tokio::test]
async fn the_fix_and_the_chart_use_the_limit_of_the_last_run() {
    let dashboard = TestDashboard::new();
    let mut record = dashboard.insert_firing_alert("user-session-excess", "medium", "2 users have too many");
    let finding = serde_json::json!({ "value": 9, "threshold": "> 5 (outlier)", "user_limit": 5 });
    record.finding = Some(finding.to_string());
    let run = GaugeSample::from_run(dashboard.now(), Some(&[("max_per_user", 9.0)]));
    dashboard.write_store(|db| {
        alerts::upsert_alert(db, &record)?;
        let retention = SampleRetention { max_age: DAY, confirmed_now: dashboard.now() };
        samples::record_sample(db, "app", &run, retention)
    });
    let page =
        dashboard.log_in_as(AccountRole::Viewer).await.get("/targets/app/checks/user-session-excess").await;
    let commands = page.select_texts("section[aria-labelledby=what-to-do] pre");
    assert_eq!(commands, ["sessionwatch cleanup excess app --keep 5"]);
    assert!(page.body.contains("Fails above 5"), "{}", page.body);
}
