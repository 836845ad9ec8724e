//! The demo, from its first page to a restored user. Each scene is a frame of the documentation's animation, which
//! `cargo xtask images` makes.

use testkit::DaemonProcess;

use crate::{
    driver::{Browser, Viewport},
    scene::run,
};

/// The window of the animation.
const FILM_WINDOW: Viewport = Viewport { width: 1280, dark: false };

#[test]
fn a_leak_of_the_demo_is_seen_contained_and_a_mistake_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = DaemonProcess::spawn(
        testkit::program_command(&["demo", "--listen", "127.0.0.1:0"]).current_dir(folder.path()),
    );
    daemon.wait_for_line("duplicate-tokens");
    let link = daemon.wait_for_line("/setup/");
    let (address, link) = link.trim().strip_prefix("http://").unwrap().split_once('/').unwrap();
    daemon.address = address.to_owned();
    run(async {
        let browser = Browser::open(address, FILM_WINDOW).await;
        // The link logs in at once: before anything leaks, unless the machine is slow.
        browser.goto(&format!("/{link}")).await;
        browser.shows("Users with too many sessions").await;
        browser.picture("film-1").await;

        // The open page shows the leak that the logs and then the table reveal.
        browser.shows("Duplicate tokens reported by the application").await;
        browser.shows("Duplicate session tokens").await;
        browser.picture("film-2").await;
        browser.goto("/targets/shop/checks/duplicate-tokens").await;
        browser.shows("3 tokens").await;
        browser.shows("Why it matters").await;
        browser.picture("film-3").await;

        // It stays until the sessions are revoked.
        browser.press("form[action='/cleanup']:has(input[value=duplicates])").await;
        browser.shows("Apply plan").await;
        browser.picture("film-4").await;
        browser.press("form[action$='/apply']").await;
        browser.shows("6 rows processed.").await;
        browser.picture("film-5").await;

        // A user's sessions are revoked by mistake, and restored.
        browser.goto("/targets/shop/users").await;
        browser.click("main tbody tr:first-child a").await;
        browser.shows("Devices").await;
        browser.press("main form[action='/cleanup']:has(input[value=user])").await;
        browser.shows("Apply plan").await;
        browser.press("form[action$='/apply']").await;
        browser.shows(" rows processed.").await;
        browser.picture("film-6").await;
        browser.press("form[action^='/archive/'][action$='/restore']").await;
        browser.shows("Apply plan").await;
        browser.press("form[action$='/apply']").await;
        browser.shows(" rows processed.").await;
        browser.picture("film-7").await;

        // The demo monitors its own logins too.
        browser.goto("/targets/dashboard/sessions").await;
        browser.shows("grace").await;
        browser.goto("/targets/dashboard/checks/duplicate-tokens/query").await;
        browser.shows("login_sessions").await;
        browser.goto("/targets/shop/doctor").await;
        browser.shows("token-unique").await;
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    });
    assert_eq!(daemon.stop(), Some(0));
}
