//! The dashboard in a real browser, with a real database.

use testkit::{ACCOUNT_PASSWORD, DashboardLogin};

use crate::{
    driver::{Browser, DESK, Viewport},
    scene::{Scene, run},
};

mod access;
mod demo;
mod live;
mod sessions;
mod tasks;

/// Copies the token of one user's session to another user's.
const LEAK: &str = r#"UPDATE sessions SET "sessionToken" = (SELECT "sessionToken" FROM sessions WHERE id = 's1')
  WHERE id = 's2'"#;

/// Logs in without a browser, and returns the cookie.
fn cookie(address: &str, name: &str) -> String {
    DashboardLogin::start(address, name).cookie
}

/// Returns the CSRF token of a login session.
fn form(address: &str, cookie: &str) -> String {
    let page = testkit::http::get_with_headers(address, "/alerts", &[("cookie", cookie)]).body;
    let (_, rest) = page.split_once("name=\"form\" value=\"").unwrap();
    rest[..64].to_owned()
}

/// Returns `true` if a console message reports a 404 of one of these pages.
fn is_missing(message: &str, pages: &[&str]) -> bool {
    message.contains("404") && pages.iter().any(|page| message.contains(&format!("{page} ")))
}

fn count_sessions(scene: &Scene, condition: &str) -> u32 {
    let sql = format!("SELECT count(*) FROM sessions WHERE {condition}");
    scene.database.psql(&sql).unwrap().trim().parse().unwrap()
}

/// Starts a check run now instead of at its scheduled time.
fn run_checks_now(scene: &Scene) {
    assert_eq!(testkit::http::post(&scene.daemon.address, "/targets/app/wake", &[], b"").status, 202);
}

/// Every page of the navigation, pages reached from there, and error pages.
const PAGES: [&str; 20] = [
    "/",
    "/targets/app",
    "/targets/app/checks/duplicate-tokens",
    "/targets/app/sessions",
    "/targets/app/users",
    "/targets/app/users/8",
    "/search?q=user",
    "/settings/components",
    "/alerts",
    "/logs",
    "/incidents",
    "/cleanup?target=app",
    "/targets/app/report",
    "/audit",
    "/settings",
    "/login",
    "/targets/none",
    "/targets/app/doctor",
    "/targets/app/checks/duplicate-tokens/query",
    "/nothing",
];

#[test]
fn the_setup_link_works_once_and_a_leak_is_seen_contained_and_restored() {
    let scene = Scene::new(&[]);
    run(async {
        let browser = Browser::open(&scene.daemon.address, DESK).await;
        browser.goto("/").await;
        browser.shows("No accounts yet").await;
        let link = scene.link.clone().unwrap();
        browser.goto(&link).await;
        browser.fill("form", "name", "ada").await;
        browser.fill("form", "password", ACCOUNT_PASSWORD).await;
        browser.press("form").await;
        browser.shows_account("ada", "admin").await;
        browser.goto(&link).await;
        browser.shows("This setup link has expired").await;

        // A leak appears while the page is open. Until the log has a line, nothing is known about it.
        browser.goto("/").await;
        browser.shows("The state of app is unknown").await;
        scene.logged("GET / 200\n");
        browser.shows("app is healthy").await;
        scene.database.psql(LEAK).unwrap();
        scene.logged("[AUTH-ADAPTER] Duplicate session token detected { existingUserId: 2, newUserId: 3 }\n");
        run_checks_now(&scene);
        browser.shows("need attention").await;
        browser.shows("Duplicate tokens reported by the application").await;

        // A user acknowledges the alert.
        browser.goto("/targets/app/checks/log-duplicate-token").await;
        browser.shows("Duplicate session token detected").await;
        browser.press("form[action='/alerts/acknowledge']").await;
        browser.shows("Acknowledged by ada").await;
        browser.fill("form[action='/alerts/comment']", "note", "on it <script>alert(1)</script>").await;
        browser.press("form[action='/alerts/comment']").await;
        browser.shows("on it <script>alert(1)</script>").await;

        // The sessions with the shared token are revoked.
        browser.goto("/cleanup?target=app").await;
        browser.press("form:has(input[value=duplicates])").await;
        browser.shows("Apply plan").await;
        let count = || count_sessions(&scene, "true");
        let before = count();
        browser.press("form[action$='/apply']").await;
        browser.shows("2 rows processed.").await;
        assert_eq!(count(), before - 2);

        // A user's sessions are revoked by mistake, and restored.
        let (before, of_user) = (count(), count_sessions(&scene, "\"userId\" = 30"));
        browser.goto("/targets/app/users/30").await;
        browser.press("main form[action='/cleanup']:has(input[value=user])").await;
        browser.shows("Apply plan").await;
        browser.press("form[action$='/apply']").await;
        // The number of skipped rows, if any, would precede the period.
        let all_done = format!("{of_user} rows processed.");
        browser.shows(&all_done).await;
        assert!(of_user > 0 && count() == before - of_user);
        let plan = browser.page.current_url().await.unwrap();
        let plan = plan.path().rsplit('/').next().unwrap().to_owned();
        browser.goto("/cleanup?target=app").await;
        browser.press(&format!("form[action='/archive/{plan}/restore']")).await;
        browser.shows("Apply plan").await;
        browser.press("form[action$='/apply']").await;
        browser.shows(&all_done).await;
        assert_eq!(count(), before);
        browser.goto("/audit").await;
        browser.shows("plan.applied").await;
        browser.shows("Intact: ").await;
        let complaints = browser.complaints().await;
        assert!(complaints.iter().all(|message| is_missing(message, &[&link])), "{complaints:?}");
    });
    assert_eq!(scene.daemon.stop(), Some(0));
}

/// Actions of an incident's current step, the primary one first.
const NEXT: &str = "section[aria-labelledby=next] .card-foot";
/// Fields of the current step.
const STEP: &str = "#step-form";

#[test]
fn an_incident_leads_from_a_leak_to_its_closing() {
    let scene = Scene::new(&[("ada", "responder")]);
    scene.database.psql(LEAK).unwrap();
    scene.logged("[AUTH-ADAPTER] Duplicate session token detected { existingUserId: 2, newUserId: 3 }\n");
    run(async {
        let browser = Browser::open(&scene.daemon.address, DESK).await;
        browser.log_in("ada", ACCOUNT_PASSWORD).await;
        browser.shows("2 problems need attention").await;
        browser.goto("/targets/app/checks/log-duplicate-token").await;
        let open = "form[action='/incidents']";
        browser.click("button[popovertarget=open-incident]").await;
        browser.fill(open, "summary", "two users share a login <b>").await;
        browser.click(&format!("{open} .dialog-foot .btn:last-child")).await;
        browser.shows("Next: Confirm the incident").await;
        browser.shows("two users share a login <b>").await;
        browser.press(NEXT).await;
        browser.shows("Next: Identify affected users").await;
        let find = "form:has(input[name=find])";
        browser.fill(find, "find", "uSER 17").await;
        browser.press(find).await;
        browser.shows("User 17").await;
        browser.fill(STEP, "note", "users 2 and 3").await;
        browser.press(NEXT).await;
        browser.shows("Next: Freeze the evidence").await;
        browser.press("form[action$='/evidence']").await;
        browser.shows("encrypted for age1").await;
        browser.picture("incident").await;
        browser.press(NEXT).await;
        browser.shows("Next: Notify the team").await;
        browser.fill(STEP, "note", "on the call").await;
        browser.press(NEXT).await;
        browser.shows("Next: Revoke the sessions").await;
        assert_eq!(browser.violations().await, Vec::<String>::new());

        // Sessions are revoked: first as a plan, then by applying it.
        browser.click("#contain-form input[value=users]").await;
        browser.fill("#contain-form", "users", "2 3").await;
        browser.press(NEXT).await;
        browser.shows("Apply plan").await;
        browser.press("form[action$='/apply']").await;
        browser.shows("4 rows processed.").await;
        browser.follow("Back to incident").await;
        browser.shows("Contained").await;
        browser.press(NEXT).await;
        browser.shows("Next: Test login and logout").await;
        browser.fill(STEP, "note", "both work").await;
        browser.press(NEXT).await;
        browser.shows("Next: Notify the users").await;
        browser.fill(STEP, "note", "mail to both").await;
        browser.press(NEXT).await;
        browser.shows("Next: Monitor for 24 hours").await;

        close_incident(&browser).await;
    });
    assert_eq!(scene.daemon.stop(), Some(0));
}

/// Closes the incident. Open steps prevent that, and a skipped step needs a reason.
async fn close_incident(browser: &Browser) {
    let incident = browser.page.current_url().await.unwrap().path().to_owned();
    assert_eq!(browser.submits(&format!("{incident}/close"), "").await, 409);
    assert_eq!(browser.submits(&format!("{incident}/steps"), "step=watch&response=skip").await, 400);
    assert_eq!(browser.submits(&format!("{incident}/steps"), "step=team&response=done").await, 409);
    assert_eq!(
        browser.submits(&format!("{incident}/steps"), "step=watch&response=skip&note=a+rehearsal").await,
        200
    );
    browser.goto(&incident).await;
    browser.shows("Next: Find the root cause").await;
    browser.fill(STEP, "text", "a shared cache of pages").await;
    browser.press(NEXT).await;
    browser.shows("Root cause recorded").await;
    browser.press(NEXT).await;
    browser.shows("Next: Write the report").await;
    browser.fill(STEP, "note", "in the wiki").await;
    browser.press(NEXT).await;
    browser.shows("All steps completed").await;
    browser.shows("Monitor for 24 hours (skipped)").await;
    browser.fill("form[action$='/close']", "reason", "it was a rehearsal").await;
    browser.press("form[action$='/close']").await;
    browser.shows("after it was opened").await;
    browser.goto(&format!("{incident}/report")).await;
    browser.shows("a shared cache of pages").await;
    browser.shows("Users logged out\n2").await;
}

#[test]
fn every_page_is_accessible_in_both_themes_and_fits_a_phone_and_a_wall_screen() {
    let scene = Scene::new(&[("ada", "admin")]);
    scene.logged(
        "[SESSION-CALLBACK] User ID mismatch { sessionUserId: 7, dbUserId: 8, \
         sessionToken: 'token-aa...' }\n",
    );
    run(async {
        let (phone, wall) = (Viewport { width: 360, dark: false }, Viewport { width: 3840, dark: false });
        for viewport in [DESK, phone, wall, Viewport { dark: true, ..DESK }] {
            let browser = Browser::open(&scene.daemon.address, viewport).await;
            browser.log_in("ada", ACCOUNT_PASSWORD).await;
            browser.shows_account("ada", "admin").await;
            // The first check run may still be in progress.
            browser.shows("Sessions per user\n1.50").await;
            let mut wrong = vec![];
            for path in PAGES {
                browser.goto(path).await;
                let found = browser.violations().await;
                wrong.extend(found.into_iter().map(|found| format!("{path} {viewport:?}: {found}")));
                let weight = browser.weight().await;
                if !(1_000..200_000).contains(&weight) {
                    wrong.push(format!("{path} {viewport:?}: the page has {weight} bytes"));
                }
                if browser.is_too_wide().await {
                    wrong.push(format!("{path} {viewport:?}: the page is wider than the window"));
                }
                if viewport.width == DESK.width {
                    let name = path.trim_matches('/').replace('/', "-");
                    let name = if name.is_empty() { "start".to_owned() } else { name };
                    browser.picture(&format!("{name}{}", if viewport.dark { "-dark" } else { "" })).await;
                }
            }
            let complaints = browser.complaints().await;
            wrong.extend(
                complaints.into_iter().filter(|message| !is_missing(message, &["/targets/none", "/nothing"])),
            );
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        }
    });
    assert_eq!(scene.daemon.stop(), Some(0));
}

#[test]
fn pages_show_what_is_known_while_queries_fail() {
    let scene = Scene::new(&[("vera", "viewer")]);
    let address = scene.daemon.address.clone();
    let cookie = cookie(&address, "vera");
    let get = |path: &str| {
        testkit::http::get_with_headers(&address, path, &[("cookie", &cookie)]).into_status_and_text()
    };
    testkit::wait_until("the first check run", || get("/").1.contains("Last check"));
    scene.database.psql("ALTER TABLE sessions RENAME COLUMN expires TO gone").unwrap();
    let (status, page) = get("/targets/app/sessions");
    assert_eq!((status, page.contains("Cannot query the database of app")), (503, true), "{page}");
    let (status, page) = get("/targets/app/users/8");
    assert_eq!((status, page.contains("cannot be listed now")), (200, true), "{page}");
    assert!(get("/").1.contains("Last check") && get("/targets/app").0 == 200);
    scene.database.psql("ALTER TABLE sessions RENAME COLUMN gone TO expires").unwrap();
    assert_eq!(get("/targets/app/sessions").0, 200);
    assert_eq!(scene.daemon.stop(), Some(0));
}
