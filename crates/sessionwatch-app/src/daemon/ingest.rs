//! `POST /ingest/…`: receives log drains and posted log lines. Authenticates a request before parsing it, and returns
//! success only after the batch is stored.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use ipnet::IpNet;

use super::{
    DaemonState,
    logs::{self, IngestRejection, IngestSource},
};
use crate::{
    app::request_client::ClientInfo,
    blocking,
    config::logs::LogSourceKind,
    logs::{
        ingest_payload::{self, IngestError, MAX_REQUEST_BYTES},
        log_batch::LogBatch,
    },
};

/// Time limit for a request body to arrive.
const REQUEST_READ_TIMEOUT: Duration = Duration::from_secs(10);
const VERCEL_SIGNATURE_HEADER: &str = "x-vercel-signature";
const VERCEL_VERIFY_HEADER: HeaderName = HeaderName::from_static("x-vercel-verify");
const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";

/// The number of requests with an invalid signature or token since the start.
static FORGED_REQUEST_COUNT: AtomicU64 = AtomicU64::new(0);

pub(super) fn build_router() -> Router<Arc<DaemonState>> {
    Router::new()
        .route("/ingest/vercel", post(vercel_handler).get(verification_handler))
        .route("/ingest/vercel/{source}", post(vercel_handler).get(verification_handler))
        .route("/ingest/logs", post(lines_handler))
        .route("/ingest/logs/{source}", post(lines_handler))
}

/// The reason for which a request was rejected.
enum IngestFailure {
    Invalid(IngestError),
    Rejected(IngestRejection),
    UnknownSource,
    TimedOut,
}

impl From<IngestError> for IngestFailure {
    fn from(refused: IngestError) -> Self {
        Self::Invalid(refused)
    }
}

impl IntoResponse for IngestFailure {
    fn into_response(self) -> Response {
        // Short: the limits free up within a second, and senders keep batches only for a while.
        let again = [(header::RETRY_AFTER, "1")];
        match self {
            Self::Invalid(refused) => {
                let status = match refused {
                    IngestError::Unauthorized => StatusCode::UNAUTHORIZED,
                    IngestError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    IngestError::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    IngestError::Malformed => StatusCode::BAD_REQUEST,
                };
                (status, format!("{refused}\n")).into_response()
            }
            Self::Rejected(IngestRejection::Busy) => {
                (StatusCode::SERVICE_UNAVAILABLE, again, "too many requests in progress: try again\n")
                    .into_response()
            }
            Self::Rejected(IngestRejection::Store) => {
                (StatusCode::SERVICE_UNAVAILABLE, again, "cannot store the batch: try again\n")
                    .into_response()
            }
            Self::UnknownSource => (StatusCode::NOT_FOUND, "log source not configured\n").into_response(),
            Self::TimedOut => (StatusCode::REQUEST_TIMEOUT, "request timed out\n").into_response(),
        }
    }
}

/// Returns the sources of a kind, or only the named one.
fn find_sources(
    state: &DaemonState,
    name: Option<&str>,
    kind: impl Fn(&LogSourceKind) -> bool,
) -> Result<Vec<IngestSource>, IngestFailure> {
    let all = state.ingest.sources();
    let matching = all.iter().filter(|one| kind(&one.source.kind));
    let matching: Vec<IngestSource> =
        // Without a name in the path, the signature or token selects the source.
        matching.filter(|one| name.is_none_or(|name| one.source.name == name)).cloned().collect();
    if matching.is_empty() { Err(IngestFailure::UnknownSource) } else { Ok(matching) }
}

fn is_vercel_source(kind: &LogSourceKind) -> bool {
    matches!(kind, LogSourceKind::Vercel { .. })
}

/// Adds the `x-vercel-verify` header, by which Vercel verifies that the endpoint belongs to the owner of the drain.
fn add_verification_header(sources: &[IngestSource], response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    let value = sources.iter().find_map(|one| match &one.source.kind {
        LogSourceKind::Vercel { verify, .. } => verify.as_deref(),
        _ => None,
    });
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        // Sent with errors too, because Vercel verifies the endpoint before it signs anything.
        response.headers_mut().insert(VERCEL_VERIFY_HEADER, value);
    }
    response
}

async fn verification_handler(State(state): State<Arc<DaemonState>>, name: Option<Path<String>>) -> Response {
    match find_sources(&state, name.as_ref().map(|name| name.0.as_str()), is_vercel_source) {
        Ok(sources) => add_verification_header(&sources, "endpoint for a Vercel log drain\n"),
        Err(answer) => answer.into_response(),
    }
}

async fn vercel_handler(
    State(state): State<Arc<DaemonState>>,
    name: Option<Path<String>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let sources = match find_sources(&state, name.as_ref().map(|name| name.0.as_str()), is_vercel_source) {
        Ok(sources) => sources,
        Err(answer) => return answer.into_response(),
    };
    let network =
        ClientInfo::from_request(&state.app.config().serve.trusted_proxies, request.headers(), peer)
            .network();
    let taken = ingest_drain(&state, &sources, network, request).await;
    add_verification_header(
        &sources,
        taken.map_or_else(IntoResponse::into_response, IntoResponse::into_response),
    )
}

async fn ingest_drain(
    state: &Arc<DaemonState>,
    sources: &[IngestSource],
    network: IpNet,
    request: Request,
) -> Result<&'static str, IngestFailure> {
    // Without a signature, the body need not be read.
    if !request.headers().contains_key(VERCEL_SIGNATURE_HEADER) {
        return Err(reject_forged());
    }
    // The signature covers the whole body, so the body of an unauthenticated sender has to be read, within limits.
    let _arriving = logs::try_accept_unsigned(state, network).map_err(IngestFailure::Rejected)?;
    let (headers, body) = read_request(request).await?;
    let signature = header_text(&headers, VERCEL_SIGNATURE_HEADER).unwrap_or_default();
    let signed = |one: &&IngestSource| match &one.source.kind {
        LogSourceKind::Vercel { secret, .. } => ingest_payload::is_valid_signature(secret, &body, signature),
        _ => false,
    };
    let one = sources.iter().find(signed).cloned().ok_or_else(reject_forged)?;
    let packed = header_text(&headers, header::CONTENT_ENCODING.as_str()).map(str::to_owned);
    // After the signature: unauthenticated senders must not take places for parsing.
    let _admitted = logs::try_accept_batch(state).map_err(IngestFailure::Rejected)?;
    let grammar = one.matchers_at(state.app.clock.now());
    let batch = parse_batch(move || {
        // Of the bytes as sent: a resent batch has the same digest even if decompression changes.
        let digest = ingest_payload::body_digest(&body);
        let body = ingest_payload::unpack_body(&body, packed.as_deref())?;
        ingest_payload::parse_drain_entries(&body, &digest, &one.source.name, &one.source.target, &grammar)
    });
    logs::write_batch(state, batch.await?).await.map_err(IngestFailure::Rejected)?;
    Ok("accepted\n")
}

async fn lines_handler(
    State(state): State<Arc<DaemonState>>,
    name: Option<Path<String>>,
    request: Request,
) -> Response {
    let name = name.as_ref().map(|name| name.0.as_str());
    let taken = match find_sources(&state, name, |kind| matches!(kind, LogSourceKind::Http(_))) {
        Ok(sources) => ingest_lines(&state, &sources, request).await,
        Err(answer) => Err(answer),
    };
    taken.map_or_else(IntoResponse::into_response, IntoResponse::into_response)
}

async fn ingest_lines(
    state: &Arc<DaemonState>,
    sources: &[IngestSource],
    request: Request,
) -> Result<&'static str, IngestFailure> {
    let given = header_text(request.headers(), header::AUTHORIZATION.as_str()).unwrap_or_default();
    let token = given.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    // An empty token is compared too, and matches no secret.
    let token = token.map_or("", |(_, token)| token.trim()).to_owned();
    let right = |one: &&IngestSource| {
        matches!(
            &one.source.kind,
            LogSourceKind::Http(secret) if ingest_payload::is_valid_token(secret, &token)
        )
    };
    // Before the body is read, so that strangers cost neither memory nor time.
    let one = sources.iter().find(right).cloned().ok_or_else(reject_forged)?;
    let _arriving = logs::try_accept_request(state).map_err(IngestFailure::Rejected)?;
    let (headers, body) = read_request(request).await?;
    let own = |key: &str| header_text(&headers, key).map(str::to_owned);
    let (packed, name) = (own(header::CONTENT_ENCODING.as_str()), own(IDEMPOTENCY_KEY_HEADER));
    let _admitted = logs::try_accept_batch(state).map_err(IngestFailure::Rejected)?;
    let grammar = one.matchers_at(state.app.clock.now());
    let batch = parse_batch(move || {
        let digest = ingest_payload::body_digest(&body);
        let body = ingest_payload::unpack_body(&body, packed.as_deref())?;
        let source = &one.source;
        let batch = ingest_payload::parse_posted_lines(
            &body,
            &source.name,
            &source.target,
            &grammar,
            name.as_deref(),
        );
        // A named batch is deduplicated by its entries' ids, so its digest is not needed.
        Ok(LogBatch { digest: name.is_none().then_some(digest), ..batch })
    });
    logs::write_batch(state, batch.await?).await.map_err(IngestFailure::Rejected)?;
    Ok("accepted\n")
}

/// Parses a batch on a blocking thread, so that a large one delays no other request.
async fn parse_batch(
    work: impl FnOnce() -> Result<LogBatch, IngestError> + Send + 'static,
) -> Result<LogBatch, IngestFailure> {
    let parsed = blocking::run_catching(work).await;
    Ok(parsed.ok_or(IngestFailure::Invalid(IngestError::Malformed))??)
}

/// Reads the whole request body, within its size and time limits.
async fn read_request(request: Request) -> Result<(HeaderMap, axum::body::Bytes), IngestFailure> {
    let (parts, body): (_, Body) = request.into_parts();
    let body =
        tokio::time::timeout(REQUEST_READ_TIMEOUT, axum::body::to_bytes(body, MAX_REQUEST_BYTES)).await;
    match body {
        Ok(Ok(body)) => Ok((parts.headers, body)),
        // Other read errors end here too; the client is usually gone then.
        Ok(Err(_)) => Err(IngestFailure::Invalid(IngestError::TooLarge)),
        Err(_) => Err(IngestFailure::TimedOut),
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn reject_forged() -> IngestFailure {
    let count = FORGED_REQUEST_COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    // Logged at powers of two, so that an attacker cannot flood the log.
    if count.is_power_of_two() {
        tracing::warn!(
            count,
            "rejected log ingestion requests with an invalid signature or token; check `secret` of the log source"
        );
    }
    IngestFailure::Invalid(IngestError::Unauthorized)
}
