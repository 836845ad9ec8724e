//! What every answer has in common: entity tags by which unchanged ones are not sent again (RFC 9110, 8.8.3), and keys by
//! which a request that is sent twice is done once (draft-ietf-httpapi-idempotency-key-header).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest as _, Sha256};

use super::{Caller, given, problem::Problem};
use crate::{
    app::{
        AppState,
        secrets::{hex, sha256_hex},
    },
    store::tokens::{self, Earlier},
};

/// The header with the key, and the one that says that an answer is an earlier one.
const KEY: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";
/// The most characters of a key.
const LONGEST: usize = 255;
/// The largest answer that is tagged or kept.
const LARGEST: usize = 64 << 20;
/// Where the answer holds a secret, which is kept nowhere.
const SECRET: &str = "/api/v1/tokens";

/// Tags what is read.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let response = next.run(request).await;
    if !reads || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST).await else {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer is too large").into_response();
    };
    let mut tag = sha256_hex(&body);
    tag.truncate(32);
    let tag = format!("\"{tag}\"");
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    if known.is_some_and(|known| names(&known, &tag)) {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, body.into())
}

/// Whether a list of tags names that one; weak ones count, as they do for reading.
fn names(list: &HeaderValue, tag: &str) -> bool {
    let Ok(list) = list.to_str() else { return false };
    list.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

/// Does a request that carries a key once.
pub(super) async fn once(State(app): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let Some(key) = request.headers().get(KEY).cloned() else { return next.run(request).await };
    let Some(caller) = request.extensions().get::<Caller>().cloned() else { return next.run(request).await };
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    match keyed(&app, (request, next), &key, caller.token.id).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

/// A request by its key, hashed so that it can be compared with a later one.
struct Keyed {
    token: String,
    key: String,
    content: String,
}

impl Keyed {
    fn request(&self) -> tokens::Request<'_> {
        tokens::Request { token: &self.token, key: &self.key, content: &self.content }
    }
}

async fn keyed(
    app: &Arc<AppState>,
    (request, next): (Request, Next),
    key: &HeaderValue,
    token: String,
) -> Result<Response, Problem> {
    let key = key
        .to_str()
        .ok()
        .filter(|key| (1..=LONGEST).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    let why = "`Idempotency-Key` has 1 to 255 characters of ASCII that can be seen";
    let key = key.ok_or_else(|| Problem::bad(why))?.to_owned();
    let (parts, body) = request.into_parts();
    let body = given::whole(body).await?;
    let mut hasher = Sha256::new();
    for part in [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &body] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let keyed = Arc::new(Keyed { token, key, content: hex(&hasher.finalize()) });
    let (now, mine) = (app.clock.now(), Arc::clone(&keyed));
    match app.write(move |db| tokens::begin(db, mine.request(), now)).await? {
        Earlier::Nothing => {}
        Earlier::UnderWay => {
            return Err(Problem::conflict("the request of that key is under way"));
        }
        Earlier::Other => {
            let why = "another request had that key";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
        }
        Earlier::Answered(status, content) => return Ok(replayed(status, content)),
    }
    let app = Arc::clone(app);
    // Whoever hangs up does not undo half of what was asked for.
    let done = tokio::spawn(async move {
        let is_secret = parts.uri.path() == SECRET;
        let response = next.run(Request::from_parts(parts, body.into())).await;
        keep(&app, &keyed, response, is_secret).await
    });
    let failed = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request ended in a panic");
    done.await.map_err(|_| failed())?
}

/// Keeps an answer, unless it only says that something fails just now.
async fn keep(
    app: &Arc<AppState>,
    keyed: &Arc<Keyed>,
    response: Response,
    is_secret: bool,
) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    // Of secrets and files nothing is kept, and those are sent on however large they are.
    let (content, body) = if is_kept(&parts.headers, is_secret) {
        let too_large = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer is too large");
        let body = axum::body::to_bytes(body, LARGEST).await.map_err(too_large)?;
        (String::from_utf8_lossy(&body).into_owned(), Body::from(body))
    } else {
        (String::new(), body)
    };
    let answer = (status < 500).then_some((status, content));
    let keyed = Arc::clone(keyed);
    let kept = app.write(move |db| {
        let answer = answer.as_ref().map(|(status, content)| (*status, content.as_str()));
        tokens::answer(db, keyed.request(), answer)
    });
    // It was done all the same; sent again, it would be found under way until it is forgotten.
    if kept.await.is_err() {
        tracing::warn!("an answer could not be kept for its idempotency key");
    }
    Ok(Response::from_parts(parts, body))
}

/// Whether an answer is kept: nothing of secrets, and of files.
fn is_kept(headers: &HeaderMap, is_secret: bool) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.ends_with("json")) && !is_secret
}

fn replayed(status: u16, content: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    if content.is_empty() && status != StatusCode::NO_CONTENT {
        let why = "that was done already; what it was answered is not kept";
        return Problem::conflict(why).into_response();
    }
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let mut response = (status, content).into_response();
    let headers = response.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_TYPE);
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tags_names_weak_ones_and_all() {
        let named = |list: &'static str| names(&HeaderValue::from_static(list), "\"a\"");
        assert!(named("\"a\"") && named("W/\"a\"") && named("\"b\", \"a\"") && named("*"));
        assert!(!named("\"b\"") && !named("a"));
    }
}
