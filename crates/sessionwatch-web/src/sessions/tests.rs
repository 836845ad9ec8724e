use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_store::latest_reports;

use super::{super::test_dashboard::TestDashboard, *};

#[tokio::test]
async fn sessions_are_listed_by_prefix_and_open_in_a_side_panel() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/targets/app/sessions?status=active").await;
    assert_eq!(page.status, StatusCode::OK);
    let prefixes = page.select_texts("main tbody td.mono:nth-last-child(2)");
    assert!(prefixes.len() > 10, "{prefixes:?}");
    assert!(prefixes.iter().all(|prefix| prefix.chars().count() <= 8), "{prefixes:?}");
    assert_eq!(page.count_elements("main aside.panel"), 0);
    // A viewer cannot select rows for a plan.
    assert_eq!(page.count_elements("main input[type=checkbox], main form[method=post]"), 0);
    let open = page.select_attributes("main tbody .who a", "href").remove(0);
    assert!(open.contains("status=active") && open.contains("&open="), "{open}");
    let page = viewer.get(open.split('#').next().unwrap()).await;
    assert_eq!(page.count_elements("main tbody tr.open"), 1);
    assert_eq!(page.count_elements("main aside.panel form"), 0);
    let user = page.select_attributes("main aside.panel .panel-foot a", "href").remove(0);
    assert!(user.starts_with("/targets/app/users/"), "{user}");
    assert_eq!(viewer.get(&user).await.status, StatusCode::OK);
}

#[tokio::test]
async fn filters_are_shown_with_links_that_remove_them() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/targets/app/sessions?status=active&find=%3Cb%3Eada&sort=user&order=up").await;
    assert_eq!(page.select_texts("main .chip b"), ["active", "<b>ada"]);
    let remove = page.select_attributes("main .chip > a", "href");
    assert_eq!(
        remove,
        [
            "/targets/app/sessions?find=%3Cb%3Eada&sort=user&order=up",
            "/targets/app/sessions?status=active&sort=user&order=up"
        ]
    );
    assert_eq!(page.select_text("main h1"), "No active session matches");
    assert_eq!(page.select_text("main .empty b"), "No matching sessions");
    for (query, headline) in
        [("problem=shared", "6 sessions share a token"), ("problem=orphaned", "14 sessions are orphaned")]
    {
        let page = viewer.get(&format!("/targets/app/sessions?{query}")).await;
        assert_eq!(page.select_text("main h1"), headline);
        assert_eq!(page.count_elements(".tabs [aria-current]"), 1);
    }
    let page = viewer.get("/targets/app/sessions?created=hour").await;
    let created = page.select_attributes("main tbody td.end:nth-last-child(5) time", "datetime");
    assert!(created.len() > 20 && created.is_sorted_by(|one, other| one >= other), "{created:?}");
}

#[tokio::test]
async fn selected_sessions_become_one_plan_of_exactly_these_rows() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let page = responder.get("/targets/app/sessions?problem=shared").await;
    let ids = page.select_attributes("main tbody input[name=id]", "value");
    assert_eq!(ids.len(), 6);
    let post = async |ids: &[&str]| {
        let mut fields = vec![("target", "app"), ("kind", "sessions")];
        fields.extend(ids.iter().map(|id| ("id", *id)));
        responder.post("/cleanup", &fields).await
    };
    assert_eq!(post(&[]).await.status, StatusCode::BAD_REQUEST);
    // A token, or a session that has ended since, is refused as a whole, and not stored.
    let refused = post(&[&ids[0], "no-such-session"]).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    assert!(refused.body.contains("cannot find 1 of 2 selected sessions"), "{}", refused.body);
    let planned = post(&[&ids[0], &ids[2], &ids[0]]).await;
    assert_eq!(planned.status, StatusCode::SEE_OTHER, "{}", planned.body);
    let plans = dashboard.write_store(sessionwatch_store::plans::list_plans);
    assert_eq!(plans.len(), 1);
    assert_eq!(plans[0].row_count, 2);
}

#[tokio::test]
async fn an_unknown_status_is_rejected_and_an_unreachable_database_is_reported() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for query in ["status=late", "sort=color", "problem=all", "created=soon"] {
        let page = viewer.get(&format!("/targets/app/sessions?{query}")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let page = viewer.get("/targets/app/sessions").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page.select_text("main h1"), "Sessions are unavailable");
    let why = page.select_text("main .callout p");
    assert!(why.starts_with("Cannot query the database"), "{why}");
}

#[tokio::test]
async fn exports_list_the_same_sessions_without_tokens() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let lines = viewer.get("/targets/app/sessions.csv").await.body;
    let header = lines.lines().next().unwrap();
    assert!(header.starts_with("token_prefix,id,user,expires"), "{header}");
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
async fn the_number_of_sessions_never_falls_from_page_to_page() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for query in ["status=expired", "status=expired&sort=created&order=up", "status=expired&find=u"] {
        let mut path = format!("/targets/app/sessions?{query}");
        let (mut heads, mut listed) = (vec![], 0);
        loop {
            let page = viewer.get(&path).await;
            heads.push(page.select_text("main h1"));
            listed += page.count_elements("main tbody tr");
            let open = page.select_attributes("main tbody .who a", "href").remove(0);
            let open = viewer.get(open.split('#').next().unwrap()).await;
            assert_eq!(Some(&open.select_text("main h1")), heads.last(), "with an open session");
            match page.select_attributes("a[rel=next]", "href").first() {
                Some(next) => path.clone_from(next),
                None => break,
            }
        }
        let noun = if query.contains("find") { "expired sessions match" } else { "expired sessions" };
        let last = heads.pop().unwrap();
        assert_eq!(last, format!("{listed} {noun}"), "{query}");
        let expected: Vec<String> =
            (1..=heads.len()).map(|page| format!("More than {} {noun}", page * SESSION_PAGE_SIZE)).collect();
        assert!(listed > 200 && heads == expected, "{query}: {heads:?}");
    }
}

#[tokio::test]
async fn a_later_page_counts_with_the_last_run_only_if_that_counted_more() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let head = async |query: &str| {
        let page = viewer.get(&format!("/targets/app/sessions?status=expired{query}")).await;
        page.select_text("main h1")
    };
    // A link without the number of rows before it.
    let after = "&after=99999999999999999&id=";
    assert_eq!(head(after).await, "More expired sessions");
    assert_eq!(head(&format!("{after}&seen=x")).await, "More expired sessions");
    for (counted, expected) in [(421, "421 expired sessions"), (40, "More than 50 expired sessions")] {
        let report = serde_json::json!({ "stats": { "expired": counted, "sessions": 4_000 } }).to_string();
        dashboard.write_store(|db| latest_reports::upsert_report(db, "app", &report, dashboard.now()));
        assert_eq!(head("").await, expected);
    }
}
