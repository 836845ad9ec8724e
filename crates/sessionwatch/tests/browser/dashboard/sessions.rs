//! Sessions in a browser: paging, and selection for a plan.

use serde_json::Value;
use testkit::ACCOUNT_PASSWORD;

use super::{cookie, form};
use crate::{
    driver::{Browser, DESK},
    scene::{Scene, run},
};

#[test]
fn paging_neither_misses_nor_repeats_sessions() {
    let scene = Scene::new(&[("ada", "viewer")]);
    scene
        .database
        .psql(
            r#"INSERT INTO sessions SELECT 'p' || n, 'paged-' || n, 1 + n % 60,
                 timestamp '2030-01-01' + (n % 7) * interval '1 day' FROM generate_series(1, 350) AS n"#,
        )
        .unwrap();
    let address = scene.daemon.address.clone();
    let cookie = cookie(&address, "ada");
    for order in ["down", "up"] {
        let mut path = format!("/targets/app/sessions?order={order}");
        let mut ids = vec![];
        loop {
            let (status, page) = testkit::http::get_with_headers(&address, &path, &[("cookie", &cookie)])
                .into_status_and_text();
            assert_eq!(status, 200, "{page}");
            let rows = page.split("c-low cut\">").skip(1);
            ids.extend(rows.map(|row| row.split('<').next().unwrap().to_owned()));
            let Some((_, next)) = page.split_once("rel=\"next\" href=\"") else { break };
            path = next.split('"').next().unwrap().replace("&amp;", "&");
        }
        let expected: Value =
            serde_json::from_str(&scene.database.psql("SELECT count(*) FROM sessions").unwrap()).unwrap();
        assert_eq!(ids.len() as u64, expected.as_u64().unwrap(), "{order}");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len() as u64, expected.as_u64().unwrap(), "{order}");
    }
    assert_eq!(scene.daemon.stop(), Some(0));
}

#[test]
fn form_conditions_select_rows_for_a_plan_and_the_latest_plan_is_listed_first() {
    let scene = Scene::new(&[("rob", "responder")]);
    let address = scene.daemon.address.clone();
    let cookie = cookie(&address, "rob");
    let form = form(&address, &cookie);
    let post = |fields: &str| {
        let body = format!("form={form}&target=app&kind=where&{fields}");
        testkit::http::post(&address, "/cleanup", &[("cookie", &cookie)], body.as_bytes())
            .into_status_and_text()
    };
    let get = |path: &str| testkit::http::get_with_headers(&address, path, &[("cookie", &cookie)]).body;
    for (fields, refused, said) in [
        ("", 400, "Enter at least one condition"),
        ("expires_before=yesterday", 400, "must be a valid date and time (UTC)"),
        ("created_after=2026-01-01T00:00", 409, "and none is known for this target"),
    ] {
        let (status, page) = post(fields);
        assert!(status == refused && page.contains(said), "{fields}: {status} {page}");
    }
    let planned = |fields: &str, rows: &str| {
        let (status, answer) = post(fields);
        assert_eq!(status, 303, "{fields}: {answer}");
        let (_, rest) = answer.split_once("location: ").unwrap();
        let path = rest.lines().next().unwrap().trim().to_owned();
        let page = get(&path);
        assert!(page.contains(&format!("Revoke {rows} matching sessions")), "{fields}: {page}");
        path
    };
    let first = planned("user_like=USER+7", "2");
    // The sample sessions expire in one hour, two hours and so on.
    let last = planned("expires_before=9999-01-01T00:00&user_like=user+8", "2");
    let list = get("/cleanup?target=app");
    let at = |path: &str| list.find(&format!("href=\"{path}\"")).unwrap();
    assert!(at(&last) < at(&first), "{list}");
    assert_eq!(scene.daemon.stop(), Some(0));
}

#[test]
fn a_hundred_thousand_sessions_can_be_paged_through_in_a_browser() {
    let scene = Scene::new(&[("ada", "viewer")]);
    scene
        .database
        .psql(
            r#"INSERT INTO sessions SELECT 'p' || n, 'paged-' || n, 1 + n % 60,
                 timestamp '2030-01-01' + n * interval '1 minute' FROM generate_series(1, 100000) AS n"#,
        )
        .unwrap();
    run(async {
        let browser = Browser::open(&scene.daemon.address, DESK).await;
        browser.log_in("ada", ACCOUNT_PASSWORD).await;
        browser.shows_account("ada", "viewer").await;
        browser.goto("/targets/app/sessions?sort=expires&order=down").await;
        for first in [100_000, 99_950, 99_900] {
            browser.shows(&format!("p{first}")).await;
            browser.shows(&format!("p{}", first - 49)).await;
            assert!(!browser.text().await.contains(&format!("p{} ", first - 50)), "{first}");
            browser.follow("Next page").await;
        }
        browser.shows("p99850").await;
        // No index has this order, so a page of this many rows is sorted by row ID by default.
        scene.database.psql("ANALYZE sessions").unwrap();
        browser.goto("/targets/app/sessions?order=up").await;
        browser.shows("Sorted by row ID").await;
        browser.shows("p10040").await;
        assert!(!browser.text().await.contains("p10041"));
        browser.follow("Next page").await;
        browser.shows("p10041").await;
        browser.goto("/targets/app/sessions?sort=created").await;
        browser.shows("does not store when sessions were created").await;
        browser.goto("/targets/app/sessions?sort=id").await;
        browser.shows("s90").await;
        assert!(!browser.text().await.contains("Sorted by expiry"));
        browser.goto("/targets/app/sessions?user=7").await;
        assert!(!browser.text().await.contains("Sorted by row ID"));
        scene.database.psql("CREATE INDEX ON sessions (expires)").unwrap();
        browser.goto("/targets/app/sessions").await;
        browser.shows("p100000").await;
    });
    assert_eq!(scene.daemon.stop(), Some(0));
}
