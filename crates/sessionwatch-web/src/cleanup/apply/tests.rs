use axum::http::StatusCode;
use sessionwatch_app::app::{Actor, LiveEvent, accounts::AccountRole, plans::RestoreRequest};
use sessionwatch_store::plans;

use super::*;
use crate::test_dashboard::{TestBrowser, TestDashboard};

/// Creates a plan, and returns the path of its page.
async fn create_plan(browser: &TestBrowser<'_>, fields: &[(&str, &str)]) -> String {
    let fields: Vec<_> = [("target", "app")].iter().chain(fields).copied().collect();
    let planned = browser.post("/cleanup", &fields).await;
    assert_eq!(planned.status, StatusCode::SEE_OTHER, "{}", planned.body);
    planned.location.unwrap()
}

/// Applies a plan, and waits for the end of its job.
async fn apply(dashboard: &TestDashboard, browser: &TestBrowser<'_>, path: &str, fields: &[(&str, &str)]) {
    let mut events = dashboard.app.events.subscribe();
    let started = browser.post(&format!("{path}/apply"), fields).await;
    assert_eq!(started.location.as_deref(), Some(path), "{}", started.body);
    let id = path.strip_prefix("/plans/").unwrap();
    while dashboard.app.plan_jobs.get(id).unwrap().is_running() {
        assert!(matches!(events.recv().await, Ok(LiveEvent::TargetChanged { .. })));
    }
}

/// Returns how many sessions of a user are listed.
async fn count_sessions(browser: &TestBrowser<'_>) -> usize {
    browser.get("/targets/app/sessions?user=u1337").await.count_elements("main tbody tr")
}

#[tokio::test]
async fn an_applied_plan_removes_its_rows_once_and_can_be_undone() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let before = count_sessions(&responder).await;
    assert!(before >= 26, "{before}");
    let path = create_plan(&responder, &[("kind", "user"), ("user", "u1337")]).await;
    assert_eq!(count_sessions(&responder).await, before, "a plan changes nothing");
    apply(&dashboard, &responder, &path, &[]).await;
    assert_eq!(count_sessions(&responder).await, 0);
    let page = responder.get(&path).await;
    assert_eq!(page.select_texts(".callout b")[0], "Plan applied");
    assert_eq!(page.select_texts("main form button"), ["Restore…"]);
    let again = responder.post(&format!("{path}/apply"), &[]).await;
    assert_eq!(again.status, StatusCode::CONFLICT);

    // Viewers see what happened, but cannot undo it.
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/cleanup").await;
    assert_eq!(page.count_elements("section[aria-labelledby=archive] tbody tr"), 1);
    assert_eq!(page.count_elements("main form"), 0);
    let restore = path.replace("/plans/", "/archive/") + "/restore";
    assert_eq!(viewer.post(&restore, &[]).await.status, StatusCode::FORBIDDEN);

    let planned = responder.post(&restore, &[]).await;
    let back = planned.location.unwrap();
    assert_eq!(count_sessions(&responder).await, 0, "a plan changes nothing");
    apply(&dashboard, &responder, &back, &[]).await;
    assert_eq!(count_sessions(&responder).await, before);
    let page = responder.get(&path).await;
    assert_eq!(page.count_elements("main form"), 0, "nothing is left to restore");
    let archive = responder.get("/cleanup").await.select_texts("section[aria-labelledby=archive] td.end");
    assert_eq!(archive, ["Restored"]);
}

#[tokio::test]
async fn a_plan_that_exceeds_a_limit_is_applied_only_with_the_approval_of_another_person() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("require_approval = true\nmax_rows = 3");
    let (first, second) =
        (dashboard.log_in_as(AccountRole::Responder).await, dashboard.log_in_as(AccountRole::Admin).await);
    let path = create_plan(&first, &[("kind", "orphaned")]).await;
    let (approve, apply_path) = (format!("{path}/approve"), format!("{path}/apply"));
    let fields = [("confirm", "app")];
    assert_eq!(first.get(&path).await.select_texts("main form button"), ["Approve plan"]);
    assert_eq!(first.post(&apply_path, &fields).await.status, StatusCode::CONFLICT);

    // Nobody is both persons.
    assert_eq!(first.post(&approve, &[]).await.status, StatusCode::SEE_OTHER);
    let page = first.get(&path).await;
    assert_eq!(page.count_elements("main form"), 0);
    assert!(page.select_texts("main .callout-warn p")[0].contains("somebody else must apply it"));
    assert_eq!(first.post(&apply_path, &fields).await.status, StatusCode::CONFLICT);

    assert_eq!(second.post(&approve, &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(second.post(&apply_path, &fields).await.status, StatusCode::CONFLICT);
    assert_eq!(second.get(&path).await.count_elements("main form"), 0);
    let page = first.get(&path).await;
    assert!(page.select_text("main .meta").contains("Approved by admin"));
    assert_eq!(page.count_elements("#apply input[name=confirm]"), 1);
    for typed in [&[][..], &[("confirm", "App")], &[("confirm", "app'")]] {
        assert_eq!(first.post(&apply_path, typed).await.status, StatusCode::CONFLICT, "{typed:?}");
    }
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    assert_eq!(viewer.post(&apply_path, &fields).await.status, StatusCode::FORBIDDEN);
    apply(&dashboard, &first, &path, &fields).await;
    assert!(first.get(&path).await.select_text("main h1").starts_with("Deleted 14 "));
    assert_eq!(second.post(&approve, &[]).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn each_form_plans_the_rows_that_it_names() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    for (fields, rows) in [
        (vec![("kind", "user"), ("user", "u0042")], None),
        (vec![("kind", "user"), ("user", "u1337")], None),
        (vec![("kind", "orphaned")], Some(14)),
        (vec![("kind", "session"), ("session", "s000007")], Some(1)),
        (vec![("kind", "where"), ("user_like", "gone0")], Some(10)),
        (vec![("kind", "where"), ("user_like", "%")], Some(0)),
        (vec![("kind", "where"), ("user_like", "gone"), ("created_after", "2999-01-01T00:00")], Some(0)),
        (vec![("kind", "where"), ("created_before", "1970-01-01T00:00:01")], Some(0)),
        (vec![("kind", "expired"), ("hours", "8760")], Some(0)),
    ] {
        let path = create_plan(&responder, &fields).await;
        let stored = dashboard.write_store(plans::list_plans);
        let plan = stored.iter().find(|plan| path.ends_with(&plan.id)).unwrap();
        match rows {
            Some(rows) => assert_eq!(plan.row_count, rows, "{fields:?}"),
            None => assert!(plan.row_count >= 26, "{fields:?}: {}", plan.row_count),
        }
    }
    let listed = responder.get("/cleanup").await.count_elements("section[aria-labelledby=plans] tbody tr");
    assert_eq!(listed, 9);
    for fields in [
        [("kind", "user"), ("user", "nobody")],
        [("kind", "session"), ("session", "nothing")],
        [("kind", "user"), ("user", "u1' OR '1'='1")],
    ] {
        let fields: Vec<_> = [("target", "app")].iter().chain(&fields).copied().collect();
        let refused = responder.post("/cleanup", &fields).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{fields:?}");
    }
    let elsewhere = responder.post("/cleanup", &[("target", "nowhere"), ("kind", "orphaned")]).await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    let page = responder.get("/cleanup").await;
    assert_eq!(page.count_elements("section[aria-labelledby=plans] tbody tr"), listed, "none was created");
}

#[test]
fn progress_is_a_share_of_the_rows_and_an_estimate() {
    let progress = |done, total, rows_per_second, seconds: Option<u64>| {
        let time_left = seconds.map(Duration::from_secs);
        let progress = JobProgress { done, total, rows_per_second, time_left, is_waiting_for_replica: false };
        render_progress(progress).into_string()
    };
    let page = progress(3_000, 10_000, Some(499.6), Some(14));
    assert!(page.contains("3,000 of 10,000 rows") && page.contains("500 rows/s, about 14 s left"), "{page}");
    assert!(progress(0, 1, None, None).contains("0 of 1 row<"), "one row");
    assert!(progress(0, 1, None, None).contains("Starting"));
    // The meter is never wider than its track, and never empty.
    let page = progress(7, 5, Some(1e12), Some(u64::MAX));
    assert!(page.contains("class=\"m-fill\" width=\"5\"") && page.contains("viewBox=\"0 0 5 6\""), "{page}");
    let page = progress(0, 0, Some(0.0), Some(0));
    assert!(page.contains("viewBox=\"0 0 1 6\"") && page.contains("about 1 s left"), "{page}");
    for (seconds, expected) in [(119, "about 119 s"), (120, "about 2 min"), (3_599, "about 59 min")] {
        assert_eq!(format_estimate(Duration::from_secs(seconds)), expected);
    }
    let waiting = JobProgress {
        done: 1,
        total: 2,
        rows_per_second: Some(1.0),
        time_left: Some(Duration::ZERO),
        is_waiting_for_replica: true,
    };
    assert!(render_progress(waiting).into_string().contains("Waiting for a lagging replica"));
}

/// Restores the rows of one user, or all rows that are left.
async fn restore_rows(
    dashboard: &TestDashboard,
    browser: &TestBrowser<'_>,
    plan_id: &str,
    user: Option<&str>,
) {
    let target = dashboard.app.target("app").unwrap();
    let ops = TargetOps::new(&dashboard.app, target, &Actor::from_account("responder"));
    let request = RestoreRequest { plan_id: plan_id.to_owned(), user: user.map(str::to_owned) };
    let plan = app_plans::create_restore_plan(ops, request).await.unwrap();
    apply(dashboard, browser, &format!("/plans/{}", plan.record.id), &[]).await;
}

#[tokio::test]
async fn rows_can_be_restored_until_none_is_left_in_the_archive() {
    let (_folder, dashboard) = TestDashboard::with_demo_database("");
    let responder = dashboard.log_in_as(AccountRole::Responder).await;
    let path = create_plan(&responder, &[("kind", "where"), ("user_like", "u133")]).await;
    let id = path.strip_prefix("/plans/").unwrap();
    apply(&dashboard, &responder, &path, &[]).await;
    let button = "form[action^='/archive/'] button";
    for (user, is_complete) in [(Some("u1337"), false), (None, true)] {
        restore_rows(&dashboard, &responder, id, user).await;
        let archive = app_plans::find_archive(&dashboard.app, id).await.unwrap().unwrap();
        // The first user has most of the rows: more are restored than are left.
        assert!(archive.restored_rows > archive.restorable_rows, "{archive:?}");
        assert_eq!(archive.restorable_rows == 0, is_complete, "{archive:?}");
        let (page, list) = (responder.get(&path).await, responder.get("/cleanup").await);
        let expected: &[&str] = if is_complete { &[] } else { &["Restore…"] };
        assert_eq!(page.select_texts(button), expected, "{archive:?}");
        assert_eq!(list.select_texts(button), expected, "{archive:?}");
        let shown = list.select_text("section[aria-labelledby=archive] td.end");
        assert_eq!(shown, if is_complete { "Restored" } else { "Restore…" });
        let undo = page.select_texts("main .callout b").pop().unwrap();
        assert_eq!(undo == "All rows are restored", is_complete, "{undo}");
        assert_eq!(undo.starts_with("Can be undone until"), !is_complete, "{undo}");
    }
}
