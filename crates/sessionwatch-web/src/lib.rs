//! The dashboard: HTML pages and the JSON API.
//!
//! [`routes`] declares the access level of every page; a route that is not listed is refused. Pages work without
//! JavaScript; one small script refreshes them.

pub mod access;
pub mod api;

mod alert_parts;
mod alerts;
mod assets;
mod audit;
mod auth;
mod chart;
mod chart_range;
mod check_page;
mod checklist;
mod cleanup;
mod component_sheet;
mod components;
mod csrf;
mod device;
mod doctor_page;
mod filter_fields;
mod firing_alerts;
mod format;
mod identity;
mod incidents;
mod login;
mod logs;
mod markdown;
mod oidc;
mod overview;
mod params;
pub mod routes;
mod search;
mod sessions;
mod settings;
mod setup;
mod shell;
mod sse;
mod target;
#[cfg(test)]
mod test_dashboard;
#[cfg(test)]
mod test_database;
mod unknown_callout;
mod users;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use sessionwatch_app::app::{AppError, AppState, error::ErrorKind};

use self::{
    access::{Access, RouteTable},
    auth::LoggedIn,
};

/// Size limit of a request body.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 10;
/// Allows only resources of this origin, no inline scripts or styles, and no framing.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Builds the router of the dashboard and the API.
pub fn build_router(app: &Arc<AppState>) -> Router {
    build_page_router(app)
        .merge(api::build_api_router(app))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .fallback(not_found)
        .with_state(Arc::clone(app))
}

fn build_page_router(app: &Arc<AppState>) -> Router<Arc<AppState>> {
    let (router, routes) = routes::page_router();
    let guard = AccessGuard { app: Arc::clone(app), routes };
    router.route_layer(middleware::from_fn_with_state(guard, require_access))
}

/// State of the access check.
#[derive(Clone)]
struct AccessGuard {
    app: Arc<AppState>,
    routes: RouteTable,
}

/// An error, rendered as a page.
#[derive(Debug)]
pub(crate) struct WebError(AppError);

impl<E: Into<AppError>> From<E> for WebError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// Returns the HTTP status for a kind of error.
pub(crate) fn status_code(error: &AppError) -> StatusCode {
    match error.kind() {
        ErrorKind::NotLoggedIn => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Busy | ErrorKind::Unavailable | ErrorKind::ProviderUnavailable | ErrorKind::Store => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let Self(error) = self;
        // Seconds: 15 minutes for the rate limit, a moment for a full queue.
        let retry_after = match error.kind() {
            ErrorKind::TooManyAttempts => Some("900"),
            ErrorKind::Busy => Some("2"),
            _ => None,
        };
        let page = |visitor| render_error_page(&error, visitor);
        let mut response = (status_code(&error), page(Visitor::Anonymous)).into_response();
        // Only the access check knows who asks.
        response.extensions_mut().insert(LoggedInPage(page(Visitor::LoggedIn)));
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}

/// The reader of an error page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visitor {
    Anonymous,
    LoggedIn,
}

/// An error page for users who are logged in, kept beside the response that holds the one for everybody else.
#[derive(Clone)]
struct LoggedInPage(Markup);

/// Replaces an error page by the one for users who are logged in.
fn show_to_logged_in(mut response: Response) -> Response {
    if let Some(LoggedInPage(page)) = response.extensions_mut().remove() {
        *response.body_mut() = page.into_string().into();
    }
    response
}

/// Renders what happened, what to do, and where to go.
fn render_error_page(error: &AppError, visitor: Visitor) -> Markup {
    let kind = error.kind();
    let title = error_title(kind);
    let (href, action) = match kind {
        ErrorKind::NotLoggedIn => ("/login", "Log in"),
        // Of the visitors who are not logged in, only those who log in can meet these limits.
        ErrorKind::TooManyAttempts | ErrorKind::Busy if visitor == Visitor::Anonymous => ("/login", "Log in"),
        _ => ("/", "Go to the overview"),
    };
    let body = html! {
        (shell::render_public_head(title, &format!("Error {}", status_code(error).as_u16())))
        section.card aria-label="Details" {
            p.error-text { (format::sanitize_text(&error.to_string())) }
            p.muted { (error.hint()) }
            a.btn.btn-primary.btn-block.btn-l href=(href) { (action) }
        }
        @if kind == ErrorKind::Forbidden { p.foot.muted.login-foot { a href="/settings" { "Your account and role" } } }
    };
    shell::render_public_page(title, &body)
}

/// Returns the title of an error page.
fn error_title(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotLoggedIn => "Log in to continue",
        ErrorKind::NotFound => "Not found",
        ErrorKind::Forbidden => "Permission denied",
        ErrorKind::Invalid => "Check your input",
        ErrorKind::Conflict => "Changed in the meantime",
        ErrorKind::TooManyAttempts => "Too many attempts",
        ErrorKind::Busy => "Try again in a moment",
        ErrorKind::Unavailable | ErrorKind::ProviderUnavailable => "Temporarily unavailable",
        ErrorKind::Store => "Something went wrong",
    }
}

/// The result of a page handler.
pub(crate) type PageResult = Result<Markup, WebError>;

/// Answers requests for unknown addresses.
async fn not_found(State(app): State<Arc<AppState>>) -> Response {
    add_security_headers(
        &app,
        WebError::from(AppError::NotFound("No page exists at this address.".into())).into_response(),
    )
}

/// Authorizes a request, and adds security headers to the response.
async fn require_access(State(guard): State<AccessGuard>, mut request: Request, next: Next) -> Response {
    let response = match authorize(&guard, &mut request).await {
        Ok(()) if request.extensions().get::<LoggedIn>().is_some() => {
            show_to_logged_in(next.run(request).await)
        }
        Ok(()) => next.run(request).await,
        Err(response) => response,
    };
    add_security_headers(&guard.app, response)
}

/// Authorizes a request, or returns the response that refuses it.
async fn authorize(guard: &AccessGuard, request: &mut Request) -> Result<(), Response> {
    let refusal = |error: AppError| WebError::from(error).into_response();
    let matched = request.extensions().get::<MatchedPath>();
    // Deny by default: an unlisted route is refused.
    let route = matched.and_then(|path| guard.routes.find(request.method(), path.as_str()));
    let Some(route) = route else { return Err(refusal(AppError::Forbidden)) };
    let is_read = route.method == Method::GET;
    if !is_read && !csrf::is_same_origin(&guard.app, request) {
        let why = "Cross-site request refused: submit the form from this dashboard.";
        return Err(refusal(AppError::Invalid(why.to_owned())));
    }
    let Access::LoggedIn(least) = route.access else { return Ok(()) };
    let person = auth::current_user(&guard.app, request.headers()).await;
    match person.map_err(refusal)? {
        None if is_read && route.path != "/events" => Err(auth::redirect_to_login(request.uri())),
        None => Err(refusal(AppError::NotLoggedIn)),
        Some(person) if person.role < least => Err(refusal(AppError::Forbidden)),
        Some(person) => {
            request.extensions_mut().insert(LoggedIn(person));
            Ok(())
        }
    }
}

fn add_security_headers(app: &AppState, mut response: Response) -> Response {
    let headers = response.headers_mut();
    let set = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pages show personal data: keep them out of the browser's cache unless a handler decides otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if auth::is_secure(app) {
        // Browsers ignore this header over plain HTTP.
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    response
}

#[cfg(test)]
mod tests {
    use sessionwatch_app::app::accounts::AccountRole;

    use super::{access::RouteSpec, *};

    fn every_page() -> Vec<RouteSpec> {
        routes::page_router().1.iter().cloned().collect()
    }

    #[test]
    fn every_route_is_listed_in_the_documentation() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");
        let page = std::fs::read_to_string(path).unwrap();
        for route in routes::route_table().iter() {
            let who = match route.access {
                Access::Anyone => "anyone".to_owned(),
                Access::LoggedIn(role) => role.name().to_owned(),
                Access::Token(scope) => {
                    format!("{}, with a token for `{}`", scope.required_role().name(), scope.name())
                }
            };
            let recorded = if route.audit_action.is_empty() { "–" } else { route.audit_action };
            let line = format!("| `{} {}` | {who} | {recorded} |", route.method, route.path);
            assert!(page.contains(&line), "docs/security.md lacks: {line}");
        }
    }

    #[test]
    fn viewers_can_change_only_their_own_account() {
        let own = [
            "/logout",
            "/settings/password",
            "/settings/login-sessions/revoke",
            "/settings/tokens",
            "/settings/tokens/revoke",
            "/login",
            "/setup/{token}",
        ];
        for route in
            every_page().iter().filter(|route| route.method == "POST" && !own.contains(&&*route.path))
        {
            assert!(
                matches!(route.access, Access::LoggedIn(role) if role >= AccountRole::Responder),
                "{}",
                route.path
            );
            assert!(!route.audit_action.is_empty(), "{}", route.path);
        }
    }
}
