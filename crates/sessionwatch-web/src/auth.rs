//! Authentication of page requests by the session cookie.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Uri, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use sessionwatch_app::app::{
    AppError, AppState,
    login_sessions::{self, CurrentUser, StartedLogin},
    request_client::ClientInfo,
};

use super::web_error::WebError;

/// Returns `true` if, by configuration, browsers reach the dashboard over TLS.
pub(super) fn is_secure(app: &AppState) -> bool {
    let config = app.config();
    // A proxy may end TLS, in which case only the public URL shows that.
    config.serve.tls.is_some()
        || config.serve.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
}

/// Returns the name of the session cookie. The `__Host-` prefix makes browsers bind it to this host and to TLS.
fn session_cookie_name(app: &AppState) -> &'static str {
    if is_secure(app) { "__Host-sessionwatch" } else { "sessionwatch" }
}

/// Returns the value of a cookie.
pub(super) fn find_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // HTTP/2 clients may send each cookie in a header of its own.
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Formats a `Set-Cookie` header. A `max_age_seconds` of 0 removes the cookie.
pub(super) fn format_set_cookie(app: &AppState, name: &str, value: &str, max_age_seconds: i64) -> String {
    let secure = if is_secure(app) { "; Secure" } else { "" };
    // `Lax` instead of `Strict`: links to the dashboard in notifications must find the user logged in.
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_seconds}{secure}")
}

/// Formats the `Set-Cookie` header of a new login session.
pub(super) fn format_session_cookie(app: &AppState, login: &StartedLogin) -> String {
    format_set_cookie(app, session_cookie_name(app), login.token.expose(), login.max_age_seconds)
}

/// Formats the `Set-Cookie` header that removes the session cookie.
pub(super) fn format_expired_session_cookie(app: &AppState) -> String {
    format_set_cookie(app, session_cookie_name(app), "", 0)
}

/// Returns the client's IP address, behind trusted proxies too, and user agent.
pub(super) fn client_info(app: &AppState, headers: &HeaderMap, peer: SocketAddr) -> ClientInfo {
    ClientInfo::from_request(&app.config().serve.trusted_proxies, headers, peer)
}

/// Returns the user of a valid login session, or `None`.
pub(super) async fn current_user(
    app: &Arc<AppState>,
    headers: &HeaderMap,
) -> Result<Option<CurrentUser>, AppError> {
    match find_cookie(headers, session_cookie_name(app)) {
        Some(token) => login_sessions::find_current_user(app, token).await,
        None => Ok(None),
    }
}

/// Redirects to the login page, which returns to `uri` afterwards.
pub(super) fn redirect_to_login(uri: &Uri) -> Response {
    let next = uri.path_and_query().map_or("/", |path| path.as_str());
    // Encoded in full, so that the path cannot add parameters of its own.
    let next = percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
    Redirect::to(&format!("/login?next={next}")).into_response()
}

/// Extractor for the logged-in user, whom the access check has stored in the request.
#[derive(Clone, Debug)]
pub(super) struct LoggedIn(pub(super) CurrentUser);

impl<S: Sync> FromRequestParts<S> for LoggedIn {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, WebError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| AppError::NotLoggedIn.into())
    }
}

#[cfg(test)]
mod tests;
