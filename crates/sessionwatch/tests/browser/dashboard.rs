//! The dashboard, as people use it: in a real browser, before a real database.

use testkit::{ACCOUNT_PASSWORD, Daemon, Login};

use crate::{
    driver::{Browser, DESK, Look},
    scene::{Scene, run},
};
use serde_json::Value;

/// A token on rows of two users.
const LEAK: &str = r#"UPDATE sessions SET "sessionToken" = (SELECT "sessionToken" FROM sessions WHERE id = 's1') WHERE id = 's2'"#;

/// Logs in without a browser: the cookie.
fn cookie(address: &str, name: &str) -> String {
    Login::start(address, name).cookie
}

/// What forms of that log-in carry.
fn form(address: &str, cookie: &str) -> String {
    let page = testkit::http::get_with(address, "/alerts", &[("cookie", cookie)]).body;
    let (_, rest) = page.split_once("name=\"form\" value=\"").unwrap();
    rest[..64].to_owned()
}

/// Whether the browser complains of one of these pages, that it is not there.
fn is_missing(said: &str, pages: &[&str]) -> bool {
    said.contains("404") && pages.iter().any(|page| said.contains(&format!("{page} ")))
}

fn count_sessions(scene: &Scene, condition: &str) -> u32 {
    let sql = format!("SELECT count(*) FROM sessions WHERE {condition}");
    scene.database.psql(&sql).unwrap().trim().parse().unwrap()
}

/// Every page that is at hand, and some that are reached from there.
const PAGES: [&str; 17] = [
    "/",
    "/targets/app",
    "/targets/app/checks/duplicate-tokens",
    "/targets/app/sessions",
    "/targets/app/users/8",
    "/alerts",
    "/logs",
    "/incidents",
    "/cleanup/app",
    "/checklist/app",
    "/audit",
    "/settings",
    "/login",
    "/targets/none",
    "/targets/app/doctor",
    "/targets/app/checks/duplicate-tokens/query",
    "/nothing",
];

#[test]
fn the_first_account_is_made_by_a_link_that_holds_once_and_a_leak_is_seen_contained_and_undone() {
    let scene = Scene::new(&[]);
    run(async {
        let browser = Browser::open(&scene.watch.address, DESK).await;
        browser.goto("/").await;
        browser.shows("Nobody has an account yet").await;
        let link = scene.link.clone().unwrap();
        browser.goto(&link).await;
        browser.fill("form", "name", "ada").await;
        browser.fill("form", "password", ACCOUNT_PASSWORD).await;
        browser.press("form").await;
        browser.shows("ada · admin").await;
        browser.goto(&link).await;
        browser.shows("This link was used").await;

        // A leak appears while the page is open.
        browser.goto("/").await;
        browser.shows("Overview").await;
        scene.database.psql(LEAK).unwrap();
        scene.logged("[AUTH-ADAPTER] Duplicate session token detected { existingUserId: 2, newUserId: 3 }\n");
        browser.shows("nobody looks after").await;
        browser.shows("log-duplicate-token on app").await;
        browser.picture("overview").await;

        // Somebody looks after it.
        browser.goto("/targets/app/checks/log-duplicate-token").await;
        browser.shows("Duplicate session token detected").await;
        browser.fill("form[action='/alerts/acknowledge']", "note", "on it <script>alert(1)</script>").await;
        browser.press("form[action='/alerts/acknowledge']").await;
        browser.shows("ada looks after it: on it <script>alert(1)</script>").await;
        browser.picture("check").await;

        // The shared token is ended, and that is undone.
        browser.goto("/cleanup/app").await;
        let duplicates = "form:has(input[value=duplicates])";
        browser.press(duplicates).await;
        browser.shows("Carry out this plan").await;
        browser.picture("plan").await;
        let count = || count_sessions(&scene, "true");
        let before = count();
        browser.press("form.stack").await;
        browser.shows("2 rows done, 0 skipped").await;
        assert_eq!(count(), before - 2);

        // A wrong step is undone.
        let (before, of_user) = (count(), count_sessions(&scene, "\"userId\" = 30"));
        browser.goto("/targets/app/users/30").await;
        browser.press("main form[action='/cleanup/app']").await;
        browser.shows("Carry out this plan").await;
        browser.press("form.stack").await;
        browser.shows("0 skipped").await;
        assert!(of_user > 0 && count() == before - of_user);
        let plan = browser.page.current_url().await.unwrap();
        let plan = plan.path().rsplit('/').next().unwrap().to_owned();
        browser.goto("/cleanup/app").await;
        browser.press(&format!("form[action='/archive/{plan}/restore']")).await;
        browser.shows("Carry out this plan").await;
        browser.press("form.stack").await;
        browser.shows(" done, ").await;
        assert_eq!(count(), before);
        browser.goto("/audit").await;
        browser.shows("plan-carried-out").await;
        browser.shows("all agree").await;
        let complaints = browser.complaints().await;
        assert!(complaints.iter().all(|said| is_missing(said, &[&link])), "{complaints:?}");
    });
    assert_eq!(scene.watch.stop(), Some(0));
}

/// The form by which one goes on to the next step.
const NEXT: &str = "section.card > form[action$='/next']";

#[test]
fn an_emergency_is_led_from_a_leak_to_a_closed_incident() {
    let scene = Scene::new(&[("ada", "responder")]);
    scene.database.psql(LEAK).unwrap();
    scene.logged("[AUTH-ADAPTER] Duplicate session token detected { existingUserId: 2, newUserId: 3 }\n");
    run(async {
        let browser = Browser::open(&scene.watch.address, DESK).await;
        browser.log_in("ada", ACCOUNT_PASSWORD).await;
        browser.shows("log-duplicate-token on app").await;
        browser.goto("/targets/app/checks/log-duplicate-token").await;
        let open = "form[action='/incidents']";
        browser.fill(open, "summary", "two people share a log-in <b>").await;
        browser.press(open).await;
        browser.shows("Next: Make sure that it is real").await;
        browser.shows("two people share a log-in <b>").await;
        browser.press(NEXT).await;
        browser.shows("Next: Find out who is affected").await;
        let find = "form:has(input[name=find])";
        browser.fill(find, "find", "uSER 17").await;
        browser.press(find).await;
        browser.shows("17, User 17").await;
        browser.fill(NEXT, "note", "users 2 and 3").await;
        browser.press(NEXT).await;
        browser.shows("Next: Freeze the evidence").await;
        browser.press("form[action$='/evidence']").await;
        browser.shows("was downloaded, sealed to age1").await;
        browser.picture("incident").await;
        browser.press(NEXT).await;
        browser.shows("Next: Tell the team").await;
        browser.fill(NEXT, "note", "on the call").await;
        browser.press(NEXT).await;
        browser.shows("Next: End the sessions").await;
        assert_eq!(browser.violations().await, Vec::<String>::new());

        // Sessions are ended: a plan first, then exactly that.
        let users = "form:has(input[value=users])";
        browser.fill(users, "users", "2 3").await;
        browser.press(users).await;
        browser.shows("Carry out this plan").await;
        browser.press("form.stack").await;
        browser.shows("4 rows done, 0 skipped").await;
        browser.follow("Back to the incident").await;
        browser.shows("contained").await;
        browser.press(NEXT).await;
        browser.shows("Next: Sign in and sign out").await;
        browser.fill(NEXT, "note", "both work").await;
        browser.press(NEXT).await;
        browser.shows("Next: Tell the users").await;
        browser.fill(NEXT, "note", "mail to both").await;
        browser.press(NEXT).await;
        browser.shows("Next: Watch for 24 hours").await;

        is_closed_in_the_end(&browser).await;
    });
    assert_eq!(scene.watch.stop(), Some(0));
}

/// It cannot be closed yet; what is passed over needs a reason.
async fn is_closed_in_the_end(browser: &Browser) {
    let incident = browser.page.current_url().await.unwrap().path().to_owned();
    assert_eq!(browser.submits(&format!("{incident}/close"), "").await, 409);
    assert_eq!(browser.submits(&format!("{incident}/next"), "step=watch&said=skip").await, 400);
    assert_eq!(browser.submits(&format!("{incident}/next"), "step=team&said=done").await, 409);
    assert_eq!(
        browser.submits(&format!("{incident}/next"), "step=watch&said=skip&note=a+rehearsal").await,
        200
    );
    browser.goto(&incident).await;
    browser.shows("Next: Find the root cause").await;
    let cause = "section.card form[action$='/set']";
    browser.fill(cause, "text", "a shared cache of pages").await;
    browser.press(cause).await;
    browser.press(NEXT).await;
    browser.shows("Next: Write the report").await;
    browser.fill(NEXT, "note", "in the wiki").await;
    browser.press(NEXT).await;
    browser.shows("Every step was gone through").await;
    browser.shows("`watch` was passed over").await;
    browser.fill("form[action$='/close']", "reason", "it was a rehearsal").await;
    browser.press("form[action$='/close']").await;
    browser.shows("closed, opened").await;
    browser.goto(&format!("{incident}/report")).await;
    browser.shows("a shared cache of pages").await;
    browser.shows("Users whose sessions were ended: 2").await;
}

#[test]
fn every_page_is_accessible_in_both_themes_and_fits_a_phone_and_a_wall() {
    let scene = Scene::new(&[("ada", "admin")]);
    scene.logged("[SESSION-CALLBACK] User ID mismatch { sessionUserId: 7, dbUserId: 8, sessionToken: 'token-aa...' }\n");
    run(async {
        let (phone, wall) = (Look { width: 360, dark: false }, Look { width: 3840, dark: false });
        for look in [DESK, phone, wall, Look { dark: true, ..DESK }] {
            let browser = Browser::open(&scene.watch.address, look).await;
            browser.log_in("ada", ACCOUNT_PASSWORD).await;
            browser.shows("ada · admin").await;
            // The watch may still take its first look.
            browser.shows("Looked at").await;
            let mut wrong = vec![];
            for path in PAGES {
                browser.goto(path).await;
                let found = browser.violations().await;
                wrong.extend(found.into_iter().map(|found| format!("{path} {look:?}: {found}")));
                let weight = browser.weight().await;
                if !(1_000..150_000).contains(&weight) {
                    wrong.push(format!("{path} {look:?}: it weighs {weight} bytes"));
                }
                if browser.is_too_wide().await {
                    wrong.push(format!("{path} {look:?}: it is wider than the window"));
                }
                if look.width == DESK.width {
                    let name = path.trim_matches('/').replace('/', "-");
                    let name = if name.is_empty() { "start".to_owned() } else { name };
                    browser.picture(&format!("{name}{}", if look.dark { "-dark" } else { "" })).await;
                }
            }
            let complaints = browser.complaints().await;
            wrong.extend(
                complaints.into_iter().filter(|said| !is_missing(said, &["/targets/none", "/nothing"])),
            );
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        }
    });
    assert_eq!(scene.watch.stop(), Some(0));
}

#[test]
fn who_only_looks_changes_nothing_and_forms_of_others_are_refused() {
    let scene = Scene::new(&[("vera", "viewer"), ("rob", "responder")]);
    let address = scene.watch.address.clone();
    let get =
        |cookie: &str, path: &str| testkit::http::get_with(&address, path, &[("cookie", cookie)]).parts();
    let (vera, rob) = (cookie(&address, "vera"), cookie(&address, "rob"));
    let form = |cookie: &str| form(&address, cookie);
    let silence = |cookie: &str, form: &str, headers: &[(&str, &str)]| {
        let body = format!("form={form}&check=blind&note=x&minutes=60");
        let headers = [&[("cookie", cookie)], headers].concat();
        testkit::http::post(&address, "/alerts/silence", &headers, body.as_bytes()).status
    };
    assert_eq!(get(&vera, "/alerts").0, 200);
    assert_eq!(silence(&vera, &form(&vera), &[]), 403);
    assert_eq!(silence(&rob, "", &[]), 400);
    assert_eq!(silence(&rob, &form(&vera), &[]), 400);
    assert_eq!(silence(&rob, &form(&rob), &[("sec-fetch-site", "cross-site")]), 400);
    assert_eq!(silence(&rob, &form(&rob), &[("origin", "https://evil.example")]), 400);
    assert_eq!(silence(&rob, &form(&rob), &[]), 303);
    assert_eq!(silence("sessionwatch=0", &form(&rob), &[]), 401);
    assert_eq!(get("", "/alerts").0, 303);
    for (path, status) in [
        ("/targets/%3Cscript%3E", 404),
        ("/targets/app/sessions?status=%27%22", 400),
        ("/targets/app/sessions?user=%27%3B+DROP+TABLE+sessions%3B--", 200),
        ("/targets/app/sessions?after=x&id=%27", 200),
        ("/targets/app/sessions?sort=user&after=1&id=s1", 200),
        ("/targets/app/sessions?sort=id&after=1&id=%00", 200),
        ("/targets/app/sessions?user=%00&token=%00", 200),
        ("/targets/app/users/%00", 200),
        ("/targets/app/sessions?sort=token", 400),
        ("/targets/app/users/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 200),
        ("/plans/nothing", 404),
        ("/incidents/nothing", 404),
        ("/audit?days=99999999999999999999", 400),
    ] {
        let (found, page) = get(&vera, path);
        assert_eq!(found, status, "{path}: {page}");
        assert!(!page.contains("<script>"), "{path}: {page}");
        assert!(page.contains("content-security-policy: default-src 'none'"), "{path}: {page}");
    }
    assert!(scene.database.psql("SELECT count(*) FROM sessions").is_ok());
    // Whoever guesses is stopped.
    let guess = || testkit::http::post(&address, "/login", &[], b"name=rob&password=wrong").status;
    let statuses: Vec<u16> = (0..12).map(|_| guess()).collect();
    assert_eq!((statuses[0], statuses[9], statuses[10]), (401, 401, 429), "{statuses:?}");
    assert_eq!(scene.watch.stop(), Some(0));
    // Neither tokens nor passwords are in the store.
    let bytes = std::fs::read(scene.folder.path().join("sessionwatch-state.db")).unwrap();
    let token = vera.split_once('=').unwrap().1;
    for secret in [token.as_bytes(), ACCOUNT_PASSWORD.as_bytes()] {
        assert!(memchr::memmem::find(&bytes, secret).is_none());
    }
}

#[test]
fn who_can_be_reached_from_elsewhere_offers_no_link() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n[serve]\nlisten = \"0.0.0.0:0\"\n",
        testkit::healthy().url("postgres")
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let says = || {
        let mut watch = Daemon::start(folder.path());
        let line = watch.next_line();
        assert_eq!(watch.stop(), Some(0));
        line
    };
    assert!(says().contains("The dashboard is closed"));
    testkit::add_account(folder.path(), "ada", "admin");
    assert!(says().contains("The dashboard is on http://0.0.0.0:"));
}

#[test]
fn while_the_database_does_not_answer_pages_say_what_is_known() {
    let scene = Scene::new(&[("vera", "viewer")]);
    let address = scene.watch.address.clone();
    let cookie = cookie(&address, "vera");
    let get = |path: &str| testkit::http::get_with(&address, path, &[("cookie", &cookie)]).parts();
    testkit::wait_until("the first look", || get("/").1.contains("Looked at"));
    scene.database.psql("ALTER TABLE sessions RENAME COLUMN expires TO gone").unwrap();
    let (status, page) = get("/targets/app/sessions");
    assert_eq!((status, page.contains("The database of app cannot be asked")), (503, true), "{page}");
    let (status, page) = get("/targets/app/users/8");
    assert_eq!((status, page.contains("What the logs say is below")), (200, true), "{page}");
    assert!(get("/").1.contains("Looked at") && get("/targets/app").0 == 200);
    scene.database.psql("ALTER TABLE sessions RENAME COLUMN gone TO expires").unwrap();
    assert_eq!(get("/targets/app/sessions").0, 200);
    assert_eq!(scene.watch.stop(), Some(0));
}

#[test]
fn sessions_are_paged_through_without_missing_or_repeating_any() {
    let scene = Scene::new(&[("ada", "viewer")]);
    scene
        .database
        .psql(
            r#"INSERT INTO sessions SELECT 'p' || n, 'paged-' || n, 1 + n % 60, timestamp '2030-01-01' + (n % 7) * interval '1 day' FROM generate_series(1, 350) AS n"#,
        )
        .unwrap();
    let address = scene.watch.address.clone();
    let cookie = cookie(&address, "ada");
    for order in ["down", "up"] {
        let mut path = format!("/targets/app/sessions?order={order}");
        let mut ids = vec![];
        loop {
            let (status, page) = testkit::http::get_with(&address, &path, &[("cookie", &cookie)]).parts();
            assert_eq!(status, 200, "{page}");
            let rows = page.split("…</code></td><td>").skip(1);
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
    assert_eq!(scene.watch.stop(), Some(0));
}

#[test]
fn the_conditions_of_a_form_make_a_plan_of_what_fits_and_the_latest_is_listed_first() {
    let scene = Scene::new(&[("rob", "responder")]);
    let address = scene.watch.address.clone();
    let cookie = cookie(&address, "rob");
    let form = form(&address, &cookie);
    let post = |fields: &str| {
        let body = format!("form={form}&kind=where&{fields}");
        testkit::http::post(&address, "/cleanup/app", &[("cookie", &cookie)], body.as_bytes()).parts()
    };
    let get = |path: &str| testkit::http::get_with(&address, path, &[("cookie", &cookie)]).body;
    for (fields, refused, said) in [
        ("", 400, "Say at least one condition"),
        ("expires_before=yesterday", 400, "is a date and a time, in UTC"),
        ("created_after=2026-01-01T00:00", 409, "no column of"),
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
        assert!(page.contains(&format!("<dt>Rows</dt><dd>{rows} of 90</dd>")), "{fields}: {page}");
        path
    };
    let first = planned("user_like=USER+7", "2");
    // The rows of the guide's table end an hour, two hours and so on from now.
    let last = planned("expires_before=9999-01-01T00:00&user_like=user+8", "2");
    let list = get("/cleanup/app");
    let at = |path: &str| list.find(&format!("href=\"{path}\"")).unwrap();
    assert!(at(&last) < at(&first), "{list}");
    assert_eq!(scene.watch.stop(), Some(0));
}

/// Has the watch look now, and not only when it is time.
fn look_now(scene: &Scene) {
    assert_eq!(testkit::http::post(&scene.watch.address, "/awake/app", &[], b"").status, 202);
}

#[test]
fn the_overview_goes_red_by_itself_and_green_again_after_a_cleanup_also_when_its_connection_was_lost() {
    let mut scene = Scene::new(&[("ada", "responder")]);
    run(async {
        let browser = Browser::open(&scene.watch.address, DESK).await;
        browser.log_in("ada", ACCOUNT_PASSWORD).await;
        browser.shows("All is well.").await;
        // The daemon goes and comes back, and with it the stream of events; nobody loads the page anew.
        let port = scene.watch.address.rsplit(':').next().unwrap().to_owned();
        let file = scene.folder.path().join("sessionwatch.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
        std::fs::write(&file, format!("{text}[alerts.critical]\nclear_looks = 1\n")).unwrap();
        scene.watch.signal("TERM");
        assert!(scene.watch.child.wait().unwrap().success());
        scene.watch = testkit::Daemon::start(scene.folder.path());
        scene.database.psql(LEAK).unwrap();
        look_now(&scene);
        browser.shows("duplicate-tokens on app").await;

        let other = Browser::open(&scene.watch.address, DESK).await;
        other.log_in("ada", ACCOUNT_PASSWORD).await;
        other.shows("ada · responder").await;
        other.goto("/cleanup/app").await;
        other.press("form:has(input[value=duplicates])").await;
        other.shows("Carry out this plan").await;
        other.press("form.stack").await;
        other.shows("a fresh look finds none left").await;
        // A look follows the cleanup by itself.
        browser.shows("All is well.").await;
    });
    assert_eq!(scene.watch.stop(), Some(0));
}

#[test]
fn two_people_who_look_after_the_same_alert_at_once_both_see_who_does() {
    let scene = Scene::new(&[("ada", "responder"), ("rob", "responder")]);
    scene.logged("[AUTH-ADAPTER] Duplicate session token detected { existingUserId: 2, newUserId: 3 }\n");
    run(async {
        let (ada, rob) = (
            Browser::open(&scene.watch.address, DESK).await,
            Browser::open(&scene.watch.address, DESK).await,
        );
        for (browser, name) in [(&ada, "ada"), (&rob, "rob")] {
            browser.log_in(name, ACCOUNT_PASSWORD).await;
            browser.shows("log-duplicate-token on app").await;
            browser.goto("/targets/app/checks/log-duplicate-token").await;
            browser.fill("form[action='/alerts/acknowledge']", "note", &format!("{name} is on it")).await;
        }
        let press = async |browser: &Browser| browser.press("form[action='/alerts/acknowledge']").await;
        tokio::join!(press(&ada), press(&rob));
        for browser in [&ada, &rob] {
            browser.shows("looks after it").await;
        }
        // Whoever was last does; both are on record, and both pages say the same in the end.
        ada.goto("/targets/app/checks/log-duplicate-token").await;
        rob.goto("/targets/app/checks/log-duplicate-token").await;
        let who = |text: String| {
            ["ada", "rob"].map(|name| text.contains(&format!("{name} looks after it: {name} is on it")))
        };
        let (seen, also) = (who(ada.text().await), who(rob.text().await));
        assert!(seen == also && seen[0] != seen[1], "{seen:?} {also:?}");
        ada.goto("/audit").await;
        assert_eq!(ada.text().await.matches("acknowledge").count(), 2);
        // What one resolves, the other cannot any more, and is told.
        let resolve = "form[action='/alerts/resolve']";
        rob.press(resolve).await;
        rob.shows("resolved by rob").await;
        let gone = "target=app&check=log-duplicate-token";
        assert_eq!(ada.submits("/alerts/resolve", gone).await, 409);
        // A comment is for everybody.
        rob.fill("form[action='/alerts/comment']", "note", "it was the cache").await;
        rob.press("form[action='/alerts/comment']").await;
        rob.shows("rob: it was the cache").await;
    });
    assert_eq!(scene.watch.stop(), Some(0));
}

#[test]
fn a_hundred_thousand_sessions_are_paged_through_in_a_browser() {
    let scene = Scene::new(&[("ada", "viewer")]);
    scene
        .database
        .psql(
            r#"INSERT INTO sessions SELECT 'p' || n, 'paged-' || n, 1 + n % 60, timestamp '2030-01-01' + n * interval '1 minute' FROM generate_series(1, 100000) AS n"#,
        )
        .unwrap();
    run(async {
        let browser = Browser::open(&scene.watch.address, DESK).await;
        browser.log_in("ada", ACCOUNT_PASSWORD).await;
        browser.shows("ada · viewer").await;
        browser.goto("/targets/app/sessions?sort=expires&order=down").await;
        for first in [100_000, 99_900, 99_800] {
            browser.shows(&format!("p{first}")).await;
            browser.shows(&format!("p{}", first - 99)).await;
            assert!(!browser.text().await.contains(&format!("p{} ", first - 100)), "{first}");
            browser.follow("Next page").await;
        }
        browser.shows("p99700").await;
        // Nothing has them in that order: by itself, a page reads so many in the order of their ids.
        scene.database.psql("ANALYZE sessions").unwrap();
        browser.goto("/targets/app/sessions?order=up").await;
        browser.shows("By row id").await;
        browser.shows("p10086").await;
        assert!(!browser.text().await.contains("p10087"));
        browser.follow("Next page").await;
        browser.shows("p10087").await;
        browser.goto("/targets/app/sessions?sort=created").await;
        browser.shows("does not say when sessions were created").await;
        browser.goto("/targets/app/sessions?sort=id").await;
        browser.shows("p99").await;
        assert!(!browser.text().await.contains("By end"));
        browser.goto("/targets/app/sessions?user=7").await;
        assert!(!browser.text().await.contains("By row id"));
        scene.database.psql("CREATE INDEX ON sessions (expires)").unwrap();
        browser.goto("/targets/app/sessions").await;
        browser.shows("p100000").await;
    });
    assert_eq!(scene.watch.stop(), Some(0));
}

#[test]
fn the_demonstration_leaks_within_a_minute_and_watches_its_own_log_ins() {
    let folder = tempfile::tempdir().unwrap();
    let mut watch =
        Daemon::spawn(testkit::command(&["demo", "--listen", "127.0.0.1:0"]).current_dir(folder.path()));
    watch.line_with("duplicate-tokens");
    let link = watch.line_with("/setup/");
    let (address, token) = link.trim().strip_prefix("http://").unwrap().split_once("/setup/").unwrap();
    watch.address = address.to_owned();
    run(async {
        let browser = Browser::open(address, DESK).await;
        browser.goto(&format!("/setup/{token}")).await;
        browser.fill("form", "name", "ada").await;
        browser.fill("form", "password", ACCOUNT_PASSWORD).await;
        browser.press("form").await;
        browser.shows("All is well.").await;
        browser.shows("log-duplicate-token on demo").await;
        browser.follow("log-duplicate-token").await;
        browser.shows("Is it an emergency?").await;
        browser.shows("Why it matters").await;
        browser.goto("/targets/dashboard/sessions").await;
        browser.shows("admin").await;
        assert!(browser.text().await.contains("ada"));
        browser.goto("/targets/dashboard/checks/duplicate-tokens/query").await;
        browser.shows("logins").await;
        browser.goto("/targets/demo/doctor").await;
        browser.shows("token-unique").await;
    });
    assert_eq!(watch.stop(), Some(0));
}
