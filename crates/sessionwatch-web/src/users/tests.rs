use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;

use super::super::test_dashboard::TestDashboard;

#[tokio::test]
async fn the_users_with_the_most_sessions_come_first_and_others_are_found() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/targets/app/users").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.select_texts("main tbody tr:first-child td.mono"), ["u0042"]);
    assert!(page.select_text("main .card-foot").starts_with("25 shown"));
    let page = viewer.get("/targets/app/users?find=U1337").await;
    assert_eq!(page.select_texts("main tbody td.mono"), ["u1337"]);
    assert!(page.select_text("main h1").starts_with("1 user matches"));
    let user = page.select_attributes("main tbody a", "href").remove(0);
    assert_eq!(user, "/targets/app/users/u1337");
    let page = viewer.get("/targets/app/users?find=%3Cb%3E").await;
    assert_eq!(page.select_text("main h1"), "No user matches “<b>”");
    assert_eq!(page.select_text("main .empty b"), "No user found");
}

#[tokio::test]
async fn the_page_of_a_user_shows_the_name_and_offers_actions_to_responders_only() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/targets/app/users/u1337").await;
    assert_ne!(page.select_text("main h1"), "u1337");
    assert_eq!(page.select_text("main .meta .mono"), "u1337");
    assert!(page.count_elements("main #active, main tbody tr") > 26);
    assert!(page.count_elements("main .timeline li") >= 26);
    assert_eq!(page.count_elements("main form[method=post]"), 0);
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let page = responder.get("/targets/app/users/u1337").await;
    assert!(page.select_texts("main .actions button").iter().any(|text| text.starts_with("Revoke all ")));
    let fields = [
        ("target", "app"),
        ("subject", "u1337"),
        ("minutes", "60"),
        ("note", "load test"),
        ("back", "/targets/app/users/u1337"),
    ];
    assert_eq!(responder.post("/silences", &fields).await.status, StatusCode::SEE_OTHER);
    let page = viewer.get("/targets/app/users/u1337").await;
    assert!(page.select_text("main .callout").contains("load test"));
}

#[tokio::test]
async fn a_user_without_sessions_or_database_still_has_a_page() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/targets/app/users/%3Cscript%3E").await;
    assert_eq!(page.select_text("main h1"), "<script>");
    assert_eq!(page.select_texts("main .empty b")[0], "No active session");
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/targets/app/users/u1").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.select_text("main .callout").contains("cannot be listed now"));
    let page = viewer.get("/targets/app/users").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.select_text("main .callout").contains("Cannot query the database"));
}

#[tokio::test]
async fn a_user_with_more_sessions_than_are_listed_has_true_figures() {
    let (folder, dashboard) = TestDashboard::with_demo_database("");
    let database = rusqlite::Connection::open(folder.path().join("demo.db")).unwrap();
    let add = "INSERT INTO sessions (id, \"sessionToken\", \"userId\", expires, \"createdAt\")
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150)
        SELECT 'more' || i, 'more-token-' || i, 'crowd', (SELECT MAX(expires) FROM sessions),
            (SELECT MAX(\"createdAt\") FROM sessions) FROM n";
    database.execute_batch(add).unwrap();
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let page = responder.get("/targets/app/users/crowd").await;
    assert_eq!(page.select_texts("main .stat-value")[0], "150");
    assert!(page.body.contains("150 sessions stored"), "{}", page.body);
    assert!(page.body.contains("100 of 150 shown"), "{}", page.body);
    assert!(page.body.contains("Revoke all 150 sessions…"), "{}", page.body);
    assert!(page.body.contains("This user does not exist"), "{}", page.body);
}
