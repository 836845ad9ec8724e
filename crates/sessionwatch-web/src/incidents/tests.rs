use axum::http::StatusCode;
use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_app::app::{
    accounts::AccountRole,
    incidents::{IncidentRecord, IncidentState, TimelineEntry},
};
use sessionwatch_core::incident::IncidentSeverity;
use sessionwatch_store::{incidents, latest_reports};

use super::super::test_dashboard::{HOSTILE_TEXT, PageResponse, TestDashboard};

const PAGE: &str = "/incidents/INC-1";

/// Stores an incident opened a minute ago.
fn opened(dashboard: &TestDashboard, id: &str, state: IncidentState) -> IncidentRecord {
    let at = dashboard.now() - SignedDuration::from_mins(1);
    let incident = IncidentRecord {
        id: id.into(),
        target: "app".into(),
        severity: IncidentSeverity::P1,
        state,
        opened_at: at,
        opened_by: HOSTILE_TEXT.into(),
        contained_at: None,
        closed_at: (state == IncidentState::Closed).then(|| dashboard.now()),
        report_fields: json!({ "summary": HOSTILE_TEXT }).to_string(),
    };
    dashboard.write_store(|db| incidents::upsert_incident(db, &incident));
    record(dashboard, id, "opened", "", HOSTILE_TEXT);
    incident
}

/// Adds an entry to the timeline.
fn record(dashboard: &TestDashboard, id: &str, kind: &str, step: &str, message: &str) {
    record_with_detail(dashboard, id, &entry(dashboard, kind, step, message));
}

fn entry(dashboard: &TestDashboard, kind: &str, step: &str, message: &str) -> TimelineEntry {
    TimelineEntry {
        at: dashboard.now() - SignedDuration::from_mins(1),
        actor: "ada".into(),
        kind: kind.into(),
        step: step.into(),
        message: message.into(),
        detail: "{}".into(),
    }
}

fn record_with_detail(dashboard: &TestDashboard, id: &str, entry: &TimelineEntry) {
    dashboard.write_store(|db| incidents::insert_timeline_entry(db, id, entry));
}

/// Marks the steps before one as done.
fn advance_to(dashboard: &TestDashboard, id: &str, step: &str) {
    let steps = sessionwatch_core::incident::INCIDENT_STEPS.iter();
    for before in steps.take_while(|one| one.id != step) {
        record(dashboard, id, "done", before.id, HOSTILE_TEXT);
    }
}

/// Asserts that the hostile text is shown as text. Unlike elsewhere, these pages use `b` themselves.
fn assert_shows_hostile_text(page: &PageResponse, selector: &str) {
    let texts = page.select_texts(selector);
    assert!(texts.iter().any(|text| text.contains(HOSTILE_TEXT)), "{selector}: {texts:?}");
    assert_eq!(page.count_elements("main script"), 0);
    assert!(!page.select_texts("main b").contains(&"x".to_owned()));
}

#[tokio::test]
async fn the_list_is_empty_at_first_and_only_responders_can_open_an_incident() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/incidents").await;
    assert_eq!(page.select_text("main h1"), "No open incidents");
    assert_eq!(page.select_text("main .empty b"), "No incidents yet");
    assert_eq!(page.select_text("main .empty code"), "sessionwatch incident drill --demo");
    assert_eq!(page.count_elements("main form") + page.count_elements("[popovertarget=open]"), 0);
    let page = dashboard.log_in_as(AccountRole::Responder).await.get("/incidents").await;
    let form = "#open form[action='/incidents']";
    assert_eq!(page.select_text(&format!("{form} .btn-primary")), "Open incident");
    assert_eq!(page.select_attributes(&format!("{form} input[name=target]"), "value"), ["app"]);
    let severity = format!("{form} input[name=severity]");
    assert_eq!(page.select_attributes(&severity, "value"), ["P0", "P1", "P2", "P3"]);
    assert_eq!(page.select_attributes(&format!("{severity}[checked]"), "value"), ["P1"]);
}

#[tokio::test]
async fn the_list_shows_the_step_and_the_time_left_of_open_incidents() {
    let dashboard = TestDashboard::new();
    let open = opened(&dashboard, "INC-1", IncidentState::Open);
    let page = dashboard.log_in_as(AccountRole::Responder).await.get("/incidents").await;
    assert_eq!(page.select_text("main h1"), "1 open incident");
    assert_eq!(page.select_attributes(".attn a.attn-title", "href"), ["/incidents/INC%2D1"]);
    assert_eq!(page.select_text(".attn .attn-text b"), "Confirm the incident");
    assert!(page.select_text(".attn .attn-when b").ends_with(" left"));
    assert_eq!(page.select_text(".attn .btn-primary"), "Continue");
    assert_shows_hostile_text(&page, ".attn-title");

    let opened_at = dashboard.now() - SignedDuration::from_mins(72);
    let late = IncidentRecord { id: "INC-2".into(), opened_at, ..open };
    dashboard.write_store(|db| incidents::upsert_incident(db, &late));
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/incidents").await;
    assert_eq!(page.select_text("main h1"), "1 of 2 open incidents overdue");
    assert_eq!(page.select_attributes(".attn a.attn-title", "href")[0], "/incidents/INC%2D2");
    assert_eq!(page.select_text(".attn .attn-when .overdue"), "12 min overdue");
    assert_eq!(page.select_texts(".attn .actions"), ["Open", "Open"]);
    assert_eq!(page.count_elements(".btn-primary"), 0);
}

#[tokio::test]
async fn the_list_links_to_every_closed_incident_and_its_report() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-20260131-001", IncidentState::Closed);
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/incidents").await;
    let links = page.select_attributes("main tbody a", "href");
    assert_eq!(
        links,
        ["/incidents/INC%2D20260131%2D001", "/targets/app", "/incidents/INC%2D20260131%2D001/report"]
    );
    assert_eq!(page.select_texts("main tbody td:nth-child(5)"), ["1 min"]);
    assert_shows_hostile_text(&page, "main tbody td");
}

#[tokio::test]
async fn an_open_incident_shows_its_next_step_to_responders() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    let page = dashboard.log_in_as(AccountRole::Responder).await.get(PAGE).await;
    assert_shows_hostile_text(&page, "main h1");
    assert_shows_hostile_text(&page, "section[aria-labelledby=timeline] li");
    assert!(page.select_text("main .lead").starts_with("Next: Confirm the incident. "));
    assert_eq!(page.select_text("#next"), "Confirm the incident");
    assert_eq!(page.select_text(".card-foot .btn-primary"), "Check now");
    assert_eq!(page.select_attributes(".card-foot input[name=step]", "value"), ["confirm"]);
    assert_eq!(page.select_attributes("#confirm-step input[name=response]", "value"), ["done"]);
    assert_eq!(page.select_attributes("#skip-step input[name=response]", "value"), ["skip"]);
    assert_eq!(page.count_elements("form[action='/incidents/INC%2D1/notes']"), 1);
    assert_eq!(page.count_elements("form[action='/incidents/INC%2D1/close'] input[name=reason]"), 1);
    assert_eq!(page.count_elements("form[action='/incidents/INC%2D1/fields'] input[name=name]"), 5);
    assert_eq!(page.select_texts(".stepper li[aria-current=step] .step-name"), ["Confirm the incident"]);
    assert!(page.select_text(".clock").ends_with(" min"));

    let page = dashboard.log_in_as(AccountRole::Viewer).await.get(PAGE).await;
    assert_eq!((page.count_elements("main form"), page.count_elements("main .btn-primary")), (0, 0));
    assert_eq!(page.select_text("#next"), "Confirm the incident");
}

#[tokio::test]
async fn a_finished_step_shows_what_was_recorded_and_can_be_reopened() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    advance_to(&dashboard, "INC-1", "contain");
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let page = responder.get(PAGE).await;
    assert_eq!(page.count_elements(".stepper li.done"), 5);
    assert_eq!(page.select_attributes(".stepper button", "popovertarget")[0], "step-confirm");
    assert_shows_hostile_text(&page, "#step-confirm .recorded");
    assert_eq!(page.select_text("#step-team button[value=reopen]"), "Reopen step");
    let fields = [("step", "team"), ("response", "reopen"), ("note", "the wrong team")];
    responder.post("/incidents/INC-1/steps", &fields).await;
    let page = responder.get(PAGE).await;
    assert_eq!(page.select_text("#next"), "Notify the team");
    assert!(page.select_texts(".timeline .quote").contains(&"the wrong team".to_owned()));

    let page = dashboard.log_in_as(AccountRole::Viewer).await.get(PAGE).await;
    assert_shows_hostile_text(&page, "#step-confirm .recorded");
    assert_eq!(page.count_elements("main form"), 0);
}

#[tokio::test]
async fn containment_offers_every_scope_with_the_counts_of_the_last_check_run() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    let row = |user: &str| json!({ "user": user, "id": user, "token_prefix": "700c0446", "display": [HOSTILE_TEXT] });
    let rows = [row("2"), row("3")];
    let checks = json!([{ "id": "duplicate-tokens", "result": "failing", "value": 1, "evidence": rows }]);
    let stats = json!({ "sessions": 4105, "duplicate_tokens": 1, "orphaned": 14 });
    let report = json!({ "stats": stats, "checks": checks }).to_string();
    dashboard.write_store(|db| latest_reports::upsert_report(db, "app", &report, dashboard.now()));
    let run = TimelineEntry { detail: report.clone(), ..entry(&dashboard, "check-run", "", "") };
    record_with_detail(&dashboard, "INC-1", &run);
    advance_to(&dashboard, "INC-1", "contain");
    let page = dashboard.log_in_as(AccountRole::Responder).await.get(PAGE).await;
    let form = "#contain-form[action='/incidents/INC%2D1/contain']";
    let scopes = page.select_attributes(&format!("{form} input[name=scope]"), "value");
    assert_eq!(scopes, ["duplicates", "users", "orphaned", "all"]);
    assert_eq!(
        page.select_texts(&format!("{form} .opt .end")),
        ["2 sessions", "2 users", "14 sessions", "4,105 sessions"]
    );
    assert_eq!(page.select_attributes(&format!("{form} input[name=users]"), "value"), ["2 3"]);
    assert_eq!(page.select_attributes(".btn-primary[form=contain-form]", "form"), ["contain-form"]);
    assert_eq!(page.select_texts("section[aria-labelledby=affected] .mono"), ["700c0446"; 2]);
    assert_shows_hostile_text(&page, "section[aria-labelledby=affected] a");
    assert!(page.select_text(".meta").contains("2 users and 2 sessions"));
}

#[tokio::test]
async fn a_containment_without_scope_or_users_is_rejected() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    for fields in [[("scope", "nobody"), ("users", "2")], [("scope", "users"), ("users", " ")]] {
        let answer = responder.post("/incidents/INC-1/contain", &fields).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_closed_incident_has_no_next_step() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Closed);
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let page = responder.get(PAGE).await;
    assert_eq!((page.count_elements("main form"), page.count_elements("[aria-current=step]")), (0, 0));
    assert_eq!(page.select_text("#next"), "Closed");
    assert_eq!(page.select_text(".clock"), "–");
    let set = responder.post("/incidents/INC-1/fields", &[("name", "summary"), ("text", "x")]).await;
    assert_eq!(set.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn an_incident_without_open_steps_can_be_closed() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    advance_to(&dashboard, "INC-1", "none");
    let page = dashboard.log_in_as(AccountRole::Responder).await.get(PAGE).await;
    assert_eq!(page.select_text("#next"), "All steps completed");
    let form = "form[action='/incidents/INC%2D1/close']";
    assert_eq!(page.select_text(&format!("{form} .btn-primary")), "Close incident");
    assert_eq!(page.count_elements(&format!("{form} input[name=reason]")), 0);
}

#[tokio::test]
async fn an_update_of_another_step_than_the_next_one_is_rejected() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let path = "/incidents/INC-1/steps";
    let other = responder.post(path, &[("step", "contain"), ("response", "done"), ("note", "x")]).await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    assert!(other.body.contains("Another user has already completed this step."));
    let unreasoned = responder.post(path, &[("step", "confirm"), ("response", "skip")]).await;
    assert_eq!(unreasoned.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn notes_appear_on_the_timeline_in_one_line() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let noted = responder.post("/incidents/INC-1/notes", &[("note", "on the\r\ncall")]).await;
    assert_eq!(noted.location.as_deref(), Some("/incidents/INC%2D1"));
    let page = responder.get(PAGE).await;
    assert_eq!(page.select_text("section[aria-labelledby=timeline] .quote"), "on the call");
    assert_eq!(responder.get("/incidents/INC-2").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_report_is_a_document_and_plain_markdown() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/incidents/INC-1/report").await;
    let headings = page.select_texts(".report-document h2");
    assert_eq!((headings[0].as_str(), headings.last().unwrap().as_str()), ("Timeline", "Open points"));
    assert_shows_hostile_text(&page, ".report-table td");
    assert!(page.select_texts(".report-document mark").contains(&"(to be completed)".to_owned()));
    let text = viewer.get("/incidents/INC-1/report?format=markdown").await.body;
    assert!(text.starts_with("# INC-1: ") && text.contains("## Root cause"), "{text}");
}

#[tokio::test]
async fn the_documents_can_be_previewed_and_copied() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get(PAGE).await;
    assert_eq!(page.select_text("#documents [aria-current]"), "Report");
    assert_shows_hostile_text(&page, "#documents .sections p");
    assert!(page.select_text("#documents .end pre").starts_with("# INC-1: "));
    let page = viewer.get("/incidents/INC-1?document=message").await;
    assert_eq!(page.select_text("#documents [aria-current]"), "Message to users");
    assert!(page.select_texts("#documents mark").contains(&"[the name of the application]".to_owned()));
}

#[tokio::test]
async fn an_incident_is_opened_only_with_a_severity_a_summary_and_a_target() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    for (fields, status) in [
        ([("target", "app"), ("severity", "P4"), ("summary", "x")], StatusCode::BAD_REQUEST),
        ([("target", "app"), ("severity", ""), ("summary", "x")], StatusCode::BAD_REQUEST),
        ([("target", "app"), ("severity", HOSTILE_TEXT), ("summary", "x")], StatusCode::BAD_REQUEST),
        ([("target", "app"), ("severity", "P1"), ("summary", " \r\n ")], StatusCode::BAD_REQUEST),
        ([("target", "nowhere"), ("severity", "P1"), ("summary", "x")], StatusCode::NOT_FOUND),
        ([("target", HOSTILE_TEXT), ("severity", "P1"), ("summary", "x")], StatusCode::NOT_FOUND),
    ] {
        let page = responder.post("/incidents", &fields).await;
        assert_eq!((page.status, page.count_elements("main script")), (status, 0), "{fields:?}");
    }
    assert_eq!(responder.get("/incidents").await.select_text("main h1"), "No open incidents");
    // The database of the target is down, which must not delay the response.
    let fields = [("target", "app"), ("severity", "p0"), ("summary", "a\r\nleak")];
    assert_eq!(responder.post("/incidents", &fields).await.status, StatusCode::SEE_OTHER);
    let page = responder.get("/incidents").await;
    assert_eq!(page.select_text("main h1"), "1 open incident");
    assert!(page.select_text(".attn a.attn-title").ends_with("a leak"));
}

#[tokio::test]
async fn texts_of_a_report_are_one_bounded_line_without_credentials() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let set = async |name: &str, text: &str| {
        responder.post("/incidents/INC-1/fields", &[("name", name), ("text", text)]).await
    };
    for (name, text) in [("conclusion", "x"), ("", "x"), ("root-cause", ""), ("root-cause", " \r\n ")] {
        assert_eq!(set(name, text).await.status, StatusCode::BAD_REQUEST, "{name} {text:?}");
    }
    let long = format!(" a\r\n\r\n| b \n{}", "ä".repeat(3_000));
    assert_eq!(set("root-cause", &long).await.status, StatusCode::SEE_OTHER);
    set("lessons", "see postgres://watch:hunter2@db/app").await;
    let report = responder.get("/incidents/INC-1/report?format=markdown").await.body;
    let line = report.lines().find(|line| line.contains("ää")).unwrap();
    assert!(line.starts_with("| ") || line.starts_with("a "), "{line}");
    assert!(report.lines().all(|line| line.chars().count() < 2_100));
    assert!(report.contains("postgres://watch:") && !report.contains("hunter2"), "{report}");
}

#[tokio::test]
async fn an_incident_is_closed_without_a_reason_only_once_its_steps_are_done() {
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let close = async |reason: &str| responder.post("/incidents/INC-1/close", &[("reason", reason)]).await;
    for blank in ["", " ", "\r\n"] {
        assert_eq!(close(blank).await.status, StatusCode::CONFLICT, "{blank:?}");
    }
    assert_eq!(responder.get("/incidents").await.select_text("main h1"), "1 open incident");
    assert_eq!(close(HOSTILE_TEXT).await.status, StatusCode::SEE_OTHER);
    let page = responder.get(PAGE).await;
    assert_eq!(page.select_text("#next"), "Closed");
    assert_shows_hostile_text(&page, "section[aria-labelledby=timeline] li");
    assert_eq!(close("again").await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_user_search_that_fails_leaves_the_rest_of_the_page() {
    // The database of the target does not exist.
    let dashboard = TestDashboard::new();
    opened(&dashboard, "INC-1", IncidentState::Open);
    advance_to(&dashboard, "INC-1", "affected");
    for role in [AccountRole::Viewer, AccountRole::Responder] {
        let browser = dashboard.log_in_as(role).await;
        let page = browser.get(&format!("{PAGE}?find=ada")).await;
        assert_eq!((page.status, page.count_elements("#next")), (StatusCode::OK, 1), "{role:?}");
        assert_eq!(page.select_text("main .callout-bad b"), "Users cannot be searched now", "{role:?}");
        let why = page.select_text("main .callout-bad p");
        assert!(why.starts_with("Cannot query the database"), "{why}");
        assert!(!page.body.contains("No matching users."), "nothing is known about users");
    }
}
