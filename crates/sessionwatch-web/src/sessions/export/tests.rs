use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use jiff::SignedDuration;
use sessionwatch_app::app::accounts::AccountRole;

use super::*;
use crate::{
    test_dashboard::{HOSTILE_TEXT, TestBrowser, TestDashboard},
    test_database::{TestSession, dashboard_with_sessions},
};

/// Requests an export, and returns its headers and its text.
async fn export(
    dashboard: &TestDashboard,
    browser: &TestBrowser<'_>,
    path: &str,
) -> (axum::http::HeaderMap, String) {
    let request = Request::get(path).header(header::COOKIE, &browser.cookie).body(Body::empty()).unwrap();
    let response = dashboard.send_request(request).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_csv_export_runs_no_formula_and_keeps_one_line_for_each_session() {
    let (_folder, dashboard) = dashboard_with_sessions(&[
        TestSession { id: "=1+1", user: "@SUM(A1)", name: None, ..TestSession::default() },
        TestSession { id: "a\nb,\"c\"", user: "-2+3", name: None, ..TestSession::default() },
        TestSession { id: "\u{202e}evil", user: HOSTILE_TEXT, name: None, ..TestSession::default() },
    ]);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let (headers, text) = export(&dashboard, &viewer, "/targets/app/sessions.csv?sort=id&order=up").await;
    assert_eq!(headers[header::CONTENT_TYPE], "text/csv; charset=utf-8");
    assert_eq!(headers[header::CONTENT_DISPOSITION], "attachment; filename=\"sessions.csv\"");
    assert_eq!(headers[TRUNCATED_HEADER], "false");
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.remove(0), "token_prefix,id,user,expires,status");
    // Without the prefix and the expiry, which differ from run to run.
    let fields = |line: &&str| {
        let record =
            csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes()).records().next();
        let record = record.unwrap().unwrap();
        [record[1].to_owned(), record[2].to_owned(), record[4].to_owned()]
    };
    let found: Vec<[String; 3]> = lines.iter().map(fields).collect();
    assert_eq!(
        found,
        [
            ["'=1+1", "'@SUM(A1)", "active"],
            ["a\u{fffd}b,\"c\"", "'-2+3", "active"],
            ["\u{fffd}evil", HOSTILE_TEXT, "active"]
        ]
    );
}

#[tokio::test]
async fn an_export_holds_the_sessions_of_the_filter_and_no_token() {
    let hour = SignedDuration::from_hours(1);
    let secret = |letter: &str| letter.repeat(40);
    let (a, b, c) = (secret("a"), secret("b"), secret("c"));
    let (_folder, dashboard) = dashboard_with_sessions(&[
        TestSession { id: "s1", token: &a, user: "u1", expires_in: hour, ..TestSession::default() },
        TestSession { id: "s2", token: &b, user: "u2", expires_in: -hour, ..TestSession::default() },
        TestSession { id: "s3", token: &c, user: "u10", expires_in: 2 * hour, ..TestSession::default() },
    ]);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for (query, expected) in [
        ("", vec!["s3", "s1", "s2"]),
        ("?order=up", vec!["s2", "s1", "s3"]),
        ("?status=active", vec!["s3", "s1"]),
        ("?status=expired", vec!["s2"]),
        ("?user=u1", vec!["s1"]),
        ("?user=U1", vec![]),
        ("?find=U1&sort=id&order=up", vec!["s1", "s3"]),
        ("?token=bbbbbbbb", vec!["s2"]),
        ("?token=s3", vec!["s3"]),
        ("?user=u1%27%20OR%201=1--", vec![]),
        ("?find=%25", vec![]),
    ] {
        let (_, json) = export(&dashboard, &viewer, &format!("/targets/app/sessions.json{query}")).await;
        let document: serde_json::Value = serde_json::from_str(&json).unwrap();
        let sessions = document["sessions"].as_array().unwrap();
        let ids: Vec<&str> = sessions.iter().map(|session| session["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
        let (_, csv) = export(&dashboard, &viewer, &format!("/targets/app/sessions.csv{query}")).await;
        let listed: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
        assert_eq!(listed, expected, "{query}");
        for token in [&a, &b, &c] {
            assert!(!json.contains(&token[..9]) && !csv.contains(&token[..9]), "{query}");
        }
    }
}

#[tokio::test]
async fn an_export_that_fails_is_an_error_and_not_an_empty_file() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for (path, expected) in [
        ("/targets/app/sessions.csv", StatusCode::SERVICE_UNAVAILABLE),
        ("/targets/app/sessions.json", StatusCode::SERVICE_UNAVAILABLE),
        ("/targets/nowhere/sessions.csv", StatusCode::NOT_FOUND),
        ("/targets/app/sessions.csv?status=late", StatusCode::BAD_REQUEST),
        ("/targets/app/sessions.json?sort=color", StatusCode::BAD_REQUEST),
    ] {
        let page = viewer.get(path).await;
        assert_eq!((page.status, page.count_elements("h1")), (expected, 1), "{path}");
    }
}

#[tokio::test]
async fn hostile_sessions_are_listed_and_opened_as_text() {
    let (_folder, dashboard) = dashboard_with_sessions(&[TestSession {
        id: HOSTILE_TEXT,
        user: HOSTILE_TEXT,
        name: Some(HOSTILE_TEXT),
        ip: Some(HOSTILE_TEXT),
        agent: Some(HOSTILE_TEXT),
        ..TestSession::default()
    }]);
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let list = responder.get("/targets/app/sessions").await;
    for column in ["td.fill", "td.c-mid", "td.c-low"] {
        list.assert_shows_hostile_text(&format!("main tbody {column}"));
    }
    assert_eq!(list.select_text("main tbody td.span"), HOSTILE_TEXT);
    let open = list.select_attributes("main tbody .who a", "href").remove(0);
    let panel = responder.get(open.split('#').next().unwrap()).await;
    panel.assert_shows_hostile_text("main aside.panel h2");
    assert_eq!(panel.select_texts("aside.panel dd").iter().filter(|text| *text == HOSTILE_TEXT).count(), 4);
    assert_eq!(panel.select_attributes("aside.panel dd[title]", "title"), [HOSTILE_TEXT]);
    panel.assert_shows_hostile_text("main aside.panel dd");
    assert_eq!(panel.select_attributes("aside.panel input[name=session]", "value"), [HOSTILE_TEXT]);
    let path = panel.select_attributes("main aside.panel .panel-foot a", "href").remove(0);
    responder.get(&path).await.assert_shows_hostile_text("main h1");
    responder.get("/targets/app/users").await.assert_shows_hostile_text("main tbody td");
    let search = format!("/search?q={}", crate::format::percent_encode("<script>"));
    responder.get(&search).await.assert_shows_hostile_text("main .results li");
    // The plan of exactly this row.
    let fields = [("target", "app"), ("kind", "session"), ("session", HOSTILE_TEXT)];
    let planned = responder.post("/cleanup", &fields).await;
    assert_eq!(planned.status, StatusCode::SEE_OTHER, "{}", planned.body);
    responder.get(planned.location.as_deref().unwrap()).await.assert_shows_hostile_text("main tbody td");
}
