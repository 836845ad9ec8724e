//! The pages of the daemon: metrics, whether it is alive and ready, and the place to say that a database is awake.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::IntoResponse,
    routing::{get, post},
};

use super::{Shared, hosts, metrics};
use crate::blocking;

/// The pages of the daemon, and those of the dashboard.
pub(super) fn router(shared: Arc<Shared>, dashboard: Router) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| std::future::ready("alive\n")))
        .route("/readyz", get(ready))
        .route("/awake/{target}", post(awake))
        .merge(super::ingest::router())
        .with_state(Arc::clone(&shared))
        .merge(dashboard)
        .layer(middleware::from_fn_with_state(shared, hosts::guard))
}

async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = metrics::Format::accepted(accept.unwrap_or_default());
    let kind = [(header::CONTENT_TYPE, format.content_type())];
    // The store may have to be waited for. Whoever asks again and again waits for their turn.
    let permit = Arc::clone(&shared.measuring).acquire_owned().await;
    let write = move || {
        let _permit = permit;
        metrics::write(&shared, format)
    };
    match blocking::run_caught(write).await {
        Some(Ok(text)) => (StatusCode::OK, kind, text),
        Some(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, kind, format!("# {error}\n")),
        None => (StatusCode::INTERNAL_SERVER_ERROR, kind, "# the metrics cannot be written\n".into()),
    }
}

/// Ready while a run has succeeded lately on every target that is led here. Names no target: the page needs no login.
async fn ready(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if !shared.store.is_sound() {
        let why = "the store cannot be read, or its file was deleted or replaced: the log says why\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why.to_owned());
    }
    if !shared.leadership.is_known() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the leases in the store cannot be renewed\n".to_owned());
    }
    let (config, now) = (shared.config(), shared.clock.now());
    let led = config.targets.iter().filter(|target| shared.leads(&target.name));
    let (mut current, mut of) = (0, 0);
    for target in led {
        of += 1;
        current += u32::from(shared.latest.is_current(&target.name, now));
    }
    let status = if current == of { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{current} of {of} targets have a successful check run within their last 3 intervals\n"))
}

/// Whoever wakes a database that suspends itself says so here, and it is looked at while it is awake anyway.
async fn awake(State(shared): State<Arc<Shared>>, Path(target): Path<String>) -> impl IntoResponse {
    if shared.wake_target(&target) {
        (StatusCode::ACCEPTED, "it is looked at soon\n")
    } else {
        (StatusCode::NOT_FOUND, "there is no target of that name\n")
    }
}
