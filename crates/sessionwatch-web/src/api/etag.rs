//! Entity tags, so that unchanged responses are not sent again (RFC 9110, section 8.8.3).

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sessionwatch_app::app::random_tokens::sha256_hex;

use super::problem::ProblemDetails;

/// Size limit of a tagged response, in bytes.
const MAX_ETAG_BODY_BYTES: usize = 64 << 20;

/// Adds an `ETag` to responses of read requests, and answers 304 if the client already has them.
pub(super) async fn etag_middleware(request: Request, next: Next) -> Response {
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    // Read before the request is consumed.
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let response = next.run(request).await;
    if !reads || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Buffered: the tag is a hash of the whole body.
    let Ok(body) = axum::body::to_bytes(body, MAX_ETAG_BODY_BYTES).await else {
        return ProblemDetails::new(StatusCode::INTERNAL_SERVER_ERROR, "the response is too large")
            .into_response();
    };
    // A hash of the body needs no version of its own in the store, at the cost of running the query again.
    let mut tag = sha256_hex(&body);
    // 128 bits are enough to distinguish versions; nothing depends on the tag being secret.
    tag.truncate(32);
    let tag = format!("\"{tag}\"");
    // `no-cache` makes clients revalidate; `private` keeps shared caches from storing what one token may read.
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    if known.is_some_and(|known| etag_matches(&known, &tag)) {
        parts.status = StatusCode::NOT_MODIFIED;
        // A response without a body has no type.
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, body.into())
}

/// Returns `true` if a list of entity tags contains `tag`. Weak tags match, as RFC 9110 requires for `If-None-Match`.
fn etag_matches(list: &HeaderValue, tag: &str) -> bool {
    let Ok(list) = list.to_str() else { return false };
    // A client that stored the response through a compressing proxy sends a weak tag.
    list.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_tags_and_the_wildcard_match() {
        let named = |list: &'static str| etag_matches(&HeaderValue::from_static(list), "\"a\"");
        assert!(named("\"a\"") && named("W/\"a\"") && named("\"b\", \"a\"") && named("*"));
        assert!(!named("\"b\"") && !named("a"));
    }
}
