use axum::http::StatusCode;
use jiff::SignedDuration;
use sessionwatch_app::app::{
    accounts::AccountRole,
    incidents::{IncidentRecord, IncidentState, TimelineEntry},
};
use sessionwatch_core::incident::IncidentSeverity;
use sessionwatch_store::incidents;

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

/// Stores an incident opened a minute ago.
fn opened(dashboard: &TestDashboard, id: &str, state: IncidentState) {
    let at = dashboard.now() - SignedDuration::from_mins(1);
    let incident = IncidentRecord {
        id: id.into(),
        target: "app".into(),
        severity: IncidentSeverity::P1,
        state,
        opened_at: at,
        opened_by: HOSTILE_TEXT.into(),
        contained_at: None,
        closed_at: None,
        report_fields: serde_json::json!({ "summary": HOSTILE_TEXT }).to_string(),
    };
    let entry = TimelineEntry {
        at,
        actor: "ada".into(),
        kind: "opened".into(),
        step: String::new(),
        message: HOSTILE_TEXT.into(),
        detail: "{}".into(),
    };
    dashboard.write_store(|db| incidents::upsert_incident(db, &incident));
    dashboard.write_store(|db| incidents::insert_timeline_entry(db, id, &entry));
}

#[tokio::test]
async fn the_list_is_empty_at_first_and_only_responders_can_open_an_incident() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/incidents").await;
    assert!(page.select_text("main p.empty").starts_with("No incidents yet."));
    assert_eq!(page.count_elements("main form"), 0);
    let page = dashboard.log_in_as(AccountRole::Responder).await.get("/incidents").await;
    assert_eq!(page.select_text("section[aria-labelledby=open] button"), "Open incident");
    assert_eq!(page.select_attributes("input[name=target]", "value"), ["app"]);
    assert_eq!(
        page.select_texts("select[name=severity] option[selected]"),
        ["P1: shared tokens or a possible leak"]
    );
}

#[tokio::test]
async fn the_list_links_to_every_incident() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-20260131-001", IncidentState::Closed);
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/incidents").await;
    assert_eq!(page.select_attributes("main tbody a", "href"), ["/incidents/INC%2D20260131%2D001"]);
    assert_eq!(page.select_texts("main tbody td:nth-child(4)"), ["closed"]);
}

#[tokio::test]
async fn an_open_incident_shows_its_next_step_to_responders() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    let page = dashboard.log_in_as(AccountRole::Responder).await.get("/incidents/INC-1").await;
    page.assert_shows_hostile_text("main p strong");
    page.assert_shows_hostile_text("section[aria-labelledby=timeline] li");
    assert_eq!(page.count_elements("section.card[aria-labelledby=next]"), 1);
    assert_eq!(page.select_attributes("section.card input[name=step]", "value")[0], "confirm");
    assert_eq!(page.select_texts("section.card button[value=done]"), ["Mark as done"]);
    assert_eq!(page.select_texts("section.card button[value=skip]"), ["Skip step"]);
    assert_eq!(page.count_elements("form[action='/incidents/INC%2D1/note']"), 1);

    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/incidents/INC-1").await;
    assert_eq!(page.count_elements("main form"), 0);
}

#[tokio::test]
async fn a_closed_incident_has_no_next_step() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Closed);
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    assert_eq!(responder.get("/incidents/INC-1").await.count_elements("main form"), 0);
    let set = responder.post("/incidents/INC-1/fields", &[("name", "summary"), ("text", "x")]).await;
    assert_eq!(set.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn an_update_of_another_step_than_the_next_one_is_rejected() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let path = "/incidents/INC-1/steps";
    let other = responder.post(path, &[("step", "contain"), ("response", "done"), ("note", "x")]).await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    assert_eq!(other.select_text("main p.empty"), "Another user has already completed this step.");
    let unreasoned = responder.post(path, &[("step", "confirm"), ("response", "skip")]).await;
    assert_eq!(unreasoned.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn notes_appear_on_the_timeline_and_the_report_is_plain_text() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let noted = responder.post("/incidents/INC-1/notes", &[("note", "on the call")]).await;
    assert_eq!(noted.location.as_deref(), Some("/incidents/INC%2D1"));
    let page = responder.get("/incidents/INC-1").await;
    assert!(
        page.select_texts("section[aria-labelledby=timeline] li").last().unwrap().ends_with("on the call")
    );
    assert_eq!(responder.get("/incidents/INC-2").await.status, StatusCode::NOT_FOUND);
    assert_eq!(responder.get("/incidents/INC-1/report").await.status, StatusCode::OK);
}
