use std::collections::BTreeSet;

use axum::http::StatusCode;
use jiff::SignedDuration;
use sessionwatch_app::app::accounts::AccountRole;

use super::{super::test_client::ApiClient, *};
use crate::{
    test_dashboard::TestDashboard,
    test_database::{TestSession, dashboard_with_sessions},
};

#[test]
fn a_cursor_survives_encoding() {
    for (sort, key, id) in [
        (SessionSort::Expires, 0, ""),
        (SessionSort::Created, -5, "a"),
        (SessionSort::Id, i64::MAX, "ÄÖ 7/.?"),
    ] {
        let place = SessionCursor::parse(&SessionCursor { sort, key, id: id.into() }.encode()).unwrap();
        assert_eq!((place.sort, place.key, place.id.as_str()), (sort, key, id));
    }
    for faulty in
        ["", "1.61", "e1", "ex.61", "e1.6", "e1.zz", "e+1.", "e1.6A", "u1.61", "e99999999999999999999."]
    {
        assert!(SessionCursor::parse(faulty).is_none(), "{faulty}");
    }
}

#[test]
fn any_cursor_of_the_pattern_is_read_and_any_other_is_not() {
    for (text, key, id) in [
        ("e0.", 0, ""),
        ("e-0.", 0, ""),
        ("c9999999999999999999.", i64::MAX, ""),
        ("i-9999999999999999999.", i64::MIN, ""),
        // No database accepts these bytes in a text.
        ("e1.ff", 1, "\u{fffd}"),
        ("e1.6100", 1, "a"),
    ] {
        let place = SessionCursor::parse(text).unwrap();
        assert_eq!((place.key, place.id.as_str()), (key, id), "{text}");
    }
    let (most, more) = (format!("e1.{}", "61".repeat(200)), format!("e1.{}", "61".repeat(201)));
    assert!(SessionCursor::parse(&most).is_some() && SessionCursor::parse(&more).is_none());
    for other in
        ["e", "e.", "e-.", "e--1.", "e1 .", "é1.", "e1.é", "e１.", "E1.", " e1.", "e1.61 ", "e1.6\u{0}"]
    {
        assert!(SessionCursor::parse(other).is_none(), "{other:?}");
    }
}

/// Returns the IDs of the sessions on all pages.
async fn list_ids(client: &ApiClient<'_>, query: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (vec![], String::new());
    loop {
        let page = client.get(&format!("/api/v1/targets/app/sessions?{query}{cursor}")).await;
        ids.extend(page.items().iter().map(|session| session["id"].as_str().unwrap().to_owned()));
        assert!(ids.len() < 10_000, "{query}: a session is listed twice");
        match page.json()["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn the_pages_of_a_list_hold_every_session_once_in_every_order() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let total = 4_105;
    for query in ["sort=expires", "sort=expires&order=up", "sort=created", "sort=created&order=up"] {
        let ids = list_ids(&client, &format!("{query}&limit=999")).await;
        let unique: BTreeSet<&String> = ids.iter().collect();
        assert_eq!((ids.len(), unique.len()), (total, total), "{query}");
    }
    let [active, expired] = ["active", "expired"].map(|status| format!("status={status}&limit=1000"));
    let (active, expired) = (list_ids(&client, &active).await, list_ids(&client, &expired).await);
    assert_eq!((active.len() + expired.len(), expired.len()), (total, 420));
}

#[tokio::test]
async fn a_cursor_continues_in_its_own_order() {
    // The later the ID, the earlier the expiry.
    let ids = ["s1", "s2", "s3", "ä 4/.?", "ö\"5'"];
    let session = |(hours, id): (i64, &'static str)| TestSession {
        id,
        expires_in: SignedDuration::from_hours(hours),
        ..TestSession::default()
    };
    let sessions: Vec<_> = (1..6).rev().zip(ids).map(session).collect();
    let (_folder, dashboard) = dashboard_with_sessions(&sessions);
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    assert_eq!(list_ids(&client, "sort=id&order=up&limit=2").await, ids);
    assert_eq!(list_ids(&client, "sort=expires&limit=1").await, ids);
    // The order of the parameter is not that of the cursor.
    let first = client.get("/api/v1/targets/app/sessions?sort=id&order=up&limit=2").await;
    let cursor = first.json()["next"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/targets/app/sessions?sort=expires&order=up&limit=2&cursor={cursor}");
    let next: Vec<_> = client.get(&path).await.items().iter().map(|session| session["id"].clone()).collect();
    assert_eq!(next, ids[2..4]);
    // By user, there is one page.
    let by_user = client.get("/api/v1/targets/app/sessions?sort=user&limit=3").await;
    assert_eq!((by_user.items().len(), &by_user.json()["next"]), (3, &serde_json::Value::Null));
}

#[tokio::test]
async fn users_are_found_by_a_part_of_their_text_and_have_a_document() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    let found = client.get("/api/v1/targets/app/users?find=U1337").await.items();
    assert_eq!((found.len(), &found[0]["id"]), (1, &"u1337".into()));
    for nobody in ["%25%25", "u1337%27", "%3Cscript%3E"] {
        let found = client.get(&format!("/api/v1/targets/app/users?find={nobody}")).await.items();
        assert!(found.is_empty(), "{nobody}: {found:?}");
    }
    client.get("/api/v1/targets/app/users").await.assert_problem(StatusCode::BAD_REQUEST, "find");
    let user = client.get("/api/v1/targets/app/users/u1337").await.json();
    let sessions = user["sessions"].as_array().unwrap();
    assert!(sessions.len() >= 26 && sessions.iter().all(|session| session["user"] == "u1337"), "{user}");
    assert!(user["unavailable"].is_null());
    let nobody = client.get("/api/v1/targets/app/users/%3Cscript%3E").await.json();
    assert_eq!((&nobody["id"], &nobody["sessions"]), (&"<script>".into(), &serde_json::json!([])));
}

#[tokio::test]
async fn an_unreachable_database_is_a_problem_but_the_history_of_a_user_stays() {
    let dashboard = TestDashboard::new();
    let client = ApiClient::with_role(&dashboard, AccountRole::Viewer).await;
    for path in ["sessions", "users?find=ada"] {
        let response = client.get(&format!("/api/v1/targets/app/{path}")).await;
        response.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "Cannot query the database");
        assert!(response.json()["next"].is_string(), "advice: {response:?}");
    }
    let user = client.get("/api/v1/targets/app/users/u1").await;
    assert_eq!((user.status, &user.json()["sessions"]), (StatusCode::OK, &serde_json::Value::Null));
    assert!(user.json()["unavailable"].as_str().unwrap().starts_with("Cannot query the database"));
    for path in ["sessions", "users?find=ada", "users/u1"] {
        let response = client.get(&format!("/api/v1/targets/nowhere/{path}")).await;
        response.assert_problem(StatusCode::NOT_FOUND, "Target “nowhere” not found.");
    }
}
