use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;

use super::super::test_dashboard::TestDashboard;

/// Returns a dashboard whose target is a new demo database, and the directory that holds it.
fn demonstration() -> (tempfile::TempDir, TestDashboard) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.db");
    sessionwatch_app::demo::create_database(&path, sessionwatch_clock::now()).unwrap();
    let url = format!("sqlite:{}", path.display());
    (folder, TestDashboard::with_config(&format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\n")))
}

#[tokio::test]
async fn sessions_are_listed_by_prefix_and_lead_to_their_users() {
    let (_folder, dashboard) = demonstration();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/targets/app/sessions?status=active").await;
    assert_eq!(page.status, StatusCode::OK);
    let prefixes = page.select_texts("main tbody td:first-child code");
    assert!(prefixes.len() > 10, "{prefixes:?}");
    assert!(prefixes.iter().all(|prefix| prefix.chars().count() <= 9), "{prefixes:?}");
    let user = page.select_attributes("main tbody a", "href").remove(0);
    assert!(user.starts_with("/targets/app/users/"), "{user}");
    let page = viewer.get(&user).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.count_elements("main tbody tr") > 0);
}

#[tokio::test]
async fn an_unknown_status_is_rejected_and_an_unreachable_database_is_reported() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/targets/app/sessions?status=late").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    let page = viewer.get("/targets/app/sessions").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        page.select_text("main p.empty").starts_with("Cannot query the database"),
        "{}",
        page.select_text("main p.empty")
    );
}

#[tokio::test]
async fn exports_list_the_same_sessions_without_tokens() {
    let (_folder, dashboard) = demonstration();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let lines = viewer.get("/targets/app/sessions.csv").await.body;
    let header = lines.lines().next().unwrap();
    assert!(header.starts_with("token,id,user,expires"), "{header}");
    let document: serde_json::Value =
        serde_json::from_str(&viewer.get("/targets/app/sessions.json").await.body).unwrap();
    assert_eq!(document["truncated"], false);
    let sessions = document["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), lines.lines().count() - 1);
    for session in sessions {
        assert!(session["token_prefix"].as_str().unwrap().chars().count() <= 8, "{session}");
    }
}

#[tokio::test]
async fn the_doctor_and_the_query_of_a_check_are_shown() {
    let (_folder, dashboard) = demonstration();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/targets/app/doctor").await;
    assert_eq!(page.select_text("main h1"), "Doctor: app");
    assert_eq!(page.count_elements("main ul.list > li"), page.count_elements("main ul.list > li > .mark"));
    assert!(page.count_elements("main ul.list > li") > 5);
    let page = viewer.get("/targets/app/checks/duplicate-tokens/query").await;
    let query = page.select_text("pre.draft");
    assert!(query.starts_with("SELECT") && query.ends_with(';'), "{query}");
}
