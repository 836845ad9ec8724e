//! A real browser: headless Chromium, controlled through WebDriver.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::{Value, json};
use thirtyfour::{error::WebDriverErrorInner, prelude::*};

/// Returns the port of ChromeDriver, which all tests share. It ends with the process that runs the tests.
fn driver() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let (sender, port) = std::sync::mpsc::channel();
        // `--pdeathsig` fires when the starting *thread* ends, so this one waits for the child.
        std::thread::spawn(move || {
            let mut child = Command::new("setpriv")
                .args(["--pdeathsig", "TERM", "chromedriver", "--port=0"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("cannot run chromedriver: `cargo xtask setup` installs it");
            for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    sender.send(port.trim_end_matches('.').trim().parse().unwrap()).unwrap();
                }
            }
            let _ = child.wait();
        });
        port.recv().expect("chromedriver prints no port")
    })
}

/// Returns Chromium without its windows, menus and services, which needs a quarter of the CPU time; `None` if only the
/// whole browser is installed.
fn headless_shell() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .chain([PathBuf::from("/usr/lib/chromium")])
        .map(|folder| folder.join("chromium-headless-shell"))
        .find(|path| is_executable_file(path))
}

/// Returns `true` for a program, and `false` for a script that starts one, as Debian has it in `PATH`: ChromeDriver
/// would end only the script, and the browser would run on.
fn is_executable_file(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && &magic == b"\x7fELF"
}

/// Time limit for a page to show what it should.
const SHOWN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// A browser session of one test.
pub(crate) struct Browser {
    pub(crate) page: WebDriver,
    pub(crate) address: String,
}

/// Width of the page in pixels, and color scheme.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Viewport {
    pub(crate) width: u32,
    pub(crate) dark: bool,
}

/// Presses of Tab within which every element of a page is reached.
const MAX_TABS: usize = 150;

pub(crate) const DESK: Viewport = Viewport { width: 1440, dark: false };

impl Browser {
    /// Opens a browser for the dashboard at an address.
    pub(crate) async fn open(address: &str, viewport: Viewport) -> Self {
        // Another test may have installed a provider already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut wanted = DesiredCapabilities::chrome();
        if let Some(shell) = headless_shell() {
            wanted.set_binary(&shell.display().to_string()).unwrap();
        }
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ] {
            wanted.add_arg(argument).unwrap();
        }
        wanted.add_arg(&format!("--window-size={},900", viewport.width)).unwrap();
        if viewport.dark {
            wanted.add_arg("--blink-settings=preferredColorScheme=0").unwrap();
        }
        wanted.set_logging_prefs("browser", thirtyfour::common::log::LoggingPrefsLogLevel::All).unwrap();
        let page = WebDriver::new(format!("http://127.0.0.1:{}", driver()), wanted).await.unwrap();
        if viewport.width < 500 {
            // Chromium's windows have a minimum width; emulated metrics do not.
            let metrics =
                json!({ "width": viewport.width, "height": 800, "deviceScaleFactor": 1, "mobile": true });
            cdp(&page, "Emulation.setDeviceMetricsOverride", metrics);
        }
        // Dropping the client would block on this very thread, so it is leaked; `Drop` below ends the session.
        page.clone().leak().unwrap();
        Self { page, address: address.to_owned() }
    }

    pub(crate) async fn goto(&self, path: &str) {
        self.page.goto(format!("http://{}{path}", self.address)).await.unwrap();
    }

    /// Waits until the page shows a text.
    pub(crate) async fn shows(&self, words: &str) {
        let mut text = String::new();
        let begun = std::time::Instant::now();
        while begun.elapsed() < SHOWN_TIMEOUT {
            text = self.text().await;
            if text.contains(words) {
                return;
            }
            testkit::let_time_pass(std::time::Duration::from_millis(100));
        }
        let address = self.page.current_url().await.unwrap();
        panic!("timed out waiting for `{words}` on {address}:\n{text}");
    }

    /// Returns the visible text of the page.
    pub(crate) async fn text(&self) -> String {
        // The browser knows its visible text. WebDriver would compute it element by element, in a script.
        let script = "return document.body ? document.body.innerText : ''";
        let text = self.page.execute(script, vec![]).await;
        text.map(|text| text.json().as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    }

    /// Fills in a form field.
    pub(crate) async fn fill(&self, form: &str, field: &str, text: &str) {
        let fill = async |found: WebElement| {
            found.clear().await?;
            found.send_keys(text).await
        };
        self.with(By::Css(format!("{form} [name={field}]")), fill).await;
    }

    /// Clicks the button of a form.
    pub(crate) async fn press(&self, form: &str) {
        self.with(By::Css(format!("{form} button")), async |found| found.click().await).await;
    }

    /// Clicks an element, such as a radio button.
    pub(crate) async fn click(&self, selector: &str) {
        self.with(By::Css(selector.to_owned()), async |found| found.click().await).await;
    }

    /// Types into the focused element, or on the page if there is none.
    pub(crate) async fn type_text(&self, text: &str) {
        let text = text.replace('\n', &Key::Enter.value().to_string());
        self.page.action_chain().send_keys(text).perform().await.unwrap();
    }

    /// Presses Tab until an element has the focus.
    pub(crate) async fn tab_to(&self, selector: &str) {
        let script = "return document.activeElement.matches(arguments[0])";
        for _ in 0..MAX_TABS {
            let matches = self.page.execute(script, vec![json!(selector)]).await;
            // A page that is replaced has no element yet.
            if matches.is_ok_and(|matches| matches.json() == &json!(true)) {
                return;
            }
            self.page.action_chain().send_keys(Key::Tab.value().to_string()).perform().await.unwrap();
        }
        panic!("Tab does not reach `{selector}`:\n{}", self.text().await);
    }

    /// Follows the link with this text.
    pub(crate) async fn follow(&self, words: &str) {
        self.with(By::LinkText(words), async |found| found.click().await).await;
    }

    /// Acts on an element. Retries while the page replaces the element, or has not laid it out.
    async fn with(&self, by: By, mut work: impl AsyncFnMut(WebElement) -> WebDriverResult<()>) {
        for _ in 0..100 {
            match work(self.page.find(by.clone()).await.unwrap()).await {
                Err(error)
                    if matches!(
                        *error,
                        WebDriverErrorInner::StaleElementReference(_)
                            | WebDriverErrorInner::ElementNotInteractable(_)
                    ) =>
                {
                    testkit::let_time_pass(std::time::Duration::from_millis(100));
                }
                done => return done.unwrap(),
            }
        }
        panic!("{by:?} is replaced or hidden all the time");
    }

    /// Submits a form with the page's CSRF token from a script, and returns the status.
    pub(crate) async fn submits(&self, path: &str, fields: &str) -> u64 {
        let script = "const [path, fields, done] = arguments;
            const form = document.querySelector('[name=form]').value;
            fetch(path, { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, \
              body: 'form=' + form + '&' + fields })
              .then(answer => done(answer.status)).catch(() => done(0));";
        let answer = self.page.execute_async(script, vec![json!(path), json!(fields)]).await.unwrap();
        answer.json().as_u64().unwrap()
    }

    /// Waits until the page shows that this account is logged in.
    pub(crate) async fn shows_account(&self, name: &str, role: &str) {
        let button = By::Css(format!("button[aria-label='Account: {name}, {role}']"));
        let begun = std::time::Instant::now();
        while begun.elapsed() < SHOWN_TIMEOUT {
            if self.page.find(button.clone()).await.is_ok() {
                return;
            }
            testkit::let_time_pass(std::time::Duration::from_millis(100));
        }
        panic!("timed out waiting for the account {name}, {role}:\n{}", self.text().await);
    }

    /// Logs in with a password.
    pub(crate) async fn log_in(&self, name: &str, password: &str) {
        self.goto("/login").await;
        self.fill("form", "name", name).await;
        self.fill("form", "password", password).await;
        self.press("main form").await;
    }

    /// Returns the accessibility violations that axe finds on the page.
    pub(crate) async fn violations(&self) -> Vec<String> {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/axe/node_modules/axe-core/axe.min.js");
        let axe = std::fs::read_to_string(path).expect("axe-core is missing: run `cargo xtask setup`");
        self.page.execute(axe, vec![]).await.unwrap();
        let script = "const done = arguments[arguments.length - 1];
            axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] })
              .then(found => done(found.violations.map(v => v.id + ': ' + \
                v.nodes.map(n => n.target.join(' ') + ' ' + n.failureSummary).join(' | '))))
              .catch(error => done([String(error)]));";
        let found = self.page.execute_async(script, vec![]).await.unwrap();
        serde_json::from_value(found.json().clone()).unwrap()
    }

    /// Returns the messages of the browser's console, and the URLs that the page requested from other hosts.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let session = self.page.session_id().to_string();
        let log = ask(&format!("/session/{session}/se/log"), &json!({ "type": "browser" }));
        let entries = log["value"].as_array().cloned().unwrap_or_default();
        let mut found: Vec<String> =
            entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect();
        let script = "return performance.getEntriesByType('resource').map(r => r.name)\
            .filter(n => !n.startsWith(location.origin))";
        let elsewhere = self.page.execute(script, vec![]).await.unwrap();
        let elsewhere: Vec<String> = serde_json::from_value(elsewhere.json().clone()).unwrap();
        found.extend(elsewhere);
        found
    }

    /// Returns the size of the page and its resources, in bytes, uncompressed.
    pub(crate) async fn weight(&self) -> u64 {
        let script = "return ['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))
            .map(entry => entry.encodedBodySize).reduce((all, one) => all + one, 0)";
        self.page.execute(script, vec![]).await.unwrap().json().as_u64().unwrap()
    }

    /// Returns `true` if the page is wider than the window.
    pub(crate) async fn is_too_wide(&self) -> bool {
        let script = "return document.documentElement.scrollWidth > window.innerWidth + 1";
        self.page.execute(script, vec![]).await.unwrap().json().as_bool().unwrap()
    }

    /// Saves a screenshot in `target/screenshots`.
    pub(crate) async fn picture(&self, name: &str) {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/screenshots"));
        std::fs::create_dir_all(&folder).unwrap();
        self.page.screenshot(&folder.join(format!("{name}.png"))).await.unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let path = format!("/session/{}", self.page.session_id());
        let address = format!("127.0.0.1:{}", driver());
        if std::net::TcpStream::connect(&address).is_ok() {
            let request = testkit::ClientRequest { method: "DELETE", path: &path, ..Default::default() };
            let _ = testkit::http::send_request(&address, request);
        }
    }
}

/// Sends a Chromium-specific command to ChromeDriver.
fn ask(path: &str, body: &Value) -> Value {
    let body = body.to_string();
    let answer = testkit::http::post(
        &format!("127.0.0.1:{}", driver()),
        path,
        &[("Content-Type", "application/json")],
        body.as_bytes(),
    );
    serde_json::from_str(&answer.body).unwrap_or_default()
}

fn cdp(page: &WebDriver, command: &str, parameters: Value) {
    let path = format!("/session/{}/goog/cdp/execute", page.session_id());
    ask(&path, &json!({ "cmd": command, "params": parameters }));
}

#[test]
fn a_browser_ends_with_its_test() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let browser = runtime.block_on(Browser::open("127.0.0.1:1", DESK));
    let id = browser.page.capabilities().get("goog:processID").and_then(Value::as_u64).unwrap();
    let is_running = || {
        let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        memchr::memmem::find(&command, b"chrom").is_some()
    };
    assert!(is_running());
    drop(browser);
    assert!(!is_running());
}
