//! Error pages: what happened, what to do, and where to go.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use sessionwatch_app::app::{AppError, AppState, error::ErrorKind};

use super::{
    format,
    security_headers::add_security_headers,
    shell,
    web_error::{WebError, status_code},
};

/// Answers requests for unknown addresses.
pub(super) async fn not_found(State(app): State<Arc<AppState>>) -> Response {
    add_security_headers(
        &app,
        WebError::from(AppError::NotFound("No page exists at this address.".into())).into_response(),
    )
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
pub(super) fn show_to_logged_in(mut response: Response) -> Response {
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
