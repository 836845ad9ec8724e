use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;

use super::*;
use crate::test_dashboard::{HOSTILE_TEXT, TestDashboard};

const ALERT: [(&str, &str); 2] = [("target", "app"), ("check", "duplicate-tokens")];

#[test]
fn a_silence_lasts_for_its_minutes_or_until_its_time() {
    let now = UtcTimestamp::from_micros(1_800_000_030_000_000).unwrap(); // 2027-01-15T08:00:30Z
    for (form, expected) in [
        ("minutes=1", Some(1)),
        ("minutes=527040", Some(527_040)),
        ("minutes=+60+", Some(60)),
        ("minutes=60&until=", Some(60)),
        ("minutes=527041", None),
        ("minutes=0", None),
        ("minutes=-1", None),
        ("minutes=1.5", None),
        ("minutes=99999999999999999999", None),
        ("minutes=", None),
        ("", None),
        // The chosen minute is inside the silence.
        ("until=2027-01-15T08:05", Some(5)),
        ("until=2027-01-15T08:05:30", Some(6)),
        ("until=2027-01-16T08:00&minutes=5", Some(1_440)),
        ("until=2028-01-16T08:00", Some(527_040)),
        ("until=2028-01-16T08:02", None),
        ("until=9999-12-31T23:59", None),
        ("until=2027-01-15T07:59", None),
        ("until=-9999-01-01T00:00", None),
        ("until=tomorrow&minutes=5", None),
        ("until=2027-02-30T00:00", None),
    ] {
        let minutes = parse_silence_minutes(&FormFields::parse(form.as_bytes()), now).ok();
        assert_eq!(minutes, expected, "{form}");
    }
}

#[tokio::test]
async fn a_silence_needs_a_reason_and_something_that_exists() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    for (fields, status) in [
        ([("check", "duplicate-tokens"), ("minutes", "60"), ("note", "  ")], StatusCode::BAD_REQUEST),
        ([("check", "duplicate-tokens"), ("minutes", "0"), ("note", "x")], StatusCode::BAD_REQUEST),
        ([("check", "duplicate-token"), ("minutes", "60"), ("note", "x")], StatusCode::NOT_FOUND),
        ([("target", "ap"), ("minutes", "60"), ("note", "x")], StatusCode::NOT_FOUND),
        ([("target", HOSTILE_TEXT), ("minutes", "60"), ("note", "x")], StatusCode::NOT_FOUND),
    ] {
        let page = responder.post("/silences", &fields).await;
        assert_eq!((page.status, page.count_elements("main script")), (status, 0), "{fields:?}");
    }
    let page = responder.get("/alerts").await;
    assert_eq!(page.count_elements("section[aria-labelledby=silences]"), 0);
    for id in ["", "x", "-1", "0", "1", "99999999999999999999"] {
        let page = responder.post("/silences/expire", &[("silence", id)]).await;
        assert!(page.status.is_client_error(), "{id}: {}", page.status);
    }
}

#[tokio::test]
async fn a_silence_of_one_user_leaves_the_alert_in_need_of_attention() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("user-session-excess", "medium", "2 users");
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let silence = async |subject: &str| {
        let fields =
            [("check", "user-session-excess"), ("subject", subject), ("minutes", "60"), ("note", "x")];
        assert_eq!(responder.post("/silences", &fields).await.status, StatusCode::SEE_OTHER);
        responder.get("/alerts").await
    };
    let page = silence("u1").await;
    assert_eq!(page.select_text("h1"), "1 alert needs attention");
    assert!(page.select_text("section[aria-labelledby=silences] td.first").ends_with(" for u1"));
    let page = silence("").await;
    assert_eq!(page.select_text("h1"), "No alert needs attention");
    assert_eq!(page.select_text("p.lead"), "1 is silenced.");
}

#[tokio::test]
async fn notes_are_kept_as_one_bounded_text_without_credentials() {
    let dashboard = TestDashboard::new();
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "1 token");
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let long = "ä".repeat(600);
    for note in ["see postgres://watch:hunter2@db/app", HOSTILE_TEXT, &long] {
        let fields: Vec<_> = ALERT.iter().copied().chain([("note", note)]).collect();
        let page = responder.post("/alerts/comment", &fields).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{note}");
    }
    let page = responder.get("/targets/app/checks/duplicate-tokens").await;
    let quotes = page.select_texts(".timeline .quote");
    assert_eq!(quotes, ["ä".repeat(500), HOSTILE_TEXT.to_owned(), "see postgres://watch:***@db/app".into()]);
    assert!(!page.body.contains("hunter2") && page.count_elements("main script:not([src])") == 0);
    let sql = "SELECT 1 FROM events WHERE detail LIKE '%hunter2%' OR summary LIKE '%hunter2%'";
    assert!(dashboard.write_store(|db| db.query_rows(sql, &[])).is_empty());
}

#[tokio::test]
async fn only_a_firing_alert_can_be_acknowledged_or_resolved() {
    let dashboard = TestDashboard::new();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    dashboard.insert_unknown_alert("duplicate-tokens", "the table is empty");
    for path in ["/alerts/acknowledge", "/alerts/resolve"] {
        for fields in [&ALERT[..], &[("target", "app"), ("check", HOSTILE_TEXT)], &[]] {
            let page = responder.post(path, fields).await;
            assert!(page.status.is_client_error(), "{path} {fields:?}: {}", page.status);
            assert_eq!(page.count_elements("main script"), 0);
        }
    }
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "1 token");
    assert_eq!(responder.post("/alerts/acknowledge", &ALERT).await.status, StatusCode::SEE_OTHER);
    let page = responder.get("/alerts").await;
    assert_eq!(page.select_text("section[aria-labelledby=acknowledged] .owner"), "by responder");
    assert_eq!(responder.post("/alerts/resolve", &ALERT).await.status, StatusCode::SEE_OTHER);
    assert_eq!(responder.post("/alerts/resolve", &ALERT).await.status, StatusCode::CONFLICT);
    assert_eq!(responder.get("/alerts").await.count_elements("ul.attn li"), 0);
}

#[test]
fn forms_return_only_to_pages_of_this_dashboard() {
    let back = |back: &str| {
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("back", back).finish();
        let response =
            axum::response::IntoResponse::into_response(redirect_back(&FormFields::parse(form.as_bytes())));
        response.headers()["location"].to_str().unwrap().to_owned()
    };
    for kept in ["/", "/targets/app", "/targets/app/users/u%2F1?x=1"] {
        assert_eq!(back(kept), kept);
    }
    for other in [
        "",
        "/alerts?x",
        "/settings",
        "//evil.example",
        "//targets/x",
        "/\\evil.example",
        "https://evil.example/targets/",
        "javascript:alert(1)",
        "/targets/\r\nset-cookie: x=1",
        "/targets/\tx",
        "/targets/é",
    ] {
        assert_eq!(back(other), "/alerts", "{other:?}");
    }
}
