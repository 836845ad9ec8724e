//! Everyday tasks stay within a few clicks, counted from the overview, with the mouse and with the keyboard.

use testkit::ACCOUNT_PASSWORD;

use super::{LEAK, count_sessions};
use crate::{
    driver::{Browser, DESK},
    scene::{Scene, run},
};

/// How a person works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InputDevice {
    Mouse,
    /// Tab reaches every element, and Enter activates it.
    Keyboard,
}

/// A person at the browser, who counts.
struct Person<'a> {
    browser: &'a Browser,
    device: InputDevice,
    clicks: usize,
}

impl<'a> Person<'a> {
    /// Begins a task on the overview.
    async fn begin(browser: &'a Browser, device: InputDevice) -> Self {
        browser.goto("/").await;
        Self { browser, device, clicks: 0 }
    }

    /// Activates a link or a button.
    async fn activate(&mut self, selector: &str) {
        self.clicks += 1;
        match self.device {
            InputDevice::Mouse => self.browser.click(selector).await,
            InputDevice::Keyboard => {
                self.browser.tab_to(selector).await;
                self.browser.type_text("\n").await;
            }
        }
    }
}

#[test]
fn everyday_tasks_take_a_few_clicks_or_keys() {
    let scene = Scene::new(&[("ada", "responder")]);
    scene.database.psql(LEAK).unwrap();
    scene
        .database
        .psql(r#"UPDATE sessions SET expires = now() - interval '60 days' WHERE id IN ('s21', 's22', 's23')"#)
        .unwrap();
    scene.logged("[AUTH-ADAPTER] Duplicate session token detected { existingUserId: 2, newUserId: 3 }\n");
    run(async {
        let browser = Browser::open(&scene.daemon.address, DESK).await;
        browser.log_in("ada", ACCOUNT_PASSWORD).await;
        browser.goto("/cleanup?target=app").await;
        browser.shows("the oldest expired 60 days ago").await;
        for (device, check, user) in
            [(InputDevice::Mouse, "log-duplicate-token", 30), (InputDevice::Keyboard, "duplicate-tokens", 29)]
        {
            // Find who shares a token.
            let mut person = Person::begin(&browser, device).await;
            person.activate("main a[href='/targets/app/checks/duplicate-tokens']").await;
            browser.shows("Affected sessions").await;
            browser.shows("User 2").await;
            assert!(person.clicks <= 2, "{device:?}");

            // Silence one user for a day.
            let mut person = Person::begin(&browser, device).await;
            person.activate("main a[href='/targets/app/checks/duplicate-tokens']").await;
            browser.shows("Affected sessions").await;
            person.activate("button[popovertarget=silence]").await;
            let of_user = "#silence form:has(input[name=subject]) button";
            person.activate(of_user).await;
            browser.shows("Silenced for 1 day").await;
            assert!(person.clicks <= 3, "{device:?}");

            // Review a cleanup of expired sessions.
            let mut person = Person::begin(&browser, device).await;
            person.activate("nav a[href^='/cleanup']").await;
            browser.shows("Every plan lists its rows first").await;
            person.activate("button[aria-label='Review plan: Expired sessions']").await;
            browser.shows("Delete 3 expired sessions").await;
            assert!(person.clicks <= 2, "{device:?}");

            // Find a user by name, and revoke all sessions.
            let before = count_sessions(&scene, &format!("\"userId\" = {user}"));
            let mut person = Person::begin(&browser, device).await;
            match device {
                InputDevice::Mouse => person.activate("button[popovertarget=search]").await,
                InputDevice::Keyboard => browser.type_text("/").await,
            }
            browser.type_text(&format!("user {user}")).await;
            let result = format!("#search-results a[href='/targets/app/users/{user}']");
            browser.shows(&format!("User {user}")).await;
            person.activate(&result).await;
            browser.shows("Devices").await;
            person.activate("main form[action='/cleanup']:has(input[value=user]) button").await;
            browser.shows("Apply plan").await;
            person.activate("form[action$='/apply'] button").await;
            browser.shows(&format!("{before} rows processed.")).await;
            assert!(before > 0 && count_sessions(&scene, &format!("\"userId\" = {user}")) == 0);
            assert!(person.clicks <= 4, "{device:?}");

            // Acknowledge an alert.
            let mut person = Person::begin(&browser, device).await;
            let form = format!("form[action='/alerts/acknowledge']:has(input[value='{check}'])");
            person.activate(&format!("{form} button")).await;
            browser.shows("Acknowledged").await;
            assert!(person.clicks <= 1, "{device:?}");
        }
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    });
    assert_eq!(scene.daemon.stop(), Some(0));
}
