//! A dashboard for page tests: an in-memory store, logged-in users, and pages queried by CSS selectors.

use std::{net::SocketAddr, path::Path, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
    response::Response,
};
use credentials::Secret;
use jiff::SignedDuration;
use scraper::{ElementRef, Html, Selector};
use sessionwatch_app::{
    app::{
        Actor, AppState,
        accounts::{AccountRecord, AccountRole},
        alerts::{AlertRecord, EventRecord},
        login_sessions,
        request_client::ClientInfo,
        tokens::{self, NewToken, TokenScope},
    },
    config::Config,
};
use sessionwatch_core::{
    alert::{Alert, AlertState},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{Store, StoreError, accounts, alerts, history_events, transaction::Tx};
use tower_service::Service as _;

/// A text that would run a script if it were not escaped.
pub(super) const HOSTILE_TEXT: &str = "<script>alert(1)</script><b>x</b>";

/// A configuration with one target, whose database does not exist.
const ONE_TARGET_CONFIG: &str = "[[target]]\nname = \"app\"\nurl = \"sqlite:missing.db\"\n";

/// A dashboard and its state.
pub(super) struct TestDashboard {
    pub(super) app: Arc<AppState>,
    router: Router,
}

impl TestDashboard {
    /// Creates a dashboard with one target, `app`.
    pub(super) fn new() -> Self {
        Self::with_config(ONE_TARGET_CONFIG)
    }

    /// Creates a dashboard whose target `app` is a new demo database, and the folder that holds it.
    ///
    /// `actions` are further lines of `[actions]`.
    pub(super) fn with_demo_database(actions: &str) -> (tempfile::TempDir, Self) {
        let folder = tempfile::tempdir().unwrap();
        let (path, key) = (folder.path().join("demo.db"), folder.path().join("archive.key"));
        sessionwatch_app::demo::create_database(&path, sessionwatch_clock::now()).unwrap();
        let config = format!(
            "[actions]\narchive_identity = \"{}\"\n{actions}\n\
             [[target]]\nname = \"app\"\nurl = \"sqlite:{}\"\n",
            key.display(),
            path.display()
        );
        (folder, Self::with_config(&config))
    }

    /// Creates a dashboard with this configuration.
    pub(super) fn with_config(text: &str) -> Self {
        let config = Config::parse(Path::new("sessionwatch.toml"), text).unwrap();
        let app = AppState::for_command(Store::open_in_memory().unwrap(), config).unwrap();
        Self { router: super::build_router(&app), app }
    }

    /// Returns the dashboard's time.
    pub(super) fn now(&self) -> UtcTimestamp {
        self.app.clock.now()
    }

    /// Writes to the store.
    pub(super) fn write_store<T>(&self, write: impl Fn(Tx<'_>) -> Result<T, StoreError>) -> T {
        self.app.store.write(write).unwrap()
    }

    /// Stores the alert of a check whose last result is unknown.
    pub(super) fn insert_unknown_alert(&self, check: &str, reason: &str) {
        let record = AlertRecord {
            target: "app".into(),
            check: check.into(),
            alert: Alert::default(),
            severity: "high".into(),
            summary: format!("unknown: {reason}"),
            acknowledged_by: None,
            note: None,
            verdict: Some("unknown".into()),
            unknown_reason: Some(reason.into()),
            finding: None,
            updated_at: self.now(),
        };
        self.write_store(|db| alerts::upsert_alert(db, &record));
    }

    /// Stores an alert that has been firing for a minute.
    pub(super) fn insert_firing_alert(&self, check: &str, severity: &str, summary: &str) -> AlertRecord {
        let updated_at = self.now() - SignedDuration::from_mins(1);
        let record = AlertRecord {
            target: "app".into(),
            check: check.into(),
            alert: Alert {
                state: AlertState::Firing {
                    since: updated_at,
                    passing_runs: 0,
                    notified_at: Some(updated_at),
                },
                ..Alert::default()
            },
            severity: severity.into(),
            summary: summary.into(),
            acknowledged_by: None,
            note: None,
            verdict: Some("failing".into()),
            unknown_reason: None,
            finding: None,
            updated_at,
        };
        self.write_store(|db| alerts::upsert_alert(db, &record));
        record
    }

    /// Stores an event of a minute ago.
    pub(super) fn insert_event(&self, check: &str, kind: &str, summary: &str) {
        let event = EventRecord {
            id: 0,
            at: self.now() - SignedDuration::from_mins(1),
            target: "app".into(),
            check: check.into(),
            kind: kind.into(),
            summary: summary.into(),
            detail: "{}".into(),
        };
        self.write_store(|db| history_events::insert_event(db, &event));
    }

    /// Creates an account with this role and logs in.
    pub(super) async fn log_in_as(&self, role: AccountRole) -> TestBrowser<'_> {
        let name = role.name().to_owned();
        let account = AccountRecord {
            name: name.clone(),
            role,
            password_hash: "no hash".into(),
            oidc_subject: String::new(),
            created_at: self.now(),
        };
        self.write_store(|db| accounts::upsert_account(db, &account));
        let client = ClientInfo { address: peer_address().ip(), user_agent: "Firefox".into() };
        let login = login_sessions::start_login_session(&self.app, name, &client).await.unwrap();
        let user = login_sessions::find_current_user(&self.app, login.token.expose()).await.unwrap().unwrap();
        TestBrowser {
            dashboard: self,
            cookie: format!("sessionwatch={}", login.token.expose()),
            csrf_token: user.csrf_token.expose().to_owned(),
        }
    }

    /// Creates an API token for an account with this role.
    pub(super) async fn create_token(&self, role: AccountRole, scope: TokenScope) -> Secret {
        drop(self.log_in_as(role).await);
        let (account, label) = (role.name().to_owned(), "script".to_owned());
        let new = NewToken { account, label, scopes: vec![scope], valid_days: 1 };
        let actor = Actor::from_command_line("ada");
        tokens::create_token(&self.app, &actor, new).await.unwrap().secret
    }

    /// Sends a request through the router.
    pub(super) async fn send_request(&self, request: Request<Body>) -> Response {
        self.router.clone().call(request).await.unwrap()
    }

    /// Returns a browser with the session cookie that a response has set.
    pub(super) async fn visitor_from_cookie(&self, page: &PageResponse) -> TestBrowser<'_> {
        let cookie = page.cookie.as_deref().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let token = cookie.split_once('=').unwrap().1;
        let user = login_sessions::find_current_user(&self.app, token).await.unwrap().unwrap();
        TestBrowser { dashboard: self, csrf_token: user.csrf_token.expose().to_owned(), cookie }
    }

    /// Returns a browser that is not logged in.
    pub(super) fn anonymous_visitor(&self) -> TestBrowser<'_> {
        TestBrowser { dashboard: self, cookie: String::new(), csrf_token: String::new() }
    }
}

fn peer_address() -> SocketAddr {
    ([192, 0, 2, 1], 40_000).into()
}

/// A browser.
pub(super) struct TestBrowser<'a> {
    dashboard: &'a TestDashboard,
    pub(super) cookie: String,
    /// The CSRF token of its forms.
    csrf_token: String,
}

impl TestBrowser<'_> {
    /// Requests a page.
    pub(super) async fn get(&self, path: &str) -> PageResponse {
        self.send(Request::get(path), Body::empty()).await
    }

    /// Submits a form.
    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> PageResponse {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("form", &self.csrf_token).extend_pairs(fields);
        let kind = "application/x-www-form-urlencoded";
        self.send(Request::post(path).header(header::CONTENT_TYPE, kind), form.finish().into()).await
    }

    async fn send(&self, request: axum::http::request::Builder, body: Body) -> PageResponse {
        let request = request.header(header::HOST, "127.0.0.1").header(header::COOKIE, &self.cookie);
        let request = request.extension(ConnectInfo(peer_address())).body(body).unwrap();
        let response = self.dashboard.send_request(request).await;
        let (parts, body) = response.into_parts();
        let text = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        PageResponse {
            status: parts.status,
            location: text(header::LOCATION),
            cookie: text(header::SET_COOKIE),
            html: Html::parse_document(&body),
            body,
        }
    }
}

/// A response.
#[derive(Debug)]
pub(super) struct PageResponse {
    pub(super) status: StatusCode,
    /// The redirect target.
    pub(super) location: Option<String>,
    /// The `Set-Cookie` header.
    pub(super) cookie: Option<String>,
    /// The raw body.
    pub(super) body: String,
    html: Html,
}

impl PageResponse {
    /// Returns the elements that match a selector.
    fn select_elements(&self, selector: &str) -> Vec<ElementRef<'_>> {
        let selector = Selector::parse(selector).unwrap();
        // Collected, because the elements borrow from the document but the iterator also from the selector.
        self.html.select(&selector).collect()
    }

    /// Counts the elements that match a selector.
    pub(super) fn count_elements(&self, selector: &str) -> usize {
        self.select_elements(selector).len()
    }

    /// Returns the texts of elements, with whitespace collapsed.
    pub(super) fn select_texts(&self, selector: &str) -> Vec<String> {
        let text = |element: &ElementRef<'_>| element.text().collect::<String>();
        let spaced = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.select_elements(selector).iter().map(text).map(spaced).collect()
    }

    /// Returns the text of the only matching element.
    pub(super) fn select_text(&self, selector: &str) -> String {
        let mut texts = self.select_texts(selector);
        assert_eq!(texts.len(), 1, "{selector}: {texts:?}");
        texts.remove(0)
    }

    /// Returns an attribute of each matching element.
    pub(super) fn select_attributes(&self, selector: &str, name: &str) -> Vec<String> {
        let attribute = |element: &ElementRef<'_>| element.attr(name).unwrap_or_default().to_owned();
        self.select_elements(selector).iter().map(attribute).collect()
    }

    /// Asserts that [`HOSTILE_TEXT`] is on the page, as text.
    pub(super) fn assert_shows_hostile_text(&self, selector: &str) {
        let texts = self.select_texts(selector);
        assert!(texts.iter().any(|text| text.contains(HOSTILE_TEXT)), "{selector}: {texts:?}");
        // Charts and headings have such elements of their own, with other contents.
        let contents = self.select_texts("main script, main b");
        assert!(!contents.iter().any(|text| text == "alert(1)" || text == "x"), "{contents:?}");
    }
}
