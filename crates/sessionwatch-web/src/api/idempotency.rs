//! Idempotency keys: a retried request runs only once (draft-ietf-httpapi-idempotency-key-header).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sessionwatch_app::app::{
    AppState,
    error::StoreError,
    idempotency::{self, IdempotentRequest, PriorRequest, StoredResponse},
    random_tokens::encode_hex,
};
use sha2::{Digest as _, Sha256};

use super::{ApiCaller, extractors, problem::ProblemDetails};

/// Request header with the key, and response header that marks a replayed response.
const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";
const IDEMPOTENCY_REPLAYED_HEADER: &str = "idempotency-replayed";
/// Length limit of a key.
const MAX_KEY_BYTES: usize = 255;
/// Size limit of a stored response, in bytes.
const MAX_STORED_BODY_BYTES: usize = 64 << 20;
/// Route whose response contains a secret and is never stored.
const SECRET_RESPONSE_PATH: &str = "/api/v1/tokens";

/// Runs a write request with an idempotency key only once.
pub(super) async fn idempotency_middleware(
    State(app): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(key) = request.headers().get(IDEMPOTENCY_KEY_HEADER).cloned() else {
        return next.run(request).await;
    };
    let Some(caller) = request.extensions().get::<ApiCaller>().cloned() else {
        return next.run(request).await;
    };
    // Read requests change nothing, and running them again is cheaper than storing responses.
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    match run_idempotent(&app, request, next, &key, caller.token.id).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn run_idempotent(
    app: &Arc<AppState>,
    request: Request,
    next: Next,
    key: &HeaderValue,
    token_id: String,
) -> Result<Response, ProblemDetails> {
    let key = key.to_str().ok().filter(|key| {
        (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let why = "`Idempotency-Key` must have 1 to 255 visible ASCII characters";
    let key = key.ok_or_else(|| ProblemDetails::bad_request(why))?.to_owned();
    let (parts, body) = request.into_parts();
    // Read in full, because the hash covers the body.
    let body = extractors::read_body(body).await?;
    let mut hasher = Sha256::new();
    // With lengths, so that two different requests never hash the same bytes.
    for part in [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &body] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let idempotent_request =
        IdempotentRequest { token_id, key, content_hash: encode_hex(&hasher.finalize()) };
    let request = Request::from_parts(parts, body.into());
    // In the background, so that a client that disconnects does not interrupt the request halfway. A daemon that shuts
    // down waits for it, and starts no new one.
    let done = app.background.spawn(run_once(Arc::clone(app), idempotent_request, request, next));
    let stopping = || {
        let why = "the daemon is shutting down and did not run the request: retry after the restart";
        ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, why)
    };
    let failed = |_| {
        ProblemDetails::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed with an internal error")
    };
    done.ok_or_else(stopping)?.await.map_err(failed)?
}

/// Runs a request, unless it ran before or is in progress. Returns its response.
async fn run_once(
    app: Arc<AppState>,
    idempotent_request: IdempotentRequest,
    request: Request,
    next: Next,
) -> Result<Response, ProblemDetails> {
    match idempotency::begin_request(&app, idempotent_request.clone()).await? {
        PriorRequest::NotFound => {}
        PriorRequest::InProgress => {
            return Err(ProblemDetails::conflict("a request with this idempotency key is in progress"));
        }
        PriorRequest::KeyReused => {
            let why = "this idempotency key was used for a different request";
            return Err(ProblemDetails::new(StatusCode::UNPROCESSABLE_ENTITY, why));
        }
        PriorRequest::Answered(status, content) => return replay_response(status, content),
    }
    // Asked before the request is consumed.
    let is_secret = request.uri().path() == SECRET_RESPONSE_PATH;
    let response = next.run(request).await;
    store_response(&app, idempotent_request, response, is_secret).await
}

/// Stores a response, unless it is a server error, which a retry may avoid.
async fn store_response(
    app: &Arc<AppState>,
    idempotent_request: IdempotentRequest,
    response: Response,
    is_secret: bool,
) -> Result<Response, ProblemDetails> {
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    // Secrets and files are not stored, and pass through at any size.
    let (content, body) = if is_storable(&parts.headers, is_secret) {
        let too_large =
            |_| ProblemDetails::new(StatusCode::INTERNAL_SERVER_ERROR, "the response is too large");
        let body = axum::body::to_bytes(body, MAX_STORED_BODY_BYTES).await.map_err(too_large)?;
        (String::from_utf8_lossy(&body).into_owned(), Body::from(body))
    } else {
        (String::new(), body)
    };
    // A server error releases the key: the same request may succeed the next time.
    let answer = (status < 500).then_some(StoredResponse { status, body: content });
    let stored = idempotency::store_response(app, idempotent_request, answer);
    // The request did run, so its response is sent anyway. A retry finds it in progress until it is forgotten.
    if stored.await.is_err() {
        tracing::warn!(
            "cannot store the response for an idempotency key: a retry will be refused for 10 minutes"
        );
    }
    Ok(Response::from_parts(parts, body))
}

/// Returns `true` if a response may be stored: JSON without secrets.
fn is_storable(headers: &HeaderMap, is_secret: bool) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.ends_with("json")) && !is_secret
}

fn replay_response(status: u16, content: String) -> Result<Response, ProblemDetails> {
    let undecodable = |_| StoreError::Undecodable { table: "keyed_requests".into(), column: "status".into() };
    let status = StatusCode::from_u16(status).map_err(undecodable)?;
    // Secrets are not stored, so a retry can only learn that the request has been done.
    if content.is_empty() && status != StatusCode::NO_CONTENT {
        let why = "the request was already completed; its response is not stored";
        return Err(ProblemDetails::conflict(why));
    }
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let mut response = (status, content).into_response();
    let headers = response.headers_mut();
    headers.insert(IDEMPOTENCY_REPLAYED_HEADER, HeaderValue::from_static("true"));
    // Clients reject a type on a response that has no body.
    if status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_TYPE);
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
