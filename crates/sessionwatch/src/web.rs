//! The dashboard: what the watch knows, as pages, and what people do about it.
//!
//! [`ROUTES`] says of every page who may ask for it; a page that is not in it is refused. Pages are read without
//! JavaScript; a small script of our own keeps them up to date.

pub mod api;

mod alerts;
mod audit;
mod auth;
mod chart;
mod checklist;
mod cleanup;
mod csrf;
mod incidents;
mod layout;
mod live;
mod login;
mod logs;
mod openid;
mod overview;
mod sessions;
mod settings;
mod setup;
mod target;
mod tokens;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use maud::{Markup, html};

use self::auth::LoggedIn;
use crate::{
    app::{AppError, AppState, error::ErrorKind},
    store::{accounts::Role, tokens::Scope},
};

/// Who may ask for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever reaches it.
    Anyone,
    /// Who is logged in, with at least this role.
    Logged(Role),
    /// Programs with a token for this.
    Token(Scope),
}

/// A page.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// How it is asked for.
    pub method: &'static str,
    /// Where it is.
    pub path: &'static str,
    /// Who may.
    pub who: Who,
    /// What is noted of it in the audit trail; nothing of what only reads.
    pub noted: &'static str,
}

const fn route(method: &'static str, path: &'static str, who: Who, noted: &'static str) -> Route {
    Route { method, path, who, noted }
}

const VIEWER: Who = Who::Logged(Role::Viewer);
const RESPONDER: Who = Who::Logged(Role::Responder);
const ADMIN: Who = Who::Logged(Role::Admin);

/// Every page of the dashboard.
pub const ROUTES: [Route; 52] = [
    route("GET", "/assets/{file}", Who::Anyone, ""),
    route("GET", "/login", Who::Anyone, ""),
    route("POST", "/login", Who::Anyone, "login"),
    route("GET", "/openid/login", Who::Anyone, ""),
    route("GET", "/openid/callback", Who::Anyone, "login"),
    route("GET", "/setup/{token}", Who::Anyone, ""),
    route("POST", "/setup/{token}", Who::Anyone, "account-added"),
    route("POST", "/logout", VIEWER, "logout"),
    route("GET", "/", VIEWER, ""),
    route("GET", "/live", VIEWER, ""),
    route("GET", "/targets/{target}", VIEWER, ""),
    route("GET", "/targets/{target}/checks/{check}", VIEWER, ""),
    route("GET", "/targets/{target}/checks/{check}/query", VIEWER, ""),
    route("GET", "/targets/{target}/doctor", VIEWER, ""),
    route("GET", "/targets/{target}/sessions", VIEWER, ""),
    route("GET", "/targets/{target}/sessions.csv", VIEWER, ""),
    route("GET", "/targets/{target}/sessions.json", VIEWER, ""),
    route("GET", "/targets/{target}/users/{user}", VIEWER, ""),
    route("GET", "/alerts", VIEWER, ""),
    route("POST", "/alerts/acknowledge", RESPONDER, "acknowledge"),
    route("POST", "/alerts/resolve", RESPONDER, "resolve"),
    route("POST", "/alerts/comment", RESPONDER, "comment"),
    route("POST", "/alerts/silence", RESPONDER, "silence"),
    route("POST", "/alerts/unsilence", RESPONDER, "unsilence"),
    route("GET", "/logs", VIEWER, ""),
    route("GET", "/incidents", VIEWER, ""),
    route("POST", "/incidents", RESPONDER, "incident-opened"),
    route("GET", "/incidents/{id}", VIEWER, ""),
    route("POST", "/incidents/{id}/next", RESPONDER, "incident-done, incident-skipped, incident-found"),
    route("POST", "/incidents/{id}/contain", RESPONDER, "plan-made"),
    route("POST", "/incidents/{id}/evidence", RESPONDER, "incident-evidence"),
    route("POST", "/incidents/{id}/set", RESPONDER, "incident-set"),
    route("POST", "/incidents/{id}/close", RESPONDER, "incident-closed"),
    route("POST", "/incidents/{id}/note", RESPONDER, "incident-note"),
    route("GET", "/incidents/{id}/report", VIEWER, ""),
    route("GET", "/checklist/{target}", VIEWER, ""),
    route("POST", "/checklist/{target}", RESPONDER, "attest"),
    route("GET", "/cleanup/{target}", VIEWER, ""),
    route("POST", "/cleanup/{target}", RESPONDER, "plan-made"),
    route("GET", "/plans/{id}", VIEWER, ""),
    route("POST", "/plans/{id}/approve", RESPONDER, "plan-approved"),
    route("POST", "/plans/{id}/apply", RESPONDER, "plan-begun"),
    route("POST", "/archive/{id}/restore", RESPONDER, "plan-made"),
    route("GET", "/audit", VIEWER, ""),
    route("GET", "/settings", VIEWER, ""),
    route("POST", "/settings/password", VIEWER, "password"),
    route("POST", "/settings/logins/end", VIEWER, "login-ended"),
    route("POST", "/settings/tokens", VIEWER, "token-added"),
    route("POST", "/settings/tokens/remove", VIEWER, "token-removed"),
    route("POST", "/settings/accounts", ADMIN, "account-added"),
    route("POST", "/settings/accounts/remove", ADMIN, "account-removed"),
    route("POST", "/settings/channels/test", ADMIN, "channel-tested"),
];

/// The largest form.
pub(super) const MAX_FORM_BYTES: usize = 64 << 10;
/// Nothing is taken from anywhere else, nothing stands in the page itself, and nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The dashboard and the interface for programs.
pub fn router(app: &Arc<AppState>) -> Router {
    pages(app)
        .merge(api::router(app))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .fallback(not_found)
        .with_state(Arc::clone(app))
}

fn pages(app: &Arc<AppState>) -> Router<Arc<AppState>> {
    Router::new()
        .route("/assets/{file}", get(layout::asset))
        .route("/login", get(login::form).post(login::login))
        .route("/openid/login", get(openid::login))
        .route("/openid/callback", get(openid::callback))
        .route("/setup/{token}", get(setup::form).post(setup::create))
        .route("/logout", post(login::logout))
        .route("/", get(overview::page))
        .route("/live", get(live::stream))
        .route("/targets/{target}", get(target::page))
        .route("/targets/{target}/checks/{check}", get(target::check))
        .route("/targets/{target}/checks/{check}/query", get(target::query))
        .route("/targets/{target}/doctor", get(target::doctor_page))
        .route("/targets/{target}/sessions", get(sessions::page))
        .route("/targets/{target}/sessions.csv", get(sessions::csv))
        .route("/targets/{target}/sessions.json", get(sessions::json))
        .route("/targets/{target}/users/{user}", get(sessions::user))
        .route("/alerts", get(alerts::page))
        .route("/alerts/acknowledge", post(alerts::acknowledge))
        .route("/alerts/resolve", post(alerts::resolve))
        .route("/alerts/comment", post(alerts::comment))
        .route("/alerts/silence", post(alerts::silence))
        .route("/alerts/unsilence", post(alerts::unsilence))
        .route("/logs", get(logs::page))
        .route("/incidents", get(incidents::list).post(incidents::open))
        .route("/incidents/{id}", get(incidents::page))
        .route("/incidents/{id}/next", post(incidents::next))
        .route("/incidents/{id}/contain", post(incidents::contain))
        .route("/incidents/{id}/evidence", post(incidents::evidence))
        .route("/incidents/{id}/set", post(incidents::set))
        .route("/incidents/{id}/close", post(incidents::close))
        .route("/incidents/{id}/note", post(incidents::note))
        .route("/incidents/{id}/report", get(incidents::report))
        .route("/checklist/{target}", get(checklist::page).post(checklist::attest))
        .route("/cleanup/{target}", get(cleanup::page).post(cleanup::make))
        .route("/plans/{id}", get(cleanup::plan))
        .route("/plans/{id}/approve", post(cleanup::approve))
        .route("/plans/{id}/apply", post(cleanup::apply))
        .route("/archive/{id}/restore", post(cleanup::restore))
        .route("/audit", get(audit::page))
        .route("/settings", get(settings::page))
        .route("/settings/password", post(settings::password))
        .route("/settings/logins/end", post(settings::end_login))
        .route("/settings/tokens", post(tokens::create))
        .route("/settings/tokens/remove", post(tokens::delete))
        .route("/settings/accounts", post(settings::add_account))
        .route("/settings/accounts/remove", post(settings::remove_account))
        .route("/settings/channels/test", post(settings::test_channel))
        .route_layer(middleware::from_fn_with_state(Arc::clone(app), guard))
}

/// Why there is no page.
#[derive(Debug)]
pub(crate) struct WebError(AppError);

impl<E: Into<AppError>> From<E> for WebError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The status that says what kind of error it is.
pub(crate) fn status_of(error: &AppError) -> StatusCode {
    match error.kind() {
        ErrorKind::NotLoggedIn => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Busy | ErrorKind::Unavailable | ErrorKind::Store => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let Self(error) = self;
        // In seconds.
        let retry_after = match error.kind() {
            ErrorKind::TooManyAttempts => Some("900"),
            ErrorKind::Busy => Some("2"),
            _ => None,
        };
        let body = html! {
            p.empty { (error.to_string()) }
            p { (error.hint()) }
            p { a href="/" { "Overview" } " · " a href="/login" { "Log in" } }
        };
        let mut response = (status_of(&error), layout::bare("That did not work", &body)).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}

/// What a page gives.
pub(crate) type PageResult = Result<Markup, WebError>;

/// Where there is nothing.
async fn not_found(State(app): State<Arc<AppState>>) -> Response {
    add_security_headers(
        &app,
        WebError::from(AppError::NotFound("There is no such page.".into())).into_response(),
    )
}

/// Lets through who may, and sees to it that browsers keep to what pages need.
async fn guard(State(app): State<Arc<AppState>>, mut request: Request, next: Next) -> Response {
    let matched =
        request.extensions().get::<axum::extract::MatchedPath>().map(|path| path.as_str().to_owned());
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let known =
        ROUTES.iter().find(|route| Some(route.path) == matched.as_deref() && route.method == method.as_str());
    let response = match admit(&app, &mut request, known).await {
        Ok(()) => next.run(request).await,
        Err(response) => response,
    };
    add_security_headers(&app, response)
}

/// Whether a request may go on. Otherwise the answer.
async fn admit(app: &Arc<AppState>, request: &mut Request, known: Option<&Route>) -> Result<(), Response> {
    // What nobody decided about is for nobody.
    let Some(route) = known else { return Err(WebError::from(AppError::Forbidden).into_response()) };
    if route.method != "GET" && !csrf::is_same_origin(app, request) {
        let why = "The request does not come from a page of this dashboard.".to_owned();
        return Err(WebError::from(AppError::Invalid(why)).into_response());
    }
    let Who::Logged(least) = route.who else { return Ok(()) };
    let person = auth::current_user(app, request.headers()).await;
    let person = person.map_err(|error| WebError::from(error).into_response())?;
    match person {
        None if route.method == "GET" && route.path != "/live" => Err(auth::redirect_to_login(request.uri())),
        None => Err(WebError::from(AppError::NotLoggedIn).into_response()),
        Some(person) if person.role < least => Err(WebError::from(AppError::Forbidden).into_response()),
        Some(person) => {
            request.extensions_mut().insert(LoggedIn(person));
            Ok(())
        }
    }
}

fn add_security_headers(app: &AppState, mut response: Response) -> Response {
    let headers = response.headers_mut();
    let set = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if auth::is_secure(app) {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_in_the_table_of_the_documentation() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");
        let page = std::fs::read_to_string(path).unwrap();
        for route in ROUTES.iter().chain(&api::ROUTES) {
            let who = match route.who {
                Who::Anyone => "anyone".to_owned(),
                Who::Logged(role) => role.name().to_owned(),
                Who::Token(scope) => format!("{}, with a token for `{}`", scope.role().name(), scope.name()),
            };
            let noted = if route.noted.is_empty() { "–" } else { route.noted };
            let line = format!("| `{} {}` | {who} | {noted} |", route.method, route.path);
            assert!(page.contains(&line), "docs/security.md lacks: {line}");
        }
    }

    #[test]
    fn what_changes_something_is_never_for_viewers_but_of_themselves() {
        let own = [
            "/logout",
            "/settings/password",
            "/settings/logins/end",
            "/settings/tokens",
            "/settings/tokens/remove",
            "/login",
            "/setup/{token}",
        ];
        for route in ROUTES.iter().filter(|route| route.method == "POST" && !own.contains(&route.path)) {
            assert!(matches!(route.who, Who::Logged(role) if role >= Role::Responder), "{}", route.path);
            assert!(!route.noted.is_empty(), "{}", route.path);
        }
    }
}
