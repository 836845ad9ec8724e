//! Keys, by which a request that is sent twice is done once (draft-ietf-httpapi-idempotency-key-header).

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
    secrets::encode_hex,
};
use sha2::{Digest as _, Sha256};

use super::{ApiCaller, extractors, problem::ProblemDetails};

/// The header with the key, and the one that says that an answer is an earlier one.
const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";
const IDEMPOTENCY_REPLAYED_HEADER: &str = "idempotency-replayed";
/// The most characters of a key.
const MAX_KEY_BYTES: usize = 255;
/// The largest answer that is stored, in bytes.
const MAX_STORED_BODY_BYTES: usize = 64 << 20;
/// Where the answer holds a secret, which is stored nowhere.
const SECRET_RESPONSE_PATH: &str = "/api/v1/tokens";

/// Does a request that carries a key once.
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
    token: String,
) -> Result<Response, ProblemDetails> {
    let key = key.to_str().ok().filter(|key| {
        (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let why = "`Idempotency-Key` has 1 to 255 characters of ASCII that can be seen";
    let key = key.ok_or_else(|| ProblemDetails::bad_request(why))?.to_owned();
    let (parts, body) = request.into_parts();
    let body = extractors::read_body(body).await?;
    let mut hasher = Sha256::new();
    for part in [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &body] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let idempotent_request =
        IdempotentRequest { token_id: token, key, content_hash: encode_hex(&hasher.finalize()) };
    let request = Request::from_parts(parts, body.into());
    // Whoever hangs up does not undo half of what was asked for; a daemon that stops waits for it, and begins nothing more.
    let done = app.background.spawn(run_once(Arc::clone(app), idempotent_request, request, next));
    let stopping = || {
        let why = "the daemon stops: nothing was done; send the request again once it runs";
        ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, why)
    };
    let failed = |_| ProblemDetails::new(StatusCode::INTERNAL_SERVER_ERROR, "the request ended in a panic");
    done.ok_or_else(stopping)?.await.map_err(failed)?
}

/// Does a request unless it was done already, or is being done: its answer.
async fn run_once(
    app: Arc<AppState>,
    idempotent_request: IdempotentRequest,
    request: Request,
    next: Next,
) -> Result<Response, ProblemDetails> {
    match idempotency::begin_request(&app, idempotent_request.clone()).await? {
        PriorRequest::NotFound => {}
        PriorRequest::InProgress => {
            return Err(ProblemDetails::conflict("the request of that key is under way"));
        }
        PriorRequest::KeyReused => {
            let why = "another request had that key";
            return Err(ProblemDetails::new(StatusCode::UNPROCESSABLE_ENTITY, why));
        }
        PriorRequest::Answered(status, content) => return replay_response(status, content),
    }
    let is_secret = request.uri().path() == SECRET_RESPONSE_PATH;
    let response = next.run(request).await;
    store_response(&app, idempotent_request, response, is_secret).await
}

/// Keeps an answer, unless it only says that something fails just now.
async fn store_response(
    app: &Arc<AppState>,
    idempotent_request: IdempotentRequest,
    response: Response,
    is_secret: bool,
) -> Result<Response, ProblemDetails> {
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    // Of secrets and files nothing is kept, and those are sent on however large they are.
    let (content, body) = if is_storable(&parts.headers, is_secret) {
        let too_large = |_| ProblemDetails::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer is too large");
        let body = axum::body::to_bytes(body, MAX_STORED_BODY_BYTES).await.map_err(too_large)?;
        (String::from_utf8_lossy(&body).into_owned(), Body::from(body))
    } else {
        (String::new(), body)
    };
    let answer = (status < 500).then_some(StoredResponse { status, body: content });
    let kept = idempotency::store_response(app, idempotent_request, answer);
    // It was done all the same; sent again, it would be found under way until it is forgotten.
    if kept.await.is_err() {
        tracing::warn!("an answer could not be kept for its idempotency key");
    }
    Ok(Response::from_parts(parts, body))
}

/// Whether an answer is kept: nothing of secrets, and of files.
fn is_storable(headers: &HeaderMap, is_secret: bool) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.ends_with("json")) && !is_secret
}

fn replay_response(status: u16, content: String) -> Result<Response, ProblemDetails> {
    let undecodable = |_| StoreError::Undecodable { table: "answers".into(), column: "status".into() };
    let status = StatusCode::from_u16(status).map_err(undecodable)?;
    if content.is_empty() && status != StatusCode::NO_CONTENT {
        let why = "that was done already; what it was answered is not kept";
        return Err(ProblemDetails::conflict(why));
    }
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let mut response = (status, content).into_response();
    let headers = response.headers_mut();
    headers.insert(IDEMPOTENCY_REPLAYED_HEADER, HeaderValue::from_static("true"));
    if status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_TYPE);
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
