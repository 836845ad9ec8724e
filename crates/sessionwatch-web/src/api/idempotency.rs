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
    idempotency::{self, Earlier, IdempotentRequest, StoredAnswer},
    secrets::hex,
};
use sha2::{Digest as _, Sha256};

use super::{Caller, given, problem::Problem};

/// The header with the key, and the one that says that an answer is an earlier one.
const KEY: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";
/// The most characters of a key.
const KEY_LENGTH: usize = 255;
/// The largest answer that is stored, in bytes.
const MAX_STORED_BYTES: usize = 64 << 20;
/// Where the answer holds a secret, which is stored nowhere.
const SECRET_PATH: &str = "/api/v1/tokens";

/// Does a request that carries a key once.
pub(super) async fn idempotency_middleware(
    State(app): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(key) = request.headers().get(KEY).cloned() else { return next.run(request).await };
    let Some(caller) = request.extensions().get::<Caller>().cloned() else { return next.run(request).await };
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
) -> Result<Response, Problem> {
    let key = key.to_str().ok().filter(|key| {
        (1..=KEY_LENGTH).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let why = "`Idempotency-Key` has 1 to 255 characters of ASCII that can be seen";
    let key = key.ok_or_else(|| Problem::bad(why))?.to_owned();
    let (parts, body) = request.into_parts();
    let body = given::whole(body).await?;
    let mut hasher = Sha256::new();
    for part in [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &body] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let keyed = IdempotentRequest { token, key, content: hex(&hasher.finalize()) };
    let request = Request::from_parts(parts, body.into());
    // Whoever hangs up does not undo half of what was asked for; a daemon that stops waits for it, and begins nothing more.
    let done = app.background.spawn(run_once(Arc::clone(app), keyed, request, next));
    let stopping = || {
        let why = "the daemon stops: nothing was done; send the request again once it runs";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)
    };
    let failed = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request ended in a panic");
    done.ok_or_else(stopping)?.await.map_err(failed)?
}

/// Does a request unless it was done already, or is being done: its answer.
async fn run_once(
    app: Arc<AppState>,
    keyed: IdempotentRequest,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    match idempotency::begin(&app, keyed.clone()).await? {
        Earlier::Nothing => {}
        Earlier::UnderWay => {
            return Err(Problem::conflict("the request of that key is under way"));
        }
        Earlier::Other => {
            let why = "another request had that key";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
        }
        Earlier::Answered(status, content) => return replay_response(status, content),
    }
    let is_secret = request.uri().path() == SECRET_PATH;
    let response = next.run(request).await;
    store_response(&app, keyed, response, is_secret).await
}

/// Keeps an answer, unless it only says that something fails just now.
async fn store_response(
    app: &Arc<AppState>,
    keyed: IdempotentRequest,
    response: Response,
    is_secret: bool,
) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    // Of secrets and files nothing is kept, and those are sent on however large they are.
    let (content, body) = if is_stored(&parts.headers, is_secret) {
        let too_large = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer is too large");
        let body = axum::body::to_bytes(body, MAX_STORED_BYTES).await.map_err(too_large)?;
        (String::from_utf8_lossy(&body).into_owned(), Body::from(body))
    } else {
        (String::new(), body)
    };
    let answer = (status < 500).then_some(StoredAnswer { status, content });
    let kept = idempotency::store_answer(app, keyed, answer);
    // It was done all the same; sent again, it would be found under way until it is forgotten.
    if kept.await.is_err() {
        tracing::warn!("an answer could not be kept for its idempotency key");
    }
    Ok(Response::from_parts(parts, body))
}

/// Whether an answer is kept: nothing of secrets, and of files.
fn is_stored(headers: &HeaderMap, is_secret: bool) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.ends_with("json")) && !is_secret
}

fn replay_response(status: u16, content: String) -> Result<Response, Problem> {
    let undecodable = |_| StoreError::Undecodable { table: "answers".into(), column: "status".into() };
    let status = StatusCode::from_u16(status).map_err(undecodable)?;
    if content.is_empty() && status != StatusCode::NO_CONTENT {
        let why = "that was done already; what it was answered is not kept";
        return Err(Problem::conflict(why));
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
    Ok(response)
}

#[cfg(test)]
mod tests;
