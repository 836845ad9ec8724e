use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;

use super::super::test_dashboard::TestDashboard;

#[tokio::test]
async fn a_search_finds_users_sessions_checks_and_pages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.db");
    sessionwatch_app::demo::create_database(&path, sessionwatch_clock::now()).unwrap();
    let url = format!("sqlite:{}", path.display());
    let dashboard = TestDashboard::with_config(&format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\n"));
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "tokens are shared");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let search = async |text: &str| viewer.get(&format!("/search?part=results&q={text}")).await;
    let page = search("U1337").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.select_texts("h3"), ["Users"]);
    assert_eq!(page.select_attributes("a", "href"), ["/targets/app/users/u1337"]);
    let page = search("s000007").await;
    let session = "/targets/app/sessions?token=s000007&open=s000007";
    assert_eq!(page.select_attributes("a", "href"), [session]);
    assert_eq!(viewer.get(session).await.count_elements("main aside.panel"), 1);
    let page = search("duplicate").await;
    assert!(
        page.select_attributes("a", "href").contains(&"/targets/app/checks/duplicate%2Dtokens".to_owned())
    );
    // Nothing typed: the pages. The fragment has no frame.
    let page = search("").await;
    assert_eq!(page.select_texts("h3"), ["Pages and actions"]);
    assert_eq!(page.count_elements("main"), 0);
    let page = viewer.get("/search?q=%3Cb%3E").await;
    assert_eq!(page.select_text("main h1"), "Nothing found for “<b>”");
}

#[tokio::test]
async fn a_database_that_is_down_does_not_fail_the_search() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/search?q=alert").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.select_attributes("main .results a", "href").contains(&"/alerts".to_owned()));
    assert!(page.select_text("main .callout").contains("Cannot query the database"));
}
