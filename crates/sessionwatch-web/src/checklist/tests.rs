use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

#[tokio::test]
async fn items_without_a_check_run_are_unknown() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/targets/app/report").await;
    assert_eq!(page.select_text("main h1"), "0 of 7 items passed in the last 7 days");
    let bare = viewer.get("/report").await;
    assert_eq!(bare.location.as_deref(), Some("/targets/app/report"), "the first target");
    let groups = ["Operator guide", "OWASP ASVS 5.0.0", "NIST SP 800-63B-4 and 800-53 r5"];
    assert_eq!(page.select_texts("main .card h2"), groups);
    assert_eq!(page.select_texts(".card-head .muted"), ["0 of 7 pass", "0 of 8 pass", "0 of 4 pass"]);
    assert_eq!(page.select_texts(".tally .n"), ["0 of 7", "0 of 7", "7 of 7"]);
    assert_eq!(page.count_elements("main tbody tr"), 19);
    assert_eq!(page.count_elements("main tbody .pill-passing"), 0);
    assert_eq!(page.count_elements("main form") + page.count_elements("main [popovertarget]"), 0);
    // Weeks without check runs have no bar.
    assert_eq!(page.select_attributes("a.trend", "href").len(), 8);
    assert_eq!(page.count_elements("a.trend .c-na"), 0);
}

#[tokio::test]
async fn an_attestation_is_listed_as_text() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let page = responder.get("/targets/app/report").await;
    assert_eq!(page.select_texts("main form button"), ["Cancel", "Attest"]);
    assert_eq!(
        page.select_attributes(".page [popovertarget=attest]:not([popovertargetaction])", "class"),
        ["btn btn-primary", "btn btn-s"]
    );
    let silent = responder.post("/targets/app/report", &[("passes", "yes"), ("note", " ")]).await;
    assert_eq!(silent.status, StatusCode::BAD_REQUEST);
    let attested = responder.post("/targets/app/report", &[("passes", "yes"), ("note", HOSTILE_TEXT)]).await;
    assert_eq!(attested.location.as_deref(), Some("/targets/app/report"));
    let page = responder.get("/targets/app/report").await;
    page.assert_shows_hostile_text("main tbody td");
    assert_eq!(page.count_elements("main tbody .pill-passing"), 1);
    assert_eq!(page.select_text("main h1"), "1 of 7 items passed in the last 7 days");
    assert_eq!(responder.get("/targets/nowhere/report").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn past_weeks_can_be_read_but_not_attested() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let page = responder.get("/targets/app/report?weeks=2").await;
    assert!(page.select_text("main h1").starts_with("0 of 7 items passed in the week to "));
    assert_eq!(page.count_elements("main form"), 0);
    let links = page.select_attributes(".actions a", "href");
    let expected =
        ["report?weeks=3", "report?weeks=1", "report.html?weeks=2"].map(|end| format!("/targets/app/{end}"));
    assert_eq!(links, expected);
    let saved = responder.get("/targets/app/report.html?weeks=2").await;
    assert_eq!(saved.status, StatusCode::OK);
    assert!(saved.body.contains("Checklist of app"));
}
