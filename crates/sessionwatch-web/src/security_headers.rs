//! Security headers of every response.

use axum::{
    http::{HeaderValue, header},
    response::Response,
};
use sessionwatch_app::app::AppState;

use super::auth;

/// Allows only resources of this origin, no inline scripts or styles, and no framing.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                                       img-src 'self'; connect-src 'self'; form-action 'self'; \
                                       base-uri 'none'; frame-ancestors 'none'";

/// Adds the security headers to a response.
pub(super) fn add_security_headers(app: &AppState, mut response: Response) -> Response {
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
