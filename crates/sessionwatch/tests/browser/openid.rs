//! Logging in by a real provider of identities, in a real browser.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::{
    driver::{Browser, DESK},
    scene::{Scene, run},
};

/// The provider, which ends with the story.
struct Provider {
    child: Child,
    issuer: String,
    /// It ends if nobody can hear it.
    _said: ChildStdout,
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
            .expect("node can be run, and `cargo xtask setup` fetches the provider");
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let issuer = said.by_ref().lines().map_while(Result::ok).find(|line| line.starts_with("http://"));
        let issuer = issuer.expect("the provider says its issuer");
        Self { child, issuer, _said: said.into_inner() }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A watch whose people log in by a provider.
fn scene() -> (Scene, Provider) {
    let scene = Scene::new(&[("ada", "admin"), ("victor@example.org", "viewer")]);
    let public = format!("http://{}", scene.watch.address);
    let provider = Provider::start(&format!("{public}/oidc/callback"));
    let file = scene.folder.path().join("sessionwatch.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("[serve]\n", &format!("[serve]\npublic_url = \"{public}\"\n"));
    let more = format!(
        "[oidc]\nissuer = \"{}\"\nclient_id = \"watch\"\nclient_secret = \"a secret: with signs & such\"\nlabel = \"the company\"\n\
         viewers = [\"everybody\"]\nresponders = [\"on-call\"]\nadmins = [\"platform\"]\n",
        provider.issuer
    );
    std::fs::write(&file, format!("{text}{more}")).unwrap();
    scene.watch.send_signal("HUP");
    testkit::wait_until("the provider is known", || scene.watch.get_body("/login").contains("the company"));
    (scene, provider)
}

/// Logs in as somebody: what the provider is told.
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
fn people_log_in_by_their_provider_with_the_role_that_it_says() {
    let (scene, _provider) = scene();
    run(async {
        for (name, shown) in [
            ("olga", "olga@example.org · admin"),
            ("rita", "rita@example.org · responder"),
            // The name is that of somebody with a password.
            ("victor", "An account with this name already exists"),
            ("stranger", "Your role does not permit this action"),
            ("unsure", "has not verified this email address"),
            ("", "returned the error access_denied"),
        ] {
            let browser = Browser::open(&scene.watch.address, DESK).await;
            log_in(&browser, name).await;
            browser.shows(shown).await;
            if shown.contains('·') {
                browser.shows("Your login sessions").await;
            }
        }
        // Whoever has no role any more is out at once.
        let before = Browser::open(&scene.watch.address, DESK).await;
        log_in(&before, "leaver").await;
        before.shows("leaver@example.org · viewer").await;
        let after = Browser::open(&scene.watch.address, DESK).await;
        log_in(&after, "leaver").await;
        after.shows("Your role does not permit this action").await;
        before.goto("/").await;
        before.shows("Password").await;
        let browser = Browser::open(&scene.watch.address, DESK).await;
        log_in(&browser, "olga").await;
        browser.shows("Your login sessions").await;
        assert!(!browser.text().await.contains("leaver"));
        browser.goto("/audit").await;
        browser.shows("the identity provider grants no role").await;
    });
    assert_eq!(scene.watch.stop(), Some(0));
}

#[test]
fn an_answer_that_was_not_asked_for_in_this_browser_logs_nobody_in() {
    let (scene, provider) = scene();
    let get = |path: &str, cookie: &str| {
        testkit::http::get_with_headers(&scene.watch.address, path, &[("cookie", cookie)])
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
        ("code=x".to_owned(), cookie.as_str(), "was not begun in this browser"),
        (format!("code=x&state={state}"), "", "was not begun in this browser"),
        (
            format!("code=x&state={}&iss={issuer}", "0".repeat(64)),
            cookie.as_str(),
            "was not begun in this browser",
        ),
        (format!("code=x&state={state}"), cookie.as_str(), "the response comes from another provider"),
        (
            format!("code=x&state={state}&iss=https%3A%2F%2Fevil.example"),
            cookie.as_str(),
            "of another provider",
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
    // What is known of the provider is remembered for a while; whoever is away is said to be.
    let (status, page) = get(&format!("/oidc/callback?code=x&state={state}&iss={issuer}"), &cookie);
    assert!(status == 503 && page.contains("cannot reach the identity provider"), "{page}");
    assert_eq!(scene.watch.stop(), Some(0));
}
