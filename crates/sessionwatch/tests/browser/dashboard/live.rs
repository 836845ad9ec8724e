//! Live updates of open pages.

use testkit::ACCOUNT_PASSWORD;
use thirtyfour::By;

use super::{LEAK, run_checks_now};
use crate::{
    driver::{Browser, DESK},
    scene::{Scene, run},
};

#[test]
fn the_overview_updates_after_a_leak_and_a_cleanup_even_if_its_connection_was_lost() {
    let mut scene = Scene::new(&[("ada", "responder")]);
    run(async {
        let browser = Browser::open(&scene.daemon.address, DESK).await;
        browser.log_in("ada", ACCOUNT_PASSWORD).await;
        scene.logged("GET / 200\n");
        browser.shows("app is healthy").await;
        // The daemon restarts. The page reconnects to the event stream without being reloaded.
        let port = scene.daemon.address.rsplit(':').next().unwrap().to_owned();
        let file = scene.folder.path().join("sessionwatch.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
        std::fs::write(&file, format!("{text}[alerts.critical]\nsuccess_threshold = 1\n")).unwrap();
        scene.daemon.send_signal("TERM");
        assert!(scene.daemon.child.wait().unwrap().success());
        scene.daemon = testkit::DaemonProcess::start(scene.folder.path());
        scene.database.psql(LEAK).unwrap();
        run_checks_now(&scene);
        browser.shows("Duplicate session tokens").await;

        let other = Browser::open(&scene.daemon.address, DESK).await;
        other.log_in("ada", ACCOUNT_PASSWORD).await;
        other.shows_account("ada", "responder").await;
        other.goto("/cleanup?target=app").await;
        other.press("form:has(input[value=duplicates])").await;
        other.shows("Apply plan").await;
        other.press("form[action$='/apply']").await;
        other.shows("No matching rows remain").await;
        // A cleanup triggers a check run.
        browser.shows("app is healthy").await;
    });
    assert_eq!(scene.daemon.stop(), Some(0));
}

#[test]
fn two_users_who_acknowledge_an_alert_at_once_both_see_the_winner() {
    let scene = Scene::new(&[("ada", "responder"), ("rob", "responder")]);
    scene.logged("[AUTH-ADAPTER] Duplicate session token detected { existingUserId: 2, newUserId: 3 }\n");
    run(async {
        let (ada, rob) = (
            Browser::open(&scene.daemon.address, DESK).await,
            Browser::open(&scene.daemon.address, DESK).await,
        );
        for (browser, name) in [(&ada, "ada"), (&rob, "rob")] {
            browser.log_in(name, ACCOUNT_PASSWORD).await;
            browser.shows("Duplicate tokens reported by the application").await;
            browser.goto("/targets/app/checks/log-duplicate-token").await;
            browser.shows("Not acknowledged").await;
        }
        let press = async |browser: &Browser| browser.press("form[action='/alerts/acknowledge']").await;
        tokio::join!(press(&ada), press(&rob));
        for browser in [&ada, &rob] {
            browser.shows("Acknowledged by ").await;
        }
        // The last acknowledgment counts. Both are in the audit log, and both pages agree.
        ada.goto("/targets/app/checks/log-duplicate-token").await;
        rob.goto("/targets/app/checks/log-duplicate-token").await;
        // The timeline names both, the head of the page only the last one.
        let head = async |browser: &Browser| browser.page.find(By::Css("main .meta")).await?.text().await;
        let who = |text: String| ["ada", "rob"].map(|name| text.contains(&format!("Acknowledged by {name}")));
        let (seen, also) = (who(head(&ada).await.unwrap()), who(head(&rob).await.unwrap()));
        assert!(seen == also && seen[0] != seen[1], "{seen:?} {also:?}");
        ada.goto("/audit").await;
        assert_eq!(ada.text().await.matches("alert.acknowledged").count(), 2);
        // An alert that one user resolved cannot be resolved by the other, until it fires again.
        rob.click("button[popovertarget=resolve]").await;
        rob.click("form[action='/alerts/resolve'] .btn-primary").await;
        rob.shows("resolved by rob").await;
        let gone = "target=app&check=log-duplicate-token";
        assert_eq!(ada.submits("/alerts/resolve", gone).await, 409);
        // Everyone sees comments.
        rob.fill("form[action='/alerts/comment']", "note", "it was the cache").await;
        rob.press("form[action='/alerts/comment']").await;
        rob.shows("it was the cache").await;
    });
    assert_eq!(scene.daemon.stop(), Some(0));
}
