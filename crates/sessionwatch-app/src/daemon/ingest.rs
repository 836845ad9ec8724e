//! `POST /ingest/…`: what drains and others send. Nothing is parsed before the sender has shown that it may send, and
//! nothing is answered with success before it is safe.

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
    logs::{self, IngestRejection, LogSource},
};
use crate::{
    app::client::ClientInfo,
    blocking,
    config::logs::Kind,
    logs::{
        drain::{self, LARGEST, Refused},
        intake::Batch,
    },
};

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
const SIGNATURE: &str = "x-vercel-signature";
const VERIFY: HeaderName = HeaderName::from_static("x-vercel-verify");
const NAME: &str = "idempotency-key";

/// Requests that were refused because they did not show that they may send.
static FORGED: AtomicU64 = AtomicU64::new(0);

pub(super) fn router() -> Router<Arc<DaemonState>> {
    Router::new()
        .route("/ingest/vercel", post(vercel).get(verify))
        .route("/ingest/vercel/{source}", post(vercel).get(verify))
        .route("/ingest/logs", post(lines))
        .route("/ingest/logs/{source}", post(lines))
}

/// Why a request was not taken, as an answer.
enum Answer {
    Refused(Refused),
    Rejected(IngestRejection),
    NoSource,
    Slow,
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let again = [(header::RETRY_AFTER, "1")];
        match self {
            Self::Refused(refused) => {
                let status = match refused {
                    Refused::Forged => StatusCode::UNAUTHORIZED,
                    Refused::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    Refused::Packed => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    Refused::Faulty => StatusCode::BAD_REQUEST,
                };
                (status, format!("{refused}\n")).into_response()
            }
            Self::Rejected(IngestRejection::Busy) => {
                (StatusCode::SERVICE_UNAVAILABLE, again, "too much arrives at once: send it again\n")
                    .into_response()
            }
            Self::Rejected(IngestRejection::Store) => {
                (StatusCode::SERVICE_UNAVAILABLE, again, "it cannot be kept now: send it again\n")
                    .into_response()
            }
            Self::NoSource => {
                (StatusCode::NOT_FOUND, "no such source of logs is configured\n").into_response()
            }
            Self::Slow => {
                (StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time\n").into_response()
            }
        }
    }
}

/// The sources of a kind; only the one of that name, if one is named.
fn meant(
    state: &DaemonState,
    name: Option<&str>,
    kind: impl Fn(&Kind) -> bool,
) -> Result<Vec<LogSource>, Answer> {
    let all = state.intake.sources();
    let meant = all.iter().filter(|one| kind(&one.source.kind));
    let meant: Vec<LogSource> =
        meant.filter(|one| name.is_none_or(|name| one.source.name == name)).cloned().collect();
    if meant.is_empty() { Err(Answer::NoSource) } else { Ok(meant) }
}

fn is_vercel(kind: &Kind) -> bool {
    matches!(kind, Kind::Vercel { .. })
}

/// Shows a drain that the endpoint is its owner's, by the value that it was given.
fn verified(sources: &[LogSource], response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    let value = sources.iter().find_map(|one| match &one.source.kind {
        Kind::Vercel { verify, .. } => verify.as_deref(),
        _ => None,
    });
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        response.headers_mut().insert(VERIFY, value);
    }
    response
}

async fn verify(State(state): State<Arc<DaemonState>>, name: Option<Path<String>>) -> Response {
    match meant(&state, name.as_ref().map(|name| name.0.as_str()), is_vercel) {
        Ok(sources) => verified(&sources, "a log drain of Vercel is taken here\n"),
        Err(answer) => answer.into_response(),
    }
}

async fn vercel(
    State(state): State<Arc<DaemonState>>,
    name: Option<Path<String>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let sources = match meant(&state, name.as_ref().map(|name| name.0.as_str()), is_vercel) {
        Ok(sources) => sources,
        Err(answer) => return answer.into_response(),
    };
    let network =
        ClientInfo::of_request(&state.app.config().serve.trusted_proxies, request.headers(), peer).network();
    let taken = take_drain(&state, &sources, network, request).await;
    verified(&sources, taken.map_or_else(IntoResponse::into_response, IntoResponse::into_response))
}

async fn take_drain(
    state: &Arc<DaemonState>,
    sources: &[LogSource],
    network: IpNet,
    request: Request,
) -> Result<&'static str, Answer> {
    // Without a signature there is no body to wait for.
    if !request.headers().contains_key(SIGNATURE) {
        return Err(forged());
    }
    let _arriving = logs::arrive_unsigned(state, network).map_err(Answer::Rejected)?;
    let (headers, body) = arrived(request).await?;
    let signature = text(&headers, SIGNATURE).unwrap_or_default();
    let signed = |one: &&LogSource| match &one.source.kind {
        Kind::Vercel { secret, .. } => drain::is_signed(secret, &body, signature),
        _ => false,
    };
    let one = sources.iter().find(signed).cloned().ok_or_else(forged)?;
    let packed = text(&headers, header::CONTENT_ENCODING.as_str()).map(str::to_owned);
    let _admitted = logs::admit(state).map_err(Answer::Rejected)?;
    let grammar = one.grammar_at(state.app.clock.now());
    let batch = parsed(move || {
        let digest = drain::digest(&body);
        let body = drain::unpacked(&body, packed.as_deref())?;
        drain::entries(&body, &digest, &one.source.name, &one.source.target, &grammar)
    });
    logs::write(state, batch.await?).await.map_err(Answer::Rejected)?;
    Ok("taken\n")
}

async fn lines(
    State(state): State<Arc<DaemonState>>,
    name: Option<Path<String>>,
    request: Request,
) -> Response {
    let name = name.as_ref().map(|name| name.0.as_str());
    let taken = match meant(&state, name, |kind| matches!(kind, Kind::Http(_))) {
        Ok(sources) => take_lines(&state, &sources, request).await,
        Err(answer) => Err(answer),
    };
    taken.map_or_else(IntoResponse::into_response, IntoResponse::into_response)
}

async fn take_lines(
    state: &Arc<DaemonState>,
    sources: &[LogSource],
    request: Request,
) -> Result<&'static str, Answer> {
    let given = text(request.headers(), header::AUTHORIZATION.as_str()).unwrap_or_default();
    let token = given.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let token = token.map_or("", |(_, token)| token.trim()).to_owned();
    let right =
        |one: &&LogSource| matches!(&one.source.kind, Kind::Http(secret) if drain::is_token(secret, &token));
    let one = sources.iter().find(right).cloned().ok_or_else(forged)?;
    let _arriving = logs::arrive(state).map_err(Answer::Rejected)?;
    let (headers, body) = arrived(request).await?;
    let own = |key: &str| text(&headers, key).map(str::to_owned);
    let (packed, name) = (own(header::CONTENT_ENCODING.as_str()), own(NAME));
    let _admitted = logs::admit(state).map_err(Answer::Rejected)?;
    let grammar = one.grammar_at(state.app.clock.now());
    let batch = parsed(move || {
        let digest = drain::digest(&body);
        let body = drain::unpacked(&body, packed.as_deref())?;
        let source = &one.source;
        let batch = drain::lines(&body, &source.name, &source.target, &grammar, name.as_deref());
        Ok(Batch { digest: name.is_none().then_some(digest), ..batch })
    });
    logs::write(state, batch.await?).await.map_err(Answer::Rejected)?;
    Ok("taken\n")
}

/// Parsing takes a while: it keeps no other page waiting.
async fn parsed(work: impl FnOnce() -> Result<Batch, Refused> + Send + 'static) -> Result<Batch, Answer> {
    let parsed = blocking::run_caught(work).await;
    Ok(parsed.ok_or(Answer::Refused(Refused::Faulty))??)
}

/// The whole request, if it is not too large and not too slow.
async fn arrived(request: Request) -> Result<(HeaderMap, axum::body::Bytes), Answer> {
    let (parts, body): (_, Body) = request.into_parts();
    let body = tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, LARGEST)).await;
    match body {
        Ok(Ok(body)) => Ok((parts.headers, body)),
        Ok(Err(_)) => Err(Answer::Refused(Refused::TooLarge)),
        Err(_) => Err(Answer::Slow),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Counts a request that did not show that it may send; the log says so less and less often.
fn forged() -> Answer {
    let count = FORGED.fetch_add(1, Ordering::Relaxed) + 1;
    if count.is_power_of_two() {
        tracing::warn!(
            count,
            "requests with log lines were refused: signature or token is not the configured one"
        );
    }
    Answer::Refused(Refused::Forged)
}
