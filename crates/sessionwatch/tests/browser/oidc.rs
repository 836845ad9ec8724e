//! Logins through a real identity provider, in a real browser.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::{
    driver::{Browser, DESK},
    scene::{Scene, run},
};

/// An identity provider process. Dropping the value kills it.
struct Provider {
    child: Child,
    issuer: String,
    /// Kept open, because a write to a closed pipe would end the provider.
    _stdout: ChildStdout,
}

impl Provider {
    fn start(back: &str) -> Self {
        let package =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/openid/node_modules/oidc-provider");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/provider.mjs");
        let mut child = Command::new("node")
            .args(["--no-warnings", script, package, back])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot run node: `cargo xtask setup` installs it and the provider");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let issuer = stdout.by_ref().lines().map_while(Result::ok).find(|line| line.starts_with("http://"));
        let issuer = issuer.expect("the provider prints no issuer");
        Self { child, issuer, _stdout: stdout.into_inner() }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a daemon whose users log in through a provider.
fn scene() -> (Scene, Provider) {
    let scene = Scene::new(&[("ada", "admin"), ("victor@example.org", "viewer")]);
    let public = format!("http://{}", scene.daemon.address);
    let provider = Provider::start(&format!("{public}/oidc/callback"));
    let file = scene.folder.path().join("sessionwatch.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("[serve]\n", &format!("[serve]\npublic_url = \"{public}\"\n"));
    let more = format!(
        "[oidc]\nissuer = \"{}\"\nclient_id = \"watch\"\nclient_secret = \"a secret: with signs & such\"\n\
         label = \"the company\"\n\
         viewers = [\"everybody\"]\nresponders = [\"on-call\"]\nadmins = [\"platform\"]\n",
        provider.issuer
    );
    std::fs::write(&file, format!("{text}{more}")).unwrap();
    scene.daemon.send_signal("HUP");
    testkit::wait_until("the provider is known", || scene.daemon.get_body("/login").contains("the company"));
    (scene, provider)
}

/// Logs in with the provider's form. An empty name cancels the login.
async fn log_in(browser: &Browser, name: &str) {
    browser.goto("/login?next=%2Fsettings").await;
    browser.follow("Log in with the company").await;
    browser.shows("Go on").await;
    if !name.is_empty() {
        browser.fill("form", "login", name).await;
    }
    browser.press("form").await;
}

#[test]
fn users_log_in_through_the_provider_with_the_role_that_it_grants() {
    let (scene, _provider) = scene();
    run(async {
        for (name, shown) in [
            ("olga", "olga@example.org · admin"),
            ("rita", "rita@example.org · responder"),
            // An account with a password has this name already.
            ("victor", "An account with this name already exists"),
            ("stranger", "Your role does not permit this action"),
            ("unsure", "has not verified this email address"),
            ("", "returned the error access_denied"),
        ] {
            let browser = Browser::open(&scene.daemon.address, DESK).await;
            log_in(&browser, name).await;
            match shown.split_once(" · ") {
                Some((account, role)) => {
                    browser.shows_account(account, role).await;
                    browser.shows("Your login sessions").await;
                }
                None => browser.shows(shown).await,
            }
        }
        // A user who loses the role is logged out at once.
        let before = Browser::open(&scene.daemon.address, DESK).await;
        log_in(&before, "leaver").await;
        before.shows_account("leaver@example.org", "viewer").await;
        let after = Browser::open(&scene.daemon.address, DESK).await;
        log_in(&after, "leaver").await;
        after.shows("Your role does not permit this action").await;
        before.goto("/").await;
        before.shows("Password").await;
        let browser = Browser::open(&scene.daemon.address, DESK).await;
        log_in(&browser, "olga").await;
        browser.shows("Your login sessions").await;
        assert!(!browser.text().await.contains("leaver"));
        browser.goto("/audit").await;
        browser.shows("the identity provider grants no role").await;
    });
    assert_eq!(scene.daemon.stop(), Some(0));
}

#[test]
fn a_response_to_a_login_of_another_browser_is_rejected() {
    let (scene, provider) = scene();
    let get = |path: &str, cookie: &str| {
        testkit::http::get_with_headers(&scene.daemon.address, path, &[("cookie", cookie)])
            .into_status_and_text()
    };
    let (status, asked) = get("/oidc/login", "");
    assert_eq!(status, 303, "{asked}");
    let header = |name: &str| {
        let line = asked.lines().find(|line| line.to_ascii_lowercase().starts_with(name)).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    let (cookie, location) = (header("set-cookie"), header("location"));
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    assert!(
        location.starts_with(&provider.issuer) && location.contains("code_challenge_method=S256"),
        "{location}"
    );
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let state = location.split("&state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let issuer = provider.issuer.replace(':', "%3A").replace('/', "%2F");
    for (query, cookie, said) in [
        ("code=x".to_owned(), cookie.as_str(), "was started in another browser"),
        (format!("code=x&state={state}"), "", "was started in another browser"),
        (
            format!("code=x&state={}&iss={issuer}", "0".repeat(64)),
            cookie.as_str(),
            "was started in another browser",
        ),
        (format!("code=x&state={state}"), cookie.as_str(), "the response comes from another provider"),
        (
            format!("code=x&state={state}&iss=https%3A%2F%2Fevil.example"),
            cookie.as_str(),
            "the response comes from another provider",
        ),
        (
            format!("code=x&state={state}&iss={issuer}"),
            cookie.as_str(),
            "the identity provider returned an error",
        ),
        (
            format!("error=%3Cscript%3E&state={state}&iss={issuer}"),
            cookie.as_str(),
            "returned the error script.",
        ),
    ] {
        let (status, page) = get(&format!("/oidc/callback?{query}"), cookie);
        assert!(status >= 400 && page.contains(said) && !page.contains("<script>"), "{query}: {page}");
        assert!(!page.to_ascii_lowercase().contains("set-cookie: sessionwatch="), "{page}");
    }
    drop(provider);
    // The provider's metadata is cached, but a login code cannot be redeemed while the provider is down.
    let (status, page) = get(&format!("/oidc/callback?code=x&state={state}&iss={issuer}"), &cookie);
    assert!(status == 503 && page.contains("cannot reach the identity provider"), "{page}");
    assert_eq!(scene.daemon.stop(), Some(0));
}
